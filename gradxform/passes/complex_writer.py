"""What rules for complex numbers write with: a program of real values, and the pairs that stand for complex ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradxform.dtypes import is_complex, part_dtype
from gradxform.ir import ArrayType, Atom, Equation, Literal, Program, Var, programs_in
from gradxform.ir.inlining import inline_calls
from gradxform.ir.memo import kept
from gradxform.passes.complex_values import Pair, Real
from gradxform.passes.inline import CALLED
from gradxform.passes.rewriting import Rewriter, Vocabulary, literal


@kept
def holds_complex(program: Program) -> bool:
    """Whether there is a complex value in a program, or in one inside it."""
    return any(is_complex(t.dtype) for t in (*program.input_types, *program.output_types)) or any(
        map(is_complex_equation, program.equations))


def is_complex_equation(equation: Equation) -> bool:
    for x in (*equation.inputs, *equation.outputs):
        if is_complex(x.type.dtype):
            return True
    return bool(equation.params) and any(
        holds_complex(inner) for _, value in equation.params for inner in programs_in(value))


def part_type(array_type: ArrayType) -> ArrayType:
    """The type of the parts of a complex value."""
    return ArrayType(part_dtype(array_type.dtype), array_type.shape)


def changed(equation: Equation, **params: Any) -> tuple[tuple[str, Any], ...]:
    """The parameters of an equation, some of them with other values."""
    return tuple([(name, params.get(name, value)) for name, value in equation.params])


class Writer:
    """The real program of a complex one; ``find`` gives the rule of an equation, or raises CompileError."""

    def __init__(self, vocabulary: Vocabulary, find: Callable[[Vocabulary, Equation], Rule]) -> None:
        self.vocabulary = vocabulary
        self.find = find
        self.rewriter = Rewriter(vocabulary, {})
        self.pairs: dict[Atom, Pair] = {}

    # ------------------------------------------------------------------------------------------------- whole programs

    def boundary(self, program: Program) -> Program:
        """The program of arrays as they lie in memory."""
        inputs = []
        for var in program.inputs:
            if not is_complex(var.type.dtype):
                inputs.append(var)
                continue
            memory = Var(part_type(var.type).with_shape((*var.type.shape, 2)))
            inputs.append(memory)
            self.pairs[var] = self.separated(memory)
        outputs = tuple([self.memory(x) for x in self.write(program)])
        return Program(tuple(inputs), tuple(self.rewriter.equations), outputs, program.name)

    def inner(self, program: Program) -> Program:
        """A program inside an equation, with two inputs or outputs for each complex one."""
        if not holds_complex(program):
            return program
        writer = self.another()
        inputs: list[Var] = []
        for var in program.inputs:
            if is_complex(var.type.dtype):
                parts = Var(part_type(var.type)), Var(part_type(var.type))
                writer.pairs[var] = writer.of(*parts)
                inputs += parts
            else:
                inputs.append(var)
        outputs = tuple(writer.flat(writer.write(program)))
        return Program(tuple(inputs), tuple(writer.rewriter.equations), outputs, program.name)

    def write(self, program: Program) -> tuple[Atom, ...]:
        """Append the equations of ``program``, those of calls in their places; gives its outputs."""
        inlined = inline_calls(program, CALLED)
        for equation in inlined.equations:
            self.rewriter.source = equation.source
            if is_complex_equation(equation):
                self.find(self.vocabulary, equation)(self, equation)
            else:
                self.append(equation, equation.inputs, equation.params, equation.outputs)
        return inlined.outputs

    def another(self) -> Writer:
        """A writer of a program inside this one."""
        return Writer(self.vocabulary, self.find)

    # --------------------------------------------------------------------------------------------------------- values

    def of(self, re: Atom, im: Atom) -> Pair:
        return Pair(Real(re, self.rewriter), Real(im, self.rewriter))

    def real(self, atom: Atom) -> Atom:
        """The atom that stands for a real value."""
        return self.rewriter.environment.get(atom, atom)

    def pair(self, atom: Atom) -> Pair:
        """The parts of a complex value."""
        if isinstance(atom, Literal):
            dtype = part_dtype(atom.type.dtype)
            return self.of(literal(atom.value.real, dtype), literal(atom.value.imag, dtype))
        return self.pairs[atom]

    def value(self, atom: Atom) -> Pair | Real:
        return self.pair(atom) if is_complex(atom.type.dtype) else Real(self.real(atom), self.rewriter)

    def flat(self, atoms: Sequence[Atom]) -> Iterator[Atom]:
        """The atoms with two for each complex one."""
        for atom in atoms:
            if is_complex(atom.type.dtype):
                pair = self.pair(atom)
                yield pair.re.atom
                yield pair.im.atom
            else:
                yield self.real(atom)

    def count(self, atoms: Sequence[Atom]) -> int:
        """How many atoms these become."""
        return sum(2 if is_complex(x.type.dtype) else 1 for x in atoms)

    def define(self, var: Var, value: Pair | Real) -> None:
        """Let ``value`` stand for a variable; numbers are repeated to its shape."""
        shape = var.type.shape
        if isinstance(value, Pair):
            self.pairs[var] = self.of(*[self.rewriter.shaped(part.atom, shape) for part in value])
        else:
            self.rewriter.environment[var] = self.rewriter.shaped(value.atom, shape)

    def bind(self, var: Var, atom: Atom) -> None:
        """Let ``var`` stand for what ``atom`` is."""
        if is_complex(atom.type.dtype):
            self.pairs[var] = self.pair(atom)
        else:
            self.rewriter.environment[var] = self.real(atom)

    def results(self, outputs: Sequence[Var]) -> list[Var]:
        """New variables for the results of an equation, two for each complex one."""
        found: list[Var] = []
        for var in outputs:
            if is_complex(var.type.dtype):
                parts = Var(part_type(var.type)), Var(part_type(var.type))
                self.pairs[var] = self.of(*parts)
                found += parts
            else:
                found.append(var)
        return found

    def append(
        self, equation: Equation, inputs: Sequence[Atom], params: Sequence[tuple[str, Any]], outputs: Sequence[Var]
    ) -> None:
        """Append an equation as it is; its real inputs are renamed."""
        self.rewriter.equations.append(Equation(
            equation.operation, tuple([self.real(x) for x in inputs]), tuple(params), tuple(outputs), equation.source))
        if len(outputs) == 1:
            self.rewriter.defined[outputs[0]] = self.rewriter.equations[-1]

    def emit(self, name: str, *inputs: Atom, **params: Any) -> Atom:
        return self.rewriter.emit(name, *inputs, **params)

    def scan(
        self, body: Program, carries: Sequence[Atom], xs: Sequence[Atom], reverse: bool, equation: Equation
    ) -> list[Var]:
        """The results of a loop along the leading axis of ``xs``, which stands in the place of an equation."""
        length, count = xs[0].type.shape[0], len(carries)
        results = [Var(t.strong()) for t in body.output_types[:count]]
        results += [Var(ArrayType(t.dtype, (length, *t.shape))) for t in body.output_types[count:]]
        params = {"body": body, "carries": count, "checkpoint": None, "constants": 0, "length": length, "reverse": reverse}
        self.rewriter.equations.append(Equation(
            self.vocabulary["scan"], (*carries, *xs), tuple(params.items()), tuple(results), equation.source))
        return results

    # --------------------------------------------------------------------------------------------------------- memory

    def separated(self, memory: Atom) -> Pair:
        """The parts that lie side by side along the last axis."""
        shape = memory.type.shape[:-1]
        return self.of(*[self.emit("reshape", self.sliced(memory, len(shape), k, k + 1), shape=shape) for k in (0, 1)])

    def sliced(self, atom: Atom, axis: int, start: int, limit: int) -> Atom:
        """A range of an axis."""
        shape = atom.type.shape
        return self.emit("slice", atom, start=tuple([start if a == axis else 0 for a in range(len(shape))]),
                         limit=tuple([limit if a == axis else n for a, n in enumerate(shape)]), strides=(1,) * len(shape))

    def memory(self, atom: Atom) -> Atom:
        """A value as it lies in memory."""
        return self.interleaved(self.pair(atom)) if is_complex(atom.type.dtype) else self.real(atom)

    def interleaved(self, pair: Pair) -> Atom:
        """The parts side by side along a new last axis."""
        return self.stacked([pair.re.atom, pair.im.atom], pair.re.atom.type.rank)

    def stacked(self, atoms: Sequence[Atom], axis: int) -> Atom:
        """The atoms one after the other along a new axis."""
        shape = atoms[0].type.shape
        one = (*shape[:axis], 1, *shape[axis:])
        return self.emit("concatenate", *[self.emit("reshape", x, shape=one) for x in atoms], axis=axis)


Rule = Callable[[Writer, Equation], None]
