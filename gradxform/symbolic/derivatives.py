"""grad, Lop, Rop, jacobian, hessian and their kin: functions from expressions to expressions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.dtypes import is_complex
from gradxform.errors import ArgumentError, ArgumentTypeError, NotDifferentiableError
from gradxform.symbolic.calls import apply_operation, as_variable, defer
from gradxform.symbolic.derivative_operations import Jacobian, Pullback, Pushforward, check_cuts
from gradxform.symbolic.failures import DisconnectedInputError
from gradxform.symbolic.graph import TensorType, ancestors
from gradxform.symbolic.variables import Variable, check_differentiable

__all__ = ["Lop", "Rop", "grad", "hessian", "hessian_vector_product", "jacobian", "pullback", "pushforward", "subgraph_grad"]

_DISCONNECTED = ("raise", "warn", "ignore")


def _listed(purpose: str, what: str, given: Any) -> list[Any]:
    """``given`` as a list of variables."""
    found = list(given) if isinstance(given, (list, tuple)) else [given]
    for variable in found:
        if not isinstance(variable, Variable):
            raise ArgumentTypeError(
                f"{purpose}: {what} must be a symbolic variable or a list of them, got {variable!r} of type "
                f"{type(variable).__name__}{user_line()}")
    return found


def _like(given: Any, results: Sequence[Any]) -> Any:
    """``results`` as a list or a tuple if ``given`` is one, else the only one."""
    return list(results) if isinstance(given, list) else tuple(results) if isinstance(given, tuple) else results[0]


def _check_choice(purpose: str, name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ArgumentError(f"{purpose}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}{user_line()}")


def _disconnected(purpose: str, wrt: Sequence[Any], reached: set[Any], how: str) -> list[bool]:
    """Which of ``wrt`` nothing depends on; an error or a warning if there is one."""
    missing = [node not in reached for node in wrt]
    if any(missing) and how != "ignore":
        listed = ", ".join(str(node) for node, flag in zip(wrt, missing, strict=True) if flag)
        text = (f"{purpose}: the expression does not depend on {listed}, or only through shapes or values declared constant: "
                f"disconnected_inputs='ignore' gives zeros{user_line()}")
        if how == "raise":
            raise DisconnectedInputError(text)
        warnings.warn(text, stacklevel=4)
    return missing


def _check_scalar(cost: Variable) -> None:
    if cost.ndim:
        raise ArgumentTypeError(
            f"grad: the cost must be a scalar, got {cost} of type {cost.type}: reduce it, as with sum, or use "
            f"jacobian or Lop{user_line()}")
    check_differentiable("grad: the cost", cost)
    if is_complex(np.dtype(cost.dtype)):
        raise NotDifferentiableError(f"grad: the cost must be real, got {cost} of type {cost.type}: take abs, real or imag"
                                     f"{user_line()}")


def _zeros(node: Any) -> Any:
    return defer("zeros_like", np.zeros_like, (node,))


def grad(
    cost: Any, wrt: Any, consider_constant: Sequence[Any] | None = None, disconnected_inputs: str = "raise",
    add_names: bool = True, known_grads: Mapping[Any, Any] | None = None, return_disconnected: str = "zero",
) -> Any:
    """The gradient of a scalar expression with respect to variables.

    Args:
        cost: an expression of rank 0; None with ``known_grads``.
        wrt: a variable, or a list or tuple of them: inputs, shared variables, or expressions that ``cost`` is made of.
        consider_constant: variables that no gradient flows through.
        disconnected_inputs: what happens if the cost does not depend on one of ``wrt``: 'raise', 'warn' or 'ignore'.
        add_names: name the results after ``cost`` and ``wrt``, for `debugprint`.
        known_grads: variables whose gradients are known, with these: nothing else flows through them.
        return_disconnected: the gradient of what the cost does not depend on: 'zero' or 'none'.

    Returns:
        An expression of the type of ``wrt``, or a list or tuple of them. It may be differentiated again. For complex
        x + i y it is df/dx - i df/dy.

    Raises:
        DisconnectedInputError: the cost does not depend on a variable, and ``disconnected_inputs`` is 'raise'.
        ArgumentTypeError: the cost is no scalar.
        NotDifferentiableError: a cost or variable of an integer dtype.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> T.function([x], T.grad(x ** 2, x))(4)
    array(8.)
    """
    _check_choice("grad", "disconnected_inputs", disconnected_inputs, _DISCONNECTED)
    _check_choice("grad", "return_disconnected", return_disconnected, ("zero", "none", "None"))
    given = dict(known_grads or {})
    if cost is None and not given:
        raise ArgumentError(f"grad: without a cost, known_grads must say what flows in{user_line()}")
    known = _listed("grad", "a key of known_grads", list(given))
    bodies = [*([] if cost is None else _listed("grad", "the cost", [cost])), *known]
    if cost is not None:
        _check_scalar(cost)
    cotangents = [as_variable(value) for value in given.values()]
    for node, cotangent in zip(known, cotangents, strict=True):
        check_differentiable("grad: a key of known_grads", node)
        if node.ndim != cotangent.ndim:
            raise ArgumentTypeError(
                f"grad: known_grads has for {node} of type {node.type} a gradient of type {cotangent.type}: "
                f"the ranks must be the same{user_line()}")
    variables = _listed("grad", "wrt", wrt)
    results = _pulled("grad", bodies, variables, cotangents, consider_constant, disconnected_inputs, cost is not None, known)
    if return_disconnected != "zero":
        reached = _reached(bodies, consider_constant, known)
        results = [value if node in reached else None for node, value in zip(variables, results, strict=True)]
    if add_names and cost is not None and cost.name is not None:
        for node, value in zip(variables, results, strict=True):
            if value is not None and node.name is not None:
                value.name = f"(d{cost.name}/d{node.name})"
    return _like(wrt, results)


def _reached(bodies: Sequence[Any], constant: Sequence[Any] | None, known: Sequence[Any] = ()) -> set[Any]:
    blocked = list(constant or ())
    return {node for body in bodies for node in ancestors([body], [*blocked, *[k for k in known if k is not body]])}


def _pulled(
    purpose: str, bodies: Sequence[Any], wrt: Sequence[Any], cotangents: Sequence[Any], constant: Sequence[Any] | None,
    disconnected: str, seeded: bool, known: Sequence[Any] = (),
) -> list[Any]:
    for variable in wrt:
        check_differentiable(f"{purpose}: wrt", variable)
    fixed = _listed(purpose, "consider_constant", list(constant or ()))
    missing = _disconnected(purpose, wrt, _reached(bodies, fixed, known), disconnected)
    connected = [node for node, flag in zip(wrt, missing, strict=True) if not flag]
    if not connected:
        return [_zeros(node) for node in wrt]
    check_cuts(purpose, [*connected, *fixed, *known], bodies)
    operation = Pullback(connected, fixed, seeded, known)
    found = iter(apply_operation(operation, [node.type for node in connected], [*connected, *cotangents], bodies))
    return [_zeros(node) if flag else next(found) for node, flag in zip(wrt, missing, strict=True)]


def Lop(
    f: Any, wrt: Any, eval_points: Any, consider_constant: Sequence[Any] | None = None, disconnected_inputs: str = "raise",
) -> Any:
    """The L-operator: ``eval_points`` times the Jacobian of ``f`` with respect to ``wrt``, in reverse mode.

    ``f`` and ``eval_points`` are variables, or lists of as many of equal types; the result has the types of ``wrt``.

    >>> import gradxform.symbolic as T
    >>> x, W, v = T.dvector("x"), T.dmatrix("W"), T.dvector("v")
    >>> T.function([v, x], T.Lop(T.dot(x, W), W, v))([2, 2], [0, 1])
    array([[0., 0.],
           [2., 2.]])
    """
    _check_choice("Lop", "disconnected_inputs", disconnected_inputs, _DISCONNECTED)
    bodies = _listed("Lop", "f", f)
    points = [as_variable(x) for x in (eval_points if isinstance(eval_points, (list, tuple)) else [eval_points])]
    _check_points("Lop", "f", bodies, points)
    return _like(wrt, _pulled("Lop", bodies, _listed("Lop", "wrt", wrt), points, consider_constant, disconnected_inputs, False))


def _check_points(purpose: str, what: str, variables: Sequence[Any], points: Sequence[Any]) -> None:
    if len(variables) != len(points):
        raise ArgumentError(f"{purpose}: as many eval_points as {what} has variables, {len(variables)}, are needed, got "
                            f"{len(points)}{user_line()}")
    for variable, point in zip(variables, points, strict=True):
        check_differentiable(f"{purpose}: {what}", variable)
        if variable.ndim != point.ndim:
            raise ArgumentTypeError(
                f"{purpose}: the eval_point of {variable} must be of rank {variable.ndim}, got {point} of type "
                f"{point.type}{user_line()}")


def Rop(
    f: Any, wrt: Any, eval_points: Any, disconnected_outputs: str = "raise", return_disconnected: str = "zero",
) -> Any:
    """The R-operator: the Jacobian of ``f`` with respect to ``wrt`` times ``eval_points``, in forward mode.

    ``wrt`` and ``eval_points`` are variables, or lists of as many of equal types; the result has the types of ``f``.

    >>> import gradxform.symbolic as T
    >>> x, W, V = T.dvector("x"), T.dmatrix("W"), T.dmatrix("V")
    >>> T.function([V, x, W], T.Rop(T.dot(x, W), W, V))([[2, 2], [2, 2]], [0, 1], [[1, 1], [1, 1]])
    array([2., 2.])
    """
    _check_choice("Rop", "disconnected_outputs", disconnected_outputs, _DISCONNECTED)
    _check_choice("Rop", "return_disconnected", return_disconnected, ("zero", "none", "None"))
    bodies, variables = _listed("Rop", "f", f), _listed("Rop", "wrt", wrt)
    points = [as_variable(x) for x in (eval_points if isinstance(eval_points, (list, tuple)) else [eval_points])]
    _check_points("Rop", "wrt", variables, points)
    for body in bodies:
        check_differentiable("Rop: f", body)
    check_cuts("Rop", variables, bodies)
    missing = [not ancestors([body]) & set(variables) for body in bodies]
    if any(missing) and disconnected_outputs != "ignore":
        text = (f"Rop: {bodies[missing.index(True)]} does not depend on wrt: disconnected_outputs='ignore' gives zeros"
                f"{user_line()}")
        if disconnected_outputs == "raise":
            raise DisconnectedInputError(text)
        warnings.warn(text, stacklevel=2)
    connected = [body for body, flag in zip(bodies, missing, strict=True) if not flag]
    found = iter(apply_operation(Pushforward(variables), [body.type for body in connected], [*variables, *points], connected)
                 if connected else [])
    results = [next(found) if not flag else None if return_disconnected != "zero" else _zeros(body)
               for body, flag in zip(bodies, missing, strict=True)]
    return _like(f, results)


def pushforward(outputs: Any, inputs: Any, tangents: Any) -> Any:
    """`Rop` under PyTensor's name; what does not depend on ``inputs`` gives zeros."""
    return Rop(outputs, inputs, tangents, disconnected_outputs="ignore")


def pullback(outputs: Any, inputs: Any, cotangents: Any) -> Any:
    """`Lop` under PyTensor's name; what ``outputs`` do not depend on gives zeros."""
    return Lop(outputs, inputs, cotangents, disconnected_inputs="ignore")


def jacobian(
    expression: Any, wrt: Any, consider_constant: Sequence[Any] | None = None, disconnected_inputs: str = "raise",
) -> Any:
    """All derivatives of an expression of any rank: the axes of ``expression``, then those of ``wrt``.

    >>> import gradxform.symbolic as T
    >>> x = T.dvector("x")
    >>> T.function([x], T.jacobian(x ** 2, x))([4, 4])
    array([[8., 0.],
           [0., 8.]])
    """
    _check_choice("jacobian", "disconnected_inputs", disconnected_inputs, _DISCONNECTED)
    (body,) = _listed("jacobian", "the expression", [expression])
    check_differentiable("jacobian: the expression", body)
    variables = _listed("jacobian", "wrt", wrt)
    for variable in variables:
        check_differentiable("jacobian: wrt", variable)
    fixed = _listed("jacobian", "consider_constant", list(consider_constant or ()))
    missing = _disconnected("jacobian", variables, _reached([body], fixed), disconnected_inputs)
    connected = [node for node, flag in zip(variables, missing, strict=True) if not flag]
    check_cuts("jacobian", [*connected, *fixed], [body])
    types = [TensorType(node.dtype, body.type.shape + node.type.shape) for node in connected]
    found = iter(apply_operation(Jacobian(connected, fixed), types, connected, [body]) if connected else [])
    return _like(wrt, [defer("zeros", _zero_block, (body, node)) if flag else next(found)
                       for node, flag in zip(variables, missing, strict=True)])


def _zero_block(f: Any, x: Any) -> Any:
    return np.zeros(np.shape(f) + np.shape(x), x.dtype)


def hessian(
    cost: Any, wrt: Any, consider_constant: Sequence[Any] | None = None, disconnected_inputs: str = "raise",
) -> Any:
    """The second derivatives of a scalar expression: the axes of ``wrt`` twice. For a list, the blocks on the diagonal.

    >>> import gradxform.symbolic as T
    >>> x = T.dvector("x")
    >>> T.function([x], T.hessian(T.sum(x ** 3), x))([1, 2])
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    variables = _listed("hessian", "wrt", wrt)
    blocks = [jacobian(grad(cost, node, consider_constant, disconnected_inputs), node, consider_constant, "ignore")
              for node in variables]
    return _like(wrt, blocks)


def hessian_vector_product(cost: Any, wrt: Any, p: Any, **grad_kwargs: Any) -> Any:
    """The Hessian of ``cost`` times ``p``, forward over reverse; no Hessian is made. Lists of variables give a list.

    >>> import gradxform.symbolic as T
    >>> x, v = T.dvectors("x", "v")
    >>> T.function([x, v], T.hessian_vector_product(T.sum(x ** 3), x, v))([1, 2], [1, 1])
    array([ 6., 12.])
    """
    return Rop(grad(cost, wrt, **grad_kwargs), wrt, p, disconnected_outputs="ignore")


def subgraph_grad(
    wrt: Sequence[Any], end: Sequence[Any], start: Mapping[Any, Any] | None = None, cost: Any = None, details: bool = False,
) -> Any:
    """Gradients of a part of an expression: from ``cost``, or gradients ``start`` of later variables, back to ``end``.

    What it gives for ``end`` is the ``start`` of the part before.

    Returns:
        (gradients for ``wrt``, gradients for ``end``), lists; with ``details`` also those from ``start`` and from ``cost``,
        for ``wrt`` and then ``end``. What is not connected has the gradient zero.
    """
    if cost is None and start is None:
        raise ArgumentError(f"subgraph_grad: give cost, or start, or both{user_line()}")
    first, last = _listed("subgraph_grad", "wrt", list(wrt)), _listed("subgraph_grad", "end", list(end))
    variables = [*first, *[node for node in last if node not in first]]
    parts = [
        None if start is None else grad(None, variables, last, "ignore", known_grads=start),
        None if cost is None else grad(cost, variables, last, "ignore"),
    ]
    given = [part for part in parts if part is not None]
    totals = given[0] if len(given) == 1 else [a + b for a, b in zip(*given, strict=True)]
    found = dict(zip(variables, totals, strict=True))
    results = [found[node] for node in first], [found[node] for node in last]
    return (*results, *parts) if details else results
