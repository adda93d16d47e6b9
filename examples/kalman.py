"""Fit state-space models to the flow of the Nile by the gradient of a Kalman filter's log-likelihood.

The annual flow at Aswan, 1871 to 1970, is the classical series of the state-space literature. Two models of it:

* local level: the flow is a level plus noise of variance H, and the level is a random walk with steps of variance Q;
* local linear trend: the level also drifts, by a slope that is a random walk itself.

The filter is one ``lax.scan`` in plain NumPy. Everything else is derived from its log-likelihood:

* the gradient by the variances, with which they are estimated;
* the Hessian by their logarithms, whose inverse gives standard errors;
* the smoothed level and its variance, which need a recursion of their own in the books. Here they are the first and second
  derivative of the log-likelihood by the *observations* y: with a flat initial level, E(level | y) = y + H dL/dy, and
  Var(level | y) = H + H² d²L/dy².

    python examples/kalman.py [--plot FILE]

The exit status is 1, with a traceback, when a result differs from what is known: the variances 15099 and 1469.1 of Durbin
and Koopman, and log-likelihood, level and band of a computation with the dense covariance matrix.

J. Durbin, S. J. Koopman (2012), "Time Series Analysis by State Space Methods", 2nd edition, chapters 2 and 7.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

import gradxform as gx
from gradxform import lax

DATA = Path(__file__).parent / "data" / "nile.csv"

# ----------------------------------------------------------------------------------------------------------------------
# The filter


class StateSpace(NamedTuple):
    """state' = transition @ state + N(0, state_covariance);  y = design @ state + N(0, noise).

    ``mean`` and ``covariance`` are those of the state given the first ``used`` observations, before which nothing is known.
    """

    transition: Any
    design: Any
    state_covariance: Any
    noise: Any
    mean: Any
    covariance: Any
    used: int


class Filtered(NamedTuple):
    """What the filter knows at each time: the one-step prediction of y, its variance, and the state's mean after y."""

    prediction: Any
    variance: Any
    mean: Any


def kalman_filter(model: StateSpace, y) -> tuple[Any, Filtered]:
    """The log-likelihood of y[used:], given the first ``used`` observations, and the filtered quantities."""

    def step(carry, observation):
        mean, covariance, log_likelihood = carry
        mean = model.transition @ mean
        covariance = model.transition @ covariance @ model.transition.T + model.state_covariance
        prediction = model.design @ mean
        variance = model.design @ covariance @ model.design + model.noise
        innovation = observation - prediction
        gain = covariance @ model.design / variance
        mean = mean + gain * innovation
        covariance = covariance - np.outer(gain, gain) * variance
        log_likelihood = log_likelihood - 0.5 * (np.log(2.0 * np.pi * variance) + innovation**2 / variance)
        return (mean, covariance, log_likelihood), Filtered(prediction, variance, mean)

    (_, _, log_likelihood), filtered = lax.scan(step, (model.mean, model.covariance, 0.0), y[model.used :])
    return log_likelihood, filtered


def local_level(variances, y) -> StateSpace:
    """Variances of the noise and of the level's steps. One observation gives the level up to its noise."""
    noise, level = variances
    one = np.ones(1)
    return StateSpace(
        transition=np.eye(1),
        design=one,
        state_covariance=level * np.eye(1),
        noise=noise,
        mean=y[0] * one,
        covariance=noise * np.eye(1),
        used=1,
    )


def local_linear_trend(variances, y) -> StateSpace:
    """Variances of the noise, of the level's steps and of the slope's. Two observations give level and slope."""
    noise, level, slope = variances
    return StateSpace(
        transition=np.array([[1.0, 1.0], [0.0, 1.0]]),
        design=np.array([1.0, 0.0]),
        state_covariance=np.diag(np.stack([level, slope])),
        noise=noise,
        mean=np.stack([y[1], y[1] - y[0]]),
        covariance=noise * np.array([[1.0, 1.0], [1.0, 2.0]]) + (level + slope) * np.diag([0.0, 1.0]),
        used=2,
    )


Model = Callable[[Any, Any], StateSpace]
MODELS: dict[str, Model] = {"local level": local_level, "local linear trend": local_linear_trend}
NAMES = ("noise", "level", "slope")

# ----------------------------------------------------------------------------------------------------------------------
# Estimation


class Fit(NamedTuple):
    variances: np.ndarray
    log_likelihood: float
    evaluations: int
    seconds: float


def fit(model: Model, y: np.ndarray, count: int) -> Fit:
    """The variances that maximise the log-likelihood, in units of the series' own variance and bounded by 0 below."""
    scale = np.var(y)

    def objective(relative, y):
        return -kalman_filter(model(scale * relative, y), y)[0]

    compiled = gx.jit(gx.value_and_grad(objective))
    began = time.perf_counter()
    found = scipy.optimize.minimize(
        lambda relative: compiled(relative, y),
        np.full(count, 0.3),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1e-8, None), *[(0.0, None)] * (count - 1)],
        options={"gtol": 1e-9, "ftol": 1e-15},
    )
    return Fit(scale * found.x, -float(found.fun), found.nfev, time.perf_counter() - began)


def deviations_of_logarithms(model: Model, variances: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Standard errors from the observed information: the Hessian by the logarithms of the variances."""

    def objective(logarithms, y):
        return -kalman_filter(model(np.exp(logarithms), y), y)[0]

    information = gx.jit(gx.hessian(objective))(np.log(variances), y)
    return np.sqrt(np.diag(np.linalg.inv(information)))


def smooth(model: Model, variances: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the level at each time given the whole series, by differentiating with respect to the series.

    L(y) is the logarithm of a Gaussian density in y, so its first two derivatives say what y is expected to be less noise.
    """

    def objective(y, variances):
        return kalman_filter(model(variances, y), y)[0]

    noise = variances[0]
    gradient = gx.jit(gx.grad(objective))(y, variances)
    hessian = gx.jit(gx.hessian(objective))(y, variances)
    return y + noise * gradient, noise + noise**2 * np.diag(hessian)


# ----------------------------------------------------------------------------------------------------------------------
# The same by dense linear algebra, without a filter: the density of the differences, which do not know the initial level.


def dense_log_likelihood(variances: np.ndarray, y: np.ndarray) -> float:
    """The log-density of the differences: first ones for the local level, second ones for the local linear trend."""
    order = variances.size - 1
    size = y.size
    difference = np.diff(np.eye(size), n=order, axis=0)
    covariance = variances[0] * difference @ difference.T
    # The d-th differences of the level: its steps differenced d - 1 times, and for the trend the slope's steps, too.
    steps = np.diff(np.eye(size - 1), n=order - 1, axis=0)
    covariance += variances[1] * steps @ steps.T
    if order == 2:
        covariance += variances[2] * np.eye(size - 2)
    values = difference @ y
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * float(log_determinant + values @ np.linalg.solve(covariance, values) + values.size * np.log(2.0 * np.pi))


def dense_smooth(variances: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the local level given y with a flat prior: the precision matrix is tridiagonal."""
    difference = np.diff(np.eye(y.size), axis=0)
    precision = np.eye(y.size) / variances[0] + difference.T @ difference / variances[1]
    covariance = np.linalg.inv(precision)
    return covariance @ y / variances[0], np.diag(covariance)


# ----------------------------------------------------------------------------------------------------------------------
# The command


def plot(path: Path, years: np.ndarray, y: np.ndarray, fits: dict[str, Fit], level: np.ndarray, variance: np.ndarray) -> None:
    """The smoothed level with its band, the filter's one-step predictions, and the likelihood around its maximum."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    variances = fits["local level"].variances
    _, filtered = gx.jit(lambda variances, y: kalman_filter(local_level(variances, y), y))(variances, y)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11.0, 4.2), width_ratios=(1.7, 1.0), layout="constrained")
    left.plot(years, y, ".", color="0.45", markersize=5, label="annual flow")
    left.plot(years[1:], filtered.prediction, color="C0", linewidth=0.9, label="one-step prediction")
    left.plot(years, level, color="C3", linewidth=1.6, label="smoothed level")
    half = 1.645 * np.sqrt(variance)
    left.fill_between(years, level - half, level + half, color="C3", alpha=0.18, linewidth=0.0, label="90 % band")
    left.set_title("The Nile at Aswan: local level model", fontsize=10)
    left.set_xlabel("year")
    left.set_ylabel("flow in $10^8$ m³")
    left.legend(fontsize=8)

    noise, steps = np.geomspace(6e3, 3e4, 80), np.geomspace(8e1, 2e4, 80)
    surface = gx.jit(
        gx.vmap(
            gx.vmap(lambda noise, steps, y: kalman_filter(local_level((noise, steps), y), y)[0], in_axes=(0, None, None)),
            in_axes=(None, 0, None),
        )
    )(noise, steps, y)
    below = fits["local level"].log_likelihood - surface
    # Twice the log-likelihood ratio is chi-squared with 2 degrees of freedom: -log(1 - p) below the maximum.
    contours = right.contour(noise, steps, below, levels=-np.log1p(-np.array([0.5, 0.9, 0.99])), colors="C0")
    right.clabel(contours, fmt=dict(zip(contours.levels, ("50 %", "90 %", "99 %"), strict=True)), fontsize=8)
    right.plot(*variances, "o", color="C3")
    right.set(xscale="log", yscale="log", xlabel="variance of the noise", ylabel="variance of the level's steps")
    right.set_xticks([1e4, 2e4, 3e4], ["10 000", "20 000", "30 000"])
    right.minorticks_off()
    right.set_title("confidence regions of the two variances", fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit state-space models to the flow of the Nile.")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the smoothed level and the likelihood")
    options = parser.parse_args(arguments)
    years, y = np.loadtxt(DATA, delimiter=",", skiprows=4).T.copy()

    fits = {}
    for count, (name, model) in enumerate(MODELS.items(), 2):
        fitted = fits[name] = fit(model, y, count)
        print(
            f"{name}: log-likelihood {fitted.log_likelihood:.4f}"
            f" after {fitted.evaluations} values and gradients in {1e3 * fitted.seconds:.0f} ms, compilation included"
        )
        for part, variance in zip(NAMES, fitted.variances, strict=False):
            print(f"  variance of the {part:<6} {variance:10.2f}")
        np.testing.assert_allclose(fitted.log_likelihood, dense_log_likelihood(fitted.variances, y), rtol=1e-10)
    print("  so the slope is constant: there is no trend but that of the level's own steps")
    assert fits["local linear trend"].variances[2] < 1.0

    variances = fits["local level"].variances
    np.testing.assert_allclose(variances, [15099.0, 1469.1], rtol=2e-4)
    print("\nDurbin and Koopman: 15099 and 1469.1; the log-likelihoods equal those of the dense covariance matrices")

    errors = deviations_of_logarithms(local_level, variances, y)
    for part, variance, error in zip(NAMES, variances, errors, strict=False):
        low, high = variance * np.exp(-1.96 * error), variance * np.exp(1.96 * error)
        print(f"95 % of the variance of the {part:<6} {low:8.0f} to {high:8.0f}")

    level, variance = smooth(local_level, variances, y)
    expected_level, expected_variance = dense_smooth(variances, y)
    np.testing.assert_allclose(level, expected_level, rtol=1e-9)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-7)
    print(f"level in {years[0]:.0f}: {level[0]:.1f} ± {np.sqrt(variance[0]):.1f},", end=" ")
    print(f"in {years[-1]:.0f}: {level[-1]:.1f} ± {np.sqrt(variance[-1]):.1f}")
    print("smoothed mean and variance, by derivatives with respect to the series, equal those of the dense precision matrix")
    if options.plot is not None:
        plot(options.plot, years, y, fits, level, variance)
    return 0


if __name__ == "__main__":
    sys.exit(main())
