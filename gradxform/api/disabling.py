"""disable_jit: everything in Python, step by step, so that ``print`` and debuggers see numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gradxform.backend.callable import resume_dispatch, suspend_dispatch
from gradxform.core import direct


class _State(threading.local):
    depth = 0


_state = _State()


def jit_disabled() -> bool:
    """Whether this thread is inside of `disable_jit`."""
    return _state.depth > 0


@contextmanager
def disable_jit(disable: bool = True) -> Iterator[None]:
    """Within this block, and in this thread, nothing is compiled.

    Jitted functions call the function that they were made of, loops of `gradxform.lax` are loops of Python that call
    their body once per iteration, conditionals call the branch taken, and other programs are evaluated with NumPy,
    equation by equation. Arguments of these functions are then numbers and NumPy arrays, to be printed or looked at in
    a debugger, unless a transform such as `grad` traces them: those show their values when printed.

    Args:
        disable: False makes the block do nothing, so that a switch can be passed.

    >>> from gradxform.api import jit
    >>> @jit
    ... def double(x):
    ...     print("called with", x)
    ...     return 2.0 * x
    >>> with disable_jit():
    ...     double(1.5)
    called with 1.5
    3.0
    """
    if not disable:
        yield
        return
    _state.depth += 1
    suspend_dispatch()
    direct.hold()
    try:
        yield
    finally:
        direct.release()
        resume_dispatch()
        _state.depth -= 1
