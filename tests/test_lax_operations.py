"""gradxform.lax: slices at computed positions, gather and scatter, and JAX's names of plain operations, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
from support.differences import central_difference, directions, inner
from support.tolerances import assert_all_close, assert_close

import gradxform as gx
from gradxform import lax

generator = np.random.default_rng(5)
X = generator.uniform(0.2, 0.9, 4)
Y = generator.uniform(0.2, 0.9, 4)
M = generator.uniform(-1.0, 1.0, (4, 3))
T = generator.uniform(-1.0, 1.0, (4, 3, 5))
K = np.array([7, -7, 3, 0])
J = np.array([2, 2, 5, 3])

ROADS = {"eager": lambda f: f, "jit": gx.jit, "known": lambda f: lambda *args: gx.vjp(f, *args)[0]}


def steps(f: Any) -> Any:
    def run(*args: Any) -> Any:
        with gx.disable_jit():
            return f(*args)

    return run


ROADS["steps"] = steps


@pytest.fixture(params=ROADS.values(), ids=ROADS)
def road(request: Any) -> Any:
    return request.param


# ---------------------------------------------------------------------------------------------------- plain operations

#: Function, NumPy's result, arguments.
OPERATIONS: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    name: (getattr(lax, name), reference, (X,)) for name, reference in {
        "abs": np.abs, "acos": np.arccos, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan, "atanh": np.arctanh,
        "cbrt": np.cbrt, "ceil": np.ceil, "cos": np.cos, "cosh": np.cosh, "digamma": scipy.special.digamma,
        "erf": scipy.special.erf, "erf_inv": scipy.special.erfinv, "erfc": scipy.special.erfc, "exp": np.exp,
        "exp2": np.exp2, "expm1": np.expm1, "floor": np.floor, "is_finite": np.isfinite, "lgamma": scipy.special.gammaln,
        "log": np.log, "log1p": np.log1p, "logistic": scipy.special.expit, "neg": np.negative, "reciprocal": np.reciprocal,
        "rsqrt": lambda x: 1.0 / np.sqrt(x), "sign": np.sign, "sin": np.sin, "sinh": np.sinh,
        "sqrt": np.sqrt, "square": np.square, "tan": np.tan, "tanh": np.tanh,
    }.items()
} | {
    name: (getattr(lax, name), reference, (X, Y)) for name, reference in {
        "add": np.add, "atan2": np.arctan2, "div": np.divide, "eq": np.equal, "ge": np.greater_equal, "gt": np.greater,
        "le": np.less_equal, "lt": np.less, "max": np.maximum, "min": np.minimum, "mul": np.multiply, "ne": np.not_equal,
        "pow": np.power, "rem": np.fmod, "sub": np.subtract,
    }.items()
} | {
    name: (getattr(lax, name), reference, (K, J)) for name, reference in {
        "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
        "shift_left": np.left_shift, "shift_right_arithmetic": np.right_shift,
    }.items()
} | {
    "round": (lax.round, lambda x: np.array([0.0, 0.0, 1.0, -1.0, -3.0, 4.0, np.inf, np.nan]),
              (np.array([0.2, np.nextafter(0.5, 0.0), 0.5, -0.5, -2.5, 4.4, np.inf, np.nan]),)),
    "acosh": (lax.acosh, np.arccosh, (X + 1.0,)),
    "bitwise_not": (lax.bitwise_not, np.invert, (K,)),
    "rsqrt_integers": (lax.rsqrt, lambda x: 1.0 / np.sqrt(x), (J,)),
    "div_integers": (lax.div, lambda x, y: np.array([3, -3, 0, 0]), (K, J)),
    "div_integers_signs": (lax.div, lambda x, y: np.array([-3, 3, 0, 0]), (K, np.array([-2, -2, -5, -1]))),
    "rem_integers": (lax.rem, lambda x, y: np.array([1, -1, 3, 0]), (K, J)),
    "polygamma": (lambda x: lax.polygamma(1, x), lambda x: scipy.special.polygamma(1, x), (X,)),
    "integer_pow": (lambda x: lax.integer_pow(x, 3), lambda x: x ** 3, (X,)),
    "integer_pow_negative": (lambda x: lax.integer_pow(x, -2), lambda x: x ** -2.0, (X,)),
    "clamp": (lambda x: lax.clamp(0.4, x, Y), lambda x: np.minimum(np.maximum(x, 0.4), Y), (X,)),
    "convert": (lambda x: lax.convert_element_type(x, np.int32), lambda x: x.astype(np.int32), (3.0 * X,)),
    "broadcast": (lambda x: lax.broadcast(x, (2, 3)), lambda x: np.broadcast_to(x, (2, 3, 4)), (X,)),
    "broadcast_in_dim": (
        lambda x: lax.broadcast_in_dim(x, (2, 4, 3), (1, 2)), lambda x: np.broadcast_to(x, (2, 4, 3)), (M,)),
    "collapse": (lambda x: lax.collapse(x, 1), lambda x: x.reshape(4, 15), (T,)),
    "collapse_front": (lambda x: lax.collapse(x, 0, 2), lambda x: x.reshape(12, 5), (T,)),
    "collapse_negative": (lambda x: lax.collapse(x, 0, -1), lambda x: x.reshape(12, 5), (T,)),
    "concatenate": (lambda x: lax.concatenate([x, x[:1]], 0), lambda x: np.concatenate([x, x[:1]]), (M,)),
    "expand_dims": (lambda x: lax.expand_dims(x, (0, 2)), lambda x: x[None, :, None], (X,)),
    "squeeze": (lambda x: lax.squeeze(x, (0,)), lambda x: x[0], (M[:1],)),
    "full": (lambda x: x * lax.full((2, 4), 3.0), lambda x: np.stack([3.0 * x] * 2), (X,)),
    "full_like": (lambda x: lax.full_like(x, 2), lambda x: np.full(4, 2.0), (X,)),
    "iota": (lambda x: x * lax.iota(np.float64, 4), lambda x: x * np.arange(4.0), (X,)),
    "broadcasted_iota": (
        lambda x: x + lax.broadcasted_iota(np.int64, (4, 3), 1), lambda x: x + np.arange(3), (M,)),
    "pad": (
        lambda x: lax.pad(x, 9.0, [(1, 2, 0), (-1, 1, 2)]),
        lambda x: np.pad(np.insert(x, [1, 1, 2, 2], 9.0, 1)[:, 1:], [(1, 2), (0, 1)], constant_values=9.0), (M,)),
    "reshape": (lambda x: lax.reshape(x, (6, 2)), lambda x: x.reshape(6, 2), (M,)),
    "reshape_order": (lambda x: lax.reshape(x, (6, 2), (1, 0)), lambda x: x.T.reshape(6, 2), (M,)),
    "rev": (lambda x: lax.rev(x, (1,)), lambda x: x[:, ::-1], (M,)),
    "slice": (lambda x: lax.slice(x, (1, 0), (4, 3), (2, 1)), lambda x: x[1:4:2], (M,)),
    "slice_in_dim": (lambda x: lax.slice_in_dim(x, 0, -1, 2, axis=1), lambda x: x[:, 0:-1:2], (M,)),
    "index_in_dim": (lambda x: lax.index_in_dim(x, -1, 1), lambda x: x[:, -1:], (M,)),
    "index_in_dim_drop": (lambda x: lax.index_in_dim(x, 2, 0, keepdims=False), lambda x: x[2], (M,)),
    "transpose": (lambda x: lax.transpose(x, (2, 0, 1)), lambda x: np.transpose(x, (2, 0, 1)), (T,)),
    "cummax": (lambda x: lax.cummax(x, 1), lambda x: np.maximum.accumulate(x, 1), (M,)),
    "cummin": (lambda x: lax.cummin(x), lambda x: np.minimum.accumulate(x), (M,)),
    "cumprod": (lambda x: lax.cumprod(x, reverse=True), lambda x: np.cumprod(x[::-1], 0)[::-1], (M,)),
    "cumsum": (lambda x: lax.cumsum(x, -1), lambda x: np.cumsum(x, -1), (M,)),
    "reduce_max": (lambda x: lax.reduce_max(x, (0, 2)), lambda x: np.max(x, (0, 2)), (T,)),
    "reduce_min": (lambda x: lax.reduce_min(x, (-1,)), lambda x: np.min(x, -1), (T,)),
    "reduce_prod": (lambda x: lax.reduce_prod(x, (0,)), lambda x: np.prod(x, 0), (M,)),
    "reduce_sum": (lambda x: lax.reduce_sum(x, (0, 1)), lambda x: np.sum(x), (M,)),
    "reduce_and": (lambda x: lax.reduce_and(x > -0.9, (1,)), lambda x: np.all(x > -0.9, 1), (M,)),
    "reduce_or": (lambda x: lax.reduce_or(x > 0.9, (1,)), lambda x: np.any(x > 0.9, 1), (M,)),
    "argmax": (lambda x: lax.argmax(x, 1), lambda x: np.argmax(x, 1), (M,)),
    "argmin": (lambda x: lax.argmin(x, 0, np.int32), lambda x: np.argmin(x, 0).astype(np.int32), (M,)),
    "dot": (lambda x: lax.dot(x.T, x), lambda x: x.T @ x, (M,)),
    "dot_general": (
        lambda x: lax.dot_general(x, x[:, 0], (((2,), (1,)), ((0,), (0,)))),
        lambda x: np.einsum("bij,bj->bi", x, x[:, 0]), (T,)),
    "stop_gradient": (lax.stop_gradient, lambda x: x, (X,)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("way", ["eager", "jit"])
def test_operations(name: str, way: str) -> None:
    function, reference, arguments = OPERATIONS[name]
    assert_close(ROADS[way](function)(*arguments), np.asarray(reference(*arguments)))


def test_operations_of_python_numbers() -> None:
    for found, expected in [
        (lax.rsqrt(4), 0.5), (lax.clamp(0, 5, 3), 3), (lax.integer_pow(2.0, 3), 8.0), (lax.select(True, 1.0, 2), 1.0),
        (lax.cumsum([1.0, 2.0])[1], 3.0), (lax.dynamic_slice([1.0, 2.0, 3.0], [1], [2])[0], 2.0), (lax.div(7, -2), -3),
        (lax.convert_element_type(2.5, np.int64), 2), (lax.broadcast(1.0, (2,))[1], 1.0), (lax.reduce_sum(2.0, ()), 2.0),
    ]:
        assert isinstance(found, np.generic)
        assert found == expected


def test_every_name_is_there_and_described() -> None:
    for name in lax.__all__:
        function = getattr(lax, name)
        assert (callable(function) or name == "linalg") and function.__doc__, name


# ------------------------------------------------------------------------------------------------------------- windows


def window(shape: tuple[int, ...], starts: Any, sizes: Any) -> Any:
    """The slices of a window that is moved inside."""
    inside = [int(np.clip(s + n if s < 0 else s, 0, n - k)) for s, n, k in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(s, s + k) for s, k in zip(inside, sizes, strict=True))


STARTS = [(0, 0, 0), (1, 1, 2), (3, 2, 4), (9, 9, 9), (-1, -2, -3), (-9, 5, 0)]


@pytest.mark.parametrize("sizes", [(2, 2, 2), (4, 1, 3), (1, 3, 5), (4, 3, 5), (0, 2, 1)], ids=str)
def test_dynamic_slices(road: Any, sizes: Any) -> None:
    read = road(lambda x, a, b, c: lax.dynamic_slice(x, (a, b, c), sizes))
    read_array = road(lambda x, starts: lax.dynamic_slice(x, starts, sizes))
    write = road(lambda x, v, a, b, c: lax.dynamic_update_slice(x, v, (a, b, c)))
    values = np.arange(float(np.prod(sizes))).reshape(sizes)
    for starts in STARTS:
        place = window(T.shape, starts, sizes)
        assert_close(read(T, *starts), T[place])
        assert_close(read_array(T, np.array(starts)), T[place])
        expected = np.array(T)
        expected[place] = values
        assert_close(write(T, values, *starts), expected)
        if road is ROADS["eager"]:
            assert_close(gx.jit(lambda x, s=starts: lax.dynamic_slice(x, s, sizes))(T), T[place])


def test_dynamic_slices_along_one_axis(road: Any) -> None:
    for start in (-1, 0, 1, 7):
        place = min(max(start + 3 if start < 0 else start, 0), 1)
        assert_close(road(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, axis=1))(T, start), T[:, place:place + 2])
        element = min(max(start + 3 if start < 0 else start, 0), 2)
        assert_close(road(lambda x, i: lax.dynamic_index_in_dim(x, i, 1))(T, start), T[:, element:element + 1])
        assert_close(road(lambda x, i: lax.dynamic_index_in_dim(x, i, -2, keepdims=False))(T, start), T[:, element])
        expected = np.array(T)
        expected[:, element] = 7.0
        for update in (np.full((4, 5), 7.0), np.full((4, 1, 5), 7.0)):
            assert_close(road(lambda x, v, i: lax.dynamic_update_index_in_dim(x, v, i, 1))(T, update, start), expected)
        expected = np.array(T)
        expected[:, place:place + 2] = 7.0
        write = road(lambda x, i: lax.dynamic_update_slice_in_dim(x, np.full((4, 2, 5), 7.0), i, 1))
        assert_close(write(T, start), expected)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_derivatives_of_windows_in_loops(compiled: bool) -> None:
    """A loop that reads and writes windows at computed places, against the same in Python."""
    def traced(x: Any, v: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            row = lax.dynamic_slice(c, (i, 0), (2, 3))
            return lax.dynamic_update_slice(c, np.sin(row) * v[i], (i + 1, 0))

        return lax.fori_loop(0, 3, body, x)

    def plain(x: Any, v: Any) -> Any:
        x = np.array(x)
        for i in range(3):
            row = x[i:i + 2].copy()
            place = min(i + 1, 2)
            x[place:place + 2] = np.sin(row) * v[i]
        return x

    values = [M, X]
    tangents = directions(values, 1)
    expected = central_difference(lambda xs: [plain(*xs)], values, tangents)
    cotangents = directions(expected, 2)

    def push(x: Any, v: Any) -> Any:
        return gx.jvp(traced, (x, v), tuple(tangents))

    def pull(x: Any, v: Any) -> Any:
        return gx.vjp(traced, x, v)[1](cotangents[0])

    if compiled:
        push, pull = gx.jit(push), gx.jit(pull)
    value, pushed = push(*values)
    assert_close(value, plain(*values))
    assert_close(pushed, expected[0], "differences")
    assert_close(inner(pull(*values), tangents), inner(cotangents, expected), "differences")


def test_windows_over_lanes() -> None:
    starts = np.array([0, 2, -1])
    found = gx.vmap(lambda i: lax.dynamic_slice(M, (i, 0), (2, 3)))(starts)
    assert_close(found, np.stack([M[window(M.shape, (i, 0), (2, 3))] for i in starts]))
    found = gx.vmap(lambda x, i: lax.dynamic_update_slice(x, np.zeros(2), (i,)))(M.T, starts)
    expected = np.array(M.T)
    for lane, i in enumerate(starts):
        expected[lane][window((4,), (i,), (2,))] = 0.0
    assert_close(found, expected)


# --------------------------------------------------------------------------------------------------- gather and scatter


def test_gather(road: Any) -> None:
    rows = np.array([[0, -1], [2, 1]])
    assert_close(road(lax.gather)(M, rows), M[rows])
    assert_close(road(lambda x, i: lax.gather(x, (i,), axes=(1,)))(M, rows), np.moveaxis(M[:, rows], 0, -1))
    assert_close(road(lambda x, i: lax.gather(x, (i, i[0]), axes=(0, 2)))(T, rows), T[rows, :, rows[0]])
    assert_close(road(lambda x, i: lax.gather(x, i, mode="clip"))(X, np.array([3, 9])), X[[3, 3]])
    assert_close(road(lambda x, i: lax.gather(x, i, mode="inside"))(X, 2), X[2])
    for i in (4, -5):
        with pytest.raises(IndexError, match=f"index {i} is out of bounds for axis 0 with size 4"):
            road(lax.gather)(X, i)


@pytest.mark.parametrize("name, ufunc", [
    ("scatter_add", np.add), ("scatter_mul", np.multiply), ("scatter_min", np.minimum), ("scatter_max", np.maximum)])
def test_scatter_with_an_operation(road: Any, name: str, ufunc: Any) -> None:
    rows = np.array([1, -1, 1])
    values = generator.uniform(-1.0, 1.0, (3, 3))
    expected = np.array(M)
    ufunc.at(expected, rows, values)
    assert_close(road(getattr(lax, name))(M, rows, values), expected)
    expected = np.array(M)
    ufunc.at(expected, (slice(None), rows), 0.5)
    assert_close(road(lambda x, i: getattr(lax, name)(x, i, 0.5, axes=(1,)))(M, rows), expected)


def test_scatter(road: Any) -> None:
    expected = np.array(T)
    expected[[3, 0], :, [1, 2]] = 1.0
    places = (np.array([3, 0]), np.array([1, 2]))
    assert_close(road(lambda x, i: lax.scatter(x, i, 1, axes=(0, 2)))(T, places), expected)
    found = road(lambda x, v: lax.scatter(x, np.array([1, 1]), v))(X, Y[:2])
    assert_close(found, np.array([X[0], Y[1], X[2], X[3]]))


def test_derivatives_of_gather_and_scatter() -> None:
    rows = np.array([1, 3, 1])

    def traced(x: Any, v: Any) -> Any:
        read = lax.gather(x, rows)
        return lax.scatter_add(np.sin(x), rows, read * v), lax.scatter(x, rows, v, unique_indices=False)

    def plain(x: Any, v: Any) -> Any:
        first, second = np.sin(x), np.array(x)
        np.add.at(first, rows, x[rows] * v)
        second[rows] = v
        return first, second

    values = [X, Y[:3]]
    tangents = directions(values, 1)
    expected = central_difference(lambda xs: plain(*xs), values, tangents)
    pushed = gx.jvp(traced, tuple(values), tuple(tangents))[1]
    assert_all_close(pushed, expected, "differences")
    cotangents = directions(expected, 2)
    pulled = gx.jit(lambda x, v: gx.vjp(traced, x, v)[1](tuple(cotangents)))(*values)
    assert_close(inner(pulled, tangents), inner(cotangents, expected), "differences")
