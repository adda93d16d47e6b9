// What the machine can do at most: STREAM's triad for memory, independent chains of fused multiply-adds for arithmetic.
#include <omp.h>

// a = b + s c, and how often: 24 bytes an element are read and written, as STREAM counts.
extern "C" double triad(int threads, long count, long times, double* a, const double* b, const double* c) {
    double best = 1e30;
    for (long time = 0; time < times; time++) {
        const double start = omp_get_wtime();
#pragma omp parallel for simd schedule(static) num_threads(threads)
        for (long i = 0; i < count; i++) a[i] = b[i] + 3.0 * c[i];
        const double seconds = omp_get_wtime() - start;
        if (seconds < best) best = seconds;
    }
    return 24.0 * count / best;
}

// The vectors are as wide as the registers; there are enough of them to hide the latency of an operation.
template <class Real>
static double multiply_add(int threads, long steps) {
    typedef Real Vector __attribute__((vector_size(64)));
    constexpr int chains = 16, lanes = 64 / sizeof(Real);
    double best = 1e30;
    for (int time = 0; time < 5; time++) {
        const double start = omp_get_wtime();
        Real kept = 0;
#pragma omp parallel num_threads(threads) reduction(+ : kept)
        {
            Vector sums[chains];
            for (int k = 0; k < chains; k++) sums[k] = Vector{} + Real(k + omp_get_thread_num());
            const Vector factor = Vector{} + Real(0.999), term = Vector{} + Real(0.001);
            for (long step = 0; step < steps; step++) {
#pragma GCC unroll 16
                for (int k = 0; k < chains; k++) sums[k] = sums[k] * factor + term;
            }
            for (int k = 0; k < chains; k++) kept += sums[k][0];
        }
        const double seconds = omp_get_wtime() - start;
        // The sum is used, so the loop cannot be left out.
        if (seconds < best && kept != Real(0.12345)) best = seconds;
    }
    return 2.0 * threads * steps * chains * lanes / best;
}

extern "C" double multiply_add_float64(int threads, long steps) { return multiply_add<double>(threads, steps); }
extern "C" double multiply_add_float32(int threads, long steps) { return multiply_add<float>(threads, steps); }
