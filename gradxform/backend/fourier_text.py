"""Discrete Fourier transforms as native routines: calls of the loops that NumPy's own transforms run.

They are C++ code without a Python object in sight (pocketfft), reached through the table of loops that every ufunc of NumPy
publishes. NumPy's transforms hold the GIL no more than ours do, and keep the plans of recent extents.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any

from gradxform.backend.fourier_plan import Plan
from gradxform.backend.fourier_plan import plan as plan_of
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


def _planned(plan: Plan, rows: int, operand: int, result: int, inverse: bool) -> RoutineText:
    """``rows`` transforms by passes of our own; operand and result have so many elements."""
    w = RoutineWriter(1, 1)
    element, lanes, (n1, n2), name = plan.element, plan.lanes, plan.extents, plan.name
    size, variant = 2 * lanes, "swapped" if inverse else "plain"
    offsets, _ = plan.offsets()

    def external(symbol: str) -> str:
        w.declare(f"declare void @gx.fourier.{symbol}()")
        return f"@gx.fourier.{symbol}"

    def call(function: str, *arguments: str) -> None:
        symbol = f"gx.fourier.{function}.{element}.{lanes}"
        w.declare(f"declare void @{symbol}({', '.join(argument.split()[0] for argument in arguments)}) nounwind")
        w.line(f"call void @{symbol}({', '.join(arguments)})")

    def table(key: str) -> str:
        return f"ptr {w.offset(factors, offsets[key], element)}"

    def middle(axis: int, radices: tuple[int, ...], first: int) -> None:
        m = plan.extents[axis] // prod(radices[:first])
        for number, radix in enumerate(radices[first:-1], first):
            m //= radix
            call(f"middle.{radix}.plain", f"ptr {strip}", table(f"pass{axis}.{number}"), f"i64 {m}",
                 f"i64 {plan.extents[axis] // (m * radix)}")

    def start(vector: str, extent: int) -> str:
        place, most = w.value(f"mul i64 {vector}, {lanes}"), extent - lanes
        return w.value(f"call i64 @llvm.smin.i64(i64 {place}, i64 {most})")

    def numbers(base: str, index: str) -> str:
        return w.offset(base, w.value(f"mul i64 {index}, 2"), element)

    w.declare("declare i64 @llvm.smin.i64(i64, i64)")
    factors = external(f"factors.{name}")
    between = w.offset("%workspace", size * max(n1, n2), element)
    strip = "%workspace"
    with w.loop(0, rows) as row:
        source = w.offset("%x0", w.value(f"mul i64 {row}, {operand}"), element)
        target = w.offset("%y0", w.value(f"mul i64 {row}, {result}"), element)
        if plan.fold == "inverse":
            call("fold.0.inverse", f"ptr {source}", f"ptr {target}", table("fold.bases"), table("fold.lanes"), f"i64 {n1 * n2}")
            source = target
        radix, last, groups = plan.columns[0], plan.columns[-1], n1 // plan.columns[-1]
        with w.loop(0, plan.vectors(0)) as vector:
            call(f"first.{radix}.{variant}", f"ptr {numbers(source, start(vector, n2))}", f"ptr {strip}", table("pass0.0"),
                 f"i64 {n1 // radix}", f"i64 {2 * n2}")
            middle(0, plan.columns, 1)
            to = w.offset(between, w.value(f"mul i64 {vector}, {n1 * size}"), element)
            bases = w.offset(table("bases")[4:], w.value(f"mul i64 {vector}, {2 * n1}"), element)
            call(f"last.{last}.between", f"ptr {strip}", f"ptr {to}", f"ptr {external(f'order0.{name}')}", f"ptr {bases}",
                 table("lanes"), f"i64 {groups}")
        last, groups = plan.rows[-1], n2 // plan.rows[-1]
        with w.loop(0, plan.vectors(1)) as vector:
            begin = start(vector, n1)
            strips = w.offset(between, w.value(f"mul i64 {begin}, {size}"), element)
            call("turn.0.plain", f"ptr {strips}", f"ptr {strip}", f"i64 {plan.vectors(0)}", f"i64 {n1 * size}",
                 f"i64 {n2 - lanes}")
            middle(1, plan.rows, 0)
            call(f"last.{last}.{variant}", f"ptr {strip}", f"ptr {numbers(target, begin)}", f"ptr {external(f'order1.{name}')}",
                 f"i64 {groups}", f"i64 {2 * n1}")
        if plan.fold == "forward":
            call("fold.0.forward", f"ptr {target}", f"ptr {target}", table("fold.bases"), table("fold.lanes"), f"i64 {n1 * n2}")
    return w.text()


def planned(function: str, dtype: str, extent: int) -> Plan | None:
    """How a transform of ``extent`` numbers is done by passes of our own; None if NumPy does it."""
    if function in ("forward", "inverse"):
        return plan_of(dtype, extent)
    return None if extent % 2 else plan_of(dtype, extent // 2, "forward" if function == "real" else "inverse")


def workspace(function: str, dtype: str, extent: int) -> int:
    """Bytes that a transform needs while it runs."""
    plan = planned(function, dtype, extent)
    return 0 if plan is None else -(-plan.workspace * _TYPES[dtype][1] // 64) * 64


def _complex(function: str) -> Callable[[str, int, int], RoutineText]:
    def write(dtype: str, rows: int, extent: int) -> RoutineText:
        plan = planned("forward", dtype, extent)
        if plan is not None:
            return _planned(plan, rows, 2 * extent, 2 * extent, function == "ifft")
        element, size, types = _TYPES[dtype]
        return _transform(function, types["complex"], element, (extent, 2 * size), (extent, 2 * size), rows)

    return write


def _real(dtype: str, rows: int, extent: int) -> RoutineText:
    plan = planned("real", dtype, extent)
    if plan is not None:
        return _planned(plan, rows, extent, extent + 2, False)
    element, size, types = _TYPES[dtype]
    function = "rfft_n_odd" if extent % 2 else "rfft_n_even"
    return _transform(function, types["real"], element, (extent, size), (extent // 2 + 1, 2 * size), rows)


def _inverse_real(dtype: str, rows: int, extent: int) -> RoutineText:
    plan = planned("inverse_real", dtype, extent)
    if plan is not None:
        return _planned(plan, rows, extent + 2, extent, False)
    element, size, types = _TYPES[dtype]
    return _transform("irfft", types["inverse_real"], element, (extent // 2 + 1, 2 * size), (extent, size), rows)


ROUTINES: Mapping[str, Callable[..., RoutineText]] = MappingProxyType({
    "forward": _complex("fft"), "inverse": _complex("ifft"), "real": _real, "inverse_real": _inverse_real,
})
