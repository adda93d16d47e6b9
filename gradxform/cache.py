"""What compiled code is kept, in memory and on disk: ``info()`` and ``clear()``.

On disk, code is kept between processes under ``config.cache_dir``, about ``config.cache_bytes`` of it at most.
A program, once compiled, is found again by any process whose compiler, CPU and options are the same.
``python -m gradxform cache`` shows the same from a shell.
"""

from __future__ import annotations

from pathlib import Path

from gradxform.backend import disk_cache, memory_cache
from gradxform.data_class import data_class

__all__ = ["CacheInfo", "clear", "info"]


@data_class(frozen=True, slots=True)
class CacheInfo:
    """State of the caches.

    Attributes:
        directory: where the files are; None when the disk cache is off.
        entries: number of files.
        bytes: their total size.
        hits: look-ups of this process on disk that found their entry.
        misses: look-ups of this process on disk that did not.
        limit: the bound on ``bytes``.
        memory_entries: compiled specialisations that this process holds in memory.
    """

    directory: Path | None
    entries: int
    bytes: int
    hits: int
    misses: int
    limit: int
    memory_entries: int


def info() -> CacheInfo:
    """Where the caches are, what they hold, and how this process fared with the one on disk.

    Returns:
        A ``CacheInfo``. With the disk cache off its ``directory`` is None, ``entries`` and ``bytes`` are 0.

    >>> import gradxform as gx
    >>> gx.cache.info().bytes <= gx.cache.info().limit
    True
    """
    disk = disk_cache.info()
    memory_entries = sum(cache.count() for cache in memory_cache.caches)
    return CacheInfo(disk.directory, disk.entries, disk.bytes, disk.hits, disk.misses, disk.limit, memory_entries)


def clear() -> int:
    """Forget all compiled code, in memory and on disk, and reset the counters.

    Functions that are in use keep their code and go on working. Other processes are not disturbed: those that look for
    a removed entry compile anew.

    Returns:
        The number of files removed.
    """
    for cache in memory_cache.caches:
        cache.clear()
    return disk_cache.clear()
