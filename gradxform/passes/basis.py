"""The basis of a Jacobian removed.

A Jacobian is a jvp or vjp batched over unit vectors. Carried out as written it multiplies mostly zeros:

    { b = cos a ; c = unit_vectors[size=3] ; d = broadcast[axes=(1,)] b ; e = mul c d in (e) }
      ->  { b = cos a ; ... ; e = select (equal i j) (broadcast b) 0.0 in (e) }

Here values that have one element per lane, or few, are kept as *pieces*. With p the axis of the lanes and r the index
of the other axes, a piece (value, offset, steps) stands for

    full[lane at p, r] = value[r]  where  lane == offset + steps . r,   and 0 elsewhere.

unit_vectors is one piece of ones with offset 0 and step 1. Linear operations map pieces to pieces and work on
``value`` only, which has no axis for the lanes; a sum over the axes that have steps, or over the lanes, gives a dense
array without any search. What is left at the end is written out: pieces without steps are rows and are stacked, the
others are diagonals and are selected.

Pieces hold no zeros to multiply, so 0 * inf does not arise where the derivative is zero.
"""

from __future__ import annotations

from dataclasses import replace

from gradxform.ir import Atom, Equation, Program
from gradxform.passes.basis_rules import RULES
from gradxform.passes.pieces import Piece, Pieces, written
from gradxform.passes.rewriting import Rewriter, Vocabulary
from gradxform.passes.simplify import RULES as SIMPLIFICATIONS


def remove_basis(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without arithmetic on the zeros of unit vectors; the same object if it has none."""
    if not any(equation.operation.name == "unit_vectors" for equation in program.equations):
        return program
    rewriter = Rewriter(vocabulary, SIMPLIFICATIONS)
    environment = rewriter.environment
    known: dict[Atom, Pieces] = {}
    changed = False

    def dense(atom: Atom) -> Atom:
        pieces = known.get(atom)
        if pieces is None:
            return environment.get(atom, atom)  # written for another operand of the same equation, perhaps
        if pieces.origin is not None:
            return atom
        whole = environment[atom] = written(rewriter, pieces)
        known[whole] = replace(known.pop(atom), origin=whole)
        return whole

    for equation in program.equations:
        rewriter.source = equation.source
        inputs = tuple([environment.get(x, x) for x in equation.inputs])
        if inputs != equation.inputs:
            equation = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        if any(x in known for x in inputs):
            rule = RULES.get(equation.operation.name)
            answer = None if rule is None else rule(rewriter, known, equation, equation.outputs[0].type)
            if answer is not None:
                changed = True
                if isinstance(answer, Pieces):
                    known[equation.outputs[0]] = answer
                else:
                    environment[equation.outputs[0]] = answer
                continue
            inputs = tuple([dense(x) for x in inputs])
            if inputs != equation.inputs:
                equation = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        rewriter.equations.append(equation)
        if len(equation.outputs) == 1:
            (var,) = equation.outputs
            rewriter.defined[var] = equation
            if equation.operation.name == "unit_vectors" and var.type.size:
                ones = rewriter.full(1, var.type.with_shape(var.type.shape[1:]))
                known[var] = Pieces(var.type, 0, (Piece(ones, 0, (1,)),), origin=var)
    outputs = tuple([dense(environment.get(x, x)) for x in program.outputs])
    return Program(program.inputs, tuple(rewriter.equations), outputs, program.name) if changed else program
