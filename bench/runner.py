"""Runs workloads: one process per contender, checked first, then timed in turns.

Turns are taken in rounds, so that a machine that slows down for a while slows all contenders down alike. Only one
contender is timed at a time; the others wait on their standard input.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.worker import MARKER
from bench.workload import Contender, Medians, Workload, disagreement

ROOT = Path(__file__).resolve().parents[1]


USUAL_ROUNDS = 3


def cores() -> list[int]:
    """List the cores that this process may use."""
    # Not every system can say or set on which cores a process runs; there, only the environment bounds the threads.
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often to measure, and with how many threads."""

    rounds: int = USUAL_ROUNDS
    seconds: float = 0.5
    threads: int = field(default_factory=lambda: len(cores()))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The samples of one contender at one size in seconds, or the reason why there are none."""

    workload: str
    contender: str
    size: int
    samples: tuple[float, ...] = ()
    skipped: str | None = None
    failed: str | None = None

    @property
    def median(self) -> float:
        """The median of all samples."""
        return statistics.median(self.samples)

    @property
    def minimum(self) -> float:
        """The shortest sample."""
        return min(self.samples)


class ContenderFailed(RuntimeError):
    """A contender's process ended or answered with something else than was asked."""


def missing(needs: tuple[str, ...]) -> list[str]:
    """Name what is not installed of the modules and (with a leading `$`) programs that a contender needs."""
    return [
        need.removeprefix("$")
        for need in needs
        if (shutil.which(need[1:]) if need.startswith("$") else importlib.util.find_spec(need)) is None
    ]


def environment(settings: Settings, cache: Path) -> dict[str, str]:
    """Give every contender the same number of threads and gradxform a cache directory of this run."""
    threads = str(settings.threads)
    # Compiled modules are kept, as they are for every installed package; otherwise an import would be measured with the
    # compilation of its sources.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "GRADXFORM_CACHE_DIR": str(cache),
        "GRADXFORM_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }


class Process:
    """A contender's process: started, checked against the expected result, asked for samples, ended."""

    def __init__(
        self, workload: Workload, contender: Contender, size: int, settings: Settings, directory: Path
    ) -> None:
        self.workload, self.contender, self.size = workload, contender, size
        self.result = directory / "result.npz"
        self.errors = open(directory / "errors.txt", "w+")  # noqa: SIM115 - closed with the process
        cache = directory / "cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        chosen = cores()[: settings.threads]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", workload.name, contender.name, str(size), str(self.result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(settings, cache),
            preexec_fn=(lambda: os.sched_setaffinity(0, chosen)) if hasattr(os, "sched_setaffinity") else None,
        )

    def hear(self) -> dict[str, object]:
        """Read on to the next marked answer."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARKER):
                answer: dict[str, object] = json.loads(line.removeprefix(MARKER))
                return answer
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        raise ContenderFailed(lines[-1] if lines else f"ended with status {self.process.returncode}")

    def check(self) -> dict[str, object]:
        """Wait for the result and compare it with what is expected."""
        answer = self.hear()
        with np.load(self.result) as stored:
            found = [stored[name] for name in stored.files]
        self.result.unlink()
        if (complaint := disagreement(found, self.workload, self.contender, self.size)) is not None:
            raise ContenderFailed(f"wrong result: {complaint}")
        return answer

    def time(self, seconds: float) -> list[float]:
        """Ask for samples worth about `seconds`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"time {seconds}\n")
        self.process.stdin.flush()
        samples = self.hear()["samples"]
        assert isinstance(samples, list)
        return samples

    def end(self) -> None:
        """End the process, politely first."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.communicate("quit\n", timeout=10)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self.process.kill()
            self.process.wait()
        self.errors.close()


def run_repeated(workload: Workload, size: int, contenders: list[Contender], settings: Settings) -> list[Measurement]:
    """Start and check every contender, then time them in turns."""
    measurements: list[Measurement] = []
    running: list[Process] = []
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        try:
            for position, contender in enumerate(contenders):
                directory = Path(scratch, str(position))
                directory.mkdir()
                process = Process(workload, contender, size, settings, directory)
                try:
                    process.check()
                    running.append(process)
                except ContenderFailed as failure:
                    process.end()
                    measurements.append(Measurement(workload.name, contender.name, size, failed=str(failure)))
            samples: dict[str, list[float]] = {process.contender.name: [] for process in running}
            for _ in range(settings.rounds):
                for process in running:
                    samples[process.contender.name] += process.time(settings.seconds)
        finally:
            for process in running:
                process.end()
    return measurements + [
        Measurement(workload.name, name, size, samples=tuple(values)) for name, values in samples.items()
    ]


def run_fresh(workload: Workload, size: int, contenders: list[Contender], settings: Settings) -> list[Measurement]:
    """Measure an event that happens once in a process, in many processes, contenders in turns."""
    samples: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    failures: dict[str, str] = {}
    count = max(1, round(workload.fresh_samples * settings.rounds / USUAL_ROUNDS))
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        # Turn 0 fills file-system caches and the warm disk cache; it is checked like the others and not counted.
        for turn in range(count + 1):
            for position, contender in enumerate(contenders):
                if contender.name in failures:
                    continue
                label = str(position) if contender.cache == "warm" else f"{position}-{turn}"
                directory = Path(scratch, label)
                directory.mkdir(exist_ok=True)
                process = Process(workload, contender, size, settings, directory)
                try:
                    seconds = process.check()["seconds"]
                    assert isinstance(seconds, float)
                    if turn > 0:
                        samples[contender.name].append(seconds)
                except ContenderFailed as failure:
                    failures[contender.name] = str(failure)
                finally:
                    process.end()
    return [
        Measurement(workload.name, name, size, failed=failures[name])
        if name in failures
        else Measurement(workload.name, name, size, samples=tuple(values))
        for name, values in samples.items()
    ]


def run(workload: Workload, settings: Settings, report: Callable[[str], None]) -> list[Measurement]:
    """Measure every contender of a workload at every size; in the order in which the workload names them."""
    measurements: list[Measurement] = []
    for size in workload.sizes:
        here = [contender for contender in workload.contenders if contender.sizes is None or size in contender.sizes]
        absent = {contender.name: lack for contender in here if (lack := missing(contender.needs))}
        present = [contender for contender in here if contender.name not in absent]
        report(f"{workload.name}, size {size}: {'; '.join(contender.name for contender in present)}")
        done = (run_fresh if workload.fresh else run_repeated)(workload, size, present, settings)
        done += [
            Measurement(workload.name, name, size, skipped=f"{' and '.join(lack)} not installed")
            for name, lack in absent.items()
        ]
        order = [contender.name for contender in here]
        measurements += sorted(done, key=lambda measurement: order.index(measurement.contender))
    return measurements


def medians(measurements: list[Measurement]) -> Medians:
    """Collect the medians of what was measured."""
    return Medians({(m.contender, m.size): m.median for m in measurements if m.samples})
