"""The sum over rows or columns of the logarithm of a sum of exponentials: value and gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload

SIZES = (4_096,)
COLUMNS = 1_024
AXES = {"rows": 1, "columns": 0}


@functools.cache
def operands(rows: int) -> tuple[np.ndarray]:
    """Make the matrix."""
    return (3 * np.random.default_rng(29).standard_normal((rows, COLUMNS)),)


def with_gradxform(axis: int) -> Callable[..., Any]:
    """Ask gradxform."""
    import gradxform as gx
    from gradxform.scipy.special import logsumexp

    return gx.value_and_grad(lambda x: logsumexp(x, axis=axis).sum())


def with_jax(axis: int) -> Callable[..., Any]:
    """Ask JAX."""
    import jax

    return jax.value_and_grad(lambda x: jax.scipy.special.logsumexp(x, axis=axis).sum())


def with_torch(axis: int) -> Callable[..., Any]:
    """Ask torch's tape."""
    import torch

    def both(x: Any) -> Any:
        leaf = x.detach().requires_grad_()
        value = torch.logsumexp(leaf, axis).sum()
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return both


def with_torch_transforms(axis: int) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    import torch

    swapped = torch.func.grad_and_value(lambda x: torch.logsumexp(x, axis).sum())

    def both(x: Any) -> Any:
        gradient, value = swapped(x)
        return value, gradient

    return both


def by_hand(axis: int, x: np.ndarray) -> tuple[np.float64, np.ndarray]:
    """Compute both in NumPy: the gradient is the softmax."""
    greatest = x.max(axis=axis, keepdims=True)
    powers = np.exp(x - greatest)
    total = powers.sum(axis=axis, keepdims=True)
    return (greatest + np.log(total)).sum(), powers / total


def workload(name: str, axis: int) -> Workload:
    """Make the workload of one axis."""
    listed = contenders(
        operands,
        gradxform=lambda: with_gradxform(axis),
        jax=lambda: with_jax(axis),
        torch=lambda: with_torch(axis),
        torch_compiled=lambda: with_torch_transforms(axis),
        by_hand=functools.partial(by_hand, axis),
    )
    return Workload(
        name=f"logsumexp.{name}",
        title=f"logsumexp of {name}, value and gradient of the sum, {COLUMNS:,} columns",
        sizes=SIZES,
        contenders=listed,
        expected=lambda rows: by_hand(axis, *operands(rows)),
        promises=promises(listed, SIZES),
        relative_tolerance=1e-11,
    )


WORKLOADS = tuple(workload(name, axis) for name, axis in AXES.items())
