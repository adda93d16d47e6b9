"""What was compiled when, for which signature and how long it took: written where a new signature is met, nowhere else.

A call that native code takes leaves no trace here. What is written is small, is kept for the last so many compilations,
and keeps nothing of the user's alive but code objects: jitted functions and static values are referred to weakly, or by
a short text. Sentences are made of it when somebody asks (`gradxform.window.misses`).
"""

from __future__ import annotations

import itertools
import reprlib
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from time import time
from types import CodeType, FunctionType, NoneType
from typing import Any

from gradxform.backend.executable import Executable
from gradxform.backend.signature import Node, static_identity
from gradxform.core.source import user_source
from gradxform.data_class import data_class
from gradxform.ir import Source

#: So many compilations are remembered; the oldest are forgotten first.
LIMIT = 1000
#: Wrappers around a function that are looked through.
_DEEPEST = 32


@data_class(frozen=True, slots=True, eq=False)
class StaticValue:
    """A static argument: its class, what tells it from others, and how it is shown.

    ``text`` is empty where the object itself is asked, as long as it is there: ``alive``. ``code`` is a function's.
    """

    kind: type
    key: int
    text: str = ""
    alive: Callable[[], Any] | None = None
    code: CodeType | None = None

    def same_as(self, other: StaticValue) -> bool:
        """Whether the one value can stand for the other."""
        return (self.kind, self.key, self.text) == (other.kind, other.key, other.text)


@data_class(frozen=True, slots=True, eq=False)
class Signature:
    """What a call was compiled for. ``treedef`` is None, or the structure of which ``positional`` are the leaves.

    ``static_places`` are the positions and names of the arguments that ``statics`` were given for, in this order.
    """

    positional: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]
    treedef: Any
    static_places: tuple[int | str, ...]
    statics: tuple[StaticValue, ...]

    def same_as(self, other: Signature) -> bool:
        """Whether code for the one takes calls of the other."""
        return (self.positional == other.positional and self.keywords == other.keywords and self.treedef == other.treedef
                and self.static_places == other.static_places
                and len(self.statics) == len(other.statics)
                and all(map(StaticValue.same_as, self.statics, other.statics)))


@data_class(frozen=True, slots=True, eq=False)
class Compilation:
    """One compilation.

    ``function`` refers to the jitted function, or is None for a loop that was run without jit. ``codes`` are the code
    objects of the function and of those that it wraps, the innermost last. ``held`` is how many specialisations the
    function had before. ``phases`` are the steps with their seconds, ``origin`` is that of an `Executable`. ``program`` is
    a hash of the traced program's text, where there is no function.
    """

    number: int
    function: weakref.ref[Any] | None
    name: str
    codes: tuple[Any, ...]
    signature: Signature
    source: Source | None
    when: float
    phases: tuple[tuple[str, float], ...]
    origin: str
    held: int
    program: int = 0


_numbers = itertools.count(1)
_compilations: deque[Compilation] = deque(maxlen=LIMIT)


def compilations() -> tuple[Compilation, ...]:
    """Those that are remembered, from the oldest to the latest."""
    return tuple(_compilations)


def note_specialisation(
    jitted: Any, function: Any, name: str, signature: Signature, made: Executable, tracing: float, held: int
) -> None:
    """Remember that ``jitted``, made of ``function``, was compiled for ``signature``."""
    _compilations.append(Compilation(
        next(_numbers), weakref.ref(jitted), name, _codes(function), signature, user_source(), time(),
        (("tracing", tracing), *made.phases), made.origin, held))


def note_loop(name: str, positional: tuple[Node, ...], program: str, made: Executable) -> None:
    """Remember that a program with a loop in it, which is run without jit, was compiled."""
    _compilations.append(Compilation(
        next(_numbers), None, name, (), Signature(positional, (), None, (), ()), user_source(), time(), made.phases,
        made.origin, 0, hash(program)))


def _codes(function: Any) -> tuple[Any, ...]:
    """The code objects of a function and of those that it wraps; what has none is told by its name."""
    codes: list[Any] = []
    while len(codes) < _DEEPEST:
        code = getattr(function, "__code__", None)
        if code is None:
            code = getattr(function, "__module__", None), getattr(function, "__qualname__", type(function).__qualname__)
        codes.append(code)
        inner = function.func if isinstance(function, partial) else getattr(function, "__wrapped__", None)
        if inner is None:
            break
        function = inner
    return tuple(codes)


def static_values(values: Iterable[Any]) -> tuple[StaticValue, ...]:
    """Static arguments as they are remembered."""
    return tuple([_SHOWN.get(type(x), _other)(x, hash(static_identity(x))) for x in values])


def _printed(value: Any, key: int) -> StaticValue:
    return StaticValue(type(value), key, _repr.repr(value))


def _function(value: Any, key: int) -> StaticValue:
    return StaticValue(type(value), key, value.__qualname__, code=value.__code__)


def _other(value: Any, key: int) -> StaticValue:
    try:
        return StaticValue(type(value), key, alive=weakref.ref(value))
    except TypeError:  # a class of a language other than Python, or with slots
        return _printed(value, key)


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60
#: How values of a class are remembered.
_SHOWN: dict[type, Callable[[Any, int], StaticValue]] = {
    **dict.fromkeys((bool, int, float, complex, str, bytes, NoneType, tuple, type), _printed), FunctionType: _function,
}
