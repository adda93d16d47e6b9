"""Networks of many layers: the loops of equal layers are the same ones, so their code is made once."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import schedule
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.interpreter import interpret

BATCH, WIDTH = 8, 16


def network(layers):
    random = np.random.default_rng(layers)
    weights = [random.standard_normal((WIDTH, WIDTH)) * (2 / WIDTH) ** 0.5 for _ in range(layers)]
    return weights, random.standard_normal((BATCH, WIDTH))


def loss(weights, x):
    for weight in weights:
        x = np.maximum(x @ weight, 0.0)
    return np.sum(x * x)


def by_hand(weights, x):
    """The loss and its derivatives, layer by layer."""
    entering = []
    for weight in weights:
        entering.append(x)
        x = np.maximum(x @ weight, 0.0)
    value, slope, slopes = np.sum(x * x), 2 * x, []
    for weight, before in zip(weights[::-1], entering[::-1], strict=True):
        slope = np.where(before @ weight > 0, slope, 0.0)
        slopes.append(before.T @ slope)
        slope = slope @ weight.T
    return value, slopes[::-1]


@pytest.mark.parametrize("most", [1, 12, schedule.MOST_SUMS])
def test_derivatives_are_those_by_hand_wherever_loops_end(monkeypatch, most):
    monkeypatch.setattr(schedule, "MOST_SUMS", most)
    # Another program for each, since what is compiled is kept.
    weights, x = network(20 + most)
    value, slopes = gx.jit(gx.value_and_grad(loss))(weights, x)
    expected, expected_slopes = by_hand(weights, x)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for found, wanted in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13 * np.abs(wanted).max())


def test_more_layers_need_no_more_functions():
    counts = []
    for layers in (48, 96):
        lowered = gx.jit(gx.grad(loss)).lower(*network(layers))
        counts.append(len(re.findall(r"^define [^\n]*@nest\d+\(", lowered.llvm, re.MULTILINE)))
    assert counts[1] <= counts[0] + 2


def test_nests_that_are_alike_have_buffers_of_their_own():
    weights, x = network(12)
    stages = gx.jit(gx.value_and_grad(loss)).lower(weights, x)
    kernel = check_kernel(stages.loops)
    likes = [(number, nest) for number, nest in enumerate(kernel.nests) if nest.like is not None]
    assert len(likes) >= len(weights)
    for number, nest in likes:
        first = kernel.nests[nest.like.nest]
        assert nest.like.nest < number
        assert first.like is None
        assert not set(nest.locals) & set(first.locals)
        assert len(set(nest.like.buffers.values())) == len(nest.like.buffers)
    value, slopes = by_hand(weights, x)
    found = interpret(kernel, [*weights, x])
    np.testing.assert_allclose(found[0], value, rtol=1e-12)
    for one, wanted in zip(found[1:], slopes, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-11, atol=1e-13 * np.abs(wanted).max())


def test_nests_with_other_numbers_are_not_alike():
    def scaled(x, numbers):
        for number in numbers:
            x = np.cumsum(np.sin(x) * number, axis=1)
        return x

    x = np.linspace(0.0, 1.0, 640).reshape(8, 80)
    for numbers, count in (((0.5, 0.5, 0.5), 1), ((0.5, 0.25, 0.75), 3)):
        stages = gx.jit(lambda x, numbers=numbers: scaled(x, numbers)).lower(x)
        assert sum(nest.like is None for nest in stages.loops.nests[-3:]) <= count
        np.testing.assert_allclose(gx.jit(lambda x, numbers=numbers: scaled(x, numbers))(x), scaled(x, numbers), rtol=1e-12)


def test_tiles_of_the_same_form_are_one_function():
    weights, x = network(6)
    text = gx.jit(gx.grad(loss)).lower(weights, x).llvm
    defined = re.findall(r"^define [^\n]*@(tile\d+)\(", text, re.MULTILINE)
    assert defined
    assert all(text.count(f"call void @{name}(") > 1 for name in defined)


def test_short_loops_of_vectors_stay_loops():
    text = gx.jit(lambda x, y: x - 0.05 * y).lower(*np.ones((2, 20, 16))).llvm
    assert "llvm.loop.unroll.disable" in text
    long = gx.jit(lambda x, y: x - 0.05 * y).lower(*np.ones((2, 5000))).llvm
    assert "llvm.loop.unroll.disable" not in long
