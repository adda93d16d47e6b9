"""Functions of the face are NumPy's own while nothing is recorded, and record as soon as anything is, in any thread."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform.array import Array
from gradxform.core import Builder, Tracer, direct


def is_direct(face: Any) -> bool:
    return face.func is getattr(np, face.__name__)


def test_a_face_becomes_direct_with_its_first_call_and_careful_while_something_is_recorded() -> None:
    gnp.cos(1.0)
    assert is_direct(gnp.cos)
    with Builder("test", Array):
        assert not is_direct(gnp.cos)
        assert isinstance(gnp.cos(np.ones(3)), Tracer)
        with Builder("inner", Array):
            assert isinstance(gnp.cos(np.ones(3)), Tracer)
        assert isinstance(gnp.cos(np.ones(3)), Tracer)
        assert not is_direct(gnp.cos)
    assert isinstance(gnp.cos(np.ones(3)), np.ndarray)
    assert is_direct(gnp.cos)


def test_recording_that_fails_lets_go() -> None:
    with pytest.raises(ZeroDivisionError):
        gx.jit(lambda x: x + 1 // 0)(1.0)
    gnp.cos(1.0)
    assert is_direct(gnp.cos)


def test_other_threads_evaluate_while_one_records() -> None:
    found: list[Any] = []
    with Builder("test", Array):
        thread = threading.Thread(target=lambda: found.append(gnp.exp(np.zeros(2))))
        thread.start()
        thread.join()
        assert not is_direct(gnp.exp)
    assert isinstance(found[0], np.ndarray)


def test_many_threads_that_record_and_evaluate_never_mix() -> None:
    wrong: list[Any] = []

    def record() -> None:
        for _ in range(300):
            with Builder("test", Array):
                if not isinstance(gnp.tan(np.ones(2)), Tracer):
                    wrong.append("evaluated while recording")

    def evaluate() -> None:
        for _ in range(3000):
            if not isinstance(gnp.tan(np.ones(2)), np.ndarray):
                wrong.append("recorded while evaluating")

    threads = [threading.Thread(target=work) for work in (record, evaluate, record, evaluate)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    gnp.tan(1.0)
    assert is_direct(gnp.tan)


def test_holding_nests() -> None:
    gnp.sinh(1.0)
    direct.hold()
    direct.hold()
    direct.release()
    gnp.sinh(1.0)
    assert not is_direct(gnp.sinh)
    direct.release()
    gnp.sinh(1.0)
    assert is_direct(gnp.sinh)


def test_stepping_in_python_gives_arrays_with_updates() -> None:
    gnp.sqrt(1.0)
    with gx.disable_jit():
        assert not is_direct(gnp.sqrt)
        np.testing.assert_array_equal(gnp.sqrt(np.ones(2)).at[0].set(5.0), [5.0, 1.0])
    assert type(gnp.sqrt(np.ones(2))) is np.ndarray


def test_constants_are_recorded_although_the_face_was_direct() -> None:
    gnp.zeros(2)
    assert is_direct(gnp.zeros)
    np.testing.assert_array_equal(gx.jit(lambda x: gnp.zeros(2).at[0].set(x))(3.0), [3.0, 0.0])


def test_faces_look_like_functions() -> None:
    for face in (gnp.sin, gnp.sum, gnp.where):
        assert pickle.loads(pickle.dumps(face)) is face
        assert copy.copy(face) is face and copy.deepcopy(face) is face
        assert face.__doc__ and face.__module__.startswith("gradxform.numpy")
    assert gnp.power is pickle.loads(pickle.dumps(gnp.pow))
    assert list(inspect.signature(gnp.sum).parameters)[:3] == ["a", "axis", "dtype"]
    assert gnp.sum.__name__ == "sum"


def test_faces_of_ufuncs_have_their_methods_and_facts() -> None:
    x = np.array([[1.0, 3.0], [2.0, -4.0]])
    for module in (gnp, np):
        assert (module.add.nin, module.add.nout, module.add.identity, module.add.signature) == (2, 1, 0, None)
        np.testing.assert_array_equal(module.add.reduce(x, axis=1), [4.0, -2.0])
        np.testing.assert_array_equal(module.maximum.accumulate(x), [[1.0, 3.0], [2.0, 3.0]])
        np.testing.assert_array_equal(module.subtract.outer([1.0, 2.0], [1.0]), [[0.0], [1.0]])
        np.testing.assert_array_equal(module.add.reduceat(x[0], [0]), [4.0])
    with gx.disable_jit():
        assert gnp.add.reduce(x).at[0].set(0.0)[0] == 0.0
