"""NumPy's indexing, all of it: random index expressions, read and updated, against NumPy on plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradxform as gx
import gradxform.numpy as gnp
from gradxform.array import Array
from gradxform.core import Builder, run
from gradxform.errors import ConcretizationError, IndexRangeError, ShapeError
from gradxform.ir import ArrayType, check

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def positions(extent: int) -> Any:
    return st.integers(-extent, extent - 1)


def slices(extent: int) -> Any:
    bound = st.none() | st.integers(-extent - 2, extent + 2)
    return st.builds(slice, bound, bound, st.none() | st.sampled_from([1, 2, 3, -1, -2, -3]))


@st.composite
def integer_arrays(draw: Any, extent: int, joint: tuple[int, ...]) -> Any:
    """An integer index array whose shape broadcasts to ``joint``, as an array, a list or of a narrow dtype."""
    rank = draw(st.integers(0, len(joint)))
    shape = tuple(draw(st.sampled_from([1, n])) for n in joint[len(joint) - rank:])
    count = int(np.prod(shape, dtype=int))
    values = np.array(draw(st.lists(positions(extent), min_size=count, max_size=count)), np.int64).reshape(shape)
    form = draw(st.sampled_from(["array", "list", "int8", "uint8"]))
    if form == "list":
        return values.tolist() if values.ndim and values.size else values
    return values if form == "array" else (values % extent).astype(form)


@st.composite
def cases(draw: Any) -> Any:
    """A shape and an index of an array of that shape."""
    shape = draw(shapes)
    joint = draw(st.sampled_from([(2,), (3,), (2, 3), (3, 1), (0,), (1,)]))
    parts: list[Any] = []
    axis = 0
    ellipsis = False
    masked = False
    while axis < len(shape) and len(parts) < 7:
        kind = draw(st.sampled_from(
            ["integer", "numpy integer", "slice", "slice", "array", "array", "mask", "newaxis", "ellipsis", "stop", "0-d"]))
        if kind == "stop":
            if ellipsis:  # what stands behind it counts from the end, so all axes have to be spoken for
                continue
            break
        if kind == "newaxis":
            parts.append(None)
        elif kind == "ellipsis":
            if not ellipsis:
                parts.append(Ellipsis)
                ellipsis = True
                axis += draw(st.integers(0, len(shape) - axis))
        elif kind == "mask":
            if masked:
                continue
            masked = True
            rank = draw(st.integers(1, min(2, len(shape) - axis)))
            part = shape[axis:axis + rank]
            wanted = draw(st.sampled_from([1, joint[-1]]))
            size = int(np.prod(part))
            mask = np.zeros(size, bool)
            mask[draw(st.permutations(range(size)))[:wanted]] = True
            if wanted > size:
                continue
            parts.append(mask.reshape(part))
            axis += rank
        else:
            extent = shape[axis]
            parts.append(draw({
                "integer": positions(extent), "numpy integer": positions(extent).map(np.int32),
                "0-d": positions(extent).map(np.array), "slice": slices(extent), "array": integer_arrays(extent, joint),
            }[kind]))
            axis += 1
    return shape, parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def expected_of(shape: tuple[int, ...], index: Any) -> Any:
    """NumPy's answer, None if it refuses the index."""
    x = np.arange(np.prod(shape), dtype=float).reshape(shape) + 1.0
    try:
        return x, x[index]
    except IndexError:
        return x, None


def trace(function: Any, *values: Any) -> Any:
    """The value of ``function`` of traced arrays that are not known, by the program's interpreter."""
    builder = Builder("test", Array)
    with builder:
        traced = [builder.add_input(ArrayType(np.asarray(x).dtype, np.shape(x))) for x in values]
        result = function(*traced)
        program, captures = builder.finish([result])
    check(program)
    return run(program, [*values, *captures])[0]


def with_traced(index: Any, replace: Any) -> tuple[Any, list[Any]]:
    """The index with its integers and integer arrays replaced, and those in order."""
    found: list[Any] = []

    def changed(part: Any) -> Any:
        whole = isinstance(part, (int, np.integer, list)) or (isinstance(part, np.ndarray) and part.dtype != bool)
        if isinstance(part, bool) or not whole:
            return part
        found.append(np.asarray(part))
        return replace(len(found) - 1)

    parts = tuple(map(changed, index)) if isinstance(index, tuple) else changed(index)
    return parts, found


settled = settings(max_examples=300, deadline=None, derandomize=True)


@settled
@given(cases())
def test_reading(case: Any) -> None:
    shape, index = case
    x, expected = expected_of(shape, index)
    if expected is None:
        with pytest.raises(IndexError):
            trace(lambda a: a[index], x)
        return
    found = trace(lambda a: gnp.asarray(a[index]), x)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@settled
@given(cases())
def test_reading_at_traced_positions(case: Any) -> None:
    shape, index = case
    x, expected = expected_of(shape, index)
    _, found = with_traced(index, lambda k: None)
    if expected is None or not found or any(part.size == 0 for part in found):
        return
    result = trace(lambda a, *parts: gnp.asarray(a[with_traced(index, lambda k: parts[k])[0]]), x, *found)
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, expected)


@settled
@given(cases(), st.sampled_from(["set", "add", "multiply", "min", "max", "subtract", "divide"]), st.booleans())
def test_updating(case: Any, operation: str, traced: bool) -> None:
    shape, index = case
    x, chosen = expected_of(shape, index)
    if chosen is None:
        return
    values = np.linspace(-2.0, 2.5, np.size(chosen)).reshape(np.shape(chosen)) + 0.1
    expected = x.copy()
    if operation == "set":
        # NumPy leaves the order of repeated stores open for some indices: here it is that of the elements.
        places = np.arange(x.size).reshape(shape)[index]
        for place, value in zip(np.ravel(places), np.ravel(values), strict=True):
            expected.flat[place] = value
    else:
        ufunc = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum,
                 "subtract": np.subtract, "divide": np.divide}[operation]
        ufunc.at(expected.reshape(-1), np.ravel(np.arange(x.size).reshape(shape)[index]), np.ravel(values))
    _, found = with_traced(index, lambda k: None)
    found = found if traced and all(part.size for part in found) else []

    def updated(a: Any, v: Any, *parts: Any) -> Any:
        where = with_traced(index, lambda k: parts[k])[0] if parts else index
        return getattr(a.at[where], operation)(v)

    np.testing.assert_allclose(trace(updated, x, values, *found), expected, rtol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases())
def test_derivatives_of_reading_and_updating(case: Any) -> None:
    """Reading and adding are linear, and each is the other's transpose, so their matrices say all."""
    shape, index = case
    x, chosen = expected_of(shape, index)
    if chosen is None:
        return
    places = np.ravel(np.arange(x.size).reshape(shape)[index])
    tangent = np.cos(x)
    weights = np.linspace(0.5, 1.5, np.size(chosen)).reshape(np.shape(chosen))
    _, pushed = gx.jvp(lambda a: a[index] * 1.0, (x,), (tangent,))
    np.testing.assert_array_equal(pushed, tangent[index])
    pulled = gx.grad(lambda a: (a[index] * weights).sum())(x)
    expected = np.zeros(x.size)
    np.add.at(expected, places, np.ravel(weights))
    np.testing.assert_allclose(pulled, expected.reshape(shape), rtol=1e-13)
    by_array, by_values = gx.grad(lambda a, v: (a.at[index].set(v) * tangent).sum(), argnums=(0, 1))(x, weights)
    kept, last = np.ones(x.size), {}
    kept[places] = 0.0
    np.testing.assert_array_equal(by_array, kept.reshape(shape) * tangent)
    for position, place in enumerate(places):
        last[place] = position
    stands = np.array([last[place] == position for position, place in enumerate(places)], float)
    np.testing.assert_array_equal(by_values, (stands * np.ravel(tangent)[places]).reshape(np.shape(chosen)))


INDICES = [
    np.s_[1, [0, 2], :, [1, 1]], np.s_[[0, 1], :, [0, 2]], np.s_[:, [[0], [1]], [1, 2]], np.s_[..., None, [2, 0]],
    np.s_[[1], ..., 0], np.s_[None, [0, 1], None, :, 1], np.s_[:, :, np.zeros((0, 2), int)], np.s_[np.array(1), [0, 0, 1]],
    np.s_[True], np.s_[False], np.s_[None, True, [0, 1]], np.s_[[], []], np.s_[()], np.s_[...], np.s_[-1, ::-2, [-1, 0], None],
    np.s_[np.arange(24).reshape(2, 3, 4) % 5 == 0], np.s_[np.array([True, False]), 1:, [0]],
    np.s_[1, np.array([[True, False, True, False]] * 3)], np.s_[(slice(None), slice(1, 2))], np.s_[np.uint8(1), np.int64(-1)],
]


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_compiled_and_batched(index: Any) -> None:
    shape = (2, 3, 4, 3) if isinstance(index, tuple) and len(index) == 4 and None not in index else (2, 3, 4)
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    expected = x[index]
    function = gx.jit(lambda a: (a[index] * 2.0, gx.grad(lambda b: (b[index] ** 2).sum())(a)))
    doubled, gradient = function(x)
    np.testing.assert_array_equal(doubled, 2.0 * expected)
    places = np.ravel(np.arange(x.size).reshape(shape)[index])
    slopes = np.zeros(x.size)
    np.add.at(slopes, places, 2.0 * np.ravel(expected))
    np.testing.assert_array_equal(gradient, slopes.reshape(shape))
    lanes = np.stack([x, -x])
    np.testing.assert_array_equal(gx.vmap(lambda a: a[index] * 1.0)(lanes), np.stack([lane[index] for lane in lanes]))


@pytest.mark.parametrize(("index", "error"), [
    (np.s_[3], IndexRangeError), (np.s_[0, 0, 0, 0], IndexRangeError), (np.s_[..., ...], IndexRangeError),
    (np.s_[[0, 5]], IndexRangeError), (np.s_[1.0], IndexRangeError), (np.s_["a"], IndexRangeError),
    (np.s_[np.ones(3, bool)], IndexRangeError), (np.s_[[0, 1], [0, 1, 2]], IndexError), (np.s_[[0.5]], IndexRangeError),
    (np.s_[:, -4], IndexRangeError), (np.s_[[[True, False]]], IndexRangeError),
])
def test_bad_indices_are_index_errors_as_in_numpy(index: Any, error: Any) -> None:
    x = np.zeros((2, 3, 4))
    with pytest.raises(IndexError):
        x[index]
    with pytest.raises(error):
        trace(lambda a: a[index], x)


@pytest.mark.parametrize("index", [np.s_[True], np.s_[False], np.s_[None, True], np.s_[:, True], np.s_[True, [0, 1]]], ids=repr)
def test_scalar_booleans_update_all_or_nothing(index: Any) -> None:
    x = np.arange(6.0).reshape(2, 3)
    values = np.linspace(1.0, 2.0, x[index].size).reshape(x[index].shape)
    expected = x.copy()
    expected[index] = values
    np.testing.assert_array_equal(trace(lambda a, v: a.at[index].set(v), x, values), expected)


def test_shape_errors_of_updates() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(ShapeError, match="cannot be broadcast"):
        trace(lambda a: a.at[0].set(np.ones(2)), x)


def test_an_unknown_mask_is_refused_with_the_way_out() -> None:
    x = np.array([1.0, -2.0, 3.0])
    with pytest.raises(ConcretizationError, match=r"np\.where"):
        gx.jit(lambda a: np.sort(a[a > 0]))(x)


@pytest.mark.parametrize("module", [np, gnp])
def test_masks_that_are_not_known_reduce(module: Any) -> None:
    x = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    rows = np.array([False, True])
    for name in ("sum", "prod", "mean", "var", "std", "any", "all"):
        reduce = getattr(module, name)
        for mask in (x > 0, x > 0.9, np.ones_like(x, bool)):
            found = gx.jit(lambda a, m, f=reduce: f(a[m]))(x, mask)
            np.testing.assert_allclose(found, getattr(np, name)(x[mask]), rtol=1e-14, err_msg=name)
        found = gx.jit(lambda a, m, f=reduce: f(a[m], axis=0))(x, rows)
        np.testing.assert_allclose(found, getattr(np, name)(x[rows], axis=0), rtol=1e-14, err_msg=name)
    assert gx.jit(lambda a: module.sum(2.0 * module.sqrt(a[a > 0])))(x) == 2.0 * np.sqrt(x[x > 0]).sum()
    assert gx.jit(lambda a: gnp.count_nonzero(a[a > -1.5]))(x) == 4
    assert gx.jit(lambda a: a[a > 9.0].sum())(x) == 0.0
    slopes = gx.jit(gx.grad(lambda a: module.sum(module.log(a[a > 0.0]))))(x)
    np.testing.assert_array_equal(slopes, np.where(x > 0, 1.0 / np.where(x > 0, x, 1.0), 0.0))
    np.testing.assert_allclose(gx.jit(gx.grad(lambda a: a[a > 0].mean()))(x), (x > 0) / 3.0)
    for call in (lambda a: a[a > 0].max(), lambda a: a[a > 0].sum(keepdims=True), lambda a, m=rows: a[m].sum(axis=1)):
        with pytest.raises(ConcretizationError):
            gx.jit(lambda a, f=call: f(a) if f.__defaults__ is None else f(a, a[:, 0] > 0))(x)


def test_masks_that_are_not_known_update() -> None:
    x = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    rows = np.array([True, False])
    cases: Any = {
        "set": np.where(x > 0, 7.0, x), "add": np.where(x > 0, x + 7.0, x), "multiply": np.where(x > 0, x * 7.0, x),
        "divide": np.where(x > 0, x / 7.0, x), "min": np.where(x > 0, np.minimum(x, 7.0), x),
        "max": np.where(x > 0, np.maximum(x, 7.0), x), "subtract": np.where(x > 0, x - 7.0, x),
        "power": np.where(x > 0, np.abs(x) ** 7.0 * np.sign(x), x),
    }
    for name, expected in cases.items():
        found = gx.jit(lambda a, name=name: getattr(a.at[a > 0], name)(7.0))(x)
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=name)
    found = gx.jit(lambda a, m: a.at[m].add(1.0))(x, rows)
    np.testing.assert_array_equal(found, x + rows[:, None])
    found = gx.jit(lambda a: a.at[a > 0].apply(lambda v: v * v))(x)
    np.testing.assert_array_equal(found, np.where(x > 0, x * x, x))
    slopes = gx.jit(gx.grad(lambda a: a.at[a > 0].multiply(3.0).sum()))(x)
    np.testing.assert_array_equal(slopes, np.where(x > 0, 3.0, 1.0))
