"""Normalisations: an array shifted and scaled to mean 0 and variance 1 over some of its axes, then scaled and shifted.

Variances are the mean squared deviation (nothing subtracted from the count), and ``epsilon`` is added to them, as in the
papers: batch (Ioffe and Szegedy 2015), layer (Ba, Kiros and Hinton 2016), instance (Ulyanov et al. 2016), group (Wu and He
2018) and root mean square (Zhang and Sennrich 2019) normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform import numpy as face
from gradxform.core import shape_of
from gradxform.core.source import user_line
from gradxform.errors import ShapeError
from gradxform.operands import normalize_axes, normalize_axis


def standardize(
    x: Any, axis: Any = -1, mean: Any = None, variance: Any = None, epsilon: Any = 1e-5, where: Any = None
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) over ``axis``; statistics that are not given are those of ``x``.

    Args:
        x: an array.
        axis: an axis or several.
        mean, variance: statistics that broadcast against ``x``.
        epsilon: what is added to the variance.
        where: which elements take part in the statistics.

    >>> import numpy as np
    >>> standardize(np.array([1.0, 2.0, 3.0]), epsilon=0.0).round(3)
    array([-1.225,  0.   ,  1.225])
    """
    chosen: dict[str, Any] = {} if where is None else {"where": where}
    axes = normalize_axes("standardize", axis, len(shape_of(x)))
    if mean is None:
        mean = face.mean(x, axis=axes, keepdims=True, **chosen)
    centred = face.subtract(x, mean)
    if variance is None:
        variance = face.mean(face.square(centred), axis=axes, keepdims=True, **chosen)
    return face.divide(centred, face.sqrt(face.add(variance, epsilon)))


def layer_norm(x: Any, scale: Any = None, bias: Any = None, axis: Any = -1, epsilon: Any = 1e-5) -> Any:
    """``standardize`` over ``axis``, by default the last, times ``scale`` plus ``bias``, which broadcast against ``x``."""
    return _scaled(standardize(x, axis, epsilon=epsilon), scale, bias)


def rms_norm(x: Any, scale: Any = None, axis: Any = -1, epsilon: Any = 1e-5) -> Any:
    """x over the root of its mean square over ``axis``, times ``scale``."""
    axes = normalize_axes("rms_norm", axis, len(shape_of(x)))
    mean = face.mean(face.square(x), axis=axes, keepdims=True)
    return _scaled(face.divide(x, face.sqrt(face.add(mean, epsilon))), scale, None)


def batch_norm(
    x: Any, scale: Any = None, bias: Any = None, mean: Any = None, variance: Any = None, axis: int = -1, epsilon: Any = 1e-5
) -> Any:
    """Each feature, along ``axis``, standardised over all other axes, times ``scale`` plus ``bias``.

    Args:
        x: an array with at least two axes.
        scale, bias: vectors, one element per feature.
        mean, variance: vectors of running statistics, for use after training; by default those of the batch.
        axis: the feature axis.
        epsilon: what is added to the variance.
    """
    rank = len(shape_of(x))
    feature = normalize_axis("batch_norm", axis, rank)
    scale, bias, mean, variance = (_along(part, feature, rank) for part in (scale, bias, mean, variance))
    others = tuple([a for a in range(rank) if a != feature])
    return _scaled(standardize(x, others, mean, variance, epsilon), scale, bias)


def instance_norm(x: Any, scale: Any = None, bias: Any = None, axis: int = -1, epsilon: Any = 1e-5) -> Any:
    """Each feature of each example standardised over the axes in space; the batch is axis 0, ``axis`` holds the features."""
    rank = len(shape_of(x))
    feature = normalize_axis("instance_norm", axis, rank)
    space = tuple([a for a in range(1, rank) if a != feature])
    return _scaled(standardize(x, space, epsilon=epsilon), _along(scale, feature, rank), _along(bias, feature, rank))


def group_norm(x: Any, groups: int, scale: Any = None, bias: Any = None, axis: int = -1, epsilon: Any = 1e-5) -> Any:
    """Each example standardised over space and over each of ``groups`` groups of neighbouring features along ``axis``."""
    shape = shape_of(x)
    rank = len(shape)
    feature = normalize_axis("group_norm", axis, rank)
    if groups < 1 or shape[feature] % groups:
        raise ShapeError(f"group_norm: groups must divide the {shape[feature]} features, got {groups}{user_line()}")
    parts: Sequence[int] = (*shape[:feature], groups, shape[feature] // groups, *shape[feature + 1:])
    inside = tuple([a for a in range(1, rank + 1) if a != feature])
    found = face.reshape(standardize(face.reshape(x, parts), inside, epsilon=epsilon), shape)
    return _scaled(found, _along(scale, feature, rank), _along(bias, feature, rank))


def _along(vector: Any, axis: int, rank: int) -> Any:
    """A vector as an array whose axis ``axis`` it is."""
    return None if vector is None else face.reshape(vector, [-1 if a == axis else 1 for a in range(rank)])


def _scaled(x: Any, scale: Any, bias: Any) -> Any:
    x = x if scale is None else face.multiply(x, scale)
    return x if bias is None else face.add(x, bias)
