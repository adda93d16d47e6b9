"""What NumPy accepts as an operand, brought into the form that primitives take: one dtype, shapes equal or rank 0."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Tracer, current_builder, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import python_literal
from gradxform.dtypes import PYTHON_SCALAR_OF, PYTHON_SCALARS, DType, canonical, promote, python_scalar_dtype
from gradxform.errors import ArgumentTypeError, AxisError, DTypeError, ShapeError
from gradxform.linear import broadcast
from gradxform.primitives.logic import convert
from gradxform.primitives.shape import concatenate, reshape

# -------------------------------------------------------------------------------------------------- what comes in


def supported_dtype(name: str, dtype: Any) -> DType:
    """``dtype`` in native byte order. Raises DTypeError, naming the operation, if programs cannot hold it."""
    try:
        return canonical(dtype)
    except DTypeError as error:
        raise DTypeError(f"{name}: {error}{user_line()}") from None


def as_operand(name: str, value: Any) -> Any:
    """``value`` as a traced array, native ndarray, NumPy scalar or Python scalar.

    Lists and tuples become arrays, also when they hold traced values. Raises ArgumentTypeError for what is no array
    and DTypeError for dtypes that programs cannot hold.
    """
    if isinstance(value, Tracer) or python_scalar_dtype(value) is not None:
        return value
    if isinstance(value, np.generic):
        return value.astype(supported_dtype(name, value.dtype))
    if isinstance(value, np.ndarray):
        if isinstance(value, (np.ma.MaskedArray, np.matrix)):
            raise ArgumentTypeError(
                f"{name}: a {type(value).__name__} has arithmetic of its own; pass a plain ndarray{user_line()}")
        return np.asarray(value, dtype=supported_dtype(name, value.dtype))
    if isinstance(value, (list, tuple)):
        return _from_sequence(name, value)
    if isinstance(value, (int, float, complex)):  # subclasses, such as IntEnum
        return next(number(value) for number in PYTHON_SCALARS[1:] if isinstance(value, number))
    if hasattr(value, "__array__"):
        return as_operand(name, np.asarray(value))
    raise ArgumentTypeError(
        f"{name}: expected an array or a number, got {value!r} of type {type(value).__name__}{user_line()}")


def known_value(tracer: Tracer) -> Any:
    """The value of a traced array if it is known while tracing, else None."""
    return tracer.builder.value_of(tracer.atom)


def is_operand(value: Any) -> bool:
    """Whether an operator may take ``value``; others are given the chance to define the reflected operator."""
    return isinstance(value, (Tracer, np.ndarray, np.generic, int, float, complex, list, tuple)) or (
        hasattr(value, "__array__")
        and (not hasattr(value, "__array_ufunc__") or type(value).__module__.partition(".")[0] in _LABELLED))


#: Libraries whose labelled arrays stand for their values: what is traced has no labels that could be matched.
_LABELLED = frozenset({"pandas", "xarray"})


def holds_tracer(value: Any) -> bool:
    """Whether a nested list or tuple has a traced array in it."""
    if isinstance(value, (list, tuple)):
        return any(holds_tracer(part) for part in value)
    return isinstance(value, Tracer)


def _from_sequence(name: str, value: Sequence[Any]) -> Any:
    if holds_tracer(value):
        parts = promote_operands(name, *value)
        shapes = {shape_of(part) for part in parts}
        if len(shapes) != 1:
            listed = ", ".join(str(shape_of(part)) for part in parts)
            raise ShapeError(f"{name}: a sequence of traced values needs one shape, got {listed}{user_line()}")
        return stack(parts)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name}: {error}{user_line()}") from None
    if array.dtype == object or array.dtype.kind not in "biufc":
        raise ArgumentTypeError(
            f"{name}: expected an array of numbers, got a {type(value).__name__} "
            f"that makes dtype {array.dtype}{user_line()}")
    return as_operand(name, array)


def stack(parts: Sequence[Any]) -> Any:
    """Operands of one dtype and shape along a new first axis."""
    return concatenate([reshape(part, (1, *shape_of(part))) for part in parts], 0)


def lift(name: str, value: Any) -> Any:
    """``value`` as a traced array of the open builder, so that it has methods and operators."""
    operand = as_operand(name, value)
    builder = current_builder()
    if builder is None or (isinstance(operand, Tracer) and operand.builder is builder):
        return operand
    return builder.tracer_class(builder, builder.atom(operand))


# ---------------------------------------------------------------------------------------------------- promotion


def cast(value: Any, dtype: DType, weak: bool = False) -> Any:
    """An operand in ``dtype``; a Python scalar stays one if ``weak``, else it becomes a NumPy scalar.

    Raises DTypeError for a complex operand and a real ``dtype``: no imaginary part is dropped unasked.
    """
    python = python_scalar_dtype(value)
    found = python or (value.type.dtype if isinstance(value, Tracer) else value.dtype)
    if found.kind == "c" and dtype.kind not in "bc":
        raise DTypeError(f"a complex operand, {type_of(value)}, does not fit a computation in {dtype}: take x.real, x.imag or "
                         f"abs(x){user_line()}")
    if python is not None:
        if weak:
            return PYTHON_SCALAR_OF[dtype.kind](value)
        return python_literal(value, dtype)
    if isinstance(value, Tracer):
        return value if found == dtype else convert(value, dtype, weak and value.type.weak)
    with np.errstate(all="ignore"):
        return value.astype(dtype, copy=False)


def promoted_type(name: str, operands: Iterable[Any]) -> tuple[DType, bool]:
    """The dtype that ``operands`` promote to, and whether it is weak."""
    types = [type_of(operand) for operand in operands]
    try:
        return promote(*[(t.dtype, t.weak) for t in types])
    except DTypeError as error:
        raise DTypeError(f"{name}: {error}{user_line()}") from None


def promote_operands(name: str, *values: Any) -> list[Any]:
    """The values as operands of one dtype, by NumPy's promotion (Python scalars by their kind only)."""
    operands = [as_operand(name, value) for value in values]
    dtype, weak = promoted_type(name, operands)
    return [cast(operand, dtype, weak) for operand in operands]


# -------------------------------------------------------------------------------------------------- broadcasting


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all ``shapes`` broadcast to; ShapeError in NumPy's words if there is none."""
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, rank - len(shape)):
            if extent != 1:
                if result[axis] not in (1, extent):
                    listed = " ".join(str(s).replace(" ", "") for s in shapes)
                    raise ShapeError(
                        f"{name}: operands could not be broadcast together with shapes {listed}{user_line()}")
                result[axis] = extent
    return tuple(result)


def broadcast_to(name: str, value: Any, shape: tuple[int, ...]) -> Any:
    """An operand repeated to ``shape`` by NumPy's rules; ShapeError if they do not allow it."""
    found = shape_of(value)
    if found == shape:
        return value
    offset = len(shape) - len(found)
    if offset < 0 or any(n not in (1, shape[offset + a]) for a, n in enumerate(found)):
        raise ShapeError(f"{name}: an array of shape {found} cannot be broadcast to shape {shape}{user_line()}")
    return broadcast(value, shape, tuple(range(offset, len(shape))))


def broadcast_operands(name: str, operands: Sequence[Any]) -> list[Any]:
    """The operands in one shape, those of rank 0 as they are: elementwise primitives repeat them."""
    shape = broadcast_shapes(name, *map(shape_of, operands))
    return [x if not shape_of(x) else broadcast_to(name, x, shape) for x in operands]


def binary(name: str, constructor: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """An elementwise function of two operands that promotes and broadcasts, then applies ``constructor``."""

    def function(x: Any, y: Any) -> Any:
        return constructor(*broadcast_operands(name, promote_operands(name, x, y)))

    function.__name__ = name
    return function


# ---------------------------------------------------------------------------------------------------------- axes


def normalize_axis(name: str, axis: Any, rank: int) -> int:
    """``axis`` counted from the front; AxisError in NumPy's words if it is out of range."""
    try:
        position = operator.index(axis)
    except TypeError:
        raise ArgumentTypeError(f"{name}: an axis is an integer, got {axis!r}{user_line()}") from None
    if not -rank <= position < rank:
        raise AxisError(f"{name}: axis {position} is out of bounds for array of dimension {rank}{user_line()}")
    return position % rank


def normalize_axes(name: str, axes: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in the given order: None means all, an integer one."""
    if axes is None:
        return tuple(range(rank))
    given = axes if isinstance(axes, (tuple, list)) else (axes,)
    found = tuple(normalize_axis(name, axis, rank) for axis in given)
    if len(set(found)) != len(found):
        raise AxisError(f"{name}: duplicate value in axis {axes}{user_line()}")
    return found
