// Rosenbrock's function and its gradient in one pass; each entry of the gradient from its two neighbours.
#include <cstddef>

extern "C" double rosenbrock(long n, const double* __restrict x, double* __restrict gradient) {
    double total = 0;
    const double first = x[1] - x[0] * x[0];
    gradient[0] = -400 * first * x[0] - 2 * (1 - x[0]);
#pragma omp parallel for simd schedule(static) reduction(+ : total) if (n > 50000)
    for (long i = 1; i < n - 1; i++) {
        const double before = x[i] - x[i - 1] * x[i - 1];
        const double rise = x[i + 1] - x[i] * x[i];
        const double gap = 1 - x[i];
        gradient[i] = 200 * before - 400 * rise * x[i] - 2 * gap;
        total += 100 * rise * rise + gap * gap;
    }
    gradient[n - 1] = 200 * (x[n - 1] - x[n - 2] * x[n - 2]);
    return total + 100 * first * first + (1 - x[0]) * (1 - x[0]);
}
