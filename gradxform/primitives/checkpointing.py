"""Trading memory for time: functions whose intermediate values are computed again for the backward pass.

``remat`` is a call of a sub-program. Differentiated, it is linearized, and of the values that the linear part needs only
those are kept that its policy allows; the equation of the tangents holds the others' equations too:

    y = remat[program=f] x    ->    y s = <the known part of f> x
                                    dy = remat_linear[program={ x s dx -> dy }] x s dx

Transposed, ``remat_linear`` computes these values again, from operands behind a ``barrier``, which together with the
cotangents they pass at once: so they are not taken for the values of the forward pass, nor computed along with them.

``name`` marks a value for policies to find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform.core import Primitive, Refuses, Tracer, Undefined, bind, bind_all, current_builder, run
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType, Atom, Equation, Opaque, Program, Var
from gradxform.ir.callback import EFFECTS, replayed
from gradxform.ir.inlining import inline_calls
from gradxform.linear import batch_elementwise, zeros
from gradxform.loopir.lowering import Operand, View
from gradxform.passes.dead import remove_dead
from gradxform.primitives.custom import evaluate_program
from gradxform.primitives.residuals import compares_floats
from gradxform.transforms import backward, linearize
from gradxform.transforms import batch as batch_program
from gradxform.transforms import jvp as jvp_program
from gradxform.transforms import transpose as transpose_program


class Policy(Opaque):
    """Which values are kept: ``saveable(operation, *operand types, **params)`` says it of an operation's results.

    Values of the names ``excluded`` are not kept in any case.
    """

    __slots__ = ("excluded", "saveable")

    def __init__(self, label: str, saveable: Callable[..., bool], excluded: frozenset[str] = frozenset()) -> None:
        super().__init__(label)
        self.saveable, self.excluded = saveable, excluded

    def keeps(self, equation: Equation) -> bool:
        """Whether the results of ``equation`` may be kept."""
        types = [x.type for x in equation.inputs]
        return bool(self.saveable(equation.operation, *types, **dict(equation.params)))


# -------------------------------------------------------------------------------------------------------------- name


def name_value(x: Any, name: str) -> Any:
    """x itself, under a name."""
    return bind(name_p, x, name=name)


name_p = Primitive(
    "name",
    type=lambda x, *, name: x,
    evaluate=lambda x, *, name: x,
    jvp=lambda primals, tangents, output, *, name: tangents[0],
    transpose=lambda ct, operands, *, name: (ct,),
    batch=batch_elementwise(name_value),
    lower=lambda operands, result, *, name: View(operands[0]),
)

# ------------------------------------------------------------------------------------------------------------ barrier


def _barrier_lower(operands: Sequence[Operand], results: Sequence[ArrayType]) -> list[View]:
    return [View(operand) for operand in operands]


def barrier(operands: Sequence[Any]) -> list[Any]:
    """The operands, none of which is there before all of them are."""
    return bind_all(barrier_p, operands, {})


barrier_p = Primitive(
    "barrier",
    type=lambda *operands: operands,
    evaluate=lambda *operands: list(operands),
    jvp=lambda primals, tangents: (barrier(primals), list(tangents)),
    transpose=lambda cts, operands: list(cts),
    batch=lambda operands, batched, size: (barrier(operands), list(batched)),
    lower=_barrier_lower,
    multiple=True,
)

# -------------------------------------------------------------------------------------------------------------- remat


@data_class(frozen=True, slots=True, eq=False)
class _Plan:
    """``known`` takes the primals and gives outputs and saved values; ``linear`` takes the primals at ``used``, the saved
    values and the tangents.
    """

    known: Program
    linear: Program
    used: tuple[int, ...]
    recomputes: bool
    depends: tuple[bool, ...]


def plan(program: Program, nonzero: Sequence[bool], policy: Policy) -> _Plan:
    """Linearize ``program`` and choose which of the values that its linear part needs are saved."""
    parts, depends = linearize(inline_calls(program), nonzero)
    alias: dict[Atom, Atom] = {}
    names: dict[Atom, list[Equation]] = {}
    known = _without_names(parts.known.equations, alias, names)
    rest = _without_names(parts.rest.equations, alias, {})
    needed = {alias.get(v, v) for v in parts.rest.inputs[: parts.residual_count]}
    keeps_some = any(_is_kept(e, [name for v in e.outputs for name in names.get(v, ())], policy) for e in known)
    saved: list[Var] = []
    again: list[Equation] = []
    for equation in reversed(known):
        wanted = [v for v in equation.outputs if v in needed]
        if not wanted:
            continue
        # Where one side of a comparison is kept and the other computed again, they may differ in the last bit.
        compares = keeps_some and compares_floats(equation)
        kept = [v for v in wanted if compares or _is_kept(equation, names.get(v, ()), policy)]
        saved += kept
        if len(kept) < len(wanted):
            again.append(equation)
            needed.update(x for x in equation.inputs if isinstance(x, Var))
    saved.reverse()
    again.reverse()
    count = len(program.outputs)
    outputs = tuple([alias.get(x, x) for x in parts.known.outputs[:count]])
    forward = remove_dead(Program(parts.known.inputs, tuple(known), (*outputs, *saved), program.name), {})
    is_saved = dict.fromkeys(saved)
    # A value that is saved is not computed again, even where another result of its equation is.
    again = [_with_others_fresh(equation, is_saved) for equation in replayed(again)]
    equations = (*again, *rest)
    results = tuple([alias.get(x, x) for x in parts.rest.outputs])
    read = {x for e in equations for x in e.inputs} | set(results)
    used = tuple([i for i, v in enumerate(parts.known.inputs) if v in read])
    inputs = (*(parts.known.inputs[i] for i in used), *saved, *parts.rest.inputs[parts.residual_count:])
    return _Plan(forward, Program(inputs, equations, results, program.name), used, bool(again), depends)


def _without_names(
    equations: Sequence[Equation], alias: dict[Atom, Atom], names: dict[Atom, list[Equation]]
) -> list[Equation]:
    """The equations without ``name``: ``alias`` gives the values that are named, ``names`` their naming equations."""
    result = []
    for equation in equations:
        inputs = tuple([alias.get(x, x) for x in equation.inputs])
        if equation.operation is name_p:
            alias[equation.outputs[0]] = inputs[0]
            names.setdefault(inputs[0], []).append(equation)
            continue
        result.append(Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source))
    return result


def _is_kept(equation: Equation, names: Sequence[Equation], policy: Policy) -> bool:
    if equation.operation.name in EFFECTS:  # it must not be called a second time
        return True
    if any(dict(e.params)["name"] in policy.excluded for e in names):
        return False
    return policy.keeps(equation) or any(policy.keeps(e) for e in names)


def _with_others_fresh(equation: Equation, saved: dict[Var, None]) -> Equation:
    outputs = tuple([Var(v.type) if v in saved else v for v in equation.outputs])
    return Equation(equation.operation, equation.inputs, equation.params, outputs, equation.source)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, policy: Policy, prevent_cse: bool, program: Program
) -> tuple[list[Any], list[Any]]:
    found = plan(program, [t is not None for t in tangents], policy)
    count = len(program.outputs)
    known = run(found.known, primals)
    held = [*(primals[i] for i in found.used), *known[count:]]
    operands = [*held, *(t for t in tangents if t is not None)]
    if found.recomputes:
        results = iter(remat_linear(found.linear, operands, len(held), prevent_cse))
    else:
        results = iter(run(found.linear, operands))
    return known[:count], [next(results) if flag else None for flag in found.depends]


def _transpose(
    cts: Sequence[Any], operands: Sequence[Any], *, policy: Policy, prevent_cse: bool, program: Program
) -> list[Any]:
    # A linear function: its transpose needs nothing of what it computes.
    linear = [isinstance(x, Undefined) for x in operands]
    given = [zeros(atom.type.strong()) if ct is None else ct for ct, atom in zip(cts, program.outputs, strict=True)]
    results = iter(run(transpose_program(program, linear), [*(x for x in operands if not isinstance(x, Undefined)), *given]))
    return [next(results) if flag else None for flag in linear]


def _batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, policy: Policy, prevent_cse: bool, program: Program
) -> tuple[list[Any], Sequence[bool]]:
    over_lanes, flags = batch_program(program, batched, size)
    return remat(over_lanes, operands, policy, prevent_cse), flags


def remat(program: Program, operands: Sequence[Any], policy: Policy, prevent_cse: bool) -> list[Any]:
    """The results of ``program``, of whose values the backward pass keeps what ``policy`` says."""
    return bind_all(remat_p, operands, {"policy": policy, "prevent_cse": prevent_cse, "program": program})


remat_p = Primitive(
    "remat",
    type=lambda *operands, policy, prevent_cse, program: program.output_types,
    evaluate=lambda *operands, policy, prevent_cse, program: evaluate_program(program, operands),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=Refuses("remat is inlined before lowering"),
    multiple=True,
)

# -------------------------------------------------------------------------------------------------------- remat_linear


def _linear_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, known: int, prevent_cse: bool, program: Program
) -> tuple[list[Any], list[Any]]:
    count = len(program.outputs)
    pushed, depends = jvp_program(program, [t is not None for t in tangents])
    results = run(pushed, [*primals, *(t for t in tangents if t is not None)])
    derivatives = iter(results[count:])
    return results[:count], [next(derivatives) if flag else None for flag in depends]


def _linear_transpose(
    cts: Sequence[Any], operands: Sequence[Any], *, known: int, prevent_cse: bool, program: Program
) -> list[Any]:
    if any(isinstance(x, Undefined) for x in operands[:known]):
        raise NotDifferentiableError(f"the derivative of a checkpointed function is linear in its tangents only{user_line()}")
    builder = current_builder()
    assert builder is not None, "a transpose rule outside of a builder"
    arguments, cotangents = list(operands), list(cts)
    if prevent_cse:
        behind = iter(barrier([x for x in (*operands, *cts) if isinstance(x, Tracer)]))
        arguments, cotangents = ([next(behind) if isinstance(x, Tracer) else x for x in part] for part in (operands, cts))
    found = iter(backward(builder, program, arguments, cotangents))
    return [next(found) if isinstance(x, Undefined) else None for x in operands]


def _linear_batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, known: int, prevent_cse: bool, program: Program
) -> tuple[list[Any], Sequence[bool]]:
    over_lanes, flags = batch_program(program, batched, size)
    return remat_linear(over_lanes, operands, known, prevent_cse), flags


def remat_linear(program: Program, operands: Sequence[Any], known: int, prevent_cse: bool) -> list[Any]:
    """The results of ``program``, which is linear in its operands but the first ``known``."""
    return bind_all(remat_linear_p, operands, {"known": known, "prevent_cse": prevent_cse, "program": program})


remat_linear_p = Primitive(
    "remat_linear",
    type=lambda *operands, known, prevent_cse, program: program.output_types,
    evaluate=lambda *operands, known, prevent_cse, program: evaluate_program(program, operands),
    jvp=_linear_jvp,
    transpose=_linear_transpose,
    batch=_linear_batch,
    lower=Refuses("remat_linear is inlined before lowering"),
    multiple=True,
)

PRIMITIVES = (name_p, barrier_p, remat_p, remat_linear_p)
