"""Measure the special functions and their derivatives against mpmath and write docs/accuracy_special.md.

    python -m bench.special_accuracy [--neighbours 2] [--write] [names ...]

The references and the points are those of tests/support/special_references.py, here with random neighbours of the points.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gradxform as gx
from gradxform.scipy import special

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Accuracy of the special functions

Greatest relative errors found of compiled float64 functions, of their first derivatives and of the second derivatives in
each argument, in units of 2^-52. The reference is mpmath; the points are those of
`tests/support/special_references.py`, where tails, small and large parameters and neighbourhoods of switches are among them,
with random neighbours. The bounds that `tests/scipy/test_special_table.py` enforces stand there too. The table is written by
`python -m bench.special_accuracy --write`.

Most values are SciPy's own, computed through the addresses that it publishes for compiled code, so their errors are
SciPy's; `betaln`, `zeta` and `spherical_jn` are ours, as are all derivatives. A dash: no such argument, or no such derivative.

| function | value | in argument 0 | in 1 | in 2 | in 3 | second, in 0 | in 1 | in 2 | in 3 |
|---|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
What is to be known about the derivatives:

- `gammainc` and `gammaincc` in a: power series of one side, continued fraction of the other, differentiated term by term, as
  [Moore 1982] does, and an expansion for a > 1e7. Within 2e-13 in both tails for a from 1e-6 to 1e12. The second derivative in
  a is accurate relative to the size of its terms: where it changes sign, near x = a, some ten digits are left for a = 1000.
  (The values are SciPy's, whose `gammainc` loses digits in the tails of a > 1e6.)
- `betainc` and `betaincc` in a and b: the continued fraction [DLMF 8.17.22] differentiated step by step, as in [Boik and
  Robinson-Cox 1998]; within 5e-13 for parameters from 1e-3 to 1e5, some 1e-11 at 1e8, NaN where the fraction does not converge
  beyond. Second derivatives as above.
- `expit`, s, has the derivative s (1 - s), and all that is computed from it: for x > 0 its relative error is exp(x) units, its
  absolute one a unit of s.
- `kv` and `kve` in the order: the integral [DLMF 10.32.9] by the trapezoidal rule, all orders of derivatives.
- `jv`, `yv`, `iv`, `struve` have no derivative in the order, hypergeometric functions none in their parameters: they are
  refused.
- Third derivatives in shape parameters of incomplete gamma and beta functions are refused.

[Moore 1982]: https://doi.org/10.2307/2348014
[Boik and Robinson-Cox 1998]: https://doi.org/10.18637/jss.v003.i01
[DLMF 8.17.22]: https://dlmf.nist.gov/8.17.E22
[DLMF 10.32.9]: https://dlmf.nist.gov/10.32.E9
"""


def _moved(x: float, factor: float) -> float:
    """A neighbour of ``x``; of a number just below 1 its distance from 1 is changed, which may be a probability's."""
    if 0.5 < abs(x) < 1:
        return float(np.copysign(1 - (1 - abs(x)) * factor, x))
    return float(x * factor)


def neighbours(
    points: Sequence[tuple[float, ...]], arguments: Sequence[int], count: int, seed: int,
) -> list[tuple[float, ...]]:
    """The points, and as many random ones near each."""
    generator = np.random.default_rng(seed)
    found = list(points)
    for point in points:
        for _ in range(count):
            factors = [1 + 0.05 * generator.uniform(-1, 1) if i in arguments else 1.0 for i in range(len(point))]
            found.append(tuple(_moved(x, f) for x, f in zip(point, factors, strict=True)))
    return found


def greatest(found: Any, expected: Sequence[float]) -> str:
    """The greatest relative error in units of 2^-52."""
    reference = np.array(expected)
    kept = np.isfinite(reference) & (np.abs(reference) > 1e-290)
    if not kept.any():
        return "0"
    return f"{float(np.max(np.abs(np.asarray(found)[kept] / reference[kept] - 1))) * 2**52:.2g}"


def row_of(name: str, row: Any, derivative: Callable[..., float], count: int) -> str:
    """The line of one function."""
    function = getattr(special, name)
    points = neighbours(row.points, row.arguments, count, 3)
    columns = [np.array(column) for column in zip(*points, strict=True)]
    rank = len(columns)

    def slope(order: int, position: int) -> Callable[..., Any]:
        result: Callable[..., Any] = lambda *x: function(*x)  # noqa: E731
        for _ in range(order):
            result = gx.grad(result, argnums=position)
        return result

    parts = [slope(0, 0)]
    orders = [(0,) * rank]
    for order in (1, 2) if row.second else (1,):
        for position in row.arguments:
            parts.append(slope(order, position))
            orders.append(tuple(order if i == position else 0 for i in range(rank)))
    values = gx.jit(gx.vmap(lambda *x: [part(*x) for part in parts]))(*columns)
    cells = {key: greatest(value, [derivative(row, point, key) for point in points])
             for key, value in zip(orders, values, strict=True)}
    texts = [cells[(0,) * rank]]
    for order in (1, 2):
        for position in range(4):
            key = tuple(order if i == position else 0 for i in range(rank)) if position < rank else ()
            texts.append(cells.get(key, "-"))
    return f"| {name} | {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, default=2, help="random points near each one")
    parser.add_argument("--write", action="store_true", help="replace docs/accuracy_special.md")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    from support.special_references import REFERENCES, derivative

    lines = []
    for name, row in REFERENCES.items():
        if options.names and name not in options.names:
            continue
        lines.append(row_of(name, row, derivative, options.neighbours))
        print(lines[-1], flush=True)
    if options.write:
        (ROOT / "docs" / "accuracy_special.md").write_text(HEAD + "\n".join(lines) + "\n" + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main()
