"""The thread pool: every chunk exactly once, in whatever way it is called, and no trace of it at fork and exit."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator

import pytest

from gradxform.backend import compile as compiler
from gradxform.backend import threads
from gradxform.backend.compile import Loaded, Tier
from gradxform.config import config

# mark: adds 1 to an element of an array of 32-bit counters. spin: works for as many iterations as the first element of
# the context says, then counts. nest: runs a region of 50 chunks inside each chunk. order: appends the chunk's number.
KERNELS = """
declare void @gx.parallel(ptr, ptr, i64)

define internal void @mark(ptr %context, i64 %chunk) {
  %place = getelementptr i32, ptr %context, i64 %chunk
  %old = atomicrmw add ptr %place, i32 1 monotonic
  ret void
}

define void @mark_all(ptr %context, i64 %chunks) {
  call void @gx.parallel(ptr @mark, ptr %context, i64 %chunks)
  ret void
}

define void @mark_often(ptr %context, i64 %chunks, i64 %times) {
entry:
  br label %again
again:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  call void @gx.parallel(ptr @mark, ptr %context, i64 %chunks)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %again, label %end
end:
  ret void
}

define internal void @spin(ptr %context, i64 %chunk) {
entry:
  %iterations = load volatile i32, ptr %context, align 4
  br label %again
again:
  %i = phi i32 [ 0, %entry ], [ %next, %again ]
  %look = load volatile i32, ptr %context, align 4
  %next = add i32 %i, 1
  %more = icmp slt i32 %next, %iterations
  br i1 %more, label %again, label %end
end:
  %index = add i64 %chunk, 1
  %place = getelementptr i32, ptr %context, i64 %index
  %old = atomicrmw add ptr %place, i32 1 monotonic
  ret void
}

define void @spin_all(ptr %context, i64 %chunks) {
  call void @gx.parallel(ptr @spin, ptr %context, i64 %chunks)
  ret void
}

define internal void @nest(ptr %context, i64 %chunk) {
  %offset = mul i64 %chunk, 50
  %place = getelementptr i32, ptr %context, i64 %offset
  call void @gx.parallel(ptr @mark, ptr %place, i64 50)
  ret void
}

define void @nest_all(ptr %context, i64 %chunks) {
  call void @gx.parallel(ptr @nest, ptr %context, i64 %chunks)
  ret void
}

define internal void @order(ptr %context, i64 %chunk) {
  %position = load i32, ptr %context, align 4
  %next = add i32 %position, 1
  store i32 %next, ptr %context, align 4
  %wide = sext i32 %next to i64
  %place = getelementptr i32, ptr %context, i64 %wide
  %number = trunc i64 %chunk to i32
  store i32 %number, ptr %place, align 4
  ret void
}

define void @order_all(ptr %context, i64 %chunks) {
  call void @gx.parallel(ptr @order, ptr %context, i64 %chunks)
  ret void
}
"""
ENTRIES = ["mark_all", "spin_all", "nest_all", "order_all"]


class Kernels:
    """The kernels above; each returns the counters after a run."""

    def __init__(self) -> None:
        code = compiler.compile_text(KERNELS, Tier.STRAIGHT)
        imports = {"gx.parallel": threads.parallel_address()}
        self.loaded: Loaded = compiler.load(code, imports, [*ENTRIES, "mark_often"])

    def run(self, name: str, chunks: int, size: int, first: int = 0) -> list[int]:
        counters = (ctypes.c_int32 * size)(first)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.loaded.address(name))(counters, chunks)
        return list(counters)

    def mark_often(self, chunks: int, times: int) -> list[int]:
        counters = (ctypes.c_int32 * chunks)()
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        prototype(self.loaded.address("mark_often"))(counters, chunks, times)
        return list(counters)


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with config.override(num_threads=4):
        yield


@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 7, 1000])
def test_every_chunk_once(kernels: Kernels, number: int, chunks: int) -> None:
    with config.override(num_threads=number):
        for _ in range(20):
            assert kernels.run("mark_all", chunks, 1024) == [1] * chunks + [0] * (1024 - chunks)


def test_negative_chunk_counts_run_nothing(kernels: Kernels) -> None:
    assert kernels.run("mark_all", -3, 4) == [0] * 4


@pytest.mark.parametrize("number", [2, 3, 8])
def test_one_region_after_another(kernels: Kernels, number: int) -> None:
    # Workers leave one job while the next is published: none may run a chunk of the wrong one, or twice.
    with config.override(num_threads=number):
        for chunks in (2, 3, 5, 64):
            assert kernels.mark_often(chunks, 2000) == [2000] * chunks


def test_long_chunks_are_waited_for(kernels: Kernels) -> None:
    for iterations in (100, 10_000, 300_000):
        assert kernels.run("spin_all", 9, 10, iterations) == [iterations] + [1] * 9


def test_sleeping_workers_are_woken(kernels: Kernels) -> None:
    for _ in range(20):
        threading.Event().wait(0.002)  # longer than workers spin
        assert kernels.run("spin_all", 6, 7, 50_000) == [50_000] + [1] * 6


def test_nested_regions(kernels: Kernels) -> None:
    for _ in range(50):
        assert kernels.run("nest_all", 20, 1000) == [1] * 1000


def test_one_thread_runs_in_order(kernels: Kernels) -> None:
    with config.override(num_threads=1):
        assert kernels.run("order_all", 40, 41) == [40, *range(40)]


def test_workers_start_when_needed_and_never_more(kernels: Kernels) -> None:
    with config.override(num_threads=6):
        kernels.run("mark_all", 12, 12)
        assert threads.worker_count() >= 5
        count = threads.worker_count()
        config.num_threads = 2
        kernels.run("mark_all", 12, 12)
        config.num_threads = count + 1
        kernels.run("mark_all", 12, 12)
        assert threads.worker_count() == count
        config.num_threads = count + 2
        kernels.run("mark_all", 12, 12)
        assert threads.worker_count() == count + 1
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("gradxform-worker-")]
    assert len(names) == len(set(names)) == threads.worker_count()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in names)


def test_the_number_of_threads_changes_while_kernels_run(kernels: Kernels) -> None:
    stop = threading.Event()

    def change() -> None:
        number = 1
        while not stop.is_set():
            number = number % 5 + 1
            config.num_threads = number

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(100):
            assert kernels.mark_often(7, 50) == [50] * 7
    finally:
        stop.set()
        changer.join()


def test_many_python_threads_at_once(kernels: Kernels) -> None:
    failures: list[object] = []

    def work() -> None:
        for _ in range(20):
            if kernels.mark_often(11, 50) != [50] * 11 or kernels.run("spin_all", 5, 6, 2000)[1:] != [1] * 5:
                failures.append(threading.current_thread())

    callers = [threading.Thread(target=work) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert failures == []


def test_no_thread_to_be_had(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(thread: threading.Thread) -> None:
        asked.append(thread)
        raise RuntimeError("can't start new thread")

    kernels.run("mark_all", 8, 8)
    count = threads.worker_count()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    config.num_threads = count + 5
    for _ in range(10):
        assert kernels.run("mark_all", 40, 40) == [1] * 40
    assert len(asked) == 1
    assert threads.worker_count() == count


def in_child(action: Callable[[], bool]) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os._exit(0 if action() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(kernels: Kernels) -> None:
    kernels.run("mark_all", 8, 8)
    before = threads.worker_count()

    def action() -> bool:
        fresh = threads.worker_count() == 0
        right = kernels.mark_often(7, 300) == [300] * 7
        grandchild = in_child(lambda: kernels.mark_often(5, 300) == [300] * 5 and threads.worker_count() == 3)
        return fresh and right and threads.worker_count() == 3 and grandchild == 0

    assert in_child(action) == 0
    assert threads.worker_count() == before
    assert kernels.mark_often(7, 100) == [100] * 7


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_while_other_threads_run_kernels(kernels: Kernels) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            kernels.mark_often(6, 200)

    callers = [threading.Thread(target=work) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(10):
            assert in_child(lambda: kernels.mark_often(7, 100) == [100] * 7) == 0
    finally:
        stop.set()
        for caller in callers:
            caller.join()


PRELUDE = """
import ctypes, os, sys, threading, time
sys.path.insert(0, os.environ["TESTS_DIRECTORY"])
from gradxform.config import config
config.num_threads = 4
import test_threads
kernels = test_threads.Kernels()
"""


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TESTS_DIRECTORY": os.path.dirname(os.path.abspath(__file__)),
    }
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_clean(done: subprocess.CompletedProcess[str], output: str) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_exit_with_sleeping_workers() -> None:
    assert_clean(run_script("kernels.mark_often(5, 10); time.sleep(0.05); print(threading.active_count())"), "4\n")


def test_exit_with_spinning_workers() -> None:
    assert_clean(run_script("print(sum(kernels.mark_often(5, 2000)))"), "10000\n")


def test_exit_before_the_pool_was_used() -> None:
    assert_clean(run_script("print(threading.active_count())"), "1\n")


def test_exit_while_a_daemon_thread_runs_kernels() -> None:
    script = """
    def work():
        while True:
            kernels.mark_often(5, 100)
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.05)
    """
    assert_clean(run_script(script), "")


def test_kernels_still_run_in_exit_handlers() -> None:
    script = """
    import atexit
    from gradxform.backend import threads
    kernels.mark_often(5, 10)
    atexit.unregister(threads._stop)
    def late():
        config.num_threads = 8
        print(sum(kernels.mark_often(5, 10)), threading.active_count())
    atexit.register(late)
    atexit.register(threads._stop)  # what is registered last runs first
    """
    assert_clean(run_script(script), "50 1\n")


def test_exit_by_exception_in_a_fork() -> None:
    script = """
    kernels.mark_often(5, 10)
    child = os.fork()
    # In one piece: what both print must not run into each other.
    os.write(1, b"%d\\n" % sum(kernels.mark_often(5, 10)))
    if child:
        print(os.waitpid(child, 0)[1], flush=True)
    else:
        sys.exit(3)
    """
    done = run_script(script)
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == sorted(["50", "50", str(3 << 8)])


def test_keyboard_interrupt_comes_after_the_region() -> None:
    script = """
    import signal
    kernels.mark_often(5, 10)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    rounds = 0
    try:
        while rounds < 10_000:
            assert kernels.mark_often(5, 200) == [200] * 5
            rounds += 1
    except KeyboardInterrupt:
        print("interrupted")
    print(sum(kernels.mark_often(5, 10)))
    """
    assert_clean(run_script(script), "interrupted\n50\n")


def test_keyboard_interrupt_while_workers_start() -> None:
    script = """
    real = threading.Thread.start
    def interrupted(thread):
        if thread.name.startswith("gradxform"):
            threading.Thread.start = real
            raise KeyboardInterrupt
        real(thread)
    threading.Thread.start = interrupted
    try:
        kernels.mark_often(5, 10)
        for _ in range(5000):
            time.sleep(0.001)
    except KeyboardInterrupt:  # it may arrive within the call's return, or in the loop behind it
        print("interrupted")
    print(sum(kernels.mark_often(5, 10)))
    """
    assert_clean(run_script(script), "interrupted\n50\n")


def test_the_native_code_is_cached_on_disk() -> None:
    script = """
    from gradxform.backend import disk_cache
    print(disk_cache.info().hits >= 1)
    """
    run_script(script)
    assert_clean(run_script(script), "True\n")
