"""Loops over rows that take several of them at a time: which do, and that they compute the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import several_rows
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.backend.ranges import cut_kernel
from gradxform.backend.several_rows import ROWS, join_rows
from gradxform.backend.stream_text import cache_bytes
from gradxform.config import config
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Kernel


def kernel_of(function, *args) -> Kernel:
    return build_kernel(lower_program(gx.jit(function).lower(*args).optimized))


def normalised(x, gain):
    centred = x - np.mean(x, axis=0)
    return centred / np.sqrt(np.mean(centred * centred, axis=0) + 1e-5) * gain


FUNCTIONS = {
    "sums": lambda x: np.sum(x, axis=0),
    "sums and maxima": lambda x: (np.sum(x * x, axis=0), np.max(x, axis=0)),
    "normalised": lambda x: normalised(x, np.sin(x[0])),
    "its gradient": gx.grad(lambda x: np.sum(normalised(x, np.sin(x[0])) ** 3)),
}


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("rows", [18])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_bits(monkeypatch: pytest.MonkeyPatch, name: str, rows: int, chunks: bool) -> None:
    monkeypatch.setattr(several_rows, "LEAST_WORK", 0.0)
    x = np.random.default_rng(rows).normal(size=(rows, 230))
    with config.override(parallel_threshold=10 if chunks else 10**9):
        before = kernel_of(FUNCTIONS[name], x)
    after = join_rows(before)
    assert after is not before
    check_kernel(after)
    for expected, found in zip(interpret(before, [x]), interpret(after, [x]), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rows", [17, 1000])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name: str, rows: int) -> None:
    x = np.random.default_rng(rows).normal(size=(rows, 700))
    results = []
    before = config.num_threads
    for threads in (1, 2):
        config.num_threads = threads
        found = gx.jit(FUNCTIONS[name])(x)
        results.append(found if isinstance(found, tuple) else (found,))
    config.num_threads = before
    with gx.disable_jit():
        expected = FUNCTIONS[name](x)
    for one, two, other in zip(*results, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_what_stays_as_it_is() -> None:
    x = np.ones((100, 1500))
    for function in (lambda x: x * 2, lambda x: np.sum(np.exp(x), axis=0), lambda x: np.sum(x, axis=1)):
        kernel = kernel_of(function, x)
        assert join_rows(kernel) is kernel
    large = kernel_of(FUNCTIONS["sums"], np.broadcast_to(1.0, (cache_bytes() // 8000, 1000)))
    assert join_rows(large) is large
    few = kernel_of(FUNCTIONS["sums"], np.ones((ROWS, 20_000)))
    assert join_rows(few) is few


def test_what_goes_past_the_caches_goes_by_rows() -> None:
    large = np.broadcast_to(1.0, (cache_bytes() // 8000 + 1, 1000))
    kernel = kernel_of(lambda x, a, b, c, d: (x * a + b) * c + d, large, *np.ones((4, 1000)))
    assert join_rows(kernel) is kernel
    small = kernel_of(lambda x, a, b, c, d: (x * a + b) * c + d, large[:1000], *np.ones((4, 1000)))
    assert join_rows(small) is not small


def relaxed(x):
    near = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return x.at[1:-1, 1:-1].add(0.2 * (near - 4 * x[1:-1, 1:-1]))


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("rows", [20, 21, 33])
def test_rows_that_read_their_neighbours(monkeypatch: pytest.MonkeyPatch, rows: int, chunks: bool) -> None:
    """Two rows load what they share once; chunks may hold any number of rows, and none."""
    monkeypatch.setattr(several_rows, "LEAST_WORK", 0.0)
    x = np.random.default_rng(rows).normal(size=(rows, 70))
    with config.override(parallel_threshold=10 if chunks else 10**9):
        before = cut_kernel(kernel_of(relaxed, x))
    after = join_rows(before)
    assert ".row1" in str(after)
    assert ".row2" not in str(after)
    check_kernel(after)
    for expected, found in zip(interpret(before, [x]), interpret(after, [x]), strict=True):
        np.testing.assert_array_equal(found, expected)
    with config.override(parallel_threshold=10 if chunks else 10**9):
        found = gx.jit(relaxed)(x)
    expected = x.copy()
    near = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    expected[1:-1, 1:-1] += 0.2 * (near - 4 * x[1:-1, 1:-1])
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_rows_by_themselves_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several_rows, "LEAST_WORK", 0.0)
    kernel = kernel_of(lambda x: x[:, 1:] - x[:, :-1], np.ones((40, 70)))
    assert join_rows(kernel) is kernel
