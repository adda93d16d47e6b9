"""A fit of a curve of four parameters, a damped oscillation: the whole call, further ones and the first of a process."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from bench.workload import Call, Contender, Once, Promise, Workload

SIZES = (50, 200, 1_000, 10_000)
START = (2.0, 1.0, 2.8, 0.0)


def curve(x: Any, height: Any, rate: Any, frequency: Any, floor: Any) -> Any:
    """Write the model in NumPy's terms."""
    return height * np.exp(-rate * x) * np.cos(frequency * x) + floor


def operands(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Make noisy points of a known curve."""
    x = np.linspace(0.0, 4.0, size)
    return x, curve(x, 2.5, 1.3, 3.0, 0.5) + 0.05 * np.random.default_rng(0).standard_normal(size)


def call(curve_fit: Any, size: int, **options: Any) -> Call:
    """Fit from one start; the result is the parameters and their covariance."""
    x, y = operands(size)
    return Call("fit(curve, x, y, start)", {"fit": lambda *args: curve_fit(*args, **options), "curve": curve, "x": x, "y": y,
                                            "start": START})


def gradxform(size: int) -> Call:
    """gradxform's curve_fit, which fills in the Jacobian."""
    from gradxform.optimize import curve_fit

    return call(curve_fit, size)


def scipy(size: int) -> Call:
    """SciPy's, which takes finite differences."""
    from scipy.optimize import curve_fit

    return call(curve_fit, size)


def slopes(x: np.ndarray, height: float, rate: float, frequency: float, floor: float) -> np.ndarray:
    """Write the Jacobian in NumPy, from the derivative on paper."""
    decay, swing = np.exp(-rate * x), np.cos(frequency * x)
    by_rate, by_frequency = -height * x * decay * swing, -height * x * decay * np.sin(frequency * x)
    return np.stack([decay * swing, by_rate, by_frequency, np.ones_like(x)], -1)


def scipy_by_hand(size: int) -> Call:
    """SciPy's with a Jacobian written by hand in NumPy."""
    from scipy.optimize import curve_fit

    return call(curve_fit, size, jac=slopes)


def expected(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit with SciPy and the Jacobian by hand, to the last digits."""
    from scipy.optimize import curve_fit

    return curve_fit(curve, *operands(size), START, jac=slopes, ftol=1e-14, xtol=1e-14)


def first(library: str, module: str, size: int) -> Once:
    """Fit once, the libraries being imported."""
    importlib.import_module(library)
    importlib.import_module("scipy.optimize")
    curve_fit = importlib.import_module(module).curve_fit
    x, y = operands(size)
    start = time.perf_counter()
    result = curve_fit(curve, x, y, START)
    return Once(time.perf_counter() - start, result)


def gradxform_first(size: int) -> Once:
    """gradxform's first fit: traced, compiled or found on disk, and run."""
    return first("llvmlite.binding", "gradxform.optimize", size)


def scipy_first(size: int) -> Once:
    """SciPy's first fit."""
    return first("numpy", "scipy.optimize", size)


# Where an iteration stops is a matter of its tolerances, about 1e-8 of the parameters; the covariance follows.
RELATIVE, ABSOLUTE = 1e-4, 1e-8
WORKLOADS = (
    Workload(
        name="curve_fit.again",
        title="curve_fit of 4 parameters, whole call",
        sizes=SIZES,
        contenders=(
            Contender("gradxform", gradxform, ("gradxform",)),
            Contender("SciPy, finite differences", scipy),
            Contender("SciPy, Jacobian by hand", scipy_by_hand),
        ),
        expected=expected,
        promises=tuple(
            Promise(f"SciPy / gradxform, {size} points",
                    lambda m, size=size: m.ratio("SciPy, finite differences", "gradxform", size),  # type: ignore[misc]
                    at_least=3)
            for size in SIZES
        ),
        relative_tolerance=RELATIVE,
        absolute_tolerance=ABSOLUTE,
    ),
    Workload(
        name="curve_fit.first",
        title="curve_fit of 4 parameters, first call of a process, imports done",
        sizes=(200,),
        contenders=(
            Contender("gradxform, disk cache empty", gradxform_first, ("gradxform",)),
            Contender("gradxform, disk cache warm", gradxform_first, ("gradxform",), cache="warm"),
            Contender("SciPy, finite differences", scipy_first, yardstick=True),
        ),
        expected=expected,
        fresh=True,
        fresh_samples=10,
        relative_tolerance=RELATIVE,
        absolute_tolerance=ABSOLUTE,
    ),
)
