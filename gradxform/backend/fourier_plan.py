"""How a Fourier transform is made of the passes of `fourier_passes`, and the tables of factors that they read.

A transform of n = n1 n2 numbers is one of the columns of an n1 x n2 matrix, then one of its rows (the six steps of D. H.
Bailey, 1990, of which vectors need four)::

    for each `lanes` columns:  strip of n1 numbers, its transform, times w(j k, n)    ->  one of the strips between
    for each `lanes` rows:     strip of n2 numbers, turned from all strips between, its transform  ->  rows of the result

If columns are not whole vectors, the last vector begins where it ends with the last column, and computes some of them again.
So a number is read and written twice, in whole lines, however many there are, and everything else happens in the near caches.

Of many rows with few numbers, one lane each holds a row::

    for each `lanes` rows:  strip turned from them, its transform, turned back
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np

from gradxform.backend.fourier_roots import roots, smallest_factor
from gradxform.backend.gemm import geometry
from gradxform.backend.gemm_text import Geometry
from gradxform.data_class import data_class

#: What a pass takes by radix: nanoseconds for one number of eight columns, about.
RADICES = {2: 1.0, 3: 1.3, 4: 1.0, 5: 1.8, 7: 2.3, 8: 1.9, 11: 3.5, 13: 4.5}
#: The same of turning lanes to numbers.
TURNING = 3.4
#: Strips of up to so many bytes, of rows side by side, are better than columns and rows of each.
SIDE_BY_SIDE = 1 << 14
#: How much longer passes take over a strip of more than so many bytes.
NEAR = ((3 << 13, 1.0), (1 << 18, 1.2), (1 << 19, 1.4), (1 << 62, 2.0))


@data_class(frozen=True, slots=True)
class Plan:
    """A transform of ``columns`` times ``rows`` numbers; their radices, in the order of the passes.

    Without columns, `lanes` transforms side by side. ``fold``: "forward" or "inverse", if it is one of real numbers.
    ``tables`` has the place of each table: what it is, and where it begins, in elements. The order of
    numbers after all passes is a table of 64-bit integers by itself.
    """

    element: str
    lanes: int
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    fold: str

    @property
    def name(self) -> str:
        """What tells this plan from others."""
        radices = ("x".join(map(str, each)) for each in (self.columns, self.rows))
        return ".".join([self.element, str(self.lanes), *radices, self.fold])

    @property
    def extents(self) -> tuple[int, int]:
        return prod(self.columns), prod(self.rows)

    def vectors(self, axis: int) -> int:
        """How many vectors hold all columns (0) or all rows (1)."""
        return -(-self.extents[1 - axis] // self.lanes)

    def sizes(self) -> dict[str, int]:
        """The number of elements of each table of factors."""
        n1, n2 = self.extents
        sizes = {}
        for axis, radices in enumerate((self.columns, self.rows)):
            m = self.extents[axis]
            for number, radix in enumerate(radices[:-1]):
                m //= radix
                sizes[f"pass{axis}.{number}"] = 2 * (radix - 1) * m
        if not self.columns:
            return sizes if self.fold == "none" else {**sizes, "fold": 2 * n2}
        sizes["bases"], sizes["lanes"] = 2 * n1 * self.vectors(0), 2 * n1 * self.lanes
        if self.fold != "none":
            sizes["fold.bases"], sizes["fold.lanes"] = 2 * -(-(n1 * n2) // (2 * self.lanes)) + 2, 2 * self.lanes
        return sizes

    def offsets(self) -> tuple[dict[str, int], int]:
        """Where each table begins, and where all end."""
        found, place = {}, 0
        for name, size in self.sizes().items():
            found[name] = place
            place += -(-size // 16) * 16
        return found, place

    @property
    def between(self) -> int:
        """Elements of the strips between columns and rows."""
        return 2 * self.lanes * self.vectors(0) * self.extents[0] if self.columns else 0

    @property
    def strip(self) -> int:
        """Elements of what is needed to work on a vector: a strip, or two."""
        return 2 * self.lanes * (max(self.extents) if self.columns else 2 * (self.extents[1] + 1))


def parse(name: str) -> Plan:
    """The plan with this name."""
    element, lanes, columns, rows, fold = name.split(".")
    radices = [tuple(map(int, each.split("x"))) if each else () for each in (columns, rows)]
    return Plan(element, int(lanes), radices[0], radices[1], fold)


@cache
def _radices(n: int) -> tuple[float, tuple[int, ...]]:
    """The cheapest passes for ``n`` numbers, the largest first, and what they cost each; (inf, ()) if there are none."""
    if n == 1:
        return 0.0, ()
    best: tuple[float, tuple[int, ...]] = (float("inf"), ())
    for radix, cost in RADICES.items():
        if n % radix == 0:
            rest, radices = _radices(n // radix)
            if rest + cost < best[0]:
                best = (rest + cost, tuple(sorted((radix, *radices), reverse=True)))
    return best


@cache
def _several(n: int) -> tuple[float, tuple[int, ...]]:
    """The cheapest two passes or more."""
    found = [(cost + _radices(n // radix)[0], tuple(sorted((radix, *_radices(n // radix)[1]), reverse=True)))
             for radix, cost in RADICES.items() if n % radix == 0 and n > radix]
    return min(found, default=(float("inf"), ()))


def _slowdown(shape: Geometry, extent: int) -> float:
    """How much longer passes take if the strip is not in the first or the second cache."""
    size = 2 * shape.lanes * shape.item_bytes * extent
    return next(factor for most, factor in NEAR if size <= most)


@cache
def plan(dtype: str, n: int, fold: str = "none", count: int = 1) -> Plan | None:
    """How ``count`` transforms of ``n`` complex numbers are done; None if NumPy's loops are to do it.

    That is if n has a prime factor of more than 13, or if there are few numbers, and not many of such transforms.
    ``fold``: "forward" and "inverse" for the transform of 2 n real numbers.
    """
    shape = geometry(dtype)
    rest = n
    while rest > 1 and (factor := smallest_factor(rest)) in RADICES:
        rest //= factor
    if rest > 1:
        return None
    chosen = _columns_and_rows(shape, n, fold)
    if n >= shape.lanes <= count and (chosen is None or 2 * shape.lanes * shape.item_bytes * n <= SIDE_BY_SIDE):
        return Plan(shape.element, shape.lanes, (), _radices(n)[1], fold)
    return chosen


def _columns_and_rows(shape: Geometry, n: int, fold: str) -> Plan | None:
    best, chosen = float("inf"), None
    # The nearest to a square is the first of equals.
    for n1 in sorted((d for d in range(shape.lanes, n // shape.lanes + 1) if n % d == 0), key=lambda d: d + n // d):
        n2 = n // n1
        columns, rows = _several(n1), _several(n2)
        # The strip of a column has a table of the same size beside it.
        cost = (-(-n2 // shape.lanes) * n1 * columns[0] * _slowdown(shape, 2 * n1)
                + -(-n1 // shape.lanes) * n2 * (rows[0] + TURNING) * _slowdown(shape, n2))
        if cost < best:
            best, chosen = cost, Plan(shape.element, shape.lanes, columns[1], rows[1], fold)
    return chosen


# --------------------------------------------------------------------------------------------------------- tables


def order(radices: Sequence[int]) -> np.ndarray:
    """Which number the passes leave at each place of a strip."""
    found, done = np.zeros(1, np.int64), 1
    for radix in radices:
        found = (found[:, None] + done * np.arange(radix)).ravel()
        done *= radix
    return found


def tables(plan: Plan) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The factors in one array; and for columns and rows the number that each group of the last pass begins with."""
    offsets, size = plan.offsets()
    result = np.zeros(size, np.float64 if plan.element == "double" else np.float32)

    def put(name: str, values: np.ndarray) -> None:
        parts = values.ravel().view(np.float64)
        result[offsets[name]:offsets[name] + parts.size] = parts

    def put_lanes(name: str, values: np.ndarray) -> None:
        put(name, np.concatenate([values.real, values.imag], -1).ravel().view(np.complex128))

    (n1, n2), lanes = plan.extents, np.arange(plan.lanes)
    for axis, radices in enumerate((plan.columns, plan.rows)):
        extent = plan.extents[axis]
        for number, radix in enumerate(radices[:-1]):
            put(f"pass{axis}.{number}", roots(np.outer(np.arange(extent // radix), np.arange(1, radix)), extent))
            extent //= radix
    orders = order(plan.columns), order(plan.rows)
    if plan.columns:
        begins = np.minimum(np.arange(plan.vectors(0)) * plan.lanes, n2 - plan.lanes)
        put("bases", roots(np.outer(begins, orders[0]), n1 * n2))
        put_lanes("lanes", roots(np.outer(orders[0], lanes), n1 * n2))
        if plan.fold != "none":
            n = 2 * n1 * n2
            bases = roots(np.arange(1, n // 4 + 1, plan.lanes), n)
            ahead = roots(lanes, n)
            if plan.fold == "inverse":
                put("fold.bases", 1j * bases.conj())
                put_lanes("fold.lanes", ahead.conj())
            else:
                put("fold.bases", -0.5j * bases)
                put_lanes("fold.lanes", ahead)
    elif plan.fold != "none":
        ahead = roots(np.arange(1, n2), 2 * n2)
        put("fold", 1j * ahead.conj() if plan.fold == "inverse" else -0.5j * ahead)
    groups = tuple(each[::(1, *radices)[-1]].copy() for each, radices in zip(orders, (plan.columns, plan.rows), strict=True))
    return result, (groups[0], groups[1])
