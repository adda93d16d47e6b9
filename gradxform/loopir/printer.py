"""Kernels as readable text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from gradxform.dtypes import SHORT_NAMES
from gradxform.loopir.expression import Constant, Expression, Index, Load, Symbol
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    Call,
    Contract,
    For,
    If,
    Kernel,
    Let,
    Matrix,
    Native,
    Nest,
    Part,
    Region,
    Reserve,
    Statement,
    Store,
    While,
)

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "less": "<", "greater_equal": ">=", "equal": "==",
          "floor_divide": "//", "remainder": "%", "logical_and": "and", "greater": ">", "less_equal": "<="}


def expression_text(expression: Expression) -> str:
    """An expression on one line."""
    if isinstance(expression, Constant):
        return repr(expression.value.item())
    if isinstance(expression, Symbol):
        return expression.name
    if isinstance(expression, Load):
        return f"{_name(expression.buffer)}{index_text(expression.index)}"
    arguments = [expression_text(operand) for operand in expression.operands]
    if expression.operation in _INFIX and len(arguments) == 2:
        return f"({arguments[0]} {_INFIX[expression.operation]} {arguments[1]})"
    if expression.operation == "convert":
        return f"{SHORT_NAMES[expression.dtype]}({arguments[0]})"
    if expression.operation == "bitcast":
        return f"bits_as_{SHORT_NAMES[expression.dtype]}({arguments[0]})"
    return f"{expression.operation}({', '.join(arguments)})"


def _name(buffer: object) -> str:
    return buffer.name if isinstance(buffer, Buffer) else "?"


def index_text(index: Index) -> str:
    return "[" + ", ".join(map(expression_text, index)) + "]"


def buffer_text(buffer: Buffer) -> str:
    extents = ",".join(["?" if extent < 0 else str(extent) for extent in buffer.shape])
    return f"{buffer.name}:{SHORT_NAMES[buffer.dtype]}[{extents}]"


def _matrix(matrix: Matrix) -> str:
    return f"{matrix.buffer.name}(offset {expression_text(matrix.offset)}, strides {matrix.row_stride}, {matrix.column_stride})"


def _region(region: Region) -> str:
    extents = ",".join(map(str, region.shape))
    return f"{region.buffer.name}(offset {expression_text(region.offset)}, {SHORT_NAMES[region.buffer.dtype]}[{extents}])"


def _lines(statement: Statement, indent: str, notes: Mapping[Statement, str]) -> list[str]:
    """The lines of a statement; ``notes`` has remarks on statements, which stand behind the first line of each."""
    lines = _statement_lines(statement, indent, notes)
    if statement in notes:
        lines[0] += f"  # {notes[statement]}"
    return lines


def _statement_lines(statement: Statement, indent: str, notes: Mapping[Statement, str]) -> list[str]:
    if isinstance(statement, Let):
        return [f"{indent}{statement.symbol.name} = {expression_text(statement.value)}"]
    if isinstance(statement, Store):
        return [f"{indent}{statement.buffer.name}{index_text(statement.index)} = {expression_text(statement.value)}"]
    if isinstance(statement, Accumulate):
        target = f"{statement.buffer.name}{index_text(statement.index)}"
        return [f"{indent}{target} {_INFIX.get(statement.operation, statement.operation)}= {expression_text(statement.value)}"]
    if isinstance(statement, For):
        order = " in order" if statement.ordered else ""
        head = (f"{indent}for {statement.symbol.name} in {expression_text(statement.begin)} .. "
                f"{expression_text(statement.end)}{order}:")
        return [head, *_block(statement.body, indent, notes)]
    if isinstance(statement, Part):
        return [f"{indent}part:", *_block(statement.body, indent, notes)]
    if isinstance(statement, While):
        test = expression_text(statement.condition)
        return [f"{indent}loop:", *_block(statement.head, indent, notes), f"{indent}    while {test}:",
                *_block(statement.body, indent + "    ", notes)]
    if isinstance(statement, If):
        otherwise = [f"{indent}else:", *_block(statement.otherwise, indent, notes)] if statement.otherwise else []
        return [f"{indent}if {expression_text(statement.condition)}:", *_block(statement.then, indent, notes), *otherwise]
    if isinstance(statement, Reserve):
        return [f"{indent}reserve {statement.buffer.name}[{expression_text(statement.position)}]"]
    if isinstance(statement, Call):
        arguments, results = (", ".join(map(_region, regions)) for regions in (statement.arguments, statement.results))
        return [f"{indent}({results}) = python {statement.callback}({arguments})"]
    if isinstance(statement, Native):
        arguments, results = (", ".join(map(_region, regions)) for regions in (statement.arguments, statement.results))
        batch = f"{prod(statement.batch)} x " if statement.batch else ""
        chunks = f" in {statement.chunks} chunks" if statement.chunks > 1 else ""
        return [f"{indent}({results}) = {batch}{statement.routine}({arguments}){chunks}"]
    if isinstance(statement, Contract):
        extents = "x".join(map(expression_text, (statement.rows, statement.inner, statement.columns)))
        return [f"{indent}tile {_matrix(statement.result)} {'=' if statement.fresh else '+='} {_matrix(statement.left)} @ "
                f"{_matrix(statement.right)}  ({extents})"]
    return [f"{indent}gemm {_matrix(statement.result)} = {_matrix(statement.left)} @ {_matrix(statement.right)}"
            f"  ({statement.batch} x {statement.rows}x{statement.inner}x{statement.columns})"]


def _block(statements: Sequence[Statement], indent: str, notes: Mapping[Statement, str]) -> list[str]:
    return [line for statement in statements for line in _lines(statement, indent + "    ", notes)]


def print_kernel(kernel: Kernel) -> str:
    """The kernel: its buffers, then each nest with its loops."""
    lines = [f"kernel({', '.join(map(buffer_text, kernel.inputs))}) -> ({', '.join(map(buffer_text, kernel.outputs))})"]
    for buffer in kernel.temporaries:
        place = "tape" if buffer.space == "tape" else "arena"
        where = "" if buffer.space == "tape" else f" at {kernel.offsets.get(buffer.name, 0)}"
        lines.append(f"  {place} {buffer_text(buffer)}{where}")
    for number, nest in enumerate(kernel.nests):
        lines.append(f"  {nest_head(number, nest)}  # about {nest.work / 1000:.3g} us")
        lines += ["  " + line for line in nest_lines(nest)]
    return "\n".join(lines)


def nest_head(number: int, nest: Nest) -> str:
    """``nest 2:``, and whether it runs in parallel."""
    if nest.chunk is None or not nest.chunks:
        return f"nest {number}:"
    return f"nest {number}: parallel for {nest.chunk.name} in 0 .. {nest.chunks}:"


def nest_lines(nest: Nest, notes: Mapping[Statement, str] | None = None) -> list[str]:
    """What stands within a nest: its own memory, then its statements, some with remarks behind them."""
    lines = [f"  local {buffer_text(buffer)}" for buffer in nest.locals]
    return lines + [line for statement in nest.body for line in _lines(statement, "  ", notes or {})]
