"""How samplers are called: what is checked, and who computes.

A sampler checks its arguments and hands them to a jitted function, static ones last. Called from plain Python that is one
native function per shape; inside `jit` it is a ``call`` equation, traced once per shape, inlined later.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from gradxform.api import jit
from gradxform.core import Builder, Tracer, current_builder, outside, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, float64, int64, uint32
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from gradxform.operands import as_operand, broadcast_shapes, known_value, lift, supported_dtype
from gradxform.random.streams import Shape

_KIND_NAMES = {"f": "a float", "fc": "a float or complex", "iu": "an integer", "iuf": "an integer or float",
               "u": "an unsigned integer"}


def compiled(static: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of arrays and ``static`` last arguments one native function per shape and static arguments."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        count = function.__code__.co_argcount
        function.__name__ = function.__name__.removeprefix("_")  # as it is printed in programs
        made = jit(function, static_argnums=tuple(range(count - static, count)))

        def call(*args: Any) -> Any:
            builder = current_builder()
            if builder is None:
                return made(*args)
            if any(isinstance(x, Tracer) for x in args) or _will_run_again(builder):
                # Recorded even if the key is known: what is fused into a loop should not be an array that it reads.
                return made.call_slow(*args)
            with outside():
                found = made(*args)
            return lift(function.__name__, found)

        return call

    return decorate


def _will_run_again(builder: Builder) -> bool:
    """Whether what is recorded now is more than a derivative that is computed once, for inputs that are known."""
    inner: Builder | None = builder
    while inner is not None:
        if any(var not in inner.known for var in inner.inputs):
            return True
        inner = inner.parent
    return False


def checked_key(name: str, key: Any) -> Any:
    """``key`` as a single key. Raises ArgumentTypeError for what is none, ShapeError for an array of keys."""
    if type(key) is np.ndarray and key.dtype == uint32 and key.shape == (2,):
        return key
    key = checked_keys(name, key)
    shape = shape_of(key)
    if shape != (2,):
        raise ShapeError(
            f"{name}: expected one key, of shape (2,), got an array of keys of shape {shape[:-1]}: "
            f"use gradxform.vmap over them{user_line()}")
    return key


def checked_keys(name: str, key: Any) -> Any:
    """``key`` as an array of keys, words along its last axis. Raises ArgumentTypeError for what is none."""
    wanted = "expected a key, made by gradxform.random.key(seed) or split"
    if not isinstance(key, (Tracer, np.ndarray)):
        raise ArgumentTypeError(f"{name}: {wanted}, got {key!r} of type {type(key).__name__}{user_line()}")
    found = type_of(key) if isinstance(key, Tracer) else key
    if found.dtype != uint32 or found.shape[-1:] != (2,):
        raise ArgumentTypeError(f"{name}: {wanted}, got an array of dtype {found.dtype} and shape {found.shape}{user_line()}")
    return key


def extents(name: str, shape: Any) -> Shape:
    """A shape as a tuple of integers that are not negative."""
    try:
        found = tuple([index(n) for n in shape]) if isinstance(shape, (tuple, list, np.ndarray)) else (index(shape),)
    except TypeError:
        raise ArgumentTypeError(
            f"{name}: shape must be a tuple of integers that are known while tracing, got {shape!r}{user_line()}") from None
    if any(n < 0 for n in found):
        raise ArgumentError(f"{name}: shape must not hold negative numbers, got {found}{user_line()}")
    return found


def sample_dtype(name: str, dtype: Any, default: DType, kinds: str) -> DType:
    """The dtype of samples: ``default`` for None; DTypeError unless it is of one of ``kinds``."""
    if dtype is None or dtype is default:
        return default
    found = supported_dtype(name, dtype)
    if found.kind not in kinds:
        raise DTypeError(f"{name}: dtype must be {_KIND_NAMES[kinds]} dtype, got {found}{user_line()}")
    return found


def float_dtype(name: str, dtype: Any) -> DType:
    """float64, or the float dtype that is asked for."""
    return sample_dtype(name, dtype, float64, "f")


def integer_dtype(name: str, dtype: Any) -> DType:
    """int64, or the integer dtype that is asked for."""
    return sample_dtype(name, dtype, int64, "iu")


def parameters(name: str, shape: Any, *values: Any) -> tuple[Shape, list[Any]]:
    """The shape of the samples and the parameters as operands.

    The shape is that to which the parameters broadcast; one that is given must be such that they broadcast to it.
    """
    operands = [x if type(x) is float or type(x) is np.ndarray else as_operand(name, x) for x in values]
    shapes = [shape_of(x) for x in operands]
    if shape is None:
        return broadcast_shapes(name, *shapes), operands
    found = extents(name, shape)
    check_shape(name, found, *shapes)
    return found, operands


def check_shape(name: str, shape: Shape, *shapes: Shape) -> None:
    """ShapeError unless arrays of ``shapes`` broadcast to ``shape``."""
    for given in shapes:
        offset = len(shape) - len(given)
        if offset < 0 or any(n not in (1, shape[offset + axis]) for axis, n in enumerate(given)):
            raise ShapeError(
                f"{name}: a parameter of shape {given} does not broadcast to shape={shape} of the samples: give the "
                f"shape of the whole result, or None for that of the parameters{user_line()}")


def choice_of(name: str, argument: str, value: Any, *accepted: str) -> str:
    """One of a few words; ArgumentError for others."""
    if value not in accepted:
        raise ArgumentError(f"{name}: {argument} must be one of {', '.join(map(repr, accepted))}, got {value!r}{user_line()}")
    return str(value)


def static_integer(name: str, argument: str, value: Any) -> int:
    """An integer that is known while tracing."""
    known = known_value(value) if isinstance(value, Tracer) else value
    try:
        return index(known)
    except TypeError:
        raise ArgumentTypeError(
            f"{name}: {argument} must be an integer that is known while tracing, got {value!r}{user_line()}") from None


def rows_of(name: str, shape: Any, values: Any) -> tuple[Shape, Any]:
    """The shape of samples that are rows, and the parameter whose last axis is one; ``shape`` is that without the rows."""
    operand = as_operand(name, values)
    found = shape_of(operand)
    if not found:
        raise ShapeError(f"{name}: expected parameters along a last axis, got one number{user_line()}")
    wanted = found[:-1] if shape is None else extents(name, shape)
    check_shape(name, wanted, found[:-1])
    return (*wanted, found[-1]), operand
