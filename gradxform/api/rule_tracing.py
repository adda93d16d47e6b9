"""From the rules that users write to programs.

A function with rules of its own is one equation of the program that calls it. Its rules are traced when a transform
meets that equation, for the arguments that are differentiated there, and become programs:

    jvp(primals, tangents) -> (out, tangent_out)        operands, tangents -> outputs, tangents
    fwd(*args) -> (out, residuals)                      operands -> outputs, residuals
    bwd(residuals, ct) -> cotangents                    residuals, cotangents -> cotangents
    batch(size, in_batched, *args) -> (out, batched)    operands with lanes -> outputs with lanes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.tracing import as_value
from gradxform.array import Array
from gradxform.core import Builder, Tracer, run, type_of
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import float0, holds_weak, is_differentiable
from gradxform.errors import (
    ArgumentError,
    ArgumentTypeError,
    LeakedTracerError,
    NotDifferentiableError,
    ShapeError,
    TreeError,
)
from gradxform.ir import ArrayType, Equation, Program, Var
from gradxform.linear import broadcast, zeros
from gradxform.passes.dead import remove_dead
from gradxform.primitives.constant import Constant, constant_p
from gradxform.primitives.custom import Backward, BatchedRules, Derivative, Rules, is_zero, transposed_forward
from gradxform.primitives.logic import convert
from gradxform.transforms import jvp, linearize, split


@data_class(frozen=True, slots=True)
class SymbolicZero:
    """A tangent or cotangent that is known to be zero, given to rules that were defined with ``symbolic_zeros=True``.

    >>> SymbolicZero((3,), np.dtype("float64")).instantiate()
    array([0., 0., 0.])
    """

    shape: tuple[int, ...]
    dtype: Any

    def instantiate(self) -> Any:
        """The array of zeros for which it stands."""
        return zeros(ArrayType(self.dtype, self.shape))


@data_class(frozen=True, slots=True)
class CustomVjpPrimal:
    """An argument of a forward rule defined with ``symbolic_zeros=True``: whether it is being differentiated."""

    value: Any
    perturbed: bool


@data_class(slots=True, eq=False)
class RuleFunctions:
    """The rules that a user gave, each None if there is none.

    ``jvp(statics, primals, tangents)``, ``fwd(args)``, ``bwd(statics, residuals, cts)``,
    ``batch(size, in_batched, args)``.
    """

    jvp: Callable[..., Any] | None = None
    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None
    batch: Callable[..., Any] | None = None
    symbolic_tangents: bool = False
    symbolic_cotangents: bool = False


@data_class(frozen=True, slots=True, eq=False)
class Call:
    """One call of a function with rules.

    The operands of its equation are the leaves of the arguments that may be differentiated (``types``, in the structure
    ``treedef``), traced leaves of static arguments, and values that the function closes over.
    """

    name: str
    parameters: tuple[str, ...]
    treedef: tree.TreeDef
    types: tuple[ArrayType, ...]
    statics: StaticArguments
    captures: tuple[Any, ...]
    program: Program
    out_treedef: tree.TreeDef

    @property
    def operand_types(self) -> tuple[ArrayType, ...]:
        return self.program.input_types

    @property
    def out_types(self) -> tuple[ArrayType, ...]:
        return self.program.output_types

    def arguments(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments that may be differentiated, of the first operands."""
        return tuple(tree.unflatten(self.treedef, inputs[: len(self.types)]))

    def static_operands(self, inputs: Sequence[Any]) -> list[Any]:
        """The operands that are leaves of static arguments."""
        return list(inputs[len(self.types): len(self.types) + len(self.statics.traced)])


@data_class(frozen=True, slots=True, eq=False)
class StaticArguments:
    """The arguments at ``positions``. Traced leaves among them are operands like others, but not differentiated."""

    positions: tuple[int, ...]
    leaves: list[Any]
    treedef: tree.TreeDef
    traced: tuple[int, ...]

    def values(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        """The static arguments, with ``operands`` for their traced leaves."""
        leaves = list(self.leaves)
        for position, operand in zip(self.traced, operands, strict=True):
            leaves[position] = operand
        return tuple(tree.unflatten(self.treedef, leaves))

    def merged(self, others: Sequence[Any], operands: Sequence[Any]) -> tuple[Any, ...]:
        """All arguments in their places: the static ones, and ``others``."""
        result = list(others)
        for position, value in zip(self.positions, self.values(operands), strict=True):
            result.insert(position, value)
        return tuple(result)


# ------------------------------------------------------------------------------------------------------------ recording


def record(
    call: Call, what: str, types: Sequence[ArrayType], body: Callable[[list[Any]], Sequence[Any]],
    has_operands: bool = True,
) -> Program:
    """The program of a rule. ``has_operands`` says that its first inputs are the operands of the call."""
    builder = Builder(f"the {what} of {call.name}", Array)
    try:
        with builder:
            inputs: list[Any] = [builder.add_input(t) for t in types]
            program, captures = builder.finish(body(inputs), f"{what.split()[0]}_{call.name}")
    except LeakedTracerError as error:
        raise LeakedTracerError(f"the {what} of {call.name} uses a traced value from outside: {_PASS_IT}\n  {error}") from None
    if not captures:
        return program
    count = len(program.inputs) - len(captures)
    first_captured = len(call.operand_types) - len(call.captures)
    own = {_identity(value): program.inputs[first_captured + i]
           for i, value in enumerate(call.captures)} if has_operands else {}
    equations: list[Equation] = []
    renamed: dict[Any, Any] = {}
    for var, value in zip(program.inputs[count:], captures, strict=True):
        if not isinstance(value, Tracer):
            equations.append(Equation(constant_p, (), (("value", Constant(value)),), (var,)))
        elif _identity(value) in own:
            renamed[var] = own[_identity(value)]
        else:
            raise LeakedTracerError(
                f"the {what} of {call.name} uses a traced value of type {value.type} from outside: {_PASS_IT}{user_line()}")
    for equation in program.equations:
        inputs_of = tuple([renamed.get(x, x) for x in equation.inputs])
        equations.append(Equation(equation.operation, inputs_of, equation.params, equation.outputs, equation.source))
    outputs = tuple([renamed.get(x, x) for x in program.outputs])
    return Program(program.inputs[:count], tuple(equations), outputs, program.name)


_PASS_IT = "pass it as an argument of the function, or, to a backward rule, among the residuals"


def _identity(value: Any) -> int:
    return id(value.atom) if isinstance(value, Tracer) else id(value)


def _pair(call: Call, what: str, result: Any, parts: str) -> tuple[Any, Any]:
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        raise ArgumentTypeError(f"the {what} of {call.name} must return a pair ({parts}), got {result!r}{user_line()}")
    return result[0], result[1]


def _primal_outputs(call: Call, what: str, out: Any) -> list[Any]:
    """The leaves of a rule's first result, which must be of the types that the function itself gives."""
    leaves, treedef = tree.flatten(out)
    if treedef != call.out_treedef:
        raise TreeError(f"the {what} of {call.name} must give a result of the structure that {call.name} gives: expected "
                        f"{call.out_treedef}, got {treedef}{user_line()}")
    return [_of_type(f"the result in the {what} of {call.name}", leaf, t)
            for leaf, t in zip(leaves, call.out_types, strict=True)]


def _of_type(what: str, leaf: Any, wanted: ArrayType) -> Any:
    """``leaf`` as a value of the ``wanted`` dtype and shape; Python scalars adopt the dtype."""
    if isinstance(leaf, SymbolicZero):
        leaf = leaf.instantiate()
    value = as_value(leaf, what)
    found = type_of(value)
    if found.shape != wanted.shape or not (
            found.dtype == wanted.dtype or (
                found.weak and is_differentiable(wanted.dtype) and holds_weak(wanted.dtype, found.dtype))):
        raise ShapeError(f"{what} has type {found.strong()}, expected {wanted.strong()}{user_line()}")
    return convert(value, wanted.dtype, found.weak and wanted.weak)


def _nothing(array_type: ArrayType) -> Any:
    """The tangent of an integer."""
    return np.zeros(array_type.shape, float0)


def _zero(array_type: ArrayType, symbolic: bool) -> Any:
    if not is_differentiable(array_type.dtype):
        return _nothing(array_type)
    return SymbolicZero(array_type.shape, array_type.dtype) if symbolic else zeros(array_type.strong())


# ------------------------------------------------------------------------------------------------------------- forward


def forward_rule(call: Call, functions: RuleFunctions, nonzero: tuple[bool, ...]) -> Derivative:
    """The derivative that a jvp rule gives."""
    if functions.symbolic_tangents:
        return _forward_rule(call, functions, nonzero)
    every = tuple([is_differentiable(t.dtype) for t in call.types] + [False] * (len(nonzero) - len(call.types)))
    if every == nonzero:
        return _forward_rule(call, functions, nonzero)
    # Zeros that the rule computes with would be constants in its linear part, which could not be transposed then. So the
    # rule is traced for all tangents, and those that are zero are taken out of what it says.
    restricted = _restricted(_forward_rule(call, functions, every),
                             [flag for flag, there in zip(nonzero, every, strict=True) if there])
    return restricted or _forward_rule(call, functions, nonzero)


def _restricted(found: Derivative, kept: Sequence[bool]) -> Derivative | None:
    """The derivative for some of the tangents; None if dataflow does not show that it is linear in them.

    A linear map is its own derivative, and derivatives leave out what is zero.
    """
    assert found.forward is not None
    residuals = len(found.forward.inputs) - len(kept)
    count = len(found.forward.outputs)
    pushed, flags = jvp(found.forward, [*[False] * residuals, *kept])
    program = remove_dead(Program(pushed.inputs, pushed.equations, pushed.outputs[count:], pushed.name), {})
    ignored = set(pushed.inputs[residuals: residuals + len(kept)])
    if any(x in ignored for e in program.equations for x in e.inputs) or any(x in ignored for x in program.outputs):
        return None
    inputs = (*pushed.inputs[:residuals], *pushed.inputs[residuals + len(kept):])
    remaining = iter(flags)
    depends = tuple([flag and next(remaining) for flag in found.depends])
    return Derivative(found.known, Program(inputs, program.equations, program.outputs, program.name), None, depends)


def _forward_rule(call: Call, functions: RuleFunctions, nonzero: tuple[bool, ...]) -> Derivative:
    """The derivative that a jvp rule gives, traced with zeros for the tangents that are not ``nonzero``."""
    what, rule, count = "jvp rule", functions.jvp, len(call.operand_types)
    assert rule is not None
    moving = [t.strong() for t, flag in zip(call.operand_types, nonzero, strict=True) if flag]

    def body(inputs: list[Any]) -> list[Any]:
        given = iter(inputs[count:])
        leaves = [next(given) if flag else _zero(t, functions.symbolic_tangents)
                  for t, flag in zip(call.types, nonzero[: len(call.types)], strict=True)]
        statics = call.statics.values(call.static_operands(inputs))
        result = rule(statics, call.arguments(inputs), tuple(tree.unflatten(call.treedef, leaves)))
        out, tangent_out = _pair(call, what, result, "primal_out, tangent_out")
        outputs = _primal_outputs(call, what, out)
        tangents, treedef = tree.flatten(tangent_out)
        if treedef != call.out_treedef:
            raise TreeError(f"the {what} of {call.name} must give tangents of the structure of its result: expected "
                            f"{call.out_treedef}, got {treedef}{user_line()}")
        return [*outputs, *(_of_type(f"the tangent in the {what} of {call.name}", leaf, t.strong())
                            for leaf, t in zip(tangents, call.out_types, strict=True) if is_differentiable(t.dtype))]

    program = record(call, what, [*call.operand_types, *moving], body)
    return _separated(call, program, len(moving))


def _separated(call: Call, program: Program, tangents: int) -> Derivative:
    """The known and the linear part of a jvp rule's program."""
    known_inputs = len(program.inputs) - tangents
    parts = split(program, [True] * known_inputs + [False] * tangents)
    count = len(call.out_types)
    if not all(parts.known_outputs[:count]):
        raise NotDifferentiableError(f"the jvp rule of {call.name}: its first result must not depend on the tangents")
    depends = []
    linear = iter(zip(parts.known_outputs[count:], program.outputs[count:], strict=True))
    for array_type in call.out_types:
        if not is_differentiable(array_type.dtype):
            depends.append(False)
            continue
        known, atom = next(linear)
        if known and not is_zero(program, atom):
            raise NotDifferentiableError(
                f"the jvp rule of {call.name}: its tangent must be linear in the tangents of the arguments, but does not "
                "depend on them")
        depends.append(not known)
    residuals = parts.known.outputs[len(parts.known.outputs) - parts.residual_count:]
    known_program = Program(parts.known.inputs, parts.known.equations, (*program.outputs[:count], *residuals), program.name)
    return Derivative(known_program, parts.rest, None, tuple(depends))


# ------------------------------------------------------------------------------------------------------------ backward


class BackwardRule(Backward):
    """A user's backward rule: traced for the cotangents that are given.

    Its residuals are those of ``skipped`` types, which belong to the forward direction, those of the forward rule, and
    the traced leaves of static arguments.
    """

    __slots__ = ("_call", "_depends", "_functions", "_nonzero", "_programs", "_residual_tree", "_residual_types", "_skipped")

    def __init__(
        self, call: Call, functions: RuleFunctions, nonzero: tuple[bool, ...], depends: tuple[bool, ...],
        residual_tree: tree.TreeDef, residual_types: Sequence[ArrayType], skipped: Sequence[ArrayType],
    ) -> None:
        super().__init__(call.name)
        self._call, self._functions, self._nonzero, self._depends = call, functions, nonzero, depends
        self._residual_tree, self._residual_types, self._skipped = residual_tree, residual_types, skipped
        self._programs: dict[tuple[bool, ...], Program] = {}

    def program(self, given: tuple[bool, ...]) -> Program:
        found = self._programs.get(given)
        if found is None:
            found = self._programs[given] = self._trace(given)
        return found

    def _trace(self, given: tuple[bool, ...]) -> Program:
        call, rule, skipped = self._call, self._functions.bwd, len(self._skipped)
        assert rule is not None
        flags = iter(given)
        present = [flag and next(flags) for flag in self._depends]
        residuals = [*self._skipped, *self._residual_types]
        cotangents = [t.strong() for t, flag in zip(call.out_types, present, strict=True) if flag]

        def body(inputs: list[Any]) -> list[Any]:
            own = inputs[skipped: len(residuals)]
            cts = iter(inputs[len(residuals):])
            leaves = [next(cts) if flag else _zero(t, self._functions.symbolic_cotangents)
                      for t, flag in zip(call.out_types, present, strict=True)]
            split_at = self._residual_tree.num_leaves
            saved = tree.unflatten(self._residual_tree, own[:split_at])
            result = rule(call.statics.values(own[split_at:]), saved, tree.unflatten(call.out_treedef, leaves))
            return self._checked(result)

        return record(call, "bwd rule", [*residuals, *cotangents], body, has_operands=False)

    def _checked(self, result: Any) -> list[Any]:
        """A cotangent for each leaf that is differentiated."""
        call = self._call
        arguments = tree.unflatten(call.treedef, range(len(call.types)))
        if not isinstance(result, (tuple, list)) or len(result) != len(arguments):
            raise TreeError(
                f"the bwd rule of {call.name} must return a tuple with a cotangent (or None) for each of its "
                f"{len(arguments)} differentiable argument(s), got {_shown(result)}{user_line()}")
        found: list[Any] = []
        for name, argument, entry in zip(call.parameters, arguments, result, strict=True):
            found += self._leaves(name, argument, entry)
        return [ct for ct, flag in zip(found, self._nonzero, strict=False) if flag]

    def _leaves(self, name: str, argument: Any, entry: Any) -> list[Any]:
        call = self._call
        what = f"the cotangent of argument {name!r} from the bwd rule of {call.name}"
        positions = tree.leaves(argument)
        entries = tree.broadcast_prefix(entry, argument, what)
        if len(tree.leaves(entry)) != sum(x is not None for x in entries):
            raise TreeError(f"{what} must have the structure of the argument, {tree.structure(argument)}, got "
                            f"{tree.structure(entry)}{user_line()}")
        result: list[Any] = []
        for position, leaf in zip(positions, entries, strict=True):
            wanted = call.types[position].strong()
            if not is_differentiable(wanted.dtype):
                if not (leaf is None or isinstance(leaf, SymbolicZero) or getattr(leaf, "dtype", None) == float0):
                    raise NotDifferentiableError(
                        f"{what}, which is an integer, must be None or of dtype float0, got {_shown(leaf)}{user_line()}")
                result.append(None)
            else:
                result.append(zeros(wanted) if leaf is None else _of_type(what, leaf, wanted))
        return result


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of length {len(value)}"
    return f"{value!r} of type {type(value).__name__}"


def backward_rule(
    call: Call, functions: RuleFunctions, nonzero: tuple[bool, ...], forward: Derivative | None
) -> Derivative:
    """The derivative that a pair of fwd and bwd rules gives, with the ``forward`` direction of a jvp rule if there is one."""
    what, rule, count = "fwd rule", functions.fwd, len(call.out_types)
    assert rule is not None
    trees: list[tree.TreeDef] = []

    def body(inputs: list[Any]) -> list[Any]:
        leaves = inputs[: len(call.types)]
        if functions.symbolic_cotangents:
            leaves = [CustomVjpPrimal(x, flag) for x, flag in zip(leaves, nonzero, strict=False)]
        statics = call.static_operands(inputs)
        result = rule(call.statics.merged(call.arguments(leaves), statics))
        out, saved = _pair(call, what, result, "out, residuals")
        residuals, treedef = tree.flatten(saved)
        trees.append(treedef)
        values = [as_value(x, f"a residual in the {what} of {call.name}") for x in residuals]
        return [*_primal_outputs(call, what, out), *values, *statics]

    program = record(call, what, call.operand_types, body)
    types = [t.strong() for t in program.output_types[count:]]
    if forward is None:
        depends = tuple([is_differentiable(t.dtype) for t in call.out_types])
        backward = BackwardRule(call, functions, nonzero, depends, trees[0], types, ())
        transposed = backward.program((True,) * sum(depends))
        return Derivative(program, transposed_forward(transposed, len(types)), backward, depends)
    assert forward.forward is not None
    skipped = forward.known.output_types[count:]
    backward = BackwardRule(call, functions, nonzero, forward.depends, trees[0], types, skipped)
    known = _both(forward.known, program, count)
    direction = _ignoring(forward.forward, len(skipped), types)
    return Derivative(known, direction, backward, forward.depends)


def _both(first: Program, second: Program, count: int) -> Program:
    """The outputs of ``first``, and of ``second`` all but its first ``count``."""
    builder = Builder("jvp")
    with builder:
        inputs = [builder.add_input(t) for t in first.input_types]
        return builder.finish([*run(first, inputs), *run(second, inputs)[count:]], first.name)[0]


def _ignoring(program: Program, position: int, types: Sequence[ArrayType]) -> Program:
    """``program`` with further inputs at ``position``, which it does not use."""
    inputs = (*program.inputs[:position], *(Var(t) for t in types), *program.inputs[position:])
    return Program(inputs, program.equations, program.outputs, program.name)


# ---------------------------------------------------------------------------------------------------------- all of them


class CallRules(Rules):
    """The rules of one call, traced when they are needed."""

    __slots__ = ("_call", "_derivatives", "_functions")

    def __init__(self, call: Call, functions: RuleFunctions) -> None:
        super().__init__(call.name)
        self._call, self._functions = call, functions
        self._derivatives: dict[tuple[bool, ...], Derivative] = {}

    def derivative(self, nonzero: tuple[bool, ...]) -> Derivative:
        found = self._derivatives.get(nonzero)
        if found is None:
            found = self._derivatives[nonzero] = self._derivative(nonzero)
        return found

    def _derivative(self, nonzero: tuple[bool, ...]) -> Derivative:
        call, functions = self._call, self._functions
        if functions.jvp is None and functions.fwd is None:
            parts, depends = linearize(call.program, nonzero)
            return Derivative(parts.known, parts.rest, None, depends)
        if any(nonzero[len(call.types):]):
            raise NotDifferentiableError(
                f"{call.name}, which has a derivative rule of its own, closes over a value with respect to which it is "
                f"differentiated, and the rule says nothing of that: pass the value as an argument{user_line()}")
        forward = None if functions.jvp is None else forward_rule(call, functions, nonzero)
        if functions.fwd is None:
            assert forward is not None
            return forward
        return backward_rule(call, functions, nonzero, forward)

    def batched(self, program: Program, operands: tuple[bool, ...], size: int) -> tuple[Program, Rules | None]:
        rule, call = self._functions.batch, self._call
        if rule is None:
            return super().batched(program, operands, size)
        if any(operands[len(call.types):]):
            raise ArgumentError(
                f"{call.name}, which has a batch rule of its own, closes over a value that is batched, and the rule says "
                f"nothing of that: pass the value as an argument{user_line()}")
        types = [ArrayType(t.dtype, (size, *t.shape)) if flag else t
                 for t, flag in zip(call.operand_types, operands, strict=True)]

        def body(inputs: list[Any]) -> list[Any]:
            statics = call.static_operands(inputs)
            flags = tree.unflatten(call.treedef, operands[: len(call.types)])
            in_batched = list(flags)
            for position in call.statics.positions:
                in_batched.insert(position, False)
            result = rule(size, in_batched, call.statics.merged(call.arguments(inputs), statics))
            out, out_batched = _pair(call, "batch rule", result, "out, out_batched")
            return _lanes(call, out, out_batched, size)

        over_lanes = record(call, "batch rule", types, body)
        has_derivative = self._functions.jvp is not None or self._functions.fwd is not None
        return over_lanes, BatchedRules(self, program, operands, size) if has_derivative else None


def _lanes(call: Call, out: Any, out_batched: Any, size: int) -> list[Any]:
    """The leaves of a batch rule's result, each with a leading axis."""
    leaves, treedef = tree.flatten(out)
    what = f"the batch rule of {call.name}"
    if treedef != call.out_treedef:
        raise TreeError(f"{what} must give a result of the structure that {call.name} gives: expected {call.out_treedef}, "
                        f"got {treedef}{user_line()}")
    flags = tree.broadcast_prefix(out_batched, out, f"{what}: out_batched")
    result = []
    for leaf, flag, t in zip(leaves, flags, call.out_types, strict=True):
        if not isinstance(flag, (bool, np.bool_)):
            raise ArgumentTypeError(f"{what}: out_batched must hold booleans, got {flag!r}{user_line()}")
        full = ArrayType(t.dtype, (size, *t.shape))
        value = _of_type(f"the result of {what}", leaf, full if flag else t)
        result.append(value if flag else broadcast(value, full.shape, tuple(range(1, len(full.shape)))))
    return result
