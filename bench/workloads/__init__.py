"""The workloads, one file each; the module's name is the workload's, or the first part of it where a file holds several."""

from __future__ import annotations

import importlib

from bench.workload import Workload

GROUPS = {
    "calls and imports": (
        "small_call",
        "scalar_gradient",
        "nested_containers",
        "first_call",
        "import_time",
        "eager.sin",
        "eager.add",
        "eager.less",
        "eager.where",
        "eager.sum",
        "eager.cumsum",
        "eager.dot",
        "eager.concatenate",
        "eager.reshape",
        "eager.zeros_like",
        "eager.linspace",
        "eager.take",
    ),
    "arrays and statistics": (
        "elementwise",
        "elementwise_float32",
        "sums.all",
        "sums.rows",
        "sums.columns",
        "black_scholes",
        "normals",
        "normalisations.softmax",
        "normalisations.softmax_gradient",
        "normalisations.log_softmax",
        "normalisations.log_softmax_gradient",
        "normalisations.layer_norm",
        "normalisations.layer_norm_gradient",
        "normalisations.batch_norm",
        "normalisations.batch_norm_gradient",
        "logsumexp.rows",
        "logsumexp.columns",
        "regressions.logistic_gradient",
        "regressions.logistic_product",
        "regressions.logistic_hessian",
        "regressions.softmax_gradient",
        "regressions.softmax_product",
        "regressions.softmax_hessian",
        "regressions.poisson_gradient",
        "regressions.poisson_product",
        "regressions.poisson_hessian",
        "glm_hessian",
        "gaussian_process",
        "pairs.gravitation",
        "pairs.gaussian",
        "clusters.k_means",
        "clusters.mixture",
    ),
    "loops": (
        "lorenz",
        "newton_while",
        "kalman",
        "lstm",
        "lstm_float32",
        "gauss_seidel",
    ),
    "models, derivatives, indices": (
        "mlp",
        "mlp_float32",
        "convolution",
        "convolution_float32",
        "rosenbrock",
        "rosenbrock_product",
        "rosenbrock_hessian",
        "brusselator",
        "brusselator_product",
        "brusselator_hessian",
        "brusselator_steps",
        "small_jacobians",
        "small_hessians",
        "small_matrices",
        "small_matrices_4",
        "small_linalg.solve",
        "small_linalg.inverse",
        "small_linalg.cholesky",
        "fourier.convolution",
        "fourier.derivative",
        "embedding",
        "segment_sums",
        "histogram",
        "sparse_product",
        "sparse_gradient",
        "stencil",
        "stencil_9",
        "stencil_gradient",
        "stencil_9_gradient",
        "curve_fit.again",
        "curve_fit.first",
    ),
    "compiling": (
        "chained_sin",
        "unrolled_compile",
        "model_compile.mlp",
        "model_compile.hessian",
    ),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)


def load(name: str) -> Workload:
    """Import a workload by name; `module.variant` is one of several workloads of a module."""
    module = importlib.import_module(f"bench.workloads.{name.partition('.')[0]}")
    workload = next(w for w in module.WORKLOADS if w.name == name) if "." in name else module.WORKLOAD
    assert isinstance(workload, Workload)
    return workload
