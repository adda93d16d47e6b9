"""sort against NumPy's stable sort and lexsort: values to the bit, derivatives, batches, native code, bad input."""

import numpy as np
import pytest
from rule_checks import check_adjoint, check_batching, check_derivatives, check_single_precision, trace

import gradxform as gx
from gradxform.config import config
from gradxform.core import run
from gradxform.errors import ArgumentError, NotDifferentiableError, ShapeError
from gradxform.loopir.interpreter import interpret
from gradxform.primitives import argsort, mul, order_statistics, sort
from gradxform.primitives.sorting import sort_with_positions
from gradxform.transforms import jvp, transpose

GENERATOR = np.random.default_rng(11)
DTYPES = [np.dtype(name) for name in ("f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")]


def rows_of(dtype, kind, shape):
    """Rows that are hard in some way: all different, many ties, nearly equal, spread over the whole range."""
    if dtype.kind == "b":
        return GENERATOR.integers(0, 2, shape).astype(bool)
    if kind == "different":
        return (GENERATOR.standard_normal(shape) * 100).astype(dtype)
    if kind == "ties":
        rows = GENERATOR.integers(0, 4, shape).astype(dtype)
        if dtype.kind == "f":
            for value, part in ((np.nan, 0.2), (-np.nan, 0.1), (-0.0, 0.2), (0.0, 0.2), (-np.inf, 0.1), (np.inf, 0.1)):
                rows[GENERATOR.random(shape) < part] = value
        return rows
    if kind == "nearly equal":
        return (1.0 + 1e-13 * GENERATOR.integers(0, 500, shape)).astype(dtype)
    if dtype.kind == "f":
        return np.ldexp(GENERATOR.standard_normal(shape), GENERATOR.integers(-120, 120, shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return GENERATOR.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def assert_same_bits(found, expected):
    """Equal, zeros with their signs; which NaN is which does not matter."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    if expected.dtype.kind == "f":
        kept = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[kept], np.signbit(expected)[kept])


def taken(x, order):
    return np.take_along_axis(x, order, -1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 7, 33, 129, 700])
def test_compiled_rows_of_every_dtype(dtype, count):
    @gx.jit
    def everything(x, y):
        return sort([x])[0], sort_with_positions(x), sort([x, y], 2), argsort(y, x)

    for kind in ("different", "ties", "nearly equal", "spread"):
        x, y = rows_of(dtype, kind, (3, count)), GENERATOR.integers(0, 3, (3, count)).astype(np.int16)
        order = np.argsort(x, axis=-1, kind="stable")
        alone, (values, positions), both, by_both = everything(x, y)
        assert_same_bits(alone, np.sort(x, axis=-1, kind="stable"))
        assert_same_bits(values, taken(x, order))
        assert_same_bits(positions, order)
        order = np.lexsort((y, x), axis=-1)
        for found, given in zip(both, (x, y), strict=True):
            assert_same_bits(found, taken(given, order))
        assert_same_bits(by_both, np.lexsort((x, y), axis=-1))


#: Of these 64-bit images the leading bits do not tell, so insertion gives up and all digits are used.
STUBBORN = np.concatenate([GENERATOR.permutation(9000).astype(np.float64) * 5e-324, [1e300, -1e300]])


@pytest.mark.parametrize("count", [2048, 2049, 5000, 9002])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u4"])
def test_long_rows(count, dtype):
    @gx.jit
    def everything(x):
        return sort([x])[0], sort_with_positions(x)

    dtype = np.dtype(dtype)
    cases = [rows_of(dtype, kind, (count,)) for kind in ("different", "ties", "nearly equal", "spread")]
    cases.append(np.arange(count)[::-1].astype(dtype))
    if dtype == np.float64:
        cases.append(STUBBORN[-count:])
    for x in cases:
        order = np.argsort(x, kind="stable")
        alone, (values, positions) = everything(x)
        assert_same_bits(alone, np.sort(x, kind="stable"))
        assert_same_bits(values, x[order])
        assert_same_bits(positions, order)


def test_rows_of_images_longer_than_a_digit_tells():
    """More than 20,000 elements: wide digits."""
    x = GENERATOR.standard_normal(30_000)
    alone, order = gx.jit(lambda x: (sort([x])[0], argsort(x)))(x)
    np.testing.assert_array_equal(alone, np.sort(x))
    np.testing.assert_array_equal(order, np.argsort(x, kind="stable"))


def test_the_result_does_not_depend_on_threads():
    x = rows_of(np.dtype("f8"), "ties", (300, 700))
    function = gx.jit(lambda x: sort_with_positions(x))
    results = []
    for threads in (1, 2):
        with config.override(num_threads=threads):
            results.append(function(x))
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()


PROGRAMS = [
    (lambda x: sort([x])[0], [(5,)]),
    (lambda x: sort([x])[0], [(2, 3, 4)]),
    (lambda x: sort_with_positions(x)[0], [(3, 4)]),
    (lambda x, y: mul(*sort([x, y])), [(6,), (6,)]),
    (lambda x, y, z: mul(*sort([x, y, z], 2)[1:]), [(2, 3), (2, 3), (2, 3)]),
    (lambda x: sort([sort([mul(x, x)])[0]])[0], [(4,)]),
]


@pytest.mark.parametrize("function, shapes", PROGRAMS)
def test_derivatives_and_batches(function, shapes):
    arrays = [GENERATOR.standard_normal(shape) for shape in shapes]
    program = trace(function, *arrays)
    check_derivatives(program, arrays)
    check_batching(program, arrays)
    check_single_precision(function, arrays)
    pushed, _ = jvp(program, [True] * len(arrays))
    points = [*arrays, *(GENERATOR.standard_normal(shape) for shape in shapes)]
    check_derivatives(pushed, points, seed=3)
    compiled = gx.jit(function)(*arrays)
    np.testing.assert_array_equal(compiled, run(program, arrays)[0])


def test_batched_keys_with_one_payload_for_all():
    keys, payload = GENERATOR.standard_normal((3, 5)), np.arange(5.0)
    found = gx.vmap(lambda k, p: sort([k, p])[1], in_axes=(0, None))(keys, payload)
    np.testing.assert_array_equal(found, np.argsort(keys, axis=1))
    found = gx.jit(gx.vmap(lambda k, p: sort([k, p])[1], in_axes=(None, 0)))(payload[::-1].copy(), keys)
    np.testing.assert_array_equal(found, keys[:, ::-1])


def test_ties_follow_the_stable_permutation():
    x, direction = np.array([1.0, 0.0, 1.0, 0.0, 1.0]), np.arange(5.0)
    _, tangent = gx.jvp(lambda x: sort([x])[0], (x,), (direction,))
    np.testing.assert_array_equal(tangent, [1.0, 3.0, 0.0, 2.0, 4.0])
    _, tangent = gx.jit(lambda x, t: gx.jvp(lambda x: sort([x])[0], (x,), (t,)))(x, direction)
    np.testing.assert_array_equal(tangent, [1.0, 3.0, 0.0, 2.0, 4.0])
    check_adjoint(trace(lambda x: sort([x])[0], x), [x])
    # Missing numbers and zeros of both signs are ties too.
    x = np.array([np.nan, 0.0, np.nan, -0.0])
    _, tangent = gx.jvp(lambda x: sort([x])[0], (x,), (np.arange(4.0),))
    np.testing.assert_array_equal(tangent, [1.0, 3.0, 0.0, 2.0])


def test_the_second_derivative_of_sorted_squares():
    def function(x):
        ordered = sort([mul(x, x)])[0]
        return mul(ordered[0], ordered[2])

    x = np.array([3.0, -1.0, 2.0])
    # (x1 x0)^2: rows and columns of x2 are zero.
    expected = [[2 * x[1] ** 2, 4 * x[0] * x[1], 0.0], [4 * x[0] * x[1], 2 * x[0] ** 2, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(gx.hessian(function)(x), expected)
    np.testing.assert_allclose(gx.jit(gx.hessian(function))(x), expected)


def test_inside_a_loop_and_a_branch():
    def body(carry, x):
        merged = sort([carry + x])[0]
        return merged, merged[0]

    xs = GENERATOR.standard_normal((4, 3))
    last, firsts = gx.jit(lambda xs: gx.lax.scan(body, np.zeros(3), xs))(xs)
    carry, expected = np.zeros(3), []
    for x in xs:
        carry = np.sort(carry + x)
        expected.append(carry[0])
    np.testing.assert_array_equal(last, carry)
    np.testing.assert_array_equal(firsts, expected)
    branch = gx.jit(lambda flag, x: gx.lax.cond(flag, lambda x: sort([x])[0], lambda x: x, x))
    np.testing.assert_array_equal(branch(True, xs[0]), np.sort(xs[0]))
    np.testing.assert_array_equal(branch(False, xs[0]), xs[0])


def test_what_is_not_used_is_not_computed():
    x, y = GENERATOR.standard_normal((2, 7))

    def optimised(function):
        return str(gx.jit(function).lower(x, y).optimized)

    assert "sort[num_keys=1 positions=only] a in" in optimised(lambda x, y: sort_with_positions(x)[1])
    assert "sort[num_keys=1 positions=no] a in" in optimised(lambda x, y: sort_with_positions(x)[0])
    assert "sort[num_keys=1 positions=no] a in" in optimised(lambda x, y: sort([x, y, y])[0])
    assert "sort[num_keys=2 positions=no] a b in" in optimised(lambda x, y: sort([x, y, y], 2)[0])
    gradient = optimised(lambda x, y: gx.grad(lambda x: sort([x, y])[0] @ y)(x))
    assert "sort[num_keys=1 positions=only] a" in gradient
    for function in (lambda x, y: sort([x, y, y], 2)[0], lambda x, y: sort([x, y])[1],
                     lambda x, y: gx.grad(lambda x: sort([x, y])[0] @ y)(x)):
        np.testing.assert_array_equal(gx.jit(function)(x, y), function(x, y))


def test_the_interpreter_of_loops():
    x, y = rows_of(np.dtype("f8"), "ties", (3, 9)), np.arange(27).reshape(3, 9)
    found = interpret(gx.jit(lambda x, y: sort([x, y])).lower(x, y).loops, [x, y])
    order = np.argsort(x, axis=-1, kind="stable")
    for one, other in zip(found, (x, y), strict=True):
        assert_same_bits(one, taken(other, order))


# ---------------------------------------------------------------------------------------------------- order statistics


def sparse_sample(count):
    """A row whose equally spaced elements tell nothing of the others: what lies between two of them is not the middle."""
    x = np.linspace(0.0, 1.0, count)
    x[[k * count // 1024 for k in range(1024)]] = np.linspace(5.0, 6.0, 1024)
    return x


@pytest.mark.parametrize("count", [1, 2, 9, 2048, 2049, 6000])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u1", "?"])
def test_order_statistics(count, dtype):
    dtype = np.dtype(dtype)
    chosen = [(0,), (count - 1,), tuple(sorted({(count - 1) // 2, count // 2})), tuple(sorted({0, count // 3, count - 1}))]
    function = gx.jit(lambda x: [order_statistics(x, places) for places in chosen])
    cases = [rows_of(dtype, kind, (2, count)) for kind in ("different", "ties", "nearly equal", "spread")]
    cases += [np.stack([sparse_sample(count), np.zeros(count)]).astype(dtype)] if count > 2048 else []
    for x in cases:
        order = np.argsort(x, axis=-1, kind="stable")
        for (values, positions), places in zip(function(x), chosen, strict=True):
            assert_same_bits(positions, order[:, list(places)])
            assert_same_bits(values, taken(x, order)[:, list(places)])


def test_rules_of_order_statistics():
    def function(x):
        return order_statistics(mul(x, x), (1, 3))[0]

    x = GENERATOR.standard_normal((2, 5))
    program = trace(function, x)
    np.testing.assert_array_equal(run(program, [x])[0], np.sort(x * x, 1)[:, [1, 3]])
    check_derivatives(program, [x])
    check_batching(program, [x])
    check_single_precision(function, [x])
    pushed, _ = jvp(program, [True])
    check_derivatives(pushed, [x, GENERATOR.standard_normal((2, 5))], seed=3)
    long = GENERATOR.standard_normal(3000)
    middle = np.argsort(long)[1500]
    pulled = gx.jit(gx.grad(lambda x: order_statistics(x, (1500,))[0][0]))(long)
    np.testing.assert_array_equal(np.flatnonzero(pulled), [middle])
    ties = gx.grad(lambda x: order_statistics(x, (1,))[0][0])(np.array([1.0, 0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(ties, [0.0, 0.0, 0.0, 1.0])
    for places in ((), (2, 1), (5,), (-1,)):
        with pytest.raises(ArgumentError, match="are no rising indices into rows of 5 elements"):
            order_statistics(x, places)
    with pytest.raises(ShapeError, match="rank 1 or more"):
        order_statistics(np.float64(1.0), (0,))


def test_bad_input():
    x = np.ones((2, 3))
    with pytest.raises(ShapeError, match="of one shape and of rank 1 or more"):
        sort([x, x[0]])
    with pytest.raises(ShapeError, match="got none"):
        sort([])
    with pytest.raises(ShapeError, match="rank 1"):
        sort([np.float64(1.0)])
    with pytest.raises(ArgumentError, match="num_keys is between 1 and the number of operands, 2, got 3"):
        sort([x, x], 3)
    program = trace(lambda x: sort([x])[0], x)
    with pytest.raises(NotDifferentiableError, match="not linear in its keys"):
        transpose(program, [True])
