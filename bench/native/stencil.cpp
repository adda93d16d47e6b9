// One step of diffusion on n x n cells: every inner cell from itself and its eight neighbours, the border as it is.
#include <cstring>

template <bool DIAGONAL>
static void step(long n, double near, double diagonal, double centre, const double* __restrict x, double* __restrict y) {
    std::memcpy(y, x, n * sizeof(double));
    std::memcpy(y + (n - 1) * n, x + (n - 1) * n, n * sizeof(double));
#pragma omp parallel for schedule(static) if (n > 200)
    for (long i = 1; i < n - 1; i++) {
        const double *above = x + (i - 1) * n, *here = x + i * n, *below = x + (i + 1) * n;
        double* target = y + i * n;
        target[0] = here[0];
#pragma omp simd
        for (long j = 1; j < n - 1; j++) {
            double value = centre * here[j] + near * (above[j] + below[j] + here[j - 1] + here[j + 1]);
            if (DIAGONAL) value += diagonal * (above[j - 1] + above[j + 1] + below[j - 1] + below[j + 1]);
            target[j] = value;
        }
        target[n - 1] = here[n - 1];
    }
}

extern "C" void stencil(long n, double near, double diagonal, double centre, const double* x, double* y) {
    if (diagonal == 0)
        step<false>(n, near, diagonal, centre, x, y);
    else
        step<true>(n, near, diagonal, centre, x, y);
}
