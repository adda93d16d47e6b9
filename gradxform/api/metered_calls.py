"""Which calls of jitted functions are measured: those of a thread that has asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradxform.api.metering import MeteredCode

#: Given the metered build for a call, and how to come by the ordinary one: what to call in place of native code.
Collector = Callable[["MeteredCode", Callable[[], Callable[..., Any]]], Callable[..., Any]]


class _State(threading.local):
    collector: Collector | None = None


_state = _State()


def current_collector() -> Collector | None:
    """What measures the calls of this thread; None if they are not measured."""
    return _state.collector


@contextmanager
def collecting(collector: Collector | None) -> Iterator[None]:
    """Within this block calls of this thread that reach `Jitted.call_slow` go to ``collector``."""
    before, _state.collector = _state.collector, collector
    try:
        yield
    finally:
        _state.collector = before
