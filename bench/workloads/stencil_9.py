"""The step of diffusion with nine points."""

from __future__ import annotations

from bench.workloads.stencil import workload

WORKLOAD = workload("stencil_9", 9, gradient=False)
