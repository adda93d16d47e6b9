"""Programs on single numbers, written as Python functions, as LLVM text.

The functions of ``loopir/scalar`` are a small part of Python: numbers are floats; statements are assignments (also of
tuples), ``if``, ``while``, ``break`` and ``return`` of a number or of a tuple; expressions are arithmetic, comparisons,
``and``, ``or``, ``not``, conditional expressions, constants of the module, calls of each other and of what
``loopir/scalar/library`` names. So each is run by Python, which is the reference, and compiled by this module:

    def halve(x):                         define internal double @gx.program.halve(double %x.in) {
        while x > 1.0:         ->         ...
            x = 0.5 * x                   again1: %t1 = load double, ptr %x ; fcmp ogt ... br ...
        return x

Variables lie on the stack here; LLVM moves them into registers. No operation is contracted or reassociated.
"""

from __future__ import annotations

import ast
import inspect
import struct
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any

from gradxform.errors import CompileError
from gradxform.loopir.scalar.library import External, Several

_ARITHMETIC: dict[type, str] = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_COMPARISONS: dict[type, str] = {ast.Lt: "olt", ast.LtE: "ole", ast.Gt: "ogt", ast.GtE: "oge", ast.Eq: "oeq", ast.NotEq: "une"}
_CONNECTIVES: dict[type, str] = {ast.And: "and", ast.Or: "or"}
#: What LLVM has as instructions, or as good as.
_INTRINSICS = ("fabs", "sqrt", "floor", "rint", "fma")


def number_text(value: float) -> str:
    """A float64 number as an LLVM operand."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"


@cache
def _tree(function: Callable[..., Any]) -> ast.FunctionDef:
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition


def _results(function: Callable[..., Any]) -> int:
    """How many numbers a function returns."""
    counts = {len(node.value.elts) if isinstance(node.value, ast.Tuple) else 1
              for node in ast.walk(_tree(function)) if isinstance(node, ast.Return)}
    assert len(counts) == 1, function
    return counts.pop()


def _type(results: int) -> str:
    return "double" if results == 1 else f"{{ {', '.join(['double'] * results)} }}"


class Programs:
    """Collects the texts of functions and of all that they call.

    ``imports`` are the symbols that the texts do not define.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.imports: dict[str, str] = {}

    def add(self, function: Callable[..., Any]) -> str:
        """The symbol of a function, which is written unless it is there."""
        symbol = f"gx.program.{function.__name__}"
        if symbol not in self.texts:
            self.texts[symbol] = ""
            self.texts[symbol] = _Writer(self, function, symbol).text()
        return symbol

    def external(self, called: External) -> str:
        symbol = f"gx.{called.source}.{called.name}"
        arguments = ["double"] * called.arity + (["i32"] if called.source == "special" else [])
        self.imports[symbol] = f"declare double @{symbol}({', '.join(arguments)}) nounwind willreturn memory(none)"
        return symbol

    def several(self, called: Several) -> str:
        symbol = f"gx.special.{called.name}"
        self.imports[symbol] = f"declare void @{symbol}(double{', ptr' * called.results}) nounwind willreturn"
        return symbol

    def text(self) -> str:
        return "\n".join([*dict.fromkeys(self.imports.values()), *self.texts.values()])


class _Writer:
    """Writes one function."""

    def __init__(self, programs: Programs, function: Callable[..., Any], symbol: str) -> None:
        self.programs = programs
        self.tree = _tree(function)
        self.globals = inspect.unwrap(function).__globals__
        self.results = _results(function)
        self.symbol = symbol
        self.lines: list[str] = []
        self.count = 0
        self.exits: list[str] = []
        self.variables: dict[str, None] = {}

    def text(self) -> str:
        parameters = [argument.arg for argument in self.tree.args.args]
        stores = []
        for name in parameters:
            self.variables[name] = None
            stores.append(f"  store double %{name}.in, ptr %{name}")
        self.body(self.tree.body)
        allocations = [f"  %{name} = alloca double" for name in self.variables]
        signature = ", ".join(f"double %{name}.in" for name in parameters)
        return "\n".join([f"define internal {_type(self.results)} @{self.symbol}({signature}) nounwind {{", "entry:",
                          *allocations, *stores, *self.lines, "  unreachable", "}"])

    def refuse(self, node: ast.AST) -> CompileError:
        return CompileError(f"{self.symbol}: a scalar program has no {ast.unparse(node)}")

    # ------------------------------------------------------------------------------------------------ statements

    def append(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def fresh(self, line: str) -> str:
        self.count += 1
        self.append(f"%t{self.count} = {line}")
        return f"%t{self.count}"

    def label(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Assign(targets=[target], value=value):
                    self.assign(target, value)
                case ast.AugAssign(target=ast.Name() as target, op=operation, value=value):
                    read = ast.BinOp(ast.Name(target.id, ast.Load()), operation, value)
                    self.assign(target, read)
                case ast.If(test=test, body=body, orelse=otherwise):
                    self.branch(test, body, otherwise)
                case ast.While(test=test, body=body, orelse=[]):
                    self.loop(test, body)
                case ast.Break():
                    self.append(f"br label %{self.exits[-1]}")
                    self.start(self.label("after"))
                case ast.Return(value=ast.expr() as value):
                    self.give(value)
                    self.start(self.label("after"))
                case ast.Expr(value=ast.Constant(value=str())):  # the docstring
                    pass
                case _:
                    raise self.refuse(statement)

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            found = self.number(value)
            self.variables[target.id] = None
            self.append(f"store double {found}, ptr %{target.id}")
            return
        if not isinstance(target, ast.Tuple):
            raise self.refuse(target)
        values = [self.number(part) for part in value.elts] if isinstance(value, ast.Tuple) else self.numbers(value)
        for part, each in zip(target.elts, values, strict=True):
            if not isinstance(part, ast.Name):
                raise self.refuse(part)
            self.variables[part.id] = None
            self.append(f"store double {each}, ptr %{part.id}")

    def branch(self, test: ast.expr, body: list[ast.stmt], otherwise: list[ast.stmt]) -> None:
        yes, no, done = self.label("then"), self.label("else"), self.label("join")
        self.append(f"br i1 {self.condition(test)}, label %{yes}, label %{no}")
        for label, part in ((yes, body), (no, otherwise)):
            self.start(label)
            self.body(part)
            self.append(f"br label %{done}")
        self.start(done)

    def loop(self, test: ast.expr, body: list[ast.stmt]) -> None:
        again, inside, done = self.label("again"), self.label("inside"), self.label("done")
        self.append(f"br label %{again}")
        self.start(again)
        self.append(f"br i1 {self.condition(test)}, label %{inside}, label %{done}")
        self.start(inside)
        self.exits.append(done)
        self.body(body)
        self.exits.pop()
        self.append(f"br label %{again}")
        self.start(done)

    def give(self, value: ast.expr) -> None:
        if self.results == 1:
            self.append(f"ret double {self.number(value)}")
            return
        assert isinstance(value, ast.Tuple)
        whole = "poison"
        for position, part in enumerate([self.number(part) for part in value.elts]):
            whole = self.fresh(f"insertvalue {_type(self.results)} {whole}, double {part}, {position}")
        self.append(f"ret {_type(self.results)} {whole}")

    # ----------------------------------------------------------------------------------------------- expressions

    def condition(self, node: ast.expr) -> str:
        match node:
            case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _COMPARISONS:
                x, y = self.number(left), self.number(right)
                return self.fresh(f"fcmp {_COMPARISONS[type(operation)]} double {x}, {y}")
            case ast.BoolOp(op=operation, values=values):
                found = [self.condition(value) for value in values]
                total = found[0]
                for each in found[1:]:
                    total = self.fresh(f"{_CONNECTIVES[type(operation)]} i1 {total}, {each}")
                return total
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.fresh(f"xor i1 {self.condition(operand)}, true")
        raise self.refuse(node)

    def number(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=int() | float() as value):
                return number_text(value)
            case ast.Name(id=name):
                if name in self.variables:
                    return self.fresh(f"load double, ptr %{name}")
                if isinstance(self.globals.get(name), (int, float)):
                    return number_text(self.globals[name])
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _ARITHMETIC:
                x, y = self.number(left), self.number(right)
                return self.fresh(f"{_ARITHMETIC[type(operation)]} double {x}, {y}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.fresh(f"fneg double {self.number(operand)}")
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                test_text, x, y = self.condition(test), self.number(body), self.number(otherwise)
                return self.fresh(f"select i1 {test_text}, double {x}, double {y}")
            case ast.Call():
                (found,) = self.numbers(node)
                return found
        raise self.refuse(node)

    def numbers(self, node: ast.expr) -> list[str]:
        """The results of a call."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords):
            raise self.refuse(node)
        called = self.globals.get(node.func.id)
        arguments = [self.number(argument) for argument in node.args]
        listed = ", ".join(f"double {argument}" for argument in arguments)
        if isinstance(called, External):
            if called.name in _INTRINSICS:
                symbol = f"llvm.{called.name}.f64"
                self.programs.imports[symbol] = f"declare double @{symbol}({', '.join(['double'] * called.arity)})"
                return [self.fresh(f"call double @{symbol}({listed})")]
            tail = ", i32 0" if called.source == "special" else ""
            return [self.fresh(f"call double @{self.programs.external(called)}({listed}{tail})")]
        if isinstance(called, Several):
            cells = [f"gx.cell{position}" for position in range(called.results)]
            self.variables.update(dict.fromkeys(cells))
            pointers = ", ".join(f"ptr %{cell}" for cell in cells)
            self.append(f"call void @{self.programs.several(called)}({listed}, {pointers})")
            return [self.fresh(f"load double, ptr %{cell}") for cell in cells]
        if not inspect.isfunction(called):
            raise self.refuse(node)
        results = _results(called)
        whole = self.fresh(f"call {_type(results)} @{self.programs.add(called)}({listed})")
        if results == 1:
            return [whole]
        return [self.fresh(f"extractvalue {_type(results)} {whole}, {position}") for position in range(results)]
