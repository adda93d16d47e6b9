"""Programs of error functions and of integrals: derivatives of any order without loss of digits, and single results."""

from __future__ import annotations

from gradxform.loopir.scalar.library import (
    INFINITY,
    NOT_A_NUMBER,
    cos,
    dawsn,
    elliprd,
    erfcx,
    exp,
    expm1,
    fabs,
    fma,
    fresnel,
    log,
    log1p,
    rint,
    shichi,
    sici,
    sin,
    sqrt,
)

TWO_OVER_ROOT_PI = 1.1283791670955126
ONE_OVER_ROOT_PI = 0.5641895835477563
PI = 3.141592653589793
PI_REST = 1.2246467991473532e-16
E = 2.718281828459045
E_REST = 1.4456468917292502e-16
#: From here on the expansions of error functions for large arguments have all their digits.
LARGE = 7.0


def _inverse_powers(x: float, order: float, sign: float) -> float:
    """The derivative of whole ``order`` of the sum of sign**m (2m - 1)!! / (2**m x**(2m + 1)) over m >= 0."""
    term = 1.0 / x
    k = 0.0
    while k < order:
        k = k + 1.0
        term = -term * k / x
    total = term
    m = 0.0
    while m < 60.0:
        m = m + 1.0
        # (2m + order)! / (2m)! grows with m
        growth = (2.0 * m + order) * (2.0 * m - 1.0 + order) / ((2.0 * m) * (2.0 * m - 1.0))
        term = sign * term * (2.0 * m - 1.0) * growth / (2.0 * x * x)
        total = total + term
        if fabs(term) <= 1e-17 * fabs(total):
            break
    return total


def erfcx_derivative(x: float, order: float) -> float:
    """The derivative of whole ``order`` of erfcx."""
    if x > LARGE:
        return ONE_OVER_ROOT_PI * _inverse_powers(x, order, -1.0)
    value, slope = erfcx(x), 2.0 * x * erfcx(x) - TWO_OVER_ROOT_PI
    if x < -26.0 and value == INFINITY:
        value, slope = INFINITY, -INFINITY
    if order == 0.0:
        return value
    k = 1.0
    while k < order:
        value, slope = slope, 2.0 * x * slope + 2.0 * k * value
        k = k + 1.0
    return slope


def dawsn_derivative(x: float, order: float) -> float:
    """The derivative of whole ``order`` of Dawson's integral."""
    if fabs(x) > LARGE:
        return 0.5 * _inverse_powers(x, order, 1.0)
    value = dawsn(x)
    slope = 1.0 - 2.0 * x * value
    if order == 0.0:
        return value
    k = 1.0
    while k < order:
        value, slope = slope, -2.0 * x * slope - 2.0 * k * value
        k = k + 1.0
    return slope


def exprel_derivative(x: float, order: float) -> float:
    """The derivative of whole ``order`` of expm1(x) / x: the integral of t**order exp(x t) from 0 to 1."""
    size = fabs(x)
    if x != x:
        return x
    if x == INFINITY:
        return INFINITY
    if x == -INFINITY:
        return 0.0
    k = 0.0
    if size > 30.0 + 2.0 * order:
        value = expm1(x) / x
        while k < order:
            k = k + 1.0
            value = (exp(x) - k * value) / x
        return value
    if x > 0.0:
        power = 1.0
        total = 1.0 / (order + 1.0)
        while k < 300.0:
            k = k + 1.0
            power = power * x / k
            term = power / (order + k + 1.0)
            total = total + term
            if term <= 1e-17 * total:
                break
        return total
    # Kummer's transformation (DLMF 13.2.39): all terms are positive
    term = 1.0 / (order + 1.0)
    total = term
    while k < 300.0:
        k = k + 1.0
        term = term * size / (order + 1.0 + k)
        total = total + term
        if term <= 1e-17 * total:
            break
    return exp(x) * total


def log1prel_derivative(x: float, order: float) -> float:
    """The derivative of whole ``order`` of log1p(x) / x."""
    if x == INFINITY:
        return 0.0
    k = 0.0
    if fabs(x) < 0.3:
        factorial = 1.0
        while k < order:
            k = k + 1.0
            factorial = -factorial * k
        # factor is (k + order)! / k! (-x)**k with the sign of the order
        factor = factorial
        total = factor / (order + 1.0)
        k = 0.0
        while k < 80.0:
            k = k + 1.0
            factor = -factor * x * (k + order) / k
            term = factor / (k + order + 1.0)
            total = total + term
            if fabs(term) <= 1e-17 * fabs(total):
                break
        return total
    value = log1p(x) / x
    # what is added is the derivative of log1p
    part = 1.0 / (1.0 + x)
    while k < order:
        k = k + 1.0
        value = (part - k * value) / x
        part = -part * k / (1.0 + x)
    return value


def lambertw_real(z: float, branch: float) -> float:
    """The real solution w of w exp(w) = z: of branch 0, w >= -1, or of branch -1, w <= -1; NaN where there is none."""
    if z != z or (branch == -1.0 and z > 0.0) or not (branch == 0.0 or branch == -1.0):
        return NOT_A_NUMBER
    if z == 0.0:
        return z if branch == 0.0 else -INFINITY
    if z == INFINITY:
        return INFINITY
    # e z + 1 without cancellation
    above = fma(E, z, 1.0) + E_REST * z
    if above < 0.0:
        return -1.0 if above > -1e-16 else NOT_A_NUMBER
    p = sqrt(2.0 * above)
    p = p if branch == 0.0 else -p
    near = -1.0 + p * (1.0 - p * (1.0 / 3.0 - p * (11.0 / 72.0 - p * (43.0 / 540.0 - p * (769.0 / 17280.0 - p * (
        221.0 / 8505.0 - p * (680863.0 / 43545600.0 - p * (1963.0 / 204120.0 - p * 226287557.0 / 37623398400.0))))))))
    if fabs(p) < 0.03:
        return near
    w = near
    if branch == 0.0:
        if z > 0.3:
            w = log1p(z)
            w = w * (1.0 - log1p(w) / (2.0 + w))
    elif p < -1.0:
        w = log(-z)
        w = w - log(-w)
    i = 0.0
    while i < 30.0:
        i = i + 1.0
        # Halley's step on w + log(w / z) away from 0, on w - z exp(-w) near it
        if (fabs(z) > 0.1 and w / z > 0.0) or branch == -1.0:
            excess = w + log(w / z)
            change = excess * w / (1.0 + w) / (1.0 + excess / (2.0 * (1.0 + w) * (1.0 + w)))
        else:
            excess = w - z * exp(-w)
            change = excess / (1.0 + w - (w + 2.0) * excess / (2.0 * w + 2.0))
        w = w - change
        if fabs(change) <= 1e-16 * fabs(w):
            break
    return w


def sine_integral(x: float) -> float:
    """The sine integral Si."""
    si, ci = sici(x)
    return si


def cosine_integral(x: float) -> float:
    """The cosine integral Ci."""
    si, ci = sici(x)
    return ci


def hyperbolic_sine_integral(x: float) -> float:
    """The hyperbolic sine integral Shi."""
    shi, chi = shichi(x)
    return shi


def hyperbolic_cosine_integral(x: float) -> float:
    """The hyperbolic cosine integral Chi."""
    shi, chi = shichi(x)
    return chi


def fresnel_sine(x: float) -> float:
    """Fresnel's integral S."""
    s, c = fresnel(x)
    return s


def fresnel_cosine(x: float) -> float:
    """Fresnel's integral C."""
    s, c = fresnel(x)
    return c


def ellipk_m(m: float) -> float:
    """The derivative of ellipk(m) (DLMF 19.25.1 and 19.4.1)."""
    return elliprd(0.0, 1.0, 1.0 - m) / 6.0 if m < 1.0 else (INFINITY if m == 1.0 else NOT_A_NUMBER)


def ellipe_m(m: float) -> float:
    """The derivative of ellipe(m)."""
    return -elliprd(0.0, 1.0 - m, 1.0) / 6.0 if m < 1.0 else (-INFINITY if m == 1.0 else NOT_A_NUMBER)


def ellipkinc_m(phi: float, m: float) -> float:
    """The derivative of ellipkinc(phi, m) in m (DLMF 19.25.5, and 19.18.4 for that of Carlson's integral)."""
    turns = rint(phi / PI)
    rest = (phi - turns * PI) - turns * PI_REST
    s, c = sin(rest), cos(rest)
    value = s * s * s / 6.0 * elliprd(c * c, 1.0, 1.0 - m * s * s) if s != 0.0 else 0.0
    return value + 2.0 * turns * ellipk_m(m) if turns != 0.0 else value


def ellipeinc_m(phi: float, m: float) -> float:
    """The derivative of ellipeinc(phi, m) in m (DLMF 19.25.10)."""
    turns = rint(phi / PI)
    rest = (phi - turns * PI) - turns * PI_REST
    s, c = sin(rest), cos(rest)
    value = -s * s * s / 6.0 * elliprd(c * c, 1.0 - m * s * s, 1.0) if s != 0.0 else 0.0
    return value + 2.0 * turns * ellipe_m(m) if turns != 0.0 else value
