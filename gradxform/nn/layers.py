"""Convolution, pooling and attention, in the layouts that networks use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

from gradxform import lax
from gradxform import numpy as face
from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.nn.activations import softmax
from gradxform.operands import lift, promote_operands


def conv(
    x: Any, kernel: Any, strides: int | Sequence[int] = 1, padding: Any = "SAME", dilation: int | Sequence[int] = 1,
    groups: int = 1, layout: str = "NHWC",
) -> Any:
    """The convolution of a batch with a kernel, over one or more axes in space.

    Args:
        x: the batch, its axes in the order of ``layout``.
        kernel: for ``layout`` with features last, extents (space .., features in, features out); for features first,
            (features out, features in, space ..). With groups, features in are those of one group.
        strides, dilation: an integer, or one per axis in space.
        padding: "SAME", "VALID", or a pair of counts per axis in space.
        groups: features fall into so many groups that do not meet; as many as features make it depthwise.
        layout: "NHWC" or "NCHW" (or NWC, NCW, NDHWC, NCDHW, by rank).

    Returns:
        The batch of results in the same layout.

    >>> import numpy as np
    >>> conv(np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1)), padding="VALID").shape
    (1, 2, 2, 1)
    """
    rank = len(shape_of(x))
    space = _space(layout, rank, "conv")
    kernel_layout = f"{space}IO" if layout.endswith("C") else f"OI{space}"
    return lax.conv_general_dilated(
        x, kernel, _each(strides, len(space)), padding, rhs_dilation=_each(dilation, len(space)),
        dimension_numbers=(layout, kernel_layout, layout), feature_group_count=groups)


def max_pool(
    x: Any, window: int | Sequence[int], strides: int | Sequence[int] | None = None, padding: Any = "VALID",
    layout: str = "NHWC",
) -> Any:
    """The maximum of each window in space; elements that tie share the derivative evenly.

    Args:
        x: the batch, its axes in the order of ``layout``.
        window: the window's extent, or one per axis in space.
        strides: steps between windows, by default the window's extents.
        padding: as in `conv`; what is padded is never the maximum.
        layout: as in `conv`.

    >>> import numpy as np
    >>> max_pool(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    dtype = dtype_of(x)
    least = -face.inf if dtype.kind == "f" else face.iinfo(dtype).min
    return _pool(x, least, face.maximum, window, strides, padding, layout, "max_pool")


def min_pool(
    x: Any, window: int | Sequence[int], strides: int | Sequence[int] | None = None, padding: Any = "VALID",
    layout: str = "NHWC",
) -> Any:
    """The minimum of each window in space; see `max_pool`."""
    dtype = dtype_of(x)
    most = face.inf if dtype.kind == "f" else face.iinfo(dtype).max
    return _pool(x, most, face.minimum, window, strides, padding, layout, "min_pool")


def avg_pool(
    x: Any, window: int | Sequence[int], strides: int | Sequence[int] | None = None, padding: Any = "VALID",
    layout: str = "NHWC", count_include_pad: bool = True,
) -> Any:
    """The mean of each window in space.

    Args:
        x, window, strides, padding, layout: as in `max_pool`.
        count_include_pad: whether the zeros of the padding count as elements.

    >>> import numpy as np
    >>> avg_pool(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    total = _pool(x, 0.0, face.add, window, strides, padding, layout, "avg_pool")
    if count_include_pad:
        space = _space(layout, len(shape_of(x)), "avg_pool")
        count: Any = 1
        for n in _each(window, len(space)):
            count *= n
    else:
        ones = face.ones(shape_of(x), dtype_of(x))
        count = _pool(ones, 0.0, face.add, window, strides, padding, layout, "avg_pool")
    return face.divide(total, count)


def _pool(
    x: Any, start: float, computation: Callable[[Any, Any], Any], window: int | Sequence[int],
    strides: int | Sequence[int] | None, padding: Any, layout: str, name: str,
) -> Any:
    rank = len(shape_of(x))
    letters = _space(layout, rank, name)
    sizes = _each(window, len(letters))
    steps = sizes if strides is None else _each(strides, len(letters))
    first = layout.index(letters[0])

    def everywhere(values: Sequence[Any], elsewhere: Any) -> list[Any]:
        return [*[elsewhere] * first, *values, *[elsewhere] * (rank - first - len(values))]

    pads = padding if isinstance(padding, str) else everywhere(list(padding), (0, 0))
    return lax.reduce_window(x, dtype_of(x).type(start), computation, everywhere(sizes, 1), everywhere(steps, 1), pads)


def _space(layout: str, rank: int, name: str) -> str:
    """The letters of the axes in space. ArgumentError for a layout that does not fit."""
    letters = layout.replace("N", "").replace("C", "")
    if len(layout) != rank or layout[:1] != "N" or layout.count("C") != 1 or layout not in (f"N{letters}C", f"NC{letters}"):
        fitting = {3: "'NWC' or 'NCW'", 4: "'NHWC' or 'NCHW'", 5: "'NDHWC' or 'NCDHW'"}.get(rank, "N, space and C")
        raise ArgumentError(f"{name}: layout {layout!r} does not fit an array of rank {rank}: expected {fitting}{user_line()}")
    return letters


def _each(value: int | Sequence[int], count: int) -> list[int]:
    """One integer per axis in space."""
    if isinstance(value, Sequence):
        return [index(n) for n in value]
    return [index(value)] * count


def dot_product_attention(
    query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, *, scale: Any = None, is_causal: bool = False
) -> Any:
    """softmax(query . key * scale + bias) . value for each head, as Vaswani et al. (2017) define attention.

    Args:
        query: extents (batch ..., length, heads, features).
        key, value: the same with a length of their own; query heads may be a multiple of theirs, which are then shared.
        bias: what is added to the logits: broadcasts to (batch ..., heads, query length, key length).
        mask: booleans of that shape: True where a query may see a key.
        scale: by default 1 / sqrt(features).
        is_causal: whether a query sees keys at its own and earlier positions only.

    Returns:
        An array of the shape of ``query`` with the features of ``value``.

    >>> import numpy as np
    >>> same = np.ones((1, 3, 2, 4))
    >>> bool(np.allclose(dot_product_attention(same, same, same), same))
    True
    """
    q, k, v = [lift("dot_product_attention", part) for part in promote_operands("dot_product_attention", query, key, value)]
    heads, shared = shape_of(q)[-2], shape_of(k)[-2]
    if shape_of(v)[-2] != shared or heads % shared or shape_of(q)[-1] != shape_of(k)[-1] or shape_of(k)[-3] != shape_of(v)[-3]:
        raise ShapeError(
            f"dot_product_attention: query {shape_of(q)}, key {shape_of(k)} and value {shape_of(v)} do not fit: expected "
            f"(..., length, heads, features), the query's heads a multiple of the others'{user_line()}")
    if heads != shared:
        k, v = (face.repeat(part, heads // shared, axis=-2) for part in (k, v))
    logits = face.einsum("...qhf,...khf->...hqk", q, k)
    logits = face.multiply(logits, shape_of(q)[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        logits = face.add(logits, bias)
    seen = mask
    if is_causal:
        causal = face.tri(shape_of(q)[-3], shape_of(k)[-3], dtype=bool)
        seen = causal if seen is None else face.logical_and(seen, causal)
    if seen is not None:
        # A finite number, so that a query that sees nothing gives an average and not NaN, as in JAX.
        logits = face.where(seen, logits, float(face.finfo(dtype_of(logits)).min) / 2)
    return face.einsum("...hqk,...khf->...qhf", softmax(logits, axis=-1), v)
