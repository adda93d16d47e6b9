"""Functions with rules of their own: custom_jvp, custom_vjp, custom_rule, closure_convert.

Names, parameters and semantics are JAX's, but for `custom_rule`, which takes all rules at once. Called with plain arrays
such a function is called as it stands; while something is traced its call is one equation, which transforms replace by
what the rules say.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from gradxform import primitives, tree
from gradxform.api.arguments import check_callable
from gradxform.api.execution import execute
from gradxform.api.inspection import typed_leaves
from gradxform.api.rule_tracing import (
    Call,
    CallRules,
    CustomVjpPrimal,
    RuleFunctions,
    StaticArguments,
    SymbolicZero,
)
from gradxform.api.tracing import as_values, name_of, trace, types_of
from gradxform.core import Tracer, current_builder, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_differentiable
from gradxform.errors import ArgumentError, ArgumentTypeError, TreeError
from gradxform.linear import add
from gradxform.primitives.custom import custom

__all__ = ["CustomVjpPrimal", "SymbolicZero", "closure_convert", "custom_jvp", "custom_rule", "custom_vjp"]


class _WithRules:
    """What functions with rules have in common: their arguments, and how they are called."""

    _kind = ""

    def __init__(
        self, fun: Callable[..., Any], nondiff_argnums: int | Sequence[int] = (), nondiff_argnames: str | Sequence[str] = ()
    ) -> None:
        check_callable(self._kind, fun)
        self.fun = fun
        self._signature = _signature(fun)
        self.nondiff_argnums = self._static_positions(nondiff_argnums, nondiff_argnames)
        self._functions = RuleFunctions()
        functools.update_wrapper(self, fun, updated=())
        self.__name__ = name_of(fun)

    def __repr__(self) -> str:
        return f"<{self._kind} {self.__name__}>"

    def _static_positions(self, argnums: int | Sequence[int], argnames: str | Sequence[str]) -> tuple[int, ...]:
        numbers = (argnums,) if isinstance(argnums, (int, np.integer)) else argnums
        names = (argnames,) if isinstance(argnames, str) else argnames
        try:
            positions = [index(number) for number in numbers]
        except TypeError:
            raise ArgumentTypeError(f"{self._kind} of {name_of(self.fun)}: nondiff_argnums must be an int or a sequence of "
                                    f"ints, got {argnums!r}") from None
        known = list(self._signature.parameters) if self._signature is not None else []
        for name in names:
            if name not in known:
                raise ArgumentError(
                    f"{self._kind} of {name_of(self.fun)}: nondiff_argnames names {name!r}, which is no argument of it")
            positions.append(known.index(name))
        if any(position < 0 for position in positions):
            raise ArgumentError(f"{self._kind} of {name_of(self.fun)}: nondiff_argnums must not be negative, got {argnums!r}")
        return tuple(sorted(set(positions)))

    def _missing(self) -> str | None:
        """What must be given before the function can be called, if it is not."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        missing = self._missing()
        if missing is not None:
            raise ArgumentError(f"{self._kind} function {self.__name__} has no rule: {missing}{user_line()}")
        args = self._positional(args, kwargs)
        if current_builder() is None and not any(isinstance(x, Tracer) for x in tree.leaves(args)):
            return self.fun(*args)
        dynamic = tuple([x for i, x in enumerate(args) if i not in self.nondiff_argnums])
        static = tuple([args[i] for i in self.nondiff_argnums])
        leaves, treedef = tree.flatten(dynamic)
        values = self._leaf_values(leaves)
        statics, traced_statics = _static_arguments(self.nondiff_argnums, static)

        def rebuild(inputs: list[Any]) -> Any:
            given = tree.unflatten(treedef, inputs[: len(values)])
            return statics.merged(given, inputs[len(values):]), {}

        everything = [*values, *traced_statics]
        traced = trace(self.fun, everything, types_of(everything), rebuild, self._kind)
        call = Call(self.__name__, self._names(len(dynamic)), treedef, tuple(types_of(values)), statics,
                    tuple(traced.captures), traced.program, traced.treedef)
        results = custom(traced.program, CallRules(call, self._functions), [*everything, *traced.captures])
        return tree.unflatten(traced.treedef, results)

    def _leaf_values(self, leaves: Sequence[Any]) -> list[Any]:
        try:
            return as_values(leaves, f"{self._kind} of {self.__name__}: an argument")
        except ArgumentTypeError as error:
            raise ArgumentTypeError(f"{error}\n  way out: nondiff_argnums names the arguments that are no arrays") from None

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments by position, defaults filled in, as rules take them."""
        if self._signature is None:
            if kwargs:
                raise ArgumentTypeError(f"{self.__name__} takes its arguments by position{user_line()}")
            return args
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise ArgumentTypeError(f"{self._kind} function {self.__name__}: rules take arguments by position, but "
                                    f"{', '.join(bound.kwargs)} can only be given by keyword{user_line()}")
        if self.nondiff_argnums and self.nondiff_argnums[-1] >= len(bound.args):
            raise ArgumentError(f"{self._kind} of {self.__name__}: nondiff_argnums={self.nondiff_argnums}, but the call has "
                                f"{len(bound.args)} argument(s){user_line()}")
        return bound.args

    def _names(self, count: int) -> tuple[str, ...]:
        """Names of the differentiable arguments, for messages."""
        known = list(self._signature.parameters) if self._signature is not None else []
        positions = [i for i in range(count + len(self.nondiff_argnums)) if i not in self.nondiff_argnums]
        return tuple([known[i] if i < len(known) else str(i) for i in positions])


def _signature(fun: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fun)
    except (TypeError, ValueError):
        return None


def _static_arguments(positions: tuple[int, ...], static: tuple[Any, ...]) -> tuple[StaticArguments, list[Any]]:
    """Static arguments, and their traced leaves with derivative zero."""
    leaves, treedef = tree.flatten(static)
    traced = tuple([i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer)])
    return StaticArguments(positions, leaves, treedef, traced), [primitives.stop_gradient(leaves[i]) for i in traced]


def _symbolic(value: Any) -> bool:
    return isinstance(value, SymbolicZero)


def _options(transform: type[Any], fun: Any, options: dict[str, Any]) -> Any:
    return (lambda function: transform(function, **options)) if fun is None else transform(fun, **options)


# ---------------------------------------------------------------------------------------------------------- custom_jvp


class CustomJvp(_WithRules):
    """A function with a jvp rule. Made by `custom_jvp`."""

    _kind = "custom_jvp"

    def _missing(self) -> str | None:
        return None if self._functions.jvp is not None else f"define one with {self.__name__}.defjvp"

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Define the rule ``jvp(primals, tangents) -> (primal_out, tangent_out)``; returns it, as a decorator does.

        ``primals`` and ``tangents`` are tuples with one entry per differentiable argument; static arguments come before
        them. ``tangent_out`` must be linear in the tangents, and the reverse mode follows by transposing it. Tangents that
        are zero are arrays of zeros, or a `SymbolicZero` with ``symbolic_zeros=True``; those of integers are arrays of
        dtype float0.
        """
        check_callable("defjvp", jvp)
        self._functions = RuleFunctions(
            jvp=lambda statics, primals, tangents: jvp(*statics, primals, tangents), symbolic_tangents=symbolic_zeros)
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Define the rule by a contribution for each argument: ``rule(t, primal_out, *primals) -> tangent_out``.

        None stands for a contribution of zero. Only rules of arguments with a tangent are called.
        """
        if self.nondiff_argnums:
            raise ArgumentTypeError(f"defjvps of {self.__name__}: with nondiff_argnums, define the whole rule with defjvp")

        def rule(statics: Any, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            if len(jvps) != len(primals):
                raise ArgumentError(f"defjvps of {self.__name__}: {len(jvps)} rule(s) for {len(primals)} argument(s)")
            primal_out = self(*primals)
            total: Any = None
            for jvp, tangent in zip(jvps, tangents, strict=True):
                leaves, treedef = tree.flatten(tangent)
                if jvp is None or all(_symbolic(x) for x in leaves):
                    continue
                tangent = tree.unflatten(treedef, [x.instantiate() if _symbolic(x) else x for x in leaves])
                part = jvp(tangent, primal_out, *primals)
                total = part if total is None else tree.map_leaves(add, total, part)
            if total is None:
                total = tree.map_leaves(lambda x: SymbolicZero(type_of(x).shape, type_of(x).dtype), primal_out)
            return primal_out, total

        self._functions = RuleFunctions(jvp=rule, symbolic_tangents=True)


def custom_jvp(
    fun: Callable[..., Any] | None = None, nondiff_argnums: int | Sequence[int] = (),
    nondiff_argnames: str | Sequence[str] = (),
) -> Any:
    """A function whose forward derivative is the user's; the reverse mode follows by transposing it.

    Args:
        fun: a function of arrays and pytrees of them.
        nondiff_argnums, nondiff_argnames: arguments that are no arrays, such as functions; rules get them first.

    Returns:
        A function with the methods ``defjvp(rule)`` and ``defjvps(*rules)``, one of which must be called.

    The rule is traced without values, when a transform meets the function. Higher derivatives differentiate the rule.
    Raises (when differentiated) NotDifferentiableError if the rule is not linear in the tangents, or if the function
    closes over what is differentiated; TreeError, ShapeError if the rule's results do not fit those of ``fun``.

    >>> import numpy as np
    >>> from gradxform import grad
    >>> @custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1 - 1 / (1 + np.exp(x)))
    >>> grad(log1pexp)(100.0)
    np.float64(1.0)
    """
    return _options(CustomJvp, fun, {"nondiff_argnums": nondiff_argnums, "nondiff_argnames": nondiff_argnames})


# ---------------------------------------------------------------------------------------------------------- custom_vjp


class CustomVjp(_WithRules):
    """A function with a vjp rule. Made by `custom_vjp`."""

    _kind = "custom_vjp"

    def _missing(self) -> str | None:
        return None if self._functions.fwd is not None else f"define one with {self.__name__}.defvjp"

    def defvjp(
        self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False, optimize_remat: bool = False
    ) -> None:
        """Define ``fwd(*args) -> (out, residuals)`` and ``bwd(residuals, ct) -> cotangents``.

        ``fwd`` takes the arguments of the function, ``bwd`` the static arguments, the residuals (any pytree of arrays) and
        the cotangent of the result. It returns a tuple with an entry per differentiable argument, of its structure; None
        stands for zero, and what belongs to integers is None or of dtype float0.

        With ``symbolic_zeros=True`` leaves of the arguments of ``fwd`` come as objects with ``value`` and ``perturbed``,
        and cotangents that are zero as `SymbolicZero`. ``optimize_remat`` is accepted; it is always so here.
        """
        check_callable("defvjp", fwd)
        check_callable("defvjp", bwd)
        self._functions = RuleFunctions(
            fwd=lambda args: fwd(*args), bwd=lambda statics, residuals, ct: bwd(*statics, residuals, ct),
            symbolic_cotangents=symbolic_zeros)


def custom_vjp(
    fun: Callable[..., Any] | None = None, nondiff_argnums: int | Sequence[int] = (),
    nondiff_argnames: str | Sequence[str] = (),
) -> Any:
    """A function whose reverse derivative is the user's. Parameters as in `custom_jvp`.

    The forward mode follows by transposing the backward rule, where that is linear in the cotangent; where it is not,
    as in the clipping of gradients, forward mode raises NotDifferentiableError: `custom_rule` takes a rule for each mode.

    Returns:
        A function with the method ``defvjp(fwd, bwd)``, which must be called.

    >>> import numpy as np
    >>> from gradxform import grad
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),))
    >>> grad(lambda x: 5.0 * clipped(x))(3.0)
    np.float64(1.0)
    """
    return _options(CustomVjp, fun, {"nondiff_argnums": nondiff_argnums, "nondiff_argnames": nondiff_argnames})


# --------------------------------------------------------------------------------------------------------- custom_rule


class CustomRule(_WithRules):
    """A function with rules. Made by `custom_rule`."""

    _kind = "custom_rule"

    def _missing(self) -> str | None:
        found = self._functions
        given = found.jvp is not None or found.fwd is not None or found.batch is not None
        return None if given else "give at least one of jvp=rule, vjp=(fwd, bwd) and batch=rule"

    def jvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule ``jvp(primals, tangents) -> (primal_out, tangent_out)``, as `CustomJvp.defjvp` does."""
        check_callable("custom_rule: jvp", rule)
        self._functions.jvp = lambda statics, primals, tangents: rule(*statics, primals, tangents)
        return rule

    def vjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Set the rules ``fwd(*args)`` and ``bwd(residuals, ct)``, as `CustomVjp.defvjp` does."""
        check_callable("custom_rule: fwd", fwd)
        check_callable("custom_rule: bwd", bwd)
        self._functions.fwd = lambda args: fwd(*args)
        self._functions.bwd = lambda statics, residuals, ct: bwd(*statics, residuals, ct)

    def batch(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule ``batch(axis_size, in_batched, *args) -> (out, out_batched)``.

        ``in_batched`` is a list with an entry per argument, of its structure, with booleans for leaves: batched leaves
        have the batch axis first. ``out_batched`` says the same of the result.
        """
        check_callable("custom_rule: batch", rule)
        self._functions.batch = lambda size, in_batched, args: rule(size, in_batched, *args)
        return rule


def custom_rule(
    fun: Callable[..., Any] | None = None, *, jvp: Callable[..., Any] | None = None,
    vjp: tuple[Callable[..., Any], Callable[..., Any]] | None = None, batch: Callable[..., Any] | None = None,
    nondiff_argnums: int | Sequence[int] = (), nondiff_argnames: str | Sequence[str] = (),
) -> Any:
    """A function with any of three rules: for forward mode, for reverse mode, for batching.

    Args:
        fun: a function of arrays and pytrees of them.
        jvp: ``jvp(primals, tangents) -> (primal_out, tangent_out)``, as in `custom_jvp`.
        vjp: the pair ``fwd(*args) -> (out, residuals)``, ``bwd(residuals, ct) -> cotangents``, as in `custom_vjp`.
        batch: ``batch(axis_size, in_batched, *args) -> (out, out_batched)``.
        nondiff_argnums, nondiff_argnames: static arguments, as in `custom_jvp`.

    Forward mode uses ``jvp``, reverse mode ``vjp``; where one is missing it follows from the other by transposition, and
    where both are, the derivative is that of the function itself. ``vmap`` of the function uses ``batch``; what transforms
    have made of it before (a gradient, say) is batched as the rules are written. The rules may also be set later, with
    the methods ``jvp``, ``vjp`` and ``batch``.

    >>> import numpy as np
    >>> from gradxform import grad, vmap
    >>> @custom_rule
    ... def norm(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> @norm.batch
    ... def rows(axis_size, in_batched, x):
    ...     return np.sqrt(np.sum(x * x, axis=1)), True
    >>> norm.vjp(lambda x: (norm(x), x / norm(x)), lambda direction, ct: (ct * direction,))
    >>> vmap(norm)(np.array([[3.0, 4.0], [0.0, 2.0]]))
    array([5., 2.])
    >>> grad(norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    if fun is None:
        return lambda function: custom_rule(function, jvp=jvp, vjp=vjp, batch=batch, nondiff_argnums=nondiff_argnums,
                                            nondiff_argnames=nondiff_argnames)
    made = CustomRule(fun, nondiff_argnums, nondiff_argnames)
    if jvp is not None:
        made.jvp(jvp)
    if vjp is not None:
        if not (isinstance(vjp, (tuple, list)) and len(vjp) == 2):
            raise ArgumentTypeError(f"custom_rule of {made.__name__}: vjp must be a pair (fwd, bwd), got {vjp!r}")
        made.vjp(*vjp)
    if batch is not None:
        made.batch(batch)
    return made


# ----------------------------------------------------------------------------------------------------- closure_convert


def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """``fun`` with the traced float values that it closes over made arguments.

    Returns (converted, values) such that ``converted(*args, *values)`` is ``fun(*args)`` for arguments of the dtypes,
    shapes and structure of ``example_args``, and differentiates with respect to the values. For functions that are
    static arguments of functions with rules, which may not close over what is differentiated.

    >>> from gradxform import grad
    >>> def f(a):
    ...     converted, values = closure_convert(lambda x: a * x, 1.0)
    ...     return converted(3.0, *values)
    >>> grad(f)(2.0)
    np.float64(3.0)
    """
    check_callable("closure_convert", fun)
    types, treedef = typed_leaves(example_args)
    traced = trace(fun, [None] * len(types), types, lambda leaves: (tree.unflatten(treedef, leaves), {}),
                   "closure_convert", known=False)
    hoisted = [i for i, x in enumerate(traced.captures) if isinstance(x, Tracer) and is_differentiable(x.type.dtype)]

    def converted(*args: Any) -> Any:
        count = len(args) - len(hoisted)
        leaves, found = tree.flatten(args[:count])
        if found != treedef:
            raise TreeError(f"closure_convert: {name_of(fun)} was converted for arguments of the structure {treedef}, got "
                            f"{found}{user_line()}")
        values = as_values(leaves, f"closure_convert of {name_of(fun)}: an argument")
        captures = list(traced.captures)
        for position, value in zip(hoisted, args[count:], strict=True):
            captures[position] = value
        return tree.unflatten(traced.treedef, execute(traced.program, [*values, *captures]))

    converted.__name__ = name_of(fun)
    return converted, [traced.captures[i] for i in hoisted]
