"""Products of which only a part is used, made of the parts of their operands.

    { c = dot_general a b ; d = slice[start=(0,2) limit=(3,4)] c in (d) }
      ->  { e = slice[start=(0,2) limit=(3,4)] b ; d = dot_general a e in (d) }

Such products come from reverse mode: a layer of joined inputs gives cotangents for all of them, also where those of some
are not wanted.
"""

from __future__ import annotations

from dataclasses import replace

from gradxform.ir import Atom, Equation, Program
from gradxform.passes.rewriting import Rewriter, Vocabulary


def narrow_products(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with products whose only use is a slice narrowed to it; the same object if there are none."""
    slices = _only_slices(program)
    if not slices:
        return program
    done = dict.fromkeys(equation.outputs[0] for equation in slices.values())
    equations: list[Equation] = []
    for equation in program.equations:
        if equation.outputs and equation.outputs[0] in slices:
            rewriter = Rewriter(vocabulary, {})
            rewriter.source = equation.source
            found = _narrowed(rewriter, equation, slices[equation.outputs[0]])
            equations += [*rewriter.equations, found]
        elif not (equation.outputs and equation.outputs[0] in done):
            equations.append(equation)
    return replace(program, equations=tuple(equations))


def _only_slices(program: Program) -> dict[Atom, Equation]:
    """The slices that are the only use of a product, by the product's variable."""
    products = {e.outputs[0]: None for e in program.equations if e.operation.name == "dot_general"}
    if not products:
        return {}
    uses: dict[Atom, list[Equation | None]] = {}
    for equation in program.equations:
        for x in equation.inputs:
            if x in products:
                uses.setdefault(x, []).append(equation)
    for x in program.outputs:
        if x in products:
            uses.setdefault(x, []).append(None)
    found: dict[Atom, Equation] = {}
    for v, (first, *others) in uses.items():
        if first is not None and not others and first.operation.name == "slice":
            found[v] = first
    return found


def _narrowed(rewriter: Rewriter, product: Equation, part: Equation) -> Equation:
    """The product of what the slice needs of its operands."""
    params, cut = dict(product.params), dict(part.params)
    used = [[*params["batch"][side], *params["contracting"][side]] for side in (0, 1)]
    free = [[a for a in range(x.type.rank) if a not in used[side]] for side, x in enumerate(product.inputs)]
    batch = len(params["batch"][0])
    operands = []
    for side, x in enumerate(product.inputs):
        start, limit, strides = [0] * x.type.rank, list(x.type.shape), [1] * x.type.rank
        first = batch + (len(free[0]) if side else 0)
        pairs = [*enumerate(params["batch"][side]), *((first + i, a) for i, a in enumerate(free[side]))]
        for position, axis in pairs:
            start[axis], limit[axis], strides[axis] = (cut[name][position] for name in ("start", "limit", "strides"))
        whole = not any(start) and limit == list(x.type.shape) and all(step == 1 for step in strides)
        operands.append(x if whole else rewriter.emit(
            "slice", x, start=tuple(start), limit=tuple(limit), strides=tuple(strides)))
    return Equation(product.operation, tuple(operands), product.params, part.outputs, product.source)
