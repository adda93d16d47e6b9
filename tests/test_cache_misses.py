"""explain_cache_miss: what was new about a signature, where the code came from, and which mistake it looks like."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections import namedtuple
from datetime import datetime, timedelta

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors, lax
from gradxform.api import compilations

X = np.ones(3)
Pair = namedtuple("Pair", "first second")


def first_leaf(x, y=1.0):
    return gx.tree.leaves(x)[0] * y


def latest(f=None):
    return gx.explain_cache_miss(f).latest


def misses(f):
    return gx.explain_cache_miss(f).misses


# ---------------------------------------------------------------------------------------------------------- differences

DIFFERENCES = {
    "dtype": ((X,), (X.astype("f4"),), ["argument x: f64[3] before, f32[3] now"]),
    "extent": ((X,), (np.ones(4),), ["argument x: f64[3] before, f64[4] now"]),
    "rank": ((X,), (np.ones((3, 1)),), ["argument x: f64[3] before, f64[3,1] now"]),
    "path": (({"w": X, "b": (X, 1.0)},), ({"w": X.astype("f4"), "b": (X, 1)},),
             ["argument x['b'][1]: a Python float before, a Python int now", "argument x['w']: f64[3] before, f32[3] now"]),
    "float": ((X, np.ones(())), (X, 1.0), ["argument y: f64[] before, a Python float now"]),
    "scalar": ((X, 1.0), (X, np.float32(1.0)), ["argument y: a Python float before, a np.float32 now"]),
    "tuple": (((X, X),), ((X, X, X),), ["structure of x: a tuple of 2 before, a tuple of 3 now"]),
    "list": (([X],), ((X,),), ["structure of x: a list of 1 before, a tuple of 1 now"]),
    "deeper": (({"a": [X, X]},), ({"a": [X]},), ["structure of x['a']: a list of 2 before, a list of 1 now"]),
    "keys": (({"a": X},), ({"a": X, 3: X},), ["structure of x: a dict of 'a' before, a dict of 3, 'a' now"]),
    "array_to_tuple": ((X,), ((X,),), ["structure of x: f64[3] before, a tuple of 1 now"]),
    "none": (((X, None),), ((X, 1.0),), ["argument x[1]: None before, a Python float now"]),
    "given": ((X,), (X, 2.0), ["argument y: not given before, a Python float now"]),
    "not_given": ((X, 2.0), (X,), ["argument y: a Python float before, not given now"]),
    "namedtuple": ((Pair(X, X),), (Pair(X, np.ones(2)),), ["argument x.second: f64[3] before, f64[2] now"]),
    "inside_namedtuple": ((Pair(X, {"k": X}),), (Pair(X, [X]),),
                          ["structure of x: now without x.second['k'] and with x.second[0]"]),
    "class": (((X, X),), (Pair(X, X),), ["structure of x: now without x[0], x[1] and with x.first, x.second"]),
}


@pytest.mark.parametrize(("before", "now", "reasons"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_differences(before, now, reasons):
    f = gx.jit(first_leaf)
    f(*before)
    f(*now)
    first, second = misses(f)
    assert first.reasons == ("first call of first_leaf",) and first.compared_with is None
    assert list(second.reasons) == reasons
    assert second.compared_with == first.source


def test_by_position_and_by_name():
    f = gx.jit(first_leaf)
    f(X, 2.0)
    f(X, y=2.0)
    assert latest(f).reasons == ("argument y: passed by position before, by name now",)
    assert "call the function in one way" in latest(f).hints[0]
    f(y=2.0, x=X)
    assert latest(f).reasons == ("argument x: passed by position before, by name now",)
    f(X, 2)
    assert latest(f).reasons == ("argument y: a Python float before, a Python int now",)


def test_the_nearest_earlier_signature_is_compared_with():
    f = gx.jit(lambda a, b, c: a[0] * b[0] * c[0])
    y, z = np.ones(4), np.ones(5)
    f(X, X, X)
    f(y, y, y)
    f(X, X, z)
    assert latest(f).reasons == ("argument c: f64[3] before, f64[5] now",)
    f(y, z, y)
    assert latest(f).reasons == ("argument b: f64[4] before, f64[5] now",)
    assert len(misses(f)) == 4


def test_of_equally_many_differences_the_smaller_ones_are_told():
    f = gx.jit(lambda x: x + 0.75)
    for before in (np.ones((2, 2)), np.ones(4, np.float32), np.float64(2.0)):
        f(before)
    f(np.ones((3, 3)))
    assert latest(f).reasons == ("argument x: f64[2,2] before, f64[3,3] now",)
    f(np.ones(5))
    assert latest(f).reasons == ("argument x: f32[4] before, f64[5] now",)
    f(np.asarray(2.0))
    assert latest(f).reasons == ("argument x: f64[5] before, f64[] now",)
    # What is no number is not told to become one.
    g = gx.jit(lambda x: x + 1.75)
    g(2.0)
    g(np.ones(3))
    assert latest(g).hints == ()


def test_names_of_arguments():
    f = gx.jit(lambda *rows: rows[0])
    f(X, X)
    f(X, 1.0)
    assert latest(f).reasons == ("argument number 1: f64[3] before, a Python float now",)
    g = gx.jit(gx.grad(lambda weight, rate: weight * rate))
    g(1.0, 2.0)
    g(1.0, np.float64(2.0))
    assert latest(g).reasons == ("argument rate: a Python float before, a np.float64 now",)
    h = gx.jit(np.add)
    h(X, 1.0)
    h(X, X)
    assert latest(h).reasons == ("argument number 1: a Python float before, f64[3] now",)


def test_calls_that_are_no_misses_are_not_told():
    f = gx.jit(first_leaf)
    for _ in range(3):
        f(X)
        f(np.ones((3, 2))[:, 0])
        f(np.arange(3.0))
    assert len(misses(f)) == 1
    with gx.disable_jit():
        f(np.ones(17))
    gx.grad(lambda x: f(x)[0])(np.ones(18))
    f.lower(np.ones(19))
    assert len(misses(f)) == 1


# -------------------------------------------------------------------------------------------------------------- statics


def test_static_values():
    f = gx.jit(lambda x, n, mode="a": x * n, static_argnames=("n", "mode"))
    f(1.0, 2)
    f(1.0, 3)
    assert latest(f).reasons == ("argument n is static: 2 before, 3 now",)
    f(1.0, 3.0)
    assert latest(f).reasons == ("argument n is static: 3 before, 3.0 now",)
    f(1.0, n=3.0, mode=("b", 1))
    assert "argument mode: not given before, ('b', 1) now" in latest(f).reasons
    f(1.0, n=3.0, mode="b" * 1000)
    assert len(latest(f).reasons[0]) < 150
    g = gx.jit(lambda x, n: x * n, static_argnums=1)
    g(1.0, -1)
    g(1.0, -2)  # their hashes are the same
    assert latest(g).reasons == ("argument n is static: -1 before, -2 now",)
    g(2.0, -2)
    assert len(misses(g)) == 2


def test_static_values_beside_arguments_that_python_flattens():
    f = gx.jit(lambda x, n: x.first * n, static_argnums=1)
    f(Pair(X, X), 2)
    f(Pair(X, X), 3)
    assert latest(f).reasons == ("argument n is static: 2 before, 3 now",)


def test_functions_made_anew():
    f = gx.jit(lambda x, rule: rule(x), static_argnames="rule")
    for _ in range(2):
        f(1.0, lambda t: t + 1.0)
    assert len(latest(f).reasons) == 1
    assert latest(f).reasons[0].startswith("argument rule is static: function test_functions_made_anew.<locals>.<lambda> "
                                           "before, now another function of the same code, ")
    assert "test_cache_misses.py" in latest(f).reasons[0]
    assert latest(f).hints == ("rule is a function made anew for each call, a lambda say, and functions are equal only to "
                               "themselves: make it once and pass the same one",)
    f(1.0, np.sin)
    assert not latest(f).hints
    assert "<ufunc 'sin'> now" in latest(f).reasons[0]


class Plain:
    pass


@dataclasses.dataclass(frozen=True)
class Settings:
    steps: int = 3


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


def test_objects_that_are_equal_only_to_themselves():
    f = gx.jit(lambda x, options: x + 1.0, static_argnames="options")
    f(1.0, Plain())
    f(1.0, Plain())
    assert latest(f).reasons == ("argument options is static: an object of class Plain before, another one now",)
    assert latest(f).hints[0].startswith("objects of class Plain are equal only to themselves: keep one for options, or give")
    first, second = Settings(), Settings(4)
    f(1.0, first)
    f(1.0, second)
    assert latest(f).reasons == ("argument options is static: Settings(steps=3) before, Settings(steps=4) now",)
    assert not latest(f).hints
    f(1.0, Rude())
    assert latest(f).reasons[0].endswith(", a Rude now")


def test_nothing_of_the_users_is_kept_alive():
    def make():
        array = np.ones(1234)
        return array, lambda x: x + array

    held = Settings(77)
    array, rule = make()
    f = gx.jit(lambda x, options, rule: rule(x), static_argnums=(1, 2))
    f(1.0, held, rule)
    watched = [weakref.ref(x) for x in (f, held, rule, array)]
    del f, held, rule, array
    gc.collect()
    assert [x() for x in watched] == [None] * 4
    assert str(gx.explain_cache_miss())
    assert latest().function == "<lambda>"


# ------------------------------------------------------------------------------------------------------- usual mistakes


def test_jit_applied_anew():
    def solve(x):
        return gx.jit(lambda t: t * 3.0 + 1.0)(x)

    def hinted():
        return [hint for hint in latest().hints if hint.startswith("jit was applied anew")]

    solve(1.0)
    assert not hinted()
    for count in (1, 2):
        solve(2.0)
        assert latest().reasons == ("first call of <lambda>",)
        (hint,) = hinted()
        assert f"{count} other jitted function(s) of the same code (" in hint and "test_cache_misses.py" in hint
        assert "apply jit once, outside of the loop or function" in hint
    gx.jit(lambda t: t * 3.0 + 1.0)(1.0)  # another line
    assert not hinted()
    for f in (np.sin, np.cos):
        gx.jit(gx.grad(lambda t, f=f: f(t)))
        gx.jit(gx.grad(f))(1.0)
    assert not hinted()


def test_many_extents():
    f = gx.jit(lambda x, y: np.sum(x) + y)
    for n in (3, 4, 5):
        f(np.ones((2, n)), 1.0)
        assert not latest(f).hints
    f(np.ones((2, 6)), 1.0)
    assert latest(f).hints == (
        "axis 1 of x has had 4 extents (3, 4, 5, 6): pad it to a few sizes and mask the rest, or sort calls into buckets of "
        "one size",)
    f(np.ones((2, 6)), 2)
    assert not any("extents" in hint for hint in latest(f).hints)


def test_many_static_values():
    f = gx.jit(lambda x, n: x * n, static_argnums=1)
    for n in range(4):
        f(1.0, n)
    assert latest(f).hints == ("n is static and has had 4 values, each with code of its own: make it an ordinary argument, "
                               "with lax.fori_loop for loops over it and lax.cond for branches",)


@pytest.mark.parametrize(("before", "now", "hint"), [
    (1.0, 1, "numbers of Python of different types are different signatures, as 1 and 1.0 are: pass y as one type"),
    (1.0, np.ones(()), "pass y as one of them, by float(...) or np.asarray(...)"),
    (np.float64(1.0), 1.0, "pass y as one of them"),
    (X, X.astype(np.float32), "y comes in several dtypes: convert it to one where it enters the program, with "
                              ".astype(np.float64, copy=False)"),
])
def test_kinds_of_numbers(before, now, hint):
    f = gx.jit(first_leaf)
    f(X, before)
    f(X, now)
    assert sum(hint in found for found in latest(f).hints) == 1


def test_more_than_the_fast_chain():
    f = gx.jit(lambda x: x)
    for n in range(9):
        f((1.0,) * n)
        assert bool(latest(f).hints) == (n == 8)
    assert latest(f).hints[0].startswith("<lambda> has 9 specialisations. Native code looks through 8 of them")


def test_forgotten_code():
    f = gx.jit(lambda x: x - 1.5)
    f(X)
    f.clear_cache()
    f(X)
    assert latest(f).reasons == ("the signature is not new: its code was forgotten since, by clear_cache() or "
                                 "gradxform.cache.clear()",)
    assert not latest(f).hints


# ------------------------------------------------------------------------------------------------ where code came from


def test_where_code_comes_from_and_what_it_took(tmp_path):
    f = gx.jit(lambda x: np.sum(np.sin(x)) * 1.0625)
    before = datetime.now() - timedelta(seconds=1)
    with gx.config.override(cache_dir=str(tmp_path)):
        f(X)
        compiled = latest(f)
        f.clear_cache()
        f(X)
        loaded = latest(f)
    with gx.config.override(cache_dir="off"):
        f.clear_cache()
        f(X)
    uncached = latest(f)
    assert [miss.origin for miss in (compiled, loaded, uncached)] == ["compiled", "disk", "compiled, disk off"]
    assert "the disk cache has nothing for this program" in str(compiled)
    assert "from the disk cache" in str(loaded)
    assert "the disk cache is off" in str(uncached)
    steps = ["tracing", "looking on disk", "passes", "schedule", "emission", "LLVM", "linking"]
    for miss in (compiled, uncached):
        assert [name for name, _ in miss.phases] == steps
        assert all(seconds >= 0.0 for _, seconds in miss.phases)
        assert 0.0 < dict(miss.phases)["LLVM"] < miss.seconds < 60.0
        assert before < miss.when <= datetime.now()
    assert [name for name, _ in loaded.phases] == ["tracing", "looking on disk", "linking"]
    assert "LLVM" in str(compiled) and " ms" in str(compiled)


def test_loops_without_jit():
    def run(k, xs):
        return lax.scan(lambda c, v: (c * k + v, None), 0.0, xs)[0]

    for k, xs in ((0.25, X), (0.25, np.ones(4)), (0.75, X), (0.5, X)):
        run(k, xs)
    found = [miss for miss in misses(None) if miss.function == "scan" and miss.source.function == "run"]
    assert [miss.reasons[0] for miss in found] == [
        "first run of this scan, a loop that no jit encloses and that is compiled by itself",
        "argument number 1: f64[3] before, f64[4] now",
        "another program than before, of the same types: numbers or functions in it have changed",
        "another program than before, of the same types: numbers or functions in it have changed"]
    assert "this loop was compiled 4 times: put gradxform.jit around" in found[-1].hints[-1]
    count = len(misses(None))
    run(0.5, X)
    assert len(misses(None)) == count


# ------------------------------------------------------------------------------------------------------------ the object


def test_how_it_is_shown():
    f = gx.jit(lambda x: x["<b>"] + 2.5)
    empty = gx.explain_cache_miss(f)
    assert str(empty) == "<jit of <lambda>> was not compiled in this process, as far as is remembered"
    assert empty.latest is None and len(empty) == 0 and not list(empty)
    assert "&lt;lambda&gt;" in empty._repr_html_()
    f({"<b>": X})
    f({"<b>": 1.0})
    told = gx.explain_cache_miss(f)
    lines = str(told).splitlines()
    assert lines[0].startswith("<lambda> was compiled at ") and "test_cache_misses.py" in lines[0]
    assert lines[0].endswith("(test_how_it_is_shown)")
    assert lines[1] == "  why: argument x['<b>']: f64[3] before, a Python float now"
    assert [line.split(":")[0].strip() for line in lines[3:]] == ["native code", "time"]
    assert repr(told) == str(told) == str(told.latest)
    assert list(told) == list(told.misses) and len(told) == 2
    page = told._repr_html_()
    assert "&lt;b&gt;" in page and "<b>" not in page and page.count("<tr>") == 3


def test_of_anything():
    f = gx.jit(lambda x: x + 4.5)
    f(X)
    assert latest() == latest(f)
    assert "<lambda> was compiled at" in str(gx.explain_cache_miss())


@pytest.mark.parametrize("wrong", [np.sin, 3, first_leaf, "f"], ids=["ufunc", "number", "function", "text"])
def test_other_functions_are_refused(wrong):
    with pytest.raises(errors.ArgumentTypeError, match="expects a function that jit made, or nothing, got") as caught:
        gx.explain_cache_miss(wrong)
    assert "test_cache_misses.py" in str(caught.value)


def test_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(compilations, "_compilations", type(compilations._compilations)(maxlen=5))
    f = gx.jit(lambda x: x)
    for n in range(8):
        f((1.0,) * n)
    assert len(misses(f)) == 5
    assert misses(f)[0].reasons == ("first call of <lambda>",)
