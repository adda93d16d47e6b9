"""checkpoint: less memory in reverse mode, for computing values again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.arguments import check_callable, decorator, wrap
from gradxform.api.checkpoint_policies import nothing_saveable
from gradxform.api.tracing import as_values, name_of, trace, types_of
from gradxform.core import Tracer, current_builder
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.primitives.checkpointing import Policy, name_value, remat


@decorator
def checkpoint(
    fun: Callable[..., Any], *, prevent_cse: bool = True, policy: Callable[..., bool] | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Callable[..., Any]:
    """``fun``, whose intermediate values are not kept for the backward pass but computed again in it.

        checkpoint : (a -> b) -> (a -> b)        law: checkpoint(f) = f, and so are all derivatives

    Reverse mode keeps the values that derivatives need from the forward to the backward pass. Of ``checkpoint(fun)`` it
    keeps the arguments and what ``policy`` names; for a chain of n such functions, that is the memory of one of them and of n
    arguments (Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
    differentiation", Optimization Methods and Software 1, 1992). `remat` is another name for it.

    Args:
        fun: a function of arrays and pytrees of them.
        prevent_cse: keeps values that are computed again from being found equal to those of the forward pass. False saves
            that barrier where there is another one: in the body of a loop.
        policy: ``policy(operation, *operand_types, **params) -> bool``, or one of `checkpoint_policies`; None keeps
            nothing but the arguments.
        static_argnums: arguments that are no arrays.

    Returns:
        A function of the same arguments, which without differentiation costs what ``fun`` does.

    Raises:
        ArgumentTypeError: ``policy`` is no function, or an argument is no array and not static.

    >>> import numpy as np
    >>> from gradxform.api import grad
    >>> grad(checkpoint(lambda x: np.sin(np.exp(x))))(0.0)
    np.float64(0.5403023058681398)
    """
    kept = _policy(fun, policy)
    static = _positions(fun, static_argnums)

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is None and not any(isinstance(x, Tracer) for x in tree.leaves((args, kwargs))):
            return fun(*args, **kwargs)
        fixed = _fixed(fun, static, static_argnums, args)
        dynamic = tuple([None if i in fixed else x for i, x in enumerate(args)])
        leaves, treedef = tree.flatten((dynamic, kwargs))
        try:
            values = as_values(leaves, f"checkpoint of {name_of(fun)}: an argument")
        except ArgumentTypeError as error:
            raise ArgumentTypeError(f"{error}\n  way out: static_argnums names the arguments that are no arrays") from None

        def rebuild(inputs: list[Any]) -> Any:
            given, named = tree.unflatten(treedef, inputs)
            return tuple([fixed.get(i, x) for i, x in enumerate(given)]), named

        traced = trace(fun, values, types_of(values), rebuild, "checkpoint")
        results = remat(traced.program, [*values, *traced.captures], kept, bool(prevent_cse))
        return tree.unflatten(traced.treedef, results)

    return wrap(fun, checkpointed, "checkpoint")


def _policy(fun: Any, policy: Callable[..., bool] | None) -> Policy:
    if policy is None:
        policy = nothing_saveable
    check_callable(f"checkpoint of {name_of(fun)}: policy", policy)
    return Policy(name_of(policy), policy, getattr(policy, "excluded", frozenset()))


def _positions(fun: Any, static_argnums: int | Sequence[int]) -> list[int]:
    numbers = (static_argnums,) if isinstance(static_argnums, (int, np.integer)) else static_argnums
    try:
        return [index(number) for number in numbers]
    except TypeError:
        raise ArgumentTypeError(f"checkpoint of {name_of(fun)}: static_argnums must be an int or a sequence of ints, got "
                                f"{static_argnums!r}") from None


def _fixed(fun: Any, positions: list[int], static_argnums: Any, args: tuple[Any, ...]) -> dict[int, Any]:
    """The static arguments by position."""
    if any(not -len(args) <= position < len(args) for position in positions):
        raise ArgumentError(f"checkpoint of {name_of(fun)}: static_argnums={static_argnums!r}, but the call has {len(args)} "
                            f"positional argument(s){user_line()}")
    return {position % len(args): args[position] for position in positions}


def checkpoint_name(x: Any, name: str) -> Any:
    """``x`` (an array or a pytree) itself, under a name by which a policy of `checkpoint` may keep it.

    >>> import numpy as np
    >>> from gradxform.api import checkpoint, checkpoint_policies, grad
    >>> @checkpoint(policy=checkpoint_policies.save_only_these_names("hidden"))
    ... def layer(x):
    ...     hidden = checkpoint_name(np.exp(x), "hidden")
    ...     return np.sin(hidden)
    >>> grad(layer)(0.0)
    np.float64(0.5403023058681398)
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"checkpoint_name: a name is a string, got {name!r} of type {type(name).__name__}{user_line()}")
    leaves, treedef = tree.flatten(x)
    values = as_values(leaves, f"checkpoint_name {name!r}: the argument")
    if current_builder() is None and not any(isinstance(v, Tracer) for v in values):
        return x
    return tree.unflatten(treedef, [name_value(v, name) for v in values])
