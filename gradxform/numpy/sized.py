"""Functions whose result's shape depends on values: ``size=`` fixes it, as in JAX, where values are not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gradxform import tree
from gradxform.array import Array
from gradxform.core import Builder, dtype_of, run, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError
from gradxform.linear import full
from gradxform.numpy.dispatch import call_staged, traced
from gradxform.numpy.manipulation import static_extents
from gradxform.operands import known_value, lift
from gradxform.primitives import arithmetic, cumulative, logic
from gradxform.primitives.indexing import scatter
from gradxform.primitives.logic import convert
from gradxform.primitives.shape import iota, slice_along

Function = TypeVar("Function", bound=Callable[..., Any])


def traced_with_size(
    reference: Callable[..., Any], method: Callable[[np.ndarray], Any] | None = None,
) -> Callable[[Function], Function]:
    """As ``traced``: the face of a function of NumPy that has the further keywords ``size`` and ``fill_value`` here.

    To look for these costs a call in Python; a ``method`` of an ndarray that is all that NumPy's function of one array does
    saves NumPy's own.
    """

    def decorate(staged: Function) -> Function:
        def plain(*args: Any, size: Any = None, fill_value: Any = None, **kwargs: Any) -> Any:
            if size is None and fill_value is None:
                return reference(*args, **kwargs)
            return evaluated(staged, args, {"size": size, "fill_value": fill_value, **kwargs})

        if method is None:
            return traced(plain, reference)(staged)
        of_array = method

        def plain_of_one(*args: Any, **kwargs: Any) -> Any:
            if not kwargs and len(args) == 1 and type(args[0]) is np.ndarray:
                return of_array(args[0])
            return plain(*args, **kwargs)

        return traced(plain_of_one, reference)(staged)

    return decorate


def evaluated(staged: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a staged function of plain arrays."""
    builder = Builder(staged.__name__, Array)
    with builder:
        leaves, treedef = tree.flatten(call_staged(staged, args, kwargs))
        program, captures = builder.finish([lift(staged.__name__, leaf) for leaf in leaves])
    return tree.unflatten(treedef, run(program, captures))


def is_known(*operands: Any) -> bool:
    """Whether the values of lifted operands are known while tracing."""
    return all(known_value(x) is not None for x in operands)


def static_size(name: str, size: Any) -> int:
    """``size`` as an int that is not negative."""
    (found,) = static_extents(name, size)
    return found


def positions_of_true(mask: Any, size: int) -> tuple[Any, Any]:
    """The positions of the first ``size`` true elements of a vector, behind them zeros; and how many are true in all."""
    (length,) = shape_of(mask)
    ranks = cumulative.cumsum(convert(mask, int64), 0)
    # What is not wanted goes to one more place behind the last one.
    place = logic.select(mask, arithmetic.minimum(arithmetic.sub(ranks, np.int64(1)), np.int64(size)), np.int64(size))
    blank = full((size + 1,), 0, int64)
    found = scatter(blank, iota((length,), int64, 0), place, axes=(0,), mode="inside")
    total = slice_along(ranks, 0, length - 1, length) if length else full((1,), 0, int64)
    return slice_along(found, 0, 0, size), total


def picked(values: Any, places: Any) -> Any:
    """The elements of ``values`` along its first axis at ``places``, which `positions_of_true` gave; zeros of none."""
    from gradxform.numpy.indexing import take

    shape = shape_of(values)
    if not shape[0]:
        return lift("size", full((*shape_of(places), *shape[1:]), 0, dtype_of(values)))
    return take(values, places, 0, mode="clip")


def filled(values: Any, count: Any, fill_value: Any) -> Any:
    """``values`` with ``fill_value`` in the places from ``count`` on; as they are if that is None."""
    if fill_value is None:
        return values
    from gradxform.numpy.indexing import where

    shape = shape_of(values)
    wanted = iota(shape, int64, 0) < lift("size", count).reshape((1,) * len(shape))
    return where(wanted, values, np.asarray(fill_value).astype(values.dtype))


def refuse_fill_value(name: str, size: Any, fill_value: Any) -> None:
    """ArgumentError for a ``fill_value`` without ``size``."""
    if size is None and fill_value is not None:
        raise ArgumentError(f"{name}: fill_value has a meaning only together with size{user_line()}")
