"""Blocked algorithms for triangles of real numbers: systems of equations, and Cholesky's decomposition.

Each halves the extent until `triangle_text` has functions for what is left. What joins the halves is a product of matrices
(see gemm), and takes nearly all of the time:

    M X = B       X1 from M11 ;  B2 -= M21 X1 ;  X2 from M22
    A = L L^T     L11 of A11 ;  L21 L11^T = A21 ;  A22 -= L21 L21^T ;  L22 of A22

The first part has the largest power of two times a leaf, so that there are few different extents. All are known when the
text is written: each step for each extent is a short function with records of products, some dozens for a thousand rows.
Right-hand sides are shared among threads. Bits depend on the operands alone, as those of products do.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradxform.backend import gemm
from gradxform.backend.gemm import Strides
from gradxform.backend.routine_text import RoutineWriter, element_type
from gradxform.backend.triangle_text import LEAF
from gradxform.data_class import data_class
from gradxform.dtypes import DType

#: Of a triangle on the diagonal that is updated, at most so many rows as a whole square.
SQUARE = 64
#: Right-hand sides of a chunk, at least, and multiply-adds. Each chunk packs what it shares with others, and reads the
#: triangle again, so more than two of them are wide.
CHUNK_COLUMNS, WIDE_COLUMNS, CHUNK_WORK = 96, 192, 1 << 20
MAX_CHUNKS = 16


@data_class(frozen=True, slots=True)
class Layout:
    """Where things lie, in elements: M (i, j) at i * row + j * step, X (i, c) at i * line + c * across.

    ``across`` is 1, or else ``line`` is 1 or -1. A diagonal of M that is ``unit`` is not read.
    """

    row: int
    step: int
    line: int
    across: int
    unit: bool

    @property
    def turned(self) -> bool:
        return self.across != 1


def first_part(n: int) -> int:
    """The rows of the first part of ``n`` rows, more than a leaf."""
    return LEAF << (((n - 1) // LEAF).bit_length() - 1)


def _chunks(n: int, count: int) -> int:
    """Into how many chunks right-hand sides are cut: a power of two is shared evenly by most numbers of threads."""
    most = min(MAX_CHUNKS, max(count // WIDE_COLUMNS, min(2, count // CHUNK_COLUMNS)), n * n * count // (2 * CHUNK_WORK))
    return 1 << max(0, most.bit_length() - 1)


def _name(*parts: object) -> str:
    return ".".join(str(part).replace("-", "minus") for part in parts)


class Blocks:
    """Writes functions into the module of a routine; `workspace` is how many elements they need."""

    def __init__(self, w: RoutineWriter, dtype: DType) -> None:
        self.w, self.dtype, self.kind = w, dtype, element_type(dtype)
        self.workspace = 0
        self.room: dict[str, int] = {}

    # ------------------------------------------------------------------------------------------------ functions

    def external(self, function: str, result: str, *types: str) -> str:
        symbol = f"gx.triangle.{function}.{self.dtype.name}"
        self.w.declare(f"declare {result} @{symbol}({', '.join(types)})")
        return symbol

    def function(self, name: str, parameters: str, lines: Sequence[str], room: int, result: str = "void") -> str:
        """A function of the module; it needs ``room`` elements of workspace.

        It runs once per product and longer, and is compiled as it stands in half of the time.
        """
        self.room[name] = room
        body = "\n".join(["start:", *lines])
        self.w.declare(f"define internal {result} @{name}({parameters}) noinline optnone nounwind {{\n{body}\n}}")
        return name

    def product(self, rows: int, inner: int, columns: int, left: Strides, right: Strides, width: int) -> tuple[str, int]:
        """The record of what subtracts a product from a matrix, and the workspace that it takes."""
        plan = gemm.plan(rows, inner, columns, 1, left, right, Strides(width, 1, 0), self.dtype, adds=-1)
        for function in plan.functions:
            self.w.declare(f"declare void @{function}()")
        self.w.declare(f"declare void @gx.gemm.{self.dtype.name}(ptr, ptr, ptr, ptr, ptr)")
        counts = f"[{len(plan.numbers)} x i64]", f"[{len(plan.functions)} x ptr]"
        numbers = ", ".join(f"i64 {number}" for number in plan.numbers)
        functions = ", ".join(f"ptr @{function}" for function in plan.functions)
        name = _name("gx.subtract", self.kind, rows, inner, columns, left.across, left.along, right.across, right.along, width)
        self.w.declare(f"@{name} = private unnamed_addr constant {{ {', '.join(counts)} }} "
                       f"{{ {counts[0]} [{numbers}], {counts[1]} [{functions}] }}, align 8")
        return name, plan.workspace

    def multiply(self, record: str, left: str, right: str, result: str) -> str:
        return (f"call void @gx.gemm.{self.dtype.name}(ptr @{record}, ptr {left}, ptr {right}, ptr {result}, ptr %work)")

    def at(self, name: str, pointer: str, elements: int) -> str:
        return f"%{name} = getelementptr {self.kind}, ptr {pointer}, i64 {elements}"

    # ---------------------------------------------------------------------------------------- triangular systems

    def solve(self, n: int, count: int, layout: Layout) -> str:
        """The function ``void (m, x, work)`` that solves M X = B for ``count`` columns, in place."""
        chunks = _chunks(n, count)
        name = _name("gx.shared" if chunks > 1 else "gx.solve", self.kind, n, count, *(
            layout.row, layout.step, layout.line, layout.across, int(layout.unit)))
        if name in self.room:
            return name
        if count == 1 and abs(layout.line) == 1 and not layout.turned:
            vector = self.external("vector", "void", "ptr", "i64", "i64", "ptr", "i64", "i64", "i64")
            return self.function(name, "ptr %m, ptr %x, ptr %work", [
                f"call void @{vector}(ptr %m, i64 {layout.row}, i64 {layout.step}, ptr %x, i64 {layout.line}, i64 {n}, "
                f"i64 {int(layout.unit)})", "ret void"], 0)
        if chunks > 1:
            return self.shared(name, n, count, layout, chunks)
        return self.halved(name, n, count, layout)

    def shared(self, name: str, n: int, count: int, layout: Layout, chunks: int) -> str:
        """Chunks of columns, in parallel."""
        # Whole vectors, also of the strips.
        unit = 16 if self.kind == "float" else 8
        share = -(-count // (chunks * unit)) * unit
        chunks = -(-count // share)
        last = count - share * (chunks - 1)
        functions = [self.halved(_name(name, "part", columns), n, columns, layout) for columns in (share, last)]
        room = -(-max(self.room[function] for function in functions) // 16) * 16
        lines = [f"%a{i} = getelementptr ptr, ptr %context, i64 {i}\n%p{i} = load ptr, ptr %a{i}" for i in range(3)]
        lines += [f"%column = mul i64 %chunk, {share * layout.across}", f"%x = getelementptr {self.kind}, ptr %p1, i64 %column",
                  f"%own = mul i64 %chunk, {room}", f"%work = getelementptr {self.kind}, ptr %p2, i64 %own",
                  f"%last = icmp eq i64 %chunk, {chunks - 1}",
                  f"%function = select i1 %last, ptr @{functions[1]}, ptr @{functions[0]}",
                  "call void %function(ptr %p0, ptr %x, ptr %work)", "ret void"]
        chunk = self.function(_name(name, "chunk"), "ptr %context, i64 %chunk", lines, 0)
        self.w.declare("declare void @gx.parallel(ptr, ptr, i64)")
        lines = ["%context = alloca [3 x ptr], align 8"]
        lines += [f"%a{i} = getelementptr ptr, ptr %context, i64 {i}\nstore ptr {pointer}, ptr %a{i}"
                  for i, pointer in enumerate(("%m", "%x", "%work"))]
        lines += [f"call void @gx.parallel(ptr @{chunk}, ptr %context, i64 {chunks})", "ret void"]
        return self.function(name, "ptr %m, ptr %x, ptr %work", lines, room * chunks)

    def halved(self, name: str, n: int, count: int, layout: Layout) -> str:
        if name in self.room:
            return name
        row, step, line, across = layout.row, layout.step, layout.line, layout.across
        parameters = "ptr %m, ptr %x, ptr %work"
        if n <= LEAF:
            given, end = f"ptr %m, i64 {row}, i64 {step}, ptr %x, i64 {line}, ", f"i64 {n}, i64 {count}, i64 {int(layout.unit)}"
            types = ("ptr", "i64", "i64", "ptr", *["i64"] * (5 if layout.turned else 4))
            leaf = self.external("turned" if layout.turned else "solve", "void", *types)
            middle = f"i64 {across}, " if layout.turned else ""
            return self.function(name, parameters, [f"call void @{leaf}({given}{middle}{end})", "ret void"], 0)
        first = first_part(n)
        rest = n - first
        parts = [self.halved(_name("gx.solve", self.kind, size, count, row, step, line, across, int(layout.unit)), size, count,
                             layout) for size in (first, rest)]
        lines = [f"call void @{parts[0]}(ptr %m, ptr %x, ptr %work)", self.at("below", "%m", first * row),
                 self.at("others", "%x", first * line)]
        if not layout.turned:
            record, room = self.product(rest, first, count, Strides(row, step, 0), Strides(1, line, 0), line)
            lines.append(self.multiply(record, "%below", "%x", "%others"))
        elif line == 1:
            record, room = self.product(count, first, rest, Strides(across, line, 0), Strides(row, step, 0), across)
            lines.append(self.multiply(record, "%x", "%below", "%others"))
        else:
            # From the last row of M and column of X, which lie first in memory.
            record, room = self.product(count, first, rest, Strides(across, line, 0), Strides(-row, step, 0), across)
            lines += [self.at("end", "%below", (rest - 1) * row), self.at("begin", "%others", (rest - 1) * line),
                      self.multiply(record, "%x", "%end", "%begin")]
        lines += [self.at("corner", "%below", first * step), f"call void @{parts[1]}(ptr %corner, ptr %others, ptr %work)",
                  "ret void"]
        return self.function(name, parameters, lines, max(room, *(self.room[part] for part in parts)))

    # --------------------------------------------------------------------------------- Cholesky's decomposition

    def lower_product(self, n: int, inner: int, left: Strides, right: Strides, width: int, upper: bool) -> str:
        """The function ``void (left, right, result, work)`` that subtracts a product from a triangle on the diagonal.

        It computes some elements of the other triangle, too. ``right`` and ``left`` are factors of the lower one.
        """
        name = _name("gx.lower", self.kind, n, inner, left.across, left.along, right.across, right.along, width, int(upper))
        if name in self.room:
            return name
        parameters = "ptr %left, ptr %right, ptr %result, ptr %work"
        if n <= SQUARE:
            record, room = self.product(n, inner, n, left, right, width)
            return self.function(name, parameters, [self.multiply(record, "%left", "%right", "%result"), "ret void"], room)
        first = first_part(n)
        rest = n - first
        parts = [self.lower_product(size, inner, left, right, width, upper) for size in (first, rest)]
        rows, columns = (first, rest) if upper else (rest, first)
        record, room = self.product(rows, inner, columns, left, right, width)
        lines = [self.at("left2", "%left", first * left.across), self.at("right2", "%right", first * right.across),
                 self.at("corner", "%result", first * (width + 1)),
                 self.at("beside", "%result", first * (1 if upper else width)),
                 f"call void @{parts[0]}(ptr %left, ptr %right, ptr %result, ptr %work)",
                 self.multiply(record, "%left" if upper else "%left2", "%right2" if upper else "%right", "%beside"),
                 f"call void @{parts[1]}(ptr %left2, ptr %right2, ptr %corner, ptr %work)", "ret void"]
        return self.function(name, parameters, lines, max(room, *(self.room[part] for part in parts)))

    def factor(self, n: int, lead: int, upper: bool) -> str:
        """The function ``i64 (a, work)`` that replaces one triangle by the factor; 1: not positive definite."""
        name = _name("gx.factor", self.kind, n, lead, int(upper))
        if name in self.room:
            return name
        row, step = (1, lead) if upper else (lead, 1)
        if n <= LEAF:
            leaf = self.external("factor", "i64", "ptr", "i64", "i64", "i64")
            return self.function(name, "ptr %a, ptr %work", [
                f"%code = call i64 @{leaf}(ptr %a, i64 {row}, i64 {step}, i64 {n})", "ret i64 %code"], 0, "i64")
        first = first_part(n)
        rest = n - first
        parts = [self.factor(size, lead, upper) for size in (first, rest)]
        solve = self.solve(first, rest, Layout(row, step, step, row, False))
        across = Strides(row, step, 0)
        update = self.lower_product(rest, first, across, across, lead, upper)
        lines = [f"%code = call i64 @{parts[0]}(ptr %a, ptr %work)", "%bad = icmp ne i64 %code, 0",
                 "br i1 %bad, label %fail, label %go", "fail:", "ret i64 %code", "go:", self.at("below", "%a", first * row),
                 self.at("corner", "%a", first * (lead + 1)), f"call void @{solve}(ptr %a, ptr %below, ptr %work)",
                 f"call void @{update}(ptr %below, ptr %below, ptr %corner, ptr %work)",
                 f"%other = call i64 @{parts[1]}(ptr %corner, ptr %work)", "ret i64 %other"]
        return self.function(name, "ptr %a, ptr %work", lines,
                             max(self.room[used] for used in (*parts, solve, update)), "i64")
