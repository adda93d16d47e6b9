"""What `jit(f).lower(*args)` gives: a function at every stage of the road to native code."""

from __future__ import annotations

from functools import cached_property

from gradxform.backend.compile import assembly
from gradxform.backend.generation import kernel_of, module_text, tier_of
from gradxform.backend.journal import Journal
from gradxform.backend.signature import EntrySpec
from gradxform.data_class import data_class
from gradxform.ir import Program
from gradxform.ir.highlighting import notebook_html
from gradxform.loopir.loops import Kernel
from gradxform.passes import PassRecord, optimise
from gradxform.primitives import ROSTER


def optimised(program: Program) -> Program:
    """``program`` after all passes."""
    return optimise(program, ROSTER)


@data_class(frozen=True, slots=True)
class Cost:
    """What a kernel is estimated to take: nanoseconds on one core, and the bytes of its parts."""

    nanoseconds: float
    input_bytes: int
    output_bytes: int
    arena_bytes: int


class Lowered:
    """A function traced for given arguments, at every stage of the road to native code."""

    def __init__(self, program: Program, spec: EntrySpec) -> None:
        self.program = program
        self._spec = spec

    @cached_property
    def _optimised(self) -> tuple[Program, tuple[PassRecord, ...]]:
        records: list[PassRecord] = []
        return optimise(self.program, ROSTER, records.append), tuple(records)

    @property
    def optimized(self) -> Program:
        """The program after all passes."""
        return self._optimised[0]

    @property
    def passes(self) -> tuple[PassRecord, ...]:
        """What the passes have changed, one application of one pass after the other."""
        return self._optimised[1]

    @cached_property
    def _scheduled(self) -> tuple[Kernel, Journal]:
        journal = Journal()
        return kernel_of(self.optimized, journal), journal

    @property
    def loops(self) -> Kernel:
        """The kernel: which loops compute what, and where values are stored."""
        return self._scheduled[0]

    @property
    def journal(self) -> Journal:
        """What was decided about each value of the optimised program: how it is computed, where it lies, and why."""
        return self._scheduled[1]

    @cached_property
    def llvm(self) -> str:
        """The LLVM text of the kernel and its entry point, as emitted."""
        return module_text(self.loops, self._spec)[0]

    @cached_property
    def assembly(self) -> str:
        """The machine code, as assembly text."""
        return assembly(self.llvm, tier_of(self.loops))

    @property
    def cost(self) -> Cost:
        """Estimated time and bytes."""
        kernel = self.loops
        return Cost(kernel.work, sum(b.nbytes for b in kernel.inputs), sum(b.nbytes for b in kernel.outputs),
                    kernel.arena_bytes)

    def __repr__(self) -> str:
        return f"Lowered({self.program})"

    def _repr_html_(self) -> str:
        stages = (("As traced", self.program), ("Optimised", self.optimized), ("Loops", self.loops))
        return "".join([f"<b>{title}</b>{notebook_html(str(stage))}" for title, stage in stages])
