"""scan, and what Theano builds on it: map, reduce, foldl, foldr. One loop in the program, `gradxform.lax.scan`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import gradxform.numpy
from gradxform import api, lax
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.symbolic.calls import apply_operation, as_variable, in_dtype, is_weak
from gradxform.symbolic.graph import Apply, Node, Operation, TensorType, dependent, topological
from gradxform.symbolic.scopes import Scope
from gradxform.symbolic.variables import SharedVariable, Variable

__all__ = ["Scan", "foldl", "foldr", "map", "reduce", "scan", "until"]


@data_class(frozen=True, slots=True)
class until:
    """What the step of a `scan` returns last to end the loop after the step in which ``condition`` holds."""

    condition: Any


@data_class(frozen=True, slots=True, eq=False)
class State:
    """A result that steps take up again: ``taps`` are how many steps back, negative, and ``depth`` the furthest."""

    taps: tuple[int, ...]
    depth: int
    variables: tuple[Any, ...]
    initial: Any
    windowed: bool


class Scan(Operation):
    """A loop. Inputs: sequences, initial states, the number of steps if it is given. Bodies: results, then the condition.

    The first results belong to ``states`` where ``recurrent`` says so; the last states are those of shared variables.
    """

    name = "scan"

    def __init__(self, elements: Sequence[Any], states: Sequence[State], recurrent: Sequence[int], ends: bool, counted: bool,
                 truncate: int) -> None:
        self.elements = tuple(elements)
        self.states = tuple(states)
        self.recurrent = tuple(recurrent)
        self.ends = ends
        self.counted = counted
        self.truncate = truncate

    def bound(self, apply: Apply) -> Sequence[Node]:
        return (*self.elements, *[variable for state in self.states for variable in state.variables])

    def static_inputs(self, apply: Apply) -> Sequence[Node]:
        return apply.inputs[-1:] if self.counted else ()

    def _length(self, values: Sequence[Any]) -> int:
        extents = [np.shape(value)[0] for value in values[: len(self.elements)]]
        if not self.counted:
            return int(min(extents))
        wanted = values[-1]
        count = operator.index(np.asarray(wanted)[()] if isinstance(wanted, np.ndarray) else wanted)
        if count < 0:
            raise ArgumentError(f"scan: n_steps must not be negative, got {count}{user_line()}")
        if extents and count > min(extents):
            raise ShapeError(f"scan: n_steps is {count}, but a sequence has only {min(extents)} elements{user_line()}")
        return count

    def _prepared(self, scope: Scope, apply: Apply, values: Sequence[Any]) -> tuple[Any, Any, Any]:
        """The first carry, the sequences, and the step from carry and elements to carry, results and the condition."""
        outer = scope.opened(self.bound(apply), apply.bodies)
        sequences = tuple([gradxform.numpy.asarray(value) for value in values[: len(self.elements)]])
        initial = []
        for state, value in zip(self.states, values[len(self.elements):], strict=False):
            array = in_dtype(value, state.variables[0].type.dtype)
            if state.windowed and np.shape(array)[0] < state.depth:
                raise ShapeError(
                    f"scan: the initial state of taps {list(state.taps)} needs {state.depth} elements along its first "
                    f"axis, the oldest first, got shape {np.shape(array)}{user_line()}")
            initial.append(tuple([array[position] for position in range(state.depth)]) if state.windowed else (array,))

        def step(carry: Any, elements: Any) -> tuple[Any, Any, Any]:
            given = list(elements)
            for state, window in zip(self.states, carry, strict=True):
                given += [window[state.depth + tap] for tap in state.taps]
            found = outer.bind(given).evaluate(apply.bodies)
            results, ending = (found[:-1], found[-1]) if self.ends else (found, False)
            results = [in_dtype(value, body.type.dtype) for value, body in zip(results, apply.bodies, strict=False)]
            after = tuple([(*window[1:], results[position])
                           for window, position in zip(carry, self.recurrent, strict=True)])
            return after, tuple(results), ending

        return tuple(initial), sequences, step

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        carry, sequences, step = self._prepared(scope, apply, values)
        length = scope.counts.get(apply, self._length(values))
        elements = tuple([sequence[:length] for sequence in sequences])

        def body(state: Any, slices: Any) -> tuple[Any, Any]:
            after, found, _ = step(state, slices if elements else ())
            return after, found

        kept = min(self.truncate, length) if self.truncate > 0 else length
        results = None
        if kept < length:
            carry, results = api.stop_gradient(_loop(body, carry, tuple([part[: length - kept] for part in elements]),
                                                     length - kept))
        carry, last = _loop(body, carry, tuple([part[length - kept:] for part in elements]), kept)
        if results is not None:
            last = tuple([np.concatenate(parts) for parts in zip(results, last, strict=True)])
        shared = len(apply.outputs) - len(last)
        return [*last, *[window[0] for window in carry[len(carry) - shared:]]]

    def count(self, scope: Scope, apply: Apply) -> Any:
        """The number of steps until the condition holds."""
        values = scope.evaluate(apply.inputs)
        carry, sequences, step = self._prepared(scope, apply, values)
        length = self._length(values)

        def going(state: Any) -> Any:
            return np.logical_and(state[0] < length, np.logical_not(state[1]))

        def advance(state: Any) -> Any:
            after, _, ending = step(state[2], tuple([sequence[state[0]] for sequence in sequences]))
            return state[0] + 1, ending != 0, after

        return lax.while_loop(going, advance, (np.int64(0), np.bool_(False), carry))[0] if length else np.int64(0)


def _loop(body: Any, carry: Any, elements: tuple[Any, ...], length: int) -> Any:
    result: tuple[Any, Any] = lax.scan(body, carry, elements or None, length=length)
    return result


# ------------------------------------------------------------------------------------------------ the user's arguments


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _sequences(sequences: Any, backwards: bool) -> list[Any]:
    """Every tap of every sequence as a variable of its own, beginning where all of them have elements."""
    found = []
    for given in _as_list(sequences):
        described = given if isinstance(given, Mapping) else {"input": given}
        unknown = set(described) - {"input", "taps"}
        if unknown or "input" not in described:
            raise ArgumentError(f"scan: a sequence is a variable or dict(input=..., taps=[...]), got keys {sorted(described)}"
                                f"{user_line()}")
        variable = as_variable(described["input"])
        if not variable.ndim:
            raise ArgumentTypeError(
                f"scan: a sequence has an axis to walk along, got the scalar {variable}: pass what stays the "
                f"same in non_sequences{user_line()}")
        taps = [operator.index(tap) for tap in _as_list(described.get("taps", 0) if described.get("taps") is not None else 0)]
        first, last = min([0, *taps]), max([0, *taps])
        for tap in taps:
            end = tap - last
            part = variable[tap - first: end] if end else variable[tap - first:] if tap != first else variable
            found.append(part[::-1] if backwards else part)
    return found


def _state(given: Any, position: int) -> State | None:
    described = given if isinstance(given, Mapping) else {"initial": given}
    unknown = set(described) - {"initial", "taps"}
    if unknown:
        raise ArgumentError(f"scan: outputs_info takes None, a variable or dict(initial=..., taps=[...]), got keys "
                            f"{sorted(described)}{user_line()}")
    taps = described.get("taps", [-1])
    if described.get("initial") is None or taps is None:
        return None
    steps = tuple([operator.index(tap) for tap in _as_list(taps)])
    if not steps or max(steps) >= 0:
        raise ArgumentError(f"scan: the taps of outputs_info are negative, as results of earlier steps are, got {list(steps)}"
                            f"{user_line()}")
    initial = as_variable(described["initial"])
    windowed = steps != (-1,)
    if windowed and not initial.ndim:
        raise ArgumentTypeError(
            f"scan: with taps {list(steps)} the initial state of result {position} has a first axis for the "
            f"{-min(steps)} elements before the first, got a scalar{user_line()}")
    shape = initial.type.shape[1:] if windowed else initial.type.shape
    variables = tuple([Variable(TensorType(initial.dtype, shape), _tap_name(initial, tap)) for tap in steps])
    return State(steps, -min(steps), variables, initial, windowed)


def _tap_name(variable: Any, tap: int) -> str | None:
    return None if variable.name is None else f"{variable.name}[t{tap:+d}]"


def _returned(result: Any) -> tuple[list[Any], dict[Any, Any], Any]:
    """The results of a step, its updates, and its condition."""
    parts = list(result) if isinstance(result, tuple) else [result]
    updates: dict[Any, Any] = {}
    condition = None
    values: list[Any] = []
    for part in parts:
        if isinstance(part, until):
            condition = as_variable(part.condition)
        elif isinstance(part, Mapping):
            updates.update(part)
        elif isinstance(part, list) and part and all(isinstance(pair, tuple) and len(pair) == 2 for pair in part):
            updates.update(dict(part))
        elif isinstance(part, (list, tuple)):
            values += list(part)
        elif part is not None:
            values.append(part)
    return [as_variable(value) for value in values], updates, condition


def scan(
    fn: Callable[..., Any], sequences: Any = None, outputs_info: Any = None, non_sequences: Any = None, n_steps: Any = None,
    truncate_gradient: int = -1, go_backwards: bool = False, return_list: bool = False, name: str | None = None,
    strict: bool = False,
) -> tuple[Any, dict[Any, Any]]:
    """A loop over the first axis of sequences, in which a step may take up the results of earlier ones.

    Args:
        fn: the step. It gets an element of each sequence (one for each tap), the earlier results (one for each tap), and the
            ``non_sequences``, all variables, and returns a result or a list of them; also (results, updates of shared
            variables), and last `until` (condition), to end the loop.
        sequences: variables, or ``dict(input=variable, taps=[...])`` for the elements at t + tap.
        outputs_info: for each result None, if no step takes it up; its initial value; or ``dict(initial=, taps=[-2, -1])``,
            whose initial value has a first axis for the elements before the first, the oldest first.
        non_sequences: what each step gets as it is; derivatives with respect to these work inside the step.
        n_steps: the number of steps, needed without sequences; with them, no more than they have elements. An integer
            variable is known when a function is called, which compiles anew for each value.
        truncate_gradient: derivatives flow through that many last steps only; -1 for all.
        go_backwards: walk along the sequences from their ends.
        return_list: a list of results also if there is one.
        strict: shared variables that a step uses must be among ``non_sequences``.

    Returns:
        (results, updates): the results of all steps along a new first axis, and a dict for ``function(updates=...)``.
        A loop that ends on a condition gives as many as there were steps; a function counts these first, and compiles
        anew for each count.

    >>> import gradxform.symbolic as T
    >>> a, k = T.dvector("a"), T.iscalar("k")
    >>> powers, updates = T.scan(lambda power, a: power * a, outputs_info=T.ones_like(a), non_sequences=a, n_steps=k)
    >>> T.function([a, k], powers[-1], updates=updates)([1, 2, 3], 2)
    array([1., 4., 9.])
    """
    parts = _sequences(sequences, go_backwards)
    if not parts and n_steps is None:
        raise ArgumentError(f"scan: without sequences the number of steps is not known: pass n_steps{user_line()}")
    elements = [Variable(TensorType(part.dtype, part.type.shape[1:])) for part in parts]
    infos = _as_list(outputs_info)
    states = [None if info is None else _state(info, position) for position, info in enumerate(infos)]
    outer = [as_variable(value) for value in _as_list(non_sequences)]
    results, updates, condition, states = _stepped(fn, elements, states, outer)
    for shared in updates:
        if not isinstance(shared, SharedVariable):
            raise ArgumentTypeError(f"scan: updates are of shared variables, got {shared}{user_line()}")
    unlisted = [node for node in topological(results) if isinstance(node, SharedVariable) and node not in outer]
    if strict and unlisted:
        raise ArgumentError(f"scan: the step uses the shared variable {unlisted[0]}, which strict=True wants among "
                            f"non_sequences{user_line()}")
    known = [state for state in states if state is not None]
    recurrent = [position for position, state in enumerate(states) if state is not None]
    bodies = list(results)
    replaced = {}
    for shared, value in updates.items():
        fresh = Variable(shared.type, shared.name)
        replaced[shared] = fresh
        known.append(State((-1,), 1, (fresh,), shared, False))
        recurrent.append(len(bodies))
        bodies.append(as_variable(value).astype(shared.dtype))
    ends = condition is not None
    inner = [*bodies, condition] if ends else bodies
    if replaced:
        inner = _renamed(inner, replaced)
    _refuse_inner_ends(inner, [*elements, *[v for state in known for v in state.variables]])
    steps = [] if n_steps is None else [as_variable(n_steps)]
    if steps and (steps[0].ndim or np.dtype(steps[0].dtype).kind not in "iu"):
        raise ArgumentTypeError(f"scan: n_steps is an integer, got {n_steps} of type {steps[0].type}{user_line()}")
    operation = Scan(elements, known, recurrent, ends, bool(steps), truncate_gradient)
    operation.name = name or "scan"
    types = [TensorType(body.type.dtype, (None, *body.type.shape)) for body in bodies]
    outputs = apply_operation(operation, [*types, *[shared.type for shared in updates]],
                              [*parts, *[state.initial for state in known], *steps], inner)
    found = outputs[: len(results)]
    changed = dict(zip(updates, outputs[len(bodies):], strict=True))
    if not found:
        return None, changed
    return (found if len(found) > 1 or return_list else found[0]), changed


def _stepped(fn: Any, elements: Sequence[Any], states: list[Any], outer: Sequence[Any]) -> Any:
    """The step applied to variables. Python numbers as initial states take the dtype that the step gives."""
    while True:
        carried = [variable for state in states if state is not None for variable in state.variables]
        results, updates, condition = _returned(fn(*elements, *carried, *outer))
        if not states:
            states = [None] * len(results)
        if len(states) != len(results):
            raise ArgumentError(
                f"scan: outputs_info has {len(states)} entries, but the step returns {len(results)} results: give "
                f"None for those that no step takes up{user_line()}")
        changed = False
        for position, (state, result) in enumerate(zip(states, results, strict=True)):
            if state is None:
                continue
            variable = state.variables[0]
            if variable.ndim != result.ndim:
                raise ArgumentTypeError(f"scan: result {position} is of type {result.type}, but the step takes it up as "
                                        f"{variable.type}, as its initial value is: both must have one rank{user_line()}")
            if variable.dtype != result.dtype and is_weak(state.initial):
                states[position] = _state({"initial": state.initial.astype(result.dtype), "taps": list(state.taps)}, position)
                changed = True
            elif variable.dtype != result.dtype and not np.can_cast(result.dtype, variable.dtype, "safe"):
                raise ArgumentTypeError(f"scan: result {position} is of dtype {result.dtype}, but its initial value of "
                                        f"{variable.dtype}: cast one of them with .astype{user_line()}")
            elif variable.dtype != result.dtype:
                results[position] = result.astype(variable.dtype)
        if not changed:
            return results, updates, condition, states


def _refuse_inner_ends(bodies: Sequence[Any], own: Sequence[Any]) -> None:
    inside = dependent(bodies, own)
    for node in topological(bodies):
        if node.owner is not None and isinstance(node.owner.op, Scan) and node.owner.op.ends and node in inside:
            raise ArgumentError(
                f"scan: a loop inside a loop cannot end on a condition: its results would be of other lengths in "
                f"each step; use switch to keep a state unchanged{user_line()}")


class Renamed(Operation):
    """Expressions with some of their variables bound to others."""

    name = "renamed"

    def __init__(self, variables: Sequence[Node]) -> None:
        self.variables = tuple(variables)

    def evaluate(self, scope: Scope, apply: Apply, values: list[Any]) -> Sequence[Any]:
        return scope.opened(self.variables, apply.bodies).bind(values).evaluate(apply.bodies)


def _renamed(bodies: Sequence[Any], replaced: Mapping[Any, Any]) -> list[Any]:
    return apply_operation(Renamed(list(replaced)), [body.type for body in bodies], list(replaced.values()), bodies)


# ------------------------------------------------------------------------------------------------------ built on it


def map(
    fn: Callable[..., Any], sequences: Any, non_sequences: Any = None, truncate_gradient: int = -1, go_backwards: bool = False,
    name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """``fn`` of each element of ``sequences``; returns (results, updates).

    >>> import gradxform.symbolic as T
    >>> x = T.dvector("x")
    >>> squares, _ = T.map(lambda element: element ** 2, x)
    >>> T.function([x], squares)([1, 2, 3])
    array([1., 4., 9.])
    """
    return scan(fn, sequences, None, non_sequences, None, truncate_gradient, go_backwards, name=name)


def reduce(
    fn: Callable[..., Any], sequences: Any, outputs_info: Any, non_sequences: Any = None, go_backwards: bool = False,
    name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """The last results of a `scan`; returns (results, updates).

    >>> import gradxform.symbolic as T
    >>> x = T.dvector("x")
    >>> product, _ = T.reduce(lambda element, so_far: so_far * element, x, 1.0)
    >>> T.function([x], product)([2, 3, 4])
    array(24.)
    """
    results, updates = scan(fn, sequences, outputs_info, non_sequences, go_backwards=go_backwards, name=name)
    return ([result[-1] for result in results] if isinstance(results, list) else results[-1]), updates


def foldl(
    fn: Callable[..., Any], sequences: Any, outputs_info: Any, non_sequences: Any = None, name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """`reduce` from the first element to the last."""
    return reduce(fn, sequences, outputs_info, non_sequences, False, name)


def foldr(
    fn: Callable[..., Any], sequences: Any, outputs_info: Any, non_sequences: Any = None, name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """`reduce` from the last element to the first."""
    return reduce(fn, sequences, outputs_info, non_sequences, True, name)
