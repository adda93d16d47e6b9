// Softmax over the rows of a matrix and its gradient: each row is read from memory once and stays in the cache.
#include <cmath>

static const long worth_threads = 20000;

static inline void softmax_row(long columns, const double* __restrict x, double* __restrict y) {
    double greatest = x[0];
#pragma omp simd reduction(max : greatest)
    for (long c = 0; c < columns; c++) greatest = x[c] > greatest ? x[c] : greatest;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long c = 0; c < columns; c++) {
        y[c] = std::exp(x[c] - greatest);
        sum += y[c];
    }
    const double scale = 1 / sum;
#pragma omp simd
    for (long c = 0; c < columns; c++) y[c] *= scale;
}

extern "C" void softmax(long rows, long columns, const double* __restrict x, double* __restrict y) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) softmax_row(columns, x + r * columns, y + r * columns);
}

extern "C" void softmax_gradient(
    long rows, long columns, const double* __restrict x, const double* __restrict cotangent, double* __restrict slope
) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) {
        const double* __restrict given = cotangent + r * columns;
        double* __restrict y = slope + r * columns;
        softmax_row(columns, x + r * columns, y);
        double inner = 0;
#pragma omp simd reduction(+ : inner)
        for (long c = 0; c < columns; c++) inner += given[c] * y[c];
#pragma omp simd
        for (long c = 0; c < columns; c++) y[c] *= given[c] - inner;
    }
}
