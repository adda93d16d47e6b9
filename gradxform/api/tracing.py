"""From Python functions to programs: the common first step of every transform.

`Leaves` describes arguments as flat leaves; `trace` calls a function on traced leaves and returns its program. Static
or undifferentiated arguments are closed over: inside, they are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform import tree
from gradxform.api.execution import evaluate_natively
from gradxform.api.values import as_value, as_values, name_of, types_of
from gradxform.array import Array
from gradxform.core import Builder, Tracer
from gradxform.data_class import data_class
from gradxform.errors import ArgumentTypeError
from gradxform.ir import ArrayType, Program
from gradxform.primitives.constant import hoist_constants

__all__ = ["Traced", "as_value", "as_values", "flatten_output", "name_of", "restore_auxiliary", "trace", "types_of"]


@data_class(frozen=True, slots=True, eq=False)
class Traced:
    """The program of a function. ``captures`` are the values of its last inputs."""

    program: Program
    captures: list[Any]
    treedef: tree.TreeDef
    auxiliary: Any = None
    auxiliary_positions: tuple[int, ...] = ()


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
    builder = Builder(f"{purpose} of {name_of(function)}", Array, evaluate_natively)
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
