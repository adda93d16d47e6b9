"""What a whole run comes to: where gradxform stands in each workload, and the project's promises over all of them.

A workload counts once in a geometric mean over workloads, however many sizes it has: its own geometric mean over the sizes
comes first. At one size the fastest row of gradxform is held against the fastest row of a peer, since each was written in
several idioms where it was not clear which suits it best.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.probes import Probe
from bench.runner import Measurement, medians
from bench.workload import Medians, Workload

VALUE = "gradxform, value"
# Libraries that make derivatives by themselves; what Numba, NumPy and SciPy are given was derived on paper.
DIFFERENTIATING = ("JAX", "torch", "PyTensor", "CasADi")
# Memory comes in huge pages, some for each thread, whatever the size.
SLACK = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Outcome:
    """A workload and all that was measured of it."""

    workload: Workload
    measurements: Sequence[Measurement]
    probes: Sequence[Probe] = ()

    def probe(self, *, ours: bool) -> Probe | None:
        """Give the probe of gradxform, or of JAX; None if there is none that worked."""
        found = (p for p in self.probes if p.contender.startswith("gradxform") == ours and not p.failed and p.cold)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How gradxform stands at one size of a workload: its seconds, and each library's fastest time over that.

    `library` is that of the fastest library that makes derivatives by itself. `native` is the other way round: ours over the
    C++ that makes new results, as gradxform does.
    """

    workload: str
    size: int
    seconds: float
    peer: str | None
    ratio: float | None
    library: float | None
    jax: float | None
    torch: float | None
    torch_compiled: float | None
    native: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A promise over the whole run: the value, None where it was not measured, its bound, and what there is to say.

    A line without a bound promises nothing; it is shown so that the others can be judged.
    """

    text: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Say whether the bound is kept; None if nothing was measured or promised."""
        if self.value is None or not self.bound:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def bound(self) -> str:
        """Write the bound; nothing if there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def verdict(self) -> str:
        """Say in words what came out."""
        if self.value is None:
            return "not measured"
        return "for comparison" if self.kept is None else "kept" if self.kept else "MISSED"

    def __str__(self) -> str:
        value = "" if self.value is None else f"{self.value:.3g}, "
        return f"{self.text} {self.bound}".strip() + f": {value}{self.verdict}" + (f" ({self.note})" if self.note else "")


def standings(outcome: Outcome) -> list[Standing]:
    """Compare at every size where gradxform was measured; nothing for workloads that have no row that is ours alone."""
    known = medians(list(outcome.measurements))
    found = []
    for size in outcome.workload.every_size:
        times = {c: known.of(c.name, size) for c in outcome.workload.contenders if (c.name, size) in known.seconds}
        seconds = min((time for contender, time in times.items() if contender.ours and not contender.fast_math), default=None)
        if seconds is None:
            continue
        # A row with fast maths is held against those who have it too; it says nothing without the row as it comes.
        fastest = min(time for contender, time in times.items() if contender.ours)
        peers = {contender.name: time for contender, time in times.items() if contender.rival}
        ratios = {contender.name: time / (fastest if contender.fast_math else seconds)
                  for contender, time in times.items() if contender.rival}
        peer = min(ratios, key=ratios.__getitem__, default=None)
        native = next((time for contender, time in times.items() if contender.native), None)
        found.append(
            Standing(
                outcome.workload.name,
                size,
                seconds,
                peer,
                None if peer is None else ratios[peer],
                ratio_of(DIFFERENTIATING, peers, seconds),
                ratio_of("JAX", peers, seconds),
                ratio_of("torch", peers, seconds),
                ratio_of("torch compiled", peers, seconds),
                None if native is None else fastest / native,
            )
        )
    return found


def ratio_of(library: str | tuple[str, ...], peers: Mapping[str, float], seconds: float) -> float | None:
    """Give the shortest time of a library's rows, or of several libraries', in terms of ours."""
    shortest = min((time for name, time in peers.items() if name.startswith(library)), default=None)
    return None if shortest is None else shortest / seconds


def geometric(values: Iterable[float | None]) -> float | None:
    """Give the geometric mean of those that are known."""
    known = [value for value in values if value is not None]
    return float(np.exp(np.mean(np.log(known)))) if known else None


def by_workload(found: Sequence[Standing], value: Callable[[Standing], float | None]) -> float | None:
    """Give the geometric mean over workloads of each one's geometric mean over its sizes."""
    names = dict.fromkeys(standing.workload for standing in found)
    return geometric(geometric(value(s) for s in found if s.workload == name) for name in names)


def gradient_over_value(outcomes: Sequence[Outcome]) -> float | None:
    """Give the median, over scalar objectives at their largest promised size, of value and gradient over the value."""
    ratios = []
    for outcome in outcomes:
        known, size = medians(list(outcome.measurements)), max(outcome.workload.sizes)
        ours = [s.seconds for s in standings(outcome) if s.size == size]
        if ours and (VALUE, size) in known.seconds:
            ratios.append(ours[0] / known.of(VALUE, size))
    return statistics.median(ratios) if ratios else None


def first_calls(outcomes: Sequence[Outcome]) -> tuple[float | None, float | None]:
    """Give the median cold first call in terms of JAX's, and the median warm one in milliseconds."""
    cold, warm = [], []
    for outcome in outcomes:
        ours, theirs = outcome.probe(ours=True), outcome.probe(ours=False)
        if ours is not None:
            warm.append(ours.warm_median * 1e3)
            if theirs is not None:
                cold.append(ours.cold_median / theirs.cold_median)
    return statistics.median(cold) if cold else None, statistics.median(warm) if warm else None


def peak_memory(outcomes: Sequence[Outcome]) -> tuple[float | None, str]:
    """Give the greatest peak of fused work in terms of operands and results, and where it is beyond the bound.

    The first SLACK bytes of temporaries are forgiven.
    """
    peaks = {}
    for outcome in outcomes:
        probe = outcome.probe(ours=True)
        if outcome.workload.fused and probe is not None and probe.memory is not None:
            memory = probe.memory
            held = memory.inputs + memory.outputs
            peaks[outcome.workload.name] = (held + max(0, memory.beyond - SLACK)) / held
    above = ", ".join(f"{name} {peak:.2f}" for name, peak in peaks.items() if peak > 1.05)
    return (max(peaks.values()), above) if peaks else (None, "")


def compile_growth(outcomes: Sequence[Outcome]) -> float | None:
    """Give the greatest exponent of compile time over program size, from 100 to 10,000 operations."""
    exponents = []
    for outcome in outcomes:
        if outcome.workload.name == "unrolled_compile":
            known: Medians = medians(list(outcome.measurements))
            sizes = [size for size in outcome.workload.sizes if size >= 100]
            for name in ("gradxform", "gradxform, gradient"):
                if all((name, size) in known.seconds for size in sizes):
                    exponents.append(known.growth(name, sizes))
    return max(exponents, default=None)


def compared(outcomes: Sequence[Outcome]) -> list[Line]:
    """Say what the means over all workloads are to be judged by: how far C++ gets, and what derivatives by hand amount to."""
    found = [standing for outcome in outcomes if outcome.workload.listed for standing in standings(outcome)]
    others = [standing for outcome in outcomes if not outcome.workload.listed for standing in standings(outcome)]
    natives = [standing for standing in found if standing.native is not None and standing.ratio is not None]
    libraries = ", ".join(DIFFERENTIATING)
    return [
        Line(f"geometric mean against the fastest of {libraries}", by_workload(found, lambda s: s.library)),
        Line("geometric mean against the best peer, where there is C++", by_workload(natives, lambda s: s.ratio)),
        Line("the same of that C++", by_workload(natives, lambda s: (s.ratio or 0.0) * (s.native or 0.0))),
        Line("geometric mean against JAX over programs that nobody listed", by_workload(others, lambda s: s.jax)),
    ]


def promised(outcomes: Sequence[Outcome]) -> list[Line]:
    """Hold a run against what the project promises over all workloads that were listed."""
    outcomes = [outcome for outcome in outcomes if outcome.workload.listed]
    found = [standing for outcome in outcomes for standing in standings(outcome)]
    at = {(standing.workload, standing.size): standing for standing in found}
    products = {outcome.workload.name for outcome in outcomes if outcome.workload.products}
    fused = {outcome.workload.name for outcome in outcomes if outcome.workload.fused}

    def least(chosen: Callable[[Standing], float | None], names: Callable[[str], bool]) -> float | None:
        return min((v for s in found if names(s.workload) and (v := chosen(s)) is not None), default=None)

    def behind(names: Callable[[str], bool], bound: float) -> str:
        return "; ".join(
            f"{s.workload} {s.size:,} {s.ratio:.2f} {s.peer}"
            for s in found
            if names(s.workload) and s.ratio is not None and s.ratio < bound
        )

    def one(name: str, size: int, chosen: Callable[[Standing], float | None]) -> float | None:
        return chosen(at[name, size]) if (name, size) in at else None

    natives = {f"{s.workload} {s.size:,}": s.native for s in found if s.workload in fused and s.native is not None}
    slower = "; ".join(f"{name} {ratio:.2f}" for name, ratio in natives.items() if ratio > 1.3)
    steps = [s for s in found if s.workload in ("mlp", "mlp_float32")]
    logistic, layer = "regressions.logistic_gradient", "normalisations.layer_norm_gradient"
    cold, warm = first_calls(outcomes)
    peak, above = peak_memory(outcomes)
    return [
        Line("geometric mean against the best peer of each workload", by_workload(found, lambda s: s.ratio), 3),
        Line("geometric mean against JAX", by_workload(found, lambda s: s.jax), 6),
        Line(
            "least against its best peer, of any workload and size",
            least(lambda s: s.ratio, lambda name: name not in products),
            1.0,
            note=behind(lambda name: name not in products, 1.0),
        ),
        Line(
            "least against its best peer, bound by products of matrices",
            least(lambda s: s.ratio, products.__contains__),
            0.95,
            note=behind(products.__contains__, 0.95),
        ),
        Line("fused work over C++, greatest", max(natives.values(), default=None), at_most=1.3, note=slower),
        Line("logistic regression 100,000 over C++", one(logistic, 100_000, lambda s: s.native), at_most=1.3),
        Line("logistic regression 100,000 against JAX", one(logistic, 100_000, lambda s: s.jax), 3),
        Line("layer norm gradient 4,096 x 1,024 against JAX", one(layer, 4_096, lambda s: s.jax), 8),
        Line(
            "Black-Scholes Greeks 1,000,000 against torch compiled",
            one("black_scholes", 1_000_000, lambda s: s.torch_compiled),
            1.2,
        ),
        Line("Black-Scholes Greeks 1,000,000 against JAX", one("black_scholes", 1_000_000, lambda s: s.jax), 6),
        Line("gradient over value, median of scalar objectives", gradient_over_value(outcomes), at_most=2.5),
        Line("MLP training step against JAX, least", min((s.jax for s in steps if s.jax), default=None), 1),
        Line("MLP training step against torch, least", min((s.torch for s in steps if s.torch), default=None), 1),
        Line("6x6 Hessians at 100,000 points against JAX", one("small_hessians", 100_000, lambda s: s.jax), 8),
        Line("cold first call over JAX's, median of workloads", cold, at_most=0.5),
        Line("first call with a warm disk cache in milliseconds, median of workloads", warm, at_most=10),
        Line("exponent of compile time from 100 to 10,000 operations", compile_growth(outcomes), at_most=1.15),
        Line("peak memory of fused work over operands and results, greatest", peak, at_most=1.05, note=above),
    ]
