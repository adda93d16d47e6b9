"""The shape of a variable: integers that are known when a function is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.symbolic.calls import apply_operation
from gradxform.symbolic.graph import Apply, Node, Operation, TensorType

__all__ = ["Shape", "shape_of"]

#: The extent that stands for an unknown one while ranks are found out.
_STAND_IN = 12


class Shape(Operation):
    """The extents of an array. No derivative flows through them."""

    name = "shape"

    def evaluate(self, scope: Any, apply: Apply, values: list[Any]) -> Sequence[Any]:
        return [np.array(np.shape(values[0]), dtype=np.int64)]

    def differentiable(self, apply: Apply) -> Sequence[Node]:
        return ()


def shape_of(x: Node) -> Any:
    """The extents of ``x`` as a vector of integers."""
    known = np.array([_STAND_IN if extent is None else extent for extent in x.type.shape], dtype=np.int64)
    return apply_operation(Shape(), [TensorType("int64", (x.type.ndim,))], [x], (), [known])[0]
