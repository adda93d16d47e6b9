"""First calls and peak memory of gradxform and JAX, each measured in fresh processes for every repeated workload.

A first call traces, compiles and runs, after imports and after operands have been made; it is taken at the smallest size, where
the run is the least of it. `cold` finds nothing on disk; `warm` finds what an earlier process left there. gradxform keeps
compiled programs by default. JAX does so when told to, which it is for its warm calls only.

Memory is by how much a call raises the peak of resident memory above what there was when operands had been made, before the
first call. The program comes from disk, since compiling leaves freed memory behind, which results might then fill. Whatever
else a first call loads is there at the smallest size too, whose growth is subtracted.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.process import USUAL_ROUNDS, ContenderFailed, Process, Settings, interpreter
from bench.runner import Expected
from bench.workload import Contender, Workload

TURNS = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes of operands and results at one size, and by how many a call raises the peak, results among them."""

    size: int
    inputs: int
    outputs: int
    growth: int

    @property
    def beyond(self) -> int:
        """How many bytes the peak rises beyond the results: temporaries."""
        return self.growth - self.outputs


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found out about one contender of a workload: seconds of first calls at `size`, memory at the largest size."""

    workload: str
    contender: str
    size: int
    cold: tuple[float, ...] = ()
    warm: tuple[float, ...] = ()
    memory: Memory | None = None
    failed: str | None = None

    @property
    def cold_median(self) -> float:
        """The median of first calls with nothing on disk."""
        return statistics.median(self.cold)

    @property
    def warm_median(self) -> float:
        """The median of first calls that find what was compiled on disk."""
        return statistics.median(self.warm)


def probed(workload: Workload) -> list[Contender]:
    """Choose the first row of gradxform and the first of JAX that do what the workload asks."""
    ours = [contender for contender in workload.contenders if contender.ours]
    theirs = [contender for contender in workload.contenders if contender.rival and contender.name.startswith("JAX")]
    return ours[:1] + theirs[:1]


@dataclass(slots=True)
class Prober:
    """The probing of one workload; each contender has a directory whose disk cache lasts, and new ones."""

    workload: Workload
    settings: Settings
    scratch: Path
    fresh: int = 0

    def ask(self, contender: Contender, expected: Expected, *, lasting: bool) -> dict[str, float]:
        """Start a process, let it measure, and check its result; what it could not measure is left out."""
        name = contender.name if lasting else f"{contender.name} {self.fresh}"
        self.fresh += 1
        process = Process(self.workload, contender, self.settings, self.scratch / name, lasting=lasting)
        try:
            answer, found = process.ask_result("probe", expected.size)
            expected.check(contender, found)
            return {name: float(str(value)) for name, value in answer.items() if value is not None}
        finally:
            process.end()

    def first_calls(self, probe: Probe, contender: Contender, expected: Expected) -> Probe:
        """Add a cold and a warm first call, and memory at that size."""
        warm = self.ask(contender, expected, lasting=True)
        cold = self.ask(contender, expected, lasting=False)
        return dataclasses.replace(
            probe,
            cold=(*probe.cold, cold["first"]),
            warm=(*probe.warm, warm["first"]),
            memory=memory(expected.size, warm, 0.0),
        )

    def largest(self, probe: Probe, contender: Contender, expected: Expected) -> Probe:
        """Replace memory by that at the largest size, less the growth at the smallest, both loaded from disk.

        Where there is only one size, there is nothing to tell temporaries by.
        """
        if probe.memory is None or expected.size == probe.size:
            return dataclasses.replace(probe, memory=None)
        self.ask(contender, expected, lasting=True)
        answer = self.ask(contender, expected, lasting=True)
        return dataclasses.replace(probe, memory=memory(expected.size, answer, probe.memory.growth))


def memory(size: int, answer: dict[str, float], base: float) -> Memory | None:
    """Read what a process has told of its memory."""
    if "growth" not in answer:
        return None
    return Memory(size, int(answer["inputs"]), int(answer["outputs"]), int(answer["growth"] - base))


def run_probes(workload: Workload, settings: Settings) -> list[Probe]:
    """Measure first calls, contenders in turns, then memory; nothing for workloads that are first calls themselves."""
    if workload.fresh:
        return []
    chosen = [contender for contender in probed(workload) if interpreter(contender.needs, settings) is not None]
    small, large = Expected(workload, workload.every_size[0]), Expected(workload, workload.every_size[-1])
    turns = max(1, round(TURNS * settings.rounds / USUAL_ROUNDS))
    found = {contender.name: Probe(workload.name, contender.name, small.size) for contender in chosen}
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        prober = Prober(workload, settings, Path(scratch))
        # Before its first turn a contender fills what its warm calls read, and file-system caches; that is not counted.
        for turn in range(turns + 1):
            for contender in chosen:
                probe = found[contender.name]
                try:
                    if probe.failed:
                        continue
                    if turn == 0:
                        prober.ask(contender, small, lasting=True)
                        continue
                    probe = prober.first_calls(probe, contender, small)
                    found[contender.name] = prober.largest(probe, contender, large) if turn == turns else probe
                except ContenderFailed as failure:
                    found[contender.name] = dataclasses.replace(probe, failed=str(failure))
    return list(found.values())
