"""Small products of matrices as tiles in registers: which loops become tiles, and what they compute."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_close

import gradxform as gx
from gradxform.backend.contract_text import orientation
from gradxform.backend.generation import kernel_of
from gradxform.backend.jam import contracted
from gradxform.config import config
from gradxform.dtypes import float32, float64
from gradxform.loopir.expression import ZERO, Apply, Load, axis, constant, integer
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Accumulate, Buffer, Contract, For, Matrix, Statement, Store

RNG = np.random.default_rng(0)


def tiles(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("tile ")]


def regression(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z)


def softmax(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    z = z - np.max(z, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(y * z, axis=1))


# --------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("features", [8, 9, 15, 20, 64, 100, 131])
@pytest.mark.parametrize("count", [8, 61, 200, 3001])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_value_and_gradient_of_a_regression(features: int, count: int, dtype: Any) -> None:
    x, w = RNG.normal(size=(count, features)).astype(dtype), (RNG.normal(size=features) / features).astype(dtype)
    y = RNG.integers(0, 2, count).astype(dtype)
    value, slope = gx.jit(gx.value_and_grad(regression))(w, x, y)
    rows = x.astype(np.float64)
    z = rows @ w
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    np.testing.assert_allclose(value, np.mean(np.logaddexp(0.0, z) - y * z), rtol=tolerance)
    np.testing.assert_allclose(slope, rows.T @ (1 / (1 + np.exp(-z)) - y) / count, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("features", "classes"), [(20, 5), (100, 10), (8, 16), (33, 11), (300, 13)])
@pytest.mark.parametrize("count", [70, 1111])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_value_and_gradient_of_a_softmax_regression(features: int, classes: int, count: int, dtype: Any) -> None:
    x, w = RNG.normal(size=(count, features)).astype(dtype), RNG.normal(size=(features, classes)).astype(dtype)
    w = (w / features).astype(dtype)
    y = np.eye(classes, dtype=dtype)[RNG.integers(0, classes, count)]
    value, slope = gx.jit(gx.value_and_grad(softmax))(w, x, y)
    rows = x.astype(np.float64)
    z = rows @ w
    power = np.exp(z)
    total = power.sum(axis=1, keepdims=True)
    tolerance = 1e-11 if dtype is np.float64 else 2e-5
    np.testing.assert_allclose(value, np.mean(np.log(total[:, 0]) - (y * z).sum(axis=1)), rtol=tolerance)
    np.testing.assert_allclose(slope, rows.T @ (power / total - y) / count, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", [1, 3, 8, 17, 64, 200])
@pytest.mark.parametrize("columns", [1, 3, 8, 10, 16, 40])
@pytest.mark.parametrize("inner", [4, 8, 13, 100])
def test_products_in_every_orientation(rows: int, columns: int, inner: int) -> None:
    """As many products as there are ways round in which the operands can lie, with something computed from each."""
    a, b = RNG.normal(size=(rows, inner)), RNG.normal(size=(inner, columns))

    def function(a: Any, b: Any, at: Any, bt: Any) -> Any:
        return np.tanh(a @ b), np.tanh(at.T @ b), np.tanh(a @ bt.T), np.tanh(at.T @ bt.T)

    for found in gx.jit(function)(a, b, a.T.copy(), b.T.copy()):
        assert_close(found, np.tanh(a @ b))


@pytest.mark.parametrize("count", [5, 64, 300])
def test_chains_of_small_products(count: int) -> None:
    """A network of two layers, row by row: the second product reads what the first one gives."""
    x, first, second = RNG.normal(size=(count, 12)), RNG.normal(size=(12, 9)), RNG.normal(size=(9, 4))

    def loss(first: Any, second: Any) -> Any:
        return np.sum((np.tanh(x @ first) @ second) ** 2)

    value, (slope, other) = gx.jit(gx.value_and_grad(loss, argnums=(0, 1)))(first, second)
    hidden = np.tanh(x @ first)
    result = hidden @ second
    assert_close(value, np.sum(result**2))
    assert_close(other, hidden.T @ (2 * result))
    assert_close(slope, x.T @ ((2 * result @ second.T) * (1 - hidden**2)))


def test_steps_of_a_scan() -> None:
    x, y = RNG.normal(size=(100, 20)), RNG.normal(size=100)

    def descend(w: Any) -> Any:
        def step(w: Any, _: Any) -> Any:
            return w - 0.1 * gx.grad(regression)(w, x, y), regression(w, x, y)

        return gx.lax.scan(step, w, None, length=7)

    w = expected = np.zeros(20)
    losses = []
    for _ in range(7):
        z = x @ expected
        losses.append(np.mean(np.logaddexp(0.0, z) - y * z))
        expected = expected - 0.1 * (x.T @ (1 / (1 + np.exp(-z)) - y) / 100)
    last, found = gx.jit(descend)(w)
    assert_close(last, expected)
    assert_close(found, np.array(losses))


def test_clusters() -> None:
    points, centres = RNG.normal(size=(1000, 8)), RNG.normal(size=(16, 8))

    def nearest(points: Any, centres: Any) -> Any:
        return np.argmin((centres * centres).sum(1) - 2 * (points @ centres.T), axis=1)

    expected = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(gx.jit(nearest)(points, centres), expected)


def test_bits_do_not_depend_on_threads() -> None:
    x, w, y = RNG.normal(size=(50_000, 30)), RNG.normal(size=30), RNG.normal(size=50_000)
    weights, targets = RNG.normal(size=(30, 10)), RNG.normal(size=(50_000, 10))
    results = []
    for threads in (1, 2):
        with config.override(num_threads=threads):
            results.append([*gx.jit(gx.value_and_grad(regression))(w, x, y),
                            *gx.jit(gx.value_and_grad(softmax))(weights, x, targets)])
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one, two)


# ---------------------------------------------------------------------------------------------------------- loops


def test_one_pass_over_the_data() -> None:
    """Both products of a row with the data are tiles of one block, and so is the gradient's."""
    x, w, y = np.ones((1000, 100)), np.ones((100, 10)), np.ones((1000, 10))
    kernel = gx.jit(gx.value_and_grad(softmax)).lower(w, x, y).loops
    text = str(kernel)
    assert len(tiles(text)) == 2
    assert "gemm" not in text
    assert sum("in1" in line for line in tiles(text)) == 2


def test_interpreted_loops() -> None:
    """The interpreter of loops, which knows nothing of registers, agrees."""
    x, w, y = RNG.normal(size=(70, 9)), RNG.normal(size=(9, 4)), RNG.normal(size=(70, 4))
    for function, arguments in ((softmax, (w, x, y)), (regression, (w[:, 0].copy(), x, y[:, 0].copy()))):
        compiled = gx.jit(gx.value_and_grad(function))
        loops = compiled.lower(*arguments).loops
        assert tiles(str(loops))
        for found, expected in zip(interpret(loops, arguments), compiled(*arguments), strict=True):
            assert_close(found, np.asarray(expected))


def chain(target: tuple[Any, ...], shape: tuple[int, ...], left: Any, right: Any, *loops: Any) -> For:
    value = Apply("mul", (left, right), float64)
    statement: Statement = Accumulate(Buffer("t", float64, shape, "local"), target, "add", value)
    for symbol in reversed(loops):
        statement = For(symbol, ZERO, integer(symbol.extent), (statement,))
    assert isinstance(statement, For)
    return statement


def only_tile(statements: list[Statement] | None) -> Contract:
    assert statements is not None
    (found,) = statements
    assert isinstance(found, Contract)
    return found


def test_what_becomes_a_tile() -> None:
    i, j, k = axis("i", 20), axis("j", 10), axis("k", 30)
    x, w, v = (Buffer(name, float64, shape, "input") for name, shape in (("x", (20, 30)), ("w", (30, 10)), ("v", (30,))))
    matrix, row = Load(x, (i, k), float64), Load(v, (k,), float64)
    for loops in ((i, j, k), (i, k, j), (k, i, j), (k, j, i), (j, k, i)):
        found = only_tile(contracted(chain((i, j), (20, 10), matrix, Load(w, (k, j), float64), *loops), count()))
        assert (found.result.row_stride, found.left.row_stride, found.right.row_stride) == (10, 30, 10)
    assert contracted(chain((i,), (20,), matrix, row, i, k), count()) is not None
    # A sum over one factor alone, a result that both factors have, and one that reads itself are no products of matrices.
    assert contracted(chain((i,), (20,), matrix, row, i, k, j), count()) is None
    assert contracted(chain((i, k), (20, 30), matrix, row, i, k), count()) is None
    own = Buffer("t", float64, (20,), "local")
    again = For(i, ZERO, integer(20), (For(k, ZERO, integer(30), (
        Accumulate(own, (i,), "add", Apply("mul", (matrix, Load(own, (i,), float64)), float64)),)),))
    assert contracted(again, count()) is None


def test_zeros_belong_to_the_tile() -> None:
    i, k, j = axis("i", 20), axis("k", 30), axis("j", 20)
    x, v = Buffer("x", float64, (20, 30), "input"), Buffer("v", float64, (30,), "input")
    t = Buffer("t", float64, (20,), "local")
    total = For(k, ZERO, integer(30), (
        Accumulate(t, (i,), "add", Apply("mul", (Load(x, (i, k), float64), Load(v, (k,), float64)), float64)),))
    assert only_tile(contracted(For(i, ZERO, integer(20), (Store(t, (i,), constant(0, float64)), total)), count())).fresh
    # Zeros elsewhere, or stored again and again, do not.
    for zeros in (Store(t, (ZERO,), constant(0, float64)), For(j, ZERO, integer(20), (Store(t, (j,), constant(0, float64)),))):
        assert contracted(For(i, ZERO, integer(20), (zeros, total)), count()) is None


@pytest.mark.parametrize("dtype", [float32, float64])
def test_lanes_lie_where_memory_is_contiguous(dtype: Any) -> None:
    def contract(left: tuple[int, int], right: tuple[int, int], result: tuple[int, int]) -> Contract:
        buffer = Buffer("b", dtype, (4096,), "arena")
        a, b, c = (Matrix(buffer, ZERO, 0, *strides) for strides in (left, right, result))
        return Contract(c, a, b, integer(20), integer(30), integer(40), True)

    assert (orientation(contract((30, 1), (40, 1), (40, 1))) or (None, ""))[1] == "columns"
    turned = orientation(contract((1, 20), (1, 30), (1, 20)))
    assert turned is not None
    assert (turned[1], turned[0].rows.value) == ("columns", 40)  # type: ignore[union-attr]
    assert (orientation(contract((30, 1), (1, 30), (40, 1))) or (None, ""))[1] == "inner"
    assert orientation(contract((60, 2), (80, 2), (40, 1))) is None


def test_a_kernel_without_products_stays() -> None:
    program = gx.jit(lambda x: np.sum(np.exp(x))).lower(np.ones(1000)).optimized
    assert not tiles(str(kernel_of(program)))


@pytest.mark.parametrize("count", [90, 2000])
def test_tiles_in_loops_that_run_in_order(count: int) -> None:
    """Sums by scattered addition share the loop over points; only they keep its order."""
    points, centres = RNG.normal(size=(count, 8)), RNG.normal(size=(12, 8))

    def step(points: Any, centres: Any) -> Any:
        nearest = np.argmin((centres * centres).sum(1) - 2 * (points @ centres.T), axis=1)
        return gx.numpy.zeros(centres.shape).at[nearest].add(points), gx.numpy.zeros(12).at[nearest].add(1.0)

    nearest = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    members = np.eye(12)[nearest]
    sums, numbers = gx.jit(step)(points, centres)
    assert_close(sums, members.T @ points)
    assert np.array_equal(numbers, members.sum(axis=0))


@pytest.mark.parametrize("count", [90, 2000])
def test_running_sums_beside_tiles(count: int) -> None:
    """What one iteration hands to the next keeps its order, whatever is cut out of the loop."""
    x, w = RNG.normal(size=(count, 20)), RNG.normal(size=(20, 9))

    def function(x: Any, w: Any) -> Any:
        z = np.sin(x @ w)
        running = np.cumsum(z.sum(axis=1))
        return running, z.T @ running, np.cumsum(np.exp(x @ w[:, 0]))

    z = np.sin(x @ w)
    running, product, other = gx.jit(function)(x, w)
    assert_close(running, np.cumsum(z.sum(axis=1)))
    np.testing.assert_allclose(product, z.T @ np.cumsum(z.sum(axis=1)), rtol=1e-10, atol=1e-10)
    assert_close(other, np.cumsum(np.exp(x @ w[:, 0])))
