"""qr: A = Q R with orthonormal columns and an upper triangle.

Derivative: S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum
experimental design", arXiv:1001.1654 (2010); for complex matrices with the gauge in which LAPACK leaves R, a real diagonal. It
needs leading columns of full rank, as many as R has rows; otherwise it is a LinAlgError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind_all, dtype_of, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_complex
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import add, select
from gradxform.loopir.lowering import Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.arithmetic import sub
from gradxform.primitives.complex import complex as complex_number
from gradxform.primitives.complex import imag
from gradxform.primitives.linalg import triangular_solve
from gradxform.primitives.matrices import (
    adjoint,
    check_matrix,
    evaluate_stack,
    lower_triangle,
    matmul,
    matrix_transpose,
    on_diagonal,
)
from gradxform.primitives.rules import not_linear
from gradxform.primitives.shape import concatenate, slice_along

#: Elements from which on LAPACK may use several threads.
THREADED_ELEMENTS = 4096


def _types(a: ArrayType, mode: str) -> tuple[ArrayType, ...]:
    *stack, m, n = a.shape
    k = m if mode == "complete" else min(m, n)
    r = ArrayType(a.dtype, (*stack, k, n))
    return (r,) if mode == "r" else (ArrayType(a.dtype, (*stack, m, k)), r)


def _type(a: ArrayType, *, mode: str) -> tuple[ArrayType, ...]:
    check_matrix("qr", a)
    return _types(a, mode)


def _reference(a: Any, mode: Any) -> tuple[Any, ...]:
    found: Any = np.linalg.qr(a, mode=mode)
    return (found,) if mode == "r" else (found[0], found[1])


def _evaluate(a: Any, *, mode: str) -> tuple[Any, ...]:
    return evaluate_stack(lambda x: _reference(x, mode), [a], [2], _types(type_of(a), mode), True)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, mode: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """With X = dA R^-1 and Y = Q^H X: dQ = Q (W - Y) + X and dR = (Y - W) R, where W is what is antisymmetric in Y."""
    (a,), (t,) = primals, tangents
    *_, m, n = shape_of(a)
    if mode == "complete" and m > n:
        raise NotDifferentiableError(
            f"qr: mode='complete' of an array of shape {shape_of(a)} has no derivative, for the last {m - n} columns of Q are "
            f"not determined by it: use mode='reduced'{user_line()}")
    q, r = qr(a)
    rank, k = len(shape_of(a)), min(m, n)
    leading_r, leading_t = (slice_along(x, rank - 1, 0, k) for x in (r, t))
    x = matrix_transpose(triangular_solve(leading_r, matrix_transpose(leading_t), lower=False, mode="T"))
    y = matmul(adjoint(q), x)
    below = lower_triangle(y, strict=True)
    turn = sub(below, adjoint(below))
    if is_complex(dtype_of(a)):
        # The diagonal of R stays real, so what turns there is in Q.
        phase = imag(y)
        turn = select(on_diagonal(shape_of(y)), complex_number(dtype_of(phase).type(0), phase), turn)
    rest = sub(y, turn)
    q_t = add(sub(x, matmul(q, y)), matmul(q, turn))
    r_t = matmul(rest, leading_r)
    if n > k:
        others, others_t = (slice_along(z, rank - 1, k, n) for z in (a, t))
        r_t = concatenate([r_t, add(matmul(adjoint(q_t), others), matmul(adjoint(q), others_t))], rank - 1)
    return ((r,), (r_t,)) if mode == "r" else ((q, r), (q_t, r_t))


def _batch(operands: Sequence[Any], batched: Sequence[bool], size: int, *, mode: str) -> tuple[list[Any], list[bool]]:
    found = bind_all(qr_p, operands, {"mode": mode})
    return found, [True] * len(found)


def _lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, mode: str) -> Native:
    from gradxform.backend.lapack_text import qr_workspace

    *stack, m, n = operands[0].type.shape
    name = results[0].dtype.name
    routine = Routine("lapack.qr", (name, m, n, mode), lambda a: _reference(a, mode), workspace=qr_workspace(name, m, n),
                      work=500.0 + 4 * m * n + m * n * min(m, n) / 4, threads=m * n >= THREADED_ELEMENTS)
    return Native(routine, tuple(stack))


def qr(a: Any, mode: str = "reduced") -> list[Any]:
    """Q (..., m, k) and R (..., k, n) with A = Q R, where k is min(m, n), or m if ``mode`` is complete; ``mode`` r: R alone."""
    return bind_all(qr_p, [a], {"mode": mode})


qr_p = Primitive(
    "qr",
    type=_type,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=not_linear("qr"),
    batch=_batch,
    lower=_lower,
    multiple=True,
)

PRIMITIVES = (qr_p,)
