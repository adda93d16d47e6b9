"""A training step of a network 784-256-256-10 on a batch of 128: cross-entropy, its gradient, and the new weights."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Promise, Workload

WIDTHS = (784, 256, 256, 10)
BATCH = 128
RATE = 0.05


@functools.cache
def operands(batch: int, dtype: type = np.float64) -> tuple[Any, ...]:
    """Make weights as they are initialised, pictures, and their classes."""
    random = np.random.default_rng(1)
    weights = []
    for entering, leaving in itertools.pairwise(WIDTHS):
        weights.append((random.standard_normal((entering, leaving)) * (2 / entering) ** 0.5, np.zeros(leaving)))
    pictures = random.random((batch, WIDTHS[0]))
    classes = random.integers(0, WIDTHS[-1], batch)
    layers = [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in weights]
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


@functools.cache
def expected(batch: int, dtype: type) -> Any:
    """Go through the layers and back by hand, in float64."""
    layers, x, wanted = operands(batch, dtype)
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


def contenders(dtype: type) -> tuple[Contender, ...]:
    """List who does it."""
    chosen = functools.partial(operands, dtype=dtype)
    return (
        *idioms.both(build, chosen),
        Contender("torch eager", idioms.torch(build_torch, chosen), ("torch",)),
    )


PROMISES: tuple[Promise, ...] = idioms.ahead(("JAX", "torch eager"), (BATCH,))

WORKLOAD = Workload(
    name="mlp",
    title="MLP 784-256-256-10, batch 128, training step, float64",
    sizes=(BATCH,),
    contenders=contenders(np.float64),
    expected=lambda size: expected(size, np.float64),
    promises=PROMISES,
    relative_tolerance=1e-9,
)
