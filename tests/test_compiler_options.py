"""jit's compiler_options: what is refused, and what fast_math may change."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import gradxform as gx
from gradxform.errors import ArgumentError, ArgumentTypeError

FAST = {"fast_math": True}


def quotients(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Products and quotients by what stays, by a constant and by an element."""
    return 3.0 * (x * 7.0) / d[0] / 3.0 * (x / d)


def newton(a: np.ndarray) -> np.ndarray:
    """A cube root, with a division by a constant in each step."""
    return gx.lax.fori_loop(0, 40, lambda _, x: x - (x - a / (x * x)) / 3.0, a)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fast_math_is_near(dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=1003).astype(dtype), (rng.normal(size=1003) + 3).astype(dtype)
    wide = [item.astype(np.longdouble) for item in (x, d)]
    expected = 21 * wide[0] * wide[0] / (wide[1] * wide[1][0] * 3)
    found = gx.jit(quotients, compiler_options=FAST)(x, d)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.longdouble), expected, rtol=6 * np.finfo(dtype).eps)


def test_fast_math_changes_what_is_compiled_and_the_default_does_not() -> None:
    x = np.linspace(0.1, 10, 100)
    plain, fast = gx.jit(newton), gx.jit(newton, compiler_options=FAST)
    same = gx.jit(newton, compiler_options={"fast_math": False})
    assert "arcp" in fast.lower(2.0).llvm and "arcp" not in plain.lower(2.0).llvm
    assert plain.lower(2.0).llvm == same.lower(2.0).llvm == gx.jit(newton, compiler_options={}).lower(2.0).llvm
    # Code of the one is not taken for the other, neither in memory nor from the disk.
    exact = np.array([newton(item) for item in x])
    for _ in range(2):
        for function in (plain, same):
            assert np.array_equal([function(item) for item in x], exact)
        np.testing.assert_allclose([fast(item) for item in x], np.cbrt(x), rtol=1e-15)
        gx.cache.clear()


def test_sums_and_elementary_functions_stay_exact() -> None:
    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = x + 1e8
        return (total - 1e8) - x, np.log1p(np.exp(x)) - np.tanh(x)

    x = np.linspace(-1, 1, 501)
    for found, expected in zip(gx.jit(parts, compiler_options=FAST)(x), gx.jit(parts)(x), strict=True):
        assert np.array_equal(found, expected)
    text = gx.jit(parts, compiler_options=FAST).lower(x).llvm
    assert not re.search("f(add|sub) [a-z ]*reassoc", text)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_infinities_and_nan_are_honoured(bad: float) -> None:
    x, d = np.array([bad, 1.0, bad, 0.0, -2.0, 3.0]), np.array([2.0, bad, bad, 0.0, 0.0, 4.0])
    fast, plain = gx.jit(lambda x, d: (x / d, x * d / 3.0, np.isnan(x / d)), compiler_options=FAST), gx.jit(
        lambda x, d: (x / d, x * d / 3.0, np.isnan(x / d)))
    for found, expected in zip(fast(x, d), plain(x, d), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_derivatives_and_random_numbers() -> None:
    x = np.linspace(0.5, 4, 9)
    slopes = gx.jit(gx.vmap(gx.grad(newton)), compiler_options=FAST)(x)
    np.testing.assert_allclose(slopes, np.cbrt(x) / (3 * x), rtol=1e-12)
    key = gx.random.key(3)

    def draws(key: np.ndarray) -> tuple[np.ndarray, ...]:
        return gx.random.uniform(key, (999,)), gx.random.randint(key, (999,), -5, 1000), gx.random.normal(key, (999,))

    uniform, integers, normal = gx.jit(draws, compiler_options=FAST)(key)
    assert np.array_equal(uniform, draws(key)[0]) and np.array_equal(integers, draws(key)[1])
    np.testing.assert_allclose(normal, draws(key)[2], rtol=1e-15)


def test_the_outermost_options_hold() -> None:
    inner = gx.jit(newton, compiler_options=FAST)
    assert "arcp" not in gx.jit(lambda a: inner(a) + 1.0).lower(2.0).llvm
    assert "arcp" in gx.jit(lambda a: gx.jit(newton)(a) + 1.0, compiler_options=FAST).lower(2.0).llvm


def test_decorated_copied_and_pickled() -> None:
    @gx.jit(compiler_options=FAST)
    def third(x: float) -> float:
        return x / 3.0

    assert third(6.0) == 2.0 and "arcp" in third.lower(1.0).llvm
    made = gx.jit(newton, compiler_options=FAST)
    for other in (copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert "arcp" in other.lower(1.0).llvm


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"jit of newton: compiler_options names 'xla_cpu', .* only \"fast_math\""):
        gx.jit(newton, compiler_options={"xla_cpu": True})
    with pytest.raises(ArgumentTypeError, match=r"must be a dict such as .*, got 'fast_math' of type str"):
        gx.jit(newton, compiler_options="fast_math")
    with pytest.raises(ArgumentTypeError, match=r"\"fast_math\" must be True or False, got 1"):
        gx.jit(newton, compiler_options={"fast_math": 1})
