"""A writer of straight-line LLVM text with named exits, shared by the parts of the entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from gradxform.backend.python_abi import FUNCTIONS, REFERENCE_COUNT_BITS

LLVM_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("bool", "int8", "uint8"), "i8"),
        **dict.fromkeys(("int16", "uint16", "float16"), "i16"),
        **dict.fromkeys(("int32", "uint32"), "i32"),
        **dict.fromkeys(("int64", "uint64", "complex64"), "i64"),
        **{"float32": "float", "float64": "double", "complex128": "[2 x i64]"},
    }
)
"""How the entry point moves one element of a dtype; it never computes with it."""

LIKELY = '!prof !{!"branch_weights", i32 2000, i32 1}'
UNROLLED_SLOTS = 2
UNLIKELY = '!prof !{!"branch_weights", i32 1, i32 2000}'


def integer_array(values: tuple[int, ...]) -> str:
    return f"[{len(values)} x i64] [" + ", ".join(f"i64 {value}" for value in values) + "]"


def type_key(dtype: np.dtype, shape: tuple[int, ...]) -> str:
    return ".".join((dtype.name, *map(str, shape)))


class EntryWriter:
    """Collects the lines of one function, the module-level helpers it uses and the symbols it imports.

    All module-level names start with ``gx.``, values and labels with ``entry.`` and ``v``, and there are neither
    attribute groups nor numbered metadata, so that the text can stand beside any kernel's.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.helpers: dict[str, str] = {}
        self.functions: dict[str, None] = {}
        self.objects: dict[str, None] = {}
        self._count = 0

    def _fresh(self) -> int:
        self._count += 1
        return self._count

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def value(self, expression: str) -> str:
        name = f"%v{self._fresh()}"
        self.lines.append(f"  {name} = {expression}")
        return name

    def slot(self, slot_type: str, alignment: int) -> str:
        """A stack slot of the function, allocated once at its start."""
        name = f"%slot{len(self.slots)}"
        self.slots.append(f"  {name} = alloca {slot_type}, align {alignment}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def fresh_label(self, stem: str) -> str:
        return f"{stem}.{self._fresh()}"

    def require(self, condition: str, otherwise: str) -> None:
        """Goes on where the condition holds and to a label where it does not, which is the rare case."""
        passed = self.fresh_label("entry.go")
        self.line(f"br i1 {condition}, label %{passed}, label %{otherwise}, {LIKELY}")
        self.label(passed)

    def object(self, name: str) -> str:
        """The address of an imported object or datum."""
        self.objects[name] = None
        return f"@gx.{name}"

    def function(self, name: str) -> str:
        """The name of an imported C function."""
        self.functions[name] = None
        return f"@gx.{name}"

    def call(self, name: str, arguments: str = "") -> str:
        """A call of a C function of CPython; the result's name, empty for void."""
        result, parameters = FUNCTIONS[name].split(" ", 1)
        callee = f"{result} {parameters}" if "..." in parameters else result
        expression = f"call {callee} {self.function(name)}({arguments})"
        if result == "void":
            self.line(expression)
            return ""
        return self.value(expression)

    def helper(self, name: str, text: str) -> str:
        """A module-level definition, emitted once per name."""
        self.helpers.setdefault(name, text)
        return f"@gx.{name}"

    def field(self, base: str, offset: int) -> str:
        return self.value(f"getelementptr i8, ptr {base}, i64 {offset}")

    def load_field(self, base: str, offset: int, field_type: str = "ptr") -> str:
        return self.value(f"load {field_type}, ptr {self.field(base, offset)}")

    def include(self, body: EntryWriter) -> None:
        """Takes over what the body of a helper needs in its module."""
        self.objects.update(body.objects)
        self.functions.update(body.functions)
        for name, text in body.helpers.items():
            self.helper(name, text)

    def equal(self, left_and_type: str, right: str) -> str:
        return self.value(f"icmp eq {left_and_type}, {right}")

    def own(self, name: str) -> None:
        """Takes a reference. In line, for it is frequent; giving one back calls CPython, which may have to destroy."""
        if REFERENCE_COUNT_BITS == 64:
            more = self.value(f"add i64 {self.value(f'load i64, ptr {name}')}, 1")
            self.line(f"store i64 {more}, ptr {name}")
            return
        count = self.value(f"load i32, ptr {name}")
        mortal = self.value(f"icmp sge i32 {count}, 0")
        more = self.value(f"add i32 {count}, {self.value(f'zext i1 {mortal} to i32')}")
        self.line(f"store i32 {more}, ptr {name}")

    def clear(self, slots: str, count: int) -> None:
        """Fills an array of slots with null."""
        if count <= UNROLLED_SLOTS:
            for position in range(count):
                self.line(f"store ptr null, ptr {self.field(slots, 8 * position)}")
            return
        slot, leave = self._start_loop(slots, count)
        self.line(f"store ptr null, ptr {slot}")
        leave()

    def release(self, slots: str, count: int) -> None:
        """Gives back the references in an array of slots, of which some may be null."""
        if count <= UNROLLED_SLOTS:
            for position in range(count):
                self.call("Py_DecRef", f"ptr {self.load_field(slots, 8 * position)}")
            return
        slot, leave = self._start_loop(slots, count)
        self.call("Py_DecRef", f"ptr {self.value(f'load ptr, ptr {slot}')}")
        leave()

    def _start_loop(self, slots: str, count: int) -> tuple[str, Callable[[], None]]:
        """A loop over slots: the name of the current one, and what ends the loop's body."""
        before, loop, after = (self.fresh_label(f"entry.loop.{stem}") for stem in ("start", "body", "end"))
        following = f"%next.{self._fresh()}"
        self.line(f"br label %{before}")
        self.label(before)
        self.line(f"br label %{loop}")
        self.label(loop)
        index = self.value(f"phi i64 [0, %{before}], [{following}, %{loop}]")

        def leave() -> None:
            self.line(f"{following} = add i64 {index}, 1")
            self.line(f"br i1 {self.equal(f'i64 {following}', str(count))}, label %{after}, label %{loop}")
            self.label(after)

        return self.value(f"getelementptr ptr, ptr {slots}, i64 {index}"), leave
