"""An explanation as one page of HTML that needs no other file and no network.

What the page says stands in it as HTML and, for the graph and the panel beside it, as JSON; whatever comes from the
user's program is escaped in the one and text in the other. The graph is drawn in the browser by Graphviz (assets/).
"""

from __future__ import annotations

import base64
import gzip
import json
import linecache
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gradxform.backend.journal import SPECIAL
from gradxform.data_class import data_class
from gradxform.ir import Equation, Program, Var, programs_in
from gradxform.ir.highlighting import highlighted
from gradxform.ir.printer import equation_text, type_text
from gradxform.quantities import count, duration, percentage, plural, scaled
from gradxform.window import text
from gradxform.window.graph import LARGE, Graph, Places, heat_level, nest_graphs, overview_graph, program_graph

if TYPE_CHECKING:
    from gradxform.window.explanation import Explanation

#: Programs of more equations are shown in parts only.
MOST_EQUATIONS = 1500
#: Longer texts of loops are cut in the panel; the section on loops has them whole.
PANEL_LINES = 80
#: Pixels that a page in a notebook is high.
FRAME_HEIGHT = 760

#: Decisions on values that no loop stores.
FLEETING = ("computed anew", "view")

_CLASSES = {kind: f'class="{kind[0]}"' for kind in ("comment", "type", "keyword", "number", "operation")}


@lru_cache
def _asset(name: str) -> str:
    return files("gradxform.window").joinpath("assets", name).read_text("utf-8")


@lru_cache
def _graphviz() -> str:
    """Graphviz for browsers, compressed: plain letters survive any editor, mail or notebook."""
    return base64.b64encode(gzip.compress(_asset("viz-global.js").encode(), mtime=0)).decode()


def _micro(shown: str) -> str:
    """Times with the unit's own letter, which terminals may lack."""
    return shown.replace(" us", " µs")


def _code(source: str) -> str:
    return f'<pre class="code">{highlighted(source, _CLASSES)}</pre>'


def embedded(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment.

    >>> embedded({"a": "</script><!--"})
    '{"a":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    found = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ----------------------------------------------------------------------------------------------------------- the graphs


@data_class(frozen=True, slots=True, eq=False)
class _Inner:
    """A program within an equation: what it is called, and its key."""

    key: str
    title: str
    program: Program
    parameter: str


class _Graphs:
    """All graphs of a page, and what the panel says about their nodes."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.names = explanation.names
        self.graphs: list[dict[str, Any]] = []
        self.details: dict[str, dict[str, Any]] = {}
        self.inner: dict[Equation, list[_Inner]] = {}
        self.places = self._places()
        inputs = explanation.input_names()
        program = explanation.optimized
        self.large = len(program.equations) > LARGE
        found = list(self._inner_programs(program, ""))
        if self.large:
            title = "Overview: one node for each nest"
            self._add("overview", "p0", overview_graph(title, program, self.names, self.places, inputs))
        if len(program.equations) <= MOST_EQUATIONS:
            self._add("p0", "p0", program_graph("The whole program, optimised", program, self.names, self.places, inputs))
        self._describe("p0", program, inputs)
        for inner in found:
            marks = Places(marks=self.places.marks, own_heats=self.places.own_heats)
            self._add(inner.key, inner.key, program_graph(inner.title, inner.program, self.names, marks))
            self._describe(inner.key, inner.program, ())
        traced = explanation.program
        if traced is not program and len(traced.equations) <= MOST_EQUATIONS:
            self._add("traced", "traced", program_graph("The program as traced", traced, self.names, Places(), inputs))
            self._describe("traced", traced, inputs)
        if self.large:
            for number, graph in nest_graphs(program, self.names, self.places).items():
                self._add(f"nest{number}", "p0", graph)

    def _add(self, key: str, program: str, graph: Graph) -> None:
        self.graphs.append({"id": key, "program": program, "title": graph.title, "slow": graph.slow, "dot": graph.dot()})

    def _places(self) -> Places:
        explanation = self.explanation
        seconds = [explanation.seconds(span) or 0.0 for span in explanation.nest_spans]
        hottest = max(seconds, default=0.0)
        marks = {}
        for var, notes in explanation.notes.items():
            decisions = [note.decision for note in notes]
            if any(decision in SPECIAL for decision in decisions):
                marks[var] = "special"
            elif all(decision in FLEETING for decision in decisions):
                marks[var] = "anew"
        labels = [f"nest {number}   {_micro(text.nest_time(explanation, number))}" for number in range(len(seconds))]
        return Places(explanation.nests, labels, [heat_level(one, hottest) for one in seconds], marks,
                      {var: heat_level(own, hottest) for var, own in explanation.own_seconds.items()},
                      [explanation.purpose(number) for number in range(len(seconds))], explanation.prepares)

    def _inner_programs(self, program: Program, within: str) -> Iterator[_Inner]:
        for equation in program.equations:
            for name, value in equation.params:
                inside = programs_in(value)
                for number, inner in enumerate(inside):
                    results = " ".join(map(self.names, equation.outputs))
                    part = f"{name} {number}" if len(inside) > 1 else name
                    title = f"{within}{equation.operation.name} {results}: {part}"
                    found = _Inner(f"p{sum(map(len, self.inner.values())) + 1}", title, inner, part)
                    self.inner.setdefault(equation, []).append(found)
                    yield found
                    yield from self._inner_programs(inner, f"{title} › ")

    # ------------------------------------------------------------------------------------------------- what the panel says

    def _describe(self, key: str, program: Program, inputs: Sequence[str]) -> None:
        found: dict[str, Any] = {}
        for number, var in enumerate(program.inputs):
            found[f"i{number}"] = {
                "title": f"{self.names(var)}:{type_text(var.type)}",
                "about": inputs[number] if number < len(inputs) else f"input {number}",
                "decisions": self._decisions((var,))}
        for number, equation in enumerate(program.equations):
            found[f"e{number}"] = self._equation(equation, key != "traced")
        for number, atom in enumerate(program.outputs):
            decisions = self._decisions((atom,)) if isinstance(atom, Var) else []
            found[f"o{number}"] = {"title": f"{self.names(atom)}:{type_text(atom.type)}", "about": f"output {number}",
                                   "decisions": decisions}
        self.details[key] = found

    def _equation(self, equation: Equation, optimised: bool) -> dict[str, Any]:
        source = equation.source
        found: dict[str, Any] = {
            "title": equation.operation.name, "equation": equation_text(equation, self.names),
            "inner": [(f"Show its {inner.parameter}", inner.key) for inner in self.inner.get(equation, ())]}
        if source is not None:
            found["source"] = str(source)
            found["code"] = linecache.getline(source.file, source.line).strip()
        if optimised:
            found["decisions"] = self._decisions(equation.outputs)
            own = [self.explanation.own_seconds[var] for var in equation.outputs if var in self.explanation.own_seconds]
            if own:
                whole = self.explanation.nest_seconds
                found["about"] = f"{_micro(duration(max(own)))}, {percentage(max(own), whole)} of the time of all nests"
            found["nests"] = sorted({nest for var in equation.outputs for nest in self.explanation.nests.get(var, ())})
        return found

    def _decisions(self, variables: Sequence[Var]) -> list[tuple[str, str, str, str, bool]]:
        several = len(variables) > 1
        return [(self.names(var) if several else "", note.decision, note.place, note.reason, note.decision in SPECIAL)
                for var in variables for note in self.explanation.notes.get(var, ())]

    def nests(self) -> list[dict[str, Any]]:
        """What the panel says about nests."""
        explanation = self.explanation
        drawn = {graph["id"] for graph in self.graphs}
        found = []
        for number, span in enumerate(explanation.nest_spans):
            lines = [_micro(line) for line in text.nest_text(explanation, number)]
            cut = [*lines[:PANEL_LINES], f"... {len(lines) - PANEL_LINES} more lines"] if len(lines) > PANEL_LINES else lines
            found.append({
                "title": span.label, "time": f"{_micro(text.nest_time(explanation, number))} of the time of all nests",
                "computes": ", ".join(explanation.computes(number)) or "", "costs": self._costs(span.number),
                "loops": "\n".join(cut), "graph": f"nest{number}" if f"nest{number}" in drawn else ""})
        return found

    def _costs(self, span: int) -> list[tuple[str, str]]:
        measurement = self.explanation.measurement
        estimate = self.explanation.estimates[span] if measurement is None else measurement.spans[span].executed
        found = [("flops", scaled(estimate.flops) if estimate.flops else ""),
                 ("elementary calls", count(estimate.elementary_calls) if estimate.elementary_calls else ""),
                 ("bytes read", scaled(estimate.bytes_read, "B")), ("bytes written", scaled(estimate.bytes_written, "B"))]
        if measurement is not None and measurement.spans[span].seconds > 0:
            measured = measurement.spans[span]
            found.append(("rate", f"{measured.flops_per_second / 1e9:.3g} GFLOP/s, {measured.bytes_per_second / 1e9:.3g} GB/s"))
        return [(what, amount) for what, amount in found if amount]


# ---------------------------------------------------------------------------------------------------------- the sections


def _row(cells: Sequence[str], element: str = "td", classes: Sequence[str] = ()) -> str:
    return "".join([f'<{element} class="{name}">{cell}</{element}>' if name else f"<{element}>{cell}</{element}>"
                    for cell, name in zip(cells, [*classes, *[""] * (len(cells) - len(classes))], strict=True)])


def _table(head: Sequence[str], rows: Sequence[str], classes: Sequence[str] = (), identity: str = "") -> str:
    named = f' id="{identity}"' if identity else ""
    heads = ["number" if "number" in name else "" for name in classes]
    return (f'<div class="scroll"><table{named}><thead><tr>{_row(list(map(escape, head)), "th", heads)}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table></div>')


def _program(explanation: Explanation) -> str:
    optimised = "\n".join(text.program_lines(explanation.optimized, explanation))
    traced = "\n".join(text.program_lines(explanation.program, explanation))
    return (f"<h2>Optimised: {plural(len(explanation.optimized.equations), 'equation')}</h2>{_code(optimised)}"
            f"<h2>As traced: {plural(len(explanation.program.equations), 'equation')}</h2>{_code(traced)}"
            '<p class="note">A name means the same variable wherever it stands on this page.</p>')


_MARKS = {"+": "plus", "-": "minus", "~": "left", " ": ""}


def _passes(explanation: Explanation) -> str:
    if not explanation.passes:
        return '<p class="note">No pass has found anything to do.</p>'
    parts = [f'<p class="note">{plural(len(explanation.passes), "application")} of passes changed something, in this order. '
             "Open one to see how the program changed.</p>"]
    for record in explanation.passes:
        lines = "".join([f'<span class="{_MARKS[mark]}">{"…" if mark == "~" else mark} {escape(line)}</span>'
                         for mark, line in text.pass_difference(record, explanation)])
        effect = text.pass_effect(record).replace("->", "→")
        parts.append(f'<details class="pass"><summary><b>{escape(text.pass_title(record))}</b>'
                     f'<span class="effect">{effect}</span><span class="purpose">{escape(record.purpose)}</span></summary>'
                     f'<pre class="difference">{lines}</pre></details>')
    return "".join(parts)


def _loops(explanation: Explanation, heats: Sequence[int]) -> str:
    parts = []
    for number in range(len(explanation.loops.nests)):
        shown = _micro("\n".join(text.nest_text(explanation, number)))
        parts.append(f'<article class="loop" id="nest-{number}"><h3 style="--heat:var(--heat{heats[number]})">nest {number}'
                     f"<small>{escape(_micro(text.nest_time(explanation, number)))}</small>"
                     f"<small>{escape(explanation.purpose(number))}</small>"
                     f"<small>{escape(text.nest_keeps(explanation, number))}</small></h3>"
                     f"<pre>{highlighted(shown, _CLASSES)}</pre></article>")
    return "".join(parts)


def _decisions(explanation: Explanation) -> str:
    rows = []
    last = None
    for var, decision, place, reason in text.decision_rows(explanation):
        name = f"{explanation.names(var)}:{type_text(var.type)}"
        special = " special" if decision in SPECIAL else ""
        sought = escape(f"{name} {decision} {place} {reason}".lower(), quote=True)
        again = ' class="again"' if var is last else ""
        rows.append(f'<tr{again} data-text="{sought}">' + _row(
            [escape(name), f'<span class="tag{special}">{escape(decision)}</span>', escape(place), escape(reason)],
            classes=["name", "", "name"]) + "</tr>")
        last = var
    head = _table(["variable", "decision", "place", "why"], rows, identity="decided")
    return (f'<input class="filter" type="search" data-table="decided" placeholder="Filter: stored, product, a name …" '
            f'aria-label="Filter the decisions" hidden>{head}')


def _costs(explanation: Explanation) -> str:
    rows = []
    found = text.cost_rows(explanation)
    used = [column for column in range(len(text.COST_HEAD)) if any(column < len(row) and row[column] for _, row in found)]
    classes = ["name" if column == 0 else "share number" if column == len(text.COST_HEAD) - 1 else "number" for column in used]
    whole = explanation.nest_seconds
    for span, row in found:
        cells = []
        for column in used:
            cell = escape(_micro(row[column])) if column < len(row) else ""
            if column == 0 and span is not None:
                cell = f'<span style="padding-left:{1.4 * span.depth}em">{cell.strip()}</span>'
            seconds = explanation.seconds(span) if span is not None else None
            if column == len(text.COST_HEAD) - 1 and cell and seconds is not None and whole > 0:
                cell = f'<span class="meter"><i style="width:{min(100 * seconds / whole, 100):.1f}%"></i></span>{cell}'
            cells.append(cell)
        rows.append(f"<tr>{_row(cells, classes=classes)}</tr>")
    notes = []
    if explanation.measurement is None:
        notes.append(f"Nothing was measured ({escape(explanation.unmeasured)}): times are estimates for one core.")
    else:
        notes.append(f"Times are means of the middle half of {explanation.measurement.calls} calls of a build with clocks in "
                     "it; that of the whole call is the median of as many of the ordinary build.")
    notes.append("Bytes are what loads and stores move, caches included. A fused multiply-add is two flops; elementary "
                 "functions such as exp are counted as calls.")
    notes += [escape(remark[0].upper() + remark[1:]) + "." for remark in text.cost_remarks(explanation)]
    head = [text.COST_HEAD[column] for column in used]
    return _table(head, rows, classes) + "".join([f'<p class="note">{note}</p>' for note in notes])


def _memory(explanation: Explanation) -> str:
    parts = []
    for title, rows in text.memory_rows(explanation):
        parts.append(f"<h2>{escape(title[0].upper() + title[1:])}</h2>")
        if rows:
            body = [f"<tr>{_row(list(map(escape, row)), classes=['name', 'number', 'number', 'name'])}</tr>" for row in rows]
            parts.append(_table(["buffer", "size", "place", "holds"], body, ["name", "number", "number", "name"]))
    return "".join(parts)


# -------------------------------------------------------------------------------------------------------------- the page


def _header(explanation: Explanation) -> str:
    arguments = ", ".join([f"<b>{escape(a.name)}</b>={escape(a.text)}" for a in explanation.arguments])
    where = []
    if explanation.source is not None:
        where.append(f"defined at {explanation.source}")
    if explanation.called is not None:
        where.append(f"explained at {explanation.called}")
    shown = [(_micro(value).replace("->", "→"), what) for value, what in text.figures(explanation)]
    figures = "".join([f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for value, what in shown])
    return (f'<h1>{escape(explanation.name)}<span class="arguments">({arguments})</span></h1>'
            f'<p class="where">{escape("; ".join(where))}</p><dl class="figures">{figures}</dl>')


_LEGEND = """<div class="legend"><span><i class="input"></i>input</span><span><i class="output"></i>output</span>
<span><i class="special"></i>product, routine</span><span><i class="anew"></i>not stored</span>
<span>share of the time <i class="ramp"></i></span></div>"""


def explanation_page(explanation: Explanation, assembly: bool) -> str:
    """The page."""
    graphs = _Graphs(explanation)
    sections = [
        ("program", "Program", _program(explanation)), ("passes", "Passes", _passes(explanation)),
        ("loops", "Loops", _loops(explanation, graphs.places.heats)), ("decisions", "Decisions", _decisions(explanation)),
        ("costs", "Costs", _costs(explanation)), ("memory", "Memory", _memory(explanation))]
    if assembly:
        sections.append(("assembly", "Assembly", _code(explanation.assembly)))
    tabs = "".join([f'<button role="tab" data-section="{key}" aria-controls="{key}">{title}</button>'
                    for key, title, _ in [("graph", "Graph", ""), *sections]])
    plain = explanation.text(assembly=assembly)
    data = {"graphs": graphs.graphs, "details": graphs.details, "nests": graphs.nests()}
    bodies = "\n".join([f'<section id="{key}" role="tabpanel" aria-label="{title}"><h2 class="sr">{title}</h2>{body}</section>'
                        for key, title, body in sections])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline' 'wasm-unsafe-eval'; worker-src blob:; img-src data:">
<link rel="icon" href="data:,">
<title>{escape(explanation.name)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>{_header(explanation)}<nav role="tablist" aria-label="Sections" hidden>{tabs}</nav></header>
<main>
<section id="graph" role="tabpanel" aria-label="Graph"><h2 class="sr">Graph</h2>
<noscript><pre class="code">{escape(plain)}</pre></noscript><div class="work">
<div class="canvas"><div class="bar"><select aria-label="Which graph"></select>
<button data-action="in" title="Closer (+)" aria-label="Closer">+</button>
<button data-action="out" title="Farther (-)" aria-label="Farther">−</button>
<button data-action="fit" title="All of it (0)">All</button>
<button data-action="read" title="Large enough to read (1)">1:1</button></div>
<div class="stage"></div>{_LEGEND}<div class="status" role="status"></div></div>
<aside aria-live="polite"></aside></div></section>
{bodies}
</main>
<footer><details><summary>The graph is drawn by Viz.js, which holds Graphviz and Expat: licences</summary>
<pre>{escape(_asset("NOTICE.txt"))}</pre></details></footer>
<script type="application/json" id="data">{embedded(data)}</script>
<script type="text/plain" id="graphviz">{_graphviz()}</script>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def notebook_frame(page: str) -> str:
    """The page in a frame of its own, for a notebook: neither's style touches the other's."""
    return (f'<iframe srcdoc="{escape(page, quote=True)}" style="width:100%;height:{FRAME_HEIGHT}px;border:1px solid #8885;'
            'border-radius:6px" sandbox="allow-scripts" title="gradxform explains"></iframe>')
