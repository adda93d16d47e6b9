"""Long modules are cut into several; nests that are alike share their functions."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import compile as compiler
from gradxform.backend.partition import partition
from gradxform.errors import CompileError


def layers(count: int) -> Any:
    """A function of a (4, 5) array and weights (count, 5, 5) whose steps differ in their data alone."""

    def apply(x: Any, weights: Any) -> Any:
        for layer in range(count):
            x = np.tanh(x @ weights[layer]) / np.sqrt(1.0 + np.sum(x * x, axis=1, keepdims=True))
        return x

    return apply


def by_hand(x: Any, weights: Any) -> Any:
    for weight in weights:
        x = np.tanh(x @ weight) / np.sqrt(1.0 + np.sum(x * x, axis=1, keepdims=True))
    return x


def operands(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 5)), rng.normal(size=(count, 5, 5))


def defined(text: str) -> list[str]:
    return re.findall(r"^define [^\n]*?@([\w.]+)\(", text, re.MULTILINE)


@pytest.fixture(scope="module")
def long_text() -> str:
    """The module of a program whose gradient has many nests, elementary functions among them."""
    loss = gx.grad(lambda w, x: np.sum(np.sin(layers(12)(x, w)) ** 2))
    x, weights = operands(12)
    return gx.jit(loss).lower(weights, x).llvm


def test_each_piece_is_a_module_and_each_nest_is_in_one(long_text: str) -> None:
    pieces = partition(long_text)
    assert len(pieces) > 1
    names = [name for piece in pieces for name in defined(piece.text)]
    wanted = set(defined(long_text))
    nests = [name for name in names if re.match(r"nest\d+(\.part\d+)?$", name)]
    assert set(names) <= wanted
    assert len(set(nests)) == len(nests)
    assert {name for name in wanted if name.startswith(("nest", "kernel", "entry"))} <= set(names)
    for piece in pieces:
        compiler._parse(piece.text, compiler._llvm().create_context()).verify()
    assert [piece.plain for piece in pieces] == [True, *[False] * (len(pieces) - 1)]
    assert "entry" in defined(pieces[0].text) and "kernel" in defined(pieces[1].text)
    assert "optnone" not in "".join(piece.text for piece in pieces[1:])


def test_the_cut_depends_on_the_text_alone(long_text: str) -> None:
    with gx.config.override(num_threads=1):
        alone = partition(long_text)
    assert alone == partition(long_text)


def test_short_modules_stay_whole() -> None:
    text = gx.jit(lambda x: np.sin(x) * 2.0).lower(np.ones(8)).llvm
    assert partition(text) == [(text, False)]


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_are_linked_to_one_kernel(threads: int) -> None:
    x, weights = operands(12)
    direction = np.random.default_rng(1).normal(size=weights.shape)
    with gx.config.override(num_threads=threads):
        value, gradient = gx.jit(gx.value_and_grad(lambda w, x: np.sum(np.sin(layers(12)(x, w)) ** 2)))(weights, x)
    complex_step = np.sum(np.sin(by_hand(x, weights + 1e-30j * direction)) ** 2)
    np.testing.assert_allclose(value, complex_step.real, rtol=1e-12)
    np.testing.assert_allclose(np.sum(gradient * direction), complex_step.imag / 1e-30, rtol=1e-11)


def test_results_are_the_same_bits_with_one_thread_and_two() -> None:
    loss = gx.value_and_grad(lambda w, x: np.sum(np.sin(layers(12)(x, w)) ** 2))
    x, weights = operands(12)
    found = []
    for threads in (1, 2):
        with gx.config.override(num_threads=threads):
            found.append(gx.jit(loss)(weights, x))
    for one, two in zip(*found, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def test_pieces_are_found_on_disk(tmp_path: Any) -> None:
    x, weights = operands(12)

    def loss(w: Any, x: Any) -> Any:
        return np.sum(np.sin(layers(12)(x, w)) ** 2)

    with gx.config.override(cache_dir=str(tmp_path)):
        cold = gx.jit(gx.grad(loss))(weights, x)
        hits = gx.cache.info().hits
        warm = gx.jit(gx.grad(loss))(weights, x)
        assert gx.cache.info().hits > hits
    assert cold.tobytes() == warm.tobytes()


def settling(x: Any) -> Any:
    for _ in range(6):
        x = np.tanh(x) + 0.01 * np.sum(x * x)
    return x


def test_nests_that_differ_in_names_share_a_function() -> None:
    x = np.linspace(-1.0, 1.0, 35).reshape(7, 5)
    lowered = gx.jit(settling).lower(x)
    functions = re.findall(r"^define internal i1 @nest\d+\(", lowered.llvm, re.MULTILINE)
    assert len(functions) < len(lowered.loops.nests)
    np.testing.assert_allclose(gx.jit(settling)(x), settling(x), rtol=1e-14)


def test_nests_with_other_constants_do_not_share() -> None:
    def scaled(x: Any) -> Any:
        for factor in (2.0, 3.0, 5.0):
            x = np.sum(x * factor, axis=0) + x
        return x

    x = np.arange(12.0).reshape(4, 3)
    expected = x
    for factor in (2.0, 3.0, 5.0):
        expected = np.sum(expected * factor, axis=0) + expected
    np.testing.assert_array_equal(gx.jit(scaled)(x), expected)


def test_arguments_outside_the_fast_range_are_met_in_every_copy() -> None:
    # Each step is a nest with a careful twin; one value is beyond the range of the fast sine.
    def steps(x: Any) -> Any:
        for _ in range(4):
            x = np.sin(x) + np.sum(np.sin(x * 1e9), axis=0)
        return x

    x = np.linspace(1.0, 3e12, 12).reshape(4, 3)
    expected = x
    for _ in range(4):
        expected = np.sin(expected) + np.sum(np.sin(expected * 1e9), axis=0)
    np.testing.assert_allclose(gx.jit(steps)(x)[:, 0], expected[:, 0], rtol=0, atol=1e-5)


def test_a_piece_that_is_wrong_is_an_error() -> None:
    with pytest.raises(CompileError):
        compiler.compile_texts(["define void @f() {\n ret void\n}", "nonsense"], [compiler.Tier.STRAIGHT] * 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_during_compilation_compiles() -> None:
    text = gx.jit(layers(12)).lower(*operands(12)).llvm
    busy = threading.Thread(target=lambda: [compiler.compile_text(text, compiler.Tier.LOOPS) for _ in range(3)])
    busy.start()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                compiler.compile_texts(["define void @f() {\n ret void\n}"] * 3, [compiler.Tier.STRAIGHT] * 3)
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    busy.join()
