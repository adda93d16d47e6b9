"""A training step of two convolutions, a mean over the picture and a linear layer, on a batch of 28x28 pictures.

In NumPy's terms a convolution is a product of the kernel with shifted slices. There are two ways to say so: nine
products that are added, one per offset, or one product with the nine slices side by side. gradxform and JAX do both, and
use their own convolutions with channels last; PyTorch uses its own with channels first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import Build, contenders, promises, with_gradxform, with_jax
from bench.workload import Contender, Workload

SIZES = (32,)
EXTENT, WINDOW = 28, 3
CHANNELS = (1, 8, 16)
CLASSES = 10
RATE = 0.05


@functools.lru_cache(maxsize=1)
def operands(batch: int, dtype: type = np.float64) -> tuple[Any, ...]:
    """Make weights (kernels with rows, columns, channels in, channels out), pictures, and their classes."""
    random = np.random.default_rng(2)
    weights: dict[str, np.ndarray] = {"out": random.standard_normal((CHANNELS[-1], CLASSES)) / CHANNELS[-1] ** 0.5}
    for position, (entering, leaving) in enumerate(itertools.pairwise(CHANNELS)):
        kernel = random.standard_normal((WINDOW, WINDOW, entering, leaving))
        weights[f"kernel{position}"] = kernel * (2 / (WINDOW**2 * entering)) ** 0.5
        weights[f"bias{position}"] = np.full(leaving, 0.01)
    pictures = random.random((batch, EXTENT, EXTENT, CHANNELS[0]))
    wanted: np.ndarray = np.eye(CLASSES, dtype=dtype)[random.integers(0, CLASSES, batch)]
    return {name: weight.astype(dtype) for name, weight in weights.items()}, pictures.astype(dtype), wanted


def offsets(x: Any) -> list[tuple[int, int, Any]]:
    """Cut a slice for each offset of the window."""
    rows, columns = x.shape[1] - WINDOW + 1, x.shape[2] - WINDOW + 1
    return [(i, j, x[:, i : i + rows, j : j + columns]) for i in range(WINDOW) for j in range(WINDOW)]


def by_shifts(library: Any, numpy: Any, x: Any, kernel: Any) -> Any:
    """Add nine products."""
    total: Any = 0
    for i, j, part in offsets(x):
        total = total + part @ kernel[i, j]
    return total


def by_patches(library: Any, numpy: Any, x: Any, kernel: Any) -> Any:
    """Multiply once, by nine slices side by side."""
    patches = numpy.concatenate([part for _, _, part in offsets(x)], axis=-1)
    return patches @ kernel.reshape(-1, kernel.shape[-1])


def by_library(library: Any, numpy: Any, x: Any, kernel: Any) -> Any:
    """The library's own convolution."""
    return library.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def builder(convolve: Callable[..., Any]) -> Build:
    """Write the step with one of the convolutions."""

    def build(library: Any, numpy: Any) -> Callable[..., Any]:
        def loss(weights: Any, x: Any, wanted: Any) -> Any:
            for position in range(len(CHANNELS) - 1):
                x = convolve(library, numpy, x, weights[f"kernel{position}"]) + weights[f"bias{position}"]
                x = numpy.maximum(x, 0)
            logits = x.mean(axis=(1, 2)) @ weights["out"]
            logits = logits - library.lax.stop_gradient(logits.max(axis=1, keepdims=True))
            logarithms = logits - numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
            return -(wanted * logarithms).sum(axis=1).mean()

        def step(weights: Any, x: Any, wanted: Any) -> Any:
            value, gradient = library.value_and_grad(loss)(weights, x, wanted)
            return value, {name: weights[name] - RATE * gradient[name] for name in weights}

        return step

    return build


def build_torch(torch: Any) -> Callable[..., Any]:
    """Write the step for PyTorch, whose pictures have their channels first and its kernels theirs."""
    functional = torch.nn.functional
    prepared: list[Any] = []

    def step(weights: Any, x: Any, wanted: Any) -> Any:
        if not prepared:
            laid = {n: w.permute(3, 2, 0, 1).contiguous() if w.ndim == 4 else w.clone() for n, w in weights.items()}
            prepared.append({name: weight.requires_grad_() for name, weight in laid.items()})
            prepared.append(x.permute(0, 3, 1, 2).contiguous())
        (leaves, z) = prepared
        for position in range(len(CHANNELS) - 1):
            z = torch.relu(functional.conv2d(z, leaves[f"kernel{position}"], leaves[f"bias{position}"]))
        value = functional.cross_entropy(z.mean(dim=(2, 3)) @ leaves["out"], wanted)
        parameters = list(leaves.values())
        gradient = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            moved = dict(zip(leaves, torch._foreach_add(parameters, gradient, alpha=-RATE), strict=True))
        return value.detach(), {n: w.permute(2, 3, 1, 0) if w.ndim == 4 else w for n, w in moved.items()}

    return step


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Write the step with PyTorch's function transforms, which its compiler sees through; it lays kernels out itself."""
    functional = torch.nn.functional

    def loss(weights: Any, x: Any, wanted: Any) -> Any:
        z = x.permute(0, 3, 1, 2)
        for position in range(len(CHANNELS) - 1):
            kernel = weights[f"kernel{position}"].permute(3, 2, 0, 1)
            z = torch.relu(functional.conv2d(z, kernel, weights[f"bias{position}"]))
        return functional.cross_entropy(z.mean(dim=(2, 3)) @ weights["out"], wanted)

    def step(weights: Any, x: Any, wanted: Any) -> Any:
        gradient, value = torch.func.grad_and_value(loss)(weights, x, wanted)
        return value, {name: weights[name] - RATE * gradient[name] for name in weights}

    return step


@functools.cache
def expected(batch: int, dtype: type) -> Any:
    """Go forward and back by hand, in float64."""
    given, x, wanted = operands(batch, dtype)
    weights = {name: weight.astype(np.float64) for name, weight in given.items()}
    entering = [x.astype(np.float64)]
    for position in range(len(CHANNELS) - 1):
        x = by_shifts(None, np, entering[-1], weights[f"kernel{position}"]) + weights[f"bias{position}"]
        entering.append(np.maximum(x, 0))
    pooled = entering[-1].mean(axis=(1, 2))
    logits = pooled @ weights["out"]
    logits -= logits.max(axis=1, keepdims=True)
    sums = np.exp(logits).sum(axis=1, keepdims=True)
    value = -np.sum(wanted * (logits - np.log(sums))) / batch
    bar = (np.exp(logits) / sums - wanted) / batch
    gradient = {"out": pooled.T @ bar}
    area = entering[-1].shape[1] * entering[-1].shape[2]
    spread = np.broadcast_to((bar @ weights["out"].T)[:, None, None] / area, entering[-1].shape)
    for position in reversed(range(len(CHANNELS) - 1)):
        spread = spread * (entering[position + 1] > 0)
        source, kernel = entering[position], weights[f"kernel{position}"]
        back, slope = np.zeros_like(source), np.zeros_like(kernel)
        for i, j, part in offsets(source):
            slope[i, j] = np.einsum("brci,brco->io", part, spread, optimize=True)
            back[:, i : i + spread.shape[1], j : j + spread.shape[2]] += spread @ kernel[i, j].T
        gradient[f"kernel{position}"], gradient[f"bias{position}"] = slope, spread.sum(axis=(0, 1, 2))
        spread = back
    return dtype(value), {name: (weights[name] - RATE * gradient[name]).astype(dtype) for name in weights}


def workload(name: str, dtype: type, relative_tolerance: float, absolute_tolerance: float) -> Workload:
    """Make the workload in one precision."""
    chosen = functools.partial(operands, dtype=dtype)
    shifts, patches = builder(by_shifts), builder(by_patches)
    listed = (
        *contenders(chosen, gradxform=patches, jax=builder(by_library), torch=build_torch, torch_compiled=build_torch_compiled),
        Contender("gradxform, shifts", with_gradxform(shifts, chosen), ("gradxform",)),
        Contender("gradxform, its own", with_gradxform(builder(by_library), chosen), ("gradxform",)),
        Contender("JAX, patches", with_jax(patches, chosen), ("jax",)),
        Contender("JAX, shifts", with_jax(shifts, chosen), ("jax",)),
    )
    return Workload(
        name=name,
        title=f"two 3x3 convolutions (8, 16 channels) on 28x28, training step, batches of n, {dtype.__name__}",
        sizes=SIZES,
        growth=(8, 128, 512),
        contenders=listed,
        expected=lambda size: expected(size, dtype),
        promises=promises(listed, SIZES),
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
    )


WORKLOAD = workload("convolution", np.float64, 1e-9, 1e-13)
