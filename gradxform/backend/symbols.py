"""The addresses of what compiled kernels import, by symbol."""

from __future__ import annotations

import ctypes
from functools import cache

from gradxform.backend import gemm
from gradxform.backend.careful import cell_address


@cache
def symbol_address(symbol: str) -> int:
    """The address of ``gx.c.NAME`` (the C library's), ``gx.python.NAME`` (CPython's), ``gx.parallel`` (the pool's),
    ``gx.gemm.DTYPE`` and ``gx.gemm.DTYPE.ROWSxVECTORS`` (matrix products) or of the cell ``gx.careful.NAME.DTYPE``.
    """
    if symbol == "gx.parallel":
        from gradxform.backend.threads import parallel_address

        return parallel_address()
    _, kind, name = symbol.split(".", 2)
    if kind == "gemm":
        return gemm.address(name)
    if kind == "careful":
        return cell_address(name)
    library = ctypes.pythonapi if kind == "python" else ctypes.CDLL(None)
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
