"""A program and an entry specification -> native code that is ready to be called.

The key of the disk cache is the canonical text of the traced program with the specification of the entry point, so a
warm start skips the passes, the schedule and LLVM.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, pairwise
from time import perf_counter
from typing import Any

import numpy as np

from gradxform.backend import disk_cache
from gradxform.backend.code_version import code_fingerprint
from gradxform.backend.compile import Loaded, codegen_identity, load
from gradxform.backend.emit import imported_symbols
from gradxform.backend.entry import CELL_SYMBOL, ENTRY_SYMBOL, entry_imports, fingerprint
from gradxform.backend.generation import kernel_of, module_text, tier_of
from gradxform.backend.host_call import HostCall
from gradxform.backend.index_lines import lines_of_indices, named
from gradxform.backend.partition import compile_parted
from gradxform.backend.signature import EntrySpec
from gradxform.backend.symbols import SHARED, symbol_address
from gradxform.config import config
from gradxform.data_class import data_class
from gradxform.errors import IndexRangeError, LinAlgError
from gradxform.ir import Callback, Program, callbacks


@data_class(frozen=True, slots=True, eq=False)
class Executable:
    """Loaded native code. ``alive`` owns everything that the code refers to.

    ``callbacks`` are those that it calls, ``origin`` is where it came from: "disk", "compiled", or "compiled, disk off".
    ``phases`` are the steps on the way, and the seconds that each took.
    """

    address: int
    cell_address: int
    alive: tuple[Any, ...]
    callbacks: tuple[Callback, ...]
    origin: str
    phases: tuple[tuple[str, float], ...]


def compile_program(
    program: Program, optimise: Callable[[Program], Program], spec: EntrySpec, statics: Mapping[int, object],
    captures: Sequence[np.ndarray[Any, Any]],
) -> Executable:
    """Native code for ``program`` behind an entry point of ``spec``, from the disk cache if it is there."""
    clock = [("", perf_counter())]
    options = f"{config.parallel_threshold} {config.release_gil_threshold}"
    sites_of_calls = callbacks(program)
    called = list(dict.fromkeys(sites_of_calls))
    # Callbacks print as names: which of them are one is not in the text.
    order = str([called.index(callback) for callback in sites_of_calls])
    key = disk_cache.key_of(
        ("program", str(program), order, repr(spec), options, codegen_identity(), code_fingerprint(), fingerprint()))
    entry = disk_cache.get(key)
    origin = "disk" if entry is not None else "compiled, disk off" if disk_cache.directory() is None else "compiled"
    clock.append(("looking on disk", perf_counter()))
    if entry is None:
        optimised = optimise(program)
        clock.append(("passes", perf_counter()))
        kernel = kernel_of(optimised)
        clock.append(("schedule", perf_counter()))
        text, module = module_text(kernel, spec)
        imports = imported_symbols(module)
        clock.append(("emission", perf_counter()))
        with preparing(imports):
            objects = compile_parted(text, tier_of(kernel))
        clock.append(("LLVM", perf_counter()))
        numbers = [called.index(callback) for callback in module.callbacks]
        entry = disk_cache.Entry(b"".join(objects), {
            "objects": json.dumps([len(code) for code in objects]), "imports": json.dumps(imports),
            "sites": json.dumps(module.sites), "callbacks": json.dumps(numbers)})
        disk_cache.put(key, entry)
    ends = list(accumulate(json.loads(str(entry.metadata["objects"]))))
    objects = [entry.object_code[begin:end] for begin, end in pairwise([0, *ends])]
    loaded, alive = linked(
        objects, {name: symbol_address(name) for name in json.loads(str(entry.metadata["imports"]))},
        json.loads(str(entry.metadata["sites"])), [called[number] for number in json.loads(str(entry.metadata["callbacks"]))],
        spec, statics, captures, lines_of_indices(program))
    clock.append(("linking", perf_counter()))
    phases = tuple([(name, after - before) for (_, before), (name, after) in pairwise(clock)])
    return Executable(
        loaded.address(ENTRY_SYMBOL), loaded.address(CELL_SYMBOL), alive, tuple(called), origin, phases)


def linked(
    objects: Sequence[bytes], imports: Mapping[str, int], sites: Sequence[Sequence[int] | str], called: Sequence[Callback],
    spec: EntrySpec, statics: Mapping[int, object], captures: Sequence[np.ndarray[Any, Any]],
    lines: Mapping[tuple[int, int], tuple[str, ...]],
) -> tuple[Loaded, tuple[Any, ...]]:
    """The object code of a module, ready to be called, and all that it refers to; errors name the ``lines`` of indices."""
    raiser = _raiser(sites, lines)
    addresses = {**entry_imports(spec, statics, captures, raiser), **imports}
    host_calls = [HostCall(callback) for callback in called]
    addresses.update((f"gx.callback.{number}", id(host_call)) for number, host_call in enumerate(host_calls))
    loaded: Loaded = load(objects, addresses, (ENTRY_SYMBOL, CELL_SYMBOL))
    return loaded, (loaded, spec, dict(statics), tuple(captures), raiser, host_calls)


@contextmanager
def preparing(symbols: Sequence[str]) -> Iterator[None]:
    """Meanwhile another thread has those of the symbols compiled, or SciPy imported, that kernels share."""
    shared = [name for name in symbols if name.startswith(SHARED)]

    def look_up() -> None:
        with suppress(Exception):  # who needs the address looks it up again, and meets the error
            for name in shared:
                symbol_address(name)

    thread = threading.Thread(target=look_up)
    if shared:
        thread.start()
    try:
        yield
    finally:
        if shared:
            thread.join()


def _raiser(
    sites: Sequence[Sequence[int] | str], lines: Mapping[tuple[int, int], tuple[str, ...]]
) -> Callable[[int], None]:
    """What raises the error that the status of a kernel stands for."""
    def raise_error(status: int) -> None:
        site, index = status >> 48, status & ((1 << 48) - 1)
        if index >= 1 << 47:
            index -= 1 << 48
        found = sites[site - 1]
        if isinstance(found, str):
            raise LinAlgError(found)
        axis, extent = found
        # A negative index was wrapped by adding the extent; the user wrote it without.
        index = index - extent if index < 0 else index
        where = named(lines.get((axis, extent), ()))
        raise IndexRangeError(f"index {index} is out of bounds for axis {axis} with size {extent}{where}")

    return raise_error
