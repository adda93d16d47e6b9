"""Native routines: code that works on whole matrices, such as LAPACK's, as the loop IR knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform.data_class import data_class


@data_class(frozen=True, slots=True)
class Routine:
    """What is done to one element of a batch: from contiguous operands to contiguous results.

    Attributes:
        name: ``family.function``; ``backend/native.py`` knows which file holds the text of a family.
        parameters: what the text depends on: extents, dtypes, options.
        reference: the same with NumPy, ``reference(*operands) -> results``; it raises where the routine fails.
        failures: what is said when the routine returns 1, 2, ...; such a kernel ends with LinAlgError.
        workspace: bytes that the routine needs while it runs.
        work: estimated nanoseconds.
        threads: whether it may use several threads by itself: then no two of them run at a time.
    """

    name: str
    parameters: tuple[int | str, ...]
    reference: Callable[..., Sequence[Any]]
    failures: tuple[str, ...] = ()
    workspace: int = 0
    work: float = 0.0
    threads: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.parameters))}]"
