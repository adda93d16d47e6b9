"""What generated code depends on, for the keys under which it is kept."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from gradxform.backend import disk_cache

#: What the code of a traced program depends on: its text is the input of these, and of nothing above them.
_GENERATING = ("backend", "backend/elementary", "ir", "loopir", "loopir/scalar", "passes", "primitives")


@cache
def code_fingerprint() -> str:
    """Changes whenever the code that turns programs into machine code does: sizes and times of its files."""
    root = Path(__file__).parent.parent
    parts = []
    for directory in _GENERATING:
        with os.scandir(root / directory) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    parts.append(f"{directory}/{entry.name}:{status.st_size}:{status.st_mtime_ns}")
    linear = os.stat(root / "linear.py")
    return disk_cache.key_of([*parts, f"linear:{linear.st_size}:{linear.st_mtime_ns}"])
