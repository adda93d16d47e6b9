"""The settings: one object, ``config``, which holds a frozen record of options and replaces it as a whole.

Readers take ``config.snapshot()`` once and so see one consistent state; the record is hashable and may stand in a cache
key.

>>> from gradxform.config import config
>>> with config.override(num_threads=1):
...     config.num_threads
1
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import NoReturn, TypedDict, Unpack

from gradxform.data_class import data_class
from gradxform.errors import ArgumentError, ArgumentTypeError

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


@data_class(frozen=True, slots=True)
class Options:
    """One consistent state of the settings.

    Attributes:
        num_threads: threads that a parallel loop may use, the calling one included.
        cache_dir: directory of the disk cache; None is the user's cache directory, "" switches the disk cache off.
        cache_bytes: bound on the disk cache's size, in bytes.
        verify_ir: run every checker, LLVM's verifier included, on what is compiled. Slow; for tests and bug reports.
        parallel_threshold: estimated work in nanoseconds from which a loop is split over threads.
        release_gil_threshold: estimated work in nanoseconds from which a call releases the GIL.
        debug_nans: raise an error that names the user's line where a result is NaN. Slow; for searching.
    """

    num_threads: int
    cache_dir: str | None
    cache_bytes: int
    verify_ir: bool
    parallel_threshold: int
    release_gil_threshold: int
    debug_nans: bool


class OptionChanges(TypedDict, total=False):
    """Keyword arguments of ``update`` and ``override``: any of the fields of ``Options``, loosely typed."""

    num_threads: int
    cache_dir: str | os.PathLike[str] | None
    cache_bytes: int
    verify_ir: bool
    parallel_threshold: int
    release_gil_threshold: int
    debug_nans: bool


_NAMES = tuple(field.name for field in fields(Options))


def _quota_of(directory: Path) -> float:
    """CPUs' worth of time that one control group grants; infinity when it does not limit."""
    try:
        quota, period = (directory / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (directory / "cpu.cfs_quota_us").read_text()
            period = (directory / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    try:
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except ValueError:  # the word "max": no limit
        return math.inf


def _cgroup_quota(root: Path, membership: str) -> float:
    """Smallest quota on the way from this process's control groups (v1 and v2) up to the root.

    ``membership`` is the text of ``/proc/self/cgroup``. Inside a container the path it names is often that of the host,
    while the container's own group is mounted at the root; walking up to the root finds it in both cases.
    """
    smallest = math.inf
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            mounts = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / controllers, root / "cpu"]
        else:
            continue
        group = Path(path.lstrip("/"))
        for mount in mounts:
            for ancestor in (group, *group.parents):
                smallest = min(smallest, _quota_of(mount / ancestor))
    return smallest


@cache
def available_cpus() -> int:
    """CPUs this process may use at once: the smaller of its affinity mask and its control group's quota, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        membership = Path("/proc/self/cgroup").read_text()
    except OSError:
        return count
    quota = _cgroup_quota(Path("/sys/fs/cgroup"), membership)
    return count if math.isinf(quota) else max(1, min(count, math.ceil(quota)))


def _refuse(name: str, expected: str, value: object, wrong_type: bool) -> NoReturn:
    message = f"config.{name} must be {expected}, got {value!r}"
    raise (ArgumentTypeError if wrong_type else ArgumentError)(message)


def _integer(name: str, value: object, smallest: int) -> int:
    expected = f"an integer of at least {smallest}"
    if isinstance(value, bool):
        _refuse(name, expected, value, wrong_type=True)
    try:
        number = value.__index__()  # type: ignore[attr-defined]
    except AttributeError:
        _refuse(name, expected, value, wrong_type=True)
    if number < smallest:
        _refuse(name, expected, value, wrong_type=False)
    return int(number)


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        _refuse(name, "True or False", value, wrong_type=True)
    return value


def _directory(name: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        text = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        text = b""
    if not isinstance(text, str):
        _refuse(name, 'a path, None (the default place) or "off"', value, wrong_type=True)
    return "" if text.strip().lower() in ("", "off") else os.path.abspath(os.path.expanduser(text))


def _validate(name: str, value: object) -> object:
    match name:
        case "num_threads":
            return _integer(name, value, 1)
        case "cache_bytes" | "parallel_threshold" | "release_gil_threshold":
            return _integer(name, value, 0)
        case "cache_dir":
            return _directory(name, value)
        case _:
            return _boolean(name, value)


def _switch(variable: str) -> bool:
    """An environment variable that is on or off; unset is off."""
    value = os.environ.get(variable, "").strip().lower()
    if value not in _TRUE + _FALSE:
        raise ArgumentError(f"{variable} must be one of {', '.join(_TRUE + _FALSE[1:])}, got {value!r}")
    return value in _TRUE


def _from_environment() -> Options:
    threads = os.environ.get("GRADXFORM_NUM_THREADS", "").strip()
    if threads and not (threads.isdecimal() and int(threads) >= 1):
        raise ArgumentError(f"GRADXFORM_NUM_THREADS must be an integer of at least 1, got {threads!r}")
    return Options(
        num_threads=int(threads) if threads else available_cpus(),
        cache_dir=_directory("cache_dir", os.environ.get("GRADXFORM_CACHE_DIR")),
        cache_bytes=1 << 30,
        verify_ir=_switch("GRADXFORM_VERIFY"),
        parallel_threshold=50_000,
        release_gil_threshold=20_000,
        debug_nans=_switch("GRADXFORM_DEBUG_NANS"),
    )


class Config:
    """The settings as attributes, each checked when it is set.

    There is one instance, ``config``. Settings hold for the whole process, not for one thread. Their first values come
    from the environment (``GRADXFORM_NUM_THREADS``, ``GRADXFORM_CACHE_DIR``, ``GRADXFORM_VERIFY``,
    ``GRADXFORM_DEBUG_NANS``) where that is set.

    >>> config.num_threads = 0
    Traceback (most recent call last):
        ...
    gradxform.errors.ArgumentError: config.num_threads must be an integer of at least 1, got 0
    """

    __slots__ = ("_listeners", "_options")
    _options: Options
    _listeners: tuple[Callable[[Options], None], ...]

    def __init__(self) -> None:
        object.__setattr__(self, "_options", _from_environment())
        object.__setattr__(self, "_listeners", ())

    @property
    def num_threads(self) -> int:
        """Threads a parallel loop may use, the calling one included. Default: the CPUs this process may use."""
        return self._options.num_threads

    @num_threads.setter
    def num_threads(self, value: int) -> None:
        self.update(num_threads=value)

    @property
    def cache_dir(self) -> str | None:
        """Directory of the disk cache; None is the user's cache directory, "" or "off" switches the disk cache off."""
        return self._options.cache_dir

    @cache_dir.setter
    def cache_dir(self, value: str | os.PathLike[str] | None) -> None:
        self.update(cache_dir=value)

    @property
    def cache_bytes(self) -> int:
        """Bound on the size of the disk cache, in bytes; the least recently used entries go first. Default: 1 GiB."""
        return self._options.cache_bytes

    @cache_bytes.setter
    def cache_bytes(self, value: int) -> None:
        self.update(cache_bytes=value)

    @property
    def verify_ir(self) -> bool:
        """Whether every checker, LLVM's verifier included, runs on what is compiled. Default: False."""
        return self._options.verify_ir

    @verify_ir.setter
    def verify_ir(self, value: bool) -> None:
        self.update(verify_ir=value)

    @property
    def parallel_threshold(self) -> int:
        """Estimated work, in nanoseconds, from which a loop is split over threads. Default: 50,000."""
        return self._options.parallel_threshold

    @parallel_threshold.setter
    def parallel_threshold(self, value: int) -> None:
        self.update(parallel_threshold=value)

    @property
    def release_gil_threshold(self) -> int:
        """Estimated work, in nanoseconds, from which a compiled call releases the GIL. Default: 20,000."""
        return self._options.release_gil_threshold

    @release_gil_threshold.setter
    def release_gil_threshold(self, value: int) -> None:
        self.update(release_gil_threshold=value)

    @property
    def debug_nans(self) -> bool:
        """Whether a NaN among the results raises NanError, which names the line of the first one. Default: False.

        Programs that run without jit are checked after each operation. A jitted function is checked when it returns; if
        one of its results is NaN it is run again, operation by operation.
        """
        return self._options.debug_nans

    @debug_nans.setter
    def debug_nans(self, value: bool) -> None:
        self.update(debug_nans=value)

    def snapshot(self) -> Options:
        """The present settings as one frozen, hashable record."""
        return self._options

    def update(self, **changes: Unpack[OptionChanges]) -> None:
        """Set several settings at once: all of them, or none when one is refused.

        Raises:
            ArgumentError: a value is out of range.
            ArgumentTypeError: a value is of the wrong type.
            AttributeError: there is no such setting.
        """
        for name in changes:
            if name not in _NAMES:
                raise AttributeError(f"config has no setting {name!r}; there are {', '.join(_NAMES)}")
        checked = {name: _validate(name, value) for name, value in changes.items()}
        self._install(replace(self._options, **checked))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def override(self, **changes: Unpack[OptionChanges]) -> Iterator[Options]:
        """Settings that hold inside a ``with`` block; at its end all settings are what they were before it.

        Yields:
            The record that holds inside the block.
        """
        before = self._options
        self.update(**changes)
        try:
            yield self._options
        finally:
            self._install(before)

    def subscribe(self, listener: Callable[[Options], None]) -> None:
        """Call ``listener`` with the new record after every change, for state that lives outside Python."""
        object.__setattr__(self, "_listeners", (*self._listeners, listener))

    def _install(self, options: Options) -> None:
        object.__setattr__(self, "_options", options)
        for listener in self._listeners:
            listener(options)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _NAMES:
            raise AttributeError(f"config has no setting {name!r}; there are {', '.join(_NAMES)}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return "\n".join(["config", *(f"  {name} = {getattr(self._options, name)!r}" for name in _NAMES)])


config = Config()
