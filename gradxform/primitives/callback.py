"""Calls into Python: `pure_callback`, whose result is all that matters, and `io_callback`, which is called for its effect.

An ``io_callback`` runs exactly once where the program says so, and all of them run in the order of the program, within
loops and lanes of `vmap` too. A ``pure_callback`` may be shared, dropped or run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gradxform.core import Builder, Primitive, bind_all, current_builder, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.errors import NotDifferentiableError, VmapError
from gradxform.ir import ArrayType, Callback
from gradxform.ir.callback import Results
from gradxform.linear import broadcast, zeros
from gradxform.loopir.lowering import Call
from gradxform.primitives.scan import scan
from gradxform.primitives.shape import concatenate, reshape, slice_along

#: How `pure_callback` can be batched.
VMAP_METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")
#: So few lanes are one call each in the program, and no loop.
UNROLLED_LANES = 4


def _type(*operands: ArrayType, callback: Callback, results: Results, **params: Any) -> tuple[ArrayType, ...]:
    return tuple([ArrayType(dtype, shape) for dtype, shape in results])


def _evaluate(*operands: Any, callback: Callback, results: Results, **params: Any) -> list[Any]:
    # The reference evaluates without NumPy's warnings; a callback is the user's code and has NumPy's own settings.
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        return callback.call([read_only(x) for x in operands], results)


def read_only(value: Any) -> Any:
    """A copy that its receiver may keep and cannot change: a NumPy scalar where the rank is 0."""
    copy = np.array(value)
    if copy.ndim == 0:
        return copy[()]
    copy.flags.writeable = False
    return copy


def _pure_batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, callback: Callback, results: Results,
    vmap_method: str | None,
) -> tuple[list[Any], Sequence[bool]]:
    params = {"callback": callback, "results": results, "vmap_method": vmap_method}
    if vmap_method is None:
        raise VmapError(
            f"pure_callback of {callback.name} under vmap needs to be told what to do with a batch: pass vmap_method, one of "
            f"{', '.join(map(repr, VMAP_METHODS[:-1]))}{_line()}")
    if vmap_method in ("sequential", "sequential_unrolled"):
        return _each_lane(pure_callback_p, operands, batched, size, params, vmap_method == "sequential_unrolled")
    if vmap_method != "legacy_vectorized":
        lanes = size if vmap_method == "broadcast_all" else 1
        operands = [x if flag else _with_lanes(x, lanes) for x, flag in zip(operands, batched, strict=True)]
    params["results"] = tuple([(dtype, (size, *shape)) for dtype, shape in results])
    return bind_all(pure_callback_p, operands, params), [True] * len(results)


def _with_lanes(x: Any, lanes: int) -> Any:
    shape = shape_of(x)
    return broadcast(x, (lanes, *shape), tuple(range(1, len(shape) + 1)))


def _io_batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, callback: Callback, results: Results
) -> tuple[list[Any], Sequence[bool]]:
    return _each_lane(io_callback_p, operands, batched, size, {"callback": callback, "results": results}, False)


def _each_lane(
    primitive: Primitive, operands: Sequence[Any], batched: Sequence[bool], size: int, params: dict[str, Any],
    unrolled: bool,
) -> tuple[list[Any], Sequence[bool]]:
    """One call per lane, from the first to the last."""
    flags = [True] * len(params["results"])
    if unrolled or size <= UNROLLED_LANES:
        lanes = [bind_all(primitive, [_lane(x, i) if flag else x for x, flag in zip(operands, batched, strict=True)], params)
                 for i in range(size)]
        if not lanes:
            return [zeros(ArrayType(dtype, (0, *shape))) for dtype, shape in params["results"]], flags
        return [concatenate([reshape(x, (1, *shape_of(x))) for x in column], 0) for column in zip(*lanes, strict=True)], flags
    builder = Builder("vmap")
    with builder:
        constants = [builder.add_input(type_of(x)) for x, flag in zip(operands, batched, strict=True) if not flag]
        elements = [builder.add_input(ArrayType(type_of(x).dtype, shape_of(x)[1:]))
                    for x, flag in zip(operands, batched, strict=True) if flag]
        given, moving = iter(constants), iter(elements)
        body, captures = builder.finish(
            bind_all(primitive, [next(moving) if flag else next(given) for flag in batched], params))
    assert not captures, "a callback's lane captured an array"
    constants = [x for x, flag in zip(operands, batched, strict=True) if not flag]
    moved = [x for x, flag in zip(operands, batched, strict=True) if flag]
    return scan(body, None, constants, [], moved, length=size, reverse=False, checkpoint=None), flags


def _line() -> str:
    """The line of the equation whose rule is being applied."""
    builder = current_builder()
    source = None if builder is None else builder.source
    return user_line() if source is None else f"\n  in user code: {source}"


def _refused(name: str, why: str) -> Callable[..., NoReturn]:
    """The derivative rule of what has no derivative."""

    def rule(*args: Any, callback: Callback, **params: Any) -> NoReturn:
        raise NotDifferentiableError(
            f"{name} of {callback.name} {why}: give the function around it a rule with custom_jvp or custom_vjp, or apply "
            f"stop_gradient to its arguments if the derivative is zero{_line()}")

    return rule


def _lane(x: Any, number: int) -> Any:
    return reshape(slice_along(x, 0, number, number + 1), shape_of(x)[1:])


def pure_callback(callback: Callback, operands: Sequence[Any], results: Results, vmap_method: str | None) -> list[Any]:
    """The results of a function of its operands."""
    return bind_all(pure_callback_p, operands, {"callback": callback, "results": results, "vmap_method": vmap_method})


def io_callback(callback: Callback, operands: Sequence[Any], results: Results) -> list[Any]:
    """The results of a function that is called for its effect."""
    return bind_all(io_callback_p, operands, {"callback": callback, "results": results})


pure_callback_p = Primitive(
    "pure_callback",
    type=_type,
    evaluate=_evaluate,
    jvp=_refused("pure_callback", "has no derivative, for what Python computes is not seen"),
    transpose=_refused("pure_callback", "is not known to be linear and so has no transpose"),
    batch=_pure_batch,
    lower=lambda operands, result_types, *, callback, results, vmap_method: Call(callback, effect=False),
    multiple=True,
)

io_callback_p = Primitive(
    "io_callback",
    type=_type,
    evaluate=_evaluate,
    jvp=_refused("io_callback", "has no derivative, and a result of a float dtype"),
    transpose=_refused("io_callback", "is not known to be linear and so has no transpose"),
    batch=_io_batch,
    lower=lambda operands, result_types, *, callback, results: Call(callback, effect=True),
    multiple=True,
)

PRIMITIVES = (pure_callback_p, io_callback_p)
