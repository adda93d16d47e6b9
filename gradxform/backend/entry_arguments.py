"""The first half of an entry point: walk the arguments, compare them with the specification, collect data pointers.

Comparing may run Python code (the ``==`` of static objects and of dict keys), which may change the very lists and
dicts being walked. Therefore whatever is taken out of a list or dict is *pinned*: the entry point owns a reference to
it until it returns. The same references keep the arrays alive while the kernel runs without the GIL. And all structure
is walked before the first array struct is read, so that no Python code runs between that and the kernel.
"""

from __future__ import annotations

from collections import Counter

from gradxform.backend import numpy_abi, python_abi
from gradxform.backend.entry_text import LIKELY, UNLIKELY, EntryWriter, type_key
from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    EntrySpec,
    InputLeaf,
    ListNode,
    Node,
    NoneNode,
    NumpyScalarLeaf,
    ScalarLeaf,
    StaticLeaf,
    TupleNode,
    walk,
)

MISMATCH = "entry.mismatch"
MISMATCH_WITH_ERROR = "entry.mismatch.error"

_INLINED_CHECKS = 2


def pin_count(spec: EntrySpec) -> int:
    """How many references an entry point takes: one for every item of a list or dict."""
    return sum(
        len(node.children) for root in spec.input_nodes for node in walk(root) if isinstance(node, ListNode | DictNode)
    )


def _emit_array_check(writer: EntryWriter, leaf: ArrayLeaf, name: str, otherwise: str) -> None:
    """Goes on where the object is exactly such an array."""
    actual = writer.load_field(name, python_abi.TYPE_OFFSET)
    writer.require(writer.equal(f"ptr {actual}", writer.object("type.ndarray")), otherwise)
    rank = writer.load_field(name, numpy_abi.ARRAY_RANK_OFFSET, "i32")
    flags = writer.load_field(name, numpy_abi.ARRAY_FLAGS_OFFSET, "i32")
    kept = writer.value(f"and i32 {flags}, {numpy_abi.C_CONTIGUOUS_AND_ALIGNED}")
    layout = writer.equal(f"i32 {kept}", str(numpy_abi.C_CONTIGUOUS_AND_ALIGNED))
    ranked = writer.equal(f"i32 {rank}", str(len(leaf.shape)))
    writer.require(writer.value(f"and i1 {layout}, {ranked}"), otherwise)
    if leaf.shape:
        extents = writer.load_field(name, numpy_abi.ARRAY_DIMENSIONS_OFFSET)
        fits = "true"
        for axis, extent in enumerate(leaf.shape):
            equal = writer.equal(f"i64 {writer.load_field(extents, 8 * axis, 'i64')}", str(extent))
            fits = equal if axis == 0 else writer.value(f"and i1 {fits}, {equal}")
        writer.require(fits, otherwise)
    dtype = writer.load_field(name, numpy_abi.ARRAY_DTYPE_OFFSET)
    expected = writer.object(f"dtype.{leaf.dtype.name}")
    other, same = writer.fresh_label("entry.dtype.other"), writer.fresh_label("entry.dtype.same")
    writer.line(f"br i1 {writer.equal(f'ptr {dtype}', expected)}, label %{same}, label %{other}, {LIKELY}")
    # Unpickled arrays, for one, carry a dtype object of their own; and int64 is long and long long.
    writer.label(other)
    equivalent = writer.call("PyArray_EquivTypes", f"ptr {dtype}, ptr {expected}")
    writer.line(f"br i1 {writer.equal(f'i8 {equivalent}', '0')}, label %{otherwise}, label %{same}")
    writer.label(same)


def _array_check_text(writer: EntryWriter, leaf: ArrayLeaf) -> str:
    """The same as a function, for leaves of which there are many."""
    body = EntryWriter()
    _emit_array_check(body, leaf, "%object", "no")
    writer.include(body)
    lines = "\n".join(body.lines)
    return (
        f"define internal i1 @gx.match.{type_key(leaf.dtype, leaf.shape)}(ptr %object) noinline optnone {{\nstart:\n"
        f"{lines}\n  ret i1 true\nno:\n  ret i1 false\n}}"
    )


def _find_keyword_text() -> str:
    """The position of a name among the names of a call, or -1; identity first, as both are interned as a rule."""
    return f"""define internal i64 @gx.find.keyword(ptr %names, i64 %count, ptr %name) noinline optnone {{
start:
  %items = getelementptr i8, ptr %names, i64 {python_abi.TUPLE_ITEMS_OFFSET}
  br label %identity
identity:
  %i = phi i64 [0, %start], [%i.next, %identity.next]
  %i.left = icmp slt i64 %i, %count
  br i1 %i.left, label %identity.compare, label %equality
identity.compare:
  %i.item = getelementptr ptr, ptr %items, i64 %i
  %i.name = load ptr, ptr %i.item
  %i.same = icmp eq ptr %i.name, %name
  %i.next = add i64 %i, 1
  br i1 %i.same, label %found.identity, label %identity.next
identity.next:
  br label %identity
equality:
  %j = phi i64 [0, %identity], [%j.next, %equality.next]
  %j.left = icmp slt i64 %j, %count
  br i1 %j.left, label %equality.compare, label %missing
equality.compare:
  %j.item = getelementptr ptr, ptr %items, i64 %j
  %j.name = load ptr, ptr %j.item
  %j.order = call i32 @gx.PyUnicode_Compare(ptr %j.name, ptr %name)
  %j.same = icmp eq i32 %j.order, 0
  %j.next = add i64 %j, 1
  br i1 %j.same, label %found.equality, label %equality.next
equality.next:
  br label %equality
found.identity:
  ret i64 %i
found.equality:
  ret i64 %j
missing:
  ret i64 -1
}}"""


def _static_text() -> str:
    """Is an object the static one or its equal: 1 yes, 0 no, -1 when comparing raised.

    Floats and complex numbers are compared bit by bit and tuples item by item, types included: 0.0 == -0.0 and
    (1,) == (True,), but a program specialised on one is wrong for the other.
    """
    return f"""define internal i32 @gx.match.static(ptr %object, ptr %static) noinline optnone {{
  %identical = icmp eq ptr %object, %static
  br i1 %identical, label %yes, label %different
different:
  %object.field = getelementptr i8, ptr %object, i64 {python_abi.TYPE_OFFSET}
  %object.type = load ptr, ptr %object.field
  %static.field = getelementptr i8, ptr %static, i64 {python_abi.TYPE_OFFSET}
  %static.type = load ptr, ptr %static.field
  %same.type = icmp eq ptr %object.type, %static.type
  br i1 %same.type, label %alike, label %no
alike:
  %is.float = icmp eq ptr %static.type, @gx.type.float
  br i1 %is.float, label %bits, label %maybe.complex
maybe.complex:
  %is.complex = icmp eq ptr %static.type, @gx.type.complex
  br i1 %is.complex, label %parts, label %maybe.tuple
parts:
  %object.imag = getelementptr i8, ptr %object, i64 {python_abi.COMPLEX_VALUE_OFFSET + 8}
  %object.imag.bits = load i64, ptr %object.imag
  %static.imag = getelementptr i8, ptr %static, i64 {python_abi.COMPLEX_VALUE_OFFSET + 8}
  %static.imag.bits = load i64, ptr %static.imag
  %same.imag = icmp eq i64 %object.imag.bits, %static.imag.bits
  br i1 %same.imag, label %bits, label %no
bits:
  ; A float lies where the real part of a complex number does.
  %object.value = getelementptr i8, ptr %object, i64 {python_abi.FLOAT_VALUE_OFFSET}
  %object.bits = load i64, ptr %object.value
  %static.value = getelementptr i8, ptr %static, i64 {python_abi.FLOAT_VALUE_OFFSET}
  %static.bits = load i64, ptr %static.value
  %same.bits = icmp eq i64 %object.bits, %static.bits
  br i1 %same.bits, label %yes, label %no
maybe.tuple:
  %is.tuple = icmp eq ptr %static.type, @gx.type.tuple
  br i1 %is.tuple, label %sizes, label %compare
sizes:
  %object.size.field = getelementptr i8, ptr %object, i64 {python_abi.SIZE_OFFSET}
  %object.size = load i64, ptr %object.size.field
  %static.size.field = getelementptr i8, ptr %static, i64 {python_abi.SIZE_OFFSET}
  %static.size = load i64, ptr %static.size.field
  %same.size = icmp eq i64 %object.size, %static.size
  br i1 %same.size, label %items, label %no
items:
  %object.items = getelementptr i8, ptr %object, i64 {python_abi.TUPLE_ITEMS_OFFSET}
  %static.items = getelementptr i8, ptr %static, i64 {python_abi.TUPLE_ITEMS_OFFSET}
  br label %loop
loop:
  %i = phi i64 [0, %items], [%i.next, %matched]
  %i.left = icmp slt i64 %i, %static.size
  br i1 %i.left, label %item, label %yes
item:
  %object.item.field = getelementptr ptr, ptr %object.items, i64 %i
  %object.item = load ptr, ptr %object.item.field
  %static.item.field = getelementptr ptr, ptr %static.items, i64 %i
  %static.item = load ptr, ptr %static.item.field
  %item.answer = call i32 @gx.match.static(ptr %object.item, ptr %static.item)
  %item.same = icmp eq i32 %item.answer, 1
  br i1 %item.same, label %matched, label %differs
matched:
  %i.next = add i64 %i, 1
  br label %loop
differs:
  ret i32 %item.answer
compare:
  %equal = call i32 @gx.PyObject_RichCompareBool(ptr %object, ptr %static, i32 2)
  ret i32 %equal
yes:
  ret i32 1
no:
  ret i32 0
}}"""


class ArgumentEmitter:
    """Emits the checks of all arguments; afterwards `pointers` names each leaf's data, in the kernel's order."""

    def __init__(self, writer: EntryWriter, spec: EntrySpec, pins: str) -> None:
        self.writer = writer
        self.spec = spec
        self.pins = pins
        self.pinned = 0
        self.dict_keys = 0
        self.leaves: list[tuple[InputLeaf, str]] = []
        self.uses = Counter(node for root in spec.input_nodes for node in walk(root) if isinstance(node, ArrayLeaf))
        self.pointers: list[str] = []

    def emit(self) -> None:
        self._emit_counts()
        for position, node in enumerate(self.spec.positional):
            self._walk(node, self.writer.load_field("%args", 8 * position))
        for position, (_, node) in enumerate(self.spec.keywords):
            self._walk(node, self._keyword_value(position))
        # No Python code runs from here to the kernel.
        for leaf, name in self.leaves:
            self.pointers.append(self._leaf_pointer(leaf, name))

    def _emit_counts(self) -> None:
        writer = self.writer
        count = writer.value(f"and i64 %nargsf, {python_abi.ARGUMENTS_OFFSET_FLAG - 1}")
        writer.require(writer.equal(f"i64 {count}", str(len(self.spec.positional))), MISMATCH)
        has_names = writer.value("icmp ne ptr %kwnames, null")
        if not self.spec.keywords:
            named, unnamed = writer.fresh_label("entry.named"), writer.fresh_label("entry.unnamed")
            writer.line(f"br i1 {has_names}, label %{named}, label %{unnamed}, {UNLIKELY}")
            writer.label(named)
            size = writer.load_field("%kwnames", python_abi.SIZE_OFFSET, "i64")
            writer.line(f"br i1 {writer.equal(f'i64 {size}', '0')}, label %{unnamed}, label %{MISMATCH}")
            writer.label(unnamed)
            return
        writer.require(has_names, MISMATCH)
        size = writer.load_field("%kwnames", python_abi.SIZE_OFFSET, "i64")
        writer.require(writer.equal(f"i64 {size}", str(len(self.spec.keywords))), MISMATCH)

    def _keyword_value(self, position: int) -> str:
        writer = self.writer
        writer.function("PyUnicode_Compare")
        find = writer.helper("find.keyword", _find_keyword_text())
        name = writer.object(f"keyword.{position}")
        there = writer.load_field("%kwnames", python_abi.TUPLE_ITEMS_OFFSET + 8 * position)
        here, search, done = (writer.fresh_label(f"entry.keyword.{stem}") for stem in ("here", "search", "done"))
        writer.line(f"br i1 {writer.equal(f'ptr {there}', name)}, label %{here}, label %{search}, {LIKELY}")
        writer.label(search)
        found = writer.value(f"call i64 {find}(ptr %kwnames, i64 {len(self.spec.keywords)}, ptr {name})")
        missing = writer.value(f"icmp slt i64 {found}, 0")
        writer.line(f"br i1 {missing}, label %{MISMATCH}, label %{done}")
        writer.label(here)
        writer.line(f"br label %{done}")
        writer.label(done)
        index = writer.value(f"phi i64 [{position}, %{here}], [{found}, %{search}]")
        argument = writer.value(f"add i64 {index}, {len(self.spec.positional)}")
        return writer.value(f"load ptr, ptr {writer.value(f'getelementptr ptr, ptr %args, i64 {argument}')}")

    def _pin(self, name: str) -> None:
        writer = self.writer
        writer.own(name)
        writer.line(f"store ptr {name}, ptr {writer.field(self.pins, 8 * self.pinned)}")
        self.pinned += 1

    def _require_type(self, name: str, type_name: str) -> None:
        actual = self.writer.load_field(name, python_abi.TYPE_OFFSET)
        self.writer.require(self.writer.equal(f"ptr {actual}", self.writer.object(type_name)), MISMATCH)

    def _require_size(self, name: str, size: int) -> None:
        actual = self.writer.load_field(name, python_abi.SIZE_OFFSET, "i64")
        self.writer.require(self.writer.equal(f"i64 {actual}", str(size)), MISMATCH)

    def _walk(self, node: Node, name: str) -> None:
        writer = self.writer
        match node:
            case ArrayLeaf() | ScalarLeaf() | NumpyScalarLeaf():
                self.leaves.append((node, name))
            case NoneNode():
                writer.require(writer.equal(f"ptr {name}", writer.object("None")), MISMATCH)
            case StaticLeaf(key):
                writer.object("type.float")
                writer.object("type.complex")
                writer.object("type.tuple")
                writer.function("PyObject_RichCompareBool")
                match_static = writer.helper("match.static", _static_text())
                answer = writer.value(f"call i32 {match_static}(ptr {name}, ptr {writer.object(f'static.{key}')})")
                writer.require(writer.value(f"icmp sge i32 {answer}, 0"), MISMATCH_WITH_ERROR)
                writer.require(writer.equal(f"i32 {answer}", "1"), MISMATCH)
            case TupleNode(children):
                self._require_type(name, "type.tuple")
                self._require_size(name, len(children))
                for index, child in enumerate(children):
                    self._walk(child, writer.load_field(name, python_abi.TUPLE_ITEMS_OFFSET + 8 * index))
            case ListNode(children):
                self._require_type(name, "type.list")
                self._require_size(name, len(children))
                first = writer.load_field(name, python_abi.LIST_ITEMS_OFFSET)
                items = [writer.load_field(first, 8 * position) for position in range(len(children))]
                for item in items:
                    self._pin(item)
                for child, item in zip(children, items, strict=True):
                    self._walk(child, item)
            case DictNode(keys, children):
                self._require_type(name, "type.dict")
                self._require_size(name, len(children))
                items = []
                for _ in keys:
                    expected = writer.object(f"key.{self.dict_keys}")
                    self.dict_keys += 1
                    item = writer.call("PyDict_GetItemWithError", f"ptr {name}, ptr {expected}")
                    writer.require(writer.value(f"icmp ne ptr {item}, null"), MISMATCH_WITH_ERROR)
                    self._pin(item)
                    items.append(item)
                for child, item in zip(children, items, strict=True):
                    self._walk(child, item)
            case _:
                raise AssertionError(f"no argument is a {type(node).__name__}")

    def _leaf_pointer(self, leaf: InputLeaf, name: str) -> str:
        writer = self.writer
        match leaf:
            case ArrayLeaf(dtype, shape):
                if self.uses[leaf] <= _INLINED_CHECKS:
                    _emit_array_check(writer, leaf, name, MISMATCH)
                else:
                    check = writer.helper(f"match.{type_key(dtype, shape)}", _array_check_text(writer, leaf))
                    writer.require(writer.value(f"call i1 {check}(ptr {name})"), MISMATCH)
                return writer.load_field(name, numpy_abi.ARRAY_DATA_OFFSET)
            case NumpyScalarLeaf(dtype):
                self._require_type(name, f"scalar.{dtype.name}")
                return writer.field(name, numpy_abi.SCALAR_VALUE_OFFSET)
            case ScalarLeaf("float"):
                self._require_type(name, "type.float")
                value = writer.load_field(name, python_abi.FLOAT_VALUE_OFFSET, "double")
                return self._spilled("double", value, 8)
            case ScalarLeaf("complex"):
                self._require_type(name, "type.complex")
                return writer.field(name, python_abi.COMPLEX_VALUE_OFFSET)
            case ScalarLeaf("int"):
                self._require_type(name, "type.int")
                overflow = writer.slot("i32", 4)
                value = writer.call("PyLong_AsLongLongAndOverflow", f"ptr {name}, ptr {overflow}")
                flag = writer.value(f"load i32, ptr {overflow}")
                writer.require(writer.equal(f"i32 {flag}", "0"), MISMATCH)
                return self._spilled("i64", value, 8)
            case ScalarLeaf("bool"):
                is_true = writer.equal(f"ptr {name}", writer.object("True"))
                is_false = writer.equal(f"ptr {name}", writer.object("False"))
                writer.require(writer.value(f"or i1 {is_true}, {is_false}"), MISMATCH)
                return self._spilled("i8", writer.value(f"zext i1 {is_true} to i8"), 1)
            case _:
                raise AssertionError(f"no leaf is a {type(leaf).__name__}")

    def _spilled(self, slot_type: str, value: str, alignment: int) -> str:
        slot = self.writer.slot(slot_type, alignment)
        self.writer.line(f"store {slot_type} {value}, ptr {slot}, align {alignment}")
        return slot


def capture_pointers(writer: EntryWriter, spec: EntrySpec) -> list[str]:
    return [writer.object(f"capture.{position}") for position in range(spec.capture_count)]
