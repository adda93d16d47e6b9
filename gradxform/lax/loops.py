"""while_loop, fori_loop, map: loops that stay loops, in compiled code and through every transform."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import index
from typing import Any, TypeVar

import numpy as np

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.tracing import as_values, name_of, trace, types_of
from gradxform.api.vectorization import vmap
from gradxform.core import Tracer, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.ir import ArrayType
from gradxform.lax.progress import Meter, Progress, meter_of, stepped_bar
from gradxform.lax.scanning import element_types, leading_extent, record_loop, trace_step, unroll_factor
from gradxform.lax.staging import as_type, check_function, operand_leaves, staged, strong, with_constants_first
from gradxform.lax.stepping import PythonCarry, scan_in_python
from gradxform.linear import add
from gradxform.operands import cast, known_value
from gradxform.primitives.arithmetic import maximum, sub
from gradxform.primitives.logic import convert, less
from gradxform.primitives.shape import concatenate, iota, reshape, slice_along
from gradxform.primitives.while_loop import while_loop as record_while

Carry = TypeVar("Carry")


# ------------------------------------------------------------------------------------------------------- while_loop


def while_loop(
    cond_fun: Callable[[Carry], Any], body_fun: Callable[[Carry], Carry], init_val: Carry, *, progress: Progress = False,
) -> Carry:
    """Repeat ``body_fun`` as long as ``cond_fun`` holds.

        while_loop : (c -> bool) -> (c -> c) -> c -> c

    is, compiled to one loop and differentiable in both modes, ::

        value = init_val
        while cond_fun(value):
            value = body_fun(value)
        return value

    Reverse mode records what it needs of each iteration in memory that grows as the loop runs.

    Args:
        cond_fun: a function of the carry that gives one boolean.
        body_fun: a function of the carry that gives the next one, of the same structure, dtypes and shapes.
        init_val: the first carry, a pytree. Python scalars in it take the dtype that ``body_fun`` returns for them.
        progress: as in `scan`. How many iterations there will be is not known; ``{"total": n}`` says what you expect.

    Raises:
        TreeError: the carry changes its structure, a dtype or a shape.
        ArgumentTypeError: ``cond_fun`` does not give one boolean.

    >>> while_loop(lambda x: x < 100.0, lambda x: x * x, 2.0)
    np.float64(256.0)
    """
    purpose = f"while_loop of {name_of(body_fun)}"
    check_function("while_loop", "cond_fun", cond_fun)
    check_function("while_loop", "body_fun", body_fun)
    carry, carry_tree = operand_leaves(purpose, "the carry", init_val)
    meter = meter_of(purpose, progress)
    if jit_disabled():
        state = PythonCarry(purpose, init_val)
        if _repeat_in_python(purpose, cond_fun, body_fun, state, meter):
            return state.result()  # type: ignore[no-any-return]

    def record(operands: list[Any]) -> Any:
        return _record_while(purpose, cond_fun, body_fun, operands, carry_tree, meter, None)

    result: Carry = staged(purpose, record, carry)
    return result


def _repeat_in_python(
    purpose: str, cond_fun: Callable[..., Any], body_fun: Callable[..., Any], state: PythonCarry, meter: Meter | None
) -> bool:
    """Run the loop; False if a predicate is not known, in the lanes of `vmap` or where jit traces: record it, then."""
    holds = _known_predicate(purpose, cond_fun(state.value))
    if holds is None:
        return False
    with stepped_bar(meter, None) as advance:
        while holds:
            state.update(body_fun(state.value))
            advance()
            holds = _known_predicate(purpose, cond_fun(state.value))
    return holds is not None


def _known_predicate(purpose: str, result: Any) -> bool | None:
    """The value of a predicate, or None if it is not known."""
    leaves, treedef = tree.flatten(result)
    _check_predicate(purpose, treedef, types_of(as_values(leaves, f"{purpose}: the predicate")))
    value = known_value(leaves[0]) if isinstance(leaves[0], Tracer) else leaves[0]
    return None if value is None else bool(value)


def _check_predicate(purpose: str, treedef: tree.TreeDef, types: Sequence[ArrayType]) -> None:
    if not treedef.is_leaf():
        shown = ", ".join(str(t) for t in types) or "nothing"
        raise ArgumentTypeError(
            f"{purpose}: cond_fun must give one boolean, got {shown} in the structure {treedef}{user_line()}")
    (found,) = types
    if found.shape:
        raise ArgumentTypeError(
            f"{purpose}: cond_fun must give one boolean, got an array of type {found}: reduce it with np.any or np.all"
            f"{user_line()}")
    if found.dtype != bool_:
        raise ArgumentTypeError(
            f"{purpose}: cond_fun must give a boolean, got a number of type {found}: compare it, x != 0{user_line()}")


def _record_while(
    purpose: str, cond_fun: Callable[..., Any], body_fun: Callable[..., Any], carry: Sequence[Any],
    carry_tree: tree.TreeDef, meter: Meter | None, total: Any,
) -> Any:
    @functools.wraps(body_fun)
    def step(value: Any, _: Any) -> Any:
        return body_fun(value), None

    body, types, _ = trace_step(purpose, step, types_of(carry), carry_tree, [], tree.structure(None))
    traced = trace(cond_fun, [None] * len(types), types, lambda leaves: ((tree.unflatten(carry_tree, leaves),), {}),
                   "while_loop", known=False)
    _check_predicate(purpose, traced.treedef, traced.program.output_types)
    condition = with_constants_first(traced)
    values = [as_type(x, t) for x, t in zip(carry, types, strict=True)]
    if meter is None:
        results = record_while(condition.program, body.program, condition.constants, body.constants, values)
    else:
        results = meter.while_loop(condition, body, values, total)
    return tree.unflatten(carry_tree, [strong(x) for x in results])


# -------------------------------------------------------------------------------------------------------- fori_loop


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Carry], Carry], init_val: Carry, *, unroll: int | bool | None = None,
    progress: Progress = False,
) -> Carry:
    """Repeat ``body_fun`` for the integers from ``lower`` up to, not including, ``upper``.

        fori_loop : int -> int -> ((int, c) -> c) -> c -> c

    is, compiled to one loop and differentiable in both modes, ::

        value = init_val
        for i in range(lower, upper):
            value = body_fun(i, value)
        return value

    Args:
        lower, upper: integers. Where they are known while tracing, so is the number of iterations; a traced bound makes
            this a `while_loop`. ``lower >= upper`` is no iteration.
        body_fun: a function of the index, which promotes as a Python int does, and of the carry.
        init_val: the first carry, a pytree. Python scalars in it take the dtype that ``body_fun`` returns for them.
        unroll: as in `scan`; only for bounds that are known.
        progress: as in `scan`.

    Raises:
        TreeError: the carry changes its structure, a dtype or a shape.
        ArgumentTypeError: a bound is no integer.

    >>> fori_loop(0, 5, lambda i, total: total + i, 0)
    np.int64(10)
    """
    purpose = f"fori_loop of {name_of(body_fun)}"
    check_function("fori_loop", "body_fun", body_fun)
    start, stop = _bound(purpose, "lower", lower), _bound(purpose, "upper", upper)
    carry, carry_tree = operand_leaves(purpose, "the carry", init_val)
    meter = meter_of(purpose, progress)
    result: Carry
    if not isinstance(start, Tracer) and not isinstance(stop, Tracer):
        result = _static_loop(
            purpose, start, stop, body_fun, init_val, carry, carry_tree, 1 if unroll is None else unroll, meter)
        return result
    if unroll is not None:
        raise ArgumentError(
            f"{purpose}: unroll needs bounds that are known while tracing, got {start!r} and {stop!r}{user_line()}")
    start, stop = cast(start, int64), cast(stop, int64)
    if jit_disabled():
        first, last = (known_value(x) if isinstance(x, Tracer) else x for x in (start, stop))
        if first is not None and last is not None:
            result = _static_loop(purpose, int(first), int(last), body_fun, init_val, carry, carry_tree, 1, meter)
            return result

    @functools.wraps(body_fun)
    def step(state: tuple[Any, Carry]) -> tuple[Any, Carry]:
        position, value = state
        return position + 1, body_fun(_index(position), value)

    whole_tree = tree.structure((0, tree.unflatten(carry_tree, carry)))
    total = None if meter is None else maximum(sub(stop, start), np.int64(0))
    result = _record_while(
        purpose, lambda state: less(state[0], stop), step, [start, *carry], whole_tree, meter, total)[1]
    return result


def _index(position: Any) -> Any:
    """A counter as a weak integer, which promotes as the ints of Python's range do."""
    return convert(position, int64, True)


def _bound(purpose: str, name: str, value: Any) -> Any:
    """A bound as an int, or as the traced integer that it is."""
    found = type_of(value) if isinstance(value, Tracer) else None
    if found is not None:
        if found.shape or found.dtype.kind not in "iu":
            raise ArgumentTypeError(f"{purpose}: {name} must be one integer, got {found}{user_line()}")
        return value
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return index(value)
    except TypeError:
        raise ArgumentTypeError(
            f"{purpose}: {name} must be an integer, got {value!r} of type {type(value).__name__}: use int(...)"
            f"{user_line()}") from None


def _static_loop(
    purpose: str, lower: int, upper: int, body_fun: Callable[..., Any], init: Any, carry: Sequence[Any],
    carry_tree: tree.TreeDef, unroll: int | bool, meter: Meter | None,
) -> Any:
    if jit_disabled() and upper > lower:
        state = PythonCarry(purpose, init)
        with stepped_bar(meter, upper - lower) as advance:
            for position in range(lower, upper):
                state.update(body_fun(position, state.value))
                advance()
        return state.result()
    as_values([lower, upper], f"{purpose}: a bound")
    length = max(upper - lower, 0)
    factor = unroll_factor(purpose, unroll, length)

    @functools.wraps(body_fun)
    def step(value: Any, position: Any) -> Any:
        return body_fun(position, value), None

    def record(operands: list[Any]) -> Any:
        # The counter is an element, not a carry: so its range is known where it is an index.
        positions = iota((length,), int64, 0)
        positions = add(positions, np.int64(lower)) if lower else positions
        return record_loop(purpose, step, operands, carry_tree, [positions], [ArrayType(int64, (), True)],
                       tree.structure(0), length, reverse=False, unroll=factor, checkpoint=None, meter=meter)[0]

    return staged(purpose, record, carry)


# -------------------------------------------------------------------------------------------------------------- map


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None, progress: Progress = False) -> Any:
    """``f`` of each element along the leading axis of ``xs``, one after the other, stacked.

        map : (a -> b) -> [a] -> [b]

    `vmap` gives the same and computes all elements at once, which is faster and takes the memory of all of them.

    Args:
        f: a function of one element.
        xs: a pytree of arrays of one leading extent.
        batch_size: how many elements are computed at once, by `vmap`. The last batch may be smaller.
        progress: as in `scan`. The bar counts elements.

    Raises:
        ShapeError: leaves of ``xs`` differ in their leading extent.
        ArgumentError: ``batch_size`` is not positive.

    >>> import numpy as np
    >>> map(lambda x: x * x, np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9.])
    """
    purpose = f"map of {name_of(f)}"
    check_function("map", "f", f)
    elements, xs_tree = operand_leaves(purpose, "xs", xs)
    length = leading_extent(purpose, elements, xs_tree, None)
    meter = meter_of(purpose, progress)
    if batch_size is None:
        return _one_by_one(purpose, f, elements, xs_tree, length, meter)
    size = _batch_size(purpose, batch_size)
    lanes = vmap(f)
    groups = length // size
    whole = groups * size

    def record(operands: list[Any]) -> Any:
        parts = []
        if groups:
            grouped = [reshape(slice_along(x, 0, 0, whole), (groups, size, *shape_of(x)[1:])) for x in operands]
            ys = _one_by_one(purpose, lanes, grouped, xs_tree, groups,
                             None if meter is None else replace(meter, each=size, whole=length))
            parts.append(tree.map_leaves(lambda y: reshape(y, (whole, *shape_of(y)[2:])), ys))
        if whole < length or not groups:
            parts.append(lanes(tree.unflatten(xs_tree, [slice_along(x, 0, whole, length) for x in operands])))
        return parts[0] if len(parts) == 1 else tree.map_leaves(lambda y, z: concatenate([y, z], 0), *parts)

    return staged(purpose, record, elements)


def _one_by_one(
    purpose: str, f: Callable[[Any], Any], elements: Sequence[Any], xs_tree: tree.TreeDef, length: int, meter: Meter | None
) -> Any:
    @functools.wraps(f)
    def step(_: None, x: Any) -> Any:
        return None, f(x)

    if jit_disabled() and length:
        return scan_in_python(purpose, step, None, elements, xs_tree, length, False, meter)[1]
    return staged(purpose, lambda operands: record_loop(
        purpose, step, [], tree.structure(None), operands, element_types(operands), xs_tree, length, reverse=False,
        unroll=1, checkpoint=None, meter=meter)[1], elements)


def _batch_size(purpose: str, batch_size: Any) -> int:
    try:
        size = index(batch_size)
    except TypeError:
        size = 0
    if size < 1:
        raise ArgumentError(f"{purpose}: batch_size must be a positive int or None, got {batch_size!r}{user_line()}")
    return size
