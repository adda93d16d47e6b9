"""The memory of large results: blocks of arrays that are gone are kept for the next ones.

The operating system hands out memory in pages that it must clear, one fault each; for a large array that takes longer
than many a loop that fills it. So large results get their memory from an allocator of ours, by the interface that NumPy
has for this (NEP 49). It keeps some of the blocks that NumPy gives back, aligns them to huge pages, and asks for these.

The allocator is native code and stays for as long as the process lives: NumPy calls it whenever such an array dies.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

from gradxform.backend import disk_cache, memory_cache, numpy_abi, python_abi
from gradxform.backend.compile import Loaded, Tier, codegen_identity, compile_text, load

#: Results of so many bytes get such memory. C libraries give blocks of this size back as soon as they are free.
LARGE_BYTES = 128 << 10
#: Blocks kept, and their bytes altogether.
SLOTS = 64
KEPT_BYTES = 256 << 20
PAGE = 4 << 10
HUGE_PAGE = 2 << 20
#: Arrays begin at different places of their pages, for a cache holds few lines of one place.
COLOURS = 16
HEADER = 64
#: The name of the function that emitted code calls in place of PyArray_NewFromDescr.
FUNCTION = "new_large_array"

MADV_HUGEPAGE = 14
_LIBC = ("malloc", "free", "memset", "memcpy")


def text(*, advise: bool) -> str:
    """The allocator. In front of a block's data stand the address that the C library gave and the room there is."""
    huge = (f"  %code = call i32 @gx.c.madvise(ptr %start, i64 %span, i32 {MADV_HUGEPAGE})\n" if advise else "")
    declared = "declare i32 @gx.c.madvise(ptr, i64, i32)\n" if advise else ""
    return f"""{declared}declare ptr @gx.c.malloc(i64)
declare void @gx.c.free(ptr)
declare ptr @gx.c.memset(ptr, i32, i64)
declare ptr @gx.c.memcpy(ptr, ptr, i64)
declare ptr @gx.PyDataMem_SetHandler(ptr)
declare ptr @gx.PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare void @gx.Py_DecRef(ptr)
@gx.handler = external global i8
@gx.slots = internal global [{SLOTS} x ptr] zeroinitializer
; About the room of the block in each slot: what is in a slot may change before it is taken.
@gx.rooms = internal global [{SLOTS} x i64] zeroinitializer
@gx.kept = internal global i64 0
@gx.turn = internal global i64 0
@gx.made = internal global i64 0

define internal ptr @gx.make(i64 %size) {{
  %big = icmp uge i64 %size, {HUGE_PAGE}
  %alignment = select i1 %big, i64 {HUGE_PAGE}, i64 {PAGE}
  %reserve = add i64 %alignment, {PAGE + HEADER}
  %bytes = add i64 %size, %reserve
  %raw = call ptr @gx.c.malloc(i64 %bytes)
  %none = icmp eq ptr %raw, null
  br i1 %none, label %out, label %mark
mark:
  %address = ptrtoint ptr %raw to i64
  %least = add i64 %address, {HEADER - 1}
  %beyond = add i64 %least, %alignment
  %mask = sub i64 0, %alignment
  %aligned = and i64 %beyond, %mask
  %turn = atomicrmw add ptr @gx.made, i64 1 monotonic
  %colour = and i64 %turn, {COLOURS - 1}
  %shift = mul i64 %colour, {PAGE // COLOURS}
  %place = add i64 %aligned, %shift
  %offset = sub i64 %place, %address
  %data = getelementptr i8, ptr %raw, i64 %offset
  %home = getelementptr i8, ptr %data, i64 {-HEADER}
  store ptr %raw, ptr %home
  %room = getelementptr i8, ptr %data, i64 {8 - HEADER}
  store i64 %size, ptr %room
  br i1 %big, label %advise, label %done
advise:
  %aligned.offset = sub i64 %aligned, %address
  %start = getelementptr i8, ptr %raw, i64 %aligned.offset
  %span = add i64 %size, %shift
{huge}  br label %done
done:
  ret ptr %data
out:
  ret ptr null
}}

define internal i64 @gx.room(ptr %data) {{
  %room = getelementptr i8, ptr %data, i64 {8 - HEADER}
  %size = load i64, ptr %room
  ret i64 %size
}}

define internal void @gx.drop(ptr %data) {{
  %home = getelementptr i8, ptr %data, i64 {-HEADER}
  %raw = load ptr, ptr %home
  call void @gx.c.free(ptr %raw)
  ret void
}}

define internal void @gx.forget(ptr %data) {{
  %none = icmp eq ptr %data, null
  br i1 %none, label %out, label %go
go:
  %size = call i64 @gx.room(ptr %data)
  %before = atomicrmw sub ptr @gx.kept, i64 %size acq_rel
  call void @gx.drop(ptr %data)
  br label %out
out:
  ret void
}}

define internal i1 @gx.suits(i64 %room, i64 %size) {{
  %fits = icmp uge i64 %room, %size
  %eighth = lshr i64 %room, 3
  %enough = sub i64 %room, %eighth
  %close = icmp ule i64 %enough, %size
  %good = and i1 %fits, %close
  ret i1 %good
}}

define internal ptr @gx.take(i64 %size) {{
start:
  br label %loop
loop:
  %i = phi i64 [0, %start], [%next, %on]
  %about = getelementptr [{SLOTS} x i64], ptr @gx.rooms, i64 0, i64 %i
  %likely.room = load atomic i64, ptr %about monotonic, align 8
  %likely = call i1 @gx.suits(i64 %likely.room, i64 %size)
  br i1 %likely, label %try, label %on
try:
  %slot = getelementptr [{SLOTS} x ptr], ptr @gx.slots, i64 0, i64 %i
  %block = atomicrmw xchg ptr %slot, ptr null acq_rel
  %none = icmp eq ptr %block, null
  br i1 %none, label %on, label %look
look:
  %room = call i64 @gx.room(ptr %block)
  %good = call i1 @gx.suits(i64 %room, i64 %size)
  br i1 %good, label %use, label %back
use:
  %before = atomicrmw sub ptr @gx.kept, i64 %room acq_rel
  ret ptr %block
back:
  %other = atomicrmw xchg ptr %slot, ptr %block acq_rel
  call void @gx.forget(ptr %other)
  br label %on
on:
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {SLOTS}
  br i1 %more, label %loop, label %make
make:
  %new = call ptr @gx.make(i64 %size)
  ret ptr %new
}}

define internal void @gx.evict() {{
  %turn = atomicrmw add ptr @gx.turn, i64 1 acq_rel
  %i = urem i64 %turn, {SLOTS}
  %slot = getelementptr [{SLOTS} x ptr], ptr @gx.slots, i64 0, i64 %i
  %old = atomicrmw xchg ptr %slot, ptr null acq_rel
  call void @gx.forget(ptr %old)
  ret void
}}

define internal void @gx.give(ptr %block) {{
start:
  %size = call i64 @gx.room(ptr %block)
  %vast = icmp ugt i64 %size, {KEPT_BYTES}
  br i1 %vast, label %drop, label %count
drop:
  call void @gx.drop(ptr %block)
  ret void
count:
  %before = atomicrmw add ptr @gx.kept, i64 %size acq_rel
  br label %shrink
shrink:
  %tries = phi i64 [0, %count], [%tried, %evict]
  %kept = load atomic i64, ptr @gx.kept acquire, align 8
  %over = icmp ugt i64 %kept, {KEPT_BYTES}
  %patient = icmp ult i64 %tries, {SLOTS}
  %again = and i1 %over, %patient
  br i1 %again, label %evict, label %loop
evict:
  call void @gx.evict()
  %tried = add i64 %tries, 1
  br label %shrink
loop:
  %i = phi i64 [0, %shrink], [%next, %on]
  %slot = getelementptr [{SLOTS} x ptr], ptr @gx.slots, i64 0, i64 %i
  %pair = cmpxchg ptr %slot, ptr null, ptr %block acq_rel acquire
  %put = extractvalue {{ptr, i1}} %pair, 1
  br i1 %put, label %tell, label %on
tell:
  %about = getelementptr [{SLOTS} x i64], ptr @gx.rooms, i64 0, i64 %i
  store atomic i64 %size, ptr %about monotonic, align 8
  ret void
on:
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {SLOTS}
  br i1 %more, label %loop, label %replace
replace:
  %turn = atomicrmw add ptr @gx.turn, i64 1 acq_rel
  %j = urem i64 %turn, {SLOTS}
  %chosen = getelementptr [{SLOTS} x ptr], ptr @gx.slots, i64 0, i64 %j
  %old = atomicrmw xchg ptr %chosen, ptr %block acq_rel
  %about.chosen = getelementptr [{SLOTS} x i64], ptr @gx.rooms, i64 0, i64 %j
  store atomic i64 %size, ptr %about.chosen monotonic, align 8
  call void @gx.forget(ptr %old)
  ret void
}}

define ptr @gx.allocate(ptr %context, i64 %size) {{
  %block = call ptr @gx.take(i64 %size)
  ret ptr %block
}}

define ptr @gx.allocate.zeros(ptr %context, i64 %count, i64 %width) {{
  %size = mul i64 %count, %width
  %block = call ptr @gx.take(i64 %size)
  %none = icmp eq ptr %block, null
  br i1 %none, label %out, label %clear
clear:
  %same = call ptr @gx.c.memset(ptr %block, i32 0, i64 %size)
  br label %out
out:
  ret ptr %block
}}

define void @gx.give.back(ptr %context, ptr %block, i64 %size) {{
  %none = icmp eq ptr %block, null
  br i1 %none, label %out, label %go
go:
  call void @gx.give(ptr %block)
  br label %out
out:
  ret void
}}

define ptr @gx.resize(ptr %context, ptr %block, i64 %size) {{
  %none = icmp eq ptr %block, null
  br i1 %none, label %make, label %look
make:
  %first = call ptr @gx.take(i64 %size)
  ret ptr %first
look:
  %room = call i64 @gx.room(ptr %block)
  %fits = icmp uge i64 %room, %size
  br i1 %fits, label %same, label %grow
same:
  ret ptr %block
grow:
  %new = call ptr @gx.take(i64 %size)
  %lacking = icmp eq ptr %new, null
  br i1 %lacking, label %out, label %copy
copy:
  %copied = call ptr @gx.c.memcpy(ptr %new, ptr %block, i64 %room)
  call void @gx.give(ptr %block)
  br label %out
out:
  ret ptr %new
}}

define void @gx.release() {{
start:
  br label %loop
loop:
  %i = phi i64 [0, %start], [%next, %loop]
  call void @gx.evict()
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {SLOTS}
  br i1 %more, label %loop, label %done
done:
  ret void
}}

define i64 @gx.kept.bytes() {{
  %kept = load atomic i64, ptr @gx.kept acquire, align 8
  ret i64 %kept
}}

define ptr @gx.new(ptr %type, ptr %dtype, i32 %rank, ptr %extents, ptr %strides, ptr %data, i32 %flags, ptr %object) {{
  %usual = call ptr @gx.PyDataMem_SetHandler(ptr @gx.handler)
  %failed = icmp eq ptr %usual, null
  br i1 %failed, label %out, label %make
make:
  %array = call ptr @gx.PyArray_NewFromDescr(
      ptr %type, ptr %dtype, i32 %rank, ptr %extents, ptr %strides, ptr %data, i32 %flags, ptr %object)
  %ours = call ptr @gx.PyDataMem_SetHandler(ptr %usual)
  call void @gx.Py_DecRef(ptr %usual)
  call void @gx.Py_DecRef(ptr %ours)
  ret ptr %array
out:
  ret ptr null
}}
"""


class _Allocator(ctypes.Structure):
    """NumPy's PyDataMemAllocator."""

    _fields_ = (("context", ctypes.c_void_p), ("malloc", ctypes.c_void_p), ("calloc", ctypes.c_void_p),
                ("realloc", ctypes.c_void_p), ("free", ctypes.c_void_p))


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator))


_lock = threading.Lock()
_loaded: Loaded | None = None
_handler = _Handler(name=b"gradxform", version=1)
_EXPORTS = ("gx.allocate", "gx.allocate.zeros", "gx.resize", "gx.give.back", "gx.release", "gx.kept.bytes", "gx.new")


def _create() -> Loaded:
    library = ctypes.CDLL(None)
    advise = sys.platform == "linux" and hasattr(library, "madvise")
    written = text(advise=advise)
    key = disk_cache.key_of(["output memory", codegen_identity(), written])
    entry = disk_cache.get(key)
    if entry is None:
        entry = disk_cache.Entry(compile_text(written, Tier.PLAIN), {})
        disk_cache.put(key, entry)
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    handler: Any = capsule(ctypes.addressof(_handler), b"mem_handler", None)
    imports = {f"gx.c.{name}": ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
               for name in (*_LIBC, *(("madvise",) if advise else ()))}
    imports |= {f"gx.{name}": numpy_abi.function_address(name) for name in ("PyArray_NewFromDescr", "PyDataMem_SetHandler")}
    imports |= {"gx.Py_DecRef": python_abi.function_address("Py_DecRef"), "gx.handler": id(handler)}
    loaded = load(entry.object_code, imports, _EXPORTS)
    allocator = _handler.allocator
    allocator.malloc, allocator.calloc = loaded.address("gx.allocate"), loaded.address("gx.allocate.zeros")
    allocator.realloc, allocator.free = loaded.address("gx.resize"), loaded.address("gx.give.back")
    # Arrays may outlive this module when the interpreter is torn down.
    for kept in (loaded, handler, _handler):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    memory_cache.register(lambda: 0, ctypes.PYFUNCTYPE(None)(loaded.address("gx.release")))
    return loaded


def _library() -> Loaded:
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _create()
        return _loaded


def new_array_address() -> int:
    """The address of a function like PyArray_NewFromDescr whose arrays have memory from here."""
    return _library().address("gx.new")


def kept_bytes() -> int:
    """The bytes of the blocks that are kept."""
    return 0 if _loaded is None else int(ctypes.PYFUNCTYPE(ctypes.c_int64)(_loaded.address("gx.kept.bytes"))())
