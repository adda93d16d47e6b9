"""windows and overlap_add, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from rule_checks import check_function, trace

from gradxform.errors import AxisError, ShapeError
from gradxform.primitives.arithmetic import mul
from gradxform.primitives.windows import overlap_add, windows

RANDOM = np.random.default_rng(0)

# shape, axes, sizes, strides, dilations
CASES = [
    ((7,), (0,), (3,), (1,), (1,)),
    ((9,), (0,), (3,), (2,), (2,)),
    ((8, 3), (0,), (2,), (3,), (1,)),
    ((2, 6, 5), (1, 2), (3, 2), (1, 2), (1, 1)),
    ((5, 2, 6), (0, 2), (2, 2), (2, 1), (3, 2)),
    ((4,), (0,), (1,), (5,), (1,)),
    ((2,), (0,), (3,), (1,), (1,)),
]


def slid(x, axes, sizes, strides, dilations):
    """The windows, one element at a time."""
    extents = list(x.shape)
    for a, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        extents[a] = len(range(0, x.shape[a] - (size - 1) * dilation, stride))
    result = np.zeros((*extents, *sizes))
    for index in np.ndindex(result.shape):
        source = list(index[:x.ndim])
        for a, within, stride, dilation in zip(axes, index[x.ndim:], strides, dilations, strict=True):
            source[a] = source[a] * stride + within * dilation
        result[index] = x[tuple(source)]
    return result


def added(y, extents, axes, sizes, strides, dilations):
    """The transpose of `slid`, one element at a time."""
    rank = y.ndim - len(axes)
    shape = list(y.shape[:rank])
    for a, n in zip(axes, extents, strict=True):
        shape[a] = n
    result = np.zeros(shape)
    for index in np.ndindex(y.shape):
        target = list(index[:rank])
        for a, within, stride, dilation in zip(axes, index[rank:], strides, dilations, strict=True):
            target[a] = target[a] * stride + within * dilation
        result[tuple(target)] += y[index]
    return result


@pytest.mark.parametrize(("shape", "axes", "sizes", "strides", "dilations"), CASES)
def test_windows(shape, axes, sizes, strides, dilations):
    x = RANDOM.standard_normal(shape)

    def squared(a):
        seen = windows(a, axes, sizes, strides, dilations)
        return mul(seen, seen)

    check_function(squared, [x], lambda a: slid(a, axes, sizes, strides, dilations) ** 2)


@pytest.mark.parametrize(("shape", "axes", "sizes", "strides", "dilations"), CASES)
def test_overlap_add(shape, axes, sizes, strides, dilations):
    y = RANDOM.standard_normal(slid(np.zeros(shape), axes, sizes, strides, dilations).shape)
    extents = tuple(shape[a] for a in axes)

    def squared(a):
        whole = overlap_add(a, axes, extents, sizes, strides, dilations)
        return mul(whole, whole)

    check_function(squared, [y], lambda a: added(a, extents, axes, sizes, strides, dilations) ** 2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"windows: sizes \(0,\)"):
        trace(lambda a: windows(a, (0,), (0,), (1,), (1,)), np.zeros(3))
    with pytest.raises(ShapeError, match=r"overlap_add: expected the windows f64\[3,2\]"):
        trace(lambda a: overlap_add(a, (0,), (4,), (2,), (1,), (1,)), np.zeros((2, 2)))
    with pytest.raises(AxisError, match="windows"):
        trace(lambda a: windows(a, (1,), (1,), (1,), (1,)), np.zeros(3))
