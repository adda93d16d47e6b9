"""Lanes of a loop that have finished are computed along with the others; their derivatives there do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import lax

either = pytest.mark.parametrize("wrap", [lambda f: f, gx.jit], ids=["called", "jit"])


def _sum_of_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *lanes: gnp.sum(gx.vmap(function)(*lanes))


@either
def test_an_infinite_slope_where_a_lane_stopped(wrap: Any) -> None:
    def function(x: Any) -> Any:
        return lax.while_loop(lambda x: x > 0.1, lambda x: 0.3 * gnp.sqrt(x), x)

    def slope(x: float) -> tuple[float, float]:
        found = 1.0
        while x > 0.1:
            x, found = 0.3 * x**0.5, found * 0.15 / x**0.5
        return x, found

    lanes = np.array([0.0, 0.5, 0.09, 3.0, 7e3])  # sqrt has no slope at 0, where the first one stands
    expected = [slope(x)[1] for x in lanes]
    np.testing.assert_allclose(wrap(gx.vmap(gx.grad(function)))(lanes), expected)
    np.testing.assert_allclose(wrap(gx.grad(_sum_of_lanes(function)))(lanes), expected)
    np.testing.assert_allclose(wrap(lambda x: gx.jvp(gx.vmap(function), (x,), (np.ones(5),))[1])(lanes), expected)
    curvature = wrap(gx.hessian(_sum_of_lanes(function)))(lanes)
    step = 1e-5
    differences = [(slope(x + step * x)[1] - slope(x - step * x)[1]) / (2 * step * x) if x else 0.0 for x in lanes]
    np.testing.assert_allclose(curvature, np.diag(differences), rtol=1e-6, atol=1e-12)


@either
def test_a_step_of_zero_by_zero_where_a_lane_has_converged(wrap: Any) -> None:
    def newton(a: Any, x: Any) -> Any:
        def body(x: Any) -> Any:
            wrong = x * x - a
            return x - 0.5 * wrong / gnp.sqrt(wrong * wrong) * gnp.abs(wrong) / x

        return lax.while_loop(lambda x: gnp.abs(x * x - a) > 1e-12, body, x)

    a, x = np.array([4.0, 2.0, 9.0]), np.array([2.0, 1.0, 3.0])
    # The lanes that start converged never depend on a.
    of_a, of_x = [0.0, 0.5 / np.sqrt(2.0), 0.0], [1.0, 0.0, 1.0]
    for gradient in (gx.grad(_sum_of_lanes(newton), argnums=(0, 1)), gx.vmap(gx.grad(newton, argnums=(0, 1)))):
        found = wrap(gradient)(a, x)
        np.testing.assert_allclose(found[0], of_a, rtol=1e-6)
        np.testing.assert_allclose(found[1], of_x, atol=1e-5)


@either
def test_lanes_with_numbers_of_steps_of_their_own(wrap: Any) -> None:
    def function(n: Any, x: Any) -> Any:
        return lax.fori_loop(0, n, lambda i, x: 2.0 * gnp.sqrt(x), x)

    steps, lanes = np.array([0, 2, 3]), np.array([0.0, 0.5, 2.0])
    expected = []
    for n, x in zip(steps, lanes, strict=True):
        slope = 1.0
        for _ in range(n):
            x, slope = 2.0 * np.sqrt(x), slope / np.sqrt(x)
        expected.append(slope)
    np.testing.assert_allclose(wrap(gx.vmap(gx.grad(function, argnums=1)))(steps, lanes), expected)
    np.testing.assert_allclose(wrap(gx.grad(_sum_of_lanes(function), argnums=1))(steps, lanes), expected)
