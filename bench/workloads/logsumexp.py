"""The sum over rows or columns of the logarithm of a sum of exponentials: value and gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads, with_native
from bench.workload import ELEMENTARY, Prepare, Workload

SIZES = (4_096,)
COLUMNS = 1_024
AXES = {"rows": 1, "columns": 0}


@functools.lru_cache(maxsize=1)
def operands(rows: int) -> tuple[np.ndarray]:
    """Make the matrix."""
    return (3 * np.random.default_rng(29).standard_normal((rows, COLUMNS)),)


def objective(axis: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Write the sum for gradxform and JAX."""
    logsumexp = library.scipy.special.logsumexp
    return lambda x: logsumexp(x, axis=axis).sum()


def with_both(axis: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.value_and_grad(objective(axis, library, numpy))


def with_torch(axis: int, torch: Any) -> Callable[..., Any]:
    """Ask torch's tape."""

    def both(x: Any) -> Any:
        leaf = x.detach().requires_grad_()
        value = torch.logsumexp(leaf, axis).sum()
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return both


def with_torch_transforms(axis: int, torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    swapped = torch.func.grad_and_value(lambda x: torch.logsumexp(x, axis).sum())

    def both(x: Any) -> Any:
        gradient, value = swapped(x)
        return value, gradient

    return both


def with_pytensor(axis: int, pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""

    def both(x: Any) -> Any:
        value = tensor.logsumexp(x, axis=axis).sum()
        return value, pytensor.grad(value, x)

    return both


def with_numba(axis: int, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops for Numba: a row stays in the cache between its passes; columns go down side by side, in shares."""
    shares = threads()

    def rows(x: np.ndarray) -> Any:
        slope, value = np.empty_like(x), 0.0
        for row in numba.prange(x.shape[0]):
            greatest = x[row, 0]
            for column in range(x.shape[1]):
                greatest = max(greatest, x[row, column])
            total = 0.0
            for column in range(x.shape[1]):
                power = math.exp(x[row, column] - greatest)
                slope[row, column] = power
                total += power
            value += greatest + math.log(total)
            scale = 1 / total
            for column in range(x.shape[1]):
                slope[row, column] *= scale
        return value, slope

    def columns(x: np.ndarray) -> Any:
        slope, parts = np.empty_like(x), np.empty(x.shape[1])
        for share in numba.prange(shares):
            start, stop = share * x.shape[1] // shares, (share + 1) * x.shape[1] // shares
            greatest, total = x[0, start:stop].copy(), np.zeros(stop - start)
            for row in range(1, x.shape[0]):
                for column in range(start, stop):
                    greatest[column - start] = max(greatest[column - start], x[row, column])
            for row in range(x.shape[0]):
                for column in range(start, stop):
                    power = math.exp(x[row, column] - greatest[column - start])
                    slope[row, column] = power
                    total[column - start] += power
            for column in range(start, stop):
                parts[column] = greatest[column - start] + math.log(total[column - start])
            scale = 1 / total
            for row in range(x.shape[0]):
                for column in range(start, stop):
                    slope[row, column] *= scale[column - start]
        return parts.sum(), slope

    return njit(rows if axis == 1 else columns)


def native(name: str) -> Prepare:
    """C++: the value and the gradient, the matrix read as seldom as the axis allows."""
    symbol = f"logsumexp_{name}"
    return with_native("logsumexp", symbol, operands, lambda rows: (rows, COLUMNS), lambda rows: ((), (rows, COLUMNS)))


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
        both=functools.partial(with_both, axis),
        torch=functools.partial(with_torch, axis),
        torch_compiled=functools.partial(with_torch_transforms, axis),
        numba=functools.partial(with_numba, axis),
        pytensor=functools.partial(with_pytensor, axis),
        native=native(name),
        by_hand=functools.partial(by_hand, axis),
        value=functools.partial(objective, axis),
        expected_value=lambda rows: by_hand(axis, *operands(rows))[0],
    )
    return Workload(
        name=f"logsumexp.{name}",
        title=f"logsumexp of {name}, value and gradient of the sum, {COLUMNS:,} columns",
        sizes=SIZES,
        growth=(8, 64, 512),
        flops=lambda rows: (ELEMENTARY + 4) * rows * COLUMNS,
        contenders=listed,
        expected=lambda rows: by_hand(axis, *operands(rows)),
        promises=promises(listed, SIZES),
        relative_tolerance=1e-11,
    )


WORKLOADS = tuple(workload(name, axis) for name, axis in AXES.items())
