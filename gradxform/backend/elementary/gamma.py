"""lgamma and digamma.

For x > 0, lgamma(x) = L(t) + sigma log(p): x is moved by a whole number to 2 + t, |t| <= 1/2, where L(t) = t (c0 + t
Q(t)) has its zero exactly, and p is the product of the factors in between; the logarithm is a sum of two doubles, so
that the zeros at 1 and 2 keep full relative accuracy. From 4.5 on it is Stirling's series (DLMF 5.11.1), its tail a
minimax polynomial in 1/x^2.

digamma likewise: (x - x0) P(x) around its zero x0 on [1, 2], with the recurrence psi(x + 1) = psi(x) + 1/x, and the
asymptotic series (DLMF 5.11.2) from 4 on.

Negative arguments are outside of the straight-line code; there the reflection formulas (DLMF 5.5.3, 5.5.4) serve.
Near the zeros between negative integers two large terms cancel, and the error is bounded absolutely, by some 2^-52,
not relative to the result.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Pair, Value
from gradxform.backend.elementary.logarithm import log
from gradxform.backend.elementary.power import log_pair
from gradxform.backend.elementary.trigonometric import sine_and_cosine_pairs

INFINITY = float("inf")
PI = (3.141592653589793, 1.2246467991473532e-16)
LOG_PI = (1.1447298858494002, 1.0265951162707826e-17)

# lgamma(2 + t) / t: the first coefficient, 1 - gamma, in two parts; then (lgamma(2 + t) / t - (1 - gamma)) / t on |t|
# <= 1/2. Error of lgamma below 2^-59 relative.
LGAMMA_FIRST = (0.42278433509846713, 4.942915152430645e-18)
LGAMMA = (
    0.3224670334241132,
    -0.06735230105319812,
    0.020580808427787096,
    -0.007385551028670039,
    0.0028905103305954223,
    -0.0011927539119365937,
    0.0005096695288462956,
    -0.0002231547519122947,
    9.945744739820227e-05,
    -4.492633882702618e-05,
    2.050784632346328e-05,
    -9.438536165762935e-06,
    4.371035931664478e-06,
    -2.044631422832754e-06,
    9.694501206107653e-07,
    -4.3094200386183583e-07,
    1.8087420016294084e-07,
    -1.3362879174113024e-07,
    8.178386917248458e-08,
)
# log(2 pi) / 2 - 1/2.
STIRLING_CONSTANT = (0.4189385332046727, 1.6728209650585413e-17)
# x (lgamma(x) - (x - 1/2) (log(x) - 1) - STIRLING_CONSTANT) in 1/x^2, x >= 4.5, error of lgamma below 2^-60.
STIRLING = (
    0.08333333333333089,
    -0.0027777777763814218,
    0.0007936505064569156,
    -0.0005952084614641264,
    0.0008400007736282422,
    -0.0018547202154581219,
    0.005008960645398245,
    -0.009971890413203276,
)
DIGAMMA_ZERO = (1.4616321449683622, 9.549995429965697e-17)
TRIGAMMA_AT_ZERO = 0.9676722454476212
# psi(x) / (x - x0) in x - 3/2 on [1, 2]: the first coefficient in two parts, then the rest; error below 2^-57 relative.
DIGAMMA_FIRST = (0.9510558760318328, 4.305687973043211e-17)
DIGAMMA = (
    -0.4236274212814606,
    0.24054248424078717,
    -0.1484049230538844,
    0.09498872445286158,
    -0.06192213327525609,
    0.040760833942635806,
    -0.02697579666744485,
    0.017907248259816093,
    -0.011908219962542614,
    0.00792702287779952,
    -0.005279938898867119,
    0.0035180938821844096,
    -0.0023454827983025108,
    0.0015634651840386229,
    -0.0010365137784622217,
    0.0006904632869565423,
    -0.00048579213812924505,
    0.00032534732478074107,
    -0.0001450617936916202,
    9.418355407244506e-05,
    -0.0001780410205904032,
    0.00012053363633750593,
)
# x^2 (log(x) - 1/(2x) - psi(x)) in 1/x^2, x >= 4, error of psi below 2^-58.
DIGAMMA_TAIL = (
    0.0833333333333188,
    -0.008333333324819933,
    0.003968252164996435,
    -0.004166473283355164,
    0.00756366694384595,
    -0.020618615631430286,
    0.07116893281416325,
    -0.2324863228530973,
    0.4484915324197263,
)


def outside(b: Builder, x: Value) -> Value:
    return x < 0.0


def _lgamma_pair(b: Builder, x: Value) -> Pair:
    """lgamma(x) = high + low for x > 0; infinities are left to the caller."""
    series = x >= 4.5
    steps = [x >= bound for bound in (0.5, 1.5, 2.5, 3.5)]
    t = b.select(
        steps[3], x - 4.0, b.select(steps[2], x - 3.0, b.select(steps[1], x - 2.0, b.select(steps[0], x - 1.0, x)))
    )
    below = x - 1.0
    upper = b.select(steps[3], below * (x - 2.0), b.select(steps[2], below, 1.0))
    product = b.select(steps[1], upper, b.select(steps[0], x, b.fma(x, x, x)))
    log_high, log_low = log_pair(b, b.select(series, x, product))
    sign = b.select(steps[1], 1.0, -1.0)
    first, first_low = b.two_product(t, b.constant("double", LGAMMA_FIRST[0]))
    rest = b.fma(t, b.fma(t, b.polynomial(t, LGAMMA), LGAMMA_FIRST[1]), first_low)
    near, near_low = b.two_sum(first, log_high * sign)
    near_low = near_low + b.fma(log_low, sign, rest)

    inverse = 1.0 / x
    factor, factor_low = b.fast_two_sum(log_high, -1.0)
    scale = x - 0.5
    far, far_low = b.two_product(scale, factor)
    tail = b.fma(inverse, b.polynomial(inverse * inverse, STIRLING), STIRLING_CONSTANT[0])
    far_low = far_low + b.fma(scale, factor_low + log_low, tail)
    # The product overflows where the function does, and leaves NaN in the low part.
    far_low = b.select(far < INFINITY, far_low, 0.0)
    return b.select(series, far, near), b.select(series, far_low, near_low)


def lgamma(b: Builder, x: Value) -> Value:
    high, low = _lgamma_pair(b, x)
    finite = b.select(x < INFINITY, high + low, x)
    return b.select(x.equals(0.0), INFINITY, finite)


def _half_turns(b: Builder, x: Value) -> tuple[Pair, Pair, Value, Value]:
    """sin(pi f) and cos(pi f) as pairs for f = x - n/2 with |f| <= 1/4; whether n is odd; and f."""
    whole = b.intrinsic("rint", x + x)
    f = b.fma(whole, -0.5, x)
    angle, angle_low = b.two_product(f, b.constant("double", PI[0]))
    angle_low = b.fma(f, PI[1], angle_low)
    sine, cosine = sine_and_cosine_pairs(b, angle, -angle_low)
    half = whole * 0.5
    return sine, cosine, b.intrinsic("rint", half).differs(half), f


def lgamma_of_negative(b: Builder, x: Value) -> Value:
    """log(pi) - log(|x sin(pi x)|) - lgamma(|x|)."""
    size = -x
    sine, cosine, odd, f = _half_turns(b, size)
    wave = b.magnitude(b.select(odd, cosine[0], sine[0]))
    wave_low = b.select(odd, cosine[1], b.select(f < 0.0, -sine[1], sine[1]))
    product, product_low = b.two_product(size, wave)
    product_low = b.fma(size, wave_low, product_low)
    log_high, log_low = log_pair(b, product)
    log_low = log_low + product_low / product
    high, low = _lgamma_pair(b, size)
    total, total_low = b.two_sum(log_high, high)
    result, result_low = b.two_sum(b.constant("double", LOG_PI[0]), -total)
    value = result + (result_low - ((total_low + low) + (log_low - LOG_PI[1])))
    # Poles at the integers, among them every double beyond 2^52; -x sin(pi x) is -pi x^2 near zero and may underflow.
    value = b.select(size < 2.0**-500, -log(b, size), value)
    return b.select(wave.equals(0.0) | (size >= 2.0**52), INFINITY, value)


def digamma(b: Builder, x: Value) -> Value:
    series = x >= 4.0
    small = x < 1.0
    second, third = x >= 2.0, x >= 3.0
    below = x - 1.0
    moved = b.select(third, x - 2.0, b.select(second, below, x))
    numerator = b.select(small, -1.0, b.select(third, b.fma(x, 2.0, -3.0), b.select(second, 1.0, 0.0)))
    denominator = b.select(third, below * (x - 2.0), b.select(second, below, b.select(small, x, 1.0)))
    numerator = b.select(series, 1.0, numerator)
    denominator = b.select(series, x, denominator)
    inverse = 1.0 / denominator
    quotient = numerator * inverse
    quotient_low = b.fma(-quotient, denominator, numerator) * inverse
    # Below 1 the argument x + 1 is never formed, for it would be rounded.
    distance = moved - b.select(small, DIGAMMA_ZERO[0] - 1.0, DIGAMMA_ZERO[0])
    s = moved - b.select(small, 0.5, 1.5)
    first, first_low = b.two_product(distance, b.constant("double", DIGAMMA_FIRST[0]))
    slope = b.fma(s, b.polynomial(s, DIGAMMA), DIGAMMA_FIRST[1])
    rest = b.fma(distance, slope, first_low - DIGAMMA_ZERO[1] * TRIGAMMA_AT_ZERO)
    near, near_low = b.two_sum(first, quotient)
    near = near + (near_low + (rest + quotient_low))
    near = b.select(b.magnitude(x) < 2.0**-100, quotient, near)
    square = inverse * inverse
    far = log(b, x) - b.fma(square, b.polynomial(square, DIGAMMA_TAIL), inverse * 0.5)
    return b.select(series, far, near)


def digamma_of_negative(b: Builder, x: Value) -> Value:
    """psi(1 - x) - pi / tan(pi x)."""
    sine, cosine, odd, _ = _half_turns(b, x)
    top = [b.select(odd, -a, c) for a, c in zip(sine, cosine, strict=True)]
    bottom = [b.select(odd, c, a) for a, c in zip(sine, cosine, strict=True)]
    quotient = top[0] / bottom[0]
    quotient_low = (b.fma(-quotient, bottom[0], top[0]) + b.fma(-quotient, bottom[1], top[1])) / bottom[0]
    turned, turned_low = b.two_product(quotient, b.constant("double", PI[0]))
    turned_low = turned_low + b.fma(quotient, PI[1], quotient_low * PI[0])
    argument, argument_low = b.two_sum(b.constant("double", 1.0), -x)
    reflected = digamma(b, argument)
    # psi' is about 1/(x - 1/2).
    reflected_low = argument_low / (argument - 0.5)
    total, total_low = b.two_sum(reflected, -turned)
    value = total + (total_low + (reflected_low - turned_low))
    value = b.select(x > -(2.0**-100), -1.0 / x, value)
    return b.select(bottom[0].equals(0.0) | (x <= -(2.0**52)), float("nan"), value)
