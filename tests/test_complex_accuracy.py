"""Compiled functions of complex numbers against mpmath: errors of each part, and of the number as a whole.

`python -m bench.ulp` measures with these references and samples, with more points, and writes the table of docs/accuracy.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

import gradxform as gx
from gradxform import primitives
from gradxform.dtypes import float32, part_dtype


class Function(NamedTuple):
    """A reference, and the bounds in ulp for float64 parts and for the whole; None where parts may cancel."""

    exact: Callable[..., Any]
    part: float | None
    whole: float
    operands: int = 1
    largest: float = 300.0


FUNCTIONS: dict[str, Function] = {
    "mul": Function(lambda z, w: z * w, None, 3, 2),
    "div": Function(lambda z, w: z / w, None, 4, 2),
    "reciprocal": Function(lambda z: 1 / z, 4, 4),
    "abs": Function(abs, 2, 2),
    "sign": Function(lambda z: z / abs(z), 3, 3),
    "sqrt": Function(mpmath.sqrt, 3, 3),
    "exp": Function(mpmath.exp, 3, 3),
    "expm1": Function(mpmath.expm1, None, 3),
    "log": Function(mpmath.log, 8, 3),
    "log2": Function(lambda z: mpmath.log(z) / mpmath.log(2), 9, 4),
    "log10": Function(lambda z: mpmath.log(z) / mpmath.log(10), 9, 4),
    "log1p": Function(lambda z: mpmath.log(1 + z), 8, 4),
    "pow": Function(lambda z, w: z**w, None, 100, 2, 5.0),
    "sin": Function(mpmath.sin, 3, 3),
    "cos": Function(mpmath.cos, 3, 3),
    "tan": Function(mpmath.tan, 5, 4),
    "sinh": Function(mpmath.sinh, 3, 3),
    "cosh": Function(mpmath.cosh, 3, 3),
    "tanh": Function(mpmath.tanh, 5, 4),
    "arcsin": Function(mpmath.asin, 4, 4),
    "arccos": Function(mpmath.acos, 4, 4),
    "arctan": Function(mpmath.atan, 5, 4),
    "arcsinh": Function(mpmath.asinh, 4, 4),
    "arccosh": Function(mpmath.acosh, 4, 4),
    "arctanh": Function(mpmath.atanh, 5, 4),
}
#: Of complex64 numbers; products of them are computed in float32, all else through float64.
PART_32, WHOLE_32, PRODUCT_32 = 1.01, 1.01, 3.0


def samples(dtype: Any, count: int, largest: float, seed: int) -> np.ndarray:
    """Numbers everywhere, and near what matters: the unit circle, 1, -1, i and -i, the axes, zero."""
    generator = np.random.default_rng(seed)
    each = count // 6

    def signs() -> np.ndarray:
        return generator.choice([-1.0, 1.0], each)

    def magnitudes(low: float, high: float) -> np.ndarray:
        return signs() * 10.0 ** generator.uniform(low, high, each)

    digits = -16.0 if part_dtype(dtype) != float32 else -7.0
    around = signs() * (1 + magnitudes(digits, -1))
    beside = magnitudes(-20.0, -1.0)
    circle = (1 + magnitudes(digits, -1)) * np.exp(2j * np.pi * generator.uniform(size=each))
    normal = generator.normal(size=each) + 1j * generator.normal(size=each)
    groups = [normal, circle, around + 1j * beside, beside + 1j * around,
              magnitudes(-12.0, np.log10(largest)) + 1j * magnitudes(-12.0, np.log10(largest)),
              generator.uniform(-largest, largest, each) + 1j * generator.uniform(-largest, largest, each)]
    return generator.permutation(np.concatenate(groups)).astype(dtype)


def greatest_errors(name: str, dtype: Any, count: int, seed: int) -> tuple[float, float, float]:
    """The greatest errors of the real part, of the imaginary part, and of the whole number, in ulp of each."""
    function = FUNCTIONS[name]
    largest = function.largest if part_dtype(dtype) != float32 else min(function.largest, 30.0)
    arguments = [samples(dtype, count, largest, seed + k) for k in range(function.operands)]
    found = gx.jit(getattr(primitives, name))(*arguments)
    part = part_dtype(dtype)
    limits = np.finfo(part)
    worst = [0.0, 0.0, 0.0]
    with mpmath.workprec(300):
        for position, value in enumerate(found):
            exact = mpmath.mpc(function.exact(*[mpmath.mpmathify(complex(x[position])) for x in arguments]))
            mine = mpmath.mpmathify(complex(value))
            for k, (x, y) in enumerate(((mine.real, exact.real), (mine.imag, exact.imag), (abs(mine - exact), 0))):
                size = float(abs(exact if k == 2 else y))
                # Of what is smaller than the normal numbers, or larger than all, there are fewer digits, or none.
                if float(limits.tiny) * 2 < size < float(limits.max) / 2 and abs(exact) < float(limits.max) / 2:
                    worst[k] = max(worst[k], float(abs(x - y) / mpmath.mpf(float(np.spacing(part.type(size))))))
    return worst[0], worst[1], worst[2]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(name: str) -> None:
    function = FUNCTIONS[name]
    real, imaginary, whole = greatest_errors(name, np.dtype(complex), 300, 11)
    assert whole <= function.whole
    if function.part is not None:
        assert max(real, imaginary) <= function.part


@pytest.mark.parametrize("name", ("mul", "div", "log", "sqrt", "exp", "tan", "arcsin", "arctanh"))
def test_accuracy_in_single_precision(name: str) -> None:
    real, imaginary, whole = greatest_errors(name, np.dtype(np.complex64), 300, 13)
    if name == "mul":
        assert whole <= PRODUCT_32
    else:
        assert whole <= WHOLE_32 and max(real, imaginary) <= PART_32
