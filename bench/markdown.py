"""Writes a run as a page of the documentation: the machine, the promises, and a row for each workload and size."""

from __future__ import annotations

from collections.abc import Sequence

from bench.record import Record
from bench.report import amount, duration, summary_lines
from bench.summary import Outcome, standings
from bench.workloads import GROUPS

HEADER = (
    "| workload | size | gradxform | best peer | ahead of it by | ahead of JAX by | over C++ | first call | temporaries |\n"
    "|---|---:|---:|---|---:|---:|---:|---|---|"
)


def page(record: Record) -> str:
    """Write the whole page."""
    about = record.machine
    packages = about["packages"]
    assert isinstance(packages, dict)
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version and name != "gradxform")
    threads = "one thread" if about["threads"] == 1 else f"{about['threads']} threads"
    parts = [
        f"# Benchmarks on {threads}",
        "`python -m bench --markdown` writes this page; what is measured, and how, stands in `bench/README.md`. Times are"
        " medians of one run, in which all contenders took turns on the same cores with the same number of threads.",
        f"{about['processor']}, {threads}, {str(about['time'])[:10]}; {about['g++']}; Python"
        f" {about['python']}; {versions}.",
        "## What is promised",
        promised(record),
        "## Workloads",
        "A ratio above 1 in the columns *ahead* is a peer's time in terms of ours; *over C++* is ours in terms of hand-written"
        " C++. A first call is one of the smallest size in a fresh process, with nothing on disk (cold) or with what an earlier"
        " process left there (warm). Temporaries are by how much a call of the largest size raises the peak of memory beyond"
        " operands and results; where those are small, it is mostly what the allocator rounds up to.",
        *(group(name, [o for o in record.outcomes if o.workload.name in names]) for name, names in GROUPS.items()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def promised(record: Record) -> str:
    """Write the table of promises."""
    rows = ["| promise | bound | measured | |", "|---|---:|---:|---|"]
    for line in summary_lines(record):
        value = "" if line.value is None else f"{line.value:.3g}"
        verdict = f"**missed** {line.note}".strip() if line.kept is False else line.verdict
        rows.append(f"| {line.text} | {line.bound} | {value} | {verdict} |")
    return "\n".join(rows)


def group(name: str, outcomes: Sequence[Outcome]) -> str:
    """Write the table of a group of workloads; nothing if none of them has a row."""
    rows = [row for outcome in outcomes for row in table(outcome)]
    return "\n".join([f"### {name.capitalize()}", "", HEADER, *rows]) if rows else ""


def table(outcome: Outcome) -> list[str]:
    """Write a row for each size; the first has the name and the first calls, the last the memory."""
    found = standings(outcome)
    rows = []
    for position, standing in enumerate(found):
        cells = [
            f"`{standing.workload}`" if position == 0 else "",
            f"{standing.size:,}",
            duration(standing.seconds),
            standing.peer or "",
            *("" if ratio is None else f"{ratio:.3g}" for ratio in (standing.ratio, standing.jax, standing.native)),
            first_calls(outcome) if position == 0 else "",
            temporaries(outcome) if position == len(found) - 1 else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def first_calls(outcome: Outcome) -> str:
    """Write the first calls, JAX's in brackets."""
    ours, theirs = outcome.probe(ours=True), outcome.probe(ours=False)
    if ours is None:
        return ""
    jax = ("", "") if theirs is None else (f" (JAX {duration(s)})" for s in (theirs.cold_median, theirs.warm_median))
    cold, warm = jax
    return f"cold {duration(ours.cold_median)}{cold}, warm {duration(ours.warm_median)}{warm}"


def temporaries(outcome: Outcome) -> str:
    """Write the memory of temporaries beside that of operands and results, JAX's in brackets."""
    ours, theirs = outcome.probe(ours=True), outcome.probe(ours=False)
    if ours is None or ours.memory is None:
        return ""
    beside = "" if theirs is None or theirs.memory is None else f" (JAX {amount(max(0, theirs.memory.beyond))})"
    held = amount(ours.memory.inputs + ours.memory.outputs)
    return f"{amount(max(0, ours.memory.beyond))}{beside} beside {held}"
