"""From Python functions to programs: the common first step of every transform.

`Leaves` describes arguments as flat leaves; `trace` calls a function on traced leaves and returns its program. Static
or undifferentiated arguments are closed over: inside, they are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.array import Array
from gradxform.core import Builder, Tracer, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import canonical, python_scalar_dtype
from gradxform.errors import ArgumentTypeError
from gradxform.ir import ArrayType, Program
from gradxform.primitives.constant import hoist_constants


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """The program of a function. ``captures`` are the values of its last inputs."""

    program: Program
    captures: list[Any]
    treedef: tree.TreeDef
    auxiliary: Any = None
    auxiliary_positions: tuple[int, ...] = ()


def name_of(function: Any) -> str:
    """A function's name for programs and messages."""
    return getattr(function, "__name__", None) or type(function).__name__


def as_value(leaf: Any, what: str) -> Any:
    """A leaf as a tracer, Python scalar, NumPy scalar or native-endian array; ArgumentTypeError otherwise."""
    if type(leaf) is int and not -(1 << 63) <= leaf < 1 << 63:
        raise OverflowError(f"{what}: Python integer {leaf} does not fit int64{user_line()}")
    if isinstance(leaf, Tracer) or python_scalar_dtype(leaf) is not None:
        return leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        dtype = canonical(leaf.dtype)
        if type(leaf) is np.ndarray or isinstance(leaf, np.generic):
            return leaf if leaf.dtype == dtype and leaf.dtype.isnative else leaf.astype(dtype)
        if isinstance(leaf, np.ma.MaskedArray):
            raise ArgumentTypeError(f"{what}: masked arrays are not supported, got {leaf!r}: pass .filled(value){user_line()}")
        return np.asarray(leaf, dtype=dtype)
    if hasattr(leaf, "__array__") and not isinstance(leaf, type):
        return as_value(np.asarray(leaf), what)
    raise ArgumentTypeError(
        f"{what} must be an array or a number (or a pytree of them), got {leaf!r} of type {type(leaf).__name__}{user_line()}")


def as_values(leaves: Sequence[Any], what: str) -> list[Any]:
    """`as_value` of each leaf."""
    return [as_value(leaf, what) for leaf in leaves]


def flatten_output(result: Any, function: Any) -> tuple[list[Any], tree.TreeDef]:
    """The leaves of a traced function's result; ArgumentTypeError names a leaf that is no array or number."""
    leaves, treedef = tree.flatten(result)
    return [as_value(leaf, f"the result of {name_of(function)}") for leaf in leaves], treedef


def trace(
    function: Callable[..., Any], values: Sequence[Any], types: Sequence[ArrayType], rebuild: Callable[[list[Any]], Any],
    purpose: str, known: bool = True, has_aux: bool = False,
) -> Traced:
    """Call ``function(*args)`` with ``args = rebuild(traced leaves)`` and record its program.

    ``values`` are the leaves' values, used where ``known``; with ``has_aux`` the function returns (result, auxiliary),
    and the auxiliary's traced leaves become further outputs.
    """
    builder = Builder(f"{purpose} of {name_of(function)}", Array)
    with builder:
        leaves = [builder.add_input(leaf_type, value if known else None)
                  for leaf_type, value in zip(types, values, strict=True)]
        args, kwargs = rebuild(leaves)
        result = function(*args, **kwargs)
        auxiliary: Any = None
        if has_aux:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise ArgumentTypeError(
                    f"{purpose} with has_aux=True: {name_of(function)} must return a pair (result, auxiliary), got {result!r}")
            result, auxiliary = result
        outputs, treedef = flatten_output(result, function)
        extra, positions = _auxiliary_leaves(auxiliary)
        program, captures = hoist_constants(*builder.finish([*outputs, *extra], name_of(function)))
    return Traced(program, captures, treedef, auxiliary, positions)


def _auxiliary_leaves(auxiliary: Any) -> tuple[list[Any], tuple[int, ...]]:
    leaves = tree.leaves(auxiliary)
    positions = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer))
    return [leaves[i] for i in positions], positions


def restore_auxiliary(traced: Traced, values: Sequence[Any]) -> Any:
    """The auxiliary result with its traced leaves replaced by ``values``."""
    leaves, treedef = tree.flatten(traced.auxiliary)
    for position, value in zip(traced.auxiliary_positions, values, strict=True):
        leaves[position] = value
    return tree.unflatten(treedef, leaves)


def types_of(values: Sequence[Any]) -> list[ArrayType]:
    """The types of leaves."""
    return [type_of(value) for value in values]
