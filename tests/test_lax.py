"""gradxform.lax: control flow against Python's own loops, on every road and through every transform.

Each case is one function that is written against a library: `lax`, or `Plain`, which has Python's loops over NumPy arrays.
"""

from __future__ import annotations

import re
from functools import partial, reduce
from typing import Any

import numpy as np
import pytest
from support.differences import central_difference, directions, inner
from support.tolerances import assert_all_close, assert_close

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import lax
from gradxform.api.execution import contains_loop
from gradxform.core import type_of
from gradxform.errors import LeakedTracerError

tree = gx.tree
generator = np.random.default_rng(3)
VECTOR = generator.uniform(0.3, 1.2, 5)
MATRIX = generator.uniform(-1.0, 1.0, (5, 3))
SQUARE = generator.uniform(-0.5, 0.5, (3, 3))


class Plain:
    """What the functions of lax stand for."""

    @staticmethod
    def scan(f: Any, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, **_: Any) -> Any:
        leaves = tree.leaves(xs)
        length = len(leaves[0]) if leaves else length
        assert length is not None
        carry, ys = init, []
        for t in reversed(range(length)) if reverse else range(length):
            carry, y = f(carry, tree.map_leaves(lambda x, t=t: x[t], xs))
            ys.append(y)
        if reverse:
            ys.reverse()
        return carry, tree.map_leaves(lambda *rows: np.stack(rows), *ys)

    @staticmethod
    def while_loop(condition: Any, body: Any, value: Any) -> Any:
        while condition(value):
            value = body(value)
        return value

    @staticmethod
    def fori_loop(lower: int, upper: int, body: Any, value: Any, unroll: Any = None) -> Any:
        for i in range(lower, upper):
            value = body(i, value)
        return value

    @staticmethod
    def cond(holds: Any, true_fun: Any, false_fun: Any, *operands: Any) -> Any:
        return true_fun(*operands) if holds else false_fun(*operands)

    @staticmethod
    def switch(index: Any, branches: Any, *operands: Any) -> Any:
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)

    @staticmethod
    def map(f: Any, xs: Any, batch_size: int | None = None) -> Any:
        found = [f(tree.map_leaves(lambda x, t=t: x[t], xs)) for t in range(len(tree.leaves(xs)[0]))]
        return tree.map_leaves(lambda *rows: np.stack(rows), *found)

    @staticmethod
    def associative_scan(fn: Any, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
        count = tree.leaves(elems)[0].shape[axis]
        rows = [tree.map_leaves(lambda x, t=t: np.take(x, [t], axis), elems) for t in range(count)]
        if reverse:
            rows.reverse()
        found = [reduce(fn, rows[:t + 1]) for t in range(count)]
        if reverse:
            found.reverse()
        return tree.map_leaves(lambda *parts: np.concatenate(parts, axis), *found)

    @staticmethod
    def reduce(operands: Any, inits: Any, computation: Any, dimensions: Any) -> Any:
        leaves, treedef = tree.flatten(operands)
        kept = [a for a in range(leaves[0].ndim) if a not in dimensions]
        shape = [leaves[0].shape[a] for a in kept]
        rows = [np.transpose(x, (*kept, *dimensions)).reshape(int(np.prod(shape)), -1) for x in leaves]
        results = []
        for lane in range(rows[0].shape[0]):
            total = inits
            for t in range(rows[0].shape[1]):
                total = computation(total, tree.unflatten(treedef, [row[lane, t] for row in rows]))
            results.append(tree.leaves(total))
        return tree.unflatten(treedef, [np.reshape(column, shape) for column in zip(*results, strict=True)])


# ---------------------------------------------------------------------------------------------------------- the cases


def accumulate(lib: Any, x: Any) -> Any:
    return lib.scan(lambda c, e: (c + np.sin(e), c * e), 0.5, x)


def python_scalars(lib: Any, x: Any) -> Any:
    """An int and a float in the carry that the body makes arrays' elements of."""
    return lib.scan(lambda c, e: ({"sum": c["sum"] + e, "count": c["count"] + 1}, c["sum"] * e), {"sum": 0.0, "count": 0}, x)


def matrix_power(lib: Any, a: Any, v: Any) -> Any:
    return lib.scan(lambda c, _: (np.tanh(a @ c), c), v, None, length=4)


def two_sequences(lib: Any, x: Any, m: Any) -> Any:
    return lib.scan(lambda c, e: (c * e["x"] + e["m"].sum(), (c, {"y": e["m"] * c})), 1.5, {"x": x, "m": m}, reverse=True)


def nested(lib: Any, m: Any) -> Any:
    return lib.scan(lambda c, row: lib.scan(lambda d, e: (np.cos(d) + e, d * e), c, row), 0.1, m)


def unrolled(lib: Any, x: Any, unroll: Any, reverse: bool) -> Any:
    return lib.scan(lambda c, e: (c * e + 0.1, c - e), 0.7, x, reverse=reverse, unroll=unroll)


def closure(lib: Any, x: Any, m: Any) -> Any:
    """The body closes over traced and over plain arrays."""
    weights = m @ SQUARE
    return lib.scan(lambda c, e: (np.tanh(c @ SQUARE + e * weights[0]), np.sum(c * weights[1])), m[2], x)[0]


def halvings(lib: Any, x: Any) -> Any:
    return lib.while_loop(lambda c: np.sum(c[0] ** 2) > 0.1, lambda c: (0.5 * np.sin(c[0]), c[1] + 1, c[2] * c[0][0]),
                          (x, 0, 1.0))


def no_iteration(lib: Any, x: Any) -> Any:
    return lib.while_loop(lambda c: c[0] > 100.0, lambda c: c * c, x)


def newton(lib: Any, x: Any) -> Any:
    """The cube root of a sum."""
    total = np.sum(x)
    return lib.while_loop(lambda y: np.abs(y ** 3 - total) > 1e-10, lambda y: y - (y ** 3 - total) / (3.0 * y ** 2), 1.0)


def power_sum(lib: Any, x: Any) -> Any:
    return lib.fori_loop(1, 5, lambda i, c: c + x ** i / i, np.zeros(5))


def counted(lib: Any, x: Any, n: Any) -> Any:
    """Bounds that are arguments."""
    return lib.fori_loop(1, n, lambda i, c: np.sin(c) * i + x, x)


def nested_counts(lib: Any, x: Any) -> Any:
    def outer(i: Any, total: Any) -> Any:
        return lib.fori_loop(0, 3, lambda j, inner_total: inner_total * 0.9 + np.sin(gnp.take(x, i) * j), total)

    return lib.fori_loop(0, 5, outer, 0.0)


def chosen(lib: Any, x: Any) -> Any:
    return lib.cond(np.sum(x) > 3.0, lambda v, s: (v ** 2, s), lambda v, s: (np.sin(v), s * 2.0), x, x[0])


def chosen_closure(lib: Any, x: Any, m: Any) -> Any:
    return lib.cond(x[0] > 0.0, lambda: np.sum(m @ SQUARE), lambda: np.sum(x))


def chosen_in_loop(lib: Any, x: Any) -> Any:
    return lib.scan(lambda c, e: (lib.cond(e > 0.7, lambda v: v * e, lambda v: v + e, c), c), 1.0, x)


def switched(lib: Any, x: Any, index: Any) -> Any:
    return lib.switch(index, [lambda v: v, lambda v: np.exp(v), lambda v: v @ v * v], x)


def mapped(lib: Any, m: Any, batch_size: Any) -> Any:
    return lib.map(lambda row: {"norm": np.sum(row ** 2), "row": np.sin(row)}, m, batch_size=batch_size)


def linear_recurrence(lib: Any, m: Any, reverse: bool, axis: int) -> Any:
    def combine(left: Any, right: Any) -> Any:
        return left[0] * right[0], left[1] * right[0] + right[1]

    return lib.associative_scan(combine, (np.cos(m), m), reverse=reverse, axis=axis)


def smooth_maximum(lib: Any, m: Any, dimensions: Any) -> Any:
    def computation(a: Any, b: Any) -> Any:
        return np.logaddexp(a[0], b[0]), a[1] + b[1]

    return lib.reduce((m, m * m), (-np.inf, 0.0), computation, dimensions)


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "accumulate": (accumulate, (VECTOR,)),
    "python_scalars": (python_scalars, (VECTOR,)),
    "matrix_power": (matrix_power, (SQUARE, VECTOR[:3])),
    "two_sequences": (two_sequences, (VECTOR, MATRIX)),
    "nested": (nested, (MATRIX,)),
    "closure": (closure, (VECTOR, MATRIX)),
    "halvings": (halvings, (VECTOR,)),
    "no_iteration": (no_iteration, (VECTOR,)),
    "newton": (newton, (VECTOR,)),
    "power_sum": (power_sum, (VECTOR,)),
    "counted": (counted, (VECTOR, np.int64(4))),
    "nested_counts": (nested_counts, (VECTOR,)),
    "chosen": (chosen, (VECTOR,)),
    "chosen_other": (chosen, (0.1 * VECTOR,)),
    "chosen_closure": (chosen_closure, (VECTOR, MATRIX)),
    "chosen_in_loop": (chosen_in_loop, (VECTOR,)),
    "switched": (switched, (VECTOR, np.int64(1))),
    "switched_beyond": (switched, (VECTOR, np.int64(9))),
    "switched_before": (switched, (VECTOR, np.int64(-2))),
}
for _unroll in (2, 3, 5, 9, True):
    for _reverse in (False, True):
        CASES[f"unrolled_{_unroll}_{_reverse}"] = (partial(unrolled, unroll=_unroll, reverse=_reverse), (VECTOR,))
for _size in (None, 1, 2, 5, 8):
    CASES[f"mapped_{_size}"] = (partial(mapped, batch_size=_size), (MATRIX,))
for _axis in (0, 1):
    for _reverse in (False, True):
        CASES[f"recurrence_{_axis}_{_reverse}"] = (partial(linear_recurrence, reverse=_reverse, axis=_axis), (MATRIX,))
for _dimensions in ((0,), (1,), (0, 1)):
    CASES[f"reduced_{len(_dimensions)}_{_dimensions[0]}"] = (partial(smooth_maximum, dimensions=_dimensions), (MATRIX,))

#: Each road gets the function of arrays and runs it in another way.
ROADS = {
    "eager": lambda f: f,
    "jit": gx.jit,
    "known": lambda f: lambda *args: gx.vjp(f, *args)[0],
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: Any) -> tuple[Any, tuple[Any, ...]]:
    return request.param


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_values(case: Any, road: Any) -> None:
    function, arguments = case
    found = road(partial(function, lax))(*arguments)
    expected = function(Plain, *arguments)
    assert tree.structure(found) == tree.structure(expected)
    assert_all_close(tree.leaves(found), tree.leaves(expected))


def test_disabled_jit_gives_the_same(case: Any) -> None:
    function, arguments = case
    with gx.disable_jit():
        found = function(lax, *arguments)
        jitted = gx.jit(partial(function, lax))(*arguments)
    assert_all_close(tree.leaves(found), tree.leaves(function(Plain, *arguments)))
    assert_all_close(tree.leaves(jitted), tree.leaves(found))


def _floats(function: Any, lib: Any, arguments: Any) -> tuple[Any, list[Any]]:
    """The function from its float arguments to its float results, and these arguments."""
    places = [i for i, x in enumerate(arguments) if np.asarray(x).dtype.kind == "f"]

    def of_floats(*values: Any) -> list[Any]:
        full = list(arguments)
        for place, value in zip(places, values, strict=True):
            full[place] = value
        return [x for x in tree.leaves(function(lib, *full)) if type_of(x).dtype.kind == "f"]

    return of_floats, [arguments[i] for i in places]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_derivatives_are_those_of_python_loops(case: Any, compiled: bool) -> None:
    function, arguments = case
    traced, values = _floats(function, lax, arguments)
    plain, _ = _floats(function, Plain, arguments)
    tangents = directions(values, seed=1)
    expected = central_difference(lambda xs: plain(*xs), values, tangents)

    def push(xs: Any, ts: Any) -> Any:
        return gx.jvp(traced, xs, ts)[1]

    def pull(xs: Any, cts: Any) -> Any:
        return gx.vjp(traced, *xs)[1](cts)

    if compiled:
        push, pull = gx.jit(push), gx.jit(pull)
    pushed = push(tuple(values), tuple(tangents))
    assert_all_close(pushed, expected, "differences")
    cotangents = directions(pushed, seed=2)
    assert_close(inner(pull(values, cotangents), tangents), inner(cotangents, pushed), "rewritten")


def test_linearized_and_called_again(case: Any) -> None:
    function, arguments = case
    traced, values = _floats(function, lax, arguments)
    plain, _ = _floats(function, Plain, arguments)
    held = [np.array(x) for x in values]
    _, push = gx.linearize(traced, *held)
    for x in held:
        x[...] = np.nan  # what is kept is not the caller's array
    for seed in (1, 2):
        tangents = directions(values, seed)
        expected = central_difference(lambda xs: plain(*xs), values, tangents)
        assert_all_close(push(*tangents), expected, "differences")


def test_vmap_is_a_stack(case: Any) -> None:
    function, arguments = case
    lanes = [[x if np.asarray(x).dtype.kind != "f" else x * scale for x in arguments] for scale in (1.0, 0.2, 0.9)]
    axes = tuple(None if np.asarray(x).dtype.kind != "f" else 0 for x in arguments)
    batched = [x if axis is None else np.stack([lane[i] for lane in lanes])
               for i, (x, axis) in enumerate(zip(arguments, axes, strict=True))]
    expected = tree.map_leaves(lambda *rows: np.stack(rows), *[function(Plain, *lane) for lane in lanes])
    for road in (gx.vmap(partial(function, lax), in_axes=axes), gx.jit(gx.vmap(partial(function, lax), in_axes=axes))):
        found = road(*batched)
        # A result that no lane changes has one dtype and is repeated.
        assert_all_close(tree.leaves(found), tree.leaves(expected))


SECOND_ORDER = ["accumulate", "nested", "newton", "counted", "chosen_in_loop", "unrolled_2_False", "recurrence_0_False"]


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_second_derivatives(name: str) -> None:
    function, arguments = CASES[name]
    traced, values = _floats(function, lax, arguments)

    def energy(*xs: Any) -> Any:
        return reduce(lambda total, x: total + np.sum(x * x), traced(*xs), 0.0)

    def gradient(xs: Any) -> Any:
        return gx.grad(energy, argnums=tuple(range(len(xs))))(*xs)

    tangents = directions(values, seed=4)
    expected = central_difference(gradient, values, tangents)
    for forward in (lambda *xs: gx.jvp(lambda *ys: gradient(ys), xs, tuple(tangents))[1],
                    lambda *xs: gx.vjp(lambda *ys: gradient(ys), *xs)[1](tuple(tangents))):  # the Hessian is symmetric
        assert_all_close(forward(*values), expected, "differences")
        assert_all_close(gx.jit(forward)(*values), expected, "differences")


# ------------------------------------------------------------------------------------------------ dtypes and structures


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_python_scalars_take_the_dtype_that_the_body_gives(road: Any) -> None:
    single = np.ones(3, np.float32)
    cases = [
        (lambda x: lax.scan(lambda c, e: (c + e, None), 0, x)[0], single, np.float32),
        (lambda x: lax.scan(lambda c, e: (c + e, None), 0, x)[0], np.ones(3), np.float64),
        (lambda x: lax.scan(lambda c, e: (c + 0.5, None), 0, x)[0], single, np.float64),
        (lambda x: lax.scan(lambda c, e: (c + 1, None), False, x)[0], single, np.int64),
        (lambda x: lax.scan(lambda c, e: (1.0, None), x[0], x)[0], single, np.float32),
        (lambda x: lax.while_loop(lambda c: c < 3, lambda c: c + x[0], 0), single, np.float32),
        (lambda x: lax.fori_loop(0, 3, lambda i, c: c * i, x[0]), single, np.float32),
        (lambda x: lax.fori_loop(0, 3, lambda i, c: i, 0), single, np.int64),
        (lambda x: lax.cond(x[0] > 0.0, lambda: x[0], lambda: 0), single, np.float32),
        (lambda x: lax.cond(x[0] > 0.0, lambda: 1, lambda: 0.5), single, np.float64),
        (lambda x: lax.switch(np.int64(0) + (x[0] > 9.0), [lambda: True, lambda: 2]), single, np.int64),
        (lambda x: lax.select(x > 0, x, 0.0 * x), single, np.float32),
    ]
    for function, x, dtype in cases:
        assert road(function)(x).dtype == dtype


def test_several_carries_give_way_one_after_the_other() -> None:
    def rotate(c: Any, e: Any) -> Any:
        return (c[1], c[2], e), None

    found, _ = lax.scan(rotate, (0, 0, 0), np.array([0.5, 1.5]))
    assert [x.dtype for x in found] == [np.float64] * 3
    assert found == (0.0, 0.5, 1.5)


def test_results_are_as_strong_as_those_of_functions() -> None:
    single = np.ones((), np.float32)
    for function in (lambda x: lax.fori_loop(0, 2, lambda i, c: c * 2.0, 1.0) * x,
                     lambda x: lax.cond(x > 0, lambda: 1.0, lambda: 2.0) * x):
        assert gx.jit(function)(single).dtype == np.float64 == function(single).dtype


def test_xs_may_hold_none_and_carries_may_be_empty() -> None:
    carry, ys = lax.scan(lambda c, e: (c, (e[0] + 1.0, None)), None, (VECTOR, None))
    assert carry is None and ys[1] is None
    assert_close(ys[0], VECTOR + 1.0)


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_loops_without_iterations(road: Any) -> None:
    x = np.zeros((0, 2))
    carry, ys = road(lambda x: lax.scan(lambda c, e: (c + e, (c, e[0])), np.ones(2), x))(x)
    assert_all_close([carry, *ys], [np.ones(2), np.zeros((0, 2)), np.zeros(0)])
    assert_close(road(lambda x: lax.fori_loop(5, 2, lambda i, c: c + i, x))(VECTOR), VECTOR)
    assert_close(road(lambda x, n: lax.fori_loop(5, n, lambda i, c: c + i, x))(VECTOR, 2), VECTOR)
    assert_close(road(lambda x: lax.map(np.sin, x))(np.zeros(0)), np.zeros(0))
    assert_close(road(lambda x: lax.map(np.sin, x, batch_size=2))(np.zeros(0)), np.zeros(0))
    assert_close(road(lambda x: lax.associative_scan(np.add, x))(np.zeros(0)), np.zeros(0))
    assert_close(road(lambda x: lax.reduce(x, 0.5, lambda a, b: a + b, (0,)))(np.zeros((0, 2))), np.full(2, 0.5))
    with gx.disable_jit():
        carry, ys = lax.scan(lambda c, e: (c + e, (c, e[0])), np.ones(2), x)
    assert_all_close([carry, *ys], [np.ones(2), np.zeros((0, 2)), np.zeros(0)])


def test_functions_are_traced_once() -> None:
    calls = []

    def step(c: Any, e: Any) -> Any:
        calls.append(type(c))
        return c + e, c

    lax.scan(step, np.float64(0.0), np.arange(100.0))
    assert len(calls) == 1
    lax.scan(step, 0, np.arange(100.0))
    assert len(calls) == 3


def test_a_concrete_predicate_runs_one_branch_and_checks_both() -> None:
    program = gx.make_ir(lambda x: lax.cond(True, np.sin, np.cos, x))(1.0)
    assert [e.operation.name for e in program.equations] == ["sin", "convert"][:len(program.equations)]
    for holds in (True, 1, 2.5, np.bool_(True), np.ones(()), np.int32(-1)):
        assert lax.cond(holds, lambda: 1.0, lambda: 2.0) == 1.0
    for holds in (False, 0, 0.0, np.bool_(False), np.zeros(())):
        assert lax.cond(holds, lambda: 1.0, lambda: 2.0) == 2.0
    assert gx.jit(lambda p: lax.cond(p, lambda: 1.0, lambda: 2.0))(0.5) == 1.0


def test_a_branch_that_is_not_taken_does_not_run() -> None:
    x = np.arange(3.0)

    def element(index: Any) -> Any:
        return lax.cond(index < 3, lambda i: gnp.take(x, i), lambda i: 0.0, index)

    assert element(7) == 0.0
    assert gx.jit(element)(7) == 0.0
    assert_close(gx.vmap(element)(np.array([1, 7, 2])), np.array([1.0, 0.0, 2.0]))


def test_operand_by_keyword() -> None:
    assert lax.cond(True, lambda x: x + 1.0, lambda x: x, operand=2.0) == 3.0
    assert lax.cond(True, lambda x: 1.0, lambda x: 2.0, operand=None) == 1.0
    assert lax.switch(1, [lambda x: x, lambda x: 2.0 * x], operand=2.0) == 4.0


def test_select_n() -> None:
    which = np.array([0, 1, 2, 5, -1])
    cases = [np.arange(5.0), 10 + np.arange(5.0), 20 + np.arange(5.0)]
    expected = np.array([0.0, 11.0, 22.0, 23.0, 4.0])
    assert_close(lax.select_n(which, *cases), expected)
    assert_close(gx.jit(lax.select_n)(which, *cases), expected)
    assert_close(lax.select_n(which > 0, cases[0], cases[1]), np.where(which > 0, cases[1], cases[0]))
    assert_close(lax.select_n(np.int64(1), cases[0], cases[1]), cases[1])


# ------------------------------------------------------------------------------------------------------------ roads


def test_loops_are_compiled_also_without_jit() -> None:
    before = gx.cache.info().memory_entries
    for _ in range(3):
        lax.scan(lambda c, e: (c * e - 0.12345, None), 1.0, VECTOR)
    assert gx.cache.info().memory_entries == before + 1
    gx.grad(lambda x: lax.scan(lambda c, e: (c * e - 0.54321, None), 1.0, x)[0])(VECTOR)
    assert gx.cache.info().memory_entries == before + 2
    lax.cond(True, np.sin, np.cos, 1.0)
    assert gx.cache.info().memory_entries == before + 2


def test_loops_are_found_at_any_depth() -> None:
    def loop(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: c * 2.0, x)

    assert contains_loop(gx.make_ir(loop)(1.0))
    assert contains_loop(gx.make_ir(lambda x: gx.jit(loop)(x))(1.0))
    assert contains_loop(gx.make_ir(lambda x: lax.cond(x > 0.0, loop, np.sin, x))(1.0))
    assert not contains_loop(gx.make_ir(lambda x: lax.cond(x > 0.0, np.cos, np.sin, x))(1.0))


@pytest.mark.parametrize("transform", [
    lambda f: gx.grad(f), lambda f: lambda x: gx.vjp(f, x)[1](1.0)[0], gx.jacrev, gx.jacfwd,
    lambda f: lambda x: np.array([gx.linearize(f, x)[1](e) for e in np.eye(5)]),
    lambda f: lambda x: np.array([gx.jvp(f, (x,), (e,))[1] for e in np.eye(5)]),
    lambda f: lambda x: gx.vmap(lambda e: gx.jvp(f, (x,), (e,))[1])(np.eye(5)),
], ids=["grad", "vjp", "jacrev", "jacfwd", "linearize", "jvp", "vmap"])
@pytest.mark.parametrize("name", ["while", "fori"])
def test_gradients_with_a_number_of_iterations_known_only_at_run_time(transform: Any, name: str) -> None:
    count = 4

    def f(x: Any) -> Any:
        if name == "while":
            return np.sum(lax.while_loop(lambda c: c[0] < count, lambda c: (c[0] + 1, np.sin(c[1]) * c[1]), (0, x))[1])
        bound = count + (x[0] > 100.0)
        return np.sum(lax.fori_loop(0, bound, lambda i, c: np.sin(c) * c, x))

    def derivative(x: Any) -> Any:
        product = 1.0
        for _ in range(count):
            product, x = product * (np.cos(x) * x + np.sin(x)), np.sin(x) * x
        return product

    assert_close(transform(f)(VECTOR), derivative(VECTOR), "rewritten")
    with gx.disable_jit():
        assert_close(transform(f)(VECTOR), derivative(VECTOR), "rewritten")


def test_pullbacks_with_tapes_keep_the_values_of_their_time() -> None:
    x = np.array(VECTOR)
    value, pull = gx.vjp(lambda x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] * c[1]), (0, x))[1], x)
    x[:] = np.nan
    assert_close(value, VECTOR ** 4)
    for _ in range(2):
        assert_close(pull(np.ones(5))[0], 4.0 * VECTOR ** 3)
    assert_close(gx.jit(lambda ct: pull(ct)[0])(np.ones(5)), 4.0 * VECTOR ** 3)


def test_reduce_recognises_functions() -> None:
    booleans = MATRIX > 0.0
    for computation, reference, init, x in [
        (np.add, np.sum, 0.0, MATRIX), (gnp.multiply, np.prod, 1.0, MATRIX), (np.maximum, np.max, -np.inf, MATRIX),
        (lax.min, np.min, np.inf, MATRIX), (np.logical_and, np.all, True, booleans), (np.logical_or, np.any, False, booleans),
    ]:
        program = gx.make_ir(lambda x, c=computation, i=init: lax.reduce(x, i, c, (1,)))(x)
        assert any(e.operation.name.startswith("reduce") for e in program.equations)
        assert_close(lax.reduce(x, init, computation, (1,)), reference(x, axis=1))
        assert_close(lax.reduce(x, init, computation, (1, 0)), np.asarray(reference(x)))
    assert_close(lax.reduce(np.arange(5), 0, lambda a, b: a + b, (0,)), np.int64(10))


def test_checkpoint_changes_nothing_but_memory() -> None:
    x = np.linspace(0.1, 0.9, 20)
    expected = gx.grad(lambda x: lax.scan(lambda c, e: (np.sin(c) * e + c, None), 1.0, x)[0])(x)
    for checkpoint in (1, 3, 20, 50, "sqrt", "binomial"):
        def loss(x: Any, checkpoint: Any = checkpoint) -> Any:
            return lax.scan(lambda c, e: (np.sin(c) * e + c, None), 1.0, x, checkpoint=checkpoint)[0]

        assert_close(gx.grad(loss)(x), expected, "rewritten")


# -------------------------------------------------------------------------------------------------------- disable_jit


def test_disabled_jit_shows_values() -> None:
    seen = []

    def step(c: Any, e: Any) -> Any:
        seen.append((float(c), e))
        return c + e, c

    @gx.jit
    def total(x: Any) -> Any:
        return lax.scan(step, 0.0, x)[0]

    with gx.disable_jit():
        assert total(np.arange(3.0)) == 3.0
    assert seen == [(0.0, 0.0), (0.0, 1.0), (1.0, 2.0)]


def test_disabled_jit_reaches_functions_that_are_compiled_already() -> None:
    calls = []

    @gx.jit
    def double(x: Any) -> Any:
        calls.append(x)
        return 2.0 * x

    double(1.0), double(1.0)
    assert len(calls) == 1
    with gx.disable_jit():
        with gx.disable_jit():
            assert double(1.0) == 2.0
        assert double(3.0) == 6.0
        assert calls[1:] == [1.0, 3.0]
        late = gx.jit(lambda x: calls.append(x))
        late(5.0)
        assert calls[-1] == 5.0
    with gx.disable_jit(False):
        assert double(4.0) == 8.0
    assert double(1.0) == 2.0 and len(calls) == 4
    before = double.specialization_count
    double(2.0)
    assert double.specialization_count == before == 1


def test_disabled_jit_ends_with_an_error() -> None:
    double = gx.jit(lambda x: 2.0 * x)
    double(1.0)
    with pytest.raises(ZeroDivisionError), gx.disable_jit():
        raise ZeroDivisionError
    assert double(1.0) == 2.0 and double.specialization_count == 1


def test_disabled_jit_in_another_thread_is_not_disabled() -> None:
    from concurrent.futures import ThreadPoolExecutor

    calls = []
    double = gx.jit(lambda x: calls.append(x) or 2.0 * x)
    double(1.0)
    with gx.disable_jit(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(double, 1.0).result() == 2.0
        assert pool.submit(lambda: double.lower(1.0).program).result().equations
    assert not any(isinstance(x, float) for x in calls)


def test_disabled_jit_has_updates_and_leaves_arguments_alone() -> None:
    @gx.jit
    def f(x: Any) -> Any:
        table = gnp.zeros(3).at[1].set(x[0])
        x = x + 1.0
        return lax.fori_loop(1, 4, lambda i, c: c.at[i].add(c[i - 1]).at[0].multiply(2.0), x), table

    x = np.arange(4.0)
    expected = (np.array([8.0, 3.0, 6.0, 10.0]), np.zeros(3))
    assert_all_close(f(x), expected)
    with gx.disable_jit():
        found = f(x)
        assert repr(found[1]) == "array([0., 0., 0.])"
    assert_all_close(found, expected)
    assert_close(x, np.arange(4.0))


def test_disabled_jit_records_what_is_not_known() -> None:
    with gx.disable_jit():
        found = gx.vmap(lambda x: lax.while_loop(lambda c: c < 3.0, lambda c: c + 1.0, x))(np.array([0.5, 2.5]))
        chosen = gx.vmap(lambda x: lax.cond(x > 0.0, np.sin, np.cos, x))(np.array([0.5, -2.5]))
        switched = gx.vmap(lambda i: lax.switch(i, [lambda: 1.0, lambda: 2.0]))(np.array([1, 0]))
        counts = gx.vmap(lambda n: lax.fori_loop(0, n, lambda i, c: c + i, 0))(np.array([3, 0]))
    assert_close(found, np.array([3.5, 3.5]))
    assert_close(chosen, np.array([np.sin(0.5), np.cos(-2.5)]))
    assert_close(switched, np.array([2.0, 1.0]))
    assert_close(counts, np.array([3, 0]))


# --------------------------------------------------------------------------------------------------------- side effects


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_values_that_escape_from_a_loop_are_named(road: Any) -> None:
    kept: list[Any] = []

    def step(c: Any, e: Any) -> Any:
        kept.append(c)
        return c + e, None

    def leak(x: Any) -> Any:
        lax.scan(step, 0.0, x)
        return kept[-1] * 2.0

    with pytest.raises(LeakedTracerError) as caught:
        road(leak)(VECTOR)
    message = str(caught.value)
    assert "f64[]" in message and "made by scan of step" in message and "used after that tracing ended" in message
    assert re.search(r"test_lax\.py:\d+ \(leak\)", message)


def test_values_that_escape_from_other_functions_are_named() -> None:
    kept: list[Any] = []

    def keep(*args: Any) -> Any:
        kept.append(args[-1])
        return args[-1]

    for run, maker in [
        (lambda: lax.while_loop(lambda c: c < 1.0, keep, 0.5), "while_loop of keep"),
        (lambda: lax.fori_loop(0, 2, keep, 0.5), "fori_loop of keep"),
        (lambda: lax.cond(True, keep, np.sin, 0.5), "cond of keep"),
        (lambda: lax.map(keep, VECTOR), "map of keep"),
    ]:
        if "while" not in maker:
            run()
        else:
            lax.while_loop(lambda c: c < 0.0, keep, 0.5)
        for use in (lambda: kept[-1] + 1.0, lambda: lax.scan(lambda c, e: (c, e), kept[-1], VECTOR)):
            with pytest.raises(LeakedTracerError, match=f"made by {maker}"):
                use()
