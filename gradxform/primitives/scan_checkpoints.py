"""Reverse mode of scans that store few of their carries and compute the others again.

*Segments*: the loop becomes two loops, the inner one of which goes through a segment of the steps and is differentiated
as a `remat`: the outer one stores the carry in front of each segment, and going backward each segment is run again with
everything that its linear part needs. The last steps, fewer than a segment, follow as a loop of their own.

*Binomial*: some (about log2 n) carries are stored at a time, in slots, in the order of a stack. Going backward, a step
needs the carry in front of it: as long as the topmost slot holds an earlier one, the loop advances from there to a place
in between, and stores what it finds there on top. How far is decided so that the least possible number of steps is done
again, O(n log n) in all: Griewank and Walther, "Algorithm 799: revolve", ACM Transactions on Mathematical Software 26
(2000). With s slots for l steps, the one in front of them included, and

    beta(s, r) = binomial(s + r, s),    r the least such that l <= beta(s, r)

no step is done more than r times if the next slot is m = min(beta(s, r - 1), l - beta(s - 1, r - 1)) steps ahead: then
what lies behind it fits s - 1 slots and r repetitions, and what lies before it s slots and r - 1 repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, isqrt
from typing import Any

import numpy as np

from gradxform.core import Builder, Undefined, run, shape_of, type_of
from gradxform.dtypes import int64
from gradxform.ir import ArrayType, Program
from gradxform.ir.callback import replayed
from gradxform.ir.memo import kept
from gradxform.linear import add, instantiate, reduce_sum, zeros
from gradxform.primitives.arithmetic import minimum, sub
from gradxform.primitives.checkpointing import Policy, remat
from gradxform.primitives.constant import constant_array
from gradxform.primitives.custom import Backward, Results, custom_linear
from gradxform.primitives.indexing import gather, scatter
from gradxform.primitives.logic import convert, less
from gradxform.primitives.loop_rules import linearized, present, reached_carries, stacked
from gradxform.primitives.residuals import without_dead
from gradxform.primitives.scan import scan
from gradxform.primitives.shape import concatenate, iota, reshape, slice_along
from gradxform.primitives.while_loop import while_loop
from gradxform.transforms import backward
from gradxform.transforms import jvp as jvp_program

_NOTHING = Policy("nothing of a segment", lambda operation, *types, **params: False)
_INTEGER = ArrayType(int64, ())

# -------------------------------------------------------------------------------------------------------- segments


def segment_length(checkpoint: int | str, length: int) -> int:
    """How many steps a segment has; of 'sqrt' about the square root of ``length``, a divisor of it if one is near."""
    if isinstance(checkpoint, int):
        return checkpoint
    root = max(isqrt(length), 1)
    near = sorted(range(root, 2 * root + 1), key=lambda n: (length % n != 0, n))
    return near[0]


@kept
def segmented(body: Program, length: int, reverse: bool, constants: int, carries: int, segment: int) -> Program:
    """A scan as a program, stored by segments: constants, carries, xs to carries, ys."""
    body = _copied(body)
    count, rest = divmod(length, segment)
    whole = count * segment
    first_x = constants + carries
    builder = Builder("scan")
    with builder:
        inputs = [builder.add_input(t) for t in body.input_types[:first_x]]
        xs = [builder.add_input(stacked(length, t)) for t in body.input_types[first_x:]]
        # The steps that are left over come last.
        cut = rest if reverse else whole
        parts = [(slice_along(x, 0, 0, cut), slice_along(x, 0, cut, length)) for x in xs]
        segments, others = ([part[reverse] for part in parts], [part[not reverse] for part in parts])
        grouped = [reshape(x, (count, segment, *shape_of(x)[1:])) for x in segments]
        results = scan(_segment_body(body, segment, reverse, constants, carries), None, inputs[:constants],
                       inputs[constants:], grouped, length=count, reverse=reverse, checkpoint="segments")
        ys = [reshape(y, (whole, *shape_of(y)[2:])) for y in results[carries:]]
        results = results[:carries]
        if rest:
            results = scan(body, None, inputs[:constants], results, others, length=rest, reverse=reverse)
            pairs = zip(ys, results[carries:], strict=True)
            ys = [concatenate([b, a] if reverse else [a, b], 0) for a, b in pairs]
        program, captures = builder.finish([*results[:carries], *ys])
    assert not captures, "a scan captured an array"
    return program


def _segment_body(body: Program, segment: int, reverse: bool, constants: int, carries: int) -> Program:
    """The body of the loop over segments."""
    first_x = constants + carries
    types = [*body.input_types[:first_x], *(stacked(segment, t) for t in body.input_types[first_x:])]
    builder = Builder("a segment of scan")
    with builder:
        inputs = [builder.add_input(t) for t in types]
        results = scan(body, None, inputs[:constants], inputs[constants:first_x], inputs[first_x:], length=segment,
                       reverse=reverse)
        inner, _ = builder.finish(results)
    builder = Builder("segments of scan")
    with builder:
        program, _ = builder.finish(remat(inner, [builder.add_input(t) for t in types], _NOTHING, True))
    return program


def _copied(body: Program) -> Program:
    """The same program as another object, for results that are kept as long as ``body`` lives."""
    return Program(body.inputs, body.equations, body.outputs, body.name)


def _replayed(body: Program) -> Program:
    """The program for further runs of its steps, without effects."""
    return Program(body.inputs, replayed(body.equations), body.outputs, body.name)


# -------------------------------------------------------------------------------------------------------- binomial


@dataclass(frozen=True, slots=True)
class Loop:
    """What there is to know of a scan besides its body; ``given`` says which inputs of the body have a tangent."""

    length: int
    reverse: bool
    constants: int
    carries: int
    given: tuple[bool, ...]


def binomial_tangents(
    body: Program, loop: Loop, constants: Sequence[Any], carries: Sequence[Any], xs: Sequence[Any], tangents: Sequence[Any]
) -> list[Any]:
    """The tangents of the results of a scan, None where they are zero; ``tangents`` are those of what is ``given``."""
    forward, wanted = _forward(body, loop)
    types: Results = tuple([(t.dtype, t.shape) for t in forward.output_types])
    derivatives = iter(custom_linear(forward, _Reversal(body, loop), [*constants, *carries, *xs], tangents, types))
    return [next(derivatives) if flag else None for flag in wanted]


@kept
def _forward(body: Program, loop: Loop) -> tuple[Program, list[bool]]:
    """Constants, carries, xs and tangents to the tangents of results that have one, and which those are."""
    constants, carries = loop.constants, loop.carries
    first_x = constants + carries
    flags = reached_carries(body, loop.given, constants, carries)
    pushed, depends = jvp_program(_replayed(body), flags)
    joined = _joined(pushed, body, flags, depends, constants, carries)
    carry_flags = flags[constants:first_x]
    types = body.input_types
    builder = Builder("jvp of scan")
    with builder:
        values = [builder.add_input(t) for t in types[:first_x]]
        xs = [builder.add_input(stacked(loop.length, t)) for t in types[first_x:]]
        moved = [builder.add_input((stacked(loop.length, t) if position >= first_x else t).strong()) if flag else None
                 for position, (t, flag) in enumerate(zip(types, loop.given, strict=True))]
        starts = [instantiate(t, x) for t, x, flag in zip(moved[constants:], values[constants:], carry_flags, strict=False)
                  if flag]
        results = scan(
            joined, None, [*values[:constants], *present(moved[:constants])], [*values[constants:], *starts],
            [*xs, *present(moved[first_x:])], length=loop.length, reverse=loop.reverse, checkpoint="binomial")
        program, captures = builder.finish(results[carries:])
    assert not captures, "a derivative rule captured an array"
    return program, [*carry_flags, *depends[carries:]]


def _joined(
    pushed: Program, body: Program, flags: Sequence[bool], depends: Sequence[bool], constants: int, carries: int
) -> Program:
    """The body of the scan of values and tangents, without the ys of values."""
    count, first_x = len(body.inputs), constants + carries
    tangents = iter(pushed.inputs[count:])
    moved = [next(tangents) if flag else None for flag in flags]
    inputs = [x for low, high in ((0, constants), (constants, first_x), (first_x, count))
              for x in (*pushed.inputs[low:high], *present(moved[low:high]))]
    derivatives = iter(pushed.outputs[len(body.outputs):])
    found = [next(derivatives) if flag else None for flag in depends]
    builder = Builder("jvp of scan")
    with builder:
        values = {v: builder.add_input(v.type) for v in inputs}
        outputs = run(Program(pushed.inputs, pushed.equations, (*pushed.outputs[:carries], *present(found))),
                      [values[v] for v in pushed.inputs])
        given = iter(outputs[carries:])
        tangents_out = [next(given) if flag else None for flag in depends]
        new = [instantiate(t, x) for t, x, flag in
               zip(tangents_out[:carries], outputs[:carries], flags[constants:first_x], strict=True) if flag]
        program, captures = builder.finish([*outputs[:carries], *new, *present(tangents_out[carries:])])
    assert not captures, "a derivative rule captured an array"
    return without_dead(program)


class _Reversal(Backward):
    """The transposed direction of the tangents of a scan."""

    __slots__ = ("_body", "_loop")

    def __init__(self, body: Program, loop: Loop) -> None:
        super().__init__("scan with checkpoint='binomial'")
        self._body, self._loop = body, loop

    def program(self, given: tuple[bool, ...]) -> Program:
        return _backward(self._body, self._loop, given)


def repetitions(length: int, slots: int) -> int:
    """How often a step of ``length`` is done again at most, with so many slots."""
    found = 0
    while comb(slots + found, slots) < length:
        found += 1
    return found


def _slots(length: int) -> int:
    return max(length.bit_length(), 1)


@kept
def _backward(body: Program, loop: Loop, given: tuple[bool, ...]) -> Program:
    """Constants, carries, xs and the cotangents ``given`` to the cotangents of the inputs that have tangents."""
    constants, carries, length = loop.constants, loop.carries, loop.length
    first_x = constants + carries
    slots = _slots(length)
    step = _replayed(body)
    carried: list[bool] | None = None
    while True:
        reversal = _Step(step, loop, given, carried)
        if carried == reversal.carried:
            break
        carried = reversal.carried
    types = step.input_types
    builder = Builder("transpose of scan")
    with builder:
        values = [builder.add_input(t) for t in types[:first_x]]
        xs = [builder.add_input(stacked(length, t)) for t in types[first_x:]]
        incoming = [builder.add_input(t) if flag else None for t, flag in zip(reversal.result_types, given, strict=True)]
        count = sum(reversal.carry_flags)
        of_results = zip(incoming[:count], reversal.result_types, reversal.carried, strict=False)
        cotangents = [zeros(t) if ct is None else ct for ct, t, flag in of_results if flag]
        sums = [zeros(t) for t in reversal.sums]
        # One more slot holds the carry of a step for which there is no slot left.
        stack = [concatenate([reshape(c, (1, *shape_of(c))), zeros(stacked(slots, type_of(c).strong()))], 0)
                 for c in values[constants:]]
        positions, top = zeros(ArrayType(int64, (slots + 1,))), np.int64(0)
        table = [[comb(s + r, s) for r in range(repetitions(length, slots) + 1)] for s in range(slots + 1)]
        results = scan(
            reversal.program, None, [*values[:constants], *xs, constant_array(np.array(table, np.int64))],
            [*stack, positions, top, *cotangents, *sums],
            [iota((length,), int64, 0), *xs, *present(incoming[count:])], length=length, reverse=not loop.reverse)
        found = iter(results[carries + 2:])
        in_order = iter([next(found) if flag else None for flag in reversal.carried])
        of_carries = [next(in_order) if flag else None for flag in reversal.carry_flags]
        of_constants = [next(found) if flag else None for flag in reversal.given_constants]
        of_xs = [next(found) if flag else None for flag in reversal.given_xs]
        wanted = [instantiate(ct, x) for ct, x, flag in
                  zip((*of_constants, *of_carries, *of_xs), (*values, *xs), loop.given, strict=True) if flag]
        program, captures = builder.finish(wanted)
    assert not captures, "a transpose rule captured an array"
    return program


class _Step:
    """The loop that goes backward, one step of the scan in each iteration.

    constants:  constants of the scan, its xs, the table of binomial coefficients
    carries:    slots, the positions of their carries, the topmost slot; cotangents of carries, sums of those of constants
    xs:         position in xs, elements of xs, cotangents of elements of ys
    ys:         cotangents of elements of xs
    """

    #: Which linear carries have cotangents; which constants and xs get some; the types of the sums for constants.
    carried: list[bool]
    given_constants: list[bool]
    given_xs: list[bool]
    sums: list[ArrayType]

    def __init__(self, step: Program, loop: Loop, given: tuple[bool, ...], carried: list[bool] | None) -> None:
        self.step, self.loop = step, loop
        constants, carries = loop.constants, loop.carries
        first_x = constants + carries
        self.flags = reached_carries(step, loop.given, constants, carries)
        self.carry_flags = self.flags[constants:first_x]
        self.parts, self.depends = linearized(step, tuple(self.flags))
        self.result_types = [
            *(t.strong() for t, flag in zip(step.input_types[constants:], self.carry_flags, strict=False) if flag),
            *(stacked(loop.length, t.strong()) for t, flag in
              zip(step.output_types[carries:], self.depends[carries:], strict=True) if flag)]
        count = sum(self.carry_flags)
        self.given_ys = given[count:]
        self.program = self._record(list(given[:count]) if carried is None else carried)

    def _record(self, carried: list[bool]) -> Program:
        """The program for cotangents of those linear carries that are flagged."""
        loop, types = self.loop, self.step.input_types
        constants, carries, slots = loop.constants, loop.carries, _slots(loop.length)
        first_x = constants + carries
        linear = [Undefined(t.strong()) for t, flag in zip(types, self.flags, strict=True) if flag]
        linear_constants, linear_carries = sum(self.flags[:constants]), sum(self.carry_flags)
        last = linear_constants + linear_carries
        builder = Builder("transpose of scan")
        with builder:
            given = [builder.add_input(t) for t in types[:constants]]
            stacks = [builder.add_input(stacked(loop.length, t)) for t in types[first_x:]]
            table = builder.add_input(ArrayType(int64, (slots + 1, repetitions(loop.length, slots) + 1)))
            held = [builder.add_input(stacked(slots + 1, t.strong())) for t in types[constants:first_x]]
            held += [builder.add_input(ArrayType(int64, (slots + 1,))), builder.add_input(_INTEGER)]
            cotangents = [builder.add_input(u.type) if flag else None
                          for u, flag in zip(linear[linear_constants:last], carried, strict=True)]
            before_sums = len(builder.inputs)
            position = builder.add_input(_INTEGER)
            elements = [builder.add_input(t) for t in types[first_x:]]
            wanted_ys = [t for t, flag in zip(self.step.output_types[carries:], self.depends[carries:], strict=True) if flag]
            of_ys = [builder.add_input(t.strong()) if flag else None
                     for t, flag in zip(wanted_ys, self.given_ys, strict=True)]

            target = sub(np.int64(loop.length - 1), position) if loop.reverse else position
            held = while_loop(self._condition(held), self._advance(held), [target],
                              [target, *given, *stacks, table], held)
            top = held[-1]
            state = [gather(x, top, axes=(0,), mode="inside") for x in held[:carries]]
            known = run(self.parts.known, [*given, *state, *elements])
            residuals = known[len(self.step.outputs):]
            in_order = iter(cotangents)
            of_carries = [next(in_order) if flag else None for flag in self.carry_flags]
            incoming = [ct for ct, flag in zip(of_carries, self.depends, strict=False) if flag]
            pulled = backward(builder, self.parts.rest, [*residuals, *linear], [*incoming, *of_ys])
            has = [ct is not None for ct in pulled]
            self.carried = [a or b for a, b in zip(carried, has[linear_constants:last], strict=True)]
            self.given_constants, self.given_xs = (
                _spread(part, flags) for part, flags in
                ((has[:linear_constants], self.flags[:constants]), (has[last:], self.flags[first_x:])))
            of_constants = present(pulled[:linear_constants])
            self.sums = [type_of(ct) for ct in of_constants]
            sums = [builder.add_input(t) for t in self.sums]
            new = [zeros(u.type) if ct is None else ct for ct, u, flag in
                   zip(pulled[linear_constants:last], linear[linear_constants:last], carried, strict=True) if flag]
            program, captures = builder.finish([
                *held[:-1], sub(top, np.int64(1)), *new, *map(add, sums, of_constants), *present(pulled[last:])])
        assert not captures, "a transpose rule captured an array"
        # The sums stand before the elements.
        inputs, count = program.inputs, len(sums)
        behind = len(inputs) - count
        inputs = (*inputs[:before_sums], *inputs[behind:], *inputs[before_sums:behind])
        return Program(inputs, program.equations, program.outputs)

    def _condition(self, held: Sequence[Any]) -> Program:
        """Whether the topmost slot holds an earlier carry than that of the target."""
        builder = Builder("transpose of scan")
        with builder:
            target = builder.add_input(_INTEGER)
            *_, positions, top = [builder.add_input(type_of(x)) for x in held]
            return builder.finish([less(gather(positions, top, axes=(0,), mode="inside"), target)])[0]

    def _advance(self, held: Sequence[Any]) -> Program:
        """Go on from the topmost slot, and store what is found there on top of it."""
        loop, types = self.loop, self.step.input_types
        constants, carries, slots = loop.constants, loop.carries, _slots(loop.length)
        builder = Builder("transpose of scan")
        with builder:
            target = builder.add_input(_INTEGER)
            given = [builder.add_input(t) for t in types[:constants]]
            stacks = [builder.add_input(stacked(loop.length, t)) for t in types[constants + carries:]]
            table = builder.add_input(ArrayType(int64, (slots + 1, repetitions(loop.length, slots) + 1)))
            *stack, positions, top = [builder.add_input(type_of(x)) for x in held]
            position = gather(positions, top, axes=(0,), mode="inside")
            distance = _distance(table, sub(np.int64(slots), top), sub(add(target, np.int64(1)), position))
            state = [gather(x, top, axes=(0,), mode="inside") for x in stack]
            *state, reached = scan(self._steps(), distance, [*given, *stacks], [*state, position], [], length=-1)
            top = add(top, np.int64(1))
            updated = [scatter(x, value, top, axes=(0,), mode="inside")
                       for x, value in zip((*stack, positions), (*state, reached), strict=True)]
            program, captures = builder.finish([*updated, top])
        assert not captures, "a transpose rule captured an array"
        return program

    def _steps(self) -> Program:
        """A step of the loop that advances: constants and xs of the scan; carries and the position."""
        loop, types = self.loop, self.step.input_types
        first_x = loop.constants + loop.carries
        builder = Builder("transpose of scan")
        with builder:
            given = [builder.add_input(t) for t in types[:loop.constants]]
            stacks = [builder.add_input(stacked(loop.length, t)) for t in types[first_x:]]
            state = [builder.add_input(t.strong()) for t in types[loop.constants:first_x]]
            position = builder.add_input(_INTEGER)
            where = sub(np.int64(loop.length - 1), position) if loop.reverse else position
            elements = [gather(x, where, axes=(0,), mode="inside") for x in stacks]
            results = run(self.step, [*given, *state, *elements])
            program, captures = builder.finish([*results[:loop.carries], add(position, np.int64(1))])
        assert not captures, "a scan captured an array"
        return without_dead(program)


def _spread(marks: Sequence[bool], flags: Sequence[bool]) -> list[bool]:
    """``marks`` at the places that are flagged."""
    given = iter(marks)
    return [flag and next(given) for flag in flags]


def _distance(table: Any, slots: Any, length: Any) -> Any:
    """How far ahead the next slot is, with ``slots`` slots for ``length`` steps, which are 2 or more."""
    row = gather(table, slots, axes=(0,), mode="inside")
    fewer = sub(reduce_sum(convert(less(row, length), int64), (0,)), np.int64(1))
    own = gather(row, fewer, axes=(0,), mode="inside")
    behind = gather(table, sub(slots, np.int64(1)), fewer, axes=(0, 1), mode="inside")
    return minimum(own, sub(length, behind))
