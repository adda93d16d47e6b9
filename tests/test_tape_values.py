"""gradxform.tape: variables, values inside and outside of tapes, and tapes with other transforms."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from support.tapes import gradient

import gradxform as gx
import gradxform.tape as tf
from gradxform.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    LeakedTracerError,
    ReadOnlyError,
    ShapeError,
    TracerConversionError,
)

RNG = np.random.default_rng(7)


# ------------------------------------------------------------------------------------------------------------ variables


def test_variables_that_are_read_are_watched():
    v, fixed, unread = tf.Variable([1.0, 2.0]), tf.Variable(3.0, trainable=False), tf.Variable(1.0)
    with tf.GradientTape(persistent=True) as tape:
        y = np.sum(v * v) * fixed
    assert [found is v for found in tape.watched_variables()] == [True]
    assert tape.gradient(y, v).numpy().tolist() == [6.0, 12.0]
    assert tape.gradient(y, [fixed, unread]) == [None, None]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(fixed)
        y = v * fixed
    found = tape.gradient(y, [v, fixed])
    assert found[0] is None
    assert float(found[1]) == 3.0


def test_a_variable_that_is_assigned_to_in_a_tape():
    v = tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        y = v * v
        v.assign(y)  # no derivative passes
        z = y * v
    assert float(z) == 16.0
    assert float(tape.gradient(y, v)) == 4.0
    assert float(tape.gradient(z, v)) == 4.0 * 4.0 + 4.0


def test_training_by_assignment():
    data = RNG.normal(size=(20, 2))
    truth = data @ [1.5, -0.5] + 0.25
    weight, bias = tf.Variable(tf.zeros(2)), tf.Variable(lambda: 0.0)
    for _ in range(200):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(data @ weight + bias - truth))
        for variable, slope in zip((weight, bias), tape.gradient(loss, [weight, bias]), strict=True):
            variable.assign_sub(0.2 * slope)
    np.testing.assert_allclose([*weight.numpy(), bias.numpy()], [1.5, -0.5, 0.25], atol=1e-6)


def test_assignments_keep_shape_and_dtype():
    v = tf.Variable([1.0, 2.0], dtype="float32", name="v")
    kept = v.read_value()
    assert v.assign_add([1.0, 1.0]) is v
    assert (v.numpy().tolist(), kept.numpy().tolist(), v.dtype) == ([2.0, 3.0], [1.0, 2.0], np.float32)
    with pytest.raises(ShapeError, match=r"shape \(2,\).*shape \(3,\)"):
        v.assign([1.0, 2.0, 3.0])
    with pytest.raises(DTypeError, match="complex128"):
        v.assign([1j, 2.0])
    with pytest.raises(ReadOnlyError, match="assign"):
        v[0] = 3.0
    assert str(v) == "<tf.Variable 'v:0' shape=(2,), dtype=float32, numpy=array([2., 3.], dtype=float32)>"
    assert copy.deepcopy(v).assign_add([1.0, 1.0]).numpy().tolist() == [3.0, 4.0] != v.numpy().tolist()
    assert pickle.loads(pickle.dumps(v)).numpy().tolist() == [2.0, 3.0]


# -------------------------------------------------------------------------------------------- values, inside and outside


def test_values_are_not_taken_out_of_a_tape_silently():
    x, v = tf.constant([1.5]), tf.Variable(2.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = 2.0 * x
        for out in (lambda: float(y), lambda: np.asarray(y), lambda: np.array([y, y]), lambda: y.item(), lambda: y.tolist(),
                    lambda: float(v), lambda: np.zeros(1).__setitem__(slice(None), y), lambda: pickle.dumps(y)):
            with pytest.raises(TracerConversionError, match="cut its derivative silently"):
                out()
        assert y.numpy().tolist() == [3.0]
        assert f"{y.numpy()[0]:.2f}" == "3.00"
        assert str(y) == "tf.Tensor(\n[3.], shape=(1,), dtype=float64)"
        assert float(tf.constant(1.0) + 1.0) == 2.0  # not watched
        with tape.stop_recording():
            assert float(y[0]) == 3.0
    assert np.asarray(y).tolist() == y.tolist() == [3.0]
    assert float(v) == 2.0


def test_tensors_compute_outside_of_tapes():
    x = tf.constant([3.0, 1.0])
    for found, expected in (
        (x + 1, [4.0, 2.0]), (2 - x, [-1.0, 1.0]), (np.sort(x), [1.0, 3.0]), (x[::-1], [1.0, 3.0]), (x.T, [3.0, 1.0]),
        (gx.numpy.cumsum(x), [3.0, 4.0]), (x.at[0].set(7.0), [7.0, 1.0]), (x > 2, [True, False]), (-x, [-3.0, -1.0]),
        (gx.lax.sin(0.0 * x), [0.0, 0.0]), (np.stack(list(x)), [3.0, 1.0]),
    ):
        assert isinstance(found, (tf.Tensor, np.ndarray))
        assert found.tolist() == expected
    assert [float(part) for part in divmod(x[0], 2.0)] == [1.0, 1.0]
    assert (len(x), bool(x[0] > 2), int(x[0]), 3.0 in x, f"{x[1]:.1f}") == (2, True, 3, True, "1.0")
    assert gx.grad(lambda a: np.sum(a * x))(x).tolist() == [3.0, 1.0]
    assert gx.jit(lambda a: a * x)(x).tolist() == [9.0, 1.0]
    assert pickle.loads(pickle.dumps(x)).tolist() == copy.copy(x).tolist() == [3.0, 1.0]


def test_tensors_are_immutable():
    value = np.array([1.0, 2.0])
    x = tf.constant(value)
    value[0] = 5.0
    x.numpy()[0] = 7.0
    assert x.tolist() == [1.0, 2.0]
    former = x
    x += 1.0
    assert (x.tolist(), former.tolist()) == ([2.0, 3.0], [1.0, 2.0])
    with tf.GradientTape():
        for tensor in (x, x * 2.0):
            for change in (lambda t: t.__setitem__(0, 1.0), lambda t: t.sort(), lambda t: t.fill(0.0),
                           lambda t: np.put(t, 0, 1.0), lambda t: np.copyto(t, 1.0), lambda t: np.sin(t, out=t)):
                with pytest.raises(ReadOnlyError, match="cannot be assigned to"):
                    change(tensor)
            assert type(tensor) is tf.Tensor


def test_large_arrays_of_the_user_stay_the_users():
    data = np.ones(300_000)
    outside = tf.identity(data)
    with tf.GradientTape():
        inside = gx.numpy.asarray(data)
    float(inside[0])
    data[:] = 2.0
    assert outside.numpy()[0] == 1.0
    assert tf.reshape(data, (-1, 2)).shape == (150_000, 2)


def test_constants():
    assert tf.constant([[1, 2], [3, 4]]).dtype == np.int64
    assert tf.constant(2.0, shape=(2, 2)).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert tf.constant([1.0, 2.0, 3.0, 4.0], shape=[2, 2], dtype=tf.float32).dtype == np.float32
    with pytest.raises(ShapeError, match="does not fit"):
        tf.constant([1.0, 2.0, 3.0], shape=(2, 2))
    with pytest.raises(ArgumentTypeError, match="traced array"):
        tf.constant(tf.constant(1.0))
    with pytest.raises(ArgumentTypeError, match="constant"):
        tf.constant("text")
    assert repr(tf.constant([1.0])) == "<tf.Tensor: shape=(1,), dtype=float64, numpy=array([1.])>"


def test_numbers_made_in_a_tape_can_be_watched():
    with tf.GradientTape() as tape:
        x = gx.numpy.asarray(3.0)
        tape.watch(x)
        y = x * x
    assert float(tape.gradient(y, x)) == 6.0


def test_complex_gradients_are_conjugates_as_in_tensorflow():
    (found,) = gradient(lambda z: np.real(z * np.conj(z)), np.array(1 + 2j))
    assert found == 2 * (1 + 2j)  # the direction of steepest ascent
    (found,) = gradient(lambda z: z * z, np.array(1 + 2j), output_gradients=1j)
    assert found == 1j * np.conj(2 * (1 + 2j))


def test_results_do_not_keep_what_was_computed_on_the_way():
    data = tf.constant(RNG.normal(size=1000))
    losses = []
    for evaluate in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(data)
            with tf.GradientTape() as inner:
                inner.watch(data)
                middle = np.exp(data)
                loss = np.sum(middle * middle)
            slope = inner.gradient(loss, data)
            known = loss.numpy() if evaluate else None
        session = loss.builder
        assert len(session.known) == (4 if evaluate else 1)  # the data, and what the value needed
        found = tape.gradient(slope, data)
        np.testing.assert_allclose(found.numpy(), 4 * np.exp(2 * data.numpy()))
        assert len(session.known) == 1
        assert (loss.builder is session) != evaluate
        assert known is None or float(loss) == known
        np.testing.assert_allclose(float(loss), np.sum(np.exp(2 * data.numpy())))
        assert loss.builder is not session
        losses.append(loss)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(data)
        loss = np.sum(np.sin(data))
    float(loss)
    assert tape.gradient(loss, data) is not None
    session = loss.builder
    del tape
    float(np.sum(loss))
    losses.append(loss * losses[0] + losses[1])
    assert np.isfinite(float(losses[-1]))


def test_effects_happen_once(capfd):
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        gx.debug.print("y is {}", y)
    assert float(tape.gradient(y, x)) == 6.0
    assert capfd.readouterr().out == "y is 9.0\n"


def test_callbacks_do_not_read_what_a_tape_records():
    x = tf.constant([2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        doubled = 2.0 * x
        for tensor in (x, doubled):
            y = gx.pure_callback(lambda a, tensor=tensor: a * tensor, gx.ShapeDType((1,), float), np.ones(1))
            with pytest.raises(TracerConversionError, match="callback"):
                str(y.numpy())


def test_a_large_array_that_changes_under_a_tape_is_noticed():
    data = np.ones(300_000)
    x = tf.constant(2.0)
    with pytest.raises(ReadOnlyError, match="written into"), tf.GradientTape() as tape:
        tape.watch(x)
        y = np.sum(data * x)
        data[:] = 3.0
    del y


# ---------------------------------------------------------------------------------------------- with the other transforms


def slope_by_tape(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = np.sum(x**3)
    return tape.gradient(y, x)


def test_tapes_inside_transforms():
    value = np.array([1.0, 2.0])
    assert gx.jit(slope_by_tape)(value).tolist() == [3.0, 12.0]
    assert gx.jacrev(slope_by_tape)(value).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert gx.vmap(slope_by_tape)(value).tolist() == [3.0, 12.0]
    assert gx.jvp(slope_by_tape, (value,), (np.ones(2),))[1].tolist() == [6.0, 12.0]
    with pytest.raises(LeakedTracerError), tf.GradientTape():
        kept = []
        gx.jit(lambda x: kept.append(x * 2.0))(value)
        np.sin(kept[0])


def test_transforms_inside_tapes():
    x = tf.constant(1.5)
    closing = [
        (lambda: gx.grad(lambda a: a**3 * x)(x), 9 * 1.5**2),  # d/dx 3 x^3
        (lambda: gx.jit(lambda a: np.sin(a) * x)(x), np.sin(1.5) + 1.5 * np.cos(1.5)),
        (lambda: gx.lax.fori_loop(0, 3, lambda i, carry: carry * x, 1.0), 3 * 1.5**2),
        (lambda: np.sum(gx.vmap(lambda a: a * x)(np.ones(4))), 4.0),
        (lambda: gx.lax.cond(x > 1.0, lambda: x * x, lambda: x), 3.0),
    ]
    for _ in range(2):  # what jit has kept of the first time does not hide what is watched
        for compute, expected in closing:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = compute()
            np.testing.assert_allclose(float(tape.gradient(y, x)), expected, rtol=1e-14)


def test_functions_jitted_outside_do_not_hide_what_a_tape_watches():
    x, v = tf.constant(1.5), tf.Variable(2.0)
    scaled = gx.jit(lambda a: a * x)
    assert float(scaled(tf.constant(2.0))) == float(scaled(2.0)) == 3.0
    with tf.GradientTape() as tape, pytest.raises(ArgumentError, match="compiled into a jitted function"):
        tape.watch(x)  # the native code would return a number
    with pytest.raises(ArgumentError, match="compiled into a jitted function"), tf.ForwardAccumulator(x, tf.constant(1.0)):
        pass
    assert gx.core.current_builder() is None
    with pytest.raises(ArgumentError, match="inside a jitted function"):
        gx.jit(lambda a: a * v)(1.0)
    times = gx.jit(lambda a: a * v)
    for value in (2.0, 5.0):
        v.assign(value)
        with tf.GradientTape() as tape:
            y = times(3.0) * v
        assert float(tape.gradient(y, v)) == 6.0 * value


# ------------------------------------------------------------------------------------------------------------ functions


@pytest.mark.parametrize(("found", "expected"), [
    (lambda: tf.reduce_sum([[1.0, 2.0]], axis=[0, 1], keepdims=True), [[3.0]]),
    (lambda: tf.reduce_logsumexp([1000.0, 1000.0]), 1000.0 + np.log(2.0)),
    (lambda: tf.matmul([[1.0, 2.0]], [[3.0, 4.0]], transpose_b=True), [[11.0]]),
    (lambda: tf.concat([[1.0], tf.constant([2.0])], axis=0), [1.0, 2.0]),
    (lambda: tf.stack(tf.unstack([[1.0, 2.0], [3.0, 4.0]]), axis=1), [[1.0, 3.0], [2.0, 4.0]]),
    (lambda: tf.transpose([[1.0, 2.0]], perm=[1, 0]), [[1.0], [2.0]]),
    (lambda: tf.range(1, 4), [1, 2, 3]),
    (lambda: tf.cast([1.7], tf.int32), [1]),
    (lambda: tf.add(1.0, [2.0], name="sum"), [3.0]),
    (lambda: tf.sigmoid(0.0), 0.5),
], ids=lambda value: "" if callable(value) else str(value))
def test_functions_under_tensorflows_names(found, expected):
    result = found()
    assert isinstance(result, tf.Tensor)
    np.testing.assert_allclose(result.numpy(), expected)


def test_functions_under_tensorflows_names_are_recorded():
    (found,) = gradient(lambda x: tf.reduce_sum(tf.gather(tf.where(x > 1.0, tf.square(x), 0.0), [1, 1])), [1.0, 3.0])
    assert found.tolist() == [0.0, 12.0]
    with pytest.raises(ShapeError, match="matrices"):
        tf.matmul([1.0], [1.0])
