// Softmax regression, the mean of logsumexp(x·w) - y·(x·w): value and gradient, and the product of the Hessian with a vector.
// One pass: a block of observations stays in the cache between the products with the weights and with the slopes. Classes are
// padded to a whole vector, and features are taken five at a time in the way back: the block's slopes are in registers then.
#include <cmath>
#include <cstring>

static const long worth_threads = 200;
static const long block = 8;
static const long features = 100;
static const long classes = 10;
static const long lanes = 16;

typedef double Row[lanes];

static void pad(const double* __restrict w, Row* __restrict padded) {
    for (long f = 0; f < features; f++)
        for (long k = 0; k < lanes; k++) padded[f][k] = k < classes ? w[f * classes + k] : 0;
}

// The predictors of a block: each weight is read once for all observations, whose sums are in registers.
static inline void products(const double* __restrict x, const Row* __restrict w, Row* __restrict results) {
    Row sums[block] = {{0}};
    for (long f = 0; f < features; f++)
#pragma GCC unroll 8
        for (long r = 0; r < block; r++)
#pragma omp simd
            for (long k = 0; k < lanes; k++) sums[r][k] += x[r * features + f] * w[f][k];
    std::memcpy(results, sums, sizeof(sums));
}

static inline void add(const double* __restrict x, const Row* __restrict slopes, Row* __restrict result) {
    const long width = 5;
    for (long f = 0; f < features; f += width) {
        Row sums[width];
        std::memcpy(sums, result + f, sizeof(sums));
        for (long r = 0; r < block; r++)
#pragma GCC unroll 5
            for (long q = 0; q < width; q++)
#pragma omp simd
                for (long k = 0; k < lanes; k++) sums[q][k] += x[r * features + f + q] * slopes[r][k];
        std::memcpy(result + f, sums, sizeof(sums));
    }
}

// The powers of the predictors over their greatest, in place; what they sum up to, and the greatest.
static inline double powers(double* __restrict row, double& greatest) {
    greatest = row[0];
    for (long k = 1; k < classes; k++) greatest = row[k] > greatest ? row[k] : greatest;
    const double most = greatest;
#pragma omp simd
    for (long k = 0; k < lanes; k++) row[k] = std::exp(row[k] - most);
    double sum = 0;
    for (long k = 0; k < classes; k++) sum += row[k];
    return sum;
}

// A block at the end that is not full is copied, with zeros after it.
static inline const double* whole_block(long rows, const double* __restrict x, double* __restrict copy) {
    if (rows == block) return x;
    std::memset(copy, 0, block * features * sizeof(double));
    std::memcpy(copy, x, rows * features * sizeof(double));
    return copy;
}

static void collect(const Row* __restrict own, double* __restrict result) {
    for (long f = 0; f < features; f++)
        for (long k = 0; k < classes; k++) result[f * classes + k] += own[f][k];
}

extern "C" void softmax_gradient(
    long count, const double* __restrict w, const double* __restrict x, const double* __restrict y, double* __restrict value,
    double* __restrict gradient
) {
    Row weights[features];
    double loss = 0;
    pad(w, weights);
    std::memset(gradient, 0, features * classes * sizeof(double));
#pragma omp parallel reduction(+ : loss) if (count > worth_threads)
    {
        Row own[features] = {{0}}, slopes[block];
        double copy[block * features];
#pragma omp for schedule(static) nowait
        for (long start = 0; start < count; start += block) {
            const long rows = start + block < count ? block : count - start;
            const double* here = whole_block(rows, x + start * features, copy);
            products(here, weights, slopes);
            for (long r = 0; r < rows; r++) {
                const double* target = y + (start + r) * classes;
                double met = 0, greatest;
                for (long k = 0; k < classes; k++) met += target[k] * slopes[r][k];
                const double sum = powers(slopes[r], greatest), scale = 1 / sum;
                loss += greatest + std::log(sum) - met;
                for (long k = 0; k < classes; k++) slopes[r][k] = slopes[r][k] * scale - target[k];
            }
            for (long r = rows; r < block; r++) std::memset(slopes[r], 0, sizeof(Row));
            add(here, slopes, own);
        }
#pragma omp critical
        collect(own, gradient);
    }
    *value = loss / count;
    for (long i = 0; i < features * classes; i++) gradient[i] /= count;
}

extern "C" void softmax_product(
    long count, const double* __restrict w, const double* __restrict x, const double*, const double* __restrict direction,
    double* __restrict result
) {
    Row weights[features], ways[features];
    pad(w, weights);
    pad(direction, ways);
    std::memset(result, 0, features * classes * sizeof(double));
#pragma omp parallel if (count > worth_threads)
    {
        Row own[features] = {{0}}, shares[block], pushed[block];
        double copy[block * features];
#pragma omp for schedule(static) nowait
        for (long start = 0; start < count; start += block) {
            const long rows = start + block < count ? block : count - start;
            const double* here = whole_block(rows, x + start * features, copy);
            products(here, weights, shares);
            products(here, ways, pushed);
            for (long r = 0; r < block; r++) {
                double greatest, inner = 0;
                const double scale = 1 / powers(shares[r], greatest);
                for (long k = 0; k < classes; k++) inner += shares[r][k] * pushed[r][k];
                inner *= scale;
                for (long k = 0; k < lanes; k++) pushed[r][k] = shares[r][k] * scale * (pushed[r][k] - inner);
            }
            add(here, pushed, own);
        }
#pragma omp critical
        collect(own, result);
    }
    for (long i = 0; i < features * classes; i++) result[i] /= count;
}
