"""Sums over a little less than what another loop runs over join that loop, in front of guards that are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Kernel

RANDOM = np.random.default_rng(5)


def loops_of(function: Any, *args: Any) -> Kernel:
    return gx.jit(function).lower(*args).loops  # type: ignore[no-any-return]


def rise(x: Any) -> Any:
    return np.sum((x[1:] - x[:-1]) ** 2)


def rise_by_hand(x: Any) -> tuple[Any, Any]:
    step = np.diff(x)
    slope = np.zeros_like(x)
    slope[1:] += 2 * step
    slope[:-1] -= 2 * step
    return np.sum(step**2), slope


def assert_close(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("size", [600, 2001])
def test_value_and_gradient_of_differences_read_the_data_once(size: int, chunks: bool) -> None:
    x = RANDOM.standard_normal(size)
    with gx.config.override(parallel_threshold=100 if chunks else 10**9, cache_dir="off"):
        kernel = loops_of(gx.value_and_grad(rise), x)
        assert sum("in0[" in str(Kernel((), (), (), (nest,))) for nest in kernel.nests) == 1
        assert_close(gx.jit(gx.value_and_grad(rise))(x), rise_by_hand(x))
        assert_close(interpret(kernel, (x,)), rise_by_hand(x))


def test_what_lies_behind_the_end_is_not_read() -> None:
    """Were the sum to take one element more, it would be a NaN of the memory behind."""
    whole = np.full(1025, np.nan)
    whole[:1000] = RANDOM.standard_normal(1000)
    x = whole[:1000]
    assert_close(gx.jit(gx.value_and_grad(rise))(x), rise_by_hand(x))


def test_several_sums_and_further_differences() -> None:
    def energy(x: Any) -> Any:
        first, second = np.diff(x), np.diff(x, 2)
        return np.sum(first * first) + 3 * np.sum(second * second)

    x = RANDOM.standard_normal(3000)
    slope = rise_by_hand(x)[1]
    bend = np.diff(x, 2)
    for offset, weight in ((0, 6), (1, -12), (2, 6)):
        slope[offset:offset + bend.size] += weight * bend
    value = np.sum(np.diff(x) ** 2) + 3 * np.sum(bend**2)
    assert_close(gx.jit(gx.value_and_grad(energy))(x), (value, slope))


def test_a_sum_that_is_needed_first_stays_in_front() -> None:
    def scaled(x: Any) -> Any:
        return x / rise(x)

    x = RANDOM.standard_normal(2000)
    assert len(loops_of(scaled, x).nests) >= 2
    np.testing.assert_allclose(gx.jit(scaled)(x), x / rise(x), rtol=1e-12)


def test_other_reductions_stay_as_they_are() -> None:
    def greatest(x: Any) -> Any:
        return np.max(x[1:] - x[:-1]), x * 2.0

    x = RANDOM.standard_normal(2000)
    assert_close(gx.jit(greatest)(x), greatest(x))


def test_what_another_loop_reads_keeps_its_own() -> None:
    """Second differences stay in a loop of their own, though a longer one of a sum comes next: exponentials read them later."""
    def function(x, y):
        products = np.pad(y[:-3] * y[3:] + y[1:-2] * y[2:-1], (1, 2))
        curved = x[2:] - 2.0 * x[1:-1] + x[:-2]
        tilted = np.where(x > 0, x, 0.3 * x) - 2.0 * products
        total = np.sum((x[1:] - x[:-1] * tilted[1:]) ** 2) + np.sum((products[1:] - products[:-1] * tilted[1:]) ** 2)
        bumps = np.exp(-0.1 * curved[1:] ** 2) - np.exp(-0.1 * curved[:-1] ** 2)
        return total + 0.1 * np.sum(bumps * bumps), bumps

    x, y = np.random.default_rng(8).normal(size=(2, 515))
    for found, expected in zip(gx.jit(function)(x, y), function(x, y), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
