"""The cotangent of a Cholesky decomposition as a native routine, in about twice the time of the decomposition.

I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527 (2016): reverse mode undoes the decomposition
block by block, from the last to the first. The rule written with triangular solves and whole products costs six times as much.
Here each step halves the extent (see blocked_text). With L = [[L11, .], [L21, L22]] and the same letters in lower case for what
is to become the cotangent of the lower triangle of A, beginning with that of L:

    l22 := the same of A22 ;  l21 -= (l22 + l22^T) L21 ;  l21 := l21 L11^-1 ;  l11 -= tril(l21^T L21) ;  l11 := the same of A11
"""

from __future__ import annotations

import numpy as np

from gradxform.backend.blocked_text import Blocks, Layout, first_part
from gradxform.backend.gemm import Strides
from gradxform.backend.routine_text import RoutineText, RoutineWriter, element_type
from gradxform.backend.triangle_text import LEAF

#: Rows and columns of the squares in which a triangle is mirrored.
TILE = 16


def _address(w: RoutineWriter, pointer: str, i: int | str, j: int | str, n: int, kind: str) -> str:
    if isinstance(i, int) and isinstance(j, int):
        return w.offset(pointer, i * n + j, kind)
    return w.offset(pointer, w.value(f"add nsw i64 {w.value(f'mul nsw i64 {i}, {n}')}, {j}"), kind)


def _unblocked(w: RoutineWriter, first: str, last: str, n: int, kind: str) -> None:
    """Rows and columns from ``first`` to ``last``, one by one from the last; what lies left of them is not touched."""
    def load(pointer: str) -> str:
        return w.value(f"load {kind}, ptr {pointer}")

    def subtract(place: str, a: str, b: str) -> None:
        product = w.value(f"fmul contract {kind} {a}, {b}")
        w.line(f"store {kind} {w.value(f'fsub contract {kind} {load(place)}, {product}')}, ptr {place}")

    size = w.value(f"sub nsw i64 {last}, {first}")
    with w.loop(0, size) as step:
        j = w.value(f"sub nsw i64 {w.value(f'sub nsw i64 {last}, 1')}, {step}")
        below = w.value(f"add nsw i64 {j}, 1")
        diagonal, pivot = _address(w, "%y0", j, j, n, kind), load(_address(w, "%x0", j, j, n, kind))
        with w.loop(below, last) as i:
            place = _address(w, "%y0", i, j, n, kind)
            quotient = w.value(f"fdiv {kind} {load(place)}, {pivot}")
            w.line(f"store {kind} {quotient}, ptr {place}")
            subtract(diagonal, load(_address(w, "%x0", i, j, n, kind)), quotient)
        scaled = w.value(f"fdiv {kind} {load(diagonal)}, {pivot}")
        with w.loop(first, j) as c:
            subtract(_address(w, "%y0", j, c, n, kind), scaled, load(_address(w, "%x0", j, c, n, kind)))
        with w.loop(below, last) as i:
            factor = load(_address(w, "%y0", i, j, n, kind))
            with w.loop(first, j) as c:
                subtract(_address(w, "%y0", j, c, n, kind), factor, load(_address(w, "%x0", i, c, n, kind)))
            with w.loop(first, j) as c:
                subtract(_address(w, "%y0", i, c, n, kind), factor, load(_address(w, "%x0", j, c, n, kind)))
        w.line(f"store {kind} {w.value(f'fmul {kind} {scaled}, 0.5')}, ptr {diagonal}")


def _leaf(blocks: Blocks, n: int, lead: int) -> str:
    """The function ``void (L, l, work)`` for a block that is not divided."""
    name = f"gx.cotangent.leaf.{blocks.kind}.{n}.{lead}"
    if name not in blocks.room:
        w = RoutineWriter(0, 0)
        _unblocked(w, "0", str(n), lead, blocks.kind)
        blocks.function(name, "ptr noalias readonly %x0, ptr noalias %y0, ptr %work", [*w.lines, "ret void"], 0)
    return name


def _mirror(blocks: Blocks, lead: int) -> str:
    """The function ``void (a, n)`` that makes A + A^T of a lower triangle A."""
    name = f"gx.mirror.{blocks.kind}.{lead}"
    if name in blocks.room:
        return name
    w, kind = RoutineWriter(0, 0), blocks.kind

    def least(a: str, b: str) -> str:
        return w.value(f"select i1 {w.value(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

    with w.loop(0, "%n", TILE) as block:
        last = least(w.value(f"add nsw i64 {block}, {TILE}"), "%n")
        with w.loop(0, last, TILE) as other:
            beyond = w.value(f"add nsw i64 {other}, {TILE}")
            with w.loop(block, last) as i, w.loop(other, least(beyond, i)) as j:
                value = w.value(f"load {kind}, ptr {_address(w, '%a', i, j, lead, kind)}")
                w.line(f"store {kind} {value}, ptr {_address(w, '%a', j, i, lead, kind)}")
    with w.loop(0, "%n") as i:
        place = _address(w, "%a", i, i, lead, kind)
        value = w.value(f"load {kind}, ptr {place}")
        w.line(f"store {kind} {w.value(f'fmul {kind} {value}, 2.0')}, ptr {place}")
    return blocks.function(name, "ptr %a, i64 %n", [*w.lines, "ret void"], 0)


def _halve(blocks: Blocks, lead: int) -> str:
    """The function ``void (a, n)`` that halves a diagonal."""
    name = f"gx.halve.{blocks.kind}.{lead}"
    if name in blocks.room:
        return name
    w, kind = RoutineWriter(0, 0), blocks.kind
    with w.loop(0, "%n") as i:
        place = _address(w, "%a", i, i, lead, kind)
        value = w.value(f"load {kind}, ptr {place}")
        w.line(f"store {kind} {w.value(f'fmul {kind} {value}, 0.5')}, ptr {place}")
    return blocks.function(name, "ptr %a, i64 %n", [*w.lines, "ret void"], 0)


def _cotangent(blocks: Blocks, n: int, lead: int) -> str:
    """The function ``void (L, l, work)`` for the leading ``n`` rows and columns."""
    if n <= LEAF:
        return _leaf(blocks, n, lead)
    name = f"gx.cotangent.{blocks.kind}.{n}.{lead}"
    if name in blocks.room:
        return name
    first = first_part(n)
    rest = n - first
    parts = [_cotangent(blocks, size, lead) for size in (first, rest)]
    mirror, halve = _mirror(blocks, lead), _halve(blocks, lead)
    down = Strides(1, lead, 0)
    record, room = blocks.product(rest, rest, first, Strides(lead, 1, 0), down, lead)
    solve = blocks.solve(first, rest, Layout(-1, -lead, -1, lead, False))
    update = blocks.lower_product(first, rest, down, down, lead, False)
    lines = [
        blocks.at("factor", "%x0", first * lead), blocks.at("below", "%y0", first * lead),
        blocks.at("factor2", "%x0", first * (lead + 1)), blocks.at("corner", "%y0", first * (lead + 1)),
        blocks.at("end", "%x0", (first - 1) * (lead + 1)), blocks.at("last", "%below", first - 1),
        f"call void @{parts[1]}(ptr %factor2, ptr %corner, ptr %work)", f"call void @{mirror}(ptr %corner, i64 {rest})",
        blocks.multiply(record, "%corner", "%factor", "%below"), f"call void @{halve}(ptr %corner, i64 {rest})",
        f"call void @{solve}(ptr %end, ptr %last, ptr %work)",
        f"call void @{update}(ptr %below, ptr %factor, ptr %y0, ptr %work)",
        f"call void @{parts[0]}(ptr %x0, ptr %y0, ptr %work)", "ret void"]
    return blocks.function(name, "ptr %x0, ptr %y0, ptr %work", lines,
                           max(room, *(blocks.room[used] for used in (*parts, solve, update))))


def cotangent_workspace(dtype: str, n: int) -> int:
    blocks = Blocks(RoutineWriter(0, 0), np.dtype(dtype))
    return blocks.room[_cotangent(blocks, n, n)] * np.dtype(dtype).itemsize


def cholesky_cotangent(dtype: str, n: int) -> RoutineText:
    """Of the lower factor and its cotangent, of which the lower triangle is read: the cotangent of the lower triangle of A."""
    kind, size = element_type(np.dtype(dtype)), np.dtype(dtype).itemsize
    w = RoutineWriter(2, 1)
    w.copy("%y0", "%x1", size * n * n)
    w.clear_upper("%y0", n, n, kind)
    function = _cotangent(Blocks(w, np.dtype(dtype)), n, n)
    w.line(f"call void @{function}(ptr %x0, ptr %y0, ptr %workspace)")
    if n > LEAF:
        w.clear_upper("%y0", n, n, kind)
    return w.text()
