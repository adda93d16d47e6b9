"""Var, Literal, Equation and Program.

The grammar:

    Program  ::= { lambda Var* . let Equation* in (Atom*) }
    Equation ::= Var+ = Operation[params] Atom*
    Atom     ::= Var | Literal

Everything is frozen; equations stand in the order in which they were traced, each variable is defined once and
before its use. A parameter is an int, bool, float, str, dtype, None, a Program, a Callback, an
Opaque, or a tuple of parameters.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Protocol

from gradxform.data_class import data_class
from gradxform.ir.types import ArrayType

Param = Any
Params = tuple[tuple[str, Param], ...]


class Operation(Protocol):
    """What an equation applies: named, with a rule that gives the types of its results."""

    @property
    def name(self) -> str: ...

    def result_types(self, operands: tuple[ArrayType, ...], params: dict[str, Param]) -> tuple[ArrayType, ...]: ...


class Opaque:
    """A parameter that programs hold and do not look into, such as the rules that a user gave for a function.

    It is printed as ``label``, which must tell everything on which the values of the equation depend.
    """

    __slots__ = ("label",)

    def __init__(self, label: str) -> None:
        self.label = label

    def __repr__(self) -> str:
        return self.label


@data_class(frozen=True, slots=True)
class Source:
    """Where in the user's code an equation was written."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.function})"


@data_class(frozen=True, slots=True, eq=False)
class Var:
    """A variable; two variables are the same only if they are one object."""

    type: ArrayType


@data_class(frozen=True, slots=True, eq=False)
class Literal:
    """A constant of rank 0; ``value`` is a NumPy scalar of the type's dtype."""

    value: Any
    type: ArrayType

    def __str__(self) -> str:
        return repr(self.value.item())


Atom = Var | Literal


@data_class(frozen=True, slots=True, eq=False)
class Equation:
    """``outputs = operation[params] inputs``; ``params`` is sorted by name."""

    operation: Any
    inputs: tuple[Atom, ...]
    params: Params
    outputs: tuple[Var, ...]
    source: Source | None = None


@data_class(frozen=True, slots=True, eq=False, weakref_slot=True)
class Program:
    """A straight-line function of arrays."""

    inputs: tuple[Var, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    name: str = field(default="")

    @property
    def input_types(self) -> tuple[ArrayType, ...]:
        return tuple(var.type for var in self.inputs)

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        return tuple(atom.type for atom in self.outputs)

    def __str__(self) -> str:
        from gradxform.ir.printer import print_program

        return print_program(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from gradxform.ir.highlighting import notebook_html

        return notebook_html(str(self))


def programs_in(value: object) -> tuple[Program, ...]:
    """The programs that a parameter holds."""
    if isinstance(value, Program):
        return (value,)
    if isinstance(value, tuple):
        return tuple([program for part in value for program in programs_in(part)])
    return ()
