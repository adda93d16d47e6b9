"""Evaluating expressions: the values of variables, with some of them bound, while a program is being traced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradxform.core.source import user_line
from gradxform.symbolic.failures import MissingInputError
from gradxform.symbolic.graph import Apply, Node, dependent, private

__all__ = ["Opened", "Scope"]

_MISSING = object()


class Scope:
    """Values of variables, found on demand and kept.

    A scope inside another has variables bound anew. What depends on them is evaluated anew; all else is what it is outside.
    ``counts`` are the numbers of steps of loops that end on a condition.
    """

    def __init__(self, values: Mapping[Node, Any], counts: Mapping[Apply, int], parent: Scope | None = None,
                 affected: frozenset[Node] = frozenset()) -> None:
        self._values = dict(values)
        self.counts = counts
        self._parent = parent
        self._affected = affected

    def _find(self, node: Node) -> Any:
        scope: Scope | None = self
        while scope is not None:
            found = scope._values.get(node, _MISSING)
            if found is not _MISSING or node in scope._affected:
                return found
            scope = scope._parent
        return _MISSING

    def evaluate(self, roots: Iterable[Node]) -> list[Any]:
        """The values of ``roots``. Deep expressions need no deep stack."""
        targets = list(roots)
        stack = list(reversed(targets))
        while stack:
            node = stack[-1]
            if self._find(node) is not _MISSING:
                stack.pop()
                continue
            apply = node.owner
            if apply is None:
                self._values[node] = _leaf(node)
                continue
            pending = [parent for parent in apply.inputs if self._find(parent) is _MISSING]
            if pending:
                stack.extend(reversed(pending))
                continue
            results = _results(self, apply, [self._find(parent) for parent in apply.inputs])
            for output, value in zip(apply.outputs, results, strict=True):
                if self._find(output) is _MISSING:
                    self._values[output] = value
        return [self._find(node) for node in targets]

    def branch(self) -> Scope:
        """A scope in which everything that is not known yet is evaluated anew, for code that may not run."""
        return Scope({}, self.counts, self)

    def opened(self, bound: Sequence[Node], roots: Sequence[Node], constant: Iterable[Node] = ()) -> Opened:
        """Prepares ``roots`` for evaluation with ``bound`` variables, while ``constant`` ones keep their values.

        What does not depend on bound variables is evaluated now: inside, another program may be open, whose values must
        not be seen outside.
        """
        affected = dependent(roots, bound, constant)
        inner = private(roots)
        outer: dict[Node, None] = {}
        pending, seen = list(roots), set(roots)
        while pending:
            node = pending.pop()
            if node not in affected and node not in inner:
                outer[node] = None
                continue
            if node in bound or node.owner is None:
                continue
            new = [parent for parent in node.owner.parents if parent not in seen]
            seen.update(new)
            pending.extend(new)
        self.evaluate(outer)
        return Opened(self, tuple(bound), frozenset(affected | inner))


class Opened:
    """A scope to be: `bind` gives the values of its variables."""

    def __init__(self, scope: Scope, bound: tuple[Node, ...], affected: frozenset[Node]) -> None:
        self._scope = scope
        self._bound = bound
        self._affected = affected

    def bind(self, values: Sequence[Any]) -> Scope:
        given = dict(zip(self._bound, values, strict=True))
        return Scope(given, self._scope.counts, self._scope, self._affected)


def _results(scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
    try:
        return apply.op.evaluate(scope, apply, values)
    except Exception as error:
        # The user's line in the message is that of the call: the operation was written somewhere else.
        if not hasattr(error, "__notes__"):
            error.add_note(f"  in {apply.op.name}, written at {apply.source}")
        raise


def _leaf(node: Node) -> Any:
    value = getattr(node, "data", _MISSING)
    if value is _MISSING:
        raise MissingInputError(
            f"the expression needs {node}, which is no input of the function: add it to the inputs, or give it a value "
            f"with givens{user_line()}")
    return value
