"""The arrays that a trace captures, as they were when they were used.

Python code that is being traced may write into a plain array that it has used already: a buffer that is filled anew in every
round of a loop, say. What was recorded before must keep the elements of then. So arrays that can be written into are
captured as copies, one as long as the elements stay the same. Large ones are not copied, for they are data and no buffers:
it is noticed, with few exceptions, if they change, and refused.
"""

from __future__ import annotations

from typing import Any

from gradxform.core.source import user_line
from gradxform.errors import ReadOnlyError

#: Up to so many bytes are copied; of larger arrays so many elements are looked at.
COPIED_BYTES = 1 << 20
LOOKED_AT = 1024


class SteadyArrays:
    """The captured arrays of one trace, those of the functions traced within it included."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        # By identity: the array, which so keeps its identity, and the copy or some of its elements.
        self._found: dict[int, tuple[Any, Any]] = {}

    def as_it_is(self, array: Any) -> Any:
        """``array``, or a copy that stays what ``array`` is now."""
        found = self._found.get(id(array))
        if array.nbytes > COPIED_BYTES:
            sample = _sample(array)
            if found is None:
                self._found[id(array)] = array, sample
            elif not _same(found[1], sample):
                raise _written(array)
            return array
        if found is not None and _same(found[1], array):
            return found[1]
        copy = array.copy()
        copy.flags.writeable = False
        self._found[id(array)] = array, copy
        return copy

    def check(self) -> None:
        """Raises ReadOnlyError if a large array has been written into since it was captured."""
        for array, kept in self._found.values():
            if array.nbytes > COPIED_BYTES and not _same(kept, _sample(array)):
                raise _written(array)


def _written(array: Any) -> ReadOnlyError:
    return ReadOnlyError(
        f"an array of shape {array.shape} was written into after it had been used in a function that is being traced: use a "
        f"copy of it, array.copy(), before it is written into{user_line()}")


def _sample(array: Any) -> Any:
    flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1) if array.flags.f_contiguous else None
    if flat is None:
        return array[tuple([slice(None, None, max(1, n // 8)) for n in array.shape])].copy()
    return flat[::max(1, flat.size // LOOKED_AT)].copy()


def _same(x: Any, y: Any) -> bool:
    """Whether two arrays of one type have the same bits."""
    return x.shape == y.shape and x.dtype == y.dtype and bool(x.tobytes() == y.tobytes())
