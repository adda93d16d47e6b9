// Lorenz's equations, classical Runge-Kutta: the sum of squares of the last state and its gradient in the three parameters.
// The states are stored on the way forward, the stages are computed again on the way back; differentiated on paper.

static double states[1 << 20][3];

static inline double reach(int stage, double step) { return stage == 0 ? 0 : stage == 3 ? step : step / 2; }

static inline void stages(double step, const double* p, const double* state, double (*u)[3], double (*k)[3]) {
    for (int q = 0; q < 4; q++) {
        for (int i = 0; i < 3; i++) u[q][i] = state[i] + (q ? reach(q, step) * k[q - 1][i] : 0);
        k[q][0] = p[0] * (u[q][1] - u[q][0]);
        k[q][1] = u[q][0] * (p[1] - u[q][2]) - u[q][1];
        k[q][2] = u[q][0] * u[q][1] - p[2] * u[q][2];
    }
}

extern "C" double lorenz(long count, double step, const double* parameters, double* gradient) {
    const double p[3] = {parameters[0], parameters[1], parameters[2]};
    double s[3] = {1, 1, 1};
    for (long t = 0; t < count; t++) {
        for (int i = 0; i < 3; i++) states[t][i] = s[i];
        double u[4][3], k[4][3];
        stages(step, p, s, u, k);
        for (int i = 0; i < 3; i++) s[i] += step / 6 * (k[0][i] + 2 * k[1][i] + 2 * k[2][i] + k[3][i]);
    }
    double a[3] = {2 * s[0], 2 * s[1], 2 * s[2]}, g[3] = {0, 0, 0};
    for (long t = count - 1; t >= 0; t--) {
        double u[4][3], k[4][3], ak[4][3];
        stages(step, p, states[t], u, k);
        for (int i = 0; i < 3; i++) {
            ak[0][i] = ak[3][i] = step / 6 * a[i];
            ak[1][i] = ak[2][i] = step / 3 * a[i];
        }
        for (int q = 3; q >= 0; q--) {
            const double *b = ak[q], *v = u[q];
            const double au[3] = {
                -p[0] * b[0] + (p[1] - v[2]) * b[1] + v[1] * b[2],
                p[0] * b[0] - b[1] + v[0] * b[2],
                -v[0] * b[1] - p[2] * b[2],
            };
            g[0] += (v[1] - v[0]) * b[0];
            g[1] += v[0] * b[1];
            g[2] -= v[2] * b[2];
            for (int i = 0; i < 3; i++) {
                a[i] += au[i];
                if (q) ak[q - 1][i] += reach(q, step) * au[i];
            }
        }
    }
    for (int i = 0; i < 3; i++) gradient[i] = g[i];
    return s[0] * s[0] + s[1] * s[1] + s[2] * s[2];
}
