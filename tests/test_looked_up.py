"""Exponentials and logarithms one by one come from the C library, by tables."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import gradxform as gx


@pytest.mark.parametrize(("name", "reference"), [("exp", mpmath.exp), ("log", mpmath.log)])
def test_loops_in_order_look_up(name: str, reference: object) -> None:
    function = getattr(gx.numpy, name)

    def collect(x):
        # The carry keeps the loop in order.
        return gx.lax.scan(lambda carry, value: (0.5 * carry + function(value), function(value)), 0.0, x)

    x = np.linspace(0.01, 30, 500)
    assert f"@gx.c.{name}(" in gx.jit(collect).lower(x).llvm
    _, values = gx.jit(collect)(x)
    with mpmath.workprec(120):
        exact = [reference(mpmath.mpf(float(point))) for point in x]
        worst = max(abs((mpmath.mpf(float(value)) - true) / np.spacing(abs(float(true))))
                    for value, true in zip(values, exact, strict=True))
    assert worst <= 1


def test_loops_over_elements_do_not() -> None:
    text = gx.jit(lambda x: np.exp(x) + np.log(x)).lower(np.ones(100)).llvm
    assert "@gx.c." not in text
