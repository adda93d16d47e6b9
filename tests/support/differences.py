"""Derivatives by finite differences, and random directions to take them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def directions(arrays: Sequence[Any], seed: int) -> list[Any]:
    """A random tangent for each float array; None for the others."""
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal(np.shape(a)).astype(np.asarray(a).dtype) if np.asarray(a).dtype.kind == "f" else None
        for a in arrays
    ]


def moved(arrays: Sequence[Any], tangents: Sequence[Any], step: float) -> list[Any]:
    """The arrays moved by ``step`` along their tangents."""
    return [a if t is None else a + step * t for a, t in zip(arrays, tangents, strict=True)]


def central_difference(
    function: Callable[[Sequence[Any]], Sequence[Any]], arrays: Sequence[Any], tangents: Sequence[Any], step: float = 1e-3
) -> list[Any]:
    """The derivative of each result along ``tangents``, by the central difference of fourth order:

    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h
    """
    ahead, behind, far_ahead, far_behind = (function(moved(arrays, tangents, factor * step)) for factor in (1, -1, 2, -2))
    return [
        (8 * (np.asarray(a) - b) - (np.asarray(c) - d)) / (12 * step)
        for a, b, c, d in zip(ahead, behind, far_ahead, far_behind, strict=True)
    ]


def inner(left: Sequence[Any], right: Sequence[Any]) -> float:
    """The sum of elementwise products over all pairs."""
    return float(sum(np.sum(np.asarray(a, np.float64) * np.asarray(b, np.float64)) for a, b in zip(left, right, strict=True)))
