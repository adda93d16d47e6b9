"""What the table of calls cannot say: results of another kind, edges, errors, and derivatives at special places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors

# ------------------------------------------------------------------------------------------- representation of floats


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frexp_ldexp_and_neighbours_over_all_floats(dtype: Any) -> None:
    limits = np.finfo(dtype)
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    drawn = np.random.default_rng(3).integers(0, np.iinfo(unsigned).max, 2000, dtype=unsigned).view(dtype)
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, limits.max, limits.min, limits.tiny,
                      limits.smallest_subnormal, -limits.smallest_subnormal], dtype)
    x = np.concatenate([drawn, edges])
    y = np.roll(x, 5)
    powers = np.random.default_rng(4).integers(-2300, 2300, x.size)
    calls: Any = {
        "frexp": (x,), "ldexp": (x, powers), "nextafter": (x, y), "spacing": (x,),
    }
    for name, arguments in calls.items():
        with np.errstate(all="ignore"):
            expected = np.atleast_2d(getattr(np, name)(*arguments))
            found = np.atleast_2d(gx.jit(getattr(gnp, name))(*arguments))
        np.testing.assert_array_equal(found, expected, err_msg=name)
        there = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[there]), np.signbit(expected[there]), err_msg=name)


def test_derivatives_of_representation() -> None:
    assert gx.grad(lambda x: gnp.nextafter(x, 9.0))(2.0) == 1.0
    assert gx.grad(lambda y: gnp.nextafter(2.0, y))(9.0) == 0.0
    assert gx.grad(lambda x: gnp.frexp(x)[0])(6.0) == 0.125
    assert gx.grad(lambda x: gnp.ldexp(x, -2))(6.0) == 0.25
    assert gx.grad(gnp.spacing)(3.0) == 0.0
    assert gx.grad(lambda x: gnp.frexp(x)[0])(5e-324) == np.inf  # 2**1074 does not fit


def test_representation_of_complex_numbers_is_refused() -> None:
    for function in (gnp.frexp, gnp.spacing, lambda z: gnp.ldexp(z, 1), lambda z: gnp.nextafter(z, z)):
        with pytest.raises(errors.DTypeError, match="real number"):
            gx.jit(function)(np.array([1j]))


def test_integer_functions_refuse_floats() -> None:
    for function in (gnp.gcd, gnp.lcm):
        with pytest.raises(errors.DTypeError, match="integers"):
            gx.jit(function)(1.5, 2)
    with pytest.raises(errors.DTypeError, match="integer"):
        gx.jit(gnp.ldexp)(1.5, 2.0)
    with pytest.raises(errors.DTypeError, match="unsigned byte"):
        gx.jit(gnp.unpackbits)(np.arange(3))


# ------------------------------------------------------------------------------------------------------ methods


def test_where_of_ufuncs_is_refused_with_the_way_out() -> None:
    with pytest.raises(errors.ArgumentError, match=r"np\.where\(mask, sin"):
        gx.jit(lambda x: gnp.sin(x, where=x > 0))(np.ones(2))


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda x: gnp.subtract.reduce(x, axis=(0, 1)), errors.ArgumentError, "not reorderable"),
    (lambda x: gnp.subtract.reduce(x[:0]), errors.ShapeError, "zero-size"),
    (lambda x: gnp.hypot.reduce(x, axis=5), errors.AxisError, "axis 5"),
    (lambda x: gnp.fmax.reduce(x, where=x > 0), errors.ArgumentError, "initial"),
    (lambda x: gnp.add.reduceat(x, [0, 9]), errors.IndexRangeError, "indices"),
    (lambda x: gnp.sin.reduce(x), errors.ArgumentTypeError, "sin.reduce"),
    (lambda x: gnp.less.accumulate(x), errors.DTypeError, "less.accumulate"),
    (lambda x: gnp.add.reduce(x, out=np.zeros(2)), errors.ReadOnlyError, "out"),
])
def test_bad_calls_of_methods(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        gx.jit(call)(np.ones((2, 3)))


def test_reductions_by_ufuncs_differentiate() -> None:
    x = np.array([2.0, 3.0, 0.5])
    np.testing.assert_allclose(gx.grad(gnp.divide.reduce)(x), [1 / 1.5, -2 / (9 * 0.5), -2 / (3 * 0.25)])
    np.testing.assert_allclose(gx.grad(gnp.logaddexp.reduce)(x), np.exp(x) / np.exp(x).sum())


# ------------------------------------------------------------------------------------------- arrangement and padding


def test_roll_by_a_shift_that_is_not_known() -> None:
    x = np.arange(12.0).reshape(3, 4)
    for shift in (0, 1, -3, 17):
        np.testing.assert_array_equal(gx.jit(lambda a, s: gnp.roll(a, s, 1))(x, shift), np.roll(x, shift, 1))
        np.testing.assert_array_equal(gx.jit(lambda a, s: gnp.roll(a, s))(x, shift), np.roll(x, shift))
    shifts = np.array([1, -2])
    np.testing.assert_array_equal(gx.jit(lambda a, s: gnp.roll(a, s, (0, 1)))(x, shifts), np.roll(x, (1, -2), (0, 1)))
    weights = np.cos(x)
    np.testing.assert_array_equal(gx.jit(gx.grad(lambda a, s: (gnp.roll(a, s, 0) * weights).sum()))(x, 2),
                                  np.roll(weights, -2, 0))
    with pytest.raises(errors.ArgumentTypeError, match="integers"):
        gx.jit(lambda a, s: gnp.roll(a, s))(x, 1.5)


def test_repeat_to_a_given_length() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    counts = np.array([2, 0, 3])
    for total, rows in ((5, [0, 0, 2, 2, 2]), (3, [0, 0, 2]), (7, [0, 0, 2, 2, 2, 2, 2])):
        def function(a: Any, c: Any, total: int = total) -> Any:
            return gnp.repeat(a, c, axis=0, total_repeat_length=total)

        np.testing.assert_array_equal(function(x, counts), x[rows])
        np.testing.assert_array_equal(gx.jit(function)(x, counts), x[rows])
        slopes = np.zeros(3)
        np.add.at(slopes, rows, 2.0)
        np.testing.assert_array_equal(gx.jit(gx.grad(lambda a, c, f=function: f(a, c).sum()))(x, counts),
                                      slopes[:, None] / 2 * np.ones((1, 2)))
    with pytest.raises(errors.ConcretizationError, match="total_repeat_length"):
        gx.jit(lambda a, c: gnp.repeat(a, c, axis=0))(x, counts)


@pytest.mark.parametrize(("arguments", "options", "words"), [
    ((1, "nowhere"), {}, "mode 'nowhere'"), ((-1,), {}, "negative"),
    ((1, "edge"), {"constant_values": 1}, "unsupported keyword"),
    ((1, "reflect"), {"reflect_type": "none"}, "reflect_type"), (((1, 2, 3),), {}, "does not fit"),
    ((1, "maximum"), {"stat_length": 0}, "stat_length"),
])
def test_bad_paddings(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(errors.ArgumentError, match=words):
        gx.jit(lambda x: gnp.pad(x, *arguments, **options))(np.ones((2, 3)))


def test_padding_with_a_function() -> None:
    def write(vector: Any, pair: tuple[int, int], axis: int, options: dict[str, float]) -> None:
        vector[:pair[0]] = options["scale"] * vector[pair[0]] + axis
        if pair[1]:
            vector[-pair[1]:] = vector[::-1][pair[1]] ** 2

    def padded(x: Any) -> Any:
        return np.pad(x, ((2, 1), (0, 2)), write, scale=3.0)

    x = np.arange(6.0).reshape(2, 3) + 0.5
    np.testing.assert_allclose(gx.jit(padded)(x), padded(x), rtol=1e-14)
    step = 1e-6 * np.cos(x)
    np.testing.assert_allclose(gx.jvp(padded, (x,), (np.cos(x),))[1], (padded(x + step) - padded(x - step)) / 2e-6, rtol=1e-8)
    np.testing.assert_allclose(gx.vmap(padded)(np.stack([x, -x])), np.stack([padded(x), padded(-x)]), rtol=1e-14)


def test_padding_of_nothing_is_refused() -> None:
    with pytest.raises(errors.ArgumentError, match="empty axis"):
        gx.jit(lambda x: gnp.pad(x, 1, "edge"))(np.ones((0, 2)))


# -------------------------------------------------------------------------------------------- functions of functions


def test_piecewise_and_windows_in_their_parameters() -> None:
    found = gx.grad(lambda x: gnp.piecewise(x, [x < 0.0, x > 1.0], [lambda t: -t, lambda t: t * t, 0.5]).sum())(
        np.array([-1.0, 0.5, 3.0]))
    np.testing.assert_array_equal(found, [-1.0, 0.0, 6.0])
    found = gx.grad(lambda x: gnp.piecewise(x, [x > 0], [gnp.sqrt, gnp.exp]).sum())(np.array([-1.0, 0.0, 4.0]))
    np.testing.assert_allclose(found, [np.exp(-1.0), 1.0, 0.25])
    with pytest.raises(errors.ArgumentError, match="functions are expected"):
        gx.jit(lambda x: gnp.piecewise(x, [x > 0], [1, 2, 3]))(np.ones(2))
    step = 1e-6
    np.testing.assert_allclose(gx.jacfwd(lambda beta: gnp.kaiser(5, beta))(2.5),
                               (np.kaiser(5, 2.5 + step) - np.kaiser(5, 2.5 - step)) / (2 * step), atol=1e-8)


def test_vectorize_in_a_transform() -> None:
    @gnp.vectorize
    def product(a: Any, b: Any) -> Any:
        """A docstring."""
        return a * b

    assert product.__doc__ == "A docstring." and product.__name__ == "product"
    np.testing.assert_array_equal(gx.grad(lambda x: product(x, np.arange(3.0)).sum())(np.ones((2, 3))),
                                  [[0.0, 1.0, 2.0]] * 2)
    options = gnp.vectorize(otypes=[np.float32])
    assert gx.jit(options(lambda a: a))(np.ones(2)).dtype == np.float32
    inner = gnp.vectorize(np.dot, signature="(n),(n)->()")
    with pytest.raises(errors.ShapeError, match="core dimension"):
        gx.jit(inner)(np.ones(2), np.ones(3))
    with pytest.raises(errors.ArgumentError, match="operands"):
        gx.jit(inner)(np.ones(2))
    keyword = gnp.vectorize(lambda a, power=1: a**power, excluded=["power"])
    np.testing.assert_array_equal(gx.jit(lambda x: keyword(x, power=2))(np.arange(3.0)), [0.0, 1.0, 4.0])


def test_apply_along_axis_of_nothing_is_refused() -> None:
    with pytest.raises(errors.ShapeError, match="without elements"):
        gx.jit(lambda x: gnp.apply_along_axis(gnp.sum, 1, x))(np.ones((0, 2)))


# -------------------------------------------------------------------------------------------------------- polynomials


def test_roots_and_their_derivatives() -> None:
    p = np.array([2.0, -3.0, -11.0, 6.0])  # 2 (x - 3) (x + 2) (x - 1/2)
    np.testing.assert_allclose(np.sort(gx.jit(gnp.roots)(p).real), [-2.0, 0.5, 3.0], rtol=1e-13)
    found = gx.jit(lambda: gnp.roots(gnp.array([0.0, 1.0, 0.0, 4.0, 0.0])))()
    np.testing.assert_allclose(found[np.argsort(found.imag)], [-2j, 0.0, 2j], atol=1e-13)
    # dx/dp_k = -x**(3 - k) / p'(x), summed with weights that tell the roots apart.
    zeros = np.array([-2.0, 0.5, 3.0])
    slopes = gx.grad(lambda q: (gnp.roots(q).real ** 3).sum())(p)
    expected = [sum(3 * x**2 * -(x ** (3 - k)) / np.polyval(np.polyder(p), x) for x in zeros) for k in range(4)]
    np.testing.assert_allclose(slopes, expected, rtol=1e-9)
    assert gx.jit(gnp.roots)(np.array([3.0])).shape == (0,)
    np.testing.assert_allclose(gx.jit(gnp.poly)(np.array([[2.0, 1.0], [0.5, 3.0]])).real, [1.0, -5.0, 5.5], rtol=1e-13)


def test_polynomial_fit_in_full() -> None:
    x, y = np.linspace(0.0, 1.0, 8), np.cos(np.arange(8.0))
    found = gx.jit(lambda a, b: gnp.polyfit(a, b, 2, full=True)[:4])(x, y)
    for one, other in zip(found, np.polyfit(x, y, 2, full=True)[:4], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    for call, words in (
        (lambda a: gnp.polyfit(a, a, -1), "deg >= 0"), (lambda a: gnp.polyfit(a[None], a, 1), "vector x"),
        (lambda a: gnp.polyfit(a, a, 1, w=a[:2]), "weight"), (lambda a: gnp.polyfit(a, a, 9, cov=True), "exceed"),
    ):
        with pytest.raises(ValueError, match=words):
            gx.jit(call)(x)


# ------------------------------------------------------------------------------------------------- text and the like


def test_what_does_not_depend_on_values() -> None:
    def function(x: Any) -> Any:
        assert gnp.common_type(x, np.float32(1)) is np.float64
        path, text = gnp.einsum_path("ij,jk->ik", x, x, optimize="greedy")
        assert path == np.einsum_path("ij,jk->ik", np.eye(2), np.eye(2))[0] and "Complete contraction" in text
        assert gnp.array_repr(x) == gnp.array2string(x) == repr(x) and gnp.array_str(x) == str(x)
        assert not gnp.shares_memory(x, x) and not gnp.may_share_memory(x, x)
        assert [index for index, _ in gnp.ndenumerate(x)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert gnp.broadcast_shapes(x.shape, (3, 1, 2)) == (3, 2, 2)
        return sum(value for _, value in gnp.ndenumerate(x))

    assert gx.jit(function)(np.arange(4.0).reshape(2, 2)) == 6.0
    assert list(gnp.ndenumerate(np.array([5.0]))) == [((0,), 5.0)]


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda x: gnp.r_["r", x], errors.ArgumentError, "directive"),
    (lambda x: gnp.r_[x, "0"], errors.ArgumentError, "first entry"),
    (lambda x: gnp.mgrid[0:2, 3], errors.ArgumentError, "slices"),
    (lambda x: gnp.einsum(x, x), errors.ArgumentError, "subscripts"),
    (lambda x: gnp.trim_zeros(x), errors.ArgumentTypeError, "must be known"),
    (lambda x: gnp.poly(gnp.ones((2, 3))), errors.ShapeError, "poly"),
    (lambda x: gnp.polyint(x, -1), errors.ArgumentError, "negative"),
    (lambda x: gnp.gradient(x[:2], edge_order=2), errors.ShapeError, "edge_order"),
    (lambda x: gnp.gradient(x, x[:2]), errors.ShapeError, "distances"),
    (lambda x: gnp.diag_indices_from(x), errors.ShapeError, "2-d"),
    (lambda x: gnp.tril_indices_from(x), errors.ShapeError, "2-d"),
    (lambda x: gnp.matvec(x, x), errors.ShapeError, "matvec"),
    (lambda x: gnp.cross(x, x), errors.ShapeError, "length 2 or 3"),
])
def test_bad_calls(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        gx.jit(call)(np.ones(4))
