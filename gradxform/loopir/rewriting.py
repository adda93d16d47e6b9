"""Copies of statements with other symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradxform.loopir.expression import Expression, Symbol, substitute
from gradxform.loopir.loops import Let, Statement, with_operands


def renamed(statements: Sequence[Statement], values: dict[Symbol, Expression], suffix: str) -> list[Statement]:
    """Straight-line statements with symbols replaced by ``values``, and with symbols of their own for what they bind."""
    values = dict(values)

    def replaced(part: Expression) -> Expression | None:
        return values.get(part) if isinstance(part, Symbol) else None

    def rewrite(expression: Expression) -> Expression:
        return substitute(expression, replaced)

    result: list[Statement] = []
    for statement in statements:
        copy = with_operands(statement, rewrite)
        if isinstance(copy, Let):
            own = Symbol(f"{copy.symbol.name}.{suffix}", copy.symbol.dtype)
            values[copy.symbol] = own
            copy = replace(copy, symbol=own)
        result.append(copy)
    return result
