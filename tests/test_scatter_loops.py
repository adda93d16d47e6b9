"""Gathers and scatters as loops: one pass, nothing stored, the same bits for any number of threads. Expected: NumPy loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import lax
from gradxform import numpy as gnp
from gradxform.backend import nests
from gradxform.backend.generation import kernel_of
from gradxform.backend.hoist_indices import hoist_indices
from gradxform.dtypes import float64, int64
from gradxform.loopir.expression import ZERO, Apply, Load, axis, integer
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Buffer, For, If, Kernel, Nest, Store

GENERATOR = np.random.default_rng(5)
UPDATES = {"add": lambda old, new: old + new, "multiply": lambda old, new: old * new, "min": min, "max": max,
           "set": lambda old, new: new}
INDEX_DTYPES = [np.int8, np.int32, np.int64, np.uint8, np.uint16, np.uint64]


def scattered(base: Any, indices: Any, updates: Any, operation: str) -> Any:
    """One update after the other."""
    result = base.copy()
    for place in np.ndindex(indices.shape):
        for rest in np.ndindex(base.shape[1:]):
            target = (int(indices[place]), *rest)
            result[target] = UPDATES[operation](result[target], updates[(*place, *rest)])
    return result


def threaded(function: Any, *arguments: Any) -> list[Any]:
    """What a function gives with one thread and with two."""
    before = gx.config.num_threads
    try:
        found = []
        for threads in (1, 2):
            gx.config.num_threads = threads
            found.append(function(*arguments))
        return found
    finally:
        gx.config.num_threads = before


# ------------------------------------------------------------------------------------------------- small and odd ones


@pytest.mark.parametrize("index_dtype", INDEX_DTYPES)
@pytest.mark.parametrize("operation", UPDATES)
@pytest.mark.parametrize("shape, index_shape", [((7,), (30,)), ((7, 3), (4, 5)), ((7, 2, 2), (3,)), ((1,), (5,)), ((7,), (0,))])
def test_updates_at_traced_indices(index_dtype: Any, operation: str, shape: Any, index_shape: Any) -> None:
    low = -shape[0] if np.dtype(index_dtype).kind == "i" else 0
    indices = GENERATOR.integers(low, shape[0], index_shape).astype(index_dtype)
    base, updates = GENERATOR.standard_normal(shape), GENERATOR.standard_normal((*index_shape, *shape[1:]))
    found = gx.jit(lambda x, i, u: getattr(x.at[i], operation)(u))(base, indices, updates)
    np.testing.assert_allclose(found, scattered(base, indices, updates, operation), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64, np.uint16])
def test_sums_of_other_dtypes(dtype: Any) -> None:
    indices = GENERATOR.integers(-5, 5, 500)
    base, updates = np.zeros(5, dtype), GENERATOR.integers(0, 2, 500).astype(dtype)
    found = gx.jit(lambda x, i, u: x.at[i].add(u))(base, indices, updates)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, scattered(base, indices, updates, "add"))


def test_set_of_booleans() -> None:
    indices, updates = np.array([2, -1, 2, 0]), np.array([True, True, False, True])
    found = gx.jit(lambda x, i, u: x.at[i].set(u))(np.zeros(4, bool), indices, updates)
    np.testing.assert_array_equal(found, [True, False, False, True])


@pytest.mark.parametrize("index_dtype", INDEX_DTYPES)
def test_gather_of_elements_and_rows(index_dtype: Any) -> None:
    low = -9 if np.dtype(index_dtype).kind == "i" else 0
    indices = GENERATOR.integers(low, 9, (4, 11)).astype(index_dtype)
    for table in (GENERATOR.standard_normal(9), GENERATOR.standard_normal((9, 33)), GENERATOR.integers(0, 9, (9, 2, 3))):
        np.testing.assert_array_equal(gx.jit(lambda x, i: x[i])(table, indices), table[indices])


@pytest.mark.parametrize("wrong", [5, 17, -6, -1000, 2**40, -(2**40)])
@pytest.mark.parametrize("length", [1, 3, 5000])
def test_an_index_out_of_range_is_named(wrong: int, length: int) -> None:
    indices = GENERATOR.integers(-5, 5, length)
    indices[length // 2] = wrong
    values, rows = np.ones(length), np.ones((length, 20))
    calls = [
        (lambda i: gnp.zeros(5).at[i].add(values), 0), (lambda i: gnp.zeros(5).at[i].set(values), 0),
        (lambda i: gnp.zeros((5, 20)).at[i].add(rows), 0), (lambda i: gnp.zeros((20, 5)).at[:, i].multiply(rows.T), 1),
        (lambda i: gnp.arange(5.0)[i], 0), (lambda i: gnp.exp(gnp.arange(5.0)[i]) * values, 0),
        (lambda i: gnp.ones((5, 20))[i].sum(axis=1), 0), (lambda i: gx.grad(lambda x: (x[i] ** 2).sum())(gnp.ones(5)), 0),
        (lambda i: gx.vmap(lambda k: gnp.arange(5.0)[k])(i), 0),
        (lambda i: lax.scan(lambda c, k: (c.at[k].add(1.0), c[k]), gnp.zeros(5), i), 0),
        (lambda i: lax.fori_loop(0, 3, lambda n, c: c + gnp.exp(gnp.arange(5.0)[i]).sum(), 0.0), 0),
    ]
    for function, axis_number in calls:
        with pytest.raises(IndexError, match=f"index {wrong} is out of bounds for axis {axis_number} with size 5"):
            gx.jit(function)(indices)


def test_the_first_index_out_of_range_is_named_by_updates() -> None:
    indices = np.array([0, 1, 9, 2, -12, 8])
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 3"):
        gx.jit(lambda i: gnp.zeros(3).at[i].add(1.0))(indices)


def test_an_empty_axis_has_no_index() -> None:
    read = gx.jit(lambda x, i: gnp.exp(x[i]))
    with pytest.raises(IndexError, match="index 0 is out of bounds for axis 0 with size 0"):
        read(np.zeros(0), np.zeros(4, int))
    assert read(np.zeros(0), np.zeros(0, int)).shape == (0,)


def test_rows_that_a_branch_or_loop_does_not_reach_are_not_looked_up() -> None:
    table = np.arange(12.0).reshape(3, 4)
    chosen = gx.jit(lambda i, go: lax.cond(go, lambda k: gnp.array(table)[k].sum(axis=1), lambda k: gnp.zeros(2), i))
    np.testing.assert_array_equal(chosen(np.array([7, 9]), False), [0.0, 0.0])
    with pytest.raises(IndexError, match="index 7"):
        chosen(np.array([7, 9]), True)
    repeated = gx.jit(lambda i, n: lax.fori_loop(0, n, lambda _, c: c + gnp.array(table)[i], gnp.zeros((2, 4))))
    np.testing.assert_array_equal(repeated(np.array([7, 9]), 0), np.zeros((2, 4)))
    with pytest.raises(IndexError, match="index 7"):
        repeated(np.array([7, 0]), 1)
    padded = gx.jit(lambda x, i: gnp.concatenate([gnp.zeros(3), x[i]])[:3])
    np.testing.assert_array_equal(padded(np.ones(2), np.array([0, 1])), np.zeros(3))


# ------------------------------------------------------------------------------------------------------ large ones

SIZES = [(200_000, 7), (200_000, 300), (60_000, 20_000), (50_000, 1)]


@pytest.mark.parametrize("count, extent", SIZES)
@pytest.mark.parametrize("order", ["sorted", "even", "periodic", "random", "skewed", "sorted but one", "negative"])
def test_many_updates(count: int, extent: int, order: str) -> None:
    indices = GENERATOR.integers(0, extent, count)
    if order == "skewed":
        indices = np.minimum(GENERATOR.geometric(0.4, count) - 1, extent - 1)
    if order.startswith("sorted"):
        indices.sort()
    if order in ("even", "periodic"):
        indices = np.arange(count) % extent
        if order == "even":
            indices.sort()
    if order == "sorted but one":
        indices[count // 3] = extent - 1
    given = indices - extent if order == "negative" else indices
    values = GENERATOR.standard_normal(count)
    add = gx.jit(lambda i, v: gnp.zeros(extent).at[i].add(2.0 * v))
    one, two = threaded(add, given, values)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, np.bincount(indices, 2.0 * values, minlength=extent), rtol=1e-11, atol=1e-10)
    counted = gx.jit(lambda i: gnp.zeros(extent, np.int32).at[i].add(1))(given)
    np.testing.assert_array_equal(counted, np.bincount(indices, minlength=extent))
    base = GENERATOR.standard_normal(extent)
    for operation, ufunc in (("max", np.maximum), ("min", np.minimum)):
        expected = base.copy()
        ufunc.at(expected, indices, values)
        extreme = gx.jit(lambda x, i, v, name=operation: getattr(x.at[i], name)(v))
        np.testing.assert_array_equal(extreme(base, given, values), expected)
    last = base.copy()
    last[indices] = values  # NumPy, too, keeps the last one
    np.testing.assert_array_equal(gx.jit(lambda x, i, v: x.at[i].set(v))(base, given, values), last)


def test_elements_without_updates_keep_their_bits() -> None:
    base = np.array([-0.0, 0.0, np.nan, np.inf, -0.0])
    indices = np.full(100_000, 1)
    found = gx.jit(lambda x, i: x.at[i].add(0.0 * i))(base, indices)
    np.testing.assert_array_equal(np.signbit(found), [True, False, np.signbit(np.nan), False, True])
    np.testing.assert_array_equal(found, base)


def test_nan_goes_only_where_it_is_added() -> None:
    values = np.ones(100_000)
    values[77] = np.nan
    indices = np.arange(100_000) % 50
    found = gx.jit(lambda i, v: gnp.full(50, -np.inf).at[i].max(v))(indices, values)
    assert np.isnan(found[27]) and np.all(found[np.arange(50) != 27] == 1.0)


@pytest.mark.parametrize("rows, width", [(20, 64), (3000, 64), (50, 5)])
def test_many_rows(rows: int, width: int) -> None:
    indices = GENERATOR.integers(-rows, rows, 10_000)
    table, wanted = GENERATOR.standard_normal((rows, width)), GENERATOR.standard_normal((10_000, width))

    def loss(table: Any, indices: Any, wanted: Any) -> Any:
        gap = table[indices] - wanted
        return 0.5 * (gap * gap).sum()

    (value, gradient), again = threaded(gx.jit(gx.value_and_grad(loss)), table, indices, wanted)
    np.testing.assert_array_equal(gradient, again[1])
    assert value == again[0]
    gap = table[indices] - wanted
    expected = np.zeros_like(table)
    np.add.at(expected, indices, gap)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(value, 0.5 * np.sum(gap * gap), rtol=1e-12)


def sparse(count: int, extent: int) -> tuple[Any, ...]:
    rows = np.sort(GENERATOR.integers(0, extent, count))
    columns = GENERATOR.integers(-extent, extent, count)
    return GENERATOR.standard_normal(count), rows, columns, GENERATOR.standard_normal(extent)


def multiply(values: Any, rows: Any, columns: Any, x: Any) -> Any:
    return gnp.zeros(x.shape).at[rows].add(values * x[columns])


@pytest.mark.parametrize("count, extent", [(40, 6), (100_000, 3000), (100_000, 90_000)])
def test_sparse_product_and_its_gradient(count: int, extent: int) -> None:
    values, rows, columns, x = sparse(count, extent)
    y = np.bincount(rows, values * x[columns], minlength=extent)
    np.testing.assert_allclose(gx.jit(multiply)(values, rows, columns, x), y, rtol=1e-10, atol=1e-10)
    gradient = gx.jit(gx.grad(lambda v, x: 0.5 * (multiply(v, rows, columns, x) ** 2).sum(), argnums=(0, 1)))
    to_values, to_x = gradient(values, x)
    np.testing.assert_allclose(to_values, y[rows] * x[columns], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(to_x, np.bincount(columns % extent, y[rows] * values, minlength=extent), rtol=1e-9, atol=1e-9)


def test_batches_and_loops_of_updates() -> None:
    indices = GENERATOR.integers(-16, 16, (40, 3000))
    values = GENERATOR.standard_normal((40, 3000))
    one, two = threaded(gx.jit(gx.vmap(lambda i, v: gnp.zeros(16).at[i].add(v))), indices, values)
    np.testing.assert_array_equal(one, two)
    expected = np.stack([np.bincount(i % 16, v, minlength=16) for i, v in zip(indices, values, strict=True)])
    np.testing.assert_allclose(one, expected, rtol=1e-11, atol=1e-11)
    total, parts = gx.jit(lambda i, v: lax.scan(
        lambda c, x: (c.at[x[0]].add(x[1]), c[x[0]].sum()), gnp.zeros(16), (i, v)))(indices, values)
    np.testing.assert_allclose(total, expected.sum(axis=0), rtol=1e-11, atol=1e-11)
    carried, seen = np.zeros(16), []
    for i, v in zip(indices, values, strict=True):
        seen.append(carried[i].sum())
        carried = carried + np.bincount(i % 16, v, minlength=16)
    np.testing.assert_allclose(parts, seen, rtol=1e-9, atol=1e-9)
    per_lane = gx.jit(gx.vmap(gx.grad(lambda x, i, v: (v * x[i] ** 2).sum()), (None, 0, 0)))(np.ones(16), indices, values)
    np.testing.assert_allclose(per_lane, 2 * expected, rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------------------------------- the loops


def loops_of(function: Any, *arguments: Any) -> str:
    return str(gx.jit(function).lower(*arguments).loops)


def test_a_scatter_is_one_pass_and_nothing_is_stored() -> None:
    values, rows, columns, x = sparse(1000, 50)
    text = loops_of(multiply, values, rows, columns, x)
    assert "arena" not in text and text.count("nest ") == 2
    histogram = loops_of(lambda x: gnp.zeros(9, int).at[(x * 9).astype(int)].add(1), np.linspace(0, 0.99, 1000))
    assert "arena" not in histogram


def test_what_is_looked_up_is_not_stored_to_be_read_in_another_shape() -> None:
    values, columns, x = GENERATOR.standard_normal(600), GENERATOR.integers(-50, 50, 600), GENERATOR.standard_normal(50)

    def equal_rows(values: Any, columns: Any, x: Any) -> Any:
        return (values * x[columns]).reshape(-1, 10).sum(axis=1)

    text = loops_of(equal_rows, values, columns, x)
    assert "arena" not in text and text.count("nest ") == 1
    compiled = gx.jit(equal_rows)
    np.testing.assert_allclose(compiled(values, columns, x), equal_rows(values, columns, x), rtol=1e-13, atol=1e-13)
    # What is not read is looked up all the same: every index is checked.
    for part in (lambda v, c, x: equal_rows(v, c, x)[:3], lambda v, c, x: (v * x[c])[20:].reshape(-1, 10).sum(axis=1),
                 lambda v, c, x: gnp.pad((v * x[c]).reshape(-1, 10), ((1, 0), (0, 0)))[:-1].sum(axis=1)):
        for wrong in (0, 599):
            bad = columns.copy()
            bad[wrong] = 50
            with pytest.raises(IndexError, match="50"):
                gx.jit(part)(values, bad, x)


@pytest.mark.parametrize("count", [1, 65, 20_000])
def test_what_large_arrays_are_asked_for_ahead_changes_nothing(count: int) -> None:
    extent = 1 << 16
    x, other = GENERATOR.standard_normal(extent), GENERATOR.standard_normal((3, extent))
    indices = GENERATOR.integers(-extent, extent, 10 * count)
    rows = indices.reshape(count, 10)
    programs = {
        "flat": (lambda x, y, i: x[i] * 2.0, x[indices] * 2.0),
        "rows": (lambda x, y, i: x[i.reshape(-1, 10)].max(1), x[rows].max(1)),
        "of a matrix": (lambda x, y, i: y[1, i] + x[i], other[1, indices] + x[indices]),
        "narrow": (lambda x, y, i: x[i.astype(np.int32)], x[indices]),
    }
    for function, expected in programs.values():
        stages = gx.jit(function).lower(x, other, indices)
        assert count == 1 or "@llvm.prefetch" in stages.llvm
        np.testing.assert_array_equal(gx.jit(function)(x, other, indices), expected)
    bad = indices.copy()
    bad[-1] = extent
    with pytest.raises(IndexError):
        gx.jit(programs["rows"][0])(x, other, bad)
    assert "@llvm.prefetch" not in gx.jit(lambda x, i: x[i]).lower(np.ones(1000), indices).llvm


def test_elementary_functions_stay_apart_from_scatters() -> None:
    # A loop of updates is one after the other: exponentials in it would be, too.
    text = loops_of(lambda x, i: gnp.zeros(9).at[i].add(gnp.exp(x)), np.ones(1000), np.zeros(1000, int))
    assert "arena" in text


def test_a_row_is_looked_up_once() -> None:
    text = loops_of(lambda x, i: x[i] * 2.0, np.ones((9, 64)), np.zeros(100, int))
    assert text.index("relative_index") < text.index("in 0 .. 64")


def test_unsigned_indices_that_fit_are_not_checked() -> None:
    assert "_index" not in loops_of(lambda x, i: x[i], np.ones(256), np.zeros(10, np.uint8))
    assert "checked_index" in loops_of(lambda x, i: x[i], np.ones(255), np.zeros(10, np.uint8))


def test_the_loops_are_those_of_the_interpreter() -> None:
    for order in ("sorted", "random", "periodic", "short runs"):
        values, rows, columns, x = sparse(9000, 2000 if order == "short runs" else 20)
        if order == "random":
            rows = GENERATOR.permutation(rows)
        if order == "periodic":
            rows = np.arange(9000) % 20
        stages = gx.jit(multiply).lower(values, rows, columns, x)
        kernel = kernel_of(stages.optimized)
        assert any(isinstance(s, If) for nest in kernel.nests for s in nest.body)
        (expected,) = interpret(kernel, [values, rows, columns, x])
        np.testing.assert_allclose(gx.jit(multiply)(values, rows, columns, x), expected, rtol=1e-12)


def test_updates_that_may_be_made_in_any_order_are_taken_from_several_places_in_turn() -> None:
    values, rows, columns, x = sparse(9000, 20)
    assert "left.r0t" in loops_of(multiply, values, rows, columns, x)
    assert "left.r0t" in loops_of(lambda x, i, v: x.at[i].max(v), x, rows, values)
    assert "left.r0t" not in loops_of(lambda x, i, v: x.at[i].set(v), x, rows, values)
    assert "left.r0t" not in loops_of(multiply, values[:8000], rows[:8000], columns[:8000], x)


def test_an_index_that_the_loop_changes_is_not_taken_out() -> None:
    def check(index: Any) -> Any:
        return Apply("relative_index", (index, integer(4), ZERO), int64)

    positions = Buffer("positions", int64, (3,), "arena")
    table, result = Buffer("table", float64, (4,), "input", 0), Buffer("result", float64, (3, 5), "output", 0)
    for changing, expected in itertools.product((False, True), (1,)):
        i, j = axis("i", 3), axis("j", 5)
        inner: list[Any] = [Store(result, (i, j), Load(table, (check(Load(positions, (i,), int64)),), float64))]
        if changing:
            inner.append(Store(positions, (i,), integer(0)))
        loop = For(i, ZERO, integer(3), (For(j, ZERO, integer(5), tuple(inner)),))
        kernel = Kernel((table,), (result,), (positions,), (Nest((loop,)),))
        body = hoist_indices(kernel).nests[0].body[0].body  # type: ignore[union-attr]
        assert len(body) == (expected if changing else expected + 1)


@pytest.mark.parametrize("columns", [3, 8, 64, 200])
def test_rows_looked_up_in_large_arrays_are_asked_for_ahead(columns: int) -> None:
    random = np.random.default_rng(4)
    table = random.standard_normal((70_000 // columns, columns))
    words, wanted = random.integers(-len(table), len(table), 500), random.standard_normal((500, columns))
    f = gx.jit(lambda table, words, wanted: (table.at[words].add(wanted), (table[words] * wanted).sum()))
    added, total = f(table, words, wanted)
    expected = table.copy()
    np.add.at(expected, words, wanted)
    np.testing.assert_allclose(added, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(total, np.sum(table[words] * wanted), rtol=1e-11)
    if columns == 64:
        text = f.lower(table, words, wanted).llvm
        assert text.count("call void @llvm.prefetch") == 2 * 8
    words[-1] = len(table)
    with pytest.raises(IndexError):
        f(table, words, wanted)


@pytest.mark.parametrize("operation", ["add", "max"])
@pytest.mark.parametrize("shape", [(150_000,), (3, 50_000)])
def test_large_copies_are_united_in_chunks(operation: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nests, "PRIVATE_ELEMENT", 0.02)
    random = np.random.default_rng(8)
    base, updates = random.standard_normal(shape), random.standard_normal(200_000)
    index = tuple([random.integers(-extent, extent, updates.size) for extent in shape])

    def f(base: Any, index: Any, updates: Any) -> Any:
        return getattr(base.at[index], operation)(updates * 2)

    with gx.config.override(parallel_threshold=20_000, cache_dir="off"):
        loops = str(gx.jit(f).lower(base, index, updates).loops)
        one, several = threaded(gx.jit(f), base, index, updates)
    copying, uniting = loops.index("= -0.0" if operation == "add" else "= -inf"), loops.rindex("nest")
    assert copying < uniting and "parallel for" in loops[uniting:]
    expected = base.copy()
    {"add": np.add, "max": np.maximum}[operation].at(expected, index, updates * 2)
    np.testing.assert_allclose(one, expected, rtol=1e-12, atol=1e-12)
    assert np.asarray(one).tobytes() == np.asarray(several).tobytes()
