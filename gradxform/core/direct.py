"""Functions that are NumPy's own while nothing is recorded, at the price of NumPy's own call.

A function of the NumPy face has to look whether its thread is recording, and looking in Python costs as much as NumPy
needs for eight numbers. So the look is taken once, not in every call: a face is a ``functools.partial``, through which
C calls what it holds in a few nanoseconds. It holds a *careful* function, which looks, until that has found nothing
recorded in any thread; from then on it holds the *direct* one. Whoever begins to record, with `hold`, first makes all
faces careful again.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
Face = functools.partial  # a C callable whose target can be exchanged; a subclass of it would be called more slowly


class _State:
    def __init__(self) -> None:
        # Reentrant, for a finaliser or a signal handler may record in the middle of either function.
        self.lock = threading.RLock()
        self.holders = 0
        #: The faces that are direct at this moment, with their careful functions.
        self.direct: list[tuple[Face[Any], Function]] = []


_state = _State()


def _after_fork() -> None:
    # A thread that does not exist in the child may have had the lock.
    _state.lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def aim(face: Face[Any], target: Function) -> None:
    """From now on ``face(...)`` is ``target(...)``."""
    face.__setstate__((target, (), {}, face.__dict__))  # type: ignore[attr-defined]


def make_direct(face: Face[Any], careful: Function, direct: Function) -> None:
    """``face`` calls ``direct`` from now on, unless somebody holds faces."""
    with _state.lock:
        if not _state.holders:
            aim(face, direct)
            _state.direct.append((face, careful))


def hold() -> None:
    """Make all faces careful until `release`; calls nest."""
    with _state.lock:
        _state.holders += 1
        while _state.direct:
            aim(*_state.direct.pop())


def release() -> None:
    """Undo one `hold`; faces become direct as they are called."""
    with _state.lock:
        _state.holders -= 1
