"""What all distributions have in common: names of parameters, location and scale, support, tails, what is no parameter.

A distribution states what it is in standard form, for points inside of its support and parameters that are valid; a frame
calls it with such points only and puts infinities, zeros and NaN where there are none. So values outside of the support have
derivatives of zero, never NaN, and nothing about location and scale is written twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import current_builder
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import exp, expm1, floor, isnan, log, log1p
from gradxform.primitives.logic import stop_gradient
from gradxform.scipy.special.calls import operands_of
from gradxform.scipy.stats.searching import least_number

LOG_HALF = -0.6931471805599453


def log_of_complement(x: Any) -> Any:
    """log(1 - exp(x)) for x <= 0, accurate on both ends."""
    near = x > LOG_HALF
    return where(near, log(-expm1(where(near, x, -1.0))), log1p(-exp(where(near, -1.0, x))))


def like(value: Any, operand: Any) -> Any:
    """A Python number in the dtype of ``operand``: of two of them a choice would be float64."""
    return operand.dtype.type(value) if isinstance(value, float) else value


class Distribution:
    """A distribution by name, with its shape parameters in SciPy's order.

    Called with parameters it is a `Frozen` one, which has the same methods without them.
    """

    #: Names of the shape parameters.
    shapes: tuple[str, ...] = ()
    #: Names and defaults of what follows them.
    others: tuple[tuple[str, Any], ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = type(self).__doc__

    def __repr__(self) -> str:
        return f"gradxform.scipy.stats.{self.name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        self._parameters("()", args, kwargs)
        return Frozen(self, args, kwargs)

    def valid(self, *shapes: Any) -> Any:
        """Whether the shape parameters are admissible, by element; by default, whether they are positive."""
        result: Any = np.True_
        for shape in shapes:
            result = result & (shape > 0)
        return result

    def _parameters(self, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        names = [*self.shapes, *(name for name, _ in self.others)]
        if len(args) > len(names):
            raise ArgumentTypeError(f"{self.name}.{method}: expected at most {len(names)} parameters ({', '.join(names)}), "
                                    f"got {len(args)}{user_line()}")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names or name in given:
                reason = "given twice" if name in given else f"unknown; the parameters are {', '.join(names)}"
                raise ArgumentTypeError(f"{self.name}.{method}: {name} is {reason}{user_line()}")
            given[name] = value
        missing = [name for name in self.shapes if name not in given]
        if missing:
            raise ArgumentTypeError(f"{self.name}.{method}: missing {', '.join(missing)}{user_line()}")
        defaults = dict(self.others)
        return [given[name] if name in given else defaults[name] for name in names]

    def _operands(self, method: str, x: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        return operands_of(f"{self.name}.{method}", x, *self._parameters(method, args, kwargs))


class Frozen:
    """A distribution whose parameters are given."""

    def __init__(self, distribution: Distribution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._distribution, self._args, self._kwargs = distribution, args, kwargs

    def __repr__(self) -> str:
        parts = [*map(repr, self._args), *(f"{name}={value!r}" for name, value in self._kwargs.items())]
        return f"{self._distribution!r}({', '.join(parts)})"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._distribution, name)

        def function(*points: Any) -> Any:
            return method(*points, *self._args, **self._kwargs)

        return function


def quietly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Without NumPy's warnings: it computes the alternatives of a choice that is made element by element. Of numbers it
    gives a NumPy scalar."""

    @functools.wraps(method)
    def function(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is not None:
            return method(*args, **kwargs)
        with np.errstate(all="ignore"):
            return method(*args, **kwargs)[()]

    return function


class Continuous(Distribution):
    """A continuous distribution of (x - loc) / scale.

    Subclasses give ``_logpdf`` and, in standard form, ``_cdf`` and ``_sf``; ``_logcdf`` and ``_logsf`` where their logarithms
    would lose digits; ``_ppf`` and ``_isf``.
    """

    others = (("loc", 0.0), ("scale", 1.0))

    def support(self, *shapes: Any) -> tuple[Any, Any]:
        """The ends of the support in standard form."""
        return -np.inf, np.inf

    def ends(self, *shapes: Any) -> tuple[Any, Any] | None:
        """The log-density at the two ends of the support where it is infinite there, 0 where it is not; None: nowhere.

        There densities have no derivatives, which are given as 0.
        """
        return None

    def _interior(self, *shapes: Any) -> Any:
        """A point inside of the support."""
        lower, upper = self.support(*shapes)
        if lower > -np.inf:
            return 0.5 * (lower + upper) if upper < np.inf else lower + 1.0
        return upper - 1.0 if upper < np.inf else 0.0

    def _logpdf(self, z: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def _cdf(self, z: Any, *shapes: Any) -> Any:
        raise self._absent("cdf")

    def _sf(self, z: Any, *shapes: Any) -> Any:
        return 1 - self._cdf(z, *shapes)

    def _logcdf(self, z: Any, *shapes: Any) -> Any:
        return log(self._cdf(z, *shapes))

    def _logsf(self, z: Any, *shapes: Any) -> Any:
        return log(self._sf(z, *shapes))

    def _ppf(self, q: Any, *shapes: Any) -> Any:
        raise self._absent("ppf")

    def _isf(self, q: Any, *shapes: Any) -> Any:
        raise self._absent("isf")

    def _absent(self, method: str) -> ArgumentError:
        return ArgumentError(f"{self.name}.{method} is not available: it has no accurate closed form; SciPy's can be "
                             f"called outside of transforms{user_line()}")

    def _standard(self, method: str, x: Any, args: Any, kwargs: Any) -> tuple[Any, Any, list[Any], Any, Any]:
        """The point in standard form, whether all is valid, shapes that are, location, and a scale that is."""
        point, *rest = self._operands(method, x, args, kwargs)
        *shapes, loc, scale = rest
        valid = self.valid(*shapes) & (scale > 0)
        # Admissible numbers in place of the others: whatever they are, the result is NaN there.
        scale = where(scale > 0, scale, 1.0)
        good = self.valid(*shapes)
        shapes = [where(good, shape, stand_in) for shape, stand_in in zip(shapes, self._example(), strict=True)]
        return point, valid, shapes, loc, scale

    def _example(self) -> tuple[float, ...]:
        """Valid shape parameters."""
        return (1.0,) * len(self.shapes)

    def _density(
        self, method: str, x: Any, args: Any, kwargs: Any, compute: Callable[..., Any], finish: Callable[[Any], Any],
    ) -> Any:
        """On the closed support: ``finish`` gives the result where the log-density is infinite."""
        point, valid, shapes, loc, scale = self._standard(method, x, args, kwargs)
        z = (point - loc) / scale
        lower, upper = self.support(*shapes)
        # Nothing is left at infinity, where the terms of a log-density are infinities of either sign.
        inside = (z >= lower) & (z <= upper) & (abs(z) < np.inf)
        outside: Any = finish(-np.inf)
        ends = self.ends(*shapes)
        if ends is not None:
            at_lower, at_upper = (z == lower) & (ends[0] != 0), (z == upper) & (ends[1] != 0)
            inside = inside & ~at_lower & ~at_upper
            outside = where(at_upper, like(finish(ends[1]), z), like(outside, z))
            outside = where(at_lower, like(finish(ends[0]), z), outside)
        value = compute(where(inside & valid, z, self._interior(*shapes)), scale, *shapes)
        return where(valid & ~isnan(z), where(inside, value, outside), np.nan)

    def _between(
        self, method: str, x: Any, args: Any, kwargs: Any, compute: Callable[..., Any], below: float, above: float,
    ) -> Any:
        point, valid, shapes, loc, scale = self._standard(method, x, args, kwargs)
        z = (point - loc) / scale
        lower, upper = self.support(*shapes)
        inside = (z > lower) & (z < upper)
        value = compute(where(inside & valid, z, self._interior(*shapes)), scale, *shapes)
        outside = where(z >= upper, like(above, z), like(below, z))
        return where(valid & ~isnan(z), where(inside, value, outside), np.nan)

    @quietly
    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the density; -inf outside of the support."""
        return self._density("logpdf", x, args, kwargs, lambda z, scale, *shapes: self._logpdf(z, *shapes) - log(scale),
                             lambda value: value)

    @quietly
    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density; 0 outside of the support."""
        return self._density("pdf", x, args, kwargs, lambda z, scale, *shapes: exp(self._logpdf(z, *shapes)) / scale,
                             lambda value: math.exp(value) if isinstance(value, float) else exp(value))

    @quietly
    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of values up to ``x``."""
        return self._between("cdf", x, args, kwargs, lambda z, scale, *shapes: self._cdf(z, *shapes), 0.0, 1.0)

    @quietly
    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of values above ``x``."""
        return self._between("sf", x, args, kwargs, lambda z, scale, *shapes: self._sf(z, *shapes), 1.0, 0.0)

    @quietly
    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``cdf``."""
        return self._between("logcdf", x, args, kwargs, lambda z, scale, *shapes: self._logcdf(z, *shapes), -np.inf, 0.0)

    @quietly
    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``sf``."""
        return self._between("logsf", x, args, kwargs, lambda z, scale, *shapes: self._logsf(z, *shapes), 0.0, -np.inf)

    def _quantile(self, method: str, q: Any, args: Any, kwargs: Any, compute: Callable[..., Any], turned: bool) -> Any:
        point, valid, shapes, loc, scale = self._standard(method, q, args, kwargs)
        inside = (point > 0) & (point < 1)
        z = compute(where(inside, point, 0.5), *shapes)
        lower, upper = self.support(*shapes)
        if turned:
            lower, upper = upper, lower
        ends = where(point == 0, like(lower, point), like(upper, point))
        value = where(inside, z, ends) * scale + loc
        return where(valid & (point >= 0) & (point <= 1), value, np.nan)

    @quietly
    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The quantile: the inverse of ``cdf``."""
        return self._quantile("ppf", q, args, kwargs, self._ppf, False)

    @quietly
    def isf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The inverse of ``sf``."""
        return self._quantile("isf", q, args, kwargs, self._isf, True)


class Symmetric(Continuous):
    """A distribution with the same tail on both sides: ``_cdf`` and ``_ppf`` suffice."""

    def _sf(self, z: Any, *shapes: Any) -> Any:
        return self._cdf(-z, *shapes)

    def _logsf(self, z: Any, *shapes: Any) -> Any:
        return self._logcdf(-z, *shapes)

    def _isf(self, q: Any, *shapes: Any) -> Any:
        return -self._ppf(q, *shapes)


class Discrete(Distribution):
    """A distribution of whole numbers k - loc. Derivatives are those in the parameters: in k there are none."""

    others = (("loc", 0.0),)

    def support(self, *shapes: Any) -> tuple[Any, Any]:
        """The least and the greatest number."""
        return 0.0, np.inf

    def _example(self) -> tuple[float, ...]:
        return (0.5,) * len(self.shapes)

    def _logpmf(self, k: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def _cdf(self, k: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def _sf(self, k: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def _logcdf(self, k: Any, *shapes: Any) -> Any:
        return log(self._cdf(k, *shapes))

    def _logsf(self, k: Any, *shapes: Any) -> Any:
        return log(self._sf(k, *shapes))

    def _at(self, method: str, k: Any, args: Any, kwargs: Any) -> tuple[Any, Any, list[Any]]:
        point, *shapes, loc = self._operands(method, k, args, kwargs)
        valid = self.valid(*shapes)
        shapes = [where(valid, shape, stand_in) for shape, stand_in in zip(shapes, self._example(), strict=True)]
        return stop_gradient(point - loc), valid, shapes

    def _mass(self, method: str, k: Any, args: Any, kwargs: Any, finish: Callable[[Any], Any], outside: float) -> Any:
        count, valid, shapes = self._at(method, k, args, kwargs)
        lower, upper = self.support(*shapes)
        inside = (count >= lower) & (count <= upper) & (count == floor(count)) & (count < np.inf)
        value = finish(self._logpmf(where(inside, count, lower), *shapes))
        return where(valid & ~isnan(count), where(inside, value, outside), np.nan)

    def _between(
        self, method: str, k: Any, args: Any, kwargs: Any, compute: Callable[..., Any], below: float, above: float,
    ) -> Any:
        count, valid, shapes = self._at(method, k, args, kwargs)
        lower, upper = self.support(*shapes)
        inside = (count >= lower) & (count < upper)
        value = compute(floor(where(inside, count, lower)), *shapes)
        outside = where(count >= upper, like(above, count), like(below, count))
        return where(valid & ~isnan(count), where(inside, value, outside), np.nan)

    @quietly
    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the probability of ``k``; -inf for what is no number of the support."""
        return self._mass("logpmf", k, args, kwargs, lambda value: value, -np.inf)

    @quietly
    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of ``k``."""
        return self._mass("pmf", k, args, kwargs, exp, 0.0)

    @quietly
    def cdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of numbers up to ``k``."""
        return self._between("cdf", k, args, kwargs, self._cdf, 0.0, 1.0)

    @quietly
    def sf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of numbers above ``k``."""
        return self._between("sf", k, args, kwargs, self._sf, 1.0, 0.0)

    @quietly
    def logcdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``cdf``."""
        return self._between("logcdf", k, args, kwargs, self._logcdf, -np.inf, 0.0)

    @quietly
    def logsf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``sf``."""
        return self._between("logsf", k, args, kwargs, self._logsf, 0.0, -np.inf)

    def _quantile(self, method: str, q: Any, args: Any, kwargs: Any, accepts: Callable[..., Any], turned: bool) -> Any:
        """Numbers are steps of their parameters: of those only the location has a derivative."""
        point, *shapes, loc = self._operands(method, q, args, kwargs)
        valid = self.valid(*shapes)
        shapes = [stop_gradient(where(valid, x, stand_in)) for x, stand_in in zip(shapes, self._example(), strict=True)]
        inside = (point > 0) & (point < 1)
        asked = stop_gradient(where(inside & valid, point, 0.5))
        lower, upper = (end + 0.0 * asked for end in self.support(*shapes))
        number = least_number(lambda k: accepts(k, asked, *shapes), lower, upper)
        first, last = (upper, lower - 1) if turned else (lower - 1, upper)
        value = where(inside, number, where(point == 0, first, last)) + loc
        return where(valid & (point >= 0) & (point <= 1), value, np.nan)

    @quietly
    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The quantile: the least number of which ``cdf`` is at least ``q``, and the one before the first for 0."""
        return self._quantile("ppf", q, args, kwargs, lambda k, asked, *shapes: self._cdf(k, *shapes) >= asked, False)

    @quietly
    def isf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The least number of which ``sf`` is at most ``q``."""
        return self._quantile("isf", q, args, kwargs, lambda k, asked, *shapes: self._sf(k, *shapes) <= asked, True)
