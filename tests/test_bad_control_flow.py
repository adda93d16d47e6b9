"""Bad input to control flow, un-jitted, jitted and step by step: a clear error that quotes the user's line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors, lax

X = np.array([1.0, 2.0, 3.0])
M = np.arange(6.0).reshape(2, 3)


def stepped(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        with gx.disable_jit():
            return function(*args)

    return run


ROADS = {"eager": lambda f: f, "jit": gx.jit, "grad": lambda f: lambda x: gx.vjp(f, x)[0], "steps": stepped}


@contextmanager
def refused(kind: type[Exception], message: str) -> Iterator[None]:
    """The block raises an error that is ``kind`` for those who catch the builtin, ours, and names this file's line."""
    with pytest.raises(kind, match=message) as caught:
        yield
    assert isinstance(caught.value, errors.GradxformError)
    assert re.search(r"in user code: .*test_bad_control_flow\.py:\d+", str(caught.value))


def keep(c: Any, e: Any) -> Any:
    return c, e


#: A function of an array, the builtin that a user would catch, and what the message says.
WRONG: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    # The carry.
    "carry_dtype": (
        lambda x: lax.scan(lambda c, e: (np.float32(1.0) * c.astype(np.float32), e), x, x), TypeError,
        r"scan of <lambda>: the carry must keep its dtypes and shapes:\n  carry comes in as f64\[3\] and is returned as "
        r"f32\[3\]: return it with \.astype\(np\.float64\), or start with \.astype\(np\.float32\)"),
    "carry_leaves": (
        lambda x: lax.scan(lambda c, e: ([c[0][:2], {"a": c[1]["a"], "b": c[1]["b"] * 0.5}], e),
                           [x, {"a": x[0], "b": np.int64(2)}], x), TypeError,
        r"\n  carry\[0\] comes in as f64\[3\] and is returned as f64\[2\]: return one of shape \(3,\), or start with one of "
        r"shape \(2,\)\n  carry\[1\]\['b'\] comes in as i64\[\] and is returned as f64\[\]: return it with"),
    "carry_structure": (
        lambda x: lax.scan(lambda c, e: ((c, c), e), x, x), ValueError,
        r"scan of <lambda>: the carry that is returned must have the structure of the one that comes in: expected .*\*.*, "
        r"got .*\(\*, \*\)"),
    "carry_weak_float": (
        lambda x: lax.scan(lambda c, e: (np.int64(1), e), 0.5, x), TypeError,
        r"carry comes in as f64\[\]\* and is returned as i64\[\]"),
    "carry_strong_integer": (
        lambda x: lax.scan(lambda c, e: (c + 0.5, e), np.int64(0), x), TypeError,
        r"carry comes in as i64\[\] and is returned as f64\[\]"),
    "while_carry": (
        lambda x: lax.while_loop(lambda c: c[0] < 3.0, lambda c: c[:2], x), TypeError,
        r"while_loop of <lambda>: the carry must keep .*\n  carry comes in as f64\[3\] and is returned as f64\[2\]"),
    "fori_carry": (
        lambda x: lax.fori_loop(0, 3, lambda i, c: {"x": c["x"], "y": c["y"] > 0.0}, {"x": x, "y": x[0]}), TypeError,
        r"fori_loop of <lambda>: the carry must keep .*\n  carry\['y'\] comes in as f64\[\] and is returned as bool\[\]"),
    "fori_dynamic_carry": (
        lambda x: lax.fori_loop(0, x.astype(np.int64)[1], lambda i, c: (c, c), x), TypeError,
        r"fori_loop of <lambda>: the carry that is returned must have the structure"),
    "carry_kind": (
        lambda x: lax.scan(keep, "text", x), TypeError, r"scan of keep: the carry must be an array or a number .* got 'text'"),
    "no_pair": (
        lambda x: lax.scan(lambda c, e: c + e, 0.0, x), TypeError,
        r"scan of <lambda>: the function must return a pair \(carry, y\), got .*: return \(carry, None\)"),
    "triple": (
        lambda x: lax.scan(lambda c, e: (c, e, e), 0.0, x), TypeError, r"must return a pair \(carry, y\), got a tuple of 3"),
    "y_kind": (
        lambda x: lax.scan(lambda c, e: (c, "text"), 0.0, x), TypeError, r"must be an array or a number .* got 'text'"),
    # What is walked along.
    "xs_lengths": (
        lambda x: lax.scan(keep, 0.0, {"a": x, "b": M}), ValueError,
        r"scan of keep: the leaves of xs must have one leading extent: xs\['a'\] has 3, xs\['b'\] has 2"),
    "xs_number": (
        lambda x: lax.scan(keep, 0.0, (x, 2.0)), ValueError,
        r"scan of keep: each leaf of xs has a leading axis .*, but xs\[1\] is a number of type f64\[\]\*"),
    "map_lengths": (
        lambda x: lax.map(lambda e: e[0], (x, M)), ValueError,
        r"map of <lambda>: the leaves of xs must have one leading extent: xs\[0\] has 3, xs\[1\] has 2"),
    "map_nothing": (lambda x: lax.map(lambda e: e, None), ValueError, "map of <lambda>: without xs"),
    "length_negative": (
        lambda x: lax.scan(keep, x, None, length=-1), ValueError, "scan of keep: length must not be negative, got -1"),
    "length_contradicts": (
        lambda x: lax.scan(keep, 0.0, x, length=4), ValueError,
        "scan of keep: length=4 contradicts xs, whose leading extent is 3: leave out length"),
    "length_missing": (
        lambda x: lax.scan(keep, x), ValueError, "scan of keep: without xs the number of steps is not known: pass length"),
    "length_kind": (
        lambda x: lax.scan(keep, x, None, length=2.5), TypeError, r"length must be an int, got 2\.5 of type float"),
    "unroll": (lambda x: lax.scan(keep, 0.0, x, unroll=0), ValueError, "unroll must be a positive int or a bool, got 0"),
    "unroll_kind": (lambda x: lax.scan(keep, 0.0, x, unroll="all"), ValueError, "unroll must be .* got 'all'"),
    "checkpoint": (
        lambda x: lax.scan(keep, 0.0, x, checkpoint="all"), ValueError,
        "checkpoint must be None, a positive int, 'sqrt' or 'binomial', got 'all'"),
    "checkpoint_zero": (lambda x: lax.scan(keep, 0.0, x, checkpoint=0), ValueError, "checkpoint must be .* got 0"),
    "batch_size": (lambda x: lax.map(np.sin, x, batch_size=0), ValueError, "batch_size must be a positive int or None, got 0"),
    "scan_function": (lambda x: lax.scan(x, 0.0, X), TypeError, "scan: f must be a function, got "),
    "map_function": (lambda x: lax.map(None, x), TypeError, "map: f must be a function, got None of type NoneType"),
    # Predicates, bounds, indices.
    "predicate_number": (
        lambda x: lax.while_loop(lambda c: c, lambda c: c - 1.0, x[0]), TypeError,
        r"while_loop of <lambda>: cond_fun must give a boolean, got a number of type f64\[\]: compare it"),
    "predicate_array": (
        lambda x: lax.while_loop(lambda c: c > 0.0, lambda c: c - 1.0, x), TypeError,
        r"cond_fun must give one boolean, got an array of type bool\[3\]: reduce it with np\.any or np\.all"),
    "predicate_tree": (
        lambda x: lax.while_loop(lambda c: (c > 0.0, c < 5.0), lambda c: c - 1.0, x[0]), TypeError,
        r"cond_fun must give one boolean, got bool\[\], bool\[\] in the structure .*\(\*, \*\)"),
    "predicate_none": (
        lambda x: lax.while_loop(lambda c: None, lambda c: c - 1.0, x[0]), TypeError, "must give one boolean, got nothing"),
    "while_function": (
        lambda x: lax.while_loop(True, lambda c: c, x), TypeError, "while_loop: cond_fun must be a function, got True"),
    "bound": (
        lambda x: lax.fori_loop(0, 2.5, lambda i, c: c, x), TypeError,
        r"fori_loop of <lambda>: upper must be an integer, got 2\.5 of type float"),
    "bound_boolean": (lambda x: lax.fori_loop(True, 2, lambda i, c: c, x), TypeError, "lower must be an integer, got True"),
    "bound_array": (
        lambda x: lax.fori_loop(0, np.arange(2), lambda i, c: c, x), TypeError, "upper must be an integer, got array"),
    "cond_array": (
        lambda x: lax.cond(x > 0.0, np.sin, np.cos, x), TypeError,
        r"cond of sin and cos: the predicate must be one boolean, got an array of type bool\[3\]: .* np\.where"),
    "cond_tree": (lambda x: lax.cond((True, False), np.sin, np.cos, x), TypeError, "the predicate must be one boolean, got "),
    "cond_nothing": (lambda x: lax.cond(None, np.sin, np.cos, x), TypeError, "the predicate must be one boolean, got None"),
    "cond_text": (lambda x: lax.cond("yes", np.sin, np.cos, x), TypeError, "the predicate must be an array or a number"),
    "cond_function": (lambda x: lax.cond(np.any, np.sin, np.cos, x), TypeError, "got the function any: call it"),
    "cond_branch": (lambda x: lax.cond(True, 1.0, np.cos, x), TypeError, "cond: true_fun must be a function, got 1.0"),
    "switch_float": (
        lambda x: lax.switch(x[0], [np.sin, np.cos], x), TypeError,
        r"switch of sin, cos: the index must be one integer, got f64\[\]"),
    "switch_array": (
        lambda x: lax.switch(np.arange(2), [np.sin, np.cos], x), TypeError, r"the index must be one integer, got i64\[2\]"),
    "switch_boolean": (lambda x: lax.switch(True, [np.sin, np.cos], x), TypeError, "the index must be one integer, got bool"),
    "switch_nothing": (lambda x: lax.switch(0, [], x), ValueError, "switch needs at least one branch"),
    "switch_branch": (lambda x: lax.switch(0, [np.sin, 2.0], x), TypeError, r"branches\[1\] must be a function, got 2\.0"),
    # Choices element by element.
    "select_n_count": (lambda x: lax.select_n(x > 0, x, x, x), ValueError, "booleans choose between two cases, got 3"),
    "select_n_nothing": (lambda x: lax.select_n(x > 0), ValueError, "select_n needs at least one case"),
    "select_n_kind": (lambda x: lax.select_n(x, x, x), TypeError, r"select_n chooses by integers or booleans, got f64\[3\]"),
    "select_n_shapes": (
        lambda x: lax.select_n(x > 0, x, M), ValueError, r"the cases must have one shape, got f64\[3\], f64\[2,3\]"),
    "select_shape": (
        lambda x: lax.select(np.array([True, False]), x, x), ValueError,
        r"must have the shape of the cases, \(3,\), .* bool\[2\]"),
    # Combining.
    "associative_lengths": (
        lambda x: lax.associative_scan(lambda a, b: a, (x, M)), ValueError,
        r"leaves of elems must have one extent along axis 0: elems\[0\] has 3, elems\[1\] has 2"),
    "associative_structure": (
        lambda x: lax.associative_scan(lambda a, b: (a, b), x), ValueError, "must give the structure of its arguments"),
    "associative_shape": (
        lambda x: lax.associative_scan(lambda a, b: np.sum(a), x), ValueError, "the function must keep dtypes and shapes"),
    "associative_axis": (lambda x: lax.associative_scan(np.add, x, axis=1), np.exceptions.AxisError, "axis 1 is out of bounds"),
    "reduce_structure": (lambda x: lax.reduce((x,), 0.0, np.add, (0,)), ValueError, "init_values must have the structure"),
    "reduce_init": (
        lambda x: lax.reduce(x, np.float32(0.0), np.add, (0,)), ValueError,
        r"init_values must be a number of the dtype of its operand, float64, got f32\[\]"),
    "reduce_shapes": (
        lambda x: lax.reduce((x, M), (0.0, 0.0), lambda a, b: a, (0,)), ValueError, "operands must have one shape, got"),
    "reduce_axis": (lambda x: lax.reduce(x, 0.0, np.add, (1,)), np.exceptions.AxisError, "axis 1 is out of bounds"),
    "reduce_dtype": (
        lambda x: lax.reduce(x, 0.0, lambda a, b: a > b, (0,)), TypeError, "the function must keep dtypes and shapes"),
    # Windows.
    "slice_size": (lambda x: lax.dynamic_slice(x, (0,), (4,)), ValueError, r"window of shape \(4,\) does not fit .* \(3,\)"),
    "slice_sizes": (lambda x: lax.dynamic_slice(x, (0,), (2, 2)), ValueError, "one size per axis: expected 1"),
    "slice_starts": (lambda x: lax.dynamic_slice(x, (0, 0), (2,)), ValueError, "one index per axis: expected 1, got 2"),
    "slice_start_kind": (lambda x: lax.dynamic_slice(x, (0.5,), (2,)), TypeError, "start index must be one integer, got f64"),
    "slice_start_array": (
        lambda x: lax.dynamic_slice(x, M, (2,)), ValueError, r"sequence of integers, one per axis, got f64\[2,3\]"),
    "slice_size_kind": (lambda x: lax.dynamic_slice(x, (0,), 2), TypeError, "slice_sizes must be a sequence of ints, got 2"),
    "update_rank": (lambda x: lax.dynamic_update_slice(x, M, (0,)), ValueError, r"as many axes .* expected 1, got f64\[2,3\]"),
    "update_size": (lambda x: lax.dynamic_update_slice(x, np.ones(4), (0,)), ValueError, "does not fit into"),
    "update_dtype": (
        lambda x: lax.dynamic_update_slice(x, np.ones(2, np.float32), (0,)), TypeError,
        r"the values must have the dtype of the array, float64, got f32\[2\]: cast them"),
    "gather_mode": (
        lambda x: lax.gather(x, np.arange(2), mode="wrap"), ValueError, "mode must be one of 'check', .* got 'wrap'"),
    "gather_kind": (lambda x: lax.gather(x, x), TypeError, r"gather: indices must be integers, got f64\[3\]"),
    "gather_axes": (lambda x: lax.gather(x, np.arange(2), axes=(1,)), np.exceptions.AxisError, "axis 1 is out of bounds"),
    "gather_counts": (
        lambda x: lax.gather(M, (np.arange(2),), axes=(0, 1)), ValueError, "axes must name one axis per index array"),
    "scatter_shape": (
        lambda x: lax.scatter(x, np.arange(2), np.ones(3)), ValueError, r"shape \(3,\) cannot be broadcast to shape \(2,\)"),
}

DIFFERENT: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "cond_structure": (
        lambda x: lax.cond(x[0] > 0.0, lambda: (x, x), lambda: x), ValueError,
        r"cond of <lambda> and <lambda>: the results of the branches must have one structure: false_fun gives .*\*.*, true_fun "
        r"gives .*\(\*, \*\)"),
    "cond_types": (
        lambda x: lax.cond(x[0] > 0.0, lambda: {"a": x, "b": x[0]}, lambda: {"a": x.astype(np.float32), "b": x}), TypeError,
        r"the results of the branches must have the same dtypes and shapes:"
        r"\n  result\['a'\] is f32\[3\] from false_fun, f64\[3\] from true_fun: cast one of them with \.astype"
        r"\n  result\['b'\] is f64\[3\] from false_fun, f64\[\] from true_fun: bring them to one shape"),
    "cond_known": (
        lambda x: lax.cond(True, lambda: x, lambda: x[0]), TypeError,
        r"result is f64\[\] from false_fun, f64\[3\] from true_fun"),
    "switch_types": (
        lambda x: lax.switch(1, [lambda: x[0], lambda: x[0] > 0.0, lambda: np.int64(1)]), TypeError,
        r"result is f64\[\] from branches\[0\], bool\[\] from branches\[1\], i64\[\] from branches\[2\]"),
    "traced_length": (
        lambda x: lax.scan(keep, x, None, length=x.astype(np.int64)[0] if hasattr(x, "builder") else np.float64(1)), TypeError,
        "length must be an int, got"),
}


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str, road: Any) -> None:
    function, kind, message = WRONG[name]
    with refused(kind, message):
        road(function)(X)


@pytest.mark.parametrize("road", ["eager", "jit", "grad"])
@pytest.mark.parametrize("name", DIFFERENT)
def test_what_tracing_finds(name: str, road: str) -> None:
    function, kind, message = DIFFERENT[name]
    with refused(kind, message):
        ROADS[road](function)(X)


def test_dynamic_bounds() -> None:
    with refused(TypeError, r"fori_loop of <lambda>: upper must be one integer, got f64\[\]"):
        gx.jit(lambda x: lax.fori_loop(0, x[0], lambda i, c: c, x))(X)
    with refused(ValueError, "unroll needs bounds that are known while tracing"):
        gx.jit(lambda x, n: lax.fori_loop(0, n, lambda i, c: c, x, unroll=2))(X, 3)
    with refused(TypeError, r"length must be an int, got a traced array of type i64\[\]\*: use fori_loop or while_loop"):
        gx.jit(lambda x, n: lax.scan(keep, x, None, length=n))(X, 3)
    with refused(TypeError, "the predicate must be one boolean"):
        gx.jit(lambda x: lax.cond(x, np.sin, np.cos, x))(X)


def test_values_are_not_known_in_bodies() -> None:
    def step(c: Any, e: Any) -> Any:
        return (c + e if c > 0.0 else c - e), None

    for road in (lambda f: f, gx.jit, lambda f: lambda x: gx.vjp(f, x)):
        with refused(TypeError, r"a condition \(bool\) needs the value of a traced array .* not known while scan of step traces"
                                r"(.|\n)*gradxform\.lax\.cond"):
            road(lambda x: lax.scan(step, x[0], x))(X)
    with gx.disable_jit():
        assert lax.scan(step, X[0], X)[0] == 7.0


@pytest.mark.parametrize("road", ["eager", "jit"])
def test_an_index_out_of_range_in_a_loop(road: str) -> None:
    run = ROADS[road](lambda x, n: lax.fori_loop(0, n, lambda i, c: c + gx.numpy.take(x, i), 0.0))
    assert run(X, 3) == 6.0
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 0 with size 3"):
        run(X, 4)


def test_an_error_in_a_body_is_the_users_own() -> None:
    def step(c: Any, e: Any) -> Any:
        raise KeyError("mine")

    for road in ROADS.values():
        with pytest.raises(KeyError, match="mine"):
            road(lambda x: lax.scan(step, 0.0, x)[0])(X)
    assert lax.scan(lambda c, e: (c + e, None), 0.0, X)[0] == 6.0
