"""Chunks within nests that run in order: the bits do not depend on the number of threads, and values are those of NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform.backend import runs, runs_in_chunks
from gradxform.config import config
from gradxform.loopir.interpreter import interpret


@pytest.fixture(autouse=True)
def forks_everywhere() -> Iterator[None]:
    """Let hardly any work be worth chunks."""
    with config.override(parallel_threshold=10, verify_ir=True):
        yield


def on_threads(function: Callable[..., Any], *operands: Any) -> list[list[np.ndarray]]:
    """The results with one thread, and three times with two."""
    compiled = gx.jit(function)
    found = []
    for threads in (1, 2, 2, 2):
        with config.override(num_threads=threads):
            found.append([np.asarray(leaf) for leaf in gx.tree.leaves(compiled(*operands))])
    return found


def same_bits(found: list[list[np.ndarray]]) -> bool:
    return all(a.tobytes() == b.tobytes() for other in found[1:] for a, b in zip(found[0], other, strict=True))


def steps(x: Any) -> Any:
    """Ten steps of a stencil with a sum over all cells, whose sums are recorded."""

    def step(carry: Any, _: Any) -> tuple[Any, Any]:
        near = gx.numpy.roll(carry, 1, 0) + gx.numpy.roll(carry, -1, 1)
        following = 0.4 * near + 0.1 * gx.numpy.tanh(carry)
        return following / (1 + gx.numpy.sum(following * following)), gx.numpy.sum(following, axis=0)

    return lax.scan(step, x, None, length=10)


def steps_in_numpy(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sums = []
    for _ in range(10):
        x = 0.4 * (np.roll(x, 1, 0) + np.roll(x, -1, 1)) + 0.1 * np.tanh(x)
        sums.append(np.sum(x, axis=0))
        x = x / (1 + np.sum(x * x))
    return x, np.array(sums)


def test_steps() -> None:
    x = np.random.default_rng(0).standard_normal((40, 24))
    found = on_threads(steps, x)
    assert same_bits(found)
    for ours, expected in zip(found[0], steps_in_numpy(x), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_loops_have_forks_and_interpreter_agrees() -> None:
    x = np.random.default_rng(1).standard_normal((12, 9))
    kernel = gx.jit(steps).lower(x).loops
    assert "        parallel for" in str(kernel)
    for ours, expected in zip(interpret(kernel, [x]), steps_in_numpy(x), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_gradient_of_steps() -> None:
    x = np.random.default_rng(2).standard_normal((16, 10))

    def energy(x: Any) -> Any:
        last, sums = steps(x)
        return gx.numpy.sum(last * last) + gx.numpy.sum(sums)

    found = on_threads(gx.grad(energy), x)
    assert same_bits(found)
    direction = np.random.default_rng(3).standard_normal(x.shape)
    near = [np.sum(last * last) + np.sum(sums) for last, sums in (steps_in_numpy(x + h * direction) for h in (-1e-6, 1e-6))]
    np.testing.assert_allclose(np.sum(found[0][0] * direction), (near[1] - near[0]) / 2e-6, rtol=1e-6)


def test_branches() -> None:
    def f(x: Any) -> Any:
        return lax.cond(x[0, 0] > 0, lambda x: gx.numpy.sum(gx.numpy.exp(x), axis=1), lambda x: gx.numpy.sum(x, axis=1), x)

    x = np.random.default_rng(4).standard_normal((30, 20))
    for x[0, 0] in (-1.0, 1.0):
        found = on_threads(f, x)
        assert same_bits(found)
        np.testing.assert_allclose(found[0][0], np.sum(np.exp(x) if x[0, 0] > 0 else x, axis=1), rtol=1e-12)


def test_failing_index_within_steps() -> None:
    def f(x: Any, i: Any) -> Any:
        return lax.fori_loop(0, 3, lambda _, y: gx.numpy.sin(y[i]), x)

    with pytest.raises(IndexError):
        gx.jit(f)(np.ones((20, 8)), np.array([*range(19), 20]))


# ------------------------------------------------------------------------------------------------ sorted updates


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "LEAST_ITERATIONS", 70)
    monkeypatch.setattr(runs_in_chunks, "LEAST_UPDATES", 40)
    gx.cache.clear()


def segments(kind: str, count: int, extent: int) -> np.ndarray:
    random = np.random.default_rng(5)
    found = np.repeat(np.arange(extent), count // extent)
    if kind.startswith("uneven"):
        found = np.sort(random.integers(0, extent, count))
        if kind == "uneven, few out of order":
            found[[17, 201, 202, count - 1]] = [extent - 1, -1, extent // 2, 0]
        elif kind == "uneven, negative":
            found -= extent
    elif kind == "long":
        found = np.sort(np.minimum(random.zipf(1.3, count), extent) - 1)
    elif kind == "few out of order":
        found[[17, 201, 202, count - 1]] = [extent - 1, 0, extent // 2, 0]
    elif kind == "negative":
        found -= extent
    elif kind == "one":
        found[:] = 3
    elif kind == "random":
        found = random.integers(0, extent, count)
    return found


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("kind", [
    "sorted", "long", "few out of order", "negative", "one", "random", "uneven", "uneven, few out of order", "uneven, negative",
])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_updates_at_sorted_indices(kind: str, dtype: type) -> None:
    indices = segments(kind, 700, 50)
    values = (100 * np.random.default_rng(6).standard_normal(700)).astype(dtype)
    start = np.arange(50).astype(dtype)

    def f(start: Any, indices: Any, values: Any) -> Any:
        return start.at[indices].add(values), start.at[indices].max(values), values * 2

    found = on_threads(f, start, indices, values)
    assert same_bits(found)
    added, largest = start.copy(), start.copy()
    np.add.at(added, indices, values)
    np.maximum.at(largest, indices, values)
    np.testing.assert_allclose(found[0][0], added, rtol=1e-12)
    np.testing.assert_array_equal(found[0][1], largest)
    np.testing.assert_array_equal(found[0][2], values * 2)
    if kind in ("sorted", "one"):
        assert found[0][0].tobytes() == added.tobytes()


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("kind", ["few out of order", "uneven, few out of order"])
def test_sorted_updates_in_chunks_and_interpreted(kind: str) -> None:
    indices, values = segments(kind, 300, 20), np.random.default_rng(7).standard_normal(300)
    kernel = gx.jit(lambda x, i, v: x.at[i].add(v)).lower(np.zeros(20), indices, values).loops
    assert "late" in str(kernel)
    expected = np.zeros(20)
    np.add.at(expected, indices, values)
    np.testing.assert_allclose(interpret(kernel, [np.zeros(20), indices, values])[0], expected, rtol=1e-12)


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("wrong", [50, -51, 2**62, -(2**63)])
@pytest.mark.parametrize("place", [0, 350, 699])
@pytest.mark.parametrize("kind", ["sorted", "uneven"])
def test_failing_index_among_sorted_ones(wrong: int, place: int, kind: str) -> None:
    indices = segments(kind, 700, 50)
    indices[place] = wrong
    with pytest.raises(IndexError):
        gx.jit(lambda x, i, v: x.at[i].add(v))(np.zeros(50), indices, np.ones(700))
