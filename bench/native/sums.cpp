// Sums of squares of a matrix over everything, over each row, over each column.
#include <cstring>
#include <vector>

static const long worth_threads = 100000;

// Several sums side by side: one alone would wait for its own last addition.
static inline double squares(long count, const double* __restrict x) {
    const long lanes = 32;
    double parts[lanes] = {0}, sum = 0;
    long c = 0;
    for (; c + lanes <= count; c += lanes)
#pragma omp simd
        for (long k = 0; k < lanes; k++) parts[k] += x[c + k] * x[c + k];
    for (long k = 0; k < lanes; k++) sum += parts[k];
    for (; c < count; c++) sum += x[c] * x[c];
    return sum;
}

extern "C" void sum_all(long rows, long columns, const double* __restrict x, double* __restrict result) {
    double sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) sum += squares(columns, x + r * columns);
    *result = sum;
}

extern "C" void sum_rows(long rows, long columns, const double* __restrict x, double* __restrict result) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) result[r] = squares(columns, x + r * columns);
}

extern "C" void sum_columns(long rows, long columns, const double* __restrict x, double* __restrict result) {
    std::memset(result, 0, columns * sizeof(double));
#pragma omp parallel if (rows * columns > worth_threads)
    {
        std::vector<double> own(columns, 0.0);
        double* __restrict part = own.data();
#pragma omp for schedule(static) nowait
        for (long r = 0; r < rows; r++)
#pragma omp simd
            for (long c = 0; c < columns; c++) part[c] += x[r * columns + c] * x[r * columns + c];
#pragma omp critical
        for (long c = 0; c < columns; c++) result[c] += part[c];
    }
}
