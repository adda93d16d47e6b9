"""A tour of gradxform: differentiate, compose, compile, look inside.

Run it and read the output next to this file; every result is checked.

    python examples/tour.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

import gradxform as gx


def heading(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}")


def show(label: str, value: object) -> None:
    print(f"{label}:", *str(value).splitlines(), sep="\n    " if "\n" in str(value) else " ")


def first_lines(text: str, count: int) -> str:
    lines = text.splitlines()
    rest = f"\n... {len(lines) - count} more lines" if len(lines) > count else ""
    return "\n".join(lines[:count]) + rest


# 1. Decorate. The functions are plain NumPy; they still run on arrays as they stand.


@gx.jit
def damped_wave(t):
    return np.exp(-0.5 * t) * np.sin(3.0 * t)


@gx.jit
@gx.grad
def slope(t):
    return np.exp(-0.5 * t) * np.sin(3.0 * t)


@gx.value_and_grad(argnums=(0, 1), has_aux=True)
def loss(slope, offset, x, y):
    error = slope * x + offset - y
    return np.mean(error**2), error


def decorate() -> None:
    heading("1. Decorate")
    t = np.linspace(0.0, 2.0, 5)
    show("damped_wave(t), one compiled function", damped_wave(t))
    np.testing.assert_allclose(damped_wave(t), np.exp(-0.5 * t) * np.sin(3.0 * t), rtol=1e-14, atol=1e-16)
    expected = np.exp(-0.5) * (3.0 * np.cos(3.0) - 0.5 * np.sin(3.0))
    show("slope(1.0), its derivative", slope(1.0))
    np.testing.assert_allclose(slope(1.0), expected, rtol=1e-14)
    x, y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])
    (value, error), (by_slope, by_offset) = loss(1.0, 0.0, x, y)
    results = (float(value), error, float(by_slope), float(by_offset))
    show("value, auxiliary output and two derivatives of a loss", results)
    np.testing.assert_allclose([value, by_slope, by_offset], [14.0 / 3.0, -16.0 / 3.0, -4.0], rtol=1e-14)


# 2. Compose. Every transform takes a function and gives a function, so they nest to any depth and in any order.


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def compose() -> None:
    heading("2. Compose")
    derivatives: list[Callable] = [np.sin]
    for _ in range(4):
        derivatives.append(gx.grad(derivatives[-1]))
    show("sin and its first four derivatives at 1", [float(function(1.0)) for function in derivatives])
    np.testing.assert_allclose(derivatives[4](1.0), np.sin(1.0), rtol=1e-14)

    points = np.array([[1.0, 1.0], [0.0, 0.0], [-1.0, 2.0]])
    gradients = gx.jit(gx.vmap(gx.grad(rosenbrock)))(points)
    show("vmap(grad(rosenbrock)), one gradient per row", gradients)
    np.testing.assert_allclose(gradients, [[0.0, 0.0], [-2.0, 0.0], [396.0, 200.0]])

    def orbit(state):
        position, velocity = state[:2], state[2:]
        return np.concatenate([velocity, -position / np.sum(position**2) ** 1.5])

    state = np.array([1.0, 0.5, 0.0, 1.0])
    forward, reverse = gx.jit(gx.jacfwd(orbit))(state), gx.jit(gx.jacrev(orbit))(state)
    show("jacfwd: a column per input, good for few inputs", forward)
    np.testing.assert_allclose(forward, reverse, rtol=1e-13, atol=1e-15)
    print("jacrev: a row per output, good for few outputs; the same matrix")

    derivative = gx.jacfwd(orbit)
    swapped = gx.vmap(gx.jacfwd(orbit))(np.stack([state, 2.0 * state]))
    np.testing.assert_allclose(swapped[1], derivative(2.0 * state), rtol=1e-13)


# 3. Hessian-vector products, three ways. None forms the Hessian.


def hessian_vector_products() -> None:
    heading("3. Hessian-vector products three ways")
    x, v = np.array([-1.2, 1.0, 0.5]), np.array([1.0, -2.0, 0.5])

    def forward_over_reverse(x, v):
        return gx.jvp(gx.grad(rosenbrock), (x,), (v,))[1]

    def reverse_over_reverse(x, v):
        return gx.grad(lambda x: np.vdot(gx.grad(rosenbrock)(x), v))(x)

    def reverse_over_forward(x, v):
        return gx.grad(lambda x: gx.jvp(rosenbrock, (x,), (v,))[1])(x)

    expected = gx.hessian(rosenbrock)(x) @ v
    ways = {
        "jvp of grad": forward_over_reverse,
        "grad of vdot(grad, v)": reverse_over_reverse,
        "grad of jvp": reverse_over_forward,
        "hvp": gx.hvp(rosenbrock),
    }
    for name, way in ways.items():
        result = gx.jit(way)(x, v)
        show(f"{name:>22}", result)
        np.testing.assert_allclose(result, expected, rtol=1e-12)
    show(f"{'hessian(f)(x) @ v':>22}", expected)


# 4. Parameters in a dict: any nesting of dicts, lists, tuples and dataclasses goes in and comes out.


def containers() -> None:
    heading("4. Containers of arrays")

    def network(parameters, x):
        hidden = np.tanh(parameters["hidden"]["weight"] @ x + parameters["hidden"]["bias"])
        return parameters["out"] @ hidden

    parameters = {
        "hidden": {"weight": np.array([[0.1, -0.2], [0.4, 0.3], [0.0, 0.5]]), "bias": np.zeros(3)},
        "out": np.array([1.0, -1.0, 2.0]),
    }
    x = np.array([1.0, 2.0])
    gradient = gx.jit(gx.grad(network))(parameters, x)
    for name, part in (("hidden weight", gradient["hidden"]["weight"]), ("out", gradient["out"])):
        show(f"derivative by {name}", part)
    hidden = np.tanh(parameters["hidden"]["weight"] @ x)
    np.testing.assert_allclose(gradient["out"], hidden, rtol=1e-14)
    by_bias = parameters["out"] * (1.0 - hidden**2)
    np.testing.assert_allclose(gradient["hidden"]["bias"], by_bias, rtol=1e-13)
    np.testing.assert_allclose(gradient["hidden"]["weight"], np.outer(by_bias, x), rtol=1e-13)


# 5. Updates. Traced values are immutable: x.at[i].set(v) is a new array, stored in place where the compiler can.


def updates() -> None:
    heading("5. Updates")

    @gx.jit
    def clamp_ends(x):
        return np.sum(x.at[0].set(0.0).at[-1].multiply(2.0) ** 2)

    x = np.array([1.0, 2.0, 3.0])
    show("first entry set to 0, last doubled, squared, summed", clamp_ends(x))
    show("its gradient", gx.jit(gx.grad(clamp_ends))(x))
    np.testing.assert_allclose(clamp_ends(x), 40.0)
    np.testing.assert_allclose(gx.grad(clamp_ends)(x), [0.0, 4.0, 24.0])


# 6. Python's control flow. Without jit a derivative follows the branches that the values take; jit knows no values.


def newton_square_root(a):
    x = a if a > 1.0 else 1.0 + 0.0 * a
    while abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
    return x


def control_flow() -> None:
    heading("6. Control flow")
    show("Newton's square root of 2, a Python while loop", newton_square_root(2.0))
    show("its derivative, through the loop", gx.grad(newton_square_root)(2.0))
    np.testing.assert_allclose(gx.grad(newton_square_root)(2.0), 0.5 / np.sqrt(2.0), rtol=1e-10)
    print("under jit the same function is refused, with the line and the way out:")
    try:
        gx.jit(newton_square_root)(2.0)
    except gx.errors.ConcretizationError as error:
        print("    " + str(error).replace("\n", "\n    "))
    else:
        raise AssertionError("value-dependent control flow under jit was not refused")


# 7. Look inside. Each stage on the way from the function to machine code can be printed.


def inside() -> None:
    heading("7. Look inside")

    def f(x):
        return np.sum(np.log1p(x**2))

    x = np.linspace(-1.0, 1.0, 1000)
    show("make_ir(f)", gx.make_ir(f)(x))
    stages = gx.jit(gx.grad(f)).lower(x)
    show("grad(f): .program, as traced", stages.program)
    show(".optimized, after the passes", stages.optimized)
    show(".loops, the one loop that computes it", stages.loops)
    show(".llvm", first_lines(stages.llvm.strip(), 12))
    show(".assembly", first_lines(stages.assembly.strip(), 12))
    show(".cost", stages.cost)


def speed() -> None:
    heading("8. What a call costs")
    x = np.linspace(0.0, 1.0, 8)

    def f(x):
        return np.sin(x) * 2.0 + 1.0

    compiled = gx.jit(f)
    compiled(x)
    for name, function in (("NumPy", f), ("jit", compiled)):
        calls = 20_000
        began = time.perf_counter()
        for _ in range(calls):
            function(x)
        print(f"sin(x) * 2 + 1 on 8 numbers, {name:>5}: {1e9 * (time.perf_counter() - began) / calls:6.0f} ns a call")


def main() -> int:
    decorate()
    compose()
    hessian_vector_products()
    containers()
    updates()
    control_flow()
    inside()
    speed()
    print("\nend of the tour: every result was as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
