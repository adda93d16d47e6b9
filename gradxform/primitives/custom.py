"""Functions that bring their own rules of differentiation and batching.

``custom`` is a call of a sub-program whose rules are the user's. Differentiated, it gives way to the known part of a rule
and a linear equation:

    y = custom[program=f rules=f] x      ->      y r = <the rule's known equations> x
                                                 dy = custom_linear[forward=.. transposed=f] r dx

``custom_linear`` is linear in its last operands and holds both directions of that map: ``forward`` gives the tangents,
``transposed`` the cotangents. Where the map is not given in one of the directions, that one follows from the other.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from gradxform.core import Builder, Primitive, Refuses, Undefined, bind_all, outside, run, shape_of
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import DType, is_differentiable
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType, Atom, Equation, Literal, Opaque, Program, Var
from gradxform.linear import add, broadcast, reduce_sum, zeros
from gradxform.transforms import batch as batch_program
from gradxform.transforms import jvp as jvp_program
from gradxform.transforms import transpose as transpose_program

#: dtype and shape of each result.
Results = tuple[tuple[DType, tuple[int, ...]], ...]


class Backward(Opaque):
    """The transposed direction of a linear map, made for the cotangents that are not zero."""

    __slots__ = ()

    @abstractmethod
    def program(self, given: tuple[bool, ...]) -> Program:
        """Residuals, then the ``given`` cotangents, to one cotangent per linear operand."""

    def batched(self, residuals: tuple[bool, ...], size: int) -> Backward:
        """The same over lanes, where cotangents have them all, and residuals where flagged."""
        return _BatchedBackward(self, residuals, size)


@data_class(frozen=True, slots=True, eq=False)
class Derivative:
    """What stands in the place of a ``custom`` equation that is differentiated.

    ``known`` takes the operands and gives the outputs and residuals, ``forward`` the residuals and the tangents of the
    chosen operands, and gives the tangents of the outputs that ``depend``. ``backward`` is None if it follows from
    ``forward``, and ``forward`` is None if the map has no forward direction.
    """

    known: Program
    forward: Program | None
    backward: Backward | None
    depends: tuple[bool, ...]


class Rules(Opaque):
    """The rules of one call of a function."""

    __slots__ = ()

    @abstractmethod
    def derivative(self, nonzero: tuple[bool, ...]) -> Derivative:
        """The derivative with respect to the operands that are ``nonzero``."""

    def batched(self, program: Program, operands: tuple[bool, ...], size: int) -> tuple[Program, Rules | None]:
        """The program over lanes, all outputs with a leading axis, and its rules."""
        return batch_all(program, operands, size, len(program.outputs))[0], BatchedRules(self, program, operands, size)


# ------------------------------------------------------------------------------------------------- programs as needed


def batch_all(
    program: Program, batched: Sequence[bool], size: int, count: int
) -> tuple[Program, tuple[bool, ...]]:
    """The program over lanes, its first ``count`` outputs with a leading axis in any case."""
    over_lanes, flags = batch_program(program, batched, size)
    if all(flags[:count]):
        return over_lanes, flags
    builder = Builder("vmap")
    with builder:
        results = run(over_lanes, [builder.add_input(t) for t in over_lanes.input_types])
        for position in range(count):
            if not flags[position]:
                results[position] = repeat(results[position], size)
        program, _ = builder.finish(results)
    return program, (*[True] * count, *flags[count:])


def repeat(x: Any, size: int) -> Any:
    """``x`` in each of ``size`` lanes."""
    shape = shape_of(x)
    return broadcast(x, (size, *shape), tuple(range(1, len(shape) + 1)))


#: Operations whose result is zero if an operand is, and if all are.
_ZERO_IF_ANY = frozenset(("mul", "dot_general"))
_ZERO_IF_ALL = frozenset(("add", "sub", "neg", "broadcast", "reshape", "transpose", "slice", "reverse", "concatenate", "pad",
                          "convert", "reduce_sum", "stop_gradient", "name"))


def is_zero(program: Program, atom: Atom) -> bool:
    """Whether ``atom`` is zero as far as the equations show: a literal zero, or what it was multiplied with."""
    zero: dict[Atom, bool] = {}

    def known(x: Atom) -> bool:
        return bool(x.value == 0) if isinstance(x, Literal) else zero.get(x, False)

    for equation in program.equations:
        name = equation.operation.name
        if name == "constant":
            found = not np.any(dict(equation.params)["value"].array)
        elif name in _ZERO_IF_ANY:
            found = any(map(known, equation.inputs))
        else:
            found = name in _ZERO_IF_ALL and all(map(known, equation.inputs))
        if found:
            zero.update(dict.fromkeys(equation.outputs, True))
    return known(atom)


def linear_obstacle(program: Program, linear: Sequence[bool]) -> str | None:
    """Why the outputs of ``program`` cannot be linear in its ``linear`` inputs, as far as dataflow tells; or None."""
    dependent = {v for v, flag in zip(program.inputs, linear, strict=True) if flag}
    for equation in program.equations:
        if any(x in dependent for x in equation.inputs):
            for var in equation.outputs:
                if not is_differentiable(var.type.dtype):
                    return f"{equation.operation.name} makes a {var.type} of it"
            dependent.update(equation.outputs)
    for position, atom in enumerate(program.outputs):
        if atom not in dependent and not is_zero(program, atom):
            return f"its result {position} has a part that does not depend on it"
    return None


def transposed_forward(program: Program, residuals: int) -> Program | None:
    """The forward direction of a map given by its backward ``program``; None if that is not linear."""
    linear = [position >= residuals for position in range(len(program.inputs))]
    if linear_obstacle(program, linear) is not None:
        return None
    try:
        return transpose_program(program, linear)
    except NotDifferentiableError:
        return None


# ---------------------------------------------------------------------------------------------------------- batching


class _BatchedBackward(Backward):
    __slots__ = ("_base", "_residuals", "_size")

    def __init__(self, base: Backward, residuals: tuple[bool, ...], size: int) -> None:
        super().__init__(base.label)
        self._base, self._residuals, self._size = base, residuals, size

    def program(self, given: tuple[bool, ...]) -> Program:
        base = self._base.program(given)
        flags = [*self._residuals, *[True] * sum(given)]
        return batch_all(base, flags, self._size, len(base.outputs))[0]


class BatchedRules(Rules):
    """The rules of one lane, applied to all."""

    __slots__ = ("_base", "_flags", "_program", "_size")

    def __init__(self, base: Rules, program: Program, flags: tuple[bool, ...], size: int) -> None:
        super().__init__(base.label)
        self._base, self._program, self._flags, self._size = base, program, flags, size

    def derivative(self, nonzero: tuple[bool, ...]) -> Derivative:
        lane = self._base.derivative(nonzero)
        count = len(self._program.outputs)
        known, flags = batch_all(lane.known, self._flags, self._size, count)
        residuals = flags[count:]
        forward = None
        if lane.forward is not None:
            # A tangent has lanes where its operand has.
            tangents = [flag for flag, wanted in zip(self._flags, nonzero, strict=True) if wanted]
            forward = batch_all(lane.forward, [*residuals, *tangents], self._size, len(lane.forward.outputs))[0]
        backward = lane.backward
        if backward is not None:
            backward = _summing(backward.batched(residuals, self._size), self._flags, nonzero)
        return Derivative(known, forward, backward, lane.depends)


class _SummingBackward(Backward):
    """Operands that all lanes share get the sum of the lanes' cotangents."""

    __slots__ = ("_base", "_has_lanes")

    def __init__(self, base: Backward, has_lanes: tuple[bool, ...]) -> None:
        super().__init__(base.label)
        self._base, self._has_lanes = base, has_lanes

    def program(self, given: tuple[bool, ...]) -> Program:
        base = self._base.program(given)
        builder = Builder("vmap")
        with builder:
            results = run(base, [builder.add_input(t) for t in base.input_types])
            results = [x if flag else reduce_sum(x, (0,)) for x, flag in zip(results, self._has_lanes, strict=True)]
            return builder.finish(results)[0]


def _summing(backward: Backward, flags: Sequence[bool], nonzero: Sequence[bool]) -> Backward:
    has_lanes = tuple([flag for flag, wanted in zip(flags, nonzero, strict=True) if wanted])
    return backward if all(has_lanes) else _SummingBackward(backward, has_lanes)


# ------------------------------------------------------------------------------------------------------------ custom


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, rules: Rules
) -> tuple[list[Any], list[Any]]:
    found = rules.derivative(tuple([t is not None for t in tangents]))
    count = len(program.outputs)
    known = run(found.known, primals)
    outputs, residuals = known[:count], known[count:]
    given = [t for t in tangents if t is not None]
    if not any(found.depends):
        return outputs, [None] * count
    if found.backward is None:
        assert found.forward is not None, "a derivative without either direction"
        results = run(found.forward, [*residuals, *given])
    else:
        types = tuple([(t.dtype, t.shape) for t, flag in zip(program.output_types, found.depends, strict=True) if flag])
        results = custom_linear(found.forward, found.backward, residuals, given, types)
    derivatives = iter(results)
    return outputs, [next(derivatives) if flag else None for flag in found.depends]


def _batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, program: Program, rules: Rules
) -> tuple[list[Any], list[bool]]:
    over_lanes, over_rules = rules.batched(program, tuple(batched), size)
    flags = [True] * len(program.outputs)
    if over_rules is None:
        return run(over_lanes, operands), flags
    return custom(over_lanes, over_rules, operands), flags


def _transpose(cts: Sequence[Any], operands: Sequence[Any], *, program: Program, rules: Rules) -> list[Any]:
    # A linear function that is transposed without having been differentiated: by its own program.
    linear = [isinstance(x, Undefined) for x in operands]
    transposed = transpose_program(program, linear)
    given = [zeros(atom.type.strong()) if ct is None else ct for ct, atom in zip(cts, program.outputs, strict=True)]
    results = iter(run(transposed, [*(x for x in operands if not isinstance(x, Undefined)), *given]))
    return [next(results) if flag else None for flag in linear]


def evaluate_program(program: Program, operands: Sequence[Any]) -> list[Any]:
    """The outputs of ``program`` for arrays, also while a builder is open."""
    with outside():
        return [np.asarray(x) for x in run(program, operands)]


def custom(program: Program, rules: Rules, operands: Sequence[Any]) -> list[Any]:
    """The results of ``program``, whose derivative and batching are those of ``rules``."""
    return bind_all(custom_p, operands, {"program": program, "rules": rules})


# ----------------------------------------------------------------------------------------------------- custom_linear


def _no_forward(backward: Backward) -> NoReturn:
    raise NotDifferentiableError(
        f"forward mode of {backward.label} needs a jvp rule: its backward rule is not linear in the cotangent, so the "
        f"tangent does not follow from it: give both with custom_rule({backward.label}, jvp=..., vjp=(fwd, bwd)), or use "
        f"reverse mode (grad, vjp, jacrev){user_line()}")


class _PartBackward(Backward):
    """The backward direction where only some of the linear operands are there, the others being zero."""

    __slots__ = ("_base", "_kept")

    def __init__(self, base: Backward, kept: tuple[bool, ...]) -> None:
        super().__init__(base.label)
        self._base, self._kept = base, kept

    def program(self, given: tuple[bool, ...]) -> Program:
        base = self._base.program(given)
        outputs = tuple([x for x, flag in zip(base.outputs, self._kept, strict=True) if flag])
        return Program(base.inputs, base.equations, outputs, base.name)


def _part(forward: Program, residuals: int, kept: Sequence[bool]) -> Program:
    """``forward`` for some of its linear inputs, the others being zero."""
    builder = Builder("jvp")
    with builder:
        arguments = [builder.add_input(t) for t in forward.input_types[:residuals]]
        arguments += [builder.add_input(t) if flag else zeros(t)
                      for t, flag in zip(forward.input_types[residuals:], kept, strict=True)]
        return builder.finish(run(forward, arguments))[0]


def _linear_type(
    *operands: ArrayType, forward: Program | None, residuals: int, results: Results, transposed: Backward
) -> tuple[ArrayType, ...]:
    return tuple([ArrayType(dtype, shape) for dtype, shape in results])


def _linear_evaluate(
    *operands: Any, forward: Program | None, residuals: int, results: Results, transposed: Backward
) -> list[Any]:
    if forward is None:
        _no_forward(transposed)
    return evaluate_program(forward, operands)


def _linear_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, forward: Program | None, residuals: int, results: Results,
    transposed: Backward,
) -> tuple[list[Any], list[Any]]:
    if forward is None:
        _no_forward(transposed)
    known, count = primals[:residuals], len(results)
    outputs = custom_linear(forward, transposed, known, primals[residuals:], results)
    derivatives: list[Any] = [None] * count
    kept = tuple([t is not None for t in tangents[residuals:]])
    if any(kept):
        # Linear in these operands: the same map, so that it keeps its backward direction.
        part, backward = forward, transposed
        if not all(kept):
            part, backward = _part(forward, residuals, kept), _PartBackward(transposed, kept)
        derivatives = list(custom_linear(part, backward, known, [t for t in tangents[residuals:] if t is not None], results))
    moving = [t is not None for t in tangents[:residuals]]
    if any(moving):
        pushed, depends = jvp_program(forward, [*moving, *[False] * len(kept)])
        found = iter(run(pushed, [*primals, *(t for t in tangents[:residuals] if t is not None)])[count:])
        for position, flag in enumerate(depends):
            if flag:
                term, earlier = next(found), derivatives[position]
                derivatives[position] = term if earlier is None else add(earlier, term)
    return outputs, derivatives


def _linear_transpose(
    cts: Sequence[Any], operands: Sequence[Any], *, forward: Program | None, residuals: int, results: Results,
    transposed: Backward,
) -> list[Any]:
    linear = [isinstance(x, Undefined) for x in operands]
    if any(linear[:residuals]) or not all(linear[residuals:]):
        raise NotDifferentiableError(
            f"the derivative of {transposed.label} is linear in the tangents of its arguments together, and in nothing "
            f"else{user_line()}")
    backward = transposed.program(tuple([ct is not None for ct in cts]))
    found = run(backward, [*operands[:residuals], *(ct for ct in cts if ct is not None)])
    defining = {v: equation for equation in backward.equations for v in equation.outputs}
    return [*[None] * residuals,
            *(None if _is_plain_zero(atom, defining) else ct for ct, atom in zip(found, backward.outputs, strict=True))]


def _is_plain_zero(atom: Atom, defining: dict[Var, Equation]) -> bool:
    """Whether ``atom`` is a zero of the program, or an array of it: no cotangent."""
    equation = None if isinstance(atom, Literal) else defining.get(atom)
    if equation is not None and equation.operation.name == "broadcast":
        (atom,) = equation.inputs
    return isinstance(atom, Literal) and bool(atom.value == 0)


def _linear_batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, forward: Program | None, residuals: int,
    results: Results, transposed: Backward,
) -> tuple[list[Any], list[bool]]:
    flags = tuple(batched[:residuals])
    given = [x if flag else repeat(x, size) for x, flag in zip(operands[residuals:], batched[residuals:], strict=True)]
    over_lanes = None
    if forward is not None:
        over_lanes = batch_all(forward, [*flags, *[True] * len(given)], size, len(results))[0]
    over_results = tuple([(dtype, (size, *shape)) for dtype, shape in results])
    return (custom_linear(over_lanes, transposed.batched(flags, size), operands[:residuals], given, over_results),
            [True] * len(results))


def custom_linear(
    forward: Program | None, backward: Backward, residuals: Sequence[Any], tangents: Sequence[Any], results: Results
) -> list[Any]:
    """The tangents that a linear map gives, whose transposed direction is ``backward``."""
    return bind_all(custom_linear_p, [*residuals, *tangents], {
        "forward": forward, "residuals": len(residuals), "results": results, "transposed": backward})


def _linear_lower(
    operands: Any, types: Any, *, forward: Program | None, residuals: int, results: Results, transposed: Backward
) -> NoReturn:
    _no_forward(transposed)  # with a forward direction, it has been inlined


custom_p = Primitive(
    "custom",
    type=lambda *operands, program, rules: program.output_types,
    evaluate=lambda *operands, program, rules: evaluate_program(program, operands),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=Refuses("custom is inlined before lowering"),
    multiple=True,
)

custom_linear_p = Primitive(
    "custom_linear",
    type=_linear_type,
    evaluate=_linear_evaluate,
    jvp=_linear_jvp,
    transpose=_linear_transpose,
    batch=_linear_batch,
    lower=_linear_lower,
    multiple=True,
)

PRIMITIVES = (custom_p, custom_linear_p)
