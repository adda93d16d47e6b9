"""Random expressions: values against NumPy, derivatives at inputs and intermediates against differences of the values."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform.symbolic as T

UNARY = (np.sin, np.tanh, lambda x: np.exp(-x * x), lambda x: x * 0.5, lambda x: -x)
BINARY = (lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - 2 * y, np.hypot)
LEAVES = 3
SIZE = 3


def make(generator, count):
    """Steps (function, operands): later ones use earlier values."""
    steps = []
    for position in range(LEAVES, LEAVES + count):
        if generator.random() < 0.4:
            steps.append((UNARY[generator.integers(len(UNARY))], (int(generator.integers(position)),)))
        else:
            operands = (int(generator.integers(max(0, position - 4), position)), int(generator.integers(position)))
            steps.append((BINARY[generator.integers(len(BINARY))], operands))
    return steps


def values_of(steps, leaves, bound):
    """All values; those in ``bound`` are given instead of computed. The cost is a sum that uses each of the last ones."""
    values = [bound.get(position, leaf) for position, leaf in enumerate(leaves)]
    for position, (function, operands) in enumerate(steps, LEAVES):
        values.append(bound[position] if position in bound else function(*[values[k] for k in operands]))
    return values, np.sum(np.tanh(values[-1]) * np.cos(values[-2]))


def difference(function, x, direction, step=1e-5):
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("seed", range(12))
def test_random_expressions(seed):
    generator = np.random.default_rng([23, seed])
    steps = make(generator, 6)
    points = [generator.uniform(0.2, 1.2, SIZE) for _ in range(LEAVES)]
    weights, direction = generator.normal(size=SIZE), generator.normal(size=SIZE)
    symbols = T.dvectors("a", "b", "c")
    expressions, cost = values_of(steps, symbols, {})
    numbers, value = values_of(steps, points, {})
    middle = int(generator.integers(LEAVES, LEAVES + 5))
    places = [0, middle]
    gradients = T.grad(cost, [expressions[place] for place in places], disconnected_inputs="ignore")
    # The gradient at the intermediate, differentiated at the input, and that at the input by forward mode.
    mixed = T.grad(T.sum(gradients[1] * weights), symbols[0], disconnected_inputs="ignore")
    again = T.Rop(gradients[0], symbols[0], T.constant(direction), disconnected_outputs="ignore")
    f = T.function(symbols, [cost, *gradients, mixed, again], on_unused_input="ignore")
    found = f(*points)
    np.testing.assert_allclose(found[0], value, rtol=1e-12)

    def bound_cost(place):
        return lambda x: values_of(steps, points, {place: x})[1]

    for gradient, place in zip(found[1:3], places, strict=True):
        wanted = difference(bound_cost(place), numbers[place], direction)
        np.testing.assert_allclose(gradient @ direction, wanted, rtol=1e-6, atol=1e-8)

    def gradients_at(x):
        results = f(x, *points[1:])
        return results[1], results[2] @ weights

    by_input = difference(lambda x: gradients_at(x)[1], points[0], direction)
    np.testing.assert_allclose(found[3] @ direction, by_input, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[4], difference(lambda x: gradients_at(x)[0], points[0], direction), rtol=1e-6, atol=1e-7)
