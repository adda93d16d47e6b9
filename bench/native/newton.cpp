// A cube root by damped Newton steps, until the step is small: the loop that a while_loop is held against.
// With -ffast-math it multiplies by a third; newton_exact.cpp divides.
#include <cmath>

extern "C" double newton(double a, double damping, double tolerance) {
    double x = a;
    double step = a;
    while (std::fabs(step) > tolerance) {
        step = (x - a / (x * x)) / 3;
        x -= damping * step;
    }
    return x;
}
