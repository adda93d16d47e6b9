"""The traced array: operators, methods, indexing, updates, protocols, control flow and refusals, against NumPy."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors
from gradxform.array import Array
from gradxform.core import Builder, run
from gradxform.ir import ArrayType, check


def staged(function, *arrays, known=False):
    """The results of ``function`` traced at these arrays (Python numbers are weak inputs)."""
    builder = Builder("test", Array)
    with builder:
        inputs = [builder.add_input(
            ArrayType(np.asarray(a).dtype, np.shape(a), type(a) in (bool, int, float)), known=a if known else None)
            for a in arrays]
        result = function(*inputs)
        several = isinstance(result, (tuple, list))
        program, captures = builder.finish(result if several else [result])
    with np.errstate(all="ignore"):
        results = run(check(program), [*map(np.asarray, arrays), *captures])
    return results if several else results[0]


def assert_like_numpy(function, *arrays):
    with np.errstate(all="ignore"):
        expected = function(*arrays)
    found = staged(function, *arrays)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(found, expected, rtol=1e-15)


# ---------------------------------------------------------------------------------------------------- operators

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
          operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
OPERANDS = {
    "f8": np.array([1.5, -2.0, 0.25]), "f4": np.array([0.5, 3.0, -1.0], np.float32), "i8": np.array([2, -3, 5]),
    "i4": np.array([1, 4, 2], np.int32), "u1": np.array([7, 1, 200], np.uint8), "scalar": np.float64(2.5), "i": 3,
    "f": 2.0, "list": [1.0, 2.0, 3.0], "matrix": np.array([[1.0], [2.0]]), "zero_d": np.array(2.0),
}


@pytest.mark.parametrize("left", OPERANDS)
@pytest.mark.parametrize("right", OPERANDS)
@pytest.mark.parametrize("apply", BINARY, ids=lambda f: f.__name__)
def test_binary_operators(apply, left, right):
    x, y = OPERANDS[left], OPERANDS[right]
    if isinstance(x, (list, int, float)) and isinstance(y, (list, int, float)):
        return
    if apply is operator.pow and np.asarray(y).dtype.kind in "iu" and np.any(np.asarray(y) < 0) and (
            np.asarray(x).dtype.kind in "iu"):
        return
    with np.errstate(all="ignore"):
        expected = np.asarray(apply(x, y))
    for traced_left, traced_right in ((True, True), (True, False), (False, True)):
        if (traced_left and isinstance(x, list)) or (traced_right and isinstance(y, list)):
            continue
        traced = [a for a, flag in ((x, traced_left), (y, traced_right)) if flag]

        def function(*inputs, flags=(traced_left, traced_right)):
            rest = iter(inputs)
            return apply(*(next(rest) if flag else a for a, flag in zip((x, y), flags, strict=True)))

        found = np.asarray(staged(function, *traced))
        assert found.dtype == expected.dtype, (traced_left, traced_right)
        np.testing.assert_allclose(found, expected, rtol=1e-6 if expected.dtype == np.float32 else 1e-15)


@pytest.mark.parametrize("apply", [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift])
def test_bit_operators(apply):
    assert_like_numpy(apply, np.array([5, 3, 12]), np.array([1, 2, 3]))
    assert_like_numpy(lambda x: apply(x, 2), np.array([5, 3, 12]))
    assert_like_numpy(lambda x: apply(6, x), np.array([1, 2, 3]))
    if apply not in (operator.lshift, operator.rshift):
        assert_like_numpy(apply, np.array([True, False]), np.array([True, True]))
    with pytest.raises(errors.DTypeError, match="not supported for the input types"):
        staged(lambda x: apply(x, x), np.ones(2))


def test_unary_operators():
    x = np.array([1.5, -2.0, 0.0])
    for apply in (operator.neg, operator.pos, abs, lambda x: divmod(x, 0.7)[0], lambda x: divmod(7.0, x)[1]):
        assert_like_numpy(apply, x)
    np.testing.assert_array_equal(staged(lambda x: round(x / 8, 1), x), np.round(x / 8, 1))
    assert_like_numpy(operator.invert, np.array([1, -5]))
    assert_like_numpy(operator.invert, np.array([True, False]))
    assert_like_numpy(operator.matmul, np.eye(3)[:2], x)
    assert_like_numpy(lambda y: np.eye(3)[:2] @ y, x)
    for wrong in (operator.neg, lambda b: b - b, operator.pos):
        with pytest.raises(TypeError):
            staged(wrong, np.array([True]))


def test_operators_in_place():
    def function(x):
        y = x + 1
        y *= 2
        y /= 4
        y -= 0.5
        y **= 2
        return x, y

    x, y = staged(function, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(x, [1.0, 2.0])
    np.testing.assert_array_equal(y, (np.array([2.0, 3.0]) * 0.5 - 0.5) ** 2)


def test_python_scalars_stay_weak():
    assert staged(lambda x, y: x * y, 2.0, np.ones(2, np.float32)).dtype == np.float32
    assert staged(lambda x, y: x * 2 + y, 2, np.ones(2, np.float32)).dtype == np.float32
    assert staged(lambda x, y: (x / 2) * y, 3, np.ones(2, np.float32)).dtype == np.float32
    assert staged(lambda x: x * np.float64(2.0), np.ones(2, np.float32)).dtype == np.float64
    with pytest.raises(OverflowError):
        staged(lambda x: x + 300, np.array([1], np.uint8))


def test_powers_use_the_exponents_kind():
    builder = Builder("test", Array)
    with builder:
        x = builder.add_input(ArrayType(np.dtype(np.float64), (2,)))
        results = [x**2, x**0.5, x**2.0, x**-1, x**x]
    names = [e.operation.name for e in builder.equations]
    assert names == ["integer_pow", "sqrt", "integer_pow", "integer_pow", "pow"] and len(results) == 5
    with pytest.raises(ValueError, match="Integers to negative integer powers"):
        staged(lambda i: i**-1, np.array([1, 2]))


# ----------------------------------------------------------------------------------------------------- indexing

EXTENTS = (4, 1, 5)


@st.composite
def static_indices(draw):
    """An index for an array of shape EXTENTS, of every kind that NumPy knows."""
    part = st.one_of(
        st.builds(slice, *[st.one_of(st.none(), st.integers(-6, 6))] * 2,
                  st.one_of(st.none(), st.sampled_from([1, 2, -1, -2, 3]))),
        st.integers(-1, 0),
        st.none(),
        st.sampled_from([[0, -1, 0], [[0], [-1]], np.array([0, 0, -1]), np.array(0), np.array([], int), [True]]),
    )
    parts = draw(st.lists(part, max_size=4))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return tuple(parts)


@given(static_indices())
def test_getitem_and_set_equal_numpy(index):
    x = np.arange(20.0).reshape(EXTENTS)
    try:
        expected = x[index]
    except IndexError:
        with pytest.raises(IndexError):
            staged(lambda x: x[index], x)
        return
    np.testing.assert_array_equal(staged(lambda x: x[index], x), expected)
    values = -1.0 - np.arange(expected.size, dtype=float).reshape(expected.shape)
    for method, reference in (("set", None), ("add", np.add), ("multiply", np.multiply), ("min", np.minimum),
                              ("max", np.maximum)):
        target = x.copy()
        if reference is None:
            target[index] = values
        else:
            reference.at(target, index, values)
        found = staged(lambda x, v, method=method: getattr(x.at[index], method)(v), x, values)
        np.testing.assert_array_equal(found, target)


@given(st.lists(st.one_of(st.integers(-4, 3), st.lists(st.integers(-4, 3), min_size=1, max_size=3).map(np.array),
                          st.just(slice(None)), st.just(slice(1, 3)), st.none()), min_size=1, max_size=4))
def test_traced_indices_equal_numpy(parts):
    x = np.arange(64.0).reshape(4, 4, 4)
    dynamic = [np.asarray(part) for part in parts if isinstance(part, (int, np.ndarray))]
    try:
        expected = x[tuple(parts)]
    except IndexError:
        return

    def index(traced):
        rest = iter(traced)
        return tuple(next(rest) if isinstance(part, (int, np.ndarray)) else part for part in parts)

    np.testing.assert_array_equal(staged(lambda x, *i: x[index(i)], x, *dynamic), expected)
    target = x.copy()
    target[tuple(parts)] = 7.0
    np.testing.assert_array_equal(staged(lambda x, *i: x.at[index(i)].set(7.0), x, *dynamic), target)


def test_boolean_masks_need_known_values():
    x = np.arange(12.0).reshape(3, 4)
    mask = x % 3 == 0
    assert_like_numpy(lambda x: x[mask], x)
    assert_like_numpy(lambda x: x[[True, False, True], 1:], x)
    np.testing.assert_array_equal(staged(lambda x: x[x > 4.0], x, known=True), x[x > 4.0])
    np.testing.assert_array_equal(staged(lambda x: x.at[mask].add(1.0), x), np.where(mask, x + 1.0, x))
    with pytest.raises(errors.ConcretizationError, match="boolean mask"):
        staged(lambda x: np.sort(x[x > 4.0]), x)
    np.testing.assert_array_equal(staged(lambda x: x.at[x > 4.0].set(0.0), x), np.where(x > 4.0, 0.0, x))
    with pytest.raises(errors.ShapeError, match="single value"):
        staged(lambda x: x.at[x > 4.0].set(np.ones(7)), x)


@pytest.mark.parametrize("index, message", [
    (3, "index 3 is out of bounds for axis 0 with size 3"),
    ((0, -5), "index -5 is out of bounds for axis 1 with size 4"),
    ([0, 7], "index 7 is out of bounds for axis 0 with size 3"),
    ((0, 0, 0), "too many indices for array: array is 2-dimensional, but 3 were indexed"),
    (1.5, "only integers, slices"),
    ("a", "only integers, slices"),
    ((..., ...), "an index can only have a single ellipsis"),
    (np.array([True, False]), "boolean index did not match indexed array along axis 0; size of axis is 3"),
    (([0, 1], [0, 1, 2]), "could not be broadcast"),
])
def test_index_errors_are_numpys(index, message):
    x = np.zeros((3, 4))
    with pytest.raises(IndexError):
        x[index]
    with pytest.raises((IndexError, errors.ShapeError), match=message):
        staged(lambda x: x[index], x)


def test_dynamic_index_out_of_range():
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 3"):
        staged(lambda x, i: x[i], np.ones(3), np.array(9))
    with pytest.raises(IndexError):
        gx.jit(lambda x, i: x[i])(np.ones(3), 9)
    with pytest.raises(IndexError):
        gx.jit(lambda x, i: x.at[i].set(1.0))(np.ones(3), -4)
    assert gx.jit(lambda x, i: x[i])(np.arange(3.0), -1) == 2.0


def test_iteration_and_length():
    x = np.arange(6.0).reshape(3, 2)
    assert_like_numpy(lambda x: sum(row * k for k, row in enumerate(x)), x)
    assert staged(lambda x: [gnp.asarray(len(x))], x)[0] == 3
    np.testing.assert_array_equal(staged(lambda x: list(reversed(x)), x), x[::-1])
    for use in (len, list):
        with pytest.raises(TypeError, match=r"unsized|0-d"):
            staged(use, np.float64(1.0))


# ------------------------------------------------------------------------------------------------------ updates


def test_updates_of_repeated_positions():
    x, i = np.array([2.0, 3.0, 5.0]), [0, 2, 0]
    v = np.array([4.0, 0.5, 8.0])
    np.testing.assert_array_equal(staged(lambda x: x.at[i].divide(v), x), [2.0 / 32.0, 3.0, 10.0])
    np.testing.assert_allclose(staged(lambda x: x.at[i].power(v), x), [2.0**32, 3.0, 5.0**0.5])
    np.testing.assert_array_equal(staged(lambda x: x.at[i].subtract(v), x), [-10.0, 3.0, 4.5])
    np.testing.assert_array_equal(staged(lambda x: x.at[1:].apply(np.sqrt), x), [2.0, 3.0**0.5, 5.0**0.5])
    np.testing.assert_array_equal(staged(lambda x: x.at[i].get(), x), x[i])
    np.testing.assert_array_equal(staged(lambda x: x.at[...].add(1.0), x), x + 1.0)
    np.testing.assert_array_equal(staged(lambda x: x.at[()].set(1.0), np.float64(3.0)), 1.0)
    gradient = gx.grad(lambda x: np.sum(x.at[np.array(i)].power(np.array([2.0, 3.0, 1.0]))))(x)
    np.testing.assert_allclose(gradient, [4.0, 1.0, 75.0])


def test_updates_keep_the_dtype():
    assert staged(lambda x: x.at[0].set(2), np.ones(2, np.float32)).dtype == np.float32
    assert staged(lambda x: x.at[0].add(np.float64(2.0)), np.ones(2, np.float32)).dtype == np.float32
    assert staged(lambda x: x.at[0].set(2), np.ones(2, np.uint8)).dtype == np.uint8
    for wrong in (1.5, np.float32(1.5), np.array([True, False])[:1] * 1.5):
        with pytest.raises(errors.DTypeError, match="do not fit"):
            staged(lambda x, wrong=wrong: x.at[0].set(wrong), np.ones(2, int))
    with pytest.raises(errors.ShapeError, match="cannot be broadcast"):
        staged(lambda x: x.at[:2].set(np.ones(3)), np.ones(4))


def test_assignment_points_to_at():
    def assign(x):
        x[0] = 1.0

    for wrong in (assign, lambda x: x.fill(0.0), lambda x: np.add.at(x, 0, 1.0)):
        with pytest.raises(errors.ReadOnlyError, match=r"at\[|full_like"):
            staged(wrong, np.ones(2))
    with pytest.raises(errors.ReadOnlyError, match="a = a \\+ x"):
        staged(lambda x: operator.iadd(np.ones(2), x), np.ones(2))


# --------------------------------------------------------------------------------------------- NumPy's protocols


def test_ufunc_methods():
    x = np.array([[1.0, 3.0, 2.0], [0.5, -1.0, 4.0]])
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum):
        assert_like_numpy(ufunc.reduce, x)
        assert_like_numpy(lambda x, u=ufunc: u.reduce(x, axis=None, keepdims=True), x)
        assert_like_numpy(ufunc.accumulate, x)
        assert_like_numpy(lambda x, u=ufunc: u.outer(x, [1.0, 2.0]), x)
    assert_like_numpy(np.logical_and.reduce, x > 0)
    assert_like_numpy(lambda x: np.add(x, 1, dtype=np.float32), x)
    assert_like_numpy(lambda x: np.add.reduceat(x, [0, 1]), x)
    with pytest.raises(errors.ArgumentError, match="where"):
        staged(lambda x: np.add(x, 1.0, where=x > 0), x)


def test_what_numpy_functions_are_not_supported_says_so():
    for function in (np.is_busday, np.datetime_as_string, np.isnat):
        with pytest.raises(TypeError, match="not supported on traced arrays"):
            staged(function, np.eye(2))


def test_numpy_scalars_and_arrays_on_the_left():
    for left in (np.float64(2.0), np.float32(2.0), np.int64(3), np.arange(3.0), np.arange(3)):
        for apply in (operator.add, operator.mul, operator.truediv, operator.sub, operator.lt):
            assert_like_numpy(lambda x, left=left, apply=apply: apply(left, x), np.array([1.0, 2.0, 4.0]))
    assert_like_numpy(lambda x: np.eye(3) @ x, np.array([1.0, 2.0, 4.0]))


def test_scipy_special_ufuncs():
    from scipy import special

    x = np.array([0.1, 0.5, 0.9])
    for ufunc in (special.erf, special.expit, special.gammaln, special.logit):
        np.testing.assert_allclose(staged(ufunc, x), ufunc(x), rtol=1e-14)
    with pytest.raises(errors.ArgumentTypeError, match="ufunc pro_cv"):
        staged(lambda x: special.pro_cv(1, 1, x), x)


# ---------------------------------------------------------------------------------------- properties and methods


def test_properties_are_numpys():
    x = np.ones((2, 3), np.float32)

    def look(t):
        for name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "device"):
            assert getattr(t, name) == getattr(x, name)
        return t.T, t.mT, t.real, t.imag, t.copy(), t.conj(), copy.deepcopy(t), copy.copy(t)

    for found, expected in zip(staged(look, x), (x.T, x.mT, x, x * 0, x, x, x, x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method, arguments", [
    ("sum", ()), ("sum", (0,)), ("prod", (1,)), ("mean", ()), ("std", (0,)), ("min", ()), ("max", (1,)), ("argmin", ()),
    ("argmax", (0,)), ("any", ()), ("all", (0,)), ("cumsum", (1,)), ("cumprod", ()), ("reshape", (3, 2)),
    ("reshape", ((3, -1),)), ("ravel", ()), ("flatten", ()), ("flatten", ("F",)), ("transpose", ()),
    ("transpose", (1, 0)), ("transpose", ((1, 0),)), ("swapaxes", (0, 1)), ("squeeze", ()), ("dot", (np.ones(3),)),
    ("clip", (0.0, 1.0)), ("round", (1,)), ("repeat", (2, 0)), ("take", ([0, 2], 1)), ("diagonal", ()), ("trace", ()),
    ("astype", (np.int32,)), ("astype", (np.float32,)), ("compress", ([True, False], 0)),
])
def test_methods_are_numpys(method, arguments):
    x = np.array([[0.25, -1.0, 3.14159], [2.0, 0.5, -0.75]])
    assert_like_numpy(lambda x: getattr(x, method)(*arguments), x)


def test_astype_respects_casting():
    with pytest.raises(errors.DTypeError, match="by the rule 'safe'"):
        staged(lambda x: x.astype(int, casting="safe"), np.ones(2))
    with pytest.raises(errors.DTypeError, match="float16 is not supported"):
        staged(lambda x: x.astype(np.float16), np.ones(2))


# -------------------------------------------------------------------------------------- values and control flow


def test_control_flow_where_values_are_known():
    def function(x):
        while x < 10.0:
            x = x * 2.0
        return x if x > 12.0 else -x

    assert gx.grad(function)(1.0) == 16.0
    assert gx.grad(lambda x: x if 3.0 in x * np.ones(2) else -x)(3.0) == 1.0
    assert gx.grad(lambda x: sum(x * k for k in range(int(x))))(3.0) == 3.0
    assert gx.grad(lambda x: [2.0, 5.0][np.argmax(x * np.array([1.0, 2.0]))] * x)(3.0) == 5.0


@pytest.mark.parametrize("use", [bool, int, lambda x: range(x.astype(int)), lambda x: f"{x:.2f}"])
def test_unknown_values_are_refused(use):
    with pytest.raises(errors.ConcretizationError, match=r"test_array.py:(.|\n)*way out"):
        staged(use, np.float64(1.0))


@pytest.mark.parametrize("use", [
    float, math.sin, complex, np.asarray, lambda x: np.array([x, 1.0]), lambda x: x.item(), lambda x: x.tolist(),
])
def test_what_would_cut_the_derivative_is_refused(use):
    with pytest.raises(errors.TracerConversionError, match="cut its derivative"):
        staged(use, np.float64(1.0), known=True)


def test_storing_into_an_ndarray_is_refused():
    with pytest.raises(ValueError) as refused:  # NumPy's, with ours as its cause
        staged(lambda x: np.zeros(2).__setitem__(0, x), np.float64(1.0), known=True)
    assert isinstance(refused.value.__cause__, errors.TracerConversionError)


def test_integers_and_truth_leave_when_known():
    values = []

    def look(x):
        values.extend([x.sum().item(), (x > 1).tolist(), int(x[0]), x.tolist(), [10, 20, 30][x[1]], f"{x[1]:03d}"])
        return x

    staged(look, np.array([1, 2]), known=True)
    assert values == [3, [False, True], 1, [1, 2], 30, "002"]


def test_truth_of_several_elements_is_ambiguous():
    for array in (np.ones(2), np.ones(0)):
        with pytest.raises(ValueError, match="ambiguous"):
            staged(bool, array, known=True)


def test_text_shows_type_and_value():
    texts = []

    def look(x):
        texts.append(repr(x))
        texts.append(str(x * 2.0))
        return x

    staged(look, np.ones((3, 4), np.float32))
    staged(look, np.array([1.5]), known=True)
    assert texts[0] == "Array(float32[3,4], traced by test)"
    assert texts[3] == "Array(float64[1], traced by test, value=[3.])"


def test_unhashable_and_not_pickled():
    for use in (hash, pickle.dumps):
        with pytest.raises(TypeError):
            staged(use, np.ones(2))


def test_leaked_arrays_are_caught():
    kept = []
    gx.grad(lambda x: (kept.append(x[:1]), x.sum())[1])(np.ones(2))
    for use in (lambda x: x + 1.0, np.sin, lambda x: x[0], lambda x: x.sum(), lambda x: np.stack([x, x]), bool):
        with pytest.raises(errors.LeakedTracerError, match="after that tracing ended"):
            use(kept[0])
    with pytest.raises(errors.LeakedTracerError):
        gx.grad(lambda x: (x * kept[0]).sum())(1.0)


# --------------------------------------------------------------------------------------------------- bad operands


@pytest.mark.parametrize("bad, error", [
    (np.array(["a", "b"]), errors.DTypeError), (np.array([1j, 2j], np.clongdouble), errors.DTypeError),
    (np.clongdouble(1j), errors.DTypeError),
    (np.array([None, 1]), errors.DTypeError), (np.ones(2, np.float16), errors.DTypeError),
    (np.ma.array([1.0, 2.0]), errors.ArgumentTypeError), (["a", "b"], errors.ArgumentTypeError),
    ([[1.0], [1.0, 2.0]], errors.ShapeError), (np.array(["2020-01-01"], "M8[D]"), errors.DTypeError),
])
def test_operands_that_are_no_numbers(bad, error):
    with pytest.raises(error, match=r"(?s)add: .*test_array.py"):
        staged(lambda x: x + bad, np.ones(2))


def test_objects_of_other_kinds_are_left_to_python():
    for bad in (None, "text", object(), {1: 2}):
        with pytest.raises(TypeError, match="unsupported operand"):
            staged(lambda x, bad=bad: x + bad, np.ones(2))
        with pytest.raises(errors.ArgumentTypeError, match="sin"):
            staged(lambda x, bad=bad: gnp.sin(bad), np.ones(2))

    class Other:
        def __radd__(self, other):
            return 42

    assert staged(lambda x: [gnp.asarray(x + Other())], np.ones(2))[0] == 42


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"(?s)could not be broadcast together with shapes \(3,\) \(4,\).*test_array.py"):
        staged(lambda x, y: x + y, np.ones(3), np.ones(4))


def test_foreign_layouts_are_brought_home():
    x = np.arange(6.0).reshape(2, 3)
    for other in (x.astype(">f8"), np.asfortranarray(x), x[::-1, ::-1], np.broadcast_to(x[0], (2, 3))):
        np.testing.assert_array_equal(staged(lambda x, other=other: x + other, x), x + other)


def test_sequences_of_traced_values():
    found = staged(lambda x: gnp.array([x, x * 2, 1.0]) + [x, 0.0, x], np.float64(3.0))
    np.testing.assert_array_equal(found, [6.0, 6.0, 4.0])
    np.testing.assert_array_equal(staged(lambda x: gnp.array([[x, 1], [2, x]]), np.float64(3.0)), [[3.0, 1.0], [2.0, 3.0]])
    with pytest.raises(errors.ShapeError, match="one shape"):
        staged(lambda x: gnp.array([x, 1.0]), np.ones(2))


def test_functions_of_python_scalars_give_numpy_scalars():
    x = np.ones(2, np.float32)
    for function in (np.sin, lambda s: np.multiply(s, 2.0), np.square, lambda s: np.maximum(s, 0.0),
                     lambda s: np.where(s > 0, s, 1.0), lambda s: np.clip(s, 0.0, 1.0), np.positive, gnp.asarray):
        assert np.asarray(staged(lambda s, x, f=function: f(s) * x, 2.0, x)).dtype == np.float64
