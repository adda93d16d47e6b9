"""Inlining of calls.

    { b = call[program={ lambda x . let y = sin x in (y) }] a in (b) }  ->  { b = sin a in (b) }

Once a program is to be compiled, the rules of its functions have been used, or are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradxform.ir import Program
from gradxform.ir.inlining import inline_calls
from gradxform.passes.rewriting import Vocabulary

#: Everything that stands for a program: the parameter that holds it, by operation.
CALLED: Mapping[str, str] = {
    "call": "program", "custom": "program", "custom_linear": "forward", "remat": "program", "remat_linear": "program",
    "linear_solve": "solve", "root": "solve",
}


def inline(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without calls; the same object if nothing is called."""
    return inline_calls(program, CALLED)
