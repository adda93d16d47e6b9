"""What a run leaves behind: everything that was measured, to JSON and back, so that several runs make one report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import Limits
from bench.probes import Memory, Probe
from bench.runner import Measurement, medians
from bench.scaling import Scaled
from bench.summary import Outcome
from bench.workload import Workload
from bench.workloads import NAMES, load


@dataclass(frozen=True, slots=True)
class Record:
    """The machine, its limits, outcomes by workload, scaling over threads, and errors of elementary functions."""

    machine: Mapping[str, object]
    limits: Limits | None = None
    outcomes: Sequence[Outcome] = field(default_factory=list)
    scaled: Sequence[Scaled] = field(default_factory=list)
    accuracy: object = None


def promises(workload: Workload, measurements: Sequence[Measurement]) -> list[dict[str, object]]:
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


def write(record: Record, path: Path) -> None:
    """Write everything, every single sample too."""
    workloads = [
        {
            "name": outcome.workload.name,
            "title": outcome.workload.title,
            "measurements": [measured(m) for m in outcome.measurements],
            "probes": [dataclasses.asdict(probe) for probe in outcome.probes],
            "promises": promises(outcome.workload, outcome.measurements),
        }
        for outcome in record.outcomes
    ]
    content = {
        "machine": record.machine,
        "limits": record.limits and dataclasses.asdict(record.limits),
        "workloads": workloads,
        "scaled": [dataclasses.asdict(row) for row in record.scaled],
        "accuracy": record.accuracy,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def measured(measurement: Measurement) -> dict[str, object]:
    """Write one measurement, with its median and minimum for those who read the file."""
    derived = {"median": measurement.median, "minimum": measurement.minimum} if measurement.samples else {}
    return dataclasses.asdict(measurement) | derived


def read(path: Path) -> Record:
    """Read a record; workloads that there are no longer are left out."""
    content = json.loads(path.read_text())
    outcomes = [
        Outcome(
            load(entry["name"]),
            [made(Measurement, row, samples=tuple(row["samples"])) for row in entry["measurements"]],
            [read_probe(row) for row in entry["probes"]],
        )
        for entry in content["workloads"]
        if entry["name"] in NAMES
    ]
    limits = content["limits"] and made(Limits, content["limits"])
    return Record(content["machine"], limits, outcomes, [made(Scaled, row) for row in content["scaled"]], content["accuracy"])


def read_probe(row: Mapping[str, Any]) -> Probe:
    """Read a probe."""
    memory = row["memory"] and made(Memory, row["memory"])
    probe: Probe = made(Probe, row, cold=tuple(row["cold"]), warm=tuple(row["warm"]), memory=memory)
    return probe


def made(kind: Any, row: Mapping[str, Any], **changed: Any) -> Any:
    """Make a dataclass from those entries of a row that are its fields."""
    names = {described.name for described in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in row.items() if name in names} | changed)


def merge(records: Sequence[Record]) -> Record:
    """Put several records together: what is measured again replaces what was before, in the order of the workloads."""
    outcomes = {outcome.workload.name: outcome for record in records for outcome in record.outcomes}
    scaled = {(row.workload, row.contender, row.size): row for record in records for row in record.scaled}
    limits = [record.limits for record in records if record.limits is not None]
    accuracy = [record.accuracy for record in records if record.accuracy is not None]
    return Record(
        records[0].machine,
        limits[-1] if limits else None,
        [outcomes[name] for name in NAMES if name in outcomes],
        list(scaled.values()),
        accuracy[-1] if accuracy else None,
    )
