"""checkpoint of scan: the same derivatives from less memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_all_close, assert_close

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import lax
from gradxform.primitives.scan_checkpoints import repetitions, segment_length

WEIGHTS = 0.3 * np.random.default_rng(0).normal(size=(5, 5))
START = np.linspace(-1.0, 1.0, 5)
CHECKPOINTS = [1, 2, 7, 40, "sqrt", "binomial"]


def model(checkpoint: Any, length: int, reverse: bool = False) -> Callable[..., Any]:
    """A loss of a loop with weights, two carries of which one is a counter, xs and ys."""

    def loss(weights: Any, start: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            h, k = carry
            new = gnp.tanh(weights @ h + x / (1.0 + k))
            return (new, k + 1), (gnp.sum(new * h), k)

        (last, count), (ys, counts) = lax.scan(step, (start, 0), xs, length=length, reverse=reverse, checkpoint=checkpoint)
        return gnp.sum(last**2) + gnp.sum(ys * gnp.cos(counts)) + count

    return loss


def plain(weights: Any, start: Any, xs: Any, reverse: bool) -> Any:
    h, ys = start, []
    for k, x in enumerate(xs[::-1] if reverse else xs):
        new = np.tanh(weights @ h + x / (1.0 + k))
        ys.append(np.sum(new * h) * np.cos(k))
        h = new
    return np.sum(h**2) + np.sum(ys) + len(xs)


def elements(length: int) -> Any:
    return np.sin(np.arange(length * 5.0)).reshape(length, 5)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 17, 36])
def test_gradients(checkpoint: Any, reverse: bool, length: int) -> None:
    arguments = WEIGHTS, START, elements(length)
    function = gx.jit(gx.value_and_grad(model(checkpoint, length, reverse), argnums=(0, 1, 2)))
    value, gradients = function(*arguments)
    assert_close(value, np.float64(plain(*arguments, reverse)))
    expected = gx.grad(model(None, length, reverse), argnums=(0, 1, 2))(*arguments)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_directional_derivative_against_differences(checkpoint: Any) -> None:
    arguments = WEIGHTS, START, elements(11)
    rng = np.random.default_rng(3)
    direction = [rng.normal(size=a.shape) for a in arguments]
    gradients = gx.grad(model(checkpoint, 11), argnums=(0, 1, 2))(*arguments)
    step = 1e-5

    def moved(t: float) -> Any:
        return plain(*(a + t * d for a, d in zip(arguments, direction, strict=True)), False)

    difference = (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step)
    found = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    assert abs(found - difference) < 1e-8 * max(1.0, abs(difference))


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_second_order_lanes_and_forward_mode(checkpoint: Any) -> None:
    arguments, plainly = (WEIGHTS, START, elements(17)), model(None, 17)
    loss = model(checkpoint, 17)
    direction = np.cos(np.arange(5.0))

    def product(loss: Any) -> Any:
        return gx.jit(lambda w, h, x: gx.jvp(lambda h: gx.grad(loss, argnums=(0, 1))(w, h, x), (h,), (direction,))[1])

    assert_all_close(product(loss)(*arguments), product(plainly)(*arguments), "rewritten")
    for transform in (
        lambda loss: gx.jvp(loss, arguments, arguments),
        lambda loss: gx.hessian(loss, argnums=1)(*arguments),
        lambda loss: gx.jacrev(gx.jacrev(loss, argnums=1), argnums=1)(*arguments),
        lambda loss: gx.grad(lambda h: gx.jvp(lambda h: loss(WEIGHTS, h, arguments[2]), (h,), (direction,))[1])(START),
    ):
        for found, wanted in zip(np.atleast_1d(transform(loss)), np.atleast_1d(transform(plainly)), strict=True):
            assert_close(found, wanted, "rewritten")
    lanes = np.stack([START, 2 * START, START**2])
    for in_axes in ((None, 0, None), (None, 0, 1)):
        xs = arguments[2] if in_axes[2] is None else np.stack([arguments[2], -arguments[2], 0.5 * arguments[2]], axis=1)
        for transform in (
            lambda loss, axes=in_axes: gx.jit(gx.vmap(gx.grad(loss, argnums=(0, 1)), in_axes=axes)),
            lambda loss, axes=in_axes: gx.grad(lambda w, h, x: gnp.sum(gx.vmap(loss, in_axes=axes)(w, h, x)), argnums=(0, 1)),
        ):
            assert_all_close(transform(loss)(WEIGHTS, lanes, xs), transform(plainly)(WEIGHTS, lanes, xs), "rewritten")


def _arena(checkpoint: Any, length: int) -> int:
    def loss(weights: Any, start: Any) -> Any:
        return gnp.sum(lax.scan(lambda h, _: (gnp.tanh(weights @ h), None), start, None, length, checkpoint=checkpoint)[0])

    return int(gx.jit(gx.grad(loss, argnums=(0, 1))).lower(np.ones((32, 32)), np.ones(32)).cost.arena_bytes)


def test_memory() -> None:
    carry = 32 * 8
    # All steps are stored; of segments the starts and what one segment stores; of the slots a logarithm.
    assert all(_arena(None, n) >= n * carry for n in (100, 400, 1600))
    assert all(_arena("sqrt", n) <= (4 * np.sqrt(n) + 10) * carry for n in (100, 400, 1600))
    assert all(_arena(10, n) <= (n / 10 + 50) * carry for n in (100, 400, 1600))
    assert all(_arena("binomial", n) <= (np.log2(n) + 12) * carry for n in (100, 400, 1600))


def test_segments_divide_the_loop_where_possible() -> None:
    assert [segment_length("sqrt", n) for n in (1, 2, 100, 1000, 1009)] == [1, 1, 10, 40, 31]
    assert segment_length(7, 100) == 7


@cache
def _fewest(length: int, slots: int) -> int:
    """The least number of steps that lead to all carries of ``length`` steps in reverse order, the first one given."""
    if length == 1:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    return min(m + _fewest(length - m, slots - 1) + _fewest(m, slots) for m in range(1, length))


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 60, 100])
def test_binomial_repeats_as_little_as_possible(length: int) -> None:
    calls = []

    def counted(k: Any) -> Any:
        calls.append(int(k))
        return np.asarray(k)

    def loss(x: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            h, k = carry
            return (gnp.sin(h), gx.pure_callback(counted, np.int64(0), k) + 1), None

        return lax.scan(step, (x, 0), None, length, checkpoint="binomial")[0][0]

    slots = max(length.bit_length(), 1)
    found = gx.jit(gx.grad(loss))(0.5)
    h, slope = 0.5, 1.0
    for _ in range(length):
        h, slope = np.sin(h), slope * np.cos(h)
    assert_close(found, np.float64(slope))
    # The value itself is not asked for, and linear parts do not need the counter.
    assert len(calls) == _fewest(length, slots)
    assert repetitions(100, 7) <= 3


@pytest.mark.parametrize("wrong", [0, -3, "log", 2.5, True, [3]])
def test_wrong_values(wrong: Any) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="checkpoint must be None, a positive int, 'sqrt' or 'binomial'"):
        lax.scan(lambda c, x: (c, x), 0.0, np.arange(3.0), checkpoint=wrong)


def test_unrolled_and_nested() -> None:
    def loss(x: Any, checkpoint: Any, unroll: int) -> Any:
        def inner(c: Any, e: Any) -> Any:
            return lax.scan(lambda d, _: (gnp.sin(d) * e + c, None), c, None, 4, checkpoint=checkpoint)[0], c

        last, ys = lax.scan(inner, 0.7, x, unroll=unroll, checkpoint=checkpoint)
        return last + gnp.sum(ys)

    x = np.linspace(0.1, 0.9, 10)
    expected = gx.grad(loss)(x, None, 1)
    for checkpoint in (2, "sqrt", "binomial"):
        for unroll in (1, 3):
            assert_close(gx.grad(loss)(x, checkpoint, unroll), expected, "rewritten")


def test_effects_happen_once() -> None:
    seen: list[int] = []

    def loss(x: Any, checkpoint: Any) -> Any:
        def step(c: Any, e: Any) -> Any:
            gx.debug.callback(lambda e: seen.append(int(e)), e)
            return gnp.sin(c) * 1.1, None

        return lax.scan(step, x, np.arange(9), checkpoint=checkpoint)[0]

    for checkpoint in (None, 2, "sqrt", "binomial"):
        seen.clear()
        gx.jit(gx.grad(lambda x, checkpoint=checkpoint: loss(x, checkpoint)))(0.3)
        assert seen == list(range(9)), checkpoint
        seen.clear()
        gx.jvp(lambda x, checkpoint=checkpoint: loss(x, checkpoint), (0.3,), (1.0,))
        assert seen == list(range(9)), checkpoint


@pytest.mark.parametrize("checkpoint", [None, *CHECKPOINTS])
@pytest.mark.parametrize("with_xs", [False, True])
def test_forward_mode_computes_values_once(checkpoint: Any, with_xs: bool) -> None:
    def loss(weights: Any, start: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            return gnp.tanh(weights @ h + (x if with_xs else 0.1)), None

        xs = np.linspace(0.0, 1.0, 36) if with_xs else None
        return gnp.sum(lax.scan(step, start, xs, 36, checkpoint=checkpoint)[0])

    arguments = WEIGHTS, START
    forward = gx.jit(lambda *values: gx.jvp(loss, values, arguments))
    # Of 36 steps in segments of 7 one is left over.
    assert str(forward.lower(*arguments).optimized).count("= tanh ") == (2 if checkpoint == 7 else 1)
