"""Passes over loops: what each makes of a program, and that none changes what a program computes.

Programs are evaluated by the interpreter before and after; expected texts are written down.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.tolerances import assert_all_close

import gradxform as gx
from gradxform import lax
from gradxform.core import Builder, run
from gradxform.ir import ArrayType, Program, check
from gradxform.passes import PASSES, optimise
from gradxform.primitives import ROSTER

APPLY = {name: apply for name, apply, _ in PASSES}


def captured(function, *arguments):
    """The program of ``function`` and the values of its inputs: the arguments, and arrays that it closes over."""
    arrays = [np.asarray(x) for x in arguments]
    builder = Builder("test", gx.Array)
    with builder:
        results = function(*[builder.add_input(ArrayType(x.dtype, x.shape)) for x in arrays])
        program, captures = builder.finish(gx.tree.flatten(results)[0])
    return check(program), [*arrays, *captures]


def recorded(function, *arguments):
    return captured(function, *arguments)[0]


def after(name, program):
    """What one pass makes of it, without dead code."""
    return check(APPLY["dead"](check(APPLY[name](program, ROSTER)), ROSTER))


def same_values(before, rewritten, arguments):
    assert [(t.dtype, t.shape) for t in rewritten.output_types] == [(t.dtype, t.shape) for t in before.output_types]
    assert_all_close(run(rewritten, arguments), run(before, arguments))


def optimised(function, *arguments):
    before, values = captured(function, *arguments)
    found = check(optimise(before, ROSTER))
    same_values(before, found, values)
    return found


def loops(program):
    return [e for e in program.equations if e.operation.name in ("scan", "while", "cond")]


def names(program):
    return [e.operation.name for e in program.equations]


def inner(equation, name="body"):
    return dict(equation.params)[name]


XS = np.array([0.5, -1.0, 2.0, 0.25])

# ------------------------------------------------------------------------------------------------------- dead code


def test_unused_results_of_a_scan_go():
    def f(xs, a):
        def step(carry, x):
            total, power, unused = carry
            return (total + x, power * a, unused + np.sin(power)), (x * power, np.cos(unused))

        (total, _, _), _ = lax.scan(step, (0.0, 1.0, 2.0), xs)
        return total

    found = optimised(f, XS, 3.0)
    (scan,) = loops(found)
    assert str(inner(scan)) == "{ lambda a:f64[] b:f64[] . let c:f64[] = add a b in (c) }"
    assert scan.inputs[1:] == found.inputs[:1]


def test_a_carry_that_another_one_reads_stays():
    def f(xs, a):
        def step(carry, x):
            first, second, third = carry
            return (first + second, second + third, third * a), None

        return lax.scan(step, (0.0, 0.0, 1.0), xs)[0][0]

    (scan,) = loops(optimised(f, XS, 3.0))
    assert dict(scan.params)["carries"] == 3
    assert len(scan.inputs) == 4  # the array that nobody reads is gone


def test_unused_results_of_a_while_loop_go():
    def f(n, a):
        def body(carry):
            i, total, unused = carry
            return i + 1, total + np.sin(a), unused * total

        return lax.while_loop(lambda carry: carry[0] < n, body, (0, 0.0, 1.0))[1]

    (loop,) = loops(optimised(f, 5, 2.0))
    assert len(loop.outputs) == 2

    def count(n):
        return lax.while_loop(lambda carry: carry[0] < n, lambda carry: (carry[0] + 1, carry[1] * 2.0), (0, 1.0))[0]

    (loop,) = loops(optimised(count, 5))
    assert len(loop.outputs) == 1


def test_tapes_that_nobody_reads_are_not_recorded():
    def body(c):
        return c + np.exp(-c)

    def f(x):
        return lax.while_loop(lambda c: c < 3.0, body, x)

    # The derivative is computed and dropped: the loop records nothing.
    (loop,) = loops(optimised(lambda x: gx.value_and_grad(f)(x)[0], 1.0))
    assert not dict(loop.params)["recorded"]
    assert str(APPLY["dead"](recorded(lambda x: gx.value_and_grad(f)(x)[0], 1.0), ROSTER)) == str(
        APPLY["dead"](recorded(f, 1.0), ROSTER))


def test_unused_results_and_operands_of_branches_go():
    def f(p, x, y):
        return lax.cond(p > 0, lambda: (x * 2, np.sin(y), y), lambda: (x / 3, np.cos(y), x))[0]

    (equation,) = loops(optimised(f, 1.0, 2.0, 3.0))
    assert len(equation.outputs) == 1
    assert len(equation.inputs) == 2
    assert [names(b) for b in inner(equation, "branches")] == [["div"], ["mul"]]


def test_dead_code_in_nested_loops():
    def f(xs):
        def outer(carry, x):
            def step(c, y):
                return (c[0] + y, c[1] * y), None

            (total, _), _ = lax.scan(step, (carry[0], carry[1]), xs)
            return (total, carry[1] + 1.0), None

        return lax.scan(outer, (0.0, 1.0), xs)[0][0]

    (scan,) = loops(optimised(f, XS))
    assert dict(scan.params)["carries"] == 1
    (step,) = loops(inner(scan))
    assert dict(step.params)["carries"] == 1


def test_effects_stay():
    def note(x):
        seen.append(float(x))

    def f(xs):
        def step(carry, x):
            gx.io_callback(note, None, x)
            return carry + 1.0, x

        lax.scan(step, 0.0, xs)
        return xs[0]

    seen: list[float] = []
    program = recorded(f, XS)
    seen.clear()
    run(check(optimise(program, ROSTER)), [XS])
    assert seen == list(XS)


# -------------------------------------------------------------------------------------------------- hoisting


def test_what_does_not_change_is_computed_once():
    def f(a, xs):
        return lax.scan(lambda c, x: (c + np.sin(a) * np.exp(a) * x, None), 0.0, xs)[0]

    before = recorded(f, 2.0, XS)
    found = after("hoist", before)
    same_values(before, found, [np.float64(2.0), XS])
    assert names(found) == ["sin", "exp", "mul", "scan"]
    (scan,) = loops(found)
    assert str(inner(scan)) == (
        "{ lambda a:f64[] b:f64[] c:f64[] . let d:f64[] = mul a c ; e:f64[] = add b d in (e) }")
    assert scan.inputs[0] is found.equations[2].outputs[0]


def test_hoisting_from_a_while_loop_and_its_condition():
    def f(x, tolerance):
        return lax.while_loop(
            lambda c: np.abs(c * c - x) > np.sqrt(tolerance), lambda c: c - (c * c - x) / (2 * c) * np.tanh(x), x)

    found = optimised(f, 2.0, 1e-6)
    assert "sqrt" in names(found)
    assert "tanh" in names(found)
    (loop,) = loops(found)
    assert "sqrt" not in names(inner(loop, "condition"))
    assert "tanh" not in names(inner(loop))


def test_what_may_fail_stays_in_a_loop_that_may_not_run():
    def f(n, xs, i):
        return lax.fori_loop(0, n, lambda k, c: c + xs[i], 0.0)

    before = recorded(f, 0, XS, 9)
    found = check(optimise(before, ROSTER))
    assert run(found, [np.int64(0), XS, np.int64(9)])[0] == 0.0
    with pytest.raises(IndexError):
        run(found, [np.int64(1), XS, np.int64(9)])

    def endless(n, x):
        return lax.fori_loop(0, n, lambda k, c: c + lax.while_loop(lambda z: z < x, lambda z: z + 1.0, 0.0), 0.0)

    (loop,) = loops(optimised(endless, 3, 2.0))
    assert "while" in names(inner(loop))


def test_views_and_small_arithmetic_on_large_arrays_stay():
    def f(a, xs):
        def step(c, x):
            return c + np.broadcast_to(a, (30, 20)).T * x, None

        return lax.scan(step, np.zeros((20, 30)), xs)[0]

    found = optimised(f, np.arange(20.0), XS)
    (scan,) = loops(found)
    assert all(x.type.size != 600 for x in scan.inputs[: dict(scan.params)["constants"]])

    def outer_product(a, xs):
        return lax.scan(lambda c, x: (c + a[:, None] * a * x, None), np.zeros((20, 20)), xs)[0]

    (scan,) = loops(optimised(outer_product, np.arange(20.0), XS))
    assert [x.type.size for x in scan.inputs[: dict(scan.params)["constants"]]] == [20]


def test_a_carry_that_stays_is_a_constant():
    def f(a, xs):
        (_, total), _ = lax.scan(lambda c, x: ((c[0], c[1] + np.cos(c[0]) * x), None), (a, 0.0), xs)
        return total

    found = optimised(f, 2.0, XS)
    assert names(found) == ["cos", "scan"]

    def g(a, n):
        carry = lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1], c[2] + c[1]), (0, a, 0.0))
        return carry[1], carry[2]

    (loop,) = loops(optimised(g, 2.0, 3))
    assert len(loop.outputs) == 2


def test_literals_and_repeated_operands_of_loops():
    def f(a, xs):
        def step(c, x):
            first, second, third = x
            return c * 2.0 + first * second + third + a, None

        return lax.scan(step, 0.0, (xs, xs, np.broadcast_to(a, (4,))))[0]

    (scan,) = loops(optimised(f, 2.0, XS))
    assert dict(scan.params)["constants"] == 1
    assert len(scan.inputs) == 3
    ones = optimised(lambda xs: lax.scan(lambda c, x: (c + x[0] * x[1], None), 0.0, (xs, np.ones(4) * xs[0]))[0], XS)
    assert len(loops(ones)[0].inputs) == 3


def test_results_that_need_no_loop():
    def f(a, xs):
        return lax.scan(lambda c, x: (c + x, (x, np.sin(a), 2.0, c, c)), 0.0, xs)

    found = optimised(f, 2.0, XS)
    (scan,) = loops(found)
    assert len(scan.outputs) == 2
    same = optimised(lambda p, x: lax.cond(p > 0, lambda y: (y, 1.0, y * 2), lambda y: (y, 1.0, y - 2), x), 1.0, 5.0)
    (equation,) = loops(same)
    assert len(equation.outputs) == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_last_values_that_are_known(reverse):
    def f(a, xs, rows):
        def step(c, x):
            return (a * 2, x[0], x[1], 3.0, c[4] + c[0] * c[1]), None

        return lax.scan(step, (a, 0.0, np.zeros(3), 0.0, 0.0), (xs, rows), reverse=reverse)[0]

    found = optimised(f, 1.5, XS, np.arange(12.0).reshape(4, 3))
    (scan,) = loops(found)
    assert dict(scan.params)["carries"] == 3  # two are read within the loop, one is the sum
    assert names(found).count("slice") == 2

    def none(a, n):
        return lax.fori_loop(0, n, lambda i, c: (a * 2, c[1] + i), (a, 0))

    optimised(none, 1.5, 0)
    optimised(none, 1.5, 2)


# ---------------------------------------------------------------------------------------------------------- fusion


def test_a_loop_and_a_loop_over_its_results():
    def f(xs):
        last, ys = lax.scan(lambda c, x: (c * x, c + x), 1.0, xs)
        total, _ = lax.scan(lambda c, y: (c + y * y, None), 0.0, ys)
        return last, total

    before = recorded(f, XS)
    found = after("fuse", before)
    same_values(before, found, [XS])
    assert str(found) == """\
{ lambda a:f64[4] . let
    b:f64[] c:f64[] = scan[body={ lambda a:f64[] b:f64[] c:f64[] . let
        d:f64[] = mul a c
        e:f64[] = add a c
        f:f64[] = mul e e
        g:f64[] = add b f
      in (d, g) } carries=2 checkpoint=None constants=0 length=4 reverse=False] 1.0 0.0 a
  in (b, c) }"""


SEPARATE = {
    "other direction": lambda xs, ys, c: lax.scan(lambda s, y: (s + y, s), 0.0, ys, reverse=True),
    "the last carry as start": lambda xs, ys, c: lax.scan(lambda s, y: (s + y, s), c, ys),
    "the last carry as constant": lambda xs, ys, c: lax.scan(lambda s, y: (s * c + y, s), 0.0, ys),
    "changed in between": lambda xs, ys, c: lax.scan(lambda s, y: (s + y, s), 0.0, np.cumsum(ys)),
    "reversed in between": lambda xs, ys, c: lax.scan(lambda s, y: (s + y[0] * y[1], s), 0.0, (ys, ys[::-1])),
    "a part": lambda xs, ys, c: lax.scan(lambda s, y: (s + y, s), 0.0, ys[1:]),
    "whole": lambda xs, ys, c: lax.scan(lambda s, y: (s + y * np.sum(ys), s), 0.0, ys),
    "only related by the start": lambda xs, ys, c: lax.scan(lambda s, x: (s + x, s), c, xs),
}


@pytest.mark.parametrize("name", SEPARATE)
def test_loops_that_cannot_walk_together(name):
    def f(xs):
        c, ys = lax.scan(lambda s, x: (np.sin(s) * x, s + x), 1.0, xs)
        return c, SEPARATE[name](xs, ys, c)

    assert len(loops(optimised(f, XS))) == 2


def test_what_stands_between_is_moved():
    def f(xs, a):
        c, ys = lax.scan(lambda s, x: (np.sin(s) * x, s + x), 1.0, xs)
        after_first = np.exp(c) * np.sum(ys)
        start = np.cos(a)
        return after_first, lax.scan(lambda s, y: (s + y * np.tanh(start), None), start, ys)[0]

    found = optimised(f, XS, 0.3)
    assert len(loops(found)) == 1


def test_loops_over_the_same_array():
    def f(xs):
        total, _ = lax.scan(lambda s, x: (s + x, None), 0.0, xs)
        product, _ = lax.scan(lambda s, x: (s * x, None), 1.0, xs)
        other, _ = lax.scan(lambda s, x: (s * x, None), 1.0, xs, reverse=True)
        return total, product, other

    assert [len(e.outputs) for e in loops(optimised(f, XS))] == [2, 1]


def test_three_loops_in_a_row():
    def f(xs):
        _, ys = lax.scan(lambda s, x: (s + x, s * x), 0.0, xs)
        _, zs = lax.scan(lambda s, y: (s + y, s * y), 1.0, ys)
        return lax.scan(lambda s, z: (s + z[0] * z[1], None), 0.0, (zs, xs))[0]

    (scan,) = loops(optimised(f, XS))
    assert len(scan.outputs) == 3
    assert len(scan.inputs) == 4


def scanned(x):
    return lax.scan(lambda c, t: (c + np.sin(c * x) * t, None), x, XS)[0]


def repeated(x):
    return lax.fori_loop(0, 5, lambda i, c: c * np.sin(x) + i, x)


def while_running(x):
    return lax.while_loop(lambda c: c * c < 50.0, lambda c: c * 1.7 + np.sin(x), x)


def counted(x):
    n = lax.while_loop(lambda k: k < 6, lambda k: k + 2, 1)
    return lax.fori_loop(0, n, lambda i, c: c * np.cos(c) + x, x)


@pytest.mark.parametrize("function", [scanned, repeated, while_running, counted])
def test_forward_mode_is_one_loop(function):
    """As many loops as the function itself has, and no tape."""
    tangent = optimised(lambda x: gx.jvp(function, (x,), (1.0,)), 1.5)
    assert names(tangent).count("scan") + names(tangent).count("while") == len(loops(optimised(function, 1.5)))
    assert not any(v.type.is_tape for e in tangent.equations for v in e.outputs)
    second = optimised(lambda x: gx.jvp(lambda x: gx.jvp(function, (x,), (1.0,))[1], (x,), (1.0,)), 1.5)
    assert len(loops(second)) == len(loops(tangent))


@pytest.mark.parametrize("function", [scanned, repeated, while_running, counted])
def test_derivatives_keep_their_values(function):
    step = 1e-5
    program, (_, *captures) = captured(function, 1.5)
    ahead, behind = (run(program, [np.float64(1.5 + h), *captures])[0] for h in (step, -step))
    for derivative in (gx.grad(function), lambda x: gx.jvp(function, (x,), (1.0,))[1]):
        program, values = captured(derivative, 1.5)
        (found,) = run(check(optimise(program, ROSTER)), values)
        np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=1e-6)


def test_equal_loops_run_once():
    def f(x, n):
        twice = scanned(x) + scanned(x) * while_running(x) - while_running(x) + lax.fori_loop(0, n, lambda i, c: c * x, x)
        return twice + lax.fori_loop(0, n, lambda i, c: c + x, x)

    assert len(loops(optimised(f, 1.5, 4))) == 4


def test_loops_that_call_different_functions_are_not_equal():
    def f(x):
        def along(function):
            def step(c, e):
                return c + gx.pure_callback(function, gx.ShapeDType((), np.dtype(np.float64)), e), None

            return lax.scan(step, 0.0, x)[0]

        return along(lambda e: np.sin(e)), along(lambda e: np.cos(e))

    program = recorded(f, XS)
    found = run(check(optimise(program, ROSTER)), [XS])
    np.testing.assert_allclose(found, [np.sum(np.sin(XS)), np.sum(np.cos(XS))])


# ------------------------------------------------------------------------------------------------- equal carries


def test_carries_that_are_equal_are_one():
    def f(xs, a):
        def step(c, x):
            return (c[1] * x, c[0] * x, c[2] + c[0], c[3] + c[1], c[4] * x), c[1]

        return lax.scan(step, (a, a, 0.0, 0.0, 2.0), xs)

    (scan,) = loops(optimised(f, XS, 3.0))
    assert dict(scan.params)["carries"] == 3

    def g(a):
        return lax.while_loop(
            lambda c: c[0] + c[1] < 9.0, lambda c: (c[0] * 2 + 1, 1 + 2 * c[1], c[2] - c[1], c[3] - c[0], c[4] + c[3]),
            (a, a, 0.0, 0.0, 0.0))

    (loop,) = loops(optimised(g, 0.5))
    assert len(loop.outputs) == 3


def test_carries_that_differ_are_not_united():
    def f(xs, a):
        def step(c, x):
            return (c[0] * x, c[1] * x, c[2] + c[0], c[3] + c[1], -c[4]), None

        return lax.scan(step, (a, a + 1.0, 0.0, 0.0, -0.0), xs)[0]

    (scan,) = loops(optimised(f, XS, 3.0))
    assert dict(scan.params)["carries"] == 5


def test_second_derivatives_carry_tangents_once():
    found = optimised(lambda x: gx.jvp(lambda x: gx.jvp(while_running, (x,), (1.0,))[1], (x,), (1.0,)), 1.5)
    (loop,) = loops(found)
    assert len(loop.outputs) == 3  # the value, its derivative, its second derivative


# -------------------------------------------------------------------------------- loops and branches that are none


def test_known_branches():
    def f(x):
        return lax.switch(2, [np.sin, np.cos, np.exp], x) + lax.cond(np.bool_(False), np.sin, np.tanh, x)

    assert names(optimised(f, 0.5)) == ["exp", "tanh", "add"]


def test_loops_of_no_and_of_one_iteration():
    none, one = np.zeros((0, 3)), np.arange(3.0).reshape(1, 3)

    def g(a, xs):
        return lax.scan(lambda c, x: (c + np.sum(x) * a, (c, np.sin(x), 1.0)), a, xs)

    for xs in (none, one):
        found = optimised(g, 2.0, xs)
        assert loops(found) == []
    assert loops(optimised(lambda x: lax.fori_loop(0, 1, lambda i, c: c * 2 + i, x), 3.0)) == []
    assert loops(optimised(lambda x: lax.fori_loop(3, 3, lambda i, c: c * 2 + i, x), 3.0)) == []


# ----------------------------------------------------------------------------------------------- random programs


class Writer:
    """Writes a random function of a number and a vector, of loops and branches within each other."""

    def __init__(self, seed):
        self.choices = np.random.default_rng(seed)

    def pick(self, items):
        return items[int(self.choices.integers(len(items)))]

    def chance(self, percent):
        return self.choices.integers(100) < percent

    def value(self, values, shape=None):
        fitting = [v for v in values if shape is None or np.shape(v) == shape]
        return self.pick(fitting)

    def expression(self, values, shape):
        x = self.value(values, shape)
        for _ in range(int(self.choices.integers(1, 4))):
            y = self.value([v for v in values if np.shape(v) in ((), shape)])
            x = self.pick([
                lambda x=x, y=y: np.sin(x) + y, lambda x=x, y=y: x * np.cos(y), lambda x=x, y=y: 0.5 * (x - y),
                lambda x=x, y=y: x / (1.0 + y * y), lambda x=x, y=y: np.where(x > y, np.tanh(x), 0.3 * x),
                lambda x=x, y=y: np.exp(-x * x) * 0.7 + x * 0.1, lambda x=x, y=y: np.maximum(x, 0.2 * y + x),
            ])()
        if shape and self.chance(30):
            x = x * 0.3 + np.sum(x) * 0.05
        return x

    def block(self, values, stacks, depth):
        """``values`` and further ones."""
        values, stacks = list(values), list(stacks)
        for _ in range(int(self.choices.integers(1, 4))):
            kind = self.pick(["plain", "scan", "scan", "fori", "while_loop", "cond"]) if depth else "plain"
            getattr(self, kind)(values, stacks, depth)
        return values

    def fresh(self):
        """A number that fixes all further choices, so that a body is the same each time that it is traced."""
        return int(self.choices.integers(1 << 30))

    # Each of these appends what it makes to ``values``, and stacks of 4 elements to ``stacks``.

    def scan(self, values, stacks, depth):
        carries = [self.value(values) for _ in range(int(self.choices.integers(1, 4)))]
        shapes = [np.shape(c) for c in carries]
        xs = []
        for _ in range(int(self.choices.integers(0, 3))):
            if stacks and self.chance(70):
                xs.append(self.pick(stacks))
            else:
                v = self.value(values)
                xs.append(np.broadcast_to(v, (4, *np.shape(v))) if self.chance(50)
                          else np.arange(4.0) * np.sum(v))
        seed, count = self.fresh(), int(self.choices.integers(0, 3))

        def step(carry, x):
            inside = Writer(seed)
            made = inside.block([*values, *carry, *x], [], depth - 1 if inside.chance(40) else 0)
            new = [c if inside.chance(15) else inside.pick(values[:1]) * 1.0 if shape == () and inside.chance(10)
                   else inside.expression(made, shape) for c, shape in zip(carry, shapes, strict=True)]
            return tuple(new), tuple(inside.pick(made) for _ in range(count))

        finals, ys = lax.scan(step, tuple(carries), tuple(xs), length=4, reverse=bool(self.chance(25)))
        values += [f for f in finals if self.chance(70)]
        stacks += list(ys)
        values += [np.sum(y, 0) for y in ys if self.chance(50)]

    def fori(self, values, stacks, depth):
        carries = [self.value(values) for _ in range(2)]
        seed, count = self.fresh(), int(self.choices.integers(0, 4))
        bound = count if self.chance(50) else np.sum(self.value(values) > -10.0) * 0 + count

        def body(i, carry):
            inside = Writer(seed)
            made = inside.block([*values, *carry, i * 0.5], [], depth - 1 if inside.chance(30) else 0)
            return tuple(inside.expression(made, np.shape(c)) for c in carry)

        values += lax.fori_loop(0, bound, body, tuple(carries))

    def while_loop(self, values, stacks, depth):
        carries = [self.value(values) for _ in range(2)]
        seed, most = self.fresh(), int(self.choices.integers(0, 5))

        def body(carry):
            inside = Writer(seed)
            made = inside.block([*values, *carry[1:]], [], depth - 1 if inside.chance(30) else 0)
            return (carry[0] + 1, *(c if inside.chance(20) else inside.expression(made, np.shape(c)) for c in carry[1:]))

        found = lax.while_loop(
            lambda carry: (carry[0] < most) & (np.sum(carry[1]) < 30.0), body, (0, *carries))
        values += found[1:]

    def cond(self, values, stacks, depth):
        seeds, shape = [self.fresh(), self.fresh()], np.shape(self.value(values))

        def branch(seed):
            def run_branch():
                inside = Writer(seed)
                made = inside.block(values, [], depth - 1 if inside.chance(30) else 0)
                return tuple(inside.expression(made, shape) for _ in range(2))

            return run_branch

        values += lax.cond(np.sum(self.value(values)) > 0.1, branch(seeds[0]), branch(seeds[1]))

    def plain(self, values, stacks, depth):
        values.append(self.expression(values, np.shape(self.value(values))))


def written(seed):
    """A random function of a number and a vector of 3, with a number as result."""

    def function(x, y):
        writer = Writer(seed)
        values, stacks = [x, y], []
        for _ in range(4):
            kind = writer.pick(["plain", "scan", "scan", "scan", "fori", "while_loop", "cond"])
            getattr(writer, kind)(values, stacks, 1)
        return sum(np.sum(v) for v in values[-3:])

    return function


X, Y = np.float64(0.7), np.array([0.3, -1.1, 0.8])

FORMS = {
    "value": lambda f: (f, [X, Y]),
    "tangent": lambda f: (lambda x, y, u, v: gx.jvp(f, (x, y), (u, v)), [X, Y, np.float64(1.3), Y[::-1].copy()]),
    "gradient": lambda f: (gx.value_and_grad(f, (0, 1)), [X, Y]),
    "lanes": lambda f: (gx.vmap(f, (0, None)), [np.array([0.7, -0.4]), Y]),
    "gradient of lanes": lambda f: (gx.grad(lambda x, y: np.sum(gx.vmap(f)(x, y)), (0, 1)),
                                    [np.array([0.7, -0.4]), np.stack([Y, Y[::-1]])]),
    "tangent of gradient": lambda f: (lambda x, y, u, v: gx.jvp(gx.grad(f, (0, 1)), (x, y), (u, v)),
                                      [X, Y, np.float64(1.3), Y[::-1].copy()]),
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("form", FORMS)
def test_random_programs(form, seed):
    function, arguments = FORMS[form](written(seed))
    found = optimised(function, *arguments)
    assert isinstance(found, Program)
    # Once more there is nothing left to do but to print the same.
    assert str(check(optimise(found, ROSTER))) == str(found)
