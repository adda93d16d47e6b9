"""Holds the elementary functions against mpmath, as part of a run; `bench.ulp` does so at length."""

from __future__ import annotations

from typing import Any

from bench.process import missing


def measure(samples: int) -> list[dict[str, object]] | str:
    """Measure the elementary functions in units in the last place, or say what is missing for it."""
    print("\ngreatest error of the elementary functions against mpmath, in units in the last place")
    if lacking := missing(("gradxform", "mpmath", "pytest")):
        reason = f"skipped: {' and '.join(lacking)} not installed"
        print(f"    {reason}")
        return reason
    from bench import ulp
    from gradxform.backend import elementary

    tests = ulp.load_tests()
    rows: list[dict[str, object]] = []
    for name in elementary.roster():
        row: dict[str, object] = {"function": name}
        for position, dtype in enumerate(("f64", "f32")):
            error, argument = ulp.greatest_error(tests, name, dtype, samples, seed=7)
            row[dtype] = {"error": error, "at": argument, "promised": tests.TOLERANCE[name][position]}
        rows.append(row)
        print(f"    {name:<12}" + "   ".join(told(dtype, row[dtype]) for dtype in ("f64", "f32")), flush=True)
    return rows


def told(dtype: str, measured: Any) -> str:
    """Write one measured error and the promise beside it."""
    verdict = "kept" if measured["error"] <= measured["promised"] else "MISSED"
    return f"{dtype} {measured['error']:.3f} ≤ {measured['promised']:g}: {verdict}"
