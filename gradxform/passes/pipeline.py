"""The passes in their order, and how they are run: to a fixed point, within few rounds.

A pass takes a program and the vocabulary (operations by name) and returns a program with the same inputs and outputs,
the same object if it found nothing to do. Passes know operations by name only; their caller hands them the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from gradxform.config import config
from gradxform.data_class import data_class
from gradxform.ir import Equation, Program, check
from gradxform.passes.basis import remove_basis
from gradxform.passes.complex_pairs import split_complex
from gradxform.passes.cse import share
from gradxform.passes.dead import remove_dead
from gradxform.passes.early_sums import early_sums
from gradxform.passes.fold import fold_constants
from gradxform.passes.hoist_products import hoist_products
from gradxform.passes.inline import inline
from gradxform.passes.loops_fuse import fuse
from gradxform.passes.loops_hoist import hoist
from gradxform.passes.loops_unite import unite
from gradxform.passes.loops_unroll import unroll
from gradxform.passes.merge import merge_pieces
from gradxform.passes.narrow_products import narrow_products
from gradxform.passes.piecewise_stores import write_pieces
from gradxform.passes.rewriting import Vocabulary
from gradxform.passes.simplify import simplify
from gradxform.passes.small_matrices import write_small_matrices
from gradxform.passes.upright_products import upright_products

Pass = Callable[[Program, Vocabulary], Program]

PASSES: tuple[tuple[str, Pass, str], ...] = (
    ("inline", inline, "put the equations of called programs in the places of the calls"),
    ("dead", remove_dead, "remove equations that no output needs"),
    ("small", write_small_matrices, "write linear algebra of small matrices out, element by element"),
    ("fold", fold_constants, "evaluate equations on literals"),
    ("simplify", simplify, "apply algebraic rules that are numerically safe"),
    ("cse", share, "compute common subexpressions once"),
    ("narrow", narrow_products, "compute only the part of a product that is used"),
    ("basis", remove_basis, "replace arithmetic on unit vectors by the one element that is not zero"),
    ("upright", upright_products, "compute operands of products the way round in which the arrays behind them lie"),
    ("early", early_sums, "take sums that wait for others over the same elements of what is known before"),
    ("merge", merge_pieces, "make concatenations of sums of padded pieces"),
    ("unroll", unroll, "put loops of at most one iteration, and branches that are known, into the program"),
    ("fuse", fuse, "make one loop of two that walk together"),
    ("unite", unite, "carry once what is equal in every iteration"),
    ("hoist", hoist, "compute in front of a loop what is the same in every iteration"),
    ("products", hoist_products, "multiply all elements of a loop by its constants at once"),
    ("dead", remove_dead, "remove equations that no output needs"),
)

#: One round finds nearly everything; a second one what merging and the basis have exposed.
MAX_ROUNDS = 3


@data_class(frozen=True, slots=True, eq=False)
class PassRecord:
    """One application of one pass that changed something.

    ``round`` counts from 1; it is 0 for what is done once, before all rounds or after them. ``within`` holds the names of the
    equations, from the outside in, whose inner program it is: () for the program itself. Programs within equations have records
    of their own, so ``before`` need not be the ``after`` of the record in front of it.
    """

    name: str
    purpose: str
    round: int
    within: tuple[str, ...]
    before: Program
    after: Program
    seconds: float


Observer = Callable[[PassRecord], object]


def optimise(program: Program, vocabulary: Vocabulary, observe: Observer | None = None) -> Program:
    """``program`` after all passes, programs within its equations included; inputs and outputs keep their places.

    Complex ones are real arrays of the same memory from here on; see complex_pairs. ``observe`` is told of each application of
    a pass that changed something.
    """
    run = _Run(vocabulary, observe)
    split = run.apply("complex", split_complex, "split complex numbers into pairs of real ones", program)
    return run.apply("pieces", write_pieces, "write concatenations of many single elements by stores", run.optimised(split))


class _Run:
    """One run of all passes. ``done`` are the programs that are optimised, with what became of them."""

    def __init__(self, vocabulary: Vocabulary, observe: Observer | None) -> None:
        self.vocabulary = vocabulary
        self.observe = observe
        self.verify = config.snapshot().verify_ir
        self.done: dict[Program, Program] = {}
        self.within: tuple[str, ...] = ()

    def apply(self, name: str, apply: Pass, purpose: str, program: Program, number: int = 0) -> Program:
        begin = perf_counter()
        after = apply(program, self.vocabulary)
        if after is not program:
            if self.observe is not None:
                self.observe(PassRecord(name, purpose, number, self.within, program, after, perf_counter() - begin))
            if self.verify:
                check(after, f"after pass {name}")
        return after

    def optimised(self, program: Program) -> Program:
        found = self.done.get(program)
        if found is not None:
            return found
        current = program
        finished: dict[Pass, Program] = {}  # the program in which a pass has found nothing to do
        for number in range(1, MAX_ROUNDS + 1):
            before = current
            for name, apply, purpose in PASSES:
                if finished.get(apply) is current:
                    continue
                after = self.apply(name, apply, purpose, current, number)
                if name == "inline":
                    # Loops exchange equations with what stands around them: their programs should be simple by then.
                    after = self.with_inner(after)
                if after is current:
                    finished[apply] = current
                current = after
            if current is before:
                break
        current = self.with_inner(current)
        self.done[program] = self.done[current] = current
        return current

    def with_inner(self, program: Program) -> Program:
        """``program`` with the programs among the parameters of its equations optimised too."""

        def visit(value: object) -> object:
            if isinstance(value, Program):
                return self.optimised(value)
            if isinstance(value, tuple):
                parts = tuple([visit(part) for part in value])
                return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
            return value

        outside = self.within
        equations: list[Equation] = []
        changed = False
        for equation in program.equations:
            params = equation.params
            for _, value in params:
                if isinstance(value, (Program, tuple)):
                    self.within = (*outside, equation.operation.name)
                    visited = tuple([(name, visit(part)) for name, part in params])
                    if any(a[1] is not b[1] for a, b in zip(visited, params, strict=True)):
                        equation = Equation(
                            equation.operation, equation.inputs, visited, equation.outputs, equation.source)
                        changed = True
                    break
            equations.append(equation)
        self.within = outside
        if not changed:
            return program
        after = Program(program.inputs, tuple(equations), program.outputs, program.name)
        return check(after, "after passes within its equations") if self.verify else after


def describe() -> str:
    """The passes in their order, one a line."""
    width = max(len(name) for name, _, _ in PASSES)
    return "\n".join(f"{number}. {name:{width}}  {purpose}" for number, (name, _, purpose) in enumerate(PASSES, 1))
