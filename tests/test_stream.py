"""Stores past the caches: what goes that way, and that every element arrives, aligned or not."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

import gradxform as gx
from gradxform.backend.stream_text import STREAM, cache_bytes
from gradxform.config import config

LENGTH = cache_bytes() // 8 + 12_345


def streams(function, *args) -> bool:
    return "call void @gx.memory.stream(" in gx.jit(function).lower(*args).llvm


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_a_large_array_goes_past_the_caches(dtype: type) -> None:
    x = (np.arange(cache_bytes() // np.dtype(dtype).itemsize + 1001) % 1000).astype(dtype)
    assert streams(lambda x: x * 3 - 1, x)
    np.testing.assert_array_equal(gx.jit(lambda x: x * 3 - 1)(x), x * 3 - 1)


def test_one_thread_and_two_store_the_same() -> None:
    x = np.linspace(-5, 5, LENGTH)
    results = []
    before = config.num_threads
    for threads in (1, 2):
        config.num_threads = threads
        results.append(gx.jit(lambda x: (np.exp(x), x * x))(x))
    config.num_threads = before
    for one, two, expected in zip(*results, (np.exp(x), x * x), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, expected, rtol=1e-15)


def test_rows_shorter_than_lines_of_blocks() -> None:
    rows = LENGTH // 1003 + 1
    x = np.arange(rows * 1003, dtype=np.float64).reshape(rows, 1003)
    shift = np.arange(1003.0)
    np.testing.assert_array_equal(gx.jit(lambda x, shift: x + shift)(x, shift), x + shift)
    centred = gx.jit(lambda x: x - np.mean(x, axis=1, keepdims=True))(x)
    np.testing.assert_allclose(centred, x - x.mean(1, keepdims=True), rtol=1e-9)


def test_parts_of_an_array() -> None:
    x = np.arange(LENGTH, dtype=np.float64)

    def update(x):
        return gx.numpy.asarray(x).at[1:-1].set(x[1:-1] * 2)

    expected = x.copy()
    expected[1:-1] *= 2
    np.testing.assert_array_equal(gx.jit(update)(x), expected)
    np.testing.assert_array_equal(gx.jit(lambda x: np.concatenate([x[3:] + 1, x[:5]]))(x), np.concatenate([x[3:] + 1, x[:5]]))


def test_small_arrays_and_long_arithmetic_stay_in_the_caches() -> None:
    assert not streams(lambda x: x * 3, np.zeros(1000))
    assert not streams(lambda x: np.exp(x) * np.sin(x) + np.log1p(x), np.zeros(LENGTH))


def test_words_before_and_behind_whole_lines() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(STREAM), machine)
    engine.finalize_object()
    address = engine.get_function_address("gx.memory.stream")
    copy = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)
    source = np.arange(1, 201, dtype=np.int32)
    for offset in (0, 1, 5, 15, 16):
        for words in (0, 1, 7, 15, 16, 17, 31, 33, 100):
            target = np.zeros(160, np.int32)
            copy(target[offset:].ctypes.data, source[3:].ctypes.data, words)
            np.testing.assert_array_equal(target[offset : offset + words], source[3 : 3 + words])
            assert not target[:offset].any() and not target[offset + words :].any()
