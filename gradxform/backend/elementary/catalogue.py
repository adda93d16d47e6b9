"""The roster of elementary functions: one row each."""

from __future__ import annotations

from gradxform.backend.elementary import (
    error_function,
    exponential,
    hyperbolic,
    inverse_trigonometric,
    logarithm,
    power,
    trigonometric,
)
from gradxform.backend.elementary.assembly import Recipe

RECIPES = (
    Recipe("exp", 1, exponential.exp),
    Recipe("exp2", 1, exponential.exp2),
    Recipe("expm1", 1, exponential.expm1),
    Recipe("sigmoid", 1, exponential.sigmoid),
    Recipe("log", 1, logarithm.log),
    Recipe("log2", 1, logarithm.log2),
    Recipe("log10", 1, logarithm.log10),
    Recipe("log1p", 1, logarithm.log1p),
    Recipe("logaddexp", 2, logarithm.logaddexp),
    Recipe("sin", 1, trigonometric.sin, outside=trigonometric.outside, reduced=trigonometric.sin_of_reduced),
    Recipe("cos", 1, trigonometric.cos, outside=trigonometric.outside, reduced=trigonometric.cos_of_reduced),
    Recipe("tan", 1, trigonometric.tan, outside=trigonometric.outside, reduced=trigonometric.tan_of_reduced),
    Recipe("asin", 1, inverse_trigonometric.asin),
    Recipe("acos", 1, inverse_trigonometric.acos),
    Recipe("atan", 1, inverse_trigonometric.atan),
    Recipe("atan2", 2, inverse_trigonometric.atan2),
    Recipe("sinh", 1, hyperbolic.sinh),
    Recipe("cosh", 1, hyperbolic.cosh),
    Recipe("tanh", 1, hyperbolic.tanh),
    Recipe("asinh", 1, hyperbolic.asinh),
    Recipe("acosh", 1, hyperbolic.acosh),
    Recipe("atanh", 1, hyperbolic.atanh),
    Recipe("pow", 2, power.pow),
    Recipe("cbrt", 1, power.cbrt),
    Recipe("rsqrt", 1, power.rsqrt),
    Recipe("hypot", 2, power.hypot),
    Recipe("erf", 1, error_function.erf),
    Recipe("erfc", 1, error_function.erfc),
    Recipe("erfinv", 1, error_function.erfinv),
    Recipe("lgamma", 1, None, external="gammaln"),
    Recipe("digamma", 1, None, external="__pyx_fuse_1psi"),
)
