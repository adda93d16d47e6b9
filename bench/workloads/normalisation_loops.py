"""The loops of Numba for softmax, log-softmax, layer norm and batch norm of a matrix, and for their gradients.

Each row of what goes along rows stays in the cache between its passes. What goes down columns is split into one share of the
rows for each thread, whose sums are added between the passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import threads

EPSILON = 1e-5


def softmax(numba: Any) -> Callable[..., Any]:
    """Write softmax."""

    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        for row in numba.prange(x.shape[0]):
            greatest = x[row, 0]
            for column in range(x.shape[1]):
                greatest = max(greatest, x[row, column])
            total = 0.0
            for column in range(x.shape[1]):
                power = math.exp(x[row, column] - greatest)
                y[row, column] = power
                total += power
            scale = 1 / total
            for column in range(x.shape[1]):
                y[row, column] *= scale
        return y

    return call


def softmax_gradient(numba: Any) -> Callable[..., Any]:
    """Write its gradient."""

    def call(x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        slope = np.empty_like(x)
        for row in numba.prange(x.shape[0]):
            greatest = x[row, 0]
            for column in range(x.shape[1]):
                greatest = max(greatest, x[row, column])
            total, inner = 0.0, 0.0
            for column in range(x.shape[1]):
                power = math.exp(x[row, column] - greatest)
                slope[row, column] = power
                total += power
                inner += power * cotangent[row, column]
            scale = 1 / total
            inner *= scale
            for column in range(x.shape[1]):
                slope[row, column] *= scale * (cotangent[row, column] - inner)
        return slope

    return call


def log_softmax(numba: Any) -> Callable[..., Any]:
    """Write log-softmax."""

    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        for row in numba.prange(x.shape[0]):
            greatest = x[row, 0]
            for column in range(x.shape[1]):
                greatest = max(greatest, x[row, column])
            total = 0.0
            for column in range(x.shape[1]):
                total += math.exp(x[row, column] - greatest)
            less = greatest + math.log(total)
            for column in range(x.shape[1]):
                y[row, column] = x[row, column] - less
        return y

    return call


def log_softmax_gradient(numba: Any) -> Callable[..., Any]:
    """Write its gradient."""

    def call(x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        slope = np.empty_like(x)
        for row in numba.prange(x.shape[0]):
            greatest = x[row, 0]
            for column in range(x.shape[1]):
                greatest = max(greatest, x[row, column])
            total, given = 0.0, 0.0
            for column in range(x.shape[1]):
                power = math.exp(x[row, column] - greatest)
                slope[row, column] = power
                total += power
                given += cotangent[row, column]
            scale = given / total
            for column in range(x.shape[1]):
                slope[row, column] = cotangent[row, column] - scale * slope[row, column]
        return slope

    return call


def layer_norm(numba: Any) -> Callable[..., Any]:
    """Write layer norm."""

    def call(x: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        count = x.shape[1]
        for row in numba.prange(x.shape[0]):
            total, squares = 0.0, 0.0
            for column in range(count):
                total += x[row, column]
            mean = total / count
            for column in range(count):
                squares += (x[row, column] - mean) ** 2
            scale = 1 / math.sqrt(squares / count + EPSILON)
            for column in range(count):
                y[row, column] = (x[row, column] - mean) * scale * gain[column] + shift[column]
        return y

    return call


def layer_norm_gradient(numba: Any) -> Callable[..., Any]:
    """Write its gradient in all three."""
    shares = threads()

    def call(x: np.ndarray, gain: np.ndarray, shift: np.ndarray, cotangent: np.ndarray) -> Any:
        slope = np.empty_like(x)
        rows, count = x.shape
        gains, shifts = np.zeros((shares, count)), np.zeros((shares, count))
        for share in numba.prange(shares):
            for row in range(share * rows // shares, (share + 1) * rows // shares):
                total, squares = 0.0, 0.0
                for column in range(count):
                    total += x[row, column]
                mean = total / count
                for column in range(count):
                    squares += (x[row, column] - mean) ** 2
                scale = 1 / math.sqrt(squares / count + EPSILON)
                pulled, inner = 0.0, 0.0
                for column in range(count):
                    unit = (x[row, column] - mean) * scale
                    given = cotangent[row, column]
                    gains[share, column] += given * unit
                    shifts[share, column] += given
                    pulled += given * gain[column]
                    inner += given * gain[column] * unit
                pulled /= count
                inner /= count
                for column in range(count):
                    unit = (x[row, column] - mean) * scale
                    slope[row, column] = scale * (cotangent[row, column] * gain[column] - pulled - unit * inner)
        return slope, gains.sum(axis=0), shifts.sum(axis=0)

    return call


def batch_norm(numba: Any) -> Callable[..., Any]:
    """Write batch norm."""
    shares = threads()

    def call(x: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        rows, count = x.shape
        sums, squares = np.zeros((shares, count)), np.zeros((shares, count))
        for share in numba.prange(shares):
            for row in range(share * rows // shares, (share + 1) * rows // shares):
                for column in range(count):
                    sums[share, column] += x[row, column]
        mean = sums.sum(axis=0) / rows
        for share in numba.prange(shares):
            for row in range(share * rows // shares, (share + 1) * rows // shares):
                for column in range(count):
                    squares[share, column] += (x[row, column] - mean[column]) ** 2
        factor = gain / np.sqrt(squares.sum(axis=0) / rows + EPSILON)
        for row in numba.prange(rows):
            for column in range(count):
                y[row, column] = (x[row, column] - mean[column]) * factor[column] + shift[column]
        return y

    return call


def batch_norm_gradient(numba: Any) -> Callable[..., Any]:
    """Write its gradient in all three."""
    shares = threads()

    def call(x: np.ndarray, gain: np.ndarray, shift: np.ndarray, cotangent: np.ndarray) -> Any:
        slope = np.empty_like(x)
        rows, count = x.shape
        sums, squares = np.zeros((shares, count)), np.zeros((shares, count))
        shifts, inners = np.zeros((shares, count)), np.zeros((shares, count))
        for share in numba.prange(shares):
            for row in range(share * rows // shares, (share + 1) * rows // shares):
                for column in range(count):
                    sums[share, column] += x[row, column]
                    shifts[share, column] += cotangent[row, column]
        mean, given = sums.sum(axis=0) / rows, shifts.sum(axis=0)
        for share in numba.prange(shares):
            for row in range(share * rows // shares, (share + 1) * rows // shares):
                for column in range(count):
                    centred = x[row, column] - mean[column]
                    squares[share, column] += centred * centred
                    inners[share, column] += centred * cotangent[row, column]
        scale = 1 / np.sqrt(squares.sum(axis=0) / rows + EPSILON)
        gains = inners.sum(axis=0) * scale
        factor, middle, bend = scale * gain, given / rows, scale * gains / rows
        for row in numba.prange(rows):
            for column in range(count):
                bent = (x[row, column] - mean[column]) * bend[column]
                slope[row, column] = factor[column] * (cotangent[row, column] - middle[column] - bent)
        return slope, gains, given

    return call


FORWARD = {"softmax": softmax, "log_softmax": log_softmax, "layer_norm": layer_norm, "batch_norm": batch_norm}
BACKWARD = {
    "softmax": softmax_gradient,
    "log_softmax": log_softmax_gradient,
    "layer_norm": layer_norm_gradient,
    "batch_norm": batch_norm_gradient,
}
