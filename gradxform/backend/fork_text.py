"""Chunks within a serial nest as LLVM text: a function for one chunk, which the pool runs for each of them.

    for step in order: { parallel for c in 0 .. 8: { for i in c * 32 .. c * 32 + 32: ... } ; ... }
    ->  loop: { fill the context; call gx.parallel(@nest2.fork1.chunk, context, 8) ; ... }

The context is memory of the nest's function: addresses of buffers, and the values that the chunks read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradxform.backend.instructions import type_name
from gradxform.backend.liveness import free_symbols, touched
from gradxform.loopir.loops import Buffer, Fork, Kernel, Nest, Statement, bodies, with_bodies, with_nests

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter


def own_locals(kernel: Kernel) -> Kernel:
    """The kernel with the memory of its nests that only one fork touches given to that one: each chunk has its own."""
    return with_nests(kernel, [_settled(nest) if any(map(has_fork, nest.body)) else nest for nest in kernel.nests])


def has_fork(statement: Statement) -> bool:
    """Whether a statement is, or holds, a fork."""
    return isinstance(statement, Fork) or any(has_fork(inner) for body in bodies(statement) for inner in body)


def _settled(nest: Nest) -> Nest:
    outside: set[Buffer] = set()
    inside: dict[Buffer, int] = {}

    def look(statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Fork):
                for buffer in touched(statement.body):
                    inside[buffer] = inside.get(buffer, 0) + 1
            else:
                outside.update(touched((with_bodies(statement, [() for _ in bodies(statement)]),)))
                for body in bodies(statement):
                    look(body)

    look(nest.body)
    own = {buffer for buffer in nest.locals if inside.get(buffer) == 1 and buffer not in outside}

    def settle(statement: Statement) -> Statement:
        if isinstance(statement, Fork):
            return replace(statement, locals=tuple([buffer for buffer in touched(statement.body) if buffer in own]))
        return with_bodies(statement, [tuple(map(settle, body)) for body in bodies(statement)])

    return replace(nest, body=tuple(map(settle, nest.body)), locals=tuple([b for b in nest.locals if b not in own]))


def write_fork(writer: NestWriter, fork: Fork) -> None:
    """Write the function of a chunk, and run all chunks."""
    writer.counter += 1
    name = f"{writer.name}.fork{writer.counter}"
    chunk = writer.another(name, replace(writer.nest, body=fork.body, locals=fork.locals))
    chunk.buffers = [buffer for buffer in touched(fork.body) if buffer not in fork.locals]
    chunk.pointers = {buffer: f"%{buffer.name}" for buffer in (*chunk.buffers, *fork.locals)}
    chunk.depth = writer.depth
    symbols = list(free_symbols((fork,)))
    chunk.symbols = {fork.symbol: "%chunk", **{symbol: f"%arg.{symbol.name}" for symbol in symbols}}
    chunk.arguments = [*(f"{type_name(symbol.dtype)} %arg.{symbol.name}" for symbol in symbols), "i64 %chunk"]
    writer.module.functions.append(chunk.function())
    parameters = [*(f"ptr %{buffer.name}" for buffer in chunk.buffers), "ptr %status", *writer.handed_on, *chunk.arguments[:-1]]
    given = [*(writer.pointers[buffer] for buffer in chunk.buffers), "%status",
             *(parameter.split(" ", 1)[1] for parameter in writer.handed_on), *(writer.symbols[symbol] for symbol in symbols)]
    context = f"%{writer.block('context')}"
    writer.entry_lines.append(f"{context} = alloca [{len(given)} x i64], align 8")
    lines = ["start:"]
    for position, (parameter, value) in enumerate(zip(parameters, given, strict=True)):
        kind, own = parameter.split(" ", 1)
        writer.append(f"store {kind} {value}, ptr {writer.temporary(f'getelementptr i64, ptr {context}, i64 {position}')}")
        slot = f"%slot{position}"
        lines += [f"{slot} = getelementptr i64, ptr %context, i64 {position}", f"{own} = load {kind}, ptr {slot}"]
    lines += [f"%outside = call i1 @{name}({', '.join([*parameters, 'i64 %chunk'])})", "ret void"]
    writer.module.functions.append(
        f"define internal void @{name}.chunk(ptr %context, i64 %chunk) nounwind {{\n" + "\n".join(lines) + "\n}")
    writer.module.imports["gx.parallel"] = None
    writer.declare("declare void @gx.parallel(ptr, ptr, i64)")
    writer.append(f"call void @gx.parallel(ptr @{name}.chunk, ptr {context}, i64 {fork.chunks})")
