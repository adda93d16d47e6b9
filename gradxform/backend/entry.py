"""The native entry point: a CPython vectorcall function, as LLVM text, around a kernel in the same module.

::

    ptr @entry(ptr %callable, ptr %args, i64 %nargsf, ptr %kwnames)     a vectorcallfunc
    @entry.next = global {ptr, i64}                                     its cell: next of the chain, calls under way
    define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena)  to be given beside this text

``inputs`` points to the data pointers of the leaves (`signature.input_leaves`), then of the captured constants;
``outputs`` to those of `signature.output_leaves`. The kernel returns 0, or a status that becomes an exception.

Arguments that do not fit the specification are passed on unchanged to the function in the cell; the last member of a
chain, whose cell is null, calls the method ``call_slow`` of the callable. The entry point runs with the GIL held, in
bounded stack, and counts in its cell the calls that are inside it, so that its code is not freed under them
(`callable.NativeCallable`).

The text has no addresses in it. Whatever it needs it imports by names ``gx.…``, and `entry_imports` maps them to
addresses of this process. Whoever links them must keep alive, as long as the code: the `EntrySpec` (it owns the
dictionary keys and keyword names), the static objects, the captured arrays and the raiser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradxform.backend import arena, numpy_abi, output_memory, python_abi
from gradxform.backend.entry_arguments import (
    MISMATCH,
    MISMATCH_WITH_ERROR,
    ArgumentEmitter,
    capture_pointers,
    pin_count,
)
from gradxform.backend.entry_results import (
    FAIL,
    ResultEmitter,
    is_large,
    object_count,
)
from gradxform.backend.entry_text import UNLIKELY, EntryWriter
from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    EntrySpec,
    NumpyScalarLeaf,
    OutputLeaf,
    StaticLeaf,
    output_leaves,
    walk,
)
from gradxform.errors import ArgumentError

ALLOCATOR_TYPE = "ptr (ptr, i64)"

ENTRY_SYMBOL = "entry"
CELL_SYMBOL = "entry.next"
KERNEL_SYMBOL = "kernel"

STACK_ARENA_BYTES = 16 * 1024
ARENA_ALIGNMENT = arena.ALIGNMENT

_SIGNATURE = "ptr %callable, ptr %args, i64 %nargsf, ptr %kwnames"
_ACTIVE = f"getelementptr inbounds (i8, ptr @{CELL_SYMBOL}, i64 8)"


def _emit_arena(writer: EntryWriter, size: int) -> tuple[str, str]:
    """The arena and the block to free after the kernel, empty where it is on the stack."""
    if size == 0:
        return "null", ""
    if size <= STACK_ARENA_BYTES:
        return writer.slot(f"[{size} x i8]", ARENA_ALIGNMENT), ""
    writer.object(arena.CELL_SYMBOL)
    for function in ("PyMem_RawMalloc", "PyMem_RawFree", *(("madvise",) if arena.ADVISES else ())):
        writer.function(function)
    writer.helper("arena", arena.TEXT)
    block = writer.value(f"call ptr @gx.arena.take(i64 {size})")
    got, lacking = writer.fresh_label("entry.memory"), writer.fresh_label("entry.no.memory")
    exhausted = writer.equal(f"ptr {block}", "null")
    writer.line(f"br i1 {exhausted}, label %{lacking}, label %{got}, {UNLIKELY}")
    writer.label(lacking)
    writer.call("PyErr_NoMemory")
    writer.line(f"br label %{FAIL}")
    writer.label(got)
    # Rounding up by an offset, not through an integer, keeps the pointer's provenance.
    room = writer.field(block, 8)
    address = writer.value(f"ptrtoint ptr {room} to i64")
    offset = writer.value(f"and i64 {writer.value(f'sub i64 0, {address}')}, {ARENA_ALIGNMENT - 1}")
    return writer.value(f"getelementptr i8, ptr {room}, i64 {offset}"), block


def _pointer_array(writer: EntryWriter, pointers: Sequence[str]) -> str:
    if not pointers:
        return "null"
    array = writer.slot(f"[{len(pointers)} x ptr]", 8)
    for position, pointer in enumerate(pointers):
        writer.line(f"store ptr {pointer}, ptr {writer.field(array, 8 * position)}")
    return array


def _emit_body(writer: EntryWriter, spec: EntrySpec) -> None:
    pins, objects = pin_count(spec), object_count(spec)
    pin_slots = writer.slot(f"[{pins} x ptr]", 8) if pins else "null"
    object_slots = writer.slot(f"[{objects} x ptr]", 8) if objects else "null"
    writer.clear(pin_slots, pins)
    writer.clear(object_slots, objects)
    def count_call(step: int) -> None:
        inside = writer.value(f"load i64, ptr {_ACTIVE}")
        writer.line(f"store i64 {writer.value(f'add i64 {inside}, {step}')}, ptr {_ACTIVE}")

    count_call(1)
    arguments = ArgumentEmitter(writer, spec, pin_slots)
    arguments.emit()
    results = ResultEmitter(writer, spec, object_slots, arguments.dict_keys)
    results.allocate()
    inputs = _pointer_array(writer, [*arguments.pointers, *capture_pointers(writer, spec)])
    outputs = _pointer_array(writer, results.pointers)
    memory, block = _emit_arena(writer, spec.arena_bytes)
    thread = writer.call("PyEval_SaveThread") if spec.release_gil else ""
    status = writer.value(f"call i64 @{KERNEL_SYMBOL}(ptr {inputs}, ptr {outputs}, ptr {memory})")
    if thread:
        writer.call("PyEval_RestoreThread", f"ptr {thread}")
    if block:
        writer.line(f"call void @gx.arena.give(ptr {block})")
    writer.require(writer.equal(f"i64 {status}", "0"), "entry.error")
    result = results.build()
    writer.release(pin_slots, pins)
    count_call(-1)
    writer.line(f"ret ptr {result}")

    writer.label("entry.error")
    # A kernel that was interrupted, or found no memory, leaves its exception with the thread.
    writer.require(writer.equal(f"ptr {writer.call('PyErr_Occurred')}", "null"), FAIL)
    # Should the raiser return, CPython complains of a null result without an error.
    writer.helper("format.status", '@gx.format.status = private constant [2 x i8] c"L\\00"')
    raised = writer.call(
        "PyObject_CallFunction", f"ptr {writer.object('raiser')}, ptr @gx.format.status, i64 {status}"
    )
    writer.call("Py_DecRef", f"ptr {raised}")
    writer.line(f"br label %{FAIL}")
    writer.label(FAIL)
    writer.release(object_slots, objects)
    writer.release(pin_slots, pins)
    count_call(-1)
    writer.line("ret ptr null")

    writer.label(MISMATCH_WITH_ERROR)
    writer.call("PyErr_Clear")
    writer.line(f"br label %{MISMATCH}")
    writer.label(MISMATCH)
    # Giving back references may run Python code that unlinks; the cell is read after it.
    writer.release(pin_slots, pins)
    following = writer.value(f"load ptr, ptr @{CELL_SYMBOL}")
    writer.line(f"br i1 {writer.equal(f'ptr {following}', 'null')}, label %entry.slow, label %entry.chain")
    writer.label("entry.chain")
    count_call(-1)
    result = writer.value(f"musttail call ptr {following}({_SIGNATURE})")
    writer.line(f"ret ptr {result}")
    writer.label("entry.slow")
    method = writer.call("PyObject_GetAttr", f"ptr %callable, ptr {writer.object('call_slow')}")
    writer.line(f"br i1 {writer.equal(f'ptr {method}', 'null')}, label %entry.slow.end, label %entry.slow.call")
    writer.label("entry.slow.call")
    count = writer.value(f"and i64 %nargsf, {python_abi.ARGUMENTS_OFFSET_FLAG - 1}")
    answer = writer.call("PyObject_Vectorcall", f"ptr {method}, ptr %args, i64 {count}, ptr %kwnames")
    writer.call("Py_DecRef", f"ptr {method}")
    writer.line("br label %entry.slow.end")
    writer.label("entry.slow.end")
    result = writer.value(f"phi ptr [null, %entry.slow], [{answer}, %entry.slow.call]")
    count_call(-1)
    writer.line(f"ret ptr {result}")


def _declarations(writer: EntryWriter) -> str:
    lines = [f"@gx.{name} = external global i8" for name in writer.objects]
    for name in writer.functions:
        llvm_type = ALLOCATOR_TYPE if name.startswith("allocate.") else python_abi.FUNCTIONS[name]
        result, parameters = llvm_type.split(" ", 1)
        lines.append(f"declare {result} @gx.{name}{parameters} nounwind nonlazybind")
    return "\n".join(lines)


def emit_entry(spec: EntrySpec, *, inline_kernel: bool = False) -> str:
    """The LLVM text of `@entry` and its cell for a specification; equal specifications give equal texts.

    The entry point is marked ``optnone``: its code is straight and cold parts prevail, so that optimising it makes a
    call some 2 to 4 ns faster and compilation of a small function twice as slow. `inline_kernel` leaves the mark out,
    whereupon LLVM inlines the kernel and dissolves the pointer arrays.

    The text calls ``@kernel`` and does not define it. All its other names start with ``gx.``; it has no attribute
    groups, no numbered metadata and no intrinsics, so it can be joined with any text that defines the kernel.
    """
    writer = EntryWriter()
    _emit_body(writer, spec)
    body = "\n".join([*writer.slots, *writer.lines])
    attributes = "nounwind" if inline_kernel else "nounwind noinline optnone"
    return "\n".join(
        (
            f"@{CELL_SYMBOL} = global {{ptr, i64}} zeroinitializer, align 16",
            _declarations(writer),
            *writer.helpers.values(),
            f"define ptr @{ENTRY_SYMBOL}({_SIGNATURE}) {attributes} {{\nstart:\n{body}\n}}\n",
        )
    )


def entry_imports(
    spec: EntrySpec, static_objects: Mapping[int, object], captures: Sequence[np.ndarray], raiser: object
) -> dict[str, int]:
    """The addresses in this process of all that an entry point imports, by symbol.

    Args:
        spec: the specification that the text was emitted for, or one that equals it.
        static_objects: the object of each `StaticLeaf` key.
        captures: the constant arrays, C-contiguous and aligned, as many as `spec.capture_count`.
        raiser: called with the kernel's status when it is not 0; it must raise.

    Raises:
        UnsupportedRuntimeError: this Python or NumPy is not laid out as emitted code expects.
        ArgumentError: a constant array is missing, superfluous or not contiguous.
    """
    numpy_abi.verify_numpy_layout()
    addresses = {f"gx.{arena.CELL_SYMBOL}": arena.cell_address()}
    addresses |= {
        f"gx.{name}": (numpy_abi if name in numpy_abi.FUNCTION_INDICES else python_abi).function_address(name)
        for name in python_abi.FUNCTIONS if name != output_memory.FUNCTION and (name != "madvise" or arena.ADVISES)
    }
    if any(is_large(leaf.dtype, leaf.shape) for leaf in output_leaves(spec)):
        addresses[f"gx.{output_memory.FUNCTION}"] = output_memory.new_array_address()
    objects: dict[str, object] = {
        **python_abi.OBJECTS,
        **{"type.ndarray": np.ndarray, "numpy.False": np.False_, "numpy.True": np.True_, "raiser": raiser},
    }
    keys = 0
    for root in (*spec.input_nodes, spec.outputs):
        for node in walk(root):
            match node:
                case ArrayLeaf(dtype) | NumpyScalarLeaf(dtype) | OutputLeaf(dtype):
                    objects[f"dtype.{dtype.name}"] = dtype
                    objects[f"scalar.{dtype.name}"] = dtype.type
                    addresses[f"gx.allocate.{dtype.name}"] = numpy_abi.scalar_allocator_address(dtype)
                case StaticLeaf(key):
                    objects[f"static.{key}"] = static_objects[key]
                case DictNode(names):
                    for name in names:
                        objects[f"key.{keys}"] = name
                        keys += 1
    objects.update((f"keyword.{position}", keyword) for position, (keyword, _) in enumerate(spec.keywords))
    addresses.update((f"gx.{name}", id(value)) for name, value in objects.items())
    if len(captures) != spec.capture_count:
        raise ArgumentError(f"the entry point captures {spec.capture_count} arrays, got {len(captures)}")
    for position, capture in enumerate(captures):
        if not (capture.flags.c_contiguous and capture.flags.aligned and capture.dtype.isnative):
            raise ArgumentError(
                f"captured array {position} ({capture.dtype}{capture.shape}) is not C-contiguous, aligned and native"
            )
        addresses[f"gx.capture.{position}"] = capture.ctypes.data
    return addresses


def fingerprint() -> str:
    """What of this process the emitted text depends on beside the specification; it belongs into the key of cached
    code."""
    return f"{python_abi.fingerprint()} {numpy_abi.fingerprint()}"
