"""What compiled code calls when a program calls into Python.

Compiled code knows types and addresses; a callback takes arrays and gives arrays. Between them stands one `HostCall` per
callback, called as ``host_call("f64[3] i64[] -> f64[]", operands, results)`` with the addresses of two arrays of
pointers. It must be called with the GIL held. What the callback raises comes out of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from gradxform.dtypes import SHORT_NAMES, DType, complex_dtype
from gradxform.ir import ArrayType, Callback
from gradxform.ir.callback import Results
from gradxform.loopir.loops import Call, Region

_DTYPES: dict[str, DType] = {name: dtype for dtype, name in SHORT_NAMES.items()}


def signature_text(call: Call) -> str:
    """The types of operands and results, as `HostCall` reads them."""
    def side(regions: Sequence[Region], number: int) -> str:
        paired = (False,) * len(regions) if call.callback.paired is None else call.callback.paired[number]
        return " ".join(str(_type(region, flag)) for region, flag in zip(regions, paired, strict=True))

    return f"{side(call.arguments, 0)} -> {side(call.results, 1)}"


def _type(region: Region, paired: bool) -> ArrayType:
    """What lies there for Python: complex numbers where the last axis holds their parts."""
    dtype, shape = region.buffer.dtype, region.shape
    return ArrayType(complex_dtype(dtype), shape[:-1]) if paired else ArrayType(dtype, shape)


@cache
def _types(signature: str) -> tuple[Results, Results]:
    def side(text: str) -> Results:
        found = []
        for part in text.split():
            name, _, extents = part.rstrip("]").partition("[")
            found.append((_DTYPES[name], tuple([int(n) for n in extents.split(",") if n])))
        return tuple(found)

    operands, results = signature.split("->")
    return side(operands), side(results)


class HostCall:
    """A callback as compiled code calls it."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback = callback

    def __call__(self, signature: str, operands: int, results: int) -> None:
        operand_types, result_types = _types(signature)
        values = [_value(address, *each)
                  for address, each in zip(_pointers(operands, len(operand_types)), operand_types, strict=True)]
        found = self.callback.call(values, result_types)
        for address, array in zip(_pointers(results, len(result_types)), found, strict=True):
            ctypes.memmove(address, array.tobytes(), array.nbytes)


def _pointers(address: int, count: int) -> list[int]:
    return list((ctypes.c_size_t * count).from_address(address)) if count else []


def _value(address: int, dtype: DType, shape: tuple[int, ...]) -> Any:
    """A copy of what lies at an address: a read-only array, or a NumPy scalar."""
    count = prod(shape)
    if not count:
        return np.empty(shape, dtype)
    flat = np.frombuffer(ctypes.string_at(address, count * dtype.itemsize), dtype)
    return flat.reshape(shape) if shape else flat[0]
