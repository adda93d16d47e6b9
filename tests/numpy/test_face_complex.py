"""The NumPy face on complex arrays: every call against NumPy, staged, by NumPy's own names and compiled."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import gradxform as gx
from gradxform import numpy as gnp
from gradxform.array import Array
from gradxform.core import Builder, run
from gradxform.ir import ArrayType, check


def normal(seed, *shape):
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape) + 1j * generator.normal(size=shape)


ARRAYS = {
    "z": normal(1, 5), "w": normal(2, 5), "A": normal(3, 3, 4), "B": normal(4, 4, 3), "S": normal(5, 3, 3),
    "k": normal(6, 5).astype(np.complex64), "c": np.complex128(1 + 2j), "x": normal(7, 5).real.copy(),
    "X": normal(8, 3, 4).real.copy(), "f": normal(9, 5).real.astype(np.float32), "i": np.arange(5),
    # Not finite, and with ties.
    "n": np.array([1 + 2j, complex(np.nan, 1), complex(2, np.inf), 3j, complex(-np.inf, np.nan)]),
    "t": np.array([1 + 1j, 2 + 0j, 1 + 1j, 1 + 2j, 0j]),
}

#: In groups of one kind; a group is compiled as one program.
CALLS = {
    "parts": (
        "m.abs(z)", "m.sign(z)", "m.angle(z)", "m.angle(z, True)", "m.angle(k)", "m.real(z)", "m.imag(z)", "m.imag(x)",
        "m.conj(z)", "m.conjugate(x)", "z.real", "z.imag", "z.conj()", "z.conjugate()", "x.imag", "x.real", "k.imag",
        "m.iscomplex(t)", "m.isreal(t)", "m.isreal(x)", "m.iscomplex(x)",
    ),
    "operators": (
        "z + w", "z - w", "z * w", "z / w", "z + x", "x * z", "z * 2", "z * 2.5", "z * 1j", "x * 1j", "f * 1j", "k * 1j",
        "k + x", "k * 2.0", "k + f", "1j / z", "i + 1j", "-z", "+z", "z ** 2", "z ** 3", "z ** -2", "z ** 0.5", "z ** 0",
        "z ** 20", "z ** w", "k ** 2", "x ** 1j", "2j ** z", "abs(z)", "c * f", "z == w", "t != 1 + 1j", "z < w",
        "t <= 1 + 1j", "t > 1 + 1j", "z >= w",
    ),
    "arithmetic": (
        "m.square(z)", "m.reciprocal(z)", "m.power(z, 2)", "m.float_power(z, 2)", "m.float_power(k, i)",
        "m.maximum(z, w)", "m.minimum(t, 1 + 1j)", "m.fmax(n, z)", "m.fmin(n, z)", "m.clip(z, -1 - 1j, 1 + 1j)",
        "m.rint(z)", "m.round(z, 1)", "m.round(z)", "m.positive(z)", "m.negative(z)",
    ),
    "elementary": (
        "m.exp(z)", "m.exp2(z)", "m.expm1(z)", "m.log(z)", "m.log2(z)", "m.log10(z)", "m.log1p(z)", "m.sin(z)", "m.cos(z)",
        "m.tan(z)", "m.arcsin(z)", "m.arccos(z)", "m.arctan(z)", "m.sinh(z)", "m.cosh(z)", "m.tanh(z)", "m.arcsinh(z)",
        "m.arccosh(z)", "m.arctanh(z)", "m.sqrt(z)", "m.exp(k)", "m.arccosh(k)", "m.sinc(z)",
    ),
    "questions": (
        "m.isnan(n)", "m.isinf(n)", "m.isfinite(n)", "m.logical_and(z, t)", "m.logical_not(t)", "m.nan_to_num(n)",
        "m.isclose(z, z + 1e-9)", "m.allclose(z, w)", "m.array_equal(z, z)", "m.any(t)", "m.all(t)", "m.count_nonzero(t)",
    ),
    "reductions": (
        "m.sum(A)", "m.sum(A, 0)", "m.prod(A, 1)", "m.mean(A)", "m.mean(k)", "m.var(A)", "m.std(A, 0)", "m.var(A, ddof=1)",
        "m.max(z)", "m.min(z)", "m.argmax(z)", "m.argmin(t)", "m.cumsum(z)", "m.cumprod(z)", "m.average(z, weights=x)",
        "m.average(z)", "m.trace(S)", "m.nansum(n)", "m.nanmean(n)", "m.nanprod(n[1:4])", "m.nanvar(n[:2])", "m.nanmax(n)",
    ),
    "products": (
        "A @ B", "X @ B", "m.dot(A, B)", "m.vdot(z, w)", "m.vdot(z, x)", "m.vecdot(z, w)", "m.vecdot(A, A)",
        "m.inner(z, w)", "m.outer(z, w)", "m.kron(z, w)", "m.tensordot(A, B, 1)", "m.einsum('ij,jk->ik', A, B)",
        "m.einsum('ij,ij->i', A, X)", "m.cross(A[:, :3], S)", "m.convolve(z, w)", "m.correlate(z, w[:3])",
        "m.correlate(z[:2], w, 'full')", "m.cov(A)", "m.corrcoef(A)",
    ),
    "structure": (
        "m.where(x > 0, z, w)", "m.where(x > 0, z, 0)", "m.where(x > 0, 1j, x)", "z[::2]", "z[m.asarray([0, 3])]",
        "m.concatenate([z, x])", "m.stack([z, w])", "m.roll(z, 1)", "m.flip(z)", "m.tril(S)", "m.diag(z)", "m.repeat(z, 2)",
        "m.tile(z, 2)", "m.take(z, [0, 1])", "x.astype(complex)", "x.astype(m.complex64)", "z.astype(m.complex64)",
        "t.astype(bool)", "m.full_like(z, 2)", "m.zeros_like(z)", "m.vander(z, 3)", "m.ediff1d(z)", "z.T", "S.mT",
        "m.select([x > 0, x < -1], [z, w], 0)", "m.choose(i % 2, [z, w])",
    ),
    "numerical": (
        "m.linspace(0, c, 5)", "m.linspace(1j, c, 4, endpoint=False)", "m.geomspace(c, 3j, 5)", "m.logspace(0, c, 4)",
        "m.meshgrid(z, x)[0]", "m.diff(z)", "m.gradient(z)", "m.trapezoid(z)", "m.interp(x, m.arange(-3.0, 2.0), z)",
        "m.polyval(z, c)", "m.polyval(z, w)",
    ),
}
WITHOUT_OPERANDS = (
    "m.zeros(3, dtype=complex)", "m.ones(3, m.complex64)", "m.full(3, 1j)", "m.eye(3, dtype=complex)", "m.arange(3) * 1j",
    "m.array([1j, 2.0])", "m.geomspace(1.0, 8.0, 4)", "m.array([[1, 1j]], m.complex64)",
)


def names_in(call):
    return [name for name in ARRAYS if re.search(rf"(?<![\w.]){name}(?![\w=])", call)]


def evaluate(call, module, arrays):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return eval(call, {"m": module, **arrays})


def assert_same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    tolerance = {"f": 1e-5, "F": 1e-5, "d": 1e-13, "D": 1e-13}.get(expected.dtype.char, 0.0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("call", [call for group in CALLS.values() for call in group] + list(WITHOUT_OPERANDS))
def test_staged_equals_numpy(call):
    expected = evaluate(call, np, ARRAYS)
    names = names_in(call) if call not in WITHOUT_OPERANDS else []
    builder = Builder("test", Array)
    with builder:
        traced = {name: builder.add_input(ArrayType(np.asarray(ARRAYS[name]).dtype, np.shape(ARRAYS[name])))
                  for name in names}
        # By the face's functions, and by NumPy's, which find the face.
        program, captures = builder.finish([evaluate(call, module, {**ARRAYS, **traced})
                                            for module in ((gnp, np) if names and "asarray" not in call else (gnp,))])
    check(program)
    with np.errstate(all="ignore"):
        for found in run(program, [*[ARRAYS[name] for name in names], *captures]):
            assert_same(found, expected)


@pytest.mark.parametrize("group", CALLS)
def test_compiled_equals_numpy(group):
    function = gx.jit(lambda arrays: [evaluate(call, gnp, arrays) for call in CALLS[group]])
    for call, found in zip(CALLS[group], function(ARRAYS), strict=True):
        try:
            assert_same(found, evaluate(call, np, ARRAYS))
        except AssertionError as error:
            raise AssertionError(f"{call}: {error}") from None


@pytest.mark.parametrize("call", [
    "m.floor(z)", "m.ceil(z)", "m.trunc(z)", "m.fabs(z)", "m.cbrt(z)", "m.arctan2(z, w)", "m.hypot(z, w)", "m.copysign(z, w)",
    "m.logaddexp(z, w)", "m.deg2rad(z)", "m.degrees(z)", "m.floor_divide(z, w)", "z % w", "z // 2", "m.fmod(z, w)",
    "m.divmod(z, w)", "m.bitwise_and(z, w)", "m.heaviside(z, 1.0)", "m.signbit(z)", "z & 1", "~z", "m.sin(z, dtype=float)",
])
def test_what_numpy_refuses_is_refused(call):
    with pytest.raises(TypeError):
        evaluate(call, np, ARRAYS)
    builder = Builder("test", Array)
    with builder:
        traced = {name: builder.add_input(ArrayType(ARRAYS[name].dtype, ARRAYS[name].shape)) for name in names_in(call)}
        with pytest.raises(TypeError, match=r"(complex|integers or booleans)(.|\n)*in user code: "):
            evaluate(call, gnp, traced)


def test_questions_about_dtypes():
    asked = []
    gx.make_ir(lambda z, x: asked.extend([
        np.iscomplexobj(z), np.isrealobj(z), gnp.iscomplexobj(x), gnp.isrealobj(x), np.result_type(z, 1j),
        np.result_type(x, 1j), np.isscalar(z)]) or z)(np.complex64(1j), np.float32(1))
    assert asked == [True, False, False, True, np.complex64, np.complex64, np.isscalar(np.complex64(1j)) and asked[-1]]


def test_real_if_close_of_complex_arrays_depends_on_values():
    assert gx.jit(np.real_if_close)(2.0) == 2.0
    with pytest.raises(TypeError, match=r"take x\.real"):
        gx.jit(np.real_if_close)(2j)


def test_astype_warns_where_numpy_does():
    with pytest.warns(np.exceptions.ComplexWarning, match="discards the imaginary part"):
        assert gx.jit(lambda z: z.astype(float))(1 + 2j) == 1.0
    with pytest.warns(np.exceptions.ComplexWarning):
        assert gx.jit(lambda z: gnp.asarray(z, dtype=np.int32))(3 + 2j) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gx.jit(lambda z: z.astype(bool))(2j)
