"""The linear kernel: add, broadcast, reduce_sum, transpose, select — closed under jvp, transposition and batching.

The transforms need no other primitive: symbolic zeros become ``zeros``, cotangents meet in ``add``, batch axes are
brought into place by ``broadcast`` and ``transpose``, and ``select`` masks what must not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Undefined, bind, dtype_of, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import python_literal
from gradxform.dtypes import PYTHON_SCALARS, DType, check_same
from gradxform.errors import AxisError, DTypeError, NotDifferentiableError, ShapeError
from gradxform.ir import ArrayType
from gradxform.loopir.expression import ZERO, Expression, Index
from gradxform.loopir.lowering import Operand, Reduction, View, elementwise

# --------------------------------------------------------------------------------------------- elementwise shapes


def elementwise_shape(name: str, operands: Sequence[ArrayType]) -> tuple[int, ...]:
    """The shape of an elementwise result: operands have one shape, or rank 0."""
    shape: tuple[int, ...] = ()
    for operand in operands:
        if operand.shape:
            if shape and operand.shape != shape:
                listed = ", ".join(str(o) for o in operands)
                raise ShapeError(f"{name}: operands must have one shape (or rank 0), got {listed}")
            shape = operand.shape
    return shape


def batch_elementwise(primitive_bind: Any) -> Any:
    """The batching rule of an elementwise primitive: unbatched operands of rank > 0 are broadcast."""

    def rule(operands: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> tuple[Any, bool]:
        shape: tuple[int, ...] = ()
        for x, b in zip(operands, batched, strict=True):
            shape = shape or shape_of(x)[1 if b else 0:]
        moved = [align(x, b, (size, *shape)) for x, b in zip(operands, batched, strict=True)]
        return primitive_bind(*moved, **params), True

    return rule


def align(x: Any, batched: bool, shape: tuple[int, ...]) -> Any:
    """``x`` broadcast to the batched ``shape``, batch axis first; unbatched rank-0 operands stay rank 0."""
    found = shape_of(x)
    if not batched:
        return x if not found else broadcast(x, shape, tuple(range(1, len(shape))))
    return x if len(found) == len(shape) else broadcast(x, shape, (0,))


# ---------------------------------------------------------------------------------------------- Python's scalars

#: The kinds of dtype that each of them fits, as ``np.dtype.kind`` writes them.
_KINDS_TAKING = {bool: "biufc", int: "iufc", float: "fc", complex: "c"}


def same_dtype(*operands: Any) -> tuple[Any, ...]:
    """The operands with Python scalars brought to the dtype of the others.

    A Python scalar must fit that dtype by kind (no float beside integers) and by value, as in NumPy 2. If all operands
    are Python scalars they are brought to the widest kind among them.
    """
    for operand in operands:
        if type(operand) in PYTHON_SCALARS:
            break
    else:
        return operands
    others = [x for x in operands if type(x) not in PYTHON_SCALARS]
    if not others:
        widest = max((type(x) for x in operands), key=PYTHON_SCALARS.index)
        return tuple([widest(x) for x in operands])
    dtype = dtype_of(others[0])
    adopted = [_adopt(x, dtype) if type(x) in PYTHON_SCALARS else x for x in operands]
    if all(type_of(x).weak for x in others):
        # Python scalars among themselves stay Python scalars, and so promote weakly with what comes later.
        return tuple([x.item() if type(y) in PYTHON_SCALARS else x for x, y in zip(adopted, operands, strict=True)])
    return tuple(adopted)


def _adopt(value: Any, dtype: DType) -> Any:
    if dtype.kind not in _KINDS_TAKING[type(value)]:
        raise DTypeError(f"a Python {type(value).__name__} ({value!r}) does not fit operands of dtype {dtype}: "
                         f"cast them with .astype first{user_line()}")
    return python_literal(value, dtype)


# ---------------------------------------------------------------------------------------------------------- add


def _add_type(x: ArrayType, y: ArrayType) -> ArrayType:
    return ArrayType(check_same("add", (x.dtype, y.dtype)), elementwise_shape("add", (x, y)), x.weak and y.weak)


def _add_jvp(primals: Any, tangents: Sequence[Any], output: Any) -> Any:
    t, u = tangents
    if t is None:
        return None if u is None else broadcast_like(u, output)
    return broadcast_like(t, output) if u is None else add(t, u)


def _add_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    for x in operands:
        if not isinstance(x, Undefined):
            raise NotDifferentiableError("add is not linear in one operand alone: x + c has no transpose unless c is zero")
    return tuple(unbroadcast(ct, x.type) for x in operands)


def add(x: Any, y: Any) -> Any:
    """x + y for one dtype; shapes equal or rank 0. A Python scalar takes the dtype of the other operand."""
    if type(x) in (int, float, complex) and not type_of(y).weak:
        x = _adopt(x, type_of(y).dtype)
    if type(y) in (int, float, complex) and not type_of(x).weak:
        y = _adopt(y, type_of(x).dtype)
    return bind(add_p, x, y)


# ---------------------------------------------------------------------------------------------------- broadcast


def _broadcast_type(x: ArrayType, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> ArrayType:
    if len(axes) != x.rank or any(shape[a] != n and n != 1 for a, n in zip(axes, x.shape, strict=True)):
        raise ShapeError(f"broadcast: an operand {x} cannot be laid along axes {axes} of shape {shape}")
    return ArrayType(x.dtype, shape, x.weak)


def _broadcast_evaluate(x: Any, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    expanded = [1] * len(shape)
    for a, n in zip(axes, np.shape(x), strict=True):
        expanded[a] = n
    return np.broadcast_to(np.reshape(x, expanded), shape)


def _broadcast_transpose(ct: Any, operands: Sequence[Any], *, shape: Any, axes: tuple[int, ...]) -> tuple[Any]:
    (x,) = operands
    array_type = x.type
    stretched = [a for a, n in zip(axes, array_type.shape, strict=True) if n == 1 and shape[a] != 1]
    summed = reduce_sum(ct, tuple(a for a in range(len(shape)) if a not in axes or a in stretched))
    if stretched:
        kept = tuple(position for position, a in enumerate(axes) if a not in stretched)
        summed = broadcast(summed, array_type.shape, kept)
    return (summed,)


def _broadcast_batch(operands: Any, batched: Any, size: int, *, shape: Any, axes: Any) -> tuple[Any, bool]:
    (x,) = operands
    return broadcast(x, (size, *shape), (0, *(a + 1 for a in axes))), True


def _broadcast_lower(operands: Sequence[Operand], result: ArrayType, *, shape: Any, axes: tuple[int, ...]) -> View:
    (x,) = operands
    extents = x.type.shape

    def read(index: Index) -> Expression:
        return x(tuple([ZERO if n == 1 else index[a] for a, n in zip(axes, extents, strict=True)]))

    return View(read)


def broadcast(x: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Lay the axes of ``x`` along ``axes`` of a result of ``shape``; the other axes repeat, as do extents of 1."""
    if shape_of(x) == shape:
        return x
    return bind(broadcast_p, x, shape=shape, axes=axes)


# --------------------------------------------------------------------------------------------------- reduce_sum


def check_axes(name: str, axes: tuple[int, ...], rank: int) -> None:
    """Axes are sorted, distinct and within range(rank), as primitives hold them."""
    if any(not 0 <= a < rank for a in axes) or list(axes) != sorted(set(axes)):
        raise AxisError(f"{name}: axes {axes} do not fit an operand of rank {rank}")


def reduced_type(name: str, x: ArrayType, axes: tuple[int, ...]) -> ArrayType:
    """The type of ``x`` without ``axes``."""
    check_axes(name, axes, x.rank)
    return ArrayType(x.dtype, tuple(n for a, n in enumerate(x.shape) if a not in axes))


def lower_reduction(operation: str) -> Any:
    """The lowering rule of a reduction over the parameter ``axes``."""

    def lower(operands: Sequence[Operand], result: ArrayType, *, axes: tuple[int, ...]) -> Reduction:
        (x,) = operands
        rank = x.type.rank

        def read(index: Index, reduced: Index) -> Expression:
            kept, extra = iter(index), iter(reduced)
            return x(tuple([next(extra) if a in axes else next(kept) for a in range(rank)]))

        return Reduction(operation, tuple(x.type.shape[a] for a in axes), read)

    return lower


def _reduce_sum_transpose(ct: Any, operands: Any, *, axes: tuple[int, ...]) -> tuple[Any]:
    shape = operands[0].type.shape
    return (broadcast(ct, shape, tuple(a for a in range(len(shape)) if a not in axes)),)


def _reduce_sum_batch(operands: Any, batched: Any, size: int, *, axes: tuple[int, ...]) -> tuple[Any, bool]:
    return reduce_sum(operands[0], tuple(a + 1 for a in axes)), True


def reduce_sum(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over ``axes`` (sorted, not negative), in the dtype of ``x``."""
    return bind(reduce_sum_p, x, axes=axes) if axes else x


# ---------------------------------------------------------------------------------------------------- transpose


def _transpose_type(x: ArrayType, *, permutation: tuple[int, ...]) -> ArrayType:
    if sorted(permutation) != list(range(x.rank)):
        raise AxisError(f"transpose: {permutation} is no permutation of the {x.rank} axes of {x}")
    return ArrayType(x.dtype, tuple(x.shape[a] for a in permutation))


def inverse_permutation(permutation: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``permutation``."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _transpose_lower(operands: Sequence[Operand], result: ArrayType, *, permutation: tuple[int, ...]) -> View:
    (x,) = operands
    inverse = inverse_permutation(permutation)
    return View(lambda index: x(tuple([index[position] for position in inverse])))


def transpose(x: Any, permutation: Sequence[int]) -> Any:
    """``x`` with its axes permuted: axis i of the result is axis permutation[i] of ``x``."""
    permutation = tuple(permutation)
    return x if permutation == tuple(range(len(permutation))) else bind(transpose_p, x, permutation=permutation)


# ------------------------------------------------------------------------------------------------------- select


def _select_type(condition: ArrayType, x: ArrayType, y: ArrayType) -> ArrayType:
    if condition.dtype.kind != "b":
        raise DTypeError(f"select: expected a condition of dtype bool, got {condition.dtype}: compare it with something")
    dtype = check_same("select", (x.dtype, y.dtype))
    return ArrayType(dtype, elementwise_shape("select", (condition, x, y)), x.weak and y.weak)


def _select_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    _, t, u = tangents
    if t is None and u is None:
        return None
    zero = dtype_of(output).type(0)
    return broadcast_like(select(primals[0], zero if t is None else t, zero if u is None else u), output)


def _select_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    condition, x, y = operands
    zero = dtype_of(ct).type(0)
    return (None,
            unbroadcast(select(condition, ct, zero), x.type) if isinstance(x, Undefined) else None,
            unbroadcast(select(condition, zero, ct), y.type) if isinstance(y, Undefined) else None)


def select(condition: Any, x: Any, y: Any) -> Any:
    """x where the boolean ``condition`` holds, else y; both are evaluated.

    It is linear in x and y together: with a zero it is a mask. The derivative passes to the operand that is chosen; the
    other one's is exactly zero, even where that operand or its tangent is infinite or NaN.
    """
    return bind(select_p, condition, *same_dtype(x, y))


# ------------------------------------------------------------------------------------------------------ helpers


def zeros(array_type: ArrayType) -> Any:
    """An array of zeros."""
    return full(array_type.shape, 0, array_type.dtype)


def full(shape: tuple[int, ...], value: Any, dtype: DType) -> Any:
    """An array of one value: a broadcast literal."""
    return broadcast(dtype.type(value), shape, ())


def broadcast_like(x: Any, like: Any) -> Any:
    """A rank-0 ``x`` broadcast to the shape of ``like``; anything else is returned as it is."""
    shape = shape_of(like)
    return x if shape_of(x) == shape else broadcast(x, shape, ())


def unbroadcast(ct: Any, array_type: ArrayType) -> Any:
    """The cotangent of an operand of ``array_type`` that was a rank-0 operand of an elementwise primitive, or of full shape."""
    shape = shape_of(ct)
    return ct if shape == array_type.shape else reduce_sum(ct, tuple(range(len(shape))))


def move_axis(x: Any, source: int, destination: int) -> Any:
    """``x`` with one axis moved, both positions not negative."""
    order = [a for a in range(len(shape_of(x))) if a != source]
    order.insert(destination, source)
    return transpose(x, order)


def linear_jvp(apply: Any) -> Any:
    """The jvp rule of a primitive that is linear in its single operand: apply it to the tangent."""

    def rule(primals: Any, tangents: Sequence[Any], output: Any, **params: Any) -> Any:
        return None if tangents[0] is None else apply(tangents[0], **params)

    return rule


def instantiate(x: Any, like: Any) -> Any:
    """A symbolic zero (None) made an array of zeros."""
    return zeros(type_of(like).strong()) if x is None else x


add_p = Primitive(
    "add",
    type=_add_type,
    evaluate=np.add,
    jvp=_add_jvp,
    transpose=_add_transpose,
    batch=batch_elementwise(add),
    lower=elementwise("add"),
)

broadcast_p = Primitive(
    "broadcast",
    type=_broadcast_type,
    evaluate=_broadcast_evaluate,
    jvp=linear_jvp(broadcast),
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
    lower=_broadcast_lower,
)

reduce_sum_p = Primitive(
    "reduce_sum",
    type=lambda x, *, axes: reduced_type("reduce_sum", x, axes),
    evaluate=lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype),
    jvp=linear_jvp(reduce_sum),
    transpose=_reduce_sum_transpose,
    batch=_reduce_sum_batch,
    lower=lower_reduction("add"),
)

transpose_p = Primitive(
    "transpose",
    type=_transpose_type,
    evaluate=lambda x, *, permutation: np.transpose(x, permutation),
    jvp=linear_jvp(transpose),
    transpose=lambda ct, operands, *, permutation: (transpose(ct, inverse_permutation(permutation)),),
    batch=lambda operands, batched, size, *, permutation: (
        transpose(operands[0], (0, *(a + 1 for a in permutation))), True),
    lower=_transpose_lower,
)

select_p = Primitive(
    "select",
    type=_select_type,
    evaluate=np.where,
    jvp=_select_jvp,
    transpose=_select_transpose,
    batch=batch_elementwise(select),
    lower=elementwise("select"),
)

PRIMITIVES = (add_p, broadcast_p, reduce_sum_p, transpose_p, select_p)
