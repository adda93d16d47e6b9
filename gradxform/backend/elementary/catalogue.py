"""The roster of elementary functions: one row each."""

from __future__ import annotations

from gradxform.backend.elementary import (
    error_function,
    exponential,
    gamma,
    hyperbolic,
    inverse_trigonometric,
    logarithm,
    power,
    trigonometric,
)
from gradxform.backend.elementary.assembly import Recipe

RECIPES = (
    Recipe("exp", 1, exponential.exp, exponential.exp),
    Recipe("exp2", 1, exponential.exp2, exponential.exp2),
    Recipe("expm1", 1, exponential.expm1, exponential.expm1),
    Recipe("sigmoid", 1, exponential.sigmoid, exponential.sigmoid),
    Recipe("log", 1, logarithm.log, logarithm.log),
    Recipe("log2", 1, logarithm.log2, logarithm.log2),
    Recipe("log10", 1, logarithm.log10, logarithm.log10),
    Recipe("log1p", 1, logarithm.log1p, logarithm.log1p),
    Recipe("logaddexp", 2, logarithm.logaddexp, logarithm.logaddexp),
    Recipe(
        "sin", 1, trigonometric.sin, trigonometric.sin, outside=trigonometric.outside, beyond=trigonometric.sin_of_huge
    ),
    Recipe(
        "cos", 1, trigonometric.cos, trigonometric.cos, outside=trigonometric.outside, beyond=trigonometric.cos_of_huge
    ),
    Recipe(
        "tan", 1, trigonometric.tan, trigonometric.tan, outside=trigonometric.outside, beyond=trigonometric.tan_of_huge
    ),
    Recipe("asin", 1, inverse_trigonometric.asin),
    Recipe("acos", 1, inverse_trigonometric.acos),
    Recipe("atan", 1, inverse_trigonometric.atan),
    Recipe("atan2", 2, inverse_trigonometric.atan2),
    Recipe("sinh", 1, hyperbolic.sinh, hyperbolic.sinh),
    Recipe("cosh", 1, hyperbolic.cosh, hyperbolic.cosh),
    Recipe("tanh", 1, hyperbolic.tanh, hyperbolic.tanh),
    Recipe("asinh", 1, hyperbolic.asinh, hyperbolic.asinh),
    Recipe("acosh", 1, hyperbolic.acosh, hyperbolic.acosh),
    Recipe("atanh", 1, hyperbolic.atanh, hyperbolic.atanh),
    Recipe("pow", 2, power.pow, power.pow_float),
    Recipe("cbrt", 1, power.cbrt),
    Recipe("rsqrt", 1, power.rsqrt, power.rsqrt),
    Recipe("hypot", 2, power.hypot),
    Recipe("gaussian", 1, error_function.gaussian, error_function.gaussian),
    Recipe("erf", 1, error_function.erf, error_function.erf),
    Recipe("erfc", 1, error_function.erfc),
    Recipe(
        "erfinv", 1, error_function.erfinv_in_centre,
        rare=error_function.erfinv_outside_centre, rarely=error_function.erfinv_in_tail,
    ),
    Recipe("lgamma", 1, gamma.lgamma, outside=gamma.outside, beyond=gamma.lgamma_of_negative),
    Recipe("digamma", 1, gamma.digamma, outside=gamma.outside, beyond=gamma.digamma_of_negative),
)
