"""Deferred application: a function of arrays applied to variables is an `Apply` that calls it when values are there.

The dtype and the rank of the result are those that the function gives for arrays of some extents. A function that needs
particular extents, as a product with a constant matrix does, is tried with those that its other arguments have.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradxform.numpy
from gradxform import tree
from gradxform.api.tracing import trace
from gradxform.core import Tracer
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import canonical, python_scalar_dtype
from gradxform.errors import ArgumentError, GradxformError
from gradxform.ir import ArrayType
from gradxform.primitives.logic import convert
from gradxform.symbolic.graph import Apply, Node, Operation, TensorType, tensor_type

__all__ = ["Call", "apply_operation", "as_variable", "Slot", "defer", "in_dtype", "is_weak", "map_slots",
           "take"]

#: What an unknown extent is taken for; and how many combinations of other extents are tried.
_EXTENT = 12
_MOST = 200


@data_class(frozen=True, slots=True)
class Slot:
    """Where a variable stands among the arguments of a function."""

    position: int


def map_slots(value: Any, change: Callable[[Any], Any], kind: Any) -> Any:
    """``value`` with all of ``kind`` in its lists, tuples, dictionaries and slices changed."""
    if isinstance(value, kind):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([map_slots(part, change, kind) for part in value])
    if type(value) is dict:
        return {key: map_slots(part, change, kind) for key, part in value.items()}
    if type(value) is slice:
        return slice(*[map_slots(part, change, kind) for part in (value.start, value.stop, value.step)])
    return value


class Call(Operation):
    """``function(*args, **kwargs)`` with values in the places of variables.

    ``static`` are the positions of inputs that the function must know; ``recorded`` functions give traced arrays also of
    values that are known.
    """

    def __init__(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
                 static: frozenset[int] = frozenset(), recorded: bool = False) -> None:
        self.name = name
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.static = static
        self.recorded = recorded

    def call(self, values: Sequence[Any]) -> Any:
        args = map_slots(self.args, lambda slot: values[slot.position], Slot)
        kwargs = map_slots(self.kwargs, lambda slot: values[slot.position], Slot)
        return self.function(*args, **kwargs)

    def evaluate(self, scope: Any, apply: Apply, values: list[Any]) -> Sequence[Any]:
        return tree.leaves(self.call(values))

    def static_inputs(self, apply: Apply) -> Sequence[Node]:
        return [node for position, node in enumerate(apply.inputs) if position in self.static]


def in_dtype(value: Any, dtype: str) -> Any:
    """A traced or plain value in another dtype."""
    return convert(value, canonical(dtype)) if isinstance(value, Tracer) else np.asarray(value, dtype=dtype)


def is_weak(variable: Any) -> bool:
    """Whether a variable is a Python number, which promotes by its kind only."""
    return python_scalar_dtype(getattr(variable, "data", None)) is not None


def take(x: Any, index: Any) -> Any:
    """``x[index]``, also for a plain array and a traced index."""
    if isinstance(x, np.ndarray) and any(isinstance(part, Tracer) for part in tree.leaves(index)):
        return gradxform.numpy.asarray(x)[index]
    return x[index]


def as_variable(value: Any) -> Any:
    """``value`` itself if it is a variable, else a constant."""
    from gradxform.symbolic.variables import Constant, Variable

    return value if isinstance(value, Variable) else Constant(value)


def apply_operation(operation: Operation, types: Sequence[TensorType], inputs: Sequence[Node], bodies: Sequence[Node] = (),
                    known: Sequence[Any] | None = None) -> list[Any]:
    """The output variables of ``operation``."""
    from gradxform.symbolic.variables import Variable

    apply = Apply(operation, inputs, bodies)
    values = known if known is not None else [None] * len(types)
    apply.outputs = [Variable(found, None, apply, index, value)
                     for index, (found, value) in enumerate(zip(types, values, strict=True))]
    return apply.outputs


def defer(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None,
          static: Callable[[int | str], bool] | None = None, recorded: bool = False) -> Any:
    """The variable, or the structure of variables, that ``function(*args, **kwargs)`` will be.

    ``static`` says of each argument, by position or name, whether the integers in it decide about shapes; those in slices
    always do.
    """
    from gradxform.symbolic.variables import Variable

    inputs: list[Node] = []
    fixed: set[int] = set()

    def slot(value: Any) -> Slot:
        inputs.append(as_variable(value))  # an array becomes a constant: its owner may change it
        return Slot(len(inputs) - 1)

    def placed(place: int | str, value: Any) -> Any:
        start = len(inputs)
        changed = map_slots(value, slot, (Variable, np.ndarray))
        if static is not None and static(place):
            fixed.update(range(start, len(inputs)))
        else:
            fixed.update(_in_slices(changed))
        return changed

    template = tuple([placed(place, value) for place, value in enumerate(args)])
    named = {key: placed(key, value) for key, value in (kwargs or {}).items()}
    call = Call(name, function, template, named, frozenset(fixed), recorded)
    types, treedef, known = _infer(call, inputs)
    return tree.unflatten(treedef, apply_operation(call, types, inputs, (), known))


def _in_slices(value: Any) -> list[int]:
    if type(value) is slice:
        return [part.position for part in (value.start, value.stop, value.step) if isinstance(part, Slot)]
    return [found for part in value for found in _in_slices(part)] if type(value) is tuple else []


# ------------------------------------------------------------------------------------------------- dtypes and ranks


def _infer(call: Call, inputs: Sequence[Node]) -> tuple[list[TensorType], Any, list[Any] | None]:
    """The types of the outputs, their structure, and their values where those are known."""
    constants = [getattr(node, "data", node.known) for node in inputs]
    if all(value is not None for value in constants):
        leaves, treedef = tree.flatten(call.call(constants))
        found = [np.asarray(leaf) for leaf in leaves]
        types = [tensor_type(value.dtype, value.shape if not call.recorded else [None if n != 1 else 1 for n in value.shape])
                 for value in found]
        return types, treedef, None if call.recorded else leaves
    first: Exception | None = None
    for shapes in itertools.islice(_extents(call, inputs, constants), _MOST):
        try:
            traced = _traced(call, inputs, constants, shapes)
        except (ValueError, IndexError) as error:
            first = first or error
            continue
        except GradxformError as error:
            raise _failure(call, inputs, error, "") from error
        exact = all(None not in node.type.shape for node in inputs)
        return [tensor_type(t.dtype, [n if exact or n == 1 else None for n in t.shape])
                for t in traced.program.output_types], traced.treedef, None
    assert first is not None
    raise _failure(call, inputs, first, f" (unknown extents were taken for {_EXTENT})") from first


def _failure(call: Call, inputs: Sequence[Node], error: Exception, remark: str) -> Exception:
    listed = ", ".join(str(node.type) for node in inputs)
    kind = type(error) if isinstance(error, GradxformError) else ArgumentError
    text = str(error).split("\n  in user code")[0]
    return kind(f"{call.name} of {listed}: {text}{remark}{user_line()}")


def _extents(call: Call, inputs: Sequence[Node], constants: Sequence[Any]) -> Any:
    """Shapes for the inputs, the most likely first."""
    unknown = sum(node.type.shape.count(None) for node in inputs)
    known = {extent for node, value in zip(inputs, constants, strict=True)
             for extent in (np.shape(value) if value is not None else node.type.shape) if extent not in (None, 0, 1)}
    known |= {int(n) for n in _numbers(call.args) if 1 < n < 1 << 16}
    choices = [_EXTENT, *sorted(known - {_EXTENT}), 1]
    alike = [(choice,) * unknown for choice in choices]
    for chosen in itertools.chain(alike, itertools.product(choices, repeat=unknown)):
        rest = iter(chosen)
        yield [tuple([next(rest) if extent is None else extent for extent in node.type.shape]) for node in inputs]


def _numbers(value: Any) -> list[int]:
    if type(value) is int:
        return [value]
    return [n for part in value for n in _numbers(part)] if type(value) in (tuple, list) else []


def _traced(call: Call, inputs: Sequence[Node], constants: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> Any:
    """The program of the call for arrays of ``shapes``; integers that it must know are taken for the usual extent."""
    given = list(constants)
    free = []
    for position, node in enumerate(inputs):
        if given[position] is None and position in call.static:
            given[position] = np.full(shapes[position], _EXTENT, node.type.dtype)[()]
        elif given[position] is None:
            free.append(position)

    def rebuild(leaves: list[Any]) -> Any:
        values = list(given)
        for position, leaf in zip(free, leaves, strict=True):
            values[position] = leaf
        return (values,), {}

    types = [ArrayType(canonical(inputs[position].type.dtype), shapes[position]) for position in free]
    return trace(call.call, [None] * len(free), types, rebuild, call.name, known=False)
