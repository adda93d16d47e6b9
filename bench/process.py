"""Processes of contenders: on which interpreter and cores each runs, in what environment, what it is asked and answers."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.worker import MARKER
from bench.workload import Contender, Workload

ROOT = Path(__file__).resolve().parents[1]
USUAL_ROUNDS = 3
# Seconds. Compilers that take longer for one program are not waited for.
LONGEST_ANSWER = 300


def cores() -> list[int]:
    """List the cores that this process may use."""
    # Not every system can say or set on which cores a process runs; there, only the environment bounds the threads.
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often to measure, with how many threads, and what other interpreters have peers installed."""

    rounds: int = USUAL_ROUNDS
    seconds: float = 0.15
    threads: int = field(default_factory=lambda: len(cores()))
    peers: tuple[Path, ...] = ()


class ContenderFailed(RuntimeError):
    """A contender's process ended, answered with something else than was asked, or gave a wrong result."""


@functools.cache
def has(interpreter: str, module: str) -> bool:
    """Ask an interpreter, once, whether a module is installed for it."""
    if interpreter == sys.executable:
        return importlib.util.find_spec(module) is not None
    question = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    # Isolated: what stands in the current directory is not installed for it.
    return subprocess.run([interpreter, "-I", "-c", question]).returncode == 0


def missing(needs: Sequence[str], interpreter: str = sys.executable) -> list[str]:
    """Name what is not installed of the modules and (with a leading `$`) programs that a contender needs."""
    return [
        need.removeprefix("$")
        for need in needs
        if not (shutil.which(need[1:]) if need.startswith("$") else has(interpreter, need))
    ]


def interpreter(needs: Sequence[str], settings: Settings) -> str | None:
    """Find the first interpreter that has all that is needed: this one, or one of those for peers; None if there is none."""
    every = (sys.executable, *map(str, settings.peers))
    return next((path for path in every if not missing(needs, path)), None)


def environment(settings: Settings, cache: Path, *, lasting: bool = False) -> dict[str, str]:
    """Give every contender the same threads, gradxform a cache directory of this run, and JAX one too if it is `lasting`."""
    threads = str(settings.threads)
    # Compiled modules are kept, as they are for every installed package; otherwise an import would be measured with the
    # compilation of its sources.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # JAX keeps nothing on disk unless it is told to, and then only what took it a second.
    kept = {
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return inherited | (kept if lasting else {}) | {
        "GRADXFORM_CACHE_DIR": str(cache),
        "GRADXFORM_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }


class Process:
    """A contender's process: started, asked one thing after the other, ended.

    `directory` is its own, for its results and its disk cache; JAX has a disk cache too if it is `lasting`.
    """

    def __init__(
        self, workload: Workload, contender: Contender, settings: Settings, directory: Path, *, lasting: bool = False
    ) -> None:
        self.workload, self.contender = workload, contender
        directory.mkdir(exist_ok=True)
        self.path = directory / "result.npz"
        self.errors = open(directory / "errors.txt", "w+")  # noqa: SIM115 - closed with the process
        cache = directory / "cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        chosen = cores()[: settings.threads]
        python = interpreter(contender.needs, settings)
        assert python is not None, "contenders that lack something are not started"
        self.process = subprocess.Popen(
            [python, "-m", "bench.worker", workload.name, contender.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(settings, cache, lasting=lasting),
            preexec_fn=(lambda: os.sched_setaffinity(0, chosen)) if hasattr(os, "sched_setaffinity") else None,
        )

    def ask(self, what: str, **fields: object) -> dict[str, object]:
        """Send a request and give the answer; ContenderFailed with the process's last words if there is none in time."""
        assert self.process.stdin is not None and self.process.stdout is not None
        alarm = threading.Timer(LONGEST_ANSWER, self.process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            self.process.stdin.write(json.dumps({"ask": what, **fields}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # What it said before it ended is read below.
        for line in self.process.stdout:
            if line.startswith(MARKER):
                alarm.cancel()
                answer: dict[str, object] = json.loads(line.removeprefix(MARKER))
                return answer
        self.process.wait()
        if alarm.finished.is_set():
            raise ContenderFailed(f"did not answer within {LONGEST_ANSWER} s")
        alarm.cancel()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        raise ContenderFailed(lines[-1] if lines else f"ended with status {self.process.returncode}")

    def ask_result(self, what: str, size: int) -> tuple[dict[str, object], list[np.ndarray]]:
        """Ask for something that leaves a result, and read that."""
        answer = self.ask(what, size=size, path=str(self.path))
        with np.load(self.path) as stored:
            found = [stored[name] for name in stored.files]
        self.path.unlink()
        return answer, found

    def time(self, seconds: float) -> list[float]:
        """Ask for samples worth about `seconds`."""
        samples = self.ask("time", seconds=float(seconds))["samples"]
        assert isinstance(samples, list)
        return samples

    def end(self) -> None:
        """End the process, politely first."""
        try:
            self.process.communicate(json.dumps({"ask": "quit"}) + "\n", timeout=10)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self.process.kill()
            self.process.wait()
        self.errors.close()
