"""The methods of ufuncs on traced arrays: reduce, accumulate, outer and reduceat."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

import gradxform.numpy as face
from gradxform.array import Array
from gradxform.assignment import check_writable, replace
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from gradxform.indexing import get
from gradxform.linear import full
from gradxform.numpy.dispatch import STAGED, cannot_write, written
from gradxform.numpy.manipulation import concatenate, known_array, moveaxis, reshape, stack
from gradxform.numpy.reductions import accumulate_extremum
from gradxform.operands import cast, lift, normalize_axes, normalize_axis, supported_dtype
from gradxform.primitives.indexing import scatter

_MISSING: Any = np._NoValue

#: Ufuncs whose reduction is a function of the face.
_REDUCE = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min", np.logical_and: "all",
           np.logical_or: "any"}
_ACCUMULATE = {np.add: "cumsum", np.multiply: "cumprod"}
#: What a scatter of segments does for them.
_SEGMENTS: dict[Any, str] = {np.add: "add", np.multiply: "mul", np.maximum: "max", np.minimum: "min"}
#: Those whose operands may be combined in any order, over several axes at once.
_REORDERABLE = (np.fmax, np.fmin, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.logical_xor, np.gcd, np.lcm,
                np.logaddexp, np.logaddexp2, np.hypot)


def apply_method(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A method of ``ufunc``, recorded."""
    name = f"{ufunc.__name__}.{method}"
    out = kwargs.pop("out", None)
    if out is not None and not (isinstance(out, tuple) and all(part is None for part in out)):
        return written(name, apply_method(ufunc, method, inputs, kwargs), out)
    if method == "at":
        return _at(name, ufunc, *inputs)
    if method == "outer" and len(inputs) == 2:
        left, right = (lift(name, x) for x in inputs)
        return STAGED[ufunc](left.reshape(*left.shape, *(1,) * right.ndim), right, **kwargs)
    if method not in _METHODS or ufunc.nin != 2 or ufunc.nout != 1 or ufunc not in STAGED:
        raise ArgumentTypeError(f"{name} is not supported on traced arrays{user_line()}")
    return _METHODS[method](ufunc, *inputs, **kwargs)


# ----------------------------------------------------------------------------------------------------------- at

#: The ufuncs of which a position that is given repeatedly gets every operand in turn, and what does so.
_AT: dict[Any, str] = {np.add: "add", np.subtract: "subtract", np.multiply: "multiply", np.divide: "divide",
                       np.power: "power", np.maximum: "max", np.minimum: "min"}


def _at(name: str, ufunc: np.ufunc, x: Any, indices: Any, *operands: Any) -> None:
    if not isinstance(x, Array):
        raise cannot_write(name)
    method = _AT.get(ufunc)
    if method is None or len(operands) != 1:
        raise ArgumentTypeError(
            f"{name} is not supported on traced arrays, only that of {', '.join(f.__name__ for f in _AT)}: "
            f"where no index is repeated, assign x[i] = {ufunc.__name__}(x[i], ...){user_line()}")
    check_writable(x, name)
    replace(x, getattr(x.snapshot().at[indices], method)(operands[0]))


# ------------------------------------------------------------------------------------------------------- reduce


def _reduce(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: bool = False,
            initial: Any = _MISSING, where: Any = True) -> Any:
    name = f"{ufunc.__name__}.reduce"
    if ufunc in _REDUCE:
        kept = {"dtype": dtype} if ufunc in (np.add, np.multiply) else {}
        if dtype is not None and not kept:
            array = lift(name, array).astype(dtype)
        if initial is not _MISSING:
            kept["initial"] = initial
        return getattr(face, _REDUCE[ufunc])(array, axis=axis, keepdims=keepdims, where=where, **kept)
    x = _operand(ufunc, name, array, dtype)
    axes = normalize_axes(name, axis, x.ndim)
    if len(axes) > 1 and ufunc not in _REORDERABLE:
        raise ArgumentError(
            f"{name}: reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified, "
            f"got {axis}{user_line()}")
    kept_shape = tuple(n for k, n in enumerate(x.shape) if k not in axes)
    if where is not True:
        neutral = ufunc.identity if initial is _MISSING else initial
        if neutral is None:
            raise ArgumentError(
                f"{name}: the operation has no identity, so to use a where mask one has to specify 'initial'{user_line()}")
        x = face.where(lift(name, where), x, cast(lift(name, neutral), x.dtype))
    lines = reshape(moveaxis(x, axes, tuple(range(len(axes)))), (prod(x.shape[k] for k in axes), *kept_shape))
    result = _folded(ufunc, name, lines, initial)
    return reshape(result, tuple(1 if k in axes else n for k, n in enumerate(x.shape))) if keepdims else result


def _operand(ufunc: np.ufunc, name: str, array: Any, dtype: Any) -> Any:
    """The array in the dtype in which ``ufunc`` is carried on."""
    x = lift(name, array)
    try:
        found = ufunc.resolve_dtypes((None, x.dtype, None), reduction=True)[0] if dtype is None else dtype
    except TypeError as error:
        raise DTypeError(f"{name}: {error}{user_line()}") from None
    return lift(name, cast(x, supported_dtype(name, found)))


def _step(ufunc: np.ufunc, name: str, dtype: Any) -> Callable[[Any, Any], Any]:
    def step(earlier: Any, later: Any) -> Any:
        result = lift(name, STAGED[ufunc](earlier, later))
        if result.dtype != dtype:
            raise DTypeError(f"{name}: the operation gives {result.dtype} for operands of dtype {dtype}{user_line()}")
        return result

    return step


def _folded(ufunc: np.ufunc, name: str, lines: Any, initial: Any) -> Any:
    """The lines along the first axis combined from the first to the last."""
    if ufunc is np.logaddexp and initial is _MISSING and lines.shape[0]:
        from gradxform.scipy.special import logsumexp

        return logsumexp(lines, axis=0)
    start = ufunc.identity if initial is _MISSING else initial
    if initial is _MISSING and lines.shape[0]:
        carry, rest = lines[0], lines[1:]
    elif start is None:
        raise ShapeError(
            f"zero-size array to reduction operation {ufunc.__name__} which has no identity{user_line()}")
    else:
        carry, rest = lift(name, full(lines.shape[1:], start, lines.dtype)), lines
    if not rest.shape[0]:
        return carry
    from gradxform.lax import scan  # beside this package, which it must not be needed to import

    step = _step(ufunc, name, lines.dtype)
    return scan(lambda earlier, later: (step(earlier, later), None), carry, rest)[0]


# --------------------------------------------------------------------------------------------------- accumulate


def _accumulate(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: None = None) -> Any:
    name = f"{ufunc.__name__}.accumulate"
    if ufunc in _ACCUMULATE:
        return getattr(face, _ACCUMULATE[ufunc])(array, axis=axis, dtype=dtype)
    if ufunc in (np.maximum, np.minimum) and dtype is None:
        return accumulate_extremum(ufunc.__name__, array, axis)
    x = _operand(ufunc, name, array, dtype)
    position = normalize_axis(name, axis, x.ndim)
    lines = moveaxis(x, position, 0)
    if lines.shape[0] < 2:
        return x
    from gradxform.lax import scan

    step = _step(ufunc, name, lines.dtype)

    def carried(earlier: Any, later: Any) -> tuple[Any, Any]:
        result = step(earlier, later)
        return result, result

    rest = scan(carried, lines[0], lines[1:])[1]
    return moveaxis(concatenate([lines[:1], rest], 0), 0, position)


# ----------------------------------------------------------------------------------------------------- reduceat


def _reduceat(ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: None = None) -> Any:
    """For each index the elements from there up to the next index; that element alone if the next is not beyond it."""
    name = f"{ufunc.__name__}.reduceat"
    x = lift(name, array)
    if dtype is not None:
        x = x.astype(dtype)
    elif ufunc in (np.add, np.multiply):
        x = x.astype(ufunc.resolve_dtypes((None, x.dtype, None), reduction=True)[0])
    position = normalize_axis(name, axis, x.ndim)
    starts = known_array(f"{name} (its indices)", indices).astype(np.int64)
    lines = moveaxis(x, position, 0)
    extent = lines.shape[0]
    if ((starts < 0) | (starts >= extent)).any():
        raise IndexRangeError(f"{name}: indices {starts.tolist()} do not all lie in [0, {extent}){user_line()}")
    bounds = [(start, max(stop, start + 1)) for start, stop in pairwise([*starts.tolist(), extent])]
    if ufunc in _SEGMENTS:
        result = _scattered(ufunc, lines, bounds)
    else:
        parts = [_reduce(ufunc, get(lines, slice(*pair)), 0, lines.dtype) for pair in bounds]
        result = stack(parts, 0) if parts else lift(name, full((0, *lines.shape[1:]), 0, lines.dtype))
    return moveaxis(result, 0, position)


def _scattered(ufunc: np.ufunc, lines: Any, bounds: list[tuple[int, int]]) -> Any:
    """Segments combined by one scatter: the first element of each is set, the others are combined with it."""
    name = f"{ufunc.__name__}.reduceat"
    first = get(lines, np.array([start for start, _ in bounds], np.int64))
    rest = np.array([k for start, stop in bounds for k in range(start + 1, stop)], np.int64)
    if not rest.size:
        return first
    segments = np.repeat(np.arange(len(bounds)), [stop - start - 1 for start, stop in bounds])
    return lift(name, scatter(first, get(lines, rest), segments, axes=(0,), mode="inside", operation=_SEGMENTS[ufunc]))


_METHODS: dict[str, Callable[..., Any]] = {"reduce": _reduce, "accumulate": _accumulate, "reduceat": _reduceat}
