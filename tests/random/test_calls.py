"""Samplers under transforms, and what they say to wrong arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors, lax, random

KEY = random.key(3)

#: A few samples of each.
SAMPLERS: dict[str, Callable[[Any], Any]] = {
    "bits": lambda key: random.bits(key, (3,), np.uint16),
    "uniform": lambda key: random.uniform(key, (2, 3)),
    "randint": lambda key: random.randint(key, (3,), 0, 1000),
    "bernoulli": lambda key: random.bernoulli(key, np.array([0.2, 0.5, 0.8])),
    "normal": lambda key: random.normal(key, (5,)),
    "gamma": lambda key: random.gamma(key, np.array([0.3, 2.0, 7.0])),
    "loggamma": lambda key: random.loggamma(key, 0.01, (3,)),
    "poisson": lambda key: random.poisson(key, np.array([0.5, 7.0, 70.0])),
    "binomial": lambda key: random.binomial(key, np.array([5, 100, 1000]), 0.4),
    "multinomial": lambda key: random.multinomial(key, 30, np.array([0.2, 0.3, 0.5])),
    "permutation": lambda key: random.permutation(key, np.arange(12).reshape(3, 4), axis=1, independent=True),
    "choice": lambda key: random.choice(key, 9, (4,), replace=False),
    "categorical": lambda key: random.categorical(key, np.zeros(5), shape=(4,)),
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 5),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_lanes_and_jit_give_the_same_numbers(name: str) -> None:
    draw = SAMPLERS[name]
    keys = random.split(KEY, 6)
    expected = np.stack([draw(key) for key in keys])
    found = gx.jit(gx.vmap(draw))(keys)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(gx.jit(draw)(keys[0]), expected[0])


@pytest.mark.parametrize("name", ["uniform", "normal", "gamma", "poisson", "binomial", "permutation"])
def test_without_compiling(name: str) -> None:
    draw = SAMPLERS[name]
    expected = draw(KEY)
    with gx.disable_jit():
        np.testing.assert_allclose(np.asarray(draw(KEY)), expected, rtol=1e-13)
    # A derivative without jit is computed once: native code makes its samples, and they are traced arrays to it.
    value, _ = gx.jvp(lambda x: x * draw(KEY).at[0].multiply(1).astype(float), (1.0,), (1.0,))
    np.testing.assert_array_equal(value, expected)


def test_samples_do_not_depend_on_the_number_of_threads() -> None:
    draws = (lambda: random.normal(KEY, (300_000,)), lambda: random.gamma(KEY, 1.5, (300_000,)),
             lambda: random.poisson(KEY, 4.0, (300_000,)))
    before = gx.config.num_threads
    try:
        results = []
        for threads in (1, 2):
            gx.config.num_threads = threads
            results.append([draw() for draw in draws])
    finally:
        gx.config.num_threads = before
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_key_used_twice_gives_the_same_numbers() -> None:
    np.testing.assert_array_equal(random.normal(KEY, (4,)), random.normal(KEY, (4,)))
    np.testing.assert_array_equal(random.normal(random.clone(KEY), (4,)), random.normal(KEY, (4,)))


def test_a_walk_carries_its_key() -> None:
    def step(carry: Any, _: Any) -> Any:
        key, position = carry
        key, subkey = random.split(key)
        position = position + random.normal(subkey)
        return (key, position), position

    path = gx.jit(lambda key: lax.scan(step, (key, 0.0), None, length=10)[1])(KEY)
    key, position, expected = KEY, 0.0, []
    for _ in range(10):
        key, subkey = random.split(key)
        position = position + random.normal(subkey)
        expected.append(position)
    np.testing.assert_allclose(path, expected, rtol=1e-14)


def test_no_array_of_random_words_is_stored() -> None:
    loops = str(gx.jit(lambda key: gnp.sum(random.normal(key, (1000,)))).lower(KEY).loops)
    assert "threefry2x32" in loops
    assert "1000]" not in loops  # no buffer of that extent


def test_samples_of_a_key_that_is_known_are_no_constants_of_compiled_code() -> None:
    expected = random.normal(KEY, (500,))  # from now on there is native code for it
    loss = gx.jit(gx.grad(lambda scale: gnp.sum((scale * random.normal(KEY, (500,))) ** 2)))
    assert "f64[500]" not in str(loss.lower(1.0).loops).splitlines()[0]
    np.testing.assert_allclose(loss(2.0), 4 * np.sum(expected**2), rtol=1e-13)


def test_loops_are_vectorised() -> None:
    assembly = gx.jit(lambda key: random.uniform(key, (4096,))).lower(KEY).assembly
    # Rounds on whole vectors: some instruction with a vector register turns words.
    assert re.search(r"(vprold|vpslld|pslld|ushr|shl\s+v)", assembly)


def test_long_draws_of_normal_numbers_run_in_pieces() -> None:
    # Random words and the inverse error function are each as much as a processor looks ahead.
    loops = str(gx.jit(lambda key: random.normal(key, (10**6,))).lower(KEY).loops)
    block = re.search(r"for block[^\n]*\n(.*?)\n  nest|for block[^\n]*\n(.*)", loops, re.S)
    assert block is not None and block[0].count("for i") >= 2


def test_programs_name_the_sampler() -> None:
    assert "name=normal" in str(gx.jit(lambda key: random.normal(key, (2,))).lower(KEY).program)


def test_dtypes_and_shapes() -> None:
    for draw, default, other in (
        (random.uniform, np.float64, np.float32), (random.normal, np.float64, np.float32),
        (random.bits, np.uint64, np.uint8), (random.rademacher, np.int64, np.int8), (random.rademacher, np.int64, np.float32),
    ):
        assert draw(KEY, (2, 0)).shape == (2, 0)
        assert draw(KEY).shape == () and draw(KEY).dtype == default
        assert draw(KEY, 3).shape == (3,)
        assert draw(KEY, (2, 3), other).dtype == other
    assert random.gamma(KEY, np.ones((2, 1)), (5, 2, 3)).shape == (5, 2, 3)
    assert random.poisson(KEY, np.ones((2, 0))).shape == (2, 0)
    assert random.choice(KEY, np.zeros((4, 6)), (2, 3), axis=1).shape == (4, 2, 3)
    assert random.choice(KEY, np.zeros((4, 6)), (0,)).shape == (0, 6)
    assert random.permutation(KEY, 0).shape == (0,)
    assert random.double_sided_maxwell(KEY, np.zeros(3), 1.0, (2,)).shape == (2, 3)


def test_key_arrays() -> None:
    keys = random.split(KEY, (2, 3))
    assert keys.shape == (2, 3, 2)
    assert random.key_data(keys) is keys and random.key_impl(keys) == "threefry2x32"
    np.testing.assert_array_equal(random.wrap_key_data(keys, impl="threefry2x32"), keys)


def test_edges_of_parameters() -> None:
    assert random.bernoulli(KEY, np.array([-1.0, 0.0, np.nan, 1.0, 2.0])).tolist() == [False, False, False, True, True]
    assert random.poisson(KEY, np.array([0.0, -1.0, np.nan])).tolist() == [0, -1, -1]
    np.testing.assert_array_equal(random.gamma(KEY, np.array([-1.0, np.nan])), [np.nan, np.nan])
    assert random.gamma(KEY, 0.0) == 0.0
    np.testing.assert_array_equal(
        random.binomial(KEY, np.array([5, 5, -1, 7, 0, np.inf]), np.array([np.nan, -0.1, 0.5, 1.5, 0.5, 0.5])),
        [np.nan, np.nan, np.nan, np.nan, 0, np.inf])
    np.testing.assert_array_equal(random.binomial(KEY, 20, np.array([0.0, 1.0])), [0, 20])
    # Limits beyond the dtype are brought to its ends, and empty ranges give the lower one.
    assert random.randint(KEY, (1000,), -(2**40), 2**40, np.int8).min() == -128
    assert (random.randint(KEY, (10,), 5, 2) == 5).all()
    inside = random.truncated_normal(KEY, np.array([9.0, 0.0, -np.inf]), np.array([9.5, 1e-3, np.inf]), (1000, 3))
    assert (inside[:, :2] > [9.0, 0.0]).all() and (inside[:, :2] < [9.5, 1e-3]).all() and np.isfinite(inside).all()


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: random.normal(0), errors.ArgumentTypeError, "normal: expected a key, made by gradxform.random.key"),
    (lambda: random.normal(np.zeros(2)), errors.ArgumentTypeError, "dtype float64 and shape"),
    (lambda: random.normal(random.split(KEY, 3)), errors.ShapeError, "array of keys of shape .3,.: use gradxform.vmap"),
    (lambda: random.split(random.split(KEY, 3)), errors.ShapeError, "split: expected one key"),
    (lambda: random.normal(KEY, (2.5,)), errors.ArgumentTypeError, "shape must be a tuple of integers"),
    (lambda: random.normal(KEY, (-1,)), errors.ArgumentError, "must not hold negative"),
    (lambda: random.normal(KEY, (2,), np.int32), errors.DTypeError, "normal: dtype must be"),
    (lambda: random.bits(KEY, (2,), np.int32), errors.DTypeError, "unsigned"),
    (lambda: random.gamma(KEY, np.ones(3), (2,)), errors.ShapeError, "gamma: a parameter of shape .3,. does not broadcast"),
    (lambda: random.gamma(KEY, np.ones(3), (1,)), errors.ShapeError, "give the shape of the whole result"),
    (lambda: random.beta(KEY, np.ones(3), np.ones(2)), errors.ShapeError, "could not be broadcast"),
    (lambda: random.key(1.5), errors.ArgumentTypeError, "a seed is an integer"),
    (lambda: random.key(np.arange(2)), errors.ShapeError, "one seed"),
    (lambda: random.key(2**64), OverflowError, "64 bits"),
    (lambda: random.key(0, impl="rbg"), errors.ArgumentError, "threefry2x32"),
    (lambda: random.fold_in(KEY, 0.5), errors.ArgumentTypeError, "one integer"),
    (lambda: random.bernoulli(KEY, 1), errors.DTypeError, "float"),
    (lambda: random.bernoulli(KEY, mode="fine"), errors.ArgumentError, "'low', 'high'"),
    (lambda: random.choice(KEY, 3, (4,), replace=False), errors.ArgumentError, "without replacement"),
    (lambda: random.choice(KEY, 0, (4,)), errors.ArgumentError, "nothing to choose from"),
    (lambda: random.choice(KEY, 3, (4,), p=np.ones(2)), errors.ShapeError, "p must have shape"),
    (lambda: random.choice(KEY, 3, 4), errors.ArgumentTypeError, "shape must be a tuple"),
    (lambda: random.categorical(KEY, np.zeros(2), shape=(3,), replace=False), errors.ArgumentError, "3 samples"),
    (lambda: random.permutation(KEY, 2.5), errors.ArgumentTypeError, "an array or an integer"),
    (lambda: random.permutation(KEY, np.zeros((2, 2)), axis=2), errors.AxisError, "out of bounds"),
    (lambda: gx.jit(lambda n: random.permutation(KEY, n))(3), errors.ArgumentTypeError, "known while tracing"),
    (lambda: gx.jit(lambda n: random.normal(KEY, (n,)))(3), TypeError, "known while"),
    (lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(3)), errors.ShapeError, "expected a mean of shape"),
    (lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(2), method="qr"), errors.ArgumentError, "method"),
    (lambda: random.multivariate_normal(KEY, np.zeros(2), -np.eye(2)), np.linalg.LinAlgError, "."),
    (lambda: random.dirichlet(KEY, 1.0), errors.ShapeError, "last axis"),
    (lambda: random.orthogonal(KEY, 2.5), errors.ArgumentTypeError, "n must be an integer"),
    (lambda: random.wrap_key_data(np.zeros(3, np.uint32)), errors.ArgumentTypeError, "expected a key"),
])
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
