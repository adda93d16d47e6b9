"""Pytrees: flattening, prefixes, registration, paths."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import pytest

from gradxform import tree
from gradxform.errors import TreeError

Point = namedtuple("Point", ["x", "y"])


@pytest.mark.parametrize(
    ("value", "leaves"),
    [
        (1.0, [1.0]),
        ((), []),
        ([], []),
        ({}, []),
        (None, []),
        ((1, (2, [3])), [1, 2, 3]),
        ({"b": 1, "a": 2}, [2, 1]),
        (Point(1, [2, 3]), [1, 2, 3]),
        ([None, 1, None], [1]),
        (OrderedDict([("b", 1), ("a", 2)]), [1, 2]),
        (defaultdict(int, {"b": 1, "a": 2}), [2, 1]),
        ({2: "x", 1: "y"}, ["y", "x"]),
        ("text", ["text"]),
    ],
)
def test_flatten_and_unflatten(value: Any, leaves: list[Any]) -> None:
    found, treedef = tree.flatten(value)
    assert found == tree.leaves(value) == leaves
    assert tree.structure(value) == treedef
    again = tree.unflatten(treedef, found)
    assert again == value and type(again) is type(value)
    assert tree.leaves(tree.unflatten(treedef, [(x,) for x in found])) == found


def test_structures_compare() -> None:
    assert tree.structure({"a": 1, "b": 2}) == tree.structure({"b": 3, "a": 4})
    assert tree.structure([1]) != tree.structure((1,)) != tree.structure(Point(1, 2))
    assert hash(tree.structure([1, {"a": 2}])) == hash(tree.structure([3, {"a": 4}]))


def test_map_leaves() -> None:
    assert tree.map_leaves(lambda x: x + 1, {"a": 1, "b": [2, None]}) == {"a": 2, "b": [3, None]}
    assert tree.map_leaves(lambda x, y: x * y, [1, (2,)], [3, (4,)]) == [3, (8,)]
    with pytest.raises(ValueError):
        tree.map_leaves(lambda x, y: x, [1, 2], [1])


def test_leaf_paths() -> None:
    assert tree.leaf_paths({"a": [1, 2], "b": 3}) == ["['a'][0]", "['a'][1]", "['b']"]
    assert tree.leaf_paths(1.0) == [""]


@pytest.mark.parametrize(
    ("prefix", "value", "expected"),
    [
        (0, [1, (2, 3)], [0, 0, 0]),
        (None, {"a": 1}, [None]),
        ((0, None), (1, [2, 3]), [0, None, None]),
        ([0, 1], (5, (6, 7)), [0, 1, 1]),
        ({"a": 1, "b": None}, {"b": 5, "a": (6, 7)}, [1, 1, None]),
        (Point(0, None), Point(1, [2, 3]), [0, None, None]),
        ((), (), []),
        (0, None, []),
        (0, (), []),
        ((0, (1, None)), (5, (6, 7)), [0, 1, None]),
    ],
)
def test_broadcast_prefix(prefix: Any, value: Any, expected: list[Any]) -> None:
    assert tree.broadcast_prefix(prefix, value, "axes") == expected


@pytest.mark.parametrize(
    ("prefix", "value"),
    [((0, 0), (1, 2, 3)), ({"a": 0}, {"b": 1}), ((0,), 5), ([0], {"a": 1}), ((0, (1, 1)), (1, 2)), ((0, 0, 0), (1, 2))],
)
def test_wrong_prefixes(prefix: Any, value: Any) -> None:
    with pytest.raises(TreeError, match="the axes must be a tree prefix"):
        tree.broadcast_prefix(prefix, value, "the axes")


def test_registered_classes() -> None:
    class Stack:
        def __init__(self, items: list[Any], name: str) -> None:
            self.items, self.name = items, name

    tree.register(Stack, lambda s: (s.items, s.name), lambda name, items: Stack(list(items), name))
    found, treedef = tree.flatten({"s": Stack([1, 2], "n")})
    assert found == [1, 2]
    again = tree.unflatten(treedef, [3, 4])
    assert again["s"].items == [3, 4] and again["s"].name == "n"
    assert tree.structure(Stack([1, 2], "n")) != tree.structure(Stack([1, 2], "m"))
    with pytest.raises(ValueError):
        tree.register(Stack, lambda s: (s.items, None), lambda _, items: Stack(list(items), ""))


def test_dataclasses() -> None:
    @tree.register_dataclass
    @dataclass(frozen=True)
    class Model:
        weights: Any
        bias: Any = 0.0
        cached: Any = field(default=7, init=False)

    found, treedef = tree.flatten(Model([1, 2], 3))
    assert found == [1, 2, 3]
    assert tree.unflatten(treedef, [4, 5, 6]) == Model([4, 5], 6)

    @dataclass
    class Named:
        name: str
        values: Any

    tree.register_dataclass(Named, data_fields=["values"], meta_fields=["name"])
    found, treedef = tree.flatten(Named("n", (1, 2)))
    assert found == [1, 2] and tree.unflatten(treedef, [3, 4]) == Named("n", (3, 4))
    assert tree.structure(Named("n", 1)) != tree.structure(Named("m", 1))


def test_dataclasses_of_unflattened_placeholders_do_not_run_their_init() -> None:
    @tree.register_dataclass
    @dataclass
    class Checked:
        x: Any

        def __post_init__(self) -> None:
            if not isinstance(self.x, int):
                raise TypeError("int wanted")

    _, treedef = tree.flatten(Checked(1))
    assert tree.unflatten(treedef, ["anything"]).x == "anything"


def test_unregistered_classes_are_leaves() -> None:
    @dataclass
    class Plain:
        x: int

    value = Plain(1)
    assert tree.leaves([value]) == [value]
    with pytest.raises(TreeError, match="dataclass"):
        tree.register_dataclass(int)


def test_key_order() -> None:
    assert tree.key_order({"b": 1, "a": 2}) == ["a", "b"]
    for mapping in ({2: 0, 10: 0, 1: 0}, {"b": 0, 1: 0, "a": 0}, {(1, 2): 0, (1,): 0}):
        numbered = {key: key for key in mapping}
        assert tree.leaves(tree.map_leaves(lambda x: [x], dict.fromkeys(mapping, "leaf"))) == ["leaf"] * len(mapping)
        order = tree.key_order(mapping)
        assert sorted(order, key=str) == sorted(numbered, key=str)
