"""Symbolic loops and branches, against loops in Python."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform.symbolic as T
from gradxform import errors

GENERATOR = np.random.default_rng(21)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_powers_by_a_symbolic_number_of_steps():
    a, k = T.dvector("a"), T.iscalar("k")
    result, updates = T.scan(lambda prior, a: prior * a, outputs_info=T.ones_like(a), non_sequences=a, n_steps=k)
    assert updates == {}
    f = T.function([a, k], [result[-1], T.grad(T.sum(result[-1]), a)])
    point = np.arange(1.0, 5.0)
    for steps in (2, 5):
        power, slope = f(point, steps)
        close(power, point**steps)
        close(slope, steps * point ** (steps - 1))


def test_polynomial_with_two_sequences_of_other_lengths():
    coefficients, x = T.dvector("coefficients"), T.dscalar("x")
    terms, _ = T.scan(lambda c, power, x: c * x ** power, sequences=[coefficients, T.arange(1000)], non_sequences=x)
    f = T.function([coefficients, x], [terms.sum(), T.grad(terms.sum(), x)])
    value, slope = f([1.0, 0.0, 2.0], 3.0)
    close(value, 19.0)
    close(slope, 12.0)


def test_states_without_sequences_take_the_dtype_of_the_step():
    x = T.dscalar("x")
    halves, _ = T.scan(lambda s, x: s / 2 + x, outputs_info=1, non_sequences=x, n_steps=4)
    wanted, state = [], 1.0
    for _ in range(4):
        state = state / 2 + 0.25
        wanted.append(state)
    close(halves.eval({x: 0.25}), wanted)


def test_taps_of_results_and_sequences():
    """x[t] = f(u[t-2], u[t+1], u[t], x[t-3], x[t-1]), the arguments in the order of the taps."""
    u, first, w = T.dvector("u"), T.dvector("first"), T.dscalar("w")
    seen = []

    def step(u_before, u_after, u_now, x_third, x_last, w):
        seen.append((u_before, x_third))
        return T.tanh(w * x_third) + 0.5 * x_last + u_before * u_after - u_now

    found, _ = T.scan(step, sequences={"input": u, "taps": [-2, 1, 0]}, outputs_info={"initial": first, "taps": [-3, -1]},
                      non_sequences=w)
    f = T.function([u, first, w], [found, T.grad(T.sum(found * T.arange(found.shape[0])), [w, first, u])[0]])

    def loop(values, start, weight):
        history = list(start)
        for t in range(2, len(values) - 1):
            history.append(np.tanh(weight * history[-3]) + 0.5 * history[-1] + values[t - 2] * values[t + 1] - values[t])
        return np.array(history[3:])

    values, start = GENERATOR.normal(size=9), GENERATOR.normal(size=3)
    result, slope = f(values, start, 0.7)
    close(result, loop(values, start, 0.7))
    step_size = 1e-6
    weights = np.arange(len(result))
    difference = (loop(values, start, 0.7 + step_size) - loop(values, start, 0.7 - step_size)) @ weights / (2 * step_size)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)
    assert len(seen) == 1


def test_a_single_tap_far_back():
    first = T.dvector("first")
    found, _ = T.scan(lambda x: x + 1, outputs_info={"initial": first, "taps": [-2]}, n_steps=5)
    close(found.eval({first: [10.0, 20.0]}), [11.0, 21.0, 12.0, 22.0, 13.0])
    with pytest.raises(errors.ShapeError, match="needs 2 elements"):
        found.eval({first: [10.0]})


def test_several_results_of_which_some_are_taken_up():
    x, h = T.dmatrix("x"), T.dvector("h")
    w = T.shared(GENERATOR.normal(size=(3, 3)), "w")

    def step(x_t, h_before):
        h_now = T.tanh(T.dot(h_before, w) + x_t)
        return [T.sum(h_now), h_now]

    (totals, states), updates = T.scan(step, sequences=x, outputs_info=[None, h])
    f = T.function([x, h], [totals, states, T.grad(T.sum(totals), w)], updates=updates)
    rows, start = GENERATOR.normal(size=(4, 3)), GENERATOR.normal(size=3)
    found = f(rows, start)

    def loop(weights):
        state, kept = start, []
        for row in rows:
            state = np.tanh(state @ weights + row)
            kept.append(state)
        return np.array(kept)

    wanted = loop(w.get_value())
    close(found[0], wanted.sum(axis=1))
    close(found[1], wanted)
    bump = np.zeros((3, 3))
    bump[1, 2] = 1e-6
    difference = (loop(w.get_value() + bump).sum() - loop(w.get_value() - bump).sum()) / 2e-6
    np.testing.assert_allclose(found[2][1, 2], difference, rtol=1e-7)


def test_backwards():
    x = T.dvector("x")
    found, _ = T.scan(lambda e, s: 2 * s + e, sequences=x, outputs_info=0.0, go_backwards=True)
    close(found.eval({x: [1.0, 2.0, 3.0]}), [3.0, 8.0, 17.0])


@pytest.mark.parametrize("kept", [1, 2, 5, 9])
def test_truncated_gradient(kept):
    x, s = T.dvector("x"), T.dscalar("s")
    found, _ = T.scan(lambda e, state, s: state * s + e, sequences=x, outputs_info=0.0, non_sequences=s, truncate_gradient=kept)
    value, by_s, by_x = T.function([x, s], [found[-1], *T.grad(found[-1], [s, x])])([1.0, 2.0, 3.0, 4.0, 5.0], 0.5)
    elements, state, states = [1.0, 2.0, 3.0, 4.0, 5.0], 0.0, []
    for e in elements:
        states.append(state)
        state = state * 0.5 + e
    close(value, state)
    # The last steps only: each s enters with the state before it, damped by the steps after.
    reached = range(max(0, 5 - kept), 5)
    close(by_s, sum(states[t] * 0.5 ** (4 - t) for t in reached))
    close(by_x, [0.5 ** (4 - t) if t in reached else 0.0 for t in range(5)])


def test_until():
    limit = T.dscalar("limit")
    values, updates = T.scan(lambda before, limit: (before * 2, T.until(before * 2 > limit)), outputs_info=T.constant(1.0),
                             non_sequences=limit, n_steps=1024)
    f = T.function([limit], [values, values[-1], values.shape[0], T.sum(values)], updates=updates)
    for bound, count in ((45.0, 6), (3.0, 2), (1000.0, 10)):
        found, last, length, total = f(bound)
        close(found, 2.0 ** np.arange(1, count + 1))
        close(last, 2.0**count)
        assert length == count
        close(total, 2.0 ** (count + 1) - 2)


def test_gradient_of_a_loop_that_ends_on_a_condition():
    x = T.dscalar("x")
    values, _ = T.scan(lambda s, x: (s * x, T.until(s * x > 100.0)), outputs_info=x, non_sequences=x, n_steps=50)
    f = T.function([x], [values[-1], T.grad(values[-1], x)])
    for point, power in ((3.0, 5), (7.0, 3)):
        value, slope = f(point)
        close(value, point**power)
        close(slope, power * point ** (power - 1))
    with pytest.raises(errors.ArgumentError, match="inside a loop cannot end"):
        T.scan(lambda e: T.scan(lambda s: (s + e, T.until(s > e)), outputs_info=0.0, n_steps=5)[0], sequences=T.dvector("y"))


def test_updates_of_shared_variables_in_a_loop():
    counter = T.shared(0, "counter")
    total = T.shared(1.0, "total")
    x = T.dvector("x")
    found, updates = T.scan(lambda e: (e * total, {counter: counter + 2, total: total + e}), sequences=x)
    f = T.function([x], found, updates=updates)
    close(f([1.0, 2.0, 3.0]), [1.0, 4.0, 12.0])
    assert counter.get_value() == 6
    assert total.get_value() == 7.0
    close(f([1.0]), [7.0])
    assert counter.get_value() == 8


def test_nested_loops():
    x = T.dmatrix("x")
    rows, _ = T.scan(lambda row: T.reduce(lambda e, s: s * 0.5 + e, row, 0.0)[0], sequences=x)
    matrix = GENERATOR.normal(size=(3, 4))
    wanted = []
    for row in matrix:
        state = 0.0
        for element in row:
            state = state * 0.5 + element
        wanted.append(state)
    f = T.function([x], [rows, T.grad(T.sum(rows), x)])
    found, slope = f(matrix)
    close(found, wanted)
    close(slope, np.tile(0.5 ** np.arange(3, -1, -1), (3, 1)))


def test_map_reduce_folds():
    x = T.dvector("x")
    values = {
        "map": T.map(lambda e, c: e * c, x, non_sequences=T.constant(3.0))[0],
        "reduce": T.reduce(lambda e, s: 2 * s - e, x, 1.0)[0],
        "foldl": T.foldl(lambda e, s: 2 * s - e, x, 1.0)[0],
        "foldr": T.foldr(lambda e, s: 2 * s - e, x, 1.0)[0],
    }
    found = T.function([x], values)([1.0, 2.0, 4.0])
    close(found["map"], [3.0, 6.0, 12.0])
    close(found["reduce"], ((2 * 1 - 1) * 2 - 2) * 2 - 4)
    close(found["foldl"], found["reduce"])
    close(found["foldr"], ((2 * 1 - 4) * 2 - 2) * 2 - 1)


def test_a_list_is_returned_when_asked_for():
    assert isinstance(T.scan(lambda e: e, sequences=T.dvector("x"), return_list=True)[0], list)
    assert isinstance(T.scan(lambda e: [e, e], sequences=T.dvector("x"))[0], list)


def test_what_scan_refuses():
    x = T.dvector("x")
    with pytest.raises(errors.ArgumentError, match="pass n_steps"):
        T.scan(lambda s: s, outputs_info=1.0)
    with pytest.raises(TypeError, match="an axis to walk along"):
        T.scan(lambda e: e, sequences=T.dscalar())
    with pytest.raises(errors.ArgumentError, match="2 entries, but the step returns 1"):
        T.scan(lambda e: e, sequences=x, outputs_info=[None, None])
    with pytest.raises(TypeError, match="one rank"):
        T.scan(lambda e, s: x * s, sequences=x, outputs_info=T.constant(1.0))
    with pytest.raises(TypeError, match="dtype float64, but its initial value of int64"):
        T.scan(lambda e, s: s + e, sequences=x, outputs_info=T.constant(1))
    with pytest.raises(errors.ArgumentError, match="negative"):
        T.scan(lambda e, s: s, sequences=x, outputs_info={"initial": x, "taps": [0]})
    with pytest.raises(TypeError, match="n_steps is an integer"):
        T.scan(lambda s: s, outputs_info=1.0, n_steps=2.5)
    weight = T.shared(2.0, "weight")
    with pytest.raises(errors.ArgumentError, match="shared variable weight"):
        T.scan(lambda e: e * weight, sequences=x, strict=True)
    T.scan(lambda e, w: e * w, sequences=x, non_sequences=weight, strict=True)
    short, _ = T.scan(lambda e: e, sequences=x, n_steps=3)
    with pytest.raises(errors.ShapeError, match="only 2 elements"):
        short.eval({x: [1.0, 2.0]})


def test_no_steps():
    k = T.lscalar("k")
    doubled, _ = T.scan(lambda s: s * 2, outputs_info=1.0, n_steps=k)
    ended, _ = T.scan(lambda s: (s * 2, T.until(s > 5)), outputs_info=1.0, n_steps=k)
    f = T.function([k], [doubled, ended])
    assert [value.shape for value in f(0)] == [(0,), (0,)]
    close(f(3)[0], [2.0, 4.0, 8.0])
    close(f(9)[1], [2.0, 4.0, 8.0, 16.0])


def test_empty_sequences():
    x = T.dvector("x")
    found, _ = T.scan(lambda e, s: s + e, sequences=x, outputs_info=0.0)
    assert found.eval({x: np.zeros(0)}).shape == (0,)


def test_ifelse():
    a, x, y = T.dscalar("a"), T.dvector("x"), T.dvector("y")
    f = T.function([a, x, y], T.ifelse(T.lt(a, 0), [x, x * 2], [y, y + a]))
    first, second = f(-1.0, [1.0, 2.0], [3.0, 4.0])
    close(first, [1.0, 2.0])
    close(second, [2.0, 4.0])
    close(f(1.0, [1.0, 2.0], [3.0, 4.0])[1], [4.0, 5.0])
    with pytest.raises(TypeError, match="must be a scalar"):
        T.ifelse(x, x, y)
    with pytest.raises(TypeError, match="one rank"):
        T.ifelse(a, x, a)
    with pytest.raises(errors.ArgumentError, match="2 and 1 results"):
        T.ifelse(a, [x, x], [y])


def test_a_condition_that_is_known_gives_the_same_dtype():
    n = T.lscalar("n")
    for condition in (0, 1):
        chosen = T.ifelse(T.constant(condition), n, n / 2)
        assert chosen.dtype == "float64"
        assert T.function([n], chosen)(4).dtype == np.float64


def test_the_other_branch_is_not_computed():
    i, x = T.lscalar("i"), T.dvector("x")
    f = T.function([i, x], T.ifelse(i < x.shape[0], x[i], 0.0))
    close(f(1, [5.0, 6.0]), 6.0)
    close(f(7, [5.0, 6.0]), 0.0)  # x[7] would be an IndexError
