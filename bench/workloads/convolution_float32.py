"""The training step of the convolutions in float32."""

from __future__ import annotations

import numpy as np

from bench.workloads.convolution import workload

WORKLOAD = workload("convolution_float32", np.float32, relative_tolerance=1e-4, absolute_tolerance=1e-6)
