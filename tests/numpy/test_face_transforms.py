"""The table of calls compiled, batched and differentiated; the truth is NumPy, called on plain arrays."""

import numpy as np
import pytest
from numpy_calls import CALLS
from test_face import ARRAYS, assert_same, evaluate, leaves, names_in

import gradxform as gx
import gradxform.numpy as gnp

TRANSFORMABLE = [call for call in CALLS if not call.startswith("KNOWN ")]
#: Where nothing jumps and no two elements tie.
SMOOTH = {**ARRAYS, "v": np.array([0.3, -1.2, 2.3, 0.1, 0.7])}
STEP = 1e-6
#: Relative to the largest element; central differences with STEP lose this much.
DIFFERENCE_TOLERANCE = 3e-5
#: Not differentiable at the arrays of the table.
SINGULAR = {"m.std(x)", "m.std(A, 0, where=M, ddof=1, keepdims=True)", "m.fmod(v, -0.4)"}


def function_of(call, names, module):
    return lambda *arrays: leaves(evaluate(call, module, {**ARRAYS, **dict(zip(names, arrays, strict=True))}))


@pytest.mark.parametrize("call", TRANSFORMABLE)
def test_compiled_equals_numpy(call):
    names = names_in(call)
    expected = leaves(evaluate(call, np, ARRAYS))
    found = gx.jit(function_of(call, names, gnp))(*[ARRAYS[name] for name in names])
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, sign_of_zero=False)


@pytest.mark.parametrize("call", [call for call in TRANSFORMABLE if names_in(call)])
def test_batched_equals_a_loop(call):
    names = names_in(call)
    lanes = [np.stack([np.roll(np.ravel(ARRAYS[name]), shift).reshape(np.shape(ARRAYS[name])) for shift in (0, 1)])
             for name in names]
    reference = function_of(call, names, np)
    expected = [reference(*[lane[k] for lane in lanes]) for k in (0, 1)]
    found = gx.vmap(function_of(call, names, gnp))(*lanes)
    for position, one in enumerate(found):
        assert_same(one, np.stack([np.asarray(row[position]) for row in expected]), sign_of_zero=False)


def differentiable(call):
    floats = [name for name in names_in(call) if np.asarray(SMOOTH[name]).dtype == np.float64 and np.size(SMOOTH[name])]
    results = [k for k, x in enumerate(leaves(evaluate(call, np, SMOOTH))) if np.asarray(x).dtype == np.float64]
    return floats, results


@pytest.mark.parametrize("call", [
    call for call in TRANSFORMABLE
    if call not in SINGULAR and not set(names_in(call)) & {"z", "N"} and all(differentiable(call))
])
def test_derivatives_against_differences(call):
    floats, results = differentiable(call)

    def function(module):
        def chosen(*arrays):
            found = leaves(evaluate(call, module, {**SMOOTH, **dict(zip(floats, arrays, strict=True))}))
            return [found[k] for k in results]

        return chosen

    generator = np.random.default_rng(5)
    points = [np.asarray(SMOOTH[name]) for name in floats]
    directions = [generator.standard_normal(np.shape(p)) for p in points]
    ahead, behind = (function(np)(*[p + step * d for p, d in zip(points, directions, strict=True)])
                     for step in (STEP, -STEP))
    values, tangents = gx.jvp(function(gnp), tuple(points), tuple(directions))
    for tangent, plus, minus in zip(tangents, ahead, behind, strict=True):
        difference = (np.asarray(plus) - minus) / (2 * STEP)
        scale = np.max(np.abs(difference), initial=1.0)
        np.testing.assert_allclose(tangent, difference, rtol=DIFFERENCE_TOLERANCE, atol=DIFFERENCE_TOLERANCE * scale)
    cotangents = [generator.standard_normal(np.shape(value)) for value in values]
    pulled = gx.vjp(function(gnp), *points)[1](cotangents)
    forward = sum(np.sum(c * t) for c, t in zip(cotangents, tangents, strict=True))
    reverse = sum(np.sum(p * d) for p, d in zip(pulled, directions, strict=True))
    np.testing.assert_allclose(forward, reverse, rtol=1e-10, atol=1e-10)


def test_conventions_at_kinks():
    assert gx.grad(gnp.abs)(0.0) == 0.0
    assert gx.grad(lambda x: gnp.maximum(x, 1.0))(1.0) == 0.5
    assert gx.grad(lambda x: gnp.clip(x, 0.0, 1.0))(1.0) == 0.5
    np.testing.assert_array_equal(gx.grad(gnp.max)(np.array([2.0, 1.0, 2.0])), [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(gx.grad(gnp.prod)(np.array([0.0, 2.0, 3.0])), [6.0, 0.0, 0.0])
    assert gx.grad(lambda x: gnp.fmod(x, 2.0))(0.0) == 1.0
    assert gx.grad(lambda x: gnp.modf(x)[0])(3.0) == 1.0


def test_sinc_near_zero():
    derivatives = [gnp.sinc]
    for _ in range(4):
        derivatives.append(gx.grad(derivatives[-1]))
    for x in (0.0, 1e-9, 1e-3):
        expected = [1.0, -np.pi**2 * x / 3.0, -np.pi**2 / 3.0, np.pi**4 * x / 5.0, np.pi**4 / 5.0]
        found = [float(function(x)) for function in derivatives]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_interpolation_differentiates_in_the_table():
    points, values = np.array([0.0, 1.0, 3.0]), np.array([1.0, 4.0, 0.0])
    by_x, by_points, by_values = gx.grad(gnp.interp, argnums=(0, 1, 2))(2.0, points, values)
    assert by_x == -2.0
    np.testing.assert_allclose(by_values, [0.0, 0.5, 0.5])
    np.testing.assert_allclose(by_points, [0.0, 1.0, 1.0])
