"""Native routines that sort rows, and that find elements of the sorted row.

Keys become numbers without sign whose order is theirs, *images*: floats turn the bits of negative ones round, zeros of both
signs are one number, NaN is the largest. `sort_text` sorts those. Where the image does not tell the element, as for zeros and
NaN, the elements are put back as they were. Several keys are sorted by one after the other, the last one first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gradxform.backend.routine_text import RoutineText
from gradxform.backend.sort_text import BLOCK, ORDER, SORTER, Images, Writer
from gradxform.dtypes import DType


def memory_kind(dtype: DType) -> str:
    """How LLVM loads an element."""
    return ("double" if dtype.itemsize == 8 else "float") if dtype.kind == "f" else f"i{8 * dtype.itemsize}"


def images_of(dtype: DType) -> Images:
    """What elements of ``dtype`` become."""
    return Images(64 if dtype.itemsize == 8 else 32)


def _image(w: Writer, dtype: DType, value: str) -> tuple[str, str]:
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


def _element(w: Writer, dtype: DType, image: str) -> str:
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
    w = Writer()
    if len(dtypes) == 1 and positions == "no":
        lines = _values(w, dtypes[0], count)
    else:
        lines = _carried(w, dtypes, count, num_keys, positions)
    operands = [f"ptr noalias readonly %x{k}" for k in range(len(names))]
    results = (0 if positions == "only" else len(names)) + (positions != "no")
    parameters = ", ".join([*operands, *(f"ptr noalias %y{k}" for k in range(results)), "ptr noalias %workspace"])
    w.do("ret i64 0")
    return RoutineText("\n".join(["start:", *w.cells, *w.lines]), parameters, tuple(lines))


def _differing(w: Writer, images: Images, count: int, image_of: Any) -> tuple[str, str]:
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


def _values(w: Writer, dtype: DType, count: int) -> list[str]:
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
    return [f"declare {SORTER.format(bits=images.bits)}"]


def _put_back(w: Writer, dtype: DType, count: int, found: str) -> None:
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


def _carried(w: Writer, dtypes: Sequence[DType], count: int, num_keys: int, positions: str) -> list[str]:
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
    return [f"declare {ORDER}"]


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
    w = Writer()
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

    lines = [f"declare {ORDER}"]
    if count > SORTED_WHOLE:
        lines.append(f"declare {SORTER.format(bits=64)}")
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
