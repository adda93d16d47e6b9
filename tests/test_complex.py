"""Complex numbers through dtypes, programs and transforms. Expected values: closed forms, NumPy, finite differences.

The differences go along the real and the imaginary direction separately, so nothing needs to be holomorphic.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform import numpy as gnp
from gradxform.core import type_of
from gradxform.dtypes import (
    COMPLEX,
    REAL,
    SUPPORTED,
    canonical,
    complex64,
    complex128,
    complex_dtype,
    float32,
    float64,
    inexact,
    int64,
    part_dtype,
    promote,
)
from gradxform.errors import DTypeError, NotDifferentiableError, ShapeError

Z = np.array([0.8 + 0.3j, -1.2 + 0.7j, 0.4 - 1.6j])
W = np.array([0.6 - 0.4j, 1.9 + 0.2j, -1.2 + 0.9j])
X = np.array([0.5, -1.5, 0.7])
MATRIX = np.array([[0.3 - 0.2j, 1.1j, -0.7], [0.5, -0.4 + 0.6j, 0.9j], [1.2 + 0.1j, -0.3, 0.8 - 0.5j]])


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def slopes(function: Callable[[Any], Any], z: Any, step: float = 1e-5) -> tuple[Any, Any]:
    """df/dx and df/dy of each result by each element of z: shapes result + z."""
    z = np.asarray(z)
    found = []
    for direction in (1.0, 1j):
        columns = []
        for k in range(z.size):
            moved = np.zeros(z.size, complex)
            moved[k] = step * direction
            moved = moved.reshape(z.shape)
            columns.append((np.asarray(function(z + moved)) - np.asarray(function(z - moved))) / (2 * step))
        found.append(np.stack(columns, -1).reshape(columns[0].shape + z.shape))
    return found[0], found[1]


def gradient_of(function: Callable[[Any], Any], z: Any) -> Any:
    """df/dx - i df/dy by differences."""
    by_real, by_imaginary = slopes(function, z)
    return by_real - 1j * by_imaginary


# ------------------------------------------------------------------------------------------------------------ dtypes


def test_promotion_is_numpys() -> None:
    python = {"b": True, "i": 1, "f": 1.0, "c": 1j}
    for one, other in product(SUPPORTED, SUPPORTED):
        expected = np.result_type(one, other)
        if expected in SUPPORTED:
            assert promote((one, False), (other, False)) == (expected, False)
    for strong, weak in product(SUPPORTED, python.values()):
        expected = np.result_type(strong, weak)
        if expected in SUPPORTED:
            assert promote((strong, False), (type_of(weak).dtype, True)) == (expected, False)
    assert promote((float64, True), (complex128, True)) == (complex128, True)
    assert promote((complex128, True), (int64, True)) == (complex128, True)


def test_dtypes_and_their_parts() -> None:
    assert SUPPORTED == REAL + COMPLEX
    for whole, part in ((complex64, float32), (complex128, float64)):
        assert canonical(whole) is whole and canonical(whole.newbyteorder()) is whole
        assert part_dtype(whole) == part_dtype(part) == part and complex_dtype(part) == complex_dtype(whole) == whole
        assert inexact(whole) == whole
    with pytest.raises(DTypeError, match=r"is not supported; expected one of .*complex64, complex128"):
        canonical(np.clongdouble)


@pytest.mark.parametrize("call", [
    lambda k, f: k * 1j, lambda k, f: f * 1j, lambda k, f: f + (1 + 2j), lambda k, f: k * 2.0, lambda k, f: k / 3,
    lambda k, f: k * f, lambda k, f: 1j - k, lambda k, f: k ** 2, lambda k, f: k ** 2.5, lambda k, f: k ** 1j,
    lambda k, f: k * np.complex128(1j), lambda k, f: f * np.float64(2), lambda k, f: k + np.arange(3), lambda k, f: abs(k),
    lambda k, f: k.real * 2.0, lambda k, f: k == 1j, lambda k, f: (k * 1j).imag,
])
def test_operators_promote_as_numpys(call: Callable[[Any, Any], Any]) -> None:
    k, f = Z.astype(np.complex64), X.astype(np.float32)
    close(gx.jit(call)(k, f), call(k, f), 1e-5)


def test_programs_print_complex_numbers() -> None:
    text = str(gx.make_ir(lambda z: np.abs(z * 2j + (1 - 0.5j)))(np.complex64(1)))
    assert text == ("{ lambda a:c64[] . let\n    b:c64[] = mul a 2j:c64\n    c:c64[] = add b (1-0.5j):c64\n"
                    "    d:f32[] = abs c\n  in (d) }")
    assert str(gx.make_ir(lambda z: z * 2j)(1j)) == "{ lambda a:c128[]* . let b:c128[]* = mul a 2j in (b) }"


def test_python_numbers_stay_weak() -> None:
    def function(z: Any, f: Any) -> Any:
        return z.real * f, z * f, abs(z) * f

    assert [y.dtype for y in gx.jit(function)(1j, np.float32(2))] == [np.float32, np.complex64, np.float32]


# ---------------------------------------------------------------------------------------------------------- gradients

SCALAR: dict[str, Callable[[Any], Any]] = {
    "magnitude": lambda z: np.sum(np.abs(z)),
    "squares": lambda z: np.sum((z * np.conj(z)).real),
    "angle": lambda z: np.sum(np.angle(z) * np.array([1.0, 2.0, 3.0])),
    "real of a product": lambda z: np.prod(z).real,
    "imag of a quotient": lambda z: (z[0] / z[1]).imag + (1.0 / z[2]).imag,
    "mixed": lambda z: np.sum(np.real(z) ** 3 * np.imag(z) + np.imag(np.exp(z) * np.conj(z))),
    "quadratic form": lambda z: np.vdot(z, MATRIX @ z).real,
    "choice": lambda z: np.sum(np.where(z.real > 0, np.abs(z), z.imag)),
    "signs": lambda z: np.sum((np.sign(z) * W).real),
    "statistics": lambda z: np.var(z) + np.std(z) + np.mean(z).imag,
    "running": lambda z: np.sum(np.abs(np.cumprod(z)) + np.cumsum(z).imag),
    "powers": lambda z: np.sum((z ** 3 + z ** 0.5 + z ** (1 + 1j) + 2.0 ** z + z ** -2).real),
    "fixed norm": lambda z: np.sum(np.abs(z / np.sqrt(np.sum(np.abs(z) ** 2)) - W)),
    "assignment": lambda z: np.sum(np.abs(gnp.asarray(z).at[1:].set(z[:2] * 2j).at[0].add(z[2]))) if not isinstance(
        z, np.ndarray) else np.sum(np.abs(np.array([z[0] + z[2], z[0] * 2j, z[1] * 2j]))),
}


@pytest.mark.parametrize("name", SCALAR)
def test_gradients_of_real_functions(name: str) -> None:
    function = SCALAR[name]
    found = gx.grad(function)(Z)
    close(found, gradient_of(function, Z), 1e-8)
    value, compiled = gx.jit(gx.value_and_grad(function))(Z)
    close(value, function(Z), 1e-13)
    close(compiled, found)
    # Forward over reverse, along complex directions, and reverse over reverse.
    for direction in (W, 1j * W):
        moved = (gx.grad(function)(Z + 1e-5 * direction) - gx.grad(function)(Z - 1e-5 * direction)) / 2e-5
        close(gx.hvp(function)(Z, direction), moved, 1e-7)
    close(gx.grad(lambda z: np.sum(gx.grad(function)(z) * W).real)(Z), gx.hvp(function)(Z, W), 1e-10)
    close(gx.vmap(gx.grad(function))(np.stack([Z, W, Z * W])), np.stack([gx.grad(function)(z) for z in (Z, W, Z * W)]), 1e-10)


def test_closed_forms() -> None:
    z = 3.0 + 4.0j
    assert gx.grad(np.abs)(z) == 0.6 - 0.8j
    assert gx.grad(np.real)(z) == 1.0
    assert gx.grad(np.imag)(z) == -1j
    close(gx.grad(np.angle)(z), np.complex128(-1j / z))
    close(gx.grad(lambda z: abs(z) ** 2)(z), np.complex128(2 * np.conj(z)))
    # u of f = u + i v, holomorphic: du/dx - i du/dy = f'.
    close(gx.grad(lambda z: np.exp(z).real)(z), np.exp(np.complex128(z)))
    close(gx.grad(lambda z: np.exp(z).imag)(z), -1j * np.exp(np.complex128(z)))


def test_gradients_have_the_dtypes_of_their_arguments() -> None:
    gradients = gx.grad(lambda z, x, k: abs(z * x * k), argnums=(0, 1, 2))(1j, np.float32(2.0), np.complex64(1 + 1j))
    assert [g.dtype for g in gradients] == [np.complex128, np.float32, np.complex64]
    assert gx.grad(lambda z: np.float64(3.0))(1j) == 0 and gx.grad(lambda z: 3.0)(1j).dtype == np.complex128
    value, gradient = gx.value_and_grad(lambda tree: abs(tree["z"]) * tree["x"])({"z": 3 + 4j, "x": 2.0})
    assert value == 10.0 and gradient == {"z": 1.2 - 1.6j, "x": 5.0}
    (n, z) = gx.grad(lambda n, z: n * abs(z), argnums=(0, 1), allow_int=True)(3, 1j)
    assert n.dtype == gx.float0 and z == -3j


# -------------------------------------------------------------------------------------------------------- holomorphic


@pytest.mark.parametrize("function, derivative, second", [
    (lambda z: z ** 3, lambda z: 3 * z ** 2, lambda z: 6 * z),
    (np.exp, np.exp, np.exp),
    (np.log, lambda z: 1 / z, lambda z: -1 / z ** 2),
    (lambda z: np.sin(z) / z, lambda z: np.cos(z) / z - np.sin(z) / z ** 2,
     lambda z: -np.sin(z) / z - 2 * np.cos(z) / z ** 2 + 2 * np.sin(z) / z ** 3),
])
def test_holomorphic_derivatives(function: Any, derivative: Any, second: Any) -> None:
    for z in Z:
        close(gx.grad(function, holomorphic=True)(z), derivative(z))
        close(gx.value_and_grad(function, holomorphic=True)(z)[1], derivative(z))
        close(gx.grad(gx.grad(function, holomorphic=True), holomorphic=True)(z), second(z), 1e-11)
    jacobian = np.diag(derivative(Z))
    close(gx.jacfwd(function, holomorphic=True)(Z), jacobian)
    close(gx.jacrev(function, holomorphic=True)(Z), jacobian)
    close(gx.jit(gx.jacrev(function, holomorphic=True))(Z), jacobian)
    close(gx.hessian(lambda z: np.sum(function(z)), holomorphic=True)(Z), np.diag(second(Z)), 1e-11)


def test_jacobians_of_functions_between_real_and_complex() -> None:
    def to_real(z: Any) -> Any:
        return np.abs(z) * (MATRIX @ z).imag

    def to_complex(x: Any) -> Any:
        return np.exp(1j * x) * (MATRIX @ x)

    close(gx.jacrev(to_real)(Z), gradient_of(to_real, Z), 1e-8)
    close(gx.jit(gx.jacrev(to_real))(Z), gx.jacrev(to_real)(Z))
    close(gx.jacfwd(to_complex)(X), slopes(to_complex, X.astype(complex))[0], 1e-8)
    close(gx.jit(gx.jacfwd(to_complex))(X), gx.jacfwd(to_complex)(X))
    assert gx.jacfwd(lambda x: np.complex64(1j) * np.ones(2))(X).dtype == np.complex128
    # A real function of real numbers through complex ones.
    close(gx.hessian(lambda x: abs(np.sum(np.exp(1j * x))) ** 2)(X[:2]), -2 * np.cos(X[0] - X[1]) * np.array(
        [[1.0, -1.0], [-1.0, 1.0]]))


@pytest.mark.parametrize("call, message", [
    (lambda: gx.grad(lambda z: z * z)(1j),
     "grad of <lambda> needs a result of a real dtype, got c128.*holomorphic=True.*use vjp"),
    (lambda: gx.value_and_grad(lambda x: x * 1j)(1.0), "needs a result of a real dtype"),
    (lambda: gx.grad(lambda z: z, holomorphic=True)(1.0), "with holomorphic=True needs arguments of a complex dtype, got f64"),
    (lambda: gx.grad(abs, holomorphic=True)(1j), "with holomorphic=True needs a result of a complex dtype, got f64"),
    (lambda: gx.jacfwd(lambda z: z)(Z), "jacfwd of <lambda> needs arguments of a real dtype, got c128.*use jvp"),
    (lambda: gx.jacrev(lambda z: z)(Z), "jacrev of <lambda> needs results of a real dtype, got c128.*use vjp"),
    (lambda: gx.jacrev(np.abs, holomorphic=True)(Z), "needs results of a complex dtype"),
    (lambda: gx.jacfwd(np.exp, holomorphic=True)(X), "needs arguments of a complex dtype"),
    (lambda: gx.hessian(lambda z: np.sum(np.abs(z)))(Z), "needs arguments of a real dtype"),
])
def test_what_has_no_single_derivative_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(NotDifferentiableError, match=f"{message}(.|\n)*in user code: .*test_complex.py"):
        call()


# -------------------------------------------------------------------------------------------- jvp, vjp and their kind


def general(z: Any) -> Any:
    """Neither holomorphic nor real."""
    return np.conj(z) * np.exp(z) + np.abs(z) * (MATRIX @ z)


def test_tangents_are_those_of_real_pairs() -> None:
    by_real, by_imaginary = slopes(general, Z)
    for tangent in (W, 1j * W):
        expected = by_real @ tangent.real + by_imaginary @ tangent.imag
        value, found = gx.jvp(general, (Z,), (tangent,))
        close(value, general(Z))
        close(found, expected, 1e-8)
        close(gx.linearize(general, Z)[1](tangent), found)
        close(gx.jit(lambda z, t: gx.jvp(general, (z,), (t,))[1])(Z, tangent), found)


def test_pullbacks_pair_by_the_real_part_of_the_product() -> None:
    value, pull = gx.vjp(general, Z)
    close(value, general(Z))
    by_real, by_imaginary = slopes(general, Z)
    for ct in (W, 1j * W):
        (found,) = pull(ct)
        # Re(ct df) = Re(found dz) for dz = 1 and dz = i.
        close(found, (ct @ by_real).real - 1j * (ct @ by_imaginary).real, 1e-8)
        tangent = gx.jvp(general, (Z,), (Z * 1j,))[1]
        np.testing.assert_allclose(np.sum(ct * tangent).real, np.sum(found * Z * 1j).real)


def test_derivatives_of_wirtinger() -> None:
    def wirtinger(function: Callable[[Any], Any], z: Any) -> tuple[Any, Any]:
        pull = gx.vjp(function, z)[1]
        (one,), (other,) = pull(1.0 + 0.0j), pull(1.0j)
        return (one - 1j * other) / 2, np.conj(one + 1j * other) / 2

    for z in Z:
        by_z, by_conjugate = wirtinger(lambda z: z ** 2 * np.conj(z) ** 3, z)
        close(by_z, 2 * z * np.conj(z) ** 3)
        close(by_conjugate, 3 * z ** 2 * np.conj(z) ** 2)
        close(wirtinger(lambda z: np.exp(z) + 0j, z)[1], np.complex128(0), 1e-14)


def test_linear_transposes() -> None:
    (found,) = gx.linear_transpose(lambda z: MATRIX @ z, Z)(W)
    close(found, MATRIX.T @ W)
    (found,) = gx.linear_transpose(lambda z: (2.0 * z).real, Z)(X)
    close(found, 2.0 * X + 0j)
    (found,) = gx.linear_transpose(lambda x: 1j * x, X)(W)
    close(found, -W.imag)
    (found,) = gx.linear_transpose(np.conj, Z)(W)
    close(found, np.conj(W))
    close(gx.linear_transpose(lambda w: gx.linear_transpose(lambda z: MATRIX @ z, Z)(w)[0], W)(Z)[0], MATRIX @ Z)


def test_tangents_and_cotangents_have_the_dtype_of_what_they_belong_to() -> None:
    for call in (lambda: gx.jvp(np.exp, (Z,), (X,)), lambda: gx.jvp(np.exp, (X,), (Z,)), lambda: gx.vjp(np.exp, Z)[1](X),
                 lambda: gx.vjp(np.abs, Z)[1](Z), lambda: gx.jvp(np.exp, (1.0,), (1j,))):
        with pytest.raises(ShapeError, match="must have the dtype and shape of what it belongs to"):
            call()
    # Python's numbers adopt the dtype.
    assert gx.jvp(lambda z: z * z, (1j,), (1.0,))[1] == 2j
    assert gx.vjp(lambda z: z * z, 1j)[1](1)[0] == 2j


# ------------------------------------------------------------------------------------- control flow and custom rules


def test_loops_with_complex_carries() -> None:
    def scanned(z: Any, xs: Any) -> Any:
        def body(c: Any, x: Any) -> tuple[Any, Any]:
            c = c * x + 0.1 * gnp.conj(c)
            return c, gnp.abs(c)

        last, sizes = lax.scan(body, z, xs)
        return gnp.sum(sizes) + last.imag

    def looped(z: Any, xs: Any) -> float:
        total = 0.0
        for x in xs:
            z = z * x + 0.1 * np.conj(z)
            total += abs(z)
        return float(total + z.imag)

    found = gx.grad(scanned, argnums=(0, 1))(Z[0], W)
    close(found[0], np.complex128(gradient_of(lambda z: looped(z, W), Z[0])), 1e-8)
    close(found[1], gradient_of(lambda w: looped(Z[0], w), W), 1e-8)
    compiled = gx.jit(gx.grad(scanned, argnums=(0, 1)))(Z[0], W)
    close(compiled[0], found[0])
    close(compiled[1], found[1])
    assert np.isclose(scanned(Z[0], W), looped(Z[0], W))


def test_while_and_cond() -> None:
    def grown(z: Any) -> Any:
        z = lax.while_loop(lambda z: gnp.abs(z) < 10.0, lambda z: z * (1.5 + 1j), z)
        return lax.cond(gnp.imag(z) > 0, lambda z: gnp.log(z).real, lambda z: gnp.abs(z), z)

    def plain(z: Any) -> Any:
        while abs(z) < 10.0:
            z = z * (1.5 + 1j)
        return np.log(z).real if z.imag > 0 else abs(z)

    for z in Z:
        close(gx.grad(grown)(z), np.complex128(gradient_of(plain, z)), 1e-7)
        assert np.isclose(gx.jit(grown)(z), plain(z))


def test_custom_rules_see_complex_tangents() -> None:
    @gx.custom_jvp
    def square(z: Any) -> Any:
        return z * z

    square.defjvp(lambda primals, tangents: (square(primals[0]), 2 * primals[0] * tangents[0]))

    @gx.custom_vjp
    def turned(z: Any) -> Any:
        return gnp.conj(z) * 1j

    # Re(ct i conj(t)) = Re(conj(i ct) t)
    turned.defvjp(lambda z: (gnp.conj(z) * 1j, None), lambda _, ct: (gnp.conj(1j * ct),))
    for rule, plain in ((square, lambda z: z * z), (turned, lambda z: np.conj(z) * 1j)):
        close(gx.grad(lambda z, rule=rule: gnp.sum(gnp.abs(rule(z))) + rule(z)[0].imag)(Z),
              gradient_of(lambda z, plain=plain: np.sum(np.abs(plain(z))) + plain(z)[0].imag, Z), 1e-8)

    wrong = gx.custom_vjp(lambda z: z * 2)
    wrong.defvjp(lambda z: (z * 2, None), lambda _, ct: (ct.real,))
    with pytest.raises(ShapeError, match=r"has type f64\[\], expected c128\[\]"):
        gx.grad(lambda z: wrong(z).real)(1j)


def test_checkpoint_and_stop_gradient() -> None:
    def function(z: Any) -> Any:
        return np.sum((np.exp(np.sin(z)) * np.conj(z)).real)

    close(gx.grad(gx.checkpoint(function))(Z), gx.grad(function)(Z))
    close(gx.grad(lambda z: np.sum((lax.stop_gradient(z) * z).real))(Z), Z)


# ---------------------------------------------------------------------------------------------------- everything else


def test_random_compositions() -> None:
    """Orders one and two of compositions drawn at random, against differences and against each other."""
    steps: list[Callable[[Any, Any], Any]] = [
        lambda a, b: a * b, lambda a, b: a / (b + 3.0), lambda a, b: np.conj(a) + b, lambda a, b: np.abs(a) * b,
        lambda a, b: a.real + 1j * b.imag, lambda a, b: np.exp(a * 0.3), lambda a, b: np.sqrt(a + 2.5),
        lambda a, b: np.sin(a) - b,
        lambda a, b: MATRIX @ a * 0.5, lambda a, b: np.cumsum(a) * 0.4, lambda a, b: np.where(a.imag > b.real, a, np.conj(b)),
        lambda a, b: np.roll(a, 1) * 1j, lambda a, b: a ** 2 * 0.3, lambda a, b: np.angle(a) * b,
        lambda a, b: np.tanh(a * 0.5),
        lambda a, b: np.prod(a) * 0.2 + b, lambda a, b: np.log(a + 3.0), lambda a, b: np.arctan(a * 0.3),
        lambda a, b: a - b * 2,
    ]
    for seed in range(12):
        generator = np.random.default_rng(seed)
        chosen = [(steps[generator.integers(len(steps))], *generator.integers(0, 100, 2)) for _ in range(6)]

        def function(z: Any, chosen: Any = chosen) -> Any:
            values = [z, z * (0.5 + 0.2j)]
            for apply, first, second in chosen:
                values.append(apply(values[first % len(values)], values[second % len(values)]))
            return np.sum(np.abs(values[-1]) ** 2 * 0.1) + np.sum(values[-2]).imag

        gradient = gx.grad(function)
        found = gradient(Z)
        scale = max(1.0, float(np.max(np.abs(found))))
        close(found / scale, gradient_of(function, Z) / scale, 2e-7)
        along = gx.hvp(function)(Z, W)
        difference = (gradient(Z + 1e-5 * W) - gradient(Z - 1e-5 * W)) / 2e-5
        size = max(1.0, float(np.max(np.abs(along))))
        close(along / size, difference / size, 1e-6)


def test_nan_search_finds_complex_nan() -> None:
    with gx.config.override(debug_nans=True), pytest.raises(FloatingPointError, match="the first NaN is the result of div"):
        gx.jit(lambda z: (z - z) / (z - z))(1j)


def test_what_would_cut_the_derivative_is_refused() -> None:
    for cut in (complex, float, lambda z: z.item(), lambda z: z.tolist(), np.asarray):
        with pytest.raises(TypeError, match="cut its derivative"):
            gx.grad(lambda z, cut=cut: abs(cut(z)))(1j)
    with pytest.raises(TypeError, match=r"int\(\) takes a real number"):
        gx.grad(lambda z: int(z) * z.real)(1j)


def test_no_imaginary_part_is_dropped_unasked() -> None:
    for call in (lambda x, z: x.at[0].set(z[0]), lambda x, z: np.sin(z, dtype=float), lambda x, z: np.interp(z, X, X),
                 lambda x, z: np.mean(z, dtype=float)):
        with pytest.raises(TypeError, match=r"complex"):
            gx.jit(call)(X, Z)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(gx.jit(lambda x, z: z.at[0].set(x[0]))(X, Z), np.array([X[0], *Z[1:]]))


def test_shapes_and_dtypes_without_values() -> None:
    assert gx.eval_shape(np.abs, gx.ShapeDType((3,), np.complex64)) == gx.ShapeDType((3,), np.float32)
    found = gx.eval_shape(gx.grad(lambda z: np.sum(np.abs(z))), gx.ShapeDType((3,), np.complex64))
    assert found == gx.ShapeDType((3,), np.complex64)


def test_lax_names() -> None:
    z = lax.complex(X, -X)
    close(z, X - 1j * X)
    close(gx.jit(lambda x: lax.complex(x, 2.0))(X), X + 2j)
    close(lax.real(z), X)
    close(lax.imag(z), -X)
    close(lax.conj(z), X + 1j * X)
    close(gx.grad(lambda x: lax.imag(lax.complex(x, 3 * x) ** 2))(2.0), np.float64(24.0))
    close(lax.div(z, 2j), z / 2j)
