"""Which axes of an operand go with which of the result.

They do if each element of the result depends, of the operand, only on elements at the same index along both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform.ir import ArrayType, Equation
from gradxform.ir.families import ELEMENTWISE

#: For each axis of the result the operand's axis that goes with it at all other indices alike, or None.
Axes = tuple["int | None", ...]


def _equal_axes(operand: ArrayType, result: ArrayType) -> Axes:
    return tuple([a if operand.rank == result.rank and operand.shape[a] == n else None for a, n in enumerate(result.shape)])


def _broadcast_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    laid = {a: i for i, a in enumerate(params["axes"])}
    shape = operands[0].shape
    return tuple([laid[a] if a in laid and shape[laid[a]] == n else None for a, n in enumerate(result.shape)])


def _transpose_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    return tuple(params["permutation"])


def _reduced_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    return tuple([a for a in range(operands[0].rank) if a not in params["axes"]])


def _other_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    """Of operations along ``axis`` or ``axes``: the others."""
    moved = params["axes"] if "axes" in params else (params["axis"],)
    return tuple([None if a in moved else a for a in range(result.rank)])


def _untouched_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    """Of slices and pads: the axes whose extent stays, which then are whole; a pad's value belongs to no axis."""
    return (None,) * result.rank if position else _equal_axes(operands[0], result)


def reshaped_axes(operand: tuple[int, ...], result: tuple[int, ...]) -> Axes:
    """The axes that a reshape leaves alone, extents of 1 aside."""
    axes: list[int | None] = [None] * len(result)
    if 0 in operand:
        return tuple(axes)
    left = [(a, n) for a, n in enumerate(operand) if n != 1]
    right = [(a, n) for a, n in enumerate(result) if n != 1]
    while left and right:
        (a, before), (b, after) = left.pop(0), right.pop(0)
        if before == after:
            axes[b] = a
        while before != after:  # axes that are split or merged
            if before < after:
                before *= left.pop(0)[1]
            else:
                after *= right.pop(0)[1]
    return tuple(axes)


def _reshape_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    return reshaped_axes(operands[0].shape, result.shape)


def _dot_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    batch, contracting = params["batch"], params["contracting"]
    free = [[a for a in range(x.rank) if a not in batch[side] and a not in contracting[side]]
            for side, x in enumerate(operands)]
    mine: list[list[int | None]] = [list(axes) if side == position else [None] * len(axes)
                                    for side, axes in enumerate(free)]
    return (*batch[position], *mine[0], *mine[1])


def _gather_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    batch_rank, axes, x = params["batch_rank"], params["axes"], operands[0]
    rest = [a for a in range(batch_rank, x.rank) if a not in axes]
    middle = result.rank - batch_rank - len(rest)
    return (*range(batch_rank), *(None,) * middle, *rest)


def _scatter_axes(params: dict[str, Any], operands: Sequence[ArrayType], result: ArrayType, position: int) -> Axes:
    if position == 0:
        return tuple(range(result.rank))
    batch_rank, axes = params["batch_rank"], params["axes"]
    rest = iter(range(operands[2].rank, operands[1].rank))
    return tuple([a if a < batch_rank else None if a in axes else next(rest) for a in range(result.rank)])


_AXES: dict[str, Callable[[dict[str, Any], Sequence[ArrayType], ArrayType, int], Axes]] = {
    "broadcast": _broadcast_axes, "transpose": _transpose_axes, "reshape": _reshape_axes,
    "slice": _untouched_axes, "pad": _untouched_axes, "dot_general": _dot_axes, "gather": _gather_axes,
    "scatter": _scatter_axes,
    **dict.fromkeys(("reverse", "concatenate", "cumsum", "cumprod", "cummax", "cummin"), _other_axes),
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod"), _reduced_axes),
}


def operand_axes(equation: Equation, position: int) -> Axes:
    """How the axes of the result are found in the operand at ``position``; None for all that is not known."""
    operand, result = equation.inputs[position].type, equation.outputs[0].type
    name = equation.operation.name
    if name in ELEMENTWISE:
        return _equal_axes(operand, result)
    rule = _AXES.get(name)
    if rule is None:
        return (None,) * result.rank
    return rule(dict(equation.params), [x.type for x in equation.inputs], result, position)
