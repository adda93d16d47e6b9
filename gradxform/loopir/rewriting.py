"""Copies of statements with other symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradxform.loopir.expression import Expression, Symbol, substitute
from gradxform.loopir.loops import For, Fork, Let, Statement, bodies, with_bodies, with_operands


def renamed(statements: Sequence[Statement], values: dict[Symbol, Expression], suffix: str) -> list[Statement]:
    """Statements with symbols replaced by ``values``, and with symbols of their own for what they bind."""
    values = dict(values)

    def rewrite(expression: Expression) -> Expression:
        return substitute(expression, lambda part: values.get(part) if isinstance(part, Symbol) else None)

    def bind(symbol: Symbol) -> Symbol:
        own = Symbol(f"{symbol.name}.{suffix}", symbol.dtype, symbol.extent)
        values[symbol] = own
        return own

    def copied(statement: Statement) -> Statement:
        copy = with_operands(statement, rewrite)
        if isinstance(copy, (Let, For, Fork)):
            copy = replace(copy, symbol=bind(copy.symbol))
        return with_bodies(copy, [tuple(map(copied, body)) for body in bodies(copy)])

    return [copied(statement) for statement in statements]
