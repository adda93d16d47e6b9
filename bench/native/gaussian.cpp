// A weighted sum of a Gaussian kernel over all pairs of points in eight dimensions, and its gradient in the points.
#include <cmath>

static const int dimensions = 8;

extern "C" void gaussian(
    long n, const double* __restrict points, const double* __restrict weights, double* __restrict value,
    double* __restrict gradient
) {
    double energy = 0;
#pragma omp parallel for schedule(static) reduction(+ : energy) if (n > 100)
    for (long i = 0; i < n; i++) {
        double here[dimensions], pull[dimensions] = {0}, sum = 0;
        for (int d = 0; d < dimensions; d++) here[d] = points[d * n + i];
#pragma omp simd reduction(+ : sum, pull)
        for (long j = 0; j < n; j++) {
            double square = 0;
#pragma GCC unroll 8
            for (int d = 0; d < dimensions; d++) square += (here[d] - points[d * n + j]) * (here[d] - points[d * n + j]);
            const double kernel = weights[j] * std::exp(-square / 2);
            sum += kernel;
#pragma GCC unroll 8
            for (int d = 0; d < dimensions; d++) pull[d] += kernel * (here[d] - points[d * n + j]);
        }
        energy += weights[i] * sum;
        for (int d = 0; d < dimensions; d++) gradient[d * n + i] = -2 * weights[i] * pull[d];
    }
    *value = energy;
}
