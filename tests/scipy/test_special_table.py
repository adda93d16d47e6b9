"""Every function of gradxform.scipy.special against mpmath: values, and derivatives in every argument it has them in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from support.special_references import REFERENCES, derivative

import gradxform as gx
from gradxform.scipy import special as gsp


def _columns(points):
    return [np.array(column) for column in zip(*points, strict=True)]


def _close(found, expected, bound, label):
    scale = np.maximum(np.abs(expected), 1e-280)
    error = np.abs(np.asarray(found) - expected) / scale
    assert np.all(error <= bound), f"{label}: {found} for {expected}, relative error {error}"


@pytest.mark.parametrize("name", REFERENCES)
def test_value_and_first_derivatives(name):
    row = REFERENCES[name]
    function = getattr(gsp, name)
    columns = _columns(row.points)
    both = gx.jit(gx.vmap(gx.value_and_grad(lambda *x: function(*x), argnums=row.arguments)))
    values, slopes = both(*columns)
    rank = len(columns)
    _close(values, [derivative(row, point, (0,) * rank) for point in row.points], row.bounds[0], f"{name} values")
    for position, found in zip(row.arguments, slopes, strict=True):
        orders = [int(i == position) for i in range(rank)]
        expected = np.array([derivative(row, point, orders) for point in row.points])
        _close(found, expected, row.bounds[1], f"{name} in argument {position}")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(function(*columns), getattr(special, name)(*columns))


SECOND = [name for name, row in REFERENCES.items() if row.second and name not in (
    # by their own tests, or the same functions under other names
    "jn", "jve", "yve", "psi", "loggamma", "comb", "perm", "chdtr", "chdtrc", "gdtr", "gdtrc", "boxcox1p", "inv_boxcox1p",
    "betainccinv", "gammainccinv", "pdtrc", "bdtrc", "nbdtrc")]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    row = REFERENCES[name]
    point = row.points[1 if len(row.points) > 1 else 0]
    function = getattr(gsp, name)
    found = gx.jit(gx.hessian(lambda *x: function(*x), argnums=row.arguments))(*map(float, point))
    for a, first in enumerate(row.arguments):
        for b, second in enumerate(row.arguments):
            orders = [0] * len(point)
            orders[first] += 1
            orders[second] += 1
            expected = derivative(row, point, orders)
            _close(found[a][b], expected, row.bounds[2], f"{name} in arguments {first} and {second}")


def test_every_function_is_in_the_table():
    others = {"airy", "cbrt", "exp10", "exp2", "expm1", "fdtri", "chdtri", "fresnel", "gammasgn", "lambertw", "log1p",
              "log_softmax", "logsumexp", "multigammaln", "polygamma", "powm1", "shichi", "sici", "sinc", "softmax",
              "spherical_yn"}
    assert set(gsp.__all__) == others | set(REFERENCES)
