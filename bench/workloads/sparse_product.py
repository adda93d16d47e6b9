"""A sparse matrix of n rows, ten entries in each, times a vector: by rows, columns and values (COO), rows in order.

A matrix whose rows all have the same number of entries can be multiplied without a scatter, as a gather and a sum along
an axis; that way is a row of its own. SciPy and PyTorch multiply in compressed rows (CSR).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads, with_gradxform, with_jax, with_numba
from bench.workload import Call, Contender, Workload

SIZES = (100, 10_000, 100_000)
PER_ROW = 10


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make values, rows, columns and the vector."""
    random = np.random.default_rng(14)
    rows = np.repeat(np.arange(size), PER_ROW)
    columns = np.sort(random.integers(0, size, (size, PER_ROW)), axis=1).ravel()
    return random.standard_normal(size * PER_ROW), rows, columns, random.standard_normal(size)


def multiply(numpy: Any, values: Any, rows: Any, columns: Any, x: Any) -> Any:
    """Write the product."""
    return numpy.zeros(x.shape).at[rows].add(values * x[columns])


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Multiply with gradxform and JAX."""
    return functools.partial(multiply, numpy)


def build_segments(library: Any, numpy: Any) -> Callable[..., Any]:
    """Use JAX's own segment_sum, telling it that the rows are in order."""
    return lambda values, rows, columns, x: library.ops.segment_sum(
        values * x[columns], rows, num_segments=x.shape[0], indices_are_sorted=True
    )


def build_even(library: Any, numpy: Any) -> Callable[..., Any]:
    """Multiply rows of equal length."""
    return lambda values, rows, columns, x: (values * x[columns]).reshape(-1, PER_ROW).sum(axis=1)


def compressed(size: int) -> Any:
    """Make SciPy's matrix."""
    from scipy.sparse import csr_array

    values, _, columns, x = operands(size)
    return csr_array((values, columns, np.arange(0, values.size + 1, PER_ROW)), shape=(x.size, x.size))


def scipy(size: int) -> Call:
    """SciPy, compressed rows."""
    return Call("matrix @ x", {"matrix": compressed(size), "x": operands(size)[-1]})


def torch_rows(size: int) -> Call:
    """PyTorch, compressed rows."""
    import torch

    torch.set_num_threads(threads())
    matrix = compressed(size)
    found = torch.sparse_csr_tensor(
        torch.tensor(matrix.indptr, dtype=torch.int64),
        torch.tensor(matrix.indices, dtype=torch.int64),
        torch.tensor(matrix.data),
        size=matrix.shape,
    )
    return Call("matrix @ x", {"matrix": found, "x": torch.tensor(operands(size)[-1])})


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop over the entries for Numba; several threads would add to the same rows."""

    def call(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> np.ndarray:
        y = np.zeros_like(x)
        for i in range(values.size):
            y[rows[i]] += values[i] * x[columns[i]]
        return y

    return numba.njit(fastmath=True)(call)


def build_numba_even(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops over rows of equal length for Numba."""

    def call(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        for row in numba.prange(x.size):
            total = 0.0
            for i in range(PER_ROW * row, PER_ROW * (row + 1)):
                total += values[i] * x[columns[i]]
            y[row] = total
        return y

    return njit(call)


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Add into zeros in PyTensor."""
    return lambda values, rows, columns, x: tensor.inc_subtensor(tensor.zeros_like(x)[rows], values * x[columns])


def by_hand(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Let NumPy count with weights."""
    return np.bincount(rows, values * x[columns], minlength=x.size)


LISTED = (
    *contenders(operands, both=build, numba=build_numba, pytensor=build_pytensor, numpy=by_hand, loop=True),
    Contender("gradxform, equal rows", with_gradxform(build_even, operands), ("gradxform",)),
    Contender("JAX, its segment_sum", with_jax(build_segments, operands), ("jax",)),
    Contender("JAX, equal rows", with_jax(build_even, operands), ("jax",)),
    Contender("Numba, equal rows", with_numba(build_numba_even, operands), ("numba",)),
    Contender("SciPy, CSR", scipy, ("scipy",)),
    Contender("torch eager, CSR", torch_rows, ("torch", "scipy")),
)
WORKLOAD = Workload(
    name="sparse_product",
    title="sparse matrix of n rows, ten entries each, times vector",
    sizes=SIZES,
    growth=(1_000, 1_000_000),
    flops=lambda size: 2 * PER_ROW * size,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-12,
)
