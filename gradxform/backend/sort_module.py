"""The functions that sort rows; see sort_text."""

from __future__ import annotations

from gradxform.backend.compile import Tier
from gradxform.backend.library import Library
from gradxform.backend.sort_text import module_text

_library = Library("sort", Tier.LOOPS, module_text)
#: The address of ``gx.sort.NAME``.
address = _library.address
