"""lax.sort and lax.top_k against NumPy."""

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors, lax

GENERATOR = np.random.default_rng(3)


def test_sort_of_one_and_of_several():
    x = GENERATOR.integers(0, 5, (4, 6)).astype(float)
    for axis in (0, 1, -1):
        np.testing.assert_array_equal(lax.sort(x, axis), np.sort(x, axis))
        np.testing.assert_array_equal(gx.jit(lambda x, axis=axis: lax.sort(x, axis))(x), np.sort(x, axis))
    y, z = GENERATOR.integers(0, 3, (4, 6)), GENERATOR.standard_normal((4, 6))
    for keys, order in ((1, np.argsort(x, 0, kind="stable")), (2, np.lexsort((y, x), axis=0))):
        found = gx.jit(lambda x, y, z, keys=keys: lax.sort((x, y, z), dimension=0, num_keys=keys))(x, y, z)
        assert isinstance(found, tuple)
        for one, other in zip(found, (x, y, z), strict=True):
            np.testing.assert_array_equal(one, np.take_along_axis(other, order, 0))


def test_the_derivative_of_what_is_carried():
    keys, weights = np.array([2.0, 0.0, 1.0]), np.array([1.0, 10.0, 100.0])
    pulled = gx.grad(lambda v: lax.sort((keys, v))[1] @ weights)(np.ones(3))
    np.testing.assert_array_equal(pulled, [100.0, 1.0, 10.0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_top_k(dtype):
    x = GENERATOR.integers(0, 6, (3, 8)).astype(dtype)
    # The largest first, of equal ones the first one first.
    order = np.stack([sorted(range(8), key=lambda i, row=row: (-int(row[i]), i)) for row in x])
    for k in (0, 1, 5, 8):
        values, places = gx.jit(lambda x, k=k: lax.top_k(x, k))(x)
        assert values.dtype == dtype and places.dtype == np.int64
        np.testing.assert_array_equal(places, order[:, :k])
        np.testing.assert_array_equal(values, np.take_along_axis(x, order[:, :k], 1))
    values, places = lax.top_k(x.T, 2, axis=0)
    np.testing.assert_array_equal(places, order[:, :2].T)


def test_top_k_with_nan_and_its_derivative():
    values, places = lax.top_k(np.array([1.0, np.nan, 3.0]), 2)
    np.testing.assert_array_equal(values, [np.nan, 3.0])
    np.testing.assert_array_equal(places, [1, 2])
    pulled = gx.grad(lambda x: lax.top_k(x, 2)[0] @ np.array([1.0, 10.0]))(np.array([1.0, 7.0, 5.0, 7.0]))
    np.testing.assert_array_equal(pulled, [0.0, 1.0, 0.0, 10.0])
    batched = gx.vmap(lambda x: lax.top_k(x, 1)[1])(np.array([[1.0, 2.0], [4.0, 3.0]]))
    np.testing.assert_array_equal(batched, [[1], [0]])


def test_bad_input():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match="num_keys must be between 1 and the number of operands, 1, got 2"):
        lax.sort(x, num_keys=2)
    with pytest.raises(ValueError, match="operands must have one shape"):
        lax.sort((x, x[0]))
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        lax.sort(x, 2)
    with pytest.raises(ValueError, match="k must be between 0 and the extent 3"):
        lax.top_k(x, 4)
    with pytest.raises(TypeError, match="k must be an int that is known"):
        lax.top_k(x, 1.5)
    with pytest.raises(errors.AxisError):
        lax.sort(np.float64(1.0))
