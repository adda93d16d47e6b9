"""What the figures were measured on: its description, and what its memory and arithmetic can do at most."""

from __future__ import annotations

import ctypes
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.process import Settings, has

PACKAGES = (
    "gradxform",
    "numpy",
    "scipy",
    "llvmlite",
    "optree",
    "jax",
    "jaxlib",
    "torch",
    "numba",
    "pytensor",
    "casadi",
)
# Beyond any last-level cache; each of the three arrays of the triad.
TRIAD_COUNT = 16_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes a second of STREAM's triad, and operations a second of fused multiply-adds in both precisions."""

    threads: int
    bandwidth: float
    float64: float
    float32: float


def limits(threads: int) -> Limits | None:
    """Measure what the machine can do with so many threads; None without a compiler."""
    if shutil.which("g++") is None:
        return None
    from bench.native import load

    library = load("limits", elementary=False)
    library.triad.argtypes = (ctypes.c_int, ctypes.c_long, ctypes.c_long, *[ctypes.c_void_p] * 3)
    library.triad.restype = ctypes.c_double
    a, b, c = np.zeros(TRIAD_COUNT), np.ones(TRIAD_COUNT), np.ones(TRIAD_COUNT)
    bandwidth = library.triad(threads, TRIAD_COUNT, 10, a.ctypes.data, b.ctypes.data, c.ctypes.data)
    rates = []
    for name in ("multiply_add_float64", "multiply_add_float32"):
        function = getattr(library, name)
        function.argtypes, function.restype = (ctypes.c_int, ctypes.c_long), ctypes.c_double
        rates.append(function(threads, 5_000_000))
    return Limits(threads, bandwidth, *rates)


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def version(package: str, settings: Settings | None = None) -> str | None:
    """Give the installed version of a package, here or where peers are; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec(package):
            return "from its source tree"
    elsewhere = settings and next((str(path) for path in settings.peers if has(str(path), package)), None)
    if not elsewhere:
        return None
    question = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run([elsewhere, "-I", "-c", question], capture_output=True, text=True).stdout.strip()


def describe(settings: Settings) -> dict[str, object]:
    """Describe the machine, the versions, and how it is measured."""
    compiler = None
    if shutil.which("g++"):
        compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "g++": compiler,
        "packages": {package: version(package, settings) for package in PACKAGES},
        "rounds": settings.rounds,
        "seconds": settings.seconds,
    }
