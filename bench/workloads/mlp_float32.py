"""The training step of the network in float32."""

from __future__ import annotations

import numpy as np

from bench.workloads.mlp import workload

# The weights are sums of terms of either sign; the gradient enters them multiplied by the rate.
WORKLOAD = workload("mlp_float32", np.float32, relative_tolerance=1e-4, absolute_tolerance=1e-6)
