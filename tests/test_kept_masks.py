"""Which element was the greatest: found out once, and kept for the derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax


@pytest.mark.parametrize("mode", ["min", "max"])
def test_which_element_won_is_remembered_and_not_found_out_again(mode: str) -> None:
    """Computed again in the reverse loop a product and a sum may be rounded once or twice; asked then whether they equal the
    minimum that was kept, no element would, and its derivative would be lost.
    """
    numpy = gx.numpy

    def step(y: Any) -> Any:
        y = numpy.pad(y[2:] * y[:-2] + 0.4278, ((1, 1), (0, 0)))
        y = y + 0.8 * numpy.roll(y, 3, 1)
        nowhere = (slice(0, 0), slice(11, 2, -1))
        y = getattr(y.at[nowhere], mode)(y[nowhere] * 0.42 + 1.0)
        return numpy.pad(y[:, 1:] * y[:, :-1] + 0.4089, ((0, 0), (0, 1)))

    def weighted(x: Any, looped: bool) -> Any:
        if looped:
            x, _ = lax.scan(lambda carry, _: (0.5 * step(carry) + 0.1, None), x, None, length=2)
        else:
            for _ in range(2):
                x = 0.5 * step(x) + 0.1
        return numpy.sum(x * numpy.reshape(numpy.cos(1.0 * numpy.arange(x.size)), x.shape))

    x = np.random.default_rng(0).normal(size=(13, 13))
    found = gx.jit(gx.grad(lambda x: weighted(x, True)))(x)
    with gx.disable_jit():
        wanted = gx.grad(lambda x: weighted(x, False))(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * float(np.abs(wanted).max()))


def test_a_kept_maximum_and_its_operand_computed_again() -> None:
    """A policy that keeps the results of maxima keeps, too, where they were attained."""
    def norm(x: Any, w: Any) -> Any:
        y = x * w + 0.3 * w
        return gx.numpy.sum(gx.numpy.max(y, axis=1) ** 2)

    keeps_maxima = gx.checkpoint(norm, policy=lambda primitive, *_, **__: primitive.name == "reduce_max")
    x, w = np.random.default_rng(3).normal(size=(2, 40, 50))
    for found, wanted in zip(gx.jit(gx.grad(keeps_maxima, argnums=(0, 1)))(x, w), _of_the_greatest(x, w), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def _of_the_greatest(x: Any, w: Any) -> tuple[Any, Any]:
    y = x * w + 0.3 * w
    slope = np.where(y == y.max(axis=1, keepdims=True), 2 * y.max(axis=1, keepdims=True), 0.0)
    return slope * w, slope * (x + 0.3)
