"""Programs as text. The text is canonical: equal programs print equally in every process, and caches hash it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count, product
from string import ascii_lowercase
from typing import Any

import numpy as np

from gradxform.dtypes import SHORT_NAMES
from gradxform.ir.program import Atom, Equation, Literal, Program, Var
from gradxform.ir.types import ArrayType


def variable_name(index: int) -> str:
    """a, b, ..., z, aa, ab, ... in order of definition."""
    letters = ""
    index += 1
    while index:
        index, remainder = divmod(index - 1, 26)
        letters = chr(ord("a") + remainder) + letters
    return letters


def _all_names() -> Iterator[str]:
    """What `variable_name` gives for 0, 1, ..."""
    for length in count(1):
        for letters in product(ascii_lowercase, repeat=length):
            yield "".join(letters)


class Names:
    """Gives variables their names, in the order in which they are first asked for.

    A ``shared`` one also names the variables of the programs within a program, which have names of their own otherwise,
    so that each name in several texts means one variable.
    """

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared
        self._names: dict[Var, str] = {}
        self._fresh = _all_names()

    def __call__(self, atom: Atom) -> str:
        if isinstance(atom, Literal):
            return literal_text(atom)
        name = self._names.get(atom)
        if name is None:
            name = self._names[atom] = next(self._fresh)
        return name


@lru_cache(1024)
def type_text(array_type: ArrayType) -> str:
    """A type as text; a program has many variables of few types."""
    return str(array_type)


#: The dtypes of Python's own scalars, whose literals need no mark.
_UNMARKED = frozenset(map(np.dtype, (bool, int, float, complex)))


def literal_text(literal: Literal) -> str:
    """A literal as text; dtypes other than those of Python scalars are appended, ``1.0:f32``."""
    text = repr(literal.value.item() if hasattr(literal.value, "item") else literal.value)
    dtype = literal.type.dtype
    if dtype in _UNMARKED:
        return text
    return f"{text}:{SHORT_NAMES[dtype]}"


def param_text(value: Any, names: Names | None = None) -> str:
    """A parameter as text, the same in every process. The variables of programs are named by ``names`` if it is given."""
    if isinstance(value, Program):
        return print_program(value, names=names)
    if isinstance(value, np.dtype):
        return SHORT_NAMES.get(value, str(value))
    if isinstance(value, tuple):
        return "(" + ",".join([param_text(part, names) for part in value]) + ("," if len(value) == 1 else "") + ")"
    return str(value) if isinstance(value, str) else repr(value)


def equation_text(equation: Equation, names: Names) -> str:
    """``b:f64[3] = sin a``."""
    inputs = " ".join([names(atom) for atom in equation.inputs])
    outputs = " ".join([f"{names(var)}:{type_text(var.type)}" for var in equation.outputs])
    params = ""
    if equation.params:
        within = names if names.shared else None
        params = "[" + " ".join([f"{name}={param_text(value, within)}" for name, value in equation.params]) + "]"
    application = f"{equation.operation.name}{params} {inputs}".rstrip()
    return f"{outputs} = {application}" if outputs else application


def print_program(program: Program, sources: bool = False, names: Names | None = None) -> str:
    """The program as text: one line up to two equations, else one line per equation.

    With ``sources`` each equation is followed by the user's file and line. ``names`` names the variables, from a on
    unless it is given.
    """
    names = names or Names()
    inputs = " ".join([f"{names(var)}:{type_text(var.type)}" for var in program.inputs])
    lines = []
    for equation in program.equations:
        text = equation_text(equation, names)
        lines.append(f"{text}  # {equation.source}" if sources and equation.source else text)
    results = ", ".join(map(names, program.outputs))
    head = f"{{ lambda {inputs} . let" if inputs else "{ lambda . let"
    if len(lines) <= 2 and not sources and not any("\n" in line for line in lines):
        return f"{head} {' ; '.join(lines)} in ({results}) }}".replace("let  in", "let in")
    body = "\n".join("    " + line.replace("\n", "\n    ") for line in lines)
    return f"{head}\n{body}\n  in ({results}) }}"
