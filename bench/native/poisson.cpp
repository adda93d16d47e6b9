// Poisson regression, the mean of exp(x·w) - y x·w.
#include "linear_model.hpp"

extern "C" void poisson_gradient(
    long count, const double* w, const double* x, const double* y, double* value, double* gradient
) {
    mean_gradient(count, w, x, y, value, gradient, [](double target, double score, double& slope) {
        const double power = std::exp(score);
        slope = power - target;
        return power - target * score;
    });
}

extern "C" void poisson_product(
    long count, const double* w, const double* x, const double* y, const double* direction, double* result
) {
    mean_product(count, w, x, y, direction, result, [](double, double score) { return std::exp(score); });
}
