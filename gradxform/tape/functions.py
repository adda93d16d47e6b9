"""Functions under TensorFlow's names, for tensors: each is one of `gradxform.numpy`.

NumPy's own functions work on tensors too, ``np.sin(x)`` as well as ``sin(x)``. What is here gives a tensor also of
arrays and lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from gradxform import lax, numpy
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.tape.tensor import eager, operation

__all__ = [
    "abs", "acos", "add", "add_n", "asin", "atan", "atan2", "broadcast_to", "cast", "concat", "convert_to_tensor", "cos",
    "cosh", "cumsum", "divide", "einsum", "equal", "erf", "exp", "expand_dims", "expm1", "eye", "fill", "floor", "gather",
    "greater", "greater_equal", "identity", "less", "less_equal", "linspace", "log", "log1p", "matmul", "maximum", "minimum",
    "multiply", "negative", "not_equal", "ones", "ones_like", "pow", "range", "reciprocal", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "reshape", "rsqrt", "sigmoid",
    "sign", "sin", "sinh", "sqrt", "square", "squeeze", "stack", "subtract", "tan", "tanh", "tensordot", "tile", "transpose",
    "unstack", "where", "zeros", "zeros_like",
]

Reduction = Callable[..., Any]


def _tensor(value: Any) -> Any:
    return numpy.asarray(value)


def _under(name: str, function: str, namespace: ModuleType = numpy) -> Callable[..., Any]:
    """``namespace.function``, found when it is called, for tensors and what can be made one."""

    @operation
    def call(*args: Any, **kwargs: Any) -> Any:
        # TensorFlow names every operation; a program's equations know the user's line instead.
        kwargs.pop("name", None)
        first, *others = args
        return getattr(namespace, function)(_tensor(first), *others, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"``gradxform.{namespace.__name__.removeprefix('gradxform.')}.{function}`` of tensors."
    return call


def _reduction(name: str, function: str) -> Reduction:
    @operation
    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
        axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
        return getattr(numpy, function)(_tensor(input_tensor), axis=axes, keepdims=keepdims)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"``gradxform.numpy.{function}`` over ``axis``, an axis, several or all (None)."
    return reduce


@eager
def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """``value`` as a tensor: an array, a number, or nested lists of these and of tensors. Derivatives pass through."""
    return numpy.asarray(value, dtype)


abs = _under("abs", "absolute")
acos = _under("acos", "arccos")
add = _under("add", "add")
asin = _under("asin", "arcsin")
atan = _under("atan", "arctan")
atan2 = _under("atan2", "arctan2")
cos = _under("cos", "cos")
cosh = _under("cosh", "cosh")
divide = _under("divide", "divide")
equal = _under("equal", "equal")
erf = _under("erf", "erf", lax)
exp = _under("exp", "exp")
expm1 = _under("expm1", "expm1")
floor = _under("floor", "floor")
greater = _under("greater", "greater")
greater_equal = _under("greater_equal", "greater_equal")
less = _under("less", "less")
less_equal = _under("less_equal", "less_equal")
log = _under("log", "log")
log1p = _under("log1p", "log1p")
maximum = _under("maximum", "maximum")
minimum = _under("minimum", "minimum")
multiply = _under("multiply", "multiply")
negative = _under("negative", "negative")
not_equal = _under("not_equal", "not_equal")
pow = _under("pow", "power")
reciprocal = _under("reciprocal", "reciprocal")
rsqrt = _under("rsqrt", "rsqrt", lax)
sigmoid = _under("sigmoid", "logistic", lax)
sign = _under("sign", "sign")
sin = _under("sin", "sin")
sinh = _under("sinh", "sinh")
sqrt = _under("sqrt", "sqrt")
square = _under("square", "square")
subtract = _under("subtract", "subtract")
tan = _under("tan", "tan")
tanh = _under("tanh", "tanh")

reduce_max = _reduction("reduce_max", "max")
reduce_mean = _reduction("reduce_mean", "mean")
reduce_min = _reduction("reduce_min", "min")
reduce_prod = _reduction("reduce_prod", "prod")
reduce_std = _reduction("reduce_std", "std")
reduce_sum = _reduction("reduce_sum", "sum")
reduce_variance = _reduction("reduce_variance", "var")


@operation
def reduce_logsumexp(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The logarithm of the sum of exponentials over ``axis``, without overflow."""
    x = _tensor(input_tensor)
    largest = lax.stop_gradient(numpy.max(x, axis=axis, keepdims=True))
    total = numpy.log(numpy.sum(numpy.exp(x - largest), axis=axis, keepdims=True)) + largest
    return total if keepdims else numpy.squeeze(total, axis=axis)


@operation
def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None
) -> Any:
    """The product of matrices, or of batches of matrices; each may be transposed first.

    >>> print(matmul([[1.0, 2.0]], [[3.0, 4.0]], transpose_b=True))
    tf.Tensor(
    [[11.]], shape=(1, 1), dtype=float64)
    """
    a, b = _tensor(a), _tensor(b)
    for matrix in (a, b):
        if matrix.ndim < 2:
            raise ShapeError(f"matmul: expected matrices, got shape {matrix.shape}: use tensordot, or x @ y{user_line()}")
    return numpy.matmul(a.mT if transpose_a else a, b.mT if transpose_b else b)


@operation
def transpose(a: Any, perm: Any = None, name: str | None = None) -> Any:
    """The axes in the order ``perm``, reversed if it is None."""
    return numpy.transpose(_tensor(a), perm)


@operation
def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """The elements in another shape, of which one extent may be -1."""
    return numpy.reshape(_tensor(tensor), tuple(shape) if isinstance(shape, list) else shape)


@operation
def expand_dims(x: Any, axis: int, name: str | None = None) -> Any:
    """With a new axis of extent 1."""
    return numpy.expand_dims(_tensor(x), axis)


@operation
def squeeze(x: Any, axis: Any = None, name: str | None = None) -> Any:
    """Without axes of extent 1: all, or those in ``axis``."""
    return numpy.squeeze(_tensor(x), tuple(axis) if isinstance(axis, list) else axis)


@operation
def concat(values: Sequence[Any], axis: int, name: str | None = None) -> Any:
    """Tensors one after the other along ``axis``."""
    return numpy.concatenate([_tensor(value) for value in values], axis=axis)


@operation
def stack(values: Sequence[Any], axis: int = 0, name: str | None = None) -> Any:
    """Tensors of one shape along a new axis."""
    return numpy.stack([_tensor(value) for value in values], axis=axis)


@operation
def unstack(value: Any, num: int | None = None, axis: int = 0, name: str | None = None) -> Any:
    """The list of the parts along ``axis``."""
    tensor = numpy.moveaxis(_tensor(value), axis, 0)
    if num is not None and num != tensor.shape[0]:
        raise ArgumentError(f"unstack: num={num}, but the axis has the extent {tensor.shape[0]}{user_line()}")
    return list(tensor)


@operation
def tile(x: Any, multiples: Any, name: str | None = None) -> Any:
    """Repeated ``multiples`` times along each axis."""
    return numpy.tile(_tensor(x), multiples)


@operation
def broadcast_to(x: Any, shape: Any, name: str | None = None) -> Any:
    """Repeated to ``shape`` by the rules of broadcasting."""
    return numpy.broadcast_to(_tensor(x), tuple(shape))


@operation
def gather(params: Any, indices: Any, axis: int = 0, name: str | None = None) -> Any:
    """The slices of ``params`` at ``indices`` along ``axis``."""
    return numpy.take(_tensor(params), indices, axis=axis)


@operation
def einsum(equation: str, *inputs: Any, name: str | None = None) -> Any:
    """``gradxform.numpy.einsum`` of tensors."""
    return numpy.einsum(equation, *[_tensor(x) for x in inputs])


@operation
def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """``gradxform.numpy.tensordot`` of tensors."""
    return numpy.tensordot(_tensor(a), _tensor(b), axes)


@operation
def cumsum(x: Any, axis: int = 0, name: str | None = None) -> Any:
    """Running sums along ``axis``."""
    return numpy.cumsum(_tensor(x), axis=axis)


@operation
def add_n(inputs: Sequence[Any], name: str | None = None) -> Any:
    """The sum of tensors of one shape."""
    total, *others = [_tensor(x) for x in inputs]
    for other in others:
        total = total + other
    return total


@operation
def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """``x`` where ``condition`` holds, ``y`` elsewhere; no derivative comes from the other branch, not even NaN."""
    if x is None or y is None:
        raise ArgumentError(f"where: give x and y; numpy.nonzero finds places{user_line()}")
    return numpy.where(_tensor(condition), x, y)


@operation
def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """In another dtype; the derivative passes between float dtypes."""
    return _tensor(x).astype(dtype)


@operation
def identity(x: Any, name: str | None = None) -> Any:
    """A tensor of the same elements, which tapes tell from ``x``."""
    return _tensor(x)


@operation
def zeros(shape: Any, dtype: Any = "float64", name: str | None = None) -> Any:
    """Zeros."""
    return numpy.zeros(shape, dtype)


@operation
def ones(shape: Any, dtype: Any = "float64", name: str | None = None) -> Any:
    """Ones."""
    return numpy.ones(shape, dtype)


@operation
def zeros_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Zeros of the shape and dtype of ``x``."""
    return numpy.zeros_like(_tensor(x), dtype)


@operation
def ones_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Ones of the shape and dtype of ``x``."""
    return numpy.ones_like(_tensor(x), dtype)


@operation
def fill(dims: Any, value: Any, name: str | None = None) -> Any:
    """``value`` everywhere."""
    return numpy.full(tuple(dims), value)


@operation
def eye(num_rows: int, num_columns: int | None = None, dtype: Any = "float64", name: str | None = None) -> Any:
    """The identity matrix."""
    return numpy.eye(num_rows, num_columns, dtype=dtype)


@operation
def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None) -> Any:
    """Numbers from ``start`` (0 if only one is given) to before ``limit`` in steps of ``delta``."""
    return numpy.arange(0 if limit is None else start, start if limit is None else limit, delta, dtype)


@operation
def linspace(start: Any, stop: Any, num: int, name: str | None = None) -> Any:
    """``num`` numbers from ``start`` to ``stop``."""
    return numpy.linspace(start, stop, num)
