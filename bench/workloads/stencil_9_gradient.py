"""The gradient after a step of diffusion with nine points."""

from __future__ import annotations

from bench.workloads.stencil import workload

WORKLOAD = workload("stencil_9_gradient", 9, gradient=True)
