"""Where a program uses its values only under conditions, so that derivatives of branches not taken stay out.

    { c = greater a 0.0 ; b = sqrt a ; d = select c b 0.0 in (d) }        b, and a through it, count only where c holds

At a = 0 the cotangent of b is 0 and the derivative of sqrt infinite: their product is NaN, and so would be the gradient.
Therefore a tangent that *enters* what is used under a condition only is masked, t -> select(c, t, 0.0). Transposed, the
same mask stands where the cotangent *leaves* that part, and stops what became of the zeros in there. Nothing else
changes: in the lanes that are masked the derivative is zero anyway.

The *use condition* of a value is a disjunction of conjunctions of guards; a guard is a boolean variable laid along axes
of the value, to hold or not to hold. It is found backwards: select(c, x, y) uses x under c and y under not c, both
under the condition of its own result; another equation uses an operand under the condition of its result as far as the
guards belong to axes that operand and result share (rank-0 guards always do). What cannot be said is left out, which
makes a condition weaker, and masks only what remains. Conditions of more than a few terms count as always.

Masks are put only in front of operations that can make an infinity or NaN out of a zero, so not in front of sums and
views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import dtype_of, type_of
from gradxform.data_class import data_class
from gradxform.dtypes import is_differentiable
from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.ir.callback import has_effect
from gradxform.ir.families import ELEMENTWISE
from gradxform.ir.inlining import inline_calls
from gradxform.linear import broadcast, reduce_sum, select, transpose
from gradxform.transforms.axes import Axes, operand_axes, reshaped_axes

# ------------------------------------------------------------------------------------------------------ conditions


@data_class(frozen=True, slots=True)
class Guard:
    """``predicate`` holds (or does not). Its axis i is laid along axis ``axes[i]`` of the value; None if of extent 1."""

    predicate: Var
    axes: tuple[int | None, ...]
    holds: bool

    def opposite(self) -> Guard:
        return Guard(self.predicate, self.axes, not self.holds)


Term = frozenset[Guard]
#: One of the terms holds, each the conjunction of its guards. In order, without terms that another one covers.
Condition = tuple[Term, ...]

ALWAYS: Condition = (frozenset(),)
NEVER: Condition = ()

#: Conditions of more terms, or terms of more guards, are given up for ALWAYS.
MOST_TERMS, MOST_GUARDS = 8, 8


def either(left: Condition, right: Condition) -> Condition:
    """left or right, without terms that say nothing: c and d beside c; c and d beside (not c) and d become d."""
    if left == ALWAYS or right == NEVER:
        return left
    terms = list(left)
    waiting = list(right)
    while waiting:
        term = waiting.pop(0)
        if any(other <= term for other in terms):
            continue
        terms = [other for other in terms if not term <= other]
        for other in terms:
            merged = _complementary(term, other)
            if merged is not None:
                terms.remove(other)
                waiting.append(merged)
                break
        else:
            terms.append(term)
    return tuple(terms) if len(terms) <= MOST_TERMS else ALWAYS


def _complementary(left: Term, right: Term) -> Term | None:
    """The common part of two terms that differ in one guard, which holds in one and does not in the other."""
    if len(left) == len(right):
        (*own,) = left - right
        if len(own) == 1 and own[0].opposite() in right:
            return left & right
    return None


def both(condition: Condition, guard: Guard) -> Condition:
    """``condition`` and ``guard``."""
    opposite = guard.opposite()
    found: Condition = NEVER
    for term in condition:
        if opposite not in term:
            found = either(found, (term | {guard},))
    return found if all(len(term) <= MOST_GUARDS for term in found) else ALWAYS


def implies(stronger: Condition, weaker: Condition) -> bool:
    """Whether each term of ``stronger`` has all guards of a term of ``weaker``."""
    return all(any(other <= term for other in weaker) for term in stronger)


def _mapped(condition: Condition, change: Callable[[Guard], Guard | None]) -> Condition:
    """``condition`` with its guards changed; those without an image are left out."""
    found: Condition = NEVER
    for term in condition:
        # In a fixed order: nothing may depend on that of a set.
        images = [change(guard) for guard in term]
        found = either(found, (frozenset(g for g in images if g is not None),))
    return found


# ----------------------------------------------------------------------------------------------- through equations


def _through(condition: Condition, axes: Axes) -> tuple[Condition, bool]:
    """A result's condition as that of an operand, and whether it lost no guard on the way."""
    whole = True

    def change(guard: Guard) -> Guard | None:
        nonlocal whole
        moved = tuple([None if a is None else axes[a] for a in guard.axes])
        if any(a is not None and b is None for a, b in zip(guard.axes, moved, strict=True)):
            whole = False
            return None
        return Guard(guard.predicate, moved, guard.holds)

    return _mapped(condition, change), whole


# --------------------------------------------------------------------------------------------- what can be singular

_REGULAR = frozenset((
    "add", "sub", "neg", "select", "convert", "maximum", "minimum", "clamp", "broadcast", "reshape", "transpose", "slice",
    "pad", "concatenate", "reverse", "reduce_sum", "cumsum", "gather", "scatter",
))


def _singular(equation: Equation) -> bool:
    """Whether the equation's derivative can be infinite or NaN while its result does not count."""
    name = equation.operation.name
    if name == "mul":
        return not any(map(_is_tame, equation.inputs))
    if name == "div":
        return not _is_tame(equation.inputs[1]) or equation.inputs[1].value == 0  # type: ignore[union-attr]
    if name == "scatter":
        return dict(equation.params)["operation"] not in ("set", "add")
    return name not in _REGULAR


def _is_tame(atom: Atom) -> bool:
    return isinstance(atom, Literal) and bool(np.isfinite(atom.value))


# ------------------------------------------------------------------------------------------------------ the analysis


#: A condition, and the shape in which it is applied.
Mask = tuple[Condition, tuple[int, ...]]


@data_class(frozen=True, slots=True, eq=False)
class Masked:
    """A program, its calls inlined and its predicates as early as they may be, and the masks of its tangents.

    ``masks`` holds what masks the tangent of each operand where it enters an equation, None for no mask. ``varying``
    are the variables that have a tangent.
    """

    program: Program
    varying: dict[Atom, None]
    masks: dict[Equation, tuple[Mask | None, ...]]


def find_masks(program: Program, nonzero: Sequence[bool]) -> Masked | None:
    """The masks that the tangents of ``program`` need, given which inputs have one; None if there are none."""
    if not _chooses(program):
        return None
    program = inline_calls(program)
    varying = _varying(program, nonzero)
    defined: dict[Atom, Equation] = {v: e for e in program.equations for v in e.outputs}
    program = _predicates_first(program, varying, defined)
    place = {v: i for i, e in enumerate(program.equations) for v in e.outputs}
    uses = _uses(program, varying, defined, place)
    masks = _masks(program, varying, uses)
    return Masked(program, varying, masks) if masks else None


def _chooses(program: Program) -> bool:
    """Whether there is a select, in the program or in one that it calls."""
    for equation in program.equations:
        name = equation.operation.name
        if name == "select" or (name == "call" and _chooses(dict(equation.params)["program"])):
            return True
    return False


def _varying(program: Program, nonzero: Sequence[bool]) -> dict[Atom, None]:
    """The variables that have a tangent."""
    varying: dict[Atom, None] = {v: None for v, flag in zip(program.inputs, nonzero, strict=True) if flag}
    for equation in program.equations:
        if equation.operation.name != "stop_gradient" and any(x in varying for x in equation.inputs):
            varying.update((v, None) for v in equation.outputs if is_differentiable(v.type.dtype))
    return varying


def _guard(equation: Equation, defined: dict[Atom, Equation]) -> Guard | bool:
    """The guard under which a select takes its first branch, or whether it always or never does.

    Seen through broadcasts and negations, so that it belongs to as few axes as possible.
    """
    predicate, rank, holds = equation.inputs[0], equation.outputs[0].type.rank, True
    axes: Axes = tuple(range(rank)) if predicate.type.shape else ()
    while True:
        if isinstance(predicate, Literal):
            return bool(predicate.value) == holds
        axes = tuple([None if n == 1 else a for a, n in zip(axes, predicate.type.shape, strict=True)])
        found = defined.get(predicate)
        name = "" if found is None else found.operation.name
        if found is None or name not in ("broadcast", "logical_not", "reshape"):
            return Guard(predicate, axes, holds)
        source = found.inputs[0]
        if name == "logical_not":
            holds = not holds
        elif name == "broadcast":
            axes = tuple([axes[a] for a in dict(found.params)["axes"]])
        else:
            kept = reshaped_axes(source.type.shape, predicate.type.shape)
            if any(n != 1 and kept[b] is None for b, n in enumerate(predicate.type.shape)):
                return Guard(predicate, axes, holds)
            place = {a: axes[b] for b, a in enumerate(kept) if a is not None}
            axes = tuple([place.get(a) for a in range(source.type.rank)])
        predicate = source


def _predicates_first(program: Program, varying: dict[Atom, None], defined: dict[Atom, Equation]) -> Program:
    """``program`` with predicates as early as possible, if that matters.

    The tangents of an equation with one result can wait until the predicates of their masks are known. Those of loops
    and their like are computed together with the values and cannot.
    """
    if not any(e.operation.multiple and any(v in varying for v in e.outputs) for e in program.equations):
        return program
    if any(map(has_effect, program.equations)):  # these keep their order
        return program
    order: dict[Equation, None] = {}
    for equation in program.equations:
        if equation.operation.name == "select" and equation.outputs[0] in varying:
            guard = _guard(equation, defined)
            if isinstance(guard, Guard):
                _after_its_operands(guard.predicate, defined, order)
    order.update(dict.fromkeys(program.equations))
    return Program(program.inputs, tuple(order), program.outputs, program.name)


def _after_its_operands(var: Var, defined: dict[Atom, Equation], order: dict[Equation, None]) -> None:
    """Put the equations that lead to ``var`` at the end of ``order``, as far as they are not in it."""
    stack: list[Atom] = [var]
    while stack:
        equation = defined.get(stack[-1])
        if equation is None or equation in order:
            stack.pop()
            continue
        missing = [x for x in equation.inputs if x in defined and defined[x] not in order]
        if missing:
            stack.extend(missing)
        else:
            order[equation] = None
            stack.pop()


@data_class(slots=True, eq=False)
class _Uses:
    """What the backward sweep finds."""

    #: The condition under which a variable is used.
    of: dict[Atom, Condition]
    #: That of an equation's results, without guards that are not known in time, and whether there were such.
    result: dict[Equation, tuple[Condition, bool]]
    #: Whether zeros that enter the equation could come to harm there or behind.
    dangerous: dict[Equation, bool]


def _uses(
    program: Program, varying: dict[Atom, None], defined: dict[Atom, Equation], place: dict[Var, int]
) -> _Uses:
    uses = _Uses({x: ALWAYS for x in program.outputs if x in varying}, {}, {})
    harmful: dict[Atom, bool] = {}
    # The first equation that needs the tangent of a variable together with its own values.
    needed_at: dict[Atom, int] = {}
    for number in range(len(program.equations) - 1, -1, -1):
        equation = program.equations[number]
        outputs = [v for v in equation.outputs if v in varying]
        if not outputs:
            continue
        condition: Condition = NEVER
        for v in outputs:
            condition = either(condition, uses.of.get(v, NEVER))
        if equation.operation.multiple:
            limit = number
            condition, whole = _through(condition, (None,) * max(v.type.rank for v in outputs))
        else:
            limit = needed_at.get(outputs[0], len(program.equations))
            whole = True
        if limit < len(program.equations):
            early = _mapped(condition, lambda guard, limit=limit: (  # type: ignore[misc]
                guard if place.get(guard.predicate, -1) < limit else None))
            whole = whole and early == condition
            condition = early
        uses.result[equation] = condition, whole
        dangerous = condition != ALWAYS and (_singular(equation) or any(harmful.get(v, False) for v in outputs))
        uses.dangerous[equation] = dangerous
        guard = _guard(equation, defined) if equation.operation.name == "select" else None
        for position, x in enumerate(equation.inputs):
            if x not in varying:
                continue
            used = condition
            if isinstance(guard, Guard):
                used = both(used, guard if position == 1 else guard.opposite())
            elif guard is not None and guard != (position == 1):
                used = NEVER
            if used != ALWAYS:
                used = _through(used, operand_axes(equation, position))[0]
            uses.of[x] = either(uses.of.get(x, NEVER), used)
            harmful[x] = harmful.get(x, False) or dangerous
            needed_at[x] = min(limit, needed_at.get(x, limit))
    return uses


def _masks(program: Program, varying: dict[Atom, None], uses: _Uses) -> dict[Equation, tuple[Mask | None, ...]]:
    masks: dict[Equation, tuple[Mask | None, ...]] = {}
    # The condition outside of which a tangent is zero already.
    applied: dict[Atom, Condition] = {}
    for equation in program.equations:
        found = uses.result.get(equation)
        if found is None:
            continue
        condition, whole = found
        elementwise = equation.operation.name in ELEMENTWISE
        entering: list[Mask | None] = []
        for position, x in enumerate(equation.inputs):
            mask, shape = condition, equation.outputs[0].type.shape
            if x not in varying:
                entering.append(None)
                continue
            if not elementwise and condition != ALWAYS:
                mask, complete = _through(condition, operand_axes(equation, position))
                whole, shape = whole and complete, x.type.shape
            needless = not uses.dangerous[equation] or mask == ALWAYS or implies(applied.get(x, ALWAYS), mask)
            entering.append(None if needless else (mask, shape))
        if any(mask is not None for mask in entering):
            masks[equation] = tuple(entering)
        if whole and condition != ALWAYS:
            applied.update((v, condition) for v in equation.outputs if v in varying)
    return masks


# --------------------------------------------------------------------------------------------------------- the masks


class Masks:
    """Applies masks, each to each tangent once."""

    def __init__(self, program: Program, values: dict[Var, Any]) -> None:
        self._values = values
        self._order: dict[Var, int] = {v: i for i, v in enumerate(program.inputs)}
        for equation in program.equations:
            for v in equation.outputs:
                self._order[v] = len(self._order)
        self._known: dict[tuple[Any, ...], Any] = {}

    def apply(self, var: Atom, tangent: Any, mask: Mask) -> Any:
        """``tangent``, that of ``var``, where the condition holds, else 0; None if it never does."""
        condition, shape = mask
        if condition == NEVER:
            return None
        key = (var, frozenset(condition), shape)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._chosen(condition, shape, tangent, dtype_of(tangent).type(0))
        return found

    def _chosen(self, condition: Condition, shape: tuple[int, ...], x: Any, y: Any) -> Any:
        if len(condition) == 1 and len(condition[0]) == 1:
            (guard,) = condition[0]
            predicate = self._laid(guard, shape)
            return select(predicate, x, y) if guard.holds else select(predicate, y, x)
        return select(self._value(condition, shape), x, y)

    def _value(self, condition: Condition, shape: tuple[int, ...]) -> Any:
        """The condition as a boolean array, "and" and "or" written with select."""
        key = (frozenset(condition), shape)
        found = self._known.get(key)
        if found is None:
            for term in condition:
                conjunction: Any = None
                for guard in sorted(term, key=self._rank):
                    predicate = self._laid(guard, shape)
                    rest = np.True_ if conjunction is None else conjunction
                    if guard.holds and conjunction is None:
                        conjunction = predicate
                    else:
                        conjunction = (select(predicate, rest, np.False_) if guard.holds
                                       else select(predicate, np.False_, rest))
                found = conjunction if found is None else select(conjunction, np.True_, found)
            self._known[key] = found
        return found

    def _rank(self, guard: Guard) -> tuple[int, str, bool]:
        return self._order[guard.predicate], str(guard.axes), guard.holds

    def _laid(self, guard: Guard, shape: tuple[int, ...]) -> Any:
        """The predicate laid along its axes of ``shape``; of rank 0 if it has none."""
        key = (guard.predicate, guard.axes, shape)
        found = self._known.get(key)
        if found is None:
            found = self._values[guard.predicate]
            # Sums over axes of extent 1 only drop them.
            found = reduce_sum(found, tuple(i for i, a in enumerate(guard.axes) if a is None))
            axes = [a for a in guard.axes if a is not None]
            order = sorted(range(len(axes)), key=axes.__getitem__)
            if axes:
                found = broadcast(transpose(found, order), shape, tuple(sorted(axes)))
            assert type_of(found).shape in ((), shape)
            self._known[key] = found
        return found
