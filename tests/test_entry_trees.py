"""The emitted entry point: structures, and static objects, also such as misbehave when they are compared."""

from __future__ import annotations

import collections
import gc
import sys

import numpy as np
import pytest
from entry_kernels import (
    FLOAT,
    IN,
    OUT,
    Comparable,
    Recorder,
    is_slow,
    kernel_text,
    native,
    tree_node,
    tree_value,
)

from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    EntrySpec,
    ListNode,
    NoneNode,
    OutputLeaf,
    StaticLeaf,
    TupleNode,
    static_identity,
)


@pytest.fixture(scope="module")
def identity() -> Recorder:
    """One float64 array of shape (3,), copied."""
    return native(EntrySpec((IN,), (), OUT))


# ----------------------------------------------------------------------------------------------------------- structures


def test_nested_structures() -> None:
    function = native(EntrySpec((tree_node(IN),), (), tree_node(OUT)))
    arrays = [np.full(3, float(k)) for k in range(5)]
    for argument in (tree_value(arrays), dict(reversed(tree_value(arrays).items()))):
        result = function(argument)
        assert type(result) is dict
        assert list(result) == ["layers", 7, (1, "b")]
        assert list(result[1, "b"]) == ["z", "a"]
        assert type(result["layers"]) is list and type(result["layers"][0]) is tuple
        assert result["layers"][1:] == [None, []]
        flat = [*result["layers"][0], *result[7], *result[1, "b"].values()]
        for array, copied in zip(arrays, flat, strict=True):
            np.testing.assert_array_equal(array, copied)
    assert gc.is_tracked(result)


def _changes() -> dict[str, object]:
    arrays = [np.zeros(3)] * 5
    value = tree_value(arrays)
    ordered = collections.OrderedDict(value)
    point = collections.namedtuple("Point", "x y")
    return {
        "no dict": [value],
        "ordered dict": ordered,
        "key missing": {key: item for key, item in value.items() if key != 7},
        "key more": {**value, "more": None},
        "other key": {**{key: item for key, item in value.items() if key != 7}, 8: (arrays[0],)},
        "key of another case": {**{key: item for key, item in value.items() if key != "layers"}, "Layers": 0},
        "list for tuple": {**value, 7: [arrays[0]]},
        "tuple for list": {**value, "layers": tuple(value["layers"])},  # type: ignore[arg-type]
        "list longer": {**value, "layers": [*value["layers"], 1]},  # type: ignore[misc]
        "list shorter": {**value, "layers": value["layers"][:2]},  # type: ignore[index]
        "namedtuple": {**value, "layers": [point(*arrays[:2]), None, []]},
        "not None": {**value, "layers": [arrays[:2], 0, []]},
        "last leaf": {**value, (1, "b"): {"z": arrays[0], "a": np.zeros(4)}},
        "leaf None": {**value, 7: (None,)},
    }


@pytest.mark.parametrize("name", _changes())
def test_other_structures_go_the_slow_way(name: str) -> None:
    function = native(EntrySpec((tree_node(IN),), (), NoneNode()), kernel_text(""))
    value = tree_value([np.zeros(3)] * 5)
    assert function(value) is None
    changed = _changes()[name]
    watched = [item for item in gc.get_referents(changed) if item is not None and type(item) is not int]
    counts = [sys.getrefcount(item) for item in watched]
    for _ in range(10):
        assert is_slow(function(changed))
    assert [sys.getrefcount(item) for item in watched] == counts


def test_many_leaves() -> None:
    count = 300
    shapes = [(k % 5,) for k in range(count)]
    spec = EntrySpec(
        (ListNode(tuple(ArrayLeaf(FLOAT, shape) for shape in shapes)),),
        (),
        TupleNode(tuple(OutputLeaf(FLOAT, shape) for shape in shapes)),
    )
    arguments = [np.full(shape, float(k)) for k, shape in enumerate(shapes)]
    for argument, result in zip(arguments, native(spec)(arguments), strict=True):
        np.testing.assert_array_equal(argument, result)


def test_shared_and_self_containing_arguments(identity: Recorder) -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    function = native(EntrySpec((ListNode((ListNode((IN,)),)),), (), OUT))
    assert is_slow(function(cycle))
    pair = native(EntrySpec((TupleNode((IN, IN)),), (), TupleNode((OUT, OUT))))
    array = np.arange(3.0)
    first, second = pair((array, array))
    assert first is not second
    np.testing.assert_array_equal(first, second)


# -------------------------------------------------------------------------------------------------------------- statics


@pytest.mark.parametrize(
    ("static", "same", "different"),
    [
        ("mean", "".join(["me", "an"]), "sum"),
        (10**30, int("1" + "0" * 30), 10**30 + 1),
        (1, 1, True),
        (True, True, 1),
        (1, 1, 1.0),
        (0.0, float("0"), -0.0),
        (float("nan"), float("nan"), 1.0),
        (0j, complex("0j"), complex(0.0, -0.0)),
        (complex("nan"), complex("nan"), 1j),
        ((1, "a"), (1, "".join(["a"])), (1, "b")),
        ((1, ("a",)), (1, ("".join(["a"]),)), (True, ("a",))),
        ((1, (0.0,)), (1, (float("0"),)), (1, (-0.0,))),
        ((float("nan"),), (float("nan"),), (1.0,)),
        ((1,), (1,), (1, 1)),
        ((1, 1), (1, 1), (1,)),
        ((), (), (1,)),
        (None, None, False),
        (np.sin, np.sin, np.cos),
        (len, len, lambda x: 0),
    ],
)
def test_static_objects(static: object, same: object, different: object) -> None:
    function = native(
        EntrySpec((StaticLeaf(0), IN), (), TupleNode((OUT, StaticLeaf(0)))), statics={0: static}
    )
    array = np.arange(3.0)
    for argument in (static, same):
        result, returned = function(argument, array)
        np.testing.assert_array_equal(result, array)
        assert returned is static
        assert static_identity(argument) == static_identity(static)
    assert is_slow(function(different, array))
    assert static_identity(different) != static_identity(static)


def test_comparison_that_raises_goes_the_slow_way() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    function = native(EntrySpec((StaticLeaf(0),), (), NoneNode()), statics={0: Comparable()})
    argument = Comparable(fail)
    assert function(argument) == ("slow", (argument,), {})
    assert function(Comparable()) is None


def test_comparison_may_change_the_arguments() -> None:
    values: list[object] = []

    def empty() -> None:
        values.clear()
        gc.collect()

    spec = EntrySpec((ListNode((IN, StaticLeaf(0), ListNode((IN,)))),), (), TupleNode((OUT, OUT)))
    function = native(spec, statics={0: Comparable()})
    for _ in range(20):
        values[:] = [np.full(3, 1.0), Comparable(empty), [np.full(3, 2.0)]]
        first, second = function(values)
        assert values == []
        np.testing.assert_array_equal(first, 1.0)
        np.testing.assert_array_equal(second, 2.0)


def test_dict_key_comparison_may_raise_and_change() -> None:
    class Key:
        """Collides with the string and then misbehaves."""

        def __hash__(self) -> int:
            return hash("weights")

        def __eq__(self, other: object) -> bool:
            argument.clear()
            raise ZeroDivisionError

    function = native(EntrySpec((DictNode(("weights",), (IN,)),), (), OUT))
    argument: dict[object, object] = {}
    for _ in range(20):
        argument.clear()
        argument[Key()] = np.zeros(3)
        assert is_slow(function(argument))


