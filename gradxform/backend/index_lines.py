"""Finds the user's lines that look things up, for the error that an index out of range becomes.

Compiled code notes which axis of what extent an index was out of range for. Loops do not know where they come from, so that
equal ones are compiled once; the program's equations do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradxform.ir import Equation, Program

#: The most lines that an error names.
_MOST = 3


def lines_of_indices(program: Program) -> Mapping[tuple[int, int], tuple[str, ...]]:
    """The user's lines, by axis and extent, where an index of that axis is checked; in order, in inner programs too."""
    found: dict[tuple[int, int], dict[str, None]] = {}
    for equation in _checking(program):
        params = dict(equation.params)
        shape = equation.inputs[0].type.shape
        for axis in params["axes"]:
            found.setdefault((axis - params["batch_rank"], shape[axis]), {})[str(equation.source)] = None
    return {key: tuple(lines) for key, lines in found.items()}


def named(lines: tuple[str, ...]) -> str:
    """What an error says of them: as `user_line` says it where there is one, and nothing where there is none."""
    if not lines:
        return ""
    shown = " or ".join(lines[:_MOST]) + (" or others" if len(lines) > _MOST else "")
    return f"\n  in user code: {shown}"


def _checking(program: Program) -> Iterator[Equation]:
    for equation in program.equations:
        checked = False
        for name, value in equation.params:
            checked |= name == "mode" and value in ("check", "relative")
            yield from _inside(value)
        if checked and equation.source is not None and equation.operation.name in ("gather", "scatter"):
            yield equation


def _inside(value: Any) -> Iterator[Equation]:
    if isinstance(value, Program):
        yield from _checking(value)
    elif isinstance(value, tuple):
        for part in value:
            yield from _inside(part)
