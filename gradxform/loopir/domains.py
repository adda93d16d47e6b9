"""Combinations of indices: how often the body of a loop runs whose bounds depend on the loops around it.

    for i in 0 .. 100: { for j in i .. minimum(i + 8, 100): ... }      the values of i, each with the number of its j

Only indices on which something depends are kept one by one; loops over others just multiply how often each occurs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradxform.loopir.expression import INDEX_CHECKS, Apply, Constant, Expression, Load, Symbol
from gradxform.loopir.loops import Contract, For, If, Let, Nest, Statement, bodies
from gradxform.loopir.operations import OPERATIONS

#: As many combinations of indices are looked at one by one where bounds depend on them; of more, a regular choice.
MOST_POINTS = 1 << 20


@dataclass(slots=True, eq=False)
class Domain:
    """Combinations of those indices on which bounds depend, and how often each occurs."""

    weights: Any
    values: dict[Symbol, Any]

    @property
    def total(self) -> float:
        return float(self.weights.sum())

    def scaled(self, factor: float) -> Domain:
        return Domain(self.weights * factor, self.values)

    def repeated(self, trips: Any) -> Domain:
        return Domain(self.weights * trips, self.values)

    def where(self, mask: Any) -> Domain:
        return Domain(self.weights[mask], {symbol: values[mask] for symbol, values in self.values.items()})

    def extended(self, symbol: Symbol, begin: Any, trips: Any) -> tuple[Domain, bool]:
        """With the values of one more index; whether only some of them were taken."""
        taken = trips
        if trips.sum() > MOST_POINTS:
            taken = np.minimum(trips, max(1, MOST_POINTS // len(trips)))
        point = np.repeat(np.arange(len(trips)), taken)
        offset = np.arange(len(point)) - np.repeat(np.cumsum(taken) - taken, taken)
        ratio = trips[point] / taken[point]
        values = {known: array[point] for known, array in self.values.items()}
        values[symbol] = begin[point] + np.floor((offset + 0.5) * ratio).astype(np.int64)
        return Domain(self.weights[point] * ratio, values), taken is not trips


def evaluate(expression: Expression, domain: Domain, definitions: Mapping[Symbol, Expression]) -> Any:
    """The values of an expression over a domain, an array or a scalar; None if the data decide.

    ``definitions`` are the expressions behind names.
    """
    memo: dict[int, Any] = {}

    def value(part: Expression) -> Any:
        if isinstance(part, Constant):
            return part.value
        if isinstance(part, Symbol):
            if part in domain.values:
                return domain.values[part]
            definition = definitions.get(part)
            return None if definition is None else value(definition)
        if isinstance(part, Load):
            return None
        if id(part) not in memo:
            found = [value(operand) for operand in part.operands]
            memo[id(part)] = None if any(operand is None for operand in found) else _apply(part, found)
        return memo[id(part)]

    return value(expression)


def _apply(expression: Apply, arguments: Sequence[Any]) -> Any:
    if expression.operation in INDEX_CHECKS:
        return arguments[0]
    if expression.operation in ("select", "guard"):
        return np.where(*arguments)
    if expression.operation == "bitcast":
        return None
    with np.errstate(all="ignore"):
        return np.asarray(OPERATIONS[expression.operation](*arguments)).astype(expression.dtype)


def deciding_symbols(nest: Nest) -> set[Symbol]:
    """The indices on which bounds, branches and extents in a nest depend, those left out that the data decide."""
    definitions: dict[Symbol, Expression] = {}
    deciding: list[Expression] = []

    def collect(statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Let):
                definitions[statement.symbol] = statement.value
            elif isinstance(statement, For):
                deciding.extend((statement.begin, statement.end))
            elif isinstance(statement, If):
                deciding.append(statement.condition)
            elif isinstance(statement, Contract):
                deciding.extend((statement.rows, statement.inner, statement.columns))
            for body in bodies(statement):
                collect(body)

    collect(nest.body)
    found: set[Symbol] = set()
    for expression in deciding:
        symbols: set[Symbol] = set()
        stack: list[Expression] = [expression]
        seen: set[int] = set()
        while stack:
            part = stack.pop()
            if isinstance(part, Load):  # the data decide
                symbols.clear()
                break
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Apply):
                stack.extend(part.operands)
            elif isinstance(part, Symbol):
                if part in definitions:
                    stack.append(definitions[part])
                else:
                    symbols.add(part)
        found |= symbols
    return found
