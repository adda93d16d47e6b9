"""The gradient after a step of diffusion with five points."""

from __future__ import annotations

from bench.workloads.stencil import workload

WORKLOAD = workload("stencil_gradient", 5, gradient=True)
