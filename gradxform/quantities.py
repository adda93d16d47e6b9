"""Numbers for people: times, bytes and counts with three figures and a unit."""

from __future__ import annotations

from math import isfinite

_LARGE = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def three_figures(value: float) -> str:
    """A number with three figures, and all those before the point.

    >>> three_figures(2.0), three_figures(0.1234), three_figures(99.96), three_figures(4200.0)
    ('2', '0.123', '100', '4,200')
    """
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2 if abs(value) >= 0.9995 else 3
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def scaled(value: float, unit: str = "") -> str:
    """A count with a decimal prefix.

    >>> scaled(2097152, "flop"), scaled(640, "B"), scaled(0)
    ('2.1 Mflop', '640 B', '0')
    """
    if not isfinite(value):
        return f"{value} {unit}".rstrip()
    for factor, prefix in _LARGE:
        if abs(value) >= 0.9995 * factor:
            return f"{three_figures(value / factor)} {prefix}{unit}".rstrip()
    return f"{three_figures(value)} {unit}".rstrip()


def count(value: float) -> str:
    """A number of things.

    >>> count(2000), count(123456)
    ('2,000', '123 k')
    """
    return f"{value:,.0f}" if value < 10_000 else scaled(value)


def duration(seconds: float) -> str:
    """A time.

    >>> duration(1.5e-6), duration(0.25), duration(0.0)
    ('1.5 us', '250 ms', '0 ns')
    """
    for factor, unit in _SECONDS:
        if abs(seconds) >= 0.9995 * factor:
            return f"{three_figures(seconds / factor)} {unit}"
    return f"{three_figures(seconds * 1e9)} ns"


def percentage(part: float, whole: float) -> str:
    """A share of a whole, ``-`` if there is no whole.

    >>> percentage(1, 8), percentage(1, 0)
    ('12.5 %', '-')
    """
    return f"{three_figures(100 * part / whole)} %" if whole > 0 else "-"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """
    >>> plural(1, "pass", "passes"), plural(1200, "loop")
    ('1 pass', '1,200 loops')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
