"""Elementwise primitives: values, derivatives, batches and lowering of each, and the conventions at singular points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from rule_checks import check_batching, check_derivatives, check_single_precision, trace

from gradxform.core import dtype_of, run
from gradxform.dtypes import SUPPORTED, bool_, float32, float64, int32, int64, uint8
from gradxform.errors import ArgumentError, DTypeError, NotDifferentiableError, ShapeError
from gradxform.ir import check
from gradxform.linear import add
from gradxform.loopir.expression import Constant, Expression
from gradxform.loopir.operations import evaluate_operation
from gradxform.primitives import arithmetic as a
from gradxform.primitives import elementary as e
from gradxform.primitives import logic as l
from gradxform.primitives import special as s
from gradxform.transforms import jvp, transpose, vjp

ALL = np.array([-2.3, -0.7, 0.4, 1.6])
UNIT = np.array([-0.8, -0.3, 0.2, 0.7])
POSITIVE = np.array([0.3, 0.9, 1.4, 2.7])
ABOVE_ONE = np.array([1.2, 1.7, 2.5, 4.0])
OTHER = np.array([0.6, 1.9, -1.2, 2.2])

#: name: constructor, NumPy reference, operands inside the domain and away from kinks
FLOAT_TABLE: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "neg": (a.neg, np.negative, (ALL,)),
    "sub": (a.sub, np.subtract, (ALL, OTHER)),
    "mul": (a.mul, np.multiply, (ALL, OTHER)),
    "div": (a.div, np.divide, (ALL, OTHER)),
    "square": (a.square, np.square, (ALL,)),
    "reciprocal": (a.reciprocal, np.reciprocal, (ALL,)),
    "sqrt": (a.sqrt, np.sqrt, (POSITIVE,)),
    "cbrt": (a.cbrt, np.cbrt, (ALL,)),
    "rsqrt": (a.rsqrt, lambda x: 1 / np.sqrt(x), (POSITIVE,)),
    "floor_divide": (a.floor_divide, np.floor_divide, (ALL, OTHER)),
    "remainder": (a.remainder, np.remainder, (ALL, OTHER)),
    "abs": (a.abs, np.abs, (ALL,)),
    "sign": (a.sign, np.sign, (ALL,)),
    "copysign": (a.copysign, np.copysign, (ALL, OTHER)),
    "floor": (a.floor, np.floor, (ALL,)),
    "ceil": (a.ceil, np.ceil, (ALL,)),
    "rint": (a.rint, np.rint, (ALL,)),
    "trunc": (a.trunc, np.trunc, (ALL,)),
    "maximum": (a.maximum, np.maximum, (ALL, OTHER)),
    "minimum": (a.minimum, np.minimum, (ALL, OTHER)),
    "clamp": (lambda x, y: a.clamp(-1.0, x, y), lambda x, y: np.clip(x, -1.0, y), (ALL, OTHER)),
    "clamp bounds": (a.clamp, lambda low, x, high: np.clip(x, low, high), (UNIT, ALL, POSITIVE)),
    "exp": (e.exp, np.exp, (ALL,)),
    "exp2": (e.exp2, np.exp2, (ALL,)),
    "expm1": (e.expm1, np.expm1, (ALL,)),
    "log": (e.log, np.log, (POSITIVE,)),
    "log2": (e.log2, np.log2, (POSITIVE,)),
    "log10": (e.log10, np.log10, (POSITIVE,)),
    "log1p": (e.log1p, np.log1p, (POSITIVE - 0.9,)),
    "pow": (e.pow, np.power, (POSITIVE, OTHER)),
    "pow literal": (lambda x: e.pow(x, 2.5), lambda x: x**2.5, (POSITIVE,)),
    "pow of a literal": (lambda x: e.pow(2.5, x), lambda x: 2.5**x, (ALL,)),
    "sin": (e.sin, np.sin, (ALL,)),
    "cos": (e.cos, np.cos, (ALL,)),
    "tan": (e.tan, np.tan, (UNIT,)),
    "arcsin": (e.arcsin, np.arcsin, (UNIT,)),
    "arccos": (e.arccos, np.arccos, (UNIT,)),
    "arctan": (e.arctan, np.arctan, (ALL,)),
    "arctan2": (e.arctan2, np.arctan2, (ALL, OTHER)),
    "hypot": (e.hypot, np.hypot, (ALL, OTHER)),
    "sinh": (e.sinh, np.sinh, (ALL,)),
    "cosh": (e.cosh, np.cosh, (ALL,)),
    "tanh": (e.tanh, np.tanh, (ALL,)),
    "arcsinh": (e.arcsinh, np.arcsinh, (ALL,)),
    "arccosh": (e.arccosh, np.arccosh, (ABOVE_ONE,)),
    "arctanh": (e.arctanh, np.arctanh, (UNIT,)),
    "gaussian": (s.gaussian, lambda x: np.exp(-x * x), (ALL,)),
    "erf": (s.erf, scipy.special.erf, (ALL,)),
    "erfc": (s.erfc, scipy.special.erfc, (ALL,)),
    "erfinv": (s.erfinv, scipy.special.erfinv, (UNIT,)),
    "lgamma": (s.lgamma, scipy.special.gammaln, (ABOVE_ONE,)),
    "digamma": (s.digamma, scipy.special.digamma, (ABOVE_ONE,)),
    "polygamma": (lambda x: s.polygamma(x, 2), lambda x: scipy.special.polygamma(2, x), (ABOVE_ONE,)),
    "sigmoid": (s.sigmoid, scipy.special.expit, (ALL,)),
    "logaddexp": (s.logaddexp, np.logaddexp, (ALL, OTHER)),
    "select": (lambda x, y: l.select(l.less(x, y), x, y), lambda x, y: np.where(x < y, x, y), (ALL, OTHER)),
    "stop_gradient": (l.stop_gradient, np.positive, (ALL,)),
    **{f"integer_pow {n}": (lambda x, n=n: a.integer_pow(x, n), lambda x, n=n: x**float(n), (POSITIVE,))
       for n in (-20, -3, -1, 0, 1, 2, 3, 5, 16, 20)},
}


WITHOUT_DERIVATIVE = ("floor_divide", "sign", "floor", "ceil", "rint", "trunc", "integer_pow 0", "stop_gradient")


def evaluate_expression(expression: Expression) -> Any:
    if isinstance(expression, Constant):
        return expression.value
    operands = [evaluate_expression(operand) for operand in expression.operands]
    return evaluate_operation(expression.operation, operands, expression.dtype)


class _Element:
    """An operand of one element."""

    def __init__(self, value: Any, described: Any) -> None:
        self.value, self.type = value, described.with_shape(())

    def __call__(self, index: Any) -> Expression:
        assert index == ()
        return Constant(self.value, self.type.dtype)


def check_scalar_lowering(function: Callable[..., Any], arrays: Sequence[Any]) -> None:
    """Each equation's lowering, interpreted for one element, against its evaluation."""
    for point in zip(*(np.ravel(array) for array in arrays), strict=True):
        program = trace(function, *point)
        values = dict(zip(program.inputs, point, strict=True))
        for equation in program.equations:
            operands = [getattr(x, "value", None) if x not in values else values[x] for x in equation.inputs]
            elements = [_Element(v, x.type) for v, x in zip(operands, equation.inputs, strict=True)]
            params = dict(equation.params)
            (var,) = equation.outputs
            found = evaluate_expression(equation.operation.lower(elements, var.type, **params).read(()))
            with np.errstate(all="ignore"):
                expected = np.asarray(equation.operation.evaluate(*map(np.asarray, operands), **params))
            assert found.dtype == expected.dtype == var.type.dtype
            np.testing.assert_array_equal(found, expected)
            values[var] = expected[()]


@pytest.mark.parametrize("name", FLOAT_TABLE)
def test_float_primitive(name: str) -> None:
    function, reference, arrays = FLOAT_TABLE[name]
    program = trace(function, *arrays)
    (found,) = run(program, arrays)
    np.testing.assert_allclose(found, reference(*arrays), rtol=4e-15, atol=1e-300)
    narrow = [x.astype(np.float32) for x in arrays]
    (found,) = run(trace(function, *narrow), narrow)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(*(x.astype(float) for x in narrow)), rtol=3e-6)
    check_batching(program, arrays)
    check_scalar_lowering(function, arrays)
    flags = [True] * len(arrays)
    if name in WITHOUT_DERIVATIVE:
        assert jvp(program, flags)[1] == (False,)
        return
    check_single_precision(function, arrays)
    check_derivatives(program, arrays)
    # The second order: forward over reverse, then forward over forward.
    pulled, _ = vjp(program, flags)
    points = [*arrays, np.full_like(arrays[0], 0.7)]
    check_batching(pulled, points)
    check_derivatives(pulled, points, seed=1)
    pushed, _ = jvp(program, flags)
    directions = [np.random.default_rng(20 + i).standard_normal(x.shape) for i, x in enumerate(arrays)]
    check_derivatives(check(pushed), [*arrays, *directions], seed=2)


@pytest.mark.parametrize("name", [n for n, (_, _, arrays) in FLOAT_TABLE.items() if len(arrays) == 2])
@pytest.mark.parametrize("which", [0, 1])
def test_rank_zero_operands_and_their_cotangents(name: str, which: int) -> None:
    function, reference, arrays = FLOAT_TABLE[name]
    mixed = list(arrays)
    mixed[which] = mixed[which][1]
    program = trace(function, *mixed)
    np.testing.assert_allclose(run(program, mixed)[0], reference(*mixed), rtol=4e-15)
    check_batching(program, mixed)
    if name != "floor_divide":
        check_derivatives(program, mixed)


def derivative(function: Callable[..., Any], point: Sequence[float], position: int = 0, order: int = 1) -> float:
    """The derivative of ``order`` in one operand."""
    values = [np.float64(p) for p in point]
    program = trace(function, *values)
    for _ in range(order):
        flags = [i == position for i in range(len(point))]
        pushed, depends = jvp(program, flags)
        if not depends[0]:
            return 0.0

        def differentiated(*xs: Any, pushed: Any = pushed) -> Any:
            return run(pushed, [*xs, np.float64(1)])[1]

        program = trace(differentiated, *values)
    return float(run(program, values)[0])


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(("function", "point", "position", "order", "expected"), [
    (a.abs, [0.0], 0, 1, 0.0),
    (a.sqrt, [0.0], 0, 1, INF),
    (a.cbrt, [0.0], 0, 1, INF),
    (a.maximum, [1.5, 1.5], 0, 1, 0.5),
    (a.maximum, [1.5, 1.5], 1, 1, 0.5),
    (a.minimum, [1.5, 1.5], 0, 1, 0.5),
    (lambda x: a.clamp(0.0, x, 1.0), [1.0], 0, 1, 0.5),
    (lambda x: a.clamp(0.0, x, 1.0), [0.5], 0, 1, 1.0),
    (lambda x: a.clamp(0.0, x, 1.0), [-3.0], 0, 1, 0.0),
    # The losing branch has an infinite derivative, which must not leak.
    (lambda x: a.maximum(a.sqrt(x), 1.0), [0.0], 0, 1, 0.0),
    (lambda x: l.select(l.less(x, 1.0), x, a.reciprocal(a.mul(x, 0.0))), [0.5], 0, 1, 1.0),
    (a.remainder, [7.5, -2.0], 1, 1, 4.0),
    (a.copysign, [-3.0, 1.0], 0, 1, -1.0),
    # powers at zero
    (lambda x: e.pow(x, 2.0), [0.0], 0, 1, 0.0),
    (lambda x: e.pow(x, 3.0), [0.0], 0, 3, 6.0),
    (lambda x: e.pow(x, 3.0), [0.0], 0, 4, 0.0),
    (lambda x: e.pow(x, 3.0), [0.0], 0, 6, 0.0),
    (e.pow, [0.0, 0.0], 0, 1, 0.0),
    (e.pow, [0.0, 1.0], 0, 1, 1.0),
    (e.pow, [0.0, 2.0], 0, 1, 0.0),
    (e.pow, [0.0, 2.0], 0, 2, 2.0),
    (e.pow, [0.0, 2.0], 0, 3, 0.0),
    (e.pow, [0.0, 2.0], 0, 4, 0.0),
    (e.pow, [0.0, 2.0], 1, 1, 0.0),
    (e.pow, [0.0, 2.0], 1, 2, 0.0),
    (e.pow, [0.0, 0.0], 1, 1, 0.0),
    (e.pow, [0.0, -1.0], 1, 1, -INF),
    (e.pow, [-2.0, 3.0], 0, 1, 12.0),
    (e.pow, [3.0, 0.0], 0, 1, 0.0),
    (lambda x: a.integer_pow(x, 3), [0.0], 0, 4, 0.0),
    (lambda x: a.integer_pow(x, -2), [2.0], 0, 1, -0.25),
    # far out, where squares overflow or differences cancel
    (e.arcsinh, [1e200], 0, 1, 1e-200),
    (e.arccosh, [1e200], 0, 1, 1e-200),
    (e.arctan, [1e200], 0, 1, 0.0),
    (e.arctan2, [3e200, 4e200], 0, 1, 0.16e-200),
    (e.arctan2, [3e200, 4e200], 1, 1, -0.12e-200),
    (e.arctan2, [0.0, 0.0], 0, 1, NAN),
    (e.hypot, [3e200, 4e200], 0, 1, 0.6),
    (e.hypot, [0.0, 0.0], 0, 1, 0.0),
    (e.hypot, [0.0, 0.0], 0, 2, 0.0),
    (e.expm1, [-50.0], 0, 1, 1.928749847963918e-22),
    (e.arcsin, [1.0], 0, 1, INF),
    (e.arccos, [1.0], 0, 1, -INF),
    (e.arctanh, [1.0], 0, 1, INF),
    (e.log, [0.0], 0, 1, INF),
    # 1/sqrt((1-x)(1+x)) with 1-x = 2**-53 exactly
    (e.arcsin, [1 - 2.0**-53], 0, 1, 67108864.00000000186),
    (s.logaddexp, [INF, INF], 0, 1, 0.5),
    (s.logaddexp, [-INF, -INF], 0, 1, 0.5),
    (s.logaddexp, [-INF, 0.0], 0, 1, 0.0),
    (s.logaddexp, [-INF, 0.0], 1, 1, 1.0),
    (s.logaddexp, [2.0, 2.0], 0, 2, 0.25),
    (s.logaddexp, [1e6, 1e6 + 1], 0, 1, 0.2689414213699951),
    (s.sigmoid, [-800.0], 0, 1, 0.0),
    (s.erf, [0.0], 0, 1, 1.1283791670955126),
    (lambda x: a.mul(l.stop_gradient(x), x), [3.0], 0, 1, 3.0),
])
def test_derivative_at_a_special_point(function: Any, point: Any, position: int, order: int, expected: float) -> None:
    np.testing.assert_allclose(derivative(function, point, position, order), expected, rtol=4e-15)


def test_mixed_derivative_of_pow_where_the_exponent_is_zero() -> None:
    # d/dy d/dx x**y = x**(y-1) (1 + y log x), which is 1/x at y = 0.
    program = trace(e.pow, np.float64(3), np.float64(0))
    first, _ = jvp(program, [True, False])
    slope = trace(lambda x, y: run(first, [x, y, np.float64(1)])[1], np.float64(3), np.float64(0))
    mixed, _ = jvp(slope, [False, True])
    np.testing.assert_allclose(run(mixed, [np.float64(3), np.float64(0), np.float64(1)])[1], 1 / 3, rtol=1e-15)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("point", [0.25, 1.0, 7.5, 300.0, -0.75, -12.3])
def test_every_derivative_of_lgamma(point: float, order: int) -> None:
    expected = float(mpmath.psi(order - 1, point))
    np.testing.assert_allclose(derivative(s.lgamma, [point], order=order), expected, rtol=2e-13)


@pytest.mark.parametrize(("function", "reference", "point"), [
    (e.tanh, mpmath.tanh, 0.8), (e.arctan, mpmath.atan, 1.3), (s.erf, mpmath.erf, 0.6),
    (s.gaussian, lambda x: mpmath.exp(-x * x), 0.7),
    (s.erfinv, mpmath.erfinv, 0.4),
    (e.log1p, lambda x: mpmath.log(1 + x), 1e-3), (e.tan, mpmath.tan, 1.1), (e.arcsinh, mpmath.asinh, -2.0),
    (s.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), 1.5), (a.rsqrt, lambda x: 1 / mpmath.sqrt(x), 0.7),
    (e.arccosh, mpmath.acosh, 1.5), (a.cbrt, mpmath.cbrt, 2.0), (e.exp2, lambda x: 2**x, 0.3),
    (e.log2, lambda x: mpmath.log(x, 2), 1.7), (e.log10, mpmath.log10, 0.2), (e.arccos, mpmath.acos, 0.5),
])
def test_four_derivatives_against_mpmath(function: Any, reference: Any, point: float) -> None:
    with mpmath.workdps(60):
        expected = [float(mpmath.diff(reference, mpmath.mpf(point), n)) for n in range(1, 5)]
    found = [derivative(function, [point], order=n) for n in range(1, 5)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


# ------------------------------------------------------------------------------------------------ dtypes and errors


@pytest.mark.parametrize("dtype", SUPPORTED, ids=str)
@pytest.mark.parametrize(("constructor", "reference"), [
    (l.less, np.less), (l.less_equal, np.less_equal), (l.greater, np.greater), (l.greater_equal, np.greater_equal),
    (l.equal, np.equal), (l.not_equal, np.not_equal)])
def test_comparisons(constructor: Any, reference: Any, dtype: Any) -> None:
    x, y = np.array([0, 1, 1, 0], dtype), np.array([1, 0, 1, 0], dtype)
    program = trace(constructor, x, y)
    found = run(program, [x, y])[0]
    assert found.dtype == bool_
    np.testing.assert_array_equal(found, reference(x, y))
    check_batching(program, [x, y])


@pytest.mark.parametrize("dtype", [d for d in SUPPORTED if d.kind in "biu"], ids=str)
@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "left_shift",
                                  "right_shift", "logical_and", "logical_or", "logical_xor", "logical_not"])
def test_logic_and_bits(name: str, dtype: Any) -> None:
    operands = [np.array([0, 1, 3, 100], dtype), np.array([1, 7, 9, 90], dtype)][: 1 if name.endswith("not") else 2]
    refused = (dtype == bool_ and "shift" in name) or (dtype != bool_ and "logical" in name)
    if refused:
        with pytest.raises(DTypeError, match=name):
            trace(getattr(l, name), *operands)
        return
    found = run(trace(getattr(l, name), *operands), operands)[0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, getattr(np, name)(*operands))
    check_scalar_lowering(getattr(l, name), operands)


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite"])
def test_classification(name: str) -> None:
    values = np.array([0.0, INF, -INF, NAN, 1e308])
    np.testing.assert_array_equal(run(trace(getattr(l, name), values), [values])[0], getattr(np, name)(values))


@pytest.mark.parametrize("exponent", [0, 1, 5, 63])
@pytest.mark.parametrize("dtype", [int32, int64, uint8], ids=str)
def test_integer_powers_of_integers_wrap(dtype: Any, exponent: int) -> None:
    base = np.array([0, 1, 3, 7], dtype)
    found = run(trace(lambda x: a.integer_pow(x, exponent), base), [base])[0]
    expected = np.array([pow(int(b), exponent, 1 << (8 * dtype.itemsize)) for b in base], np.uint64).astype(dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    check_scalar_lowering(lambda x: a.integer_pow(x, exponent), [base])


def test_integer_division_is_numpys() -> None:
    lowest = np.iinfo(np.int32).min
    x, y = np.array([7, -7, 7, -7, 5, lowest], np.int32), np.array([2, 2, -2, -2, 0, -1], np.int32)
    np.testing.assert_array_equal(run(trace(a.floor_divide, x, y), [x, y])[0], [3, -4, -4, 3, 0, lowest])
    np.testing.assert_array_equal(run(trace(a.remainder, x, y), [x, y])[0], [1, 1, -1, -1, 0, 0])


def test_convert_between_floats_carries_derivatives() -> None:
    x = np.array([1.5, -2.25], np.float32)
    program = trace(lambda v: a.square(l.convert(v, float64)), x)
    pulled, _ = vjp(program, [True])
    value, cotangent = run(pulled, [x, np.ones(2)])
    assert value.dtype == float64 and cotangent.dtype == float32
    np.testing.assert_array_equal(cotangent, 2 * x)
    assert jvp(trace(lambda v: l.convert(l.convert(v, int64), float64), x), [True])[1] == (False,)


def test_python_scalars_adopt_the_other_dtype() -> None:
    x = np.ones(3, np.float32)
    for constructor in (a.mul, a.sub, a.div, a.maximum, e.pow, e.hypot, s.logaddexp):
        assert trace(lambda v, c=constructor: c(v, 2), x).outputs[0].type.dtype == float32
        assert trace(lambda v, c=constructor: c(0.1, v), x).outputs[0].type.dtype == float32
    weak = trace(lambda v: [a.mul(2, 3.0), a.mul(v, 2.0)], x)
    assert weak.outputs[0].type.weak and weak.outputs[0].type.dtype == float64
    assert not weak.outputs[1].type.weak
    with pytest.raises(DTypeError, match="does not fit"):
        trace(lambda v: a.mul(v, 1.5), np.arange(3))
    with pytest.raises(OverflowError, match="300"):
        trace(lambda v: a.mul(v, 300), np.ones(3, np.uint8))


def test_constructors_evaluate_outside_of_tracing() -> None:
    found = e.exp(np.float32(0))
    assert found == 1 and dtype_of(found) == float32
    assert a.maximum(np.array([1, 5]), 3).tolist() == [3, 5]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: a.sub(np.ones(2, bool), np.ones(2, bool)), DTypeError, "sub: expected operands of an integer, float or complex"),
    (lambda: a.mul(np.ones(2), np.ones(2, np.float32)), DTypeError, "mul: operands must have one dtype"),
    (lambda: e.sin(np.arange(3)), DTypeError, "sin: expected operands of a float"),
    (lambda: a.mul(np.ones(2), np.ones(3)), ShapeError, "mul: operands must have one shape"),
    (lambda: a.integer_pow(np.arange(3), -1), ArgumentError, "negative powers"),
    (lambda: l.select(np.ones(2), np.ones(2), np.ones(2)), DTypeError, "condition"),
    (lambda: s.polygamma(np.ones(2), 0), ArgumentError, "order of at least 1"),
])
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_transposing_what_is_not_linear_is_refused() -> None:
    x = np.ones(2)
    for function in (e.exp, lambda v: a.div(1.0, v), lambda v: a.mul(v, v)):
        with pytest.raises(NotDifferentiableError, match="linear"):
            transpose(trace(function, x), [True])


def test_linear_primitives_transpose() -> None:
    x = np.array([1.0, 2.0, 3.0])
    weights = np.array([True, False, True])
    program = trace(lambda v, w: add(a.sub(a.mul(v, 3.0), a.neg(a.div(v, 2.0))), l.select(w, v, 0.0)), x, weights)
    np.testing.assert_allclose(run(transpose(program, [True, False]), [weights, x])[0], 3.5 * x + weights * x)
