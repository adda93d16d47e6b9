"""The functions for small triangles; see triangle_text."""

from __future__ import annotations

from gradxform.backend import gemm
from gradxform.backend.compile import Tier
from gradxform.backend.library import Library
from gradxform.backend.triangle_text import LOOPS, module_text


def _text(name: str) -> str:
    function, _, dtype = name.partition(".")
    return module_text(gemm.geometry(dtype), function, f"gx.triangle.{name}")


_written, _loops = (Library("triangle", tier, _text) for tier in (Tier.WRITTEN, Tier.LOOPS))


def address(name: str) -> int:
    """The address of ``gx.triangle.FUNCTION.DTYPE``."""
    return (_loops if name.partition(".")[0] in LOOPS else _written).address(name)
