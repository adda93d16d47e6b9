"""Sylvester's equation and square roots of matrices, by Schur decompositions.

R. H. Bartels and G. W. Stewart, "Solution of the matrix equation AX + XB = C", Commun. ACM 15 (1972): with A = Y S Y^H and
B = Z T Z^H the equation is S F + F T = Y^H C Z. A. Bjorck and S. Hammarling, "A Schur method for the square root of a matrix",
Linear Algebra Appl. 52/53 (1983): the root U of a triangle T is found column by column, for U U = T.
"""

from __future__ import annotations

import numpy as np

from gradxform.backend.routine_text import RoutineText, RoutineWriter, element_type
from gradxform.backend.spectral_text import BLOCK, PREFIXES, Pieces, fail_unless_finite, is_complex, part_of


def _lengths(n: int) -> int:
    return (4 + BLOCK) * n


def _schur_pieces(pieces: Pieces, dtype: str, n: int) -> tuple[int, ...]:
    """Triangle, vectors, workspace, eigenvalues (and a workspace of parts)."""
    size = np.dtype(dtype).itemsize
    return tuple([pieces.take(size * count) for count in (n * n, n * n, _lengths(n), 4 * n)])


def _schur(w: RoutineWriter, dtype: str, n: int, places: tuple[int, ...], info: str) -> tuple[str, str]:
    """The triangle and the vectors, column by column, of the matrix that lies, column by column, where the triangle will."""
    triangle, vectors, work, values = (w.offset("%workspace", place, "i8") for place in places)
    part = element_type(np.dtype(part_of(dtype)))
    kind = element_type(np.dtype(dtype))
    dimension, flags = w.slot("i32"), w.slot("i32")
    second = w.offset(values, n, part if not is_complex(dtype) else kind)
    given = [values] if is_complex(dtype) else [values, second]
    tail = [second] if is_complex(dtype) else []
    w.fortran(f"gx.lapack.{PREFIXES[dtype]}gees", w.letter("V"), w.letter("N"), "null", w.integer(n), triangle, w.integer(n),
              dimension, *given, vectors, w.integer(n), work, w.integer(_lengths(n)), *tail, flags, info)
    return triangle, vectors


def _gemm(w: RoutineWriter, dtype: str, left: str, right: str, sizes: tuple[int, int, int], a: str, b: str, to: str) -> None:
    """``to`` (m, n), column by column, becomes the product of a and b, as they are (N) or as adjoints (C)."""
    kind = element_type(np.dtype(dtype))
    m, n, k = sizes
    w.fortran(f"gx.blas.{PREFIXES[dtype]}gemm", w.letter(left), w.letter(right), w.integer(m), w.integer(n), w.integer(k),
              w.number(1, kind), a, w.integer(m if left == "N" else k), b, w.integer(k if right == "N" else n),
              w.number(0, kind), to, w.integer(m))


def _sylvester_pieces(dtype: str, m: int, n: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    pieces = Pieces()
    first, second = _schur_pieces(pieces, dtype, m), _schur_pieces(pieces, dtype, n)
    arrays = (pieces.take(np.dtype(dtype).itemsize * m * n), pieces.take(np.dtype(dtype).itemsize * m * n))
    return first, second, arrays, pieces.total


def sylvester_workspace(dtype: str, m: int, n: int) -> int:
    return _sylvester_pieces(dtype, m, n)[-1]


def sylvester(dtype: str, m: int, n: int) -> RoutineText:
    """X with A X + X B = C; 1: A and -B have an eigenvalue in common, 2: an infinity or NaN, 3: not converged."""
    kind, part = element_type(np.dtype(dtype)), element_type(np.dtype(part_of(dtype)))
    factor = 1 + is_complex(dtype)
    first, second, arrays, _ = _sylvester_pieces(dtype, m, n)
    w = RoutineWriter(3, 1)
    nothing = [("%y0", m * n * factor)]
    info, scale = w.slot("i32"), w.slot(part)
    for position, count in enumerate((m * m, n * n)):
        fail_unless_finite(w, f"%x{position}", count * factor, part, 2, nothing)
    w.transpose(w.offset("%workspace", first[0], "i8"), "%x0", m, m, kind)
    w.transpose(w.offset("%workspace", second[0], "i8"), "%x1", n, n, kind)
    s, y = _schur(w, dtype, m, first, info)
    w.fail_unless_zero(info, 3, nothing, part)
    t, z = _schur(w, dtype, n, second, info)
    w.fail_unless_zero(info, 3, nothing, part)
    inner, other = (w.offset("%workspace", place, "i8") for place in arrays)
    w.transpose(inner, "%x2", m, n, kind)
    _gemm(w, dtype, "C", "N", (m, n, m), y, inner, other)
    _gemm(w, dtype, "N", "N", (m, n, n), other, z, inner)
    w.fortran(f"gx.lapack.{PREFIXES[dtype]}trsyl", w.letter("N"), w.letter("N"), w.integer(1), w.integer(m), w.integer(n), s,
              w.integer(m), t, w.integer(n), inner, w.integer(m), scale, info)
    w.fail_unless_zero(info, 1, nothing, part)
    _gemm(w, dtype, "N", "N", (m, n, m), y, inner, other)
    _gemm(w, dtype, "N", "C", (m, n, n), other, z, inner)
    w.transpose("%y0", inner, n, m, kind)
    divisor = w.value(f"load {part}, ptr {scale}")
    with w.loop(0, m * n * factor) as i:
        place = w.offset("%y0", i, part)
        value = w.value(f"load {part}, ptr {place}")
        w.line(f"store {part} {w.value(f'fdiv {part} {value}, {divisor}')}, ptr {place}")
    return w.text()


def _square_root_pieces(dtype: str, n: int) -> tuple[tuple[int, ...], int, int]:
    pieces = Pieces()
    schur = _schur_pieces(pieces, dtype, n)
    root = pieces.take(np.dtype(dtype).itemsize * n * n)
    return schur, root, pieces.total


def square_root_workspace(dtype: str, n: int) -> int:
    return _square_root_pieces(dtype, n)[-1]


class _Numbers:
    """Complex arithmetic in a routine: pairs of the names of real and imaginary parts."""

    def __init__(self, w: RoutineWriter, part: str) -> None:
        self.w = w
        self.part = part

    def load(self, matrix: str, row: str, column: str, n: int) -> tuple[str, str]:
        place = self.place(matrix, row, column, n)
        first = self.w.value(f"load {self.part}, ptr {place}")
        return first, self.w.value(f"load {self.part}, ptr {self.w.offset(place, 1, self.part)}")

    def place(self, matrix: str, row: str, column: str, n: int) -> str:
        w = self.w
        number = w.value(f"add nsw i64 {w.value(f'mul nsw i64 {column}, {n}')}, {row}")
        return w.offset(matrix, w.value(f"mul nsw i64 {number}, 2"), self.part)

    def store(self, place: str, number: tuple[str, str]) -> None:
        self.w.line(f"store {self.part} {number[0]}, ptr {place}")
        self.w.line(f"store {self.part} {number[1]}, ptr {self.w.offset(place, 1, self.part)}")

    def _apply(self, operation: str, x: str, y: str) -> str:
        return self.w.value(f"{operation} {self.part} {x}, {y}")

    def add(self, x: tuple[str, str], y: tuple[str, str]) -> tuple[str, str]:
        return self._apply("fadd", x[0], y[0]), self._apply("fadd", x[1], y[1])

    def sub(self, x: tuple[str, str], y: tuple[str, str]) -> tuple[str, str]:
        return self._apply("fsub", x[0], y[0]), self._apply("fsub", x[1], y[1])

    def mul(self, x: tuple[str, str], y: tuple[str, str]) -> tuple[str, str]:
        re = self._apply("fsub", self._apply("fmul", x[0], y[0]), self._apply("fmul", x[1], y[1]))
        return re, self._apply("fadd", self._apply("fmul", x[0], y[1]), self._apply("fmul", x[1], y[0]))

    def div(self, x: tuple[str, str], y: tuple[str, str]) -> tuple[str, str]:
        size = [self._apply("fmul", part, part) for part in y]
        total = self._apply("fadd", *size)
        conjugate = y[0], self.w.value(f"fneg {self.part} {y[1]}")
        product = self.mul(x, conjugate)
        return self._apply("fdiv", product[0], total), self._apply("fdiv", product[1], total)

    def root(self, x: tuple[str, str]) -> tuple[str, str]:
        """The principal square root, by the C library."""
        w, pair = self.w, "{ double, double }"
        wide = x if self.part == "double" else tuple([w.value(f"fpext float {p} to double") for p in x])
        w.declare(f"declare {pair} @gx.c.csqrt(double, double) nounwind")
        found = w.value(f"call {pair} @gx.c.csqrt(double {wide[0]}, double {wide[1]})")
        re, im = (w.value(f"extractvalue {pair} {found}, {k}") for k in (0, 1))
        if self.part == "double":
            return re, im
        return w.value(f"fptrunc double {re} to float"), w.value(f"fptrunc double {im} to float")


def square_root(dtype: str, n: int) -> RoutineText:
    """The principal square root of a complex matrix, infinite or NaN where there is none; 1: not converged, 2: not finite."""
    kind, part = element_type(np.dtype(dtype)), element_type(np.dtype(part_of(dtype)))
    size = np.dtype(dtype).itemsize
    schur, root_place, _ = _square_root_pieces(dtype, n)
    w = RoutineWriter(1, 1)
    nothing = [("%y0", 2 * n * n)]
    info = w.slot("i32")
    fail_unless_finite(w, "%x0", 2 * n * n, part, 2, nothing)
    w.transpose(w.offset("%workspace", schur[0], "i8"), "%x0", n, n, kind)
    t, z = _schur(w, dtype, n, schur, info)
    w.fail_unless_zero(info, 1, nothing, part)
    root = w.offset("%workspace", root_place, "i8")
    w.clear(root, size * n * n)
    numbers = _Numbers(w, part)
    parts = [w.slot(part), w.slot(part)]
    with w.loop(0, n) as j:
        numbers.store(numbers.place(root, j, j, n), numbers.root(numbers.load(t, j, j, n)))
        with w.loop(0, j) as step:
            i = w.value(f"sub nsw i64 {w.value(f'sub nsw i64 {j}, 1')}, {step}")
            start = numbers.load(t, i, j, n)
            for slot, value in zip(parts, start, strict=True):
                w.line(f"store {part} {value}, ptr {slot}")
            with w.loop(w.value(f"add nsw i64 {i}, 1"), j) as k:
                product = numbers.mul(numbers.load(root, i, k, n), numbers.load(root, k, j, n))
                now = [w.value(f"load {part}, ptr {slot}") for slot in parts]
                for slot, value in zip(parts, numbers.sub((now[0], now[1]), product), strict=True):
                    w.line(f"store {part} {value}, ptr {slot}")
            rest = [w.value(f"load {part}, ptr {slot}") for slot in parts]
            divisor = numbers.add(numbers.load(root, i, i, n), numbers.load(root, j, j, n))
            zero = w.value(f"and i1 {w.value(f'fcmp oeq {part} {rest[0]}, 0.0')}, {w.value(f'fcmp oeq {part} {rest[1]}, 0.0')}")
            found = numbers.div((rest[0], rest[1]), divisor)
            chosen = [w.value(f"select i1 {zero}, {part} 0.0, {part} {value}") for value in found]
            numbers.store(numbers.place(root, i, j, n), (chosen[0], chosen[1]))
    _gemm(w, dtype, "N", "N", (n, n, n), z, root, t)
    _gemm(w, dtype, "N", "C", (n, n, n), t, z, root)
    w.transpose("%y0", root, n, n, kind)
    return w.text()

