"""Small programs as infix expressions, ``2.0 * x``, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradxform.ir.printer import literal_text, param_text, variable_name
from gradxform.ir.program import Atom, Equation, Literal, Program, Var

_BINARY = {"add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2), "pow": ("**", 4)}


def infix(program: Program, names: Sequence[str] | None = None) -> str:
    """The outputs of ``program`` as nested infix expressions; several outputs are written as a tuple.

    ``names`` names the inputs (default: a, b, ...). Subexpressions used twice are written twice, so this is meant
    for small programs; ``str(program)`` is the text for large ones.
    """
    given = list(names) if names is not None else []
    text: dict[Var, tuple[str, int]] = {}
    for index, var in enumerate(program.inputs):
        text[var] = (given[index] if index < len(given) else variable_name(index), 9)

    def atom_text(atom: Atom, level: int) -> str:
        if isinstance(atom, Literal):
            value = literal_text(atom).split(":")[0]
            return f"({value})" if value.startswith("-") and level else value
        body, precedence = text[atom]
        return f"({body})" if precedence < level else body

    for equation in program.equations:
        text_of = _equation(equation, atom_text)
        for index, var in enumerate(equation.outputs):
            body, precedence = text_of
            text[var] = (body if len(equation.outputs) == 1 else f"{body}[{index}]", precedence)
    results = [atom_text(atom, 0) for atom in program.outputs]
    return results[0] if len(results) == 1 else f"({', '.join(results)})"


def _equation(equation: Equation, atom_text: Callable[[Atom, int], str]) -> tuple[str, int]:
    name = equation.operation.name
    if name in _BINARY:
        symbol, level = _BINARY[name]
        left, right = equation.inputs
        return f"{atom_text(left, level)} {symbol} {atom_text(right, level + 1)}", level
    if name == "neg":
        return f"-{atom_text(equation.inputs[0], 3)}", 3
    if name == "integer_pow":
        return f"{atom_text(equation.inputs[0], 5)} ** {dict(equation.params)['exponent']}", 4
    arguments = [atom_text(atom, 0) for atom in equation.inputs]
    arguments += [f"{key}={param_text(value)}" for key, value in equation.params]
    return f"{name}({', '.join(arguments)})", 9
