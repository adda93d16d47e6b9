"""Pseudo-inverses and least squares, from singular values and vectors.

Both take the matrix and its factors, as `linalg_solve.solve` does: functions of the matrix, computed from U, the inverted
singular values (zero for those that are dropped) and V^H. Derivatives are those of constant rank: G. H. Golub and V. Pereyra,
"The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate", SIAM J. Numer. Anal. 10
(1973). So equal singular values do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.core import Primitive, Undefined, bind, dtype_of, shape_of
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import add
from gradxform.loopir.lowering import Expands
from gradxform.primitives.arithmetic import mul, neg, sub
from gradxform.primitives.matrices import (
    adjoint,
    as_columns,
    check_matrix,
    in_lanes,
    like,
    matmul,
    matrix_transpose,
)
from gradxform.primitives.rules import not_linear


def _scaled(inverted: Any, x: Any) -> Any:
    """Rows of ``x`` times the inverted singular values."""
    return mul(like(as_columns(inverted, shape_of(x)[-1]), dtype_of(x)), x)


def _pseudo_inverse_build(a: Any, u: Any, inverted: Any, vh: Any) -> Any:
    return matmul(adjoint(vh), _scaled(inverted, adjoint(u)))


def _pseudo_solve_build(a: Any, u: Any, inverted: Any, vh: Any, b: Any) -> Any:
    return matmul(adjoint(vh), _scaled(inverted, matmul(adjoint(u), b)))


def _evaluate_inverse(a: Any, u: Any, inverted: Any, vh: Any) -> Any:
    return vh.swapaxes(-1, -2).conj() @ (inverted[..., None] * u.swapaxes(-1, -2).conj())


def _evaluate_solve(a: Any, u: Any, inverted: Any, vh: Any, b: Any) -> Any:
    return vh.swapaxes(-1, -2).conj() @ (inverted[..., None] * (u.swapaxes(-1, -2).conj() @ b))


def _inverse_type(a: ArrayType, *factors: ArrayType) -> ArrayType:
    check_matrix("pseudo_inverse", a)
    return ArrayType(a.dtype, (*a.shape[:-2], a.shape[-1], a.shape[-2]))


def _solve_type(a: ArrayType, u: ArrayType, inverted: ArrayType, vh: ArrayType, b: ArrayType) -> ArrayType:
    check_matrix("pseudo_solve", a)
    check_matrix("pseudo_solve", b)
    return ArrayType(a.dtype, (*a.shape[:-2], a.shape[-1], b.shape[-1]))


def _inverse_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    a, t, y = primals[0], tangents[0], output
    if t is None:
        return None
    turned = adjoint(t)
    left = matmul(matmul(y, adjoint(y)), sub(turned, matmul(matmul(turned, a), y)))
    # What is left of a vector outside the row space.
    right = matmul(matmul(turned, adjoint(y)), y)
    right = sub(right, matmul(y, matmul(a, right)))
    return add(add(left, right), neg(matmul(matmul(y, t), y)))


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    a, u, inverted, vh, b = primals
    t, *_, b_t = tangents

    def solved(x: Any) -> Any:
        return pseudo_solve(a, u, inverted, vh, x)

    def solved_adjoint(x: Any) -> Any:
        return pseudo_solve(adjoint(a), adjoint(vh), inverted, adjoint(u), x)

    found = None if b_t is None else solved(b_t)
    if t is None:
        return found
    turned = adjoint(t)
    first = solved(sub(solved_adjoint(matmul(turned, sub(b, matmul(a, output)))), matmul(t, output)))
    last = matmul(turned, solved_adjoint(output))
    part = add(first, sub(last, solved(matmul(a, last))))
    return part if found is None else add(found, part)


def _solve_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    *known, b = operands
    if any(isinstance(x, Undefined) for x in known) or not isinstance(b, Undefined):
        raise NotDifferentiableError("pseudo_solve is linear in its right-hand side alone")
    a, u, inverted, vh = known
    found = pseudo_solve(matrix_transpose(a), matrix_transpose(vh), inverted, matrix_transpose(u), ct)
    return None, None, None, None, found


def pseudo_inverse(a: Any, u: Any, inverted: Any, vh: Any) -> Any:
    """The pseudo-inverses V S U^H of matrices with the inverted singular values S, which are zero where they are dropped."""
    return bind(pseudo_inverse_p, a, u, inverted, vh)


def pseudo_solve(a: Any, u: Any, inverted: Any, vh: Any, b: Any) -> Any:
    """The pseudo-inverses of matrices times ``b`` (..., m, k): the shortest of the solutions of least squares."""
    return bind(pseudo_solve_p, a, u, inverted, vh, b)


pseudo_inverse_p = Primitive(
    "pseudo_inverse",
    type=_inverse_type,
    evaluate=_evaluate_inverse,
    jvp=_inverse_jvp,
    transpose=not_linear("pseudo_inverse"),
    batch=lambda operands, batched, size: (pseudo_inverse(*in_lanes(operands, batched, size)), True),
    lower=lambda operands, result: Expands(_pseudo_inverse_build),
)
pseudo_solve_p = Primitive(
    "pseudo_solve",
    type=_solve_type,
    evaluate=_evaluate_solve,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=lambda operands, batched, size: (pseudo_solve(*in_lanes(operands, batched, size)), True),
    lower=lambda operands, result: Expands(_pseudo_solve_build),
)

PRIMITIVES = (pseudo_inverse_p, pseudo_solve_p)
