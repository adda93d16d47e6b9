"""What sorting is the base of, beyond the table of calls: many shapes and dtypes, ``size=``, errors, derivatives at ties."""

import warnings

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors
from gradxform.array import Array
from gradxform.core import Builder, run
from gradxform.ir import ArrayType
from gradxform.operands import lift

GENERATOR = np.random.default_rng(5)
METHODS = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
           "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest")


def listed(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def staged(function, *arrays, known=False):
    """The results of a function of traced arrays, evaluated."""
    builder = Builder("test", Array)
    with builder:
        inputs = [builder.add_input(ArrayType(np.asarray(a).dtype, np.shape(a)), known=a if known else None) for a in arrays]
        outputs = [lift("test", x) for x in listed(function(gnp, *inputs))]
        program, captures = builder.finish(outputs)
    with np.errstate(all="ignore"):
        return run(program, [*arrays, *captures])


def compare(function, *arrays, known=False, reference=None):
    """``function(module, *arrays)`` staged against NumPy: values, dtypes and shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = listed((reference or (lambda *given: function(np, *given)))(*arrays))
    found = staged(function, *arrays, known=known)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype and one.shape == other.shape
        tolerance = 1e-6 if other.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def samples():
    for shape in ((), (1,), (5,), (6,), (3, 4), (2, 3, 5), (0, 3), (3, 0)):
        for dtype in (np.float64, np.float32, np.int64, np.uint8, np.bool_):
            x = np.asarray(GENERATOR.integers(0, 9, shape).astype(dtype))
            yield x
            if x.dtype.kind == "f" and x.size > 2:
                missing = x + GENERATOR.random(shape).astype(dtype)
                missing.flat[1] = np.nan
                yield missing


SAMPLES = list(samples())


@pytest.mark.parametrize("axis", [None, 0, -1, (0, -1)])
def test_medians(axis):
    for x in SAMPLES:
        if x.ndim < (2 if isinstance(axis, tuple) else 0 if axis is None else 1):
            continue
        compare(lambda m, x: m.median(x, axis=axis), x)
        compare(lambda m, x: m.nanmedian(x, axis=axis, keepdims=True), x)


@pytest.mark.parametrize("method", METHODS)
def test_quantiles(method):
    for x in SAMPLES:
        for axis in (None, -1):
            if not x.ndim or (x.shape[-1] == 0 if axis == -1 else not x.size) or x.dtype == bool:
                continue
            compare(lambda m, x, axis=axis: m.quantile(x, [0.0, 0.3, 1.0], axis=axis, method=method), x)
            compare(lambda m, x, axis=axis: m.percentile(x, 37.0, axis=axis, method=method, keepdims=True), x)
            compare(lambda m, x, axis=axis: m.nanquantile(x, np.array([[0.3, 0.8]]), axis=axis, method=method), x)


def test_long_rows():
    x = GENERATOR.standard_normal((2, 2050)) * 40
    x[1, 7] = np.nan
    for dtype in (np.float64, np.float32, np.int32):
        rows = x.astype(dtype) if dtype != np.int32 else (x[:1] * 10).astype(dtype)
        compare(lambda m, x: m.median(x, axis=1), rows)
        compare(lambda m, x: m.median(x[:, 1:], axis=1), rows)
        compare(lambda m, x: m.quantile(x, [[0.0, 0.3], [0.5, 1.0]], axis=1), rows)
        compare(lambda m, x: m.quantile(x, np.linspace(0.0, 1.0, 7), axis=1, method="hazen"), rows)
        compare(lambda m, x: m.percentile(x, 12.0, axis=1, method="inverted_cdf"), rows)
    rows = x[:1]
    found = gx.jit(lambda x: (np.median(x), gnp.quantile(x, 0.37)))(rows)
    np.testing.assert_allclose(found, (np.median(rows), np.quantile(rows, 0.37)), rtol=1e-13)


def test_weighted_quantiles():
    for x in SAMPLES:
        if x.ndim < 2 or not x.size:
            continue
        weights = GENERATOR.integers(0, 3, x.shape) + (np.arange(x.shape[-1]) == 1) * 0.5
        compare(lambda m, x, w: m.quantile(x, [0.0, 0.4, 1.0], axis=-1, method="inverted_cdf", weights=w), x, weights)
        compare(lambda m, x, w: m.quantile(x, 0.4, method="inverted_cdf", weights=w), x, weights)
        compare(lambda m, x, w: m.quantile(x, 0.4, axis=-1, method="inverted_cdf", weights=w), x, weights[(0,) * (x.ndim - 1)])
        compare(lambda m, x, w: m.nanquantile(x, 0.4, axis=0, method="inverted_cdf", weights=w), x, weights + 1)


def test_a_quantile_whose_place_is_traced():
    x = np.array([3.0, 1.0, 2.0, 5.0])
    for method in METHODS:
        compare(lambda m, x, q, method=method: m.quantile(x, q, method=method), x, np.array([0.1, 0.5, 0.9]))
    # The slope between neighbours: three steps between four elements.
    assert gx.grad(lambda q: gnp.quantile(x, q))(0.4) == pytest.approx(3.0)
    assert gx.jit(gx.grad(lambda q: gnp.quantile(x, q)))(0.8) == pytest.approx(6.0)
    np.testing.assert_allclose(gx.grad(lambda x: gnp.quantile(x, 0.4))(x), [0.0, 0.0, 0.8, 0.0] + np.array([0.2, 0, 0, 0]))


def test_derivatives_at_ties_are_those_of_the_stable_permutation():
    x = np.array([2.0, 1.0, 2.0, 1.0, 2.0])
    np.testing.assert_array_equal(gx.grad(np.median)(x), [1.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(gx.grad(lambda x: np.sort(x)[0])(x), [0.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(gx.grad(lambda x: np.quantile(x, 1.0))(x), [0.0, 0.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(gx.grad(lambda x: np.median(x))(np.array([1.0, 4.0, 2.0, 3.0])), [0.0, 0.0, 0.5, 0.5])


def test_derivatives_where_nan_is_skipped():
    x = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan, np.nan, np.nan, 7.0]])
    expected = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_array_equal(gx.grad(lambda x: np.sum(np.nanmedian(x, axis=1)))(x), expected)
    np.testing.assert_array_equal(gx.jit(gx.grad(lambda x: np.sum(np.nanquantile(x, 0.5, axis=1))))(x), expected)


def test_weights_of_a_histogram_have_a_derivative():
    x, weights = np.array([0.1, 0.9, 0.4, 2.0, 0.5]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    factors = np.array([10.0, 20.0])

    def weighted(w):
        return np.histogram(x, 2, (0.0, 1.0), weights=w)[0] @ factors

    np.testing.assert_array_equal(gx.grad(lambda w: weighted(gnp.asarray(w)))(weights), [10.0, 20.0, 10.0, 0.0, 20.0])
    by_data = gx.grad(lambda x: gnp.sum(gnp.histogram(x, 2, (0.0, 1.0), weights=weights)[0] * factors))(x)
    np.testing.assert_array_equal(by_data, np.zeros(5))


@pytest.mark.parametrize("length", [0, 2, 4, 12])
def test_counts_of_a_given_number(length):
    x, weights = np.array([3, 0, 9, 3, 1]), np.array([0.5, 1.0, 2.0, 4.0, 8.0])
    compare(lambda m, x: m.bincount(x, length=length), x, reference=lambda x: np.bincount(x, minlength=12)[:length])
    compare(lambda m, x, w: m.bincount(x, w, length=length), x, weights,
            reference=lambda x, w: np.bincount(x, w, 12)[:length])


def test_counts_under_jit_and_on_plain_arrays():
    x, weights = np.array([3, 0, 9, 3, 1]), np.array([0.5, 1.0, 2.0, 4.0, 8.0])
    np.testing.assert_array_equal(gnp.bincount(x, length=4), [1, 1, 0, 2])
    pulled = gx.jit(gx.grad(lambda w: gnp.bincount(x, w, length=4) @ np.array([1.0, 2.0, 3.0, 5.0])))(weights)
    np.testing.assert_array_equal(pulled, [5.0, 1.0, 0.0, 5.0, 2.0])
    with pytest.raises(errors.IndexRangeError):
        gx.jit(lambda x: gnp.bincount(x, minlength=4))(x)


def test_histograms_of_many_shapes():
    for x in SAMPLES:
        for kw in ({"bins": 4}, {"bins": 3, "range": (1, 6)}, {"bins": [0, 1, 1, 4.5, 8]}, {"bins": 2, "range": (3, 3)}):
            if np.isnan(x.astype(float)).any() and "range" not in kw and kw["bins"] == 4:
                continue
            if x.dtype != bool:
                compare(lambda m, x, kw=kw: m.histogram(x, **kw), x)
                compare(lambda m, x, w, kw=kw: m.histogram(x, weights=w, **kw), x, GENERATOR.random(x.shape))


def test_values_at_the_edges_of_bins():
    edges = np.linspace(0.0, 1.0, 11)
    x = np.concatenate([edges, np.nextafter(edges, 2.0), np.nextafter(edges, -1.0), [np.nan, np.inf, -np.inf]])
    compare(lambda m, x: m.histogram(x, 10, (0.0, 1.0)), x)
    compare(lambda m, x: m.histogram(x, 10, (0.0, 0.7)), x)
    compare(lambda m, x, e: m.histogram(x, e), x, edges)


# ---------------------------------------------------------------------------------------------------------- size=


def padded(values, size, fill):
    values = np.asarray(values)
    missing = np.full((max(size - len(values), 0), *values.shape[1:]), fill, values.dtype)
    return np.concatenate([values, missing])[:size]


@pytest.mark.parametrize("size", [0, 1, 3, 10])
def test_positions_of_a_given_number(size):
    for x in (np.array([0.0, 2.0, 0.0, 3.0, 4.0]), np.array([[0, 1, 1], [2, 0, 3]]), np.zeros(0), np.zeros((3, 0))):
        compare(lambda m, x: m.nonzero(x, size=size), x,
                reference=lambda x: tuple(padded(part, size, 0) for part in np.nonzero(x)))
        compare(lambda m, x: m.flatnonzero(x, size=size, fill_value=-1), x,
                reference=lambda x: padded(np.flatnonzero(x), size, -1))
        compare(lambda m, x: m.argwhere(x, size=size), x, reference=lambda x: padded(np.argwhere(x), size, 0))
        compare(lambda m, x: m.extract(x > 1, x, size=size), x, reference=lambda x: padded(np.extract(x > 1, x), size, 0))
    x = np.arange(12.0).reshape(3, 4)
    compare(lambda m, x: m.compress([False, True, True], x, 1, size=size, fill_value=7), x,
            reference=lambda x: padded(x[:, 1:3].T, size, 7).T)


@pytest.mark.parametrize("size", [0, 2, 3, 9])
def test_sets_of_a_given_size(size):
    x, y = np.array([5.0, 1.0, 3.0, 1.0, 5.0, 8.0]), np.array([8.0, 3.0, 2.0, 3.0])
    for name in ("intersect1d", "union1d", "setdiff1d", "setxor1d"):
        compare(lambda m, x, y, name=name: getattr(m, name)(x, y, size=size, fill_value=-1), x, y,
                reference=lambda x, y, name=name: padded(getattr(np, name)(x, y), size, -1))
    values, index, inverse, counts = np.unique(x, True, True, True)
    compare(lambda m, x: m.unique(x, True, True, True, size=size, fill_value=-1), x, reference=lambda x: (
        padded(values, size, -1), padded(index, size, index[0]), inverse, padded(counts, size, 0)))
    compare(lambda m, x: m.unique(x, size=size), x, reference=lambda x: padded(values, size, values[0]))
    compare(lambda m, x, y: m.intersect1d(x, y, return_indices=True, size=2), x, y,
            reference=lambda x, y: np.intersect1d(x, y, return_indices=True))


def test_sets_with_nan_and_slices():
    x = np.array([np.nan, 1.0, np.nan, 1.0])
    compare(lambda m, x: m.unique(x, return_counts=True, size=2), x, reference=lambda x: np.unique(x, return_counts=True))
    compare(lambda m, x: m.unique(x, equal_nan=False, size=3), x, reference=lambda x: np.unique(x, equal_nan=False))
    rows = GENERATOR.integers(0, 2, (12, 3))
    count = len(np.unique(rows, axis=0))
    compare(lambda m, x: m.unique(x, axis=0, return_index=True, return_inverse=True, return_counts=True, size=count), rows,
            reference=lambda x: np.unique(x, axis=0, return_index=True, return_inverse=True, return_counts=True))
    compare(lambda m, x: m.unique(x, axis=1, return_counts=True), rows, known=True)


def test_sizes_under_jit_and_on_plain_arrays():
    x = np.array([3.0, 1.0, 3.0, 2.0])
    found = gx.jit(lambda x: gnp.unique(x, return_counts=True, size=4, fill_value=0))(x)
    for one, other in zip(found, ([1.0, 2.0, 3.0, 0.0], [1, 1, 2, 0]), strict=True):
        np.testing.assert_array_equal(one, other)
    plain = gnp.unique(x, size=2)
    assert type(plain) is np.ndarray
    np.testing.assert_array_equal(plain, [1.0, 2.0])
    np.testing.assert_array_equal(gnp.nonzero(np.array([0, 1, 1]), size=3, fill_value=5)[0], [1, 2, 5])
    np.testing.assert_array_equal(gx.grad(lambda x: gnp.sum(gnp.unique(x, size=3) ** 2))(x), [6.0, 2.0, 0.0, 4.0])
    np.testing.assert_array_equal(gx.grad(lambda x: np.sum(np.unique(x) ** 2))(x), [6.0, 2.0, 0.0, 4.0])


# --------------------------------------------------------------------------------------------------------- errors

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
WRONG = [
    (lambda x: gnp.sort(x, axis=2), np.exceptions.AxisError, "axis 2 is out of bounds"),
    (lambda x: gnp.sort(x, kind="fast"), ValueError, "kind='fast' is none of"),
    (lambda x: gnp.sort(x, kind="stable", stable=True), ValueError, "can't be provided at the same time"),
    (lambda x: gnp.sort(x, order="a"), ValueError, "order='a' is not supported"),
    (lambda x: gnp.partition(x, 3), ValueError, r"kth\(=3\) out of bounds \(3\)"),
    (lambda x: gnp.argpartition(x, [0, -4]), ValueError, r"kth\(=-4\) out of bounds"),
    (lambda x: gnp.lexsort(()), ValueError, "need sequence of keys"),
    (lambda x: gnp.lexsort((x, x[0])), ValueError, "same shape"),
    (lambda x: gnp.quantile(x, 1.5), ValueError, r"Quantiles must be in the range \[0, 1\]"),
    (lambda x: gnp.quantile(x, [0.1, np.nan]), ValueError, r"Quantiles must be in the range \[0, 1\]"),
    (lambda x: gnp.percentile(x, -1), ValueError, r"Percentiles must be in the range \[0, 100\]"),
    (lambda x: gnp.quantile(x, 0.5, method="best"), ValueError, "'best' is not a valid method"),
    (lambda x: gnp.quantile(x, 0.5, weights=x), ValueError, "Only method 'inverted_cdf' supports weights"),
    (lambda x: gnp.quantile(x, 0.5, method="inverted_cdf", weights=-np.ones((2, 3))), ValueError, "must be non-negative"),
    (lambda x: gnp.quantile(x, 0.5, method="inverted_cdf", weights=np.zeros((2, 3))), ValueError, "were all zero"),
    (lambda x: gnp.quantile(x, 0.5, method="inverted_cdf", weights=np.ones(3)), TypeError, "Axis must be specified"),
    (lambda x: gnp.quantile(x, 0.5, 0, method="inverted_cdf", weights=np.ones(3)), ValueError, "must be consistent"),
    (lambda x: gnp.quantile(x[:0], 0.5), IndexError, "no quantile of no elements"),
    (lambda x: gnp.quantile(x > 2, 0.5), TypeError, "booleans"),
    (lambda x: gnp.median(x + 1j), TypeError, "real numbers"),
    (lambda x: gnp.histogram(x, 0), ValueError, "must be positive"),
    (lambda x: gnp.histogram(x, 2.5), TypeError, "must be an integer"),
    (lambda x: gnp.histogram(x, [2.0, 1.0]), ValueError, "must increase monotonically"),
    (lambda x: gnp.histogram(x, [[1.0], [2.0]]), ValueError, "must be 1d"),
    (lambda x: gnp.histogram(x, 3, (2, 1)), ValueError, "max must be larger than min"),
    (lambda x: gnp.histogram(x, 3, (0, np.inf)), ValueError, "is not finite"),
    (lambda x: gnp.histogram(x, 3, weights=x[0]), ValueError, "same shape as a"),
    (lambda x: gnp.histogram(x, "auto"), errors.ConcretizationError, "histogram"),
    (lambda x: gnp.histogram(x, "auto", weights=x), TypeError, "not supported for weighted data"),
    (lambda x: gnp.histogram2d(x[0], x[:, 0]), ValueError, "same length"),
    (lambda x: gnp.histogramdd(x, (2, 2)), ValueError, "dimension of bins"),
    (lambda x: gnp.histogramdd(x, 2, [(0, 1)]), ValueError, "one entry per dimension"),
    (lambda x: gnp.bincount(x[0]), TypeError, "Cannot cast array data"),
    (lambda x: gnp.bincount(gnp.asarray([1, -1])), ValueError, "no negative elements"),
    (lambda x: gnp.bincount([1, 2], minlength=-1), ValueError, "must not be negative"),
    (lambda x: gnp.bincount([1, 2], x[0]), ValueError, "same length"),
    (lambda x: gnp.digitize(x, [1.0, 3.0, 2.0]), ValueError, "monotonically"),
    (lambda x: gnp.unique(x), errors.ConcretizationError, "give size="),
    (lambda x: gnp.unique(x, fill_value=1), ValueError, "only together with size"),
    (lambda x: gnp.union1d(x, x), errors.ConcretizationError, "give size="),
    (lambda x: gnp.unique(x, size=-1), ValueError, "negative dimensions"),
    (lambda x: gnp.cov(x[None]), ValueError, "more than 2 dimensions"),
    (lambda x: gnp.cov(x, fweights=[1, 2]), ValueError, "incompatible numbers of samples"),
    (lambda x: gnp.cov(x, fweights=[1, 2, -1]), ValueError, "cannot be negative"),
    (lambda x: gnp.cov(x, fweights=[1, 2, 0.5]), TypeError, "fweights must be integer"),
    (lambda x: gnp.compress([True] * 4, x, 1, size=2), ValueError, "does not fit axis 1"),
]


@pytest.mark.parametrize("function, error, message", WRONG, ids=[message for *_, message in WRONG])
def test_errors(function, error, message):
    builder = Builder("test", Array)
    with builder, pytest.raises(error, match=message) as raised:
        function(builder.add_input(ArrayType(X.dtype, X.shape)))
    assert isinstance(raised.value, errors.GradxformError)
    assert "test_sorting_faces.py" in str(raised.value), "the user's line is quoted"


def test_nothing_but_nan():
    x = np.full((2, 3), np.nan)
    with pytest.raises(ValueError, match="All-NaN slice"):
        gx.grad(lambda x: x[0, 0] * gnp.nanargmax(x))(x)
    np.testing.assert_array_equal(gx.jit(lambda x: gnp.nanargmin(x, axis=1))(x), [-1, -1])


# -------------------------------------------------------------------------------------------------------- methods


def test_methods_of_arrays():
    @gx.jit
    def function(x):
        ordered, parted = x.copy(), 2.0 * x
        ordered.sort(axis=0)
        parted.partition(1)
        return ordered, parted[:, 1], x.argsort(0), x.argpartition(1)[:, 1], ordered[:, 0].searchsorted(2.0)

    x = np.array([[3.0, 1.0, 2.0], [0.5, 4.0, -1.0]])
    expected = np.sort(x, 0), 2 * np.sort(x, 1)[:, 1], np.argsort(x, 0), np.argsort(x, 1)[:, 1], 1
    for one, other in zip(function(x), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(errors.ReadOnlyError, match="sort in place"):
        gx.jit(lambda x: x.sort())(x)
    with pytest.raises(errors.ReadOnlyError, match="partition in place"):
        gx.jit(lambda x: x.partition(1))(x)


def test_complex_numbers_are_ordered_by_parts():
    z = np.array([1 + 2j, 1 - 1j, np.nan + 1j, complex(1, np.nan), 0.5 + 9j, complex(np.nan, np.nan)])
    compare(lambda m, z: m.sort(z), z)
    compare(lambda m, z: m.argsort(z, kind="stable"), z)
    compare(lambda m, z: m.unique(z, size=3), z[[0, 1, 0, 4]], reference=np.unique)
    np.testing.assert_array_equal(gx.jit(lambda z: gnp.sort(z))(z), np.sort(z))
