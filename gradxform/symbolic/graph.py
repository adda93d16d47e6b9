"""The expression graph: variables, and the applications of operations that give them. Data only; nothing is evaluated.

An `Apply` has ``inputs``, whose values its operation takes, and ``bodies``: expressions that the operation evaluates by
itself, with some of their variables bound to other values (the cost of a gradient, the step of a loop). What an
expression depends on is reached through both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradxform.core.source import user_source
from gradxform.data_class import data_class
from gradxform.dtypes import canonical
from gradxform.errors import ArgumentTypeError

if TYPE_CHECKING:
    from gradxform.symbolic.scopes import Scope

__all__ = ["Apply", "Node", "Operation", "TensorType", "ancestors", "checked_array", "dependent", "private", "tensor_type",
           "topological"]

_RANK_NAMES = {0: "scalar", 1: "vector", 2: "matrix"}


@data_class(frozen=True, slots=True)
class TensorType:
    """dtype and extents, None where an extent is known only when a function is called."""

    dtype: str
    shape: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        # As Theano describes them: whether an extent is 1.
        if any(isinstance(extent, bool) for extent in self.shape):
            object.__setattr__(self, "shape", tuple([1 if extent else None for extent in self.shape]))

    def __call__(self, name: str | None = None) -> Any:
        """An input variable of this type."""
        from gradxform.symbolic.variables import Variable

        return Variable(self, name)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Which axes have extent 1 for certain."""
        return tuple([extent == 1 for extent in self.shape])

    def __str__(self) -> str:
        if self.shape and set(self.shape) <= {None, 1} and 1 in self.shape and self.ndim == 2:
            kind = "row" if self.shape[0] == 1 else "col"
        else:
            kind = _RANK_NAMES.get(self.ndim, f"{self.ndim}D")
        return f"TensorType({self.dtype}, {kind})"


def tensor_type(dtype: Any, shape: Iterable[int | None]) -> TensorType:
    """A type of a supported dtype."""
    return TensorType(canonical(dtype).name, tuple(shape))


class Node:
    """A value of the graph: an input, a constant, a shared variable, or output ``index`` of the application ``owner``.

    ``known`` is a value that holds while dtypes and ranks are found out, for integers that stem from shapes and constants;
    None for all else.
    """

    def __init__(self, type: TensorType, name: str | None = None, owner: Apply | None = None, index: int = 0,
                 known: Any = None) -> None:
        self.type = type
        self.name = name
        self.owner = owner
        self.index = index
        self.known = known


class Operation:
    """What an `Apply` does. ``name`` is for people."""

    name: str

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        """The values of the outputs, from those of the inputs."""
        raise NotImplementedError

    def differentiable(self, apply: Apply) -> Sequence[Node]:
        """Those of inputs and bodies through which derivatives flow."""
        return (*apply.inputs, *apply.bodies)

    def static_inputs(self, apply: Apply) -> Sequence[Node]:
        """Inputs whose values must be known when a function is compiled: what decides about shapes."""
        return ()

    def bound(self, apply: Apply) -> Sequence[Node]:
        """Variables of the bodies that are this operation's own: no inputs of the function around it."""
        return ()


class Apply:
    """An operation applied to variables."""

    def __init__(self, operation: Operation, inputs: Sequence[Node], bodies: Sequence[Node] = ()) -> None:
        self.op = operation
        self.inputs = list(inputs)
        self.bodies = list(bodies)
        self.outputs: list[Any] = []
        self.source = user_source()

    @property
    def parents(self) -> list[Node]:
        return self.inputs + self.bodies


def _parents(node: Node) -> Sequence[Node]:
    return () if node.owner is None else node.owner.parents


def topological(roots: Iterable[Node], parents: Callable[[Node], Iterable[Node]] = _parents) -> list[Node]:
    """``roots`` and all that they are made of, each after its parents."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, Iterator[Node]]] = []
    for root in roots:
        if root not in seen:
            seen.add(root)
            stack.append((root, iter(parents(root))))
        while stack:
            node, rest = stack[-1]
            for parent in rest:
                if parent not in seen:
                    seen.add(parent)
                    stack.append((parent, iter(parents(parent))))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def ancestors(roots: Iterable[Node], blocked: Iterable[Node] = ()) -> set[Node]:
    """All through which derivatives of ``roots`` flow, ``blocked`` ones included and not passed."""
    closed = frozenset(blocked)

    def parents(node: Node) -> Iterable[Node]:
        return () if node.owner is None or node in closed else node.owner.op.differentiable(node.owner)

    return set(topological(roots, parents))


def dependent(roots: Iterable[Node], sources: Iterable[Node], constant: Iterable[Node] = ()) -> set[Node]:
    """All in ``roots`` that depends on ``sources``, these included; ``constant`` variables depend on nothing."""
    found = set(sources)
    fixed = frozenset(constant) - found
    for node in topological(roots):
        if node not in fixed and any(parent in found for parent in _parents(node)):
            found.add(node)
    return found


def private(roots: Iterable[Node]) -> set[Node]:
    """All in ``roots`` that depends on a bound variable of an operation in it: it has a value only inside that operation."""
    order = topological(roots)
    bound = {inner for node in order if node.owner is not None for inner in node.owner.op.bound(node.owner)}
    if not bound:
        return set()
    free: dict[Node, frozenset[Node]] = {}
    for node in order:
        found = frozenset([node]) & bound
        for parent in _parents(node):
            found |= free[parent]
        free[node] = found if node.owner is None else found - frozenset(node.owner.op.bound(node.owner))
    return {node for node, variables in free.items() if variables}


def checked_array(value: Any, what: str) -> Any:
    """``value`` as an array of a supported dtype."""
    try:
        array = np.asarray(value)
        return array.astype(canonical(array.dtype), copy=False)
    except (ValueError, TypeError) as error:
        raise ArgumentTypeError(f"{what} must be an array or a number, got {value!r}: {error}") from None
