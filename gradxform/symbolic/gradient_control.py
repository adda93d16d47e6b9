"""Variables whose values stay and whose gradients are changed: clipped, scaled, zero, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform import api
from gradxform.symbolic.calls import apply_operation, as_variable, defer
from gradxform.symbolic.graph import Apply, Node, Operation

__all__ = ["consider_constant", "disconnected_grad", "grad_clip", "grad_scale", "zero_grad"]


def grad_clip(x: Any, lower_bound: float, upper_bound: float) -> Any:
    """``x``, with a gradient that is clipped to bounds. There is no forward mode (`Rop`) through it.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> T.function([x], T.grad(T.grad_clip(x, -1, 1) ** 2, x))(3)
    array(1.)
    """
    def same(value: Any) -> Any:
        return value

    def clipped(_: Any, cotangent: Any) -> Any:
        return (np.clip(cotangent, lower_bound, upper_bound),)

    same.__name__ = "grad_clip"
    rule = api.custom_vjp(same)
    rule.defvjp(lambda value: (value, None), clipped)
    return defer("grad_clip", rule, (as_variable(x),))


def grad_scale(x: Any, multiplier: float) -> Any:
    """``x``, with a gradient that is multiplied by a number.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> T.function([x], T.grad(T.grad_scale(x, -1.0) ** 2, x))(3)
    array(-6.)
    """
    def same(value: Any) -> Any:
        return value

    def scaled(primals: Any, tangents: Any) -> Any:
        return primals[0], tangents[0] * multiplier

    same.__name__ = "grad_scale"
    rule = api.custom_jvp(same)
    rule.defjvp(scaled)
    return defer("grad_scale", rule, (as_variable(x),))


def zero_grad(x: Any) -> Any:
    """``x``, with the gradient zero: what depends on ``x`` through it counts as connected.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> T.function([x], T.grad(x * T.zero_grad(x), x))(3)
    array(3.)
    """
    return defer("zero_grad", api.stop_gradient, (as_variable(x),))


class DisconnectedGrad(Operation):
    """The identity, through which no derivative flows."""

    name = "disconnected_grad"

    def evaluate(self, scope: Any, apply: Apply, values: list[Any]) -> Sequence[Any]:
        return [api.stop_gradient(values[0])]

    def differentiable(self, apply: Apply) -> Sequence[Node]:
        return ()


def disconnected_grad(x: Any) -> Any:
    """``x``, which no gradient flows through: what depends on another variable only through it is disconnected.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> T.grad(T.disconnected_grad(x) ** 2, x, disconnected_inputs="ignore").eval({x: 3})
    array(0.)
    """
    variable = as_variable(x)
    return apply_operation(DisconnectedGrad(), [variable.type], [variable])[0]


def consider_constant(x: Any) -> Any:
    """``x``, taken as a constant by derivatives: Theano's older name of `zero_grad`."""
    return zero_grad(x)
