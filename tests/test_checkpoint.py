"""checkpoint, its policies, and checkpoint_name: the same values and derivatives, with fewer residuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import checkpoint_policies as policies
from gradxform import errors
from gradxform.api.lowered import optimised
from gradxform.ir import Program, check
from gradxform.primitives.checkpointing import barrier
from gradxform.transforms import linearize

X = np.array([0.3, -0.7, 1.1])
W = np.array([[0.2, -0.5, 0.1], [0.9, 0.3, -0.4], [-0.6, 0.8, 0.5]])


def close(found: Any, expected: Any, tolerance: float = 1e-11) -> None:
    """Two pytrees of one structure with close values."""
    assert gx.tree.structure(found) == gx.tree.structure(expected)
    for a, b in zip(gx.tree.leaves(found), gx.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def chain(x: Any) -> Any:
    """sin(exp(sin x)), elementwise."""
    return np.sin(gx.checkpoint_name(np.exp(np.sin(x)), "inner"))


def chain_derivative(x: Any) -> Any:
    return np.cos(np.exp(np.sin(x))) * np.exp(np.sin(x)) * np.cos(x)


def chain_second(x: Any) -> Any:
    e = np.exp(np.sin(x))
    return -np.sin(e) * (e * np.cos(x)) ** 2 + np.cos(e) * e * (np.cos(x) ** 2 - np.sin(x))


POLICIES: dict[str, Any] = {
    "default": None,
    "nothing": policies.nothing_saveable,
    "everything": policies.everything_saveable,
    "dots": policies.dots_saveable,
    "dots_unbatched": policies.dots_with_no_batch_dims_saveable,
    "names": policies.save_only_these_names("inner"),
    "other_names": policies.save_any_names_but_these("inner"),
    "except": policies.save_anything_except_these_names("inner"),
    "both": policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names("inner")),
    "own": lambda operation, *types, **params: operation.name == "exp",
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("wrap", [lambda f: f, gx.jit], ids=["plain", "jit"])
@pytest.mark.parametrize("prevent_cse", [True, False], ids=["barrier", "free"])
class TestEveryTransform:
    def make(self, policy: Any, prevent_cse: bool) -> Callable[..., Any]:
        return gx.checkpoint(chain, policy=policy, prevent_cse=prevent_cse)

    def test_value(self, policy: Any, wrap: Any, prevent_cse: bool) -> None:
        f = self.make(policy, prevent_cse)
        close(wrap(f)(X), np.sin(np.exp(np.sin(X))))
        close(wrap(gx.vmap(f))(X), np.sin(np.exp(np.sin(X))))

    def test_first_order(self, policy: Any, wrap: Any, prevent_cse: bool) -> None:
        f = self.make(policy, prevent_cse)
        close(wrap(gx.grad(f))(0.3), chain_derivative(0.3))
        close(wrap(lambda x: gx.jvp(f, (x,), (2 * x,))[1])(X), 2 * X * chain_derivative(X))
        close(wrap(lambda x: gx.vjp(f, x)[1](2 * x)[0])(X), 2 * X * chain_derivative(X))
        close(wrap(gx.vmap(gx.grad(f)))(X), chain_derivative(X))
        close(wrap(gx.grad(lambda x: np.sum(gx.vmap(f)(x))))(X), chain_derivative(X))

    def test_second_order(self, policy: Any, wrap: Any, prevent_cse: bool) -> None:
        f = self.make(policy, prevent_cse)
        for outer in (gx.jacfwd, gx.jacrev):
            for inner in (gx.jacfwd, gx.jacrev):
                close(wrap(outer(inner(f)))(0.3), chain_second(0.3))
        close(wrap(gx.hessian(lambda x: np.sum(f(x))))(X), np.diag(chain_second(X)))


# ---------------------------------------------------------------------------------------------------- what is kept


def residuals(function: Callable[..., Any], *arguments: Any) -> list[tuple[int, ...]]:
    """The shapes of what goes from the forward to the backward pass, without arguments."""
    program = gx.make_ir(function)(*arguments)
    parts, _ = linearize(check(program), [True] * len(program.inputs))
    kept = parts.known.outputs[len(program.outputs):]
    return [v.type.shape for v in kept if v not in parts.known.inputs]


def count(program: Program, name: str) -> int:
    return sum(equation.operation.name == name for equation in program.equations)


def names_of(program: Program) -> list[str]:
    return [equation.operation.name for equation in program.equations]


def test_residuals_of_each_policy() -> None:
    kept = {name: len(residuals(gx.checkpoint(chain, policy=policy), X)) for name, policy in POLICIES.items()}
    assert kept == {
        "default": 0, "nothing": 0, "everything": 3, "dots": 0, "dots_unbatched": 0, "names": 1, "other_names": 0, "except": 3,
        "both": 1, "own": 1}
    assert len(residuals(chain, X)) == 3


def test_excluded_names_are_computed_again_though_all_else_is_kept() -> None:
    def exponentials(policy: Any) -> int:
        f = gx.checkpoint(chain, policy=policy)
        return count(gx.make_ir(lambda x, ct: gx.vjp(f, x)[1](ct))(X, X), "exp")

    assert exponentials(policies.everything_saveable) == 1
    assert exponentials(policies.save_anything_except_these_names("inner")) == 2
    assert exponentials(policies.save_anything_except_these_names("other")) == 1


def test_products_are_kept_and_what_is_elementwise_is_not() -> None:
    def layers(x: Any) -> Any:
        for _ in range(3):
            x = np.tanh(W @ x)
        return x

    assert residuals(gx.checkpoint(layers, policy=policies.dots_saveable), X) == [(3,)] * 3
    assert residuals(gx.checkpoint(layers), X) == []
    close(gx.jacrev(gx.checkpoint(layers, policy=policies.dots_saveable))(X), gx.jacrev(layers)(X))


def test_products_within_jitted_functions_are_seen() -> None:
    product = gx.jit(lambda x: W @ x)
    assert residuals(gx.checkpoint(lambda x: np.sin(np.sin(product(x))), policy=policies.dots_saveable), X) == [(3,)]


def test_products_with_batch_axes() -> None:
    def f(x: Any) -> Any:
        return np.sin(np.sin(gx.numpy.einsum("bij,bj->bi", x, x[:, 0])))

    x = np.ones((2, 3, 3))
    assert residuals(gx.checkpoint(f, policy=policies.dots_saveable), x) == [(2, 3)]
    assert residuals(gx.checkpoint(f, policy=policies.dots_with_no_batch_dims_saveable), x) == []


def test_a_chain_keeps_one_value_for_each_link() -> None:
    link = gx.checkpoint(chain)

    def f(x: Any) -> Any:
        for _ in range(5):
            x = link(x)
        return x

    def plain(x: Any) -> Any:
        for _ in range(5):
            x = chain(x)
        return x

    assert len(residuals(f, X)) == 4
    assert len(residuals(plain, X)) == 15
    close(gx.jacrev(f)(X), gx.jacrev(plain)(X))
    close(gx.jit(gx.jacrev(f))(X), gx.jacrev(plain)(X))


def test_values_are_computed_twice_in_the_compiled_program_too() -> None:
    vjp = lambda f: lambda x, ct: gx.vjp(f, x)[1](ct)  # noqa: E731
    for prevent_cse, expected in ((True, 1), (False, 0)):
        f = gx.checkpoint(chain, prevent_cse=prevent_cse)
        program = optimised(gx.make_ir(lambda x, ct, f=f: (f(x), vjp(f)(x, ct)))(X, X))
        assert count(program, "exp") == 1 + expected
        assert count(program, "barrier") == expected
    program = optimised(gx.make_ir(vjp(gx.checkpoint(chain, policy=policies.everything_saveable)))(X, X))
    assert count(program, "exp") == 1
    assert "barrier" not in names_of(program)


def test_compiled_code_needs_less_memory() -> None:
    def link(x: Any) -> Any:
        for _ in range(4):
            x = np.sin(np.cumsum(np.exp(np.sin(x))) / x.size)
        return x

    def scanned(x: Any) -> Any:
        return gx.lax.scan(lambda c, _: (np.sin(np.cumsum(np.exp(c)) / c.size), None), x, None, length=10)[0]

    def loss(link: Any) -> Any:
        def f(x: Any) -> Any:
            for _ in range(6):
                x = link(x)
            return np.sum(x)

        return gx.jit(gx.grad(f))

    x = np.linspace(-1.0, 1.0, 10_000)
    for function in (link, scanned):
        plain, kept = loss(function), loss(gx.checkpoint(function))
        assert kept.lower(x).cost.arena_bytes < 0.45 * plain.lower(x).cost.arena_bytes
        close(kept(x), plain(x))


def test_a_barrier_in_compiled_code_is_an_identity() -> None:
    def f(x: Any, y: Any, n: Any) -> Any:
        z = np.cumsum(y)
        a, b, c = lift(barrier([x, z, n]))
        return np.sum(a) * b[c], a, lax_loop(a)

    def lift(values: Any) -> Any:
        return [v + 0 for v in values]

    def lax_loop(a: Any) -> Any:
        return gx.lax.fori_loop(0, 3, lambda _, total: total + a, np.zeros(3))

    first, second, third = gx.jit(f)(X, np.arange(3.0), 2)
    close((first, second, third), (np.sum(X) * 3.0, X, 3 * X))


def test_without_derivatives_nothing_remains_of_it() -> None:
    program = optimised(gx.make_ir(gx.checkpoint(chain))(X))
    assert names_of(program) == ["sin", "exp", "sin"]
    program = optimised(gx.make_ir(gx.jacfwd(gx.checkpoint(chain)))(0.3))
    assert count(program, "exp") == 1
    assert not {"name", "remat", "remat_linear", "barrier"} & set(names_of(program))


def test_what_is_not_differentiated_is_not_computed_again() -> None:
    @gx.checkpoint
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * np.exp(np.sin(y))

    program = optimised(gx.make_ir(lambda x, y, ct: gx.vjp(lambda a: f(a, y), x)[1](ct))(X, X, X))
    assert count(program, "exp") == 1
    close(gx.grad(f)(0.3, 0.4), np.cos(0.3) * np.exp(np.sin(0.4)))


# -------------------------------------------------------------------------------------------- arguments and composition


def test_trees_keywords_static_arguments_closures() -> None:
    scale = 3.0

    @partial(gx.checkpoint, static_argnums=(1,))
    def f(parameters: Any, power: int, shift: Any = 0.0) -> Any:
        return {"a": scale * np.sum(parameters["w"] ** power) + shift}

    expected = {"w": 9.0 * X**2}
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(lambda p: f(p, 3)["a"]))({"w": X}), expected)
        close(wrap(gx.grad(lambda p: f(p, 3, shift=p["w"][0])["a"]))({"w": X}), {"w": 9.0 * X**2 + np.array([1.0, 0, 0])})
    assert f({"w": X}, 2)["a"] == pytest.approx(3.0 * np.sum(X**2))


def test_closures_over_what_is_differentiated() -> None:
    def loss(w: Any, x: Any) -> Any:
        return np.sum(gx.checkpoint(lambda z: np.sin(np.sin(w * z)))(x))

    def plain(w: Any, x: Any) -> Any:
        return np.sum(np.sin(np.sin(w * x)))

    close(gx.grad(loss, argnums=(0, 1))(1.3, X), gx.grad(plain, argnums=(0, 1))(1.3, X))
    close(gx.jit(gx.grad(loss, argnums=(0, 1)))(1.3, X), gx.grad(plain, argnums=(0, 1))(1.3, X))


def test_choices_by_value() -> None:
    f = gx.checkpoint(lambda x: np.sin(x) if x > 0 else np.cos(x))
    close(gx.grad(f)(0.3), np.cos(0.3))
    close(gx.grad(f)(-0.3), np.sin(0.3))


def test_nested() -> None:
    inner = gx.checkpoint(chain)
    outer = gx.checkpoint(lambda x: inner(inner(x)))
    plain = lambda x: chain(chain(x))  # noqa: E731
    assert residuals(outer, X) == []
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.jacrev(outer))(X), gx.jacrev(plain)(X))
        close(wrap(gx.hessian(lambda x: np.sum(outer(x))))(X), gx.hessian(lambda x: np.sum(plain(x)))(X))


def test_functions_with_rules_within() -> None:
    @gx.custom_vjp
    def f(x: Any) -> Any:
        return np.sin(x)

    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (7.0 * np.cos(x) * ct,))
    g = gx.checkpoint(lambda x: f(np.sin(x)))
    for wrap in (lambda h: h, gx.jit):
        close(wrap(gx.grad(g))(0.3), 7.0 * np.cos(np.sin(0.3)) * np.cos(0.3))
        close(wrap(gx.vmap(gx.grad(g)))(X), 7.0 * np.cos(np.sin(X)) * np.cos(X))


def test_effects_happen_once() -> None:
    seen: list[float] = []

    def note(x: Any) -> Any:
        seen.append(float(x))
        return np.sin(x)

    @gx.checkpoint
    def f(x: Any) -> Any:
        return np.exp(gx.stop_gradient(gx.io_callback(note, gx.ShapeDType((), float), gx.stop_gradient(x)))) * np.exp(np.sin(x))

    expected = np.exp(np.sin(0.3)) * np.cos(0.3) * np.exp(np.sin(0.3))
    for wrap in (lambda g: g, gx.jit):
        seen.clear()
        close(wrap(gx.grad(f))(0.3), expected)
        assert seen == [0.3]


def test_integer_values_and_results() -> None:
    @gx.checkpoint
    def f(x: Any, n: Any) -> tuple[Any, Any]:
        return np.sin(x[n]) * n, n + 1

    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(lambda x, n: f(x, n)[0]))(X, 2), np.array([0.0, 0.0, 2 * np.cos(X[2])]))


def test_results_that_are_arguments_or_constants() -> None:
    f = gx.checkpoint(lambda x: (x, 1.0, 2.0 * x))
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(lambda x: sum(f(x))))(3.0), 3.0)


def test_linear_functions_are_transposed() -> None:
    (ct,) = gx.linear_transpose(gx.checkpoint(lambda x: 3.0 * x), 1.0)(2.0)
    close(ct, 6.0)


def test_float32() -> None:
    result = gx.grad(lambda x: np.sum(gx.checkpoint(chain)(x)))(X.astype(np.float32))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, chain_derivative(X), rtol=1e-5)


def test_a_network_against_differences() -> None:
    def network(weights: Sequence[Any], x: Any) -> Any:
        for w in weights:
            x = gx.checkpoint(lambda w, x: np.tanh(w @ x), policy=policies.dots_saveable)(w, x)
        return np.sum(x * x)

    weights = [W, W.T, W @ W]
    gradients = gx.jit(gx.grad(network))(weights, X)
    step = 1e-6
    for number, gradient in enumerate(gradients):
        for place in ((0, 0), (1, 2), (2, 1)):
            values = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[number][place] += sign * step
                values.append(network(moved, X))
            assert gradient[place] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)


def test_programs_print_the_same_each_time() -> None:
    f = gx.grad(gx.checkpoint(chain, policy=policies.save_only_these_names("inner")))
    assert str(gx.make_ir(f)(0.3)) == str(gx.make_ir(f)(0.3))
    program = gx.make_ir(gx.checkpoint(chain, policy=policies.save_only_these_names("inner")))(0.3)
    assert "policy=save_only_these_names('inner')" in str(program)


def test_remat_is_another_name() -> None:
    assert gx.remat is gx.checkpoint
    assert gx.checkpoint(policy=policies.dots_saveable)(np.sin)(0.3) == np.sin(0.3)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gx.checkpoint(3), errors.ArgumentTypeError, "checkpoint expects a function"),
        (lambda: gx.checkpoint(np.sin, policy="dots"), errors.ArgumentTypeError, "policy expects a function, got 'dots'"),
        (lambda: gx.checkpoint(np.sin, static_argnums=1.5), errors.ArgumentTypeError, "int or a sequence of ints"),
        (lambda: gx.grad(gx.checkpoint(np.sin, static_argnums=4))(1.0), errors.ArgumentError, "has 1 positional argument"),
        (lambda: gx.grad(lambda x: gx.checkpoint(lambda y, s: y)(x, "text"))(1.0), errors.ArgumentTypeError,
         "static_argnums names the arguments that are no arrays"),
        (lambda: gx.checkpoint_name(1.0, 3), errors.ArgumentTypeError, "a name is a string, got 3"),
        (lambda: gx.checkpoint_name("text", "name"), errors.ArgumentTypeError, "checkpoint_name 'name': the argument"),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
