"""Which arguments a transform works on: argnums, and the decorators' two spellings."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.tracing import as_values, name_of, types_of
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import float0, is_complex, is_differentiable
from gradxform.errors import ArgumentError, ArgumentTypeError, NotDifferentiableError
from gradxform.ir import ArrayType

Argnums = int | Sequence[int]


@data_class(frozen=True, slots=True, eq=False)
class Selected:
    """The arguments at ``positions``, flattened. ``values`` are their leaves."""

    positions: tuple[int, ...]
    trees: list[tree.TreeDef]
    counts: list[int]
    values: list[Any]
    types: list[ArrayType]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def rebuild(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call with these leaves in place of the selected ones."""
        args = list(self.args)
        for position, subtree in zip(self.positions, self.unflatten(leaves), strict=True):
            args[position] = subtree
        return tuple(args), self.kwargs

    def unflatten(self, leaves: Sequence[Any]) -> list[Any]:
        """One tree per selected argument."""
        result, start = [], 0
        for treedef, count in zip(self.trees, self.counts, strict=True):
            result.append(tree.unflatten(treedef, leaves[start:start + count]))
            start += count
        return result


def select(purpose: str, function: Any, argnums: Argnums, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Selected:
    """Flatten the arguments named by ``argnums``. Raises ArgumentError if there is no such argument."""
    try:
        given = [index(number) for number in ((argnums,) if isinstance(argnums, (int, np.integer)) else argnums)]
    except TypeError:
        raise ArgumentTypeError(
            f"{purpose} of {name_of(function)}: argnums must be an int or a sequence of ints, got {argnums!r}") from None
    positions = []
    for position in given:
        if not -len(args) <= position < len(args):
            raise ArgumentError(
                f"{purpose} of {name_of(function)}: argnums={argnums!r}, but the call has {len(args)} positional "
                f"argument(s): pass the argument by position{user_line()}")
        positions.append(position % len(args))
    if len(set(positions)) != len(positions):
        raise ArgumentError(f"{purpose} of {name_of(function)}: argnums={argnums!r} names an argument twice")
    trees, counts, leaves = [], [], []
    for position in positions:
        found, treedef = tree.flatten(args[position])
        trees.append(treedef)
        counts.append(len(found))
        leaves += found
    values = as_values(leaves, f"{purpose} of {name_of(function)}: the argument")
    return Selected(tuple(positions), trees, counts, values, types_of(values), args, kwargs)


def check_differentiable(purpose: str, function: Any, types: Sequence[ArrayType], hint: str) -> None:
    """Raise NotDifferentiableError if a type carries no derivative. ``hint`` names the purpose's own ways out."""
    for array_type in types:
        if not is_differentiable(array_type.dtype):
            raise NotDifferentiableError(
                f"{purpose} of {name_of(function)} needs arguments of a float dtype, got {array_type}: pass 2.0 instead of 2, "
                f"or cast with .astype(np.float64){hint}{user_line()}")


#: The ways out of transforms that choose arguments, and of those that also take integers.
CHOOSE = ", or choose other argnums"
CHOOSE_OR_ALLOW = f"{CHOOSE}, or set allow_int=True"


def check_holomorphic(purpose: str, function: Any, types: Sequence[ArrayType], what: str) -> None:
    """Raise NotDifferentiableError unless all ``types`` (of ``what``, the arguments or the results) are complex."""
    for array_type in types:
        if not is_complex(array_type.dtype):
            raise NotDifferentiableError(
                f"{purpose} of {name_of(function)} with holomorphic=True needs {what} of a complex dtype, got {array_type}: "
                f"leave holomorphic=True out, or cast with .astype(np.complex128){user_line()}")


def check_real(purpose: str, function: Any, types: Sequence[ArrayType], what: str, instead: str) -> None:
    """Raise NotDifferentiableError if one of ``types`` is complex: the derivative would be two numbers, not one.

    ``instead`` is the transform that differentiates along given directions.
    """
    for array_type in types:
        if is_complex(array_type.dtype):
            raise NotDifferentiableError(
                f"{purpose} of {name_of(function)} needs {what} of a real dtype, got {array_type}: pass holomorphic=True if "
                f"the function is holomorphic; take the real part of it, or use {instead}, if it is not{user_line()}")


def integer_zero(array_type: ArrayType) -> Any:
    """The derivative with respect to an integer: an array of dtype float0, which holds nothing."""
    return np.zeros(array_type.shape, float0)


def single(argnums: Argnums) -> bool:
    """Whether ``argnums`` names one argument, whose derivative is not wrapped in a tuple."""
    return isinstance(argnums, (int, np.integer))


def check_callable(purpose: str, function: Any) -> None:
    """Raise ArgumentTypeError unless ``function`` can be called."""
    if not callable(function):
        raise ArgumentTypeError(f"{purpose} expects a function, got {function!r} of type {type(function).__name__}")


def decorator(transform: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``transform(f, **options)`` also be written ``transform(**options)(f)``, as a decorator with arguments."""

    @functools.wraps(transform)
    def either(fun: Any = None, /, *args: Any, **options: Any) -> Any:
        if fun is None:
            return lambda function: transform(function, *args, **options)
        check_callable(transform.__name__, fun)
        return transform(fun, *args, **options)

    return either


def wrap(function: Any, new: Callable[..., Any], prefix: str) -> Callable[..., Any]:
    """``new`` with the name and docstring of ``function``."""
    name = name_of(function)
    with contextlib.suppress(AttributeError, TypeError):
        functools.update_wrapper(new, function)
    new.__name__ = f"{prefix}_{name}"
    new.__qualname__ = new.__name__
    return new
