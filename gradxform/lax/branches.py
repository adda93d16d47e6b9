"""cond, switch, select, select_n: choosing by values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.stepping import given, steppable
from gradxform.api.tracing import Traced, as_value, name_of, trace, types_of
from gradxform.core import Tracer, run, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64, promote
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, TreeError
from gradxform.ir import ArrayType
from gradxform.lax.staging import (
    as_type,
    check_function,
    leaf_names,
    operand_leaves,
    staged,
    strong,
    with_common_constants,
    with_constants_first,
    with_output_types,
)
from gradxform.operands import as_operand, cast, known_value, promote_operands
from gradxform.primitives.cond import cond as record_cond
from gradxform.primitives.logic import greater_equal, not_equal
from gradxform.primitives.logic import select as choose

Result = TypeVar("Result")

__all__ = ["cond", "select", "select_n", "switch"]

_MISSING: Any = object()


def cond(
    pred: Any, true_fun: Callable[..., Result], false_fun: Callable[..., Result], *operands: Any, operand: Any = _MISSING,
) -> Result:
    """``true_fun(*operands)`` if ``pred`` holds, else ``false_fun(*operands)``.

        cond : bool -> (a -> b) -> (a -> b) -> a -> b

    Both functions are traced, for they must give results of one structure, with leaves of the same dtypes and shapes;
    only the one that is chosen runs, and is differentiated. Within `vmap`, where lanes may choose differently, both run
    and each lane takes its own result.

    Args:
        pred: a boolean; also a number, which holds unless it is 0.
        true_fun, false_fun: functions of the operands. Arrays that they close over are constants.
        operands: pytrees of arrays and numbers.
        operand: a single operand by keyword, as older code passes it.

    Raises:
        ArgumentTypeError: ``pred`` is no boolean or number, but an array, say.
        TreeError: the results differ in type.

    >>> cond(True, lambda x: x + 1.0, lambda x: x - 1.0, 5.0)
    np.float64(6.0)
    """
    given = operands if operand is _MISSING else (*operands, operand)
    purpose = f"cond of {name_of(true_fun)} and {name_of(false_fun)}"
    check_function("cond", "true_fun", true_fun)
    check_function("cond", "false_fun", false_fun)
    holds = _predicate(purpose, pred)
    chosen: Any
    if isinstance(holds, Tracer):
        chosen = _known(holds) if jit_disabled() else None
    else:
        chosen = bool(holds)
    # The index of a branch: 0 if pred does not hold, 1 if it does.
    number = None if chosen is None else int(bool(chosen))
    result: Result = _choose(purpose, ("false_fun", "true_fun"), holds, number, (false_fun, true_fun), given)
    return result


def _predicate(purpose: str, pred: Any) -> Any:
    """The predicate as a boolean, of Python or traced."""
    if callable(pred) and not hasattr(pred, "dtype"):
        raise ArgumentTypeError(
            f"{purpose}: the predicate must be a boolean, got the function {name_of(pred)}: call it{user_line()}")
    leaves, treedef = tree.flatten(pred)
    if not treedef.is_leaf():
        raise ArgumentTypeError(
            f"{purpose}: the predicate must be one boolean, got {pred!r} in the structure {treedef}{user_line()}")
    value = as_value(leaves[0], f"{purpose}: the predicate")
    found = type_of(value)
    if found.shape:
        raise ArgumentTypeError(
            f"{purpose}: the predicate must be one boolean, got an array of type {found}: reduce it with np.any or "
            f"np.all, or choose element by element with np.where{user_line()}")
    if isinstance(value, Tracer):
        return value if found.dtype == bool_ else not_equal(value, found.dtype.type(0))
    return bool(value)


def _known(value: Tracer) -> Any:
    """The value of a traced predicate or index if it is known."""
    return known_value(value)


def switch(index: Any, branches: Sequence[Callable[..., Result]], *operands: Any, operand: Any = _MISSING) -> Result:
    """``branches[index](*operands)``, with the index limited to the branches that there are.

        switch : int -> [a -> b] -> a -> b

    As `cond`, for any number of functions: an index below 0 chooses the first of them, one beyond the end the last.

    Args:
        index: one integer.
        branches: functions of the operands, at least one, whose results have the same structure, dtypes and shapes.
        operands: pytrees of arrays and numbers.

    Raises:
        ArgumentError: there are no branches.
        ArgumentTypeError: ``index`` is no integer.
        TreeError: the results differ in type.

    >>> [switch(i, [lambda x: x, lambda x: -x, lambda x: 10.0 * x], 2.0) for i in (0, 1, 7)]
    [np.float64(2.0), np.float64(-2.0), np.float64(20.0)]
    """
    given = operands if operand is _MISSING else (*operands, operand)
    functions = list(branches)
    if not functions:
        raise ArgumentError(f"switch needs at least one branch{user_line()}")
    for number, function in enumerate(functions):
        check_function("switch", f"branches[{number}]", function)
    purpose = f"switch of {', '.join(map(name_of, functions))}"
    value = _branch_index(purpose, index)
    known = value
    if isinstance(value, Tracer):
        known = _known(value) if jit_disabled() else None
    chosen = None if known is None else min(max(int(known), 0), len(functions) - 1)
    if len(functions) == 1:
        chosen = 0
    names = tuple(f"branches[{number}]" for number in range(len(functions)))
    result: Result = _choose(purpose, names, value, chosen, functions, given)
    return result


def _branch_index(purpose: str, index: Any) -> Any:
    leaves, treedef = tree.flatten(index)
    if not treedef.is_leaf():
        raise ArgumentTypeError(f"{purpose}: the index must be one integer, got {index!r}{user_line()}")
    value = as_value(leaves[0], f"{purpose}: the index")
    found = type_of(value)
    if found.shape or found.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{purpose}: the index must be one integer, got {found}{user_line()}")
    return value


def _choose(
    purpose: str, names: Sequence[str], selector: Any, chosen: int | None, functions: Sequence[Callable[..., Any]],
    operands: tuple[Any, ...],
) -> Any:
    """The result of the branch that ``selector`` selects, or of number ``chosen`` where that is known."""
    if jit_disabled() and chosen is not None:
        result = functions[chosen](*tree.map_leaves(given, operands))
        leaves, treedef = operand_leaves(purpose, f"the result of {names[chosen]}", result)
        return tree.unflatten(treedef, [steppable(strong(x)) for x in leaves])
    leaves, treedef = operand_leaves(purpose, "an operand", operands)

    def record(values: list[Any]) -> Any:
        types = types_of(leaves)
        verb = purpose.split(" ", 1)[0]
        traced = [trace(function, [None] * len(types), types, lambda inner: (tree.unflatten(treedef, inner), {}), verb,
                        known=False) for function in functions]
        agreed = _agreed_types(purpose, names, traced)
        bodies = [with_constants_first(found) for found in traced]
        given = values[bool(dynamic):]
        if chosen is not None:
            body = bodies[chosen]
            results = run(with_output_types(body.program, agreed), [*body.constants, *given])
        else:
            programs, constants = with_common_constants(bodies)
            converted = tuple(with_output_types(program, agreed) for program in programs)
            strong_operands = [as_type(x, t) for x, t in zip(given, types, strict=True)]
            results = record_cond(converted, cast(values[0], int64), [*constants, *strong_operands])
        return tree.unflatten(traced[0].treedef, [strong(x) for x in results])

    dynamic = [selector] if chosen is None else []
    return staged(purpose, record, [*dynamic, *leaves])


def _agreed_types(purpose: str, names: Sequence[str], traced: Sequence[Traced]) -> list[ArrayType]:
    """The types that all branches give; TreeError lists the leaves in which they differ."""
    first = traced[0].treedef
    for name, found in zip(names, traced, strict=True):
        if found.treedef != first:
            raise TreeError(
                f"{purpose}: the results of the branches must have one structure: {names[0]} gives {first}, {name} gives "
                f"{found.treedef}{user_line()}")
    columns = list(zip(*(found.program.output_types for found in traced), strict=True))
    agreed = [_agreed(column) for column in columns]
    wrong = [i for i, t in enumerate(agreed) if t is None]
    if wrong:
        paths = leaf_names("result", first)
        lines = []
        for i in wrong:
            shown = ", ".join(f"{t} from {name}" for name, t in zip(names, columns[i], strict=True))
            mend = "bring them to one shape" if len({t.shape for t in columns[i]}) > 1 else "cast one of them with .astype"
            lines.append(f"\n  {paths[i]} is {shown}: {mend}")
        raise TreeError(
            f"{purpose}: the results of the branches must have the same dtypes and shapes:{''.join(lines)}{user_line()}")
    return [t for t in agreed if t is not None]


def _agreed(types: Sequence[ArrayType]) -> ArrayType | None:
    """One type for all: what is weak, the type of a Python scalar, takes the dtype of the others."""
    shape = types[0].shape
    if any(t.shape != shape for t in types):
        return None
    try:
        dtype, _ = promote(*[(t.dtype, t.weak) for t in types])
    except DTypeError:
        return None
    # A strong type stands as it is: float32 does not become float64 because another branch gives that.
    return None if any(not t.weak and t.dtype != dtype for t in types) else ArrayType(dtype, shape)


# ---------------------------------------------------------------------------------------------- element by element


def select(pred: Any, on_true: Any, on_false: Any) -> Any:
    """``on_true`` where ``pred`` holds, ``on_false`` elsewhere: ``np.where`` for arrays of one shape.

    Args:
        pred: booleans, of the shape of the others or a single one.
        on_true, on_false: arrays of one shape; they promote to one dtype.

    The derivative belongs to the one that is chosen.

    >>> import numpy as np
    >>> select(np.array([True, False]), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([1., 4.])
    """
    return _select("select", as_operand("select", pred), [on_false, on_true])


def select_n(which: Any, *cases: Any) -> Any:
    """The elements of ``cases[which]``: an n-fold `select`.

    Args:
        which: integers, or booleans for two cases, of the shape of the cases or a single one. An integer below 0
            chooses the first case, one beyond the end the last.
        cases: arrays of one shape; they promote to one dtype.

    Raises:
        ArgumentError: no cases, or booleans for another number of cases than two.
        ShapeError: shapes differ.

    >>> import numpy as np
    >>> select_n(np.array([0, 2, 1]), np.zeros(3), np.ones(3), np.full(3, 2.0))
    array([0., 2., 1.])
    """
    if not cases:
        raise ArgumentError(f"select_n needs at least one case{user_line()}")
    return _select("select_n", as_operand("select_n", which), cases)


def _select(name: str, which: Any, cases: Sequence[Any]) -> Any:
    values = promote_operands(name, *cases)
    shapes = {shape_of(x) for x in values}
    if len(shapes) > 1:
        listed = ", ".join(str(type_of(x)) for x in values)
        raise ShapeError(f"{name}: the cases must have one shape, got {listed}: use np.broadcast_to{user_line()}")
    (shape,) = shapes
    found = type_of(which)
    if found.dtype.kind not in "biu" or (name == "select" and found.dtype != bool_):
        wanted = "booleans" if name == "select" else "integers or booleans"
        raise DTypeError(f"{name} chooses by {wanted}, got {found}{user_line()}")
    if found.shape not in ((), shape):
        raise ShapeError(
            f"{name}: what chooses must have the shape of the cases, {shape}, or be a single one, got {found}{user_line()}")
    if found.dtype == bool_:
        if len(values) != 2:
            raise ArgumentError(f"{name}: booleans choose between two cases, got {len(values)}{user_line()}")
        return strong(choose(which, values[1], values[0]))
    result = values[0]
    position = cast(which, int64)
    for number, value in enumerate(values[1:], 1):
        result = choose(greater_equal(position, np.int64(number)), value, result)
    return strong(result)
