"""Matrix products by code of our own: how one is cut up, and the functions that do it.

The driver and each kernel that is used are compiled once per process, or taken from the disk cache; see gemm_text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from gradxform.backend import compile as compiler
from gradxform.backend.compile import Tier
from gradxform.backend.gemm_text import FIELDS, Geometry, copy_text, driver_text, kernel_text, turn_text
from gradxform.backend.library import Library
from gradxform.data_class import data_class
from gradxform.dtypes import DType
from gradxform.loopir.loops import Multiply, Native, Statement, bodies

#: What a slice takes of one row of the left operand, at most: a tile stays in the first-level cache.
SLICE_BYTES = 2048
#: Columns of the right operand that are packed at a time.
COLUMNS = 2048
#: Rows of the left operand that a block has, so that its slice stays in the second cache.
ROWS = 192
#: Multiply-adds per chunk of a parallel product, at least.
CHUNK = 1 << 19
MAX_CHUNKS = 64
PACK_CHUNKS = 16
#: A right operand whose slice takes up to this many bytes is read in place, where it can be: it stays in the second cache.
BYTES_IN_PLACE = 1 << 19
#: So is one that the last cache holds for up to this many rows: packing it would cost more than it gains. From memory,
#: the short pieces of rows that a tile reads come too slowly.
ROWS_IN_PLACE = 96
CACHED_IN_PLACE = 1 << 23


@data_class(frozen=True, slots=True)
class Strides:
    """Of an operand, in elements: from line to line, along the inner extent, from matrix to matrix."""

    across: int
    along: int
    batch: int


@data_class(frozen=True, slots=True)
class Plan:
    """The record that the driver reads: numbers, and functions that it calls. The workspace is counted in elements."""

    numbers: tuple[int, ...]
    functions: tuple[str, ...]
    workspace: int


@cache
def geometry(dtype_name: str) -> Geometry:
    """The tiles that suit this machine's registers."""
    element, size = ("double", 8) if dtype_name == "float64" else ("float", 4)
    features = compiler.host().features.split(",")
    if "+avx512f" in features:
        return Geometry(element, 64 // size, 8, 3)
    if "+avx" in features:
        return Geometry(element, 32 // size, 4, 3)
    if compiler.host().triple.startswith(("aarch64", "arm64")):
        return Geometry(element, 16 // size, 8, 3)
    return Geometry(element, 16 // size, 4, 3)


def slice_extent(inner: int, item_bytes: int) -> int:
    """The extent of a slice of the inner extent: equal parts."""
    most = SLICE_BYTES // item_bytes
    return -(-inner // -(-inner // most))


def _batch_chunks(work: int, batch: int) -> int:
    """Batches of small products are cut along the batch; the others one product at a time."""
    if batch < 2 or work * batch < 2 * CHUNK or work > 8 * CHUNK:
        return 1
    return min(batch, 16, max(2, work * batch // CHUNK))


def _parts(extent: int, unit: int, most: int) -> tuple[int, int, int]:
    """Units cut into equal parts of at most ``most``: units of a small one, number of parts, of those with one more."""
    units = -(-extent // unit)
    parts = -(-units // most)
    return units // parts, parts, units % parts


def plan(rows: int, inner: int, columns: int, batch: int, left: Strides, right: Strides, result: Strides,
         dtype: DType, adds: int = 0) -> Plan:
    """How (rows, inner) times (inner, columns) is computed; all extents are at least 1.

    It becomes the result, or is added to it (``adds`` 1) or subtracted from it (-1).

    Of the right operand one stride must be 1, where the extent is not. Rows of the result are contiguous.
    """
    tiles = geometry(dtype.name)
    depth = slice_extent(inner, dtype.itemsize)
    small_rows, row_parts, larger_rows = _parts(rows, 1, tiles.rows)
    small_columns, column_parts, larger_columns = _parts(columns, tiles.lanes, tiles.vectors)
    few_rows = rows <= ROWS_IN_PLACE and inner * columns * dtype.itemsize <= CACHED_IN_PLACE
    small = few_rows or depth * columns * dtype.itemsize <= BYTES_IN_PLACE
    lines_follow = right.across == 1 or columns == 1
    packs = not (lines_follow and small and columns % tiles.lanes == 0)
    panel = tiles.lanes * tiles.vectors
    column_block = min(column_parts, max(1, COLUMNS // panel)) if packs else column_parts
    batch_chunks = _batch_chunks(rows * inner * columns, batch)
    row_chunks = column_chunks = pack_chunks = 1
    # What is done between two times at which threads wait for each other.
    work = rows * min(columns, COLUMNS) * depth if packs else rows * columns * inner
    if batch_chunks == 1 and work >= 2 * CHUNK:
        wanted = min(MAX_CHUNKS, work // CHUNK)
        row_chunks = min(row_parts, wanted)
        column_chunks = min(column_block, -(-wanted // row_chunks))
        pack_chunks = min(column_block, PACK_CHUNKS)
    # Rounded up to whole cache lines, since every part of a batch has its own.
    workspace = -(-min(columns + tiles.lanes, column_block * panel) * depth // 16) * 16 if packs else 0
    values = {
        "result.row": result.across, "result.batch": result.batch, "inner": inner, "slice": depth, "batch": batch,
        "batch.chunks": batch_chunks, "workspace": workspace, "pack.chunks": pack_chunks, "row.chunks": row_chunks,
        "column.chunks": column_chunks, "packs": int(packs), "right.extent": columns, "adds": adds,
    }
    row_block = max(1, ROWS // tiles.rows)
    for side, strides, small_part, parts, larger, block in (
            ("left", left, small_rows, row_parts, larger_rows, row_block),
            ("right", right, small_columns, column_parts, larger_columns, column_block)):
        values.update({
            f"{side}.across": strides.across, f"{side}.along": strides.along, f"{side}.batch": strides.batch,
            f"{side}.small": small_part, f"{side}.parts": parts, f"{side}.larger": larger, f"{side}.block": block})
    functions = []
    for more_rows in (0, 1):
        for more_columns in (0, 1):
            # Where all parts are alike, the larger kernel is never called.
            chosen_rows = small_rows + (1 if more_rows and larger_rows else 0)
            chosen_columns = small_columns + (1 if more_columns and larger_columns else 0)
            functions.append(f"gx.gemm.{dtype.name}.{chosen_rows}x{chosen_columns}")
    # Where nothing is packed, any function will do.
    functions.append(f"gx.gemm.{dtype.name}.{'copy' if lines_follow else 'turn'}" if packs else functions[0])
    return Plan(tuple([values[name] for name in FIELDS]), tuple(functions), workspace * batch_chunks)


def plan_of(product: Multiply) -> Plan:
    """The plan of a statement."""
    left, right, result = product.left, product.right, product.result
    return plan(product.rows, product.inner, product.columns, product.batch,
                Strides(left.row_stride, left.column_stride, left.batch_stride),
                Strides(right.column_stride, right.row_stride, right.batch_stride),
                Strides(result.row_stride, result.column_stride, result.batch_stride), result.buffer.dtype)


def workspace_bytes(statements: Sequence[Statement]) -> int:
    """How much memory the largest product or native routine among ``statements`` needs."""
    most = 0
    for statement in statements:
        if isinstance(statement, Multiply):
            most = max(most, plan_of(statement).workspace * statement.result.buffer.dtype.itemsize)
        elif isinstance(statement, Native):
            most = max(most, statement.workspace)
        for body in bodies(statement):
            most = max(most, workspace_bytes(body))
    return most


def _text(name: str) -> str:
    """The module of ``gx.gemm.NAME``."""
    dtype_name, _, part = name.partition(".")
    tiles, symbol = geometry(dtype_name), f"gx.gemm.{name}"
    if not part:
        return driver_text(tiles, symbol)
    if part in ("copy", "turn"):
        return (copy_text if part == "copy" else turn_text)(tiles, symbol)
    rows, vectors = map(int, part.split("x"))
    return kernel_text(tiles, rows, vectors, symbol)


# A driver runs once per tile, of which the shortest take as long as a hundred of its instructions. What counts is in the
# kernels, and these are written as they are to be.
_drivers, _kernels = Library("gemm", Tier.PLAIN, _text), Library("gemm", Tier.WRITTEN, _text)


def address(name: str) -> int:
    """The address of ``gx.gemm.NAME``: the driver, ``DTYPE``, a kernel, ``DTYPE.ROWSxVECTORS``, or a packer."""
    return (_kernels if "." in name else _drivers).address(name)
