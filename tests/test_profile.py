"""Metered builds: the same results, honest counts; `profile` as a function and as a context manager."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform.api.metering import Measurement, Metered
from gradxform.backend import disk_cache, metering
from gradxform.backend.generation import module_text
from gradxform.backend.metering import Meter
from gradxform.backend.partition import partition
from gradxform.config import config
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.loopir.loops import Kernel

RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(120, 120))
POSITIVE = SQUARE @ SQUARE.T + np.eye(120)


def bits(value: Any) -> list[tuple[Any, Any, bytes]]:
    return [(np.asarray(x).dtype, np.shape(x), np.asarray(x).tobytes()) for x in gx.tree.leaves(value)]


def newton(a: Any) -> Any:
    """Exactly 17 steps, of three flops each."""
    return lax.while_loop(lambda c: c[1] < 17, lambda c: (0.5 * (c[0] + a / c[0]), c[1] + 1), (a * 1.0, 0))[0]


def halve_until_one(x: Any) -> Any:
    return lax.while_loop(lambda c: c > 1.0, lambda c: 0.5 * c, x)


def network(weights: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = np.tanh(np.concatenate([x, h], axis=1) @ weights)
        return h, np.sum(h)

    h, sums = lax.scan(step, np.zeros((8, 48)), xs)
    return np.sum(h ** 2) + np.mean(sums)


def layers(x: Any, weights: Any) -> Any:
    for layer in range(4):
        x = np.tanh(x @ weights[layer]) / np.sqrt(1.0 + np.sum(x * x, axis=1, keepdims=True))
    return x


def wide(x: Any) -> Any:
    """Many functions in one loop: two modules."""
    return [np.exp(np.sin(x * k)) / (1.0 + np.log1p(np.abs(x) + k)) for k in range(1, 16)]


def long(x: Any) -> Any:
    """Many statements: parts, which are functions of their own, in four modules."""
    a, b = x, 0.5 * x
    for _ in range(330):
        a, b = np.abs(a * b) + 0.1, a / (b * b + 1.0)
    return a + b


def alternately(x: Any, n: Any) -> Any:
    return lax.fori_loop(0, n, lambda i, c: lax.cond(i % 3 == 0, np.sin, lambda y: y * 0.5 + 1.0, c), x)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "sum": (lambda x: np.sum(np.sin(x) * x), (RNG.normal(size=3001),)),
    "float32": (lambda x: np.sum(x * x) / np.max(x), (RNG.normal(size=20_000).astype(np.float32),)),
    "scalar": (lambda x: x * x + 1.0, (3.0,)),
    "chunks": (lambda x: (np.exp(x), np.sum(x)), (RNG.normal(size=400_000),)),
    "product": (lambda a: np.tanh(a @ a.T), (SQUARE,)),
    "cholesky": (lambda a: np.linalg.cholesky(a), (POSITIVE,)),
    "sort": (lambda x: (np.sort(x), np.argsort(x)), (RNG.normal(size=5000),)),
    "fft": (lambda x: np.fft.rfft(x), (RNG.normal(size=512),)),
    "newton": (newton, (2.0,)),
    "recurrent": (gx.value_and_grad(network), (RNG.normal(size=(80, 48)), RNG.normal(size=(20, 8, 32)))),
    "alike": (layers, (RNG.normal(size=(40, 30)), RNG.normal(size=(4, 30, 30)))),
    "wide": (wide, (RNG.normal(size=2000),)),
    "parts": (long, (RNG.normal(size=200),)),
    "branches": (alternately, (0.3, 1000)),
    "tree": (lambda p: {"a": p["x"] * 2, "b": (p["y"], np.sum(p["x"]))}, ({"x": np.arange(5.0), "y": 3},)),
    "gather": (lambda x, i: np.sum(np.exp(x[i])), (RNG.normal(size=500), RNG.integers(0, 500, 20_000))),
    "tape": (gx.grad(lambda x: lax.while_loop(lambda c: c < 50.0, lambda c: c * c + 0.5, x)), (1.1,)),
    "lanes": (gx.vmap(halve_until_one), (np.linspace(1.0, 50.0, 9),)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_those_of_an_ordinary_call_bit_for_bit(name: str) -> None:
    function, args = PROGRAMS[name]
    jitted = gx.jit(function)
    metered = jitted.metered(args)
    assert bits(metered.call()) == bits(jitted(*args))
    before = config.num_threads
    try:
        config.update(num_threads=1 if before > 1 else 2)
        assert bits(metered.call()) == bits(jitted(*args))
    finally:
        config.update(num_threads=before)


def _without_meter(text: str) -> str:
    """The text with the lines and arguments of clocks and counters taken out."""
    text = re.sub(r", ptr %meter\d*(?=[,)])", "", text)
    text = re.sub(r"\[(\d+) x ptr\](?= *\n%c\d)", lambda found: f"[{int(found[1]) - 1} x ptr]", text)
    kept = [line for line in text.split("\n") if "meter" not in line]
    return "\n".join(kept)


def _without_contexts(text: str) -> list[str]:
    """Lines but those by which chunks get their addresses: there is one more of them."""
    return [line for line in text.split("\n") if "%context" not in line and not re.match(r"store ptr %\S+, ptr %c\d", line)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_only_clocks_and_counters_are_added(name: str) -> None:
    """LLVM gets what it gets otherwise, in the same modules, so it makes the same loops of it."""
    function, args = PROGRAMS[name]
    lowered = gx.jit(function).lower(*args)
    kernel = lowered.loops
    before = module_text(kernel, lowered._spec)[0]
    meter = Meter(kernel)
    text = module_text(meter.kernel, lowered._spec, meter)[0]
    assert "meter" not in before and "@meter.start" in text
    assert _without_contexts(_without_meter(text)) == _without_contexts(before)
    assert module_text(kernel, lowered._spec)[0] == before == lowered.llvm
    defined = [re.findall(r"^define [^\n]*?@([\w.]+)\(", part, re.MULTILINE) for part, _ in partition(text, like=before)]
    assert defined == [re.findall(r"^define [^\n]*?@([\w.]+)\(", part, re.MULTILINE) for part, _ in partition(before)]
    assert len(defined) > {"parts": 3, "wide": 1}.get(name, 0) and (name != "parts" or "@nest0.part" in text)


def test_alike_nests_share_code_and_have_records_of_their_own() -> None:
    function, args = PROGRAMS["alike"]
    metered = gx.jit(function).metered(args)
    meter = metered.code.meter
    text = module_text(meter.kernel, metered.lowered._spec, meter)[0]
    assert len(re.findall(r"^define internal i1 @nest\d+\(", text, re.MULTILINE)) < len(meter.kernel.nests)
    found = metered.measure(repeats=2)
    assert all(each.entries == each.executed.entries for each in found.spans)


# ---------------------------------------------------------------------------------------------------------- counting


def measured(function: Callable[..., Any], *args: Any) -> Measurement:
    return gx.jit(function).metered(args).measure(repeats=2)


def whole(found: Measurement, what: str) -> int:
    return sum(getattr(each.executed, what) for each in found.spans if each.span.parent is None)


def test_iterations_of_a_while_loop_are_counted() -> None:
    found = measured(newton, 2.0)
    assert whole(found, "flops") == 17 * 3 and not any(each.executed.assumed for each in found.spans)


@pytest.mark.parametrize("start, steps", [(0.5, 0), (1.5, 1), (1000.0, 10)])
def test_counts_are_those_of_the_call(start: float, steps: int) -> None:
    found = measured(halve_until_one, start)
    assert whole(found, "flops") == steps + (steps + 1)  # products and comparisons


def test_branches_are_counted() -> None:
    found = measured(alternately, 0.3, 1000)
    assert whole(found, "elementary_calls") == 334 and whole(found, "flops") == 2 * 666


def test_loops_with_bounds_at_run_time_are_counted() -> None:
    jitted = gx.jit(lambda n: lax.fori_loop(0, n, lambda i, c: c * 0.5 + 1.0, 1.0))
    for n in (0, 1, 250):
        assert whole(jitted.metered((n,)).measure(repeats=1), "flops") == 2 * n


def test_counters_in_parts_and_in_lanes() -> None:
    # Each lane is halved until it is at most 1; all of them run as long as one of them needs.
    lanes = np.array([3.0, 100.0, 0.5])
    found = measured(gx.vmap(halve_until_one), lanes)
    assert not any(each.executed.assumed for each in found.spans)
    assert whole(found, "flops") >= 7 * 3


# ------------------------------------------------------------------------------------------------------------- times


def test_times_of_parts_are_within_those_of_the_whole() -> None:
    function, args = PROGRAMS["recurrent"]
    found = measured(function, *args)
    assert found.call_seconds > 0 and found.metered_seconds > 0 and found.calls == 2 and found.threads == config.num_threads
    spans = found.spans
    assert any(each.span.depth > 1 for each in spans)
    nests = [each for each in spans if each.span.parent is None]
    assert max(each.seconds for each in nests) > 0
    assert sum(each.seconds for each in nests) <= 2 * found.metered_seconds + 1e-3
    for each in spans:
        assert each.seconds >= 0 and each.thread_seconds >= 0 and each.entries == each.executed.entries
        if each.span.parent is not None:
            assert each.seconds <= spans[each.span.parent].seconds


def test_chunks_are_summed_over_threads_and_the_nest_is_timed_as_a_whole() -> None:
    function, args = PROGRAMS["chunks"]
    found = measured(function, *args)
    nest, loop, *_ = found.spans
    assert "chunks" in nest.span.label and nest.entries == 1 and nest.executed.entries == 1
    assert loop.entries == loop.executed.entries > 1 and loop.iterations == 400_000
    assert 0 < loop.seconds <= nest.seconds and nest.thread_seconds > 0
    assert loop.flops_per_second >= 0 and loop.bytes_per_second > 0


def test_nests_that_run_again_say_so() -> None:
    x = np.linspace(0.0, 1.0, 5000)
    jitted = gx.jit(lambda x: np.sin(x) * x)
    assert all(each.reruns == 0 for each in jitted.metered((x,)).measure(repeats=1).spans)
    x[7] = 1e300
    metered = jitted.metered((x,))
    assert bits(metered.call()) == bits(jitted(x))
    nest = metered.measure(repeats=2).spans[0]
    assert nest.reruns == 1 and nest.executed.elementary_calls == 5000
    assert "ran again" in str(gx.profile(jitted, x, repeats=1))


def test_what_clocks_cost_is_known() -> None:
    inside, outside = metering.clock_cost()
    assert 0 <= inside <= outside < 1e-4


# ------------------------------------------------------------------------------------------------------------ errors


def test_errors_are_those_of_an_ordinary_call() -> None:
    take = gx.jit(lambda x, i: np.sum(np.exp(x[i])))
    good, bad = np.array([0, 1, 2]), np.array([0, 7, 2])
    metered = take.metered((np.ones(3), bad))
    for _ in range(2):
        with pytest.raises(IndexError, match="index 7 is out of bounds for axis 0 with size 3"):
            metered.call()
    with pytest.raises(IndexError):
        gx.profile(take, np.ones(3), bad)
    assert bits(take.metered((np.ones(3), good)).call()) == bits(take(np.ones(3), good))
    with pytest.raises(np.linalg.LinAlgError):
        gx.jit(lambda a: np.linalg.cholesky(a)).metered((-np.eye(3),)).call()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_a_callback_raises_comes_through(kind: type[BaseException]) -> None:
    fail = True

    def speak(x: Any) -> Any:
        if fail:
            raise kind("no")
        return x

    jitted = gx.jit(lambda x: gx.pure_callback(speak, gx.ShapeDType((), float), x) + 1.0)
    metered = jitted.metered((2.0,))
    with pytest.raises(kind):
        metered.call()
    with pytest.raises(kind), gx.profile() as p:
        jitted(2.0)
    assert not p.functions
    fail = False
    assert metered.call() == 3.0 and jitted(2.0) == 3.0
    found = metered.measure(repeats=1)
    assert any(each.span.kind == "python" and each.seconds > 0 for each in found.spans)


class _Alarm(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_a_metered_loop_that_never_ends_can_be_interrupted() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread")

    def ring(*_: object) -> None:
        raise _Alarm

    metered = gx.jit(lambda x: lax.while_loop(lambda c: c > 0, lambda c: c * 1.0000001, x)).metered((1.0,))
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(_Alarm):
            metered.call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert gx.jit(halve_until_one).metered((4.0,)).call() == 1.0


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(ArgumentTypeError, match="expected a function"):
        gx.profile(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no function"):
        gx.profile(repeats=3)
    with pytest.raises(ArgumentError, match="repeats must be at least 1"):
        gx.profile(np.sin, 1.0, repeats=0)
    with gx.disable_jit(), pytest.raises(ArgumentError, match="no call reached compiled code"):
        gx.profile(lambda x: x + 1.0, 1.0)
    with gx.profile() as p, pytest.raises(ArgumentError, match="entered already"), p:
        pass


# --------------------------------------------------------------------------------------------------- what is kept


def test_metered_code_is_kept_in_memory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    metering.clock_cost()
    jitted = gx.jit(lambda x: np.sum(np.cos(x) * 3.25))
    x = np.ones(10_000)
    jitted(x)
    kept: list[str] = []
    monkeypatch.setattr(disk_cache, "put", lambda key, entry: kept.append(key))
    first = jitted.metered((x,))
    assert not kept and first.code is jitted.metered((x,)).code
    assert jitted.metered((np.ones(7),)).code is not first.code
    assert jitted.specialization_count == 1
    jitted.clear_cache()
    assert jitted.metered((x,)).code is not first.code
    assert first.call() == jitted(x)


def test_kernels_are_the_same_with_statements_in_two_places() -> None:
    lowered = gx.jit(network).lower(*PROGRAMS["recurrent"][1])
    kernel = lowered.loops
    nest = kernel.nests[-1]
    twice = Kernel(kernel.inputs, kernel.outputs, kernel.temporaries, (*kernel.nests, nest), kernel.offsets, kernel.arena_bytes)
    own = metering.apart(twice)
    assert str(own) == str(twice) and len({id(nest.body[0]) for nest in own.nests[-2:]}) == 2


# ---------------------------------------------------------------------------------------------------------- profile


def test_profile_of_a_function() -> None:
    p = gx.profile(lambda a, b: np.tanh(a @ b), SQUARE, b=SQUARE, repeats=4)
    (found,) = p.functions
    assert found.name == "<lambda>" and list(map(str, found.inputs)) == ["f64[120,120]"] * 2 and found.calls == 4
    assert found.measurement is not None and found.seconds == found.measurement.call_seconds > 0
    assert p.total_seconds == found.total_seconds == pytest.approx(4 * found.seconds)
    text = str(p)
    assert "gemm 120x120x120" in text and "GFLOP/s" in text and "1 compiled function, 4 calls" in text
    assert all(len(line) < 128 for line in text.splitlines())
    html = p._repr_html_()
    assert "gemm 120x120x120" in html and "&lt;lambda&gt;" in html and html.count("<tr>") == html.count("</tr>")
    assert repr(p).startswith("<Profile: 1 compiled function")


def test_profile_of_a_jitted_function_with_static_arguments() -> None:
    power = gx.jit(lambda x, n, scale=1.0: scale * x ** n, static_argnames="n")
    (found,) = gx.profile(power, np.arange(4.0), n=3, scale=2.0, repeats=1).functions
    assert [str(each) for each in found.inputs] == ["f64[4]", "f64[]*"]
    assert gx.profile(lambda: np.ones(3) * 2.0, repeats=1).functions[0].inputs == ()


def test_calls_in_a_block_are_collected() -> None:
    f, g = gx.jit(lambda x: np.sin(x) + 1.0), gx.jit(lambda x: np.sum(x @ x))
    x = np.linspace(0.0, 1.0, 50)
    expected = bits((f(x), f(2.0), g(SQUARE)))
    with gx.profile() as p:
        results = None
        for _ in range(3):
            results = (f(x), f(2.0), g(SQUARE))
        results = (results[0], results[1], g(np.asfortranarray(SQUARE)))
        assert f.specialization_count == 2
    assert bits(results[:2]) == expected[:2] and bits(results[2])[0][:2] == expected[2][:2]
    counted = {found.signature: found.calls for found in p.functions}
    assert sorted(counted.values()) == [3, 3, 4] and sum(counted.values()) == 10
    assert [found.total_seconds for found in p.functions] == sorted((f.total_seconds for f in p.functions), reverse=True)
    assert all(found.measurement is not None and found.seconds > 0 for found in p.functions)
    before = str(p)
    f(x)
    assert str(p) == before and "4" in before
    with pytest.raises(ZeroDivisionError), gx.profile() as p:
        f(x)
        raise ZeroDivisionError
    assert p.functions[0].calls == 1
    assert bits(f(x)) == expected[:1] and str(gx.profile()) == "profile: 0 compiled functions, 0 calls, 0 ns"


def test_counts_in_a_block_are_those_of_all_calls() -> None:
    halve = gx.jit(halve_until_one)
    with gx.profile() as p:
        for start in (4.0, 16.0, 64.0):
            halve(start)
    (found,) = p.functions
    assert found.calls == 3 and found.measurement is not None
    assert whole(found.measurement, "flops") == 4 + 5  # on average


def test_traced_functions_in_a_block_are_parts_of_what_calls_them() -> None:
    inner = gx.jit(lambda x: x * x)
    outer = gx.jit(lambda x: inner(x) + 1.0)
    with gx.profile() as p:
        assert outer(3.0) == 10.0
        gx.grad(inner)(3.0)
    assert [found.calls for found in p.functions] == [1]


def test_of_two_blocks_the_inner_one_collects() -> None:
    f = gx.jit(lambda x: x + 1.0)
    with gx.profile() as outer:
        f(1.0)
        with gx.profile() as inner:
            f(1.0)
            f(1.0)
        f(1.0)
        gx.profile(f, 1.0, repeats=1)
    assert outer.functions[0].calls == 2 and inner.functions[0].calls == 2


def test_other_threads_are_left_alone() -> None:
    f = gx.jit(lambda x: np.sum(np.sin(x)))
    x = np.ones(1000)
    expected = f(x)
    results: list[Any] = []
    with gx.profile() as p:
        thread = threading.Thread(target=lambda: results.extend(f(x) for _ in range(50)))
        thread.start()
        mine = [f(x) for _ in range(5)]
        thread.join()
    assert set(results) == set(mine) == {expected} and p.functions[0].calls == 5


def test_two_threads_may_measure_one_function() -> None:
    f = gx.jit(lambda x: np.sum(np.sin(x) ** 2))
    x = RNG.normal(size=50_000)
    expected, profiles = f(x), []

    def work() -> None:
        with gx.profile() as p:
            assert all(f(x) == expected for _ in range(40))
        profiles.append(p)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.functions[0].calls for p in profiles] == [40, 40]
    assert all(str(p) for p in profiles)


def test_a_function_that_comes_to_itself_by_way_of_python() -> None:
    def down(n: Any) -> Any:
        return f(n - 1.0) if n > 0 else n

    f = gx.jit(lambda n: gx.pure_callback(down, gx.ShapeDType((), float), n) + 1.0)
    with gx.profile() as p:
        assert f(np.float64(3.0)) == 4.0
    (found,) = p.functions
    assert found.calls == 4 and found.measurement is not None and found.measurement.calls == 1


def test_importing_the_package_does_not_import_the_window() -> None:
    code = ("import sys, json, gradxform; before = [m for m in sys.modules if m.startswith('gradxform.window')];"
            "print(json.dumps([before, gradxform.profile.__module__, 'profile' in dir(gradxform)]))")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], "gradxform.window.profiling", True]


def test_metered_is_part_of_a_jitted_function() -> None:
    metered = gx.jit(lambda x, *, y: x + y).metered((1.0,), {"y": 2.0})
    assert isinstance(metered, Metered) and metered.call() == 3.0
    assert len(metered.estimates) == len(metered.spans) == len(metered.lowered.loops.nests)
