"""while: a loop whose number of iterations is known when it has run.

    operands:   condition constants, body constants, carries    ->    carries [, count, tapes]
    condition:  condition constants, carries                    ->    a boolean
    body:       body constants, carries                         ->    carries [, elements of tapes]

A ``recorded`` loop also gives the number of its iterations, and tapes of what its body gave in each. That is how a
while loop is differentiated: the recorded loop leaves what its tangent map needs, which is a scan over tapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Builder, Primitive, Refuses, bind_all, outside, run
from gradxform.dtypes import bool_, int64
from gradxform.errors import CheckError
from gradxform.ir import ArrayType, Program
from gradxform.linear import add, instantiate, zeros
from gradxform.loopir.lowering import Operand, While
from gradxform.primitives.guarding import guard_indices
from gradxform.primitives.logic import convert, logical_and
from gradxform.primitives.loop_rules import (
    batched_body,
    check_types,
    choose,
    lanes_type,
    linearized_body,
    over_lanes,
    present,
    stack_rows,
    stacked,
)
from gradxform.primitives.reductions import reduce_or
from gradxform.primitives.scan import linear_loop
from gradxform.transforms import batch as batch_program
from gradxform.transforms.batching import record_batched

_COUNT, _HOLDS = ArrayType(int64, ()), ArrayType(bool_, ())


def _parts(entries: Sequence[Any], condition_constants: int, body_constants: int) -> tuple[list[Any], list[Any], list[Any]]:
    """A sequence with one entry per operand, taken apart: condition constants, body constants, carries."""
    last = condition_constants + body_constants
    return list(entries[:condition_constants]), list(entries[condition_constants:last]), list(entries[last:])


def _type(
    *operands: ArrayType, condition: Program, body: Program, condition_constants: int, body_constants: int, recorded: bool
) -> tuple[ArrayType, ...]:
    of_condition, of_body, carries = _parts(operands, condition_constants, body_constants)
    count = len(carries)
    check_types("while (inputs of the condition)", [*of_condition, *carries], condition.input_types)
    check_types("while (inputs of the body)", [*of_body, *carries], body.input_types)
    check_types("while (result of the condition)", condition.output_types, [_HOLDS])
    check_types("while (carries that the body returns)", body.output_types[:count], carries)
    if not recorded and len(body.outputs) != count:
        raise CheckError(f"while: the body returns {len(body.outputs)} values for {count} carries")
    results = tuple([t.strong() for t in carries])
    return (*results, _COUNT, *(stacked(-1, t) for t in body.output_types[count:])) if recorded else results


def _evaluate(
    *operands: Any, condition: Program, body: Program, condition_constants: int, body_constants: int, recorded: bool
) -> tuple[Any, ...]:
    of_condition, of_body, values = _parts(operands, condition_constants, body_constants)
    carries = len(values)
    rows: list[list[Any]] = [[] for _ in body.outputs[carries:]]
    count = 0
    with outside():
        while run(condition, [*of_condition, *values])[0]:
            results = run(body, [*of_body, *values])
            values = results[:carries]
            count += 1
            for row, y in zip(rows, results[carries:], strict=True):
                row.append(y)
    if not recorded:
        return tuple(values)
    return (*values, np.int64(count), *map(stack_rows, rows, body.output_types[carries:]))


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any],
    *, condition: Program, body: Program, condition_constants: int, body_constants: int, recorded: bool,
) -> tuple[list[Any], list[Any]]:
    of_condition, of_body, starts = _parts(primals, condition_constants, body_constants)
    _, moved_constants, moved_carries = _parts(tangents, condition_constants, body_constants)
    carries = len(starts)
    given = tuple([t is not None for t in (*moved_constants, *moved_carries)])
    if not any(given):  # Only the condition depends on what has a tangent.
        results = while_loop(condition, body, of_condition, of_body, starts, recorded)
        return results, [None] * len(results)
    found = linearized_body(body, given, body_constants, carries, False)
    planned, carry_flags = found.planned, found.flags[body_constants:]
    results = while_loop(condition, planned.known, of_condition, of_body, starts, recorded=True)
    final, iterations, tapes = results[:carries], results[carries], results[carries + 1:]
    own = len(body.outputs) - carries
    loop = linear_loop(planned, found.linear, of_body, [], [tapes[i - carries] for i in planned.given], tapes[own:])
    tangents_in = [instantiate(t, x) for t, x, flag in zip(moved_carries, starts, carry_flags, strict=True) if flag]
    derivatives = iter(loop.run(present(moved_constants), tangents_in, [], length=-1, count=iterations, reverse=False))
    outgoing = [next(derivatives) if flag else None for flag in carry_flags]
    if not recorded:
        return final, outgoing
    return ([*final, iterations, *tapes[:own]],
            [*outgoing, None, *(next(derivatives) if flag else None for flag in found.depends[carries:])])


def _batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int,
    *, condition: Program, body: Program, condition_constants: int, body_constants: int, recorded: bool,
) -> tuple[list[Any], list[bool]]:
    of_condition, of_body, starts = _parts(operands, condition_constants, body_constants)
    condition_lanes, body_lanes, carry_lanes = _parts(batched, condition_constants, body_constants)
    carries = len(starts)
    over, flags, out_flags = batched_body(body, (*body_lanes, *carry_lanes), size, body_constants, carries)
    carry_flags = flags[body_constants:]
    over_condition, (differs,) = batch_program(condition, [*condition_lanes, *carry_flags], size)
    if differs:
        return _batch_frozen(operands, batched, size, condition=condition, body=body,
                             condition_constants=condition_constants, body_constants=body_constants, recorded=recorded)
    begun = [over_lanes(x, has, size) if flag else x
             for x, has, flag in zip(starts, carry_lanes, carry_flags, strict=True)]
    results = while_loop(over_condition, over, of_condition, of_body, begun, recorded)
    return results, [*carry_flags, False, *out_flags[carries:]] if recorded else carry_flags


def _batch_frozen(
    operands: Sequence[Any], batched: Sequence[bool], size: int,
    *, condition: Program, body: Program, condition_constants: int, body_constants: int, recorded: bool,
) -> tuple[list[Any], list[bool]]:
    """A loop whose condition differs between lanes: it runs as long as that holds in any, the others are frozen.

    Its carries are those of the lanes, which lanes are active, and the number of iterations of each if ``recorded``.
    """
    of_condition, of_body, starts = _parts(operands, condition_constants, body_constants)
    condition_lanes, body_lanes, carry_lanes = _parts(batched, condition_constants, body_constants)
    carries = len(starts)
    begun = [over_lanes(x, has, size) for x, has in zip(starts, carry_lanes, strict=True)]
    over_condition, condition_flags = batch_program(condition, [*condition_lanes, *[True] * carries], size)
    (active,) = run(over_condition, [*of_condition, *begun])
    active = over_lanes(active, condition_flags[0], size)
    carry_types = [lanes_type(t, True, size) for t in body.input_types[body_constants:]]
    active_type = lanes_type(_HOLDS, True, size)
    counters = [lanes_type(_COUNT, True, size)] if recorded else []

    builder = Builder("vmap of while")
    with builder:
        for array_type in (*carry_types, active_type, *counters):
            builder.add_input(array_type)
        holds = reduce_or(builder.tracer_class(builder, builder.inputs[carries]), (0,))
        any_active, captures = builder.finish([holds])
    assert not captures, "a batching rule captured an array"

    guarded = guard_indices(body)
    builder = Builder("vmap of while")
    with builder:
        condition_inputs = [builder.add_input(t) for t in over_condition.input_types[:condition_constants]]
        body_inputs = [builder.add_input(lanes_type(t, flag, size))
                       for t, flag in zip(body.input_types, body_lanes, strict=False)]
        old = [builder.add_input(t) for t in carry_types]
        running = builder.add_input(active_type)
        counts = [builder.add_input(t) for t in counters]
        flags = [*body_lanes, *[True] * carries, True]
        outputs, out_flags = record_batched(builder, guarded, [*body_inputs, *old, running], flags, size)
        new = [choose(running, over_lanes(x, has, size), before)
               for x, has, before in zip(outputs, out_flags, old, strict=False)]
        (continues,) = run(over_condition, [*condition_inputs, *new])
        continues = logical_and(running, continues)
        counts = [add(n, convert(running, int64)) for n in counts]
        program, captures = builder.finish([*new, continues, *counts, *outputs[carries:]])
    assert not captures, "a batching rule captured an array"
    results = while_loop(any_active, program, [], [*of_condition, *of_body],
                         [*begun, active, *(zeros(t) for t in counters)], recorded)
    if not recorded:
        return results[:carries], [True] * carries
    # carries, active lanes, counts of the lanes, count of all, tapes
    return ([*results[:carries], results[carries + 1], *results[carries + 3:]],
            [*[True] * carries, True, *out_flags[carries:]])


def _lower(
    operands: Sequence[Operand], result_types: Sequence[ArrayType],
    *, condition: Program, body: Program, condition_constants: int, body_constants: int, recorded: bool,
) -> While:
    return While(condition, body, condition_constants, body_constants, recorded)


def while_loop(
    condition: Program, body: Program, condition_constants: Sequence[Any], body_constants: Sequence[Any],
    carries: Sequence[Any], recorded: bool = False,
) -> list[Any]:
    """The final carries; if ``recorded``, then the number of iterations and the tapes."""
    params = {"condition": condition, "body": body, "condition_constants": len(condition_constants),
              "body_constants": len(body_constants), "recorded": recorded}
    return bind_all(while_p, [*condition_constants, *body_constants, *carries], params)


while_p = Primitive(
    "while",
    type=_type,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=Refuses(
        "a while loop has no transpose: its condition may depend on the values that would be linear. grad, vjp and "
        "linearize differentiate it; for linear_transpose write the loop with fori_loop or scan"),
    batch=_batch,
    lower=_lower,
    multiple=True,
)

PRIMITIVES = (while_p,)
