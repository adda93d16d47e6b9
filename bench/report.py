"""Turns what was measured into text: a table for each workload, and the summary of a run."""

from __future__ import annotations

from collections.abc import Sequence

from bench import scaling, summary
from bench.probes import Probe
from bench.record import Record, promises
from bench.runner import Measurement
from bench.summary import Outcome


def duration(seconds: float) -> str:
    """Write a time with three digits and a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 1000 else f"{seconds * scale:.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def amount(count: float) -> str:
    """Write bytes with three digits and a fitting unit."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"


def table(outcome: Outcome) -> str:
    """Write a workload's figures: median, minimum, and the median in terms of the first contender's; probes; promises."""
    workload = outcome.workload
    lines = [f"{workload.name}: {workload.title}"]
    for size in workload.every_size:
        here = [m for m in outcome.measurements if m.size == size]
        reference = next((m for m in here if m.samples), None)
        if len(workload.every_size) > 1:
            lines.append(f"  size {size:,}")
        lines += [row(m, reference) for m in here]
    lines += [told(probe) for probe in outcome.probes]
    for promise in promises(workload, outcome.measurements):
        bound = f"≤ {promise['at_most']:g}" if promise["at_most"] is not None else f"≥ {promise['at_least']:g}"
        if promise["value"] is None:
            lines.append(f"  - {promise['promise']} {bound}: not measured")
        else:
            verdict = "kept" if promise["kept"] else "MISSED"
            lines.append(f"  - {promise['promise']} {bound}: {promise['value']:.3g}, {verdict}")
    return "\n".join(lines)


def row(m: Measurement, reference: Measurement | None) -> str:
    """Write the line of one contender at one size."""
    if not m.samples or reference is None:
        return f"    {m.contender:<28}{'FAILED: ' + m.failed if m.failed else f'skipped: {m.skipped}'}"
    return (
        f"    {m.contender:<28}{duration(m.median):>10}   min {duration(m.minimum):>9}"
        f"   {m.median / reference.median:>9.3g} x   ({len(m.samples)} samples)"
    )


def told(probe: Probe) -> str:
    """Write the first calls and the memory of one contender."""
    if probe.failed or not probe.cold:
        return f"  {probe.contender}, first call: FAILED: {probe.failed}"
    text = f"  {probe.contender}, first call of size {probe.size:,}: {duration(probe.cold_median)} cold, "
    text += f"{duration(probe.warm_median)} warm"
    if (memory := probe.memory) is not None:
        held = memory.inputs + memory.outputs
        text += f"; {amount(max(0, memory.beyond))} beyond {amount(held)} of operands and results of size {memory.size:,}"
    return text


def summary_lines(record: Record) -> list[summary.Line]:
    """Hold a record against all that the project promises over the whole; threads alone if nothing else was measured."""
    alone = bool(record.scaled) and not record.outcomes
    over_all = [] if alone else summary.promised(record.outcomes)
    return over_all + scaling.promised(record.scaled, record.limits) + ([] if alone else summary.compared(record.outcomes))


def summary_text(record: Record) -> str:
    """Write the summary of a run, and what failed in it."""
    lines = ["summary", *(f"  - {line}" for line in summary_lines(record))]
    if record.limits is not None:
        limits = record.limits
        lines.append(
            f"  this machine, {limits.threads} threads: triad {limits.bandwidth / 1e9:.3g} GB/s, multiply-add"
            f" {limits.float64 / 1e9:.3g} Gflop/s float64, {limits.float32 / 1e9:.3g} Gflop/s float32"
        )
    lines += [f"  FAILED: {failure}" for failure in failures(record.outcomes)]
    return "\n".join(lines)


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """List what gave a wrong result or none."""
    wrong = [
        f"{m.workload}, {m.contender}, {m.size:,}: {m.failed}" for o in outcomes for m in o.measurements if m.failed
    ]
    return wrong + [f"{p.workload}, {p.contender}, first call: {p.failed}" for o in outcomes for p in o.probes if p.failed]
