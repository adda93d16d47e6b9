"""Small factors, and roots of one as accurate as floats can be."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np

#: Pi in as many digits as the widest floats have, and whether these are more than a double's.
_PI = np.longdouble(np.pi) + np.longdouble(1.2246467991473532e-16)
_WIDE = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps


def smallest_factor(n: int) -> int:
    """The least prime that divides ``n``."""
    return next((p for p in (2, 3, 5, 7, 11, 13) if n % p == 0), n)


def roots(k: Any, n: int) -> np.ndarray:
    """exp(-2 pi i k / n), both parts rounded from more digits where there are wider floats; zeros and ones are exact."""
    # In eighths of a turn. What remains, in odd ones turned back, is a part of n of an eighth.
    eighth, rest = np.divmod(8 * (np.asarray(k, np.int64) % n), n)
    rest = np.where(eighth % 2 == 1, n - rest, rest)
    cosine, sine = _first_eighth(rest, n)
    turned = (eighth + 1) // 2 % 2 == 1
    x, y = np.where(turned, sine, cosine), np.where(turned, cosine, sine)
    x, y = np.where((eighth >= 2) & (eighth < 6), -x, x), np.where(eighth < 4, -y, y)
    return np.asarray(x + 1j * y)


def _first_eighth(k: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of k n-th parts of an eighth of a turn."""
    part = _PI / (4 * np.longdouble(n))
    if not _WIDE or k.size < 64:
        return np.cos(k * part).astype(np.float64), np.sin(k * part).astype(np.float64)
    # Products of few numbers of more digits: sines of so many would take long.
    step = isqrt(n) + 1
    coarse, fine = np.arange(step + 1) * step * part, np.arange(step) * part
    (a, b), (c, d) = (np.cos(coarse), np.sin(coarse)), (np.cos(fine), np.sin(fine))
    high, low = np.divmod(k, step)
    a, b, c, d = a[high], b[high], c[low], d[low]
    return (a * c - b * d).astype(np.float64), (a * d + b * c).astype(np.float64)
