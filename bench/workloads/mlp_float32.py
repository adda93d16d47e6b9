"""The training step of the network in float32."""

from __future__ import annotations

import numpy as np

from bench.workload import Workload
from bench.workloads.mlp import BATCH, PROMISES, contenders, expected

WORKLOAD = Workload(
    name="mlp_float32",
    title="MLP 784-256-256-10, batch 128, training step, float32",
    sizes=(BATCH,),
    contenders=contenders(np.float32),
    expected=lambda size: expected(size, np.float32),
    promises=PROMISES,
    relative_tolerance=1e-4,
    # The weights are sums of terms of either sign; the gradient enters them multiplied by the rate.
    absolute_tolerance=1e-6,
)
