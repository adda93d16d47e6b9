"""Sums that wait for others over the same elements: which are taken earlier, which stay, and how exact they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_close

import gradxform as gx
from gradxform.core import run
from gradxform.ir import Atom, Program
from gradxform.passes.early_sums import early_sums
from gradxform.primitives import ROSTER

RNG = np.random.default_rng(7)


def passes_over(program: Program, shape: tuple[int, ...]) -> int:
    """How many sums over all elements of a shape wait for each other, at most."""
    before: dict[Atom, int] = {}
    for equation in program.equations:
        count = max((before.get(x, 0) for x in equation.inputs), default=0)
        if equation.operation.name == "reduce_sum" and equation.inputs[0].type.shape == shape:
            count += 1
        before.update(dict.fromkeys(equation.outputs, count))
    return max(before.values(), default=0)


def normalised(axis: int, epsilon: float = 1e-5) -> Callable[..., Any]:
    def function(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - np.mean(x, axis=axis, keepdims=True)
        return centred / np.sqrt(np.mean(centred * centred, axis=axis, keepdims=True) + epsilon) * gain + shift

    return function


def pulled(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, gain, shift, cotangent: gx.vjp(function, x, gain, shift)[1](cotangent)


def closed_form(axis: int, *given: np.ndarray) -> list[np.ndarray]:
    """The gradient of a normalisation in wide floats."""
    x, gain, _, cotangent = (np.asarray(a, np.longdouble) for a in given)
    centred = x - x.mean(axis=axis, keepdims=True)
    scale = 1 / np.sqrt(np.square(centred).mean(axis=axis, keepdims=True) + np.longdouble(1e-5))
    unit, weighed = centred * scale, cotangent * gain
    inner = (weighed * unit).mean(axis=axis, keepdims=True)
    slope = scale * (weighed - weighed.mean(axis=axis, keepdims=True) - unit * inner)
    return [np.asarray(a, np.float64) for a in (slope, (cotangent * unit).sum(axis=0), cotangent.sum(axis=0))]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_normalisations(axis: int, offset: float) -> None:
    x, cotangent = RNG.normal(size=(2, 24, 40))
    gain, shift = RNG.normal(size=(2, 40))
    given = x + offset, gain, shift, cotangent
    stages = gx.jit(pulled(normalised(axis))).lower(*given)
    # The mean; the squares; and the products of which the mean of squares has a derivative.
    assert passes_over(stages.optimized, x.shape) == 3
    found, expected = gx.jit(pulled(normalised(axis)))(*given), closed_form(axis, *given)
    as_written = run(stages.program, list(given))
    for one, other, wide in zip(found, as_written, expected, strict=True):
        error, usual = (float(np.abs(a - wide).max()) for a in (one, other))
        assert error <= 4 * usual + 1e-15


def test_sums_of_cancelling_products() -> None:
    """Products that cancel: the error is that of summing them in any order."""
    x = RNG.normal(size=2000)
    y = x * (1 + 1e-9 * RNG.normal(size=2000))

    def function(x: Any, y: Any) -> Any:
        scale = np.sqrt(np.sum(x * x))
        return np.sum(scale * x - scale * y)

    program = gx.make_ir(function)(x, y)
    assert early_sums(program, ROSTER) is not program
    wide = np.longdouble
    expected = np.sqrt(np.sum(np.square(x.astype(wide)))) * np.sum(x.astype(wide) - y.astype(wide))
    size = float(np.sqrt(np.sum(x * x)) * np.sum(np.abs(x)))
    assert abs(float(gx.jit(function)(x, y)) - float(expected)) <= 64 * np.finfo(float).eps * size


def late(x: Any) -> Any:
    """A factor that is a sum over all elements."""
    return np.sqrt(np.sum(x * x))


@pytest.mark.parametrize(("function", "passes"), [
    (lambda x, y: np.sum(late(x) * y), 1),
    (lambda x, y: np.sum(y * -late(x)), 1),
    (lambda x, y: np.sum(late(x) * (x - 3.0 * y)), 1),
    (lambda x, y: np.sum(late(x) * x - np.mean(y) * y), 1),
    (lambda x, y: np.sum(-(late(x) * (2.0 * late(y) * x)) - np.mean(y) * y), 1),
    (lambda x, y: (np.sum(x * y), np.sum(late(x) * x * (y * late(y)))), 1),
    (lambda x, y: np.sum(late(x)[None, None] * y, axis=0), 1),
])
def test_what_is_taken_earlier(function: Any, passes: int) -> None:
    x, y = RNG.normal(size=(2, 20, 30))
    program = gx.make_ir(function)(x, y)
    after = early_sums(program, ROSTER)
    assert after is not program
    assert passes_over(gx.jit(function).lower(x, y).optimized, x.shape) == passes
    expected, compiled = run(program, [x, y]), gx.jit(function)(x, y)
    for results in (run(after, [x, y]), compiled if isinstance(compiled, tuple) else (compiled,)):
        for found, wanted in zip(results, expected, strict=True):
            assert_close(found, wanted)


@pytest.mark.parametrize("function", [
    lambda x, y: np.sum(x - np.mean(x)),  # what is left is smaller than what is exact
    lambda x, y: np.sum(y - late(x) * x),
    lambda x, y: np.sum(late(x) * x - late(x)),
    lambda x, y: np.sum(late(x) * x * (y * late(y))),  # a product that the program does not have
    lambda x, y: np.sum(x / late(x)),
    lambda x, y: np.sum(3.0 * x) + np.sum(y),  # waits for nothing
    lambda x, y: np.sum(np.sqrt(np.sum(x * x, axis=1, keepdims=True)) * y, axis=0),  # the factor changes along the sum
    lambda x, y: np.sum(late(x[:3]) * y[:3]),  # few elements
])
def test_what_stays(function: Any) -> None:
    x, y = RNG.normal(size=(2, 20, 30))
    program = gx.make_ir(function)(x, y)
    after = early_sums(program, ROSTER)
    assert after is program


def test_axes_of_extent_one() -> None:
    """Factors with axes of extent 1, among them some that are summed."""
    x, y = RNG.normal(size=(2, 1, 20, 30))

    def function(x: Any, y: Any) -> Any:
        scale = np.sqrt(np.sum(x * x, axis=(0, 2), keepdims=True))
        return np.sum(np.broadcast_to(scale, x.shape) * y, axis=(0, 2))

    expected = np.sqrt((x * x).sum(axis=(0, 2))) * y.sum(axis=(0, 2))
    assert_close(gx.jit(function)(x, y), expected)
    assert passes_over(gx.jit(function).lower(x, y).optimized, x.shape) == 1
