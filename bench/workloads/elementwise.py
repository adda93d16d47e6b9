"""exp(-x²)·sin(x) + log1p(x²): three elementary functions per element, in cache and out of it, float64 and float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import Operands, applied, contenders, promises, with_native
from bench.workload import ELEMENTARY, Call, Contender, Prepare, Workload

SIZES = (1_000, 100_000, 10_000_000)


def operand(dtype: type, size: int) -> np.ndarray:
    """Make the argument: values spread over the interesting range in no particular order."""
    return (2 * np.sin(0.37 * np.arange(size))).astype(dtype)


def compute(numpy: Any, x: Any) -> Any:
    """Write it for any library with NumPy's names."""
    return numpy.exp(-x * x) * numpy.sin(x) + numpy.log1p(x * x)


def with_both(library: Any, numpy: Any) -> Callable[[Any], Any]:
    """Ask gradxform and JAX."""
    return functools.partial(compute, numpy)


def with_torch(torch: Any) -> Callable[[Any], Any]:
    """Ask PyTorch."""
    return functools.partial(compute, torch)


def jax_numpy(operands: Operands) -> Prepare:
    """JAX from a NumPy array to a NumPy array."""

    def prepare(size: int) -> Call:
        import jax
        import jax.numpy as jnp

        return applied(jax.jit(with_both(jax, jnp)), operands(size), "asarray", asarray=np.asarray)

    return prepare


def with_pytensor(pytensor: Any, tensor: Any) -> Callable[[Any], Any]:
    """Ask PyTensor."""
    return functools.partial(compute, tensor)


def numba_loop(numba: Any, njit: Any) -> Callable[[Any], Any]:
    """Numba, a loop written by hand."""
    import math

    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        for i in numba.prange(x.size):
            square = x[i] * x[i]
            y[i] = math.exp(-square) * math.sin(x[i]) + math.log1p(square)
        return y

    return njit(call)


def expected(dtype: type, size: int) -> np.ndarray:
    """Compute it in float64."""
    return compute(np, operand(dtype, size).astype(np.float64)).astype(dtype)


def native(dtype: type, operands: Operands, *, same: bool) -> Prepare:
    """C++, into a new array or into the same one."""
    symbol = f"elementwise_{dtype.__name__}"
    return with_native("elementwise", symbol, operands, lambda size: (size,), lambda size: ((size,),), same=same)


def workload(name: str, dtype: type, relative_tolerance: float) -> Workload:
    """Make the workload in one precision."""

    def operands(size: int) -> tuple[np.ndarray]:
        return (operand(dtype, size),)

    listed = (
        *contenders(
            operands,
            both=with_both,
            torch=with_torch,
            torch_compiled=with_torch,
            numba=numba_loop,
            pytensor=with_pytensor,
            numpy=functools.partial(compute, np),
            native=native(dtype, operands, same=False),
            native_same=native(dtype, operands, same=True),
        ),
        Contender("JAX, NumPy in and out", jax_numpy(operands), ("jax",)),
    )
    return Workload(
        name=name,
        title=f"exp(-x²)·sin(x) + log1p(x²), {dtype.__name__}",
        sizes=SIZES,
        growth=(100, 10_000, 1_000_000),
        fused=True,
        flops=lambda size: (3 * ELEMENTARY + 5) * size,
        contenders=listed,
        expected=functools.partial(expected, dtype),
        promises=promises(listed, SIZES),
        relative_tolerance=relative_tolerance,
        # Near a zero the terms of float32 cancel.
        absolute_tolerance=relative_tolerance / 10,
    )


WORKLOAD = workload("elementwise", np.float64, 1e-12)
