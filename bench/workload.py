"""What a benchmark consists of: a workload, its contenders, and the promises that are held against the figures.

A workload is one computation. Each contender does it in a process of its own, so that no peer's threads, floating-point
mode or imports touch another's timing. There are two kinds:

- repeated: a contender prepares a `Call`, whose statement is warmed and then timed many times in one process;
- fresh: a contender measures one event that happens once in a process (an import, a first call) and gives an `Once`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Call:
    """A statement to be timed and the objects that its names stand for; its value is the result to be checked."""

    statement: str
    names: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Once:
    """One measured event: how long it took in seconds, and the value to be checked."""

    seconds: float
    result: object


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a workload.

    `needs` names what must be installed: Python modules, or programs with a leading `$`. `sizes` restricts a contender
    to some sizes of the workload. `expected` replaces the workload's expected result for a yardstick that computes
    something else. `cache` says what a fresh process finds in gradxform's disk cache.
    """

    name: str
    prepare: Callable[[int], Call | Once]
    needs: tuple[str, ...] = ()
    sizes: tuple[int, ...] | None = None
    expected: Callable[[int], object] | None = None
    cache: Literal["empty", "warm"] = "empty"


@dataclass(frozen=True, slots=True)
class Medians:
    """Median seconds by contender and size, as the promises read them."""

    seconds: Mapping[tuple[str, int], float]

    def of(self, contender: str, size: int) -> float:
        """Give the median of one contender at one size; KeyError when it was not measured."""
        return self.seconds[contender, size]

    def ratio(self, slower: str, faster: str, size: int) -> float:
        """Say how many times longer `slower` took than `faster`."""
        return self.of(slower, size) / self.of(faster, size)

    def growth(self, contender: str, sizes: Sequence[int]) -> float:
        """Fit the exponent p of time ~ size**p by least squares on the logarithms."""
        times = [self.of(contender, size) for size in sizes]
        return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure to be shown: its text, how it follows from the medians, and the bound that it has to keep."""

    text: str
    value: Callable[[Medians], float]
    at_most: float | None = None
    at_least: float | None = None

    def kept(self, value: float) -> bool:
        """Say whether a measured value keeps the promise."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


@dataclass(frozen=True, slots=True)
class Workload:
    """A computation, the sizes it is done at, who does it, what must come out and what is promised about the time.

    `expected` gives the right result from NumPy or a closed form; every contender is checked against it before it is
    timed. The first contender that could be measured is what the ratios of the table refer to.
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    contenders: tuple[Contender, ...]
    expected: Callable[[int], object]
    promises: tuple[Promise, ...] = ()
    fresh: bool = False
    fresh_samples: int = 5
    relative_tolerance: float = 1e-12
    absolute_tolerance: float = 1e-13

    def contender(self, name: str) -> Contender:
        """Look up a contender by name."""
        return next(contender for contender in self.contenders if contender.name == name)


def leaves(value: object) -> list[np.ndarray]:
    """Flatten nested dicts (by sorted key), lists and tuples of numbers and arrays into NumPy arrays."""
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [np.asarray(value)]


def disagreement(actual: Sequence[np.ndarray], workload: Workload, contender: Contender, size: int) -> str | None:
    """Compare a contender's result with what is expected; None if they agree, otherwise say where they do not."""
    expected = leaves((contender.expected or workload.expected)(size))
    if len(actual) != len(expected):
        return f"gave {len(actual)} arrays where {len(expected)} were expected"
    for position, (found, wanted) in enumerate(zip(actual, expected, strict=True)):
        if found.shape != wanted.shape:
            return f"array {position} has shape {found.shape}, expected {wanted.shape}"
        if found.dtype != wanted.dtype:
            return f"array {position} has dtype {found.dtype}, expected {wanted.dtype}"
        bound = workload.absolute_tolerance + workload.relative_tolerance * np.abs(wanted)
        wrong = ~(np.abs(found - wanted) <= bound)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"array {position} differs at {where}: {found[where]!r}, expected {wanted[where]!r}"
    return None
