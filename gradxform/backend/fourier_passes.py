"""Passes of Fourier transforms as LLVM text: a vector holds one number of several columns, so no pass knows of lanes.

A *strip* is memory of n complex numbers of each of ``lanes`` columns: for each of the n, a vector of real parts and one of
imaginary parts. The transform of a strip of n = r1 r2 ... numbers is one pass for each radix (decimation in frequency)::

    first r     rows of complex numbers  ->  strip    strip[j + t m] = w(j t, n) sum_k w(k t, r) x[j + k m],  m = n / r
    middle r    strip                    ->  strip    the same for each block of r m numbers, with the m that is left
    last r      strip                    ->  rows, or a strip, perhaps with each number multiplied by a factor; m is 1, and
                                             each number goes to its place in order

where w(k, n) = exp(-2 pi i k / n). For the inverse the parts change places when they are read first and written last.
`fourier_plan` says what transforms are made of these, and makes the tables of factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import sqrt
from struct import pack, unpack
from typing import NamedTuple

from gradxform.backend.fourier_roots import roots, smallest_factor
from gradxform.backend.sort_text import Writer
from gradxform.data_class import data_class


class Pair(NamedTuple):
    """The names of vectors of real and of imaginary parts."""

    real: str
    imag: str


@data_class(frozen=True, slots=True)
class Lanes:
    """Vectors of ``count`` elements."""

    element: str
    count: int

    @property
    def vector(self) -> str:
        return f"<{self.count} x {self.element}>"

    @property
    def double(self) -> str:
        """A vector of complex numbers as they lie in memory."""
        return f"<{2 * self.count} x {self.element}>"

    @property
    def align(self) -> int:
        return 8 if self.element == "double" else 4


class PassWriter(Writer):
    """Arithmetic on pairs of vectors."""

    def __init__(self, lanes: Lanes) -> None:
        super().__init__()
        self.lanes, self.label = lanes, "start"

    def at(self, label: str) -> None:
        super().at(label)
        self.label = label

    @contextmanager
    def loop(self, begin: object, end: object, step: object = 1) -> Iterator[str]:
        """Lines for each value from ``begin`` below ``end``. The text is compiled as it stands: nothing lies in cells."""
        body, done, before = self.name("body"), self.name("done"), self.label
        self.branch(self.op("icmp slt i64", begin, end), body, done)
        self.at(body)
        index, following, place = f"%{self.name('i')}", f"%{self.name('n')}", len(self.lines)
        yield index
        self.do(f"{following} = add nsw i64 {index}, {step}")
        self.lines.insert(place, f"{index} = phi i64 [{begin}, %{before}], [{following}, %{self.label}]")
        self.branch(self.op("icmp slt i64", following, end), body, done)
        self.at(done)

    # ------------------------------------------------------------------------------------------------------ numbers

    def number(self, value: float) -> str:
        """A vector of one number."""
        rounded = unpack("<f", pack("<f", value))[0] if self.lanes.element == "float" else value
        text = f"{self.lanes.element} 0x{unpack('<Q', pack('<d', rounded))[0]:016X}"
        return f"<{', '.join([text] * self.lanes.count)}>"

    def add(self, x: str, y: str) -> str:
        return self.op(f"fadd contract {self.lanes.vector}", x, y)

    def sub(self, x: str, y: str) -> str:
        return self.op(f"fsub contract {self.lanes.vector}", x, y)

    def mul(self, x: str, y: str) -> str:
        return self.op(f"fmul contract {self.lanes.vector}", x, y)

    def plus(self, x: Pair, y: Pair) -> Pair:
        return Pair(self.add(x.real, y.real), self.add(x.imag, y.imag))

    def minus(self, x: Pair, y: Pair) -> Pair:
        return Pair(self.sub(x.real, y.real), self.sub(x.imag, y.imag))

    def times(self, x: Pair, y: Pair) -> Pair:
        return Pair(self.sub(self.mul(x.real, y.real), self.mul(x.imag, y.imag)),
                    self.add(self.mul(x.real, y.imag), self.mul(x.imag, y.real)))

    def scaled(self, x: Pair, factor: str) -> Pair:
        return Pair(self.mul(x.real, factor), self.mul(x.imag, factor))

    def negated(self, x: str) -> str:
        return self.op(f"fneg {self.lanes.vector}", x)

    # -------------------------------------------------------------------------------------------------- butterflies

    def root_times(self, x: Pair, k: int, n: int) -> Pair:
        """``x`` times w(k, n), a constant."""
        if 8 * k % n:
            root = complex(roots(k, n))
            return self.times(x, Pair(self.number(root.real), self.number(root.imag)))
        eighths = 8 * k // n % 8
        if eighths % 2:
            half = self.number(sqrt(0.5))
            x = self.scaled(Pair(self.add(x.real, x.imag), self.sub(x.imag, x.real)), half)
        quarters = eighths // 2
        if quarters == 1:
            return Pair(x.imag, self.negated(x.real))
        if quarters == 2:
            return Pair(self.negated(x.real), self.negated(x.imag))
        return Pair(self.negated(x.imag), x.real) if quarters == 3 else x

    def transform(self, x: Sequence[Pair]) -> list[Pair]:
        """The transform of few numbers."""
        n = len(x)
        if n == 1:
            return list(x)
        if n == 2:
            return [self.plus(*x), self.minus(*x)]
        if n == 4:
            even, odd = (self.plus(x[0], x[2]), self.minus(x[0], x[2])), (self.plus(x[1], x[3]), self.minus(x[1], x[3]))
            return [self.plus(even[0], odd[0]), self._turned(even[1], odd[1], False),
                    self.minus(even[0], odd[0]), self._turned(even[1], odd[1], True)]
        inner = smallest_factor(n)
        if inner == n:
            return self._prime(x)
        outer = n // inner
        columns = [self.transform(x[j::outer]) for j in range(outer)]
        result: list[Pair] = [Pair("", "")] * n
        for k in range(inner):
            row = [self.root_times(column[k], j * k, n) for j, column in enumerate(columns)]
            for place, value in enumerate(self.transform(row)):
                result[k + inner * place] = value
        return result

    def _turned(self, x: Pair, y: Pair, positive: bool) -> Pair:
        """x + i y, or x - i y."""
        if positive:
            return Pair(self.sub(x.real, y.imag), self.add(x.imag, y.real))
        return Pair(self.add(x.real, y.imag), self.sub(x.imag, y.real))

    def _prime(self, x: Sequence[Pair]) -> list[Pair]:
        n = len(x)
        half = (n - 1) // 2
        sums = [self.plus(x[j], x[n - j]) for j in range(1, half + 1)]
        differences = [self.minus(x[j], x[n - j]) for j in range(1, half + 1)]
        total = x[0]
        for each in sums:
            total = self.plus(total, each)
        result: list[Pair] = [total] * n
        for k in range(1, half + 1):
            factors = [complex(roots(j * k, n)) for j in range(1, half + 1)]
            even, odd = x[0], None
            for each, other, factor in zip(sums, differences, factors, strict=True):
                even = self.plus(even, self.scaled(each, self.number(factor.real)))
                part = self.scaled(other, self.number(-factor.imag))
                odd = part if odd is None else self.plus(odd, part)
            assert odd is not None
            result[k], result[n - k] = self._turned(even, odd, False), self._turned(even, odd, True)
        return result

    # ------------------------------------------------------------------------------------------------------- memory

    def get_vector(self, base: str, index: object) -> str:
        place = self.place(self.lanes.element, base, index)
        return self.let(f"load {self.lanes.vector}, ptr {place}, align {self.lanes.align}")

    def put_vector(self, value: str, base: str, index: object) -> None:
        place = self.place(self.lanes.element, base, index)
        self.do(f"store {self.lanes.vector} {value}, ptr {place}, align {self.lanes.align}")

    def get_pair(self, base: str, index: object) -> Pair:
        """What lies as two vectors, ``index`` elements behind ``base``."""
        start = self.place(self.lanes.element, base, index)
        return Pair(self.get_vector(start, 0), self.get_vector(start, self.lanes.count))

    def put_pair(self, value: Pair, base: str, index: object) -> None:
        start = self.place(self.lanes.element, base, index)
        self.put_vector(value.real, start, 0)
        self.put_vector(value.imag, start, self.lanes.count)

    def shuffled(self, kind: str, x: str, y: str, chosen: Sequence[int]) -> str:
        return self.let(f"shufflevector {kind} {x}, {kind} {y}, <{len(chosen)} x i32> "
                        f"<{', '.join(f'i32 {lane}' for lane in chosen)}>")

    def get_numbers(self, base: str, index: object, swapped: bool = False, backwards: bool = False) -> Pair:
        """Complex numbers as they lie in memory, the last one first if ``backwards``."""
        lanes, count = self.lanes, self.lanes.count
        place = self.place(lanes.element, base, index)
        found = self.let(f"load {lanes.double}, ptr {place}, align {lanes.align}")
        order = range(count - 1, -1, -1) if backwards else range(count)
        parts = [self.shuffled(lanes.double, found, "poison", [2 * lane + part for lane in order]) for part in (0, 1)]
        return Pair(parts[1], parts[0]) if swapped else Pair(parts[0], parts[1])

    def put_numbers(self, value: Pair, base: str, index: object, swapped: bool = False, backwards: bool = False) -> None:
        lanes, count = self.lanes, self.lanes.count
        first, second = (value.imag, value.real) if swapped else value
        order = range(count - 1, -1, -1) if backwards else range(count)
        place = self.place(lanes.element, base, index)
        both = self.shuffled(lanes.vector, first, second, [lane + part for lane in order for part in (0, count)])
        self.do(f"store {lanes.double} {both}, ptr {place}, align {lanes.align}")

    def spread(self, base: str, index: object) -> Pair:
        """A complex number, for all lanes."""
        start = self.place(self.lanes.element, base, index)
        kind, parts = self.lanes.vector, []
        for part in (0, 1):
            one = self.load(self.lanes.element, start, part)
            first = self.let(f"insertelement {kind} poison, {self.lanes.element} {one}, i64 0")
            parts.append(self.let(f"shufflevector {kind} {first}, {kind} poison, <{self.lanes.count} x i32> zeroinitializer"))
        return Pair(*parts)

    def transposed(self, rows: Sequence[str]) -> list[str]:
        """The columns of a square of vectors."""
        count, step, rows = self.lanes.count, 1, list(rows)
        while step < count:
            following = []
            for row in range(count):
                lower, upper = row & ~step, row | step
                chosen = [(p + step if row & step else p) if not p & step else count + (p if row & step else p - step)
                          for p in range(count)]
                following.append(self.shuffled(self.lanes.vector, rows[lower], rows[upper], chosen))
            rows, step = following, 2 * step
        return rows


def _write_turned(w: PassWriter, values: Sequence[Pair], base: str, index: str, step: str, factors: str) -> None:
    """``values`` times factors, but the first, into a strip: ``step`` elements lie between them."""
    place = index
    for number, value in enumerate(values):
        if number:
            place = w.op("add i64", place, step)
            value = w.times(value, w.spread(factors, 2 * (number - 1)))
        w.put_pair(value, base, place)


def _first(w: PassWriter, radix: int, swapped: bool) -> str:
    """void(rows, strip, factors, m, row): rows lie ``row`` elements apart."""
    size = 2 * w.lanes.count
    apart, step = w.op("mul i64", "%m", "%row"), w.op("mul i64", "%m", size)
    with w.loop(0, "%m") as j:
        base = w.place(w.lanes.element, "%rows", w.op("mul i64", j, "%row"))
        values = [w.get_numbers(base, w.op("mul i64", apart, k), swapped) for k in range(radix)]
        factors = w.place(w.lanes.element, "%factors", w.op("mul i64", j, 2 * (radix - 1)))
        _write_turned(w, w.transform(values), "%strip", w.op("mul i64", j, size), step, factors)
    return "ptr noalias readonly %rows, ptr noalias %strip, ptr noalias readonly %factors, i64 %m, i64 %row"


def _middle(w: PassWriter, radix: int) -> str:
    """void(strip, factors, m, blocks)."""
    size = 2 * w.lanes.count
    step = w.op("mul i64", "%m", size)
    whole = w.op("mul i64", step, radix)
    with w.loop(0, "%blocks") as block:
        strip = w.place(w.lanes.element, "%strip", w.op("mul i64", block, whole))
        with w.loop(0, "%m") as j:
            start = w.op("mul i64", j, size)
            values = [w.get_pair(strip, w.op("add i64", start, w.op("mul i64", step, k))) for k in range(radix)]
            factors = w.place(w.lanes.element, "%factors", w.op("mul i64", j, 2 * (radix - 1)))
            _write_turned(w, w.transform(values), strip, start, step, factors)
    return "ptr noalias %strip, ptr noalias readonly %factors, i64 %m, i64 %blocks"


def _last_numbers(w: PassWriter, radix: int, group: str) -> list[Pair]:
    size = 2 * w.lanes.count
    start = w.op("mul i64", group, radix * size)
    return w.transform([w.get_pair("%strip", w.op("add i64", start, k * size)) for k in range(radix)])


def _last(w: PassWriter, radix: int, swapped: bool) -> str:
    """void(strip, rows, order, groups, row): the t-th number of a group goes to the row ``order[group] + t * groups``."""
    apart = w.op("mul i64", "%groups", "%row")
    with w.loop(0, "%groups") as group:
        values = _last_numbers(w, radix, group)
        base = w.place(w.lanes.element, "%rows", w.op("mul i64", w.load("i64", "%order", group), "%row"))
        for number, value in enumerate(values):
            w.put_numbers(value, base, w.op("mul i64", apart, number), swapped)
    return "ptr noalias readonly %strip, ptr noalias %rows, ptr noalias readonly %order, i64 %groups, i64 %row"


def _last_between(w: PassWriter, radix: int) -> str:
    """void(strip, to, order, bases, lanes, groups): numbers are multiplied by one of ``bases`` and a pair of ``lanes``."""
    size = 2 * w.lanes.count
    apart = w.op("mul i64", "%groups", size)
    with w.loop(0, "%groups") as group:
        values = _last_numbers(w, radix, group)
        base = w.place(w.lanes.element, "%to", w.op("mul i64", w.load("i64", "%order", group), size))
        for number, value in enumerate(values):
            place = w.op("add i64", w.op("mul i64", group, radix), number)
            factor = w.times(w.get_pair("%lanes", w.op("mul i64", place, size)),
                             w.spread("%bases", w.op("mul i64", place, 2)))
            w.put_pair(w.times(value, factor), base, w.op("mul i64", apart, number))
    return ("ptr noalias readonly %strip, ptr noalias %to, ptr noalias readonly %order, ptr noalias readonly %bases, "
            "ptr noalias readonly %lanes, i64 %groups")


def _last_within(w: PassWriter, radix: int) -> str:
    """void(strip, to, order, groups)."""
    size = 2 * w.lanes.count
    apart = w.op("mul i64", "%groups", size)
    with w.loop(0, "%groups") as group:
        values = _last_numbers(w, radix, group)
        base = w.place(w.lanes.element, "%to", w.op("mul i64", w.load("i64", "%order", group), size))
        for number, value in enumerate(values):
            w.put_pair(value, base, w.op("mul i64", apart, number))
    return "ptr noalias readonly %strip, ptr noalias %to, ptr noalias readonly %order, i64 %groups"


@contextmanager
def _squares(w: PassWriter) -> Iterator[tuple[str, list[str]]]:
    """Lines for each square of numbers of `lanes` rows: where it is in the strip, and in the rows. The last ones end with n."""
    count = w.lanes.count
    with w.loop(0, w.op("udiv i64", w.op("add i64", "%n", count - 1), count)) as number:
        start = w.least(w.op("mul i64", number, count), w.op("sub i64", "%n", count))
        place = w.op("mul i64", start, 2)
        yield (w.place(w.lanes.element, "%strip", w.op("mul i64", start, 2 * count)),
               [w.op("add i64", w.op("mul i64", "%row", row), place) for row in range(count)])


def _turned(w: PassWriter, pairs: Sequence[Pair]) -> list[Pair]:
    """The columns of a square."""
    return [Pair(*parts) for parts in zip(*[w.transposed(part) for part in zip(*pairs, strict=True)], strict=True)]


def _gather(w: PassWriter, swapped: bool) -> str:
    """void(rows, strip, n, row): `lanes` rows of n numbers become a strip."""
    with _squares(w) as (strip, rows):
        for place, value in enumerate(_turned(w, [w.get_numbers("%rows", row, swapped) for row in rows])):
            w.put_pair(value, strip, 2 * w.lanes.count * place)
    return "ptr noalias readonly %rows, ptr noalias %strip, i64 %n, i64 %row"


def _spread_out(w: PassWriter, swapped: bool) -> str:
    """void(strip, rows, n, row): the other way round."""
    with _squares(w) as (strip, rows):
        columns = [w.get_pair(strip, 2 * w.lanes.count * place) for place in range(w.lanes.count)]
        for row, value in zip(rows, _turned(w, columns), strict=True):
            w.put_numbers(value, "%rows", row, swapped)
    return "ptr noalias readonly %strip, ptr noalias %rows, i64 %n, i64 %row"


def _fold_strip(w: PassWriter, inverse: bool) -> str:
    """void(strip, factors, m): as ``fold``, for each lane, in place."""
    size = 2 * w.lanes.count
    last = w.op("mul i64", "%m", size)
    x = w.get_pair("%strip", 0)
    y = w.get_vector("%strip", last) if inverse else x.imag
    total, difference = w.add(x.real, y), w.sub(x.real, y)
    w.put_pair(Pair(total, difference if inverse else w.number(0.0)), "%strip", 0)
    if not inverse:
        w.put_pair(Pair(difference, w.number(0.0)), "%strip", last)
    pairs = w.op("lshr i64", w.op("sub i64", "%m", 1), 1)
    with w.loop(0, pairs) as number:
        low = w.op("mul i64", w.op("add i64", number, 1), size)
        high = w.op("sub i64", last, low)
        here, there = _folded(w, w.get_pair("%strip", low), w.get_pair("%strip", high),
                              w.spread("%factors", w.op("mul i64", number, 2)), None if inverse else w.number(0.5))
        w.put_pair(there if inverse else here, "%strip", low)
        w.put_pair(here if inverse else there, "%strip", high)
    with w.when(w.op("icmp eq i64", w.op("and i64", "%m", 1), 0)):
        middle = w.op("lshr i64", last, 1)
        x = w.get_pair("%strip", middle)
        x = w.plus(x, x) if inverse else x
        w.put_pair(Pair(x.real, w.negated(x.imag)), "%strip", middle)
    return "ptr noalias %strip, ptr noalias readonly %factors, i64 %m"


def _turn(w: PassWriter) -> str:
    """void(strips, strip, count, apart, last): of ``count`` strips the first ``lanes`` numbers of each, so that lanes become
    numbers. What comes of a strip begins ``lanes`` numbers behind the one before, but at ``last`` or before.
    """
    count = w.lanes.count
    with w.loop(0, "%count") as number:
        source = w.place(w.lanes.element, "%strips", w.op("mul i64", number, "%apart"))
        start = w.least(w.op("mul i64", number, count), "%last")
        target = w.place(w.lanes.element, "%strip", w.op("mul i64", start, 2 * count))
        for part in (0, count):
            rows = [w.get_vector(source, 2 * count * row + part) for row in range(count)]
            for row, value in enumerate(w.transposed(rows)):
                w.put_vector(value, target, 2 * count * row + part)
    return "ptr noalias readonly %strips, ptr noalias %strip, i64 %count, i64 %apart, i64 %last"


def _folded(w: PassWriter, low: Pair, high: Pair, factor: Pair, scale: str | None) -> tuple[Pair, Pair]:
    """Numbers k and n - k of a half spectrum from those of the transform of pairs, or the other way round."""
    total = Pair(w.add(low.real, high.real), w.sub(low.imag, high.imag))
    difference = Pair(w.sub(low.real, high.real), w.add(low.imag, high.imag))
    if scale is not None:
        total = w.scaled(total, scale)
    odd = w.times(difference, factor)
    there = w.minus(total, odd)
    return w.plus(total, odd), Pair(there.real, w.negated(there.imag))


def _fold(w: PassWriter, inverse: bool) -> str:
    """void(from, to, bases, lanes, m, begin, end): the step between m complex numbers and the half spectrum of 2 m real ones.

    What is read may be what is written. Number k and m - k are made of each other; ``bases`` has a factor for each
    vector's first, ``lanes`` one for each number of a vector. The inverse stores them in each other's place: then what is
    left to do is a transform forward. This is for vectors of pairs from ``begin`` to ``end``; with the last vector go the
    numbers that are in none.
    """
    count = w.lanes.count
    pairs = w.op("lshr i64", w.op("sub i64", "%m", 1), 1)
    vectors = w.op("udiv i64", pairs, count)
    with w.loop("%begin", "%end") as number:
        k = w.op("add i64", w.op("mul i64", number, count), 1)
        low, high = w.op("mul i64", k, 2), w.op("mul i64", w.op("sub i64", "%m", w.op("add i64", k, count - 1)), 2)
        factor = w.times(w.get_pair("%lanes", 0), w.spread("%bases", w.op("mul i64", number, 2)))
        here, there = _folded(w, w.get_numbers("%from", low), w.get_numbers("%from", high, backwards=True), factor,
                              None if inverse else w.number(0.5))
        w.put_numbers(there if inverse else here, "%to", low)
        w.put_numbers(here if inverse else there, "%to", high, backwards=True)
    with w.when(w.op("icmp eq i64", "%end", vectors)):
        _fold_others(w, inverse, pairs, vectors)
    return ("ptr %from, ptr %to, ptr noalias readonly %bases, ptr noalias readonly %lanes, i64 %m, i64 %begin, i64 %end")


def _fold_others(w: PassWriter, inverse: bool, pairs: str, vectors: str) -> None:
    """The first number, pairs behind the last vector, and the number in the middle."""
    element, count = w.lanes.element, w.lanes.count
    single = PassWriter(Lanes(element, 1))
    single.lines, single.cells = w.lines, w.cells
    single.name = w.name  # type: ignore[method-assign]
    x, y = w.load(element, "%from", 0), w.load(element, "%from", w.op("mul i64", "%m", 2) if inverse else 1)
    total, difference = w.op(f"fadd {element}", x, y), w.op(f"fsub {element}", x, y)
    w.store(element, total, "%to", 0)
    w.store(element, difference if inverse else "0.0", "%to", 1)
    if not inverse:
        end = w.op("mul i64", "%m", 2)
        w.store(element, difference, "%to", end)
        w.store(element, "0.0", "%to", w.op("add i64", end, 1))
    done = w.op("mul i64", vectors, count)
    base = w.place(element, "%bases", w.op("mul i64", vectors, 2))
    with w.loop(done, pairs) as number:
        k = w.op("add i64", number, 1)
        low, high = w.op("mul i64", k, 2), w.op("mul i64", w.op("sub i64", "%m", k), 2)
        lane = w.place(element, "%lanes", w.op("sub i64", number, done))
        factor = single.times(Pair(single.get_vector(lane, 0), single.get_vector(lane, count)), single.spread(base, 0))
        here, there = _folded(single, single.get_numbers("%from", low), single.get_numbers("%from", high), factor,
                              None if inverse else single.number(0.5))
        single.put_numbers(there if inverse else here, "%to", low)
        single.put_numbers(here if inverse else there, "%to", high)
    with w.when(w.op("icmp eq i64", w.op("and i64", "%m", 1), 0)):
        # The number in the middle is made of itself; `m` is half of its place in the array of parts.
        x, y = w.load(element, "%from", "%m"), w.load(element, "%from", w.op("add i64", "%m", 1))
        if inverse:
            x, y = w.op(f"fadd {element}", x, x), w.op(f"fadd {element}", y, y)
        w.store(element, x, "%to", "%m")
        w.store(element, w.op(f"fneg {element}", y), "%to", w.op("add i64", "%m", 1))


_DECLARATIONS = "declare i64 @llvm.smin.i64(i64, i64)"


def text(name: str) -> str:
    """The module of ``gx.fourier.NAME``: PASS.RADIX.VARIANT.ELEMENT.LANES, such as ``first.8.swapped.double.8``."""
    kind, radix, variant, element, lanes = name.split(".")
    w = PassWriter(Lanes(element, int(lanes)))
    writers: dict[str, Callable[[], str]] = {
        "first": lambda: _first(w, int(radix), variant == "swapped"),
        "middle": lambda: _middle(w, int(radix)),
        "last": lambda: _last(w, int(radix), variant == "swapped"),
        "last between": lambda: _last_between(w, int(radix)),
        "last within": lambda: _last_within(w, int(radix)),
        "turn": lambda: _turn(w),
        "gather": lambda: _gather(w, variant == "swapped"),
        "spread": lambda: _spread_out(w, variant == "swapped"),
        "fold": lambda: _fold(w, variant == "inverse"),
        "fold_strip": lambda: _fold_strip(w, variant == "inverse"),
    }
    parameters = writers.get(f"{kind} {variant}", writers[kind])()
    w.do("ret void")
    return f"{_DECLARATIONS}\n{w.function(f'void @gx.fourier.{name}({parameters})', 'noinline nounwind')}"
