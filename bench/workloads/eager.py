"""Calls of the NumPy face outside of transforms, against the same calls of NumPy: what the face itself costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workload import Call, Contender, Medians, Promise, Workload

SIZES = (8, 1000, 100_000)
#: Calls with ``f`` the function; the cheapest ones are those in which a fixed cost shows most.
CALLS = {
    "sin": "f(x)",
    "add": "f(x, y)",
    "less": "f(x, y)",
    "where": "f(mask, x, y)",
    "sum": "f(x)",
    "cumsum": "f(x)",
    "dot": "f(x, y)",
    "concatenate": "f((x, y))",
    "reshape": "f(x, (2, -1))",
    "zeros_like": "f(x)",
    "linspace": "f(0.0, 1.0, size)",
    "take": "f(x, positions)",
}


def names(size: int) -> dict[str, Any]:
    """Make what the calls name."""
    x = np.linspace(-2.0, 3.0, size)
    return {"x": x, "y": x[::-1].copy(), "mask": x > 0.0, "size": size, "positions": np.arange(0, size, 2)}


def with_module(find: Callable[[], Any], function: str) -> Callable[[int], Call]:
    """Call a function of a module."""
    return lambda size: Call(CALLS[function], {"f": getattr(find(), function), **names(size)})


def face() -> Any:
    """Import the face."""
    import gradxform.numpy

    return gradxform.numpy


def expected(function: str) -> Callable[[int], object]:
    """Evaluate a call with NumPy."""
    return lambda size: eval(CALLS[function], {"f": getattr(np, function), **names(size)})


def ratio(size: int) -> Callable[[Medians], float]:
    """Say how many times longer the face takes."""
    return lambda medians: medians.ratio("the face", "NumPy", size)


def workload(function: str) -> Workload:
    """Make the workload of one function."""
    return Workload(
        name=f"eager.{function}",
        title=f"gradxform.numpy.{function} on plain arrays, {CALLS[function].replace('f', function, 1)}",
        sizes=SIZES,
        contenders=(
            # Nothing is compiled here, so neither row is one of those that compilers are compared by.
            Contender("the face", with_module(face, function), ("gradxform",), yardstick=True),
            Contender("NumPy", with_module(lambda: np, function), yardstick=True),
        ),
        expected=expected(function),
        promises=tuple(Promise(f"the face / NumPy, {size}", ratio(size), at_most=1.15) for size in SIZES),
    )


WORKLOADS = tuple(map(workload, CALLS))
