"""The emitted entry point and the callable object, around small kernels written here.

Most kernels copy each input to the output of the same place byte by byte, so what a call must return is what it got.
"""

from __future__ import annotations

import collections
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gradxform.backend import callable as callable_module
from gradxform.backend import numpy_abi, python_abi
from gradxform.backend.callable import NativeCallable, NativeEntry, call_entry
from gradxform.backend.compile import Tier, compile_text, load, optimised_text
from gradxform.backend.entry import CELL_SYMBOL, ENTRY_SYMBOL, STACK_ARENA_BYTES, emit_entry, entry_imports
from gradxform.backend.signature import (
    SUPPORTED_DTYPE_NAMES,
    ArrayLeaf,
    DictNode,
    EntrySpec,
    ListNode,
    Node,
    NoneNode,
    NumpyScalarLeaf,
    OutputLeaf,
    ScalarLeaf,
    StaticLeaf,
    TupleNode,
    input_leaves,
    output_leaves,
)
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError

FLOAT = np.dtype(np.float64)
IN = ArrayLeaf(FLOAT, (3,))
OUT = OutputLeaf(FLOAT, (3,))


def kernel_text(body: str, result: str = "0") -> str:
    return f"define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena) {{\nstart:\n{body}\n  ret i64 {result}\n}}\n"


def copy_kernel(spec: EntrySpec) -> str:
    """Copies input i to output i, byte by byte."""
    lines = []
    for i, leaf in enumerate(output_leaves(spec)):
        size = leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=int))
        if size == 0:
            continue
        lines.append(f"""
  %from.field.{i} = getelementptr ptr, ptr %inputs, i64 {i}
  %from.{i} = load ptr, ptr %from.field.{i}
  %to.field.{i} = getelementptr ptr, ptr %outputs, i64 {i}
  %to.{i} = load ptr, ptr %to.field.{i}
  br label %before.{i}
before.{i}:
  br label %loop.{i}
loop.{i}:
  %k.{i} = phi i64 [0, %before.{i}], [%next.{i}, %loop.{i}]
  %source.{i} = getelementptr i8, ptr %from.{i}, i64 %k.{i}
  %target.{i} = getelementptr i8, ptr %to.{i}, i64 %k.{i}
  %byte.{i} = load i8, ptr %source.{i}
  store i8 %byte.{i}, ptr %target.{i}
  %next.{i} = add i64 %k.{i}, 1
  %more.{i} = icmp ult i64 %next.{i}, {size}
  br i1 %more.{i}, label %loop.{i}, label %after.{i}
after.{i}:""")
    return kernel_text("".join(lines))


def raise_status(status: int) -> None:
    raise IndexError(f"status {status}")


class Recorder(NativeCallable):
    """Its slow path says that it was taken."""

    def call_slow(self, /, *args: object, **kwargs: object) -> object:
        return ("slow", args, kwargs)


def compiled(
    spec: EntrySpec,
    kernel: str | None = None,
    statics: Mapping[int, object] | None = None,
    captures: Sequence[np.ndarray] = (),
    raiser: object = raise_status,
    inline_kernel: bool = False,
) -> tuple[int, int, object]:
    """The arguments of `NativeCallable.link`."""
    statics = statics or {}
    text = emit_entry(spec, inline_kernel=inline_kernel) + (copy_kernel(spec) if kernel is None else kernel)
    code = compile_text(text, Tier.STRAIGHT)
    loaded = load(code, entry_imports(spec, statics, captures, raiser), (ENTRY_SYMBOL, CELL_SYMBOL))
    alive = (loaded, spec, statics, captures, raiser)
    return loaded.address(ENTRY_SYMBOL), loaded.address(CELL_SYMBOL), alive


def native(spec: EntrySpec, *args: object, **kwargs: object) -> Recorder:
    function = Recorder()
    function.link(*compiled(spec, *args, **kwargs))  # type: ignore[arg-type]
    return function


def is_slow(result: object) -> bool:
    return isinstance(result, tuple) and len(result) == 3 and result[0] == "slow"


@pytest.fixture(scope="module")
def identity() -> Recorder:
    """One float64 array of shape (3,), copied."""
    return native(EntrySpec((IN,), (), OUT))


# ------------------------------------------------------------------------------------------------------------ leaves


@pytest.mark.parametrize("name", SUPPORTED_DTYPE_NAMES)
def test_arrays_of_every_dtype(name: str) -> None:
    dtype = np.dtype(name)
    shapes = ((3,), (2, 3), (0,), (2, 0, 3), (1, 1, 1, 2, 1, 3))
    spec = EntrySpec(
        tuple(ArrayLeaf(dtype, shape) for shape in shapes), (), TupleNode(tuple(OutputLeaf(dtype, s) for s in shapes))
    )
    generator = np.random.default_rng(0)
    arguments = [(generator.normal(size=shape) * 50).astype(dtype) for shape in shapes]
    results = native(spec)(*arguments)
    assert type(results) is tuple
    for argument, result in zip(arguments, results, strict=True):
        assert type(result) is np.ndarray
        assert result is not argument
        assert result.dtype is dtype
        assert result.shape == argument.shape
        assert result.flags.c_contiguous and result.flags.aligned and result.flags.owndata and result.flags.writeable
        np.testing.assert_array_equal(result, argument)


@pytest.mark.parametrize("name", SUPPORTED_DTYPE_NAMES)
@pytest.mark.parametrize("inline_kernel", [False, True])
def test_scalars_of_every_dtype(name: str, inline_kernel: bool) -> None:
    dtype = np.dtype(name)
    spec = EntrySpec(
        (NumpyScalarLeaf(dtype), ArrayLeaf(dtype, ())), (), ListNode((OutputLeaf(dtype, ()), OutputLeaf(dtype, ())))
    )
    function = native(spec, inline_kernel=inline_kernel)
    for number in (0, 1, 77):
        scalar = np.array(number).astype(dtype)[()]
        results = function(scalar, np.array(scalar))
        assert type(results) is list
        for result in results:
            assert type(result) is dtype.type
            assert result == scalar
            assert result.tobytes() == scalar.tobytes()
    if name == "bool":
        assert function(np.True_, np.array(False)) == [np.True_, np.False_]
        assert function(np.True_, np.array(False))[0] is np.True_


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("bool", "bool", (False, True)),
        ("int", "int64", (0, -1, 2**30, 2**62, 2**63 - 1, -(2**63))),
        ("float", "float64", (0.0, -0.0, 1.5, -1e308, 5e-324, float("inf"), float("nan"))),
    ],
)
@pytest.mark.parametrize("inline_kernel", [False, True])
def test_python_scalars(kind: str, name: str, values: Sequence[object], inline_kernel: bool) -> None:
    spec = EntrySpec((ScalarLeaf(kind),), (), OutputLeaf(np.dtype(name), ()))  # type: ignore[arg-type]
    function = native(spec, inline_kernel=inline_kernel)
    for value in values:
        result = function(value)
        assert type(result) is np.dtype(name).type
        assert result.tobytes() == np.dtype(name).type(value).tobytes()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 2**63),
        ("int", -(2**63) - 1),
        ("int", 10**400),
        ("int", True),
        ("int", 1.0),
        ("int", np.int64(1)),
        ("float", 1),
        ("float", np.float64(1.0)),
        ("float", None),
        ("bool", 1),
        ("bool", np.True_),
        ("bool", None),
    ],
)
def test_other_scalars_go_the_slow_way(kind: str, value: object) -> None:
    function = native(EntrySpec((ScalarLeaf(kind),), (), TupleNode(())))  # type: ignore[arg-type]
    assert function(value) == ("slow", (value,), {})


class _Subclass(np.ndarray):
    pass


def _misaligned() -> np.ndarray:
    return np.frombuffer(bytearray(25), np.uint8)[1:].view(np.float64)


_OTHER_ARGUMENTS: dict[str, object] = {
    "subclass": np.zeros(3).view(_Subclass),
    "masked": np.ma.zeros(3),
    "matrix": np.zeros((1, 3)).view(np.matrix),
    "float32": np.zeros(3, np.float32),
    "int64 of the same size": np.zeros(3, np.int64),
    "object": np.array([1.0, 2.0, 3.0], object),
    "string": np.array(["a", "b", "c"]),
    "structured": np.zeros(3, [("a", float)]),
    "datetime": np.zeros(3, "M8[s]"),
    "timedelta": np.zeros(3, "m8[s]"),
    "shorter": np.zeros(2),
    "empty": np.zeros(0),
    "rank 0": np.array(1.0),
    "rank 2": np.zeros((3, 1)),
    "rank 64": np.zeros((1,) * 64),
    "negative stride": np.zeros(3)[::-1],
    "every other": np.zeros(6)[::2],
    "broadcast": np.broadcast_to(np.zeros(1), (3,)),
    "byte-swapped": np.zeros(3, np.dtype(np.float64).newbyteorder()),
    "misaligned": _misaligned(),
    "numpy scalar": np.float64(1.0),
    "float": 1.0,
    "list": [1.0, 2.0, 3.0],
    "None": None,
    "type": np.ndarray,
    "string object": "abc",
}


@pytest.mark.parametrize("name", _OTHER_ARGUMENTS)
def test_other_objects_go_the_slow_way(identity: Recorder, name: str) -> None:
    argument = _OTHER_ARGUMENTS[name]
    result = identity(argument)
    assert is_slow(result)
    assert result[1][0] is argument
    assert len(result[1]) == 1


def test_fortran_order_goes_the_slow_way() -> None:
    function = native(EntrySpec((ArrayLeaf(FLOAT, (2, 3)),), (), OutputLeaf(FLOAT, (2, 3))))
    assert is_slow(function(np.zeros((2, 3), order="F")))
    assert is_slow(function(np.zeros((3, 2)).T))
    assert is_slow(function(np.zeros((3, 2))))
    assert not is_slow(function(np.ones((2, 3))))


def test_equivalent_dtype_objects_are_taken(identity: Recorder) -> None:
    unpickled = pickle.loads(pickle.dumps(np.arange(3.0)))
    foreign = np.arange(3.0).view(np.dtype(np.float64, metadata={"unit": "m"}))
    assert foreign.dtype is not FLOAT
    for argument in (unpickled, foreign):
        np.testing.assert_array_equal(identity(argument), [0.0, 1.0, 2.0])
    function = native(EntrySpec((ArrayLeaf(np.dtype(np.int64), (2,)),), (), OutputLeaf(np.dtype(np.int64), (2,))))
    for char in "lq":
        argument = np.array([5, -6], char)
        if argument.itemsize == 8:
            np.testing.assert_array_equal(function(argument), [5, -6])


def test_read_only_arrays_are_taken(identity: Recorder) -> None:
    argument = np.arange(3.0)
    argument.flags.writeable = False
    result = identity(argument)
    assert result.flags.writeable
    np.testing.assert_array_equal(result, argument)


def test_captures_follow_the_inputs() -> None:
    spec = EntrySpec((), (), TupleNode((OUT, OutputLeaf(np.dtype(np.int8), (2,)))), capture_count=2)
    constants = (np.array([1.0, 2.0, 3.0]), np.array([4, 5], np.int8))
    first, second = native(spec, captures=constants)()
    np.testing.assert_array_equal(first, constants[0])
    np.testing.assert_array_equal(second, constants[1])
    for wrong in ((), (np.zeros(3), np.zeros(4, np.int8)[::2])):
        with pytest.raises(ArgumentError, match="captur"):
            entry_imports(spec, {}, wrong, raise_status)


# ------------------------------------------------------------------------------------------------------ calls, keywords


def test_argument_counts(identity: Recorder) -> None:
    array = np.zeros(3)
    assert identity() == ("slow", (), {})
    assert is_slow(identity(array, array))
    assert is_slow(identity(array, extra=1))
    assert is_slow(identity(x=array))
    assert is_slow(identity(*[array] * 200))
    assert not is_slow(identity(*[array], **{}))


def test_no_arguments_and_no_results() -> None:
    function = native(EntrySpec((), (), TupleNode(())))
    assert function() == ()
    assert is_slow(function(1))
    assert native(EntrySpec((), (), NoneNode()))() is None
    assert native(EntrySpec((), (), DictNode((), ())))() == {}


def test_keywords_in_any_order() -> None:
    names = ("left", "right", "naïve")
    leaves = tuple(OutputLeaf(FLOAT, (k + 1,)) for k in range(4))
    spec = EntrySpec(
        (ArrayLeaf(FLOAT, (1,)),),
        tuple((name, ArrayLeaf(FLOAT, (k + 2,))) for k, name in enumerate(names)),
        TupleNode(leaves),
    )
    function = native(spec)
    given = {name: np.full(k + 2, float(k)) for k, name in enumerate(names)}
    first = np.array([9.0])
    for order in (names, names[::-1], (names[1], names[2], names[0])):
        _, *results = function(first, **{name: given[name] for name in order})
        for name, result in zip(names, results, strict=True):
            np.testing.assert_array_equal(result, given[name])
    # Equal names that are not the interned object.
    _, *results = function(first, **{"".join(list(name)): given[name] for name in names})
    np.testing.assert_array_equal(results[2], given["naïve"])
    assert is_slow(function(first, **{**given, "other": 1}))
    assert is_slow(function(first, left=given["left"], right=given["right"]))
    assert is_slow(function(first, left=given["left"], right=given["right"], other=given["naïve"]))
    assert is_slow(function(first, *given.values()))
    assert is_slow(function(first, left=given["right"], right=given["left"], naïve=given["naïve"]))


def test_called_through_ctypes() -> None:
    spec = EntrySpec((IN,), (("scale", ScalarLeaf("float")),), TupleNode((OUT, OutputLeaf(FLOAT, ()))))
    address, cell, alive = compiled(spec)
    function = Recorder()
    result = call_entry(address, function, (np.arange(3.0),), {"scale": 2.5})
    np.testing.assert_array_equal(result[0], [0.0, 1.0, 2.0])  # type: ignore[index]
    assert result[1] == 2.5  # type: ignore[index]
    assert call_entry(address, function, (1,), {"scale": 2.5}) == ("slow", (1,), {"scale": 2.5})
    assert call_entry(address, function, (), {}) == ("slow", (), {})
    assert alive and cell


# ----------------------------------------------------------------------------------------------------------- structures


def _tree(leaf: Node) -> Node:
    return DictNode(
        ("layers", 7, (1, "b")),
        (ListNode((TupleNode((leaf, leaf)), NoneNode(), ListNode(()))), TupleNode((leaf,)), DictNode(("z", "a"), (leaf, leaf))),
    )


def _value(arrays: Sequence[object]) -> dict[object, object]:
    return {
        "layers": [(arrays[0], arrays[1]), None, []],
        7: (arrays[2],),
        (1, "b"): {"z": arrays[3], "a": arrays[4]},
    }


def test_nested_structures() -> None:
    function = native(EntrySpec((_tree(IN),), (), _tree(OUT)))
    arrays = [np.full(3, float(k)) for k in range(5)]
    for argument in (_value(arrays), dict(reversed(_value(arrays).items()))):
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
    value = _value(arrays)
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
    function = native(EntrySpec((_tree(IN),), (), NoneNode()), kernel_text(""))
    value = _value([np.zeros(3)] * 5)
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


# --------------------------------------------------------------------------------------------------------------- statics


class _Comparable:
    """Equal to every other one; what comparing does can be chosen."""

    def __init__(self, action: object = None) -> None:
        self.action = action

    def __eq__(self, other: object) -> bool:
        if callable(self.action):
            self.action()
        return True

    __hash__ = None  # type: ignore[assignment]


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
        ((1, "a"), (1, "".join(["a"])), (1, "b")),
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
    assert is_slow(function(different, array))


def test_comparison_that_raises_goes_the_slow_way() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    function = native(EntrySpec((StaticLeaf(0),), (), NoneNode()), statics={0: _Comparable()})
    argument = _Comparable(fail)
    assert function(argument) == ("slow", (argument,), {})
    assert function(_Comparable()) is None


def test_comparison_may_change_the_arguments() -> None:
    values: list[object] = []

    def empty() -> None:
        values.clear()
        gc.collect()

    spec = EntrySpec((ListNode((IN, StaticLeaf(0), ListNode((IN,)))),), (), TupleNode((OUT, OUT)))
    function = native(spec, statics={0: _Comparable()})
    for _ in range(20):
        values[:] = [np.full(3, 1.0), _Comparable(empty), [np.full(3, 2.0)]]
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


# ------------------------------------------------------------------------------------------------------ memory, failures


def test_references_are_balanced() -> None:
    static = object()
    spec = EntrySpec(
        (_tree(IN), StaticLeaf(3), NoneNode()),
        (("flag", ScalarLeaf("bool")), ("text", StaticLeaf(3))),
        TupleNode((_tree(OUT), OutputLeaf(FLOAT, ()), StaticLeaf(3), NoneNode(), OutputLeaf(np.dtype(bool), ()))),
    )
    function = native(spec, kernel_text(_fill_text(spec)), statics={3: static})
    arrays = [np.full(3, float(k)) for k in range(5)]
    value = _value(arrays)
    key = next(k for k in spec.positional[0].keys if type(k) is tuple)  # type: ignore[union-attr]
    watched = [*arrays, value, static, FLOAT, np.ndarray, np.float64, function, key, value["layers"], raise_status]
    function(value, static, None, flag=True, text=static)
    before = [sys.getrefcount(item) for item in watched]
    for _ in range(50):
        assert type(function(value, static, None, flag=True, text=static)[0]) is dict
        assert is_slow(function(value, static, None, flag=1, text=static))
    assert [sys.getrefcount(item) for item in watched] == before
    result = function(value, static, None, flag=True, text=static)[0]
    dead = weakref.ref(result["layers"][0][0])
    assert dead() is not None
    del result
    assert dead() is None


def _fill_text(spec: EntrySpec) -> str:
    """Writes a zero into each scalar output."""
    lines = []
    for i, leaf in enumerate(output_leaves(spec)):
        if leaf.shape == ():
            lines.append(f"  %field.{i} = getelementptr ptr, ptr %outputs, i64 {i}")
            lines.append(f"  %output.{i} = load ptr, ptr %field.{i}")
            lines.append(f"  store i{8 * leaf.dtype.itemsize} 0, ptr %output.{i}")
    return "\n".join(lines)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("arena", [0, 64, 1 << 20])
def test_status_becomes_an_error(count: int, arena: int) -> None:
    spec = EntrySpec((ListNode((IN,)),), (), TupleNode((OUT,) * count), arena_bytes=arena)
    function = native(spec, kernel_text("", str(-(2**63))))
    array = np.zeros(3)
    before = sys.getrefcount(array), sys.getrefcount(FLOAT), sys.getrefcount(raise_status)
    for _ in range(5):
        with pytest.raises(IndexError, match=str(-(2**63))):
            function([array])
    assert (sys.getrefcount(array), sys.getrefcount(FLOAT), sys.getrefcount(raise_status)) == before


def test_raiser_that_returns_is_reported() -> None:
    function = native(EntrySpec((), (), OUT), kernel_text("", "1"), raiser=lambda status: None)
    with pytest.raises(SystemError):
        function()


@pytest.mark.parametrize("release_gil", [False, True])
@pytest.mark.parametrize("size", [1, 63, 64, 100, STACK_ARENA_BYTES, STACK_ARENA_BYTES + 1, 1 << 22])
def test_arena(size: int, release_gil: bool) -> None:
    body = f"""  %address = ptrtoint ptr %arena to i64
  %last = getelementptr i8, ptr %arena, i64 {size - 1}
  store volatile i8 1, ptr %arena
  store volatile i8 2, ptr %last
  %offset = and i64 %address, 63"""
    function = native(EntrySpec((), (), NoneNode(), 0, size, release_gil), kernel_text(body, "%offset"))
    for _ in range(3):
        assert function() is None


def test_memory_exhausted() -> None:
    with pytest.raises(MemoryError):
        native(EntrySpec((), (), NoneNode(), arena_bytes=1 << 60), kernel_text(""))()
    huge = OutputLeaf(FLOAT, (1 << 50,))
    function = native(EntrySpec((ListNode((IN,)),), (), TupleNode((OUT, huge))), kernel_text(""))
    array = np.zeros(3)
    before = sys.getrefcount(array)
    with pytest.raises(MemoryError):
        function([array])
    assert sys.getrefcount(array) == before
    too_large = OutputLeaf(FLOAT, (1 << 40, 1 << 40))
    with pytest.raises(ValueError, match="too (big|large)"):
        native(EntrySpec((), (), too_large), kernel_text(""))()


_WAIT_TEXT = """  %flag = load ptr, ptr %inputs
  br label %loop
loop:
  %k = phi i64 [0, %start], [%next, %loop]
  %value = load volatile double, ptr %flag
  %set = fcmp one double %value, 0.0
  %next = add i64 %k, 1
  %last = icmp eq i64 %next, 20000000000
  %stop = or i1 %set, %last
  br i1 %stop, label %done, label %loop
done:
  %status = zext i1 %last to i64
"""


def test_released_lock_lets_others_run_and_keeps_the_arguments() -> None:
    function = native(EntrySpec((ListNode((IN,)),), (), OUT, release_gil=True), kernel_text(_WAIT_TEXT, "%status"))
    flag = np.zeros(3)
    arguments = [flag]

    def finish() -> None:
        arguments.clear()
        function.unlink_all()
        gc.collect()
        flag[0] = 1.0

    for _ in range(3):
        flag[0] = 0.0
        arguments[:] = [flag]
        other = threading.Timer(0.02, finish)
        other.start()
        assert function(arguments).shape == (3,)
        other.join()
        function = native(EntrySpec((ListNode((IN,)),), (), OUT, release_gil=True), kernel_text(_WAIT_TEXT, "%status"))


def test_inlined_scalar_kernel_leaves_no_pointer_arrays() -> None:
    spec = EntrySpec((ScalarLeaf("float"),), (), OutputLeaf(FLOAT, ()))
    text = optimised_text(emit_entry(spec, inline_kernel=True) + copy_kernel(spec), Tier.LOOPS)
    body = text[text.index("define ptr @entry(") :]
    body = body[: body.index("\n}")]
    assert "@kernel" not in text
    assert body.count("alloca") == 1  # the slot that frees a half-built result


# --------------------------------------------------------------------------------------------------------------- the text


def test_text_depends_on_the_specification_alone() -> None:
    script = (
        "from tests.test_entry import *\nfrom tests.test_entry import _tree\nimport hashlib\n"
        "spec = EntrySpec((_tree(IN), StaticLeaf(0)), (('b', IN), ('a', ScalarLeaf('int'))), _tree(OUT), 2, 99999, True)\n"
        "print(hashlib.sha256(emit_entry(spec).encode()).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True, cwd=_ROOT
        )
        digests.add(run.stdout)
    assert len(digests) == 1


_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_imports_are_complete_without_emitting() -> None:
    spec = EntrySpec((_tree(IN), StaticLeaf(0)), (("b", IN),), _tree(OUT), 1)
    addresses = entry_imports(spec, {0: "static"}, (np.zeros(2),), raise_status)
    wanted = {
        line.split("@")[1].split("(")[0].split(" ")[0]
        for line in emit_entry(spec).splitlines()
        if line.startswith("declare") or " = external global " in line
    }
    assert wanted <= set(addresses)
    assert all(addresses.values())


def test_specification_refuses_what_it_cannot_express() -> None:
    for dtype in ("longdouble", "object", "U3", "M8[s]", np.dtype(float).newbyteorder()):
        with pytest.raises(DTypeError):
            ArrayLeaf(np.dtype(dtype), (1,))
        with pytest.raises(DTypeError):
            OutputLeaf(np.dtype(dtype), (1,))
    for wrong in (
        lambda: ArrayLeaf(FLOAT, (-1,)),
        lambda: ArrayLeaf(FLOAT, (1,) * 65),
        lambda: ScalarLeaf("complex"),  # type: ignore[arg-type]
        lambda: DictNode(("a", "a"), (IN, IN)),
        lambda: DictNode(("a",), ()),
        lambda: EntrySpec((OUT,), (), OUT),
        lambda: EntrySpec((IN,), (), TupleNode((IN,))),
        lambda: EntrySpec((), (("a", IN), ("a", IN)), OUT),
        lambda: EntrySpec((), (), OUT, arena_bytes=-1),
    ):
        with pytest.raises(ArgumentError):
            wrong()


def test_leaf_order_is_depth_first() -> None:
    spec = EntrySpec((TupleNode((IN, ListNode((ScalarLeaf("int"),)))), NoneNode()), (("k", IN),), TupleNode((OUT, OUT)))
    assert input_leaves(spec) == (IN, ScalarLeaf("int"), IN)
    assert output_leaves(spec) == (OUT, OUT)


def test_unknown_layouts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, verify, name in (
        (python_abi, python_abi.verify_python_layout, "FLOAT_VALUE_OFFSET"),
        (numpy_abi, numpy_abi.verify_numpy_layout, "ARRAY_RANK_OFFSET"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, getattr(module, name) + 4)
            with pytest.raises(python_abi.UnsupportedRuntimeError, match="another layout"):
                verify.__wrapped__()
    monkeypatch.setattr(sys.implementation, "name", "other")
    with pytest.raises(python_abi.UnsupportedRuntimeError, match="not CPython"):
        python_abi.verify_python_layout.__wrapped__()


# ----------------------------------------------------------------------------------------------------------- the callable


def _sized(size: int) -> tuple[int, int, object]:
    return compiled(EntrySpec((ArrayLeaf(FLOAT, (size,)),), (), OutputLeaf(FLOAT, (size,))))


def test_chain_tries_all_specialisations() -> None:
    function = Recorder()
    assert is_slow(function(np.zeros(1)))
    for size in range(1, 6):
        function.link(*_sized(size))
        assert function.specialization_count == size
        for k in range(1, 8):
            result = function(np.full(k, 2.0))
            assert is_slow(result) == (k > size)
            if k <= size:
                np.testing.assert_array_equal(result, np.full(k, 2.0))
        assert function(1, a=2) == ("slow", (1,), {"a": 2})
    function.unlink_all()
    assert function.specialization_count == 0
    assert is_slow(function(np.zeros(1)))


def test_entry_is_in_one_chain_at_a_time() -> None:
    link = _sized(2)
    first, second = Recorder(), Recorder()
    first.link(*link)
    for function in (first, second):
        with pytest.raises(ArgumentError, match="already linked"):
            function.link(*link)
    first.unlink_all()
    second.link(*link)
    assert not is_slow(second(np.zeros(2)))
    assert is_slow(first(np.zeros(2)))


def test_single_entry() -> None:
    address, cell, alive = _sized(2)
    entry = NativeEntry(address, cell, alive)
    np.testing.assert_array_equal(entry(np.ones(2)), [1.0, 1.0])
    with pytest.raises(ArgumentTypeError, match=r"positional arguments \(int\)"):
        entry(1)
    chained = Recorder()
    chained.link(address, cell, alive)
    del entry
    assert not is_slow(chained(np.ones(2)))


def test_slow_path_may_link_raise_and_recurse() -> None:
    class Lazy(NativeCallable):
        def call_slow(self, /, x: np.ndarray) -> object:
            if x.size > 4:
                raise ZeroDivisionError("too long")
            self.link(*_sized(x.size))
            return self(x)

    function = Lazy()
    for size in (1, 2, 1, 3, 2):
        np.testing.assert_array_equal(function(np.ones(size)), np.ones(size))
    assert function.specialization_count == 3
    with pytest.raises(ZeroDivisionError, match="too long"):
        function(np.ones(5))
    with pytest.raises(TypeError):
        function()

    class Endless(NativeCallable):
        def call_slow(self, /, *args: object) -> object:
            return self(*args)

    endless = Endless()
    for _ in range(2):
        with pytest.raises(RecursionError):
            endless(1)
        endless.link(*_sized(1))


def test_slow_path_of_the_base_explains() -> None:
    with pytest.raises(ArgumentTypeError, match=r"2 positional arguments \(int, str\).*\['key'\]"):
        NativeCallable()(1, "a", key=2)


class Described(Recorder):
    """A subclass as users see it."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.values = [name]


def test_instances_are_ordinary_objects() -> None:
    function = Described("f")
    function.link(*_sized(1))
    assert function.__name__ == "f"
    function.extra = 3  # type: ignore[attr-defined]
    assert vars(function)["extra"] == 3
    assert callable(function)
    assert function == function and function != Described("f")
    assert len({function, function}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(function)
    with pytest.raises(TypeError):
        copy.copy(function)
    reference = weakref.ref(function)
    function.values.append(function)  # type: ignore[arg-type]
    del function
    gc.collect()
    assert reference() is None


def test_code_is_freed_with_its_callable() -> None:
    function = Recorder()
    address, cell, alive = _sized(1)
    loaded = weakref.ref(alive[0])  # type: ignore[index]
    function.link(address, cell, alive)
    del alive
    gc.collect()
    assert loaded() is not None
    assert not is_slow(function(np.zeros(1)))
    del function
    gc.collect()
    assert loaded() is None


def test_call_after_the_finaliser_is_slow_and_safe() -> None:
    results = []

    class Last:
        def __init__(self, function: NativeCallable) -> None:
            self.function = function

        def __del__(self) -> None:
            results.append(self.function(np.zeros(1)))
            self.function.link(*_sized(1))
            results.append(self.function(np.zeros(1)))

    for _ in range(3):
        function = Described("f")
        function.link(*_sized(1))
        function.values.append(Last(function))  # type: ignore[arg-type]
        del function
        gc.collect()
    assert len(results) == 6


def test_methods() -> None:
    class Model:
        predict = native(EntrySpec((StaticLeaf(0), IN), (), OUT), kernel_text(_copy_first), statics={0: _Comparable()})
        other = Recorder()

    model = Model()
    assert model.other(1, a=2) == ("slow", (model, 1), {"a": 2})
    assert Model.other(1) == ("slow", (1,), {})
    assert Model.other is Model.__dict__["other"]
    bound = model.other
    assert bound.__self__ is model and bound.__func__ is Model.other
    assert bound(3) == ("slow", (model, 3), {})
    array = np.arange(3.0)
    assert is_slow(model.predict(array))
    assert not is_slow(Model.predict(_Comparable(), array))

    class Point(_Comparable):
        predict = Model.predict

    # Equal and of the same type as the static object: a native call with the instance as first argument.
    point = native(EntrySpec((StaticLeaf(0), IN), (), OUT), kernel_text(_copy_first), statics={0: Point()})
    Point.predict = point
    np.testing.assert_array_equal(Point().predict(array), array)


_copy_first = """  %from = load ptr, ptr %inputs
  %to = load ptr, ptr %outputs
  %value = load [3 x double], ptr %from
  store [3 x double] %value, ptr %to"""


def test_subclass_may_override_call_and_get() -> None:
    class Loud(Recorder):
        def __call__(self, /, *args: object, **kwargs: object) -> object:
            return ("loud", super().__call__(*args, **kwargs))

        def __get__(self, instance: object, owner: type | None = None) -> object:
            return "got"

    function = Loud()
    function.link(*_sized(1))
    kind, result = function(np.ones(1))
    assert kind == "loud"
    np.testing.assert_array_equal(result, [1.0])
    assert type("Holder", (), {"attribute": function})().attribute == "got"


def test_unlinking_inside_a_call() -> None:
    function = Recorder()

    def unlink() -> None:
        function.unlink_all()
        gc.collect()

    spec = EntrySpec((StaticLeaf(0), IN), (), OUT)
    array = np.arange(3.0)
    for _ in range(10):
        function.link(*_sized(1))
        function.link(*compiled(spec, kernel_text(_copy_first), statics={0: _Comparable()}))
        np.testing.assert_array_equal(function(_Comparable(unlink), array), array)
        assert function.specialization_count == 0
        # The same on the way to the next of the chain, which is gone by then.
        function.link(*_sized(1))
        function.link(*compiled(spec, kernel_text(_copy_first), statics={0: _Comparable()}))
        assert is_slow(function(_Comparable(unlink), 1))
        assert is_slow(function(_Comparable(), array))


def test_unlinked_code_is_freed_when_its_last_call_has_left() -> None:
    function = Recorder()

    def unlink() -> None:
        function.unlink_all()
        gc.collect()
        alive_inside.append(loaded() is not None)

    alive_inside: list[bool] = []
    link = compiled(EntrySpec((StaticLeaf(0),), (), NoneNode()), kernel_text(""), statics={0: _Comparable()})
    loaded = weakref.ref(link[2][0])  # type: ignore[index]
    function.link(*link)
    del link
    assert function(_Comparable(unlink)) is None
    assert alive_inside == [True]
    function.unlink_all()
    gc.collect()
    assert loaded() is None


def test_slow_path_may_unlink_the_chain_it_came_from() -> None:
    class Evicting(NativeCallable):
        def call_slow(self, /, *args: object) -> object:
            self.unlink_all()
            gc.collect()
            return args

    function = Evicting()
    for _ in range(10):
        function.link(*_sized(1))
        function.link(*_sized(2))
        assert function(3) == (3,)


def test_threads_call_while_others_link_and_unlink() -> None:
    function = Recorder()
    links = [_sized(size) for size in range(1, 5)]
    failures: list[object] = []
    stop = threading.Event()

    def call() -> None:
        arrays = [np.full(size, float(size)) for size in range(1, 6)]
        while not stop.is_set():
            for array in arrays:
                result = function(array)
                if not is_slow(result) and not np.array_equal(result, array):
                    failures.append(result)

    threads = [threading.Thread(target=call) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(200):
            for link in links:
                function.link(*link)
            function.unlink_all()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not failures


def test_runtime_without_vectorcall_gives_the_same_results() -> None:
    script = """
import ctypes
real = ctypes.PYFUNCTYPE
def refuse(*types):
    def make(target, *rest):
        if isinstance(target, tuple) and target[0] == "PyType_FromSpec":
            raise AttributeError(target[0])
        return real(*types)(target, *rest)
    return make
ctypes.PYFUNCTYPE = refuse
from gradxform.backend import callable as module
ctypes.PYFUNCTYPE = real
assert not module.NATIVE_DISPATCH

from tests.test_entry import *
from tests.test_entry import _sized
function = Recorder()
assert is_slow(function(1))
function.link(*_sized(1))
function.link(*_sized(2))
assert (function(np.ones(1)) == [1.0]).all() and (function(np.ones(2)) == [1.0, 1.0]).all()
assert function(3, k=4) == ("slow", (3,), {"k": 4})
class Model:
    method = function
model = Model()
assert model.method(5) == ("slow", (model, 5), {})
assert Model.method is function
function.unlink_all()
assert is_slow(function(np.ones(1)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=_ROOT)
    assert run.returncode == 0, run.stderr


def test_exit_with_linked_functions_is_quiet() -> None:
    script = (
        "from tests.test_entry import *\nfrom tests.test_entry import _sized\nimport builtins\n"
        "function = Recorder(); function.link(*_sized(1)); builtins.kept = function\n"
        "cycle = Described('f'); cycle.link(*_sized(1)); cycle.values.append(cycle)\n"
        "print(function(np.ones(1)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=_ROOT)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[1.]\n", "")


def test_native_dispatch_works_here() -> None:
    assert callable_module.NATIVE_DISPATCH
