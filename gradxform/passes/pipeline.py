"""The passes in their order, and how they are run: to a fixed point, within few rounds.

A pass takes a program and the vocabulary (operations by name) and returns a program with the same inputs and outputs,
the same object if it found nothing to do. Passes know operations by name only; their caller hands them the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

from gradxform.config import config
from gradxform.ir import Equation, Program, check
from gradxform.passes.basis import remove_basis
from gradxform.passes.complex_pairs import split_complex
from gradxform.passes.cse import share
from gradxform.passes.dead import remove_dead
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


def optimise(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` after all passes, programs within its equations included; inputs and outputs keep their places.

    Complex ones are real arrays of the same memory from here on; see complex_pairs.
    """
    verify = config.snapshot().verify_ir
    split = split_complex(program, vocabulary)
    if verify and split is not program:
        check(split, "after complex numbers became pairs")
    written = write_pieces(_optimised(split, vocabulary, {}, verify), vocabulary)
    if verify:
        check(written, "after pieces became stores")
    return written


def _optimised(program: Program, vocabulary: Vocabulary, done: dict[Program, Program], verify: bool) -> Program:
    found = done.get(program)
    if found is not None:
        return found
    current = program
    finished: dict[Pass, Program] = {}  # the program in which a pass has found nothing to do
    for _ in range(MAX_ROUNDS):
        before = current
        for name, apply, _ in PASSES:
            if finished.get(apply) is current:
                continue
            after = apply(current, vocabulary)
            if name == "inline":
                # Loops exchange equations with what stands around them: their programs should be simple by then.
                after = _with_inner(after, vocabulary, done, verify)
            if after is current:
                finished[apply] = current
            elif verify:
                check(after, f"after pass {name}")
            current = after
        if current is before:
            break
    current = _with_inner(current, vocabulary, done, verify)
    done[program] = done[current] = current
    return current


def _with_inner(program: Program, vocabulary: Vocabulary, done: dict[Program, Program], verify: bool) -> Program:
    """``program`` with the programs among the parameters of its equations optimised too."""

    def visit(value: object) -> object:
        if isinstance(value, Program):
            return _optimised(value, vocabulary, done, verify)
        if isinstance(value, tuple):
            parts = tuple([visit(part) for part in value])
            return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
        return value

    equations: list[Equation] = []
    changed = False
    for equation in program.equations:
        params = equation.params
        for _, value in params:
            if isinstance(value, (Program, tuple)):
                visited = tuple([(name, visit(part)) for name, part in params])
                if any(a[1] is not b[1] for a, b in zip(visited, params, strict=True)):
                    equation = Equation(
                        equation.operation, equation.inputs, visited, equation.outputs, equation.source)
                    changed = True
                break
        equations.append(equation)
    return Program(program.inputs, tuple(equations), program.outputs, program.name) if changed else program


def describe() -> str:
    """The passes in their order, one a line."""
    width = max(len(name) for name, _, _ in PASSES)
    return "\n".join(f"{number}. {name:{width}}  {purpose}" for number, (name, _, purpose) in enumerate(PASSES, 1))
