"""Discrete Fourier transforms as native routines: calls of the loops that NumPy's own transforms run.

They are C++ code without a Python object in sight (pocketfft), reached through the table of loops that every ufunc of NumPy
publishes. NumPy's transforms hold the GIL no more than ours do, and keep the plans of recent extents.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from gradxform.backend.routine_text import RoutineText, RoutineWriter
from gradxform.errors import CompileError

_TYPES = {"float32": ("float", 4, {"complex": "Ff->F", "real": "ff->F", "inverse_real": "Ff->f"}),
          "float64": ("double", 8, {"complex": "Dd->D", "real": "dd->D", "inverse_real": "Dd->d"})}


class _UFunc(ctypes.Structure):
    """The beginning of NumPy's public PyUFuncObject."""

    _fields_ = (
        ("reference_count", ctypes.c_ssize_t), ("type", ctypes.c_void_p), ("nin", ctypes.c_int), ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int), ("identity", ctypes.c_int), ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)), ("ntypes", ctypes.c_int))


@cache
def address(symbol: str) -> int:
    """The address of ``FUNCTION.TYPES``, a loop, or of ``FUNCTION.TYPES.data``, what it is to be handed.

    Raises CompileError if this NumPy has no such loop.
    """
    name, _, types = symbol.partition(".")
    types, _, data = types.partition(".")
    module: Any = __import__("numpy.fft._pocketfft_umath", fromlist=[name])
    ufunc = getattr(module, name, None)
    signature = f"{types[:2]}->{types[2:]}"
    if ufunc is None or signature not in ufunc.types:
        raise CompileError(f"this version of NumPy has no loop {name} for the types {signature}")
    record = _UFunc.from_address(id(ufunc))
    number = ufunc.types.index(signature)
    if (record.nin, record.nout, record.ntypes) != (ufunc.nin, ufunc.nout, len(ufunc.types)):
        raise CompileError("this version of NumPy lays its ufuncs out in another way")
    table = record.data if data else record.functions
    return int(table[number] or 0) if table else 0


def _transform(
    function: str, types: str, element: str, operand: tuple[int, int], result: tuple[int, int], rows: int
) -> RoutineText:
    """``rows`` transforms; operand and result are the extent and the bytes of an element."""
    w = RoutineWriter(1, 1)
    symbol = f"gx.fft.{function}.{types.replace('->', '')}"
    w.declare(f"declare void @{symbol}(ptr, ptr, ptr, ptr)")
    # Only its address is wanted: that is the data.
    w.declare(f"declare void @{symbol}.data()")
    factor = w.slot(element)
    w.line(f"store {element} 1.0, ptr {factor}")

    def array(kind: str, values: list[str]) -> str:
        place = w.slot(f"[{len(values)} x {kind}]")
        for position, value in enumerate(values):
            w.line(f"store {kind} {value}, ptr {w.offset(place, position, kind)}")
        return place

    lines = [extent * size for extent, size in (operand, result)]
    arguments = array("ptr", ["%x0", factor, "%y0"])
    extents = array("i64", [str(rows), str(operand[0]), str(result[0])])
    steps = array("i64", [str(lines[0]), "0", str(lines[1]), str(operand[1]), str(result[1])])
    w.line(f"call void @{symbol}(ptr {arguments}, ptr {extents}, ptr {steps}, ptr @{symbol}.data)")
    return w.text()


def _complex(function: str) -> Callable[[str, int, int], RoutineText]:
    def write(dtype: str, rows: int, extent: int) -> RoutineText:
        element, size, types = _TYPES[dtype]
        return _transform(function, types["complex"], element, (extent, 2 * size), (extent, 2 * size), rows)

    return write


def _real(dtype: str, rows: int, extent: int) -> RoutineText:
    element, size, types = _TYPES[dtype]
    function = "rfft_n_odd" if extent % 2 else "rfft_n_even"
    return _transform(function, types["real"], element, (extent, size), (extent // 2 + 1, 2 * size), rows)


def _inverse_real(dtype: str, rows: int, extent: int) -> RoutineText:
    element, size, types = _TYPES[dtype]
    return _transform("irfft", types["inverse_real"], element, (extent // 2 + 1, 2 * size), (extent, size), rows)


ROUTINES: Mapping[str, Callable[..., RoutineText]] = MappingProxyType({
    "forward": _complex("fft"), "inverse": _complex("ifft"), "real": _real, "inverse_real": _inverse_real,
})
