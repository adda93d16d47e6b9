"""An explanation as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from gradxform.ir import Program, Var, programs_in
from gradxform.ir.printer import equation_text, type_text
from gradxform.loopir.counting import Estimate, Span
from gradxform.loopir.loops import Buffer, Statement
from gradxform.loopir.printer import buffer_text, nest_head, nest_lines
from gradxform.passes import PassRecord
from gradxform.quantities import count, duration, percentage, plural, scaled

if TYPE_CHECKING:
    from gradxform.window.explanation import Explanation, Passes

Row = Sequence[str]


def table(rows: Sequence[Row], right: Iterable[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns; those of ``right`` are flush right.

    >>> print("\\n".join(table([["a", "1"], ["bcd", "10"]], right=[1])))
    a     1
    bcd  10
    """
    flush = set(right)
    columns = max(map(len, rows), default=0)
    widths = [max((len(row[column]) for row in rows if column < len(row)), default=0) for column in range(columns)]
    return ["  ".join([cell.rjust(widths[column]) if column in flush else cell.ljust(widths[column])
                       for column, cell in enumerate(row)]).rstrip() for row in rows]


def indented(text: str, by: str = "  ") -> list[str]:
    return [(by + line).rstrip() for line in text.split("\n")]


# --------------------------------------------------------------------------------------------- what text and page share


def call_text(explanation: Explanation) -> str:
    """``loss(w=f64[3], x=f64[100,3])``."""
    return f"{explanation.name}({', '.join([f'{a.name}={a.text}' for a in explanation.arguments])})"


def figures(explanation: Explanation) -> list[tuple[str, str]]:
    """The key figures and what they are."""
    before, after = len(explanation.program.equations), len(explanation.optimized.equations)
    kernel, measured, total = explanation.loops, explanation.measurement, explanation.total
    found = []
    if measured is not None:
        found.append((duration(measured.call_seconds), f"per call, median of {measured.calls} on "
                                                       f"{plural(measured.threads, 'thread')}"))
    found.append((duration(explanation.cost.nanoseconds * 1e-9), "estimated, on one core"))
    found.append((f"{before} -> {after}" if before != after else str(after), "equations"))
    found.append((str(len(kernel.nests)), "nest" if len(kernel.nests) == 1 else "nests"))
    if measured is not None:
        done = [measured.spans[span.number].executed for span in explanation.nest_spans]
        flops, calls, how = sum(one.flops for one in done), sum(one.elementary_calls for one in done), "executed"
    else:
        flops, calls = total.flops, total.elementary_calls
        how = "estimated, with assumed iterations" if total.assumed else "estimated"
    found.append((scaled(flops, "flop"), how))
    if calls:
        found.append((count(calls), "elementary calls"))
    found.append((scaled(kernel.arena_bytes, "B"), "arena"))
    return found


def pass_title(record: PassRecord) -> str:
    within = f" in {' in '.join(reversed(record.within))}" if record.within else ""
    return f"{record.name}{within}"


def pass_effect(record: PassRecord) -> str:
    before, after = len(record.before.equations), len(record.after.equations)
    return f"{before} -> {after}" if before != after else f"{after}"


def program_lines(program: Program, explanation: Explanation) -> list[str]:
    """A program with a line for each equation, however few there are: so that differences are those of equations."""
    names = explanation.names
    inputs = "".join([f"{names(var)}:{type_text(var.type)} " for var in program.inputs])
    body = [f"    {line}" for equation in program.equations for line in equation_text(equation, names).split("\n")]
    return [f"{{ lambda {inputs}. let", *body, f"  in ({', '.join(map(names, program.outputs))}) }}"]


#: Unchanged lines that are shown around changed ones.
CONTEXT = 1


def difference(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    """The changed lines with those around them; each has a mark: ``-``, ``+``, a space, or ``~`` for lines left out."""
    found: list[tuple[str, str]] = []
    last = 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT):
        if group[0][1] > last:
            found.append(("~", f"{group[0][1] - last} lines"))
        for tag, i, j, k, m in group:
            if tag == "equal":
                found += [(" ", line) for line in before[i:j]]
            else:
                found += [("-", line) for line in before[i:j]]
                found += [("+", line) for line in after[k:m]]
        last = group[-1][2]
    if found and last < len(before):
        found.append(("~", f"{len(before) - last} lines"))
    return found


def pass_difference(record: PassRecord, explanation: Explanation) -> list[tuple[str, str]]:
    return difference(program_lines(record.before, explanation), program_lines(record.after, explanation))


def nest_title(explanation: Explanation, nest: int) -> str:
    """``nest 0 computes a, b, c: 12 us, 40 %``."""
    return f"nest {nest} {explanation.purpose(nest)}: {nest_time(explanation, nest)}"


def nest_keeps(explanation: Explanation, nest: int) -> str:
    """``keeps p in t1; z in out1``: where values lie that a nest leaves for others; empty if it leaves none."""
    own = set(explanation.computes(nest))
    found = []
    for place in explanation.writes(nest):
        names = [name for name in explanation.held.get(place, ()) if name in own]
        if names:
            found.append(f"{', '.join(names)} in {place}")
    return f"keeps {'; '.join(found)}" if found else ""


def nest_text(explanation: Explanation, nest: int) -> list[str]:
    """The loops of a nest, each of its spans with its time."""
    notes: dict[Statement, str] = {}
    for span in explanation.spans:
        seconds = explanation.seconds(span) if span.nest == nest and span.statement is not None else None
        if span.statement is not None and seconds is not None:
            notes[span.statement] = f"{duration(seconds)}, {percentage(seconds, explanation.nest_seconds)}"
    return [nest_head(nest, explanation.loops.nests[nest]), *nest_lines(explanation.loops.nests[nest], notes)]


def nest_time(explanation: Explanation, nest: int) -> str:
    """``12 us, 40 %``, and whether that is an estimate."""
    seconds = explanation.seconds(explanation.nest_spans[nest]) or 0.0
    share = percentage(seconds, explanation.nest_seconds)
    return f"{duration(seconds)}, {share}" if explanation.measurement is not None else f"about {duration(seconds)}, {share}"


def variables_of(program: Program) -> list[Var]:
    """All variables that the equations of a program define, those of programs inside it included."""
    found: dict[Var, None] = {}
    for equation in program.equations:
        for _, value in equation.params:
            for inner in programs_in(value):
                found |= dict.fromkeys([*inner.inputs, *variables_of(inner)])
        found |= dict.fromkeys(equation.outputs)
    return list(found)


def decision_rows(explanation: Explanation) -> list[tuple[Var, str, str, str]]:
    """Variable, decision, place, reason: of all notes but those that say an input is one, in the order of the program."""
    rows: list[tuple[Var, str, str, str]] = []
    for var in variables_of(explanation.optimized):
        for note in explanation.notes.get(var, ()):
            rows.append((var, note.decision, note.place, note.reason))
    return rows


COST_HEAD = ("part", "flops", "flops (run)", "calls", "bytes", "time", "GFLOP/s", "GB/s", "share")
COST_RIGHT = range(1, 9)


def cost_rows(explanation: Explanation) -> list[tuple[Span | None, Row]]:
    """A row for each span, and what is left of a call. Cells of what was not measured are empty."""
    whole = explanation.nest_seconds
    rows: list[tuple[Span | None, Row]] = []
    for span, estimate in zip(explanation.spans, explanation.estimates, strict=True):
        measured = explanation.measurement.spans[span.number] if explanation.measurement is not None else None
        seconds = explanation.seconds(span)
        executed = measured.executed if measured is not None else estimate
        rows.append((span, (
            "  " * span.depth + span.label,
            _flops(estimate),
            _flops(measured.executed) if measured is not None else "",
            count(executed.elementary_calls) if executed.elementary_calls else "",
            scaled(executed.bytes_moved, "B"),
            "" if seconds is None else duration(seconds),
            _rate(executed.flops, seconds) if measured is not None else "",
            _rate(executed.bytes_moved, seconds) if measured is not None else "",
            "" if seconds is None else percentage(seconds, whole))))
    measurement = explanation.measurement
    if measurement is not None and measurement.call_seconds > 0:
        rest = measurement.call_seconds - whole
        if rest >= 0:
            rows.append((None, ("call and outputs", "", "", "", "", duration(rest))))
        rows.append((None, ("whole call", _flops(explanation.total), "", "", "", duration(measurement.call_seconds))))
    return rows


def cost_remarks(explanation: Explanation) -> list[str]:
    """What has to be said about the numbers of `cost_rows`."""
    found = []
    if any(estimate.assumed for estimate in explanation.estimates):
        found.append("? with numbers of iterations that are assumed, for the data decide them")
    measurement = explanation.measurement
    if measurement is not None and explanation.nest_seconds > measurement.call_seconds > 0:
        found.append(f"nests took {duration(explanation.nest_seconds)} together: they were measured in other calls than the "
                     "whole, some of which took longer")
    return found


def _flops(estimate: Estimate) -> str:
    if not estimate.flops:
        return ""
    return scaled(estimate.flops) + ("?" if estimate.assumed else "")


def _rate(amount: float, seconds: float | None) -> str:
    return f"{amount / seconds / 1e9:.3g}" if seconds and amount else ""


def memory_rows(explanation: Explanation) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """For inputs, outputs, the arena and tapes: a title, and for each buffer its type, bytes, place and what lies there."""
    kernel, program, names = explanation.loops, explanation.optimized, explanation.names
    held = explanation.held
    called = [f"the argument {name}" for name in explanation.input_names(captured=False)]
    called += [f"captured array {number}" for number in range(len(program.inputs) - len(called))]
    inputs = [(buffer_text(buffer), f"{buffer.nbytes:,} B", "", f"{names(var)}, {called[number]}")
              for number, (buffer, var) in enumerate(zip(kernel.inputs, program.inputs, strict=True))]
    outputs = [(buffer_text(buffer), f"{buffer.nbytes:,} B", "", ", ".join(held.get(buffer.name, ())))
               for buffer in kernel.outputs]
    arena = [(buffer_text(buffer), _arena_bytes(explanation, buffer), f"at {kernel.offsets.get(buffer.name, 0):,}",
              ", ".join(held.get(buffer.name, ())) or _auxiliary(buffer))
             for buffer in kernel.temporaries if buffer.space != "tape"]
    tapes = [(buffer_text(buffer), "grows", "", ", ".join(held.get(buffer.name, ())))
             for buffer in kernel.temporaries if buffer.space == "tape"]
    found = [
        (f"inputs: {_bytes(explanation.cost.input_bytes)}", inputs),
        (f"outputs: {_bytes(explanation.cost.output_bytes)}", outputs),
        (f"arena, the memory of one call: {_bytes(kernel.arena_bytes)}", arena)]
    return [*found, ("tapes, whose length the data decide", tapes)] if tapes else found


def _auxiliary(buffer: Buffer) -> str:
    if buffer.name == "workspace":
        return "workspace of products and routines"
    return "parts that chunks have found" if buffer.name.startswith("part") else ""


def _arena_bytes(explanation: Explanation, buffer: Buffer) -> str:
    kernel = explanation.loops
    size = kernel.arena_bytes - kernel.offsets[buffer.name] if buffer.name == "workspace" else buffer.nbytes
    return f"{size:,} B"


def _bytes(size: int) -> str:
    return f"{size:,} B" if size < 1000 else f"{size:,} B ({scaled(size, 'B')})"


# ------------------------------------------------------------------------------------------------------------- sections


def _called(explanation: Explanation) -> list[str]:
    rows = [["defined", str(explanation.source)]] if explanation.source else []
    if explanation.called is not None:
        rows.append(["explained", str(explanation.called)])
    rows += [[value, what] for value, what in figures(explanation)]
    if explanation.unmeasured:
        rows.append(["not measured", explanation.unmeasured])
    return table(rows)


def _passes(explanation: Explanation, passes: Passes) -> list[str]:
    if not explanation.passes:
        return ["none has found anything to do"]
    rows = [[pass_title(record), str(record.round or ""), pass_effect(record), record.purpose] for record in explanation.passes]
    lines = table([["pass", "round", "equations", "what it does"], *rows], right=[1, 2])
    if passes != "diff":
        return lines
    found = lines[:1]
    for line, record in zip(lines[1:], explanation.passes, strict=True):
        found.append(line)
        found += ["    " + (f"... {text}" if mark == "~" else f"{mark} {text}")
                  for mark, text in pass_difference(record, explanation)]
    return found


def _loops(explanation: Explanation) -> list[str]:
    kernel = explanation.loops
    lines = [f"kernel({', '.join(map(buffer_text, kernel.inputs))}) -> ({', '.join(map(buffer_text, kernel.outputs))})"]
    for number in range(len(kernel.nests)):
        lines += ["", f"# {nest_title(explanation, number)}"]
        kept = nest_keeps(explanation, number)
        lines += [f"# {kept}"] if kept else []
        lines += nest_text(explanation, number)
    return lines


def _decisions(explanation: Explanation) -> list[str]:
    rows = []
    last = None
    for var, decision, place, reason in decision_rows(explanation):
        name = f"{explanation.names(var)}:{type_text(var.type)}" if var is not last else ""
        rows.append([name, decision, place, reason])
        last = var
    return table(rows)


def _costs(explanation: Explanation) -> list[str]:
    rows = [COST_HEAD, *(row for _, row in cost_rows(explanation))]
    used = [column for column in range(len(COST_HEAD)) if any(column < len(row) and row[column] for row in rows[1:])]
    lines = table([[row[column] if column < len(row) else "" for column in used] for row in rows],
                  right=[place for place, column in enumerate(used) if column in COST_RIGHT])
    return lines + cost_remarks(explanation)


def _memory(explanation: Explanation) -> list[str]:
    lines: list[str] = []
    for title, rows in memory_rows(explanation):
        lines += [title, *indented("\n".join(table(rows, right=[1])))] if rows else [title]
    return lines


def explanation_text(explanation: Explanation, passes: Passes, assembly: bool) -> str:
    """The sections, one after the other."""
    traced, optimized = explanation.program, explanation.optimized
    sections = [
        (call_text(explanation), _called(explanation)),
        (f"As traced: {plural(len(traced.equations), 'equation')}", program_lines(traced, explanation))]
    if passes:
        sections.append((f"Passes: {plural(len(explanation.passes), 'application')} changed something",
                         _passes(explanation, passes)))
    sections += [
        (f"Optimised: {plural(len(optimized.equations), 'equation')}", program_lines(optimized, explanation)),
        (f"Loops: {plural(len(explanation.loops.nests), 'nest')}", _loops(explanation)),
        ("Decisions", _decisions(explanation)),
        ("Costs of one call", _costs(explanation)),
        ("Memory", _memory(explanation))]
    if assembly:
        sections.append(("Assembly", explanation.assembly.rstrip().split("\n")))
    lines: list[str] = []
    for title, body in sections:
        lines += ["", title, "-" * len(title), *(("  " + line).rstrip() for line in body)]
    return "\n".join(lines[1:])
