"""Turns measurements into a table, a JSON document and a plot."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.runner import Measurement, Settings, medians
from bench.workload import Workload

PACKAGES = ("gradxform", "numpy", "scipy", "llvmlite", "optree", "jax", "jaxlib", "numba", "torch")


def duration(seconds: float) -> str:
    """Write a time with three digits and a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 1000 else f"{seconds * scale:.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """Give the installed version of a package, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "from its source tree" if importlib.util.find_spec(package) else None


def machine(settings: Settings) -> dict[str, object]:
    """Describe what the figures were measured on."""
    compiler = None
    if shutil.which("g++"):
        compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "g++": compiler,
        "packages": {package: version(package) for package in PACKAGES},
        "rounds": settings.rounds,
        "seconds": settings.seconds,
    }


def promised(workload: Workload, measurements: Sequence[Measurement]) -> list[dict[str, object]]:
    """Evaluate a workload's promises; the value is None where something they need was not measured."""
    figures = medians(list(measurements))
    rows: list[dict[str, object]] = []
    for promise in workload.promises:
        try:
            value = promise.value(figures)
        except KeyError:
            value = None
        rows.append(
            {
                "promise": promise.text,
                "at_most": promise.at_most,
                "at_least": promise.at_least,
                "value": value,
                "kept": None if value is None else promise.kept(value),
            }
        )
    return rows


def table(workload: Workload, measurements: Sequence[Measurement]) -> str:
    """Write a workload's figures as text: median, minimum, and the median in terms of the first contender's."""
    lines = [workload.title]
    for size in workload.sizes:
        here = [m for m in measurements if m.size == size]
        reference = next((m for m in here if m.samples), None)
        if len(workload.sizes) > 1:
            lines.append(f"  size {size:,}")
        for m in here:
            if m.samples and reference is not None:
                lines.append(
                    f"    {m.contender:<28}{duration(m.median):>10}   min {duration(m.minimum):>9}"
                    f"   {m.median / reference.median:>9.3g} x   ({len(m.samples)} samples)"
                )
            else:
                lines.append(f"    {m.contender:<28}{'FAILED: ' + m.failed if m.failed else f'skipped: {m.skipped}'}")
    for row in promised(workload, measurements):
        bound = f"≤ {row['at_most']:g}" if row["at_most"] is not None else f"≥ {row['at_least']:g}"
        if row["value"] is None:
            lines.append(f"  - {row['promise']} {bound}: not measured")
        else:
            lines.append(f"  - {row['promise']} {bound}: {row['value']:.3g}, {'kept' if row['kept'] else 'MISSED'}")
    return "\n".join(lines)


def document(
    workloads: Sequence[Workload],
    measurements: Mapping[str, Sequence[Measurement]],
    accuracy: object,
    about: Mapping[str, object],
) -> str:
    """Write everything as JSON: the machine, every sample, the promises, and the table of ulps."""
    return json.dumps(
        {
            "machine": about,
            "workloads": [
                {
                    "name": workload.name,
                    "title": workload.title,
                    "measurements": [
                        {
                            "contender": m.contender,
                            "size": m.size,
                            "median": m.median if m.samples else None,
                            "minimum": m.minimum if m.samples else None,
                            "samples": m.samples,
                            "skipped": m.skipped,
                            "failed": m.failed,
                        }
                        for m in measurements[workload.name]
                    ],
                    "promises": promised(workload, measurements[workload.name]),
                }
                for workload in workloads
            ],
            "accuracy": accuracy,
        },
        indent=1,
    )


def plot(workloads: Sequence[Workload], measurements: Mapping[str, Sequence[Measurement]], path: Path) -> None:
    """Draw the medians as bars on a logarithmic axis, one panel per workload and size; growth as a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter

    panels = [
        (workload, size, here)
        for workload in workloads
        for size in workload.sizes
        if len(here := [m for m in measurements[workload.name] if m.size == size and m.samples]) > 1
    ]
    curves = [w for w in workloads if len({m.size for m in measurements[w.name] if m.samples}) > 3]
    count = len(panels) + len(curves)
    if count == 0:
        return
    rows = -(-count // 2)
    figure, grid = pyplot.subplots(rows, 2, figsize=(14, 2.6 * rows), squeeze=False, layout="constrained")
    axes = list(grid.flat)
    for axis, (workload, size, here) in zip(axes, panels, strict=False):
        times = [m.median for m in here]
        colours = ["#0b6e4f" if "gradxform" in m.contender else "#9aa5b1" for m in here]
        bars = axis.barh([m.contender for m in here], times, color=colours)
        axis.bar_label(bars, [duration(time) for time in times], padding=3, fontsize=8)
        # A bar on a logarithmic axis has no natural beginning: all panels give their shortest bar a tenth of a decade.
        axis.set_xscale("log")
        axis.set_xlim(min(times) / 1.26, max(max(times) * 2, min(times) * 10))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.invert_yaxis()
        axis.set_xlabel("seconds, median")
        axis.set_title(workload.title + (f", n = {size:,}" if len(workload.sizes) > 1 else ""), fontsize=9)
    for axis, workload in zip(axes[len(panels) :], curves, strict=False):
        for contender in workload.contenders:
            measured = [m for m in measurements[workload.name] if m.contender == contender.name and m.samples]
            if measured:
                sizes, times = [m.size for m in measured], [m.median for m in measured]
                axis.loglog(sizes, times, marker="o", label=contender.name)
        axis.set_xlabel("size")
        axis.set_ylabel("seconds, median")
        axis.set_title(workload.title, fontsize=9)
        axis.legend(fontsize=8)
    for axis in axes[count:]:
        axis.set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
