"""Sorting of numbers as LLVM text; see sort_routines for what is made of it.

What is sorted are *images*: numbers without sign whose order is that of the keys. There are two ways:

    up to `NETWORKED`   networks of comparators on vectors in registers (bitonic, K. E. Batcher 1968), merged in memory
    more                by digits, from the lowest to the highest, of as many leading bits as tell most keys apart; then
                        insertion puts right what is left, or, if that is much, all digits are used

Both know no branches that depend on the data but the last step of the second, whose moves are counted.

Where positions are wanted, what is sorted are *items*: the leading bits of an image, and behind them the position in the row,
which makes the order stable. If bits of images had to go, neighbours whose items agree in what is left of them are compared
by their whole images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gradxform.data_class import data_class

#: Rows of up to so many bytes of images are sorted by networks.
NETWORKED = 1 << 14
#: What one network of comparators in registers sorts, at most.
BLOCK = 128
#: Digits have so many bits, those of rows of more than `LONG_ROW` elements some more.
DIGIT, WIDE_DIGIT, LONG_ROW = 8, 11, 20_000
#: Bits beyond the logarithm of the number of elements that are looked at before insertion.
MORE_BITS = 8
#: Moves per element that insertion may take.
MOVES = 4
#: Bytes of a vector.
VECTOR_BYTES = 64

_DECLARATIONS = """declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"""


class Writer:
    """Lines of one function. What changes lies in cells of the stack, which LLVM turns into registers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cells: list[str] = []
        self.counter = 0

    def name(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def let(self, text: str) -> str:
        found = f"%{self.name('t')}"
        self.lines.append(f"{found} = {text}")
        return found

    def op(self, operation: str, *operands: object) -> str:
        return self.let(f"{operation} {', '.join(map(str, operands))}")

    def call(self, kind: str, function: str, *arguments: str) -> str:
        return self.let(f"call {kind} @{function}({', '.join(arguments)})")

    def least(self, x: object, y: object) -> str:
        return self.call("i64", "llvm.smin.i64", f"i64 {x}", f"i64 {y}")

    def most(self, x: object, y: object) -> str:
        return self.call("i64", "llvm.smax.i64", f"i64 {x}", f"i64 {y}")

    def do(self, text: str) -> None:
        self.lines.append(text)

    def at(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def go(self, label: str) -> None:
        self.lines.append(f"br label %{label}")

    def branch(self, test: str, yes: str, no: str) -> None:
        self.lines.append(f"br i1 {test}, label %{yes}, label %{no}")

    def leave(self, text: str = "ret void") -> None:
        """Return; what follows is not reached from here."""
        self.do(text)
        self.at(self.name("unreached"))

    def cell(self, kind: str, value: object = None) -> str:
        found = f"%{self.name('cell')}"
        self.cells.append(f"{found} = alloca {kind}")
        if value is not None:
            self.put(kind, value, found)
        return found

    def table(self, kind: str, count: int) -> str:
        found = f"%{self.name('table')}"
        self.cells.append(f"{found} = alloca [{count} x {kind}], align {VECTOR_BYTES}")
        return found

    def get(self, kind: str, cell: str) -> str:
        return self.let(f"load {kind}, ptr {cell}")

    def put(self, kind: str, value: object, cell: str) -> None:
        self.do(f"store {kind} {value}, ptr {cell}")

    def place(self, kind: str, base: str, index: object) -> str:
        return self.let(f"getelementptr inbounds {kind}, ptr {base}, i64 {index}")

    def load(self, kind: str, base: str, index: object) -> str:
        return self.let(f"load {kind}, ptr {self.place(kind, base, index)}")

    def store(self, kind: str, value: object, base: str, index: object) -> None:
        self.do(f"store {kind} {value}, ptr {self.place(kind, base, index)}")

    @contextmanager
    def loop(self, begin: object, end: object, step: object = 1) -> Iterator[str]:
        """Lines for each value from ``begin`` below ``end``."""
        test, body, done = self.name("test"), self.name("body"), self.name("done")
        cell = self.cell("i64", begin)
        self.go(test)
        self.at(test)
        index = self.get("i64", cell)
        self.branch(self.op("icmp slt i64", index, end), body, done)
        self.at(body)
        yield index
        self.put("i64", self.op("add nsw i64", index, step), cell)
        self.go(test)
        self.at(done)

    @contextmanager
    def when(self, test: str) -> Iterator[None]:
        """Lines that run if ``test`` holds."""
        yes, after = self.name("yes"), self.name("after")
        self.branch(test, yes, after)
        self.at(yes)
        yield
        self.go(after)
        self.at(after)

    def function(self, head: str, attributes: str = "nounwind") -> str:
        body = "\n".join(["start:", *self.cells, *self.lines])
        return f'define {head} {attributes} "prefer-vector-width"="512" {{\n{body}\n}}'


@data_class(frozen=True, slots=True)
class Images:
    """Numbers without sign of ``bits`` bits that are sorted, and how many fit a vector."""

    bits: int

    @property
    def kind(self) -> str:
        return f"i{self.bits}"

    @property
    def lanes(self) -> int:
        return VECTOR_BYTES * 8 // self.bits

    @property
    def vector(self) -> str:
        return f"<{self.lanes} x {self.kind}>"

    def name(self, function: str) -> str:
        return f"sort.{function}.u{self.bits}"

    def intrinsic(self, operation: str) -> str:
        return f"llvm.{operation}.v{self.lanes}{self.kind}"

    def widened(self, w: Writer, value: str) -> str:
        return value if self.bits == 64 else w.let(f"zext {self.kind} {value} to i64")

    def narrowed(self, w: Writer, value: str) -> str:
        return value if self.bits == 64 else w.let(f"trunc i64 {value} to {self.kind}")


# ------------------------------------------------------------------------------------------------------- networks


def _least(w: Writer, images: Images, x: str, y: str) -> str:
    return w.call(images.vector, images.intrinsic("umin"), f"{images.vector} {x}", f"{images.vector} {y}")


def _most(w: Writer, images: Images, x: str, y: str) -> str:
    return w.call(images.vector, images.intrinsic("umax"), f"{images.vector} {x}", f"{images.vector} {y}")


def _shuffled(w: Writer, images: Images, x: str, chosen: Sequence[int]) -> str:
    mask = ", ".join(f"i32 {lane}" for lane in chosen)
    return w.let(f"shufflevector {images.vector} {x}, {images.vector} poison, <{images.lanes} x i32> <{mask}>")


def _reversed(w: Writer, images: Images, x: str) -> str:
    return _shuffled(w, images, x, range(images.lanes - 1, -1, -1))


def _within(w: Writer, images: Images, x: str, partners: Sequence[int]) -> str:
    """Each lane of ``x`` compared with its partner: the one in front gets the smaller number."""
    other = _shuffled(w, images, x, partners)
    front = ", ".join(f"i1 {int(lane < partner)}" for lane, partner in enumerate(partners))
    low, high = _least(w, images, x, other), _most(w, images, x, other)
    return w.let(f"select <{images.lanes} x i1> <{front}>, {images.vector} {low}, {images.vector} {high}")


def _cleaned(w: Writer, images: Images, rows: list[str], distance: int) -> None:
    """Compare elements ``distance`` apart, then half of that, and so on: bitonic runs become sorted ones."""
    lanes = images.lanes
    while distance:
        if distance >= lanes:
            step = distance // lanes
            for k in range(len(rows)):
                if not k & step:
                    x, y = rows[k], rows[k + step]
                    rows[k], rows[k + step] = _least(w, images, x, y), _most(w, images, x, y)
        else:
            partners = [lane ^ distance for lane in range(lanes)]
            rows[:] = [_within(w, images, x, partners) for x in rows]
        distance //= 2


def _sorted_rows(w: Writer, images: Images, rows: list[str]) -> None:
    """Sort all elements of the vectors ``rows``, a power of two of them."""
    lanes, size = images.lanes, 2
    while size <= lanes * len(rows):
        if size <= lanes:
            partners = [lane ^ (size - 1) for lane in range(lanes)]
            rows[:] = [_within(w, images, x, partners) for x in rows]
        else:
            count = size // lanes
            for k in range(len(rows)):
                other = k ^ (count - 1)
                if k < other:
                    x, y = rows[k], _reversed(w, images, rows[other])
                    rows[k], rows[other] = _least(w, images, x, y), _reversed(w, images, _most(w, images, x, y))
        _cleaned(w, images, rows, size // 4)
        size *= 2


def _in_registers(images: Images, function: str, count: int) -> str:
    """A function of ``count`` images in memory: ``net`` sorts them, ``merge`` sorts a bitonic run."""
    w = Writer()
    align = images.bits // 8
    places = [w.place(images.kind, "%row", k * images.lanes) for k in range(count // images.lanes)]
    rows = [w.let(f"load {images.vector}, ptr {place}, align {align}") for place in places]
    if function == "net":
        _sorted_rows(w, images, rows)
    else:
        _cleaned(w, images, rows, count // 2)
    for place, x in zip(places, rows, strict=True):
        w.do(f"store {images.vector} {x}, ptr {place}, align {align}")
    w.do("ret void")
    return w.function(f"internal void @{images.name(f'{function}{count}')}(ptr %row)", "noinline nounwind")


def _network_text(images: Images) -> list[str]:
    """void sort.network(row, n): sorts up to whole blocks, whose elements behind the n-th are the largest number."""
    texts, w = [], Writer()
    vector, lanes, align = images.vector, images.lanes, images.bits // 8
    size = images.lanes
    while size <= BLOCK:
        texts.append(_in_registers(images, "net", size))
        with w.when(w.op("icmp sle i64", "%n", size)):
            w.do(f"call void @{images.name(f'net{size}')}(ptr %row)")
            w.leave()
        size *= 2
    texts.append(_in_registers(images, "merge", BLOCK))
    whole = w.op("and i64", w.op("add i64", "%n", BLOCK - 1), -BLOCK)
    with w.loop(0, whole, BLOCK) as start:
        w.do(f"call void @{images.name(f'net{BLOCK}')}(ptr {w.place(images.kind, '%row', start)})")
    # Elements behind the last block count as the largest number: to compare with them changes nothing.
    span = w.cell("i64", 2 * BLOCK)
    level, merge, done = w.name("level"), w.name("merge"), w.name("done")
    w.go(level)
    w.at(level)
    length = w.get("i64", span)
    half = w.op("lshr i64", length, 1)
    w.branch(w.op("icmp slt i64", half, whole), merge, done)
    w.at(merge)

    def compared(low: str, high: str, turned: bool) -> None:
        first, second = w.place(images.kind, "%row", low), w.place(images.kind, "%row", high)
        x, y = (w.let(f"load {vector}, ptr {place}, align {align}") for place in (first, second))
        y = _reversed(w, images, y) if turned else y
        small, large = _least(w, images, x, y), _most(w, images, x, y)
        large = _reversed(w, images, large) if turned else large
        w.do(f"store {vector} {small}, ptr {first}, align {align}")
        w.do(f"store {vector} {large}, ptr {second}, align {align}")

    with w.loop(0, whole, length) as start:
        end = w.op("add i64", start, length)
        middle = w.op("add i64", start, half)
        first = w.most(start, w.op("add i64", start, w.op("sub i64", end, whole)))
        with w.loop(first, middle, lanes) as low:
            high = w.op("sub i64", w.op("add i64", start, w.op("sub i64", end, low)), lanes)
            compared(low, high, turned=True)
    distance = w.cell("i64", w.op("lshr i64", length, 2))
    clean, apart, cleaned = w.name("clean"), w.name("apart"), w.name("cleaned")
    w.go(clean)
    w.at(clean)
    away = w.get("i64", distance)
    w.branch(w.op("icmp sge i64", away, BLOCK), apart, cleaned)
    w.at(apart)
    with w.loop(0, w.op("sub i64", whole, away), w.op("shl i64", away, 1)) as start:
        end = w.least(w.op("add i64", start, away), w.op("sub i64", whole, away))
        with w.loop(start, end, lanes) as low:
            compared(low, w.op("add i64", low, away), turned=False)
    w.put("i64", w.op("lshr i64", away, 1), distance)
    w.go(clean)
    w.at(cleaned)
    with w.loop(0, whole, BLOCK) as start:
        w.do(f"call void @{images.name(f'merge{BLOCK}')}(ptr {w.place(images.kind, '%row', start)})")
    w.put("i64", w.op("shl i64", length, 1), span)
    w.go(level)
    w.at(done)
    w.do("ret void")
    texts.append(w.function(f"internal void @{images.name('network')}(ptr %row, i64 %n)"))
    return texts


# --------------------------------------------------------------------------------------------------------- digits


def _digits_text(images: Images) -> str:
    """ptr sort.digits(a, b, n, low, high, width): stable, by the bits low to high - 1; where the result lies, a or b."""
    w = Writer()
    kind = images.kind
    buckets = w.op("shl i64", 1, "%width")
    mask = images.narrowed(w, w.op("sub i64", buckets, 1))
    tables = [w.table("i32", 1 << WIDE_DIGIT) for _ in range(2)]
    source, target = w.cell("ptr", "%a"), w.cell("ptr", "%b")
    counted, counting = w.cell("ptr", tables[0]), w.cell("ptr", tables[1])
    shift = w.cell("i64", "%low")
    w.do(f"call void @llvm.memset.p0.i64(ptr {tables[0]}, i8 0, i64 {4 << WIDE_DIGIT}, i1 false)")

    def bucket(key: str, by: str) -> str:
        return images.widened(w, w.op(f"and {kind}", w.op(f"lshr {kind}", key, by), mask))

    def next_of(table: str, number: str) -> str:
        """What the table says, and one more from now on."""
        found = w.load("i32", table, number)
        w.store("i32", w.op("add i32", found, 1), table, number)
        return found

    first = images.narrowed(w, w.least("%low", images.bits - 1))
    with w.loop(0, "%n") as i:
        next_of(tables[0], bucket(w.load(kind, "%a", i), first))
    test, body, done = w.name("test"), w.name("body"), w.name("done")
    w.go(test)
    w.at(test)
    now = w.get("i64", shift)
    w.branch(w.op("icmp slt i64", now, "%high"), body, done)
    w.at(body)
    here, ahead = w.get("ptr", counted), w.get("ptr", counting)
    a, b = w.get("ptr", source), w.get("ptr", target)
    total = w.cell("i32", 0)
    with w.loop(0, buckets) as number:
        count, start = w.load("i32", here, number), w.get("i32", total)
        w.store("i32", start, here, number)
        w.put("i32", w.op("add i32", start, count), total)
        w.store("i32", 0, ahead, number)
    later = w.op("add i64", now, "%width")
    # The digits of the next round are counted in this one; after the last one they are not looked at.
    by, by_later = (images.narrowed(w, w.least(x, images.bits - 1)) for x in (now, later))
    with w.loop(0, "%n") as i:
        key = w.load(kind, a, i)
        position = next_of(here, bucket(key, by))
        next_of(ahead, bucket(key, by_later))
        w.store(kind, key, b, w.let(f"zext i32 {position} to i64"))
    for value, cell in ((ahead, counted), (here, counting), (b, source), (a, target)):
        w.put("ptr", value, cell)
    w.put("i64", later, shift)
    w.go(test)
    w.at(done)
    w.do(f"ret ptr {w.get('ptr', source)}")
    return w.function(
        f"internal ptr @{images.name('digits')}(ptr noalias %a, ptr noalias %b, i64 %n, i64 %low, i64 %high, i64 %width)",
        "noinline nounwind")


def _insertion(w: Writer, images: Images, row: str, count: str, before: Any, give_up: str) -> None:
    """Sort ``row``, of which nearly all is in order; ``before(x, y)`` tells whether x comes before y, where it stands behind.

    Goes to ``give_up`` if that takes many moves.
    """
    kind = images.kind
    budget = w.cell("i64", w.op("mul i64", count, MOVES))
    position = w.cell("i64")
    with w.loop(1, count) as i:
        item = w.load(kind, row, i)
        with w.when(before(item, w.load(kind, row, w.op("sub i64", i, 1)))):
            w.put("i64", i, position)
            again, further, stop, good = (w.name(stem) for stem in ("again", "further", "stop", "good"))
            w.go(again)
            w.at(again)
            here = w.get("i64", position)
            front = w.op("sub i64", here, 1)
            other = w.load(kind, row, front)
            w.branch(before(item, other), further, stop)
            w.at(further)
            w.store(kind, other, row, here)
            w.put("i64", front, position)
            w.branch(w.op("icmp sgt i64", front, 0), again, stop)
            w.at(stop)
            there = w.get("i64", position)
            w.store(kind, item, row, there)
            left = w.op("sub i64", w.get("i64", budget), w.op("sub i64", i, there))
            w.put("i64", left, budget)
            w.branch(w.op("icmp slt i64", left, 0), give_up, good)
            w.at(good)


def _images_text(images: Images) -> str:
    """ptr gx.sort.u64(a, b, n, differing, low): sorts the n numbers in a by their bits from ``low`` on.

    ``differing`` has the bits in which they differ at all. Lower bits must be in order already, or be the position. The
    result lies in a or b; a has room for whole blocks.
    """
    w = Writer()
    kind = images.kind
    high = w.op("sub i64", 64, w.call("i64", "llvm.ctlz.i64", "i64 %differing", "i1 false"))
    with w.when(w.op("icmp sle i64", high, "%low")):
        w.leave("ret ptr %a")
    with w.when(w.op("icmp sle i64", "%n", NETWORKED * 8 // images.bits)):
        end = w.op("and i64", w.op("add i64", "%n", BLOCK - 1), -BLOCK)
        with w.loop("%n", end) as i:
            w.store(kind, -1, "%a", i)
        w.do(f"call void @{images.name('network')}(ptr %a, i64 %n)")
        w.leave("ret ptr %a")
    log = w.op("sub i64", 64, w.call("i64", "llvm.ctlz.i64", "i64 %n", "i1 false"))
    width = w.let(f"select i1 {w.op('icmp sgt i64', '%n', LONG_ROW)}, i64 {WIDE_DIGIT}, i64 {DIGIT}")
    span = w.op("sub i64", high, "%low")
    wanted = w.least(span, w.op("add i64", log, MORE_BITS))

    def parts(extent: str, part: str) -> str:
        return w.op("sdiv i64", w.op("sub i64", w.op("add i64", extent, part), 1), part)

    rounds = parts(wanted, width)
    covered = w.least(span, w.op("mul i64", rounds, width))
    lowest = w.op("sub i64", high, covered)

    def by_digits(a: str, b: str, low: str, digit: str) -> str:
        return w.call("ptr", images.name("digits"), f"ptr {a}", f"ptr {b}", "i64 %n", f"i64 {low}", f"i64 {high}",
                      f"i64 {digit}")

    found = by_digits("%a", "%b", lowest, parts(covered, rounds))
    with w.when(w.op("icmp eq i64", lowest, "%low")):
        w.leave(f"ret ptr {found}")
    _insertion(w, images, found, "%n", lambda x, y: w.op(f"icmp ult {kind}", x, y), "much")
    w.do(f"ret ptr {found}")
    w.at("much")
    other = w.let(f"select i1 {w.op('icmp eq ptr', found, '%a')}, ptr %b, ptr %a")
    w.do(f"ret ptr {by_digits(found, other, '%low', width)}")
    return w.function(f"ptr @gx.sort.u{images.bits}(ptr %a, ptr %b, i64 %n, i64 %differing, i64 %low)")


def _order_text() -> str:
    """void gx.sort.order(images, a, b, order, n, differing): the positions that bring 64-bit images into order, stable.

    ``a`` and ``b`` are memory for n images and whole blocks each.
    """
    w = Writer()
    with w.when(w.op("icmp sle i64", "%n", 1)):
        with w.loop(0, "%n") as i:
            w.store("i64", i, "%order", i)
        w.leave()
    size = w.op("sub i64", 64, w.call("i64", "llvm.ctlz.i64", f"i64 {w.op('sub i64', '%n', 1)}", "i1 false"))
    below = w.op("sub i64", w.op("shl i64", 1, size), 1)
    above = w.op("xor i64", below, -1)
    common = w.least(w.call("i64", "llvm.ctlz.i64", "i64 %differing", "i1 false"), 63)
    shifted = w.op("shl i64", "%differing", common)
    lost = w.op("icmp ne i64", w.op("and i64", shifted, below), 0)
    with w.loop(0, "%n") as i:
        leading = w.op("and i64", w.op("shl i64", w.load("i64", "%images", i), common), above)
        w.store("i64", w.op("or i64", leading, i), "%a", i)

    def sort(differing: str) -> str:
        return w.call("ptr", "gx.sort.u64", "ptr %a", "ptr %b", "i64 %n", f"i64 {differing}", f"i64 {size}")

    def position(found: str, i: str) -> str:
        return w.op("and i64", w.load("i64", found, i), below)

    found = sort(shifted)
    give_up = w.name("much")

    def before(x: str, y: str) -> str:
        answer = w.cell("i1")
        w.put("i1", "false", answer)
        with w.when(w.op("icmp eq i64", w.op("and i64", x, above), w.op("and i64", y, above))):
            one, other = (w.load("i64", "%images", w.op("and i64", item, below)) for item in (x, y))
            w.put("i1", w.op("icmp ult i64", one, other), answer)
        return w.get("i1", answer)

    with w.when(lost):
        _insertion(w, Images(64), found, "%n", before, give_up)
    with w.loop(0, "%n") as i:
        w.store("i64", position(found, i), "%order", i)
    w.do("ret void")
    # By the lower halves of the images first, then by the upper ones.
    w.at(give_up)
    for half in (0, 1):
        with w.loop(0, "%n") as i:
            image = w.load("i64", "%images", w.load("i64", "%order", i) if half else i)
            part = w.op("lshr i64", image, 32) if half else w.op("and i64", image, 0xFFFFFFFF)
            w.store("i64", w.op("or i64", w.op("shl i64", part, size), i), "%a", i)
        found = sort("-1")
        if not half:
            with w.loop(0, "%n") as i:
                w.store("i64", position(found, i), "%order", i)
            continue
        spare = w.let(f"select i1 {w.op('icmp eq ptr', found, '%a')}, ptr %b, ptr %a")
        with w.loop(0, "%n") as i:
            w.store("i64", w.load("i64", "%order", position(found, i)), spare, i)
        with w.loop(0, "%n") as i:
            w.store("i64", w.load("i64", spare, i), "%order", i)
    w.do("ret void")
    return w.function(
        "void @gx.sort.order(ptr noalias %images, ptr noalias %a, ptr noalias %b, ptr noalias %order, i64 %n, i64 %differing)")


#: What the modules define; `SORTER` is made for 32 and 64 bits.
SORTER = "ptr @gx.sort.u{bits}(ptr, ptr, i64, i64, i64)"
ORDER = "void @gx.sort.order(ptr, ptr, ptr, ptr, i64, i64)"


def module_text(name: str) -> str:
    """The module of ``gx.sort.NAME``: ``u32`` and ``u64`` sort images, ``order`` finds the order of 64-bit ones."""
    if name == "order":
        return "\n".join([_DECLARATIONS, f"declare {SORTER.format(bits=64)}", _order_text()])
    images = Images(int(name[1:]))
    vector = images.vector
    return "\n".join([
        _DECLARATIONS, *(f"declare {vector} @{images.intrinsic(least)}({vector}, {vector})" for least in ("umin", "umax")),
        *_network_text(images), _digits_text(images), _images_text(images)])
