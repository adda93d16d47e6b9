"""What several workloads ask of their peers: JAX's loop-folding flag, and the first call of a prepared contender."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable

from bench.workload import Call, Once

FOLDING = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000"


def with_folding(prepare: Callable[[int], Call]) -> Callable[[int], Call]:
    """Let JAX compile small loops into one kernel; its default runs one kernel after the other in each iteration."""

    def prepared(size: int) -> Call:
        assert "jax" not in sys.modules, "the flag is read when JAX is imported"
        os.environ["XLA_FLAGS"] = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), FOLDING]))
        return prepare(size)

    return prepared


def compiling(prepare: Callable[[int], Call], size: int) -> Callable[[int], Once]:
    """Measure what the first call of a prepared contender takes beyond a later one: tracing, compiling, loading."""

    def measure(_: int) -> Once:
        call = prepare(size)
        if "gradxform" in sys.modules:
            importlib.import_module("llvmlite.binding")
        names = dict(call.names)
        code = compile(call.statement, "<benchmark>", "eval")
        start = time.perf_counter()
        result = eval(code, names)
        first = time.perf_counter() - start
        later = []
        for _ in range(3):
            start = time.perf_counter()
            eval(code, names)
            later.append(time.perf_counter() - start)
        return Once(first - min(later), result)

    return measure
