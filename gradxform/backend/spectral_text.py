"""LAPACK's eigenvalue and singular value decompositions as native routines.

What LAPACK gets is a transposed copy, so that vectors have the signs that NumPy's have; copies are cheap beside iterations.
"""

from __future__ import annotations

import numpy as np

from gradxform.backend.routine_text import NAN, RoutineText, RoutineWriter, element_type

PREFIXES = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
#: Columns that LAPACK treats together; workspaces have room for so many.
BLOCK = 64


def is_complex(dtype: str) -> bool:
    return dtype.startswith("complex")


def part_of(dtype: str) -> str:
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def _sizes(dtype: str) -> tuple[str, int, str, int]:
    """How elements and their parts are loaded, and their bytes."""
    part = part_of(dtype)
    return element_type(np.dtype(dtype)), np.dtype(dtype).itemsize, element_type(np.dtype(part)), np.dtype(part).itemsize


def _whole(size: int) -> int:
    return -(-size // 64) * 64


class Pieces:
    """Cuts the workspace into pieces of whole cache lines."""

    def __init__(self) -> None:
        self.total = 0

    def take(self, size: int) -> int:
        self.total += _whole(size)
        return self.total - _whole(size)


# -------------------------------------------------------------------------------------------------- symmetric


def _eigh_lengths(dtype: str, n: int, vectors: int) -> tuple[int, int, int]:
    """Lengths of the workspaces: elements, parts, integers."""
    if is_complex(dtype):
        return (2 * n + n * n + BLOCK * n, 1 + 5 * n + 2 * n * n, 3 + 5 * n) if vectors else (n + 1 + BLOCK * n, n + 1, 1)
    return (1 + 6 * n + 2 * n * n + BLOCK * n, 0, 3 + 5 * n) if vectors else (2 * n + 1 + BLOCK * n, 0, 1)


def _eigh_pieces(dtype: str, n: int, vectors: int) -> tuple[int, ...]:
    elements, parts, integers = _eigh_lengths(dtype, n, vectors)
    _, size, _, part_size = _sizes(dtype)
    pieces = Pieces()
    places = (pieces.take(size * elements), pieces.take(part_size * parts), pieces.take(4 * integers),
              pieces.take(0 if vectors else size * n * n))
    return *places, pieces.total


def eigh_workspace(dtype: str, n: int, vectors: int) -> int:
    return _eigh_pieces(dtype, n, vectors)[-1]


def eigh(dtype: str, n: int, upper: int, vectors: int) -> RoutineText:
    """Eigenvalues (and vectors) of a Hermitian matrix of which one triangle is read; 1: not converged."""
    kind, _, part_kind, _ = _sizes(dtype)
    *places, _ = _eigh_pieces(dtype, n, vectors)
    elements, parts, integers = _eigh_lengths(dtype, n, vectors)
    w = RoutineWriter(1, 2 if vectors else 1)
    work, part_work, integer_work, copy = (w.offset("%workspace", place, "i8") for place in places)
    matrix = "%y1" if vectors else copy
    w.transpose(matrix, "%x0", n, n, kind)
    info = w.slot("i32")
    between = [part_work, w.integer(parts)] if is_complex(dtype) else []
    w.fortran(f"gx.lapack.{PREFIXES[dtype]}{'heevd' if is_complex(dtype) else 'syevd'}", w.letter("V" if vectors else "N"),
              w.letter("U" if upper else "L"), w.integer(n), matrix, w.integer(n), "%y0", work, w.integer(elements), *between,
              integer_work, w.integer(integers), info)
    code = w.value(f"load i32, ptr {info}")
    bad = w.value(f"icmp ne i32 {code}, 0")
    with w.when(bad):
        w.fill("%y0", n, NAN[part_kind], part_kind)
        if vectors:
            w.fill("%y1", n * n, NAN[kind], kind)
    w.fail_if(bad, 1, [], part_kind)
    if vectors:
        w.turn("%y1", n, kind)
    return w.text()


# ------------------------------------------------------------------------------------------- singular values


def _svd_lengths(dtype: str, m: int, n: int, vectors: str) -> tuple[int, int]:
    most, least = max(m, n), min(m, n)
    blocks = BLOCK * (most + least)
    if is_complex(dtype):
        if vectors == "N":
            return 2 * least + most + blocks, 7 * least
        return (least * least + 3 * least + most + blocks,
                max(5 * least * least + 5 * least, 2 * most * least + 2 * least * least + least))
    if vectors == "N":
        return 3 * least + max(most, 7 * least) + blocks, 0
    return 4 * least * least + 7 * least + most + blocks, 0


def _svd_pieces(dtype: str, m: int, n: int, vectors: str) -> tuple[int, ...]:
    _, size, _, part_size = _sizes(dtype)
    elements, parts = _svd_lengths(dtype, m, n, vectors)
    pieces = Pieces()
    left, right = {"N": (0, 0), "S": (m * min(m, n), n * min(m, n)), "A": (m * m, n * n)}[vectors]
    places = (pieces.take(size * m * n), pieces.take(size * elements), pieces.take(part_size * parts),
              pieces.take(32 * min(m, n)), pieces.take(size * left), pieces.take(size * right))
    return *places, pieces.total


def svd_workspace(dtype: str, m: int, n: int, vectors: str) -> int:
    return _svd_pieces(dtype, m, n, vectors)[-1]


def svd(dtype: str, m: int, n: int, vectors: str) -> RoutineText:
    """Singular values, and (``vectors`` S: as many as values, A: all) U before and V^H after them; 1: not converged."""
    kind, size, part_kind, _ = _sizes(dtype)
    *places, _ = _svd_pieces(dtype, m, n, vectors)
    elements, _ = _svd_lengths(dtype, m, n, vectors)
    least = min(m, n)
    w = RoutineWriter(1, 1 if vectors == "N" else 3)
    matrix, work, part_work, integer_work, left, right = (w.offset("%workspace", place, "i8") for place in places)
    if not least:
        for result, extent in (("%y0", m), ("%y2", n)):
            if vectors == "A":
                _identity(w, result, extent, kind, size)
        return w.text()
    values = "%y0" if vectors == "N" else "%y1"
    columns, rows = (m, n) if vectors == "A" else (least, least)
    info = w.slot("i32")
    w.transpose(matrix, "%x0", m, n, kind)
    between = [part_work] if is_complex(dtype) else []
    w.fortran(f"gx.lapack.{PREFIXES[dtype]}gesdd", w.letter(vectors), w.integer(m), w.integer(n), matrix, w.integer(m), values,
              left, w.integer(m), right, w.integer(rows), work, w.integer(elements), *between, integer_work, info)
    bad = w.value(f"icmp ne i32 {w.value(f'load i32, ptr {info}')}, 0")
    with w.when(bad):
        w.fill(values, least, NAN[part_kind], part_kind)
        if vectors != "N":
            w.fill("%y0", m * columns, NAN[kind], kind)
            w.fill("%y2", rows * n, NAN[kind], kind)
    w.fail_if(bad, 1, [], part_kind)
    if vectors != "N":
        w.transpose("%y0", left, columns, m, kind)
        w.transpose("%y2", right, n, rows, kind)
    return w.text()


def _identity(w: RoutineWriter, matrix: str, n: int, kind: str, size: int) -> None:
    w.clear(matrix, size * n * n)
    with w.loop(0, n) as i:
        place = w.offset(matrix, w.value(f"mul nsw i64 {i}, {n + 1}"), kind)
        w.copy(place, w.number(1, kind), size)


# ------------------------------------------------------------------------------------------- general matrices


def _general_pieces(dtype: str, n: int, arrays: int, length: int) -> tuple[int, ...]:
    _, size, _, part_size = _sizes(dtype)
    pieces = Pieces()
    places = [pieces.take(size * n * n) for _ in range(arrays)]
    places += [pieces.take(size * length), pieces.take(part_size * 2 * n)]
    return *places, pieces.total


def eig_workspace(dtype: str, n: int, vectors: int) -> int:
    return _general_pieces(dtype, n, 1 + vectors, (4 + BLOCK) * n)[-1]


def fail_unless_finite(w: RoutineWriter, operand: str, count: int, part_kind: str, code: int, filled: list[tuple[str, int]],
                       ) -> None:
    """Returns ``code`` if an operand has an infinity or NaN: iterations may not end on them."""
    found = w.slot("i1", 1)
    w.line(f"store i1 false, ptr {found}")
    with w.loop(0, count) as i:
        value = w.value(f"load {part_kind}, ptr {w.offset(operand, i, part_kind)}")
        nothing = w.value(f"fsub {part_kind} {value}, {value}")
        bad = w.value(f"fcmp uno {part_kind} {nothing}, 0.0")
        old = w.value(f"load i1, ptr {found}")
        w.line(f"store i1 {w.value(f'or i1 {old}, {bad}')}, ptr {found}")
    w.fail_if(w.value(f"load i1, ptr {found}"), code, filled, part_kind)


def eig(dtype: str, n: int, vectors: int) -> RoutineText:
    """Eigenvalues (and right vectors), which are complex; 1: not converged, 2: infinite or NaN."""
    kind, _, part_kind, _ = _sizes(dtype)
    complex_ = is_complex(dtype)
    length = (4 + BLOCK) * n
    *places, _ = _general_pieces(dtype, n, 1 + vectors, length)
    w = RoutineWriter(1, 2 if vectors else 1)
    pieces = [w.offset("%workspace", place, "i8") for place in places]
    matrix, work, part_work = pieces[0], pieces[-2], pieces[-1]
    found = matrix if not vectors else "%y1" if complex_ else pieces[1]
    nothing = [("%y0", 2 * n), ("%y1", 2 * n * n)][:1 + vectors]
    fail_unless_finite(w, "%x0", n * n * (1 + complex_), part_kind, 2, nothing)
    w.transpose(matrix, "%x0", n, n, kind)
    info = w.slot("i32")
    real, imaginary = part_work, w.offset(part_work, n, part_kind)
    values = ["%y0"] if complex_ else [real, imaginary]
    tail = [part_work, info] if complex_ else [info]
    w.fortran(f"gx.lapack.{PREFIXES[dtype]}geev", w.letter("N"), w.letter("V" if vectors else "N"), w.integer(n), matrix,
              w.integer(n), *values, matrix, w.integer(n), found, w.integer(n), work, w.integer(length), *tail)
    w.fail_unless_zero(info, 1, nothing, part_kind)
    if complex_:
        if vectors:
            w.turn("%y1", n, kind)
        return w.text()
    with w.loop(0, n) as j:
        im = w.value(f"load {part_kind}, ptr {w.offset(imaginary, j, part_kind)}")
        target = w.offset("%y0", w.value(f"mul nsw i64 {j}, 2"), part_kind)
        w.line(f"store {part_kind} {w.value(f'load {part_kind}, ptr {w.offset(real, j, part_kind)}')}, ptr {target}")
        w.line(f"store {part_kind} {im}, ptr {w.offset(target, 1, part_kind)}")
        if vectors:
            _eigenvector(w, found, im, j, n, part_kind)
    return w.text()


def _eigenvector(w: RoutineWriter, found: str, im: str, j: str, n: int, part_kind: str) -> None:
    """Column ``j`` of the vectors of a real matrix, whose eigenvalue has the imaginary part ``im``."""
    # Of a pair of conjugate vectors LAPACK gives the real and the imaginary part, in this order.
    first, second = (w.value(f"fcmp {test} {part_kind} {im}, 0.0") for test in ("ogt", "olt"))
    back, forth = (w.value(f"zext i1 {flag} to i64") for flag in (second, first))
    re_column, im_column = w.value(f"sub nsw i64 {j}, {back}"), w.value(f"add nsw i64 {j}, {forth}")
    single = w.value(f"fcmp oeq {part_kind} {im}, 0.0")
    with w.loop(0, n) as i:
        re_part, im_part = (
            w.value(f"load {part_kind}, ptr {w.offset(found, w.value(f'add nsw i64 {base}, {i}'), part_kind)}")
            for base in (w.value(f"mul nsw i64 {column}, {n}") for column in (re_column, im_column)))
        negative = w.value(f"fneg {part_kind} {im_part}")
        signed = w.value(f"select i1 {second}, {part_kind} {negative}, {part_kind} {im_part}")
        chosen = w.value(f"select i1 {single}, {part_kind} 0.0, {part_kind} {signed}")
        number = w.value(f"add nsw i64 {w.value(f'mul nsw i64 {i}, {n}')}, {j}")
        place = w.offset("%y1", w.value(f"mul nsw i64 {number}, 2"), part_kind)
        w.line(f"store {part_kind} {re_part}, ptr {place}")
        w.line(f"store {part_kind} {chosen}, ptr {w.offset(place, 1, part_kind)}")
