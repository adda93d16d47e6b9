"""Statistics of samples."""

from __future__ import annotations

import math
from typing import Any

from gradxform.core import shape_of
from gradxform.numpy.reductions import mean, std, sum
from gradxform.scipy.special import entr, rel_entr
from gradxform.scipy.special.calls import operands_of


def entropy(pk: Any, qk: Any = None, base: float | None = None, axis: int = 0) -> Any:
    """The Shannon entropy of ``pk`` along ``axis``, or its divergence from ``qk``; both are normalised first.

    >>> from gradxform.scipy import stats
    >>> stats.entropy([1.0, 1.0], base=2)
    np.float64(1.0)
    """
    if qk is None:
        (p,) = operands_of("entropy", pk)
        terms = entr(p / sum(p, axis=axis, keepdims=True))
    else:
        p, q = operands_of("entropy", pk, qk)
        terms = rel_entr(p / sum(p, axis=axis, keepdims=True), q / sum(q, axis=axis, keepdims=True))
    total = sum(terms, axis=axis)
    return total if base is None else total / math.log(base)


def zscore(a: Any, axis: int | None = 0, ddof: int = 0) -> Any:
    """Each number's distance from the mean along ``axis`` in standard deviations."""
    (x,) = operands_of("zscore", a)
    return (x - mean(x, axis=axis, keepdims=True)) / std(x, axis=axis, ddof=ddof, keepdims=True)


def sem(a: Any, axis: int | None = 0, ddof: int = 1) -> Any:
    """The standard error of the mean along ``axis``."""
    (x,) = operands_of("sem", a)
    shape = shape_of(x)
    count = math.prod(shape) if axis is None else shape[axis]
    return std(x, axis=axis, ddof=ddof) / math.sqrt(count)
