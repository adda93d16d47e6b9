"""One module -> several, which are compiled by themselves and linked together.

    entry point, kernel, nest0, nest1, nest2, exp    ->    entry point | kernel, nest0, exp | nest1, nest2, exp

What is marked ``optnone`` goes into a module of its own, for which LLVM need not even be asked to optimise. What is left, if
it is long, is cut again, for threads that compile at the same time: nests and their parts are called, and nothing is gained
by inlining the long ones. What they call, elementary functions and other helpers, goes into each module that needs it. How
a module is cut depends on its text alone, not on the number of threads: what is inlined where may change the order of a sum.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from gradxform.backend.compile import Tier, compile_texts

#: Characters of what is not optimised, from which on a module of its own pays for itself.
COLD_TEXT = 10_000
#: Characters of nests that each module has at least. LLVM takes some 1 to 2 ms for 1,000.
LEAST_TEXT = 8_000
#: Modules that a text becomes, and how many a very long one becomes.
USUAL_MODULES = 2
LONG_TEXT, MOST_MODULES = 100_000, 4

_FUNCTION = re.compile(r"^define [^\n]*?@([\w.]+)\(.*?^}", re.MULTILINE | re.DOTALL)
_NEST = re.compile(r"(nest\d+(\.(part|fork)\d+)?|tile\d+)$")
_NAME = re.compile(r"@([\w.]+)")
_COLD = re.compile(r"define [^\n]*\boptnone\b")
_VALUE = re.compile(r" %[\w.]+(?=[,)])")
_OWN = re.compile(r"@\S+ = (?!external|private|.*\bconstant\b)")
_VECTORS = "llvm.compiler.used"


class Piece(NamedTuple):
    """A module, and whether it holds nothing that is to be optimised."""

    text: str
    plain: bool


def partition(text: str, like: str | None = None) -> list[Piece]:
    """The modules of which ``text`` is made up.

    With ``like``, a text with the same functions, it is cut where that would be.
    """
    functions = {match[1]: match[0] for match in _FUNCTION.finditer(text)}
    sizes = {match[1]: len(match[0]) for match in _FUNCTION.finditer(like)} if like is not None else {
        name: len(function) for name, function in functions.items()}
    globals_ = {line[1:].split(" ", 1)[0] if line[0] == "@" else line: line
                for line in _FUNCTION.sub("", text).split("\n") if line}
    vectors = _NAME.findall(globals_.pop(_VECTORS, ""))[1:]
    names = {name: [n for n in dict.fromkeys(_NAME.findall(function)) if n != name] for name, function in functions.items()}
    cold = [name for name, function in functions.items() if _COLD.match(function)]
    if sum(sizes[name] for name in cold) < COLD_TEXT:
        cold = []
    nests = [name for name in functions if _NEST.match(name)]
    main = [name for name in functions if name not in nests and name not in cold and not name.startswith("gx.")]
    most = 1 if sum(sizes[name] for name in nests) < LEAST_TEXT else (
        MOST_MODULES if len(like or text) > LONG_TEXT else USUAL_MODULES)
    groups = _balanced(nests, sizes, most)
    groups[0] += main
    if cold:
        groups.insert(0, cold)
    elif len(groups) == 1:
        return [Piece(text, plain=False)]
    placed = {name: number for number, group in enumerate(groups) for name in group}
    used = [_reached(group, names, placed, vectors) for group in groups]
    shared = {name for number, found in enumerate(used) for name in found if placed.get(name, number) != number}
    pieces = []
    for number, group in enumerate(groups):
        # Memory that the module defines is the entry point's, which is the first one's.
        lines = [line for line in globals_.values() if number == 0 or not _OWN.match(line)]
        kept = [f"ptr @{name}" for name in vectors if name in used[number]]
        if kept:
            lines.append(f"@{_VECTORS} = appending global [{len(kept)} x ptr] [{', '.join(kept)}], "
                         'section "llvm.metadata"')
        for name, function in functions.items():
            if name in group:
                lines.append(function.replace("define internal", "define", 1) if name in shared else function)
            elif name in used[number]:
                lines.append(_declaration(function) if name in placed else function)
        pieces.append(Piece("\n".join(lines), plain=bool(cold) and number == 0))
    return pieces


def compile_parted(text: str, tier: Tier, like: str | None = None) -> list[bytes]:
    """The object code of the pieces; ``tier`` is that of what is optimised."""
    pieces = partition(text, like)
    return compile_texts([piece.text for piece in pieces], [Tier.PLAIN if piece.plain else tier for piece in pieces])


def _balanced(nests: list[str], sizes: dict[str, int], most: int) -> list[list[str]]:
    """Nests in groups of about equal size."""
    groups: list[list[str]] = [[] for _ in range(most)]
    filled = [0] * most
    for name in sorted(nests, key=lambda name: -sizes[name]):
        smallest = min(range(most), key=filled.__getitem__)
        groups[smallest].append(name)
        filled[smallest] += sizes[name]
    for number in range(most - 1, 0, -1):
        if filled[number] < LEAST_TEXT:
            groups[0] += groups.pop(number)
    return groups


def _reached(group: list[str], names: dict[str, list[str]], placed: Collection[str], vectors: list[str]) -> set[str]:
    """What the functions of a group refer to, and what helpers among that refer to in turn."""
    variants: dict[str, list[str]] = {}
    for vector in vectors:
        variants.setdefault(vector.rpartition(".x")[0], []).append(vector)
    found: set[str] = set()
    waiting = list(group)
    while waiting:
        for name in names.get(waiting.pop(), ()):
            # The vectoriser finds vector variants by name; nothing refers to them.
            new = [used for used in (name, *variants.get(name, ())) if used not in found]
            found.update(new)
            waiting += [used for used in new if used not in placed]
    return found


def _declaration(function: str) -> str:
    """The declaration of a function that another module defines."""
    head, _, _ = function.partition(" {\n")
    if _COLD.match(function):
        # What else is known of it lets loops around a call be vectorised.
        head = head.replace(" optnone", "", 1)
    else:
        head = head[:head.rindex(")") + 1]  # attributes that have parentheses stand among the parameters only
    return _VALUE.sub("", head).replace("define internal", "declare", 1)
