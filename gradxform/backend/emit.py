"""Loops -> LLVM text: one function per nest, and the kernel that calls them in order.

    define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena)

A nest takes each buffer it touches as a ``noalias`` pointer, so that LLVM need not prove what the schedule knows. It
returns whether an elementary function was given an argument outside the range of its fast form; the nest's careful
twin, which is exact everywhere, then runs over the same loops again. A status other than 0 is an index error.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.backend.module import Module
from gradxform.backend.nest_text import NestWriter, Variant
from gradxform.loopir.expression import Apply, Expression
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    For,
    Kernel,
    Let,
    Nest,
    Part,
    Statement,
    Store,
)

#: A nest with more calls of elementary functions than this calls them out of line.
INLINE_CALLS = 24


def elementary_calls(statements: Sequence[Statement]) -> int:
    """How many elementary functions the statements name."""
    total = 0

    def expression(part: Expression) -> None:
        nonlocal total
        stack, seen = [part], set()
        while stack:
            top = stack.pop()
            if isinstance(top, Apply) and id(top) not in seen:
                seen.add(id(top))
                total += top.operation in ELEMENTARY_OPERATIONS
                stack.extend(top.operands)

    for statement in statements:
        if isinstance(statement, (Let, Store, Accumulate)):
            expression(statement.value)
        elif isinstance(statement, (For, Part)):
            total += elementary_calls(statement.body)
    return total


def holds_part(statement: Statement) -> bool:
    """Whether a statement is, or holds, a part."""
    return isinstance(statement, Part) or (isinstance(statement, For) and any(map(holds_part, statement.body)))


def emit_nest(module: Module, number: int, nest: Nest) -> tuple[str, list[Buffer]]:
    """Write the nest's functions; returns the name of the one to call and the buffers it takes."""
    name = f"nest{number}"
    many = elementary_calls(nest.body) > INLINE_CALLS or any(holds_part(s) for s in nest.body)
    variant: Variant = "called" if many else "fast" if nest.repeatable else "careful"
    writer = NestWriter(module, name, nest, variant)
    text = writer.function()
    module.functions.append(text)
    if writer.guarded:
        twin = NestWriter(module, f"{name}.careful", nest, "careful")
        twin.twin = True
        module.functions.append(twin.function())
    pointers = [f"ptr {writer.pointers[b]}" for b in writer.buffers]
    arguments = ", ".join([*pointers, "ptr %status"] + (["i64 %chunk"] if nest.chunk is not None else []))
    lines = [f"%outside = call i1 @{name}({arguments})"]
    if writer.guarded:
        lines += ["br i1 %outside, label %again, label %done", "again:",
                  f"%ignored = call i1 @{name}.careful({arguments})", "br label %done", "done:"]
    loads = []
    for position, buffer in enumerate(writer.buffers):
        loads += [f"%p{position} = getelementptr ptr, ptr %context, i64 {position}",
                  f"{writer.pointers[buffer]} = load ptr, ptr %p{position}"]
    loads += [f"%p{len(writer.buffers)} = getelementptr ptr, ptr %context, i64 {len(writer.buffers)}",
              f"%status = load ptr, ptr %p{len(writer.buffers)}"]
    if nest.chunk is not None:
        body = "\n".join(["start:", *loads, *lines, "ret void"])
        module.functions.append(f"define internal void @{name}.chunk(ptr %context, i64 %chunk) nounwind {{\n{body}\n}}")
    elif writer.guarded:
        parameters = ", ".join([*pointers, "ptr %status"])
        body = "\n".join(["start:", *lines, "ret i1 false"])
        module.functions.append(f"define internal i1 @{name}.run({parameters}) nounwind {{\n{body}\n}}")
        name = f"{name}.run"
    return name, writer.buffers


def emit_kernel(kernel: Kernel) -> tuple[str, Module]:
    """The LLVM text of a kernel, and the module's record of what it imports and where indices are checked."""
    module = Module()
    lines = ["%status = alloca i64, align 8", "store i64 0, ptr %status"]
    for array_buffers, array in ((kernel.inputs, "inputs"), (kernel.outputs, "outputs")):
        for buffer in array_buffers:
            lines += [f"%{buffer.name}.slot = getelementptr ptr, ptr %{array}, i64 {buffer.number}",
                      f"%{buffer.name} = load ptr, ptr %{buffer.name}.slot"]
    for buffer in kernel.temporaries:
        if buffer.name in kernel.offsets:
            lines.append(f"%{buffer.name} = getelementptr i8, ptr %arena, i64 {kernel.offsets[buffer.name]}")
    for number, nest in enumerate(kernel.nests):
        name, buffers = emit_nest(module, number, nest)
        pointers = [f"%{b.name}" for b in buffers]
        if nest.chunk is None:
            arguments = ", ".join([*(f"ptr {p}" for p in pointers), "ptr %status"])
            lines.append(f"%r{number} = call i1 @{name}({arguments})")
            continue
        module.imports["gx.parallel"] = None
        module.declarations["declare void @gx.parallel(ptr, ptr, i64)"] = None
        lines.append(f"%context{number} = alloca [{len(pointers) + 1} x ptr]")
        for position, p in enumerate([*pointers, "%status"]):
            lines += [f"%c{number}.{position} = getelementptr ptr, ptr %context{number}, i64 {position}",
                      f"store ptr {p}, ptr %c{number}.{position}"]
        lines.append(f"call void @gx.parallel(ptr @{name}.chunk, ptr %context{number}, i64 {nest.chunks})")
    lines += ["%result = load i64, ptr %status", "ret i64 %result"]
    body = "\n".join(["start:", *lines])
    module.functions.append(
        f"define internal i64 @kernel(ptr noalias %inputs, ptr noalias %outputs, ptr noalias %arena) nounwind {{\n{body}\n}}")
    return module.text(), module


def imported_symbols(module: Module) -> tuple[str, ...]:
    """The symbols that the kernel's text imports: BLAS, C's allocator, the pool of threads."""
    return tuple(module.imports)
