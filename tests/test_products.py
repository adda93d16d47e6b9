"""Matrix products by the compiled driver: against NumPy, in every layout, extent and number of threads."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import gemm
from gradxform.backend.compile import Tier, host
from gradxform.backend.gemm_text import Geometry
from gradxform.backend.library import Library
from gradxform.config import config

Array = np.ndarray[Any, Any]
LAYOUTS = ("NN", "NT", "TN", "TT")
ALIGNMENT = 64


def aligned(size: int, dtype: Any) -> tuple[Array, int]:
    """Memory, poisoned, and the address in it that begins a cache line."""
    memory = np.full(size + ALIGNMENT // np.dtype(dtype).itemsize, np.nan, dtype)
    return memory, -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT


def multiply(left: Array, right: Array, result: Array) -> None:
    """``result[...] = left @ right`` for matrices, or stacks of them, by the driver."""
    item = left.itemsize

    def strides(array: Array) -> tuple[int, ...]:
        found = [stride // item for stride in array.strides]
        return (0, *found) if array.ndim == 2 else tuple(found)

    (lb, li, lk), (rb, rk, rj), (ob, oi, _) = map(strides, (left, right, result))
    batch = left.shape[0] if left.ndim == 3 else 1
    plan = gemm.plan(
        left.shape[-2], left.shape[-1], right.shape[-1], batch, gemm.Strides(li, lk, lb), gemm.Strides(rj, rk, rb),
        gemm.Strides(oi, 1, ob), left.dtype)
    kernels = [gemm.address(name.removeprefix("gx.gemm.")) for name in plan.functions]
    record = (ctypes.c_int64 * (len(plan.numbers) + len(kernels)))(*plan.numbers, *kernels)
    memory, workspace = aligned(plan.workspace, left.dtype)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(gemm.address(left.dtype.name))
    function(ctypes.addressof(record), left.ctypes.data, right.ctypes.data, result.ctypes.data, workspace)
    assert memory.size >= plan.workspace


def operand(generator: Any, rows: int, columns: int, turned: bool, dtype: Any, whole: bool = True) -> Array:
    """A matrix within a larger one, so that lines do not follow each other, with neighbours that would spoil sums."""
    shape = (columns, rows) if turned else (rows, columns)
    values = generator.integers(-8, 9, shape) if whole else generator.standard_normal(shape)
    frame = np.full((shape[0] + 2, shape[1] + 3), np.nan, dtype)
    inner = frame[1:-1, 1:-2]
    inner[...] = values
    return inner.T if turned else inner


def check(rows: int, inner: int, columns: int, layout: str, dtype: Any) -> None:
    generator = np.random.default_rng([rows, inner, columns])
    left = operand(generator, rows, inner, layout[0] == "T", dtype)
    right = operand(generator, inner, columns, layout[1] == "T", dtype)
    frame = np.full((rows + 2, columns + 5), 7, dtype)
    result = frame[1:-1, 2:-3]
    result[...] = np.nan
    multiply(left, right, result)
    # Whole numbers of this size are exact in both dtypes, in any order.
    np.testing.assert_array_equal(result, left @ right, str((rows, inner, columns, layout)))
    result[...] = 7
    assert np.all(frame == 7), "it wrote beyond the result"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_edge(layout: str, dtype: Any) -> None:
    for rows, columns in itertools.product((1, 2, 3, 7, 8, 9, 13, 16, 17, 24, 25), (1, 2, 7, 8, 9, 16, 17, 23, 25, 47, 49, 70)):
        check(rows, 1 + (rows * 5 + columns) % 19, columns, layout, dtype)
    for extent in range(1, 71):
        check(extent, 9, 20, layout, dtype)
        check(20, extent, 9, layout, dtype)
        check(9, 20, extent, layout, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_slices_and_blocks(layout: str, dtype: Any) -> None:
    for rows, inner, columns in ((60, 1031, 77), (2100, 300, 40), (33, 530, 2200), (5, 2000, 5), (4200, 9, 4)):
        check(rows, inner, columns, layout, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("extents", [(3, 5, 6, 7), (40, 33, 20, 18), (9, 130, 140, 150), (300, 64, 64, 64)])
def test_stacks(extents: tuple[int, int, int, int], dtype: Any) -> None:
    batch, rows, inner, columns = extents
    generator = np.random.default_rng(5)
    left = generator.integers(-8, 9, (batch, inner, rows)).astype(dtype).transpose(0, 2, 1)
    right = generator.integers(-8, 9, (inner, batch, columns)).astype(dtype).transpose(1, 0, 2)
    result = np.full((batch, rows, columns), np.nan, dtype)
    multiply(left, right, result)
    np.testing.assert_array_equal(result, left @ right)


def test_a_repeated_matrix_in_a_stack() -> None:
    generator = np.random.default_rng(6)
    left, right = generator.integers(-8, 9, (4, 12, 13)).astype(float), generator.integers(-8, 9, (13, 14)).astype(float)
    result = np.empty((4, 12, 14))
    multiply(left, np.broadcast_to(right, (4, 13, 14)), result)
    np.testing.assert_array_equal(result, left @ right)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-4)])
def test_random_numbers(dtype: Any, tolerance: float) -> None:
    generator = np.random.default_rng(7)
    for layout, (rows, inner, columns) in itertools.product(LAYOUTS, ((40, 784, 30), (31, 65, 130), (300, 17, 10))):
        left = operand(generator, rows, inner, layout[0] == "T", dtype, whole=False)
        right = operand(generator, inner, columns, layout[1] == "T", dtype, whole=False)
        result = np.empty((rows, columns), dtype)
        multiply(left, right, result)
        exact = left.astype(np.longdouble) @ right.astype(np.longdouble)
        bound = np.abs(left).astype(np.longdouble) @ np.abs(right).astype(np.longdouble)
        assert np.all(np.abs(result - exact) <= tolerance * bound)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_depend_on_the_operands_only(dtype: Any) -> None:
    generator = np.random.default_rng(8)
    for layout, (rows, inner, columns) in itertools.product(LAYOUTS, ((150, 700, 260), (500, 300, 20), (40, 600, 900))):
        left = operand(generator, rows, inner, layout[0] == "T", dtype, whole=False)
        right = operand(generator, inner, columns, layout[1] == "T", dtype, whole=False)
        alone = np.empty((rows, columns), dtype)
        with config.override(num_threads=1):
            multiply(left, right, alone)
        for threads in (1, 2, 3):
            with config.override(num_threads=threads):
                again = np.empty((rows, columns), dtype)
                multiply(left, right, again)
            assert again.tobytes() == alone.tobytes()
        # A part of the result is a product of parts, bit for bit.
        part = np.empty((21, 13), dtype)
        multiply(left[3:24], right[:, 5:18], part)
        np.testing.assert_array_equal(part, alone[3:24, 5:18])


@pytest.mark.parametrize("tile", [(32, 4, 3), (16, 8, 3), (16, 4, 3)])
def test_tiles_of_other_machines(tile: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    size, rows, vectors = tile

    def geometry(dtype_name: str) -> Geometry:
        element, item = ("double", 8) if dtype_name == "float64" else ("float", 4)
        return Geometry(element, size // item, rows, vectors)

    generator = np.random.default_rng(11)
    a, b = generator.standard_normal((30, 600)), generator.standard_normal((600, 40))
    here, there = np.empty((30, 40)), np.empty((30, 40))
    multiply(a, b, here)
    monkeypatch.setattr(gemm, "geometry", geometry)
    monkeypatch.setattr(gemm, "_drivers", Library("gemm", Tier.PLAIN, gemm._text, variant=str(tile)))
    monkeypatch.setattr(gemm, "_kernels", Library("gemm", Tier.WRITTEN, gemm._text, variant=str(tile)))
    for dtype, layout in itertools.product((np.float64, np.float32), LAYOUTS):
        for extents in ((3, 4, 5), (17, 19, 23), (50, 700, 60), (60, 30, 3), (4, 8, 96)):
            check(*extents, layout, dtype)
    multiply(a, b, there)
    if "fma" in host().features:
        assert here.tobytes() == there.tobytes()


def test_nan_and_infinity_stay_where_they_belong() -> None:
    left, right = np.ones((20, 33)), np.ones((33, 27))
    left[4, 32], right[32, 26], right[0, 3] = np.nan, np.inf, -np.inf
    result = np.empty((20, 27))
    multiply(left, right, result)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(result, left @ right)


# --------------------------------------------------------------------------------------------------------- in programs


def test_programs_with_products_do_not_depend_on_threads() -> None:
    generator = np.random.default_rng(9)
    layers = [generator.standard_normal(shape) / 10 for shape in ((90, 130), (130, 120), (120, 7))]
    pictures = generator.standard_normal((200, 90))

    def loss(layers: Any, x: Any) -> Any:
        for weight in layers:
            x = gx.numpy.tanh(x @ weight)
        return (x * x).sum()

    step = gx.jit(gx.value_and_grad(loss))
    results = []
    for threads in (1, 2):
        with config.override(num_threads=threads):
            value, gradient = step(layers, pictures)
        results.append((np.asarray(value).tobytes(), [part.tobytes() for part in gradient]))
    assert results[0] == results[1]
    x = pictures
    for weight in layers:
        x = np.tanh(x @ weight)
    np.testing.assert_allclose(np.frombuffer(results[0][0]), (x * x).sum(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_within_scan(dtype: Any) -> None:
    generator = np.random.default_rng(10)
    weights = (generator.standard_normal((48, 48)) / 7).astype(dtype)
    inputs = generator.standard_normal((12, 32, 48)).astype(dtype)

    def run(weights: Any, inputs: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            state = gx.numpy.tanh(state @ weights + x) + x @ weights.T
            return state, state.sum()

        return gx.lax.scan(step, gx.numpy.zeros((32, 48), dtype), inputs)

    state, sums = gx.jit(run)(weights, inputs)
    expected = np.zeros((32, 48), dtype)
    for x, found in zip(inputs, sums, strict=True):
        expected = np.tanh(expected @ weights + x) + x @ weights.T
        np.testing.assert_allclose(found, expected.sum(), rtol=1e-3 if dtype == np.float32 else 1e-11)
    np.testing.assert_allclose(state, expected, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-5)


def test_what_a_loop_reads_transposed_is_transposed_in_front_of_it() -> None:
    generator = np.random.default_rng(11)
    weights, start = generator.standard_normal((24, 24)) / 5, generator.standard_normal((32, 24))

    def run(weights: Any, start: Any) -> Any:
        return gx.lax.scan(lambda state, _: (state @ weights.T, None), start, None, length=3)[0]

    loops = str(gx.jit(run).lower(weights, start).loops)
    # Its columns follow each other, and the product is stored where the loop carries it.
    (product,) = [line for line in loops.splitlines() if "gemm" in line]
    assert product.count("strides 24, 1)") == 3
    np.testing.assert_allclose(gx.jit(run)(weights, start), start @ weights.T @ weights.T @ weights.T, rtol=1e-12)


@pytest.mark.parametrize("updated", [False, True])
def test_products_are_carried_where_nothing_reads_what_they_replace(updated: bool) -> None:
    generator = np.random.default_rng(12)
    weights, start = generator.standard_normal((24, 24)) / 5, generator.standard_normal((2, 32, 24))

    def step(carry: Any) -> Any:
        # The second product reads what the first one replaces; an update may take over the memory of a product.
        state, other = carry
        following = np.tanh(other) @ weights
        if updated:
            following = gx.numpy.asarray(following).at[3, 2].add(1.0)
        return following, state @ weights.T

    found = gx.jit(lambda carry: gx.lax.fori_loop(0, 5, lambda _, carry: step(carry), carry))((start[0], start[1]))
    state, other = start
    for _ in range(5):
        following = np.tanh(other) @ weights
        if updated:
            following[3, 2] += 1.0
        state, other = following, state @ weights.T
    np.testing.assert_allclose(found[0], state, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found[1], other, rtol=1e-11, atol=1e-13)


def test_empty_products() -> None:
    for rows, inner, columns in ((0, 20, 20), (20, 0, 20), (20, 20, 0)):
        found = gx.jit(lambda a, b: a @ b)(np.ones((rows, inner)), np.ones((inner, columns)))
        np.testing.assert_array_equal(found, np.zeros((rows, columns)))
