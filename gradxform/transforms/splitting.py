"""Partial evaluation by dataflow: what is known before the rest.

    split : ((a, b) -> (c, d))  ->  (a -> (c, r)), ((r, b) -> d)

where c depends on the known inputs only. Equations are shared, not copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradxform.data_class import data_class
from gradxform.ir import Equation, Literal, Program, Var
from gradxform.ir.barriers import separated
from gradxform.transforms.differentiation import jvp


@data_class(frozen=True, slots=True, eq=False)
class Split:
    """``known`` gives the known outputs, then the residuals; ``rest`` takes the residuals, then the unknown inputs."""

    known: Program
    rest: Program
    known_outputs: tuple[bool, ...]
    residual_count: int


def split(program: Program, known_inputs: Sequence[bool]) -> Split:
    """Separate ``program`` into the part that depends on known inputs only and the rest."""
    unknown: dict[Var, None] = {v: None for v, k in zip(program.inputs, known_inputs, strict=True) if not k}
    program = separated(program, [not k for k in known_inputs])
    before: list[Equation] = []
    after: list[Equation] = []
    for equation in program.equations:
        if any(x in unknown for x in equation.inputs if isinstance(x, Var)):
            after.append(equation)
            unknown.update(dict.fromkeys(equation.outputs))
        else:
            before.append(equation)
    defined_after = dict.fromkeys(v for e in after for v in e.outputs)
    residuals: dict[Var, None] = {}
    for equation in after:
        for x in equation.inputs:
            if isinstance(x, Var) and x not in unknown and x not in defined_after:
                residuals[x] = None
    known_outputs = tuple(isinstance(x, Literal) or x not in unknown for x in program.outputs)
    known = Program(
        tuple(v for v, k in zip(program.inputs, known_inputs, strict=True) if k),
        tuple(before),
        (*(x for x, k in zip(program.outputs, known_outputs, strict=True) if k), *residuals),
    )
    rest = Program(
        (*residuals, *(v for v, k in zip(program.inputs, known_inputs, strict=True) if not k)),
        tuple(after),
        tuple(x for x, k in zip(program.outputs, known_outputs, strict=True) if not k),
    )
    return Split(known, rest, known_outputs, len(residuals))


def linearize(program: Program, nonzero: Sequence[bool]) -> tuple[Split, tuple[bool, ...]]:
    """The value part and the linear part of ``program``, and which outputs have a tangent.

        linearize : (a -> b)  ->  (a -> (b, r)), ((r, Ta) -o Tb)

    The linear part takes the residuals and a tangent for each ``nonzero`` input.
    """
    pushed, depends = jvp(program, nonzero)
    tangent_count = sum(nonzero)
    parts = split(pushed, [True] * len(program.inputs) + [False] * tangent_count)
    # A tangent may come out known (a constant, or a residual handed through): then it must still be an output of
    # the linear part. jvp rules only give tangents that depend on tangents, so that cannot happen.
    assert all(parts.known_outputs[: len(program.outputs)]) and not any(parts.known_outputs[len(program.outputs):])
    return parts, depends
