"""Sorting of rows as LLVM text.

Keys become numbers without sign whose order is theirs (*images*): floats turn the bits of negative ones round, zeros of both
signs are one number, NaN is the largest. Rows of images are sorted in two ways:

    up to `NETWORKED`   networks of comparators on vectors in registers (bitonic, K. E. Batcher 1968), merged in memory
    more                by digits, from the lowest to the highest, of as many leading bits as tell most keys apart; then
                        insertion puts right what is left, or, if that is much, all digits are used

Both know no branches that depend on the data but the last step of the second, whose moves are counted.

Where other arrays follow a key, or positions are wanted, what is sorted are *items*: the leading bits of an image, and behind
them the position in the row, which makes the order stable. If bits of images had to go, neighbours whose items agree in what
is left of them are compared by their whole images. Several keys are sorted by one after the other, the last one first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from gradxform.backend.routine_text import RoutineText
from gradxform.data_class import data_class
from gradxform.dtypes import DType

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

_FLOATS = {4: "float", 8: "double"}
_DECLARATIONS = """declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"""


class _Writer:
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

    def widened(self, w: _Writer, value: str) -> str:
        return value if self.bits == 64 else w.let(f"zext {self.kind} {value} to i64")

    def narrowed(self, w: _Writer, value: str) -> str:
        return value if self.bits == 64 else w.let(f"trunc i64 {value} to {self.kind}")


# ------------------------------------------------------------------------------------------------------- networks


def _least(w: _Writer, images: Images, x: str, y: str) -> str:
    return w.call(images.vector, images.intrinsic("umin"), f"{images.vector} {x}", f"{images.vector} {y}")


def _most(w: _Writer, images: Images, x: str, y: str) -> str:
    return w.call(images.vector, images.intrinsic("umax"), f"{images.vector} {x}", f"{images.vector} {y}")


def _shuffled(w: _Writer, images: Images, x: str, chosen: Sequence[int]) -> str:
    mask = ", ".join(f"i32 {lane}" for lane in chosen)
    return w.let(f"shufflevector {images.vector} {x}, {images.vector} poison, <{images.lanes} x i32> <{mask}>")


def _reversed(w: _Writer, images: Images, x: str) -> str:
    return _shuffled(w, images, x, range(images.lanes - 1, -1, -1))


def _within(w: _Writer, images: Images, x: str, partners: Sequence[int]) -> str:
    """Each lane of ``x`` compared with its partner: the one in front gets the smaller number."""
    other = _shuffled(w, images, x, partners)
    front = ", ".join(f"i1 {int(lane < partner)}" for lane, partner in enumerate(partners))
    low, high = _least(w, images, x, other), _most(w, images, x, other)
    return w.let(f"select <{images.lanes} x i1> <{front}>, {images.vector} {low}, {images.vector} {high}")


def _cleaned(w: _Writer, images: Images, rows: list[str], distance: int) -> None:
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


def _sorted_rows(w: _Writer, images: Images, rows: list[str]) -> None:
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
    w = _Writer()
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
    texts, w = [], _Writer()
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
    w = _Writer()
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


def _insertion(w: _Writer, images: Images, row: str, count: str, before: Any, give_up: str) -> None:
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
    w = _Writer()
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
    w = _Writer()
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


_SORTER = "ptr @gx.sort.u{bits}(ptr, ptr, i64, i64, i64)"
_ORDER = "void @gx.sort.order(ptr, ptr, ptr, ptr, i64, i64)"


def module_text(name: str) -> str:
    """The module of ``gx.sort.NAME``: ``u32`` and ``u64`` sort images, ``order`` finds the order of 64-bit ones."""
    if name == "order":
        return "\n".join([_DECLARATIONS, f"declare {_SORTER.format(bits=64)}", _order_text()])
    images = Images(int(name[1:]))
    vector = images.vector
    return "\n".join([
        _DECLARATIONS, *(f"declare {vector} @{images.intrinsic(least)}({vector}, {vector})" for least in ("umin", "umax")),
        *_network_text(images), _digits_text(images), _images_text(images)])


# ------------------------------------------------------------------------------------------------------- routines


def memory_kind(dtype: DType) -> str:
    """How LLVM loads an element."""
    return _FLOATS[dtype.itemsize] if dtype.kind == "f" else f"i{8 * dtype.itemsize}"


def images_of(dtype: DType) -> Images:
    """What elements of ``dtype`` become."""
    return Images(64 if dtype.itemsize == 8 else 32)


def _image(w: _Writer, dtype: DType, value: str) -> tuple[str, str]:
    """The image of an element, and whether the element cannot be told from it: a zero with a sign, NaN."""
    images = images_of(dtype)
    kind = images.kind
    if dtype.kind != "f":
        signed = dtype.kind == "i"
        if dtype.itemsize < images.bits // 8:
            value = w.let(f"{'sext' if signed else 'zext'} {memory_kind(dtype)} {value} to {kind}")
        return (w.op(f"xor {kind}", value, -(1 << (images.bits - 1))) if signed else value), "false"
    memory, sign = memory_kind(dtype), -(1 << (images.bits - 1))
    bits = w.let(f"bitcast {memory} {value} to {kind}")
    # Adding zero makes -0.0 to 0.0.
    plain = w.let(f"bitcast {memory} {w.op(f'fadd {memory}', value, '0.0')} to {kind}")
    turned = w.op(f"xor {kind}", plain, w.op(f"or {kind}", w.op(f"ashr {kind}", plain, images.bits - 1), sign))
    missing = w.op(f"fcmp uno {memory}", value, value)
    image = w.let(f"select i1 {missing}, {kind} -1, {kind} {turned}")
    return image, w.op("or i1", missing, w.op(f"icmp eq {kind}", bits, sign))


def _element(w: _Writer, dtype: DType, image: str) -> str:
    """The element with this image."""
    images = images_of(dtype)
    kind, memory, sign = images.kind, memory_kind(dtype), -(1 << (images.bits - 1))
    if dtype.kind != "f":
        value = w.op(f"xor {kind}", image, sign) if dtype.kind == "i" else image
        return value if dtype.itemsize == images.bits // 8 else w.let(f"trunc {kind} {value} to {memory}")
    positive = w.op(f"icmp slt {kind}", image, 0)
    turned = w.op(f"xor {kind}", image, w.let(f"select i1 {positive}, {kind} {sign}, {kind} -1"))
    return w.let(f"bitcast {kind} {turned} to {memory}")


def padded(count: int) -> int:
    """Whole blocks."""
    return -(-count // BLOCK) * BLOCK


def rows(count: int, num_keys: int, positions: str, *names: str) -> RoutineText:
    """Rows of ``count`` elements of dtypes ``names``; ``positions``: no, also (as the last result) or only."""
    dtypes = [np.dtype(name) for name in names]
    w = _Writer()
    if len(dtypes) == 1 and positions == "no":
        lines = _values(w, dtypes[0], count)
    else:
        lines = _carried(w, dtypes, count, num_keys, positions)
    operands = [f"ptr noalias readonly %x{k}" for k in range(len(names))]
    results = (0 if positions == "only" else len(names)) + (positions != "no")
    parameters = ", ".join([*operands, *(f"ptr noalias %y{k}" for k in range(results)), "ptr noalias %workspace"])
    w.do("ret i64 0")
    return RoutineText("\n".join(["start:", *w.cells, *w.lines]), parameters, tuple(lines))


def _differing(w: _Writer, images: Images, count: int, image_of: Any) -> tuple[str, str]:
    """Make all images; the bits in which they differ, and whether one does not tell its element."""
    kind = images.kind
    both, either, odd = w.cell(kind, -1), w.cell(kind, 0), w.cell("i1", "false")
    with w.loop(0, count) as i:
        image, unclear = image_of(i)
        w.put(kind, w.op(f"and {kind}", w.get(kind, both), image), both)
        w.put(kind, w.op(f"or {kind}", w.get(kind, either), image), either)
        w.put("i1", w.op("or i1", w.get("i1", odd), unclear), odd)
    differing = w.op(f"xor {kind}", w.get(kind, both), w.get(kind, either))
    return images.widened(w, differing), w.get("i1", odd)


def _values(w: _Writer, dtype: DType, count: int) -> list[str]:
    """The elements alone."""
    images, memory = images_of(dtype), memory_kind(dtype)
    kind = images.kind

    def image_of(i: str) -> tuple[str, str]:
        image, unclear = _image(w, dtype, w.load(memory, "%x0", i))
        w.store(kind, image, "%workspace", i)
        return image, unclear

    differing, odd = _differing(w, images, count, image_of)
    spare = w.place(kind, "%workspace", padded(count))
    found = w.call("ptr", f"gx.sort.u{images.bits}", "ptr %workspace", f"ptr {spare}", f"i64 {count}", f"i64 {differing}",
                   "i64 0")
    with w.loop(0, count) as i:
        w.store(memory, _element(w, dtype, w.load(kind, found, i)), "%y0", i)
    if dtype.kind == "f":
        with w.when(odd):
            _put_back(w, dtype, count, found)
    return [f"declare {_SORTER.format(bits=images.bits)}"]


def _put_back(w: _Writer, dtype: DType, count: int, found: str) -> None:
    """Zeros and NaN as they were, in the order in which they were."""
    images, memory = images_of(dtype), memory_kind(dtype)
    kind = images.kind
    zeros, missing = w.cell("i64", 0), w.cell("i64", 0)
    with w.loop(0, count) as i:
        image = w.load(kind, found, i)
        for cell, bound in ((zeros, -(1 << (images.bits - 1))), (missing, -1)):
            smaller = w.let(f"zext i1 {w.op(f'icmp ult {kind}', image, bound)} to i64")
            w.put("i64", w.op("add i64", w.get("i64", cell), smaller), cell)
    with w.loop(0, count) as i:
        value = w.load(memory, "%x0", i)
        for cell, test in ((zeros, w.op(f"fcmp oeq {memory}", value, "0.0")),
                           (missing, w.op(f"fcmp uno {memory}", value, value))):
            with w.when(test):
                place = w.get("i64", cell)
                w.store(memory, value, "%y0", place)
                w.put("i64", w.op("add i64", place, 1), cell)


def _carried(w: _Writer, dtypes: Sequence[DType], count: int, num_keys: int, positions: str) -> list[str]:
    """The elements of several rows, or positions."""
    images, a, b, order, earlier = (w.place("i64", "%workspace", k * padded(count)) for k in range(5))
    if positions != "no":
        order = "%y0" if positions == "only" else f"%y{len(dtypes)}"
    for number, key in enumerate(reversed(range(num_keys))):
        dtype = dtypes[key]
        if number:
            with w.loop(0, count) as i:
                w.store("i64", w.load("i64", order, i), earlier, i)

        def image_of(i: str, key: int = key, dtype: DType = dtype, again: bool = number > 0) -> tuple[str, str]:
            place = w.load("i64", earlier, i) if again else i
            image, _ = _image(w, dtype, w.load(memory_kind(dtype), f"%x{key}", place))
            image = images_of(dtype).widened(w, image)
            w.store("i64", image, images, i)
            return image, "false"

        differing, _ = _differing(w, Images(64), count, image_of)
        w.do(f"call void @gx.sort.order(ptr {images}, ptr {a}, ptr {b}, ptr {order}, i64 {count}, i64 {differing})")
        if number:
            with w.loop(0, count) as i:
                w.store("i64", w.load("i64", earlier, w.load("i64", order, i)), a, i)
            with w.loop(0, count) as i:
                w.store("i64", w.load("i64", a, i), order, i)
    if positions != "only":
        with w.loop(0, count) as i:
            place = w.load("i64", order, i)
            for number, dtype in enumerate(dtypes):
                w.store(memory_kind(dtype), w.load(memory_kind(dtype), f"%x{number}", place), f"%y{number}", i)
    return [f"declare {_ORDER}"]


#: Rows of up to so many elements are sorted where a few places of the order are wanted.
SORTED_WHOLE = 2048
#: Of longer rows so many elements are looked at first, and the places are expected so many of these about their own.
SAMPLE, MARGIN = 1024, 56


def places(count: int, name: str, *wanted: int) -> RoutineText:
    """The elements at the places ``wanted`` (rising) of the sorted row, and their positions.

    Two elements of a sorted sample, on both sides of the places, part a long row: what lies between them is sorted. Should
    the places lie elsewhere, all of it is.
    """
    dtype = np.dtype(name)
    w = _Writer()
    memory = memory_kind(dtype)
    images, a, b, order, inside, positions = (w.place("i64", "%workspace", k * padded(count)) for k in range(6))

    def image_of(i: str) -> tuple[str, str]:
        image = images_of(dtype).widened(w, _image(w, dtype, w.load(memory, "%x0", i))[0])
        w.store("i64", image, images, i)
        return image, "false"

    differing, _ = _differing(w, Images(64), count, image_of)

    def give(place_of: Callable[[int], str]) -> None:
        for number, place in enumerate(wanted):
            position = place_of(place)
            w.store(memory, w.load(memory, "%x0", position), "%y0", number)
            w.store("i64", position, "%y1", number)

    def sort(row: str, extent: object) -> None:
        w.do(f"call void @gx.sort.order(ptr {row}, ptr {a}, ptr {b}, ptr {order}, i64 {extent}, i64 {differing})")

    lines = [f"declare {_ORDER}"]
    if count > SORTED_WHOLE:
        lines.append(f"declare {_SORTER.format(bits=64)}")
        with w.loop(0, SAMPLE) as i:
            w.store("i64", w.load("i64", images, w.op("udiv i64", w.op("mul i64", i, count), SAMPLE)), a, i)
        sample = w.call("ptr", "gx.sort.u64", f"ptr {a}", f"ptr {b}", f"i64 {SAMPLE}", "i64 -1", "i64 0")
        first, last = wanted[0] * SAMPLE // count - MARGIN, wanted[-1] * SAMPLE // count + MARGIN
        low = w.load("i64", sample, first) if first >= 0 else "0"
        high = w.load("i64", sample, last) if last < SAMPLE else "-1"
        smaller, found = w.cell("i64", 0), w.cell("i64", 0)
        with w.loop(0, count) as i:
            image, place = w.load("i64", images, i), w.get("i64", found)
            # Stored in any case, and overwritten if it does not count: no branch.
            w.store("i64", image, inside, place)
            w.store("i64", i, positions, place)
            below = w.op("icmp ult i64", image, low)
            between = w.op("and i1", w.op("icmp uge i64", image, low), w.op("icmp ule i64", image, high))
            for cell, test in ((smaller, below), (found, between)):
                w.put("i64", w.op("add i64", w.get("i64", cell), w.let(f"zext i1 {test} to i64")), cell)
        skipped, extent = w.get("i64", smaller), w.get("i64", found)
        good = w.op("and i1", w.op("icmp sle i64", skipped, wanted[0]),
                    w.op("icmp sgt i64", w.op("add i64", skipped, extent), wanted[-1]))
        with w.when(good):
            sort(inside, extent)
            give(lambda place: w.load("i64", positions, w.load("i64", order, w.op("sub i64", place, skipped))))
            w.leave("ret i64 0")
    sort(images, count)
    give(lambda place: w.load("i64", order, place))
    w.do("ret i64 0")
    parameters = "ptr noalias readonly %x0, ptr noalias %y0, ptr noalias %y1, ptr noalias %workspace"
    return RoutineText("\n".join(["start:", *w.cells, *w.lines]), parameters, tuple(lines))


ROUTINES: Mapping[str, Callable[..., RoutineText]] = MappingProxyType({"rows": rows, "places": places})
