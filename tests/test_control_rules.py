"""scan, while and cond: values, derivatives, batches and their compositions, against plain Python loops.

Each case is one function, written against `Plain` (Python's own loops over NumPy arrays) and `Traced` (the primitives).
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.differences import central_difference, directions, inner
from support.laws import check_adjoint, check_linear, evaluate, tangents_of
from support.tolerances import assert_all_close, assert_close

from gradxform.array import Array
from gradxform.core import Builder, run, type_of
from gradxform.errors import CheckError, IndexRangeError, NotDifferentiableError, ShapeError
from gradxform.ir import Program, check, programs_in
from gradxform.primitives import ROSTER, broadcast, concatenate, gather, reshape, scatter
from gradxform.primitives.cond import cond
from gradxform.primitives.residuals import minimum_cut
from gradxform.primitives.scan import scan
from gradxform.primitives.while_loop import while_loop
from gradxform.transforms import batch, jvp, linearize, pull_back, transpose

Body = Callable[..., tuple[Sequence[Any], Sequence[Any]]]


def record(function: Callable[..., Sequence[Any]], values: Sequence[Any]) -> Program:
    """The program of ``function`` for arguments of the types of ``values``."""
    builder = Builder("test", Array)
    with builder:
        inputs = [builder.add_input(type_of(x).strong()) for x in values]
        program, captures = builder.finish(list(function(*inputs)))
    assert not captures
    return check(program)


class Plain:
    """Loops of Python."""

    def scan(self, body: Body, constants: Any, carries: Any, xs: Any = (), length: int = 0, reverse: bool = False) -> Any:
        length = len(xs[0]) if len(xs) else length
        carries = list(carries)
        rows = []
        for t in reversed(range(length)) if reverse else range(length):
            carries, ys = body(*constants, *carries, *(x[t] for x in xs))
            rows.append(list(ys))
        if reverse:
            rows.reverse()
        return list(carries), [np.stack(column) for column in zip(*rows, strict=True)]

    def repeat(self, body: Body, count: Any, constants: Any, carries: Any) -> Any:
        return self.scan(body, constants, carries, length=int(count))[0]

    def while_loop(self, condition: Any, body: Any, condition_constants: Any, body_constants: Any, carries: Any) -> Any:
        carries = list(carries)
        while condition(*condition_constants, *carries):
            carries = list(body(*body_constants, *carries))
        return carries

    def cond(self, branches: Any, index: Any, operands: Any) -> Any:
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)

    def get(self, x: Any, i: Any) -> Any:
        return x[int(i)]

    def set(self, x: Any, i: Any, value: Any) -> Any:
        x = np.array(x)
        x[int(i)] = value
        return x


class Traced:
    """The primitives."""

    def __init__(self, checkpoint: int | str | None = None) -> None:
        self.checkpoint = checkpoint

    def scan(self, body: Body, constants: Any, carries: Any, xs: Any = (), length: int = 0, reverse: bool = False) -> Any:
        length = xs[0].shape[0] if len(xs) else length
        program = record(lambda *values: [y for part in body(*values) for y in part],
                         [*constants, *carries, *(x[0] if length else np.zeros(x.shape[1:]) for x in xs)])
        results = scan(program, None, constants, carries, xs, length=length, reverse=reverse, checkpoint=self.checkpoint)
        return results[: len(carries)], results[len(carries):]

    def repeat(self, body: Body, count: Any, constants: Any, carries: Any) -> Any:
        program = record(lambda *values: body(*values)[0], [*constants, *carries])
        return scan(program, count, constants, carries, [], length=-1)

    def while_loop(self, condition: Any, body: Any, condition_constants: Any, body_constants: Any, carries: Any) -> Any:
        first = record(lambda *values: [condition(*values)], [*condition_constants, *carries])
        return while_loop(first, record(body, [*body_constants, *carries]), condition_constants, body_constants, carries)

    def cond(self, branches: Any, index: Any, operands: Any) -> Any:
        return cond([record(branch, operands) for branch in branches], index, operands)

    def get(self, x: Any, i: Any) -> Any:
        return gather(x, i, axes=(0,))

    def set(self, x: Any, i: Any, value: Any) -> Any:
        return scatter(x, value, i, axes=(0,))


@dataclass
class Case:
    function: Callable[..., Sequence[Any]]
    arguments: list[Any]
    checkpoint: int | str | None = None

    def plain(self, arguments: Sequence[Any]) -> list[Any]:
        with np.errstate(all="ignore"):
            return [np.asarray(x) for x in self.function(Plain(), *arguments)]

    @property
    def program(self) -> Program:
        return record(lambda *values: self.function(Traced(self.checkpoint), *values), self.arguments)


# ----------------------------------------------------------------------------------------------------------- functions

GENERATOR = np.random.default_rng(5)
ONE, ZERO = np.int64(1), np.int64(0)


def recurrent(loops: Any, weights: Any, bias: Any, state: Any, xs: Any) -> Any:
    def step(w: Any, b: Any, h: Any, x: Any) -> Any:
        new = np.tanh(w @ h + b + x)
        return [new], [new, np.sum(h * x)]

    (last,), (states, sums) = loops.scan(step, [weights, bias], [state], [xs])
    return last, states, sums


def backwards(loops: Any, a: Any, state: Any, xs: Any) -> Any:
    def step(a: Any, h: Any, x: Any) -> Any:
        new = np.sin(a * h) + x
        return [new], [h * x]

    (last,), (products,) = loops.scan(step, [a], [state], [xs], reverse=True)
    return last, products


def lorenz(loops: Any, parameters: Any, state: Any) -> Any:
    def field(p: Any, s: Any) -> Any:
        x, y, z = s[0], s[1], s[2]
        return np.stack([p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z])

    def step(p: Any, h: Any, s: Any) -> Any:
        k1 = field(p, s)
        k2 = field(p, s + h / 2 * k1)
        k3 = field(p, s + h / 2 * k2)
        k4 = field(p, s + h * k3)
        return [s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)], []

    (last,), _ = loops.scan(step, [parameters, np.float64(0.02)], [state], length=7)
    return (last,)


def odd_carries(loops: Any, a: Any, xs: Any) -> Any:
    """A counter, a carry that starts constant, one that is overwritten, one that nothing reads, one that stays."""

    def step(a: Any, n: Any, s: Any, forgotten: Any, dead: Any, kept: Any, x: Any) -> Any:
        return [n + 1, s + a * x * (n + 1.0) * kept, np.float64(2.0), dead * s, kept], [forgotten * x, n, np.exp(-x * a)]

    carries, ys = loops.scan(step, [a], [ZERO, np.float64(0.0), a, a, a], [xs])
    return (*carries[:3], carries[4], *ys)


def table(loops: Any, entries: Any, scale: Any) -> Any:
    """Reads a constant, and writes a carry, at positions that are data."""

    def step(entries: Any, scale: Any, n: Any, line: Any) -> Any:
        value = np.sin(loops.get(entries, n)) * scale + loops.get(line, n)
        return [n + 1, loops.set(line, (n + 1) % 5, value * loops.get(line, n))], []

    (_, line), _ = loops.scan(step, [entries, scale], [ZERO, entries * 0.5], length=4)
    return (line,)


def one_step(loops: Any, a: Any, xs: Any) -> Any:
    return loops.scan(lambda a, h, x: ([h * a * x], [h + x]), [a], [a], [xs])[0]


def no_steps(loops: Any, a: Any, state: Any) -> Any:
    (last,), _ = loops.scan(lambda a, h: ([h * a], []), [a], [state], length=0)
    return (last * a,)


def nested(loops: Any, matrix: Any, state: Any) -> Any:
    """The inner loop reads the outer carry and gives it a stack."""

    def outer(matrix: Any, h: Any) -> Any:
        def inner_step(h: Any, s: Any, row: Any) -> Any:
            new = np.sin(s) * np.sum(row * h)
            return [new], [new * 0.5]

        (s,), (stack,) = loops.scan(inner_step, [h], [h[0]], [matrix])
        return [np.tanh(h + s) * stack], [s]

    (last,), (ss,) = loops.scan(outer, [matrix], [state], length=3)
    return last, ss


def newton(loops: Any, a: Any, x: Any) -> Any:
    """A square root by a number of iterations that depends on data."""
    (root, count) = loops.while_loop(
        lambda a, x, n: abs(x * x - a) > 1e-3, lambda a, x, n: [0.5 * (x + a / x), n + 1], [a], [a], [x, ZERO])
    return root, count


def growth(loops: Any, rate: Any, state: Any, limit: Any) -> Any:
    def body(rate: Any, s: Any, t: Any) -> Any:
        return [s + 0.3 * np.sin(rate * s) + 0.2, t * np.exp(-s[0])]

    return loops.while_loop(lambda limit, s, t: np.sum(s) < limit, body, [limit], [rate], [state, rate])


def never(loops: Any, a: Any, x: Any) -> Any:
    return loops.while_loop(lambda x: x < -10.0, lambda a, x: [x * a], [], [a], [x])


def counted(loops: Any, count: Any, a: Any, x: Any) -> Any:
    """A number of iterations that is an argument."""
    return loops.repeat(lambda a, x: ([np.sin(x) * a + x], []), count, [a], [x])


def while_in_scan(loops: Any, a: Any, xs: Any) -> Any:
    def step(a: Any, h: Any, x: Any) -> Any:
        (y, t) = loops.while_loop(lambda x, y, t: y < x, lambda a, y, t: [y * 1.3 + a, t * np.cos(y)], [x], [a], [h, a])
        return [0.3 * y], [t, y * x]

    (last,), ys = loops.scan(step, [a], [a], [xs])
    return last, *ys


def while_in_while(loops: Any, a: Any, x: Any) -> Any:
    def body(a: Any, x: Any, n: Any) -> Any:
        (y,) = loops.while_loop(lambda y: y < 2.0, lambda a, y: [y * 1.4 + a * y * y], [], [a], [x])
        return [0.3 * (1.3 + np.sin(y)) + 0.1 * x, n + 1]

    return loops.while_loop(lambda x, n: n < 3, body, [], [a], [x, ZERO])


def scan_in_while(loops: Any, xs: Any, limit: Any) -> Any:
    def body(xs: Any, s: Any) -> Any:
        (total,), (ys,) = loops.scan(lambda s, h, x: ([h + np.sin(x) * s], [h * s]), [s], [s], [xs])
        return [0.5 * total + 0.1 * np.sum(ys) + 0.3]

    return loops.while_loop(lambda limit, s: s < limit, body, [limit], [xs], [np.float64(0.2)])


def branches(loops: Any, index: Any, a: Any, b: Any, x: Any) -> Any:
    return loops.cond(
        [
            lambda a, b, x: [np.sin(a) * x, np.float64(0.5)],
            lambda a, b, x: [b * x * x, np.exp(b) * a],
            lambda a, b, x: [np.exp(x * a), a * a * b],
        ],
        index, [a, b, x])


def cond_in_scan(loops: Any, a: Any, xs: Any) -> Any:
    def step(a: Any, n: Any, h: Any, x: Any) -> Any:
        (y,) = loops.cond([lambda a, h, x: [np.sin(h) * a], lambda a, h, x: [h * x + np.exp(0.1 * h) * a]],
                          n % 2, [a, h, x])
        return [n + 1, y + 0.1 * h], [y]

    (_, last), (ys,) = loops.scan(step, [a], [ZERO, a], [xs])
    return last, ys


def cond_on_value(loops: Any, a: Any, xs: Any) -> Any:
    """Which branch is taken depends on a carry."""

    def step(a: Any, h: Any, x: Any) -> Any:
        (y,) = loops.cond([lambda a, h: [h + 0.7 * a], lambda a, h: [h - np.exp(h * 0.1) * a]],
                          np.sum(h > x).astype(np.int64), [a, h])
        return [y], [y * x]

    (last,), (ys,) = loops.scan(step, [a], [a], [xs])
    return last, ys


def loops_in_cond(loops: Any, index: Any, a: Any, x: Any) -> Any:
    def with_scan(a: Any, x: Any) -> Any:
        (last,), _ = loops.scan(lambda a, h, x: ([np.tanh(h * a) + x], []), [a], [a], [x])
        return [last]

    def with_while(a: Any, x: Any) -> Any:
        return loops.while_loop(lambda h: h < 3.0, lambda a, x, h: [h * np.exp(0.2 * a) + 0.1 * np.sum(x * x)], [],
                                [a, x], [a])

    return loops.cond([with_scan, with_while, lambda a, x: [np.sum(np.exp(x) * a)]], index, [a, x])


def cond_in_while(loops: Any, a: Any, x: Any) -> Any:
    def body(a: Any, x: Any, n: Any) -> Any:
        (y,) = loops.cond([lambda a, x: [x * a + 0.4], lambda a, x: [np.sin(x) + a * x]], n % 2, [a, x])
        return [y, n + 1]

    return loops.while_loop(lambda x, n: np.sum(x) + 0.3 * n < 4.0, body, [], [a], [x, ZERO])


def frozen_index(loops: Any, entries: Any, limit: Any) -> Any:
    """Finished lanes would read behind the end."""
    return loops.while_loop(
        lambda entries, limit, n, s: loops.get(entries, n) < limit,
        lambda entries, n, s: [n + 1, s * 1.1 + np.sin(loops.get(entries, n + 1))],
        [entries, limit], [entries], [ZERO, limit])


def layer(loops: Any, weights: Any, bias: Any, state: Any, xs: Any) -> Any:
    """Products whose factors differ from step to step, one of them a concatenation; the weights are also used otherwise."""

    def step(w: Any, b: Any, h: Any, x: Any) -> Any:
        new = np.tanh(np.concatenate([x, h], axis=1) @ w + b) + 0.1 * w[:2] @ w[20:]
        return [new], [np.sum(new * (h @ w[20:].T))]

    (last,), (ys,) = loops.scan(step, [weights, bias], [state], [xs], reverse=True)
    return [np.sum(last * last), ys]


CASES: dict[str, Case] = {
    "recurrent": Case(recurrent, [GENERATOR.normal(size=(3, 3)), GENERATOR.normal(size=3), GENERATOR.normal(size=3),
                                  GENERATOR.normal(size=(5, 3))]),
    "backwards": Case(backwards, [np.float64(0.7), np.array([0.3, -0.4]), GENERATOR.normal(size=(4, 2))]),
    "lorenz": Case(lorenz, [np.array([10.0, 28.0, 8 / 3]), np.array([1.0, 1.2, 0.9])]),
    "odd_carries": Case(odd_carries, [np.float64(0.8), GENERATOR.normal(size=4)]),
    "table": Case(table, [GENERATOR.normal(size=5), np.float64(1.3)]),
    "one_step": Case(one_step, [np.array([0.5, 2.0]), GENERATOR.normal(size=(1, 2))]),
    "no_steps": Case(no_steps, [np.float64(0.5), np.array([1.0, 2.0])]),
    "nested": Case(nested, [GENERATOR.normal(size=(2, 2)), np.array([0.4, -0.7])]),
    "newton": Case(newton, [np.float64(7.0), np.float64(1.0)]),
    "growth": Case(growth, [np.array([0.5, 0.8]), np.array([0.1, -0.3]), np.float64(3.0)]),
    "never": Case(never, [np.float64(0.5), np.array([2.0])[0]]),
    "counted": Case(counted, [np.int64(4), np.float64(0.5), np.array([2.0, 0.1])]),
    "while_in_scan": Case(while_in_scan, [np.float64(0.4), np.array([1.5, 0.05, 6.0, 2.5])]),
    "while_in_while": Case(while_in_while, [np.float64(0.2), np.float64(0.37)]),
    "scan_in_while": Case(scan_in_while, [np.array([0.9, 0.6, 0.2]), np.float64(5.0)]),
    "branch_0": Case(branches, [np.int64(0), np.float64(0.5), np.float64(0.7), np.array([0.1, 0.2])]),
    "branch_1": Case(branches, [np.int64(1), np.float64(0.5), np.float64(0.7), np.array([0.1, 0.2])]),
    "branch_2": Case(branches, [np.int64(9), np.float64(0.5), np.float64(0.7), np.array([0.1, 0.2])]),
    "branch_below": Case(branches, [np.int64(-3), np.float64(0.5), np.float64(0.7), np.array([0.1, 0.2])]),
    "cond_in_scan": Case(cond_in_scan, [np.float64(0.4), np.array([1.5, 0.05, 0.3])]),
    "cond_on_value": Case(cond_on_value, [np.float64(0.9), np.array([1.5, 0.05, 2.2, 1.0])]),
    "scan_in_cond": Case(loops_in_cond, [np.int64(0), np.float64(0.4), np.array([1.5, 0.05, 0.3])]),
    "while_in_cond": Case(loops_in_cond, [np.int64(1), np.float64(0.4), np.array([1.5, 0.05, 0.3])]),
    "no_loop_in_cond": Case(loops_in_cond, [np.int64(2), np.float64(0.4), np.array([1.5, 0.05, 0.3])]),
    "cond_in_while": Case(cond_in_while, [np.float64(0.9), np.array([0.3, 0.5])]),
    "frozen_index": Case(frozen_index, [np.array([0.1, 0.2, 0.4, 0.9]), np.float64(0.5)]),
    "layer": Case(layer, [0.1 * GENERATOR.normal(size=(52, 32)), GENERATOR.normal(size=32), GENERATOR.normal(size=(2, 32)),
                          GENERATOR.normal(size=(3, 2, 20))]),
}

for name in ("recurrent", "backwards", "odd_carries", "table", "one_step", "nested", "while_in_scan", "cond_on_value", "layer"):
    for checkpoint in (1, 3, "binomial"):
        CASES[f"{name}_{checkpoint}"] = Case(CASES[name].function, CASES[name].arguments, checkpoint)

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def floats(values: Sequence[Any]) -> list[Any]:
    return [x for x in values if np.asarray(x).dtype.kind == "f"]


# --------------------------------------------------------------------------------------------------------------- laws


@every_case
def test_values(case: Case) -> None:
    assert_all_close(evaluate(case.program, case.arguments), case.plain(case.arguments))


@every_case
def test_tangents_against_differences(case: Case) -> None:
    tangents = [None if t is None else 0.2 * t for t in directions(case.arguments, 3)]
    expected = central_difference(lambda values: floats(case.plain(values)), case.arguments, tangents)
    assert_all_close(tangents_of(case.program, case.arguments, tangents), expected, "differences")


@every_case
def test_adjoint(case: Case) -> None:
    check_adjoint(case.program, case.arguments)
    check_linear(case.program, case.arguments)


@every_case
def test_adjoint_for_some_arguments(case: Case) -> None:
    """Each argument alone: the others have symbolic zeros."""
    for position, argument in enumerate(case.arguments):
        if np.asarray(argument).dtype.kind != "f":
            continue
        tangents: list[Any] = [None] * len(case.arguments)
        tangents[position] = 0.2 * directions(case.arguments, 4)[position]
        expected = central_difference(lambda values: floats(case.plain(values)), case.arguments, tangents)
        pushed = tangents_of(case.program, case.arguments, tangents)
        assert_all_close(pushed, expected, "differences")
        pulled = pull_back(case.program, [t is not None for t in tangents])
        check(pulled.program)
        for output, depends in enumerate(pulled.depends):
            if not depends:
                continue
            # One cotangent at a time: those of the other results are zero.
            cotangents = [np.zeros(t.shape) for t, d in zip(case.program.output_types, pulled.depends, strict=True) if d]
            place = sum(pulled.depends[:output])
            cotangents[place] = directions(cotangents, output)[place]
            (found,) = evaluate(pulled.program, [*case.arguments, *cotangents])[len(case.program.outputs):]
            wanted = pushed[sum(t.dtype.kind == "f" for t in case.program.output_types[:output])]
            left, right = inner([cotangents[place]], [wanted]), inner([found], [tangents[position]])
            assert abs(left - right) <= 1e-9 * max(1.0, abs(left))


@every_case
def test_second_derivatives(case: Case) -> None:
    """The tangent of the gradient, forward over reverse, against differences of the gradient; then reverse over both."""
    wanted = [np.asarray(a).dtype.kind == "f" for a in case.arguments]
    pulled = pull_back(case.program, wanted)
    cotangents = directions([np.zeros(t.shape) for t, d in zip(case.program.output_types, pulled.depends, strict=True) if d],
                            6)
    gradient = record(
        lambda *values: _gradient(pulled.program, len(case.program.outputs), values, cotangents), case.arguments)
    tangents = [None if t is None else 0.2 * t for t in directions(case.arguments, 5)]
    expected = central_difference(lambda values: evaluate(gradient, values), case.arguments, tangents)
    assert_all_close(tangents_of(gradient, case.arguments, tangents), expected, "differences")
    check_adjoint(gradient, case.arguments)


def _gradient(program: Program, outputs: int, values: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    # Cotangents are divided into scalars so that nothing is captured.
    given = [_from_scalars(ct) for ct in cotangents]
    return run(program, [*values, *given])[outputs:]


def _from_scalars(array: Any) -> Any:
    array = np.asarray(array)
    if not array.shape:
        return array[()]
    if not array.size:
        return broadcast(array.dtype.type(0), array.shape, ())
    return reshape(concatenate([broadcast(x, (1,), ()) for x in array.reshape(-1)], 0), array.shape)


def lanes_of(case: Case, seed: int, size: int, flags: Sequence[bool]) -> list[Any]:
    """Arguments that differ between lanes, near those of the case."""
    generator = np.random.default_rng(seed)
    result = []
    for argument, flag in zip(case.arguments, flags, strict=True):
        argument = np.asarray(argument)
        if not flag:
            result.append(argument)
        elif argument.dtype.kind == "f":
            result.append(argument * (1 + 0.3 * generator.uniform(-1, 1, (size, *argument.shape))))
        else:
            result.append(argument + generator.integers(-2, 3, (size, *argument.shape)))
    return result


def lane_flags(case: Case) -> list[list[bool]]:
    count = len(case.arguments)
    return [[True] * count, *([i == j for i in range(count)] for j in range(count))]


@every_case
def test_batch(case: Case) -> None:
    program = case.program
    for flags in lane_flags(case):
        check_lanes(program, case, flags, case.plain)


def check_lanes(program: Program, case: Case, flags: Sequence[bool], reference: Callable[..., Any]) -> None:
    size = 4
    lanes = lanes_of(case, 11, size, flags)
    batched, out_flags = batch(program, flags, size)
    found = evaluate(check(batched), lanes)
    each = [reference([x[i] if flag else x for x, flag in zip(lanes, flags, strict=True)]) for i in range(size)]
    for position, flag in enumerate(out_flags):
        expected = np.stack([results[position] for results in each])
        assert_close(found[position], expected if flag else expected[0], "rewritten", f"{flags}[{position}]")


@every_case
def test_batch_of_gradient(case: Case) -> None:
    """Lanes of the gradient are gradients of lanes."""
    gradient = _gradient_of(case)
    for flags in lane_flags(case):
        check_lanes(gradient, case, flags, lambda values: evaluate(gradient, values))


def _gradient_of(case: Case) -> Program:
    pulled = pull_back(case.program, [np.asarray(a).dtype.kind == "f" for a in case.arguments])
    cotangents = directions([np.zeros(t.shape) for t, d in zip(case.program.output_types, pulled.depends, strict=True) if d],
                            6)
    return record(
        lambda *values: _gradient(pulled.program, len(case.program.outputs), values, cotangents), case.arguments)


@every_case
def test_gradient_of_batch(case: Case) -> None:
    for flags in lane_flags(case):
        batched, _ = batch(case.program, flags, 4)
        lanes = lanes_of(case, 11, 4, flags)
        check_adjoint(batched, lanes)


@every_case
def test_batch_of_batch(case: Case) -> None:
    flags = [True] * len(case.arguments)
    inner_batch, _ = batch(case.program, flags, 4)
    lanes = lanes_of(case, 11, 4, flags)
    twice, out_flags = batch(inner_batch, flags, 2)
    found = evaluate(check(twice), [np.stack([x, x[::-1]]) for x in lanes])
    once = evaluate(inner_batch, lanes)
    for a, b, flag in zip(found, once, out_flags, strict=True):
        assert_close(a, np.stack([b, b[::-1]]) if flag else b, "rewritten")


@every_case
def test_third_derivatives(case: Case) -> None:
    gradient = _gradient_of(case)
    wanted = [np.asarray(a).dtype.kind == "f" for a in case.arguments]
    pushed, _ = jvp(gradient, wanted)
    tangents = [t for t in directions(case.arguments, 8) if t is not None]
    second = record(lambda *values: _gradient(pushed, len(gradient.outputs), values, tangents), case.arguments)
    check_adjoint(second, case.arguments)


# ------------------------------------------------------------------------------------------------- linear by themselves


def test_transpose_of_a_loop_with_a_counter() -> None:
    """Linear in what is scanned over and in a constant; the counter and a power of the known factor are known carries."""

    def function(factor: Any, weight: Any, xs: Any) -> Any:
        def step(factor: Any, weight: Any, n: Any, power: Any, total: Any, x: Any) -> Any:
            return [n + 1, power * np.sin(factor), total * factor + power * x + weight * (n + 2.0)], [x * power, n]

        carries, ys = Traced().scan(step, [factor, weight], [ZERO, factor, np.float64(0.0)], [xs])
        return carries[2], ys[0]

    arguments = [np.float64(0.7), np.array([0.4])[0], np.array([1.0, -2.0, 0.5])]
    program = record(function, arguments)
    transposed = check(transpose(program, [False, True, True]))
    cotangents = [np.float64(1.3), np.array([0.2, 0.4, -0.6])]
    found = evaluate(transposed, [arguments[0], *cotangents])
    # The matrix of the map, column by column.
    columns = []
    for i in range(4):
        unit = np.eye(4)[i]
        results = evaluate(program, [arguments[0], unit[0], unit[1:]])
        columns.append(results[0] * cotangents[0] + np.sum(results[1] * cotangents[1]))
    assert_close(found[0], np.asarray(columns[0]))
    assert_close(found[1], np.asarray(columns[1:]))


def test_transpose_of_while_is_refused() -> None:
    program = record(lambda x: Traced().while_loop(lambda x: x < 3.0, lambda x: [x * 2.0], [], [], [x]), [np.float64(1.0)])
    with pytest.raises(NotDifferentiableError, match="fori_loop or scan"):
        transpose(program, [True])


# ------------------------------------------------------------------------------------------------------------ residuals


def test_a_runge_kutta_step_stores_its_state() -> None:
    parts, _ = linearize(CASES["lorenz"].program, [True, True])
    (primal,) = [e for e in parts.known.equations if e.operation.name == "scan"]
    assert [str(v.type) for v in primal.outputs] == ["f64[3]", "f64[7,3]"]


def test_what_has_a_stack_is_not_stored() -> None:
    """tanh is given by its result, a y; the weights and xs are there."""
    parts, _ = linearize(CASES["recurrent"].program, [True] * 4)
    (primal,) = [e for e in parts.known.equations if e.operation.name == "scan"]
    # The state, the two ys, and the old state, of which the new one is another step's.
    assert [str(v.type) for v in primal.outputs] == ["f64[3]", "f64[5,3]", "f64[5]", "f64[5,3]"]


def test_loop_invariants_are_computed_once() -> None:
    def function(a: Any, xs: Any) -> Any:
        return Traced().scan(lambda a, h, x: ([h * np.exp(a) + x], []), [a], [a], [xs])[0]

    parts, _ = linearize(record(function, [np.float64(0.3), np.ones(4)]), [True, True])
    linear = [e for e in parts.rest.equations if e.operation.name == "scan"]
    assert len(linear) == 1
    assert "exp" in [e.operation.name for e in parts.known.equations]
    assert "exp" not in str(linear[0].params)


def test_products_are_summed_after_the_loop() -> None:
    """The transposed loop gives one of their factors; the other one is xs and states concatenated."""
    case = CASES["layer"]
    equations = pull_back(case.program, [True] * 4).program.equations
    (pulled,) = [e for e in equations if e.operation.name == "scan"][1:]
    # The cotangent of the state, what the weights get otherwise, the cotangents of xs and of the product.
    assert [str(v.type) for v in pulled.outputs] == ["f64[2,32]", "f64[52,32]", "f64[3,2,20]", "f64[3,2,32]"]
    products = [e for e in equations if e.operation.name == "dot_general"]
    assert ((0, 1), (0, 1)) in [dict(e.params)["contracting"] for e in products]


def test_tapes_do_not_cross_loops() -> None:
    parts, _ = linearize(CASES["while_in_scan"].program, [True, True])
    (primal,) = [e for e in parts.known.equations if e.operation.name == "scan"]
    assert all(extent >= 0 for v in primal.outputs for extent in v.type.shape)


def test_minimum_cut() -> None:
    # Two ways from 0 to 4, by 1 and by 2 and 3: 1 and the cheaper of the others are cut.
    edges = [(0, 1), (1, 4), (0, 2), (2, 3), (3, 4)]
    assert minimum_cut([10, 2, 5, 4, 10], edges, [0], [4]) == [1, 3]
    assert minimum_cut([5, 2, 5, 4, 10], edges, [0], [4]) == [0]
    assert minimum_cut([6, 2, 5, 4, 6], edges, [0], [4]) == [4]
    assert minimum_cut([1, 1], [], [0], [1]) == []
    assert minimum_cut([1, 1], [], [0, 1], [1]) == [1]


def test_minimum_cut_of_random_graphs() -> None:
    """Against all subsets of nodes."""
    for seed in range(60):
        generator = np.random.default_rng(seed)
        size = 7
        weights = [int(w) for w in generator.integers(1, 6, size)]
        edges = [(i, j) for i in range(size) for j in range(i + 1, size) if generator.random() < 0.35]
        sources, sinks = [0, 1], [5, 6]
        cut = minimum_cut(weights, edges, sources, sinks)
        assert not _connected(size, edges, sources, sinks, cut)
        least = min(
            sum(w for i, w in enumerate(weights) if subset >> i & 1) for subset in range(1 << size)
            if not _connected(size, edges, sources, sinks, [i for i in range(size) if subset >> i & 1]))
        assert sum(weights[i] for i in cut) == least


def _connected(size: int, edges: Any, sources: Any, sinks: Any, removed: Any) -> bool:
    reached = {s for s in sources if s not in removed}
    for i, j in sorted(edges):
        if i in reached and j not in removed:
            reached.add(j)
    return any(s in reached for s in sinks)


# --------------------------------------------------------------------------------------------------------------- errors


def test_an_index_out_of_range_is_reported_from_active_lanes() -> None:
    def function(n: Any, xs: Any) -> Any:
        return Traced().while_loop(lambda n, i, s: i < n, lambda xs, i, s: [i + 1, s + Traced().get(xs, i)], [n], [xs],
                                   [ZERO, np.float64(0.0)])

    program, _ = batch(record(function, [ONE, np.ones(3)]), [True, False], 2)
    found = evaluate(program, [np.array([3, 1]), np.ones(3)])
    assert_close(found[1], np.array([3.0, 1.0]))
    with pytest.raises(IndexRangeError):
        evaluate(program, [np.array([4, 1]), np.ones(3)])


def test_an_untaken_branch_neither_raises_nor_loops() -> None:
    def endless(x: Any, i: Any) -> Any:
        return Traced().while_loop(lambda x: x > 0.0, lambda x: [x + 1.0], [], [], [x])

    def outside(x: Any, i: Any) -> Any:
        return Traced().scan(lambda x, i, h: ([h + Traced().get(np.stack([x, x]), i)], []), [x, i], [x], length=2)[0]

    program = record(lambda index, x, i: Traced().cond([endless, outside], index, [x, i]), [ONE, np.float64(1.0), ONE])
    batched, _ = batch(program, [True, True, True], 2)
    found = evaluate(check(batched), [np.array([0, 1]), np.array([-1.0, 2.0]), np.array([7, 1])])
    assert_close(found[0], np.array([-1.0, 6.0]))


def test_types_are_checked() -> None:
    x, xs = np.float64(1.0), np.ones(3)
    body = record(lambda h, x: [h + x], [x, x])
    with pytest.raises(ShapeError, match="expected 4 elements along the leading axis of array 0"):
        scan(body, None, [], [x], [xs], length=4)
    with pytest.raises(CheckError, match=r"inputs of the body.*f32"):
        scan(body, None, [], [np.float32(1.0)], [xs], length=3)
    with pytest.raises(CheckError, match="carries that the body returns"):
        scan(record(lambda h, x: [h + x > 0], [x, x]), None, [], [x], [xs], length=3)
    condition = record(lambda h: [h > 0], [x])
    with pytest.raises(CheckError, match="result of the condition"):
        while_loop(record(lambda h: [h], [x]), record(lambda h: [h], [x]), [], [], [x])
    with pytest.raises(CheckError, match="2 values for 1 carries"):
        while_loop(condition, record(lambda h: [h, h], [x]), [], [], [x])
    with pytest.raises(CheckError, match="results of branch 1"):
        cond([record(lambda h: [h], [x]), record(lambda h: [h > 0], [x])], ZERO, [x])


def test_names() -> None:
    assert {"scan", "while", "cond"} <= set(ROSTER)


@pytest.mark.parametrize("name", ["recurrent", "nested", "while_in_scan", "layer_3", "layer_binomial", "frozen_index"])
def test_what_is_kept_of_bodies_goes_with_them(name: str) -> None:
    case = Case(CASES[name].function, CASES[name].arguments, CASES[name].checkpoint)
    program = case.program
    wanted = [np.asarray(a).dtype.kind == "f" for a in case.arguments]
    pulled = pull_back(program, wanted).program
    pull_back(pulled, [t.dtype.kind == "f" for t in pulled.input_types])
    batch(pulled, [True] * len(pulled.inputs), 2)
    bodies = [weakref.ref(inner) for p in (program, pulled) for e in p.equations for _, value in e.params
              for inner in programs_in(value)]
    assert bodies
    del program, pulled
    gc.collect()
    assert not any(body() for body in bodies)
