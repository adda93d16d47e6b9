"""Discrete Fourier transforms: the functions of ``numpy.fft``, in both modes of differentiation.

Arguments, results, precision and normalisation are NumPy's. All are linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from operator import index
from typing import Any

import numpy as np

from gradxform.core import Tracer, dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import complex_dtype, float64, part_dtype
from gradxform.errors import ArgumentError, DTypeError
from gradxform.linear import move_axis
from gradxform.numpy.arrangement import roll
from gradxform.numpy.dispatch import as_inexact, refuse_out, traced
from gradxform.operands import cast, lift, normalize_axes, normalize_axis
from gradxform.primitives import fourier
from gradxform.primitives.arithmetic import mul
from gradxform.primitives.complex import complex as complex_number
from gradxform.primitives.complex import conj, imag, real
from gradxform.primitives.shape import pad, slice_along

_OPPOSITE = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _operand(name: str, a: Any) -> Any:
    """``a`` in a float or complex dtype: float64, of integers and booleans of every size."""
    operand = lift(name, a)
    return lift(name, cast(operand, float64) if dtype_of(operand).kind in "biu" else as_inexact(name, operand))


def _as_complex(x: Any) -> Any:
    return cast(x, complex_dtype(dtype_of(x)))


def _extent(name: str, n: Any) -> int:
    """A number of points. ArgumentError in NumPy's words unless there is at least one."""
    extent = index(n)
    if extent < 1:
        raise ArgumentError(f"{name}: Invalid number of FFT data points ({extent}) specified.{user_line()}")
    return extent


def _fitted(x: Any, axis: int, extent: int) -> Any:
    """``x`` cut, or filled up with zeros, to ``extent`` along ``axis``."""
    shape = shape_of(x)
    if shape[axis] >= extent:
        return slice_along(x, axis, 0, extent)
    none = [0] * len(shape)
    high = list(none)
    high[axis] = extent - shape[axis]
    return pad(x, dtype_of(x).type(0), tuple(none), tuple(high), tuple(none))


def _scaled(name: str, x: Any, points: int, norm: Any, forward: bool) -> Any:
    """The factor that ``norm`` asks for; "backward" puts 1/n to the inverse transform."""
    if norm not in _OPPOSITE:
        raise ArgumentError(f'{name}: Invalid norm value {norm}; should be "backward", "ortho" or "forward".{user_line()}')
    chosen = norm or "backward"
    if chosen == "ortho":
        return _times(x, 1 / sqrt(points))
    return x if (chosen == "backward") is forward else _times(x, 1 / points)


def _times(x: Any, factor: float) -> Any:
    """``x`` times a real number, part by part: the zero of ``factor + 0j`` would make NaN of an infinite part."""
    dtype = dtype_of(x)
    number = part_dtype(dtype).type(factor)
    if dtype.kind != "c":
        return mul(x, number)
    return complex_number(mul(real(x), number), mul(imag(x), number))


def _along(x: Any, axis: int, transform: Callable[[Any], Any]) -> Any:
    """A transform of the last axis, along ``axis``."""
    last = len(shape_of(x)) - 1
    return move_axis(transform(move_axis(x, axis, last)), last, axis)


# ----------------------------------------------------------------------------------------------------------- one axis


def _one(name: str, a: Any, n: Any, axis: Any, norm: Any, inverse: bool) -> Any:
    x = _as_complex(_operand(name, a))
    place = normalize_axis(name, axis, len(shape_of(x)))
    points = _extent(name, shape_of(x)[place] if n is None else n)
    result = _along(_fitted(x, place, points), place, lambda y: fourier.fft(y, inverse))
    return _scaled(name, result, points, norm, not inverse)


def _half(name: str, a: Any, n: Any, axis: Any, norm: Any, forward: bool = True) -> Any:
    """The half spectrum of real numbers."""
    x = _operand(name, a)
    if dtype_of(x).kind == "c":
        raise DTypeError(f"{name}: expected real numbers, got {dtype_of(x)}: take .real, or use fft{user_line()}")
    place = normalize_axis(name, axis, len(shape_of(x)))
    points = _extent(name, shape_of(x)[place] if n is None else n)
    return _scaled(name, _along(_fitted(x, place, points), place, fourier.rfft), points, norm, forward)


def _whole(name: str, a: Any, n: Any, axis: Any, norm: Any, forward: bool = False) -> Any:
    """Real numbers of a half spectrum."""
    x = _as_complex(_operand(name, a))
    place = normalize_axis(name, axis, len(shape_of(x)))
    points = _extent(name, 2 * (shape_of(x)[place] - 1) if n is None else n)
    result = _along(_fitted(x, place, points // 2 + 1), place, lambda y: fourier.irfft(y, points))
    return _scaled(name, result, points, norm, forward)


@traced(np.fft.fft)
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The discrete Fourier transform along ``axis``, cut or filled up with zeros to ``n`` points.

    >>> import numpy as np
    >>> import gradxform as gx
    >>> gx.jit(gx.numpy.fft.fft)(np.array([1.0, 0.0, 0.0, 0.0]))
    array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    refuse_out("fft", out)
    return _one("fft", a, n, axis, norm, False)


@traced(np.fft.ifft)
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``fft``."""
    refuse_out("ifft", out)
    return _one("ifft", a, n, axis, norm, True)


@traced(np.fft.rfft)
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The first half of the spectrum of real numbers, n // 2 + 1 points."""
    refuse_out("rfft", out)
    return _half("rfft", a, n, axis, norm)


@traced(np.fft.irfft)
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``rfft``: ``n`` real numbers, by default 2 * (m - 1) of m points."""
    refuse_out("irfft", out)
    return _whole("irfft", a, n, axis, norm)


@traced(np.fft.hfft)
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The real spectrum of a signal that is the conjugate of its mirror image, of which ``a`` is the first half."""
    refuse_out("hfft", out)
    return _whole("hfft", conj(_as_complex(_operand("hfft", a))), n, axis, norm, forward=True)


@traced(np.fft.ihfft)
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``hfft``."""
    refuse_out("ihfft", out)
    return conj(_half("ihfft", a, n, axis, norm, forward=False))


# ------------------------------------------------------------------------------------------------------- several axes


def _extents(name: str, shape: Sequence[int], s: Any, axes: Any, last: int | None) -> tuple[list[int], list[int]]:
    """The points along each of the axes, and these; ``last`` gives the points of the last one where ``s`` does not."""
    rank = len(shape)
    if axes is None:
        # NumPy takes the last len(s) axes.
        places = list(range(rank)) if s is None else list(range(rank - len(s), rank))
    else:
        places = [normalize_axis(name, axis, rank) for axis in axes]
    if s is not None and len(s) != len(places):
        raise ArgumentError(f"{name}: Shape and axes have different lengths.{user_line()}")
    extents = [shape[a] for a in places] if s is None else [
        shape[a] if n == -1 else index(n) for a, n in zip(places, s, strict=True)]
    if s is None and last is not None and places:
        extents[-1] = last
    return extents, places


def _several(name: str, a: Any, s: Any, axes: Any, norm: Any, transform: Callable[..., Any]) -> Any:
    x = _operand(name, a)
    extents, places = _extents(name, shape_of(x), s, axes, None)
    for n, axis in zip(reversed(extents), reversed(places), strict=True):
        x = transform(x, n=n, axis=axis, norm=norm)
    return x


@traced(np.fft.fftn)
def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """``fft`` along several axes, by default all."""
    refuse_out("fftn", out)
    return _several("fftn", a, s, axes, norm, fft)


@traced(np.fft.ifftn)
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``fftn``."""
    refuse_out("ifftn", out)
    return _several("ifftn", a, s, axes, norm, ifft)


@traced(np.fft.fft2)
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """``fftn`` along the last two axes."""
    refuse_out("fft2", out)
    return _several("fft2", a, s, axes, norm, fft)


@traced(np.fft.ifft2)
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``fft2``."""
    refuse_out("ifft2", out)
    return _several("ifft2", a, s, axes, norm, ifft)


def _real_several(name: str, a: Any, s: Any, axes: Any, norm: Any) -> Any:
    x = _operand(name, a)
    extents, places = _extents(name, shape_of(x), s, axes, None)
    x = _half(name, x, extents[-1], places[-1], norm)
    for n, axis in zip(reversed(extents[:-1]), reversed(places[:-1]), strict=True):
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def _inverse_real_several(name: str, a: Any, s: Any, axes: Any, norm: Any) -> Any:
    x = _operand(name, a)
    shape = shape_of(x)
    rank = len(shape)
    given = normalize_axes(name, axes, rank) if axes is not None else tuple(range(rank))
    extents, places = _extents(name, shape, s, axes, 2 * (shape[given[-1]] - 1) if given else None)
    for n, axis in zip(extents[:-1], places[:-1], strict=True):
        x = ifft(x, n=n, axis=axis, norm=norm)
    return _whole(name, x, extents[-1], places[-1], norm)


@traced(np.fft.rfftn)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """``rfft`` along the last of ``axes``, then ``fft`` along the others."""
    refuse_out("rfftn", out)
    return _real_several("rfftn", a, s, axes, norm)


@traced(np.fft.irfftn)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``rfftn``."""
    refuse_out("irfftn", out)
    return _inverse_real_several("irfftn", a, s, axes, norm)


@traced(np.fft.rfft2)
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """``rfftn`` along the last two axes."""
    refuse_out("rfft2", out)
    return _real_several("rfft2", a, s, axes, norm)


@traced(np.fft.irfft2)
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """The inverse of ``rfft2``."""
    refuse_out("irfft2", out)
    return _inverse_real_several("irfft2", a, s, axes, norm)


# --------------------------------------------------------------------------------------------------------- frequencies


def _frequencies(function: Callable[..., Any], n: Any, d: Any) -> Any:
    """They are linear in 1 / d, which may be traced."""
    if not isinstance(n, (int, np.integer)):
        raise ArgumentError(f"{function.__name__}: n should be an integer, got {n!r}{user_line()}")
    return function(n) / d if isinstance(d, Tracer) else function(n, d)


def fftfreq(n: int, d: Any = 1.0, device: Any = None) -> Any:
    """The frequencies of the points of an ``fft`` of ``n`` samples that are ``d`` apart."""
    return _frequencies(np.fft.fftfreq, n, d)


def rfftfreq(n: int, d: Any = 1.0, device: Any = None) -> Any:
    """The frequencies of the points of an ``rfft`` of ``n`` samples that are ``d`` apart."""
    return _frequencies(np.fft.rfftfreq, n, d)


@traced(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """``x`` with frequency 0 moved to the middle of ``axes``."""
    operand = lift("fftshift", x)
    places = normalize_axes("fftshift", axes, len(shape_of(operand)))
    return roll(operand, tuple([shape_of(operand)[a] // 2 for a in places]), places)


@traced(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of ``fftshift``."""
    operand = lift("ifftshift", x)
    places = normalize_axes("ifftshift", axes, len(shape_of(operand)))
    return roll(operand, tuple([-(shape_of(operand)[a] // 2) for a in places]), places)


__all__ = ["fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
           "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn"]
