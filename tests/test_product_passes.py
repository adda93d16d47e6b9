"""Operands of products computed upright; sums of products as they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_close

import gradxform as gx
from gradxform import lax
from gradxform.core import run
from gradxform.ir import Program
from gradxform.passes.upright_products import upright_products
from gradxform.primitives import ROSTER

RNG = np.random.default_rng(0)


def number_of(program: Program, name: str) -> int:
    return sum(equation.operation.name == name for equation in program.equations)


def same_results(one: Program, other: Program, arguments: list[Any]) -> None:
    for found, expected in zip(run(one, arguments), run(other, arguments), strict=True):
        assert_close(found, expected)


# --------------------------------------------------------------------------------------------------------- upright


@pytest.mark.parametrize(("left", "right", "contracting", "permutation"), [
    ((5, 4), (3, 5), ((0,), (1,)), (1, 0)),
    ((5, 4), (3, 6, 5), ((0,), (2,)), (1, 2, 0)),
    ((5, 4), (3, 5, 6), ((0,), (1,)), (2, 0, 1)),
    ((5, 4), (6, 3, 5), ((0,), (2,)), (2, 1, 0)),
])
@pytest.mark.parametrize("side", [0, 1])
def test_upright(left: Any, right: Any, contracting: Any, permutation: Any, side: int) -> None:
    a = RNG.normal(size=left)
    source = [0] * len(right)
    for axis, place in enumerate(permutation):
        source[place] = right[axis]
    b, column = RNG.normal(size=source), RNG.normal(size=right[-1])

    def function(a: Any, b: Any, column: Any) -> Any:
        turned = np.where(column > 0, lax.transpose(b, permutation) * column, 2.0)
        if side == 0:
            return lax.dot_general(a, turned, (contracting, ((), ())))
        return lax.dot_general(turned, a, (contracting[::-1], ((), ())))

    program = gx.make_ir(function)(a, b, column)
    upright = upright_products(program, ROSTER)
    assert upright is not program
    same_results(upright, program, [a, b, column])
    assert_close(gx.jit(function)(a, b, column), run(program, [a, b, column])[0])


@pytest.mark.parametrize("function", [
    lambda a, b: a @ b.T,  # nothing is computed
    lambda a, b: a @ (b.T + np.arange(15.0).reshape(5, 3)),  # another array lies the other way round
    lambda a, b: (lambda c: (a @ c, c))(np.sin(b.T)),  # it is wanted itself
])
def test_what_stays(function: Any) -> None:
    a, b = RNG.normal(size=(4, 5)), RNG.normal(size=(3, 5))
    program = gx.make_ir(function)(a, b)
    assert upright_products(program, ROSTER) is program


def test_the_hessian_of_a_regression_reads_rows() -> None:
    x, w = RNG.normal(size=(40, 6)), RNG.normal(size=6)

    def loss(w: Any) -> Any:
        return np.sum(np.log1p(np.exp(x @ w)))

    optimised = gx.jit(gx.hessian(loss)).lower(w).optimized
    assert number_of(optimised, "transpose") == 0
    share = 1 / (1 + np.exp(-x @ w))
    assert_close(gx.jit(gx.hessian(loss))(w), (x * (share * (1 - share))[:, None]).T @ x)


def test_sums_of_products_are_added_as_they_are_written() -> None:
    """x is split into a rounded part and its remainder: added before the product the remainder would be lost."""
    a = np.array([[1.0, -1.0], [3.0, 5.0]])
    head, tail = np.array([1e16, 1e16]), np.array([0.5, 0.25])
    np.testing.assert_array_equal(gx.jit(lambda a, x, y: a @ x + a @ y)(a, head, tail), a @ head + a @ tail)
