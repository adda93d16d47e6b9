"""The LSTM in float32."""

from __future__ import annotations

import numpy as np

from bench.workloads.lstm import workload

# The entries of the gradient are sums, over steps and batch, of terms of either sign.
WORKLOAD = workload("lstm_float32", np.float32, relative_tolerance=1e-4, absolute_tolerance=1e-8)
