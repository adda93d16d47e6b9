"""Loops that read what the loop before computes at their neighbours run together with it, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform.backend import halos
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Kernel

RANDOM = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(halos, "LEAST_BYTES", 0)
    with gx.config.override(parallel_threshold=500, cache_dir="off"):
        yield


def kernel_of(function: Callable[..., Any], *args: Any) -> Kernel:
    return gx.jit(function).lower(*args).loops  # type: ignore[no-any-return]


def blocks(kernel: Kernel) -> int:
    """How many loops over blocks with a halo there are."""
    return str(kernel).count("for halo.")


def moved(y: Any) -> Any:
    """What is costly enough not to be computed again for each neighbour, moved to the neighbours and added up."""
    z = np.exp(-y * y) + y / (1 + y * y)
    zeros = gnp.zeros((2, *y.shape[1:]))
    return np.concatenate([z[1:], zeros[:1]]) - 2 * z + np.concatenate([zeros, z[:-2]])


def by_hand(y: np.ndarray) -> np.ndarray:
    z = np.exp(-y * y) + y / (1 + y * y)
    found = -2 * z
    found[:-1] += z[1:]
    found[2:] += z[:-2]
    return found


@pytest.mark.parametrize("shape", [(1000,), (4097,), (20_000,), (300, 40), (65, 5, 3)])
def test_the_loops_of_an_array_and_of_its_neighbours_are_one(shape: tuple[int, ...]) -> None:
    y = RANDOM.standard_normal(shape)
    kernel = kernel_of(moved, y)
    assert blocks(kernel) == 1
    assert len(kernel.nests) == 1 and not kernel.temporaries and kernel.arena_bytes == 0
    for found in (gx.jit(moved)(y), interpret(kernel, (y,))[0]):
        np.testing.assert_allclose(found, by_hand(y), rtol=1e-13, atol=1e-13)


def test_bits_are_those_of_two_loops_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    y = RANDOM.standard_normal((257, 33))
    found = []
    for threads in (1, 2):
        with gx.config.override(num_threads=threads):
            found.append(gx.jit(moved)(y))

    def again(y: Any) -> Any:
        return moved(y)

    assert blocks(kernel_of(moved, y)) == 1
    monkeypatch.setattr(halos, "LEAST_BYTES", 1 << 40)
    assert blocks(kernel_of(again, y)) == 0
    gx.cache.clear()
    found.append(gx.jit(again)(y))
    assert len({part.tobytes() for part in found}) == 1


def test_sums_over_neighbours() -> None:
    def energy(y: Any) -> Any:
        return np.sum(np.sin(moved(y)) ** 2)

    y = RANDOM.standard_normal(9000)
    np.testing.assert_allclose(gx.jit(energy)(y), np.sum(np.sin(by_hand(y)) ** 2), rtol=1e-12)


def test_gradient_of_a_step_in_two_dimensions() -> None:
    def step(x: Any) -> Any:
        return x.at[1:-1, 1:-1].add(0.2 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]))

    x = RANDOM.standard_normal((130, 70))
    gradient = gx.grad(lambda x: 0.5 * np.sum(step(x) ** 2))
    assert blocks(kernel_of(gradient, x)) == 1
    after = x.copy()
    after[1:-1, 1:-1] += 0.2 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1])
    wanted, share = after.copy(), 0.2 * after[1:-1, 1:-1]
    for rows, columns, weight in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, -4)):
        wanted[rows:rows + 128, columns:columns + 68] += weight * share
    np.testing.assert_allclose(gx.jit(gradient)(x), wanted, rtol=1e-12, atol=1e-13)


def test_what_is_wanted_elsewhere_lies_in_memory() -> None:
    """A result, and what a loop reads from its other end, are not computed block by block."""
    y = RANDOM.standard_normal(5000)

    def with_result(y: Any) -> Any:
        z = np.exp(-y * y) + y / (1 + y * y)
        return z, np.concatenate([z[1:], z[:1]])

    def turned(y: Any) -> Any:
        z = np.exp(-y * y) + y / (1 + y * y)
        return z[::-1] * np.append(z[1:], 0.0)

    for function in (with_result, turned):
        kernel = kernel_of(function, y)
        assert blocks(kernel) == 0
    z = np.exp(-y * y) + y / (1 + y * y)
    np.testing.assert_allclose(gx.jit(turned)(y), z[::-1] * np.append(z[1:], 0.0), rtol=1e-12)


def test_a_wide_halo_is_not_worth_it() -> None:
    def far(y: Any) -> Any:
        z = np.exp(-y * y) + y / (1 + y * y)
        return np.concatenate([z[150:], gnp.zeros((150, 400))]) + z

    y = RANDOM.standard_normal((300, 400))
    assert blocks(kernel_of(far, y)) == 0


def test_small_arrays_stay_in_two_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    y = RANDOM.standard_normal(20_000)
    assert blocks(kernel_of(moved, y)) == 0
    assert blocks(kernel_of(moved, RANDOM.standard_normal(100_000))) == 1
