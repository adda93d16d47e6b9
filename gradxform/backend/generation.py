"""An optimised program -> the text of its module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradxform.backend.alike import once
from gradxform.backend.carried import carry_kernel
from gradxform.backend.compile import Tier
from gradxform.backend.emit import emit_kernel
from gradxform.backend.entry import emit_entry
from gradxform.backend.fission import fission_kernel
from gradxform.backend.fork_text import has_fork, own_locals
from gradxform.backend.halos import join_neighbours
from gradxform.backend.hoist_indices import hoist_indices
from gradxform.backend.jam import jam_kernel
from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.module import Module
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.backend.points import single_out
from gradxform.backend.ranges import cut_kernel
from gradxform.backend.runs import gather_runs
from gradxform.backend.several_rows import join_rows
from gradxform.backend.signature import EntrySpec
from gradxform.backend.split import split_kernel, weight
from gradxform.backend.strip import strip_kernel
from gradxform.backend.unroll import unroll_kernel
from gradxform.config import config
from gradxform.ir import Program
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.loops import Contract, For, Kernel, Native, Statement, While, bodies

if TYPE_CHECKING:
    from gradxform.backend.metering import Meter

#: Code of more statements than this that runs for fewer nanoseconds is not worth the whole pipeline.
LONG_STATEMENTS = 1_500
LONG_WORK = 1_000_000.0
#: Loops that run for fewer nanoseconds get the lighter pipeline.
SHORT_WORK = 1_000.0


def kernel_of(program: Program, journal: Journal | None = None) -> Kernel:
    """The loops of an optimised program; what was decided on the way is told to ``journal``."""
    told = journal if journal is not None else SILENT

    def parted(kernel: Kernel) -> Kernel:
        kernel = unroll_kernel(gather_runs(hoist_indices(kernel)))
        return fission_kernel(strip_kernel(kernel, told), told)

    def finished(kernel: Kernel) -> Kernel:
        kernel = join_rows(jam_kernel(split_kernel(single_out(cut_kernel(kernel)), told)))
        return own_locals(carry_kernel(kernel))

    kernel = once(build_kernel(lower_program(program, told), told), parted, told)
    kernel = once(join_neighbours(kernel, told), finished, told)
    told.finish(kernel)
    return check_kernel(kernel) if config.verify_ir else kernel


def tier_of(kernel: Kernel) -> Tier:
    """Kernels with loops get the whole pipeline; straight-line code, and long code with little work, a short one."""
    def has_loop(statements: Sequence[Statement]) -> bool:
        return any(isinstance(s, (Contract, For, Native, While)) or any(map(has_loop, bodies(s))) for s in statements)

    if sum(weight(n.body) for n in kernel.nests if n.like is None) > LONG_STATEMENTS and kernel.work < LONG_WORK:
        return Tier.STRAIGHT
    if not any(n.chunks or has_loop(n.body) for n in kernel.nests):
        return Tier.STRAIGHT
    return Tier.SHORT_LOOPS if kernel.work < SHORT_WORK else Tier.LOOPS


def finish_spec(spec: EntrySpec, kernel: Kernel) -> EntrySpec:
    """The specification with what the kernel needs: its arena, and whether its work is worth releasing the GIL."""
    parallel = any(nest.chunks or any(map(has_fork, nest.body)) for nest in kernel.nests)
    release = parallel or kernel.work > config.release_gil_threshold
    return replace(spec, arena_bytes=kernel.arena_bytes, release_gil=release)


def module_text(kernel: Kernel, spec: EntrySpec, meter: Meter | None = None) -> tuple[str, Module]:
    """The text of the whole module, kernel and entry point, and the record of what it imports and checks."""
    text, module = emit_kernel(kernel, meter, spec.fast_math)
    return f"{text}\n{emit_entry(finish_spec(spec, kernel))}", module
