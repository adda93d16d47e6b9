"""Activation functions: element by element, but for ``glu`` and the softmax family.

Names, parameters and defaults are those of ``jax.nn``. Where a function has a kink its derivative there is that of its
left side, which is what JAX's functions give.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

from gradxform import numpy as face
from gradxform.core import shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.operands import normalize_axis
from gradxform.scipy import special


def identity(x: Any) -> Any:
    """x itself."""
    return x


def relu(x: Any) -> Any:
    """max(x, 0), whose derivative at 0 is 0.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return face.where(face.less_equal(x, 0), 0, x)


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6), whose derivative at 0 and 6 is 0."""
    return face.where(face.less_equal(x, 0), 0, face.where(face.greater_equal(x, 6), 6, x))


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Any:
    """x for x >= 0, negative_slope * x below."""
    return face.where(face.greater_equal(x, 0), x, face.multiply(negative_slope, x))


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return special.expit(x)


def log_sigmoid(x: Any) -> Any:
    """The logarithm of ``sigmoid``, accurate on both sides."""
    return special.log_expit(x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return face.logaddexp(x, 0.0)


def squareplus(x: Any, b: Any = 4.0) -> Any:
    """(x + sqrt(x**2 + b)) / 2, a softplus without exponentials.

    >>> float(squareplus(0.0))
    1.0
    """
    root = face.sqrt(face.add(face.square(x), b))
    # For negative x the sum cancels; the same number is b / 2 over a sum that does not.
    safe = face.where(face.greater(x, 0), 1.0, face.subtract(root, x))
    return face.where(face.greater(x, 0), face.multiply(0.5, face.add(x, root)), face.multiply(0.5, face.divide(b, safe)))


def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish."""
    return face.multiply(x, special.expit(x))


swish = silu


def mish(x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return face.multiply(x, face.tanh(softplus(x)))


def soft_sign(x: Any) -> Any:
    """``x / (1 + |x|)``."""
    return face.divide(x, face.add(1.0, face.absolute(x)))


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x for x > 0, alpha * (exp(x) - 1) below."""
    above = face.greater(x, 0)
    return face.where(above, x, face.multiply(alpha, face.expm1(face.where(above, 0.0, x))))


def celu(x: Any, alpha: Any = 1.0) -> Any:
    """x for x > 0, alpha * (exp(x / alpha) - 1) below: an ``elu`` with derivative 1 at 0 for every alpha."""
    above = face.greater(x, 0)
    return face.where(above, x, face.multiply(alpha, face.expm1(face.where(above, 0.0, face.divide(x, alpha)))))


def selu(x: Any) -> Any:
    """The ``elu`` of Klambauer et al. (2017), scaled so that means and variances settle at 0 and 1."""
    return face.multiply(1.0507009873554804934193349852946, elu(x, 1.6732632423543772848170429916717))


def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function at x; ``approximate``, as JAX does by default, by a tanh.

    >>> float(gelu(1.0, approximate=False)), float(gelu(1.0))
    (0.84134474606854..., 0.84119199060827...)
    """
    if approximate:
        inner = face.multiply(sqrt(2 / pi), face.add(x, face.multiply(0.044715, face.power(x, 3))))
        return face.multiply(face.multiply(0.5, x), face.add(1.0, face.tanh(inner)))
    # erfc keeps its digits where x is very negative and 1 + erf does not.
    return face.multiply(face.multiply(0.5, x), special.erfc(face.multiply(-sqrt(0.5), x)))


def hard_tanh(x: Any) -> Any:
    """x limited to [-1, 1]."""
    return face.where(face.greater(x, 1), 1, face.where(face.less(x, -1), -1, x))


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6."""
    return face.divide(relu6(face.add(x, 3.0)), 6.0)


def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x), also called hard_swish."""
    return face.multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


def sparse_plus(x: Any) -> Any:
    """0 for x <= -1, x for x >= 1, and (x + 1)**2 / 4 between."""
    curve = face.multiply(0.25, face.square(face.add(x, 1.0)))
    return face.where(face.less_equal(x, -1), 0.0, face.where(face.greater_equal(x, 1), x, curve))


def sparse_sigmoid(x: Any) -> Any:
    """0 for x <= -1, 1 for x >= 1, and (x + 1) / 2 between: the derivative of ``sparse_plus``."""
    return face.where(face.less_equal(x, -1), 0.0,
                      face.where(face.greater_equal(x, 1), 1.0, face.multiply(0.5, face.add(x, 1.0))))


def glu(x: Any, axis: int = -1) -> Any:
    """One half of ``x`` along ``axis`` times the sigmoid of the other."""
    extent = shape_of(x)[normalize_axis("glu", axis, len(shape_of(x)))]
    if extent % 2:
        raise ShapeError(f"glu: axis {axis} must have an even extent, got {extent} in shape {shape_of(x)}{user_line()}")
    left, right = face.split(x, 2, axis=axis)
    return face.multiply(left, special.expit(right))


def softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along ``axis`` without overflow; ``where`` chooses who takes part, the others get 0."""
    if where is None:
        return special.softmax(x, axis=axis)
    return face.where(where, special.softmax(face.where(where, x, -face.inf), axis=axis), 0.0)


def log_softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """The logarithm of ``softmax``, accurate where that is small; -inf for those whom ``where`` leaves out."""
    if where is None:
        return special.log_softmax(x, axis=axis)
    hidden = face.where(where, x, -face.inf)
    return face.where(where, special.log_softmax(hidden, axis=axis), -face.inf)


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b * exp(a))) along ``axis`` without overflow; that of `gradxform.scipy.special`."""
    return special.logsumexp(a, axis=axis, b=b, keepdims=keepdims, return_sign=return_sign)


def logmeanexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(mean(exp(x))) along ``axis`` without overflow."""
    total = special.logsumexp(x, axis=axis, keepdims=keepdims)
    return face.subtract(total, face.log(face.size(x) / max(face.size(total), 1)))


def one_hot(x: Any, num_classes: int, *, dtype: Any = float, axis: int = -1) -> Any:
    """For each integer of ``x`` a new axis that is 1 at that position and 0 elsewhere; all 0 if it is out of range.

    Args:
        x: an array of integers.
        num_classes: the extent of the new axis.
        dtype: of the result.
        axis: where the new axis stands.

    >>> import numpy as np
    >>> one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    if num_classes < 0:
        raise ArgumentError(f"one_hot: num_classes must not be negative, got {num_classes}{user_line()}")
    rank = len(shape_of(x)) + 1
    position = normalize_axis("one_hot", axis, rank)
    classes = face.reshape(face.arange(num_classes), [num_classes if a == position else 1 for a in range(rank)])
    return face.astype(face.equal(face.expand_dims(x, position), classes), dtype)
