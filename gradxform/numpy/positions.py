"""Where elements are not zero. Values must be known, or ``size=`` must be given, as in JAX."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core.source import user_line
from gradxform.dtypes import int64
from gradxform.errors import ShapeError
from gradxform.linear import full
from gradxform.numpy.manipulation import known_array
from gradxform.numpy.sized import filled, positions_of_true, refuse_fill_value, static_size, traced_with_size
from gradxform.numpy.ufuncs import truth
from gradxform.operands import lift
from gradxform.primitives.shape import concatenate, reshape


def _found(name: str, a: Any, size: Any, fill_value: Any) -> tuple[Any, ...]:
    """One vector of positions per axis."""
    x = lift(name, a)
    refuse_fill_value(name, size, fill_value)
    if size is None:
        return tuple(lift(name, found) for found in known_array(name, x).nonzero())
    fills = fill_value if isinstance(fill_value, (tuple, list)) else [fill_value] * x.ndim
    wanted = static_size(name, size)
    if not x.size:
        return tuple(lift(name, full((wanted,), 0 if fill is None else fill, int64)) for fill in fills)
    flat, count = positions_of_true(truth(name, reshape(x, (x.size,))), wanted)
    rest = lift(name, flat)
    found = []
    for extent in reversed(x.shape):
        found.append(lift(name, operators.remainder(rest, extent)))
        rest = operators.floor_divide(rest, extent)
    return tuple(filled(part, count, fill) for part, fill in zip(reversed(found), fills, strict=True))


@traced_with_size(np.nonzero, np.ndarray.nonzero)
def nonzero(a: Any, *, size: Any = None, fill_value: Any = None) -> tuple[Any, ...]:
    """The indices of the elements that are not zero; values must be known, or ``size`` says how many are wanted.

    Missing ones are ``fill_value`` (one number, or one per axis), by default 0.
    """
    x = lift("nonzero", a)
    if x.ndim == 0:
        raise ShapeError(
            f"Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero(){user_line()}")
    return _found("nonzero", x, size, fill_value)


@traced_with_size(np.flatnonzero)
def flatnonzero(a: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The positions in the flattened array of the elements that are not zero; as ``nonzero``."""
    x = lift("flatnonzero", a)
    return _found("flatnonzero", lift("flatnonzero", reshape(x, (x.size,))), size, fill_value)[0]


@traced_with_size(np.argwhere)
def argwhere(a: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The indices of the elements that are not zero, one per row; as ``nonzero``."""
    x = lift("argwhere", a)
    if size is None:
        return lift("argwhere", np.argwhere(known_array("argwhere", x)))
    if not x.ndim:
        return lift("argwhere", full((static_size("argwhere", size), 0), 0, int64))
    found = _found("argwhere", x, size, fill_value)
    return lift("argwhere", concatenate([reshape(part, (part.shape[0], 1)) for part in found], 1))
