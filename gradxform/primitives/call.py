"""A call of a sub-program: what a jitted function becomes inside another trace. The inlining pass removes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.core import Primitive, Refuses, Undefined, bind_all, run
from gradxform.ir import ArrayType, Program
from gradxform.linear import zeros
from gradxform.transforms import batch as batch_program
from gradxform.transforms import jvp as jvp_program
from gradxform.transforms import transpose as transpose_program


def _type(*operands: ArrayType, program: Program, name: str) -> tuple[ArrayType, ...]:
    return program.output_types


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, name: str
) -> tuple[list[Any], list[Any]]:
    # Values and tangents are recorded here, not as another call: what is linear must be told from what is known.
    pushed, depends = jvp_program(program, [t is not None for t in tangents])
    results = run(pushed, [*primals, *(t for t in tangents if t is not None)])
    derivatives = iter(results[len(program.outputs):])
    return results[: len(program.outputs)], [next(derivatives) if flag else None for flag in depends]


def _transpose(cts: Sequence[Any], operands: Sequence[Any], *, program: Program, name: str) -> list[Any]:
    linear = [isinstance(x, Undefined) for x in operands]
    transposed = transpose_program(program, linear)
    given = [zeros(atom.type.strong()) if ct is None else ct for ct, atom in zip(cts, program.outputs, strict=True)]
    results = iter(call(transposed, [*(x for x in operands if not isinstance(x, Undefined)), *given], f"transpose_{name}"))
    return [next(results) if flag else None for flag in linear]


def _batch(operands: Any, batched: Any, size: int, *, program: Program, name: str) -> tuple[list[Any], Sequence[bool]]:
    over_lanes, flags = batch_program(program, batched, size)
    return call(over_lanes, operands, f"vmap_{name}"), flags


def call(program: Program, operands: Sequence[Any], name: str) -> list[Any]:
    """The results of ``program``, kept as one equation."""
    return bind_all(call_p, operands, {"program": program, "name": name})


call_p = Primitive(
    "call",
    type=_type,
    evaluate=lambda *operands, program, name: run(program, operands),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=Refuses("call is inlined before lowering"),
    multiple=True,
)

PRIMITIVES = (call_p,)
