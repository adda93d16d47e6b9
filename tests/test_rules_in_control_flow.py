"""Functions with rules, checkpoints and implicit solutions within loops and branches, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax

X = np.array([0.3, -0.5, 0.8])
TABLE = np.array([1.0, 2.0, 3.0])
STEPS = 4


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# ----------------------------------------------------------------------------------------------------- the sine, by rules


def by_jvp() -> Callable[[Any], Any]:
    f = gx.custom_jvp(lambda x: np.sin(x))
    f.defjvp(lambda primals, tangents: (np.sin(primals[0]), np.cos(primals[0]) * tangents[0]))
    return f  # type: ignore[no-any-return]


def by_vjp() -> Callable[[Any], Any]:
    f = gx.custom_vjp(lambda x: np.sin(x))
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (np.cos(x) * ct,))
    return f  # type: ignore[no-any-return]


def by_vjp_with_an_array() -> Callable[[Any], Any]:
    f = gx.custom_vjp(lambda x: np.sin(x))
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (TABLE * np.cos(x) * ct / TABLE,))
    return f  # type: ignore[no-any-return]


def by_checkpoint() -> Callable[[Any], Any]:
    return gx.checkpoint(lambda x: np.sin(x))  # type: ignore[no-any-return]


def by_root() -> Callable[[Any], Any]:
    return lambda x: lax.custom_root(lambda y: y - np.sin(x), 0.0 * x, lambda f, y: y - f(y), lambda g, y: 2.0 * y - g(y))


def by_linear_solve() -> Callable[[Any], Any]:
    return lambda x: lax.custom_linear_solve(lambda y: 2.0 * y, 2.0 * np.sin(x), lambda m, b: b / 2.0, symmetric=True)


WAYS = [by_jvp, by_vjp, by_vjp_with_an_array, by_checkpoint, by_root, by_linear_solve]

# --------------------------------------------------------------------------------------------------------------- the hosts


def in_scan(sine: Any, x: Any) -> Any:
    return lax.scan(lambda c, _: (sine(c) + 0.1 * x, None), x, None, length=STEPS)[0]


def in_fori_loop(sine: Any, x: Any) -> Any:
    return lax.fori_loop(0, STEPS, lambda _, c: sine(c) + 0.1 * x, x)


def in_while_loop(sine: Any, x: Any) -> Any:
    return lax.while_loop(lambda s: s[1] < STEPS, lambda s: (sine(s[0]) + 0.1 * x, s[1] + 1), (x, 0))[0]


def in_cond(sine: Any, x: Any) -> Any:
    step = lambda c: lax.cond(np.sum(x) > -100.0, lambda c: sine(c) + 0.1 * x, lambda c: c, c)  # noqa: E731
    c = x
    for _ in range(STEPS):
        c = step(c)
    return c


def in_checkpointed_scan(sine: Any, x: Any) -> Any:
    return gx.checkpoint(lambda x: in_scan(sine, x))(x)


HOSTS = [in_scan, in_fori_loop, in_while_loop, in_cond, in_checkpointed_scan]


def reference(x: Any) -> tuple[Any, Any, Any]:
    """c <- sin c + 0.1 x from c = x: value, first and second derivative, elementwise."""
    c, d, e = x, np.ones_like(x), np.zeros_like(x)
    for _ in range(STEPS):
        c, d, e = np.sin(c) + 0.1 * x, np.cos(c) * d + 0.1, -np.sin(c) * d * d + np.cos(c) * e
    return c, d, e


@pytest.mark.parametrize("wrap", [lambda f: f, gx.jit], ids=["plain", "jit"])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("way", WAYS)
def test_derivatives(way: Any, host: Any, wrap: Any) -> None:
    sine = way()
    f = lambda x: np.sum(host(sine, x))  # noqa: E731
    value, first, second = reference(X)
    close(wrap(gx.grad(f))(X), first)
    close(wrap(gx.hessian(f))(X), np.diag(second))
    if wrap is gx.jit:
        return
    close(f(X), np.sum(value))
    close(gx.jacfwd(f)(X), first)
    close(gx.jacrev(gx.jacfwd(f))(X), np.diag(second))
    close(gx.vmap(gx.grad(f))(np.stack([X, 2 * X])), np.stack([first, reference(2 * X)[1]]))


def test_rules_differ_from_the_code_in_loops_too() -> None:
    f = gx.custom_vjp(lambda x: np.sin(x))
    f.defvjp(lambda x: (np.sin(x), None), lambda _, ct: (2.0 * ct,))
    for host, expected in ((in_scan, 0.1 * (1 + 2 + 4 + 8) + 16), (in_while_loop, 0.1 * (1 + 2 + 4 + 8) + 16)):
        for wrap in (lambda g: g, gx.jit):
            close(wrap(gx.grad(lambda x, host=host: host(f, x)))(0.3), expected)


def test_rules_with_matrices_in_loops() -> None:
    """c <- c + sum(x c T), three times from 1: (1 + s)^3 with s = sum(x T)."""
    table = np.arange(6.0).reshape(2, 3)
    f = gx.custom_vjp(lambda x: np.sum(x * table))
    f.defvjp(lambda x: (np.sum(x * table), None), lambda _, ct: (ct * table,))
    x = np.full((2, 3), 0.2)
    for wrap in (lambda g: g, gx.jit):
        gradient = wrap(gx.grad(lambda x: lax.fori_loop(0, 3, lambda _, c: c + f(x * c), 1.0)))(x)
        close(gradient, 3 * (1 + np.sum(x * table)) ** 2 * table)


def test_gradient_clipping_in_a_loop() -> None:
    """c <- 3 c, three times, each factor of the cotangent clipped to 2: the backward pass gives 2 * 3 clipped again."""
    clipped = gx.custom_vjp(lambda x: x)
    clipped.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -2.0, 2.0),))
    f = lambda x: lax.fori_loop(0, 3, lambda _, c: 3.0 * clipped(c), x)  # noqa: E731
    for wrap in (lambda g: g, gx.jit):
        close(wrap(gx.grad(f))(1.0), 2.0)


def test_values_of_literals_alone_in_a_branch() -> None:
    f = lambda x: np.sum(lax.cond(x[0] > 0, lambda x: np.exp(gx.numpy.full(3, 2.0)) * x, lambda x: x, x))  # noqa: E731
    close(gx.grad(f)(X), np.full(3, np.exp(2.0)))
    close(gx.grad(f)(-X), np.ones(3))
