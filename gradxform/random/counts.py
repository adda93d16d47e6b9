"""Discrete distributions of counts: Poisson, binomial, geometric, multinomial. Their derivatives are zero.

The algorithms and the order in which keys are split are JAX's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform import lax
from gradxform import numpy as gnp
from gradxform.core import Tracer, dtype_of, shape_of, type_of
from gradxform.dtypes import DType, float32, float64
from gradxform.operands import as_operand, cast
from gradxform.primitives.logic import stop_gradient
from gradxform.primitives.random_bits import threefry2x32
from gradxform.primitives.shape import pad, reshape, slice_along
from gradxform.random.calling import checked_key, compiled, extents, float_dtype, integer_dtype, parameters
from gradxform.random.rejection import over_lanes, repeated, sampled
from gradxform.random.streams import Shape, counters, fraction, pack, subkeys, unit

#: Lanes that go through a loop together, until the last of them is done: few enough to stay in the nearest caches.
_LANES = 1024
#: Where the algorithms of Poisson numbers of small and of large rates meet, and those of binomial numbers.
_SMALL_RATE = 10.0


def _in_blocks(rows: Callable[..., Any], shape: Shape, *operands: Any) -> Any:
    """``rows(counter, *operands)`` of blocks of samples, one block after the other."""
    size = math.prod(shape)
    flat = [reshape(x, (size,)) for x in (counters(shape), *(gnp.broadcast_to(x, shape) for x in operands))]
    if size <= _LANES:
        return reshape(rows(*flat), shape)
    blocks = -(-size // _LANES)
    missing = (blocks * _LANES - size,)
    padded = [reshape(pad(x, dtype_of(x).type(0), (0,), missing, (0,)), (blocks, _LANES)) for x in flat]
    found = lax.map(lambda block: rows(*block), tuple(padded))
    return reshape(slice_along(reshape(found, (blocks * _LANES,)), 0, 0, size), shape)


def _parts_needed(use_first: Any) -> tuple[bool, bool]:
    """Which of two algorithms are needed: both, unless it is known which samples each is for."""
    if isinstance(use_first, Tracer):
        return True, True
    if not shape_of(use_first):
        return bool(use_first), not use_first
    second = not np.all(use_first)
    return bool(np.any(use_first)) or not second, second


def _merged(first: Any, second: Any, use_first: Any) -> Any:
    return first if second is None else second if first is None else gnp.where(use_first, first, second)


#: What Stirling's formula for log(k!) leaves, for k up to 9.
_STIRLING = np.array([
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
])


def _stirling_tail(k: Any) -> Any:
    number = dtype_of(k).type
    within = gnp.minimum(gnp.maximum(k, number(0)), number(9))
    square = (k + number(1)) * (k + number(1))
    series = (number(1 / 12) - (number(1 / 360) - number(1 / 1260) / square) / square) / (k + number(1))
    table = gnp.take(_STIRLING.astype(dtype_of(k)), cast(gnp.floor(within), np.dtype(np.int32)))
    return gnp.where(k <= 9, table, series)


def _log_factorial(k: Any) -> Any:
    """log(k!) for whole k >= 0."""
    number = dtype_of(k).type
    formula = (k + number(0.5)) * gnp.log(k + number(1)) - (k + number(1)) + number(0.5 * math.log(2 * math.pi))
    return formula + _stirling_tail(k)


# ------------------------------------------------------------------------------------------------------------- Poisson


def _poisson_small(key: Any, rate: Any, shape: Shape) -> Any:
    """D. E. Knuth, TAOCP 2, 3.4.1: how many uniform numbers may be multiplied until the product is below exp(-rate)."""
    dtype = dtype_of(rate)

    def rows(counter: Any, rate: Any) -> Any:
        def body(carry: Any) -> Any:
            chain, count, product = carry
            chain, subkey = subkeys(chain, 2)
            count = count + (product > -rate)
            return chain, count, product + gnp.log(fraction(threefry2x32(subkey, counter), dtype))

        zeros = gnp.zeros(shape_of(rate), dtype)
        start = (key, zeros, zeros)
        return lax.while_loop(lambda carry: gnp.any(carry[2] > -rate), body, start)[1] - 1

    return _in_blocks(rows, shape, rate)


def _poisson_attempt(state: tuple[Any, ...], key: Any, counter: Any, rate: Any) -> tuple[Any, ...]:
    """W. Hörmann, "The transformed rejection method for generating Poisson random variables", 1993: PTRS."""
    _, chain, _ = state
    dtype = dtype_of(rate)
    number = dtype.type
    chain, first, second = subkeys(chain, 3)
    # Samples of the other algorithm, and NaN, take part with a harmless rate and are not looked at again.
    active = rate >= number(_SMALL_RATE)
    rate = gnp.where(active, rate, number(1e4))
    b = number(0.931) + number(2.53) * gnp.sqrt(rate)
    a = number(-0.059) + number(0.02483) * b
    u = fraction(threefry2x32(first, counter), dtype) - number(0.5)
    v = fraction(threefry2x32(second, counter), dtype)
    shifted = number(0.5) - gnp.abs(u)
    k = gnp.floor((number(2) * a / shifted + b) * u + rate + number(0.43))
    inside = (shifted >= number(0.07)) & (v <= number(0.9277) - number(3.6224) / (b - number(2)))
    outside = (k < 0) | ((shifted < number(0.013)) & (v > shifted))
    inverse = number(1.1239) + number(1.1328) / (b - number(3.4))
    bound = k * gnp.log(rate) - rate - _log_factorial(gnp.maximum(k, number(0)))
    below = gnp.log(v * inverse / (a / (shifted * shifted) + b)) <= bound
    accepted = inside | (~outside & below)
    return active & ~accepted, chain, k


def _poisson_start(key: Any, counter: Any, rate: Any) -> tuple[Any, ...]:
    return np.True_, key, rate


_poisson_rows = over_lanes(
    lambda key, counter, rate: repeated(_poisson_start, _poisson_attempt, lambda state: state[2], (key, counter, rate)))


@compiled(static=4)
def _poisson(key: Any, rate: Any, shape: Shape, dtype: DType, small: bool, large: bool) -> Any:
    key, rate = pack(key), stop_gradient(rate)
    use_first = ~(rate >= _SMALL_RATE)
    few = _poisson_small(key, gnp.where(use_first, rate, dtype_of(rate).type(0)), shape) if small else None
    many = sampled(_poisson_rows, shape, key, counters(shape), rate) if large else None
    return cast(gnp.where(rate == 0, dtype_of(rate).type(0), _merged(few, many, use_first)), dtype)


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Poisson numbers: k with probability lam**k * exp(-lam) / k!

    A rate that is negative or NaN gives -1. The derivative in ``lam`` is zero.

    Args:
        key: a key.
        lam: the rate. If it is float32, so is the arithmetic, and the numbers are those of JAX, which always does that.
        shape: the shape of the samples; that of ``lam`` if None.
        dtype: an integer dtype; int64 if None.

    >>> from gradxform.random import key
    >>> poisson(key(0), 3.0, (5,))
    array([2, 3, 1, 4, 5])
    """
    found, (wanted, (rate,)) = integer_dtype("poisson", dtype), parameters("poisson", shape, lam)
    rate = cast(rate, float32 if type_of(rate).dtype == float32 else float64)
    small, large = _parts_needed(~(rate >= _SMALL_RATE)) if not isinstance(rate, Tracer) else (True, True)
    return _poisson(checked_key("poisson", key), rate, wanted, found, small, large)


# ------------------------------------------------------------------------------------------------------------ binomial


def _binomial_small(key: Any, count: Any, probability: Any, shape: Shape) -> Any:
    """How many geometric numbers, the trials up to each success, are needed to go beyond ``count`` (L. Devroye, 1986)."""
    dtype = dtype_of(probability)

    def rows(counter: Any, count: Any, probability: Any) -> Any:
        logarithm = gnp.log1p(-probability)

        def body(carry: Any) -> Any:
            chain, successes, trials = carry
            subkey, chain = subkeys(chain, 2)
            successes = successes + (trials <= count)
            trials = trials + gnp.ceil(gnp.log(fraction(threefry2x32(subkey, counter), dtype)) / logarithm)
            return chain, successes, trials

        zeros = gnp.zeros(shape_of(count), dtype)
        return lax.while_loop(lambda carry: gnp.any(carry[2] <= count), body, (key, zeros, zeros))[1] - 1

    return _in_blocks(rows, shape, count, probability)


def _binomial_attempt(state: tuple[Any, ...], key: Any, counter: Any, count: Any, probability: Any) -> tuple[Any, ...]:
    """W. Hörmann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46 (1993) 101: BTRS."""
    _, chain, _ = state
    dtype = dtype_of(probability)
    number = dtype.type
    one, half = number(1), number(0.5)
    chain, first, second = subkeys(chain, 3)
    # Samples of the other algorithm take part with harmless numbers.
    active = count * probability > number(_SMALL_RATE)
    count, probability = gnp.where(active, count, number(1e4)), gnp.where(active, probability, half)
    deviation = gnp.sqrt(count * probability * (one - probability))
    b = number(1.15) + number(2.53) * deviation
    a = number(-0.0873) + number(0.0248) * b + number(0.01) * probability
    ratio = probability / (one - probability)
    mode = gnp.floor((count + one) * probability)
    u = fraction(threefry2x32(first, counter), dtype) - half
    v = fraction(threefry2x32(second, counter), dtype)
    shifted = half - gnp.abs(u)
    inside = (shifted >= number(0.07)) & (v <= number(0.92) - number(4.2) / b)
    k = gnp.floor((number(2) * a / shifted + b) * u + (count * probability + half))
    outside = (k < 0) | (k > count)
    # Outside there is no logarithm.
    safe = gnp.where(outside, mode, k)
    alpha = (number(2.83) + number(5.1) / b) * deviation
    bound = (
        (mode + half) * gnp.log((mode + one) / (ratio * (count - mode + one)))
        + (count + one) * gnp.log((count - mode + one) / (count - safe + one))
        + (safe + half) * gnp.log(ratio * (count - safe + one) / (safe + one))
        + _stirling_tail(mode) + _stirling_tail(count - mode) - _stirling_tail(safe) - _stirling_tail(count - safe))
    below = gnp.log(v * alpha / (a / (shifted * shifted) + b)) <= bound
    return active & ~(inside | (~outside & below)), chain, k


def _binomial_start(key: Any, counter: Any, count: Any, probability: Any) -> tuple[Any, ...]:
    return np.True_, key, count


_binomial_rows = over_lanes(
    lambda *operands: repeated(_binomial_start, _binomial_attempt, lambda state: state[2], operands))


def _binomial_numbers(
    key: Any, count: Any, probability: Any, shape: Shape, dtype: DType, small: bool = True, large: bool = True
) -> Any:
    """Binomial numbers of a packed key; ``count`` and ``probability`` of one dtype."""
    number = dtype_of(probability).type
    count, probability = stop_gradient(count), stop_gradient(probability)
    rare = probability < 0.5
    rarer = gnp.where(rare, probability, number(1) - probability)
    wrong = gnp.isnan(rarer) | (rarer < 0)
    no_count = ~(count >= 0)
    endless = count == np.inf
    rarer = gnp.where(wrong, number(0.01), rarer)
    use_first = no_count | (count * rarer <= _SMALL_RATE)
    count = gnp.floor(count)
    few = _binomial_small(key, gnp.where(use_first, count, number(0)), rarer, shape) if small else None
    finite = gnp.where(use_first | endless, number(0), count)
    many = sampled(_binomial_rows, shape, key, counters(shape), finite, rarer) if large else None
    found = gnp.where(wrong | no_count, number(np.nan), gnp.where(endless, number(np.inf), _merged(few, many, use_first)))
    return cast(gnp.where(rare | no_count | wrong | endless, found, count - found), dtype)


@compiled(static=4)
def _binomial(key: Any, count: Any, probability: Any, shape: Shape, dtype: DType, small: bool, large: bool) -> Any:
    return _binomial_numbers(pack(key), count, probability, shape, dtype, small, large)


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Binomial numbers: of ``n`` independent trials, how many with probability ``p`` succeed.

    NaN where p is outside of [0, 1], or n negative or NaN. The derivatives are zero.

    Args:
        key: a key.
        n: how many trials; floats are rounded down.
        p: the probability of success.
        shape: the shape of the samples; that of the parameters if None.
        dtype: a float dtype; float64 if None.

    >>> from gradxform.random import key
    >>> binomial(key(0), 100, 0.3, (4,))
    array([22., 34., 33., 31.])
    """
    found = float_dtype("binomial", dtype)
    wanted, (count, probability) = parameters("binomial", shape, n, p)
    wide = float32 if type_of(probability).dtype == float32 else float64
    count, probability = cast(count, wide), cast(probability, wide)
    small = large = True
    if not isinstance(count, Tracer) and not isinstance(probability, Tracer):
        with np.errstate(all="ignore"):
            rarer = np.where(probability < 0.5, probability, 1 - probability)
            small, large = _parts_needed(~(count * rarer > _SMALL_RATE))
    return _binomial(checked_key("binomial", key), count, probability, wanted, found, small, large)


@compiled(static=2)
def _multinomial(key: Any, count: Any, probabilities: Any, shape: Shape, dtype: DType) -> Any:
    own = dtype_of(probabilities)
    count = gnp.broadcast_to(count, shape[:-1])
    rows = gnp.moveaxis(gnp.broadcast_to(probabilities, shape), -1, 0)
    remaining = gnp.flip(gnp.cumsum(gnp.flip(rows, 0), axis=0), 0)
    ratios = gnp.minimum(gnp.maximum(rows / gnp.where(remaining == 0, own.type(1), remaining), own.type(0)), own.type(1))
    keys = threefry2x32(pack(key), counters((shape[-1],)))

    def step(left: Any, operands: Any) -> tuple[Any, Any]:
        ratio, subkey = operands
        taken = _binomial_numbers(subkey, left, ratio, shape[:-1], own)
        return left - taken, taken

    _, found = lax.scan(step, count, (ratios, keys))
    return cast(gnp.moveaxis(found, 0, -1), dtype)


def multinomial(key: Any, n: Any, p: Any, *, shape: Any = None, dtype: Any = None, unroll: int | bool = 1) -> Any:
    """How often each of the outcomes along the last axis of ``p`` comes up in ``n`` trials.

    Args:
        key: a key.
        n: how many trials; its shape broadcasts to that of ``p`` without the last axis.
        p: the probabilities of the outcomes, which are divided by their sum.
        shape: the shape of the samples, with that axis; that of ``p`` if None.
        dtype: a dtype; float64 if None.
        unroll: is accepted and not needed.

    >>> from gradxform.random import key
    >>> multinomial(key(0), 100, [0.2, 0.3, 0.5])
    array([22., 31., 47.])
    """
    count, probabilities = as_operand("multinomial", n), as_operand("multinomial", p)
    wide = float32 if type_of(probabilities).dtype == float32 else float64
    wanted = shape_of(probabilities) if shape is None else extents("multinomial", shape)
    parameters("multinomial", wanted, probabilities)
    parameters("multinomial", wanted[:-1], count)
    found = wide if dtype is None else np.dtype(dtype)
    return _multinomial(checked_key("multinomial", key), cast(count, wide), cast(probabilities, wide), wanted, found)


# ----------------------------------------------------------------------------------------------------------- geometric


@compiled(static=2)
def _geometric(key: Any, p: Any, shape: Shape, dtype: DType) -> Any:
    fractions = unit(pack(key), shape, dtype_of(p))
    fractions = gnp.where(fractions == 0, dtype_of(p).type(1), fractions)
    return cast(gnp.floor(gnp.log(fractions) / gnp.log1p(-stop_gradient(p))) + 1, dtype)


def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Geometric numbers: how many trials it takes to the first success, which has probability ``p`` in each.

    Args:
        key: a key.
        p: the probability of success.
        shape: the shape of the samples; that of ``p`` if None.
        dtype: an integer dtype; int64 if None.
    """
    found, (wanted, (probability,)) = integer_dtype("geometric", dtype), parameters("geometric", shape, p)
    wide = float32 if type_of(probability).dtype == float32 else float64
    return _geometric(checked_key("geometric", key), cast(probability, wide), wanted, found)
