"""A small contraction as LLVM text: tiles of its result stay in vector registers while the inner axis is run through.

Lanes lie along the columns where a row of the right operand is contiguous; the rows where a column of the left one is, which
is the same seen transposed; or else the inner axis:

    columns   for tiles of 8 rows: sum[8][c] += left[r, k] (spread) * right[k, c .. c + 8]   for k in order
    inner     for each row: sum[8] += left[r, k .. k + 8] * right[k .. k + 8]               across 8 rows at a time at the end

So each element that is loaded serves a whole tile, and nothing is stored before a tile is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from gradxform.backend.compile import host
from gradxform.backend.module import NOT_UNROLLED
from gradxform.dtypes import DType
from gradxform.loopir.expression import ZERO, Expression, known
from gradxform.loopir.loops import Buffer, Contract, Matrix, Nest, Statement, bodies

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter

#: An index: the sum of an SSA value (or nothing) and a number.
Place = tuple[str, int]
#: Up to this many steps of the inner axis are written one after the other.
UNROLLED_STEPS = 8
#: The same of a tile, if these are up to so many multiply-adds; otherwise a loop takes hardly longer, and is compiled sooner.
WRITTEN_SUMS = 32
#: Sums of one row that run beside each other, because an addition takes several cycles.
SUMS = 2
#: Bytes of a row from which on rows are gone through one after the other.
SHORT_ROW = 256
#: Rows of a tile at most.
TILE_ROWS = 8
#: Tiles along the columns are written one after the other up to this many.
WRITTEN_TILES = 4
#: Contractions of at least so many multiply-adds become calls if several are the same: a call takes some 2 ns.
SHARED_WORK = 1024


@cache
def registers() -> tuple[int, int]:
    """Bytes of a vector register of this machine, and how many there are."""
    features = host().features
    if "+avx512f" in features:
        return 64, 32
    return (32, 16) if "+avx" in features else (16, 32 if "+neon" in features else 16)


def lanes_of(dtype: DType) -> int:
    """How many numbers a vector register holds."""
    return registers()[0] // dtype.itemsize


def orientation(contract: Contract) -> tuple[Contract, str] | None:
    """The contraction, transposed if need be, and the axis of the lanes: columns or inner; None if no axis is contiguous."""
    turned = _transposed(contract)
    found = [c for c in (contract, turned) if c.right.column_stride == 1 and known(c.columns) != 1]
    lanes = lanes_of(contract.result.buffer.dtype)
    wide = [c for c in found if (known(c.columns) or lanes) * 2 >= lanes]
    if wide:
        return max(wide, key=lambda c: c.result.column_stride == 1), "columns"
    for c in (contract, turned):
        if c.left.column_stride == c.right.row_stride == 1 and known(c.columns) is not None:
            return c, "inner"
    return (found[0], "columns") if found else None


def _transposed(c: Contract) -> Contract:
    def turned(m: Matrix) -> Matrix:
        return replace(m, row_stride=m.column_stride, column_stride=m.row_stride)

    return replace(c, result=turned(c.result), left=turned(c.right), right=turned(c.left), rows=c.columns, columns=c.rows)


def write_contract(writer: NestWriter, contract: Contract) -> None:
    """Write the contraction at the writer's place, or a call of the function that several have in common."""
    form = form_of(contract)
    if form not in writer.module.shared_tiles:
        _write(writer, contract)
        return
    matrices = (contract.result, contract.left, contract.right)
    tile = writer.module.tiles.get(form)
    if tile is None:
        name = f"tile{len(writer.module.tiles)}"
        tile = writer.module.tiles[form] = name, _function(writer, name, contract)
    places = ", ".join([f"ptr {writer.matrix_address(matrix)}" for matrix in matrices])
    writer.append(f"call void @{tile[0]}({places})")


def _write(writer: NestWriter, contract: Contract) -> None:
    found = orientation(contract)
    assert found is not None, "a contraction with no contiguous axis"
    tiles = _Tiles(writer, found[0])
    (tiles.by_columns if found[1] == "columns" else tiles.by_inner)()


def form_of(contract: Contract) -> Hashable:
    """What contractions have in common that one function can compute; None for what is written where it stands."""
    rows, inner, columns = (known(extent) for extent in (contract.rows, contract.inner, contract.columns))
    result, left, right = contract.result, contract.left, contract.right
    if rows is None or inner is None or columns is None or rows * inner * columns < SHARED_WORK:
        return None
    if result.buffer in (left.buffer, right.buffer):
        return None
    strides = [(matrix.row_stride, matrix.column_stride) for matrix in (result, left, right)]
    return result.buffer.dtype, rows, inner, columns, *strides, contract.fresh


def shared_tiles(nests: Iterable[Nest]) -> set[Hashable]:
    """The forms that several contractions have."""
    forms: dict[Hashable, int] = {}

    def count(statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Contract):
                form = form_of(statement)
                forms[form] = forms.get(form, 0) + 1
            for body in bodies(statement):
                count(body)

    for nest in nests:
        count(nest.body)
    return {form for form, times in forms.items() if form is not None and times > 1}


def _function(writer: NestWriter, name: str, contract: Contract) -> str:
    """The function of a tile: of the addresses of three matrices."""
    dtype = contract.result.buffer.dtype
    buffers = [Buffer(part, dtype, (), "arena") for part in ("result", "left", "right")]
    matrices = [replace(matrix, buffer=buffer, offset=ZERO)
                for matrix, buffer in zip((contract.result, contract.left, contract.right), buffers, strict=True)]
    inside = writer.another(name, Nest(()))
    inside.pointers = {buffer: f"%{buffer.name}" for buffer in buffers}
    _write(inside, replace(contract, result=matrices[0], left=matrices[1], right=matrices[2]))
    parameters = ", ".join([f"ptr noalias {'' if buffer is buffers[0] else 'readonly '}captures(none) %{buffer.name}"
                            for buffer in buffers])
    body = "\n".join(["start:", *inside.entry_lines, *inside.lines, "ret void"])
    return (f'define internal void @{name}({parameters}) noinline nounwind willreturn memory(argmem: readwrite) '
            f'"prefer-vector-width"="512" {{\n{body}\n}}')


class _Tiles:
    def __init__(self, writer: NestWriter, contract: Contract) -> None:
        self.writer = writer
        self.contract = contract
        dtype = contract.result.buffer.dtype
        self.kind = "double" if dtype.itemsize == 8 else "float"
        self.suffix = f"f{8 * dtype.itemsize}"
        self.item = dtype.itemsize
        self.lanes = lanes_of(dtype)
        self.bases = {id(m): self.start(m) for m in (contract.result, contract.left, contract.right)}

    # ------------------------------------------------------------------------------------------------------- words

    def start(self, matrix: Matrix) -> str:
        offset = self.writer.value(matrix.offset, {})
        return self.temporary(f"getelementptr inbounds {self.kind}, ptr {self.writer.base(matrix.buffer)}, i64 {offset}")

    def temporary(self, text: str) -> str:
        return self.writer.temporary(text)

    def extent(self, expression: Expression) -> int | str:
        number = known(expression)
        return number if number is not None else self.writer.value(expression, {})

    def vector(self, width: int) -> str:
        return self.kind if width == 1 else f"<{width} x {self.kind}>"

    def address(self, matrix: Matrix, row: Place, column: Place) -> str:
        pointer = self.bases[id(matrix)]
        number = row[1] * matrix.row_stride + column[1] * matrix.column_stride
        for (name, _), stride in ((row, matrix.row_stride), (column, matrix.column_stride)):
            if name and stride:
                term = name if stride == 1 else self.temporary(f"mul nsw i64 {name}, {stride}")
                pointer = self.temporary(f"getelementptr inbounds {self.kind}, ptr {pointer}, i64 {term}")
        if number:
            pointer = self.temporary(f"getelementptr inbounds {self.kind}, ptr {pointer}, i64 {number}")
        return pointer

    def load(self, address: str, width: int) -> str:
        return self.temporary(f"load {self.vector(width)}, ptr {address}, align {self.item}")

    def put(self, address: str, width: int, value: str) -> None:
        """Store or, unless the result is fresh, add."""
        if not self.contract.fresh:
            value = self.temporary(f"fadd {self.vector(width)} {self.load(address, width)}, {value}")
        self.writer.append(f"store {self.vector(width)} {value}, ptr {address}, align {self.item}")

    def spread(self, value: str, width: int) -> str:
        if width == 1:
            return value
        kind = self.vector(width)
        first = self.temporary(f"insertelement {kind} poison, {self.kind} {value}, i64 0")
        return self.temporary(f"shufflevector {kind} {first}, {kind} poison, <{width} x i32> zeroinitializer")

    def multiply_add(self, x: str, y: str, total: str, width: int) -> str:
        name = f"llvm.fmuladd.{self.suffix}" if width == 1 else f"llvm.fmuladd.v{width}{self.suffix}"
        kind = self.vector(width)
        self.writer.declare(f"declare {kind} @{name}({kind}, {kind}, {kind})")
        return self.temporary(f"call contract {kind} @{name}({kind} {x}, {kind} {y}, {kind} {total})")

    def zero(self, width: int) -> str:
        return "0.0" if width == 1 else "zeroinitializer"

    def shuffle(self, x: str, y: str, width: int, chosen: Sequence[int]) -> str:
        kind = self.vector(width)
        mask = ", ".join(f"i32 {i}" for i in chosen)
        return self.temporary(f"shufflevector {kind} {x}, {kind} {y}, <{len(chosen)} x i32> <{mask}>")

    def loop(
        self, end: int | str, step: int, carried: Sequence[tuple[str, str]],
        body: Callable[[str, list[str]], Sequence[str]], begin: int | str = 0, unroll: bool = True,
    ) -> list[str]:
        """A loop over begin .. end; ``carried`` are types and first values, ``body`` gives the next ones."""
        writer = self.writer
        inside, done = writer.block("tile"), writer.block("tiled")
        before = writer.label
        certain = isinstance(begin, int) and isinstance(end, int) and begin < end
        if certain:
            writer.append(f"br label %{inside}")
        else:
            writer.append(f"br i1 {self.temporary(f'icmp slt i64 {begin}, {end}')}, label %{inside}, label %{done}")
        writer.start_block(inside)
        index = writer.fresh()
        names = [writer.fresh() for _ in carried]
        place = len(writer.lines)
        writer.append("")
        following = list(body(index, names))
        next_index = self.temporary(f"add nuw nsw i64 {index}, {step}")
        phis = [f"{index} = phi i64 [{begin}, %{before}], [{next_index}, %{writer.label}]"]
        phis += [f"{name} = phi {kind} [{first}, %{before}], [{value}, %{writer.label}]"
                 for name, (kind, first), value in zip(names, carried, following, strict=True)]
        writer.lines[place] = "\n".join(phis)
        again = self.temporary(f"icmp slt i64 {next_index}, {end}")
        hints = "" if unroll else writer.module.loop_hints(NOT_UNROLLED)
        writer.append(f"br i1 {again}, label %{inside}, label %{done}{hints}")
        last = writer.label
        writer.start_block(done)
        if certain:
            return following
        return [self.temporary(f"phi {kind} [{first}, %{before}], [{value}, %{last}]")
                for (kind, first), value in zip(carried, following, strict=True)]

    def repeat(self, end: int | str, step: int, body: Callable[[str], None], begin: int | str = 0) -> None:
        """A loop that carries nothing."""
        def once(index: str, _: list[str]) -> tuple[()]:
            body(index)
            return ()

        self.loop(end, step, (), once, begin, unroll=False)

    # ------------------------------------------------------------------------------------------------------- tiles

    def over_rows(self, most: int, tile: Callable[[Place, int], None]) -> None:
        """Tiles of ``most`` rows, and what is left in smaller ones."""
        rows = self.extent(self.contract.rows)
        if isinstance(rows, int):
            whole = rows // most * most
            if whole == most:
                tile(("", 0), most)
            elif whole:
                self.repeat(whole, most, lambda i: tile((i, 0), most))
            size = most
            while whole < rows:
                size //= 2
                if rows - whole >= size:
                    tile(("", whole), size)
                    whole += size
            return
        if most > 1:
            end = self.temporary(f"and i64 {rows}, {-most}")
            self.repeat(end, most, lambda i: tile((i, 0), most))
            self.repeat(rows, 1, lambda i: tile((i, 0), 1), begin=end)
        else:
            self.repeat(rows, 1, lambda i: tile((i, 0), 1))

    def by_columns(self) -> None:
        """Lanes along the columns."""
        single = known(self.contract.rows) == 1
        most = registers()[1] // 2 if single else 3 if registers()[1] > 16 else 2
        columns = self.extent(self.contract.columns)

        def strip(column: Place, widths: Sequence[int]) -> None:
            size = 1 if single else TILE_ROWS
            while size > 1 and (size + 1) * len(widths) > registers()[1] - 2:
                size //= 2
            self.over_rows(size, lambda row, count: self.column_tile(row, count, column, widths))

        if isinstance(columns, str):
            wide = [self.lanes] * most
            end = self.temporary(f"sdiv i64 {columns}, {self.lanes * most}")
            end = self.temporary(f"mul nsw i64 {end}, {self.lanes * most}")
            self.repeat(end, self.lanes * most, lambda j: strip((j, 0), wide))
            self.repeat(columns, 1, lambda j: strip((j, 0), [1]), begin=end)
            return
        widths = _widths(columns, self.lanes)
        tiles = [widths[i:i + most] for i in range(0, len(widths), most)]
        if len(tiles) > WRITTEN_TILES:
            step = self.lanes * most
            whole = columns // step * step
            self.repeat(whole, step, lambda j: strip((j, 0), [self.lanes] * most))
            tiles, begin = tiles[whole // step:], whole
        else:
            begin = 0
        for tile in tiles:
            strip(("", begin), tile)
            begin += sum(tile)

    def column_tile(self, row: Place, rows: int, column: Place, widths: Sequence[int]) -> None:
        c = self.contract
        starts = [sum(widths[:i]) for i in range(len(widths))]
        kinds = [width for _ in range(rows) for width in widths]

        def step(k: Place, sums: Sequence[str]) -> list[str]:
            right = [self.load(self.address(c.right, k, (column[0], column[1] + start)), width)
                     for start, width in zip(starts, widths, strict=True)]
            result: list[str] = []
            for r in range(rows):
                number = self.load(self.address(c.left, (row[0], row[1] + r), k), 1)
                spread = {width: self.spread(number, width) for width in dict.fromkeys(widths)}
                for p, width in enumerate(widths):
                    result.append(self.multiply_add(spread[width], right[p], sums[r * len(widths) + p], width))
            return result

        inner = self.extent(c.inner)
        sums = [self.zero(width) for width in kinds]
        if isinstance(inner, int) and ((inner <= UNROLLED_STEPS and inner * len(kinds) <= WRITTEN_SUMS) or inner <= 2):
            for k in range(inner):
                sums = step(("", k), sums)
        else:
            sums = self.loop(inner, 1, [(self.vector(w), self.zero(w)) for w in kinds], lambda k, found: step((k, 0), found),
                             unroll=len(kinds) < TILE_ROWS)
        across = rows > 1 and c.result.row_stride == 1 and c.result.column_stride != 1
        for p, (start, width) in enumerate(zip(starts, widths, strict=True)):
            first: Place = (column[0], column[1] + start)
            values = [sums[r * len(widths) + p] for r in range(rows)]
            if across:
                for j, value in enumerate(self.turned(values, width)):
                    self.put(self.address(c.result, row, (first[0], first[1] + j)), rows, value)
                continue
            for r, value in enumerate(values):
                here: Place = (row[0], row[1] + r)
                if width == 1 or c.result.column_stride == 1:
                    self.put(self.address(c.result, here, first), width, value)
                else:
                    for j in range(width):
                        number = self.temporary(f"extractelement {self.vector(width)} {value}, i64 {j}")
                        self.put(self.address(c.result, here, (first[0], first[1] + j)), 1, number)

    def turned(self, values: Sequence[str], width: int) -> list[str]:
        """The transpose of a square or narrower tile: ``width`` vectors, one element from each of ``values``."""
        rows = len(values)
        if width == 1:
            result = "poison"
            for r, value in enumerate(values):
                result = self.temporary(f"insertelement {self.vector(rows)} {result}, {self.kind} {value}, i64 {r}")
            return [result]
        current, size = list(values), width
        while len(current) > 1:
            half = len(current) // 2
            zipped = [place for i in range(size) for place in (i, size + i)]
            current = [self.shuffle(x, y, size, zipped) for x, y in zip(current[:half], current[half:], strict=True)]
            size *= 2
        (whole,) = current
        return [self.shuffle(whole, "poison", size, range(j * rows, (j + 1) * rows)) for j in range(width)]

    # ------------------------------------------------------------------------------------------------ lanes across

    def by_inner(self) -> None:
        """Lanes along the inner axis."""
        columns = known(self.contract.columns)
        assert columns is not None
        if columns <= WRITTEN_TILES:
            for j in range(columns):
                self.over_rows(self.lanes, lambda row, count, j=j: self.inner_tile(row, count, ("", j)))  # type: ignore[misc]
        else:
            self.repeat(columns, 1, lambda j: self.over_rows(
                self.lanes, lambda row, count: self.inner_tile(row, count, (j, 0))))

    def inner_tile(self, row: Place, rows: int, column: Place) -> None:
        """Sums across rows, one row after the other so that memory is read in its order."""
        c, lanes = self.contract, self.lanes
        inner = known(c.inner)
        if rows > 1 and (inner is None or inner * self.item > SHORT_ROW):
            sums = self.row_after_row(row, rows, column)
        else:
            sums = [self.inner_product((row[0], row[1] + r), column) for r in range(rows)]
        if rows == lanes and lanes > 1:
            total = self.summed_across(sums)
            if c.result.row_stride == 1:
                self.put(self.address(c.result, row, column), lanes, total)
                return
            totals = [self.temporary(f"extractelement {self.vector(lanes)} {total}, i64 {r}") for r in range(rows)]
        else:
            name = f"llvm.vector.reduce.fadd.v{lanes}{self.suffix}"
            self.writer.declare(f"declare {self.kind} @{name}({self.kind}, {self.vector(lanes)})")
            totals = [self.temporary(f"call reassoc {self.kind} @{name}({self.kind} -0.0, {self.vector(lanes)} {total})")
                      for total in sums]
        for r, number in enumerate(totals):
            self.put(self.address(c.result, (row[0], row[1] + r), column), 1, number)

    def row_after_row(self, row: Place, rows: int, column: Place) -> list[str]:
        """The inner products of long rows, by a loop: LLVM would mix rows that stand beside each other, and what is not in
        the caches is fetched ahead only along one row.
        """
        kind = self.vector(self.lanes)
        parts = f"%{self.writer.block('parts')}"
        self.writer.entry_lines.append(f"{parts} = alloca [{rows} x {kind}], align 64")
        first = row[0] and (row[0] if not row[1] else self.temporary(f"add nsw i64 {row[0]}, {row[1]}"))

        def one(r: str, _: list[str]) -> tuple[()]:
            place = (self.temporary(f"add nsw i64 {first}, {r}"), 0) if first else (r, row[1])
            total = self.inner_product(place, column)
            slot = self.temporary(f"getelementptr inbounds {kind}, ptr {parts}, i64 {r}")
            self.writer.append(f"store {kind} {total}, ptr {slot}, align {self.item * self.lanes}")
            return ()

        self.loop(rows, 1, (), one, unroll=False)
        slots = [self.temporary(f"getelementptr inbounds {kind}, ptr {parts}, i64 {r}") for r in range(rows)]
        return [self.temporary(f"load {kind}, ptr {slot}, align {self.item * self.lanes}") for slot in slots]

    def inner_product(self, row: Place, column: Place) -> str:
        """A vector whose sum is one element of the result."""
        c, lanes = self.contract, self.lanes
        inner = known(c.inner)
        if inner is None:
            return self.inner_product_of_block(row, column)
        whole = inner // lanes

        def step(k: Place, total: str, width: int = lanes) -> str:
            x, y = self.load(self.address(c.left, row, k), width), self.load(self.address(c.right, k, column), width)
            if total == "zeroinitializer":
                return self.temporary(f"fmul {self.vector(width)} {x}, {y}")
            return self.multiply_add(x, y, total, width)

        begin = whole * lanes
        parts: list[str] = []
        for width in _widths(inner - begin, lanes):
            parts.append(self.widened(step(("", begin), "zeroinitializer", width), width))
            begin += width
        sums = [self.zero(lanes)] * min(whole, SUMS)
        for part in parts:
            sums = [self.added(part, sums[-1]), *sums[:-1]] if sums else [part]
        if whole <= UNROLLED_STEPS * SUMS:
            for k in range(whole):
                sums[k % len(sums)] = step(("", k * lanes), sums[k % len(sums)])
        else:
            rounds = whole // SUMS
            kind = self.vector(lanes)
            sums = self.loop(rounds * SUMS * lanes, SUMS * lanes, [(kind, total) for total in sums], lambda k, found: [
                self.multiply_add(self.load(self.address(c.left, row, (k, i * lanes)), lanes),
                                  self.load(self.address(c.right, (k, i * lanes), column), lanes), total, lanes)
                for i, total in enumerate(found)])
            for k in range(rounds * SUMS, whole):
                sums[k % SUMS] = step(("", k * lanes), sums[k % SUMS])
        while len(sums) > 1:
            sums = [*[self.added(x, y) for x, y in zip(sums[::2], sums[1::2], strict=False)], *sums[len(sums) // 2 * 2:]]
        return sums[0]

    def inner_product_of_block(self, row: Place, column: Place) -> str:
        """The same where the number of elements is known only when the code runs."""
        c, lanes = self.contract, self.lanes

        def step(k: str, total: str, width: int) -> list[str]:
            return [self.multiply_add(self.load(self.address(c.left, row, (k, 0)), width),
                                      self.load(self.address(c.right, (k, 0), column), width), total, width)]

        inner = self.extent(c.inner)
        whole = self.temporary(f"and i64 {inner}, {-lanes}")
        (total,) = self.loop(whole, lanes, [(self.vector(lanes), "zeroinitializer")], lambda k, found: step(k, found[0], lanes))
        (rest,) = self.loop(inner, 1, [(self.kind, "0.0")], lambda k, found: step(k, found[0], 1), begin=whole)
        return self.temporary(f"fadd {self.vector(lanes)} {total}, {self.widened(rest, 1)}")

    def added(self, x: str, y: str) -> str:
        zero = "zeroinitializer"
        return x if y == zero else y if x == zero else self.temporary(f"fadd {self.vector(self.lanes)} {x}, {y}")

    def widened(self, value: str, width: int) -> str:
        """``value`` filled up with zeros to a whole vector."""
        if width == 1:
            return self.temporary(f"insertelement {self.vector(self.lanes)} zeroinitializer, {self.kind} {value}, i64 0")
        return self.shuffle(value, "zeroinitializer", width, [min(i, width) for i in range(self.lanes)])

    def summed_across(self, sums: Sequence[str]) -> str:
        """One vector with the sum of the elements of each of as many vectors as it has lanes."""
        lanes, current, group = self.lanes, list(sums), self.lanes
        while len(current) > 1:
            half, part = len(current) // 2, group // 2
            low = [i for g in range(0, lanes, group) for i in (*range(g, g + part), *range(lanes + g, lanes + g + part))]
            following = []
            for x, y in zip(current[:half], current[half:], strict=True):
                first = self.shuffle(x, y, lanes, low)
                second = self.shuffle(x, y, lanes, [i + part for i in low])
                following.append(self.temporary(f"fadd {self.vector(lanes)} {first}, {second}"))
            current, group = following, part
        return current[0]


def _widths(extent: int, lanes: int) -> list[int]:
    """Whole vectors, then halves of them as they fit."""
    widths = [lanes] * (extent // lanes)
    rest = extent % lanes
    while rest:
        lanes //= 2
        if rest >= lanes:
            widths.append(lanes)
            rest -= lanes
    return widths



