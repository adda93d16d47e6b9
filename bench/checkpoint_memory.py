"""Memory of reverse mode against the number of steps: `python -m bench.checkpoint_memory`.

A ring of 100 coupled logistic maps runs n steps; what is measured is the value and gradient of its mean square in the
growth rate. Each figure comes from a process of its own: the growth of its peak resident memory over a process that
does the same with few steps, and its shortest call. A process before it has filled gradxform's disk cache, so that the
memory of the compiler, which would hide that of the run, is not there. The gradients of all ways must be right before
anything is written.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe, version
from bench.process import ROOT, Settings, environment
from bench.report import duration

RATE = 3.2
COUPLING = 0.1
LATTICE = 100
FEW = 16
STEPS = (1_000, 3_000, 10_000, 30_000, 100_000)
WAYS = {"store all": None, "sqrt": "sqrt", "binomial": "binomial"}
JAX = "JAX, store all"
JAX_SQRT = "JAX, checkpoint of sqrt(n) steps"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one process measured: peak resident bytes, seconds of the shortest call, value and gradient."""

    peak: int
    seconds: float
    value: float
    gradient: float


def start() -> np.ndarray:
    """Make the first state."""
    return 0.5 + 0.3 * np.sin(np.arange(LATTICE))


def step(rate: Any, carry: Any, roll: Callable[[Any, int], Any], steps: int) -> Any:
    """Move the lattice once and add up its mean square."""
    state, total = carry
    grown = rate * state * (1 - state)
    state = (1 - COUPLING) * grown + COUPLING / 2 * (roll(grown, 1) + roll(grown, -1))
    return state, total + (state * state).sum() / (LATTICE * steps)


def gradxform(steps: int, way: str) -> Callable[[], tuple[Any, Any]]:
    """Value and gradient by gradxform."""
    import gradxform as gx

    def loss(rate: Any) -> Any:
        def body(carry: Any, _: Any) -> Any:
            return step(rate, carry, np.roll, steps), None

        (_, total), _ = gx.lax.scan(body, (start(), 0.0), None, length=steps, checkpoint=WAYS[way])
        return total

    function = gx.jit(gx.value_and_grad(loss))
    return lambda: function(RATE)


def jax(steps: int, way: str) -> Callable[[], tuple[Any, Any]]:
    """Value and gradient by JAX; a nested scan under jax.checkpoint is its way to keep sqrt(n) states."""
    import jax
    import jax.numpy as jnp

    outer = math.isqrt(steps) if way == JAX_SQRT else 1
    while steps % outer:
        outer -= 1

    def loss(rate: Any) -> Any:
        def body(carry: Any, _: Any) -> Any:
            return step(rate, carry, jnp.roll, steps), None

        def several(carry: Any, _: Any) -> Any:
            return jax.lax.scan(body, carry, None, length=steps // outer)

        first = (jnp.asarray(start()), jnp.zeros(()))
        if outer == 1:
            return several(first, None)[0][1]
        return jax.lax.scan(jax.checkpoint(several), first, None, length=outer)[0][1]

    function = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(function(RATE))


def measure_here(way: str, steps: int, repetitions: int) -> Figure:
    """Measure in this process, which has done nothing else."""
    function = gradxform(steps, way) if way in WAYS else jax(steps, way)
    value, gradient = function()
    best = 0.0 if repetitions == 0 else math.inf
    for _ in range(repetitions):
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, best, float(value), float(gradient))


def measure(way: str, steps: int, repetitions: int, cache: Path) -> Figure:
    """Measure in a process of its own, after another has compiled."""
    if way in WAYS:
        in_process(way, steps, 0, cache)
    return in_process(way, steps, repetitions, cache)


def in_process(way: str, steps: int, repetitions: int, cache: Path) -> Figure:
    """Let a fresh process measure; ChildProcessError with its last words if it fails."""
    command = [sys.executable, "-m", "bench.checkpoint_memory", "--one", way, str(steps), str(repetitions)]
    variables = environment(Settings(threads=1), cache)
    run = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        lines = run.stderr.strip().splitlines()
        raise ChildProcessError(lines[-1] if lines else f"ended with status {run.returncode}")
    return Figure(**json.loads(run.stdout.splitlines()[-1]))


def expected(steps: int) -> tuple[float, float]:
    """Carry the tangent of the state along."""
    state, slope, value, gradient = start(), np.zeros(LATTICE), 0.0, 0.0
    for _ in range(steps):
        bent = state * (1 - state) + RATE * (1 - 2 * state) * slope
        grown = RATE * state * (1 - state)
        state, slope = (
            (1 - COUPLING) * x + COUPLING / 2 * (np.roll(x, 1) + np.roll(x, -1)) for x in (grown, bent)
        )
        value += float(np.sum(state * state)) / (LATTICE * steps)
        gradient += float(np.sum(2 * state * slope)) / (LATTICE * steps)
    return value, gradient


def size(count: float) -> str:
    """Write a number of bytes."""
    return f"{count / 2**20:.3g} MiB" if count >= 2**20 else f"{max(count, 0) / 2**10:.0f} KiB"


def table(ways: Sequence[str], steps: Sequence[int], memory: dict[str, list[int]], times: dict[str, list[float]]) -> str:
    """Write memory and time as a table in Markdown."""
    lines = ["| steps | " + " | ".join(ways) + " |", "|---:|" + "---:|" * len(ways)]
    for k, count in enumerate(steps):
        cells = [f"{size(memory[way][k])}, {duration(times[way][k])}" for way in ways]
        lines.append(f"| {count:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(
    ways: Sequence[str], steps: Sequence[int], memory: dict[str, list[int]], times: dict[str, list[float]], path: Path
) -> None:
    """Draw memory and time against the number of steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for way in ways:
        style = "--" if way.startswith("JAX") else "-"
        left.loglog(steps, [max(m, 2**12) / 2**20 for m in memory[way]], style, marker="o", label=way)
        right.loglog(steps, times[way], style, marker="o", label=way)
    left.set_xlabel("steps")
    left.set_ylabel("peak memory beyond few steps, MiB")
    left.set_title("memory of value and gradient", fontsize=10)
    right.set_xlabel("steps")
    right.set_ylabel("seconds")
    right.set_title("time of value and gradient", fontsize=10)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> int:
    """Measure, check, print and write; 1 if a way failed or gave a wrong result."""
    parser = argparse.ArgumentParser(prog="python -m bench.checkpoint_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=3, metavar=("WAY", "STEPS", "REPETITIONS"), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS), help="numbers of steps")
    parser.add_argument("--repetitions", type=int, default=5, help="calls of which the shortest counts")
    parser.add_argument("--peers", action="store_true", help="measure JAX as well")
    parser.add_argument("--output", type=Path, help="the .json file to write; the plot stands beside it as .png")
    options = parser.parse_args()
    if options.one:
        way, steps, repetitions = options.one
        figure = measure_here(way, int(steps), int(repetitions))
        print(json.dumps({name: getattr(figure, name) for name in Figure.__slots__}))
        return 0
    ways = list(WAYS) + ([JAX, JAX_SQRT] if options.peers and importlib.util.find_spec("jax") else [])
    memory: dict[str, list[int]] = {way: [] for way in ways}
    times: dict[str, list[float]] = {way: [] for way in ways}
    right = {steps: expected(steps) for steps in options.steps}
    failed = []
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as scratch:
        for way in ways:
            try:
                few = measure(way, FEW, 1, Path(scratch))
                for steps in options.steps:
                    figure = measure(way, steps, options.repetitions, Path(scratch))
                    found = figure.value, figure.gradient
                    if not np.allclose(found, right[steps], rtol=1e-9, atol=0):
                        raise ChildProcessError(f"{steps} steps gave {found}, expected {right[steps]}")
                    memory[way].append(figure.peak - few.peak)
                    times[way].append(figure.seconds)
            except ChildProcessError as failure:
                print(f"{way}: FAILED: {failure}", file=sys.stderr)
                failed.append(way)
    ways = [way for way in ways if way not in failed]
    print(table(ways, options.steps, memory, times))
    output = options.output or Path(__file__).parent / "results" / "checkpoint_memory.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    about = describe(Settings(threads=1))
    rows = {"machine": about, "steps": options.steps, "peak_bytes": memory, "seconds": times}
    output.write_text(json.dumps(rows, indent=1))
    print(f"\nwritten: {output}")
    if version("matplotlib") is not None:
        plot(ways, options.steps, memory, times, output.with_suffix(".png"))
        print(f"written: {output.with_suffix('.png')}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
