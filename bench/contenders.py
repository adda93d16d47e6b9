"""Makes contenders from functions, for the workloads that are one function of a few arrays.

A workload gives each peer a builder: it imports the peer and returns the function to be timed, in the peer's own idiom.
What is the same for all workloads is here: compiling, converting operands, waiting for results.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bench.peers import with_folding
from bench.workload import Call, Contender, Medians, Promise

Builder = Callable[[], Callable[..., Any]]
Operands = Callable[[int], tuple[Any, ...]]
Shapes = Callable[[int], Sequence[tuple[int, ...]]]


def applied(function: Callable[..., Any], operands: Sequence[Any], wrapper: str = "", **names: Any) -> Call:
    """Make the call of a function with operands, each a local variable of the timed statement."""
    arguments = {f"operand_{position}": operand for position, operand in enumerate(operands)}
    return Call(f"{wrapper}(f({', '.join(arguments)}))", {"f": function, **arguments, **names})


def with_gradxform(build: Builder, operands: Operands) -> Callable[[int], Call]:
    """Compile with gradxform; NumPy arrays in and out, new ones every call."""

    def prepare(size: int) -> Call:
        import gradxform as gx

        return applied(gx.jit(build()), operands(size))

    return prepare


def with_numpy(function: Callable[..., Any], operands: Operands) -> Callable[[int], Call]:
    """Run the function as it is."""
    return lambda size: applied(function, operands(size))


def with_jax(build: Builder, operands: Operands) -> Callable[[int], Call]:
    """Compile with JAX, its own arrays in and out."""

    def prepare(size: int) -> Call:
        import jax
        import jax.numpy as jnp

        given = jax.tree_util.tree_map(jnp.asarray, operands(size))
        return applied(jax.jit(build()), given, "ready", ready=jax.block_until_ready)

    return prepare


def with_torch(build: Builder, operands: Operands, *, compiled: bool = False) -> Callable[[int], Call]:
    """Run with torch, its own tensors in and out, eagerly or `compiled` for the shapes at hand."""

    def prepare(size: int) -> Call:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        function = build()
        if compiled:
            function = torch.compile(function, dynamic=False)
        # Copies: torch warns of arrays that must not be written.
        return applied(function, [torch.from_numpy(np.array(operand)) for operand in operands(size)])

    return prepare


def with_native(
    library: str,
    symbol: str,
    operands: Operands,
    integers: Callable[[int], Sequence[int]],
    shapes: Shapes,
    *,
    elementary: bool = True,
    same: bool = False,
) -> Callable[[int], Call]:
    """Call C++: integers, pointers to the operands, pointers to the results.

    The results are new arrays every call, of the first operand's dtype and the given `shapes`; with `same`, the same arrays.
    """

    def prepare(size: int) -> Call:
        from bench.native import load

        function = getattr(load(library, elementary=elementary), symbol)
        given = [np.ascontiguousarray(operand) for operand in operands(size)]
        counts, wanted, dtype = list(integers(size)), list(shapes(size)), given[0].dtype
        pointers = [operand.ctypes.data for operand in given]
        function.argtypes = (ctypes.c_long,) * len(counts) + (ctypes.c_void_p,) * (len(given) + len(wanted))
        function.restype = None
        kept = [np.empty(shape, dtype) for shape in wanted] if same else None

        def call() -> Any:
            results = kept or [np.empty(shape, dtype) for shape in wanted]
            function(*counts, *pointers, *(result.ctypes.data for result in results))
            return results[0] if len(results) == 1 else results

        # The operands are named so that they live as long as their addresses are used.
        return Call("f()", {"f": call, "operands": given})

    return prepare


def contenders(
    operands: Operands,
    *,
    gradxform: Builder,
    jax: Builder,
    torch: Builder | None = None,
    torch_compiled: Builder | None = None,
    numpy: Callable[..., Any] | None = None,
    by_hand: Callable[..., Any] | None = None,
    native: Callable[[int], Call] | None = None,
    native_same: Callable[[int], Call] | None = None,
    loop: bool = False,
) -> tuple[Contender, ...]:
    """List who does a workload, under the names that `promises` knows; with a `loop`, JAX once more with its flag.

    `numpy` computes what the others do; `by_hand` is NumPy with derivatives from paper, which nothing is promised about.
    """
    compiler = ("torch", "$g++")
    listed = [
        Contender("gradxform", with_gradxform(gradxform, operands), ("gradxform",)),
        native and Contender("C++", native, ("$g++",)),
        native_same and Contender("C++, same array", native_same, ("$g++",)),
        numpy and Contender("NumPy", with_numpy(numpy, operands)),
        by_hand and Contender("NumPy, by hand", with_numpy(by_hand, operands)),
        Contender("JAX", with_jax(jax, operands), ("jax",)),
        Contender("JAX, folding", with_folding(with_jax(jax, operands)), ("jax",)) if loop else None,
        torch and Contender("torch eager", with_torch(torch, operands), ("torch",)),
        torch_compiled and Contender("torch compiled", with_torch(torch_compiled, operands, compiled=True), compiler),
    ]
    return tuple(contender for contender in listed if contender)


def promises(
    listed: Iterable[Contender], sizes: Sequence[int], *, jax: float = 1, compiled: float = 1, native: float = 1.3
) -> tuple[Promise, ...]:
    """Promise that no peer is ahead at any size, JAX and torch's compiler by the given factors; C++ at most by its."""
    least = {"JAX": jax, "JAX, folding": 1.0, "torch eager": 1.0, "torch compiled": compiled, "NumPy": 1.0}
    made: list[Promise] = []
    names = [contender.name for contender in listed]

    def ratio(slower: str, faster: str, size: int) -> Callable[[Medians], float]:
        return lambda medians: medians.ratio(slower, faster, size)

    for size in sizes:
        suffix = f", {size:,}" if len(sizes) > 1 else ""
        for name in names:
            if name.startswith("C++"):
                made.append(Promise(f"gradxform / {name}{suffix}", ratio("gradxform", name, size), at_most=native))
            elif name in least:
                made.append(Promise(f"{name} / gradxform{suffix}", ratio(name, "gradxform", size), at_least=least[name]))
    return tuple(made)
