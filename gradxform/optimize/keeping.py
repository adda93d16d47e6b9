"""Compiled functions that are kept from one call of an optimiser to the next.

A compiled function has the values inside that its Python function found when it was traced: of globals, of the variables
of enclosing functions, of defaults. Who calls an optimiser has not asked for that, so what was compiled is used again only
while all of these are what they were; arrays among them are compared by content. Where that cannot be told, as for
methods of objects, the function is traced anew in every call of the optimiser.
"""

from __future__ import annotations

import types
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.jit import Jitted, jit
from gradxform.core import direct

#: How many compiled functions are kept, the least recently used going first.
LIMIT = 128

#: Packages whose functions are taken to stay what they are.
_STEADY = frozenset({"numpy", "scipy", "gradxform", "math", "cmath", "builtins", "functools", "operator", "itertools"})


class _Untold(Exception):
    """It cannot be told whether something that a function refers to will have changed."""


class References:
    """What a function refers to, as it was when this was made."""

    __slots__ = ("contents", "places")

    def __init__(self, function: Any) -> None:
        #: Where something is looked up, with what was found: globals by name, cells, functions' defaults.
        self.places: list[tuple[Any, Any, Any]] = []
        #: Arrays, whose elements may change, with the checksum of those.
        self.contents: list[tuple[Any, int]] = []
        self._visit(function, set())

    def hold(self) -> bool:
        """Whether all is as it was."""
        for container, key, value in self.places:
            try:
                found = container.cell_contents if key is None else container[key]
            except (KeyError, ValueError):
                return False
            if found is not value:
                return False
        return all(_checksum(array) == checksum for array, checksum in self.contents)

    def _visit(self, value: Any, seen: set[int]) -> None:
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, (types.BuiltinFunctionType, np.ufunc, np.dtype, np.generic, types.ModuleType, type, direct.Face,
                              int, float, complex, str, bytes, types.NoneType, types.EllipsisType, slice, range)):
            return
        if isinstance(value, np.ndarray) and value.dtype != object:
            self.contents.append((value, _checksum(value)))
        elif isinstance(value, (tuple, frozenset)):
            for part in value:
                self._visit(part, seen)
        elif isinstance(value, Jitted):
            self._visit(value.__wrapped__, seen)  # type: ignore[attr-defined]
        elif isinstance(value, types.FunctionType):
            self._function(value, seen)
        elif str(getattr(type(value), "__module__", "")).partition(".")[0] not in ("numpy",):
            raise _Untold

    def _function(self, function: types.FunctionType, seen: set[int]) -> None:
        if function.__module__ is not None and function.__module__.partition(".")[0] in _STEADY:
            if function.__closure__:  # what a transform made of a user's function, say
                for cell in function.__closure__:
                    self._cell(cell, seen)
            return
        for cell in function.__closure__ or ():
            self._cell(cell, seen)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(default, seen)
        names: set[str] = set()
        codes = [function.__code__]
        while codes:
            code = codes.pop()
            names.update(code.co_names)
            codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            self.places.append((function.__globals__, name, value))
            self._visit(value, seen)
            if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in _STEADY:
                for attribute in sorted(names & value.__dict__.keys()):
                    self.places.append((value.__dict__, attribute, value.__dict__[attribute]))
                    self._visit(value.__dict__[attribute], seen)

    def _cell(self, cell: Any, seen: set[int]) -> None:
        try:
            value = cell.cell_contents
        except ValueError:
            raise _Untold from None
        self.places.append((cell, None, value))
        self._visit(value, seen)


def _checksum(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data) if array.size else 0


_kept: OrderedDict[Any, tuple[Callable[..., Any], References]] = OrderedDict()


def _identity(function: Any) -> Any:
    """What is equal for functions that are the same code with the same variables around it.

    So a function that is defined anew in every call of another one is recognised. The ids stay those of their objects, which
    the references hold that are kept with the compiled code.
    """
    if type(function) is not types.FunctionType:
        return function
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    around += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return function.__code__, tuple(map(_token, around)), id(function.__globals__)


def _token(value: Any) -> Any:
    return (type(value), repr(value)) if type(value) in (bool, int, float, complex, str, bytes) else id(value)


def kept(function: Any, key: Any, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """``jit(make())``, made of ``function``: that of an earlier call with the same ``key`` if it would be the same."""
    try:
        place = (_identity(function), key)
        found = _kept.get(place)
    except (TypeError, ValueError):  # not hashable, or with a variable that has no value yet
        return _compiled(make)
    if found is not None and found[1].hold():
        _kept.move_to_end(place)
        return found[0]
    try:
        references = References(function)
    except _Untold:
        return _compiled(make)
    compiled = _compiled(make)
    _kept[place] = compiled, references
    while len(_kept) > LIMIT:
        _kept.popitem(last=False)
    return compiled


def _compiled(make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = jit(make())
    return compiled


def is_data(value: Any) -> bool:
    """Whether an argument consists of arrays and numbers, which compiled functions take."""
    return all(isinstance(leaf, (np.ndarray, np.generic, int, float, complex)) or (
        hasattr(leaf, "__array__") and not isinstance(leaf, type)) for leaf in tree.leaves(value))
