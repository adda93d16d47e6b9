"""How each library is asked for the same computation, written once in terms of a library and its NumPy namespace.

gradxform and JAX have the same transforms under the same names, so one builder does for both: it takes the library (for
`grad`, `vmap`, `lax`) and a NumPy namespace, and gives the function to be compiled. PyTorch is told in its own words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from bench.peers import with_folding
from bench.workload import Call, Contender, Promise

Build = Callable[[Any, Any], Callable[..., Any]]
Operands = Callable[[int], tuple[Any, ...]]
Prepare = Callable[[int], Call]


def calling(function: Callable[..., Any], arguments: tuple[Any, ...], wait: Callable[[Any], Any] | None = None) -> Call:
    """Make a call whose arguments are names of their own, since unpacking a tuple would be timed with it."""
    names = {f"x{position}": argument for position, argument in enumerate(arguments)}
    statement = f"f({', '.join(names)})"
    if wait is None:
        return Call(statement, {"f": function, **names})
    return Call(f"ready({statement})", {"f": function, "ready": wait, **names})


def converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert the arrays in nested dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: converted(item, convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(converted(item, convert) for item in value)
    return convert(value)


def gradxform(build: Build, operands: Operands) -> Prepare:
    """gradxform, from NumPy arrays to NumPy arrays."""

    def prepare(size: int) -> Call:
        import gradxform as gx

        return calling(gx.jit(build(gx, gx.numpy)), operands(size))

    return prepare


def jax(build: Build, operands: Operands) -> Prepare:
    """JAX, its own arrays in and out, waited for."""

    def prepare(size: int) -> Call:
        import jax
        import jax.numpy as jnp

        arguments = jax.tree_util.tree_map(jnp.asarray, operands(size))
        return calling(jax.jit(build(jax, jnp)), arguments, jax.block_until_ready)

    return prepare


def torch(build: Callable[[Any], Callable[..., Any]], operands: Operands) -> Prepare:
    """PyTorch eager, its own tensors in and out, as many threads as every contender has."""

    def prepare(size: int) -> Call:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        return calling(build(torch), converted(operands(size), torch.tensor))

    return prepare


def numpy(function: Callable[..., Any], operands: Operands) -> Prepare:
    """NumPy, or anything else that takes and gives its arrays."""
    return lambda size: calling(function, operands(size))


def both(build: Build, operands: Operands, *, folding: bool = False, **options: Any) -> tuple[Contender, ...]:
    """List gradxform and JAX, and JAX with its loop-folding flag where its program has loops."""
    found = (
        Contender("gradxform", gradxform(build, operands), ("gradxform",), **options),
        Contender("JAX", jax(build, operands), ("jax",), **options),
    )
    if folding:
        found += (Contender("JAX, folding", with_folding(jax(build, operands)), ("jax",), **options),)
    return found


def ahead(peers: tuple[str, ...], sizes: tuple[int, ...], at_least: float = 1.0) -> tuple[Promise, ...]:
    """Promise that gradxform is not behind any of the peers at any of the sizes."""
    return tuple(
        Promise(
            f"{peer} / gradxform, {size:,}",
            lambda m, peer=peer, size=size: m.ratio(peer, "gradxform", size),  # type: ignore[misc]
            at_least=at_least,
        )
        for size in sizes
        for peer in peers
    )
