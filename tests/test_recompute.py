"""What is computed anew instead of being stored, and the order of loops around reductions: read from the loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Accumulate, For, Kernel, Statement, Store, bodies

RANDOM = np.random.default_rng(41)
X = RANDOM.standard_normal((300, 90))
COTANGENT = RANDOM.standard_normal((300, 90))
GAIN, SHIFT = RANDOM.uniform(0.5, 1.5, 90), RANDOM.uniform(-1.0, 1.0, 90)


def statements(inside: Sequence[Statement]) -> Iterator[Statement]:
    for statement in inside:
        yield statement
        for body in bodies(statement):
            yield from statements(body)


def loops_of(function: Any, *args: Any) -> Kernel:
    return gx.jit(function).lower(*args).loops  # type: ignore[no-any-return]


def largest_temporary(kernel: Kernel) -> int:
    own = [buffer.size for buffer in kernel.temporaries]
    return max([*own, *(buffer.size for nest in kernel.nests for buffer in nest.locals)], default=0)


def innermost(kernel: Kernel) -> list[For]:
    loops = [s for nest in kernel.nests for s in statements(nest.body) if isinstance(s, For)]
    return [loop for loop in loops if not any(isinstance(s, For) for s in statements(loop.body))]


def column_normalised(x: Any, gain: Any, shift: Any) -> Any:
    centred = x - np.mean(x, axis=0)
    return centred / np.sqrt(np.mean(centred * centred, axis=0) + 1e-5) * gain + shift


def normalised_gradient(x: Any, gain: Any, cotangent: Any) -> tuple[Any, Any, Any]:
    """From its closed form."""
    centred = x - x.mean(axis=0)
    scale = 1 / np.sqrt(np.square(centred).mean(axis=0) + 1e-5)
    unit, pulled = centred * scale, cotangent * gain
    inner = (pulled * unit).mean(axis=0)
    return scale * (pulled - pulled.mean(axis=0) - unit * inner), (cotangent * unit).sum(axis=0), cotangent.sum(axis=0)


def pulled_back(x: Any, gain: Any, shift: Any, cotangent: Any) -> Any:
    return gx.vjp(column_normalised, x, gain, shift)[1](cotangent)


def test_normalised_columns_are_read_row_by_row_and_never_stored() -> None:
    kernel = loops_of(column_normalised, X, GAIN, SHIFT)
    assert largest_temporary(kernel) <= 64 * 90  # per column, and per chunk of rows
    for loop in innermost(kernel):
        assert loop.symbol.extent in (90, -1) or loop.symbol.extent <= 64, "a loop down the columns"
    wanted = column_normalised(X, GAIN, SHIFT)
    np.testing.assert_allclose(gx.jit(column_normalised)(X, GAIN, SHIFT), wanted, rtol=1e-13, atol=1e-14)


def test_a_sum_of_few_terms_into_many_results_goes_through_them_once() -> None:
    scales, points = np.array([0.5, 2.0]), RANDOM.standard_normal((2, 300))

    def kernel_matrix(scales: Any, points: Any) -> Any:
        scaled = points / np.exp(scales)[:, None]
        return np.exp(-0.5 * np.sum((scaled[:, :, None] - scaled[:, None, :]) ** 2, axis=0))

    assert largest_temporary(loops_of(kernel_matrix, scales, points)) <= 2 * 300  # the scaled points: no sums in memory
    wanted = kernel_matrix(scales, points)
    np.testing.assert_allclose(gx.jit(kernel_matrix)(scales, points), wanted, rtol=1e-13, atol=1e-300)


def test_gradient_of_normalised_columns() -> None:
    large = np.zeros((4096, 1024))
    kernel = loops_of(pulled_back, large, np.zeros(1024), np.zeros(1024), large)
    assert largest_temporary(kernel) <= 64 * 1024
    results = gx.jit(pulled_back)(X, GAIN, SHIFT, COTANGENT)
    for found, wanted in zip(results, normalised_gradient(X, GAIN, COTANGENT), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("chunks", [False, True])
def test_the_loops_interpreted_give_the_same(chunks: bool) -> None:
    with gx.config.override(parallel_threshold=1 if chunks else 10**9, cache_dir="off"):
        kernel = loops_of(pulled_back, X, GAIN, SHIFT, COTANGENT)
        native = gx.jit(pulled_back)(X, GAIN, SHIFT, COTANGENT)
    for found, wanted in zip(native, interpret(kernel, (X, GAIN, SHIFT, COTANGENT)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


def test_an_expensive_value_of_a_row_is_kept() -> None:
    """exp of a row that stays in the first cache is evaluated once, though two loops read it."""
    def softmax(x: Any) -> Any:
        powers = np.exp(x - np.max(x, axis=1, keepdims=True))
        return powers / np.sum(powers, axis=1, keepdims=True)

    assert str(loops_of(softmax, X)).count("exp(") == 1


def test_a_cheap_value_of_a_row_is_computed_anew() -> None:
    def variance(x: Any) -> Any:
        centred = x - np.mean(x, axis=1, keepdims=True)
        return centred * np.mean(centred * centred, axis=1, keepdims=True)

    kernel = loops_of(variance, X)
    assert len(kernel.nests) == 1
    assert largest_temporary(kernel) == 1
    centred = X - X.mean(axis=1, keepdims=True)
    wanted = centred * np.square(centred).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(gx.jit(variance)(X), wanted, rtol=1e-12, atol=1e-14)


def test_an_exponential_is_evaluated_again_where_it_would_leave_the_caches() -> None:
    def weighted(x: Any) -> Any:
        powers = np.exp(x - 1.0)
        return powers * np.sum(powers, axis=0)

    large = np.zeros((4096, 1024))
    assert largest_temporary(loops_of(weighted, large)) <= 64 * 1024
    assert str(loops_of(weighted, X)).count("exp(") == 1
    np.testing.assert_allclose(gx.jit(weighted)(X), weighted(X), rtol=1e-13)


def test_a_result_is_not_computed_twice() -> None:
    def both(x: Any) -> Any:
        doubled = x + x
        return doubled, doubled - np.sum(doubled, axis=0)

    kernel = loops_of(both, X)
    assert str(kernel).count("(in0[") <= 2
    for found, wanted in zip(gx.jit(both)(X), both(X), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)


def test_values_read_at_other_indices_are_computed_there() -> None:
    def differences(x: Any) -> Any:
        squares = x * x
        return squares[1:] - squares[:-1]

    values = np.arange(5000.0)
    kernel = loops_of(differences, values)
    assert largest_temporary(kernel) == 0
    np.testing.assert_array_equal(gx.jit(differences)(values), differences(values))


def test_a_value_that_many_would_compute_anew_is_stored() -> None:
    def table(x: Any, y: Any) -> Any:
        return np.sum((x * 2.0)[:, None] * y[None, :] + (x * 2.0)[None, :], axis=0)

    x, y = np.arange(200.0), np.arange(200.0) / 7
    np.testing.assert_allclose(gx.jit(table)(x, y), table(x, y), rtol=1e-13)


def test_what_an_update_overwrites_is_read_before() -> None:
    def updated(x: Any, i: Any) -> Any:
        base = np.sin(x)
        shifted = base * 2.0
        total = np.sum(shifted)
        return base.at[i].set(5.0) + total, shifted - total

    x, i = np.arange(100.0), np.array([3, 50, 3])
    base = np.sin(x)
    total = np.sum(base * 2.0)
    changed = base.copy()
    changed[i] = 5.0
    found = gx.jit(updated)(gx.numpy.asarray(x), i)
    np.testing.assert_allclose(found[0], changed + total, rtol=1e-13)
    np.testing.assert_allclose(found[1], base * 2.0 - total, rtol=1e-12, atol=1e-13)


def test_values_of_a_loops_body() -> None:
    def relaxed(x: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            centred = carry - np.mean(carry)
            return centred / (1.0 + np.sum(centred * centred)) + x, np.max(centred)

        return gx.lax.scan(step, x, None, length=5)

    x = RANDOM.standard_normal(64)
    carry, largest = x, []
    for _ in range(5):
        centred = carry - carry.mean()
        carry = centred / (1.0 + np.sum(centred * centred)) + x
        largest.append(centred.max())
    found = gx.jit(relaxed)(x)
    np.testing.assert_allclose(found[0], carry, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found[1], largest, rtol=1e-12, atol=1e-13)


OPERATIONS = [
    lambda a, b: a + b, lambda a, b: a * b - b, lambda a, b: a - np.mean(b, axis=0), lambda a, b: a / (1.5 + np.cos(b)),
    lambda a, b: np.exp(-a * a) + b, lambda a, b: a - np.sum(b, axis=1, keepdims=True) / 50, lambda a, b: a * np.max(b),
    lambda a, b: np.concatenate([a[1:], b[:1]]), lambda a, b: a[::-1] + b, lambda a, b: a + np.cumsum(b, axis=0) / 50,
    lambda a, b: np.where(a > b, a, 0.5 * b), lambda a, b: (a.T @ b)[:1] / 300 + a, lambda a, b: np.tanh(a) + b[:, ::-1],
]


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    """Chains of maps, reductions, slices and products, in one thread and in chunks, give what NumPy gives."""
    random = np.random.default_rng(seed)
    shape = [(60, 70), (300, 40), (40, 300), (5, 1000)][seed % 4]
    chosen = random.integers(0, len(OPERATIONS), 8)
    picks = random.integers(0, 100, (8, 2))

    def program(x: Any, y: Any) -> Any:
        values = [x, y]
        for operation, (first, second) in zip(chosen, picks, strict=True):
            values.append(OPERATIONS[operation](values[-1 - first % 2], values[second % len(values)]))
        return values[-1], np.sum(values[-2] * values[-1]), np.sum(values[-3], axis=0)

    x, y = random.uniform(-1, 1, (2, *shape))
    with gx.config.override(parallel_threshold=1000 if seed % 2 else 10**9, cache_dir="off"):
        results = gx.jit(program)(x, y)
    for found, wanted in zip(results, program(x, y), strict=True):
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * scale)


def test_every_store_of_a_kernel_is_read_or_a_result() -> None:
    kernel = loops_of(pulled_back, X, GAIN, SHIFT, COTANGENT)
    written = {s.buffer for nest in kernel.nests for s in statements(nest.body) if isinstance(s, (Store, Accumulate))}
    text = str(kernel)
    for buffer in written:
        assert text.count(f"{buffer.name}[") >= 2 or buffer.space == "output"
