"""Fit the NIST reference data sets for nonlinear regression and count the correct digits.

Each model below is one line of plain NumPy. From it gradxform derives and compiles, once per data set,

* the residuals,
* their Jacobian, ``jit(jacfwd(residuals))``,
* the Hessian of half the residual sum of squares, ``jit(hessian(...))``,
* the residuals' second derivative along a direction, ``jvp`` of ``jvp``: Transtrum's "geodesic acceleration".

The fit from a starting point has two parts: accelerated Levenberg-Marquardt (or, with ``--solver scipy``,
``scipy.optimize.least_squares``), the same for all sets and with no regard to the certified values; then a polish by
Newton's method with the exact Hessian, until the steps are rounding noise.

The table counts correct digits as NIST does, the log relative error -log10(|value - certified| / |certified|). The
certified values have 11 digits, so 11 is the most that can be seen.

    python examples/nist_regression.py [--sets Misra1a MGH17] [--solver scipy] [--plot FILE] [--plots DIR] [--json FILE]

The exit status is 1 when any parameter, standard deviation or residual sum of squares has fewer than 6 correct digits.

Transtrum, Sethna (2012), "Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares minimization",
arXiv:1201.5885. Moré (1978), "The Levenberg-Marquardt algorithm: implementation and theory", for the scaling.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

import gradxform as gx

DATA = Path(__file__).parent / "data" / "nist"
CERTIFIED_DIGITS = 11.0
REQUIRED_DIGITS = 6.0

# ----------------------------------------------------------------------------------------------------------------------
# The models: plain NumPy, b the parameters, x the predictor (for Nelson one row per predictor).


def exponential_rise(b, x):
    return b[0] * (1.0 - np.exp(-b[1] * x))


def misra1b(b, x):
    return b[0] * (1.0 - (1.0 + 0.5 * b[1] * x) ** -2)


def chwirut(b, x):
    return np.exp(-b[0] * x) / (b[1] + b[2] * x)


def danwood(b, x):
    return b[0] * x ** b[1]


def enso(b, x):
    annual, first, second = 2.0 * np.pi * x / 12.0, 2.0 * np.pi * x / b[3], 2.0 * np.pi * x / b[6]
    return (
        b[0]
        + b[1] * np.cos(annual) + b[2] * np.sin(annual)
        + b[4] * np.cos(first) + b[5] * np.sin(first)
        + b[7] * np.cos(second) + b[8] * np.sin(second)
    )  # fmt: skip


def decay_and_two_peaks(b, x):
    first = b[2] * np.exp(-((x - b[3]) ** 2) / b[4] ** 2)
    second = b[5] * np.exp(-((x - b[6]) ** 2) / b[7] ** 2)
    return b[0] * np.exp(-b[1] * x) + first + second


def cubic_over_cubic(b, x):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1.0 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def quadratic_over_quadratic(b, x):
    return (b[0] + b[1] * x + b[2] * x**2) / (1.0 + b[3] * x + b[4] * x**2)


def three_exponentials(b, x):
    return b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)


def offset_and_two_exponentials(b, x):
    return b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4])


def nelson(b, x):
    return b[0] - b[1] * x[0] * np.exp(-b[2] * x[1])


def logistic(b, x):
    return b[0] / (1.0 + np.exp(b[1] - b[2] * x))


def generalised_logistic(b, x):
    return b[0] / (1.0 + np.exp(b[1] - b[2] * x)) ** (1.0 / b[3])


def roszman(b, x):
    return b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi


MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "Misra1a": exponential_rise,
    "Misra1b": misra1b,
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": danwood,
    "ENSO": enso,
    "Gauss1": decay_and_two_peaks,
    "Gauss2": decay_and_two_peaks,
    "Hahn1": cubic_over_cubic,
    "Kirby2": quadratic_over_quadratic,
    "Lanczos3": three_exponentials,
    "MGH17": offset_and_two_exponentials,
    "Nelson": nelson,
    "Rat42": logistic,
    "Rat43": generalised_logistic,
    "Roszman1": roszman,
    "Thurber": cubic_over_cubic,
    "BoxBOD": exponential_rise,
}

# ----------------------------------------------------------------------------------------------------------------------
# The files


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """One data set: observations, the two published starting points, and what NIST certifies."""

    name: str
    level: str
    x: np.ndarray
    y: np.ndarray
    starts: tuple[np.ndarray, np.ndarray]
    parameters: np.ndarray
    deviations: np.ndarray
    residual_sum: float
    residual_deviation: float
    degrees_of_freedom: int


def read_reference(path: Path) -> ReferenceSet:
    """Read a StRD file by what its own header says: line ranges, number of predictors, and whether log[y] is fitted."""
    lines = path.read_text(encoding="ascii").splitlines()
    text = "\n".join(lines)

    def line_range(label: str) -> list[str]:
        first, last = map(int, search(rf"{label}\s*\(lines\s+(\d+)\s+to\s+(\d+)\)").groups())
        return lines[first - 1 : last]

    def search(pattern: str) -> re.Match[str]:
        found = re.search(pattern, text)
        if found is None:
            raise ValueError(f"{path.name}: no match for {pattern!r}; is this an NIST StRD nonlinear regression file?")
        return found

    rows = [line.split("=")[1].split() for line in line_range("Starting Values")]
    start_1, start_2, parameters, deviations = np.array(rows, dtype=float).T
    data = np.array([line.split() for line in line_range("Data")], dtype=float)
    observations = int(search(r"Number of Observations:\s+(\d+)")[1])
    predictors = int(search(r"(\d+) Predictor")[1])
    if data.shape != (observations, 1 + predictors):
        raise ValueError(f"{path.name}: data of shape {data.shape}, header says {(observations, 1 + predictors)}")
    y = np.log(data[:, 0]) if re.search(r"^\s*log\[y\]\s*=", text, re.MULTILINE) else data[:, 0]
    x = data[:, 1] if predictors == 1 else np.ascontiguousarray(data[:, 1:].T)
    return ReferenceSet(
        name=search(r"Dataset Name:\s+(\w+)")[1],
        level=search(r"(\w+) Level of Difficulty")[1].lower(),
        x=x.copy(),
        y=y.copy(),
        starts=(start_1.copy(), start_2.copy()),
        parameters=parameters,
        deviations=deviations,
        residual_sum=float(search(r"Residual Sum of Squares:\s+(\S+)")[1]),
        residual_deviation=float(search(r"Residual Standard Deviation:\s+(\S+)")[1]),
        degrees_of_freedom=int(search(r"Degrees of Freedom:\s+(\d+)")[1]),
    )


# ----------------------------------------------------------------------------------------------------------------------
# What is derived from a model


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """The compiled functions of one data set; each takes the parameters."""

    residuals: Callable[[np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray], np.ndarray]
    hessian: Callable[[np.ndarray], np.ndarray]
    curvature: Callable[[np.ndarray, np.ndarray], np.ndarray]


def derive(model: Callable[[Any, Any], Any], x: np.ndarray, y: np.ndarray) -> LeastSquares:
    """Compile residuals, Jacobian, Hessian of half the sum of squares, and second directional derivative."""

    def residuals(b, x, y):
        return model(b, x) - y

    def half_sum_of_squares(b, x, y):
        return 0.5 * np.sum(residuals(b, x, y) ** 2)

    def curvature(b, direction, x, y):
        def slope(b):
            return gx.jvp(lambda b: model(b, x), (b,), (direction,))[1]

        return gx.jvp(slope, (b,), (direction,))[1]

    compiled_residuals = gx.jit(residuals)
    compiled_jacobian = gx.jit(gx.jacfwd(residuals))
    compiled_hessian = gx.jit(gx.hessian(half_sum_of_squares))
    compiled_curvature = gx.jit(curvature)
    return LeastSquares(
        residuals=lambda b: compiled_residuals(b, x, y),
        jacobian=lambda b: compiled_jacobian(b, x, y),
        hessian=lambda b: compiled_hessian(b, x, y),
        curvature=lambda b, direction: compiled_curvature(b, direction, x, y),
    )


# ----------------------------------------------------------------------------------------------------------------------
# The solver


def sum_of_squares(residuals: np.ndarray) -> float:
    """Infinite, without a warning, where a trial step has gone too far."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(residuals @ residuals)


def damped_step(jacobian: np.ndarray, target: np.ndarray, damping: float, scale: np.ndarray) -> np.ndarray:
    """Minimise |jacobian s + target|² + damping |scale s|² by an orthogonal factorisation of the stacked system."""
    size = scale.size
    stacked = np.vstack([jacobian / scale, np.sqrt(damping) * np.eye(size)])
    solution, *_ = np.linalg.lstsq(stacked, -np.concatenate([target, np.zeros(size)]), rcond=None)
    return solution / scale


def levenberg_marquardt(
    problem: LeastSquares, start: np.ndarray, acceleration: float = 0.75, damping: float = 0.1, iterations: int = 2000
) -> np.ndarray:
    """Levenberg-Marquardt with Moré's scaling and the second-order step correction ("geodesic acceleration").

    ``acceleration`` bounds the ratio of twice the correction to the step: where the model bends more than that within a
    step, the step is refused and damped more, which keeps the iterates off these models' plateaus at infinity.
    """
    b, residuals = start, problem.residuals(start)
    cost = sum_of_squares(residuals)
    scale = np.zeros_like(start)
    refusals = 0
    for _ in range(iterations):
        jacobian = problem.jacobian(b)
        scale = np.maximum(scale, np.linalg.norm(jacobian, axis=0))
        safe_scale = np.where(scale > 0.0, scale, 1.0)
        while True:
            step = damped_step(jacobian, residuals, damping, safe_scale)
            length = np.linalg.norm(safe_scale * step)
            bend = problem.curvature(b, step)
            correction = np.zeros_like(step)
            if np.all(np.isfinite(bend)):
                correction = 0.5 * damped_step(jacobian, bend, damping, safe_scale)
            trial = b + step + correction
            trial_residuals = problem.residuals(trial)
            trial_cost = sum_of_squares(trial_residuals)
            gentle = 2.0 * np.linalg.norm(safe_scale * correction) <= acceleration * length
            if trial_cost < cost and gentle:
                break
            damping *= 2.0 ** (1 + refusals)
            refusals += 1
            if length <= 1e-15 * np.linalg.norm(safe_scale * b) or damping > 1e60:
                return b
        decrease = cost - trial_cost
        b, residuals, cost = trial, trial_residuals, trial_cost
        damping = max(damping / 3.0, 1e-30)
        refusals = 0
        if decrease <= 1e-14 * cost and length <= 1e-8 * np.linalg.norm(safe_scale * b):
            return b
    return b


def trust_region_reflective(problem: LeastSquares, start: np.ndarray) -> np.ndarray:
    """SciPy's own method, fed with our Jacobian."""
    tight = {"xtol": 1e-14, "ftol": 1e-14, "gtol": None}
    with np.errstate(over="ignore"):
        found = scipy.optimize.least_squares(
            problem.residuals, start, problem.jacobian, method="trf", x_scale="jac", max_nfev=1000, **tight
        )
    return found.x


SOLVERS: dict[str, Callable[[LeastSquares, np.ndarray], np.ndarray]] = {
    "accelerated": levenberg_marquardt,
    "scipy": trust_region_reflective,
}


def polish(problem: LeastSquares, b: np.ndarray, iterations: int = 30) -> np.ndarray:
    """Newton's method with the exact Hessian, until the step stops shrinking: what remains then is rounding.

    Only the accuracy of the gradient, Jacobian times residuals, limits the result; the Hessian merely sets the rate.
    """
    previous = np.inf
    for _ in range(iterations):
        jacobian, hessian = problem.jacobian(b), problem.hessian(b)
        scale = np.linalg.norm(jacobian, axis=0)
        if not np.all(scale > 0.0) or not np.all(np.isfinite(hessian)):
            return b
        gradient = jacobian.T @ problem.residuals(b)
        try:
            factor = np.linalg.cholesky(hessian / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            return b
        scaled_step = np.linalg.solve(factor.T, np.linalg.solve(factor, -gradient / scale))
        length = np.linalg.norm(scaled_step)
        if length >= 0.5 * previous and length <= 1e-6 * np.linalg.norm(scale * b):
            return b
        b, previous = b + scaled_step / scale, length
    return b


# ----------------------------------------------------------------------------------------------------------------------
# The fit and its correct digits


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit from one starting point, with the statistics that NIST certifies."""

    parameters: np.ndarray
    deviations: np.ndarray
    residual_sum: float
    residual_deviation: float


def fit(problem: LeastSquares, start: np.ndarray, solver: Callable[[LeastSquares, np.ndarray], np.ndarray]) -> Fit:
    """Solve from one starting point and polish; the standard deviations come from the Jacobian at the solution."""
    b = polish(problem, solver(problem, start))
    residuals, jacobian = problem.residuals(b), problem.jacobian(b)
    residual_sum = float(residuals @ residuals)
    residual_deviation = float(np.sqrt(residual_sum / (residuals.size - b.size)))
    scale = np.linalg.norm(jacobian, axis=0)
    if np.all(scale > 0.0):
        # (JᵀJ)⁻¹ = R⁻¹R⁻ᵀ with J = QR: the normal equations, which would square the condition number, are never formed.
        triangular = np.linalg.qr(jacobian / scale, mode="r")
        deviations = residual_deviation * np.linalg.norm(np.linalg.pinv(triangular), axis=1) / scale
    else:
        deviations = np.full_like(b, np.inf)
    return Fit(b, deviations, residual_sum, residual_deviation)


def correct_digits(values: np.ndarray | float, certified: np.ndarray | float) -> float:
    """The log relative error, the worst over the entries, from 0 to the 11 digits that are certified."""
    error = np.max(np.abs(np.subtract(values, certified)) / np.abs(certified))
    digits = CERTIFIED_DIGITS if error == 0.0 else -np.log10(error)
    return float(np.clip(digits, 0.0, CERTIFIED_DIGITS)) if np.isfinite(digits) else 0.0


def score(found: Fit, reference: ReferenceSet) -> dict[str, float]:
    return {
        "parameters": correct_digits(found.parameters, reference.parameters),
        "deviations": correct_digits(found.deviations, reference.deviations),
        "residual_sum": correct_digits(found.residual_sum, reference.residual_sum),
        "residual_deviation": correct_digits(found.residual_deviation, reference.residual_deviation),
    }


# ----------------------------------------------------------------------------------------------------------------------
# Plots


def draw(axes: Any, reference: ReferenceSet, b: np.ndarray) -> None:
    """Data as dots and the fitted model as a line; Nelson's data as one line per temperature."""
    model = MODELS[reference.name]
    if reference.x.ndim == 1:
        grid = np.linspace(reference.x.min(), reference.x.max(), 500)
        axes.plot(reference.x, reference.y, ".", color="0.55", markersize=4)
        axes.plot(grid, model(b, grid), color="C3", linewidth=1.2)
    else:
        time_, temperature = reference.x
        for number, level in enumerate(np.unique(temperature)):
            chosen = temperature == level
            grid = np.linspace(time_.min(), time_.max(), 100)
            axes.plot(time_[chosen], reference.y[chosen], ".", color=f"C{number}", markersize=4)
            fitted = model(b, np.stack([grid, np.full_like(grid, level)]))
            axes.plot(grid, fitted, color=f"C{number}", linewidth=1.2, label=f"{level:.0f} °C")
        axes.legend(fontsize=6)
        axes.set_ylabel("log y", fontsize=7)
    axes.set_title(reference.name, fontsize=9)
    axes.tick_params(labelsize=7)


def plot(fits: Sequence[tuple[ReferenceSet, np.ndarray]], together: Path | None, folder: Path | None) -> None:
    """One picture with a panel per set (``together``), and one picture per set (in ``folder``)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if together is not None:
        columns = min(6, len(fits))
        rows = -(-len(fits) // columns)
        figure, grid = pyplot.subplots(rows, columns, figsize=(3.0 * columns, 2.4 * rows), squeeze=False)
        for axes, (reference, b) in zip(grid.flat, fits, strict=False):
            draw(axes, reference, b)
        for axes in grid.flat[len(fits) :]:
            axes.set_visible(False)
        figure.tight_layout()
        figure.savefig(together, dpi=110)
        pyplot.close(figure)
        print(f"wrote {together}")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for reference, b in fits:
            figure, axes = pyplot.subplots(figsize=(6.0, 4.0))
            draw(axes, reference, b)
            figure.tight_layout()
            figure.savefig(folder / f"{reference.name}.png", dpi=110)
            pyplot.close(figure)
        print(f"wrote {len(fits)} plots to {folder}")


# ----------------------------------------------------------------------------------------------------------------------
# The command


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fit the NIST nonlinear regression sets and count the correct digits.")
    names = list(MODELS)
    parser.add_argument("--sets", nargs="+", choices=names, default=names, metavar="NAME", help="default: all")
    parser.add_argument("--solver", choices=list(SOLVERS), default="accelerated")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="one picture, a panel of data and fit per set")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="one picture of data and fit per set")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the table as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    fits: list[tuple[ReferenceSet, np.ndarray]] = []
    print("correct digits against the certified values (11 at most); the first start's time includes compilation\n")
    print("set        level    start   parameters  st. deviations  residual sum  residual st.dev.        ms")
    for name in options.sets:
        reference = read_reference(DATA / f"{name}.dat")
        problem = derive(MODELS[name], reference.x, reference.y)
        for number, start in enumerate(reference.starts, 1):
            started = time.perf_counter()
            found = fit(problem, start, SOLVERS[options.solver])
            milliseconds = 1e3 * (time.perf_counter() - started)
            digits = score(found, reference)
            rows.append({"set": name, "start": number, "values": found.parameters.tolist(), **digits})
            print(
                f"{name:<9}  {reference.level:<7}  {number:>5}  {digits['parameters']:>11.1f}"
                f"  {digits['deviations']:>14.1f}  {digits['residual_sum']:>12.1f}"
                f"  {digits['residual_deviation']:>16.1f}  {milliseconds:>8.1f}",
                flush=True,
            )
        fits.append((reference, found.parameters))
    columns = ("parameters", "deviations", "residual_sum", "residual_deviation")
    least = {column: min(row[column] for row in rows) for column in columns}
    print(
        f"{'fewest':<18}  {'':>5}  {least['parameters']:>11.1f}  {least['deviations']:>14.1f}"
        f"  {least['residual_sum']:>12.1f}  {least['residual_deviation']:>16.1f}"
    )
    print(f"\n{len(options.sets)} sets, {len(rows)} fits in {time.perf_counter() - began:.1f} s")
    if options.json is not None:
        table = {"solver": options.solver, "fewest": least, "rows": rows}
        options.json.write_text(json.dumps(table, indent=1), encoding="utf-8")
    if options.plot is not None or options.plots is not None:
        plot(fits, options.plot, options.plots)
    short = [f"{row['set']} start {row['start']}" for row in rows if min(map(row.get, columns)) < REQUIRED_DIGITS]
    if short:
        print(f"fewer than {REQUIRED_DIGITS:.0f} correct digits: {', '.join(short)}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
