"""The second half of an entry point: allocate the outputs, and after the kernel build the result from them.

Every new object is kept in a slot of ``%objects`` until its parent owns it, so that one exit frees whatever is there.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from gradxform.backend import numpy_abi, output_memory, python_abi
from gradxform.backend.entry_text import LLVM_TYPES, EntryWriter, integer_array, type_key
from gradxform.backend.signature import (
    DictNode,
    EntrySpec,
    ListNode,
    Node,
    NoneNode,
    OutputLeaf,
    StaticLeaf,
    TupleNode,
    output_leaves,
    walk,
)

FAIL = "entry.fail"

_INLINED_ALLOCATIONS = 2

def object_count(spec: EntrySpec) -> int:
    """How many slots the results need: one for every node that is a new object."""
    return sum(isinstance(node, OutputLeaf | TupleNode | ListNode | DictNode) for node in walk(spec.outputs))


def is_large(dtype: np.dtype, shape: tuple[int, ...]) -> bool:
    """Whether a result gets its memory from `output_memory`."""
    return dtype.itemsize * math.prod(shape) >= output_memory.LARGE_BYTES


def _emit_new_array(writer: EntryWriter, dtype: np.dtype, shape: tuple[int, ...]) -> str:
    """A fresh array with unwritten contents; null with the error set where memory is exhausted."""
    extents = "extents." + ".".join(map(str, shape))
    writer.helper(extents, f"@gx.{extents} = private constant {integer_array(shape)}")
    descriptor = writer.object(f"dtype.{dtype.name}")
    writer.own(descriptor)
    return writer.call(
        output_memory.FUNCTION if is_large(dtype, shape) else "PyArray_NewFromDescr",
        f"ptr {writer.object('type.ndarray')}, ptr {descriptor}, i32 {len(shape)}, ptr @gx.{extents}, "
        "ptr null, ptr null, i32 0, ptr null",
    )


class ResultEmitter:
    """Emits allocation and construction; `pointers` names each output's data, in the kernel's order."""

    def __init__(self, writer: EntryWriter, spec: EntrySpec, objects: str, first_dict_key: int) -> None:
        self.writer = writer
        self.spec = spec
        self.objects = objects
        self.dict_keys = first_dict_key
        self.leaves = output_leaves(spec)
        self.uses = Counter((leaf.dtype, leaf.shape) for leaf in self.leaves)
        self.next_leaf = 0
        self.next_slot = len(self.leaves)
        self.arrays: list[str] = []
        self.pointers: list[str] = []

    def _keep(self, slot: int, name: str) -> None:
        self.writer.line(f"store ptr {name}, ptr {self.writer.field(self.objects, 8 * slot)}")

    def _require_object(self, name: str) -> None:
        self.writer.require(self.writer.value(f"icmp ne ptr {name}, null"), FAIL)

    def allocate(self) -> None:
        writer = self.writer
        for slot, leaf in enumerate(self.leaves):
            if leaf.shape == ():
                self.arrays.append("null")
                self.pointers.append(writer.slot(LLVM_TYPES[leaf.dtype.name], max(8, leaf.dtype.itemsize)))
                continue
            array = self._new_array(leaf.dtype, leaf.shape)
            self._require_object(array)
            self._keep(slot, array)
            self.arrays.append(array)
            self.pointers.append(writer.load_field(array, numpy_abi.ARRAY_DATA_OFFSET))

    def _new_array(self, dtype: np.dtype, shape: tuple[int, ...]) -> str:
        """A fresh array with unwritten contents."""
        writer = self.writer
        if self.uses[dtype, shape] <= _INLINED_ALLOCATIONS:
            return _emit_new_array(writer, dtype, shape)
        key = f"new.{type_key(dtype, shape)}"
        body = EntryWriter()
        result = _emit_new_array(body, dtype, shape)
        writer.include(body)
        lines = "\n".join(body.lines)
        helper = f"define internal ptr @gx.{key}() noinline optnone {{\n{lines}\n  ret ptr {result}\n}}"
        return writer.value(f"call ptr {writer.helper(key, helper)}()")

    def build(self) -> str:
        """The name of the result, an owned reference."""
        name, slot = self._build(self.spec.outputs)
        self._give(name, slot)
        return name

    def _give(self, name: str, slot: int | None) -> None:
        """Makes the reference the receiver's own."""
        if slot is None:
            self.writer.own(name)
        else:
            self._keep(slot, "null")

    def _build(self, node: Node) -> tuple[str, int | None]:
        """The object and the slot that owns it; no slot where it is borrowed."""
        writer = self.writer
        match node:
            case OutputLeaf(dtype, shape):
                slot = self.next_leaf
                self.next_leaf += 1
                if shape != ():
                    return self.arrays[slot], slot
                if dtype == np.bool_:
                    return self._boolean(self.pointers[slot]), None
                scalar = self._new_scalar(dtype, self.pointers[slot])
                self._keep(slot, scalar)
                return scalar, slot
            case NoneNode():
                return writer.object("None"), None
            case StaticLeaf(key):
                return writer.object(f"static.{key}"), None
            case TupleNode(children):
                parts = [self._build(child) for child in children]
                container, slot = self._new_container("PyTuple_New", len(children))
                self._fill(writer.field(container, python_abi.TUPLE_ITEMS_OFFSET), parts)
                return container, slot
            case ListNode(children):
                parts = [self._build(child) for child in children]
                container, slot = self._new_container("PyList_New", len(children))
                self._fill(writer.load_field(container, python_abi.LIST_ITEMS_OFFSET), parts)
                return container, slot
            case DictNode(_, children):
                return self._new_dict(children)
            case _:
                raise AssertionError(f"no result is a {type(node).__name__}")

    def _boolean(self, pointer: str) -> str:
        value = self.writer.value(f"load i8, ptr {pointer}")
        is_false = self.writer.equal(f"i8 {value}", "0")
        false, true = self.writer.object("numpy.False"), self.writer.object("numpy.True")
        return self.writer.value(f"select i1 {is_false}, ptr {false}, ptr {true}")

    def _new_scalar(self, dtype: np.dtype, pointer: str) -> str:
        writer = self.writer
        element = LLVM_TYPES[dtype.name]
        alignment = min(8, dtype.itemsize)
        value = writer.value(f"load {element}, ptr {pointer}, align {alignment}")
        allocator = writer.function(f"allocate.{dtype.name}")
        scalar = writer.value(f"call ptr {allocator}(ptr {writer.object(f'scalar.{dtype.name}')}, i64 0)")
        self._require_object(scalar)
        field = writer.field(scalar, numpy_abi.SCALAR_VALUE_OFFSET)
        writer.line(f"store {element} {value}, ptr {field}, align {alignment}")
        return scalar

    def _new_container(self, constructor: str, size: int | None) -> tuple[str, int]:
        container = self.writer.call(constructor, "" if size is None else f"i64 {size}")
        self._require_object(container)
        slot = self.next_slot
        self.next_slot += 1
        self._keep(slot, container)
        return container, slot

    def _fill(self, items: str, parts: list[tuple[str, int | None]]) -> None:
        for position, (name, slot) in enumerate(parts):
            self.writer.line(f"store ptr {name}, ptr {self.writer.field(items, 8 * position)}")
            self._give(name, slot)

    def _new_dict(self, children: tuple[Node, ...]) -> tuple[str, int]:
        writer = self.writer
        keys = [writer.object(f"key.{self.dict_keys + position}") for position in range(len(children))]
        self.dict_keys += len(children)
        parts = [self._build(child) for child in children]
        container, dict_slot = self._new_container("PyDict_New", None)
        for key, (name, slot) in zip(keys, parts, strict=True):
            status = writer.call("PyDict_SetItem", f"ptr {container}, ptr {key}, ptr {name}")
            writer.require(writer.equal(f"i32 {status}", "0"), FAIL)
            if slot is not None:
                self._keep(slot, "null")
                writer.call("Py_DecRef", f"ptr {name}")
        return container, dict_slot
