"""Compiles and loads the hand-written C++ that generated code is held against."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ("-O3", "-ffast-math", "-march=native", "-fopenmp", "-fPIC")


def build(name: str) -> Path:
    """Compile `name`.cpp into a shared object, once per source with the headers, flags and machine.

    Compiling and linking are separate steps: with -ffast-math at the link, g++ would add start-up code that flushes
    subnormals in the whole process that loads the object.
    """
    source = HERE / f"{name}.cpp"
    texts = [path.read_text() for path in (source, *sorted(HERE.glob("*.hpp")))]
    key = hashlib.sha256(repr((texts, FLAGS, platform.node(), platform.processor())).encode()).hexdigest()
    library = HERE / "build" / f"{name}-{key[:16]}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        partial = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["g++", *FLAGS, "-c", str(source), "-o", f"{partial}.o"], check=True)
        subprocess.run(["g++", "-shared", "-fopenmp", f"{partial}.o", "-o", str(partial), "-lm"], check=True)
        Path(f"{partial}.o").unlink()
        partial.rename(library)
    return library


def vector_functions(library: Path) -> list[str]:
    """List the vector variants of elementary functions that an object calls; empty if objdump is not there to tell."""
    if shutil.which("objdump") is None:
        return []
    table = subprocess.run(["objdump", "-T", str(library)], check=True, capture_output=True, text=True).stdout
    return sorted({word for line in table.splitlines() for word in line.split() if word.startswith("_ZGV")})


def load(name: str, *, elementary: bool = True) -> ctypes.CDLL:
    """Compile if need be and load; RuntimeError if it calls `elementary` functions that were not vectorised."""
    library = build(name)
    if elementary and shutil.which("objdump") is not None and not vector_functions(library):
        raise RuntimeError(f"g++ did not vectorise the functions that {name}.cpp calls: no _ZGV symbols in {library}")
    return ctypes.CDLL(str(library))
