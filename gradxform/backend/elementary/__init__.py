"""Elementary functions as LLVM text: branch-free expansions that inline into loops and vectorise with them.

`roster` lists them, `definitions` and `declarations` give the text that a module needs for a set of requests. The
accuracy that is promised and measured stands in docs/accuracy.md.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gradxform.backend.elementary import huge_argument
from gradxform.backend.elementary.assembly import Definition, Recipe, Request, define, symbol
from gradxform.backend.elementary.catalogue import RECIPES
from gradxform.data_class import data_class

__all__ = ["Elementary", "Request", "declarations", "definitions", "instruction_count", "roster", "symbol"]


@data_class(frozen=True, slots=True)
class Elementary:
    """What the rest of the backend may know of a function.

    guarded: its fast variant holds only where the variant `outside` returns false.
    branches: it has no fast variant; loops call it.
    """

    name: str
    arity: int
    guarded: bool
    branches: bool


_RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in RECIPES}


@functools.cache
def roster() -> Mapping[str, Elementary]:
    """All functions by name."""
    rows = {name: Elementary(name, recipe.arity, recipe.outside is not None, recipe.rare is not None)
            for name, recipe in _RECIPES.items()}
    return MappingProxyType(rows)


def instruction_count(name: str) -> int:
    """The number of instructions of a function's fast float64 body; of all ways through one that branches."""
    return _definition(Request(name, "f64", "fast")).instructions


@functools.lru_cache(maxsize=1024)
def _definition(request: Request) -> Definition:
    return define(_RECIPES[request.name], request)


def _closure(requests: Iterable[Request]) -> tuple[dict[Request, Definition], bool]:
    """The definitions of the requests and of all they call, in order of need; whether huge arguments are reduced."""
    found: dict[Request, Definition] = {}
    pending = list(requests)
    while pending:
        request = pending.pop(0)
        if request not in found:
            found[request] = _definition(request)
            pending.extend(found[request].needs)
    return found, any(item.huge for item in found.values())


def definitions(requests: Iterable[Request]) -> str:
    """The text of every function requested and of all that they call, each once."""
    found, huge = _closure(requests)
    texts = [item.text for item in found.values()]
    if huge:
        texts.insert(0, huge_argument.definition())
    return "\n".join(texts) + "\n" if texts else ""


def declarations(requests: Iterable[Request]) -> tuple[str, ...]:
    """The `declare` lines that `definitions(requests)` relies on, each once."""
    found, huge = _closure(requests)
    lines = [line for item in found.values() for line in item.declarations]
    if huge:
        lines.extend(huge_argument.DECLARATIONS)
    return tuple(dict.fromkeys(lines))
