"""Products of vectors, matrices and tensors."""

from __future__ import annotations

from math import prod
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.linear import broadcast, transpose
from gradxform.numpy.dispatch import refuse_out, traced
from gradxform.numpy.manipulation import moveaxis, reshape, stack, static_integers
from gradxform.operands import (
    broadcast_operands,
    broadcast_shapes,
    broadcast_to,
    lift,
    normalize_axes,
    normalize_axis,
    promote_operands,
)
from gradxform.primitives.contraction import dot_general


def _pair(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    left, right = promote_operands(name, x, y)
    return lift(name, left), lift(name, right)


@traced(np.dot)
def dot(a: Any, b: Any, out: None = None) -> Any:
    """The sum over the last axis of ``a`` and the last but one of ``b``; a product if one of them is a scalar."""
    refuse_out("dot", out)
    x, y = _pair("dot", a, b)
    if not x.ndim or not y.ndim:
        return operators.multiply(x, y)
    inner = 0 if y.ndim == 1 else y.ndim - 2
    if x.shape[-1] != y.shape[inner]:
        raise ShapeError(
            f"dot: shapes {x.shape} and {y.shape} not aligned: {x.shape[-1]} (dim {x.ndim - 1}) != "
            f"{y.shape[inner]} (dim {inner}){user_line()}")
    return dot_general(x, y, ((x.ndim - 1,), (inner,)))


@traced(np.matmul)
def matmul(x1: Any, x2: Any, /, out: None = None, *, casting: str = "same_kind", order: str = "K", dtype: Any = None,
           subok: bool = True, axes: Any = None, axis: Any = None) -> Any:
    """The product of matrices, of stacks of them that broadcast, and of vectors."""
    refuse_out("matmul", out)
    if axes is not None or axis is not None:
        raise ArgumentError(f"matmul: axes is not supported on traced arrays: transpose the operands{user_line()}")
    result = lift("matmul", operators.matmul(x1, x2))
    return result if dtype is None else result.astype(dtype)


@traced(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """The sum of the products of all elements, those of ``a`` conjugated."""
    x, y = _pair("vdot", a, b)
    if x.size != y.size:
        raise ShapeError(f"vdot: cannot reshape arrays of shapes {x.shape} and {y.shape} to one length{user_line()}")
    return dot(x.conj().ravel(), y.ravel())


@traced(np.vecdot)
def vecdot(x1: Any, x2: Any, /, out: None = None, *, axis: int = -1, **kwargs: Any) -> Any:
    """The sum of products along ``axis``, elements of ``x1`` conjugated, the other axes broadcasting."""
    refuse_out("vecdot", out)
    x, y = (moveaxis(operand, axis, -1) for operand in _pair("vecdot", x1, x2))
    shape = broadcast_shapes("vecdot", x.shape, y.shape)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"vecdot: mismatch in core dimension, shapes {x.shape} and {y.shape}{user_line()}")
    left, right = broadcast_to("vecdot", x.conj(), shape), broadcast_to("vecdot", y, shape)
    lanes = tuple(range(len(shape) - 1))
    return dot_general(left, right, ((len(shape) - 1,), (len(shape) - 1,)), (lanes, lanes))


@traced(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """The sum over the last axes of ``a`` and of ``b``."""
    x, y = _pair("inner", a, b)
    if not x.ndim or not y.ndim:
        return operators.multiply(x, y)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(
            f"inner: shapes {x.shape} and {y.shape} not aligned: {x.shape[-1]} (dim {x.ndim - 1}) != "
            f"{y.shape[-1]} (dim {y.ndim - 1}){user_line()}")
    return dot_general(x, y, ((x.ndim - 1,), (y.ndim - 1,)))


@traced(np.outer)
def outer(a: Any, b: Any, out: None = None) -> Any:
    """The products of each element of ``a`` with each of ``b``, both flattened."""
    refuse_out("outer", out)
    x, y = _pair("outer", a, b)
    return operators.multiply(reshape(x, (x.size, 1)), reshape(y, (1, y.size)))


@traced(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum over pairs of axes, or over the last ``axes`` of ``a`` and the first of ``b``."""
    x, y = _pair("tensordot", a, b)
    if isinstance(axes, (int, np.integer)):
        count = int(axes)
        if count > min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: {count} axes of shapes {x.shape} and {y.shape} cannot be summed{user_line()}")
        left, right = tuple(range(x.ndim - count, x.ndim)), tuple(range(count))
    else:
        left, right = (normalize_axes("tensordot", part, operand.ndim)
                       for part, operand in zip(axes, (x, y), strict=True))
    if [x.shape[k] for k in left] != [y.shape[k] for k in right]:
        raise ShapeError(
            f"tensordot: shape-mismatch for sum: axes {left} of {x.shape}, {right} of {y.shape}{user_line()}")
    return dot_general(x, y, (left, right))


@traced(np.kron)
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product."""
    x, y = _pair("kron", a, b)
    rank = max(x.ndim, y.ndim)
    left, right = (1,) * (rank - x.ndim) + x.shape, (1,) * (rank - y.ndim) + y.shape
    spread = reshape(x, tuple(n for k in left for n in (k, 1))), reshape(y, tuple(n for k in right for n in (1, k)))
    return reshape(operators.multiply(*spread), tuple(m * n for m, n in zip(left, right, strict=True)))


@traced(np.matvec)
def matvec(x1: Any, x2: Any, /, out: None = None, **kwargs: Any) -> Any:
    """The product of matrices and vectors, stacks of which broadcast."""
    return _with_vector("matvec", x1, x2, False, out, kwargs)


@traced(np.vecmat)
def vecmat(x1: Any, x2: Any, /, out: None = None, **kwargs: Any) -> Any:
    """The product of vectors, conjugated, and matrices, stacks of which broadcast."""
    return _with_vector("vecmat", x1, x2, True, out, kwargs)


def _with_vector(name: str, x1: Any, x2: Any, first: bool, out: Any, kwargs: dict[str, Any]) -> Any:
    refuse_out(name, out)
    dtype = kwargs.pop("dtype", None)
    if kwargs.pop("axes", None) is not None:
        raise ArgumentError(f"{name}: axes is not supported on traced arrays: transpose the operands{user_line()}")
    x, y = _pair(name, x1, x2)
    vector, matrix = (x, y) if first else (y, x)
    if vector.ndim < 1 or matrix.ndim < 2:
        raise ShapeError(f"{name}: expected a matrix and a vector, got shapes {x.shape} and {y.shape}{user_line()}")
    if vector.shape[-1] != matrix.shape[-2 if first else -1]:
        raise ShapeError(f"{name}: mismatch in core dimension, shapes {x.shape} and {y.shape}{user_line()}")
    if first:
        result = operators.matmul(vector.conj()[..., None, :], matrix)[..., 0, :]
    else:
        result = operators.matmul(matrix, vector[..., None])[..., 0]
    return lift(name, result if dtype is None else result.astype(dtype))


@traced(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    """The vector product of vectors of length 3; a length of 2 lacks the last component, two of them give only that."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _pair("cross", a, b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ShapeError(
            f"cross: expected arrays of vectors of length 2 or 3, got shapes {x.shape} and {y.shape}{user_line()}")
    flat = x.shape[-1] == y.shape[-1] == 2
    left, right = ([part[..., k] if k < part.shape[-1] else part[..., 0] * 0 for k in range(3)] for part in (x, y))
    parts = [left[i] * right[j] - left[j] * right[i] for i, j in (((0, 1),) if flat else ((1, 2), (2, 0), (0, 1)))]
    if flat:
        return lift("cross", parts[0])
    return stack(broadcast_operands("cross", parts), normalize_axis("cross", axisc, parts[0].ndim + 1))


# ------------------------------------------------------------------------------------------------------- einsum


def _parse(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[list[str]], list[str]]:
    """The labels of the operands' axes and of the result; the axes of ``...`` are labelled 0, 1, ... from the right."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ArgumentError(f"einsum: {subscripts!r} has {len(terms)} terms for {len(shapes)} operands{user_line()}")
    labels = [_labels(term, len(shape), subscripts) for term, shape in zip(terms, shapes, strict=True)]
    hidden = sorted({k for term in labels for k in term if k.isdigit()}, key=int, reverse=True)
    if arrow:
        result = [k for part in _parts(right, subscripts) for k in (hidden if part == "..." else [part])]
        if len(set(result)) != len(result):
            raise ArgumentError(f"einsum: a subscript appears twice in the output of {subscripts!r}{user_line()}")
        known = {k for term in labels for k in term}
        for k in result:
            if k not in known:
                raise ArgumentError(f"einsum: output subscript {k!r} of {subscripts!r} is in no input{user_line()}")
        if set(hidden) - set(result):
            raise ArgumentError(
                f"einsum: the output of {subscripts!r} must have '...' for the axes broadcast in the inputs"
                f"{user_line()}")
        return labels, result
    counts: dict[str, int] = {}
    for term in labels:
        for k in term:
            counts[k] = counts.get(k, 0) + 1
    return labels, hidden + sorted(k for k, n in counts.items() if n == 1 and not k.isdigit())


def _parts(term: str, subscripts: str) -> list[str]:
    before, dots, after = term.partition("...")
    for k in before + after:
        if not (k.isalpha() and k.isascii()):
            raise ArgumentError(f"einsum: {k!r} is no subscript in {subscripts!r}{user_line()}")
    return [*before, *([dots] if dots else []), *after]


def _labels(term: str, rank: int, subscripts: str) -> list[str]:
    parts = _parts(term, subscripts)
    hidden = rank - sum(k != "..." for k in parts)
    if hidden < 0 or (hidden and "..." not in parts):
        raise ShapeError(f"einsum: term {term!r} of {subscripts!r} does not fit an operand of rank {rank}{user_line()}")
    spread = [str(k) for k in range(hidden - 1, -1, -1)]
    return [k for part in parts for k in (spread if part == "..." else [part])]


_LETTERS = ascii_uppercase + ascii_lowercase


class _Term:
    """An operand of einsum with a label for each axis, no label twice."""

    def __init__(self, value: Any, labels: list[str]) -> None:
        for label in dict.fromkeys(labels):
            while labels.count(label) > 1:
                first = labels.index(label)
                second = labels.index(label, first + 1)
                value = lift("einsum", value).diagonal(axis1=first, axis2=second)
                labels = [k for position, k in enumerate(labels) if position not in (first, second)] + [label]
        self.value = value
        self.labels = labels

    def summed(self, keep: set[str]) -> _Term:
        """Without the axes that nothing else needs."""
        axes = tuple(position for position, k in enumerate(self.labels) if k not in keep)
        if not axes:
            return self
        value = self.value.sum(axis=axes, dtype=self.value.dtype)
        return _Term(value, [k for k in self.labels if k in keep])


def _contracted(x: _Term, y: _Term, keep: set[str]) -> _Term:
    shared = [k for k in x.labels if k in y.labels]
    both = [k for k in shared if k in keep]
    gone = [k for k in shared if k not in keep]
    x = x.summed(keep | set(y.labels))
    y = y.summed(keep | set(x.labels))
    value = dot_general(
        x.value, y.value,
        (tuple(x.labels.index(k) for k in gone), tuple(y.labels.index(k) for k in gone)),
        (tuple(x.labels.index(k) for k in both), tuple(y.labels.index(k) for k in both)),
    )
    free = [k for k in (*x.labels, *y.labels) if k not in shared]
    return _Term(lift("einsum", value), both + free)


def _extents(labels: list[list[str]], shapes: list[tuple[int, ...]], subscripts: str) -> dict[str, int]:
    extents: dict[str, int] = {}
    for term, shape in zip(labels, shapes, strict=True):
        for k, n in zip(term, shape, strict=True):
            if extents.setdefault(k, n) != n and 1 not in (n, extents[k]):
                raise ShapeError(
                    f"einsum: subscript {k!r} of {subscripts!r} has extents {extents[k]} and {n}{user_line()}")
            extents[k] = max(extents[k], n) if 0 not in (extents[k], n) else 0
    return extents


@traced(np.einsum)
def einsum(subscripts: Any, /, *operands: Any, out: None = None, dtype: Any = None, order: str = "K",
           casting: str = "safe", optimize: Any = False) -> Any:
    """The sum of products that ``subscripts`` describe, contracted pairwise, smallest intermediate result first.

    Operands may be followed by lists of labels instead of a string, and the order of contraction does not follow
    ``optimize``.
    """
    subscripts, operands = _as_text(subscripts, operands)
    values = [lift("einsum", x) for x in promote_operands("einsum", *operands)]
    if dtype is not None:
        values = [x.astype(dtype) for x in values]
    labels, result = _parse(subscripts, [x.shape for x in values])
    extents = _extents(labels, [x.shape for x in values], subscripts)
    terms = [_Term(_without_ones(x, term, extents), [k for k, n in zip(term, x.shape, strict=True) if n == extents[k]])
             for x, term in zip(values, labels, strict=True)]
    while len(terms) > 1:
        first, second = _cheapest_pair(terms, result, extents)
        x, y = terms[first], terms[second]
        rest = [term for position, term in enumerate(terms) if position not in (first, second)]
        keep = {*result, *(k for term in rest for k in term.labels)}
        terms = [*rest, _contracted(x, y, keep)]
    last = terms[0].summed(set(result))
    # Labels whose axes all had extent 1 are still axes of the result.
    value = transpose(last.value, [last.labels.index(k) for k in result if k in last.labels])
    kept = tuple(position for position, k in enumerate(result) if k in last.labels)
    return lift("einsum", broadcast(value, tuple(extents[k] for k in result), kept))


def _as_text(first: Any, rest: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Subscripts as a string: ``einsum(x, [0, 1], y, [1, 2], [0, 2])`` means ``einsum("ab,bc->ac", x, y)``."""
    if isinstance(first, str):
        return first, rest
    given = (first, *rest)
    lists = [part for part in given[1::2] if isinstance(part, (list, tuple))]
    if len(given) < 2 or len(lists) != len(given) // 2:
        raise ArgumentError(
            f"einsum: expected subscripts as a string, such as 'ij,jk->ik', or a list of labels behind each operand, got "
            f"{first!r}{user_line()}")

    def term(labels: Any) -> str:
        return "".join("..." if label is Ellipsis else _LETTERS[static_integers("einsum", label)[0]] for label in labels)

    inputs = ",".join(map(term, lists))
    if len(given) % 2:
        return f"{inputs}->{term(given[-1])}", given[:-1:2]
    return inputs, given[::2]


@traced(np.einsum_path)
def einsum_path(subscripts: Any, /, *operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    """NumPy's order of contraction for ``einsum`` of arrays of these shapes, and what it costs, as text."""
    text, values = _as_text(subscripts, operands)
    shapes = (lift("einsum_path", x).shape for x in values)
    return np.einsum_path(text, *(np.broadcast_to(0.0, shape) for shape in shapes), optimize=optimize)


def _without_ones(x: Any, labels: list[str], extents: dict[str, int]) -> Any:
    """``x`` without the axes of extent 1 that another operand repeats."""
    shape = tuple(n for k, n in zip(labels, x.shape, strict=True) if n == extents[k])
    return x if shape == x.shape else reshape(x, shape)


def _cheapest_pair(terms: list[_Term], result: list[str], extents: dict[str, int]) -> tuple[int, int]:
    if len(terms) == 2:
        return 0, 1

    def size(pair: tuple[int, int]) -> tuple[int, int]:
        others = {k for position, term in enumerate(terms) if position not in pair for k in term.labels} | set(result)
        union = {*terms[pair[0]].labels, *terms[pair[1]].labels}
        return prod(extents[k] for k in union & others), prod(extents[k] for k in union)

    pairs = [(i, j) for i in range(len(terms)) for j in range(i + 1, len(terms))]
    return min(pairs, key=size)

