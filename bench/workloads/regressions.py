"""Logistic, softmax and Poisson regression: value and gradient, Hessian-vector product, whole Hessian.

All three are a mean over observations of a function of their linear predictors; the Hessian of softmax regression has a
row for each pair of a feature and a class, so its problem is smaller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_native
from bench.workload import Call, Workload

SIZES = (100_000,)
FEATURES, CLASSES = 100, 10
KINDS = ("logistic", "softmax", "poisson")
ORDERS = {"gradient": "value and gradient", "product": "Hessian-vector product", "hessian": "whole Hessian"}


def extents(kind: str, order: str, size: int) -> tuple[int, int, int]:
    """Give the numbers of observations, features and classes."""
    return (size // 10, 20, 5) if (kind, order) == ("softmax", "hessian") else (size, FEATURES, CLASSES)


@functools.cache
def operands(kind: str, order: str, size: int) -> tuple[np.ndarray, ...]:
    """Make weights, features, targets; for the product, a direction as well."""
    random = np.random.default_rng(31)
    count, features, classes = extents(kind, order, size)
    shape = (features, classes) if kind == "softmax" else (features,)
    weights, direction = 0.3 * features**-0.5 * random.standard_normal((2, *shape))
    x = random.standard_normal((count, features))
    targets = {
        "logistic": lambda: random.choice((-1.0, 1.0), count),
        "softmax": lambda: np.eye(classes)[random.integers(classes, size=count)],
        "poisson": lambda: random.poisson(1.0, count).astype(np.float64),
    }[kind]()
    return (weights, x, targets, direction) if order == "product" else (weights, x, targets)


def with_gradxform(kind: str, order: str) -> Callable[..., Any]:
    """Ask gradxform."""
    import gradxform as gx
    from gradxform.scipy.special import logsumexp

    loss: Callable[..., Any] = {
        "logistic": lambda w, x, y: np.mean(np.logaddexp(0.0, -y * (x @ w))),
        "softmax": lambda w, x, y: np.mean(logsumexp(x @ w, axis=1) - (y * (x @ w)).sum(axis=1)),
        "poisson": lambda w, x, y: np.mean(np.exp(x @ w) - y * (x @ w)),
    }[kind]
    return {"gradient": gx.value_and_grad, "product": gx.hvp, "hessian": gx.hessian}[order](loss)


def with_jax(kind: str, order: str) -> Callable[..., Any]:
    """Ask JAX."""
    import jax
    import jax.numpy as jnp

    loss: Callable[..., Any] = {
        "logistic": lambda w, x, y: jnp.mean(jnp.logaddexp(0.0, -y * (x @ w))),
        "softmax": lambda w, x, y: jnp.mean(jax.nn.logsumexp(x @ w, axis=1) - (y * (x @ w)).sum(axis=1)),
        "poisson": lambda w, x, y: jnp.mean(jnp.exp(x @ w) - y * (x @ w)),
    }[kind]

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        return jax.jvp(lambda w: jax.grad(loss)(w, x, y), (w,), (direction,))[1]

    return {"gradient": jax.value_and_grad(loss), "product": product, "hessian": jax.hessian(loss)}[order]


def torch_loss(kind: str) -> Callable[..., Any]:
    """Write the loss with torch's own operations."""
    import torch
    from torch.nn.functional import softplus

    return {
        # Its default falls back to the identity at 20, which is not exact to the last digits.
        "logistic": lambda w, x, y: softplus(-y * (x @ w), threshold=40).mean(),
        "softmax": lambda w, x, y: -(torch.log_softmax(x @ w, 1) * y).sum(1).mean(),
        "poisson": lambda w, x, y: (torch.exp(x @ w) - y * (x @ w)).mean(),
    }[kind]


def with_torch(kind: str, order: str) -> Callable[..., Any]:
    """Ask torch's tape, for the product twice; the whole Hessian with its function transforms."""
    import torch

    loss = torch_loss(kind)

    def gradient(w: Any, x: Any, y: Any) -> Any:
        leaf = w.detach().requires_grad_()
        value = loss(leaf, x, y)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        leaf = w.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf, x, y), leaf, create_graph=True)
        return torch.autograd.grad(slope, leaf, direction)[0]

    return {"gradient": gradient, "product": product, "hessian": torch.func.hessian(loss)}[order]


def with_torch_transforms(kind: str, order: str) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    import torch

    loss = torch_loss(kind)

    def gradient(w: Any, x: Any, y: Any) -> Any:
        slope, value = torch.func.grad_and_value(loss)(w, x, y)
        return value, slope

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        return torch.func.grad(lambda w: (torch.func.grad(loss)(w, x, y) * direction).sum())(w)

    return {"gradient": gradient, "product": product, "hessian": torch.func.hessian(loss)}[order]


def by_hand(kind: str, order: str, *given: np.ndarray) -> Any:
    """Compute it from the closed forms: the slope and curvature of each observation's term in its predictor."""
    w, x, y, *direction = given
    predictor, count = x @ w, len(x)
    if kind == "softmax":
        return softmax_by_hand(order, predictor, *given)
    if kind == "logistic":
        power = np.exp(-y * predictor)
        value, slope, curvature = np.log1p(power), -y * power / (1 + power), power / (1 + power) ** 2
    else:
        power = np.exp(predictor)
        value, slope, curvature = power - y * predictor, power - y, power
    if order == "gradient":
        return np.mean(value), slope @ x / count
    if order == "product":
        return (curvature * (x @ direction[0])) @ x / count
    return (x * curvature[:, None]).T @ x / count


def softmax_by_hand(order: str, predictor: np.ndarray, *given: np.ndarray) -> Any:
    """Compute it for softmax regression, whose observations have a matrix of curvatures each."""
    _, x, y, *direction = given
    count = len(x)
    power = np.exp(predictor)
    total = power.sum(axis=1, keepdims=True)
    share = power / total
    if order == "gradient":
        return np.mean(np.log(total[:, 0]) - (predictor * y).sum(axis=1)), x.T @ (share - y) / count
    if order == "product":
        pushed = x @ direction[0]
        return x.T @ (share * (pushed - (share * pushed).sum(axis=1, keepdims=True))) / count
    features, classes = x.shape[1], y.shape[1]
    hessian = np.empty((features, classes, features, classes))
    for a in range(classes):
        for b in range(classes):
            curvature = share[:, a] * ((a == b) - share[:, b])
            hessian[:, a, :, b] = (x * curvature[:, None]).T @ x / count
    return hessian


def native(kind: str, order: str) -> Callable[[int], Call] | None:
    """C++, where it was written."""
    if kind != "logistic" or order == "hessian":
        return None
    return with_native(
        "logistic",
        f"logistic_{order}",
        functools.partial(operands, kind, order),
        lambda size: (size,),
        lambda size: ((), (FEATURES,)) if order == "gradient" else ((FEATURES,),),
    )


def workload(kind: str, order: str) -> Workload:
    """Make the workload of one regression and one order of derivatives."""
    given = functools.partial(operands, kind, order)
    expected = functools.partial(by_hand, kind, order)
    listed = contenders(
        given,
        gradxform=lambda: with_gradxform(kind, order),
        jax=lambda: with_jax(kind, order),
        torch=lambda: with_torch(kind, order),
        torch_compiled=lambda: with_torch_transforms(kind, order),
        by_hand=expected,
        native=native(kind, order),
    )
    _, features, classes = extents(kind, order, SIZES[0])
    wide = f"{features} features" + (f", {classes} classes" if kind == "softmax" else "")
    return Workload(
        name=f"regressions.{kind}_{order}",
        title=f"{kind} regression, {ORDERS[order]}, {wide}",
        sizes=SIZES,
        contenders=listed,
        expected=lambda size: expected(*given(size)),
        promises=promises(listed, SIZES, jax=3 if (kind, order) == ("logistic", "gradient") else 1),
        relative_tolerance=1e-9,
        # Sums over all observations of terms of either sign.
        absolute_tolerance=1e-12,
    )


WORKLOADS = tuple(workload(kind, order) for kind in KINDS for order in ORDERS)
