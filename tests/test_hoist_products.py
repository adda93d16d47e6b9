"""Products of a loop's elements with its constants, in front of the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_close

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import lax


def _body(program: Any) -> Any:
    (loop,) = [e for e in program.equations if e.operation.name == "scan"]
    return dict(loop.params)["body"]


def _products(program: Any) -> int:
    return sum([e.operation.name == "dot_general" for e in program.equations])


def _recurrent(transposed: bool, reverse: bool) -> Any:
    def layer(weights: Any, recurrent: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            first = x @ weights.T if transposed else x @ weights
            h = gnp.tanh(first + h @ recurrent)
            return h, h

        return lax.scan(step, np.zeros((4, 24)), xs, reverse=reverse)[1]

    return layer


def _expected(weights: Any, recurrent: Any, xs: Any, reverse: bool) -> Any:
    h, rows = np.zeros((4, 24)), []
    for x in xs[::-1] if reverse else xs:
        h = np.tanh(x @ weights + h @ recurrent)
        rows.append(h)
    return np.stack(rows[::-1] if reverse else rows)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_input_of_a_recurrent_layer(transposed: bool, reverse: bool) -> None:
    rng = np.random.default_rng(0)
    weights, recurrent, xs = rng.normal(size=(60, 24)), 0.2 * rng.normal(size=(24, 24)), rng.normal(size=(7, 4, 60))
    function = gx.jit(_recurrent(transposed, reverse))
    arguments = weights.T.copy() if transposed else weights, recurrent, xs
    assert_close(function(*arguments), _expected(weights, recurrent, xs, reverse))
    program = function.lower(*arguments).optimized
    assert (_products(program), _products(_body(program))) == (1, 1)


def test_elements_on_the_right_and_batched_products() -> None:
    rng = np.random.default_rng(1)
    matrix, stack, xs = rng.normal(size=(30, 40)), rng.normal(size=(3, 40, 40)), rng.normal(size=(6, 40, 5))
    several = rng.normal(size=(6, 3, 5, 40))

    @gx.jit
    def function(matrix: Any, stack: Any, xs: Any, several: Any) -> Any:
        def step(total: Any, x: Any) -> Any:
            left = matrix @ x[0]
            return total + left, gnp.matmul(x[1], stack) + gnp.sum(total)

        return lax.scan(step, np.zeros((30, 5)), (xs, several))

    total, ys = function(matrix, stack, xs, several)
    before = np.cumsum(np.einsum("ij,tjk->tik", matrix, xs), axis=0)
    assert_close(total, before[-1])
    sums = np.concatenate([[0.0], before[:-1].sum((1, 2))])
    assert_close(ys, np.matmul(several, stack) + sums[:, None, None, None])
    program = function.lower(matrix, stack, xs, several).optimized
    assert (_products(program), _products(_body(program))) == (2, 0)


def test_what_is_small_or_grows_stays() -> None:
    rng = np.random.default_rng(2)

    def function(weights: Any, xs: Any) -> Any:
        return lax.scan(lambda h, x: (h + x @ weights, None), np.zeros(weights.shape[1]), xs)[0]

    for shape in ((20, 20), (20, 400)):
        weights, xs = rng.normal(size=shape), rng.normal(size=(5, shape[0]))
        compiled = gx.jit(function)
        assert_close(compiled(weights, xs), (xs @ weights).sum(0))
        assert _products(_body(compiled.lower(weights, xs).optimized)) == 1
