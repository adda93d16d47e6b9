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


def _halve(blocks: Blocks, lead: int) -> str:
    """The function ``void (a, n)`` that halves a diagonal."""
    name = f"gx.halve.{blocks.kind}.{lead}"
    if name in blocks.room:
        return name
    w, kind = RoutineWriter(0, 0), blocks.kind
    with w.loop(0, "%n") as i:
        place = w.offset("%a", w.value(f"mul nsw i64 {i}, {lead + 1}"), kind)
        value = w.value(f"load {kind}, ptr {place}")
        w.line(f"store {kind} {w.value(f'fmul {kind} {value}, 0.5')}, ptr {place}")
    return blocks.function(name, "ptr %a, i64 %n", [*w.lines, "ret void"], 0)


def _cotangent(blocks: Blocks, n: int, lead: int) -> str:
    """The function ``void (L, l, work)`` for the leading ``n`` rows and columns."""
    name = f"gx.cotangent.{blocks.kind}.{n}.{lead}"
    if name in blocks.room:
        return name
    if n <= LEAF:
        leaf = blocks.external("cotangent", "void", "ptr", "ptr", "i64", "i64")
        return blocks.function(name, "ptr %x0, ptr %y0, ptr %work", [
            f"call void @{leaf}(ptr %x0, ptr %y0, i64 {n}, i64 {lead})", "ret void"], 0)
    first = first_part(n)
    rest = n - first
    parts = [_cotangent(blocks, size, lead) for size in (first, rest)]
    mirror, halve = blocks.external("mirror", "void", "ptr", "i64", "i64"), _halve(blocks, lead)
    down = Strides(1, lead, 0)
    record, room = blocks.product(rest, rest, first, Strides(lead, 1, 0), down, lead)
    solve = blocks.solve(first, rest, Layout(-1, -lead, -1, lead, False))
    update = blocks.lower_product(first, rest, down, down, lead, False)
    lines = [
        blocks.at("factor", "%x0", first * lead), blocks.at("below", "%y0", first * lead),
        blocks.at("factor2", "%x0", first * (lead + 1)), blocks.at("corner", "%y0", first * (lead + 1)),
        blocks.at("end", "%x0", (first - 1) * (lead + 1)), blocks.at("last", "%below", first - 1),
        f"call void @{parts[1]}(ptr %factor2, ptr %corner, ptr %work)",
        f"call void @{mirror}(ptr %corner, i64 {rest}, i64 {lead})",
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
