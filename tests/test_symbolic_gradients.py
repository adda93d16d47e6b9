"""Derivatives of symbolic expressions, against closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform.symbolic as T
from gradxform import errors

GENERATOR = np.random.default_rng(20)
A, B = GENERATOR.normal(size=(3, 4)), GENERATOR.normal(size=(4,))


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_grad_of_a_list_keeps_order_and_kind():
    x, w = T.dvectors("x", "w")
    cost = T.sum(x * w ** 2)
    found = T.grad(cost, [w, x])
    assert isinstance(found, list)
    assert isinstance(T.grad(cost, (x, w)), tuple)
    by_w, by_x = T.function([x, w], found)([1.0, 2.0], [3.0, 5.0])
    close(by_w, [6.0, 20.0])
    close(by_x, [9.0, 25.0])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_grad_of_grad(order):
    x = T.dscalar("x")
    expression = T.sin(2 * x)
    for _ in range(order):
        expression = T.grad(expression, x)
    close(expression.eval({x: 0.3}), 2.0**order * np.sin(0.6 + order * np.pi / 2))


def test_grad_with_respect_to_an_intermediate():
    x = T.dvector("x")
    h = T.exp(x)
    cost = T.sum(h ** 3)
    f = T.function([x], [T.grad(cost, h), T.grad(cost, x), *T.grad(cost, [h, x]), *T.grad(cost, [x, h])])
    point = np.array([0.1, -0.4])
    by_h, by_x = 3 * np.exp(2 * point), 3 * np.exp(3 * point)
    for found, wanted in zip(f(point), [by_h, by_x, by_h, by_x, by_x, by_h], strict=True):
        close(found, wanted)


def test_second_derivative_at_an_intermediate():
    x = T.dvector("x")
    h = T.exp(x)
    first = T.grad(T.sum(h ** 3), h)
    close(T.grad(T.sum(first), h).eval({x: [0.1, -0.4]}), 6 * np.exp([0.1, -0.4]))
    # As a function of x, 3 exp(2 x).
    close(T.grad(T.sum(first), x).eval({x: [0.1, -0.4]}), 6 * np.exp([0.2, -0.8]))


def test_a_variable_that_a_derivative_is_taken_through_is_refused():
    x = T.dscalar("x")
    h = x ** 2
    inner = T.grad(h ** 3, x)
    with pytest.raises(errors.ArgumentError, match="lies between x"):
        T.grad(inner, h)
    with pytest.raises(errors.ArgumentError, match="lies between x"):
        T.grad(inner, x, consider_constant=[h])
    with pytest.raises(errors.ArgumentError, match="lies between x"):
        T.function([x], inner, givens={h: T.constant(1.0)})


def test_gradient_penalty():
    """The gradient at an intermediate that depends on parameters, differentiated with respect to those."""
    theta, phi = T.dvectors("theta", "phi")
    sample = T.sin(theta)
    critic = T.sum(phi * sample ** 3)
    penalty = T.sum(T.grad(critic, sample) ** 2)
    f = T.function([theta, phi], T.grad(penalty, [theta, phi]))
    t, p = np.array([0.3, 0.8]), np.array([1.5, -0.5])
    by_theta, by_phi = f(t, p)
    # The penalty is the sum of 9 phi^2 sin(theta)^4.
    close(by_theta, 36 * p**2 * np.sin(t) ** 3 * np.cos(t))
    close(by_phi, 18 * p * np.sin(t) ** 4)


def test_consider_constant():
    x, c = T.dscalars("x", "c")
    h = x * c
    cost = h * x ** 2
    f = T.function([x, c], T.grad(cost, x, consider_constant=[h]))
    close(f(3.0, 5.0), 15.0 * 2 * 3.0)
    # Constant for this gradient only: the gradient 2 x h depends on c through h.
    again = T.grad(T.grad(cost, x, consider_constant=[h]), c, disconnected_inputs="raise")
    close(again.eval({x: 3.0, c: 5.0}), 2 * 3.0 * 3.0)


def test_known_grads():
    x = T.dvector("x")
    a = x ** 2
    b = T.sin(a)
    flow = T.dvector("flow")
    f = T.function([x, flow], T.grad(None, x, known_grads={b: flow}))
    point, given = np.array([0.5, 1.5]), np.array([2.0, -1.0])
    close(f(point, given), given * np.cos(point**2) * 2 * point)
    # What is known of a is complete: nothing of the cost and of b flows through it.
    cost = T.sum(b * x)
    both = T.grad(cost, x, known_grads={a: flow})
    close(both.eval({x: point, flow: given}), np.sin(point**2) + given * 2 * point)
    close(T.grad(None, [a, x], known_grads={a: flow, b: flow})[0].eval({x: point, flow: given}), given)


def test_disconnected_inputs():
    x, y = T.dvectors("x", "y")
    cost = T.sum(x ** 2) + y.shape[0]
    with pytest.raises(T.DisconnectedInputError, match="does not depend on y"):
        T.grad(cost, [x, y])
    with pytest.raises(ValueError, match="test_symbolic_gradients"):
        T.grad(cost, y)
    with pytest.warns(UserWarning, match="does not depend on y"):
        T.grad(cost, y, disconnected_inputs="warn")
    found = T.function([x, y], T.grad(cost, [x, y], disconnected_inputs="ignore"))([1, 2], [1, 2, 3])
    close(found[0], [2.0, 4.0])
    close(found[1], np.zeros(3))
    assert T.grad(cost, y, disconnected_inputs="ignore", return_disconnected="none") is None
    with pytest.raises(errors.ArgumentError, match="one of 'raise', 'warn', 'ignore'"):
        T.grad(cost, y, disconnected_inputs="maybe")


def test_elements_of_a_sequence_are_no_function_of_x():
    """The pitfall that Theano's tutorial names."""
    x = T.dvector("x")
    with pytest.raises(T.DisconnectedInputError):
        T.scan(lambda y_i, x: T.grad(y_i, x), sequences=x ** 2, non_sequences=x)


def test_wrong_costs_and_variables():
    x, n = T.dvector("x"), T.lscalar("n")
    with pytest.raises(TypeError, match="the cost must be a scalar"):
        T.grad(x ** 2, x)
    with pytest.raises(errors.NotDifferentiableError, match="int64"):
        T.grad(T.sum(x) * n, n)
    with pytest.raises(errors.NotDifferentiableError):
        T.grad(n * n, n)
    with pytest.raises(TypeError, match="wrt must be a symbolic variable"):
        T.grad(T.sum(x), 3.0)
    with pytest.raises(errors.ArgumentError, match="known_grads"):
        T.grad(None, x)
    with pytest.raises(errors.NotDifferentiableError, match="must be real"):
        T.grad(T.sum(x * 1j), x)


def test_operators():
    x, w, v = T.dvector("x"), T.dmatrix("w"), T.dvector("v")
    y = T.tanh(T.dot(x, w))
    tangent = T.dmatrix("tangent")
    point = GENERATOR.normal(size=3)
    slope = 1 - np.tanh(point @ A) ** 2
    push = T.function([x, w, tangent], T.Rop(y, w, tangent))
    close(push(point, A, 2 * A), slope * (point @ (2 * A)))
    pull = T.function([x, w, v], T.Lop(y, [w, x], v))
    by_w, by_x = pull(point, A, B)
    close(by_w, np.outer(point, slope * B))
    close(by_x, A @ (slope * B))
    close(T.pullback(y, w, v).eval({x: point, w: A, v: B}), by_w)
    close(T.pushforward([y], [w], [tangent])[0].eval({x: point, w: A, tangent: A}), slope * (point @ A))
    with pytest.raises(T.DisconnectedInputError):
        T.Rop(y, v, v)
    close(T.pushforward(y, v, v).eval({x: point, w: A, v: B}), np.zeros(4))
    with pytest.raises(errors.ArgumentError, match="eval_points"):
        T.Rop(y, [w, x], tangent)
    with pytest.raises(TypeError, match="rank"):
        T.Lop(y, w, tangent)


def test_rop_with_respect_to_an_intermediate_and_what_it_is_made_of():
    """A tangent is given for each of ``wrt``; none flows from one into another."""
    x, u, v = T.dscalars("x", "u", "v")
    h = x ** 2
    f = T.function([x, u, v], T.Rop(h * x, [x, h], [u, v]))
    close(f(3.0, 1.0, 10.0), 9.0 * 1.0 + 3.0 * 10.0)


def test_what_a_derivative_does_not_need_is_no_input():
    x, w, v = T.dvector("x"), T.dmatrix("w"), T.dvector("v")
    f = T.function([v, x], T.Lop(T.dot(x, w), w, v))
    for _ in range(2):
        close(f([2.0, 3.0, 4.0], [5.0, 6.0]), np.outer([5.0, 6.0], [2.0, 3.0, 4.0]))
    close(f([1.0], [5.0, 1.0]), [[5.0], [1.0]])
    u = T.dvector("u")
    g = T.function([v, x], T.Lop(x * u, u, v))
    close(g([1.0, 2.0], [3.0, 4.0]), [3.0, 8.0])
    with pytest.raises(T.MissingInputError, match="need w, which is no input"):
        T.function([v, x], T.Lop(T.dot(x, w) ** 2, w, v))
    undetermined = T.function([x], T.grad(T.sum(w) + T.sum(x), w))
    with pytest.raises(T.MissingInputError, match="shape does not follow"):
        undetermined([1.0, 2.0])
    pairs = T.function([v, x], T.Lop(x * T.sum(u.reshape((2, -1)), axis=1), u, v))
    with pytest.raises(T.MissingInputError, match="shape does not follow"):
        pairs([1.0, 2.0], [3.0, 4.0])


def test_jacobian_and_hessian():
    x, w = T.dvector("x"), T.dmatrix("w")
    y = T.sin(T.dot(x, w))
    by_x, by_w = T.function([x, w], T.jacobian(y, [x, w]))(A[:, 0], A)
    slope = np.cos(A[:, 0] @ A)
    close(by_x, slope[:, None] * A.T)
    close(by_w, slope[:, None, None] * A[:, 0][None, :, None] * np.eye(4)[:, None, :])
    cost = T.sum(T.exp(x)) + x[0] * x[1] ** 2
    point = np.array([0.5, 2.0, -1.0])
    wanted = np.diag(np.exp(point))
    wanted[0, 1] = wanted[1, 0] = 2 * point[1]
    wanted[1, 1] += 2 * point[0]
    close(T.hessian(cost, x).eval({x: point}), wanted)
    v = T.dvector("v")
    close(T.hessian_vector_product(cost, x, v).eval({x: point, v: B[:3]}), wanted @ B[:3])
    close(T.jacobian(T.sum(x), w, disconnected_inputs="ignore").eval({x: point, w: A}), np.zeros((3, 4)))
    h = x ** 2
    by_parts = T.jacobian(h * 2, [h, x])
    close(by_parts[0].eval({x: point}), 2 * np.eye(3))
    close(by_parts[1].eval({x: point}), np.diag(4 * point))


def test_hessian_vector_product_of_several():
    x, y, u, v = T.dscalars("x", "y", "u", "v")
    found = T.hessian_vector_product(x ** 2 * y, [x, y], [u, v])
    by_x, by_y = T.function([x, y, u, v], found)(3.0, 5.0, 1.0, 10.0)
    close([by_x, by_y], [2 * 5.0 * 1 + 2 * 3.0 * 10, 2 * 3.0 * 1])


def test_subgraph_grad_in_two_parts():
    x, t = T.dvectors("x", "t")
    w1, w2 = T.shared(A, "w1"), T.shared(GENERATOR.normal(size=(4, 2)), "w2")
    hidden = T.tanh(T.dot(x, w1))
    cost = T.sum((T.dot(hidden, w2) - t) ** 2)
    last, back = T.subgraph_grad([w2], [hidden], cost=cost)
    first, end = T.subgraph_grad([w1], [x], start=dict(zip([hidden], back, strict=True)))
    parts = T.function([x, t], [*first, *last, *end])(A[:, 1], [1.0, 2.0])
    whole = T.function([x, t], T.grad(cost, [w1, w2, x]))(A[:, 1], [1.0, 2.0])
    for found, wanted in zip(parts, whole, strict=True):
        close(found, wanted)
    assert len(T.subgraph_grad([w2], [hidden], cost=cost, details=True)) == 4
    with pytest.raises(errors.ArgumentError, match="cost, or start"):
        T.subgraph_grad([w2], [hidden])


def test_gradients_that_are_changed():
    x = T.dscalar("x")

    def slope(expression, point=3.0):
        return T.grad(expression, x).eval({x: point})

    close(slope(T.grad_clip(5 * x, -1, 1) ** 2), 5.0)
    close(slope(T.grad_scale(x, 0.25) ** 2), 1.5)
    close(slope(x * T.zero_grad(x) + 0 * x), 3.0)
    close(slope(x * T.consider_constant(x)), 3.0)
    close(slope(x * T.disconnected_grad(x)), 3.0)
    close(slope(T.zero_grad(x) ** 2), 0.0)
    with pytest.raises(T.DisconnectedInputError):
        slope(T.disconnected_grad(x) ** 2)


def test_verify_grad():
    T.verify_grad(lambda x, w: T.tanh(T.dot(x, w)), [A[:, 0], A])
    T.verify_grad(lambda x: T.sum(x ** 2, axis=0), [A.astype(np.float32)])
    with pytest.raises(T.GradientError, match="argument 0"):
        T.verify_grad(lambda x: T.grad_scale(x, 2.0) ** 2, [A])
    with pytest.raises(T.GradientError):
        T.verify_grad(lambda x: T.zero_grad(x), [A])


def test_float32_stays():
    x = T.fvector("x")
    found = T.function([x], T.grad(T.sum(2.0 * T.exp(x)), x))(np.array([0.5], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 2 * np.exp(np.float32(0.5)), rtol=1e-6)


def test_grad_through_ifelse_and_indices():
    a, x, i = T.dscalar("a"), T.dvector("x"), T.lscalar("i")
    f = T.function([a, x, i], T.grad(T.ifelse(a > 0, T.sum(x ** 2), x[i] * a), x))
    close(f(1.0, [3.0, 4.0], 1), [6.0, 8.0])
    close(f(-2.0, [3.0, 4.0], 1), [0.0, -2.0])


def test_grad_through_integers_is_zero_and_connected():
    x = T.dvector("x")
    close(T.grad(x[T.argmax(x)] ** 2, x).eval({x: [1.0, 5.0, 2.0]}), [0.0, 10.0, 0.0])
    close(T.grad(T.sum(x.astype("int64") * 1.5), x).eval({x: [1.0, 5.0]}), [0.0, 0.0])
    close(T.grad(T.sum(x * (x > 2)), x).eval({x: [1.0, 5.0]}), [0.0, 1.0])


def test_a_constant_gradient_needs_no_input():
    x = T.dscalar("x")
    assert T.function([], T.grad(3 * x, x))() == 3.0
    with pytest.raises(T.MissingInputError):
        T.function([], T.grad(x ** 2, x))


def test_complex_variables():
    z = T.zscalar("z")
    close(T.grad(abs(z) ** 2, z).eval({z: 1 + 2j}), 2 - 4j)


def test_gradient_in_a_loop_differentiated_again():
    x = T.dvector("x")
    y = T.sin(x) * x
    rows, _ = T.scan(lambda i, y, x: T.grad(y[i], x), sequences=T.arange(y.shape[0]), non_sequences=[y, x])
    point = np.array([0.3, 0.7, 1.1])
    first = np.cos(point) * point + np.sin(point)
    second = 2 * np.cos(point) - np.sin(point) * point
    close(T.grad(T.sum(rows ** 2), x).eval({x: point}), 2 * first * second)


def test_loops_that_use_intermediates():
    """The step takes h from outside: gradients at h, at x, and at x with h held constant."""
    x = T.dvector("x")
    h = T.exp(x)
    states, _ = T.scan(lambda s: s * h + x, outputs_info=T.zeros_like(x), n_steps=3)
    cost = T.sum(states[-1])  # the sum of x (1 + h + h^2)
    point = np.array([0.3, -0.7])
    e = np.exp(point)
    f = T.function([x], [*T.grad(cost, [h, x]), T.grad(cost, x, consider_constant=[h])])
    by_h, by_x, direct = f(point)
    close(by_h, point * (1 + 2 * e))
    close(direct, 1 + e + e**2)
    close(by_x, direct + by_h * e)


def test_forward_mode_through_a_clipped_gradient_is_refused():
    x = T.dscalar("x")
    with pytest.raises(errors.NotDifferentiableError, match="forward mode of grad_clip"):
        T.Rop(T.grad_clip(x, 0, 1) ** 2, x, T.constant(1.0)).eval({x: 2.0})
