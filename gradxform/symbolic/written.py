"""Gradients written out by the rules of calculus, for reading only.

`grad` records that a gradient is wanted; what is computed comes from the transforms of the traced program. Theano's users
expect ``pp(grad(x ** 2, x))`` to show a formula, so the chain rule is written out here for elementary operations, as Theano
writes it. An expression with any other operation on the way keeps its ``grad(...)``. Tests compare the formulas' values with
those that are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.symbolic.calls import Call, Slot, as_variable
from gradxform.symbolic.derivative_operations import Pullback
from gradxform.symbolic.graph import Apply, Node, dependent, topological
from gradxform.symbolic.namespace import FUNCTIONS
from gradxform.symbolic.variables import Constant

__all__ = ["RULES", "written_out"]


def _tensor(value: Any) -> Any:
    return Constant(value)


def _power(g: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return (g * y) * (x ** (y - _tensor(1))), (g * FUNCTIONS["log"](x)) * (x ** y)


def _quotient(g: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return g / y, (-(g * x)) / (y * y)


#: The gradient of each operand, from the gradient of the result and the operands; None where there is none.
RULES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "add": lambda g, x, y: (g, g),
    "sub": lambda g, x, y: (g, -g),
    "mul": lambda g, x, y: (g * y, g * x),
    "truediv": _quotient,
    "pow": _power,
    "neg": lambda g, x: (-g,),
    "fill": lambda g, x, y: (None, g),
    "exp": lambda g, x: (g * FUNCTIONS["exp"](x),),
    "log": lambda g, x: (g / x,),
    "sqrt": lambda g, x: ((g * _tensor(0.5)) / FUNCTIONS["sqrt"](x),),
    "square": lambda g, x: (g * (_tensor(2) * x),),
    "sin": lambda g, x: (g * FUNCTIONS["cos"](x),),
    "cos": lambda g, x: (-(g * FUNCTIONS["sin"](x)),),
    "tanh": lambda g, x: (g * (_tensor(1) - FUNCTIONS["square"](FUNCTIONS["tanh"](x))),),
}
_ALIASES = {"subtract": "sub", "multiply": "mul", "divide": "truediv", "true_divide": "truediv", "power": "pow",
            "negative": "neg"}


class _NoFormulaError(Exception):
    """An operation on the way has no rule here."""


def written_out(expression: Any) -> Any:
    """``expression`` with the gradients in it written out, as far as there are rules."""
    copies: dict[Node, Any] = {}
    for node in topological([expression]):
        apply = node.owner
        if apply is None or isinstance(node, Constant):
            copies[node] = node
            continue
        if isinstance(apply.op, Pullback):
            copies[node] = _formula(node, apply, copies)
            continue
        inputs = [copies[parent] for parent in apply.inputs]
        bodies = [copies[parent] for parent in apply.bodies]
        if inputs == apply.inputs and bodies == apply.bodies:
            copies[node] = node
            continue
        if apply.outputs[0] in copies and node.index:
            copies[node] = copies[apply.outputs[0]].owner.outputs[node.index]
            continue
        copied = Apply(apply.op, inputs, bodies)
        copied.outputs = [type(output)(output.type, output.name, copied, output.index) for output in apply.outputs]
        for output, copy in zip(apply.outputs, copied.outputs, strict=True):
            copies[output] = copy
    return copies[expression]


def _formula(node: Any, apply: Apply, copies: dict[Node, Any]) -> Any:
    operation = apply.op
    assert isinstance(operation, Pullback)
    wrt = operation.wrt[node.index]
    try:
        if not operation.seeded or len(apply.bodies) != 1 or operation.constant:
            return node
        cost = copies[apply.bodies[0]]
        seed = FUNCTIONS["fill"](cost, Constant(np.dtype(cost.dtype).type(1)))
        return _chain(cost, copies[wrt], seed)
    except _NoFormulaError:
        return node


def _chain(cost: Any, wrt: Any, seed: Any) -> Any:
    """The chain rule, from ``cost`` back to ``wrt``."""
    between = dependent([cost], [wrt])
    if cost not in between:
        raise _NoFormulaError
    gradients: dict[Node, Any] = {cost: seed}
    for node in reversed(topological([cost])):
        if node is wrt or node not in between or node not in gradients:
            continue
        apply = node.owner
        assert apply is not None
        for parent, part in zip(apply.inputs, _contributions(apply, gradients[node]), strict=True):
            if part is not None and parent in between:
                gradients[parent] = gradients[parent] + part if parent in gradients else part
    if wrt not in gradients:
        raise _NoFormulaError
    return gradients[wrt]


def _contributions(apply: Apply, gradient: Any) -> tuple[Any, ...]:
    call = apply.op
    if not isinstance(call, Call) or call.kwargs or apply.bodies:
        raise _NoFormulaError
    name = _ALIASES.get(call.name, call.name)
    if name == "sum" and len(call.args) == 1:
        return (FUNCTIONS["fill"](apply.inputs[0], gradient),)
    rule = RULES.get(name)
    if rule is None or call.args != tuple([Slot(position) for position in range(len(apply.inputs))]):
        raise _NoFormulaError
    rank = apply.outputs[0].ndim
    if any(parent.type.ndim != rank and not isinstance(parent, Constant) for parent in apply.inputs):
        raise _NoFormulaError  # the gradient of what is repeated would be summed
    return rule(gradient, *map(as_variable, apply.inputs))
