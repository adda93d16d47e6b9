"""Runs the benchmark: `python -m bench [WORKLOAD ...]`; see bench/README.md."""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import sys
from pathlib import Path
from typing import Any

from bench import report, runner
from bench.workloads import NAMES, load

ULP = "ulp"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure gradxform against its peers.")
    every = ", ".join((*NAMES, ULP))
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {every}; all by default")
    parser.add_argument("--list", action="store_true", help="print the workloads and what they measure")
    parser.add_argument("--quick", action="store_true", help="a third of the time: for a look, not for a record")
    parser.add_argument("--threads", type=int, default=runner.Settings().threads, help="cores and threads for everyone")
    parser.add_argument("--output", type=Path, help="the JSON file to write; the plot stands beside it as .png")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.workloads) - {*NAMES, ULP}):
        parser.error(f"no workload named {', '.join(unknown)}; --list shows them")
    return chosen


def main() -> int:
    """Run, print and write; 1 if a contender failed or gave a wrong result."""
    options = arguments()
    names = options.workloads or [*NAMES, ULP]
    if options.list:
        for name in NAMES:
            print(f"{name:<20}{load(name).title}")
        print(f"{ULP:<20}elementary functions against mpmath")
        return 0
    settings = runner.Settings(threads=options.threads)
    if options.quick:
        settings = runner.Settings(rounds=1, seconds=0.3, threads=options.threads)
    about = report.machine(settings)
    print(f"{about['processor']}, {settings.threads} threads, Python {about['python']}, load {about['load']:.2f}")
    print(", ".join(f"{name} {report.version(name) or 'not installed'}" for name in report.PACKAGES))
    workloads = [load(name) for name in NAMES if name in names]
    measurements: dict[str, list[runner.Measurement]] = {}
    for workload in workloads:
        measurements[workload.name] = runner.run(workload, settings, lambda text: print(text, file=sys.stderr))
        print("\n" + report.table(workload, measurements[workload.name]), flush=True)
    errors = measure_accuracy(samples=400 if options.quick else 2000) if ULP in names else None
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    output = options.output or Path(__file__).parent / "results" / f"{stamp}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(report.document(workloads, measurements, errors, about))
    print(f"\nwritten: {output}")
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib not installed")
    elif workloads:
        report.plot(workloads, measurements, output.with_suffix(".png"))
        print(f"written: {output.with_suffix('.png')}")
    return int(any(m.failed for several in measurements.values() for m in several))


def measure_accuracy(samples: int) -> list[dict[str, object]] | str:
    """Measure the elementary functions in units in the last place, or say what is missing for it."""
    print("\ngreatest error of the elementary functions against mpmath, in units in the last place")
    if lacking := runner.missing(("gradxform", "mpmath", "pytest")):
        reason = f"skipped: {' and '.join(lacking)} not installed"
        print(f"    {reason}")
        return reason
    from bench import ulp
    from gradxform.backend import elementary

    tests = ulp.load_tests()
    rows: list[dict[str, object]] = []
    for name in elementary.roster():
        row: dict[str, object] = {"function": name}
        for position, dtype in enumerate(("f64", "f32")):
            error, argument = ulp.greatest_error(tests, name, dtype, samples, seed=7)
            row[dtype] = {"error": error, "at": argument, "promised": tests.TOLERANCE[name][position]}
        rows.append(row)
        print(f"    {name:<12}" + "   ".join(accuracy(dtype, row[dtype]) for dtype in ("f64", "f32")), flush=True)
    return rows


def accuracy(dtype: str, measured: Any) -> str:
    """Write one measured error and the promise beside it."""
    verdict = "kept" if measured["error"] <= measured["promised"] else "MISSED"
    return f"{dtype} {measured['error']:.3f} ≤ {measured['promised']:g}: {verdict}"


if __name__ == "__main__":
    sys.exit(main())
