"""Keys: what a stream of random numbers is a function of."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from gradxform.core import Tracer, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import int64, uint32, uint64
from gradxform.errors import ArgumentTypeError, ShapeError
from gradxform.operands import as_operand, cast, lift
from gradxform.primitives.random_bits import threefry2x32
from gradxform.random.calling import checked_key, checked_keys, choice_of, compiled, extents
from gradxform.random.streams import Shape, counters, pack, unpack

IMPLEMENTATION = "threefry2x32"


def key(seed: Any, *, impl: str | None = None, dtype: str | None = None) -> Any:
    """A key from an integer ``seed``.

    Keys are plain arrays: two words of dtype uint32. All random numbers are functions of a key and of nothing else. **A key
    that is used twice gives the same numbers twice**: use each once, and `split` it first where more are needed.

    Args:
        seed: one integer, of 64 bits or fewer; traced if you like. Negative ones count, too.
        impl, dtype: 'threefry2x32' or None; there is no other.

    Returns:
        The upper and the lower word of the seed, equal to the words of JAX's key, as an array of shape (2,) and dtype uint32.

    Raises:
        ArgumentTypeError: the seed is no integer.
        OverflowError: it has more than 64 bits.

    >>> key(0), key(2**40 + 7)
    (array([0, 0], dtype=uint32), array([256,   7], dtype=uint32))
    """
    return _key("key", seed, impl if dtype is None else dtype)


def PRNGKey(seed: Any, *, impl: str | None = None) -> Any:
    """A key from an integer ``seed``: another name of `key`."""
    return _key("PRNGKey", seed, impl)


def _key(name: str, seed: Any, impl: Any) -> Any:
    choice_of(name, "impl", IMPLEMENTATION if impl is None else impl, IMPLEMENTATION)
    if type(seed) is int:
        return np.array([_word(seed) >> 32, _word(seed) & 0xFFFFFFFF], np.uint32)
    operand = as_operand(name, seed)
    found = type_of(operand)
    if found.shape:
        raise ShapeError(f"{name}: expected one seed, got an array of shape {found.shape}: use gradxform.vmap{user_line()}")
    if found.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name}: a seed is an integer, got {seed!r} of dtype {found.dtype}{user_line()}")
    if not isinstance(operand, Tracer):
        value = index(operand)
        # Seeds of 32 bits and fewer fill the lower word alone, negative ones too.
        return _key(name, value if found.dtype.itemsize == 8 else value & 0xFFFFFFFF, impl)
    word = cast(operand, uint64)
    return unpack(word if found.dtype.itemsize == 8 else word & 0xFFFFFFFF)


def _word(seed: int) -> int:
    if not -(2**63) <= seed < 2**64:
        raise OverflowError(f"key: a seed has 64 bits at most, got {seed}{user_line()}")
    return seed & 0xFFFFFFFFFFFFFFFF


@compiled(static=1)
def _split(key: Any, shape: Shape) -> Any:
    return unpack(threefry2x32(pack(key), counters(shape)))


def split(key: Any, num: Any = 2) -> Any:
    """``num`` new keys, whose streams are independent of each other and of that of ``key``.

    Args:
        key: a key, which should not be used for anything else afterwards.
        num: how many, or a shape.

    Returns:
        an array of keys, of shape (num, 2) or (\\*num, 2).

    >>> first, second = split(key(0))
    >>> first, second
    (array([1797259609, 2579123966], dtype=uint32), array([ 928981903, 3453687069], dtype=uint32))
    """
    return _split(checked_key("split", key), extents("split", num))


@compiled(static=0)
def _fold_in(key: Any, data: Any) -> Any:
    return unpack(threefry2x32(pack(key), cast(cast(data, uint32), uint64)))


def fold_in(key: Any, data: Any) -> Any:
    """A new key that depends on ``key`` and on the integer ``data``: that of step 17, say.

    It is key number ``data`` of those that `split` gives, so use either of the two with a key.

    Args:
        key: a key.
        data: one integer, of which 32 bits count; traced if you like.

    >>> fold_in(key(0), 17)
    array([2763999920,  494843597], dtype=uint32)
    """
    operand = as_operand("fold_in", data)
    found = type_of(operand)
    if found.shape or found.dtype.kind not in "iu":
        raise ArgumentTypeError(f"fold_in: data must be one integer, got {data!r}: use gradxform.vmap for several{user_line()}")
    if type(operand) is int:
        operand = np.uint32(operand & 0xFFFFFFFF)
    elif not isinstance(operand, Tracer):
        operand = operand.astype(int64)
    return _fold_in(checked_key("fold_in", key), operand)


def key_data(keys: Any) -> Any:
    """The words of ``keys``: the array itself, for that is what keys are here."""
    return checked_keys("key_data", keys)


def wrap_key_data(key_bits_array: Any, *, impl: str | None = None, dtype: str | None = None) -> Any:
    """Words, of shape (..., 2) and dtype uint32, as keys.

    >>> wrap_key_data(np.array([1, 2], np.uint32))
    array([1, 2], dtype=uint32)
    """
    named = impl if dtype is None else dtype
    choice_of("wrap_key_data", "impl", IMPLEMENTATION if named is None else named, IMPLEMENTATION)
    return checked_keys("wrap_key_data", key_bits_array)


def key_impl(keys: Any) -> str:
    """The name of the generator that ``keys`` are for: 'threefry2x32'."""
    checked_keys("key_impl", keys)
    return IMPLEMENTATION


def clone(key: Any) -> Any:
    """The same key again, for where the same numbers are wanted on purpose."""
    return lift("clone", checked_keys("clone", key))
