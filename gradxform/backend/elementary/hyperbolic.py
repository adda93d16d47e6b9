"""tanh, sinh, cosh and their inverses.

tanh comes from t = expm1(-2|x|), kept as an unevaluated sum, as -t / (t + 2) with the quotient corrected by its
remainder. cosh and sinh are A + 1/(4A) and A - 1/(4A) with A = exp(|x|)/2, sinh below 1 an odd minimax polynomial.
The inverses reduce to log1p of an unevaluated sum (W. Kahan, "Branch cuts for complex elementary functions", 1987).
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Value
from gradxform.backend.elementary.exponential import exp, expm1_pair
from gradxform.backend.elementary.logarithm import log1p_of_pair

INFINITY = float("inf")
# Beyond this, sqrt(x^2 + 1) is x, and log(2x) the inverse hyperbolic sine and cosine.
LARGE = {"double": 2.0**100, "float": 2.0**30}

# Where -2|x| is less, tanh is 1.
TANH_RANGE = {"double": -80.0, "float": -40.0}
# (sinh(x) - x) / x^3 as a polynomial in x^2, |x| <= 1, error of sinh below 2^-61 (float: 2^-31).
SINH = {
    "double": (
        0.16666666666666669,
        0.00833333333333297,
        0.00019841269841531232,
        2.755731913035755e-06,
        2.5052126861488215e-08,
        1.605699996081365e-10,
        7.765918458301202e-13,
    ),
    "float": (
        0.1666666716337204,
        0.008333316072821617,
        0.00019841415632981807,
        2.791590304696001e-06,
    ),
}


def tanh(b: Builder, x: Value) -> Value:
    high, low = expm1_pair(b, b.larger(TANH_RANGE[x.kind], b.magnitude(x) * -2.0))
    whole, whole_low = b.fast_two_sum(b.constant(x.kind, 2.0), high)
    whole_low = whole_low + low
    inverse = 1.0 / whole
    quotient = -high * inverse
    remainder = b.fma(-quotient, whole_low, b.fma(-quotient, whole, -high) - low)
    return b.copysign(b.fma(remainder, inverse, quotient), x)


def cosh(b: Builder, x: Value) -> Value:
    half_exp = exp(b, b.magnitude(x), doublings=-1)
    return half_exp + 0.25 / half_exp


def sinh(b: Builder, x: Value) -> Value:
    size = b.magnitude(x)
    half_exp = exp(b, size, doublings=-1)
    z = x * x
    small = b.fma(x * z, b.polynomial(z, SINH[x.kind]), x)
    return b.select(size < 1.0, small, b.copysign(half_exp - 0.25 / half_exp, x))


def asinh(b: Builder, x: Value) -> Value:
    """log1p(|x| + x^2 / (1 + sqrt(1 + x^2)))."""
    size = b.magnitude(x)
    large = size > LARGE[x.kind]
    square = size * size
    high, low = b.fast_two_sum(size, square / (b.sqrt(square + 1.0) + 1.0))
    high, low = b.select(large, size, high), b.select(large, 0.0, low)
    result = log1p_of_pair(b, high, low, b.select(large, 1.0, 0.0, x.kind))
    return b.copysign(b.select(size < INFINITY, result, size), x)


def acosh(b: Builder, x: Value) -> Value:
    """log1p(t + sqrt(2t + t^2)) with t = x - 1."""
    large = x > LARGE[x.kind]
    t = x - 1.0
    high, low = b.two_sum(b.sqrt(b.fma(t, t, t + t)), t)
    high, low = b.select(large, x, high), b.select(large, 0.0, low)
    result = log1p_of_pair(b, high, low, b.select(large, 1.0, 0.0, x.kind))
    return b.select(x >= 1.0, b.select(x < INFINITY, result, x), float("nan"))


def atanh(b: Builder, x: Value) -> Value:
    """log1p(2|x| / (1 - |x|)) / 2."""
    size = b.magnitude(x)
    whole, whole_low = b.fast_two_sum(b.constant(x.kind, 1.0), -size)
    inverse = 1.0 / whole
    double_size = size + size
    quotient = double_size * inverse
    low = b.fma(-quotient, whole_low, b.fma(-quotient, whole, double_size)) * inverse
    result = log1p_of_pair(b, quotient, low) * 0.5
    edge = b.select(size.equals(1.0), INFINITY, float("nan"), x.kind)
    return b.copysign(b.select(size < 1.0, result, edge), x)
