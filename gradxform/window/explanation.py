"""explain: a function at every stage of the road to native code, with what was decided on it and what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from gradxform import tree
from gradxform.api.inspection import ShapeDType, typed_leaves
from gradxform.api.jit import Jitted
from gradxform.api.lowered import Cost, Lowered
from gradxform.api.metering import Measurement
from gradxform.backend.journal import SPECIAL, Journal, Note
from gradxform.core.source import user_source
from gradxform.data_class import data_class
from gradxform.ir import Program, Source, Var
from gradxform.ir.printer import Names, print_program, type_text
from gradxform.loopir.counting import Estimate, Span, estimates, spans, total
from gradxform.loopir.loops import Call, Contract, Kernel, Multiply, Native, Statement, bodies, written
from gradxform.passes import PassRecord
from gradxform.quantities import plural
from gradxform.window.page import explanation_page, notebook_frame
from gradxform.window.subject import subject_of
from gradxform.window.text import explanation_text, variables_of

#: What `Explanation.text` says about the passes: nothing, a line for each, or also how the text of the program changes.
Passes = bool | Literal["diff"]


@data_class(frozen=True, slots=True)
class Argument:
    """One argument of the call that is explained: ``text`` is its type, or the value of a static one.

    ``leaves`` are the names of the program's inputs that it stands for.
    """

    name: str
    text: str
    leaves: tuple[str, ...]


class Explanation:
    """What `explain` found out. Its text is ``str()``; notebooks show it as a page.

    Attributes:
        name: of the function.
        source: the file and line where it is defined, or None.
        called: the file and line where it is explained, or None.
        arguments: a name and a type for each.
        lowered: the function at every stage, see `Jitted.lower`.
        spans: the parts of the kernel that are worth a line of their own.
        estimates: what each of the spans has to do in one call, by the loops alone.
        total: what the whole kernel has to do.
        measurement: what each of the spans took; None if nothing was measured.
        names: gives each variable its name, the same in all texts.
    """

    def __init__(
        self, name: str, source: Source | None, called: Source | None, arguments: tuple[Argument, ...], lowered: Lowered,
        measurement: Measurement | None, unmeasured: str = "",
    ) -> None:
        self.name = name
        self.source = source
        self.called = called
        self.arguments = arguments
        self.lowered = lowered
        self.measurement = measurement
        self.unmeasured = unmeasured
        self.spans: tuple[Span, ...] = spans(lowered.loops)
        self.estimates: tuple[Estimate, ...] = estimates(lowered.loops)
        self.total: Estimate = total(lowered.loops)
        self.names = Names(shared=True)
        # Variables are named in the order in which a reader meets them.
        for program in (self.program, *(record.after for record in self.passes), self.optimized):
            print_program(program, names=self.names)

    @property
    def program(self) -> Program:
        """The program as traced."""
        return self.lowered.program

    @property
    def passes(self) -> tuple[PassRecord, ...]:
        """What the passes have changed, one application of one pass after the other."""
        return self.lowered.passes

    @property
    def optimized(self) -> Program:
        """The program after all passes."""
        return self.lowered.optimized

    @property
    def loops(self) -> Kernel:
        """The kernel: which loops compute what, and where values are stored."""
        return self.lowered.loops

    @property
    def journal(self) -> Journal:
        """What was decided about each value: ``journal.notes``."""
        return self.lowered.journal

    @property
    def cost(self) -> Cost:
        """Estimated time on one core, and bytes."""
        return self.lowered.cost

    @property
    def arena(self) -> Mapping[str, int]:
        """Where the temporaries lie in the memory of a call, in bytes from its begin."""
        return self.loops.offsets

    @property
    def llvm(self) -> str:
        """The LLVM text, as emitted."""
        return self.lowered.llvm

    @property
    def assembly(self) -> str:
        """The machine code, as assembly text. It is made when it is first asked for."""
        return self.lowered.assembly

    # ------------------------------------------------------------------------------------------------ what belongs together

    @cached_property
    def notes(self) -> dict[Var, list[Note]]:
        """What was decided about each variable."""
        found: dict[Var, list[Note]] = {}
        for note in self.journal.notes:
            found.setdefault(note.var, []).append(note)
        return found

    @cached_property
    def nests(self) -> dict[Var, list[int]]:
        """The nests that compute each variable, in order, also by a routine of which it is a view."""
        found = self._nests_of(self.journal.original)
        for var, numbers in self._nests_of(self.journal.owner).items():
            own = found.get(var)
            if own is None:
                found[var] = numbers
                continue
            places = {note.place for note in self.notes.get(var, ()) if note.decision in SPECIAL}
            found[var] = sorted({*own, *(number for number in numbers if not places.isdisjoint(self.writes(number)))})
        return found

    @cached_property
    def prepares(self) -> list[list[Var]]:
        """The variables on the way to which each nest is, though it computes none of them."""
        found: list[list[Var]] = [[] for _ in self.loops.nests]
        for var, numbers in self._nests_of(self.journal.owner).items():
            for number in numbers:
                if number not in self.nests[var] and var in self._results:
                    found[number].append(var)
        return found

    def _nests_of(self, name: Callable[[Var], Var]) -> dict[Var, list[int]]:
        found: dict[Var, dict[int, None]] = {}
        for number, nest in enumerate(self.loops.nests):
            for var in nest.values:
                found.setdefault(name(var), {})[number] = None
        return {var: list(numbers) for var, numbers in found.items()}

    @cached_property
    def _results(self) -> dict[Var, None]:
        return dict.fromkeys(variables_of(self.optimized))

    @cached_property
    def nest_spans(self) -> list[Span]:
        """The span of each nest."""
        return [span for span in self.spans if span.parent is None]

    def seconds(self, span: Span) -> float | None:
        """What a span took, or what a nest is estimated to take on one core if nothing was measured."""
        if self.measurement is not None:
            return self.measurement.spans[span.number].seconds
        return self.loops.nests[span.nest].work * 1e-9 if span.parent is None else None

    @cached_property
    def own_seconds(self) -> dict[Var, float]:
        """What single values took, where that was measured apart from their nest: products, routines, calls into Python."""
        if self.measurement is None:
            return {}
        places: dict[str, float] = {}
        for measured in self.measurement.spans:
            statement = measured.span.statement
            if isinstance(statement, (Multiply, Contract, Native, Call)):
                for buffer in written(statement):
                    places[buffer.name] = places.get(buffer.name, 0.0) + measured.seconds
        return {note.var: places[note.place] for note in self.journal.notes
                if note.decision in SPECIAL and note.place in places}

    @cached_property
    def nest_seconds(self) -> float:
        """The time of all nests."""
        return sum(self.seconds(span) or 0.0 for span in self.nest_spans)

    @cached_property
    def _computed(self) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in self.loops.nests]
        for var in self._results:
            for nest in self.nests.get(var, ()):
                found[nest].append(self.names(var))
        return found

    def computes(self, nest: int) -> list[str]:
        """The names of the program's variables that a nest computes, in the order of the program."""
        return self._computed[nest]

    def purpose(self, nest: int) -> str:
        """What a nest is for: ``computes a, b``, or ``copies x``."""
        if computed := self.computes(nest):
            return f"computes {', '.join(computed)}"
        if self.prepares[nest]:
            return f"prepares {', '.join(map(self.names, self.prepares[nest]))}"
        inputs = [self.names(var) for var in self.optimized.inputs if nest in self.nests.get(var, ())]
        if inputs:
            return f"copies {', '.join(inputs)}"
        return f"writes {', '.join(self.writes(nest))}"

    def writes(self, nest: int) -> list[str]:
        """The memory to which a nest writes what others read."""
        found: dict[str, None] = {}

        def visit(statements: Sequence[Statement]) -> None:
            for statement in statements:
                found.update({buffer.name: None for buffer in written(statement) if buffer.space != "local"})
                for body in bodies(statement):
                    visit(body)

        visit(self.loops.nests[nest].body)
        return list(found)

    @cached_property
    def held(self) -> dict[str, list[str]]:
        """The names of the variables that lie in each buffer, by the buffer's name."""
        found: dict[str, list[str]] = {}
        for var in [*self.optimized.inputs, *variables_of(self.optimized)]:
            for note in self.notes.get(var, ()):
                names = found.setdefault(note.place, []) if note.place and note.decision != "view" else []
                if self.names(var) not in names:
                    names.append(self.names(var))
        return found

    def input_names(self, captured: bool = True) -> list[str]:
        """What the user calls the inputs of the program; those behind the arguments are captured arrays."""
        found = [leaf for argument in self.arguments for leaf in argument.leaves]
        if not captured:
            return found
        missing = len(self.optimized.inputs) - len(found)
        return found + [f"captured {number}" for number in range(missing)]

    # ------------------------------------------------------------------------------------------------------- showing it

    def text(self, *, passes: Passes = True, assembly: bool = False) -> str:
        """All of it as text for a terminal.

        Args:
            passes: a line for each pass that changed something; ``"diff"`` shows how it changed the program's text, False
                leaves them out.
            assembly: whether to add the machine code.
        """
        return explanation_text(self, passes, assembly)

    def html(self, *, assembly: bool = False) -> str:
        """One page of HTML that needs no other file and no network."""
        return explanation_page(self, assembly)

    def save(self, path: str | Path, *, assembly: bool = False) -> None:
        """Write the page to a file, or the text if the file's name does not end in .html or .htm."""
        path = Path(path)
        shown = self.html if path.suffix.lower() in (".html", ".htm") else self.text
        path.write_text(shown(assembly=assembly), "utf-8")

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        equations, nests = plural(len(self.optimized.equations), "equation"), plural(len(self.loops.nests), "nest")
        return f"<explanation of {self.name}: {equations}, {nests}>"

    def _repr_html_(self) -> str:
        return notebook_frame(self.html())


def explain(f: Callable[..., Any], /, *args: Any, measure: bool = True, **kwargs: Any) -> Explanation:
    """Show what becomes of ``f`` for these arguments: its program, passes, loops, decisions, costs and times.

    Args:
        f: a function, jitted or not, also one of `gradxform.symbolic`, whose updates are left out; `jit` it yourself to give
            static arguments.
        *args, **kwargs: the arguments of a call. A `ShapeDType` may stand for an array; then nothing is measured.
        measure: whether to compile ``f`` and time some calls: for about 0.3 s, or a few if they have effects.

    Returns:
        An `Explanation`: print it, show it in a notebook, or ``save("page.html")`` it and open that in a browser.

    Raises:
        ArgumentTypeError: ``f`` is not callable. What tracing ``f`` raises is passed on.

    >>> import numpy as np
    >>> shown = explain(lambda x: np.sum(np.sin(x) ** 2), np.ones(1000), measure=False)
    >>> len(shown.optimized.equations), len(shown.loops.nests), shown.total.flops, shown.total.elementary_calls
    (3, 1, 2000, 1000)
    """
    called = user_source()
    subject = subject_of("explain", f, args, kwargs)
    jitted, args, kwargs = subject.jitted, subject.args, subject.kwargs
    arguments = _arguments(jitted, args, kwargs)
    if subject.names is not None:
        moving = [argument for place, argument in enumerate(arguments) if not jitted.is_static(place)]
        arguments = tuple([Argument(name, argument.text, (name,))
                           for name, argument in zip(subject.names, moving, strict=True)])
    source = _defined(f) if subject.names is None else None
    if any(isinstance(leaf, ShapeDType) for leaf in tree.leaves((args, kwargs))):
        measure, unmeasured = False, "shapes stand for the arguments"
    else:
        unmeasured = "" if measure else "measure=False"
    if not measure:
        return Explanation(subject.name, source, called, arguments, jitted.lower(*args, **kwargs), None, unmeasured)
    metered = jitted.metered(args, kwargs)
    return Explanation(subject.name, source, called, arguments, metered.lowered, metered.measure())


def _defined(f: Callable[..., Any]) -> Source | None:
    """Where the user's function is written, through the transforms around it."""
    f = inspect.unwrap(f)
    while isinstance(f, partial):
        f = inspect.unwrap(f.func)
    if not hasattr(f, "__code__") and not hasattr(f, "__func__"):
        f = type(f).__call__  # an object that can be called
    code = getattr(f, "__code__", None) or getattr(getattr(f, "__func__", None), "__code__", None)
    return None if code is None else Source(code.co_filename, code.co_firstlineno, code.co_name)


def _arguments(jitted: Jitted, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Argument, ...]:
    try:
        parameters = list(inspect.signature(jitted).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [parameter.name for parameter in parameters
             if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)]
    rest = next((parameter.name for parameter in parameters if parameter.kind is parameter.VAR_POSITIONAL), "argument")
    names = [named[place] if place < len(named) else f"{rest}[{place - len(named)}]" for place in range(len(args))]
    found = [_argument(jitted.is_static(place), name, value)
             for place, (name, value) in enumerate(zip(names, args, strict=True))]
    found += [_argument(jitted.is_static(name), name, kwargs[name]) for name in sorted(kwargs)]
    return tuple(found)


class _Shown:
    """A text that is its own representation."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _argument(static: bool, name: str, value: Any) -> Argument:
    if static:
        return Argument(name, repr(value), ())
    types, _ = typed_leaves(value)
    shown = iter([_Shown(type_text(leaf_type)) for leaf_type in types])
    text = repr(tree.map_leaves(lambda _: next(shown), value))
    paths = tree.leaf_paths(value)
    return Argument(name, text, tuple([name + path for path in paths]))


