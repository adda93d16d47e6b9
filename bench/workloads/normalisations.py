"""Softmax, log-softmax, layer norm and batch norm of a matrix, and their gradients with a cotangent that is given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_native
from bench.workload import ELEMENTARY, Call, Workload
from bench.workloads import normalisation_loops

SIZES = (4_096,)
COLUMNS = 1_024
EPSILON = 1e-5
# Of each: how many arrays it depends on, matrix first, then gain and shift per column.
INPUTS = {"softmax": 1, "log_softmax": 1, "layer_norm": 3, "batch_norm": 3}


@functools.cache
def everything(rows: int) -> tuple[np.ndarray, ...]:
    """Make the matrix, gain and shift, and the cotangent of the result."""
    random = np.random.default_rng(23)
    matrix, cotangent = random.standard_normal((2, rows, COLUMNS))
    gain, shift = random.uniform(0.5, 1.5, COLUMNS), random.uniform(-1, 1, COLUMNS)
    return matrix, gain, shift, cotangent


def inputs(name: str, rows: int) -> tuple[np.ndarray, ...]:
    """Give what the forward computation needs."""
    return everything(rows)[: INPUTS[name]]


def inputs_and_cotangent(name: str, rows: int) -> tuple[np.ndarray, ...]:
    """Give what the gradient needs."""
    return (*inputs(name, rows), everything(rows)[3])


def normalised(numpy: Any, axis: int) -> Callable[..., Any]:
    """Write a normalisation to mean zero and variance one along an axis, with gain and shift per column."""

    def function(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - numpy.mean(x, axis=axis, keepdims=True)
        variance = numpy.mean(centred * centred, axis=axis, keepdims=True)
        return centred / numpy.sqrt(variance + EPSILON) * gain + shift

    return function


def forward(name: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Write the computation for gradxform or JAX, with their own softmax."""
    special = library.scipy.special
    return {
        "softmax": lambda x: special.softmax(x, axis=1),
        "log_softmax": lambda x: special.log_softmax(x, axis=1),
        "layer_norm": normalised(numpy, 1),
        "batch_norm": normalised(numpy, 0),
    }[name]


def backward(library: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Pull the last argument, a cotangent, back through a function of the others."""
    return lambda *given: library.vjp(function, *given[:-1])[1](given[-1])


def with_both(name: str, gradient: bool, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    function = forward(name, library, numpy)
    return backward(library, function) if gradient else function


def torch_forward(name: str, torch: Any) -> Callable[..., Any]:
    """Write the computation with torch's own operations, which have kernels of their own."""
    batch_norm, layer_norm = torch.nn.functional.batch_norm, torch.nn.functional.layer_norm
    ways: dict[str, Callable[..., Any]] = {
        "softmax": lambda x: torch.softmax(x, 1),
        "log_softmax": lambda x: torch.log_softmax(x, 1),
        "layer_norm": lambda x, gain, shift: layer_norm(x, (COLUMNS,), gain, shift, EPSILON),
        "batch_norm": lambda x, gain, shift: batch_norm(x, None, None, gain, shift, training=True, eps=EPSILON),
    }
    return ways[name]


def with_torch(name: str, gradient: bool, torch: Any) -> Callable[..., Any]:
    """Ask torch's tape."""
    function = torch_forward(name, torch)

    def pulled(*given: Any) -> Any:
        leaves = [operand.detach().requires_grad_() for operand in given[:-1]]
        return torch.autograd.grad(function(*leaves), leaves, given[-1])

    return pulled if gradient else function


def with_torch_transforms(name: str, gradient: bool, torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    function = torch_forward(name, torch)
    return backward(torch.func, function) if gradient else function


def with_pytensor(name: str, gradient: bool, pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor, with its own softmax."""
    functions: dict[str, Callable[..., Any]] = {
        "softmax": lambda x: tensor.special.softmax(x, axis=1),
        "log_softmax": lambda x: tensor.special.log_softmax(x, axis=1),
        "layer_norm": normalised(tensor, 1),
        "batch_norm": normalised(tensor, 0),
    }
    function = functions[name]

    def pulled(*given: Any) -> Any:
        *leaves, cotangent = given
        return pytensor.grad(None, leaves, known_grads={function(*leaves): cotangent})

    return pulled if gradient else function


def with_numba(name: str, gradient: bool, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops for Numba."""
    loops = normalisation_loops.BACKWARD if gradient else normalisation_loops.FORWARD
    return njit(loops[name](numba))


def by_hand(name: str, *given: np.ndarray) -> np.ndarray:
    """Compute it in NumPy."""
    if name in ("layer_norm", "batch_norm"):
        return normalised(np, 1 if name == "layer_norm" else 0)(*given)
    (x,) = given
    shifted = x - x.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1, keepdims=True)
    return powers / total if name == "softmax" else shifted - np.log(total)


def gradient_by_hand(name: str, *given: np.ndarray) -> tuple[np.ndarray, ...]:
    """Compute the gradients from their closed forms."""
    x, *gain_and_shift, cotangent = given
    if name == "softmax":
        result = by_hand(name, x)
        return (result * (cotangent - (cotangent * result).sum(axis=1, keepdims=True)),)
    if name == "log_softmax":
        return (cotangent - by_hand("softmax", x) * cotangent.sum(axis=1, keepdims=True),)
    axis = 1 if name == "layer_norm" else 0
    centred = x - x.mean(axis=axis, keepdims=True)
    scale = 1 / np.sqrt(np.square(centred).mean(axis=axis, keepdims=True) + EPSILON)
    unit, pulled = centred * scale, cotangent * gain_and_shift[0]
    inner = (pulled * unit).mean(axis=axis, keepdims=True)
    slope = scale * (pulled - pulled.mean(axis=axis, keepdims=True) - unit * inner)
    return slope, (cotangent * unit).sum(axis=0), cotangent.sum(axis=0)


def native(name: str, gradient: bool, same: bool = False) -> Callable[[int], Call]:
    """C++, into new arrays or into the same ones."""
    shapes: tuple[tuple[int, ...], ...] = ((COLUMNS,),) * (INPUTS[name] - 1) if gradient else ()
    return with_native(
        name,
        f"{name}_gradient" if gradient else name,
        functools.partial(inputs_and_cotangent if gradient else inputs, name),
        lambda rows: (rows, COLUMNS),
        lambda rows: ((rows, COLUMNS), *shapes),
        elementary="softmax" in name,
        same=same,
    )


def workload(name: str, gradient: bool) -> Workload:
    """Make the workload of one function or its gradient."""
    operands = functools.partial(inputs_and_cotangent if gradient else inputs, name)
    expected = functools.partial(gradient_by_hand if gradient else by_hand, name)
    listed = contenders(
        operands,
        both=functools.partial(with_both, name, gradient),
        torch=functools.partial(with_torch, name, gradient),
        torch_compiled=functools.partial(with_torch_transforms, name, gradient),
        numba=functools.partial(with_numba, name, gradient),
        pytensor=functools.partial(with_pytensor, name, gradient),
        numpy=None if gradient else expected,
        by_hand=expected if gradient else None,
        native=native(name, gradient),
        native_same=native(name, gradient, same=True),
    )
    words = name.replace("_", " ")
    return Workload(
        name=f"normalisations.{name}{'_gradient' if gradient else ''}",
        title=f"{f'gradient of {words}' if gradient else words}, {COLUMNS:,} columns",
        sizes=SIZES,
        growth=(8, 64, 512),
        fused="batch" not in name,
        flops=lambda rows: (ELEMENTARY + 4 if "softmax" in name else 14 if gradient else 8) * rows * COLUMNS,
        contenders=listed,
        expected=lambda rows: expected(*operands(rows)),
        promises=promises(listed, SIZES, jax=8 if gradient and name == "layer_norm" else 1),
        relative_tolerance=1e-10,
        # Sums of terms of either sign over a row or over all rows.
        absolute_tolerance=1e-11,
    )


WORKLOADS = tuple(workload(name, gradient) for name in INPUTS for gradient in (False, True))
