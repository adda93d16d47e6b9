"""pure_callback and io_callback: values, order, structures, batching, derivatives, exceptions; un-jitted and compiled."""

import threading
import traceback
import warnings

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors
from gradxform.ir import callbacks, check

X = np.array([0.5, -1.25, 3.0])
VECTOR = gx.ShapeDType((3,), float)
SCALAR = gx.ShapeDType((), float)

#: Each runs a function of one array by another road.
ROADS = {
    "direct": lambda f: f,
    "traced": lambda f: lambda x: gx.vmap(f, in_axes=None, axis_size=1, out_axes=None)(x),
    "jit": gx.jit,
    "jit_in_jit": lambda f: gx.jit(lambda x: gx.jit(f)(x)),
}


@pytest.fixture(params=ROADS.values(), ids=ROADS)
def road(request):
    return request.param


def twice(x):
    return 2.0 * x


# --------------------------------------------------------------------------------------------------- values and types


def test_the_result_is_what_the_function_returns(road):
    f = road(lambda x: gx.pure_callback(np.cumsum, VECTOR, x + 1.0) * 2.0)
    for x in (X, -X):
        np.testing.assert_array_equal(f(x), np.cumsum(x + 1.0) * 2.0)


def test_structures_go_in_and_out(road):
    def host(a, pair, *, scale):
        return {"sum": a + pair[0], "rest": [pair[1]["n"] * scale, np.float32(pair[0][0])]}

    shape = {"sum": VECTOR, "rest": [gx.ShapeDType((), np.int64), gx.ShapeDType((), np.float32)]}

    def f(x):
        out = gx.pure_callback(host, shape, x, (x * x, {"n": np.int64(4)}), scale=np.int64(3))
        return out["sum"] + 1.0, out["rest"][0], out["rest"][1]

    total, number, single = road(f)(X)
    np.testing.assert_array_equal(total, X + X * X + 1.0)
    assert number == 12 and number.dtype == np.int64
    assert single == np.float32(0.25) and single.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int32, np.int64, np.uint8, np.uint64, np.float32, np.float64])
def test_every_dtype_passes(dtype):
    given = np.array([[0, 1, 3], [2, 5, 1]]).astype(dtype)
    f = lambda x: gx.pure_callback(lambda a: a.T.copy(), gx.ShapeDType((3, 2), dtype), x)  # noqa: E731
    for run in (f, gx.jit(f)):
        found = run(given)
        np.testing.assert_array_equal(found, given.T)
        assert found.dtype == dtype


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 1, 3)])
def test_every_shape_passes(road, shape):
    x = np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape) + 0.5
    found = road(lambda x: gx.pure_callback(lambda a: a + 1.0, gx.ShapeDType(shape, float), x))(x)
    np.testing.assert_array_equal(found, x + 1.0)
    assert np.shape(found) == shape


def test_arguments_arrive_as_numpy_values_that_cannot_be_written(road):
    arrived = []

    def host(a, b):
        arrived.append((a, b))
        with pytest.raises(ValueError, match="read-only"):
            a[0] = 7.0
        return a

    np.testing.assert_array_equal(road(lambda x: gx.pure_callback(host, VECTOR, x, x[0]))(X), X)
    a, b = arrived[-1]
    assert type(a) is np.ndarray and type(b) is np.float64
    np.testing.assert_array_equal(a, X)
    assert b == X[0]


def test_what_a_callback_keeps_stays_as_it_was():
    kept = []
    f = gx.jit(lambda x: gx.io_callback(kept.append, None, x * 1.0))
    for k in range(3):
        f(X + k)
    np.testing.assert_array_equal(kept, [X, X + 1, X + 2])


def test_several_results_and_calls(road):
    def f(x):
        quotient, remainder = gx.pure_callback(np.divmod, (VECTOR, VECTOR), x, 2.0)
        return gx.pure_callback(np.add, VECTOR, quotient, 10.0 * remainder)

    np.testing.assert_array_equal(road(f)(X), np.floor_divide(X, 2.0) + 10.0 * np.remainder(X, 2.0))


def test_namedtuples_count_as_tuples():
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    shape = (gx.ShapeDType((2,), float), gx.ShapeDType((2, 2), float))
    for road in (lambda f: f, gx.jit):
        values, vectors = road(lambda a: gx.pure_callback(np.linalg.eigh, shape, a))(matrix)
        np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, matrix, atol=1e-14)


def test_python_numbers_take_the_dtype_that_is_wanted(road):
    f = road(lambda x: x * gx.pure_callback(lambda a: 3, SCALAR, x[0]))
    np.testing.assert_array_equal(f(X), 3.0 * X)


def test_one_text_and_two_functions():
    """Programs that print alike and call different functions are different programs."""
    texts, results = [], []
    for factor in (2.0, 5.0):
        def host(a, factor=factor):
            return a * factor

        f = lambda x, host=host: gx.pure_callback(host, VECTOR, x)  # noqa: E731
        texts.append(str(gx.make_ir(f)(X)))
        results.append(gx.jit(f)(X))
    assert texts[0] == texts[1]
    np.testing.assert_array_equal(results, [2.0 * X, 5.0 * X])


def test_one_text_and_another_order():
    def make(factor):
        def host(a):
            return a * factor
        return host

    a, b = make(2.0), make(5.0)

    def both(first, second):
        return gx.jit(lambda x: gx.pure_callback(first, VECTOR, x) + 10.0 * gx.pure_callback(second, VECTOR, x + 1.0))

    for first, second, expected in ((a, b, 2.0 * X + 50.0 * (X + 1.0)), (b, a, 5.0 * X + 20.0 * (X + 1.0)),
                                    (b, b, 5.0 * X + 50.0 * (X + 1.0))):
        np.testing.assert_allclose(both(first, second)(X), expected, rtol=1e-15)


def test_a_program_shows_its_callbacks():
    def logger(a):
        return None

    program = check(gx.make_ir(lambda x: (gx.io_callback(logger, None, x), gx.pure_callback(twice, SCALAR, x)))(1.0))
    assert str(program) == ("{ lambda a:f64[]* . let io_callback[callback=logger results=()] a ; "
                            "b:f64[] = pure_callback[callback=twice results=((f64,()),) vmap_method=None] a in (b) }")
    assert [c.name for c in callbacks(program)] == ["logger", "twice"]
    assert len(set(callbacks(gx.make_ir(
        lambda x: gx.pure_callback(twice, SCALAR, x) + gx.pure_callback(twice, SCALAR, x + 1.0))(1.0)))) == 1


# --------------------------------------------------------------------------------------------------- effects and order


def test_effects_happen_once_and_in_order(road):
    seen = []

    def f(x):
        gx.io_callback(lambda a: seen.append(("first", float(a))), None, x[0])
        y = gx.numpy.sum(x * x)
        gx.io_callback(lambda a: seen.append(("second", float(a))), None, y)
        gx.io_callback(lambda: seen.append(("third",)), None)
        return y

    run = road(f)
    for _ in range(2):
        seen.clear()
        assert float(run(X)) == np.sum(X * X)
        assert seen == [("first", 0.5), ("second", float(np.sum(X * X))), ("third",)]


def test_results_of_effects_are_used():
    numbers = iter(range(100))
    count = gx.ShapeDType((), np.int64)

    def f(x):
        return x + gx.io_callback(lambda: next(numbers), count) + 10.0 * gx.io_callback(lambda: next(numbers), count)

    assert f(0.5) == 0.5 + 0 + 10.0
    run = gx.jit(f)
    assert run(0.5) == 0.5 + 2 + 30.0
    assert run(0.5) == 0.5 + 4 + 50.0


def test_equal_effects_are_not_merged():
    seen = []

    def f(x):
        gx.io_callback(seen.append, None, x)
        gx.io_callback(seen.append, None, x)
        return x

    gx.jit(f)(1.5)
    assert seen == [1.5, 1.5]


def test_the_value_of_an_effect_is_not_known_while_tracing():
    calls = []

    def f(x):
        y = gx.io_callback(lambda a: calls.append(a) or 1, gx.ShapeDType((), np.int64), x)
        return x * 2.0 if y > 0 else x

    assert f(3.0) == 6.0
    with pytest.raises(errors.ConcretizationError):
        gx.vjp(f, 3.0)
    assert len(calls) == 1


def test_gradients_run_effects_once_with_primal_values(road):
    seen = []

    def f(x):
        y = x * x
        gx.io_callback(lambda a: seen.append(float(a)), None, y[1])
        return gx.numpy.sum(y * x)

    np.testing.assert_allclose(road(gx.grad(f))(X), 3.0 * X * X, rtol=1e-15)
    assert seen == [X[1] ** 2]
    seen.clear()
    _, tangent = road(lambda x: gx.jvp(f, (x,), (np.ones(3),)))(X)
    np.testing.assert_allclose(tangent, np.sum(3.0 * X * X), rtol=1e-15)
    assert seen == [X[1] ** 2]


def test_second_derivatives_run_effects_once():
    seen = []

    def f(x):
        gx.io_callback(lambda a: seen.append(float(a)), None, x)
        return x ** 3

    for road in (lambda f: f, gx.jit):
        seen.clear()
        assert road(gx.grad(gx.grad(f)))(2.0) == 12.0
        assert seen == [2.0]


# ------------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("transform", [gx.grad, lambda f: lambda x: gx.jvp(f, (x,), (1.0,)), lambda f: gx.jit(gx.grad(f))],
                         ids=["grad", "jvp", "jit_grad"])
@pytest.mark.parametrize("call", [gx.pure_callback, gx.io_callback])
def test_a_float_result_has_no_derivative(transform, call):
    def f(x):
        return call(twice, SCALAR, x) + 1.0

    with pytest.raises(errors.NotDifferentiableError, match=r"of twice has no derivative.*custom_jvp") as caught:
        transform(f)(1.5)
    assert "test_callbacks.py" in str(caught.value) and "(f)" in str(caught.value)


def test_stopped_gradients_and_integers_need_no_rule(road):
    def f(x):
        factor = gx.pure_callback(lambda a: np.sum(a), SCALAR, gx.stop_gradient(x))
        number = gx.pure_callback(lambda a: 4, gx.ShapeDType((), np.int64), x)
        return gx.numpy.sum(x * factor * number)

    np.testing.assert_allclose(road(gx.grad(f))(X), np.full(3, 4.0 * np.sum(X)), rtol=1e-15)


def test_linear_transpose_refuses():
    with pytest.raises(errors.NotDifferentiableError, match="pure_callback of twice"):
        gx.linear_transpose(lambda x: gx.pure_callback(twice, SCALAR, x), 1.0)(1.0)


# ------------------------------------------------------------------------------------------------------------- vmap

LANES = np.arange(12.0).reshape(4, 3) / 7.0
MANY = np.arange(60.0).reshape(20, 3) / 7.0


def test_vmap_asks_for_a_method():
    with pytest.raises(NotImplementedError, match=r"pure_callback of twice under vmap.*vmap_method") as caught:
        gx.vmap(lambda x: gx.pure_callback(twice, VECTOR, x))(LANES)
    assert isinstance(caught.value, errors.VmapError) and "test_callbacks.py" in str(caught.value)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("lanes", [LANES, MANY, LANES[:1]], ids=["few", "many", "one"])
@pytest.mark.parametrize(("method", "shapes"), [
    ("sequential", lambda n: [((3,), ())] * n),
    ("sequential_unrolled", lambda n: [((3,), ())] * n),
    ("expand_dims", lambda n: [((n, 3), (1,))]),
    ("broadcast_all", lambda n: [((n, 3), (n,))]),
    ("legacy_vectorized", lambda n: [((n, 3), ())]),
])
def test_vmap_methods(method, shapes, lanes, compiled):
    seen = []

    def host(x, c):
        seen.append((x.shape, np.shape(c)))
        return x * (c if np.ndim(c) == 0 else c[:, None])

    def f(x, c):
        return gx.pure_callback(host, VECTOR, x, c, vmap_method=method) + 1.0

    run = gx.vmap(f, in_axes=(0, None))
    found = (gx.jit(run) if compiled else run)(lanes, 2.5)
    np.testing.assert_array_equal(found, lanes * 2.5 + 1.0)
    assert seen == shapes(len(lanes))


def test_nested_vmap():
    def f(x, y):
        return gx.pure_callback(lambda a, b: a * b, SCALAR, x, y, vmap_method="expand_dims")

    x, y = LANES[0], LANES[:, 1]
    for road in (lambda f: f, gx.jit):
        found = road(gx.vmap(gx.vmap(f, in_axes=(0, None)), in_axes=(None, 0)))(x, y)
        np.testing.assert_array_equal(found, y[:, None] * x[None, :])


def test_effects_happen_lane_by_lane():
    for lanes in (LANES, MANY):
        for road in (lambda f: f, gx.jit):
            seen = []

            def f(x, seen=seen):
                gx.io_callback(lambda a, b: seen.append((float(a), b)), None, x[1], np.int64(7))
                return x * gx.io_callback(lambda: 2.0, SCALAR)

            np.testing.assert_array_equal(road(gx.vmap(f))(lanes), lanes * 2.0)
            assert seen == [(float(row[1]), 7) for row in lanes]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"vmap_method must be one of 'sequential'.*got 'fast'"):
        gx.pure_callback(twice, SCALAR, 1.0, vmap_method="fast")


# --------------------------------------------------------------------------------------------------------- bad input

WRONG = {
    "shape": (VECTOR, lambda x: x[:2], ValueError, r"result 0 has shape \(2,\), result_shape_dtypes says \(3,\)"),
    "rank": (VECTOR, lambda x: 1.0, ValueError, r"result 0 has shape \(\), result_shape_dtypes says \(3,\)"),
    "dtype": (VECTOR, lambda x: x.astype("f4"), TypeError, r"result 0 has dtype float32, .* says float64: return \.astype"),
    "kind": (gx.ShapeDType((), np.int64), lambda x: 1.5, TypeError, "result 0 has dtype float64"),
    "structure": ((VECTOR, VECTOR), lambda x: (x,), ValueError, "where result_shape_dtypes has the structure"),
    "keys": ({"a": VECTOR}, lambda x: {"b": x}, ValueError, "where result_shape_dtypes has the structure"),
    "none": (None, lambda x: x, ValueError, "return as many arrays, or None"),
    "nothing": (VECTOR, lambda x: None, TypeError, "result 0 must be an array or a number, got None"),
    "words": (SCALAR, lambda x: "seven", TypeError, "result 0 must be an array or a number, got 'seven'"),
}


@pytest.mark.parametrize(("shape", "host", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_results_are_told(road, shape, host, kind, message):
    def f(x):
        gx.io_callback(host, shape, x)
        return x

    with pytest.raises(kind, match=f"io_callback of <lambda>.*{message}") as caught:
        road(f)(X)
    assert isinstance(caught.value, errors.GradxformError)
    assert "test_callbacks.py" in str(caught.value)


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: gx.pure_callback(3, SCALAR), TypeError, "pure_callback expects a function, got 3"),
    (lambda: gx.pure_callback(twice, 1.0, 1.0), TypeError, "leaves with a shape and a dtype"),
    (lambda: gx.pure_callback(twice, SCALAR, "text"), TypeError, "pure_callback of twice: an argument must be an array"),
    (lambda: gx.io_callback(twice, SCALAR, 1.0, sharding="all"), ValueError, "sharding must be None"),
    (lambda: gx.pure_callback(twice, np.zeros(2, np.float16), 1.0), TypeError, "float16 is not supported"),
])
def test_wrong_arguments_are_told(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_leaked_array_is_noticed():
    kept = []
    gx.vjp(lambda x: kept.append(x) or x, 1.0)
    with pytest.raises(errors.LeakedTracerError):
        gx.pure_callback(twice, SCALAR, kept[0])


# -------------------------------------------------------------------------------------------------------- exceptions


class Unhappy(Exception):
    pass


def raises(x):
    raise Unhappy(f"no {float(np.ravel(x)[0])}")


def test_exceptions_come_through_with_their_traceback(road):
    after = []

    def f(x):
        y = gx.io_callback(raises, VECTOR, x + 1.0)
        gx.io_callback(after.append, None, x)
        return y * 2.0

    run = road(f)
    for _ in range(3):
        with pytest.raises(Unhappy, match=r"no 1\.5") as caught:
            run(X)
        assert "raises" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert "raise Unhappy" in "".join(traceback.format_exception(caught.value))
    assert after == []


def test_the_next_call_works(road):
    def host(x):
        if x[0] < 0:
            raise Unhappy("negative")
        return np.sqrt(x)

    run = road(lambda x: gx.pure_callback(host, VECTOR, x) + 1.0)
    for _ in range(2):
        np.testing.assert_array_equal(run(np.array([1.0, 4.0, 9.0])), [2.0, 3.0, 4.0])
        with pytest.raises(Unhappy, match="negative"):
            run(np.array([-1.0, 4.0, 9.0]))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, StopIteration, GeneratorExit])
def test_any_exception_comes_through(road, kind):
    def host():
        raise kind("from the callback")

    with pytest.raises(kind, match="from the callback"):
        road(lambda x: gx.io_callback(host, None) or x)(X)


def test_a_callback_may_call_compiled_functions():
    inner = gx.jit(lambda x: gx.pure_callback(lambda a: a * 2.0 if a[0] > 0 else raises(a), VECTOR, x) + 1.0)
    outer = gx.jit(lambda x: gx.pure_callback(lambda a: inner(a) * 3.0, VECTOR, x))
    np.testing.assert_array_equal(outer(abs(X)), (abs(X) * 2.0 + 1.0) * 3.0)
    with pytest.raises(Unhappy):
        outer(-abs(X))

    def forgiving(a):
        try:
            return inner(a)
        except Unhappy:
            return np.zeros(3)

    run = gx.jit(lambda x: gx.pure_callback(forgiving, VECTOR, x) + x)
    np.testing.assert_array_equal(run(-abs(X)), -abs(X))
    np.testing.assert_array_equal(run(abs(X)), abs(X) * 3.0 + 1.0)


def test_a_callback_may_use_transforms_while_something_is_traced():
    def host(a):
        return gx.grad(lambda x: gx.numpy.sum(x ** 3))(a)

    def f(x):
        y = gx.pure_callback(host, VECTOR, gx.stop_gradient(x))
        return x * 2.0 if y[0] > 0 else x  # asks for the value while tracing

    value, _ = gx.vjp(f, X)
    np.testing.assert_array_equal(value, X * 2.0)


def test_callbacks_warn_as_any_code():
    f = lambda x: gx.pure_callback(lambda a: np.log(a), SCALAR, x)  # noqa: E731
    for run in (f, lambda x: gx.vjp(lambda x: f(gx.stop_gradient(x)) * x, x)[0], gx.jit(f)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(0.0)
        assert [str(w.message) for w in caught] == ["divide by zero encountered in log"]


def test_threads_have_their_own_exceptions():
    def host(x):
        if x[0] < 0:
            raise Unhappy(str(x[0]))
        return x

    run = gx.jit(lambda x: gx.pure_callback(host, VECTOR, x) * 2.0)
    run(abs(X))
    wrong = []

    def work(number):
        for k in range(200):
            x = np.full(3, float(number * 1000 + k) * (-1.0) ** k - 0.5 * (k % 2))
            try:
                if not np.array_equal(run(x), 2.0 * x) or k % 2:
                    wrong.append(x)
            except Unhappy as error:
                if not k % 2 or str(error) != str(x[0]):
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ------------------------------------------------------------------------------------------------ loops and branches

LOOP_ROADS = {
    "direct": lambda f: f,
    "jit": gx.jit,
    "disabled": lambda f: lambda *args: _disabled(f, *args),
}


def _disabled(f, *args):
    with gx.disable_jit():
        return f(*args)


@pytest.fixture(params=LOOP_ROADS.values(), ids=LOOP_ROADS)
def loop_road(request):
    return request.param


def test_effects_in_a_scan_happen_in_every_iteration(loop_road):
    seen = []

    def step(c, x):
        gx.io_callback(lambda a, b: seen.append((float(a), b.tolist())), None, c, x)
        return c + gx.numpy.sum(x), c * 2.0

    xs = np.arange(10.0).reshape(5, 2)
    total, doubled = loop_road(lambda c, xs: gx.lax.scan(step, c, xs))(0.5, xs)
    carries = 0.5 + np.concatenate([[0.0], np.cumsum(xs.sum(1))])
    assert seen == [(c, x.tolist()) for c, x in zip(carries, xs, strict=False)]
    assert total == carries[-1]
    np.testing.assert_array_equal(doubled, 2.0 * carries[:-1])


@pytest.mark.parametrize("reverse", [False, True])
def test_results_of_calls_in_a_scan(loop_road, reverse):
    """Results go to carries and to what the loop records, numbers and arrays, small and large."""
    def host(v, s):
        return v[::-1] + s, np.float32(s), np.sum(v)

    size = 40
    shapes = (gx.ShapeDType((size,), float), gx.ShapeDType((), np.float32), SCALAR)

    def step(carry, x):
        vector, single, total = gx.pure_callback(host, shapes, carry[0], x)
        return (vector, carry[1] + total), (single, vector[:3], total)

    def reference(start, xs):
        carry, rows = (start, 0.0), []
        for x in xs[::-1] if reverse else xs:
            vector, single, total = host(carry[0], x)
            carry = vector, carry[1] + total
            rows.append((single, vector[:3], total))
        return carry, [np.stack(column) for column in zip(*(rows[::-1] if reverse else rows), strict=True)]

    start, xs = np.arange(float(size)), np.array([0.25, 0.5, 4.0, -1.0])
    run = loop_road(lambda start, xs: gx.lax.scan(step, (start, 0.0), xs, reverse=reverse))
    (vector, total), rows = run(start, xs)
    (expected, expected_total), expected_rows = reference(start, xs)
    np.testing.assert_array_equal(vector, expected)
    assert total == expected_total
    for row, expected_row in zip(rows, expected_rows, strict=True):
        np.testing.assert_array_equal(row, expected_row)
        assert row.dtype == expected_row.dtype


def test_calls_in_a_while_loop_and_in_its_condition(loop_road):
    asked = []

    def condition(c):
        return gx.io_callback(lambda a: asked.append(float(a)) or bool(a < 20.0), gx.ShapeDType((), bool), c)

    def body(c):
        return gx.pure_callback(lambda a: a * 3.0, SCALAR, c)

    assert loop_road(lambda x: gx.lax.while_loop(condition, body, x))(1.0) == 27.0
    assert asked == [1.0, 3.0, 9.0, 27.0]


def test_only_the_branch_taken_calls(loop_road):
    seen = []

    def branch(name):
        def run(x):
            gx.io_callback(lambda a: seen.append((name, float(a))), None, x)
            return x * 2.0
        return run

    run = loop_road(lambda x: gx.lax.cond(x > 0.0, branch("yes"), branch("no"), x))
    assert run(1.5) == 3.0 and run(-2.0) == -4.0
    assert seen == [("yes", 1.5), ("no", -2.0)]
    seen.clear()
    only = loop_road(lambda i: gx.lax.switch(i, [lambda: None, lambda: gx.io_callback(lambda: seen.append("one"), None)]) or i)
    only(0)
    only(1)
    assert seen == ["one"]


def test_nested_loops_keep_the_order(loop_road):
    seen = []

    def inner(j, c, i):
        gx.io_callback(lambda *numbers: seen.append(tuple(map(float, numbers))), None, i, j, c)
        return c + 1.0

    def outer(i, c):
        c = gx.lax.fori_loop(0, 3, lambda j, c: inner(j, c, i), c)
        gx.io_callback(lambda i: seen.append(("row", int(i))), None, i)
        return c

    assert loop_road(lambda c: gx.lax.fori_loop(0, 2, outer, c))(0.0) == 6.0
    assert seen == [(0, 0, 0), (0, 1, 1), (0, 2, 2), ("row", 0), (1, 0, 3), (1, 1, 4), (1, 2, 5), ("row", 1)]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_reverse_mode_of_loops_runs_effects_once(compiled):
    seen = []

    def f(x):
        def outer(c, _):
            def body(c):
                gx.io_callback(lambda a: seen.append(float(a)), None, c)
                return c * c
            return gx.lax.while_loop(lambda c: c < 10.0, body, c) * 0.01 + 1.5, None

        return gx.lax.scan(outer, x, None, length=3)[0]

    def reference(c, log):
        for _ in range(3):
            while c < 10.0:
                log.append(c)
                c = c * c
            c = c * 0.01 + 1.5
        return c

    expected = []
    reference(2.0, expected)
    slope = (reference(2.0 + 1e-6, []) - reference(2.0 - 1e-6, [])) / 2e-6
    gradient = gx.grad(f)
    found = (gx.jit(gradient) if compiled else gradient)(2.0)
    np.testing.assert_allclose(found, slope, rtol=1e-8)
    np.testing.assert_allclose(seen, expected, rtol=1e-15)


def test_an_effect_with_a_result_cannot_be_repeated():
    def f(x):
        def outer(c, _):
            body = lambda c: c * c + gx.io_callback(lambda: 1.0, SCALAR)  # noqa: E731
            return gx.lax.while_loop(lambda c: c < 10.0, body, c) * 0.01 + 1.5, None

        return gx.lax.scan(outer, x, None, length=3)[0]

    assert np.isfinite(f(2.0))
    with pytest.raises(errors.NotDifferentiableError, match="its result is needed a second time"):
        gx.grad(f)(2.0)


def test_exceptions_end_loops(loop_road):
    seen = []

    def step(c, x):
        gx.io_callback(lambda a: seen.append(float(a)) if a < 3 else raises(a), None, c)
        return c + x, gx.numpy.sin(c)

    run = loop_road(lambda xs: gx.lax.scan(step, 0.0, xs))
    for _ in range(2):
        seen.clear()
        with pytest.raises(Unhappy, match=r"no 3\.0") as caught:
            run(np.ones(1000))
        assert seen == [0.0, 1.0, 2.0]
        assert "raises" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        total, sines = run(np.full(6, 0.5))
        assert total == 3.0
        np.testing.assert_allclose(sines, np.sin(np.arange(6) * 0.5), rtol=1e-15)


def test_exceptions_in_recorded_loops_free_their_tapes():
    def f(x, limit):
        def body(c):
            gx.debug.callback(lambda a: raises(a) if a > 1e6 else None, c)
            return c * 1.01
        return gx.lax.while_loop(lambda c: c < limit, body, x)

    run = gx.jit(gx.grad(f))
    for _ in range(3):
        with pytest.raises(Unhappy):
            run(1.0, 1e9)
        steps = int(np.ceil(np.log(1e5) / np.log(1.01)))
        np.testing.assert_allclose(run(1.0, 1e5), 1.01 ** steps, rtol=1e-10)


def test_lanes_of_loops():
    seen = []

    def f(x):
        def body(i, c):
            gx.io_callback(lambda i, a: seen.append((int(i), float(a))), None, i, c)
            return c * 2.0
        return gx.lax.fori_loop(0, 2, body, x)

    for run in (gx.vmap(f), gx.jit(gx.vmap(f))):
        seen.clear()
        np.testing.assert_array_equal(run(X), 4.0 * X)
        assert seen == [(i, x * 2.0 ** i) for i in range(2) for x in X]


def test_a_wrong_index_is_told_before_python_sees_values():
    seen = []

    def f(x, i):
        y = x[i] * 2.0
        gx.io_callback(seen.append, None, y)
        return y

    run = gx.jit(f)
    assert run(X, 1) == -2.5
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        run(X, 7)

    def loop(x, n):
        def body(i, c):
            gx.io_callback(seen.append, None, x[i])
            return c + x[i]
        return gx.lax.fori_loop(0, n, body, 0.0)

    many = gx.jit(loop)
    assert many(X, 3) == X.sum()
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        many(X, 8)
    assert seen == [-2.5, *X, *X]


def test_long_programs_with_calls():
    """So long that it is compiled in parts."""
    seen = []

    def f(x, limit):
        for k in range(400):
            x = gx.numpy.sin(x) + 0.001 * k
            if k % 50 == 0:
                gx.io_callback(lambda k, a, b: seen.append(int(k)) if k < b else raises(a), None, k, x, limit)
        return x

    run = gx.jit(f)
    expected = 0.3
    for k in range(400):
        expected = np.sin(expected) + 0.001 * k
    np.testing.assert_allclose(run(0.3, 1000), expected, rtol=1e-12)
    assert seen == list(range(0, 400, 50))
    seen.clear()
    with pytest.raises(Unhappy):
        run(0.3, 120)
    assert seen == [0, 50, 100]


def test_beside_parallel_loops():
    x = np.linspace(-1.0, 1.0, 400_000)

    def f(x):
        y = gx.numpy.sin(x)
        total = gx.pure_callback(np.sum, SCALAR, y * y)
        return y * total, gx.numpy.sum(y)

    run = gx.jit(f)
    for _ in range(2):
        scaled, total = run(x)
        np.testing.assert_allclose(scaled, np.sin(x) * np.sum(np.sin(x) ** 2), rtol=1e-12)
        np.testing.assert_allclose(total, np.sum(np.sin(x)), atol=1e-8)


def test_loops_show_their_calls():
    text = str(gx.jit(lambda x: gx.pure_callback(twice, VECTOR, x) + 1.0).lower(X).loops)
    assert "= python twice(in0(offset 0, f64[3]))" in text


def test_no_lanes():
    for method in ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all"):
        f = lambda x, m=method: gx.pure_callback(twice, VECTOR, x, vmap_method=m)  # noqa: E731
        assert gx.vmap(f)(np.zeros((0, 3))).shape == (0, 3)


# --------------------------------------------------------------------------------------------------- memory and order


def stored(v, i, value):
    """``v`` with another element ``i``, traced or not."""
    if hasattr(v, "at"):
        return v.at[i].set(value)
    copy = v.copy()
    copy[i] = value
    return copy


def test_values_that_are_updated_in_place_are_seen_as_they_were():
    wide = gx.ShapeDType((50,), float)

    def f(x, call):
        a = call(lambda v: v * 2.0, x)
        b = call(lambda v: v + 1.0, stored(a, 0, 5.0))
        c = call(lambda v: v - np.sum(v), a)
        d = stored(b, 1, b[1] + c[2])
        return a, b, c, d, call(lambda v, w: v * w, b, d)

    x = np.linspace(0.5, 2.0, 50)
    expected = f(x, lambda host, *args: host(*args))
    found = gx.jit(lambda x: f(x, lambda host, *args: gx.pure_callback(host, wide, *args)))(x)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)


def test_a_carry_updated_in_place_is_seen_as_it_was(loop_road):
    """The callback sees the array before its own result is stored into it."""
    size = 40
    seen = []

    def host(v, i):
        seen.append(v.copy())
        return v[i] * 2.0 + np.sum(v[:i])

    def body(i, v):
        after = stored(v, i, gx.pure_callback(host, SCALAR, v, i))
        gx.io_callback(lambda w: seen.append(w.copy()), None, after)
        return after

    start = np.linspace(0.0, 1.0, size)
    found = loop_road(lambda v: gx.lax.fori_loop(0, size, body, v))(start)
    states = [start]
    for i in range(size):
        states.append(stored(states[-1], i, states[-1][i] * 2.0 + np.sum(states[-1][:i])))
    np.testing.assert_allclose(found, states[-1], rtol=1e-14)
    assert len(seen) == 2 * size
    for i in range(size):
        np.testing.assert_allclose(seen[2 * i], states[i], rtol=1e-14)
        np.testing.assert_allclose(seen[2 * i + 1], states[i + 1], rtol=1e-14)


def test_operands_of_every_origin():
    """Inputs, views of them, results, constants, captured arrays, arrays of one element, numbers; results used in part."""
    captured = np.array([[7.0, 8.0]])
    shape = (VECTOR, SCALAR, gx.ShapeDType((1, 1), float), gx.ShapeDType((), bool), gx.ShapeDType((2,), np.int32))
    seen = []

    def host(*values):
        seen.append([np.array(v) for v in values])
        return values[0] * 2.0, 3.5, np.full((1, 1), 4.5), True, np.array([5, 6], np.int32)

    def f(x, m):
        given = (x, m.T, m[1], x[::-1] * 1.0, x.sum(), 2.5, True, captured, m[:1, :1], gx.numpy.ones((1, 1)) * x[0],
                 gx.numpy.zeros((2, 2)), x > 0.0, (x > 0.0).sum(), gx.numpy.arange(3), x[1:2])
        vector, number, one, flag, whole = gx.pure_callback(host, shape, *given)
        return vector, vector + number, one, flag, whole, whole, x, gx.numpy.where(flag, one[0, 0], 0.0)

    m = np.arange(6.0).reshape(2, 3)
    direct = f(X, m)
    compiled = gx.jit(f)(X, m)
    for one, other in zip(compiled, direct, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype and one.shape == other.shape


def test_results_are_kept_for_reverse_mode():
    """A factor that Python computes in every iteration of a loop of unknown length."""
    calls = []

    def factor(c):
        calls.append(float(c))
        return 1.0 + 1.0 / (1.0 + c)

    def f(x):
        def body(c):
            return c * gx.pure_callback(factor, SCALAR, gx.stop_gradient(c))
        return gx.lax.while_loop(lambda c: c < 10.0, body, x)

    c, slope, expected = 1.5, 1.0, []
    while c < 10.0:
        expected.append(c)
        slope, c = slope * (1.0 + 1.0 / (1.0 + c)), c * (1.0 + 1.0 / (1.0 + c))
    for transform in (gx.grad, lambda f: gx.jit(gx.grad(f))):
        calls.clear()
        np.testing.assert_allclose(transform(f)(1.5), slope, rtol=1e-14)
        np.testing.assert_allclose(calls, expected, rtol=1e-14)


def test_a_callback_may_call_its_own_function_again():
    @gx.jit
    def factorial(n):
        smaller = gx.pure_callback(lambda m: factorial(m) if m > 0 else 1, gx.ShapeDType((), np.int64), n - 1)
        return gx.numpy.where(n > 0, n * smaller, 1)

    assert factorial(np.int64(10)) == 3628800


def test_a_callback_may_clear_the_caches_under_its_own_call():
    run = gx.jit(lambda x: gx.pure_callback(lambda a: (run.clear_cache(), gx.cache.clear(), a + 1.0)[2], VECTOR, x) * 2.0)
    for _ in range(3):
        np.testing.assert_array_equal(run(X), (X + 1.0) * 2.0)


def test_callbacks_live_as_long_as_their_code():
    import gc

    def make(k):
        return gx.jit(lambda x: gx.pure_callback(lambda a: a + k, VECTOR, x))

    runs = [make(k) for k in range(5)]
    for run in runs:
        run(X)
    gc.collect()
    for k, run in enumerate(runs):
        np.testing.assert_array_equal(run(X), X + k)


def test_the_interpreter_of_loops_calls_too():
    from gradxform.backend.generation import kernel_of
    from gradxform.loopir.checker import check_kernel
    from gradxform.loopir.interpreter import interpret
    from gradxform.passes import optimise
    from gradxform.primitives import ROSTER

    def step(c, x):
        value, row = gx.pure_callback(lambda a, b: (a + b[0], b * 2.0), (SCALAR, gx.ShapeDType((2,), float)), c, x)
        return value, row

    xs = np.arange(8.0).reshape(4, 2)
    program = gx.make_ir(lambda c, xs: gx.lax.scan(step, c, xs))(1.0, xs)
    total, rows = interpret(check_kernel(kernel_of(optimise(program, ROSTER))), [1.0, xs])
    assert total == 1.0 + xs[:, 0].sum()
    np.testing.assert_array_equal(rows, xs * 2.0)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_checkpointed_functions_call_once(compiled):
    calls = []

    def f(x):
        factor = gx.io_callback(lambda a: calls.append("factor") or np.cos(a), SCALAR, gx.stop_gradient(x))
        gx.debug.callback(lambda a: calls.append("shown"), x)
        y = gx.lax.fori_loop(0, 2, lambda i, c: (gx.debug.callback(lambda a: calls.append("loop"), c), gx.numpy.sin(c))[1], x)
        return gx.numpy.exp(y * factor)

    gradient = gx.grad(gx.checkpoint(f))
    found = (gx.jit(gradient) if compiled else gradient)(0.5)
    factor, once, twice = np.cos(0.5), np.sin(0.5), np.sin(np.sin(0.5))
    np.testing.assert_allclose(found, np.exp(twice * factor) * factor * np.cos(once) * np.cos(0.5), rtol=1e-14)
    assert calls == ["factor", "shown", "loop", "loop"]
