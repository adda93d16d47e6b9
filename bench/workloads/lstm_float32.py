"""The LSTM in float32."""

from __future__ import annotations

import numpy as np

from bench.workload import Workload
from bench.workloads.lstm import PROMISES, STEPS, contenders, expected_in

WORKLOAD = Workload(
    name="lstm_float32",
    title="LSTM, 100 steps, hidden 128, batch 32, 64 inputs, value and gradient, float32",
    sizes=(STEPS,),
    contenders=contenders(np.float32),
    expected=lambda size: expected_in(size, np.float32),
    promises=PROMISES,
    relative_tolerance=1e-4,
    # The entries of the gradient are sums, over steps and batch, of terms of either sign.
    absolute_tolerance=1e-8,
)
