"""Kernels as readable text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from gradxform.dtypes import SHORT_NAMES
from gradxform.loopir.expression import Apply, Constant, Expression, Index, Load, Symbol
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    Call,
    Contract,
    For,
    Fork,
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
          "floor_divide": "//", "remainder": "%", "logical_and": "and", "greater": ">", "less_equal": "<=",
          "not_equal": "!=", "logical_or": "or"}


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
    return _function(expression, arguments)


def _function(expression: Apply, arguments: Sequence[str]) -> str:
    if expression.operation == "convert":
        return f"{SHORT_NAMES[expression.dtype]}({arguments[0]})"
    if expression.operation == "bitcast":
        return f"bits_as_{SHORT_NAMES[expression.dtype]}({arguments[0]})"
    return f"{expression.operation}({', '.join(arguments)})"


def _name(buffer: object) -> str:
    return buffer.name if isinstance(buffer, Buffer) else "?"


def index_text(index: Index) -> str:
    return "[" + ", ".join(map(position_text, index)) + "]"


def position_text(expression: Expression) -> str:
    """An index or a bound, on one line: sums of multiples are added up, so that what cancels is not printed.

    >>> from gradxform.dtypes import int64
    >>> from gradxform.loopir.expression import index_add, index_mul, integer
    >>> i, n = Symbol("i", int64), Symbol("n", int64)
    >>> position_text(index_add(index_add(index_mul(i, -1), n), integer(-1)))
    'n - i - 1'
    """
    return _position(expression)[0]


def extents_text(*extents: Expression) -> str:
    """``64x20x1``."""
    return "x".join([f"({text})" if compound else text for text, compound in map(_position, extents)])


def _position(expression: Expression) -> tuple[str, bool]:
    """The text, and whether it takes brackets where it is an operand."""
    if not isinstance(expression, Apply):
        return expression_text(expression), False
    if _is_sum(expression):
        terms: dict[str, int] = {}
        _add_up(expression, 1, terms)
        number = terms.pop("", 0)
        parts = [(factor, text if abs(factor) == 1 else f"{text} * {abs(factor)}") for text, factor in terms.items() if factor]
        positive = [part for part in parts if part[0] > 0]
        negative = [part for part in parts if part[0] < 0]
        constant = [(number, str(abs(number)))] if number or not parts else []
        parts = [*positive, *constant, *negative] if number > 0 and not positive else [*positive, *negative, *constant]
        first = f"-{parts[0][1]}" if parts[0][0] < 0 else parts[0][1]
        return first + "".join([f" {'-' if factor < 0 else '+'} {text}" for factor, text in parts[1:]]), (
            len(parts) > 1 or " " in first)
    operands = [_position(operand) for operand in expression.operands]
    if expression.operation in _INFIX and len(operands) == 2:
        left, right = (f"({text})" if compound else text for text, compound in operands)
        return f"{left} {_INFIX[expression.operation]} {right}", True
    return _function(expression, [text for text, _ in operands]), False


def _is_sum(expression: Expression) -> bool:
    """Whether it adds up whole numbers, or multiplies one by a constant: they wrap around, and so obey all laws of rings."""
    if not isinstance(expression, Apply) or expression.dtype.kind != "i":
        return False
    return expression.operation in ("add", "sub") or (
        expression.operation == "mul" and any(isinstance(operand, Constant) for operand in expression.operands))


def _add_up(expression: Expression, factor: int, terms: dict[str, int]) -> None:
    """Add ``factor`` times an expression to ``terms``, which has the factor of each text; that of "" is a number."""
    if isinstance(expression, Constant):
        terms[""] = terms.get("", 0) + factor * int(expression.value)
    elif isinstance(expression, Apply) and _is_sum(expression):
        left, right = expression.operands
        if expression.operation == "mul":
            number, other = (left, right) if isinstance(left, Constant) else (right, left)
            _add_up(other, factor * int(number.value), terms)  # type: ignore[union-attr]
        else:
            _add_up(left, factor, terms)
            _add_up(right, factor if expression.operation == "add" else -factor, terms)
    else:
        text, compound = _position(expression)
        text = f"({text})" if compound else text
        terms[text] = terms.get(text, 0) + factor


def buffer_text(buffer: Buffer) -> str:
    extents = ",".join(["?" if extent < 0 else str(extent) for extent in buffer.shape])
    return f"{buffer.name}:{SHORT_NAMES[buffer.dtype]}[{extents}]"


def _matrix(matrix: Matrix) -> str:
    return f"{matrix.buffer.name}(offset {position_text(matrix.offset)}, strides {matrix.row_stride}, {matrix.column_stride})"


def _region(region: Region) -> str:
    extents = ",".join(map(str, region.shape))
    return f"{region.buffer.name}(offset {position_text(region.offset)}, {SHORT_NAMES[region.buffer.dtype]}[{extents}])"


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
        head = (f"{indent}for {statement.symbol.name} in {position_text(statement.begin)} .. "
                f"{position_text(statement.end)}{order}:")
        return [head, *_block(statement.body, indent, notes)]
    if isinstance(statement, Fork):
        own = [f"{indent}    local {buffer_text(buffer)}" for buffer in statement.locals]
        return [f"{indent}parallel for {statement.symbol.name} in 0 .. {statement.chunks}:", *own,
                *_block(statement.body, indent, notes)]
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
        return [f"{indent}reserve {statement.buffer.name}[{position_text(statement.position)}]"]
    if isinstance(statement, Call):
        arguments, results = (", ".join(map(_region, regions)) for regions in (statement.arguments, statement.results))
        return [f"{indent}({results}) = python {statement.callback}({arguments})"]
    if isinstance(statement, Native):
        arguments, results = (", ".join(map(_region, regions)) for regions in (statement.arguments, statement.results))
        times = prod(statement.batch)
        batch = f"{times} x " if times != 1 else ""
        chunks = f" in {statement.chunks} chunks" if statement.chunks > 1 else ""
        return [f"{indent}({results}) = {batch}{statement.routine}({arguments}){chunks}"]
    if isinstance(statement, Contract):
        extents = extents_text(statement.rows, statement.inner, statement.columns)
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
