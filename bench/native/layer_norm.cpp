// Layer norm over the rows of a matrix and its gradient: each row is read from memory once and stays in the cache.
#include <cmath>
#include <cstring>
#include <vector>

static const long worth_threads = 20000;
static const double epsilon = 1e-5;

struct Moments {
    double mean, scale;
};

static inline Moments moments(long columns, const double* __restrict x) {
    double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (long c = 0; c < columns; c++) sum += x[c];
    const double mean = sum / columns;
#pragma omp simd reduction(+ : squares)
    for (long c = 0; c < columns; c++) squares += (x[c] - mean) * (x[c] - mean);
    return {mean, 1 / std::sqrt(squares / columns + epsilon)};
}

extern "C" void layer_norm(
    long rows, long columns, const double* __restrict x, const double* __restrict gain, const double* __restrict shift,
    double* __restrict y
) {
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++) {
        const double* __restrict row = x + r * columns;
        double* __restrict result = y + r * columns;
        const Moments m = moments(columns, row);
#pragma omp simd
        for (long c = 0; c < columns; c++) result[c] = (row[c] - m.mean) * m.scale * gain[c] + shift[c];
    }
}

extern "C" void layer_norm_gradient(
    long rows, long columns, const double* __restrict x, const double* __restrict gain, const double*,
    const double* __restrict cotangent, double* __restrict x_slope, double* __restrict gain_slope,
    double* __restrict shift_slope
) {
    std::memset(gain_slope, 0, columns * sizeof(double));
    std::memset(shift_slope, 0, columns * sizeof(double));
#pragma omp parallel if (rows * columns > worth_threads)
    {
        std::vector<double> own(2 * columns, 0.0);
        double* __restrict gains = own.data();
        double* __restrict shifts = gains + columns;
#pragma omp for schedule(static) nowait
        for (long r = 0; r < rows; r++) {
            const double* __restrict row = x + r * columns;
            const double* __restrict given = cotangent + r * columns;
            double* __restrict slope = x_slope + r * columns;
            const Moments m = moments(columns, row);
            double sum = 0, inner = 0;
#pragma omp simd reduction(+ : sum, inner)
            for (long c = 0; c < columns; c++) {
                const double unit = (row[c] - m.mean) * m.scale, pulled = given[c] * gain[c];
                gains[c] += given[c] * unit;
                shifts[c] += given[c];
                sum += pulled;
                inner += pulled * unit;
            }
            sum /= columns;
            inner /= columns;
#pragma omp simd
            for (long c = 0; c < columns; c++)
                slope[c] = m.scale * (given[c] * gain[c] - sum - (row[c] - m.mean) * m.scale * inner);
        }
#pragma omp critical
        for (long c = 0; c < columns; c++) {
            gain_slope[c] += gains[c];
            shift_slope[c] += shifts[c];
        }
    }
}
