"""Jacobians of a function of 6 variables in 6 variables, at n points by vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads, with_gradxform, with_jax, with_torch
from bench.peers import graph_of_casadi
from bench.workload import Call, Contender, Workload

SIZES = (100, 10_000, 100_000)
VARIABLES = 6
LENGTHS = (0.4, 0.35, 0.3, 0.2, 0.15)


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make the points."""
    return (np.random.default_rng(8).uniform(-1, 1, (size, VARIABLES)),)


def reach(numpy: Any) -> Callable[[Any], Any]:
    """Write where an arm of five links stands, and how it stands: two joints turn it, four lift it."""

    def position(q: Any) -> Any:
        x, y, z = 0.0, 0.0, 0.0
        turn, lift = q[0], q[1]
        for joint, length in enumerate(LENGTHS, start=1):
            if joint == 3:
                turn = turn + q[joint]
            elif joint > 1:
                lift = lift + q[joint]
            x = x + length * numpy.cos(turn) * numpy.cos(lift)
            y = y + length * numpy.sin(turn) * numpy.cos(lift)
            z = z + length * numpy.sin(lift)
        return numpy.stack([x, y, z, turn, lift, x * x + y * y + z * z])

    return position


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX, forward mode."""
    return library.vmap(library.jacfwd(reach(numpy)))


def build_reverse(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for reverse mode: as many columns as rows, so either may be the faster."""
    return library.vmap(library.jacrev(reach(numpy)))


def build_torch_reverse(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, reverse mode."""
    return torch.func.vmap(torch.func.jacrev(reach(torch)))


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, forward mode."""
    return torch.func.vmap(torch.func.jacfwd(reach(torch)))


def casadi_at_points(derivatives: Callable[[Any, Any], Any]) -> tuple[Contender, ...]:
    """Let CasADi's `map` go through the points with a graph of 6x6 derivatives at one point."""

    def build(kind: str, casadi: Any) -> Callable[[Any], Any]:
        x = casadi.SX.sym("x", VARIABLES)
        # CasADi stores columns one after the other.
        entries = casadi.vec(casadi.densify(derivatives(casadi, x).T))
        point = casadi.Function("point", [x], [entries])
        return lambda points: point.map(points.shape[1], kind)(points)

    def prepare(size: int, *, compiled: bool) -> Call:
        # Compiled, several threads divide the points between them.
        kind = "openmp" if compiled and threads() > 1 and size >= 1_000 else "serial"
        run = graph_of_casadi(functools.partial(build, kind), (operands(size)[0].T,), compiled=compiled, whole=True)
        return Call("run().T.reshape(shape)", {"run": run, "shape": (size, VARIABLES, VARIABLES)})

    return (
        Contender("CasADi", functools.partial(prepare, compiled=False), ("casadi",)),
        Contender("CasADi, compiled", functools.partial(prepare, compiled=True), ("casadi", "$g++")),
    )


class InCasadi:
    """The functions of NumPy that the chain uses, with CasADi's columns."""

    def __init__(self, casadi: Any) -> None:
        self.sin, self.cos = casadi.sin, casadi.cos
        self.stack = lambda parts: casadi.vertcat(*parts)


def jacobian_in_casadi(casadi: Any, x: Any) -> Any:
    """Write the Jacobian at one point."""
    return casadi.jacobian(reach(InCasadi(casadi))(x), x)


@functools.cache
def expected(size: int) -> np.ndarray:
    """Take complex steps, all points at a time."""
    (points,) = operands(size)
    columns = [reach(np)((points + 1e-30j * unit).T).imag.T / 1e-30 for unit in np.eye(VARIABLES)]
    return np.ascontiguousarray(np.stack(columns, axis=-1))


LISTED = (
    *contenders(operands, both=build, torch=build_torch),
    *casadi_at_points(jacobian_in_casadi),
    Contender("gradxform, reverse", with_gradxform(build_reverse, operands), ("gradxform",)),
    Contender("JAX, reverse", with_jax(build_reverse, operands), ("jax",)),
    Contender("torch eager, reverse", with_torch(build_torch_reverse, operands), ("torch",)),
)
WORKLOAD = Workload(
    name="small_jacobians",
    title="6x6 Jacobians of a chain of six joints, at n points",
    sizes=SIZES,
    growth=(1_000,),
    contenders=LISTED,
    expected=expected,
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
)
