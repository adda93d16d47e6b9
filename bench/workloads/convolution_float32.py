"""The training step of the convolutions in float32."""

from __future__ import annotations

import numpy as np

from bench.workload import Workload
from bench.workloads.convolution import BATCH, PROMISES, contenders, expected

WORKLOAD = Workload(
    name="convolution_float32",
    title="two 3x3 convolutions (8, 16 channels) on 28x28, training step, batch 32, float32",
    sizes=(BATCH,),
    contenders=contenders(np.float32),
    expected=lambda size: expected(size, np.float32),
    promises=PROMISES,
    relative_tolerance=1e-4,
    absolute_tolerance=1e-6,
)
