"""Running the programs that transforms make when they are called without jit.

Straight-line programs are evaluated with NumPy. A program with a loop in it would spend its time in Python there, once
per equation and iteration: it is compiled as a whole, as `jit` would, and kept by its text.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.api.compilations import note_loop
from gradxform.api.disabling import jit_disabled
from gradxform.api.layout import flat_output, leaf_node, native
from gradxform.api.lowered import optimised
from gradxform.api.nans import find_nan
from gradxform.backend import memory_cache
from gradxform.backend.callable import NativeEntry
from gradxform.backend.executable import compile_program
from gradxform.backend.signature import EntrySpec
from gradxform.collection import paused_collection
from gradxform.config import config
from gradxform.core import Primitive, Tracer, current_builder, run, type_of
from gradxform.core.tracing import evaluate, outside
from gradxform.ir import ArrayType, Callback, Equation, Program, Source, Var, callbacks, programs_in
from gradxform.ir.callback import wrapped
from gradxform.primitives.scan import scan_p
from gradxform.primitives.while_loop import while_p

#: Compiled programs kept in memory; the least recently used goes first.
CAPACITY = 256

_entries: OrderedDict[tuple[str, tuple[Callback, ...]], Callable[..., Any]] = OrderedDict()
_lock = threading.RLock()

memory_cache.register(lambda: len(_entries), _entries.clear)


def execute(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program``: recorded if a builder is open, else evaluated with NumPy or by native code."""
    if current_builder() is not None or any(isinstance(x, Tracer) for x in arguments):
        return run(program, arguments)
    if jit_disabled():
        return run_in_steps(program, arguments)
    # What a loop of unknown length records has no extent that an entry point could allocate.
    if not contains_loop(program) or any(t.is_tape for t in program.output_types):
        return run(program, arguments)
    values = [_input(array_type, x) for array_type, x in zip(program.input_types, arguments, strict=True)]
    results = list(_entry(program, values)(*values))
    if config.debug_nans:
        find_nan(program.name or "a function", results, lambda: run_in_steps(program, arguments))
    return results


def run_in_steps(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program``, its loops evaluated equation by equation too."""
    return wrapped(run, callbacks(program))(program, arguments)  # type: ignore[no-any-return]


def evaluate_natively(
    operation: Primitive, operands: Sequence[Any], params: dict[str, Any], source: Source | None
) -> tuple[Any, ...]:
    """The results of one equation on NumPy arrays, those of a loop by native code."""
    inputs = tuple([Var(type_of(x).strong()) for x in operands])
    outputs = tuple(map(Var, operation.result_types(tuple([var.type for var in inputs]), params)))
    program = Program(inputs, (Equation(operation, inputs, tuple(sorted(params.items())), outputs, source),), outputs)
    if not operation.multiple or not contains_loop(program) or any(t.is_tape for t in program.output_types):
        return evaluate(operation, operands, params, source)
    with outside():
        return tuple(execute(program, operands))


def contains_loop(program: Program) -> bool:
    """Whether there is a scan or a while in ``program``, at any depth."""
    pending, seen = [program], {id(program)}
    while pending:
        for equation in pending.pop().equations:
            if equation.operation is scan_p or equation.operation is while_p:
                return True
            for inner in programs_in(equation.params):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    pending.append(inner)
    return False


def _input(array_type: ArrayType, value: Any) -> Any:
    """An argument exactly as the program's type says: a NumPy scalar, or a contiguous native array."""
    array = np.asarray(value, dtype=array_type.dtype)
    return native(array) if array_type.shape else array[()]


def _entry(program: Program, values: Sequence[Any]) -> Callable[..., Any]:
    key = str(program), callbacks(program)
    with _lock:
        found = _entries.get(key)
        if found is not None:
            _entries.move_to_end(key)
            return found
        with paused_collection():
            spec = EntrySpec(tuple(map(leaf_node, values)), (), flat_output(program.output_types), 0)
            made = compile_program(program, optimised, spec, {}, ())
        found = _entries[key] = wrapped(NativeEntry(made.address, made.cell_address, made.alive), made.callbacks)
        note_loop(program.name or "a loop", spec.positional, key[0], made)
        if len(_entries) > CAPACITY:
            _entries.popitem(last=False)
        return found
