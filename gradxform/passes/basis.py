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

from collections.abc import Sequence
from dataclasses import replace

from gradxform.ir import Atom, Equation, Program, Var
from gradxform.passes.basis_rules import RULES
from gradxform.passes.lane_digits import Split, Sum, split_form
from gradxform.passes.pieces import Piece, Pieces, written
from gradxform.passes.rewriting import Rewriter, Vocabulary
from gradxform.passes.simplify import RULES as SIMPLIFICATIONS


def remove_basis(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without arithmetic on the zeros of unit vectors; the same object if it has none."""
    if not any(equation.operation.name == "unit_vectors" for equation in program.equations):
        return program
    remover = _Remover(Rewriter(vocabulary, SIMPLIFICATIONS))
    for equation in program.equations:
        remover.visit(equation)
    if not remover.changed:
        return program
    outputs = tuple([remover.dense(x) for x in program.outputs])
    return Program(program.inputs, tuple(remover.rewriter.equations), outputs, program.name)


class _Remover:
    def __init__(self, rewriter: Rewriter) -> None:
        self.rewriter = rewriter
        self.known: dict[Atom, Pieces] = {}
        self.splits: dict[Atom, Split] = {}
        self.changed = False

    def current(self, atom: Atom) -> Atom:
        """What stands for ``atom`` by now; it may still be known as pieces, or with the axis of the lanes apart."""
        environment = self.rewriter.environment
        while atom in environment:
            atom = environment[atom]
        return atom

    def dense(self, atom: Atom) -> Atom:
        """``atom`` written out, once."""
        rewriter = self.rewriter
        atom = self.current(atom)
        split = self.splits.get(atom)
        if split is not None:
            if not split.is_written:
                whole = rewriter.environment[atom] = rewriter.emit("reshape", self.dense(split.atom), shape=atom.type.shape)
                self.splits[whole] = replace(self.splits.pop(atom), is_written=True)
                return whole
            return atom
        pieces = self.known.get(atom)
        if pieces is None or pieces.origin is not None:
            return atom
        whole = rewriter.environment[atom] = written(rewriter, pieces)
        self.known[whole] = replace(self.known.pop(atom), origin=whole)
        return whole

    def visit(self, equation: Equation) -> None:
        """Write one equation."""
        rewriter = self.rewriter
        rewriter.source = equation.source
        equation = _reading(equation, [self.current(x) for x in equation.inputs])
        if any(x in self.splits for x in equation.inputs):
            apart = split_form(rewriter, self.splits, self.dense, equation)
            if apart is not None:
                self.visit(apart.equation)
                self.splits[equation.outputs[0]] = Split(apart.axis, apart.extents, apart.equation.outputs[0])
                return
            equation = _reading(equation, [self.dense(x) if x in self.splits else x for x in equation.inputs])
        if any(x in self.known for x in equation.inputs):
            rule = RULES.get(equation.operation.name)
            answer = None if rule is None else rule(rewriter, self.known, equation, equation.outputs[0].type)
            if answer is not None:
                self.changed = True
                self.answered(equation.outputs[0], answer)
                return
            equation = _reading(equation, [self.dense(x) for x in equation.inputs])
        rewriter.equations.append(equation)
        if len(equation.outputs) == 1:
            (var,) = equation.outputs
            rewriter.defined[var] = equation
            if equation.operation.name == "unit_vectors" and var.type.size:
                ones = rewriter.full(1, var.type.with_shape(var.type.shape[1:]))
                self.known[var] = Pieces(var.type, 0, (Piece(ones, 0, (1,)),), origin=var)

    def answered(self, var: Var, answer: Pieces | Sum | Atom) -> None:
        """Note what a rule says of ``var``."""
        if isinstance(answer, Pieces):
            self.known[var] = answer
        elif isinstance(answer, Sum):
            atom = Var(answer.pieces.type)
            self.known[atom] = answer.pieces
            self.splits[var] = Split(answer.axis, answer.extents, atom)
        else:
            self.rewriter.environment[var] = answer


def _reading(equation: Equation, inputs: Sequence[Atom]) -> Equation:
    """The equation with other operands."""
    if all(a is b for a, b in zip(inputs, equation.inputs, strict=True)):
        return equation
    return Equation(equation.operation, tuple(inputs), equation.params, equation.outputs, equation.source)
