"""Runs the benchmark: `python -m bench [WORKLOAD ...]`; see bench/README.md."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import accuracy, machine, markdown, probes, record, report, runner, scaling
from bench.process import Settings
from bench.summary import Outcome
from bench.workloads import NAMES, load

ULP = "ulp"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure gradxform against its peers.")
    every = ", ".join((*NAMES, ULP))
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {every}; all by default")
    parser.add_argument("--list", action="store_true", help="print the workloads and what they measure")
    parser.add_argument("--quick", action="store_true", help="a third of the time: for a look, not for a record")
    parser.add_argument("--threads", type=int, default=Settings().threads, help="cores and threads for everyone")
    parser.add_argument(
        "--peer-python",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="another environment's interpreter, for peers that are not installed in this one; may be repeated",
    )
    parser.add_argument("--scaling", action="store_true", help="only gradxform: all threads against one, and same bits")
    parser.add_argument("--repeat-check", action="store_true", help="only gradxform: same bits, without timing")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="what to write; plots stand beside it")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write a page of the documentation as well")
    parser.add_argument(
        "--render",
        type=Path,
        nargs="+",
        metavar="FILE.json",
        help="measure nothing: report what earlier runs wrote, the later files over the earlier ones",
    )
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.workloads) - {*NAMES, ULP}):
        parser.error(f"no workload named {', '.join(unknown)}; --list shows them")
    return chosen


def log(text: str) -> None:
    """Say what goes on where it is not part of the report."""
    print(text, file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> record.Record:
    """Measure what the options ask for, and print it workload by workload."""
    names = options.workloads or [*NAMES, ULP]
    settings = Settings(threads=options.threads, peers=tuple(options.peer_python))
    if options.quick:
        settings = dataclasses.replace(settings, rounds=1)
    about = machine.describe(settings)
    print(f"{about['processor']}, {settings.threads} threads, Python {about['python']}, load {about['load']:.2f}")
    print(", ".join(f"{name} {machine.version(name, settings) or 'not installed'}" for name in machine.PACKAGES))
    workloads = [load(name) for name in NAMES if name in names]
    limits = machine.limits(settings.threads) if not options.repeat_check else None
    if options.scaling or options.repeat_check:
        say: Callable[[str], None] = lambda text: print(text, flush=True)  # noqa: E731
        scaled = scaling.run(workloads, settings, limits, say, timing=options.scaling)
        return record.Record(about, limits, scaled=scaled)
    outcomes = []
    for workload in workloads:
        start = time.perf_counter()
        measurements = runner.run(workload, settings, log)
        outcomes.append(Outcome(workload, measurements, probes.run_probes(workload, settings)))
        log(f"{workload.name}: {time.perf_counter() - start:.0f} s")
        print("\n" + report.table(outcomes[-1]), flush=True)
    errors = accuracy.measure(samples=400 if options.quick else 2000) if ULP in names else None
    return record.Record(about, limits, outcomes, accuracy=errors)


def main() -> int:
    """Run, print and write; 1 if a contender failed, gave a wrong result, or one that does not repeat."""
    options = arguments()
    if options.list:
        for name in NAMES:
            print(f"{name:<36}{load(name).title}")
        print(f"{ULP:<36}elementary functions against mpmath")
        return 0
    if options.render:
        found = record.merge([record.read(path) for path in options.render])
        for outcome in found.outcomes:
            print("\n" + report.table(outcome))
    else:
        found = measure(options)
    print("\n" + report.summary_text(found))
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    output = options.output or Path(__file__).parent / "results" / f"{stamp}.json"
    record.write(found, output)
    print(f"\nwritten: {output}")
    if options.markdown:
        options.markdown.write_text(markdown.page(found))
        print(f"written: {options.markdown}")
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib not installed")
    else:
        from bench import plots

        for path in plots.draw(found, output.with_suffix("")):
            print(f"written: {path}")
    return int(bool(report.failures(found.outcomes)) or any(row.different for row in found.scaled))


if __name__ == "__main__":
    sys.exit(main())
