"""Symbolic variables, functions of them, and how they print."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradxform as gx
import gradxform.symbolic as T
from gradxform import errors
from gradxform.symbolic.written import RULES, written_out

GENERATOR = np.random.default_rng(22)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------------------------------ variables


@pytest.mark.parametrize(("letter", "dtype"), [
    ("b", "int8"), ("w", "int16"), ("i", "int32"), ("l", "int64"), ("f", "float32"), ("d", "float64"), ("c", "complex64"),
    ("z", "complex128"), ("", "float64"),
])
def test_input_variables(letter, dtype):
    kinds = {"scalar": 0, "vector": 1, "matrix": 2, "row": 2, "col": 2, "tensor3": 3, "tensor4": 4}
    for kind, rank in kinds.items():
        variable = getattr(T, letter + kind)("x")
        assert (variable.dtype, variable.ndim, variable.name) == (dtype, rank, "x")
    assert T.row().broadcastable == (True, False)
    assert T.col().broadcastable == (False, True)
    plural = getattr(T, f"{letter}matrices")("u", "v")
    assert [v.name for v in plural] == ["u", "v"]
    assert len(getattr(T, f"{letter}scalars")(3)) == 3


def test_tensor():
    assert T.tensor("float32", ndim=3).ndim == T.tensor("float32", 3).ndim == 3
    assert T.tensor("float32", (False, True), name="x").broadcastable == (False, True)
    assert T.tensor("x", (None, 3)).type.shape == (None, 3)
    assert T.tensor("d", ndim=1).name == "d"
    assert T.tensor("x", dtype="int64", shape=(None, 3)).type.shape == (None, 3)
    assert T.tensor(dtype="float64", broadcastable=(True, False)).broadcastable == (True, False)
    assert T.TensorType("float64", (False, True))("x").broadcastable == (False, True)
    with pytest.raises(errors.ArgumentError, match="one of shape, ndim"):
        T.tensor("x", dtype="float64")
    with pytest.raises(errors.DTypeError):
        T.tensor(dtype="float16", ndim=1)


@pytest.mark.parametrize(("make", "dtype", "rank"), [
    (lambda x, m, n: x + n, "float64", 1),
    (lambda x, m, n: n / 2, "float64", 0),
    (lambda x, m, n: n * n, "int64", 0),
    (lambda x, m, n: T.dot(m, x), "float64", 1),
    (lambda x, m, n: m[n], "float64", 1),
    (lambda x, m, n: m[:, None, 1:], "float64", 3),
    (lambda x, m, n: m.shape, "int64", 1),
    (lambda x, m, n: T.zeros((n, n, 2)), "float64", 3),
    (lambda x, m, n: m.reshape((7, 11, -1)), "float64", 3),
    (lambda x, m, n: T.dot(m, np.ones((5, 6), np.float32)), "float64", 2),
    (lambda x, m, n: np.ones((3, 4)) @ m @ np.ones((5, 6)), "float64", 2),
    (lambda x, m, n: m > 1, "bool", 2),
    (lambda x, m, n: T.mean(m, axis=0, keepdims=True), "float64", 2),
    (lambda x, m, n: x.astype("float32") * 2.0, "float32", 1),
    (lambda x, m, n: T.stack([x, x]), "float64", 2),
    (lambda x, m, n: x.norm(), "float64", 0),
])
def test_dtype_and_rank_are_known(make, dtype, rank):
    found = make(T.dvector("x"), T.dmatrix("m"), T.lscalar("n"))
    assert (found.dtype, found.ndim) == (dtype, rank)


def test_wrong_operands_are_refused_when_written():
    x, m = T.dvector("x"), T.dtensor3("m")
    with pytest.raises(errors.GradxformError, match="getitem of"):
        x[1, 2]
    with pytest.raises(errors.GradxformError, match=r"in user code: .*test_symbolic"):
        T.dot(x, np.ones((3, 4))) + T.sum(m, axis=5)


OPERATIONS = {
    "operators": lambda x, y: -x + y * 2 - x / (y + 4) ** 2 + abs(x) // 0.25 + x % 0.7,
    "comparisons": lambda x, y: (x > y) + 2 * (x <= 0.5) + 4 * ((x < y) & (y >= 0)) + 8 * (~(x > 0)),
    "reflected": lambda x, y: 2 - x + 3 / (4 + y) + 2.0**x,
    "numpy": lambda x, y: np.sin(x) * np.maximum(x, y) + np.where(x > y, x, np.exp(y)),
    "reductions": lambda x, y: np.sum(x, axis=0) + y.mean(axis=1, keepdims=True) + x.max() - np.linalg.norm(y),
    "products": lambda x, y: np.dot(x, y) @ x + np.einsum("ij,kj->ik", x, y),
    "indices": lambda x, y: x[1] * y[:, ::-1] + x[np.array([2, 0, 1])] + y[..., 0:1],
    "shapes": lambda x, y: np.concatenate([x, y]).reshape(2, 9).T.sum(axis=1) * x.shape[0] + np.stack([x, y]).ravel()[:9],
    "arrays on the left": lambda x, y: np.arange(3.0) * x + np.ones((3, 3)) @ y,
    "several results": lambda x, y: np.split(x, 3)[1] + divmod(y, 0.5)[1],
    "methods": lambda x, y: x.cumsum(axis=0).dot(y).clip(-1, 1) + y.transpose().diagonal() + x.T.argmax(axis=0),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_expressions_are_numpys(name):
    x, y = T.dmatrices("x", "y")
    a, b = GENERATOR.normal(size=(3, 3)), GENERATOR.normal(size=(3, 3))
    found = T.function([x, y], OPERATIONS[name](x, y))(a, b)
    wanted = OPERATIONS[name](a, b)
    assert found.dtype == wanted.dtype
    close(found, wanted)


def test_theanos_own_functions():
    x, y = T.dmatrices("x", "y")
    a, b = GENERATOR.normal(size=(2, 3)), GENERATOR.normal(size=(2, 3))
    wanted = {
        "sqr": (T.sqr(x), a**2), "switch": (T.switch(T.gt(x, 0), x, y), np.where(a > 0, a, b)),
        "dimshuffle": (x.dimshuffle(1, "x", 0), a.T[:, None, :]), "flatten": (x.flatten(), a.ravel()),
        "join": (T.join(1, x, y), np.hstack([a, b])), "cast": (T.cast(x, "int32"), a.astype("int32")),
        "sigmoid": (T.sigmoid(x), 1 / (1 + np.exp(-a))), "softplus": (T.softplus(x), np.log1p(np.exp(a))),
        "softmax": (T.softmax(x), np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)), "relu": (T.relu(x), np.maximum(a, 0)),
        "alloc": (T.alloc(2.0, x.shape[0], 3), np.full((2, 3), 2.0)), "neq": (T.neq(x, y), a != b),
        "set": (T.set_subtensor(x[0, 1:], 7.0), np.array([[a[0, 0], 7, 7], a[1]])),
        "inc": (T.inc_subtensor(x[:, 1], y[:, 0]), a + np.array([[0, 1, 0]]) * b[:, :1]),
        "batched_dot": (T.batched_dot(x, y), (a * b).sum(axis=1)), "erf": (T.erf(T.zeros_like(x)), np.zeros((2, 3))),
        "padleft": (T.shape_padleft(x, 2), a[None, None]), "fill": (T.fill(x, 3.0), np.full((2, 3), 3.0)),
        "eye": (T.eye(x.shape[1]), np.eye(3)), "as_tensor": (T.as_tensor_variable([x[0, 0], y[0, 0]]), [a[0, 0], b[0, 0]]),
        "logsumexp": (T.logsumexp(x), np.log(np.sum(np.exp(a)))), "invert": (T.invert(x > y), ~(a > b)),
    }
    found = T.function([x, y], {name: expression for name, (expression, _) in wanted.items()})(a, b)
    for name, (_, value) in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-14, err_msg=name)


def test_numpys_functions_are_known_by_themselves_and_not_by_their_names():
    """Theano's ``inv`` is 1 / x, and NumPy's linalg.inv is not."""
    m = T.dmatrix("m")
    a = GENERATOR.normal(size=(3, 3)) + 3 * np.eye(3)
    found = T.function([m], [np.linalg.inv(m), T.inv(m), T.linalg.inv(m), np.linalg.slogdet(m)[1], T.linalg.det(m)])(a)
    wanted = [np.linalg.inv(a), 1 / a, np.linalg.inv(a), np.linalg.slogdet(a)[1], np.linalg.det(a)]
    for value, expected in zip(found, wanted, strict=True):
        close(value, expected)
    close(T.grad(T.log(T.linalg.det(m)), m).eval({m: a}), np.linalg.inv(a).T)


def test_cross_entropies():
    p, classes = T.dmatrix("p"), T.lvector("classes")
    rows = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    found = T.function([p, classes], [T.nnet.categorical_crossentropy(p, classes), T.nnet.binary_crossentropy(p, 1.0)])
    by_class, by_element = found(rows, [1, 0, 0])
    close(by_class, -np.log([0.8, 0.5, 0.9]))
    close(by_element, -np.log(rows))


def test_boolean_masks_have_no_rank_that_is_known():
    x = T.dvector("x")
    with pytest.raises(errors.ConcretizationError, match="boolean mask"):
        x[x > 0]


def test_what_has_no_value_is_refused():
    x = T.dvector("x")
    with pytest.raises(TypeError, match="truth value"):
        bool(x > 0)
    with pytest.raises(TypeError, match="symbolic and has no values"):
        np.asarray(x)
    with pytest.raises(TypeError, match="use scan"):
        list(x)
    with pytest.raises(TypeError, match="set_subtensor"):
        x[0] = 1.0
    with pytest.raises(TypeError, match=r"use x\.shape"):
        len(x)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        T.nothing  # noqa: B018
    with pytest.raises(TypeError, match="an indexed variable"):
        T.set_subtensor(x, 1.0)
    assert x in [x] and x not in [T.dvector("x")]


# ------------------------------------------------------------------------------------------------------ functions


def test_function_results_are_arrays_in_the_outputs_structure():
    x, y = T.dscalars("x", "y")
    single = T.function([x, y], x + y)(1, 2)
    assert isinstance(single, np.ndarray) and single.shape == () and single == 3.0
    assert T.function([x, y], [x + y, x * y])(1, 2) == [3.0, 2.0]
    assert T.function([x, y], {"a": x, "b": x - y})(1, 2) == {"a": 1.0, "b": -1.0}
    assert T.function([]) () == []


def test_any_extents():
    x = T.dmatrix("x")
    f = T.function([x], x.sum(axis=0) / x.shape[0])
    for shape in ((2, 3), (5, 1), (1, 4)):
        value = GENERATOR.normal(size=shape)
        close(f(value), value.mean(axis=0))


def test_integers_that_decide_about_shapes():
    n, x = T.lscalar("n"), T.dvector("x")
    f = T.function([n, x], [T.arange(n) * 2, x[: n - 1], T.ones((n, 2)) * n])
    for count in (2, 4):
        found = f(count, np.arange(6.0))
        close(found[0], 2 * np.arange(count))
        close(found[1], np.arange(count - 1.0))
        close(found[2], np.full((count, 2), count))


def test_shared_variables_and_updates():
    state, step = T.shared(np.zeros(2), "state"), T.lscalar("step")
    f = T.function([step], state * 2, updates=[(state, state + step)])
    close(f(1), [0.0, 0.0])
    close(f(10), [2.0, 2.0])
    close(state.get_value(), [11.0, 11.0])
    state.get_value()[0] = 5.0
    close(state.get_value(), [11.0, 11.0])
    state.set_value([1.0, 2.0, 3.0])
    close(f(0), [2.0, 4.0, 6.0])
    with pytest.raises(TypeError, match="axes"):
        state.set_value(1.0)
    with pytest.raises(TypeError, match="updates are of shared variables"):
        T.function([step], step, updates={step: step})
    with pytest.raises(TypeError, match="update of state"):
        T.function([step], [], updates={state: T.sum(state) + step})
    with pytest.raises(TypeError, match="takes a value"):
        T.shared(step)


def test_training_with_shared_parameters():
    x, t = T.dmatrix("x"), T.dvector("t")
    w, b = T.shared(np.zeros(3), "w"), T.shared(0.0, "b")
    cost = T.mean((T.dot(x, w) + b - t) ** 2)
    by_w, by_b = T.grad(cost, [w, b])
    train = T.function([x, t], cost, updates=[(w, w - 0.1 * by_w), (b, b - 0.1 * by_b)])
    rows = GENERATOR.normal(size=(20, 3))
    targets = rows @ [1.0, -2.0, 0.5] + 3.0
    costs = [float(train(rows, targets)) for _ in range(300)]
    assert costs[-1] < 1e-6 < costs[0]
    np.testing.assert_allclose(w.get_value(), [1.0, -2.0, 0.5], atol=1e-3)


def test_givens():
    x, y, i = T.dvector("x"), T.dvector("y"), T.lscalar("i")
    data = T.shared(np.arange(12.0).reshape(4, 3))
    cost = T.sum(x ** 2) + T.sum(x)
    f = T.function([i], [cost, T.grad(cost, x)], givens={x: data[i]})
    value, slope = f(2)
    close(value, np.sum(np.arange(6.0, 9.0) ** 2 + np.arange(6.0, 9.0)))
    close(slope, 2 * np.arange(6.0, 9.0) + 1)
    # Simultaneous: x and y change places.
    close(T.function([x, y], x - 2 * y, givens=[(x, y), (y, x)])([1.0], [10.0]), [10.0 - 2.0])
    h = T.exp(x)
    close(T.function([x], h + x, givens={h: x * 3})([2.0]), [8.0])
    with pytest.raises(TypeError, match="ranks"):
        T.function([i], cost, givens={x: data})


def test_defaults_and_names():
    x, y = T.dscalars("x", "y")
    f = T.function([x, T.In(y, value=2.0, name="factor")], x * y, name="product")
    assert f(3.0) == 6.0
    assert f(3.0, 5.0) == f(3.0, factor=5.0) == f(x=3.0, factor=5.0) == 15.0
    with pytest.raises(TypeError, match="product: argument 0"):
        f()
    with pytest.raises(TypeError, match="no further input 'z'"):
        f(1.0, z=2.0)
    with pytest.raises(TypeError, match="takes 2 arguments"):
        f(1.0, 2.0, 3.0)


def test_inputs_that_are_missing_or_unused():
    x, y = T.dscalars("x", "y")
    with pytest.raises(T.UnusedInputError, match="y: no output"):
        T.function([x, y], x)
    with pytest.warns(UserWarning, match="y: no output"):
        T.function([x, y], x, on_unused_input="warn")
    assert T.function([x, y], x, on_unused_input="ignore")(1.0, 2.0) == 1.0
    with pytest.raises(T.MissingInputError, match="need y, which are no inputs"):
        T.function([x], x + y)
    with pytest.raises(errors.ArgumentError, match="twice"):
        T.function([x, x], x)
    with pytest.raises(TypeError, match="inputs must be a list"):
        T.function(x, x)
    with pytest.raises(TypeError, match="value of its own"):
        T.function([T.shared(1.0)], x)
    with pytest.raises(errors.ArgumentError, match="on_unused_input"):
        T.function([x], x, on_unused_input="perhaps")


def test_arguments_are_converted_where_nothing_is_lost():
    x, n, s = T.dvector("x"), T.iscalar("n"), T.fscalar("s")
    f = T.function([x, n, s], [x * 1, n * 1, s * 1])
    values = f([1, 2], 3, 0.1)
    assert [value.dtype for value in values] == [np.float64, np.int32, np.float32]
    with pytest.raises(TypeError, match="argument 1"):
        f([1, 2], 3.5, 0.1)
    with pytest.raises(TypeError, match="without loss"):
        f([1, 2], np.int64(3), 0.1)
    with pytest.raises(TypeError, match="axes"):
        f(1.0, 3, 0.1)
    with pytest.raises(TypeError, match="argument 0"):
        f("ab", 3, 0.1)
    with pytest.raises(TypeError, match="without loss"):
        f([1j, 2], 3, 0.1)
    assert T.function([n], n * 1, allow_input_downcast=True)(3.7) == 3
    row = T.drow("row")
    with pytest.raises(ValueError, match="extent 1"):
        T.function([row], row * 2)(np.ones((2, 2)))


def test_wrong_shapes_are_reported_when_called():
    x, y = T.dvectors("x", "y")
    f = T.function([x, y], x + y)
    with pytest.raises(ValueError, match="could not be broadcast") as caught:
        f([1.0, 2.0], [1.0, 2.0, 3.0])
    assert re.search(r"in add, written at .*test_symbolic\.py", caught.value.__notes__[0])


def test_deep_expressions():
    x = T.dscalar("x")
    y = x
    for _ in range(3000):
        y = y + x
    assert y.eval({x: 1.0}) == 3001.0
    assert T.pp(y).startswith("((((")


# ------------------------------------------------------------------------------------------------------- printing


def test_pp():
    x, m = T.dvector("x"), T.dmatrix()
    assert T.pp(T.sum(x / 2.0 - T.exp(-x))) == "sum(((x / TensorConstant{2.0}) - exp((-x))))"
    assert T.pp(T.dot(x, m)) == r"(x \dot <TensorType(float64, matrix)>)"
    assert T.pp(x[1:3] * np.ones(2)) == "(x[1:3] * TensorConstant{[1. 1.]})"
    assert T.pp(T.grad(T.sum(T.cumsum(x)), x)) == "grad(sum(cumsum(x)), x)"
    assert T.pp(T.maximum(x, 0) ** T.shared(2.0, "p")) == "(maximum(x, TensorConstant{0}) ** p)"
    with pytest.raises(TypeError, match="pp takes a symbolic variable"):
        T.pp(3)


def test_pp_of_the_tutorials_gradient():
    x = T.dscalar("x")
    gradient = T.grad(x ** 2, x)
    seed = "fill((x ** TensorConstant{2}), TensorConstant{1.0})"
    assert T.pp(gradient) == f"(({seed} * TensorConstant{{2}}) * (x ** (TensorConstant{{2}} - TensorConstant{{1}})))"
    assert T.pp(T.function([x], gradient).maker.fgraph.outputs[0]) == "(2.0 * x)"
    assert T.pp(T.function([x], T.grad(gradient, x)).maker.fgraph.outputs[0]) == "2.0"


WRITTEN = {
    "add": lambda x, y: T.sum(x + y + x), "sub": lambda x, y: T.sum(y - x), "mul": lambda x, y: T.sum(x * y * x),
    "truediv": lambda x, y: T.sum(y / x) + T.sum(x / y), "pow": lambda x, y: T.sum(x ** y) + T.sum(y ** x),
    "neg": lambda x, y: T.sum(-x * y), "fill": lambda x, y: T.sum(T.fill(y, y) * x), "exp": lambda x, y: T.sum(T.exp(x * y)),
    "log": lambda x, y: T.sum(T.log(x) * y), "sqrt": lambda x, y: T.sum(T.sqrt(x * y)),
    "square": lambda x, y: T.sum(T.square(x) * y), "sin": lambda x, y: T.sum(T.sin(x * y)),
    "cos": lambda x, y: T.sum(np.cos(x * y)), "tanh": lambda x, y: T.sum(T.tanh(x * y)),
}


def test_every_rule_is_tested():
    assert set(WRITTEN) == set(RULES)


@pytest.mark.parametrize("name", WRITTEN)
def test_gradients_written_out_have_the_values_of_those_computed(name):
    x, y = T.dvectors("x", "y")
    gradient = T.grad(WRITTEN[name](x, y), x)
    formula = written_out(gradient)
    assert formula is not gradient and "grad(" not in T.pp(gradient)
    found, wanted = T.function([x, y], [formula, gradient], on_unused_input="ignore")([0.7, 1.9], [2.3, 0.4])
    close(found, wanted)


def test_second_gradients_are_written_out():
    x = T.dscalar("x")
    second = T.grad(T.grad(T.sin(x) * x ** 3, x), x)
    assert "grad(" not in T.pp(second)
    point = 0.8
    wanted = -np.sin(point) * point**3 + 6 * np.cos(point) * point**2 + 6 * np.sin(point) * point
    close(written_out(second).eval({x: point}), wanted)
    close(second.eval({x: point}), wanted)


def test_debugprint(capsys):
    x = T.dvector("x")
    T.debugprint([T.exp(x) * x])
    assert capsys.readouterr().out == (
        "mul [id A] 'TensorType(float64, vector)'\n |exp [id B] 'TensorType(float64, vector)'\n"
        " | |x [id C] 'TensorType(float64, vector)'\n |x [id C]\n")
    f = T.function([x], T.grad(T.sum(x ** 2), x))
    f([1.0, 2.0])
    assert T.debugprint(f, file="str") == (
        "mul [id A] 'TensorType(float64, vector)'\n |2.0 [id B] 'TensorType(float64, scalar)'\n"
        " |x [id C] 'TensorType(float64, vector)'")
    with pytest.raises(TypeError, match="debugprint takes"):
        T.debugprint(3)


def test_the_optimised_program_of_a_loop_prints():
    x = T.dvector("x")
    found, _ = T.scan(lambda e, s: T.sin(s) + e, sequences=x, outputs_info=0.0)
    f = T.function([x], found)
    assert T.pp(f.maker.fgraph.outputs[0]).startswith("scan{")
    assert "sin" in str(f.maker.fgraph.program)


def test_the_window_looks_at_what_a_function_compiles() -> None:
    x, step = T.dvector("x"), T.shared(2.0, name="step")
    f = T.function([x], T.grad((x ** 3).sum(), x) * step, updates=[(step, step + 1)], name="slopes")
    shown = gx.explain(f, np.ones(50))
    assert shown.name == "slopes" and [(a.name, a.text) for a in shown.arguments] == [("x", "f64[50]"), ("step", "f64[]")]
    assert shown.measurement is not None and shown.source is None and "the argument step" in shown.text()
    assert gx.explain(f, [1.0, 2.0], measure=False).total.flops < shown.total.flops
    (profiled,) = gx.profile(f, np.ones(50), repeats=3).functions
    assert profiled.name == "slopes" and profiled.calls == 3
    assert step.get_value() == 2.0  # nothing was updated
    np.testing.assert_array_equal(f(np.ones(2)), [6.0, 6.0])
