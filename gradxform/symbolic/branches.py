"""ifelse: one of two expressions, of which only the chosen one is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform import lax
from gradxform.core import Tracer
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.symbolic.calls import apply_operation, as_variable, in_dtype, is_weak
from gradxform.symbolic.graph import Apply, Operation, TensorType
from gradxform.symbolic.scopes import Scope

__all__ = ["ifelse"]


class IfElse(Operation):
    """The first half of the bodies if the input is true, else the second half."""

    def __init__(self, name: str) -> None:
        self.name = name

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        half = len(apply.outputs)
        halves = apply.bodies[:half], apply.bodies[half:]
        test: Any = values[0]
        if not _is_traced(test):
            return _typed(scope.evaluate(halves[0] if test else halves[1]), apply)

        def branch(bodies: Sequence[Any]) -> tuple[Any, ...]:
            return _typed(scope.branch().evaluate(bodies), apply)

        results: Sequence[Any] = lax.cond(test != 0, lambda: branch(halves[0]), lambda: branch(halves[1]))
        return results


def _typed(values: Sequence[Any], apply: Apply) -> tuple[Any, ...]:
    """The values of a branch in the dtypes that both branches promote to."""
    return tuple([in_dtype(value, output.type.dtype) for value, output in zip(values, apply.outputs, strict=True)])


def _is_traced(value: Any) -> bool:
    return isinstance(value, Tracer)


def ifelse(condition: Any, then_branch: Any, else_branch: Any, name: str | None = None) -> Any:
    """``then_branch`` if the scalar ``condition`` is not zero, else ``else_branch``; only that one is computed.

    The branches are variables, or lists of as many of equal ranks; the result is a variable or a list.

    >>> import gradxform.symbolic as T
    >>> a, x = T.dscalars("a", "x")
    >>> f = T.function([a, x], T.ifelse(a > 0, T.exp(x), x))
    >>> f(1, 0), f(-1, 0)
    (array(1.), array(0.))
    """
    test = as_variable(condition)
    if test.ndim:
        raise ArgumentTypeError(f"ifelse: the condition must be a scalar, got {test.type}: use switch for a choice by element"
                                f"{user_line()}")
    several = isinstance(then_branch, (list, tuple))
    first = [as_variable(x) for x in (then_branch if several else [then_branch])]
    second = [as_variable(x) for x in (else_branch if isinstance(else_branch, (list, tuple)) else [else_branch])]
    if len(first) != len(second):
        raise ArgumentError(f"ifelse: the branches have {len(first)} and {len(second)} results{user_line()}")
    types = []
    for left, right in zip(first, second, strict=True):
        if left.ndim != right.ndim:
            raise ArgumentTypeError(f"ifelse: the branches must be of one rank, got {left.type} and {right.type}{user_line()}")
        dtype = np.result_type(left.data if is_weak(left) else left.dtype, right.data if is_weak(right) else right.dtype)
        types.append(TensorType(dtype.name, left.type.shape if left.type.shape == right.type.shape else (None,) * left.ndim))
    results = apply_operation(IfElse(name or "ifelse"), types, [test], [*first, *second])
    return results if several else results[0]
