// Logistic regression, the mean of log(1 + exp(-y x·w)): value and gradient, and the product of the Hessian with a vector.
// One pass: a block of observations stays in the cache between the products with the weights and with the slopes.
#include <cmath>
#include <cstring>
#include <vector>

static const long worth_threads = 20000;
static const long block = 32;

// The scalar products of a row with one vector; four sums would only split the same loads.
static inline double product(long features, const double* __restrict row, const double* __restrict vector) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long f = 0; f < features; f++) sum += row[f] * vector[f];
    return sum;
}

static inline void add(long features, double factor, const double* __restrict row, double* __restrict result) {
#pragma omp simd
    for (long f = 0; f < features; f++) result[f] += factor * row[f];
}

static void scaled(long features, double factor, double* __restrict result) {
    for (long f = 0; f < features; f++) result[f] *= factor;
}

extern "C" void logistic_gradient(
    long count, long features, const double* __restrict w, const double* __restrict x, const double* __restrict y,
    double* __restrict value, double* __restrict gradient
) {
    double loss = 0;
    std::memset(gradient, 0, features * sizeof(double));
#pragma omp parallel reduction(+ : loss) if (count * features > worth_threads)
    {
        std::vector<double> own(features, 0.0);
#pragma omp for schedule(static) nowait
        for (long start = 0; start < count; start += block) {
            const long end = start + block < count ? start + block : count;
            double slope[block];
            for (long i = start; i < end; i++) slope[i - start] = product(features, x + i * features, w);
#pragma omp simd reduction(+ : loss)
            for (long i = start; i < end; i++) {
                const double power = std::exp(-y[i] * slope[i - start]);
                loss += std::log1p(power);
                slope[i - start] = -y[i] * power / (1 + power);
            }
            for (long i = start; i < end; i++) add(features, slope[i - start], x + i * features, own.data());
        }
#pragma omp critical
        add(features, 1, own.data(), gradient);
    }
    *value = loss / count;
    scaled(features, 1.0 / count, gradient);
}

extern "C" void logistic_product(
    long count, long features, const double* __restrict w, const double* __restrict x, const double* __restrict y,
    const double* __restrict direction, double* __restrict result
) {
    std::memset(result, 0, features * sizeof(double));
#pragma omp parallel if (count * features > worth_threads)
    {
        std::vector<double> own(features, 0.0);
#pragma omp for schedule(static) nowait
        for (long start = 0; start < count; start += block) {
            const long end = start + block < count ? start + block : count;
            double bent[block], along[block];
            for (long i = start; i < end; i++) {
                bent[i - start] = product(features, x + i * features, w);
                along[i - start] = product(features, x + i * features, direction);
            }
#pragma omp simd
            for (long i = 0; i < end - start; i++) {
                const double power = std::exp(-y[start + i] * bent[i]), share = 1 / (1 + power);
                bent[i] = power * share * share * along[i];
            }
            for (long i = start; i < end; i++) add(features, bent[i - start], x + i * features, own.data());
        }
#pragma omp critical
        add(features, 1, own.data(), result);
    }
    scaled(features, 1.0 / count, result);
}
