"""Measuring where the time of a compiled function goes: calls of a build that has clocks and counters in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradxform.api.lowered import Lowered
from gradxform.api.metered_calls import collecting
from gradxform.backend.callable import NativeEntry
from gradxform.backend.metering import Reading, compile_metered
from gradxform.backend.signature import EntrySpec
from gradxform.config import config
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import ArgumentError
from gradxform.ir import ArrayType
from gradxform.ir.callback import has_effect, wrapped
from gradxform.loopir.counting import Estimate, Span, estimates, spans

if TYPE_CHECKING:
    from gradxform.api.jit import Jitted

#: Calls are repeated for so many seconds, or so often; three times at least, which is enough if they have effects.
SECONDS, MOST_CALLS, LEAST_CALLS = 0.3, 100, 3


@data_class(frozen=True, slots=True)
class SpanMeasurement:
    """What one span took.

    Attributes:
        span: the part of the kernel.
        seconds: wall time per call, the mean of the middle half of the calls. What stands in a nest that runs in parallel
            gets its share of the time of the nest, in proportion to what all threads spent in it. The clocks' own time is
            taken off.
        thread_seconds: the same summed over the chunks of a nest: what all threads spent in it altogether.
        entries: how often it was reached per call.
        executed: how much was done per call: the estimate with the numbers of iterations that were counted.
        reruns: how often per call a nest ran again because an argument was outside the range of the fast form of an
            elementary function (in chunks: how many chunks did).
    """

    span: Span
    seconds: float
    thread_seconds: float
    entries: float
    executed: Estimate
    reruns: float = 0.0

    @property
    def iterations(self) -> int:
        """Of its loop, in all entries of a call."""
        return self.executed.iterations

    @property
    def flops(self) -> int:
        """Executed per call."""
        return self.executed.flops

    @property
    def flops_per_second(self) -> float:
        return self.executed.flops / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """What is read and written, per second, caches included."""
        return self.executed.bytes_moved / self.seconds if self.seconds > 0 else 0.0


@data_class(frozen=True, slots=True)
class Measurement:
    """What a function took.

    Attributes:
        spans: one for each of the kernel's spans, in their order.
        call_seconds: time of an ordinary call, the median of ``calls``; where only metered calls were made, the mean of
            theirs without the time of the clocks.
        metered_seconds: time of a metered call, its clocks included.
        calls: how many (of each) were made.
        threads: ``config.num_threads`` at that time.
    """

    spans: tuple[SpanMeasurement, ...]
    call_seconds: float
    metered_seconds: float
    calls: int
    threads: int


class MeteredCode:
    """The metered build of one specialisation of a jitted function."""

    def __init__(
        self, name: str, lowered: Lowered, spec: EntrySpec, statics: Mapping[int, object],
        captures: Sequence[np.ndarray[Any, Any]], treedef: Any,
    ) -> None:
        kernel = lowered.loops
        made, self.meter = compile_metered(lowered.program, kernel, spec, statics, captures)
        self.name = name
        self.lowered = lowered
        self.inputs: tuple[ArrayType, ...] = lowered.program.input_types[:len(lowered.program.inputs) - len(captures)]
        self.treedef = treedef
        self.spans = spans(kernel)
        self._entry = wrapped(NativeEntry(made.address, made.cell_address, made.alive), made.callbacks)
        # There is one record: while a call is measured, others that get here run the ordinary build.
        self._busy = threading.Lock()

    def run(
        self, note: Callable[[float, Any], None], ordinary: Callable[[], Callable[..., Any]], /, *args: Any, **kwargs: Any
    ) -> Any:
        """One call, told to ``note`` with its seconds and a copy of the record (None if it was not metered).

        A call from within itself, or while another thread has the record, is one of what ``ordinary`` gives.
        """
        if not self._busy.acquire(blocking=False):
            entry = ordinary()
            began = perf_counter()
            result = entry(*args, **kwargs)
            note(perf_counter() - began, None)
            return result
        try:
            self.meter.reset()
            began = perf_counter()
            result = self._entry(*args, **kwargs)
            seconds = perf_counter() - began
            record = self.meter.record.copy()
        finally:
            self._busy.release()
        note(seconds, record)
        return result

    def measured(
        self, readings: Sequence[Reading], calls: int, call_seconds: float, metered_seconds: float
    ) -> Measurement:
        """The measurement of readings that stand for ``calls`` in all."""
        times = np.array([_wall_and_thread_seconds(self.spans, reading) for reading in readings])
        # Whole calls are chosen, so that the times of parts add up.
        nests = [span.number for span in self.spans if span.parent is None]
        order = np.argsort(times[:, 0, nests].sum(axis=1), kind="stable")
        middle = times[order[len(order) // 4:len(order) - len(order) // 4]].mean(axis=0) * (len(readings) / calls)
        for span in self.spans:
            if span.parent is not None:  # but for what the clocks themselves vary
                middle[:, span.number] = np.minimum(middle[:, span.number], middle[:, span.parent])
        wall, in_threads = middle
        entries, reruns, executed = (sum(getattr(reading, name) for reading in readings) / calls
                                     for name in ("entries", "reruns", "executed"))
        amounts = estimates(self.lowered.loops, executed)
        found = [SpanMeasurement(span, float(wall[n]), float(in_threads[n]), float(entries[n]), amounts[n], float(reruns[n]))
                 for n, span in enumerate(self.spans)]
        return Measurement(tuple(found), call_seconds, metered_seconds, calls, config.num_threads)


def _wall_and_thread_seconds(found: Sequence[Span], reading: Reading) -> tuple[Any, Any]:
    """Of each span: wall time, and the time of all threads."""
    nests = {span.nest: span.number for span in found if span.parent is None}
    own = np.array([nests[span.nest] for span in found], np.int64)
    chunked = reading.chunk_seconds[own] > 0
    inside = np.array([span.parent is not None for span in found], bool)
    in_threads = np.where(chunked & ~inside, reading.chunk_seconds, reading.seconds)
    share = reading.seconds[own] / np.where(chunked, reading.chunk_seconds[own], 1.0)
    return np.where(chunked & inside, reading.seconds * share, reading.seconds), in_threads


class Samples:
    """Measured calls of one metered build, one after the other or summed up."""

    def __init__(self, code: MeteredCode) -> None:
        self.code = code
        self.calls = 0
        self.metered_calls = 0
        self.seconds = 0.0
        self._record: Any = 0

    def note(self, seconds: float, record: Any) -> None:
        self.calls += 1
        self.seconds += seconds
        if record is not None:
            self.metered_calls += 1
            self._record = self._record + record

    def measurement(self) -> Measurement | None:
        """The mean of the calls; None if none was metered."""
        if not self.metered_calls:
            return None
        reading = self.code.meter.reading(self._record)
        each = self.seconds / self.calls
        net = max(each - reading.clock_seconds / self.metered_calls, 0.0)
        return self.code.measured([reading], self.metered_calls, net, each)


class Metered:
    """A jitted function built with clocks and counters for some arguments; made by `Jitted.metered`.

    Attributes:
        lowered: the stages of the same kernel; ``spans`` are those of ``lowered.loops``.
        spans: the parts of the kernel that are measured.
        estimates: what each has to do in one call, by the loops alone.
    """

    def __init__(self, jitted: Jitted, code: MeteredCode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._jitted = jitted
        self._args = args
        self._kwargs = dict(kwargs)
        self.code = code
        self.lowered: Lowered = code.lowered
        self.spans: tuple[Span, ...] = code.spans
        self.estimates: tuple[Estimate, ...] = estimates(code.lowered.loops)

    def call(self) -> Any:
        """One call of the metered build with the arguments; its result is that of an ordinary call."""
        return self._call(lambda seconds, record: None)

    def _call(self, note: Callable[[float, Any], None]) -> Any:
        with collecting(lambda code, ordinary: partial(code.run, note, ordinary)):
            return self._jitted.call_slow(*self._args, **self._kwargs)

    def measure(self, repeats: int | None = None) -> Measurement:
        """Time ordinary and metered calls in turn.

        Args:
            repeats: how many of each; else as many as take about 0.3 s, at most 100 and at least 3; 3 if they have effects
                (`io_callback`, `debug.print`). One more of each comes first, and is not counted.

        Raises:
            ArgumentError: ``repeats`` is less than 1, or calls are not compiled where this is called.
        """
        if repeats is not None and repeats < 1:
            raise ArgumentError(f"profile: repeats must be at least 1, got {repeats}{user_line()}")
        ordinary: list[float] = []
        metered: list[float] = []
        readings: list[Reading] = []

        def note(seconds: float, record: Any) -> None:
            metered.append(seconds)
            if record is not None:
                readings.append(self.code.meter.reading(record))

        def both() -> None:
            with collecting(None):
                before = perf_counter()
                self._jitted(*self._args, **self._kwargs)
                ordinary.append(perf_counter() - before)
            self._call(note)

        both()
        for first in (ordinary, metered, readings):
            first.clear()
        if repeats is None and any(map(has_effect, self.lowered.optimized.equations)):
            repeats = LEAST_CALLS
        began = perf_counter()
        while not _enough(len(ordinary), perf_counter() - began, repeats):
            both()
        if not readings:
            raise ArgumentError(
                "nothing could be measured, for no call reached compiled code: explain and profile are of no use inside of "
                f"disable_jit, or of a function that is being traced (but explain(..., measure=False) is){user_line()}")
        return self.code.measured(readings, len(readings), median(ordinary), median(metered))


def _enough(calls: int, seconds: float, repeats: int | None) -> bool:
    if repeats is not None:
        return calls >= repeats
    return calls >= LEAST_CALLS and (calls >= MOST_CALLS or seconds > SECONDS)
