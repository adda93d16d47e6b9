"""Reductions and running reductions."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from rule_checks import check_batching, check_function, check_lowering, trace

from gradxform.core import run
from gradxform.errors import AxisError, DTypeError, ShapeError
from gradxform.linear import reduce_sum
from gradxform.primitives import cumulative as c
from gradxform.primitives import reductions as r
from gradxform.primitives.arithmetic import mul
from gradxform.transforms import jvp, vjp

RANDOM = np.random.default_rng(1)
AXES = [((5,), (0,)), ((2, 3), (1,)),
        ((2, 3), (0, 1)), ((2, 3, 2), (0, 2)), ((7, 1), (0,)), ((0, 2), (1,)), ((2, 1), (1,))]


@pytest.mark.parametrize(("shape", "axes"), AXES)
@pytest.mark.parametrize("name", ["reduce_prod", "reduce_max", "reduce_min"])
def test_float_reductions(name, shape, axes):
    reference = {"reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}[name]
    x = RANDOM.permutation(np.linspace(-1.5, 2.0, prod(shape))).reshape(shape)
    function = getattr(r, name)
    check_function(lambda a: mul(function(a, axes), function(a, axes)), [x], lambda a: reference(a, axis=axes) ** 2)


@pytest.mark.parametrize("name", ["reduce_prod", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint32, np.int64])
def test_integer_reductions_keep_their_dtype(name, dtype):
    x = np.array([[1, 0, 2], [3, 1, 1]]).astype(dtype)
    reference = {"reduce_prod": np.multiply, "reduce_max": np.maximum, "reduce_min": np.minimum}[name].reduce
    program = trace(lambda a: getattr(r, name)(a, (1,)), x)
    np.testing.assert_array_equal(run(program, [x])[0], reference(x, axis=1, dtype=dtype))
    check_lowering(program, [x])


@pytest.mark.parametrize("name", ["reduce_and", "reduce_or"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 0)])
def test_logical_reductions(name, shape):
    x = RANDOM.random(shape) < 0.6
    program = trace(lambda a: getattr(r, name)(a, (1,)), x)
    np.testing.assert_array_equal(run(program, [x])[0], {"reduce_and": np.all, "reduce_or": np.any}[name](x, axis=1))
    check_lowering(program, [x])
    check_batching(program, [x])
    with pytest.raises(DTypeError, match=name):
        trace(lambda a: getattr(r, name)(a, (0,)), np.zeros(3))


def test_reductions_of_nothing():
    empty = np.zeros((0, 3))
    for function in (r.reduce_max, r.reduce_min):
        with pytest.raises(ShapeError, match="zero-size array"):
            trace(lambda a, f=function: f(a, (0,)), empty)
    np.testing.assert_array_equal(run(trace(lambda a: r.reduce_prod(a, (0,)), empty), [empty])[0], np.ones(3))
    assert jvp(trace(lambda a: r.reduce_prod(a, (0,)), empty), [True])[1] == (False,)
    with pytest.raises(AxisError):
        trace(lambda a: r.reduce_prod(a, (2,)), empty)


def hessian_of(function, x):
    """By jvp of vjp, column by column."""
    pulled, _ = vjp(trace(function, x), [True])
    pushed, depends = jvp(pulled, [True, False])
    if not depends[1]:
        return np.zeros((x.size, x.size))
    return np.stack([run(pushed, [x, np.float64(1.0), unit])[-1] for unit in np.eye(x.size)])


def leave_out(x, *positions):
    return np.prod(np.delete(x, positions))


@pytest.mark.parametrize("x", [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0, 5.0], [2.0, 0.0, 0.0, 5.0, 7.0], [0.0] * 3, [3.0]])
def test_product_derivatives_are_exact_with_zeros(x):
    x = np.array(x)
    n = x.size
    for function in (lambda a: r.reduce_prod(a, (0,)),
                     lambda a: reduce_sum(c.slice_along(c.cumprod(a, 0), 0, n - 1, n), (0,))):
        pulled, _ = vjp(trace(function, x), [True])
        np.testing.assert_array_equal(run(pulled, [x, np.float64(1.0)])[1], [leave_out(x, i) for i in range(n)])
        expected = [[0.0 if i == j else leave_out(x, i, j) for j in range(n)] for i in range(n)]
        np.testing.assert_array_equal(hessian_of(function, x), expected)


def test_extremum_ties_share_and_nan_propagates():
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [1.0, np.nan, 0.0]])
    program = trace(lambda a: r.reduce_max(a, (1,)), x)
    value, cotangent = run(vjp(program, [True])[0], [x, np.ones(3)])
    np.testing.assert_array_equal(value, [3.0, 2.0, np.nan])
    np.testing.assert_allclose(cotangent[:2], [[0, 0.5, 0.5], [1 / 3] * 3])
    tangent = run(jvp(program, [True])[0], [x, np.ones((3, 3))])[1]
    np.testing.assert_allclose(tangent, [1.0, 1.0, np.nan])
    assert np.isinf(run(trace(lambda a: r.reduce_min(a, (0,)), x[0]), [np.array([np.inf, np.inf, np.inf])])[0])


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [0, 1])
def test_arguments(name, axis):
    reference = {"argmax": np.argmax, "argmin": np.argmin}[name]
    cases = [np.array([[1.0, 5.0, 5.0], [-0.0, 0.0, -1.0], [np.nan, 9.0, np.nan]]), np.array([[2, 1], [1, 2]], np.int8),
             np.array([[True, False], [False, False]]), np.full((2, 2), -np.inf), np.full((2, 3), np.inf)]
    for x in cases:
        program = trace(lambda a: getattr(r, name)(a, axis), x)
        (found,) = run(program, [x])
        np.testing.assert_array_equal(found, reference(x, axis=axis))
        assert found.dtype == np.int64
        check_lowering(program, [x])
        check_batching(program, [x])
    with pytest.raises(ShapeError, match=name):
        trace(lambda a: getattr(r, name)(a, 0), np.zeros((0, 2)))


def test_argmax_has_no_tangent():
    _, depends = jvp(trace(lambda a: r.argmax(a, 0), np.ones(3)), [True])
    assert depends == (False,)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((2, 4), 1), ((3, 2), 0), ((1,), 0), ((0, 2), 0),
                                             ((8,), 0), ((2,), 0)])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin"])
def test_cumulative(name, shape, axis, reverse):
    reference = {"cumsum": np.cumsum, "cumprod": np.cumprod, "cummax": np.maximum.accumulate,
                 "cummin": np.minimum.accumulate}[name]
    x = RANDOM.permutation(np.linspace(-1.6, 1.5, prod(shape))).reshape(shape)

    def expected(a):
        a = np.flip(a, axis) if reverse else a
        a = reference(a, axis=axis)
        return (np.flip(a, axis) if reverse else a) ** 2

    def function(a):
        y = getattr(c, name)(a, axis, reverse)
        return mul(y, y)

    check_function(function, [x], expected)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint64])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin"])
def test_integer_cumulative(name, dtype):
    accumulate = {"cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum}[name].accumulate
    x = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
    program = trace(lambda a: getattr(c, name)(a, 1), x)
    np.testing.assert_array_equal(run(program, [x])[0], accumulate(x, axis=1, dtype=dtype))
    check_lowering(program, [x])


def test_cumulative_extremum_conventions():
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0, np.nan, 5.0])
    t = np.array([10.0, 1.0, 2.0, 50.0, 6.0, 7.0, 8.0])
    value, tangent = run(jvp(trace(lambda a: c.cummax(a, 0), x), [True])[0], [x, t])
    np.testing.assert_array_equal(value, [1, 3, 3, 3, 3, np.nan, np.nan])
    np.testing.assert_allclose(tangent, [10, 1, 1.5, 1.5, 3, np.nan, np.nan])


def test_derivative_of_a_long_running_product_is_small():
    program, _ = jvp(trace(lambda a: c.cumprod(a, 0), np.zeros(1000)), [True])
    assert sum(var.type.size for e in program.equations for var in e.outputs) < 60 * 1000
