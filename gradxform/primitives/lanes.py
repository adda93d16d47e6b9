"""What all lanes of `vmap` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, shape_of
from gradxform.loopir.lowering import View
from gradxform.primitives.reductions import reduce_max
from gradxform.primitives.rules import INTEGERS, no_tangent, not_linear, unary_type


def largest_lane(x: Any) -> Any:
    """x, a number, itself; under `vmap` the largest of all lanes, one number for all of them."""
    return bind(largest_lane_p, x)


def _batch(operands: Sequence[Any], batched: Sequence[bool], size: int) -> tuple[Any, bool]:
    (x,) = operands
    # Without lanes nothing is computed that anyone sees.
    largest = reduce_max(x, (0,)) if shape_of(x)[0] else np.int64(0)
    return largest_lane(largest), False


largest_lane_p = Primitive(
    "largest_lane",
    type=unary_type("largest_lane", INTEGERS),
    evaluate=lambda x: x,
    jvp=no_tangent,
    transpose=not_linear("largest_lane"),
    batch=_batch,
    lower=lambda operands, result: View(operands[0]),
)

PRIMITIVES = (largest_lane_p,)
