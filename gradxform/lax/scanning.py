"""scan: a loop over the leading axis of arrays, and how loops record their bodies."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import index
from typing import Any, TypeVar

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.tracing import name_of, trace, types_of
from gradxform.core import Builder, Tracer, run, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.ir import ArrayType, Program
from gradxform.lax.progress import Meter, Progress, meter_of
from gradxform.lax.staging import (
    Body,
    as_type,
    check_function,
    leaf_names,
    merged_carry,
    operand_leaves,
    staged,
    strong,
    with_constants_first,
    with_output_types,
)
from gradxform.lax.stepping import pair, scan_in_python
from gradxform.operands import stack
from gradxform.primitives.scan import scan as record_scan
from gradxform.primitives.shape import concatenate, iota, reshape, slice_along

Carry = TypeVar("Carry")


def scan(
    f: Callable[[Carry, Any], tuple[Carry, Any]], init: Carry, xs: Any = None, length: int | None = None,
    reverse: bool = False, unroll: int | bool = 1, checkpoint: int | str | None = None, *, progress: Progress = False,
) -> tuple[Carry, Any]:
    """Walk along the leading axis of ``xs`` with a carry, and stack what each step gives.

        scan : ((c, a) -> (c, b)) -> c -> [a] -> (c, [b])

    is, compiled to one loop and differentiable in both modes, ::

        carry, ys = init, []
        for x in xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, np.stack(ys)

    Args:
        f: the step, a function of the carry and of one element of ``xs``, which returns the next carry and one element
            of the result. It is traced (once, or again if a Python scalar in ``init`` must take another dtype), so its
            carry has one structure, and dtypes and shapes that stay. Arrays that it closes over are constants.
        init: the first carry, a pytree. Python scalars in it take the dtype that ``f`` returns for them.
        xs: a pytree of arrays of one leading extent n, or None: then ``f`` gets None.
        length: n, needed only if ``xs`` has no leaves.
        reverse: walk from the last element to the first; the results stand where their elements do.
        unroll: how many steps one iteration of the loop does; True for all of them.
        checkpoint: what reverse mode keeps of n steps, in memory; values and derivatives stay the same. None keeps what
            the derivative needs of each step. An int k keeps the carry in front of each k-th step, and computes k steps
            again at a time: O(n / k + k) memory for one run more of the loop. 'sqrt' chooses k near sqrt(n). 'binomial'
            keeps about log2(n) carries at any time, for about log(n) runs of the loop, in the best possible order. The
            elements of ``xs`` and of the results are stored as ever; forward mode needs none of this.
        progress: True shows a progress bar on stderr while the loop runs, a string is its description, and a dict holds
            options of tqdm, such as ``desc``, ``unit`` or ``file``. Reverse mode shows the bar for the loop itself, and
            none for the way back.

    Returns:
        (the last carry, the elements stacked along a new first axis of extent n), pytrees both. n may be 0.

    Raises:
        TreeError: the carry that is returned has another structure, dtype or shape than the one that comes in.
        ShapeError: leaves of ``xs`` differ in their leading extent, or have none.
        ArgumentError: ``length`` contradicts it, is negative, or is missing.
        ArgumentTypeError: ``f`` does not return a pair.

    >>> import numpy as np
    >>> scan(lambda total, x: (total + x, total * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 2., 9.]))
    """
    purpose = f"scan of {name_of(f)}"
    check_function("scan", "f", f)
    carry, carry_tree = operand_leaves(purpose, "the carry", init)
    elements, xs_tree = operand_leaves(purpose, "xs", xs)
    count = leading_extent(purpose, elements, xs_tree, length)
    factor = unroll_factor(purpose, unroll, count)
    check_checkpoint(purpose, checkpoint)
    meter = meter_of(purpose, progress)
    if jit_disabled() and count:
        return scan_in_python(purpose, f, init, elements, xs_tree, count, reverse, meter)

    def record(operands: list[Any]) -> Any:
        stacked = operands[len(carry):]
        return record_loop(purpose, f, operands[:len(carry)], carry_tree, stacked, element_types(stacked), xs_tree, count,
                       reverse=bool(reverse), unroll=factor, checkpoint=checkpoint, meter=meter)

    result: tuple[Carry, Any] = staged(purpose, record, [*carry, *elements])
    return result


def leading_extent(purpose: str, elements: Sequence[Any], xs_tree: tree.TreeDef, length: Any) -> int:
    """The number of steps."""
    shapes = [shape_of(x) for x in elements]
    if not all(shapes):
        names = leaf_names("xs", xs_tree)
        wrong = next(i for i, shape in enumerate(shapes) if not shape)
        raise ShapeError(
            f"{purpose}: each leaf of xs has a leading axis to walk along, but {names[wrong]} is a number of type "
            f"{type_of(elements[wrong])}: a list of numbers is np.array(xs), a range np.arange(n); pass what stays the "
            f"same in the carry, or close over it{user_line()}")
    extents = [shape[0] for shape in shapes]
    if len(set(extents)) > 1:
        names = leaf_names("xs", xs_tree)
        listed = ", ".join(f"{name} has {extent}" for name, extent in zip(names, extents, strict=True))
        raise ShapeError(f"{purpose}: the leaves of xs must have one leading extent: {listed}{user_line()}")
    if length is None:
        if not extents:
            raise ArgumentError(f"{purpose}: without xs the number of steps is not known: pass length{user_line()}")
        return extents[0]
    if isinstance(length, Tracer):
        raise ArgumentTypeError(
            f"{purpose}: length must be an int, got a traced array of type {length.type}: use fori_loop or while_loop "
            f"for a number of steps that is computed{user_line()}")
    try:
        count = index(length)
    except TypeError:
        raise ArgumentTypeError(
            f"{purpose}: length must be an int, got {length!r} of type {type(length).__name__}{user_line()}") from None
    if count < 0:
        raise ArgumentError(f"{purpose}: length must not be negative, got {count}{user_line()}")
    if extents and count != extents[0]:
        name = leaf_names("xs", xs_tree)[0]
        raise ArgumentError(
            f"{purpose}: length={count} contradicts {name}, whose leading extent is {extents[0]}: leave out length"
            f"{user_line()}")
    return count


def unroll_factor(purpose: str, unroll: Any, length: int) -> int:
    if unroll is True:
        return max(length, 1)
    if unroll is False:
        return 1
    try:
        factor = index(unroll)
    except TypeError:
        factor = 0
    if factor < 1:
        raise ArgumentError(f"{purpose}: unroll must be a positive int or a bool, got {unroll!r}{user_line()}")
    return min(factor, max(length, 1))


def check_checkpoint(purpose: str, checkpoint: Any) -> None:
    """ArgumentError unless ``checkpoint`` is one of the values that scan takes."""
    if checkpoint is None or checkpoint in ("sqrt", "binomial"):
        return
    if not isinstance(checkpoint, bool) and isinstance(checkpoint, int) and checkpoint > 0:
        return
    raise ArgumentError(
        f"{purpose}: checkpoint must be None, a positive int, 'sqrt' or 'binomial', got {checkpoint!r}{user_line()}")


def element_types(elements: Sequence[Any]) -> list[ArrayType]:
    return [ArrayType(t.dtype, t.shape[1:]) for t in types_of(elements)]


def trace_step(
    purpose: str, function: Callable[..., Any], types: Sequence[ArrayType], carry_tree: tree.TreeDef,
    element_types: Sequence[ArrayType], xs_tree: tree.TreeDef,
) -> tuple[Body, list[ArrayType], tree.TreeDef]:
    """The program of a step, the types of its carry, and the structure of what it gives besides.

    The trace is repeated until the types of the carry are those that come out: weak types, of Python scalars, give way.
    """
    verb = purpose.split(" ", 1)[0]
    current = list(types)
    count = len(current)
    while True:
        trees: list[tree.TreeDef] = []

        @functools.wraps(function)
        def paired(carry: Any, x: Any, trees: list[tree.TreeDef] = trees) -> Any:
            next_carry, y = pair(purpose, function(carry, x))
            trees += [tree.structure(next_carry), tree.structure(y)]
            return next_carry, y

        def rebuild(leaves: list[Any]) -> Any:
            return (tree.unflatten(carry_tree, leaves[:count]), tree.unflatten(xs_tree, leaves[count:])), {}

        all_types = [*current, *element_types]
        traced = trace(paired, [None] * len(all_types), all_types, rebuild, verb, known=False)
        result_tree, y_tree = trees
        found = traced.program.output_types
        agreed = merged_carry(purpose, carry_tree, current, result_tree, found[:result_tree.num_leaves])
        if agreed == current:
            body = with_constants_first(traced)
            program = with_output_types(body.program, [*agreed, *found[count:]])
            return Body(program, body.constants), agreed, y_tree
        current = agreed


def record_loop(
    purpose: str, function: Callable[..., Any], carry: Sequence[Any], carry_tree: tree.TreeDef, elements: Sequence[Any],
    element_types: Sequence[ArrayType], xs_tree: tree.TreeDef, length: int, *, reverse: bool, unroll: int,
    checkpoint: int | str | None, meter: Meter | None,
) -> tuple[Any, Any]:
    """Record a scan into the open builder: (carry, ys) as pytrees."""
    body, types, y_tree = trace_step(purpose, function, types_of(carry), carry_tree, element_types, xs_tree)
    values = [as_type(x, t) for x, t in zip(carry, types, strict=True)]
    if meter is not None:
        body = meter.in_scan(body, length, reverse)
        elements = [*elements, iota((length,), int64, 0)]
        meter.effect("open", total=meter.total(length))
    if unroll == 1:
        results = record_scan(body.program, None, body.constants, values, list(elements), length=length, reverse=reverse,
                              checkpoint=checkpoint)
    else:
        results = _unrolled(body, values, elements, length, reverse, unroll, checkpoint)
    if meter is not None:
        meter.effect("close", done=meter.total(length))
    found = [strong(x) for x in results]
    return tree.unflatten(carry_tree, found[:len(types)]), tree.unflatten(y_tree, found[len(types):])


def _repeat(body: Program, constants: Sequence[Any], carry: list[Any], elements: Sequence[Any], count: int,
            reverse: bool) -> list[Any]:
    """``count`` steps written out: the carries, then the results stacked."""
    width = len(carry)
    steps: list[list[Any]] = [[]] * count
    for position in reversed(range(count)) if reverse else range(count):
        xs = [reshape(slice_along(x, 0, position, position + 1), shape_of(x)[1:]) for x in elements]
        results = run(body, [*constants, *carry, *xs])
        carry, steps[position] = results[:width], results[width:]
    return [*carry, *(stack(ys) for ys in zip(*steps, strict=True))]


def _unrolled(
    body: Body, carry: list[Any], elements: Sequence[Any], length: int, reverse: bool, unroll: int,
    checkpoint: int | str | None,
) -> list[Any]:
    """A scan whose iterations do ``unroll`` steps each, and the steps that are left over, written out."""
    groups = length // unroll
    whole, width = groups * unroll, len(carry)
    rest = [slice_along(x, 0, whole, length) for x in elements]
    if groups == 1:
        def first(carry: list[Any]) -> list[Any]:
            front = [slice_along(x, 0, 0, whole) for x in elements]
            return _repeat(body.program, body.constants, carry, front, whole, reverse)
    else:
        builder = Builder("scan")
        with builder:
            count = len(body.constants)
            inputs: list[Any] = [builder.add_input(var.type) for var in body.program.inputs[:count + width]]
            inputs += [builder.add_input(ArrayType(var.type.dtype, (unroll, *var.type.shape)))
                       for var in body.program.inputs[count + width:]]
            outputs = _repeat(body.program, inputs[:count], inputs[count:count + width], inputs[count + width:], unroll,
                              reverse)
            grouped, _ = builder.finish(outputs, body.program.name)

        def first(carry: list[Any]) -> list[Any]:
            xs = [reshape(slice_along(x, 0, 0, whole), (groups, unroll, *shape_of(x)[1:])) for x in elements]
            results = record_scan(grouped, None, body.constants, carry, xs, length=groups, reverse=reverse,
                                  checkpoint=checkpoint)
            return [*results[:width], *(reshape(y, (whole, *shape_of(y)[2:])) for y in results[width:])]

    if whole == length:
        return first(carry)

    def last(carry: list[Any]) -> list[Any]:
        return _repeat(body.program, body.constants, carry, rest, length - whole, reverse)

    if reverse:
        behind = last(carry)
        front = first(behind[:width])
        final = front[:width]
    else:
        front = first(carry)
        behind = last(front[:width])
        final = behind[:width]
    return [*final, *(concatenate([y, z], 0) for y, z in zip(front[width:], behind[width:], strict=True))]
