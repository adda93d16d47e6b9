"""Makes contenders from functions: how each library is asked, and what is the same for all workloads.

A workload gives each library a builder: a function of the library's modules that returns what is to be timed, in the
library's own idiom. gradxform and JAX have the same transforms under the same names, so one builder mostly does for both.

| library | its builder is given | what it returns takes |
|---|---|---|
| gradxform | `gradxform`, `gradxform.numpy` | NumPy arrays |
| JAX | `jax`, `jax.numpy` | JAX arrays |
| PyTorch | `torch` | tensors |
| Numba | `numba`, `njit` with fast maths and threads | NumPy arrays; compiled by the builder |
| PyTensor | `pytensor`, `pytensor.tensor` | variables with the operands' shapes; builds a graph |
| CasADi | `casadi` | symbols with the operands' shapes; builds a graph |

Compiling, converting operands, and waiting for results are done here.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.peers import graph_of_casadi, graph_of_pytensor, with_folding
from bench.workload import Call, Contender, Medians, Prepare, Promise

Build = Callable[..., Any]
Operands = Callable[[int], tuple[Any, ...]]
Shapes = Callable[[int], Sequence[tuple[int, ...]]]


def applied(function: Callable[..., Any], operands: Sequence[Any], wrapper: str = "", **names: Any) -> Call:
    """Make the call of a function with operands, each a local variable of the timed statement."""
    arguments = {f"operand_{position}": operand for position, operand in enumerate(operands)}
    statement = f"f({', '.join(arguments)})"
    return Call(f"{wrapper}({statement})" if wrapper else statement, {"f": function, **arguments, **names})


def converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert the arrays in nested dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: converted(item, convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(converted(item, convert) for item in value)
    return convert(value)


def with_gradxform(build: Build, operands: Operands, fast_math: bool = False) -> Prepare:
    """Compile with gradxform; NumPy arrays in and out, new ones every call."""

    def prepare(size: int) -> Call:
        import gradxform as gx

        function = build(gx, gx.numpy)
        jitted = gx.jit(function, compiler_options={"fast_math": True}) if fast_math else gx.jit(function)
        return applied(jitted, operands(size))

    return prepare


def with_numpy(function: Callable[..., Any], operands: Operands) -> Prepare:
    """Run a function of NumPy arrays as it is."""
    return lambda size: applied(function, operands(size))


def with_jax(build: Build, operands: Operands) -> Prepare:
    """Compile with JAX, its own arrays in and out, waited for."""

    def prepare(size: int) -> Call:
        import jax
        import jax.numpy as jnp

        given = jax.block_until_ready(converted(operands(size), jnp.asarray))
        return applied(jax.jit(build(jax, jnp)), given, "ready", ready=jax.block_until_ready)

    return prepare


def with_torch(build: Build, operands: Operands, *, compiled: bool = False) -> Prepare:
    """Run with PyTorch, its own tensors in and out, eagerly or `compiled` for the shapes at hand."""

    def prepare(size: int) -> Call:
        import torch

        torch.set_num_threads(threads())
        function = build(torch)
        if compiled:
            function = torch.compile(function, dynamic=False)
        # Copies: torch warns of arrays that must not be written.
        return applied(function, converted(operands(size), torch.tensor))

    return prepare


def with_numba(build: Build, operands: Operands, *, parallel_from: int = 200_000) -> Prepare:
    """Run what the builder has compiled with Numba; its compiler uses threads if the operands have so many bytes."""

    def prepare(size: int) -> Call:
        import numba

        given = operands(size)
        several = threads() > 1 and sum(np.asarray(operand).nbytes for operand in given) >= parallel_from
        return applied(build(numba, functools.partial(numba.njit, fastmath=True, parallel=several)), given)

    return prepare


def with_pytensor(build: Build, operands: Operands) -> Prepare:
    """Compile a graph with PyTensor for its Numba backend; arguments are not checked, results not copied."""

    def prepare(size: int) -> Call:
        given = operands(size)
        return applied(graph_of_pytensor(build, given), given)

    return prepare


def with_casadi(build: Build, operands: Operands, *, compiled: bool = False, whole: bool = False) -> Prepare:
    """Make a function with CasADi, in its virtual machine or `compiled` as C by g++; of scalar symbols, or of `whole` ones."""
    return lambda size: applied(graph_of_casadi(build, operands(size), compiled=compiled, whole=whole), ())


def value_and_gradient(gradient: Callable[[Any, Any], Any], objective: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Write the value of an objective and its gradient for a library of graphs, given how that takes a gradient."""

    def call(x: Any) -> Any:
        value = objective(x)
        return value, gradient(value, x)

    return call


def with_torch_tape(torch: Any, function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Give a scalar function and its gradient in the first ``count`` operands, by torch's tape."""

    def both(*given: Any) -> Any:
        leaves = [operand.detach().requires_grad_() for operand in given[:count]]
        value = function(*leaves, *given[count:])
        gradients = torch.autograd.grad(value, leaves)
        return value.detach(), gradients if count > 1 else gradients[0]

    return both


def with_torch_transform(torch: Any, function: Callable[..., Any], differentiated: Any) -> Callable[..., Any]:
    """Give the same by torch's function transforms, which its compiler sees through."""
    swapped = torch.func.grad_and_value(function, differentiated)

    def both(*given: Any) -> Any:
        gradient, value = swapped(*given)
        return value, gradient

    return both


def sized(way: Callable[[Build, Operands], Prepare], build: Build, operands: Operands) -> Prepare:
    """Give the builder the size as well, before the modules: for programs whose length depends on it."""
    return lambda size: way(functools.partial(build, size), operands)(size)


def threads() -> int:
    """Give the number of threads that every contender has."""
    return int(os.environ["OMP_NUM_THREADS"])


def with_native(
    library: str,
    symbol: str,
    operands: Operands,
    integers: Callable[[int], Sequence[int]],
    shapes: Shapes,
    *,
    elementary: bool = True,
    same: bool = False,
) -> Prepare:
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
    both: Build | None = None,
    gradxform: Build | None = None,
    jax: Build | None = None,
    torch: Build | None = None,
    torch_compiled: Build | None = None,
    numba: Build | None = None,
    pytensor: Build | None = None,
    casadi: Build | None = None,
    casadi_compiled: Build | None = None,
    whole: bool = False,
    numpy: Callable[..., Any] | None = None,
    by_hand: Callable[..., Any] | None = None,
    native: Prepare | None = None,
    native_same: Prepare | None = None,
    value: Build | None = None,
    expected_value: Callable[[int], object] | None = None,
    loop: bool = False,
) -> tuple[Contender, ...]:
    """List who does a workload, under the names that reports know.

    `both` is the builder for gradxform and JAX where one does for both. `numpy` computes what the others do; `by_hand` is NumPy
    with derivatives from paper. `value` builds, for gradxform, the objective alone, whose result is `expected_value`. With a
    `loop`, JAX is listed once more with its loop-folding flag. CasADi's graph is one of `whole` matrices or of numbers.
    """
    ours, theirs = gradxform or both, jax or both
    ways = (
        ("gradxform", ours and with_gradxform(ours, operands), ("gradxform",)),
        ("C++", native, ("$g++",)),
        ("C++, same array", native_same, ("$g++",)),
        ("NumPy", numpy and with_numpy(numpy, operands), ()),
        ("NumPy, by hand", by_hand and with_numpy(by_hand, operands), ()),
        ("JAX", theirs and with_jax(theirs, operands), ("jax",)),
        ("JAX, folding", with_folding(with_jax(theirs, operands)) if theirs and loop else None, ("jax",)),
        ("torch eager", torch and with_torch(torch, operands), ("torch",)),
        ("torch compiled", torch_compiled and with_torch(torch_compiled, operands, compiled=True), ("torch", "$g++")),
        ("Numba", numba and with_numba(numba, operands), ("numba",)),
        ("PyTensor", pytensor and with_pytensor(pytensor, operands), ("pytensor", "numba")),
        ("CasADi", casadi and with_casadi(casadi, operands, whole=whole), ("casadi",)),
        (
            "CasADi, compiled",
            casadi_compiled and with_casadi(casadi_compiled, operands, compiled=True, whole=whole),
            ("casadi", "$g++"),
        ),
    )
    listed = [Contender(name, prepare, needs) for name, prepare, needs in ways if prepare]
    if value is not None:
        listed.append(Contender("gradxform, value", with_gradxform(value, operands), ("gradxform",), expected=expected_value))
    return tuple(listed)


def promises(
    listed: Sequence[Contender],
    sizes: Sequence[int],
    *,
    jax: float = 1,
    compiled: float = 1,
    native: float = 1.3,
    least: float = 1,
) -> tuple[Promise, ...]:
    """Promise at each size that we are ahead of every peer by `least`, or by the factors of JAX and torch's compiler.

    C++ may be ahead by its factor.
    """
    made: list[Promise] = []
    rivals = [contender for contender in listed if contender.rival]
    factors = {"JAX": jax, "torch compiled": compiled}

    def ratio(slower: str, faster: str, size: int) -> Callable[[Medians], float]:
        return lambda medians: medians.ratio(slower, faster, size)

    for size in sizes:
        suffix = f", {size:,}" if len(sizes) > 1 else ""
        for rival in rivals:
            if rival.takes(size):
                bound = max(least, factors.get(rival.name, least))
                made.append(Promise(f"{rival.name} / gradxform{suffix}", ratio(rival.name, "gradxform", size), at_least=bound))
        for contender in listed:
            if contender.native and contender.takes(size):
                text = f"gradxform / {contender.name}{suffix}"
                made.append(Promise(text, ratio("gradxform", contender.name, size), at_most=native))
    return tuple(made)
