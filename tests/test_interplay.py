"""Jitted functions in other processes, and tables, labelled arrays and estimators around them."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate

import gradxform as gx
import gradxform.numpy as gnp
from tests.support import jitted_functions as functions

X = np.array([0.5, 1.0, 2.0])


def twice(function: Any) -> Any:
    return pickle.loads(pickle.dumps(function))


def test_importable_functions_are_pickled_by_name() -> None:
    assert twice(functions.decorated) is functions.decorated
    assert twice(functions.Holder.method) is functions.Holder.method
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(functions.decorated, protocol)) is functions.decorated
    functions.decorated(X)  # compiled code stays behind
    assert len(pickle.dumps(functions.decorated)) < 200


def test_others_are_pickled_with_their_function_and_options() -> None:
    found = twice(functions.renamed)
    assert found is not functions.renamed
    np.testing.assert_allclose(found(X, power=3), np.sum(X ** 3))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(gx.jit(lambda x: x))
    assert copy.deepcopy(functions.renamed)(X) == functions.renamed(X)


def test_functions_in_processes() -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found = pool.map(functions.decorated, [X, 2.0 * X])
        by_power = pool.starmap(functions.renamed, [(X, 2), (X, 3)])
    np.testing.assert_allclose(found, [np.sum(np.sin(X)) * 2.0, np.sum(np.sin(2.0 * X)) * 2.0])
    np.testing.assert_allclose(by_power, [np.sum(X ** 2), np.sum(X ** 3)])


def test_lambdas_by_cloudpickle() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    scale = np.array([1.0, 2.0, 3.0])
    for function in (gx.jit(lambda x: np.sum(x * scale)), gx.jit(gx.grad(lambda x: np.sum(x * x * scale))),
                     gx.grad(lambda x: np.sum(x * x * scale)), gx.vmap(lambda x: x * 2.0),
                     gx.jit(gx.value_and_grad(functions.plain))):
        function(X)
        found = pickle.loads(cloudpickle.dumps(function))
        for one, other in zip(gx.tree.leaves(found(X)), gx.tree.leaves(function(X)), strict=True):
            np.testing.assert_array_equal(one, other)


SCRIPT = """
import sys, numpy as np, gradxform as gx

@gx.jit
def here(x):
    return np.sum(x) * 2.0

if __name__ == "__main__":
    import cloudpickle, pickle
    sys.stdout.buffer.write(cloudpickle.dumps(here))
    assert pickle.loads(pickle.dumps(here)) is here
"""


def test_functions_of_a_script(tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    written = subprocess.run([sys.executable, str(script)], capture_output=True, check=True, cwd=Path(__file__).parents[1],
                             env={**__import__("os").environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    np.testing.assert_allclose(pickle.loads(written.stdout)(X), 7.0)


def test_joblib() -> None:
    joblib = pytest.importorskip("joblib")
    scale = 3.0
    function = gx.jit(lambda x: np.sum(x) * scale)
    for backend in ("loky", "threading"):
        found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(function)(X * k) for k in range(3))
        np.testing.assert_allclose(found, [np.sum(X * k) * 3.0 for k in range(3)])


def test_dask() -> None:
    dask = pytest.importorskip("dask")
    function = gx.jit(lambda x: np.sum(x) * 3.0)
    parts = [dask.delayed(function)(X * k) for k in range(3)]
    for scheduler in ("processes", "threads"):
        np.testing.assert_allclose(dask.compute(*parts, scheduler=scheduler), [np.sum(X * k) * 3.0 for k in range(3)])


# ------------------------------------------------------------------------------------------- tables, labelled arrays


def quadratic(x: Any) -> Any:
    return np.sum(x * x)


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(X, index=["a", "b", "c"])
    table = pandas.DataFrame({"u": X, "v": 2.0 * X, "n": [1, 2, 3]}, index=[5, 6, 7])
    for given in (column, table[["u", "v"]], table):
        values = np.asarray(given)
        np.testing.assert_allclose(gx.jit(quadratic)(given), np.sum(values ** 2))
        np.testing.assert_allclose(gx.grad(quadratic)(given), 2.0 * values)
        np.testing.assert_allclose(gx.jit(gx.value_and_grad(quadratic))(given)[1], 2.0 * values)
    np.testing.assert_allclose(gx.jit(lambda t: t["u"] @ t["v"])({"u": table["u"], "v": table["v"]}), 2.0 * X @ X)
    for product in (lambda w: w * column, lambda w: column * w, lambda w: np.multiply(column, w)):
        np.testing.assert_allclose(gx.grad(lambda w, p=product: np.sum(p(w)))(np.ones(3)), X)
    np.testing.assert_allclose(gx.grad(lambda w: np.sum((column - w) ** 2))(np.ones(3)), 2.0 * (1.0 - X))
    np.testing.assert_allclose(gx.grad(lambda w: np.sum(table[["u", "v"]] * w))(1.0), 3.0 * np.sum(X))
    with pytest.raises(TypeError):
        gx.jit(quadratic)(pandas.Series(["a", "b"]))


def test_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    given = xarray.DataArray(np.stack([X, -X]), dims=("row", "column"))
    np.testing.assert_allclose(gx.jit(quadratic)(given), 2.0 * np.sum(X ** 2))
    np.testing.assert_allclose(gx.grad(quadratic)(given), 2.0 * np.asarray(given))
    np.testing.assert_allclose(gx.grad(lambda w: np.sum(w * given ** 2))(1.0), 2.0 * np.sum(X ** 2))
    np.testing.assert_allclose(xarray.apply_ufunc(gx.jit(lambda x: np.sin(x) * 2.0), given), 2.0 * np.sin(given))


def test_scikit_learn() -> None:
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")

    class Poisson(base.RegressorMixin, base.BaseEstimator):  # type: ignore[misc]
        def __init__(self, penalty: float = 1e-3) -> None:
            self.penalty = penalty

        def fit(self, X: Any, y: Any) -> Any:
            def loss(w: Any, X: Any, y: Any, penalty: Any) -> Any:
                eta = X @ w
                return np.mean(np.exp(eta) - y * eta) + penalty * np.sum(w * w)

            self.coef_ = gx.optimize.minimize(loss, np.zeros(X.shape[1]), args=(X, y, self.penalty)).x
            return self

        def predict(self, X: Any) -> Any:
            return np.exp(X @ self.coef_)

    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 3))
    counts = np.exp(features @ np.array([0.5, -0.2, 0.1]))
    search = selection.GridSearchCV(Poisson(), {"penalty": [1e-6, 1.0]}, cv=3).fit(features, counts)
    assert search.best_params_ == {"penalty": 1e-6}
    np.testing.assert_allclose(search.best_estimator_.coef_, [0.5, -0.2, 0.1], atol=1e-3)


def test_integrators_of_scipy() -> None:
    def field(t: Any, y: Any, k: Any) -> Any:
        return gnp.stack([-k * y[0] + 1e4 * y[1] * y[2], k * y[0] - 1e4 * y[1] * y[2] - 3e7 * y[1] ** 2, 3e7 * y[1] ** 2])

    jacobian = gx.jit(gx.jacfwd(field, argnums=1))
    found = scipy.integrate.solve_ivp(gx.jit(field), (0.0, 40.0), np.array([1.0, 0.0, 0.0]), method="BDF", jac=jacobian,
                                      args=(0.04,), rtol=1e-8, atol=1e-12)
    # H. H. Robertson's problem, values at t = 40 as given with the stiff test sets (E. Hairer, G. Wanner).
    np.testing.assert_allclose(found.y[:, -1], [0.7158270688, 9.185534765e-06, 0.2841637457], rtol=1e-5)
    t, y = 0.0, np.array([0.9, 1e-5, 0.1])
    expected = [[-0.04, 1e4 * y[2], 1e4 * y[1]], [0.04, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]], [0.0, 6e7 * y[1], 0.0]]
    np.testing.assert_allclose(jacobian(t, y, 0.04), expected)
