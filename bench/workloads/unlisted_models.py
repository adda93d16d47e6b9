"""Programs that nobody listed, of statistics and learning: attention, recurrent networks, mixtures, hidden states, kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.unlisted import unlisted

STATES, SYMBOLS = 16, 8
BATCH, INPUTS, HIDDEN = 16, 32, 64
CLUSTERS = 8
RANK = 16


def attended(numpy: Any) -> Callable[..., Any]:
    """Write the squares of an attention's result."""

    def squares(queries: Any, keys: Any, values: Any) -> Any:
        scores = queries @ keys.T / 8.0
        weights = numpy.exp(scores - numpy.max(scores, axis=1, keepdims=True))
        weights = weights / numpy.sum(weights, axis=1, keepdims=True)
        return numpy.sum((weights @ values) ** 2)

    return squares


def attention(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for value and gradient in all three."""
    return library.value_and_grad(attended(numpy), argnums=(0, 1, 2))  # type: ignore[no-any-return]


def attentions(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for many at a time."""
    return library.vmap(attention(library, numpy))  # type: ignore[no-any-return]


def gated(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the squares of a gated recurrent network's last state, and the gradient in its weights."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + numpy.exp(-x))

    def squares(entering: Any, recurrent: Any, bias: Any, xs: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            z = x @ entering + bias
            u = state @ recurrent[:, : 2 * HIDDEN]
            reset, update = sigmoid(z[:, :HIDDEN] + u[:, :HIDDEN]), sigmoid(z[:, HIDDEN : 2 * HIDDEN] + u[:, HIDDEN:])
            candidate = numpy.tanh(z[:, 2 * HIDDEN :] + (reset * state) @ recurrent[:, 2 * HIDDEN :])
            return update * state + (1 - update) * candidate, None

        last, _ = library.lax.scan(step, numpy.zeros((BATCH, HIDDEN)), xs)
        return numpy.sum(last * last)

    return library.value_and_grad(squares, argnums=(0, 1, 2))  # type: ignore[no-any-return]


def sequences(random: np.random.Generator, steps: int) -> tuple[Any, ...]:
    """Make weights and sequences."""
    entering = random.standard_normal((INPUTS, 3 * HIDDEN)) * 0.1
    recurrent = random.standard_normal((HIDDEN, 3 * HIDDEN)) * 0.1
    return entering, recurrent, np.zeros(3 * HIDDEN), random.standard_normal((steps, BATCH, INPUTS))


def hidden_states(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the likelihood of a hidden Markov model by its forward recursion, and the gradient in both tables."""

    def likelihood(moves: Any, shows: Any, seen: Any) -> Any:
        def step(state: Any, symbol: Any) -> Any:
            top = numpy.max(state)
            return numpy.log(numpy.exp(state - top) @ numpy.exp(moves)) + top + shows[:, symbol], None

        last, _ = library.lax.scan(step, shows[:, 0] * 1.0, seen)
        return -(numpy.log(numpy.sum(numpy.exp(last - numpy.max(last)))) + numpy.max(last))

    return library.value_and_grad(likelihood, argnums=(0, 1))  # type: ignore[no-any-return]


def chains(random: np.random.Generator, steps: int) -> tuple[Any, ...]:
    """Make both tables and what was seen."""
    moves, shows = (np.log(random.dirichlet(np.ones(count), STATES)) for count in (STATES, SYMBOLS))
    return moves, shows, random.integers(0, SYMBOLS, steps)


def mixture(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the likelihood of a mixture of normal distributions, and its gradient."""

    def likelihood(means: Any, scales: Any, weights: Any, x: Any) -> Any:
        distances = (x[:, None, :] - means[None]) * numpy.exp(-scales)[None]
        logs = weights - numpy.sum(scales, axis=1) - 0.5 * numpy.sum(distances * distances, axis=2)
        top = numpy.max(logs, axis=1)
        return -numpy.sum(top + numpy.log(numpy.sum(numpy.exp(logs - top[:, None]), axis=1)))

    return library.value_and_grad(likelihood, argnums=(0, 1, 2))  # type: ignore[no-any-return]


def clouds(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make means, scales, weights and points."""
    means, points = random.standard_normal((CLUSTERS, 4)), random.standard_normal((count, 4))
    return means, np.zeros((CLUSTERS, 4)), np.zeros(CLUSTERS), points


def kernels(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the squares of a kernel expansion, and the gradient in points and weights."""

    def squares(x: Any, weights: Any, centres: Any) -> Any:
        distances = numpy.sum(x * x, 1)[:, None] + numpy.sum(centres * centres, 1)[None] - 2 * x @ centres.T
        return numpy.sum((numpy.exp(-0.5 * distances) @ weights) ** 2)

    return library.value_and_grad(squares, argnums=(0, 1))  # type: ignore[no-any-return]


def centres(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make points, weights and centres."""
    return random.standard_normal((count, 8)), random.standard_normal(500), random.standard_normal((500, 8))


def mean_field(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the magnetisation after ten rounds, and the gradient in fields and couplings."""

    def magnetisation(fields: Any, couplings: Any, spins: Any) -> Any:
        for _ in range(10):
            spins = numpy.tanh(fields + couplings @ spins)
        return numpy.sum(spins)

    return library.value_and_grad(magnetisation, argnums=(0, 1))  # type: ignore[no-any-return]


def magnets(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make fields, couplings and spins."""
    couplings = random.standard_normal((count, count)) / 20
    return random.standard_normal(count), couplings, np.zeros(count)


def factors(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the error of a factorisation of ratings, and the gradient in both factors."""

    def error(users: Any, things: Any, who: Any, what: Any, rating: Any) -> Any:
        missed = numpy.sum(users[who] * things[what], axis=1) - rating
        return numpy.sum(missed * missed) + 0.1 * (numpy.sum(users * users) + numpy.sum(things * things))

    return library.value_and_grad(error, argnums=(0, 1))  # type: ignore[no-any-return]


def ratings(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make both factors and the ratings."""
    users, things = random.standard_normal((2_000, RANK)), random.standard_normal((3_000, RANK))
    return users, things, random.integers(0, 2_000, count), random.integers(0, 3_000, count), random.standard_normal(count)


def volatility(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for a GARCH likelihood and its gradient."""

    def likelihood(p: Any, returns: Any) -> Any:
        def step(variance: Any, x: Any) -> Any:
            variance = p[0] + p[1] * x * x + p[2] * variance
            return variance, numpy.log(variance) + x * x / variance

        return numpy.sum(library.lax.scan(step, 1.0, returns)[1])

    return library.value_and_grad(likelihood)  # type: ignore[no-any-return]


def normal(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the likelihood of numbers in mean and logarithm of the scale, and its gradient."""

    def likelihood(mean: Any, scale: Any, x: Any) -> Any:
        return numpy.mean(0.5 * ((x - mean) / numpy.exp(scale)) ** 2 + scale)

    return library.value_and_grad(likelihood, argnums=(0, 1))  # type: ignore[no-any-return]


def polynomial(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the Hessian of a polynomial fit."""

    def squares(coefficients: Any, x: Any, y: Any) -> Any:
        value = 0.0
        for k in range(8):
            value = value * x + coefficients[k]
        return numpy.sum((value - y) ** 2)

    return library.hessian(squares)  # type: ignore[no-any-return]


def hinge(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for a squared hinge loss and its gradient."""

    def loss(weights: Any, shift: Any, x: Any, sign: Any) -> Any:
        missed = numpy.maximum(0, 1 - sign * (x @ weights + shift))
        return numpy.mean(missed * missed) + 0.01 * numpy.sum(weights * weights)

    return library.value_and_grad(loss, argnums=(0, 1))  # type: ignore[no-any-return]


def signs(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make weights, points and their signs."""
    return np.zeros(30), 0.0, random.standard_normal((count, 30)), np.sign(random.standard_normal(count))


def power_iteration(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the greatest variance by five rounds of power iteration, and its gradient in the data."""

    def variance(x: Any) -> Any:
        v = numpy.ones(x.shape[1])
        for _ in range(5):
            v = x.T @ (x @ v)
            v = v / numpy.sqrt(numpy.sum(v * v))
        return numpy.sum((x @ v) ** 2)

    return library.value_and_grad(variance)  # type: ignore[no-any-return]


WORKLOADS = (
    unlisted(
        "unlisted_models.attention",
        "attention, n x 64, value and gradient",
        512,
        attention,
        lambda random, n: tuple(random.standard_normal((3, n, 64)) * 0.3),
    ),
    unlisted(
        "unlisted_models.attentions",
        "the same for n of 64 x 32 by vmap",
        16,
        attentions,
        lambda random, n: tuple(random.standard_normal((3, n, 64, 32)) * 0.3),
    ),
    unlisted("unlisted_models.gated", "gated recurrent network, n steps, value and gradient", 50, gated, sequences),
    unlisted(
        "unlisted_models.hidden_states",
        f"hidden Markov model of {STATES} states, n steps, value and gradient",
        500,
        hidden_states,
        chains,
    ),
    unlisted("unlisted_models.mixture", f"mixture of {CLUSTERS} normals, n x 4, value and gradient", 20_000, mixture, clouds),
    unlisted("unlisted_models.kernels", "kernel expansion, n x 500, value and gradient", 1_000, kernels, centres),
    unlisted("unlisted_models.mean_field", "mean field of n spins, ten rounds, value and gradient", 200, mean_field, magnets),
    unlisted("unlisted_models.factors", "factorisation of n ratings, value and gradient", 50_000, factors, ratings),
    unlisted(
        "unlisted_models.volatility",
        "GARCH likelihood, n steps, value and gradient",
        5_000,
        volatility,
        lambda random, n: (np.array([0.1, 0.1, 0.8]), random.standard_normal(n)),
    ),
    unlisted(
        "unlisted_models.normal",
        "likelihood of n numbers in two parameters, value and gradient",
        1_000_000,
        normal,
        lambda random, n: (0.0, 0.0, random.standard_normal(n)),
    ),
    unlisted(
        "unlisted_models.polynomial",
        "Hessian of a polynomial fit, 8 coefficients, n points",
        20_000,
        polynomial,
        lambda random, n: (random.standard_normal(8), random.uniform(-1, 1, n), random.standard_normal(n)),
    ),
    unlisted("unlisted_models.hinge", "squared hinge loss, n x 30, value and gradient", 50_000, hinge, signs),
    unlisted(
        "unlisted_models.power_iteration",
        "power iteration, n x 50, value and gradient",
        2_000,
        power_iteration,
        lambda random, n: (random.standard_normal((n, 50)),),
    ),
)
