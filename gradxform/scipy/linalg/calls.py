"""What the functions of this face have in common."""

from __future__ import annotations

from typing import Any

from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.scipy.facing import faces_of

#: Makes a staged function the face of SciPy's.
traced = faces_of("scipy.linalg")


def refuse(name: str, **arguments: tuple[Any, Any]) -> None:
    """Raises ArgumentError for arguments, each with the one value that staged code can honour."""
    for argument, (found, only) in arguments.items():
        if found is not only and not (isinstance(found, str) and found == only):
            raise ArgumentError(f"{name}: {argument}={found!r} is not supported on traced arrays, only {only!r}{user_line()}")
