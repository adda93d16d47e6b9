"""The callable object: chains, methods, lifetime of code, threads, exit."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from entry_kernels import (
    COPY_FIRST,
    IN,
    OUT,
    ROOT,
    Comparable,
    Recorder,
    compiled,
    is_slow,
    kernel_text,
    native,
    sized,
)

from gradxform.backend import callable as callable_module
from gradxform.backend.callable import NativeCallable, NativeEntry
from gradxform.backend.signature import (
    EntrySpec,
    NoneNode,
    StaticLeaf,
)
from gradxform.errors import ArgumentError, ArgumentTypeError


def test_chain_tries_all_specialisations() -> None:
    function = Recorder()
    assert is_slow(function(np.zeros(1)))
    for size in range(1, 6):
        function.link(*sized(size))
        assert function.specialization_count == size
        for k in range(1, 8):
            result = function(np.full(k, 2.0))
            assert is_slow(result) == (k > size)
            if k <= size:
                np.testing.assert_array_equal(result, np.full(k, 2.0))
        assert function(1, a=2) == ("slow", (1,), {"a": 2})
    function.unlink_all()
    assert function.specialization_count == 0
    assert is_slow(function(np.zeros(1)))


def test_entry_is_in_one_chain_at_a_time() -> None:
    link = sized(2)
    first, second = Recorder(), Recorder()
    first.link(*link)
    for function in (first, second):
        with pytest.raises(ArgumentError, match="already linked"):
            function.link(*link)
    first.unlink_all()
    second.link(*link)
    assert not is_slow(second(np.zeros(2)))
    assert is_slow(first(np.zeros(2)))


def test_single_entry() -> None:
    address, cell, alive = sized(2)
    entry = NativeEntry(address, cell, alive)
    np.testing.assert_array_equal(entry(np.ones(2)), [1.0, 1.0])
    with pytest.raises(ArgumentTypeError, match=r"positional arguments \(int\)"):
        entry(1)
    chained = Recorder()
    chained.link(address, cell, alive)
    del entry
    assert not is_slow(chained(np.ones(2)))


def test_slow_path_may_link_raise_and_recurse() -> None:
    class Lazy(NativeCallable):
        def call_slow(self, /, x: np.ndarray) -> object:
            if x.size > 4:
                raise ZeroDivisionError("too long")
            self.link(*sized(x.size))
            return self(x)

    function = Lazy()
    for size in (1, 2, 1, 3, 2):
        np.testing.assert_array_equal(function(np.ones(size)), np.ones(size))
    assert function.specialization_count == 3
    with pytest.raises(ZeroDivisionError, match="too long"):
        function(np.ones(5))
    with pytest.raises(TypeError):
        function()

    class Endless(NativeCallable):
        def call_slow(self, /, *args: object) -> object:
            return self(*args)

    endless = Endless()
    for _ in range(2):
        with pytest.raises(RecursionError):
            endless(1)
        endless.link(*sized(1))


def test_slow_path_of_the_base_explains() -> None:
    with pytest.raises(ArgumentTypeError, match=r"2 positional arguments \(int, str\).*\['key'\]"):
        NativeCallable()(1, "a", key=2)


class Described(Recorder):
    """A subclass as users see it."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.values = [name]


def test_instances_are_ordinary_objects() -> None:
    function = Described("f")
    function.link(*sized(1))
    assert function.__name__ == "f"
    function.extra = 3  # type: ignore[attr-defined]
    assert vars(function)["extra"] == 3
    assert callable(function)
    assert function == function and function != Described("f")
    assert len({function, function}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(function)
    with pytest.raises(TypeError):
        copy.copy(function)
    reference = weakref.ref(function)
    function.values.append(function)  # type: ignore[arg-type]
    del function
    gc.collect()
    assert reference() is None


def test_code_is_freed_with_its_callable() -> None:
    function = Recorder()
    address, cell, alive = sized(1)
    loaded = weakref.ref(alive[0])  # type: ignore[index]
    function.link(address, cell, alive)
    del alive
    gc.collect()
    assert loaded() is not None
    assert not is_slow(function(np.zeros(1)))
    del function
    gc.collect()
    assert loaded() is None


def test_call_after_the_finaliser_is_slow_and_safe() -> None:
    results = []

    class Last:
        def __init__(self, function: NativeCallable) -> None:
            self.function = function

        def __del__(self) -> None:
            results.append(self.function(np.zeros(1)))
            self.function.link(*sized(1))
            results.append(self.function(np.zeros(1)))

    for _ in range(3):
        function = Described("f")
        function.link(*sized(1))
        function.values.append(Last(function))  # type: ignore[arg-type]
        del function
        gc.collect()
    assert len(results) == 6


def test_methods() -> None:
    class Model:
        predict = native(EntrySpec((StaticLeaf(0), IN), (), OUT), kernel_text(COPY_FIRST), statics={0: Comparable()})
        other = Recorder()

    model = Model()
    assert model.other(1, a=2) == ("slow", (model, 1), {"a": 2})
    assert Model.other(1) == ("slow", (1,), {})
    assert Model.other is Model.__dict__["other"]
    bound = model.other
    assert bound.__self__ is model and bound.__func__ is Model.other
    assert bound(3) == ("slow", (model, 3), {})
    array = np.arange(3.0)
    assert is_slow(model.predict(array))
    assert not is_slow(Model.predict(Comparable(), array))

    class Point(Comparable):
        predict = Model.predict

    # Equal and of the same type as the static object: a native call with the instance as first argument.
    point = native(EntrySpec((StaticLeaf(0), IN), (), OUT), kernel_text(COPY_FIRST), statics={0: Point()})
    Point.predict = point
    np.testing.assert_array_equal(Point().predict(array), array)


def test_subclass_may_override_call_and_get() -> None:
    class Loud(Recorder):
        def __call__(self, /, *args: object, **kwargs: object) -> object:
            return ("loud", super().__call__(*args, **kwargs))

        def __get__(self, instance: object, owner: type | None = None) -> object:
            return "got"

    function = Loud()
    function.link(*sized(1))
    kind, result = function(np.ones(1))
    assert kind == "loud"
    np.testing.assert_array_equal(result, [1.0])
    assert type("Holder", (), {"attribute": function})().attribute == "got"


def test_unlinking_inside_a_call() -> None:
    function = Recorder()

    def unlink() -> None:
        function.unlink_all()
        gc.collect()

    spec = EntrySpec((StaticLeaf(0), IN), (), OUT)
    array = np.arange(3.0)
    for _ in range(10):
        function.link(*sized(1))
        function.link(*compiled(spec, kernel_text(COPY_FIRST), statics={0: Comparable()}))
        np.testing.assert_array_equal(function(Comparable(unlink), array), array)
        assert function.specialization_count == 0
        # The same on the way to the next of the chain, which is gone by then.
        function.link(*sized(1))
        function.link(*compiled(spec, kernel_text(COPY_FIRST), statics={0: Comparable()}))
        assert is_slow(function(Comparable(unlink), 1))
        assert is_slow(function(Comparable(), array))


def test_unlinked_code_is_freed_when_its_last_call_has_left() -> None:
    function = Recorder()

    def unlink() -> None:
        function.unlink_all()
        gc.collect()
        alive_inside.append(loaded() is not None)

    alive_inside: list[bool] = []
    link = compiled(EntrySpec((StaticLeaf(0),), (), NoneNode()), kernel_text(""), statics={0: Comparable()})
    loaded = weakref.ref(link[2][0])  # type: ignore[index]
    function.link(*link)
    del link
    assert function(Comparable(unlink)) is None
    assert alive_inside == [True]
    function.unlink_all()
    gc.collect()
    assert loaded() is None


def test_slow_path_may_unlink_the_chain_it_came_from() -> None:
    class Evicting(NativeCallable):
        def call_slow(self, /, *args: object) -> object:
            self.unlink_all()
            gc.collect()
            return args

    function = Evicting()
    for _ in range(10):
        function.link(*sized(1))
        function.link(*sized(2))
        assert function(3) == (3,)


def test_threads_call_while_others_link_and_unlink() -> None:
    function = Recorder()
    links = [sized(size) for size in range(1, 5)]
    failures: list[object] = []
    stop = threading.Event()

    def call() -> None:
        arrays = [np.full(size, float(size)) for size in range(1, 6)]
        while not stop.is_set():
            for array in arrays:
                result = function(array)
                if not is_slow(result) and not np.array_equal(result, array):
                    failures.append(result)

    threads = [threading.Thread(target=call) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(200):
            for link in links:
                function.link(*link)
            function.unlink_all()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not failures


def test_runtime_without_vectorcall_gives_the_same_results() -> None:
    script = """
import ctypes
real = ctypes.PYFUNCTYPE
def refuse(*types):
    def make(target, *rest):
        if isinstance(target, tuple) and target[0] == "PyType_FromSpec":
            raise AttributeError(target[0])
        return real(*types)(target, *rest)
    return make
ctypes.PYFUNCTYPE = refuse
from gradxform.backend import callable as module
ctypes.PYFUNCTYPE = real
assert not module.NATIVE_DISPATCH

import sys
sys.path.insert(0, "tests")
from test_callable import *
function = Recorder()
assert is_slow(function(1))
function.link(*sized(1))
function.link(*sized(2))
assert (function(np.ones(1)) == [1.0]).all() and (function(np.ones(2)) == [1.0, 1.0]).all()
assert function(3, k=4) == ("slow", (3,), {"k": 4})
class Model:
    method = function
model = Model()
assert model.method(5) == ("slow", (model, 5), {})
assert Model.method is function
function.unlink_all()
assert is_slow(function(np.ones(1)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def test_exit_with_linked_functions_is_quiet() -> None:
    script = (
        "import sys\nsys.path.insert(0, 'tests')\nfrom test_callable import *\nimport builtins\n"
        "function = Recorder(); function.link(*sized(1)); builtins.kept = function\n"
        "cycle = Described('f'); cycle.link(*sized(1)); cycle.values.append(cycle)\n"
        "print(function(np.ones(1)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[1.]\n", "")


def test_native_dispatch_works_here() -> None:
    assert callable_module.NATIVE_DISPATCH
