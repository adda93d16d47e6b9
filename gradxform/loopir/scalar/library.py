"""What the programs of this package may call: functions of C's mathematical library and of ``scipy.special``.

Called from Python they compute with IEEE's conventions: no exception for an overflow or a pole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.data_class import data_class


@data_class(frozen=True, slots=True)
class External:
    """A function of float64 numbers from ``source``: "c" or "special"."""

    source: str
    name: str
    arity: int

    def __call__(self, *arguments: float) -> float:
        if self.source == "c":
            with np.errstate(all="ignore"):
                return float(_MATHEMATICS[self.name](*arguments))
        import scipy.special

        return float(getattr(scipy.special, self.name)(*arguments))


@data_class(frozen=True, slots=True)
class Several:
    """A function of ``scipy.special`` with one argument and several results."""

    name: str
    results: int

    def __call__(self, argument: float) -> tuple[float, ...]:
        import scipy.special

        return tuple([float(part) for part in getattr(scipy.special, self.name)(argument)])


def _fma(x: float, y: float, z: float) -> float:
    """x*y + z rounded once."""
    from fractions import Fraction

    return float(Fraction(x) * Fraction(y) + Fraction(z))


#: Functions by C's names.
_MATHEMATICS: dict[str, Callable[..., Any]] = {
    "fabs": np.absolute, "pow": np.power, "fma": _fma,
    **{name: getattr(np, name) for name in (
        "exp", "log", "log1p", "expm1", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "floor", "rint")},
}

INFINITY = math.inf
NOT_A_NUMBER = math.nan

exp, log, log1p, expm1 = (External("c", name, 1) for name in ("exp", "log", "log1p", "expm1"))
sqrt, sin, cos, tan = (External("c", name, 1) for name in ("sqrt", "sin", "cos", "tan"))
sinh, cosh, fabs, floor, rint = (External("c", name, 1) for name in ("sinh", "cosh", "fabs", "floor", "rint"))
power, fma = External("c", "pow", 2), External("c", "fma", 3)

psi = External("special", "psi", 1)
gamma, gammaln = External("special", "gamma", 1), External("special", "gammaln", 1)
exp1 = External("special", "exp1", 1)
rgamma = External("special", "rgamma", 1)
gammainc = External("special", "gammainc", 2)
gammaincc = External("special", "gammaincc", 2)
betainc = External("special", "betainc", 3)
betaincc = External("special", "betaincc", 3)
elliprd = External("special", "elliprd", 3)
elliprf = External("special", "elliprf", 3)
erfcx = External("special", "erfcx", 1)
dawsn = External("special", "dawsn", 1)
jv, yv, ive, kve = (External("special", name, 2) for name in ("jv", "yv", "ive", "kve"))

sici = Several("sici", 2)
shichi = Several("shichi", 2)
fresnel = Several("fresnel", 2)
airy = Several("airy", 4)
