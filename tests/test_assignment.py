"""Assignment to traced arrays: NumPy's views, in-place operators, refusals and derivatives.

Most functions here take the namespace they compute with: what NumPy gives on plain arrays is what is expected.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import errors, lax, tree
from gradxform.api.tracing import trace
from gradxform.core import run, type_of
from gradxform.ir import check

X = np.array([0.5, -1.5, 2.0, 3.25, -0.75, 1.0])


def traced(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function(gradxform.numpy, *arrays)`` recorded without known values, and evaluated."""
    found = trace(lambda *a: function(gnp, *a), arrays, [type_of(a) for a in arrays], lambda leaves: (leaves, {}), "test",
                  known=False)
    results = run(check(found.program), [*arrays, *found.captures])
    return tree.unflatten(found.treedef, results)


def assert_like_numpy(function: Callable[..., Any], *arrays: Any) -> None:
    expected = function(np, *(np.array(a) for a in arrays))
    found = traced(function, *arrays)
    for one, other in zip(tree.leaves(expected), tree.leaves(found), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_allclose(other, one, rtol=1e-14)


# ------------------------------------------------------------------------------------------------- random programs

Step = Callable[[Any, Any, random.Random], Any]


def _rows(x: Any) -> bool:
    return x.ndim >= 2 and x.shape[0] > 0


VIEWS: dict[str, Step] = {
    "row": lambda n, x, r: x[r.randrange(x.shape[0])] if _rows(x) else x,
    "slices": lambda n, x, r: x[tuple(slice(r.randrange(2), None, r.choice([1, 1, 2])) for _ in x.shape)],
    "backwards": lambda n, x, r: x[::-1] if x.ndim else x,
    "T": lambda n, x, r: x.T,
    "vector": lambda n, x, r: x.reshape(-1),
    "halves": lambda n, x, r: x.reshape((2, -1)) if x.size and x.size % 2 == 0 else x,
    "ravel": lambda n, x, r: n.ravel(x),
    "swapaxes": lambda n, x, r: n.swapaxes(x, 0, -1) if x.ndim else x,
    "moveaxis": lambda n, x, r: n.moveaxis(x, 0, -1) if x.ndim else x,
    "expand_dims": lambda n, x, r: n.expand_dims(x, r.randrange(x.ndim + 1)) if x.ndim < 4 else x,
    "squeeze": lambda n, x, r: n.squeeze(x),
    "flip": lambda n, x, r: n.flip(x) if x.ndim else x,
    "rot90": lambda n, x, r: n.rot90(x, r.randrange(4)) if x.ndim >= 2 else x,
    "part": lambda n, x, r: r.choice(n.array_split(x, 2)) if x.ndim else x,
    "at_least": lambda n, x, r: n.atleast_2d(x),
    "newaxis": lambda n, x, r: x[None] if x.ndim < 4 else x,
    "ellipsis": lambda n, x, r: x[..., 0:1] if x.ndim else x[...],
    "zero_d": lambda n, x, r: x[(0,) * x.ndim + (...,)] if x.size else x,
    "last_row": lambda n, x, r: list(x)[-1] if _rows(x) else x,
    "diagonal": lambda n, x, r: n.diagonal(x) if x.ndim >= 2 else x,
    "broadcast": lambda n, x, r: n.broadcast_to(x, (2, *x.shape)) if x.ndim < 3 else x,
    "itself": lambda n, x, r: n.asarray(x),
    # And what is no view.
    "copy": lambda n, x, r: x.copy(),
    "flatten": lambda n, x, r: x.flatten(),
    "plus": lambda n, x, r: +x,
    "twice": lambda n, x, r: x * 2,
    "chosen": lambda n, x, r: x[[0, -1]] if x.ndim and x.shape[0] else x,
    "astype": lambda n, x, r: x.astype(float),
    "tile": lambda n, x, r: n.tile(x, 1) if x.ndim else x,
    "roll": lambda n, x, r: n.roll(x, 0) if x.ndim else x,
    "array": lambda n, x, r: n.array(x),
}


def _element(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim and x.size:
        x[tuple(r.randrange(-k, k) for k in x.shape)] = v


def _row(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim and x.shape[0]:
        x[r.randrange(x.shape[0])] = v


def _everything(n: Any, x: Any, v: Any, r: random.Random) -> None:
    x[...] = v


def _slice(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim:
        x[r.randrange(2):] = v


def _add(n: Any, x: Any, v: Any, r: random.Random) -> None:
    x += v


def _scale(n: Any, x: Any, v: Any, r: random.Random) -> None:
    x *= 1.5


def _add_to_row(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim and x.shape[0]:
        x[0] += v


def _subtract_from_slice(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim:
        x[::2] -= v


def _repeated_positions(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim and x.shape[0]:
        x[[0, 0, -1]] += v


def _mask(n: Any, x: Any, v: Any, r: random.Random) -> None:
    x[x > 1.0] = v


def _add_by_mask(n: Any, x: Any, v: Any, r: random.Random) -> None:
    x[x > 0.5] += v


def _known_mask(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim:
        x[np.arange(x.shape[0]) % 2 == 0] = v


def _fill(n: Any, x: Any, v: Any, r: random.Random) -> None:
    x.fill(v)


def _flat(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.size:
        x.flat[r.randrange(x.size)] = v
        x.flat[::2] = [v, 1.0]


def _out(n: Any, x: Any, v: Any, r: random.Random) -> None:
    n.add(x, v, out=x)


def _recurrence(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim == 1:
        for i in range(1, x.shape[0]):
            x[i] = x[i - 1] * 0.5 + v
    elif x.ndim:
        for row in x:
            row += v


def _overlapping(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if x.ndim:
        x[:] = x[::-1]


def _through_views(n: Any, x: Any, v: Any, r: random.Random) -> None:
    if _rows(x) and x.size:
        x[0][-1] = v
        x.T[0] = v


WRITES = (_element, _row, _everything, _slice, _add, _scale, _add_to_row, _subtract_from_slice, _repeated_positions, _mask,
          _add_by_mask, _known_mask, _fill, _flat, _out, _recurrence, _overlapping, _through_views)


def random_program(n: Any, a: Any, seed: int) -> list[Any]:
    """A random sequence of views of arrays and assignments to them; all arrays that are alive at the end."""
    r = random.Random(seed)
    live = [n.zeros((3, 4)), n.ones((2, 2, 3)) * a, n.arange(6.0) * 1, n.full(5, 0.75)]
    for _ in range(r.randrange(4, 20)):
        x = r.choice(live)
        inner = random.Random(r.random())
        if r.random() < 0.5:
            y = VIEWS[r.choice(list(VIEWS))](n, x, inner)
            scalar = isinstance(y, np.generic) or getattr(y, "is_scalar", False)
            if y.ndim <= 4 and (y.ndim or not scalar):
                # Traced arrays count as row-major, where NumPy's results keep the order of their operands.
                live.append(np.array(y, order="C") if isinstance(y, np.ndarray) and not np.may_share_memory(x, y) else y)
        else:
            try:
                r.choice(WRITES)(n, x, r.choice([a, 2.0, a * 3]), inner)
            except ValueError as error:
                assert "read-only" in str(error)
        if r.random() < 0.1 and len(live) > 4:
            live.pop(r.randrange(len(live)))
    return [x * 1.0 for x in live]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 40))
def test_random_programs(seed: int) -> None:
    assert_like_numpy(lambda n, a: random_program(n, a, seed), 0.8)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1 << 40))
def test_derivatives_of_random_programs(seed: int) -> None:
    def total(n: Any, a: Any) -> Any:
        return sum(n.sum(n.cos(x)) for x in random_program(n, a, seed))

    step = 1e-6
    expected = (total(np, 0.8 + step) - total(np, 0.8 - step)) / (2 * step)
    np.testing.assert_allclose(gx.grad(lambda a: total(gnp, a))(0.8), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gx.jvp(lambda a: total(gnp, a), (0.8,), (1.0,))[1], expected, rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------------------- compiled and transformed


def _fill_by_loop(n: Any, x: Any) -> Any:
    y = n.zeros(7)
    y[0] = x[1]
    for i in range(1, 7):
        y[i] = y[i - 1] * x[i % 6] + 0.1
    tail = y[3:]
    tail *= x[0]
    table = n.zeros((2, 6))
    table[0] = x
    table[1] = table[0] * 2
    table.T[2] = y[2]
    return y, table


def test_loops_that_fill_arrays() -> None:
    assert_like_numpy(_fill_by_loop, X)
    expected = _fill_by_loop(np, X)
    for found, wanted in zip(gx.jit(lambda x: _fill_by_loop(gnp, x))(X), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    lanes = np.stack([X, X[::-1], X * 0.3])
    for found, wanted in zip(gx.vmap(lambda x: _fill_by_loop(gnp, x))(lanes),
                             zip(*[_fill_by_loop(np, x) for x in lanes], strict=True), strict=True):
        np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-14)


def test_derivatives_of_loops_that_fill_arrays() -> None:
    def total(n: Any, x: Any) -> Any:
        y, table = _fill_by_loop(n, x)
        return n.sum(n.sin(y)) + n.sum(table * table)

    step = 1e-6
    expected = [(total(np, X + step * e) - total(np, X - step * e)) / (2 * step) for e in np.eye(6)]
    found = gx.jit(gx.grad(lambda x: total(gnp, x)))(X)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    curved = gx.hessian(lambda x: total(gnp, x))(X)
    gradient = gx.grad(lambda x: total(gnp, x))
    rows = [(gradient(X + step * e) - gradient(X - step * e)) / (2 * step) for e in np.eye(6)]
    np.testing.assert_allclose(curved, rows, rtol=1e-6, atol=1e-6)


def test_a_loop_of_stores_is_one_equation() -> None:
    def fill(a: Any) -> Any:
        y = gnp.zeros(50)
        for i in range(50):
            y[i] = a * i
        return y

    names = [equation.operation.name for equation in gx.make_ir(fill)(2.0).equations]
    assert "scatter" not in names and names.count("concatenate") == 1
    np.testing.assert_array_equal(gx.jit(fill)(2.0), 2.0 * np.arange(50))


def test_masks_of_unknown_values() -> None:
    def function(n: Any, x: Any) -> Any:
        y = x.copy()
        mask = y > 0
        y[mask] += 2 * x[mask]
        y[y < 0] = -0.25
        y[mask] = n.sqrt(y[mask]) / 2
        y[mask] = -y[mask]
        y[y > 100.0] **= 2
        rows = n.ones((6, 2))
        rows[mask] *= 1.5
        return y, rows

    assert_like_numpy(function, X)
    slopes = np.where(X > 0, -0.25 * np.sqrt(3 / np.abs(X)), 0.0)  # of -sqrt(3 x) / 2, also where sqrt has no derivative
    at_zero = np.where(np.arange(6) == 4, 0.0, X)
    found = gx.jit(gx.jacrev(lambda x: function(gnp, x)[0]))(X)
    np.testing.assert_allclose(found, np.diag(slopes), rtol=1e-12)
    assert np.isfinite(gx.jacrev(lambda x: function(gnp, x)[0])(at_zero)).all()
    assert_like_numpy(lambda n, x: function(n, x)[0], at_zero)


def test_masks_of_unknown_values_cannot_do_more() -> None:
    def computes(use: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: use(x * 1)

    def other_mask(x: Any) -> Any:
        x[x > 0] = x[x < 0]
        return x

    for use in (lambda x: x[x > 0], lambda x: np.sort(x[x > 0]), lambda x: len(x[x > 0]), other_mask,
                lambda x: x[x > 0] + x[:2], lambda x: list(x[x > 0]), lambda x: x[x > 0][0], lambda x: x[x > 0].max()):
        with pytest.raises(errors.ConcretizationError, match="boolean mask"):
            gx.jit(computes(use))(X)


def test_traced_positions() -> None:
    def function(x: Any, i: Any) -> Any:
        y = gnp.zeros((3, 6))
        y[i] = x
        y[0][i] = 7.0
        y[i, -i] += 2.0
        y[:, i][1] = 3.0
        return y

    expected = np.zeros((3, 6))
    expected[1], expected[0, 1], expected[1, 1] = X, 7.0, 3.0
    expected[1, -1] += 2.0
    np.testing.assert_array_equal(gx.jit(function)(X, 1), expected)
    with pytest.raises(IndexError):
        gx.jit(function)(X, 5)


def test_loops_of_lax() -> None:
    def body(i: Any, c: Any) -> Any:
        c = c.copy()
        c[i] = c[i - 1] * 2 + i
        return c

    expected = X.copy()
    for i in range(1, 6):
        expected[i] = expected[i - 1] * 2 + i
    found = gx.jit(lambda x: lax.fori_loop(1, 6, body, x))(X)
    np.testing.assert_allclose(found, expected)
    with gx.disable_jit():
        np.testing.assert_allclose(lax.fori_loop(1, 6, body, X), expected)


def test_functions_that_write() -> None:
    def function(n: Any, x: Any) -> Any:
        a = n.zeros((3, 4))
        np.add.at(a, ([0, 0, 1], [1, 1, 2]), x[:3])
        np.subtract.at(a, ([0, 0], [1, 1]), 2.0)
        np.multiply.at(a, ([0, 0], [1, 1]), 3.0)
        np.maximum.at(a, 2, 7.0)
        np.minimum.at(a, ([2], [0]), x[0])
        n.put(a, [0, -1, 5], [9.0, 8.0])
        n.put(a, [13, -20], x[:2], mode="wrap")
        n.fill_diagonal(a, 3.5)
        b = n.zeros((2, 3))
        n.copyto(b, x[:3])
        n.copyto(b, 5.0, where=b > 1)
        n.putmask(b, b > 3, x[1:])
        n.put_along_axis(b, np.array([[1], [0]]), -1.0, axis=1)
        n.place(b, np.array([[True, False, True], [False, False, True]]), x[:2])
        c = n.ones((5, 2))
        n.fill_diagonal(c, x[1], wrap=True)
        c.put([1, 2], x[:2])
        d = x * x
        n.sqrt(d, out=d)
        n.add(d, 1.0, out=d, where=x > 0)
        e = n.zeros(3)
        n.sum(n.ones((2, 3)) * d[1], axis=0, out=e)
        f = n.zeros((2, 2, 2))
        n.fill_diagonal(f, x[2])
        g = -x
        g.sort()
        whole, part = n.zeros(6), n.zeros(6)
        n.modf(x, out=(part, whole))
        return a, b, c, d, e, f, g, whole, part

    assert_like_numpy(function, X)


def test_values_are_cast_and_broadcast_as_numpy_does() -> None:
    def function(n: Any, x: Any) -> Any:
        a = n.zeros(6, dtype=np.int32)
        a[1:4] = x[:3]
        a[0] = 2.75
        b = n.zeros((2, 3), dtype=np.float32)
        b[...] = x[:3]
        b[0] += 1
        b += x[3]
        c = n.zeros(6, dtype=bool)
        c[:] = x
        c |= x > 1
        d = n.zeros((2, 3))
        d[:, 1:] = np.array([[[1.0], [2.0]]])
        e = n.arange(3)
        e //= 2
        e <<= 3
        return a, b, c, d, e

    assert_like_numpy(function, X)


def test_scalars_are_immutable_and_zero_d_arrays_are_not() -> None:
    def function(n: Any, x: Any) -> Any:
        s = x.sum()
        t = s
        s += 1
        a = n.zeros(())
        b = a
        a += 2
        a[...] = a + x[0]
        y = x * 1
        first = y[0]
        first += 10
        view = y[0, ...]
        view += 20
        return s, t, a, b, y, first

    assert_like_numpy(function, X)


def test_complex_parts_are_views() -> None:
    def function(n: Any, x: Any) -> Any:
        z = n.zeros(6, dtype=complex)
        z.real[1:] = x[1:]
        z.imag = x
        z.imag[1] *= 2
        part = z.real
        z *= 2j
        return z, part

    assert_like_numpy(function, X)


def test_plain_buffers_may_be_filled_anew() -> None:
    def function(n: Any, x: Any) -> Any:
        buffer, total = np.zeros(6), 0.0
        for i in range(6):
            buffer[:] = 0.0
            buffer[i] = i + 1.0
            total = total + n.sum(buffer * x)
        before = x * buffer
        buffer *= 2.0
        return total, before, x * buffer

    assert_like_numpy(function, X)
    np.testing.assert_allclose(gx.grad(lambda x: function(np, x)[0])(X), np.arange(1.0, 7.0))
    inner = gx.jit(lambda x: gx.vmap(lambda a: function(np, a * X)[0])(x))
    np.testing.assert_allclose(inner(np.ones(2)), [np.arange(1.0, 7.0) @ X] * 2)


def test_large_arrays_must_stay_as_they_are() -> None:
    def function(x: Any) -> Any:
        data = np.ones(200_000)
        first = np.sum(data * x)
        data *= 2.0
        return first + np.sum(data * x)

    def at_the_end(x: Any) -> Any:
        data = np.ones((400, 500))[:, ::-1]
        first = np.sum(data * x)
        data += 1.0
        return first

    for wrong in (function, at_the_end):
        with pytest.raises(errors.ReadOnlyError, match="written into"):
            gx.grad(wrong)(1.0)


def test_many_stores_are_stores_in_native_code() -> None:
    def fill(a: Any) -> Any:
        y = gnp.zeros((40, 2))
        for i in range(40):
            y[i] = y[i - 1] * a + i
        return y

    def inside(a: Any) -> Any:
        return lax.scan(lambda c, x: (c, fill(x)), 0.0, a)[1]

    expected = np.zeros((40, 2))
    for i in range(40):
        expected[i] = expected[i - 1] * 0.5 + i
    lowered = gx.jit(fill).lower(0.5)
    names = [equation.operation.name for equation in lowered.optimized.equations]
    assert names.count("scatter") == 40 and "concatenate" not in names
    assert "guard" not in str(lowered.loops)
    np.testing.assert_allclose(gx.jit(fill)(0.5), expected)
    np.testing.assert_allclose(gx.jit(inside)(np.array([0.5, 0.5])), [expected, expected])


# ------------------------------------------------------------------------------------------------------- refusals


def _assigns(x: Any) -> Any:
    x[0] = 1.0
    return x


def _adds(x: Any) -> Any:
    x += 1.0
    return x


def _assigns_to_view(x: Any) -> Any:
    x[1:].T[0] = 1.0
    return x


def _fills(x: Any) -> Any:
    x.fill(0.0)
    return x


def _writes_out(x: Any) -> Any:
    return np.sin(x, out=x)


@pytest.mark.parametrize("function", [_assigns, _adds, _assigns_to_view, _fills, _writes_out], ids=lambda f: f.__name__)
@pytest.mark.parametrize("transform", [gx.jit, lambda f: gx.grad(lambda x: np.sum(f(x))), gx.vmap], ids=["jit", "grad", "vmap"])
def test_arguments_are_read_only(function: Callable[..., Any], transform: Callable[..., Any]) -> None:
    given_array = np.stack([X, X])
    with pytest.raises(errors.ReadOnlyError, match=r"argument(.|\n)*x\.at\[index\]\.set(.|\n)*x\.copy\(\)") as found:
        transform(function)(given_array)
    assert isinstance(found.value, ValueError) and function.__name__ in str(found.value)
    np.testing.assert_array_equal(given_array, [X, X])


def test_loops_leave_outer_arrays_alone() -> None:
    def outer(x: Any, inner: Callable[[Any, Any], Any]) -> Any:
        y = x * 1
        return lax.fori_loop(0, 3, lambda i, c: inner(y, c), y)

    def assigns_outside(y: Any, c: Any) -> Any:
        y[0] = 1.0
        return c

    def assigns_to_carry(y: Any, c: Any) -> Any:
        c[0] = 1.0
        return c

    def assigns_to_outer_view(y: Any, c: Any) -> Any:
        y[1:][0] = c[0]
        return c

    for inner, words in ((assigns_outside, "made outside"), (assigns_to_carry, "argument"),
                         (assigns_to_outer_view, "made outside")):
        with pytest.raises(errors.ReadOnlyError, match=words):
            gx.jit(lambda x, inner=inner: outer(x, inner))(X)
    with pytest.raises(errors.ReadOnlyError, match="made outside"):
        gx.jit(lambda x: gx.vmap(lambda a, y=x * 1: assigns_outside(y, a))(x))(X)


def test_outer_arrays_are_read_as_they_are_when_a_loop_is_recorded() -> None:
    def function(n: Any, x: Any) -> Any:
        y = x * 1
        view = y[1:]
        y[1] = 5.0
        inner = gx.vmap(lambda a: a * view[0] + y.sum()) if n is gnp else lambda a: a * view[0] + y.sum()
        before = inner(x)
        y[1] = 9.0
        return before, inner(x), y, view

    assert_like_numpy(function, X)


def test_pullbacks_keep_the_values_they_were_made_with() -> None:
    def function(x: Any) -> Any:
        y = x * 1
        _, pull = gx.vjp(lambda a: a * y * y, y)
        y[:] = 0.0
        return pull(np.ones(6))[0]

    np.testing.assert_allclose(gx.jit(function)(X), X * X)


def test_results_of_lax_are_no_views() -> None:
    def function(x: Any) -> Any:
        y = x * 1
        for view in (lax.reshape(y, (2, 3)), lax.reshape(y, (6,)), lax.slice(y, (1,), (3,)), lax.rev(y, (0,)),
                     lax.squeeze(y, ()), lax.dynamic_slice(y, (0,), (6,)), lax.expand_dims(y, (0,)), lax.stop_gradient(y)):
            view += 1.0
        return y

    np.testing.assert_array_equal(gx.jit(function)(X), X)


def test_closed_traces() -> None:
    kept: list[Any] = []
    gx.jit(lambda x: kept.append(x * 1) or kept.append(kept[0][1:]) or x)(X)

    def write(x: Any) -> None:
        x[0] = 1.0

    for leaked in kept:
        with pytest.raises(errors.LeakedTracerError):
            write(leaked)


@pytest.mark.parametrize("statement, error, words", [
    ("y[9] = 1.0", IndexError, "out of bounds"),
    ("y[0, 0] = 1.0", IndexError, "too many indices"),
    ("y[:] = np.ones(4)", ValueError, "broadcast"),
    ("y += np.ones((2, 6))", ValueError, "non-broadcastable output"),
    ("k += 1.5", TypeError, "same_kind"),
    ("k /= 2", TypeError, "same_kind"),
    ("y[0] = 1j", TypeError, "complex"),
    ("y[:] = 1j * x", TypeError, "complex"),
    ("np.broadcast_to(y, (2, 6))[0] = 1.0", ValueError, "read-only"),
    ("gnp.diagonal(m)[0] = 1.0", ValueError, "read-only"),
    ("np.add.at(x, 0, 1.0)", ValueError, "argument"),
    ("np.sin.at(y, 0)", TypeError, "np.sin|sin.at"),
    ("np.add(x, 1.0, out=np.zeros(6))", ValueError, "gradxform.numpy.zeros"),
    ("np.zeros(6)[0] = x[0]", ValueError, "sequence"),
    ("gnp.put(np.zeros(6), 0, x[0])", ValueError, "gradxform.numpy.zeros"),
    ("y[y > 0] = np.ones(3)", ValueError, "single value"),
])
def test_misuse(statement: str, error: type[Exception], words: str) -> None:
    def function(x: Any) -> Any:
        y = x * 1
        scope = {"x": x, "y": y, "k": gnp.zeros(6, int), "m": gnp.ones((3, 3)), "np": np, "gnp": gnp}
        exec(statement, scope)
        return y

    with pytest.raises(error, match=words):
        gx.jit(function)(X)
