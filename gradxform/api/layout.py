"""Arguments of a jitted call as the native entry point sees them: nodes, leaves in order, and a signature to look up.

The order of leaves is optree's: positional arguments, then keywords in the order of the call, dict keys sorted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optree

from gradxform import tree
from gradxform.api.values import as_value
from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    ListNode,
    Node,
    NoneNode,
    NumpyScalarLeaf,
    OutputLeaf,
    ScalarLeaf,
    StaticLeaf,
    TupleNode,
)
from gradxform.data_class import data_class
from gradxform.ir import ArrayType


class Unstructured(Exception):
    """The value holds a pytree class that native code does not walk (a namedtuple, a dataclass, a registered class)."""


@data_class(slots=True)
class Leaves:
    """Collects leaves in order while nodes are described."""

    purpose: str
    values: list[Any]


def describe(value: Any, leaves: Leaves) -> Node:
    """The node of an argument; its leaves are appended to ``leaves``. Raises Unstructured."""
    kind = type(value)
    if kind is tuple:
        return TupleNode(tuple([describe(child, leaves) for child in value]))
    if kind is list:
        return ListNode(tuple([describe(child, leaves) for child in value]))
    if kind is dict:
        keys = sorted_keys(value)
        return DictNode(keys, tuple([describe(value[key], leaves) for key in keys]))
    if value is None:
        return NoneNode()
    if not optree.tree_is_leaf(value, namespace="gradxform"):
        raise Unstructured
    leaf = as_value(value, leaves.purpose)
    leaves.values.append(leaf)
    return leaf_node(leaf)


def sorted_keys(mapping: Mapping[Any, Any]) -> tuple[Any, ...]:
    """A dict's keys in the order in which its leaves are flattened."""
    return tuple(tree.key_order(mapping))


def leaf_node(leaf: Any) -> Node:
    """The input leaf for a value; arrays as the contiguous native ones they are made before the call."""
    kind = type(leaf)
    if kind is bool:
        return ScalarLeaf("bool")
    if kind is int:
        return ScalarLeaf("int")
    if kind is float:
        return ScalarLeaf("float")
    if kind is complex:
        return ScalarLeaf("complex")
    if isinstance(leaf, np.generic):
        return NumpyScalarLeaf(leaf.dtype)
    return ArrayLeaf(leaf.dtype, leaf.shape)


def is_native(leaf: Any) -> bool:
    """Whether the entry point takes ``leaf`` without a copy."""
    if not isinstance(leaf, np.ndarray):
        return True
    flags = leaf.flags
    return type(leaf) is np.ndarray and flags.c_contiguous and flags.aligned and leaf.dtype.isnative


def native(leaf: Any) -> Any:
    """``leaf`` as the entry point takes it: one copy of arrays that are not contiguous, aligned and native."""
    if is_native(leaf):
        return leaf
    return np.require(leaf, leaf.dtype.newbyteorder("="), ["C", "A", "E"])


def describe_output(value: Any, types: Sequence[ArrayType]) -> Node:
    """The node of a result tree whose leaves have these types, in order. Raises Unstructured."""
    remaining = iter(types)

    def walk(part: Any) -> Node:
        kind = type(part)
        if kind is tuple:
            return TupleNode(tuple([walk(child) for child in part]))
        if kind is list:
            return ListNode(tuple([walk(child) for child in part]))
        if kind is dict:
            keys = sorted_keys(part)
            return DictNode(keys, tuple([walk(part[key]) for key in keys]))
        if part is None:
            return NoneNode()
        if not optree.tree_is_leaf(part, namespace="gradxform"):
            raise Unstructured
        found = next(remaining)
        return OutputLeaf(found.dtype, found.shape)

    return walk(value)


def flat_output(types: Sequence[ArrayType]) -> Node:
    """The node of a plain tuple of leaves."""
    return TupleNode(tuple([OutputLeaf(t.dtype, t.shape) for t in types]))


def static_node(key: int) -> Node:
    """The node of a static argument."""
    return StaticLeaf(key)
