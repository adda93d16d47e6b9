"""Black-Scholes: the price of a call option and five Greeks, all by differentiating the price; one option per element."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_native
from bench.workload import ELEMENTARY, Workload

SIZES = (1_000, 1_000_000)
STRIKE = 100.0


@functools.lru_cache(maxsize=1)
def operands(count: int) -> tuple[np.ndarray, ...]:
    """Make spot prices, times to maturity, rates and volatilities."""
    random = np.random.default_rng(19)
    bounds = ((60.0, 140.0), (0.1, 2.0), (0.0, 0.08), (0.1, 0.6))
    return tuple(random.uniform(low, high, count) for low, high in bounds)


def price(numpy: Any, erf: Callable[[Any], Any]) -> Callable[..., Any]:
    """Write the price of a call option."""

    def normal(x: Any) -> Any:
        return 0.5 * (1 + erf(x * 0.5**0.5))

    def call(spot: Any, maturity: Any, rate: Any, volatility: Any) -> Any:
        spread = volatility * numpy.sqrt(maturity)
        upper = (numpy.log(spot / STRIKE) + (rate + volatility * volatility / 2) * maturity) / spread
        return spot * normal(upper) - STRIKE * numpy.exp(-rate * maturity) * normal(upper - spread)

    return call


def greeks(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform or JAX for price, delta, gamma, theta, rho, vega: backwards, and along the spot price forwards."""
    call = price(numpy, library.scipy.special.erf)

    def all_of_them(spot: Any, maturity: Any, rate: Any, volatility: Any) -> Any:
        def first_order(spot: Any) -> Any:
            value, pull = library.vjp(call, spot, maturity, rate, volatility)
            return (value, *pull(numpy.ones_like(value)))

        along = (numpy.ones_like(spot),)
        (value, delta, theta, rho, vega), (_, gamma, *_) = library.jvp(first_order, (spot,), along)
        return value, delta, gamma, -theta, rho, vega

    return all_of_them


def with_torch(torch: Any) -> Callable[..., Any]:
    """Ask torch's tape, twice."""
    call = price(torch, torch.erf)

    def all_of_them(*given: Any) -> Any:
        leaves = [operand.detach().requires_grad_() for operand in given]
        value = call(*leaves)
        delta, theta, rho, vega = torch.autograd.grad(value.sum(), leaves, create_graph=True)
        (gamma,) = torch.autograd.grad(delta.sum(), leaves[0])
        return tuple(result.detach() for result in (value, delta, gamma, -theta, rho, vega))

    return all_of_them


def with_torch_transforms(torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    call = price(torch, torch.erf)

    def value_of(*given: Any) -> Any:
        value = call(*given)
        return value.sum(), value

    def delta_of(*given: Any) -> Any:
        (delta, *rest), value = torch.func.grad(value_of, argnums=(0, 1, 2, 3), has_aux=True)(*given)
        return delta.sum(), (value, delta, *rest)

    def all_of_them(*given: Any) -> Any:
        gamma, (value, delta, theta, rho, vega) = torch.func.grad(delta_of, has_aux=True)(*given)
        return value, delta, gamma, -theta, rho, vega

    return all_of_them


def with_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor, going back twice."""
    call = price(tensor, tensor.erf)

    def all_of_them(*given: Any) -> Any:
        value = call(*given)
        delta, theta, rho, vega = pytensor.grad(value.sum(), list(given))
        return value, delta, pytensor.grad(delta.sum(), given[0]), -theta, rho, vega

    return all_of_them


def with_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop for Numba, with the Greeks of the textbook."""

    def all_of_them(spot: Any, maturity: Any, rate: Any, volatility: Any) -> Any:
        price, delta, gamma = np.empty_like(spot), np.empty_like(spot), np.empty_like(spot)
        theta, rho, vega = np.empty_like(spot), np.empty_like(spot), np.empty_like(spot)
        for i in numba.prange(spot.size):
            root = math.sqrt(maturity[i])
            spread = volatility[i] * root
            upper = (math.log(spot[i] / STRIKE) + (rate[i] + volatility[i] * volatility[i] / 2) * maturity[i]) / spread
            density = math.exp(-upper * upper / 2) / math.sqrt(2 * math.pi)
            discounted = STRIKE * math.exp(-rate[i] * maturity[i])
            above = 0.5 * (1 + math.erf(upper * 0.5**0.5))
            below = 0.5 * (1 + math.erf((upper - spread) * 0.5**0.5))
            price[i] = spot[i] * above - discounted * below
            delta[i] = above
            gamma[i] = density / (spot[i] * spread)
            theta[i] = -spot[i] * density * volatility[i] / (2 * root) - rate[i] * discounted * below
            rho[i] = maturity[i] * discounted * below
            vega[i] = spot[i] * density * root
        return price, delta, gamma, theta, rho, vega

    return njit(all_of_them)


def by_hand(spot: np.ndarray, maturity: np.ndarray, rate: np.ndarray, volatility: np.ndarray) -> tuple[np.ndarray, ...]:
    """Write the Greeks as the textbook does."""
    from scipy.special import ndtr

    root = np.sqrt(maturity)
    upper = (np.log(spot / STRIKE) + (rate + volatility**2 / 2) * maturity) / (volatility * root)
    lower = upper - volatility * root
    density = np.exp(-(upper**2) / 2) / np.sqrt(2 * np.pi)
    discounted = STRIKE * np.exp(-rate * maturity)
    return (
        spot * ndtr(upper) - discounted * ndtr(lower),
        ndtr(upper),
        density / (spot * volatility * root),
        -spot * density * volatility / (2 * root) - rate * discounted * ndtr(lower),
        maturity * discounted * ndtr(lower),
        spot * density * root,
    )


NATIVE = with_native("black_scholes", "black_scholes", operands, lambda count: (count,), lambda count: ((count,),) * 6)
LISTED = contenders(
    operands,
    both=greeks,
    torch=with_torch,
    torch_compiled=with_torch_transforms,
    numba=with_numba,
    pytensor=with_pytensor,
    by_hand=by_hand,
    native=NATIVE,
)
WORKLOAD = Workload(
    name="black_scholes",
    title="Black-Scholes, price and five Greeks",
    sizes=SIZES,
    growth=(100, 10_000, 100_000),
    fused=True,
    # A logarithm, two exponentials, two error functions and their derivatives; roots and quotients count once.
    flops=lambda size: (7 * ELEMENTARY + 80) * size,
    contenders=LISTED,
    expected=lambda count: by_hand(*operands(count)),
    promises=promises(LISTED, SIZES, jax=6, compiled=1.2),
    relative_tolerance=1e-9,
    # A price is the difference of two terms of the size of the strike.
    absolute_tolerance=1e-10,
)
