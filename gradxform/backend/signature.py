"""What a native entry point accepts and returns: the specialised pytree of one signature, as frozen data.

An :class:`EntrySpec` says which Python objects a compiled kernel takes, down to the dtype and shape of every array,
and which objects it builds from the kernel's outputs. `entry.emit_entry` turns it into LLVM text; arguments that do
not fit it are not an error there but the business of the next specialisation.

The kernel sees only leaves with data. Their order, for inputs and for outputs alike, is depth first: positional
arguments, then keyword arguments in the order of the specification, children of a node from left to right.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Hashable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from gradxform.data_class import data_class
from gradxform.errors import ArgumentError, DTypeError

MAXIMUM_RANK = 64

SUPPORTED_DTYPE_NAMES: tuple[str, ...] = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


def _canonical_dtype(dtype: np.dtype) -> np.dtype:
    """The one dtype object of its name: int64 is long and long long on some systems."""
    if not dtype.isnative:
        raise DTypeError(f"a native entry point takes dtypes in native byte order, not {dtype.str}")
    if dtype.name not in SUPPORTED_DTYPE_NAMES:
        raise DTypeError(f"a native entry point takes the dtypes {', '.join(SUPPORTED_DTYPE_NAMES)}, not {dtype}")
    return np.dtype(dtype.name)


def _checked_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > MAXIMUM_RANK or any(extent < 0 for extent in shape):
        raise ArgumentError(f"an array has at most {MAXIMUM_RANK} axes of non-negative extents, not {shape}")


def _interned(key: Hashable) -> Hashable:
    """The string object that Python code's own constants are, so that the emitted comparison ends at identity."""
    return sys.intern(key) if type(key) is str else key


def static_identity(value: Hashable) -> Hashable:
    """A key that two static objects share just when a `StaticLeaf` for one takes the other.

    They must be of the same type and equal; floats and complex numbers have the same bits, so that 0.0 and -0.0 are two
    values and a NaN is one, and tuples have items of which the same holds, so that (1,) is not (True,).
    """
    if type(value) is float:
        return float, struct.pack("=d", value)
    if type(value) is complex:
        return complex, struct.pack("=2d", value.real, value.imag)
    if type(value) is tuple:
        return tuple, tuple(map(static_identity, value))
    return type(value), value


@data_class(frozen=True, slots=True)
class ArrayLeaf:
    """Exactly an `np.ndarray` of this dtype and shape, C-contiguous, aligned, in native byte order. It is only read."""

    dtype: np.dtype
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", _canonical_dtype(self.dtype))
        _checked_shape(self.shape)


@data_class(frozen=True, slots=True)
class ScalarLeaf:
    """Exactly a Python bool, int (within int64), float or complex.

    The kernel gets a pointer to an i8, i64 or double, or to two doubles.
    """

    kind: Literal["bool", "int", "float", "complex"]

    def __post_init__(self) -> None:
        if self.kind not in ("bool", "int", "float", "complex"):
            raise ArgumentError(f"a scalar leaf is a bool, int, float or complex, not {self.kind!r}")


@data_class(frozen=True, slots=True)
class NumpyScalarLeaf:
    """Exactly a NumPy scalar of this dtype's own scalar type."""

    dtype: np.dtype

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", _canonical_dtype(self.dtype))


@data_class(frozen=True, slots=True)
class StaticLeaf:
    """The object of this key among the static objects, or one of the same type that equals it. The kernel does not see
    it.

    What equals is finer than ``==``, as `static_identity` says.
    """

    key: int


@data_class(frozen=True, slots=True)
class NoneNode:
    """None, a pytree without leaves."""


@data_class(frozen=True, slots=True)
class TupleNode:
    """Exactly a tuple of as many children."""

    children: tuple[Node, ...]


@data_class(frozen=True, slots=True)
class ListNode:
    """Exactly a list of as many children."""

    children: tuple[Node, ...]


@data_class(frozen=True, slots=True)
class DictNode:
    """Exactly a dict with these keys and no others, in any order; as an output, with its items inserted in this
    order."""

    keys: tuple[Hashable, ...]
    children: tuple[Node, ...]

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.children) or len(set(self.keys)) != len(self.keys):
            raise ArgumentError(f"a dict node needs one child for each distinct key, got keys {self.keys!r}")
        object.__setattr__(self, "keys", tuple(_interned(key) for key in self.keys))


@data_class(frozen=True, slots=True)
class OutputLeaf:
    """A fresh C-contiguous array; for shape () a NumPy scalar."""

    dtype: np.dtype
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", _canonical_dtype(self.dtype))
        _checked_shape(self.shape)


InputLeaf: TypeAlias = ArrayLeaf | ScalarLeaf | NumpyScalarLeaf
Node: TypeAlias = InputLeaf | OutputLeaf | StaticLeaf | NoneNode | TupleNode | ListNode | DictNode


@data_class(frozen=True, slots=True)
class EntrySpec:
    """One specialisation of one function.

    `positional` and `keywords` describe the call as it is written: an argument passed by name is another specification
    than the same argument passed by position; keywords match in any order. `outputs` is a tree whose leaves are
    `OutputLeaf`, or `StaticLeaf` for an object returned as it is. `capture_count` constant arrays follow the inputs.
    The kernel's scratch memory has `arena_bytes` bytes, aligned to 64. `release_gil` lets other threads run during the
    kernel (some 100 ns). `fast_math` says that products and quotients may be rounded otherwise than they are written.
    """

    positional: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]
    outputs: Node
    capture_count: int = 0
    arena_bytes: int = 0
    release_gil: bool = False
    fast_math: bool = False

    def __post_init__(self) -> None:
        names = [name for name, _ in self.keywords]
        if len(set(names)) != len(names):
            raise ArgumentError(f"a keyword is given twice in {names}")
        if self.capture_count < 0 or self.arena_bytes < 0:
            raise ArgumentError(f"negative capture count {self.capture_count} or arena size {self.arena_bytes}")
        for node in self.input_nodes:
            for inner in walk(node):
                if isinstance(inner, OutputLeaf):
                    raise ArgumentError(f"an output leaf stands among the arguments: {inner}")
        for inner in walk(self.outputs):
            if isinstance(inner, ArrayLeaf | ScalarLeaf | NumpyScalarLeaf):
                raise ArgumentError(f"an input leaf stands among the outputs: {inner}")
        object.__setattr__(self, "keywords", tuple((sys.intern(name), node) for name, node in self.keywords))

    @property
    def input_nodes(self) -> tuple[Node, ...]:
        return self.positional + tuple(node for _, node in self.keywords)


def walk(node: Node) -> Iterator[Node]:
    """The nodes of a tree, parents before children, children from left to right."""
    yield node
    if isinstance(node, TupleNode | ListNode | DictNode):
        for child in node.children:
            yield from walk(child)


def input_leaves(spec: EntrySpec) -> tuple[InputLeaf, ...]:
    """The leaves whose data pointers the kernel gets, in its order; the captured constants follow them."""
    nodes = (node for root in spec.input_nodes for node in walk(root))
    return tuple(node for node in nodes if isinstance(node, ArrayLeaf | ScalarLeaf | NumpyScalarLeaf))


def output_leaves(spec: EntrySpec) -> tuple[OutputLeaf, ...]:
    """The leaves that the kernel writes, in its order."""
    return tuple(node for node in walk(spec.outputs) if isinstance(node, OutputLeaf))
