"""The whole Hessian of a generalised linear model's log-likelihood: Poisson counts with an exposure each, 50 parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import ELEMENTARY, Workload

SIZES = (1_000, 10_000, 100_000)
PARAMETERS = 50


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make parameters, a design matrix with a column of ones, exposures and counts."""
    random = np.random.default_rng(47)
    design = random.standard_normal((size, PARAMETERS))
    design[:, 0] = 1.0
    parameters = 0.5 * PARAMETERS**-0.5 * random.standard_normal(PARAMETERS)
    exposure = random.uniform(0.5, 2.0, size)
    return parameters, design, exposure, random.poisson(exposure * np.exp(design @ parameters)).astype(np.float64)


def likelihood_of(numpy: Any) -> Callable[..., Any]:
    """Write the log-likelihood for all libraries, without the terms that do not depend on the parameters."""

    def likelihood(parameters: Any, design: Any, exposure: Any, counts: Any) -> Any:
        predictor = design @ parameters
        return (counts * predictor - exposure * numpy.exp(predictor)).sum()

    return likelihood


def with_both(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.hessian(likelihood_of(numpy))


def with_torch(torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms: forward over reverse."""
    return torch.func.hessian(likelihood_of(torch))


def with_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor, which differentiates the gradient in each parameter."""
    likelihood = likelihood_of(tensor)

    def hessian(parameters: Any, *given: Any) -> Any:
        return pytensor.gradient.hessian(likelihood(parameters, *given), parameters)

    return hessian


def by_hand(parameters: np.ndarray, design: np.ndarray, exposure: np.ndarray, counts: np.ndarray) -> Any:
    """Compute it from the closed form, one product of matrices."""
    rates = exposure * np.exp(design @ parameters)
    return -(design.T @ (design * rates[:, None]))


LISTED = contenders(
    operands, both=with_both, torch=with_torch, torch_compiled=with_torch, pytensor=with_pytensor, by_hand=by_hand)
WORKLOAD = Workload(
    name="glm_hessian",
    title=f"Poisson likelihood of n counts, whole Hessian in {PARAMETERS} parameters",
    sizes=SIZES,
    growth=(100,),
    products=True,
    flops=lambda size: 2.0 * size * PARAMETERS * (PARAMETERS + 1) + (ELEMENTARY + 1) * size,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=(*promises(LISTED, SIZES[:-1]), *promises(LISTED, SIZES[-1:], jax=4)),
    relative_tolerance=1e-9,
    # Sums over all rows of terms of either sign.
    absolute_tolerance=1e-8,
)
