"""Sums over the iterations of a loop that are cheaper done at once, after it.

The transpose of a loop adds up what each iteration contributes to the cotangent of a constant. A contribution that is a
product of two values of the iteration, as that to the weights of a layer,

    total_W += x_t^T d_t

is done better as one product of the stacks of both, over time and the contracted axes:

    total_W = sum_t x_t^T d_t = dot_general(X, D)

The loop then gives the factor that is a cotangent; the other one is an element of a stack that there is already, or
computed from such stacks. A sum of something whose stack there is,

    total_b += reduce_sum(d_t)

is taken from that stack too. This pays where the product is much more work than storing the factors, but not so much
that the additions to its result do not matter. The stacks are as long as the loop, so its length must be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gradxform.core import Tracer, shape_of
from gradxform.data_class import data_class
from gradxform.ir import Atom, Equation, Var
from gradxform.linear import add, reduce_sum, transpose
from gradxform.primitives.contraction import dot_general

#: Products of at least so many multiplications for each element to store are done after the loop.
WORK_PER_ELEMENT = 16
#: Sums of that many products in each iteration are long enough.
LONG = 256

Permutation = tuple[int, ...]


@data_class(frozen=True, slots=True, eq=False)
class Term:
    """The result of ``equation``, a product or a sum, with its axes permuted."""

    equation: Equation
    permutation: Permutation

    @property
    def factors(self) -> tuple[Var, ...]:
        """What there must be stacks of."""
        return tuple([x for x in self.equation.inputs if isinstance(x, Var)])

    def total(self, stacks: Mapping[Var, Any]) -> Any:
        """The sum of the term over all iterations."""
        params = dict(self.equation.params)
        operands = [stacks[v] for v in self.factors]
        if self.equation.operation.name == "reduce_sum":
            return transpose(reduce_sum(operands[0], (0, *_behind(params["axes"]))), self.permutation)
        left, right = params["contracting"]
        batch_left, batch_right = params["batch"]
        product = dot_general(operands[0], operands[1], ((0, *_behind(left)), (0, *_behind(right))),
                              (_behind(batch_left), _behind(batch_right)))
        return transpose(product, self.permutation)


def _behind(axes: Sequence[int]) -> tuple[int, ...]:
    """The axes of elements in their stack."""
    return tuple([a + 1 for a in axes])


@data_class(frozen=True, slots=True, eq=False)
class Contribution:
    """What one iteration gives to a sum: ``now``, added to it at once (None: nothing), and terms for after the loop."""

    now: Any
    later: tuple[Term, ...]


class Later:
    """Finds contributions that may wait, among ``equations`` of an iteration.

    ``constants`` are variables that are the same in each iteration, ``known`` and ``linear`` those of which there are
    stacks.
    """

    def __init__(
        self, equations: Sequence[Equation], constants: Sequence[Var], known: Sequence[Var], linear: Sequence[Var]
    ) -> None:
        self.defining = {var: equation for equation in equations for var in equation.outputs}
        self.stacked: dict[Atom, None] = dict.fromkeys([*known, *linear])
        #: Values of which there must be stacks, besides.
        self.wanted: dict[Var, None] = {}
        #: What depends on constants only, what depends on known values only, and of this what needs a loop or a branch.
        self.invariant: dict[Atom, None] = dict.fromkeys(constants)
        self.known: dict[Atom, None] = dict.fromkeys([*constants, *known])
        self.hard: dict[Atom, None] = {}
        for equation in equations:
            for found in (self.invariant, self.known):
                if all(not isinstance(x, Var) or x in found for x in equation.inputs):
                    found.update(dict.fromkeys(equation.outputs))
            if equation.operation.multiple or any(x in self.hard for x in equation.inputs):
                self.hard.update(dict.fromkeys(equation.outputs))

    def split(self, contributions: Sequence[Any], may_wait: bool) -> list[Contribution | None]:
        """The contributions (None for none), each in two parts; if none ``may_wait`` the second ones are empty."""
        if not may_wait:
            return [None if x is None else Contribution(x, ()) for x in contributions]
        found = [None if x is None else self._terms(x.atom, tuple(range(len(shape_of(x))))) for x in contributions]
        every = [term for terms in found if terms is not None for term in terms]
        waiting: dict[_Summand, None] = {term: None for term in every if isinstance(term, Term) and self._is_product(term)}
        waiting.update({term: None for term in every if isinstance(term, Term) and self._is_sum(term)})
        return [None if terms is None else self._contribution(x, terms, waiting)
                for x, terms in zip(contributions, found, strict=True)]

    def _contribution(self, whole: Tracer, terms: Sequence[_Summand], waiting: Mapping[_Summand, None]) -> Contribution:
        later = tuple([term for term in terms if isinstance(term, Term) and term in waiting])
        if not later:
            return Contribution(whole, ())
        now: Any = None
        for term in terms:
            if term not in waiting:
                atom, permutation = (term.equation.outputs[0], term.permutation) if isinstance(term, Term) else term
                part = transpose(type(whole)(whole.builder, atom), permutation)
                now = part if now is None else add(now, part)
        return Contribution(now, later)

    def _terms(self, atom: Atom, permutation: Permutation) -> list[_Summand]:
        """The summands of ``atom`` under a permutation of its axes."""
        found: list[_Summand] = []
        pending = [(atom, permutation)]
        while pending:
            atom, permutation = pending.pop()
            equation = self.defining.get(atom) if isinstance(atom, Var) else None
            name = "" if equation is None else equation.operation.name
            if equation is None:
                found.append((atom, permutation))
            elif name == "add" and all(x.type.rank == atom.type.rank for x in equation.inputs):
                pending += [(x, permutation) for x in equation.inputs]
            elif name == "transpose":
                inner = dict(equation.params)["permutation"]
                pending.append((equation.inputs[0], tuple([inner[a] for a in permutation])))
            elif name in ("dot_general", "reduce_sum"):
                found.append(Term(equation, permutation))
            else:
                found.append((atom, permutation))
        return found

    def _is_product(self, term: Term) -> bool:
        if term.equation.operation.name != "dot_general" or len(term.factors) < 2:
            return False
        if any(v in self.invariant or (v in self.known and v in self.hard) for v in term.factors):
            return False
        params = dict(term.equation.params)
        left, result = term.equation.inputs[0].type, term.equation.outputs[0].type
        summed = prod([left.shape[a] for a in params["contracting"][0]])
        new = dict.fromkeys([v for v in term.factors if v not in self.stacked and v not in self.wanted])
        if summed >= LONG or result.size * summed < max(LONG, WORK_PER_ELEMENT * sum([v.type.size for v in new])):
            return False
        self.wanted.update(new)
        return True

    def _is_sum(self, term: Term) -> bool:
        return term.equation.operation.name == "reduce_sum" and all(v in self.stacked or v in self.wanted for v in term.factors)


_Summand = Term | tuple[Atom, Permutation]
