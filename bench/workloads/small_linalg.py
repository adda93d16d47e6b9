"""Linear algebra of n matrices of 4x4 by the libraries' own functions, with a gradient: solution, inverse, Cholesky factor.

What is differentiated is the sum of the entries of the result times given weights. `small_matrices` has the same written out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_torch_tape, with_torch_transform
from bench.workload import Workload

SIZES = (100, 10_000, 100_000)
EXTENT = 4
TITLES = {"solve": "solutions", "inverse": "inverses", "cholesky": "Cholesky factors"}


@functools.lru_cache(maxsize=1)
def operands(kind: str, size: int) -> tuple[np.ndarray, ...]:
    """Make matrices with heavy diagonals and weights; for solutions, right-hand sides as well."""
    random = np.random.default_rng(43)
    matrices = random.standard_normal((size, EXTENT, EXTENT)) + 2 * EXTENT * np.eye(EXTENT)
    if kind == "solve":
        return matrices, random.standard_normal((size, EXTENT)), random.standard_normal((size, EXTENT))
    return matrices, random.standard_normal((size, EXTENT, EXTENT))


def objective(kind: str, numpy: Any, decompose: Callable[[Any], Any], turned: Callable[[Any], Any]) -> Callable[..., Any]:
    """Write what is differentiated for all libraries, given a decomposition and a way to transpose the matrices.

    Libraries differ in the derivative of a decomposition of which triangle they read, not in that of a symmetric part.
    """

    def cholesky(a: Any, weights: Any) -> Any:
        return (decompose((a + turned(a)) / 2) * weights).sum()

    def inverse(a: Any, weights: Any) -> Any:
        return (numpy.linalg.inv(a) * weights).sum()

    def solve(a: Any, b: Any, weights: Any) -> Any:
        return (numpy.linalg.solve(a, b[..., None])[..., 0] * weights).sum()

    kinds: dict[str, Callable[..., Any]] = {"cholesky": cholesky, "inverse": inverse, "solve": solve}
    return kinds[kind]


def differentiated(kind: str) -> int | tuple[int, ...]:
    """Say which arguments are differentiated: matrices, and right-hand sides where there are some."""
    return (0, 1) if kind == "solve" else 0


def with_gradxform(kind: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform."""
    function = objective(kind, numpy, numpy.linalg.cholesky, lambda a: a.swapaxes(-1, -2))
    return library.value_and_grad(function, differentiated(kind))


def with_jax(kind: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask JAX, which need not make the matrices symmetric once more."""
    decompose = functools.partial(numpy.linalg.cholesky, symmetrize_input=False)
    function = objective(kind, numpy, decompose, lambda a: a.swapaxes(-1, -2))
    return library.value_and_grad(function, differentiated(kind))


def with_torch(kind: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's tape."""
    return with_torch_tape(torch, objective(kind, torch, torch.linalg.cholesky, lambda a: a.mT), 2 if kind == "solve" else 1)


def with_torch_transforms(kind: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms."""
    return with_torch_transform(torch, objective(kind, torch, torch.linalg.cholesky, lambda a: a.mT), differentiated(kind))


def by_hand(kind: str, a: np.ndarray, *given: np.ndarray) -> Any:
    """Compute it from the closed forms with NumPy's batched functions."""
    *right, weights = given
    if kind == "solve":
        solution = np.linalg.solve(a, right[0][..., None])[..., 0]
        back = np.linalg.solve(a.swapaxes(-1, -2), weights[..., None])[..., 0]
        return np.vdot(solution, weights), (-back[:, :, None] * solution[:, None, :], back)
    if kind == "inverse":
        inverse = np.linalg.inv(a)
        turned = inverse.swapaxes(-1, -2)
        return np.vdot(inverse, weights), -(turned @ weights @ turned)
    factor = np.linalg.cholesky((a + a.swapaxes(-1, -2)) / 2)
    # With F for the lower triangle and half of the diagonal: the symmetric part of L^-T F(L^T G) L^-1.
    inner = np.tril(factor.swapaxes(-1, -2) @ np.tril(weights))
    inner[:, range(EXTENT), range(EXTENT)] *= 0.5
    inverse = np.linalg.inv(factor)
    whole = inverse.swapaxes(-1, -2) @ inner @ inverse
    return np.vdot(factor, weights), (whole + whole.swapaxes(-1, -2)) / 2


def with_numba(kind: str, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops over the matrices for Numba, by elimination without exchange of rows, which these matrices do not need."""
    one = njit(inline="always", parallel=False)

    @one
    def eliminate(rows: Any) -> None:
        for k in range(EXTENT):
            for i in range(k + 1, EXTENT):
                rows[i, k] /= rows[k, k]
                for j in range(k + 1, EXTENT):
                    rows[i, j] -= rows[i, k] * rows[k, j]

    @one
    def solve_in_place(rows: Any, x: Any) -> None:
        for i in range(EXTENT):
            for j in range(i):
                x[i] -= rows[i, j] * x[j]
        for i in range(EXTENT - 1, -1, -1):
            for j in range(i + 1, EXTENT):
                x[i] -= rows[i, j] * x[j]
            x[i] /= rows[i, i]

    @one
    def solve_turned_in_place(rows: Any, x: Any) -> None:
        for i in range(EXTENT):
            for j in range(i):
                x[i] -= rows[j, i] * x[j]
            x[i] /= rows[i, i]
        for i in range(EXTENT - 1, -1, -1):
            for j in range(i + 1, EXTENT):
                x[i] -= rows[j, i] * x[j]

    def solve(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> Any:
        of_a, of_b, value = np.empty_like(a), np.empty_like(b), 0.0
        for n in numba.prange(len(a)):
            rows, x, back = a[n].copy(), b[n].copy(), weights[n].copy()
            eliminate(rows)
            solve_in_place(rows, x)
            solve_turned_in_place(rows, back)
            for i in range(EXTENT):
                value += x[i] * weights[n, i]
                of_b[n, i] = back[i]
                for j in range(EXTENT):
                    of_a[n, i, j] = -back[i] * x[j]
        return value, (of_a, of_b)

    def inverse(a: np.ndarray, weights: np.ndarray) -> Any:
        of_a, value = np.empty_like(a), 0.0
        for n in numba.prange(len(a)):
            rows, inverted, product = a[n].copy(), np.eye(EXTENT), np.zeros((EXTENT, EXTENT))
            eliminate(rows)
            for j in range(EXTENT):
                solve_in_place(rows, inverted[:, j])
            for i in range(EXTENT):
                for j in range(EXTENT):
                    value += inverted[i, j] * weights[n, i, j]
                    for k in range(EXTENT):
                        product[i, j] += inverted[k, i] * weights[n, k, j]
            for i in range(EXTENT):
                for j in range(EXTENT):
                    total = 0.0
                    for k in range(EXTENT):
                        total += product[i, k] * inverted[j, k]
                    of_a[n, i, j] = -total
        return value, of_a

    def cholesky(a: np.ndarray, weights: np.ndarray) -> Any:
        of_a, value = np.empty_like(a), 0.0
        for n in numba.prange(len(a)):
            low, back = np.zeros((EXTENT, EXTENT)), weights[n].copy()
            for i in range(EXTENT):
                for j in range(i + 1):
                    total = (a[n, i, j] + a[n, j, i]) / 2
                    for k in range(j):
                        total -= low[i, k] * low[j, k]
                    low[i, j] = total / low[j, j] if i > j else np.sqrt(total)
                    value += low[i, j] * weights[n, i, j]
            # The same statements in reverse.
            for i in range(EXTENT - 1, -1, -1):
                for j in range(i, -1, -1):
                    if i > j:
                        back[i, j] /= low[j, j]
                        back[j, j] -= back[i, j] * low[i, j]
                    else:
                        back[i, j] *= 0.5 / low[j, j]
                    for k in range(j):
                        back[i, k] -= back[i, j] * low[j, k]
                        back[j, k] -= back[i, j] * low[i, k]
            for i in range(EXTENT):
                of_a[n, i, i] = back[i, i]
                for j in range(i):
                    of_a[n, i, j] = of_a[n, j, i] = back[i, j] / 2
        return value, of_a

    kinds: dict[str, Callable[..., Any]] = {"solve": solve, "inverse": inverse, "cholesky": cholesky}
    return njit(kinds[kind])


def operations(kind: str, size: int) -> float:
    """Count those of one decomposition, its triangular systems and products, by the leading powers of the extent."""
    square, cube = EXTENT**2, EXTENT**3
    return {"solve": 2 / 3 * cube + 5 * square, "inverse": 6 * cube, "cholesky": cube + 4 * square}[kind] * size


def workload(kind: str) -> Workload:
    """Make the workload of one decomposition."""
    given = functools.partial(operands, kind)
    listed = contenders(
        given,
        gradxform=functools.partial(with_gradxform, kind),
        jax=functools.partial(with_jax, kind),
        torch=functools.partial(with_torch, kind),
        torch_compiled=functools.partial(with_torch_transforms, kind),
        numba=functools.partial(with_numba, kind),
        by_hand=functools.partial(by_hand, kind),
    )
    return Workload(
        name=f"small_linalg.{kind}",
        title=f"{TITLES[kind]} of {EXTENT}x{EXTENT}, value and gradient, n matrices",
        sizes=SIZES,
        growth=(1_000, 1_000_000),
        flops=functools.partial(operations, kind),
        contenders=listed,
        expected=lambda size: by_hand(kind, *given(size)),
        promises=(*promises(listed, SIZES[:-1]), *promises(listed, SIZES[-1:], jax=8)),
        relative_tolerance=1e-9,
        absolute_tolerance=1e-11,
    )


WORKLOADS = tuple(map(workload, TITLES))
