"""Runs workloads: one process per contender, checked at every size before it is timed, then timed in turns.

Turns are taken in rounds, so that a machine that slows down for a while slows all contenders down alike. Only one
contender is timed at a time; the others wait on their standard input.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.process import USUAL_ROUNDS, ContenderFailed, Process, Settings, interpreter, missing
from bench.workload import Contender, Medians, Workload, disagreement, leaves

# Seconds. Who takes longer for a call is not asked at larger sizes that only show how the time grows.
SLOW = 1.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """The samples of one contender at one size in seconds, or the reason why there are none.

    `bytes` is the size of all its operands and results.
    """

    workload: str
    contender: str
    size: int
    samples: tuple[float, ...] = ()
    skipped: str | None = None
    failed: str | None = None
    bytes: int = 0

    @property
    def median(self) -> float:
        """The median of all samples."""
        return statistics.median(self.samples)

    @property
    def minimum(self) -> float:
        """The shortest sample."""
        return min(self.samples)


class Expected:
    """What must come out of a workload at one size, computed once for all contenders."""

    def __init__(self, workload: Workload, size: int) -> None:
        self.workload, self.size = workload, size
        self.known: dict[object, list[np.ndarray]] = {}

    def check(self, contender: Contender, found: list[np.ndarray]) -> None:
        """Compare a result with it; ContenderFailed if they differ."""
        compute = contender.expected or self.workload.expected
        if compute not in self.known:
            self.known[compute] = leaves(compute(self.size))
        if (complaint := disagreement(found, self.known[compute], self.workload)) is not None:
            raise ContenderFailed(f"wrong result: {complaint}")


def run_repeated(workload: Workload, contenders: list[Contender], settings: Settings) -> list[Measurement]:
    """Start every contender; at each size check them all, then time them in turns."""
    measurements: list[Measurement] = []
    slow: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        running: dict[str, Process] = {}
        try:
            for position, contender in enumerate(contenders):
                running[contender.name] = Process(workload, contender, settings, Path(scratch, str(position)))
            for size in workload.every_size:
                here = run_size(workload, size, running, set() if size in workload.sizes else slow, settings)
                slow |= {m.contender for m in here if m.samples and m.minimum > SLOW}
                measurements += here
        finally:
            for process in running.values():
                process.end()
    return measurements


def run_size(
    workload: Workload, size: int, running: dict[str, Process], slow: set[str], settings: Settings
) -> list[Measurement]:
    """Check and time at one size those that are not too `slow`; a process that has ended is taken from `running`."""
    expected = Expected(workload, size)
    samples: dict[str, list[float]] = {}
    traffic: dict[str, int] = {}
    failed: dict[str, str] = {}
    for name, process in list(running.items()):
        if name in slow or not process.contender.takes(size):
            continue
        try:
            answer, found = process.ask_result("prepare", size)
            expected.check(process.contender, found)
            samples[name], traffic[name] = [], int(str(answer["bytes"]))
        except ContenderFailed as failure:
            failed[name] = str(failure)
            if process.process.poll() is not None:
                running.pop(name).end()
    for _ in range(settings.rounds if size in workload.sizes else 1):
        for name in list(samples):
            try:
                samples[name] += running[name].time(settings.seconds)
            except ContenderFailed as failure:
                failed[name] = str(failure)
                del samples[name]
                running.pop(name).end()
    return [
        *(Measurement(workload.name, name, size, failed=reason) for name, reason in failed.items()),
        *(
            Measurement(workload.name, name, size, skipped=f"took more than {SLOW:g} s before")
            for name in slow
            if name in running and running[name].contender.takes(size)
        ),
        *(Measurement(workload.name, n, size, samples=tuple(taken), bytes=traffic[n]) for n, taken in samples.items()),
    ]


def run_fresh(workload: Workload, contenders: list[Contender], settings: Settings) -> list[Measurement]:
    """Measure an event that happens once in a process, in many processes, contenders in turns."""
    return [found for size in workload.every_size for found in run_fresh_size(workload, size, contenders, settings)]


def run_fresh_size(
    workload: Workload, size: int, contenders: list[Contender], settings: Settings
) -> list[Measurement]:
    """Do so at one size."""
    here = [contender for contender in contenders if contender.takes(size)]
    samples: dict[str, list[float]] = {contender.name: [] for contender in here}
    failed: dict[str, str] = {}
    expected = Expected(workload, size)
    count = max(1, round(workload.fresh_samples * settings.rounds / USUAL_ROUNDS))
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        # Turn 0 fills file-system caches and the warm disk cache; it is checked like the others and not counted.
        for turn in range(count + 1):
            for position, contender in enumerate(here):
                if contender.name in failed:
                    continue
                label = str(position) if contender.cache == "warm" else f"{position}-{turn}"
                process = Process(workload, contender, settings, Path(scratch, label))
                try:
                    answer, found = process.ask_result("prepare", size)
                    expected.check(contender, found)
                    if turn > 0:
                        samples[contender.name].append(float(str(answer["seconds"])))
                except ContenderFailed as failure:
                    failed[contender.name] = str(failure)
                finally:
                    process.end()
    return [
        Measurement(workload.name, name, size, failed=failed[name])
        if name in failed
        else Measurement(workload.name, name, size, samples=tuple(values))
        for name, values in samples.items()
    ]


def run(workload: Workload, settings: Settings, report: Callable[[str], None]) -> list[Measurement]:
    """Measure every contender of a workload at every size; by size, in the order in which the workload names them."""
    absent = {c.name: missing(c.needs) for c in workload.contenders if interpreter(c.needs, settings) is None}
    present = [contender for contender in workload.contenders if contender.name not in absent]
    report(f"{workload.name}: {'; '.join(contender.name for contender in present)}")
    done = (run_fresh if workload.fresh else run_repeated)(workload, present, settings)
    done += [
        Measurement(workload.name, contender.name, size, skipped=f"{' and '.join(absent[contender.name])} not installed")
        for contender in workload.contenders
        if contender.name in absent
        for size in workload.every_size
        if contender.takes(size)
    ]
    order = [contender.name for contender in workload.contenders]
    return sorted(done, key=lambda measurement: (measurement.size, order.index(measurement.contender)))


def medians(measurements: list[Measurement]) -> Medians:
    """Collect the medians of what was measured."""
    return Medians({(m.contender, m.size): m.median for m in measurements if m.samples})
