"""Random words, and the few draws that everything else is made of, as functions of a *packed* key.

A key is two words of 32 bits, an array of shape (2,); packed it is one number, the first word in the upper half. Element
n of a draw is Threefry of the key and the number n. So the elements need nothing from each other: a draw is elementwise
arithmetic on a counter, which the compiler inlines into whatever loop uses it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradxform import numpy as gnp
from gradxform.dtypes import DType, uint32, uint64
from gradxform.operands import cast
from gradxform.primitives.bits import bitcast
from gradxform.primitives.random_bits import threefry2x32
from gradxform.primitives.shape import iota, reshape
from gradxform.primitives.special import erfinv

Shape = tuple[int, ...]

#: The unsigned integers by their number of bits.
UNSIGNED = {8 * np.dtype(t).itemsize: np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64)}


def pack(key: Any) -> Any:
    """Keys of shape (..., 2) as numbers of shape (...)."""
    words = cast(key, uint64)
    return (words[..., 0] << 32) | words[..., 1]


def unpack(packed: Any) -> Any:
    """Numbers of shape (...) as keys of shape (..., 2)."""
    return gnp.stack([cast(packed >> 32, uint32), cast(packed, uint32)], axis=-1)


def counters(shape: Shape) -> Any:
    """0, 1, 2, ... in row-major order."""
    return reshape(iota((math.prod(shape),), uint64, 0), shape)


def subkeys(key: Any, count: int) -> list[Any]:
    """The packed keys that ``split(key, count)`` gives, for each of the packed ``key``."""
    return [threefry2x32(key, np.uint64(number)) for number in range(count)]


def halves_mixed(bits: Any) -> Any:
    """The exclusive or of both words."""
    return cast((bits >> 32) ^ bits, uint32)


def words(key: Any, width: int, shape: Shape) -> Any:
    """Unsigned integers of ``width`` bits, all values equally likely."""
    bits = threefry2x32(key, counters(shape))
    return bits if width == 64 else cast(halves_mixed(bits), UNSIGNED[width])


def fraction(bits: Any, dtype: DType) -> Any:
    """A multiple of the last place of 1.0 in [0, 1) from 64 random bits: as many bits as the significand stores."""
    bits = bits if dtype.itemsize == 8 else halves_mixed(bits)
    unsigned, mantissa = bits.dtype.type, np.finfo(dtype).nmant
    # Behind the sign and exponent of 1.0 any bits are a number in [1, 2).
    pattern = (bits >> unsigned(8 * dtype.itemsize - mantissa)) | dtype.type(1).view(unsigned)
    return bitcast(pattern, dtype) - dtype.type(1)


def unit(key: Any, shape: Shape, dtype: DType) -> Any:
    """Uniform in [0, 1)."""
    return fraction(threefry2x32(key, counters(shape)), dtype)


def between(fractions: Any, low: Any, high: Any) -> Any:
    """[0, 1) mapped to [low, high)."""
    return gnp.maximum(low, fractions * (high - low) + low)


def bell(fractions: Any) -> Any:
    """A standard normal number from a uniform one in [0, 1), by the inverse of the distribution function."""
    dtype = fractions.dtype.type
    # In (-1, 1): 2 u - 1 but for the first of all values, which would be -1.
    centred = fractions * dtype(2) + np.nextafter(dtype(-1), dtype(0))
    return erfinv(centred) * dtype(math.sqrt(2))


def standard_normal(key: Any, shape: Shape, dtype: DType) -> Any:
    """Normal with mean 0 and variance 1."""
    return bell(unit(key, shape, dtype))


def first_bits(key: Any) -> Any:
    """64 random bits for each packed key: element 0 of its stream."""
    return threefry2x32(key, np.uint64(0))
