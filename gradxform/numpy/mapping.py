"""Functions of functions: applied along axes, element by element, and by pieces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.stepping import steppable
from gradxform.api.vectorization import vmap
from gradxform.core import Tracer, current_builder, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_
from gradxform.errors import ArgumentError, ShapeError
from gradxform.linear import full
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import where
from gradxform.numpy.manipulation import expand_dims, moveaxis, reshape
from gradxform.numpy.properties import ndim
from gradxform.operands import as_operand, broadcast_shapes, broadcast_to, cast, lift, normalize_axis


@traced(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """``func1d`` of each vector along ``axis``; the axes of its result stand in the place of that axis.

    The vectors are the lanes of `vmap`, so ``func1d`` is traced once.

    >>> apply_along_axis(np.cumsum, 1, np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [3., 7.]])
    """
    x = lift("apply_along_axis", arr)
    position = normalize_axis("apply_along_axis", axis, x.ndim)
    lanes = moveaxis(x, position, -1)
    outer = lanes.shape[:-1]
    if 0 in outer:
        raise ShapeError(f"apply_along_axis: cannot apply to an array without elements, shape {x.shape}{user_line()}")
    results = vmap(lambda vector: lift("apply_along_axis", func1d(vector, *args, **kwargs)))(
        reshape(lanes, (-1, lanes.shape[-1])))
    results = lift("apply_along_axis", results)
    results = reshape(results, (*outer, *results.shape[1:]))
    count = results.ndim - len(outer)
    return moveaxis(results, tuple(range(len(outer), results.ndim)), tuple(range(position, position + count)))


@traced(np.apply_over_axes)
def apply_over_axes(func: Callable[[Any, Any], Any], a: Any, axes: Any) -> Any:
    """``func(a, axis)`` for one axis after the other, reduced axes staying with extent 1."""
    x = lift("apply_over_axes", a)
    rank = x.ndim
    for axis in axes if isinstance(axes, (tuple, list)) or ndim(axes) else (axes,):
        position = normalize_axis("apply_over_axes", int(axis), rank)
        result = lift("apply_over_axes", func(x, position))
        if result.ndim == rank - 1:
            result = expand_dims(result, position)
        if result.ndim != rank:
            raise ShapeError(
                f"apply_over_axes: the function does not return an array of the correct shape: got {result.shape} for "
                f"{x.shape}{user_line()}")
        x = result
    return x


@traced(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """For each element what the function (or number) says whose condition is the last to hold, else that after them, or 0.

    Each function is applied to all elements; what is not chosen has derivative zero, as with ``where``.
    """
    at = lift("piecewise", x)
    conditions = _conditions(at, condlist, len(funclist))
    functions = list(funclist)
    if len(functions) == len(conditions) + 1:
        otherwise = functions.pop()
        rest = lift("piecewise", full(at.shape, True, bool_))
        for condition in conditions:
            rest = rest & ~condition
        conditions, functions = [rest, *conditions], [otherwise, *functions]
    elif len(functions) != len(conditions):
        raise ArgumentError(
            f"piecewise: with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} functions "
            f"are expected, got {len(functions)}{user_line()}")
    result = lift("piecewise", full(at.shape, 0, at.dtype))
    for condition, function in zip(conditions, functions, strict=True):
        value = function(at, *args, **kw) if callable(function) else function
        result = where(condition, cast(as_operand("piecewise", value), at.dtype), result)
    return result


def _conditions(x: Any, condlist: Any, count: int) -> list[Any]:
    # As NumPy has it, a single condition may come without a list.
    single = not isinstance(condlist, (list, tuple)) and ndim(condlist) in (0, x.ndim)
    scalars = isinstance(condlist, (list, tuple)) and x.ndim != 0 and all(ndim(part) == 0 for part in condlist)
    parts = [condlist] if single or scalars else list(condlist)
    conditions = [lift("piecewise", cast(as_operand("piecewise", part), bool_)) for part in parts]
    return [lift("piecewise", broadcast_to("piecewise", part, x.shape)) for part in conditions]


def ndenumerate(arr: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The index and the value of each element, in order; traced, in as many steps as there are elements."""
    if current_builder() is None:
        return iter(np.ndenumerate(arr))
    x = lift("ndenumerate", arr)
    return ((index, x[index]) for index in np.ndindex(*x.shape))


class vectorize:
    """A function of numbers applied element by element, or, with a ``signature``, to parts of arrays that broadcast.

    On plain arrays this is ``numpy.vectorize``, a loop in Python; inside a transform the elements are the lanes of `vmap`,
    so the function is traced once. ``otypes`` are then the dtypes that the results are cast to.

    >>> import gradxform as gx
    >>> larger = vectorize(lambda a, b: np.maximum(a, b))
    >>> gx.grad(lambda x: larger(x, np.array([0.0, 2.0])).sum())(np.array([[1.0, 3.0], [-1.0, 1.0]]))
    array([[1., 1.],
           [0., 0.]])
    """

    def __init__(self, pyfunc: Any = np._NoValue, otypes: Any = None, doc: Any = None, excluded: Any = None,
                 cache: bool = False, signature: str | None = None) -> None:
        self.pyfunc = pyfunc
        self._plain = np.vectorize(pyfunc, otypes, doc, excluded, cache, signature)
        self._options = (otypes, doc, excluded, cache, signature)
        self.otypes, self.excluded, self.signature = self._plain.otypes, self._plain.excluded, signature
        if pyfunc is not np._NoValue:
            functools.update_wrapper(self, pyfunc, updated=())
        self.__doc__ = doc if doc is not None else getattr(pyfunc, "__doc__", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.pyfunc is np._NoValue:  # used as a decorator with options
            return vectorize(args[0], *self._options)
        if current_builder() is None and not any(isinstance(x, Tracer) for x in tree.leaves((args, kwargs))):
            result = self._plain(*args, **kwargs)
            return tree.map_leaves(steppable, result) if jit_disabled() else result
        return self._recorded(args, kwargs)

    def _recorded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = f"vectorize of {getattr(self.pyfunc, '__name__', 'a function')}"
        keys: list[Any] = [k for k in range(len(args)) if k not in self.excluded]
        keys += [key for key in kwargs if key not in self.excluded]
        operands = [lift(name, args[key] if isinstance(key, int) else kwargs[key]) for key in keys]
        cores = [0] * len(operands) if self.signature is None else _core_ranks(name, self.signature, operands)
        outer = broadcast_shapes(name, *(x.shape[: x.ndim - core] for x, core in zip(operands, cores, strict=True)))

        def call(*values: Any) -> Any:
            given = dict(zip(keys, values, strict=True))
            return self.pyfunc(*[given.get(k, x) for k, x in enumerate(args)],
                               **{key: given.get(key, x) for key, x in kwargs.items()})

        lanes = [_lanes(x, core, outer) for x, core in zip(operands, cores, strict=True)]
        function = call
        for level in reversed(range(len(outer))):
            axes = tuple(0 if taken[level] else None for taken in lanes)
            function = vmap(function, in_axes=axes, axis_size=outer[level])
        results = function(*[_squeezed(x, core, taken) for x, core, taken in zip(operands, cores, lanes, strict=True)])
        return self._typed(name, results)

    def _typed(self, name: str, results: Any) -> Any:
        if isinstance(results, tuple):
            return tuple(self._cast(name, part, k) for k, part in enumerate(results))
        return self._cast(name, results, 0)

    def _cast(self, name: str, result: Any, position: int) -> Any:
        x = lift(name, result)
        return x if self.otypes is None else x.astype(np.dtype(self.otypes[position]))


def _lanes(x: Any, core: int, outer: tuple[int, ...]) -> tuple[bool, ...]:
    """Along which outer axes an operand has an element of its own for each lane."""
    own = x.shape[: x.ndim - core]
    missing = len(outer) - len(own)
    return (*(False,) * missing, *(n != 1 or outer[missing + k] == 1 for k, n in enumerate(own)))


def _squeezed(x: Any, core: int, lanes: tuple[bool, ...]) -> Any:
    """``x`` without the outer axes of extent 1 along which others are longer: lanes share what it holds."""
    own = x.shape[: x.ndim - core]
    kept = tuple(n for n, taken in zip(own, lanes[len(lanes) - len(own):], strict=True) if taken)
    shape = (*kept, *x.shape[x.ndim - core:])
    return x if shape == x.shape else reshape(x, shape)


def _core_ranks(name: str, signature: str, operands: list[Any]) -> list[int]:
    inputs = signature.replace(" ", "").split("->")[0]
    terms = inputs.strip("()").split("),(")
    if len(terms) != len(operands):
        raise ArgumentError(f"{name}: signature {signature!r} has {len(terms)} operands, got {len(operands)}{user_line()}")
    ranks = [len([label for label in term.split(",") if label]) for term in terms]
    extents: dict[str, int] = {}
    for term, rank, x in zip(terms, ranks, operands, strict=True):
        if x.ndim < rank:
            raise ShapeError(
                f"{name}: an operand of shape {x.shape} does not have all the core dimensions ({term}) of "
                f"{signature!r}{user_line()}")
        labels = [label for label in term.split(",") if label]
        for label, extent in zip(labels, shape_of(x)[x.ndim - rank:], strict=True):
            if extents.setdefault(label, extent) != extent:
                raise ShapeError(
                    f"{name}: inconsistent size for core dimension {label!r} of {signature!r}: {extents[label]} and "
                    f"{extent}{user_line()}")
    return ranks
