"""profile: where the time of compiled functions goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from html import escape
from typing import Any

from gradxform.api.metered_calls import collecting
from gradxform.api.metering import Measurement, MeteredCode, Samples, SpanMeasurement
from gradxform.backend.callable import resume_dispatch, suspend_dispatch
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import ArgumentError
from gradxform.ir import ArrayType
from gradxform.quantities import duration, percentage, plural, three_figures
from gradxform.window.subject import subject_of
from gradxform.window.text import table

#: Parts of a function with a smaller share of its time are summed up in one line.
LEAST_SHARE = 0.005
#: A nest is shown in one line with the only part of it that has at least this share of it.
NEARLY_ALL = 0.9
#: Longer names are cut.
WIDEST_NAME = 56
_HEADS = ("", "time", "share", "calls", "per call", "GFLOP/s", "GB/s")


@data_class(frozen=True, slots=True)
class FunctionProfile:
    """One function for one signature of arguments.

    Attributes:
        name: of the Python function.
        inputs: the types of its arguments.
        calls: how many calls were made; a call that raised is not among them.
        seconds: the time of one call: the median of ordinary calls, or in a ``with`` block the mean of the metered ones
            without the clocks' own time.
        measurement: what each part of the compiled function took; None if no call was metered.
    """

    name: str
    inputs: tuple[ArrayType, ...]
    calls: int
    seconds: float
    measurement: Measurement | None

    @property
    def total_seconds(self) -> float:
        """The time of all calls."""
        return self.seconds * self.calls

    @property
    def signature(self) -> str:
        """The name with the types of the arguments."""
        return f"{self.name}({', '.join(map(str, self.inputs))})"


@data_class(frozen=True, slots=True)
class _Row:
    """A line of the table. ``seconds`` and ``calls`` are totals; flops and bytes, too."""

    depth: int
    name: str
    seconds: float
    calls: float
    flops: float = 0.0
    bytes_moved: float = 0.0

    def cells(self, whole: float) -> tuple[str, ...]:
        calls = f"{round(self.calls):,}" if self.calls else ""
        each = duration(self.seconds / self.calls) if self.calls else ""
        rates = [three_figures(amount / self.seconds / 1e9) if amount and self.seconds > 0 else ""
                 for amount in (self.flops, self.bytes_moved)]
        return duration(self.seconds), percentage(self.seconds, whole), calls, each, *rates


class Profile:
    """What functions took, the one that took longest first; made by `profile`.

    ``functions`` has a `FunctionProfile` for each function and signature. ``str()`` is a table, notebooks show it as HTML.
    The parts of a function follow it, the longest first; GFLOP/s and GB/s are what the loops do and move (caches
    included), divided by the time. Flops and bytes are counted as `gradxform.loopir.counting` tells: no elementary functions.
    """

    def __init__(self, functions: Sequence[FunctionProfile] = ()) -> None:
        self._given = tuple(functions)
        self._samples: dict[MeteredCode, Samples] = {}
        self._open: ExitStack | None = None

    def __enter__(self) -> Profile:
        if self._open is not None:
            raise ArgumentError(f"profile: this one has been entered already: call profile() again{user_line()}")
        with ExitStack() as stack:
            suspend_dispatch()
            stack.callback(resume_dispatch)
            stack.enter_context(collecting(self._collect))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._open is not None
        stack, self._open = self._open, None
        stack.close()

    def _collect(self, code: MeteredCode, ordinary: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        samples = self._samples.get(code)
        if samples is None:
            samples = self._samples[code] = Samples(code)
        return partial(code.run, samples.note, ordinary)

    @property
    def functions(self) -> tuple[FunctionProfile, ...]:
        found = list(self._given)
        for code, samples in list(self._samples.items()):
            if samples.calls:
                measurement = samples.measurement()
                seconds = samples.seconds / samples.calls if measurement is None else measurement.call_seconds
                found.append(FunctionProfile(code.name, code.inputs, samples.calls, seconds, measurement))
        return tuple(sorted(found, key=lambda function: -function.total_seconds))

    @property
    def total_seconds(self) -> float:
        """The time of all calls of all functions."""
        return sum(function.total_seconds for function in self.functions)

    def _title(self, functions: Sequence[FunctionProfile]) -> str:
        calls = sum(function.calls for function in functions)
        threads = max([f.measurement.threads for f in functions if f.measurement is not None], default=0)
        return ", ".join([plural(len(functions), "compiled function"), plural(calls, "call"),
                          duration(sum(function.total_seconds for function in functions)),
                          *([plural(threads, "thread")] if threads else [])])

    def __str__(self) -> str:
        functions = self.functions
        whole = sum(function.total_seconds for function in functions)
        lines: list[tuple[str, ...]] = [_HEADS]
        for row in [row for function in functions for row in _rows(function)]:
            name = "  " * row.depth + row.name
            lines.append((name if len(name) <= WIDEST_NAME else name[:WIDEST_NAME - 3] + "...", *row.cells(whole)))
        shown = table(lines, right=range(1, len(_HEADS))) if functions else []
        return "\n".join([f"profile: {self._title(functions)}", *shown])

    def __repr__(self) -> str:
        return f"<Profile: {self._title(self.functions)}>"

    def _repr_html_(self) -> str:
        functions = self.functions
        whole = sum(function.total_seconds for function in functions)
        style = "text-align: right; padding: 0 0.6em"
        rows = []
        for row in [row for function in functions for row in _rows(function)]:
            name = escape(row.name)
            name = f"<b>{name}</b>" if row.depth == 0 else name
            cells = "".join([f'<td style="{style}">{escape(cell)}</td>' for cell in row.cells(whole)])
            rows.append(f'<tr><td style="text-align: left; padding-left: {0.5 + 1.5 * row.depth}em">{name}</td>{cells}</tr>')
        heads = "".join([f'<th style="{style}">{head}</th>' for head in _HEADS])
        return (f'<table class="gradxform-profile"><caption>profile: {escape(self._title(functions))}</caption>'
                f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def _rows(function: FunctionProfile) -> list[_Row]:
    """The function and its parts, those that take longest first."""
    measurement = function.measurement
    if measurement is None:
        return [_Row(0, function.signature, function.total_seconds, function.calls)]
    children: dict[int | None, list[SpanMeasurement]] = {}
    for found in measurement.spans:
        children.setdefault(found.span.parent, []).append(found)
    nests = children.get(None, [])
    inside = sum(nest.seconds for nest in nests)
    least = LEAST_SHARE * max(function.seconds, inside)
    calls = function.calls
    amounts = (calls * sum(amount(nest) for nest in nests) for amount in (_flops, _bytes_moved))
    rows = [_Row(0, function.signature, function.total_seconds, calls, *amounts)]

    def add(parts: Sequence[SpanMeasurement], depth: int) -> None:
        small = [part for part in parts if part.seconds < least]
        for part in sorted(parts, key=lambda part: -part.seconds):
            if part.seconds < least and len(small) != 1:
                continue
            below = children.get(part.span.number, [])
            name = part.span.label
            if part.span.parent is None and len(below) == 1 and below[0].seconds >= NEARLY_ALL * part.seconds:
                name = f"{name}: {below[0].span.label}"
                below = children.get(below[0].span.number, [])
            if part.reruns:
                name += " (ran again with careful functions)"
            rows.append(_Row(depth, name, calls * part.seconds, calls * part.entries, calls * _flops(part),
                             calls * _bytes_moved(part)))
            add(below, depth + 1)
        if len(small) > 1:
            rows.append(_Row(depth, f"{len(small)} shorter parts", calls * sum(part.seconds for part in small), 0.0))

    add(nests, 1)
    rest = function.seconds - inside
    if rest >= least:
        rows.append(_Row(1, "arguments, results, the call itself", calls * rest, calls))
    return rows


def _flops(found: SpanMeasurement) -> float:
    return found.executed.flops


def _bytes_moved(found: SpanMeasurement) -> float:
    return found.executed.bytes_moved


def profile(f: Callable[..., Any] | None = None, /, *args: Any, repeats: int | None = None, **kwargs: Any) -> Profile:
    """Measure where the time of compiled functions goes.

    ``profile(f, *args)`` calls ``f`` with these arguments again and again, in turn as it is and built with clocks around the
    loops, products, routines and calls into Python in it, and counters where the data decide how often something runs.

    ``with profile() as p:`` collects every call of jitted functions that this thread makes in the block, each of which
    runs with clocks; nothing is repeated. Calls of other threads are left alone, and so are compiled loops of functions
    that are not jitted. Of two blocks one in the other, the inner one collects.

    Clocks are compiled into a build of its own, some milliseconds' work for each signature, which is kept in memory as
    long as the function's other code. Results are those of an ordinary call, bit for bit. Parts that take less than a
    microsecond have no clocks of their own; what clocks cost (some tens of nanoseconds each) is taken off.

    Args:
        f: a function; it is jitted if it is not yet. Without it a profile is made that is to be used in a ``with`` statement.
        args, kwargs: its arguments.
        repeats: how many calls of each kind; else as many as take about 0.3 s, at most 100 and at least 3; 3 if they have
            effects, such as `debug.print`.

    Returns:
        A `Profile`: a table when printed; ``functions`` has the numbers.

    Raises:
        ArgumentTypeError: ``f`` is not callable.
        ArgumentError: ``repeats`` is less than 1 or given without ``f``; ``f`` is called where nothing is compiled.
        Whatever ``f`` raises.

    >>> import numpy as np
    >>> import gradxform as gx
    >>> p = gx.profile(lambda x: np.sum(np.sin(x) ** 2), np.linspace(0.0, 1.0, 10_000), repeats=3)
    >>> p.functions[0].calls, p.functions[0].measurement.spans[0].span.label
    (3, 'nest 0')
    """
    if f is None:
        if args or kwargs or repeats is not None:
            raise ArgumentError(
                "profile: there are arguments but no function: use profile(f, *args), or profile() in a with statement"
                f"{user_line()}")
        return Profile()
    subject = subject_of("profile", f, args, kwargs)
    metered = subject.jitted.metered(subject.args, subject.kwargs)
    found = metered.measure(repeats)
    return Profile([FunctionProfile(subject.name, metered.code.inputs, found.calls, found.call_seconds, found)])
