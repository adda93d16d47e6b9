"""Does a kernel keep to the grammar of the loop IR?"""

from __future__ import annotations

from collections.abc import Sequence

from gradxform.errors import CheckError
from gradxform.loopir.expression import Apply, Constant, Expression, Load, Symbol
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
    Multiply,
    Native,
    Part,
    Reserve,
    Statement,
    Store,
    While,
)


def check_kernel(kernel: Kernel) -> Kernel:
    """Return ``kernel`` if every symbol is bound, every buffer declared, ranks and dtypes fit and inputs are not written."""
    shared = {*kernel.inputs, *kernel.outputs, *kernel.temporaries}
    for nest in kernel.nests:
        bound = set() if nest.chunk is None else {nest.chunk}
        _statements(nest.body, bound, shared | set(nest.locals))
    return kernel


def _statements(statements: Sequence[Statement], bound: set[Symbol], buffers: set[Buffer]) -> set[Symbol]:
    bound = set(bound)
    for statement in statements:
        if isinstance(statement, Let):
            _expression(statement.value, bound, buffers)
            _require(statement.value.dtype == statement.symbol.dtype, f"Let {statement.symbol.name}: dtype differs")
            _require(statement.symbol not in bound, f"symbol {statement.symbol.name} is bound twice")
            bound.add(statement.symbol)
        elif isinstance(statement, (Store, Accumulate)):
            _access(statement.buffer, statement.index, bound, buffers)
            _require(statement.buffer.space != "input", f"input {statement.buffer.name} is written")
            _expression(statement.value, bound, buffers)
            _require(statement.value.dtype == statement.buffer.dtype, f"store to {statement.buffer.name}: dtype differs")
        elif isinstance(statement, For):
            _expression(statement.begin, bound, buffers)
            _expression(statement.end, bound, buffers)
            _require(statement.symbol not in bound, f"loop symbol {statement.symbol.name} is bound twice")
            _statements(statement.body, bound | {statement.symbol}, buffers)
        elif isinstance(statement, Fork):
            _require(statement.symbol not in bound, f"chunk {statement.symbol.name} is bound twice")
            _statements(statement.body, bound | {statement.symbol}, buffers | set(statement.locals))
        elif isinstance(statement, Part):
            _statements(statement.body, bound, buffers)
        elif isinstance(statement, While):
            inside = _statements(statement.head, bound, buffers)
            _condition(statement.condition, inside, buffers)
            _statements(statement.body, inside, buffers)
        elif isinstance(statement, If):
            _condition(statement.condition, bound, buffers)
            _statements(statement.then, bound, buffers)
            _statements(statement.otherwise, bound, buffers)
        elif isinstance(statement, Reserve):
            _require(statement.buffer.space == "tape" and statement.buffer in buffers, "only declared tapes grow")
            _expression(statement.position, bound, buffers)
        elif isinstance(statement, (Multiply, Contract)):
            for matrix in (statement.result, statement.left, statement.right):
                _require(matrix.buffer in buffers, f"buffer {matrix.buffer.name} is not declared")
                _expression(matrix.offset, bound, buffers)
            _require(statement.result.buffer.space != "input", "a matrix product writes to an input")
            if isinstance(statement, Contract):
                for extent in (statement.rows, statement.inner, statement.columns):
                    _expression(extent, bound, buffers)
        elif isinstance(statement, (Call, Native)):
            for region in (*statement.arguments, *statement.results):
                _require(region.buffer in buffers, f"buffer {region.buffer.name} is not declared")
                _expression(region.offset, bound, buffers)
            _require(all(r.buffer.space != "input" for r in statement.results), "a call writes to an input")
    return bound


def _condition(condition: Expression, bound: set[Symbol], buffers: set[Buffer]) -> None:
    _expression(condition, bound, buffers)
    _require(condition.dtype.kind == "b", "a condition is not boolean")


def _access(buffer: Buffer, index: Sequence[Expression], bound: set[Symbol], buffers: set[Buffer]) -> None:
    _require(isinstance(buffer, Buffer) and buffer in buffers, f"buffer {buffer} is not declared")
    _require(len(index) == len(buffer.shape), f"{buffer.name} has rank {len(buffer.shape)}, indexed by {len(index)}")
    for part in index:
        _expression(part, bound, buffers)
        _require(part.dtype.kind == "i" and part.dtype.itemsize == 8, f"{buffer.name}: an index is not int64")


def _expression(expression: Expression, bound: set[Symbol], buffers: set[Buffer]) -> None:
    if isinstance(expression, Symbol):
        _require(expression in bound, f"symbol {expression.name} is not bound")
    elif isinstance(expression, Load):
        _access(expression.buffer, expression.index, bound, buffers)
        _require(expression.dtype == expression.buffer.dtype, f"load of {expression.buffer.name}: dtype differs")
    elif isinstance(expression, Apply):
        for operand in expression.operands:
            _expression(operand, bound, buffers)
    else:
        _require(isinstance(expression, Constant), f"{expression!r} is no expression")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise CheckError(f"loops: {message}")
