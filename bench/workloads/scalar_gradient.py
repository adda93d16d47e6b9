"""Value and derivative of a function of one number: a whole call with a Python float."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import with_casadi, with_pytensor
from bench.workload import Call, Contender, Promise, Workload

POINT = 0.7


def function(x: float) -> float:
    """Compute sin(x) exp(-x²) + log1p(x²)."""
    return np.sin(x) * np.exp(-x * x) + np.log1p(x * x)


def expected(size: int) -> tuple[np.float64, np.float64]:
    """Give the value and the derivative by the rules of calculus."""
    del size
    bell = math.exp(-POINT * POINT)
    value = math.sin(POINT) * bell + math.log1p(POINT * POINT)
    slope = math.cos(POINT) * bell - 2 * POINT * math.sin(POINT) * bell + 2 * POINT / (1 + POINT * POINT)
    return np.float64(value), np.float64(slope)


def gradxform(size: int) -> Call:
    """gradxform with a Python float."""
    import gradxform as gx

    return Call("f(x)", {"f": gx.jit(gx.value_and_grad(function)), "x": POINT})


def jax_float(size: int) -> Call:
    """JAX with a Python float."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(jax.value_and_grad(lambda x: jnp.sin(x) * jnp.exp(-x * x) + jnp.log1p(x * x)))
    return Call("ready(f(x))", {"f": f, "x": POINT, "ready": jax.block_until_ready})


def jax_device(size: int) -> Call:
    """JAX with its own rank-0 array."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(jax.value_and_grad(lambda x: jnp.sin(x) * jnp.exp(-x * x) + jnp.log1p(x * x)))
    return Call("ready(f(x))", {"f": f, "x": jnp.asarray(POINT), "ready": jax.block_until_ready})


def by_hand(x: float) -> tuple[float, float]:
    """Compute value and derivative, differentiated on paper."""
    bell, square = math.exp(-x * x), x * x
    sine = math.sin(x)
    return sine * bell + math.log1p(square), (math.cos(x) - 2 * x * sine) * bell + 2 * x / (1 + square)


def python_by_hand(size: int) -> Call:
    """Plain Python and its math module, differentiated on paper."""
    return Call("f(x)", {"f": by_hand, "x": POINT})


def operands(size: int) -> tuple[np.ndarray]:
    """Give the number as an array without axes, as PyTensor and CasADi want it."""
    return (np.array(POINT),)


def with_library(library: Any, *submodule: Any) -> Callable[[Any], Any]:
    """Ask PyTensor and CasADi, which both call the derivative of a number a gradient."""
    names = submodule[0] if submodule else library
    gradient = library.grad if submodule else library.gradient

    def both(x: Any) -> Any:
        value = names.sin(x) * names.exp(-x * x) + names.log1p(x * x)
        return value, gradient(value, x)

    return both


def numba_by_hand(size: int) -> Call:
    """Numba, differentiated on paper."""
    from numba import njit

    return Call("f(x)", {"f": njit(by_hand), "x": POINT})


WORKLOAD = Workload(
    name="scalar_gradient",
    title="jit(value_and_grad(f)) of a scalar function, whole call",
    sizes=(1,),
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("Python, derivative by hand", python_by_hand),
        Contender("Numba, derivative by hand", numba_by_hand, ("numba",)),
        Contender("JAX, Python float", jax_float, ("jax",)),
        Contender("JAX, its own array", jax_device, ("jax",)),
        Contender("PyTensor", with_pytensor(with_library, operands), ("pytensor", "numba")),
        Contender("CasADi", with_casadi(with_library, operands), ("casadi",)),
        Contender("CasADi, compiled", with_casadi(with_library, operands, compiled=True), ("casadi", "$g++")),
    ),
    expected=expected,
    promises=(
        Promise("microseconds", lambda m: m.of("gradxform", 1) * 1e6, at_most=0.3),
        Promise("JAX, Python float / gradxform", lambda m: m.ratio("JAX, Python float", "gradxform", 1), at_least=20),
        Promise("JAX, its own array / gradxform", lambda m: m.ratio("JAX, its own array", "gradxform", 1), at_least=20),
        *(
            Promise(
                f"{name} / gradxform",
                lambda m, name=name: m.ratio(name, "gradxform", 1),  # type: ignore[misc]
                at_least=1,
            )
            for name in ("PyTensor", "CasADi", "CasADi, compiled")
        ),
    ),
)
