"""Zeros of both signs, infinities and NaN: complex functions by the rules of the array API standard, transforms as NumPy."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, pi
from typing import Any

import numpy as np
import pytest

import gradxform as gx
import gradxform.numpy as gnp
from gradxform.array import Array
from gradxform.errors import TracerConversionError

#: The third element of a rule that leaves both signs open.
FREE = object()
#: (real part, imaginary part) of arguments and values; a third element names the part whose sign is open.
RULES: dict[str, list[tuple[Any, ...]]] = {
    "acos": [((0.0, 0.0), (pi / 2, -0.0)), ((-0.0, 0.0), (pi / 2, -0.0)), ((0.0, nan), (pi / 2, nan)),
             ((3.0, inf), (pi / 2, -inf)), ((-inf, 2.0), (pi, -inf)), ((inf, 2.0), (0.0, -inf)),
             ((-inf, inf), (3 * pi / 4, -inf)), ((inf, inf), (pi / 4, -inf)),
             ((inf, nan), (nan, inf), 1), ((nan, inf), (nan, -inf)), ((2.0, nan), (nan, nan)), ((nan, 2.0), (nan, nan))],
    "acosh": [((0.0, 0.0), (0.0, pi / 2)), ((3.0, inf), (inf, pi / 2)), ((-inf, 2.0), (inf, pi)), ((inf, 2.0), (inf, 0.0)),
              ((-inf, inf), (inf, 3 * pi / 4)), ((inf, inf), (inf, pi / 4)), ((inf, nan), (inf, nan)), ((nan, inf), (inf, nan)),
              ((0.0, nan), (nan, pi / 2), 1)],
    "asinh": [((0.0, 0.0), (0.0, 0.0)), ((2.0, inf), (inf, pi / 2)), ((inf, 2.0), (inf, 0.0)), ((inf, inf), (inf, pi / 4)),
              ((nan, 0.0), (nan, 0.0)), ((nan, inf), (inf, nan), 0), ((2.0, nan), (nan, nan))],
    "atanh": [((0.0, 0.0), (0.0, 0.0)), ((0.0, nan), (0.0, nan)), ((1.0, 0.0), (inf, 0.0)), ((2.0, inf), (0.0, pi / 2)),
              ((inf, 2.0), (0.0, pi / 2)), ((inf, inf), (0.0, pi / 2)), ((inf, nan), (0.0, nan)),
              ((nan, inf), (0.0, pi / 2), 0)],
    "cosh": [((0.0, 0.0), (1.0, 0.0)), ((0.0, inf), (nan, 0.0), 1), ((2.0, inf), (nan, nan)), ((inf, 0.0), (inf, 0.0)),
             ((inf, 2.0), (-inf, inf)), ((inf, inf), (inf, nan), 0), ((inf, nan), (inf, nan)), ((nan, 0.0), (nan, 0.0), 1)],
    "sinh": [((0.0, 0.0), (0.0, 0.0)), ((0.0, inf), (0.0, nan), 0), ((2.0, inf), (nan, nan)), ((inf, 0.0), (inf, 0.0)),
             ((inf, 2.0), (-inf, inf)), ((inf, inf), (inf, nan), 0), ((nan, 0.0), (nan, 0.0))],
    "tanh": [((0.0, 0.0), (0.0, 0.0)), ((0.0, inf), (0.0, nan)), ((2.0, inf), (nan, nan)), ((inf, 1.0), (1.0, 0.0)),
             ((inf, 2.0), (1.0, -0.0)), ((inf, inf), (1.0, 0.0), 1), ((inf, nan), (1.0, 0.0), 1), ((nan, 0.0), (nan, 0.0))],
    "exp": [((-0.0, 0.0), (1.0, 0.0)), ((2.0, inf), (nan, nan)), ((inf, 0.0), (inf, 0.0)), ((-inf, 2.0), (-0.0, 0.0)),
            ((inf, 2.0), (-inf, inf)), ((-inf, inf), (0.0, 0.0), FREE), ((inf, inf), (inf, nan), 0), ((nan, 0.0), (nan, 0.0))],
    "expm1": [((0.0, 0.0), (0.0, 0.0)), ((2.0, inf), (nan, nan)), ((inf, 0.0), (inf, 0.0)), ((inf, -0.0), (inf, -0.0)),
              ((-inf, 2.0), (-1.0, 0.0)), ((-inf, 4.0), (-1.0, -0.0)), ((inf, 2.0), (-inf, inf)), ((-inf, inf), (-1.0, 0.0), 1),
              ((inf, inf), (inf, nan), 0), ((-inf, nan), (-1.0, 0.0), 1), ((inf, nan), (inf, nan), 0), ((nan, 0.0), (nan, 0.0)),
              ((nan, 2.0), (nan, nan)), ((1e4, 0.0), (inf, 0.0)), ((1e4, 2.0), (-inf, inf))],
    "log": [((-0.0, 0.0), (-inf, pi)), ((0.0, 0.0), (-inf, 0.0)), ((2.0, inf), (inf, pi / 2)), ((-inf, 2.0), (inf, pi)),
            ((inf, 2.0), (inf, 0.0)), ((-inf, inf), (inf, 3 * pi / 4)), ((inf, nan), (inf, nan)), ((nan, inf), (inf, nan))],
    "log1p": [((-1.0, 0.0), (-inf, 0.0)), ((2.0, inf), (inf, pi / 2)), ((-inf, 2.0), (inf, pi)), ((inf, 2.0), (inf, 0.0)),
              ((-inf, inf), (inf, 3 * pi / 4)), ((inf, inf), (inf, pi / 4)), ((inf, nan), (inf, nan)),
              ((nan, inf), (inf, nan))],
    "sqrt": [((0.0, 0.0), (0.0, 0.0)), ((-0.0, 0.0), (0.0, 0.0)), ((2.0, inf), (inf, inf)), ((nan, inf), (inf, inf)),
             ((-inf, 2.0), (0.0, inf)), ((inf, 2.0), (inf, 0.0)), ((-inf, nan), (nan, inf), 1), ((inf, nan), (inf, nan))],
}
#: Functions that the standard defines by others: f(z) = -i g(iz), and cos(z) = cosh(iz).
TURNED = {"asin": "asinh", "atan": "atanh", "sin": "sinh", "tan": "tanh"}
GRID = np.array([complex(a, b) for a in (0.0, -0.0, 2.0, -2.0, inf, -inf) for b in (0.0, -0.0, 2.0, -2.0, inf, -inf)])


def evaluated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A traced function without compiling it."""
    return lambda *arguments: gx.vjp(function, *arguments)[0]


RUN = pytest.mark.parametrize("run", [gx.jit, evaluated], ids=["compiled", "evaluated"])
DTYPES = pytest.mark.parametrize("dtype", [np.complex128, np.complex64], ids=["complex128", "complex64"])


def exactly(found: float, expected: float, free: bool) -> bool:
    if np.isnan(expected):
        return bool(np.isnan(found))
    if free:
        found, expected = abs(found), abs(expected)
    if expected == 0 or np.isinf(expected):
        return bool(found == expected and np.signbit(found) == np.signbit(expected))
    return bool(np.isclose(found, expected, rtol=1e-6))


@RUN
@DTYPES
def test_complex_functions_keep_the_rules_of_the_standard(run: Callable[..., Any], dtype: type) -> None:
    arguments = {name: np.array([complex(*case[0]) for case in cases], dtype) for name, cases in RULES.items()}
    with np.errstate(all="ignore"):
        results = run(lambda given: {name: getattr(gnp, name)(z) for name, z in given.items()})(arguments)
    for name, cases in RULES.items():
        for case, found in zip(cases, results[name], strict=True):
            sign_open = case[2] if len(case) > 2 else None
            for index, part, expected in zip((0, 1), (found.real, found.imag), case[1], strict=True):
                assert exactly(part, expected, sign_open in (index, FREE)), (name, case, found)


def alike(found: Any, expected: Any) -> Any:
    """Equal, with the signs of zeros and infinities unless the other part is NaN."""
    ours, theirs = np.stack([found.real, found.imag]), np.stack([expected.real, expected.imag])
    same = (ours == theirs) & ((ours != 0) | (np.signbit(ours) == np.signbit(theirs)))
    missing = np.isnan(ours) & np.isnan(theirs)
    beside = np.isnan(theirs[::-1]) & (abs(ours) == abs(theirs))
    close = (theirs != 0) & np.isclose(ours, theirs, atol=0)
    return (same | missing | beside | close).all()


@RUN
def test_conjugates_and_turns(run: Callable[..., Any]) -> None:
    names = sorted({*RULES, *TURNED, *TURNED.values(), "cos"})

    def values(z: Any) -> dict[str, Any]:
        return {name: getattr(gnp, name)(z) for name in names}

    compute = run(values)
    with np.errstate(all="ignore"):
        straight, mirrored = compute(GRID), compute(np.conj(GRID))
        turned = np.empty_like(GRID)
        turned.real, turned.imag = -GRID.imag, GRID.real
        around = compute(turned)
    for name in names:
        assert alike(mirrored[name], np.conj(straight[name])), name
    for name, other in TURNED.items():
        back = np.empty_like(GRID)
        back.real, back.imag = around[other].imag, -around[other].real
        assert alike(straight[name], back), name
    assert alike(straight["cos"], around["cosh"])


@RUN
def test_hypot_and_copysign(run: Callable[..., Any]) -> None:
    values = np.array([0.0, -0.0, 1.5, -1.5, inf, -inf, nan])
    x, y = (part.ravel() for part in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        length, signed = run(lambda a, b: (gnp.hypot(a, b), gnp.copysign(a, b)))(x, y)
    infinite = np.isinf(x) | np.isinf(y)
    assert (length[infinite] == inf).all()
    missing = ~infinite & (np.isnan(x) | np.isnan(y))
    assert np.isnan(length[missing]).all()
    rest = ~infinite & ~missing
    np.testing.assert_allclose(length[rest], np.sqrt(x[rest] ** 2 + y[rest] ** 2))
    assert not np.signbit(length[~missing]).any()
    assert (np.signbit(signed) == np.signbit(y)).all()
    np.testing.assert_array_equal(np.abs(signed), np.abs(x))


@RUN
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_transforms_of_infinities(run: Callable[..., Any], norm: str) -> None:
    spectrum = np.array([[1 + 2j, complex(inf, 1), -3j], [complex(2, nan), 1, 4], [1, complex(-2, -inf), 0.5j], [1j, 2, 3]])
    numbers = np.array([[1.0, inf, -3.0, 2.0], [2.0, 1.0, nan, 4.0], [1.0, 2.0, 3.0, -inf]])
    complexes, reals = ("fft", "ifft", "irfft", "hfft", "fftn", "ifftn", "irfftn"), ("rfft", "ihfft", "rfftn", "fft", "ifft")

    def transforms(namespace: Any, z: Any, x: Any) -> list[Any]:
        return [*[getattr(namespace, name)(z, norm=norm) for name in complexes],
                *[getattr(namespace, name)(x, norm=norm) for name in reals]]

    with np.errstate(all="ignore"):
        found = run(lambda z, x: transforms(gnp.fft, z, x))(spectrum, numbers)
        expected = transforms(np.fft, spectrum, numbers)
    for name, ours, theirs in zip([*complexes, *reals], found, expected, strict=True):
        for part in (np.real, np.imag):
            np.testing.assert_allclose(part(ours), part(theirs), rtol=1e-12, atol=1e-12, err_msg=f"{name} {norm}")


@RUN
def test_running_sums_of_truth_values(run: Callable[..., Any]) -> None:
    for x in (np.array([0, 0, 256, 0]), np.array([1.5, nan, 0.0]), np.array([2j, 0, 1]), np.array([True, True, False])):
        sums, products, rows = run(lambda a: (gnp.cumsum(a, dtype=bool), gnp.cumprod(a, dtype=bool),
                                              gnp.cumulative_sum(a, dtype=bool, include_initial=True)))(x)
        for found, expected in ((sums, np.logical_or.accumulate(x != 0)), (products, np.logical_and.accumulate(x != 0)),
                                (rows, np.concatenate([[False], np.logical_or.accumulate(x != 0)]))):
            assert found.dtype == bool
            np.testing.assert_array_equal(found, expected)


def test_scaled_transforms_differentiate() -> None:
    x = np.array([0.3, -1.2, 2.0, 0.7, 1.1])
    matrix = np.exp(-2j * pi * np.outer(np.arange(5), np.arange(5)) / 5) / np.sqrt(5)
    jacobian = gx.jacfwd(lambda a: gnp.fft.fft(a, norm="ortho"))(x)
    np.testing.assert_allclose(jacobian, matrix, atol=1e-12)
    weights = np.arange(5.0)
    gradient = gx.jit(gx.grad(lambda a: gnp.sum(weights * gnp.real(gnp.fft.fft(a, norm="ortho")))))(x)
    np.testing.assert_allclose(gradient, weights @ matrix.real, atol=1e-12)


def test_exchange_is_refused_whatever_it_asks_for() -> None:
    def leaking(x: Array) -> Any:
        return x.__dlpack__(copy=True, max_version=(1, 0), dl_device=(1, 0), stream=None)

    with pytest.raises(TracerConversionError, match="cut its derivative"):
        gx.jit(leaking)(np.ones(2))
