"""Matrix products as LLVM text: the tile kernel, and the driver that walks over tiles.

    product   for each block of panels:
                  for each slice of the inner extent: pack the right operand's panels        in parallel
                      for each block of tiles, for each panel, for each tile: kernel         in parallel
    kernel    a tile of a few rows times a panel of a few vectors of columns, over one slice, in registers

The left operand is always read where it lies, whatever its strides: a kernel spreads single elements of it. So is the right
one where that is as fast, and then there is but one step, in which the slices are the outermost loop.

The text knows no shapes: all of them stand in a record, `FIELDS`, that `gemm.plan` makes. Within a slice each element of
the result is one chain of additions in the order of the inner index, and the sums of slices are added in order, whatever
the tiles, blocks and threads. So the bits depend on the operands only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradxform.data_class import data_class

if TYPE_CHECKING:
    from collections.abc import Iterator


@data_class(frozen=True, slots=True)
class Geometry:
    """Of tiles: ``rows`` at most, ``vectors`` of ``lanes`` columns at most."""

    element: str
    lanes: int
    rows: int
    vectors: int

    @property
    def item_bytes(self) -> int:
        return 8 if self.element == "double" else 4

    @property
    def group(self) -> int:
        """How many elements packing moves at a time; divides ``lanes`` and ``rows``."""
        return min(self.lanes, self.rows)


#: Of both operands: strides across lines, along the inner extent, from matrix to matrix; units (rows, or vectors of columns)
#: of a small part (tile, or panel), how many parts, how many have one unit more, and how many make a block. Of the right
#: one also whether it is packed, and its extent across. ``adds`` is 0, or, if the product is added to what is in the result,
#: its sign.
_PARTS = ("across", "along", "batch", "small", "parts", "larger", "block")
FIELDS = (
    *(f"{side}.{name}" for side in ("left", "right") for name in _PARTS), "packs", "right.extent", "result.row",
    "result.batch", "inner", "slice", "batch", "batch.chunks", "workspace", "pack.chunks", "row.chunks", "column.chunks",
    "adds",
)
#: Behind the fields: kernels for the smaller and the larger tiles and panels, and what packs a panel.
KERNELS = 4
PACKER = KERNELS
LINE_BYTES = 64
#: What chunks share: pointers, then the range of the inner index, and the first panel and their number.
_STATE = ("record", "left", "right", "result", "work", "begin", "end", "panel", "panels")
_STATE_POINTERS = 5


class TextWriter:
    """Lines of one function."""

    def __init__(self, element: str = "") -> None:
        self.element = element
        self.lines: list[str] = []
        self.counter = 0
        self.label = "start"

    def name(self, stem: str = "t") -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def let(self, text: str) -> str:
        found = f"%{self.name()}"
        self.lines.append(f"{found} = {text}")
        return found

    def do(self, text: str) -> None:
        self.lines.append(text)

    def at(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def go(self, label: str) -> None:
        self.lines.append(f"br label %{label}")

    def branch(self, test: str, yes: str, no: str) -> None:
        self.lines.append(f"br i1 {test}, label %{yes}, label %{no}")

    def add(self, a: str, b: str) -> str:
        return self.let(f"add i64 {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return self.let(f"mul i64 {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.let(f"sub i64 {a}, {b}")

    def least(self, a: str, b: str) -> str:
        return self.let(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    def moved(self, pointer: str, elements: str | int) -> str:
        return self.let(f"getelementptr {self.element}, ptr {pointer}, i64 {elements}")

    def word(self, record: str, position: int) -> str:
        return self.let(f"load i64, ptr {self.let(f'getelementptr i64, ptr {record}, i64 {position}')}")

    def pointer(self, record: str, position: int) -> str:
        return self.let(f"load ptr, ptr {self.let(f'getelementptr i64, ptr {record}, i64 {position}')}")

    def put(self, kind: str, value: str, record: str, position: int) -> None:
        self.do(f"store {kind} {value}, ptr {self.let(f'getelementptr i64, ptr {record}, i64 {position}')}")

    @contextmanager
    def loop(self, begin: str, end: str, step: str = "1") -> Iterator[str]:
        """Lines for each value from ``begin`` below ``end``."""
        body, done, index = self.name("loop"), self.name("done"), f"%{self.name('i')}"
        before = self.label
        self.branch(self.let(f"icmp slt i64 {begin}, {end}"), body, done)
        self.at(body)
        place = len(self.lines)
        self.do("")
        yield index
        following = self.add(index, step)
        self.lines[place] = f"{index} = phi i64 [{begin}, %{before}], [{following}, %{self.label}]"
        self.branch(self.let(f"icmp slt i64 {following}, {end}"), body, done)
        self.at(done)

    def either(self, test: str, yes: Callable[[], None], no: Callable[[], None]) -> None:
        first, second, done = self.name("yes"), self.name("no"), self.name("join")
        self.branch(test, first, second)
        for label, body in ((first, yes), (second, no)):
            self.at(label)
            body()
            self.go(done)
        self.at(done)

    def function(self, head: str, fast: bool = True) -> str:
        """The function. What runs once per block need not be fast: compiling it as it stands takes a fifth of the time."""
        body = "\n".join(["start:", *self.lines])
        kind = "" if fast else "noinline optnone "
        return f'define {head} {kind}nounwind "prefer-vector-width"="512" {{\n{body}\n}}'


def vector_type(element: str, lanes: int) -> tuple[str, str]:
    """The type of a vector, and its name in the names of intrinsic functions."""
    return f"<{lanes} x {element}>", f"v{lanes}f{64 if element == 'double' else 32}"


def masks(element: str, lanes: int) -> list[str]:
    vector, name = vector_type(element, lanes)
    return [f"declare {vector} @llvm.masked.load.{name}.p0(ptr, i32, <{lanes} x i1>, {vector})",
            f"declare void @llvm.masked.store.{name}.p0({vector}, ptr, i32, <{lanes} x i1>)"]


def first_lanes(writer: TextWriter, lanes: int, count: str) -> str:
    """The mask of the first ``count`` lanes."""
    kind = f"<{lanes} x i64>"
    start = writer.let(f"insertelement {kind} poison, i64 {count}, i32 0")
    spread = writer.let(f"shufflevector {kind} {start}, {kind} poison, <{lanes} x i32> zeroinitializer")
    numbers = ", ".join(f"i64 {lane}" for lane in range(lanes))
    return writer.let(f"icmp sgt {kind} {spread}, <{numbers}>")


def kernel_text(geometry: Geometry, rows: int, vectors: int, name: str) -> str:
    """The module of one kernel: ``rows`` of the left operand times ``vectors`` of columns of the right one.

        void name(left, row, step, right, line, result, width, depth, adds, tail)

    The left element (r, k) lies at r * row + k * step, the right line k at k * line, line r of the result at r * width;
    ``depth`` is at least 1. Of the last vector of columns only the first ``tail`` lanes are stored. Unless ``adds`` is 0 the
    sums, times that number, are added to what is in the result.
    """
    element, lanes, size = geometry.element, geometry.lanes, geometry.item_bytes
    vector, kind = vector_type(element, lanes)
    writer = TextWriter(element)
    tile = [(row, column) for row in range(rows) for column in range(vectors)]
    left = ["%left"]
    for _ in range(rows - 1):
        left.append(writer.moved(left[-1], "%row"))
    mask = first_lanes(writer, lanes, "%tail")

    def places() -> Iterator[tuple[int, int, str]]:
        line = "%result"
        for row, column in tile:
            if row and not column:
                line = writer.moved(line, "%width")
            yield row, column, writer.moved(line, column * lanes) if column else line

    writer.do("%goes.on = icmp ne i64 %adds, 0")
    writer.branch("%goes.on", "ask", "enter")
    writer.at("ask")
    for _, column, place in places():
        if column * lanes * size % LINE_BYTES == 0:
            writer.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 1, i32 3, i32 1)")
    writer.go("enter")
    writer.at("enter")
    writer.go("sum")
    writer.at("sum")
    writer.do("%left.depth = phi i64 [%depth, %enter], [%left.next, %sum]")
    writer.do("%offset = phi i64 [0, %enter], [%offset.next, %sum]")
    writer.do("%panel = phi ptr [%right, %enter], [%panel.next, %sum]")
    for row, column in tile:
        writer.do(f"%sum{row}.{column} = phi {vector} [zeroinitializer, %enter], [%next{row}.{column}, %sum]")
    columns = []
    for column in range(vectors):
        place = writer.moved("%panel", column * lanes) if column else "%panel"
        columns.append(writer.let(f"load {vector}, ptr {place}, align {size}"))
    for row in range(rows):
        one = writer.let(f"load {element}, ptr {writer.moved(left[row], '%offset')}")
        one = writer.let(f"insertelement {vector} poison, {element} {one}, i32 0")
        one = writer.let(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")
        for column in range(vectors):
            writer.do(f"%next{row}.{column} = call {vector} @llvm.fmuladd.{kind}({vector} {one}, "
                      f"{vector} {columns[column]}, {vector} %sum{row}.{column})")
    writer.do("%offset.next = add i64 %offset, %step")
    writer.do(f"%panel.next = getelementptr {element}, ptr %panel, i64 %line")
    writer.do("%left.next = add nsw i64 %left.depth, -1")
    writer.branch(writer.let("icmp sgt i64 %left.next, 0"), "sum", "summed")
    writer.at("summed")
    writer.branch("%goes.on", "old", "end")
    writer.at("old")
    sign = writer.let(f"sitofp i64 %adds to {element}")
    sign = writer.let(f"insertelement {vector} poison, {element} {sign}, i32 0")
    sign = writer.let(f"shufflevector {vector} {sign}, {vector} poison, <{lanes} x i32> zeroinitializer")
    for row, column, place in places():
        old = writer.let(
            f"call {vector} @llvm.masked.load.{kind}.p0(ptr {place}, i32 {size}, <{lanes} x i1> {mask}, "
            f"{vector} zeroinitializer)" if column == vectors - 1 else f"load {vector}, ptr {place}, align {size}")
        writer.do(f"%more{row}.{column} = call {vector} @llvm.fmuladd.{kind}({vector} %next{row}.{column}, {vector} {sign}, "
                  f"{vector} {old})")
    writer.go("end")
    writer.at("end")
    for row, column in tile:
        writer.do(f"%last{row}.{column} = phi {vector} [%next{row}.{column}, %summed], [%more{row}.{column}, %old]")
    for row, column, place in places():
        value = f"{vector} %last{row}.{column}, ptr {place}"
        writer.do(f"call void @llvm.masked.store.{kind}.p0({value}, i32 {size}, <{lanes} x i1> {mask})"
                  if column == vectors - 1 else f"store {value}, align {size}")
    writer.do("ret void")
    head = (f"void @{name}(ptr noalias %left, i64 %row, i64 %step, ptr noalias %right, i64 %line, ptr noalias %result, "
            "i64 %width, i64 %depth, i64 %adds, i64 %tail)")
    return "\n".join([f"declare {vector} @llvm.fmuladd.{kind}({vector}, {vector}, {vector})",
                      "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)", *masks(element, lanes), writer.function(head)])


def driver_text(geometry: Geometry, name: str) -> str:
    """The module of the driver for one type of elements: ``void name(record, left, right, result, workspace)``."""
    parts = ["declare i64 @llvm.smin.i64(i64, i64)", "declare void @gx.parallel(ptr, ptr, i64)"]
    for function in (_pack_chunk, _compute_chunk, _one, _batch_chunk):
        parts.append(function(geometry))
    parts.append(_entry(geometry, name))
    return "\n".join(parts)


#: A packer's parameters: panels of ``width`` columns, of which ``valid`` are columns of the operand.
_PACKER = "ptr %target, i64 %width, ptr %source, i64 %across, i64 %along, i64 %valid, i64 %depth"


def copy_text(geometry: Geometry, name: str) -> str:
    """The module of the packer for lines that are contiguous: a line of ``width`` each, zero behind ``valid``."""
    group, size = geometry.group, geometry.item_bytes
    vector, kind = vector_type(geometry.element, group)
    writer = TextWriter(geometry.element)
    whole = writer.let(f"and i64 %valid, -{group}")
    with writer.loop("0", "%depth") as line:
        source = writer.moved("%source", writer.mul(line, "%along"))
        target = writer.moved("%target", writer.mul(line, "%width"))
        with writer.loop("0", whole, str(group)) as place:
            value = writer.let(f"load {vector}, ptr {writer.moved(source, place)}, align {size}")
            writer.do(f"store {vector} {value}, ptr {writer.moved(target, place)}, align {size}")
        with writer.loop(whole, "%width", str(group)) as place:
            inside = first_lanes(writer, group, writer.sub("%valid", place))
            value = writer.let(f"call {vector} @llvm.masked.load.{kind}.p0(ptr {writer.moved(source, place)}, i32 {size}, "
                               f"<{group} x i1> {inside}, {vector} zeroinitializer)")
            writer.do(f"store {vector} {value}, ptr {writer.moved(target, place)}, align {size}")
    writer.do("ret void")
    return "\n".join([*masks(geometry.element, group), writer.function(f"void @{name}({_PACKER})")])


def turn_text(geometry: Geometry, name: str) -> str:
    """The module of the packer for columns that are contiguous: squares of vectors are transposed.

    Columns behind ``valid`` repeat the last one.
    """
    group, size = geometry.group, geometry.item_bytes
    vector, _ = vector_type(geometry.element, group)
    writer = TextWriter(geometry.element)
    last, last_square = writer.sub("%valid", "1"), writer.sub("%depth", str(group))

    def squares() -> None:
        with writer.loop("0", "%width", str(group)) as first:
            lines = []
            for number in range(group):
                line = writer.least(writer.add(first, str(number)), last)
                lines.append(writer.moved("%source", writer.mul(line, "%across")))
            target = writer.moved("%target", first)
            with writer.loop("0", "%depth", str(group)) as begin:
                # The last square may overlap the one before it.
                place = writer.least(begin, last_square)
                values = [writer.let(f"load {vector}, ptr {writer.moved(line, place)}, align {size}") for line in lines]
                target_line = writer.moved(target, writer.mul(place, "%width"))
                for value in transposed(writer, vector, values):
                    writer.do(f"store {vector} {value}, ptr {target_line}, align {size}")
                    target_line = writer.moved(target_line, "%width")

    writer.either(writer.let(f"icmp sge i64 %depth, {group}"), squares, lambda: writer.do(f"call void @short({_PACKER})"))
    writer.do("ret void")
    return "\n".join(["declare i64 @llvm.smin.i64(i64, i64)", _turn_short(geometry),
                      writer.function(f"void @{name}({_PACKER})")])


def _turn_short(geometry: Geometry) -> str:
    """The same for columns shorter than a square, one by one."""
    writer = TextWriter(geometry.element)
    last = writer.sub("%valid", "1")
    with writer.loop("0", "%width") as first:
        line = writer.moved("%source", writer.mul(writer.least(first, last), "%across"))
        target = writer.moved("%target", first)
        with writer.loop("0", "%depth") as place:
            one = writer.let(f"load {geometry.element}, ptr {writer.moved(line, place)}")
            writer.do(f"store {geometry.element} {one}, ptr {writer.moved(target, writer.mul(place, '%width'))}")
    writer.do("ret void")
    return writer.function(f"internal void @short({_PACKER})", fast=False)


def transposed(writer: TextWriter, vector: str, values: Sequence[str]) -> list[str]:
    """The transpose of a square of vectors: squares of 1, 2, 4, ... elements change places."""
    found, count, half = list(values), len(values), 1
    while half < count:
        for low in range(count):
            if low & half:
                continue
            pair = found[low], found[low + half]
            picks = ([lane if not lane & half else count + lane - half for lane in range(count)],
                     [lane + half if not lane & half else count + lane for lane in range(count)])
            for place, pick in zip((low, low + half), picks, strict=True):
                numbers = ", ".join(f"i32 {lane}" for lane in pick)
                found[place] = writer.let(
                    f"shufflevector {vector} {pair[0]}, {vector} {pair[1]}, <{count} x i32> <{numbers}>")
        half *= 2
    return found


def _field(writer: TextWriter, record: str, field: str) -> str:
    return writer.word(record, FIELDS.index(field))


def _part(writer: TextWriter, small: str, larger: str, number: str) -> tuple[str, str, str]:
    """Of a tile or panel: its first unit, its units, and whether it is one of the larger ones."""
    first = writer.add(writer.mul(number, small), writer.least(number, larger))
    is_larger = writer.let(f"icmp slt i64 {number}, {larger}")
    return first, writer.add(small, writer.let(f"zext i1 {is_larger} to i64")), is_larger


def _sizes(writer: TextWriter, record: str, side: str) -> tuple[str, str]:
    return _field(writer, record, f"{side}.small"), _field(writer, record, f"{side}.larger")


def _state(writer: TextWriter) -> dict[str, str]:
    return {name: writer.pointer("%state", position) if position < _STATE_POINTERS else writer.word("%state", position)
            for position, name in enumerate(_STATE)}


def _share(writer: TextWriter, total: str, chunks: str, chunk: str) -> tuple[str, str]:
    """The share of ``chunk`` in ``total``: from, to."""
    begin = writer.let(f"sdiv i64 {writer.mul(total, chunk)}, {chunks}")
    end = writer.let(f"sdiv i64 {writer.mul(total, writer.add(chunk, '1'))}, {chunks}")
    return begin, end


def _pack_chunk(geometry: Geometry) -> str:
    """A share of the panels that are packed for a slice, one behind the other."""
    writer = TextWriter(geometry.element)
    state, lanes = _state(writer), str(geometry.lanes)
    record, depth = state["record"], writer.sub(state["end"], state["begin"])
    across, along, extent = (_field(writer, record, f"right.{name}") for name in ("across", "along", "extent"))
    packer = writer.pointer(record, len(FIELDS) + PACKER)
    sizes = _sizes(writer, record, "right")
    base, _, _ = _part(writer, *sizes, state["panel"])
    slice_at = writer.moved(state["right"], writer.mul(state["begin"], along))
    with writer.loop(*_share(writer, state["panels"], _field(writer, record, "pack.chunks"), "%chunk")) as number:
        first, units, _ = _part(writer, *sizes, writer.add(state["panel"], number))
        start, width = writer.mul(first, lanes), writer.mul(units, lanes)
        valid = writer.least(width, writer.sub(extent, start))
        target = writer.moved(state["work"], writer.mul(writer.mul(writer.sub(first, base), lanes), depth))
        writer.do(f"call void {packer}(ptr {target}, i64 {width}, ptr {writer.moved(slice_at, writer.mul(start, across))}, "
                  f"i64 {across}, i64 {along}, i64 {valid}, i64 {depth})")
    writer.do("ret void")
    return writer.function("internal void @pack.chunk(ptr %state, i64 %chunk)", fast=False)


def _compute_chunk(geometry: Geometry) -> str:
    """The kernels of a share of the panels and of the tiles."""
    writer = TextWriter(geometry.element)
    state, lanes = _state(writer), str(geometry.lanes)
    record, inner_end = state["record"], state["end"]
    row_chunks, column_chunks = _field(writer, record, "row.chunks"), _field(writer, record, "column.chunks")
    row_chunk = writer.let(f"sdiv i64 %chunk, {column_chunks}")
    column_chunk = writer.let(f"srem i64 %chunk, {column_chunks}")
    panels = [writer.add(state["panel"], bound) for bound in _share(writer, state["panels"], column_chunks, column_chunk)]
    first_tile, end_tile = _share(writer, _field(writer, record, "left.parts"), row_chunks, row_chunk)
    across, along, block, right_along, extent, width, slice_extent = (_field(writer, record, name) for name in (
        "left.across", "left.along", "left.block", "right.along", "right.extent", "result.row", "slice"))
    tile_sizes, panel_sizes = _sizes(writer, record, "left"), _sizes(writer, record, "right")
    in_place = writer.let(f"icmp eq i64 {_field(writer, record, 'packs')}, 0")
    adds = _field(writer, record, "adds")
    fresh = writer.let(f"icmp eq i64 {adds}, 0")
    base, _, _ = _part(writer, *panel_sizes, state["panel"])
    kernels = [writer.pointer(record, len(FIELDS) + position) for position in range(KERNELS)]
    with writer.loop(state["begin"], inner_end, slice_extent) as begin:
        depth = writer.least(slice_extent, writer.sub(inner_end, begin))
        left = writer.moved(state["left"], writer.mul(begin, along))
        right = writer.moved(state["right"], writer.mul(begin, right_along))
        later = writer.let(f"zext i1 {writer.let(f'icmp sgt i64 {begin}, 0')} to i64")
        later = writer.let(f"select i1 {fresh}, i64 {later}, i64 {adds}")
        with writer.loop(first_tile, end_tile, block) as first_of_block:
            end_of_block = writer.least(end_tile, writer.add(first_of_block, block))
            with writer.loop(*panels) as panel:
                first, units, larger = _part(writer, *panel_sizes, panel)
                start, columns = writer.mul(first, lanes), writer.mul(units, lanes)
                # Lanes of the last vector that are columns of the result.
                tail = writer.least(writer.sub(extent, writer.sub(writer.add(start, columns), lanes)), lanes)
                packed = writer.moved(state["work"], writer.mul(writer.mul(writer.sub(first, base), lanes), depth))
                panel_at = writer.let(f"select i1 {in_place}, ptr {writer.moved(right, start)}, ptr {packed}")
                line = writer.let(f"select i1 {in_place}, i64 {right_along}, i64 {columns}")
                of_panel = [writer.let(f"select i1 {larger}, ptr {kernels[2 * row + 1]}, ptr {kernels[2 * row]}")
                            for row in (0, 1)]
                result = writer.moved(state["result"], start)
                with writer.loop(first_of_block, end_of_block) as tile:
                    row, _, larger = _part(writer, *tile_sizes, tile)
                    kernel = writer.let(f"select i1 {larger}, ptr {of_panel[1]}, ptr {of_panel[0]}")
                    tile_at = writer.moved(left, writer.mul(row, across))
                    here = writer.moved(result, writer.mul(row, width))
                    writer.do(f"call void {kernel}(ptr {tile_at}, i64 {across}, i64 {along}, ptr {panel_at}, i64 {line}, "
                              f"ptr {here}, i64 {width}, i64 {depth}, i64 {later}, i64 {tail})")
    writer.do("ret void")
    return writer.function("internal void @compute.chunk(ptr %state, i64 %chunk)")


def _distribute(writer: TextWriter, function: str, state: str, chunks: str) -> None:
    """All chunks of a function, by the pool if there are several."""
    writer.either(writer.let(f"icmp sgt i64 {chunks}, 1"),
                  lambda: writer.do(f"call void @gx.parallel(ptr {function}, ptr {state}, i64 {chunks})"),
                  lambda: writer.do(f"call void {function}(ptr {state}, i64 0)"))


def _one(geometry: Geometry) -> str:
    """One matrix times one matrix."""
    writer = TextWriter(geometry.element)
    state = writer.let(f"alloca [{len(_STATE)} x i64], align 64")
    inner, depth, packs, panels, block, pack_chunks, row_chunks, column_chunks = (_field(writer, "%record", name) for name in (
        "inner", "slice", "packs", "right.parts", "right.block", "pack.chunks", "row.chunks", "column.chunks"))
    chunks = writer.mul(row_chunks, column_chunks)

    def put(**values: str) -> None:
        for name, value in values.items():
            position = _STATE.index(name)
            writer.put("ptr" if position < _STATE_POINTERS else "i64", value, state, position)

    def in_place() -> None:
        put(begin="0", end=inner, panel="0", panels=panels)
        _distribute(writer, "@compute.chunk", state, chunks)

    def packed() -> None:
        with writer.loop("0", panels, block) as panel:
            put(panel=panel, panels=writer.least(block, writer.sub(panels, panel)))
            with writer.loop("0", inner, depth) as begin:
                put(begin=begin, end=writer.least(inner, writer.add(begin, depth)))
                _distribute(writer, "@pack.chunk", state, pack_chunks)
                _distribute(writer, "@compute.chunk", state, chunks)

    put(record="%record", left="%left", right="%right", result="%result", work="%work")
    writer.either(writer.let(f"icmp eq i64 {packs}, 0"), in_place, packed)
    writer.do("ret void")
    return writer.function("internal void @one(ptr %record, ptr %left, ptr %right, ptr %result, ptr %work)", fast=False)


def _batch_chunk(geometry: Geometry) -> str:
    """The products of a share of the batch, with a workspace of their own."""
    writer = TextWriter(geometry.element)
    record, left, right, result, work = (writer.pointer("%given", position) for position in range(5))
    batch, chunks, room = (_field(writer, record, name) for name in ("batch", "batch.chunks", "workspace"))
    strides = [_field(writer, record, name) for name in ("left.batch", "right.batch", "result.batch")]
    own = writer.moved(work, writer.mul(room, "%chunk"))
    with writer.loop(*_share(writer, batch, chunks, "%chunk")) as number:
        at = [writer.moved(pointer, writer.mul(number, stride))
              for pointer, stride in zip((left, right, result), strides, strict=True)]
        writer.do(f"call void @one(ptr {record}, ptr {at[0]}, ptr {at[1]}, ptr {at[2]}, ptr {own})")
    writer.do("ret void")
    return writer.function("internal void @batch.chunk(ptr %given, i64 %chunk)", fast=False)


def _entry(geometry: Geometry, name: str) -> str:
    writer = TextWriter(geometry.element)
    given = writer.let("alloca [5 x ptr], align 64")
    for position, value in enumerate(("%record", "%left", "%right", "%result", "%work")):
        writer.put("ptr", value, given, position)
    _distribute(writer, "@batch.chunk", given, _field(writer, "%record", "batch.chunks"))
    writer.do("ret void")
    return writer.function(f"void @{name}(ptr %record, ptr %left, ptr %right, ptr %result, ptr %work)", fast=False)
