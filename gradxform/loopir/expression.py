"""Scalar expressions of the loop IR.

    Expression ::= Constant | Symbol | Load | Apply
    Apply      ::= operation(Expression*)           named as the primitives are; see backend/instructions

``guard(condition, value, otherwise)`` evaluates ``value`` (and its loads) only where ``condition`` holds;
``select`` evaluates both. ``checked_index(i, extent, axis)`` is i, recorded as an error and replaced by 0 if it is outside
[0, extent); ``relative_index`` first adds the extent to what is negative. Index expressions are int64; the constructors
below keep them in a normal form in which an untouched axis is that axis' Symbol itself, which is how the scheduler
recognises identity maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gradxform.data_class import data_class
from gradxform.dtypes import DType, bool_, int64


@data_class(frozen=True, slots=True, eq=False)
class Constant:
    """A number; ``value`` is a NumPy scalar of ``dtype``."""

    value: Any
    dtype: DType


@data_class(frozen=True, slots=True, eq=False)
class Symbol:
    """A loop variable or a scalar bound by Let. ``extent`` is set for axes: the symbol runs over range(extent)."""

    name: str
    dtype: DType
    extent: int = -1


@data_class(frozen=True, slots=True, eq=False)
class Load:
    """An element of ``buffer``: an ir.Var before scheduling, a Buffer after."""

    buffer: Any
    index: tuple[Expression, ...]
    dtype: DType


@data_class(frozen=True, slots=True, eq=False)
class Apply:
    """``operation(operands)`` with a result of ``dtype``."""

    operation: str
    operands: tuple[Expression, ...]
    dtype: DType


#: The operations that may find an index out of range.
INDEX_CHECKS = ("checked_index", "relative_index")

Expression = Constant | Symbol | Load | Apply
Index = tuple[Expression, ...]


def axis(name: str, extent: int) -> Symbol:
    """A loop variable over range(extent)."""
    return Symbol(name, int64, extent)


def constant(value: Any, dtype: DType) -> Constant:
    """A constant of ``dtype``."""
    return Constant(dtype.type(value), dtype)


def integer(value: int) -> Constant:
    """An index constant."""
    return Constant(np.int64(value), int64)


ZERO, ONE = integer(0), integer(1)


def known(expression: Expression) -> int | None:
    """The value of an integer constant, else None."""
    return int(expression.value) if isinstance(expression, Constant) else None


def index_range(expression: Expression) -> tuple[int, int] | None:
    """Inclusive bounds of an index expression over all its axes, or None if they are not known."""
    if isinstance(expression, Constant):
        return int(expression.value), int(expression.value)
    if isinstance(expression, Symbol):
        return (0, expression.extent - 1) if expression.extent > 0 else None
    if isinstance(expression, Apply) and len(expression.operands) == 2:
        left, right = (index_range(operand) for operand in expression.operands)
        if left is None or right is None:
            return None
        if expression.operation == "add":
            return left[0] + right[0], left[1] + right[1]
        if expression.operation == "mul":
            corners = [a * b for a in left for b in right]
            return min(corners), max(corners)
        if expression.operation == "floor_divide" and right[0] == right[1] > 0:
            return left[0] // right[0], left[1] // right[0]
        if expression.operation == "remainder" and right[0] == right[1] > 0:
            return 0, right[0] - 1
    return None


def index_add(left: Expression, right: Expression) -> Expression:
    """left + right on indices; constants are moved right and folded."""
    a, b = known(left), known(right)
    if a is not None and b is not None:
        return integer(a + b)
    if a == 0:
        return right
    if b == 0:
        return left
    if a is not None:
        left, right, b = right, left, a
    if b is not None and isinstance(left, Apply) and left.operation == "add":
        inner = known(left.operands[1])
        if inner is not None:
            return index_add(left.operands[0], integer(inner + b))
    return Apply("add", (left, right), int64)


def index_mul(left: Expression, factor: int) -> Expression:
    """left * factor on indices, distributed over sums."""
    value = known(left)
    if value is not None:
        return integer(value * factor)
    if factor == 0:
        return ZERO
    if factor == 1:
        return left
    if isinstance(left, Apply) and left.operation == "add":
        return index_add(index_mul(left.operands[0], factor), index_mul(left.operands[1], factor))
    if isinstance(left, Apply) and left.operation == "mul":
        inner = known(left.operands[1])
        if inner is not None:
            return index_mul(left.operands[0], inner * factor)
    return Apply("mul", (left, integer(factor)), int64)


def _terms(expression: Expression) -> list[Expression]:
    if isinstance(expression, Apply) and expression.operation == "add":
        return _terms(expression.operands[0]) + _terms(expression.operands[1])
    return [expression]


def _multiple(expression: Expression, divisor: int) -> Expression | None:
    """expression / divisor where that is exact by form, else None."""
    value = known(expression)
    if value is not None:
        return integer(value // divisor) if value % divisor == 0 else None
    if isinstance(expression, Apply) and expression.operation == "mul":
        factor = known(expression.operands[1])
        if factor is not None and factor % divisor == 0:
            return index_mul(expression.operands[0], factor // divisor)
    return None


def index_divmod(expression: Expression, divisor: int) -> tuple[Expression, Expression]:
    """Floor quotient and remainder of an index that is never negative, by a positive constant."""
    value = known(expression)
    if value is not None:
        return integer(value // divisor), integer(value % divisor)
    if divisor == 1:
        return expression, ZERO
    whole: Expression = ZERO
    rest: Expression = ZERO
    for term in _terms(expression):
        quotient = _multiple(term, divisor)
        if quotient is not None:
            whole = index_add(whole, quotient)
        else:
            rest = index_add(rest, term)
    bounds = index_range(rest)
    if bounds is not None and bounds[0] >= 0 and bounds[1] < divisor:
        return whole, rest
    return (index_add(whole, Apply("floor_divide", (rest, integer(divisor)), int64)),
            Apply("remainder", (rest, integer(divisor)), int64))


def compare(operation: str, left: Expression, right: Expression) -> Expression:
    """``less``, ``greater_equal`` or ``equal`` on indices, decided where the ranges allow it."""
    a, b = index_range(left), index_range(right)
    if a is not None and b is not None:
        if operation == "less":
            if a[1] < b[0]:
                return TRUE
            if a[0] >= b[1]:
                return FALSE
        elif operation == "greater_equal":
            if a[0] >= b[1]:
                return TRUE
            if a[1] < b[0]:
                return FALSE
        elif operation == "equal":
            if a[0] == a[1] == b[0] == b[1]:
                return TRUE
            if a[1] < b[0] or b[1] < a[0]:
                return FALSE
    return Apply(operation, (left, right), bool_)


TRUE, FALSE = Constant(np.True_, bool_), Constant(np.False_, bool_)


def conjunction(conditions: Sequence[Expression]) -> Expression:
    """All conditions; the empty conjunction is true."""
    result: Expression = TRUE
    for condition in conditions:
        if condition is FALSE or result is FALSE:
            return FALSE
        if condition is TRUE:
            continue
        result = condition if result is TRUE else Apply("logical_and", (result, condition), bool_)
    return result


def guard(condition: Expression, value: Expression, otherwise: Expression) -> Expression:
    """``value`` where ``condition`` holds (only there are its loads made), else ``otherwise``."""
    if condition is TRUE:
        return value
    if condition is FALSE:
        return otherwise
    return Apply("guard", (condition, value, otherwise), value.dtype)


def substitute(expression: Expression, replace: Callable[[Expression], Expression | None]) -> Expression:
    """Rebuild ``expression`` top down: where ``replace`` gives an expression it stands instead, else children are rebuilt.

    Index arithmetic is rebuilt through the normalising constructors.
    """
    found = replace(expression)
    if found is not None:
        return found
    if isinstance(expression, Load):
        index = tuple([substitute(part, replace) for part in expression.index])
        return Load(expression.buffer, index, expression.dtype)
    if isinstance(expression, Apply):
        operands = tuple([substitute(operand, replace) for operand in expression.operands])
        # Expressions are equal only to themselves.
        return expression if operands == expression.operands else rebuild(expression, operands)
    return expression


def normal(expression: Expression) -> Expression:
    """``expression`` with its index arithmetic in normal form, and what ranges decide decided.

    >>> i = axis("i", 3)
    >>> normal(Apply("select", (Apply("less", (i, ZERO), bool_), Apply("add", (i, integer(3)), int64), i), int64)) is i
    True
    """
    if not isinstance(expression, Apply):
        return expression
    return rebuild(expression, tuple([normal(operand) for operand in expression.operands]))


def _decided(operation: str, operands: tuple[Expression, ...]) -> Expression | None:
    """Comparisons of indices by way of the three that `compare` knows, choices by a known condition; else None."""
    if operation == "select" and operands[0] in (TRUE, FALSE):
        return operands[1 if operands[0] is TRUE else 2]
    if operation == "logical_not" and operands[0] in (TRUE, FALSE):
        return FALSE if operands[0] is TRUE else TRUE
    if len(operands) != 2 or operands[0].dtype != int64:
        return None
    left, right = operands
    if operation in ("less", "greater_equal", "equal"):
        return compare(operation, left, right)
    if operation in ("greater", "less_equal"):
        return compare("less" if operation == "greater" else "greater_equal", right, left)
    if operation == "not_equal":
        return _decided("logical_not", (compare("equal", left, right),))
    return None


def rebuild(expression: Apply, operands: tuple[Expression, ...]) -> Expression:
    """``expression`` with other operands, through the normalising constructors."""
    operation = expression.operation
    if expression.dtype == int64 and operation in ("add", "mul", "floor_divide", "remainder"):
        left, right = operands
        if operation == "add":
            return index_add(left, right)
        factor = known(right)
        if operation == "mul" and factor is None and known(left) is not None:
            left, right, factor = right, left, known(left)
        if factor is not None and operation == "mul":
            return index_mul(left, factor)
        bounds = index_range(left)
        if factor is not None and factor > 0 and bounds is not None and bounds[0] >= 0 and operation != "mul":
            return index_divmod(left, factor)[operation == "remainder"]
    elif expression.dtype == int64 and operation == "sub":
        return index_add(operands[0], index_mul(operands[1], -1))
    elif operation == "logical_and" and expression.dtype == bool_:
        return conjunction(operands)
    elif operation == "guard":
        return guard(operands[0], operands[1], operands[2])
    decided = _decided(operation, operands)
    return decided if decided is not None else Apply(operation, operands, expression.dtype)


# Passes ask for the same expressions again and again: four times out of five the answer is still there.
_REMEMBERED = 1024


@lru_cache(_REMEMBERED)
def parts(expression: Expression) -> tuple[Expression, ...]:
    """``expression`` and all that is in it, the indices of loads included; what occurs twice comes twice."""
    found: list[Expression] = []
    stack = [expression]
    while stack:
        part = stack.pop()
        found.append(part)
        if isinstance(part, Apply):
            stack.extend(part.operands)
        elif isinstance(part, Load):
            stack.extend(part.index)
    return tuple(found)


@lru_cache(_REMEMBERED)
def loads(expression: Expression) -> tuple[Load, ...]:
    """All loads in ``expression``."""
    return tuple([part for part in parts(expression) if isinstance(part, Load)])


@lru_cache(_REMEMBERED)
def symbols(expression: Expression) -> tuple[Symbol, ...]:
    """All symbols in ``expression``."""
    return tuple([part for part in parts(expression) if isinstance(part, Symbol)])
