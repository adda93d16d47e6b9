// Sums of squares of a matrix over everything, over each row, over each column.
#include <omp.h>

#include <cstring>
#include <vector>

static const long worth_threads = 100000;

extern "C" void sum_all(long rows, long columns, const double* __restrict x, double* __restrict result) {
    const long count = rows * columns;
    double sum = 0;
#pragma omp parallel for simd reduction(+ : sum) schedule(static) if (count > worth_threads)
    for (long i = 0; i < count; i++) sum += x[i] * x[i];
    *result = sum;
}

extern "C" void sum_rows(long rows, long columns, const double* __restrict x, double* __restrict result) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) {
        const double* row = x + r * columns;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (long c = 0; c < columns; c++) sum += row[c] * row[c];
        result[r] = sum;
    }
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
