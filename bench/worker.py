"""The process in which one contender of one workload runs, started by `bench.runner`.

It prepares the computation, stores the result for the parent to check, and then answers the parent's requests on
standard input, one line each: `time SECONDS` is answered with the samples taken, `quit` ends the process. Answers carry
a marker, since a peer may print as it pleases.
"""

from __future__ import annotations

import json
import sys
import time
import timeit

import numpy as np

from bench.workload import Call, Once, leaves
from bench.workloads import load

MARKER = "@@bench "
SHORTEST_SAMPLE = 1e-3
MOST_SAMPLES = 300


def answer(**fields: object) -> None:
    """Send one marked line of JSON to the parent."""
    print(MARKER + json.dumps(fields), flush=True)


def loops_per_sample(timer: timeit.Timer) -> int:
    """Find how many executions make a sample long enough for the clock's resolution not to matter."""
    loops = 1
    while (elapsed := timer.timeit(loops)) < SHORTEST_SAMPLE:
        loops = max(loops * 2, int(loops * SHORTEST_SAMPLE / max(elapsed, 1e-9)))
    return loops


def sample(timer: timeit.Timer, loops: int, seconds: float) -> list[float]:
    """Time the statement for about `seconds`, at least three samples, after a tenth of that time to warm up."""
    warm_until = time.perf_counter() + seconds / 10
    timer.timeit(loops)
    while time.perf_counter() < warm_until:
        timer.timeit(loops)
    samples: list[float] = []
    stop = time.perf_counter() + seconds
    while len(samples) < 3 or (time.perf_counter() < stop and len(samples) < MOST_SAMPLES):
        samples.append(timer.timeit(loops) / loops)
    return samples


def main(workload_name: str, contender_name: str, size: int, result_path: str) -> None:
    """Prepare, store the result, and serve timing requests until told to quit."""
    prepared = load(workload_name).contender(contender_name).prepare(size)
    if isinstance(prepared, Once):
        np.savez(result_path, *leaves(prepared.result))
        answer(seconds=prepared.seconds)
        return
    names = dict(prepared.names)
    np.savez(result_path, *leaves(eval(prepared.statement, names)))
    timer = timed(prepared)
    loops = loops_per_sample(timer)
    answer(ready=True, loops=loops)
    for line in sys.stdin:
        match line.split():
            case ["time", seconds]:
                answer(samples=sample(timer, loops, float(seconds)))
            case ["quit"]:
                return


def timed(call: Call) -> timeit.Timer:
    """Make a timer whose names are local variables, so that looking them up costs next to nothing."""
    bound = {f"bound_{name}": value for name, value in call.names.items()}
    setup = "; ".join(f"{name} = bound_{name}" for name in call.names) or "pass"
    return timeit.Timer(call.statement, setup, globals=bound)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
