"""Dead code.

    { b = sin a ; c = cos a in (b) }  ->  { b = sin a in (b) }

Loops and branches lose the results that nobody uses, and what only those need; see loops_dead.
"""

from __future__ import annotations

from gradxform.ir import Atom, Equation, Program
from gradxform.passes.loop_forms import has_effect
from gradxform.passes.loops_dead import narrow
from gradxform.passes.rewriting import Vocabulary


def remove_dead(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without equations that neither an output needs nor an effect; inputs stay.

    The same object if all are needed.
    """
    return _swept(program)


def _swept(program: Program) -> Program:
    needed: set[Atom] = set(program.outputs)  # membership only: nothing depends on the order of a set
    kept: list[Equation] = []
    changed = False
    for equation in reversed(program.equations):
        if not needed.isdisjoint(equation.outputs) or has_effect(equation):
            narrowed = narrow(equation, needed, _swept)
            changed = changed or narrowed is not equation
            needed.update(narrowed.inputs)
            kept.append(narrowed)
    if not changed and len(kept) == len(program.equations):
        return program
    return Program(program.inputs, tuple(reversed(kept)), program.outputs, program.name)
