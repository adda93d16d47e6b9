"""Keys, integers and uniform numbers are JAX's bit for bit, most others but for rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from published import EXACT, FOLDED, ROUNDED, SEEDS, SPLIT, SPLIT_2_2, Case

import gradxform as gx
from gradxform import random
from gradxform.errors import DTypeError
from gradxform.loopir.interpreter import interpret
from gradxform.primitives.random_bits import threefry2x32

KEY = random.key(42)


def sample(case: Case) -> Any:
    name, args, kwargs = case.call
    return getattr(random, name)(KEY, *args, **kwargs)


def identity(case: Case) -> str:
    return f"{case.call[0]}-{case.dtype.__name__}"


def test_threefry_is_that_of_its_authors() -> None:
    # The known-answer test of Random123 for threefry2x32 with 20 rounds.
    vectors = (
        ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    )
    keys, counters, expected = (np.array([(words[i][0] << 32) | words[i][1] for words in vectors], np.uint64) for i in range(3))
    np.testing.assert_array_equal(threefry2x32(keys, counters), expected)
    np.testing.assert_array_equal(gx.jit(threefry2x32)(keys, counters), expected)


def test_threefry_as_a_primitive() -> None:
    key, counters = np.uint64(7), np.arange(6, dtype=np.uint64)
    expected = threefry2x32(np.full(6, key), counters)
    np.testing.assert_array_equal(threefry2x32(key, counters), expected)
    lowered = gx.jit(threefry2x32).lower(key, counters)
    np.testing.assert_array_equal(interpret(lowered.loops, [key, counters])[0], expected)
    lanes = gx.jit(gx.vmap(threefry2x32, (None, 0)))(key, counters.reshape(2, 3))
    np.testing.assert_array_equal(lanes, expected.reshape(2, 3))
    with pytest.raises(DTypeError, match="uint64"):
        threefry2x32(np.uint32(7), counters)


@pytest.mark.parametrize(("seed", "words"), SEEDS, ids=[repr(seed) for seed, _ in SEEDS])
def test_keys(seed: Any, words: list[int]) -> None:
    for found in (random.key(seed), random.PRNGKey(seed), gx.jit(random.key)(np.asarray(seed)[()])):
        assert found.dtype == np.uint32
        np.testing.assert_array_equal(found, words)


def test_split_and_fold_in() -> None:
    np.testing.assert_array_equal(random.split(KEY), SPLIT)
    np.testing.assert_array_equal(random.split(KEY, 1), SPLIT[:1])
    np.testing.assert_array_equal(random.split(KEY, (2, 2)), SPLIT_2_2)
    assert random.split(KEY, 0).shape == (0, 2)
    for data, words in FOLDED.items():
        np.testing.assert_array_equal(random.fold_in(KEY, data), words)
        np.testing.assert_array_equal(gx.jit(random.fold_in)(KEY, np.uint32(data)), words)
    np.testing.assert_array_equal(random.fold_in(KEY, np.int64(-1)), FOLDED[2**32 - 1])


@pytest.mark.parametrize("case", EXACT, ids=identity)
def test_equal_bit_for_bit(case: Case) -> None:
    found = sample(case)
    assert found.dtype == case.dtype
    np.testing.assert_array_equal(found, np.array(case.values, case.dtype))


@pytest.mark.parametrize("case", ROUNDED, ids=identity)
def test_equal_but_for_rounding(case: Case) -> None:
    found = sample(case)
    assert found.dtype == case.dtype
    # In float32 logarithms of logarithms and differences of them lose some digits, in JAX as here.
    relative, absolute = (1e-12, 1e-13) if case.dtype is np.float64 else (1e-5, 1e-6)
    np.testing.assert_allclose(found, np.array(case.values, case.dtype), rtol=relative, atol=absolute)
