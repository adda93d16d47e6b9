"""gradxform.tape: tapes, variables and accumulators, against closed forms and loops in NumPy."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from support.tapes import gradient

import gradxform as gx
import gradxform.tape as tf
from gradxform.errors import (
    ArgumentError,
    ArgumentTypeError,
    NotDifferentiableError,
    ShapeError,
    TapeError,
    TreeError,
)
from gradxform.ir import programs_in
from gradxform.tape.derivatives import pullback, rows_program

ZERO = tf.UnconnectedGradients.ZERO
RNG = np.random.default_rng(6)
MATRIX = RNG.normal(size=(3, 4))


# ------------------------------------------------------------------------------------------------------------ the page

PAGE_FIRST = """\
    res:  tf.Tensor(
    [[[[48.  0.]
       [ 0.  0.]]

      [[ 0. 12.]
       [ 0.  0.]]]


     [[[ 0.  0.]
       [ 3.  0.]]

      [[ 0.  0.]
       [ 0. 27.]]]], shape=(2, 2, 2, 2), dtype=float32)
    """


def test_the_first_example_of_the_page_prints_what_the_page_prints(capsys):
    x = tf.constant([[4, 2], [1, 3]], dtype=tf.dtypes.float32)
    with tf.GradientTape() as gfg:
        gfg.watch(x)
        y = x * x * x
    res = gfg.jacobian(y, x)
    print("res: ", res)
    assert capsys.readouterr().out == textwrap.dedent(PAGE_FIRST)


def test_the_second_example_of_the_page():
    x = tf.constant([[4, 2], [1, 3]], dtype=tf.dtypes.float32)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = x * x * x
        first = inner.jacobian(y, x)
    full, diagonal = np.zeros((2,) * 6, np.float32), np.zeros((2,) * 5, np.float32)
    for i, j, value in ((0, 0, 24.0), (0, 1, 12.0), (1, 0, 6.0), (1, 1, 18.0)):
        full[i, j, i, j, i, j] = diagonal[i, j, i, j, j] = value
    whole, rows = outer.jacobian(first, x), outer.batch_jacobian(first, x)
    assert whole.dtype == rows.dtype == np.float32
    np.testing.assert_array_equal(whole.numpy(), full)
    np.testing.assert_array_equal(rows.numpy(), diagonal)


# ------------------------------------------------------------------------------------------------------------ gradient


def test_gradients_of_several_sources():
    x, y = RNG.normal(size=3), RNG.normal(size=3)
    found = gradient(lambda x, y: tf.reduce_sum(np.sin(x) * y), x, y)
    np.testing.assert_allclose(found[0], np.cos(x) * y)
    np.testing.assert_allclose(found[1], np.sin(x))


def test_sources_and_results_have_one_structure():
    x, y = tf.constant(2.0), tf.constant(5.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch({"x": x, "y": [y]})
        z = x * x * y
    found = tape.gradient(z, {"a": (x, y), "b": [x]})
    assert (float(found["a"][0]), float(found["a"][1]), float(found["b"][0])) == (20.0, 4.0, 20.0)
    assert isinstance(found["a"], tuple)
    assert float(tape.gradient(z, x)) == 20.0


def test_the_sum_of_several_targets_is_differentiated():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, z = x * x, 3.0 * x
    assert tape.gradient([y, {"z": z}], x).numpy().tolist() == [5.0, 7.0]
    ct = tf.constant([10.0, 0.0])
    assert tape.gradient([y, z], x, output_gradients=[ct, None]).numpy().tolist() == [23.0, 3.0]
    assert tape.gradient({"z": z}, x, output_gradients={"z": [1.0, 2.0]}).numpy().tolist() == [3.0, 6.0]
    assert tape.gradient(y, x, output_gradients=ct).numpy().tolist() == [20.0, 0.0]


def test_intermediate_results_are_sources_and_do_not_cut_what_leads_to_them():
    x = tf.constant(3.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        h = x * x
        g = h * 2.0
        y = g * h * x  # 2 x^5
    total, at_h, at_g, at_y = tape.gradient(y, [x, h, g, y])
    assert (float(total), float(at_h), float(at_g), float(at_y)) == (10 * 81.0, 4 * 9.0 * 3.0, 27.0, 1.0)
    assert float(tape.gradient(h, g, unconnected_gradients=ZERO)) == 0.0
    assert float(tape.gradient(x, x)) == 1.0


@pytest.mark.parametrize("alias", [
    tf.identity, lambda x: tf.reshape(x, [2]), lambda x: x.copy(), lambda x: +x, lambda x: x[:], lambda x: x.astype(float),
    lambda x: np.ravel(x), lambda x: np.squeeze(x), lambda x: x.real, lambda x: np.broadcast_to(x, (2,)), lambda x: x.T,
    lambda x: np.concatenate([x]), lambda x: np.positive(x), lambda x: np.atleast_1d(x), lambda x: np.split(x, 1)[0],
    lambda x: x.at[:].set(x), lambda x: np.where(True, x, 0.0), lambda x: gx.jit(lambda a: a)(x),
])
def test_another_tensor_of_the_same_elements_is_another_source(alias):
    x = tf.constant([2.0, 3.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        h = alias(x)
        y = h * x
    assert [part.numpy().tolist() for part in tape.gradient(y, [x, h])] == [[4.0, 6.0], [2.0, 3.0]]


def test_one_of_the_results_of_an_operation_is_a_source():
    x = tf.constant([[2.0, 1.0], [1.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        values, vectors = np.linalg.eigh(0.5 * (x + x.T))
        y = np.sum(values**2) + 0.0 * np.sum(vectors)
    found = tape.gradient(y, [values, x])
    np.testing.assert_allclose(found[0].numpy(), 2 * np.linalg.eigvalsh(x.numpy()))
    np.testing.assert_allclose(found[1].numpy(), 2 * x.numpy(), atol=1e-14)  # of the squared Frobenius norm


def test_control_flow_follows_the_values():
    def piecewise(x):
        y = x
        while y < 100.0:
            y = y * x
        return y * 2.0 if y > 200.0 else -y

    assert gradient(piecewise, 3.0) == [2 * 5 * 3.0**4]
    assert gradient(piecewise, 11.0) == [-2 * 11.0]


def test_what_is_not_watched_is_not_connected():
    x, w = tf.constant(2.0), tf.constant([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        before = x * x
        tape.watch(x)
        y = before * x
    assert float(tape.gradient(y, x)) == 4.0
    assert tape.gradient(y, [w, before]) == [None, None]
    assert tape.gradient(before, x) is None
    zero = tape.gradient(y, {"w": w}, unconnected_gradients="zero")["w"]
    assert zero.numpy().tolist() == [0.0, 0.0]
    assert tape.jacobian(y, w) is None
    assert tape.jacobian(w * 2.0, w, unconnected_gradients=ZERO).shape == (2, 2)


def test_stopped_gradients_integers_and_paused_tapes_cut():
    x = tf.constant(3.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * tf.stop_gradient(x) + np.floor(x)
        with tape.stop_recording():
            paused = x * x
            assert float(paused) == 9.0
        z = paused * x
    assert float(tape.gradient(y, x)) == 3.0
    assert float(tape.gradient(z, x)) == 9.0
    assert tape.gradient(paused, x) is None


def test_a_tape_that_is_not_persistent_is_used_once():
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    tape.gradient(y, x)
    for again in (tape.gradient, tape.jacobian):
        with pytest.raises(TapeError, match="persistent=True"):
            again(y, x)
    with tape:  # entered again it is a new tape
        tape.watch(x)
        y = x * x * x
    assert float(tape.gradient(y, x)) == 27.0


def test_reset_forgets_and_reentering_goes_on():
    x, v = tf.constant(3.0), tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * v
        tape.reset()
        z = x * v
    assert [tape.gradient(y, x), tape.gradient(z, x)] == [None, None]
    assert float(tape.gradient(z, v)) == 3.0
    with tape:
        w = z * v
    assert float(tape.gradient(w, v)) == 12.0


def test_misuse_says_how_to_mend_it():
    x, tape = tf.constant(3.0), tf.GradientTape()
    for early in (lambda: tape.watch(x), lambda: tape.gradient(x, x), tape.reset, tape.stop_recording, tape.watched_variables):
        with pytest.raises(TapeError, match="nothing was recorded"):
            early()
    with tape:
        with pytest.raises(TapeError, match="entered already"), tape:
            pass
        with pytest.raises(ArgumentTypeError, match=r"tape\.constant"):
            tape.watch(np.ones(3))
        with pytest.raises(NotDifferentiableError, match="float dtype"):
            tape.watch(tf.constant(3))
        tape.watch(x)
        y = x * x
    with pytest.raises(TapeError, match="not recording"):
        tape.watch(x)
    with pytest.raises(ArgumentTypeError, match="a source must be a tensor"):
        tape.gradient(y, 3.0)
    for options, error in (
        ({"output_gradients": [1.0, 2.0]}, ShapeError), ({"output_gradients": {"a": 1.0}}, ArgumentTypeError),
        ({"unconnected_gradients": "maybe"}, ArgumentError), ({"output_gradients": 1j}, NotDifferentiableError),
    ):
        with pytest.raises(error, match="GradientTape"):
            gradient(lambda x: x * x, 3.0, **options)
    with pytest.raises(TreeError, match="structure of the target"):
        gradient(lambda x: [x, x], 3.0, output_gradients=[1.0])
    assert gx.core.current_builder() is None


# -------------------------------------------------------------------------------------------------------- higher orders


def test_tapes_nest_to_the_third_order():
    x = tf.constant([0.3, 0.7])
    with tf.GradientTape() as third:
        third.watch(x)
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape() as first:
                first.watch(x)
                y = np.sin(2.0 * x)
            dy = first.gradient(y, x)
        ddy = second.gradient(dy, x)
    dddy = third.gradient(ddy, x)
    angle = 2.0 * x.numpy()
    for found, expected in ((dy, 2 * np.cos(angle)), (ddy, -4 * np.sin(angle)), (dddy, -8 * np.cos(angle))):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


def test_a_hessian_is_the_jacobian_of_a_gradient():
    x = tf.constant(RNG.normal(size=3))
    weights = np.array([1.0, 2.0, 3.0])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = np.sum(weights * x) ** 3
        slope = inner.gradient(y, x)
    expected = 6 * np.sum(weights * x.numpy()) * np.outer(weights, weights)
    np.testing.assert_allclose(outer.jacobian(slope, x).numpy(), expected)


def test_a_persistent_tape_records_its_own_gradient():
    x = tf.constant(2.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x**4
        slope = tape.gradient(y, x)
    assert (float(slope), float(tape.gradient(slope, x))) == (32.0, 48.0)


def test_a_tape_that_was_closed_before_is_seen_by_the_next_one():
    for value in (3.0, [1.0, 2.0]):
        x = tf.constant(value)
        with tf.GradientTape() as first:
            first.watch(x)
            y = x * x * x
        with tf.GradientTape() as second:
            second.watch(x)
            slope = first.gradient(y, x)
        np.testing.assert_allclose(second.gradient(slope, x).numpy(), 6 * x.numpy())


def test_an_inner_tape_does_not_confuse_what_the_outer_one_watches():
    # d/dx (x * d/dy (x + y)) at x = y: the classical confusion of perturbations gives 2.
    x = tf.constant(1.0)
    with tf.GradientTape() as outer:
        outer.watch(x)
        y = tf.constant(1.0)
        with tf.GradientTape() as inner:
            inner.watch(y)
            z = x + y
        w = x * inner.gradient(z, y)
    assert float(outer.gradient(w, x)) == 1.0


# ------------------------------------------------------------------------------------------------------------ jacobians


def wave(x):
    return np.sin(MATRIX @ x) * x[0]


def expected_jacobian(x):
    angle = MATRIX @ x
    result = np.cos(angle)[:, None] * MATRIX * x[0]
    result[:, 0] += np.sin(angle)
    return result


@pytest.mark.parametrize("options", [
    {}, {"parallel_iterations": 1}, {"parallel_iterations": 2}, {"parallel_iterations": 100}, {"experimental_use_pfor": False},
    {"experimental_use_pfor": False, "parallel_iterations": 2},
], ids=str)
def test_jacobians_by_rows(options):
    value = RNG.normal(size=4)
    x = tf.constant(value)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = wave(x)
    np.testing.assert_allclose(tape.jacobian(y, x, **options).numpy(), expected_jacobian(value), rtol=1e-14)
    twice = tape.jacobian(y, {"x": x, "y": y}, **options)
    np.testing.assert_array_equal(twice["y"].numpy(), np.eye(3))


def test_jacobians_in_a_loop_are_differentiated_by_an_outer_tape():
    x = tf.constant([0.5, 1.5])
    for options in ({}, {"parallel_iterations": 1}, {"experimental_use_pfor": False}):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = x**3
            first = inner.jacobian(y, x, **options)
        expected = np.zeros((2, 2, 2))
        expected[[0, 1], [0, 1], [0, 1]] = 6 * x.numpy()
        np.testing.assert_allclose(outer.jacobian(first, x, **options).numpy(), expected)


def extents(program):
    """The leading extents of all results in a program and in the bodies of its loops."""
    found = set()
    for equation in program.equations:
        found |= {var.type.shape[0] for var in equation.outputs if var.type.rank}
        for _, value in equation.params:
            for inner in programs_in(value):
                found |= extents(inner)
    return found


def bodies(program):
    return [inner for e in program.equations for _, value in e.params for inner in programs_in(value)]


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_parallel_iterations_bounds_what_is_computed_at_once(at_once):
    x = tf.constant(RNG.normal(size=7))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = np.exp(np.concatenate([x] * 9))  # 63 rows
    recording = tape._recording
    recording.advance()
    pulled = pullback(recording, recording.vars_of(x), [y.atom])
    program = rows_program(pulled.program, len(pulled.residuals), 63, at_once)
    if at_once == 64:
        assert not bodies(program)
        assert max(extents(program)) == 63
        return
    # 63 = 12 * 5 + 3: what is left over is a batch of its own.
    for body in bodies(program):
        ranks = [len(v.type.shape) for e in body.equations for v in e.outputs]
        leading = {v.type.shape[0] for e in body.equations for v in e.outputs if v.type.rank == 2}
        assert max(ranks) <= 2
        assert leading <= ({at_once} if at_once > 1 else set())
    assert bodies(program)


def test_batch_jacobian_is_the_diagonal_of_the_jacobian():
    value, weights = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 4))
    x = tf.constant(value)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = np.reshape(np.sin(x @ weights), (3, 2, 2))
    expected = np.stack([(np.cos(row @ weights)[:, None] * weights.T).reshape(2, 2, 2) for row in value])
    full = tape.jacobian(y, x).numpy()
    np.testing.assert_allclose(np.stack([full[i, ..., i, :] for i in range(3)]), expected)
    for options in ({}, {"parallel_iterations": 3}, {"experimental_use_pfor": False}):
        np.testing.assert_allclose(tape.batch_jacobian(y, x, **options).numpy(), expected)
    assert tape.batch_jacobian(tf.ones((3, 2)), x) is None
    assert tape.batch_jacobian(tf.ones((3, 5)), x, unconnected_gradients=ZERO).shape == (3, 5, 2)


def test_batch_jacobian_checks_ranks_and_the_batch_axis():
    x = tf.constant(np.ones((3, 2)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        row, turned, whole = np.sum(x, 1), x.T, x[:, 0]
    with pytest.raises(ShapeError, match=r"target must have a batch axis.*\(3,\)"):
        tape.batch_jacobian(row, x)
    with pytest.raises(ShapeError, match="source must have a batch axis"):
        tape.batch_jacobian(x, whole)
    with pytest.raises(ShapeError, match="one extent"):
        tape.batch_jacobian(turned, x)
    with pytest.raises(ArgumentError, match="parallel_iterations"):
        tape.jacobian(row, x, parallel_iterations=0)
    empty = tf.constant(np.zeros((0, 3)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(empty)
        y = empty * 2.0
    assert tape.jacobian(y, empty).shape == (0, 3, 0, 3)
    assert tape.batch_jacobian(y, empty).shape == (0, 3, 3)


# ---------------------------------------------------------------------------------------------------------- forward mode


def test_forward_accumulators():
    x, y = tf.constant([1.0, 2.0]), tf.Variable([3.0, 4.0])
    with tf.ForwardAccumulator([x, y], [tf.constant([1.0, 0.0]), np.array([0.0, 1.0])]) as accumulator:
        z = x * x * y
    assert accumulator.jvp(z).numpy().tolist() == [2 * 1.0 * 3.0, 4.0]
    assert accumulator.jvp({"x": x})["x"].numpy().tolist() == [1.0, 0.0]
    other = tf.constant([1.0, 1.0])
    assert accumulator.jvp(other) is None
    assert accumulator.jvp(other, unconnected_gradients=ZERO).numpy().tolist() == [0.0, 0.0]


def test_forward_over_reverse_and_forward_over_forward():
    x = tf.constant([1.0, 2.0])
    direction = tf.constant([1.0, -1.0])
    with tf.ForwardAccumulator(x, direction) as accumulator:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = np.prod(x) * x[0]  # x0^2 x1
        slope = tape.gradient(y, x)
    hessian = np.array([[2 * 2.0, 2 * 1.0], [2 * 1.0, 0.0]])
    np.testing.assert_allclose(accumulator.jvp(slope).numpy(), hessian @ [1.0, -1.0])
    with tf.ForwardAccumulator(x, direction) as outer, tf.ForwardAccumulator(x, direction) as inner:
        y = x**3
        first = inner.jvp(y)
    assert outer.jvp(first).numpy().tolist() == [6.0, 12.0]


def test_forward_accumulators_check_their_tangents():
    x = tf.constant([1.0, 2.0])
    with pytest.raises(ShapeError, match="shape of its primal"):
        tf.ForwardAccumulator(x, tf.constant(1.0))
    with pytest.raises(TreeError, match="structure of the primals"):
        tf.ForwardAccumulator([x], {"x": x})
    with pytest.raises(NotDifferentiableError, match="float dtype"):
        tf.ForwardAccumulator(tf.constant(1), tf.constant(1))
    with pytest.raises(TapeError, match="nothing was recorded"):
        tf.ForwardAccumulator(x, x).jvp(x)


# ---------------------------------------------------------------------------------------------------------------- rules


def test_custom_gradients():
    @tf.custom_gradient
    def softplus(x):
        e = np.exp(x)
        return np.log(1 + e), lambda upstream: upstream * (1 - 1 / (1 + e))

    value = np.array([-1.0, 100.0])
    sigmoid = 1 / (1 + np.exp(-value))
    x = tf.constant(value)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = softplus(x)
        slope = tape.gradient(y, x)
    np.testing.assert_allclose(slope.numpy(), sigmoid)
    np.testing.assert_allclose(outer.gradient(slope, x).numpy(), sigmoid * (1 - sigmoid), atol=1e-30)
    np.testing.assert_allclose(softplus(x).numpy(), np.log1p(np.exp(value)))


def test_custom_gradients_of_several_arguments_and_results():
    @tf.custom_gradient
    def scaled(x, y):
        return (x * y, x + y), lambda first, second: (10.0 * first * y + second, 100.0 * first * x)

    found = gradient(lambda x, y: list(scaled(x, y)), 2.0, 3.0)
    assert found == [31.0, 200.0]
    v = tf.Variable(2.0)

    @tf.custom_gradient
    def powered(x, exponent=2.0):
        return x**exponent, lambda upstream: 10.0 * upstream

    assert gradient(lambda x: powered(x, exponent=3.0) + powered(x), 2.0) == [20.0]
    assert float(powered(tf.constant(2.0), exponent=3.0)) == 8.0
    for reads in (lambda x: (x * v, lambda upstream: upstream), lambda x: (x * 2.0, lambda upstream: upstream * v)):
        with pytest.raises(ArgumentError, match="pass it as an argument"):
            gradient(tf.custom_gradient(reads), 2.0)
    by_argument = tf.custom_gradient(lambda x, y: (x * y, lambda upstream: (upstream * y, upstream * x)))
    x, scale = tf.constant(5.0), tf.constant(7.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = by_argument(x, v)
        h = x * 2.0
        closing = tf.custom_gradient(lambda a: (a * scale, lambda upstream: upstream * scale))(x)
        hiding = tf.custom_gradient(lambda a: (a * h, lambda upstream: upstream * h))(x)
    v.assign(100.0)
    assert [float(part) for part in tape.gradient(y, [x, v])] == [2.0, 5.0]
    assert float(tape.gradient(closing, x)) == 7.0
    with pytest.raises(NotDifferentiableError, match="closes over"):
        tape.gradient(hiding, x)
    with pytest.raises(ArgumentTypeError, match="pair"):
        tf.custom_gradient(lambda x: x)(tf.constant(1.0))


def test_recomputed_gradients():
    value = np.array([0.1, 0.2])
    (found,) = gradient(tf.recompute_grad(lambda x: np.sin(np.exp(x))), value)
    np.testing.assert_allclose(found, np.cos(np.exp(value)) * np.exp(value))
    assert isinstance(tf.recompute_grad(np.sin)(tf.constant(0.0)), tf.Tensor)


def test_functions_by_the_names_of_their_modules():
    (found,) = gradient(lambda x: tf.math.reduce_sum(tf.math.log(x) * tf.math.sin(x)), np.array([1.0, 2.0]))
    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(found, np.sin(x) / x + np.log(x) * np.cos(x), rtol=1e-14)
    for name in tf.math.__all__:
        assert getattr(tf.math, name) is getattr(tf, name)
    assert tf.autodiff.ForwardAccumulator is tf.ForwardAccumulator
