"""Long bodies of elementary functions in pieces: what is taken apart, what is not, and that values stay."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import gradxform as gx
from gradxform.backend import fission
from gradxform.backend.fission import fission_kernel
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.expression import parts
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import For, Kernel, Let, Statement, bodies
from gradxform.scipy.special import erf


def long(x, y):
    """More than a processor sees at a time: five functions of x and y and their sum."""
    z = np.exp(-x * x) * np.sin(y)
    return z + np.tanh(x * y), erf(z + x) * np.cos(y), np.sum(np.log1p(z * z) + np.arctan(x))


def expected(x, y):
    z = np.exp(-x * x) * np.sin(y)
    return z + np.tanh(x * y), scipy.special.erf(z + x) * np.cos(y), np.sum(np.log1p(z * z) + np.arctan(x))


def kernel(function, *args) -> Kernel:
    return build_kernel(lower_program(gx.jit(function).lower(*args).optimized))


def innermost(statements: tuple[Statement, ...]) -> list[For]:
    found = []
    for statement in statements:
        inner = [loop for body in bodies(statement) for loop in innermost(body)]
        found += inner or ([statement] if isinstance(statement, For) else [])
    return found


def operations(loop: For) -> set[str]:
    return {part.operation for statement in loop.body if isinstance(statement, Let)
            for part in parts(statement.value) if hasattr(part, "operation")}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fission, "LEAST_WORK", 0.0)


@pytest.mark.parametrize("length", [64, 65, 200])
def test_a_long_body_becomes_loops_over_blocks(always: None, length: int) -> None:
    x, y = np.linspace(-2, 2, length), np.linspace(1, 9, length)
    before = kernel(long, x, y)
    after = check_kernel(fission_kernel(before))
    loops = innermost(after.nests[0].body)
    assert len(loops) > len(innermost(before.nests[0].body))
    for found, value in zip(interpret(after, [x, y]), expected(x, y), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-13)


def test_functions_of_one_argument_stay_together(always: None) -> None:
    x = np.linspace(-2, 2, 100)
    loops = innermost(fission_kernel(kernel(long, x, x + 1)).nests[0].body)
    assert any({"sin", "cos"} <= operations(loop) for loop in loops)


def test_what_is_short_or_quick_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-2, 2, 100)
    quick = kernel(long, x, x)
    assert fission_kernel(quick) is quick
    monkeypatch.setattr(fission, "LEAST_WORK", 0.0)
    short = kernel(lambda x: np.exp(x) * np.sin(x), x)
    assert fission_kernel(short) is short


def test_loops_in_order_stay_as_they_are(always: None) -> None:
    def step(carry, value):
        first, second, _ = long(carry, value)
        return first + second, first

    steps = kernel(lambda x: gx.lax.scan(step, x[0], x)[0], np.linspace(0, 1, 100))
    assert fission_kernel(steps) is steps


def test_native_results_at_a_length_with_a_rest() -> None:
    x, y = np.linspace(-2, 2, 400_003), np.linspace(1, 9, 400_003)
    compiled = gx.jit(long)
    lowered = compiled.lower(x, y)
    assert "block.f" in str(lowered.loops)
    first, again = compiled(x, y), compiled(x, y)
    for found, repeated, value in zip(first, again, expected(x, y), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(found, repeated)
