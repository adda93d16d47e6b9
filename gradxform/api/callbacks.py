"""pure_callback and io_callback: Python functions within programs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.arguments import check_callable
from gradxform.api.tracing import as_values, name_of
from gradxform.core import Tracer, current_builder, outside
from gradxform.core.source import user_line
from gradxform.core.tracing import fresh, leaked
from gradxform.dtypes import KINDS, PYTHON_SCALARS, canonical
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, GradxformError, ShapeError, TreeError
from gradxform.ir import Callback
from gradxform.ir.callback import Results
from gradxform.primitives import callback as primitives


def pure_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, sharding: None = None,
    vmap_method: str | None = None, **kwargs: Any,
) -> Any:
    """The result of a Python function, called with numbers when the program runs.

    The function must be pure: its result depends on its arguments only, and how often it is called does not matter.
    Calls whose results are not used are left out; equal calls may be made once; a transform may repeat a call.

    Args:
        callback: gets ``args`` and ``kwargs`` with read-only NumPy arrays for leaves, NumPy scalars where the rank is 0.
        result_shape_dtypes: the structure of its result; leaves have ``shape`` and ``dtype``, such as `ShapeDType`.
        args, kwargs: arrays, numbers and pytrees of them.
        sharding: for JAX's sake; must be None.
        vmap_method: what `vmap` does. 'sequential': one call per lane, in a loop; 'sequential_unrolled': the same without
            a loop; 'expand_dims': one call, in which all arguments have a leading axis, of extent 1 if they are the same
            for all lanes, and results a leading axis of lanes; 'broadcast_all': likewise, with that axis as long as there
            are lanes; 'legacy_vectorized': likewise, without that axis. None: vmap raises.

    Returns:
        Arrays in the structure of ``result_shape_dtypes``.

    Raises:
        TreeError, ShapeError, DTypeError: the function's result is not what ``result_shape_dtypes`` says.
        NotDifferentiableError: when differentiated; use custom_jvp or custom_vjp to give a derivative.
        VmapError: when batched without ``vmap_method``.

    What the function raises comes through, with its own traceback.

    >>> import numpy as np
    >>> from gradxform.api import ShapeDType
    >>> pure_callback(np.linalg.det, ShapeDType((), float), np.eye(2))
    np.float64(1.0)
    """
    if vmap_method is not None and vmap_method not in primitives.VMAP_METHODS:
        raise ArgumentError(
            f"pure_callback: vmap_method must be one of {', '.join(map(repr, primitives.VMAP_METHODS))} or None, got "
            f"{vmap_method!r}{user_line()}")
    call, results, out_tree, operands = _prepared(
        "pure_callback", callback, result_shape_dtypes, args, kwargs, sharding)
    if current_builder() is None:
        values = _call_now(call, operands, results)
    else:
        values = primitives.pure_callback(call, operands, results, vmap_method)
    return tree.unflatten(out_tree, values)


def io_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, sharding: None = None, ordered: bool = False,
    **kwargs: Any,
) -> Any:
    """Calls a Python function for its effect, when the program runs.

    It is called exactly once where the program says so, and calls happen in the order in which they stand in the program:
    from the first iteration of a loop to the last, from the first lane of `vmap` to the last.

    Args:
        callback, result_shape_dtypes, args, kwargs, sharding: as for `pure_callback`; the result is often None.
        ordered: accepted for JAX's sake; all calls are in order.

    Returns:
        Arrays in the structure of ``result_shape_dtypes``. While a function is traced without jit, their values are not
        known: the call is still to come.

    Raises:
        NotDifferentiableError: when differentiated, if a result is of a float dtype.

    What the function raises comes through, with its own traceback; calls that were to follow are not made.

    >>> seen = []
    >>> io_callback(seen.append, None, 2.0)
    >>> seen
    [np.float64(2.0)]
    """
    call, results, out_tree, operands = _prepared("io_callback", callback, result_shape_dtypes, args, kwargs, sharding)
    return tree.unflatten(out_tree, run_effect(call, operands, results))


def run_effect(call: Callback, operands: Sequence[Any], results: Results) -> list[Any]:
    """Call now, or record the call if a builder is open."""
    if current_builder() is None:
        return _call_now(call, operands, results)
    return primitives.io_callback(call, operands, results)


def _call_now(call: Callback, operands: Sequence[Any], results: Results) -> list[Any]:
    for x in operands:
        if isinstance(x, Tracer):
            raise leaked(x)
    return [fresh(x, ()) for x in call.call([primitives.read_only(x) for x in operands], results)]


def _prepared(
    purpose: str, callback: Any, result_shape_dtypes: Any, args: tuple[Any, ...], kwargs: dict[str, Any], sharding: Any,
) -> tuple[Callback, Results, tree.TreeDef, list[Any]]:
    """The callback on flat operands, the types and the structure of its results, and the operands."""
    check_callable(purpose, callback)
    if sharding is not None:
        raise ArgumentError(f"{purpose}: sharding must be None: there is one device, got {sharding!r}{user_line()}")
    specifications, out_tree = tree.flatten(result_shape_dtypes)
    results = tuple([_result_type(purpose, leaf) for leaf in specifications])
    leaves, in_tree = tree.flatten((args, kwargs))
    operands = as_values(leaves, f"{purpose} of {name_of(callback)}: an argument")
    expected = tree.unflatten(out_tree, range(len(results)))
    told = f"{purpose} of {name_of(callback)}"
    where = user_line()

    def call(values: Sequence[Any], types: Results) -> list[Any]:
        given, named = tree.unflatten(in_tree, values)
        with outside():
            returned = callback(*given, **named)
        found = _matched(told, returned, expected, out_tree, where)
        return [_result(told, number, value, *wanted, where)
                for number, (value, wanted) in enumerate(zip(found, types, strict=True))]

    return Callback(name_of(callback), call, identity(purpose, callback, in_tree, out_tree)), results, out_tree, operands


def identity(*parts: Any) -> Hashable:
    """What equals another of equal parts; nothing else, if a part cannot be hashed."""
    try:
        hash(parts)
    except TypeError:
        return object()
    return parts


def _result_type(purpose: str, leaf: Any) -> tuple[Any, tuple[int, ...]]:
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        raise ArgumentTypeError(
            f"{purpose}: result_shape_dtypes must hold leaves with a shape and a dtype, such as gradxform.ShapeDType(shape, "
            f"dtype), got {leaf!r} of type {type(leaf).__name__}{user_line()}")
    try:
        return canonical(leaf.dtype), tuple([int(extent) for extent in leaf.shape])
    except GradxformError as error:
        raise type(error)(f"{purpose}: result_shape_dtypes: {error}{user_line()}") from None


def _matched(told: str, returned: Any, expected: Any, out_tree: tree.TreeDef, where: str) -> list[Any]:
    """The leaves of what a callback returned. Sequences are compared by their length, whatever their class."""

    def walk(value: Any, wanted: Any) -> Iterator[Any]:
        if isinstance(wanted, int):
            yield value
        elif isinstance(wanted, (tuple, list)) and isinstance(value, (tuple, list)) and len(value) == len(wanted):
            for part, wanted_part in zip(value, wanted, strict=True):
                yield from walk(part, wanted_part)
        elif isinstance(wanted, dict) and isinstance(value, dict) and value.keys() == wanted.keys():
            for key in tree.key_order(wanted):
                yield from walk(value[key], wanted[key])
        elif tree.structure(value) == tree.structure(wanted):
            yield from tree.leaves(value)
        else:
            raise TreeError(
                f"{told} returned {value!r} where result_shape_dtypes has the structure {out_tree}: return as many arrays, "
                f"or None where there is none{where}")

    return list(walk(returned, expected))


def _result(told: str, number: int, value: Any, dtype: Any, shape: tuple[int, ...], where: str) -> Any:
    """One result as an array of its dtype and shape; Python numbers adopt the dtype."""
    array = np.asarray(value)
    if array.dtype.kind not in KINDS:
        raise ArgumentTypeError(f"{told}: result {number} must be an array or a number, got {value!r} of type "
                                f"{type(value).__name__}{where}")
    if array.shape != shape:
        raise ShapeError(f"{told}: result {number} has shape {array.shape}, result_shape_dtypes says {shape}{where}")
    if type(value) in PYTHON_SCALARS and np.can_cast(array.dtype, dtype, "same_kind"):
        array = array.astype(dtype)
    if array.dtype != dtype:
        raise DTypeError(f"{told}: result {number} has dtype {array.dtype}, result_shape_dtypes says {dtype}: return "
                         f".astype({dtype.name!r}){where}")
    return array
