"""Triangular factors: cholesky, its tangent and its cotangent, and systems of triangular matrices.

What is read of a matrix is one triangle, as in NumPy, so that the derivative with respect to the other one is zero. Where the
matrix is a function of parameters that makes it symmetric, this is the derivative that one expects. `symmetrised` in front
of a decomposition gives the symmetric derivative instead.

The Cholesky factor of A + dA is L + L f(L^-1 dA L^-H), where f takes the lower triangle and half of the diagonal: S. P. Smith,
"Differentiation of the Cholesky algorithm", J. Comput. Graph. Stat. 4 (1995); I. Murray, arXiv:1602.07527 (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Undefined, bind, dtype_of, shape_of, type_of
from gradxform.dtypes import is_complex
from gradxform.errors import LinAlgError, NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import add, move_axis, select
from gradxform.loopir.lowering import Expands, Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.arithmetic import mul, neg, sub
from gradxform.primitives.complex import from_real, real
from gradxform.primitives.matrices import (
    adjoint,
    check_inexact,
    check_matrix,
    check_stack,
    conjugate,
    evaluate_stack,
    in_lanes,
    lower_triangle,
    matmul,
    matrix_transpose,
    on_diagonal,
    upper_triangle,
)
from gradxform.primitives.rules import not_linear
from gradxform.primitives.shape import reshape

NOT_POSITIVE_DEFINITE = "Matrix is not positive definite"
SINGULAR = "Singular matrix"
#: From this extent on LAPACK may use several threads for a factorisation of Cholesky's kind.
THREADED_CHOLESKY = 64
#: From this extent on matrices of a batch follow each other, each on all threads.
THREADED_BLOCKS = 256
#: The modes of a system of equations, each with that of the transposed one.
_TRANSPOSED = {"N": "T", "T": "N"}


def failures(checked: bool, *messages: str) -> tuple[str, ...]:
    """What a routine says when it fails; nothing, so that NaN stand in the result, unless ``checked``."""
    return messages if checked else ()


def symmetrised(a: Any) -> Any:
    """(A + A^H) / 2."""
    return mul(add(a, adjoint(a)), dtype_of(a).type(0.5))


# -------------------------------------------------------------------------------------------------------- cholesky


def _square_type(name: str) -> Any:
    def rule(a: ArrayType, **params: Any) -> ArrayType:
        check_matrix(name, a, square=True)
        return a.strong()

    return rule


def _cholesky_evaluate(a: Any, *, upper: bool, checked: bool) -> Any:
    types = [ArrayType(a.dtype, a.shape)]
    return evaluate_stack(lambda x: (np.linalg.cholesky(x, upper=upper),), [a], [2], types, checked)[0]


def _cholesky_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, upper: bool, checked: bool) -> Any:
    (t,) = tangents
    if t is None:
        return None
    if upper:
        return adjoint(cholesky_tangent(adjoint(output), adjoint(t)))
    return cholesky_tangent(output, t)


def _cholesky_lower(operands: Sequence[Operand], result: ArrayType, *, upper: bool, checked: bool) -> Native:
    from gradxform.backend.lapack_text import cholesky_workspace

    n, name = result.shape[-1], result.dtype.name
    routine = Routine(
        "lapack.cholesky", (name, n, int(upper)), lambda a: (np.linalg.cholesky(a, upper=upper),),
        failures(checked, NOT_POSITIVE_DEFINITE), workspace=cholesky_workspace(name, n, int(upper)),
        work=100.0 + n * n + n ** 3 / 30, threads=n >= (THREADED_CHOLESKY if is_complex(result.dtype) else THREADED_BLOCKS))
    return Native(routine, result.shape[:-2])


def cholesky(a: Any, upper: bool = False, checked: bool = True) -> Any:
    """The lower factor of A = L L^H (or the upper one of A = U^H U) of Hermitian matrices.

    One triangle of A is read, the one of the factor. A matrix that is not positive definite is a LinAlgError if ``checked``,
    else its factor is NaN.
    """
    return bind(cholesky_p, a, upper=upper, checked=checked)


# ------------------------------------------------------------------------------------- its tangent and its cotangent


def half_diagonal(x: Any) -> Any:
    """The lower triangle with half of the diagonal (of its real part)."""
    lower = lower_triangle(x)
    diagonal = mul(x, dtype_of(x).type(0.5))
    if is_complex(dtype_of(x)):
        diagonal = from_real(real(diagonal))
    return select(on_diagonal(shape_of(x)), diagonal, lower)


def hermitian(x: Any) -> Any:
    """The Hermitian matrix of which ``x`` has the lower triangle."""
    return add(half := half_diagonal(x), adjoint(half))


def _within(factor: Any, x: Any) -> Any:
    """L^-1 X L^-H for a Hermitian X."""
    return solve_triangle(factor, adjoint(solve_triangle(factor, x)))


def _tangent(factor: Any, t: Any) -> Any:
    return matmul(factor, half_diagonal(_within(factor, hermitian(t))))


def _around(factor: Any, x: Any) -> Any:
    """L^-T X conj(L)^-1 for a Hermitian X."""
    return solve_triangle(factor, adjoint(solve_triangle(factor, x, mode="T")), mode="T")


def _cotangent(factor: Any, ct: Any) -> Any:
    half = half_diagonal(matmul(matrix_transpose(factor), lower_triangle(ct)))
    return half_diagonal(_around(factor, add(half, adjoint(half))))


def _pair_type(name: str) -> Any:
    def rule(factor: ArrayType, t: ArrayType) -> ArrayType:
        check_matrix(name, factor, square=True)
        check_stack(name, factor, t)
        return factor.strong()

    return rule


def _tangent_evaluate(factor: Any, t: Any) -> Any:
    from scipy.linalg import solve_triangular

    def one(low: Any, x: Any) -> tuple[Any]:
        lower = np.tril(x, -1)
        whole = lower + np.conj(lower.T) + np.diag(np.diagonal(x).real)
        inner = solve_triangular(low, np.conj(solve_triangular(low, whole, lower=True).T), lower=True)
        return (low @ (np.tril(inner, -1) + np.diag(np.diagonal(inner).real) / 2),)

    return evaluate_stack(one, [factor, t], [2, 2], [type_of(factor)], True, vectorised=False)[0]


def _cotangent_evaluate(factor: Any, ct: Any) -> Any:
    return evaluate_stack(_cotangent_of_one, [factor, ct], [2, 2], [type_of(factor)], True, vectorised=False)[0]


def _cotangent_of_one(factor: Any, ct: Any) -> tuple[Any]:
    from scipy.linalg import solve_triangular

    product = factor.T @ np.tril(ct)
    half = np.tril(product, -1) + np.diag(np.diagonal(product).real) / 2
    first = solve_triangular(factor, half + np.conj(half.T), lower=True, trans="T")
    whole = solve_triangular(factor, np.conj(first.T), lower=True, trans="T")
    return (np.tril(whole, -1) + np.diag(np.diagonal(whole).real) / 2,)


def _tangent_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    """With S = L^-1 A L^-H and K = L^-1 dL: dS = S' - K S - (K S)^H."""
    (factor, t), (factor_t, t_t) = primals, tangents
    found = None if t_t is None else cholesky_tangent(factor, t_t)
    if factor_t is not None:
        moved = lower_triangle(factor_t)
        inner = _within(factor, hermitian(t))
        turned = matmul(solve_triangle(factor, moved), inner)
        change = neg(add(turned, adjoint(turned)))
        part = add(matmul(moved, half_diagonal(inner)), matmul(factor, half_diagonal(change)))
        found = part if found is None else add(found, part)
    return found


def _cotangent_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    """With M = L^-T X conj(L)^-1 and W = L^-T dL^T: dM = L^-T dX conj(L)^-1 - W M - (W M)^H."""
    (factor, ct), (factor_t, ct_t) = primals, tangents
    found = None if ct_t is None else cholesky_cotangent(factor, ct_t)
    if factor_t is not None:
        moved, lower = lower_triangle(factor_t), lower_triangle(ct)
        half = half_diagonal(matmul(matrix_transpose(factor), lower))
        whole = _around(factor, add(half, adjoint(half)))
        turned = matmul(solve_triangle(factor, matrix_transpose(moved), mode="T"), whole)
        change = half_diagonal(matmul(matrix_transpose(moved), lower))
        part = sub(_around(factor, add(change, adjoint(change))), add(turned, adjoint(turned)))
        part = half_diagonal(part)
        found = part if found is None else add(found, part)
    return found


def _linear_in_second(name: str, transposed: Any) -> Any:
    def rule(ct: Any, operands: Sequence[Any]) -> tuple[Any, Any]:
        factor, t = operands
        if isinstance(factor, Undefined) or not isinstance(t, Undefined):
            raise NotDifferentiableError(f"{name} is linear in its second operand alone")
        return None, transposed(factor, ct)

    return rule


def _cotangent_lower(operands: Sequence[Operand], result: ArrayType) -> Native | Expands:
    from gradxform.backend.cholesky_text import cotangent_workspace

    if is_complex(result.dtype):
        return Expands(_cotangent)
    n, name = result.shape[-1], result.dtype.name
    routine = Routine("lapack.cholesky_cotangent", (name, n), _cotangent_of_one, workspace=cotangent_workspace(name, n),
                      work=50.0 + n * n + n ** 3 / 15, threads=n >= THREADED_BLOCKS)
    return Native(routine, result.shape[:-2])


def cholesky_tangent(factor: Any, t: Any) -> Any:
    """The tangent of the lower factor for a tangent of the matrix, of which the lower triangle is read; linear in ``t``."""
    return bind(cholesky_tangent_p, factor, t)


def cholesky_cotangent(factor: Any, ct: Any) -> Any:
    """The cotangent of the matrix's lower triangle for one of the factor, of which the lower triangle is read.

    It is linear in ``ct``, and the transpose of `cholesky_tangent`.
    """
    return bind(cholesky_cotangent_p, factor, ct)


# ----------------------------------------------------------------------------------------------- triangular systems


def _triangular_type(a: ArrayType, b: ArrayType, *, lower: bool, mode: str, unit: bool, checked: bool) -> ArrayType:
    check_matrix("triangular_solve", a, square=True)
    check_inexact("triangular_solve", b)
    check_stack("triangular_solve", a, b)
    if b.shape[-2] != a.shape[-1]:
        raise LinAlgError(f"triangular_solve: a matrix {a} and right-hand sides {b} do not fit: expected as many rows")
    return b.strong()


def _solve_one(a: Any, b: Any, lower: bool, mode: str, unit: bool, checked: bool) -> tuple[Any]:
    from scipy.linalg import solve_triangular

    if 0 in b.shape:
        return (b,)
    if not checked and not unit and not np.diagonal(a).all():
        return (_substituted(a, b, lower, mode),)
    try:
        return (solve_triangular(a, b, trans=mode, lower=lower, unit_diagonal=unit, check_finite=False),)
    except np.linalg.LinAlgError:
        raise np.linalg.LinAlgError(SINGULAR) from None


def _substituted(a: Any, b: Any, lower: bool, mode: str) -> Any:
    """By substitution, with infinities and NaN where there is a zero on the diagonal."""
    matrix = {"N": a, "T": a.T, "C": np.conj(a.T)}[mode]
    forward = lower == (mode == "N")
    x = np.array(b)
    with np.errstate(all="ignore"):
        for i in range(len(x)) if forward else reversed(range(len(x))):
            done = slice(0, i) if forward else slice(i + 1, None)
            x[i] = (x[i] - matrix[i, done] @ x[done]) / matrix[i, i]
    return x


def _triangular_evaluate(a: Any, b: Any, **params: Any) -> Any:
    return evaluate_stack(lambda x, y: _solve_one(x, y, **params), [a, b], [2, 2], [type_of(b)], True, vectorised=False)[0]


def triangle(a: Any, lower: bool, unit: bool) -> Any:
    """What a triangular system reads of ``a``, apart from a diagonal of ones."""
    return (lower_triangle if lower else upper_triangle)(a, strict=unit)


def in_mode(a: Any, mode: str) -> Any:
    """A, A^T or A^H."""
    return {"N": lambda x: x, "T": matrix_transpose, "C": adjoint}[mode](a)


def _triangular_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, lower: bool, mode: str, unit: bool,
                    checked: bool) -> Any:
    a, _ = primals
    t, u = tangents
    if t is not None:
        moved = matmul(in_mode(triangle(t, lower, unit), mode), output)
        u = neg(moved) if u is None else sub(u, moved)
    # The primal has been checked.
    return None if u is None else bind(triangular_solve_p, a, u, lower=lower, mode=mode, unit=unit, checked=False)


def transposed_solve(apply: Any, ct: Any, mode: str) -> Any:
    """The cotangent of a right-hand side; ``apply(ct, mode)`` solves the system in another mode."""
    if mode == "C":
        return conjugate(apply(conjugate(ct), "N"))
    return apply(ct, _TRANSPOSED[mode])


def _triangular_transpose(ct: Any, operands: Sequence[Any], *, mode: str, **params: Any) -> tuple[Any, Any]:
    a, b = operands
    if isinstance(a, Undefined) or not isinstance(b, Undefined):
        raise NotDifferentiableError("triangular_solve is linear in its right-hand side alone")
    return None, transposed_solve(lambda x, m: bind(triangular_solve_p, a, x, mode=m, **params), ct, mode)


def _triangular_batch(operands: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> tuple[Any, bool]:
    a, b = operands
    if not batched[0] and len(shape_of(a)) == 2:
        # One matrix for all lanes: their right-hand sides stand side by side.
        _, n, k = shape_of(b)
        wide = reshape(move_axis(b, 0, 1), (n, size * k))
        return move_axis(reshape(bind(triangular_solve_p, a, wide, **params), (n, size, k)), 1, 0), True
    return bind(triangular_solve_p, *in_lanes(operands, batched, size), **params), True


def solving_work(n: int, k: int) -> float:
    """Nanoseconds that a triangular system takes."""
    return 50.0 + n * k + n * n * k / 15


def is_threaded(dtype: str, n: int, k: int) -> bool:
    """Whether a triangular system may use several threads."""
    if not dtype.startswith("complex"):
        return n >= THREADED_BLOCKS and k > 1
    return n * n >= 9000 if k == 1 else min(n, k) >= 8


def _triangular_lower(operands: Sequence[Operand], result: ArrayType, *, lower: bool, mode: str, unit: bool, checked: bool,
                      ) -> Native:
    from gradxform.backend.lapack_text import solving_workspace

    n, k = result.shape[-2:]
    name = result.dtype.name
    routine = Routine(
        "lapack.triangular_solve", (name, n, k, int(lower), mode, int(unit), int(checked)),
        lambda a, b: _solve_one(a, b, lower, mode, unit, checked), failures(checked, SINGULAR),
        workspace=solving_workspace(name, n, k), work=solving_work(n, k), threads=is_threaded(name, n, k))
    return Native(routine, result.shape[:-2])


def triangular_solve(a: Any, b: Any, lower: bool = True, mode: str = "N", unit: bool = False, checked: bool = True) -> Any:
    """X with A X = B (``mode`` N), A^T X = B (T) or A^H X = B (C) for triangular A (..., n, n) and B (..., n, k).

    One triangle of A is read, without its diagonal if that is ``unit``. A zero on the diagonal is a LinAlgError if ``checked``,
    else it leads to infinities and NaN.
    """
    return bind(triangular_solve_p, a, b, lower=lower, mode=mode, unit=unit, checked=checked)


def solve_triangle(a: Any, b: Any, lower: bool = True, mode: str = "N") -> Any:
    """As `triangular_solve`, of a factor that is known to be regular."""
    return triangular_solve(a, b, lower, mode, checked=False)


def stack_batch(apply: Any) -> Any:
    """The batching rule of what takes stacks of matrices and has one result."""
    def rule(operands: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> tuple[Any, bool]:
        return apply(*in_lanes(operands, batched, size), **params), True

    return rule


cholesky_p = Primitive(
    "cholesky",
    type=_square_type("cholesky"),
    evaluate=_cholesky_evaluate,
    jvp=_cholesky_jvp,
    transpose=not_linear("cholesky"),
    batch=stack_batch(cholesky),
    lower=_cholesky_lower,
)
cholesky_tangent_p = Primitive(
    "cholesky_tangent",
    type=_pair_type("cholesky_tangent"),
    evaluate=_tangent_evaluate,
    jvp=_tangent_jvp,
    transpose=_linear_in_second("cholesky_tangent", cholesky_cotangent),
    batch=stack_batch(cholesky_tangent),
    lower=lambda operands, result: Expands(_tangent),
)
cholesky_cotangent_p = Primitive(
    "cholesky_cotangent",
    type=_pair_type("cholesky_cotangent"),
    evaluate=_cotangent_evaluate,
    jvp=_cotangent_jvp,
    transpose=_linear_in_second("cholesky_cotangent", cholesky_tangent),
    batch=stack_batch(cholesky_cotangent),
    lower=_cotangent_lower,
)
triangular_solve_p = Primitive(
    "triangular_solve",
    type=_triangular_type,
    evaluate=_triangular_evaluate,
    jvp=_triangular_jvp,
    transpose=_triangular_transpose,
    batch=_triangular_batch,
    lower=_triangular_lower,
)

PRIMITIVES = (cholesky_p, cholesky_tangent_p, cholesky_cotangent_p, triangular_solve_p)
