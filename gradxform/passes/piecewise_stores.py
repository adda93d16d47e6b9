"""Arrays that are put together of many single elements are written by stores.

    { c = concatenate[axis=0] x0 x1 ... x99 in (c) }      with x0, x1, ... of extent 1 along the axis
      ->  { a = broadcast 0.0 ; b = scatter[set] a y0 0 ; c = scatter[set] b y1 1 ; ... }

As a concatenation, each element of the result would have to look for its piece. Updates of a value that dies there are
stores, and stores at constant places need no looking. This comes last: derivatives and other passes see the concatenation,
which is one equation however many pieces there are.
"""

from __future__ import annotations

from typing import Any

from gradxform.dtypes import int64
from gradxform.ir import ArrayType, Atom, Equation, Program
from gradxform.passes.rewriting import Params, Rewriter, Vocabulary, literal

#: Fewer pieces are looked for quickly, or cut into loops of their own.
MANY = 16


def write_pieces(program: Program, vocabulary: Vocabulary) -> Program:
    """``program``, and the programs in its equations, with such stores; the same object if there are none."""
    return _Writer(vocabulary).written(program)


class _Writer:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.done: dict[Program, Program] = {}

    def written(self, program: Program) -> Program:
        found = self.done.get(program)
        if found is None:
            inner = self._inner(program)
            found = self.done[program] = Rewriter(self.vocabulary, {"concatenate": _stores}).run(inner)
        return found

    def _inner(self, program: Program) -> Program:
        equations = tuple([self._equation(equation) for equation in program.equations])
        if all(a is b for a, b in zip(equations, program.equations, strict=True)):
            return program
        return Program(program.inputs, equations, program.outputs, program.name)

    def _equation(self, equation: Equation) -> Equation:
        params = tuple([(name, self._visited(value)) for name, value in equation.params])
        if all(a[1] is b[1] for a, b in zip(params, equation.params, strict=True)):
            return equation
        return Equation(equation.operation, equation.inputs, params, equation.outputs, equation.source)

    def _visited(self, value: Any) -> Any:
        if isinstance(value, Program):
            return self.written(value)
        if isinstance(value, tuple):
            parts = tuple([self._visited(part) for part in value])
            return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
        return value


def _stores(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    if len(inputs) < MANY or dict(params)["axis"] != 0 or any(x.type.shape[0] != 1 for x in inputs):
        return None
    found = rewriter.full(0, result)
    for position, x in enumerate(inputs):
        piece = rewriter.definition(x, "reshape")
        if piece is not None and piece.inputs[0].type.shape == result.shape[1:]:
            x = piece.inputs[0]
        else:
            x = rewriter.emit("reshape", x, shape=result.shape[1:])
        found = rewriter.emit("scatter", found, x, literal(position, int64), axes=(0,), batch_rank=0, mode="inside",
                              operation="set", unique=True)
    return found
