"""The translator of scalar programs: each construct compiled and run against Python."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from gradxform.backend.compile import Tier, compile_text, load
from gradxform.backend.scalar_programs import Programs
from gradxform.errors import CompileError
from gradxform.loopir.scalar.library import fabs, floor, sqrt

FACTOR = 2.5


def pair(x: float, y: float) -> tuple[float, float]:
    return x + y, x - y


def arithmetic(x: float, y: float) -> float:
    """Operators and a constant of the module."""
    return -x * FACTOR + y / 4.0 - fabs(x) * 3


def loops(x: float, y: float) -> float:
    total, n = 0.0, 0.0
    while n < 100.0:
        n += 1.0
        if n > y:
            break
        total = total + x / n
    return total


def branches(x: float, y: float) -> float:
    if x < 0.0 and not (y > 0.0):
        return -1.0
    elif x == y or x > 10.0:
        return 1.0 if x != y else 2.0
    else:
        total = sqrt(fabs(x))
    return total


def calls(x: float, y: float) -> float:
    s, d = pair(x, y)
    s, d = d, s
    return floor(arithmetic(s, d))


def recursive(x: float, y: float) -> float:
    if x < 1.0:
        return y
    return recursive(x - 1.0, y * 2.0)


POINTS = [(0.5, 2.0), (-3.0, -1.0), (12.5, 7.0), (2.0, 2.0), (5.0, 40.0)]


@pytest.mark.parametrize("function", [arithmetic, loops, branches, calls, recursive], ids=lambda f: f.__name__)
def test_compiled_is_interpreted(function):
    programs = Programs()
    symbol = programs.add(function)
    text = programs.text() + f"""
define double @run(double %x, double %y) {{
  %result = call double @{symbol}(double %x, double %y)
  ret double %result
}}
"""
    library = load(compile_text(text, Tier.STRAIGHT), {}, ["run"])
    run = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double)(library.address("run"))
    assert [run(*point) for point in POINTS] == [function(*point) for point in POINTS]


def test_what_is_no_part_of_the_language_is_refused():
    def listed(x: float) -> float:
        return sum([x, x])

    def iterated(x: float) -> float:
        for _ in range(3):
            x = x + 1.0
        return x

    for function in (listed, iterated):
        with pytest.raises(CompileError, match="a scalar program has no"):
            Programs().add(function)


def test_undefined_symbols_are_imports():
    def root(x: float) -> float:
        return sqrt(x)

    programs = Programs()
    programs.add(root)
    assert list(programs.imports) == ["llvm.sqrt.f64"]
    assert np.all(["gx." not in name for name in programs.imports])
