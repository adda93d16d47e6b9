"""The emitted entry point: which leaves and calls it takes, and which go the slow way."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from entry_kernels import (
    FLOAT,
    IN,
    OUT,
    Recorder,
    compiled,
    is_slow,
    native,
    raise_status,
)

from gradxform.backend.callable import call_entry
from gradxform.backend.entry import entry_imports
from gradxform.backend.signature import (
    SUPPORTED_DTYPE_NAMES,
    ArrayLeaf,
    DictNode,
    EntrySpec,
    ListNode,
    NoneNode,
    NumpyScalarLeaf,
    OutputLeaf,
    ScalarLeaf,
    TupleNode,
)
from gradxform.errors import ArgumentError


@pytest.fixture(scope="module")
def identity() -> Recorder:
    """One float64 array of shape (3,), copied."""
    return native(EntrySpec((IN,), (), OUT))


# --------------------------------------------------------------------------------------------------------------- leaves


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
        ("complex", "complex128", (0j, complex(-0.0, -0.0), 1 + 2j, complex(float("nan"), 5e-324), complex(1, float("inf")))),
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
        ("float", 1j),
        ("complex", 1.0),
        ("complex", np.complex128(1j)),
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


