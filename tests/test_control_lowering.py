"""How loops and branches become native loops: what is copied, what stays in place, how they end early."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform.dtypes import float64, int64
from gradxform.errors import CheckError
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.expression import ONE, ZERO, Constant, Load
from gradxform.loopir.loops import Buffer, For, If, Kernel, Nest, Reserve, Statement, Store, While, bodies
from gradxform.loopir.printer import print_kernel


def statements(inside: Sequence[Statement]) -> Iterator[Statement]:
    for statement in inside:
        yield statement
        for body in bodies(statement):
            yield from statements(body)


def ordered_loops(kernel: Kernel) -> list[Statement]:
    return [s for nest in kernel.nests for s in statements(nest.body)
            if isinstance(s, While) or (isinstance(s, For) and s.ordered)]


def stores_inside(kernel: Kernel) -> list[Statement]:
    """Everything that the bodies of the outermost ordered loops write to memory that is not local."""
    return [s for loop in ordered_loops(kernel)[:1] for body in bodies(loop) for s in statements(body)
            if isinstance(s, Store) or type(s).__name__ == "Accumulate"]


def loops_of(function: Callable[..., Any], *args: Any) -> Kernel:
    return gx.jit(function).lower(*args).loops  # type: ignore[no-any-return]


def sweep(u: Any) -> Any:
    def row(i: Any, u: Any) -> Any:
        return lax.fori_loop(1, u.shape[1] - 1, lambda j, u: u.at[i, j].set(
            0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])), u)

    return lax.fori_loop(0, 3, lambda _, u: lax.fori_loop(1, u.shape[0] - 1, row, u), u)


def swept(u: Any) -> Any:
    u = u.copy()
    for _ in range(3):
        for i in range(1, u.shape[0] - 1):
            for j in range(1, u.shape[1] - 1):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])
    return u


def test_nested_updates_of_an_array_are_plain_stores() -> None:
    u = np.random.default_rng(0).normal(size=(12, 14))
    kernel = loops_of(sweep, u)
    assert len(ordered_loops(kernel)) == 3
    assert len(stores_inside(kernel)) == 1
    assert not kernel.temporaries
    assert "checked_index" not in str(kernel)
    np.testing.assert_array_equal(gx.jit(sweep)(u), swept(u))


def test_an_element_that_is_read_before_it_is_overwritten_costs_no_copy() -> None:
    def function(x: Any) -> Any:
        def step(i: Any, c: Any) -> Any:
            x, total = c
            updated = x.at[i].set(0.0)  # the old element is read after this line
            return updated, total + x[i]

        return lax.fori_loop(0, 40, step, (x, 0.0))

    x = np.arange(50.0)
    kernel = loops_of(function, x)
    inside = [s for loop in ordered_loops(kernel) for body in bodies(loop) for s in statements(body)]
    assert not any(isinstance(s, For) for s in inside)
    values, total = gx.jit(function)(x)
    assert total == np.sum(x[:40])
    np.testing.assert_array_equal(values, np.where(np.arange(50) < 40, 0.0, x))


def test_an_old_value_that_is_read_later_is_kept() -> None:
    def function(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, x: x.at[i].set(5.0) + x, x)

    x = expected = np.arange(50.0)
    for i in range(3):
        new = expected.copy()
        new[i] = 5.0
        expected = new + expected
    np.testing.assert_array_equal(gx.jit(function)(x), expected)


@pytest.mark.parametrize("size", [5, 50], ids=["registers", "memory"])
def test_carries_change_places_as_if_all_at_once(size: int) -> None:
    def function(a: Any, b: Any) -> Any:
        return lax.fori_loop(0, 3, lambda _, c: (c[1].at[0].set(c[0][1]), 2 * c[0]), (a, b))

    def mirrored(a: Any, b: Any) -> Any:
        return lax.fori_loop(0, 3, lambda _, c: (c[1].at[2].set(7.0), c[0].at[1].set(5.0)), (a, b))

    a, b = np.arange(1.0, size + 1), np.arange(size) * 0.5
    p, q = a, b
    r, s = a, b
    for _ in range(3):
        p, q = np.concatenate([p[1:2], q[1:]]), 2 * p
        r, s = np.where(np.arange(size) == 2, 7.0, s), np.where(np.arange(size) == 1, 5.0, r)
    for found, expected in zip([*gx.jit(function)(a, b), *gx.jit(mirrored)(a, b)], [p, q, r, s], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_branch_that_updates_an_array_does_so_in_place() -> None:
    def function(x: Any) -> Any:
        return lax.fori_loop(0, 10, lambda i, x: lax.cond(i % 2 == 0, lambda x: x.at[i].set(x[i + 1] + 1), lambda x: x, x), x)

    x = np.arange(50.0)
    kernel = loops_of(function, x)
    assert len(stores_inside(kernel)) == 1
    expected = x.copy()
    expected[:10:2] = x[1:11:2] + 1
    np.testing.assert_array_equal(gx.jit(function)(x), expected)


def test_what_a_loop_records_is_computed_where_it_belongs() -> None:
    kernel = loops_of(lambda x: lax.scan(lambda c, x: (c + 1.0, c * x), 0.0, x)[1], np.ones((4, 50)))
    assert not kernel.temporaries and not any(buffer.size > 1 for nest in kernel.nests for buffer in nest.locals)


def test_a_state_in_registers_is_not_stored() -> None:
    def function(s: Any) -> Any:
        return lax.fori_loop(0, 100, lambda _, s: np.array([1.0, 2.0, 3.0]) * s, s)

    assembly = gx.jit(function).lower(np.ones(3)).assembly
    assert "malloc" not in assembly
    np.testing.assert_allclose(gx.jit(function)(np.ones(3)), np.array([1.0, 2.0, 3.0]) ** 100, rtol=1e-13)


def test_the_tape_of_a_while_loop_grows() -> None:
    def power(x: Any, n: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * x), (0, 1.0))[1]

    gradient = gx.jit(gx.grad(power))
    for n in (0, 1, 5, 64, 65, 1000, 100_000):
        x = 1.0 + 1.0 / max(n, 1)
        np.testing.assert_allclose(gradient(x, n), n * x ** max(n - 1, 0), rtol=1e-9)
    assert "tape" in str(gradient.lower(1.0, 3).loops)


class _Alarm(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
@pytest.mark.parametrize("endless", [
    lambda x: lax.while_loop(lambda c: c > 0, lambda c: c * 1.0000001, x),
    lambda x: lax.fori_loop(0, 10**13, lambda i, c: c * 1.0000001 + i, x),
    gx.grad(lambda x: lax.while_loop(lambda c: c > 0, lambda c: c * x, x)),
], ids=["while", "for", "gradient"])
def test_a_loop_that_never_ends_can_be_interrupted(endless: Callable[..., Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread")

    def ring(*_: object) -> None:
        raise _Alarm

    function = gx.jit(endless)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(2):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(_Alarm):
                function(1.0)
        assert gx.jit(lambda x: lax.while_loop(lambda c: c > 0, lambda c: c - 1.0, x))(3.0) == 0.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_a_tape_that_outgrows_memory_is_an_error() -> None:
    script = """
import resource, gradxform as gx
from gradxform import lax
f = gx.jit(gx.grad(lambda x: lax.while_loop(lambda c: c > 0, lambda c: c * x, 1.0)))
g = gx.jit(gx.grad(lambda x: lax.while_loop(lambda c: c < 5, lambda c: c * x, 1.0)))
assert g(2.0) == 12.0
f.lower(1.0).assembly
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), used + (1 << 29)))
try:
    f(1.0)
except MemoryError:
    print("no memory", g(2.0))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "no memory 12.0", done.stderr


def test_other_threads_run_beside_a_loop() -> None:
    ticks: list[int] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.01):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    function = gx.jit(lambda n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 0.999 + 1.0), (0, 1.0)))
    function(10)
    thread.start()
    try:
        before = len(ticks)
        function(300_000_000)
        assert len(ticks) > before
    finally:
        stop.set()
        thread.join()


def kernel_with(*body: Statement, buffers: Sequence[Buffer] = ()) -> Kernel:
    return Kernel((), (), tuple(buffers), (Nest(tuple(body)),))


def test_statements_print_and_are_checked() -> None:
    tape = Buffer("t1", float64, (-1, 3), "tape")
    true = Constant(np.True_, np.dtype(bool))
    one = Constant(np.float64(1), float64)
    store = Store(tape, (ZERO, ONE), one)
    body = (Reserve(tape, ZERO), If(true, (store,), ()), While((), true, (store,)))
    text = print_kernel(check_kernel(kernel_with(*body, buffers=[tape])))
    assert "tape t1:f64[?,3]" in text and "reserve t1[0]" in text and "if True:" in text and "while True:" in text
    arena = Buffer("t2", float64, (3,), "arena")
    with pytest.raises(CheckError, match="only declared tapes grow"):
        check_kernel(kernel_with(Reserve(arena, ZERO), buffers=[arena]))
    for statement in (While((), one, ()), If(one, (), ())):
        with pytest.raises(CheckError, match="condition is not boolean"):
            check_kernel(kernel_with(statement))
    counter = Buffer("t3", int64, (), "arena")
    with pytest.raises(CheckError, match="not declared"):
        check_kernel(kernel_with(While((), true, (Store(counter, (), Load(counter, (), int64)),))))
