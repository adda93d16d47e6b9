"""What a tape keeps: which of the equations of a builder depend on what it watches.

A recording is a view of the builder that is open, not another engine. Several tapes look at one builder, each at the
equations since it was entered; what was computed while a tape was paused, or does not depend on anything watched, is a
constant to it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from gradxform.core import Builder, Tracer, current_builder
from gradxform.core.tracing import recording
from gradxform.dtypes import is_differentiable
from gradxform.ir import Atom, Equation, Var
from gradxform.ir.callback import has_effect


class _State(threading.local):
    def __init__(self) -> None:
        self.recordings: list[Recording] = []


_state = _State()


class Recording:
    """The equations of ``builder`` that depend on watched variables."""

    __slots__ = ("__weakref__", "_seen", "active", "builder", "equations", "tracked", "variables", "watches_accessed")

    def __init__(self, builder: Builder, watches_accessed: bool) -> None:
        self.builder = builder
        self.watches_accessed = watches_accessed
        self.active = False
        self.equations: list[Equation] = []
        self.tracked: dict[Atom, None] = {}
        #: By identity: a watched variable, and what it stood for each time after it was assigned to.
        self.variables: dict[int, tuple[Any, dict[Var, None]]] = {}
        self._seen = len(builder.equations)

    def start(self) -> None:
        """Look at what is computed from now on."""
        self._seen = len(self.builder.equations)
        self.active = True
        _state.recordings.append(self)

    def stop(self) -> None:
        """Look no more, until the next `start`."""
        self.advance()
        self.active = False
        _state.recordings.remove(self)

    def clear(self) -> None:
        """Forget everything."""
        self.equations.clear()
        self.tracked.clear()
        self.variables.clear()
        self._seen = len(self.builder.equations)

    def advance(self) -> None:
        """Take up the equations that have been recorded since."""
        found = self.builder.equations
        if not self.active:
            return
        for equation in found[self._seen:]:
            if any(x in self.tracked for x in equation.inputs):
                self.equations.append(equation)
                self.tracked.update(dict.fromkeys(equation.outputs))
        self._seen = len(found)

    def watch(self, var: Var) -> None:
        """From now on take up what depends on ``var``."""
        self.advance()
        self.tracked[var] = None

    def watch_variable(self, variable: Any) -> None:
        """`watch` what ``variable`` stands for now."""
        var = self.builder.atom(variable.alias())
        assert isinstance(var, Var)
        _, stood_for = self.variables.setdefault(id(variable), (variable, {}))
        if var not in stood_for:
            stood_for[var] = None
            self.watch(var)

    def depends(self, atom: Atom) -> bool:
        """Whether ``atom`` depends on anything watched."""
        self.advance()
        return atom in self.tracked

    def vars_of(self, source: Any) -> list[Var]:
        """The variables of the builder that ``source`` stands for: several if it was assigned to in between."""
        if hasattr(source, "alias"):
            found = self.variables.get(id(source))
            return list(found[1]) if found is not None else []
        atom = self.builder.atom(source)
        return [atom] if isinstance(atom, Var) else []


def accessed(variable: Any) -> None:
    """Let the tapes that record watch ``variable``, which is being read."""
    for found in _state.recordings:
        if found.watches_accessed:
            found.watch_variable(variable)


def is_recorded(tensor: Tracer) -> bool:
    """Whether a tape that is recording would lose a derivative if the value of ``tensor`` were taken out."""
    if not is_differentiable(tensor.type.dtype):
        return False
    for found in _state.recordings:
        with recording(found.builder):
            atom = found.builder.atom(tensor)
        if found.depends(atom):
            return True
    return False


def is_unseen() -> bool:
    """Whether a tape is recording, and what is computed at this moment is not recorded: in a callback, say."""
    if not _state.recordings:
        return False
    recorded = _state.recordings[-1].builder
    builder = current_builder()
    while builder is not None and builder is not recorded:
        builder = builder.parent
    return builder is None


def defined_by(equations: Iterable[Equation]) -> dict[Var, None]:
    """The variables that ``equations`` define."""
    return {var: None for equation in equations for var in equation.outputs}


def run_effects(builder: Builder) -> None:
    """Do what was recorded for its effect, such as printing, with the values that its operands have."""
    for equation in builder.equations:
        if has_effect(equation):
            operands = [builder.value_of(x) for x in equation.inputs]
            results = builder.evaluator(equation.operation, operands, dict(equation.params), equation.source)
            builder.known.update(zip(equation.outputs, results, strict=True))
