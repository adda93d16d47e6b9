"""A nested dict, tuple and list of ten small arrays in and out: what walking containers costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Call, Contender, Promise, Workload


def operand(size: int) -> dict[str, Any]:
    """Make ten arrays of `size` doubles in nested containers."""
    a = [np.linspace(position, position + 1.0, size) for position in range(10)]
    return {
        "bias": [a[0], a[1]],
        "layers": ({"offset": a[2], "weight": a[3]}, {"offset": a[4], "weight": a[5]}),
        "scale": (a[6], [a[7], a[8]]),
        "shift": a[9],
    }


def function(tree: dict[str, Any]) -> dict[str, Any]:
    """Do a little to every array and give the same structure back."""
    first, second = tree["layers"]
    scale, rest = tree["scale"]
    return {
        "bias": [2 * array for array in tree["bias"]],
        "layers": (
            {"offset": first["offset"] + 1.0, "weight": first["weight"] * 3.0},
            {"offset": second["offset"] + 1.0, "weight": second["weight"] * 3.0},
        ),
        "scale": (scale - 0.5, [array * array for array in rest]),
        "shift": tree["shift"] + tree["bias"][0],
    }


def gradxform(size: int) -> Call:
    """gradxform, NumPy arrays in and out."""
    import gradxform as gx

    return Call("f(x)", {"f": gx.jit(function), "x": operand(size)})


def numpy(size: int) -> Call:
    """NumPy, one ufunc per array."""
    return Call("f(x)", {"f": function, "x": operand(size)})


def jax_device(size: int) -> Call:
    """JAX with its own arrays in and out."""
    import jax
    import jax.numpy as jnp

    x = jax.tree_util.tree_map(jnp.asarray, operand(size))
    return Call("ready(f(x))", {"f": jax.jit(function), "x": x, "ready": jax.block_until_ready})


def jax_numpy(size: int) -> Call:
    """JAX with NumPy arrays in."""
    import jax

    return Call("ready(f(x))", {"f": jax.jit(function), "x": operand(size), "ready": jax.block_until_ready})


WORKLOAD = Workload(
    name="nested_containers",
    title="nested dict, tuple and list of 10 arrays of 4 doubles in and out, whole call",
    sizes=(4,),
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("NumPy", numpy),
        Contender("JAX, its own arrays", jax_device, ("jax",)),
        Contender("JAX, NumPy in", jax_numpy, ("jax",)),
    ),
    expected=lambda size: function(operand(size)),
    promises=(Promise("microseconds", lambda m: m.of("gradxform", 4) * 1e6, at_most=3.0),),
)
