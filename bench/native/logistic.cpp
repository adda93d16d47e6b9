// Logistic regression, the mean of log(1 + exp(-y x·w)): value and gradient, and the product of the Hessian with a vector.
// One pass: a block of observations stays in the cache between the products with the weights and with the slopes.
#include <cmath>
#include <cstring>
#include <vector>

static const long worth_threads = 20000;
static const long block = 32;

// Four rows at a time: the vector is loaded once for all of them, and four sums run side by side.
static inline void products(
    long rows, long features, const double* __restrict x, const double* __restrict vector, double* __restrict results
) {
    long r = 0;
    for (; r + 4 <= rows; r += 4) {
        const double *a = x + r * features, *b = a + features, *c = b + features, *d = c + features;
        double sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0;
#pragma omp simd reduction(+ : sum_a, sum_b, sum_c, sum_d)
        for (long f = 0; f < features; f++) {
            sum_a += a[f] * vector[f];
            sum_b += b[f] * vector[f];
            sum_c += c[f] * vector[f];
            sum_d += d[f] * vector[f];
        }
        results[r] = sum_a;
        results[r + 1] = sum_b;
        results[r + 2] = sum_c;
        results[r + 3] = sum_d;
    }
    for (; r < rows; r++) {
        double sum = 0;
        for (long f = 0; f < features; f++) sum += x[r * features + f] * vector[f];
        results[r] = sum;
    }
}

// Adds the rows, each times its factor; four at a time, so that the result is loaded and stored once for four.
static inline void add(
    long rows, long features, const double* __restrict factors, const double* __restrict x, double* __restrict result
) {
    long r = 0;
    for (; r + 4 <= rows; r += 4) {
        const double *a = x + r * features, *b = a + features, *c = b + features, *d = c + features;
        const double p = factors[r], q = factors[r + 1], s = factors[r + 2], t = factors[r + 3];
#pragma omp simd
        for (long f = 0; f < features; f++) result[f] += p * a[f] + q * b[f] + s * c[f] + t * d[f];
    }
    for (; r < rows; r++)
        for (long f = 0; f < features; f++) result[f] += factors[r] * x[r * features + f];
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
            const long rows = start + block < count ? block : count - start;
            const double *here = x + start * features, *target = y + start;
            double slope[block];
            products(rows, features, here, w, slope);
#pragma omp simd reduction(+ : loss)
            for (long i = 0; i < rows; i++) {
                const double power = std::exp(-target[i] * slope[i]);
                loss += std::log1p(power);
                slope[i] = -target[i] * power / (1 + power);
            }
            add(rows, features, slope, here, own.data());
        }
#pragma omp critical
        for (long f = 0; f < features; f++) gradient[f] += own[f];
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
            const long rows = start + block < count ? block : count - start;
            const double *here = x + start * features, *target = y + start;
            double bent[block], along[block];
            products(rows, features, here, w, bent);
            products(rows, features, here, direction, along);
#pragma omp simd
            for (long i = 0; i < rows; i++) {
                const double power = std::exp(-target[i] * bent[i]), share = 1 / (1 + power);
                bent[i] = power * share * share * along[i];
            }
            add(rows, features, bent, here, own.data());
        }
#pragma omp critical
        for (long f = 0; f < features; f++) result[f] += own[f];
    }
    scaled(features, 1.0 / count, result);
}
