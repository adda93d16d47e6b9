"""What an import costs beyond `import numpy`, each time in a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from bench.workload import Contender, Once, Promise, Workload

SCRIPT = """
import time, numpy
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def importing(module: str) -> Callable[[int], Once]:
    """Make a measurement of importing `module` after NumPy."""

    def measure(size: int) -> Once:
        # The worker has loaded modules of the standard library for its own use, so another interpreter does the import.
        output = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(module=module)], check=True, capture_output=True, text=True
        ).stdout
        return Once(float(output), size)

    return measure


WORKLOAD = Workload(
    name="import_time",
    title="import beyond what `import numpy` takes",
    sizes=(1,),
    contenders=(
        Contender("gradxform", importing("gradxform"), ("gradxform",)),
        Contender("JAX", importing("jax"), ("jax",)),
        Contender("Numba", importing("numba"), ("numba",)),
        Contender("SciPy's optimize", importing("scipy.optimize"), ("scipy",), yardstick=True),
        Contender("llvmlite's binding", importing("llvmlite.binding"), ("llvmlite",), yardstick=True),
    ),
    expected=lambda size: size,
    promises=(Promise("milliseconds", lambda m: m.of("gradxform", 1) * 1e3, at_most=100),),
    fresh=True,
    fresh_samples=15,
)
