"""Quantiles of distributions of whole numbers, by search on their distribution functions; sums over their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.core import current_builder
from gradxform.lax import fori_loop, while_loop
from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import floor, maximum

State = tuple[Any, Any]


def _middle(below: Any, above: Any) -> Any:
    """Where to look next: in the middle, or twice as far where there is no upper bound yet."""
    return where(above == np.inf, 2 * below + 2, floor(0.5 * (below + above)))


def _undecided(below: Any, above: Any) -> Any:
    middle = _middle(below, above)
    return (middle > below) & (middle < above)


def least_number(reaches: Callable[[Any], Any], lower: Any, upper: Any) -> Any:
    """The least whole number from ``lower`` to ``upper`` which ``reaches`` accepts, as it does all greater ones.

    ``upper``, which may be infinite, counts as accepted without being asked for.
    """

    def step(state: State) -> State:
        below, above = state
        middle = _middle(below, above)
        undecided = _undecided(below, above)
        accepted = reaches(maximum(where(undecided, middle, lower), lower))
        return where(undecided & ~accepted, middle, below), where(undecided & accepted, middle, above)

    state = (lower - 1.0, upper)
    if current_builder() is not None:
        return while_loop(lambda state: _undecided(*state).any(), step, state)[1]
    while np.any(_undecided(*state)):
        state = step(state)
    return state[1]


def sum_over_numbers(term: Callable[[Any], Any], count: Any, zero: Any) -> Any:
    """The sum of ``term(0.0)``, ``term(1.0)``, ..., as many as ``count``; ``zero``: the zero of their shape and dtype."""
    if current_builder() is not None:
        return fori_loop(0, count, lambda k, total: total + term(zero.dtype.type(1) * k), zero)
    total = zero
    for k in range(int(count)):
        total = total + term(float(k))
    return total


__all__ = ["least_number", "sum_over_numbers"]
