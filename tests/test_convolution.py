"""Convolutions and window reductions against loops over every index."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError

RANDOM = np.random.default_rng(0)


def convolved(x, kernel, strides, pads, spread, dilations, feature_groups, batch_groups):
    """Channels first: x (batch, in, space ..), kernel (out, in of a group, space ..)."""
    space = x.ndim - 2
    grown = np.zeros((*x.shape[:2], *[(n - 1) * d + 1 for n, d in zip(x.shape[2:], spread, strict=True)]))
    grown[(slice(None), slice(None), *[slice(None, None, d) for d in spread])] = x
    for a, (before, after) in enumerate(pads):
        edges = [(0, 0)] * grown.ndim
        edges[a + 2] = (max(before, 0), max(after, 0))
        grown = np.pad(grown, edges)
        cut = slice(max(-before, 0), grown.shape[a + 2] - max(-after, 0))
        grown = grown[(slice(None),) * (a + 2) + (cut,)]
    counts = [max((n - ((m - 1) * d + 1)) // s + 1, 0)
              for n, m, d, s in zip(grown.shape[2:], kernel.shape[2:], dilations, strides, strict=True)]
    batch, out = x.shape[0] // batch_groups, kernel.shape[0]
    result = np.zeros((batch, out, *counts))
    entering = kernel.shape[1]
    for n, f in itertools.product(range(batch), range(out)):
        feature_group = f // (out // feature_groups)
        batch_group = f // (out // batch_groups)
        for place in np.ndindex(*counts):
            for c in range(entering):
                for within in np.ndindex(*kernel.shape[2:]):
                    where = tuple(place[a] * strides[a] + within[a] * dilations[a] for a in range(space))
                    result[(n, f, *place)] += (
                        grown[(batch_group * batch + n, feature_group * entering + c, *where)] * kernel[(f, c, *within)])
    return result


# shape, kernel, strides, padding, dilation of the array, of the kernel, groups of features, of the batch
CASES = [
    ((2, 2, 6), (3, 2, 3), (1,), ((0, 0),), (1,), (1,), 1, 1),
    ((1, 4, 7), (4, 2, 2), (2,), ((1, 2),), (1,), (2,), 2, 1),
    ((2, 3, 5), (3, 1, 3), (1,), ((1, 1),), (1,), (1,), 3, 1),
    ((4, 2, 5), (4, 2, 2), (1,), ((0, 1),), (2,), (1,), 1, 2),
    ((1, 2, 5, 4), (2, 2, 3, 2), (2, 1), ((1, 1), (0, 2)), (1, 2), (1, 2), 1, 1),
    ((2, 1, 4, 5), (2, 1, 2, 3), (1, 2), ((-1, 1), (2, -1)), (1, 1), (1, 1), 1, 1),
    ((1, 2, 3, 3, 3), (2, 2, 2, 2, 2), (1, 1, 1), ((0, 0), (1, 0), (0, 1)), (1, 1, 1), (1, 1, 1), 1, 1),
]


@pytest.mark.parametrize(("shape", "kernel_shape", "strides", "pads", "spread", "dilations", "features", "batches"), CASES)
def test_convolution_and_its_derivatives(shape, kernel_shape, strides, pads, spread, dilations, features, batches):
    x, kernel = RANDOM.standard_normal(shape), RANDOM.standard_normal(kernel_shape)

    def convolve(a, b):
        return lax.conv_general_dilated(a, b, strides, pads, spread, dilations, None, features, batches)

    expected = convolved(x, kernel, strides, pads, spread, dilations, features, batches)
    np.testing.assert_allclose(convolve(x, kernel), expected, rtol=1e-12, atol=1e-12)
    # It is linear in each operand, so the derivative of <c, conv(x, k)> in a direction is the convolution of that.
    weights = RANDOM.standard_normal(expected.shape)
    for_x, for_kernel = gx.jit(gx.grad(lambda a, b: (weights * convolve(a, b)).sum(), (0, 1)))(x, kernel)
    other, another = RANDOM.standard_normal(shape), RANDOM.standard_normal(kernel_shape)
    settings = (strides, pads, spread, dilations, features, batches)
    np.testing.assert_allclose((for_x * other).sum(), (weights * convolved(other, kernel, *settings)).sum(), rtol=1e-10)
    np.testing.assert_allclose((for_kernel * another).sum(), (weights * convolved(x, another, *settings)).sum(), rtol=1e-10)


def test_layouts_are_transpositions_of_each_other():
    x, kernel = RANDOM.standard_normal((2, 3, 6, 5)), RANDOM.standard_normal((4, 3, 3, 2))
    first = lax.conv(x, kernel, (1, 2), "SAME")
    assert first.shape == (2, 4, 6, 3)
    last = lax.conv_general_dilated(
        x.transpose(0, 2, 3, 1), kernel.transpose(2, 3, 1, 0), (1, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(last.transpose(0, 3, 1, 2), first, rtol=1e-12)
    odd = lax.conv_general_dilated(
        x.transpose(1, 0, 2, 3), kernel.transpose(1, 2, 3, 0), (1, 2), "SAME", dimension_numbers=("CNHW", "IHWO", "HNWC"))
    np.testing.assert_allclose(odd.transpose(1, 3, 0, 2), first, rtol=1e-12)


def test_vmap_over_kernels():
    x, kernels = RANDOM.standard_normal((2, 3, 8)), RANDOM.standard_normal((5, 4, 3, 3))
    found = gx.vmap(lambda k: lax.conv(x, k, (1,), "VALID"))(kernels)
    for row, kernel in zip(found, kernels, strict=True):
        np.testing.assert_allclose(row, lax.conv(x, kernel, (1,), "VALID"), rtol=1e-12)


@pytest.mark.parametrize(("padding", "stride"), [("SAME", 1), ("SAME", 2), ("SAME", 3), ("VALID", 2)])
def test_transposed_convolution_is_the_transpose(padding, stride):
    kernel = RANDOM.standard_normal((3, 2, 4))

    def forward(a):
        return lax.conv_general_dilated(a, kernel, (stride,), padding, dimension_numbers=("NWC", "WIO", "NWC"))

    # An extent that the stride divides is needed for the transpose of SAME to have it back.
    x = RANDOM.standard_normal((1, 6 if padding == "SAME" else 7, 2))
    y = forward(x)
    back = lax.conv_transpose(y, kernel, (stride,), padding, transpose_kernel=True)
    np.testing.assert_allclose(back, gx.vjp(forward, x)[1](y)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("computation", "start", "reference"), [
    (np.add, 0.0, np.sum), (np.maximum, -np.inf, np.max), (np.minimum, np.inf, np.min), (np.multiply, 1.0, np.prod),
    (lambda a, b: np.hypot(a, b), 0.0, lambda part: np.sqrt(np.sum(part**2)))])
def test_reduce_window(computation, start, reference):
    x = RANDOM.standard_normal((5, 6))
    found = lax.reduce_window(x, start, computation, (2, 3), (1, 2), ((0, 1), (1, 0)))
    padded = np.pad(x, ((0, 1), (1, 0)), constant_values=start)
    expected = [[reference(padded[i:i + 2, j:j + 3]) for j in range(0, 5, 2)] for i in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bad_arguments():
    x, kernel = np.ones((1, 2, 5)), np.ones((3, 2, 3))
    with pytest.raises(ArgumentError, match="three strings of 3 letters"):
        lax.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    with pytest.raises(ArgumentError, match="padding must be 'VALID'"):
        lax.conv(x, kernel, (1,), "FULL")
    with pytest.raises(ArgumentError, match="one integer >= 1 for each of 1 axes"):
        lax.conv(x, kernel, (1, 1), "VALID")
    with pytest.raises(ArgumentTypeError, match="window_strides must be a sequence of integers"):
        lax.conv(x, kernel, (1.5,), "VALID")
    with pytest.raises(ShapeError, match="2 features of the array in 1 groups need a kernel of 2 features in"):
        lax.conv(x, np.ones((3, 1, 3)), (1,), "VALID")
    with pytest.raises(ArgumentError, match="equal rank of at least 2"):
        lax.conv(x, np.ones((3, 2)), (1,), "VALID")
    with pytest.raises(ArgumentError, match="not defined for a dilated array"):
        lax.conv_with_general_padding(x, kernel, (1,), "SAME", (2,))
    with pytest.raises(ArgumentError, match="precision"):
        lax.conv(x, kernel, (1,), "VALID", precision="highest")
