"""The thread pool that emitted loops run on.

Kernels call one native function::

    void gx.parallel(void (*function)(void *context, int64_t chunk), void *context, int64_t chunks)

It runs every chunk from 0 to ``chunks - 1`` exactly once and returns when all are done; the caller takes part. It runs
them one after the other, in order, on the caller alone when the pool is busy (another Python thread has it, or a chunk
calls ``gx.parallel`` again), when ``config.num_threads`` is 1, and after the interpreter has begun to shut down. Which
thread runs a chunk is not determined; what a chunk computes must not depend on it.

The workers are daemon Python threads, each of which enters the native worker loop through ctypes, GIL released, and
stays there. They start when a parallel call first needs them, by a call back into Python, and so come again after a
fork. The native side, and how a job is handed out, is in ``threads_text``.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable

from gradxform.backend import compile as compiler
from gradxform.backend import disk_cache
from gradxform.backend.compile import Loaded, Tier
from gradxform.backend.threads_text import (
    EXPORTS,
    HIGHEST_STEERED_CPU,
    LIBC_SYMBOLS,
    STEERED_CPUS_AT_MOST,
    STEERING_EXPORTS,
    STEERING_SYMBOLS,
    pool_text,
)
from gradxform.config import Options, config
from gradxform.data_class import data_class

_EXIT_PATIENCE_SECONDS = 1.0
_INTERRUPT_AGAIN_SECONDS = 0.02


@data_class(frozen=True, slots=True)
class _Pool:
    """The linked native code as Python callables. Those that may wait release the GIL."""

    loaded: Loaded
    worker: Callable[[int], None]
    limit: Callable[[int], None]
    started: Callable[[], int]
    reset: Callable[[], None]
    stop: Callable[[], None]
    workers: list[threading.Thread]


def _object_code(text: str) -> bytes:
    key = disk_cache.key_of(["threads", compiler.codegen_identity(), text])
    entry = disk_cache.get(key)
    if entry is None:
        entry = disk_cache.Entry(compiler.compile_text(text, Tier.PLAIN), {})
        disk_cache.put(key, entry)
    return entry.object_code


def _address_of(function: object) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert address is not None
    return address


def _interrupt_again() -> None:
    time.sleep(_INTERRUPT_AGAIN_SECONDS)
    _thread.interrupt_main()


def _grow(running: int, wanted: int) -> int:
    """Start workers until there are ``wanted``; returns how many there are. Called by the owner of a parallel job."""
    pool = _pool()
    try:
        while running < wanted:
            thread = threading.Thread(
                target=pool.worker, args=(running,), name=f"gradxform-worker-{running}", daemon=True
            )
            thread.start()
            pool.workers.append(thread)
            running += 1
    except RuntimeError:  # no more threads to be had: make do with these, and do not ask again at every call
        pool.limit(running + 1)
    except KeyboardInterrupt:  # ctypes would swallow it here; raise it when the native call has returned
        _thread.start_new_thread(_interrupt_again, ())  # a Timer would be waited for, in here
    return running


_grow_callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(_grow)
_creation = threading.Lock()
_current: _Pool | None = None
_exiting = False


def _cpus_to_steer_among(library: ctypes.CDLL) -> list[int]:
    """The CPUs this process may use, where workers are to be steered away from the owner's; otherwise none."""
    if sys.platform != "linux" or not all(hasattr(library, name) for name in STEERING_SYMBOLS):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    few = 2 <= len(allowed) <= STEERED_CPUS_AT_MOST
    return allowed if few and allowed[-1] <= HIGHEST_STEERED_CPU else []


def _create() -> _Pool:
    library = ctypes.CDLL(None)
    steered_cpus = _cpus_to_steer_among(library)
    symbols = [*LIBC_SYMBOLS, *(STEERING_SYMBOLS if steered_cpus else ())]
    exports = [*EXPORTS, *(STEERING_EXPORTS if steered_cpus else ())]
    imports = {name: _address_of(getattr(library, name)) for name in symbols}
    imports["gx.grow"] = _address_of(_grow_callback)
    loaded = compiler.load(_object_code(pool_text(steering=bool(steered_cpus))), imports, exports)
    for cpu in steered_cpus:
        ctypes.PYFUNCTYPE(None, ctypes.c_int64)(loaded.address("gx.allow"))(cpu)
    pool = _Pool(
        loaded=loaded,
        worker=ctypes.CFUNCTYPE(None, ctypes.c_int64)(loaded.address("gx.worker")),
        limit=ctypes.PYFUNCTYPE(None, ctypes.c_int64)(loaded.address("gx.limit")),
        started=ctypes.PYFUNCTYPE(ctypes.c_int64)(loaded.address("gx.started")),
        reset=ctypes.PYFUNCTYPE(None)(loaded.address("gx.reset")),
        stop=ctypes.CFUNCTYPE(None)(loaded.address("gx.stop")),
        workers=[],
    )
    pool.reset()
    pool.limit(1 if _exiting else config.num_threads)
    return pool


def _pool() -> _Pool:
    global _current
    if _current is None:
        with _creation:
            if _current is None:
                _current = _create()
    return _current


def parallel_address() -> int:
    """Address of ``gx.parallel``, for the imports of a kernel. It stays valid as long as the process lives."""
    return _pool().loaded.address("gx.parallel")


def worker_count() -> int:
    """Worker threads this process has started; they are kept, asleep, when ``config.num_threads`` becomes smaller."""
    return 0 if _current is None else _current.started()


def _follow_config(options: Options) -> None:
    if _current is not None and not _exiting:
        _current.limit(options.num_threads)


def _start_afresh_in_child() -> None:
    # Only the forking thread lives on. The workers come again when a parallel call needs them.
    global _creation
    _creation = threading.Lock()
    if _current is not None:
        _current.workers.clear()
        _current.reset()


def _stop() -> None:
    # A worker must be back in Python, and gone, before the interpreter is torn down.
    global _exiting
    _exiting = True
    if _current is None:
        return
    _current.stop()
    deadline = time.monotonic() + _EXIT_PATIENCE_SECONDS
    for worker in _current.workers:
        worker.join(max(0.0, deadline - time.monotonic()))


config.subscribe(_follow_config)
os.register_at_fork(after_in_child=_start_afresh_in_child)
atexit.register(_stop)
