"""erf, erfc, erfinv, and exp(-x^2), the derivative of erf but for a factor.

Small arguments: x + x P(x^2). Large ones: erfc(x) = exp(-x^2) u G(t) with u = 1/(x + K), t = A u + B linear in u,
after M. M. Shepherd and J. G. Laframboise (Math. Comp. 36 (1981) 249), who map the half line to an interval in this
way. exp(-x^2) is `gaussian`, line by line: where erf and its derivative are both wanted, one exponential is evaluated.
For erfc the square, the exponential, u and the leading coefficient of G are unevaluated sums of two doubles, for the
exponential multiplies every error.

erfinv: up to 0.98 x times a quotient of polynomials in 1 - x^2; in the tail, which is rare, s G(t) with s = sqrt(-log(1 -
|x|)), the argument that M. B. Giles ("Approximating the erfinv function", GPU Computing Gems, 2011) recommends, from a
logarithm in double-double.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Value
from gradxform.backend.elementary.exponential import exp, exp_parts, scale_by_power
from gradxform.backend.elementary.power import log_pair

INFINITY = float("inf")

# Beyond, exp(-x^2) is 0.
FARTHEST = {"double": 28.0, "float": 11.0}
# erf(x) / x - 1 as a polynomial in x^2, |x| <= 1, error of erf below 2^-56 (float: 2^-29.6).
ERF = {
    "double": (
        0.12837916709551256,
        -0.37612638903183454,
        0.11283791670942443,
        -0.02686617064289883,
        0.005223977604678556,
        -0.0008548325869786497,
        0.00012055291996976853,
        -1.4924684820067766e-05,
        1.6446819930649252e-06,
        -1.620409493952726e-07,
        1.3701976220413287e-08,
        -7.763582525904677e-10,
    ),
    "float": (
        0.12837916612625122,
        -0.3761262595653534,
        0.1128358542919159,
        -0.026853810995817184,
        0.005188327748328447,
        -0.0008010192541405559,
        7.853857823647559e-05,
    ),
}
# erfc(x) exp(x^2) (x + 3) in t = (1 - x) / (x + 3), 1 <= x <= 6, error below 2^-53.7 relative (float: x <= 4, error of
# erf below 2^-32).
ERF_LARGE = {
    "double": (
        1.710334304623228,
        2.6610579319191454,
        2.847329759340459,
        2.0466066705751333,
        0.8490600538104975,
        0.046727261927760555,
        -0.1362134152832303,
        -0.034349879516829794,
        0.025656333585034836,
        0.00802520049607044,
        -0.006700947010538416,
        -0.0015125581487284235,
        0.0012397612980013868,
        -0.0012543578189021655,
        -0.001712324146981497,
        -0.0004968378793615711,
    ),
    "float": (
        1.710334300994873,
        2.6610589027404785,
        2.8473947048187256,
        2.048171043395996,
        0.8652554750442505,
        0.12198451906442642,
    ),
}
# erfc(x) exp(x^2) (x + 4) in t = (5.125 - 1.3125 x) / (x + 4), 1/2 <= x <= 28, error below 2^-57.8 relative, and the
# low part of the first coefficient.
ERFC_MAP = (4.0, 5.125, 1.3125)
ERFC_FIRST_LOW = 3.3883507524248356e-17
ERFC = (
    1.1078744994181442,
    0.7675513263465878,
    0.47152389754268154,
    0.255389338045709,
    0.1207260293984778,
    0.04896077993503264,
    0.01652728993550275,
    0.004369600531241183,
    0.0007672694112850602,
    2.1655070932644952e-05,
    -3.555583585890304e-05,
    -1.0148288441295081e-05,
    -2.7366194253470272e-08,
    6.687207826006182e-07,
    1.1610412599318404e-07,
    -3.210918710193965e-08,
    -1.2858577663193167e-08,
    1.2271436546081017e-09,
    1.0956882324742357e-09,
    -3.0200475796115605e-11,
    -6.539037909392813e-11,
)
# The derivative of that polynomial, roughly: it multiplies the rounding error of t.
ERFC_SLOPE = (0.77, 1.46, 0.97)
# erfinv(x) / x = C + (x^2 - 0.5) N(1 - x^2) / D(1 - x^2) for |x| < 0.98, error below 2^-58; C is the value where x^2 is 0.5, in
# two parts. N and D have no zeros but beyond x^2 = 1, so all coefficients are positive and nothing cancels.
ERFINV_CENTRE, ERFINV_PIVOT = 0.98, 0.5
ERFINV_AT_PIVOT = (1.051795860165225, -3.606074211188698e-17)
ERFINV_ABOVE = (
    8.273782341946187e-09,
    5.553207552529443e-06,
    0.0008179485388821982,
    0.04304955116618355,
    0.9806737489222707,
    10.581177389582141,
    56.16555691141611,
    146.82226650887787,
    182.46773199299938,
    98.99789405644331,
    19.58321414241227,
    0.9024774793629602,
)
ERFINV_BELOW = (
    2.5354018484162514e-09,
    2.2730613272046104e-06,
    0.00042016007064380096,
    0.027471833274109424,
    0.7841361249811257,
    10.825981328984549,
    76.02022726271458,
    276.0740105712179,
    512.4986188288976,
    465.5268264464013,
    188.78245720420077,
    28.36861402612612,
    1.0,
)
# erfinv(x) / s in t = (5.25 - 2.1875 s) / (s + 2) with s^2 = -log(1 - x), 0.65 <= x < 1, error below 2^-60; the first
# coefficient in two parts.
ERFINV_TAIL_MAP = (2.0, 5.25, 2.1875)
ERFINV_TAIL_FIRST = (0.8699177794247063, 2.01868919391479e-17)
ERFINV_TAIL = (
    -0.14913576175203466,
    -0.06376233868623621,
    -0.014045880473733011,
    -0.0010845437821032622,
    0.0008138305672626867,
    0.0004732888479703663,
    0.00014449713228752877,
    1.8453492615940055e-05,
    -7.030337967865008e-06,
    -5.8637653817143505e-06,
    -2.1652828690827185e-06,
    -4.186849050878705e-07,
    5.4162784814867107e-08,
    8.121142698881503e-08,
    3.696838801782387e-08,
    9.132537791316319e-09,
    1.582266956637805e-10,
    -1.1087199120680314e-09,
    -6.489811870673414e-10,
    -2.387050920644856e-10,
    -1.967406573453029e-11,
    3.2637747288947663e-11,
    1.1901873906927909e-11,
)


def _small(b: Builder, x: Value) -> Value:
    """erf(x) / x - 1 for |x| <= 1."""
    return b.polynomial(x * x, ERF[x.kind])


def gaussian(b: Builder, x: Value) -> Value:
    """exp(-x^2), the rounding error of the square corrected."""
    size = b.smaller(FARTHEST[x.kind], b.magnitude(x))
    square, square_low = b.two_product(size, size)
    return exp(b, -square, -square_low)


def erf(b: Builder, x: Value) -> Value:
    decay = gaussian(b, x)
    size = b.smaller(FARTHEST[x.kind], b.magnitude(x))
    # t vanishes at 1, where the complement is largest, and with it the errors of the polynomial.
    whole, whole_low = b.fast_two_sum(b.constant(x.kind, 3.0), size)
    u = 1.0 / whole
    correction = b.fma(-u, whole_low, b.fma(-u, whole, 1.0))
    g = b.polynomial((1.0 - size) * u, ERF_LARGE[x.kind])
    complement = decay * (u * b.fma(correction, g, g))
    large = b.copysign(1.0 - complement, x)
    return b.select(size < 1.0, b.fma(x, _small(b, x), x), large)


def erfc(b: Builder, x: Value) -> Value:
    size = b.smaller(28.0, b.magnitude(x))
    square, square_low = b.two_product(size, size)
    high, low, raw = exp_parts(b, b.larger(-746.0, -square), -square_low)
    decay, decay_low = b.fast_two_sum(high, low)
    shift, intercept, slope = ERFC_MAP
    whole, whole_low = b.fast_two_sum(b.constant("double", shift), size)
    u = 1.0 / whole
    u_low = u * b.fma(-u, whole_low, b.fma(-u, whole, 1.0))
    numerator = b.fma(size, -slope, intercept)
    numerator_low = b.fma(size, -slope, intercept - numerator)
    t, t_low = b.two_product(numerator, u)
    t_low = t_low + b.fma(numerator, u_low, numerator_low * u)
    varying, varying_low = b.two_product(t, b.polynomial(t, ERFC[1:]))
    varying_low = b.fma(t_low, b.polynomial(t, ERFC_SLOPE), varying_low + ERFC_FIRST_LOW)
    g, g_low = b.fast_two_sum(b.constant("double", ERFC[0]), varying)
    product, product_low = b.two_product(u, g)
    product_low = product_low + b.fma(u, g_low + varying_low, u_low * g)
    value, value_low = b.two_product(decay, product)
    value_low = value_low + b.fma(decay, product_low, decay_low * product)
    tail = scale_by_power(b, value + value_low, raw)
    large = b.select(x < 0.0, 2.0 - tail, tail)
    return b.select(size < 0.5, b.fma(-x, _small(b, x), 1.0 - x), large)


def erfinv_outside_centre(b: Builder, x: Value) -> Value:
    return b.compare("uge", b.magnitude(x), ERFINV_CENTRE)


def erfinv_in_centre(b: Builder, x: Value) -> Value:
    complement = b.fma(-x, x, 1.0)
    ratio = b.by_pairs(complement, ERFINV_ABOVE) / b.by_pairs(complement, ERFINV_BELOW)
    first, first_low = ERFINV_AT_PIVOT
    # The sum of opposite zeros has no sign.
    return b.copysign(b.fma(x, first, x * b.fma(b.fma(x, x, -ERFINV_PIVOT), ratio, first_low)), x)


def erfinv_in_tail(b: Builder, x: Value) -> Value:
    size = b.magnitude(x)
    high, low = log_pair(b, 1.0 - size)
    s = b.sqrt(-high)
    s_low = (b.fma(-s, s, -high) - low) / (s + s)
    shift, intercept, slope = ERFINV_TAIL_MAP
    t = b.fma(s, -slope, intercept) / (s + shift)
    first, first_low = ERFINV_TAIL_FIRST
    # The derivative of erfinv with respect to s is near 1 all along, so the low part of s adds itself.
    rest = b.fma(s, b.fma(t, b.polynomial(t, ERFINV_TAIL), first_low), s_low)
    edge = b.select(size.equals(1.0), INFINITY, float("nan"))
    return b.copysign(b.select(size < 1.0, b.fma(s, first, rest), edge), x)
