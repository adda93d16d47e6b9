"""JAX's names of plain operations: faces of `gradxform.numpy` and of primitives.

They promote and broadcast as NumPy's functions do, where JAX's want equal dtypes and shapes.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from gradxform import numpy as face
from gradxform import primitives
from gradxform.core import shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import inexact, int64, is_differentiable
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.lax.staging import strong, valued
from gradxform.linear import broadcast as lay_along
from gradxform.linear import reduce_sum as sum_over
from gradxform.operands import (
    as_operand,
    broadcast_operands,
    cast,
    lift,
    normalize_axes,
    normalize_axis,
    promote_operands,
    supported_dtype,
)
from gradxform.scipy import special

# ----------------------------------------------------------------------------------------------- element by element

abs = face.absolute
acos = face.arccos
acosh = face.arccosh
add = face.add
asin = face.arcsin
asinh = face.arcsinh
atan = face.arctan
atan2 = face.arctan2
atanh = face.arctanh
bitwise_and = face.bitwise_and
bitwise_not = face.invert
bitwise_or = face.bitwise_or
bitwise_xor = face.bitwise_xor
cbrt = face.cbrt
ceil = face.ceil
conj = face.conj
cos = face.cos
cosh = face.cosh
digamma = special.digamma
eq = face.equal
erf = special.erf
erf_inv = special.erfinv
erfc = special.erfc
exp = face.exp
exp2 = face.exp2
expm1 = face.expm1
floor = face.floor
ge = face.greater_equal
gt = face.greater
imag = face.imag
is_finite = face.isfinite
le = face.less_equal
lgamma = special.gammaln
log = face.log
log1p = face.log1p
logistic = special.expit
lt = face.less
max = face.maximum
min = face.minimum
mul = face.multiply
ne = face.not_equal
neg = face.negative
polygamma = special.polygamma
pow = face.power
real = face.real
reciprocal = face.reciprocal
rem = face.fmod
shift_left = face.left_shift
shift_right_arithmetic = face.right_shift
sign = face.sign
sin = face.sin
sinh = face.sinh
sqrt = face.sqrt
square = face.square
sub = face.subtract
tan = face.tan
tanh = face.tanh


def div(x: Any, y: Any) -> Any:
    """x / y; of integers the quotient rounded towards zero, as in C.

    >>> div(-7, 2), div(-7.0, 2)
    (np.int64(-3), np.float64(-3.5))
    """
    left, right = broadcast_operands("div", promote_operands("div", x, y))
    if is_differentiable(type_of(left).dtype):
        return face.divide(left, right)
    quotient = face.floor_divide(left, right)
    # The floor of a negative quotient lies one below it, unless it is exact.
    rounded = face.logical_and(face.not_equal(face.multiply(quotient, right), left), face.less(quotient, 0))
    return face.add(quotient, face.astype(rounded, type_of(left).dtype))


def complex(x: Any, y: Any) -> Any:
    """The complex numbers x + i y, of floats; infinities, NaN and the signs of zeros stay where they are.

    >>> complex(1.0, -0.0)
    np.complex128(1-0j)
    """
    parts = [cast(part, inexact(type_of(part).dtype)) for part in promote_operands("complex", x, y)]
    return strong(primitives.complex(*broadcast_operands("complex", parts)))


def round(x: Any) -> Any:
    """The nearest integer, of the two the one further from zero; the derivative is zero.

    ``np.rint`` takes the even one.

    >>> import numpy as np
    >>> round(np.array([0.5, -2.5, 2.4]))
    array([ 1., -3.,  2.])
    """
    operand = _array("round", x)
    whole = face.trunc(operand)
    # Exact, where adding 0.5 would round: the largest float below 0.5 must give 0.
    with np.errstate(invalid="ignore"):
        beyond = face.greater_equal(face.absolute(face.subtract(operand, whole)), 0.5)
    return face.where(beyond, face.add(whole, face.sign(operand)), whole)


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x).

    >>> rsqrt(4.0)
    np.float64(0.5)
    """
    operand = _array("rsqrt", x)
    return strong(primitives.rsqrt(cast(operand, inexact(type_of(operand).dtype))))


def integer_pow(x: Any, y: int) -> Any:
    """x ** y for an integer y that is known: by multiplications.

    >>> integer_pow(2.0, 10)
    np.float64(1024.0)
    """
    try:
        exponent = index(y)
    except TypeError:
        raise ArgumentTypeError(f"integer_pow: the exponent must be an int, got {y!r}: use pow{user_line()}") from None
    return strong(primitives.integer_pow(_array("integer_pow", x), exponent))


def clamp(min: Any, x: Any, max: Any) -> Any:
    """x limited to [min, max]; at a bound the derivative is shared evenly.

    >>> import numpy as np
    >>> clamp(0.0, np.array([-1.0, 0.5, 7.0]), 1.0)
    array([0. , 0.5, 1. ])
    """
    return strong(primitives.clamp(*broadcast_operands("clamp", promote_operands("clamp", min, x, max))))


@valued
def convert_element_type(operand: Any, new_dtype: Any) -> Any:
    """The array in another dtype; the derivative passes between float and complex dtypes and is zero otherwise.

    >>> import numpy as np
    >>> convert_element_type(np.array([1.5, -1.5]), np.int64)
    array([ 1, -1])
    """
    return face.astype(_array("convert_element_type", operand), supported_dtype("convert_element_type", new_dtype))


def _array(name: str, value: Any) -> Any:
    """An operand as an array: what NumPy makes of numbers and lists, or the traced array that it is."""
    operand = as_operand(name, value)
    found = type_of(operand)
    return lift(name, found.dtype.type(operand) if found.weak and not hasattr(operand, "dtype") else operand)


# ------------------------------------------------------------------------------------------------------------ shape


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    try:
        extents = tuple([index(n) for n in shape])
    except TypeError:
        raise ArgumentTypeError(f"{name}: a shape is a sequence of ints, got {shape!r}{user_line()}") from None
    if any(n < 0 for n in extents):
        raise ShapeError(f"{name}: negative dimensions are not allowed, got {extents}{user_line()}")
    return extents


@valued
def broadcast(operand: Any, sizes: Sequence[int]) -> Any:
    """The array repeated along new leading axes of these extents.

    >>> import numpy as np
    >>> broadcast(np.array([1.0, 2.0]), (2,))
    array([[1., 2.],
           [1., 2.]])
    """
    x = _array("broadcast", operand)
    front, shape = _shape("broadcast", sizes), shape_of(x)
    return strong(lay_along(x, (*front, *shape), tuple(range(len(front), len(front) + len(shape)))))


@valued
def broadcast_in_dim(operand: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Any:
    """The array with its axes laid along ``broadcast_dimensions`` of ``shape``, repeated along the others.

    >>> import numpy as np
    >>> broadcast_in_dim(np.array([1.0, 2.0]), (2, 3), (0,))
    array([[1., 1., 1.],
           [2., 2., 2.]])
    """
    x = _array("broadcast_in_dim", operand)
    extents = _shape("broadcast_in_dim", shape)
    axes = normalize_axes("broadcast_in_dim", tuple(broadcast_dimensions), len(extents))
    if len(axes) != len(shape_of(x)) or list(axes) != sorted(axes):
        raise ShapeError(
            f"broadcast_in_dim: broadcast_dimensions must be sorted and name one axis for each axis of {type_of(x)}, got "
            f"{axes}{user_line()}")
    return strong(lay_along(x, extents, axes))


@valued
def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Any:
    """The array with the axes from start_dimension up to, not including, stop_dimension made one.

    >>> import numpy as np
    >>> collapse(np.zeros((2, 3, 4)), 0, 2).shape
    (6, 4)
    """
    x = _array("collapse", operand)
    shape = shape_of(x)
    axes = range(len(shape))[builtins.slice(start_dimension, stop_dimension)]
    joined = int(np.prod([shape[a] for a in axes], dtype=np.int64))
    first = axes[0] if axes else 0
    return face.reshape(x, (*shape[:first], joined, *shape[first + len(axes):]))


@valued
def concatenate(operands: Sequence[Any], dimension: int) -> Any:
    """Arrays joined along an axis that they have.

    >>> import numpy as np
    >>> concatenate([np.ones(2), np.zeros(1)], 0)
    array([1., 1., 0.])
    """
    return face.concatenate(operands, dimension)


@valued
def expand_dims(array: Any, dimensions: Sequence[int]) -> Any:
    """The array with new axes of extent 1 at these positions of the result."""
    return face.expand_dims(array, tuple(dimensions))


def full(shape: Sequence[int], fill_value: Any, dtype: Any = None) -> Any:
    """An array of one value."""
    return face.full(_shape("full", shape), fill_value, dtype=dtype)


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Sequence[int] | None = None) -> Any:
    """An array of one value, of the shape and dtype of ``x`` unless given."""
    return face.full_like(x, fill_value, dtype=dtype, shape=shape)


def iota(dtype: Any, size: int) -> Any:
    """0, 1, ..., size - 1.

    >>> import numpy as np
    >>> iota(np.float64, 3)
    array([0., 1., 2.])
    """
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Sequence[int], dimension: int) -> Any:
    """The position along one axis, at each place of an array of ``shape``.

    >>> import numpy as np
    >>> broadcasted_iota(np.int64, (2, 3), 1)
    array([[0, 1, 2],
           [0, 1, 2]])
    """
    extents = _shape("iota", shape)
    return primitives.iota(extents, supported_dtype("iota", dtype), normalize_axis("iota", dimension, len(extents)))


@valued
def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """The array with ``padding_value`` before, behind and between its elements.

    Args:
        padding_config: for each axis how many before, behind, and between neighbours. Negative numbers cut off.

    >>> import numpy as np
    >>> pad(np.array([1.0, 2.0]), 0.0, [(1, 0, 1)])
    array([0., 1., 0., 2.])
    """
    x, value = promote_operands("pad", operand, padding_value)
    config = [_shape_triple(triple) for triple in padding_config]
    if len(config) != len(shape_of(x)):
        raise ShapeError(
            f"pad: padding_config must have one triple (before, behind, between) per axis of {type_of(x)}, got "
            f"{padding_config!r}{user_line()}")
    low, high, interior = (tuple(column) for column in zip(*config, strict=True)) if config else ((), (), ())
    cuts = [(builtins.max(-n, 0), builtins.max(-m, 0)) for n, m in zip(low, high, strict=True)]
    padded = primitives.pad(x, value, tuple(builtins.max(n, 0) for n in low), tuple(builtins.max(n, 0) for n in high),
                            interior)
    shape = shape_of(padded)
    return strong(primitives.slice_array(padded, tuple(n for n, _ in cuts),
                                         tuple(extent - m for extent, (_, m) in zip(shape, cuts, strict=True)),
                                         (1,) * len(shape)))


def _shape_triple(triple: Any) -> tuple[int, int, int]:
    try:
        before, behind, between = [index(n) for n in triple]
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"pad: expected three ints (before, behind, between), got {triple!r}{user_line()}") from None
    if between < 0:
        raise ArgumentError(f"pad: there cannot be {between} elements between neighbours{user_line()}")
    return before, behind, between


@valued
def reshape(operand: Any, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None) -> Any:
    """The elements in the order of ``dimensions`` (their own unless given), in an array of shape ``new_sizes``."""
    x = operand if dimensions is None else face.transpose(operand, tuple(dimensions))
    return face.reshape(x, tuple(new_sizes))


@valued
def rev(operand: Any, dimensions: Sequence[int]) -> Any:
    """The array with these axes read from their ends.

    >>> import numpy as np
    >>> rev(np.array([1.0, 2.0]), (0,))
    array([2., 1.])
    """
    return face.flip(operand, tuple(dimensions))


@valued
def slice(
    operand: Any, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None,
) -> Any:
    """``operand[start:limit:stride, ...]`` with known integers for each axis; `dynamic_slice` takes computed ones.

    >>> import numpy as np
    >>> slice(np.arange(6.0), (1,), (6,), (2,))
    array([1., 3., 5.])
    """
    x = _array("slice", operand)
    shape = shape_of(x)
    start, limit = _shape("slice", start_indices), _shape("slice", limit_indices)
    steps = (1,) * len(shape) if strides is None else _shape("slice", strides)
    if not len(start) == len(limit) == len(steps) == len(shape):
        raise ShapeError(f"slice: expected one start, limit and stride per axis of {type_of(x)}{user_line()}")
    if any(not 0 <= a <= b <= n or s < 1 for a, b, s, n in zip(start, limit, steps, shape, strict=True)):
        raise ArgumentError(
            f"slice: expected 0 <= start <= limit <= extent and positive strides, got {start}, {limit}, {steps} for "
            f"{type_of(x)}{user_line()}")
    return strong(primitives.slice_array(x, start, limit, steps))


@valued
def slice_in_dim(
    operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0,
) -> Any:
    """``operand[start_index:limit_index:stride]`` along one axis."""
    return operand[_along("slice_in_dim", operand, axis, builtins.slice(start_index, limit_index, stride))]


@valued
def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The element of one axis at a known index; with ``keepdims`` the axis stays, with extent 1."""
    shape = shape_of(as_operand("index_in_dim", operand))
    position = normalize_axis("index_in_dim", axis, len(shape))
    found = face.take(operand, index, axis=position)
    return face.expand_dims(found, position) if keepdims else found


def _along(name: str, operand: Any, axis: int, part: Any) -> tuple[Any, ...]:
    rank = len(shape_of(as_operand(name, operand)))
    position = normalize_axis(name, axis, rank)
    return tuple(part if a == position else builtins.slice(None) for a in range(rank))


@valued
def squeeze(array: Any, dimensions: Sequence[int]) -> Any:
    """The array without these axes, whose extents are 1."""
    return face.squeeze(array, tuple(dimensions))


@valued
def transpose(operand: Any, permutation: Sequence[int]) -> Any:
    """The array with its axes permuted: axis i of the result is axis permutation[i].

    >>> import numpy as np
    >>> transpose(np.zeros((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return face.transpose(operand, tuple(permutation))


# ---------------------------------------------------------------------------------------------- along axes, and dots


def _cumulative(name: str, constructor: Callable[..., Any], reference: str) -> Callable[..., Any]:
    def function(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
        x = _array(name, operand)
        return strong(constructor(x, normalize_axis(name, axis, len(shape_of(x))), bool(reverse)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The running {reference} along ``axis``, from the end if ``reverse``, in the dtype of the array."
    return function


cummax = _cumulative("cummax", primitives.cummax, "maximum")
cummin = _cumulative("cummin", primitives.cummin, "minimum")
cumprod = _cumulative("cumprod", primitives.cumprod, "product")
cumsum = _cumulative("cumsum", primitives.cumsum, "sum")


def _reduction(name: str, constructor: Callable[..., Any], reference: str) -> Callable[..., Any]:
    def function(operand: Any, axes: Sequence[int]) -> Any:
        x = _array(name, operand)
        positions = tuple(sorted(normalize_axes(name, tuple(axes), len(shape_of(x)))))
        return strong(constructor(x, positions))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {reference} along ``axes``, in the dtype of the array."
    return function


reduce_and = _reduction("reduce_and", primitives.reduce_and, "conjunction of booleans")
reduce_max = _reduction("reduce_max", primitives.reduce_max, "maximum")
reduce_min = _reduction("reduce_min", primitives.reduce_min, "minimum")
reduce_or = _reduction("reduce_or", primitives.reduce_or, "disjunction of booleans")
reduce_prod = _reduction("reduce_prod", primitives.reduce_prod, "product")
reduce_sum = _reduction("reduce_sum", sum_over, "sum")


def argmax(operand: Any, axis: int, index_dtype: Any = int64) -> Any:
    """The index of the first maximum along ``axis``; it has no derivative."""
    return face.astype(face.argmax(operand, axis=axis), supported_dtype("argmax", index_dtype))


def argmin(operand: Any, axis: int, index_dtype: Any = int64) -> Any:
    """The index of the first minimum along ``axis``; it has no derivative."""
    return face.astype(face.argmin(operand, axis=axis), supported_dtype("argmin", index_dtype))


def dot(lhs: Any, rhs: Any) -> Any:
    """The product of vectors and matrices.

    >>> import numpy as np
    >>> dot(np.ones(3), np.ones(3))
    np.float64(3.0)
    """
    return face.dot(lhs, rhs)


def dot_general(lhs: Any, rhs: Any, dimension_numbers: Any) -> Any:
    """The product of two arrays summed over pairs of axes.

    Args:
        lhs, rhs: arrays; they promote to one dtype.
        dimension_numbers: ``((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))``, sequences of axes.

    Returns:
        An array of the batch axes, then the remaining axes of ``lhs``, then those of ``rhs``.

    >>> import numpy as np
    >>> dot_general(np.ones((2, 3)), np.ones((2, 3)), (((1,), (1,)), ((0,), (0,))))
    array([3., 3.])
    """
    x, y = promote_operands("dot_general", lhs, rhs)
    contracting, batch = ((tuple(left), tuple(right)) for left, right in dimension_numbers)
    return strong(primitives.dot_general(x, y, contracting, batch))
