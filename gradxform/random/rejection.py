"""Rejection samplers: the first attempt of all samples at once, further ones for each that needs them.

    attempt : state, parameters -> state          state.pending says whether it was rejected

Most samples are accepted at once. So the first attempt is elementwise arithmetic over all of them, in vector lanes and in
several threads, and then a loop goes through the samples and repeats the attempt for the few that are still pending,
one by one. A loop over all lanes until the last of them is done would compute all of them several times over.

Lanes of ``vmap`` are more samples, no more loops: `over_lanes` gives samplers of rows the rule that joins them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradxform import lax
from gradxform import numpy as gnp
from gradxform.api.custom import custom_rule
from gradxform.core import shape_of
from gradxform.primitives.shape import reshape


def repeated(
    start: Callable[..., Any], attempt: Callable[..., Any], result: Callable[[Any], Any], operands: Sequence[Any]
) -> Any:
    """Attempts until none is pending.

    Args:
        start: gives the first state of the operands of one sample, or of all.
        attempt: ``attempt(state, *operands)`` gives the next state, a tuple whose first part says whether it is pending.
        result: what of a state is wanted.
        operands: rows of one length, a number for each sample.
    """
    first = attempt(start(*operands), *operands)

    def finished(sample: Any) -> Any:
        pending, found, *values = sample

        def again(carry: Any) -> Any:
            state, _ = carry
            state = attempt(state, *values)
            return state, result(state)

        # The attempt that was rejected is made again, which is rare, rather than that all states are stored.
        state = start(*values)
        return lax.while_loop(lambda carry: carry[0][0], again, ((pending, *state[1:]), found))[1]

    return lax.map(finished, (first[0], result(first), *operands))


def over_lanes(sampler: Callable[..., Any], jvp: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A sampler of rows of operands, one number per sample, for which lanes are more samples; ``jvp`` is its derivative."""
    made = custom_rule(sampler, jvp=jvp)

    def batch(size: int, batched: Sequence[bool], *rows: Any) -> tuple[Any, bool]:
        length = shape_of(rows[0])[-1]
        joined = [reshape(x if flag else gnp.broadcast_to(x, (size, length)), (size * length,))
                  for x, flag in zip(rows, batched, strict=True)]
        return reshape(made(*joined), (size, length)), True

    made.batch(batch)
    return made  # type: ignore[no-any-return]


def sampled(sampler: Callable[..., Any], shape: tuple[int, ...], *operands: Any) -> Any:
    """A sampler of rows applied to operands that broadcast to ``shape``."""
    size = (math.prod(shape),)
    rows = [reshape(gnp.broadcast_to(x, shape), size) for x in operands]
    return reshape(sampler(*rows), shape)
