"""Triangles in blocks: Cholesky factors, their cotangents and triangular systems of sizes around the borders of blocks."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend.blocked_text import first_part
from gradxform.primitives import linalg

RANDOM = np.random.default_rng(83)
#: Around leaves, strips, squares and halves.
SIZES = [7, 31, 33, 64, 65, 97, 150, 257]


def positive(n, dtype="float64"):
    x = RANDOM.standard_normal((n, n))
    return (x @ x.T + 0.1 * np.eye(n)).astype(dtype)


def error(found, expected):
    """The largest error in units of the dtype's precision."""
    return np.abs(found - expected).max() / np.abs(expected).max() / np.finfo(found.dtype).eps


def test_the_first_part_is_a_power_of_two_times_a_leaf():
    assert [first_part(n) for n in (33, 64, 65, 128, 129, 2000)] == [32, 32, 64, 64, 128, 1024]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("upper", [False, True])
def test_a_factor_has_a_small_backward_error(n, dtype, upper):
    a = positive(n, dtype)
    # What the other triangle holds is not read.
    other = np.full((n, n), np.nan, dtype)
    given = np.where(np.tri(n, dtype=bool).T if upper else np.tri(n, dtype=bool), a, other)
    found = gx.jit(lambda x: gx.numpy.linalg.cholesky(x, upper=upper))(given)
    assert found.dtype == a.dtype
    assert not (np.tril(found, -1) if upper else np.triu(found, 1)).any()
    lower = (found.T if upper else found).astype(float)
    assert np.linalg.norm(lower @ lower.T - a) < 2 * np.finfo(dtype).eps * np.linalg.norm(a)


def test_an_ill_conditioned_factor_has_a_small_backward_error():
    x = np.linspace(0.0, 1.0, 200)
    a = np.exp(-0.5 * ((x[:, None] - x) / 0.2) ** 2) + 1e-13 * np.eye(200)
    found = gx.jit(gx.numpy.linalg.cholesky)(a)
    assert np.linalg.norm(found @ found.T - a) < 4e-16 * np.linalg.norm(a)
    # Rows of the factor times one of an ill-conditioned triangle: the residual is small, though the solution is not exact.
    b = RANDOM.standard_normal((200, 70))
    solution = gx.jit(lambda m, y: gx.scipy.linalg.solve_triangular(m, y, lower=True))(found, b)
    bound = np.abs(found) @ np.abs(solution)
    assert (np.abs(found @ solution - b) < 200 * 1.2e-16 * bound).all()


@pytest.mark.parametrize("bad", [0, 20, 40, 149])
def test_a_matrix_that_is_not_positive_definite(bad):
    a = positive(150)
    for value in (-1.0, 0.0, np.nan):
        a[bad, bad] = value
        with pytest.raises(gx.errors.LinAlgError, match="not positive definite"):
            gx.jit(gx.numpy.linalg.cholesky)(a)
        assert np.isnan(gx.jit(gx.lax.linalg.cholesky)(a)).any()


@pytest.mark.parametrize("n", [65, 150])
@pytest.mark.parametrize("columns", [1, 60, 200])
@pytest.mark.parametrize(("lower", "transposed", "unit"), [
    (True, 0, False), (True, 1, False), (False, 0, False), (False, 1, True), (True, 0, True)])
def test_triangular_systems(n, columns, lower, transposed, unit):
    random = RANDOM.standard_normal((n, n)) / (4 * np.sqrt(n)) + 2 * np.eye(n)
    triangle = np.tril(random) if lower else np.triu(random)
    solve = gx.jit(lambda m, y: gx.scipy.linalg.solve_triangular(m, y, lower=lower, trans=transposed, unit_diagonal=unit))
    for dtype in ("float64", "float32"):
        # What the other triangle and a diagonal of ones hold is not read.
        given = np.where(triangle == 0, np.nan, triangle).astype(dtype)
        matrix = np.nan_to_num(given.astype(float))
        if unit:
            given[np.diag_indices(n)], matrix[np.diag_indices(n)] = np.nan, 1.0
        b = RANDOM.standard_normal((n, columns)).astype(dtype)
        assert error(solve(given, b), np.linalg.solve(matrix.T if transposed else matrix, b.astype(float))) < 30


@pytest.mark.parametrize("n", [31, 33, 97, 150])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cotangents_are_transposes_of_tangents(n, dtype):
    a = positive(n) + n * np.eye(n)
    ct, t = RANDOM.standard_normal((2, n, n))
    factor = np.linalg.cholesky(a)
    found = gx.jit(linalg.cholesky_cotangent)(factor.astype(dtype), ct.astype(dtype))
    assert not np.triu(found, 1).any()
    # The tangent by its formula, with explicit inverses.
    inverse = np.linalg.inv(factor)
    whole = np.tril(t, -1) + np.tril(t, -1).T + np.diag(np.diagonal(t))
    inner = np.tril(inverse @ whole @ inverse.T)
    inner[np.diag_indices(n)] /= 2
    tangent = factor @ inner
    left, right = np.sum(np.tril(found).astype(float) * t), np.sum(np.tril(ct) * tangent)
    assert abs(left - right) < 200 * np.finfo(dtype).eps * np.linalg.norm(ct) * np.linalg.norm(tangent)


def test_a_batch_has_the_bits_of_its_elements():
    a = np.stack([positive(70) for _ in range(5)])
    b = RANDOM.standard_normal((5, 70, 60))
    factor = gx.jit(gx.numpy.linalg.cholesky)
    solve = gx.jit(lambda m, y: gx.scipy.linalg.solve_triangular(m, y, lower=True))
    with gx.config.override(num_threads=2, parallel_threshold=1):
        factors = gx.jit(gx.numpy.linalg.cholesky)(a)
        solutions = gx.jit(gx.vmap(lambda m, y: gx.scipy.linalg.solve_triangular(m, y, lower=True)))(factors, b)
    np.testing.assert_array_equal(factors, [factor(x) for x in a])
    np.testing.assert_array_equal(solutions, [solve(m, y) for m, y in zip(factors, b, strict=True)])


PROGRAM = """
import hashlib
import numpy as np
import gradxform as gx

random = np.random.default_rng(5)
found = hashlib.sha256()
for dtype in ("float64", "float32"):
    x = random.standard_normal((300, 300))
    a = (np.einsum("ij,kj->ik", x, x) + 300 * np.eye(300)).astype(dtype)
    factor, back = gx.jit(lambda a, ct: (lambda value, pull: (value, *pull(ct)))(*gx.vjp(gx.numpy.linalg.cholesky, a)))(
        a, x.astype(dtype))
    solution = gx.jit(lambda m, b: gx.scipy.linalg.solve_triangular(m, b, lower=True))(factor, x.astype(dtype))
    one = gx.jit(lambda m, b: gx.scipy.linalg.solve_triangular(m, b, lower=True))(factor, x[0].astype(dtype))
    for part in (factor, back, solution, one):
        found.update(part.tobytes())
print(found.hexdigest())
"""


def test_bits_depend_neither_on_our_threads_nor_on_those_of_lapack():
    found = set()
    for ours, theirs in (("1", "1"), ("2", "2")):
        environment = {**os.environ, "GRADXFORM_NUM_THREADS": ours, "OPENBLAS_NUM_THREADS": theirs}
        found.add(subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True,
                                 cwd=os.path.dirname(os.path.dirname(gx.__file__))).stdout)
    assert len(found) == 1
