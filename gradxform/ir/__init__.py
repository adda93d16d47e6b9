"""The program: a small SSA language of array equations. Data only; see the modules."""

from gradxform.ir.callback import Callback, callbacks
from gradxform.ir.checker import check
from gradxform.ir.infix import infix
from gradxform.ir.printer import print_program
from gradxform.ir.program import Atom, Equation, Literal, Opaque, Operation, Program, Source, Var, programs_in
from gradxform.ir.types import ArrayType

__all__ = ["ArrayType", "Atom", "Callback", "Equation", "Literal", "Opaque", "Operation", "Program", "Source", "Var",
           "callbacks", "check", "infix", "print_program", "programs_in"]
