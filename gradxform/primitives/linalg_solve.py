"""Square systems: lu, solve, inverse, determinants.

`solve`, `log_determinant`, `determinant` and `determinant_sign` take the matrix and its factors. They are functions of the
matrix; the factors only say how to compute them, and their tangents do not count. So nothing is differentiated through the
interior of a factorisation, and what is factorised once serves values and derivatives of all orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Builder, Primitive, Undefined, bind, bind_all, dtype_of, shape_of, type_of
from gradxform.dtypes import int32, int64, is_complex, part_dtype
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import add, broadcast, move_axis, reduce_sum, select
from gradxform.loopir.lowering import Expands, Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.arithmetic import abs as absolute
from gradxform.primitives.arithmetic import div, mul, neg, sub
from gradxform.primitives.complex import complex as complex_number
from gradxform.primitives.complex import imag
from gradxform.primitives.cond import cond
from gradxform.primitives.elementary import log
from gradxform.primitives.indexing import gather
from gradxform.primitives.linalg import (
    SINGULAR,
    failures,
    in_mode,
    is_threaded,
    solve_triangle,
    solving_work,
    stack_batch,
    transposed_solve,
)
from gradxform.primitives.logic import bitwise_and, convert, equal, not_equal
from gradxform.primitives.matrices import (
    check_matrix,
    check_stack,
    conjugate,
    diagonal,
    evaluate_stack,
    identity,
    in_lanes,
    like,
    lower_triangle,
    matmul,
    matrix_transpose,
    on_diagonal,
    real_part,
    trace_of_product,
    upper_triangle,
)
from gradxform.primitives.reductions import reduce_and, reduce_prod
from gradxform.primitives.rules import no_tangent, not_linear
from gradxform.primitives.shape import concatenate, iota, reshape, slice_along

#: From this many elements on LAPACK may use several threads for factors with pivots.
THREADED_ELEMENTS = 40_000

# --------------------------------------------------------------------------------------------------------------- lu


def _lu_type(a: ArrayType) -> tuple[ArrayType, ...]:
    check_matrix("lu", a)
    *stack, m, n = a.shape
    return a.strong(), ArrayType(int32, (*stack, min(m, n))), ArrayType(int64, (*stack, m))


def _lu_one(a: Any) -> tuple[Any, Any, Any]:
    from scipy.linalg import lapack

    rows = np.arange(a.shape[0])
    if 0 in a.shape:
        return a, np.zeros(0, np.int32), rows
    (getrf,) = lapack.get_lapack_funcs(("getrf",), (a,))
    factors, pivots, _ = getrf(a)
    for i, pivot in enumerate(pivots):
        rows[[i, pivot]] = rows[[pivot, i]]
    return factors, pivots, rows


def _lu_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """With F = L^-1 (P dA) U^-1 of the leading square: dL = L tril(F), dU = triu(F) U."""
    (a,), (t,) = primals, tangents
    factors, pivots, rows = lu(a)
    moved = permuted_rows(t, rows)
    *_, m, n = shape_of(a)
    k, rank = min(m, n), len(shape_of(a))

    def block(x: Any, first_row: int, last_row: int, first_column: int, last_column: int) -> Any:
        return slice_along(slice_along(x, rank - 2, first_row, last_row), rank - 1, first_column, last_column)

    def over_upper(x: Any) -> Any:
        return matrix_transpose(solve_triangle(leading, matrix_transpose(x), lower=False, mode="T"))

    def under_lower(x: Any) -> Any:
        return bind_unit_lower(leading, x)

    leading = block(factors, 0, k, 0, k)
    unit_lower = select(on_diagonal(shape_of(leading)), dtype_of(a).type(1), lower_triangle(leading))
    upper = upper_triangle(leading)
    inner = over_upper(under_lower(block(moved, 0, k, 0, k)))
    below, above = lower_triangle(inner, strict=True), upper_triangle(inner)
    upper_t = matmul(above, upper)
    change = add(matmul(unit_lower, below), upper_t)
    if m > n:
        rest = sub(block(moved, k, m, 0, k), matmul(block(factors, k, m, 0, k), upper_t))
        change = concatenate([change, over_upper(rest)], rank - 2)
    elif n > m:
        rest = sub(under_lower(block(moved, 0, k, k, n)), matmul(below, block(factors, 0, k, k, n)))
        change = concatenate([change, rest], rank - 1)
    return (factors, pivots, rows), (change, None, None)


def bind_unit_lower(factors: Any, x: Any) -> Any:
    """L^-1 X for the unit lower triangle of ``factors``."""
    from gradxform.primitives.linalg import triangular_solve

    return triangular_solve(factors, x, lower=True, unit=True, checked=False)


def permuted_rows(x: Any, rows: Any) -> Any:
    """The rows of matrices, in another order."""
    rank = len(shape_of(x))
    return gather(x, rows, axes=(rank - 2,), batch_rank=rank - 2, mode="inside")


def _lu_lower(operands: Sequence[Operand], results: Sequence[ArrayType]) -> Native:
    factors = results[0]
    *stack, m, n = factors.shape
    size = factors.dtype.itemsize
    routine = Routine("lapack.lu", (factors.dtype.name, m, n), _lu_one, workspace=0 if m == n else size * m * n,
                      work=150.0 + 2 * m * n + m * n * min(m, n) / 15, threads=m * n >= THREADED_ELEMENTS)
    return Native(routine, tuple(stack))


def lu(a: Any) -> list[Any]:
    """P A = L U: both factors in one matrix (..., m, n), the rows that changed places (int32), and the rows of A in their
    new order (int64). The ones on the diagonal of L are not stored.

    A singular matrix is factorised, too. The derivative is for these pivots.
    """
    return bind_all(lu_p, [a], {})


# ----------------------------------------------------------------------------------------------------------- pivots


def _rows_type(pivots: ArrayType) -> ArrayType:
    return ArrayType(int64, pivots.shape)


def _rows_one(pivots: Any) -> tuple[Any]:
    rows = np.arange(len(pivots))
    for i, pivot in enumerate(pivots):
        rows[[i, pivot]] = rows[[pivot, i]]
    return (rows,)


def _rows_lower(operands: Sequence[Operand], result: ArrayType) -> Native:
    n = result.shape[-1]
    return Native(Routine("lapack.rows_of_pivots", (n,), _rows_one, work=5.0 * n), result.shape[:-1])


def rows_of_pivots(pivots: Any) -> Any:
    """The order of rows (int64) to which the exchanges (int32) of a square matrix lead; they must be inside."""
    return bind(rows_of_pivots_p, convert(pivots, int32))


# ------------------------------------------------------------------------------------------------------------ solve


def _solve_type(a: ArrayType, factors: ArrayType, rows: ArrayType, b: ArrayType, *, mode: str, checked: bool) -> ArrayType:
    check_matrix("solve", a, square=True)
    check_stack("solve", a, factors)
    check_stack("solve", a, b)
    return b.strong()


def _solve_one(operands: Sequence[Any], mode: str, checked: bool) -> tuple[Any]:
    _, factors, rows, b = operands
    if not factors.size or not b.size:
        return (b,)
    if not np.diagonal(factors).all():
        if checked:
            raise np.linalg.LinAlgError(SINGULAR)
        return (np.full_like(b, np.nan),)
    from scipy.linalg import solve_triangular

    if mode == "N":
        first = solve_triangular(factors, b[rows], lower=True, unit_diagonal=True, check_finite=False)
        return (solve_triangular(factors, first, check_finite=False),)
    first = solve_triangular(factors, b, trans=mode, check_finite=False)
    last = solve_triangular(factors, first, trans=mode, lower=True, unit_diagonal=True, check_finite=False)
    result = np.empty_like(last)
    result[rows] = last
    return (result,)


def _solve_evaluate(a: Any, factors: Any, rows: Any, b: Any, *, mode: str, checked: bool) -> Any:
    return evaluate_stack(lambda *x: _solve_one(x, mode, checked), [a, factors, rows, b], [2, 2, 1, 2], [type_of(b)], True,
                          vectorised=False)[0]


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, mode: str, checked: bool) -> Any:
    a, factors, rows, _ = primals
    t, _, _, u = tangents
    if t is not None:
        moved = matmul(in_mode(t, mode), output)
        u = neg(moved) if u is None else sub(u, moved)
    return None if u is None else bind(solve_p, a, factors, rows, u, mode=mode, checked=checked)


def _solve_transpose(ct: Any, operands: Sequence[Any], *, mode: str, checked: bool) -> tuple[Any, ...]:
    *known, b = operands
    if any(isinstance(x, Undefined) for x in known) or not isinstance(b, Undefined):
        raise NotDifferentiableError("solve is linear in its right-hand side alone")
    return None, None, None, transposed_solve(lambda x, m: bind(solve_p, *known, x, mode=m, checked=checked), ct, mode)


def _solve_batch(operands: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> tuple[Any, bool]:
    *known, b = operands
    if not any(batched[:3]) and len(shape_of(known[0])) == 2:
        _, n, k = shape_of(b)
        wide = reshape(move_axis(b, 0, 1), (n, size * k))
        return move_axis(reshape(bind(solve_p, *known, wide, **params), (n, size, k)), 1, 0), True
    return bind(solve_p, *in_lanes(operands, batched, size), **params), True


def _solve_lower(operands: Sequence[Operand], result: ArrayType, *, mode: str, checked: bool) -> Native:
    from gradxform.backend.lapack_text import solving_workspace

    n, k = result.shape[-2:]
    name = result.dtype.name
    routine = Routine(
        "lapack.solve", (name, n, k, mode), lambda *x: _solve_one(x, mode, checked), failures(checked, SINGULAR),
        workspace=solving_workspace(name, n, k) + (0 if mode == "N" else n * k * result.dtype.itemsize),
        work=2 * solving_work(n, k), threads=is_threaded(name, n, k))
    return Native(routine, result.shape[:-2])


def solve(a: Any, b: Any, checked: bool = True) -> Any:
    """X with A X = B for A (..., n, n) and B (..., n, k); a singular A is a LinAlgError if ``checked``, else gives NaN."""
    factors, _, rows = lu(a)
    return bind(solve_p, a, factors, rows, b, mode="N", checked=checked)


def solve_factored(a: Any, factors: Any, rows: Any, b: Any, mode: str = "N", checked: bool = True) -> Any:
    """As `solve`, with the factors of ``a`` as `lu` gives them; ``mode`` T or C: for A^T or A^H."""
    return bind(solve_p, a, factors, rows, b, mode=mode, checked=checked)


# ---------------------------------------------------------------------------------------------------------- inverse


def _inverse_type(a: ArrayType, *, checked: bool) -> ArrayType:
    check_matrix("inverse", a, square=True)
    return a.strong()


def _inverse_evaluate(a: Any, *, checked: bool) -> Any:
    return evaluate_stack(lambda x: (np.linalg.inv(x),), [a], [2], [type_of(a)], checked)[0]


def _inverse_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, checked: bool) -> Any:
    (t,) = tangents
    return None if t is None else neg(matmul(matmul(output, t), output))


def _inverse_lower(operands: Sequence[Operand], result: ArrayType, *, checked: bool) -> Native:
    from gradxform.backend.lapack_text import inverse_workspace

    n, name = result.shape[-1], result.dtype.name
    routine = Routine("lapack.inverse", (name, n), lambda a: (np.linalg.inv(a),), failures(checked, SINGULAR),
                      workspace=inverse_workspace(name, n), work=300.0 + 4 * n * n + n ** 3 / 8, threads=n >= THREADED_INVERSE)
    return Native(routine, result.shape[:-2])


#: From this extent on LAPACK may use several threads for an inverse.
THREADED_INVERSE = 64


def inverse(a: Any, checked: bool = True) -> Any:
    """The inverses of matrices; a singular one is a LinAlgError if ``checked``, else NaN."""
    return bind(inverse_p, a, checked=checked)


# ----------------------------------------------------------------------------------------------------- determinants


def _determinant_type(a: ArrayType, factors: ArrayType, pivots: ArrayType) -> ArrayType:
    check_matrix("determinant", a, square=True)
    return ArrayType(a.dtype, a.shape[:-2])


def _log_determinant_type(a: ArrayType, factors: ArrayType) -> ArrayType:
    check_matrix("log_determinant", a, square=True)
    return ArrayType(part_dtype(a.dtype), a.shape[:-2])


def _parity(pivots: Any, dtype: Any) -> Any:
    """1 or -1: whether an even or odd number of rows changed places."""
    shape = shape_of(pivots)
    moved = not_equal(pivots, iota(shape, int32, len(shape) - 1))
    count = reduce_sum(select(moved, int64.type(1), broadcast(int64.type(0), shape, ())), (len(shape) - 1,))
    even = equal(bitwise_and(count, int64.type(1)), int64.type(0))
    return select(even, dtype.type(1), broadcast(dtype.type(-1), shape_of(even), ()))


def _determinant_build(a: Any, factors: Any, pivots: Any) -> Any:
    entries = diagonal(factors)
    return mul(_parity(pivots, dtype_of(factors)), reduce_prod(entries, (len(shape_of(entries)) - 1,)))


def _sign_build(a: Any, factors: Any, pivots: Any) -> Any:
    entries = diagonal(factors)
    dtype = dtype_of(factors)
    size = like(absolute(entries), dtype)
    zero = equal(entries, dtype.type(0))
    units = select(zero, dtype.type(0), div(entries, select(zero, dtype.type(1), size)))
    return mul(_parity(pivots, dtype), reduce_prod(units, (len(shape_of(entries)) - 1,)))


def _log_build(a: Any, factors: Any) -> Any:
    entries = diagonal(factors)
    return reduce_sum(log(absolute(entries)), (len(shape_of(entries)) - 1,))


def _parity_of(pivots: Any) -> Any:
    return 1 - 2 * (np.sum(pivots != np.arange(pivots.shape[-1]), axis=-1) % 2)


def _determinant_evaluate(a: Any, factors: Any, pivots: Any) -> Any:
    return (np.prod(np.diagonal(factors, axis1=-2, axis2=-1), axis=-1) * _parity_of(pivots)).astype(a.dtype)


def _sign_evaluate(a: Any, factors: Any, pivots: Any) -> Any:
    entries = np.diagonal(factors, axis1=-2, axis2=-1)
    size = np.abs(entries)
    units = np.where(size == 0, 0, entries / np.where(size == 0, 1, size))
    return (np.prod(units, axis=-1) * _parity_of(pivots)).astype(a.dtype)


def _log_evaluate(a: Any, factors: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.sum(np.log(np.abs(np.diagonal(factors, axis1=-2, axis2=-1))), axis=-1)


def _determinant_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    return None if tangents[0] is None else trace_of_product(adjugate(primals[0]), tangents[0])


def _log_determinant_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    return None if tangents[0] is None else real_part(trace_of_product(inverse(primals[0]), tangents[0]))


def _sign_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    """Of a complex determinant the phase turns, by the imaginary part of the trace of A^-1 dA."""
    if tangents[0] is None or not is_complex(dtype_of(output)):
        return None
    turn = imag(trace_of_product(inverse(primals[0]), tangents[0]))
    return mul(output, complex_number(dtype_of(turn).type(0), turn))


def determinant(a: Any, factors: Any, pivots: Any) -> Any:
    """The determinants of matrices of which `lu` gave factors and pivots; differentiable at singular matrices."""
    return bind(determinant_p, a, factors, pivots)


def determinant_sign(a: Any, factors: Any, pivots: Any) -> Any:
    """Determinants over their size; 0 of a singular matrix."""
    return bind(determinant_sign_p, a, factors, pivots)


def log_determinant(a: Any, factors: Any) -> Any:
    """The logarithms of the sizes of determinants; -inf of a singular matrix, where the derivative is a LinAlgError."""
    return bind(log_determinant_p, a, factors)


# --------------------------------------------------------------------------------------------------------- adjugate


def adjugate(a: Any) -> Any:
    """The transposed cofactors, which are the derivative of the determinant. They are polynomials, so they exist where
    the matrix is singular. Up to 3 by 3 they are written as such; larger ones are a primitive."""
    n = shape_of(a)[-1]
    return _SMALL_ADJUGATES[n](a) if n in _SMALL_ADJUGATES else bind(adjugate_p, a)


def _matrix_of(rows: Sequence[Sequence[Any]]) -> Any:
    """Matrices of their entries."""
    def cell(x: Any) -> Any:
        return reshape(x, (*shape_of(x), 1, 1))

    rank = len(shape_of(rows[0][0]))
    return concatenate([concatenate([cell(x) for x in row], rank + 1) for row in rows], rank)


def _entries(a: Any, n: int) -> list[list[Any]]:
    rank = len(shape_of(a))
    return [[reshape(slice_along(slice_along(a, rank - 2, i, i + 1), rank - 1, j, j + 1), shape_of(a)[:-2])
             for j in range(n)] for i in range(n)]


def _adjugate_2(a: Any) -> Any:
    (p, q), (r, s) = _entries(a, 2)
    return _matrix_of([[s, neg(q)], [neg(r), p]])


def _adjugate_3(a: Any) -> Any:
    x = _entries(a, 3)

    def cofactor(i: int, j: int) -> Any:
        first, second = ((i + 1) % 3, (i + 2) % 3), ((j + 1) % 3, (j + 2) % 3)
        return sub(mul(x[first[0]][second[0]], x[first[1]][second[1]]), mul(x[first[0]][second[1]], x[first[1]][second[0]]))

    return _matrix_of([[cofactor(j, i) for j in range(3)] for i in range(3)])


_SMALL_ADJUGATES: dict[int, Callable[[Any], Any]] = {
    0: lambda a: a, 1: identity, 2: _adjugate_2, 3: _adjugate_3,
}


def _adjugate_type(a: ArrayType) -> ArrayType:
    check_matrix("adjugate", a, square=True)
    return a.strong()


def _adjugate_one(a: Any) -> tuple[Any]:
    u, s, vh = np.linalg.svd(a)
    others = np.array([np.prod(np.delete(s, i)) for i in range(len(s))], s.dtype)
    phase = np.linalg.det(u) * np.linalg.det(vh)
    return ((np.conj(vh.T) * others * phase) @ np.conj(u.T),)


def _adjugate_build(a: Any) -> Any:
    """The determinant times the inverse, where no pivot is zero; else by singular values."""
    factors, pivots, _ = lu(a)
    entries = diagonal(factors)
    regular = reduce_and(not_equal(entries, dtype_of(a).type(0)), tuple(range(len(shape_of(entries)))))

    def by_inverse(x: Any, size: Any) -> Any:
        inverted = inverse(x, checked=False)
        return mul(inverted, broadcast(size, shape_of(x), tuple(range(len(shape_of(x)) - 2))))

    def by_singular_values(x: Any, size: Any) -> Any:
        return _singular_adjugate(x)

    size = _determinant_build(a, factors, pivots)
    branches = []
    for build in (by_singular_values, by_inverse):
        builder = Builder("adjugate")
        with builder:
            program, _ = builder.finish([build(builder.add_input(type_of(a)), builder.add_input(type_of(size)))])
        branches.append(program)
    return cond(branches, convert(regular, int64), [a, size])[0]


def _singular_adjugate(a: Any) -> Any:
    """From A = U S V^H: det(U) det(V^H) V S' U^H, where each entry of S' is the product of the other singular values."""
    from gradxform.primitives.linalg_spectral import svd

    u, s, vh = svd(a)
    *stack, n = shape_of(s)
    # Products of those before and of those after: no division, for there may be a zero.
    wide = broadcast(s, (*stack, n, n), (*range(len(stack)), len(stack) + 1))
    others = reduce_prod(select(on_diagonal(shape_of(wide)), dtype_of(s).type(1), wide), (len(stack) + 1,))
    phase = mul(*[_determinant_build(x, factors, pivots) for x in (u, vh) for factors, pivots, _ in (lu(x),)])
    scaled = mul(broadcast(like(others, dtype_of(a)), (*stack, n, n), (*range(len(stack)), len(stack) + 1)),
                 broadcast(phase, (*stack, n, n), tuple(range(len(stack)))))
    v = conjugate(matrix_transpose(vh))
    return matmul(mul(v, scaled), conjugate(matrix_transpose(u)))


def _adjugate_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    """tr(A^-1 dA) adj(A) - adj(A) dA A^-1: this one does need a regular matrix, and is a LinAlgError elsewhere."""
    (a,), (t,) = primals, tangents
    if t is None:
        return None
    inverted = inverse(a)
    growth = trace_of_product(inverted, t)
    rank = len(shape_of(a))
    return sub(mul(broadcast(growth, shape_of(a), tuple(range(rank - 2))), output), matmul(matmul(output, t), inverted))


def _lu_batch(operands: Sequence[Any], batched: Sequence[bool], size: int) -> tuple[list[Any], list[bool]]:
    return lu(*operands), [True] * 3


lu_p = Primitive(
    "lu",
    type=_lu_type,
    evaluate=lambda a: evaluate_stack(_lu_one, [a], [2], _lu_type(type_of(a)), True, vectorised=False),
    jvp=_lu_jvp,
    transpose=not_linear("lu"),
    batch=_lu_batch,
    lower=_lu_lower,
    multiple=True,
)
rows_of_pivots_p = Primitive(
    "rows_of_pivots",
    type=_rows_type,
    evaluate=lambda pivots: evaluate_stack(_rows_one, [pivots], [1], [_rows_type(type_of(pivots))], True, vectorised=False)[0],
    jvp=no_tangent,
    transpose=not_linear("rows_of_pivots"),
    batch=lambda operands, batched, size: (rows_of_pivots(*operands), True),
    lower=_rows_lower,
)
solve_p = Primitive(
    "solve",
    type=_solve_type,
    evaluate=_solve_evaluate,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=_solve_batch,
    lower=_solve_lower,
)
inverse_p = Primitive(
    "inverse",
    type=_inverse_type,
    evaluate=_inverse_evaluate,
    jvp=_inverse_jvp,
    transpose=not_linear("inverse"),
    batch=stack_batch(inverse),
    lower=_inverse_lower,
)
determinant_p = Primitive(
    "determinant",
    type=_determinant_type,
    evaluate=_determinant_evaluate,
    jvp=_determinant_jvp,
    transpose=not_linear("determinant"),
    batch=stack_batch(determinant),
    lower=lambda operands, result: Expands(_determinant_build),
)
determinant_sign_p = Primitive(
    "determinant_sign",
    type=_determinant_type,
    evaluate=_sign_evaluate,
    jvp=_sign_jvp,
    transpose=not_linear("determinant_sign"),
    batch=stack_batch(determinant_sign),
    lower=lambda operands, result: Expands(_sign_build),
)
log_determinant_p = Primitive(
    "log_determinant",
    type=_log_determinant_type,
    evaluate=_log_evaluate,
    jvp=_log_determinant_jvp,
    transpose=not_linear("log_determinant"),
    batch=stack_batch(log_determinant),
    lower=lambda operands, result: Expands(_log_build),
)
adjugate_p = Primitive(
    "adjugate",
    type=_adjugate_type,
    evaluate=lambda a: evaluate_stack(_adjugate_one, [a], [2], [type_of(a)], True, vectorised=False)[0],
    jvp=_adjugate_jvp,
    transpose=not_linear("adjugate"),
    batch=stack_batch(adjugate),
    lower=lambda operands, result: Expands(_adjugate_build),
)

PRIMITIVES = (lu_p, rows_of_pivots_p, solve_p, inverse_p, determinant_p, determinant_sign_p, log_determinant_p, adjugate_p)
