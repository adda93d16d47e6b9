"""The process in which one contender of one workload runs, started by `bench.process`.

It answers the parent's requests on standard input, each a line of JSON:

- `prepare` a size: prepares the computation, runs it once and stores the result for the parent to check;
- `time` for some seconds: gives samples of what was prepared;
- `probe` a size: as `prepare`, and measures that first call, and the memory of a later one;
- `quit`.

Answers carry a marker, since a peer may print as it pleases.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import sys
import time
import timeit
from pathlib import Path
from typing import Any

import numpy as np

from bench.workload import Call, Contender, Once, leaves
from bench.workloads import load

MARKER = "@@bench "
SHORTEST_SAMPLE = 1e-3
MOST_SAMPLES = 300


def answer(**fields: object) -> None:
    """Send one marked line of JSON to the parent."""
    print(MARKER + json.dumps(fields), flush=True)


def loops_per_sample(timer: timeit.Timer) -> tuple[int, float]:
    """Find how many executions make a sample long enough for the clock's resolution not to matter, and how long it is."""
    loops = 1
    while (elapsed := timer.timeit(loops)) < SHORTEST_SAMPLE:
        loops = max(loops * 2, int(loops * SHORTEST_SAMPLE / max(elapsed, 1e-9)))
    return loops, elapsed


def sample(timer: timeit.Timer, loops: int, length: float, seconds: float) -> list[float]:
    """Time the statement for about `seconds`, at least once, after a tenth of that time to warm up.

    A sample whose `length` alone is more than those seconds needs no warming up.
    """
    warm_until = time.perf_counter() + (seconds / 10 if length < seconds else 0)
    while time.perf_counter() < warm_until:
        timer.timeit(loops)
    samples: list[float] = []
    stop = time.perf_counter() + seconds
    while not samples or (time.perf_counter() < stop and len(samples) < MOST_SAMPLES):
        samples.append(timer.timeit(loops) / loops)
    return samples


def timed(call: Call) -> timeit.Timer:
    """Make a timer whose names are local variables, so that looking them up costs next to nothing."""
    bound = {f"bound_{name}": value for name, value in call.names.items()}
    setup = "; ".join(f"{name} = bound_{name}" for name in call.names) or "pass"
    return timeit.Timer(call.statement, setup, globals=bound)


def size_in_bytes(value: Any) -> int:
    """Add up the arrays of any library in nested containers."""
    if isinstance(value, dict):
        return sum(map(size_in_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(size_in_bytes, value))
    return int(getattr(value, "nbytes", 0))


def stored(result: object, path: str) -> int:
    """Write a result to a file and give its size."""
    arrays = leaves(result)
    np.savez(path, *arrays)
    return size_in_bytes(arrays)


def memory(field: str) -> int | None:
    """Read a field of this process's memory in bytes, as `VmRSS`, or `VmHWM` for its peak; None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)


def trim() -> None:
    """Give back to the system what was freed, as far as the C library can."""
    gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def probe(contender: Contender, size: int, path: str) -> dict[str, object]:
    """Measure the first call, and by how much a later one takes the peak memory beyond what there was before the first.

    What compiling leaves behind is part of that; the parent subtracts what a small size needs, where it is the same.
    """
    call = contender.prepare(size)
    assert isinstance(call, Call)
    if "gradxform" in sys.modules:
        importlib.import_module("llvmlite.binding")
    names, code = dict(call.names), compile(call.statement, "<benchmark>", "eval")
    trim()
    before = memory("VmRSS")
    start = time.perf_counter()
    result = eval(code, names)
    first = time.perf_counter() - start
    outputs = stored(result, path)
    del result
    trim()
    growth = None
    if before is not None:
        Path("/proc/self/clear_refs").write_text("5")
        eval(code, names)
        peak = memory("VmHWM")
        growth = None if peak is None else peak - before
    return {"first": first, "growth": growth, "inputs": size_in_bytes(dict(call.names)), "outputs": outputs}


def prepare(contender: Contender, size: int, path: str) -> timeit.Timer | None:
    """Prepare, store the result and answer; None if it was measured once and is done with."""
    prepared = contender.prepare(size)
    if isinstance(prepared, Once):
        stored(prepared.result, path)
        answer(seconds=prepared.seconds)
        return None
    outputs = stored(eval(prepared.statement, dict(prepared.names)), path)
    answer(bytes=outputs + size_in_bytes(dict(prepared.names)))
    return timed(prepared)


def main(workload_name: str, contender_name: str) -> None:
    """Serve requests until told to quit."""
    contender = load(workload_name).contender(contender_name)
    timer, loops, length = None, 0, 0.0
    for line in sys.stdin:
        match json.loads(line):
            case {"ask": "prepare", "size": int(size), "path": str(path)}:
                # What belongs to the last size is given back first.
                timer, loops = None, 0
                gc.collect()
                timer = prepare(contender, size, path)
            case {"ask": "probe", "size": int(size), "path": str(path)}:
                answer(**probe(contender, size, path))
            case {"ask": "time", "seconds": float(seconds)}:
                assert timer is not None
                if not loops:
                    loops, length = loops_per_sample(timer)
                answer(samples=sample(timer, loops, length, seconds))
            case {"ask": "quit"}:
                return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
