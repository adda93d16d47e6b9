"""LAPACK's routines as native routines: factorisations and what is solved with them.

Matrices lie row by row, LAPACK sees their transposes. Where that changes nothing but which triangle or side is meant,
nothing is copied: the lower factor of A, row by row, is the upper factor of its transpose, column by column. A system
A X = B is X^T A^T = B^T to LAPACK, with the matrix on the right. Only a factorisation with pivots of rows is made of a
transposed copy, so that it is NumPy's: it finds out the same matrices to be singular.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from gradxform.backend.blocked_text import Blocks, Layout
from gradxform.backend.cholesky_text import cholesky_cotangent
from gradxform.backend.routine_text import RoutineText, RoutineWriter, element_type
from gradxform.backend.schur_text import square_root, sylvester
from gradxform.backend.spectral_text import BLOCK, PREFIXES, eig, eigh, svd

#: Systems of up to this many unknowns are solved by loops: a call takes longer, and may use threads.
SMALL_SYSTEM = 48
#: The same for a single right-hand side.
SMALL_VECTOR = 8


def lapack(dtype: str, name: str) -> str:
    return f"gx.lapack.{PREFIXES[dtype]}{name}"


def cholesky(dtype: str, n: int, upper: int) -> RoutineText:
    """The factor of a matrix of which one triangle is read; 1: not positive definite."""
    kind, size = element_type(np.dtype(dtype)), np.dtype(dtype).itemsize
    w = RoutineWriter(1, 1)
    w.copy("%y0", "%x0", size * n * n)
    clear = w.clear_lower if upper else w.clear_upper
    if not dtype.startswith("complex"):
        function = Blocks(w, np.dtype(dtype)).factor(n, n, bool(upper))
        code = w.value(f"call i64 @{function}(ptr %y0, ptr %workspace)")
        w.fail_if(w.value(f"icmp ne i64 {code}, 0"), 1, [("%y0", n * n)], kind)
        clear("%y0", n, n, kind)
        return w.text()
    info = w.slot("i32")
    w.fortran(lapack(dtype, "potrf"), w.letter("L" if upper else "U"), w.integer(n), "%y0", w.integer(n), info)
    w.fail_unless_zero(info, 1, [("%y0", n * n)], kind)
    clear("%y0", n, n, kind)
    return w.text()


def cholesky_workspace(dtype: str, n: int, upper: int) -> int:
    """Bytes that `cholesky` needs."""
    if dtype.startswith("complex"):
        return 0
    blocks = Blocks(RoutineWriter(0, 0), np.dtype(dtype))
    return blocks.room[blocks.factor(n, n, bool(upper))] * np.dtype(dtype).itemsize


def _small_solve(w: RoutineWriter, matrix: str, target: str, n: int, k: int, lower: int, transposed: bool, unit: int,
                 kind: str) -> None:
    """Row by row of the matrix: what is known is subtracted (or a row, once known, from those that wait for it)."""
    def address(pointer: str, i: str, j: str, columns: int) -> str:
        return w.offset(pointer, w.value(f"add nsw i64 {w.value(f'mul nsw i64 {i}, {columns}')}, {j}"), kind)

    def update(to: str, source: str, factor: str) -> None:
        """Row ``to`` of the target loses ``factor`` times row ``source``."""
        with w.loop(0, k) as c:
            place = address(target, to, c, k)
            taken = w.value(f"load {kind}, ptr {address(target, source, c, k)}")
            product = w.value(f"fmul contract {kind} {factor}, {taken}")
            old = w.value(f"load {kind}, ptr {place}")
            w.line(f"store {kind} {w.value(f'fsub contract {kind} {old}, {product}')}, ptr {place}")

    forward = bool(lower) != transposed
    with w.loop(0, n) as step:
        i = step if forward else w.value(f"sub nsw i64 {n - 1}, {step}")
        others = (0, i) if lower else (w.value(f"add nsw i64 {i}, 1"), n)
        if not transposed:
            with w.loop(*others) as j:
                update(i, j, w.value(f"load {kind}, ptr {address(matrix, i, j, n)}"))
        if not unit:
            pivot = w.value(f"load {kind}, ptr {address(matrix, i, i, n)}")
            with w.loop(0, k) as c:
                place = address(target, i, c, k)
                old = w.value(f"load {kind}, ptr {place}")
                w.line(f"store {kind} {w.value(f'fdiv {kind} {old}, {pivot}')}, ptr {place}")
        if transposed:
            with w.loop(*others) as j:
                update(j, i, w.value(f"load {kind}, ptr {address(matrix, i, j, n)}"))


def small_system(dtype: str, n: int, k: int) -> bool:
    """Whether a triangular system is solved by loops."""
    return not dtype.startswith("complex") and n <= (SMALL_VECTOR if k == 1 else SMALL_SYSTEM)


def _layout(n: int, k: int, lower: int, mode: str, unit: int) -> Layout:
    """Of a system of real numbers. An upper triangle is a lower one from its end."""
    row, step = (n, 1) if mode == "N" else (1, n)
    sign = 1 if bool(lower) == (mode == "N") else -1
    return Layout(sign * row, sign * step, sign * k, 1, bool(unit))


def solving_workspace(dtype: str, n: int, k: int) -> int:
    """Bytes that a triangular system needs; what it looks like does not count."""
    if dtype.startswith("complex") or small_system(dtype, n, k) or not n * k:
        return 0
    blocks = Blocks(RoutineWriter(0, 0), np.dtype(dtype))
    return blocks.room[blocks.solve(n, k, _layout(n, k, 1, "N", 0))] * np.dtype(dtype).itemsize


def _solve(w: RoutineWriter, dtype: str, matrix: str, target: str, n: int, k: int, lower: int, mode: str, unit: int,
           workspace: str = "%workspace") -> None:
    """``target`` (n, k) becomes the solution of the system of a triangle, in place; ``mode``: N, T or C of the matrix."""
    kind = element_type(np.dtype(dtype))
    if small_system(dtype, n, k):
        _small_solve(w, matrix, target, n, k, lower, mode != "N", unit, kind)
        return
    if not dtype.startswith("complex"):
        layout = _layout(n, k, lower, mode, unit)
        function = Blocks(w, np.dtype(dtype)).solve(n, k, layout)
        m, x = ((w.offset(matrix, n * n - 1, kind), w.offset(target, (n - 1) * k, kind)) if layout.line < 0
                else (matrix, target))
        w.line(f"call void @{function}(ptr {m}, ptr {x}, ptr {workspace})")
        return
    triangle, diagonal = w.letter("U" if lower else "L"), w.letter("U" if unit else "N")
    if k == 1 and mode != "C":
        w.fortran(f"gx.blas.{PREFIXES[dtype]}trsv", triangle, w.letter("T" if mode == "N" else "N"), diagonal, w.integer(n),
                  matrix, w.integer(n), target, w.integer(1))
        return
    w.fortran(f"gx.blas.{PREFIXES[dtype]}trsm", w.letter("R"), triangle, w.letter(mode), diagonal, w.integer(k), w.integer(n),
              w.number(1, kind), matrix, w.integer(n), target, w.integer(k))


def _is_zero(w: RoutineWriter, value: str, kind: str) -> str:
    if not kind.startswith("<"):
        return w.value(f"fcmp oeq {kind} {value}, 0.0")
    both = w.value(f"fcmp oeq {kind} {value}, zeroinitializer")
    first, second = (w.value(f"extractelement <2 x i1> {both}, i32 {part}") for part in (0, 1))
    return w.value(f"and i1 {first}, {second}")


def _fail_if_singular(w: RoutineWriter, matrix: str, n: int, filled: int, kind: str) -> None:
    """Returns 1 if there is a zero on the diagonal."""
    found = w.slot("i1", 1)
    w.line(f"store i1 false, ptr {found}")
    with w.loop(0, n) as i:
        place = w.offset(matrix, w.value(f"mul nsw i64 {i}, {n + 1}"), kind)
        value = w.value(f"load {kind}, ptr {place}, align 8" if kind.startswith("<") else f"load {kind}, ptr {place}")
        old = w.value(f"load i1, ptr {found}")
        w.line(f"store i1 {w.value(f'or i1 {old}, {_is_zero(w, value, kind)}')}, ptr {found}")
    w.fail_if(w.value(f"load i1, ptr {found}"), 1, [("%y0", filled)], kind)


def triangular_solve(dtype: str, n: int, k: int, lower: int, mode: str, unit: int, checked: int) -> RoutineText:
    """The solution X of A X = B, of A^T X = B or A^H X = B for a triangle A; 1: a zero on the diagonal."""
    kind, size = element_type(np.dtype(dtype)), np.dtype(dtype).itemsize
    w = RoutineWriter(2, 1)
    if checked and not unit:
        _fail_if_singular(w, "%x0", n, n * k, kind)
    w.copy("%y0", "%x1", size * n * k)
    _solve(w, dtype, "%x0", "%y0", n, k, lower, mode, unit)
    return w.text()


def lu(dtype: str, m: int, n: int) -> RoutineText:
    """P A = L U: both factors in one matrix, the rows that changed places, and the row that comes to each place."""
    kind = element_type(np.dtype(dtype))
    w = RoutineWriter(1, 3)
    square = m == n
    columns = "%y0" if square else "%workspace"
    w.transpose(columns, "%x0", m, n, kind)
    info = w.slot("i32")
    w.fortran(lapack(dtype, "getrf"), w.integer(m), w.integer(n), columns, w.integer(max(m, 1)), "%y1", info)
    if square:
        w.turn("%y0", n, kind)
    else:
        w.transpose("%y0", columns, n, m, kind)
    _rows(w, "%y1", "%y2", m, min(m, n), subtract=True)
    return w.text()


def rows_of_pivots(n: int) -> RoutineText:
    """The order to which exchanges of rows lead; an exchange with a row that does not exist leaves everything in its place."""
    w = RoutineWriter(1, 1)
    _rows(w, "%x0", "%y0", n, n, subtract=False)
    return w.text()


def _rows(w: RoutineWriter, pivots: str, rows: str, m: int, count: int, subtract: bool) -> None:
    """Store the order of ``m`` rows after ``count`` exchanges, which count from 1, and shall count from 0, if ``subtract``."""
    with w.loop(0, m) as i:
        w.line(f"store i64 {i}, ptr {w.offset(rows, i, 'i64')}")
    with w.loop(0, count) as i:
        place = w.offset(pivots, i, "i32")
        pivot = w.value(f"load i32, ptr {place}")
        if subtract:
            pivot = w.value(f"sub i32 {pivot}, 1")
            w.line(f"store i32 {pivot}, ptr {place}")
        else:
            inside = w.value(f"icmp ult i32 {pivot}, {m}")
            pivot = w.value(f"select i1 {inside}, i32 {pivot}, i32 {w.value(f'trunc i64 {i} to i32')}")
        here, there = (w.offset(rows, index, "i64") for index in (i, w.value(f"sext i32 {pivot} to i64")))
        first, second = (w.value(f"load i64, ptr {address}") for address in (here, there))
        w.line(f"store i64 {second}, ptr {here}")
        w.line(f"store i64 {first}, ptr {there}")


def solve(dtype: str, n: int, k: int, mode: str) -> RoutineText:
    """Of a matrix, its factors, the order of its rows and B: X with A X = B; 1: singular."""
    kind, size = element_type(np.dtype(dtype)), np.dtype(dtype).itemsize
    w = RoutineWriter(4, 1)
    _fail_if_singular(w, "%x1", n, n * k, kind)

    def rows(to: str, source: str, gathers: bool) -> None:
        with w.loop(0, n) as i:
            row = w.value(f"load i64, ptr {w.offset('%x2', i, 'i64')}")
            a, b = (i, row) if gathers else (row, i)
            place, origin = (w.offset(pointer, w.value(f"mul nsw i64 {index}, {k}"), kind)
                             for pointer, index in ((to, a), (source, b)))
            w.copy(place, origin, size * k)

    if mode == "N":
        rows("%y0", "%x3", True)
        _solve(w, dtype, "%x1", "%y0", n, k, 1, mode, 1)
        _solve(w, dtype, "%x1", "%y0", n, k, 0, mode, 0)
        return w.text()
    w.copy("%workspace", "%x3", size * n * k)
    rest = w.offset("%workspace", n * k, kind)
    _solve(w, dtype, "%x1", "%workspace", n, k, 0, mode, 0, rest)
    _solve(w, dtype, "%x1", "%workspace", n, k, 1, mode, 1, rest)
    rows("%y0", "%workspace", False)
    return w.text()


def inverse_workspace(dtype: str, n: int) -> int:
    return -(-4 * n // 64) * 64 + BLOCK * n * np.dtype(dtype).itemsize


def inverse(dtype: str, n: int) -> RoutineText:
    """The inverse of a matrix; 1: singular."""
    kind = element_type(np.dtype(dtype))
    w = RoutineWriter(1, 1)
    w.transpose("%y0", "%x0", n, n, kind)
    info = w.slot("i32")
    pivots, work = "%workspace", w.offset("%workspace", -(-4 * n // 64) * 64, "i8")
    w.fortran(lapack(dtype, "getrf"), w.integer(n), w.integer(n), "%y0", w.integer(n), pivots, info)
    w.fail_unless_zero(info, 1, [("%y0", n * n)], kind)
    w.fortran(lapack(dtype, "getri"), w.integer(n), "%y0", w.integer(n), pivots, work, w.integer(BLOCK * n), info)
    w.turn("%y0", n, kind)
    return w.text()


def qr_workspace(dtype: str, m: int, n: int) -> int:
    return (BLOCK * max(m, n) + m * n + min(m, n)) * np.dtype(dtype).itemsize + 256


def qr(dtype: str, m: int, n: int, mode: str) -> RoutineText:
    """Q and R of A, from L and Q of its transpose, which is how A lies; ``mode``: reduced, complete or r (R alone)."""
    kind, size = element_type(np.dtype(dtype)), np.dtype(dtype).itemsize
    least = min(m, n)
    k = m if mode == "complete" else least
    is_complex = dtype.startswith("complex")
    w = RoutineWriter(1, 1 if mode == "r" else 2)
    r = "%y0" if mode == "r" else "%y1"
    info = w.slot("i32")
    factors = "%workspace"
    scalars = w.offset(factors, m * n, kind)
    work = w.offset(scalars, least, kind)
    w.copy(factors, "%x0", size * m * n)
    # Column by column this is the transpose, n by m.
    w.fortran(lapack(dtype, "gelqf"), w.integer(n), w.integer(m), factors, w.integer(max(n, 1)), scalars, work,
              w.integer(BLOCK * max(m, n)), info)
    w.copy(r, factors, size * least * n)
    w.clear(w.offset(r, least * n, kind), size * (k - least) * n)
    w.clear_lower(r, least, n, kind)
    if mode == "r":
        return w.text()
    if n == k:
        w.copy("%y0", factors, size * m * k)
    else:
        with w.loop(0, m) as i:
            to, source = (w.offset(pointer, w.value(f"mul nsw i64 {i}, {columns}"), kind)
                          for pointer, columns in (("%y0", k), (factors, n)))
            w.copy(to, source, size * min(n, k))
    w.fortran(lapack(dtype, "unglq" if is_complex else "orglq"), w.integer(k), w.integer(m), w.integer(least), "%y0",
              w.integer(max(k, 1)), scalars, work, w.integer(BLOCK * max(m, n)), info)
    return w.text()


#: What each routine's parameters are, its function says.
ROUTINES: Mapping[str, Callable[..., RoutineText]] = MappingProxyType({
    "cholesky": cholesky, "cholesky_cotangent": cholesky_cotangent, "eig": eig, "eigh": eigh, "inverse": inverse, "lu": lu,
    "qr": qr, "rows_of_pivots": rows_of_pivots, "solve": solve, "square_root": square_root, "svd": svd,
    "sylvester": sylvester, "triangular_solve": triangular_solve,
})
