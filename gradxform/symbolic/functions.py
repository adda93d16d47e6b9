"""function: expressions compiled to a function of arrays, once for each set of shapes that it is called with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradxform.api import jit
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.symbolic.absent import Absent
from gradxform.symbolic.calls import as_variable, in_dtype
from gradxform.symbolic.conversion import converted
from gradxform.symbolic.derivative_operations import Derivative, check_cuts
from gradxform.symbolic.failures import MissingInputError, UnusedInputError
from gradxform.symbolic.graph import Apply, Node, topological
from gradxform.symbolic.loops import Scan
from gradxform.symbolic.optimised import Graph
from gradxform.symbolic.scopes import Scope
from gradxform.symbolic.shapes import Shape
from gradxform.symbolic.variables import Constant, SharedVariable, Variable

__all__ = ["Function", "In", "function"]


class In:
    """An input of a `function` with a default ``value``, and a ``name`` to give it by."""

    def __init__(self, variable: Any, name: str | None = None, value: Any = None) -> None:
        if not isinstance(variable, Variable):
            raise ArgumentTypeError(f"In takes a symbolic variable, got {variable!r}{user_line()}")
        self.variable = variable
        self.name = name if name is not None else variable.name
        self.value = value


def _pairs(what: str, given: Any) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    pairs = list(given.items()) if isinstance(given, Mapping) else list(given)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise ArgumentTypeError(f"function: {what} must be a dict or a list of pairs, got {given!r}{user_line()}")
    return [(key, as_variable(value)) for key, value in pairs]


class Function:
    """Compiled expressions. Made by `function`.

    ``maker.fgraph`` has the optimised expressions, for the shapes of the last call, or before the first one for some shapes.
    """

    def __init__(self, inputs: list[In], outputs: Any, updates: list[tuple[Any, Any]], givens: list[tuple[Any, Any]],
                 name: str | None, downcast: bool | None) -> None:
        self.inputs = inputs
        self.name = name
        self._downcast = downcast
        self._structure = outputs
        self._updates = updates
        self._givens = givens
        found = list(outputs.values()) if isinstance(outputs, dict) else outputs if isinstance(outputs, list) else [outputs]
        self.outputs = [as_variable(output) for output in found]
        self._roots = [*self.outputs, *[value for _, value in updates]]
        replacing = [value for _, value in givens]
        order = topological([*self._roots, *replacing])
        self.shared = [node for node in order if isinstance(node, SharedVariable) and node not in dict(givens)]
        self._ending = _ending(order)
        missing = self._missing()
        self._arguments: list[Any] = [*[given.variable for given in inputs], *self.shared, *missing]
        fixed = _static([*self._roots, *replacing], dict(givens))
        self._fixed = [position for position, node in enumerate(self._arguments) if node in fixed]
        self._free = [position for position in range(len(self._arguments)) if position not in self._fixed]
        self._jitted = jit(self._run, static_argnums=0)
        self._last: tuple[Any, ...] | None = None
        self._absent: Absent | None = None
        if missing:
            present = [self._arguments[position] for position in self._free[: len(self._free) - len(missing)]]
            self._absent = Absent(missing, present, self._run)
            self._absent.check(self._plan()[0])

    def __repr__(self) -> str:
        return f"<function {self.name or 'of'} {', '.join(str(given.variable) for given in self.inputs)}>"

    def _missing(self) -> list[Any]:
        """Variables that the outputs are made of and that are no inputs. They must be those of derivatives, to be no error."""
        replaced = dict(self._givens)

        def parents(node: Node) -> Sequence[Node]:
            return (replaced[node],) if node in replaced else () if node.owner is None else node.owner.parents

        order = topological(self._roots, parents)
        self.needed = set(order)
        applies = [node.owner for node in order if node.owner is not None]
        bound = {inner for apply in applies for inner in apply.op.bound(apply)}
        given = {entry.variable for entry in self.inputs}
        missing = [node for node in order if node.owner is None and node not in bound and node not in replaced
                   and node not in given and not isinstance(node, (Constant, SharedVariable))]
        differentiated = {node for apply in applies if isinstance(apply.op, Derivative) for node in apply.op.wrt}
        wrong = [node for node in missing if node not in differentiated]
        if wrong:
            raise MissingInputError(
                f"function: the outputs need {', '.join(map(str, wrong))}, which are no inputs: add them, or "
                f"give them values with givens{user_line()}")
        return missing

    def _scope(self, statics: tuple[Any, ...], counts: tuple[int, ...], values: Sequence[Any]) -> Scope:
        given = {self._arguments[position]: np.asarray(value, self._arguments[position].dtype)[()]
                 for position, value in zip(self._fixed, statics, strict=True)}
        given.update({self._arguments[position]: value for position, value in zip(self._free, values, strict=True)})
        known: dict[Apply, int] = dict(zip(self._ending, counts, strict=False))
        scope = Scope(given, known)
        if not self._givens:
            return scope
        replaced = scope.evaluate([value for _, value in self._givens])
        roots = [*self._roots, *[node for apply in self._ending for node in apply.outputs]]
        return scope.opened([node for node, _ in self._givens], roots).bind(replaced)

    def _run(self, plan: tuple[Any, ...], *values: Any) -> Any:
        """All outputs and updates; or, while loops that end on a condition are not counted, the count of the next one."""
        statics, counts, counting = plan
        scope = self._scope(statics, counts, values)
        if counting:
            apply = self._ending[len(counts)]
            operation = apply.op
            assert isinstance(operation, Scan)
            return operation.count(scope, apply)
        found = scope.evaluate(self._roots)
        return [in_dtype(value, root.type.dtype) for value, root in zip(found, self._roots, strict=True)]

    def _values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arrays for the inputs."""
        label = self.name or "function"
        if len(args) > len(self.inputs):
            raise ArgumentTypeError(f"{label} takes {len(self.inputs)} arguments, got {len(args)}{user_line()}")
        names = [given.name for given in self.inputs]
        for key in kwargs:
            if key not in names[len(args):]:
                raise ArgumentTypeError(
                    f"{label} has no further input {key!r}; it has {', '.join(map(str, names))}{user_line()}")
        found = []
        for position, given in enumerate(self.inputs):
            value = args[position] if position < len(args) else kwargs.get(given.name or "", given.value)
            if value is None:
                raise ArgumentTypeError(
                    f"{label}: argument {position} ({given.variable} of type {given.variable.type}) is missing"
                    f"{user_line()}")
            what = f"{label}: argument {position} ({given.variable})"
            found.append(converted(what, given.variable.type, value, downcast=self._downcast))
        return found

    def _prepared(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], list[Any]]:
        """What the jitted function is called with: what the program depends on, and arrays."""
        values = [*self._values(args, kwargs), *[shared.container for shared in self.shared]]
        statics = tuple([values[position].item() for position in self._fixed])
        free = [values[position] for position in self._free if position < len(values)]
        if self._absent is not None:
            shapes = self._absent.shapes((statics, (), False), [np.shape(value) for value in free])
            free += [np.zeros(shape, node.type.dtype) for shape, node in zip(shapes, self._absent.missing, strict=True)]
        counts: tuple[int, ...] = ()
        for _ in self._ending:
            counts = (*counts, int(self._jitted((statics, counts, True), *free)))
        self._last = statics, counts, tuple([np.shape(value) for value in free])
        return (statics, counts, False), free

    def jitted_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...], tuple[str, ...]]:
        """What `explain` and `profile` look at: the jitted function behind this one, its arguments, and what these are called.

        Calling it changes no shared variable.
        """
        plan, free = self._prepared(args, kwargs)
        nodes = [self._arguments[position] for position in self._free]
        return self._jitted, (plan, *free), tuple([str(node) for node in nodes])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan, free = self._prepared(args, kwargs)
        results = [np.asarray(value) for value in self._jitted(plan, *free)]
        for (shared, _), value in zip(self._updates, results[len(self.outputs):], strict=True):
            shared.container = np.asarray(value, dtype=shared.dtype)
        found = results[: len(self.outputs)]
        if isinstance(self._structure, dict):
            return dict(zip(self._structure, found, strict=True))
        return found if isinstance(self._structure, list) else found[0]

    @cached_property
    def maker(self) -> Any:
        """Theano's road to the optimised expressions: ``maker.fgraph.outputs[0]``."""
        fgraph = Graph(self._run, [self._arguments[position] for position in self._free], lambda: self._plan())
        return SimpleNamespace(fgraph=fgraph, inputs=self.inputs, outputs=self.outputs)

    def _plan(self) -> tuple[Any, Any]:
        """What the program depends on: the first argument of `_run`, and shapes if there was a call."""
        if self._last is not None:
            return (self._last[0], self._last[1], False), self._last[2]
        statics = tuple([12 for _ in self._fixed])
        return (statics, (), False), None


def _ending(order: Sequence[Node]) -> list[Apply]:
    """The loops that end on a condition, each after those that it needs."""
    found: dict[Apply, None] = {}
    for node in order:
        if node.owner is not None and isinstance(node.owner.op, Scan) and node.owner.op.ends:
            found[node.owner] = None
    return list(found)


def _static(roots: Sequence[Node], givens: Mapping[Any, Node]) -> set[Node]:
    """The inputs whose values decide about shapes, and so are known when a program is made."""
    fixed: set[Node] = set()
    pending = [found for node in topological([*roots]) if node.owner is not None
               for found in node.owner.op.static_inputs(node.owner)]
    seen: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in givens:
            pending.append(givens[node])
        elif node.owner is None:
            fixed.add(node)
        elif not isinstance(node.owner.op, Shape):
            pending.extend(node.owner.parents)
    return {node for node in fixed if node.type.ndim == 0}


def function(
    inputs: Sequence[Any], outputs: Any = None, updates: Any = None, givens: Any = None, on_unused_input: str = "raise",
    name: str | None = None, mode: Any = None, allow_input_downcast: bool | None = None,
) -> Function:
    """Compile expressions to a function of arrays.

    Args:
        inputs: variables, or `In` for those with a default value. Arrays and lists are converted to their dtypes where no
            value can be lost.
        outputs: a variable, or a list or dict of them, which the function returns as arrays; None for an empty list.
        updates: a dict, or pairs, of shared variables and the expressions that are their values after a call.
        givens: a dict, or pairs, of variables and the expressions that take their place.
        on_unused_input: what happens if an input is not needed: 'raise', 'warn' or 'ignore'.
        name: for messages.
        mode: Theano's optimisation modes; accepted, for there is one.
        allow_input_downcast: True: convert arguments also where values are lost; False: never; None: Python floats only.

    Returns:
        A `Function`. It is compiled when called, once for each set of shapes, and for each value of integers that decide
        about shapes, such as ``n_steps`` and the extents given to ``zeros``.

    Raises:
        MissingInputError: an expression needs a variable that is no input.
        UnusedInputError: no expression needs an input, and ``on_unused_input`` is 'raise'.
        ArgumentTypeError: an input is no variable, or an update is of another type than the shared variable.

    >>> import gradxform.symbolic as T
    >>> x, y = T.dscalars("x", "y")
    >>> f = T.function([x, T.In(y, value=1.0)], [x + y, x * y])
    >>> f(3), f(3, y=2)
    ([array(4.), array(3.)], [array(5.), array(6.)])
    """
    if not isinstance(inputs, (list, tuple)):
        raise ArgumentTypeError(f"function: inputs must be a list of variables, got {inputs!r}{user_line()}")
    given = []
    for position, variable in enumerate(inputs):
        found = variable if isinstance(variable, In) else In(variable) if isinstance(variable, Variable) else None
        if found is None:
            raise ArgumentTypeError(
                f"function: input {position} must be a symbolic variable or an In, got {variable!r}{user_line()}")
        if isinstance(found.variable, (Constant, SharedVariable)):
            raise ArgumentTypeError(
                f"function: input {position}, {found.variable}, has a value of its own: use givens or updates to "
                f"replace it{user_line()}")
        given.append(found)
    if len({entry.variable for entry in given}) != len(given):
        raise ArgumentError(f"function: a variable is an input twice{user_line()}")
    wanted = [] if outputs is None else list(outputs) if isinstance(outputs, tuple) else outputs
    changes, replaced = _pairs("updates", updates), _pairs("givens", givens)
    result = Function(given, wanted, [_checked_update(key, value) for key, value in changes],
                      [_checked_given(key, value) for key, value in replaced], name, allow_input_downcast)
    check_cuts("function: givens", [key for key, _ in replaced], result._roots)
    _check_used(result, on_unused_input)
    return result


def _checked_update(shared: Any, value: Any) -> tuple[Any, Any]:
    if not isinstance(shared, SharedVariable):
        raise ArgumentTypeError(f"function: updates are of shared variables, got {shared!r}{user_line()}")
    if value.ndim != shared.ndim or not np.can_cast(value.dtype, shared.dtype, "safe"):
        raise ArgumentTypeError(
            f"function: the update of {shared} must be of its type {shared.type}, got {value.type}: cast it with "
            f".astype('{shared.dtype}'){user_line()}")
    return shared, value


def _checked_given(variable: Any, value: Any) -> tuple[Any, Any]:
    if not isinstance(variable, Variable):
        raise ArgumentTypeError(f"function: givens replace symbolic variables, got {variable!r}{user_line()}")
    if value.ndim != variable.ndim:
        raise ArgumentTypeError(
            f"function: givens replace {variable} of type {variable.type} by {value.type}: the ranks must be the "
            f"same{user_line()}")
    return variable, value if value.dtype == variable.dtype else value.astype(variable.dtype)


def _check_used(compiled: Function, on_unused: str) -> None:
    if on_unused not in ("raise", "warn", "ignore"):
        raise ArgumentError(f"function: on_unused_input must be 'raise', 'warn' or 'ignore', got {on_unused!r}{user_line()}")
    unused = [entry.variable for entry in compiled.inputs if entry.variable not in compiled.needed]
    if unused and on_unused != "ignore":
        listed = ", ".join(map(str, unused))
        text = f"function: {listed}: no output needs this input; on_unused_input='ignore' allows it{user_line()}"
        if on_unused == "raise":
            raise UnusedInputError(text)
        warnings.warn(text, stacklevel=3)
