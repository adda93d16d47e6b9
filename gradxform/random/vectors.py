"""Random vectors and matrices: multivariate normal, orthogonal, points of balls."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import numpy as gnp
from gradxform.core import dtype_of, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, float64
from gradxform.errors import ShapeError
from gradxform.operands import as_operand, broadcast_shapes, cast
from gradxform.random.calling import (
    check_shape,
    checked_key,
    choice_of,
    compiled,
    extents,
    float_dtype,
    parameters,
    static_integer,
)
from gradxform.random.continuous import exponential_of
from gradxform.random.gammas import gamma_numbers
from gradxform.random.streams import Shape, pack, standard_normal, subkeys, unit

# ------------------------------------------------------------------------------------------------- multivariate normal


@compiled(static=3)
def _multivariate_normal(key: Any, mean: Any, cov: Any, shape: Shape, dtype: DType, method: str) -> Any:
    mean, cov = cast(mean, dtype), cast(cov, dtype)
    # Row vectors of independent numbers: all samples of one covariance are one product of matrices.
    numbers = standard_normal(pack(key), (*shape, shape_of(mean)[-1]), dtype)
    return mean + (factor_of(cov, method) @ numbers[..., None])[..., 0]


def factor_of(cov: Any, method: str) -> Any:
    """A matrix that gives ``cov`` when multiplied with its own transpose."""
    if method == "cholesky":
        return gnp.linalg.cholesky(cov)
    if method == "eigh":
        values, vectors = gnp.linalg.eigh(cov)
    else:
        vectors, values, _ = gnp.linalg.svd(cov)
    return vectors * gnp.sqrt(values[..., None, :])


def multivariate_normal(
    key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = None, method: str = "cholesky",
) -> Any:
    """Normal vectors of the given mean and covariance matrix. Differentiable in both.

    Args:
        key: a key.
        mean: the mean, of shape (..., n).
        cov: the covariance matrix, of shape (..., n, n), symmetric; positive definite for 'cholesky', which raises NumPy's
            LinAlgError otherwise, and at least semidefinite for 'eigh' and 'svd'.
        shape: the shape of the samples without their last axis; that to which the parameters broadcast if None.
        dtype: a float dtype; float64 if None, or float32 if both parameters are.
        method: how the root of the covariance is found. Each gives other numbers of the same distribution.

    >>> import numpy as np
    >>> from gradxform.random import key
    >>> multivariate_normal(key(0), np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]), (3,)).shape
    (3, 2)
    """
    name = "multivariate_normal"
    key, method = checked_key(name, key), choice_of(name, "method", method, "cholesky", "eigh", "svd")
    mean, cov = as_operand(name, mean), as_operand(name, cov)
    own, square = shape_of(mean), shape_of(cov)
    if not own or square[-2:] != (own[-1], own[-1]):
        raise ShapeError(
            f"{name}: expected a mean of shape (..., n) and a covariance of shape (..., n, n), got {own} and {square}"
            f"{user_line()}")
    if shape is None:
        wanted = broadcast_shapes(name, own[:-1], square[:-2])
    else:
        wanted = extents(name, shape)
        check_shape(name, wanted, own[:-1], square[:-2])
    single = all(type_of(x).dtype == np.float32 for x in (mean, cov))
    found = np.dtype(np.float32) if single and dtype is None else float_dtype(name, dtype)
    return _multivariate_normal(key, mean, cov, wanted, found, method)


# ----------------------------------------------------------------------------------------------------------- matrices


@compiled(static=4)
def _orthogonal(key: Any, rows: int, columns: int, shape: Shape, dtype: DType) -> Any:
    numbers = standard_normal(pack(key), (*shape, max(rows, columns), min(rows, columns)), dtype)
    q, r = gnp.linalg.qr(numbers)
    # Signs that do not depend on how the factors were found make the distribution uniform (F. Mezzadri, 2007).
    signs = gnp.sign(gnp.diagonal(r, axis1=-2, axis2=-1))
    found = q * signs[..., None, :]
    return gnp.swapaxes(found, -1, -2) if rows < columns else found


def orthogonal(key: Any, n: Any, shape: Any = (), dtype: Any = None, m: Any = None) -> Any:
    """Orthogonal matrices, uniform with respect to Haar's measure; of shape (n, m) with orthonormal rows or columns.

    Args:
        key: a key.
        n: how many rows.
        shape: the shape of the samples without their last two axes.
        dtype: a float dtype; float64 if None.
        m: how many columns; ``n`` if None.

    >>> import numpy as np
    >>> from gradxform.random import key
    >>> q = orthogonal(key(0), 3)
    >>> np.allclose(q @ q.T, np.eye(3))
    True
    """
    rows = static_integer("orthogonal", "n", n)
    columns = rows if m is None else static_integer("orthogonal", "m", m)
    found, wanted = float_dtype("orthogonal", dtype), extents("orthogonal", shape)
    extents("orthogonal", (rows, columns))
    return _orthogonal(checked_key("orthogonal", key), rows, columns, wanted, found)


# --------------------------------------------------------------------------------------------------------------- balls


def _generalized_normal_numbers(key: Any, p: Any, shape: Shape) -> Any:
    one = dtype_of(p).type(1)
    first, second = subkeys(key, 2)
    size = gamma_numbers(first, one / p, shape)
    return gnp.where(unit(second, shape, float64) < 0.5, one, -one) * size ** (one / p)


@compiled(static=2)
def _generalized_normal(key: Any, p: Any, shape: Shape, dtype: DType) -> Any:
    return _generalized_normal_numbers(pack(key), cast(p, dtype), shape)


def generalized_normal(key: Any, p: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers with a density proportional to exp(-abs(x)**p). Differentiable in ``p``.

    Args:
        key: a key.
        p: the power, which broadcasts to ``shape``.
        shape: the shape of the samples.
        dtype: a float dtype; float64 if None.
    """
    found = float_dtype("generalized_normal", dtype)
    wanted, (power,) = parameters("generalized_normal", shape, p)
    return _generalized_normal(checked_key("generalized_normal", key), power, wanted, found)


@compiled(static=3)
def _ball(key: Any, p: Any, d: int, shape: Shape, dtype: DType) -> Any:
    # F. Barthe, O. Guédon, S. Mendelson, A. Naor, "A probabilistic approach to the geometry of the l_p^n-ball", 2005.
    first, second = subkeys(pack(key), 2)
    p = cast(p, dtype)
    numbers = _generalized_normal_numbers(first, p, (*shape, d))
    further = exponential_of(unit(second, shape, dtype))
    return numbers / ((gnp.sum(gnp.abs(numbers) ** p, axis=-1) + further) ** (dtype.type(1) / p))[..., None]


def ball(key: Any, d: Any, p: Any = 2, shape: Any = (), dtype: Any = None) -> Any:
    """Points that are uniform in the ball sum(abs(x)**p) <= 1 of ``d`` dimensions.

    Args:
        key: a key.
        d: the number of dimensions.
        p: the power of the norm, one number.
        shape: the shape of the samples without their last axis.
        dtype: a float dtype; float64 if None.
    """
    found, wanted = float_dtype("ball", dtype), extents("ball", shape)
    _, (power,) = parameters("ball", (), p)
    (dimensions,) = extents("ball", (static_integer("ball", "d", d),))
    return _ball(checked_key("ball", key), power, dimensions, wanted, found)
