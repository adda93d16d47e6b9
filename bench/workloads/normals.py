"""n normal random numbers in float64: a function of a key for gradxform and JAX, the next ones of a generator for the others.

The libraries give different numbers, so what is checked here is shape, dtype and range; that they are normal is for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import sized, with_gradxform, with_jax, with_numpy, with_torch
from bench.workload import Contender, Medians, Promise, Workload

SIZES = (1_000, 100_000, 10_000_000)
#: No sample in some 10^14 is farther from 0.
FARTHEST = 8.0


def key(size: int) -> tuple[np.ndarray]:
    """Give gradxform and JAX a key."""
    return (np.array([0, 42], np.uint32),)


def count(size: int) -> tuple[int]:
    """Give the others the number of samples."""
    return (size,)


def build(size: int, library: Any, numpy: Any) -> Callable[[Any], Any]:
    """Ask gradxform and JAX, by inversion."""
    return lambda key: library.random.normal(key, (size,), np.float64)


def build_torch(torch: Any) -> Callable[[Any], Any]:
    """Ask PyTorch, by Box and Muller."""
    generator = torch.Generator().manual_seed(42)
    return lambda size: torch.randn(int(size), generator=generator, dtype=torch.float64)


def ratio(slower: str, size: int) -> Callable[[Medians], float]:
    """Say how many times longer a library takes."""
    return lambda medians: medians.ratio(slower, "gradxform", size)


LISTED = (
    Contender("gradxform", sized(with_gradxform, build, key), ("gradxform",)),
    # The ziggurat, on one thread.
    Contender("NumPy", with_numpy(np.random.default_rng(42).standard_normal, count)),
    Contender("JAX", sized(with_jax, build, key), ("jax",)),
    Contender("torch eager", with_torch(build_torch, count), ("torch",)),
)
WORKLOAD = Workload(
    name="normals",
    title="n normal random numbers, float64",
    sizes=SIZES,
    growth=(100, 10_000, 1_000_000),
    contenders=LISTED,
    expected=np.zeros,
    absolute_tolerance=FARTHEST,
    promises=(
        *(Promise(f"NumPy / gradxform, {size:,}", ratio("NumPy", size), at_least=1.0) for size in SIZES[1:]),
        *(Promise(f"{peer} / gradxform, {size:,}", ratio(peer, size), at_least=1.0)
          for peer in ("JAX", "torch eager") for size in SIZES[:-1]),
        Promise(f"JAX / gradxform, {SIZES[-1]:,}", ratio("JAX", SIZES[-1]), at_least=3.0),
        Promise(f"torch eager / gradxform, {SIZES[-1]:,}", ratio("torch eager", SIZES[-1]), at_least=1.0),
    ),
)
