"""Derivative rules written as formulas: primitives behind Python's operators.

A rule of a special function is a formula in its operands, ``lambda v, x, y: 0.5 * (jv(v - 1, x) - jv(v + 1, x))``. Operands
come as `Term`, whose operators record primitives; numbers take the dtype of the terms they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gradxform.backend.special_calls import evaluate
from gradxform.core import Primitive, bind
from gradxform.core.source import user_line
from gradxform.dtypes import check_same
from gradxform.errors import ArgumentTypeError, NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import add, batch_elementwise, elementwise_shape
from gradxform.loopir.lowering import elementwise
from gradxform.primitives import arithmetic, elementary, logic
from gradxform.primitives.rules import FLOATS, check_kind, constant, not_linear, same_dtype, sum_of_tangents


class Term:
    """An operand of a formula."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __add__(self, other: Any) -> Term:
        return _apply(add, self, other)

    def __radd__(self, other: Any) -> Term:
        return _apply(add, other, self)

    def __sub__(self, other: Any) -> Term:
        return _apply(arithmetic.sub, self, other)

    def __rsub__(self, other: Any) -> Term:
        return _apply(arithmetic.sub, other, self)

    def __mul__(self, other: Any) -> Term:
        return _apply(arithmetic.mul, self, other)

    def __rmul__(self, other: Any) -> Term:
        return _apply(arithmetic.mul, other, self)

    def __truediv__(self, other: Any) -> Term:
        return _apply(arithmetic.div, self, other)

    def __rtruediv__(self, other: Any) -> Term:
        return _apply(arithmetic.div, other, self)

    def __neg__(self) -> Term:
        return _apply(arithmetic.neg, self)

    def __lt__(self, other: Any) -> Term:
        return _apply(logic.less, self, other)

    def __gt__(self, other: Any) -> Term:
        return _apply(logic.greater, self, other)

    def is_(self, other: Any) -> Term:
        """Whether the two are equal."""
        return _apply(logic.equal, self, other)

    def __and__(self, other: Any) -> Term:
        return _apply(logic.logical_and, self, other)


def _apply(constructor: Callable[..., Any], *operands: Any) -> Term:
    like = next(operand.value for operand in operands if isinstance(operand, Term))
    return Term(constructor(*[x.value if isinstance(x, Term) else constant(x, like) for x in operands]))


def formula(constructor: Callable[..., Any]) -> Callable[..., Term]:
    """A primitive's constructor as a function of terms and numbers, of which one at least is a term."""

    def function(*operands: Any) -> Term:
        return _apply(constructor, *operands)

    return function


exp, expm1, log, log1p = map(formula, (elementary.exp, elementary.expm1, elementary.log, elementary.log1p))
sin, cos, sinh, cosh = map(formula, (elementary.sin, elementary.cos, elementary.sinh, elementary.cosh))
sqrt, square, sign, absolute, rint = map(
    formula, (arithmetic.sqrt, arithmetic.square, arithmetic.sign, arithmetic.abs, arithmetic.rint))
power = formula(elementary.pow)


def choose(condition: Term, x: Any, y: Any) -> Term:
    """``x`` where ``condition`` holds, else ``y``; one of the two at least is a term."""
    like = next(part.value for part in (x, y) if isinstance(part, Term))
    chosen = [part.value if isinstance(part, Term) else constant(part, like) for part in (x, y)]
    return Term(logic.select(condition.value, *chosen))


_CONSTRUCTORS: dict[str, Callable[..., Any]] = {}


def named(*names: str) -> tuple[Callable[..., Term], ...]:
    """Special functions as formulas': they are looked up when they are called, so that rules may name each other."""

    def formula_of(name: str) -> Callable[..., Term]:
        return lambda *operands: _apply(_CONSTRUCTORS[name], *operands)

    return tuple(map(formula_of, names))


#: The derivative in one operand as a formula of operands and result, the reason why there is none, or None for zero.
Partial = Callable[..., Any] | str | None


def _tangent(name: str, position: int, rule: Partial) -> Callable[..., Any] | None:
    if rule is None:
        return None
    if isinstance(rule, str):
        def refuse(t: Any, *operands: Any) -> Any:
            raise NotDifferentiableError(f"{name}: no derivative in argument {position}: {rule}{user_line()}")

        return refuse

    def tangent(t: Any, *operands: Any) -> Any:
        found = rule(*[Term(operand) for operand in operands])
        return arithmetic.mul(t, found.value if isinstance(found, Term) else constant(found, operands[-1]))

    return tangent


def special_function(name: str, *partials: Partial) -> tuple[Callable[..., Any], Primitive]:
    """The constructor and the primitive of a special function of ``ir/special_names`` with a partial for each operand.

    The constructor takes values of one float dtype, whose shapes are equal or of rank 0.
    """

    def type_rule(*operands: ArrayType) -> ArrayType:
        if len(operands) != len(partials):
            raise ArgumentTypeError(f"{name}: expected {len(partials)} operands, got {len(operands)}")
        dtype = check_same(name, tuple([operand.dtype for operand in operands]))
        check_kind(name, dtype, FLOATS)
        return ArrayType(dtype, elementwise_shape(name, operands))

    def constructor(*operands: Any) -> Any:
        return bind(primitive, *same_dtype(*operands))

    constructor.__name__ = constructor.__qualname__ = name
    _CONSTRUCTORS[name] = constructor
    rules: Sequence[Callable[..., Any] | None] = [
        _tangent(name, position, rule) for position, rule in enumerate(partials)]
    primitive = Primitive(
        name,
        type=type_rule,
        evaluate=partial(evaluate, name),
        jvp=sum_of_tangents(rules),
        transpose=not_linear(name),
        batch=batch_elementwise(constructor),
        lower=elementwise(name),
    )
    return constructor, primitive
