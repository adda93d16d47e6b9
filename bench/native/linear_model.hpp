// Regressions that are linear in the weights: value and gradient, and the product of the Hessian with a vector.
// One pass: a block of observations stays in the cache between the products with the weights and with the slopes. The
// number of features is known, as it is to a compiler that is given arrays; row by row is faster here than several at once.
#pragma once
#include <cmath>
#include <cstring>

static const long worth_threads = 200;
static const long block = 16;
static const long features = 100;

static inline void products(long rows, const double* __restrict x, const double* __restrict vector, double* __restrict results) {
    for (long r = 0; r < rows; r++) {
        double sum = 0;
        for (long f = 0; f < features; f++) sum += x[r * features + f] * vector[f];
        results[r] = sum;
    }
}

static inline void add(long rows, const double* __restrict factors, const double* __restrict x, double* __restrict result) {
    for (long r = 0; r < rows; r++)
        for (long f = 0; f < features; f++) result[f] += factors[r] * x[r * features + f];
}

// `rate(target, score, slope)` gives an observation's loss and sets its slope.
template <class Rate>
static inline void mean_gradient(
    long count, const double* __restrict w, const double* __restrict x, const double* __restrict y, double* __restrict value,
    double* __restrict gradient, Rate rate
) {
    double loss = 0;
    std::memset(gradient, 0, features * sizeof(double));
#pragma omp parallel reduction(+ : loss) if (count > worth_threads)
    {
        double own[features] = {0};
#pragma omp for schedule(static) nowait
        for (long start = 0; start < count; start += block) {
            const long rows = start + block < count ? block : count - start;
            const double *here = x + start * features, *target = y + start;
            double slope[block];
            products(rows, here, w, slope);
            for (long i = 0; i < rows; i++) loss += rate(target[i], slope[i], slope[i]);
            add(rows, slope, here, own);
        }
#pragma omp critical
        for (long f = 0; f < features; f++) gradient[f] += own[f];
    }
    *value = loss / count;
    for (long f = 0; f < features; f++) gradient[f] /= count;
}

// `curvature(target, score)` gives an observation's second derivative in its score.
template <class Curvature>
static inline void mean_product(
    long count, const double* __restrict w, const double* __restrict x, const double* __restrict y,
    const double* __restrict direction, double* __restrict result, Curvature curvature
) {
    std::memset(result, 0, features * sizeof(double));
#pragma omp parallel if (count > worth_threads)
    {
        double own[features] = {0};
#pragma omp for schedule(static) nowait
        for (long start = 0; start < count; start += block) {
            const long rows = start + block < count ? block : count - start;
            const double *here = x + start * features, *target = y + start;
            double bent[block], along[block];
            products(rows, here, w, bent);
            products(rows, here, direction, along);
            for (long i = 0; i < rows; i++) bent[i] = curvature(target[i], bent[i]) * along[i];
            add(rows, bent, here, own);
        }
#pragma omp critical
        for (long f = 0; f < features; f++) result[f] += own[f];
    }
    for (long f = 0; f < features; f++) result[f] /= count;
}
