"""Estimate the parameters of an ordinary differential equation, with gradients in reverse mode through its integrators.

The Hudson Bay Company's purchases of pelts, 1900 to 1920, are the classical series of a predator and its prey. Lotka and
Volterra's equations are fitted to it,

    hare' = (birth - hunt lynx) hare,      lynx' = (feed hare - death) lynx,

the four rates and the two populations of 1900, by least squares of the logarithms. The equations are integrated by two
methods, each a few lines of plain NumPy inside loops that compile to native ones:

* the classical Runge-Kutta method of order 4 in fixed steps, ``lax.fori_loop`` inside ``lax.scan``;
* Dormand and Prince's pair of orders 5 and 4 with adaptive steps, ``lax.while_loop`` inside ``lax.scan``: the number of
  steps, accepted or refused, is known only when it runs. It steps exactly to each time of observation.

``grad`` of either goes back through the steps that were made. Before the fit both are checked: the orders of convergence on
an equation with a known solution, and the gradients against each other and against finite differences.

    python examples/ode_parameters.py [--plot FILE]

J. R. Dormand, P. J. Prince (1980), "A family of embedded Runge-Kutta formulae", J. Comput. Appl. Math. 6, 19-26.
E. Hairer, S. P. Nørsett, G. Wanner (1993), "Solving Ordinary Differential Equations I", 2nd edition, sections II.4 and II.5,
for the error norm and the step size controller (Gustafsson's "PI" control).
"""

from __future__ import annotations

import argparse
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

import gradxform as gx
from gradxform import lax

DATA = Path(__file__).parent / "data" / "lynx_hare.csv"
NAMES = ("birth", "hunt", "death", "feed", "hare in 1900", "lynx in 1900")

# ----------------------------------------------------------------------------------------------------------------------
# The integrators. A field is a function of the time, the state and the parameters; both methods return the state at each of
# ``times``, the first of which is that of ``start``, and the number of steps.

Field = Callable[[Any, Any, Any], Any]
Integrator = Callable[[Field, Any, Any, Any], tuple[Any, Any]]


def runge_kutta_4(steps: int) -> Integrator:
    """The classical method with a number of equal steps from each time to the next."""

    def integrate(field: Field, start, times, parameters):
        def interval(state, ends):
            first, last = ends
            size = (last - first) / steps

            def step(i, y):
                t = first + i * size
                k1 = field(t, y, parameters)
                k2 = field(t + 0.5 * size, y + 0.5 * size * k1, parameters)
                k3 = field(t + 0.5 * size, y + 0.5 * size * k2, parameters)
                k4 = field(t + size, y + size * k3, parameters)
                return y + size / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)

            state = lax.fori_loop(0, steps, step, state)
            return state, state

        _, states = lax.scan(interval, start, (times[:-1], times[1:]))
        return np.concatenate([start[None], states]), steps * (times.size - 1)

    return integrate


# Dormand and Prince's coefficients. The last row gives the result, of order 5; its field is the next step's first stage.
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The result of order 5 minus that of order 4.
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def combine(weights: Sequence[float], slopes: Sequence[Any]):
    return sum(weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight != 0.0)


def trial_step(field: Field, t, y, slope, size, parameters) -> tuple[Any, Any, Any]:
    """The result of a step, the field there, and the estimate of the step's error."""
    slopes = [slope]
    for node, weights in zip(NODES[1:], STAGES[1:], strict=True):
        result = y + size * combine(weights, slopes)
        slopes.append(field(t + node * size, result, parameters))
    return result, slopes[-1], size * combine(ERROR, slopes)


class Progress(NamedTuple):
    """The carry of the adaptive method's loop: where it is, the field there, and what the controller knows."""

    t: Any
    y: Any
    slope: Any
    size: Any
    previous_error: Any
    steps: Any


def dormand_prince(relative: float, absolute: float, first_size: float = 0.05) -> Integrator:
    """Adaptive steps whose estimated error stays below absolute + relative |y| in the mean square."""

    def integrate(field: Field, start, times, parameters):
        def interval(progress: Progress, end):
            def step(now: Progress) -> Progress:
                last = now.t + 1.01 * now.size >= end
                size = np.where(last, end - now.t, now.size)
                y, slope, error = trial_step(field, now.t, now.y, now.slope, size, parameters)
                scale = absolute + relative * np.maximum(np.abs(now.y), np.abs(y))
                norm = np.maximum(np.sqrt(np.mean((error / scale) ** 2)), 1e-8)
                accepted = norm <= 1.0
                factor = np.clip(0.9 * norm**-0.17 * now.previous_error**0.04, 0.2, np.where(accepted, 10.0, 1.0))
                # A last step cut short to end on time says little about how long steps may be.
                next_size = np.where(last & accepted, np.maximum(now.size, size * factor), size * factor)
                return Progress(
                    t=np.where(accepted, np.where(last, end, now.t + size), now.t),
                    y=np.where(accepted, y, now.y),
                    slope=np.where(accepted, slope, now.slope),
                    size=next_size,
                    previous_error=np.where(accepted, norm, now.previous_error),
                    steps=now.steps + 1,
                )

            progress = lax.while_loop(lambda now: now.t < end, step, progress)
            return progress, progress.y

        begin = Progress(times[0], start, field(times[0], start, parameters), first_size, 1.0, 0)
        finish, states = lax.scan(interval, begin, times[1:])
        return np.concatenate([start[None], states]), finish.steps

    return integrate


# ----------------------------------------------------------------------------------------------------------------------
# The model


def lotka_volterra(t, populations, rates):
    hare, lynx = populations
    birth, hunt, death, feed = rates
    return np.stack([(birth - hunt * lynx) * hare, (feed * hare - death) * lynx])


def residuals(integrate: Integrator, logarithms, years, pelts):
    """Logarithms of model over data. The parameters are positive and of different sizes: their logarithms are fitted."""
    parameters = np.exp(logarithms)
    populations, _ = integrate(lotka_volterra, parameters[4:], years, parameters[:4])
    return np.ravel(np.log(populations) - np.log(pelts))


def half_sum_of_squares(integrate: Integrator, logarithms, years, pelts):
    return 0.5 * np.sum(residuals(integrate, logarithms, years, pelts) ** 2)


# ----------------------------------------------------------------------------------------------------------------------
# Checks


def seasonal_growth(t, y, rate):
    """y' = rate cos(t) y, whose solution from 1 is exp(rate sin t)."""
    return rate * np.cos(t) * y


def fitted_slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


class Convergence(NamedTuple):
    sizes: np.ndarray
    errors: dict[str, np.ndarray]
    tolerances: np.ndarray
    adaptive_steps: np.ndarray
    adaptive_errors: np.ndarray


def measure_convergence() -> Convergence:
    """Errors at t = 4 for fixed steps of both methods, and for the adaptive steps of several tolerances."""
    end, start, rate = 4.0, np.ones(1), 2.0
    times, exact = np.array([0.0, end]), np.exp(rate * np.sin(end))

    @gx.jit(static_argnums=0)
    def dormand_prince_in_equal_steps(count, rate):
        size = end / count

        def step(i, y):
            t = i * size
            return trial_step(seasonal_growth, t, y, seasonal_growth(t, y, rate), size, rate)[0]

        return lax.fori_loop(0, count, step, start)

    counts = np.array([40, 80, 160, 320])
    errors: dict[str, list[float]] = {"Runge-Kutta 4": [], "Dormand-Prince 5": []}
    for count in counts.tolist():
        states, _ = runge_kutta_4(count)(seasonal_growth, start, times, rate)
        errors["Runge-Kutta 4"].append(abs(states[-1, 0] - exact))
        errors["Dormand-Prince 5"].append(abs(dormand_prince_in_equal_steps(count, rate)[0] - exact))

    @gx.jit
    def adaptive(tolerance, rate):
        states, steps = dormand_prince(tolerance, tolerance)(seasonal_growth, start, times, rate)
        return np.abs(states[-1, 0] - exact), steps

    tolerances = 10.0 ** -np.arange(4.0, 12.0)
    adaptive_errors, adaptive_steps = np.array([adaptive(tolerance, rate) for tolerance in tolerances]).T
    return Convergence(
        end / counts, {name: np.array(values) for name, values in errors.items()}, tolerances, adaptive_steps, adaptive_errors
    )


def central_differences(function: Callable[[np.ndarray], Any], x: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Derivatives by differences of fourth order: their error is about the function's error over the step."""
    result = np.empty_like(x)
    for position in range(x.size):
        direction = step * (np.arange(x.size) == position)
        near = function(x + direction) - function(x - direction)
        far = function(x + 2.0 * direction) - function(x - 2.0 * direction)
        result[position] = (8.0 * near - far) / (12.0 * step)
    return result


# ----------------------------------------------------------------------------------------------------------------------
# The fit


class Fit(NamedTuple):
    parameters: np.ndarray
    deviations: np.ndarray
    cost: float
    evaluations: int
    seconds: float


def fit_by_gradients(integrate: Integrator, start: np.ndarray, years: np.ndarray, pelts: np.ndarray) -> Fit:
    """The quasi-Newton method BFGS with gradients in reverse mode; deviations from the exact Hessian at the solution."""

    def cost(logarithms, years, pelts):
        return half_sum_of_squares(integrate, logarithms, years, pelts)

    began = time.perf_counter()
    objective = gx.jit(gx.value_and_grad(cost))
    found = scipy.optimize.minimize(
        lambda x: objective(x, years, pelts), start, jac=True, method="BFGS", options={"gtol": 1e-7}
    )
    hessian = gx.jit(gx.hessian(cost))(found.x, years, pelts)
    return Fit(
        np.exp(found.x),
        deviations(hessian, found.fun, pelts.size),
        float(found.fun),
        found.nfev,
        time.perf_counter() - began,
    )


def fit_by_jacobians(integrate: Integrator, start: np.ndarray, years: np.ndarray, pelts: np.ndarray) -> Fit:
    """Levenberg and Marquardt's method with Jacobians in forward mode, and deviations from the last one."""
    began = time.perf_counter()
    compiled_residuals = gx.jit(lambda x, years, pelts: residuals(integrate, x, years, pelts))
    jacobian = gx.jit(gx.jacfwd(lambda x, years, pelts: residuals(integrate, x, years, pelts)))
    found = scipy.optimize.least_squares(
        compiled_residuals, start, jacobian, method="lm", args=(years, pelts), xtol=1e-10, ftol=1e-12, gtol=1e-10
    )
    return Fit(
        np.exp(found.x),
        deviations(found.jac.T @ found.jac, found.cost, pelts.size),
        float(found.cost),
        found.nfev,
        time.perf_counter() - began,
    )


def deviations(curvature: np.ndarray, cost: float, observations: int) -> np.ndarray:
    """Standard deviations of the logarithms of the parameters: relative ones of the parameters."""
    variance = 2.0 * cost / (observations - len(curvature))
    return np.sqrt(variance * np.diag(np.linalg.inv(curvature)))


# ----------------------------------------------------------------------------------------------------------------------
# The command


def check_orders(convergence: Convergence) -> None:
    print("errors at t = 4 of y' = 2 cos(t) y, y(0) = 1")
    print("  step    " + "  ".join(f"{name:>16}" for name in convergence.errors))
    for row, size in enumerate(convergence.sizes):
        print(f"  {size:<8.4f}" + "  ".join(f"{errors[row]:16.1e}" for errors in convergence.errors.values()))
    orders = {name: fitted_slope(convergence.sizes, errors) for name, errors in convergence.errors.items()}
    print("  order   " + "  ".join(f"{order:16.2f}" for order in orders.values()))
    for (name, order), expected in zip(orders.items(), (4.0, 5.0), strict=True):
        assert abs(order - expected) < 0.2, (name, order)
    print("  tolerance  adaptive steps  error")
    rows = zip(convergence.tolerances, convergence.adaptive_steps, convergence.adaptive_errors, strict=True)
    for tolerance, steps, error in rows:
        print(f"  {tolerance:<9.0e}  {steps:14.0f}  {error:.1e}")
        assert error < tolerance
    order = -fitted_slope(convergence.adaptive_steps[3:], convergence.adaptive_errors[3:])
    print(f"  order in the number of adaptive steps {order:.2f}")
    assert abs(order - 5.0) < 0.3, order


def check_gradients(integrators: dict[str, Integrator], start: np.ndarray, years: np.ndarray, pelts: np.ndarray) -> None:
    print("\ngradient of half the sum of squares by the logarithms of the parameters, where the fit starts")
    gradients = []
    for name, integrate in integrators.items():

        def cost(x, years, pelts, integrate=integrate):
            return half_sum_of_squares(integrate, x, years, pelts)

        value, gradient = gx.jit(cost), gx.jit(gx.grad(cost))
        result = gradient(start, years, pelts)
        numeric = central_differences(lambda x, value=value: value(x, years, pelts), start)
        times = [
            1e5 * min(timeit.repeat(lambda call=call: call(start, years, pelts), number=10, repeat=10))
            for call in (value, gradient)
        ]
        _, steps = gx.jit(lambda x, years, integrate=integrate: integrate(lotka_volterra, x[4:], years, x[:4]))(
            np.exp(start), years
        )
        print(f"  {name:<30}", *(f"{part:12.7f}" for part in result))
        print(f"  {'by finite differences':<30}", *(f"{part:12.7f}" for part in numeric))
        print(f"  {'':<30} {steps} steps; the value takes {times[0]:.0f} µs, the gradient {times[1]:.0f} µs")
        np.testing.assert_allclose(result, numeric, rtol=0.0, atol=1e-7 * np.max(np.abs(numeric)))
        gradients.append(result)
    np.testing.assert_allclose(*gradients, rtol=1e-7)


def plot(path: Path, years: np.ndarray, pelts: np.ndarray, fitted: Fit, start: np.ndarray, convergence: Convergence) -> None:
    """Data, start and fit over the years; the error against the number of steps of all methods."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    @gx.jit
    def simulate(parameters, times):
        return dormand_prince(1e-8, 1e-8)(lotka_volterra, parameters[4:], times, parameters[:4])[0]

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11.0, 4.2), width_ratios=(1.7, 1.0), layout="constrained")
    grid = np.linspace(years[0], years[-1], 401)
    before, after = simulate(np.exp(start), grid), simulate(fitted.parameters, grid)
    for column, (animal, colour) in enumerate((("hare", "C0"), ("lynx", "C3"))):
        left.plot(years, pelts[:, column], "o", color=colour, markersize=4, label=animal)
        left.plot(grid, after[:, column], color=colour, linewidth=1.5)
        left.plot(grid, before[:, column], color=colour, linewidth=0.8, linestyle=":")
    left.set_title("pelts and fitted model; dotted: where the fit starts", fontsize=10)
    left.set(xlabel="year", ylabel="thousands", xticks=np.arange(1900, 1921, 5), ylim=(0.0, 110.0))
    left.legend(fontsize=8, loc="upper right", ncols=2)

    counts = np.rint(4.0 / convergence.sizes)
    for (name, errors), marker in zip(convergence.errors.items(), "os", strict=True):
        right.loglog(counts, errors, marker=marker, label=f"{name}, equal steps")
    right.loglog(convergence.adaptive_steps, convergence.adaptive_errors, marker="^", label="Dormand-Prince 5(4), adaptive")
    right.set_title("error at t = 4 of y' = 2 cos(t) y", fontsize=10)
    right.set(xlabel="steps", ylabel="error", xticks=[20, 50, 100, 200], xticklabels=["20", "50", "100", "200"])
    right.minorticks_off()
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit Lotka and Volterra's equations to the pelts of lynx and hare.")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the fit and of the methods' convergence")
    options = parser.parse_args(arguments)
    years, hare, lynx = np.loadtxt(DATA, delimiter=",", skiprows=4).T.copy()
    pelts = np.stack([hare, lynx], axis=1)

    convergence = measure_convergence()
    check_orders(convergence)
    fixed, adaptive = runge_kutta_4(100), dormand_prince(1e-10, 1e-10)
    start = np.log([0.8, 0.02, 0.6, 0.02, 30.0, 4.0])
    check_gradients({"Runge-Kutta 4, fixed": fixed, "Dormand-Prince 5(4), adaptive": adaptive}, start, years, pelts)

    fits = {
        "BFGS, gradients in reverse mode, adaptive steps": fit_by_gradients(adaptive, start, years, pelts),
        "Levenberg-Marquardt, Jacobians in forward mode, fixed steps": fit_by_jacobians(fixed, start, years, pelts),
    }
    for title, fitted in fits.items():
        print(f"\n{title}: {fitted.evaluations} evaluations in {fitted.seconds:.2f} s, compilation included")
        for name, value, deviation in zip(NAMES, fitted.parameters, fitted.deviations, strict=True):
            print(f"  {name:<13} {value:10.6f} ± {value * deviation:.6f}")
        print(f"  half the sum of squares {fitted.cost:.10f}")
    first, second = fits.values()
    np.testing.assert_allclose(first.parameters, second.parameters, rtol=1e-5)
    # The posterior means of Carpenter's Bayesian analysis with the same, lognormal, errors.
    published = np.array([0.55, 0.028, 0.80, 0.024, 34.0, 5.9])
    assert np.all(np.abs(np.log(first.parameters / published)) < first.deviations), first.parameters
    listed = ", ".join(map(str, published))
    print(f"\nboth agree, and with {listed} of Carpenter (2018) to within one standard deviation")
    if options.plot is not None:
        plot(options.plot, years, pelts, first, start, convergence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
