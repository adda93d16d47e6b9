"""Convolutions and reductions over sliding windows, under JAX's names.

A convolution is a product of the array's windows with the kernel. The windows are a view (see primitives.windows), so
the product packs them as it reads them; its derivative in the array adds windows back where they overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, NamedTuple

from gradxform import primitives
from gradxform.core import shape_of, type_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.lax.associative import reduce
from gradxform.lax.staging import operand_leaves, staged, strong
from gradxform.linear import inverse_permutation, transpose
from gradxform.operands import as_operand, promote_operands
from gradxform.primitives.contraction import dot_general
from gradxform.primitives.shape import reshape
from gradxform.primitives.windows import windows as take_windows

Pairs = tuple[tuple[int, int], ...]


class ConvDimensionNumbers(NamedTuple):
    """Where the axes are: of ``lhs`` (batch, features, space ...), of ``rhs`` (features out, in, space ...), of the result.

    Each tuple holds positions of axes in that order.
    """

    lhs_spec: tuple[int, ...]
    rhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: Any
) -> ConvDimensionNumbers:
    """The positions of axes that three strings such as ``("NHWC", "HWIO", "NHWC")`` name; None is channels first.

    Args:
        lhs_shape: extents of the array.
        rhs_shape: extents of the kernel.
        dimension_numbers: None, a `ConvDimensionNumbers`, or three strings. N is the batch, C features, I and O features in
            and out; any other letters are axes in space, in the order in which the kernel's string has them.

    Raises:
        ArgumentError: the strings do not fit the shapes, or name other axes.

    >>> conv_dimension_numbers((8, 28, 28, 3), (3, 3, 3, 16), ("NHWC", "HWIO", "NHWC"))
    ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))
    """
    rank = len(lhs_shape)
    if rank < 2 or len(rhs_shape) != rank:
        raise ArgumentError(
            f"convolution: the array and the kernel need equal rank of at least 2, got shapes {tuple(lhs_shape)} and "
            f"{tuple(rhs_shape)}{user_line()}")
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    if dimension_numbers is None:
        plain = tuple(range(rank))
        return ConvDimensionNumbers(plain, plain, plain)
    specs = tuple(dimension_numbers)
    if len(specs) != 3 or not all(isinstance(spec, str) for spec in specs):
        raise _unfit(dimension_numbers, rank)
    left, right, out = specs
    space = [letter for letter in right if letter not in "IO"]
    for spec, ends in ((left, "NC"), (right, "OI"), (out, "NC")):
        if sorted(spec) != sorted([*ends, *space]) or len(spec) != rank or len(set(spec)) != rank:
            raise _unfit(dimension_numbers, rank)
    return ConvDimensionNumbers(*[tuple([spec.index(letter) for letter in (*ends, *space)])
                                  for spec, ends in ((left, "NC"), (right, "OI"), (out, "NC"))])


def _unfit(dimension_numbers: Any, rank: int) -> ArgumentError:
    return ArgumentError(
        f"convolution: dimension_numbers must be three strings of {rank} letters, such as ('NHWC', 'HWIO', 'NHWC'), got "
        f"{dimension_numbers!r}{user_line()}")


def conv_general_dilated(
    lhs: Any, rhs: Any, window_strides: Sequence[int], padding: Any, lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None, dimension_numbers: Any = None, feature_group_count: int = 1,
    batch_group_count: int = 1, precision: Any = None, preferred_element_type: Any = None,
) -> Any:
    """The convolution (in fact cross-correlation, as everywhere in machine learning) of an array with a kernel.

    Args:
        lhs: the array: a batch axis, a feature axis and any number of axes in space.
        rhs: the kernel: features out, features in (of one group) and the same axes in space.
        window_strides: per axis in space the step from window to window.
        padding: "VALID" (none), "SAME" (as many windows as elements over the stride), "SAME_LOWER" (the same with the odd
            element in front), or per axis a pair of counts, negative ones cutting off.
        lhs_dilation: per axis how far apart the array's elements are put, zeros between them: a transposed convolution.
        rhs_dilation: per axis how far apart the kernel's elements are.
        dimension_numbers: which axis is which, see `conv_dimension_numbers`; by default channels come first.
        feature_group_count: features in and out fall into so many groups that do not meet.
        batch_group_count: the same for the batch and the features out.
        precision, preferred_element_type: for code written for JAX; only None is accepted.

    Returns:
        An array in the promoted dtype, with the axes that ``dimension_numbers`` gives it.

    Raises:
        ArgumentError, ShapeError: arguments that do not fit each other.

    >>> import numpy as np
    >>> signal = np.arange(5.0).reshape(1, 1, 5)
    >>> conv_general_dilated(signal, np.array([[[-1.0, 0.0, 1.0]]]), (1,), "VALID")
    array([[[2., 2., 2.]]])
    """
    if precision is not None or preferred_element_type is not None:
        raise ArgumentError(f"conv_general_dilated: precision and preferred_element_type must be None: cast the operands "
                            f"with .astype instead{user_line()}")
    (x, kernel), _ = operand_leaves("conv_general_dilated", "operands", tuple(promote_operands("convolution", lhs, rhs)))
    numbers = conv_dimension_numbers(shape_of(x), shape_of(kernel), dimension_numbers)
    space = len(numbers.lhs_spec) - 2
    strides = _counts("window_strides", window_strides, space)
    spread = _counts("lhs_dilation", lhs_dilation, space)
    dilations = _counts("rhs_dilation", rhs_dilation, space)
    extents = [shape_of(x)[a] for a in numbers.lhs_spec[2:]]
    sizes = tuple([shape_of(kernel)[a] for a in numbers.rhs_spec[2:]])
    spans = [(n - 1) * d + 1 if n else 0 for n, d in zip(extents, spread, strict=True)]
    if isinstance(padding, str) and padding.upper() != "VALID" and any(d > 1 for d in spread):
        raise ArgumentError(
            f"conv_general_dilated: padding {padding!r} is not defined for a dilated array: give pairs of counts, or use "
            f"conv_transpose{user_line()}")
    pads = padding_pairs(padding, spans, [(n - 1) * d + 1 for n, d in zip(sizes, dilations, strict=True)], strides)
    groups = _groups(feature_group_count, batch_group_count, shape_of(x), shape_of(kernel), numbers)

    def record(values: list[Any]) -> Any:
        image = transpose(values[0], (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1]))
        weights = transpose(values[1], (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
        gaps = tuple([d - 1 for d in spread])
        image = _padded(image, type_of(image).dtype.type(0), ((0, 0), *pads, (0, 0)), (0, *gaps, 0))
        axes = tuple(range(1, space + 1))
        image = take_windows(image, axes, sizes, strides, dilations)
        # (batch, places .., elements .., features): as the kernel has them, so that a product packs whole rows of features.
        image = transpose(image, (0, *axes, *range(space + 2, 2 * space + 2), space + 1))
        result = _product(image, weights, space, *groups)
        return strong(transpose(result, inverse_permutation((numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1]))))

    return staged("conv_general_dilated", record, [x, kernel])


def _product(image: Any, weights: Any, space: int, feature_groups: int, batch_groups: int) -> Any:
    """Windows (batch, places .., elements .., features in) times a kernel (elements .., in, out): (batch, places .., out)."""
    shape, kernel = shape_of(image), shape_of(weights)
    elements = tuple(range(space + 1, 2 * space + 2))
    inside = tuple(range(space + 1))
    if feature_groups == batch_groups == 1:
        return dot_general(image, weights, (elements, inside))
    out = kernel[-1]
    count = max(feature_groups, batch_groups)
    grouped = reshape(weights, (*kernel[:-1], count, out // count))
    if feature_groups > 1:
        image = reshape(image, (*shape[:-1], count, shape[-1] // count))
        shared = 2 * space + 1
        summed = (*elements[:-1], elements[-1] + 1)
    else:
        image = reshape(image, (count, shape[0] // count, *shape[1:]))
        shared = 0
        summed = tuple([a + 1 for a in elements])
    # (groups, batch, places .., out of the group)
    result = dot_general(image, grouped, (summed, inside), ((shared,), (space + 1,)))
    result = transpose(result, (*range(1, space + 2), 0, space + 2))
    return reshape(result, (*shape_of(result)[:space + 1], out))


def _groups(
    features: Any, batches: Any, lhs: Sequence[int], rhs: Sequence[int], numbers: ConvDimensionNumbers
) -> tuple[int, int]:
    """The two counts of groups, checked against the extents."""
    feature_groups, batch_groups = index(features), index(batches)
    entering, expected = lhs[numbers.lhs_spec[1]], rhs[numbers.rhs_spec[1]]
    out, batch = rhs[numbers.rhs_spec[0]], lhs[numbers.lhs_spec[0]]
    if feature_groups < 1 or batch_groups < 1 or (feature_groups > 1 and batch_groups > 1):
        raise ArgumentError(
            f"convolution: feature_group_count and batch_group_count must be at least 1, and one of them 1, got "
            f"{feature_groups} and {batch_groups}{user_line()}")
    if entering != expected * feature_groups or out % feature_groups:
        raise ShapeError(
            f"convolution: {entering} features of the array in {feature_groups} groups need a kernel of "
            f"{entering / feature_groups:g} features in and a multiple of {feature_groups} out, got {expected} and {out}"
            f"{user_line()}")
    if batch % batch_groups or out % batch_groups:
        raise ShapeError(
            f"convolution: batch_group_count {batch_groups} must divide the batch extent {batch} and the kernel's "
            f"features out, {out}{user_line()}")
    return feature_groups, batch_groups


def conv(lhs: Any, rhs: Any, window_strides: Sequence[int], padding: Any, precision: Any = None) -> Any:
    """`conv_general_dilated` with channels first and no dilation."""
    return conv_general_dilated(lhs, rhs, window_strides, padding, precision=precision)


def conv_with_general_padding(
    lhs: Any, rhs: Any, window_strides: Sequence[int], padding: Any, lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None, precision: Any = None,
) -> Any:
    """`conv_general_dilated` with channels first."""
    return conv_general_dilated(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, precision=precision)


def conv_transpose(
    lhs: Any, rhs: Any, strides: Sequence[int], padding: Any, rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None, transpose_kernel: bool = False, precision: Any = None, preferred_element_type: Any = None,
) -> Any:
    """The transposed ("fractionally strided") convolution: each element of the array spreads the kernel over the result.

    Args:
        strides: per axis in space how far apart the spread kernels stand.
        padding: "VALID", "SAME" (the result has the array's extents times the strides), or pairs of counts put around the
            dilated array.
        rhs_dilation: as in `conv_general_dilated`.
        dimension_numbers: by default channels come last: ("NHWC", "HWIO", "NHWC") and its like.
        transpose_kernel: reverse the kernel in space and exchange its features, which makes this the transpose of the forward
            convolution with the same kernel.

    >>> import numpy as np
    >>> conv_transpose(np.array([1.0, 2.0]).reshape(1, 2, 1), np.ones((3, 1, 1)), (2,), "VALID").ravel()
    array([1., 1., 3., 2., 2.])
    """
    x, kernel = promote_operands("conv_transpose", lhs, rhs)
    rank = len(shape_of(x))
    if dimension_numbers is None:
        letters = "HWD"[:rank - 2] if rank <= 5 else "".join(chr(ord("a") + i) for i in range(rank - 2))
        dimension_numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    numbers = conv_dimension_numbers(shape_of(x), shape_of(kernel), dimension_numbers)
    space = rank - 2
    steps, dilations = _counts("strides", strides, space), _counts("rhs_dilation", rhs_dilation, space)
    spans = [(shape_of(kernel)[a] - 1) * d + 1 for a, d in zip(numbers.rhs_spec[2:], dilations, strict=True)]
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise _padding_error(padding)
        pads: Any = [_transposed_padding(span, step, padding) for span, step in zip(spans, steps, strict=True)]
    else:
        pads = padding
    if transpose_kernel:
        from gradxform.numpy import flip, swapaxes

        kernel = swapaxes(flip(kernel, numbers.rhs_spec[2:]), numbers.rhs_spec[0], numbers.rhs_spec[1])
    return conv_general_dilated(x, kernel, (1,) * space, pads, steps, dilations, numbers, precision=precision,
                                preferred_element_type=preferred_element_type)


def _transposed_padding(span: int, step: int, mode: str) -> tuple[int, int]:
    """The counts around the dilated array that make the result ``extent * step`` long, or keep all of it (as JAX)."""
    if mode == "SAME":
        total = span + step - 2
        before = span - 1 if step > span - 1 else -(-total // 2)
    else:
        total = span + step - 2 + max(span - step, 0)
        before = span - 1
    return before, total - before


def reduce_window(
    operand: Any, init_value: Any, computation: Callable[[Any, Any], Any], window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None, padding: Any = "VALID", base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """The elements of each window of ``operand`` combined into one by ``computation``, beginning with ``init_value``.

    Args:
        operand: an array.
        init_value: a number that ``computation`` leaves others unchanged with; it also stands in the padding.
        computation: an associative function, as in `reduce`.
        window_dimensions: the window's extent along each axis.
        window_strides, base_dilation, window_dilation: per axis steps between windows, between elements of the array
            (``init_value`` standing between them), and between elements of the window; 1 by default.
        padding: as in `conv_general_dilated`.

    >>> import numpy as np
    >>> reduce_window(np.array([1.0, 3.0, 2.0, 5.0]), -np.inf, np.maximum, (2,), (2,))
    array([3., 5.])
    """
    x = as_operand("reduce_window", operand)
    rank = len(shape_of(x))
    sizes = _counts("window_dimensions", window_dimensions, rank)
    strides = _counts("window_strides", window_strides, rank)
    dilations = _counts("window_dilation", window_dilation, rank)
    spread = _counts("base_dilation", base_dilation, rank)
    spans = [(n - 1) * d + 1 if n else 0 for n, d in zip(shape_of(x), spread, strict=True)]
    pads = padding_pairs(padding, spans, [(n - 1) * d + 1 for n, d in zip(sizes, dilations, strict=True)], strides)

    def record(values: list[Any]) -> Any:
        start = promote_operands("reduce_window", values[0], init_value)[1]
        padded = _padded(values[0], start, pads, tuple([d - 1 for d in spread]))
        moving = tuple([a for a in range(rank) if (sizes[a], strides[a]) != (1, 1)])
        chosen = [tuple([part[a] for a in moving]) for part in (sizes, strides, dilations)]
        seen = take_windows(padded, moving, *chosen)
        return reduce(seen, start, computation, tuple(range(rank, rank + len(moving)))) if moving else seen

    return staged("reduce_window", record, operand_leaves("reduce_window", "operand", x)[0])


# ------------------------------------------------------------------------------------------------------------- padding


def padding_pairs(
    padding: Any, extents: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> Pairs:
    """How much stands before and behind each axis of ``extents`` for windows that cover ``spans`` elements.

    ArgumentError unless ``padding`` is "VALID", "SAME", "SAME_LOWER" or one pair of integers per axis.
    """
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return ((0, 0),) * len(extents)
        if padding.upper() not in ("SAME", "SAME_LOWER"):
            raise _padding_error(padding)
        pairs = []
        for extent, span, stride in zip(extents, spans, strides, strict=True):
            total = max((-(-extent // stride) - 1) * stride + span - extent, 0)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if padding.upper() == "SAME" else (more, less))
        return tuple(pairs)
    try:
        pairs = [(index(before), index(after)) for before, after in padding]
    except TypeError:
        raise _padding_error(padding) from None
    if len(pairs) != len(extents):
        raise _padding_error(padding)
    return tuple(pairs)


def _padding_error(padding: Any) -> ArgumentError:
    return ArgumentError(
        f"padding must be 'VALID', 'SAME', 'SAME_LOWER' or one pair (before, behind) of integers per axis in space, got "
        f"{padding!r}{user_line()}")


def _padded(x: Any, value: Any, pads: Sequence[tuple[int, int]], gaps: tuple[int, ...]) -> Any:
    """``x`` with ``value`` around and between its elements; negative counts cut off."""
    low, high = (tuple([max(pair[side], 0) for pair in pads]) for side in (0, 1))
    padded = primitives.pad(x, value, low, high, gaps)
    shape = shape_of(padded)
    start = tuple([min(max(-before, 0), n) for (before, _), n in zip(pads, shape, strict=True)])
    limit = tuple([max(n - max(-after, 0), first) for (_, after), n, first in zip(pads, shape, start, strict=True)])
    return primitives.slice_array(padded, start, limit, (1,) * len(shape))


def _counts(name: str, values: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """One integer >= 1 per axis; None stands for ones."""
    if values is None:
        return (1,) * count
    try:
        found = tuple([index(value) for value in values])
    except TypeError:
        raise ArgumentTypeError(f"{name} must be a sequence of integers, got {values!r}{user_line()}") from None
    if len(found) != count or any(n < 1 for n in found):
        raise ArgumentError(f"{name} must hold one integer >= 1 for each of {count} axes, got {values!r}{user_line()}")
    return found
