"""The type of a value in a program."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gradxform.dtypes import SHORT_NAMES, DType


@dataclass(frozen=True, slots=True)
class ArrayType:
    """dtype, shape and whether the value promotes weakly, as a Python scalar does.

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
    def size(self) -> int:
        # Python integers: the product of a huge shape must not wrap.
        return prod(self.shape)

    def strong(self) -> ArrayType:
        return ArrayType(self.dtype, self.shape) if self.weak else self

    def with_shape(self, shape: tuple[int, ...]) -> ArrayType:
        return ArrayType(self.dtype, shape)

    def __str__(self) -> str:
        return f"{SHORT_NAMES.get(self.dtype, str(self.dtype))}[{','.join(map(str, self.shape))}]{'*' if self.weak else ''}"
