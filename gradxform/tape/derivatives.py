"""From what a tape recorded to derivatives: slices of the record, and the transforms on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.api.execution import execute
from gradxform.array import Array
from gradxform.core import Builder, Undefined, current_builder, run
from gradxform.core.tracing import leaked
from gradxform.data_class import data_class
from gradxform.ir import ArrayType, Atom, Equation, Program, Var
from gradxform.lax import map as map_rows
from gradxform.linear import broadcast, zeros
from gradxform.tape.recording import Recording, defined_by
from gradxform.tape.tensor import Held, Tensor
from gradxform.transforms import backward, batch, jvp, linearize


def slice_between(recording: Recording, sources: Sequence[Var], targets: Sequence[Atom]) -> tuple[Program, list[Any]]:
    """The program from ``sources`` to ``targets``, and the operands of its inputs.

    Sources come first among the inputs; the others are what the tape takes as constant, with their values.
    """
    cut = dict.fromkeys(sources)
    needed = {x: None for x in targets if isinstance(x, Var) and x not in cut}
    found: list[Equation] = []
    for equation in reversed(recording.equations):
        if not any(var in needed for var in equation.outputs):
            continue
        needed.update({x: None for x in equation.inputs if isinstance(x, Var) and x not in cut})
        if any(var in cut for var in equation.outputs):  # the program has another definition of it: its input
            outputs = tuple(Var(var.type) if var in cut else var for var in equation.outputs)
            equation = Equation(equation.operation, equation.inputs, equation.params, outputs, equation.source)
        found.append(equation)
    equations = tuple(reversed(found))
    defined = defined_by(equations)
    others = [var for var in needed if var not in defined]
    inputs = (*cut, *others)
    return Program(inputs, equations, tuple(targets), "tape"), [operand(recording, var) for var in inputs]


def operand(recording: Recording, var: Var) -> Any:
    """What ``var`` of the recorded builder stands for: a traced array while that is open, else its value."""
    builder = recording.builder
    tracer = builder.tracer_class(builder, var)
    if builder.state == "open":
        return tracer
    value = builder.value_of(var)
    if value is None:
        raise leaked(tracer)
    # Another tape, inside which this one is read, may watch the same.
    return value if current_builder() is None else Tensor(Held(np.asarray(value)), var)


def levels(recording: Recording, sources: Sequence[Var]) -> list[int]:
    """For each source how many other sources follow one another on the longest way to it.

    Sources of one level do not depend on each other, so they can be cut in one program.
    """
    wanted = dict.fromkeys(sources)
    level: dict[Var, int] = dict.fromkeys(sources, 0)
    defined = defined_by(recording.equations)
    above: dict[Atom, int] = {var: 1 for var in sources if var not in defined}
    for equation in recording.equations:
        reached = max((above.get(x, 0) for x in equation.inputs), default=0)
        for var in equation.outputs:
            if var in wanted:
                level[var] = reached
            above[var] = reached + (var in wanted)
    return [level[var] for var in sources]


@data_class(frozen=True, slots=True, eq=False)
class Pullback:
    """The transposed derivative of targets with respect to sources.

    ``program`` takes the residuals, then a cotangent for each target that ``depends`` on a source; it gives a cotangent
    for each source that is ``connected``.
    """

    program: Program
    residuals: list[Any]
    depends: tuple[bool, ...]
    connected: tuple[bool, ...]

    def complete(self, pulled: Sequence[Any]) -> list[Any]:
        """``pulled``, with None for each source that is not connected."""
        rest = iter(pulled)
        return [next(rest) if flag else None for flag in self.connected]

    def once(self, cotangents: Sequence[Any]) -> list[Any]:
        """The cotangents of the sources, None where they are not connected."""
        given = [ct for ct, flag in zip(cotangents, self.depends, strict=True) if flag]
        return self.complete(execute(self.program, [*self.residuals, *given]))

    def rows(self, cotangents: Any, count: int, at_once: int | None) -> list[Any]:
        """The same for ``count`` cotangents of the one target, stacked; so many are computed at once, all if None."""
        if not self.depends[0]:
            return [None] * len(self.connected)
        program = rows_program(self.program, len(self.residuals), count, at_once)
        return self.complete(execute(program, [*self.residuals, cotangents]))


def rows_program(program: Program, residual_count: int, count: int, at_once: int | None) -> Program:
    """``program`` for ``count`` cotangents in its last input, ``at_once`` of them batched in each round of a loop.

    What a round computes is dead before the next one begins, so ``at_once`` bounds the memory. With None, or where it is
    no less than ``count``, there is no loop.
    """
    if at_once is None or at_once >= count:
        batched, flags = batch(program, [False] * residual_count + [True], count)
        if all(flags):
            return batched
        builder = Builder("tape")
        with builder:
            results = run(batched, [builder.add_input(var.type) for var in batched.inputs])
            whole = [x if flag else _repeated(x, t, count)
                     for x, flag, t in zip(results, flags, program.output_types, strict=True)]
            return builder.finish(whole, "tape")[0]
    builder = Builder("tape", Array)
    with builder:
        residuals = [builder.add_input(var.type) for var in program.inputs[:residual_count]]
        (seed,) = program.inputs[residual_count:]
        seeds = builder.add_input(ArrayType(seed.type.dtype, (count, *seed.type.shape)))
        results = map_rows(lambda row: run(program, [*residuals, row]), seeds, batch_size=None if at_once == 1 else at_once)
        found, captures = builder.finish(results, "tape")
    assert not captures, "a derivative rule captured an array"
    return found


def _repeated(x: Any, array_type: ArrayType, count: int) -> Any:
    return broadcast(x, (count, *array_type.shape), tuple(range(1, array_type.rank + 1)))


def pullback(recording: Recording, sources: Sequence[Var], targets: Sequence[Atom]) -> Pullback:
    """The pullback of ``targets`` to ``sources``, none of which depends on another."""
    program, operands = slice_between(recording, sources, targets)
    count = len(sources)
    parts, depends = linearize(program, [True] * count + [False] * (len(operands) - count))
    residuals = execute(parts.known, operands)[len(targets):]
    builder = Builder("tape")
    with builder:
        known = [builder.add_input(var.type) for var in parts.rest.inputs[: parts.residual_count]]
        cotangents = [builder.add_input(atom.type.strong())
                      for atom, flag in zip(program.outputs, depends, strict=True) if flag]
        linear = [Undefined(var.type.strong()) for var in sources]
        pulled = backward(builder, parts.rest, [*known, *linear], cotangents)
        transposed, captures = builder.finish([ct for ct in pulled if ct is not None], "tape")
    assert not captures, "a derivative rule captured an array"
    return Pullback(transposed, residuals, depends, tuple(ct is not None for ct in pulled))


def push(recording: Recording, sources: Sequence[Var], tangents: Sequence[Any], targets: Sequence[Atom]) -> list[Any]:
    """The tangents of ``targets`` for those of ``sources``; None where they do not depend on them."""
    program, operands = slice_between(recording, sources, targets)
    count = len(sources)
    pushed, depends = jvp(program, [True] * count + [False] * (len(operands) - count))
    results = iter(execute(pushed, [*operands, *tangents])[len(targets):])
    return [next(results) if flag else None for flag in depends]


def conjugated(value: Any) -> Any:
    """TensorFlow's gradients with respect to complex numbers are the conjugates of ours, and so are what it seeds."""
    if value is None:
        return None
    return np.conj(value) if np.dtype(value.dtype).kind == "c" else value


def ones(array_type: ArrayType) -> Any:
    """A cotangent of ones."""
    return np.ones(array_type.shape, array_type.dtype)[()]


def zeros_like(array_type: ArrayType) -> Any:
    """What stands for no connection where that is asked for as zeros."""
    return zeros(array_type.strong())
