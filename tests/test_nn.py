"""gradxform.nn against closed forms in NumPy; derivatives against central differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

import gradxform as gx
from gradxform import nn
from gradxform.errors import ArgumentError, ShapeError

RANDOM = np.random.default_rng(0)
#: Away from kinks by more than a step of the differences.
POINTS = np.concatenate([np.linspace(-8.05, 8.05, 24), [-40.3, 40.3]])


def logistic(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "sigmoid": logistic,
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "silu": lambda x: x * logistic(x),
    "swish": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "soft_sign": lambda x: x / (1 + np.abs(x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.05070098735548 * np.where(x > 0, x, 1.67326324235437 * np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "identity": lambda x: x,
}


# NumPy's own logaddexp warns of a NaN.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    function, reference = getattr(nn, name), ACTIVATIONS[name]
    # The reference of squareplus cancels at -40 and loses some four digits there.
    tolerance = 1e-11 if name == "squareplus" else 1e-12
    np.testing.assert_allclose(function(POINTS), reference(POINTS), rtol=tolerance, atol=1e-13)
    value, slope = gx.jit(gx.vmap(gx.value_and_grad(function)))(POINTS)
    np.testing.assert_allclose(value, reference(POINTS), rtol=tolerance, atol=1e-13)
    step = 1e-5
    difference = (reference(POINTS + step) - reference(POINTS - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-7)
    assert function(POINTS.astype(np.float32)).dtype == np.float32
    assert np.isnan(function(np.nan))


def test_every_activation_has_a_row():
    import gradxform.nn.activations as module

    elsewhere = {"glu", "softmax", "log_softmax", "logsumexp", "logmeanexp", "one_hot"}
    public = {name for name, value in vars(module).items()
              if callable(value) and getattr(value, "__module__", "") == module.__name__}
    assert public - elsewhere == set(ACTIVATIONS)


@pytest.mark.parametrize(("function", "at", "slope"), [
    (nn.relu, 0.0, 0.0), (nn.relu6, 6.0, 0.0), (nn.relu6, 0.0, 0.0), (nn.elu, 0.0, 1.0), (nn.softplus, 0.0, 0.5),
    (nn.softplus, -800.0, 0.0), (nn.softplus, 800.0, 1.0), (nn.elu, 800.0, 1.0), (nn.silu, -800.0, 0.0)])
def test_derivatives_at_kinks_and_far_out(function, at, slope):
    assert gx.grad(function)(at) == slope


def test_exact_gelu_keeps_its_digits():
    x = np.array([-10.0, -1.0, 0.0, 3.0])
    np.testing.assert_allclose(nn.gelu(x, approximate=False), x * scipy.special.ndtr(x), rtol=1e-13)


def test_softmax_family():
    x, seen = RANDOM.standard_normal((3, 5)), np.array([True, True, False, True, False])
    powers = np.exp(x)
    np.testing.assert_allclose(nn.softmax(x), powers / powers.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(nn.log_softmax(x, axis=0), x - np.log(powers.sum(0)), rtol=1e-12)
    shown = powers * seen
    np.testing.assert_allclose(nn.softmax(x, where=seen), shown / shown.sum(1, keepdims=True), rtol=1e-12)
    with np.errstate(divide="ignore"):
        expected = np.log(shown / shown.sum(1, keepdims=True))
    np.testing.assert_allclose(nn.log_softmax(x, where=seen), expected, rtol=1e-12)
    slopes = gx.grad(lambda a: (nn.softmax(a, where=seen) ** 2).sum())(x)
    assert np.all(slopes[:, ~seen] == 0) and np.all(np.isfinite(slopes))
    np.testing.assert_allclose(nn.logmeanexp(x, axis=1), np.log(powers.mean(1)), rtol=1e-12)
    np.testing.assert_allclose(nn.glu(x[:, :4]), x[:, :2] * logistic(x[:, 2:4]), rtol=1e-12)
    with pytest.raises(ShapeError, match="even extent, got 5"):
        nn.glu(x)


def test_one_hot():
    labels = np.array([[0, 2], [3, -1]])
    expected = np.zeros((2, 2, 3))
    expected[0, 0, 0] = expected[0, 1, 2] = 1
    np.testing.assert_array_equal(nn.one_hot(labels, 3), expected)
    np.testing.assert_array_equal(gx.jit(lambda a: nn.one_hot(a, 3, axis=0))(labels), np.moveaxis(expected, -1, 0))
    assert nn.one_hot(labels, 3, dtype=np.float32).dtype == np.float32


def standardised(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def test_normalisations():
    x, scale, bias = RANDOM.standard_normal((4, 3, 5, 6)), RANDOM.random(6), RANDOM.random(6)
    cases = [
        (nn.layer_norm(x, scale, bias), standardised(x, (3,)) * scale + bias),
        (nn.layer_norm(x, axis=(1, 2)), standardised(x, (1, 2))),
        (nn.rms_norm(x, scale), x / np.sqrt((x * x).mean(3, keepdims=True) + 1e-5) * scale),
        (nn.batch_norm(x, scale, bias), standardised(x, (0, 1, 2)) * scale + bias),
        (nn.batch_norm(x, axis=1), standardised(x, (0, 2, 3))),
        (nn.batch_norm(x, mean=scale, variance=bias), (x - scale) / np.sqrt(bias + 1e-5)),
        (nn.instance_norm(x, scale, bias), standardised(x, (1, 2)) * scale + bias),
        (nn.group_norm(x, 2, scale), np.concatenate(
            [standardised(x[..., :3], (1, 2, 3)), standardised(x[..., 3:], (1, 2, 3))], 3) * scale),
    ]
    for found, expected in cases:
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    with pytest.raises(ShapeError, match="groups must divide the 6 features, got 4"):
        nn.group_norm(x, 4)


def test_pooling():
    x = RANDOM.standard_normal((2, 6, 5, 3))
    tiles = x[:, :6, :4].reshape(2, 3, 2, 2, 2, 3)
    np.testing.assert_array_equal(nn.max_pool(x, 2), tiles.max((2, 4)))
    np.testing.assert_array_equal(nn.min_pool(x, 2), tiles.min((2, 4)))
    np.testing.assert_allclose(nn.avg_pool(x, 2), tiles.mean((2, 4)), rtol=1e-12)
    first = nn.max_pool(x.transpose(0, 3, 1, 2), 2, layout="NCHW")
    np.testing.assert_array_equal(first, tiles.max((2, 4)).transpose(0, 3, 1, 2))
    ones = np.ones((1, 3, 3, 1))
    corner = nn.avg_pool(ones, 3, 1, "SAME")[0, 0, 0, 0]
    assert corner == pytest.approx(4 / 9) and nn.avg_pool(ones, 3, 1, "SAME", count_include_pad=False)[0, 0, 0, 0] == 1
    slopes = gx.jit(gx.grad(lambda a: nn.max_pool(a, 2).sum()))(x)
    np.testing.assert_array_equal(slopes[:, :6, :4].reshape(2, 3, 2, 2, 2, 3), tiles == tiles.max((2, 4), keepdims=True))
    assert not slopes[:, :, 4].any()
    # Elements that tie share the derivative.
    level = np.ones((1, 3, 1))
    np.testing.assert_array_equal(gx.grad(lambda a: nn.max_pool(a, 3, layout="NWC").sum())(level), level / 3)
    with pytest.raises(ArgumentError, match="layout 'NHWC' does not fit an array of rank 3"):
        nn.max_pool(np.ones((1, 3, 1)), 2)


def test_convolution_with_groups_is_depthwise():
    x, kernel = RANDOM.standard_normal((1, 5, 5, 2)), RANDOM.standard_normal((3, 3, 1, 2))
    found = nn.conv(x, kernel, padding="VALID", groups=2)
    for c in range(2):
        expected = sum(x[0, i:i + 3, j:j + 3, c] * kernel[i, j, 0, c] for i in range(3) for j in range(3))
        np.testing.assert_allclose(found[0, :, :, c], expected, rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal):
    q, k, v = RANDOM.standard_normal((2, 4, 4, 3)), RANDOM.standard_normal((2, 5, 2, 3)), RANDOM.standard_normal((2, 5, 2, 3))
    mask = RANDOM.random((2, 4, 4, 5)) < 0.7
    mask[..., 0] = True
    expected = np.zeros(q.shape)
    for b in range(2):
        for h in range(4):
            logits = q[b, :, h] @ k[b, :, h // 2].T / math.sqrt(3)
            seen = mask[b, h] & (np.tri(4, 5, dtype=bool) if causal else True)
            weights = np.where(seen, np.exp(logits), 0)
            expected[b, :, h] = weights / weights.sum(1, keepdims=True) @ v[b, :, h // 2]
    found = gx.jit(lambda *operands: nn.dot_product_attention(*operands, mask=mask, is_causal=causal))(q, k, v)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    with pytest.raises(ShapeError, match="query's heads a multiple"):
        nn.dot_product_attention(q[:, :, :3], k, v)
