"""Derivatives as TensorFlow's users write them: a tape records a computation and gives its derivatives.

    import gradxform.tape as tf

A thin face over the same tracing and the same transforms: a tape is a view of what is recorded, `GradientTape.gradient`
is reverse mode on a slice of it, and `ForwardAccumulator.jvp` forward mode. Inside `gradxform.jit` they cost nothing when
the compiled function runs.

>>> import gradxform.tape as tf
>>> x = tf.constant(3.0)
>>> with tf.GradientTape() as tape:
...     tape.watch(x)
...     y = x * x
>>> print(tape.gradient(y, x))
tf.Tensor(6.0, shape=(), dtype=float64)
"""

from gradxform.tape import autodiff, dtypes, functions, math  # noqa: F401  (tf.autodiff, tf.math)
from gradxform.tape.dtypes import complex64, complex128, float32, float64, int32, int64
from gradxform.tape.forward import ForwardAccumulator
from gradxform.tape.functions import *  # noqa: F403
from gradxform.tape.gradient_tape import GradientTape, UnconnectedGradients
from gradxform.tape.rules import custom_gradient, recompute_grad, stop_gradient
from gradxform.tape.tensor import Tensor, constant
from gradxform.tape.variable import Variable

__all__ = [
    "ForwardAccumulator", "GradientTape", "Tensor", "UnconnectedGradients", "Variable", "complex128", "complex64", "constant",
    "custom_gradient", "dtypes", "float32", "float64", "int32", "int64", "recompute_grad", "stop_gradient"]
__all__ += functions.__all__
