"""The addresses of what compiled kernels import, by symbol."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module

from gradxform.backend import gemm, special_calls
from gradxform.backend.careful import cell_address
from gradxform.errors import CompileError


def _published_by_scipy(module: str, name: str) -> int:
    """The address of a function that a module offers to Cython code."""
    capsule = import_module(module).__pyx_capi__[name]
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi))
    signature: bytes = name_of(capsule)
    if b"int *" not in signature:
        raise CompileError(f"SciPy's {name} is declared as {signature.decode()}: pointers to int are expected")
    return int(pointer_of(capsule, signature))


@cache
def symbol_address(symbol: str) -> int:
    """The address of ``gx.c.NAME`` (the C library's), ``gx.python.NAME`` (CPython's), ``gx.parallel`` (the pool's),
    ``gx.gemm.DTYPE`` and ``gx.gemm.DTYPE.ROWSxVECTORS`` (matrix products), ``gx.lapack.NAME`` and ``gx.blas.NAME`` (those
    that SciPy brings) of the cell ``gx.careful.NAME.DTYPE``
    or of ``gx.special.NAME`` (SciPy's, or a program of ours).
    """
    if symbol == "gx.parallel":
        from gradxform.backend.threads import parallel_address

        return parallel_address()
    _, kind, name = symbol.split(".", 2)
    if kind == "gemm":
        return gemm.address(name)
    if kind == "careful":
        return cell_address(name)
    if kind == "special":
        return special_calls.address(name)
    if kind == "sort":
        from gradxform.backend import sort_module

        return sort_module.address(name)
    if kind == "fft":
        from gradxform.backend import fourier_text

        return fourier_text.address(name)
    if kind in ("lapack", "blas"):
        return _published_by_scipy(f"scipy.linalg.cython_{kind}", name)
    library = ctypes.pythonapi if kind == "python" else ctypes.CDLL(None)
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
