"""verify_grad: a gradient compared with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError
from gradxform.symbolic.calls import as_variable
from gradxform.symbolic.derivatives import grad
from gradxform.symbolic.failures import GradientError
from gradxform.symbolic.functions import function
from gradxform.symbolic.graph import tensor_type
from gradxform.symbolic.namespace import FUNCTIONS
from gradxform.symbolic.variables import Variable

__all__ = ["verify_grad"]


def verify_grad(
    fun: Callable[..., Any], pt: Sequence[Any], n_tests: int = 2, rng: Any = None, eps: float | None = None,
    abs_tol: float | None = None, rel_tol: float | None = None,
) -> None:
    """Compare the gradient of ``fun`` at the arrays ``pt`` with central differences; GradientError if they differ.

    Args:
        fun: a function of variables that gives one variable.
        pt: a list of arrays of one float dtype.
        n_tests: how often; each time for another random weighting of the result's elements.
        rng: a NumPy generator for the weights; the same one each time unless given.
        eps: the step, as a part of each element where that is larger than 1.
        abs_tol, rel_tol: the larger of the two relations may hold.

    >>> import numpy as np
    >>> import gradxform.symbolic as T
    >>> T.verify_grad(lambda x, y: T.dot(x, y), [np.ones((2, 3)), np.ones(3)])
    """
    if not isinstance(pt, (list, tuple)):
        raise ArgumentTypeError(f"verify_grad: pt is a list of arrays, got {type(pt).__name__}{user_line()}")
    points = [np.array(value) for value in pt]
    if any(value.dtype.kind != "f" for value in points):
        raise ArgumentTypeError(
            f"verify_grad: the points must be of float dtypes, got {[str(p.dtype) for p in points]}{user_line()}")
    single = any(value.dtype == np.float32 for value in points)
    step = eps if eps is not None else 1e-2 if single else 1e-5
    absolute = abs_tol if abs_tol is not None else 1e-2 if single else 1e-6
    relative = rel_tol if rel_tol is not None else 1e-2 if single else 1e-6
    generator = np.random.default_rng(2357) if rng is None else rng
    variables = [Variable(tensor_type(value.dtype, [1 if n == 1 else None for n in value.shape]), f"input {position}")
                 for position, value in enumerate(points)]
    result = fun(*variables)
    if not isinstance(result, Variable):
        raise ArgumentTypeError(f"verify_grad: fun must give one symbolic variable, got {result!r}{user_line()}")
    weights = Variable(tensor_type(result.dtype, (None,) * result.ndim), "weights")
    cost = FUNCTIONS["sum"](as_variable(result) * weights)
    evaluate = function(variables, result, on_unused_input="ignore")
    gradients = grad(cost, variables, disconnected_inputs="ignore")
    differentiate = function([*variables, weights], gradients, on_unused_input="ignore")
    shape = evaluate(*points).shape
    for _ in range(n_tests):
        chosen = np.asarray(generator.random(shape) + 0.5).astype(result.dtype)
        found = differentiate(*points, chosen)
        for position, value in enumerate(points):
            wanted = _differences(lambda: float(np.sum(evaluate(*points).astype(np.float64) * chosen)), value, step)  # noqa: B023
            error = np.abs(found[position] - wanted)
            failed = (error > absolute) & (error > relative * (np.abs(wanted) + np.abs(found[position])))
            if np.any(failed | np.isnan(found[position])):
                place = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape)
                raise GradientError(
                    f"verify_grad: the derivative with respect to element {tuple(map(int, place))} of argument {position} is "
                    f"{found[position][place]}, finite differences give {wanted[place]} (abs_tol={absolute}, "
                    f"rel_tol={relative}){user_line()}")


def _differences(evaluate: Callable[[], float], point: Any, step: float) -> Any:
    """Central differences for each element of ``point``, which is changed in place and restored."""
    result = np.zeros(point.shape)
    for place in np.ndindex(point.shape):
        value = point[place]
        width = step * max(1.0, abs(float(value)))
        point[place] = value + width
        above, upper = evaluate(), float(point[place])
        point[place] = value - width
        below, lower = evaluate(), float(point[place])
        point[place] = value
        result[place] = (above - below) / (upper - lower)
    return result
