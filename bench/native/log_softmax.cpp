// Log-softmax over the rows of a matrix and its gradient: each row is read from memory once and stays in the cache.
#include <cmath>

static const long worth_threads = 20000;

static inline double greatest_of(long columns, const double* __restrict x) {
    double greatest = x[0];
#pragma omp simd reduction(max : greatest)
    for (long c = 0; c < columns; c++) greatest = x[c] > greatest ? x[c] : greatest;
    return greatest;
}

extern "C" void log_softmax(long rows, long columns, const double* __restrict x, double* __restrict y) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) {
        const double* __restrict row = x + r * columns;
        double* __restrict result = y + r * columns;
        const double greatest = greatest_of(columns, row);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (long c = 0; c < columns; c++) sum += std::exp(row[c] - greatest);
        const double less = greatest + std::log(sum);
#pragma omp simd
        for (long c = 0; c < columns; c++) result[c] = row[c] - less;
    }
}

extern "C" void log_softmax_gradient(
    long rows, long columns, const double* __restrict x, const double* __restrict cotangent, double* __restrict slope
) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) {
        const double* __restrict row = x + r * columns;
        const double* __restrict given = cotangent + r * columns;
        double* __restrict result = slope + r * columns;
        const double greatest = greatest_of(columns, row);
        double sum = 0, whole = 0;
#pragma omp simd reduction(+ : sum, whole)
        for (long c = 0; c < columns; c++) {
            result[c] = std::exp(row[c] - greatest);
            sum += result[c];
            whole += given[c];
        }
        const double scale = whole / sum;
#pragma omp simd
        for (long c = 0; c < columns; c++) result[c] = given[c] - scale * result[c];
    }
}
