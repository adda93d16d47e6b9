"""The functions that sort rows; see sort_text."""

from __future__ import annotations

from gradxform.backend.compile import Tier
from gradxform.backend.library import Library
from gradxform.backend.sort_text import module_text


def _imports(name: str) -> dict[str, int]:
    return {"gx.sort.u64": address("u64")} if name == "order" else {}


_library = Library("sort", Tier.LOOPS, module_text, _imports)
#: The address of ``gx.sort.NAME``.
address = _library.address
