"""A metered build: a kernel with clocks around its spans, and counters where the data decide how often something runs.

    %meter.t1 = call i64 @meter.start()
    ... the loop ...
    call void @meter.stop(ptr %meter, i64 5, i64 %meter.t1)

It is the text of the ordinary build with such lines added, cut into the same modules, so that LLVM makes the same loops
of it and results have the same bits. To LLVM the clocks touch nothing that the kernel can see, and counters are registers
that are added to the record when a function of the nest ends.

The record is memory of this process, which the text imports as ``@meter.record``; it is never kept on disk. Each nest
has a part of it and gets that address as one more argument, so that nests that share a function have records of their own:

    nanoseconds and entries of the nest, of its chunks (summed over threads), how often it ran again with careful functions
    nanoseconds and entries of each span within the nest
    how often the block of each site was run

Chunks add to it at the same time, by atomic additions.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from gradxform.backend import compile as compiler
from gradxform.backend import disk_cache
from gradxform.backend.compile import Loaded, Tier
from gradxform.backend.emit import imported_symbols
from gradxform.backend.entry import CELL_SYMBOL, ENTRY_SYMBOL
from gradxform.backend.executable import Executable, linked, preparing
from gradxform.backend.generation import module_text, tier_of
from gradxform.backend.index_lines import lines_of_indices
from gradxform.backend.module import Module
from gradxform.backend.nest_text import NestWriter, Variant
from gradxform.backend.partition import compile_parted
from gradxform.backend.signature import EntrySpec
from gradxform.backend.symbols import symbol_address
from gradxform.data_class import data_class
from gradxform.ir import Program, callbacks
from gradxform.loopir.counting import Site, Span, sites, spans
from gradxform.loopir.loops import Kernel, Nest, Statement, bodies, with_bodies

#: Words at the beginning of a nest's record; clocks take two words each.
_NEST, _CHUNKS, _AGAIN, _HEAD = 0, 2, 4, 5
#: On macOS the usual monotonic clock ticks once per microsecond.
_CLOCK = getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)
_EXPORTS = ("meter.start", "meter.stop", "meter.add", "meter.calibrate")
_TEXT = f"""declare i32 @clock_gettime(i32, ptr)
define i64 @meter.start() nounwind {{
  %now = alloca [2 x i64], align 8
  %code = call i32 @clock_gettime(i32 {_CLOCK}, ptr %now)
  %seconds = load i64, ptr %now
  %rest = getelementptr i64, ptr %now, i64 1
  %nanoseconds = load i64, ptr %rest
  %scaled = mul i64 %seconds, 1000000000
  %total = add i64 %scaled, %nanoseconds
  ret i64 %total
}}
define void @meter.stop(ptr %record, i64 %slot, i64 %began) nounwind {{
  %now = call i64 @meter.start()
  %taken = sub i64 %now, %began
  %time = getelementptr i64, ptr %record, i64 %slot
  %t = atomicrmw add ptr %time, i64 %taken monotonic
  %entries = getelementptr i64, ptr %time, i64 1
  %e = atomicrmw add ptr %entries, i64 1 monotonic
  ret void
}}
define void @meter.add(ptr %record, i64 %slot, i64 %count) nounwind {{
  %place = getelementptr i64, ptr %record, i64 %slot
  %old = atomicrmw add ptr %place, i64 %count monotonic
  ret void
}}
define void @meter.calibrate(ptr %record, i64 %times) nounwind {{
start:
  br label %loop
loop:
  %i = phi i64 [0, %start], [%next, %loop]
  %began = call i64 @meter.start()
  call void @meter.stop(ptr %record, i64 0, i64 %began)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""
# What they write is seen by nobody else in the kernel, so that loads and stores around them stay where they are.
_UNSEEN = "nounwind willreturn nofree nocallback memory(inaccessiblemem: readwrite)"
_DECLARATIONS = (
    "@meter.record = external global i64", f"declare i64 @meter.start() {_UNSEEN}",
    f"declare void @meter.stop(ptr captures(none), i64, i64) {_UNSEEN}",
    f"declare void @meter.add(ptr captures(none), i64, i64) {_UNSEEN}",
)
_CALIBRATION_ROUNDS, _CALIBRATION_TIMES = 7, 200


@cache
def _library() -> Loaded:
    """The clocks."""
    key = disk_cache.key_of(["meter", compiler.codegen_identity(), _TEXT])
    entry = disk_cache.get(key)
    if entry is None:
        entry = disk_cache.Entry(compiler.compile_text(_TEXT, Tier.PLAIN), {})
        disk_cache.put(key, entry)
    return compiler.load(entry.object_code, {"clock_gettime": symbol_address("gx.c.clock_gettime")}, _EXPORTS)


@cache
def clock_cost() -> tuple[float, float]:
    """Seconds that a pair of clocks adds: to what it measures, and to what is around it."""
    calibrate = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(_library().address("meter.calibrate"))
    inside, outside = [], []
    for _ in range(_CALIBRATION_ROUNDS):
        record = np.zeros(2, np.int64)
        began = time.perf_counter_ns()
        calibrate(record.ctypes.data, _CALIBRATION_TIMES)
        outside.append(time.perf_counter_ns() - began)
        inside.append(int(record[0]))
    scale = 1e-9 / _CALIBRATION_TIMES
    return min(inside) * scale, min(outside) * scale


def apart(kernel: Kernel) -> Kernel:
    """The kernel with each statement an object of its own, where passes have used one in several places."""
    seen: set[int] = set()

    def own(statement: Statement) -> Statement:
        inner = [tuple([own(part) for part in body]) for body in bodies(statement)]
        found = with_bodies(statement, inner)
        if id(found) in seen:
            found = replace(found)
        seen.add(id(found))
        return found

    nests = [replace(nest, body=tuple([own(statement) for statement in nest.body])) for nest in kernel.nests]
    return replace(kernel, nests=tuple(nests))


@data_class(frozen=True, slots=True)
class Reading:
    """One record, or a sum of several, by the numbers of spans and sites.

    Attributes:
        seconds: of each span, wall time of nests, else summed over threads; the clocks' own cost is taken off.
        chunk_seconds: of each span that is a nest in chunks: the time of all chunks; 0.0 of others.
        entries: how often each span was reached.
        reruns: how often each span that is a nest (each chunk of it) ran again with careful functions.
        executed: how often the block of each site ran.
        clock_seconds: what the clocks made all of it longer.
    """

    seconds: Any
    chunk_seconds: Any
    entries: Any
    reruns: Any
    executed: Any
    clock_seconds: float


class Meter:
    """The clocks and counters of one kernel. ``kernel`` is that to be emitted."""

    #: What to add where a nest runs again with careful functions.
    again = (f"call void @meter.add(ptr %meter, i64 {_AGAIN}, i64 1)",)

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = apart(kernel)
        self.spans: tuple[Span, ...] = spans(self.kernel)
        self.sites: tuple[Site, ...] = sites(self.kernel)
        self.timed: dict[int, int] = {}  # by statement: where in the record of its nest the time goes
        self.counted: dict[int, int] = {}  # the same by the first statement of a block that is counted
        self._places: list[int] = []  # of spans in the whole record
        self._counts: list[int] = []  # of sites
        self._nests: list[int] = []
        size = 0
        for number in range(len(kernel.nests)):
            self._nests.append(size)
            local = _HEAD
            for span in self.spans:
                if span.nest == number:
                    self._places.append(size + (_NEST if span.statement is None else local))
                    if span.statement is not None:
                        self.timed[id(span.statement)] = local
                        local += 2
            for site in self.sites:
                if site.nest == number:
                    self.counted[id(site.block[0])] = local
                    self._counts.append(size + local)
                    local += 1
            size += -(-local // 8) * 8
        self.record: Any = np.zeros(max(size, 1), np.int64)

    # ------------------------------------------------------------------------------------------------------- text

    def declare(self, module: Module) -> None:
        """Add what clocks and counters need."""
        module.declarations.update(dict.fromkeys(_DECLARATIONS))

    def writer(self, module: Module, name: str, nest: Nest, variant: Variant) -> NestWriter:
        return MeteredWriter(self, module, name, nest, variant)

    def around(self, number: int) -> tuple[list[str], list[str], list[str]]:
        """The lines before and after the call of a nest, and the value that is the address of its record."""
        record = f"%meter{number}"
        before = [f"{record} = getelementptr i64, ptr @meter.record, i64 {self._nests[number]}",
                  f"%meter.t{number} = call i64 @meter.start()"]
        return before, [f"call void @meter.stop(ptr {record}, i64 {_NEST}, i64 %meter.t{number})"], [record]

    def chunk(self, lines: Sequence[str]) -> list[str]:
        """The lines of a chunk with clocks around them."""
        return ["%meter.t = call i64 @meter.start()", *lines, f"call void @meter.stop(ptr %meter, i64 {_CHUNKS}, i64 %meter.t)"]

    def imports(self) -> dict[str, int]:
        """The addresses of what the text imports beside what that of an ordinary build does."""
        addresses = {name: _library().address(name) for name in _EXPORTS if name != "meter.calibrate"}
        return {**addresses, "meter.record": self.record.ctypes.data}

    # ------------------------------------------------------------------------------------------------------ record

    def reset(self) -> None:
        self.record[:] = 0

    def reading(self, record: Any) -> Reading:
        """What a copy of the record, or the sum of several, says."""
        inside, outside = clock_cost()
        count = len(self.spans)
        raw = np.array([record[place] for place in self._places]) * 1e-9
        entries = np.array([record[place + 1] for place in self._places])
        below = np.zeros(count)  # what clocks within a span have added to it
        for span in reversed(self.spans):
            if span.parent is not None:
                below[span.parent] += below[span.number] + entries[span.number] * outside
        seconds, chunk_seconds, reruns = raw - entries * inside, np.zeros(count), np.zeros(count)
        for span in self.spans:
            number, place = span.number, self._places[span.number]
            if span.statement is not None:
                seconds[number] -= below[number]
                continue
            reruns[number] = record[place + _AGAIN]
            chunks = record[place + _CHUNKS + 1]
            if not chunks:
                seconds[number] -= below[number]
                continue
            # What clocks took in several threads at a time made the nest longer by a part of it only.
            busy = record[place + _CHUNKS] * 1e-9
            chunk_seconds[number] = max(busy - chunks * inside - below[number], 0.0)
            if busy > 0:
                seconds[number] -= (below[number] + chunks * outside) * min(raw[number] / busy, 1.0)
        executed = np.array([record[place] for place in self._counts], np.int64)
        nests = [span.number for span in self.spans if span.parent is None]
        clocks = sum((raw - seconds)[nests]) + sum(entries[nests]) * (outside - inside)
        return Reading(np.maximum(seconds, 0.0), chunk_seconds, entries, reruns, executed, float(clocks))


def compile_metered(
    program: Program, kernel: Kernel, spec: EntrySpec, statics: Mapping[int, object],
    captures: Sequence[np.ndarray[Any, Any]],
) -> tuple[Executable, Meter]:
    """A metered build of ``kernel``, which computes ``program``, behind an entry point of ``spec``; it is not kept on disk."""
    began = time.perf_counter()
    meter = Meter(kernel)
    ordinary, _ = module_text(kernel, spec)
    text, module = module_text(meter.kernel, spec, meter)
    imports = imported_symbols(module)
    with preparing(imports):
        objects = compile_parted(text, tier_of(kernel), like=ordinary)
    addresses = {**{name: symbol_address(name) for name in imports}, **meter.imports()}
    loaded, alive = linked(objects, addresses, module.sites, list(module.callbacks), spec, statics, captures,
                           lines_of_indices(program))
    made = Executable(
        loaded.address(ENTRY_SYMBOL), loaded.address(CELL_SYMBOL), (*alive, meter.record),
        tuple(dict.fromkeys(callbacks(program))), "compiled", (("metered build", time.perf_counter() - began),))
    return made, meter


class MeteredWriter(NestWriter):
    """Writes a nest with clocks and counters. Their names are their own, so that all else reads as in the ordinary text."""

    handed_on = ("ptr %meter",)

    def __init__(self, meter: Meter, module: Module, name: str, nest: Nest, variant: Variant) -> None:
        super().__init__(module, name, nest, variant)
        self.meter = meter
        self.marks = 0

    def another(self, name: str, nest: Nest) -> NestWriter:
        return MeteredWriter(self.meter, self.module, name, nest, self.variant)

    def statements(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            counter = self.meter.counted.get(id(statement))
            # A nest that runs again does what it has been counted for.
            if counter is not None and not self.twin:
                self.count(counter)
            slot = self.meter.timed.get(id(statement))
            if slot is None:
                super().statements((statement,))
                continue
            began = self.mark("t")
            self.append(f"{began} = call i64 @meter.start()")
            super().statements((statement,))
            self.append(f"call void @meter.stop(ptr %meter, i64 {slot}, i64 {began})")

    def count(self, slot: int) -> None:
        """One more in a register that goes to the record when the function ends."""
        register = f"%meter.count{slot}"
        if f"store i64 0, ptr {register}" not in self.entry_lines:
            self.entry_lines += [f"{register} = alloca i64", f"store i64 0, ptr {register}"]
            found = self.mark("sum")
            self.exit_lines += [f"{found} = load i64, ptr {register}",
                                f"call void @meter.add(ptr %meter, i64 {slot}, i64 {found})"]
        old, new = self.mark("n"), self.mark("n")
        self.append(f"{old} = load i64, ptr {register}")
        self.append(f"{new} = add i64 {old}, 1")
        self.append(f"store i64 {new}, ptr {register}")

    def mark(self, stem: str) -> str:
        self.marks += 1
        return f"%meter.{stem}{self.marks}"
