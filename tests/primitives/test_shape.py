"""reshape, slice, reverse, concatenate, pad, iota, unit_vectors."""

from __future__ import annotations

import numpy as np
import pytest
from rule_checks import check_function, check_lowering, trace

from gradxform.core import run
from gradxform.errors import AxisError, DTypeError, ShapeError
from gradxform.loopir.expression import Load, Symbol, axis, index_add
from gradxform.primitives import shape as s
from gradxform.primitives.arithmetic import mul

RANDOM = np.random.default_rng(0)


def squared(function):
    """Nonlinear around the linear primitive, so that second derivatives say something."""
    return lambda *xs: mul(function(*xs), function(*xs))


RESHAPES = [((6,), (2, 3)), ((2, 3, 4), (6, 4)), ((2, 3, 4), (2, 12)), ((4, 6), (2, 2, 3, 2)), ((4, 6), (6, 4)),
            ((1, 5, 1), (5,)), ((), (1, 1)), ((1, 1), ()), ((0, 3), (3, 0, 2)), ((2, 1, 3), (1, 2, 3, 1))]


@pytest.mark.parametrize(("old", "new"), RESHAPES)
def test_reshape(old, new):
    x = RANDOM.standard_normal(old)
    check_function(squared(lambda a: s.reshape(a, new)), [x], lambda a: np.reshape(a, new) ** 2)


def test_reshape_keeps_untouched_axes_symbols():
    program = trace(lambda a: s.reshape(a, (5, 12, 7)), np.zeros((5, 3, 4, 7)))
    (equation,) = program.equations

    class Operand:
        type = program.inputs[0].type

        def __call__(self, index):
            return Load("x", index, self.type.dtype)

    i, j, k = axis("i", 5), axis("j", 12), axis("k", 7)
    read = equation.operation.lower([Operand()], equation.outputs[0].type, **dict(equation.params)).read((i, j, k))
    assert read.index[0] is i and read.index[3] is k
    assert not isinstance(read.index[1], Symbol)
    # A split that undoes a merge is recognised: the flat index comes apart into its axes again.
    outer, inner = axis("p", 3), axis("q", 4)
    from gradxform.loopir.expression import index_mul

    merged = index_add(index_mul(outer, 4), inner)
    read = equation.operation.lower([Operand()], equation.outputs[0].type, **dict(equation.params)).read((i, merged, k))
    assert read.index[1] is outer and read.index[2] is inner


def test_reshape_refuses_another_size():
    with pytest.raises(ShapeError, match=r"reshape.*6 elements"):
        trace(lambda a: s.reshape(a, (4,)), np.zeros((2, 3)))


SLICES = [((7,), (1,), (6,), (2,)), ((5, 6), (0, 2), (5, 6), (2, 3)),
          ((5,), (2,), (2,), (1,)), ((0, 3), (0, 1), (0, 3), (1, 2)),
          ((4, 4), (3, 0), (4, 4), (5, 1)), ((), (), (), ())]


@pytest.mark.parametrize(("shape", "start", "limit", "strides"), SLICES)
def test_slice(shape, start, limit, strides):
    x = RANDOM.standard_normal(shape)
    slices = tuple(slice(*bounds) for bounds in zip(start, limit, strides, strict=True))
    check_function(squared(lambda a: s.slice_array(a, start, limit, strides)), [x],
                   lambda a: np.asarray(a[slices]) ** 2)


def test_slice_refuses_bounds_outside():
    with pytest.raises(ShapeError, match="slice"):
        trace(lambda a: s.slice_array(a, (0,), (4,), (1,)), np.zeros(3))
    with pytest.raises(ShapeError, match="strides"):
        trace(lambda a: s.slice_array(a, (0,), (3,), (0,)), np.zeros(3))


@pytest.mark.parametrize(("shape", "axes"), [((4,), (0,)), ((2, 3), (0, 1)), ((2, 3, 2), (1,)), ((0, 2), (0,))])
def test_reverse(shape, axes):
    x = RANDOM.standard_normal(shape)
    check_function(squared(lambda a: s.reverse(a, axes)), [x], lambda a: np.flip(a, axes) ** 2)


def test_reverse_of_reshape_lowers_right():
    x = np.arange(24.0).reshape(4, 6)
    program = trace(lambda a: s.reshape(s.reverse(s.reshape(a, (2, 12)), (1,)), (3, 8)), x)
    expected = np.flip(x.reshape(2, 12), 1).reshape(3, 8)
    np.testing.assert_array_equal(run(program, [x])[0], expected)
    check_lowering(program, [x])


@pytest.mark.parametrize(("shapes", "axis_"), [(((2,), (3,)), 0), (((2, 1), (2, 0), (2, 3)), 1),
                                               (((1, 2), (3, 2), (2, 2)), 0), (((0,), (0,)), 0)])
def test_concatenate(shapes, axis_):
    arrays = [RANDOM.standard_normal(shape) for shape in shapes]
    check_function(squared(lambda *xs: s.concatenate(xs, axis_)), arrays, lambda *xs: np.concatenate(xs, axis_) ** 2)


def test_concatenate_of_many_is_shallow():
    arrays = [np.full(1, float(i)) for i in range(1000)]
    program = trace(lambda *xs: s.concatenate(xs, 0), *arrays)
    check_lowering(program, arrays)


def test_concatenate_refuses_unequal_extents():
    with pytest.raises(ShapeError, match="concatenate"):
        trace(lambda a, b: s.concatenate([a, b], 0), np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(DTypeError, match="concatenate"):
        trace(lambda a, b: s.concatenate([a, b], 0), np.zeros(2), np.zeros(3, np.float32))
    with pytest.raises(AxisError):
        trace(lambda a, b: s.concatenate([a, b], 1), np.zeros(2), np.zeros(3))


def padded(x, value, low, high, interior):
    """pad, by inserting one element at a time."""
    for a in range(x.ndim):
        rows = [x.take([i], a) for i in range(x.shape[a])]
        fill = np.full((*x.shape[:a], 1, *x.shape[a + 1:]), value)
        line = [fill] * low[a]
        for i, row in enumerate(rows):
            line += ([fill] * interior[a] if i else []) + [row]
        line += [fill] * high[a]
        x = np.concatenate(line, a) if line else x
    return x


PADS = [((3,), (1,), (2,), (0,)), ((3,), (2,), (0,), (2,)), ((2, 3), (0, 1), (1, 0), (1, 0)), ((0,), (2,), (1,), (3,)),
        ((2, 2), (3, 1), (0, 5), (1, 2)), ((1,), (0,), (0,), (4,))]


@pytest.mark.parametrize(("shape", "low", "high", "interior"), PADS)
def test_pad(shape, low, high, interior):
    x, value = RANDOM.standard_normal(shape), np.float64(0.7)
    check_function(squared(lambda a, v: s.pad(a, v, low, high, interior)), [x, value],
                   lambda a, v: padded(a, v, low, high, interior) ** 2)


def test_pad_takes_a_python_value_in_the_dtype_of_the_array():
    program = trace(lambda a: s.pad(a, 1, (1,), (0,), (0,)), np.zeros(2, np.float32))
    np.testing.assert_array_equal(run(program, [np.zeros(2, np.float32)])[0], np.array([1, 0, 0], np.float32))
    with pytest.raises(ShapeError, match="pad"):
        trace(lambda a: s.pad(a, 1.0, (-1,), (0,), (0,)), np.zeros(2))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.float32, np.float64])
def test_iota(dtype):
    program = trace(lambda: s.iota((2, 3), np.dtype(dtype), 1))
    expected = np.array([[0, 1, 2], [0, 1, 2]], dtype)
    (found,) = run(program, [])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == dtype
    check_lowering(program, [])


def test_iota_refuses_booleans():
    with pytest.raises(DTypeError, match="iota"):
        trace(lambda: s.iota((2,), np.dtype(np.bool_), 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_vectors(dtype):
    program = trace(lambda: s.unit_vectors(3, np.dtype(dtype)))
    (found,) = run(program, [])
    np.testing.assert_array_equal(found, np.eye(3))
    assert found.dtype == dtype
    check_lowering(program, [])
    with pytest.raises(DTypeError, match="unit_vectors"):
        trace(lambda: s.unit_vectors(3, np.dtype(np.int64)))
