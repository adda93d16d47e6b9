"""The operations that derivatives are: each applies a transform to a part of the expression, as a function of ``wrt``.

The part is evaluated anew from the values of ``wrt``, which may stand in the middle of an expression, while a program of it
is traced; `gradxform.vjp`, `jvp` or `jacrev` transforms that. What is evaluated twice so is merged by the passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform import api
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.symbolic.calls import in_dtype
from gradxform.symbolic.graph import Apply, Node, Operation, dependent, topological
from gradxform.symbolic.scopes import Scope

__all__ = ["Derivative", "Jacobian", "Pullback", "Pushforward", "check_cuts"]


class Derivative(Operation):
    """The bodies of such an `Apply` are differentiated with respect to ``wrt``, while ``constant`` keep their values.

    ``wrt`` are the first inputs; then come cotangents or tangents.
    """

    def __init__(self, wrt: Sequence[Node], constant: Sequence[Node] = ()) -> None:
        self.wrt = tuple(wrt)
        self.constant = tuple(constant)

    def between(self, apply: Apply) -> set[Node]:
        """What lies between ``wrt`` and the bodies: it is evaluated anew."""
        return dependent(apply.bodies, self.wrt, self.constant) - set(self.wrt)

    def opened(self, scope: Scope, roots: Sequence[Node], wrt: Sequence[Node], constant: Sequence[Node]) -> Callable[..., Any]:
        """``roots`` as a function of ``wrt``."""
        inner = scope.opened(wrt, roots, constant)

        def function(*points: Any) -> tuple[Any, ...]:
            return tuple([_strong(value) for value in inner.bind(points).evaluate(roots)])

        return function


def _strong(value: Any) -> Any:
    return np.asarray(value)[()] if isinstance(value, (bool, int, float, complex)) else value


class Pullback(Derivative):
    """Cotangents of the bodies pulled back to ``wrt``: gradients, and the L-operator.

    With ``seeded`` there is no cotangent for the first body, the cost: it is 1. ``cut`` are bodies whose cotangents are
    known and complete: nothing of those of other bodies flows through them.
    """

    name = "grad"

    def __init__(self, wrt: Sequence[Node], constant: Sequence[Node], seeded: bool, cut: Sequence[Node] = ()) -> None:
        super().__init__(wrt, constant)
        self.seeded = seeded
        self.cut = tuple(cut)
        if not seeded:
            self.name = "pullback"

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        points = [_strong(value) for value in values[: len(self.wrt)]]
        cotangents = values[len(self.wrt):]
        if self.seeded:
            cotangents = [np.dtype(apply.bodies[0].type.dtype).type(1), *cotangents]
        totals: list[Any] = [None] * len(points)
        for group in _independent(self.wrt):
            for bodies in self._together(apply.bodies):
                roots = [apply.bodies[position] for position in bodies]
                cut = [node for node in self.cut if node not in roots]
                places = [position for position in group if self.wrt[position] not in cut]
                if not places:
                    continue
                function = self.opened(scope, roots, [self.wrt[position] for position in places], [*self.constant, *cut])
                _, pull = api.vjp(function, *[points[position] for position in places])
                found = pull(tuple([in_dtype(cotangents[k], root.type.dtype) for k, root in zip(bodies, roots, strict=True)]))
                for position, part in zip(places, found, strict=True):
                    totals[position] = part if totals[position] is None else totals[position] + part
        return totals

    def _together(self, bodies: Sequence[Node]) -> list[list[int]]:
        """Bodies that are pulled back at once: all, unless some cut the others."""
        return [[position] for position in range(len(bodies))] if self.cut else [list(range(len(bodies)))]


def _independent(wrt: Sequence[Node]) -> list[list[int]]:
    """Positions in ``wrt`` of which none depends on another: a gradient flows through what another is taken of."""
    if not any(node.owner is not None for node in wrt):
        return [list(range(len(wrt)))]
    for position, node in enumerate(wrt):
        if (dependent(wrt, [node]) - {node}) & set(wrt):
            return [[position] for position in range(len(wrt))]
    return [list(range(len(wrt)))]


class Pushforward(Derivative):
    """Tangents of ``wrt`` pushed forward to the bodies: the R-operator."""

    name = "pushforward"

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        count = len(self.wrt)
        points = [_strong(value) for value in values[:count]]
        tangents = [in_dtype(value, node.type.dtype) for node, value in zip(self.wrt, values[count:], strict=True)]
        function = self.opened(scope, apply.bodies, self.wrt, self.constant)
        results: Sequence[Any] = api.jvp(function, points, tangents)[1]
        return results


class Jacobian(Derivative):
    """The Jacobian of the one body with respect to each of ``wrt``."""

    name = "jacobian"

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        results: list[Any] = [None] * len(self.wrt)
        for group in _independent(self.wrt):
            function = self.opened(scope, apply.bodies, [self.wrt[position] for position in group], self.constant)
            points = [_strong(values[position]) for position in group]
            found = api.jacrev(lambda *points: function(*points)[0], argnums=tuple(range(len(points))))(*points)  # noqa: B023
            for position, part in zip(group, found, strict=True):
                results[position] = part
        return results


def check_cuts(purpose: str, cuts: Sequence[Node], roots: Sequence[Node]) -> None:
    """Refuses to bind a variable that a derivative in ``roots`` is taken through.

    ``grad(cost, x)`` evaluates what lies between x and the cost anew. A variable there cannot be bound to another value and
    be a function of x at once.
    """
    inner = [node for node in cuts if node.owner is not None]
    if not inner:
        return
    seen = set()
    for node in topological(roots):
        apply = node.owner
        if apply is None or apply in seen or not isinstance(apply.op, Derivative):
            continue
        seen.add(apply)
        between = apply.op.between(apply)
        for cut in inner:
            if cut in between:
                raise ArgumentError(
                    f"{purpose}: {cut} lies between {', '.join(map(str, apply.op.wrt))} and the expression whose "
                    f"{apply.op.name} with respect to that is part of this one, so it cannot also be a variable of its own "
                    f"here: take the derivative with respect to an input{user_line()}")
