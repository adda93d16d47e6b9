"""The workloads, one file each; the module's name is the workload's."""

from __future__ import annotations

import importlib

from bench.workload import Workload

NAMES = (
    "small_call",
    "scalar_gradient",
    "nested_containers",
    "first_call",
    "import_time",
    "elementwise",
    "chained_sin",
    "lorenz",
    "newton_while",
    "kalman",
    "lstm",
    "lstm_float32",
    "gauss_seidel",
    "loops_compile",
)


def load(name: str) -> Workload:
    """Import a workload by name."""
    workload = importlib.import_module(f"bench.workloads.{name}").WORKLOAD
    assert isinstance(workload, Workload)
    return workload
