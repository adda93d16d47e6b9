"""Tracing: builders record equations, tracers stand for their variables.

Builders nest; the innermost one records every operation of its thread. A tracer of an outer builder, or an array,
that is used inside becomes a captured input of the inner program. So nested transforms need no levels: what an
inner program does not define is a constant to it.

A builder whose inputs are *known* can answer for a value: it evaluates the equations that lead to it, on demand and
memoised. The program so recorded holds for these inputs only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradxform.config import config
from gradxform.core import direct
from gradxform.core.nans import check_nans
from gradxform.core.primitive import Primitive
from gradxform.core.source import user_line, user_source
from gradxform.core.steady import SteadyArrays
from gradxform.dtypes import canonical, python_scalar_dtype
from gradxform.errors import ArgumentTypeError, ConcretizationError, GradxformError, LeakedTracerError
from gradxform.ir import ArrayType, Atom, Equation, Literal, Program, Source, Var
from gradxform.ir.callback import has_effect


class _State(threading.local):
    builder: Builder | None = None


_state = _State()


class Tracer:
    """A value of a program under construction."""

    __slots__ = ("__weakref__", "atom", "builder")

    def __init__(self, builder: Builder, atom: Atom) -> None:
        self.builder = builder
        self.atom = atom

    @property
    def type(self) -> ArrayType:
        return self.atom.type

    def snapshot(self) -> Any:
        """What this tracer stands for now: itself, unless its class lets users assign to it."""
        return self

    def held(self) -> Any:
        """The array that this tracer still is after its builder has closed. LeakedTracerError if it is none."""
        raise leaked(self)


class Builder:
    """Records equations between ``with builder:`` and the end of that block."""

    __slots__ = (
        "_capture_vars",
        "_defining",
        "_scanned",
        "captures",
        "equations",
        "evaluator",
        "inputs",
        "known",
        "parent",
        "purpose",
        "source",
        "state",
        "steady",
        "tracer_class",
    )

    def __init__(
        self, purpose: str, tracer_class: type[Tracer] = Tracer,
        evaluator: Callable[..., tuple[Any, ...]] | None = None,
    ) -> None:
        self.purpose = purpose
        self.tracer_class = tracer_class
        # What answers for values on demand; the NumPy rules of the primitives if there is nothing faster.
        self.evaluator = evaluate if evaluator is None else evaluator
        self.inputs: list[Var] = []
        self.equations: list[Equation] = []
        self.captures: list[Any] = []
        self.known: dict[Var, Any] = {}
        self.parent: Builder | None = None
        self.state = "new"
        # While a transform replays equations, new ones inherit the source of the replayed one.
        self.source: Source | None = None
        self.steady = SteadyArrays()
        self._capture_vars: dict[int, Var] = {}
        self._defining: dict[Var, Equation] = {}
        self._scanned = 0

    def __enter__(self) -> Builder:
        self.parent = _state.builder
        if self.parent is None:
            direct.hold()
        else:
            self.steady = self.parent.steady
        _state.builder = self
        self.state = "open"
        return self

    def __exit__(self, *_: object) -> None:
        _state.builder = self.parent
        if self.parent is None:
            direct.release()
        self.state = "closed"

    def add_input(self, array_type: ArrayType, known: Any = None) -> Tracer:
        """A new input; ``known`` is its value (an array, or a tracer of an outer builder) if there is one."""
        var = Var(array_type)
        self.inputs.append(var)
        if known is not None:
            self.known[var] = known
        return self.tracer_class(self, var)

    def finish(self, outputs: Sequence[Any], name: str = "") -> tuple[Program, list[Any]]:
        """The program of these outputs, and the captured values that its last inputs stand for."""
        atoms = tuple(self.atom(value) for value in outputs)
        self.steady.check()
        inputs = (*self.inputs, *self._capture_vars.values())
        return Program(inputs, tuple(self.equations), atoms, name), list(self.captures)

    def atom(self, value: Any) -> Atom:
        """The variable or literal of this builder that stands for ``value``."""
        if isinstance(value, Tracer):
            if value.builder is self:
                return value.atom
            if value.builder.state == "closed" or not self._is_inside(value.builder):
                return self._capture_held(value)
            return self._capture(value, value.type)
        dtype = python_scalar_dtype(value)
        if dtype is not None:
            return Literal(python_literal(value, dtype), ArrayType(dtype, (), True))
        if isinstance(value, np.generic):
            return Literal(value, ArrayType(canonical(value.dtype), ()))
        if isinstance(value, np.ndarray):
            if value.ndim == 0:
                return Literal(value[()], ArrayType(canonical(value.dtype), ()))
            if value.flags.writeable:
                value = self.steady.as_it_is(value)
            return self._capture(value, ArrayType(canonical(value.dtype), value.shape))
        raise ArgumentTypeError(f"expected an array or a number, got {value!r} of type {type(value).__name__}{user_line()}")

    def _is_inside(self, outer: Builder) -> bool:
        builder: Builder | None = self.parent
        while builder is not None:
            if builder is outer:
                return True
            builder = builder.parent
        return False

    def _capture_held(self, value: Tracer) -> Var:
        """Through the outermost builder of users' arrays: what is watched there is one variable for all builders inside."""
        array = value.held()
        outermost, builder = self, self.parent
        while builder is not None:
            if builder.tracer_class is not Tracer:
                outermost = builder
            builder = builder.parent
        var = outermost._capture(array, value.type)
        return var if outermost is self else self._capture(outermost.tracer_class(outermost, var), value.type)

    def _capture(self, value: Any, array_type: ArrayType) -> Var:
        key = id(value.atom) if isinstance(value, Tracer) else id(value)
        var = self._capture_vars.get(key)
        if var is None:
            if isinstance(value, Tracer):
                value = value.snapshot()
            var = self._capture_vars[key] = Var(array_type)
            self.captures.append(value)  # keeps the value alive, so that its id stays its own
            self.known[var] = value
        return var

    def value_of(self, atom: Atom) -> Any:
        """The NumPy value of ``atom``, evaluated on demand; None if it depends on an unknown input."""
        if isinstance(atom, Literal):
            return atom.value
        for equation in self.equations[self._scanned:]:
            for var in equation.outputs:
                self._defining[var] = equation
        self._scanned = len(self.equations)
        # An explicit stack: a loop of many thousand iterations must not exhaust Python's.
        stack: list[Var] = [atom]
        while stack:
            var = stack[-1]
            value = self.known.get(var)
            if value is not None:
                if isinstance(value, Tracer):
                    value = value.builder.value_of(value.atom)
                    if value is None:
                        return None
                    self.known[var] = value
                stack.pop()
                continue
            found = self._defining.get(var)
            if found is None or has_effect(found):
                return None  # what has an effect happens when the program is run, once
            missing = [x for x in found.inputs if isinstance(x, Var) and not self._has_value(x)]
            if missing:
                stack.extend(missing)
                continue
            operands = [x.value if isinstance(x, Literal) else self.known[x] for x in found.inputs]
            self.known.update(zip(found.outputs, self.evaluator(found.operation, operands, dict(found.params), found.source),
                                  strict=True))
            stack.pop()
        return self.known[atom]

    def given(self, atom: Atom) -> bool:
        """Whether ``atom`` is an input or what a captured value became: not made by an equation of this builder."""
        return any(var is atom for var in (*self.inputs, *self._capture_vars.values()))

    def _has_value(self, var: Var) -> bool:
        value = self.known.get(var)
        return value is not None and not isinstance(value, Tracer)


def current_builder() -> Builder | None:
    """The builder that records at this moment in this thread."""
    return _state.builder


@contextmanager
def outside() -> Iterator[None]:
    """Within this block nothing is recorded: operations on arrays are evaluated."""
    builder, _state.builder = _state.builder, None
    try:
        yield
    finally:
        _state.builder = builder


@contextmanager
def recording(builder: Builder) -> Iterator[None]:
    """Within this block ``builder``, which is open, records: also if a builder inside it is open too."""
    innermost, _state.builder = _state.builder, builder
    try:
        yield
    finally:
        _state.builder = innermost


def leaked(tracer: Tracer) -> LeakedTracerError:
    return LeakedTracerError(
        f"a traced array of type {tracer.type} made by {tracer.builder.purpose} is used after that tracing ended: "
        "return it from the function instead of storing it in a global, a closure or an object" + user_line()
    )


def concrete(tracer: Tracer, wanted: str) -> Any:
    """The value of ``tracer`` as a NumPy array or scalar. Raises ConcretizationError if it is not known."""
    if tracer.builder.state == "closed":
        return tracer.held()
    value = tracer.builder.value_of(tracer.atom)
    if value is None:
        raise ConcretizationError(
            f"{wanted} needs the value of a traced array of type {tracer.type}, which is not known while "
            f"{tracer.builder.purpose} traces{user_line()}\n"
            "  way out: np.where(condition, a, b) or gradxform.lax.cond for a choice, gradxform.lax.while_loop for a loop, "
            "& | ~ for and, or, not and chained comparisons, gradxform.jit(f, static_argnames=...) for an argument that "
            "selects code, or leave out jit/vmap around this function"
        )
    return value


def python_literal(value: Any, dtype: Any) -> Any:
    """A Python number as a NumPy scalar of ``dtype``; OverflowError if an integer does not fit, as in NumPy 2."""
    if isinstance(value, int) and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            raise OverflowError(f"Python integer {value} out of bounds for {dtype}{user_line()}")
    return dtype.type(value)


def type_of(value: Any) -> ArrayType:
    """The type of a tracer, array or Python scalar."""
    if isinstance(value, Tracer):
        return value.atom.type
    dtype = python_scalar_dtype(value)
    if dtype is not None:
        return ArrayType(dtype, (), True)
    if isinstance(value, (np.ndarray, np.generic)):
        return ArrayType(canonical(value.dtype), value.shape)
    raise ArgumentTypeError(f"expected an array or a number, got {value!r} of type {type(value).__name__}{user_line()}")


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a tracer, array or Python scalar."""
    return type_of(value).shape


def dtype_of(value: Any) -> Any:
    """The dtype of a tracer, array or Python scalar."""
    return type_of(value).dtype


def evaluate(
    primitive: Primitive, operands: Sequence[Any], params: dict[str, Any], source: Source | None = None
) -> tuple[Any, ...]:
    """The results of a primitive on NumPy arrays. Floating-point warnings are NumPy's own and stay off here.

    ``source`` is the user's line, for the search for NaN, if it is not that of the caller.
    """
    with np.errstate(all="ignore"):
        result = primitive.evaluate(*operands, **params)
    results = tuple(result) if primitive.multiple else (result,)
    if config.debug_nans:
        check_nans(primitive, operands, params, results, source)
    return results


def fresh(value: Any, arguments: Sequence[Any]) -> Any:
    """A result that is the caller's own: numbers as NumPy scalars, arrays that are views or arguments copied."""
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    if value.base is not None or not value.flags.writeable or any(value is x for x in arguments):
        return value.copy()
    return value


def bind_all(primitive: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Apply a primitive: recorded if a builder is open, evaluated otherwise."""
    builder = _state.builder
    if builder is None:
        operands = [operand.held() if isinstance(operand, Tracer) else operand for operand in operands]
        types = tuple(type_of(operand) for operand in operands)
        primitive.result_types(types, params)
        arrays = [np.asarray(x, dtype=t.dtype) for x, t in zip(operands, types, strict=True)]
        return [fresh(result, operands) for result in evaluate(primitive, arrays, params)]
    atoms = tuple([
        x.atom if isinstance(x, Tracer) and x.builder is builder else builder.atom(x) for x in operands
    ])
    try:
        types = primitive.result_types(tuple([atom.type for atom in atoms]), params)
    except GradxformError as error:
        raise type(error)(f"{error}{user_line()}") from None
    outputs = tuple([Var(array_type) for array_type in types])
    source = builder.source or user_source()
    ordered = tuple(sorted(params.items())) if len(params) > 1 else tuple(params.items())
    builder.equations.append(Equation(primitive, atoms, ordered, outputs, source))
    tracer_class = builder.tracer_class
    return [tracer_class(builder, var) for var in outputs]


def replay(equation: Equation, operands: Sequence[Any]) -> list[Any]:
    """Apply the primitive of an equation to other operands; what its rule says of operands of the same types is known."""
    builder = _state.builder
    if builder is None:
        return bind_all(equation.operation, operands, dict(equation.params))
    atoms = []
    for former, operand in zip(equation.inputs, operands, strict=True):
        atom: Atom
        if isinstance(operand, Tracer) and operand.builder is builder:
            atom = operand.atom
        elif isinstance(former, Literal) and operand is former.value and not former.type.weak:
            atom = former
        else:
            atom = builder.atom(operand)
        if atom.type is not former.type and atom.type != former.type:
            return bind_all(equation.operation, operands, dict(equation.params))
        atoms.append(atom)
    outputs = tuple([Var(var.type) for var in equation.outputs])
    source = builder.source or user_source()
    builder.equations.append(Equation(equation.operation, tuple(atoms), equation.params, outputs, source))
    tracer_class = builder.tracer_class
    return [tracer_class(builder, var) for var in outputs]


def bind(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    """Apply a primitive with one result."""
    return bind_all(primitive, operands, params)[0]


