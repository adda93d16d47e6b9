"""sin(x)*2+1 on 8 doubles: what a whole call costs when there is hardly anything to compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import with_casadi, with_pytensor
from bench.workload import Call, Contender, Promise, Workload


def operand(size: int) -> np.ndarray:
    """Make the argument."""
    return np.linspace(-2.0, 3.0, size)


def function(x: np.ndarray) -> np.ndarray:
    """Compute the workload in NumPy's terms."""
    return np.sin(x) * 2 + 1


def gradxform(size: int) -> Call:
    """gradxform, NumPy array in and out."""
    import gradxform as gx

    return Call("f(x)", {"f": gx.jit(function), "x": operand(size)})


def numpy_sin(size: int) -> Call:
    """A single NumPy ufunc, the yardstick of the promise."""
    return Call("sin(x)", {"sin": np.sin, "x": operand(size)})


def numpy(size: int) -> Call:
    """NumPy, three ufuncs."""
    return Call("f(x)", {"f": function, "x": operand(size)})


def jax_device(size: int) -> Call:
    """JAX with its own arrays in and out."""
    import jax
    import jax.numpy as jnp

    names = {"f": jax.jit(lambda x: jnp.sin(x) * 2 + 1), "x": jnp.asarray(operand(size))}
    return Call("f(x).block_until_ready()", names)


def jax_numpy(size: int) -> Call:
    """JAX from a NumPy array to a NumPy array."""
    import jax
    import jax.numpy as jnp

    names = {"f": jax.jit(lambda x: jnp.sin(x) * 2 + 1), "x": operand(size), "asarray": np.asarray}
    return Call("asarray(f(x))", names)


def numba(size: int) -> Call:
    """Numba compiling the NumPy expression."""
    from numba import njit

    return Call("f(x)", {"f": njit(function), "x": operand(size)})


def operands(size: int) -> tuple[np.ndarray]:
    """List the argument."""
    return (operand(size),)


def in_terms_of(library: Any, *submodule: Any) -> Callable[[Any], Any]:
    """Write it for PyTensor and CasADi."""
    names = submodule[0] if submodule else library
    return lambda x: names.sin(x) * 2 + 1


WORKLOAD = Workload(
    name="small_call",
    title="jit(sin(x)*2+1) on 8 doubles, whole call",
    sizes=(8,),
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("np.sin(x) alone", numpy_sin, expected=lambda size: np.sin(operand(size))),
        Contender("NumPy", numpy),
        Contender("JAX, its own arrays", jax_device, ("jax",)),
        Contender("JAX, NumPy in and out", jax_numpy, ("jax",)),
        Contender("Numba", numba, ("numba",)),
        Contender("PyTensor", with_pytensor(in_terms_of, operands), ("pytensor", "numba")),
        Contender("CasADi", with_casadi(in_terms_of, operands), ("casadi",)),
        Contender("CasADi, compiled", with_casadi(in_terms_of, operands, compiled=True), ("casadi", "$g++")),
    ),
    expected=lambda size: function(operand(size)),
    promises=(
        Promise("time / time of one np.sin(x)", lambda m: m.ratio("gradxform", "np.sin(x) alone", 8), at_most=1.0),
        Promise("JAX, its own / gradxform", lambda m: m.ratio("JAX, its own arrays", "gradxform", 8), at_least=15),
        Promise("JAX, NumPy / gradxform", lambda m: m.ratio("JAX, NumPy in and out", "gradxform", 8), at_least=15),
        *(
            Promise(
                f"{name} / gradxform",
                lambda m, name=name: m.ratio(name, "gradxform", 8),  # type: ignore[misc]
                at_least=1,
            )
            for name in ("Numba", "PyTensor", "CasADi", "CasADi, compiled")
        ),
    ),
)
