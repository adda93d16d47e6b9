"""An index out of range in compiled code names the user's line, as it does while tracing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import lax


def line_of(function: Callable[..., Any], ahead: int) -> str:
    """The place so many lines below a function's first one, as an error writes it."""
    return f"{__file__}:{function.__code__.co_firstlineno + ahead}"


def message(function: Callable[..., Any], *arguments: Any) -> str:
    """What the error of a call says."""
    with pytest.raises(IndexError) as caught:
        function(*arguments)
    return str(caught.value)


def look_up(x: Any, i: Any) -> Any:
    y = x * 2
    return y[i]


def look_up_twice(x: Any, i: Any, j: Any) -> Any:
    one = x[i]
    return one + x[j]


def look_up_of_other_extents(x: Any, y: Any, i: Any) -> Any:
    first = x[i]
    return first + y[i]


def write(x: Any, i: Any) -> Any:
    return x.at[i].set(1.0)


def look_up_in_a_loop(x: Any, i: Any) -> Any:
    def step(total: Any, k: Any) -> Any:
        return total + x[k + i], None

    return lax.scan(step, 0.0, gnp.arange(3))[0]


X = np.arange(3.0)


def test_a_line() -> None:
    assert message(gx.jit(look_up), X, 7) == (
        f"index 7 is out of bounds for axis 0 with size 3\n  in user code: {line_of(look_up, 2)} (look_up)")


def test_a_written_place() -> None:
    assert line_of(write, 1) in message(gx.jit(write), gnp.asarray(X), 3)


def test_lines_of_one_extent_are_all_named() -> None:
    said = message(gx.jit(look_up_twice), X, 0, -9)
    assert re.search(r"index -9 .*\n  in user code: .* or ", said)
    assert line_of(look_up_twice, 1) in said
    assert line_of(look_up_twice, 2) in said


def test_only_lines_of_that_extent_are_named() -> None:
    said = message(gx.jit(look_up_of_other_extents), X, np.arange(2.0), 2)
    assert "size 2" in said
    assert line_of(look_up_of_other_extents, 2) in said
    assert line_of(look_up_of_other_extents, 1) not in said


def test_inner_programs() -> None:
    assert f"{line_of(look_up_in_a_loop, 2)} (step)" in message(gx.jit(look_up_in_a_loop), X, 1)


def test_derivatives_and_batches() -> None:
    indices = np.array([0, 5])
    assert line_of(look_up, 2) in message(gx.jit(gx.vmap(look_up, (None, 0))), X, indices)
    assert line_of(look_up, 2) in message(gx.jit(gx.grad(look_up)), X, 5)


def test_code_of_an_equal_program_names_its_own_line() -> None:
    def one(x: Any, i: Any) -> Any:
        return x[i]

    def other(x: Any, i: Any) -> Any:
        return x[i]

    assert line_of(one, 1) in message(gx.jit(one), X, 4)
    assert line_of(other, 1) in message(gx.jit(other), X, 4)  # what the first one left on disk
