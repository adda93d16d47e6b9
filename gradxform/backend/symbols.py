"""The addresses of what compiled kernels import, by symbol."""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from gradxform.backend.careful import cell_address


@cache
def symbol_address(symbol: str) -> int:
    """The address of ``gx.blas.NAME`` (SciPy's), ``gx.c.NAME`` (the C library's), ``gx.python.NAME`` (CPython's),
    ``gx.parallel`` (the pool's), ``gx.openblas.get`` and ``.set`` (the number of threads of SciPy's BLAS) or of the cell
    ``gx.careful.NAME.DTYPE``.
    """
    if symbol == "gx.parallel":
        from gradxform.backend.threads import parallel_address

        return parallel_address()
    _, kind, name = symbol.split(".", 2)
    if kind == "openblas":
        return _thread_count(name)
    if kind == "careful":
        return cell_address(name)
    if kind == "blas":
        return _published("scipy.linalg.cython_blas", name)
    library = ctypes.pythonapi if kind == "python" else ctypes.CDLL(None)
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _published(module: str, name: str) -> int:
    """The address of a function that a Cython module publishes."""
    capsule = _extension(module).__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get_pointer(capsule, get_name(capsule)) or 0


def _thread_count(name: str) -> int:
    """The function of SciPy's OpenBLAS that gets or sets its number of threads; one of no effect if that is no OpenBLAS."""
    import scipy

    libraries = Path(scipy.__file__).parent.parent / "scipy.libs"
    bundled = [*libraries.glob("*openblas*"), *(Path(scipy.__file__).parent / ".dylibs").glob("*openblas*")]
    for path in bundled:
        library = ctypes.CDLL(str(path))
        for prefix in ("scipy_openblas", "openblas"):
            function = getattr(library, f"{prefix}_{name}_num_threads", None)
            if function is not None:
                return ctypes.cast(function, ctypes.c_void_p).value or 0
    # Takes an int and gives one, which is all that its callers rely on.
    return ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value or 0


@cache
def _extension(name: str) -> Any:
    """A module of SciPy's that is an extension, without the package around it, whose import takes ten times as long."""
    package, _, stem = name.rpartition(".")
    directory = Path(importlib.import_module("scipy").__file__ or "").parent.joinpath(*package.split(".")[1:])
    for suffix in EXTENSION_SUFFIXES:
        path = directory / f"{stem}{suffix}"
        spec = spec_from_file_location(name, path) if path.exists() else None
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module(name)
