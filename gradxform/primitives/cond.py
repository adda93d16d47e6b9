"""cond: one of several programs, chosen by an integer.

    operands: index, operands of the branches    ->    results of the branch

The index is limited to range(len(branches)). All branches take and give the same types. The tangent map is a cond with
the same index over the linear parts of the branches; what these need of known values is given by further results,
places for which are shared among branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Builder, Primitive, Undefined, bind_all, outside, run, type_of
from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.errors import CheckError
from gradxform.ir import ArrayType, Program
from gradxform.linear import zeros
from gradxform.loopir.lowering import Branch, Operand
from gradxform.primitives.arithmetic import clamp
from gradxform.primitives.guarding import guard_indices
from gradxform.primitives.logic import equal
from gradxform.primitives.loop_rules import check_types, choose, lanes_type, linearized, over_lanes, present
from gradxform.primitives.residuals import Plan, Role, plan, without_dead
from gradxform.transforms import Split
from gradxform.transforms.batching import record_batched
from gradxform.transforms.transposition import backward


def _type(index: ArrayType, *operands: ArrayType, branches: tuple[Program, ...]) -> tuple[ArrayType, ...]:
    if not branches:
        raise CheckError("cond: there are no branches")
    check_types("cond (index)", [index], [ArrayType(int64, ())])
    for number, branch in enumerate(branches):
        check_types(f"cond (inputs of branch {number})", operands, branch.input_types)
        check_types(f"cond (results of branch {number})", branch.output_types, branches[0].output_types)
    return tuple([t.strong() for t in branches[0].output_types])


def _evaluate(index: Any, *operands: Any, branches: tuple[Program, ...]) -> tuple[Any, ...]:
    with outside():
        return tuple(run(branches[min(max(int(index), 0), len(branches) - 1)], operands))


# ------------------------------------------------------------------------------------------------------------- jvp


def _slots(plans: Sequence[Plan], results: int) -> tuple[list[ArrayType], list[list[int]]]:
    """The types of the places for stored values, and for each branch those of its own."""
    types: list[ArrayType] = []
    taken: list[list[int]] = []
    for planned in plans:
        own: list[int] = []
        for stored in planned.known.output_types[results:]:
            stored = stored.strong()
            free = [slot for slot, t in enumerate(types) if t == stored and slot not in own]
            if not free:
                types.append(stored)
            own.append(free[0] if free else len(types) - 1)
        taken.append(own)
    return types, taken


def _with_slots(planned: Plan, results: int, types: Sequence[ArrayType], own: Sequence[int]) -> Program:
    """The known part of a branch; places that it does not use are zero."""
    builder = Builder("a branch of cond")
    with builder:
        outputs = run(planned.known, [builder.add_input(t) for t in planned.known.input_types])
        placed = dict(zip(own, outputs[results:], strict=True))
        program, captures = builder.finish(
            [*outputs[:results], *(placed[slot] if slot in placed else zeros(t) for slot, t in enumerate(types))])
    assert not captures, "a derivative rule captured an array"
    return program


@data_class(frozen=True, slots=True, eq=False)
class _Known:
    """The known operands of the linear cond: operands of the first one at positions ``used``, its results at positions
    ``given``, and its further results.
    """

    used: list[int]
    given: list[int]
    types: list[ArrayType]

    def of(self, planned: Plan, slots: Sequence[int], values: Sequence[Any]) -> list[Any]:
        """What a branch needs, in the order of its plan."""
        behind_used, behind_given = len(self.used), len(self.used) + len(self.given)
        return [*(values[self.used.index(i)] for i in planned.elements),
                *(values[behind_used + self.given.index(i)] for i in planned.given),
                *(values[behind_given + slot] for slot in slots)]


def _linear_branch(
    planned: Plan, parts: Split, slots: Sequence[int], known: _Known, depends: Sequence[bool], wanted: Sequence[bool],
    output_types: Sequence[ArrayType],
) -> Program:
    """The linear part of a branch: known operands and tangents give the ``wanted`` tangents of results."""
    builder = Builder("the linear part of a branch")
    with builder:
        given = known.of(planned, slots, [builder.add_input(t) for t in known.types])
        tangents = [builder.add_input(t) for t in parts.rest.input_types[parts.residual_count:]]
        # A branch has no constants: what it could compute before is made of literals, and as well computed here.
        given = [*run(planned.hoisted, []), *given]
        results = iter(run(parts.rest, [*run(planned.recomputed, given), *tangents]))
        found = [next(results) if has else None for has in depends]
        program, captures = builder.finish([
            zeros(t.strong()) if x is None else x
            for x, t, flag in zip(found, output_types, wanted, strict=True) if flag])
    assert not captures, "a derivative rule captured an array"
    return without_dead(program)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, branches: tuple[Program, ...]
) -> tuple[list[Any], list[Any]]:
    index, *operands = primals
    flags = tuple([t is not None for t in tangents[1:]])
    pairs = [linearized(branch, flags) for branch in branches]
    count = len(branches[0].outputs)
    wanted = [any(column) for column in zip(*(depends for _, depends in pairs), strict=True)]
    if not any(wanted):
        return cond(branches, index, operands), [None] * count
    plans = [plan(parts.known, count, [Role.ELEMENT] * len(operands), range(count), runs=False) for parts, _ in pairs]
    types, taken = _slots(plans, count)
    results = cond([_with_slots(planned, count, types, slots) for planned, slots in zip(plans, taken, strict=True)],
                   index, operands)
    outputs, stored = results[:count], results[count:]
    used = sorted({i for planned in plans for i in planned.elements})
    given = sorted({i for planned in plans for i in planned.given})
    values = [*(operands[i] for i in used), *(outputs[i] for i in given), *stored]
    known = _Known(used, given, [type_of(x).strong() for x in values])
    linear = [
        _linear_branch(planned, parts, slots, known, depends, wanted, branches[0].output_types)
        for planned, slots, (parts, depends) in zip(plans, taken, pairs, strict=True)
    ]
    derivatives = iter(cond(linear, index, [*values, *present(tangents[1:])]))
    return outputs, [next(derivatives) if flag else None for flag in wanted]


# ------------------------------------------------------------------------------------------------------- transpose


def _transpose(cts: Sequence[Any], operands: Sequence[Any], *, branches: tuple[Program, ...]) -> list[Any]:
    index, *given = operands
    assert not isinstance(index, Undefined), "an integer is not linear"
    cotangent_flags = [ct is not None for ct in cts]
    pulled = [_PulledBranch(branch, given, cotangent_flags) for branch in branches]
    linear_types = [x.type for x in given if isinstance(x, Undefined)]
    wanted = [any(column) for column in zip(*(branch.flags for branch in pulled), strict=True)]
    if not any(wanted):
        return [None] * len(operands)
    known = [x for x in given if not isinstance(x, Undefined)]
    results = iter(cond([branch.finish(wanted, linear_types) for branch in pulled], index, [*known, *present(cts)]))
    found = iter([next(results) if flag else None for flag in wanted])
    return [None, *(next(found) if isinstance(x, Undefined) else None for x in given)]


class _PulledBranch:
    """The transpose of a linear branch, for cotangents of the results that are flagged."""

    def __init__(self, branch: Program, given: Sequence[Any], cotangent_flags: Sequence[bool]) -> None:
        self.builder = Builder("transpose of cond")
        with self.builder as builder:
            arguments = [Undefined(t.strong()) if isinstance(x, Undefined) else builder.add_input(t)
                         for x, t in zip(given, branch.input_types, strict=True)]
            incoming = [builder.add_input(t.strong()) if flag else None
                        for t, flag in zip(branch.output_types, cotangent_flags, strict=True)]
            self.results = backward(builder, branch, arguments, incoming)
        self.flags = [ct is not None for ct in self.results]

    def finish(self, wanted: Sequence[bool], types: Sequence[ArrayType]) -> Program:
        """The program of the cotangents that are ``wanted``."""
        with self.builder as builder:
            outputs = [zeros(t) if ct is None else ct
                       for ct, t, flag in zip(self.results, types, wanted, strict=True) if flag]
            program, captures = builder.finish(outputs)
        assert not captures, "a transpose rule captured an array"
        return without_dead(program)


# ----------------------------------------------------------------------------------------------------------- batch


def _batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, branches: tuple[Program, ...]
) -> tuple[list[Any], list[bool]]:
    index, *given = operands
    index_flag, *flags = batched
    if index_flag:
        return _batch_all(index, given, flags, size, branches)
    recorded = [_BatchedBranch(branch, flags, size) for branch in branches]
    out_flags = [any(column) for column in zip(*(branch.flags for branch in recorded), strict=True)]
    return cond([branch.finish(out_flags, size) for branch in recorded], index, given), out_flags


class _BatchedBranch:
    """A branch over lanes."""

    def __init__(self, branch: Program, flags: Sequence[bool], size: int) -> None:
        self.builder = Builder("vmap of cond")
        with self.builder as builder:
            inputs = [builder.add_input(lanes_type(t, flag, size)) for t, flag in zip(branch.input_types, flags, strict=True)]
            self.outputs, self.flags = record_batched(builder, branch, inputs, flags, size)

    def finish(self, out_flags: Sequence[bool], size: int) -> Program:
        """The program whose results have lanes where flagged."""
        with self.builder as builder:
            program, captures = builder.finish([
                over_lanes(x, has, size) if flag else x
                for x, has, flag in zip(self.outputs, self.flags, out_flags, strict=True)])
        assert not captures, "a batching rule captured an array"
        return program


def _batch_all(
    index: Any, given: Sequence[Any], flags: Sequence[bool], size: int, branches: tuple[Program, ...]
) -> tuple[list[Any], list[bool]]:
    """Lanes that take different branches: all branches are evaluated, and each lane chooses."""
    chosen = clamp(np.int64(0), index, np.int64(len(branches) - 1))
    results: list[Any] = []
    for number, branch in enumerate(branches):
        active = equal(chosen, np.int64(number))
        outputs, out_flags = _over_lanes(guard_indices(branch), [*given, active], [*flags, True], size)
        outputs = [over_lanes(x, has, size) for x, has in zip(outputs, out_flags, strict=True)]
        results = [choose(active, new, old) for new, old in zip(outputs, results, strict=True)] if results else outputs
    return results, [True] * len(branches[0].outputs)


def _over_lanes(program: Program, arguments: Sequence[Any], flags: Sequence[bool], size: int) -> tuple[list[Any], list[bool]]:
    recorded = _BatchedBranch(program, flags, size)
    return run(recorded.finish(recorded.flags, size), arguments), recorded.flags


def _lower(
    operands: Sequence[Operand], result_types: Sequence[ArrayType], *, branches: tuple[Program, ...]
) -> Branch:
    return Branch(branches)


def cond(branches: Sequence[Program], index: Any, operands: Sequence[Any]) -> list[Any]:
    """The results of ``branches[index]``, the index limited to range(len(branches))."""
    return bind_all(cond_p, [index, *operands], {"branches": tuple(branches)})


cond_p = Primitive(
    "cond",
    type=_type,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=_lower,
    multiple=True,
)

PRIMITIVES = (cond_p,)
