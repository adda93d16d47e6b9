"""Rows that are stored element by element: which loops turn them from columns, and that every element arrives in its place."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

import gradxform as gx
from gradxform.backend.stream_text import cache_bytes
from gradxform.backend.turn_text import SQUARE, turn_text
from gradxform.config import config


def turns(function, *args) -> bool:
    return "call void @gx.memory.turn" in gx.jit(function).lower(*args).llvm


def energy(x):
    return np.sin(x[0] * x[1]) * np.exp(-x[2] * x[2]) + x[3] * np.sum(x * x)


def hessian(x):
    """That of ``energy`` at one point, on paper."""
    a, b, c, d = x
    sine, cosine, bell = np.sin(a * b), np.cos(a * b), np.exp(-c * c)
    found = np.zeros((4, 4))
    found[0, 0], found[1, 1], found[0, 1] = -b * b * sine * bell, -a * a * sine * bell, (cosine - a * b * sine) * bell
    found[0, 2], found[1, 2] = -2 * c * b * cosine * bell, -2 * c * a * cosine * bell
    found[2, 2] = (4 * c * c - 2) * sine * bell
    found = found + np.triu(found, 1).T + 2 * d * np.eye(4)
    found[3] += 2 * x
    found[:, 3] += 2 * x
    return found


@pytest.mark.parametrize("count", [16, 17, 63, 64, 65, 1000])
def test_hessians_of_points(count: int) -> None:
    x = np.random.default_rng(count).normal(size=(count, 4))
    f = gx.vmap(gx.hessian(energy))
    assert turns(f, x)
    np.testing.assert_allclose(gx.jit(f)(x), [hessian(point) for point in x], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_dtypes(dtype: type) -> None:
    x = (np.arange(3 * 37).reshape(37, 3) % 11).astype(dtype)

    def f(x):
        return x[:, :, None] * x[:, None, :] + x[:, :, None]

    expected = f(x)
    assert turns(f, x)
    found = gx.jit(f)(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


def test_some_columns_of_longer_rows() -> None:
    x = np.random.default_rng(2).normal(size=(50, 3))

    def f(x):
        return np.concatenate([np.stack([np.sin(x[:, i] * (j + 1)) for i in range(3) for j in range(4)], axis=1),
                               np.broadcast_to(np.cumsum(x[:, 0])[:, None], (50, 20))], axis=1)

    np.testing.assert_allclose(gx.jit(f)(x), f(x), rtol=1e-14, atol=1e-15)


def test_rows_within_an_outer_loop() -> None:
    x = np.random.default_rng(3).normal(size=(5, 40, 4))
    f = gx.vmap(gx.vmap(gx.hessian(energy)))
    np.testing.assert_allclose(gx.jit(f)(x), [[hessian(point) for point in row] for row in x], rtol=1e-12, atol=1e-13)


def test_short_rows_and_few_of_them_stay_as_they_are() -> None:
    f = gx.vmap(gx.hessian(lambda x: np.sin(x[0] * x[1])))
    assert not turns(f, np.ones((100, 2)))
    assert not turns(gx.vmap(gx.hessian(energy)), np.ones((2 * SQUARE - 1, 4)))


def test_what_is_too_large_for_the_caches_goes_past_them() -> None:
    count = cache_bytes() // (16 * 8) + 77
    x = np.random.default_rng(4).normal(size=(count, 4))
    f = gx.jit(gx.vmap(gx.hessian(energy)))
    text = f.lower(x).llvm
    assert "call void @gx.memory.turn" in text and "call void @gx.memory.stream(" in text
    results = []
    before = config.num_threads
    for threads in (1, 2):
        config.num_threads = threads
        results.append(f(x))
    config.num_threads = before
    np.testing.assert_array_equal(*results)
    for place in (0, 1, 31, 32, 1000, count // 2, count - 78, count - 2, count - 1):
        np.testing.assert_allclose(results[0][place], hessian(x[place]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bits", [32, 64])
def test_every_element_in_its_place(bits: int) -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(turn_text(bits)), machine)
    engine.finalize_object()
    address = engine.get_function_address(f"gx.memory.turn{bits}")
    turn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 4)(address)
    dtype = np.dtype(f"i{bits // 8}")
    for lanes in (8, 32):
        for columns in (8, 9, 15, 16, 17, 36):
            source = np.arange(1, columns * lanes + 1, dtype=dtype).reshape(columns, lanes)
            for count in (0, 1, 7, 8, lanes - 1, lanes):
                for row in (columns, columns + 5):
                    target = np.zeros((lanes + 1, row), dtype)
                    turn(target.ctypes.data, source.ctypes.data, count, columns, lanes, row)
                    np.testing.assert_array_equal(target[:count, :columns], source.T[:count])
                    assert not target[count:].any() and not target[:, columns:].any()
