"""Compiled complex programs against NumPy: infinities, NaN, signed zeros, branch cuts, moved elements, control flow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax, primitives
from gradxform.core import run
from gradxform.dtypes import complex64, complex128
from gradxform.errors import CompileError, GradxformError
from gradxform.ir import ArrayType, Equation, Program, Var
from gradxform.loopir.interpreter import interpret
from gradxform.passes.complex_pairs import COMPLEX_OPERATIONS, split_complex
from gradxform.passes.inline import CALLED
from gradxform.primitives import ROSTER

INF, NAN = np.inf, np.nan


def grid(*values: float) -> np.ndarray:
    """All complex numbers whose parts are these numbers, or these with the other sign, or NaN."""
    line = np.array([*values, *[-x for x in values], NAN])
    result = np.empty((line.size, line.size), complex)
    result.real, result.imag = line[:, None], line
    return result.ravel()


def numbers(*shape: int, dtype: Any = complex128, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=shape) + 1j * generator.normal(size=shape)).astype(dtype)


def parts(x: Any) -> tuple[np.ndarray, ...]:
    return (x.real, x.imag) if np.iscomplexobj(x) else (x,)


def assert_same(found: Any, expected: Any, arguments: tuple[Any, ...], tolerance: float, scale: Any = None) -> None:
    """Part by part, infinities and NaN included; zeros with their signs.

    Where an argument is not finite C99 leaves the signs of zeros, and of some infinities, open. ``scale`` is what errors are
    measured by if that is not the part itself.
    """
    assert found.dtype == expected.dtype and found.shape == expected.shape
    finite = np.logical_and.reduce([np.isfinite(x) for x in arguments])
    tiny = 8 * np.finfo(expected.real.dtype).tiny
    for mine, theirs in zip(parts(found), parts(expected), strict=True):
        with np.errstate(all="ignore"):
            size = np.abs(theirs) if scale is None else scale
            near = np.isfinite(mine) & np.isfinite(theirs) & (np.abs(mine - theirs) <= tolerance * size + tiny)
        equal = (mine == theirs) & ((np.signbit(mine) == np.signbit(theirs)) | (theirs != 0) | ~finite)
        open_sign = ~finite & np.isinf(mine) & np.isinf(theirs)
        # A sum that cancels exactly, or not, is another matter than a zero of the wrong sign.
        good = equal | open_sign | (np.isnan(mine) & np.isnan(theirs)) | (
            near & ((theirs != 0) if scale is None else (theirs != 0) | (mine != 0)))
        wrong = np.flatnonzero(~good)[:5]
        assert not wrong.size, [(*[x[i] for x in arguments], expected[i], found[i]) for i in wrong]


# --------------------------------------------------------------------------------------------------------- special values

SPECIAL = grid(0.0, 0.5, 1.0, 2.0, 3.0, 1e-10, 1e-160, 1e160, 1e300, 710.0, INF)
UNARY = ("exp", "exp2", "log", "log2", "log10", "sqrt", "square", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin",
         "arccos", "arctan", "arcsinh", "arccosh", "arctanh")


@pytest.mark.parametrize("name", UNARY)
def test_special_values(name: str) -> None:
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(SPECIAL)
    assert_same(gx.jit(getattr(primitives, name))(SPECIAL), expected, (SPECIAL,), 2e-15 if name != "exp2" else 1e-13)


@pytest.mark.parametrize("name", ("exp", "log", "sqrt", "tan", "arcsin", "arctanh"))
def test_special_values_in_single_precision(name: str) -> None:
    values = grid(0.0, 0.5, 1.0, 2.0, 1e-10, 1e10, 88.0, INF).astype(complex64)
    with np.errstate(all="ignore"):
        # From double precision, rounded: NumPy's own is less accurate.
        expected = getattr(np, name)(values.astype(complex128)).astype(complex64)
    assert_same(gx.jit(getattr(primitives, name))(values), expected, (values,), 1e-7)


def test_expm1_keeps_zeros_where_numpy_loses_them() -> None:
    found = gx.jit(primitives.expm1)(SPECIAL)
    with np.errstate(all="ignore"):
        expected = np.expm1(SPECIAL)
        whole, real = np.exp(SPECIAL), np.expm1(SPECIAL.real)
    # NumPy multiplies an infinite exp(x) by sin(0); C99 has exp give 0 there.
    expected.imag = whole.imag
    flat = SPECIAL.imag == 0
    expected.real = np.where(flat, real, np.where(abs(SPECIAL.real) > 30, whole.real - 1, expected.real))
    assert_same(found, expected, (SPECIAL,), 2e-15)


def test_log1p() -> None:
    found = gx.jit(primitives.log1p)(SPECIAL)
    with np.errstate(all="ignore"):
        expected = np.log1p(SPECIAL)
    near = abs(SPECIAL) < 1e-8
    rest = ~near & ~(abs(SPECIAL + 2) < 1e-8)
    assert_same(found[rest], expected[rest], (SPECIAL[rest],), 4e-15)
    # NumPy takes the logarithm of the rounded |1 + z|; of so small numbers it is z - z*z/2.
    small = SPECIAL[near]
    series = (small.real - small.real ** 2 / 2 + small.imag ** 2 / 2) + 1j * small.imag * (1 - small.real)
    np.testing.assert_allclose(found[near].real, series.real, rtol=1e-15)
    np.testing.assert_allclose(found[near].imag, series.imag, rtol=1e-15)


MODERATE = grid(0.0, 0.5, 1.0, 3.0, 1e40, 1e-40, INF)
LEFT, RIGHT = np.repeat(MODERATE, MODERATE.size), np.tile(MODERATE, MODERATE.size)


@pytest.mark.parametrize("name", ("add", "mul", "div", "maximum", "minimum"))
def test_arithmetic(name: str) -> None:
    reference = {"add": np.add, "mul": np.multiply, "div": np.divide}.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        expected = reference(LEFT, RIGHT)
        size = np.maximum(abs(expected.real), abs(expected.imag))
    assert_same(gx.jit(getattr(primitives, name))(LEFT, RIGHT), expected, (LEFT, RIGHT), 1e-15, size)


@pytest.mark.parametrize("name", ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"))
def test_comparison(name: str) -> None:
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(LEFT, RIGHT)
    np.testing.assert_array_equal(gx.jit(getattr(primitives, name))(LEFT, RIGHT), expected)


def test_unary_arithmetic() -> None:
    names = ("neg", "conj", "real", "imag", "abs", "isnan", "isinf", "isfinite", "reciprocal", "sign")
    references = (np.negative, np.conjugate, np.real, np.imag, np.abs, np.isnan, np.isinf, np.isfinite, np.reciprocal, np.sign)
    found = gx.jit(lambda z: [getattr(primitives, name)(z) for name in names])(MODERATE)
    for mine, reference in zip(found, references, strict=True):
        with np.errstate(all="ignore"):
            expected = reference(MODERATE)
        if expected.dtype == bool:
            np.testing.assert_array_equal(mine, expected)
        else:
            assert_same(mine, expected, (MODERATE,), 1e-15)


@pytest.mark.parametrize("dtype, tolerance", ((complex128, 1e-15), (complex64, 3e-7)))
def test_quotients_by_real_numbers(dtype: Any, tolerance: float) -> None:
    values = grid(0.0, 0.5, 1.0, 3.0, 1e10, 1e-10, INF).astype(dtype)
    z, divisor = np.repeat(values, 15), np.tile(values[::15].real, values.size)
    with np.errstate(all="ignore"):
        expected = z / divisor
    found = gx.jit(lambda z, x: primitives.div(z, primitives.convert(x, z.dtype)))(z, divisor)
    assert_same(found, expected, (z, divisor), tolerance)


def test_quotients_do_not_overflow_or_underflow_on_the_way() -> None:
    # The exact quotients, by scaling with powers of two: those of Baudin and Smith, table 1, and the ends of the range.
    cases = [(2.0**1023 * (1 + 1j), 1 + 1j, 2.0**1023), (1 + 1j, 1 + 2.0**1023 * 1j, complex(2.0**-1023, -(2.0**-1023))),
             (2.0**1023 * (1 + 2.0**-1046 * 1j), 2.0**677 * (1 + 2.0**-1046 * 1j), 2.0**346),
             (2.0**-1074 * (1 + 1j), 2.0**-1074 * (1 + 1j), 1), (2.0**-1022 * (1 + 2j), 2.0**-1022 * (3 + 4j), 0.44 + 0.08j),
             (1.7e308 * (1 + 1j), 1.7e308 * (1 + 1j), 1), (2.0**1000 * (3 + 4j), 2.0**-20 * (1 + 1j), 2.0**1020 * (3.5 + 0.5j))]
    z, w, expected = (np.array(column, complex) for column in zip(*cases, strict=True))
    np.testing.assert_allclose(gx.jit(primitives.div)(z, w), expected, rtol=1e-15)


def test_powers() -> None:
    z = np.array([2 + 1j, -1 + 0.5j, 0.25 - 3j, -2 - 0.0j, 0, 1j])
    w = np.array([0.5 + 1j, -2.5 + 0.25j, 3, 0.5, 2, -1 - 2j])
    np.testing.assert_allclose(gx.jit(primitives.pow)(z, w), z ** w, rtol=1e-14)
    with np.errstate(all="ignore"):
        for exponent in (0, 1, 2, 3, 5, -1, -3, 20, 150):
            np.testing.assert_allclose(
                gx.jit(primitives.pow)(z, np.complex128(exponent)), z ** np.complex128(exponent), rtol=1e-13)
            found = gx.jit(lambda z, n=exponent: primitives.integer_pow(z, n))(z[z != 0])
            np.testing.assert_allclose(found, z[z != 0] ** exponent, rtol=1e-13)
    nothing = np.zeros(3, complex)
    found = gx.jit(primitives.pow)(nothing, np.array([0, 1 + 1j, -1]))
    np.testing.assert_array_equal(found[:2], [1, 0])
    assert math.isnan(found[2].real)


def test_conversions() -> None:
    def convert(z: Any, x: Any) -> Any:
        return [primitives.convert(z, np.dtype(name)) for name in ("bool", "float32", "int64", "complex64")] + [
            primitives.convert(x, np.dtype(name)) for name in ("complex64", "complex128")]

    z, x = np.array([0, 1 + 2j, -3j, 2.75]), np.array([1, -2, 3])
    expected = [z.astype(bool), z.real.astype(np.float32), z.real.astype(np.int64), z.astype(complex64),
                x.astype(complex64), x.astype(complex128)]
    for mine, theirs in zip(gx.jit(convert)(z, x), expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


# --------------------------------------------------------------------------------------------------------- elements moved

Z, W = numbers(4, 5), numbers(4, 5, seed=1)
ROWS = np.array([2, 0, 2])
WITH_NAN = Z.copy()
WITH_NAN[1, 2], WITH_NAN[1, 3] = complex(NAN, 1), complex(2, NAN)

MOVES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]] = {
    "broadcast": (lambda z: primitives.broadcast(z, (3, 4, 5), (1, 2)), (Z,), np.broadcast_to(Z, (3, 4, 5))),
    "reshape": (lambda z: primitives.reshape(z, (2, 10)), (Z,), Z.reshape(2, 10)),
    "transpose": (lambda z: primitives.transpose(z, (1, 0)), (Z,), Z.T),
    "slice": (lambda z: primitives.slice_array(z, (1, 0), (4, 5), (2, 2)), (Z,), Z[1:4:2, ::2]),
    "concatenate": (lambda z, w: primitives.concatenate([z, w], 1), (Z, W), np.concatenate([Z, W], 1)),
    "pad": (lambda z: primitives.pad(z, np.complex128(1 + 2j), (1, 0), (0, 2), (0, 0)), (Z,),
            np.pad(Z, ((1, 0), (0, 2)), constant_values=1 + 2j)),
    "select": (lambda z, w: primitives.select(primitives.greater(primitives.real(z), 0.0), z, w), (Z, W),
               np.where(Z.real > 0, Z, W)),
    "complex": (lambda x: primitives.complex(x, np.float64(2)), (Z.real,), Z.real + 2j),
    "reduce_sum": (lambda z: primitives.reduce_sum(z, (0,)), (Z,), Z.sum(0)),
    "reduce_prod": (lambda z: primitives.reduce_prod(z, (0, 1)), (Z,), Z.prod()),
    "reduce_prod of nothing": (lambda z: primitives.reduce_prod(z, (0,)), (Z[:0],), np.ones(5, complex)),
    "reduce_max": (lambda z: primitives.reduce_max(z, (1,)), (np.round(Z),), np.round(Z).max(1)),
    "reduce_max of NaN": (lambda z: primitives.reduce_max(z, (1,)), (WITH_NAN,), WITH_NAN.max(1)),
    "reduce_min of NaN": (lambda z: primitives.reduce_min(z, (0, 1)), (WITH_NAN,), WITH_NAN.min()),
    "argmax": (lambda z: primitives.argmax(z, 1), (np.round(Z),), np.round(Z).argmax(1)),
    "cumsum": (lambda z: primitives.cumsum(z, 1), (Z,), Z.cumsum(1)),
    "cumprod": (lambda z: primitives.cumprod(z, 1), (Z,), Z.cumprod(1)),
    "cumprod backwards": (lambda z: primitives.cumprod(z, 0, True), (Z,), Z[::-1].cumprod(0)[::-1]),
    "cummax": (lambda z: primitives.cummax(z, 1), (WITH_NAN,), np.maximum.accumulate(WITH_NAN, 1)),
    "cummin backwards": (lambda z: primitives.cummin(z, 1, True), (Z,), np.minimum.accumulate(Z[:, ::-1], 1)[:, ::-1]),
    "gather": (lambda z, i: primitives.gather(z, i, axes=(0,)), (Z, ROWS), Z[ROWS]),
    "basis": (lambda z: primitives.mul(primitives.unit_vectors(4, complex128), z), (Z[:, :4],), np.diag(np.diag(Z))),
}


@pytest.mark.parametrize("name", MOVES)
def test_elements_moved(name: str) -> None:
    function, arguments, expected = MOVES[name]
    found = gx.jit(function)(*arguments)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("operation", ("set", "add", "mul", "max"))
def test_scatter(operation: str) -> None:
    updates = numbers(3, 5, seed=2)
    expected = Z.copy()
    for row, update in zip(ROWS, updates, strict=True):
        old = expected[row]
        expected[row] = {"set": update, "add": old + update, "mul": old * update, "max": np.maximum(old, update)}[operation]
    found = gx.jit(lambda z, u, i: primitives.scatter(z, u, i, axes=(0,), operation=operation))(Z, updates, ROWS)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_scatter_of_batches_in_order() -> None:
    updates, index = numbers(4, 6, seed=3), np.random.default_rng(4).integers(0, 5, (4, 6))
    expected = Z.copy()
    for row in range(4):
        np.multiply.at(expected[row], index[row], updates[row])
    found = gx.jit(lambda z, u, i: primitives.scatter(z, u, i, axes=(1,), batch_rank=1, operation="mul"))(Z, updates, index)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("extents", ((3, 4, 5), (40, 50, 30), (1, 50, 300), (17, 33, 70)))
def test_matrix_products(extents: tuple[int, int, int]) -> None:
    rows, inner, columns = extents
    a, b = numbers(rows, inner), numbers(inner, columns, seed=1)

    def products(a: Any, b: Any) -> Any:
        other = primitives.transpose(b, (1, 0))
        return [primitives.dot_general(a, b, ((1,), (0,)), ((), ())), primitives.dot_general(other, a, ((1,), (1,)), ((), ())),
                primitives.dot_general(primitives.conj(a), primitives.mul(b, b), ((1,), (0,)), ((), ()))]

    for mine, theirs in zip(gx.jit(products)(a, b), (a @ b, (a @ b).T, a.conj() @ (b * b)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_products_of_batches_over_two_axes() -> None:
    a, b = numbers(10, 3, 20, 11), numbers(11, 10, 3, 30, seed=1)
    found = gx.jit(lambda a, b: primitives.dot_general(a, b, ((0, 3), (1, 0)), ((1,), (2,))))(a, b)
    np.testing.assert_allclose(found, np.einsum("kbil,lkbj->bij", a, b), rtol=1e-12, atol=1e-12)


def test_a_large_product_reads_and_writes_interleaved_numbers_in_place() -> None:
    a, b = numbers(64, 64), numbers(64, 64, seed=1)
    loops = str(gx.jit(lambda a, b: primitives.dot_general(a, b, ((1,), (0,)), ((), ()))).lower(a, b).loops)
    assert "gemm out0" in loops and "= in0(" in loops
    assert loops.count("arena t") == 1  # the blocks of the right operand


def test_elementwise_work_is_one_loop_that_stores_both_parts() -> None:
    z = numbers(1000)
    loops = str(gx.jit(lambda z, w: primitives.exp(primitives.mul(z, w))).lower(z, z).loops)
    assert loops.count("for ") == 1 and "arena" not in loops
    assert "out0[i" in loops and ", 0] =" in loops and ", 1] =" in loops


# ---------------------------------------------------------------------------------------------------------- control flow


def test_scan() -> None:
    def horner(z: Any, x: Any) -> Any:
        return lax.scan(lambda s, c: (s * x + c, (s, abs(s))), 1j + 0 * x, z)

    total, (partial, sizes) = gx.jit(horner)(Z[:, 0], 0.5 + 0.25j)
    s, expected = 1j, []
    for c in Z[:, 0]:
        expected.append(s)
        s = s * (0.5 + 0.25j) + c
    np.testing.assert_allclose(total, s, rtol=1e-14)
    np.testing.assert_allclose(partial, expected, rtol=1e-14)
    np.testing.assert_allclose(sizes, np.abs(expected), rtol=1e-14)


def mandelbrot(c: Any) -> Any:
    def step(state: Any) -> Any:
        n, z = state
        return n + 1, z * z + c

    return lax.while_loop(lambda state: (abs(state[1]) <= 2) & (state[0] < 50), step, (0, 0 * c))[0]


def test_mandelbrot() -> None:
    points = np.linspace(-2, 0.5, 12) + 1j * np.linspace(-1, 1, 9)[:, None]

    def count(c: complex) -> int:
        n, z = 0, 0j
        while abs(z) <= 2 and n < 50:
            n, z = n + 1, z * z + c
        return n

    expected = np.vectorize(count)(points)
    np.testing.assert_array_equal(gx.jit(gx.vmap(gx.vmap(mandelbrot)))(points), expected)
    assert gx.jit(mandelbrot)(points[3, 4]) == expected[3, 4]


def test_cond_and_its_lanes() -> None:
    def choose(x: Any, z: Any) -> Any:
        return lax.cond(x > 0, lambda z: z * 2j, lambda z: primitives.conj(z) + z, z)

    assert gx.jit(choose)(1.0, 1 + 2j) == -4 + 2j
    assert gx.jit(choose)(-1.0, 1 + 2j) == 2
    np.testing.assert_array_equal(gx.jit(gx.vmap(choose))(np.array([1.0, -1.0]), np.array([1 + 2j, 1 + 2j])), [-4 + 2j, 2])


def test_a_fourier_sum() -> None:
    x = numbers(60)

    def transform(x: Any) -> Any:
        k = np.arange(60.0)
        return primitives.reduce_sum(np.exp(-2j * np.pi / 60 * np.outer(k, k)) * primitives.broadcast(x, (60, 60), (1,)), (1,))

    np.testing.assert_allclose(gx.jit(transform)(x), np.fft.fft(x), rtol=1e-12, atol=1e-12)


def test_callbacks_take_and_give_complex_arrays() -> None:
    seen = []

    def host(z: Any, x: Any) -> Any:
        seen.append((type(z), z.dtype, z.shape, type(x)))
        return z * x, z.real, (z.sum() * 1j).astype(complex64)

    def function(z: Any) -> Any:
        shapes = gx.ShapeDType(Z.shape, complex128), gx.ShapeDType(Z.shape, np.float64), gx.ShapeDType((), complex64)
        return gx.pure_callback(host, shapes, z * 2, np.complex128(1j))

    product, real, total = gx.jit(function)(Z)
    np.testing.assert_array_equal(product, 2 * Z * 1j)
    np.testing.assert_array_equal(real, 2 * Z.real)
    np.testing.assert_allclose(total, (2 * Z).sum() * 1j, rtol=1e-6)
    assert type(total) is complex64.type
    assert seen == [(np.ndarray, complex128, Z.shape, np.complex128)]


# ---------------------------------------------------------------------------------------------------------- entry points


def test_arguments_of_every_kind() -> None:
    double = gx.jit(lambda z: z + z)
    for value, kind in ((1 + 2j, np.complex128), (np.complex64(1 + 2j), np.complex64), (np.complex128(1 + 2j), np.complex128)):
        result = double(value)
        assert type(result) is kind and result == 2 + 4j
    misplaced = np.ndarray(Z.shape, complex, bytearray(b"1234" + Z.tobytes()), offset=4)
    for array in (Z, Z[::2, ::-1], Z.T, misplaced, Z.astype(">c16"), Z.astype(complex64), Z[:0]):
        result = double(array)
        assert result.dtype == array.dtype.newbyteorder("=") and result.flags.c_contiguous
        np.testing.assert_array_equal(result, array + array)
    for _ in range(2):
        first, second = gx.jit(lambda z: (z, {"a": [z * 1j], "b": primitives.real(z)}))(Z)
        assert first is not Z and not np.shares_memory(first, Z)
        np.testing.assert_array_equal(second["a"][0], Z * 1j)
        np.testing.assert_array_equal(second["b"], Z.real)


def test_static_and_captured_values() -> None:
    times = gx.jit(lambda z, factor: z * factor * W, static_argnums=1)
    np.testing.assert_allclose(times(Z, 2j), Z * 2j * W, rtol=1e-14)
    zeros = [times(Z, complex(0.0, -0.0)), times(Z, complex(0.0, 0.0))]
    assert times.specialization_count == 3  # equal numbers of other bits
    assert np.signbit(zeros[0].imag).sum() != np.signbit(zeros[1].imag).sum()


def test_results_do_not_depend_on_threads() -> None:
    z = numbers(300_000)
    with gx.config.override(num_threads=1):
        alone = gx.jit(lambda z: (primitives.exp(z), primitives.reduce_sum(z, (0,))))(z)
    with gx.config.override(num_threads=2):
        together = gx.jit(lambda z: (primitives.exp(z), primitives.reduce_sum(z, (0,))))(z)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------------------------------------ derivatives


def _energy(z: Any) -> Any:
    return primitives.abs(primitives.reduce_sum(primitives.sin(z) * primitives.exp(z) / (z + 2.0), (0, 1))) ** 2


def _recurrence(z: Any) -> Any:
    s, _ = lax.scan(lambda s, x: (s * x + primitives.log(s), None), 1 + 0.5j, z)
    return primitives.real(s)


def _escape(z: Any) -> Any:
    s = lax.while_loop(lambda s: abs(s) < 100, lambda s: s * s + z, z)
    return primitives.real(s) * primitives.imag(s)


@pytest.mark.parametrize("function, z", ((_energy, Z), (_recurrence, Z[:, 0] * 0.5), (_escape, np.complex128(1.3 + 0.2j))))
def test_gradients_against_differences(function: Callable[..., Any], z: Any) -> None:
    gradient = gx.jit(gx.grad(function))(z)
    value = gx.jit(function)
    direction = numbers(*z.shape, seed=5)
    step = 1e-6
    difference = (value(z + step * direction) - value(z - step * direction)) / (2 * step)
    np.testing.assert_allclose(np.sum(gradient * direction).real, difference, rtol=1e-6)
    with gx.disable_jit():
        np.testing.assert_allclose(gradient, gx.grad(function)(z), rtol=1e-11)


def test_a_diagonal_jacobian_is_not_computed_in_full() -> None:
    z = numbers(40)
    jacobian = gx.jit(gx.jacfwd(lambda z: primitives.exp(z) * z, holomorphic=True))
    np.testing.assert_allclose(jacobian(z), np.diag(np.exp(z) * (z + 1)), rtol=1e-14)
    lines = [line for line in str(jacobian.lower(z).loops).splitlines() if "exp(" in line]
    assert lines and all(line.startswith(8 * " " + "v") for line in lines)  # in a loop over 40 elements, not over 1600


# ------------------------------------------------------------------------------------------------------- calls, routines


def test_calls_and_rules_of_the_users() -> None:
    @gx.custom_vjp
    def twice(z: Any) -> Any:
        return z * 2

    twice.defvjp(lambda z: (z * 2, None), lambda _, ct: (ct * 3,))  # not the derivative, to tell whose it is
    inner = gx.jit(lambda z: (z * 1j, primitives.abs(z)))
    turned, size = gx.jit(lambda z: inner(z))(Z)
    np.testing.assert_array_equal(turned, Z * 1j)
    np.testing.assert_allclose(size, abs(Z), rtol=1e-15)
    gradient = gx.jit(gx.grad(lambda z: primitives.reduce_sum(primitives.imag(twice(z)), (0, 1))))(Z)
    np.testing.assert_array_equal(gradient, np.full(Z.shape, -3j))
    solved = gx.jit(lambda b: lax.custom_linear_solve(lambda x: 2j * x, b, lambda matvec, b: b / 2j))(Z)
    np.testing.assert_allclose(solved, Z / 2j, rtol=1e-15)


def test_native_routines_take_complex_numbers_as_they_lie_in_memory() -> None:
    square, right = numbers(3, 5, 5), numbers(3, 5, 2, seed=1)
    np.testing.assert_allclose(gx.jit(gx.numpy.linalg.solve)(square, right), np.linalg.solve(square, right), rtol=1e-12)
    np.testing.assert_allclose(gx.jit(gx.numpy.fft.fft)(square), np.fft.fft(square), rtol=1e-12)
    np.testing.assert_allclose(gx.jit(lambda z: gx.numpy.sort(z))(WITH_NAN), np.sort(WITH_NAN))
    single = square.astype(complex64)
    found = gx.jit(gx.numpy.linalg.solve)(single, right.astype(complex64))
    assert found.dtype == complex64
    np.testing.assert_allclose(single @ found, right, atol=1e-4)


def memory(x: np.ndarray) -> np.ndarray:
    return np.stack([x.real, x.imag], -1) if np.iscomplexobj(x) else x


@pytest.mark.parametrize("function", (
    lambda z: primitives.exp(z) * z, lambda z: gx.numpy.linalg.solve(z, z * 1j), gx.numpy.fft.fft, lambda z: gx.numpy.sort(z),
    lambda z: gx.pure_callback(lambda z: z * 1j, gx.ShapeDType((4, 4), complex128), z)))
def test_optimised_programs_and_loops_mean_the_same_to_their_interpreters(function: Callable[[Any], Any]) -> None:
    z = Z[:, :4]
    lowered = gx.jit(function).lower(z)
    expected = memory(gx.jit(function)(z))
    np.testing.assert_allclose(run(lowered.optimized, [memory(z)])[0], expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(interpret(lowered.loops, [memory(z)])[0], expected, rtol=1e-12, atol=1e-14)


# --------------------------------------------------------------------------------------------------------------- the pass


def test_real_programs_are_left_alone() -> None:
    program = gx.jit(lambda x: x * 2.0).lower(np.ones(3)).program
    assert split_complex(program, ROSTER) is program


#: What operations need to be told, for their type rules to look at their operands.
PARAMETERS: dict[str, dict[str, Any]] = {
    "reduce_and": {"axes": (0,)}, "reduce_or": {"axes": (0,)}, "iota": {"axis": 0, "dtype": complex128, "shape": (3,)},
    "polygamma": {"order": 1},
}


def _complex_equations(name: str) -> Iterator[tuple[Var, Equation]]:
    """Equations on complex operands that the type rule of an operation lets through."""
    for shape in ((3,), (3, 3)):
        for count in range(4):
            operand, params = Var(ArrayType(complex128, shape)), PARAMETERS.get(name, {})
            with contextlib.suppress(GradxformError, TypeError, ValueError, IndexError):  # it does not take these
                types = ROSTER[name].result_types((operand.type,) * count, params)
                if count or any(t.dtype.kind == "c" for t in types):
                    yield operand, Equation(ROSTER[name], (operand,) * count, tuple(params.items()), tuple(map(Var, types)))


@pytest.mark.parametrize("name", [
    name for name in ROSTER if name not in COMPLEX_OPERATIONS and name not in CALLED and not name.endswith("_parts")])
def test_operations_without_a_rule_take_no_complex_numbers_or_follow_from_their_lowering(name: str) -> None:
    for operand, equation in _complex_equations(name):
        try:
            split_complex(Program((operand,), (equation,), equation.outputs), ROSTER)
        except CompileError:
            raise
        except (GradxformError, TypeError):  # operands or parameters that the operation does not have
            continue


def test_an_operation_that_has_no_rule_is_named() -> None:
    z = Var(ArrayType(complex128, (3,)))
    equation = Equation(ROSTER["erf"], (z,), (), (Var(z.type),))
    with pytest.raises(CompileError, match=r"erf: .* no rule .* c128\[3\]: write it with x.real"):
        split_complex(Program((z,), (equation,), equation.outputs), ROSTER)


def test_the_position_of_the_first_nan():
    x = np.array([[1 + 1j, 2 - 1j, complex(0, np.nan)], [complex(np.nan, 0), 3j, complex(np.nan, np.nan)]])
    for function in (np.argmax, np.argmin):
        np.testing.assert_array_equal(gx.jit(lambda a, f=function: f(a, axis=1))(x), function(x, axis=1))
