"""Solutions of equations, differentiated by what they solve and not by how they are found.

``linear_solve`` gives x with A x = b. For a change of b and of the constants on which A depends,

    A dx = db - dA x,      transposed:  A^T cb = cx

``root`` gives x with f(c, x) = 0 for constants c. There, with J the derivative of f with respect to x,

    J dx = - (df/dc) dc

(the implicit function theorem; A. Griewank and A. Walther, "Evaluating Derivatives", SIAM 2008, section 15.1). The code
that solves is never differentiated. The systems for dx are solved by equations of this kind, or by the user's own, so that
derivatives of any order follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Undefined, bind_all, run, shape_of
from gradxform.core.source import user_line
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType, Program
from gradxform.linear import add, broadcast, reduce_sum, zeros
from gradxform.primitives.arithmetic import neg
from gradxform.primitives.custom import batch_all, evaluate_program, repeat
from gradxform.primitives.logic import convert, select
from gradxform.primitives.rules import not_linear
from gradxform.transforms import jvp as jvp_program


def linear_zeros(array_type: ArrayType, like: Any) -> Any:
    """Zeros that depend on a tangent, so that they stay in the linear part of a program and can be transposed."""
    number = convert(reduce_sum(like, tuple(range(len(shape_of(like))))), array_type.dtype)
    return broadcast(select(np.True_, array_type.dtype.type(0), number), array_type.shape, ())


def _complete(values: Sequence[Any], types: Sequence[ArrayType]) -> list[Any] | None:
    """Tangents with zeros for None; None if all are."""
    like = next((x for x in values if x is not None), None)
    if like is None:
        return None
    return [linear_zeros(t.strong(), like) if x is None else x for x, t in zip(values, types, strict=True)]


def _change(program: Program, constants: Sequence[Any], tangents: Sequence[Any], x: Sequence[Any]) -> list[Any]:
    """The tangents of ``program(constants, x)`` for tangents of the constants."""
    if all(t is None for t in tangents):
        return [None] * len(program.outputs)
    pushed, depends = jvp_program(program, [*(t is not None for t in tangents), *[False] * len(x)])
    results = run(pushed, [*constants, *x, *(t for t in tangents if t is not None)])
    found = iter(results[len(program.outputs):])
    return [next(found) if flag else None for flag in depends]


# -------------------------------------------------------------------------------------------------------- linear_solve


def _without_auxiliary(program: Program, auxiliary: int) -> Program:
    if not auxiliary:
        return program
    return Program(program.inputs, program.equations, program.outputs[: len(program.outputs) - auxiliary], program.name)


def _solve_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, auxiliary: int, constants: int, matvec: Program, solve: Program,
    transposed_matvec: Program | None, transposed_solve: Program | None,
) -> tuple[list[Any], list[Any]]:
    known, count = primals[:constants], len(matvec.outputs)
    outputs = linear_solve(primals, auxiliary, constants, matvec, solve, transposed_matvec, transposed_solve)
    change = _change(matvec, known, tangents[:constants], outputs[:count])
    right: list[Any] = []
    for t, moved in zip(tangents[constants:], change, strict=True):
        minus = None if moved is None else neg(moved)
        right.append(t if minus is None else minus if t is None else add(t, minus))
    complete = _complete(right, matvec.output_types)
    if complete is None:
        return outputs, [None] * len(outputs)
    derivative = linear_solve([*known, *complete], 0, constants, matvec, _without_auxiliary(solve, auxiliary),
                              transposed_matvec, transposed_solve)
    return outputs, [*derivative, *[None] * auxiliary]


def _solve_transpose(
    cts: Sequence[Any], operands: Sequence[Any], *, auxiliary: int, constants: int, matvec: Program, solve: Program,
    transposed_matvec: Program | None, transposed_solve: Program | None,
) -> list[Any]:
    count = len(matvec.outputs)
    linear = [isinstance(x, Undefined) for x in operands]
    if any(linear[:constants]) or not all(linear[constants:]) or any(ct is not None for ct in cts[count:]):
        raise NotDifferentiableError(
            f"custom_linear_solve is linear in its right-hand side as a whole, and in nothing else{user_line()}")
    if transposed_solve is None or transposed_matvec is None:
        raise NotDifferentiableError(
            "reverse mode through custom_linear_solve solves a system with the transposed matrix: pass transpose_solve="
            f"(a function as solve is), or symmetric=True if the matrix is symmetric{user_line()}")
    types = [t.strong() for t in matvec.output_types]
    right = [zeros(t) if ct is None else ct for ct, t in zip(cts[:count], types, strict=True)]
    found = linear_solve([*operands[:constants], *right], 0, constants, transposed_matvec, transposed_solve, matvec,
                         _without_auxiliary(solve, auxiliary))
    return [*[None] * constants, *found]


def _solve_batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, auxiliary: int, constants: int, matvec: Program,
    solve: Program, transposed_matvec: Program | None, transposed_solve: Program | None,
) -> tuple[list[Any], list[bool]]:
    count = len(matvec.outputs)
    right = [x if flag else repeat(x, size) for x, flag in zip(operands[constants:], batched[constants:], strict=True)]
    lanes = [*batched[:constants], *[True] * count]

    def over(program: Program) -> Program:
        return batch_all(program, lanes, size, len(program.outputs))[0]

    outputs = linear_solve(
        [*operands[:constants], *right], auxiliary, constants, over(matvec), over(solve),
        None if transposed_matvec is None else over(transposed_matvec),
        None if transposed_solve is None else over(transposed_solve))
    return outputs, [True] * len(outputs)


def linear_solve(
    operands: Sequence[Any], auxiliary: int, constants: int, matvec: Program, solve: Program,
    transposed_matvec: Program | None, transposed_solve: Program | None,
) -> list[Any]:
    """x with matvec(constants, x) = b for operands (constants, b).

    Every program takes the ``constants`` first. ``solve`` gives x and ``auxiliary`` further results.
    """
    return bind_all(linear_solve_p, operands, {
        "auxiliary": auxiliary, "constants": constants, "matvec": matvec, "solve": solve,
        "transposed_matvec": transposed_matvec, "transposed_solve": transposed_solve})


def _inlined(*args: Any, **params: Any) -> Any:
    raise AssertionError("solvers are inlined before lowering")


linear_solve_p = Primitive(
    "linear_solve",
    type=lambda *operands, solve, **params: solve.output_types,
    evaluate=lambda *operands, solve, **params: evaluate_program(solve, operands),
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=_solve_batch,
    lower=_inlined,
    multiple=True,
)

# ---------------------------------------------------------------------------------------------------------------- root


def _root_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, constants: int, residual: Program, solve: Program,
    tangent_solve: Program,
) -> tuple[list[Any], list[Any]]:
    known, count = primals[:constants], len(residual.outputs)
    outputs = root(primals, constants, residual, solve, tangent_solve)
    x = outputs[:count]
    change = _change(residual, known, tangents[:constants], x)
    right = _complete([None if t is None else neg(t) for t in change], residual.output_types)
    if right is None:
        return outputs, [None] * len(outputs)
    return outputs, [*run(tangent_solve, [*known, *x, *right]), *[None] * (len(outputs) - count)]


def _root_batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, constants: int, residual: Program, solve: Program,
    tangent_solve: Program,
) -> tuple[list[Any], list[bool]]:
    count = len(residual.outputs)
    guess = [x if flag else repeat(x, size) for x, flag in zip(operands[constants:], batched[constants:], strict=True)]

    def over(program: Program, values: int) -> Program:
        return batch_all(program, [*batched[:constants], *[True] * values], size, len(program.outputs))[0]

    outputs = root([*operands[:constants], *guess], constants, over(residual, count), over(solve, count),
                   over(tangent_solve, 2 * count))
    return outputs, [True] * len(outputs)


def root(
    operands: Sequence[Any], constants: int, residual: Program, solve: Program, tangent_solve: Program
) -> list[Any]:
    """x with residual(constants, x) = 0 for operands (constants, guess), and further results of ``solve``.

    ``solve`` takes the operands; ``tangent_solve`` takes constants, x and y, and gives t with J t = y.
    """
    return bind_all(root_p, operands, {
        "constants": constants, "residual": residual, "solve": solve, "tangent_solve": tangent_solve})


root_p = Primitive(
    "root",
    type=lambda *operands, solve, **params: solve.output_types,
    evaluate=lambda *operands, solve, **params: evaluate_program(solve, operands),
    jvp=_root_jvp,
    transpose=not_linear("root"),
    batch=_root_batch,
    lower=_inlined,
    multiple=True,
)

PRIMITIVES = (linear_solve_p, root_p)
