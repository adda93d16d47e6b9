"""gradxform with one thread and with two: is it twice as fast, and are the results the same bit for bit.

Every row of gradxform is run in three processes: two with all threads, one with a single thread. Their results are compared
byte by byte at every size. Then the first and the last are timed in turns, at the largest size, where a call takes more than
a millisecond. More threads cannot speed up what waits for memory, so such work is held against STREAM's triad instead; nothing
is promised about work whose every step needs the one before.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.machine import Limits
from bench.process import ContenderFailed, Process, Settings
from bench.runner import Expected
from bench.summary import Line
from bench.workload import Contender, Workload

LEAST_SECONDS = 1e-3
LEAST_RATIO = 1.7
LEAST_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Scaled:
    """One row of gradxform at one size: seconds with one and with all threads, if it was timed, and bytes in and out.

    `different` says how results differed between processes; None if they were the same bit for bit. `serial` work cannot be
    shared among threads.
    """

    workload: str
    contender: str
    size: int
    one: float | None = None
    all: float | None = None
    bytes: int = 0
    different: str | None = None
    serial: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times faster all threads are than one."""
        return None if self.one is None or self.all is None else self.one / self.all

    def share(self, limits: Limits | None) -> float | None:
        """What part of the triad's bandwidth operands and results pass at."""
        return None if limits is None or self.all is None else self.bytes / self.all / limits.bandwidth

    def scales(self, limits: Limits | None) -> bool | None:
        """Say whether it keeps the promise; None if nothing is promised about it."""
        if self.serial or self.ratio is None or self.all is None or self.all < LEAST_SECONDS:
            return None
        return self.ratio >= LEAST_RATIO or (self.share(limits) or 0.0) >= LEAST_SHARE


def same_bits(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    """Compare results byte by byte: NaNs are equal to themselves, zeros of different sign are not."""
    return [(a.dtype, a.shape, a.tobytes()) for a in ours] == [(b.dtype, b.shape, b.tobytes()) for b in theirs]


def scale(workload: Workload, contender: Contender, settings: Settings, *, timing: bool) -> list[Scaled]:
    """Measure one row at all its sizes."""
    single = dataclasses.replace(settings, threads=1)
    ways = {"all threads": settings, "all threads, again": settings, "one thread": single}
    found = []
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        processes: dict[str, Process] = {}
        try:
            for position, (way, chosen) in enumerate(ways.items()):
                processes[way] = Process(workload, contender, chosen, Path(scratch, str(position)))
            sizes = [size for size in workload.every_size if contender.takes(size)]
            for size in sizes:
                found.append(scale_size(workload, size, processes, settings, timing=timing and size == sizes[-1]))
        finally:
            for process in processes.values():
                process.end()
    return found


def scale_size(
    workload: Workload, size: int, processes: dict[str, Process], settings: Settings, *, timing: bool
) -> Scaled:
    """Compare at one size, and time."""
    every, again, one = processes.values()
    name = one.contender.name
    try:
        answer, reference = every.ask_result("prepare", size)
        Expected(workload, size).check(every.contender, reference)
        for way, process in (("between processes", again), ("between one thread and all", one)):
            _, result = process.ask_result("prepare", size)
            if not same_bits(reference, result):
                return Scaled(workload.name, name, size, different=way)
        scaled = Scaled(workload.name, name, size, bytes=int(str(answer["bytes"])), serial=workload.serial)
        if not timing or statistics.median(every.time(settings.seconds / 10)) < LEAST_SECONDS:
            return scaled
        samples: dict[str, list[float]] = {"one": [], "all": []}
        for _ in range(settings.rounds):
            samples["one"] += one.time(settings.seconds)
            samples["all"] += every.time(settings.seconds)
        return dataclasses.replace(
            scaled, one=statistics.median(samples["one"]), all=statistics.median(samples["all"])
        )
    except ContenderFailed as failure:
        return Scaled(workload.name, name, size, different=f"failed: {failure}")


def run(
    workloads: Sequence[Workload], settings: Settings, limits: Limits | None, report: Callable[[str], None], *, timing: bool
) -> list[Scaled]:
    """Measure every row of gradxform, a line for each; all rows, whatever they compute."""
    found: list[Scaled] = []
    for workload in workloads:
        if workload.fresh:
            continue
        for contender in workload.contenders:
            if contender.name.startswith("gradxform"):
                rows = scale(workload, contender, settings, timing=timing)
                found += rows
                report(told(rows, limits))
    return found


def told(rows: Sequence[Scaled], limits: Limits | None) -> str:
    """Write the line of one row: its timing at the largest size, and whether its bits repeat."""
    last = rows[-1]
    text = f"{last.workload:<36}{last.contender:<26}"
    if last.ratio is not None and last.all is not None:
        share = last.share(limits)
        text += f"{last.all * 1e3:>9.3g} ms {last.ratio:>5.2f} x {last.bytes / last.all / 1e9:>7.3g} GB/s"
        text += "" if share is None else f" {share:>6.0%} of triad"
        text += "  serial" if last.serial else "  MISSED" if last.scales(limits) is False else ""
    if wrong := [f"{row.size:,}: {row.different}" for row in rows if row.different]:
        text += f"  BITS DIFFER at {'; '.join(wrong)}"
    return text


def promised(found: Sequence[Scaled], limits: Limits | None) -> list[Line]:
    """Hold what was found against the promises about threads and bits; the values count what breaks them."""
    timed = [row for row in found if row.scales(limits) is not None]
    slow = [row for row in timed if not row.scales(limits)]
    different = [row for row in found if row.different]
    return [
        Line(
            f"rows over 1 ms neither {LEAST_RATIO:g} times as fast with all threads nor within 15 % of triad",
            len(slow) if timed else None,
            at_most=0,
            note="; ".join(f"{row.workload} {row.contender} {row.ratio:.2f}" for row in slow),
        ),
        Line(
            "results that differ between processes or numbers of threads",
            len(different) if found else None,
            at_most=0,
            note="; ".join(f"{row.workload} {row.contender} {row.size:,} {row.different}" for row in different),
        ),
    ]
