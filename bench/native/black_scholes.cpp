// The price of a call option and five Greeks: one pass, the formulas of the textbook, vector functions of libmvec.
#include <cmath>

static const double strike = 100;

static inline double normal(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }

extern "C" void black_scholes(
    long count, const double* __restrict spot, const double* __restrict maturity, const double* __restrict rate,
    const double* __restrict volatility, double* __restrict price, double* __restrict delta, double* __restrict gamma,
    double* __restrict theta, double* __restrict rho, double* __restrict vega
) {
#pragma omp parallel for simd schedule(static) if (count > 5000)
    for (long i = 0; i < count; i++) {
        const double root = std::sqrt(maturity[i]), spread = volatility[i] * root;
        const double drift = (rate[i] + volatility[i] * volatility[i] / 2) * maturity[i];
        const double upper = (std::log(spot[i] / strike) + drift) / spread;
        const double density = std::exp(-upper * upper / 2) * 0.39894228040143267794;
        const double discounted = strike * std::exp(-rate[i] * maturity[i]);
        const double above = normal(upper), below = normal(upper - spread);
        price[i] = spot[i] * above - discounted * below;
        delta[i] = above;
        gamma[i] = density / (spot[i] * spread);
        theta[i] = -spot[i] * density * volatility[i] / (2 * root) - rate[i] * discounted * below;
        rho[i] = maturity[i] * discounted * below;
        vega[i] = spot[i] * density * root;
    }
}
