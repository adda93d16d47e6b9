"""Draws from what is given: categories, elements, orders."""

from __future__ import annotations

import math
from typing import Any

from gradxform import numpy as gnp
from gradxform.core import Tracer, dtype_of, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import float64, int64
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.linear import move_axis
from gradxform.operands import as_operand, cast, known_value, normalize_axis
from gradxform.primitives.logic import stop_gradient
from gradxform.primitives.shape import iota, reshape, slice_along
from gradxform.primitives.sorting import argsort, sort
from gradxform.random.calling import check_shape, checked_key, compiled, extents
from gradxform.random.continuous import gumbel_mode, gumbel_numbers
from gradxform.random.streams import Shape, pack, subkeys, unit, words
from gradxform.random.uniforms import randint

# -------------------------------------------------------------------------------------------------------- permutation


def _rounds(size: int) -> int:
    """How many sorts by random words of 32 bits: so many that equal words do not matter."""
    return math.ceil(3 * math.log(max(1, size)) / math.log(2**32 - 1))


def _shuffled(key: Any, x: Any, axis: int) -> Any:
    """The rows of ``x`` along ``axis``, each in an order of its own."""
    shape = shape_of(x)
    last = len(shape) - 1
    for _ in range(_rounds(math.prod(shape))):
        key, subkey = subkeys(key, 2)
        order = words(subkey, 32, shape)
        if axis == last:
            x = sort([order, x])[1]
        else:
            x = move_axis(sort([move_axis(order, axis, last), move_axis(x, axis, last)])[1], last, axis)
    return x


@compiled(static=1)
def _permuted_range(key: Any, size: int) -> Any:
    return _shuffled(pack(key), iota((size,), int64, 0), 0)


@compiled(static=2)
def _permutation(key: Any, x: Any, axis: int, independent: bool) -> Any:
    shape = shape_of(x)
    if independent or len(shape) == 1:
        return _shuffled(pack(key), x, axis)
    return gnp.take(x, _shuffled(pack(key), iota((shape[axis],), int64, 0), 0), axis)


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """``x`` in a random order, all orders equally likely.

    Args:
        key: a key.
        x: an array; or an integer n that is known while tracing, for arange(n).
        axis: the axis along which elements change places.
        independent: whether each row along ``axis`` gets an order of its own, rather than all the same.

    >>> from gradxform.random import key
    >>> permutation(key(0), 5)
    array([0, 1, 4, 3, 2])
    """
    key = checked_key("permutation", key)
    operand = as_operand("permutation", x)
    shape = shape_of(operand)
    if not shape:
        size = _known_size("permutation", "x", operand)
        normalize_axis("permutation", axis, 1)
        return _permuted_range(key, size)
    return _permutation(key, operand, normalize_axis("permutation", axis, len(shape)), bool(independent))


def _known_size(name: str, argument: str, value: Any) -> int:
    """One integer that is known while tracing."""
    if type_of(value).dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name}: {argument} must be an array or an integer, got {value!r}{user_line()}")
    known = known_value(value) if isinstance(value, Tracer) else value
    if known is None:
        raise ArgumentTypeError(
            f"{name}: an integer {argument} must be known while tracing: pass gradxform.numpy.arange(n) or make it a static "
            f"argument{user_line()}")
    return max(int(known), 0)


# -------------------------------------------------------------------------------------------------------- categorical


def _largest(scores: Any, count: int) -> Any:
    """The positions of the ``count`` largest along the last axis, the largest first."""
    return slice_along(argsort(-scores), len(shape_of(scores)) - 1, 0, count)


@compiled(static=5)
def _categorical(key: Any, logits: Any, axis: int, shape: Shape, prefix: Shape, replace: bool, mode: str) -> Any:
    logits = stop_gradient(logits)
    found, dtype = shape_of(logits), dtype_of(logits)
    if replace:
        lanes = list(shape[len(prefix):])
        lanes.insert(axis, found[axis])
        scores = gumbel_numbers(pack(key), (*prefix, *lanes), dtype, mode) + logits
        return gnp.argmax(scores, axis=axis - len(found))
    scores = move_axis(logits + gumbel_numbers(pack(key), found, dtype, mode), axis, len(found) - 1)
    return reshape(move_axis(_largest(scores, math.prod(prefix)), len(found) - 1, 0), shape)


def categorical(
    key: Any, logits: Any, axis: int = -1, shape: Any = None, replace: bool = True, mode: str | None = None,
) -> Any:
    """Categories i with probabilities proportional to exp(logits[i]), by the largest of the logits plus Gumbel numbers.

    Args:
        key: a key.
        logits: logarithms of probabilities, which need not be normalised.
        axis: the axis of the categories.
        shape: the shape of the samples, whose end is that of ``logits`` without ``axis``, which None stands for.
        replace: whether a category may come twice among the samples of one row of logits. If not, the extents in front of
            its shape say how many are drawn.
        mode: as of `gumbel`.

    >>> import numpy as np
    >>> from gradxform.random import key
    >>> categorical(key(0), np.log([0.1, 0.2, 0.7]), shape=(6,))
    array([2, 2, 2, 1, 1, 2])
    """
    key = checked_key("categorical", key)
    operand = as_operand("categorical", logits)
    found = shape_of(operand)
    position = normalize_axis("categorical", axis, len(found))
    if type_of(operand).dtype.kind != "f":
        operand = cast(operand, float64)
    lanes = (*found[:position], *found[position + 1:])
    wanted = lanes if shape is None else extents("categorical", shape)
    check_shape("categorical", wanted, lanes)
    prefix = wanted[:len(wanted) - len(lanes)]
    if not replace and (count := math.prod(prefix)) > found[position]:
        raise ArgumentError(
            f"categorical: {count} samples without replacement from {found[position]} categories: draw fewer, or "
            f"replace=True{user_line()}")
    if not found[position]:
        raise ArgumentError(f"categorical: there are no categories: logits have shape {found}{user_line()}")
    return _categorical(key, operand, position, wanted, prefix, bool(replace), gumbel_mode("categorical", mode))


# ------------------------------------------------------------------------------------------------------------- choice


@compiled(static=3)
def _weighted(key: Any, p: Any, shape: Shape, replace: bool, mode: str) -> Any:
    p = stop_gradient(p)
    dtype = dtype_of(p)
    if replace:
        total = gnp.cumsum(p)
        # Above 0, so that what has probability 0 at the front is never chosen.
        wanted = total[-1] * (dtype.type(1) - unit(pack(key), shape, dtype))
        return gnp.searchsorted(total, wanted)
    scores = gumbel_numbers(pack(key), shape_of(p), dtype, mode) + gnp.log(p)
    return reshape(_largest(scores, math.prod(shape)), shape)


def choice(
    key: Any, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0, mode: str | None = None,
) -> Any:
    """Elements of ``a``, chosen at random. Differentiable in ``a``.

    Args:
        key: a key.
        a: an array; or an integer n that is known while tracing, for arange(n).
        shape: the shape of the samples, which stands in the place of ``axis``.
        replace: whether an element may be chosen twice.
        p: the probabilities of the elements along ``axis``, which are divided by their sum; all alike if None.
        axis: the axis of ``a`` along which is chosen.
        mode: as of `gumbel`, for choosing with ``p`` and without replacement.

    >>> from gradxform.random import key
    >>> choice(key(0), 10, (4,), replace=False)
    array([0, 1, 8, 5])
    """
    key = checked_key("choice", key)
    if not isinstance(shape, (tuple, list)):
        raise ArgumentTypeError(f"choice: shape must be a tuple, got {shape!r}{user_line()}")
    wanted, chosen_mode = extents("choice", shape), gumbel_mode("choice", mode)
    operand = as_operand("choice", a)
    own = shape_of(operand)
    axis = normalize_axis("choice", axis, len(own)) if own else 0
    size = own[axis] if own else _known_size("choice", "a", operand)
    count = math.prod(wanted)
    if not count:
        return gnp.zeros((*own[:axis], *wanted, *own[axis + 1:]), type_of(operand).dtype)
    if not size:
        raise ArgumentError(f"choice: there is nothing to choose from: a has no elements{user_line()}")
    if not replace and count > size:
        raise ArgumentError(
            f"choice: {count} samples without replacement from {size} elements: draw fewer, or replace=True{user_line()}")
    if p is not None:
        weights = as_operand("choice", p)
        if shape_of(weights) != (size,):
            raise ShapeError(f"choice: p must have shape {(size,)}, as many as a along axis {axis}, got {shape_of(weights)}"
                             f"{user_line()}")
        if type_of(weights).dtype.kind != "f":
            weights = cast(weights, float64)
        positions = _weighted(key, weights, wanted, bool(replace), chosen_mode)
    elif replace:
        positions = randint(key, wanted, 0, size)
    else:
        found = permutation(key, operand if own else size, axis)
        positions = None
        result = slice_along(found, axis, 0, count)
    if positions is not None:
        if not own:
            return positions
        result = gnp.take(operand, reshape(positions, (count,)), axis)
    return reshape(result, (*own[:axis], *wanted, *own[axis + 1:]))
