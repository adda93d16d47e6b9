"""LLVM text to object code, object code to callable addresses.

llvmlite is imported when the first function is compiled or loaded, never before: the import alone costs some 50 ms.
All use of LLVM goes through this module. Several threads may compile at a time, each in a seat of its own; all the rest
takes one lock. Seats and lock are held across ``fork`` so that a child never inherits an LLVM in the middle of something.

Object code is position-independent in the small code model, and linked by JITLink: that lays one object's sections out
side by side, so that constants are memory operands of the instructions that need them, and reaches symbols anywhere in
the address space through stubs.
"""

from __future__ import annotations

import ctypes
import enum
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from gradxform.backend import quotient_text
from gradxform.backend.elementary.assembly import LATE
from gradxform.config import config
from gradxform.data_class import data_class
from gradxform.errors import CompileError

# Stands in codegen_identity: raise it when a pipeline below changes what it emits.
_PIPELINE_VERSION = 2

# An engine costs some 130 kB and 0.4 ms; a library in an engine some 40 kB, of which a part comes back only with the
# engine. Sharing one engine between this many libraries makes its cost small, and bounds what one long-lived library
# can keep from being freed.
_LIBRARIES_PER_ENGINE = 16

# Threads that compile at the same time, at most.
_MOST_SEATS = 8

#: Names of CPUs that load or store vectors of scattered elements by microcode: element after element is four times faster.
MICROCODED_GATHERS = ("znver",)

_lock = threading.RLock()


class Tier(enum.Enum):
    """How much is spent on optimising a module.

    LOOPS: LLVM's whole pipeline with loop vectorisation; some 10 ms for a small loop. SLP vectorisation stays off.
    SHORT_LOOPS: the same at LLVM's first level, for kernels so short that what the second level gains is not seen.
    STRAIGHT: scalar clean-up only, and cheap instruction selection: some 10 to 20 microseconds per instruction, in
        proportion to the module as long as no function has more than about 2,000 instructions (beyond, LLVM's register
        passes grow quadratically with the length of a basic block).
    PLAIN: nothing, and code is generated as it stands: a fifth of the time of STRAIGHT. For what runs once per call.
    WRITTEN: no optimisation either, but good code is generated, for text that cannot be improved.
    """

    LOOPS = "loops"
    SHORT_LOOPS = "short loops"
    STRAIGHT = "straight"
    PLAIN = "plain"
    WRITTEN = "written"


#: How much is spent on generating code, where that is not LLVM's first level.
_CODE_LEVELS = {Tier.LOOPS: 2, Tier.PLAIN: 0}


@data_class(frozen=True, slots=True)
class Target:
    """What code is generated for."""

    triple: str
    cpu: str
    features: str


@cache
def _llvm() -> Any:
    """llvmlite's binding, imported and initialised."""
    import llvmlite.binding

    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    return llvmlite.binding


@cache
def host() -> Target:
    """This machine: its triple, CPU name and feature string as LLVM knows them."""
    with _lock:
        llvm = _llvm()
        try:
            features = llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM cannot tell on some platforms; the CPU's name alone then decides
            features = ""
        name = llvm.get_host_cpu_name()
        if name.startswith(MICROCODED_GATHERS):
            features += (",+" if features else "+") + "prefer-no-gather,+prefer-no-scatter"
        return Target(llvm.get_process_triple(), name, features)


@cache
def codegen_identity() -> str:
    """Everything about this machine and the compiler on which object code depends: a part of every cache key."""
    with _lock:
        import llvmlite

        version = ".".join(str(part) for part in _llvm().llvm_version_info)
        target = host()
        return (
            f"pipeline {_PIPELINE_VERSION}; llvmlite {llvmlite.__version__}; LLVM {version}; "
            f"{target.triple}; {target.cpu}; {target.features}"
        )


class _Seat:
    """What one thread compiles with. A target machine serves one compilation at a time."""

    __slots__ = ("lock", "machines")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.machines: dict[tuple[Target, Tier], Any] = {}

    def machine(self, target: Target, tier: Tier) -> Any:
        found = self.machines.get((target, tier))
        if found is None:
            found = self.machines[target, tier] = _new_machine(target, tier)
        return found


_seats = [_Seat() for _ in range(_MOST_SEATS)]


@contextmanager
def _seat() -> Iterator[_Seat]:
    """A seat for this thread: a free one, else the first that becomes free."""
    free = (seat for seat in _seats if seat.lock.acquire(blocking=False))
    seat = next(free, None)
    if seat is None:
        seat = _seats[0]
        seat.lock.acquire()
    try:
        yield seat
    finally:
        seat.lock.release()


def _new_machine(target: Target, tier: Tier) -> Any:
    return (
        _llvm()
        .Target.from_triple(target.triple)
        .create_target_machine(
            cpu=target.cpu,
            features=target.features,
            opt=_CODE_LEVELS.get(tier, 1),
            reloc="pic",
            codemodel="small",
            jit=True,
        )
    )


def _parse(text: str, context: Any = None) -> Any:
    llvm = _llvm()
    try:
        # A context of its own, freed with the module: types and constants of the global one would pile up.
        module = llvm.parse_assembly(text, context or llvm.create_context())
        if config.verify_ir:
            module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM rejects the emitted text: {str(error).strip()}") from error
    return module


@cache
def _unlocked() -> tuple[Callable[..., None], Callable[..., None], Callable[..., Any]]:
    """The calls that take the time: passes over a module, passes over a function, code generation.

    llvmlite holds one lock during each of its calls. LLVM itself needs none where contexts and target machines are
    apart, so these three are called past that lock, as functions of the same library. Where its name is not to be had
    they are called as everybody does, one after the other.
    """
    ffi = _llvm().ffi
    try:
        library: Any = ctypes.CDLL(ffi.lib._name)
    except (AttributeError, OSError):
        library = ffi.lib
    found = []
    for name in ("LLVMPY_RunNewModulePassManager", "LLVMPY_RunNewFunctionPassManager", "LLVMPY_TargetMachineEmitToMemory"):
        locked, function = getattr(ffi.lib, name), getattr(library, name)
        function.argtypes, function.restype = locked.argtypes, locked.restype
        found.append(function)
    return found[0], found[1], found[2]


def _optimise(module: Any, machine: Any, tier: Tier, inlines_late: bool, late: Any) -> None:
    llvm = _llvm()
    run_on_module, run_on_function, _ = _unlocked()
    # Pass managers cannot be kept for the next module: LLVM's inliner moves its pipeline out of itself when it runs.
    loops = tier in (Tier.LOOPS, Tier.SHORT_LOOPS)
    tuning = llvm.create_pipeline_tuning_options(speed_level=2 if tier is Tier.LOOPS else 1)
    tuning.loop_vectorization = tuning.loop_interleaving = loops
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    if loops:
        run_on_module(builder.getModulePassManager(), module, builder)
        if not inlines_late:
            return
    if late is not None:
        module.link_in(late)
    inliner = llvm.create_new_module_pass_manager()
    inliner.add_always_inliner_pass()
    run_on_module(inliner, module, builder)
    if tier is not Tier.STRAIGHT:
        return
    simplifier = builder.getFunctionPassManager()
    for function in module.functions:
        if not function.is_declaration:
            run_on_function(simplifier, function, builder)
    sweeper = llvm.create_new_module_pass_manager()
    sweeper.add_global_dead_code_eliminate_pass()
    run_on_module(sweeper, module, builder)


def _object_code(module: Any, machine: Any) -> bytes:
    ffi = _llvm().ffi
    with ffi.OutputString() as complaint:
        buffer = _unlocked()[2](machine, module, 1, complaint)
        if not buffer:
            raise CompileError(f"LLVM cannot emit object code: {complaint}")
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _optimised_module(text: str, tier: Tier, target: Target, machine: Any) -> Any:
    context = _llvm().create_context()
    module = _parse(text, context)
    # The data layout and triple of the text, if any, give way to those of the machine that emits the code.
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    # What the vectoriser has to see as calls is defined, or at least inlined, after it.
    late = _parse(quotient_text.definitions(), context) if f"@{quotient_text.QUOTIENT}(" in text else None
    _optimise(module, machine, tier, late is not None or LATE in text, late)
    return module


def compile_text(text: str, tier: Tier) -> bytes:
    """LLVM text to position-independent object code for this machine.

    Args:
        text: one module. It need not state a triple or a data layout.
        tier: how much to optimise.

    Raises:
        CompileError: the text is not valid LLVM. What only LLVM's verifier finds (a value used where it is not
            defined, say) is found when ``config.verify_ir`` is set; otherwise it may abort the process.
    """
    with _seat() as seat:
        target = host()
        machine = seat.machine(target, tier)
        return _object_code(_optimised_module(text, tier, target, machine), machine)


def compile_texts(texts: Sequence[str], tiers: Sequence[Tier]) -> list[bytes]:
    """`compile_text` of each with its tier, up to ``config.num_threads`` at a time."""
    host()  # LLVM is initialised by one thread
    waiting = list(enumerate(texts))[::-1]
    results: dict[int, bytes] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors:
                number, text = waiting.pop()
                results[number] = compile_text(text, tiers[number])
        except IndexError:  # nothing is left
            return
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(min(len(texts), config.num_threads, _MOST_SEATS) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(texts))]


def optimised_text(text: str, tier: Tier, target: Target | None = None) -> str:
    """The LLVM text after the pipeline of ``tier``, for reading; ``target`` is this machine unless given."""
    with _seat() as seat:
        target = target or host()
        return str(_optimised_module(text, tier, target, seat.machine(target, tier)))


def assembly(text: str, tier: Tier, target: Target | None = None) -> str:
    """The assembly that ``compile_text`` would encode, for reading; ``target`` is this machine unless given."""
    with _seat() as seat:
        target = target or host()
        machine = seat.machine(target, tier)
        return str(machine.emit_assembly(_optimised_module(text, tier, target, machine)))


class _Engine:
    """A JIT engine with the libraries linked into it; a library's name is never free again."""

    __slots__ = ("jit", "linked", "live")

    def __init__(self) -> None:
        self.jit = _llvm().create_lljit_compiler(_new_machine(host(), Tier.LOOPS), use_jit_link=True, suppress_errors=True)
        self.linked = 0
        self.live = 0

    def close_if_unused(self) -> None:
        if self.live == 0:
            self.jit.close()


# The engine that takes the next library. A full one is closed with the last of its libraries.
_open_engine: _Engine | None = None


def _engine_with_room() -> _Engine:
    global _open_engine
    if _open_engine is None:
        _open_engine = _Engine()
    elif _open_engine.linked >= _LIBRARIES_PER_ENGINE:
        full, _open_engine = _open_engine, _Engine()
        full.close_if_unused()
    return _open_engine


def _release(tracker: Any, engine: _Engine) -> None:
    with _lock:
        tracker.close()
        engine.live -= 1
        if engine is not _open_engine:
            engine.close_if_unused()


class Loaded:
    """Linked code. It stays in memory as long as this object, and is freed when this object is garbage-collected."""

    __slots__ = ("__weakref__", "_addresses")

    def __init__(self, tracker: Any, engine: _Engine, exports: Sequence[str]) -> None:
        self._addresses: dict[str, int] = {name: tracker[name] for name in exports}
        engine.live += 1
        # At exit the code stays: daemon threads and objects that outlive the interpreter's modules may still run it.
        weakref.finalize(self, _release, tracker, engine).atexit = False

    def address(self, symbol: str) -> int:
        """Address of an exported symbol.

        Raises:
            KeyError: ``symbol`` was not among the exports that ``load`` was given.
        """
        return self._addresses[symbol]

    def __repr__(self) -> str:
        return f"Loaded({', '.join(f'{name}=0x{address:x}' for name, address in self._addresses.items())})"


def load(object_code: bytes | Sequence[bytes], imports: Mapping[str, int], exports: Sequence[str]) -> Loaded:
    """Link object code into this process.

    Args:
        object_code: what ``compile_text`` returned, here or in another process of the same ``codegen_identity``; or
            several of them, which may refer to each other's symbols.
        imports: addresses of the external symbols. Nothing else is visible to the code, not even the C library.
        exports: symbols defined by the code whose addresses are wanted.

    Raises:
        CompileError: a symbol is missing, or the bytes are not object code.
    """
    with _lock:
        library = _llvm().JITLibraryBuilder()
        for code in (object_code,) if isinstance(object_code, bytes) else object_code:
            library.add_object_img(code)
        for name, address in imports.items():
            library.import_symbol(name, address)
        for name in exports:
            library.export_symbol(name)
        engine = _engine_with_room()
        engine.linked += 1
        try:
            tracker = library.link(engine.jit, f"library{engine.linked}")
        except RuntimeError as error:
            raise CompileError(f"linking failed: {str(error).strip()}") from error
        return Loaded(tracker, engine, exports)


def _hold() -> None:
    # In the order in which a compilation takes them.
    for seat in _seats:
        seat.lock.acquire()
    _lock.acquire()


def _let_go() -> None:
    _lock.release()
    for seat in reversed(_seats):
        seat.lock.release()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)
