"""Rows of products, of which one element is looked up, in blocks of rows that are tiles."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform as gx

GENERATOR = np.random.default_rng(24)


def looked_up(w, x, labels):
    return np.mean(np.dot(x, w)[gx.numpy.arange(x.shape[0]), labels])


def cross_entropy(w, x, labels):
    scores = np.dot(x, w)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    logs = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    return -np.mean(logs[gx.numpy.arange(x.shape[0]), labels])


@pytest.mark.parametrize("rows", [64, 600])
def test_each_row_is_looked_up_in_itself(rows):
    x, w = GENERATOR.normal(size=(rows, 200)), GENERATOR.normal(size=(200, 10))
    labels = GENERATOR.integers(0, 10, rows)
    np.testing.assert_allclose(gx.jit(looked_up)(w, x, labels), (x @ w)[np.arange(rows), labels].mean(), rtol=1e-11)


def test_cross_entropy_and_its_gradient():
    x, w = GENERATOR.normal(size=(600, 200)), 0.1 * GENERATOR.normal(size=(200, 10))
    labels = GENERATOR.integers(0, 10, 600)
    value, slope = gx.jit(gx.value_and_grad(cross_entropy))(w, x, labels)
    scores = np.exp(x @ w)
    chances = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(value, -np.log(chances[np.arange(600), labels]).mean(), rtol=1e-12)
    np.testing.assert_allclose(slope, x.T @ (chances - np.eye(10)[labels]) / 600, rtol=1e-10, atol=1e-14)
