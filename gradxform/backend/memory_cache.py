"""Which caches in memory there are: each owner of compiled code registers how to count and to clear it."""

from __future__ import annotations

from collections.abc import Callable

from gradxform.data_class import data_class


@data_class(frozen=True, slots=True)
class MemoryCache:
    """``count`` says how many compiled specialisations are held, ``clear`` forgets them."""

    count: Callable[[], int]
    clear: Callable[[], None]


caches: list[MemoryCache] = []


def register(count: Callable[[], int], clear: Callable[[], None]) -> None:
    """Have the public cache functions cover one more cache in memory."""
    caches.append(MemoryCache(count, clear))
