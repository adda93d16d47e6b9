"""Loops that fill, and store what is chosen by its index one by one."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.backend.points import single_out
from gradxform.backend.ranges import cut_kernel
from gradxform.config import config
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Kernel


def kernel_of(function, *args) -> Kernel:
    return cut_kernel(build_kernel(lower_program(gx.jit(function).lower(*args).optimized)))


def valley(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def bands(x):
    """Points that meet, points beyond both ends, and two that are one."""
    columns = gx.lax.iota(np.int64, x.size)
    rows = columns[:, None]
    result = np.where(columns == rows, x[:, None], 2.0 * x)
    result = np.where(columns == rows + 90, 5.0, result)
    result = np.where(columns + 3 == rows, x * x, result)
    return np.where(columns == 2 * rows - 7, -1.0, np.where(columns == 4, 3.0, result))


FUNCTIONS = {
    "Jacobian": gx.jacfwd(lambda x: np.sin(x) * x),
    "bands of a Hessian": gx.hessian(valley),
    "bands": bands,
}


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_bits(name: str, chunks: bool) -> None:
    x = np.random.default_rng(3).normal(size=163)
    with config.override(parallel_threshold=10 if chunks else 10**9):
        before = kernel_of(FUNCTIONS[name], x)
        compiled = gx.jit(FUNCTIONS[name])(x)
    after = single_out(before)
    assert after is not before
    check_kernel(after)
    for expected, found in zip(interpret(before, [x]), interpret(after, [x]), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(compiled, interpret(before, [x])[0], rtol=1e-13, atol=1e-13)


def test_against_numpy() -> None:
    x = np.random.default_rng(4).normal(size=200)
    np.testing.assert_array_equal(gx.jit(bands)(x), bands(x))


def test_short_rows_stay() -> None:
    kernel = kernel_of(gx.hessian(valley), np.ones(95))
    assert single_out(kernel) is kernel


def test_what_the_loop_sums_stays() -> None:
    def trace(x):
        return np.sum(np.where(gx.lax.iota(np.int64, x.size) == 3, x, 0.0))

    kernel = kernel_of(trace, np.ones(500))
    assert single_out(kernel) is kernel
    assert gx.jit(trace)(np.arange(500.0)) == 3.0
