"""The memory of large results: blocks come back, arrays are NumPy's own in every other way."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import output_memory

LENGTH = output_memory.LARGE_BYTES // 8 + 3


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    gx.cache.clear()


@pytest.fixture
def double():
    return gx.jit(lambda x: 2 * x + 1)


def test_a_block_comes_back(double) -> None:
    x = np.arange(LENGTH, dtype=np.float64)
    first = double(x)
    address = first.ctypes.data
    assert output_memory.kept_bytes() == 0
    del first
    assert output_memory.kept_bytes() == 8 * LENGTH
    again = double(x)
    assert again.ctypes.data == address and output_memory.kept_bytes() == 0
    np.testing.assert_array_equal(again, 2 * x + 1)


def test_blocks_are_not_shared_while_arrays_live(double) -> None:
    x = np.arange(LENGTH, dtype=np.float64)
    first = double(x)
    second = double(first)
    np.testing.assert_array_equal(first, 2 * x + 1)
    np.testing.assert_array_equal(second, 4 * x + 3)
    view = first[5:]
    del first
    double(second)
    np.testing.assert_array_equal(view, 2 * x[5:] + 1)


def test_arrays_own_their_memory_and_may_be_resized(double) -> None:
    x = np.arange(LENGTH, dtype=np.float64)
    result = double(x)
    assert result.flags.owndata and result.flags.writeable and result.ctypes.data % 64 == 0
    result.resize(2 * LENGTH, refcheck=False)
    np.testing.assert_array_equal(result[:LENGTH], 2 * x + 1)
    np.testing.assert_array_equal(result[LENGTH:], 0)
    result.resize(3, refcheck=False)
    np.testing.assert_array_equal(result, [1, 3, 5])


def test_the_allocator_of_other_arrays_stays(double) -> None:
    from numpy._core.multiarray import get_handler_name

    usual = get_handler_name()
    result = double(np.zeros(LENGTH))
    assert get_handler_name(result) == "gradxform" and get_handler_name() == usual
    assert get_handler_name(np.zeros(LENGTH)) == usual
    assert get_handler_name(double(np.zeros(7))) == usual


def test_small_blocks_do_not_serve_large_arrays_nor_vast_ones_small_arrays(double) -> None:
    small = double(np.zeros(LENGTH))
    address = small.ctypes.data
    del small
    large = double(np.zeros(3 * LENGTH))
    assert large.ctypes.data != address and output_memory.kept_bytes() == 8 * LENGTH
    vast = large.ctypes.data
    del large
    assert double(np.zeros(2 * LENGTH)).ctypes.data != vast


def test_what_is_kept_is_bounded(double) -> None:
    results = [double(np.zeros(LENGTH)) for _ in range(2 * output_memory.SLOTS)]
    assert len({result.ctypes.data for result in results}) == len(results)
    results.clear()
    assert output_memory.kept_bytes() == output_memory.SLOTS * 8 * LENGTH
    huge = output_memory.KEPT_BYTES // 3 // 8
    results = [double(np.zeros(huge)) for _ in range(4)]
    results.clear()
    assert output_memory.kept_bytes() <= output_memory.KEPT_BYTES
    gx.cache.clear()
    assert output_memory.kept_bytes() == 0


def test_many_threads(double) -> None:
    wrong = []

    def work(start: float) -> None:
        x = np.full(LENGTH, start)
        for _ in range(30):
            result = double(x)
            if not (result[0] == result[-1] == 2 * start + 1):
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(float(start),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_arrays_may_outlive_the_interpreter() -> None:
    script = (
        "import numpy as np, gradxform as gx, sys\n"
        f"f = gx.jit(lambda x: 2 * x)\nsys.kept = [f(np.ones({LENGTH})) for _ in range(3)]\n"
        "sys.kept.append(sys.kept)\nprint(sys.kept[0][-1])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "2.0"), done.stderr
