"""custom_linear_solve, custom_root, fixed_point: both modes, higher orders, batches, compiled; against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors, lax
from gradxform.ir import check

A = np.array([[4.0, 1.0, -0.5], [0.3, 3.0, 0.2], [-0.7, 0.4, 5.0]])
S = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.2], [-0.5, 0.2, 5.0]])
B = np.array([1.0, -2.0, 0.5])
C = np.array([0.3, 0.7, -1.1])

WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, gx.jit], ids=["plain", "jit"])


def close(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Two pytrees of one structure with close values."""
    assert gx.tree.structure(found) == gx.tree.structure(expected)
    for a, b in zip(gx.tree.leaves(found), gx.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------------------- solvers


def conjugate_gradient(matvec: Callable[[Any], Any], b: Any) -> Any:
    """Hestenes and Stiefel's method, with a loop that ends when the residual is small."""

    def goes_on(state: Any) -> Any:
        _, _, _, square, count = state
        return (square > 1e-26 * np.sum(b * b)) & (count < 50)

    def step(state: Any) -> Any:
        x, r, p, square, count = state
        q = matvec(p)
        alpha = square / np.sum(p * q)
        x, r = x + alpha * p, r - alpha * q
        new = np.sum(r * r)
        return x, r, r + (new / square) * p, new, count + 1

    return lax.while_loop(goes_on, step, (0.0 * b, b, b, np.sum(b * b), 0))[0]


def elimination(matvec: Callable[[Any], Any], b: Any) -> Any:
    """Gauss's elimination without pivots, of the matrix that ``matvec`` applied to unit vectors gives."""
    n = b.shape[0]
    matrix = gx.numpy.stack([matvec(row) for row in np.eye(n)], 1)
    rows = [gx.numpy.concatenate([matrix[i], b[i : i + 1]]) for i in range(n)]
    for i in range(n):
        rows[i] = rows[i] / rows[i][i]
        for j in range(n):
            if j != i:
                rows[j] = rows[j] - rows[j][i] * rows[i]
    return gx.numpy.stack([row[n] for row in rows])


def symmetric(matrix: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda x: matrix @ x, b, conjugate_gradient, symmetric=True)


def general(matrix: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda x: matrix @ x, b, elimination, elimination)


# --------------------------------------------------------------------------------------------------- custom_linear_solve


@WRAPS
@pytest.mark.parametrize(("solve", "matrix"), [(symmetric, S), (general, A)], ids=["symmetric", "general"])
class TestLinearSolve:
    def test_value(self, solve: Any, matrix: Any, wrap: Any) -> None:
        close(wrap(solve)(matrix, B), np.linalg.solve(matrix, B))

    def test_forward_mode(self, solve: Any, matrix: Any, wrap: Any) -> None:
        x = np.linalg.solve(matrix, B)
        d = matrix @ matrix.T / 10 if solve is symmetric else matrix[::-1]
        expected = np.linalg.solve(matrix, C - d @ x)
        close(wrap(lambda m, b, dm, db: gx.jvp(solve, (m, b), (dm, db)))(matrix, B, d, C), (x, expected))
        close(wrap(gx.jacfwd(lambda b: solve(matrix, b)))(B), np.linalg.inv(matrix))

    def test_reverse_mode(self, solve: Any, matrix: Any, wrap: Any) -> None:
        x, y = np.linalg.solve(matrix, B), np.linalg.solve(matrix.T, C)
        close(wrap(gx.grad(lambda m, b: np.sum(C * solve(m, b)), argnums=(0, 1)))(matrix, B), (-np.outer(y, x), y))
        close(wrap(gx.jacrev(lambda b: solve(matrix, b)))(B), np.linalg.inv(matrix))

    def test_second_order(self, solve: Any, matrix: Any, wrap: Any) -> None:
        """phi(t) = c . (A + t D)^-1 b has phi'' = 2 c . A^-1 D A^-1 D A^-1 b."""
        d = np.diag([1.0, 2.0, -1.0])
        inverse = np.linalg.inv(matrix)
        expected = 2 * C @ inverse @ d @ inverse @ d @ inverse @ B
        phi = lambda t: np.sum(C * solve(matrix + t * d, B))  # noqa: E731
        for outer in (gx.jacfwd, gx.jacrev):
            for inner in (gx.jacfwd, gx.jacrev):
                close(wrap(outer(inner(phi)))(0.0), expected)

    def test_batches(self, solve: Any, matrix: Any, wrap: Any) -> None:
        right = np.stack([B, C, B + C, 0.0 * B])
        many = np.stack([matrix, matrix + np.eye(3), 2 * matrix, matrix])
        close(wrap(gx.vmap(solve, in_axes=(None, 0)))(matrix, right), np.linalg.solve(matrix, right.T).T)
        close(wrap(gx.vmap(solve))(many, right), np.linalg.solve(many, right[..., None])[..., 0])
        close(wrap(gx.vmap(solve, in_axes=(0, None)))(many, B), np.linalg.solve(many, B))

    def test_derivatives_of_batches_and_batches_of_derivatives(self, solve: Any, matrix: Any, wrap: Any) -> None:
        many = np.stack([matrix, matrix + np.eye(3)])
        gradient = gx.grad(lambda m, b: np.sum(C * solve(m, b)), argnums=(0, 1))
        y, x = np.linalg.solve(np.swapaxes(many, 1, 2), C), np.linalg.solve(many, B)
        expected = -y[:, :, None] * x[:, None, :]
        close(wrap(gx.vmap(gradient, in_axes=(0, None)))(many, B), (expected, y))
        total = gx.grad(lambda m, b: np.sum(C * gx.vmap(solve, in_axes=(0, None))(m, b)), argnums=(0, 1))
        close(wrap(total)(many, B), (expected, np.sum(y, 0)))


def test_the_solver_is_not_differentiated() -> None:
    """A solver whose code has another derivative than what it solves."""

    def solve(matvec: Any, b: Any) -> Any:
        return np.round(1e6 * b / matvec(1.0)) / 1e6  # derivative zero, as rounding has

    f = lambda b, a: lax.custom_linear_solve(lambda x: a * x, b, solve, solve)  # noqa: E731
    close(gx.grad(f, argnums=(0, 1))(3.0, 2.0), (0.5, -0.75), 1e-6)
    close(gx.jacfwd(f, argnums=(0, 1))(3.0, 2.0), (0.5, -0.75), 1e-6)


def test_constants_of_the_solver_have_no_derivative() -> None:
    def f(b: Any, preconditioner: Any) -> Any:
        def solve(matvec: Any, b: Any) -> Any:
            return preconditioner * (b / matvec(preconditioner))

        return lax.custom_linear_solve(lambda x: 2.0 * x, b, solve, solve)

    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(f, argnums=(0, 1)))(3.0, 5.0), (0.5, 0.0))


@WRAPS
def test_trees_with_tangents_in_some_leaves(wrap: Any) -> None:
    """x + a y = p, y = q: one leaf of the right-hand side is differentiated, or only the matrix."""

    def f(a: Any, p: Any, q: Any) -> Any:
        def solve(matvec: Any, b: Any) -> Any:
            return {"x": b["x"] - a * b["y"], "y": b["y"]}

        def transpose_solve(vecmat: Any, b: Any) -> Any:
            return {"x": b["x"], "y": b["y"] - a * b["x"]}

        found = lax.custom_linear_solve(
            lambda v: {"x": v["x"] + a * v["y"], "y": v["y"]}, {"x": p, "y": q}, solve, transpose_solve)
        return found["x"] * found["x"] + 3.0 * found["y"]

    a, p, q = 2.0, 5.0, 1.5
    x = p - a * q
    expected = (-2 * x * q, 2 * x, -2 * x * a + 3)
    for argnums in (0, 1, 2):
        close(wrap(gx.grad(f, argnums=argnums))(a, p, q), expected[argnums])
        close(wrap(gx.jacfwd(f, argnums=argnums))(a, p, q), expected[argnums])
    close(wrap(gx.grad(f, argnums=(0, 1, 2)))(a, p, q), expected)
    hessian = ((2 * q * q, -2 * q, -2 * x + 2 * a * q), (-2 * q, 2.0, -2 * a), (-2 * x + 2 * a * q, -2 * a, 2 * a * a))
    close(wrap(gx.hessian(f, argnums=(0, 1, 2)))(a, p, q), hessian)
    close(wrap(gx.jacrev(gx.jacrev(f, argnums=(0, 1, 2)), argnums=(0, 1, 2)))(a, p, q), hessian)


@WRAPS
def test_auxiliary_results(wrap: Any) -> None:
    def solve(matvec: Any, b: Any) -> Any:
        x = b / matvec(1.0)
        return x, {"residual": matvec(x) - b, "count": 3}

    f = lambda a: lax.custom_linear_solve(lambda x: a * x, 6.0, solve, symmetric=True, has_aux=True)  # noqa: E731
    value, auxiliary = wrap(f)(2.0)
    close(value, 3.0)
    assert auxiliary["count"] == 3
    gradient, auxiliary = wrap(gx.grad(f, has_aux=True))(2.0)
    close(gradient, -1.5)
    close(wrap(gx.vmap(f))(np.array([1.0, 2.0]))[0], np.array([6.0, 3.0]))
    close(wrap(gx.hessian(lambda a: f(a)[0]))(2.0), 1.5)


def test_forward_mode_needs_no_transposed_solver() -> None:
    f = lambda a: lax.custom_linear_solve(lambda x: a * x, 6.0, lambda m, b: b / m(1.0))  # noqa: E731
    close(gx.jacfwd(gx.jacfwd(f))(2.0), 1.5)
    with pytest.raises(errors.NotDifferentiableError, match="pass transpose_solve="):
        gx.grad(f)(2.0)


def test_plain_arguments_call_the_solver_as_it_is() -> None:
    def f(matrix: Any, b: Any) -> Any:
        return lax.custom_linear_solve(lambda x: matrix @ x, b, lambda matvec, b: np.linalg.solve(matrix, b))

    close(f(A, B), np.linalg.solve(A, B))


# --------------------------------------------------------------------------------------------------------- custom_root


def newton(f: Callable[[Any], Any], x: Any) -> Any:
    """Newton's method for one unknown, until the step is small."""

    def goes_on(state: Any) -> Any:
        _, step, count = state
        return (np.abs(step) > 1e-14) & (count < 60)

    def advance(state: Any) -> Any:
        x, _, count = state
        value, slope = gx.jvp(f, (x,), (np.ones_like(x),))
        step = value / slope
        return x - step, step, count + 1

    return lax.while_loop(goes_on, advance, (x, 1.0, 0))[0]


def divide(g: Callable[[Any], Any], y: Any) -> Any:
    return y / g(1.0)


def square_root(a: Any) -> Any:
    return lax.custom_root(lambda x: x * x - a, 1.0 + 0.0 * a, newton, divide)


@WRAPS
def test_newtons_square_root(wrap: Any) -> None:
    a = 2.7
    close(wrap(square_root)(a), np.sqrt(a))
    close(wrap(gx.grad(square_root))(a), 0.5 / np.sqrt(a))
    close(wrap(lambda x: gx.jvp(square_root, (x,), (2.0,)))(a), (np.sqrt(a), 1 / np.sqrt(a)))
    for outer in (gx.jacfwd, gx.jacrev):
        for inner in (gx.jacfwd, gx.jacrev):
            close(wrap(outer(inner(square_root)))(a), -0.25 * a**-1.5)
    close(wrap(gx.grad(gx.grad(gx.grad(square_root))))(a), 0.375 * a**-2.5)
    many = np.array([0.5, 2.0, 9.0])
    close(wrap(gx.vmap(square_root))(many), np.sqrt(many))
    close(wrap(gx.vmap(gx.grad(square_root)))(many), 0.5 / np.sqrt(many))
    close(wrap(gx.grad(lambda x: np.sum(gx.vmap(square_root)(x))))(many), 0.5 / np.sqrt(many))
    close(wrap(gx.vmap(gx.hessian(square_root)))(many), -0.25 * many**-1.5)


def circle_and_line(parameters: Any) -> Any:
    """The point of a circle of radius r on the line y = k x."""

    def f(point: Any) -> Any:
        x, y = point["x"], point["y"]
        return {"x": x * x + y * y - parameters["r"] ** 2, "y": y - parameters["k"] * x}

    def solve(f: Any, point: Any) -> Any:
        def step(_: Any, point: Any) -> Any:
            x, y = point["x"], point["y"]
            value = f(point)
            # The inverse of [[2x, 2y], [-k, 1]]
            k = parameters["k"]
            determinant = 2 * x + 2 * y * k
            dx = (value["x"] - 2 * y * value["y"]) / determinant
            dy = (k * value["x"] + 2 * x * value["y"]) / determinant
            return {"x": x - dx, "y": y - dy}

        return lax.fori_loop(0, 30, step, point)

    def tangent_solve(g: Any, y: Any) -> Any:
        first, second = g({"x": 1.0, "y": 0.0}), g({"x": 0.0, "y": 1.0})
        determinant = first["x"] * second["y"] - second["x"] * first["y"]
        return {"x": (second["y"] * y["x"] - second["x"] * y["y"]) / determinant,
                "y": (first["x"] * y["y"] - first["y"] * y["x"]) / determinant}

    return lax.custom_root(f, {"x": 1.0, "y": 1.0}, solve, tangent_solve)


@WRAPS
def test_systems_and_trees(wrap: Any) -> None:
    r, k = 2.0, 0.7
    n = np.sqrt(1 + k * k)
    found = wrap(circle_and_line)({"r": r, "k": k})
    close(found, {"x": r / n, "y": r * k / n})
    dx, dy = {"r": 1 / n, "k": -r * k / n**3}, {"r": k / n, "k": r / n**3}
    for jacobian in (gx.jacfwd, gx.jacrev):
        close(wrap(jacobian(circle_and_line))({"r": r, "k": k}), {"x": dx, "y": dy})
    second = {"r": {"r": 0.0, "k": -k / n**3}, "k": {"r": -k / n**3, "k": -r / n**3 + 3 * r * k * k / n**5}}
    close(wrap(gx.hessian(lambda p: circle_and_line(p)["x"]))({"r": r, "k": k}), second)


def test_the_guess_has_no_derivative_and_the_path_neither() -> None:
    def f(a: Any, guess: Any) -> Any:
        return lax.custom_root(lambda x: x**3 - a, guess, newton, divide)

    close(gx.grad(f, argnums=(0, 1))(8.0, 1.5), (1 / 12, 0.0))
    close(gx.jit(gx.grad(f, argnums=(0, 1)))(8.0, 1.5), (1 / 12, 0.0))


def test_solvers_of_plain_python_where_values_are_known() -> None:
    def bisection(f: Any, x: Any) -> Any:
        low, high = x - 2.0, x + 2.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            if f(middle) > 0:
                high = middle
            else:
                low = middle
        return 0.5 * (low + high)

    f = lambda a: lax.custom_root(lambda x: x**3 - a, 1.5, bisection, divide)  # noqa: E731
    close(f(2.0), np.cbrt(2.0))
    close(gx.grad(f)(2.0), 1 / (3 * np.cbrt(4.0)))
    close(gx.grad(gx.grad(f))(2.0), -2 / 9 * 2.0 ** (-5 / 3))


@WRAPS
def test_iterative_tangent_solver(wrap: Any) -> None:
    """x + tanh(M x) = b, with custom_linear_solve for the tangents."""
    m = 0.3 * A / np.linalg.norm(A)

    def find(b: Any) -> Any:
        def f(x: Any) -> Any:
            return x + np.tanh(m @ x) - b

        def solve(f: Any, x: Any) -> Any:
            return lax.fori_loop(0, 80, lambda _, x: x - f(x), x)

        def tangent_solve(g: Any, y: Any) -> Any:
            def iterate(matvec: Any, y: Any) -> Any:
                return lax.fori_loop(0, 80, lambda _, t: t + (y - matvec(t)), y)

            return lax.custom_linear_solve(g, y, iterate, iterate)

        return lax.custom_root(f, np.zeros(3), solve, tangent_solve)

    x = wrap(find)(B)
    close(x + np.tanh(m @ x), B)
    s = 1 / np.cosh(m @ x) ** 2
    inverse = np.linalg.inv(np.eye(3) + s[:, None] * m)
    close(wrap(gx.jacfwd(find))(B), inverse)
    close(wrap(gx.jacrev(find))(B), inverse)
    # From differentiating J(x) x' = I once more: x_i'' = -sum_k inverse[i, k] * tanh''((M x)_k) * (M x')_k (M x')_k
    curvature = -2 * np.tanh(m @ x) * s
    moved = m @ inverse
    expected = -np.einsum("ik,k,kp,kq->ipq", inverse, curvature, moved, moved)
    close(wrap(gx.jacfwd(gx.jacrev(find)))(B), expected)
    close(wrap(gx.jacrev(gx.jacrev(find)))(B), expected)
    close(wrap(gx.jacrev(gx.jacfwd(find)))(B), expected)


@WRAPS
def test_auxiliary_results_of_roots(wrap: Any) -> None:
    def solve(f: Any, x: Any) -> Any:
        x = lax.fori_loop(0, 30, lambda _, x: 0.5 * (x - f(x) / x + x), x)
        return x, (f(x), 30)

    f = lambda a: lax.custom_root(lambda x: x * x - a, 1.0, solve, divide, has_aux=True)  # noqa: E731
    value, (error, count) = wrap(f)(4.0)
    close((value, error), (2.0, 0.0))
    assert count == 30
    close(wrap(gx.grad(lambda a: f(a)[0]))(4.0), 0.25)
    close(wrap(gx.vmap(gx.grad(lambda a: f(a)[0])))(np.array([1.0, 4.0])), np.array([0.5, 0.25]))


# --------------------------------------------------------------------------------------------------------- fixed_point


def kepler(mean: Any, eccentricity: Any) -> Any:
    """Kepler's equation E = M + e sin E."""
    return lax.fixed_point(lambda x, m, e: m + e * np.sin(x), mean, mean, eccentricity)


@WRAPS
def test_keplers_equation(wrap: Any) -> None:
    m, e = 1.1, 0.4
    x = m
    for _ in range(200):
        x = m + e * np.sin(x)
    d = 1 - e * np.cos(x)
    close(wrap(kepler)(m, e), x)
    first = (1 / d, np.sin(x) / d)
    close(wrap(gx.grad(kepler, argnums=(0, 1)))(m, e), first)
    close(wrap(gx.jacfwd(kepler, argnums=(0, 1)))(m, e), first)
    of_m = -e * np.sin(x) / d**3
    mixed = (np.cos(x) / d) / d - np.sin(x) / d * (e * np.sin(x)) / d**2
    of_e = 2 * np.sin(x) * np.cos(x) / d**2 - np.sin(x) ** 2 * e * np.sin(x) / d**3
    for outer in (gx.jacfwd, gx.jacrev):
        for inner in (gx.jacfwd, gx.jacrev):
            close(wrap(outer(inner(kepler, argnums=(0, 1)), argnums=(0, 1)))(m, e), ((of_m, mixed), (mixed, of_e)), 1e-8)
    many = np.array([0.1, 1.1, 3.0])
    found = wrap(gx.vmap(kepler, in_axes=(0, None)))(many, e)
    close(found, many + e * np.sin(found))
    close(wrap(gx.vmap(gx.grad(kepler), in_axes=(0, None)))(many, e), 1 / (1 - e * np.cos(found)))


@WRAPS
def test_fixed_points_of_systems_against_differences(wrap: Any) -> None:
    def layer(state: Any, w: Any, b: Any) -> Any:
        return {"z": np.tanh(w @ state["z"] + b)}

    def loss(w: Any, b: Any) -> Any:
        return np.sum(C * lax.fixed_point(layer, {"z": np.zeros(3)}, w, b)["z"])

    def plain(w: Any, b: Any) -> Any:
        z = np.zeros(3)
        for _ in range(300):
            z = np.tanh(w @ z + b)
        return np.sum(C * z)

    w = 0.5 * A / np.linalg.norm(A)
    gradient_w, gradient_b = wrap(gx.grad(loss, argnums=(0, 1)))(w, B)
    step = 1e-6
    for i in range(3):
        d = step * np.eye(3)[i]
        assert gradient_b[i] == pytest.approx((plain(w, B + d) - plain(w, B - d)) / (2 * step), abs=1e-8)
        for j in range(3):
            d = step * np.outer(np.eye(3)[i], np.eye(3)[j])
            assert gradient_w[i, j] == pytest.approx((plain(w + d, B) - plain(w - d, B)) / (2 * step), abs=1e-8)


def test_closed_over_values_are_differentiated() -> None:
    f = lambda a: lax.fixed_point(lambda x: 0.5 * (x + a / x), 1.0)  # noqa: E731
    close(f(2.0), np.sqrt(2.0))
    close(gx.grad(f)(2.0), 0.5 / np.sqrt(2.0))
    close(gx.grad(lambda x0: lax.fixed_point(lambda x: 0.5 * (x + 2.0 / x), x0))(1.0), 0.0)


def test_own_solvers() -> None:
    """x = a x (1 - x), whose fixed point 1 - 1/a the plain iteration does not find for a = 3.5."""

    def solver(step: Any, x: Any) -> Any:
        for _ in range(30):
            value, slope = gx.jvp(lambda x: step(x) - x, (x,), (1.0,))
            x = x - value / slope
        return x

    f = lambda a: lax.fixed_point(  # noqa: E731
        lambda x, a: a * x * (1 - x), 0.6, a, solver=solver, linear_solver=lambda g, y: y / g(1.0))
    for wrap in (lambda g: g, gx.jit):
        close(wrap(f)(3.5), 1 - 1 / 3.5)
        close(wrap(gx.grad(f))(3.5), 1 / 3.5**2)
        close(wrap(gx.hessian(f))(3.5), -2 / 3.5**3)


def test_what_does_not_converge_is_nan() -> None:
    f = lambda a: lax.fixed_point(lambda x, a: a * x * (1 - x), 0.6, a, max_iterations=50)  # noqa: E731
    assert np.isnan(f(3.5))
    assert np.isnan(gx.jit(f)(3.5))
    close(f(2.5), 0.6)


def test_float32() -> None:
    found = lax.fixed_point(lambda x: np.cos(x), np.float32(1.0))
    assert found.dtype == np.float32
    assert found == pytest.approx(0.7390851, abs=1e-5)
    assert isinstance(found, np.float32)


# --------------------------------------------------------------------------------------------------------------- programs


def test_programs_keep_to_the_grammar() -> None:
    for f, arguments in ((symmetric, (S, B)), (general, (A, B)), (square_root, (2.0,)), (kepler, (1.1, 0.4))):
        for transformed in (f, gx.jacfwd(f), gx.jacrev(f), gx.vmap(f, in_axes=(0,) + (None,) * (len(arguments) - 1))):
            given = arguments if not transformed.__name__.startswith("vmap") else (np.stack([arguments[0]] * 2), *arguments[1:])
            program = check(gx.make_ir(transformed)(*given))
            assert str(program) == str(gx.make_ir(transformed)(*given))


# ------------------------------------------------------------------------------------------------------------ bad input


def traced(function: Callable[[Any], Any], value: Any = 1.0) -> Callable[[], Any]:
    """``function`` called under a transform."""
    return lambda: gx.jvp(function, (value,), (value,))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lax.custom_root(1, 1.0, newton, divide), errors.ArgumentTypeError, "custom_root: f must be a function, got 1"),
        (lambda: lax.custom_linear_solve(np.sin, 1.0, None), errors.ArgumentTypeError, "solve must be a function, got None"),
        (lambda: lax.custom_linear_solve(np.sin, 1.0, np.sin, 2), errors.ArgumentTypeError, "transpose_solve must be"),
        (lambda: lax.fixed_point(2, 1.0), errors.ArgumentTypeError, "fixed_point: f must be a function"),
        (lambda: lax.fixed_point(np.cos, 1.0, tolerance=-1.0), errors.ArgumentError, "tolerance must not be negative"),
        (lambda: lax.fixed_point(np.cos, 1.0, max_iterations=0), errors.ArgumentError, "max_iterations must be positive"),
        (lambda: lax.fixed_point(np.cos, 1), errors.NotDifferentiableError, "x_init must have a float dtype, got i64"),
        (traced(lambda a: lax.custom_root(lambda x: (x, a), 1.0, newton, divide)), errors.TreeError,
         r"f \(<lambda>\) must give a result of the structure"),
        (traced(lambda a: lax.custom_root(lambda x: x * np.ones(2), 1.0, newton, divide)), errors.ShapeError,
         r"f .* must give a result of type f64\[\], got f64\[2\]"),
        (traced(lambda a: lax.custom_root(lambda x: x - a, 1.0, lambda f, x: (x, x), divide)), errors.TreeError,
         "solve must give a result of the structure"),
        (traced(lambda a: lax.custom_root(lambda x: x - a, 1.0, newton, lambda g, y: np.float64(1.0))),
         errors.NotDifferentiableError, "tangent_solve does not depend on y"),
        (traced(lambda a: lax.custom_root(lambda x: x - a, 1.0, lambda f, x: x, divide, has_aux=True)),
         errors.ArgumentTypeError, r"must return a pair \(solution, auxiliary\)"),
        (traced(lambda a: lax.custom_linear_solve(lambda x: (x, x), a, divide)), errors.TreeError, "matvec .* structure"),
        (traced(lambda a: lax.custom_linear_solve(lambda x: a * x, 1, divide)), errors.NotDifferentiableError,
         "b must have a float dtype, got i64"),
        (traced(lambda a: lax.custom_linear_solve(lambda x: x * x + a, a, divide, divide)),
         errors.NotDifferentiableError, "linear"),
        (traced(lambda a: lax.fixed_point(lambda x: (x, a), 1.0)), errors.TreeError, r"f \(<lambda>\) must give a result"),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
