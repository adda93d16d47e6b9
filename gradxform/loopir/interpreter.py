"""The slow, obviously right interpreter of kernels: the oracle for emitted code."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.errors import IndexRangeError
from gradxform.loopir.expression import INDEX_CHECKS, Constant, Expression, Load, Symbol
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
    Part,
    Region,
    Reserve,
    Statement,
    Store,
    While,
)
from gradxform.loopir.operations import evaluate_operation


def interpret(kernel: Kernel, inputs: Sequence[Any]) -> list[Any]:
    """The kernel's outputs for C-contiguous arrays ``inputs``; parallel nests run chunk by chunk."""
    memory: dict[Buffer, Any] = {}
    for buffer, array in zip(kernel.inputs, inputs, strict=True):
        memory[buffer] = np.array(array, dtype=buffer.dtype).reshape(buffer.shape)
    for buffer in (*kernel.outputs, *kernel.temporaries):
        memory[buffer] = _poisoned(buffer)
    for nest in kernel.nests:
        for chunk in range(max(nest.chunks, 1)):
            for buffer in nest.locals:
                memory[buffer] = _poisoned(buffer)
            symbols: dict[Symbol, Any] = {} if nest.chunk is None else {nest.chunk: np.int64(chunk)}
            _run(nest.body, symbols, memory)
    return [memory[buffer] for buffer in kernel.outputs]


def _poisoned(buffer: Buffer) -> Any:
    """Fresh memory filled with a value that shows in results if it is read before it is written."""
    fill = np.nan if buffer.dtype.kind == "f" else True if buffer.dtype.kind == "b" else np.iinfo(buffer.dtype).max
    return np.full([max(extent, 0) for extent in buffer.shape], fill, buffer.dtype)


def _run(statements: Sequence[Statement], symbols: dict[Symbol, Any], memory: dict[Buffer, Any]) -> None:
    for statement in statements:
        if isinstance(statement, Let):
            symbols[statement.symbol] = _value(statement.value, symbols, memory)
        elif isinstance(statement, Store):
            index = tuple(int(_value(i, symbols, memory)) for i in statement.index)
            memory[statement.buffer][index] = _value(statement.value, symbols, memory)
        elif isinstance(statement, Accumulate):
            index = tuple(int(_value(i, symbols, memory)) for i in statement.index)
            target, value = memory[statement.buffer], _value(statement.value, symbols, memory)
            if statement.operation == "set":
                target[index] = value
            else:
                target[index] = evaluate_operation(statement.operation, (target[index], value), target.dtype)
        elif isinstance(statement, For):
            begin, end = (int(_value(e, symbols, memory)) for e in (statement.begin, statement.end))
            for i in range(begin, end):
                symbols[statement.symbol] = np.int64(i)
                _run(statement.body, symbols, memory)
        elif isinstance(statement, Fork):
            for chunk in range(statement.chunks):
                memory.update({buffer: _poisoned(buffer) for buffer in statement.locals})
                _run(statement.body, {**symbols, statement.symbol: np.int64(chunk)}, memory)
        elif isinstance(statement, Part):
            _run(statement.body, dict(symbols), memory)
        elif isinstance(statement, While):
            _run(statement.head, symbols, memory)
            while _value(statement.condition, symbols, memory):
                _run(statement.body, symbols, memory)
                _run(statement.head, symbols, memory)
        elif isinstance(statement, If):
            chosen = statement.then if _value(statement.condition, symbols, memory) else statement.otherwise
            _run(chosen, dict(symbols), memory)
        elif isinstance(statement, Reserve):
            tape, position = memory[statement.buffer], int(_value(statement.position, symbols, memory))
            if position >= len(tape):
                memory[statement.buffer] = np.concatenate([tape, np.empty((position + 1, *tape.shape[1:]), tape.dtype)])
        elif isinstance(statement, Call):
            given = [_region(region, symbols, memory).copy() for region in statement.arguments]
            types = tuple([(region.buffer.dtype, region.shape) for region in statement.results])
            found = statement.callback.call([x if x.shape else x[()] for x in given], types)
            for region, value in zip(statement.results, found, strict=True):
                _region(region, symbols, memory)[...] = value
        elif isinstance(statement, Native):
            _run_native(statement, symbols, memory)
        elif isinstance(statement, Contract):
            at = [int(_value(m.offset, symbols, memory)) for m in (statement.left, statement.right, statement.result)]
            rows, inner, columns = (int(_value(e, symbols, memory))
                                    for e in (statement.rows, statement.inner, statement.columns))
            product = (_matrix(statement.left, at[0], memory, 0, rows, inner)
                       @ _matrix(statement.right, at[1], memory, 0, inner, columns))
            target = _matrix(statement.result, at[2], memory, 0, rows, columns)
            target[...] = product if statement.fresh else target + product
        else:
            at = [int(_value(m.offset, symbols, memory)) for m in (statement.left, statement.right, statement.result)]
            for b in range(statement.batch):
                left = _matrix(statement.left, at[0], memory, b, statement.rows, statement.inner)
                right = _matrix(statement.right, at[1], memory, b, statement.inner, statement.columns)
                _matrix(statement.result, at[2], memory, b, statement.rows, statement.columns)[...] = left @ right


def _run_native(statement: Native, symbols: dict[Symbol, Any], memory: dict[Buffer, Any]) -> None:
    given, wanted = ([_region(region, symbols, memory) for region in regions]
                     for regions in (statement.arguments, statement.results))
    for b in np.ndindex(statement.batch):
        for target, value in zip(wanted, statement.routine.reference(*[x[b].copy() for x in given]), strict=True):
            target[b] = value


def _region(region: Region, symbols: dict[Symbol, Any], memory: dict[Buffer, Any]) -> Any:
    start = int(_value(region.offset, symbols, memory))
    return memory[region.buffer].reshape(-1)[start:start + prod(region.shape)].reshape(region.shape)


def _matrix(matrix: Matrix, offset: int, memory: dict[Buffer, Any], batch: int, rows: int, columns: int) -> Any:
    flat = memory[matrix.buffer].reshape(-1)[offset + batch * matrix.batch_stride:]
    item = flat.itemsize
    return np.lib.stride_tricks.as_strided(
        flat, (rows, columns), (matrix.row_stride * item, matrix.column_stride * item))


def _value(expression: Expression, symbols: dict[Symbol, Any], memory: dict[Buffer, Any]) -> Any:
    if isinstance(expression, Constant):
        return expression.value
    if isinstance(expression, Symbol):
        return symbols[expression]
    if isinstance(expression, Load):
        return memory[expression.buffer][tuple(int(_value(i, symbols, memory)) for i in expression.index)]
    if expression.operation == "guard":
        condition, value, otherwise = expression.operands
        return _value(value if _value(condition, symbols, memory) else otherwise, symbols, memory)
    operands = tuple(_value(operand, symbols, memory) for operand in expression.operands)
    if expression.operation in INDEX_CHECKS:
        written, extent, axis = (int(operand) for operand in operands)
        relative = expression.operation == "relative_index" and written < 0
        index = written + extent if relative else written
        if not 0 <= index < extent:
            written = index - extent if index < 0 else index  # as the user wrote it
            raise IndexRangeError(f"index {written} is out of bounds for axis {axis} with size {extent}")
        return np.int64(index)
    return evaluate_operation(expression.operation, operands, expression.dtype)
