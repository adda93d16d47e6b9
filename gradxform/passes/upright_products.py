"""Operands of products computed the way round in which the arrays behind them lie.

    { b = transpose[permutation=(1,0)] a ; c = mul b d ; e = dot_general[contracting=((0,),(1,))] a c in (e) }
      ->  { d' = ... ; c = mul a d' ; e = dot_general[contracting=((0,),(0,))] a c in (e) }

A product reads its operands whichever way round they lie, but what is computed for it has to be stored. Second derivatives
of a model that multiplies a matrix with its parameters are such products, with a transpose at the head of one operand.
"""

from __future__ import annotations

from gradxform.ir import Atom, Equation, Program
from gradxform.passes.rewriting import ELEMENTWISE, Rewriter, Vocabulary

Permutation = tuple[int, ...]


def upright_products(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with such operands computed upright; the same object if there are none."""
    names = {equation.operation.name for equation in program.equations}
    if not {"dot_general", "transpose"} <= names:
        return program
    readers: dict[Atom, list[Atom | None]] = {}
    for equation in program.equations:
        for x in equation.inputs:
            readers.setdefault(x, []).append(equation.outputs[0] if equation.outputs else None)
    for x in program.outputs:
        readers.setdefault(x, []).append(None)
    turner = _Turner(Rewriter(vocabulary, {}), readers)
    rewriter = turner.rewriter
    environment: dict[Atom, Atom] = {}
    changed = False
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs])
        if inputs != equation.inputs:
            equation = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        if equation.operation.name == "dot_general":
            rewriter.source = equation.source
            found = turner.product(equation, equation.outputs[0])
            if found is not None:
                environment[equation.outputs[0]] = found
                changed = True
                continue
        rewriter.equations.append(equation)
        if len(equation.outputs) == 1:
            rewriter.defined[equation.outputs[0]] = equation
    if not changed:
        return program
    outputs = tuple([environment.get(x, x) for x in program.outputs])
    return Program(program.inputs, tuple(rewriter.equations), outputs, program.name)


class _Turner:
    def __init__(self, rewriter: Rewriter, readers: dict[Atom, list[Atom | None]]) -> None:
        self.rewriter = rewriter
        self.readers = readers
        # What is computed by elementwise equations for the operand at hand, and for nothing else.
        self.own: dict[Atom, Equation] = {}

    def product(self, equation: Equation, result: Atom) -> Atom | None:
        """A product, which was the variable ``result``, with its operands upright; or None."""
        operands = list(equation.inputs)
        params = dict(equation.params)
        contracting, batch = list(params["contracting"]), list(params["batch"])
        free_orders: list[list[int]] = []
        changed = False
        for side, x in enumerate(equation.inputs):
            order = [a for a in range(x.type.rank) if a not in contracting[side] and a not in batch[side]]
            free_orders.append(list(range(len(order))))
            self.own = self.computed_for(x, result)
            permutation = self.permutation(x)
            if permutation is None or not self.turns(x, permutation):
                continue
            operands[side] = self.upright(x, permutation, {})
            contracting[side] = tuple([permutation[a] for a in contracting[side]])
            batch[side] = tuple([permutation[a] for a in batch[side]])
            places = [permutation[a] for a in order]
            free_orders[side] = [sorted(places).index(place) for place in places]
            changed = True
        if not changed:
            return None
        product = self.rewriter.emit("dot_general", *operands, contracting=tuple(contracting), batch=tuple(batch))
        first = len(batch[0])
        second = first + len(free_orders[0])
        order = [*range(first), *(first + i for i in free_orders[0]), *(second + i for i in free_orders[1])]
        return product if order == sorted(order) else self.rewriter.emit("transpose", product, permutation=tuple(order))

    def computed_for(self, x: Atom, reader: Atom) -> dict[Atom, Equation]:
        """The elementwise equations that compute ``x``, and that only ``reader`` and they themselves read."""
        defined = self.rewriter.defined
        reached: dict[Atom, None] = {}
        stack = [x]
        while stack:
            top = stack.pop()
            equation = defined.get(top)
            if top not in reached and equation is not None and top.type.shape and equation.operation.name in ELEMENTWISE:
                reached[top] = None
                stack += equation.inputs
        own: dict[Atom, Equation] = {}
        if reached:
            for equation in reversed(self.rewriter.equations):
                for result in equation.outputs:
                    if result in reached and all(r is reader or r in own for r in self.readers.get(result, ())):
                        own[result] = equation
        return own

    def permutation(self, x: Atom) -> Permutation | None:
        """How what ``x`` is computed from is turned."""
        for equation in self.own.values():
            for operand in equation.inputs:
                turned = self.rewriter.definition(operand, "transpose")
                if turned is not None:
                    permutation: Permutation = dict(turned.params)["permutation"]
                    return permutation
        return None

    def turns(self, x: Atom, permutation: Permutation) -> bool:
        """Whether ``x`` is the transpose of something that can be computed instead of it."""
        if not x.type.shape:
            return True
        equation = self.own.get(x)
        if equation is not None:
            return all(self.turns(operand, permutation) for operand in equation.inputs)
        found = self.rewriter.defined.get(x)
        if found is None:
            return False
        params = dict(found.params)
        if found.operation.name == "transpose":
            turned: Permutation = params["permutation"]
            return turned == permutation
        if found.operation.name == "broadcast":
            places: list[int] = [permutation[a] for a in params["axes"]]
            return places == sorted(places)
        return bool(found.operation.name == "iota")

    def upright(self, x: Atom, permutation: Permutation, done: dict[Atom, Atom]) -> Atom:
        """The array whose transpose is ``x``."""
        if not x.type.shape:
            return x
        if x in done:
            return done[x]
        rewriter = self.rewriter
        equation = rewriter.defined[x]
        params = dict(equation.params)
        shape = [0] * x.type.rank
        for a, place in enumerate(permutation):
            shape[place] = x.type.shape[a]
        name = equation.operation.name
        if name == "transpose":
            return equation.inputs[0]
        if name == "broadcast":
            axes = tuple([permutation[a] for a in params["axes"]])
            result = rewriter.emit("broadcast", equation.inputs[0], shape=tuple(shape), axes=axes)
        elif name == "iota":
            result = rewriter.emit("iota", axis=permutation[params["axis"]], dtype=params["dtype"], shape=tuple(shape))
        else:
            result = rewriter.emit(name, *[self.upright(operand, permutation, done) for operand in equation.inputs], **params)
        done[x] = result
        return result
