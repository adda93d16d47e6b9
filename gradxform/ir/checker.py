"""Does a program keep to its grammar? Run after every transform and pass in the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.errors import CheckError
from gradxform.ir.callback import Callback
from gradxform.ir.printer import Names, equation_text
from gradxform.ir.program import Atom, Equation, Literal, Opaque, Program, Var


def check(program: Program, where: str = "program") -> Program:
    """Return ``program`` if each variable is defined once and before use and every type is what its rule says.

    Raises CheckError quoting the equation and the user's line.
    """
    defined: dict[Var, None] = {}
    for var in program.inputs:
        if var in defined:
            raise CheckError(f"{where}: an input variable appears twice")
        defined[var] = None
    for equation in program.equations:
        _check_equation(equation, defined, where)
        for var in equation.outputs:
            if var in defined:
                raise _error(equation, where, "defines a variable twice")
            defined[var] = None
    for atom in program.outputs:
        _check_atom(atom, defined, where)
    return program


def _check_equation(equation: Equation, defined: dict[Var, None], where: str) -> None:
    for atom in equation.inputs:
        try:
            _check_atom(atom, defined, where)
        except CheckError as error:
            raise _error(equation, where, str(error)) from None
    names = [name for name, _ in equation.params]
    if names != sorted(names):
        raise _error(equation, where, "parameters are not sorted by name")
    for _, value in equation.params:
        if not _is_param(value):
            raise _error(equation, where, f"parameter {value!r} is of a type that programs do not hold")
        if isinstance(value, Program):
            check(value, f"{where}.{equation.operation.name}")
    expected = equation.operation.result_types(tuple(atom.type for atom in equation.inputs), dict(equation.params))
    found = tuple(var.type for var in equation.outputs)
    if [(t.dtype, t.shape) for t in expected] != [(t.dtype, t.shape) for t in found]:
        raise _error(equation, where, f"has results of type {found}, its rule says {expected}")


def _check_atom(atom: Atom, defined: dict[Var, None], where: str) -> None:
    if isinstance(atom, Literal):
        if atom.type.shape != () or not isinstance(atom.value, np.generic) or atom.value.dtype != atom.type.dtype:
            raise CheckError(f"{where}: literal {atom.value!r} does not fit its type {atom.type}")
    elif atom not in defined:
        raise CheckError(f"{where}: a variable of type {atom.type} is used before it is defined")


def _is_param(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_param, value))
    return value is None or isinstance(value, (bool, int, float, complex, str, np.dtype, Program, Callback, Opaque))


def _error(equation: Equation, where: str, message: str) -> CheckError:
    return CheckError(f"{where}: `{equation_text(equation, Names())}` {message} (from {equation.source})")
