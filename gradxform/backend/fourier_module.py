"""The passes of Fourier transforms and their tables, by name; see fourier_passes and fourier_plan."""

from __future__ import annotations

from functools import cache

import numpy as np

from gradxform.backend.compile import Tier
from gradxform.backend.fourier_plan import parse, tables
from gradxform.backend.library import Library


def _text(name: str) -> str:
    from gradxform.backend.fourier_passes import text

    return text(name)


_library = Library("fourier", Tier.WRITTEN, _text)


@cache
def _tables(name: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    # They are kept as long as the process lives: code holds their addresses.
    return tables(parse(name))


def address(name: str) -> int:
    """The address of ``gx.fourier.NAME``, a pass, or that of a plan's ``factors.PLAN``, ``order0.PLAN``, ``order1.PLAN``."""
    kind, _, rest = name.partition(".")
    if kind == "factors":
        return int(_tables(rest)[0].ctypes.data)
    if kind in ("order0", "order1"):
        return int(_tables(rest)[1][int(kind[-1])].ctypes.data)
    return _library.address(name)
