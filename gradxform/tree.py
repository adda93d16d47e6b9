"""Pytrees: nested tuples, lists, dicts, namedtuples, None, dataclasses and registered classes (through optree).

None is a node without leaves and dict keys are taken in sorted order, as in JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import optree

from gradxform.errors import TreeError

TreeDef = optree.PyTreeSpec
T = TypeVar("T")

_NAMESPACE = "gradxform"


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of ``tree`` in order, and its structure."""
    leaves, treedef = optree.tree_flatten(tree, namespace=_NAMESPACE)
    return leaves, treedef


def leaves(tree: Any) -> list[Any]:
    """The leaves of ``tree`` in order."""
    return optree.tree_leaves(tree, namespace=_NAMESPACE)


def structure(tree: Any) -> TreeDef:
    """The structure of ``tree``."""
    return optree.tree_structure(tree, namespace=_NAMESPACE)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of structure ``treedef`` with these leaves."""
    return optree.tree_unflatten(treedef, leaves)


def map_leaves(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply ``function`` leaf by leaf to trees of one structure."""
    return optree.tree_map(function, tree, *rest, namespace=_NAMESPACE)


#: JAX's name for `map_leaves`.
map = map_leaves


def leaf_paths(tree: Any) -> list[str]:
    """For each leaf, how one reaches it: ``"[0]['weights']"``."""
    return ["".join(f"[{entry!r}]" if not isinstance(entry, str) or entry else "" for entry in path)
            for path in optree.tree_paths(tree, namespace=_NAMESPACE)]


def broadcast_prefix(prefix: Any, tree: Any, what: str) -> list[Any]:
    """One value per leaf of ``tree``, from a tree ``prefix`` whose leaves (None included) may stand for subtrees.

    Raises TreeError, naming ``what``, if ``prefix`` is not a prefix of ``tree``.
    """
    result: list[Any] = []

    def walk(part: Any, subtree: Any) -> None:
        if part is None or optree.tree_is_leaf(part, namespace=_NAMESPACE):
            result.extend([part] * len(leaves(subtree)))
            return
        part_children, part_node = _one_level(part)
        tree_children, tree_node = _one_level(subtree)
        if part_node != tree_node and not (
            isinstance(part, (tuple, list)) and isinstance(subtree, (tuple, list))
            and len(part) == len(subtree)
        ):
            raise TreeError(f"{what} must be a tree prefix of the value it describes: got {prefix!r} for {structure(tree)}")
        for part_child, tree_child in zip(part_children, tree_children, strict=True):
            walk(part_child, tree_child)

    walk(prefix, tree)
    return result


def _one_level(tree: Any) -> tuple[Sequence[Any], Any]:
    if optree.tree_is_leaf(tree, namespace=_NAMESPACE) or tree is None:
        return (), None
    children, treedef = optree.tree_flatten(
        tree, is_leaf=lambda node: node is not tree, none_is_leaf=True, namespace=_NAMESPACE
    )
    return children, treedef


def register(
    cls: type[T],
    flatten_function: Callable[[T], tuple[Iterable[Any], Any]],
    unflatten_function: Callable[[Any, Iterable[Any]], T],
) -> type[T]:
    """Make ``cls`` a pytree node. ``flatten_function`` gives (children, auxiliary data), the other rebuilds.

    >>> class Pair:
    ...     def __init__(self, first, second): self.first, self.second = first, second
    >>> _ = register(Pair, lambda p: ((p.first, p.second), None), lambda _, children: Pair(*children))
    >>> leaves({"a": Pair(1.0, 2.0)})
    [1.0, 2.0]
    """
    def flatten_three(node: T) -> tuple[tuple[Any, ...], Any]:
        children, auxiliary = flatten_function(node)
        return tuple(children), auxiliary

    optree.register_pytree_node(cls, flatten_three, unflatten_function, namespace=_NAMESPACE)  # type: ignore[arg-type]
    return cls


def register_dataclass(
    cls: type[T], data_fields: Sequence[str] | None = None, meta_fields: Sequence[str] = ()
) -> type[T]:
    """Make a dataclass a pytree node: ``data_fields`` (default: all others) are children, ``meta_fields`` static.

    Usable as a decorator. Raises TreeError if ``cls`` is no dataclass.

    >>> from dataclasses import dataclass
    >>> @register_dataclass
    ... @dataclass
    ... class Point:
    ...     x: float
    ...     y: float
    >>> leaves(Point(1.0, 2.0))
    [1.0, 2.0]
    """
    import dataclasses

    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TreeError(f"register_dataclass expects a dataclass, got {cls!r}: decorate it with @dataclass first")
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    data = list(data_fields) if data_fields is not None else [name for name in names if name not in meta_fields]
    meta = list(meta_fields)

    def flatten_instance(node: Any) -> tuple[tuple[Any, ...], Any]:
        return tuple(getattr(node, name) for name in data), tuple(getattr(node, name) for name in meta)

    def unflatten_instance(auxiliary: Any, children: Iterable[Any]) -> Any:
        node = object.__new__(cls)
        for name, value in (*zip(data, children, strict=True), *zip(meta, auxiliary, strict=True)):
            object.__setattr__(node, name, value)
        return node

    return register(cls, flatten_instance, unflatten_instance)


def key_order(mapping: Any) -> list[Any]:
    """The keys of a dict in the order in which its leaves are flattened: sorted, where they can be."""
    try:
        return sorted(mapping)
    except TypeError:  # keys of several types: optree's own order
        flat: Any = dict.fromkeys(mapping, 0)
        return [path[0] for path in optree.tree_paths(flat, namespace=_NAMESPACE)]
