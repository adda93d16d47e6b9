// The sum over rows or columns of the logarithm of a sum of exponentials, and its gradient, the softmax along that axis.
#include <cmath>
#include <vector>

static const long worth_threads = 20000;

// A row is read from memory once and stays in the cache.
extern "C" void logsumexp_rows(
    long rows, long columns, const double* __restrict x, double* __restrict value, double* __restrict slope
) {
    double whole = 0;
#pragma omp parallel for schedule(static) reduction(+ : whole) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) {
        const double* __restrict row = x + r * columns;
        double* __restrict result = slope + r * columns;
        double greatest = row[0], sum = 0;
#pragma omp simd reduction(max : greatest)
        for (long c = 0; c < columns; c++) greatest = row[c] > greatest ? row[c] : greatest;
#pragma omp simd reduction(+ : sum)
        for (long c = 0; c < columns; c++) {
            result[c] = std::exp(row[c] - greatest);
            sum += result[c];
        }
        whole += greatest + std::log(sum);
        const double scale = 1 / sum;
#pragma omp simd
        for (long c = 0; c < columns; c++) result[c] *= scale;
    }
    *value = whole;
}

// A strip of columns is read twice and its powers once; the greatest and the sum of each column stay in the cache.
extern "C" void logsumexp_columns(
    long rows, long columns, const double* __restrict x, double* __restrict value, double* __restrict slope
) {
    const long strip = 64;
    double whole = 0;
#pragma omp parallel for schedule(static) reduction(+ : whole) if (rows * columns > worth_threads)
    for (long start = 0; start < columns; start += strip) {
        const long width = start + strip < columns ? strip : columns - start;
        double greatest[strip], sum[strip] = {0};
        for (long c = 0; c < width; c++) greatest[c] = x[start + c];
        for (long r = 1; r < rows; r++) {
            const double* __restrict row = x + r * columns + start;
#pragma omp simd
            for (long c = 0; c < width; c++) greatest[c] = row[c] > greatest[c] ? row[c] : greatest[c];
        }
        for (long r = 0; r < rows; r++) {
            const double* __restrict row = x + r * columns + start;
            double* __restrict result = slope + r * columns + start;
#pragma omp simd
            for (long c = 0; c < width; c++) {
                result[c] = std::exp(row[c] - greatest[c]);
                sum[c] += result[c];
            }
        }
        for (long c = 0; c < width; c++) {
            whole += greatest[c] + std::log(sum[c]);
            sum[c] = 1 / sum[c];
        }
        for (long r = 0; r < rows; r++) {
            double* __restrict result = slope + r * columns + start;
#pragma omp simd
            for (long c = 0; c < width; c++) result[c] *= sum[c];
        }
    }
    *value = whole;
}
