"""Products of which only a part is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.tolerances import assert_close

import gradxform as gx
from gradxform import lax
from gradxform.core import run
from gradxform.passes.narrow_products import narrow_products
from gradxform.primitives import ROSTER

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("left", "right", "contracting", "batch", "start", "limit", "strides"), [
    ((3, 4), (4, 5), ((1,), (0,)), ((), ()), (0, 2), (3, 5), (1, 1)),
    ((3, 4), (4, 5), ((1,), (0,)), ((), ()), (1, 0), (3, 5), (2, 3)),
    ((4, 3, 2), (5, 4, 6, 2), ((0,), (1,)), ((2,), (3,)), (0, 1, 1, 2), (1, 3, 4, 6), (1, 1, 2, 1)),
    ((4, 3, 2), (5, 4, 6, 2), ((0,), (1,)), ((2,), (3,)), (1, 0, 0, 0), (2, 3, 5, 6), (1, 1, 1, 1)),
    ((3,), (4,), ((), ()), ((), ()), (1, 1), (1, 3), (1, 1)),
])
def test_parts(left: Any, right: Any, contracting: Any, batch: Any, start: Any, limit: Any, strides: Any) -> None:
    x, y = RNG.normal(size=left), RNG.normal(size=right)

    def function(x: Any, y: Any) -> Any:
        return lax.slice(lax.dot_general(x, y, (contracting, batch)), start, limit, strides)

    program = gx.make_ir(function)(x, y)
    narrowed = narrow_products(program, ROSTER)
    assert narrowed.equations[-1].operation.name == "dot_general"
    (found,), (expected,) = run(narrowed, [x, y]), run(program, [x, y])
    assert_close(found, expected)
    assert_close(gx.jit(function)(x, y), expected)


def test_what_is_used_otherwise_stays() -> None:
    x, y = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 5))
    for function in (lambda x, y: ((x @ y)[:2], x @ y), lambda x, y: ((x @ y)[:2], (x @ y)[2:]), lambda x, y: 2.0 * (x @ y)):
        program = gx.jit(function).lower(x, y).optimized
        assert narrow_products(program, ROSTER) is program
