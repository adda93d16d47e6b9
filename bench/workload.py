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

# What a polynomial or rational approximation to full precision takes, roughly; the roofline needs no more.
ELEMENTARY = 20


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


Prepare = Callable[[int], Call]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a workload.

    `needs` names what must be installed: Python modules, or programs with a leading `$`. `sizes` restricts a contender
    to some sizes of the workload. `expected` replaces the workload's expected result for a row that computes
    something else. `cache` says what a fresh process finds in gradxform's disk cache. A `yardstick` is shown, but nothing is
    promised about it: it was told what the others have to find out, as where a matrix has zeros.
    """

    name: str
    prepare: Callable[[int], Call | Once]
    needs: tuple[str, ...] = ()
    sizes: tuple[int, ...] | None = None
    expected: Callable[[int], object] | None = None
    cache: Literal["empty", "warm"] = "empty"
    yardstick: bool = False

    def takes(self, size: int) -> bool:
        """Say whether it is done at a size of the workload."""
        return self.sizes is None or size in self.sizes

    @property
    def ours(self) -> bool:
        """Say whether this is gradxform, doing what the workload asks and finding nothing on disk."""
        return self.name.startswith("gradxform") and self.plain and self.cache == "empty"

    @property
    def fast_math(self) -> bool:
        """Say whether this was allowed to round otherwise than the program is written."""
        return self.name.endswith("fast maths") or self.name.startswith(("Numba", "C++"))

    @property
    def native(self) -> bool:
        """Say whether this is the C++ that generated code is held against."""
        return self.name.startswith("C++")

    @property
    def rival(self) -> bool:
        """Say whether this is a peer that does what the workload asks."""
        return self.plain and not self.native and not self.name.startswith("gradxform")

    @property
    def plain(self) -> bool:
        """Say whether this does what the workload asks, and was not told more than the others."""
        return self.expected is None and not self.yardstick


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
    timed. The first contender that could be measured is what the ratios of the table refer to. `growth` are sizes beyond those
    that anything is promised about, measured more briefly, to see how the time grows.

    `fused` says that no intermediate result needs to be stored whole: peak memory and the distance to C++ are held to that.
    `products` says that nearly all of the time goes into large products of matrices, which all libraries leave to a BLAS.
    `serial` says that every step needs the one before, so that there is nothing for a second thread to do.
    `listed` says that it counts in what is promised over all workloads; the others show that rules hold beyond these.
    `flops` counts arithmetic operations, an elementary function as ELEMENTARY of them.
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    contenders: tuple[Contender, ...]
    expected: Callable[[int], object]
    promises: tuple[Promise, ...] = ()
    fresh: bool = False
    fresh_samples: int = 5
    growth: tuple[int, ...] = ()
    fused: bool = False
    products: bool = False
    serial: bool = False
    listed: bool = True
    flops: Callable[[int], float] | None = None
    relative_tolerance: float = 1e-12
    absolute_tolerance: float = 1e-13

    @property
    def every_size(self) -> list[int]:
        """List all sizes in order."""
        return sorted({*self.sizes, *self.growth})

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


def disagreement(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray], workload: Workload) -> str | None:
    """Compare a contender's result with what is expected; None if they agree, otherwise say where they do not."""
    if len(actual) != len(expected):
        return f"gave {len(actual)} arrays where {len(expected)} were expected"
    for position, (found, wanted) in enumerate(zip(actual, expected, strict=True)):
        if found.shape != wanted.shape:
            return f"array {position} has shape {found.shape}, expected {wanted.shape}"
        if found.dtype != wanted.dtype:
            return f"array {position} has dtype {found.dtype}, expected {wanted.dtype}"
        if wanted.dtype == np.bool_:
            wrong = found != wanted
        else:
            bound = workload.absolute_tolerance + workload.relative_tolerance * np.abs(wanted)
            wrong = ~(np.abs(found - wanted) <= bound)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"array {position} differs at {where}: {found[where]!r}, expected {wanted[where]!r}"
    return None
