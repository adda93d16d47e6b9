"""grad, value_and_grad, jvp, vjp, linearize, linear_transpose, hvp.

Names, parameters and results are JAX's. Without ``jit`` the function is traced with its arguments' values known, so
Python's ``if`` and ``while`` may depend on them; the program then holds for that call only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.arguments import (
    CHOOSE_OR_ALLOW,
    Argnums,
    Selected,
    check_callable,
    check_differentiable,
    check_holomorphic,
    check_real,
    decorator,
    integer_zero,
    select,
    single,
    wrap,
)
from gradxform.api.execution import execute
from gradxform.api.tracing import Traced, as_values, name_of, restore_auxiliary, trace, types_of
from gradxform.core import Tracer, current_builder
from gradxform.core.source import user_line
from gradxform.dtypes import float0, holds_weak, is_differentiable
from gradxform.errors import (
    ArgumentError,
    ArgumentTypeError,
    NotDifferentiableError,
    ShapeError,
    TreeError,
    UnconnectedError,
)
from gradxform.ir import ArrayType
from gradxform.linear import zeros
from gradxform.transforms import Split, pull_back
from gradxform.transforms import jvp as jvp_program
from gradxform.transforms import linearize as linearize_program
from gradxform.transforms import transpose as transpose_program

_UNCONNECTED = ("zero", "none", "raise")


def _scalar_output(purpose: str, function: Any, traced: Traced, holomorphic: bool) -> ArrayType:
    count = len(traced.program.outputs) - len(traced.auxiliary_positions)
    types = traced.program.output_types[:count]
    if not traced.treedef.is_leaf() or types[0].shape != ():
        shown = ", ".join(map(str, types)) or "nothing"
        if not traced.treedef.is_leaf():
            shown = f"{shown} in the structure {traced.treedef}"
        raise ShapeError(
            f"{purpose} needs a function with one scalar result; {name_of(function)} gives {shown}: "
            f"reduce it (np.sum), or use jacrev/jacfwd/vjp for arrays{user_line()}")
    if not is_differentiable(types[0].dtype):
        raise NotDifferentiableError(
            f"{purpose} needs a result of a float dtype; {name_of(function)} gives {types[0]}{user_line()}")
    if holomorphic:
        check_holomorphic(purpose, function, types, "a result")
    else:
        check_real(purpose, function, types, "a result", "vjp")
    return types[0]


def _value_and_grad(
    function: Any, argnums: Argnums, has_aux: bool, holomorphic: bool, allow_int: bool, unconnected: str, args: Any, kwargs: Any
) -> tuple[Any, Any, Any]:
    selected = select("grad", function, argnums, args, kwargs)
    if not allow_int:
        check_differentiable("grad", function, selected.types, CHOOSE_OR_ALLOW)
    if holomorphic:
        check_holomorphic("grad", function, selected.types, "arguments")
    traced = trace(function, selected.values, selected.types, selected.rebuild, "grad", has_aux=has_aux)
    array_type = _scalar_output("grad", function, traced, holomorphic)
    wanted = [is_differentiable(t.dtype) for t in selected.types]
    pulled = pull_back(traced.program, wanted + [False] * len(traced.captures))
    seeds = [array_type.dtype.type(1)] if pulled.depends[0] else []
    seeds += [zeros(atom.type.strong()) for atom, d in zip(traced.program.outputs[1:], pulled.depends[1:], strict=True) if d]
    results = execute(pulled.program, [*selected.values, *traced.captures, *seeds])
    count = len(traced.program.outputs)
    found = iter(zip(results[count:], pulled.connected, strict=True))
    gradients = []
    for position, (flag, leaf_type) in enumerate(zip(wanted, selected.types, strict=True)):
        if not flag:
            gradients.append(integer_zero(leaf_type))
            continue
        gradient, connected = next(found)
        if not connected and unconnected == "raise":
            raise UnconnectedError(
                f"grad of {name_of(function)}: the result does not depend on leaf {position} of type {leaf_type} of the "
                f"differentiated arguments{user_line()}")
        gradients.append(None if not connected and unconnected == "none" else gradient)
    trees = selected.unflatten(gradients)
    auxiliary = restore_auxiliary(traced, results[1:count]) if has_aux else None
    return results[0], trees[0] if single(argnums) else tuple(trees), auxiliary


def _check_unconnected(unconnected: str) -> None:
    if unconnected not in _UNCONNECTED:
        raise ArgumentError(f"grad: unconnected must be one of {_UNCONNECTED}, got {unconnected!r}")


@decorator
def grad(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False,
    allow_int: bool = False, unconnected: str = "zero",
) -> Callable[..., Any]:
    """The gradient of a scalar function.

        grad : (a -> R) -> (a -> a)

    Args:
        fun: a function of arrays (or pytrees of them) with one scalar result of a float dtype.
        argnums: the position(s) to differentiate; with a sequence the result is a tuple.
        has_aux: ``fun`` returns (result, auxiliary), and so does the gradient: (gradient, auxiliary).
        holomorphic: ``fun`` is a holomorphic function of complex arguments; the result is its complex derivative.
        allow_int: integer arguments get a gradient of dtype float0 instead of an error.
        unconnected: what an argument gets on which the result does not depend: 'zero', 'none' or 'raise'.

    Returns:
        A function of the same arguments; its result has the structure, shapes and dtypes of the chosen arguments.
        For a complex argument x + i y of a real function it is df/dx - i df/dy.

    Raises:
        ShapeError: the result is no scalar.
        NotDifferentiableError: an integer argument or result; a complex result without ``holomorphic``, and a real
            argument or result with it.

    >>> import numpy as np
    >>> grad(lambda x: np.sum(x ** 2))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    _check_unconnected(unconnected)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        _, result, auxiliary = _value_and_grad(fun, argnums, has_aux, holomorphic, allow_int, unconnected, args, kwargs)
        return (result, auxiliary) if has_aux else result

    return wrap(fun, gradient, "grad")


@decorator
def value_and_grad(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False,
    allow_int: bool = False, unconnected: str = "zero",
) -> Callable[..., Any]:
    """The value and the gradient of a scalar function in one program. Parameters as in `grad`.

        value_and_grad : (a -> R) -> (a -> (R, a))

    >>> value_and_grad(lambda x: x * x)(3.0)
    (np.float64(9.0), np.float64(6.0))
    """
    _check_unconnected(unconnected)

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        value, result, auxiliary = _value_and_grad(fun, argnums, has_aux, holomorphic, allow_int, unconnected, args, kwargs)
        return ((value, auxiliary), result) if has_aux else (value, result)

    return wrap(fun, value_and_gradient, "value_and_grad")


def _positional(purpose: str, function: Any, primals: Sequence[Any]) -> Selected:
    check_callable(purpose, function)
    selected = select(purpose, function, range(len(primals)), tuple(primals), {})
    return selected


def _matching_leaves(purpose: str, given: Any, expected: Any, types: Sequence[ArrayType], what: str) -> list[Any]:
    """The leaves of ``given``, which must have the structure of ``expected`` and fit ``types``.

    What belongs to an integer or a boolean is an array of dtype float0.
    """
    leaves, treedef = tree.flatten(given)
    if treedef != expected:
        raise TreeError(f"{purpose}: the {what}s must have the structure {expected}, got {treedef}{user_line()}")
    return [_matching(purpose, leaf, wanted, what) for leaf, wanted in zip(leaves, types, strict=True)]


def _matching(purpose: str, leaf: Any, wanted: ArrayType, what: str) -> Any:
    if not is_differentiable(wanted.dtype):
        if isinstance(leaf, np.ndarray) and leaf.dtype == float0 and leaf.shape == wanted.shape:
            return leaf
        shown = f"{leaf.dtype}{list(leaf.shape)}" if isinstance(leaf, np.ndarray) else repr(leaf)
        raise ShapeError(
            f"{purpose}: the {what} of {wanted.strong()}, which has no derivative, is an array of dtype float0, "
            f"np.zeros({wanted.shape}, gradxform.float0); got {shown}{user_line()}")
    (value,) = as_values([leaf], f"{purpose}: the {what}")
    (found,) = types_of([value])
    if found.shape != wanted.shape or not (
            (found.weak and holds_weak(wanted.dtype, found.dtype)) or found.dtype == wanted.dtype):
        raise ShapeError(
            f"{purpose}: a {what} must have the dtype and shape of what it belongs to: expected "
            f"{wanted.strong()}, got {found}{user_line()}")
    return wanted.dtype.type(value) if found.weak and not isinstance(value, Tracer) else value


def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """The value of ``fun`` and its derivative along ``tangents`` (Theano's R-operator).

        jvp : (a -> b) -> (a, Ta) -> (b, Tb)

    ``primals`` and ``tangents`` are tuples or lists, one entry per argument, of equal structures, shapes and dtypes.
    Returns (value, tangent), or (value, tangent, auxiliary).

    >>> jvp(lambda x: x * x, (3.0,), (1.0,))
    (np.float64(9.0), np.float64(6.0))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TreeError(
            f"jvp takes tuples or lists of primals and tangents, got {type(primals).__name__} and {type(tangents).__name__}")
    if len(primals) != len(tangents):
        raise TreeError(f"jvp needs one tangent per primal, got {len(tangents)} for {len(primals)}{user_line()}")
    selected = _positional("jvp", fun, primals)
    leaves = _tangent_leaves("jvp", selected, tangents)
    traced = trace(fun, selected.values, selected.types, selected.rebuild, "jvp", has_aux=has_aux)
    nonzero = [is_differentiable(t.dtype) for t in selected.types] + [False] * len(traced.captures)
    pushed, depends = jvp_program(traced.program, nonzero)
    floats = [t for t, flag in zip(leaves, nonzero, strict=False) if flag]
    results = execute(pushed, [*selected.values, *traced.captures, *floats])
    total = len(traced.program.outputs)
    count = total - len(traced.auxiliary_positions)
    derivatives = iter(results[total:])
    complete = [next(derivatives) if flag else _zero(atom.type)
                for atom, flag in zip(traced.program.outputs, depends, strict=True)]
    value, tangent = (tree.unflatten(traced.treedef, part[:count]) for part in (results, complete))
    if has_aux:
        return value, tangent, restore_auxiliary(traced, results[count:total])
    return value, tangent


def _zero(array_type: ArrayType) -> Any:
    return zeros(array_type.strong()) if is_differentiable(array_type.dtype) else integer_zero(array_type)


def _tangent_leaves(purpose: str, selected: Selected, tangents: Sequence[Any]) -> list[Any]:
    result: list[Any] = []
    start = 0
    for treedef, count, tangent in zip(selected.trees, selected.counts, tangents, strict=True):
        result += _matching_leaves(purpose, tangent, treedef, selected.types[start:start + count], "tangent")
        start += count
    return result


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``fun``, and the function from cotangents of it to cotangents of the primals (the L-operator).

        vjp : (a -> b) -> a -> (b, Tb -> Ta)

    Returns (value, pull), or (value, pull, auxiliary); ``pull(cotangent)`` is a tuple, one entry per primal.

    >>> value, pull = vjp(lambda x, y: x * y, 3.0, 4.0)
    >>> pull(1.0)
    (np.float64(4.0), np.float64(3.0))
    """
    selected = _positional("vjp", fun, primals)
    traced = trace(fun, selected.values, selected.types, selected.rebuild, "vjp", has_aux=has_aux)
    wanted = [is_differentiable(t.dtype) for t in selected.types]
    total = len(traced.program.outputs)
    count = total - len(traced.auxiliary_positions)
    values, depends, backward = _two_parts(traced, selected.values, wanted)
    types = traced.program.output_types

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cts = _matching_leaves("vjp", cotangent, traced.treedef, types[:count], "cotangent")
        given = [cts[i] if i < count else zeros(types[i].strong()) for i, flag in enumerate(depends) if flag]
        found = iter(backward(given))
        leaves = [next(found) if flag else integer_zero(t) for flag, t in zip(wanted, selected.types, strict=True)]
        return tuple(selected.unflatten(leaves))

    value = tree.unflatten(traced.treedef, values[:count])
    if has_aux:
        return value, pull, restore_auxiliary(traced, values[count:total])
    return value, pull


def _two_parts(
    traced: Traced, values: Sequence[Any], wanted: Sequence[bool]
) -> tuple[list[Any], tuple[bool, ...], Callable[[Sequence[Any]], list[Any]]]:
    """The results of a program, which of them depend on a ``wanted`` input, and its pullback there."""
    flags = [*wanted, *[False] * len(traced.captures)]
    arguments = [*values, *traced.captures]
    total = len(traced.program.outputs)
    parts, depends = linearize_program(traced.program, flags)
    if _keeps_tapes(parts):
        pulled = pull_back(traced.program, flags)
        kept = _kept(arguments)
        return (execute(traced.program, arguments), depends,
                lambda cotangents: execute(pulled.program, [*kept, *cotangents])[total:])
    known = execute(parts.known, arguments)
    residuals = known[total:]
    transposed = transpose_program(parts.rest, [False] * len(residuals) + [True] * sum(wanted))
    return known[:total], depends, lambda cotangents: execute(transposed, [*residuals, *cotangents])


def _keeps_tapes(parts: Split) -> bool:
    """Whether the linear part would need a tape from the other one, run by itself.

    Tapes live within one program. Then both parts are run together when the linear one is called, and what is known is
    computed again.
    """
    return current_builder() is None and any(
        var.type.is_tape for var in parts.rest.inputs[: parts.residual_count])


def _kept(arguments: Sequence[Any]) -> list[Any]:
    """The arguments for later: copies of arrays, which their owner may change."""
    return [np.array(x) if isinstance(x, np.ndarray) else x for x in arguments]


def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``fun`` at ``primals`` and its derivative there as a linear function of tangents.

        linearize : (a -> b) -> a -> (b, Ta -o Tb)

    What does not depend on tangents is computed once. Returns (value, push), or (value, push, auxiliary).

    >>> value, push = linearize(lambda x: x * x, 3.0)
    >>> push(1.0), push(2.0)
    (np.float64(6.0), np.float64(12.0))
    """
    selected = _positional("linearize", fun, primals)
    check_differentiable("linearize", fun, selected.types, "")
    traced = trace(fun, selected.values, selected.types, selected.rebuild, "linearize", has_aux=has_aux)
    flags = [True] * len(selected.types) + [False] * len(traced.captures)
    arguments = [*selected.values, *traced.captures]
    parts, depends = linearize_program(traced.program, flags)
    total = len(traced.program.outputs)
    count = total - len(traced.auxiliary_positions)
    if _keeps_tapes(parts):
        pushed, _ = jvp_program(traced.program, flags)
        known, kept = execute(traced.program, arguments), _kept(arguments)

        def forward(tangents: Sequence[Any]) -> list[Any]:
            return execute(pushed, [*kept, *tangents])[total:]
    else:
        known = execute(parts.known, arguments)

        def forward(tangents: Sequence[Any]) -> list[Any]:
            return execute(parts.rest, [*known[total:], *tangents])

    def push(*tangents: Any) -> Any:
        if len(tangents) != len(primals):
            raise TreeError(f"the linearized function takes {len(primals)} tangent(s), got {len(tangents)}{user_line()}")
        found = iter(forward(_tangent_leaves("linearize", selected, tangents)))
        complete = [next(found) if flag else _zero(t) for flag, t in zip(depends, traced.program.output_types, strict=True)]
        return tree.unflatten(traced.treedef, complete[:count])

    value = tree.unflatten(traced.treedef, known[:count])
    if has_aux:
        return value, push, restore_auxiliary(traced, known[count:total])
    return value, push


def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a linear function.

        linear_transpose : (a -o b) -> (Tb -o Ta)

    ``primals`` are arrays, numbers or `ShapeDType`; only their dtypes and shapes are used. Raises
    NotDifferentiableError if ``fun`` is not linear in them.

    >>> import numpy as np
    >>> linear_transpose(lambda x: 3.0 * x, 1.0)(2.0)
    (np.float64(6.0),)
    """
    from gradxform.api.inspection import typed_leaves

    check_callable("linear_transpose", fun)
    types, treedef = typed_leaves(primals)
    check_differentiable("linear_transpose", fun, types, "")
    traced = trace(fun, [None] * len(types), types, lambda leaves: (tree.unflatten(treedef, leaves), {}),
                   "linear_transpose", known=False)
    transposed = transpose_program(traced.program, [True] * len(types) + [False] * len(traced.captures))
    output_types = traced.program.output_types

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cts = _matching_leaves("linear_transpose", cotangent, traced.treedef, output_types, "cotangent")
        return tuple(tree.unflatten(treedef, execute(transposed, [*traced.captures, *cts])))

    return pull


@decorator
def hvp(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The Hessian-vector product of a scalar function, forward over reverse: no Hessian is formed.

        hvp(f)(*args, v) = d/dt grad(f)(x + t v) at t = 0

    The returned function takes the arguments of ``fun`` and then ``v``, of the structure of argument ``argnums``
    (Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 6, 1994).

    >>> import numpy as np
    >>> hvp(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    if not single(argnums):
        raise ArgumentTypeError(f"hvp of {name_of(fun)}: argnums must be one int, got {argnums!r}")

    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise ArgumentError(f"hvp of {name_of(fun)}: call it with the function's arguments and a vector{user_line()}")
        *given, vector = args
        (position,) = select("hvp", fun, argnums, tuple(given), kwargs).positions

        def gradient(x: Any) -> Any:
            return grad(fun, argnums=position)(*given[:position], x, *given[position + 1:], **kwargs)

        return jvp(gradient, (given[position],), (vector,))[1]

    return wrap(fun, product, "hvp")


