"""The gradient of looking n words up in a table of 20,000 vectors of 64 numbers: rows are gathered, then scattered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 100_000)
WORDS, WIDTH = 20_000, 64


@functools.cache
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make a table, words of which some come up often, and the vectors that they should have."""
    random = np.random.default_rng(10)
    words = np.minimum(random.zipf(1.3, size), WORDS) - 1
    return random.standard_normal((WORDS, WIDTH)), words, random.standard_normal((size, WIDTH))


def loss(table: Any, words: Any, wanted: Any) -> Any:
    """Write half the mean squared distance."""
    gap = table[words] - wanted
    return 0.5 * (gap * gap).sum() / words.shape[0]


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for value and gradient in the table."""
    return library.value_and_grad(loss)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, whose own function for it knows how to scatter."""

    def call(table: Any, words: Any, wanted: Any) -> Any:
        leaf = table.detach().requires_grad_()
        gap = torch.nn.functional.embedding(words, leaf) - wanted
        value = 0.5 * (gap * gap).sum() / words.shape[0]
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return call


def by_hand(table: np.ndarray, words: np.ndarray, wanted: np.ndarray) -> tuple[np.floating[Any], np.ndarray]:
    """Write value and gradient in NumPy."""
    gap = table[words] - wanted
    gradient = np.zeros_like(table)
    np.add.at(gradient, words, gap / words.size)
    return 0.5 * np.sum(gap * gap) / words.size, gradient


WORKLOAD = Workload(
    name="embedding",
    title="n words in a table of 20,000 x 64, squared distance, value and gradient in the table",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands, folding=True),
        Contender("NumPy, by hand", idioms.numpy(by_hand, operands)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=functools.cache(lambda size: by_hand(*operands(size))),
    promises=idioms.ahead(("JAX", "JAX, folding", "NumPy, by hand", "torch eager"), SIZES),
    relative_tolerance=1e-9,
    absolute_tolerance=1e-11,
)
