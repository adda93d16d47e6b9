"""Passes over loops: short loops unrolled, guarded ones cut into pieces; extrema of NaN, chunks with sums."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import split
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.backend.ranges import cut_kernel
from gradxform.backend.split import split_kernel, weight
from gradxform.backend.unroll import unroll_kernel
from gradxform.config import config
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import For, Kernel, Part


def kernel_before_passes(function, *args) -> Kernel:
    return build_kernel(lower_program(gx.jit(function).lower(*args).optimized))


def extents(statements) -> list[int]:
    found = []
    for statement in statements:
        if isinstance(statement, For):
            found += [statement.symbol.extent, *extents(statement.body)]
        elif isinstance(statement, Part):
            found += extents(statement.body)
    return found


def same_results(before: Kernel, after: Kernel, *args) -> None:
    check_kernel(after)
    for expected, found in zip(interpret(before, args), interpret(after, args), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_short_inner_loops_are_unrolled() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    before = kernel_before_passes(lambda x: x / np.sqrt(np.sum(x * x, axis=1, keepdims=True)), x)
    after = unroll_kernel(before)
    assert 3 in extents(before.nests[0].body) and extents(after.nests[0].body) == [20]
    same_results(before, after, x)


def test_eight_strided_iterations_are_unrolled() -> None:
    """The loop around them walks through memory by neighbours: it is to be the lane. Along rows they fill a vector."""
    x = np.random.default_rng(3).normal(size=(8, 30))
    before = kernel_before_passes(lambda x: x - np.log(np.sum(np.exp(x), axis=0)), x)
    after = unroll_kernel(before)
    assert 8 in extents(before.nests[0].body) and 8 not in extents(after.nests[0].body)
    same_results(before, after, x)
    along_rows = kernel_before_passes(lambda x: x - np.log(np.sum(np.exp(x), axis=1, keepdims=True)), x.T.copy())
    assert 8 in extents(unroll_kernel(along_rows).nests[0].body)


@pytest.mark.parametrize(("rows", "chunks"), [(64, 2), (512, 8), (100_000, 64)])
def test_partial_sums_of_chunks_cost_little(rows: int, chunks: int) -> None:
    """Few rows are cut into few chunks, each of which has a sum for every column."""
    found = kernel_before_passes(lambda x: np.sum(np.exp(x), axis=0), np.broadcast_to(1.0, (rows, 1000)))
    assert found.nests[0].chunks == chunks


def test_nothing_to_unroll_is_the_same_object() -> None:
    kernel = kernel_before_passes(np.sin, np.ones(100))
    assert unroll_kernel(kernel) is kernel and cut_kernel(kernel) is kernel and split_kernel(kernel) is kernel


def test_loops_are_cut_where_guards_change() -> None:
    x = np.random.default_rng(1).normal(size=40)
    before = kernel_before_passes(gx.grad(lambda x: np.sum((x[1:] - x[:-1]) ** 2)), x)
    after = cut_kernel(before)
    assert "guard" in str(before) and "guard" not in str(after)
    assert sorted(n for n in extents([s for nest in after.nests for s in nest.body]) if n != 39) == [1, 1, 38]
    same_results(before, after, x)


def test_cut_loops_within_chunks() -> None:
    x = np.random.default_rng(2).normal(size=500)
    with config.override(parallel_threshold=100):
        before = kernel_before_passes(lambda x: np.pad(np.exp(x), (3, 5)) + np.concatenate([x, x[:8]]), x)
        assert any(nest.chunks for nest in before.nests)
        same_results(before, cut_kernel(before), x)


def test_long_bodies_are_split() -> None:
    def chain(x):
        for _ in range(500):
            x = np.sin(x) * 1.01
        return x

    x = np.linspace(0.1, 1.0, 9)
    before = kernel_before_passes(gx.grad(lambda x: np.sum(chain(x))), x)
    after = split_kernel(before)
    parts = [s for nest in after.nests for s in nest.body if isinstance(s, Part)]
    assert len(parts) > 2 and all(weight(part.body) <= 700 for part in parts)
    same_results(before, after, x)
    np.testing.assert_allclose(gx.jit(gx.grad(lambda x: np.sum(chain(x))))(x), interpret(before, [x])[0], rtol=1e-11)


def parts_of(statements) -> list[Part]:
    found = [s for s in statements if isinstance(s, Part)]
    return found + [part for s in statements if isinstance(s, For) for part in parts_of(s.body)]


def test_many_loops_in_a_row_are_split() -> None:
    def deep(x):
        for _ in range(120):
            x = np.tanh(x - np.sum(x * x, axis=1, keepdims=True))
        return x

    x = np.random.default_rng(6).normal(size=(12, 20)) / 5.0
    before = kernel_before_passes(deep, x)
    after = split_kernel(before)
    parts = [part for nest in after.nests for part in parts_of(nest.body)]
    assert len(parts) > 2 and all(weight(part.body) <= 700 for part in parts)
    same_results(before, after, x)
    np.testing.assert_allclose(gx.jit(deep)(x), deep(x), rtol=1e-9)


def test_loops_in_a_row_stay_together_beside_one_that_runs_in_order() -> None:
    def loss(x):
        for _ in range(40):
            x = np.tanh(x - np.sum(x * x, axis=0))
        return gx.lax.fori_loop(0, 5, lambda i, y: y * 0.5 + i, np.sum(x))

    x = np.random.default_rng(7).normal(size=(9, 8))
    before = kernel_before_passes(loss, x)
    same_results(before, split_kernel(before), x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["max", "min"])
def test_extrema_as_in_numpy(name: str, dtype: type) -> None:
    random = np.random.default_rng(3)
    plain = random.normal(size=(6, 50)).astype(dtype)
    with_nan, all_nan, infinite = plain.copy(), plain.copy(), plain.copy()
    with_nan[2, 7] = with_nan[3, 0] = with_nan[4, 49] = np.nan
    all_nan[1] = np.nan
    infinite[0], infinite[1], infinite[2, 3] = np.inf, -np.inf, np.nan
    for x in (plain, with_nan, all_nan, infinite):
        for axis in (None, 0, 1):
            expected = getattr(np, name)(x, axis=axis)
            found = gx.jit(lambda x, axis=axis: getattr(np, name)(x, axis=axis))(x)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == dtype
            with config.override(parallel_threshold=1):
                found = gx.jit(lambda x, axis=axis: getattr(np, name)(x, axis=axis) * 1)(x)
            np.testing.assert_array_equal(found, expected)


def test_arguments_of_extrema_with_nan() -> None:
    x = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 5.0], [-np.inf, -np.inf, -np.inf]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(gx.jit(lambda x: np.argmax(x, axis=1))(x), np.argmax(x, axis=1))
        np.testing.assert_array_equal(gx.jit(lambda x: np.argmin(x, axis=1))(x), np.argmin(x, axis=1))


def shrink(x, steps):
    for _ in range(steps):
        x = x - 0.1 * x / (1.0 + np.sum(x * x, -1, keepdims=True))
    return x


@pytest.mark.parametrize("rows", [3, 100, 1001])
@pytest.mark.parametrize("steps", [20, 60])
def test_values_of_one_iteration_stay_with_it_when_its_body_is_split(rows: int, steps: int) -> None:
    # The small axis is unrolled into a local buffer; its elements cross from part to part.
    x = np.random.default_rng(4).normal(size=(rows, 5))
    np.testing.assert_allclose(gx.jit(lambda x: shrink(x, steps))(x), shrink(x, steps), rtol=1e-12)
    gradient = gx.grad(lambda x: np.sum(shrink(x, steps) ** 2))
    np.testing.assert_allclose(gx.jit(gradient)(x), gradient(x), rtol=1e-10)


def test_sums_over_a_split_loop() -> None:
    x = np.random.default_rng(5).normal(size=(77, 5))

    def total(x):
        return np.sum(shrink(x, 40) ** 2), np.sum(shrink(x, 40), axis=0)

    for found, expected in zip(gx.jit(total)(x), total(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    with config.override(parallel_threshold=1000):
        for found, expected in zip(gx.jit(lambda x: total(x))(x), total(x), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("columns", "iterations"), [(1, 64), (7, 32)])
def test_blocks_of_long_rows_store_less_than_a_page(monkeypatch: pytest.MonkeyPatch, columns: int, iterations: int) -> None:
    """Loads of the next block would wait for stores to the same places of other pages."""
    for name, value in {"PART_STATEMENTS": 8, "SPLIT_STATEMENTS": 16}.items():
        monkeypatch.setattr(split, name, value)

    def chain(x):
        for _ in range(10):
            x = np.sin(x) * 1.01
        return x

    x = np.random.default_rng(6).normal(size=(1000, columns))
    with config.override(parallel_threshold=10**12):
        before = unroll_kernel(kernel_before_passes(lambda x: chain(x[:, 0])[:, None] + 0 * x, x))
    after = split_kernel(before)
    same_results(before, after, x)
    assert f" * {iterations} + {iterations}, 1000)" in str(after)
