"""Programs made of slices: guards leave the loops that matter, updates of ranges are loops, pieces are summed at once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform.backend.nests import build_kernel
from gradxform.backend.node_lowering import lower_program
from gradxform.backend.range_updates import affine_places, point_of
from gradxform.backend.ranges import MAX_OPERATIONS, MAX_PIECES, cut_kernel
from gradxform.backend.strip import strip_kernel
from gradxform.backend.unroll import unroll_kernel
from gradxform.config import config
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.expression import Apply, Expression, Load, Symbol, axis, index_add, index_mul, integer, parts, substitute
from gradxform.loopir.interpreter import interpret
from gradxform.loopir.loops import Accumulate, For, Kernel, Let, Statement, Store, bodies, operands

Index = tuple[slice, ...]


def kernels(function: Callable[..., Any], *args: Any) -> tuple[Kernel, Kernel]:
    """The loops before they are cut, and after."""
    before = strip_kernel(unroll_kernel(build_kernel(lower_program(gx.jit(function).lower(*args).optimized))))
    return check_kernel(before), check_kernel(cut_kernel(before))


def innermost(statements: Sequence[Statement], extents: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], For]]:
    """The innermost loops with the extents of all loops around and including them."""
    for statement in statements:
        if isinstance(statement, For):
            here = (*extents, statement.symbol.extent)
            if not any(isinstance(s, For) for s in statement.body):
                yield here, statement
            yield from innermost(statement.body, here)


def has_guard(loop: For) -> bool:
    return any(isinstance(part, Apply) and part.operation == "guard"
               for statement in loop.body for x in operands(statement) for part in parts(x))


def all_loops(kernel: Kernel) -> list[tuple[tuple[int, ...], For]]:
    return [found for nest in kernel.nests for found in innermost(nest.body)]


def assert_same(before: Kernel, after: Kernel, *args: Any) -> None:
    for expected, found in zip(interpret(before, args), interpret(after, args), strict=True):
        np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------------------------------------------- loops cut


def window(width: int) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        count = x.shape[0] - width + 1
        return (sum((k + 1.0) * np.sin(x[k:k + count]) for k in range(width)) ** 3).sum()

    return function


def test_parts_of_a_concatenation_are_copied_one_by_one() -> None:
    x = np.arange(12.0 * 30).reshape(12, 30)

    def windows(x: Any) -> Any:
        # Nine parts, more than there may be pieces otherwise; the sum keeps them from being stored part by part.
        side_by_side = gx.numpy.concatenate([x[i:i + 10, j:j + 8] for i in range(3) for j in (0, 9, 20)], axis=1)
        return side_by_side @ gx.numpy.ones((72, 16)), side_by_side.sum()

    before, after = kernels(windows, x)
    assert any(has_guard(loop) for _, loop in all_loops(before))
    assert not any(has_guard(loop) for _, loop in all_loops(after))
    assert_same(before, after, x)


def test_sums_of_many_guarded_parts_are_not_copied_for_each_piece() -> None:
    x = np.arange(300.0)

    def shifted(x: Any) -> Any:
        return sum(gx.numpy.zeros(400).at[10 * k:10 * k + 300].add(x * k) for k in range(8))

    before, after = kernels(shifted, x)
    assert len(all_loops(after)) <= 2 * MAX_PIECES
    assert_same(before, after, x)


@pytest.mark.parametrize("width", [2, 3, 5, 7])
def test_the_interior_of_a_window_has_no_guard(width: int) -> None:
    x = np.random.default_rng(0).normal(size=60)
    before, after = kernels(gx.grad(window(width)), x)
    assert any(has_guard(loop) for _, loop in all_loops(before))
    long = [loop for extents, loop in all_loops(after) if extents[-1] > 10]
    assert long and not any(map(has_guard, long))
    assert_same(before, after, x)


def five_points(x: Any) -> Any:
    near = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return ((near - 4 * x[1:-1, 1:-1]) ** 3).sum()


def seven_points(x: Any) -> Any:
    inner = slice(1, -1)
    near = x[:-2, inner, inner] + x[2:, inner, inner] + x[inner, :-2, inner] + x[inner, 2:, inner]
    return ((near + x[inner, inner, :-2] + x[inner, inner, 2:] - 6 * x[inner, inner, inner]) ** 3).sum()


@pytest.mark.parametrize(("function", "shape"), [(five_points, (24, 30)), (seven_points, (14, 15, 16))])
def test_the_interior_of_a_stencil_has_no_guard(function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).normal(size=shape)
    before, after = kernels(gx.grad(function), x)
    interior = [loop for extents, loop in all_loops(after) if all(n > m // 2 for n, m in zip(extents, shape, strict=True))]
    assert interior and not any(map(has_guard, interior))
    assert_same(before, after, x)


def test_chunks_of_an_outer_loop_are_cut() -> None:
    x = np.random.default_rng(2).normal(size=(40, 33))
    with config.override(parallel_threshold=100):
        before, after = kernels(gx.grad(five_points), x)
    assert any(nest.chunks for nest in after.nests)
    assert_same(before, after, x)


def test_conditions_that_are_not_seen_through_are_left_alone() -> None:
    # The index is converted before it is compared.
    x = np.random.default_rng(9).normal(size=30)
    before, after = kernels(lambda x: np.where(gx.numpy.arange(30).astype(np.int32) < 7, np.pad(x, (2, 0))[:30], x), x)
    assert_same(before, after, x)


def test_code_grows_with_the_rank_and_not_with_the_number_of_guards() -> None:
    def offsets(x: Any) -> Any:
        n = x.shape[0] - 6
        corners = itertools.product(range(0, 7, 3), repeat=3)
        return (sum(x[i:i + n, j:j + n, k:k + n] for i, j, k in corners) ** 3).sum()

    before, after = kernels(gx.grad(offsets), np.ones((30, 30, 30)))
    assert len(all_loops(after)) <= len(all_loops(before)) + MAX_PIECES * 9


def test_a_body_that_is_too_large_is_not_copied() -> None:
    def long(x: Any) -> Any:
        for k in range(1, 120):
            x = x + np.sin(np.concatenate([x[k:], x[:k]])) * 0.01
        return x

    _, after = kernels(long, np.ones(200))
    assert sum(1 for nest in after.nests for s in _walk(nest.body) if isinstance(s, Let)) < 3 * MAX_OPERATIONS


def _walk(statements: Sequence[Statement]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        for body in bodies(statement):
            yield from _walk(body)


# ---------------------------------------------------------------------------------------------- updates of ranges


@pytest.mark.parametrize(("step", "offset", "count", "extent"), [
    (1, 0, 7, 7), (1, 2, 4, 9), (2, 0, 4, 8), (2, 1, 4, 9), (3, 2, 3, 12), (-1, 6, 7, 7),
    (-2, 7, 3, 9), (-3, 10, 2, 11), (4, 3, 1, 9),
])
def test_each_element_finds_its_point(step: int, offset: int, count: int, extent: int) -> None:
    point = axis("p", count)
    places = affine_places((index_add(index_mul(point, step), integer(offset)),), (point,))
    assert places is not None
    symbol = axis("i", extent)
    conditions, found = point_of((symbol,), places, (count,))
    targets = {offset + step * k: k for k in range(count)}
    for i in range(extent):
        hit = all(bool(_number(condition, symbol, i)) for condition in conditions)
        assert hit == (i in targets)
        if hit:
            assert _number(found[0], symbol, i) == targets[i]


def _number(expression: Expression, symbol: Symbol, value: int) -> int:
    known = substitute(expression, lambda part: integer(value) if part is symbol else None)
    if not isinstance(known, Apply):
        return int(known.value)  # type: ignore[union-attr]
    left, right = (_number(part, symbol, value) for part in known.operands)
    return int({"floor_divide": lambda: left // right, "remainder": lambda: left % right, "add": lambda: left + right,
                "mul": lambda: left * right}[known.operation]())


def test_what_is_not_affine_or_not_unique_is_no_range() -> None:
    p, q = axis("p", 4), axis("q", 5)
    assert affine_places((p, p), (p,)) is None
    assert affine_places((integer(0),), (p,)) is None
    assert affine_places((index_add(p, q),), (p, q)) is None
    assert affine_places((Apply("remainder", (p, integer(3)), p.dtype),), (p,)) is None
    assert affine_places((Load(None, (), p.dtype),), (p,)) is None


def test_an_update_of_the_interior_is_one_loop() -> None:
    x = np.random.default_rng(3).normal(size=(20, 30))
    kernel, _ = kernels(lambda x: x.at[1:-1, 1:-1].add(0.2 * (x[:-2, 1:-1] + x[2:, 1:-1] - x[1:-1, :-2] * x[1:-1, 2:])), x)
    assert len(kernel.nests) == 1 and not kernel.temporaries
    assert not any(isinstance(s, Accumulate) for s in _walk(kernel.nests[0].body))
    expected = x.copy()
    expected[1:-1, 1:-1] += 0.2 * (x[:-2, 1:-1] + x[2:, 1:-1] - x[1:-1, :-2] * x[1:-1, 2:])
    np.testing.assert_allclose(interpret(kernel, [x])[0], expected, rtol=1e-14)


def test_a_small_update_of_what_a_loop_carries_stays_in_place() -> None:
    def steps(x: Any) -> Any:
        return gx.lax.scan(lambda c, _: (c.at[2:5].add(1.0), None), x, None, length=20)[0]

    x = np.arange(100.0)
    kernel, _ = kernels(steps, x)
    (loop,) = [s for nest in kernel.nests for s in _walk(nest.body) if isinstance(s, For) and s.symbol.extent == 20]
    assert {s.symbol.extent for s in _walk(loop.body) if isinstance(s, For)} <= {3}
    expected = x.copy()
    expected[2:5] += 20
    np.testing.assert_array_equal(gx.jit(steps)(x), expected)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_branches_that_update_ranges_read_before_they_write(sign: float) -> None:
    def function(x: Any) -> Any:
        return gx.lax.cond(x[0] > 0, lambda x: x.at[1:-1].add(x[2:] * x[:-2]), lambda x: x.at[:-1].set(x[1:] + x[:-1]), x * 1.0)

    x = np.random.default_rng(4).normal(size=90)
    x[0] = sign
    expected = x.copy()
    if sign > 0:
        expected[1:-1] += x[2:] * x[:-2]
    else:
        expected[:-1] = x[1:] + x[:-1]
    np.testing.assert_allclose(gx.jit(function)(x), expected, rtol=1e-14)


# ------------------------------------------------------------------------------------------------ values read once


def test_a_sum_of_shifted_pieces_is_one_loop() -> None:
    def adjoint(y: Any) -> Any:
        return gx.vjp(lambda x: x[:-3] * 2.0 + x[1:-2] * 3.0 + x[2:-1] - x[3:] * 5.0, gx.numpy.zeros(53))[1](y)[0]

    y = np.random.default_rng(5).normal(size=50)
    kernel, _ = kernels(adjoint, y)
    assert len(kernel.nests) == 1 and not kernel.temporaries
    np.testing.assert_allclose(interpret(kernel, [y])[0], np.convolve(y, [2.0, 3.0, 1.0, -5.0]), rtol=1e-12)


def test_a_value_that_is_read_once_elsewhere_is_not_stored() -> None:
    x = np.random.default_rng(6).normal(size=80)
    kernel, _ = kernels(lambda x: np.concatenate([np.exp(x[1:])[::-1], x]), x)
    assert not kernel.temporaries
    np.testing.assert_allclose(interpret(kernel, [x])[0], np.concatenate([np.exp(x[1:])[::-1], x]), rtol=1e-14)


def test_what_is_expensive_and_read_twice_is_stored() -> None:
    x = np.linspace(0.1, 1.0, 2000)
    kernel, _ = kernels(lambda x: (lambda y: y[1:] * y[:-1])(np.exp(np.sin(np.exp(x)))), x)
    stored = {s.buffer for nest in kernel.nests for s in _walk(nest.body) if isinstance(s, Store)}
    assert len(stored) == 2


# ------------------------------------------------------------------------------------------------- random programs


@dataclass(frozen=True)
class Step:
    """An operation on an array, and the same in NumPy."""

    ours: Callable[[Any], Any]
    numpy: Callable[[Any], Any]


def any_slice(source: random.Random, extent: int) -> slice:
    kind = source.random()
    if kind < 0.15:
        return slice(None)
    if kind < 0.2:
        return slice(1, 1)
    step = source.choice([1, 1, 1, 2, 3, -1, -2])
    low, high = sorted((source.randrange(extent + 1), source.randrange(extent + 1)))
    if step > 0:
        return slice(low, high, step)
    return slice(max(high - 1, 0), low - 1 if low else None, step)


def updating(name: str, index: Index, scale: float) -> Step:
    numpy_operation = {"set": lambda old, new: new, "add": np.add, "multiply": np.multiply, "max": np.maximum}[name]

    def reference(x: Any) -> Any:
        result = x.copy()
        result[index] = numpy_operation(x[index], np.cos(x[index]) * scale)
        return result

    return Step(lambda x: getattr(x.at[index], name)(np.cos(x[index]) * scale), reference)


def moving(rank: int, along: int, count: int, scale: float) -> Step:
    before: list[slice] = [slice(None)] * rank
    after = list(before)
    before[along], after[along] = slice(None, -count), slice(count, None)
    widths = [(0, 0)] * rank
    widths[along] = (count // 2, count - count // 2)

    def both(x: Any) -> Any:
        if x.shape[along] <= count:
            return x * scale
        return np.pad(x[tuple(before)] * x[tuple(after)] + scale, widths)

    return Step(both, both)


def joining(rank: int, along: int, count: int, scale: float) -> Step:
    front: list[slice] = [slice(None)] * rank
    back = list(front)
    front[along], back[along] = slice(None, count), slice(count, None)

    def both(x: Any) -> Any:
        return np.concatenate([x[tuple(back)] * scale, np.sin(x[tuple(front)])], axis=along) - scale * np.roll(x, count, along)

    return Step(both, both)


def any_program(seed: int) -> tuple[list[Step], tuple[int, ...]]:
    source = random.Random(seed)
    rank = source.choice([1, 1, 2, 2, 3])
    shape = tuple([source.choice(([1, 2, 5, 13, 30], [1, 3, 4, 11], [2, 3, 5])[rank - 1]) for _ in range(rank)])
    steps: list[Step] = []
    for _ in range(source.randrange(1, 5)):
        kind, scale = source.randrange(4), source.uniform(0.3, 1.2)
        along, count = source.randrange(rank), source.randrange(1, 4)
        if kind < 2:
            index = tuple([any_slice(source, n) for n in shape])
            steps.append(updating(source.choice(["set", "add", "multiply", "max"]), index, scale))
        else:
            steps.append((moving if kind == 2 else joining)(rank, along, count, scale))
    return steps, shape


def applied(steps: Sequence[Step], x: Any, numpy: bool) -> Any:
    for step in steps:
        x = step.numpy(x) if numpy else step.ours(x)
    return x


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_of_slices(seed: int) -> None:
    steps, shape = any_program(seed)
    x = np.random.default_rng(seed).normal(size=shape)
    weights = np.cos(np.arange(x.size)).reshape(shape)
    expected = applied(steps, x, numpy=True)

    def weigh(x: Any) -> Any:
        return gx.numpy.cos(1.0 * gx.numpy.arange(x.size)).reshape(shape)

    def both(x: Any) -> Any:
        gradient = gx.grad(lambda x: (applied(steps, x, numpy=False) * weigh(x)).sum())(x)
        return applied(steps, x, numpy=False), gradient

    with config.override(parallel_threshold=[1, 40, 10**9][seed % 3], cache_dir="off"):
        before, after = kernels(both, x)
        assert_same(before, after, x)
        found, gradient = gx.jit(both)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    direction, step = np.random.default_rng(seed + 1).normal(size=shape), 1e-6

    def value(x: Any) -> float:
        return float((applied(steps, x, numpy=True) * weights).sum())

    slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------------------------------- packed results


def test_parts_of_a_result_are_stored_where_they_belong() -> None:
    def value(x: Any) -> Any:
        u, v = x[:40], x[40:]
        return np.exp(u * v).sum()

    x = np.random.default_rng(7).normal(size=80)
    kernel, _ = kernels(gx.grad(value), x)
    assert len(kernel.nests) == 1 and not kernel.temporaries
    assert [extents for extents, _ in all_loops(kernel)] == [(40,)]
    shared = np.exp(x[:40] * x[40:])
    np.testing.assert_allclose(interpret(kernel, [x])[0], np.concatenate([shared * x[40:], shared * x[:40]]), rtol=1e-14)


@pytest.mark.parametrize("along", [0, 1, 2])
def test_parts_along_any_axis(along: int) -> None:
    def function(x: Any, y: Any) -> Any:
        shared = np.exp(x * y)
        return np.concatenate([shared * y, shared[:, :, :2] if along == 2 else shared, shared * x], axis=along), shared.sum()

    x, y = np.random.default_rng(8).normal(size=(2, 9, 10, 11))
    kernel, cut = kernels(function, x, y)
    assert not [b for b in kernel.temporaries if b.shape]
    assert_same(kernel, cut, x, y)
    for found, expected in zip(gx.jit(function)(x, y), function(x, y), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_a_result_that_is_read_again_stays_whole() -> None:
    def function(x: Any) -> Any:
        shared = np.exp(x)
        whole = np.concatenate([shared * 2.0, shared * x])
        return whole, whole[::-1].cumsum()

    x = np.linspace(-1.0, 1.0, 50)
    for found, expected in zip(gx.jit(function)(x), function(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
