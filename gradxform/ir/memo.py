"""Functions of programs whose results are kept as long as the program lives.

The rules of loops transform their bodies, and look for fixed points of which inputs matter. In a nest of loops each
level would do so several times for each time that the level around it does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from gradxform.ir.program import Program

P = ParamSpec("P")
T = TypeVar("T")


def kept(function: Callable[Concatenate[Program, P], T], /) -> Callable[Concatenate[Program, P], T]:
    """``function``, computed once for a program and further arguments, which are hashable and positional.

    It must depend on these only, and its result must not hold the program itself.
    """
    found: WeakKeyDictionary[Program, dict[tuple[Any, ...], T]] = WeakKeyDictionary()

    @functools.wraps(function)
    def remembered(program: Program, /, *args: P.args, **kwargs: P.kwargs) -> T:
        results = found.setdefault(program, {})
        if args not in results:
            results[args] = function(program, *args, **kwargs)
        return results[args]

    return remembered
