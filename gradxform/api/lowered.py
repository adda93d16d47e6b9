"""What `jit(f).lower(*args)` gives: a function at every stage of the road to native code."""

from __future__ import annotations

from functools import cached_property

from gradxform.backend.compile import assembly
from gradxform.backend.generation import kernel_of, module_text, tier_of
from gradxform.backend.signature import EntrySpec
from gradxform.data_class import data_class
from gradxform.ir import Program
from gradxform.loopir.loops import Kernel
from gradxform.passes import optimise
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
    def optimized(self) -> Program:
        """The program after all passes."""
        return optimised(self.program)

    @cached_property
    def loops(self) -> Kernel:
        """The kernel: which loops compute what, and where values are stored."""
        return kernel_of(self.optimized)

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
