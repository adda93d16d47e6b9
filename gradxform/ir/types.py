"""The type of a value in a program."""

from __future__ import annotations

from math import prod

from gradxform.data_class import data_class
from gradxform.dtypes import SHORT_NAMES, DType


@data_class(frozen=True, slots=True)
class ArrayType:
    """dtype, shape and whether the value promotes weakly, as a Python scalar does.

    A leading extent of -1 marks a *tape*: what a loop records in each of its iterations, whose number is known only
    when it has run. Only loops give and take tapes.

    >>> import numpy as np
    >>> print(ArrayType(np.dtype("float64"), (3, 4)))
    f64[3,4]
    """

    dtype: DType
    shape: tuple[int, ...]
    weak: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_tape(self) -> bool:
        return bool(self.shape) and self.shape[0] < 0

    @property
    def size(self) -> int:
        # Python integers: the product of a huge shape must not wrap.
        return prod(self.shape)

    def strong(self) -> ArrayType:
        return ArrayType(self.dtype, self.shape) if self.weak else self

    def with_shape(self, shape: tuple[int, ...]) -> ArrayType:
        return ArrayType(self.dtype, shape)

    def __str__(self) -> str:
        extents = ",".join(["?" if extent < 0 else str(extent) for extent in self.shape])
        return f"{SHORT_NAMES.get(self.dtype, str(self.dtype))}[{extents}]{'*' if self.weak else ''}"
