"""What control flow functions share: operands as leaves, sub-programs, and recording a program where none is open."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from typing import cast as typed

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.execution import execute
from gradxform.api.tracing import Traced, as_values, types_of
from gradxform.array import Array, fresh
from gradxform.core import Builder, Tracer, current_builder, run, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import leaked
from gradxform.data_class import data_class
from gradxform.dtypes import promote
from gradxform.errors import ArgumentTypeError, DTypeError, TreeError
from gradxform.ir import ArrayType, Program, Var
from gradxform.operands import cast, lift


@data_class(frozen=True, slots=True, eq=False)
class Body:
    """A sub-program that takes the ``constants`` first: what its function closed over."""

    program: Program
    constants: list[Any]

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        return self.program.output_types


def operand_leaves(purpose: str, what: str, value: Any) -> tuple[list[Any], tree.TreeDef]:
    """The leaves of an argument as traced values, arrays and numbers; ArgumentTypeError for others."""
    leaves, treedef = tree.flatten(value)
    values = as_values(leaves, f"{purpose}: {what}")
    if current_builder() is None:
        for leaf in values:
            if isinstance(leaf, Tracer):
                raise leaked(leaf)
    return values, treedef


def check_function(purpose: str, argument: str, function: Any) -> None:
    """ArgumentTypeError unless ``function`` can be called."""
    if not callable(function):
        raise ArgumentTypeError(
            f"{purpose}: {argument} must be a function, got {function!r} of type {type(function).__name__}{user_line()}")


def staged(purpose: str, record: Callable[[list[Any]], Any], operands: Sequence[Any]) -> Any:
    """``record(operands)`` in the open builder; where none is open, as one program that is recorded and run."""
    if current_builder() is not None or jit_disabled():
        return record(list(operands))
    builder = Builder(purpose, Array)
    with builder:
        inputs = [builder.add_input(type_of(x)) for x in operands]
        leaves, treedef = tree.flatten(record(list(inputs)))
        program, captures = builder.finish(leaves, purpose.split(" ", 1)[0])
    return tree.unflatten(treedef, execute(program, [*operands, *captures]))


def with_constants_first(traced: Traced) -> Body:
    """The program of a function with its captures in front of its arguments."""
    program, count = traced.program, len(traced.captures)
    if not count:
        return Body(program, [])
    split = len(program.inputs) - count
    inputs = (*program.inputs[split:], *program.inputs[:split])
    return Body(Program(inputs, program.equations, program.outputs, program.name), traced.captures)


def with_output_types(program: Program, types: Sequence[ArrayType]) -> Program:
    """``program`` with its outputs converted to the dtypes of ``types``."""
    if all(found.dtype == wanted.dtype for found, wanted in zip(program.output_types, types, strict=True)):
        return program
    builder = Builder("conversion")
    with builder:
        results = run(program, [builder.add_input(var.type) for var in program.inputs])
        result, _ = builder.finish([cast(x, t.dtype) for x, t in zip(results, types, strict=True)], program.name)
    return result


def with_common_constants(bodies: Sequence[Body]) -> tuple[list[Program], list[Any]]:
    """The bodies as programs that take the same constants, and these."""
    constants: dict[int, Any] = {}
    for body in bodies:
        for value in body.constants:
            constants.setdefault(_identity(value), value)
    programs = []
    for body in bodies:
        own = {_identity(value): var for value, var in zip(body.constants, body.program.inputs, strict=False)}
        front = [own[key] if key in own else Var(type_of(value).strong()) for key, value in constants.items()]
        inputs = (*front, *body.program.inputs[len(own):])
        programs.append(Program(inputs, body.program.equations, body.program.outputs, body.program.name))
    return programs, list(constants.values())


def _identity(value: Any) -> int:
    return id(value.atom) if isinstance(value, Tracer) else id(value)


Function = TypeVar("Function", bound=Callable[..., Any])


def valued(function: Function) -> Function:
    """A function whose result shares no memory with its arguments, though NumPy's of that kind gives views of them."""

    @functools.wraps(function)
    def apart(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return fresh(result) if isinstance(result, Array) else result

    return typed(Function, apart)


def strong(value: Any) -> Any:
    """A result with a dtype of its own, as NumPy's functions give: never as weak as a Python scalar.

    In a builder it is a traced array of it, so that it has methods.
    """
    found = type_of(value)
    if isinstance(value, Tracer):
        from gradxform.primitives.logic import convert

        return convert(value, found.dtype) if found.weak else value
    return lift("a result", found.dtype.type(value) if found.weak else value)


def as_type(value: Any, array_type: ArrayType) -> Any:
    """An operand in the dtype of ``array_type``, never a Python scalar."""
    return cast(value, array_type.dtype)


# ------------------------------------------------------------------------------------------- types that must agree


def merged(before: ArrayType, after: ArrayType) -> ArrayType | None:
    """The type of a carry that comes in as ``before`` and goes out as ``after``; None if there is none.

    Only what is weak, the type of a Python scalar, gives way to the other.
    """
    if before.shape != after.shape:
        return None
    if before.dtype == after.dtype:
        return before if before.weak == after.weak or not before.weak else after
    try:
        dtype, weak = promote((before.dtype, before.weak), (after.dtype, after.weak))
    except DTypeError:
        return None
    # A strong type stands as it is: float32 does not become float64 because the other is.
    if any(not t.weak and t.dtype != dtype for t in (before, after)):
        return None
    return ArrayType(dtype, before.shape, weak)


def merged_carry(
    purpose: str, carry_tree: tree.TreeDef, before: Sequence[ArrayType], result_tree: tree.TreeDef,
    after: Sequence[ArrayType],
) -> list[ArrayType]:
    """The types of the carry's leaves before and after an iteration made one. TreeError says which cannot be."""
    if carry_tree != result_tree:
        raise TreeError(
            f"{purpose}: the carry that is returned must have the structure of the one that comes in: expected "
            f"{carry_tree}, got {result_tree}{user_line()}")
    types = [merged(b, a) for b, a in zip(before, after, strict=True)]
    wrong = [i for i, t in enumerate(types) if t is None]
    if wrong:
        paths = leaf_names("carry", carry_tree)
        listed = "".join(f"\n  {paths[i]} comes in as {before[i]} and is returned as {after[i]}: "
                         f"{_mend(before[i], after[i])}" for i in wrong)
        raise TreeError(f"{purpose}: the carry must keep its dtypes and shapes:{listed}{user_line()}")
    return [t for t in types if t is not None]


def _mend(before: ArrayType, after: ArrayType) -> str:
    if before.shape != after.shape:
        return f"return one of shape {before.shape}, or start with one of shape {after.shape}"
    return f"return it with .astype(np.{before.dtype}), or start with .astype(np.{after.dtype})"


def leaf_names(name: str, treedef: tree.TreeDef) -> list[str]:
    """For each leaf of the argument ``name``, how one reaches it: ``carry[0]['x']``."""
    count = treedef.num_leaves
    return [f"{name}{path}" for path in tree.leaf_paths(tree.unflatten(treedef, range(count)))]


def flat_types(values: Sequence[Any]) -> list[ArrayType]:
    """The types of leaves."""
    return types_of(values)
