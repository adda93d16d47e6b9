// Logistic regression, the mean of log(1 + exp(-y x·w)).
#include "linear_model.hpp"

extern "C" void logistic_gradient(
    long count, const double* w, const double* x, const double* y, double* value, double* gradient
) {
    mean_gradient(count, w, x, y, value, gradient, [](double target, double score, double& slope) {
        const double power = std::exp(-target * score);
        slope = -target * power / (1 + power);
        return std::log1p(power);
    });
}

extern "C" void logistic_product(
    long count, const double* w, const double* x, const double* y, const double* direction, double* result
) {
    mean_product(count, w, x, y, direction, result, [](double target, double score) {
        const double power = std::exp(-target * score), share = 1 / (1 + power);
        return power * share * share;
    });
}
