"""Loops -> LLVM text: one function per nest, and the kernel that calls them in order.

    define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena)

A nest takes each buffer it touches as a ``noalias`` pointer, so that LLVM need not prove what the schedule knows. It
returns whether an elementary function was given an argument outside the range of its fast form; the nest's careful
twin, which is exact everywhere, then runs over the same loops again. A status other than 0 is an index error.

Nests whose functions differ in names alone share one: layers of a network, steps of an unrolled iteration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradxform.backend.contract_text import shared_tiles
from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.backend.module import Module
from gradxform.backend.nest_text import ABORTED, NestWriter, Variant
from gradxform.loopir.expression import Apply, Expression
from gradxform.loopir.loops import Buffer, For, Fork, If, Kernel, Nest, Part, Statement, While, bodies, operands

if TYPE_CHECKING:
    from gradxform.backend.metering import Meter

# Names of values, of blocks where they are defined, and of metadata.
_LOCAL_NAME = re.compile(r"%([\w.]+)|^([\w.]+)(?=:$)|(!\d+)", re.MULTILINE)
#: LLVM regroups products only where it may also disregard the signs of zeros, which products have all the same.
_PRODUCT = re.compile(r"= (fmul|fdiv) (?:contract )?")

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
        for part in operands(statement):
            expression(part)
        total += sum(map(elementary_calls, bodies(statement)))
    return total


def holds(statement: Statement, kinds: tuple[type, ...]) -> bool:
    """Whether a statement is, or holds, one of ``kinds``."""
    return isinstance(statement, kinds) or any(holds(inner, kinds) for body in bodies(statement) for inner in body)


class WrittenNests:
    """The functions of nests, to be found by what they do."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._firsts: dict[tuple[int, ...], tuple[str, Sequence[str]] | None] = {}
        self._names: dict[str, str] = {}

    def add(self, name: str, texts: Sequence[str]) -> str:
        """The name of the first nest whose functions are like these ``texts`` of ``name``."""
        # Those of a number of lines that no other has need no comparison.
        size = tuple([text.count("\n") for text in texts])
        if size not in self._firsts:
            self._firsts[size] = (name, texts)
            return name
        first = self._firsts[size]
        if first is not None:
            self._firsts[size] = None
            self._names[self._without_names(*first)] = first[0]
        return self._names.setdefault(self._without_names(name, texts), name)

    def _without_names(self, name: str, texts: Sequence[str]) -> str:
        """The texts with their names replaced by numbers, in order of appearance."""
        numbers: dict[str, str] = {}

        def number(match: re.Match[str]) -> str:
            metadata = match[3]
            if metadata is not None:  # a loop has a number of its own
                return self._module.metadata[metadata].replace(metadata, "!")
            return numbers.setdefault(match[1] or match[2], f"%{len(numbers)}")

        return _LOCAL_NAME.sub(number, "\n".join([text.replace(f"@{name}", "@", 1) for text in texts]))


def emit_nest(
    module: Module, number: int, nest: Nest, nests: WrittenNests, meter: Meter | None = None
) -> tuple[str, list[Buffer], bool]:
    """Write the nest's functions, if there are none like them; returns the name of the one to call, the buffers it takes
    and whether it may abort."""
    new_writer = NestWriter if meter is None else meter.writer
    name = f"nest{number}"
    # A nest that is not run twice has no fast form; vector forms of whole-domain functions serve its inner loops.
    apart = any(holds(s, (Part, Fork, While, If)) for s in nest.body) or (
        not nest.repeatable and any(holds(s, (For,)) for s in nest.body))
    many = elementary_calls(nest.body) > INLINE_CALLS or apart
    variant: Variant = "called" if many else "fast" if nest.repeatable else "careful"
    others = len(module.functions)
    writer = new_writer(module, name, nest, variant)
    texts = [writer.function()]
    if writer.guarded:
        twin = new_writer(module, f"{name}.careful", nest, "careful")
        twin.twin = True
        texts.append(twin.function())
    # Parts of a nest are functions that belong to it alone.
    found = nests.add(name, texts) if len(module.functions) == others else name
    if found != name:
        return f"{found}.run" if writer.guarded and nest.chunk is None else found, writer.buffers, writer.aborts
    module.functions += texts
    pointers = [f"ptr {writer.pointers[b]}" for b in writer.buffers]
    given = [*pointers, "ptr %status", *writer.handed_on]
    arguments = ", ".join(given + (["i64 %chunk"] if nest.chunk is not None else []))
    lines = [f"%outside = call i1 @{name}({arguments})"]
    if writer.guarded:
        lines += ["br i1 %outside, label %again, label %done", "again:", *([] if meter is None else meter.again),
                  f"%ignored = call i1 @{name}.careful({arguments})", "br label %done", "done:"]
    if nest.chunk is not None:
        loads = []
        for position, pointer in enumerate(given):
            loads += [f"%p{position} = getelementptr ptr, ptr %context, i64 {position}",
                      f"{pointer.removeprefix('ptr ')} = load ptr, ptr %p{position}"]
        body = "\n".join(["start:", *loads, *(lines if meter is None else meter.chunk(lines)), "ret void"])
        module.functions.append(f"define internal void @{name}.chunk(ptr %context, i64 %chunk) nounwind {{\n{body}\n}}")
    elif writer.guarded:
        body = "\n".join(["start:", *lines, "ret i1 false"])
        module.functions.append(f"define internal i1 @{name}.run({', '.join(given)}) nounwind {{\n{body}\n}}")
        name = f"{name}.run"
    return name, writer.buffers, writer.aborts


def emit_kernel(kernel: Kernel, meter: Meter | None = None, fast_math: bool = False) -> tuple[str, Module]:
    """The LLVM text of a kernel, and the module's record of what it imports and where indices are checked.

    A ``meter`` adds clocks and counters. With ``fast_math`` products and quotients of nests are regrouped, and divisors turned
    into factors, as LLVM likes. Elementary functions are not touched, nor are sums: where they cancel, nothing would be left
    of the digits.
    """
    module = Module(fast_math=fast_math, shared_tiles=shared_tiles(nest for nest in kernel.nests if nest.like is None))
    if meter is not None:
        meter.declare(module)
    lines = ["%status = alloca i64, align 8", "store i64 0, ptr %status"]
    may_abort = False
    nests = WrittenNests(module)
    for array_buffers, array in ((kernel.inputs, "inputs"), (kernel.outputs, "outputs")):
        for buffer in array_buffers:
            lines += [f"%{buffer.name}.slot = getelementptr ptr, ptr %{array}, i64 {buffer.number}",
                      f"%{buffer.name} = load ptr, ptr %{buffer.name}.slot"]
    tapes = [buffer for buffer in kernel.temporaries if buffer.space == "tape"]
    for buffer in tapes:
        lines += [f"%{buffer.name} = alloca [2 x i64], align 16",
                  f"store [2 x i64] zeroinitializer, ptr %{buffer.name}"]
    for buffer in kernel.temporaries:
        if buffer.name in kernel.offsets:
            lines.append(f"%{buffer.name} = getelementptr i8, ptr %arena, i64 {kernel.offsets[buffer.name]}")
    emitted: list[tuple[str, Sequence[Buffer], bool]] = []
    for number, nest in enumerate(kernel.nests):
        if nest.like is None:
            emitted.append(emit_nest(module, number, nest, nests, meter))
        else:
            found, places, aborts = emitted[nest.like.nest]
            emitted.append((found, [nest.like.buffers.get(b, b) for b in places], aborts))
        name, buffers, aborts = emitted[number]
        may_abort = may_abort or aborts
        before, after, records = ([], [], []) if meter is None else meter.around(number)
        pointers = [*[f"%{b.name}" for b in buffers], "%status", *records]
        lines += before
        if nest.chunk is None:
            lines.append(f"%r{number} = call i1 @{name}({', '.join(f'ptr {p}' for p in pointers)})")
            lines += after
            if aborts:
                lines += [f"%s{number} = load atomic i64, ptr %status monotonic, align 8",
                          f"%a{number} = icmp eq i64 %s{number}, {ABORTED}",
                          f"br i1 %a{number}, label %finish, label %go.on{number}", f"go.on{number}:"]
            continue
        module.imports["gx.parallel"] = None
        module.declarations["declare void @gx.parallel(ptr, ptr, i64)"] = None
        lines.append(f"%context{number} = alloca [{len(pointers)} x ptr]")
        for position, p in enumerate(pointers):
            lines += [f"%c{number}.{position} = getelementptr ptr, ptr %context{number}, i64 {position}",
                      f"store ptr {p}, ptr %c{number}.{position}"]
        lines.append(f"call void @gx.parallel(ptr @{name}.chunk, ptr %context{number}, i64 {nest.chunks})")
        lines += after
    if fast_math:
        module.functions[:] = [_PRODUCT.sub(r"= \1 reassoc nsz arcp contract ", text) for text in module.functions]
    if may_abort:
        lines += ["br label %finish", "finish:"]
    for buffer in tapes:
        module.imports["gx.c.free"] = None
        module.declarations["declare void @gx.c.free(ptr)"] = None
        lines += [f"%{buffer.name}.data = load ptr, ptr %{buffer.name}",
                  f"call void @gx.c.free(ptr %{buffer.name}.data)"]
    lines += ["%result = load i64, ptr %status", "ret i64 %result"]
    body = "\n".join(["start:", *lines])
    module.functions.append(
        f"define internal i64 @kernel(ptr noalias %inputs, ptr noalias %outputs, ptr noalias %arena) nounwind {{\n{body}\n}}")
    return module.text(), module


def imported_symbols(module: Module) -> tuple[str, ...]:
    """The symbols that the kernel's text imports: products, C's allocator, the pool of threads."""
    return tuple(module.imports)
