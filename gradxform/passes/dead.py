"""Dead code.

    { b = sin a ; c = cos a in (b) }  ->  { b = sin a in (b) }
"""

from __future__ import annotations

from gradxform.ir import Atom, Equation, Program
from gradxform.passes.rewriting import Vocabulary


def remove_dead(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without equations that no output needs; inputs stay. The same object if all are needed."""
    needed: set[Atom] = set(program.outputs)  # membership only: nothing depends on the order of a set
    kept: list[Equation] = []
    for equation in reversed(program.equations):
        if any(var in needed for var in equation.outputs):
            needed.update(equation.inputs)
            kept.append(equation)
    if len(kept) == len(program.equations):
        return program
    return Program(program.inputs, tuple(reversed(kept)), program.outputs, program.name)
