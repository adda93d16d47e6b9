"""Random bits as a function of a key and a counter."""

from __future__ import annotations

from typing import Any

from gradxform.core import Primitive, bind
from gradxform.dtypes import uint64
from gradxform.errors import DTypeError
from gradxform.ir import ArrayType
from gradxform.linear import batch_elementwise, elementwise_shape
from gradxform.loopir.lowering import elementwise
from gradxform.loopir.operations import OPERATIONS
from gradxform.primitives.rules import no_tangent, not_linear


def threefry2x32(key: Any, counter: Any) -> Any:
    """64 random bits per element of ``key`` and ``counter``, both uint64: Threefry-2x32 with twenty rounds.

    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11. The two
    words of 32 bits are the halves of each number, the first word the upper one.
    """
    return bind(threefry2x32_p, key, counter)


def _type(key: ArrayType, counter: ArrayType) -> ArrayType:
    if key.dtype != uint64 or counter.dtype != uint64:
        raise DTypeError(f"threefry2x32: expected a key and a counter of dtype uint64, got {key} and {counter}")
    return ArrayType(uint64, elementwise_shape("threefry2x32", (key, counter)))


threefry2x32_p = Primitive(
    "threefry2x32",
    type=_type,
    evaluate=OPERATIONS["threefry2x32"],
    jvp=no_tangent,
    transpose=not_linear("threefry2x32"),
    batch=batch_elementwise(threefry2x32),
    lower=elementwise("threefry2x32"),
)

PRIMITIVES = (threefry2x32_p,)
