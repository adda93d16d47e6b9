"""Barriers, which hand several values on at once, where only some of them depend on what a transform looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradxform.ir.program import Atom, Equation, Program


def separated(program: Program, flags: Sequence[bool]) -> Program:
    """``program`` with barriers for what depends on the flagged inputs, and others for what does not."""
    if not any(equation.operation.name == "barrier" for equation in program.equations):
        return program
    dependent: dict[Atom, None] = {v: None for v, flag in zip(program.inputs, flags, strict=True) if flag}
    equations: list[Equation] = []
    for equation in program.equations:
        depends = [x in dependent for x in equation.inputs]
        parts = [equation]
        if equation.operation.name == "barrier" and any(depends) and not all(depends):
            pairs = list(zip(equation.inputs, equation.outputs, depends, strict=True))
            parts = [replace(equation, inputs=tuple([x for x, _, d in pairs if d is side]),
                             outputs=tuple([v for _, v, d in pairs if d is side])) for side in (False, True)]
        for part in parts:
            if any(x in dependent for x in part.inputs):
                dependent.update(dict.fromkeys(part.outputs))
        equations += parts
    return replace(program, equations=tuple(equations))
