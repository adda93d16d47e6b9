"""Progress bars of loops: what they count and how they end, by every road through jit, grad, vmap and Python."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from typing import ClassVar

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors, lax

tqdm_auto = pytest.importorskip("tqdm.auto")

XS = np.linspace(0.5, 1.5, 300)


class Watched(tqdm_auto.tqdm):
    """A bar that remembers itself, and what it was told."""

    made: ClassVar[list[Watched]] = []
    opened: ClassVar[list[object]] = []

    def __init__(self, *args, **kwargs):
        self.told: list[int] = []
        self.closed = 0
        super().__init__(*args, **kwargs)
        Watched.made.append(self)
        for notify in Watched.opened:
            notify()

    def update(self, n=1):
        result = super().update(n)
        self.told.append(self.n)
        return result

    def close(self):
        self.closed += 1
        super().close()


@pytest.fixture(autouse=True)
def bars(monkeypatch):
    """The bars that a test makes."""
    Watched.made, Watched.opened = [], []
    monkeypatch.setattr(tqdm_auto, "tqdm", Watched)
    yield Watched.made
    assert all(bar.closed for bar in Watched.made)
    assert not Watched._instances


def quiet(**options):
    return {"file": io.StringIO(), **options}


def check(bar, total, n=None):
    """The bar came to its end."""
    assert bar.total == total
    assert bar.n == (total if n is None else n)
    assert bar.told == sorted(bar.told)
    assert bar.closed == 1


def product(x, xs=XS, **options):
    return lax.scan(lambda c, v: (c * np.cos(v * x), c), 1.0, xs, progress=quiet(), **options)[0]


def expected_product(x, xs=XS):
    return np.prod(np.cos(xs * x))


def slope(f, x, step=1e-6):
    return (f(x + step) - f(x - step)) / (2.0 * step)


ROADS = {
    "direct": lambda f: f,
    "jit": gx.jit,
    "jit_in_jit": lambda f: gx.jit(lambda x: gx.jit(f)(x)),
    "disabled": lambda f: lambda x: disabled(f, x),
}


def disabled(f, x):
    with gx.disable_jit():
        return f(x)


@pytest.fixture(params=ROADS.values(), ids=ROADS)
def road(request):
    return request.param


# ------------------------------------------------------------------------------------------------------------ counts


def test_scan_counts_its_steps(road, bars):
    run = road(product)
    for calls in (1, 2):
        np.testing.assert_allclose(run(0.3), expected_product(0.3), rtol=1e-12)
        assert len(bars) == calls
        check(bars[-1], 300)
    assert bars[0].desc.startswith("scan of <lambda>")


def test_updates_are_few(bars):
    for length in (1, 2, 127, 128, 129, 1000, 100_000):
        for reverse in (False, True):
            gx.jit(lambda x, n=length, r=reverse: lax.scan(
                lambda c, _: (c + x, None), 0.0, length=n, reverse=r, progress=quiet())[0])(1.0)
            check(bars[-1], length)
            assert min(length, 64) <= len(bars[-1].told) <= 129
            steps = np.diff([0, *bars[-1].told])
            assert np.all(steps <= max(1, 1 << max(length - 1, 0).bit_length() >> 7))


@pytest.mark.parametrize("options", [{"reverse": True}, {"unroll": 7}, {"unroll": True}, {"checkpoint": "sqrt"},
                                     {"checkpoint": "binomial"}, {"checkpoint": 11}], ids=str)
def test_options_of_scan(options, bars):
    xs = XS[:50]
    f = lambda x: product(x, xs, **options)  # noqa: E731
    for run in (f, gx.jit(f)):
        np.testing.assert_allclose(run(0.3), expected_product(0.3, xs), rtol=1e-12)
        check(bars[-1], 50)
    value, found = gx.jit(gx.value_and_grad(f))(0.3)
    np.testing.assert_allclose(value, expected_product(0.3, xs), rtol=1e-12)
    np.testing.assert_allclose(found, slope(lambda x: expected_product(x, xs), 0.3), rtol=1e-6)
    check(bars[-1], 50)
    assert len(bars) == 3


def test_results_are_the_same_bits():
    w = np.cos(np.arange(64.0)).reshape(8, 8)

    def f(x, progress):
        def step(h, u):
            h = np.tanh(w @ h + u * x)
            return h, np.sum(h)
        return lax.scan(step, np.ones(8), XS, progress=progress)

    for transform in (lambda f: f, lambda f: gx.grad(lambda x: np.sum(f(x)[1]))):
        with_bar = gx.jit(transform(lambda x: f(x, quiet())))(0.7)
        without = gx.jit(transform(lambda x: f(x, False)))(0.7)
        for a, b in zip(gx.tree.leaves(with_bar), gx.tree.leaves(without), strict=True):
            np.testing.assert_array_equal(a, b)


def test_loops_without_a_bar_are_what_they_were():
    def f(x, **options):
        return lax.while_loop(lambda c: c < 9.0, lambda c: c + x, lax.fori_loop(
            0, 5, lambda i, c: c * x + i, lax.scan(lambda c, v: (c + v, None), x, XS, **options)[0], **options), **options)

    for value in (False, None):
        assert str(gx.make_ir(lambda x, v=value: f(x, progress=v))(1.0)) == str(gx.make_ir(f)(1.0))


def test_fori_loop(road, bars):
    def falling(x):
        return lax.fori_loop(3, 40, lambda i, c: c + x / i, 0.0, progress=quiet())

    np.testing.assert_allclose(road(falling)(2.0), sum(2.0 / i for i in range(3, 40)), rtol=1e-13)
    check(bars[-1], 37)
    assert bars[-1].told[-1] == 37 and len(bars) == 1


def test_fori_loop_with_computed_bounds(bars):
    def total(n, x):
        return lax.fori_loop(2, n, lambda i, c: c + x * i, 0.0, progress=quiet())

    run = gx.jit(total)
    for n in (50, 2, -3, 5000):
        np.testing.assert_allclose(run(n, 0.5), sum(0.5 * i for i in range(2, n)), rtol=1e-12)
        check(bars[-1], max(n - 2, 0))
    assert len(bars[-1].told) < 400
    np.testing.assert_allclose(gx.jit(gx.grad(total, 1))(50, 0.5), sum(range(2, 50)))
    check(bars[-1], 48)
    np.testing.assert_allclose(gx.vmap(total)(np.array([10, 30, 4]), np.ones(3)),
                               [sum(range(2, n)) for n in (10, 30, 4)])
    check(bars[-1], 28)
    assert len(bars) == 6


def test_while_loop_has_no_total(road, bars):
    def first_above(x):
        return lax.while_loop(lambda c: c < 500.0, lambda c: c + x, 0.0, progress=quiet())

    assert road(first_above)(0.5) == 500.0
    check(bars[0], None, 1000)
    assert len(bars) == 1 and (len(bars[0].told) < 300 or road is ROADS["disabled"])
    assert road(first_above)(1000.0) == 1000.0
    check(bars[1], None, 1)


def test_while_loop_with_an_expected_total(bars):
    gx.jit(lambda x: lax.while_loop(lambda c: c < 5.0, lambda c: c + x, 0.0, progress=quiet(total=8)))(1.0)
    check(bars[0], 8, 5)


def test_while_loop_in_reverse(bars):
    def root(a):
        return lax.while_loop(lambda y: np.abs(y * y - a) > 1e-12, lambda y: 0.5 * (y + a / y), 1.0, progress=quiet())

    for run in (gx.value_and_grad(root), gx.jit(gx.value_and_grad(root))):
        np.testing.assert_allclose(run(2.0), (np.sqrt(2.0), 0.5 / np.sqrt(2.0)), rtol=1e-10)
        count = bars[-1].n
        check(bars[-1], None, count)
        assert 3 < count < 10
    assert len(bars) == 2


@pytest.mark.parametrize("batch_size", [None, 1, 64, 300, 1000])
def test_map_counts_elements(batch_size, road, bars):
    run = road(lambda xs: lax.map(np.sin, xs, batch_size=batch_size, progress=quiet()))
    np.testing.assert_allclose(run(XS), np.sin(XS), rtol=1e-14)
    if batch_size == 1000:  # one batch is no loop
        assert not bars
    else:
        check(bars[0], 300)
        assert len(bars) == 1


def test_no_iterations(road, bars):
    nothing = np.zeros(0)
    assert road(lambda x: lax.scan(lambda c, v: (c + v, None), x, nothing, progress=quiet())[0])(2.0) == 2.0
    check(bars[-1], 0)
    assert road(lambda x: lax.fori_loop(4, 4, lambda i, c: c + i, x, progress=quiet()))(2.0) == 2.0
    check(bars[-1], 0)
    assert road(lambda x: lax.while_loop(lambda c: c < 0, lambda c: c + 1.0, x, progress=quiet()))(2.0) == 2.0
    check(bars[-1], None, 0)
    assert len(bars) == 3


# -------------------------------------------------------------------------------------------------------- transforms


TRANSFORMS = {
    "grad": lambda f: gx.grad(f), "jit_grad": lambda f: gx.jit(gx.grad(f)), "grad_jit": lambda f: gx.grad(gx.jit(f)),
    "jvp": lambda f: lambda x: gx.jvp(f, (x,), (1.0,))[1], "jit_jvp": lambda f: gx.jit(lambda x: gx.jvp(f, (x,), (1.0,))[1]),
    "checkpoint": lambda f: gx.jit(gx.grad(gx.checkpoint(f))),
    "disabled": lambda f: lambda x: disabled(gx.grad(f), x),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_derivatives_show_the_loop_once(transform, bars):
    np.testing.assert_allclose(transform(product)(0.3), slope(expected_product, 0.3), rtol=1e-6)
    check(bars[0], 300)
    assert len(bars) == 1


def test_second_derivatives(bars):
    xs = XS[:40]
    found = gx.jit(gx.hessian(lambda x: product(x, xs)))(0.3)
    np.testing.assert_allclose(found, slope(lambda x: slope(lambda y: expected_product(y, xs), x, 1e-4), 0.3, 1e-4), rtol=1e-3)
    check(bars[0], 40)
    assert len(bars) == 1


@pytest.mark.parametrize("compiled", [False, True], ids=["direct", "jit"])
def test_vmap_shows_one_bar(compiled, bars):
    run = gx.jit if compiled else lambda f: f
    points = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(run(gx.vmap(product))(points), [expected_product(x) for x in points], rtol=1e-12)
    check(bars[0], 300)
    run(gx.vmap(gx.grad(product)))(points)
    check(bars[1], 300)

    def steps(x):
        return lax.while_loop(lambda c: c[0] < 100.0, lambda c: (c[0] + x, c[1] + 1), (0.0, 0), progress=quiet())[1]

    lanes = np.array([0.5, 1.0, 50.0, 200.0])
    np.testing.assert_array_equal(run(gx.vmap(steps))(lanes), [200, 100, 2, 1])
    check(bars[2], None, 200)
    np.testing.assert_array_equal(run(gx.vmap(gx.vmap(steps)))(lanes.reshape(2, 2)), [[200, 100], [2, 1]])
    check(bars[3], None, 200)
    assert run(gx.vmap(steps))(np.zeros(0)).shape == (0,)
    assert len(bars) == 5


def test_nested_loops_have_inner_bars(road, bars):
    def outer(x):
        def step(c, v):
            return c + lax.fori_loop(0, 4, lambda i, t: t + v, 0.0, progress=quiet(desc="inner")), None
        return lax.scan(step, x, XS[:3], progress=quiet(desc="outer"))[0]

    np.testing.assert_allclose(road(outer)(1.0), 1.0 + 4.0 * np.sum(XS[:3]), rtol=1e-14)
    assert [bar.desc.removesuffix(": ") for bar in bars] == ["outer", "inner", "inner", "inner"]
    assert [bar.pos for bar in bars[:1]] == [0]
    assert [bar.leave for bar in bars] == [True, False, False, False]
    check(bars[0], 3)
    for bar in bars[1:]:
        check(bar, 4)


def test_nested_loops_of_one_description(bars):
    def outer(x):
        def step(c, v):
            return c + lax.scan(lambda t, u: (t + u * v, None), 0.0, XS[:5], progress=quiet(desc="one"))[0], None
        return lax.scan(step, x, XS[:3], progress=quiet(desc="one"))[0]

    np.testing.assert_allclose(gx.jit(gx.grad(outer))(1.0), 1.0)
    assert sorted(bar.total for bar in bars) == [3, 5, 5, 5]
    for bar in bars:
        check(bar, bar.total)


def test_in_a_branch(bars):
    f = gx.jit(lambda x: lax.cond(x > 0.0, product, lambda x: x, x))
    f(-1.0)
    assert not bars
    np.testing.assert_allclose(f(0.3), expected_product(0.3), rtol=1e-12)
    check(bars[0], 300)


def test_an_effect_of_the_body_keeps_its_place(bars):
    seen = []

    def f(x):
        def step(c, v):
            gx.debug.callback(lambda c: seen.append((float(c), bars[0].n)), c)
            return c + v, None
        return lax.scan(step, x, np.ones(4), progress=quiet())[0]

    assert gx.jit(f)(1.0) == 5.0
    assert seen == [(1.0, 0), (2.0, 1), (3.0, 2), (4.0, 3)]


# ------------------------------------------------------------------------------------------------------ ends in error


class Unhappy(Exception):
    pass


def failing(x):
    def check_value(c):
        if c > 20.0:
            raise Unhappy

    def step(c, v):
        gx.debug.callback(check_value, c)
        return c + 1.0, None

    return lax.scan(step, x, XS, progress=quiet())[0]


def test_an_exception_closes_the_bar(road, bars):
    run = road(failing)
    for _ in range(2):
        with pytest.raises(Unhappy):
            run(0.0)
        assert bars[-1].closed and 10 <= bars[-1].n <= 21 and bars[-1].total == 300
    assert len(bars) == 2
    product(0.1)
    check(bars[-1], 300)


def test_an_index_error_closes_the_bars(bars):
    table = np.arange(20.0)
    f = gx.jit(lambda x: lax.scan(lambda c, _: (c + lax.fori_loop(
        15, 30, lambda i, t: t + gx.numpy.asarray(table)[i], 0.0, progress=quiet()), None), x, XS, progress=quiet())[0])
    with pytest.raises(IndexError, match="20 is out of bounds"):
        f(1.0)
    assert len(bars) == 2 and all(bar.closed for bar in bars)


def test_a_forgiving_callback(bars):
    """Bars of loops inside of a callback are its own."""
    def host(x):
        try:
            return failing(float(x))
        except Unhappy:
            return np.float64(7.0)

    def step(c, v):
        return gx.pure_callback(host, gx.ShapeDType((), float), c), None

    assert gx.jit(lambda x: lax.scan(step, x, XS[:2], progress=quiet())[0])(0.0) == 7.0
    assert len(bars) == 3
    check(bars[0], 2)


def test_keyboard_interrupt_closes_the_bar(bars):
    def endless(x):
        return lax.while_loop(lambda c: c >= 0.0, lambda c: np.sin(c) + 1.0, x, progress=quiet())

    for run in (gx.jit(endless), endless):
        interrupt = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        Watched.opened = [interrupt.start]
        with pytest.raises(KeyboardInterrupt):
            run(1.0)
        interrupt.join()
        assert bars[-1].closed
    assert len(bars) == 2


def test_not_a_number_is_searched_for_with_bars(bars):
    f = gx.jit(lambda x: lax.scan(lambda c, v: (np.log(c), None), x, XS[:5], progress=quiet())[0])
    with gx.config.override(debug_nans=True), pytest.raises(errors.NanError):
        f(-1.0)
    assert len(bars) == 2 and all(bar.closed for bar in bars)
    check(bars[0], 5)


def power(x):
    return lax.while_loop(lambda c: c[0] < 30.0, lambda c: (c[0] + 1.0, c[1] * x), (0.0, 1.0), progress=quiet())[1]


@pytest.mark.parametrize("function", [product, power], ids=["scan", "while"])
def test_on_a_tape(function, bars):
    x = gx.tape.constant(0.9)
    with gx.tape.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), slope(function, 0.9), rtol=1e-6)
    assert bars[0].closed == 1 and bars[0].n in (30, 300)
    assert len(bars) == 3  # that of the tape, and two for the slope


def test_threads_have_bars_of_their_own(bars):
    f = gx.jit(product)
    f(0.1)
    threads = [threading.Thread(target=f, args=(0.1 * k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bars) == 7
    for bar in bars:
        check(bar, 300)


# ---------------------------------------------------------------------------------------------------------- the option


def test_what_is_written(monkeypatch):
    monkeypatch.undo()
    for progress, start in ((quiet(desc="filter", ncols=60), "filter: 100%|"),
                            (quiet(unit="step", ncols=60), "scan of step: ")):
        def step(c, v):
            return c + v, None

        lax.scan(step, 0.0, XS, progress=progress)
        last = progress["file"].getvalue().split("\r")[-1]
        assert last.startswith(start) and "300/300" in last and last.endswith("\n")
    assert "step/s" in last


def test_a_string_is_the_description_and_goes_to_stderr(bars, capsys):
    lax.fori_loop(0, 10, lambda i, c: c + i, 0, progress="adding")
    out, err = capsys.readouterr()
    assert not out and "adding: 100%" in err and "10/10" in err


def test_true_is_a_bar_and_false_is_none(bars, capsys):
    for progress, count in ((False, 0), (None, 0), (True, 1)):
        lax.map(np.sin, XS, progress=progress)
        assert len(bars) == count
    assert "map of sin: 100%" in capsys.readouterr().err


def test_the_same_loop_is_compiled_once():
    out = io.StringIO()
    before = gx.cache.info()
    for _ in range(3):
        lax.scan(lambda c, v: (c * 1.25 + v, None), 0.125, XS, progress={"file": out, "desc": "once"})
    after = gx.cache.info()
    assert after.memory_entries == before.memory_entries + 1


@pytest.mark.parametrize(("progress", "kind", "message"), [
    (3, errors.ArgumentTypeError, "progress must be True, a description or a dict of options of tqdm, got 3 of type int"),
    ({"colr": "red"}, errors.ArgumentError, "progress has the option 'colr'; it takes those of tqdm: ascii, "),
])
def test_wrong_options(progress, kind, message):
    loops = (lambda: lax.scan(lambda c, v: (c, None), 0.0, XS, progress=progress),
             lambda: lax.map(np.sin, XS, progress=progress),
             lambda: lax.fori_loop(0, 3, lambda i, c: c, 0.0, progress=progress),
             lambda: lax.while_loop(lambda c: c < 0, lambda c: c, 0.0, progress=progress))
    for loop in loops:
        with pytest.raises(kind, match=message) as caught:
            loop()
        assert "test_progress.py" in str(caught.value)


def test_tqdm_is_imported_when_a_bar_is_asked_for():
    script = ("import sys, numpy as np\nimport gradxform as gx\nfrom gradxform import lax\n"
              "lax.fori_loop(0, 3, lambda i, c: c + i, 0)\nassert 'tqdm' not in sys.modules\n"
              "lax.fori_loop(0, 3, lambda i, c: c + i, 0, progress='now')\nassert 'tqdm' in sys.modules\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "now: 100%" in done.stderr and "3/3" in done.stderr
