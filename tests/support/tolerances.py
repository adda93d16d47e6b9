"""The one table of tolerances, and the comparison that uses it."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Relative to the largest element, by what is compared and in which dtype. Integers and booleans are always exact.
TOLERANCES: dict[str, dict[str, float]] = {
    # Two evaluations of one program in a different order: sums are reassociated, products contracted (FMA), and some
    # tens of operations of moderate condition lie between inputs and outputs.
    "reordered": {"float64": 1e-9, "float32": 2e-3},
    # One program against another that is mathematically equal to it (derivatives taken another way).
    "rewritten": {"float64": 1e-8, "float32": 5e-3},
    # Differences of fourth order with step 1e-3: the error is the fifth derivative's share, some 1e-12, and rounding.
    "differences": {"float64": 1e-6},
}


def assert_close(found: Any, expected: Any, kind: str = "reordered", what: str = "", narrow: bool = False) -> None:
    """Equal dtype and shape; equal values, for floats up to the tolerance of ``kind``. NaN equals NaN.

    ``narrow``: float64 values were computed by way of float32.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype, f"{what}: dtype {found.dtype}, expected {expected.dtype}"
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=what)
        return
    tolerance = TOLERANCES[kind]["float32" if narrow else expected.dtype.name]
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def assert_all_close(found: Any, expected: Any, kind: str = "reordered", what: str = "", narrow: bool = False) -> None:
    """`assert_close` for each pair of two sequences of equal length."""
    assert len(found) == len(expected), f"{what}: {len(found)} results, expected {len(expected)}"
    for position, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert_close(a, b, kind, f"{what} [{position}]", narrow)
