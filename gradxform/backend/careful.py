"""The whole-domain forms of guarded elementary functions, compiled when an argument first needs one.

Loops run with the fast forms; a nest that met an argument outside their range runs again in its careful twin. That is
rare, so the twin calls these functions through cells, and a cell leads to a stub until the function is compiled.

The stub takes the GIL. A kernel that runs in several threads has released it, so no thread can wait for another here.
"""

from __future__ import annotations

import ctypes
import threading
import warnings
from functools import cache
from typing import Any

from gradxform.backend import disk_cache
from gradxform.backend.compile import Loaded, Tier, codegen_identity, compile_text, load
from gradxform.backend.elementary import Request, declarations, definitions, roster, symbol

_TYPES: dict[str, tuple[str, Any]] = {"f64": ("double", ctypes.c_double), "f32": ("float", ctypes.c_float)}
_ENTRY = "careful"
_lock = threading.Lock()
_alive: list[Any] = []


@cache
def _library(name: str, dtype: str) -> Loaded:
    request = Request(name, dtype, "careful")  # type: ignore[arg-type]
    llvm_type = _TYPES[dtype][0]
    arguments = ", ".join(f"{llvm_type} %x{i}" for i in range(roster()[name].arity))
    text = "\n".join([
        *declarations([request]), definitions([request]),
        f"define {llvm_type} @{_ENTRY}({arguments}) nounwind {{",
        f"  %result = call {llvm_type} @{symbol(request)}({arguments})",
        f"  ret {llvm_type} %result",
        "}",
    ])
    key = disk_cache.key_of(("careful", text, codegen_identity()))
    entry = disk_cache.get(key)
    if entry is None:
        entry = disk_cache.Entry(compile_text(text, Tier.STRAIGHT), {})
        disk_cache.put(key, entry)
    return load(entry.object_code, {}, (_ENTRY,))


@cache
def cell_address(function: str) -> int:
    """The address of the cell that holds the address of ``function``, such as ``"sin.f64"``."""
    name, dtype = function.split(".")
    scalar = _TYPES[dtype][1]
    prototype = ctypes.CFUNCTYPE(scalar, *[scalar] * roster()[name].arity)
    cell = ctypes.c_void_p()

    def compile_then_call(*arguments: float) -> float:
        try:
            with _lock:
                address = _library(name, dtype).address(_ENTRY)
            cell.value = address
            return float(prototype(address)(*arguments))
        except Exception as error:  # an exception cannot pass through the native code that called
            warnings.warn(f"{name} could not be compiled for an argument of this size, NaN stands instead: {error}",
                          RuntimeWarning, stacklevel=2)
            return float("nan")

    stub = prototype(compile_then_call)
    cell.value = ctypes.cast(stub, ctypes.c_void_p).value
    _alive.append((cell, stub))
    return ctypes.addressof(cell)


def thunk(name: str, dtype: str) -> tuple[str, str, str]:
    """The name of a function that calls through the cell, its definition, and the cell's symbol."""
    llvm_type = _TYPES[dtype][0]
    cell = f"gx.careful.{name}.{dtype}"
    called = f"gx.{name}.{dtype}.cold"
    arguments = ", ".join(f"{llvm_type} %x{i}" for i in range(roster()[name].arity))
    text = "\n".join([
        f"@{cell} = external global ptr",
        f"define internal {llvm_type} @{called}({arguments}) noinline optnone nounwind {{",
        f"  %function = load ptr, ptr @{cell}",
        f"  %result = call {llvm_type} %function({arguments})",
        f"  ret {llvm_type} %result",
        "}",
    ])
    return called, text, cell
