"""A histogram of n numbers with 256 bins: the bin of each is computed, then one is added there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 1_000_000)
BINS = 256


@functools.cache
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make numbers around a half, all between 0 and 1."""
    return (np.clip(0.5 + 0.15 * np.random.default_rng(13).standard_normal(size), 0.0, 0.999999),)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Add ones into zeros."""
    return lambda x: numpy.zeros(BINS, np.int64).at[(x * BINS).astype(np.int64)].add(1)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Let PyTorch count."""
    return lambda x: torch.bincount((x * BINS).long(), minlength=BINS)


def by_hand(x: np.ndarray) -> np.ndarray:
    """Let NumPy count."""
    return np.bincount((x * BINS).astype(np.int64), minlength=BINS)


WORKLOAD = Workload(
    name="histogram",
    title="histogram of n numbers, 256 bins",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands, folding=True),
        Contender("NumPy, bincount", idioms.numpy(by_hand, operands)),
        Contender("torch eager, bincount", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=lambda size: by_hand(*operands(size)),
    promises=idioms.ahead(("JAX", "NumPy, bincount", "torch eager, bincount"), SIZES),
)
