"""A long module -> several, which are compiled at the same time and linked together.

    kernel, entry point, nest0, nest1, nest2, exp    ->    kernel, entry point, nest0, exp | nest1, nest2, exp

Nests and their parts are called, and nothing is gained by inlining the long ones. What they call, elementary functions
and other helpers, goes into each module that needs it. How a module is cut depends on its text alone, not on the number of
threads: what is inlined where may change the order of a sum.
"""

from __future__ import annotations

import re
from collections.abc import Collection

#: Characters of nests that each module has at least. LLVM takes some 1 to 2 ms for 1,000.
LEAST_TEXT = 8_000
#: Modules that a text becomes, and how many a very long one becomes.
USUAL_MODULES = 2
LONG_TEXT, MOST_MODULES = 100_000, 4
#: What a character of other code weighs: it has few loops.
OTHER_WEIGHT = 0.25

_FUNCTION = re.compile(r"^define [^\n]*?@([\w.]+)\(.*?^}", re.MULTILINE | re.DOTALL)
_NEST = re.compile(r"nest\d+(\.part\d+)?$")
_NAME = re.compile(r"@([\w.]+)")
_VALUE = re.compile(r" %[\w.]+(?=[,)])")
_OWN = re.compile(r"@\S+ = (?!external|private|.*\bconstant\b)")
_VECTORS = "llvm.compiler.used"


def partition(text: str, like: str | None = None) -> list[str]:
    """The modules of which ``text`` is made up; the first defines what ``text`` exports.

    With ``like``, a text with the same functions, it is cut where that would be.
    """
    functions = {match[1]: match[0] for match in _FUNCTION.finditer(text)}
    sizes = {match[1]: len(match[0]) for match in _FUNCTION.finditer(like)} if like is not None else {
        name: len(function) for name, function in functions.items()}
    candidates = [name for name in functions if _NEST.match(name)]
    if sum(sizes[name] for name in candidates) < LEAST_TEXT:
        return [text]
    most = MOST_MODULES if len(like or text) > LONG_TEXT else USUAL_MODULES
    globals_ = {line[1:].split(" ", 1)[0] if line[0] == "@" else line: line
                for line in _FUNCTION.sub("", text).split("\n") if line}
    vectors = _NAME.findall(globals_.pop(_VECTORS, ""))[1:]
    # Memory that the module defines is defined once.
    own = [name for name, line in globals_.items() if _OWN.match(line)]
    names = {name: [n for n in dict.fromkeys(_NAME.findall(function)) if n != name] for name, function in functions.items()}
    bound = _users(own, names)
    nests = dict.fromkeys(name for name in candidates if name not in bound)
    main = [name for name in functions if name not in nests and not name.startswith("gx.")]
    groups = _balanced(main, nests, sizes, most)
    if len(groups) == 1:
        return [text]
    modules = []
    for number, group in enumerate(groups):
        used = _reached(group, names, nests, vectors)
        lines = [line for name, line in globals_.items() if number == 0 or name not in own]
        kept = [f"ptr @{name}" for name in vectors if name in used]
        if kept:
            lines.append(f"@{_VECTORS} = appending global [{len(kept)} x ptr] [{', '.join(kept)}], "
                         'section "llvm.metadata"')
        for name, function in functions.items():
            if name in group:
                lines.append(function.replace("define internal", "define", 1) if name in nests else function)
            elif name in used:
                lines.append(_declaration(function) if name in nests else function)
        modules.append("\n".join(lines))
    return modules


def _users(own: Collection[str], names: dict[str, list[str]]) -> set[str]:
    """The functions that refer to ``own`` names, by way of others too."""
    found = set(own)
    before = -1
    while before != len(found):
        before = len(found)
        found.update(name for name, used in names.items() if not found.isdisjoint(used))
    return found


def _balanced(main: list[str], nests: Collection[str], sizes: dict[str, int], most: int) -> list[list[str]]:
    """Nests in groups of about equal size, the first of which has what is not moved."""
    groups = [list(main), *([] for _ in range(most - 1))]
    filled = [OTHER_WEIGHT * sum(sizes[name] for name in main), *([0.0] * (most - 1))]
    for name in sorted(nests, key=lambda name: -sizes[name]):
        smallest = min(range(most), key=filled.__getitem__)
        groups[smallest].append(name)
        filled[smallest] += sizes[name]
    for number in range(most - 1, 0, -1):
        if filled[number] < LEAST_TEXT:
            groups[0] += groups.pop(number)
    return groups


def _reached(group: list[str], names: dict[str, list[str]], nests: Collection[str], vectors: list[str]) -> set[str]:
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
            waiting += [used for used in new if used not in nests]
    return found


def _declaration(function: str) -> str:
    """The declaration of a function that another module defines."""
    head, _, _ = function.partition(" {\n")
    signature = head[:head.rindex(")") + 1]  # attributes that have parentheses stand among the parameters only
    return _VALUE.sub("", signature).replace("define internal", "declare", 1)
