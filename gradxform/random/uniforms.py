"""Draws of equally likely values: bits, uniform numbers, integers, coins."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import numpy as gnp
from gradxform.core import Tracer, dtype_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, float64, int32, int64, uint64
from gradxform.errors import DTypeError
from gradxform.operands import as_operand, cast
from gradxform.random.calling import (
    checked_key,
    choice_of,
    compiled,
    extents,
    float_dtype,
    integer_dtype,
    parameters,
    sample_dtype,
)
from gradxform.random.streams import UNSIGNED, Shape, between, pack, subkeys, unit, words


@compiled(static=2)
def _bits(key: Any, shape: Shape, width: int) -> Any:
    return words(pack(key), width, shape)


def bits(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Unsigned integers, all values equally likely.

    Args:
        key: a key.
        shape: the shape of the samples.
        dtype: an unsigned integer dtype; uint64 if None.

    >>> from gradxform.random import key
    >>> bits(key(0), (3,), np.uint8)
    array([167, 146,  40], dtype=uint8)
    """
    found = sample_dtype("bits", dtype, uint64, "u")
    return _bits(checked_key("bits", key), extents("bits", shape), 8 * found.itemsize)


# ---------------------------------------------------------------------------------------------------- uniform numbers


@compiled(static=2)
def _unit(key: Any, shape: Shape, dtype: DType) -> Any:
    return unit(pack(key), shape, dtype)


@compiled(static=2)
def _uniform(key: Any, low: Any, high: Any, shape: Shape, dtype: DType) -> Any:
    return between(unit(pack(key), shape, dtype), cast(low, dtype), cast(high, dtype))


def uniform(key: Any, shape: Any = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Uniform numbers in [minval, maxval).

    Multiples of 2**-52 (float32: 2**-23) of the length of the interval. Differentiable in both limits.

    Args:
        key: a key.
        shape: the shape of the samples.
        dtype: a float dtype; float64 if None.
        minval, maxval: the limits, of shapes that broadcast to ``shape``.

    >>> from gradxform.random import key
    >>> uniform(key(0), (3,))
    array([0.41845711, 0.21629545, 0.96532146])
    """
    found, wanted = float_dtype("uniform", dtype), extents("uniform", shape)
    key = checked_key("uniform", key)
    if type(minval) is float and type(maxval) is float and minval == 0.0 and maxval == 1.0:
        return _unit(key, wanted, found)
    _, (low, high) = parameters("uniform", wanted, minval, maxval)
    return _uniform(key, low, high, wanted, found)


# ----------------------------------------------------------------------------------------------------------- integers


def _clipped(limit: Any, dtype: DType) -> Any:
    """An integer limit in ``dtype``, as near as that holds."""
    found = type_of(limit).dtype
    if found == dtype:
        return limit
    own, target = np.iinfo(found), np.iinfo(dtype)
    low, high = max(own.min, target.min), min(own.max, target.max)
    return cast(gnp.minimum(gnp.maximum(limit, found.type(low)), found.type(high)), dtype)


@compiled(static=3)
def _randint(key: Any, low: Any, high: Any, shape: Shape, sampled: DType, dtype: DType) -> Any:
    top = np.iinfo(sampled).max
    wide = type_of(high).dtype
    # Such as the 256 of uint8.
    beyond = high > wide.type(top) if np.iinfo(wide).max > top else gnp.zeros((), bool)
    low, high = _clipped(low, sampled), _clipped(high, sampled)
    width = 8 * sampled.itemsize
    # Twice the bits: the bias of a remainder is then of the order of 2**-width.
    upper, lower = (words(subkey, width, shape) for subkey in subkeys(pack(key), 2))
    unsigned = UNSIGNED[width]
    one = unsigned.type(1)
    span = gnp.where(high <= low, one, cast(high - low, unsigned))
    # The whole range wraps around to 0, for which a remainder means nothing.
    span = gnp.where(beyond & (high > low), span + one, span)
    whole = span == 0
    divisor = gnp.where(whole, one, span)
    factor = unsigned.type(2 ** (width // 2)) % divisor
    factor = (factor * factor) % divisor
    offset = _remainder(_remainder(upper, divisor) * factor + _remainder(lower, divisor), divisor)
    return cast(low + cast(gnp.where(whole, lower, offset), sampled), dtype)


def _remainder(x: Any, divisor: Any) -> Any:
    """x % divisor for unsigned integers, exact, by way of quotients in float64: processors divide no vectors of integers."""
    dtype = dtype_of(x)
    # A little less than the inverse, so that no quotient is too large, whatever is rounded.
    inverse = (1.0 - 2.0**-50) / cast(divisor, float64)
    # A quotient of up to 64 bits is too small by less than 2**15, the next one by 1 at most.
    for _ in range(dtype.itemsize // 4):
        x = x - cast(cast(x, float64) * inverse, dtype) * divisor
    return gnp.where(x >= divisor, x - divisor, x)


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = None) -> Any:
    """Integers in [minval, maxval), equally likely but for a bias that does not matter below 2**30 values.

    Args:
        key: a key.
        shape: the shape of the samples.
        minval, maxval: the limits, integers of shapes that broadcast to ``shape``. Where maxval <= minval the result is
            minval.
        dtype: an integer dtype; int64 if None. Limits beyond its range are brought to its ends.

    >>> from gradxform.random import key
    >>> randint(key(0), (5,), 0, 10)
    array([5, 1, 5, 7, 3])
    """
    found, wanted = integer_dtype("randint", dtype), extents("randint", shape)
    key = checked_key("randint", key)
    _, limits = parameters("randint", wanted, minval, maxval)
    sampled = found
    if found.itemsize < 4:
        sampled = int32
        info = np.iinfo(found)
        limits = [_narrow(x, info.min, int(info.max) + more) for more, x in enumerate(limits)]
    return _randint(key, *[_whole(x, sampled) for x in limits], wanted, sampled, found)


def _whole(limit: Any, sampled: DType) -> Any:
    """A limit as an integer; a Python int of which uint64 alone has room is one."""
    if type(limit) is int:
        if limit >= 2**63:
            return np.uint64(min(limit, 2**64 - 1)) if sampled == uint64 else np.int64(2**63 - 1)
        return np.int64(max(limit, -(2**63)))
    kind = type_of(limit).dtype.kind
    if kind in "iu":
        return limit
    if kind == "f" or kind == "b":
        return cast(limit, int64)
    raise DTypeError(f"randint: limits must be integers, got dtype {type_of(limit).dtype}{user_line()}")


def _narrow(limit: Any, low: int, high: int) -> Any:
    if not isinstance(limit, (Tracer, np.ndarray, np.generic)):
        return min(max(int(limit), low), high)
    whole = cast(_whole(limit, int32), int64)
    return cast(gnp.minimum(gnp.maximum(whole, low), high), int32)


# -------------------------------------------------------------------------------------------------------------- coins


@compiled(static=2)
def _bernoulli(key: Any, p: Any, shape: Shape, mode: str) -> Any:
    dtype = type_of(p).dtype
    if mode == "low":
        return unit(pack(key), shape, dtype) < p
    first, second = unit(pack(key), (2, *shape), dtype)
    return second * dtype.type(2.0 ** -np.finfo(dtype).nmant) < p - first


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low") -> Any:
    """True with probability ``p``; always where p >= 1, never where p <= 0 or is NaN.

    Args:
        key: a key.
        p: probabilities, floats.
        shape: the shape of the samples; that of ``p`` if None.
        mode: 'high' draws twice as many bits, so that probabilities below 2**-52 (float32: 2**-23) count.

    >>> from gradxform.random import key
    >>> bernoulli(key(0), 0.5, (4,))
    array([ True,  True, False, False])
    """
    choice_of("bernoulli", "mode", mode, "low", "high")
    key = checked_key("bernoulli", key)
    wanted, (found,) = parameters("bernoulli", shape, p)
    if type_of(found).dtype.kind != "f":
        raise DTypeError(f"bernoulli: p must be of float dtype, got {type_of(found).dtype}: write 0.5, 1.0{user_line()}")
    return _bernoulli(key, cast(as_operand("bernoulli", found), type_of(found).dtype), wanted, mode)


@compiled(static=2)
def _rademacher(key: Any, shape: Shape, dtype: DType) -> Any:
    return cast(2 * cast(unit(pack(key), shape, float64) < 0.5, int64) - 1, dtype)


def rademacher(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """-1 or 1, equally likely.

    Args:
        key: a key.
        shape: the shape of the samples.
        dtype: an integer or float dtype; int64 if None.

    >>> from gradxform.random import key
    >>> rademacher(key(0), (4,))
    array([ 1,  1, -1, -1])
    """
    found = sample_dtype("rademacher", dtype, int64, "iuf")
    return _rademacher(checked_key("rademacher", key), extents("rademacher", shape), found)
