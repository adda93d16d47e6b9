"""The unknowns of an optimisation: a vector to SciPy, a pytree to the user's function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.jit import jit
from gradxform.core.source import user_line
from gradxform.dtypes import float64
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.numpy import concatenate
from gradxform.operands import lift
from gradxform.optimize.keeping import is_data, kept


class Unknowns:
    """How a vector is laid out as the first argument of a user's function.

    Numbers and vectors are vectors to the function too, as SciPy has it; other arrays and pytrees keep their structure.
    """

    __slots__ = ("shapes", "structure", "vector")

    def __init__(self, name: str, x0: Any) -> None:
        leaves, structure = tree.flatten(x0)
        if not is_data(x0) or not leaves:
            raise ArgumentTypeError(f"{name}: x0 must consist of arrays and numbers, got {x0!r}{user_line()}")
        if not isinstance(x0, dict) and all(np.ndim(leaf) == 0 for leaf in leaves) and isinstance(x0, (list, tuple, *_NUMBERS)):
            x0 = np.asarray(x0)
            leaves, structure = tree.flatten(x0)
        if any(np.iscomplexobj(leaf) for leaf in leaves):
            raise ArgumentTypeError(f"{name}: x0 must be real, got {x0!r}{user_line()}")
        arrays = [np.asarray(leaf, float64) for leaf in leaves]
        plain = len(arrays) == 1 and arrays[0].ndim <= 1 and hasattr(x0, "shape")
        self.structure = None if plain else structure
        self.shapes = tuple(array.shape for array in arrays)
        self.vector = np.concatenate([array.reshape(-1) for array in arrays])

    @property
    def key(self) -> Any:
        return self.structure, self.shapes

    def restored(self, vector: Any) -> Any:
        """What the user's function gets."""
        if self.structure is None:
            return vector
        leaves, start = [], 0
        for shape in self.shapes:
            size = prod(shape)
            part = vector[start:start + size].reshape(shape)
            leaves.append(part if shape else part[()])
            start += size
        return tree.unflatten(self.structure, leaves)

    def spread(self, name: str, values: Any) -> Any:
        """A pytree like x0 whose leaves broadcast to those of x0, or a number for all, as a vector."""
        if np.ndim(values) == 0 and not isinstance(values, (dict, list, tuple)):
            return np.full(self.vector.size, values, float64)
        leaves, structure = tree.flatten(values)
        if structure != self.structure:
            raise ArgumentError(f"{name}: bounds of x0 must have its structure {self.structure}, got {structure}{user_line()}")
        return np.concatenate([np.broadcast_to(leaf, shape).reshape(-1)
                               for leaf, shape in zip(leaves, self.shapes, strict=True)]).astype(float64)

    def bounds(self, name: str, bounds: Any) -> Any:
        """Bounds as SciPy takes them; for a pytree, a pair of pytrees (or numbers), None for none."""
        from scipy.optimize import Bounds

        if bounds is None or self.structure is None or isinstance(bounds, Bounds):
            return bounds
        lower, upper = bounds
        return Bounds(self.spread(name, -np.inf if lower is None else lower),
                      self.spread(name, np.inf if upper is None else upper))


_NUMBERS = (int, float, np.number)


def flattened(value: Any) -> Any:
    """A function's result, an array or a pytree of arrays, as a vector."""
    leaves = [lift("optimize", leaf) for leaf in tree.leaves(value)]
    if not leaves:
        raise ArgumentError(f"optimize: the function gave no values{user_line()}")
    parts = [leaf.reshape(-1) for leaf in leaves]
    return parts[0] if len(parts) == 1 else concatenate(parts)


class Problem:
    """A user's function of unknowns and further arguments, and what can be compiled of it."""

    __slots__ = ("_data", "_function", "_key", "_original")

    def __init__(self, function: Callable[..., Any], unknowns: Unknowns, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        given = (*args, *kwargs.values())
        places = tuple(is_data(value) for value in given)
        self._data = tuple([x for x, flag in zip(given, places, strict=True) if flag])
        names, count = tuple(kwargs), len(args)
        others = None if all(places) else given  # what is kept must not keep the data of its first call

        def call(vector: Any, *data: Any) -> Any:
            rest = iter(data)
            values = [next(rest) if flag else others[i] for i, flag in enumerate(places)]  # type: ignore[index]
            return function(unknowns.restored(vector), *values[:count], **dict(zip(names, values[count:], strict=True)))

        self._function = call
        self._key = (count, names, unknowns.key) if others is None else None
        self._original = function

    def compiled(self, kind: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[..., Any]:
        """``make(f)`` compiled, f the function of a vector and of those arguments that are arrays; these are filled in."""
        if self._key is None:
            native = jit(make(self._function))
        else:
            native = kept(self._original, (kind, self._key), lambda: make(self._function))
        data = self._data
        return (lambda *x: native(*x, *data)) if data else native
