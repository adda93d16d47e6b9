"""make_ir, eval_shape, stop_gradient: looking at a function without running it, and cutting its derivative."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from gradxform import primitives, tree
from gradxform.api.arguments import decorator, wrap
from gradxform.api.tracing import as_value, as_values, name_of, trace
from gradxform.core import Tracer, current_builder, type_of
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import canonical
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.ir import ArrayType, Program


@data_class(frozen=True, slots=True)
class ShapeDType:
    """Shape and dtype of an array that need not exist.

    >>> ShapeDType((2, 3), np.float32)
    ShapeDType(shape=(2, 3), dtype=dtype('float32'))
    """

    shape: tuple[int, ...]
    dtype: Any

    def __post_init__(self) -> None:
        try:
            shape = tuple([index(extent) for extent in self.shape])
        except TypeError:
            raise ArgumentTypeError(f"ShapeDType: a shape is a tuple of ints, got {self.shape!r}") from None
        if any(extent < 0 for extent in shape):
            raise ShapeError(f"ShapeDType: negative dimensions are not allowed, got shape {shape}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", canonical(self.dtype))


def stand_in(leaf: Any) -> Any:
    """``leaf``, or for a `ShapeDType` an array of its shape that takes no memory."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if isinstance(leaf, ShapeDType) else leaf


def typed_leaves(arguments: Any) -> tuple[list[ArrayType], tree.TreeDef]:
    """The types of leaves that are arrays, numbers or anything with shape and dtype."""
    leaves, treedef = tree.flatten(arguments)
    types = []
    for leaf in leaves:
        if isinstance(leaf, ShapeDType) or (
            hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not isinstance(leaf, (np.ndarray, np.generic, Tracer))
        ):
            types.append(ArrayType(canonical(leaf.dtype), tuple(leaf.shape)))
        else:
            types.append(type_of(as_value(leaf, "an argument")))
    return types, treedef


@decorator
def make_ir(fun: Callable[..., Any], static_argnums: int | tuple[int, ...] = ()) -> Callable[..., Program]:
    """A function that returns the program of ``fun`` for arguments of these types, instead of its value.

    Captured arrays appear as further inputs. `make_jaxpr` is another name for it.

    >>> import numpy as np
    >>> print(make_ir(lambda x: np.sin(x) * 2.0)(1.0))
    { lambda a:f64[]* . let b:f64[] = sin a ; c:f64[] = mul b 2.0 in (c) }
    """
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    def program(*args: Any, **kwargs: Any) -> Program:
        if not all(-len(args) <= position < len(args) for position in static):
            raise ArgumentError(f"make_ir of {name_of(fun)}: static_argnums={static_argnums!r}, but the call has "
                                f"{len(args)} positional argument(s){user_line()}")
        fixed = {position % len(args): args[position] for position in static}
        dynamic = tuple(None if i in fixed else x for i, x in enumerate(args))
        types, treedef = typed_leaves((dynamic, kwargs))

        def rebuild(leaves: list[Any]) -> Any:
            given, named = tree.unflatten(treedef, leaves)
            return tuple(fixed.get(i, x) for i, x in enumerate(given)), named

        return trace(fun, [None] * len(types), types, rebuild, "make_ir", known=False).program

    return wrap(fun, program, "make_ir")


make_jaxpr = make_ir


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The structure of ``fun``'s result with `ShapeDType` for leaves; nothing is computed.

    >>> import numpy as np
    >>> eval_shape(np.dot, ShapeDType((2, 3), float), ShapeDType((3, 4), float))
    ShapeDType(shape=(2, 4), dtype=dtype('float64'))
    """
    types, treedef = typed_leaves((args, kwargs))
    traced = trace(fun, [None] * len(types), types, lambda leaves: tree.unflatten(treedef, leaves), "eval_shape", known=False)
    return tree.unflatten(traced.treedef, [ShapeDType(t.shape, t.dtype) for t in traced.program.output_types])


def stop_gradient(x: Any) -> Any:
    """``x`` (an array or a pytree) with derivative zero.

    >>> from gradxform.api import grad
    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    leaves, treedef = tree.flatten(x)
    values = as_values(leaves, "stop_gradient: the argument")
    if current_builder() is None and not any(isinstance(v, Tracer) for v in values):
        return x
    return tree.unflatten(treedef, [primitives.stop_gradient(v) for v in values])


