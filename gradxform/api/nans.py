"""``config.debug_nans`` for compiled functions: their results are looked at, and a NaN is searched for step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform.backend.callable import resume_dispatch, suspend_dispatch
from gradxform.config import Options, config
from gradxform.core.nans import has_nan
from gradxform.core.source import user_line
from gradxform.errors import NanError


class _Follower:
    """Sends calls of compiled functions through Python as long as the setting is on, where results can be looked at."""

    def __init__(self) -> None:
        self.suspended = False

    def __call__(self, options: Options) -> None:
        if options.debug_nans != self.suspended:
            self.suspended = options.debug_nans
            (suspend_dispatch if self.suspended else resume_dispatch)()


_follow = _Follower()
_follow(config.snapshot())
config.subscribe(_follow)


def find_nan(name: str, results: Sequence[Any], run_again: Callable[[], object]) -> None:
    """Raise NanError if one of the results of compiled code is NaN.

    ``run_again`` evaluates the same program with NumPy, where the first operation that gives NaN raises.
    """
    guilty = [number for number, value in enumerate(results) if has_nan(value)]
    if not guilty:
        return
    run_again()
    raise NanError(
        f"result {guilty[0]} of {name} is NaN, and none of its operations gives NaN when it runs step by step in NumPy: it was "
        f"in the arguments or in a constant already, or compiled code rounds differently just there{user_line()}")
