"""curve_fit: SciPy's, with the Jacobian filled in."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.api import jacfwd
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.numpy import maximum, nan, sqrt, stack, where
from gradxform.operands import lift
from gradxform.optimize.keeping import is_data, kept

#: The options of MINPACK's Levenberg and Marquardt that need nothing else of SciPy's curve_fit.
_LEASTSQ = frozenset({"diag", "factor", "ftol", "gtol", "maxfev", "xtol"})


def curve_fit(
    f: Callable[..., Any], xdata: Any, ydata: Any, p0: Any = None, sigma: Any = None, absolute_sigma: bool = False,
    check_finite: bool | None = None, bounds: Any = (-np.inf, np.inf), method: str | None = None, jac: Any = None, *,
    full_output: bool = False, nan_policy: str | None = None, **kwargs: Any,
) -> Any:
    """``scipy.optimize.curve_fit`` with the Jacobian filled in and the model compiled.

    Args:
        f: ``f(xdata, *parameters)``, the model; it is traced. Its compiled code is kept for further calls.
        xdata: what ``f`` takes as such: an array, a table, or a pytree of arrays.
        ydata: the values to fit, one per element of the model's.
        p0: where to start; ones by default, within the bounds if there are any.
        sigma: standard deviations of ``ydata``, or their covariance matrix; a weight for all by default.
        absolute_sigma, check_finite, bounds, method, full_output, nan_policy, kwargs: SciPy's.
        jac: the caller's own Jacobian, ``jac(xdata, *parameters)``, or the name of a difference scheme.

    Returns:
        ``(popt, pcov)``: the best parameters and their approximate covariance; with ``full_output`` also infodict,
        mesg and ier as SciPy gives them.

    Raises:
        ValueError: ydata or xdata hold NaN or infinity, or are empty, or there are fewer residuals than parameters.
        RuntimeError: the fit does not converge.

    >>> x = np.linspace(0.0, 4.0, 50)
    >>> popt, pcov = curve_fit(lambda x, a, b, c: a * np.exp(-b * x) + c, x, 2.5 * np.exp(-1.3 * x) + 0.5)
    >>> popt.round(6)
    array([2.5, 1.3, 0.5])
    """
    count = _parameter_count(f) if p0 is None else np.size(p0)
    unbounded = (type(bounds) is tuple and len(bounds) == 2
                 and all(type(limit) is float and np.isinf(limit) for limit in bounds))
    plain = (jac is None and unbounded and method in (None, "lm") and nan_policy is None and np.ndim(sigma) < 2
             and kwargs.keys() <= _LEASTSQ and is_data(xdata))
    if not plain:
        return _by_scipy(f, count, xdata, ydata, p0, sigma, absolute_sigma, check_finite, bounds, method, jac,
                         full_output, nan_policy, kwargs)
    finite = np.asarray_chkfinite if check_finite in (None, True) else np.asarray
    ys = finite(ydata, float)
    if ys.size == 0:
        raise ArgumentError("`ydata` must not be empty!")
    if isinstance(xdata, (list, tuple, np.ndarray)):
        xdata = finite(xdata, float)
    start = np.ones(count) if p0 is None else np.asarray(p0, float).reshape(-1)
    data: tuple[Any, ...] = (xdata, ys)
    if sigma is not None:
        weights = np.asarray(sigma, float)
        if weights.size not in (1, ys.size):
            raise ArgumentError("`sigma` has incorrect shape.")
        data = (xdata, ys, weights if weights.ndim == 0 or weights.shape == ys.shape else weights.reshape(ys.shape))
    return _fitted(f, count, data, start, ys.size, absolute_sigma, full_output, kwargs)


def _fitted(
    f: Callable[..., Any], count: int, data: tuple[Any, ...], start: Any, size: int, absolute_sigma: bool,
    full_output: bool, options: dict[str, Any],
) -> Any:
    """The fit by MINPACK: what scipy.optimize.curve_fit does about it, and no more."""
    from scipy.optimize import OptimizeWarning, leastsq

    if size < count:
        raise ArgumentError(
            f"curve_fit: {count} parameters need at least as many data points, got {size}{user_line()}")
    found = None
    if size >= _MANY * count and count <= _FEW:
        try:
            small, slopes = _condensed(f, count, data)
            found = leastsq(small, start, Dfun=slopes, col_deriv=True, full_output=True, **options)
            if full_output:
                found[2]["fvec"] = kept(f, ("residuals", count, len(data)), lambda: _residuals(f, count))(found[0], *data)
        except _Dependent:
            found = None
    if found is None:
        residuals = kept(f, ("residuals", count, len(data)), lambda: _residuals(f, count))
        jacobian = kept(f, ("transposed jacobian", count, len(data)), lambda: _transposed_jacobian(f, count))
        found = leastsq(lambda p: residuals(p, *data), start, Dfun=lambda p: jacobian(p, *data), col_deriv=True,
                        full_output=True, **options)
    popt, pcov, infodict, message, status = found
    if status not in (1, 2, 3, 4):
        raise RuntimeError("Optimal parameters not found: " + message)
    uncertain = pcov is None or bool(np.isnan(pcov).any())
    if uncertain:
        pcov = np.full((count, count), np.inf)
    elif not absolute_sigma:
        if size > count:
            errors = infodict["fvec"]
            pcov = pcov * (errors @ errors / (size - count))
        else:
            pcov.fill(np.inf)
            uncertain = True
    if uncertain:
        warnings.warn("Covariance of the parameters could not be estimated", category=OptimizeWarning, stacklevel=3)
    return (popt, pcov, infodict, message, status) if full_output else (popt, pcov)


def _model(f: Callable[..., Any], count: int) -> Callable[[Any, Any], Any]:
    return lambda p, xdata: lift("curve_fit", f(xdata, *[p[k] for k in range(count)]))


def _residuals(f: Callable[..., Any], count: int) -> Callable[..., Any]:
    model = _model(f, count)

    def residuals(p: Any, xdata: Any, ydata: Any, sigma: Any = None) -> Any:
        errors = model(p, xdata) - ydata
        return (errors if sigma is None else errors / sigma).reshape(-1)

    return residuals


def _transposed_jacobian(f: Callable[..., Any], count: int) -> Callable[..., Any]:
    residuals = _residuals(f, count)
    return lambda p, *data: jacfwd(lambda q: residuals(q, *data))(p).T


# -------------------------------------------------------------------------------------------------- condensed problems

#: Problems of at least so many residuals for each parameter, and at most so many parameters, are condensed.
_MANY = 40
_FEW = 12


class _Dependent(Exception):
    """The columns of the Jacobian are too nearly dependent for their products to tell them apart."""


def _condensed(f: Callable[..., Any], count: int, data: tuple[Any, ...]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Residuals and Jacobian of a small problem that Levenberg and Marquardt's method cannot tell from the large one.

    The method looks at residuals r and Jacobian J through products only. With the Cholesky factor R of [J r]'[J r],
    R[:, :n] and R[:, n] have the same products as J and r, and as few rows as J has columns, and one. Native code sums
    these products up in one pass over the data, and stores neither J nor r. R loses what J'J rounds away, which
    slows steps down where columns are nearly dependent but moves no solution, for J'r is exact; below a limit of
    independence the problem is solved as it stands.
    """
    factor = kept(f, ("factor", count, len(data)), lambda: _factor(f, count))
    last: list[Any] = [None, None]

    def at(p: Any) -> Any:
        point = p.tobytes()
        if last[0] != point:
            found = factor(p, *data)
            if found[0, 0] != found[0, 0]:
                raise _Dependent
            last[:] = point, found
        return last[1]

    return (lambda p: at(p)[count]), lambda p: at(p)[:count]


def _factor(f: Callable[..., Any], count: int) -> Callable[..., Any]:
    residuals = _residuals(f, count)

    def factor(p: Any, *data: Any) -> Any:
        errors = residuals(p, *data)
        slopes = jacfwd(lambda q: residuals(q, *data))(p).T
        columns = [*(slopes[k] for k in range(count)), errors]
        products = [[(x * y).sum() for y in columns[:k + 1]] for k, x in enumerate(columns)]
        rows: list[list[Any]] = []
        sound: Any = True
        for k, row in enumerate(products):
            found: list[Any] = []
            for j in range(k):
                rest = row[j]
                for i in range(j):
                    rest = rest - found[i] * rows[j][i]
                found.append(rest / rows[j][j])
            pivot = row[k]
            for x in found:
                pivot = pivot - x * x
            if k < count:
                sound = sound & (pivot > _DEPENDENT * row[k])
            rows.append([*found, sqrt(maximum(pivot, 0.0))])
        zero = errors.dtype.type(0)
        flat = [where(sound, x, nan) for row in rows for x in (*row, *[zero] * (count + 1 - len(row)))]
        return stack(flat).reshape(count + 1, count + 1)

    return factor


#: The squared sine of the angle between a column and those before it below which they count as dependent.
_DEPENDENT = 1e-9


def _parameter_count(f: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    names = [x for x in parameters if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]
    if len(names) < 2:
        raise ArgumentError(f"curve_fit: unable to determine the number of fit parameters: give p0{user_line()}")
    return len(names) - 1


def _by_scipy(
    f: Callable[..., Any], count: int, xdata: Any, ydata: Any, p0: Any, sigma: Any, absolute_sigma: bool,
    check_finite: bool | None, bounds: Any, method: str | None, jac: Any, full_output: bool, nan_policy: str | None,
    kwargs: dict[str, Any],
) -> Any:
    """The fit by scipy.optimize.curve_fit itself, with compiled functions."""
    import scipy.optimize

    model: Any = f
    derivative = jac
    if is_data(xdata):
        model = _taking_numbers(kept(f, ("model", count), lambda: _model(f, count)))
        if jac is None:
            derivative = _taking_numbers(kept(f, ("model jacobian", count), lambda: _model_jacobian(f, count)))
    if p0 is None and count:
        lower, upper = (np.broadcast_to(np.asarray(limit, float), (count,)) for limit in _limits(bounds))
        p0 = _start(lower, upper)
    return scipy.optimize.curve_fit(
        model, xdata, ydata, p0=p0, sigma=sigma, absolute_sigma=absolute_sigma, check_finite=check_finite, bounds=bounds,
        method=method, jac=derivative, full_output=full_output, nan_policy=nan_policy, **kwargs)


def _model_jacobian(f: Callable[..., Any], count: int) -> Callable[..., Any]:
    model = _model(f, count)
    return lambda p, xdata: jacfwd(lambda q: model(q, xdata).reshape(-1))(p)


def _taking_numbers(compiled: Callable[..., Any]) -> Callable[..., Any]:
    return lambda xdata, *parameters: compiled(np.array(parameters), xdata)


def _limits(bounds: Any) -> tuple[Any, Any]:
    return (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else tuple(bounds)


def _start(lower: Any, upper: Any) -> Any:
    """Where SciPy starts between bounds: in their middle, one beside a single bound, at one without any."""
    start = np.ones(lower.size)
    below, above = np.isfinite(lower), np.isfinite(upper)
    start[below & above] = 0.5 * (lower + upper)[below & above]
    start[below & ~above] = lower[below & ~above] + 1
    start[~below & above] = upper[~below & above] - 1
    return start
