"""What the compiler says that it has decided is what the loops show; and what each pass has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
import pytest
from support import control_programs, laws, programs

import gradxform as gx
from gradxform import lax
from gradxform.api.lowered import Lowered
from gradxform.backend.generation import kernel_of
from gradxform.backend.journal import How, Journal, Note, Where
from gradxform.ir import Equation, Program, Var, check, programs_in
from gradxform.loopir.loops import Call, Contract, Kernel, Multiply, Native, Statement, bodies
from gradxform.passes import PASSES, PassRecord, optimise
from gradxform.primitives import ROSTER
from gradxform.quantities import duration, scaled

RANDOM = np.random.default_rng(3)
HOW, WHERE = get_args(How), get_args(Where)


def lowered(function: Callable[..., Any], *args: Any) -> Lowered:
    return gx.jit(function).lower(*args)  # type: ignore[no-any-return]


def named(stages: Lowered, operation: str, number: int = 0) -> Var:
    """The result of an equation, the ``number``-th of an operation, inner programs included."""
    found = [equation for equation in equations_in(stages.optimized) if equation.operation.name == operation]
    return found[number].outputs[0]  # type: ignore[no-any-return]


def equations_in(program: Program) -> Iterator[Any]:
    for equation in program.equations:
        yield equation
        for inner in programs_in(equation.params):
            yield from equations_in(inner)


def decided(stages: Lowered, var: Any) -> list[tuple[str, str]]:
    return [(note.decision, note.place) for note in stages.journal.of(var)]


def reason(stages: Lowered, var: Var, decision: str) -> str:
    (note,) = [note for note in stages.journal.of(var) if note.decision == decision]
    return note.reason


def statements(inside: Sequence[Statement]) -> Iterator[Statement]:
    for statement in inside:
        yield statement
        for body in bodies(statement):
            yield from statements(body)


def all_statements(kernel: Kernel) -> list[Statement]:
    return [statement for nest in kernel.nests for statement in statements(nest.body)]


def nests_of(stages: Lowered, var: Var) -> list[int]:
    """The nests that compute a value."""
    original = stages.journal.original
    return [number for number, nest in enumerate(stages.loops.nests) if var in map(original, nest.values)]


# ------------------------------------------------------------------------------------------------------ known programs


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def test_softmax_keeps_one_row() -> None:
    stages = lowered(softmax, np.ones((100, 50)))
    text = str(stages.loops)
    assert "t3[i8] = v12" in text and "t9[] += v12" in text and "for i8" in text
    assert decided(stages, named(stages, "exp")) == [("stored", "t3")]
    assert reason(stages, named(stages, "exp"), "stored") == (
        "read by 1 other loop; 400 B; 0.65 ns an element to compute it again, more than 0.12")
    assert decided(stages, named(stages, "sub")) == [("register", "")]
    assert decided(stages, named(stages, "reduce_sum")) == [("register", "t9")]
    # Views of the sum lie where the sum lies.
    assert decided(stages, named(stages, "broadcast", 1)) == [("view", "t9")]
    assert decided(stages, named(stages, "div")) == [("output", "out0")]
    assert decided(stages, stages.optimized.inputs[0]) == [("input", "in0")]


def normalised(x: Any) -> Any:
    centred = x - np.mean(x, axis=0)
    return centred / np.sqrt(np.mean(centred * centred, axis=0))


def test_centred_values_are_computed_anew() -> None:
    stages = lowered(normalised, np.ones((100, 60)))
    centred = named(stages, "sub")
    assert str(stages.loops).count("(in0[") == 2, "two loops compute what is centred"
    assert decided(stages, centred) == [("computed anew", "")]
    assert reason(stages, centred, "computed anew") == (
        "in 2 loops that read it; 48 kB; 0.05 ns an element, at most 0.25 allowed")
    assert len(nests_of(stages, centred)) == 2
    total, mean = named(stages, "reduce_sum"), named(stages, "div")
    assert decided(stages, total) == [("stored", "t1")]
    assert reason(stages, total, "stored") == "a reduction is computed once; read by 1 other loop; 480 B"
    assert decided(stages, mean) == [("stored", "t2")]
    assert "read by 2 other loops" in reason(stages, mean, "stored")
    assert "6,000 elements" in reason(stages, mean, "stored"), "a mean is not computed for each element of a matrix"


def test_an_exponential_of_a_large_array_is_stored_until_that_costs_more() -> None:
    def centred(x: Any) -> Any:
        e = np.exp(x)
        return e - np.sum(e)

    small, large = (lowered(centred, np.zeros(size)) for size in (10_000, 3_000_000))
    assert [decision for decision, _ in decided(small, named(small, "exp"))] == ["stored"]
    assert reason(small, named(small, "exp"), "stored") == (
        "read by 1 other loop; 80 kB; 0.6 ns an element to compute it again, more than 0.25")
    assert decided(large, named(large, "exp")) == [("computed anew", "")]
    assert "24 MB; 0.6 ns an element, at most 1.8 allowed" in reason(large, named(large, "exp"), "computed anew")


def test_what_a_single_loop_reads_is_not_called_computed_anew() -> None:
    stages = lowered(lambda x: np.sum(2 * x + 1), np.zeros(5000))
    assert {decision for var in (named(stages, "mul"), named(stages, "add"))
            for decision, _ in decided(stages, var)} == {"register"}


def test_products_of_matrices() -> None:
    stages = lowered(lambda x, y: (np.sum(np.sin(x @ y.T)), x[:3] @ y[:3].T, x[:, :16].astype(int) @ y[:16, :16].astype(int)),
                     np.ones((64, 32)), np.ones((64, 32)))
    large, small, integers = (named(stages, "dot_general", number) for number in range(3))
    assert "gemm t1(" in str(stages.loops)
    assert decided(stages, large) == [("product", "t1"), ("stored", "t1")]
    assert reason(stages, large, "product") == "64x32x64: 131,072 multiply-adds, at least 4,096"
    assert reason(stages, large, "stored") == "the result of a product of matrices; read by 1 other loop; 32.8 kB"
    assert decided(stages, small) == [("loops", "out1"), ("output", "out1")]
    assert reason(stages, small, "loops") == "3x32x3: 288 multiply-adds, a side is shorter than 4"
    assert reason(stages, integers, "loops") == "64x16x16: 16,384 multiply-adds of integers"
    assert decided(stages, named(stages, "transpose")) == [("view", "in1")]


def test_what_a_product_packs_is_a_copy() -> None:
    stages = lowered(lambda x, y: np.reshape(x[:, ::2], (40, 40)).T @ y, np.ones((20, 160)), np.ones((40, 40)))
    kinds = [note for note in stages.journal.notes if note.reason.startswith("packed for a product")]
    assert [note.decision for note in kinds] == ["stored"]
    (product,) = [s for s in all_statements(stages.loops) if isinstance(s, Multiply)]
    assert kinds[0].place == product.left.buffer.name


def loss(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z)


def test_a_regression_has_tiles() -> None:
    stages = lowered(gx.value_and_grad(loss), np.zeros(20), np.ones((1000, 20)), np.ones(1000))
    scores, gradient = named(stages, "dot_general"), named(stages, "dot_general", 1)
    text = str(stages.loops)
    assert "tile t10.s0.3(" in text and "tile t5(" in text
    assert decided(stages, scores) == [("tile", "t10.s0.3"), ("stored", "t10.s0.3")]
    assert decided(stages, gradient) == [("tile", "t5"), ("output", "out1")]
    assert reason(stages, gradient, "tile") == (
        "20x1000x1: 20,000 multiply-adds, a side is shorter than 4; sums in registers, 20 x block x 1 at a time")
    # What the second tile reads crosses from the loop over a block to it.
    crossing = named(stages, "add")
    assert "cross.s0.1[0, lane.s0.2] = " in text
    assert decided(stages, crossing) == [("stored", "cross.s0.1")]


def test_routines_and_calls() -> None:
    stages = lowered(lambda a: np.linalg.cholesky(a.T @ a), np.eye(20))
    assert decided(stages, named(stages, "cholesky")) == [("routine", "out0"), ("output", "out0")]
    assert reason(stages, named(stages, "cholesky"), "routine").startswith("lapack.cholesky, about ")
    stages = lowered(lambda a: np.linalg.cholesky(np.swapaxes(a, 1, 2) + 1.0), np.stack([np.eye(12)] * 30))
    (routine,) = [s for s in all_statements(stages.loops) if isinstance(s, Native)]
    chunks = f" in {routine.chunks} chunks" if routine.chunks > 1 else ""
    assert reason(stages, named(stages, "cholesky"), "routine").startswith(f"lapack.cholesky, 30 times{chunks}, about ")
    (operand,) = routine.arguments
    assert decided(stages, named(stages, "add")) == [("stored", operand.buffer.name)]

    stages = lowered(lambda x: np.sort(x.T), np.ones((30, 4)))
    (routine,) = [s for s in all_statements(stages.loops) if isinstance(s, Native)]
    # The view is copied, since the routine wants a whole array.
    assert decided(stages, named(stages, "transpose")) == [("view", "in0"), ("stored", routine.arguments[0].buffer.name)]

    stages = lowered(lambda x: 2 * gx.pure_callback(np.sin, x, x), np.ones(4))
    (call,) = [s for s in all_statements(stages.loops) if isinstance(s, Call)]
    called = named(stages, "pure_callback")
    assert decided(stages, called) == [("python", call.results[0].buffer.name), ("stored", call.results[0].buffer.name)]


def test_loops_with_small_and_large_state() -> None:
    def step(c: Any, x: Any) -> Any:
        return np.sin(c) * x, np.cos(c[:2])

    stages = lowered(lambda c, xs: lax.scan(step, c, xs), np.ones(3), np.ones((100, 3)))
    scan = next(e for e in stages.optimized.equations if e.operation.name == "scan")
    final, records = scan.outputs
    (body,) = programs_in(scan.params)
    assert decided(stages, final) == [("loop", "out0"), ("output", "out0")]
    assert reason(stages, final, "loop").startswith("100 iterations, about ")
    assert decided(stages, records) == [("loop", "out1"), ("output", "out1")]
    assert decided(stages, body.inputs[1]) == [("view", "in1")]
    ((carry, buffer),) = decided(stages, body.inputs[0])
    assert carry == "stored" and buffer.startswith("carry") and f"local {buffer}:f64[3]" in str(stages.loops)
    assert decided(stages, named(stages, "cos")) == [("stored", "out1")]
    assert reason(stages, named(stages, "cos"), "stored").startswith("recorded by a loop")
    assert decided(stages, named(stages, "slice")) == [("view", buffer)]

    stages = lowered(lambda c, xs: lax.scan(step, np.exp(c), xs)[0], np.ones(50), np.ones((100, 50)))
    scan = next(e for e in stages.optimized.equations if e.operation.name == "scan")
    (body,) = programs_in(scan.params)
    # The state starts in the memory of the result, and stays there.
    assert decided(stages, named(stages, "exp")) == [("stored", "out0")]
    assert decided(stages, body.inputs[0]) == [("stored", "out0")]
    assert decided(stages, named(stages, "mul")) == [("in place", "out0"), ("stored", "out0")]
    assert ("in place", "out0") in decided(stages, scan.outputs[0])
    assert {name for name, _ in decided(stages, scan.outputs[0])} == {"loop", "in place", "output"}


def test_a_loop_that_decides_when_to_stop() -> None:
    stages = lowered(lambda x: 2 * lax.while_loop(lambda c: c < 10, lambda c: c + 1, x), 0)
    result = named(stages, "while")
    ((how, place), (where, again)) = decided(stages, result)
    assert (how, where) == ("loop", "register") and place == again and place.startswith("carry")
    assert reason(stages, result, "loop").startswith("100 iterations assumed")
    assert decided(stages, named(stages, "less")) == [("register", "")]


def test_branches() -> None:
    stages = lowered(lambda x, p: lax.cond(p > 0, lambda x: np.sin(x), lambda x: x * 2, x), np.zeros(1000), 1.0)
    chosen = stages.optimized.outputs[0]
    assert decided(stages, chosen) == [("branch", "out0"), ("output", "out0")]
    assert reason(stages, chosen, "branch") == "one of 2"  # type: ignore[arg-type]
    assert decided(stages, named(stages, "sin")) == [("stored", "out0")]


def test_updates_in_place_and_of_copies() -> None:
    places = np.array([1, 5, 7])
    stages = lowered(lambda x, i: (np.sin(x).at[i].add(2.0)), np.zeros(1000), places)
    update = named(stages, "scatter")
    assert decided(stages, named(stages, "sin")) == [("stored", "out0")]
    assert decided(stages, update) == [("in place", "out0"), ("output", "out0")]
    assert reason(stages, update, "in place") == "in the memory of what it starts from, which nothing reads later"

    def both(x: Any, i: Any) -> Any:
        y = np.sin(x)
        return y.at[i].add(2.0), np.cumsum(y.at[i].multiply(3.0))

    stages = lowered(both, np.zeros(1000), places)
    first, second = named(stages, "scatter"), named(stages, "scatter", 1)
    reasons = [reason(stages, var, "in place") for var in (first, second)]
    assert reasons.count("updates a copy, since what it starts from is read later") == 1
    assert [note.decision for note in stages.journal.of(named(stages, "sin"))] == ["stored", "stored"], "itself and the copy"

    # An argument is copied first.
    stages = lowered(lambda x, i: x.at[i].set(0.0), np.zeros(1000), places)
    assert decided(stages, stages.optimized.inputs[0]) == [("input", "in0"), ("stored", "out0")]

    # A range is updated in one pass.
    stages = lowered(lambda x: x.at[1:-1].add(1.0), np.zeros(1000))
    assert reason(stages, named(stages, "scatter"), "output") == (
        "a range of 998 of 1,000 elements, updated in one pass over all of them")


def test_a_transposed_result_is_a_copy_of_a_view() -> None:
    stages = lowered(lambda x: x.T, np.zeros((4, 5)))
    assert decided(stages, named(stages, "transpose")) == [("view", "in0"), ("output", "out0")]
    stages = lowered(lambda x: (x, np.zeros(3) + 0, x), np.zeros(3))
    assert decided(stages, stages.optimized.inputs[0]) == [("input", "in0"), ("output", "out0"), ("output", "out2")]


def test_chunks_add_up_into_the_result() -> None:
    stages = lowered(lambda x: np.sum(np.exp(x)), np.zeros(1_000_000))
    assert stages.loops.nests[0].chunks > 1
    assert decided(stages, named(stages, "reduce_sum")) == [("output", "out0")]
    assert nests_of(stages, named(stages, "reduce_sum")) == [0, 1] and nests_of(stages, named(stages, "exp")) == [0]
    positions, weights = RANDOM.integers(0, 50, 200_000), np.ones(200_000)
    stages = lowered(lambda w, i: gx.numpy.zeros(50).at[i].add(np.exp(w)), weights, positions)
    places = [place for decision, place in decided(stages, named(stages, "scatter")) if decision in WHERE]
    assert len(places) == 2 and places[0].startswith("part") and places[1] == "out0"


def test_parts_of_a_result_are_computed_there() -> None:
    def parts(v: Any, u: Any) -> Any:
        return np.concatenate([np.sin(v), np.cos(u)])

    stages = lowered(parts, np.ones(400), np.ones(400))
    assert "concatenate" in str(stages.optimized)
    assert decided(stages, named(stages, "concatenate")) == [("output", "out0")]
    assert reason(stages, named(stages, "concatenate"), "output") == "each of its parts is computed there"


def test_what_is_read_once_at_another_index_goes_into_what_reads_it() -> None:
    stages = lowered(gx.grad(lambda x: np.sum(np.square(x[1:] - x[:-1]))), np.ones(100))
    assert not stages.loops.temporaries
    merged = [note for note in stages.journal.notes if note.reason.startswith(("read once", "little more"))]
    assert merged and {note.decision for note in merged} <= {"register", "computed anew"}
    assert all(not nests_of(stages, note.var) for note in merged)


def test_a_compared_value_is_computed_once() -> None:
    stages = lowered(lambda x: np.sum(np.where(x + 1.0 == np.max(x + 1.0), x, 0.0)), np.ones(500))
    assert "compared for equality" in " ".join(note.reason for note in stages.journal.of(named(stages, "add")))


def test_a_program_that_runs_twice_is_noted_twice() -> None:
    body = lowered(np.sin, np.ones(100)).optimized
    inputs = tuple([Var(body.inputs[0].type) for _ in range(2)])
    outputs = tuple([Var(body.inputs[0].type) for _ in range(2)])
    params = (("body", body), ("carries", 1), ("checkpoint", None), ("constants", 0), ("length", 5), ("reverse", False))
    journal = Journal()
    kernel_of(check(Program(inputs, tuple([
        Equation(ROSTER["scan"], (x,), params, (y,)) for x, y in zip(inputs, outputs, strict=True)]), outputs)), journal)
    assert {note.place for note in journal.of(body.equations[0].outputs[0]) if note.decision == "stored"} == {"out0", "out1"}


def test_notes_read_as_one_line() -> None:
    var = lowered(np.sin, 1.0).optimized.inputs[0]
    assert str(Note(var, "stored", "t1", "a reason")) == "stored t1: a reason"
    assert str(Note(var, "register", "", "a reason")) == "register: a reason"
    assert str(Note(var, "input", "in0", "")) == "input in0"
    assert [scaled(n, "B") for n in (24, 32_768, 1_500_000)] == ["24 B", "32.8 kB", "1.5 MB"]


# ----------------------------------------------------------------------------------------------------------- all programs


def assert_complete(program: Program) -> None:
    """Every value is noted, in places that there are, as the loops show it; and the journal changes nothing."""
    journal = Journal()
    kernel = kernel_of(program, journal)
    assert str(kernel) == str(kernel_of(program))
    buffers = [*kernel.inputs, *kernel.outputs, *kernel.temporaries, *(b for nest in kernel.nests for b in nest.locals)]
    names = {buffer.name for buffer in buffers}
    decisions: dict[Var, set[str]] = {}
    for note in journal.notes:
        assert note.decision in HOW or note.decision in WHERE
        assert not note.place or note.place in names, note
        assert note.place or note.decision not in ("input", "output"), note
        assert note.reason or note.decision == "input", note
        decisions.setdefault(note.var, set()).add(note.decision)
    for equation in equations_in(program):
        for var in equation.outputs:
            assert not decisions.get(var, set()).isdisjoint(WHERE), (equation.operation.name, decisions.get(var))
    for atom, buffer in zip(program.outputs, kernel.outputs, strict=True):
        if isinstance(atom, Var):
            assert buffer.name in {note.place for note in journal.of(atom) if note.decision == "output"}
    places = {decision: {note.place for note in journal.notes if note.decision == decision} for decision in HOW}
    inside = all_statements(kernel)
    assert places["product"] == {s.result.buffer.name for s in inside if isinstance(s, Multiply)}
    assert places["tile"] == {s.result.buffer.name for s in inside if isinstance(s, Contract)}
    assert places["routine"] == {r.buffer.name for s in inside if isinstance(s, Native) for r in s.results}
    assert places["python"] == {r.buffer.name for s in inside if isinstance(s, Call) for r in s.results}
    assert all(nest.values for nest in kernel.nests)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + 20):
        function = programs.seeded(seed, smooth=seed % 2 == 0, large=seed % 5 == 0)
        program = programs.trace(function, function.inputs)
        assert_complete(optimise(program, ROSTER))
        if seed % 2 == 0 and any(t.dtype.kind == "f" for t in program.output_types):
            assert_complete(optimise(laws.gradient_program(program, function.floats), ROSTER))


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_programs_with_loops_and_branches(first: int) -> None:
    for seed in range(first, first + 20):
        function = control_programs.seeded(seed)
        assert_complete(optimise(control_programs.recorded(function, function.inputs)[0], ROSTER))


def mixture(x: Any, means: Any) -> Any:
    distances = np.sum(np.square(x[:, None, :] - means[None]), axis=-1)
    return np.mean(np.log(np.sum(np.exp(-distances), axis=1)))


def solve(a: Any, b: Any) -> Any:
    return np.sum(np.linalg.solve(a @ a.T + np.eye(30), b)) + np.linalg.slogdet(a)[1]


@pytest.mark.parametrize("function, args", [
    (gx.grad(mixture, argnums=(0, 1)), (np.ones((2000, 2)), np.ones((5, 2)))),
    (gx.grad(solve, argnums=(0, 1)), (np.eye(30), np.ones(30))),
    (gx.hessian(loss), (np.zeros(8), np.ones((5000, 8)), np.ones(5000))),
    (gx.jacfwd(lambda x: np.sin(x) * x), (np.zeros(30),)),
    (lambda x: np.fft.irfft(np.fft.rfft(x) * 2), (np.ones((8, 64)),)),
    (lambda x: (np.argmax(x, axis=1), np.argsort(x), np.median(x)), (np.ones((20, 30)),)),
    (gx.grad(lambda x: np.sum(gx.checkpoint(lambda y: np.sin(np.sin(y) @ y))(x))), (np.ones((30, 30)),)),
], ids=["mixture", "solve", "hessian", "jacobian", "fourier", "sorts", "checkpoint"])
def test_programs_of_many_kinds(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    assert_complete(lowered(function, *args).optimized)


# ------------------------------------------------------------------------------------------------------------- passes


def test_passes_are_told_one_by_one() -> None:
    stages = lowered(gx.grad(lambda x: np.sum(np.sin(x) ** 2)), np.ones(5))
    records = stages.passes
    assert records[0].before is stages.program and records[-1].after is stages.optimized
    known = {name: purpose for name, _, purpose in PASSES}
    previous: Program = stages.program
    for record in records:
        assert record.before is previous and record.after is not previous
        assert known[record.name] == record.purpose and record.within == () and record.seconds > 0
        previous = record.after
    assert [record.round for record in records] == sorted(record.round for record in records)
    assert records[0].round == 1


def test_passes_of_inner_programs_say_where_they_are() -> None:
    def step(c: Any, x: Any) -> Any:
        return lax.cond(c > 0, lambda y: y * 1.0 + y, lambda y: y, x), c * 1.0

    stages = lowered(lambda xs: lax.scan(step, 0.0, xs), np.ones(50))
    withins = {record.within for record in stages.passes}
    assert ("scan",) in withins and ("scan", "cond") in withins
    for record in stages.passes:
        if record.within:
            assert record.before is not stages.program


def test_complex_programs_and_pieces_have_records_of_their_own() -> None:
    stages = lowered(lambda z: z * 2, np.ones(3, complex))
    assert (stages.passes[0].name, stages.passes[0].round) == ("complex", 0)
    stages = lowered(lambda x: np.stack([x[i % 3] * i for i in range(40)]), np.ones(3))
    assert (stages.passes[-1].name, stages.passes[-1].round) == ("pieces", 0)
    assert stages.passes[-1].after is stages.optimized


def test_observing_changes_nothing() -> None:
    function = control_programs.seeded(7)
    program, _ = control_programs.recorded(function, function.inputs)
    records: list[PassRecord] = []
    assert str(optimise(program, ROSTER, records.append)) == str(optimise(program, ROSTER))
    assert records


def test_stages_are_those_of_one_kernel() -> None:
    stages = lowered(softmax, np.ones((100, 50)))
    assert stages.journal is stages.journal and stages.loops is stages.loops and stages.optimized is stages.optimized
    assert str(kernel_of(stages.optimized)) == str(stages.loops)


def test_times_have_the_unit_that_fits() -> None:
    shown = [duration(1e-9 * nanoseconds) for nanoseconds in (0.5, 189.4, 999.6, 7_200.0, 2.5e6, 3.0e9, 4.2e12)]
    assert shown == ["0.5 ns", "189 ns", "1 us", "7.2 us", "2.5 ms", "3 s", "4,200 s"]
