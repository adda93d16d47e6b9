"""gradxform.optimize against SciPy with its finite differences, and against closed forms."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors, optimize
from gradxform.optimize import keeping
from gradxform.optimize.keeping import References, kept

METHODS = ("Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "COBYLA", "SLSQP", "trust-constr", "dogleg",
           "trust-ncg", "trust-exact", "trust-krylov")


def rosenbrock(x: Any, scale: Any = 10.0) -> Any:
    return np.sum(scale * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


@pytest.mark.parametrize("method", METHODS)
def test_minimize_by_every_method(method: str) -> None:
    start = np.array([0.98, 1.01, 1.0]) if method == "dogleg" else np.array([0.8, 0.9, 1.2])  # it wants convexity
    options, tol = ({"rhobeg": 0.1, "maxiter": 4000}, 1e-5) if method == "COBYLA" else ({}, 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optimize.minimize(rosenbrock, start, args=(5.0,), method=method, tol=tol, options=options)
    np.testing.assert_allclose(found.x, np.ones(3), atol=2e-3 if method in ("COBYLA", "Nelder-Mead", "Powell") else 1e-4)
    assert isinstance(found, scipy.optimize.OptimizeResult)


def test_minimize_gets_exact_gradients() -> None:
    calls = []

    def function(x: Any) -> Any:
        calls.append(1)
        return rosenbrock(x)

    start = np.array([-1.2, 1.0, 0.5, 2.0])
    found = optimize.minimize(function, start, method="BFGS", options={"gtol": 1e-10})
    assert len(calls) == 1  # traced once; every step is native
    x = found.x
    inner = -2.0 * (1.0 - x[:-1]) - 40.0 * x[:-1] * (x[1:] - x[:-1] ** 2)
    gradient = np.concatenate([inner, [0.0]]) + np.concatenate([[0.0], 20.0 * (x[1:] - x[:-1] ** 2)])
    np.testing.assert_allclose(found.jac, gradient, atol=1e-12)
    assert np.abs(found.jac).max() < 1e-9  # finite differences do not come there


def test_minimize_keeps_its_callers_derivatives() -> None:
    found = optimize.minimize(lambda x, a: float((x[0] - a) ** 2), 0.0, args=2.0, jac=lambda x, a: 2.0 * (x - a))
    np.testing.assert_allclose(found.x, [2.0], rtol=1e-8)
    pair = optimize.minimize(lambda x: (float(x @ x), 2.0 * x), [1.0, 2.0], jac=True)
    np.testing.assert_allclose(pair.x, 0.0, atol=1e-8)
    newton = optimize.minimize(rosenbrock, np.zeros(2), method="trust-exact", hess=lambda x: np.eye(2) * 80.0)
    assert newton.fun < 1.0
    with_product = optimize.minimize(lambda x: np.sum(x ** 4 + x ** 2), np.ones(3), method="Newton-CG",
                                     hessp=lambda x, v: (12.0 * x * x + 2.0) * v)
    np.testing.assert_allclose(with_product.x, 0.0, atol=1e-5)


def test_minimize_takes_pytrees_and_matrices() -> None:
    target = {"w": np.arange(6.0).reshape(2, 3), "b": 2.0}

    def loss(p: Any, scale: Any) -> Any:
        assert p["w"].shape == (2, 3) and p["b"].shape == ()
        return scale * (np.sum((p["w"] - target["w"]) ** 2) + (p["b"] - target["b"]) ** 2)

    found = optimize.minimize(loss, {"w": np.zeros((2, 3)), "b": 0.0}, args=(3.0,))
    np.testing.assert_allclose(found.x["w"], target["w"], atol=1e-5)
    np.testing.assert_allclose(found.x["b"], 2.0, atol=1e-5)
    assert found.jac["w"].shape == (2, 3)
    bounded = optimize.minimize(loss, {"w": np.zeros((2, 3)), "b": 0.0}, args=(3.0,),
                                bounds=({"w": -1.0, "b": -1.0}, {"w": np.array([1.0, 1.5, 9.0]), "b": 1.0}))
    np.testing.assert_allclose(bounded.x["w"], np.minimum(target["w"], [1.0, 1.5, 9.0]), atol=1e-5)
    np.testing.assert_allclose(bounded.x["b"], 1.0)
    matrix = optimize.minimize(lambda m: np.sum((m @ m.T - 2.0 * np.eye(2)) ** 2), np.array([[1.0, 0.2], [0.1, 1.0]]))
    np.testing.assert_allclose(matrix.x @ matrix.x.T, 2.0 * np.eye(2), atol=1e-4)


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
def test_minimize_with_bounds_and_constraints(method: str) -> None:
    def outside(x: Any, radius: Any) -> Any:
        return np.sum(x * x) - radius ** 2

    constraints: Any = {"type": "ineq", "fun": outside, "args": (2.0,)}
    if method == "trust-constr":
        constraints = [scipy.optimize.NonlinearConstraint(lambda x: outside(x, 2.0), 0.0, np.inf)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optimize.minimize(lambda x: np.sum((x - np.array([0.3, 0.4])) ** 2), [1.0, 1.5], method=method,
                                  constraints=constraints, bounds=[(0, 5), (0, 5)], tol=1e-10)
    np.testing.assert_allclose(found.x, [1.2, 1.6], atol=1e-4)  # on the circle, away from the centre
    own = optimize.minimize(lambda x: np.sum(x * x), [2.0, 0.5], constraints=[
        {"type": "eq", "fun": lambda x: x[0] + x[1] - 1.0, "jac": lambda x: np.ones(2)}])
    np.testing.assert_allclose(own.x, [0.5, 0.5], atol=1e-7)


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares(method: str) -> None:
    t = np.linspace(0.0, 3.0, 30)
    y = 2.0 * np.exp(-0.7 * t) + 0.1 * np.sin(9.0 * t)

    def residuals(p: Any, t: Any, y: Any, offset: Any = 0.0) -> Any:
        return p[0] * np.exp(-p[1] * t) + offset - y

    found = optimize.least_squares(residuals, [1.0, 1.0], args=(t, y), kwargs={"offset": 0.05}, method=method, xtol=1e-14,
                                   ftol=1e-14, gtol=1e-14)
    expected = scipy.optimize.least_squares(residuals, [1.0, 1.0], args=(t, y), kwargs={"offset": 0.05}, xtol=1e-14,
                                            ftol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-6)
    e = np.exp(-found.x[1] * t)
    np.testing.assert_allclose(found.jac, np.stack([e, -found.x[0] * t * e], -1), atol=1e-12)


def test_least_squares_of_pytrees_with_bounds() -> None:
    def residuals(p: Any) -> Any:
        return {"first": p["a"] * np.arange(3.0) - 1.0, "second": (p["b"] - 4.0)}

    found = optimize.least_squares(residuals, {"a": 0.0, "b": np.zeros(2)},
                                   bounds=(-10.0, {"a": 10.0, "b": np.array([3.0, 9.0])}))
    np.testing.assert_allclose(found.x["a"], 3.0 / 5.0, atol=1e-7)
    np.testing.assert_allclose(found.x["b"], [3.0, 4.0], atol=1e-6)


@pytest.mark.parametrize("method", ["hybr", "lm", "broyden1", "krylov", "df-sane"])
def test_root(method: str) -> None:
    def equations(x: Any, c: Any) -> Any:
        return gnp.stack([x[0] + 0.2 * np.sin(x[1]) - c, x[1] + 0.1 * x[0] ** 2 - 1.0])

    found = optimize.root(equations, [0.5, 0.5], args=(0.75,), method=method, tol=1e-10)
    assert found.success
    x = found.x
    np.testing.assert_allclose([x[0] + 0.2 * np.sin(x[1]), x[1] + 0.1 * x[0] ** 2], [0.75, 1.0], atol=1e-8)


def test_root_of_a_pytree() -> None:
    found = optimize.root(lambda p: (p["u"] ** 2 - np.array([4.0, 9.0]), p["v"] - 1.0), {"u": np.ones(2), "v": 0.0})
    np.testing.assert_allclose(found.x["u"], [2.0, 3.0])
    assert found.x["v"] == 1.0
    own = optimize.root(lambda x: x ** 3 - 8.0, [1.0], jac=lambda x: np.diag(3.0 * x ** 2))
    np.testing.assert_allclose(own.x, [2.0])


# ------------------------------------------------------------------------------------------------------ curve_fit


def decay(x: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    return a * np.exp(-b * x) * np.cos(c * x) + d


def data(size: int) -> tuple[Any, Any]:
    x = np.linspace(0.0, 4.0, size)
    return x, decay(x, 2.5, 1.3, 3.0, 0.5) + 0.05 * np.random.default_rng(0).normal(size=size)


START = [2.0, 1.0, 2.8, 0.0]
OPTIONS: list[dict[str, Any]] = [
    {}, {"sigma": 0.3}, {"sigma": "vector"}, {"sigma": "vector", "absolute_sigma": True}, {"sigma": "matrix"},
    {"method": "trf"}, {"bounds": ([0.0, 0.0, 2.0, -1.0], [9.0, 9.0, 4.0, 1.0])}, {"nan_policy": "omit"},
    {"method": "dogbox", "absolute_sigma": True, "sigma": "vector"}, {"ftol": 1e-12, "xtol": 1e-12, "maxfev": 500},
    {"check_finite": False}, {"jac": "3-point", "method": "trf"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", [20, 400])
def test_curve_fit_equals_scipys(options: dict[str, Any], size: int) -> None:
    x, y = data(size)
    options = dict(options)
    weights = 0.05 + 0.02 * np.abs(np.sin(np.arange(size)))
    if isinstance(options.get("sigma"), str):
        options["sigma"] = weights if options["sigma"] == "vector" else np.diag(weights ** 2) + 1e-4
    if options.get("nan_policy") == "omit":
        y[3] = np.nan
    expected = scipy.optimize.curve_fit(decay, x, y, p0=START, **options)
    found = optimize.curve_fit(decay, x, y, p0=START, **options)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-9)


def test_curve_fit_is_at_the_minimum() -> None:
    for size in (20, 400):
        x, y = data(size)
        popt, pcov, info, _message, status = optimize.curve_fit(decay, x, y, p0=START, full_output=True, xtol=1e-13, ftol=1e-13)
        a, b, c, _ = popt
        e, k, s = np.exp(-b * x), np.cos(c * x), np.sin(c * x)
        jacobian = np.stack([e * k, -a * x * e * k, -a * x * e * s, np.ones(size)], -1)
        errors = decay(x, *popt) - y
        np.testing.assert_allclose(info["fvec"], errors, atol=1e-12)
        np.testing.assert_allclose(jacobian.T @ errors, 0.0, atol=1e-8 * size)
        np.testing.assert_allclose(pcov, np.linalg.inv(jacobian.T @ jacobian) * (errors @ errors) / (size - 4), rtol=1e-6)
        assert status in (1, 2, 3, 4)


def test_curve_fit_without_a_start_and_with_tables() -> None:
    x, _ = data(100)
    np.testing.assert_allclose(optimize.curve_fit(lambda x, a, b: a + b * x, x, 3.0 - 2.0 * x)[0], [3.0, -2.0], rtol=1e-9)
    plane = optimize.curve_fit(lambda t, a, b: a * t["u"] + b * t["v"], {"u": x, "v": x ** 2}, 2.0 * x - x ** 2)
    np.testing.assert_allclose(plane[0], [2.0, -1.0], rtol=1e-9)
    rows = optimize.curve_fit(lambda t, a, b: a * t[0] + b * t[1], np.stack([x, np.cos(x)]), 2.0 * x - np.cos(x))
    np.testing.assert_allclose(rows[0], [2.0, -1.0], rtol=1e-9)
    inside = optimize.curve_fit(lambda x, a, b: a * x + b, x, 0.5 * x + 4.0, bounds=([0.0, 3.0], [1.0, np.inf]))
    np.testing.assert_allclose(inside[0], [0.5, 4.0], rtol=1e-6)
    exact = optimize.curve_fit(decay, x, decay(x, 2.5, 1.3, 3.0, 0.5), p0=START)
    np.testing.assert_allclose(exact[0], [2.5, 1.3, 3.0, 0.5], rtol=1e-7)


def test_curve_fit_with_nearly_dependent_parameters() -> None:
    x = np.linspace(1.0, 2.0, 600)
    y = 3.0 * x + np.sin(5.0 * x)

    def model(x: Any, a: Any, b: Any) -> Any:
        return a * x + b * (x + 1e-7 * x ** 2)

    found, covariance = optimize.curve_fit(model, x, y, p0=[1.0, 1.0], xtol=1e-12, ftol=1e-12)
    expected = scipy.optimize.curve_fit(model, x, y, p0=[1.0, 1.0], xtol=1e-12, ftol=1e-12,
                                        jac=lambda x, a, b: np.stack([x, x + 1e-7 * x ** 2], -1))
    np.testing.assert_allclose(found.sum(), expected[0].sum(), rtol=1e-4)
    assert np.isfinite(covariance).all()
    with pytest.warns(scipy.optimize.OptimizeWarning):
        _, unknown = optimize.curve_fit(lambda x, a, b: a * x + 0.0 * b, x, y)
    assert np.isinf(unknown).all()


def test_curve_fit_of_bad_input() -> None:
    x, y = data(20)
    cases: list[tuple[type[Exception], Any]] = [
        (ValueError, lambda: optimize.curve_fit(decay, x, np.where(x > 1, np.nan, y), p0=START)),
        (ValueError, lambda: optimize.curve_fit(decay, np.where(x > 1, np.inf, x), y, p0=START)),
        (ValueError, lambda: optimize.curve_fit(decay, x[:0], y[:0], p0=START)),
        (ValueError, lambda: optimize.curve_fit(decay, x, y, p0=START, sigma=np.ones(3))),
        (ValueError, lambda: optimize.curve_fit(lambda x, *p: p[0] * x, x, y)),
        (ValueError, lambda: optimize.curve_fit(decay, x[:2], y[:2], p0=START)),
        (RuntimeError, lambda: optimize.curve_fit(decay, x, y, p0=[50.0, 30.0, 99.0, 1.0], maxfev=2)),
        (ValueError, lambda: optimize.minimize(lambda x: x, np.zeros(2))),
        (ValueError, lambda: optimize.minimize(rosenbrock, np.zeros(2), method="newton")),
        (TypeError, lambda: optimize.minimize(rosenbrock, "start")),
        (TypeError, lambda: optimize.minimize(rosenbrock, np.zeros(2, complex))),
        (ValueError, lambda: optimize.minimize(lambda p: p["a"] ** 2, {"a": 1.0}, bounds=({"b": 0.0}, None))),
    ]
    for error, call in cases:
        with pytest.raises(error):
            call()
    with pytest.raises(errors.TracerConversionError):
        import math

        optimize.minimize(lambda x: math.sin(x[0]), [1.0])


# -------------------------------------------------------------------------------------------- what is kept compiled

SHIFT = 1.0
TABLE = np.ones(3)


def shifted(x: Any) -> Any:
    return np.sum((x - SHIFT) ** 2) + helper(x)


def helper(x: Any) -> Any:
    return np.sum((x - TABLE) ** 2)


def test_compiled_code_is_kept_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept(shifted, "test", lambda: shifted)
    assert kept(shifted, "test", lambda: shifted) is first
    assert kept(shifted, "another", lambda: shifted) is not first
    monkeypatch.setitem(globals(), "SHIFT", 2.0)
    assert kept(shifted, "test", lambda: shifted) is not first


def test_results_follow_what_functions_refer_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def x() -> float:
        return float(optimize.minimize(shifted, [0.0]).x[0])

    np.testing.assert_allclose(x(), 1.0, atol=1e-5)
    monkeypatch.setitem(globals(), "SHIFT", 5.0)
    np.testing.assert_allclose(x(), 2.0, atol=1e-5)  # (5 + 3 * 1) / 4
    TABLE[:] = 9.0
    try:
        np.testing.assert_allclose(x(), 8.0, atol=1e-5)
    finally:
        TABLE[:] = 1.0
    target = 3.0

    def closed(x: Any) -> Any:
        return (x[0] - target) ** 2

    np.testing.assert_allclose(optimize.minimize(closed, [0.0]).x, [3.0], atol=1e-5)
    target = 4.0
    np.testing.assert_allclose(optimize.minimize(closed, [0.0]).x, [4.0], atol=1e-5)

    class Model:
        target = 3.0

        def loss(self, x: Any) -> Any:
            return (x[0] - self.target) ** 2

    model = Model()
    np.testing.assert_allclose(optimize.minimize(model.loss, [0.0]).x, [3.0], atol=1e-5)
    model.target = 4.0
    np.testing.assert_allclose(optimize.minimize(model.loss, [0.0]).x, [4.0], atol=1e-5)
    np.testing.assert_allclose(optimize.minimize(gx.jit(closed), [0.0]).x, [4.0], atol=1e-5)


def test_functions_defined_anew_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    compiled = keeping._compiled
    monkeypatch.setattr(keeping, "_compiled", lambda make: made.append(make) or compiled(make))

    def fit(target: Any, power: int) -> Any:
        def loss(x: Any) -> Any:
            return np.sum((x - target) ** power)

        return optimize.minimize(loss, np.zeros(2)).x

    table = np.array([1.0, 2.0])
    for target, power, expected in ((table, 2, 1), (table, 2, 1), (table, 4, 2), (2.0, 2, 3), (2.0, 2, 3), (-2.0, 2, 4)):
        np.testing.assert_allclose(fit(target, power), np.broadcast_to(target, 2), atol=0.05)
        assert len(made) == expected
    table[:] = 3.0
    np.testing.assert_allclose(fit(table, 2), [3.0, 3.0], atol=1e-4)
    assert len(made) == 5


def test_arguments_that_are_no_arrays() -> None:
    def loss(x: Any, name: str, apply: Any) -> Any:
        return np.sum((apply(x) - 2.0) ** 2) if name == "square" else np.sum(x)

    for apply, expected in ((np.exp, np.log(2.0)), (lambda x: 2.0 * x, 1.0)):
        np.testing.assert_allclose(optimize.minimize(loss, [0.5], args=("square", apply)).x, [expected], atol=1e-5)


def test_references_hold() -> None:
    found = References(shifted)
    assert found.hold()
    TABLE[0] = 7.0
    try:
        assert not found.hold()
    finally:
        TABLE[0] = 1.0
    assert found.hold()
