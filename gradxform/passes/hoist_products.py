"""Products of the elements of a loop with its constants, made one product of the stack in front of the loop.

    { b = scan[constants=1 body={ lambda W s x . let t = dot_general x W ; u = add s t in (u) }] a 0.0 c in (b) }
      ->  { d = dot_general c a ; b = scan[body={ lambda s t . let u = add s t in (u) }] 0.0 d in (b) }

So the input of a recurrent layer meets its weights for all steps at once, in blocks that fit the caches, while only the
product with the state is left for each step. It costs memory for the results of all steps: it is done for products that
are work, whose results are not much larger than the elements, and which have few rows in a single step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from gradxform.ir import Atom, Equation, Program, Var
from gradxform.ir.families import VIEWS
from gradxform.passes.loop_forms import Scan
from gradxform.passes.rewriting import Rewriter, Vocabulary

#: Multiplications in a step from which on it is worth the memory.
WORK = 5_000
#: How many times larger than the element the result may be.
GROWTH = 4
#: A product of so many rows is efficient in each step.
ROWS = 256


def hoist_products(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with the products of scans that need no carry in front of them; the same object if there are none."""
    equations: list[Equation] = []
    changed = False
    for equation in program.equations:
        if equation.operation.name == "scan":
            rewriter = Rewriter(vocabulary, {})
            rewriter.source = equation.source
            moved = _hoisted(rewriter, Scan.of(equation))
            changed = changed or moved is not None
            equations += rewriter.equations
            equation = moved or equation
        equations.append(equation)
    return replace(program, equations=tuple(equations)) if changed else program


def _hoisted(rewriter: Rewriter, scan: Scan) -> Equation | None:
    if scan.length < 2:
        return None
    constants, _, elements = scan.inputs_of_body()
    stacks: dict[Atom, Atom] = dict(zip(elements, scan.xs, strict=True))
    # Constants and views of them, by their variables in the body.
    outside: dict[Atom, Atom] = dict(zip(constants, scan.constants, strict=True))
    views: dict[Atom, Equation] = {}
    further: list[tuple[Var, Atom]] = []
    kept: list[Equation] = []
    for equation in scan.body.equations:
        name = equation.operation.name
        if name in VIEWS and len(equation.inputs) == 1 and (equation.inputs[0] in outside or equation.inputs[0] in views):
            views[equation.outputs[0]] = equation
        if name == "dot_general" and _is_worth_it(equation, stacks, [*outside, *views]):
            further.append((equation.outputs[0], _over_time(rewriter, equation, stacks, outside, views)))
        else:
            kept.append(equation)
    if not further:
        return None
    body = Program((*scan.body.inputs, *(v for v, _ in further)), tuple(kept), scan.body.outputs, scan.body.name)
    return replace(scan, body=body, xs=(*scan.xs, *(x for _, x in further))).build()


def _is_worth_it(equation: Equation, stacks: dict[Atom, Atom], constant: Sequence[Atom]) -> bool:
    for element, other in (equation.inputs, equation.inputs[::-1]):
        if element in stacks and any(other is x for x in constant):
            break
    else:
        return False
    summed = _summed(equation)
    result = equation.outputs[0].type.size
    return (result * summed >= WORK and result <= GROWTH * element.type.size
            and element.type.size < ROWS * max(summed, 1))


def _summed(equation: Equation) -> int:
    left = equation.inputs[0].type
    return prod([left.shape[a] for a in dict(equation.params)["contracting"][0]])


def _over_time(
    rewriter: Rewriter, equation: Equation, stacks: dict[Atom, Atom], outside: dict[Atom, Atom],
    views: dict[Atom, Equation],
) -> Atom:
    """The stack of the results of a product, computed in front of the loop."""
    params = dict(equation.params)
    contracting, batch = params["contracting"], params["batch"]
    side = 0 if equation.inputs[0] in stacks else 1
    operands = [stacks[x] if position == side else _outer(rewriter, x, outside, views)
                for position, x in enumerate(equation.inputs)]
    result = rewriter.emit(
        "dot_general", *operands, contracting=_behind(contracting, side), batch=_behind(batch, side))
    # Time is the first free axis of its operand.
    time = len(batch[0])
    if side:
        time += equation.inputs[0].type.rank - len(batch[0]) - len(contracting[0])
    order = [a for a in range(result.type.rank) if a != time]
    return rewriter.emit("transpose", result, permutation=(time, *order)) if time else result


def _behind(pairs: tuple[tuple[int, ...], ...], side: int) -> tuple[tuple[int, ...], ...]:
    """Pairs of axes, where the operand on ``side`` has gained a first axis."""
    return tuple([tuple([a + (position == side) for a in axes]) for position, axes in enumerate(pairs)])


def _outer(rewriter: Rewriter, atom: Atom, outside: dict[Atom, Atom], views: dict[Atom, Equation]) -> Atom:
    """What a constant of the body, or a view of one, is in front of the loop."""
    path: list[Equation] = []
    while atom in views:
        path.append(views[atom])
        atom = path[-1].inputs[0]
    found = outside[atom]
    for equation in reversed(path):
        found = rewriter.append(equation.operation, (found,), equation.params, equation.outputs[0].type)
    return found
