"""Bad and unusual input, un-jitted and jitted: NumPy's result or a clear error that quotes the user's line."""

import re
from contextlib import contextmanager

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors

X = np.array([1.0, 2.0, 3.0])
M = np.arange(12.0).reshape(3, 4) / 7.0 - 0.8

#: Each runs a function of one argument by another road.
ROADS = {
    "eager": lambda f: lambda x: gx.vjp(f, x)[0],
    "vmap": lambda f: lambda x: gx.vmap(f, in_axes=None, axis_size=1, out_axes=None)(x),
    "jit": gx.jit,
    "jit_vmap": lambda f: lambda x: gx.jit(gx.vmap(f))(x[None])[0],
}
#: The roads on which errors are checked; the others trace in the same way.
MAIN_ROADS = {name: ROADS[name] for name in ("eager", "jit")}


@pytest.fixture(params=MAIN_ROADS.values(), ids=MAIN_ROADS)
def road(request):
    return request.param


@contextmanager
def refused(kind, message):
    """The block raises an error that is ``kind`` for those who catch the builtin, ours, and names this file's line."""
    with pytest.raises(kind, match=message) as caught:
        yield
    assert isinstance(caught.value, errors.GradxformError)
    assert re.search(r"test_bad_input\.py:\d+", str(caught.value))


def scale(x):
    return x * 2.0


# ------------------------------------------------------------------------------------ shapes, dtypes, axes, indices

WRONG = {
    "broadcast": (lambda x: x + np.ones(2), ValueError, r"add: .*\(3,\) \(2,\)"),
    "core_dimension": (lambda x: x @ np.ones((2, 2)), ValueError, "matmul: mismatch"),
    "reshape": (lambda x: x.reshape(2, 2), ValueError, "cannot reshape array of size 3"),
    "broadcast_to": (lambda x: np.broadcast_to(x, (3, 2)), ValueError, "broadcast_to: .* cannot be broadcast"),
    "negative_extent": (lambda x: x * gnp.ones(-1), ValueError, "ones: negative dimensions"),
    "negative_extents": (lambda x: gnp.full((2, -1), x[0]), ValueError, "full: negative dimensions"),
    "negative_broadcast": (lambda x: gnp.broadcast_to(x, (-1, 3)), ValueError, "broadcast_to: negative dimensions"),
    "negative_columns": (lambda x: np.vander(x, -1), ValueError, "vander: negative dimensions"),
    "no_conditions": (lambda x: x * gnp.select([], []), ValueError, "select: an empty condition list"),
    "axis": (lambda x: np.sum(x, axis=1), np.exceptions.AxisError, "sum: axis 1 is out of bounds"),
    "axis_negative": (lambda x: np.cumsum(x, axis=-2), np.exceptions.AxisError, "cumsum: axis -2"),
    "axis_twice": (lambda x: np.sum(x, axis=(0, 0)), ValueError, "sum: duplicate value"),
    "axis_kind": (lambda x: np.max(x, axis=0.5), TypeError, "an axis is an integer"),
    "axes": (lambda x: np.swapaxes(x, 0, 3), np.exceptions.AxisError, "swapaxes: axis 3"),
    "index": (lambda x: x[5], IndexError, "index 5 is out of bounds for axis 0 with size 3"),
    "index_negative": (lambda x: x[-4], IndexError, "index -4 is out of bounds"),
    "index_huge": (lambda x: x[2**70], IndexError, "out of bounds"),
    "index_kind": (lambda x: x[1.0], IndexError, "only integers, slices"),
    "index_count": (lambda x: x[0, 0], IndexError, "too many indices"),
    "mask": (lambda x: x[np.array([True, False])], IndexError, "boolean index did not match"),
    "update_index": (lambda x: x.at[5].set(1.0), IndexError, "index 5"),
    "update_shape": (lambda x: x.at[:2].set(np.ones(3)), ValueError, "cannot be broadcast"),
    "bits_of_floats": (lambda x: x & x, TypeError, "bitwise_and"),
    "half": (lambda x: x * np.ones(3, np.float16), TypeError, "float16 is not supported"),
    "complex": (lambda x: np.floor(x * 1j), TypeError, "floor: expected operands of a float dtype, got complex128"),
    "long": (lambda x: x.astype(np.longdouble), TypeError, "is not supported"),
    "long_complex": (lambda x: x * np.clongdouble(1j), TypeError, "is not supported"),
    "dates": (lambda x: x + np.datetime64("2020"), TypeError, "datetime64.* is not supported"),
    "objects": (lambda x: np.add(x, np.array([None, 1, 2])), TypeError, "object is not supported"),
    "masked": (lambda x: x * np.ma.masked_array(X, X > 1), TypeError, "plain ndarray"),
    "truth": (lambda x: x if x > 0 else -x, ValueError, "truth value of an array .* is ambiguous"),
    "iteration": (lambda x: sum(v for v in x[0]), TypeError, "iteration over a 0-d array"),
    "length": (lambda x: len(x[0]), TypeError, "len"),
    "assignment": (lambda x: x.__setitem__(0, 1.0), ValueError, r"x.at\[index\].set"),
    "out": (lambda x: np.sin(x, out=np.ones(3)), ValueError, "out="),
    "float": (lambda x: float(x[0]), TypeError, "cut its derivative"),
    "asarray": (lambda x: np.asarray(x), TypeError, "cut its derivative"),
    "empty_maximum": (lambda x: np.max(x[:0]), ValueError, "zero-size array to reduction operation maximum"),
    "empty_argmin": (lambda x: np.argmin(x[:0]), ValueError, "argmin of an empty sequence"),
    "text_result": (lambda x: "a", TypeError, "must be an array or a number"),
    "unknown_function": (lambda x: np.is_busday(x), TypeError, "numpy.is_busday is not supported"),
}


@pytest.mark.parametrize("name", WRONG)
def test_misuse_names_operation_and_line(name, road):
    function, kind, message = WRONG[name]
    with refused(kind, message):
        road(function)(X)


def test_a_line_inside_numpy_is_not_the_users_line(road):
    with refused(TypeError, "scalar index|index into a plain array"):
        road(lambda x: np.linspace(0.0, 1.0, x[0]))(X)


@pytest.mark.parametrize("thing", ["text", b"bytes", object(), {1, 2}, lambda: 1, np.array(["a"]), np.array([None]),
                                   np.clongdouble(1j),
                                   range(3), np.ma.masked_array(X, X > 1), slice(3), np.datetime64("2020"), 2**70],
                         ids=lambda thing: type(thing).__name__)
def test_arguments_that_are_no_arrays(thing, road):
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        road(scale)(thing)
    assert isinstance(caught.value, (errors.GradxformError, OverflowError))


# -------------------------------------------------------------------------------------------------- derivatives

NO_GRADIENT = {
    "vector": (lambda x: x, ValueError, r"one scalar result; .* gives f64\[3\]"),
    "one_element": (lambda x: x[:1], ValueError, r"gives f64\[1\]"),
    "pair": (lambda x: (x[0], x[1]), ValueError, "one scalar result"),
    "list_of_one": (lambda x: [x[0]], ValueError, "one scalar result"),
    "nothing": (lambda x: None, ValueError, "gives nothing"),
    "integer": (lambda x: np.argmax(x), TypeError, "result of a float dtype"),
    "boolean": (lambda x: np.any(x > 0), TypeError, "result of a float dtype"),
}


@pytest.mark.parametrize("name", NO_GRADIENT)
@pytest.mark.parametrize("around", [lambda f: f, gx.jit], ids=["eager", "jit"])
def test_results_without_a_gradient(name, around):
    function, kind, message = NO_GRADIENT[name]
    for transform in (gx.grad, gx.value_and_grad):
        with refused(kind, message):
            around(transform(function))(X)


@pytest.mark.parametrize("value", [3, True, np.arange(3), np.ones(3, bool), np.uint8(1)], ids=repr)
@pytest.mark.parametrize("around", [lambda f: f, gx.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("transform", [gx.grad, gx.jacfwd, gx.jacrev, gx.hessian])
def test_integer_arguments_have_no_derivative(value, around, transform):
    with refused(TypeError, r"float dtype, got .* cast with \.astype"):
        around(transform(lambda x: np.sum(x * 2.0)))(value)


def test_only_hints_that_apply():
    for transform, allows in ((gx.grad, True), (gx.jacrev, True), (gx.jacfwd, False)):
        with pytest.raises(TypeError) as caught:
            transform(lambda x: x * 2.0)(3)
        assert ("allow_int" in str(caught.value)) is allows
    with pytest.raises(TypeError) as caught:
        gx.linear_transpose(lambda x: x * 2.0, 3)
    assert "argnums" not in str(caught.value)


@pytest.mark.parametrize("tangent", [np.ones(2), 1.0, np.ones((3, 1)), np.ones(3, np.float32), np.arange(3)], ids=repr)
def test_mismatched_tangents_and_cotangents(tangent):
    with refused(ValueError, "jvp: a tangent must have the dtype and shape"):
        gx.jvp(np.sin, (X,), (tangent,))
    with refused(ValueError, "linearize: a tangent must have the dtype and shape"):
        gx.linearize(np.sin, X)[1](tangent)
    with refused(ValueError, "vjp: a cotangent must have the dtype and shape"):
        gx.vjp(np.sin, X)[1](tangent)
    with refused(ValueError, "linear_transpose: a cotangent must have the dtype and shape"):
        gx.linear_transpose(scale, X)(tangent)


def product(d):
    return d["count"] * d["x"], d["x"] > 0


NONE_HERE = np.zeros((), gx.float0)


def test_tangents_beside_integers_are_checked_too():
    primal = {"count": 2, "x": 3.0}
    value, tangent = gx.jvp(lambda d: product(d)[0], (primal,), ({"count": NONE_HERE, "x": 1.0},))
    assert (value, tangent) == (6.0, 2.0)
    for wrong, kind in (({"count": NONE_HERE, "x": X}, ValueError), ({"count": None, "x": 1.0}, errors.TreeError),
                        ({"count": 1.0, "x": 1.0}, ValueError), ({"count": np.zeros(3, gx.float0), "x": 1.0}, ValueError)):
        with refused(kind, "jvp"):
            gx.jvp(product, (primal,), (wrong,))


def test_cotangents_beside_integers_are_checked_too():
    _, pull = gx.vjp(product, {"count": 2, "x": 3.0})
    assert pull((1.0, NONE_HERE))[0]["x"] == 2.0
    for wrong, kind in (((X, NONE_HERE), ValueError), ((1.0, None), errors.TreeError), ((1.0, 1.0), ValueError),
                        ((1.0,), errors.TreeError)):
        with refused(kind, "vjp"):
            pull(wrong)


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
@pytest.mark.parametrize("transform", [gx.grad, gx.value_and_grad, gx.jacfwd, gx.jacrev, gx.hessian])
def test_argnums_out_of_range(transform, argnums):
    with refused(ValueError, "argnums=.* has 2 positional"):
        transform(lambda x, y: x * y, argnums)(1.0, 2.0)


@pytest.mark.parametrize("argnums", ["x", 1.5, (0, "y"), None])
def test_argnums_of_another_kind(argnums):
    with pytest.raises(errors.ArgumentTypeError, match="argnums must be an int or a sequence of ints"):
        gx.grad(lambda x, y: x * y, argnums)(1.0, 2.0)


def test_hvp_arguments():
    with refused(ValueError, "argnums=1, but the call has 1"):
        gx.hvp(lambda x: x * x, argnums=1)(1.0, 1.0)
    with pytest.raises(errors.ArgumentTypeError, match="argnums must be one int"):
        gx.hvp(lambda x: x * x, argnums=(0,))(1.0, 1.0)
    assert gx.hvp(argnums=1)(lambda x, y: x * y**3)(2.0, 3.0, 1.0) == 36.0


def test_negative_powers_of_integers(road):
    with refused(ValueError, "negative integer powers"):
        road(lambda x: x**-1)(3)
    assert gx.jit(np.power)(3, -2) == 1  # compiled code does not look at exponents: docs/sharp_edges.md


def test_jit_and_make_ir_options():
    for option in ("donate_argnums", "static_argnums"):
        with pytest.raises(errors.ArgumentError, match=f"{option}=4, but it has 1"):
            gx.jit(scale, **{option: 4})
        with pytest.raises(errors.ArgumentTypeError, match=f"{option} must be an int"):
            gx.jit(scale, **{option: 1.5})
    with refused(ValueError, "static_argnums=3, but the call has 1"):
        gx.make_ir(scale, static_argnums=3)(1.0)


@pytest.mark.parametrize(("shape", "kind"), [(3, TypeError), ((2, -1), ValueError), ((1.5,), TypeError)])
def test_shapes_that_cannot_be(shape, kind):
    with pytest.raises(kind, match="ShapeDType"):
        gx.ShapeDType(shape, np.float64)


@pytest.mark.parametrize("axes", [1, -2, 0.5, "a", (0, 0)], ids=repr)
def test_vmap_axes(axes):
    with pytest.raises(errors.GradxformError, match="vmap of scale: in_axes"):
        gx.vmap(scale, in_axes=axes)(X)


# --------------------------------------------------------------------------------- control flow, leaks, mutation


@pytest.mark.parametrize("function", [
    lambda x: x if x[0] > 0 else -x, lambda x: x * int(x[0]), lambda x: x if 1.0 in x else -x, lambda x: x[x > 1],
    lambda x: np.nonzero(x)[0], lambda x: x * (3 if x[0] > 0 and x[1] > 0 else 4), lambda x: np.repeat(x, x.astype(int)),
])
def test_control_flow_follows_values_unless_jitted(function):
    np.testing.assert_array_equal(gx.vjp(function, X)[0], function(X))
    with refused(TypeError, "not known while jit .* traces(.|\n)*way out"):
        gx.jit(function)(X)


def test_while_follows_values_unless_jitted():
    def halve(x):
        while x > 1.0:
            x = x / 2.0
        return x
    assert gx.grad(halve)(5.0) == 0.125
    with refused(TypeError, "a condition"):
        gx.jit(gx.grad(halve))(5.0)


@pytest.mark.parametrize("transform", [gx.jit, gx.grad, gx.vmap])
def test_leaked_tracers(transform):
    kept = []

    def keep(x):
        kept.append(x)
        return np.sum(x * 2.0)

    transform(keep)(np.ones(3) if transform is gx.vmap else 1.0)
    for use in (lambda: kept[0] + 1.0, lambda: gx.jit(scale)(kept[0]), lambda: gx.grad(lambda y: y * kept[0])(1.0)):
        with refused(RuntimeError, "after that tracing ended"):
            use()


def test_an_error_while_tracing_leaves_nothing_behind(road):
    def fails(x):
        return road(lambda y: y + np.ones(2))(x)
    for _ in range(2):
        with pytest.raises(ValueError):
            gx.grad(fails)(X)
    np.testing.assert_array_equal(road(scale)(X), X * 2.0)


def test_arguments_are_not_written_to(road):
    def update(x):
        x = x.at[0].set(9.0)
        x += 1.0
        x *= x
        return x
    given = X.copy()
    np.testing.assert_array_equal(road(update)(given), [100.0, 9.0, 16.0])
    np.testing.assert_array_equal(given, X)


def test_results_are_no_views_of_arguments(road):
    for function in (lambda x: x, lambda x: x[:], lambda x: x.reshape(-1), lambda x: x.T, lambda x: (x, x)[1]):
        given = M.copy()
        result = road(function)(given)
        assert not np.shares_memory(result, given) and result.flags.writeable


def test_writing_traced_values_into_ndarrays(road):
    def accumulate(x):
        total = np.zeros(3)
        total += x
        return total
    with refused(ValueError, "cannot receive traced"):
        road(accumulate)(X)


# ----------------------------------------------------------------------------------------- layouts, sizes, values

FUNCTIONS = [
    lambda x: x * 2 + 1, lambda x: np.sum(x, axis=0), lambda x: np.sum(x), lambda x: x.T @ x, lambda x: x[::-1, ::2],
    lambda x: np.cumsum(x, axis=1), lambda x: np.max(x), lambda x: np.argmin(x, axis=0), lambda x: x,
    lambda x: np.concatenate([x, x], 1), lambda x: x.reshape(-1), lambda x: np.where(x > 0, x, 0), lambda x: np.mean(x),
]


def _in_a_record(x):
    record = np.zeros(x.shape, [("tag", "i1"), ("value", "f8")])
    record["value"] = x
    return record["value"]


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "fortran": np.asfortranarray(M),
    "strided": np.repeat(M, 2, axis=1)[:, ::2],
    "negative_strides": M[::-1].copy()[::-1],
    "broadcast": np.broadcast_to(M[0], M.shape),
    "byte_swapped": M.astype(">f8"),
    "byte_swapped_single": M.astype(">f4"),
    "byte_swapped_integers": (M * 50).astype(">i4"),
    "read_only": _read_only(M),
    "unaligned": np.frombuffer(b"x" + M.tobytes(), np.float64, M.size, offset=1).reshape(M.shape),
    "record": _in_a_record(M),
    "subclass": M.view(type("Sub", (np.ndarray,), {})),
}


@pytest.mark.parametrize("way", ROADS.values(), ids=ROADS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, way):
    given = LAYOUTS[layout]
    before = np.array(given)
    for function in FUNCTIONS:
        expected = np.asarray(function(np.array(given, given.dtype.newbyteorder("="))))
        result = way(function)(given)
        assert np.asarray(result).dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-5 if expected.dtype.itemsize == 4 else 1e-13)
        assert not np.shares_memory(result, given)
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_captured_layouts(layout, road):
    captured = LAYOUTS[layout]
    expected = np.sum(captured * np.float64(2.0), axis=0)
    np.testing.assert_allclose(road(lambda s: np.sum(s * captured, axis=0))(2.0), expected, rtol=1e-5)


ANY_SHAPE = [
    lambda x: np.sin(x) * 2 + 1, lambda x: np.sum(x), lambda x: np.prod(x), lambda x: np.sum(x, axis=-1),
    lambda x: np.max(x, axis=-1), lambda x: np.max(x), lambda x: np.argmin(x, axis=0), lambda x: np.mean(x, axis=0),
    lambda x: np.cumsum(x, axis=-1), lambda x: x[::-1], lambda x: x.reshape(-1), lambda x: x.T @ x,
    lambda x: np.concatenate([x, x]), lambda x: np.stack([x, x]), lambda x: np.tensordot(x, x, x.ndim),
    lambda x: np.any(x > 0), lambda x: np.all(x > 0), lambda x: np.pad(x, 1), lambda x: np.outer(x, x),
    lambda x: np.diff(x), lambda x: np.roll(x, 1), lambda x: np.tile(x, 2), lambda x: np.einsum("...,...->...", x, x),
    lambda x: np.broadcast_to(x, (2, *x.shape)), lambda x: np.std(x), lambda x: np.take(x, np.zeros(0, int)),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("way", ROADS.values(), ids=ROADS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (1,), ()], ids=str)
def test_empty_and_zero_dimensional_arrays(shape, way):
    given = np.ones(shape)
    for function in ANY_SHAPE:
        try:
            expected = np.asarray(function(given))
        except (ValueError, IndexError, TypeError) as error:
            with pytest.raises((ValueError, IndexError, TypeError)) as caught:
                way(function)(given)
            assert isinstance(caught.value, errors.GradxformError), error  # NumPy refuses it too
            continue
        try:
            result = way(function)(given)
        except np.exceptions.AxisError:  # NumPy takes axis 0 and -1 of what has no axes; here it is an error
            assert shape == ()
            continue
        assert np.asarray(result).dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)], ids=str)
@pytest.mark.parametrize("around", [lambda f: f, gx.jit], ids=["eager", "jit"])
def test_derivatives_of_empty_arrays(shape, around):
    given = np.ones(shape)
    assert around(gx.grad(lambda x: np.sum(x * x)))(given).shape == shape
    for jacobian in (gx.jacfwd, gx.jacrev):
        assert around(jacobian(np.sin))(given).shape == shape + shape
    assert around(gx.hessian(lambda x: np.sum(x**3)))(given).shape == shape + shape
    assert around(gx.vmap(lambda row: np.sum(row)))(np.ones((0, 3))).shape == (0,)


NAN = np.array([1.0, np.nan, -np.inf, np.inf, -0.0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("way", ROADS.values(), ids=ROADS)
@pytest.mark.parametrize("function", [
    np.max, np.min, np.argmax, np.argmin, np.sum, np.prod, np.any, np.all, np.cumsum, np.sign, np.sqrt, np.isnan, np.square,
    np.maximum.accumulate, np.nanmax, np.nanmin, np.nansum, np.nan_to_num, np.floor, np.exp, np.log1p, np.arctan, np.reciprocal,
    lambda x: np.maximum(x, 0.0), lambda x: np.fmax(x, 0.0), lambda x: np.clip(x, -1.0, 1.0), lambda x: x > 0, lambda x: x != x,
    lambda x: x - x, lambda x: x * 0.0, lambda x: 1.0 / x, lambda x: x**0, lambda x: x // 2.0, lambda x: x % 2.0,
    lambda x: np.logaddexp(x, x), lambda x: np.hypot(x, np.inf), lambda x: np.where(x > 0, x, 0.0), lambda x: np.signbit(x),
    lambda x: np.copysign(1.0, x), lambda x: np.nanmax(x, where=x != np.inf, initial=-1.0),
])
def test_nan_infinities_and_signed_zero(function, way):
    result, expected = way(function)(NAN), function(NAN)
    np.testing.assert_allclose(result, expected, rtol=1e-14)
    if np.asarray(expected).dtype == float:
        zeros = np.asarray(expected) == 0
        np.testing.assert_array_equal(np.signbit(result)[zeros], np.signbit(expected)[zeros])


# ------------------------------------------------------------------------- more than 2**31 elements, without the memory

BIG = 2**31 + 16


def test_types_of_huge_arrays():
    shape = gx.eval_shape(lambda x: np.outer(x, x).sum(0), gx.ShapeDType((2**33,), np.float64))
    assert shape.shape == (2**33,)
    assert gx.eval_shape(lambda x: x.reshape(2, -1), gx.ShapeDType((2**40,), np.float64)).shape == (2, 2**39)
    assert gx.eval_shape(np.ravel, gx.ShapeDType((2**20, 2**20), np.float64)).shape == (2**40,)
    assert gx.jit(lambda x: np.sum(np.outer(x, x))).lower(gx.ShapeDType((2**20,), np.float64)).cost.input_bytes == 2**23


def test_counts_beyond_32_bits():
    assert gx.eval_shape(lambda x: np.mean(np.broadcast_to(x, (BIG,))), 3.0).shape == ()
    size = str(gx.make_ir(lambda x: np.mean(np.broadcast_to(x, (BIG,))))(3.0))
    assert str(BIG) in size


def test_indices_beyond_32_bits():
    indices = np.array([BIG - 1, -1, 2**31])

    def flat(i):
        return np.ravel_multi_index(tuple(np.unravel_index(i, (2**16, 2**20))), (2**16, 2**20))
    for way in MAIN_ROADS.values():
        np.testing.assert_array_equal(way(lambda i: flat(i))(np.abs(indices)), np.abs(indices))
        np.testing.assert_array_equal(way(lambda i: i % BIG)(indices), indices % BIG)


@pytest.mark.parametrize("shape", [(2**40,), (2**62,), (2**32, 2**32)], ids=str)
def test_results_that_fit_in_no_memory(shape, road):
    with pytest.raises((MemoryError, ValueError), match=r"Unable to allocate|too (big|large)"):
        road(lambda x: np.broadcast_to(x, shape) * 2.0)(1.0)
