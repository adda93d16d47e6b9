"""jit: one native function per signature.

The object that `jit` returns is called through the emitted entry point of its latest specialisation. Arguments that
no specialisation takes come to `Jitted.call_slow`, which copies what is not contiguous, or traces and compiles for the
new signature. A jitted function called with traced arrays becomes a ``call`` equation of the outer program.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from operator import index
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradxform import tree
from gradxform.api.arguments import decorator
from gradxform.api.compilations import Signature, note_specialisation, static_values
from gradxform.api.disabling import jit_disabled
from gradxform.api.execution import run_in_steps
from gradxform.api.inspection import stand_in
from gradxform.api.layout import (
    Leaves,
    Unstructured,
    describe,
    describe_output,
    flat_output,
    is_native,
    leaf_node,
    native,
    static_node,
)
from gradxform.api.lowered import Lowered, optimised
from gradxform.api.metered_calls import current_collector
from gradxform.api.nans import find_nan
from gradxform.api.pickling import found_by_name
from gradxform.api.stepping import stepping_arguments
from gradxform.api.tracing import Traced, as_value, as_values, name_of, trace, types_of
from gradxform.backend import memory_cache
from gradxform.backend.callable import NativeCallable, NativeEntry
from gradxform.backend.executable import compile_program
from gradxform.backend.signature import EntrySpec, Node, static_identity
from gradxform.collection import paused_collection
from gradxform.config import config
from gradxform.core import Tracer, current_builder
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.ir.callback import wrapped
from gradxform.primitives.call import call

if TYPE_CHECKING:
    from gradxform.api.metering import Metered, MeteredCode

#: Specialisations in the native chain; further ones are found in a dictionary, some microseconds slower.
CHAIN_LENGTH = 8


@data_class(frozen=True, slots=True, eq=False)
class _Request:
    """One call, described. ``values`` are the dynamic leaves in optree's order, ``statics`` the static arguments.

    ``treedef`` is None if native code walks the arguments itself; otherwise it gets the leaves one by one.
    """

    positional: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]
    values: list[Any]
    statics: dict[int, Any]
    treedef: Any

    @property
    def key(self) -> tuple[Any, ...]:
        statics = tuple(map(static_identity, self.statics.values()))
        return self.treedef, self.positional, self.keywords, statics


@data_class(frozen=True, slots=True, eq=False)
class _Specialisation:
    """``treedef`` rebuilds the result where native code returns flat leaves; None where it returns the result itself."""

    entry: Callable[..., Any]
    treedef: Any


_all_jitted: weakref.WeakSet[Jitted] = weakref.WeakSet()


class Jitted(NativeCallable):
    """A function compiled for the dtypes and shapes it is called with. Made by `jit`."""

    def __init__(
        self, fun: Callable[..., Any], static_positions: frozenset[int], static_names: frozenset[str], fast_math: bool = False
    ) -> None:
        self._fun = fun
        self._static_positions = static_positions
        self._static_names = static_names
        self._fast_math = fast_math
        self._specialisations: dict[Any, _Specialisation] = {}
        self._metered: dict[Any, MeteredCode] = {}
        self._traces: dict[Any, Traced] = {}
        self._lock = threading.RLock()
        _all_jitted.add(self)
        functools.update_wrapper(self, fun, updated=())

    def __repr__(self) -> str:
        return f"<jit of {name_of(self._fun)}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By name where it is what its name says, as functions are pickled; else as the function and its options.

        Compiled code does not travel: who unpickles it finds it in the disk cache or makes it anew.
        """
        if found_by_name(self):
            return self.__qualname__  # type: ignore[attr-defined]
        return _jitted, (self._fun, self._static_positions, self._static_names, self._fast_math)

    def call_slow(self, /, *args: Any, **kwargs: Any) -> Any:
        """Calls for which there is no native code yet, or whose arguments must be made fit for it."""
        if jit_disabled():
            return self._step(args, kwargs)
        if current_builder() is not None:
            return self._stage(args, kwargs)
        collector = current_collector()
        again = self if collector is None else self.call_slow
        leaves, treedef = tree.flatten((args, kwargs))
        if any(isinstance(x, Tracer) for x in leaves):  # what they hold, if they hold anything where nothing is traced
            args, kwargs = tree.unflatten(treedef, [x.held() if isinstance(x, Tracer) else x for x in leaves])
            return again(*args, **kwargs)
        if any(type(x) is np.ndarray and not is_native(x) for x in args):
            # A column of a table, say: copied, it may well suit native code that is there.
            return again(*[native(x) if type(x) is np.ndarray else x for x in args], **kwargs)
        request = self._request(args, kwargs)
        if collector is None:
            found = self._found(request, args, kwargs)
        else:
            code = self._metered_code(request, args, kwargs)
            ordinary = functools.partial(self._found, request, args, kwargs)
            found = _Specialisation(collector(code, lambda: ordinary().entry), code.treedef)
        if request.treedef is not None:
            result = found.entry(*map(native, request.values))
        else:
            args, kwargs = tree.map_leaves(_native_leaf, (args, kwargs))
            result = found.entry(*args, **kwargs)
        if config.debug_nans:
            find_nan(name_of(self._fun), tree.leaves(result), lambda: self._run_in_steps(args, kwargs))
        return result if found.treedef is None else tree.unflatten(found.treedef, result)

    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """Trace for these arguments, of which only dtypes and shapes matter, and show every stage.

        A `ShapeDType` may stand for an array. Returns an object with ``program`` (as traced), ``optimized``, ``loops``,
        ``llvm``, ``assembly`` and ``cost``.
        """
        args = tuple([x if self.is_static(i) else tree.map_leaves(stand_in, x) for i, x in enumerate(args)])
        kwargs = {name: x if self.is_static(name) else tree.map_leaves(stand_in, x) for name, x in kwargs.items()}
        request = self._request(args, kwargs)
        traced = self._trace(args, kwargs)
        return Lowered(traced.program, self._spec(request, traced)[0])

    def metered(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Metered:
        """A build with clocks and counters for these arguments, kept in memory until `clear_cache`.

        Its method ``call()`` calls it, ``measure()`` tells where the time goes; see `gradxform.profile` and
        `gradxform.explain`, which show that.
        """
        from gradxform.api.metering import Metered

        named = dict(kwargs or {})
        return Metered(self, self._metered_code(self._request(args, named), args, named), args, named)

    @property
    def specialization_count(self) -> int:
        """How many specialisations this function has in memory."""
        return len(self._specialisations)

    def clear_cache(self) -> None:
        """Forget this function's compiled code and traces in memory; the disk cache stays."""
        with self._lock:
            self.unlink_all()
            self._specialisations.clear()
            self._metered.clear()
            self._traces.clear()

    # ---------------------------------------------------------------------------------------------- signatures

    def is_static(self, place: int | str) -> bool:
        """Whether the argument at this position, or of this name, is a Python value and no array."""
        return place in self._static_names if isinstance(place, str) else place in self._static_positions

    def _dynamic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with None in place of the static ones: what is flattened."""
        return (tuple([None if self.is_static(i) else x for i, x in enumerate(args)]),
                {name: None if self.is_static(name) else kwargs[name] for name in sorted(kwargs)})

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Request:
        purpose = f"jit of {name_of(self._fun)}: an argument"
        places: list[tuple[int | str, Any]] = [*enumerate(args), *((name, kwargs[name]) for name in sorted(kwargs))]
        statics: dict[int, Any] = {}
        for place, value in places:
            if self.is_static(place):
                self._check_hashable(place, value)
                statics[len(statics)] = value
        leaves = Leaves(purpose, [])
        numbers = iter(statics)
        try:
            nodes = [static_node(next(numbers)) if self.is_static(place) else describe(value, leaves)
                     for place, value in places]
            keywords = tuple(zip(sorted(kwargs), nodes[len(args):], strict=True))
            return _Request(tuple(nodes[:len(args)]), keywords, leaves.values, statics, None)
        except Unstructured:
            flat, treedef = tree.flatten(self._dynamic(args, kwargs))
            values = as_values(flat, purpose)
            return _Request(tuple(map(leaf_node, values)), (), values, statics, treedef)
        except ArgumentTypeError as error:
            raise ArgumentTypeError(
                f"{error}\n  way out: an argument that is no array can be static: jit(f, static_argnames=...)") from None

    def _check_hashable(self, place: int | str, value: Any) -> None:
        try:
            hash(value)
        except TypeError:
            raise ArgumentTypeError(
                f"jit of {name_of(self._fun)}: static argument {place!r} must be hashable, got {value!r} of type "
                f"{type(value).__name__}: pass a tuple instead of a list{user_line()}") from None

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Traced:
        flat, treedef = tree.flatten(self._dynamic(args, kwargs))
        values = as_values(flat, f"jit of {name_of(self._fun)}: an argument")

        def rebuild(leaves: Sequence[Any]) -> Any:
            given, named = tree.unflatten(treedef, leaves)
            return (tuple([args[i] if self.is_static(i) else x for i, x in enumerate(given)]),
                    {name: kwargs[name] if self.is_static(name) else x for name, x in named.items()})

        return trace(self._fun, values, types_of(values), rebuild, "jit", known=False)

    def _spec(self, request: _Request, traced: Traced) -> tuple[EntrySpec, bool]:
        """The entry point's specification, and whether native code builds the result's structure."""
        types = traced.program.output_types
        try:
            outputs, structured = describe_output(tree.unflatten(traced.treedef, range(len(types))), types), True
        except Unstructured:
            outputs, structured = flat_output(types), False
        captures = len(traced.captures)
        return EntrySpec(request.positional, request.keywords, outputs, captures, fast_math=self._fast_math), structured

    # ------------------------------------------------------------------------------------------- the two ways on

    def _step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function itself, as `disable_jit` wants it."""
        given = tuple([x if self.is_static(i) else stepping_arguments(x) for i, x in enumerate(args)])
        named = {name: x if self.is_static(name) else stepping_arguments(x) for name, x in kwargs.items()}
        return self._fun(*given, **named)

    def _run_in_steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The results as NumPy computes them, equation by equation."""
        traced = self._trace(args, kwargs)
        values = as_values(tree.leaves(self._dynamic(args, kwargs)), f"jit of {name_of(self._fun)}: an argument")
        return run_in_steps(traced.program, [*values, *traced.captures])

    def _found(self, request: _Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Specialisation:
        """The specialisation for a request, made if it is not there."""
        found = self._specialisations.get(request.key)
        if found is None:
            with self._lock, paused_collection():
                found = self._specialisations.get(request.key) or self._specialise(request, args, kwargs)
        return found

    def _prepared(
        self, request: _Request, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Traced, EntrySpec, bool, list[np.ndarray[Any, Any]]]:
        """The function traced, what `_spec` says of it, and what it captures."""
        traced = self._trace(args, kwargs)
        spec, structured = self._spec(request, traced)
        # A captured array may change later: the program keeps the values of the time of tracing.
        return traced, spec, structured, [np.array(value, order="C") for value in traced.captures]

    def _metered_code(self, request: _Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MeteredCode:
        """The same with clocks and counters."""
        from gradxform.api.metering import MeteredCode

        with self._lock, paused_collection():
            found = self._metered.get(request.key)
            if found is None:
                traced, spec, structured, captures = self._prepared(request, args, kwargs)
                found = self._metered[request.key] = MeteredCode(
                    name_of(self._fun), Lowered(traced.program, spec), spec, request.statics, captures,
                    None if structured else traced.treedef)
        return found

    def _specialise(self, request: _Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Specialisation:
        started = perf_counter()
        traced, spec, structured, captures = self._prepared(request, args, kwargs)
        tracing = perf_counter() - started
        made = compile_program(traced.program, optimised, spec, request.statics, captures)
        entry = NativeEntry(made.address, made.cell_address, made.alive)
        found = _Specialisation(wrapped(entry, made.callbacks), None if structured else traced.treedef)
        self._specialisations[request.key] = found
        direct = structured and request.treedef is None and found.entry is entry
        if direct and super().specialization_count < CHAIN_LENGTH:
            self.link(made.address, made.cell_address, made.alive)
        places = [place for place in (*range(len(args)), *sorted(kwargs)) if self.is_static(place)]
        signature = Signature(request.positional, request.keywords, request.treedef, tuple(places),
                              static_values(request.statics.values()))
        note_specialisation(self, self._fun, name_of(self._fun), signature, made, tracing, len(self._specialisations) - 1)
        return found

    def _stage(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record the function as one equation of the program being traced."""
        flat, treedef = tree.flatten(self._dynamic(args, kwargs))
        values = as_values(flat, f"jit of {name_of(self._fun)}: an argument")
        statics = [x for i, x in enumerate(args) if self.is_static(i)]
        statics += [kwargs[name] for name in sorted(kwargs) if self.is_static(name)]
        key = (treedef, tuple(types_of(values)), tuple(map(static_identity, statics)))
        traced = self._traces.get(key)
        if traced is None:
            traced = self._trace(args, kwargs)
            if not any(isinstance(value, Tracer) for value in traced.captures):
                self._traces[key] = traced
        results = call(traced.program, [*values, *traced.captures], name_of(self._fun))
        return tree.unflatten(traced.treedef, results)


def _jitted(fun: Callable[..., Any], positions: frozenset[int], names: frozenset[str], fast_math: bool = False) -> Jitted:
    return Jitted(fun, positions, names, fast_math)


def _native_leaf(leaf: Any) -> Any:
    """A leaf as native code takes it: what is no array but has one, such as a column of a table, as that."""
    if isinstance(leaf, np.ndarray):
        return native(leaf)
    if hasattr(leaf, "__array__") and not isinstance(leaf, np.generic):
        return native(as_value(leaf, "an argument"))
    return leaf


def _clear_all() -> None:
    for jitted in list(_all_jitted):
        jitted.clear_cache()


memory_cache.register(lambda: sum(jitted.specialization_count for jitted in _all_jitted), _clear_all)


@decorator
def jit(
    fun: Callable[..., Any], static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None, donate_argnums: int | Sequence[int] | None = None,
    keep_unused: bool = False, compiler_options: Mapping[str, bool] | None = None,
) -> Jitted:
    """Compile ``fun`` to one native function, anew for each signature of dtypes, shapes and static values.

    Args:
        fun: a function of arrays, numbers and pytrees of them; it is traced, so its Python code runs once per signature.
        static_argnums, static_argnames: arguments that are Python values, not arrays: hashable, compared with ``==``;
            each value gets code of its own.
        donate_argnums: arguments whose memory the caller gives up. Accepted; results are fresh arrays all the same.
        keep_unused: accepted for JAX's sake; unused arguments cost nothing here and are always kept.
        compiler_options: a dict of options for this function's code. There is one: ``{"fast_math": True}`` lets products
            and quotients be regrouped, and divisions become multiplications by a reciprocal, for a few units in the last
            place of each. Infinities and NaN are honoured, sums as exact as ever. The outermost jit's options hold.

    Returns:
        A callable with ``lower(*args)`` and ``clear_cache()``. Rank-0 results are NumPy scalars; arrays are fresh.

    Raises:
        ConcretizationError: when called, as all that follow: the function's Python code needs the value of a traced array.
        ArgumentTypeError: an argument is no array, number or pytree of them, or a static one is not hashable.
        IndexError: a dynamic index is out of range.

    >>> import numpy as np
    >>> f = jit(lambda x: np.sin(x) * 2 + 1)
    >>> f(np.zeros(3))
    array([1., 1., 1.])
    """
    positions, names = _static_places(fun, static_argnums, static_argnames)
    if donate_argnums is not None:
        _positions("donate_argnums", fun, donate_argnums)
    return Jitted(fun, positions, names, _fast_math(fun, compiler_options))


def _parameters(fun: Any) -> tuple[list[inspect.Parameter], bool]:
    """The parameters of ``fun``, and whether it may take others too."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return [], True
    return parameters, not parameters or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _names_in_order(parameters: Sequence[inspect.Parameter]) -> list[str]:
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _positions(option: str, fun: Any, argnums: Any) -> set[int]:
    """The positions that an option such as ``static_argnums`` gives, counted from the front."""
    parameters, open_ended = _parameters(fun)
    count = len(_names_in_order(parameters))
    positions = set()
    try:
        numbers = [index(number) for number in ((argnums,) if isinstance(argnums, (int, np.integer)) else argnums)]
    except TypeError:
        raise ArgumentTypeError(
            f"jit of {name_of(fun)}: {option} must be an int or a sequence of ints, got {argnums!r}") from None
    for number in numbers:
        if not open_ended and not -count <= number < count:
            raise ArgumentError(f"jit of {name_of(fun)}: {option}={argnums!r}, but it has {count} arguments")
        positions.add(number + count if number < 0 else number)
    return positions


def _fast_math(fun: Any, options: Any) -> bool:
    """What ``compiler_options`` says of it."""
    purpose = f"jit of {name_of(fun)}: compiler_options"
    if options is None:
        return False
    if not isinstance(options, Mapping):
        raise ArgumentTypeError(
            f'{purpose} must be a dict such as {{"fast_math": True}}, got {options!r} of type '
            f"{type(options).__name__}{user_line()}")
    unknown = [name for name in options if name != "fast_math"]
    if unknown:
        raise ArgumentError(
            f'{purpose} names {unknown[0]!r}, which is no option: there is only "fast_math"{user_line()}')
    wanted = options.get("fast_math", False)
    if not isinstance(wanted, (bool, np.bool_)):
        raise ArgumentTypeError(f'{purpose}: "fast_math" must be True or False, got {wanted!r}{user_line()}')
    return bool(wanted)


def _static_places(fun: Any, argnums: Any, argnames: Any) -> tuple[frozenset[int], frozenset[str]]:
    """Static positions and names; where the signature tells, each implies the other."""
    positions = set() if argnums is None else _positions("static_argnums", fun, argnums)
    names = [] if argnames is None else [argnames] if isinstance(argnames, str) else list(argnames)
    parameters, open_ended = _parameters(fun)
    ordered = _names_in_order(parameters)
    for name in names:
        if not open_ended and name not in [p.name for p in parameters]:
            raise ArgumentError(f"jit of {name_of(fun)}: static_argnames names {name!r}, which is no argument of it")
    known = {name: i for i, name in enumerate(ordered)}
    positions |= {known[name] for name in names if name in known}
    return frozenset(positions), frozenset([*names, *(ordered[i] for i in positions if i < len(ordered))])
