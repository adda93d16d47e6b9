"""Linear algebra of 4x4 matrices written out, at n of them by vmap."""

from __future__ import annotations

from bench.workloads.small_matrices import workload

WORKLOAD = workload("small_matrices_4", 4)
