"""Programs that may be run where they are not meant to run.

When lanes that have finished, or branches that are not taken, are computed along with others and thrown away, their
indices may be out of range and their loops may never end. A guarded program has one more input, the boolean ``active``.
Where it is false, indices that would be checked, or that are promised to be inside, are 0, conditions of loops are false,
numbers of iterations are 0, and matrices are the identity, which can be decomposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Builder, bind_all, dtype_of, run
from gradxform.dtypes import bool_
from gradxform.ir import ArrayType, Equation, Literal, Program, Var, programs_in
from gradxform.ir.memo import kept
from gradxform.primitives.logic import logical_and, select
from gradxform.primitives.matrices import identity

_ACTIVE = ArrayType(bool_, ())


@kept
def guard_indices(program: Program) -> Program:
    """``program`` with a last input ``active``; where that is false it neither raises nor loops."""
    builder = Builder("guard")
    with builder:
        inputs = [builder.add_input(t) for t in program.input_types]
        active = builder.add_input(_ACTIVE)
        values: dict[Var, Any] = dict(zip(program.inputs, inputs, strict=True))
        for equation in program.equations:
            builder.source = equation.source
            operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
            params = dict(equation.params)
            if _needs_guard(equation):
                operands, params = _GUARDS[equation.operation.name](operands, params, active)
            values.update(zip(equation.outputs, bind_all(equation.operation, operands, params), strict=True))
        builder.source = None
        result, captures = builder.finish([x.value if isinstance(x, Literal) else values[x] for x in program.outputs])
    assert not captures, "guarding captured an array"
    return result


def _needs_guard(equation: Equation) -> bool:
    name, params = equation.operation.name, dict(equation.params)
    if name not in _GUARDS:
        return False
    if name in ("gather", "scatter"):
        return bool(params["mode"] != "clip")
    if name in _MATRICES or name == "undefined":
        return bool(params.get("checked", True))
    return (name == "while" or params.get("length", 0) < 0
            or any(map(_needs_guard, [e for value in params.values() for p in programs_in(value) for e in p.equations])))


Guarded = tuple[list[Any], dict[str, Any]]


def _guard_gather(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    return [operands[0], *_safe(operands[1:], active)], params


def _guard_scatter(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    return [*operands[:2], *_safe(operands[2:], active)], params


def _safe(indices: Sequence[Any], active: Any) -> list[Any]:
    return [select(active, index, dtype_of(index).type(0)) for index in indices]


#: What can fail, and which of its operands decide.
_MATRICES: dict[str, tuple[int, ...]] = {
    "cholesky": (0,), "eig": (0,), "eigh": (0,), "inverse": (0,), "solve": (1,), "square_root": (0,), "svd": (0,),
    "sylvester": (0, 1), "triangular_solve": (0,),
}


def _guard_matrices(positions: tuple[int, ...]) -> Callable[[Sequence[Any], dict[str, Any], Any], Guarded]:
    def guard(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
        return [select(active, x, identity(x)) if k in positions else x for k, x in enumerate(operands)], params

    return guard


def _guard_undefined(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    return [select(active, operands[0], dtype_of(operands[0]).type(0))], params


def _guard_call(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    return [*operands, active], {**params, "program": guard_indices(params["program"])}


def _guard_cond(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    return [*operands, active], {**params, "branches": tuple([guard_indices(p) for p in params["branches"]])}


def _guard_scan(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    counts = [select(active, operands[0], np.int64(0))] if params["length"] < 0 else []
    constants = params["constants"]
    given = list(operands[len(counts):])
    body = active_at(guard_indices(params["body"]), constants)
    return [*counts, *given[:constants], active, *given[constants:]], {**params, "body": body, "constants": constants + 1}


def _guard_while(operands: Sequence[Any], params: dict[str, Any], active: Any) -> Guarded:
    first = params["condition_constants"]
    second = first + params["body_constants"]
    guarded = guard_indices(params["condition"])
    builder = Builder("guard")
    with builder:
        inputs = [builder.add_input(t) for t in guarded.input_types]
        (holds,) = run(guarded, inputs)
        condition, _ = builder.finish([logical_and(holds, inputs[-1])])
    return (
        [*operands[:first], active, *operands[first:second], active, *operands[second:]],
        {**params, "condition": active_at(condition, first), "condition_constants": first + 1,
         "body": active_at(guard_indices(params["body"]), second - first), "body_constants": second - first + 1},
    )


def active_at(program: Program, position: int) -> Program:
    """``program`` with its last input moved to ``position``."""
    *inputs, active = program.inputs
    return Program((*inputs[:position], active, *inputs[position:]), program.equations, program.outputs, program.name)


_GUARDS: dict[str, Callable[[Sequence[Any], dict[str, Any], Any], Guarded]] = {
    "gather": _guard_gather,
    "scatter": _guard_scatter,
    "call": _guard_call,
    "cond": _guard_cond,
    "scan": _guard_scan,
    "while": _guard_while,
    "undefined": _guard_undefined,
    **{name: _guard_matrices(positions) for name, positions in _MATRICES.items()},
}
