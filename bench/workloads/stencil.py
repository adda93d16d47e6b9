"""A step of diffusion on n x n cells: every inner cell moves towards its neighbours, the border stays.

Five points weigh the four nearest neighbours, nine (`stencil_9`) the diagonal ones as well. The step is asked for in NumPy's
slices. The gradients (`stencil_gradient`, `stencil_9_gradient`) are those of half the sum of squares after the step, in the
cells.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import applied, contenders, promises
from bench.workload import Call, Prepare, Workload

SIZES = (16, 128, 512, 2_048)
NEAR = {5: 1.0, 9: 4 / 6}
DIAGONAL = {5: 0.0, 9: 1 / 6}
CENTRE = {5: 4.0, 9: 20 / 6}
RATE = 0.2


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make the cells."""
    return (np.random.default_rng(15).standard_normal((size, size)),)


def laplacian(x: Any, points: int) -> Any:
    """Write what the inner cells differ by from their neighbours."""
    near = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    if points == 5:
        return near - CENTRE[5] * x[1:-1, 1:-1]
    diagonal = x[:-2, :-2] + x[:-2, 2:] + x[2:, :-2] + x[2:, 2:]
    return NEAR[9] * near + DIAGONAL[9] * diagonal - CENTRE[9] * x[1:-1, 1:-1]


def build(library: Any, numpy: Any, points: int) -> Callable[..., Any]:
    """Write the step for gradxform and JAX."""
    return lambda x: x.at[1:-1, 1:-1].add(RATE * laplacian(x, points))


def build_gradient(library: Any, numpy: Any, points: int) -> Callable[..., Any]:
    """Ask both for the gradient after a step."""
    step = build(library, numpy, points)
    return library.grad(lambda x: 0.5 * (step(x) ** 2).sum())


def build_torch(torch: Any, points: int) -> Callable[..., Any]:
    """Write the step for PyTorch."""

    def step(x: Any) -> Any:
        moved = x.clone()
        moved[1:-1, 1:-1] += RATE * laplacian(x, points)
        return moved

    return step


def build_torch_gradient(torch: Any, points: int) -> Callable[..., Any]:
    """Ask PyTorch for the gradient after a step."""
    step = build_torch(torch, points)

    def call(x: Any) -> Any:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(0.5 * (step(leaf) ** 2).sum(), leaf)[0]

    return call


def build_torch_transforms(torch: Any, points: int) -> Callable[..., Any]:
    """Ask PyTorch's function transforms for the gradient, which its compiler sees through.

    Nothing is written in place: compiled, the gradient of that is wrong at the border.
    """

    def step(x: Any) -> Any:
        return x + torch.nn.functional.pad(RATE * laplacian(x, points), (1, 1, 1, 1))

    return torch.func.grad(lambda x: 0.5 * (step(x) ** 2).sum())


def build_casadi(casadi: Any, points: int) -> Callable[..., Any]:
    """Write the step for CasADi."""

    def step(x: Any) -> Any:
        moved = casadi.MX(x)
        moved[1:-1, 1:-1] += RATE * laplacian(x, points)
        return moved

    return step


def build_casadi_gradient(casadi: Any, points: int) -> Callable[..., Any]:
    """Ask CasADi for the gradient after a step."""
    step = build_casadi(casadi, points)
    return lambda x: casadi.gradient(0.5 * casadi.sumsqr(step(x)), x)


def build_numba(numba: Any, njit: Any, points: int) -> Callable[..., Any]:
    """Write loops for Numba."""
    near, diagonal, centre = RATE * NEAR[points], RATE * DIAGONAL[points], 1 - RATE * CENTRE[points]

    def five(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        rows, columns = x.shape
        y[0], y[-1] = x[0], x[-1]
        for i in numba.prange(1, rows - 1):
            y[i, 0], y[i, -1] = x[i, 0], x[i, -1]
            for j in range(1, columns - 1):
                y[i, j] = centre * x[i, j] + near * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])
        return y

    def nine(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        rows, columns = x.shape
        y[0], y[-1] = x[0], x[-1]
        for i in numba.prange(1, rows - 1):
            y[i, 0], y[i, -1] = x[i, 0], x[i, -1]
            for j in range(1, columns - 1):
                beside = x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]
                across = x[i - 1, j - 1] + x[i - 1, j + 1] + x[i + 1, j - 1] + x[i + 1, j + 1]
                y[i, j] = centre * x[i, j] + near * beside + diagonal * across
        return y

    return njit(five if points == 5 else nine)


def build_numba_gradient(numba: Any, njit: Any, points: int) -> Callable[..., Any]:
    """Write loops for Numba: the inner cells after the step within a wide border of zeros, and what they give each cell."""
    near, diagonal, centre = RATE * NEAR[points], RATE * DIAGONAL[points], RATE * CENTRE[points]
    step = build_numba(numba, njit, points)

    def gradient(x: np.ndarray) -> np.ndarray:
        moved = step(x)
        rows, columns = x.shape
        wide, result = np.zeros((rows + 2, columns + 2)), np.empty_like(x)
        wide[2:-2, 2:-2] = moved[1:-1, 1:-1]
        for i in numba.prange(rows):
            above, here, below = wide[i], wide[i + 1], wide[i + 2]
            for j in range(columns):
                total = moved[i, j] - centre * here[j + 1] + near * (above[j + 1] + below[j + 1] + here[j] + here[j + 2])
                result[i, j] = total + diagonal * (above[j] + above[j + 2] + below[j] + below[j + 2])
        return result

    return njit(gradient)


def by_hand(x: np.ndarray, points: int) -> np.ndarray:
    """Write the step in NumPy."""
    moved = x.copy()
    moved[1:-1, 1:-1] += RATE * laplacian(x, points)
    return moved


def gradient_by_hand(x: np.ndarray, points: int) -> np.ndarray:
    """Spread each inner cell's share over the cells that it was computed from."""
    moved = by_hand(x, points)
    gradient = moved.copy()
    share = RATE * moved[1:-1, 1:-1]
    weights = {0: -CENTRE[points], 1: NEAR[points], 2: DIAGONAL[points]}
    inner = x.shape[0] - 2
    for i in range(3):
        for j in range(3):
            gradient[i : i + inner, j : j + inner] += weights[abs(i - 1) + abs(j - 1)] * share
    return gradient


def native(points: int) -> Prepare:
    """C++ called through ctypes, a new array every call."""

    def prepare(size: int) -> Call:
        from bench.native import load

        function = load("stencil", elementary=False).stencil
        function.argtypes = (ctypes.c_long, *[ctypes.c_double] * 3, ctypes.c_void_p, ctypes.c_void_p)
        function.restype = None
        weights = RATE * NEAR[points], RATE * DIAGONAL[points], 1 - RATE * CENTRE[points]

        def call(x: np.ndarray) -> np.ndarray:
            moved = np.empty_like(x)
            function(len(x), *weights, x.ctypes.data, moved.ctypes.data)
            return moved

        return applied(call, operands(size))

    return prepare


def workload(name: str, points: int, gradient: bool) -> Workload:
    """Make the workload for a number of points, for the step or for the gradient."""
    ours = functools.partial(build_gradient if gradient else build, points=points)
    torch = functools.partial(build_torch_gradient if gradient else build_torch, points=points)
    hand = functools.partial(gradient_by_hand if gradient else by_hand, points=points)
    yardstick = None if gradient else native(points)
    casadi = functools.partial(build_casadi_gradient if gradient else build_casadi, points=points)
    listed = contenders(
        operands,
        both=ours,
        torch=torch,
        torch_compiled=functools.partial(build_torch_transforms, points=points) if gradient else torch,
        numba=functools.partial(build_numba_gradient if gradient else build_numba, points=points),
        casadi=casadi,
        casadi_compiled=casadi,
        whole=True,
        by_hand=hand,
        native=yardstick,
    )
    return Workload(
        name=name,
        title=f"{points}-point stencil on n x n cells, {'gradient after one step' if gradient else 'one step'}",
        sizes=SIZES,
        growth=(8, 32),
        flops=lambda size: (7 if points == 5 else 12) * (3 if gradient else 1) * size**2,
        contenders=listed,
        expected=lambda size: hand(*operands(size)),
        promises=promises(listed, SIZES),
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
    )


WORKLOAD = workload("stencil", 5, gradient=False)
