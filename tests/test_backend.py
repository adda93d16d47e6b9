"""jit: signatures, static arguments, inputs of every kind, errors, threads, and what its stages show."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.programs import trace
from support.tolerances import assert_close

import gradxform as gx
from gradxform import primitives as P
from gradxform.backend import liveness, nests
from gradxform.core import run
from gradxform.ir import Program, check
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import For, Kernel

X = np.array([0.5, -1.0, 2.0])
A = np.arange(12.0).reshape(3, 4) / 5 - 1.0


class Counted:
    """A function that counts how often it is traced."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.function(*args, **kwargs)


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small loops are cut into chunks."""
    monkeypatch.setattr(nests, "CHUNK_WORK", 0.5)
    with gx.config.override(parallel_threshold=1, cache_dir="off"):
        yield


# ---------------------------------------------------------------------------------------------------------- signatures


def test_one_specialisation_per_signature() -> None:
    counted = Counted(lambda x: x * 2)
    f = gx.jit(counted)
    for _ in range(3):
        for argument in (
            np.ones(3),
            np.ones(4),
            np.ones((3, 1)),
            np.ones(3, np.float32),
            np.ones(3, np.int64),
            2.0,
            2,
            True,
            np.float64(2.0),
            np.float32(2.0),
            np.int8(2),
            np.uint16(2),
        ):
            found = f(argument)
            expected = argument * 2
            assert np.asarray(found).dtype == np.asarray(expected).dtype
            np.testing.assert_array_equal(found, expected)
    assert counted.count == 12
    assert f.specialization_count > 0


@pytest.mark.parametrize("other", [1.0, np.float64(1.0), 1, np.float32(1.0), np.int32(1), True, np.array(1.0), np.array([1.0])])
def test_scalars_promote_as_in_numpy(other: Any) -> None:
    f = gx.jit(lambda x, y: x + y)
    for dtype in (np.float32, np.float64, np.int64, np.int8):
        x = np.arange(3).astype(dtype)
        expected = x + other
        assert_close(f(x, other), expected)
        assert_close(f(other, x), expected)


def test_integers_of_the_limits() -> None:
    f = gx.jit(lambda x: x + 0)
    for value in (2**63 - 1, -(2**63)):
        assert f(value) == value
    with pytest.raises(OverflowError):
        f(2**63)
    with pytest.raises(OverflowError):
        gx.jit(lambda x: x + 300)(np.int8(1))


def test_keyword_arguments() -> None:
    counted = Counted(lambda x, y, z=3.0: x - 2 * y + z)
    f = gx.jit(counted)
    assert f(1.0, 2.0) == f(1.0, y=2.0) == f(y=2.0, x=1.0) == 0.0
    assert f(1.0, z=1.0, y=2.0) == f(1.0, y=2.0, z=1.0) == -2.0
    assert counted.count <= 4
    with pytest.raises(TypeError):
        f(1.0)
    with pytest.raises(TypeError):
        f(1.0, 2.0, w=1.0)


Point = namedtuple("Point", ["x", "y"])


@gx.tree.register_dataclass
@dataclass
class State:
    position: Any
    velocity: Any


def test_structures_in_and_out() -> None:
    counted = Counted(lambda tree: gx.tree.map_leaves(lambda x: x * 2.0, tree))
    f = gx.jit(counted)
    for tree in (
        (X, [1.0, {"a": A}]),
        {"b": (X,), "a": None},
        Point(X, State(A, 1.0)),
        [State(X, Point(1.0, A))],
        (),
        {},
        None,
        [[[]]],
    ):
        for _ in range(2):
            found = f(tree)
            assert gx.tree.structure(found) == gx.tree.structure(tree) and type(found) is type(tree)
            for a, b in zip(gx.tree.leaves(found), gx.tree.leaves(tree), strict=True):
                assert_close(a, 2.0 * b)
    assert counted.count == 8


def test_dict_results_keep_their_keys() -> None:
    found = gx.jit(lambda x: {"b": x, "a": x + 1})(X)
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["a"], X + 1)


def test_many_signatures() -> None:
    f = gx.jit(lambda x: x + 1.0)
    for _ in range(2):
        for n in range(12):
            np.testing.assert_array_equal(f(np.zeros(n)), np.ones(n))


# ------------------------------------------------------------------------------------------------------------ statics


def test_static_arguments() -> None:
    counted = Counted(lambda x, n, mode="a": x**n if mode == "a" else x * n)

    def function(x: Any, n: int, mode: str = "a") -> Any:
        return counted(x, n, mode)

    for f in (
        gx.jit(function, static_argnums=(1, 2)),
        gx.jit(function, static_argnames=("n", "mode")),
        gx.jit(function, static_argnums=1, static_argnames="mode"),
        gx.jit(function, static_argnums=(-2, -1)),
    ):
        counted.count = 0
        for _ in range(2):
            assert f(3.0, 2) == 9.0
            assert f(3.0, n=2) == 9.0
            assert f(3.0, 3) == 27.0
            assert f(3.0, 2, "b") == 6.0
            assert f(3.0, n=2, mode="b") == 6.0
        assert counted.count == 5


def test_static_values_of_equal_hash_are_told_apart() -> None:
    seen: list[Any] = []

    def function(x: Any, s: Any) -> Any:
        seen.append(s)
        return x + (1.0 if s is True else 2.0 if type(s) is int else 3.0)

    f = gx.jit(function, static_argnums=1)
    assert [f(0.0, s) for s in (True, 1, 1.0, True, 1, 1.0)] == [1.0, 2.0, 3.0] * 2
    assert len(seen) == 3


def test_static_arguments_that_are_refused() -> None:
    with pytest.raises(TypeError, match="hashable") as error:
        gx.jit(lambda x, n: x, static_argnums=1)(1.0, [1, 2])
    assert "test_backend.py" in str(error.value)
    with pytest.raises(ValueError, match="static_argnums"):
        gx.jit(lambda x: x, static_argnums=3)
    with pytest.raises(ValueError, match="static_argnames"):
        gx.jit(lambda x: x, static_argnames="y")
    with pytest.raises(TypeError, match="static_argnames"):
        gx.jit(lambda x, mode: x)(1.0, "text")


def test_options_accepted_for_the_sake_of_jax() -> None:
    assert gx.jit(lambda x: x + 1, donate_argnums=0, keep_unused=True)(1.0) == 2.0
    with pytest.raises(TypeError):
        gx.jit(lambda x: x, donate_argnums="x")


def test_clear_cache() -> None:
    counted = Counted(lambda x: x + 1)
    f = gx.jit(counted)
    assert f(1.0) == f(1.0) == 2.0
    f.clear_cache()
    assert f.specialization_count == 0
    assert f(1.0) == 2.0 and counted.count == 2


# ------------------------------------------------------------------------------------------------------------- inputs


def layouts(values: Any) -> dict[str, Any]:
    """The same values in memory of every kind."""
    values = np.asarray(values)
    wide = np.zeros(tuple(2 * n for n in values.shape), values.dtype)
    wide[tuple(slice(None, None, 2) for _ in values.shape)] = values
    offset = (
        np.zeros(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
        if values.itemsize > 1
        else values.copy()
    )
    offset[...] = values
    locked = values.copy()
    locked.setflags(write=False)
    return {
        "plain": values.copy(),
        "fortran": np.asfortranarray(values),
        "strided": wide[tuple(slice(None, None, 2) for _ in values.shape)],
        "reversed": values[::-1].copy()[::-1] if values.ndim else values,
        "swapped": values.astype(values.dtype.newbyteorder()),
        "unaligned": offset,
        "read-only": locked,
        "broadcast": np.broadcast_to(values, values.shape),
        "subclass": values.view(np.matrix) if values.ndim == 2 else values,
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 2), ()])
def test_memory_layouts(dtype: Any, shape: tuple[int, ...]) -> None:
    values = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3).astype(dtype)
    f = gx.jit(lambda x: (P.convert(x, np.dtype(np.float64)), x))
    for name, argument in layouts(values).items():
        before = np.array(argument)
        as_float, same = f(argument)
        np.testing.assert_array_equal(as_float, values.astype(np.float64), err_msg=name)
        np.testing.assert_array_equal(same, values, err_msg=name)
        assert np.asarray(same).dtype == values.dtype, name
        np.testing.assert_array_equal(np.asarray(argument), before, err_msg=name)


def test_results_do_not_share_memory() -> None:
    f = gx.jit(lambda x: (x, x, P.reshape(x, (3, 1))))
    results = f(X)
    for i, result in enumerate(results):
        assert result.flags.owndata or result.base is None or not np.shares_memory(result, X)
        assert not np.shares_memory(result, X) and result.flags.writeable and result.flags.c_contiguous
        for other in results[i + 1 :]:
            assert not np.shares_memory(result, other)
    again = f(X)
    results[0][:] = 0.0
    np.testing.assert_array_equal(again[0], X)


def test_rank_0_results_are_numpy_scalars() -> None:
    results = gx.jit(lambda x, n: (P.reduce_sum(x, (0,)), n, P.less(n, 3), 2.5))(X, 2)
    assert [type(x) for x in results] == [np.float64, np.int64, np.bool_, np.float64]
    assert gx.jit(lambda x: x)(np.array(2.0, np.float32)).dtype == np.float32


def test_empty_arrays() -> None:
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 3)):
        x = np.zeros(shape)
        f = gx.jit(lambda x: (P.sin(x), P.reduce_sum(x, (0,)), P.reduce_prod(x, tuple(range(len(x.shape)))), P.cumsum(x, 0)))
        for found, expected in zip(f(x), (x, x.sum(0), x.prod(), x.cumsum(0)), strict=True):
            assert_close(found, expected)
    found = gx.jit(lambda x, y: P.dot_general(x, y, ((1,), (0,))))(np.zeros((2, 0)), np.zeros((0, 3)))
    np.testing.assert_array_equal(found, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="zero-size"):
        gx.jit(lambda x: P.reduce_max(x, (0,)))(np.zeros((0, 2)))
    assert gx.jit(lambda x: P.reduce_max(x, (1,)))(np.zeros((0, 2))).shape == (0,)


def test_functions_of_nothing_and_constants() -> None:
    assert gx.jit(lambda: 3.0)() == 3.0
    assert gx.jit(lambda: (1, None, [True]))() == (1, None, [True])
    np.testing.assert_array_equal(gx.jit(lambda x: np.ones(2))(1.0), np.ones(2))
    assert gx.jit(lambda x, unused: x)(1.0, A) == 1.0


def test_captured_arrays_are_snapshots() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    scale = np.array(2.0)
    f = gx.jit(lambda x: x * weights * scale)
    np.testing.assert_array_equal(f(X), X * [2, 4, 6])
    weights[0] = 100.0
    scale[...] = 100.0
    np.testing.assert_array_equal(f(X), X * [2, 4, 6])
    f.clear_cache()
    np.testing.assert_array_equal(f(X), X * weights * 100.0)
    strided = np.arange(12.0).reshape(3, 4)[:, 1]
    np.testing.assert_array_equal(gx.jit(lambda x: x + strided)(X), X + strided)


def test_equal_programs_of_different_captures() -> None:
    def adder(values: Any) -> Any:
        return gx.jit(lambda x: x + values)

    first, second = adder(np.ones(3)), adder(np.full(3, 2.0))
    np.testing.assert_array_equal(first(X), X + 1)
    np.testing.assert_array_equal(second(X), X + 2)


def test_nested_jit_sees_captures_of_its_own_time() -> None:
    weights = np.ones(3)
    inner = gx.jit(lambda x: x * weights)
    outer = gx.jit(lambda x: inner(x) + inner(2.0 * x))
    np.testing.assert_array_equal(outer(X), 3 * X)
    np.testing.assert_array_equal(inner(X), X)


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("bad", [3, 7, -1, -(2**40), 2**40, 2**62, -(2**63)])
def test_index_errors(bad: int) -> None:
    f = gx.jit(lambda x, i: P.gather(x, i, axes=(0,)))
    good = np.array([0, 2, 1])
    np.testing.assert_array_equal(f(X, good), X[good])
    with pytest.raises(IndexError, match="out of bounds"):
        f(X, np.array([0, bad, 1]))
    np.testing.assert_array_equal(f(X, good), X[good])  # the error does not stay

    g = gx.jit(lambda x, i: P.scatter(x, np.full(3, 9.0), i, axes=(0,), operation="set"))
    with pytest.raises(IndexError):
        g(X, np.array([0, bad, 1]))
    np.testing.assert_array_equal(g(X, good), np.full(3, 9.0))


def test_index_errors_name_the_index_as_numpy_does() -> None:
    f = gx.jit(lambda x, i: x[i])
    for index in (5, 3, -4, 2**40, -(2**40)):
        with pytest.raises(IndexError) as expected:
            X[index]
        with pytest.raises(IndexError) as found:
            f(X, index)
        assert str(found.value).split("\n")[0] == str(expected.value)
    for index in (2**47, 2**62, -(2**63) + 3):  # native code reports farther indices as the farthest it can tell
        with pytest.raises(IndexError, match="axis 0 with size 3"):
            f(X, index)


def test_index_errors_in_parallel_loops(chunked: None) -> None:
    f = gx.jit(lambda x, i: P.sin(P.gather(x, i, axes=(0,))))
    indices = np.zeros(500, np.int64)
    np.testing.assert_allclose(f(X, indices), np.sin(X[indices]), rtol=1e-15)
    indices[317] = 3
    with pytest.raises(IndexError, match="index 3 "):
        f(X, indices)


def test_integer_division_by_zero_is_numpys() -> None:
    x, y = np.array([5, -5, 0, -(2**63)]), np.array([0, 0, 0, -1])
    found = gx.jit(lambda x, y: (P.floor_divide(x, y), P.remainder(x, y)))(x, y)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found[0], x // y)
        np.testing.assert_array_equal(found[1], x % y)


def test_an_error_while_tracing_leaves_nothing_behind() -> None:
    state = {"fail": True}

    def function(x: Any) -> Any:
        if state["fail"]:
            raise KeyError("mine")
        return x + 1

    f = gx.jit(function)
    with pytest.raises(KeyError, match="mine"):
        f(1.0)
    state["fail"] = False
    assert f(1.0) == 2.0


# ------------------------------------------------------------------------------------------------------------- methods


class Layer:
    def __init__(self, weights: Any) -> None:
        self.weights = weights

    @gx.jit
    def undecorated(x: Any) -> Any:
        """Doubles."""
        return x * 2.0

    def apply(self, x: Any) -> Any:
        return x * self.weights


def test_methods() -> None:
    layer = Layer(np.array([1.0, 2.0, 3.0]))
    f = gx.jit(layer.apply)
    np.testing.assert_array_equal(f(X), X * layer.weights)
    assert Layer.undecorated(2.0) == 4.0
    assert Layer.undecorated.__name__ == "undecorated" and Layer.undecorated.__doc__ == "Doubles."
    assert "undecorated" in repr(Layer.undecorated)


@gx.tree.register_dataclass
@dataclass
class Oscillator:
    stiffness: Any

    @gx.jit
    def energy(self, x: Any) -> Any:
        return 0.5 * self.stiffness * x * x

    @gx.jit(static_argnames="power")
    def moment(self, x: Any, power: int = 2) -> Any:
        return self.stiffness * x**power


def test_decorated_methods() -> None:
    oscillator = Oscillator(3.0)
    assert oscillator.energy(2.0) == 6.0
    assert oscillator.moment(2.0, power=3) == 24.0
    assert gx.grad(lambda o: o.energy(2.0))(oscillator).stiffness == 2.0
    assert gx.grad(oscillator.energy)(2.0) == 6.0


# --------------------------------------------------------------------------------------------------------- inspection


def softmax(x: Any) -> Any:
    m = P.reduce_max(x, (1,))
    e = P.exp(P.sub(x, P.broadcast(m, x.shape, (0,))))
    return P.div(e, P.broadcast(P.reduce_sum(e, (1,)), x.shape, (0,)))


def regression(w: Any, X: Any, y: Any) -> Any:
    z = P.dot_general(X, w, ((1,), (0,)))
    return P.reduce_sum(P.log1p(P.exp(P.neg(P.mul(y, z)))), (0,))


def test_stages() -> None:
    f = gx.jit(lambda x, y: P.reduce_sum(P.mul(P.sin(x), y), (0,)))
    lowered = f.lower(X, X)
    assert isinstance(lowered.program, Program) and isinstance(lowered.optimized, Program)
    check(lowered.program)
    check(lowered.optimized)
    assert isinstance(lowered.loops, Kernel)
    np.testing.assert_allclose(interpret(lowered.loops, [X, X])[0], np.sum(np.sin(X) * X), rtol=1e-14)
    assert "define" in lowered.llvm
    assert "ret" in lowered.assembly
    cost = lowered.cost
    assert cost.nanoseconds > 0 and cost.input_bytes == 48 and cost.output_bytes == 8 and cost.arena_bytes == 0
    assert "sin" in repr(lowered)
    assert f.specialization_count == 0  # looking compiles nothing


def loop_count(statements: Any) -> int:
    return sum(1 + loop_count(s.body) for s in statements if isinstance(s, For))


def test_softmax_is_one_nest_of_three_inner_loops() -> None:
    x = np.random.default_rng(0).normal(size=(30, 40))
    lowered = gx.jit(softmax).lower(x)
    assert len(lowered.loops.nests) == 1
    (outer,) = [s for s in lowered.loops.nests[0].body if isinstance(s, For)]
    assert loop_count(outer.body) == 3
    assert lowered.cost.arena_bytes == 0
    expected = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(gx.jit(softmax)(x), expected / expected.sum(1, keepdims=True), rtol=1e-13)


@pytest.mark.parametrize("rows", [1000, 40_000])
def test_regression_is_one_pass_over_the_data(rows: int) -> None:
    generator = np.random.default_rng(1)
    data, w, y = generator.normal(size=(rows, 10)), generator.normal(size=10), np.sign(generator.normal(size=rows))
    f = gx.jit(gx.value_and_grad(regression))
    kernel = f.lower(w, data, y).loops
    readers = [nest for nest in kernel.nests if any(b is kernel.inputs[1] for b in liveness.touched(nest.body))]
    assert len(readers) == 1
    assert len(kernel.nests) <= 2  # the second combines what the chunks of the first have found
    value, gradient = f(w, data, y)
    z = y * (data @ w)
    np.testing.assert_allclose(value, np.log1p(np.exp(-z)).sum(), rtol=1e-12)
    np.testing.assert_allclose(gradient, -data.T @ (y / (1 + np.exp(z))), rtol=1e-10)


def test_elementwise_chains_are_one_loop() -> None:
    f = gx.jit(lambda x: (P.add(P.mul(P.exp(P.neg(P.square(x))), P.sin(x)), P.log1p(P.square(x))), P.cos(x)))
    lowered = f.lower(np.ones(100))
    assert len(lowered.loops.nests) == 1 and loop_count(lowered.loops.nests[0].body) == 1
    assert lowered.cost.arena_bytes == 0


def test_memory_of_dead_temporaries_is_used_again() -> None:
    n = 64

    def f(x: Any) -> Any:
        for _ in range(6):
            x = P.dot_general(x, x, ((1,), (0,)))
            x = P.mul(x, 0.01)
        return x

    x = np.random.default_rng(0).normal(size=(n, n)) * 0.1
    lowered = gx.jit(f).lower(x)
    assert 0 < lowered.cost.arena_bytes <= 4 * n * n * 8 + 4096
    expected = x
    for _ in range(6):
        expected = expected @ expected * 0.01
    np.testing.assert_allclose(gx.jit(f)(x), expected, rtol=1e-10, atol=1e-30)


def test_calls_inside_a_compiled_program_are_inlined() -> None:
    inner = gx.jit(lambda x: P.sin(x))
    lowered = gx.jit(lambda x: inner(inner(x))).lower(X)
    assert "call" in str(lowered.program)
    assert "call" not in str(lowered.optimized)


# ------------------------------------------------------------------------------------------------ repeatability, threads


@pytest.mark.parametrize(
    "f",
    [
        lambda x: P.reduce_sum(P.sin(x), (0,)),
        lambda x: P.reduce_sum(P.exp(x), (0, 1)),
        softmax,
        lambda x: P.dot_general(x, P.cos(x), ((0,), (0,))),
        lambda x: P.cumsum(x, 0),
        lambda x: P.reduce_max(x, (0, 1)),
        gx.grad(lambda x: P.reduce_sum(P.mul(softmax(x), P.square(x)), (0, 1))),
    ],
)
def test_bits_do_not_depend_on_threads_or_runs(f: Callable[[Any], Any]) -> None:
    x = np.random.default_rng(2).normal(size=(700, 60))
    compiled = gx.jit(f)
    bits = set()
    for threads in (1, 2, 3, 1, 2):
        with gx.config.override(num_threads=threads):
            bits.add(np.asarray(compiled(x)).tobytes())
    assert len(bits) == 1
    assert np.asarray(gx.jit(lambda x: f(x))(x)).tobytes() in bits  # nor on when it was compiled


@pytest.mark.parametrize("threshold", [0, 1, 100, 10**4])
def test_any_parallel_threshold_works(threshold: int) -> None:
    with gx.config.override(parallel_threshold=threshold):
        for n in (1, 2, 50, 1000):
            x = np.linspace(0.0, 1.0, n)
            np.testing.assert_allclose(gx.jit(lambda x: P.reduce_sum(P.sin(x), (0,)))(x), np.sum(np.sin(x)), rtol=1e-13)


def test_many_threads_call_at_once() -> None:
    counted = Counted(lambda x, y: P.add(P.reduce_sum(P.sin(x), (0,)), y))
    f = gx.jit(counted)
    arguments = [np.linspace(0, 1 + i, 50 + 10 * (i % 3)) for i in range(8)]
    expected = [np.sum(np.sin(x)) + 1.0 for x in arguments]
    wrong: list[Any] = []
    start = threading.Barrier(8)

    def work(i: int) -> None:
        start.wait()
        for _ in range(50):
            found = f(arguments[i], 1.0)
            if abs(found - expected[i]) > 1e-12:
                wrong.append((i, found))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert counted.count == 3


def test_parallel_calls_from_many_threads() -> None:
    f = gx.jit(lambda x: P.reduce_sum(P.exp(P.sin(x)), (0,)))
    x = np.linspace(0, 3, 100_000)
    expected = f(x).tobytes()
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.extend(f(x).tobytes() for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 20


def test_tracing_in_one_thread_does_not_disturb_another() -> None:
    inside, done = threading.Event(), threading.Event()

    def slow(x: Any) -> Any:
        inside.set()
        assert done.wait(30)
        return x * 2.0

    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(gx.grad(slow)(3.0)))
    thread.start()
    assert inside.wait(30)
    assert gx.jit(lambda x: x + 1.0)(1.0) == 2.0
    assert gx.grad(lambda x: x * x)(3.0) == 6.0
    done.set()
    thread.join()
    assert result == [2.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork() -> None:
    f = gx.jit(lambda x: P.reduce_sum(P.exp(P.sin(x)), (0,)))
    x = np.linspace(0, 3, 100_000)
    expected = f(x).tobytes()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if f(x).tobytes() == expected and gx.jit(lambda x: x + 1.0)(1.0) == 2.0:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert f(x).tobytes() == expected


def test_a_second_process_finds_the_code_on_disk(tmp_path: Any) -> None:
    code = """
import sys
import numpy as np
import gradxform as gx
from gradxform import primitives as P
f = gx.jit(lambda x, i: (P.gather(P.sin(x), i, axes=(0,)), P.reduce_sum(P.lgamma(P.add(P.square(x), np.float64(1.0))), (0,))))
result = f(np.linspace(0, 1, 50), np.array([3, 4]))
try:
    f(np.linspace(0, 1, 50), np.array([3, 50]))
except IndexError as error:
    print(error)
print(np.concatenate([result[0], [result[1]]]).tobytes().hex(), gx.cache.info().misses > 0)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GRADXFORM_CACHE_DIR": str(tmp_path)}
    outputs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.split())
    assert outputs[0][:-1] == outputs[1][:-1]
    assert outputs[0][-1] == "True" and outputs[1][-1] == "False"


# ----------------------------------------------------------------------------------------------------- single programs


def test_blas_products_of_every_layout() -> None:
    generator = np.random.default_rng(3)
    for dtype in (np.float64, np.float32):
        a, b = generator.normal(size=(5, 20, 30)).astype(dtype), generator.normal(size=(5, 30, 25)).astype(dtype)
        cases: list[tuple[Callable[..., Any], Any]] = [
            (lambda a, b: P.dot_general(a, b, ((2,), (1,)), ((0,), (0,))), np.einsum("bij,bjk->bik", a, b)),
            (lambda a, b: P.dot_general(b, a, ((1,), (2,)), ((0,), (0,))), np.einsum("bij,bjk->bki", a, b)),
            (
                lambda a, b: P.dot_general(P.transpose(a, (0, 2, 1)), b, ((1,), (1,)), ((0,), (0,))),
                np.einsum("bij,bjk->bik", a, b),
            ),
            (
                lambda a, b: P.dot_general(P.transpose(a, (2, 0, 1)), b, ((0,), (1,)), ((1,), (0,))),
                np.einsum("bij,bjk->bik", a, b),
            ),
            (
                lambda a, b: P.dot_general(P.reverse(a, (1,)), b, ((2,), (1,)), ((0,), (0,))),
                np.einsum("bij,bjk->bik", a[:, ::-1], b),
            ),
            (lambda a, b: P.dot_general(a, b, ((0, 2), (0, 1))), np.einsum("bij,bjk->ik", a, b)),
            (lambda a, b: P.dot_general(P.sin(a), b, ((2,), (1,)), ((0,), (0,))), np.einsum("bij,bjk->bik", np.sin(a), b)),
            (
                lambda a, b: P.dot_general(P.slice_array(a, (0, 3, 0), (5, 20, 30), (1, 1, 1)), b, ((2,), (1,)), ((0,), (0,))),
                np.einsum("bij,bjk->bik", a[:, 3:], b),
            ),
            (
                lambda a, b: P.dot_general(P.slice_array(a, (0, 0, 0), (5, 20, 30), (1, 2, 1)), b, ((2,), (1,)), ((0,), (0,))),
                np.einsum("bij,bjk->bik", a[:, ::2], b),
            ),
            (
                lambda a, b: P.dot_general(
                    P.broadcast(P.reduce_sum(a, (0,)), (5, 20, 30), (1, 2)), b, ((2,), (1,)), ((0,), (0,))
                ),
                np.einsum("ij,bjk->bik", a.sum(0), b),
            ),
        ]
        for f, expected in cases:
            assert_close(gx.jit(f)(a, b), expected.astype(dtype))


@pytest.mark.parametrize("operation", ["set", "add", "mul", "max", "min"])
def test_scatters_in_place_do_not_change_what_is_read_later(operation: str) -> None:
    def f(x: Any, i: Any) -> Any:
        base = P.sin(x)
        first = P.scatter(base, P.broadcast(np.float64(2.0), (4,), ()), i, axes=(0,), operation=operation)
        second = P.scatter(first, P.broadcast(np.float64(-3.0), (4,), ()), i, axes=(0,), operation="add")
        return base, first, second, P.cos(first)

    x, i = np.linspace(-1, 1, 6), np.array([4, 0, 4, 2])
    expected = run(trace(f, [x, i]), [x, i])
    for found, wanted in zip(gx.jit(f)(x, i), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    np.testing.assert_array_equal(x, np.linspace(-1, 1, 6))


def test_a_scatter_into_an_argument_leaves_it_alone() -> None:
    x = np.zeros(5)
    found = gx.jit(lambda x, i: P.scatter(x, P.broadcast(np.float64(1.0), (2,), ()), i, axes=(0,), operation="add"))(
        x, np.array([1, 1])
    )
    np.testing.assert_array_equal(found, [0, 2, 0, 0, 0])
    np.testing.assert_array_equal(x, np.zeros(5))


def test_special_values() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e308, -1e-310])
    operations = [
        "neg",
        "abs",
        "sign",
        "square",
        "sqrt",
        "reciprocal",
        "exp",
        "log",
        "tanh",
        "floor",
        "rint",
        "isnan",
        "isinf",
        "isfinite",
        "sin",
        "cbrt",
    ]
    found = gx.jit(lambda x: {name: getattr(P, name)(x) for name in operations})(x)
    with np.errstate(all="ignore"):
        for name in operations:
            expected = getattr(np, {"neg": "negative"}.get(name, name))(x)
            if expected.dtype == np.float64:
                np.testing.assert_array_max_ulp(found[name], expected, maxulp=1)
                np.testing.assert_array_equal(
                    np.signbit(found[name][~np.isnan(expected)]), np.signbit(expected[~np.isnan(expected)]), name
                )
            else:
                np.testing.assert_array_equal(found[name], expected, err_msg=name)
    with np.errstate(all="ignore"):
        for name, reference in (("reduce_max", np.max), ("reduce_min", np.min), ("reduce_sum", np.sum)):
            for values in (x, x[:4], x[5:], x[2:4], np.array([-0.0, -0.0])):
                np.testing.assert_array_equal(
                    gx.jit(lambda v, name=name: getattr(P, name)(v, (0,)))(values), reference(values), name
                )


def test_long_programs() -> None:
    def f(x: Any) -> Any:
        for i in range(700):
            x = P.sin(P.mul(x, 1.0 + 1e-3 * i))
        return x

    expected = X
    for i in range(700):
        expected = np.sin(expected * (1.0 + 1e-3 * i))
    np.testing.assert_allclose(gx.jit(f)(X), expected, rtol=1e-10)
    x = np.float64(0.5)
    expected = x
    for i in range(700):
        expected = np.sin(expected * (1.0 + 1e-3 * i))
    np.testing.assert_allclose(gx.jit(f)(x), expected, rtol=1e-10)
