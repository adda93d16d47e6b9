"""Fourier transforms of many lengths: against the sum in more digits, NumPy's transforms, and what is known of them."""

from __future__ import annotations

import re
from dataclasses import replace

import mpmath
import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import fourier_plan, fourier_text
from gradxform.backend.fourier_plan import plan
from gradxform.backend.fourier_roots import roots
from gradxform.config import config
from gradxform.primitives import fourier

RANDOM = np.random.default_rng(7)
WIDE = np.clongdouble


def numbers(*shape):
    return RANDOM.standard_normal(shape) + 1j * RANDOM.standard_normal(shape)


def distance(found, expected):
    """Of all together, in parts of the size of the whole."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def sums(x, sign):
    """The transform by its definition in the widest floats; powers of one root are exact enough."""
    n = x.shape[-1]
    angles = np.longdouble(2) * np.arccos(np.longdouble(-1)) * (np.outer(np.arange(n), np.arange(n)) % n) / n
    return x.astype(WIDE) @ (np.cos(angles) + sign * 1j * np.sin(angles))


def all_four(z):
    """Each transform of complex numbers ``z`` or their real parts, as compiled."""
    n = z.shape[-1]

    def apply(a):
        x = np.real(a)
        return fourier.fft(a), fourier.fft(a, True), fourier.rfft(x), fourier.irfft(a[..., :n // 2 + 1], n)

    return gx.jit(apply)(z)


LENGTHS = [*range(1, 14), 16, 17, 25, 32, 49, 60, 64, 66, 72, 80, 97, 98, 100, 104, 120, 121, 125, 126, 127, 128, 130, 131,
           143, 160, 176, 180, 192, 208, 210, 216, 225, 240, 243, 250, 251, 256, 264, 300, 343]


@pytest.mark.parametrize("n", LENGTHS)
def test_against_sums(n):
    z = numbers(2, n)
    tolerance = 2e-16 * (1 + np.log2(n))
    forward, inverse, half, real = all_four(z)
    assert distance(forward, sums(z, -1)) < tolerance
    assert distance(inverse, sums(z, 1)) < tolerance
    assert distance(half, sums(z.real, -1)[:, :n // 2 + 1]) < tolerance
    # The spectrum whose first half is given; the imaginary part of the first number, and of that in the middle, is not used.
    spectrum = np.zeros((2, n), complex)
    spectrum[:, :n // 2 + 1] = z[:, :n // 2 + 1]
    spectrum[:, 0] = z[:, 0].real
    if n % 2 == 0:
        spectrum[:, n // 2] = z[:, n // 2].real
    spectrum[:, n // 2 + 1:] = spectrum[:, 1:(n + 1) // 2][:, ::-1].conj()
    assert distance(real, sums(spectrum, 1).real) < tolerance


@pytest.mark.parametrize("n", [512, 1000, 1001, 1024, 1250, 2 ** 12, 2 ** 13, 2 ** 4 * 3 ** 3 * 5 ** 2, 7 ** 3 * 16,
                               11 * 13 * 64,4099, 10_000, 65_536, 100_000, 98_415, 1_000_000])
def test_as_accurate_as_that_of_more_digits(n):
    z = numbers(n)
    forward, inverse, half, real = all_four(z)
    wide = z.astype(WIDE)
    bound = 1e-16 * (1 + np.log2(n))  # the widest floats of some platforms have no more digits
    assert distance(forward, np.fft.fft(wide)) < bound
    assert distance(inverse, np.fft.ifft(wide, norm="forward")) < bound
    assert distance(half, np.fft.rfft(wide.real)) < bound
    assert distance(real, np.fft.irfft(wide[:n // 2 + 1], n, norm="forward")) < bound
    np.testing.assert_allclose(np.sum(np.abs(forward) ** 2), n * np.sum(np.abs(z) ** 2), rtol=1e-13)


def test_not_less_accurate_than_numpy():
    """Over many signals: errors of a single one vary by chance."""
    for n in (120, 512, 1000, 1296, 2401):
        z = numbers(40, n)
        expected = np.fft.fft(z.astype(WIDE))
        found, theirs = gx.jit(np.fft.fft)(z), np.fft.fft(z)
        assert distance(found, expected) < 1.1 * distance(theirs, expected)


@pytest.mark.parametrize("n", [64, 96, 120, 250, 1000, 1024])
def test_of_singles(n):
    z = numbers(3, n).astype(np.complex64)
    wide = z.astype(complex)
    results = all_four(z)
    expected = (np.fft.fft(wide), np.fft.ifft(wide, norm="forward"), np.fft.rfft(wide.real),
                np.fft.irfft(wide[:, :n // 2 + 1], n, norm="forward"))
    for found, each in zip(results, expected, strict=True):
        assert found.dtype.itemsize * 2 == each.dtype.itemsize
        assert distance(found, each) < 3e-7


@pytest.mark.parametrize("shape", [(1, 128), (9, 128), (3, 5, 128), (200, 128), (70, 1000), (2, 0, 128)])
@pytest.mark.parametrize("axis", [-1, 0])
def test_of_batches(shape, axis):
    z = np.moveaxis(numbers(*shape), -1, axis)
    for norm in (None, "ortho", "forward"):
        found = gx.jit(lambda a, norm=norm: np.fft.fft(a, axis=axis, norm=norm))(z)
        assert found.shape == z.shape
        np.testing.assert_allclose(found, np.fft.fft(z, axis=axis, norm=norm), rtol=1e-12, atol=1e-12)
    real = gx.jit(lambda a: np.fft.irfft(np.fft.rfft(a, axis=axis), shape[-1], axis=axis))(z.real)
    np.testing.assert_allclose(real, z.real, atol=1e-14)


def test_equal_rows_have_equal_spectra():
    """Whatever lies around them, and wherever a vector or a chunk begins."""
    for n in (24, 64, 128, 1000):
        z = numbers(43, n)
        z[[5, 17, 42]] = z[0]
        forward, inverse, half, real = all_four(z)
        for found in (forward, inverse, half, real):
            for k in (5, 17, 42):
                np.testing.assert_array_equal(found[k], found[0])


@pytest.mark.parametrize("n", [8, 9, 11, 13, 14, 16, 22, 24, 30, 49, 64, 77, 128, 182])
@pytest.mark.parametrize("dtype", [complex, np.complex64])
def test_of_rows_side_by_side(n, dtype):
    tolerance = 1e-15 if dtype is complex else 5e-7
    for rows in (15, 16, 43):
        z = numbers(rows, n).astype(dtype)
        forward, inverse, half, real = all_four(z)
        assert distance(forward, np.fft.fft(z.astype(complex))) < tolerance
        assert distance(inverse, np.fft.ifft(z.astype(complex), norm="forward")) < tolerance
        assert distance(half, np.fft.rfft(z.real.astype(float))) < tolerance
        assert distance(real, np.fft.irfft(z[:, :n // 2 + 1].astype(complex), n, norm="forward")) < tolerance


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_with_vectors_of_other_processors(lanes, monkeypatch):
    narrow = replace(fourier_plan.geometry("float64"), lanes=lanes)
    monkeypatch.setattr(fourier_plan, "geometry", lambda dtype: narrow)
    plan.cache_clear()
    try:
        for rows, n in ((1, 512), (1, 1000), (37, 32), (37, 54)):
            z = numbers(rows, n)
            # A sum of its own, so that no program of other vectors is found in a cache.
            found = gx.jit(lambda x: np.fft.fft(x) + lanes)(z) - lanes
            assert distance(found, np.fft.fft(z)) < 1e-15 * lanes
            halves = gx.jit(lambda x: np.fft.irfft(np.fft.rfft(x)) + lanes)(z.real) - lanes
            assert distance(halves, z.real) < 1e-15 * lanes
    finally:
        plan.cache_clear()


def test_of_strides():
    z = numbers(6, 256)
    transform = gx.jit(np.fft.fft)
    for view in (z[::2], z[:, ::-1], z[:, ::2], z.T.copy().T):
        np.testing.assert_allclose(transform(view), np.fft.fft(view), rtol=1e-12, atol=1e-12)
    shifted = np.empty(2 * 256 + 1)[1:].view(complex)
    shifted[:] = z[0]
    np.testing.assert_array_equal(transform(shifted), transform(z[0].copy()))


@pytest.fixture
def restored():
    before = config.num_threads, config.parallel_threshold
    yield
    config.num_threads, config.parallel_threshold = before


def same_bits(z):
    """All transforms of ``z`` on one thread and on several, as they come out and after each other."""
    n = z.shape[-1]

    def apply(a):
        half = np.fft.rfft(np.real(a))
        return np.fft.fft(a), np.fft.ifft(a), half, np.fft.irfft(half, n), np.fft.irfft(a[..., :n // 2 + 1], n)

    compiled = gx.jit(apply)
    config.num_threads = 1
    alone = compiled(z)
    for threads in (2, 5):
        config.num_threads = threads
        for _ in range(3):
            for one, other in zip(alone, compiled(z), strict=True):
                np.testing.assert_array_equal(one, other)
    return alone


@pytest.mark.parametrize("shape", [(40, 3000), (20_000,), (3, 30_030), (98_415,), (2, 131_072), (10_007, 12), (307, 64),
                                   (17, 20_000)])
def test_bits_on_one_thread_and_several(restored, shape):
    z = numbers(*shape)
    forward, inverse, half, real, _ = same_bits(z)
    assert distance(forward, np.fft.fft(z)) < 1e-15
    assert distance(inverse, np.fft.ifft(z)) < 1e-15
    assert distance(half, np.fft.rfft(z.real)) < 1e-15
    assert distance(real, z.real) < 1e-15


@pytest.mark.parametrize("dtype", [complex, np.complex64])
def test_of_shares(restored, monkeypatch, dtype):
    """As long ones are cut, so are short ones here: whatever number of vectors is left for the last share."""
    monkeypatch.setattr(fourier_text, "CHUNK_WORK", 1.0)
    config.parallel_threshold = 7  # no other test's programs are found in a cache
    for shape in ((256,), (2, 286), (1001,), (1024,), (1320,), (2, 1000), (2, 3, 2048), (4374,), (43, 8), (90, 30)):
        z = numbers(*shape).astype(dtype)
        forward, inverse, half, real, other = same_bits(z)
        n, wide, bound = shape[-1], z.astype(complex), 1e-15 if dtype is complex else 1e-6
        assert distance(forward, np.fft.fft(wide)) < bound
        assert distance(inverse, np.fft.ifft(wide)) < bound
        assert distance(half, np.fft.rfft(wide.real)) < bound
        assert distance(real, wide.real) < bound
        assert distance(other, np.fft.irfft(wide[..., :n // 2 + 1], n)) < bound


def test_how_transforms_are_shared(restored):
    config.parallel_threshold = 50_000

    def chunks(*shape):
        text = str(gx.jit(np.fft.rfft).lower(np.empty(shape)).loops)
        found = re.search(r"fft\.real\[([^]]*)\]", text)[1].split(", ")
        return tuple(map(int, found[2:]))

    assert chunks(1000) == (1000,)
    assert chunks(1_000_000) == (1_000_000, 16)
    assert chunks(3, 1_000_000) == (1_000_000, 16)
    assert chunks(100, 1_000_000) == (1_000_000, 16)  # each chunk of rows would need as much memory as one of them
    assert chunks(100, 50_000) == (50_000,)
    assert chunks(10_007, 16) == (16, 4)


def test_special_values_go_everywhere():
    z = numbers(256)
    z[3] = np.nan
    assert np.isnan(gx.jit(np.fft.fft)(z)).all()
    assert np.isnan(gx.jit(np.fft.rfft)(z.real)).all()
    np.testing.assert_array_equal(gx.jit(np.fft.fft)(np.zeros(256, complex)), np.zeros(256))
    impulse = np.zeros(1000)
    impulse[0] = 1
    np.testing.assert_array_equal(gx.jit(np.fft.rfft)(impulse), np.ones(501))


@pytest.mark.parametrize("n", [5, 12, 240, 243, 1000])
def test_roots_are_rounded_once(n):
    found = roots(np.arange(-n, n), n)
    with mpmath.workprec(120):
        for k, root in zip(range(-n, n), found, strict=True):
            exact = mpmath.expjpi(mpmath.mpf(-2 * k) / n)
            assert abs(exact.real - root.real) <= 0.51 * np.spacing(abs(root.real)) or abs(exact.real) < 1e-30
            assert abs(exact.imag - root.imag) <= 0.51 * np.spacing(abs(root.imag)) or abs(exact.imag) < 1e-30
    assert roots(0, n) == 1
    if n % 4 == 0:
        assert roots(n // 4, n) == -1j


def test_which_lengths_have_passes():
    for n in (64, 100, 1000, 10_000, 2 ** 20, 3 ** 9, 13 * 11 * 64):
        found = plan("float64", n)
        assert found is not None
        assert np.prod(found.extents) == n
        assert min(found.extents) >= found.lanes
    assert plan("float64", 4099) is None
    assert plan("float64", 17 * 64) is None
