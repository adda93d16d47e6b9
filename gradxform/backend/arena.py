"""The memory of temporaries between calls: the last large arena is kept for the next kernel, whichever that is.

A block of many megabytes that is freed goes back to the operating system, and the next call would fault its pages in
one by one. The cell is exchanged atomically, so calls in several threads each have a block of their own.
"""

from __future__ import annotations

import ctypes
import sys

from gradxform.backend import memory_cache
from gradxform.backend.output_memory import HUGE_PAGE, MADV_HUGEPAGE

#: Larger blocks are not kept.
KEPT_BYTES = 256 << 20
ALIGNMENT = 64

CELL_SYMBOL = "arena.cell"
_cell = ctypes.c_void_p()

#: Linux gives a block of so many bytes huge pages where it is asked to: columns of a matrix lie on a page each otherwise, and
#: the processor spends its time looking up where these are.
HUGE_BYTES = 4 << 20
ADVISES = sys.platform == "linux"
_ADVICE = f"""  %huge = icmp uge i64 %size, {HUGE_BYTES}
  br i1 %huge, label %advise, label %out
advise:
  %address = ptrtoint ptr %new to i64
  %short = sub i64 0, %address
  %offset = and i64 %short, {HUGE_PAGE - 1}
  %begin = getelementptr i8, ptr %new, i64 %offset
  %span = sub i64 %bytes, %offset
  %code = call i32 @gx.madvise(ptr %begin, i64 %span, i32 {MADV_HUGEPAGE})
""" if ADVISES else ""

#: A block begins with a word that says how much room there is behind it.
TEXT = f"""define internal ptr @gx.arena.take(i64 %size) noinline nounwind {{
start:
  %kept = atomicrmw xchg ptr @gx.{CELL_SYMBOL}, ptr null acq_rel
  %none = icmp eq ptr %kept, null
  br i1 %none, label %make, label %look
look:
  %room = load i64, ptr %kept
  %fits = icmp uge i64 %room, %size
  br i1 %fits, label %use, label %drop
use:
  ret ptr %kept
drop:
  call void @gx.PyMem_RawFree(ptr %kept)
  br label %make
make:
  %bytes = add i64 %size, {8 + ALIGNMENT}
  %new = call ptr @gx.PyMem_RawMalloc(i64 %bytes)
  %lacking = icmp eq ptr %new, null
  br i1 %lacking, label %out, label %mark
mark:
  store i64 %size, ptr %new
{_ADVICE}  br label %out
out:
  ret ptr %new
}}
define internal void @gx.arena.give(ptr %block) noinline nounwind {{
start:
  %room = load i64, ptr %block
  %large = icmp ugt i64 %room, {KEPT_BYTES}
  br i1 %large, label %free, label %keep
free:
  call void @gx.PyMem_RawFree(ptr %block)
  ret void
keep:
  %old = atomicrmw xchg ptr @gx.{CELL_SYMBOL}, ptr %block acq_rel
  call void @gx.PyMem_RawFree(ptr %old)
  ret void
}}"""


def cell_address() -> int:
    """Where the address of the block that is kept stands."""
    return ctypes.addressof(_cell)


def release() -> None:
    """Give back the block that is kept."""
    block, _cell.value = _cell.value, None
    free = ctypes.pythonapi.PyMem_RawFree
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    free(block)


memory_cache.register(lambda: 0, release)
