// exp(-x²)·sin(x) + log1p(x²) over an array: one pass, vector functions of libmvec, all cores when it is worth it.
#include <cmath>

template <class Real>
static inline Real value(Real x) {
    const Real square = x * x;
    return std::exp(-square) * std::sin(x) + std::log1p(square);
}

template <class Real>
static inline void whole(long count, const Real* __restrict source, Real* __restrict target) {
    if (count < 20000) {
#pragma omp simd
        for (long i = 0; i < count; i++) target[i] = value(source[i]);
    } else {
#pragma omp parallel for simd schedule(static)
        for (long i = 0; i < count; i++) target[i] = value(source[i]);
    }
}

extern "C" void elementwise_float64(long count, const double* __restrict source, double* __restrict target) {
    whole(count, source, target);
}

extern "C" void elementwise_float32(long count, const float* __restrict source, float* __restrict target) {
    whole(count, source, target);
}
