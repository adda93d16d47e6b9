"""A training step of a network 784-256-256-10 on a batch of 128: cross-entropy, its gradient, and the new weights."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_pytensor
from bench.workload import Contender, Workload

WIDTHS = (784, 256, 256, 10)
SIZES = (128,)
RATE = 0.05


@functools.lru_cache(maxsize=1)
def operands(batch: int, dtype: type = np.float64) -> tuple[Any, ...]:
    """Make weights as they are initialised, pictures, and their classes."""
    random = np.random.default_rng(1)
    weights: list[tuple[np.ndarray, np.ndarray]] = []
    for entering, leaving in itertools.pairwise(WIDTHS):
        weights.append((random.standard_normal((entering, leaving)) * (2 / entering) ** 0.5, np.zeros(leaving)))
    pictures = random.random((batch, WIDTHS[0]))
    classes = random.integers(0, WIDTHS[-1], batch)
    layers: Any = [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in weights]
    return layers, pictures.astype(dtype), np.eye(WIDTHS[-1], dtype=dtype)[classes]


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Write the step for gradxform and JAX."""

    def loss(layers: Any, x: Any, wanted: Any) -> Any:
        for weight, bias in layers[:-1]:
            x = numpy.maximum(x @ weight + bias, 0)
        weight, bias = layers[-1]
        logits = x @ weight + bias
        logits = logits - library.lax.stop_gradient(logits.max(axis=1, keepdims=True))
        logarithms = logits - numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
        return -(wanted * logarithms).sum(axis=1).mean()

    def step(layers: Any, x: Any, wanted: Any) -> Any:
        value, gradient = library.value_and_grad(loss)(layers, x, wanted)
        moved = [(w - RATE * dw, b - RATE * db) for (w, b), (dw, db) in zip(layers, gradient, strict=True)]
        return value, moved

    return step


def build_torch(torch: Any) -> Callable[..., Any]:
    """Write the step for PyTorch."""
    functional = torch.nn.functional

    def step(layers: Any, x: Any, wanted: Any) -> Any:
        parameters = [leaf.requires_grad_() for layer in layers for leaf in layer]
        for weight, bias in layers[:-1]:
            x = torch.relu(torch.addmm(bias, x, weight))
        weight, bias = layers[-1]
        value = functional.cross_entropy(torch.addmm(bias, x, weight), wanted)
        gradient = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            return value.detach(), torch._foreach_add(parameters, gradient, alpha=-RATE)

    return step


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Write the step with PyTorch's function transforms, which its compiler sees through."""

    def loss(layers: Any, x: Any, wanted: Any) -> Any:
        for weight, bias in layers[:-1]:
            x = torch.relu(torch.addmm(bias, x, weight))
        weight, bias = layers[-1]
        return torch.nn.functional.cross_entropy(torch.addmm(bias, x, weight), wanted)

    def step(layers: Any, x: Any, wanted: Any) -> Any:
        gradient, value = torch.func.grad_and_value(loss)(layers, x, wanted)
        moved = [(w - RATE * dw, b - RATE * db) for (w, b), (dw, db) in zip(layers, gradient, strict=True)]
        return value, moved

    return step


def flat_operands(batch: int, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
    """List weights and biases one after the other, then pictures and classes."""
    layers, x, wanted = operands(batch, dtype)
    return (*itertools.chain.from_iterable(layers), x, wanted)


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Write the step for PyTensor."""

    def step(*given: Any) -> Any:
        *parameters, x, wanted = given
        *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)
        for w, b in hidden:
            x = tensor.maximum(x @ w + b, np.zeros((), wanted.dtype))
        value = -(wanted * tensor.special.log_softmax(x @ weight + bias, axis=1)).sum(axis=1).mean()
        gradient = pytensor.grad(value, parameters)
        rate = np.array(RATE, wanted.dtype)
        return value, *(parameter - rate * slope for parameter, slope in zip(parameters, gradient, strict=True))

    return step


@functools.cache
def expected(batch: int, dtype: type) -> Any:
    """Give the loss and new weights."""
    return by_hand(*operands(batch, dtype))


def by_hand(layers: Any, x: np.ndarray, wanted: np.ndarray) -> Any:
    """Go through the layers and back by hand, in float64."""
    batch, dtype = len(x), x.dtype.type
    layers = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers]
    entering = [x.astype(np.float64)]
    for weight, bias in layers[:-1]:
        entering.append(np.maximum(entering[-1] @ weight + bias, 0))
    logits = entering[-1] @ layers[-1][0] + layers[-1][1]
    logits -= logits.max(axis=1, keepdims=True)
    sums = np.exp(logits).sum(axis=1, keepdims=True)
    value = -np.sum(wanted * (logits - np.log(sums))) / batch
    bar = (np.exp(logits) / sums - wanted) / batch
    moved: list[Any] = []
    for (weight, bias), source in zip(reversed(layers), reversed(entering), strict=True):
        new = weight - RATE * source.T @ bar, bias - RATE * bar.sum(axis=0)
        moved.insert(0, tuple(part.astype(dtype) for part in new))
        bar = (bar @ weight.T) * (source > 0)
    return dtype(value), moved


def workload(name: str, dtype: type, relative_tolerance: float, absolute_tolerance: float) -> Workload:
    """Make the workload in one precision."""
    flat = functools.partial(flat_operands, dtype=dtype)
    listed = (
        *contenders(
            functools.partial(operands, dtype=dtype), both=build, torch=build_torch, torch_compiled=build_torch_compiled
        ),
        Contender("PyTensor", with_pytensor(build_pytensor, flat), ("pytensor", "numba")),
    )
    return Workload(
        name=name,
        title=f"MLP 784-256-256-10, training step, batches of n, {dtype.__name__}",
        sizes=SIZES,
        growth=(8, 32, 512, 2_048),
        products=True,
        # Forwards, and twice that backwards, but for the cotangent of the pictures, which nobody asks for.
        flops=lambda size: size * (6.0 * sum(map(math.prod, itertools.pairwise(WIDTHS))) - 2 * WIDTHS[0] * WIDTHS[1]),
        contenders=listed,
        expected=lambda size: expected(size, dtype),
        promises=promises(listed, SIZES),
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
    )


WORKLOAD = workload("mlp", np.float64, 1e-9, 1e-13)
