"""``tf.math``: the functions of `gradxform.tape` that TensorFlow keeps there, under the same names.

>>> import gradxform.tape as tf
>>> print(tf.math.log(tf.constant(1.0)))
tf.Tensor(0.0, shape=(), dtype=float64)
"""

from gradxform.tape.functions import (
    abs,
    acos,
    add,
    add_n,
    asin,
    atan,
    atan2,
    cos,
    cosh,
    cumsum,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    pow,
    reciprocal,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_std,
    reduce_sum,
    reduce_variance,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
)

__all__ = [
    "abs", "acos", "add", "add_n", "asin", "atan", "atan2", "cos", "cosh", "cumsum", "divide", "equal", "erf", "exp", "expm1",
    "floor", "greater", "greater_equal", "less", "less_equal", "log", "log1p", "maximum", "minimum", "multiply", "negative",
    "not_equal", "pow", "reciprocal", "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod",
    "reduce_std", "reduce_sum", "reduce_variance", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "subtract",
    "tan", "tanh",
]
