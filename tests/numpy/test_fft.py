"""Fourier transforms: values against sums of exponentials, derivatives against the transform being linear."""

from __future__ import annotations

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform.core import run
from gradxform.errors import ArgumentError, DTypeError
from gradxform.primitives import fourier

RANDOM = np.random.default_rng(0)


def numbers(shape, dtype):
    x = RANDOM.standard_normal(shape)
    return (x + 1j * RANDOM.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def exponentials(n, sign):
    return np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 12, 17, 100])
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_primitives_are_sums_of_exponentials(n, dtype):
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == np.complex128 else {"rtol": 2e-4, "atol": 2e-4}
    x = numbers((3, n), dtype)
    for inverse in (False, True):
        expected = x @ exponentials(n, 1 if inverse else -1)
        np.testing.assert_allclose(gx.jit(lambda a, inverse=inverse: fourier.fft(a, inverse))(x), expected, **tolerance)
    spectrum = x.real @ exponentials(n, -1)
    half = spectrum[:, :n // 2 + 1]
    found = gx.jit(fourier.rfft)(x.real)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, half, **tolerance)
    back = gx.jit(lambda a: fourier.irfft(a, n))(half.astype(dtype))
    assert back.dtype == x.real.dtype
    np.testing.assert_allclose(back, n * x.real, rtol=tolerance["rtol"], atol=n * tolerance["atol"])


CASES = [
    ("fft", complex, {}), ("fft", float, {"n": 5, "axis": 0}), ("fft", complex, {"n": 3, "axis": 1, "norm": "ortho"}),
    ("ifft", complex, {"axis": -2, "norm": "forward"}), ("ifft", complex, {"n": 9}),
    ("rfft", float, {"n": 7}), ("rfft", float, {"axis": 0, "norm": "ortho"}),
    ("irfft", complex, {"n": 7}), ("irfft", complex, {"axis": 0, "norm": "forward"}),
    ("hfft", complex, {"n": 6}), ("ihfft", float, {"norm": "ortho"}),
    ("fft2", complex, {"s": (3, 6), "axes": (0, 2)}), ("ifft2", float, {"norm": "ortho"}),
    ("fftn", complex, {}), ("ifftn", complex, {"axes": (2, 0)}), ("fftn", complex, {"s": (4, -1), "axes": (1, 2)}),
    ("rfft2", float, {}), ("rfftn", float, {"s": (3, 5), "axes": (2, 0)}), ("rfftn", float, {"norm": "forward"}),
    ("irfft2", complex, {}), ("irfftn", complex, {"axes": (0, 2)}), ("irfftn", complex, {"s": (3, 5), "axes": (1, 2)}),
    ("fftshift", float, {}), ("fftshift", complex, {"axes": 1}), ("ifftshift", float, {"axes": (0, 2)}),
]


@pytest.mark.parametrize(("name", "dtype", "settings"), CASES)
def test_functions_in_every_mode(name, dtype, settings):
    """NumPy gives the values; since all are linear, also the tangents, and by <c, F t> = <F' c, t> the cotangents."""
    function = getattr(np.fft, name)

    def apply(a):
        return function(a, **settings)

    x, t = numbers((4, 5, 6), dtype), numbers((4, 5, 6), dtype)
    expected, pushed = apply(x), apply(t)
    found, tangent = gx.jit(lambda a, b: gx.jvp(apply, (a,), (b,)))(x, t)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(tangent, pushed, rtol=1e-11, atol=1e-12)
    c = numbers(expected.shape, expected.dtype)
    (cotangent,) = gx.jit(lambda a, b: gx.vjp(apply, a)[1](b))(x, c)
    assert cotangent.dtype == x.dtype
    np.testing.assert_allclose(np.sum(cotangent * t).real, np.sum(c * pushed).real, rtol=1e-9)
    lanes = gx.vmap(apply, in_axes=1, out_axes=0)(np.stack([x, t], axis=1))
    np.testing.assert_allclose(lanes, [expected, pushed], rtol=1e-11, atol=1e-12)


def test_the_same_under_the_name_of_the_face():
    x = numbers((3, 4), complex)
    for name in gnp.fft.__all__:
        if name.endswith("freq"):
            np.testing.assert_array_equal(getattr(gnp.fft, name)(5, 0.3), getattr(np.fft, name)(5, 0.3))
        else:
            argument = x.real if name in ("rfft", "rfft2", "rfftn", "ihfft") else x
            np.testing.assert_array_equal(getattr(gnp.fft, name)(argument), getattr(np.fft, name)(argument))


def test_second_derivative_of_a_power_spectrum():
    """|F x|^2 weighted by w is the quadratic form of Re(F* W F), which is its Hessian over 2."""
    n, w = 6, RANDOM.random(6)
    matrix = exponentials(n, -1)
    expected = 2 * np.real(matrix.conj().T @ (w[:, None] * matrix))
    found = gx.hessian(lambda x: np.sum(w * np.abs(np.fft.fft(x)) ** 2))(RANDOM.standard_normal(n))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_derivative_in_the_spacing_of_frequencies():
    slope = gx.jacfwd(lambda d: gnp.fft.fftfreq(4, d))(0.5)
    np.testing.assert_allclose(slope, -np.fft.fftfreq(4, 0.5) / 0.5, rtol=1e-12)


def test_program_level_and_empty_batches():
    empty = np.zeros((0, 4), complex)
    assert gx.jit(np.fft.fft)(empty).shape == (0, 4)
    assert gx.jit(np.fft.rfft)(empty.real).shape == (0, 3)
    x = numbers((2, 3), complex)
    program = gx.make_ir(np.fft.fft)(x)
    np.testing.assert_allclose(run(program, [x])[0], x @ exponentials(3, -1), rtol=1e-12)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: np.fft.fft(x, n=0), ArgumentError, r"fft: Invalid number of FFT data points \(0\)"),
    (lambda x: np.fft.fft(x, norm="sideways"), ArgumentError, 'Invalid norm value sideways; should be "backward"'),
    (lambda x: np.fft.fftn(x, s=(2,), axes=(0, 1)), ArgumentError, "Shape and axes have different lengths"),
    (lambda x: np.fft.rfft(x * 1j), DTypeError, "rfft: expected real numbers, got complex128"),
])
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        gx.jit(call)(np.ones((3, 3)))
