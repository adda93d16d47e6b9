"""The gradient of looking n words up in a table of 20,000 vectors of 64 numbers: rows are gathered, then scattered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload

SIZES = (100, 10_000, 100_000)
WORDS, WIDTH = 20_000, 64


@functools.lru_cache(maxsize=1)
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


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""

    def call(table: Any, words: Any, wanted: Any) -> Any:
        value = loss(table, words, wanted)
        return value, pytensor.grad(value, table)

    return call


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop for Numba; words may be the same, so threads do not share it."""

    def call(table: np.ndarray, words: np.ndarray, wanted: np.ndarray) -> Any:
        gradient, total = np.zeros_like(table), 0.0
        scale = 1 / words.size
        for i in range(words.size):
            word = words[i]
            for k in range(table.shape[1]):
                gap = table[word, k] - wanted[i, k]
                total += gap * gap
                gradient[word, k] += scale * gap
        return 0.5 * scale * total, gradient

    return numba.njit(fastmath=True)(call)


def by_hand(table: np.ndarray, words: np.ndarray, wanted: np.ndarray) -> tuple[np.floating[Any], np.ndarray]:
    """Write value and gradient in NumPy."""
    gap = table[words] - wanted
    gradient = np.zeros_like(table)
    np.add.at(gradient, words, gap / words.size)
    return 0.5 * np.sum(gap * gap) / words.size, gradient


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the value alone."""
    return loss


LISTED = contenders(
    operands,
    both=build,
    torch=build_torch,
    numba=build_numba,
    pytensor=build_pytensor,
    by_hand=by_hand,
    value=build_value,
    expected_value=lambda size: by_hand(*operands(size))[0],
    loop=True,
)
WORKLOAD = Workload(
    name="embedding",
    title="n words in a table of 20,000 x 64, squared distance, value and gradient in the table",
    sizes=SIZES,
    growth=(1_000,),
    contenders=LISTED,
    expected=functools.cache(lambda size: by_hand(*operands(size))),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-9,
    absolute_tolerance=1e-11,
)
