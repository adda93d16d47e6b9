"""A histogram of n numbers with 256 bins: the bin of each is computed, then one is added there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads
from bench.workload import Workload

SIZES = (100, 10_000, 1_000_000)
BINS = 256


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make numbers around a half, all between 0 and 1."""
    return (np.clip(0.5 + 0.15 * np.random.default_rng(13).standard_normal(size), 0.0, 0.999999),)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Add ones into zeros."""
    return lambda x: numpy.zeros(BINS, np.int64).at[(x * BINS).astype(np.int64)].add(1)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Let PyTorch count."""
    return lambda x: torch.bincount((x * BINS).long(), minlength=BINS)


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop for Numba: each thread counts its share of the numbers."""
    shares = threads()

    def call(x: np.ndarray) -> np.ndarray:
        counts = np.zeros((shares, BINS), np.int64)
        for share in numba.prange(shares):
            for i in range(share * x.size // shares, (share + 1) * x.size // shares):
                counts[share, int(x[i] * BINS)] += 1
        return counts.sum(axis=0)

    return njit(call)


def by_hand(x: np.ndarray) -> np.ndarray:
    """Let NumPy count."""
    return np.bincount((x * BINS).astype(np.int64), minlength=BINS)


LISTED = contenders(operands, both=build, torch=build_torch, numba=build_numba, numpy=by_hand, loop=True)
WORKLOAD = Workload(
    name="histogram",
    title="histogram of n numbers, 256 bins",
    sizes=SIZES,
    growth=(1_000, 100_000, 10_000_000),
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
)
