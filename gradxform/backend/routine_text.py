"""A writer of native routines as LLVM text: what a file of routines is written with.

A routine is one function. It gets the addresses of one element of each operand and result, and of its workspace, and
returns 0, or the number of a failure::

    define internal i64 @NAME(ptr %x0, ptr %x1, ptr %y0, ptr %workspace)

Its writer knows Fortran's way of calling: everything by address. Numbers and letters that a call needs are constants of
the module::

    w = RoutineWriter(operands=1, results=1)
    w.copy("%y0", "%x0", 8 * n * n)
    info = w.slot("i32")
    w.fortran("gx.lapack.dpotrf", w.letter("U"), w.integer(n), "%y0", w.integer(n), info)
    w.fail_unless_zero(info, 1, [("%y0", n * n)], "double")     fills the result with NaN and returns 1
    return w.text()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import cache

from gradxform.data_class import data_class
from gradxform.dtypes import DType
from gradxform.errors import CompileError

_NAN = "0x7FF8000000000000"
NAN = {"double": _NAN, "float": _NAN, "<2 x double>": f"<double {_NAN}, double {_NAN}>",
       "<2 x float>": f"<float {_NAN}, float {_NAN}>"}
_INTRINSICS = {
    "memcpy": "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
    "memset": "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
}
#: Rows and columns of the squares in which matrices are transposed.
SQUARE = 8


def element_type(dtype: DType) -> str:
    """How LLVM loads and stores a float, a complex number or an integer in a routine."""
    return {"float64": "double", "float32": "float", "complex128": "<2 x double>", "complex64": "<2 x float>",
            "int64": "i64", "int32": "i32", "bool": "i8"}[dtype.name]


@data_class(frozen=True, slots=True)
class RoutineText:
    """The body of a routine, and the lines of the module that it needs: declarations, constants, helper functions."""

    body: str
    parameters: str
    lines: tuple[str, ...]

    def function(self, name: str) -> str:
        return f"define internal i64 @{name}({self.parameters}) noinline nounwind {{\n{self.body}\n}}"


@data_class(slots=True)
class RoutineWriter:
    """Writes one function; see the top of this file."""

    operands: int
    results: int
    lines: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    globals: dict[str, None] = field(default_factory=dict)
    label: str = "start"
    count: int = 0

    # --------------------------------------------------------------------------------------------------- lines

    def line(self, text: str) -> None:
        self.lines.append(text)

    def value(self, text: str) -> str:
        """The name of what ``text`` computes."""
        self.count += 1
        self.lines.append(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def fresh_label(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def declare(self, line: str) -> None:
        """A line of the module: a declaration, a constant, a function."""
        self.globals[line] = None

    @contextmanager
    def loop(self, begin: int | str, end: int | str, step: int = 1) -> Iterator[str]:
        """The lines written inside run for each index from ``begin`` in steps, as long as it is less than ``end``."""
        head, body, done = (self.fresh_label(stem) for stem in ("head", "body", "done"))
        before = self.label
        self.line(f"br label %{head}")
        self.start(head)
        index = f"%i.{head}"
        place = len(self.lines)
        self.line("")
        self.line(f"br i1 {self.value(f'icmp slt i64 {index}, {end}')}, label %{body}, label %{done}")
        self.start(body)
        yield index
        following = self.value(f"add nsw i64 {index}, {step}")
        self.line(f"br label %{head}")
        self.lines[place] = f"{index} = phi i64 [{begin}, %{before}], [{following}, %{self.label}]"
        self.start(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """The lines written inside run where the i1 ``condition`` holds."""
        yes, done = self.fresh_label("yes"), self.fresh_label("done")
        self.line(f"br i1 {condition}, label %{yes}, label %{done}")
        self.start(yes)
        yield
        self.line(f"br label %{done}")
        self.start(done)

    # ----------------------------------------------------------------------------------------------- addresses

    def slot(self, slot_type: str, align: int = 8) -> str:
        """A place on the stack."""
        name = f"%slot{len(self.slots)}"
        self.slots.append(f"{name} = alloca {slot_type}, align {align}")
        return name

    def offset(self, pointer: str, index: int | str, kind: str) -> str:
        """The address of element ``index`` behind ``pointer``."""
        return pointer if index == 0 else self.value(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def integer(self, value: int) -> str:
        """The address of a constant of Fortran's type INTEGER, which has 32 bits."""
        if value >= 1 << 31:
            raise CompileError(f"LAPACK takes extents and sizes below 2**31, got {value}: the matrices are too large for it")
        name = f"@gx.integer.{value}" if value >= 0 else f"@gx.integer.minus{-value}"
        self.declare(f"{name} = private constant i32 {value}")
        return name

    def letter(self, letter: str) -> str:
        """The address of a constant of Fortran's type CHARACTER."""
        self.declare(f"@gx.letter.{letter} = private constant i8 {ord(letter)}")
        return f"@gx.letter.{letter}"

    def number(self, value: int, kind: str) -> str:
        """The address of a constant of type double, float, or of a complex type."""
        name = f"@gx.number.{kind.strip('<>').replace(' ', '')}.{value if value >= 0 else f'minus{-value}'}"
        text = f"<{kind[5:-1]} {value}.0, {kind[5:-1]} 0.0>" if kind.startswith("<") else f"{value}.0"
        self.declare(f"{name} = private constant {kind} {text}")
        return name

    # --------------------------------------------------------------------------------------------------- calls

    def fortran(self, symbol: str, *arguments: str) -> None:
        """Call the subroutine ``symbol`` (``gx.lapack.NAME``, ``gx.blas.NAME``) with addresses."""
        self.declare(f"declare void @{symbol}({', '.join(['ptr'] * len(arguments))}) nounwind")
        self.line(f"call void @{symbol}({', '.join(f'ptr {argument}' for argument in arguments)})")

    def helper(self, text: str, *arguments: str) -> None:
        """Call a helper function that returns nothing, defined by ``text``; arguments have their types."""
        for line in text.split("\n;;\n"):
            self.declare(line)
        name = text.rsplit("@", 1)[1] if text.startswith("declare") else text.split("@", 1)[1].split("(", 1)[0]
        self.line(f"call void @{name}({', '.join(arguments)})")

    def copy(self, to: str, source: str, count: int | str) -> None:
        """Copy bytes."""
        if count != 0:
            self.declare(_INTRINSICS["memcpy"])
            self.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {count}, i1 false)")

    def clear(self, to: str, count: int | str) -> None:
        """Set bytes to zero."""
        if count != 0:
            self.declare(_INTRINSICS["memset"])
            self.line(f"call void @llvm.memset.p0.i64(ptr {to}, i8 0, i64 {count}, i1 false)")

    def transpose(self, to: str, source: str, rows: int, columns: int, kind: str) -> None:
        """``to`` (columns, rows) becomes the transpose of ``source`` (rows, columns), both contiguous."""
        if rows == 1 or columns == 1:
            self.copy(to, source, rows * columns * _BYTES[kind])
        elif rows * columns:
            self.helper(_transpose_text(kind), f"ptr {to}", f"ptr {source}", f"i64 {rows}", f"i64 {columns}")

    def turn(self, matrix: str, extent: int, kind: str) -> None:
        """Transpose a square matrix where it lies."""
        if extent > 1:
            self.helper(_turn_text(kind), f"ptr {matrix}", f"i64 {extent}")

    def fill(self, to: str, count: int | str, value: str, kind: str) -> None:
        """Store ``value`` ``count`` times."""
        with self.loop(0, count) as i:
            self.line(f"store {kind} {value}, ptr {self.offset(to, i, kind)}, align {_align(kind)}")

    def clear_upper(self, matrix: str, rows: int, columns: int, kind: str) -> None:
        """Set what lies above the diagonal to zero."""
        size = _BYTES[kind]
        with self.loop(0, min(rows, columns - 1)) as i:
            first = self.value(f"mul nsw i64 {i}, {columns + 1}")
            self.clear(self.offset(self.offset(matrix, first, kind), 1, kind),
                       self.value(f"mul nsw i64 {self.value(f'sub nsw i64 {columns - 1}, {i}')}, {size}"))

    def clear_lower(self, matrix: str, rows: int, columns: int, kind: str) -> None:
        """Set what lies below the diagonal to zero."""
        size = _BYTES[kind]
        with self.loop(1, rows) as i:
            short = self.value(f"icmp slt i64 {i}, {columns}")
            count = self.value(f"select i1 {short}, i64 {i}, i64 {columns}")
            self.clear(self.offset(matrix, self.value(f"mul nsw i64 {i}, {columns}"), kind),
                       self.value(f"mul nsw i64 {count}, {size}"))

    def fail_unless_zero(self, info: str, code: int, filled: Sequence[tuple[str, int]], kind: str) -> None:
        """Where the i32 at ``info`` is not 0, fill results with NaN and return ``code``."""
        found = self.value(f"load i32, ptr {info}")
        self.fail_if(self.value(f"icmp ne i32 {found}, 0"), code, filled, kind)

    def fail_if(self, condition: str, code: int, filled: Sequence[tuple[str, int]], kind: str) -> None:
        """Where the i1 ``condition`` holds, fill results, given as address and count, with NaN and return ``code``."""
        bad, good = self.fresh_label("bad"), self.fresh_label("good")
        self.line(f"br i1 {condition}, label %{bad}, label %{good}")
        self.start(bad)
        for pointer, count in filled:
            self.fill(pointer, count, NAN[kind], kind)
        self.line(f"ret i64 {code}")
        self.start(good)

    def text(self) -> RoutineText:
        """The routine, which returns 0 here."""
        parameters = ", ".join([*(f"ptr noalias readonly %x{i}" for i in range(self.operands)),
                                *(f"ptr noalias %y{i}" for i in range(self.results)), "ptr noalias %workspace"])
        body = "\n".join(["start:", *self.slots, *self.lines, "ret i64 0"])
        return RoutineText(body, parameters, tuple(self.globals))


_BYTES = {"double": 8, "float": 4, "<2 x double>": 16, "<2 x float>": 8, "i64": 8, "i32": 4, "i8": 1}


def _function(name: str, parameters: str, writer: RoutineWriter) -> str:
    assert not writer.globals and not writer.slots
    body = "\n".join(["start:", *writer.lines, "ret void"])
    return f"define internal void @{name}({parameters}) noinline nounwind {{\n{body}\n}}"


def _align(kind: str) -> int:
    return min(_BYTES[kind], 8)


def _stem(kind: str) -> str:
    return kind.strip("<>").replace(" ", "")


@cache
def _transpose_text(kind: str) -> str:
    """to[j, i] = from[i, j], square by square."""
    w = RoutineWriter(0, 0)

    def end(begin: str, extent: str) -> str:
        reach = w.value(f"add nsw i64 {begin}, {SQUARE}")
        inside = w.value(f"icmp slt i64 {reach}, {extent}")
        return w.value(f"select i1 {inside}, i64 {reach}, i64 {extent}")

    with w.loop(0, "%columns", SQUARE) as column_block, w.loop(0, "%rows", SQUARE) as row_block:
        last_column, last_row = end(column_block, "%columns"), end(row_block, "%rows")
        with w.loop(column_block, last_column) as j, w.loop(row_block, last_row) as i:
            source = w.value(f"add nsw i64 {w.value(f'mul nsw i64 {i}, %columns')}, {j}")
            target = w.value(f"add nsw i64 {w.value(f'mul nsw i64 {j}, %rows')}, {i}")
            found = w.value(f"load {kind}, ptr {w.offset('%from', source, kind)}, align {_align(kind)}")
            w.line(f"store {kind} {found}, ptr {w.offset('%to', target, kind)}, align {_align(kind)}")
    return _function(f"gx.transpose.{_stem(kind)}", "ptr noalias %to, ptr noalias %from, i64 %rows, i64 %columns", w)


@cache
def _turn_text(kind: str) -> str:
    """a[i, j] and a[j, i] change places, square by square."""
    w = RoutineWriter(0, 0)
    with w.loop(0, "%extent", SQUARE) as block:
        reach = w.value(f"add nsw i64 {block}, {SQUARE}")
        inside = w.value(f"icmp slt i64 {reach}, %extent")
        last = w.value(f"select i1 {inside}, i64 {reach}, i64 %extent")
        with w.loop(0, last, SQUARE) as other, w.loop(block, last) as i:
            beyond = w.value(f"add nsw i64 {other}, {SQUARE}")
            below = w.value(f"icmp slt i64 {beyond}, {i}")
            with w.loop(other, w.value(f"select i1 {below}, i64 {beyond}, i64 {i}")) as j:
                places = [w.offset("%matrix", w.value(f"add nsw i64 {w.value(f'mul nsw i64 {a}, %extent')}, {b}"), kind)
                          for a, b in ((i, j), (j, i))]
                found = [w.value(f"load {kind}, ptr {place}, align {_align(kind)}") for place in places]
                for place, element in zip(places, reversed(found), strict=True):
                    w.line(f"store {kind} {element}, ptr {place}, align {_align(kind)}")
    return _function(f"gx.turn.{_stem(kind)}", "ptr noalias %matrix, i64 %extent", w)
