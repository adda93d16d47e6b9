"""root and least_squares: SciPy's, with Jacobians filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradxform.optimize.minimizing import jacobian_of
from gradxform.optimize.variables import Problem, Unknowns, flattened


def _vector(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *data: flattened(function(x, *data))


def _restoring(function: Callable[..., Any], unknowns: Unknowns, args: tuple[Any, ...]) -> Callable[..., Any]:
    """The user's own function of the vector that SciPy hands out."""
    return lambda x: function(unknowns.restored(x), *args)


def _arguments(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else (args,)


def root(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str = "hybr", jac: Any = None, tol: float | None = None,
    callback: Any = None, options: dict[str, Any] | None = None,
) -> Any:
    """``scipy.optimize.root`` with the Jacobian filled in for the methods that take one, ``hybr`` and ``lm``.

    Args:
        fun: ``fun(x, *args)``, an array or pytree with as many elements as ``x``; it is traced.
        x0: where to start: a number or vector as in SciPy, or another array or a pytree, which ``fun`` gets as such.
        args, method, tol, callback, options: SciPy's.
        jac: the caller's own Jacobian; True if ``fun`` returns it too.

    Returns:
        SciPy's ``OptimizeResult``; for a pytree its ``x`` is one too.

    >>> import numpy as np
    >>> found = root(lambda x: np.stack([x[0] * x[1] - 2.0, x[0] - x[1] - 1.0]), [1.5, 1.5])
    >>> found.x.round(6)
    array([2., 1.])
    """
    import scipy.optimize

    unknowns = Unknowns("root", x0)
    args = _arguments(args)
    restored = unknowns.restored
    if jac is True or callable(jac):
        first = _restoring(fun, unknowns, args)
        derivative: Any = jac if jac is True else _restoring(jac, unknowns, args)
    else:
        problem = Problem(fun, unknowns, args, {})
        first = problem.compiled("vector", _vector)
        derivative = problem.compiled("jacobian", jacobian_of) if jac is None and method in ("hybr", "lm") else jac
    result = scipy.optimize.root(first, unknowns.vector, method=method, jac=derivative, tol=tol, callback=callback,
                                 options=options)
    if unknowns.structure is not None:
        result.x = restored(result.x)
    return result


def least_squares(
    fun: Callable[..., Any], x0: Any, jac: Any = None, bounds: Any = None, *, args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None, **options: Any,
) -> Any:
    """``scipy.optimize.least_squares`` with the Jacobian of the residuals filled in.

    Args:
        fun: ``fun(x, *args, **kwargs)``, the residuals, an array or a pytree of arrays; it is traced.
        x0: where to start: a number or vector as in SciPy, or another array or a pytree, which ``fun`` gets as such.
        jac: the caller's own Jacobian, or the name of a difference scheme.
        bounds: ``(lower, upper)`` or SciPy's ``Bounds``; pytrees like ``x0`` for a pytree.
        args, kwargs: further arguments of ``fun``.
        options: SciPy's others: method, ftol, xtol, gtol, x_scale, loss, f_scale, max_nfev, verbose and so on.

    Returns:
        SciPy's ``OptimizeResult``; for a pytree its ``x`` is one too.

    >>> import numpy as np
    >>> t = np.linspace(0.0, 1.0, 20)
    >>> found = least_squares(lambda p, t, y: p[0] * np.exp(p[1] * t) - y, [1.0, 0.0], args=(t, 2.0 * np.exp(-t)))
    >>> found.x.round(6)
    array([ 2., -1.])
    """
    import numpy as np
    import scipy.optimize

    unknowns = Unknowns("least_squares", x0)
    args, named = _arguments(args if isinstance(args, tuple) else tuple(args)), dict(kwargs or {})
    problem = Problem(fun, unknowns, args, named)
    first = problem.compiled("vector", _vector)
    if jac is None:
        derivative: Any = problem.compiled("jacobian", jacobian_of)
    else:
        derivative = (lambda x: jac(unknowns.restored(x), *args, **named)) if callable(jac) else jac
    limits = (-np.inf, np.inf) if bounds is None else unknowns.bounds("least_squares", bounds)
    result = scipy.optimize.least_squares(first, unknowns.vector, jac=derivative, bounds=limits, **options)
    if unknowns.structure is not None:
        result.x = unknowns.restored(result.x)
    return result
