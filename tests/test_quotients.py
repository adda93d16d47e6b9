"""Divisions by what a loop does not change: every bit that of NumPy's division, zeros' signs included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import compile as compiler
from gradxform.backend.generation import tier_of
from gradxform.backend.quotient_text import QUOTIENT

FRACTION = (1 << 52) - 1


def floats(sign: np.ndarray, exponent: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Doubles of the given parts."""
    sign, exponent, fraction = (part.astype(np.uint64) for part in np.broadcast_arrays(sign, exponent, fraction))
    return (sign << np.uint64(63) | exponent << np.uint64(52) | fraction & np.uint64(FRACTION)).view(np.float64)


def fractions(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Fractions, many of them all ones or zeros but for some bits at either end."""
    few = random.integers(0, 64, shape)
    ones = (1 << random.integers(0, 52, shape)) - 1
    kinds = [random.integers(0, FRACTION, shape, endpoint=True), few, FRACTION - few, ones, FRACTION ^ ones, few << 46]
    return np.choose(random.integers(0, len(kinds), shape), kinds)


def check(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare bits, but those of NaN."""
    wrong = (found.view(np.uint64) != expected.view(np.uint64)) & ~(np.isnan(found) & np.isnan(expected))
    assert not wrong.any(), (found[wrong][:5], expected[wrong][:5])


@pytest.fixture(scope="module")
def divide() -> Callable[..., np.ndarray]:
    return gx.jit(lambda x, d: x / d[:, None])


@pytest.mark.parametrize("spread", [2, 400, 2048])
def test_bits_are_those_of_division(divide, spread):
    random = np.random.default_rng(spread)
    low, high = max(1023 - spread, 0), min(1023 + spread, 2047)
    divisors = floats(random.integers(0, 2, 256), random.integers(low, high, 256, endpoint=True), fractions(random, (256,)))
    shape = (256, 1003)
    x = floats(random.integers(0, 2, shape), random.integers(low, high, shape, endpoint=True), fractions(random, shape))
    with np.errstate(all="ignore"):
        check(divide(x, divisors), x / divisors[:, None])


def test_quotients_near_the_middle_of_two_numbers(divide):
    random = np.random.default_rng(1)
    divisors = floats(np.zeros(256), np.full(256, 1023), fractions(random, (256,)))
    middle = floats(np.zeros((256, 1003)), np.array(1023), fractions(random, (256, 1003))).astype(np.longdouble) + 2.0**-53
    x = (middle * divisors[:, None]).astype(np.float64)
    x = (x.view(np.uint64) + random.integers(0, 3, x.shape).astype(np.uint64) - np.uint64(1)).view(np.float64)
    check(divide(x, divisors), x / divisors[:, None])


def test_quotients_at_the_ends_of_the_range(divide):
    random = np.random.default_rng(2)
    exponents = random.integers(1023 - 402, 1023 + 402, 256)
    divisors = floats(random.integers(0, 2, 256), exponents, fractions(random, (256,)))
    ends = np.array([-1076, -1075, -1074, -1073, -1023, -1022, -1021, -512, -511, -510, 511, 512, 513, 514, 1022, 1023, 1024])
    shape = (256, 1003)
    x = floats(random.integers(0, 2, shape), np.clip(exponents[:, None] + random.choice(ends, shape), 0, 2046),
               fractions(random, shape))
    with np.errstate(all="ignore"):
        check(divide(x, divisors), x / divisors[:, None])


def test_zeros_infinities_and_nan(divide):
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 2.0**-1022, 1.7e308, -1.7e308, 1.0, -3.0, 7.0])
    for lonely in (False, True):
        x = np.ones((special.size, 100)) if lonely else np.zeros((special.size, 100))
        x[:, 37:37 + special.size] = special
        with np.errstate(all="ignore"):
            check(divide(x, special), x / special[:, None])


@pytest.mark.parametrize("constant", [3.0, -3.0, 10.0, 0.1, -1e300, 1e-320, float("inf"), 0.0, float("nan"), 1.0 + 2.0**-52])
def test_constants(constant):
    random = np.random.default_rng(3)
    x = np.concatenate([random.standard_normal(1000), [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 1.7e308]])
    with np.errstate(all="ignore"):
        check(gx.jit(lambda x: x / constant)(x), x / constant)


def test_sums_and_several_divisors():
    random = np.random.default_rng(4)
    x, a = random.standard_normal((40, 300)), random.uniform(0.5, 2, (40, 1))

    def function(x, a):
        unit = x / gx.numpy.sqrt((x * x).sum(axis=1, keepdims=True))
        return unit, (unit / a).sum(axis=0), (gx.numpy.sin(x * 1e9) / a) / 3

    unit = x / np.sqrt((x * x).sum(axis=1, keepdims=True))
    expected = unit, (unit / a).sum(axis=0), np.sin(x * 1e9) / a / 3
    for one, other in zip(gx.jit(function)(x, a), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_the_divider_is_out_of_the_loop():
    stages = gx.jit(lambda x, d: x / d[:, None]).lower(np.ones((64, 1024)), np.ones(64))
    assert f"call double @{QUOTIENT}(" in stages.llvm
    optimised = compiler.optimised_text(stages.llvm, tier_of(stages.loops))
    calls = [line for line in optimised.splitlines() if " call " in line]
    assert not any(QUOTIENT in line for line in calls) and any("@llvm.fma.v" in line for line in calls)


@pytest.mark.parametrize(
    "constant", [3.0, -3.0, 10.0, 7 * 2.0**300, 7 * 2.0**401, 2.0**40 - 1, -(2.0**39 + 1) / 2**200, 0.1, 5e-324])
def test_constants_in_loops_in_order(constant):
    random = np.random.default_rng(5)
    tiny = np.array([0.0, -0.0, 5e-324, -1e-310, 2.0**-511, 2.0**-512])
    huge = np.array([2.0**512, 2.0**513, 1.7e308, np.inf, np.nan])
    middle = (floats(np.zeros(500), np.array(1023), fractions(random, (500,))).astype(np.longdouble) + 2.0**-53) * abs(constant)
    x = np.concatenate([random.standard_normal(500), middle.astype(np.float64), tiny, -tiny, huge, -huge])

    def step(before, one):
        # What comes after waits for what came before.
        quotient = (one + before * 0.0) / constant
        return gx.numpy.where(gx.numpy.isfinite(quotient), quotient, 0.0) * 0.0, quotient

    with np.errstate(all="ignore"):
        expected = (x + 0.0 * np.where(np.isfinite(x), x, 0.0)) / constant
    found = gx.jit(lambda x: gx.lax.scan(step, 0.0, x)[1])(x)
    nonzero = expected != 0
    check(found[nonzero], expected[nonzero])
    np.testing.assert_array_equal(found[~nonzero], expected[~nonzero])


def test_zeros_in_loops_in_order():
    stages = gx.jit(lambda x: gx.lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] / 3.0, s[1] + 1), (x, 0))[0])
    for x in (0.0, -0.0, 1.0, -7.5, 5e-324, 1e-323, np.inf, -np.inf):
        check(np.asarray(stages(x)), np.asarray(np.float64(x) / 3.0 / 3.0 / 3.0))
