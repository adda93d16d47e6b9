"""scan, while_loop, fori_loop, map: loops that stay loops, in compiled code and through every transform."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Sequence
from operator import index
from typing import Any, TypeVar

import numpy as np

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.tracing import as_values, name_of, trace, types_of
from gradxform.api.vectorization import vmap
from gradxform.core import Tracer, run, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.ir import ArrayType, Program
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
from gradxform.linear import add
from gradxform.operands import cast, known_value, stack
from gradxform.primitives.logic import less
from gradxform.primitives.scan import scan as record_scan
from gradxform.primitives.shape import concatenate, iota, reshape, slice_along
from gradxform.primitives.while_loop import while_loop as record_while

Carry = TypeVar("Carry")

__all__ = ["fori_loop", "map", "scan", "while_loop"]


# ------------------------------------------------------------------------------------------------------------ scan


def scan(
    f: Callable[[Carry, Any], tuple[Carry, Any]], init: Carry, xs: Any = None, length: int | None = None,
    reverse: bool = False, unroll: int | bool = 1, checkpoint: int | str | None = None,
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
        checkpoint: what reverse mode keeps of the steps. None keeps what it needs of each of them; an int keeps the
            carry of each so many steps and computes the others again; 'sqrt' does so each sqrt(n) steps; 'binomial'
            keeps O(log n) carries.

    Returns:
        (the last carry, the elements stacked along a new first axis of extent n), pytrees both. n may be 0.

    Raises:
        TreeError: the carry that is returned has another structure, dtype or shape than the one that comes in.
        ShapeError: leaves of ``xs`` differ in their leading extent, or have none. ArgumentError: ``length`` contradicts
        it, is negative, or is missing. ArgumentTypeError: ``f`` does not return a pair.

    >>> import numpy as np
    >>> scan(lambda total, x: (total + x, total * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 2., 9.]))
    """
    purpose = f"scan of {name_of(f)}"
    check_function("scan", "f", f)
    carry, carry_tree = operand_leaves(purpose, "the carry", init)
    elements, xs_tree = operand_leaves(purpose, "xs", xs)
    count = _length(purpose, elements, xs_tree, length)
    factor = _unroll_factor(purpose, unroll, count)
    check_checkpoint(purpose, checkpoint)
    if jit_disabled() and count:
        return _scan_in_python(purpose, f, init, elements, xs_tree, count, reverse)

    def record(operands: list[Any]) -> Any:
        stacked = operands[len(carry):]
        return _record(purpose, f, operands[:len(carry)], carry_tree, stacked, _element_types(stacked), xs_tree, count,
                       reverse=bool(reverse), unroll=factor, checkpoint=checkpoint)

    result: tuple[Carry, Any] = staged(purpose, record, [*carry, *elements])
    return result


def _length(purpose: str, elements: Sequence[Any], xs_tree: tree.TreeDef, length: Any) -> int:
    """The number of steps."""
    shapes = [shape_of(x) for x in elements]
    if not all(shapes):
        names = leaf_names("xs", xs_tree)
        wrong = next(i for i, shape in enumerate(shapes) if not shape)
        raise ShapeError(
            f"{purpose}: each leaf of xs has a leading axis to walk along, but {names[wrong]} is a number of type "
            f"{type_of(elements[wrong])}: pass what stays the same in the carry, or close over it{user_line()}")
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


def _unroll_factor(purpose: str, unroll: Any, length: int) -> int:
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


def _element_types(elements: Sequence[Any]) -> list[ArrayType]:
    return [ArrayType(t.dtype, t.shape[1:]) for t in types_of(elements)]


def _pair(purpose: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        shown = f"a {type(result).__name__} of {len(result)}" if isinstance(result, (tuple, list)) else repr(result)
        raise ArgumentTypeError(
            f"{purpose}: the function must return a pair (carry, y), got {shown}: return (carry, None) if there is "
            f"nothing to stack{user_line()}")
    return result[0], result[1]


def _step(
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
            next_carry, y = _pair(purpose, function(carry, x))
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


def _record(
    purpose: str, function: Callable[..., Any], carry: Sequence[Any], carry_tree: tree.TreeDef, elements: Sequence[Any],
    element_types: Sequence[ArrayType], xs_tree: tree.TreeDef, length: int, *, reverse: bool, unroll: int,
    checkpoint: int | str | None,
) -> tuple[Any, Any]:
    """Record a scan into the open builder: (carry, ys) as pytrees."""
    body, types, y_tree = _step(purpose, function, types_of(carry), carry_tree, element_types, xs_tree)
    values = [as_type(x, t) for x, t in zip(carry, types, strict=True)]
    if unroll == 1:
        results = record_scan(body.program, None, body.constants, values, list(elements), length=length, reverse=reverse,
                              checkpoint=checkpoint)
    else:
        results = _record_unrolled(body, values, elements, length, reverse, unroll, checkpoint)
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


def _record_unrolled(
    body: Body, carry: list[Any], elements: Sequence[Any], length: int, reverse: bool, unroll: int,
    checkpoint: int | str | None,
) -> list[Any]:
    """A scan whose iterations do ``unroll`` steps each, and the steps that are left over, written out."""
    from gradxform.core import Builder

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


def _scan_in_python(
    purpose: str, function: Callable[..., Any], init: Any, elements: Sequence[Any], xs_tree: tree.TreeDef, length: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """The loop as Python runs it: ``function`` gets the values themselves."""
    carry = _PythonCarry(purpose, init)
    steps: list[list[Any]] = [[]] * length
    y_tree = None
    for position in reversed(range(length)) if reverse else range(length):
        next_carry, y = _pair(purpose, function(carry.value, tree.unflatten(xs_tree, [x[position] for x in elements])))
        carry.update(next_carry)
        leaves, y_tree = tree.flatten(y)
        steps[position] = [strong(x) for x in as_values(leaves, f"{purpose}: the result")]
    assert y_tree is not None
    stacked = [strong(stack(ys)) for ys in zip(*steps, strict=True)]
    return carry.result(), tree.unflatten(y_tree, stacked)


class _PythonCarry:
    """A carry of a loop that Python runs; its types are checked as those of a recorded one."""

    def __init__(self, purpose: str, init: Any) -> None:
        self.purpose = purpose
        self.value = init
        self.leaves, self.tree = operand_leaves(purpose, "the carry", init)
        self.types = types_of(self.leaves)

    def update(self, value: Any) -> None:
        leaves, treedef = tree.flatten(value)
        leaves = as_values(leaves, f"{self.purpose}: the carry")
        self.types = merged_carry(self.purpose, self.tree, self.types, treedef, types_of(leaves))
        self.leaves = [cast(x, t.dtype, t.weak) for x, t in zip(leaves, self.types, strict=True)]
        self.value = tree.unflatten(self.tree, self.leaves)

    def result(self) -> Any:
        return tree.unflatten(self.tree, [strong(x) for x in self.leaves])


# ------------------------------------------------------------------------------------------------------- while_loop


def while_loop(cond_fun: Callable[[Carry], Any], body_fun: Callable[[Carry], Carry], init_val: Carry) -> Carry:
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

    Raises:
        TreeError: the carry changes its structure, a dtype or a shape. ArgumentTypeError: ``cond_fun`` does not give one
        boolean.

    >>> while_loop(lambda x: x < 100.0, lambda x: x * x, 2.0)
    np.float64(256.0)
    """
    purpose = f"while_loop of {name_of(body_fun)}"
    check_function("while_loop", "cond_fun", cond_fun)
    check_function("while_loop", "body_fun", body_fun)
    carry, carry_tree = operand_leaves(purpose, "the carry", init_val)
    if jit_disabled():
        state = _PythonCarry(purpose, init_val)
        while True:
            holds = _known_predicate(purpose, cond_fun(state.value))
            if holds is None:  # lanes of vmap, or a function that jit traces: what is not known must be recorded
                break
            if not holds:
                return state.result()  # type: ignore[no-any-return]
            state.update(body_fun(state.value))

    def record(operands: list[Any]) -> Any:
        return _record_while(purpose, cond_fun, body_fun, operands, carry_tree)

    result: Carry = staged(purpose, record, carry)
    return result


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
    carry_tree: tree.TreeDef,
) -> Any:
    @functools.wraps(body_fun)
    def step(value: Any, _: Any) -> Any:
        return body_fun(value), None

    body, types, _ = _step(purpose, step, types_of(carry), carry_tree, [], tree.structure(None))
    traced = trace(cond_fun, [None] * len(types), types, lambda leaves: ((tree.unflatten(carry_tree, leaves),), {}),
                   "while_loop", known=False)
    _check_predicate(purpose, traced.treedef, traced.program.output_types)
    condition = with_constants_first(traced)
    values = [as_type(x, t) for x, t in zip(carry, types, strict=True)]
    results = record_while(condition.program, body.program, condition.constants, body.constants, values)
    return tree.unflatten(carry_tree, [strong(x) for x in results])


# -------------------------------------------------------------------------------------------------------- fori_loop


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Carry], Carry], init_val: Carry, *, unroll: int | bool | None = None,
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

    Raises:
        TreeError: the carry changes its structure, a dtype or a shape. ArgumentTypeError: a bound is no integer.

    >>> fori_loop(0, 5, lambda i, total: total + i, 0)
    np.int64(10)
    """
    purpose = f"fori_loop of {name_of(body_fun)}"
    check_function("fori_loop", "body_fun", body_fun)
    bounds = [_bound(purpose, name, value) for name, value in (("lower", lower), ("upper", upper))]
    carry, carry_tree = operand_leaves(purpose, "the carry", init_val)
    if not any(isinstance(bound, Tracer) for bound in bounds):
        return _static_loop(purpose, *bounds, body_fun, init_val, carry, carry_tree, 1 if unroll is None else unroll)
    if unroll is not None:
        raise ArgumentError(
            f"{purpose}: unroll needs bounds that are known while tracing, got {bounds[0]!r} and {bounds[1]!r}"
            f"{user_line()}")
    start, stop = (cast(bound, int64) for bound in bounds)
    if jit_disabled() and known_value(stop) is not None and known_value(start) is not None:
        return _static_loop(purpose, int(known_value(start)), int(known_value(stop)), body_fun, init_val, carry,
                            carry_tree, 1)

    @functools.wraps(body_fun)
    def step(state: tuple[Any, Carry]) -> tuple[Any, Carry]:
        position, value = state
        return position + 1, body_fun(_index(position), value)

    whole_tree = tree.structure((0, tree.unflatten(carry_tree, carry)))
    results: tuple[Any, Carry] = _record_while(
        purpose, lambda state: less(state[0], stop), step, [start, *carry], whole_tree)
    return results[1]


def _index(position: Any) -> Any:
    """A counter as a weak integer, which promotes as the ints of Python's range do."""
    from gradxform.primitives.logic import convert

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
    carry_tree: tree.TreeDef, unroll: int | bool,
) -> Any:
    if jit_disabled():
        state = _PythonCarry(purpose, init)
        for position in range(lower, upper):
            state.update(body_fun(position, state.value))
        if upper > lower:
            return state.result()
    as_values([lower, upper], f"{purpose}: a bound")
    length = max(upper - lower, 0)
    factor = _unroll_factor(purpose, unroll, length)

    @functools.wraps(body_fun)
    def step(value: Any, position: Any) -> Any:
        return body_fun(position, value), None

    def record(operands: list[Any]) -> Any:
        # The counter is an element, not a carry: so its range is known where it is an index.
        positions = iota((length,), int64, 0)
        positions = add(positions, np.int64(lower)) if lower else positions
        return _record(purpose, step, operands, carry_tree, [positions], [ArrayType(int64, (), True)],
                       tree.structure(0), length, reverse=False, unroll=factor, checkpoint=None)[0]

    return staged(purpose, record, carry)


# -------------------------------------------------------------------------------------------------------------- map


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:  # noqa: A001
    """``f`` of each element along the leading axis of ``xs``, one after the other, stacked.

        map : (a -> b) -> [a] -> [b]

    `vmap` gives the same and computes all elements at once, which is faster and takes the memory of all of them.

    Args:
        f: a function of one element.
        xs: a pytree of arrays of one leading extent.
        batch_size: how many elements are computed at once, by `vmap`. The last batch may be smaller.

    Raises:
        ShapeError: leaves of ``xs`` differ in their leading extent. ArgumentError: ``batch_size`` is not positive.

    >>> import numpy as np
    >>> map(lambda x: x * x, np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9.])
    """
    purpose = f"map of {name_of(f)}"
    check_function("map", "f", f)
    elements, xs_tree = operand_leaves(purpose, "xs", xs)
    length = _length(purpose, elements, xs_tree, None)

    @functools.wraps(f)
    def step(_: None, x: Any) -> Any:
        return None, f(x)

    if batch_size is None:
        if jit_disabled() and length:
            return _scan_in_python(purpose, step, None, elements, xs_tree, length, False)[1]
        return staged(purpose, lambda operands: _record(
            purpose, step, [], tree.structure(None), operands, _element_types(operands), xs_tree, length, reverse=False,
            unroll=1, checkpoint=None)[1], elements)
    size = _batch_size(purpose, batch_size)
    lanes = vmap(f)
    groups = length // size
    whole = groups * size

    def record(operands: list[Any]) -> Any:
        parts = []
        if groups:
            grouped = [reshape(slice_along(x, 0, 0, whole), (groups, size, *shape_of(x)[1:])) for x in operands]
            ys = map(lanes, tree.unflatten(xs_tree, grouped))
            parts.append(tree.map_leaves(lambda y: reshape(y, (whole, *shape_of(y)[2:])), ys))
        if whole < length or not groups:
            parts.append(lanes(tree.unflatten(xs_tree, [slice_along(x, 0, whole, length) for x in operands])))
        return parts[0] if len(parts) == 1 else tree.map_leaves(lambda y, z: concatenate([y, z], 0), *parts)

    return staged(purpose, record, elements)


def _batch_size(purpose: str, batch_size: Any) -> int:
    try:
        size = index(batch_size)
    except TypeError:
        size = 0
    if size < 1:
        raise ArgumentError(f"{purpose}: batch_size must be a positive int or None, got {batch_size!r}{user_line()}")
    return builtins.min(size, 1 << 62)
