"""Functions with rules of their own: custom_jvp, custom_vjp, custom_rule, closure_convert."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors
from gradxform.ir import check

X = np.array([0.3, -1.2, 2.0])


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Two pytrees of one structure with close values."""
    assert gx.tree.structure(found) == gx.tree.structure(expected)
    for a, b in zip(gx.tree.leaves(found), gx.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def by_jvp() -> Callable[..., Any]:
    """log(1 + exp x), whose rule is correct where its own code gives infinity over infinity."""

    @gx.custom_jvp
    def log1pexp(x: Any) -> Any:
        return np.log1p(np.exp(x))

    @log1pexp.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return log1pexp(x), t * (1 - 1 / (1 + np.exp(x)))

    return log1pexp


def by_jvps() -> Callable[..., Any]:
    @gx.custom_jvp
    def log1pexp(x: Any) -> Any:
        return np.log1p(np.exp(x))

    log1pexp.defjvps(lambda t, y, x: t * (1 - 1 / (1 + np.exp(x))))
    return log1pexp


def by_vjp() -> Callable[..., Any]:
    @gx.custom_vjp
    def log1pexp(x: Any) -> Any:
        return np.log1p(np.exp(x))

    log1pexp.defvjp(lambda x: (log1pexp(x), x), lambda x, ct: (ct * (1 - 1 / (1 + np.exp(x))),))
    return log1pexp


def by_both() -> Callable[..., Any]:
    @gx.custom_rule
    def log1pexp(x: Any) -> Any:
        return np.log1p(np.exp(x))

    @log1pexp.jvp
    def rule(primals: Any, tangents: Any) -> Any:
        return log1pexp(*primals), tangents[0] * (1 - 1 / (1 + np.exp(primals[0])))

    log1pexp.vjp(lambda x: (log1pexp(x), x), lambda x, ct: (ct * (1 - 1 / (1 + np.exp(x))),))
    return log1pexp


def by_batch_too() -> Callable[..., Any]:
    log1pexp = by_both()
    log1pexp.batch(lambda size, in_batched, x: (np.log1p(np.exp(x)), True))  # type: ignore[attr-defined]
    return log1pexp


WAYS = [by_jvp, by_jvps, by_vjp, by_both, by_batch_too]


# ------------------------------------------------------------------------------------- every transform, every way of rule


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrap", [lambda f: f, gx.jit], ids=["plain", "jit"])
class TestEveryTransform:
    def test_value(self, way: Any, wrap: Any) -> None:
        assert wrap(way())(0.5) == pytest.approx(np.log1p(np.exp(0.5)))

    def test_derivative_where_the_plain_one_is_nan(self, way: Any, wrap: Any) -> None:
        with np.errstate(over="ignore"):
            close(wrap(gx.grad(way()))(800.0), 1.0)

    def test_grad(self, way: Any, wrap: Any) -> None:
        close(wrap(gx.grad(way()))(0.5), sigmoid(0.5))

    def test_jvp(self, way: Any, wrap: Any) -> None:
        close(wrap(lambda x, t: gx.jvp(way(), (x,), (t,)))(X, 2 * X), (np.log1p(np.exp(X)), 2 * X * sigmoid(X)))

    def test_vjp(self, way: Any, wrap: Any) -> None:
        close(wrap(lambda x, ct: gx.vjp(way(), x)[1](ct))(X, 2 * X), (2 * X * sigmoid(X),))

    def test_vmap(self, way: Any, wrap: Any) -> None:
        close(wrap(gx.vmap(way()))(X), np.log1p(np.exp(X)))
        close(wrap(gx.vmap(gx.vmap(way())))(np.stack([X, X])), np.log1p(np.exp(np.stack([X, X]))))

    def test_derivative_and_vmap_in_both_orders(self, way: Any, wrap: Any) -> None:
        close(wrap(gx.vmap(gx.grad(way())))(X), sigmoid(X))
        close(wrap(gx.grad(lambda x: np.sum(gx.vmap(way())(x))))(X), sigmoid(X))
        close(wrap(lambda x: gx.jvp(gx.vmap(way()), (x,), (x,))[1])(X), X * sigmoid(X))
        close(wrap(lambda x: gx.vmap(lambda a: gx.jvp(way(), (a,), (a,))[1])(x))(X), X * sigmoid(X))

    def test_second_order_in_all_combinations(self, way: Any, wrap: Any) -> None:
        expected = sigmoid(0.5) * (1 - sigmoid(0.5))
        for outer in (gx.jacfwd, gx.jacrev):
            for inner in (gx.jacfwd, gx.jacrev):
                close(wrap(outer(inner(way())))(0.5), expected)

    def test_third_order(self, way: Any, wrap: Any) -> None:
        s = sigmoid(0.5)
        for outer, middle, inner in ((gx.grad, gx.grad, gx.grad), (gx.jacfwd, gx.jacfwd, gx.jacfwd),
                                     (gx.grad, gx.jacfwd, gx.grad), (gx.jacfwd, gx.grad, gx.jacfwd)):
            close(wrap(outer(middle(inner(way()))))(0.5), s * (1 - s) * (1 - 2 * s))

    def test_hessian_of_a_batch(self, way: Any, wrap: Any) -> None:
        expected = np.diag(sigmoid(X) * (1 - sigmoid(X)))
        close(wrap(gx.hessian(lambda x: np.sum(gx.vmap(way())(x))))(X), expected)


@pytest.mark.parametrize("way", WAYS)
def test_programs_keep_to_the_grammar(way: Any) -> None:
    f = way()
    for transformed in (f, gx.grad(f), gx.jacfwd(f), gx.vmap(f), gx.vmap(gx.grad(f)), gx.hessian(f)):
        argument = X if "vmap" in transformed.__name__ else 0.5
        program = check(gx.make_ir(transformed)(argument))
        assert str(program) == str(gx.make_ir(transformed)(argument))


# ---------------------------------------------------------------------------------------------------------- custom_jvp


def test_the_rule_is_used_and_not_the_code() -> None:
    @gx.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defjvp(lambda primals, tangents: (f(*primals), 7.0 * tangents[0] + 11.0 * tangents[1]))
    assert gx.grad(f, argnums=(0, 1))(2.0, 3.0) == (7.0, 11.0)
    assert gx.jvp(f, (2.0, 3.0), (1.0, 1.0)) == (6.0, 18.0)
    assert gx.vmap(gx.grad(f), in_axes=(0, None))(X, 3.0).tolist() == [7.0] * 3


def test_defjvps_skips_what_has_no_rule_or_no_tangent() -> None:
    called = []

    @gx.custom_jvp
    def f(x: Any, y: Any, z: Any) -> Any:
        return x * y * z

    def of_x(t: Any, out: Any, x: Any, y: Any, z: Any) -> Any:
        called.append("x")
        return t * out / x

    def of_y(t: Any, out: Any, x: Any, y: Any, z: Any) -> Any:
        called.append("y")
        return t * x * z

    f.defjvps(of_x, of_y, None)
    close(gx.grad(f)(2.0, 3.0, 5.0), 15.0)
    assert called == ["x"]
    close(gx.grad(f, argnums=(0, 1, 2))(2.0, 3.0, 5.0), (15.0, 10.0, 0.0))
    close(gx.grad(f, argnums=2)(2.0, 3.0, 5.0), 0.0)


def test_trees_keywords_and_defaults() -> None:
    @gx.custom_jvp
    def f(parameters: Any, scale: Any = 2.0) -> Any:
        return {"sum": scale * (parameters["a"] + parameters["b"][0]), "product": parameters["a"] * parameters["b"][0]}

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        parameters, scale = primals
        dp, ds = tangents
        a, (b,) = parameters["a"], parameters["b"]
        return f(parameters, scale), {
            "sum": scale * (dp["a"] + dp["b"][0]) + ds * (a + b), "product": dp["a"] * b + a * dp["b"][0]}

    def scalar(parameters: Any, **options: Any) -> Any:
        out = f(parameters, **options)
        return out["sum"] + 10 * out["product"]

    close(gx.grad(scalar)({"a": 2.0, "b": [3.0]}), {"a": 32.0, "b": [22.0]})
    close(gx.grad(scalar)({"a": 2.0, "b": [3.0]}, scale=5.0), {"a": 35.0, "b": [25.0]})


def test_integer_arguments_and_results() -> None:
    seen = []

    @gx.custom_jvp
    def f(x: Any, n: Any) -> Any:
        return x**n, n + 1

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x, n), (t, dn) = primals, tangents
        seen.append(dn.dtype)
        return f(x, n), (n * x ** (n - 1) * t, dn)

    close(gx.grad(lambda x, n: f(x, n)[0])(2.0, 3), 12.0)
    close(gx.jit(gx.grad(lambda x, n: f(x, n)[0]))(2.0, 3), 12.0)
    assert set(seen) == {gx.float0}


def test_static_arguments_may_be_functions() -> None:
    @partial(gx.custom_jvp, nondiff_argnums=(0, 2))
    def apply(function: Any, x: Any, count: int) -> Any:
        for _ in range(count):
            x = function(x)
        return x

    @apply.defjvp
    def rule(function: Any, count: int, primals: Any, tangents: Any) -> Any:
        return apply(function, *primals, count), 100.0 * count * tangents[0]

    close(gx.grad(lambda x: apply(np.sin, x, 3))(0.5), 300.0)
    close(gx.jit(gx.grad(lambda x: apply(np.sin, x, count=3)))(0.5), 300.0)
    assert apply(np.sin, 0.5, 2) == np.sin(np.sin(0.5))


def test_static_arguments_that_are_traced_have_no_derivative() -> None:
    @partial(gx.custom_jvp, nondiff_argnums=1)
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defjvp(lambda y, primals, tangents: (primals[0] * y, tangents[0] * y))
    close(gx.grad(f, argnums=(0, 1))(2.0, 3.0), (3.0, 0.0))
    close(gx.jit(gx.grad(f))(2.0, 3.0), 3.0)
    close(gx.grad(gx.jit(f))(2.0, 3.0), 3.0)
    close(gx.vmap(gx.grad(f))(X, 2 * X), 2 * X)


def test_names_of_static_arguments() -> None:
    @partial(gx.custom_jvp, nondiff_argnames="power")
    def f(x: Any, power: int) -> Any:
        return x**power

    f.defjvp(lambda power, primals, tangents: (f(*primals, power), 50.0 * tangents[0]))
    close(gx.grad(f)(2.0, 3), 50.0)


def test_rules_may_hold_arrays() -> None:
    table = np.array([1.0, 10.0, 100.0])

    @gx.custom_jvp
    def f(x: Any) -> Any:
        return np.sum(x)

    f.defjvp(lambda primals, tangents: (f(*primals), np.sum(table * tangents[0])))
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(f))(X), table)
        close(wrap(gx.vmap(gx.grad(f)))(np.stack([X, X])), np.stack([table, table]))
        close(wrap(gx.hessian(lambda x: f(x * x)))(X), np.diag(2 * table))
    jitted = gx.jit(gx.grad(f))
    close(jitted(X), table)
    table[:] = 0.0  # as any value that a compiled function closes over, it is that of the time of tracing
    close(jitted(X), np.array([1.0, 10.0, 100.0]))


def test_the_function_may_close_over_what_is_not_differentiated() -> None:
    def outer(x: Any, w: Any) -> Any:
        @gx.custom_jvp
        def f(x: Any) -> Any:
            return w * x

        f.defjvp(lambda primals, tangents: (f(*primals), 2 * w * tangents[0]))
        return f(x)

    close(gx.grad(outer)(2.0, 3.0), 6.0)
    close(gx.jit(gx.grad(outer))(2.0, 3.0), 6.0)
    close(gx.vmap(outer)(X, 2 * X), 2 * X * X)
    with pytest.raises(errors.NotDifferentiableError, match=r"f, which has a derivative rule of its own, closes over"):
        gx.grad(outer, argnums=1)(2.0, 3.0)


def test_choices_by_value_work_in_the_function_where_values_are_known() -> None:
    @gx.custom_jvp
    def f(x: Any) -> Any:
        return x if x > 0 else -2.0 * x

    f.defjvp(lambda primals, tangents: (f(*primals), np.where(primals[0] > 0, 1.0, -2.0) * tangents[0]))
    assert gx.grad(lambda x: 3 * x * f.fun(x))(-1.0) == 12.0
    with pytest.raises(errors.ConcretizationError):
        gx.jit(gx.grad(f))(1.0)


def test_symbolic_zeros_of_tangents() -> None:
    seen = []

    @gx.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return x * y

    def rule(primals: Any, tangents: Any) -> Any:
        seen.append([type(t) is gx.SymbolicZero for t in tangents])
        (x, y), (t, u) = primals, tangents
        return x * y, t * y if isinstance(u, gx.SymbolicZero) else t * y + x * u

    f.defjvp(rule, symbolic_zeros=True)
    close(gx.grad(f)(2.0, 3.0), 3.0)
    close(gx.grad(f, argnums=(0, 1))(2.0, 3.0), (3.0, 2.0))
    assert seen == [[False, True], [False, False]]


@pytest.mark.parametrize("zero", [lambda x: 0.0, lambda x: 0.0 * x, lambda x: np.zeros_like(x), lambda x: np.zeros(3)[0]])
def test_tangents_that_are_zero(zero: Any) -> None:
    f = gx.custom_jvp(lambda x: np.round(x))
    f.defjvp(lambda primals, tangents: (f(*primals), zero(primals[0])))
    assert gx.grad(lambda x: x + f(x))(1.7) == 1.0
    assert gx.jvp(f, (1.7,), (1.0,)) == (2.0, 0.0)
    assert gx.jit(gx.grad(f))(1.7) == 0.0


def test_rules_see_no_values() -> None:
    f = gx.custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], t[0] if p[0] > 0 else -t[0]))
    with pytest.raises(errors.ConcretizationError, match="while the jvp rule of <lambda> traces"):
        gx.grad(f)(1.0)


def test_float32_stays_float32() -> None:
    f = by_jvp()
    result = gx.grad(lambda x: np.sum(f(x)))(X.astype(np.float32))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, sigmoid(X), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------- custom_vjp


def clip_gradient() -> Callable[..., Any]:
    @partial(gx.custom_vjp, nondiff_argnums=(0, 1))
    def clipped(low: Any, high: Any, x: Any) -> Any:
        return x

    clipped.defvjp(lambda low, high, x: (x, None), lambda low, high, _, ct: (np.clip(ct, low, high),))
    return clipped


def test_gradient_clipping() -> None:
    clipped = clip_gradient()

    def loss(x: Any) -> Any:
        return np.sum(clipped(-1.0, 1.0, x) ** 3)

    expected = np.clip(3 * X * X, -1, 1)
    for wrap in (lambda f: f, gx.jit):
        close(wrap(gx.grad(loss))(X), expected)
        close(wrap(gx.vmap(gx.grad(lambda x: clipped(-1.0, 1.0, x) ** 3)))(X), expected)
        close(wrap(gx.hessian(loss))(0.1 * X), np.diag(0.6 * X))  # what is clipped there is nothing
    with pytest.raises(errors.NotDifferentiableError, match=r"forward mode of clipped needs a jvp rule: its backward"):
        gx.jvp(loss, (X,), (X,))
    with pytest.raises(errors.NotDifferentiableError, match=r"custom_rule\(clipped, jvp="):
        gx.jit(lambda x: gx.jvp(loss, (x,), (x,))[1])(X)
    with pytest.raises(errors.NotDifferentiableError, match="forward mode of clipped"):
        gx.jacfwd(gx.jacfwd(loss))(X)


def test_clipping_with_a_jvp_rule_works_both_ways() -> None:
    clipped = gx.custom_rule(
        lambda x: x, jvp=lambda primals, tangents: (primals[0], tangents[0]),
        vjp=(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),)))

    def loss(x: Any) -> Any:
        return 5.0 * clipped(x) ** 2

    for wrap in (lambda f: f, gx.jit):
        close(wrap(gx.grad(loss))(3.0), 1.0)
        close(wrap(gx.jacfwd(loss))(3.0), 30.0)
        close(wrap(gx.vmap(gx.grad(loss)))(X), np.clip(10 * X, -1, 1))
        close(wrap(gx.grad(lambda x: np.sum(gx.vmap(loss)(x))))(X), np.clip(10 * X, -1, 1))
        close(wrap(gx.jacfwd(gx.vmap(loss)))(X), np.diag(10 * X))


def two_arguments() -> Callable[..., Any]:
    @gx.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    f.defvjp(lambda x, y: (np.sin(x) * y, (np.cos(x), np.sin(x), y)), lambda r, ct: (r[0] * ct * r[2], r[1] * ct))
    return f


def test_forward_mode_follows_from_a_linear_backward_rule() -> None:
    f = two_arguments()
    x, y, t, u = 0.7, 1.3, 0.2, -0.4
    expected = np.cos(x) * y * t + np.sin(x) * u
    for wrap in (lambda g: g, gx.jit):
        close(wrap(lambda *a: gx.jvp(f, (a[0], a[1]), (a[2], a[3])))(x, y, t, u), (np.sin(x) * y, expected))
        close(wrap(lambda *a: gx.jvp(lambda b: f(b, a[1]), (a[0],), (a[2],))[1])(x, y, t), np.cos(x) * y * t)
        close(wrap(gx.jacfwd(gx.jacfwd(f, argnums=(0, 1)), argnums=(0, 1)))(x, y),
              ((-np.sin(x) * y, np.cos(x)), (np.cos(x), 0.0)))
        close(wrap(gx.jacrev(gx.jacfwd(f, argnums=(0, 1)), argnums=(0, 1)))(x, y),
              ((-np.sin(x) * y, np.cos(x)), (np.cos(x), 0.0)))
        close(wrap(gx.vmap(gx.jacfwd(f), in_axes=(0, None)))(X, y), np.cos(X) * y)
        close(wrap(lambda *a: gx.jvp(gx.vmap(f, in_axes=(0, None)), (a[0], a[1]), (a[0], a[1]))[1])(X, y),
              np.cos(X) * y * X + np.sin(X) * y)
    _, push = gx.linearize(f, x, y)
    close(push(t, u), expected)


def test_shared_arguments_of_lanes_get_the_sum() -> None:
    f = two_arguments()
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(lambda x, y: np.sum(gx.vmap(f, in_axes=(0, None))(x, y)), argnums=(0, 1)))(X, 1.3),
              (np.cos(X) * 1.3, np.sum(np.sin(X))))
        close(wrap(gx.grad(lambda x, y: np.sum(gx.vmap(f, in_axes=(None, 0))(x, y)), argnums=(0, 1)))(0.7, X),
              (np.cos(0.7) * np.sum(X), np.full(3, np.sin(0.7))))
        # batched outside, shared inside
        nested = gx.vmap(gx.grad(lambda x, y: np.sum(gx.vmap(f, in_axes=(0, None))(x, y)), argnums=1), in_axes=(None, 0))
        close(wrap(nested)(X, X), np.full(3, np.sum(np.sin(X))))


def test_the_transpose_of_the_derived_forward_mode_is_the_users_backward() -> None:
    @gx.custom_vjp
    def f(x: Any) -> Any:
        return x * x

    f.defvjp(lambda x: (x * x, x), lambda x, ct: (3.0 * x * ct,))  # not the derivative, to be told from it
    close(gx.jvp(f, (2.0,), (1.0,))[1], 6.0)
    # d/dt of the tangent with respect to the tangent: the backward rule again
    close(gx.grad(lambda t: gx.jvp(f, (2.0,), (t,))[1])(1.0), 6.0)
    close(gx.grad(lambda x: gx.jvp(f, (x,), (1.0,))[1])(2.0), 3.0)


def test_none_and_trees_of_cotangents() -> None:
    @gx.custom_vjp
    def f(a: Any, b: Any, n: Any) -> Any:
        return a["x"] * a["y"] + b[0] * n

    f.defvjp(lambda a, b, n: (f(a, b, n), (a, n)),
             lambda r, ct: ({"x": ct * r[0]["y"], "y": None}, None, None))
    close(gx.grad(f, argnums=(0, 1))({"x": 2.0, "y": 3.0}, (5.0, X), 2), ({"x": 3.0, "y": 0.0}, (0.0, np.zeros(3))))


def test_symbolic_zeros_of_custom_vjp() -> None:
    seen: list[Any] = []

    @gx.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y, x + y

    def fwd(x: Any, y: Any) -> Any:
        seen.append((x.perturbed, y.perturbed))
        return (x.value * y.value, x.value + y.value), (x.value, y.value)

    def bwd(residuals: Any, cts: Any) -> Any:
        x, y = residuals
        product, total = cts
        seen.append(isinstance(total, gx.SymbolicZero))
        total = total.instantiate() if isinstance(total, gx.SymbolicZero) else total
        return product * y + total, product * x + total

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    close(gx.grad(lambda x, y: f(x, y)[0])(2.0, 3.0), 3.0)
    assert seen[0] == (True, False)
    assert seen[-1] is True
    close(gx.grad(lambda x, y: sum(f(x, y)), argnums=(0, 1))(2.0, 3.0), (4.0, 3.0))
    assert seen[-1] is False


def test_residuals_may_be_arrays_of_the_rule_itself() -> None:
    weights = np.array([1.0, 2.0, 3.0])

    @gx.custom_vjp
    def f(x: Any) -> Any:
        return np.sum(x)

    f.defvjp(lambda x: (np.sum(x), weights), lambda w, ct: (ct * w * weights,))
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(f))(X), weights**2)
        close(wrap(lambda x: gx.jvp(f, (x,), (x,))[1])(X), np.sum(weights**2 * X))


def test_reverse_mode_ignores_paths_without_rules() -> None:
    f = clip_gradient()
    close(gx.grad(lambda x, y: f(-1.0, 1.0, x) * y, argnums=1)(2.0, 3.0), 2.0)


# --------------------------------------------------------------------------------------------------------- custom_rule


def test_batch_rules_are_used() -> None:
    calls: list[Any] = []

    @gx.custom_rule
    def f(x: Any, y: Any) -> Any:
        return x + y

    @f.batch
    def rule(axis_size: int, in_batched: Any, x: Any, y: Any) -> Any:
        calls.append((axis_size, in_batched, x.shape, y.shape))
        return 100.0 * x + y, True

    close(gx.vmap(f, in_axes=(0, None))(X, 1.0), 100 * X + 1)
    close(gx.jit(gx.vmap(f, in_axes=(0, None)))(X, 1.0), 100 * X + 1)
    assert calls[0] == (3, [True, False], (3,), ())
    assert f(1.0, 2.0) == 3.0
    close(gx.grad(f)(1.0, 2.0), 1.0)  # no derivative rule: its own code
    close(gx.grad(lambda x: np.sum(gx.vmap(f, in_axes=(0, None))(x, 1.0)))(X), np.full(3, 100.0))


def test_batch_rules_with_trees_and_results_without_lanes() -> None:
    @gx.custom_rule
    def f(x: Any) -> Any:
        return {"double": 2 * x["a"], "constant": 1.0}

    f.batch(lambda size, in_batched, x: ({"double": 2 * x["a"], "constant": 1.0}, {"double": True, "constant": False}))
    close(gx.vmap(f)({"a": X}), {"double": 2 * X, "constant": np.ones(3)})


def test_batch_rule_beside_derivatives() -> None:
    f = gx.custom_rule(lambda x: x * x, jvp=lambda p, t: (p[0] * p[0], 5.0 * t[0] * p[0]),
                       batch=lambda size, in_batched, x: (10.0 * x, True))
    value, tangent = gx.jvp(gx.vmap(f), (X,), (np.ones(3),))
    close(value, X * X)  # the derivative rule gives the value too, as it does for each lane
    close(tangent, 5 * X)
    close(gx.vmap(f)(X), 10 * X)
    close(gx.grad(lambda x: np.sum(gx.vmap(f)(x)))(X), 5 * X)


def test_decorator_with_options() -> None:
    @gx.custom_rule(nondiff_argnums=(1,), jvp=lambda n, p, t: (p[0] ** n, 9.0 * t[0]))
    def power(x: Any, n: int) -> Any:
        return x**n

    close(gx.grad(power)(2.0, 3), 9.0)

    @gx.custom_jvp(nondiff_argnums=1)
    def again(x: Any, n: int) -> Any:
        return x**n

    again.defjvp(lambda n, p, t: (p[0] ** n, 8.0 * t[0]))
    close(gx.grad(again)(2.0, 3), 8.0)


# ----------------------------------------------------------------------------------------------------- closure_convert


def test_closure_convert_makes_arguments_of_what_is_traced() -> None:
    table = np.arange(3.0)

    def f(a: Any, b: Any) -> Any:
        converted, values = gx.closure_convert(lambda x, extra: a * x + np.sum(table) + b[0] + extra["e"], 1.0, {"e": 1.0})
        assert len(values) == 2
        return converted(3.0, {"e": a}, *[2 * v for v in values])

    close(gx.grad(f, argnums=(0, 1))(2.0, (5.0,)), (7.0, (2.0,)))
    close(gx.jit(f)(2.0, (5.0,)), 12.0 + 3.0 + 10.0 + 2.0)


def test_closure_convert_in_a_rule() -> None:
    """The pattern of JAX's documentation: the function is static, what it closes over is differentiated."""

    def integrate(function: Any, upper: Any) -> Any:
        converted, values = gx.closure_convert(function, upper)
        return _integrate(converted, upper, *values)

    @partial(gx.custom_vjp, nondiff_argnums=(0,))
    def _integrate(function: Any, upper: Any, *values: Any) -> Any:
        return upper * function(upper, *values)

    def fwd(function: Any, upper: Any, *values: Any) -> Any:
        return _integrate(function, upper, *values), (upper, values)

    def bwd(function: Any, residuals: Any, ct: Any) -> Any:
        upper, values = residuals
        _, pull = gx.vjp(lambda u, *v: u * function(u, *v), upper, *values)
        return pull(ct)

    _integrate.defvjp(fwd, bwd)
    close(gx.grad(lambda a: integrate(lambda x: np.sin(a * x), 2.0))(0.3), 4 * np.cos(0.6))
    close(gx.jit(gx.grad(lambda a: integrate(lambda x: np.sin(a * x), 2.0)))(0.3), 4 * np.cos(0.6))


def test_closure_convert_checks_the_structure() -> None:
    converted, values = gx.closure_convert(lambda x: x["a"], {"a": 1.0})
    assert values == []
    assert converted({"a": 4.0}) == 4.0
    with pytest.raises(errors.TreeError, match="converted for arguments of the structure"):
        converted(1.0)


# ------------------------------------------------------------------------------------------------------------ bad input


def one(fun: Any = None, **rules: Any) -> Any:
    return gx.grad(gx.custom_rule(fun or (lambda x: x * 2.0), **rules))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gx.custom_jvp(lambda x: x)(1.0), errors.ArgumentError, r"has no rule: define one with <lambda>\.defjvp"),
        (lambda: gx.custom_vjp(lambda x: x)(1.0), errors.ArgumentError, r"has no rule: define one with <lambda>\.defvjp"),
        (lambda: gx.custom_rule(lambda x: x)(1.0), errors.ArgumentError, "give at least one of jvp=rule"),
        (lambda: gx.custom_jvp(3), errors.ArgumentTypeError, "custom_jvp expects a function"),
        (lambda: gx.custom_rule(lambda x: x, vjp=np.sin), errors.ArgumentTypeError, r"must be a pair \(fwd, bwd\)"),
        (lambda: gx.custom_jvp(lambda x: x, nondiff_argnums=-1), errors.ArgumentError, "must not be negative"),
        (lambda: gx.custom_jvp(lambda x: x, nondiff_argnums=1.5), errors.ArgumentTypeError, "int or a sequence of ints"),
        (lambda: gx.custom_jvp(lambda x: x, nondiff_argnames="y"), errors.ArgumentError, "names 'y', which is no argument"),
        (lambda: one(jvp=lambda p, t: p[0])(1.0), errors.ArgumentTypeError, r"must return a pair \(primal_out, tangent_out\)"),
        (lambda: one(jvp=lambda p, t: ((p[0],), t[0]))(1.0), errors.TreeError, "must give a result of the structure"),
        (lambda: one(jvp=lambda p, t: (p[0], (t[0],)))(1.0), errors.TreeError, "must give tangents of the structure"),
        (lambda: one(jvp=lambda p, t: (p[0], np.ones(2) * t[0]))(1.0), errors.ShapeError,
         r"has type f64\[2\], expected f64\[\]"),
        (lambda: one(jvp=lambda p, t: (p[0], t[0].astype(np.float32)))(1.0), errors.ShapeError, "has type f32"),
        (lambda: one(jvp=lambda p, t: (p[0], 1.0))(1.0), errors.NotDifferentiableError, "must be linear in the tangents"),
        (lambda: one(jvp=lambda p, t: (t[0], t[0]))(1.0), errors.NotDifferentiableError, "must not depend on the tangents"),
        (lambda: one(jvp=lambda p, t: (p[0], t[0] * t[0]))(1.0), errors.NotDifferentiableError, "not in both together"),
        (lambda: one(vjp=(lambda x: x, lambda r, ct: (ct,)))(1.0), errors.ArgumentTypeError, r"pair \(out, residuals\)"),
        (lambda: one(vjp=(lambda x: (x, "text"), lambda r, ct: (ct,)))(1.0), errors.ArgumentTypeError, "a residual in the fwd"),
        (lambda: one(vjp=(lambda x: (x, None), lambda r, ct: ct))(1.0), errors.TreeError, "must return a tuple with"),
        (lambda: one(vjp=(lambda x: (x, None), lambda r, ct: (ct, ct)))(1.0), errors.TreeError, "got a tuple of length 2"),
        (lambda: one(vjp=(lambda x: (x, None), lambda r, ct: (ct * np.ones(2),)))(1.0), errors.ShapeError,
         r"the cotangent of argument 'x' from the bwd rule of <lambda> has type f64\[2\], expected f64\[\]"),
        (lambda: one(vjp=(lambda x: (x, None), lambda r, ct: ((ct, ct),)))(1.0), errors.TreeError, "argument 'x'"),
        (lambda: gx.grad(gx.custom_rule(lambda x, n: x, vjp=(lambda x, n: (x, None), lambda r, ct: (ct, ct))))(1.0, 2),
         errors.NotDifferentiableError, "argument 'n' .* is an integer, must be None or of dtype float0"),
        (lambda: gx.vmap(gx.custom_rule(lambda x: x, batch=lambda n, b, x: x))(X), errors.ArgumentTypeError, "out, out_b"),
        (lambda: gx.vmap(gx.custom_rule(lambda x: x, batch=lambda n, b, x: (x, 3)))(X), errors.ArgumentTypeError, "booleans"),
        (lambda: gx.vmap(gx.custom_rule(lambda x: x, batch=lambda n, b, x: (x[0], True)))(X), errors.ShapeError, "batch rule"),
        (lambda: _ruled_at_four(1.0, 2.0), errors.ArgumentError, r"nondiff_argnums=\(4,\), but the call has 2 argument"),
        (lambda: gx.grad(lambda x: _ruled(x, "a"))(1.0), errors.ArgumentTypeError, "nondiff_argnums names the arguments"),
        (lambda: _keyword_only(1.0, y=2.0), errors.ArgumentTypeError, "y can only be given by keyword"),
    ],
)
def test_bad_rules(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@gx.custom_jvp
def _ruled(x: Any, y: Any) -> Any:
    return x


_ruled.defjvp(lambda p, t: (p[0], t[0]))


_ruled_at_four = gx.custom_jvp(lambda x, y: x, nondiff_argnums=4)
_ruled_at_four.defjvp(lambda static, p, t: (p[0], t[0]))


@gx.custom_jvp
def _keyword_only(x: Any, *, y: Any) -> Any:
    return x


_keyword_only.defjvp(lambda p, t: (p[0], t[0]))


def test_rules_must_not_use_what_is_traced_outside() -> None:
    def outer(w: Any, x: Any) -> Any:
        f = gx.custom_vjp(lambda a: 2.0 * a)
        f.defvjp(lambda a: (2.0 * a, None), lambda r, ct: (ct * w,))
        return f(x)

    for transformed in (gx.jit(gx.grad(outer, argnums=1)), gx.grad(outer, argnums=(0, 1))):
        with pytest.raises(errors.LeakedTracerError, match=r"the bwd rule of <lambda> uses a traced value .*among the"):
            transformed(2.0, 3.0)


def test_a_second_defjvp_replaces_the_first() -> None:
    f = gx.custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], 2.0 * t[0]))
    close(gx.grad(f)(1.0), 2.0)
    f.defjvp(lambda p, t: (p[0], 3.0 * t[0]))
    close(gx.grad(f)(1.0), 3.0)
