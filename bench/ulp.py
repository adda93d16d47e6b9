"""Measure the elementary functions against mpmath and write the table of docs/accuracy.md.

    python -m bench.ulp [--samples 4000] [--write]

The references, samples and native loops are those of tests/test_elementary.py, with more points and another seed; those of
complex functions are of tests/test_complex_accuracy.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from gradxform.backend import elementary
from gradxform.backend.elementary import Request

ROOT = Path(__file__).resolve().parent.parent
SLOW = ("lgamma", "digamma", "erfinv")
HEAD = """# Accuracy of the elementary functions

Greatest error found, in units in the last place of the exact result (0.5 is correctly rounded), over the whole
domain: magnitudes spread evenly over all exponents (subnormal numbers, huge arguments of the trigonometric
functions), dense samples where the function bends, thresholds of overflow and underflow, neighbourhoods of zeros.
The reference is mpmath. In brackets stands the bound that `tests/test_elementary.py` enforces; the table is written
by `python -m bench.ulp --write`.

"""
TAIL = """
The scalar, the inlined and the vector variant of a function return the same bits, so one figure serves all three.
Special values (signed zeros, infinities, NaN, poles) follow C99 Annex F and NumPy, and are tested one by one.

Three functions have zeros at which large terms cancel. There the error is bounded absolutely, not relative to the
result, and the table leaves those points out:

| function | where | float64 | float32 |
|---|---|---|---|
| logaddexp | max(x, y) in (-ln 2, 0) and a result near 0 | 2^-55 | 2^-26 |
| lgamma | x < 0 | 2^-51 | 2^-51 before rounding |
| digamma | x < 0 | 2^-49 | 2^-49 before rounding |

For x > 0, lgamma and digamma keep full relative accuracy at their zeros. Negative arguments of these two are
computed one by one by the reflection formulas, as are arguments of sin, cos and tan above 2^32 (float32: 2^16) by
Payne and Hanek's reduction. erfinv has a branch for vectors
with an element beyond 0.98. All the rest is branch-free; all of it vectorises.

Functions marked "through float64" have no float32 kernel: they are evaluated in float64 and rounded once."""


COMPLEX_HEAD = """
## Complex numbers

Compiled functions of complex numbers are formulas on their real and imaginary parts, computed in float64 for both complex
types (sums and products of complex64 in float32). Greatest errors in units in the last place: of the real part, of the
imaginary part, and of the number, measured by the last place of its magnitude. The samples lie everywhere up to a
magnitude of 300, and near the unit circle, the axes, 1, -1, i and -i, where the functions have their zeros and branch
points; the reference is mpmath, and `tests/test_complex_accuracy.py` holds the bounds. Where a dash stands the parts are
differences, which cancel, and only the whole number is accurate.

"""
COMPLEX_TAIL = """
Infinities, NaN and the signs of zeros, and with them the sides of branch cuts, are those of C99 Annex G, as in NumPy, and
tested one by one. Quotients are scaled, so that they neither overflow nor underflow where the result does not."""


def load_tests(name: str = "test_elementary") -> ModuleType:
    """tests/test_elementary.py, or another one, as a module: tests are not a package."""
    spec = importlib.util.spec_from_file_location(f"references_of_{name}", ROOT / "tests" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def greatest_error(
    tests: ModuleType, name: str, dtype: str, samples: int, seed: int
) -> tuple[float, tuple[float, ...]]:
    """The greatest error in ulp and where it arises."""
    values = tests.arguments(name, dtype, samples // 20 if name in SLOW else samples, seed)
    expected = tests.exact(name, values)
    errors = tests.ulps(tests.library(dtype)(name, "careful", *values), expected, dtype)
    # Points at which only the absolute bound holds are left to the test.
    bound = tests.TOLERANCE[name][0 if dtype == "f64" else 1]
    errors = np.where(tests.allowed(name, dtype, values, expected) > bound, 0.0, errors)
    worst = int(np.argmax(errors))
    return float(errors[worst]), tuple(float(item[worst]) for item in values)


def complex_table(samples: int, seed: int) -> list[str]:
    """The rows of complex functions."""
    tests = load_tests("test_complex_accuracy")
    lines = ["| function | complex128: real | imaginary | whole | complex64: real | imaginary | whole |",
             "|---|---|---|---|---|---|---|"]
    for name, function in tests.FUNCTIONS.items():
        cells = []
        for dtype in (np.complex128, np.complex64):
            real, imaginary, whole = tests.greatest_errors(name, np.dtype(dtype), samples, seed)
            print(f"{name} {np.dtype(dtype)}: {real:.3f} {imaginary:.3f}, whole {whole:.3f} ulp", flush=True)
            shown = [f"{error:.2f}" if function.part is not None else "-" for error in (real, imaginary)]
            cells += [*shown[:1], "" if name == "abs" else shown[1], f"{whole:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000, help="points per interval")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="replace docs/accuracy.md")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    tests = load_tests()
    lines = ["| function | float64 | float32 | instructions (float64) | float32 kernel |", "|---|---|---|---|---|"]
    for name in elementary.roster():
        if options.names and name not in options.names:
            continue
        cells = []
        for index, dtype in enumerate(("f64", "f32")):
            error, at = greatest_error(tests, name, dtype, options.samples, options.seed)
            bound = tests.TOLERANCE[name][index]
            cells.append(f"{error:.3f} ({bound:g})")
            remark = "  ABOVE THE BOUND" if error > bound else ""
            print(f"{name} {dtype}: {error:.3f} ulp at {at}, bound {bound:g}{remark}", flush=True)
        kernel = "through float64" if "fpext" in elementary.definitions([Request(name, "f32", "fast")]) else "own"
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {elementary.instruction_count(name)} | {kernel} |")
    complex_lines = [] if options.names else complex_table(options.samples, options.seed)
    if options.write:
        text = HEAD + "\n".join(lines) + "\n" + TAIL + "\n" + COMPLEX_HEAD + "\n".join(complex_lines) + "\n" + COMPLEX_TAIL
        (ROOT / "docs" / "accuracy.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
