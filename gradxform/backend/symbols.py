"""The addresses of what compiled kernels import, by symbol."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from gradxform.backend import gemm, special_calls
from gradxform.backend.careful import cell_address
from gradxform.errors import CompileError

#: What begins so is compiled, or imported, once for all kernels: it takes a while.
SHARED = ("gx.parallel", "gx.gemm.", "gx.memory.", "gx.sort.", "gx.fourier.", "gx.triangle.", "gx.lapack.", "gx.blas.")


@cache
def _extension(name: str) -> ModuleType:
    """An extension module of a package whose own import takes ten times as long, and is not needed for it."""
    package, _, last = name.rpartition(".")
    top, *inner = package.split(".")
    found = None if package in sys.modules else find_spec(top)
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder, *inner, last + suffix)
            specification = spec_from_file_location(name, path) if path.exists() else None
            if specification is not None and specification.loader is not None:
                module = module_from_spec(specification)
                specification.loader.exec_module(module)
                return module
    return import_module(name)


def _published_by_scipy(module: str, name: str) -> int:
    """The address of a function that a module offers to Cython code."""
    capsule = _extension(module).__pyx_capi__[name]
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
    ``gx.gemm.DTYPE`` and ``gx.gemm.DTYPE.ROWSxVECTORS`` (matrix products), ``gx.memory.NAME`` (what moves blocks),
    ``gx.triangle.FUNCTION.DTYPE`` (small triangles), ``gx.lapack.NAME`` and ``gx.blas.NAME`` (those that SciPy brings), of the
    cell ``gx.careful.NAME.DTYPE`` or of ``gx.special.NAME`` (SciPy's, or a program of ours).
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
    if kind == "memory":
        from gradxform.backend import memory_module

        return memory_module.address(name)
    if kind == "fourier":
        from gradxform.backend import fourier_module

        return fourier_module.address(name)
    if kind == "triangle":
        from gradxform.backend import triangle_module

        return triangle_module.address(name)
    if kind == "fft":
        from gradxform.backend import fourier_text

        return fourier_text.address(name)
    if kind in ("lapack", "blas"):
        return _published_by_scipy(f"scipy.linalg.cython_{kind}", name)
    library = ctypes.pythonapi if kind == "python" else ctypes.CDLL(None)
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
