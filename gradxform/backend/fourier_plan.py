"""How a Fourier transform is made of the passes of `fourier_passes`, and the tables of factors that they read.

A transform of n = n1 n2 numbers is one of the columns of an n1 x n2 matrix, then one of its rows (the six steps of D. H.
Bailey, 1990, of which vectors need four)::

    for each `lanes` columns:  strip of n1 numbers, its transform, times w(j k, n)    ->  one of the strips between
    for each `lanes` rows:     strip of n2 numbers, turned from all strips between, its transform  ->  rows of the result

If columns are not whole vectors, the last vector begins where it ends with the last column, and computes some of them again.
So a number is read and written twice, in whole lines, however many there are, and everything else happens in the near caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np

from gradxform.backend.fourier_passes import smallest_factor
from gradxform.backend.fourier_roots import roots
from gradxform.backend.gemm import geometry
from gradxform.backend.gemm_text import Geometry
from gradxform.data_class import data_class

#: What a pass takes by radix: nanoseconds for one number of eight columns, about.
RADICES = {2: 1.0, 3: 1.3, 4: 1.0, 5: 1.8, 7: 2.3, 8: 1.9, 11: 3.5, 13: 4.5}
#: The same of turning lanes to numbers.
TURNING = 3.4
#: How much longer passes take over a strip of more than so many bytes.
NEAR = ((3 << 13, 1.0), (1 << 19, 1.3), (1 << 62, 3.0))


@data_class(frozen=True, slots=True)
class Plan:
    """A transform of ``columns`` times ``rows`` numbers; their radices, in the order of the passes.

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
        return ".".join([self.element, str(self.lanes), "x".join(map(str, self.columns)), "x".join(map(str, self.rows)),
                         self.fold])

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
    def workspace(self) -> int:
        """Elements of strips: those between, and one to work in."""
        n1, n2 = self.extents
        return 2 * self.lanes * (self.vectors(0) * n1 + max(n1, n2))


def parse(name: str) -> Plan:
    """The plan with this name."""
    element, lanes, columns, rows, fold = name.split(".")
    return Plan(element, int(lanes), tuple(map(int, columns.split("x"))), tuple(map(int, rows.split("x"))), fold)


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
def plan(dtype: str, n: int, fold: str = "none") -> Plan | None:
    """How ``n`` complex numbers are transformed; None if they have a large prime factor, or are few.

    ``fold``: "forward" and "inverse" for the transform of 2 n real numbers.
    """
    shape = geometry(dtype)
    rest = n
    while (factor := smallest_factor(rest)) <= max(RADICES) and rest > 1:
        rest //= factor
    if rest > 1:
        return None
    best, chosen = float("inf"), None
    # The nearest to a square is the first of equals.
    for n1 in sorted((d for d in range(shape.lanes, n // shape.lanes + 1) if n % d == 0), key=lambda d: d + n // d):
        n2 = n // n1
        columns, rows = _several(n1), _several(n2)
        cost = (-(-n2 // shape.lanes) * n1 * columns[0] * _slowdown(shape, n1)
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
    groups = tuple(each[::radices[-1]].copy() for each, radices in zip(orders, (plan.columns, plan.rows), strict=True))
    return result, (groups[0], groups[1])
