"""What loops are counted to cost, against closed forms and against counting one by one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform.backend import nest_text, nodes
from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.dtypes import bool_, float32, float64, int64
from gradxform.ir.special_names import SPECIAL_FUNCTIONS
from gradxform.loopir import counting, domains
from gradxform.loopir.amounts import FLOPS
from gradxform.loopir.counting import Estimate, Site, Span, estimates, sites, spans, total
from gradxform.loopir.expression import (
    ZERO,
    Apply,
    Expression,
    Load,
    Symbol,
    axis,
    constant,
    index_add,
    index_mul,
    integer,
)
from gradxform.loopir.loops import (
    TYPICAL_ITERATIONS,
    Accumulate,
    Buffer,
    Contract,
    For,
    If,
    Kernel,
    Let,
    Matrix,
    Nest,
    Part,
    Statement,
    Store,
    While,
)
from gradxform.loopir.operations import OPERATIONS


def cost(function: Callable[..., Any], *args: Any) -> Estimate:
    return total(gx.jit(function).lower(*args).loops)


# ------------------------------------------------------------------------------------------------- programs by hand

IN = Buffer("in0", float64, (100, 100), "input", 0)
OUT = Buffer("out0", float64, (100, 100), "output", 0)
SUM = Buffer("sum", float64, (), "local")
TABLE = Buffer("table", int64, (100,), "input", 1)


def kernel(*body: Statement, work: float = 1e6, chunk: Symbol | None = None, chunks: int = 0) -> Kernel:
    return Kernel((IN, TABLE), (OUT,), (), (Nest(body, (SUM,), chunk, chunks, work=work),))


def twice(value: Expression) -> Expression:
    return Apply("add", (value, value), float64)


def fill(*index: Expression) -> Store:
    """One flop, a load and a store."""
    return Store(OUT, index, twice(Load(IN, index, float64)))


def minimum(x: Expression, y: Expression) -> Expression:
    return Apply("minimum", (x, y), int64)


ROW, COLUMN, LAYER = axis("i", 100), axis("j", 100), axis("k", 100)


def test_rectangles_and_bytes() -> None:
    found = total(kernel(For(ROW, ZERO, integer(100), (For(COLUMN, ZERO, integer(30), (fill(ROW, COLUMN),)),))))
    assert found == Estimate(1, 1, 3000, 0, 24000, 24000, 48000, False)


def test_triangles_are_counted_exactly() -> None:
    found = total(kernel(For(ROW, ZERO, integer(100), (For(COLUMN, ROW, integer(100), (fill(ROW, COLUMN),)),))))
    assert found.flops == sum(100 - i for i in range(100))
    innermost = For(LAYER, COLUMN, ROW, (fill(COLUMN, LAYER),))
    deep = total(kernel(For(ROW, ZERO, integer(40), (For(COLUMN, ZERO, ROW, (innermost,)),))))
    assert deep.flops == sum(1 for i in range(40) for j in range(i) for _ in range(j, i))


def test_blocks_are_counted_exactly() -> None:
    block, extent = axis("b", 7), integer(100)
    begin = index_mul(block, 16)
    inner = For(ROW, begin, minimum(index_add(begin, integer(16)), extent), (fill(ROW, ZERO),))
    assert total(kernel(For(block, ZERO, integer(7), (inner,)))).flops == 100
    chunked = total(kernel(inner, chunk=block, chunks=7))
    assert chunked.flops == 100
    slow = Store(OUT, (ROW, ZERO), Apply("gamma", (Load(IN, (ROW, ZERO), float64),), float64))
    program = kernel(For(ROW, inner.begin, inner.end, (slow,)), chunk=block, chunks=7)
    (nest, loop), (_, amount) = spans(program), estimates(program)
    assert nest.label == "nest 0, 7 chunks" and loop.depth == 1 and loop.parent == 0
    assert (amount.entries, amount.iterations) == (7, 100)


def test_empty_loops_count_nothing() -> None:
    found = total(kernel(For(ROW, integer(5), integer(5), (fill(ROW, ZERO),)),
                         For(COLUMN, integer(7), integer(3), (fill(COLUMN, ZERO),))))
    assert found == Estimate(1, 1, 0, 0, 0, 0, 0, False)


def test_bounds_by_way_of_names() -> None:
    bound = Symbol("n", int64)
    found = total(kernel(For(ROW, ZERO, integer(10), (Let(bound, index_add(index_mul(ROW, 2), integer(1))),
                                                    For(COLUMN, ZERO, bound, (fill(ROW, COLUMN),))))))
    assert found.flops == sum(2 * i + 1 for i in range(10))


def test_branches_that_indices_decide() -> None:
    even = Apply("equal", (Apply("remainder", (ROW, integer(3)), int64), ZERO), bool_)
    other = Store(OUT, (ROW, ZERO), twice(twice(Load(IN, (ROW, ZERO), float64))))
    program = kernel(For(ROW, ZERO, integer(100), (If(even, (fill(ROW, ZERO),), (other,)),)))
    assert total(program).flops == 34 + 66 * 2 and not total(program).assumed and not sites(program)


def test_what_stays_the_same_in_a_loop_is_moved_once() -> None:
    """A product of a matrix and a vector with the sum in a register."""
    term = Apply("mul", (Load(IN, (ROW, COLUMN), float64), Load(IN, (ZERO, COLUMN), float64)), float64)
    row = (Store(SUM, (), constant(0.0, float64)), For(COLUMN, ZERO, integer(50), (Accumulate(SUM, (), "add", term),)),
           Store(OUT, (ROW, ZERO), Load(SUM, (), float64)))
    found = total(kernel(For(ROW, ZERO, integer(20), row)))
    assert found.flops == 2 * 20 * 50
    # Three statements name the sum: one sets it, one reads and writes it, one reads it.
    assert found.bytes_read == 8 * (2 * 20 * 50 + 2)
    assert found.bytes_written == 8 * (20 + 2)
    fixed = total(kernel(For(ROW, ZERO, integer(20), (For(COLUMN, ZERO, integer(50), (
        Store(OUT, (ROW, COLUMN), Load(IN, (ROW, ZERO), float64)),)),))))
    assert fixed.bytes_read == 8 * 20 and fixed.bytes_written == 8 * 20 * 50


def test_an_element_is_loaded_once_in_a_block_unless_it_is_written() -> None:
    first = Store(OUT, (ROW, ZERO), Load(IN, (ROW, ZERO), float64))
    again = Store(OUT, (ROW, integer(1)), Load(IN, (ROW, ZERO), float64))
    back = Store(OUT, (ROW, integer(2)), Load(OUT, (ROW, ZERO), float64))
    after = Store(OUT, (ROW, integer(3)), Load(OUT, (ROW, ZERO), float64))
    assert total(kernel(For(ROW, ZERO, integer(10), (first, again)))).bytes_read == 80
    assert total(kernel(For(ROW, ZERO, integer(10), (first, back, after)))).bytes_read == 80 + 80 + 80


def test_what_is_looked_up_is_read_each_time() -> None:
    place = Load(TABLE, (ROW,), int64)
    found = total(kernel(For(ROW, ZERO, integer(100), (Store(OUT, (ROW, ZERO), Load(IN, (place, ZERO), float64)),))))
    assert found.bytes_read == 100 * 16
    assert found.footprint_bytes == TABLE.nbytes + 800 + 800


def test_loops_that_the_data_decide_take_counts() -> None:
    bound = Load(TABLE, (ZERO,), int64)
    program = kernel(For(ROW, ZERO, bound, (For(COLUMN, ZERO, integer(10), (fill(ROW, COLUMN),)),)))
    (site,) = sites(program)
    assert (site.number, site.nest, site.which) == (0, 0, "body") and isinstance(site, Site)
    assert total(program).flops == 10 * TYPICAL_ITERATIONS and total(program).assumed
    assert total(program, [7.0]).flops == 70 and not total(program, [7.0]).assumed
    assert total(program, [0.0]).flops == 0


def test_while_loops_and_their_conditions() -> None:
    condition = Apply("less", (Load(SUM, (), float64), constant(1.0, float64)), bool_)
    loop = While((Let(Symbol("u", float64), twice(Load(SUM, (), float64))),), condition,
                 (Store(SUM, (), twice(Load(SUM, (), float64))), fill(ZERO, ZERO)))
    program = kernel(For(ROW, ZERO, integer(5), (loop,)))
    (site,) = sites(program)
    assert site.which == "body" and site.block is loop.body
    runs = 33
    assert total(program, [runs]).flops == 2 * runs + 2 * (runs + 5)  # head and condition once more per entry
    assert total(program).flops == 2 * 5 * TYPICAL_ITERATIONS + 2 * (5 * TYPICAL_ITERATIONS + 5)
    headed = kernel(While((fill(ZERO, ZERO),), condition, ()))
    assert sites(headed)[0].which == "head" and total(headed, [9.0]).flops == 9 + 9


@pytest.mark.parametrize("empty", ["neither", "then", "otherwise"])
def test_branches_that_the_data_decide_take_counts(empty: str) -> None:
    decided = Apply("less", (Load(IN, (ROW, ZERO), float64), constant(1.0, float64)), bool_)
    then: tuple[Statement, ...] = () if empty == "then" else (fill(ROW, ZERO),)
    otherwise: tuple[Statement, ...] = () if empty == "otherwise" else (fill(ROW, integer(1)), fill(ROW, integer(2)))
    program = kernel(For(ROW, ZERO, integer(10), (If(decided, then, otherwise),)))
    (site,) = sites(program)
    assert site.which == ("otherwise" if empty == "then" else "then")
    taken = 4 if site.which == "then" else 6
    expected = 10 + 4 * len(then) + 6 * len(otherwise)
    assert total(program, [taken]).flops == expected
    assert total(program).assumed and total(program).flops == 10 + 5 * len(then) + 5 * len(otherwise)


def test_tiles_at_the_edge_are_smaller() -> None:
    block = axis("b", 4)
    rows = minimum(integer(32), index_add(integer(100), index_mul(block, -32)))

    def matrix(buffer: Buffer) -> Matrix:
        return Matrix(buffer, ZERO, 0, 100, 1)

    tile = Contract(matrix(OUT), matrix(IN), matrix(IN), rows, integer(10), integer(20), False)
    found = total(kernel(For(block, ZERO, integer(4), (tile,))))
    assert found.flops == 2 * 100 * 10 * 20
    assert found.bytes_read == 8 * (100 * 10 + 4 * 10 * 20 + 100 * 20) and found.bytes_written == 8 * 100 * 20


def test_parts_are_seen_through_and_shared_values_counted_once() -> None:
    value = twice(Load(IN, (ROW, ZERO), float64))
    store = Store(OUT, (ROW, ZERO), Apply("mul", (value, value), float64))
    assert total(kernel(Part((For(ROW, ZERO, integer(10), (store,)),)))).flops == 20


def test_very_many_combinations_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "MOST_POINTS", 50)
    found = total(kernel(For(ROW, ZERO, integer(100), (For(COLUMN, ZERO, ROW, (fill(ROW, COLUMN),)),))))
    assert found.assumed and found.flops == pytest.approx(4950, rel=0.05)


# ----------------------------------------------------------------------------------------------- programs as traced

RNG = np.random.default_rng(0)
VECTOR, MATRIX = RNG.normal(size=1000), RNG.normal(size=(30, 40))


def horner(x: Any) -> Any:
    found = 1.5
    for coefficient in range(2, 12):
        found = found * x + coefficient
    return found


@pytest.mark.parametrize("function, args, flops, calls", [
    (lambda x, y: np.dot(x, y), (VECTOR, VECTOR), 2 * 1000, 0),
    (lambda x, y: 2.0 * x + y, (VECTOR, VECTOR), 2 * 1000, 0),
    (horner, (VECTOR,), 2 * 10 * 1000, 0),
    (lambda a, b: a @ b, (MATRIX, RNG.normal(size=(40, 50))), 2 * 30 * 40 * 50, 0),
    (lambda a, b: a @ b, (RNG.normal(size=(200, 300)), RNG.normal(size=(300, 400))), 2 * 200 * 300 * 400, 0),
    (lambda a, b: a.T @ b, (MATRIX, RNG.normal(size=(30, 7))), 2 * 30 * 40 * 7, 0),
    (lambda a, b: a @ b, (RNG.normal(size=(5, 30, 40)), RNG.normal(size=(5, 40, 20))), 5 * 2 * 30 * 40 * 20, 0),
    (lambda a, x: a @ x, (MATRIX, RNG.normal(size=40)), 2 * 30 * 40, 0),
    (lambda x: np.exp(x), (VECTOR,), 0, 1000),
    (lambda x: np.sqrt(x) / x, (VECTOR.astype(np.float32),), 2 * 1000, 0),
    (lambda x: np.sin(x) * np.cos(x), (MATRIX,), 30 * 40, 2 * 30 * 40),
    (lambda x: np.abs(-x), (VECTOR,), 0, 0),
    (lambda i: i * 3 + 1, (np.arange(1000),), 0, 0),
    (lambda x: lax.scan(lambda c, row: (c * 0.5 + row, None), np.zeros(40), x)[0], (MATRIX,), 2 * 30 * 40, 0),
    (lambda x: lax.fori_loop(0, 1000, lambda i, c: c * 0.5 + 1.0, x), (1.0,), 2 * 1000, 0),
    (lambda x: gx.scipy.special.j0(x), (VECTOR,), 0, 1000),
], ids=["dot", "axpy", "polynomial", "product", "large product", "transposed", "stack", "matrix and vector", "exp",
        "float32", "two functions", "signs", "integers", "scan", "fori_loop", "special"])
def test_flops_by_closed_forms(function: Callable[..., Any], args: tuple[Any, ...], flops: int, calls: int) -> None:
    found = cost(function, *args)
    assert (found.flops, found.elementary_calls, found.assumed) == (flops, calls, False)


def test_bytes_by_closed_forms() -> None:
    axpy = cost(lambda x, y: 2.0 * x + y, VECTOR, VECTOR)
    assert (axpy.bytes_read, axpy.bytes_written, axpy.footprint_bytes) == (16000, 8000, 24000)
    single = cost(lambda x: x * 2, VECTOR.astype(np.float32))
    assert (single.bytes_read, single.bytes_written) == (4000, 4000)
    large = cost(lambda a, b: a @ b, np.ones((200, 300)), np.ones((300, 400)))
    assert large.bytes_read == 8 * (200 * 300 + 300 * 400) and large.bytes_written == 8 * 200 * 400


@pytest.mark.parametrize("function, args", [
    (lambda x: np.cumsum(x), (np.ones(50),)),
    (lambda x: x[::-1] * x[3], (np.ones(50),)),
    (lambda a: np.sum(a * a, axis=0), (np.ones((7, 9)),)),
    (lambda a, b: np.einsum("ij,kj->ik", a, b), (np.ones((6, 11)), np.ones((5, 11)))),
    (lambda x: lax.fori_loop(0, 20, lambda i, c: c * 0.5 + x[i], 0.0), (np.ones(50),)),
    (lambda x: np.where(x > 0, x, x * x), (np.ones(50),)),
], ids=["cumsum", "reversed", "sum", "einsum", "loop", "where"])
def test_flops_against_the_interpreter(function: Callable[..., Any], args: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter of loops evaluates each operation, one by one."""
    from gradxform.loopir import interpreter

    counted = 0

    def evaluate(name: str, arguments: Any, dtype: Any) -> Any:
        nonlocal counted
        if np.asarray(arguments[-1]).dtype.kind == "f":
            counted += FLOPS[name]
        return OPERATIONS[name](*arguments).astype(dtype)

    lowered = gx.jit(function).lower(*args)
    tile = any(isinstance(s, Contract) for nest in lowered.loops.nests for s in nest.body)
    assert not tile
    monkeypatch.setattr(interpreter, "evaluate_operation", evaluate)
    interpreter.interpret(lowered.loops, args)
    assert counted == total(lowered.loops).flops > 0


def test_every_operation_on_floats_is_arithmetic_or_a_call() -> None:
    calls = {*ELEMENTARY_OPERATIONS, *SPECIAL_FUNCTIONS, "zeta"}
    integers = {"pow", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor",
                "bitwise_not", "left_shift", "right_shift", "population_count", "greatest_common_divisor", "threefry2x32"}
    assert not calls & set(FLOPS)
    assert set(OPERATIONS) <= calls | set(FLOPS) | integers


# ------------------------------------------------------------------------------------------------------------ spans


def labels(function: Callable[..., Any], *args: Any) -> list[tuple[int, str]]:
    return [(span.depth, span.label) for span in spans(gx.jit(function).lower(*args).loops)]


def test_labels() -> None:
    a = np.eye(100)
    assert labels(lambda x: np.linalg.cholesky(x), a) == [(0, "nest 0"), (1, "cholesky 100x100")]
    big = np.ones((500, 500))
    assert labels(lambda x, y: x @ y, big, big) == [(0, "nest 0"), (1, "gemm 500x500x500")]
    assert (1, "gemm 3 x 200x100x200") in labels(lambda x, y: x @ y, np.ones((3, 200, 100)), np.ones((3, 100, 200)))

    def shout(x: Any) -> Any:
        return x

    (found,) = [label for _, label in labels(lambda x: gx.pure_callback(shout, gx.ShapeDType((), float), x), 1.0)
                if label.startswith("python")]
    assert "shout" in found
    assert labels(lambda x: lax.fori_loop(0, 10_000, lambda i, c: c * 0.5, x), 1.0)[1][1].startswith("for ")
    assert labels(lambda x: lax.while_loop(lambda c: c > 1.0, lambda c: np.sum(np.sin(c + VECTOR)), x), 3.0)[1][1].startswith(
        "while ")


def test_a_program_that_is_one_scan_shows_what_is_in_it() -> None:
    def step(h: Any, x: Any) -> Any:
        return np.tanh(h @ x) + 1.0, None

    found = spans(gx.jit(lambda h, xs: lax.scan(step, h, xs)[0]).lower(np.ones((64, 64)), np.ones((50, 64, 64))).loops)
    scan = next(span for span in found if span.label.startswith("for step"))
    inside = [span for span in found if span.parent == scan.number]
    assert {span.kind for span in inside} >= {"gemm", "loop"} and all(span.depth == scan.depth + 1 for span in inside)
    assert [span.number for span in found] == list(range(len(found)))
    assert all(span.parent is None or span.parent < span.number for span in found)


def test_short_nests_are_one_span() -> None:
    assert labels(lambda x: np.sum(x * x), np.ones(100)) == [(0, "nest 0")]
    assert isinstance(spans(kernel())[0], Span) and spans(kernel())[0].statement is None


def test_a_loop_in_two_places_is_two_spans() -> None:
    """Passes may use one statement in several pieces of a loop."""
    place = (ROW, COLUMN)
    inner = For(COLUMN, ZERO, integer(100), (Store(OUT, place, Apply("gamma", (Load(IN, place, float64),), float64)),))
    found = spans(kernel(For(ROW, ZERO, integer(100), (inner,)), For(ROW, ZERO, integer(50), (inner,))))
    assert [span.depth for span in found] == [0, 1, 2, 1, 2] and found[2].statement is found[4].statement
    assert [amount.elementary_calls for amount in estimates(kernel(
        For(ROW, ZERO, integer(100), (inner,)), For(ROW, ZERO, integer(50), (inner,))))] == [15000, 10000, 10000, 5000, 5000]


def test_thresholds_fit_those_of_the_compiler() -> None:
    # LLVM may inline nests with less work, and clocks within them might change whether it does.
    assert counting.LEAST_NEST_WORK >= nest_text.OUTLINE_WORK
    assert nodes.TYPICAL_ITERATIONS == TYPICAL_ITERATIONS


def test_known_routines() -> None:
    n = 60
    a = np.eye(n)
    assert cost(lambda x: np.linalg.cholesky(x), a).flops == round(n ** 3 / 3)
    assert cost(lambda x: np.linalg.cholesky(x), a.astype(complex)).flops == pytest.approx(4 * n ** 3 / 3, rel=0.1)
    assert cost(lambda x: np.linalg.solve(x, x), a).flops == pytest.approx(2 * n ** 3 / 3 + 2 * n ** 3, rel=0.01)
    assert cost(lambda x: np.fft.fft(x), np.ones((4, 64))).flops == 5 * 4 * 64 * 6


@pytest.mark.parametrize("dtype", [float32, float64])
def test_reductions_of_many_shapes(dtype: Any) -> None:
    for m, n in product((1, 3, 64), (1, 5, 129)):
        found = cost(lambda x: np.sum(np.exp(x), axis=1), np.ones((m, n), dtype))
        assert found.elementary_calls == m * n and found.flops in (m * n, 0 if n == 1 else m * n)
