"""Derivatives reuse what the function, and the derivatives before, have computed: divisions, roots, exponentials."""

from __future__ import annotations

from collections import Counter
from typing import Any

import mpmath
import numpy as np
import pytest

import gradxform as gx
from gradxform.primitives.special import gaussian
from gradxform.scipy.special import erf

X = np.linspace(0.3, 2.7, 50)
Y = np.linspace(1.1, 4.0, 50)


def counts(function: Any, *args: Any) -> Counter[str]:
    """How often each operation stands in the optimised program."""
    return Counter(equation.operation.name for equation in gx.jit(function).lower(*args).optimized.equations)


def nth(function: Any, order: int) -> Any:
    for _ in range(order):
        function = (lambda f: gx.grad(lambda *args: np.sum(f(*args))))(function)
    return function


def all_orders(function: Any, order: int) -> Any:
    return lambda *args: [nth(function, n)(*args) for n in range(order + 1)]


@pytest.mark.parametrize(("function", "divisions"), [
    (lambda x: 1 / x, {"reciprocal": 1}),
    (lambda x: 2.5 / x, {"div": 1, "reciprocal": 1}),
    (np.log, {"reciprocal": 1}),
    (np.log2, {"reciprocal": 1}),
    (np.sqrt, {"reciprocal": 1, "sqrt": 1}),
    (lambda x: 1 / np.sqrt(x), {"reciprocal": 1, "sqrt": 1}),
])
def test_one_division_for_three_derivatives(function: Any, divisions: dict[str, int]) -> None:
    found = counts(all_orders(function, 3), X)
    assert {name: found[name] for name in ("div", "reciprocal", "sqrt") if found[name]} == divisions


def test_both_derivatives_of_a_quotient_share_a_division() -> None:
    found = counts(gx.value_and_grad(lambda x, y: np.sum(x / y), argnums=(0, 1)), X, Y)
    assert found["div"] == 1 and found["reciprocal"] == 1
    _, (by_x, by_y) = gx.jit(gx.value_and_grad(lambda x, y: np.sum(x / y), argnums=(0, 1)))(X, Y)
    np.testing.assert_allclose(by_x, 1 / Y, rtol=1e-15)
    np.testing.assert_allclose(by_y, -X / Y**2, rtol=1e-15)


def test_derivatives_do_not_divide_by_constants() -> None:
    assert not {"div", "reciprocal"} & counts(gx.grad(lambda x: np.sum(np.sin(x) / 3)), X).keys()
    np.testing.assert_allclose(gx.jit(gx.grad(lambda x: np.sum(np.sin(x) / 3)))(X), np.cos(X) / 3, rtol=1e-15)


def test_a_divisor_per_row_is_inverted_per_row() -> None:
    def scaled(x: Any, deviation: Any) -> Any:
        return np.sum(np.sin(x / deviation[:, np.newaxis]))

    x, deviation = np.linspace(-1, 1, 60).reshape(5, 12), np.linspace(1, 2, 5)
    program = gx.jit(gx.grad(scaled)).lower(x, deviation).optimized
    shapes = [e.outputs[0].type.shape for e in program.equations if e.operation.name == "reciprocal"]
    assert [int(np.prod(shape)) for shape in shapes] == [5]
    z = x / deviation[:, np.newaxis]
    np.testing.assert_allclose(gx.grad(scaled)(x, deviation), np.cos(z) / deviation[:, np.newaxis], rtol=1e-14)


def test_the_exponential_of_erf_is_evaluated_once_for_all_derivatives() -> None:
    found = counts(all_orders(erf, 4), X)
    assert found["erf"] == found["gaussian"] == 1 and not found["exp"]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_erf(order: int) -> None:
    points = np.array([-5.0, -1.2, 0.0, 0.4, 2.0, 6.5, 20.0])
    with mpmath.workdps(60):
        bell = [2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-mpmath.mpf(float(x)) ** 2) for x in points]
        factor = {1: lambda x: 1, 2: lambda x: -2 * x, 3: lambda x: 4 * x * x - 2}[order]
        expected = [float(factor(mpmath.mpf(float(x))) * b) for x, b in zip(points, bell, strict=True)]
    np.testing.assert_allclose(gx.jit(nth(erf, order))(points), expected, rtol=4e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_square_in_a_gaussian_is_not_rounded(dtype: type) -> None:
    points = np.array([0.1, 1.7, 3.3, 8.9, 9.3], dtype)
    with mpmath.workdps(60):
        expected = [float(mpmath.exp(-mpmath.mpf(float(x)) ** 2)) for x in points]
    for found in (gaussian(points), gx.jit(lambda x: gaussian(x))(points)):
        np.testing.assert_allclose(found, expected, rtol=3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("divisor", [2.0, 3.0, 0.1, 1e-300, 1e300])
def test_quotients_of_ones_are_reciprocals(divisor: float) -> None:
    x = np.array([divisor, -divisor])
    assert "div" not in counts(lambda x: 1.0 / x, x)
    np.testing.assert_array_equal(gx.jit(lambda x: 1.0 / x)(x), 1.0 / x)
