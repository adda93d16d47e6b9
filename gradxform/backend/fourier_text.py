"""Discrete Fourier transforms as native routines: passes of our own, or calls of the loops that NumPy's transforms run.

`fourier_plan` says which lengths have passes, called here one after the other. NumPy's loops are C++ code without a Python
object in sight (pocketfft), reached through the table of loops that every ufunc of NumPy publishes. They hold the GIL no more
than ours do, and keep the plans of recent extents.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any

from gradxform.backend.fourier_plan import Plan
from gradxform.backend.fourier_plan import plan as plan_of
from gradxform.backend.routine_text import RoutineText, RoutineWriter
from gradxform.config import config
from gradxform.errors import CompileError

_TYPES = {"float32": ("float", 4, {"complex": "Ff->F", "real": "ff->F", "inverse_real": "Ff->f"}),
          "float64": ("double", 8, {"complex": "Dd->D", "real": "dd->D", "inverse_real": "Dd->d"})}


#: Chunks of one transform: at most so many, and so many nanoseconds of its work for each. Threads meet after each half.
MOST_CHUNKS, CHUNK_WORK = 16, 20_000.0
#: So many bytes are not much for each of them.
LITTLE = 1 << 22


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


class _PlanWriter(RoutineWriter):
    """A routine made of passes, or a function of it that does a share of the vectors."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(1, 1)
        self.plan = plan
        self.declare("declare i64 @llvm.smin.i64(i64, i64)")
        self.factors, self.offsets = self.external(f"factors.{plan.name}"), plan.offsets()[0]

    def external(self, symbol: str) -> str:
        self.declare(f"declare void @gx.fourier.{symbol}()")
        return f"@gx.fourier.{symbol}"

    def call(self, function: str, *arguments: str) -> None:
        symbol = f"gx.fourier.{function}.{self.plan.element}.{self.plan.lanes}"
        self.declare(f"declare void @{symbol}({', '.join(argument.split()[0] for argument in arguments)}) nounwind")
        self.line(f"call void @{symbol}({', '.join(arguments)})")

    def at(self, base: str, index: str, times: int) -> str:
        """The address of ``index`` times so many elements."""
        return self.offset(base, self.value(f"mul i64 {index}, {times}"), self.plan.element)

    def table(self, key: str) -> str:
        return self.offset(self.factors, self.offsets[key], self.plan.element)

    def order(self, axis: int) -> str:
        return f"ptr {self.external(f'order{axis}.{self.plan.name}')}"

    def first_of(self, vector: str, extent: int) -> str:
        """Where a vector begins: the last one ends with the extent."""
        place = self.value(f"mul i64 {vector}, {self.plan.lanes}")
        return self.value(f"call i64 @llvm.smin.i64(i64 {place}, i64 {extent - self.plan.lanes})")

    def middle(self, axis: int, strip: str, first: int) -> None:
        """The passes in a strip, from the one with this number to the last but one."""
        radices, extent = (self.plan.columns, self.plan.rows)[axis], self.plan.extents[axis]
        m = extent // prod(radices[:first])
        for number, radix in enumerate(radices[first:-1], first):
            m //= radix
            self.call(f"middle.{radix}.plain", f"ptr {strip}", f"ptr {self.table(f'pass{axis}.{number}')}", f"i64 {m}",
                      f"i64 {extent // (m * radix)}")

    def shared(self, name: str, vectors: int, chunks: int, places: Sequence[str], strips: str, write: _Share) -> None:
        """What ``write`` writes, for shares of the vectors that the pool of threads hands out.

        A chunk takes one of as many strips as there are chunks, the first that nobody uses: there are never more used than
        threads, and these stay in the near caches. What is computed does not depend on it.
        """
        if chunks == 1:
            write(self, places, strips, "0", str(vectors))
            return
        name = f"gx.transform.{name}.{self.plan.name}.{vectors}.in{chunks}"
        inner = _PlanWriter(self.plan)
        context = [inner.value(f"load ptr, ptr {inner.offset('%context', position, 'ptr')}")
                   for position in range(len(places) + 2)]
        begin, end = (inner.value(f"sdiv i64 {inner.value(f'mul i64 {chunk}, {vectors}')}, {chunks}")
                      for chunk in ("%chunk", inner.value("add i64 %chunk, 1")))
        bit = inner.value(f"call i64 @gx.transform.take(ptr {context[-1]})")
        write(inner, context[:-2], inner.at(context[-2], bit, self.plan.strip), begin, end)
        taken = inner.value(f"xor i64 {inner.value(f'shl i64 1, {bit}')}, -1")
        inner.value(f"atomicrmw and ptr {context[-1]}, i64 {taken} release")
        body = "\n".join(["start:", *inner.slots, *inner.lines, "ret void"])
        self.globals.update(inner.globals)
        for line in ("declare void @gx.parallel(ptr, ptr, i64)", "declare i64 @llvm.cttz.i64(i64, i1)", _TAKE,
                     f"define internal void @{name}(ptr %context, i64 %chunk) nounwind {{\n{body}\n}}"):
            self.declare(line)
        used, given = self.slot("i64"), self.slot(f"[{len(places) + 2} x ptr]")
        self.line(f"store i64 0, ptr {used}")
        for position, place in enumerate([*places, strips, used]):
            self.line(f"store ptr {place}, ptr {self.offset(given, position, 'ptr')}")
        self.line(f"call void @gx.parallel(ptr @{name}, ptr {given}, i64 {chunks})")


#: Writes what is done with the vectors from one to another: writer, places in memory, a strip, first vector, end.
_Share = Callable[[_PlanWriter, Sequence[str], str, str, str], None]

#: The number of the lowest bit that was zero, and is one now.
_TAKE = """define internal i64 @gx.transform.take(ptr %used) nounwind {
start:
  %seen = load atomic i64, ptr %used monotonic, align 8
  br label %try
try:
  %bits = phi i64 [%seen, %start], [%changed, %try]
  %free = xor i64 %bits, -1
  %bit = call i64 @llvm.cttz.i64(i64 %free, i1 false)
  %mask = shl i64 1, %bit
  %wanted = or i64 %bits, %mask
  %exchange = cmpxchg ptr %used, i64 %bits, i64 %wanted acquire monotonic
  %changed = extractvalue { i64, i1 } %exchange, 0
  %taken = extractvalue { i64, i1 } %exchange, 1
  br i1 %taken, label %done, label %try
done:
  ret i64 %bit
}"""


def _columns_and_rows(plan: Plan, inverse: bool, chunks: int) -> RoutineText:
    """One transform."""
    w = _PlanWriter(plan)
    variant = "swapped" if inverse else "plain"
    (n1, n2), size = plan.extents, 2 * plan.lanes
    between, strips = "%workspace", w.offset("%workspace", plan.between, plan.element)
    folded = (n1 * n2 - 1) // 2 // plan.lanes

    def columns(w: _PlanWriter, places: Sequence[str], strip: str, begin: str, end: str) -> None:
        (source, between), (radix, *_, last) = places, plan.columns
        with w.loop(begin, end) as vector:
            w.call(f"first.{radix}.{variant}", f"ptr {w.at(source, w.first_of(vector, n2), 2)}", f"ptr {strip}",
                   f"ptr {w.table('pass0.0')}", f"i64 {n1 // radix}", f"i64 {2 * n2}")
            w.middle(0, strip, 1)
            w.call(f"last.{last}.between", f"ptr {strip}", f"ptr {w.at(between, vector, n1 * size)}", w.order(0),
                   f"ptr {w.at(w.table('bases'), vector, 2 * n1)}", f"ptr {w.table('lanes')}", f"i64 {n1 // last}")

    def rows(w: _PlanWriter, places: Sequence[str], strip: str, begin: str, end: str) -> None:
        (between, target), last = places, plan.rows[-1]
        with w.loop(begin, end) as vector:
            first = w.first_of(vector, n1)
            w.call("turn.0.plain", f"ptr {w.at(between, first, size)}", f"ptr {strip}", f"i64 {plan.vectors(0)}",
                   f"i64 {n1 * size}", f"i64 {n2 - plan.lanes}")
            w.middle(1, strip, 0)
            w.call(f"last.{last}.{variant}", f"ptr {strip}", f"ptr {w.at(target, first, 2)}", w.order(1), f"i64 {n2 // last}",
                   f"i64 {2 * n1}")

    def fold(w: _PlanWriter, places: Sequence[str], strip: str, begin: str, end: str) -> None:
        w.call(f"fold.0.{plan.fold}", f"ptr {places[0]}", f"ptr {places[1]}", f"ptr {w.table('fold.bases')}",
               f"ptr {w.table('fold.lanes')}", f"i64 {n1 * n2}", f"i64 {begin}", f"i64 {end}")

    source = "%x0"
    if plan.fold == "inverse":
        w.shared("fold", folded, chunks, ("%x0", "%y0"), strips, fold)
        source = "%y0"
    w.shared(f"columns.{variant}", plan.vectors(0), chunks, (source, between), strips, columns)
    w.shared(f"rows.{variant}", plan.vectors(1), chunks, (between, "%y0"), strips, rows)
    if plan.fold == "forward":
        w.shared("fold", folded, chunks, ("%y0", "%y0"), strips, fold)
    return w.text()


def _side_by_side(plan: Plan, rows: int, operand: int, result: int, inverse: bool, chunks: int) -> RoutineText:
    """``rows`` transforms, as many at a time as there are lanes; operand and result have so many elements."""
    w = _PlanWriter(plan)
    variant, (_, n) = "swapped" if inverse else "plain", plan.extents

    def transforms(w: _PlanWriter, places: Sequence[str], strip: str, begin: str, end: str) -> None:
        ordered, last = w.offset(strip, plan.strip // 2, plan.element), plan.rows[-1]
        with w.loop(begin, end) as vector:
            first = w.first_of(vector, rows)
            w.call(f"gather.0.{variant}", f"ptr {w.at(places[0], first, operand)}", f"ptr {strip}", f"i64 {operand // 2}",
                   f"i64 {operand}")
            if plan.fold == "inverse":
                w.call("fold_strip.0.inverse", f"ptr {strip}", f"ptr {w.table('fold')}", f"i64 {n}")
            w.middle(1, strip, 0)
            w.call(f"last.{last}.within", f"ptr {strip}", f"ptr {ordered}", w.order(1), f"i64 {n // last}")
            if plan.fold == "forward":
                w.call("fold_strip.0.forward", f"ptr {ordered}", f"ptr {w.table('fold')}", f"i64 {n}")
            w.call(f"spread.0.{variant}", f"ptr {ordered}", f"ptr {w.at(places[1], first, result)}", f"i64 {result // 2}",
                   f"i64 {result}")

    w.shared(f"transforms.{variant}.{rows}", -(-rows // plan.lanes), chunks, ("%x0", "%y0"), "%workspace", transforms)
    return w.text()


def _planned(plan: Plan, rows: int, operand: int, result: int, inverse: bool, chunks: int) -> RoutineText:
    """``rows`` transforms by passes of our own."""
    if plan.columns:
        return _columns_and_rows(plan, inverse, chunks)
    return _side_by_side(plan, rows, operand, result, inverse, chunks)


def planned(function: str, dtype: str, rows: int, extent: int) -> Plan | None:
    """How ``rows`` transforms of ``extent`` numbers are done by passes of our own; None if NumPy does it."""
    if function in ("forward", "inverse"):
        return plan_of(dtype, extent, "none", rows)
    return None if extent % 2 else plan_of(dtype, extent // 2, "forward" if function == "real" else "inverse", rows)


def chunks_of(plan: Plan, rows: int, times: int, work: float) -> int:
    """Into how many chunks ``rows`` transforms are cut, of which there are ``times``; ``work`` is what these rows take.

    Where there are many, each with little memory, threads take whole ones instead: then they need not meet.
    """
    size = (8 if plan.element == "double" else 4) * (plan.between + plan.strip)
    if work < config.parallel_threshold or (times >= MOST_CHUNKS and size <= LITTLE):
        return 1
    vectors = min(plan.vectors(0), plan.vectors(1)) if plan.columns else -(-rows // plan.lanes)
    # The last vector may overlap the one before it: that is to be in the same chunk.
    most = min(MOST_CHUNKS, vectors // 2, int(work / CHUNK_WORK))
    return 1 << most.bit_length() - 1 if most else 1


def workspace(function: str, dtype: str, rows: int, extent: int, chunks: int = 1) -> int:
    """Bytes that these transforms need while they run."""
    plan = planned(function, dtype, rows, extent)
    return 0 if plan is None else -(-(plan.between + chunks * plan.strip) * _TYPES[dtype][1] // 64) * 64


def _complex(function: str) -> Callable[..., RoutineText]:
    def write(dtype: str, rows: int, extent: int, chunks: int = 1) -> RoutineText:
        plan = planned("forward", dtype, rows, extent)
        if plan is not None:
            return _planned(plan, rows, 2 * extent, 2 * extent, function == "ifft", chunks)
        element, size, types = _TYPES[dtype]
        return _transform(function, types["complex"], element, (extent, 2 * size), (extent, 2 * size), rows)

    return write


def _real(dtype: str, rows: int, extent: int, chunks: int = 1) -> RoutineText:
    plan = planned("real", dtype, rows, extent)
    if plan is not None:
        return _planned(plan, rows, extent, extent + 2, False, chunks)
    element, size, types = _TYPES[dtype]
    function = "rfft_n_odd" if extent % 2 else "rfft_n_even"
    return _transform(function, types["real"], element, (extent, size), (extent // 2 + 1, 2 * size), rows)


def _inverse_real(dtype: str, rows: int, extent: int, chunks: int = 1) -> RoutineText:
    plan = planned("inverse_real", dtype, rows, extent)
    if plan is not None:
        return _planned(plan, rows, extent + 2, extent, False, chunks)
    element, size, types = _TYPES[dtype]
    return _transform("irfft", types["inverse_real"], element, (extent // 2 + 1, 2 * size), (extent, size), rows)


ROUTINES: Mapping[str, Callable[..., RoutineText]] = MappingProxyType({
    "forward": _complex("fft"), "inverse": _complex("ifft"), "real": _real, "inverse_real": _inverse_real,
})
