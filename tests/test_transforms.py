"""The transforms as users call them: arguments, pytrees, options, composition, control flow, errors."""

from __future__ import annotations

import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import errors
from gradxform.ir import Program, check

X = np.array([0.5, -1.0, 2.0])
A = np.arange(6.0).reshape(2, 3) / 3 - 0.7
Point = namedtuple("Point", ["x", "y"])


@gx.tree.register_dataclass
@dataclass
class Line:
    slope: Any
    offset: Any


@dataclass
class _Labelled:
    weights: Any
    label: str


Labelled = gx.tree.register_dataclass(_Labelled, meta_fields=("label",))


class Pair:
    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


gx.tree.register(Pair, lambda p: ((p.first, p.second), None), lambda _, children: Pair(*children))


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Two pytrees of one structure with equal shapes, dtypes and values."""
    assert gx.tree.structure(found) == gx.tree.structure(expected)
    for a, b in zip(gx.tree.leaves(found), gx.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape, (a, b)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def own_line(error: pytest.ExceptionInfo[Any]) -> str:
    """The message, which must name a line of this file."""
    message = str(error.value)
    assert re.search(r"in user code: \S*test_transforms\.py:\d+", message), message
    return message


# ------------------------------------------------------------------------------------------------------------ argnums


def weighted(x: Any, y: Any, z: Any = 1.0) -> Any:
    return x * x * y + 3.0 * z


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (0, 12.0),
        (1, 4.0),
        (-1, 3.0),
        (-3, 12.0),
        ((0,), (12.0,)),
        ((1, 0), (4.0, 12.0)),
        ([2, 0], (3.0, 12.0)),
        ((-1, 0), (3.0, 12.0)),
        (np.int64(1), 4.0),
        ((), ()),
    ],
)
def test_argnums(argnums: Any, expected: Any) -> None:
    expected = gx.tree.map_leaves(np.float64, expected)
    close(gx.grad(weighted, argnums)(2.0, 3.0, 4.0), expected)
    value, gradient = gx.value_and_grad(weighted, argnums=argnums)(2.0, 3.0, 4.0)
    close((value, gradient), (np.float64(24.0), expected))
    close(gx.jacfwd(weighted, argnums)(2.0, 3.0, 4.0), expected)
    close(gx.jacrev(weighted, argnums)(2.0, 3.0, 4.0), expected)


def test_keyword_arguments_are_passed_on_and_not_differentiated() -> None:
    assert gx.grad(weighted)(2.0, 3.0, z=5.0) == 12.0
    assert gx.grad(weighted)(2.0, y=7.0) == 28.0
    assert gx.value_and_grad(weighted)(2.0, y=np.float64(7.0), z=2)[0] == 34.0


@pytest.mark.parametrize("argnums", [3, -4, (0, 5)])
@pytest.mark.parametrize("transform", [gx.grad, gx.value_and_grad, gx.jacfwd, gx.jacrev, gx.hessian])
def test_argnums_out_of_range(transform: Callable[..., Any], argnums: Any) -> None:
    with pytest.raises(ValueError, match="argnums") as error:
        transform(weighted, argnums)(2.0, 3.0, 4.0)
    message = own_line(error)
    assert "weighted" in message and "3 positional" in message


def test_argnums_of_a_keyword_argument_or_given_twice() -> None:
    with pytest.raises(errors.ArgumentError, match="pass the argument by position"):
        gx.grad(weighted, 1)(2.0, y=3.0)
    with pytest.raises(errors.ArgumentError, match="twice"):
        gx.grad(weighted, (0, -3))(2.0, 3.0, 4.0)


@pytest.mark.parametrize("argnums", [1.5, "x", None])
def test_argnums_of_a_wrong_type(argnums: Any) -> None:
    with pytest.raises(TypeError):
        gx.grad(weighted, argnums)(2.0, 3.0)


# ------------------------------------------------------------------------------------------------------------ pytrees


TREES: list[Any] = [
    {"b": X, "a": A},
    [X, (A, 2.0)],
    (X, None, {"k": [A]}),
    Point(X, A),
    Line(X, A),
    Pair(X, Line(A, 0.5)),
    OrderedDict([("z", X), ("a", A)]),
    {"deep": {"er": [Point(X, (A,))]}},
    [],
    None,
    {},
]


def energy(tree: Any) -> Any:
    return sum((np.sum(np.sin(x) * (i + 1)) for i, x in enumerate(gx.tree.leaves(tree))), 0.0 * np.float64(1.0))


@pytest.mark.parametrize("tree", TREES, ids=lambda t: type(t).__name__)
def test_gradient_has_the_structure_of_the_argument(tree: Any) -> None:
    if not gx.tree.leaves(tree):
        tree = [tree, X]
    leaves, treedef = gx.tree.flatten(tree)
    expected = gx.tree.unflatten(treedef, [np.cos(x) * (i + 1) for i, x in enumerate(leaves)])
    close(gx.grad(energy)(tree), expected)
    close(gx.jacrev(energy)(tree), expected)
    close(gx.jacfwd(energy)(tree), expected)
    close(gx.jit(gx.grad(energy))(tree), expected)
    tangents = gx.tree.unflatten(treedef, [np.ones_like(x) for x in leaves])
    _, tangent = gx.jvp(energy, (tree,), (tangents,))
    close(tangent, np.float64(sum(np.sum(x) for x in gx.tree.leaves(expected))))
    assert type(gx.grad(energy)(tree)) is type(tree)


def test_output_trees() -> None:
    def f(x: Any) -> Any:
        return {"point": Point(x * 2.0, [x * x, None]), "line": Line(x + 1.0, 3.0), "pair": Pair(x, x)}

    ones = np.ones(3)
    value, tangent = gx.jvp(f, (X,), (ones,))
    assert isinstance(value["point"], Point) and isinstance(value["line"], Line) and isinstance(value["pair"], Pair)
    close(tangent, {"point": Point(2 * ones, [2 * X, None]), "line": Line(ones, np.float64(0.0)), "pair": Pair(ones, ones)})
    _, pull = gx.vjp(f, X)
    (found,) = pull({"point": Point(ones, [ones, None]), "line": Line(ones, 7.0), "pair": Pair(ones, ones)})
    close(found, 2 + 2 * X + 3.0)
    jacobian = gx.jacfwd(f)(X)
    close(jacobian["point"].y[0], np.diag(2 * X))
    close(jacobian["line"].offset, np.zeros(3))
    close(gx.jacrev(f)(X), jacobian)
    compiled = gx.jit(f)(X)
    close(compiled, f(X))
    close(gx.vmap(f)(X), f(X) | {"line": Line(X + 1.0, np.full(3, 3.0))})


def test_jacobian_of_tree_by_tree() -> None:
    def f(p: Any) -> Any:
        return [p["a"] * p["b"], np.sum(p["b"])]

    found = gx.jacrev(f)({"a": X, "b": 2 * X})
    expected = [{"a": np.diag(2 * X), "b": np.diag(X)}, {"a": np.zeros(3), "b": np.ones(3)}]
    close(found, expected)
    close(gx.jacfwd(f)({"a": X, "b": 2 * X}), expected)
    hessian = gx.hessian(lambda p: np.sum(p["a"] * p["b"] ** 2))({"a": X, "b": 2 * X})
    close(hessian, {"a": {"a": np.zeros((3, 3)), "b": np.diag(4 * X)}, "b": {"a": np.diag(4 * X), "b": np.diag(2 * X)}})


def test_static_fields_of_dataclasses() -> None:
    def f(model: Any, x: Any) -> Any:
        return np.sum(model.weights * x) if model.label == "plain" else np.sum(model.weights * x * x)

    for label, expected in (("plain", X), ("square", X * X)):
        found = gx.grad(f)(Labelled(X, label), X)
        assert found.label == label
        close(found.weights, expected)
        close(gx.jit(gx.grad(f))(Labelled(X, label), X).weights, expected)


def test_dict_keys_are_taken_in_sorted_order() -> None:
    a, b = {"x": 1.0, "y": 2.0}, {"y": 2.0, "x": 1.0}
    f = gx.jit(lambda d: d["x"] - 3.0 * d["y"])
    assert f(a) == f(b) == -5.0
    assert gx.grad(lambda d: d["x"] - 3.0 * d["y"])(b) == {"x": 1.0, "y": -3.0}


# ----------------------------------------------------------------------------------------------------------- has_aux


def test_has_aux() -> None:
    def f(x: Any) -> Any:
        y = x * x
        return np.sum(y), {"y": y, "name": "text", "number": 7, "none": None, "object": (re, [y[0]])}

    gradient, auxiliary = gx.grad(f, has_aux=True)(X)
    close(gradient, 2 * X)
    assert auxiliary["name"] == "text" and auxiliary["number"] == 7 and auxiliary["none"] is None
    assert auxiliary["object"][0] is re
    close(auxiliary["y"], X * X)
    assert type(auxiliary["y"]) is np.ndarray and isinstance(auxiliary["object"][1][0], np.floating)
    (value, other), gradient = gx.value_and_grad(f, has_aux=True)(X)
    close(value, np.float64(5.25))
    close(other["y"], X * X)
    value, tangent, other = gx.jvp(f, (X,), (np.ones(3),), has_aux=True)
    close(tangent, np.float64(3.0))
    close(other["y"], X * X)
    value, pull, other = gx.vjp(f, X, has_aux=True)
    close(pull(1.0), (2 * X,))
    assert other["name"] == "text"
    value, push, other = gx.linearize(f, X, has_aux=True)
    close(push(np.ones(3)), np.float64(3.0))
    for transform in (gx.jacfwd, gx.jacrev):
        jacobian, other = transform(f, has_aux=True)(X)
        close(jacobian, 2 * X)
        close(other["y"], X * X)
    hessian, other = gx.hessian(f, has_aux=True)(X)
    close(hessian, 2 * np.eye(3))
    close(other["y"], X * X)


def test_has_aux_of_an_undifferentiated_integer_result() -> None:
    gradient, count = gx.grad(lambda x: (np.sum(x), np.sum(x > 0)), has_aux=True)(X)
    close(gradient, np.ones(3))
    assert count == 2


@pytest.mark.parametrize("result", [lambda x: x, lambda x: (x, x, x), lambda x: [x, x]])
def test_has_aux_needs_a_pair(result: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="pair"):
        gx.grad(lambda x: result(np.sum(x)), has_aux=True)(X)


# ------------------------------------------------------------------------------------------------------------ jvp, vjp


def test_jvp_and_vjp_of_several_arguments() -> None:
    def f(x: Any, y: Any) -> Any:
        return x * y, np.sum(x)

    value, tangent = gx.jvp(f, (X, 2.0), [np.ones(3), 0.5])
    close(value, (2 * X, np.float64(1.5)))
    close(tangent, (2.0 + 0.5 * X, np.float64(3.0)))
    value, pull = gx.vjp(f, X, 2.0)
    close(pull((np.ones(3), 10.0)), (np.full(3, 12.0), np.float64(1.5)))
    close(pull((np.ones(3), 0.0)), (np.full(3, 2.0), np.float64(1.5)))


def test_vjp_does_its_forward_work_once() -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(1)
        return np.sin(x)

    _, pull = gx.vjp(f, X)
    for weight in (1.0, 2.0):
        close(pull(np.full(3, weight)), (weight * np.cos(X),))
    assert len(calls) == 1


def test_what_is_said_twice_is_pulled_back_once() -> None:
    """Cotangents of equal products are added up before they are multiplied."""
    x, y = np.random.default_rng(4).normal(size=(2, 5, 5))

    def loss(w: Any) -> Any:
        return np.sum(np.exp(x @ w) - y * (x @ w)) + np.sum(np.tanh(w[1:])) * np.sum(w[1:])

    w = np.linspace(-0.3, 0.4, 25).reshape(5, 5)
    slope = x.T @ (np.exp(x @ w) - y)
    slope[1:] += (1 - np.tanh(w[1:]) ** 2) * w[1:].sum() + np.tanh(w[1:]).sum()
    close(gx.grad(loss)(w), slope)
    program = gx.make_ir(gx.grad(loss))(w)
    assert str(program).count("dot_general") == 3


def test_what_is_said_twice_keeps_its_signs() -> None:
    """Equal numbers as parameters or operands need not be the same."""
    close(gx.grad(lambda x: np.sum(np.copysign(x, 1.0) + np.copysign(x, -1.0)))(X), np.zeros(3))
    close(gx.grad(lambda x: np.sum(x * 0.0 + x * -0.0 + x * 1.0 + x * 1.0))(X), np.full(3, 2.0))


def test_linearize() -> None:
    value, push = gx.linearize(lambda x, y: np.sin(x) * y, X, 3.0)
    close(value, np.sin(X) * 3.0)
    close(push(np.ones(3), 0.0), 3 * np.cos(X))
    close(push(np.zeros(3), 1.0), np.sin(X))
    close(gx.jit(push)(np.ones(3), 0.0), 3 * np.cos(X))
    close(gx.vmap(push, in_axes=(0, None))(np.eye(3), 0.0), np.diag(3 * np.cos(X)))


def test_linear_transpose() -> None:
    M = np.arange(6.0).reshape(2, 3)
    pull = gx.linear_transpose(lambda x: M @ x, gx.ShapeDType((3,), np.float64))
    close(pull(np.array([1.0, 2.0])), (M.T @ np.array([1.0, 2.0]),))
    pull = gx.linear_transpose(lambda p: (p["a"] + 2.0 * p["b"], p["b"][::-1]), {"a": X, "b": X})
    close(pull((X, np.ones(3))), ({"a": X, "b": 2 * X + 1.0},))
    twice = gx.linear_transpose(lambda ct: gx.linear_transpose(lambda x: M @ x, X)(ct)[0], np.ones(2))
    close(twice(X), (M @ X,))


@pytest.mark.parametrize("f", [lambda x: x * x, np.sin, lambda x: x + 1.0, lambda x: np.sum(x) / x])
def test_linear_transpose_of_what_is_not_linear(f: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.NotDifferentiableError, match="linear"):
        gx.linear_transpose(f, X)(X)


def test_wrong_tangents_and_cotangents() -> None:
    with pytest.raises(ValueError, match="tangent"):
        gx.jvp(np.sin, (X,), (X, X))
    with pytest.raises(ValueError, match=r"f64\[3\]") as error:
        gx.jvp(np.sin, (X,), (np.ones(2),))
    own_line(error)
    with pytest.raises(ValueError, match="f32") as error:
        gx.jvp(np.sin, (X,), (np.ones(3, np.float32),))
    with pytest.raises(errors.TreeError, match="structure") as error:
        gx.jvp(lambda p: p["a"], ({"a": X},), ([X],))
    own_line(error)
    with pytest.raises(TypeError, match="tuples or lists"):
        gx.jvp(np.sin, X, X)
    _, pull = gx.vjp(lambda x: (x, x), X)
    with pytest.raises(errors.TreeError, match="structure"):
        pull(X)
    with pytest.raises(ValueError, match="cotangent"):
        pull((X, 1.0))
    _, push = gx.linearize(np.sin, X)
    with pytest.raises(errors.TreeError, match="1 tangent"):
        push(X, X)


def test_integer_primals() -> None:
    value, tangent = gx.jvp(lambda x, n: (x * n, n + 1), (2.0, 3), (1.0, np.zeros((), gx.float0)))
    assert value == (6.0, 4)
    assert tangent[0] == 3.0 and tangent[1].dtype == gx.float0 and tangent[1].shape == ()
    value, pull = gx.vjp(lambda x, n: x * n, X, np.arange(3))
    for_x, for_n = pull(np.ones(3))
    close(for_x, np.arange(3.0))
    assert for_n.dtype == gx.float0 and for_n.shape == (3,)


def test_float32_stays_float32() -> None:
    x = X.astype(np.float32)
    close(gx.grad(lambda x: np.sum(x * 2.0 + 1))(x), np.full(3, 2, np.float32))
    value, tangent = gx.jvp(lambda x: x * x, (x,), (x,))
    assert value.dtype == tangent.dtype == np.float32
    gradient = gx.grad(lambda x: np.sum(x.astype(np.float64) ** 2))(x)
    close(gradient, 2 * x)
    assert gx.grad(lambda x: x * 2)(np.float32(1)).dtype == np.float32


def test_hvp_and_hessian() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(x**3) * y

    close(gx.hvp(f)(X, 2.0, np.array([1.0, 0.0, 2.0])), 12 * X * np.array([1.0, 0.0, 2.0]))
    close(gx.hvp(f, argnums=1)(X, 2.0, 1.0), np.float64(0.0))
    close(gx.hessian(f)(X, 2.0), np.diag(12 * X))
    block = gx.hessian(f, argnums=(0, 1))(X, 2.0)
    close(block, ((np.diag(12 * X), 3 * X**2), (3 * X**2, np.float64(0.0))))
    close(gx.jacrev(gx.jacrev(f))(X, 2.0), np.diag(12 * X))
    close(gx.jacfwd(gx.jacfwd(f))(X, 2.0), np.diag(12 * X))
    close(gx.jacrev(gx.jacfwd(f))(X, 2.0), np.diag(12 * X))
    with pytest.raises(ValueError, match="vector"):
        gx.hvp(lambda x: x)(1.0)


def test_jacobians_of_arrays_of_higher_rank() -> None:
    def f(a: Any) -> Any:
        return a.T @ a

    expected = np.zeros((3, 3, 2, 3))
    for i in range(3):
        for j in range(3):
            for k in range(2):
                expected[i, j, k, i] += A[k, j]
                expected[i, j, k, j] += A[k, i]
    for transform in (gx.jacfwd, gx.jacrev):
        close(transform(f)(A), expected)
        close(gx.jit(transform(f))(A), expected)
    empty = gx.jacfwd(lambda x: x * 2.0)(np.zeros((0, 2)))
    assert empty.shape == (0, 2, 0, 2)
    assert gx.jacrev(lambda x: x * 2.0)(np.zeros((0, 2))).shape == (0, 2, 0, 2)


# ------------------------------------------------------------------------------------------------------ unconnected etc.


def test_unconnected() -> None:
    def f(p: Any, q: Any) -> Any:
        return np.sum(p["a"]) * 2.0

    arguments = ({"a": X, "b": A}, 1.0)
    close(gx.grad(f, (0, 1))(*arguments), ({"a": np.full(3, 2.0), "b": np.zeros((2, 3))}, np.float64(0.0)))
    found = gx.grad(f, (0, 1), unconnected="none")(*arguments)
    assert found[0]["b"] is None and found[1] is None
    close(found[0]["a"], np.full(3, 2.0))
    with pytest.raises(ValueError, match="does not depend") as error:
        gx.grad(f, (0, 1), unconnected="raise")(*arguments)
    assert "f64[2,3]" in own_line(error)
    with pytest.raises(ValueError, match="'zero', 'none', 'raise'"):
        gx.grad(f, unconnected="nothing")
    # A constant function, and one that reads only the type of its argument.
    assert gx.grad(lambda x: 3.0)(1.0) == 0.0
    assert gx.grad(lambda x: 3.0, unconnected="none")(1.0) is None
    close(gx.grad(lambda x: np.sum(np.zeros_like(x)))(X), np.zeros(3))
    # A multiplication by zero is a connection.
    close(gx.grad(lambda x: np.sum(x * 0.0), unconnected="raise")(X), np.zeros(3))


def test_stop_gradient_counts_as_unconnected() -> None:
    assert gx.grad(lambda x: gx.stop_gradient(x) * 2.0, unconnected="none")(3.0) is None
    assert gx.grad(lambda x: gx.stop_gradient({"a": x})["a"] * x)(3.0) == 3.0
    assert gx.stop_gradient(X) is X


def test_allow_int() -> None:
    with pytest.raises(TypeError, match="float") as error:
        gx.grad(lambda n: n * 2.0)(3)
    assert "allow_int" in own_line(error) and "i64" in str(error.value)
    gradient = gx.grad(lambda p: np.sum(p["x"] * p["n"]), allow_int=True)({"x": X, "n": np.arange(3)})
    close(gradient["x"], np.arange(3.0))
    assert gradient["n"].dtype == gx.float0 and gradient["n"].shape == (3,)
    assert gx.jacrev(lambda n: n * X, allow_int=True)(2).dtype == gx.float0
    with pytest.raises(TypeError, match="bool"):
        gx.grad(lambda b: np.where(b, 1.0, 2.0))(True)


def test_holomorphic_needs_complex_arguments() -> None:
    for transform in (gx.grad, gx.value_and_grad, gx.jacfwd, gx.jacrev, gx.hessian):
        with pytest.raises(TypeError, match="holomorphic=True needs arguments of a complex dtype"):
            transform(np.sin, holomorphic=True)(1.0)


# ---------------------------------------------------------------------------------------------------------------- vmap


def test_vmap_in_and_out_axes() -> None:
    f = lambda x, y: x * y  # noqa: E731
    B = np.arange(6.0).reshape(3, 2)
    close(gx.vmap(f)(A, A), A * A)
    close(gx.vmap(f, in_axes=(0, None))(A, X), A * X)
    close(gx.vmap(f, in_axes=(1, 0))(A, B), (A.T * B))
    close(gx.vmap(f, in_axes=(-1, 0), out_axes=1)(A, B), (A.T * B).T)
    close(gx.vmap(f, in_axes=(-1, 0), out_axes=-1)(A, B), (A.T * B).T)
    close(gx.vmap(f, in_axes=[0, None])(A, X), A * X)
    close(gx.vmap(np.sum, in_axes=1)(A), A.sum(0))
    close(gx.vmap(lambda x: (x, np.sum(x)), out_axes=(1, 0))(A), (A.T, A.sum(1)))
    close(gx.vmap(lambda x, y: (x, y), in_axes=(0, None), out_axes=(0, None))(A, X), (A, X))
    close(gx.vmap(lambda x, y: (x, y), in_axes=(0, None))(A, X), (A, np.stack([X, X])))


def test_vmap_prefixes() -> None:
    params = {"w": A, "b": np.array([1.0, 2.0])}
    f = lambda p, x: p["w"] * x + p["b"]  # noqa: E731
    close(gx.vmap(f, in_axes=(0, None))(params, X), A * X + np.array([[1.0], [2.0]]))
    close(gx.vmap(f, in_axes=({"w": 0, "b": None}, None))(params | {"b": X}, X), A * X + X)
    close(gx.vmap(f, in_axes=({"w": 1, "b": None}, 0))(params, X), A.T * X[:, None] + np.array([1.0, 2.0]))
    close(gx.vmap(lambda p: p.x + p.y, in_axes=(Point(0, None),))(Point(A, X)), A + X)
    close(
        gx.vmap(lambda x: {"a": x, "b": (x, np.float64(1.0))}, out_axes={"a": 1, "b": (0, None)})(A),
        {"a": A.T, "b": (A, np.float64(1.0))},
    )


def test_vmap_keywords_are_batched_along_axis_0() -> None:
    close(gx.vmap(lambda x, y: x * y)(A, y=A), A * A)


def test_vmap_axis_size() -> None:
    close(gx.vmap(lambda x: x * 2.0, in_axes=None, axis_size=4)(1.5), np.full(4, 3.0))
    close(gx.vmap(lambda: 7.0, in_axes=(), axis_size=2)(), np.full(2, 7.0))
    close(gx.vmap(lambda x: x, axis_size=2)(A), A)
    assert gx.vmap(lambda x: x * 2.0)(np.zeros((0, 3))).shape == (0, 3)


def test_vmap_errors() -> None:
    with pytest.raises(ValueError, match="batch sizes differ") as error:
        gx.vmap(np.add)(A, np.ones((3, 3)))
    assert "2" in own_line(error) and "3" in own_line(error)
    with pytest.raises(ValueError, match="batch sizes differ"):
        gx.vmap(np.sin, axis_size=5)(A)
    with pytest.raises(np.exceptions.AxisError, match="in_axes") as error:
        gx.vmap(np.sin, in_axes=2)(A)
    own_line(error)
    with pytest.raises(np.exceptions.AxisError, match="0 axes"):
        gx.vmap(np.add)(A, 1.0)
    with pytest.raises(ValueError, match="entries"):
        gx.vmap(np.add, in_axes=(0,))(A, A)
    with pytest.raises(ValueError, match="nothing is batched"):
        gx.vmap(np.sin, in_axes=None)(A)
    with pytest.raises(errors.TreeError, match="prefix"):
        gx.vmap(lambda p: p["a"], in_axes=({"b": 0},))({"a": A})
    with pytest.raises(TypeError, match="ints or None"):
        gx.vmap(np.sin, in_axes=0.5)(A)
    with pytest.raises(ValueError, match="differs between lanes"):
        gx.vmap(np.sin, out_axes=None)(A)
    with pytest.raises(np.exceptions.AxisError, match="out_axes"):
        gx.vmap(np.sum, out_axes=1)(A)
    with pytest.raises(errors.TreeError, match="out_axes"):
        gx.vmap(lambda x: (x, x), out_axes=(0, 0, 0))(A)


def test_nested_vmap() -> None:
    outer = gx.vmap(gx.vmap(lambda x, y: x * y, in_axes=(None, 0)), in_axes=(0, None))
    close(outer(X, X), np.outer(X, X))
    close(gx.vmap(gx.vmap(np.sin))(A), np.sin(A))
    close(gx.vmap(lambda row: gx.vmap(lambda x: x - np.mean(row))(row))(A), A - A.mean(1, keepdims=True))
    close(gx.vmap(lambda m: m @ m)(np.stack([np.eye(2), 2 * np.eye(2)])), np.stack([np.eye(2), 4 * np.eye(2)]))


# ---------------------------------------------------------------------------------------------------------- decorators


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    @gx.jit
    def fixed(x: Any) -> Any:
        return x * 5.0

    def loss(self, x: Any) -> Any:
        return np.sum(x * x) * self.scale

    def __call__(self, x: Any) -> Any:
        return self.loss(x)


def test_decorators() -> None:
    @gx.grad
    def first(x: Any) -> Any:
        """Documented."""
        return x**2

    @gx.grad(argnums=1)
    def second(x: Any, y: Any) -> Any:
        return x * y

    @gx.vmap(in_axes=(0, None))
    def third(x: Any, y: Any) -> Any:
        return x + y

    @gx.jit(static_argnames="n")
    def fourth(x: Any, n: int) -> Any:
        return x**n

    @gx.value_and_grad(has_aux=True)
    def fifth(x: Any) -> Any:
        return x * x, "aux"

    assert first(3.0) == 6.0 and "first" in first.__name__ and first.__doc__ == "Documented."
    assert second(3.0, 4.0) == 3.0
    close(third(X, 1.0), X + 1)
    assert fourth(3.0, n=2) == 9.0
    assert fifth(2.0) == ((4.0, "aux"), 4.0)
    model = Model(2.0)
    close(gx.grad(model.loss)(X), 4 * X)
    close(gx.grad(model)(X), 4 * X)
    close(gx.jit(model.loss)(X), np.float64(10.5))
    close(gx.jit(gx.grad(model))(X), 4 * X)
    assert Model.fixed(2.0) == 10.0
    from functools import partial

    close(gx.grad(partial(weighted, y=2.0))(3.0), np.float64(12.0))
    close(gx.jit(partial(weighted, 3.0))(2.0), np.float64(21.0))
    assert gx.grad(np.sin)(0.0) == 1.0
    assert gx.vmap(np.sin).__name__


@pytest.mark.parametrize(
    "transform", [gx.grad, gx.value_and_grad, gx.jacfwd, gx.jacrev, gx.hessian, gx.vmap, gx.jit, gx.make_ir, gx.hvp]
)
def test_not_a_function(transform: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"function.*3\.0"):
        transform(3.0)


# --------------------------------------------------------------------------------------------------------- composition


def test_derivatives_of_all_orders() -> None:
    f = np.sin
    expected = [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos]
    for derivative in expected:
        f = gx.grad(f)
        close(f(0.7), np.float64(derivative(0.7)))
    third = gx.grad(gx.grad(gx.grad(lambda x: x**5)))
    close(gx.jit(third)(2.0), np.float64(240.0))
    close(gx.vmap(third)(X), 60 * X**2)
    forward = lambda f: lambda x: gx.jvp(f, (x,), (1.0,))[1]  # noqa: E731
    close(forward(forward(forward(lambda x: x**5)))(2.0), np.float64(240.0))
    close(forward(gx.grad(forward(lambda x: x**5)))(2.0), np.float64(240.0))


def test_perturbation_confusion() -> None:
    assert gx.grad(lambda x: x * gx.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert gx.grad(lambda x: x * gx.grad(lambda y: x * y)(1.0))(3.0) == 6.0
    inner = lambda x: gx.jvp(lambda y: x * y, (2.0,), (1.0,))[1]  # noqa: E731
    assert gx.jvp(lambda x: x * inner(x), (3.0,), (1.0,))[1] == 6.0
    # d/dx of x d/dy (x y^2) at y = x: x * 2 x x = 2 x^3
    assert gx.grad(lambda x: x * gx.grad(lambda y: x * y * y)(x))(2.0) == 24.0
    close(gx.vmap(gx.grad(lambda x: x * gx.grad(lambda y: x * y)(1.0)))(X), 2 * X)
    assert gx.jit(gx.grad(lambda x: x * gx.jit(gx.grad(lambda y: x + y))(1.0)))(1.0) == 1.0


def test_closures_over_outer_values() -> None:
    def f(x: Any, y: Any) -> Any:
        scaled = gx.vmap(lambda row: row * x)(A)
        inner = gx.grad(lambda z: np.sum(z * z * x * y))(y)
        return np.sum(scaled) * inner

    # sum(A) x * 3 d/dz (z^2 x y) at z = y (X has one element here: scalars) = 2 x y^2
    total = A.sum()
    gradient = gx.grad(f, (0, 1))(1.5, 2.0)
    close(gradient, (np.float64(total * 4 * 1.5 * 4.0), np.float64(total * 1.5 * 2 * 1.5 * 2 * 2.0)))
    close(gx.jit(gx.grad(f, (0, 1)))(1.5, 2.0), gradient)


def test_jit_of_everything_and_everything_of_jit() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * x)

    def df(x: Any) -> Any:
        return np.cos(x) * x + np.sin(x)

    j = gx.jit(f)
    for gradient in (gx.grad(j), gx.jit(gx.grad(f)), gx.jit(gx.grad(j)), gx.jit(gx.jit(gx.grad(gx.jit(j))))):
        close(gradient(X), df(X))
    close(gx.vmap(j)(A), np.sum(np.sin(A) * A, 1))
    close(gx.vmap(gx.grad(j))(A), df(A))
    close(gx.jit(gx.vmap(gx.grad(f)))(A), df(A))
    close(gx.jit(gx.vmap(gx.jit(gx.grad(j))))(A), df(A))
    second = np.diag(2 * np.cos(X) - X * np.sin(X))
    for hessian in (gx.hessian(j), gx.jit(gx.hessian(f)), gx.jacfwd(gx.jit(gx.jacrev(j)))):
        close(hessian(X), second)
    close(gx.jvp(j, (X,), (np.ones(3),))[1], np.float64(np.sum(df(X))))
    close(gx.jit(lambda x, v: gx.jvp(f, (x,), (v,)))(X, np.ones(3)), (np.float64(f(X)), np.float64(np.sum(df(X)))))
    close(gx.jit(lambda x, v: gx.vjp(np.sin, x)[1](v)[0])(X, X), np.cos(X) * X)
    close(gx.jit(lambda x, v: gx.linearize(np.sin, x)[1](v))(X, X), np.cos(X) * X)
    close(gx.jit(lambda x: gx.linear_transpose(lambda y: y * x, x)(x)[0])(X), X * X)
    close(gx.jit(gx.hvp(f))(X, np.ones(3)), second.sum(1))
    close(gx.vmap(gx.hvp(f), in_axes=(None, 0))(X, np.eye(3)), second)
    close(gx.grad(lambda x: np.sum(gx.vmap(np.square)(x)))(X), 2 * X)
    close(gx.jacrev(gx.vmap(np.sin))(X), np.diag(np.cos(X)))
    close(gx.grad(lambda x: gx.jacfwd(lambda y: y**3)(x))(2.0), np.float64(12.0))


def test_jit_inside_a_loop_is_traced_once() -> None:
    count = []

    @gx.jit
    def step(x: Any) -> Any:
        count.append(1)
        return x * 0.5 + 1.0

    def f(x: Any) -> Any:
        for _ in range(10):
            x = step(x)
        return x

    close(gx.grad(f)(np.float64(4.0)), np.float64(0.5**10))
    assert len(count) == 1


def test_value_and_grad_of_functions_that_use_values() -> None:
    # The derivative's own values are known too: inner transforms may be steered by them.
    def newton(x: Any) -> Any:
        f = lambda y: y * y - x  # noqa: E731
        y = x
        while abs(f(y)) > 1e-13:
            y = y - f(y) / gx.grad(f)(y)
        return y

    value, gradient = gx.value_and_grad(newton)(2.0)
    assert abs(value - np.sqrt(2)) < 1e-12
    assert abs(gradient - 0.5 / np.sqrt(2)) < 1e-9


# -------------------------------------------------------------------------------------------------------- control flow


def steered(x: Any) -> Any:
    total = 0.0 * x
    if x > 1.0:
        total = total + x * x
    elif x < -1.0:
        return -x
    count = 0
    while total < 10.0 and count < 3:
        total = total * 2.0 + x
        count += 1
    for _ in range(int(count)):
        total = total + x
    return total


@pytest.mark.parametrize("x", [0.5, 1.5, -3.0, 20.0])
def test_python_control_flow_without_jit(x: float) -> None:
    step = 1e-6
    expected = (steered(x + step) - steered(x - step)) / (2 * step)
    for found in (
        gx.grad(steered)(x),
        gx.jvp(steered, (x,), (1.0,))[1],
        gx.jacfwd(steered)(x),
        gx.vjp(steered, x)[1](1.0)[0],
        gx.grad(lambda p: steered(p["x"]))({"x": x})["x"],
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Of second order is only total * 2**count, where total starts as x * x.
    count = {0.5: 3, 1.5: 2, -3.0: 0, 20.0: 0}[x]
    assert gx.grad(gx.grad(steered))(x) == (2.0 * 2**count if x > 1 else 0.0)


def test_values_that_steer() -> None:
    def f(x: Any) -> Any:
        assert bool(x[0] > 0)
        assert not (x < 0).all()
        order = np.argsort([2.0, 1.0])
        n = int(np.sum(x > 0))
        pieces = [x[i] for i in order]
        return sum(pieces, 0.0) * n

    close(gx.grad(f)(np.array([1.0, 2.0, -3.0])), np.array([2.0, 2.0, 0.0]))
    assert gx.grad(lambda x: x * [1.0, 2.0, 3.0][np.argmax([0, 5, 1])])(1.0) == 2.0
    assert gx.grad(lambda x: [x, 2 * x][int(x > 0)])(3.0) == 2.0
    assert gx.grad(lambda x: max(x, 2.0 * x))(3.0) == 2.0
    assert gx.grad(lambda x: x if x in (1.0, 2.0) else 5.0 * x)(2.0) == 1.0


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x if x > 0 else -x,
        lambda x: [1.0, 2.0][x.astype(int)],
        lambda x: range(int(x)),
        lambda x: abs(x) if x else x,
        lambda x: x * (1.0 if (x > 0).item() else 2.0),
    ],
)
@pytest.mark.parametrize("transform", [gx.jit, lambda f: lambda x: gx.vmap(f)(np.full(2, x)), gx.make_ir])
def test_unknown_values(f: Callable[[Any], Any], transform: Callable[..., Any]) -> None:
    with pytest.raises(errors.ConcretizationError) as error:
        transform(f)(1.0)
    message = own_line(error)
    assert "where" in message and "static_argnames" in message
    assert isinstance(error.value, TypeError)


def test_unbatched_values_are_known_inside_vmap() -> None:
    close(gx.vmap(lambda x, flag: x * 2.0 if flag > 0 else x, in_axes=(0, None))(X, 1.0), 2 * X)
    close(gx.vmap(lambda x: x * 2.0 if A[0, 0] < 0 else x)(X), 2 * X)


@pytest.mark.parametrize(
    "cut",
    [
        float,
        lambda x: np.asarray(x),
        lambda x: np.array([1.0, x]),
        lambda x: x.item(),
        complex,
        lambda x: __import__("math").sin(x),
    ],
)
@pytest.mark.parametrize("transform", [gx.grad, gx.jit, lambda f: lambda x: gx.jvp(f, (x,), (1.0,))])
def test_conversions_that_would_cut_the_derivative(cut: Callable[[Any], Any], transform: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        cut(x)
        return x

    with pytest.raises(errors.TracerConversionError, match="derivative") as error:
        transform(f)(1.0)
    own_line(error)


def test_assignment_is_refused() -> None:
    def f(x: Any) -> Any:
        x[0] = 1.0
        return np.sum(x)

    with pytest.raises(TypeError, match=r"\.at\[") as error:
        gx.grad(f)(X)
    own_line(error)

    def g(x: Any) -> Any:
        result = np.zeros(3)
        result[0] = x[0]
        return np.sum(result)

    # NumPy puts an error of its own in front of ours.
    with pytest.raises((TypeError, ValueError)) as error:
        gx.grad(g)(X)
    cause = error.value if isinstance(error.value, errors.TracerConversionError) else error.value.__cause__
    assert isinstance(cause, errors.TracerConversionError)


# --------------------------------------------------------------------------------------------------------------- leaks


def test_leaked_tracers() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2.0)
        return x * x

    gx.grad(f)(3.0)
    with pytest.raises(RuntimeError, match="grad of f") as error:
        kept[0] + 1.0
    own_line(error)
    with pytest.raises(errors.LeakedTracerError):
        gx.grad(lambda y: y * kept[0])(1.0)
    with pytest.raises(errors.LeakedTracerError):
        gx.jit(lambda y: y * kept[0])(1.0)
    with pytest.raises(errors.LeakedTracerError):
        bool(kept[0] > 0)
    assert "grad of f" in repr(kept[0])  # describing it is not using it

    kept.clear()
    gx.jit(f)(3.0)
    with pytest.raises(errors.LeakedTracerError, match="jit of f"):
        np.sin(kept[0])

    kept.clear()
    gx.vmap(f)(X)
    with pytest.raises(errors.LeakedTracerError, match="vmap of f"):
        gx.jit(lambda x: x)(kept[0])


def test_a_failing_function_leaves_no_builder_open() -> None:
    def f(x: Any) -> Any:
        raise KeyError("mine")

    for transform in (gx.grad, gx.jit, gx.vmap, gx.jacfwd, gx.make_ir):
        with pytest.raises(KeyError, match="mine"):
            transform(f)(X)
    assert np.sum(X) == 1.5
    assert gx.grad(lambda x: x)(1.0) == 1.0
    from gradxform.core import current_builder

    assert current_builder() is None


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("transform", [gx.grad, gx.value_and_grad])
@pytest.mark.parametrize("f", [np.sin, lambda x: (np.sum(x), np.sum(x)), lambda x: None, lambda x: [], lambda x: x[:1]])
def test_gradient_of_what_is_no_scalar(transform: Callable[..., Any], f: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="scalar") as error:
        transform(f)(X)
    assert "jacrev" in own_line(error)


def test_gradient_of_an_integer_result() -> None:
    with pytest.raises(TypeError, match="i64") as error:
        gx.grad(lambda x: np.sum(x > 0))(X)
    own_line(error)
    with pytest.raises(TypeError, match="bool"):
        gx.jacfwd(lambda x: x > 0)(X)
    with pytest.raises(TypeError, match="float"):
        gx.jacrev(lambda x: x.astype(np.int64))(X)


@pytest.mark.parametrize(
    "argument",
    [
        "text",
        object(),
        {1, 2},
        np.array(["a"]),
        np.array([None]),
        np.ones(2, np.clongdouble),
        np.ones(2, np.float16),
        np.datetime64("2020-01-01"),
    ],
)
@pytest.mark.parametrize(
    "transform",
    [gx.grad, gx.jacfwd, gx.jit, gx.vmap, lambda f: lambda x: gx.jvp(f, (x,), (x,)), lambda f: lambda x: gx.vjp(f, x)],
)
def test_arguments_that_are_no_arrays(transform: Callable[..., Any], argument: Any) -> None:
    with pytest.raises(TypeError):
        transform(lambda x: x)(argument)


@pytest.mark.parametrize("transform", [gx.grad, gx.jit, gx.vmap, gx.jacrev])
def test_results_that_are_no_arrays(transform: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        return "text"

    with pytest.raises(TypeError, match="the result of f") as error:
        transform(f)(X)
    assert "'text'" in str(error.value)


def test_errors_of_operations_name_the_operation_and_the_line() -> None:
    def f(x: Any) -> Any:
        return np.sum(x @ np.ones(5))

    for transform in (gx.grad, gx.jit, gx.make_ir):
        with pytest.raises(ValueError) as error:
            transform(f)(X)
        assert "matmul" in own_line(error) or "dot" in own_line(error)

    def g(x: Any) -> Any:
        return np.sum(x + np.ones(4))

    with pytest.raises(ValueError, match=r"\(3,\).*\(4,\)|f64\[3\].*f64\[4\]") as error:
        gx.grad(g)(X)
    own_line(error)
    with pytest.raises(IndexError):
        gx.grad(lambda x: x[3])(X)
    with pytest.raises(np.exceptions.AxisError):
        gx.grad(lambda x: np.sum(x, axis=4))(X)


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="masked"):
        gx.grad(lambda x: np.sum(x))(np.ma.masked_array(X, [True, False, False]))


# ---------------------------------------------------------------------------------------------------------- inspection


def test_make_ir_and_eval_shape() -> None:
    program = gx.make_ir(lambda x, n: np.sin(x) * n, static_argnums=1)(X, 3.0)
    assert isinstance(program, Program)
    check(program)
    assert len(program.inputs) == 1
    assert "sin" in str(program) and "3.0" in str(program)
    assert gx.make_jaxpr is gx.make_ir
    shape = gx.eval_shape(
        lambda p, y: {"out": p["a"] @ y, "n": np.sum(y > 0)},
        {"a": gx.ShapeDType((2, 3), np.float32)},
        gx.ShapeDType((3, 4), np.float32),
    )
    assert shape["out"] == gx.ShapeDType((2, 4), np.float32)
    assert shape["n"].shape == () and shape["n"].dtype == np.int64
    assert gx.eval_shape(gx.grad(lambda x: np.sum(x**2)), gx.ShapeDType((10**9,), float)).shape == (10**9,)
    assert gx.eval_shape(gx.hessian(lambda x: np.sum(x**2)), gx.ShapeDType((1000,), float)).shape == (1000, 1000)
    text = str(gx.make_ir(gx.grad(lambda x: np.sum(np.sin(x))))(X))
    assert "cos" in text
    with pytest.raises(TypeError):
        gx.ShapeDType((2,), np.float16)


def test_arrays_describe_themselves() -> None:
    seen: list[str] = []

    def f(x: Any) -> Any:
        seen.append(repr(x))
        seen.append(f"{x}")
        assert x.shape == (3,) and x.ndim == 1 and x.size == 3 and x.dtype == np.float64 and len(x) == 3
        assert [float(y) is None for y in ()] == []
        return sum(y for y in x)

    close(gx.grad(f)(X), np.ones(3))
    assert "float64[3]" in seen[0] and "0.5" in seen[0]
    gx.jit(f)(X)
    assert "float64[3]" in seen[2] and "0.5" not in seen[2]


def test_promotion_is_that_of_numpy() -> None:
    x = X.astype(np.float32)
    functions = [
        lambda s, v: s * v,
        lambda s, v: s * 2.0 * v,
        lambda s, v: 2.0 * s * v,
        lambda s, v: (s + 1.0) * v,
        lambda s, v: -s * v,
        lambda s, v: (s + s) * v,
        lambda s, v: s**2 * v,
        lambda s, v: s / 2 * v,
        lambda s, v: abs(s) - v,
        lambda s, v: np.sin(s) * v,
        lambda s, v: np.multiply(s, 2.0) * v,
    ]
    for f in functions:
        for scalar in (2.0, 2, np.float64(2.0), np.float32(2.0)):
            expected = np.asarray(f(scalar, x)).dtype
            assert gx.jit(f)(scalar, x).dtype == expected, (functions.index(f), scalar)
            assert gx.vmap(f, in_axes=(None, 0))(scalar, x).dtype == expected, (functions.index(f), scalar)
            assert gx.jvp(lambda v, f=f, s=scalar: f(s, v), (x,), (x,))[1].dtype == expected


def test_gradients_have_the_dtype_of_their_argument() -> None:
    x = X.astype(np.float32)
    assert gx.grad(lambda s, v: np.sum(s * v))(2.0, x).dtype == np.float64
    value, gradient = gx.value_and_grad(lambda s, v: np.sum(s * v), argnums=1)(2.0, x)
    assert value.dtype == gradient.dtype == np.float32
    assert gx.grad(lambda s, v: np.sum(s * v), argnums=1)(np.float64(2.0), x).dtype == np.float32


def test_closed_over_arrays_are_constants() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    gradient = gx.grad(lambda x: np.sum(x * weights))
    close(gradient(X), weights)
    weights[0] = 10.0
    close(gradient(X), weights)


def test_results_are_fresh_arrays() -> None:
    x = X.copy()
    _, pull = gx.vjp(lambda x: x * 1.0, x)
    results = [
        *pull(x),
        gx.grad(lambda x: np.sum(x))(x),
        *gx.jvp(lambda x: x, (x,), (x,)),
        gx.vmap(lambda x: x)(x),
        gx.jacfwd(lambda x: x)(x),
        gx.grad(lambda x: 3.0)(x),
        gx.linearize(lambda x: x, x)[0],
        gx.vmap(lambda y: 2.0)(x),
        gx.jvp(lambda x: x[::-1], (x,), (x,))[1],
        gx.vjp(lambda x: x, x)[1](x)[0],
        gx.jit(lambda x: x)(x),
    ]
    for number, result in enumerate(results):
        assert result.flags.writeable, number
        result += 100.0
    np.testing.assert_array_equal(x, X)


def test_numbers_are_numpy_scalars() -> None:
    for result in (
        gx.grad(lambda x: x * 2.0)(1.0),
        *gx.jvp(lambda x: x[0], (X,), (X,)),
        gx.vjp(lambda x: x, 1.0)[1](2.0)[0],
        gx.value_and_grad(lambda x: x[0])(X)[0],
        gx.grad(lambda p: p[0].sum())([1.0])[0],
        gx.jacfwd(lambda x: x)(1.0),
        gx.linearize(lambda x: x[1], X)[1](X),
        gx.grad(lambda x: x.reshape(1)[0])(1.0),
        gx.jit(lambda x: x[0])(X),
    ):
        assert isinstance(result, np.float64), type(result)
