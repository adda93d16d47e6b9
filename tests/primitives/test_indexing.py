"""gather and scatter against loops over elements: values, derivatives of two orders, batches, compiled code, errors."""

from itertools import product

import numpy as np
import pytest
from rule_checks import check_adjoint, check_batching, check_derivatives, trace

import gradxform as gx
from gradxform.core import run
from gradxform.errors import ArgumentError, DTypeError, IndexRangeError, NotDifferentiableError, ShapeError
from gradxform.primitives import gather, mul, scatter
from gradxform.transforms import jvp, transpose

GENERATOR = np.random.default_rng(7)
COMBINE = {"set": lambda old, new: new, "add": lambda old, new: old + new, "mul": lambda old, new: old * new,
           "max": max, "min": min}

#: shape of x, shape of the index arrays, addressed axes, number of batch axes
LAYOUTS = [
    ((5,), (), (0,), 0),
    ((5,), (4,), (0,), 0),
    ((4, 3), (2, 3), (0,), 0),
    ((4, 3), (6,), (1,), 0),
    ((3, 4, 2), (5,), (0, 2), 0),
    ((3, 4, 2), (2, 2), (0, 1, 2), 0),
    ((2, 4), (2, 3), (1,), 1),
    ((2, 3, 4, 2), (2, 3), (1, 3), 1),
    ((2, 2, 4), (2, 2, 3), (2,), 2),
    ((3, 0), (2,), (0,), 0),
    ((3, 2), (0,), (0,), 0),
]


def make(layout, low=0, high=0):
    shape, index_shape, axes, _ = layout
    x = GENERATOR.standard_normal(shape)
    indices = [GENERATOR.integers(-low, shape[a] + high, index_shape) for a in axes]
    rest = [n for a, n in enumerate(shape) if a >= layout[3] and a not in axes]
    return x, GENERATOR.standard_normal((*index_shape, *rest)), indices


def targets(x, indices, axes, batch_rank):
    """For each point of B + S + R, in order, the element of x that it means; clipped."""
    index_shape = np.shape(indices[0])
    others = [a for a in range(x.ndim) if a >= batch_rank and a not in axes]
    for point in product(*map(range, (*index_shape, *(x.shape[a] for a in others)))):
        target = list(point[:batch_rank]) + [0] * (x.ndim - batch_rank)
        for a, index in zip(axes, indices, strict=True):
            target[a] = int(np.clip(index[point[: len(index_shape)]], 0, x.shape[a] - 1))
        for a, position in zip(others, point[len(index_shape):], strict=True):
            target[a] = position
        yield point, tuple(target)


def gathered(x, indices, axes, batch_rank, shape):
    result = np.zeros(shape)
    for point, target in targets(x, indices, axes, batch_rank):
        result[point] = x[target]
    return result


def scattered(x, updates, indices, axes, batch_rank, operation):
    result = x.copy()
    for point, target in targets(x, indices, axes, batch_rank):
        result[target] = COMBINE[operation](result[target], updates[point])
    return result


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("mode", ["check", "clip", "inside"])
def test_gather(layout, mode):
    out_of_range = 2 if mode == "clip" else 0
    x, updates, indices = make(layout, out_of_range, out_of_range)
    *_, axes, batch_rank = layout

    def function(x, *indices):
        return gather(x, *indices, axes=axes, batch_rank=batch_rank, mode=mode)

    program = trace(function, x, *indices)
    expected = gathered(x, indices, axes, batch_rank, updates.shape)
    np.testing.assert_array_equal(run(program, [x, *indices])[0], expected)
    np.testing.assert_array_equal(gx.jit(function)(x, *indices), expected)
    check_derivatives(program, [x, *indices])
    check_batching(program, [x, *indices])


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("operation", COMBINE)
@pytest.mark.parametrize("mode", ["check", "clip"])
def test_scatter(layout, operation, mode):
    out_of_range = 2 if mode == "clip" else 0
    x, updates, indices = make(layout, out_of_range, out_of_range)
    *_, axes, batch_rank = layout

    def function(x, updates, *indices):
        return scatter(x, updates, *indices, axes=axes, batch_rank=batch_rank, mode=mode, operation=operation)

    program = trace(function, x, updates, *indices)
    expected = scattered(x, updates, indices, axes, batch_rank, operation)
    np.testing.assert_array_equal(run(program, [x, updates, *indices])[0], expected)
    np.testing.assert_array_equal(gx.jit(function)(x, updates, *indices), expected)
    check_batching(program, [x, updates, *indices])
    check_derivatives(program, [x, updates, *indices])
    pushed, _ = jvp(program, [True, True] + [False] * len(indices))
    check_adjoint(pushed, [x, updates, *indices, GENERATOR.standard_normal(x.shape),
                           GENERATOR.standard_normal(updates.shape)])


@pytest.mark.parametrize("operation", COMBINE)
def test_second_derivatives_with_repeated_indices(operation):
    # Twice 1 and thrice 3; the zeros make products whose first derivatives vanish and whose second ones do not.
    x = np.array([0.5, 1.5, -0.7, 2.0])
    updates = np.array([0.0, 1.25, 0.0 if operation == "mul" else 0.3, 0.6, -0.4])
    indices = np.array([1, 3, 1, 3, 3])

    def function(x, updates, indices):
        y = scatter(x, updates, indices, axes=(0,), operation=operation)
        return mul(y, y)

    program = trace(function, x, updates, indices)
    check_derivatives(program, [x, updates, indices])
    pushed, _ = jvp(program, [True, True, False])
    check_derivatives(pushed, [x, updates, indices, GENERATOR.standard_normal(4), GENERATOR.standard_normal(5)])


def test_set_differentiates_the_last_update_only():
    program = trace(lambda u, i: scatter(gather(u, i, axes=(0,)), u, i, axes=(0,)), np.ones(3), np.array([1, 1, 1]))
    transposed = transpose(program, [True, False])
    # x = (u1, u1, u1) with its middle overwritten by u2.
    np.testing.assert_array_equal(run(transposed, [np.array([1, 1, 1]), np.array([2.0, 3.0, 5.0])])[0], [0.0, 7.0, 3.0])


@pytest.mark.parametrize("operation", ["max", "min"])
def test_ties_share_the_derivative_evenly(operation):
    program = trace(lambda x, u, i: scatter(x, u, i, axes=(0,), operation=operation),
                    np.ones(2), np.ones(3), np.array([0, 0, 1]))
    pushed, _ = jvp(program, [True, True, False])
    tangent = run(pushed, [np.ones(2), np.ones(3), np.array([0, 0, 1]), np.array([3.0, 2.0]),
                           np.array([6.0, 9.0, 4.0])])[1]
    np.testing.assert_allclose(tangent, [6.0, 3.0], rtol=1e-15)


@pytest.mark.parametrize("index, shown", [(3, 3), (7, 7), (-1, -4)])
def test_an_index_out_of_range_is_an_index_error(index, shown):
    def read(x, i):
        return gather(x, i, axes=(0,))

    def write(x, i):
        return scatter(x, np.float64(1.0), i, axes=(0,), operation="add")

    for function in (read, write):
        program = trace(function, np.ones(3), np.array(0))
        with pytest.raises(IndexRangeError, match=f"index {shown} is out of bounds for axis 0 with size 3"):
            run(program, [np.ones(3), np.array(index)])
        with pytest.raises(IndexError):
            gx.jit(function)(np.ones(3), np.array(index))
    np.testing.assert_array_equal(gx.jit(read)(np.arange(3.0), np.array(2)), 2.0)


def test_what_does_not_fit_is_refused():
    x, i = np.ones((3, 2)), np.zeros(4, np.int64)
    with pytest.raises(ShapeError):
        gather(x, i, axes=(0, 1))
    with pytest.raises(ShapeError):
        gather(x, i.astype(np.float64), axes=(0,))
    with pytest.raises(ShapeError):
        gather(x, i, axes=(1,), batch_rank=1)
    with pytest.raises(ArgumentError):
        gather(x, i, axes=(0,), mode="wrap")
    with pytest.raises(ShapeError):
        gather(np.ones((0, 2)), i, axes=(0,), mode="clip")
    with pytest.raises(ShapeError):
        scatter(x, np.ones((4, 3)), i, axes=(0,))
    with pytest.raises(DTypeError):
        scatter(x, np.ones((4, 2), np.float32), i, axes=(0,))
    with pytest.raises(DTypeError):
        scatter(np.ones(3, bool), np.ones(4, bool), i, axes=(0,), operation="add")
    with pytest.raises(ArgumentError):
        scatter(x, np.ones((4, 2)), i, axes=(0,), operation="sub")


def test_products_are_not_linear_in_repeated_updates():
    program = trace(lambda u, i: scatter(gather(u, i, axes=(0,)), u, i, axes=(0,), operation="mul"),
                    np.ones(2), np.array([0, 0]))
    with pytest.raises(NotDifferentiableError):
        transpose(program, [True, False])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32, np.uint8, np.bool_])
def test_dtypes_are_kept(dtype):
    x, updates, indices = np.array([1, 0, 1]).astype(dtype), np.array([0, 1]).astype(dtype), np.array([2, 0])
    read = gx.jit(lambda x, i: gather(x, i, axes=(0,)))(x, indices)
    written = gx.jit(lambda x, u, i: scatter(x, u, i, axes=(0,)))(x, updates, indices)
    assert read.dtype == written.dtype == dtype
    np.testing.assert_array_equal(read, x[indices])
    np.testing.assert_array_equal(written, np.array([1, 0, 0]).astype(dtype))
