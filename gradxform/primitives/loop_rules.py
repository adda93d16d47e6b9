"""What the rules of scan, while and cond have in common: types of stacks, linear bodies, lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Builder, run, shape_of
from gradxform.data_class import data_class
from gradxform.errors import CheckError
from gradxform.ir import ArrayType, Program
from gradxform.ir.memo import kept
from gradxform.linear import broadcast, zeros
from gradxform.primitives.logic import select
from gradxform.primitives.residuals import Plan, Role, plan, without_dead
from gradxform.transforms import Split, linearize
from gradxform.transforms.batching import record_batched


def same_types(found: Sequence[ArrayType], expected: Sequence[ArrayType]) -> bool:
    """Whether dtypes and shapes agree; whether they promote weakly does not matter to a program that is finished."""
    return [(t.dtype, t.shape) for t in found] == [(t.dtype, t.shape) for t in expected]


def check_types(what: str, found: Sequence[ArrayType], expected: Sequence[ArrayType]) -> None:
    """Raises CheckError unless the types agree in number, dtypes and shapes."""
    if not same_types(found, expected):
        shown = [", ".join(map(str, types)) or "nothing" for types in (expected, found)]
        raise CheckError(f"{what}: expected {shown[0]}, got {shown[1]}")


def stacked(length: int, element: ArrayType) -> ArrayType:
    """The type of ``length`` elements in a stack; a tape if ``length`` is -1."""
    return ArrayType(element.dtype, (length, *element.shape))


def stack_rows(rows: Sequence[Any], element: ArrayType) -> Any:
    """The stack of what the iterations of a loop gave; of the right type also if there were none."""
    result = np.empty((len(rows), *element.shape), element.dtype)
    for position, row in enumerate(rows):
        result[position] = row
    return result


@kept
def linearized(program: Program, flags: tuple[bool, ...]) -> tuple[Split, tuple[bool, ...]]:
    """`linearize`, once for a body and flags."""
    return linearize(program, flags)


def reached_carries(program: Program, flags: Sequence[bool], first: int, carries: int) -> list[bool]:
    """The inputs of a loop's body that have a tangent: those flagged, and carries that get one in some iteration."""
    found = list(flags)
    while True:
        _, depends = linearized(program, tuple(found))
        before = list(found)
        for position in range(carries):
            found[first + position] |= depends[position]
        if found == before:
            return found


@data_class(frozen=True, slots=True, eq=False)
class Rest:
    """The linear part of a loop's body.

    ``program`` takes residuals, then what is linear: constants, carries, elements of xs. It gives new carries, of which
    there are as many as linear carries, then elements of ys.
    """

    program: Program
    residuals: int
    constants: int
    carries: int


@data_class(frozen=True, slots=True, eq=False)
class LinearBody:
    """The body of the scan that is the linear part of a loop.

    ``program`` takes known constants, linear ones, linear carries, known elements of xs, linear ones.
    """

    program: Program
    constants: int
    linear_constants: int
    linear_carries: int
    xs: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many inputs there are of each kind but the last."""
        return self.constants, self.linear_constants, self.linear_carries, self.xs

    @property
    def flags(self) -> list[bool]:
        """Which inputs are linear."""
        linear_xs = len(self.program.inputs) - self.constants - self.linear_constants - self.linear_carries - self.xs
        return [*[False] * self.constants, *[True] * (self.linear_constants + self.linear_carries),
                *[False] * self.xs, *[True] * linear_xs]


def linear_body(planned: Plan, rest: Rest) -> LinearBody:
    """The linear part of a body, which computes its residuals as planned."""
    known_constants = len(planned.constants) + len(planned.hoisted.outputs)
    residual_types = planned.recomputed.input_types
    linear_types = rest.program.input_types[rest.residuals:]
    first_x = rest.constants + rest.carries
    builder = Builder("the linear part of a loop")
    with builder:
        known = [builder.add_input(t) for t in residual_types[:known_constants]]
        linear = [builder.add_input(t) for t in linear_types[:first_x]]
        known += [builder.add_input(t) for t in residual_types[known_constants:]]
        linear += [builder.add_input(t) for t in linear_types[first_x:]]
        residuals = run(planned.recomputed, known)
        body, captures = builder.finish(run(rest.program, [*residuals, *linear]))
    assert not captures, "the linear part of a loop captured an array"
    return LinearBody(without_dead(body), known_constants, rest.constants, rest.carries,
                      len(residual_types) - known_constants)


def linear_rest(program: Program, residuals: int, flags: Sequence[bool], depends: Sequence[bool], constants: int,
                carries: int) -> Rest:
    """The linear part of a body with ``constants`` and ``carries``, whose inputs are linear where ``flags`` say so.

    ``depends`` says which outputs of the body ``program`` gives. A linear carry that it does not give becomes zero.
    """
    carry_flags = flags[constants: constants + carries]
    builder = Builder("the linear part of a loop")
    with builder:
        inputs = [builder.add_input(t) for t in program.input_types]
        results = iter(run(program, inputs))
        outputs = []
        first_carry = residuals + sum(flags[:constants])
        carry_types = iter(program.input_types[first_carry:])
        for flag, has in zip(carry_flags, depends[:carries], strict=True):
            if flag:
                carry_type = next(carry_types)
                outputs.append(next(results) if has else zeros(carry_type.strong()))
        finished, captures = builder.finish([*outputs, *results])
    assert not captures, "the linear part of a loop captured an array"
    return Rest(finished, residuals, sum(flags[:constants]), sum(carry_flags))


def roles(constants: int, carries: int, xs: int) -> list[Role]:
    """The roles of a body's inputs."""
    return [*[Role.CONSTANT] * constants, *[Role.CARRY] * carries, *[Role.ELEMENT] * xs]


@data_class(frozen=True, slots=True, eq=False)
class Linearized:
    """A loop's body in two parts.

    ``flags`` say which inputs have a tangent, ``depends`` which outputs. The known part is in ``planned``.
    """

    flags: list[bool]
    depends: tuple[bool, ...]
    planned: Plan
    linear: LinearBody


@kept
def linearized_body(body: Program, given: tuple[bool, ...], constants: int, carries: int, runs: bool) -> Linearized:
    """Linearize a loop's body; ``given`` says which inputs have a tangent in the first iteration.

    ``runs`` says whether there is a first iteration for sure.
    """
    flags = reached_carries(body, given, constants, carries)
    parts, depends = linearized(body, tuple(flags))
    count = len(body.outputs)
    xs = len(body.inputs) - constants - carries
    planned = plan(parts.known, count, roles(constants, carries, xs), range(carries, count), runs)
    rest = linear_rest(parts.rest, parts.residual_count, flags, depends, constants, carries)
    return Linearized(flags, depends, planned, linear_body(planned, rest))


def present(entries: Sequence[Any]) -> list[Any]:
    """The entries that are not None."""
    return [entry for entry in entries if entry is not None]


def first(entries: Sequence[Any]) -> Any:
    """The first entry, None if there is none."""
    return entries[0] if entries else None


def over_lanes(x: Any, batched: bool, size: int) -> Any:
    """``x`` with a leading axis of lanes."""
    shape = shape_of(x)
    return x if batched else broadcast(x, (size, *shape), tuple(range(1, len(shape) + 1)))


def lanes_type(array_type: ArrayType, batched: bool, size: int) -> ArrayType:
    """The type of an element of a loop over ``size`` lanes."""
    return ArrayType(array_type.dtype, (size, *array_type.shape)) if batched else array_type


@kept
def batched_body(
    body: Program, flags: tuple[bool, ...], size: int, constants: int, carries: int
) -> tuple[Program, list[bool], list[bool]]:
    """A loop's body over lanes, the flags of its inputs and of its outputs.

    Carries that become batched in some iteration are batched from the beginning.
    """
    found = list(flags)
    while True:
        builder = Builder("vmap of a loop")
        with builder:
            arguments = [builder.add_input(lanes_type(t, flag, size)) for t, flag in zip(body.input_types, found, strict=True)]
            outputs, out_flags = record_batched(builder, body, arguments, found, size)
            carried = found[constants: constants + carries]
            grown = [a or b for a, b in zip(carried, out_flags, strict=False)]
            if grown != carried:
                found[constants: constants + carries] = grown
                continue
            outputs[:carries] = [over_lanes(x, has, size) if flag else x
                                 for x, has, flag in zip(outputs, out_flags, carried, strict=False)]
            program, captures = builder.finish(outputs)
        assert not captures, "a batching rule captured an array"
        return program, found, [*carried, *out_flags[carries:]]


def choose(active: Any, new: Any, old: Any) -> Any:
    """``new`` in the lanes that are ``active``, else ``old``."""
    shape = shape_of(new)
    return select(active if len(shape) == 1 else broadcast(active, shape, (0,)), new, old)
