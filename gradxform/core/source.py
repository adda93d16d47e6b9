"""Finding the user's own line: the innermost frame that is neither gradxform's nor NumPy's."""

from __future__ import annotations

import os
import sys
from types import CodeType

import numpy as np

from gradxform.ir import Source

#: Files of nobody's: gradxform's, NumPy's, and the modules that are part of the interpreter, such as what runs ``python -m``.
_FOREIGN = (*(os.path.dirname(os.path.abspath(path)) + os.sep for path in (os.path.dirname(__file__), np.__file__)), "<frozen ")
_is_ours: dict[CodeType, bool] = {}


def _ours(code: CodeType) -> bool:
    found = _is_ours.get(code)
    if found is None:
        found = _is_ours[code] = code.co_filename.startswith(_FOREIGN)
    return found


def user_source() -> Source | None:
    """The file, line and function of the innermost frame outside these packages, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        if not _ours(frame.f_code):
            return Source(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def user_line() -> str:
    """The user's line for error messages, ``"\\n  in user code: file:line (function)"``, or an empty string."""
    source = user_source()
    return "" if source is None else f"\n  in user code: {source}"
