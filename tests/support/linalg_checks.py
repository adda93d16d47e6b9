"""Checks of functions of matrices; the truth is a NumPy or SciPy reference and its differences.

Three programs are compiled per function: values with tangents and pullbacks, second derivatives, lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradxform as gx
from gradxform.backend.generation import kernel_of
from gradxform.core import run
from gradxform.loopir.interpreter import interpret
from gradxform.passes import optimise
from gradxform.passes.complex_pairs import holds_complex
from gradxform.primitives import ROSTER
from support.programs import trace

#: Central differences lose half the digits, and more where eigenvalues are close.
DIFFERENCES = 2e-6


def listed(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (list, tuple)) else (results,)


def direction(x: Any, seed: int) -> Any:
    random = np.random.default_rng(seed)
    x = np.asarray(x)
    found = random.standard_normal(x.shape)
    return (found + 1j * random.standard_normal(x.shape) if x.dtype.kind == "c" else found).astype(x.dtype)


def close(found: Any, expected: Any, tolerance: float) -> None:
    """Equal shape, dtype and, relative to the largest element, values."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype, (found, expected)
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def all_close(found: Sequence[Any], expected: Sequence[Any], tolerance: float) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        close(a, b, tolerance)


def differences(function: Callable[..., Any], points: Sequence[Any], directions: Sequence[Any]) -> list[Any]:
    """Central differences of all results along one direction."""
    step = 1e-5
    ahead, behind = (listed(function(*[x + s * t for x, t in zip(points, directions, strict=True)])) for s in (step, -step))
    return [(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(ahead, behind, strict=True)]


def product(left: Sequence[Any], right: Sequence[Any]) -> float:
    return sum(float(np.sum(a * b).real) for a, b in zip(left, right, strict=True))


def check(function: Callable[..., Any], operands: Sequence[Any], reference: Callable[..., Any], tolerance: float = 1e-12,
          lanes: bool = True, second: bool = True, single: bool = False) -> None:
    """Values, both modes, second derivatives, lanes and, if asked for, single precision of a function of floats or complex
    numbers. One program is compiled for all of them."""
    def values(*x: Any) -> tuple[Any, ...]:
        return listed(function(*x))

    operands = tuple([np.asarray(x) for x in operands])
    expected = [np.asarray(x) for x in listed(reference(*operands))]
    tangents, along = (tuple([direction(x, seed + k) for k, x in enumerate(operands)]) for seed in (0, 20))
    cotangents = tuple([direction(x, 10 + k) for k, x in enumerate(expected)])
    stacks = tuple([np.stack([x, x * 1.25]) for x in operands])

    def pulled(*x: Any) -> Any:
        return gx.vjp(values, *x)[1](cotangents)

    @gx.jit
    def everything(x: Any, t: Any, u: Any, rows: Any) -> Any:
        found = values(*x), gx.jvp(values, x, t)[1]
        curved = gx.jvp(pulled, x, u) if second else (pulled(*x), ())
        return *found, curved, gx.vmap(values)(*rows) if lanes else ()

    found, pushed, (back, curved), stacked = everything(operands, tangents, along, stacks)
    all_close(found, expected, tolerance)
    for a, b in zip(pushed, differences(reference, operands, tangents), strict=True):
        close(a, b.astype(np.asarray(a).dtype), DIFFERENCES)
    np.testing.assert_allclose(product(back, tangents), product(pushed, cotangents), rtol=1e-9, atol=1e-9)
    check_interpreters(values, operands, expected, tolerance)
    if second:
        def pulled_at(*x: Any) -> Any:
            return everything(x, tangents, along, stacks)[2][0]

        for a, b in zip(curved, differences(pulled_at, operands, along), strict=True):
            close(a, b, 10 * DIFFERENCES)
    if lanes:
        rows = [listed(reference(*[x[k] for x in stacks])) for k in (0, 1)]
        all_close(stacked, [np.stack(column) for column in zip(*rows, strict=True)], tolerance)
    if single:
        check_single_precision(values, operands, expected)


def check_interpreters(
    function: Callable[..., Any], operands: Sequence[Any], expected: Sequence[Any], tolerance: float
) -> None:
    """The evaluation rules, and the slow interpreter of loops, on whose statements compiled code is made."""
    program = trace(function, operands)
    all_close([np.asarray(x) for x in run(program, operands)], expected, tolerance)
    if not holds_complex(program):
        all_close(interpret(kernel_of(optimise(program, ROSTER)), operands), expected, tolerance)


def check_single_precision(function: Callable[..., Any], operands: Sequence[Any], expected: Sequence[Any]) -> None:
    narrow = {"f": np.float32, "c": np.complex64}
    found = gx.jit(function)(*[np.asarray(x).astype(narrow[np.asarray(x).dtype.kind]) for x in operands])
    for a, b in zip(found, expected, strict=True):
        close(a, b.astype(narrow[b.dtype.kind]), 2e-3)
