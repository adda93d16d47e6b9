"""The addresses of what compiled kernels import, by symbol."""

from __future__ import annotations

import ctypes
import importlib
from functools import cache

from gradxform.backend.careful import cell_address


@cache
def symbol_address(symbol: str) -> int:
    """The address of ``gx.blas.NAME`` (SciPy's), ``gx.c.NAME`` (the C library's), ``gx.python.NAME`` (CPython's),
    ``gx.parallel`` (the pool's) or of the cell ``gx.careful.NAME.DTYPE``.
    """
    if symbol == "gx.parallel":
        from gradxform.backend.threads import parallel_address

        return parallel_address()
    _, kind, name = symbol.split(".", 2)
    if kind == "careful":
        return cell_address(name)
    if kind == "blas":
        return _published("scipy.linalg.cython_blas", name)
    library = ctypes.pythonapi if kind == "python" else ctypes.CDLL(None)
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _published(module: str, name: str) -> int:
    """The address of a function that a Cython module publishes."""
    capsule = importlib.import_module(module).__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get_pointer(capsule, get_name(capsule)) or 0
