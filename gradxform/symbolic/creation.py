"""Input variables: ``dscalar('x')``, ``fmatrix()``, ``vectors('u', 'v')``.

The letter in front is the dtype: b, w, i, l are int8 to int64, f and d float32 and float64, c and z complex64 and
complex128. Without a letter it is ``config.floatX``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from gradxform.core.source import user_line
from gradxform.dtypes import SUPPORTED
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.symbolic.graph import tensor_type
from gradxform.symbolic.variables import Variable

__all__ = ["CREATORS", "config", "tensor"]

#: ``floatX`` is the dtype of ``scalar``, ``vector`` ... without a letter.
config = SimpleNamespace(floatX="float64")

DTYPES = {"b": "int8", "w": "int16", "i": "int32", "l": "int64", "f": "float32", "d": "float64", "c": "complex64",
          "z": "complex128"}
_NAMES = frozenset(found.name for found in SUPPORTED)
SHAPES: dict[str, tuple[int | None, ...]] = {
    "scalar": (), "vector": (None,), "matrix": (None, None), "row": (1, None), "col": (None, 1), "tensor3": (None,) * 3,
    "tensor4": (None,) * 4, "tensor5": (None,) * 5,
}


def tensor(
    *described: Any, name: str | None = None, dtype: Any = None, shape: Sequence[int | None] | None = None,
    ndim: int | None = None, broadcastable: Sequence[bool] | None = None,
) -> Variable:
    """An input variable of any dtype and rank.

    Args:
        name: what `pp` and messages call it.
        dtype: ``config.floatX`` unless given.
        shape: the extents, None where one is unknown; or
        ndim: the rank, all extents unknown; or
        broadcastable: which extents are 1, the others unknown.
        described: the same by position: a dtype, a name, a rank, a shape or booleans, as Theano and PyTensor take them.

    >>> tensor("float32", 3).type
    TensorType(dtype='float32', shape=(None, None, None))
    >>> tensor("x", shape=(None, 3)).ndim
    2
    """
    for value in described:
        if isinstance(value, str) and value not in _NAMES:
            name = value
        elif isinstance(value, int):
            ndim = value
        elif isinstance(value, (tuple, list)):
            if value and all(isinstance(extent, bool) for extent in value):
                broadcastable = value
            else:
                shape = value
        else:
            dtype = value
    given = [what for what in (shape, ndim, broadcastable) if what is not None]
    if len(given) != 1:
        raise ArgumentError(f"tensor: give one of shape, ndim and broadcastable, got {len(given)} of them{user_line()}")
    if shape is not None:
        extents = tuple(shape)
    elif ndim is not None:
        extents = (None,) * ndim
    else:
        extents = tuple([1 if flag else None for flag in broadcastable or ()])
    return Variable(tensor_type(dtype or config.floatX, extents), name)


def _creator(kind: str, letter: str) -> Callable[..., Variable]:
    shape = SHAPES[kind]
    rank = {"scalar": "A number", "row": "A matrix of one row", "col": "A matrix of one column"}.get(kind, f"A {kind}")

    def create(name: str | None = None, dtype: Any = None) -> Variable:
        if name is not None and not isinstance(name, str):
            raise ArgumentTypeError(f"{letter}{kind}: a name is a string, got {name!r}{user_line()}")
        return Variable(tensor_type(DTYPES.get(letter) or dtype or config.floatX, shape), name)

    create.__name__ = create.__qualname__ = f"{letter}{kind}"
    create.__doc__ = f"{rank} of dtype {DTYPES.get(letter, '``config.floatX``, or ``dtype``')}: an input variable."
    return create


def _several(kind: str, letter: str, plural: str) -> Callable[..., list[Variable]]:
    one = _creator(kind, letter)

    def create(*names: Any) -> list[Variable]:
        if len(names) == 1 and isinstance(names[0], int):
            return [one() for _ in range(names[0])]
        return [one(name) for name in names]

    create.__name__ = create.__qualname__ = f"{letter}{plural}"
    create.__doc__ = f"A list of ``{letter}{kind}``: one for each name, or as many unnamed ones as a number says."
    return create


_PLURALS = {"matrix": "matrices"}

#: All of them by name.
CREATORS: dict[str, Callable[..., Any]] = {}
for _kind in SHAPES:
    for _letter in ("", *DTYPES):
        CREATORS[f"{_letter}{_kind}"] = _creator(_kind, _letter)
        _plural = _PLURALS.get(_kind, f"{_kind}s")
        CREATORS[f"{_letter}{_plural}"] = _several(_kind, _letter, _plural)
