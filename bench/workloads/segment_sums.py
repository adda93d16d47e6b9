"""Sums of n numbers by segment: which segment each belongs to is an array of indices, in order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_jax
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 1_000_000)
PER_SEGMENT = 10


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make numbers, their segments, and an array with one element for each segment."""
    random = np.random.default_rng(12)
    segments = np.sort(random.integers(0, size // PER_SEGMENT, size))
    return random.standard_normal(size), segments, np.zeros(size // PER_SEGMENT)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Add into zeros."""
    return lambda values, segments, zeros: numpy.zeros(zeros.shape).at[segments].add(values)


def build_segments(library: Any, numpy: Any) -> Callable[..., Any]:
    """Use JAX's own function, telling it that the segments are in order."""
    return lambda values, segments, zeros: library.ops.segment_sum(
        values, segments, num_segments=zeros.shape[0], indices_are_sorted=True
    )


def build_torch(torch: Any) -> Callable[..., Any]:
    """Add into zeros in PyTorch."""
    return lambda values, segments, zeros: torch.zeros_like(zeros).index_add_(0, segments, values)


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Add into zeros in PyTensor."""
    return lambda values, segments, zeros: tensor.inc_subtensor(tensor.zeros_like(zeros)[segments], values)


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop for Numba; several threads would add to the same sums."""

    def call(values: np.ndarray, segments: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        sums = np.zeros_like(zeros)
        for i in range(values.size):
            sums[segments[i]] += values[i]
        return sums

    return numba.njit(fastmath=True)(call)


def by_hand(values: np.ndarray, segments: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Let NumPy count with weights."""
    return np.bincount(segments, values, minlength=zeros.size)


LISTED = (
    *contenders(operands, both=build, torch=build_torch, numba=build_numba, pytensor=build_pytensor, numpy=by_hand, loop=True),
    Contender("JAX, its segment_sum", with_jax(build_segments, operands), ("jax",)),
)
WORKLOAD = Workload(
    name="segment_sums",
    title="sums of n numbers in n/10 segments",
    sizes=SIZES,
    growth=(1_000, 100_000, 10_000_000),
    flops=lambda size: size,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
)
