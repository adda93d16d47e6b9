"""A program as a graph: equations are nodes, values are edges, nests are boxes; written in Graphviz's language.

What a node looks like is left to the page: the graph only says, by classes, what each part is and how hot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt

from gradxform.data_class import data_class
from gradxform.ir import ArrayType, Equation, Program, Var
from gradxform.ir.printer import Names, type_text
from gradxform.quantities import plural

#: Programs of more equations are shown nest by nest first; the whole may take the browser seconds to lay out.
LARGE = 200
#: With more edges, the types of values are left to the panel beside the graph.
LABELLED_EDGES = 160
#: Graphs of more nodes and edges are laid out in bounded time, which is less pretty: without bounds, the simplex method that
#: places nodes takes minutes for a thousand of them.
BOUNDED = 400
#: The longest equation that is written into a node, in characters.
NODE_WIDTH = 30
#: Shades from cold to hot.
HEAT_LEVELS = 9


@data_class(frozen=True, slots=True)
class Node:
    """``key`` is what the page knows it by: ``e4`` is the fifth equation, ``i0`` the first input, ``o0`` the first output,
    ``n2`` a whole nest, ``a2`` one that computes no variable of the program.
    """

    key: str
    kind: str
    lines: tuple[str, ...]
    marks: tuple[str, ...] = ()


@data_class(frozen=True, slots=True)
class Edge:
    tail: str
    head: str
    label: str


@data_class(frozen=True, slots=True)
class Box:
    """A fused group. ``nodes`` are keys."""

    key: str
    label: str
    nodes: tuple[str, ...]
    heat: int


@dataclass(frozen=True, slots=True)
class Graph:
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    boxes: tuple[Box, ...] = ()

    @property
    def slow(self) -> bool:
        """Whether a browser needs seconds to lay it out."""
        return len(self.nodes) + len(self.edges) > BOUNDED

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        labels = len(self.edges) <= LABELLED_EDGES
        lines = [
            "digraph program {",
            "graph [bgcolor=transparent fontname=Courier fontsize=12 nodesep=0.28 ranksep=0.36 pad=0.15]",
            "graph [outputorder=edgesfirst]",
            'node [shape=box style="rounded,filled" fontname=Courier fontsize=11 margin="0.13,0.07" height=0.3]',
            "edge [fontname=Courier fontsize=9 arrowsize=0.6]"]
        place = {key: box.key for box in self.boxes for key in box.nodes}
        by_key = {node.key: node for node in self.nodes}
        for box in self.boxes:
            lines.append(f"subgraph cluster_{box.key} {{ {_attributes(id=box.key, label=box.label, labeljust='l', margin=12)}"
                         f' class="nest heat{box.heat}" style=rounded')
            lines += [_node_text(by_key[key]) for key in box.nodes]
            lines.append("}")
        lines += [_node_text(node) for node in self.nodes if node.key not in place]
        for edge in self.edges:
            # What is computed together should lie together, wherever inputs come from.
            together = edge.tail in place and place[edge.tail] == place.get(edge.head)
            weight = 6 if together else 1 if edge.tail[0] in "it" else 2
            label = {"label": f" {edge.label}"} if labels and edge.label else {}
            lines.append(f"{edge.tail} -> {edge.head} [{_attributes(weight=weight, **label)}]")
        return "\n".join([*lines, "}"])


#: How kinds of nodes differ in shape.
_SHAPES = {"input": " shape=ellipse margin=\"0.02,0.02\"", "output": " shape=ellipse margin=\"0.02,0.02\"",
           "nest": " margin=\"0.22,0.12\""}


def _node_text(node: Node) -> str:
    classes = " ".join((node.kind, *node.marks))
    label = "\n".join(node.lines)
    return f"{node.key} [{_attributes(id=node.key, label=label)} class={quoted(classes)}{_SHAPES.get(node.kind, '')}]"


def _attributes(**values: object) -> str:
    return " ".join([f"{name}={quoted(str(value))}" for name, value in values.items()])


def quoted(text: str) -> str:
    """A string of Graphviz's language; what a backslash would introduce there is taken literally.

    >>> print(quoted('a "b" \\\\N'))
    "a \\"b\\" \\\\N"
    """
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    # A label must not hold what is no character of XML, which is what Graphviz writes. It reads entities, too.
    text = "".join([character if character >= " " else "?" for character in text])
    return '"' + text.replace("&", "&amp;") + '"'


def heat_level(seconds: float, hottest: float) -> int:
    """0 to `HEAT_LEVELS`; the root of the share, so that loops that take a few per cent still differ from those that take none.

    >>> heat_level(0.0, 1.0), heat_level(0.04, 1.0), heat_level(1.0, 1.0), heat_level(0.0, 0.0)
    (0, 2, 9, 0)
    """
    return ceil(HEAT_LEVELS * sqrt(min(seconds / hottest, 1.0))) if hottest > 0 else 0


def shortened(text: str, width: int = NODE_WIDTH) -> str:
    return text if len(text) <= width else text[:width - 1] + "…"


def short_equation(equation: Equation, names: Names) -> str:
    """``c = mul a 2.0``, without types and parameters."""
    operands = " ".join(map(names, equation.inputs))
    results = " ".join(map(names, equation.outputs))
    return f"{results} = {equation.operation.name} {operands}" if results else f"{equation.operation.name} {operands}"


@dataclass(slots=True)
class Places:
    """What the graph has to know of a kernel: the nests that compute a variable, in order, and how each is labelled.

    ``purposes`` say what each nest is for, and ``prepares`` which variables it is on the way to without computing any.
    ``marks`` are the classes of the variables' equations: what became of them. ``own_heats`` are those of equations whose
    time is known apart from that of their nest.
    """

    nests: Mapping[Var, Sequence[int]] = field(default_factory=dict)
    labels: Sequence[str] = ()
    heats: Sequence[int] = ()
    marks: Mapping[Var, str] = field(default_factory=dict)
    own_heats: Mapping[Var, int] = field(default_factory=dict)
    purposes: Sequence[str] = ()
    prepares: Sequence[Sequence[Var]] = ()

    def nest_of(self, equation: Equation) -> int:
        """The first nest that computes one of the results, or -1."""
        return min([nest for var in equation.outputs for nest in self.nests.get(var, ())], default=-1)

    def finishers(self, program: Program) -> dict[int, list[Var]]:
        """The nests that compute no equation of ``program`` first, with the variables that they finish: sums, say, of the
        parts that the chunks of another nest have found. Others copy inputs, or prepare what an equation needs.
        """
        first = {self.nest_of(equation) for equation in program.equations}
        defined = [*program.inputs, *(var for equation in program.equations for var in equation.outputs)]
        return {number: [var for var in defined if number in self.nests.get(var, ())]
                for number in range(len(self.labels)) if number not in first}


def _equation_node(key: str, equation: Equation, names: Names, places: Places) -> Node:
    marks = list(dict.fromkeys([places.marks[var] for var in equation.outputs if var in places.marks]))
    heats = [places.own_heats[var] for var in equation.outputs if var in places.own_heats]
    marks += [f"heat{max(heats)}"] if heats else []
    return Node(key, "equation", (equation.operation.name, shortened(short_equation(equation, names))), tuple(marks))


class _Edges:
    """Collects edges; several values between two nodes are one edge."""

    def __init__(self) -> None:
        self.types: dict[tuple[str, str], dict[Var, ArrayType]] = {}

    def add(self, tail: str, head: str, var: Var) -> None:
        if tail != head:
            self.types.setdefault((tail, head), {})[var] = var.type

    def join(self, tail: str, head: str) -> None:
        """An edge for values that the program does not know."""
        if tail != head:
            self.types.setdefault((tail, head), {})

    def all(self) -> tuple[Edge, ...]:
        return tuple([Edge(tail, head, _edge_label(types.values())) for (tail, head), types in self.types.items()])


def _edge_label(types: Iterable[ArrayType]) -> str:
    found = [type_text(array_type) for array_type in types]
    distinct = list(dict.fromkeys(found))
    if not distinct:
        return ""
    if len(distinct) == 1:
        return distinct[0] if len(found) == 1 else f"{len(found)} × {distinct[0]}"
    return ", ".join(distinct) if len(distinct) <= 3 else f"{len(found)} values"


class _Origins:
    """Which nodes a value comes from, for those who read it: once it is finished, from the node that finishes it."""

    def __init__(self, program: Program, finishers: Mapping[int, Sequence[Var]], letter: str) -> None:
        self.found: dict[Var, tuple[str, ...]] = {var: (f"i{number}",) for number, var in enumerate(program.inputs)}
        self.letter = letter
        self.finished: dict[Var, list[int]] = {}
        for number, variables in finishers.items():
            for var in variables:
                self.finished.setdefault(var, []).append(number)

    def of(self, var: Var, reader: int = -1) -> tuple[str, ...]:
        """For a ``reader`` in that nest; -1 stands for one that comes last, or is in none."""
        after = [number for number in self.finished.get(var, ()) if reader < 0 or number < reader]
        return (f"{self.letter}{after[-1]}",) if after else self.found.get(var, ())


def _input_nodes(program: Program, names: Names, inputs: Sequence[str]) -> list[Node]:
    called = [*inputs, *map(names, program.inputs[len(inputs):])]
    return [Node(f"i{number}", "input", (called[number], f"{names(var)}:{type_text(var.type)}"))
            for number, var in enumerate(program.inputs)]


def _output_nodes(program: Program, names: Names, origins: _Origins, edges: _Edges) -> list[Node]:
    """The nodes of outputs, with edges from where each comes from."""
    nodes = []
    for number, atom in enumerate(program.outputs):
        nodes.append(Node(f"o{number}", "output", (f"output {number}", f"{names(atom)}:{type_text(atom.type)}")))
        if isinstance(atom, Var):
            for origin in origins.of(atom):
                edges.add(origin, f"o{number}", atom)
    return nodes


def _finish(
    program: Program, edges: _Edges, origins: _Origins, key: str, number: int, variables: Sequence[Var], names: Names,
    places: Places,
) -> str:
    """Connect a node that finishes variables with those that began; returns what it is called."""
    for var in variables:
        for origin in origins.of(var, number):
            edges.add(origin, key, var)
    for var in places.prepares[number] if not variables else ():
        for equation in program.equations:
            if var in equation.outputs:
                for origin in {origin: None for atom in equation.inputs if isinstance(atom, Var)
                               for origin in origins.of(atom, number)}:
                    edges.join(origin, key)
        for origin in origins.of(var):
            edges.join(key, origin)
    if variables and not set(variables) & set(program.inputs):
        return shortened(" ".join(["finishes", *map(names, variables)]))
    return shortened(places.purposes[number])


def program_graph(title: str, program: Program, names: Names, places: Places, inputs: Sequence[str] = ()) -> Graph:
    """Every equation is a node. ``inputs`` are what the user calls those of the program."""
    nodes = _input_nodes(program, names, inputs)
    edges = _Edges()
    finishers = places.finishers(program)
    origins = _Origins(program, finishers, "a")
    inside: dict[int, list[str]] = {number: [] for number in range(len(places.labels))}
    for number, equation in enumerate(program.equations):
        key = f"e{number}"
        nest = places.nest_of(equation)
        nodes.append(_equation_node(key, equation, names, places))
        for atom in equation.inputs:
            if isinstance(atom, Var):
                for origin in origins.of(atom, nest):
                    edges.add(origin, key, atom)
        origins.found.update(dict.fromkeys(equation.outputs, (key,)))
        if nest >= 0:
            inside[nest].append(key)
    for number, variables in finishers.items():
        key = f"a{number}"
        inside[number].append(key)
        nodes.append(Node(key, "auxiliary", (_finish(program, edges, origins, key, number, variables, names, places),)))
    nodes += _output_nodes(program, names, origins, edges)
    boxes = [Box(f"n{number}", places.labels[number], tuple(keys), places.heats[number]) for number, keys in inside.items()]
    return Graph(title, tuple(nodes), edges.all(), tuple(boxes))


def overview_graph(title: str, program: Program, names: Names, places: Places, inputs: Sequence[str] = ()) -> Graph:
    """Every nest is a node. Equations that no nest computes, such as views, are part of the edges."""
    nodes = _input_nodes(program, names, inputs)
    edges = _Edges()
    finishers = places.finishers(program)
    origins = _Origins(program, finishers, "n")
    counts = [0] * len(places.labels)
    for equation in program.equations:
        nest = places.nest_of(equation)
        sources = {atom: origins.of(atom, nest) for atom in equation.inputs if isinstance(atom, Var)}
        if nest < 0:
            through = tuple(dict.fromkeys([origin for found in sources.values() for origin in found]))
            origins.found.update(dict.fromkeys(equation.outputs, through))
            continue
        counts[nest] += 1
        for atom, found in sources.items():
            for origin in found:
                edges.add(origin, f"n{nest}", atom)
        origins.found.update(dict.fromkeys(equation.outputs, (f"n{nest}",)))
    for number, label in enumerate(places.labels):
        key = f"n{number}"
        what = (_finish(program, edges, origins, key, number, finishers[number], names, places) if number in finishers
                else plural(counts[number], "equation"))
        nodes.append(Node(key, "nest", (label, what), (f"heat{places.heats[number]}",)))
    nodes += _output_nodes(program, names, origins, edges)
    return Graph(title, tuple(nodes), edges.all())


def nest_graphs(program: Program, names: Names, places: Places) -> dict[int, Graph]:
    """Each nest that computes equations by itself, with the values that it takes from outside and those that it gives."""
    inside: dict[int, list[int]] = {}
    readers: dict[Var, set[int]] = {}
    for position, equation in enumerate(program.equations):
        nest = places.nest_of(equation)
        if nest >= 0:
            inside.setdefault(nest, []).append(position)
        for atom in equation.inputs:
            if isinstance(atom, Var):
                readers.setdefault(atom, set()).add(nest)
    for atom in program.outputs:
        if isinstance(atom, Var):
            readers.setdefault(atom, set()).add(-1)
    return {number: _nest_graph(number, positions, readers, program, names, places)
            for number, positions in sorted(inside.items())}


def _nest_graph(
    number: int, positions: Sequence[int], readers: Mapping[Var, set[int]], program: Program, names: Names, places: Places
) -> Graph:
    nodes: list[Node] = []
    edges = _Edges()
    made: dict[Var, str] = {}
    taken: dict[Var, str] = {}
    for position in positions:
        equation, key = program.equations[position], f"e{position}"
        nodes.append(_equation_node(key, equation, names, places))
        for atom in equation.inputs:
            if not isinstance(atom, Var):
                continue
            if atom not in made and atom not in taken:
                taken[atom] = f"t{len(taken)}"
                nodes.append(Node(taken[atom], "input", (names(atom), type_text(atom.type))))
            edges.add(made.get(atom) or taken[atom], key, atom)
        made.update(dict.fromkeys(equation.outputs, key))
    given = [var for var in made if readers.get(var, set()) - {number}]
    for place, var in enumerate(given):
        nodes.append(Node(f"g{place}", "output", (names(var), type_text(var.type))))
        edges.add(made[var], f"g{place}", var)
    box = Box(f"n{number}", places.labels[number], tuple([f"e{position}" for position in positions]), places.heats[number])
    return Graph(f"Nest {number}", tuple(nodes), edges.all(), (box,))
