"""Copies of statements with other symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradxform.loopir.expression import Expression, Symbol, substitute
from gradxform.loopir.loops import Accumulate, Let, Statement, Store


def renamed(statements: Sequence[Statement], values: dict[Symbol, Expression], suffix: str) -> list[Statement]:
    """Straight-line statements with symbols replaced by ``values``, and with symbols of their own for what they bind."""
    values = dict(values)

    def replaced(part: Expression) -> Expression | None:
        return values.get(part) if isinstance(part, Symbol) else None

    def rewrite(expression: Expression) -> Expression:
        return substitute(expression, replaced)

    result: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Let):
            own = Symbol(f"{statement.symbol.name}.{suffix}", statement.symbol.dtype)
            result.append(Let(own, rewrite(statement.value)))
            values[statement.symbol] = own
        elif isinstance(statement, (Store, Accumulate)):
            result.append(replace(statement, index=tuple(map(rewrite, statement.index)), value=rewrite(statement.value)))
        else:
            result.append(statement)
    return result
