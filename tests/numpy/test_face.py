"""One table of calls. Each is made with NumPy (the truth), with the face on plain arrays, with the face on traced arrays
and with NumPy on traced arrays through its protocols; values, dtypes and shapes must be NumPy's.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy_calls import CALLS

import gradxform.numpy as gnp
from gradxform.array import Array
from gradxform.core import Builder, Tracer, run
from gradxform.ir import ArrayType, check
from gradxform.numpy import assigning, names

#: The arrays that calls may name.
ARRAYS = {
    "v": np.array([0.3, -1.2, 2.5, 0.0, 0.7]),
    "w": np.array([1.5, 2.0, -0.5, 3.0, 0.25]),
    "p": np.array([0.5, 1.25, 3.0, 0.01]),
    "u": np.array([-0.9, -0.3, 0.0, 0.45, 0.99]),
    "A": np.array([[1.0, -2.0, 0.5, 3.0], [0.25, 0.0, -1.5, 2.0], [4.0, 1.0, -0.75, 0.125]]),
    "B": np.array([[0.5, 1.0, -1.0], [2.0, 0.0, 0.25], [1.5, -0.5, 3.0], [0.75, 1.25, -2.0]]),
    "S": np.array([[2.0, 0.5, -1.0], [0.5, 3.0, 0.25], [-1.0, 0.25, 1.5]]),
    "T": np.linspace(-1.0, 1.0, 24).reshape(2, 3, 4),
    "f": np.array([0.5, -1.5, 2.25], dtype=np.float32),
    "F": np.array([[0.5, -1.5, 2.25], [1.0, 0.0, -3.0]], dtype=np.float32),
    "i": np.array([3, -1, 0, 7, 2]),
    "j": np.array([2, 5, -3, 1, 4]),
    "I": np.array([[4, -2, 0], [7, 1, -5]]),
    "k": np.array([1, 0, 2]),
    "s": np.array([5, -7, 100], dtype=np.int32),
    "h": np.array([1, -3, 20], dtype=np.int16),
    "q": np.array([1, 200, 3], dtype=np.uint8),
    "b": np.array([True, False, True, True, False]),
    "c": np.array([False, False, True, True, True]),
    "M": np.array([[True, False, True, False], [False, False, True, True], [True, True, False, False]]),
    "N": np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 2.0]]),
    "z": np.array([np.inf, -np.inf, np.nan, -0.0, 1.0]),
    "x": np.float64(0.6),
    "n": np.int64(2),
    "e": np.zeros((0, 3)),
}


def names_in(call):
    return [name for name in ARRAYS if re.search(rf"(?<![\w.]){name}(?![\w=])", call)]


def evaluate(call, module, values):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return eval(call, {"m": module, **values, "None": None})


def leaves(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def staged(call, module, known):
    names = names_in(call)
    builder = Builder("test", Array)
    with builder:
        traced = {name: builder.add_input(ArrayType(np.asarray(ARRAYS[name]).dtype, np.shape(ARRAYS[name])),
                                          known=ARRAYS[name] if known else None) for name in names}
        outputs = leaves(evaluate(call, module, traced))
        plain = [x for x in outputs if not isinstance(x, Tracer)]
        program, captures = builder.finish([x for x in outputs if isinstance(x, Tracer)])
    check(program)
    with np.errstate(all="ignore"):
        return run(program, [*[ARRAYS[name] for name in names], *captures]), plain


def assert_same(found, expected, sign_of_zero=True):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if expected.dtype.kind == "f":
        tolerance = 64 * np.finfo(expected.dtype).eps
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        if sign_of_zero:
            np.testing.assert_array_equal(np.signbit(found) & (expected == 0), np.signbit(expected) & (expected == 0))
    else:
        np.testing.assert_array_equal(found, expected)


def needs_values(call):
    return call.startswith("KNOWN ")


def body(call):
    return call.removeprefix("KNOWN ")


@pytest.mark.parametrize("call", CALLS)
def test_plain_arrays_go_to_numpy(call):
    expected, found = (leaves(evaluate(body(call), module, ARRAYS)) for module in (np, gnp))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("call", CALLS)
def test_staged_equals_numpy(call):
    expected = leaves(evaluate(body(call), np, ARRAYS))
    found, plain = staged(body(call), gnp, needs_values(call))
    assert len(found) == len(expected) and not plain
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


#: What NumPy converts to an ndarray without asking: there only the face itself helps.
CONVERTING = re.compile(r"m\.(array|asarray|asanyarray|ascontiguousarray|asfortranarray|full|ix_|kaiser|vectorize)\(|"
                        r"m\.(r_|c_|mgrid)\[")


@pytest.mark.parametrize("call", [call for call in CALLS if names_in(body(call)) and not CONVERTING.search(call)])
def test_numpy_dispatches_to_the_face(call):
    expected = leaves(evaluate(body(call), np, ARRAYS))
    found, plain = staged(body(call), np, needs_values(call))
    for one, other in zip([*found, *plain], expected, strict=True):
        assert_same(one, other)


def test_every_function_is_called_by_some_test():
    called = {name for call in CALLS for name in re.findall(r"m\.(\w+)", call)}
    for path in Path(__file__).parent.glob("test_*.py"):
        called |= set(re.findall(r"\b(?:gnp|m|module)\.(\w+)", path.read_text("utf-8")))
    functions = {name for name in gnp.__all__ if callable(getattr(gnp, name)) and not isinstance(getattr(gnp, name), type)}
    plain = {"can_cast", "isscalar", "issubdtype", "promote_types", "shape", "ndim", "size", "result_type",
             "iscomplexobj", "isrealobj", *names.__all__}
    # Functions that write are called through NumPy there.
    written = set(re.findall(r"\bnp?\.(\w+)", (Path(__file__).parents[1] / "test_assignment.py").read_text("utf-8")))
    assert functions - called - plain - (written & set(assigning.__all__)) == set()


def test_there_are_many_names():
    assert len(gnp.__all__) >= 320
    assert all(hasattr(gnp, name) for name in gnp.__all__)
