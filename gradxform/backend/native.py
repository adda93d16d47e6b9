"""Native routines in loops: how a `Native` statement becomes LLVM text, and where the text of each routine stands.

To add a routine to a family, give its file a function that writes it (see `routine_text`) and name that in the file's
``ROUTINES``. To add a family, add its file to ``_FAMILIES``. A primitive names the routine in its lowering rule::

    Native(Routine("lapack.cholesky", ("float64", n), reference, failures=("Matrix is not positive definite",),
                   work=n ** 3 / 100, threads=n > 64), batch=shape[:-2])

The routine is called once per element of the batch, in chunks on the pool of threads if the work is worth it and the routine
does not use threads by itself. What it returns beside 0 is noted in the kernel's status, as an index out of range is;
the kernel runs to its end, calls Python no more, and the entry point raises LinAlgError with that message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING

from gradxform.backend.module import NOTE_CALL
from gradxform.backend.routine_text import RoutineText
from gradxform.errors import CompileError
from gradxform.loopir.loops import WORKSPACE, Native, Region
from gradxform.loopir.routine import Routine

if TYPE_CHECKING:
    from gradxform.backend.module import Module
    from gradxform.backend.nest_text import NestWriter


#: The modules with the routines of each family; who needs one family does not wait for the others.
_FAMILIES = {"lapack": "lapack_text", "sort": "sort_routines", "fft": "fourier_text", "fail": "fail_text"}


@cache
def _family(name: str) -> Mapping[str, Callable[..., RoutineText]]:
    """The routines of a family by name; each is called with the routine's parameters."""
    if name not in _FAMILIES:
        return {}
    routines: Mapping[str, Callable[..., RoutineText]] = import_module(f"gradxform.backend.{_FAMILIES[name]}").ROUTINES
    return routines


def _routine(module: Module, routine: Routine) -> str:
    """The name of a routine's function, which is written if it is not there."""
    key = str(routine)
    name = module.routines.get(key)
    if name is None:
        family, _, function = routine.name.partition(".")
        writer = _family(family).get(function)
        if writer is None:
            raise CompileError(f"no text is known of the native routine {routine}")
        name = module.routines[key] = f"gx.native.{len(module.routines)}"
        text = writer(*routine.parameters)
        for line in (*text.lines, text.function(name)):
            _add(module, line)
    return name


def _add(module: Module, line: str) -> None:
    module.declarations[line] = None
    if line.startswith("declare "):
        symbol = line.split("@", 1)[1].split("(", 1)[0]
        if not symbol.startswith("llvm."):
            module.imports[symbol] = None


def write_native(writer: NestWriter, statement: Native) -> None:
    """The calls of a routine."""
    count = prod(statement.batch)
    if count == 0 or (statement.results and not any(prod(region.shape) for region in statement.results)):
        return
    module = writer.module
    name = _routine(module, statement.routine)
    regions = (*statement.arguments, *statement.results)
    addresses = [_address(writer, region) for region in regions]
    workspace = writer.pointers[WORKSPACE] if statement.workspace else "null"
    sites = [module.failure(message) for message in statement.routine.failures]
    if sites:
        writer.take_note()
    context = f"%{writer.block('context')}"
    writer.entry_lines.append(f"{context} = alloca [{len(regions) + 2} x ptr], align 8")
    for position, address in enumerate([*addresses, workspace, "%status"]):
        slot = writer.temporary(f"getelementptr ptr, ptr {context}, i64 {position}")
        writer.append(f"store ptr {address}, ptr {slot}")
    chunk = ".".join([name, f"times{count}", f"in{statement.chunks}", *map(str, sites)])
    sizes = [prod(region.shape[len(statement.batch):]) * region.buffer.dtype.itemsize for region in regions]
    writer.declare(_chunk_text(chunk, name, statement, sizes, sites))
    if statement.chunks > 1:
        module.imports["gx.parallel"] = None
        writer.declare("declare void @gx.parallel(ptr, ptr, i64)")
        writer.append(f"call void @gx.parallel(ptr @{chunk}, ptr {context}, i64 {statement.chunks})")
    else:
        writer.append(f"call void @{chunk}(ptr {context}, i64 0)")


def _address(writer: NestWriter, region: Region) -> str:
    offset = writer.value(region.offset, {})
    if offset == "0":
        return writer.base(region.buffer)
    size = region.buffer.dtype.itemsize
    scaled = writer.temporary(f"mul nsw i64 {offset}, {size}")
    return writer.temporary(f"getelementptr i8, ptr {writer.base(region.buffer)}, i64 {scaled}")


def _chunk_text(name: str, routine: str, statement: Native, sizes: list[int], sites: list[int]) -> str:
    """The function that runs a routine on the elements of one chunk."""
    count, chunks = prod(statement.batch), statement.chunks
    lines = ["start:"]
    for position in range(len(sizes) + 2):
        lines += [f"%p{position} = getelementptr ptr, ptr %context, i64 {position}",
                  f"%a{position} = load ptr, ptr %p{position}"]
    workspace, status = f"%a{len(sizes)}", f"%a{len(sizes) + 1}"
    # Parts differ by one element at most.
    lines += [f"%from = mul i64 %chunk, {count}", f"%begin = sdiv i64 %from, {chunks}",
              f"%to = add i64 %from, {count}", f"%end = sdiv i64 %to, {chunks}",
              f"%used = mul i64 %chunk, {statement.workspace // chunks}",
              f"%own = getelementptr i8, ptr {workspace}, i64 %used" if statement.workspace else "",
              "br label %loop", "loop:", "%i = phi i64 [%begin, %start], [%next, %on]"]
    pointers = []
    for position, size in enumerate(sizes):
        lines += [f"%o{position} = mul nsw i64 %i, {size}",
                  f"%e{position} = getelementptr i8, ptr %a{position}, i64 %o{position}"]
        pointers.append(f"ptr %e{position}")
    own = "%own" if statement.workspace else "null"
    lines.append(f"%code = call i64 @{routine}({', '.join([*pointers, f'ptr {own}'])})")
    if sites:
        cases = " ".join(f"i64 {code}, label %failure{code}" for code in range(1, len(sites) + 1))
        lines.append(f"switch i64 %code, label %on [{cases}]")
        for code, site in enumerate(sites, 1):
            noted = f"call {NOTE_CALL}void @gx.note(ptr {status}, i64 0, i64 {site << 48})"
            lines += [f"failure{code}:", noted, "br label %on"]
    else:
        lines.append("br label %on")
    lines += ["on:", "%next = add nsw i64 %i, 1", "%more = icmp slt i64 %next, %end",
              "br i1 %more, label %loop, label %done", "done:", "ret void"]
    body = "\n".join(line for line in lines if line)
    return f"define internal void @{name}(ptr %context, i64 %chunk) nounwind {{\n{body}\n}}"
