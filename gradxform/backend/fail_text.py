"""The native routine that does nothing but fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gradxform.backend.routine_text import RoutineText, RoutineWriter


def when() -> RoutineText:
    """Fails if the boolean that it is given holds."""
    w = RoutineWriter(1, 0)
    held = w.value("load i8, ptr %x0")
    w.fail_if(w.value(f"icmp ne i8 {held}, 0"), 1, [], "i8")
    return w.text()


ROUTINES: Mapping[str, Callable[..., RoutineText]] = MappingProxyType({"when": when})
