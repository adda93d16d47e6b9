"""What a call costs beside its kernel: `python -m bench.call_overhead`.

The kernels do next to nothing (an addition), so the figures are those of the entry point: checking arguments, walking
structures, allocating and building results. Each is the shortest of several samples, and is given in terms of
``np.sin`` on 8 doubles as well, measured in turns with the rest, since absolute times differ between machines and
hours.
"""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

REFERENCE = "np.sin on 8 doubles"


@dataclass(frozen=True, slots=True)
class Case:
    """One call to be timed, and the figure promised for it in nanoseconds, if there is one."""

    name: str
    statement: Callable[..., Any]
    arguments: tuple[Any, ...]
    promise: float | None = None


def _scale_kernel(count: int, size: int) -> str:
    """Output i is twice input i, ``size`` doubles each."""
    lines = []
    for i in range(count):
        lines.append(f"""
  %input.field.{i} = getelementptr ptr, ptr %inputs, i64 {i}
  %input.{i} = load ptr, ptr %input.field.{i}
  %output.field.{i} = getelementptr ptr, ptr %outputs, i64 {i}
  %output.{i} = load ptr, ptr %output.field.{i}
  %value.{i} = load <{size} x double>, ptr %input.{i}, align 8
  %twice.{i} = fadd <{size} x double> %value.{i}, %value.{i}
  store <{size} x double> %twice.{i}, ptr %output.{i}, align 8""")
    return (
        f"define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena) {{{''.join(lines)}\n  ret i64 0\n}}\n"
    )


_PAIR_KERNEL = """define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena) {
  %input = load ptr, ptr %inputs
  %value = load double, ptr %input
  %square = fmul double %value, %value
  %first = load ptr, ptr %outputs
  store double %square, ptr %first
  %second.field = getelementptr ptr, ptr %outputs, i64 1
  %second = load ptr, ptr %second.field
  %twice = fadd double %value, %value
  store double %twice, ptr %second
  ret i64 0
}
"""


def _link(function: Any, spec: Any, kernel: str, inline_kernel: bool = False) -> None:
    from gradxform.backend.compile import Tier, compile_text, load
    from gradxform.backend.entry import CELL_SYMBOL, ENTRY_SYMBOL, emit_entry, entry_imports

    def raiser(status: int) -> None:
        raise IndexError(status)

    code = compile_text(emit_entry(spec, inline_kernel=inline_kernel) + kernel, Tier.STRAIGHT)
    loaded = load(code, entry_imports(spec, {}, (), raiser), (ENTRY_SYMBOL, CELL_SYMBOL))
    function.link(loaded.address(ENTRY_SYMBOL), loaded.address(CELL_SYMBOL), (loaded, spec, raiser))


def cases() -> Sequence[Case]:
    """Compiles what is measured."""
    from gradxform.backend.callable import NativeCallable
    from gradxform.backend.signature import (
        ArrayLeaf,
        DictNode,
        EntrySpec,
        ListNode,
        Node,
        OutputLeaf,
        ScalarLeaf,
        TupleNode,
    )

    def native(*parts: tuple[EntrySpec, str], inline_kernel: bool = False) -> NativeCallable:
        function: NativeCallable = NativeCallable()
        for spec, kernel in parts:
            _link(function, spec, kernel, inline_kernel)
        return function

    float64 = np.dtype(np.float64)

    def vector(size: int) -> tuple[EntrySpec, str]:
        array, output = ArrayLeaf(float64, (size,)), OutputLeaf(float64, (size,))
        return EntrySpec((array,), (), output), _scale_kernel(1, size)

    def tree(leaf: Node) -> Node:
        pair = TupleNode((leaf, leaf))
        inner = DictNode(("scale", "shift"), (leaf, pair))
        return DictNode(("layers", "bias", "rest"), (ListNode((pair, pair, pair)), leaf, inner))

    scalar = OutputLeaf(float64, ())
    pair = EntrySpec((ScalarLeaf("float"),), (), TupleNode((scalar, scalar))), _PAIR_KERNEL
    nested = EntrySpec((tree(ArrayLeaf(float64, (8,))),), (), tree(OutputLeaf(float64, (8,)))), _scale_kernel(10, 8)
    released = replace(vector(8)[0], release_gil=True), vector(8)[1]
    x = np.arange(8.0)
    tree_of_arrays = {"layers": [(x, x), (x, x), (x, x)], "bias": x, "rest": {"scale": x, "shift": (x, x)}}
    return (
        Case(REFERENCE, np.sin, (x,)),
        Case("np.empty(8)", np.empty, (8,)),
        Case("8 doubles in and out", native(vector(8)), (x,), 120.0),
        Case("the same, kernel inlined", native(vector(8), inline_kernel=True), (x,)),
        Case("the same, last of a chain of 4", native(*map(vector, (8, 7, 6, 5))), (x,)),
        Case("the same, GIL released", native(released), (x,)),
        Case("float in, pair of float64 out", native(pair), (1.5,), 150.0),
        Case("the same, kernel inlined", native(pair, inline_kernel=True), (1.5,)),
        Case("nested dict, list, tuple of 10 arrays", native(nested), (tree_of_arrays,), 1500.0),
    )


def measure(measured: Sequence[Case], rounds: int, seconds: float) -> list[float]:
    """The shortest time of each call in nanoseconds, the cases taking turns."""
    best = [float("inf")] * len(measured)
    timers, numbers = [], []
    for case in measured:
        names = [f"a{k}" for k in range(len(case.arguments))]
        # Names that are local to the timed loop, as they are in a function of a user's.
        setup = "f = case.statement; " + "".join(f"{name} = case.arguments[{k}]; " for k, name in enumerate(names))
        timer = timeit.Timer(f"f({', '.join(names)})", setup, globals={"case": case})
        timers.append(timer)
        numbers.append(max(1, int(seconds / (timer.timeit(1000) / 1000))))
    for _ in range(rounds):
        for k, (timer, number) in enumerate(zip(timers, numbers, strict=True)):
            best[k] = min(best[k], timer.timeit(number) / number * 1e9)
    return best


def main() -> int:
    """Measures and prints; with ``--json``, for machines."""
    parser = argparse.ArgumentParser(prog="python -m bench.call_overhead", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="samples of each case")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a sample")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    measured = cases()
    times = measure(measured, options.rounds, options.seconds)
    if options.json:
        rows = [{"name": c.name, "nanoseconds": t, "promise": c.promise} for c, t in zip(measured, times, strict=True)]
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'call':<40}{'ns':>8}{'of np.sin':>12}")
    for case, time in zip(measured, times, strict=True):
        verdict = ""
        if case.promise is not None:
            verdict = f"  {'kept' if time <= case.promise else 'MISSED'}: {case.promise:.0f} ns"
        print(f"{case.name:<40}{time:>8.1f}{time / times[0]:>12.2f}{verdict}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
