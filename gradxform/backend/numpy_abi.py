"""Where NumPy keeps what the emitted entry point reads and calls: its C API table, its array struct, its scalar
objects."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from gradxform.backend.python_abi import read_integer, read_pointer, require_layout, verify_python_layout
from gradxform.backend.signature import SUPPORTED_DTYPE_NAMES

ARRAY_DATA_OFFSET = 16
ARRAY_RANK_OFFSET = 24
ARRAY_DIMENSIONS_OFFSET = 32
ARRAY_DTYPE_OFFSET = 56
ARRAY_FLAGS_OFFSET = 64
SCALAR_VALUE_OFFSET = 16

C_CONTIGUOUS_AND_ALIGNED = 0x0001 | 0x0100

FUNCTION_INDICES = {"PyArray_NewFromDescr": 94, "PyArray_EquivTypes": 182, "PyDataMem_SetHandler": 304}
"""Where the functions that emitted code calls stand in NumPy's table."""

_ABI_VERSION_INDEX = 0
_ARRAY_TYPE_INDEX = 2
_KNOWN_ABI_VERSION = 0x02000000
_TP_ALLOC_SLOT = 47

SUPPORTED_DTYPES: tuple[np.dtype, ...] = tuple(np.dtype(name) for name in SUPPORTED_DTYPE_NAMES)


@cache
def _api_table() -> int:
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    return int(get_pointer(_multiarray_umath._ARRAY_API, None))


def function_address(name: str) -> int:
    return read_pointer(_api_table() + 8 * FUNCTION_INDICES[name])


@cache
def scalar_allocator_address(dtype: np.dtype) -> int:
    """``tp_alloc`` of the dtype's scalar type: what NumPy's own PyArrayScalar_New calls."""
    get_slot = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_int)(("PyType_GetSlot", ctypes.pythonapi))
    return int(get_slot(dtype.type, _TP_ALLOC_SLOT))


@cache
def verify_numpy_layout() -> None:
    """Reads arrays and scalars back through the offsets above.

    Raises:
        UnsupportedRuntimeError: the C API or a struct is not the known one.
    """
    verify_python_layout()
    version = ctypes.PYFUNCTYPE(ctypes.c_uint)(read_pointer(_api_table() + 8 * _ABI_VERSION_INDEX))()
    require_layout(version == _KNOWN_ABI_VERSION, f"NumPy's C interface has version {version:#x}")
    array_type = read_pointer(_api_table() + 8 * _ARRAY_TYPE_INDEX)
    require_layout(array_type == id(np.ndarray), "NumPy's C interface has moved")
    for probe in (np.zeros((2, 3, 5)), np.zeros((3, 4), np.int8)[:, ::2]):
        address = id(probe)
        flags = 0x1 * probe.flags.c_contiguous | 0x100 * probe.flags.aligned
        dimensions = read_pointer(address + ARRAY_DIMENSIONS_OFFSET)
        require_layout(
            read_pointer(address + ARRAY_DATA_OFFSET) == probe.ctypes.data
            and ctypes.c_int.from_address(address + ARRAY_RANK_OFFSET).value == probe.ndim
            and tuple(read_integer(dimensions + 8 * axis) for axis in range(probe.ndim)) == probe.shape
            and read_pointer(address + ARRAY_DTYPE_OFFSET) == id(probe.dtype)
            and ctypes.c_int.from_address(address + ARRAY_FLAGS_OFFSET).value & C_CONTIGUOUS_AND_ALIGNED == flags,
            "ndarray has another layout",
        )
    for dtype in SUPPORTED_DTYPES:
        scalar = np.array(1, dtype)[()]
        require_layout(
            type(scalar) is dtype.type
            and ctypes.string_at(id(scalar) + SCALAR_VALUE_OFFSET, dtype.itemsize) == scalar.tobytes(),
            f"numpy.{dtype} has another layout",
        )
    true: object = np.array(True)[()]
    require_layout(true is np.True_, "numpy.bool has more than two objects")


def fingerprint() -> str:
    """What of this NumPy the emitted text depends on; a part of the key under which object code is kept."""
    return f"numpy-{_KNOWN_ABI_VERSION:#x}"
