"""Sorts give only what is used.

    { b c d = sort[num_keys=1 positions=also] x y in (d) }  ->  { d = sort[num_keys=1 positions=only] x in (d) }
"""

from __future__ import annotations

from collections.abc import Callable

from gradxform.ir import Atom, Equation, Program


def narrow_sort(equation: Equation, needed: set[Atom], sweep: Callable[[Program], Program]) -> Equation:
    """A sort without operands that are only carried along and positions that nobody uses; keys it needs in any case."""
    params = dict(equation.params)
    keys, positions = params["num_keys"], params["positions"]
    if positions == "only":
        return equation
    values = equation.outputs[:len(equation.inputs)]
    order = equation.outputs[len(values):]
    ordered = any(v in needed for v in order)
    carried = [k < keys or v in needed for k, v in enumerate(values)]
    if ordered and not any(v in needed for v in values):
        return Equation(equation.operation, equation.inputs[:keys], (("num_keys", keys), ("positions", "only")), order,
                        equation.source)
    if all(carried) and (ordered or not order):
        return equation
    return Equation(
        equation.operation, tuple([x for x, flag in zip(equation.inputs, carried, strict=True) if flag]),
        (("num_keys", keys), ("positions", "also" if ordered else "no")),
        (*(v for v, flag in zip(values, carried, strict=True) if flag), *(order if ordered else ())), equation.source)
