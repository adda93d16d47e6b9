"""scipy.linalg: systems of equations, inverses, determinants, norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.numpy import linalg as numpy_linalg
from gradxform.numpy.linalg.operands import as_arrays, as_matrix, in_one_stack, right_hand_side
from gradxform.numpy.linalg.systems import factors_of, inverted_values, solve_staged
from gradxform.operands import lift, promote_operands
from gradxform.primitives import linalg, linalg_pseudo, linalg_solve
from gradxform.primitives.matrices import adjoint, identity, matrix_transpose
from gradxform.scipy.linalg.calls import refuse, traced
from gradxform.scipy.linalg.special_matrices import toeplitz

_MODES = {0: "N", "N": "N", 1: "T", "T": "T", 2: "C", "C": "C"}


def _mode(name: str, trans: Any) -> str:
    if trans not in _MODES:
        raise ArgumentError(f"{name}: trans is 0, 1, 2, 'N', 'T' or 'C', got {trans!r}{user_line()}")
    return _MODES[trans]


def _prepared(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    matrix, values = as_arrays(name, *promote_operands(name, a, b))
    matrix = as_matrix(name, matrix, square=True)
    columns, vector = right_hand_side(name, matrix, values, matrix.shape[-1])
    return *in_one_stack(name, matrix, columns), vector


def _finished(name: str, x: Any, vector: bool) -> Any:
    result = lift(name, x)
    return result[..., 0] if vector else result


@traced
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
                     overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solutions of systems of triangular matrices, of which one triangle is read.

    ``trans``: 0 or N for A x = b, 1 or T for A^T x = b, 2 or C for A^H x = b. A zero on the diagonal is a LinAlgError.
    """
    x, y, vector = _prepared("solve_triangular", a, b)
    found = linalg.triangular_solve(x, y, bool(lower), _mode("solve_triangular", trans), bool(unit_diagonal))
    return _finished("solve_triangular", found, vector)


@traced
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solutions of A x = b, given what `cho_factor` or `cholesky` gave for A."""
    c, lower = c_and_lower
    factor, y, vector = _prepared("cho_solve", c, b)
    first, second = ("N", "C") if lower else ("C", "N")
    inner = linalg.solve_triangle(factor, y, bool(lower), first)
    return _finished("cho_solve", linalg.solve_triangle(factor, inner, bool(lower), second), vector)


@traced
def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solutions of A x = b, given what `lu_factor` gave for A; ``trans``: 1 for A^T, 2 for A^H."""
    factors, pivots = lu_and_piv
    mode = _mode("lu_solve", trans)
    x, y, vector = _prepared("lu_solve", factors, b)
    rows = linalg_solve.rows_of_pivots(lift("lu_solve", pivots))
    stack = x.shape[:-2]
    rows = lift("lu_solve", np.broadcast_to(lift("lu_solve", rows), (*stack, x.shape[-1])))
    if mode == "N":
        inner = linalg.triangular_solve(x, linalg_solve.permuted_rows(y, rows), True, "N", True)
        return _finished("lu_solve", linalg.triangular_solve(x, inner, False), vector)
    inner = linalg.triangular_solve(x, linalg.triangular_solve(x, y, False, mode), True, mode, True)
    return _finished("lu_solve", linalg_solve.permuted_rows(inner, np.argsort(rows, axis=-1)), vector)


_GENERAL = (None, "gen", "general", "banded", "tridiagonal")
_HERMITIAN = ("her", "hermitian", "sym", "symmetric")
_POSITIVE = ("pos", "positive definite")


@traced
def solve(a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False,
          check_finite: bool = True, assume_a: str | None = None, transposed: bool = False) -> Any:
    """The solutions of A x = b.

    ``assume_a``: gen, sym, her, pos, diagonal, upper or lower triangular. What is assumed symmetric is read in one triangle,
    the upper one unless ``lower``.
    """
    mode = "T" if transposed else "N"
    if assume_a in ("lower triangular", "upper triangular"):
        return solve_triangular(a, b, mode, assume_a == "lower triangular")
    x, y, vector = _prepared("solve", a, b)
    if assume_a == "diagonal":
        return _finished("solve", y / x.diagonal(axis1=-2, axis2=-1)[..., None], vector)
    if assume_a in _POSITIVE:
        refuse("solve", transposed=(transposed, False))
        return cho_solve((linalg.cholesky(x, not lower), lower), b)
    if assume_a in _HERMITIAN:
        turned = x if lower else lift("solve", matrix_transpose(x))
        strict = np.tril(turned, -1)
        other = adjoint(strict) if assume_a in ("her", "hermitian") else matrix_transpose(strict)
        x = np.tril(turned) + lift("solve", other)
        x = x if lower else lift("solve", matrix_transpose(x))
    elif assume_a not in _GENERAL:
        raise ArgumentError(f"solve: {assume_a!r} is not a recognized matrix structure{user_line()}")
    if mode == "N":
        return solve_staged("solve", x, b)
    return solve_staged("solve", lift("solve", matrix_transpose(x)), b)


@traced
def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: Any = None, lower: bool = False) -> Any:
    """The inverses of square matrices; a singular one is a LinAlgError."""
    if assume_a not in (None, "general", "gen"):
        x = as_matrix("inv", a, square=True)
        return solve(x, lift("inv", identity(x)), lower, assume_a=assume_a)
    return numpy_linalg.inv(lift("inv", a))


@traced
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinants of square matrices; see `gradxform.numpy.linalg.det` for the derivative at singular ones."""
    return numpy_linalg.det(lift("det", a))


@traced
def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The pseudo-inverses of matrices; singular values of at most ``atol + rtol * largest`` count as zero."""
    x = as_matrix("pinv", a)
    eps = np.finfo(x.real.dtype).eps
    absolute = 0.0 if atol is None else atol
    relative = (max(x.shape[-2:]) * eps if atol is None else 0.0) if rtol is None else rtol
    u, s, vh = factors_of(x)
    cutoff = absolute + relative * s.max(axis=-1, keepdims=True)
    found = lift("pinv", linalg_pseudo.pseudo_inverse(x, u, inverted_values("pinv", s, cutoff), vh))
    return (found, (s > cutoff).sum(axis=-1)) if return_rank else found


@traced
def lstsq(a: Any, b: Any, cond: Any = None, overwrite_a: bool = False, overwrite_b: bool = False,
          check_finite: bool = True, lapack_driver: Any = None) -> Any:
    """The shortest of the solutions of least squares, squared residuals, rank, singular values."""
    x = as_matrix("lstsq", a)
    found, residuals, rank, s = numpy_linalg.lstsq(x, b, np.finfo(x.real.dtype).eps if cond is None else cond)
    b_is_vector = np.ndim(b) == 1
    return found, (residuals[0] if b_is_vector and residuals.size else residuals), rank, s


@traced
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """The norm of vectors or matrices; where it is 0 the derivative is 0."""
    return numpy_linalg.norm(lift("norm", a), ord, axis, keepdims)


@traced
def solve_toeplitz(c_or_cr: Any, b: Any, check_finite: bool = True) -> Any:
    """The solution of the system of a Toeplitz matrix, given by its first column, or by its first column and row."""
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, None)
    return solve_staged("solve_toeplitz", toeplitz(c, r), b)


@traced
def matmul_toeplitz(c_or_cr: Any, x: Any, check_finite: bool = False, workers: Any = None) -> Any:
    """The product of a Toeplitz matrix and ``x``."""
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, None)
    return toeplitz(c, r) @ lift("matmul_toeplitz", x)
