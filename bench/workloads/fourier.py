"""Fourier transforms of n real numbers, value and gradient: fit of a convolution, energy of a spectral derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_torch_tape, with_torch_transform
from bench.workload import Workload

SIZES = (1_000, 10_000, 100_000, 1_000_000)
TITLES = {"convolution": "circular convolution fitted to a signal", "derivative": "energy of a spectral derivative"}
#: A real transform of n numbers counts as 2.5 n log2(n) operations; how many there are in the gradient written by hand.
TRANSFORMS = {"convolution": 6, "derivative": 3}


@functools.lru_cache(maxsize=1)
def operands(kind: str, size: int) -> tuple[np.ndarray, ...]:
    """Make a signal and, for the convolution, a filter and what should come out; else wave numbers."""
    random = np.random.default_rng(53)
    if kind == "convolution":
        signal, target = random.standard_normal((2, size))
        return signal, np.exp(-np.arange(size) / 20.0) / 20.0, target
    # Points at a distance of 1, so that no wave is amplified by more than pi, however many points there are.
    waves = 2 * np.pi * np.fft.rfftfreq(size)
    waves[-1] *= size % 2  # for an even number of points the fastest wave has no derivative
    return random.standard_normal(size), waves


def objective(kind: str, fourier: Any) -> Callable[..., Any]:
    """Write what is differentiated for all libraries, given the module with their transforms."""

    def convolution(signal: Any, response: Any, target: Any) -> Any:
        residual = fourier.irfft(fourier.rfft(signal) * fourier.rfft(response), len(signal)) - target
        return 0.5 * (residual * residual).sum()

    def derivative(signal: Any, waves: Any) -> Any:
        """The Hamiltonian of the equation of Korteweg and de Vries."""
        slope = fourier.irfft(1j * waves * fourier.rfft(signal), len(signal))
        return (0.5 * slope * slope - signal * signal * signal).sum()

    return convolution if kind == "convolution" else derivative


def differentiated(kind: str) -> int | tuple[int, ...]:
    """Say which arguments are differentiated: signal and filter, or the signal."""
    return (0, 1) if kind == "convolution" else 0


def with_both(kind: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.value_and_grad(objective(kind, numpy.fft), differentiated(kind))


def with_torch(kind: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's tape."""
    return with_torch_tape(torch, objective(kind, torch.fft), 2 if kind == "convolution" else 1)


def with_torch_transforms(kind: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms."""
    return with_torch_transform(torch, objective(kind, torch.fft), differentiated(kind))


def by_hand(kind: str, signal: np.ndarray, *given: np.ndarray) -> Any:
    """Compute it with derivatives from paper, that of the energy with one transform less than the rule of the chain takes."""
    size, rfft, irfft = len(signal), np.fft.rfft, np.fft.irfft
    if kind == "convolution":
        response, target = given
        of_signal, of_response = rfft(signal), rfft(response)
        residual = irfft(of_signal * of_response, size) - target
        back = rfft(residual)
        gradients = irfft(np.conj(of_response) * back, size), irfft(np.conj(of_signal) * back, size)
        return 0.5 * (residual @ residual), gradients
    (waves,) = given
    spectrum = rfft(signal)
    slope = irfft(1j * waves * spectrum, size)
    squares = signal * signal
    return 0.5 * (slope @ slope) - squares @ signal, irfft(waves * waves * spectrum, size) - 3 * squares


def workload(kind: str) -> Workload:
    """Make the workload of one use of the transforms."""
    given = functools.partial(operands, kind)
    listed = contenders(
        given,
        both=functools.partial(with_both, kind),
        torch=functools.partial(with_torch, kind),
        torch_compiled=functools.partial(with_torch_transforms, kind),
        by_hand=functools.partial(by_hand, kind),
    )
    if kind == "derivative":
        listed = tuple(replace(row, yardstick=True) if row.name == "NumPy, by hand" else row for row in listed)
    return Workload(
        name=f"fourier.{kind}",
        title=f"{TITLES[kind]} of n numbers, value and gradient",
        sizes=SIZES,
        growth=(100,),
        flops=lambda size: TRANSFORMS[kind] * 2.5 * size * np.log2(size),
        contenders=listed,
        expected=lambda size: by_hand(kind, *given(size)),
        promises=promises(listed, SIZES),
        relative_tolerance=1e-9,
        absolute_tolerance=1e-9,
    )


WORKLOADS = tuple(map(workload, TITLES))
