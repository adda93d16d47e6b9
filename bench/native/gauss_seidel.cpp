// Gauss-Seidel sweeps of Laplace's equation over the interior of an n x n array, in place.

extern "C" void gauss_seidel(long n, long sweeps, const double* __restrict source, double* __restrict x) {
    for (long i = 0; i < n * n; i++) x[i] = source[i];
    for (long sweep = 0; sweep < sweeps; sweep++)
        for (long i = 1; i < n - 1; i++)
            for (long j = 1; j < n - 1; j++)
                x[i * n + j] = 0.25 * (x[(i - 1) * n + j] + x[(i + 1) * n + j] + x[i * n + j - 1] + x[i * n + j + 1]);
}
