"""The pass that removes the identity basis of Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from test_passes import F64, functions, names, optimised, size_of, trace, zeros

from gradxform import linear as lin
from gradxform import primitives as p
from gradxform.core import Builder, run
from gradxform.ir import check
from gradxform.primitives.shape import slice_along, unit_vectors
from gradxform.transforms import batch, jvp, vjp


def forward_jacobian(function, x):
    """(n, *output) tangents for the n unit vectors of x, as one program."""
    program = trace(function, x)
    pushed, depends = jvp(program, [True])
    assert all(depends)
    over_basis, _ = batch(pushed, [False, True], x.size)
    return _closed(over_basis, x, x.shape, x.size, len(program.outputs))


def reverse_jacobian(function, x):
    program = trace(function, x)
    pulled, depends = vjp(program, [True])
    assert all(depends)
    (result,) = program.output_types
    over_basis, _ = batch(pulled, [False, True], result.size)
    return _closed(over_basis, x, result.shape, result.size, 1)


def _closed(over_basis, x, shape, size, skipped):
    builder = Builder("jacobian")
    with builder:
        argument = builder.add_input(over_basis.inputs[0].type)
        basis = p.reshape(unit_vectors(size, F64), (size, *shape))
        results = run(over_basis, [argument, basis])[skipped:]
        program, captures = builder.finish(results)
    assert not captures
    return check(program)


def agrees(program, x, tolerance=1e-12):
    after = optimised(program)
    for found, expected in zip(run(after, [x]), run(program, [x]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    return after


X = np.linspace(0.1, 1.7, 40)
ARITHMETIC = {"add", "sub", "mul", "div", "neg", "reduce_sum", "dot_general", "sin", "cos", "exp"}


def arithmetic(program):
    """Number of elements computed with floats."""
    return sum(v.type.size for e in program.equations for v in e.outputs
               if e.operation.name in ARITHMETIC and v.type.dtype == F64)


def test_the_jacobian_of_an_elementwise_function_costs_n():
    for jacobian in (forward_jacobian, reverse_jacobian):
        after = agrees(jacobian(lambda x: p.mul(p.exp(x), p.sin(x)), X), X)
        assert arithmetic(after) < 12 * X.size
        assert names(after).count("select") == 1
    found = run(after, [X])[0]
    np.testing.assert_allclose(np.diag(found), np.exp(X) * (np.sin(X) + np.cos(X)), rtol=1e-14)


def test_the_jacobian_of_a_sum_is_dense_at_once():
    after = agrees(forward_jacobian(lambda x: lin.reduce_sum(p.sin(x), (0,)), X), X)
    assert arithmetic(after) <= 2 * X.size and "select" not in names(after)


def test_a_jacobian_of_a_jacobian_has_no_cubes():
    """Forward over forward for sum(exp(x) * x): the Hessian is diagonal."""
    x = np.linspace(0.1, 1.0, 20)
    function = lambda a: lin.reduce_sum(p.mul(p.exp(a), a), (0,))  # noqa: E731
    inner = forward_jacobian(function, x)
    pushed, _ = jvp(inner, [True])
    twice, _ = batch(pushed, [False, True], x.size)
    program = _closed(twice, x, x.shape, x.size, 1)
    after = agrees(program, x)
    assert arithmetic(after) < 6 * x.size**2
    np.testing.assert_allclose(run(after, [x])[0], np.diag(np.exp(x) * (x + 2)), rtol=1e-14)
    reverse, _ = vjp(trace(function, x), [True])
    pushed, _ = jvp(reverse, [True, False])
    over_lanes, _ = batch(pushed, [False, False, True], x.size)
    builder = Builder("hessian")
    with builder:
        argument = builder.add_input(over_lanes.inputs[0].type)
        results = run(over_lanes, [argument, np.float64(1.0), unit_vectors(x.size, F64)])
        program, _ = builder.finish([results[-1]])
    after = agrees(program, x)
    assert arithmetic(after) < 12 * x.size
    np.testing.assert_allclose(run(after, [x])[0], np.diag(np.exp(x) * (x + 2)), rtol=1e-14)


def test_a_linear_map_is_its_matrix():
    x = np.ones(4)

    def function(a):
        rows = [lin.reduce_sum(p.mul(lin.add(np.float64(i), p.iota((4,), F64, 0)), a), (0,)) for i in range(3)]
        return p.concatenate([lin.broadcast(r, (1,), ()) for r in rows], 0)

    after = agrees(forward_jacobian(function, x), x)
    np.testing.assert_array_equal(run(after, [x])[0].T, np.add.outer(np.arange(3.0), np.arange(4.0)))


@pytest.mark.parametrize("jacobian", [forward_jacobian, reverse_jacobian])
def test_products_with_the_basis_are_no_products(jacobian):
    x = np.linspace(-1, 1, 12).reshape(3, 4)

    def function(a):
        gram = p.dot_general(lin.transpose(a, (1, 0)), a, ((1,), (0,)))
        return p.dot_general(a, gram, ((1,), (0,)))

    agrees(jacobian(function, x), x, 1e-11)
    linear = jacobian(lambda a: p.dot_general(p.mul(a, 2.0), lin.full((4, 5), 3.0, F64), ((1,), (0,))), x)
    agrees(linear, x)


def test_dot_with_the_identity_is_the_matrix():
    """d(m @ x)/dx, where m is a computed matrix."""
    x = np.linspace(0.5, 1.5, 6)

    def pushed(a):
        matrix = p.sin(lin.broadcast(a, (4, 6), (1,)))
        basis = unit_vectors(6, F64)
        return [p.dot_general(matrix, basis, ((1,), (1,))), p.dot_general(basis, matrix, ((1,), (1,))),
                p.dot_general(p.mul(basis, lin.broadcast(a, (6, 6), (1,))), matrix, ((1,), (1,)))]

    after = agrees(trace(pushed, x), x)
    assert "dot_general" not in names(after)


def test_parameters_of_a_model_become_columns():
    data = np.linspace(0.0, 3.0, 50)

    def model(b):
        b1, b2, b3, b4 = (p.reshape(slice_along(b, 0, i, i + 1), ()) for i in range(4))
        t = p.mul(p.iota((50,), F64, 0), 3.0 / 49.0)
        return lin.add(p.mul(b1, p.exp(p.neg(p.mul(b2, t)))), p.div(b3, lin.add(p.mul(b4, t), 1.0)))

    b = np.array([1.0, 0.7, -0.4, 0.2])
    after = agrees(forward_jacobian(model, b), b)
    assert arithmetic(after) < 20 * data.size
    assert "unit_vectors" not in names(after)
    e, d = np.exp(-0.7 * data), 1 + 0.2 * data
    np.testing.assert_allclose(run(after, [b])[0], [e, -data * e, 1 / d, 0.4 * data / d**2], rtol=1e-12, atol=1e-15)


def test_off_diagonal_infinities_stay_out():
    x = np.array([0.0, 1.0])
    after = optimised(forward_jacobian(lambda a: p.sqrt(a), x))
    np.testing.assert_array_equal(run(after, [x])[0], [[np.inf, 0.0], [0.0, 0.5]])


STENCILS = {
    "differences": lambda x: p.sub(slice_along(x, 0, 1, 40), slice_along(x, 0, 0, 39)),
    "second differences squared": lambda x: p.square(lin.add(
        p.sub(slice_along(x, 0, 2, 40), p.mul(2.0, slice_along(x, 0, 1, 39))), slice_along(x, 0, 0, 38))),
    "every third": lambda x: p.sin(slice_along(x, 0, 1, 40, 3)),
    "reversed": lambda x: p.mul(p.reverse(x, (0,)), x),
    "in two axes": lambda x: p.exp(lin.transpose(p.reshape(x, (5, 8)), (1, 0))),
    "row sums": lambda x: lin.reduce_sum(p.square(p.reshape(x, (5, 8))), (1,)),
    "column sums": lambda x: lin.reduce_sum(p.square(p.reshape(x, (5, 8))), (0,)),
    "outer": lambda x: p.mul(
        lin.broadcast(x, (3, 40), (1,)), lin.broadcast(p.exp(slice_along(x, 0, 0, 3)), (3, 40), (0,))),
    "joined": lambda x: p.concatenate(
        [p.sin(slice_along(x, 0, 20, 40)), zeros((3,)), p.exp(slice_along(x, 0, 0, 20))], 0),
    "padded": lambda x: p.mul(p.pad(slice_along(x, 0, 3, 23), 0.0, (5,), (15,), (0,)), x),
    "dilated": lambda x: p.mul(p.pad(slice_along(x, 0, 3, 23), 0.0, (0,), (1,), (1,)), x),
    "chosen": lambda x: p.select(p.less(x, 1.0), p.sin(x), 0.0),
    "one element": lambda x: p.mul(slice_along(x, 0, 7, 8), 2.0),
    "of a scalar": lambda x: p.mul(p.reshape(slice_along(x, 0, 7, 8), ()), x),
    "running": lambda x: p.cumsum(p.sin(x), 0),
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", STENCILS)
@pytest.mark.parametrize("jacobian", [forward_jacobian, reverse_jacobian])
def test_stencils(name, jacobian):
    after = agrees(jacobian(STENCILS[name], X), X)
    if jacobian is forward_jacobian and name not in ("running", "dilated"):
        assert arithmetic(after) < X.size * X.size * (4 if name == "outer" else 2), after


@given(functions())
def test_random_jacobians_keep_their_values(function):
    x = np.random.default_rng(6).uniform(-0.5, 0.5, (3, 3))

    def closed(a):
        return p.tanh(lin.add(function(a, p.sin(a))[-1], a))

    agrees(forward_jacobian(closed, x), x, 1e-9)
    agrees(reverse_jacobian(closed, x), x, 1e-9)


def _data(columns=slice(0, 6)):
    """A matrix of five rows, computed within the program."""
    shape = 5, columns.stop - columns.start
    return p.sin(lin.add(p.mul(p.iota(shape, F64, 0), 1.3), p.iota(shape, F64, 1)))


OF_MATRICES = {
    "its rows are summed over": lambda w: p.dot_general(_data(), w, ((1,), (0,))),
    "its columns are summed over": lambda w: p.dot_general(lin.transpose(w, (1, 0)), _data(), ((1,), (1,))),
    "some rows": lambda w: p.dot_general(_data(slice(0, 3)), slice_along(w, 0, 2, 5), ((1,), (0,))),
    "some columns": lambda w: p.dot_general(_data(), slice_along(w, 1, 1, 3), ((1,), (0,))),
    "scaled": lambda w: p.dot_general(_data(), p.mul(w, p.sin(w)), ((1,), (0,))),
    "turned": lambda w: p.dot_general(_data(), p.reverse(w, (1,)), ((1,), (0,))),
    "sum of rows": lambda w: lin.reduce_sum(p.sin(w), (0,)),
    "sum of columns": lambda w: lin.reduce_sum(p.sin(w), (1,)),
    "transposed": lambda w: lin.transpose(p.dot_general(w, _data(), ((0,), (1,))), (1, 0)),
    "in another shape": lambda w: p.reshape(p.dot_general(_data(), w, ((1,), (0,))), (2, 10)),
    "shares": lambda w: _shares(p.dot_general(_data(), w, ((1,), (0,)))),
    "twice": lambda w: p.dot_general(p.tanh(p.dot_general(_data(), w, ((1,), (0,)))), w, ((1,), (1,))),
    "beside itself": lambda w: lin.add(p.dot_general(_data(), w, ((1,), (0,))), slice_along(w, 0, 0, 5)),
}


def _shares(x):
    powers = p.exp(x)
    return p.div(powers, lin.broadcast(lin.reduce_sum(powers, (1,)), powers.type.shape, (0,)))


@pytest.mark.parametrize("name", OF_MATRICES)
@pytest.mark.parametrize("jacobian", [forward_jacobian, reverse_jacobian])
def test_jacobians_of_matrices(name, jacobian):
    """A sum over one axis of a matrix leaves each lane one element along the other: nothing is multiplied with the basis."""
    w = np.random.default_rng(8).uniform(0.2, 0.9, (6, 4))
    after = agrees(jacobian(OF_MATRICES[name], w), w)
    if jacobian is forward_jacobian and name not in ("shares", "twice", "beside itself"):
        assert arithmetic(after) < after.output_types[0].size, after


def test_three_factors_of_the_lanes():
    """Each sum takes a digit of the lanes away, until there is one lane left for each element."""
    w = np.random.default_rng(9).uniform(0.2, 0.9, (3, 4, 5))
    agrees(forward_jacobian(lambda w: lin.reduce_sum(p.sin(w), (0,)), w), w)
    agrees(forward_jacobian(lambda w: lin.reduce_sum(lin.reduce_sum(p.sin(w), (0,)), (0,)), w), w)
    agrees(forward_jacobian(lambda w: lin.reduce_sum(p.sin(w), (1,)), w), w)
    agrees(forward_jacobian(lambda w: lin.reduce_sum(p.mul(lin.reduce_sum(p.sin(w), (2,)), 2.0), (0,)), w), w)


def test_size_does_not_grow_where_there_is_nothing_to_gain():
    program = forward_jacobian(lambda x: lin.broadcast(lin.reduce_sum(x, (0,)), (40,), ()), X)
    after = agrees(program, X)
    assert size_of(after) <= size_of(program)
