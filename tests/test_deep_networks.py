"""Networks of many layers: the loops of equal layers are the same ones, so their code is made once."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import schedule

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


@pytest.mark.parametrize("most", [1, 5, schedule.MOST_SUMS])
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
