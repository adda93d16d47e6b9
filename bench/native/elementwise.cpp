// exp(-x²)·sin(x) + log1p(x²) over an array: one pass, vector functions of libmvec, all cores when it is worth it.
#include <cmath>

static inline double value(double x) {
    const double square = x * x;
    return std::exp(-square) * std::sin(x) + std::log1p(square);
}

extern "C" void elementwise(long count, const double* __restrict source, double* __restrict target) {
    if (count < 20000) {
#pragma omp simd
        for (long i = 0; i < count; i++) target[i] = value(source[i]);
    } else {
#pragma omp parallel for simd schedule(static)
        for (long i = 0; i < count; i++) target[i] = value(source[i]);
    }
}
