"""Logistic, softmax and Poisson regression: value and gradient, Hessian-vector product, whole Hessian.

All three are a mean over observations of a function of their linear predictors; the Hessian of softmax regression has a
row for each pair of a feature and a class, so its problem is smaller.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads, with_native
from bench.workload import Call, Workload

SIZES = (100_000,)
FEATURES, CLASSES = 100, 10
KINDS = ("logistic", "softmax", "poisson")
ORDERS = {"gradient": "value and gradient", "product": "Hessian-vector product", "hessian": "whole Hessian"}


def extents(kind: str, order: str, size: int) -> tuple[int, int, int]:
    """Give the numbers of observations, features and classes."""
    return (size // 10, 20, 5) if (kind, order) == ("softmax", "hessian") else (size, FEATURES, CLASSES)


@functools.lru_cache(maxsize=1)
def operands(kind: str, order: str, size: int) -> tuple[np.ndarray, ...]:
    """Make weights, features, targets; for the product, a direction as well."""
    random = np.random.default_rng(31)
    count, features, classes = extents(kind, order, size)
    shape = (features, classes) if kind == "softmax" else (features,)
    weights, direction = 0.3 * features**-0.5 * random.standard_normal((2, *shape))
    x = random.standard_normal((count, features))
    makers: dict[str, Callable[[], np.ndarray]] = {
        "logistic": lambda: random.choice((-1.0, 1.0), count),
        "softmax": lambda: np.eye(classes)[random.integers(classes, size=count)],
        "poisson": lambda: random.poisson(1.0, count).astype(np.float64),
    }
    targets = makers[kind]()
    return (weights, x, targets, direction) if order == "product" else (weights, x, targets)


def loss_of(kind: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Write the loss for gradxform and JAX."""
    logsumexp = library.scipy.special.logsumexp
    losses: dict[str, Callable[..., Any]] = {
        "logistic": lambda w, x, y: numpy.mean(numpy.logaddexp(0.0, -y * (x @ w))),
        "softmax": lambda w, x, y: numpy.mean(logsumexp(x @ w, axis=1) - (y * (x @ w)).sum(axis=1)),
        "poisson": lambda w, x, y: numpy.mean(numpy.exp(x @ w) - y * (x @ w)),
    }
    return losses[kind]


def with_both(kind: str, order: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    loss = loss_of(kind, library, numpy)

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        return library.jvp(lambda w: library.grad(loss)(w, x, y), (w,), (direction,))[1]

    return {"gradient": library.value_and_grad(loss), "product": product, "hessian": library.hessian(loss)}[order]


def torch_loss(kind: str, torch: Any) -> Callable[..., Any]:
    """Write the loss with torch's own operations."""
    softplus = torch.nn.functional.softplus
    return {
        # Its default falls back to the identity at 20, which is not exact to the last digits.
        "logistic": lambda w, x, y: softplus(-y * (x @ w), threshold=40).mean(),
        "softmax": lambda w, x, y: -(torch.log_softmax(x @ w, 1) * y).sum(1).mean(),
        "poisson": lambda w, x, y: (torch.exp(x @ w) - y * (x @ w)).mean(),
    }[kind]


def with_torch(kind: str, order: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's tape, for the product twice; the whole Hessian with its function transforms."""
    loss = torch_loss(kind, torch)

    def gradient(w: Any, x: Any, y: Any) -> Any:
        leaf = w.detach().requires_grad_()
        value = loss(leaf, x, y)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        leaf = w.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf, x, y), leaf, create_graph=True)
        return torch.autograd.grad(slope, leaf, direction)[0]

    return {"gradient": gradient, "product": product, "hessian": torch.func.hessian(loss)}[order]


def with_torch_transforms(kind: str, order: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    loss = torch_loss(kind, torch)

    def gradient(w: Any, x: Any, y: Any) -> Any:
        slope, value = torch.func.grad_and_value(loss)(w, x, y)
        return value, slope

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        return torch.func.grad(lambda w: (torch.func.grad(loss)(w, x, y) * direction).sum())(w)

    return {"gradient": gradient, "product": product, "hessian": torch.func.hessian(loss)}[order]


def with_pytensor(kind: str, order: str, pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor, for the product by going back twice."""
    losses: dict[str, Callable[..., Any]] = {
        "logistic": lambda w, x, y: tensor.softplus(-y * (x @ w)).mean(),
        "softmax": lambda w, x, y: (tensor.logsumexp(x @ w, axis=1) - (y * (x @ w)).sum(axis=1)).mean(),
        "poisson": lambda w, x, y: (tensor.exp(x @ w) - y * (x @ w)).mean(),
    }
    loss = losses[kind]

    def gradient(w: Any, x: Any, y: Any) -> Any:
        value = loss(w, x, y)
        return value, pytensor.grad(value, w)

    def product(w: Any, x: Any, y: Any, direction: Any) -> Any:
        return pytensor.grad((pytensor.grad(loss(w, x, y), w) * direction).sum(), w)

    orders: dict[str, Callable[..., Any]] = {"gradient": gradient, "product": product}
    return orders[order]


def with_numba(kind: str, order: str, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops for Numba: one pass over the data, whose rows stay in the cache between the two products."""
    one = njit(inline="always", parallel=False)

    @one
    def logistic(predictor: float, y: float) -> tuple[float, float, float]:
        power = math.exp(-y * predictor)
        share = 1 / (1 + power)
        return math.log1p(power), -y * power * share, power * share * share

    @one
    def poisson(predictor: float, y: float) -> tuple[float, float, float]:
        power = math.exp(predictor)
        return power - y * predictor, power - y, power

    term = logistic if kind == "logistic" else poisson
    shares = threads()

    def gradient(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
        count, features = x.shape
        slopes, loss = np.zeros((shares, features)), 0.0
        for share in numba.prange(shares):
            for row in range(share * count // shares, (share + 1) * count // shares):
                predictor = 0.0
                for feature in range(features):
                    predictor += x[row, feature] * w[feature]
                value, slope, _ = term(predictor, y[row])
                loss += value
                for feature in range(features):
                    slopes[share, feature] += slope * x[row, feature]
        return loss / count, slopes.sum(axis=0) / count

    def product(w: np.ndarray, x: np.ndarray, y: np.ndarray, direction: np.ndarray) -> np.ndarray:
        count, features = x.shape
        slopes = np.zeros((shares, features))
        for share in numba.prange(shares):
            for row in range(share * count // shares, (share + 1) * count // shares):
                predictor, along = 0.0, 0.0
                for feature in range(features):
                    predictor += x[row, feature] * w[feature]
                    along += x[row, feature] * direction[feature]
                _, _, curvature = term(predictor, y[row])
                for feature in range(features):
                    slopes[share, feature] += curvature * along * x[row, feature]
        return slopes.sum(axis=0) / count

    return njit({"gradient": gradient, "product": product}[order])


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
    if order == "hessian":
        return None
    shape = (FEATURES, CLASSES) if kind == "softmax" else (FEATURES,)
    return with_native(
        "softmax_regression" if kind == "softmax" else kind,
        f"{kind}_{order}",
        functools.partial(operands, kind, order),
        lambda size: (size,),
        lambda size: ((), shape) if order == "gradient" else (shape,),
    )


def operations(kind: str, order: str, size: int) -> float:
    """Count those of the products of matrices: two a pair of a feature and an observation each time the data are read."""
    count, features, classes = extents(kind, order, size)
    outputs = classes if kind == "softmax" else 1
    products = {"gradient": 2, "product": 3, "hessian": features * outputs}[order]
    return 2.0 * products * count * features * outputs


def workload(kind: str, order: str) -> Workload:
    """Make the workload of one regression and one order of derivatives."""
    given = functools.partial(operands, kind, order)
    expected = functools.partial(by_hand, kind, order)
    listed = contenders(
        given,
        both=functools.partial(with_both, kind, order),
        torch=functools.partial(with_torch, kind, order),
        torch_compiled=functools.partial(with_torch_transforms, kind, order),
        pytensor=None if order == "hessian" else functools.partial(with_pytensor, kind, order),
        numba=None if order == "hessian" or kind == "softmax" else functools.partial(with_numba, kind, order),
        value=functools.partial(loss_of, kind) if order == "gradient" else None,
        expected_value=lambda size: expected(*given(size))[0],
        by_hand=expected,
        native=native(kind, order),
    )
    _, features, classes = extents(kind, order, SIZES[0])
    wide = f"{features} features" + (f", {classes} classes" if kind == "softmax" else "")
    return Workload(
        name=f"regressions.{kind}_{order}",
        title=f"{kind} regression, {ORDERS[order]}, {wide}",
        sizes=SIZES,
        growth=(100, 1_000, 10_000),
        fused=order == "gradient",
        products=order == "hessian",
        flops=functools.partial(operations, kind, order),
        contenders=listed,
        expected=lambda size: expected(*given(size)),
        promises=promises(listed, SIZES, jax=3 if (kind, order) == ("logistic", "gradient") else 1),
        relative_tolerance=1e-9,
        # Sums over all observations of terms of either sign.
        absolute_tolerance=1e-12,
    )


WORKLOADS = tuple(workload(kind, order) for kind in KINDS for order in ORDERS)
