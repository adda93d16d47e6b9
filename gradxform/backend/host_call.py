"""What compiled code calls when a program calls into Python.

Compiled code knows types and addresses; a callback takes arrays and gives arrays. Between them stands one `HostCall` per
callback, called as ``host_call("f64[3] i64[] -> f64[]", operands, results)`` with the addresses of two arrays of
pointers. It must be called with the GIL held. What the callback raises comes out of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from gradxform.data_class import data_class
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


@data_class(frozen=True, slots=True, eq=False)
class _Side:
    """The operands or the results of a call: their types, what reads one from its address, and all their addresses."""

    types: Results
    readers: tuple[Callable[[int], Any], ...]
    pointers: Any

    def addresses(self, address: int) -> list[int]:
        return self.pointers.from_address(address)[:] if self.types else []


@cache
def _sides(signature: str) -> tuple[_Side, _Side]:
    def side(text: str) -> _Side:
        found = []
        for part in text.split():
            name, _, extents = part.rstrip("]").partition("[")
            found.append((_DTYPES[name], tuple([int(n) for n in extents.split(",") if n])))
        return _Side(tuple(found), tuple([_reader(*each) for each in found]), ctypes.c_size_t * len(found))

    operands, results = signature.split("->")
    return side(operands), side(results)


def _reader(dtype: DType, shape: tuple[int, ...]) -> Callable[[int], Any]:
    """What copies a value from its address: to a read-only array, or to a NumPy scalar."""
    count = prod(shape)
    if not count:
        return lambda address: np.empty(shape, dtype)
    memory: Any = ctypes.c_char * (count * dtype.itemsize)
    if not shape:
        return lambda address: np.frombuffer(memory.from_address(address), dtype)[0]
    return lambda address: np.frombuffer(memory.from_address(address).raw, dtype).reshape(shape)


class HostCall:
    """A callback as compiled code calls it."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback = callback

    def __call__(self, signature: str, operands: int, results: int) -> None:
        given, wanted = _sides(signature)
        values = [read(address) for read, address in zip(given.readers, given.addresses(operands), strict=True)]
        found = self.callback.call(values, wanted.types)
        for address, array in zip(wanted.addresses(results), found, strict=True):
            ctypes.memmove(address, array.tobytes(), array.nbytes)
