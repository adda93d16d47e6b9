"""scan: a loop over the leading axis of arrays that carries values from one iteration to the next.

    operands:  [count,] constants, carries, xs    ->    carries, ys
    body:      constants, carries, elements of xs ->    carries, elements of ys

The number of iterations is ``length``, or the operand ``count`` if that is -1; then xs and ys are tapes. ``reverse``
walks from the last element to the first; what belongs to the element at a position stands at that position.

Derivatives are again scans. The tangent map of a scan is a scan that is linear in tangents and reads what the first
loop has stored (see residuals.py); its transpose is a linear scan in the other direction, whose carries are the
cotangents of carries and sums of cotangents of constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradxform.core import Builder, Primitive, Undefined, bind_all, outside, run, type_of
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError, CheckError, ShapeError
from gradxform.ir import ArrayType, Program, Var
from gradxform.ir.memo import kept
from gradxform.linear import add, instantiate, move_axis, zeros
from gradxform.loopir.lowering import Operand, Repeat
from gradxform.primitives.accumulation import Later, Term
from gradxform.primitives.arithmetic import sub
from gradxform.primitives.guarding import guard_indices
from gradxform.primitives.logic import less
from gradxform.primitives.loop_rules import (
    LinearBody,
    batched_body,
    check_types,
    choose,
    first,
    lanes_type,
    linear_body,
    linear_rest,
    linearized_body,
    over_lanes,
    present,
    roles,
    stack_rows,
    stacked,
)
from gradxform.primitives.reductions import reduce_max
from gradxform.primitives.residuals import Plan, plan, without_dead
from gradxform.transforms import batch as batch_program
from gradxform.transforms import jvp as jvp_program
from gradxform.transforms import split
from gradxform.transforms.batching import record_batched
from gradxform.transforms.transposition import backward

#: The value of ``checkpoint`` of a loop over segments: as None, but nothing of its iterations is stored for later sums.
SEGMENTS = "segments"

# ------------------------------------------------------------------------------------------------------- operands


@data_class(frozen=True, slots=True, eq=False)
class _Parts:
    """A sequence with one entry per operand, taken apart."""

    count: list[Any]
    constants: list[Any]
    carries: list[Any]
    xs: list[Any]

    @property
    def body(self) -> list[Any]:
        """One entry per input of the body."""
        return [*self.constants, *self.carries, *self.xs]


def _parts(entries: Sequence[Any], length: int, constants: int, carries: int) -> _Parts:
    first = 1 if length < 0 else 0
    middle = first + constants
    last = middle + carries
    return _Parts(list(entries[:first]), list(entries[first:middle]), list(entries[middle:last]), list(entries[last:]))


def _type(
    *operands: ArrayType, body: Program, length: int, reverse: bool, constants: int, carries: int,
    checkpoint: int | str | None,
) -> tuple[ArrayType, ...]:
    if length < -1:
        raise ArgumentError(f"scan: the length is the number of iterations or -1, got {length}")
    parts = _parts(operands, length, constants, carries)
    if len(parts.body) != len(body.inputs) or len(body.outputs) < carries:
        raise CheckError(f"scan: a body of {len(body.inputs)} inputs and {len(body.outputs)} outputs does not fit "
                         f"{constants} constants, {carries} carries and {len(parts.xs)} arrays to scan over")
    if length < 0:
        check_types("scan (number of iterations)", parts.count, [ArrayType(int64, ())])
    elements = []
    for position, x in enumerate(parts.xs):
        if not x.shape or (length >= 0 and x.shape[0] != length):
            raise ShapeError(f"scan: expected {length if length >= 0 else 'as many as iterations'} elements along the "
                             f"leading axis of array {position} to scan over, got {x}")
        elements.append(ArrayType(x.dtype, x.shape[1:]))
    check_types("scan (inputs of the body)", [*parts.constants, *parts.carries, *elements], body.input_types)
    check_types("scan (carries that the body returns)", body.output_types[:carries], [t.strong() for t in parts.carries])
    return (*(t.strong() for t in parts.carries), *(stacked(length, t) for t in body.output_types[carries:]))


def _evaluate(
    *operands: Any, body: Program, length: int, reverse: bool, constants: int, carries: int,
    checkpoint: int | str | None,
) -> tuple[Any, ...]:
    parts = _parts(operands, length, constants, carries)
    count = length if length >= 0 else int(parts.count[0])
    values: list[Any] = parts.carries
    rows: list[list[Any]] = [[] for _ in body.outputs[carries:]]
    with outside():
        for position in reversed(range(count)) if reverse else range(count):
            results = run(body, [*parts.constants, *values, *(x[position] for x in parts.xs)])
            values = results[:carries]
            for row, y in zip(rows, results[carries:], strict=True):
                row.append(y)
    types = body.output_types[carries:]
    return (*values, *(stack_rows(row[::-1] if reverse else row, t) for row, t in zip(rows, types, strict=True)))


# ------------------------------------------------------------------------------------------------------------- jvp


@data_class(frozen=True, slots=True, eq=False)
class LinearLoop:
    """The scan that is the linear part of a loop: its body and the known ones among its operands."""

    body: LinearBody
    constants: list[Any]
    xs: list[Any]

    def run(
        self, constants: Sequence[Any], carries: Sequence[Any], xs: Sequence[Any], *, length: int, count: Any, reverse: bool,
        checkpoint: int | str | None = None,
    ) -> list[Any]:
        """The results of the linear scan."""
        return scan(self.body.program, count, [*self.constants, *constants], carries, [*self.xs, *xs], length=length,
                    reverse=reverse, checkpoint=checkpoint)


def linear_loop(planned: Plan, body: LinearBody, constants: Sequence[Any], xs: Sequence[Any], ys: Sequence[Any],
                stored: Sequence[Any]) -> LinearLoop:
    """The linear scan of a planned loop.

    ``constants`` holds a value for each constant of the known loop; ``xs`` and ``ys`` what its body's inputs and
    outputs at the planned positions belong to, in the order of the plan.
    """
    hoisted = run(planned.hoisted, constants)
    return LinearLoop(body, [*(constants[i] for i in planned.constants), *hoisted], [*xs, *ys, *stored])


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, body: Program, length: int, reverse: bool, constants: int,
    carries: int, checkpoint: int | str | None,
) -> tuple[list[Any], list[Any]]:
    values, moved = (_parts(entries, length, constants, carries) for entries in (primals, tangents))
    if checkpoint is not None and checkpoint != SEGMENTS and length > 1:
        return _jvp_checkpointed(values, moved, body, length, reverse, checkpoint)
    found = linearized_body(body, tuple([t is not None for t in moved.body]), constants, carries, length > 0)
    planned = found.planned
    results = scan(planned.known, first(values.count), values.constants, values.carries, values.xs, length=length,
                   reverse=reverse)
    count = len(body.outputs)
    outputs, stored = results[:count], results[count:]
    loop = linear_loop(planned, found.linear, values.constants, [values.xs[i - constants - carries] for i in planned.elements],
                       [outputs[i] for i in planned.given], stored)
    carry_flags = found.flags[constants: constants + carries]
    starts = [instantiate(t, x) for t, x, flag in zip(moved.carries, values.carries, carry_flags, strict=True) if flag]
    derivatives = iter(loop.run(
        present(moved.constants), starts, present(moved.xs), length=length, count=first(values.count), reverse=reverse,
        checkpoint=checkpoint if checkpoint == SEGMENTS else None))
    return outputs, [next(derivatives) if flag else None for flag in (*carry_flags, *found.depends[carries:])]


def _jvp_checkpointed(
    values: _Parts, moved: _Parts, body: Program, length: int, reverse: bool, checkpoint: int | str
) -> tuple[list[Any], list[Any]]:
    # That module stands on this one and on while loops.
    from gradxform.primitives import scan_checkpoints

    constants, carries = len(values.constants), len(values.carries)
    given = tuple([t is not None for t in moved.body])
    if checkpoint == "binomial":
        results = scan(body, None, values.constants, values.carries, values.xs, length=length, reverse=reverse,
                       checkpoint=checkpoint)
        loop = scan_checkpoints.Loop(length, reverse, constants, carries, given)
        return results, scan_checkpoints.binomial_tangents(
            body, loop, values.constants, values.carries, values.xs, present(moved.body))
    segment = scan_checkpoints.segment_length(checkpoint, length)
    if segment >= length:
        return _jvp([*values.body], [*moved.body], body=body, length=length, reverse=reverse, constants=constants,
                    carries=carries, checkpoint=None)
    pushed, depends = jvp_program(
        scan_checkpoints.segmented(body, length, reverse, constants, carries, segment), given)
    results = run(pushed, [*values.body, *present(moved.body)])
    count = len(body.outputs)
    derivatives = iter(results[count:])
    return results[:count], [next(derivatives) if flag else None for flag in depends]


# ------------------------------------------------------------------------------------------------------- transpose


def _transpose(
    cts: Sequence[Any], operands: Sequence[Any], *, body: Program, length: int, reverse: bool, constants: int,
    carries: int, checkpoint: int | str | None,
) -> list[Any]:
    given = _parts(operands, length, constants, carries)
    undefined = tuple([isinstance(x, Undefined) for x in given.body])
    found = _transposable(body, undefined, constants, carries, length > 0)
    values = _parts([None if flag else x for x, flag in zip(given.body, found.linear, strict=True)], 0, constants, carries)
    if found.planned is None:
        loop = LinearLoop(found.body, present(values.constants), present(values.xs))
    else:
        loop = _after_known(found.planned, found.body, values, first(given.count), length, reverse)
    pulled = _pulled_back(loop, [ct for ct, keep in zip(cts, found.kept, strict=True) if keep], length, first(given.count),
                          reverse, checkpoint)
    results = iter(pulled)
    cotangents = [next(results) if flag else None for flag in found.linear]
    return [*(None for _ in given.count),
            *(ct if isinstance(x, Undefined) else None for ct, x in zip(cotangents, given.body, strict=True))]


@data_class(frozen=True, slots=True, eq=False)
class _Transposable:
    """A body whose ``linear`` inputs are told from the known ones, and the outputs that are ``kept``, which are linear.

    If some carries are known, they are in ``planned``, for a loop before the linear one.
    """

    linear: list[bool]
    kept: list[bool]
    planned: Plan | None
    body: LinearBody


@kept
def _transposable(body: Program, undefined: tuple[bool, ...], constants: int, carries: int, runs: bool) -> _Transposable:
    linear = list(undefined)
    # A carry that starts known, with zero, is linear all the same if something linear is added to it.
    while True:
        parts = split(body, [not flag for flag in linear])
        carried = [not flag for flag in parts.known_outputs[:carries]]
        if all(has or not gets for has, gets in zip(linear[constants:], carried, strict=False)):
            break
        linear[constants: constants + carries] = [
            has or gets for has, gets in zip(linear[constants:], carried, strict=False)]
    flags = _parts(linear, 0, constants, carries)
    if all(flags.carries):
        own = LinearBody(_linear_first(body, linear, flags), flags.constants.count(False), sum(flags.constants), carries,
                         flags.xs.count(False))
        return _Transposable(linear, [True] * len(body.outputs), None, own)
    kept_outputs = [not is_known for is_known in parts.known_outputs]
    kept_outputs[:carries] = flags.carries
    outputs = iter(parts.known.outputs)
    known_outputs = [next(outputs) if is_known else None for is_known in parts.known_outputs]
    carry_outputs = [x for x, flag in zip(known_outputs, flags.carries, strict=False) if not flag]
    program = Program(parts.known.inputs, parts.known.equations, (*carry_outputs, *outputs))  # type: ignore[arg-type]
    known_constants, known_carries, known_xs = (marks.count(False) for marks in (flags.constants, flags.carries, flags.xs))
    planned = plan(program, known_carries, roles(known_constants, known_carries, known_xs), (), runs)
    rest = linear_rest(parts.rest, parts.residual_count, linear, [not is_known for is_known in parts.known_outputs],
                       constants, carries)
    return _Transposable(linear, kept_outputs, planned, linear_body(planned, rest))


def _linear_first(body: Program, linear: Sequence[bool], flags: _Parts) -> Program:
    """``body`` with its inputs in the order of a `LinearLoop`: known constants, linear ones, carries, known xs, linear xs."""
    inputs = _parts(body.inputs, 0, len(flags.constants), len(flags.carries))

    def ordered(variables: Sequence[Any], marks: Sequence[bool]) -> list[Any]:
        return [*(v for v, m in zip(variables, marks, strict=True) if not m),
                *(v for v, m in zip(variables, marks, strict=True) if m)]

    return Program(
        (*ordered(inputs.constants, flags.constants), *inputs.carries, *ordered(inputs.xs, flags.xs)),
        body.equations, body.outputs, body.name)


def _after_known(planned: Plan, body: LinearBody, values: _Parts, count: Any, length: int, reverse: bool) -> LinearLoop:
    """The linear part of a scan with known carries, after a loop that computes what it needs of those."""
    own = _Parts([], *map(present, (values.constants, values.carries, values.xs)))
    first_x = len(own.constants) + len(own.carries)
    stored = scan(planned.known, count, own.constants, own.carries, own.xs, length=length,
                  reverse=reverse)[len(own.carries):]
    return linear_loop(planned, body, own.constants, [own.xs[i - first_x] for i in planned.elements], [], stored)


def _pulled_back(
    loop: LinearLoop, cts: Sequence[Any], length: int, count: Any, reverse: bool, checkpoint: int | str | None
) -> list[Any]:
    """The cotangents of the linear inputs of a linear scan: constants, carries, xs. None where they are zero."""
    body = loop.body
    carries = body.linear_carries
    ys = tuple([ct is not None for ct in cts[carries:]])
    carried, pull = _pull_of(
        body.program, body.counts, tuple([ct is not None for ct in cts[:carries]]), ys, length > 1 and checkpoint is None)
    carry_types = body.program.input_types[body.constants + body.linear_constants:]
    starts = [zeros(t.strong()) if ct is None else ct
              for ct, t, flag in zip(cts[:carries], carry_types, carried, strict=False) if flag]
    starts += [zeros(t) for t in pull.sums]
    xs = [*loop.xs, *present(cts[carries:])]
    results = iter(scan(pull.body, count, loop.constants, starts, xs, length=length, reverse=not reverse,
                        checkpoint=checkpoint if checkpoint == SEGMENTS else None))
    of_carries = [next(results) if flag else None for flag in carried]
    sums = [next(results) if part is not None and part.now else None for part in pull.constants]
    of_xs = [next(results) if flag else None for flag in pull.xs]
    stacks = dict(zip(pull.body.inputs[body.constants + len(starts):], xs, strict=True))
    stacks.update(zip(pull.factors, results, strict=True))
    if pull.known_factors:
        # Known all of them: they must not come out of a loop that is linear.
        flags = [*[False] * body.constants, *[True] * body.xs]
        over_time, _ = batch_program(pull.of_known, flags, length)
        stacks.update(zip(pull.known_factors, run(over_time, [*loop.constants, *loop.xs]), strict=True))
    of_constants = [_total(part, now, stacks) for part, now in zip(pull.constants, sums, strict=True)]
    return [*of_constants, *of_carries, *of_xs]


def _total(part: _Sum | None, now: Any, stacks: Mapping[Var, Any]) -> Any:
    """The sum over all iterations of a contribution, ``now`` that of the part that the loop has added up."""
    for term in () if part is None else part.later:
        total = term.total(stacks)
        now = total if now is None else add(now, total)
    return now


@data_class(frozen=True, slots=True, eq=False)
class _Sum:
    """The cotangent of a constant: whether the loop adds up a part of it, and terms for after the loop."""

    now: bool
    later: tuple[Term, ...]


@data_class(frozen=True, slots=True, eq=False)
class _Pull:
    """The body of the transpose of a linear scan.

    inputs:   known constants; cotangents of carries, sums of cotangents of constants; known xs, cotangents of ys
    outputs:  cotangents of carries, sums of cotangents of constants; cotangents of xs, factors of sums taken later

    ``constants`` and ``xs`` tell which of them have cotangents, ``carries`` which of the carries get one. ``of_known``
    gives further factors, ``known_factors``, of known constants and known xs.
    """

    body: Program
    constants: list[_Sum | None]
    sums: list[ArrayType]
    carries: list[bool]
    xs: list[bool]
    factors: list[Var]
    known_factors: list[Var]
    of_known: Program


@kept
def _pull_of(
    program: Program, counts: tuple[int, int, int, int], given: tuple[bool, ...], ys: tuple[bool, ...], stacks: bool
) -> tuple[list[bool], _Pull]:
    """The carries that have cotangents in some iteration if those ``given`` do in the first one, and the body.

    ``counts`` are those of the `LinearBody`.
    """
    body = LinearBody(program, *counts)
    carried = list(given)
    while True:
        pull = _pull(body, carried, ys, stacks)
        grown = [old or new for old, new in zip(carried, pull.carries, strict=True)]
        if grown == carried:
            return carried, pull
        carried = grown


def _pull(body: LinearBody, carried: Sequence[bool], ys: Sequence[bool], stacks: bool) -> _Pull:
    """For cotangents of those carries and ys that are flagged. ``stacks``: products may wait for the end of the loop."""
    program, flags = body.program, body.flags
    builder = Builder("transpose of a loop")
    with builder:
        arguments: list[Any] = [Undefined(t.strong()) if flag else builder.add_input(t)
                                for t, flag in zip(program.input_types, flags, strict=True)]
        incoming = [builder.add_input(t.strong()) if flag else None
                    for t, flag in zip(program.output_types, (*carried, *ys), strict=True)]
        pulled = backward(builder, program, arguments, incoming)
        first_x = body.linear_constants + body.linear_carries
        carries, xs = pulled[body.linear_constants: first_x], pulled[first_x:]
        known = [x.atom for x in arguments if not isinstance(x, Undefined)]
        given = [None if x is None else x.atom for x in incoming]
        of_carries, of_ys = present(given[: body.linear_carries]), present(given[body.linear_carries:])
        later = Later(builder.equations, known[: body.constants], known[body.constants:], of_ys)
        constants = later.split(pulled[: body.linear_constants], stacks)
        now = [part.now for part in constants if part is not None and part.now is not None]
        sums = [builder.add_input(type_of(ct)) for ct in now]
        outputs = [zeros(type_of(x)) if ct is None else ct
                   for ct, x in zip(carries, incoming, strict=False) if x is not None]
        outputs += [add(total, ct) for total, ct in zip(sums, now, strict=True)]
        known_factors = [v for v in later.wanted if v in later.known]
        factors = [v for v in later.wanted if v not in later.known]
        result, captures = builder.finish([*outputs, *present(xs), *(builder.tracer_class(builder, v) for v in factors)])
    assert not captures, "a transpose rule captured an array"
    inputs = (*known[: body.constants], *of_carries, *(x.atom for x in sums), *known[body.constants:], *of_ys)
    parts = [None if part is None else _Sum(part.now is not None, part.later) for part in constants]
    return _Pull(
        without_dead(Program(inputs, result.equations, result.outputs)), parts, [type_of(x) for x in sums],
        [ct is not None for ct in carries], [ct is not None for ct in xs], factors, known_factors,
        without_dead(Program(tuple(known), result.equations, tuple(known_factors))))


# ----------------------------------------------------------------------------------------------------------- batch


def _batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, body: Program, length: int, reverse: bool,
    constants: int, carries: int, checkpoint: int | str | None,
) -> tuple[list[Any], list[bool]]:
    values, lanes = (_parts(entries, length, constants, carries) for entries in (operands, batched))
    if any(lanes.count):
        return _batch_counts(values, lanes, size, body, reverse, constants, carries)
    over, flags, out_flags = batched_body(body, tuple(lanes.body), size, constants, carries)
    starts = [over_lanes(x, has, size) if flag else x
              for x, has, flag in zip(values.carries, lanes.carries, flags[constants:], strict=False)]
    # Stacks have their lanes in front outside of loops, and behind the iterations within; tapes always behind.
    moves = length >= 0
    xs = [move_axis(x, 0, 1) if flag and moves else x for x, flag in zip(values.xs, lanes.xs, strict=True)]
    results = scan(over, first(values.count), values.constants, starts, xs, length=length, reverse=reverse,
                   checkpoint=checkpoint)
    results[carries:] = [move_axis(y, 1, 0) if flag and moves else y
                         for y, flag in zip(results[carries:], out_flags[carries:], strict=True)]
    return results, out_flags


def _batch_counts(
    values: _Parts, lanes: _Parts, size: int, body: Program, reverse: bool, constants: int, carries: int
) -> tuple[list[Any], list[bool]]:
    """A scan whose lanes have numbers of iterations of their own: a lane is frozen while it is past its own."""
    counts = values.count[0]
    longest = reduce_max(counts, (0,)) if size else np.int64(0)
    guarded = guard_indices(body)
    flags = [*lanes.constants, *[True] * carries, *lanes.xs]
    builder = Builder("vmap of a loop")
    with builder:
        own_counts, last, done = (builder.add_input(t) for t in (type_of(counts), _COUNT, _COUNT))
        given = [builder.add_input(lanes_type(t, flag, size)) for t, flag in zip(body.input_types, flags, strict=True)]
        active = less(sub(last, done) if reverse else done, own_counts)
        outputs, out_flags = record_batched(builder, guarded, [*given, active], [*flags, True], size)
        outputs = [over_lanes(y, has, size) for y, has in zip(outputs, out_flags, strict=True)]
        before = [*given[constants: constants + carries], *(zeros(type_of(y)) for y in outputs[carries:])]
        frozen = [choose(active, new, old) for new, old in zip(outputs, before, strict=True)]
        program, captures = builder.finish([add(done, np.int64(1)), *frozen])
    assert not captures, "a batching rule captured an array"
    # The counter of iterations stands before the other carries, so the body's constants come before it.
    counting, inputs = program.inputs[:3], program.inputs[3:]
    program = Program((*counting[:2], *inputs[:constants], counting[2], *inputs[constants:]),
                      program.equations, program.outputs)
    starts = [over_lanes(x, has, size) for x, has in zip(values.carries, lanes.carries, strict=True)]
    results = scan(program, longest, [counts, sub(longest, np.int64(1)), *values.constants],
                   [np.int64(0), *starts], values.xs, length=-1, reverse=reverse)
    return results[1:], [True] * (len(results) - 1)


_COUNT = ArrayType(int64, ())


# ------------------------------------------------------------------------------------------------------- primitive


def _lower(
    operands: Sequence[Operand], result_types: Sequence[ArrayType], *, body: Program, length: int, reverse: bool,
    constants: int, carries: int, checkpoint: int | str | None,
) -> Repeat:
    return Repeat(body, constants, carries, length, reverse)


def scan(
    body: Program, count: Any, constants: Sequence[Any], carries: Sequence[Any], xs: Sequence[Any], *, length: int,
    reverse: bool = False, checkpoint: int | str | None = None,
) -> list[Any]:
    """The final carries and the stacked ys of a loop; ``count`` is the number of iterations if ``length`` is -1.

    ``checkpoint`` says what reverse mode stores: None what it needs of every iteration, an integer the carries of every
    so manieth iteration, 'sqrt' those of about the square root of their number, 'binomial' those of about its
    logarithm. What is not stored is computed again.
    """
    if (count is None) != (length >= 0):
        raise ArgumentError(f"scan: expected either a length or a count of iterations, got {length} and {count!r}{user_line()}")
    if checkpoint is not None and length < 0:
        raise ArgumentError(f"scan: checkpoint={checkpoint!r} needs a length that is known when the loop is traced: use "
                            f"checkpoint=None{user_line()}")
    params = {"body": body, "length": length, "reverse": reverse, "constants": len(constants), "carries": len(carries),
              "checkpoint": checkpoint}
    return bind_all(scan_p, [*([] if count is None else [count]), *constants, *carries, *xs], params)


scan_p = Primitive(
    "scan",
    type=_type,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=_lower,
    multiple=True,
)

PRIMITIVES = (scan_p,)
