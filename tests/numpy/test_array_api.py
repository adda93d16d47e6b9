"""The array API standard (2024.12): its names, its signatures, and the calls of them on plain and on traced arrays.

The standard's own test suite is run by hand, from outside; docs/array_api.md says how, and what does not pass.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from test_face import assert_same, leaves

import gradxform as gx
import gradxform.numpy as gnp
from gradxform.array import Array
from gradxform.core import Builder, Tracer, run
from gradxform.errors import ArgumentError, ReadOnlyError, TracerConversionError
from gradxform.ir import ArrayType, check

CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
          "complex64", "complex128")
ARRAYS = {
    "x": np.array([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]]),
    "y": np.array([[1.0, 2.0, -0.5], [0.75, 3.0, 0.5]]),
    "p": np.array([0.25, 0.5, 1.75]),
    "u": np.array([-0.5, 0.0, 0.75]),
    "i": np.array([[3, 1, 2], [7, 0, 5]]),
    "k": np.array([2, 0, 1]),
    "b": np.array([True, False, True]),
    "z": np.array([0.5 + 1.0j, -1.0 - 0.25j]),
}
#: Calls in the standard's signatures: what is positional only is given by position, what is by keyword only by keyword.
CALLS: dict[str, tuple[str, ...]] = {
    "creation": (
        "m.arange(4)", "m.arange(1, stop=7, step=2, dtype=m.int32, device='cpu')", "m.asarray(x, dtype=m.float32, copy=True)",
        "m.asarray([1, 2.5], device=None)", "m.empty((2, 3), dtype=m.int8, device=None) * 0", "m.zeros_like(m.empty_like(x))",
        "m.eye(2, 3, k=1, dtype=m.float32, device='cpu')", "m.full((2,), 3, dtype=m.float64)",
        "m.full_like(x, 2.0, device=None)",
        "m.linspace(0.0, 1.0, num=5, dtype=None, device=None, endpoint=False)", "m.meshgrid(p, u, indexing='ij')",
        "m.ones((2,), dtype=None, device=None)", "m.ones_like(i)", "m.tril(x, k=-1)", "m.triu(x, k=1)", "m.zeros(3)",
        "m.zeros_like(z, dtype=None)"),
    "dtypes": (
        "m.astype(x, m.float32, copy=True, device=None)", "m.broadcast_arrays(x, p)", "m.broadcast_to(p, (2, 3))"),
    "elementwise": (
        *(f"m.{name}(x)" for name in (
            "abs", "asinh", "atan", "ceil", "conj", "cos", "cosh", "exp", "expm1", "floor", "isfinite", "isinf", "isnan",
            "negative", "positive", "reciprocal", "round", "sign", "signbit", "sin", "sinh", "square", "tan", "tanh",
            "trunc")),
        *(f"m.{name}(p)" for name in ("log", "log1p", "log2", "log10", "sqrt")),
        *(f"m.{name}(u)" for name in ("acos", "asin", "atanh")), "m.acosh(1 + p)",
        *(f"m.{name}(x, y)" for name in (
            "add", "atan2", "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less",
            "less_equal", "logaddexp", "maximum", "minimum", "multiply", "nextafter", "not_equal", "remainder", "subtract")),
        *(f"m.{name}(i, k)" for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift",
                                         "bitwise_right_shift", "pow")),
        "m.bitwise_invert(i)", "m.clip(x, min=-1.0, max=p)", "m.clip(x, min=-0.5)", "m.clip(x)", "m.imag(z)", "m.real(z)",
        "m.logical_and(b, b)", "m.logical_or(b, b)", "m.logical_xor(b, b)", "m.logical_not(b)", "m.pow(p, x)"),
    "indexing": ("m.take(x, k, axis=1)", "m.take_along_axis(x, i % 3, axis=1)"),
    "linear algebra": (
        "m.matmul(x, m.matrix_transpose(y))", "m.matrix_transpose(x)", "m.tensordot(x, y, axes=((0,), (0,)))",
        "m.tensordot(x, y, axes=2)", "m.vecdot(x, y, axis=-1)", "m.vecdot(z, z, axis=0)"),
    "manipulation": (
        "m.concat([x, y], axis=1)", "m.concat((x, y), axis=None)", "m.expand_dims(x, axis=1)", "m.flip(x, axis=(0, 1))",
        "m.moveaxis(x, 0, 1)", "m.permute_dims(x, (1, 0))", "m.repeat(x, 2, axis=1)", "m.repeat(x, m.asarray([1, 2]), axis=0)",
        "m.reshape(x, (3, -1), copy=True)", "m.roll(x, (1, -1), axis=(0, 1))", "m.squeeze(m.expand_dims(x, axis=0), axis=0)",
        "m.stack([x, y], axis=-1)", "m.tile(x, (2, 1))", "m.unstack(x, axis=1)"),
    "searching": (
        "m.argmax(x, axis=1, keepdims=True)", "m.argmin(x)", "m.count_nonzero(i, axis=0, keepdims=True)",
        "m.searchsorted(p, x, side='right')", "m.searchsorted(p, u, sorter=m.argsort(p))", "m.where(b, x, y)"),
    "known": ("m.nonzero(i)", "m.unique_all(i)", "m.unique_counts(i)", "m.unique_inverse(i)", "m.sort(m.unique_values(i))",
              "x[x > 0.0]"),
    "sorting": ("m.argsort(x, axis=0, stable=True)", "m.sort(x, axis=1, stable=True)"),
    "statistics": (
        "m.cumulative_prod(x, axis=1, include_initial=True)", "m.cumulative_sum(p, dtype=m.float32)",
        *(f"m.{name}(x, axis=1, keepdims=True)" for name in ("max", "mean", "min", "prod", "std", "sum", "var")),
        "m.std(x, correction=1.0)", "m.var(x, axis=(0, 1), correction=1)", "m.sum(i, dtype=m.int64)"),
    "utility": ("m.all(x, axis=0)", "m.any(b, keepdims=True)", "m.diff(x, axis=0, n=1, prepend=p[None])"),
    "array object": (
        "x.T", "x.mT", "abs(x)", "x + y", "i & i", "i[m.newaxis, ..., ::-1]", "x // y", "~i", "i << k",
        "x @ y.T", "x % y", "-x", "+x", "p ** x", "i >> k", "x - 1", "x / 2.0", "2.0 - x", "3 * i",
        "x[1, k]", "x.to_device('cpu')", "i | 1", "i ^ k", "x != y", "x == y", "x >= y", "x < 0.0"),
}
ALL = [(family, call) for family, calls in CALLS.items() for call in calls]


def names_in(call: str) -> list[str]:
    return [name for name in ARRAYS if re.search(rf"(?<![\w.'])\b{name}\b(?!\()", call)]


def staged(call: str, known: bool) -> list[Any]:
    names = names_in(call)
    builder = Builder("test", Array)
    with builder:
        traced = {name: builder.add_input(ArrayType(ARRAYS[name].dtype, ARRAYS[name].shape),
                                          known=ARRAYS[name] if known else None) for name in names}
        outputs = leaves(eval(call, {"m": gnp, **traced}))
        assert all(isinstance(x, Tracer) for x in outputs)
        program, captures = builder.finish(outputs)
    check(program)
    return list(run(program, [*[ARRAYS[name] for name in names], *captures]))


@pytest.mark.parametrize(("family", "call"), ALL)
def test_calls_of_the_standard(family: str, call: str) -> None:
    expected = leaves(eval(call, {"m": np, **ARRAYS}))
    for one, other in zip(leaves(eval(call, {"m": gnp, **ARRAYS})), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    found = staged(call, family == "known")
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if np.asarray(other).dtype.kind == "c":
            np.testing.assert_allclose(one, other, rtol=1e-14)
            assert one.dtype == other.dtype
        else:
            assert_same(one, other)


def test_every_name_of_the_standard_is_called() -> None:
    called = {part for _, call in ALL for part in names_called(call)}
    assert {name for name in FUNCTIONS if name not in called} == {
        "from_dlpack", "can_cast", "finfo", "iinfo", "isdtype", "result_type"}
    assert all(hasattr(gnp, name) for name in (*FUNCTIONS, *CONSTANTS, *DTYPES))


def names_called(call: str) -> list[str]:
    return re.findall(r"m\.(\w+)", call)


FUNCTIONS = (
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid", "ones",
    "ones_like", "tril", "triu", "zeros", "zeros_like", "astype", "broadcast_arrays", "broadcast_to", "can_cast", "finfo",
    "iinfo", "isdtype", "result_type", "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh",
    "bitwise_and", "bitwise_left_shift", "bitwise_invert", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil",
    "clip", "conj", "copysign", "cos", "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater",
    "greater_equal", "hypot", "imag", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10",
    "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative",
    "nextafter", "not_equal", "positive", "pow", "real", "reciprocal", "remainder", "round", "sign", "signbit", "sin",
    "sinh", "square", "sqrt", "subtract", "tan", "tanh", "trunc", "take", "take_along_axis", "matmul", "matrix_transpose",
    "tensordot", "vecdot", "concat", "expand_dims", "flip", "moveaxis", "permute_dims", "repeat", "reshape", "roll",
    "squeeze", "stack", "tile", "unstack", "argmax", "argmin", "count_nonzero", "nonzero", "searchsorted", "where",
    "unique_all", "unique_counts", "unique_inverse", "unique_values", "argsort", "sort", "cumulative_prod",
    "cumulative_sum", "max", "mean", "min", "prod", "std", "sum", "var", "all", "any", "diff",
)


def test_questions_about_dtypes() -> None:
    assert gnp.isdtype(gnp.float32, "real floating") and not gnp.isdtype(gnp.int8, ("bool", gnp.uint8))
    assert gnp.finfo(gnp.float64).eps == np.finfo(float).eps
    assert gnp.iinfo(gnp.int8).max == 127
    assert gnp.can_cast(gnp.int32, gnp.float64)
    assert gx.jit(lambda x: gnp.zeros(2, gnp.result_type(x, gnp.float32)))(np.int8(1)).dtype == np.float32
    np.testing.assert_array_equal(gnp.from_dlpack(np.arange(3.0)), np.arange(3.0))


def test_namespace() -> None:
    def function(x: Any) -> Any:
        assert x.__array_namespace__() is gnp
        assert x.__array_namespace__(api_version="2024.12") is gnp
        assert x.device == "cpu" and x.__dlpack_device__() == (1, 0)
        assert gnp.asarray(x).size == 6 and x.ndim == 2 and x.shape == (2, 3) and x.dtype == np.float64
        return x

    gx.jit(function)(ARRAYS["x"])
    for wrong in (lambda x: x.__array_namespace__(api_version="1999.01"), lambda x: x.to_device("gpu")):
        with pytest.raises(ArgumentError):
            gx.jit(wrong)(ARRAYS["x"])
    with pytest.raises(TracerConversionError):
        gx.jit(lambda x: x.__dlpack__())(ARRAYS["x"])
    info = gnp.__array_namespace_info__()
    assert set(info.dtypes()) == set(DTYPES) and info.default_device() == "cpu"
    assert gnp.__array_api_version__ >= "2024.12"


def evaluated(function: Any, *arrays: Any) -> Any:
    builder = Builder("test", Array)
    with builder:
        outputs = leaves(function(*[builder.add_input(ArrayType(x.dtype, x.shape), known=None) for x in arrays]))
        program, captures = builder.finish(outputs)
    check(program)
    found = list(run(program, [*arrays, *captures]))
    return found if len(found) > 1 else found[0]


@pytest.mark.parametrize("name", ["atan2", "hypot", "copysign", "logaddexp", "nextafter"])
def test_two_dtypes_are_evaluated_in_the_first_float_that_both_fit_into(name: str) -> None:
    for one, other in (("int8", "uint16"), ("uint16", "int16"), ("bool", "uint16"), ("int8", "int32"), ("uint8", "float32"),
                       ("int64", "float32"), ("uint8", "float64")):
        x, y = np.array([1, 0, 1], one), np.array([[2], [1]], other)
        assert_same(evaluated(getattr(gnp, name), x, y), getattr(np, name)(x, y))


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "fftn", "rfftn", "irfftn"])
def test_integers_of_every_size_are_transformed_in_float64(name: str) -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint64"):
        x = np.array([[1, 0, 1], [1, 1, 0]], dtype)
        found, expected = evaluated(getattr(gnp.fft, name), x), getattr(np.fft, name)(x)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)


def test_equations_of_integers_beside_float32_are_solved_in_float64() -> None:
    for one, other in (("int8", "float32"), ("float32", "int64"), ("float32", "float32"), ("bool", "int8"),
                       ("int8", "complex64")):
        x, y = np.array([[1, 1], [0, 1]], one), np.array([[1], [1]], other)
        assert_same(evaluated(gnp.linalg.solve, x, y), np.linalg.solve(x, y))


def test_the_largest_of_no_sums_is_zero() -> None:
    for shape in ((2, 0, 3), (2, 3, 0), (0, 2, 2)):
        for order in ("fro", "nuc", 1, 2, np.inf):
            x = np.zeros(shape)
            assert_same(evaluated(lambda x, order=order: gnp.linalg.matrix_norm(x, ord=order), x),
                        np.linalg.matrix_norm(x, ord=order))
    assert_same(evaluated(lambda x: gnp.linalg.vector_norm(x, axis=1, ord=np.inf), np.zeros((2, 0))), np.zeros(2))
    with pytest.raises(ValueError, match="no identity"):
        evaluated(lambda x: gnp.linalg.matrix_norm(x, ord=-2), np.zeros((0, 3)))


def test_a_mask_of_no_elements_selects_nothing() -> None:
    def assign(x: Any) -> Any:
        y = gnp.array(x, copy=True)
        y[np.zeros(0, bool)] = 5.0
        return y

    x = np.arange(6.0).reshape(2, 3)
    for mask in (np.zeros(0, bool), np.zeros((0, 3), bool), np.zeros((2, 0), bool)):
        assert_same(evaluated(lambda x, mask=mask: x[mask], x), x[mask])
    assert_same(evaluated(lambda x: x[:, np.zeros(0, bool)], x), x[:, np.zeros(0, bool)])
    assert_same(evaluated(assign, x), x)
    with pytest.raises(IndexError, match="did not match"):
        evaluated(lambda x: x[np.zeros((0, 4), bool)], x)


def test_reciprocals_of_integers_have_no_fraction() -> None:
    for dtype in ("int8", "int32", "int64", "uint8", "uint64", "bool"):
        least = [] if np.dtype(dtype).kind in "ub" else [-1, -2, -7, np.iinfo(dtype).min]
        x = np.array([1, 2, 9, *least]).astype(dtype)
        assert_same(evaluated(gnp.reciprocal, x), np.reciprocal(x))


def test_a_copy_that_is_asked_for_can_be_assigned_to() -> None:
    def function(x: Any, m: Any = gnp) -> Any:
        whole = m.asarray(x, copy=True)
        whole[0] = 5.0
        row = m.reshape(whole, (1, -1), copy=True)
        row[0, 1] = 7.0
        m.reshape(whole, (1, -1))[0, 2] = 9.0
        return x, whole, row

    x = ARRAYS["p"]
    for found, expected in zip(evaluated(function, x), function(x.copy(), np), strict=True):
        assert_same(found, expected)
    with pytest.raises(ReadOnlyError):
        evaluated(lambda x: gnp.asarray(x).__setitem__(0, 1.0), x)


def test_functions_of_parts_chosen_by_a_mask() -> None:
    """What libraries write against the standard to compute each part with a function of its own."""

    def by_parts(x: Any, m: Any = gnp) -> Any:
        chosen = x > 0.3
        first, second = m.sqrt(x[chosen]), m.abs(x[~chosen]) <= 0.5
        result = m.empty_like(chosen, dtype=m.result_type(first, m.float32))
        result[chosen] = first
        result[~chosen] = m.where(second, 1.0, -1.0) if m is np else 2.0 * second - 1.0
        return result

    x = ARRAYS["x"]
    assert_same(evaluated(by_parts, x), by_parts(x, np))
    slope = gx.jit(gx.grad(lambda x: by_parts(x).sum()))(x)
    np.testing.assert_array_equal(slope, np.where(x > 0.3, 0.5 / np.sqrt(np.abs(x)), 0.0))


@pytest.mark.parametrize("compare", [
    lambda x: x[x > 0] > 1, lambda x: x[x > 0] == 0.5, lambda x: x[x > 0] != 0.5, lambda x: x[x > 0] >= 1,
    lambda x: np.float64(1) < x[x > 0], lambda x: x[0, 0] >= x[x > 0], lambda x: x[x > 0] * 2 < x[x > 0] + 1])
def test_chosen_elements_are_compared(compare: Any) -> None:
    x = ARRAYS["x"]
    assert_same(evaluated(lambda x: compare(x).sum(), x), compare(x).sum())
