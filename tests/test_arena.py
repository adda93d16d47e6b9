"""The memory of temporaries that is kept between calls: nobody gets a block that another call still uses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import gradxform as gx
from gradxform import lax
from gradxform.backend import arena


def running_products(x: np.ndarray) -> np.ndarray:
    """The states of a loop are stored in the arena for its derivative."""
    return lax.fori_loop(0, 50, lambda _, c: np.sin(c) * x, x)


def gradient_by_hand(x: np.ndarray) -> np.ndarray:
    """d/dx of sum(c_50), with c' = sin(c) x, forward and elementwise."""
    value, slope = x, np.ones_like(x)
    for _ in range(50):
        value, slope = np.sin(value) * x, np.cos(value) * slope * x + np.sin(value)
    return slope


def test_threads_and_sizes_do_not_disturb_each_other():
    gradient = gx.jit(gx.grad(lambda x: np.sum(running_products(x))))
    arguments = [np.linspace(0.1, 2.0, n) for n in (100, 3000, 400, 20_000, 100, 3000)]
    expected = [gradient_by_hand(x) for x in arguments]
    for x in arguments:
        assert gradient.lower(x).loops.arena_bytes > 16 * 1024
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, wanted in zip(pool.map(gradient, arguments), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_a_call_within_a_call_has_memory_of_its_own():
    inner = gx.jit(gx.grad(lambda x: np.sum(running_products(x))))
    x = np.linspace(0.1, 2.0, 400)
    wanted = gradient_by_hand(x)

    def outer(x):
        product = running_products(x)
        result = gx.pure_callback(inner, gx.ShapeDType((400,), np.float64), x)
        return np.sum(product * gx.stop_gradient(result))

    weighted = gx.jit(gx.grad(lambda x: outer(gx.stop_gradient(x)) + np.sum(running_products(x) * x)))
    value, slope = x, np.ones_like(x)
    for _ in range(50):
        value, slope = np.sin(value) * x, np.cos(value) * slope * x + np.sin(value)
    for _ in range(3):
        np.testing.assert_allclose(weighted(x), slope * x + value, rtol=1e-10)
        np.testing.assert_allclose(inner(x), wanted, rtol=1e-10)


def test_the_block_is_given_back():
    gradient = gx.jit(gx.grad(lambda x: np.sum(running_products(x))))
    x = np.linspace(0.1, 2.0, 1000)
    gradient(x)
    assert arena._cell.value
    arena.release()
    assert not arena._cell.value
    np.testing.assert_allclose(gradient(x), gradient_by_hand(x), rtol=1e-10)
