"""Writing into arrays: put, place, putmask, copyto, fill_diagonal, put_along_axis."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from gradxform import assignment, operators
from gradxform.array import Array
from gradxform.core import Tracer, dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from gradxform.indexing import get, update
from gradxform.linear import full
from gradxform.numpy.dispatch import cannot_write, refuse_unless, traced
from gradxform.numpy.indexing import take_along_axis
from gradxform.numpy.manipulation import known_array
from gradxform.numpy.ufuncs import truth
from gradxform.operands import as_operand, broadcast_to, cast, lift, normalize_axis
from gradxform.primitives.logic import select
from gradxform.primitives.shape import iota, reshape
from gradxform.tree import leaves

__all__ = ["copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"]


def _writing(reference: Callable[..., Any]) -> Callable[[Callable[..., None]], Any]:
    """The face of a function that writes into its first argument: NumPy's own if that is an ndarray."""

    def decorate(staged: Callable[..., None]) -> Any:
        def function(target: Any, *args: Any, **kwargs: Any) -> None:
            if isinstance(target, Array):
                assignment.check_writable(target, reference.__name__)
                staged(target, *args, **kwargs)
                return
            if any(isinstance(leaf, Tracer) for leaf in leaves((args, kwargs))):
                raise cannot_write(reference.__name__)
            if not isinstance(target, np.ndarray):
                raise ArgumentTypeError(
                    f"{reference.__name__}: expected an array to write into, got {type(target).__name__}{user_line()}")
            reference(target, *args, **kwargs)

        function.__name__ = function.__qualname__ = staged.__name__
        function.__doc__ = staged.__doc__
        function.__module__ = staged.__module__
        function.__wrapped__ = staged  # type: ignore[attr-defined]
        return traced(reference)(function)

    return decorate


def _repeated(name: str, x: Any, values: Any, count: int) -> Any:
    """The elements of ``values`` in the dtype of ``x``, repeated or cut off so that there are ``count``."""
    operand = assignment.value_to_assign(x, values)
    found = prod(shape_of(operand))
    if not found:
        raise ArgumentError(f"{name}: cannot take values from an empty array{user_line()}")
    vector = reshape(operand, (found,))
    if found == count:
        return vector
    rounds = -(-count // found)
    return get(reshape(broadcast_to(name, reshape(vector, (1, found)), (rounds, found)), (rounds * found,)), slice(0, count))


@_writing(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """Assign ``v``, repeated as often as it takes, to the positions ``ind`` of the flattened ``a``."""
    refuse_unless("put", "mode", mode, "raise", "clip", "wrap")
    index = as_operand("put", ind)
    index = reshape(index, (prod(shape_of(index)),))
    if mode != "raise":
        index = cast(index, int64)
        index = (operators.remainder(index, a.size) if mode == "wrap"
                 else lift("put", index).clip(0, a.size - 1))
    count = shape_of(index)[0]
    if count:
        vector = reshape(a.snapshot(), (a.size,))
        new = update("put", vector, index, _repeated("put", a, v, count), "set")
        assignment.replace(a, reshape(new, a.shape))


@_writing(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    """Assign the elements of ``vals``, in order and repeated, to those of ``arr`` that a known ``mask`` chooses."""
    chosen = known_array("place (its mask)", truth("place", mask)).reshape(-1)
    if chosen.size != arr.size:
        raise ShapeError(f"place: mask and data must be the same size, got {chosen.size} and {arr.size}{user_line()}")
    positions = np.flatnonzero(chosen)
    if positions.size:
        new = update("place", reshape(arr.snapshot(), (arr.size,)), positions,
                     _repeated("place", arr, vals, positions.size), "set")
        assignment.replace(arr, reshape(new, arr.shape))


@_writing(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    """Assign to the elements of ``a`` that ``mask`` chooses those at the same places of ``values``, repeated to its size."""
    chosen = truth("putmask", mask)
    if prod(shape_of(chosen)) != a.size:
        raise ShapeError(
            f"putmask: mask and data must be the same size, got shapes {shape_of(chosen)} and {a.shape}{user_line()}")
    if a.size:
        new = reshape(_repeated("putmask", a, values, a.size), a.shape)
        assignment.replace(a, lift("putmask", select(reshape(chosen, a.shape), new, a.snapshot())))


@_writing(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Assign ``src``, broadcast, to ``dst`` where ``where`` holds."""
    source = as_operand("copyto", src)
    if not np.can_cast(dtype_of(source), dst.dtype, casting) and not isinstance(src, (bool, int, float)):
        raise DTypeError(
            f"Cannot cast array data from dtype('{dtype_of(source)}') to dtype('{dst.dtype}') according to the rule "
            f"'{casting}'{user_line()}")
    values = broadcast_to("copyto", assignment.value_to_assign(dst, source), dst.shape)
    if where is not True:
        values = select(broadcast_to("copyto", truth("copyto", where), dst.shape), values, dst.snapshot())
    assignment.replace(dst, lift("copyto", values))


@_writing(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Assign ``val``, repeated, to the main diagonal of ``a``; in a tall matrix again below it if ``wrap``."""
    if a.ndim < 2:
        raise ShapeError(f"array must be at least 2-d, got shape {a.shape}{user_line()}")
    if a.ndim > 2 and len(set(a.shape)) != 1:
        raise ShapeError(f"All dimensions of input must be of equal length, got shape {a.shape}{user_line()}")
    end = a.size
    if a.ndim == 2:
        step = a.shape[1] + 1
        if not wrap:
            end = min(end, a.shape[1] * a.shape[1])
    else:
        step = 1 + sum(prod(a.shape[1:][k:]) for k in range(a.ndim - 1))
    positions = range(0, end, step)
    if len(positions):
        new = update("fill_diagonal", reshape(a.snapshot(), (a.size,)), slice(0, end, step),
                     _repeated("fill_diagonal", a, val, len(positions)), "set")
        assignment.replace(a, reshape(new, a.shape))


@_writing(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """Assign ``values`` where ``take_along_axis`` of the same ``indices`` takes elements."""
    if axis is None:
        flat = reshape(arr.snapshot(), (arr.size,))
        new = update("put_along_axis", flat, indices, assignment.value_to_assign(arr, values), "set")
        assignment.replace(arr, reshape(new, arr.shape))
        return
    taken = take_along_axis(arr.snapshot(), indices, axis).shape  # NumPy's checks
    position = normalize_axis("put_along_axis", axis, arr.ndim)
    index = as_operand("put_along_axis", indices)
    index = (np.broadcast_to(index, taken) if isinstance(index, np.ndarray)
             else broadcast_to("put_along_axis", index, taken))
    grid = tuple(index if k == position else (iota(taken, int64, k) if arr.shape[k] != 1 else full(taken, 0, int64))
                 for k in range(arr.ndim))
    new = update("put_along_axis", arr.snapshot(), grid, assignment.value_to_assign(arr, values), "set")
    assignment.replace(arr, new)
