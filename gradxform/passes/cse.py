"""Common subexpressions.

    { b = sin a ; c = sin a ; d = mul b c in (d) }  ->  { b = sin a ; d = mul b b in (d) }
"""

from __future__ import annotations

from typing import Any

from gradxform.ir import Atom, Equation, Literal, Program, callbacks
from gradxform.passes.loop_forms import has_effect, programs_in
from gradxform.passes.rewriting import Vocabulary

#: Operations whose two operands may be exchanged, bit for bit.
COMMUTATIVE = frozenset(("add", "mul", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
                         "bitwise_and", "bitwise_or", "bitwise_xor"))

#: A parameter that matters to derivatives alone, which have been taken before passes run.
STRICT = "strict"


def share(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with each value computed once; the same object if nothing is computed twice."""
    environment: dict[Atom, Atom] = {}
    seen: dict[Any, Equation] = {}
    order: dict[Any, int] = {}
    equations: list[Equation] = []
    for equation in program.equations:
        inputs = equation.inputs
        if environment:
            renamed = tuple([environment.get(x, x) for x in inputs])
            if renamed != inputs:
                inputs = renamed
                equation = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        operation = equation.operation
        if operation.multiple and has_effect(equation):
            equations.append(equation)
            continue
        operands = [_literal_key(x) if isinstance(x, Literal) else x for x in inputs]
        if operation.name in COMMUTATIVE:
            operands.sort(key=lambda x: order.setdefault(x, len(order)))
        key = (operation, tuple(operands), _params_key(equation.params, operation.multiple))
        earlier = seen.setdefault(key, equation)
        if earlier is equation or (operation.multiple and not _same_programs(earlier.params, equation.params)):
            equations.append(equation)
        else:
            environment.update(zip(equation.outputs, earlier.outputs, strict=True))
    if not environment:
        return program
    outputs = tuple([environment.get(x, x) for x in program.outputs])
    return Program(program.inputs, tuple(equations), outputs, program.name)


def _literal_key(atom: Literal) -> Any:
    return atom.type.dtype.str, atom.value.tobytes()


def _params_key(params: tuple[tuple[str, Any], ...], holds_programs: bool) -> Any:
    """``params`` such that only equal bits are equal: 0.0 and -0.0 differ, NaN is itself, 1 is not True.

    Programs stand for themselves by their size; see `_same_programs`.
    """
    if holds_programs and any(name == STRICT for name, _ in params):
        params = tuple([pair for pair in params if pair[0] != STRICT])
    for _, value in params:
        if type(value) in (float, bool) or (holds_programs and programs_in(value)):
            return tuple([(name, type(x), _value_key(x)) for name, x in params])
    return params


def _value_key(value: Any) -> Any:
    if type(value) is float:
        return value.hex()
    inner = programs_in(value)
    return tuple([len(program.equations) for program in inner]) if inner else value


def _same_programs(left: tuple[tuple[str, Any], ...], right: tuple[tuple[str, Any], ...]) -> bool:
    """Whether the programs in parameters that are alike otherwise do the same."""
    for (_, a), (_, b) in zip(left, right, strict=True):
        for one, other in zip(programs_in(a), programs_in(b), strict=True):
            if one is not other and (str(one) != str(other) or callbacks(one) != callbacks(other)):
                return False
    return True
