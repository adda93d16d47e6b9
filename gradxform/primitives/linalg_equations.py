"""Matrix equations and roots: sylvester, square_root.

The derivative of either is a Sylvester equation again: of A X + X B = C it is A dX + dX B = dC - dA X - X dB, of X X = A it is
X dX + dX X = dA. So both have exact derivatives of all orders, also at equal eigenvalues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Undefined, bind, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_complex
from gradxform.errors import DTypeError, NotDifferentiableError, ShapeError
from gradxform.ir import ArrayType
from gradxform.loopir.lowering import Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.arithmetic import neg, sub
from gradxform.primitives.linalg import failures, stack_batch
from gradxform.primitives.linalg_spectral import NOT_CONVERGED, NOT_FINITE
from gradxform.primitives.matrices import check_matrix, check_stack, evaluate_stack, in_lanes, matmul, matrix_transpose
from gradxform.primitives.rules import not_linear

SINGULAR_EQUATION = "Sylvester equation is singular: A and -B have an eigenvalue in common"


def _sylvester_type(a: ArrayType, b: ArrayType, c: ArrayType) -> ArrayType:
    for x in (a, b):
        check_matrix("sylvester", x, square=True)
        check_stack("sylvester", x, c)
    if c.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ShapeError(f"sylvester: {a}, {b} and {c} do not fit: expected (m, m), (n, n) and (m, n){user_line()}")
    return c.strong()


def _sylvester_one(a: Any, b: Any, c: Any) -> tuple[Any]:
    from scipy.linalg import solve_sylvester

    return (solve_sylvester(a, b, c) if c.size else c,)


def _sylvester_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    a, b, _ = primals
    a_t, b_t, total = tangents
    if a_t is not None:
        moved = matmul(a_t, output)
        total = neg(moved) if total is None else sub(total, moved)
    if b_t is not None:
        moved = matmul(output, b_t)
        total = neg(moved) if total is None else sub(total, moved)
    return None if total is None else sylvester(a, b, total)


def _sylvester_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    a, b, c = operands
    if isinstance(a, Undefined) or isinstance(b, Undefined) or not isinstance(c, Undefined):
        raise NotDifferentiableError("sylvester is linear in its right-hand side alone")
    return None, None, sylvester(matrix_transpose(a), matrix_transpose(b), ct)


def _sylvester_lower(operands: Sequence[Operand], result: ArrayType) -> Native:
    from gradxform.backend.schur_text import sylvester_workspace

    m, n = result.shape[-2:]
    name = result.dtype.name
    routine = Routine("lapack.sylvester", (name, m, n), _sylvester_one,
                      failures(True, SINGULAR_EQUATION, NOT_FINITE, NOT_CONVERGED), workspace=sylvester_workspace(name, m, n),
                      work=4000.0 + 5 * (m ** 3 + n ** 3), threads=max(m, n) > 32)
    return Native(routine, result.shape[:-2])


def sylvester(a: Any, b: Any, c: Any) -> Any:
    """X with A X + X B = C for stacks of matrices (m, m), (n, n) and (m, n).

    It is a LinAlgError where A and -B have an eigenvalue in common, or entries are not finite.
    """
    return bind(sylvester_p, a, b, c)


def _root_type(a: ArrayType) -> ArrayType:
    check_matrix("square_root", a, square=True)
    if not is_complex(a.dtype):
        raise DTypeError(f"square_root: expected a complex matrix, got {a}: cast with .astype{user_line()}")
    return a.strong()


def _root_one(a: Any) -> tuple[Any]:
    from scipy.linalg import sqrtm

    if not np.isfinite(a).all():
        raise np.linalg.LinAlgError(NOT_FINITE)
    return (np.asarray(sqrtm(a), a.dtype) if a.size else a,)


def _root_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    (t,) = tangents
    return None if t is None else sylvester(output, output, t)


def _root_lower(operands: Sequence[Operand], result: ArrayType) -> Native:
    from gradxform.backend.schur_text import square_root_workspace

    n, name = result.shape[-1], result.dtype.name
    routine = Routine("lapack.square_root", (name, n), _root_one, failures(True, NOT_CONVERGED, NOT_FINITE),
                      workspace=square_root_workspace(name, n), work=4000.0 + 10 * n ** 3, threads=n > 32)
    return Native(routine, result.shape[:-2])


def square_root(a: Any) -> Any:
    """The principal square roots of complex matrices; they have infinities or NaN where there is none.

    The derivative is a LinAlgError at a singular matrix, where it is infinite.
    """
    return bind(square_root_p, a)


sylvester_p = Primitive(
    "sylvester",
    type=_sylvester_type,
    evaluate=lambda a, b, c: evaluate_stack(_sylvester_one, [a, b, c], [2] * 3, [type_of(c)], True, vectorised=False)[0],
    jvp=_sylvester_jvp,
    transpose=_sylvester_transpose,
    batch=lambda operands, batched, size: (sylvester(*in_lanes(operands, batched, size)), True),
    lower=_sylvester_lower,
)
square_root_p = Primitive(
    "square_root",
    type=_root_type,
    evaluate=lambda a: evaluate_stack(_root_one, [a], [2], [type_of(a)], True, vectorised=False)[0],
    jvp=_root_jvp,
    transpose=not_linear("square_root"),
    batch=stack_batch(square_root),
    lower=_root_lower,
)

PRIMITIVES = (sylvester_p, square_root_p)
