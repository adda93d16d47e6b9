"""Derivatives by rules of the user's, recomputed values, and no derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradxform import tree
from gradxform.api import checkpoint, custom_vjp
from gradxform.api import stop_gradient as _stop_gradient
from gradxform.api.arguments import check_callable
from gradxform.api.tracing import as_values, name_of, trace, types_of
from gradxform.core import current_builder, run
from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError
from gradxform.ir import Program
from gradxform.tape.tensor import eager, operation


class _Rule:
    """What a function with its gradient keeps for the backward pass: the gradient as a program, and what it captured."""

    __slots__ = ("captures", "program", "treedef")

    def __init__(self, program: Program, treedef: tree.TreeDef, captures: Sequence[Any]) -> None:
        self.program = program
        self.treedef = treedef
        self.captures = captures


tree.register(_Rule, lambda rule: (rule.captures, (rule.program, rule.treedef)),
              lambda static, captures: _Rule(static[0], static[1], list(captures)))


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives its result and its gradient, as a function that is differentiated by that.

    ``f(*args)`` returns ``(result, grad)``; ``grad(*upstream)`` takes a cotangent for each tensor of the result and returns
    one for each argument (not in a tuple if there is one). It may use what ``f`` computed. It is traced: its Python control
    flow may not depend on values. Keyword arguments are not differentiated.

    >>> import numpy as np
    >>> from gradxform.tape import GradientTape, constant
    >>> @custom_gradient
    ... def log1pexp(x):
    ...     e = np.exp(x)
    ...     return np.log(1 + e), lambda upstream: upstream * (1 - 1 / (1 + e))
    >>> x = constant(100.0)
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = log1pexp(x)
    >>> tape.gradient(y, x).numpy()
    np.float64(1.0)
    """
    check_callable("custom_gradient", f)

    def pair(args: Sequence[Any]) -> tuple[Any, Callable[..., Any]]:
        found = f(*args)
        if not (isinstance(found, tuple) and len(found) == 2 and callable(found[1])):
            raise ArgumentTypeError(
                f"custom_gradient of {name_of(f)}: it must return a pair (result, function of the gradient), got {found!r}"
                f"{user_line()}")
        return found

    def forward(*args: Any) -> tuple[Any, _Rule]:
        result, gradient = pair(args)
        leaves = as_values(tree.leaves(result), f"the result of {name_of(f)}")
        types = [t.strong() for t in types_of(leaves)]

        def cotangents(*upstream: Any) -> Any:
            found = gradient(*upstream)
            return (found,) if len(args) == 1 and not isinstance(found, (tuple, list)) else tuple(found)

        traced = trace(cotangents, [None] * len(types), types, lambda leaves: (tuple(leaves), {}),
                       f"the gradient of {name_of(f)}", known=False)
        return result, _Rule(traced.program, traced.treedef, traced.captures)

    def backward(rule: _Rule, upstream: Any) -> Any:
        results = run(rule.program, [*tree.leaves(upstream), *rule.captures])
        return tree.unflatten(rule.treedef, results)

    def value(*args: Any) -> Any:
        return pair(args)[0]

    value.__name__ = name_of(f)
    with_rule = custom_vjp(value)
    with_rule.defvjp(forward, backward)

    @functools.wraps(f)
    def function(*args: Any, **options: Any) -> Any:
        if options:
            return custom_gradient(functools.partial(f, **options))(*args)
        return with_rule(*args) if current_builder() is not None else eager(value)(*args)

    return function


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, whose intermediate values are not kept for the gradient but computed again: `gradxform.checkpoint`.

    >>> import numpy as np
    >>> from gradxform.tape import GradientTape, constant
    >>> x = constant(0.0)
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = recompute_grad(lambda x: np.sin(np.exp(x)))(x)
    >>> tape.gradient(y, x).numpy()
    np.float64(0.5403023058681398)
    """
    return operation(checkpoint(f))


@operation
def stop_gradient(x: Any, name: str | None = None) -> Any:
    """``x``, a tensor or a nested structure of tensors, with derivative zero.

    >>> from gradxform.tape import GradientTape, constant
    >>> x = constant(3.0)
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = x * stop_gradient(x)
    >>> tape.gradient(y, x).numpy()
    np.float64(3.0)
    """
    return _stop_gradient(x)
