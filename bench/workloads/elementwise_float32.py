"""The elementwise function in float32."""

from __future__ import annotations

import numpy as np

from bench.workloads.elementwise import workload

WORKLOAD = workload("elementwise_float32", np.float32, 2e-6)
