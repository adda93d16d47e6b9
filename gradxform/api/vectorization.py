"""vmap."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

from gradxform import tree
from gradxform.api.arguments import decorator, wrap
from gradxform.api.execution import execute
from gradxform.api.tracing import as_values, flatten_output, name_of, types_of
from gradxform.array import Array
from gradxform.core import Builder, shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError, AxisError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import broadcast, move_axis
from gradxform.transforms import batch


@decorator
def vmap(
    fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None
) -> Callable[..., Any]:
    """``fun`` over a batch: one program, no loop in Python.

        vmap : (a -> b) -> ([a] -> [b])        law: vmap(f)(xs) = stack of f(x)

    Args:
        fun: a function of one example; values of batched arguments are not known inside, so choices between lanes
            are written with ``np.where``.
        in_axes: an int or None (not batched) for all arguments, or a tuple/list with one entry per positional
            argument, each a tree prefix of it. Keyword arguments are batched along axis 0.
        out_axes: likewise for the result; None for a result that is the same in all lanes.
        axis_size: the batch size, needed only if nothing is batched.

    Raises:
        ShapeError: batch sizes differ.
        AxisError: an argument has no such axis.
        TreeError: not a tree prefix.

    >>> import numpy as np
    >>> vmap(np.dot)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)

    def batched(*args: Any, **kwargs: Any) -> Any:
        purpose = f"vmap of {name_of(fun)}"
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ArgumentError(
                f"{purpose}: in_axes has {len(in_axes)} entries for {len(args)} positional argument(s){user_line()}")
        leaves, treedef = tree.flatten((args, kwargs))
        axes = tree.broadcast_prefix(in_axes, args, f"{purpose}: in_axes") + [0] * len(tree.leaves(kwargs))
        values = [leaf if axis is None else as_values([leaf], f"{purpose}: the argument")[0]
                  for leaf, axis in zip(leaves, axes, strict=True)]
        moved, size = _moved(purpose, values, axes, axis_size)
        flags = [axis is not None for axis in axes]
        traced_positions = [i for i, leaf in enumerate(values) if flags[i] or _is_array(leaf)]
        builder = Builder(purpose, Array)
        with builder:
            inner = list(values)
            for i in traced_positions:
                array_type = types_of([moved[i]])[0]
                lane = ArrayType(array_type.dtype, array_type.shape[1:] if flags[i] else array_type.shape, array_type.weak)
                inner[i] = builder.add_input(lane, None if flags[i] else moved[i])
            call_args, call_kwargs = tree.unflatten(treedef, inner)
            outputs, out_tree = flatten_output(fun(*call_args, **call_kwargs), fun)
            program, captures = builder.finish(outputs, name_of(fun))
        over_lanes, out_flags = batch(
            program, [flags[i] for i in traced_positions] + [False] * len(captures), size)
        results = execute(over_lanes, [*(moved[i] for i in traced_positions), *captures])
        wanted = tree.broadcast_prefix(out_axes, tree.unflatten(out_tree, results), f"{purpose}: out_axes")
        finished = [_placed(purpose, x, flag, axis, size)
                    for x, flag, axis in zip(results, out_flags, wanted, strict=True)]
        return tree.unflatten(out_tree, finished)

    return wrap(fun, batched, "vmap")


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _moved(purpose: str, values: list[Any], axes: list[Any], axis_size: int | None) -> tuple[list[Any], int]:
    """Batch axes brought to the front, and the batch size."""
    moved: list[Any] = []
    sizes: dict[int, int] = {}
    for position, (value, axis) in enumerate(zip(values, axes, strict=True)):
        if axis is None:
            moved.append(value)
            continue
        shape = shape_of(value)
        try:
            number = index(axis)
        except TypeError:
            raise ArgumentTypeError(f"{purpose}: in_axes must hold ints or None, got {axis!r}{user_line()}") from None
        if not -len(shape) <= number < len(shape):
            raise AxisError(
                f"{purpose}: in_axes gives axis {number} to an argument of shape {shape}, which has {len(shape)} axes: "
                f"pass None for what is not batched{user_line()}")
        number %= len(shape)
        sizes.setdefault(shape[number], position)
        moved.append(move_axis(value, number, 0))
    if axis_size is not None:
        sizes.setdefault(axis_size, -1)
    if len(sizes) > 1:
        listed = ", ".join(f"{size} ({'axis_size' if p < 0 else f'leaf {p}'})" for size, p in sizes.items())
        raise ShapeError(f"{purpose}: batch sizes differ: {listed}{user_line()}")
    if not sizes:
        raise ArgumentError(f"{purpose}: nothing is batched: give in_axes that are not all None, or axis_size{user_line()}")
    return moved, next(iter(sizes))


def _placed(purpose: str, result: Any, batched: bool, axis: Any, size: int) -> Any:
    """The result with its batch axis where out_axes wants it."""
    shape = shape_of(result)
    if axis is None:
        if batched:
            raise ArgumentError(f"{purpose}: out_axes is None for a result that differs between lanes{user_line()}")
        return result
    rank = len(shape) if batched else len(shape) + 1
    number = index(axis)
    if not -rank <= number < rank:
        raise AxisError(f"{purpose}: out_axes gives axis {number} to a result with {rank} axes{user_line()}")
    number %= rank
    if not batched:
        full = (*shape[:number], size, *shape[number:])
        return broadcast(result, full, tuple(a for a in range(rank) if a != number))
    return move_axis(result, 0, number)
