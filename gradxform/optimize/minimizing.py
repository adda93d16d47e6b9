"""minimize: scipy.optimize.minimize with gradients, Hessians and the derivatives of constraints filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform.api import grad, hessian, hvp, jacfwd, jacrev, value_and_grad
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.operands import lift
from gradxform.optimize.variables import Problem, Unknowns, flattened

#: What each method of SciPy takes besides the function: its gradient, and its Hessian or Hessian-vector product.
_ORDERS: dict[str, tuple[str, ...]] = {
    "nelder-mead": (), "powell": (), "cobyla": (), "cobyqa": (),
    "cg": ("jac",), "bfgs": ("jac",), "l-bfgs-b": ("jac",), "tnc": ("jac",), "slsqp": ("jac",),
    "newton-cg": ("jac", "hessp"), "trust-ncg": ("jac", "hessp"), "trust-krylov": ("jac", "hessp"),
    "dogleg": ("jac", "hess"), "trust-exact": ("jac", "hess"), "trust-constr": ("jac", "hess"),
}


def minimize(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: Any = None, jac: Any = None, hess: Any = None,
    hessp: Any = None, bounds: Any = None, constraints: Any = (), tol: float | None = None, callback: Any = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """``scipy.optimize.minimize`` with the derivatives that ``method`` takes filled in.

    The value and the gradient of a step come from one native function. What is given as ``jac``, ``hess`` or ``hessp`` is
    used as it is.

    Args:
        fun: ``fun(x, *args)``, a function of real values that returns a scalar; it is traced.
        x0: where to start: a number or vector as in SciPy, or another array or a pytree, which ``fun`` gets as such.
        args: further arguments. Those that are arrays may differ from call to call without compiling anew.
        method: one of SciPy's, by default BFGS, L-BFGS-B or SLSQP as there are bounds or constraints.
        jac, hess, hessp: the caller's own derivatives, or SciPy's names of difference schemes and updates.
        bounds: as SciPy takes them; for a pytree ``(lower, upper)``, pytrees like ``x0`` or numbers.
        constraints: dictionaries and objects of ``NonlinearConstraint``, whose Jacobians are filled in, or of
            ``LinearConstraint``.
        tol, callback, options: SciPy's.

    Returns:
        SciPy's ``OptimizeResult``; for a pytree its ``x`` and ``jac`` are pytrees too.

    Raises:
        ShapeError: ``fun`` returns no scalar.

    >>> import numpy as np
    >>> rosen = lambda x: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    >>> minimize(rosen, np.zeros(4), method="trust-exact").x.round(3)
    array([1., 1., 1., 1.])
    >>> found = minimize(lambda p: (p["a"] - 3.0) ** 2 + np.sum(p["b"] ** 2), {"a": 0.0, "b": np.ones(2)})
    >>> float(round(found.x["a"], 6))
    3.0
    """
    import scipy.optimize

    unknowns = Unknowns("minimize", x0)
    args = args if isinstance(args, tuple) else (args,)
    orders = _orders(method)
    problem = Problem(fun, unknowns, args, {})
    given: dict[str, Any] = {"jac": jac, "hess": hess, "hessp": hessp}
    if jac is True or callable(jac):
        # The user's own derivatives are of the user's own arguments.
        first = _restoring(fun, unknowns, args)
        given["jac"] = jac if jac is True else _restoring(jac, unknowns, args)
    elif jac is None and "jac" in orders:
        first = problem.compiled("value_and_grad", lambda f: value_and_grad(_scalar(f)))
        given["jac"] = True
    else:
        first = problem.compiled("value", _scalar)
    if callable(hess):
        given["hess"] = _restoring(hess, unknowns, args)
    elif hess is None and hessp is None and "hess" in orders:
        given["hess"] = problem.compiled("hessian", lambda f: hessian(_scalar(f)))
    if callable(hessp):
        given["hessp"] = lambda x, v: hessp(unknowns.restored(x), v, *args)
    elif hessp is None and hess is None and "hessp" in orders:
        given["hessp"] = problem.compiled("hvp", _hessian_product)
    result = scipy.optimize.minimize(
        first, unknowns.vector, method=method, bounds=unknowns.bounds("minimize", bounds),
        constraints=_constraints(constraints, unknowns), tol=tol, callback=callback, options=options, **given)
    if unknowns.structure is not None:
        result.x = unknowns.restored(result.x)
        if getattr(result, "jac", None) is not None:
            result.jac = unknowns.restored(result.jac)
    return result


def _restoring(function: Callable[..., Any], unknowns: Unknowns, args: Sequence[Any]) -> Callable[..., Any]:
    """The user's own function of the vector that SciPy hands out."""
    return lambda x: function(unknowns.restored(x), *args)


def _orders(method: Any) -> tuple[str, ...]:
    if method is None or callable(method):
        return ("jac",)
    found = _ORDERS.get(str(method).lower())
    if found is None:
        raise ArgumentError(f"minimize: unknown method {method!r}, expected one of {', '.join(_ORDERS)}{user_line()}")
    return found


def _scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a result of one element as a number, as SciPy takes it too."""

    def scalar(x: Any, *data: Any) -> Any:
        value = lift("minimize", function(x, *data))
        if value.size != 1:
            raise ShapeError(f"minimize: the function must return a scalar, got shape {value.shape}{user_line()}")
        return value.reshape(()) if value.ndim else value

    return scalar


def _hessian_product(function: Callable[..., Any]) -> Callable[..., Any]:
    scalar = _scalar(function)

    def product(x: Any, v: Any, *data: Any) -> Any:
        return hvp(lambda p: scalar(p, *data))(x, v)

    return product


# -------------------------------------------------------------------------------------------------- constraints


def _constraints(constraints: Any, unknowns: Unknowns) -> Any:
    """The constraints with compiled functions and Jacobians where the caller gave none."""
    if isinstance(constraints, dict):
        return _from_dictionary(constraints, unknowns)
    if isinstance(constraints, Sequence):
        return [_constraints(each, unknowns) for each in constraints]
    from scipy.optimize import NonlinearConstraint

    if not isinstance(constraints, NonlinearConstraint) or constraints.jac != "2-point":
        return constraints
    problem = Problem(constraints.fun, unknowns, (), {})
    return NonlinearConstraint(
        problem.compiled("vector", _vector), constraints.lb, constraints.ub, jac=_jacobian(problem, unknowns),
        hess=constraints.hess, keep_feasible=constraints.keep_feasible)


def _from_dictionary(constraint: dict[str, Any], unknowns: Unknowns) -> dict[str, Any]:
    args = constraint.get("args", ())
    args = args if isinstance(args, (tuple, list)) else (args,)
    if callable(constraint.get("jac")):
        return {"type": constraint["type"], "fun": _restoring(constraint["fun"], unknowns, args),
                "jac": _restoring(constraint["jac"], unknowns, args)}
    problem = Problem(constraint["fun"], unknowns, args, {})
    return {"type": constraint["type"], "fun": problem.compiled("vector", _vector), "jac": _jacobian(problem, unknowns)}


def _vector(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *data: flattened(function(x, *data))


def _jacobian(problem: Problem, unknowns: Unknowns) -> Callable[..., Any]:
    return problem.compiled("jacobian", jacobian_of)


def jacobian_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The Jacobian of a function's flattened result by a vector, row by row or column by column, whichever are fewer."""

    def jacobian(x: Any, *data: Any) -> Any:
        from gradxform.api import eval_shape

        def values(p: Any) -> Any:
            return flattened(function(p, *data))

        rows = eval_shape(values, x).shape[0]
        if rows == 1:
            return grad(lambda p: values(p)[0])(x).reshape(1, -1)
        return (jacfwd if x.shape[0] <= 4 * rows else jacrev)(values)(x)

    return jacobian
