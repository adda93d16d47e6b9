"""Python functions that a program calls while it runs.

A `Callback` is a parameter like any other, but for two things: it prints as the name of its function, so that texts are
the same in every process, and programs of one text may therefore call different functions. Whoever keeps something by
the text of a program keeps it by its `callbacks` too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from gradxform.data_class import data_class
from gradxform.dtypes import DType
from gradxform.errors import NotDifferentiableError
from gradxform.ir.memo import kept
from gradxform.ir.program import Equation, Program, programs_in

#: Operations that are run for what they do, and not only for their results.
EFFECTS = frozenset(("io_callback", "fail_when"))

#: dtype and shape of each result.
Results = tuple[tuple[DType, tuple[int, ...]], ...]


@data_class(frozen=True, slots=True, eq=False)
class Callback:
    """A Python function on flat operands; two are equal if their ``identity`` is.

    ``call(operands, results)`` takes read-only arrays, NumPy scalars where the rank is 0, and gives an array for each of
    ``results``, of that dtype and shape. What the function raises comes through.
    """

    name: str
    call: Callable[[Sequence[Any], Results], list[Any]]
    identity: Hashable
    #: Which operands and results are complex numbers, given as real arrays of shape S + (2,).
    paired: tuple[tuple[bool, ...], tuple[bool, ...]] | None = None
    #: What a native function whose program has this callback is wrapped in: gives a function with something to do when
    #: a call ends, be it by an exception.
    around: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callback) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


def wrapped(function: Callable[..., Any], called: Sequence[Callback]) -> Callable[..., Any]:
    """``function`` in all that callbacks want around a call of it; itself if they want nothing."""
    for around in dict.fromkeys([callback.around for callback in called]):
        if around is not None:
            function = around(function)
    return function


def has_effect(equation: Equation) -> bool:
    """Whether an equation, or one in a program inside it, must be run exactly as often as the program says."""
    if equation.operation.name in EFFECTS:
        return True
    # Asked of each equation by many passes; most have no parameters.
    return bool(equation.params) and any(
        isinstance(value, (tuple, Program)) and _inner_effect(value) for _, value in equation.params)


def _inner_effect(value: tuple[Any, ...] | Program) -> bool:
    if isinstance(value, Program):
        return _any_effect(value)
    return any(isinstance(part, (tuple, Program)) and _inner_effect(part) for part in value)


@kept
def _any_effect(program: Program) -> bool:
    return any(map(has_effect, program.equations))


def may_fail(equation: Equation) -> bool:
    """Whether an equation can raise an error, or not come to an end, or has an effect."""
    name = equation.operation.name
    if name in ("while", "pure_callback") or dict(equation.params).get("mode") in ("check", "relative") or has_effect(equation):
        return True
    return any(may_fail(inner) for _, value in equation.params for program in programs_in(value)
               for inner in program.equations)


def replayed(equations: Sequence[Equation]) -> tuple[Equation, ...]:
    """``equations`` to be run a second time for their results: effects without results are left out, at every depth.

    Raises NotDifferentiableError for an effect that has a result: what it gave the first time is lost.
    """
    result: list[Equation] = []
    for equation in equations:
        if equation.operation.name in EFFECTS:
            if equation.outputs:
                raise NotDifferentiableError(
                    f"{equation.operation.name} of {dict(equation.params)['callback']}: its result is needed a second time, "
                    "in reverse mode, and it must be called once only: call it outside of the loop or of the checkpointed "
                    f"function and hand the result in\n  in user code: {equation.source}")
            continue
        if has_effect(equation):
            params = tuple([(name, _replayed_param(value)) for name, value in equation.params])
            equation = Equation(equation.operation, equation.inputs, params, equation.outputs, equation.source)
        result.append(equation)
    return tuple(result)


def _replayed_param(value: Any) -> Any:
    if isinstance(value, Program):
        return Program(value.inputs, replayed(value.equations), value.outputs, value.name)
    return tuple(map(_replayed_param, value)) if isinstance(value, tuple) else value


def callbacks(program: Program) -> tuple[Callback, ...]:
    """The callbacks of a program and of those inside it: one per equation that calls, in order."""
    return tuple(_in_program(program))


def _in_program(program: Program) -> Iterator[Callback]:
    for equation in program.equations:
        for _, value in equation.params:
            if isinstance(value, (Callback, Program, tuple)):
                yield from _in_param(value)


def _in_param(value: Any) -> Iterator[Callback]:
    if isinstance(value, Callback):
        yield value
    elif isinstance(value, Program):
        yield from _in_program(value)
    elif isinstance(value, tuple):
        for part in value:
            yield from _in_param(part)
