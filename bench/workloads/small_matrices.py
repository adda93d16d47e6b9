"""Linear algebra of small matrices written out, at n of them by vmap: determinant, solution, product.

3x3: the rule of Sarrus and Cramer's rule. 4x4: elimination without exchange of rows, whose pivots give the determinant
(`small_matrices_4`); the matrices have heavy diagonals. NumPy, PyTorch and, in a row of its own, JAX call the libraries' own
batched functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_jax
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 100_000)


@functools.lru_cache(maxsize=1)
def operands(size: int, extent: int) -> tuple[np.ndarray, ...]:
    """Make matrices with heavy diagonals, right-hand sides, and factors."""
    random = np.random.default_rng(9)
    matrices = random.standard_normal((size, extent, extent)) + 2 * extent * np.eye(extent)
    return matrices, random.standard_normal((size, extent)), random.standard_normal((size, extent, extent))


def product(numpy: Any, a: Any, b: Any, extent: int) -> Any:
    """Write a product of matrices element by element."""
    rows = []
    for i in range(extent):
        row = [sum(a[i, k] * b[k, j] for k in range(1, extent)) + a[i, 0] * b[0, j] for j in range(extent)]
        rows.append(numpy.stack(row))
    return numpy.stack(rows)


def by_cramer(numpy: Any) -> Callable[..., Any]:
    """Write it for 3x3."""

    def triple(p: Any, q: Any, r: Any) -> Any:
        return (
            p[0] * (q[1] * r[2] - q[2] * r[1])
            - p[1] * (q[0] * r[2] - q[2] * r[0])
            + p[2] * (q[0] * r[1] - q[1] * r[0])
        )

    def compute(a: Any, b: Any, c: Any) -> Any:
        columns = [[a[i, j] for i in range(3)] for j in range(3)]
        right = [b[i] for i in range(3)]
        determinant = triple(*columns)
        replaced = [triple(*[right if j == k else columns[j] for j in range(3)]) for k in range(3)]
        return determinant, numpy.stack(replaced) / determinant, product(numpy, a, c, 3)

    return compute


def by_elimination(numpy: Any) -> Callable[..., Any]:
    """Write it for 4x4."""

    def compute(a: Any, b: Any, c: Any) -> Any:
        rows = [[a[i, j] for j in range(4)] + [b[i]] for i in range(4)]
        for k in range(4):
            for i in range(k + 1, 4):
                factor = rows[i][k] / rows[k][k]
                rows[i] = [rows[i][j] - factor * rows[k][j] if j > k else rows[i][j] for j in range(5)]
        determinant = rows[0][0] * rows[1][1] * rows[2][2] * rows[3][3]
        solution: list[Any] = []
        for k in reversed(range(4)):
            rest = rows[k][4]
            for j, known in enumerate(solution, start=k + 1):
                rest = rest - rows[k][j] * known
            solution.insert(0, rest / rows[k][k])
        return determinant, numpy.stack(solution), product(numpy, a, c, 4)

    return compute


def by_library(numpy: Any) -> Callable[..., Any]:
    """Call the batched functions of NumPy, JAX or PyTorch."""

    def compute(a: Any, b: Any, c: Any) -> Any:
        return numpy.linalg.det(a), numpy.linalg.solve(a, b[..., None])[..., 0], a @ c

    return compute


def by_numba_3(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write Cramer's rule in a loop over the matrices for Numba."""

    @numba.njit(fastmath=True)
    def triple(a: Any, b: Any, c: Any) -> float:
        return (
            a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
        )

    def compute(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Any:
        determinants, solutions, products = np.empty(len(a)), np.empty_like(b), np.empty_like(a)
        for n in numba.prange(len(a)):
            p, q = (a[n, 0, 0], a[n, 1, 0], a[n, 2, 0]), (a[n, 0, 1], a[n, 1, 1], a[n, 2, 1])
            r, right = (a[n, 0, 2], a[n, 1, 2], a[n, 2, 2]), (b[n, 0], b[n, 1], b[n, 2])
            determinant = triple(p, q, r)
            determinants[n] = determinant
            solutions[n, 0] = triple(right, q, r) / determinant
            solutions[n, 1] = triple(p, right, r) / determinant
            solutions[n, 2] = triple(p, q, right) / determinant
            for i in range(3):
                for j in range(3):
                    products[n, i, j] = a[n, i, 0] * c[n, 0, j] + a[n, i, 1] * c[n, 1, j] + a[n, i, 2] * c[n, 2, j]
        return determinants, solutions, products

    return njit(compute)


def by_numba_4(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write the elimination in a loop over the matrices for Numba."""

    def compute(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Any:
        determinants, solutions, products = np.empty(len(a)), np.empty_like(b), np.zeros_like(a)
        for n in numba.prange(len(a)):
            rows, right = a[n].copy(), b[n].copy()
            determinant = 1.0
            for k in range(4):
                determinant *= rows[k, k]
                for i in range(k + 1, 4):
                    factor = rows[i, k] / rows[k, k]
                    right[i] -= factor * right[k]
                    for j in range(k + 1, 4):
                        rows[i, j] -= factor * rows[k, j]
            for k in range(3, -1, -1):
                for j in range(k + 1, 4):
                    right[k] -= rows[k, j] * right[j]
                right[k] /= rows[k, k]
            determinants[n], solutions[n] = determinant, right
            for i in range(4):
                for k in range(4):
                    for j in range(4):
                        products[n, i, j] += a[n, i, k] * c[n, k, j]
        return determinants, solutions, products

    return njit(compute)


BY_NUMBA = {3: by_numba_3, 4: by_numba_4}
WRITTEN = {3: by_cramer, 4: by_elimination}


def workload(name: str, extent: int) -> Workload:
    """Make the workload for one extent."""
    chosen = functools.partial(operands, extent=extent)
    written = WRITTEN[extent]

    def build(library: Any, numpy: Any) -> Callable[..., Any]:
        return library.vmap(written(numpy))

    listed = (
        *contenders(chosen, both=build, torch=by_library, numba=BY_NUMBA[extent], numpy=by_library(np)),
        Contender("JAX, its linalg", with_jax(lambda _, numpy: by_library(numpy), chosen), ("jax",)),
    )
    return Workload(
        name=name,
        title=f"{extent}x{extent} determinant, solution and product written out, n matrices",
        sizes=SIZES,
        growth=(1_000, 1_000_000),
        flops=lambda size: (2 * extent**3 + 4 * extent**2 + 20) * size,
        contenders=listed,
        expected=functools.cache(lambda size: by_library(np)(*chosen(size))),
        promises=promises(listed, SIZES),
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
    )


WORKLOAD = workload("small_matrices", 3)
