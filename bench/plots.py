"""Draws a run: time against size for each library, compile time against program size, and the roofline.

Lines are labelled where they end, in the colour of the library, so that no legend has to be searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from bench.machine import Limits
from bench.record import Record
from bench.runner import medians
from bench.summary import Outcome, standings
from bench.workloads import GROUPS

# The libraries by the beginning of their rows' names; the fastest row of each is drawn.
COLOURS = {
    "gradxform": "#0b6e4f",
    "C++": "#222222",
    "JAX": "#d1495b",
    "torch": "#e08e0b",
    "Numba": "#2e86de",
    "PyTensor": "#7b4fa6",
    "CasADi": "#8d5a2b",
    "NumPy": "#8a97a5",
    "SciPy": "#5b7083",
}
COLUMNS = 3
# How far apart labels stand, in parts of a panel's height.
GAP = 0.07


def draw(record: Record, base: Path) -> list[Path]:
    """Draw what there is to be drawn, into files whose names begin with `base`."""
    drawn: list[Path] = []
    for position, (group, names) in enumerate(GROUPS.items()):
        here = [outcome for outcome in record.outcomes if outcome.workload.name in names and curves(outcome)]
        if group == "compiling":
            drawn += compile_times(here, base.with_name(f"{base.name}-compile.png"))
        else:
            drawn += run_times(here, base.with_name(f"{base.name}-runtime-{position + 1}.png"))
    drawn += roofline(record.outcomes, record.limits, base.with_name(f"{base.name}-roofline.png"))
    return drawn


def curves(outcome: Outcome) -> dict[str, list[tuple[int, float]]]:
    """Give the shortest median of each library at each size, of rows that do what the workload asks."""
    known = medians(list(outcome.measurements))
    found: dict[str, list[tuple[int, float]]] = {}
    for library in COLOURS:
        rows = [c for c in outcome.workload.contenders if c.name.startswith(library) and c.plain and c.cache == "empty"]
        for size in outcome.workload.every_size:
            times = [known.of(row.name, size) for row in rows if (row.name, size) in known.seconds]
            if times:
                found.setdefault(library, []).append((size, min(times)))
    return found


def panels(count: int, height: float) -> tuple[Any, list[Any]]:
    """Make a figure of so many panels."""
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(6 * columns, height * rows), squeeze=False, layout="constrained")
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def save(figure: Any, path: Path) -> list[Path]:
    """Write a figure."""
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return [path]


def run_times(outcomes: Sequence[Outcome], path: Path) -> list[Path]:
    """Draw a panel for each workload."""
    if not outcomes:
        return []
    figure, axes = panels(len(outcomes), 3.4)
    for axis, outcome in zip(axes, outcomes, strict=True):
        for library, points in curves(outcome).items():
            line(axis, points, library)
        axis.set_title(f"{outcome.workload.name}", fontsize=11, loc="left")
        finish(axis, "size", list(curves(outcome).items()))
    return save(figure, path)


def compile_times(outcomes: Sequence[Outcome], path: Path) -> list[Path]:
    """Draw the first calls of programs of growing length, every row, with its exponent."""
    if not outcomes:
        return []
    figure, axes = panels(len(outcomes), 5)
    for axis, outcome in zip(axes, outcomes, strict=True):
        known = medians(list(outcome.measurements))
        ends = []
        for position, contender in enumerate(outcome.workload.contenders):
            name = contender.name
            points = [(n, known.of(name, n)) for n in outcome.workload.every_size if (name, n) in known.seconds]
            if not points:
                continue
            library = next(library for library in COLOURS if name.startswith(library))
            line(axis, points, library, style=("-", "--", ":", "-.")[position % 4])
            sizes = [size for size, _ in points if size >= 100]
            grows = f" ~ n^{known.growth(name, sizes):.2f}" if len(sizes) > 1 else ""
            ends.append((name + grows, points))
        axis.set_title(outcome.workload.title, fontsize=10, loc="left")
        finish(axis, "operations", ends, room=0.95)
    return save(figure, path)


def line(axis: Any, points: Sequence[tuple[int, float]], library: str, style: str = "-") -> None:
    """Draw one library's times."""
    sizes, times = zip(*points, strict=True)
    ours = library == "gradxform"
    width, order, alpha = (2.6, 3, 1.0) if ours else (1.4, 2, 0.9)
    axis.plot(
        sizes, times, style, color=COLOURS[library], linewidth=width, zorder=order, alpha=alpha, marker="o", markersize=4
    )


def finish(axis: Any, label: str, ends: Sequence[tuple[str, Sequence[tuple[int, float]]]], room: float = 0.4) -> None:
    """Scale the axes and write the labels at the lines' ends, pushed apart where they would cover each other.

    `room` is for the labels, in terms of the part of the axis that the sizes take.
    """
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(label, fontsize=9)
    axis.set_ylabel("seconds", fontsize=9)
    axis.grid(True, which="major", linewidth=0.4, alpha=0.5)
    axis.yaxis.set_minor_formatter(NullFormatter())
    largest = max(points[-1][0] for _, points in ends)
    smallest = min(points[0][0] for _, points in ends)
    span = max(np.log10(largest / smallest), 0.5)
    axis.set_xlim(10 ** (np.log10(smallest) - 0.05 * span), 10 ** (np.log10(largest) + room * span))
    first = int(np.ceil(np.log10(smallest) - 1e-9))
    powers = [10**power for power in range(first, 12) if 10**power <= largest]
    ticks = powers if len(powers) > 1 else sorted({size for _, points in ends for size, _ in points})
    axis.set_xticks(ticks, [f"$10^{{{powers.index(tick) + first}}}$" if len(powers) > 1 else f"{tick:,}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    low, high = (np.log10(limit) for limit in axis.get_ylim())
    wanted = {name: (np.log10(points[-1][1]) - low) / (high - low) for name, points in ends}
    heights = apart(wanted, min(GAP, 1 / max(len(ends), 1)))
    for name, points in ends:
        colour = next(colour for library, colour in COLOURS.items() if name.startswith(library))
        axis.annotate(
            name,
            xy=points[-1],
            xytext=(10 ** (np.log10(largest) + 0.08 * span), 10 ** (low + heights[name] * (high - low))),
            color=colour,
            fontsize=8,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6},
        )


def apart(wanted: dict[str, float], gap: float) -> dict[str, float]:
    """Move labels up or down, in order, until they are a gap apart and within the panel."""
    names = sorted(wanted, key=wanted.__getitem__)
    heights: list[float] = []
    for position, name in enumerate(names):
        least = gap / 2 if not heights else heights[-1] + gap
        most = 1 - gap * (len(names) - position - 0.5)
        heights.append(min(max(wanted[name], least), max(most, least)))
    return dict(zip(names, heights, strict=True))


def roofline(outcomes: Sequence[Outcome], limits: Limits | None, path: Path) -> list[Path]:
    """Draw rates of arithmetic over operations per byte of operands and results, under what the machine can do."""
    points = []
    for outcome in outcomes:
        count = outcome.workload.flops
        found = [standing for standing in standings(outcome) if standing.size == outcome.workload.every_size[-1]]
        if count is None or not found:
            continue
        size = found[0].size
        held = max(m.bytes for m in outcome.measurements if m.size == size and m.contender.startswith("gradxform"))
        points.append((outcome.workload.name, count(size) / held, count(size) / found[0].seconds))
    if not points or limits is None:
        return []
    figure, axis = pyplot.subplots(figsize=(15, 10), layout="constrained")
    left = min(intensity for _, intensity, _ in points) / 2
    right = max(intensity for _, intensity, _ in points) * 4
    along = np.geomspace(left, right, 200)
    for name, peak in (("float64", limits.float64), ("float32", limits.float32)):
        axis.plot(along, np.minimum(peak, along * limits.bandwidth), color="#222222", linewidth=1.4)
        axis.annotate(f"{peak / 1e9:.3g} Gflop/s, {name}", (right, peak), ha="right", va="bottom", fontsize=9)
    # The slanted line is named above its lower end, out of the way of the points.
    foot = (left * 1.6, left * 1.6 * limits.bandwidth)
    axis.annotate(f"{limits.bandwidth / 1e9:.3g} GB/s, triad", foot, ha="right", va="bottom", fontsize=9)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("operations per byte of operands and results")
    axis.set_ylabel("operations per second")
    axis.set_xlim(left / 2.5, right * 1.2)
    axis.set_ylim(min(rate for _, _, rate in points) / 4, 3 * max(limits.float32, *(rate for _, _, rate in points)))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_title(f"gradxform at each workload's largest size, {limits.threads} threads", loc="left")
    axis.grid(True, which="major", linewidth=0.4, alpha=0.5)
    axis.scatter([x for _, x, _ in points], [y for _, _, y in points], color=COLOURS["gradxform"], zorder=3, s=24)
    place(axis, points)
    return save(figure, path)


def place(axis: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Write the names beside the points, each where it covers no other: the first free place around its point."""
    figure = axis.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    centres = axis.transData.transform([(x, y) for _, x, y in points])
    taken: list[Any] = [Bbox.from_extents(x - 3, y - 3, x + 3, y + 3) for x, y in centres]
    # Points on circles that grow, right and left in turns.
    around = [
        (side * radius * np.cos(turn), radius * np.sin(turn))
        for radius in (7, 14, 24, 36, 50, 70, 95, 125, 160)
        for turn in (0, 0.5, -0.5, 1, -1, 1.4, -1.4)
        for side in (1, -1)
    ]
    for name, x, y in sorted(points, key=lambda point: point[1]):
        for right, up in around:
            label = axis.annotate(
                name,
                (x, y),
                xytext=(right, up),
                textcoords="offset points",
                fontsize=8,
                ha="left" if right > 0 else "right",
                va="center",
                arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#888888"},
            )
            # Of the text alone, without the line to its point.
            label.update_positions(renderer)
            box = Text.get_window_extent(label, renderer)
            if not any(box.overlaps(other) for other in taken) or (right, up) == around[-1]:
                taken.append(box)
                break
            label.remove()
