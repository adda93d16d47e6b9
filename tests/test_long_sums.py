"""Products of matrices over a long sum: one pass over what they read, in blocks, with nothing large stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_close

import gradxform as gx
from gradxform.backend import node_lowering
from gradxform.config import config
from gradxform.loopir.interpreter import interpret

RNG = np.random.default_rng(3)


def poisson(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return np.mean(np.exp(z) - y * z)


def softmax(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return np.mean(gx.scipy.special.logsumexp(z, axis=1) - np.sum(y * z, axis=1))


def tiles(function: Any, *operands: Any) -> list[str]:
    lines = map(str.strip, str(gx.jit(function).lower(*operands).loops).splitlines())
    return [line for line in lines if line.startswith("tile ")]


@pytest.mark.parametrize(("count", "features"), [(4096, 100), (5003, 37), (20_000, 128)])
def test_the_hessian_of_a_regression(count: int, features: int) -> None:
    x, w = RNG.normal(size=(count, features)), RNG.normal(size=features) / features
    stages = gx.jit(gx.hessian(poisson)).lower(w, x, np.ones(count))
    assert not any(buffer.nbytes >= x.nbytes for buffer in stages.loops.temporaries)
    assert "gemm" not in str(stages.loops)
    found = gx.jit(gx.hessian(poisson))(w, x, np.ones(count))
    assert_close(found, (x * np.exp(x @ w)[:, None]).T @ x / count)


@pytest.mark.parametrize(("count", "features", "classes"), [(4100, 20, 5), (4096, 9, 3)])
def test_the_hessian_of_a_softmax_regression(count: int, features: int, classes: int) -> None:
    x, w = RNG.normal(size=(count, features)), RNG.normal(size=(features, classes)) / features
    y = np.eye(classes)[RNG.integers(classes, size=count)]
    function = gx.jit(gx.hessian(softmax))
    assert not any(buffer.nbytes >= 8 * x.nbytes for buffer in function.lower(w, x, y).loops.temporaries)
    powers = np.exp(x @ w)
    share = powers / powers.sum(axis=1, keepdims=True)
    curvature = share[:, :, None] * (np.eye(classes) - share[:, None, :])
    expected = np.einsum("ni,nab,nj->iajb", x, curvature, x, optimize=True) / count
    assert_close(function(w, x, y), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("features", [24, 50, 100])
def test_bits_do_not_depend_on_threads(dtype: Any, features: int) -> None:
    x, w = RNG.normal(size=(30_000, features)).astype(dtype), (RNG.normal(size=features) / features).astype(dtype)
    function = gx.jit(gx.hessian(poisson))
    with config.override(num_threads=1):
        alone = function(w, x, np.ones(30_000, dtype))
    with config.override(num_threads=2):
        together = function(w, x, np.ones(30_000, dtype))
    assert alone.tobytes() == together.tobytes()


def test_factors_of_any_rank_and_order() -> None:
    x, y = RNG.normal(size=(4200, 18)), RNG.normal(size=(4200, 4))

    def pairs(x: Any, y: Any) -> Any:
        scaled = np.transpose(np.transpose(x)[:, :, None] * y, (0, 2, 1))  # of the long axis last
        return np.tensordot(scaled, np.sin(x), axes=((2,), (0,)))

    assert len(tiles(pairs, x, y)) == 1
    assert_close(gx.jit(pairs)(x, y), np.einsum("ni,na,nj->iaj", x, y, np.sin(x), optimize=True))


def test_two_products_and_another_reader() -> None:
    x, r = RNG.normal(size=(4200, 20)), RNG.normal(size=4200)

    def several(x: Any, r: Any) -> Any:
        scaled = x.T * r
        return scaled @ x, (x * r[:, None] ** 2).T @ np.tanh(x), scaled.sum(axis=0)

    first, second, third = gx.jit(several)(x, r)
    assert_close(first, (x * r[:, None]).T @ x)
    assert_close(second, (x * r[:, None] ** 2).T @ np.tanh(x))
    assert_close(third, (x * r[:, None]).sum(axis=1))


def test_rows_along_the_sum_are_a_product_by_panels() -> None:
    x, y = RNG.normal(size=(40, 5000)), RNG.normal(size=(5000, 40))
    assert not tiles(lambda x, y: x @ y, x, y)
    assert not tiles(lambda x, y: np.exp(x) @ y.T, x, np.ascontiguousarray(y.T))
    assert tiles(lambda x, y: x.T @ y, np.ascontiguousarray(x.T), y)


def test_interpreted_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_lowering, "LONG_SUM", 64)
    x, y = RNG.normal(size=(70, 18)), RNG.normal(size=(70, 3))

    def pairs(x: Any, y: Any) -> Any:
        return np.tensordot(x[:, :, None] * y[:, None, :], np.cos(x), axes=((0,), (0,)))

    loops = gx.jit(pairs).lower(x, y).loops
    assert "+=" in str(loops)
    assert len(tiles(pairs, x, y)) == 1
    (found,) = interpret(loops, [x, y])
    assert_close(found, np.einsum("ni,na,nj->iaj", x, y, np.cos(x), optimize=True))
