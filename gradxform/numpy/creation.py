"""Creation: arrays of constants, ranges, grids, triangles and diagonals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core import Tracer, dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.dtypes import float64, int64, is_complex, is_differentiable, python_scalar_dtype
from gradxform.errors import ArgumentError, ShapeError
from gradxform.indexing import get
from gradxform.linear import broadcast
from gradxform.linear import full as filled
from gradxform.numpy.dispatch import as_inexact, refuse_unless, traced
from gradxform.numpy.manipulation import moveaxis, reshape, static_extents, static_integers, with_rank
from gradxform.numpy.ufuncs import absolute, floor, log10, power, sign
from gradxform.operands import (
    as_operand,
    broadcast_operands,
    broadcast_to,
    cast,
    lift,
    normalize_axis,
    promote_operands,
    promoted_type,
    supported_dtype,
)
from gradxform.primitives import logic
from gradxform.primitives import shape as primitives
from gradxform.primitives.indexing import gather, scatter

# --------------------------------------------------------------------------------------------------- conversion


@traced(np.array)
def array(object: Any, dtype: Any = None, *, copy: Any = True, order: str = "K", subok: bool = False, ndmin: int = 0,
          like: Any = None) -> Any:
    """An array from numbers, arrays and nested sequences of them, traced ones included."""
    x = asarray(object, dtype)
    return reshape(x, (1,) * (ndmin - x.ndim) + x.shape) if ndmin > x.ndim else x


@traced(np.asarray)
def asarray(a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None,
            like: Any = None) -> Any:
    """``a`` as an array; a traced array stays itself, unless ``copy`` is true."""
    operand = as_operand("asarray", a)
    if isinstance(operand, Tracer) and dtype is not None:
        return lift("asarray", operand).astype(dtype)
    if python_scalar_dtype(operand) is not None:
        operand = np.asarray(operand)[()]
    if dtype is not None:
        operand = cast(operand, supported_dtype("asarray", dtype))
    return lift("asarray", operand)


@traced(np.asanyarray)
def asanyarray(a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None,
               like: Any = None) -> Any:
    """``asarray``: what is recorded has no subclasses."""
    return asarray(a, dtype)


@traced(np.ascontiguousarray)
def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """``asarray`` with at least one axis: where values lie is decided by the compiler."""
    x = asarray(a, dtype)
    return x if x.ndim else reshape(x, (1,))


@traced(np.asfortranarray)
def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """``asarray``: where values lie is decided by the compiler."""
    return asarray(a, dtype)


@traced(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """``a`` itself when traced, for traced arrays are immutable."""
    return asarray(a)


@traced(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """``x`` in another dtype; the derivative passes between float and complex dtypes and is zero otherwise."""
    return lift("astype", x).astype(dtype)


# ---------------------------------------------------------------------------------------------------- constants


def _constant(name: str, shape: Any, value: Any, dtype: Any) -> Any:
    return lift(name, filled(static_extents(name, shape), value, supported_dtype(name, dtype or float64)))


@traced(np.zeros)
def zeros(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """An array of zeros."""
    return _constant("zeros", shape, 0, dtype)


@traced(np.ones)
def ones(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """An array of ones."""
    return _constant("ones", shape, 1, dtype)


@traced(np.empty)
def empty(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """An array of arbitrary elements: zeros, while tracing."""
    return _constant("empty", shape, 0, dtype)


@traced(np.full)
def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None,
         like: Any = None) -> Any:
    """An array of one value, or of a smaller array repeated."""
    value = asarray(fill_value, dtype)
    return lift("full", broadcast_to("full", value, static_extents("full", shape)))


def _like(name: str, a: Any, value: Any, dtype: Any, shape: Any) -> Any:
    x = as_operand(name, a)
    target = shape_of(x) if shape is None else static_extents(name, shape)
    return lift(name, filled(target, value, dtype_of(x) if dtype is None else supported_dtype(name, dtype)))


@traced(np.zeros_like)
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
               device: Any = None) -> Any:
    """Zeros of the shape and dtype of ``a``."""
    return _like("zeros_like", a, 0, dtype, shape)


@traced(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Any:
    """Ones of the shape and dtype of ``a``."""
    return _like("ones_like", a, 1, dtype, shape)


@traced(np.empty_like)
def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
               device: Any = None) -> Any:
    """Arbitrary elements in the shape and dtype of ``prototype``: zeros, while tracing."""
    return _like("empty_like", prototype, 0, dtype, shape)


@traced(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Any:
    """``fill_value`` in the shape and dtype of ``a``."""
    x = as_operand("full_like", a)
    found = dtype_of(x) if dtype is None else supported_dtype("full_like", dtype)
    target = shape_of(x) if shape is None else static_extents("full_like", shape)
    return lift("full_like", broadcast_to("full_like", cast(as_operand("full_like", fill_value), found), target))


# ------------------------------------------------------------------------------------------------------- ranges


def _known_scalar(name: str, value: Any) -> Any:
    return concrete(value, f"{name} (its length)") if isinstance(value, Tracer) else value


@traced(np.arange)
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None, *, device: Any = None,
           like: Any = None) -> Any:
    """start, start + step, ... below stop; the bounds must be known, for they decide the length."""
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    known = [_known_scalar("arange", value) for value in (start, stop, step)]
    reference = np.arange(known[0], known[1], known[2], dtype=dtype)
    target = supported_dtype("arange", reference.dtype)
    if target.kind not in "iu" or not all(isinstance(k, (int, np.integer)) for k in known):
        return lift("arange", reference)
    first, stride = int(known[0]), int(known[2])
    values = primitives.iota(reference.shape, int64, 0)
    if stride != 1:
        values = operators.multiply(values, stride)
    return lift("arange", cast(operators.add(values, first) if first else values, target))


@traced(np.linspace)
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: int = 0, *, device: Any = None) -> Any:
    """``num`` numbers from start to stop in equal steps; linear in both."""
    (count,) = static_integers("linspace", num)
    if count < 0:
        raise ArgumentError(f"linspace: number of samples, {count}, must be non-negative{user_line()}")
    start, stop = (lift("linspace", x) for x in promote_operands("linspace", start, stop))
    found = start.dtype if is_differentiable(start.dtype) else float64
    first, last = cast(start, found), cast(stop, found)
    divisions = count - 1 if endpoint else count
    delta = operators.subtract(last, first)
    shape = shape_of(delta)
    ramp = reshape(cast(primitives.iota((count,), int64, 0), found), (count,) + (1,) * len(shape))
    if divisions > 0:
        step = operators.divide(delta, divisions)
        # A step that underflows to zero would lose the range: NumPy then scales the ramp first.
        scaled = operators.multiply(operators.divide(ramp, divisions), delta)
        values = operators.add(logic.select(*broadcast_operands("linspace", [
            operators.equal(step, 0), scaled, operators.multiply(ramp, step)])), first)
        if endpoint:
            rows = [get(values, slice(0, count - 1)), reshape(broadcast_to("linspace", last, shape), (1, *shape))]
            values = primitives.concatenate(rows, 0)
    else:
        step = np.float64(np.nan)
        values = operators.add(operators.multiply(ramp, delta), first)
    values = moveaxis(values, 0, axis)
    if dtype is not None:
        target = supported_dtype("linspace", dtype)
        values = cast(floor(values) if target.kind in "iu" else values, target)
    return (lift("linspace", values), lift("linspace", step)) if retstep else lift("linspace", values)


@traced(np.logspace)
def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None,
             axis: int = 0) -> Any:
    """``base`` to the powers that ``linspace`` gives."""
    values = power(base, linspace(start, stop, num, endpoint, axis=axis))
    return values if dtype is None else values.astype(dtype)


@traced(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """``num`` numbers from start to stop with equal ratios; real ones must have one sign, complex ones lie on a spiral."""
    first, last = (lift("geomspace", as_inexact("geomspace", x)) for x in promote_operands("geomspace", start, stop))
    # Relative to the direction of the first: then real numbers are positive.
    relative = [x / sign(first) if is_complex(first.dtype) else absolute(x) for x in (first, last)]
    sizes = logspace(log10(relative[0]), log10(relative[1]), num, endpoint, 10.0, axis=axis)
    values = moveaxis(sizes, axis, 0)
    if endpoint and num > 1:
        edges = [reshape(broadcast_to("geomspace", x, values.shape[1:]), (1, *values.shape[1:])) for x in relative]
        values = lift("geomspace", primitives.concatenate([edges[0], get(values, slice(1, -1)), edges[1]], 0))
    values = moveaxis(values * sign(first), 0, axis)
    return values if dtype is None else values.astype(dtype)


@traced(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """Coordinate arrays of the grid that the vectors span."""
    refuse_unless("meshgrid", "indexing", indexing, "xy", "ij")
    vectors = [lift("meshgrid", x).ravel() for x in xi]
    rank = len(vectors)
    order = list(range(rank))
    if indexing == "xy" and rank > 1:
        order[:2] = [1, 0]
    shape = [0] * rank
    for place, vector in zip(order, vectors, strict=True):
        shape[place] = vector.size
    results = []
    for place, vector in zip(order, vectors, strict=True):
        full_shape = tuple(vector.size if k == place else 1 for k in range(rank)) if sparse else tuple(shape)
        results.append(lift("meshgrid", broadcast(vector, full_shape, (place,)) if rank else vector))
    return tuple(results)


@traced(np.indices)
def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """For each axis of a grid the index along it."""
    shape = static_extents("indices", dimensions)
    target = supported_dtype("indices", dtype)
    if sparse:
        return tuple(lift("indices", primitives.iota(tuple(n if k == a else 1 for k, n in enumerate(shape)), target, a))
                     for a in range(len(shape)))
    if not shape:
        return zeros((0,), target)
    grids = [primitives.iota((1, *shape), target, a + 1) for a in range(len(shape))]
    return lift("indices", primitives.concatenate(grids, 0))


@traced(np.fromfunction)
def fromfunction(function: Callable[..., Any], shape: Any, *, dtype: Any = float, like: Any = None,
                 **kwargs: Any) -> Any:
    """``function`` of the index arrays of a grid."""
    grid = indices(shape, dtype)
    return function(*[grid[a] for a in range(len(grid))], **kwargs)


# ------------------------------------------------------------------------------------- triangles and diagonals


@traced(np.tri)
def tri(N: int, M: Any = None, k: int = 0, dtype: Any = float, *, like: Any = None) -> Any:
    """Ones on and below diagonal ``k``, zeros above."""
    rows = max(0, *static_integers("tri", N))  # NumPy counts with arange here, which takes negative numbers for none
    columns = rows if M is None else max(0, *static_integers("tri", M))
    return lift("tri", cast(_below(rows, columns, k), supported_dtype("tri", dtype)))


def _below(rows: int, columns: int, k: int) -> Any:
    row, column = (primitives.iota((rows, columns), int64, a) for a in (0, 1))
    return logic.less_equal(column, operators.add(row, int(k)) if k else row)


def _triangle(name: str, m: Any, k: int, lower: bool) -> Any:
    x = lift(name, m)
    if x.ndim == 0:
        raise ShapeError(f"{name}: expected at least one axis{user_line()}")
    if x.ndim == 1:
        x = lift(name, broadcast(x, (x.size, x.size), (1,)))
    mask = broadcast(_below(x.shape[-2], x.shape[-1], k if lower else k - 1), x.shape, (x.ndim - 2, x.ndim - 1))
    zero = x.dtype.type(0)
    return lift(name, logic.select(mask, x, zero) if lower else logic.select(mask, zero, x))


@traced(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """``m`` with zeros above diagonal ``k``."""
    return _triangle("tril", m, k, True)


@traced(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """``m`` with zeros below diagonal ``k``."""
    return _triangle("triu", m, k, False)


@traced(np.eye)
def eye(N: int, M: Any = None, k: int = 0, dtype: Any = float, order: str = "C", *, device: Any = None,
        like: Any = None) -> Any:
    """Ones on diagonal ``k``, zeros elsewhere."""
    (rows,) = static_extents("eye", N)
    (columns,) = (rows,) if M is None else static_extents("eye", M)
    row, column = (primitives.iota((rows, columns), int64, a) for a in (0, 1))
    hit = logic.equal(operators.add(row, int(k)) if k else row, column)
    return lift("eye", cast(hit, supported_dtype("eye", dtype)))


@traced(np.identity)
def identity(n: int, dtype: Any = None, *, like: Any = None) -> Any:
    """The square identity matrix."""
    return eye(n, dtype=float if dtype is None else dtype)


def _diagonal_positions(rows: int, columns: int, offset: int) -> tuple[int, int, int]:
    """First row, first column and length of a diagonal."""
    row, column = max(-offset, 0), max(offset, 0)
    return row, column, max(min(rows - row, columns - column), 0)


def _diagonal_indices(count: int, row: int, column: int) -> tuple[Any, Any]:
    steps = primitives.iota((count,), int64, 0)
    first, second = (operators.add(steps, start) if start else steps for start in (row, column))
    return first, second


@traced(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Diagonal ``offset`` in the plane of two axes, as a new last axis."""
    x = with_rank("diagonal", a, 2)
    first, second = normalize_axis("diagonal", axis1, x.ndim), normalize_axis("diagonal", axis2, x.ndim)
    if first == second:
        raise ArgumentError(f"diagonal: axis1 and axis2 cannot be the same, got {axis1} and {axis2}{user_line()}")
    row, column, count = _diagonal_positions(x.shape[first], x.shape[second], int(offset))
    places = dict(zip((first, second), _diagonal_indices(count, row, column), strict=True))
    axes = tuple(sorted((first, second)))
    return moveaxis(lift("diagonal", gather(x, *(places[k] for k in axes), axes=axes, mode="inside")), 0, -1)


@traced(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Any:
    """The sum of a diagonal."""
    return diagonal(a, offset, axis1, axis2).sum(axis=-1, dtype=dtype)


@traced(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix that has a vector as its diagonal."""
    x = lift("diag", v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: input must be 1- or 2-d, got shape {x.shape}{user_line()}")
    size = x.size + abs(int(k))
    row, column, count = _diagonal_positions(size, size, int(k))
    first, second = _diagonal_indices(count, row, column)
    blank = filled((size, size), 0, x.dtype)
    return lift("diag", scatter(blank, x, first, second, axes=(0, 1), mode="inside", unique=True))


@traced(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix that has the flattened ``v`` as its diagonal."""
    return diag(lift("diagflat", v).ravel(), k)


@traced(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    """The matrix of the powers of ``x``, the highest first unless ``increasing``."""
    vector = lift("vander", x)
    if vector.ndim != 1:
        raise ShapeError(
            f"vander: x must be a one-dimensional array or sequence, got shape {vector.shape}{user_line()}")
    (count,) = (vector.size,) if N is None else static_extents("vander", N)
    if vector.dtype.kind in "biu":
        vector = lift("vander", cast(vector, promoted_type("vander", [vector, np.int64(0)])[0]))
    powers = range(count) if increasing else range(count - 1, -1, -1)
    columns = [reshape(operators.power(vector, exponent), (vector.size, 1)) for exponent in powers]
    if not columns:
        return zeros((vector.size, 0), vector.dtype)
    return lift("vander", primitives.concatenate(columns, 1))

