"""Solutions of equations as layers: derivatives by the implicit function theorem instead of through the solver's steps.

What solves an equation, by whatever iterations, has a derivative that knows nothing of them. Three such things:

* Kepler's equation M = E - e sin E, for the position of a planet or comet: ``lax.custom_root`` with Newton's method in a
  ``lax.while_loop``. Its first and second derivatives are known in closed form and compared.
* A deep-equilibrium layer z = tanh(A z + B x + b), an endlessly deep network of one layer, which learns to tell two spirals
  apart: ``lax.fixed_point``. Its gradient is compared with that of the unrolled iteration, which takes a tape of all steps.
* Heat conduction in a rod, a linear system solved by conjugate gradients: ``lax.custom_linear_solve``. The conductivity of
  each piece of the rod is found from temperatures; the gradient, one more solution of the same system, is compared with
  the one by dense matrices.

    python examples/implicit_layer.py [--plot FILE]

The exit status is 1, with a traceback, when a derivative differs or a fit misses what it is to reach.

S. Bai, J. Kolter, V. Koltun (2019), "Deep equilibrium models"; B. Christianson (1994), "Reverse accumulation and attractive
fixed points", Optimization Methods and Software 3, 311-326.
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


def milliseconds(function: Callable[..., Any], *arguments: Any) -> float:
    """The least of several calls, after one that compiles."""
    function(*arguments)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - began)
    return 1e3 * min(times)


# ----------------------------------------------------------------------------------------------------------------------
# Kepler's equation


def newton(function: Callable[[Any], Any], guess):
    """A root of a function of one number, to the last digits."""

    def improve(carry):
        x, _ = carry
        value, slope = gx.jvp(function, (x,), (1.0,))
        return x - value / slope, np.abs(value / slope)

    # The error after a step is of the order of the step's square: below 1e-8 one more step would change nothing.
    return lax.while_loop(lambda carry: carry[1] > 1e-8, improve, (guess, np.inf))[0]


def eccentric_anomaly(mean_anomaly, eccentricity):
    """E, the angle that gives the position on the ellipse; M, the mean anomaly, is 2 pi times the share of the period."""

    def equation(anomaly):
        return anomaly - eccentricity * np.sin(anomaly) - mean_anomaly

    # From pi Newton's method converges for each M in 0 to 2 pi and e < 1.
    return lax.custom_root(equation, np.pi, newton, lambda slope, y: y / slope(1.0))


def kepler_derivatives(mean_anomaly: np.ndarray, eccentricity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E, its gradient by (M, e) and its Hessian in closed form."""
    anomaly = np.full_like(mean_anomaly, np.pi)
    for _ in range(100):
        defect = anomaly - eccentricity * np.sin(anomaly) - mean_anomaly
        anomaly = anomaly - defect / (1.0 - eccentricity * np.cos(anomaly))
    sine, cosine = np.sin(anomaly), np.cos(anomaly)
    slope = 1.0 - eccentricity * cosine
    gradient = np.stack([1.0 / slope, sine / slope], axis=-1)
    second_mean = -eccentricity * sine / slope**3
    mixed = (cosine - eccentricity) / slope**3
    second_eccentricity = sine * (2.0 * cosine - eccentricity * sine**2 / slope) / slope**2
    hessian = np.stack([second_mean, mixed, mixed, second_eccentricity], axis=-1).reshape(-1, 2, 2)
    return anomaly, gradient, hessian


def check_kepler() -> None:
    print("Kepler's equation for 1000 pairs of mean anomaly and eccentricity")
    random = np.random.default_rng(1609)
    points = np.stack([random.uniform(0.0, 2.0 * np.pi, 1000), random.uniform(0.0, 0.97, 1000)], axis=1)

    def anomaly(point):
        return eccentric_anomaly(point[0], point[1])

    transforms = {"value": anomaly, "gradient": gx.grad(anomaly), "Hessian": gx.hessian(anomaly)}
    for (name, function), expected in zip(transforms.items(), kepler_derivatives(*points.T.copy()), strict=True):
        compiled = gx.jit(gx.vmap(function))
        error = np.max(np.abs(compiled(points) - expected) / (1.0 + np.abs(expected)))
        print(f"  {name:<9} {1e3 * milliseconds(compiled, points):6.0f} µs, largest error {error:.1e}")
        # Near e = 1 and M = 0 the second derivative is a third power of 1 / (1 - e): its rounding errors are, too.
        assert error < 1e-10, (name, error)


# ----------------------------------------------------------------------------------------------------------------------
# A deep-equilibrium layer


class Layer(NamedTuple):
    """The parameters of z = tanh(A z + B x + b) and of the logit c z + d. A is made from ``inner`` as a contraction."""

    inner: Any
    outer: Any
    bias: Any
    decoder: Any
    decoder_bias: Any


WIDTH = 16


def initial_layer(random: np.random.Generator) -> Layer:
    return Layer(
        random.standard_normal((WIDTH, WIDTH)),
        2.0 * random.standard_normal((WIDTH, 2)),
        random.standard_normal(WIDTH),
        random.standard_normal(WIDTH) / np.sqrt(WIDTH),
        np.zeros(()),
    )


def layer_map(z, x, layer: Layer):
    """The map whose fixed point is the layer. With a Frobenius norm below 1 it is a contraction: there is just one."""
    contraction = 0.95 * layer.inner / np.sqrt(1.0 + np.sum(layer.inner**2))
    return np.tanh(contraction @ z + layer.outer @ x + layer.bias)


def equilibrium(layer: Layer, x):
    return lax.fixed_point(layer_map, np.zeros(WIDTH), x, layer)


def unrolled(layer: Layer, x):
    """The same by so many iterations that nothing changes any more, differentiated one by one."""
    return lax.fori_loop(0, 400, lambda _, z: layer_map(z, x, layer), np.zeros(WIDTH))


def logits(layer: Layer, points, hidden=equilibrium):
    return gx.vmap(lambda x: np.dot(layer.decoder, hidden(layer, x)) + layer.decoder_bias)(points)


def loss(layer: Layer, points, labels, hidden=equilibrium):
    """Mean negative log-probability of the labels, which are 1 and -1, and a little weight decay."""
    decay = sum(np.sum(part**2) for part in layer)
    return np.mean(np.logaddexp(0.0, -labels * logits(layer, points, hidden))) + 1e-5 * decay


def spirals(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points on two arms that wind around each other, with some noise, and their labels 1 and -1."""
    turn = np.sqrt(random.uniform(0.03, 1.0, count)) * 1.2 * 2.0 * np.pi
    labels = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    arms = (labels * turn)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1) / 7.0
    return arms + 0.02 * random.standard_normal((count, 2)), labels


def train_layer() -> tuple[Layer, np.ndarray, np.ndarray]:
    print("\ndeep-equilibrium layer, two spirals")
    random = np.random.default_rng(2019)
    points, labels = spirals(240, random)
    layer = initial_layer(random)

    implicit = gx.jit(gx.value_and_grad(loss))
    explicit = gx.jit(gx.value_and_grad(lambda layer, points, labels: loss(layer, points, labels, unrolled)))
    _, gradient = implicit(layer, points, labels)
    _, expected = explicit(layer, points, labels)
    scale = max(np.max(np.abs(part)) for part in expected)
    difference = max(np.max(np.abs(a - b)) for a, b in zip(gradient, expected, strict=True)) / scale
    times = milliseconds(implicit, layer, points, labels), milliseconds(explicit, layer, points, labels)
    print(f"  value and gradient by the implicit function theorem {times[0]:.1f} ms,")
    print(f"  of 400 unrolled iterations {times[1]:.1f} ms; largest difference {difference:.1e}")
    assert difference < 1e-10, difference

    leaves, structure = gx.tree.flatten(layer)
    sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def rebuilt(flat):
        parts = np.split(flat, sizes)
        return gx.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])

    objective = gx.jit(gx.value_and_grad(lambda flat, points, labels: loss(rebuilt(flat), points, labels)))
    start = np.concatenate([leaf.ravel() for leaf in leaves])
    began = time.perf_counter()
    found = scipy.optimize.minimize(
        lambda flat: objective(flat, points, labels), start, jac=True, method="L-BFGS-B", options={"maxiter": 200}
    )
    layer = rebuilt(found.x)
    wrong = int(np.sum(labels * gx.jit(logits)(layer, points) <= 0.0))
    first = objective(start, points, labels)[0]
    print(f"  loss {first:.4f} before, {found.fun:.4f} after {found.nfev} gradients in {time.perf_counter() - began:.1f} s")
    print(f"  {wrong} of {labels.size} points on the wrong side")
    assert found.fun < 0.1 and wrong <= 2, (found.fun, wrong)
    return layer, points, labels


# ----------------------------------------------------------------------------------------------------------------------
# Heat conduction


def conduct(conductivity, temperature):
    """Heat that flows out of each inner node of a rod whose two ends are kept at 0: symmetric and positive definite."""
    padded = np.concatenate([np.zeros(1), temperature, np.zeros(1)])
    return -np.diff(conductivity * np.diff(padded))


def conjugate_gradients(matvec: Callable[[Any], Any], b):
    """The classical method for symmetric positive definite systems, to a residual of 1e-13 of the right-hand side."""

    def improve(carry):
        x, residual, direction, square, count = carry
        product = matvec(direction)
        length = square / np.sum(direction * product)
        x, residual = x + length * direction, residual - length * product
        next_square = np.sum(residual**2)
        return x, residual, residual + next_square / square * direction, next_square, count + 1

    def unfinished(carry):
        return (carry[3] > 1e-26 * np.sum(b**2)) & (carry[4] < 20 * b.size)

    return lax.while_loop(unfinished, improve, (np.zeros_like(b), b, b, np.sum(b**2), 0))[0]


def temperatures(logarithms, heating):
    """The steady temperatures of a rod's nodes under heating, for the logarithms of its pieces' conductivities."""
    conductivity = np.exp(logarithms)
    return lax.custom_linear_solve(
        lambda temperature: conduct(conductivity, temperature), heating, conjugate_gradients, symmetric=True
    )


class Rod(NamedTuple):
    true: np.ndarray
    found: np.ndarray
    measured: np.ndarray


def find_conductivity() -> Rod:
    print("\nheat conduction in a rod of 41 pieces")
    random = np.random.default_rng(1822)
    pieces = 41
    # Where no heat flows, temperatures say nothing of the conductivity: so there are two experiments.
    heating = np.stack([np.linspace(1.0, 0.0, pieces - 1), np.linspace(0.0, 1.0, pieces - 1)]) / pieces
    true = np.where(np.abs(np.arange(pieces) - 13) < 4, 0.4, 1.0) * np.where(np.arange(pieces) > 28, 2.5, 1.0)
    experiments = gx.vmap(temperatures, in_axes=(None, 0))
    measured = gx.jit(experiments)(np.log(true), heating)

    def cost(logarithms, heating):
        return 0.5 * np.sum((experiments(logarithms, heating) - measured) ** 2)

    point = 0.3 * random.standard_normal(pieces)
    gradient = gx.jit(gx.grad(cost))(point, heating)
    # By dense matrices: for A t = h, the gradient by a parameter p is -s (dA/dp) t with A s = t - measured.
    difference = np.diff(np.eye(pieces + 1)[:, 1:-1], axis=0)
    matrix = difference.T @ (np.exp(point)[:, None] * difference)
    solution = np.linalg.solve(matrix, heating.T)
    adjoint = np.linalg.solve(matrix, solution - measured.T)
    expected = -np.exp(point) * np.sum((difference @ adjoint) * (difference @ solution), axis=1)
    error = np.max(np.abs(gradient - expected)) / np.max(np.abs(expected))
    print(f"  gradient of a misfit by {pieces} conductivities: largest relative error {error:.1e}")
    assert error < 1e-10, error

    def residuals(logarithms, heating):
        return np.ravel(experiments(logarithms, heating) - measured)

    compiled, jacobian = gx.jit(residuals), gx.jit(gx.jacrev(residuals))
    began = time.perf_counter()
    fitted = scipy.optimize.least_squares(
        compiled, np.zeros(pieces), jacobian, args=(heating,), xtol=1e-14, ftol=1e-14, gtol=1e-14
    )
    found = np.exp(fitted.x)
    error = np.max(np.abs(found / true - 1.0))
    seconds = time.perf_counter() - began
    print(f"  conductivities from {measured.size} temperatures: {fitted.nfev} steps in {seconds:.2f} s, error {error:.1e}")
    assert error < 1e-6, error
    return Rod(true, found, measured)


# ----------------------------------------------------------------------------------------------------------------------
# The command


def plot(path: Path, layer: Layer, points: np.ndarray, labels: np.ndarray, rod: Rod) -> None:
    """Positions on ellipses at equal times, the layer's decision, and the rod."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13.0, 4.2), layout="constrained")
    anomaly = gx.jit(gx.vmap(eccentric_anomaly, in_axes=(0, None)))
    whole = np.linspace(0.0, 2.0 * np.pi, 400)
    for number, eccentricity in enumerate((0.1, 0.5, 0.8, 0.967)):
        for anomalies, style in ((whole, "-"), (anomaly(whole[:-1:19], eccentricity), "o")):
            x = np.cos(anomalies) - eccentricity
            y = np.sqrt(1.0 - eccentricity**2) * np.sin(anomalies)
            label = f"e = {eccentricity}" if style == "-" else None
            left.plot(x, y, style, color=f"C{number}", markersize=3.5, linewidth=0.9, label=label)
    left.plot(0.0, 0.0, "*", color="0.2", markersize=9)
    left.set_aspect("equal")
    left.set_title("Kepler's equation: orbits, dots at equal times", fontsize=10)
    left.set_ylim(-1.15, 1.45)
    left.legend(fontsize=8, loc="upper center", ncols=4, columnspacing=1.0, handlelength=1.2)

    grid = np.linspace(-1.35, 1.35, 120)
    plane = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    surface = gx.jit(logits)(layer, plane).reshape(grid.size, grid.size)
    middle.contourf(grid, grid, np.tanh(0.5 * surface), levels=np.linspace(-1.0, 1.0, 21), cmap="RdBu_r", alpha=0.75)
    middle.contour(grid, grid, surface, levels=[0.0], colors="0.2", linewidths=1.0)
    for label, colour in ((1.0, "C3"), (-1.0, "C0")):
        chosen = points[labels == label]
        middle.plot(chosen[:, 0], chosen[:, 1], ".", color=colour, markersize=7, markeredgecolor="white", markeredgewidth=0.5)
    middle.set_aspect("equal")
    middle.set_title(f"equilibrium layer of width {WIDTH}: two spirals", fontsize=10)

    pieces = np.arange(rod.true.size)
    right.step(pieces, rod.true, where="mid", color="0.6", linewidth=4.0, label="conductivity")
    right.step(pieces, rod.found, where="mid", color="C3", linewidth=1.3, label="found from temperatures")
    for number, measured in enumerate(rod.measured):
        label = "temperatures, scaled" if number == 0 else None
        right.plot(pieces[:-1] + 0.5, measured / np.max(rod.measured), ".", color="C0", markersize=4, label=label)
    right.set_title("rod: conductivity from temperatures", fontsize=10)
    right.set(xlabel="piece", ylim=(0.0, None))
    right.legend(fontsize=8, loc="upper left")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Derivatives by the implicit function theorem: three equations as layers.")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the three results")
    options = parser.parse_args(arguments)
    check_kepler()
    layer, points, labels = train_layer()
    rod = find_conductivity()
    if options.plot is not None:
        plot(options.plot, layer, points, labels, rod)
    return 0


if __name__ == "__main__":
    sys.exit(main())
