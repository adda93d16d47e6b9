"""Linear algebra of small matrices, written out: against NumPy, closed forms of derivatives, and what fails."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax

RANDOM = np.random.default_rng(0)
STACKS = [(), (2, 3)]


def regular(*shape):
    """Matrices with pivots in all places, far from singular."""
    return RANDOM.standard_normal(shape) + 2 * np.eye(shape[-1])[::-1]


def positive(*shape):
    a = RANDOM.standard_normal(shape)
    return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])


def turned(a):
    return np.swapaxes(a, -1, -2)


def close(found, expected, tolerance=1e-10):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1.0, np.max(np.abs(expected), initial=0)))


def written_out(function, *operands):
    """The compiled function, which is seen to call no routine but the one that fails."""
    compiled = gx.jit(function)
    loops = str(compiled.lower(*operands).loops)
    assert "lapack." not in loops
    return compiled


VALUES = {
    "cholesky": (np.linalg.cholesky, positive), "upper": (lambda a: np.linalg.cholesky(a, upper=True), positive),
    "inv": (np.linalg.inv, regular), "det": (np.linalg.det, regular), "slogdet": (np.linalg.slogdet, regular),
    "solve": (lambda a: np.linalg.solve(a, turned(a) + 1), regular),
    "chain": (lambda a: np.sum(turned(np.linalg.inv(a)) @ np.linalg.cholesky(a) * 3 - a, axis=-1), positive),
    "matrix times": (lambda a: np.linalg.inv(a) @ np.arange(float(a.shape[-1])), regular),
    "of the stack": (lambda a: np.linalg.inv(a).mean() + np.linalg.inv(a)[..., 0, :].sum(), regular),
    "put together": (lambda a: np.sort(np.linalg.inv(a), axis=-1), regular),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", [1, 3, 6])
@pytest.mark.parametrize("name", VALUES)
def test_values(name, n, stack):
    function, make = VALUES[name]
    a = make(*stack, n, n)
    found, expected = written_out(function, a)(a), function(a)
    if isinstance(expected, tuple):
        for x, y in zip(found, expected, strict=True):
            close(x, y)
    else:
        close(found, expected)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", [2, 4])
def test_gradients_have_their_closed_forms(n, stack):
    a, b, w = regular(*stack, n, n), RANDOM.standard_normal((*stack, n, 2)), RANDOM.standard_normal((*stack, n, n))
    v = RANDOM.standard_normal((*stack, n, 2))
    inverse = np.linalg.inv(a)

    def gradient(function):
        return written_out(gx.grad(function), a)(a)

    close(gradient(lambda x: np.sum(np.linalg.inv(x) * w)), -turned(inverse) @ w @ turned(inverse))
    adjoint = turned(inverse) @ v
    close(gradient(lambda x: np.sum(np.linalg.solve(x, b) * v)), -adjoint @ turned(inverse @ b))
    close(gradient(lambda x: np.sum(np.linalg.slogdet(x)[1])), turned(inverse))
    close(gradient(lambda x: np.sum(np.linalg.det(x))) if n < 4 else turned(inverse), turned(inverse) * (
        np.linalg.det(a)[..., None, None] if n < 4 else 1))


@pytest.mark.parametrize("stack", STACKS)
def test_tangent_and_cotangent_of_cholesky(stack):
    """L dL^T + dL L^T is the tangent of the matrix; and <c, dL> = <its cotangent, dA>."""
    a, t, c = positive(*stack, 3, 3), positive(*stack, 3, 3), RANDOM.standard_normal((*stack, 3, 3))
    factor, tangent = gx.jit(lambda x, y: gx.jvp(np.linalg.cholesky, (x,), (y,)))(a, t)
    close(tangent @ turned(factor) + factor @ turned(tangent), t)
    (cotangent,) = written_out(lambda x, y: gx.vjp(np.linalg.cholesky, x)[1](y), a, c)(a, c)
    close(np.sum(cotangent * t), np.sum(c * tangent))
    # The second derivative, in direction t, from differences of the first.
    slope = gx.jit(gx.grad(lambda x: np.sum(np.linalg.cholesky(x) * c)))
    second = gx.jit(lambda x, y: gx.jvp(gx.grad(lambda z: np.sum(np.linalg.cholesky(z) * c)), (x,), (y,))[1])(a, t)
    close(second, (slope(a + 1e-6 * t) - slope(a - 1e-6 * t)) / 2e-6, 1e-6)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1])
def test_triangular_systems(lower, trans):
    import gradxform.scipy.linalg

    a, b = regular(4, 3, 3) + 3 * np.eye(3), RANDOM.standard_normal((4, 3, 2))
    matrix = np.tril(a) if lower else np.triu(a)
    expected = np.linalg.solve(turned(matrix) if trans else matrix, b)
    found = written_out(
        lambda x, y: gradxform.scipy.linalg.solve_triangular(x, y, lower=lower, trans=trans), a, b)(a, b)
    close(found, expected)


def test_a_kalman_filter_stays_in_its_loop():
    """Means of a constant level with observation noise 1 and drift q, by the textbook's scalar recursion in each component."""
    steps = RANDOM.standard_normal((30, 2))

    def run(q):
        def step(carry, y):
            mean, covariance = carry
            covariance = covariance + q * np.eye(2)
            gain = covariance @ np.linalg.inv(covariance + np.eye(2))
            mean = mean + gain @ (y - mean)
            return (mean, covariance - gain @ covariance), mean

        return lax.scan(step, (np.zeros(2), np.eye(2)), steps)[1]

    mean, variance, expected = np.zeros(2), 1.0, []
    for y in steps:
        variance += 0.3
        gain = variance / (variance + 1)
        mean = mean + gain * (y - mean)
        variance -= gain * variance
        expected.append(mean)
    close(written_out(run, 0.3)(0.3), np.array(expected))


def test_many_right_hand_sides_are_left_to_the_routine():
    a, b = regular(3, 3), RANDOM.standard_normal((3, 40))
    close(gx.jit(np.linalg.solve)(a, b), np.linalg.solve(a, b))


@pytest.mark.parametrize(("function", "a", "message"), [
    (np.linalg.cholesky, -np.eye(3), "Matrix is not positive definite"),
    (np.linalg.inv, np.zeros((2, 2)), "Singular matrix"),
    (lambda x: np.linalg.solve(x, np.ones(2)), np.array([[1.0, 2.0], [2.0, 4.0]]), "Singular matrix"),
    (np.linalg.inv, np.stack([np.eye(2), np.zeros((2, 2))]), "Singular matrix"),
    (lambda x: lax.fori_loop(0, 3, lambda i, y: np.linalg.inv(y - np.eye(2)), x), 2 * np.eye(2), "Singular matrix"),
])
def test_failures(function, a, message):
    with pytest.raises(np.linalg.LinAlgError, match=message):
        gx.jit(function)(a)


def test_a_failure_that_nobody_would_see_is_none():
    assert gx.jit(lambda a: (np.linalg.inv(a), 1.0)[1])(np.zeros((2, 2))) == 1.0


def test_nan_shows_as_with_numpy():
    a = np.full((2, 2), np.nan)
    found, expected = gx.jit(np.linalg.cholesky)(a), np.linalg.cholesky(a)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


def test_singular_matrices_have_determinants():
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    value, slope = gx.jit(gx.value_and_grad(np.linalg.det))(a)
    assert value == 0.0
    close(slope, np.array([[4.0, -2.0], [-2.0, 1.0]]))


def test_float32():
    a = positive(4, 3, 3).astype(np.float32)
    found = gx.jit(lambda x: np.linalg.inv(np.linalg.cholesky(x)))(a)
    assert found.dtype == np.float32
    close(found, np.linalg.inv(np.linalg.cholesky(a.astype(float))), 2e-4)


@pytest.mark.parametrize("function", [
    lambda a: np.linalg.inv(a) @ np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    lambda a: np.arange(3.0) @ np.linalg.inv(a),
    lambda a: np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]) @ np.linalg.inv(a),
    lambda a: np.tensordot(np.linalg.inv(a), np.ones((3, 3)), 2),
    lambda a: np.einsum("bij,ckj->bcik", np.linalg.inv(a), np.linalg.inv(a)),
])
def test_products_of_a_stack_with_one_matrix(function):
    a = regular(4, 3, 3)
    close(written_out(function, a)(a), function(a))


def test_a_number_of_matrices_beside_arrays_in_a_loop():
    """det and slogdet of one matrix are numbers, which take part in arithmetic with arrays that are known as wholes."""
    a = regular(2, 2)

    def run(x, step):
        return lax.scan(lambda c, _: (np.tanh(c + 0.1 * step(c)), None), x, None, length=3)[0]

    for step in (np.linalg.det, lambda c: np.linalg.slogdet(c)[1]):
        expected = a
        for _ in range(3):
            expected = np.tanh(expected + 0.1 * step(expected))
        close(written_out(lambda x, step=step: run(x, step), a)(a), expected)


#: What random programs are made of: functions of a stack of matrices and of another one.
STEPS = [
    lambda m, c: np.linalg.inv(m @ turned(m) + np.eye(m.shape[-1])),
    lambda m, c: np.linalg.cholesky(m @ turned(m) + np.eye(m.shape[-1])),
    lambda m, c: np.linalg.solve(m @ turned(m) + np.eye(m.shape[-1]), c),
    lambda m, c: np.linalg.solve(m @ turned(m) + np.eye(m.shape[-1]), c[..., :1]) * np.ones(m.shape[-1]),
    lambda m, c: m * np.linalg.det(0.1 * c + np.eye(m.shape[-1]))[..., None, None],
    lambda m, c: m + np.linalg.slogdet(m @ turned(m) + np.eye(m.shape[-1]))[1][..., None, None],
    lambda m, c: turned(m) @ c,
    lambda m, c: np.where(np.eye(m.shape[-1]) > 0, m, 0.5 * m),
    lambda m, c: m - m.mean(axis=-1, keepdims=True),
    lambda m, c: np.concatenate([m[..., 1:, :], m[..., :1, :]], -2),
    lambda m, c: np.einsum("...ij,...kj->...ik", m, c),
    lambda m, c: np.tanh(m),
]


@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed):
    generator = np.random.default_rng(seed)
    n, stack = int(generator.integers(1, 6)), STACKS[seed % 2]
    chosen = generator.integers(0, len(STEPS), 5)
    a, c, t = generator.standard_normal((3, *stack, n, n))

    def function(m, other):
        for step in chosen:
            m = STEPS[step](m, other)
        return np.sum(np.sin(m))

    value, slope = gx.jit(gx.value_and_grad(function))(a, c)
    close(value, function(a, c))
    difference = (function(a + 1e-6 * t, c) - function(a - 1e-6 * t, c)) / 2e-6
    close(np.sum(slope * t), difference, 1e-6)
