// The energy of n bodies that attract each other and its gradient: all pairs, each body's force summed in registers.
#include <cmath>

static const double softening = 1e-3;

extern "C" void gravitation(long n, const double* __restrict points, double* __restrict value, double* __restrict gradient) {
    const double *x = points, *y = points + n, *z = points + 2 * n;
    double energy = 0;
#pragma omp parallel for schedule(static) reduction(+ : energy) if (n > 100)
    for (long i = 0; i < n; i++) {
        const double here_x = x[i], here_y = y[i], here_z = z[i];
        double sum = 0, pull_x = 0, pull_y = 0, pull_z = 0;
#pragma omp simd reduction(+ : sum, pull_x, pull_y, pull_z)
        for (long j = 0; j < n; j++) {
            const double dx = here_x - x[j], dy = here_y - y[j], dz = here_z - z[j];
            const double inverse = 1 / std::sqrt(dx * dx + dy * dy + dz * dz + softening);
            const double cube = inverse * inverse * inverse;
            sum += inverse;
            pull_x += cube * dx;
            pull_y += cube * dy;
            pull_z += cube * dz;
        }
        energy -= sum / 2;
        gradient[i] = pull_x;
        gradient[n + i] = pull_y;
        gradient[2 * n + i] = pull_z;
    }
    *value = energy;
}
