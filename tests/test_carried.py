"""Values that one iteration hands on to the next: which are, and that nothing else comes out."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend.carried import carry_kernel
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.backend.ranges import cut_kernel
from gradxform.config import config
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Kernel


def kernel_of(function, *args) -> Kernel:
    return cut_kernel(build_kernel(lower_program(gx.jit(function).lower(*args).optimized)))


def valley(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def padded(x):
    """Rows of differences between zeros."""
    return np.pad(np.exp(0.1 * x[1:] * x[1:]) - np.exp(0.1 * x[:-1] * x[:-1]), (1, 0))


FUNCTIONS = {
    "value and gradient": gx.value_and_grad(valley),
    "three in a row": lambda x: x[2:] * x[2:] * 3.0 - 2 * (x[1:-1] * x[1:-1] * 3.0) + x[:-2] * x[:-2] * 3.0,
    "signs": lambda x: (-200.0 * (x[1:] - 2.0)) * x[1:] + 200.0 * (x[:-1] - 2.0),
    "rows": lambda x: gx.vmap(padded)(x.reshape(5, -1)),
    "columns": lambda x: gx.vmap(padded, in_axes=1, out_axes=1)(x.reshape(-1, 5)),
    "mask": lambda x: np.where(x[1:] > 0, np.sqrt(x[1:] * x[1:] + 1), 0.0) + np.sqrt(x[:-1] * x[:-1] + 1),
}


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_bits(name: str, chunks: bool) -> None:
    x = np.random.default_rng(3).normal(size=235)
    with config.override(parallel_threshold=10 if chunks else 10**9):
        before = kernel_of(FUNCTIONS[name], x)
    after = carry_kernel(before)
    check_kernel(after)
    for expected, found in zip(interpret(before, [x]), interpret(after, [x]), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [33, 5000, 200_000])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name: str, size: int) -> None:
    x = np.random.default_rng(size).normal(size=size - size % 5)
    results = []
    before = config.num_threads
    for threads in (1, 2):
        config.num_threads = threads
        found = gx.jit(FUNCTIONS[name])(x)
        results.append(found if isinstance(found, tuple) else (found,))
    config.num_threads = before
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    if name == "value and gradient":
        rise, gap = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
        gradient = np.zeros_like(x)
        gradient[1:] = 200.0 * rise
        gradient[:-1] -= 400.0 * rise * x[:-1] + 2.0 * gap
        expected = np.sum(100.0 * rise**2 + gap**2), gradient
    else:
        expected = (np.asarray(FUNCTIONS[name](x)),)
    for first, second in zip(results[0], expected, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-9)


def test_what_is_handed_on() -> None:
    kernel = str(carry_kernel(kernel_of(gx.value_and_grad(valley), np.ones(100_000))))
    assert kernel.count("here.") > 1
    assert "last1." in kernel
    # A square is one instruction less a load: it is computed where it is needed.
    assert "last1." not in str(carry_kernel(kernel_of(lambda x: x[1:] * x[1:] - x[:-1] * x[:-1], np.ones(100_000))))


def test_short_and_empty_ranges() -> None:
    """Nothing is loaded before a chunk's loop that does not run."""
    x = np.random.default_rng(1).normal(size=64)
    with config.override(parallel_threshold=10):
        value, gradient = gx.jit(gx.value_and_grad(valley))(x)
    np.testing.assert_allclose(value, valley(x), rtol=1e-13)
    assert gradient.shape == x.shape


def test_what_a_guard_protects_stays_there() -> None:
    """An element beyond the end is not read, even if the one before is."""
    kernel = build_kernel(lower_program(gx.jit(lambda x: np.pad(3 * np.sin(x), (0, 7)) + 3 * np.sin(np.pad(x, (7, 0))))
                                        .lower(np.ones(93)).optimized))
    x = np.random.default_rng(2).normal(size=93)
    for expected, found in zip(interpret(kernel, [x]), interpret(carry_kernel(kernel), [x]), strict=True):
        np.testing.assert_array_equal(found, expected)
