"""Algebraic simplification.

    { b = mul a 1.0 ; c = neg b ; d = neg c in (d) }  ->  { in (a) }

The rules and what they promise stand in arithmetic_rules and shape_rules. One sweep suffices: a rule sees operands that
are already simple, and what it emits goes through the rules again.
"""

from __future__ import annotations

from gradxform.ir import Program
from gradxform.passes import arithmetic_rules, shape_rules
from gradxform.passes.rewriting import Rewriter, Vocabulary

RULES = {**arithmetic_rules.RULES, **shape_rules.RULES}


def simplify(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with simpler equations; the same object if there is nothing to simplify."""
    return Rewriter(vocabulary, RULES).run(program)
