"""Garbage collection while programs, or modules, are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """No cyclic garbage collection inside.

    What is made is many small objects that all stay; each full collection walks them again, and adds up to twice the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def collected_once() -> Iterator[None]:
    """As `paused_collection`; at its end what was made counts as old: else the next collection would walk all of it.

    Nothing is walked for that: what is frozen and thawed joins the oldest objects. Where the user froze some, they stay frozen.
    """
    with paused_collection():
        yield
        if gc.get_freeze_count():
            gc.collect(1)
        else:
            gc.freeze()
            gc.unfreeze()
