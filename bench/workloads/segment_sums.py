"""Sums of n numbers by segment: which segment each belongs to is an array of indices, in order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 1_000_000)
PER_SEGMENT = 10


@functools.cache
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make numbers, their segments, and an array with one element for each segment."""
    random = np.random.default_rng(12)
    segments = np.sort(random.integers(0, size // PER_SEGMENT, size))
    return random.standard_normal(size), segments, np.zeros(size // PER_SEGMENT)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Add into zeros."""
    return lambda values, segments, zeros: numpy.zeros(zeros.shape).at[segments].add(values)


def build_jax(library: Any, numpy: Any) -> Callable[..., Any]:
    """Use JAX's own function, telling it that the segments are in order."""
    return lambda values, segments, zeros: library.ops.segment_sum(
        values, segments, num_segments=zeros.shape[0], indices_are_sorted=True
    )


def build_torch(torch: Any) -> Callable[..., Any]:
    """Add into zeros in PyTorch."""
    return lambda values, segments, zeros: torch.zeros_like(zeros).index_add_(0, segments, values)


def by_hand(values: np.ndarray, segments: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Let NumPy count with weights."""
    return np.bincount(segments, values, minlength=zeros.size)


WORKLOAD = Workload(
    name="segment_sums",
    title="sums of n numbers in n/10 segments",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands, folding=True),
        Contender("JAX, its segment_sum", idioms.jax(build_jax, operands), ("jax",)),
        Contender("NumPy, bincount", idioms.numpy(by_hand, operands)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=lambda size: by_hand(*operands(size)),
    promises=idioms.ahead(("JAX", "JAX, its segment_sum", "NumPy, bincount", "torch eager"), SIZES),
    relative_tolerance=1e-10,
)
