"""Eigenvalues and singular values: eigh, eig, svd.

Derivatives: M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation" (2008);
M. Seeger et al., "Auto-differentiating linear algebra", arXiv:1710.08717 (2017); Z.-Q. Wan and S.-X. Zhang, "Automatic
differentiation for complex valued SVD", arXiv:1909.02659 (2019).

Vectors turn into each other at the rate 1 / (w_j - w_i). Where two values are equal, but for rounding, vectors are not
functions of the matrix, and yet functions of values and vectors may be smooth: any trace of f(A), V f(w) V^H, U V^H. Their
derivatives are limits of quotients of differences, (f(w_j) - f(w_i)) / (w_j - w_i), of which a rule sees one factor at a time.
So a program with such rates in it does not take equal values as they are: `set_apart` moves them by parts of
eps^(1 / (1 + k)), where k is the number of rates that are multiplied. Then all of the program is that of a matrix beside the
given one, where everything is smooth, and right to as many digits as the quotients keep. The first derivatives of values
need no rates: there nothing is moved.

Values that vanish beside the largest are not moved, for whether they are small is what programs ask. Among these the rate is
zero as long as first derivatives are asked for: exact for what is cut off there, and for projectors on the whole space. In
derivatives of derivatives it is `undefined`, which is an error, not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, bind_all, dtype_of, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import complex_dtype, is_complex, part_dtype
from gradxform.errors import LinAlgError, NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import add, broadcast, linear_jvp, reduce_sum, select
from gradxform.loopir.lowering import Expands, Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.arithmetic import abs as absolute
from gradxform.primitives.arithmetic import div, maximum, mul, neg, reciprocal, sign, sub
from gradxform.primitives.complex import complex as complex_number
from gradxform.primitives.complex import imag, real
from gradxform.primitives.failing import fail_when_p
from gradxform.primitives.indexing import gather
from gradxform.primitives.linalg import failures, hermitian
from gradxform.primitives.linalg_solve import solve
from gradxform.primitives.logic import convert, equal, greater, logical_not
from gradxform.primitives.matrices import (
    adjoint,
    as_columns,
    as_rows,
    check_matrix,
    conjugate,
    diagonal,
    evaluate_stack,
    in_lanes,
    like,
    matmul,
    matrix_transpose,
    on_diagonal,
    real_part,
)
from gradxform.primitives.reductions import argmax, reduce_max, reduce_or
from gradxform.primitives.rules import not_linear
from gradxform.primitives.shape import iota, reshape

NOT_CONVERGED = "Eigenvalues did not converge"
SVD_NOT_CONVERGED = "SVD did not converge"
NOT_FINITE = "Array must not contain infs or NaNs"
NOT_KNOWN = ("The second derivative at several eigenvalues or singular values that vanish is not determined by the first ones: "
             "take the eigenvalues of A + c I less c, for singular values those of A^H A + c I, or use expm, sqrtm or pinv")
#: From this extent on LAPACK may use several threads.
THREADED = 33
#: Values count as equal if they differ by no more than so many times the rounding unit, the extent and the largest value.
EQUAL = 4


def safe_rates(x: Any, y: Any) -> Any:
    """1 / (y_j - x_i) in place (i, j), zero where that is no more than rounding: on the diagonal, and for equal values."""
    n, dtype = shape_of(x)[-1], dtype_of(x)
    rows, columns = as_columns(x, n), as_rows(y, n)
    gaps = sub(columns, rows)
    *stack, _ = shape_of(x)
    largest = reduce_max(absolute(x), (len(stack),)) if n else absolute(reshape(x, (*stack, 0)))
    unit = part_dtype(dtype).type(EQUAL * max(n, 1) * np.finfo(part_dtype(dtype)).eps)
    shape = shape_of(gaps)
    bound = broadcast(mul(largest, unit), shape, tuple(range(len(stack)))) if n else absolute(gaps)
    apart = greater(absolute(gaps), bound)
    one = dtype.type(1)
    return select(apart, reciprocal(select(apart, gaps, one)), dtype.type(0))


def _turned(rates: Any, x: Any, strict: bool, checked: bool, diagonals: bool = False) -> Any:
    """What turns vectors into each other: ``x`` at the given rates; where they are missing, nothing, or what is not known.

    Rates on diagonals are not missing, unless ``diagonals``.
    """
    found = mul(like(rates, dtype_of(x)), x)
    if not strict:
        return found
    missing = equal(rates, dtype_of(rates).type(0))
    if not diagonals:
        missing = select(on_diagonal(shape_of(rates)), np.False_, missing)
    # Masked before and after: transposed, the operand is the result.
    return select(missing, undefined(select(missing, x, dtype_of(x).type(0)), checked), found)


# ------------------------------------------------------------------------------------------------------ equal values


def _limits(part: Any, differences: int) -> tuple[float, float]:
    """How far equal values are set apart, and how close they are for it, as parts of their size.

    A step h loses h to the function that is moved and eps / h^k to the quotients: they are balanced. For a single quotient
    what is close ends before it would be in the way of eigenvectors of values that are apart in earnest.
    """
    unit = float(np.finfo(part).eps)
    step = unit ** (1 / (1 + differences))
    return step, unit ** (2 / 3) if differences == 1 else step / 4


def set_apart(x: Any, differences: int, singular: bool = False) -> Any:
    """``x`` with values (along the last axis) that are equal but for rounding moved apart, around their mean.

    ``differences``: how many quotients of differences are multiplied, at least 1. Values of a size that such a step does not
    lift above the rounding of the largest stay; those of the matrix zero are moved as if they were of size 1. ``singular``:
    they are in decreasing order and stay positive. The derivative is that of a translation.
    """
    return bind(set_apart_p, x, differences=differences, singular=singular)


def _set_apart_build(x: Any, differences: int, singular: bool) -> Any:
    *stack, n = shape_of(x)
    if not n:
        return x
    part = part_dtype(dtype_of(x))
    step, near = map(part.type, _limits(part, differences))
    size, rank = absolute(x), len(stack)
    largest = broadcast(reduce_max(size, (rank,)), shape_of(x), tuple(range(rank)))
    vanishes = equal(largest, part.type(0))
    size = select(vanishes, part.type(1), size)
    noise = mul(largest, part.type(EQUAL * n * np.finfo(part).eps))
    gaps = absolute(sub(as_columns(x, n), as_rows(x, n)))
    bound = maximum(mul(maximum(as_columns(size, n), as_rows(size, n)), near), as_columns(noise, n))
    rows, columns = (iota(shape_of(gaps), part, rank + k) for k in (0, 1))
    side = sign(sub(columns, rows) if singular else sub(rows, columns))
    ahead = reduce_sum(select(greater(gaps, bound), part.type(0), side), (rank + 1,))
    if singular:
        ahead = select(vanishes, add(ahead, broadcast(part.type(n + 1), shape_of(x), ())), ahead)
    reach = mul(size, step)
    moved = mul(mul(reach, ahead), part.type(0.5))
    return add(x, like(select(greater(noise, reach), part.type(0), moved), dtype_of(x)))


def _set_apart_evaluate(x: Any, *, differences: int, singular: bool) -> Any:
    part = part_dtype(x.dtype)
    step, near = _limits(part, differences)
    n, found = x.shape[-1], np.array(x)
    for place in np.ndindex(x.shape[:-1]) if n else ():
        values = x[place]
        largest = np.abs(values).max()
        size = np.abs(values) if largest != 0 else np.ones(n, part)
        noise = part.type(EQUAL * n * np.finfo(part).eps) * largest
        for i in range(n):
            close = ~(np.abs(values - values[i]) > np.maximum(np.maximum(size[i], size) * part.type(near), noise))
            before, after = np.count_nonzero(close[:i]), np.count_nonzero(close[i + 1:])
            ahead = (after - before + (n + 1 if largest == 0 else 0)) if singular else before - after
            reach = size[i] * part.type(step)
            if not noise > reach:
                found[(*place, i)] += reach * part.type(ahead) * part.type(0.5)
    return found


set_apart_p = Primitive(
    "set_apart",
    type=lambda x, *, differences, singular: x.strong(),
    evaluate=_set_apart_evaluate,
    jvp=lambda primals, tangents, output, *, differences, singular: tangents[0],
    transpose=not_linear("set_apart"),
    batch=lambda operands, batched, size, *, differences, singular: (set_apart(operands[0], differences, singular), True),
    lower=lambda operands, result, *, differences, singular: Expands(lambda x: _set_apart_build(x, differences, singular)),
)


# -------------------------------------------------------------------------------------------------- what is not known


def undefined(t: Any, checked: bool) -> Any:
    """The derivative along ``t`` is not known; along nothing it is zero. Counts as linear.

    Where ``t`` is not zero it is a LinAlgError if ``checked``, else NaN.
    """
    return bind(undefined_p, t, checked=checked)


def _undefined_build(t: Any, checked: bool) -> Any:
    dtype = dtype_of(t)
    nothing = equal(t, dtype.type(0))
    if checked:
        bind_all(fail_when_p, [reduce_or(logical_not(nothing), tuple(range(len(shape_of(t)))))], {"message": NOT_KNOWN})
    return select(nothing, dtype.type(0), broadcast(dtype.type(np.nan), shape_of(t), ()))


def _undefined_evaluate(t: Any, *, checked: bool) -> Any:
    if checked and np.any(t != 0):
        raise LinAlgError(NOT_KNOWN)
    return np.where(t == 0, t.dtype.type(0), t.dtype.type(np.nan))


undefined_p = Primitive(
    "undefined",
    type=lambda t, *, checked: t.strong(),
    evaluate=_undefined_evaluate,
    jvp=linear_jvp(undefined),
    transpose=lambda ct, operands, *, checked: (undefined(ct, checked),),
    batch=lambda operands, batched, size, *, checked: (undefined(operands[0], checked), True),
    lower=lambda operands, result, *, checked: Expands(lambda t: _undefined_build(t, checked)),
)


# ------------------------------------------------------------------------------------------------------------- eigh


def _eigh_types(a: ArrayType, vectors: bool) -> tuple[ArrayType, ...]:
    values = ArrayType(part_dtype(a.dtype), a.shape[:-1])
    return (values, a.strong()) if vectors else (values,)


def _eigh_type(a: ArrayType, *, upper: bool, vectors: bool, **further: Any) -> tuple[ArrayType, ...]:
    check_matrix("eigh", a, square=True)
    return _eigh_types(a, vectors)


def _eigh_reference(upper: bool, vectors: bool) -> Callable[[Any], tuple[Any, ...]]:
    triangle: Any = "U" if upper else "L"
    if vectors:
        return lambda a: tuple(np.linalg.eigh(a, triangle))
    return lambda a: (np.linalg.eigvalsh(a, triangle),)


def _eigh_evaluate(a: Any, *, upper: bool, vectors: bool, checked: bool, **further: Any) -> tuple[Any, ...]:
    return evaluate_stack(_eigh_reference(upper, vectors), [a], [2], _eigh_types(type_of(a), vectors), checked)


def _eigh_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, upper: bool, vectors: bool, checked: bool, strict: bool,
    differences: int,
) -> tuple[Sequence[Any], Sequence[Any]]:
    """With M = V^H dA V: dw = diag(M), dV = V (F * M)."""
    (a,), (t,) = primals, tangents
    differences += vectors
    w, v = eigh(a, upper, True, checked, strict, differences)
    # Differentiated once more, vectors of vanishing values do not tell what is asked for, and shall not be taken for constant.
    _, basis = eigh(a, upper, True, checked, True, differences)
    moved = matmul(matmul(adjoint(basis), hermitian(adjoint(t) if upper else t)), basis)
    w_t = real_part(diagonal(moved))
    if not vectors:
        return (w,), (w_t,)
    w = set_apart(w, differences)
    return (w, v), (w_t, matmul(basis, _turned(safe_rates(w, w), moved, strict, checked)))


def _eigh_lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, upper: bool, vectors: bool, checked: bool,
                **further: Any) -> Native:
    from gradxform.backend.spectral_text import eigh_workspace

    a = operands[0].type
    n, name = a.shape[-1], a.dtype.name
    routine = Routine("lapack.eigh", (name, n, int(upper), int(vectors)), _eigh_reference(upper, vectors),
                      failures(checked, NOT_CONVERGED), workspace=eigh_workspace(name, n, int(vectors)),
                      work=1000.0 + 100 * n * n + n ** 3 / 2, threads=n >= THREADED)
    return Native(routine, a.shape[:-2])


def eigh(a: Any, upper: bool = False, vectors: bool = True, checked: bool = True, strict: bool = False,
         differences: int = 0) -> list[Any]:
    """The eigenvalues, in increasing order, and the eigenvectors, as columns, of Hermitian matrices.

    One triangle is read. Where the iteration does not converge it is a LinAlgError if ``checked``, else the results are NaN.
    ``strict``: the derivative of vectors of vanishing values is `undefined`. ``differences``: how many rates are multiplied.
    """
    return bind_all(eigh_p, [a], {"upper": upper, "vectors": vectors, "checked": checked, "strict": strict,
                                  "differences": differences})


# -------------------------------------------------------------------------------------------------------------- svd


def _svd_types(a: ArrayType, vectors: bool, full: bool) -> tuple[ArrayType, ...]:
    *stack, m, n = a.shape
    k = min(m, n)
    values = ArrayType(part_dtype(a.dtype), (*stack, k))
    if not vectors:
        return (values,)
    left, right = (m, n) if full else (k, k)
    return ArrayType(a.dtype, (*stack, m, left)), values, ArrayType(a.dtype, (*stack, right, n))


def _svd_type(a: ArrayType, *, vectors: bool, full: bool, **further: Any) -> tuple[ArrayType, ...]:
    check_matrix("svd", a)
    return _svd_types(a, vectors, full)


def _svd_reference(vectors: bool, full: bool) -> Callable[[Any], tuple[Any, ...]]:
    if vectors:
        return lambda a: tuple(np.linalg.svd(a, full_matrices=full))
    return lambda a: (np.linalg.svd(a, compute_uv=False),)


def _svd_evaluate(a: Any, *, vectors: bool, full: bool, checked: bool, **further: Any) -> tuple[Any, ...]:
    return evaluate_stack(_svd_reference(vectors, full), [a], [2], _svd_types(type_of(a), vectors, full), checked)


def _svd_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, vectors: bool, full: bool, checked: bool, strict: bool,
    differences: int,
) -> tuple[Sequence[Any], Sequence[Any]]:
    """With P = U^H dA V, G = 1 / (s_j - s_i) and H = 1 / (s_j + s_i): what turns U is half of G (P + P^H) + H (P - P^H),
    what turns V is half of G (P + P^H) - H (P - P^H). Vectors of U and V leave the spaces of the others by dA V / s and
    dA^H U / s. Of complex matrices also the phases of U turn, by the imaginary part of P over s."""
    (a,), (t,) = primals, tangents
    *_, m, n = shape_of(a)
    differences += vectors
    if vectors and full and m != n:
        raise NotDifferentiableError(
            f"svd: full_matrices=True of an array of shape {shape_of(a)} has no derivative, for the further vectors are not "
            f"determined by it: use full_matrices=False{user_line()}")
    left, s, right = svd(a, True, False, checked, strict, differences)
    u, _, vh = svd(a, True, False, checked, True, differences)
    moved = matmul(matmul(adjoint(u), t), adjoint(vh))
    s_t = real_part(diagonal(moved))
    if not vectors:
        return (s,), (s_t,)
    s = set_apart(s, differences, True)
    dtype, part = dtype_of(a), dtype_of(s)
    half = part.type(0.5)
    apart, sums = safe_rates(s, s), safe_rates(neg(s), s)
    even = mul(_turned(apart, add(moved, adjoint(moved)), strict, checked), like(half, dtype))
    difference = sub(moved, adjoint(moved))
    # The diagonal of what is antisymmetric is imaginary: it is a phase, and all of it is taken by U.
    off = select(on_diagonal(shape_of(sums)), part.type(0), sums)
    odd = mul(_turned(off, difference, strict, checked), like(half, dtype))
    left_turn, right_turn = add(even, odd), sub(even, odd)
    inverted = _inverse_values(s)
    if is_complex(dtype):
        turn = _turned(inverted, imag(diagonal(moved)), strict, checked, diagonals=True)
        k = shape_of(s)[-1]
        phases = complex_number(part.type(0), as_columns(turn, k))
        left_turn = select(on_diagonal(shape_of(sums)), phases, left_turn)
    u_t, v_t = matmul(u, left_turn), matmul(adjoint(vh), right_turn)
    if m > n:
        u_t = add(u_t, _outside(u, matmul(t, adjoint(vh)), inverted, strict, checked))
    if n > m:
        v_t = add(v_t, _outside(adjoint(vh), matmul(adjoint(t), u), inverted, strict, checked))
    return (left, s, right), (u_t, s_t, adjoint(v_t))


def _inverse_values(s: Any) -> Any:
    """1 / s, and zero for what is no more than rounding."""
    *stack, k = shape_of(s)
    dtype = dtype_of(s)
    if not k:
        return s
    unit = dtype.type(EQUAL * k * np.finfo(dtype).eps)
    bound = broadcast(mul(reduce_max(s, (len(stack),)), unit), shape_of(s), tuple(range(len(stack))))
    regular = greater(s, bound)
    return select(regular, reciprocal(select(regular, s, dtype.type(1))), dtype.type(0))


def _outside(basis: Any, x: Any, inverted: Any, strict: bool, checked: bool) -> Any:
    """(1 - B B^H) X / s."""
    scaled = _turned(as_rows(inverted, shape_of(x)[-2]), x, strict, checked, diagonals=True)
    return sub(scaled, matmul(basis, matmul(adjoint(basis), scaled)))


def _svd_lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, vectors: bool, full: bool, checked: bool,
               **further: Any) -> Native:
    from gradxform.backend.spectral_text import svd_workspace

    *stack, m, n = operands[0].type.shape
    name = operands[0].type.dtype.name
    letter = ("A" if full else "S") if vectors else "N"
    routine = Routine("lapack.svd", (name, m, n, letter), _svd_reference(vectors, full), failures(checked, SVD_NOT_CONVERGED),
                      workspace=svd_workspace(name, m, n, letter), work=2000.0 + 50 * m * n + m * n * min(m, n),
                      threads=max(m, n) >= THREADED)
    return Native(routine, tuple(stack))


def svd(a: Any, vectors: bool = True, full: bool = False, checked: bool = True, strict: bool = False,
        differences: int = 0) -> list[Any]:
    """U, s and V^H with A = U s V^H, values in decreasing order; s alone unless ``vectors``.

    ``full``: U and V are square. Where the iteration does not converge it is a LinAlgError if ``checked``, else NaN.
    ``strict`` and ``differences`` are as in `eigh`.
    """
    return bind_all(svd_p, [a], {"vectors": vectors, "full": full, "checked": checked, "strict": strict,
                                 "differences": differences})


# -------------------------------------------------------------------------------------------------------------- eig


def _eig_types(a: ArrayType, vectors: bool) -> tuple[ArrayType, ...]:
    dtype = complex_dtype(a.dtype)
    values = ArrayType(dtype, a.shape[:-1])
    return (values, ArrayType(dtype, a.shape)) if vectors else (values,)


def _eig_type(a: ArrayType, *, vectors: bool, **further: Any) -> tuple[ArrayType, ...]:
    check_matrix("eig", a, square=True)
    return _eig_types(a, vectors)


def _eig_reference(vectors: bool) -> Callable[[Any], tuple[Any, ...]]:
    if vectors:
        return lambda a: tuple(np.linalg.eig(a))
    return lambda a: (np.linalg.eigvals(a),)


def _eig_evaluate(a: Any, *, vectors: bool, checked: bool, **further: Any) -> tuple[Any, ...]:
    return evaluate_stack(_eig_reference(vectors), [a], [2], _eig_types(type_of(a), vectors), checked)


def _eig_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, vectors: bool, checked: bool, strict: bool,
    differences: int,
) -> tuple[Sequence[Any], Sequence[Any]]:
    """With M = V^-1 dA V: dw = diag(M), dV = V (F * M), less what would change the length of a vector or the phase of its
    largest component, which is real in LAPACK's normalisation."""
    (a,), (t,) = primals, tangents
    differences += vectors
    w, found = eig(a, True, checked, strict, differences)
    _, v = eig(a, True, checked, True, differences)
    dtype = dtype_of(w)
    tangent = t if is_complex(dtype_of(t)) else convert(t, dtype)
    moved = solve(v, matmul(tangent, v), checked)
    w_t = diagonal(moved)
    if not vectors:
        return (w,), (w_t,)
    w = set_apart(w, differences)
    n = shape_of(w)[-1]
    rank = len(shape_of(v))
    turned = matmul(v, _turned(safe_rates(w, w), moved, strict, checked))
    growth = real(_column_sums(mul(conjugate(v), turned)))
    size = add(mul(real(v), real(v)), mul(imag(v), imag(v)))
    largest = reshape(argmax(size, rank - 2), (*shape_of(w)[:-1], 1, n))
    component, component_t = (
        reshape(_rows_at(x, largest), shape_of(w)) for x in (v, turned))
    phase = div(imag(component_t), real(component))
    shift = complex_number(growth, phase) if n else w
    return (w, found), (w_t, sub(turned, mul(v, as_rows(shift, n))))


def _rows_at(x: Any, rows: Any) -> Any:
    """In each column of matrices the element at a row of its own."""
    rank = len(shape_of(x))
    turned = matrix_transpose(x)
    return gather(turned, matrix_transpose(rows), axes=(rank - 1,), batch_rank=rank - 1, mode="inside")


def _column_sums(x: Any) -> Any:
    return reduce_sum(x, (len(shape_of(x)) - 2,))


def _eig_lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, vectors: bool, checked: bool,
               **further: Any) -> Native:
    from gradxform.backend.spectral_text import eig_workspace

    a = operands[0].type
    n, name = a.shape[-1], a.dtype.name
    routine = Routine("lapack.eig", (name, n, int(vectors)), _eig_reference(vectors),
                      failures(checked, NOT_CONVERGED, NOT_FINITE), workspace=eig_workspace(name, n, int(vectors)),
                      work=2000.0 + 200 * n * n + 2 * n ** 3, threads=n >= THREADED)
    return Native(routine, a.shape[:-2])


def eig(a: Any, vectors: bool = True, checked: bool = True, strict: bool = False, differences: int = 0) -> list[Any]:
    """The eigenvalues and right eigenvectors, of length 1, of square matrices; they are complex also of real matrices.

    An infinity or NaN in a matrix, or an iteration that does not converge, is a LinAlgError if ``checked``, else it gives NaN.
    """
    return bind_all(eig_p, [a], {"vectors": vectors, "checked": checked, "strict": strict, "differences": differences})


def _stack_batch(apply: Callable[..., list[Any]]) -> Callable[..., Any]:
    """The batching rule of what takes one stack of matrices and gives several results."""
    def rule(operands: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> tuple[list[Any], list[bool]]:
        found = apply(*in_lanes(operands, batched, size), **params)
        return found, [True] * len(found)

    return rule


eigh_p = Primitive(
    "eigh",
    type=_eigh_type,
    evaluate=_eigh_evaluate,
    jvp=_eigh_jvp,
    transpose=not_linear("eigh"),
    batch=_stack_batch(eigh),
    lower=_eigh_lower,
    multiple=True,
)
svd_p = Primitive(
    "svd",
    type=_svd_type,
    evaluate=_svd_evaluate,
    jvp=_svd_jvp,
    transpose=not_linear("svd"),
    batch=_stack_batch(svd),
    lower=_svd_lower,
    multiple=True,
)
eig_p = Primitive(
    "eig",
    type=_eig_type,
    evaluate=_eig_evaluate,
    jvp=_eig_jvp,
    transpose=not_linear("eig"),
    batch=_stack_batch(eig),
    lower=_eig_lower,
    multiple=True,
)

PRIMITIVES = (eigh_p, svd_p, eig_p, set_apart_p, undefined_p)
