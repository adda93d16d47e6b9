"""Derivatives through where: what is not chosen does not count, whatever its own derivative may be.

Expected values are closed forms on the branch that is chosen, and zero on the other.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.differences import central_difference

import gradxform as gx
from gradxform import lax
from gradxform.core import run
from gradxform.ir import check
from gradxform.transforms import batch, jvp, vjp
from gradxform.transforms.conditions import ALWAYS, NEVER, Guard, both, either, find_masks, implies

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# name: function of a number, the place of the trap, (first, second derivative) there; another place and those there.
# The function is written so that the branch not taken at the trap has an infinite or undefined derivative.
TRAPS = {
    "sqrt at 0": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, (0.0, 0.0), 4.0, (0.25, -1 / 32)),
    "sqrt below 0": (lambda x: np.where(x > 0, np.sqrt(x), x), -1.0, (1.0, 0.0), 4.0, (0.25, -1 / 32)),
    "sqrt, branches exchanged": (lambda x: np.where(x <= 0, 0.0, np.sqrt(x)), 0.0, (0.0, 0.0), 4.0, (0.25, -1 / 32)),
    "x log x at 0": (lambda x: np.where(x > 0, x * np.log(x), 0.0), 0.0, (0.0, 0.0), 2.0, (np.log(2.0) + 1, 0.5)),
    "log of a log": (lambda x: np.where(x > 1, np.log(np.log(x)), 0.0), 1.0, (0.0, 0.0),
                     np.e, (1 / np.e, -2 / np.e**2)),
    "arccos at 1": (lambda x: np.where(x < 1, np.arccos(x), 0.0), 1.0, (0.0, 0.0), 0.0, (-1.0, 0.0)),
    "arcsin beyond 1": (lambda x: np.where(np.abs(x) < 1, np.arcsin(x), 3 * x), 2.0, (3.0, 0.0), 0.0, (1.0, 0.0)),
    "x**0.5 at 0": (lambda x: np.where(x > 0, x**0.5, 2 * x), 0.0, (2.0, 0.0), 4.0, (0.25, -1 / 32)),
    "x**x at 0": (lambda x: np.where(x > 0, x**x, 1.0), 0.0, (0.0, 0.0), 1.0, (1.0, 2.0)),
    "1/x at 0": (lambda x: np.where(x != 0, 1 / x, 0.0), 0.0, (0.0, 0.0), 2.0, (-0.25, 0.25)),
    "sin(x)/x at 0": (lambda x: np.where(x != 0, np.sin(x) / x, 1 - x**2 / 6), 0.0, (0.0, -1 / 3), np.pi,
                      (-1 / np.pi, 2 / np.pi**2)),
    "exp overflows": (lambda x: np.where(x < 700, np.exp(x), x), 1000.0, (1.0, 0.0), 0.0, (1.0, 1.0)),
    "softplus": (lambda x: np.where(x > 30, x, np.log1p(np.exp(x))), 1000.0, (1.0, 0.0), 0.0, (0.5, 0.25)),
    "a factor that is infinite": (lambda x: np.where(x > 0, x * (1 / x) * x, x), 0.0, (1.0, 0.0), 2.0, (1.0, 0.0)),
    "nested, inner taken": (lambda x: np.where(x >= 0, np.where(x > 0, np.sqrt(x), 5 * x), np.log(-x)), 0.0, (5.0, 0.0),
                            4.0, (0.25, -1 / 32)),
    "nested, outer taken": (lambda x: np.where(x >= 0, np.where(x > 0, np.sqrt(x), 5 * x), np.log(-x)), -2.0,
                            (-0.5, -0.25), 4.0, (0.25, -1 / 32)),
    "singular behind an inner where": (lambda x: np.where(x > 0, np.sqrt(np.where(x > -1, 3 * x, 1.0)), 0.0), 0.0,
                                       (0.0, 0.0), 3.0, (0.5, -1 / 12)),
    "singular in front of an inner where": (lambda x: np.where(x > 0, np.where(x > -1, np.sqrt(x), 1.0) * 2, 0.0), 0.0,
                                            (0.0, 0.0), 4.0, (0.5, -1 / 16)),
    "one value in two wheres": (lambda x: (lambda r: np.where(x > 0, r, 0.0) + np.where(x > 1, r * r, 0.0))(np.sqrt(x)),
                                0.0, (0.0, 0.0), 4.0, (1.25, -1 / 32)),
    "six wheres share": (lambda x: (lambda r: sum(np.where(x > k, r, 0.0) for k in range(6)))(np.sqrt(x)), 0.0,
                          (0.0, 0.0), 4.0, (1.0, -1 / 8)),
    "never taken": (lambda x: np.where(x > 0, np.where(x > 0, x, np.log(x - x)), x * 2), -1.0, (2.0, 0.0), 1.0, (1.0, 0.0)),
    "the guard is the value": (lambda x: (lambda r: np.where(r > 0, r, 0.0))(np.sqrt(x)), 0.0, (0.0, 0.0), 4.0,
                               (0.25, -1 / 32)),
    "negated guard": (lambda x: np.where(~(x > 0), x, np.sqrt(x)), 0.0, (1.0, 0.0), 4.0, (0.25, -1 / 32)),
    "two guards": (lambda x: np.where((x > 0) & (x < 9), np.sqrt(x) * np.log(9 - x), 7 * x), 0.0, (7.0, 0.0), 8.0,
                   (-np.sqrt(8.0), -1 / np.sqrt(8.0) - np.sqrt(8.0))),
    "in a jitted function": (lambda x: np.where(x > 0, gx.jit(lambda y: np.sqrt(y) + y)(x), 0.0), 0.0, (0.0, 0.0), 4.0,
                             (1.25, -1 / 32)),
    "unused afterwards": (lambda x: np.where(x > 0, np.sqrt(x), 0.0) * 0.0 + x, 0.0, (1.0, 0.0), 4.0, (1.0, 0.0)),
}


def tangent(function, x):
    return gx.jvp(function, (x,), (1.0,))[1]


MODES = {
    "grad": lambda f: gx.grad(f),
    "tangent": lambda f: lambda x: tangent(f, x),
    "jit of grad": lambda f: gx.jit(gx.grad(f)),
    "grad of jit": lambda f: gx.grad(gx.jit(f)),
    "jit of tangent": lambda f: gx.jit(lambda x: tangent(f, x)),
    "vmap of grad": lambda f: lambda x: gx.vmap(gx.grad(f))(np.array([x, 0.5]))[0],
    "grad of vmap": lambda f: lambda x: gx.grad(lambda v: gx.vmap(f)(v)[1])(np.array([0.5, x]))[1],
    "jacrev": lambda f: gx.jacrev(f),
    "jacfwd": lambda f: gx.jacfwd(f),
}
SECOND = {
    "grad of grad": lambda f: gx.grad(gx.grad(f)),
    "hessian": lambda f: gx.hessian(f),
    "tangent of grad": lambda f: lambda x: tangent(gx.grad(f), x),
    "grad of tangent": lambda f: gx.grad(lambda x: tangent(f, x)),
    "jit of grad of grad": lambda f: gx.jit(gx.grad(gx.grad(f))),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", TRAPS)
def test_first_derivative(name, mode):
    function, trap, (at_trap, _), place, (elsewhere, _) = TRAPS[name]
    derivative = MODES[mode](function)
    np.testing.assert_allclose(derivative(trap), at_trap, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(derivative(place), elsewhere, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", SECOND)
@pytest.mark.parametrize("name", TRAPS)
def test_second_derivative(name, mode):
    function, trap, (_, at_trap), place, (_, elsewhere) = TRAPS[name]
    derivative = SECOND[mode](function)
    np.testing.assert_allclose(derivative(trap), at_trap, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(derivative(place), elsewhere, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", TRAPS)
def test_mixed_lanes(name):
    """An array whose lanes take both branches, with both derivatives side by side."""
    function, trap, at_trap, place, elsewhere = TRAPS[name]
    x = np.array([[trap, place], [place, trap]])
    first = np.array([[at_trap[0], elsewhere[0]], [elsewhere[0], at_trap[0]]])
    second = np.array([[at_trap[1], elsewhere[1]], [elsewhere[1], at_trap[1]]])
    for wrap in (lambda f: f, gx.jit):
        np.testing.assert_allclose(wrap(gx.grad(lambda x: np.sum(function(x))))(x), first, rtol=1e-12, atol=1e-14)
        hessian = wrap(gx.hessian(lambda x: np.sum(function(x))))(x)
        expected = np.einsum("ij,ik,jl->ijkl", second, np.eye(2), np.eye(2))
        np.testing.assert_allclose(hessian, expected, rtol=1e-11, atol=1e-13)


def test_power_of_two_arguments_at_zero():
    f = lambda x, y: np.where(x > 0, x**y, 0.0)  # noqa: E731
    assert gx.grad(f, (0, 1))(0.0, -0.5) == (0.0, 0.0)
    assert gx.grad(f, (0, 1))(0.0, 0.5) == (0.0, 0.0)
    np.testing.assert_allclose(gx.grad(f, (0, 1))(2.0, 3.0), (12.0, 8 * np.log(2.0)))
    np.testing.assert_allclose(gx.hessian(f, (0, 1))(0.0, 0.5), np.zeros((2, 2)))


# ------------------------------------------------------------------------------------------------- across other axes

X = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 2.0]])
NORMS = np.array([5.0, 0.0, 3.0])
W = np.array([[0.3, -1.2, 0.5], [2.0, 0.7, -0.4], [1.1, 0.9, -0.8]])


def unit_rows_gradient():
    """That of sum(W * x / |x|) over rows, zero for rows of zeros."""
    expected = np.zeros_like(X)
    for i in (0, 2):
        unit = X[i] / NORMS[i]
        expected[i] = (W[i] - unit * (unit @ W[i])) / NORMS[i]
    return expected


def norm(x):
    squares = np.sum(x * x)
    return np.where(squares > 0, np.sqrt(squares), 0.0)


def normalised(x):
    squares = np.sum(x * x)
    length = np.sqrt(squares)
    return np.where(length > 0, x / length, 0.0)


ROWS = {
    "guard of the row before broadcasting": lambda x: (lambda n: np.where((n > 0)[:, None], x / n[:, None], 0.0))(
        np.sqrt(np.sum(x * x, 1))),
    "guard of the row after broadcasting": lambda x: (lambda n: np.where(n[:, None] > 0, x / n[:, None], 0.0))(
        np.sqrt(np.sum(x * x, 1))),
    "keepdims": lambda x: (lambda n: np.where(n > 0, x / n, 0.0))(np.sqrt(np.sum(x * x, 1, keepdims=True))),
    "columns of the transpose": lambda x: (lambda y, n: np.where(n > 0, y / n, 0.0).T)(
        x.T, np.sqrt(np.sum(x.T * x.T, 0))),
    "vmap": gx.vmap(normalised),
    "vmap of jit": gx.vmap(gx.jit(normalised)),
    "a stack of rows": lambda x: np.stack([normalised(x[0]), normalised(x[1]), normalised(x[2])]),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("wrap", [lambda f: f, gx.jit], ids=["plain", "jit"])
def test_rows_that_are_zero(name, wrap):
    found = wrap(gx.grad(lambda x: np.sum(ROWS[name](x) * W)))(X)
    np.testing.assert_allclose(found, unit_rows_gradient(), rtol=1e-12, atol=1e-14)


def test_norm_at_zero():
    for f in (norm, gx.jit(norm)):
        np.testing.assert_array_equal(gx.grad(f)(np.zeros(3)), np.zeros(3))
        np.testing.assert_array_equal(gx.hessian(f)(np.zeros(3)), np.zeros((3, 3)))
        np.testing.assert_allclose(gx.grad(f)(X[0]), X[0] / 5)
        np.testing.assert_allclose(gx.hessian(f)(X[0]), (np.eye(3) - np.outer(X[0], X[0]) / 25) / 5, atol=1e-15)
    np.testing.assert_allclose(gx.vmap(gx.grad(norm))(X), X / np.array([5.0, 1.0, 3.0])[:, None])
    found = gx.grad(lambda x: np.sum(gx.vmap(norm)(x)))(X)
    np.testing.assert_allclose(found, X / np.array([5.0, 1.0, 3.0])[:, None])


def test_a_number_against_an_array():
    """x / a is used where a is not 0; the sum over all lanes that is x's cotangent must not see the others."""
    a = np.array([1.0, 0.0, 4.0])
    f = lambda x: np.sum(np.where(a != 0, x / a, 0.0))  # noqa: E731
    assert gx.grad(f)(2.0) == gx.jit(gx.grad(f))(2.0) == 1.25
    assert gx.jvp(f, (2.0,), (1.0,))[1] == 1.25


def test_missing_data():
    y = np.array([1.0, np.nan, 3.0, np.inf])
    f = lambda m: np.sum(np.where(np.isfinite(y), (y - m) ** 2, 0.0))  # noqa: E731
    for wrap in (lambda f: f, gx.jit):
        np.testing.assert_allclose(wrap(gx.grad(f))(0.5), -2 * (0.5 + 2.5))
        np.testing.assert_allclose(wrap(gx.hessian(f))(0.5), 4.0)
    g = lambda w: np.sum(np.where(np.isfinite(y), w * y, 0.0))  # noqa: E731
    np.testing.assert_array_equal(gx.grad(g)(np.ones(4)), [1.0, 0.0, 3.0, 0.0])


def test_masked_log_sum_exp():
    """Rows with everything masked give 0; lanes that are masked hold -inf."""
    mask = np.array([[True, False, True], [False, False, False], [True, True, True]])

    def f(x):
        hidden = np.where(mask, x, -np.inf)
        top = np.where(np.any(mask, 1), np.max(hidden, 1), 0.0)
        total = np.sum(np.where(mask, np.exp(x - top[:, None]), 0.0), 1)
        return np.sum(np.where(total > 0, np.log(total) + top, 0.0))

    powers = np.where(mask, np.exp(X), 0.0)
    expected = powers / np.maximum(powers.sum(1, keepdims=True), 1e-300)
    for wrap in (lambda f: f, gx.jit):
        np.testing.assert_allclose(wrap(gx.grad(f))(X), expected, rtol=1e-12)
        np.testing.assert_allclose(wrap(gx.grad(f))(np.where(mask, X, 1e4)), expected, rtol=1e-12)


def test_reduction_and_dot_under_a_number():
    a = np.array([[0.0, 1.0], [2.0, 3.0]])

    def f(x):
        return np.where(np.min(x) > 0, np.sum(a @ np.sqrt(x)) + np.prod(np.log(x)), np.sum(x))

    np.testing.assert_array_equal(gx.grad(f)(np.array([0.0, 4.0])), [1.0, 1.0])
    x = np.array([1.0, 4.0])
    expected = [2 / 2 + np.log(4.0), 4 / 4 + 0.0]
    np.testing.assert_allclose(gx.grad(f)(x), expected)
    lanes = np.stack([np.array([0.0, 4.0]), x])
    for wrap in (lambda f: f, gx.jit):
        np.testing.assert_allclose(wrap(gx.vmap(gx.grad(f)))(lanes), [[1.0, 1.0], expected])
        np.testing.assert_allclose(wrap(gx.grad(lambda x: np.sum(gx.vmap(f)(x))))(lanes), [[1.0, 1.0], expected])


# ------------------------------------------------------------------------------------------------ what must not change


SINGULAR = {
    "sqrt": (np.sqrt, 0.0, np.inf), "log": (np.log, 0.0, np.inf), "arccos": (np.arccos, 1.0, -np.inf),
    "1/x": (lambda x: 1 / x, 0.0, -np.inf), "a singular branch that is taken": (
        lambda x: np.where(x >= 0, np.sqrt(x), 0.0), 0.0, np.inf),
    "behind a where": (lambda x: np.sqrt(np.where(x > -1, x, 5.0)), 0.0, np.inf),
    "in front of a where": (lambda x: (lambda r: np.where(x > 1, r, 2 * r))(np.sqrt(x)), 0.0, np.inf),
    "used outside as well": (lambda x: (lambda r: np.where(x > 1, r, 1.0) + r)(np.sqrt(x)), 0.0, np.inf),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singularities_that_are_there_stay(name):
    function, place, expected = SINGULAR[name]
    assert gx.grad(function)(place) == expected
    assert gx.jvp(function, (place,), (1.0,))[1] == expected
    assert gx.jit(gx.grad(function))(place) == expected


SMOOTH = {
    "both branches": lambda x, y: np.where(x > y, np.sqrt(x) * y, np.log(y) / x),
    "shared": lambda x, y: np.where(x > y, np.exp(x * y), 1.0) * np.where(y > 1, x * y, x / y) + x * y,
    "nested": lambda x, y: np.where(x > y, np.where(y > 1, x**y, y**x), np.sin(x) / y),
    "rows": lambda x, y: np.where(np.sum(x, -1, keepdims=True) > 5, x / np.sum(x * y, -1, keepdims=True), y / x),
    "a number": lambda x, y: np.where(np.sum(x) > 0, x * np.sum(y / x), y) + np.where(np.sum(y) < 0, x * y, y / x),
    "extrema": lambda x, y: np.maximum(x * y, x / y) * np.where(x < y, x, y / x),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_against_differences(name):
    generator = np.random.default_rng(3)
    x, y = generator.uniform(0.5, 3, (4, 3)), generator.uniform(0.5, 3, (4, 3))
    weights = generator.standard_normal((4, 3))

    def f(arrays):
        return [np.sum(SMOOTH[name](*arrays) * weights)]

    directions = [generator.standard_normal((4, 3)), generator.standard_normal((4, 3))]
    (expected,) = central_difference(f, [x, y], directions)
    gradient = gx.grad(lambda x, y: f([x, y])[0], (0, 1))(x, y)
    np.testing.assert_allclose(sum(np.sum(g * d) for g, d in zip(gradient, directions, strict=True)), expected, rtol=1e-6)
    pushed = gx.jvp(lambda x, y: f([x, y])[0], (x, y), tuple(directions))[1]
    np.testing.assert_allclose(pushed, expected, rtol=1e-6)


# --------------------------------------------------------------------------------------------- masks, and how many


def recorded(function, *shapes):
    return check(gx.make_ir(function)(*[np.ones(shape) for shape in shapes]))


def selects(program):
    return sum(equation.operation.name == "select" for equation in program.equations)


def extra_selects(function, *shapes):
    """How many selects the derivative has beyond those of values and tangents."""
    program = recorded(function, *shapes)
    pushed, _ = jvp(program, [True] * len(shapes))
    check(pushed)
    return selects(pushed) - 2 * selects(program)


def test_only_what_can_be_singular_is_masked():
    assert extra_selects(lambda x: np.where(x > 0, x, -0.5 * x), 3) == 0
    assert extra_selects(lambda x: np.where(x > 0, (x + x)[::-1] - 3.0, -x.reshape(3, 1)[:, 0]), 3) == 0
    assert extra_selects(lambda x: np.sqrt(np.where(x > 0, x, 1.0)), 3) == 0
    assert extra_selects(lambda x: np.sqrt(x) * np.exp(x), 3) == 0


def test_one_mask_for_each_tangent_that_enters():
    assert extra_selects(lambda x: np.where(x > 0, np.sqrt(x), 0.0), 3) == 1
    assert extra_selects(lambda x: np.where(x > 0, np.sqrt(x) * np.log(x) / x, 0.0), 3) == 1
    assert extra_selects(lambda x, y: np.where(x > 0, np.sqrt(x) * np.log(y) / x, 0.0), 3, 3) == 2
    assert extra_selects(lambda x: np.where(x > 0, np.sqrt(x), np.log(-x)), 3) == 2
    # A value that is used in any case is differentiated in any case; what is made of it in the branch is masked.
    assert extra_selects(lambda x: (lambda r: np.where(x > 0, np.log(r), 0.0) + r)(np.sqrt(x)), 3) == 1


def test_a_long_chain_of_choices_stays_linear():
    def f(x):
        for k in range(200):
            x = np.where(x > k, np.sqrt(x), x * x)
        return x

    program = recorded(f, ())
    pushed, _ = jvp(program, [True])
    assert len(pushed.equations) < 20 * 200


def test_the_reordered_program_is_sound():
    def f(x):
        return np.where(x > 0, gx.jit(lambda y: np.sqrt(y) + y)(x), 0.0)

    program = recorded(f, ())
    masked = find_masks(program, [True])
    assert masked is not None
    check(masked.program)
    pulled, _ = vjp(program, [True])
    check(pulled)
    assert run(pulled, [np.float64(0.0), np.float64(1.0)])[1] == 0.0
    over, _ = batch(pulled, [True, True], 2)
    np.testing.assert_allclose(run(over, [np.array([0.0, 4.0]), np.ones(2)])[1], [0.0, 1.25])


# ------------------------------------------------------------------------------------------------ conditions themselves


def test_algebra_of_conditions():
    program = recorded(lambda x, y: x + y, (), ())
    p, q = (Guard(v, (), True) for v in program.inputs)
    only_p, only_q = both(ALWAYS, p), both(ALWAYS, q)
    assert either(only_p, both(ALWAYS, p.opposite())) == ALWAYS
    assert either(NEVER, only_p) == only_p
    assert either(only_p, both(only_p, q)) == only_p
    assert either(both(only_p, q), both(only_p, q.opposite())) == only_p
    assert both(only_p, p.opposite()) == NEVER
    assert both(both(only_p, q), p) == both(only_q, p)
    assert implies(both(only_p, q), only_p) and not implies(only_p, both(only_p, q))
    assert implies(only_p, ALWAYS) and not implies(ALWAYS, only_p)
    assert implies(only_p, either(only_p, only_q)) and not implies(either(only_p, only_q), only_p)


# ------------------------------------------------------------------------------------------------------------- loops


def test_where_inside_a_loop():
    """The product of sqrt(max(x, 0)) + 1, whose derivative at x = 0 is that of the branch for x <= 0."""
    x = np.array([4.0, 0.0, 1.0, -2.0])

    def f(x):
        return lax.scan(lambda c, e: (c * (np.where(e > 0, np.sqrt(e), 0.0) + 1.0), None), 1.0, x)[0]

    expected = [0.25 * 2.0, 0.0, 0.5 * 3.0, 0.0]
    np.testing.assert_allclose(gx.grad(f)(x), expected)
    np.testing.assert_allclose(gx.jit(gx.grad(f))(x), expected)
    np.testing.assert_allclose(gx.jacfwd(f)(x), expected)


def test_a_loop_under_where():
    """Newton's iteration for sqrt(x), under a guard that is computed after it."""

    def root(x):
        return lax.while_loop(lambda c: np.abs(c * c - x) > 1e-14 * x, lambda c: 0.5 * (c + x / c), x)

    def f(x):
        found = root(x)
        return np.where(x > 0, found / x, 7.0 * x)

    assert gx.grad(f)(0.0) == 7.0
    assert gx.jit(gx.grad(f))(0.0) == 7.0
    np.testing.assert_allclose(gx.grad(f)(4.0), -0.5 * 4.0**-1.5, rtol=1e-9)


def test_the_order_of_effects_stays():
    seen = []

    def f(x):
        lax.scan(lambda c, e: (gx.io_callback(seen.append, None, c), (c + e, None))[1], x, np.ones(2))
        y = lax.scan(lambda c, e: (c * e, None), x, np.full(2, 2.0))[0]
        gx.io_callback(seen.append, None, y)
        return np.where(x > 0, y, np.sqrt(y))

    with np.errstate(all="ignore"):
        assert gx.grad(f)(1.0) == 4.0
    assert [float(value) for value in seen] == [1.0, 2.0, 4.0]


def test_branches_over_lanes():
    """A cond whose index differs between lanes computes all branches and selects."""

    def f(x):
        return lax.cond(x > 0, lambda: np.sqrt(x), lambda: 3.0 * x)

    def g(x):
        index = np.where(x > 1, 2, np.where(x > 0, 1, 0))
        return lax.switch(index, [lambda x: np.sum(x * 0.0), lambda x: x * np.log(x), lambda x: np.log(np.log(x))], x)

    x = np.array([4.0, 0.0, 1.0, -2.0])
    expected = [0.25, 3.0, 0.5, 3.0]
    np.testing.assert_allclose(gx.vmap(gx.grad(f))(x), expected)
    for wrap in (lambda f: f, gx.jit):
        np.testing.assert_allclose(wrap(gx.grad(lambda x: np.sum(gx.vmap(f)(x))))(x), expected)
        found = wrap(gx.grad(lambda x: np.sum(gx.vmap(g)(x))))(np.array([np.e, 0.0, 1.0, -2.0]))
        np.testing.assert_allclose(found, [1 / np.e, 0.0, 1.0, 0.0])


def test_lanes_that_are_frozen():
    """A while loop over lanes goes on computing in lanes that are done, where its body may be singular."""

    def f(x):
        # x, sqrt(x), ... as long as it is above 2; the frozen lanes hold x <= 2, among them 0.
        return lax.while_loop(lambda c: c > 2.0, lambda c: np.sqrt(c), x)

    x = np.array([0.0, 1.0, 9.0, 81.0])
    expected = [1.0, 1.0, 0.25 / np.sqrt(np.sqrt(9.0)) / 3.0, 0.125 * 81.0 ** (0.125 - 1)]
    np.testing.assert_allclose(gx.vmap(gx.grad(f))(x), expected)
    for wrap in (lambda f: f, gx.jit):
        np.testing.assert_allclose(wrap(gx.grad(lambda x: np.sum(gx.vmap(f)(x))))(x), expected)
