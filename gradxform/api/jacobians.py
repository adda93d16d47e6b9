"""jacfwd, jacrev, hessian: a jvp or vjp batched over the basis, one program in the end.

The result is a tree of the output's structure whose leaves are trees of the input's structure; the block of output
shape s and input shape t has shape s + t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform import tree
from gradxform.api.arguments import (
    CHOOSE,
    CHOOSE_OR_ALLOW,
    Argnums,
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
from gradxform.api.tracing import Traced, name_of, restore_auxiliary, trace
from gradxform.core.source import user_line
from gradxform.dtypes import is_differentiable
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import broadcast, transpose, zeros
from gradxform.primitives import reshape, unit_vectors
from gradxform.transforms import batch, jvp, pull_back


def basis(array_type: ArrayType) -> Any:
    """The standard basis of arrays of ``array_type``: shape (size, *shape). The passes know this form and remove it."""
    return reshape(unit_vectors(array_type.size, array_type.dtype), (array_type.size, *array_type.shape))


def _prepared(
    purpose: str, fun: Any, argnums: Argnums, has_aux: bool, holomorphic: bool, allow_int: bool, args: Any, kwargs: Any
) -> Any:
    """The chosen arguments, the program, and the number of its outputs that are not auxiliary.

    Without ``holomorphic`` the side that the basis belongs to must be real: the inputs of jacfwd, the outputs of jacrev.
    """
    forward = purpose == "jacfwd"
    selected = select(purpose, fun, argnums, args, kwargs)
    if not allow_int:
        check_differentiable(purpose, fun, selected.types, CHOOSE if forward else CHOOSE_OR_ALLOW)
    if holomorphic:
        check_holomorphic(purpose, fun, selected.types, "arguments")
    elif forward:
        check_real(purpose, fun, selected.types, "arguments", "jvp")
    traced = trace(fun, selected.values, selected.types, selected.rebuild, purpose, has_aux=has_aux)
    count = len(traced.program.outputs) - len(traced.auxiliary_positions)
    output_types = traced.program.output_types[:count]
    for array_type in output_types:
        if not is_differentiable(array_type.dtype):
            raise NotDifferentiableError(
                f"{purpose} needs results of a float dtype; {name_of(fun)} gives {array_type}{user_line()}")
    if holomorphic:
        check_holomorphic(purpose, fun, output_types, "results")
    elif not forward:
        check_real(purpose, fun, output_types, "results", "vjp")
    return selected, traced, count


def _assemble(traced: Traced, selected: Any, blocks: Sequence[Sequence[Any]], argnums: Argnums) -> Any:
    """``blocks[output leaf][input leaf]`` as a tree of trees."""
    rows = []
    for row in blocks:
        trees = selected.unflatten(row)
        rows.append(trees[0] if single(argnums) else tuple(trees))
    return tree.unflatten(traced.treedef, rows)


@decorator
def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian in forward mode: one batched jvp over the basis of the input. Best for few inputs.

        jacfwd : (a -> b) -> a -> (b x a)

    Parameters as in `grad`; without ``holomorphic`` the arguments must be real, while results may be complex. The block
    for an output of shape s and an input of shape t has shape s + t; with ``has_aux`` the result is (Jacobian, auxiliary).

    >>> import numpy as np
    >>> jacfwd(lambda x: x ** 2)(np.array([4.0, 4.0]))
    array([[8., 0.],
           [0., 8.]])
    """
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        selected, traced, count = _prepared("jacfwd", fun, argnums, has_aux, holomorphic, False, args, kwargs)
        program, operands = traced.program, [*selected.values, *traced.captures]
        blocks: list[list[Any]] = [[] for _ in range(count)]
        values: list[Any] = []
        for position, array_type in enumerate(selected.types):
            pushed, depends = jvp(program, [i == position for i in range(len(operands))])
            if array_type.shape:
                over_basis, flags = batch(pushed, [False] * len(operands) + [True], array_type.size)
                results = execute(over_basis, [*operands, basis(array_type.strong())])
            else:  # the basis of the numbers is 1: nothing to batch over
                flags = (False,) * len(pushed.outputs)
                results = execute(pushed, [*operands, array_type.dtype.type(1)])
            values = results[:len(program.outputs)]
            tangents = iter(zip(results[len(program.outputs):], flags[len(program.outputs):], strict=True))
            for output, depend in enumerate(depends):
                column, batched = next(tangents) if depend else (None, False)
                if output < count:
                    blocks[output].append(_forward_block(column, batched, program.output_types[output], array_type))
        if not selected.types:
            values = execute(program, operands)
        result = _assemble(traced, selected, blocks, argnums)
        return (result, restore_auxiliary(traced, values[count:])) if has_aux else result

    return wrap(fun, jacobian, "jacfwd")


def _forward_block(column: Any, batched: bool, output: ArrayType, array_type: ArrayType) -> Any:
    """(size, *output) -> (*output, *input)."""
    shape = (*output.shape, *array_type.shape)
    if column is None:
        return zeros(ArrayType(output.dtype, shape))
    rank = output.rank
    if not batched:
        return broadcast(column, shape, tuple(range(rank)))
    return reshape(transpose(column, (*range(1, rank + 1), 0)), shape)


@decorator
def jacrev(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The Jacobian in reverse mode: one batched vjp over the basis of the output. Best for few outputs.

        jacrev : (a -> b) -> a -> (b x a)

    Parameters and result as in `jacfwd`; without ``holomorphic`` the results must be real, while arguments may be complex:
    for an argument x + i y the block is df/dx - i df/dy.

    >>> import numpy as np
    >>> jacrev(lambda x: np.sum(x ** 2))(np.array([4.0, 4.0]))
    array([8., 8.])
    """
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        selected, traced, count = _prepared("jacrev", fun, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        program, operands = traced.program, [*selected.values, *traced.captures]
        wanted = [is_differentiable(t.dtype) for t in selected.types]
        pulled = pull_back(program, wanted + [False] * len(traced.captures))
        total = len(program.outputs)
        blocks: list[list[Any]] = []
        values: list[Any] | None = None
        for output in range(count):
            array_type = program.output_types[output].strong()
            if not pulled.depends[output]:
                blocks.append([zeros(ArrayType(array_type.dtype, (*array_type.shape, *t.shape))) if flag
                               else _integer_block(array_type, t) for flag, t in zip(wanted, selected.types, strict=True)])
                continue
            seeds: list[Any] = []
            flags = []
            for other, depend in enumerate(pulled.depends):
                if depend:
                    unit = basis(array_type) if array_type.shape else array_type.dtype.type(1)
                    seeds.append(unit if other == output else zeros(program.output_types[other].strong()))
                    flags.append(other == output)
            if array_type.shape:
                over_basis, lanes = batch(pulled.program, [False] * len(operands) + flags, array_type.size)
                results = execute(over_basis, [*operands, *seeds])
            else:
                lanes = (False,) * len(pulled.program.outputs)
                results = execute(pulled.program, [*operands, *seeds])
            values = results[:total]
            rows = iter(zip(results[total:], lanes[total:], strict=True))
            blocks.append([_reverse_block(*next(rows), array_type, t) if flag else _integer_block(array_type, t)
                           for flag, t in zip(wanted, selected.types, strict=True)])
        if values is None:
            values = execute(program, operands)
        result = _assemble(traced, selected, blocks, argnums)
        return (result, restore_auxiliary(traced, values[count:])) if has_aux else result

    return wrap(fun, jacobian, "jacrev")


def _integer_block(output: ArrayType, array_type: ArrayType) -> Any:
    return integer_zero(ArrayType(array_type.dtype, (*output.shape, *array_type.shape)))


def _reverse_block(row: Any, batched: bool, output: ArrayType, array_type: ArrayType) -> Any:
    """(size, *input) -> (*output, *input)."""
    shape = (*output.shape, *array_type.shape)
    if not batched:
        return broadcast(row, shape, tuple(range(output.rank, len(shape))))
    return reshape(row, shape)


@decorator
def hessian(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Hessian: ``jacfwd(jacrev(fun))``.

        hessian : (a -> b) -> a -> (b x a x a)

    For a scalar function of an array of shape t the result has shape t + t; pytrees give trees of trees.

    >>> import numpy as np
    >>> hessian(lambda x: np.sum(x ** 2))(np.array([4.0, 4.0]))
    array([[2., 0.],
           [0., 2.]])
    """
    first = jacrev(fun, argnums, has_aux, holomorphic)
    return wrap(fun, jacfwd(first, argnums, has_aux, holomorphic), "hessian")
