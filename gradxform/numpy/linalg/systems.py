"""numpy.linalg: systems of equations, inverses, determinants, ranks."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, cast

import numpy as np

from gradxform.core import shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError, ArgumentTypeError, LinAlgError
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import where
from gradxform.numpy.linalg.decompositions import lifted, real_dtype_of
from gradxform.numpy.linalg.operands import as_arrays, as_matrix, in_one_stack, right_hand_side
from gradxform.numpy.manipulation import reshape
from gradxform.operands import lift
from gradxform.primitives import linalg_pseudo, linalg_solve, linalg_spectral
from gradxform.primitives.logic import stop_gradient
from gradxform.primitives.matrices import adjoint, identity

SlogdetResult = cast(Callable[..., Any], type(np.linalg.slogdet(np.eye(1))))


@traced(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """The solutions X of A X = B.

    Args:
        a: (..., n, n).
        b: (n,), or (..., n, k); as in NumPy 2 it is a vector only if it has one axis. Stacks broadcast.

    Raises:
        LinAlgError: a matrix is not square, or singular.

    Each matrix is factorised once, derivatives use its factors again.

    >>> import gradxform as gx
    >>> a, b = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([9.0, 8.0])
    >>> gx.jit(gx.numpy.linalg.solve)(a, b)
    array([2., 3.])
    >>> gx.grad(lambda b: gx.numpy.linalg.solve(a, b).sum())(b)
    array([0.2, 0.4])
    """
    return solve_staged("solve", a, b)


def solve_staged(name: str, a: Any, b: Any) -> Any:
    matrix, values = as_arrays(name, a, b)
    matrix = as_matrix(name, matrix, square=True)
    columns, vector = right_hand_side(name, matrix, values, matrix.shape[-1])
    x, y = in_one_stack(name, matrix, columns)
    if not any(matrix.shape[:-2]) and x.shape != matrix.shape and matrix.ndim == 2:
        # One matrix, factorised once, for a stack of right-hand sides, which stand side by side.
        return _one_for_all(name, matrix, columns)
    result = lift(name, linalg_solve.solve(x, y))
    return result[..., 0] if vector else result


def _one_for_all(name: str, matrix: Any, columns: Any) -> Any:
    *stack, n, k = columns.shape
    rank = len(stack)
    order = (rank, *range(rank), rank + 1)
    wide = reshape(columns.transpose(order), (n, prod(stack) * k))
    found = reshape(lift(name, linalg_solve.solve(matrix, wide)), (n, *stack, k))
    return found.transpose((*range(1, rank + 1), 0, rank + 1))


@traced(np.linalg.inv)
def inv(a: Any) -> Any:
    """The inverses of square matrices; a singular one is a LinAlgError."""
    return lift("inv", linalg_solve.inverse(as_matrix("inv", a, square=True)))


@traced(np.linalg.det)
def det(a: Any) -> Any:
    """The determinants of square matrices.

    Its derivative, the transposed adjugate, is exact at singular matrices too. The second derivative of matrices larger than
    3 by 3 needs a regular one, else it is a LinAlgError.
    """
    x = as_matrix("det", a, square=True)
    factors, pivots, _ = linalg_solve.lu(stop_gradient(x))
    return lift("det", linalg_solve.determinant(x, factors, pivots))


@traced(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """The signs (phases) and the logarithms of the sizes of determinants.

    Of a singular matrix they are 0 and -inf; the derivative there is a LinAlgError.
    """
    x = as_matrix("slogdet", a, square=True)
    factors, pivots, _ = linalg_solve.lu(stop_gradient(x))
    sign = linalg_solve.determinant_sign(x, factors, pivots)
    return SlogdetResult(*lifted("slogdet", sign, linalg_solve.log_determinant(x, factors)))


def inverted_values(name: str, values: Any, cutoff: Any) -> Any:
    """1 / s, and 0 where s is at most ``cutoff`` (broadcast)."""
    kept = values > cutoff
    return lift(name, where(kept, 1 / where(kept, values, 1), 0))


@traced(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """The pseudo-inverses of matrices, by their singular values.

    Values of at most ``rcond`` (or ``rtol``) times the largest count as zero. The derivative is for constant rank.
    """
    x = as_matrix("pinv", a)
    if rcond is None:
        if rtol is np._NoValue:
            rcond = 1e-15
        elif rtol is None:
            rcond = max(x.shape[-2:]) * np.finfo(real_dtype_of(x)).eps
        else:
            rcond = rtol
    elif rtol is not np._NoValue:
        raise ArgumentError(f"pinv: `rtol` and `rcond` can't be both set{user_line()}")
    if 0 in x.shape:
        return lift("pinv", np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype))
    u, s, vh = (lift("pinv", stop_gradient(part)) for part in factors_of(x, hermitian))
    limit = lift("pinv", rcond)[..., None] if np.ndim(rcond) else rcond
    inverted = inverted_values("pinv", s, limit * s.max(axis=-1, keepdims=True))
    return lift("pinv", linalg_pseudo.pseudo_inverse(x, u, inverted, vh))


def factors_of(x: Any, hermitian: bool = False) -> list[Any]:
    """Singular vectors and values of a matrix, from its eigenvalues if it is Hermitian."""
    x = stop_gradient(x)
    if not hermitian:
        return lifted("svd", *linalg_spectral.svd(x))
    w, v = lifted("svd", *linalg_spectral.eigh(x))
    return [v, abs(w), lift("svd", adjoint(v * np.sign(w)[..., None, :]))]


@traced(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The shortest of the solutions of least squares, the sums of squared residuals, the rank and the singular values.

    Where NumPy, which looks at the values, returns no residuals because the rank is not full, traced code returns them: they
    are empty only if there are not more rows than columns. The derivative is for constant rank.
    """
    matrix, values = as_arrays("lstsq", a, b)
    if matrix.ndim != 2:
        raise LinAlgError(f"lstsq: {matrix.ndim}-dimensional array given. Array must be two-dimensional{user_line()}")
    if values.ndim not in (1, 2) or values.shape[0] != matrix.shape[0]:
        raise LinAlgError(
            f"lstsq: Incompatible dimensions: a is {matrix.shape}, b is {values.shape}; expected as many rows{user_line()}")
    m, n = matrix.shape
    columns = values if values.ndim == 2 else values[:, None]
    eps = np.finfo(real_dtype_of(matrix)).eps
    limit = eps * max(m, n) if rcond is None else eps if np.ndim(rcond) == 0 and rcond == -1 else rcond
    if 0 in (m, n):
        x = lift("lstsq", np.zeros((n, columns.shape[-1]), matrix.dtype))
        s = lift("lstsq", np.zeros(0, real_dtype_of(matrix)))
        rank: Any = lift("lstsq", np.int32(0))
    else:
        u, s, vh = factors_of(matrix)
        cutoff = limit * s.max()
        rank = (s > cutoff).sum(dtype=np.int32)
        x = lift("lstsq", linalg_pseudo.pseudo_solve(matrix, u, inverted_values("lstsq", s, cutoff), vh, columns))
        s = lift("lstsq", linalg_spectral.svd(matrix, vectors=False)[0])
    rest = columns - matrix @ x
    residuals = (abs(rest) ** 2).sum(axis=0) if m > n else lift("lstsq", np.zeros(0, real_dtype_of(matrix)))
    return (x[:, 0] if values.ndim == 1 else x), residuals, rank, s


@traced(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """How many singular values are above ``tol``, or above ``rtol`` times the largest."""
    if rtol is not None and tol is not None:
        raise ArgumentError(f"matrix_rank: `tol` and `rtol` can't be both set{user_line()}")
    (x,) = as_arrays("matrix_rank", A)
    if x.ndim < 2:
        return lift("matrix_rank", (x != 0).any().astype(int64))
    if hermitian:
        s = abs(lift("matrix_rank", linalg_spectral.eigh(stop_gradient(x), vectors=False)[0]))
    else:
        s = lift("matrix_rank", linalg_spectral.svd(stop_gradient(x), vectors=False)[0])
    if not s.shape[-1]:
        return lift("matrix_rank", np.zeros(s.shape[:-1], int64))
    if tol is None:
        factor = max(x.shape[-2:]) * np.finfo(s.dtype).eps if rtol is None else rtol
        factor = lift("matrix_rank", factor)[..., None] if np.ndim(factor) else factor
        limit = s.max(axis=-1, keepdims=True) * factor
    else:
        limit = lift("matrix_rank", tol)[..., None] if np.ndim(tol) else tol
    return (s > limit).sum(axis=-1)


@traced(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """Whole powers of square matrices, by repeated squaring; negative ones of the inverses."""
    x = lift("matrix_power", a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise LinAlgError(
            f"matrix_power: Last 2 dimensions of the array must be square: expected (..., n, n), got {x.shape}{user_line()}")
    try:
        exponent = int(n.__index__())
    except (AttributeError, TypeError):
        raise ArgumentTypeError(f"matrix_power: exponent must be an integer, got {n!r}{user_line()}") from None
    if exponent < 0:
        x = inv(x)
    exponent = abs(exponent)
    result = None
    while exponent:
        if exponent & 1:
            result = x if result is None else result @ x
        exponent >>= 1
        if exponent:
            x = x @ x
    if result is None:
        return lift("matrix_power", identity(x))
    return lift("matrix_power", result)


@traced(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The solution x of tensordot(a, x, x.ndim) = b."""
    x, y = as_arrays("tensorsolve", a, b)
    if axes is not None:
        order = [k for k in range(x.ndim) if k not in axes]
        x = x.transpose((*order, *axes))
    shape = x.shape[y.ndim:]
    if prod(shape) ** 2 != x.size or prod(shape) != y.size:
        raise LinAlgError(
            "tensorsolve: Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim]), got "
            f"{shape_of(x)} and {shape_of(y)}{user_line()}")
    return reshape(solve(reshape(x, (y.size, y.size)), y.ravel()), shape)


@traced(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of tensordot(a, x, ind)."""
    x = lift("tensorinv", a)
    if ind <= 0:
        raise ArgumentError(f"tensorinv: Invalid ind argument, expected a positive number, got {ind}{user_line()}")
    first, last = x.shape[:ind], x.shape[ind:]
    if prod(first) != prod(last):
        raise LinAlgError(
            f"tensorinv: Last 2 dimensions of the array must be square: {first} and {last} have different sizes{user_line()}")
    return reshape(inv(reshape(x, (prod(first), prod(last)))), (*last, *first))


