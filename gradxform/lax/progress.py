"""Progress bars of loops: ``progress=`` of `scan`, `fori_loop`, `while_loop` and `map`.

A loop with a bar is the same loop with three effects. One in front of it opens the bar, one behind it closes it, and one
in its body, under a condition, tells how far the loop is: often enough to see it move, some hundreds of times in all.
Bars that are open are on a stack, one per thread, so that the innermost loop has the last one. A call that ends with an
exception does not come to the effect that closes: what is called natively is wrapped in `closing_bars`, which does.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import numpy as np

from gradxform.api.callbacks import identity, run_effect
from gradxform.core import Builder, run
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.ir import ArrayType, Callback, Program
from gradxform.lax.staging import Body
from gradxform.linear import add
from gradxform.primitives.arithmetic import sub
from gradxform.primitives.cond import cond
from gradxform.primitives.lanes import largest_lane
from gradxform.primitives.logic import bitwise_and, convert, equal, right_shift, select
from gradxform.primitives.while_loop import while_loop

#: True, a description, options of tqdm; False or None for no bar.
Progress: TypeAlias = bool | str | Mapping[str, Any] | None

#: A loop of a known number of iterations tells at most so often how far it is; a power of two.
MOST_UPDATES = 128
#: A loop of an unknown number of iterations tells when it has done 1/2**SHIFT more of them than last time.
SHIFT = 4

_COUNT = ArrayType(int64, ())


class _Open(threading.local):
    """The open bars of this thread, each with the identity of the loop that it belongs to."""

    def __init__(self) -> None:
        self.bars: list[tuple[Hashable, Any]] = []


_open = _Open()


@contextmanager
def bars_closed_behind() -> Iterator[None]:
    """What bars are opened within this block are closed when it ends."""
    before = len(_open.bars)
    try:
        yield
    finally:
        left, _open.bars[before:] = _open.bars[before:], []
        with ExitStack() as stack:  # all of them, though closing one should fail
            for _, bar in left:
                stack.callback(bar.close)


def closing_bars(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, and when a call of it ends, be it by an exception, the bars are closed that it has opened."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with bars_closed_behind():
            return function(*args, **kwargs)

    return call


@data_class(frozen=True, slots=True, eq=False)
class Meter:
    """The bar of one loop. ``each`` is how much an iteration counts, ``whole`` how much all of them do, if not as much."""

    options: tuple[tuple[str, Any], ...]
    same: Hashable
    each: int = 1
    whole: int | None = None

    # ------------------------------------------------------------------------------------------------ what is done

    def open(self, total: Any) -> None:
        """Show a bar for so many iterations, or for an unknown number: None."""
        from tqdm.auto import tqdm

        # Updates are rare: each may be shown, and how often is not to be learnt from them.
        options = {"total": None if total is None else int(total), "leave": not _open.bars, "miniters": 1,
                   **dict(self.options)}
        _open.bars.append((self.same, tqdm(**options)))

    def advance(self, done: Any) -> None:
        """So many iterations are done in all."""
        bar = self._bar()
        if bar is not None:
            bar.update(int(done) * self.each - bar.n)

    def close(self, done: Any) -> None:
        """The loop has come to its end, after so many of what the bar counts."""
        bar = self._bar()
        if bar is not None:
            _open.bars.pop()
            bar.update(int(done) - bar.n)
            bar.close()

    def _bar(self) -> Any:
        return _open.bars[-1][1] if _open.bars and _open.bars[-1][0] == self.same else None

    def total(self, iterations: int) -> int:
        """What the bar counts in a loop of so many iterations."""
        return iterations * self.each if self.whole is None else self.whole

    # -------------------------------------------------------------------------------------------- what is recorded

    def effect(self, what: str, *operands: Any, **fixed: Any) -> None:
        """Record a call of the method ``what``, or call it now if nothing is recorded."""
        method = functools.partial(getattr(self, what), **fixed)

        def call(values: Sequence[Any], _: Any) -> list[Any]:
            method(*values)
            return []

        made = Callback(f"progress_{what}", call, (self.same, what, self.each, *fixed.items()), around=closing_bars)
        run_effect(made, operands, ())

    def in_scan(self, body: Body, length: int, reverse: bool) -> Body:
        """The body of a scan with the bar, and with one more element: the position."""
        period = max(1, (1 << max(length - 1, 0).bit_length()) // MOST_UPDATES)
        builder = Builder("scan")
        with builder:
            inputs = [builder.add_input(var.type) for var in body.program.inputs]
            position = builder.add_input(_COUNT)
            outputs = run(body.program, inputs)
            done = sub(np.int64(length), position) if reverse else add(position, np.int64(1))
            if period == 1:
                self.effect("advance", done)
            else:
                self._advance_if(equal(bitwise_and(done, np.int64(period - 1)), np.int64(0)), done)
            program, captures = builder.finish(outputs, body.program.name)
        assert not captures, "a body captured an array"
        return Body(program, body.constants)

    def _advance_if(self, holds: Any, done: Any) -> None:
        builder = Builder("progress")
        with builder:
            builder.add_input(_COUNT)
            nothing, _ = builder.finish([])
        builder = Builder("progress")
        with builder:
            self.effect("advance", builder.add_input(_COUNT))
            something, _ = builder.finish([])
        cond([nothing, something], convert(holds, int64), [done])

    def while_loop(self, condition: Body, body: Body, values: Sequence[Any], total: Any) -> list[Any]:
        """Record a while loop with the bar; its number of iterations is ``total`` if that is not None.

        It has two more carries: how many iterations are done, and after how many of them the bar is told. Where the
        condition differs between the lanes of `vmap`, the loop goes on as long as the largest of these counts says.
        """
        self.effect("open", largest_lane(total)) if total is not None else self.effect("open", total=None)
        results = while_loop(_with_two_more(condition.program), self._in_while(body.program), condition.constants,
                             body.constants, [*values, np.int64(0), np.int64(1)])
        *results, done, _ = results
        self.effect("close", largest_lane(done))
        return results

    def _in_while(self, program: Program) -> Program:
        builder = Builder("while_loop")
        with builder:
            inputs = [builder.add_input(var.type) for var in program.inputs]
            done, due = builder.add_input(_COUNT), builder.add_input(_COUNT)
            outputs = run(program, inputs)
            done, due = largest_lane(add(done, np.int64(1))), largest_lane(due)
            now = equal(done, due)
            self._advance_if(now, done)
            next_due = add(add(done, right_shift(done, np.int64(SHIFT))), np.int64(1))
            result, captures = builder.finish([*outputs, done, select(now, next_due, due)], program.name)
        assert not captures, "a body captured an array"
        return result


def _with_two_more(program: Program) -> Program:
    """A condition that is given the two counts, too."""
    builder = Builder("while_loop")
    with builder:
        inputs = [builder.add_input(var.type) for var in program.inputs]
        builder.add_input(_COUNT)
        builder.add_input(_COUNT)
        result, captures = builder.finish(run(program, inputs), program.name)
    assert not captures, "a condition captured an array"
    return result


@contextmanager
def stepped_bar(meter: Meter | None, total: int | None) -> Iterator[Callable[[], None]]:
    """The bar of a loop that Python runs; yields what is called after each iteration."""
    if meter is None:
        yield lambda: None
        return
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        meter.advance(done)

    with bars_closed_behind():
        meter.open(None if total is None else meter.total(total))
        yield advance
        meter.close(done if total is None else meter.total(total))


def meter_of(purpose: str, progress: Progress) -> Meter | None:
    """The bar that ``progress`` asks for, or None."""
    if progress is None or progress is False:
        return None
    options: Mapping[str, Any]
    if progress is True:
        options = {}
    elif isinstance(progress, str):
        options = {"desc": progress}
    elif isinstance(progress, Mapping):
        options = progress
    else:
        raise ArgumentTypeError(
            f"{purpose}: progress must be True, a description or a dict of options of tqdm, got {progress!r} of type "
            f"{type(progress).__name__}{user_line()}")
    refused = [name for name in options if name not in OPTIONS]
    if refused:
        raise ArgumentError(
            f"{purpose}: progress has the option {refused[0]!r}; it takes those of tqdm: {', '.join(sorted(OPTIONS))}"
            f"{user_line()}")
    # Imported before the loop starts: it takes a while, and may be missing.
    import tqdm.auto  # noqa: F401

    chosen = tuple(sorted({"desc": purpose, **options}.items()))
    return Meter(chosen, identity("progress", chosen))


#: The options of tqdm that a bar takes.
OPTIONS = frozenset((
    "desc", "total", "leave", "file", "ncols", "mininterval", "ascii", "disable", "unit", "unit_scale", "dynamic_ncols",
    "bar_format", "position", "postfix", "unit_divisor", "nrows", "colour", "delay",
))
