// Batch norm down the columns of a matrix and its gradient: passes over all rows, each thread with sums of its own.
#include <cmath>
#include <vector>

static const long worth_threads = 20000;
static const double epsilon = 1e-5;

// Adds what `term` gives for each element of two arrays to two sums per column.
template <class Term>
static void sum_columns(long rows, long columns, double* __restrict first, double* __restrict second, Term term) {
    for (long c = 0; c < columns; c++) first[c] = second[c] = 0;
#pragma omp parallel if (rows * columns > worth_threads)
    {
        std::vector<double> own(2 * columns, 0.0);
        double* __restrict a = own.data();
        double* __restrict b = a + columns;
#pragma omp for schedule(static) nowait
        for (long r = 0; r < rows; r++)
#pragma omp simd
            for (long c = 0; c < columns; c++) term(r * columns + c, c, a[c], b[c]);
#pragma omp critical
        for (long c = 0; c < columns; c++) {
            first[c] += a[c];
            second[c] += b[c];
        }
    }
}

extern "C" void batch_norm(
    long rows, long columns, const double* __restrict x, const double* __restrict gain, const double* __restrict shift,
    double* __restrict y
) {
    std::vector<double> kept(3 * columns);
    double *mean = kept.data(), *squares = mean + columns, *unused = squares + columns;
    sum_columns(rows, columns, mean, unused, [=](long i, long, double& a, double&) { a += x[i]; });
    for (long c = 0; c < columns; c++) mean[c] /= rows;
    sum_columns(rows, columns, squares, unused, [=](long i, long c, double& a, double&) {
        a += (x[i] - mean[c]) * (x[i] - mean[c]);
    });
    double* factor = squares;
    for (long c = 0; c < columns; c++) factor[c] = gain[c] / std::sqrt(squares[c] / rows + epsilon);
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++)
#pragma omp simd
        for (long c = 0; c < columns; c++) y[r * columns + c] = (x[r * columns + c] - mean[c]) * factor[c] + shift[c];
}

extern "C" void batch_norm_gradient(
    long rows, long columns, const double* __restrict x, const double* __restrict gain, const double*,
    const double* __restrict cotangent, double* __restrict x_slope, double* __restrict gain_slope,
    double* __restrict shift_slope
) {
    std::vector<double> kept(4 * columns);
    double *mean = kept.data(), *squares = mean + columns, *factor = squares + columns, *bend = factor + columns;
    sum_columns(rows, columns, mean, shift_slope, [=](long i, long, double& a, double& b) {
        a += x[i];
        b += cotangent[i];
    });
    for (long c = 0; c < columns; c++) mean[c] /= rows;
    sum_columns(rows, columns, squares, gain_slope, [=](long i, long c, double& a, double& b) {
        const double centred = x[i] - mean[c];
        a += centred * centred;
        b += centred * cotangent[i];
    });
    for (long c = 0; c < columns; c++) {
        const double scale = 1 / std::sqrt(squares[c] / rows + epsilon);
        gain_slope[c] *= scale;
        factor[c] = scale * gain[c];
        bend[c] = scale * gain_slope[c] / rows;
    }
#pragma omp parallel for schedule(static) if (rows * columns > worth_threads)
    for (long r = 0; r < rows; r++)
#pragma omp simd
        for (long c = 0; c < columns; c++) {
            const long i = r * columns + c;
            x_slope[i] = factor[c] * (cotangent[i] - shift_slope[c] / rows - (x[i] - mean[c]) * bend[c]);
        }
}
