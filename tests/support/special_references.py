"""Special functions as mpmath has them, with points and the arguments in which they are differentiable.

One row serves values, first and second derivatives in every such argument, and the table of docs/accuracy.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp


@dataclass(frozen=True)
class Row:
    """``arguments`` are the positions of real arguments; ``digits`` relative bounds of values, first and second derivatives."""

    reference: Callable[..., Any]
    points: Sequence[tuple[float, ...]]
    arguments: tuple[int, ...] = (0,)
    bounds: tuple[float, float, float] = (2e-13, 2e-12, 1e-10)
    second: bool = True


def _p(a: Any, x: Any) -> Any:
    return mp.gammainc(a, 0, x, regularized=True)


def _q(a: Any, x: Any) -> Any:
    return mp.gammainc(a, x, mp.inf, regularized=True)


def _i(a: Any, b: Any, x: Any) -> Any:
    return mp.betainc(a, b, 0, x, regularized=True)


def _ic(a: Any, b: Any, x: Any) -> Any:
    return mp.betainc(a, b, x, 1, regularized=True)


def _inverse(function: Callable[..., Any], start: Callable[..., Any]) -> Callable[..., Any]:
    """The inverse in the last argument: SciPy's guess, made exact by Newton's method."""
    def inverse(*arguments: Any) -> Any:
        *shapes, p = arguments
        guess = mp.mpf(float(start(*map(float, shapes), float(p))))
        return mp.findroot(lambda x: (function(*shapes, x) - p) / p, guess, tol=1e-50)

    return inverse


def _scipy(name: str) -> Callable[..., Any]:
    def function(*arguments: float) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return function


def _phi(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _log_phi(x: Any) -> Any:
    return mp.log1p(-_phi(-x)) if x > 0 else mp.log(_phi(x))


def _student(df: Any, t: Any) -> Any:
    tail = _i(df / 2, mp.mpf(1) / 2, df / (df + t * t)) / 2
    return tail if t < 0 else 1 - tail


def _spherical(n: Any, x: Any) -> Any:
    return mp.sqrt(mp.pi / (2 * x)) * mp.besselj(n + mp.mpf(1) / 2, x)


def _owens(h: Any, a: Any) -> Any:
    return mp.quad(lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), [0, a]) / (2 * mp.pi)


X = [(0.01,), (0.3,), (2.3,), (9.0,)]
SIGNED = [(-2.3,), (-0.3,), (1e-3,), (0.3,), (2.3,)]
UNIT = [(1e-9,), (0.2,), (0.7,), (0.999,)]
SHAPES = [(1e-3, 1e-5), (0.3, 0.2), (0.3, 4.0), (1.0, 1.0), (2.5, 0.1), (7.0, 9.5), (30.0, 31.0), (200.0, 170.0),
          (200.0, 240.0)]
BETAS = [(1e-3, 0.4, 0.5), (0.3, 0.2, 1e-6), (0.7, 0.4, 0.99), (2.5, 1.5, 0.6), (7.0, 90.0, 0.03), (7.0, 90.0, 0.3),
         (80.0, 120.0, 0.4), (80.0, 1.0, 0.999)]
ORDERS = [(0.0, 0.4), (0.5, 2.0), (1.7, 3.1), (2.0, 20.0)]
LOOSE = (1e-11, 1e-11, 1e-9)

REFERENCES: dict[str, Row] = {
    # the gamma family
    "gamma": Row(mp.gamma, [*X, (-1.7,)]),
    "rgamma": Row(mp.rgamma, [*X, (-1.7,), (-2.0,), (0.0,)]),
    "gammaln": Row(mp.loggamma, X),
    "loggamma": Row(mp.loggamma, X),
    "digamma": Row(mp.digamma, X),
    "psi": Row(mp.digamma, X),
    "beta": Row(mp.beta, [(0.3, 0.4), (30.0, 1e-3), (12.0, 14.0)], (0, 1)),
    "betaln": Row(lambda a, b: mp.log(mp.beta(a, b)), [(0.3, 0.4), (3e4, 0.7), (12.0, 14.0)], (0, 1), (1e-12, 2e-12, 1e-10)),
    "binom": Row(mp.binomial, [(7.3, 2.1), (5.0, 2.0)], (0, 1), LOOSE),
    "poch": Row(mp.rf, [(2.3, 1.4), (0.2, 5.0)], (0, 1)),
    "gammainc": Row(_p, SHAPES, (0, 1)),
    "gammaincc": Row(_q, SHAPES, (0, 1)),
    "gammaincinv": Row(_inverse(_p, _scipy("gammaincinv")), [(0.3, 0.01), (2.5, 0.6), (40.0, 0.4)], (0, 1), LOOSE),
    "gammainccinv": Row(_inverse(_q, _scipy("gammainccinv")), [(0.3, 0.2), (2.5, 1e-9), (40.0, 0.4)], (0, 1), LOOSE),
    "betainc": Row(_i, BETAS, (0, 1, 2)),
    "betaincc": Row(_ic, BETAS, (0, 1, 2)),
    "betaincinv": Row(_inverse(_i, _scipy("betaincinv")), [(2.5, 1.5, 0.6), (0.7, 3.0, 0.01)], (0, 1, 2), LOOSE),
    "betainccinv": Row(_inverse(_ic, _scipy("betainccinv")), [(2.5, 1.5, 0.6), (0.7, 3.0, 0.01)], (0, 1, 2), LOOSE),
    "zeta": Row(mp.zeta, [(1.1, 0.3), (2.0, 1.0), (3.5, 0.01), (20.0, 2.5)], (0, 1)),
    "zetac": Row(lambda x: mp.zeta(x) - 1, [(1.5,), (3.3,), (30.0,)]),
    # Bessel functions and their kin
    "j0": Row(lambda x: mp.besselj(0, x), SIGNED, bounds=(1e-13, 1e-12, 1e-10)),
    "j1": Row(lambda x: mp.besselj(1, x), SIGNED),
    "y0": Row(lambda x: mp.bessely(0, x), X, bounds=LOOSE),
    "y1": Row(lambda x: mp.bessely(1, x), X, bounds=LOOSE),
    "jv": Row(mp.besselj, ORDERS, (1,), LOOSE),
    "jn": Row(mp.besselj, ORDERS, (1,), LOOSE),
    "jve": Row(mp.besselj, ORDERS, (1,), LOOSE),
    "yn": Row(mp.bessely, [(0.0, 0.4), (2.0, 3.1)], (1,), LOOSE),
    "yv": Row(mp.bessely, ORDERS, (1,), LOOSE),
    "yve": Row(mp.bessely, ORDERS, (1,), LOOSE),
    "i0": Row(lambda x: mp.besseli(0, x), SIGNED),
    "i1": Row(lambda x: mp.besseli(1, x), SIGNED),
    "i0e": Row(lambda x: mp.besseli(0, x) * mp.exp(-x), [*X, (80.0,), (1e5,)], bounds=(1e-13, 1e-12, 1e-7)),
    "i1e": Row(lambda x: mp.besseli(1, x) * mp.exp(-x), [*X, (80.0,), (1e5,)], bounds=(1e-13, 1e-12, 1e-7)),
    "iv": Row(mp.besseli, ORDERS, (1,), LOOSE),
    "ive": Row(lambda v, x: mp.besseli(v, x) * mp.exp(-x), [*ORDERS, (1.5, 200.0)], (1,), (1e-12, 1e-11, 1e-8)),
    "k0": Row(lambda x: mp.besselk(0, x), X),
    "k1": Row(lambda x: mp.besselk(1, x), X),
    "k0e": Row(lambda x: mp.besselk(0, x) * mp.exp(x), [*X, (80.0,), (1e5,)], bounds=(1e-13, 1e-12, 1e-7)),
    "k1e": Row(lambda x: mp.besselk(1, x) * mp.exp(x), [*X, (80.0,), (1e5,)], bounds=(1e-13, 1e-12, 1e-7)),
    "kn": Row(mp.besselk, [(0.0, 0.4), (2.0, 3.1)], (1,), LOOSE),
    "kv": Row(mp.besselk, [*ORDERS, (12.0, 0.5)], (0, 1), (1e-12, 1e-11, 1e-9)),
    "kve": Row(lambda v, x: mp.besselk(v, x) * mp.exp(x), [*ORDERS, (0.3, 200.0)], (0, 1), (1e-12, 1e-11, 1e-9)),
    "spherical_jn": Row(_spherical, [(0.0, 1e-3), (1.0, 0.5), (3.0, 7.0)], (1,), LOOSE),
    "struve": Row(mp.struveh, [(0.0, 0.5), (1.3, 2.3)], (1,), LOOSE),
    "modstruve": Row(mp.struvel, [(0.0, 0.5), (1.3, 2.3)], (1,), LOOSE),
    # error functions
    "erf": Row(mp.erf, SIGNED),
    "erfc": Row(mp.erfc, [*SIGNED, (5.0,)]),
    "erfcx": Row(lambda x: mp.exp(x * x) * mp.erfc(x), [*SIGNED, (20.0,), (1e4,)]),
    "erfi": Row(mp.erfi, SIGNED),
    "dawsn": Row(lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), [*SIGNED, (20.0,), (1e4,)]),
    "erfinv": Row(mp.erfinv, [(-0.9,), (1e-9,), (0.5,)]),
    "erfcinv": Row(lambda p: mp.erfinv(1 - p), [(0.1,), (0.5,), (1.7,)]),
    "ndtr": Row(_phi, [(-9.0,), *SIGNED]),
    "log_ndtr": Row(_log_phi, [(-30.0,), *SIGNED, (9.0,)]),
    "ndtri": Row(lambda p: -mp.sqrt(2) * mp.erfinv(1 - 2 * p), UNIT, bounds=LOOSE),
    "ndtri_exp": Row(_inverse(lambda x: _log_phi(x), _scipy("ndtri_exp")), [(-50.0,), (-0.7,), (-0.01,)], bounds=LOOSE),
    "owens_t": Row(_owens, [(0.3, 1.2), (2.0, -0.5)], (0, 1), LOOSE),
    # integrals
    "exp1": Row(mp.e1, X),
    "expi": Row(mp.ei, X, bounds=LOOSE),
    "expn": Row(lambda n, x: mp.expint(n, x), [(0.0, 0.5), (1.0, 0.5), (3.0, 2.0)], (1,)),
    "spence": Row(lambda z: mp.polylog(2, 1 - z).real, [(0.3,), (0.999,), (2.5,)], bounds=LOOSE),
    "exprel": Row(lambda x: mp.expm1(x) / x, SIGNED),
    "cosm1": Row(lambda x: -2 * mp.sin(x / 2) ** 2, SIGNED),
    "ellipk": Row(mp.ellipk, [(-3.0,), (0.01,), (0.5,), (0.99,)]),
    "ellipkm1": Row(lambda p: mp.ellipk(1 - p), [(0.3,), (0.9,)]),
    "ellipe": Row(mp.ellipe, [(-3.0,), (0.01,), (0.5,), (0.99,)]),
    "ellipkinc": Row(mp.ellipf, [(1.2, 0.3), (-0.4, -2.0), (4.0, 0.9)], (0, 1), LOOSE, second=False),
    "ellipeinc": Row(mp.ellipe, [(1.2, 0.3), (-0.4, -2.0), (4.0, 0.9)], (0, 1), LOOSE, second=False),
    "hyp1f1": Row(mp.hyp1f1, [(1.3, 0.4, 0.7), (0.5, 2.5, -3.0)], (2,), LOOSE),
    "hyperu": Row(mp.hyperu, [(1.3, 0.4, 0.7), (0.5, 2.5, 3.0)], (2,), (1e-9, 1e-8, 1e-6)),
    "hyp2f1": Row(mp.hyp2f1, [(1.3, 0.4, 0.7, 0.2), (0.5, 2.5, 3.0, -2.0)], (3,), LOOSE),
    # logistic functions, entropies, losses
    "softplus": Row(lambda x: mp.log1p(mp.exp(x)), SIGNED),
    # the derivative s (1 - s) keeps the digits of 1 - s
    "expit": Row(lambda x: 1 / (1 + mp.exp(-x)), [*SIGNED, (-30.0,), (9.0,)], bounds=(2e-15, 1e-11, 1e-10)),
    "log_expit": Row(lambda x: -mp.log1p(mp.exp(-x)), [*SIGNED, (-30.0,), (9.0,)], bounds=(1e-14, 1e-11, 1e-10)),
    "logit": Row(lambda p: mp.log(p / (1 - p)), UNIT, bounds=(1e-14, 1e-14, 1e-13)),
    "xlogy": Row(lambda x, y: x * mp.log(y), [(0.3, 0.4), (2.0, 30.0)], (0, 1), (1e-14, 1e-14, 1e-14), second=False),
    "xlog1py": Row(lambda x, y: x * mp.log1p(y), [(0.3, 1e-9), (2.0, -0.7)], (0, 1), (1e-14, 1e-14, 1e-14), second=False),
    "entr": Row(lambda x: -x * mp.log(x), [(1e-9,), (0.2,), (3.0,)], bounds=(1e-14, 1e-14, 1e-14)),
    "rel_entr": Row(lambda x, y: x * mp.log(x / y), [(0.3, 0.4), (2.0, 0.1)], (0, 1), (1e-14, 1e-14, 1e-14)),
    "kl_div": Row(lambda x, y: x * mp.log(x / y) - x + y, [(0.3, 0.4), (2.0, 0.1)], (0, 1)),
    "huber": Row(lambda d, r: r * r / 2 if abs(r) < d else d * (abs(r) - d / 2), [(0.3, 0.2), (0.3, -2.0)], (0, 1)),
    "pseudo_huber": Row(lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1), [(0.3, 0.2), (2.0, -5.0)], (0, 1)),
    "boxcox": Row(lambda x, p: mp.log(x) if p == 0 else mp.expm1(p * mp.log(x)) / p,
                  [(0.3, 0.2), (2.0, -1.5), (7.0, 1e-9)], (0, 1)),
    "boxcox1p": Row(lambda x, p: mp.expm1(p * mp.log1p(x)) / p, [(0.3, 0.2), (2.0, -1.5)], (0, 1)),
    "inv_boxcox": Row(lambda y, p: mp.exp(mp.log1p(p * y) / p), [(0.3, 0.2), (2.0, 1e-9)], (0, 1)),
    "inv_boxcox1p": Row(lambda y, p: mp.expm1(mp.log1p(p * y) / p), [(0.3, 0.2), (2.0, 1e-9)], (0, 1)),
    # distribution functions
    "stdtr": Row(_student, [(3.3, 0.2), (3.3, -4.0), (0.7, 30.0), (60.0, -1.0)], (0, 1), LOOSE),
    "stdtrit": Row(_inverse(_student, _scipy("stdtrit")), [(3.3, 0.2), (3.3, 0.45), (7.0, 0.999)], (0, 1), LOOSE),
    "chdtr": Row(lambda v, x: _p(v / 2, x / 2), [(3.3, 1.2)], (0, 1)),
    "chdtrc": Row(lambda v, x: _q(v / 2, x / 2), [(3.3, 1.2)], (0, 1)),
    "gdtr": Row(lambda a, b, x: _p(b, a * x), [(3.3, 1.2, 0.4)], (0, 1, 2)),
    "gdtrc": Row(lambda a, b, x: _q(b, a * x), [(3.3, 1.2, 0.4)], (0, 1, 2)),
    "fdtr": Row(lambda n, d, x: _i(n / 2, d / 2, n * x / (d + n * x)), [(3.3, 1.2, 0.4)], (0, 1, 2)),
    "fdtrc": Row(lambda n, d, x: _i(d / 2, n / 2, d / (d + n * x)), [(3.3, 1.2, 0.4)], (0, 1, 2)),
    "pdtr": Row(lambda k, m: _q(k + 1, m), [(3.0, 1.2)], (1,)),
    "pdtrc": Row(lambda k, m: _p(k + 1, m), [(3.0, 1.2)], (1,)),
    "bdtr": Row(lambda k, n, p: _ic(k + 1, n - k, p), [(3.0, 7.0, 0.2)], (2,)),
    "bdtrc": Row(lambda k, n, p: _i(k + 1, n - k, p), [(3.0, 7.0, 0.2)], (2,)),
    "nbdtr": Row(lambda k, n, p: _i(n, k + 1, p), [(3.0, 7.0, 0.2)], (2,)),
    "nbdtrc": Row(lambda k, n, p: _ic(n, k + 1, p), [(3.0, 7.0, 0.2)], (2,)),
    "factorial": Row(lambda n: mp.gamma(n + 1), [(0.0,), (3.3,)]),
    "comb": Row(mp.binomial, [(5.5, 2.2)], (0, 1), LOOSE),
    "perm": Row(lambda n, k: mp.gamma(n + 1) / mp.gamma(n - k + 1), [(5.5, 2.2)], (0, 1), LOOSE),
}


def derivative(row: Row, point: Sequence[float], orders: Sequence[int]) -> float:
    """A partial derivative at a point, by differences in 30 digits and more."""
    with mp.workdps(30):
        where = [mp.mpf(x) for x in point]
        varied = [i for i, order in enumerate(orders) if order]
        if not varied:
            return float(mp.re(row.reference(*where)))

        def function(*moved: Any) -> Any:
            arguments = list(where)
            for i, value in zip(varied, moved, strict=True):
                arguments[i] = value
            return mp.re(row.reference(*arguments))

        at = [where[i] for i in varied]
        steps = tuple(orders[i] for i in varied)
        return float(mp.diff(function, at[0], steps[0]) if len(at) == 1 else mp.diff(function, tuple(at), steps))
