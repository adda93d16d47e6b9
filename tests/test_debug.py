"""debug.print, debug.callback, debug.breakpoint and config.debug_nans."""

import bdb
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import debug, errors

X = np.array([0.5, -1.25, 3.0])

ROADS = {
    "direct": lambda f: f,
    "traced": lambda f: lambda x: gx.vmap(f, in_axes=None, axis_size=1, out_axes=None)(x),
    "jit": gx.jit,
}


@pytest.fixture(params=ROADS.values(), ids=ROADS)
def road(request):
    return request.param


# ------------------------------------------------------------------------------------------------------------- print


def test_print_formats_as_str_format(road, capsys):
    def f(x):
        debug.print("{} | {0!r} | {name:>8.3f} | {x[1]:.1e} | {{}} | {word!s:*^7} {flag}".replace("{} |", "{0} |"),
                    x[0], name=x[2], x=x, word="abc", flag=True)
        return x

    road(f)(X)
    assert capsys.readouterr().out == "0.5 | np.float64(0.5) |    3.000 | -1.2e+00 | {} | **abc** True\n"


def test_print_follows_the_values(capsys):
    run = gx.jit(lambda x: debug.print("x = {}", x) or x * 2.0)
    for x in (1.5, 2.5, -0.25):
        run(x)
    assert capsys.readouterr().out == "x = 1.5\nx = 2.5\nx = -0.25\n"


def test_print_shows_arrays_as_numpy_does(road, capsys):
    x = np.arange(6.0).reshape(2, 3)
    road(lambda x: debug.print("{}", x) or x)(x)
    assert capsys.readouterr().out == f"{x}\n"
    with np.printoptions(precision=2):
        run = road(lambda x: debug.print("{}", x) or x)
        run(X / 3.0)
        expected = f"{X / 3.0}\n"
    assert capsys.readouterr().out == expected


def test_print_takes_pytrees_and_objects(road, capsys):
    road(lambda x: debug.print("{} {}", {"a": (x[0], 2), "b": None}, "text") or x)(X)
    assert capsys.readouterr().out == "{'a': (np.float64(0.5), 2), 'b': None} text\n"


def test_print_without_arguments(road, capsys):
    road(lambda x: debug.print("here") or debug.print("100%") or debug.print("") or x)(X)
    assert capsys.readouterr().out == "here\n100%\n\n"


def test_print_in_two_calls(road, capsys):
    road(lambda x: debug.print(ordered=True)("x0 = {x}", x=x[0]) or x)(X)
    assert capsys.readouterr().out == "x0 = 0.5\n"


def test_print_keeps_its_order(road, capsys):
    def f(x):
        for k in range(20):
            debug.print("{} {}", k, x[k % 3])
        return x

    road(f)(X)
    assert capsys.readouterr().out == "".join(f"{k} {X[k % 3]}\n" for k in range(20))


def test_zeros_of_both_signs_are_two_texts(capsys):
    gx.jit(lambda x: debug.print("{} {}", 0.0, x) or debug.print("{} {}", -0.0, x) or x)(1.0)
    assert capsys.readouterr().out == "0.0 1.0\n-0.0 1.0\n"


def test_print_under_vmap_gives_a_line_per_lane(capsys):
    def f(x, c):
        debug.print("x = {}, c = {}", x, c)
        debug.print("once")
        return x * c

    for run in (gx.vmap(f, in_axes=(0, None)), gx.jit(gx.vmap(f, in_axes=(0, None)))):
        run(X, 2.0)
        assert capsys.readouterr().out == "".join(f"x = {x}, c = 2.0\n" for x in X) + "once\n"


def test_print_under_grad_shows_primal_values(capsys):
    def f(x):
        y = gnp.sin(x)
        debug.print("y = {:.3f}", y)
        return y * x

    for run in (gx.grad(f), gx.jit(gx.grad(f)), gx.grad(gx.jit(f)), gx.grad(gx.grad(f)), gx.jit(gx.hessian(f))):
        run(0.5)
        assert capsys.readouterr().out == "y = 0.479\n"
    values = gx.jit(gx.vmap(gx.grad(f)))(X)
    np.testing.assert_allclose(values, np.sin(X) + X * np.cos(X), rtol=1e-15)
    assert capsys.readouterr().out == "".join(f"y = {np.sin(x):.3f}\n" for x in X)


def test_print_of_tangents_in_forward_mode(capsys):
    def f(x):
        value, slope = gx.jvp(gnp.square, (x,), (1.0,))
        debug.print("slope {}", slope)
        return value

    gx.jit(f)(3.0)
    gx.vmap(f, in_axes=None, axis_size=1)(3.0)
    assert capsys.readouterr().out == "slope 6.0\nslope 6.0\n"


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda x: debug.print("x", x), ValueError, r"no place for argument\(s\) 0.*f-string"),
    (lambda x: debug.print("{}", x, y=x), ValueError, r"no place for argument\(s\) y"),
    (lambda x: debug.print("{} {}", x), IndexError, "index"),
    (lambda x: debug.print("{name}", x), KeyError, "name"),
    (lambda x: debug.print("{", x), ValueError, "{"),
    (lambda x: debug.print(x), TypeError, "the text must be a string"),
    (lambda x: debug.print(x=x), TypeError, "the first argument is missing"),
    (lambda x: debug.callback(x=x), TypeError, "the first argument is missing"),
    (lambda x: debug.callback(3, x), TypeError, "debug.callback expects a function"),
])
def test_wrong_calls_are_told(road, call, kind, message):
    with pytest.raises(kind, match=message):
        road(lambda x: call(x) or x)(X)


def test_a_wrong_format_is_told_when_it_is_used(road):
    with pytest.raises(ValueError, match="Unknown format code 'd'"):
        road(lambda x: debug.print("{:d}", x[0]) or x)(X)


# ---------------------------------------------------------------------------------------------------------- callback


def test_callback_gets_values_and_objects(road):
    seen = []
    keep = object()

    def host(a, b, *, c, tag):
        seen.append((a, b, c, tag))
        return "ignored"

    road(lambda x: debug.callback(host, x, keep, c={"z": x[1]}, tag="t") or x)(X)
    ((a, b, c, tag),) = seen
    np.testing.assert_array_equal(a, X)
    assert b is keep and c == {"z": X[1]} and tag == "t"


def test_callback_in_two_calls(road):
    seen = []
    road(lambda x: debug.callback(ordered=True)(seen.append, x[0]) or x)(X)
    assert seen == [X[0]]


def test_exceptions_come_through(road):
    def host(a):
        raise LookupError(f"lost {a}")

    run = road(lambda x: debug.callback(host, x[0]) or x)
    for _ in range(2):
        with pytest.raises(LookupError, match=r"lost 0\.5"):
            run(X)


def test_derivatives_are_not_touched(road):
    def f(x):
        debug.callback(lambda a: None, x)
        return gnp.sum(x * x)

    np.testing.assert_array_equal(road(gx.grad(f))(X), 2.0 * X)


# -------------------------------------------------------------------------------------------------------- breakpoint


@pytest.fixture
def stops(monkeypatch):
    """Where breakpoints stop: names of the functions that hold them."""
    found = []
    monkeypatch.setattr(sys, "breakpointhook", lambda *args, **kwargs: found.append(sys._getframe(2).f_code.co_name))
    return found


def stopping(x):
    y = x * 2.0
    debug.breakpoint()
    return y


def test_breakpoint_stops_where_values_are_known(stops):
    stopping(1.5)
    gx.grad(stopping)(1.5)
    gx.jvp(stopping, (1.5,), (1.0,))
    gx.grad(gx.grad(stopping))(1.5)
    assert stops == ["stopping"] * 4


def test_breakpoint_shows_the_user_s_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "breakpointhook", sys.__breakpointhook__)
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("p y\nquit\n"))
    with pytest.raises(bdb.BdbQuit):
        gx.grad(stopping)(1.5)
    shown = capsys.readouterr().out
    assert "test_debug.py" in shown and "stopping()" in shown and "value=3." in shown


@pytest.mark.parametrize(("transform", "argument"), [
    (gx.jit, 1.5), (gx.vmap, X), (lambda f: gx.jit(gx.vmap(f)), X), (lambda f: gx.grad(gx.jit(f)), 1.5), (gx.make_ir, 1.5),
], ids=["jit", "vmap", "jit_vmap", "grad_jit", "make_ir"])
def test_breakpoint_refuses_where_values_are_unknown(stops, transform, argument):
    with pytest.raises(errors.ConcretizationError, match=r"values are not known while .*disable_jit") as caught:
        transform(stopping)(argument)
    assert "test_debug.py" in str(caught.value)
    assert stops == []


def test_breakpoint_under_disable_jit(stops):
    with gx.disable_jit():
        gx.jit(stopping)(1.5)
        gx.grad(gx.jit(stopping))(1.5)
    assert stops == ["stopping"] * 2


# -------------------------------------------------------------------------------------------------------- debug_nans


def bad_log(x):
    y = x - 1.0
    z = gnp.log(y)  # the line
    return gnp.sum(z * 2.0)


LINE = bad_log.__code__.co_firstlineno + 2


@pytest.fixture
def nans():
    with gx.config.override(debug_nans=True):
        yield


NAN_ROADS = {
    "grad": gx.grad,
    "jit": gx.jit,
    "jit_grad": lambda f: gx.jit(gx.value_and_grad(f)),
    "grad_jit": lambda f: gx.grad(gx.jit(f)),
    "vmap": lambda f: lambda x: gx.vmap(f)(x[None]),
    "jit_in_jit": lambda f: gx.jit(lambda x: gx.jit(f)(x) + 1.0),
}


@pytest.mark.parametrize("transform", NAN_ROADS.values(), ids=NAN_ROADS)
def test_the_line_of_the_first_nan_is_named(nans, transform):
    run = transform(bad_log)
    good = run(np.array([2.0, 3.0]))
    assert all(np.all(np.isfinite(part)) for part in gx.tree.leaves(good))
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="the first NaN is the result of log") as caught:
            run(np.array([2.0, 0.5]))
        assert isinstance(caught.value, errors.NanError)
        message = str(caught.value)
        assert f"test_debug.py:{LINE} (bad_log)" in message
        assert re.search(r"operand 0: f64\[(1,)?2\] = \[+ *1\. *, +-0\.5\]", message)
    for found, expected in zip(gx.tree.leaves(run(np.array([2.0, 3.0]))), gx.tree.leaves(good), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_the_setting_nan_is_a_value():
    run = gx.jit(bad_log)
    assert np.isnan(run(np.array([2.0, 0.5])))
    with gx.config.override(debug_nans=True), pytest.raises(errors.NanError):
        run(np.array([2.0, 0.5]))
    assert np.isnan(run(np.array([2.0, 0.5])))


def test_nan_among_the_arguments_is_told(nans):
    with pytest.raises(errors.NanError, match=r"operand 0 is NaN already: it came in with the arguments"):
        gx.jit(lambda x: gnp.sin(x) + 1.0)(np.array([1.0, np.nan]))
    with pytest.raises(errors.NanError, match=r"result 0 of <lambda> is NaN, and none of its operations gives NaN"):
        gx.jit(lambda x: x)(np.nan)


def test_nan_of_a_callback_is_told(nans):
    def measure(x):
        return np.full(3, np.nan)

    with pytest.raises(errors.NanError, match="the first NaN is the result of pure_callback of measure"):
        gx.jit(lambda x: gx.pure_callback(measure, gx.ShapeDType((3,), float), x) + 1.0)(X)


def test_masked_nan_is_no_error_when_compiled(nans):
    assert gx.jit(lambda x: gnp.where(x > 0.0, gnp.sqrt(x), 0.0))(-1.0) == 0.0


def test_structured_results_are_looked_at(nans):
    run = gx.jit(lambda x: {"a": x, "b": (gnp.sqrt(x), None, gnp.sum(x) > 0)})
    run(abs(X))
    with pytest.raises(errors.NanError, match="result of sqrt"):
        run(X)


def test_integers_and_infinity_are_fine(nans):
    assert gx.jit(lambda x: 1.0 / x)(0.0) == np.inf
    np.testing.assert_array_equal(gx.jit(lambda n: n // 2)(np.array([4, 6])), [2, 3])


# ------------------------------------------------------------------------------------------------------------- loops

LOOP_ROADS = {
    "direct": lambda f: f,
    "jit": gx.jit,
    "grad": lambda f: lambda x: gx.value_and_grad(f)(x)[0],
    "jit_grad": lambda f: lambda x: gx.jit(gx.value_and_grad(f))(x)[0],
}


@pytest.fixture(params=LOOP_ROADS.values(), ids=LOOP_ROADS)
def loop_road(request):
    return request.param


def test_print_in_loops_and_branches(loop_road, capsys):
    def body(i, c):
        c = gx.lax.cond(c > 2.0, lambda c: (debug.print("large {:.2f}", c), c)[1], lambda c: c, c)
        debug.print("i = {i}: {c:.3f}", i=i, c=c)
        return c * 1.5

    assert loop_road(lambda x: gx.lax.fori_loop(0, 4, body, x))(1.0) == 1.5 ** 4
    assert capsys.readouterr().out == ("i = 0: 1.000\ni = 1: 1.500\nlarge 2.25\ni = 2: 2.250\nlarge 3.38\ni = 3: 3.375\n")


def test_print_in_a_while_loop(loop_road, capsys):
    def f(x):
        return gx.lax.while_loop(lambda c: c < 10.0, lambda c: (debug.print("{}", c), c * 3.0)[1], x)

    assert loop_road(f)(1.0) == 27.0
    assert capsys.readouterr().out == "1.0\n3.0\n9.0\n"


def test_breakpoint_in_loops(stops):
    run = lambda x: gx.lax.fori_loop(0, 3, lambda i, c: stopping(c), x)  # noqa: E731
    with pytest.raises(errors.ConcretizationError, match="disable_jit"):
        run(1.0)
    assert stops == []
    with gx.disable_jit():
        assert run(1.0) == 8.0
    assert stops == ["stopping"] * 3


def step(c, x):
    y = c - x
    z = gnp.sqrt(y)  # the line
    return c - 1.0, z


STEP_LINE = step.__code__.co_firstlineno + 2


def test_the_line_of_a_nan_in_a_loop_is_named(nans, loop_road):
    run = loop_road(lambda c: gnp.sum(gx.lax.scan(step, c, np.ones(5))[1]))
    assert np.isfinite(run(6.5))
    with pytest.raises(errors.NanError, match="the first NaN is the result of sqrt") as caught:
        run(3.0)
    assert f"test_debug.py:{STEP_LINE} (step)" in str(caught.value)
    assert "operand 0: f64[] = -1." in str(caught.value)


def test_the_line_of_a_nan_in_a_while_loop_is_named(nans):
    def body(c):
        return gnp.log(c)

    for road in (lambda f: f, gx.jit):
        with pytest.raises(errors.NanError, match="result of log") as caught:
            road(lambda x: gx.lax.while_loop(lambda c: c == c, body, x))(5.0)
        assert "(body)" in str(caught.value)


def test_the_setting_can_come_from_the_environment():
    script = ("import numpy as np, gradxform as gx\n"
              "print(gx.config.debug_nans)\n"
              "f = gx.jit(lambda x: np.sqrt(x))\n"
              "print(f(4.0))\n"
              "try: f(-4.0)\n"
              "except FloatingPointError as error: print(type(error).__name__)\n")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120,
                           env={**os.environ, "GRADXFORM_DEBUG_NANS": "1"})
    assert ended.stdout.split() == ["True", "2.0", "NanError"], ended.stderr
