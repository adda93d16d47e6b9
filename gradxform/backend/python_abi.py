"""Where CPython keeps what the emitted entry point reads: offsets, C functions, objects; each verified before it is
relied on.

Emitted code must not contain addresses, because it is kept on disk and linked in other processes. It names what it
needs as symbols ``gx.<name>``, and this module says which address stands behind a name here.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

from gradxform.errors import GradxformError

POINTER_BYTES = 8
REFERENCE_COUNT_OFFSET = 0
TYPE_OFFSET = 8
SIZE_OFFSET = 16  # ob_size of tuples and lists, ma_used of dicts
TUPLE_ITEMS_OFFSET = 24
LIST_ITEMS_OFFSET = 24  # of the pointer to the items
FLOAT_VALUE_OFFSET = 16
COMPLEX_VALUE_OFFSET = 16  # two doubles

ARGUMENTS_OFFSET_FLAG = 1 << 63

FUNCTIONS: dict[str, str] = {
    "PyTuple_New": "ptr (i64)",
    "PyList_New": "ptr (i64)",
    "PyDict_New": "ptr ()",
    "PyDict_SetItem": "i32 (ptr, ptr, ptr)",
    "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyLong_AsLongLongAndOverflow": "i64 (ptr, ptr)",
    "PyUnicode_Compare": "i32 (ptr, ptr)",
    "PyObject_RichCompareBool": "i32 (ptr, ptr, i32)",
    "PyObject_GetAttr": "ptr (ptr, ptr)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PyObject_CallFunction": "ptr (ptr, ptr, ...)",
    "PyErr_Clear": "void ()",
    "PyErr_NoMemory": "ptr ()",
    "PyErr_Occurred": "ptr ()",
    "PyEval_SaveThread": "ptr ()",
    "PyEval_RestoreThread": "void (ptr)",
    "PyMem_RawMalloc": "ptr (i64)",
    "PyMem_RawFree": "void (ptr)",
    "madvise": "i32 (ptr, i64, i32)",
    "Py_DecRef": "void (ptr)",
    "PyArray_NewFromDescr": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)",
    "new_large_array": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)",
    "PyArray_EquivTypes": "i8 (ptr, ptr)",
}
"""The C functions that emitted code calls, with their LLVM types, each under the symbol ``gx.<name>``; new_large_array is
that of `output_memory`, madvise the C library's."""

REFERENCE_COUNT_BITS = 64 if sys.version_info < (3, 12) else 32
"""How wide a reference count is. Counts of 32 bits are negative for immortal objects, which keep theirs."""


CALL_SLOW_NAME = sys.intern("call_slow")

OBJECTS: dict[str, object] = {
    "type.bool": bool,
    "type.int": int,
    "type.float": float,
    "type.complex": complex,
    "type.tuple": tuple,
    "type.list": list,
    "type.dict": dict,
    "None": None,
    "True": True,
    "False": False,
    "call_slow": CALL_SLOW_NAME,
}
"""The objects that emitted code refers to, each under the symbol ``gx.<name>``; this dict keeps them alive."""


class UnsupportedRuntimeError(GradxformError, RuntimeError):
    """This build of Python or NumPy keeps its objects in another way than compiled functions expect."""


def read_pointer(address: int) -> int:
    return ctypes.c_void_p.from_address(address).value or 0


def read_integer(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def require_layout(condition: bool, what: str) -> None:
    if not condition:
        raise UnsupportedRuntimeError(
            f"compiled functions cannot be called on this runtime ({sys.implementation.name} {sys.version.split()[0]}, "
            f"{sys.platform}): {what}; use CPython 3.11 or later in its usual 64-bit build"
        )


@cache
def verify_python_layout() -> None:
    """Reads known objects back through the offsets above.

    Raises:
        UnsupportedRuntimeError: not CPython, not 64-bit, a free-threaded build, or an object layout that is not the
        known one.
    """
    require_layout(sys.implementation.name == "cpython", "it is not CPython")
    require_layout(ctypes.sizeof(ctypes.c_void_p) == POINTER_BYTES, "it is not a 64-bit build")
    # sysconfig would say so, too, but it takes a millisecond of a first call to read what it knows.
    require_layout("t" not in getattr(sys, "abiflags", ""), "it is a free-threaded build")
    require_layout(not hasattr(sys, "getobjects"), "it is a build that traces references")
    item, other = object(), object()
    for probe in (item, 1.5, (item, other), [item, other], {"a": item}):
        kind = read_pointer(id(probe) + TYPE_OFFSET)
        require_layout(kind == id(type(probe)), "an object's type is not where it should be")
    before = ctypes.c_uint32.from_address(id(item) + REFERENCE_COUNT_OFFSET).value
    extra = [item, item]
    after = ctypes.c_uint32.from_address(id(item) + REFERENCE_COUNT_OFFSET).value
    require_layout(after == before + 2, "an object's reference count is not where it should be")
    number = -1.2345e67
    value = ctypes.c_double.from_address(id(number) + FLOAT_VALUE_OFFSET).value
    require_layout(value == number, "float has another layout")
    point = complex(number, 0.75)
    parts = (ctypes.c_double * 2).from_address(id(point) + COMPLEX_VALUE_OFFSET)
    require_layout((parts[0], parts[1]) == (point.real, point.imag), "complex has another layout")
    pair = (item, other)
    require_layout(
        read_integer(id(pair) + SIZE_OFFSET) == 2
        and read_pointer(id(pair) + TUPLE_ITEMS_OFFSET) == id(item)
        and read_pointer(id(pair) + TUPLE_ITEMS_OFFSET + POINTER_BYTES) == id(other),
        "tuple has another layout",
    )
    items = read_pointer(id(extra) + LIST_ITEMS_OFFSET)
    require_layout(
        read_integer(id(extra) + SIZE_OFFSET) == 2
        and read_pointer(items) == id(item)
        and read_pointer(items + POINTER_BYTES) == id(item),
        "list has another layout",
    )
    require_layout(read_integer(id({"a": 1, "b": 2, "c": 3}) + SIZE_OFFSET) == 3, "dict has another layout")


@cache
def function_address(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def fingerprint() -> str:
    """What of this interpreter the emitted text depends on; a part of the key under which object code is kept."""
    return f"{sys.implementation.cache_tag}-{sys.byteorder}"
