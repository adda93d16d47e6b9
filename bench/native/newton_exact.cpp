// The loop of newton.cpp with the operations that are written there: it divides by three.
#pragma GCC optimize("no-fast-math")
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
