"""Sums that wait for others over the same elements, taken of what is known before those.

    { m = reduce_sum a ; f = sqrt m ; g = broadcast f ; c = mul z g ; d = mul a g ; e = add c d ; s = reduce_sum e in (e, s) }
      ->  { z' = reduce_sum z ; c' = mul z' f ; d' = mul m f ; s = add c' d' ; ... }

A derivative through a mean subtracts the sum of a cotangent. The cotangent has factors, standard deviations say, that are sums
over the same elements, so that its own sum would need one more pass over the data. Where a term is a factor, constant along the
summed axes, times a value that the program has anyway, the factor is taken out, and the value summed: in an earlier pass, or
together with an equal sum.

Accuracy: a factor is multiplied once where it was for each element. A sum of several such terms becomes a sum for each, which
is a sum of the same products in another order: errors are bounded, as those of any order are, by the sizes of the products,
each of which has been rounded. So a term without a factor, an exact number that others may cancel exactly (x - mean,
y - slope * x), keeps the sum as it is written. No product is made that the program does not have: it might overflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from gradxform.data_class import data_class
from gradxform.ir import Atom, Equation, Program, Var
from gradxform.passes.rewriting import Rewriter, Vocabulary

#: Elements below which a pass over them costs too little.
LEAST_ELEMENTS = 256
#: Terms that a sum is taken apart into, and operations on the way to them.
MOST_TERMS, MOST_STEPS = 4, 32

Axes = tuple[int, ...]


@data_class(frozen=True, slots=True)
class _Term:
    """``value`` times ``factors``, which are constant along the summed axes, with a sign."""

    negative: bool
    factors: tuple[Atom, ...]
    value: Atom


def early_sums(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with such sums taken earlier; the same object if there are none."""
    sums = [e for e in program.equations if e.operation.name == "reduce_sum" and _is_large(e)]
    shapes: dict[tuple[int, ...], list[Equation]] = {}
    for equation in sums:
        shapes.setdefault(equation.inputs[0].type.shape, []).append(equation)
    groups = [group for group in shapes.values() if len(group) > 1]
    if not groups:
        return program
    search = _Search(program)
    found: dict[Equation, list[_Term]] = {}
    for group in groups:
        found.update(search.among(group))
    return _written(program, vocabulary, found) if found else program


def _is_large(equation: Equation) -> bool:
    (x,) = equation.inputs
    return x.type.dtype.kind == "f" and prod(x.type.shape) >= LEAST_ELEMENTS


class _Search:
    """What is known of a program, and for sums over arrays of one shape."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.definitions: dict[Atom, Equation] = {}
        self.places: dict[Atom, int] = {}
        self.products: dict[frozenset[Atom], Atom] = {}
        for place, equation in enumerate(program.equations):
            for result in equation.outputs:
                self.places[result] = place
                self.definitions[result] = equation
            if equation.operation.name == "mul":
                self.products.setdefault(frozenset(equation.inputs), equation.outputs[0])
        self.passes: dict[Atom, int] = {}
        self.summed: set[tuple[Atom, Axes]] = set()
        self.axes: Axes = ()
        self.steps = 0

    def among(self, group: list[Equation]) -> dict[Equation, list[_Term]]:
        """The terms of those of some sums over arrays of one shape that are better taken of their terms."""
        shape = group[0].inputs[0].type.shape
        self.summed = {(equation.inputs[0], equation.params[0][1]) for equation in group}
        # How many sums over such arrays have to be complete, one after the other, before a value is known.
        self.passes = {}
        for equation in self.program.equations:
            before = max((self.passes.get(x, 0) for x in equation.inputs), default=0)
            if equation.operation.name.startswith("reduce_") and equation.inputs[0].type.shape == shape:
                before += 1
            if before:
                self.passes.update(dict.fromkeys(equation.outputs, before))
        found = {equation: self.early(equation) for equation in group}
        return {equation: terms for equation, terms in found.items() if terms}

    def early(self, equation: Equation) -> list[_Term]:
        """The terms of a sum if it is better taken of each of them; or none."""
        (x,) = equation.inputs
        waits = self.passes.get(x, 0)
        if not waits:
            return []
        self.axes, self.steps = equation.params[0][1], 0
        terms = self.terms(x)
        if len(terms) > MOST_TERMS:
            return []
        for term in terms:
            # What is multiplied later on does not help.
            if term.value is x or self.places.get(term.value, -1) > self.places[x]:
                return []
            if (term.value, self.axes) not in self.summed and self.passes.get(term.value, 0) >= waits:
                return []
        return terms

    def terms(self, x: Atom) -> list[_Term]:
        """What ``x`` is the sum of; itself, without factors, if it is none of products."""
        whole = [_Term(False, (), x)]
        equation = self.definitions.get(x)
        self.steps += 1
        if equation is None or self.steps > MOST_STEPS:
            return whole
        name = equation.operation.name
        if name == "neg":
            return _times(self.terms(equation.inputs[0]), True, ())
        if name in ("add", "sub"):
            left, right = (self.terms(operand) for operand in equation.inputs)
            parts = [*left, *_times(right, name == "sub", ())]
            return parts if all(part.factors for part in parts) else whole
        return self.product(equation, whole) if name == "mul" else whole

    def product(self, equation: Equation, whole: list[_Term]) -> list[_Term]:
        left, right = equation.inputs
        for factor, other in ((left, right), (right, left)):
            if self.is_factor(factor):
                return _times(self.terms(other), False, (factor,)) if other.type.shape else whole
        # Both vary. A product of what is left of them without factors may be there already.
        first, second = self.terms(left), self.terms(right)
        if len(first) > 1 or len(second) > 1:
            return whole
        (one,), (other_term,) = first, second
        found = self.products.get(frozenset((one.value, other_term.value)))
        if found is None or not (one.factors or other_term.factors):
            return whole
        return [_Term(one.negative is not other_term.negative, (*one.factors, *other_term.factors), found)]

    def is_factor(self, x: Atom) -> bool:
        """Whether ``x`` is constant along the summed axes."""
        if not x.type.shape:
            return True
        equation = self.definitions.get(x)
        if equation is None or equation.operation.name != "broadcast":
            return False
        laid, extents = equation.params[0][1], equation.inputs[0].type.shape
        return all(n == 1 or a not in self.axes for a, n in zip(laid, extents, strict=True))


def _times(terms: list[_Term], negative: bool, factors: tuple[Atom, ...]) -> list[_Term]:
    return [_Term(term.negative is not negative, (*term.factors, *factors), term.value) for term in terms]


def _written(program: Program, vocabulary: Vocabulary, found: Mapping[Equation, list[_Term]]) -> Program:
    """``program`` with sums of terms in place of the equations."""
    rewriter = Rewriter(vocabulary, {})
    environment: dict[Atom, Atom] = {}
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs])
        if inputs != equation.inputs:
            renamed = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        else:
            renamed = equation
        terms = found.get(equation)
        if terms:
            rewriter.source = equation.source
            environment[equation.outputs[0]] = _sum(rewriter, equation, terms, environment)
            continue
        rewriter.equations.append(renamed)
        if len(equation.outputs) == 1:
            rewriter.defined[equation.outputs[0]] = renamed
    outputs = tuple([environment.get(x, x) for x in program.outputs])
    return Program(program.inputs, tuple(rewriter.equations), outputs, program.name)


def _sum(rewriter: Rewriter, equation: Equation, terms: list[_Term], environment: Mapping[Atom, Atom]) -> Atom:
    (result,) = equation.outputs
    axes: Axes = equation.params[0][1]
    total: Atom | None = None
    negative = False
    for term in sorted(terms, key=lambda term: term.negative):
        part = rewriter.emit("reduce_sum", environment.get(term.value, term.value), axes=axes)
        for factor in term.factors:
            part = rewriter.emit("mul", part, _along_the_rest(rewriter, environment.get(factor, factor), axes, result))
        if total is None:
            total, negative = part, term.negative
        else:
            total = rewriter.emit("sub" if term.negative is not negative else "add", total, part)
    assert total is not None
    return rewriter.emit("neg", total) if negative else total


def _along_the_rest(rewriter: Rewriter, factor: Atom, axes: Axes, result: Var) -> Atom:
    """A factor without the axes along which it is constant."""
    if not factor.type.shape:
        return factor
    kept = [a for a in range(factor.type.rank) if a not in axes]
    equation = rewriter.defined[factor]
    source, laid = equation.inputs[0], equation.params[0][1]
    left = [(a, n) for a, n in zip(laid, source.type.shape, strict=True) if a in kept]
    source = rewriter.emit("reshape", source, shape=tuple(n for _, n in left)) if len(left) < len(laid) else source
    if source.type.shape == result.type.shape:
        return source
    places = tuple(kept.index(a) for a, _ in left)
    return rewriter.emit("broadcast", source, shape=result.type.shape, axes=places)
