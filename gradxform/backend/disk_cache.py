"""Object code kept on disk between processes, addressed by what it was made from.

One file per key, ``<two hex digits>/<64 hex digits>.gxo``, holds object code and a little JSON. What the files contain
is run, so they count only when nobody but the user can have written them, and when their checksum holds. Everything
that can be wrong with a file (torn, foreign, another format) makes it a miss; everything that can be wrong with the
directory (read-only, full, removed under our feet) makes the cache smaller or absent, and never an error.

Processes need no lock between them: a file appears by renaming a complete temporary file, and two that race on one key
write the same content.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import stat
import struct
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from gradxform.config import config
from gradxform.data_class import data_class

_MAGIC = b"gradxfo\x00"
_FORMAT = 1
# Magic, format version, length of the metadata, length of the object code, key, checksum of all of it and what follows.
_HEADER = struct.Struct("<8sIIQ32s32s")
_SUFFIX = ".gxo"
_TEMPORARY_SUFFIX = ".tmp"
_KEY = re.compile(r"[0-9a-f]{64}")

# A hit renews a file's time only when it is older than this, so that reading does not become writing.
_TOUCH_AFTER_SECONDS = 3600.0
# Temporary files older than this were left by processes that died.
_STALE_AFTER_SECONDS = 3600.0
# A sweep happens about once per limit/32 bytes written, and leaves room for several times as much.
_SWEEPS_PER_LIMIT = 32
_FILL_AFTER_SWEEP = 0.8


@data_class(frozen=True, slots=True)
class Entry:
    """What one key leads to: object code, and whatever JSON can hold that is needed to use it."""

    object_code: bytes
    metadata: Mapping[str, object]


@data_class(frozen=True, slots=True)
class DiskCacheInfo:
    """State of the disk cache.

    Attributes:
        directory: where the files are; None when the disk cache is off.
        entries: number of files.
        bytes: their total size.
        hits: look-ups of this process that found their entry.
        misses: look-ups of this process that did not.
        limit: the bound on ``bytes``.
    """

    directory: Path | None
    entries: int
    bytes: int
    hits: int
    misses: int
    limit: int


@data_class(slots=True)
class _Counters:
    hits: int = 0
    misses: int = 0


@data_class(frozen=True, slots=True)
class _File:
    path: str
    size: int
    used: float


_counters = _Counters()
_temporary_numbers = itertools.count()
# Directories in which a write failed for a reason that will not go away while this process runs.
_unwritable: set[Path] = set()


def key_of(parts: Iterable[str]) -> str:
    """The key of what was made from these strings: 64 hex digits.

    The parts are kept apart: ("ab", "c") and ("a", "bc") have different keys.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def _only_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) == 0


@cache
def _usable_directory(setting: str | None) -> Path | None:
    """The directory that a value of ``config.cache_dir`` means, created if needed; None when there is no cache."""
    if setting == "":
        return None
    if setting is None:
        import platformdirs

        path = platformdirs.user_cache_path("gradxform", appauthor=False)
    else:
        path = Path(setting)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError:
        return None
    if not _only_ours(status):
        warnings.warn(
            f"the gradxform disk cache is off: {path} belongs to another user or can be written by others, and its "
            f"content would be run; mend it with chmod go-w, or set GRADXFORM_CACHE_DIR",
            RuntimeWarning,
            stacklevel=4,
        )
        return None
    return path


def directory() -> Path | None:
    """Where the cache's files are, or None when the disk cache is off."""
    return _usable_directory(config.cache_dir)


def _path_of(root: Path, key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"a key is 64 hex digits, got {key!r}")
    return f"{root}/{key[:2]}/{key}{_SUFFIX}"


def _encode(key: str, entry: Entry) -> bytes:
    metadata = json.dumps(entry.metadata, sort_keys=True, separators=(",", ":")).encode()
    sizes = (_MAGIC, _FORMAT, len(metadata), len(entry.object_code), bytes.fromhex(key))
    content = metadata + entry.object_code
    checksum = hashlib.sha256(_HEADER.pack(*sizes, bytes(32)) + content).digest()
    return _HEADER.pack(*sizes, checksum) + content


def _decode(key: str, data: bytes) -> Entry | None:
    if len(data) < _HEADER.size:
        return None
    magic, version, metadata_length, code_length, file_key, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _FORMAT or file_key != bytes.fromhex(key):
        return None
    if len(data) != _HEADER.size + metadata_length + code_length:
        return None
    unsigned = _HEADER.pack(magic, version, metadata_length, code_length, file_key, bytes(32))
    digest = hashlib.sha256(unsigned)
    digest.update(memoryview(data)[_HEADER.size :])
    if digest.digest() != checksum:
        return None
    try:
        metadata = json.loads(data[_HEADER.size : _HEADER.size + metadata_length])
    except ValueError:
        return None
    if not isinstance(metadata, dict):
        return None
    return Entry(data[_HEADER.size + metadata_length :], metadata)


def _read(path: str) -> tuple[bytes, float] | None:
    """Content and time of a file that only the user can have written; None for any other."""
    # Not blocking, lest a named pipe in the file's place waits for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _only_ours(status):
            return None
        return file.read(), status.st_mtime


def _lookup(key: str) -> Entry | None:
    root = directory()
    if root is None:
        return None
    path = _path_of(root, key)
    try:
        found = _read(path)
    except FileNotFoundError:
        return None
    except OSError:
        found = None
    entry = _decode(key, found[0]) if found is not None else None
    with contextlib.suppress(OSError):
        if entry is None:
            os.unlink(path)
        elif found is not None and time.time() - found[1] > _TOUCH_AFTER_SECONDS:
            os.utime(path)
    return entry


def get(key: str) -> Entry | None:
    """The entry stored under ``key``, or None. A file that is not sound is removed where possible, and a miss."""
    entry = _lookup(key)
    if entry is None:
        _counters.misses += 1
    else:
        _counters.hits += 1
    return entry


def put(key: str, entry: Entry) -> None:
    """Store ``entry`` under ``key``, if that is possible; when it is not, nothing happens."""
    root = directory()
    if root is None or root in _unwritable:
        return
    path = _path_of(root, key)
    data = _encode(key, entry)
    limit = config.cache_bytes
    if len(data) > limit:
        return
    folder = os.path.dirname(path)
    temporary = f"{folder}/{os.getpid()}-{next(_temporary_numbers)}-{key[:16]}{_TEMPORARY_SUFFIX}"
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except FileNotFoundError:  # somebody removes the directory at this very moment
        return
    except OSError:
        _unwritable.add(root)
        return
    # Keys are uniformly distributed: a draw with the right odds that needs no state shared between processes.
    if int(key[:8], 16) * limit < (len(data) * _SWEEPS_PER_LIMIT) << 32:
        _sweep(root, limit)


def _files(root: Path, suffix: str) -> Iterator[_File]:
    """All files of the cache with this suffix. Files that other processes remove meanwhile are left out."""
    try:
        folders = [folder.path for folder in os.scandir(root) if folder.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for folder in folders:
        try:
            items = list(os.scandir(folder))
        except OSError:
            continue
        for item in items:
            if item.name.endswith(suffix):
                with contextlib.suppress(OSError):
                    status = item.stat(follow_symlinks=False)
                    yield _File(item.path, status.st_size, status.st_mtime)


def _remove(files: Iterable[_File]) -> int:
    removed = 0
    for file in files:
        with contextlib.suppress(OSError):
            os.unlink(file.path)
            removed += 1
    return removed


def _sweep(root: Path, limit: int) -> None:
    """Remove the least recently used files when there are too many bytes, and what dead processes left behind."""
    now = time.time()
    _remove(file for file in _files(root, _TEMPORARY_SUFFIX) if now - file.used > _STALE_AFTER_SECONDS)
    files = sorted(_files(root, _SUFFIX), key=lambda file: file.used)
    total = sum(file.size for file in files)
    if total <= limit:
        return
    for file in files:
        if total <= limit * _FILL_AFTER_SWEEP:
            break
        _remove([file])
        total -= file.size


def info() -> DiskCacheInfo:
    """Where the disk cache is, what it holds, and how this process fared with it."""
    root = directory()
    sizes = [] if root is None else [file.size for file in _files(root, _SUFFIX)]
    return DiskCacheInfo(root, len(sizes), sum(sizes), _counters.hits, _counters.misses, config.cache_bytes)


def clear() -> int:
    """Remove all entries and reset the counters; returns how many entries there were."""
    _counters.hits = _counters.misses = 0
    root = directory()
    if root is None:
        return 0
    _remove(_files(root, _TEMPORARY_SUFFIX))
    return _remove(_files(root, _SUFFIX))
