"""Elementary functions as LLVM text: branch-free expansions that inline into loops and vectorise with them.

`roster` lists them, `definitions` and `declarations` give the text that a module needs for a set of requests, `externals` the
addresses of those few that SciPy computes. The promised accuracy stands in docs/accuracy.md.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gradxform.backend.elementary import huge_argument
from gradxform.backend.elementary.assembly import Definition, Recipe, Request, define, external_symbol, symbol
from gradxform.backend.elementary.catalogue import RECIPES

__all__ = ["Elementary", "Request", "declarations", "definitions", "externals", "roster", "symbol"]


@dataclass(frozen=True, slots=True)
class Elementary:
    """What the rest of the backend may know of a function.

    guarded: its fast variant holds only where the variant `outside` returns false.
    cost: the number of instructions of the fast float64 body.
    external: the name in scipy.special.cython_special of the function that computes it, if it is not our own.
    """

    name: str
    arity: int
    guarded: bool
    cost: int
    external: str | None


_RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in RECIPES}


@functools.cache
def roster() -> Mapping[str, Elementary]:
    """All functions by name."""
    rows = {}
    for name, recipe in _RECIPES.items():
        cost = _definition(Request(name, "f64", "fast")).instructions
        rows[name] = Elementary(name, recipe.arity, recipe.outside is not None, cost, recipe.external)
    return MappingProxyType(rows)


@functools.lru_cache(maxsize=1024)
def _definition(request: Request) -> Definition:
    return define(_RECIPES[request.name], request)


def _closure(requests: Iterable[Request]) -> tuple[dict[Request, Definition], bool]:
    """The definitions of the requests and of all they call, in order of first need; whether huge arguments are reduced."""
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


def externals(requests: Iterable[Request]) -> Mapping[str, int]:
    """Symbol -> address of the functions of scipy.special.cython_special that `definitions(requests)` calls."""
    names = {
        recipe.external for request in requests if (recipe := _RECIPES[request.name]).external is not None
    }
    return {external_symbol(name): _address(name) for name in sorted(name for name in names if name)}


@functools.cache
def _address(name: str) -> int:
    # SciPy's special functions take long to import, and most programs need none of them.
    from scipy.special import cython_special

    capsule = cython_special.__pyx_capi__[name]
    signature = ctypes.pythonapi.PyCapsule_GetName
    signature.restype, signature.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = pointer(capsule, signature(capsule))
    assert isinstance(address, int)
    return address
