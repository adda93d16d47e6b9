"""Compilation and linking: tiers, symbols, errors, lifetime."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from gradxform.backend import compile as compiler
from gradxform.backend.compile import Loaded, Target, Tier
from gradxform.config import config
from gradxform.errors import CompileError

DOUBLE = """
define double @double(double %x) {
  %y = fadd double %x, %x
  ret double %y
}
"""

# y[i] = x[i]**2 + 1
LOOP = """
define void @loop(ptr noalias %x, ptr noalias %y, i64 %n) "prefer-vector-width"="512" {
entry:
  %any = icmp sgt i64 %n, 0
  br i1 %any, label %body, label %end
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %source = getelementptr double, ptr %x, i64 %i
  %value = load double, ptr %source, align 8
  %square = fmul double %value, %value
  %result = fadd double %square, 0x3FF0000000000000
  %target = getelementptr double, ptr %y, i64 %i
  store double %result, ptr %target, align 8
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %end
end:
  ret void
}
"""

CALLER = """
declare double @far(double)
@table = private constant [3 x double] [double 1.0, double 2.0, double 4.0]
@counter = internal global i64 10
@outside = external global double

define double @call(double %x, i64 %i) {
  %r = call double @far(double %x)
  %place = getelementptr double, ptr @table, i64 %i
  %entry = load double, ptr %place, align 8
  %other = load double, ptr @outside, align 8
  %old = load i64, ptr @counter, align 8
  %new = add i64 %old, 1
  store i64 %new, ptr @counter, align 8
  %count = sitofp i64 %new to double
  %a = fadd double %r, %entry
  %b = fadd double %a, %other
  %c = fadd double %b, %count
  ret double %c
}
"""

UNDOMINATED = """
define double @bad(double %x, i1 %c) {
entry:
  br i1 %c, label %left, label %right
left:
  %y = fadd double %x, %x
  br label %right
right:
  ret double %y
}
"""


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with config.override(verify_ir=False):
        yield


def call_double(loaded: Loaded, x: float) -> float:
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(loaded.address("double"))
    return float(function(x))


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("verify", [False, True])
def test_a_function_runs(tier: Tier, verify: bool) -> None:
    with config.override(verify_ir=verify):
        loaded = compiler.load(compiler.compile_text(DOUBLE, tier), {}, ["double"])
    assert call_double(loaded, 3.25) == 6.5
    assert "double=0x" in repr(loaded)


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("length", [0, 1, 7, 1001])
def test_a_loop_runs(tier: Tier, length: int) -> None:
    loaded = compiler.load(compiler.compile_text(LOOP, tier), {}, ["loop"])
    x = (ctypes.c_double * length)(*[0.5 * i for i in range(length)])
    y = (ctypes.c_double * (length + 1))(*[-7.0] * (length + 1))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(loaded.address("loop"))(x, y, length)
    assert list(y) == [(0.5 * i) ** 2 + 1 for i in range(length)] + [-7.0]


@pytest.mark.parametrize("tier", Tier)
def test_imported_function_and_data_constants_and_state(tier: Tier) -> None:
    far = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(math.sqrt)
    outside = ctypes.c_double(1000.0)
    imports = {"far": ctypes.cast(far, ctypes.c_void_p).value or 0, "outside": ctypes.addressof(outside)}
    code = compiler.compile_text(CALLER, tier)
    first, second = (compiler.load(code, imports, ["call"]) for _ in range(2))
    for loaded in (first, second):  # each has a state of its own
        call = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int64)(loaded.address("call"))
        assert call(9.0, 2) == 3.0 + 4.0 + 1000.0 + 11.0
        assert call(16.0, 1) == 4.0 + 2.0 + 1000.0 + 12.0


def test_an_import_may_be_anywhere_in_the_address_space() -> None:
    # A symbol is only an address to the linker: stubs reach one far beyond a 32-bit displacement.
    text = "@far = external global i8\ndefine ptr @where() {\n  ret ptr @far\n}\n"
    loaded = compiler.load(compiler.compile_text(text, Tier.STRAIGHT), {"far": 0x123456789ABC}, ["where"])
    assert ctypes.CFUNCTYPE(ctypes.c_void_p)(loaded.address("where"))() == 0x123456789ABC


def test_loops_are_vectorised_and_straight_code_is_not() -> None:
    assert re.search(r"<\d+ x double>", compiler.optimised_text(LOOP, Tier.LOOPS))
    assert not re.search(r"<\d+ x double>", compiler.optimised_text(LOOP, Tier.STRAIGHT))


@pytest.mark.parametrize(
    ("cpu", "lanes"), [("haswell", 4), ("znver3", 4), ("skylake-avx512", 8), ("znver4", 8), ("sapphirerapids", 8)]
)
def test_vector_width_follows_the_cpu(cpu: str, lanes: int) -> None:
    if not compiler.host().triple.startswith("x86_64"):
        pytest.skip("needs LLVM's x86 back end")
    target = Target(compiler.host().triple, cpu, "")
    widths = {
        int(width) for width in re.findall(r"<(\d+) x double>", compiler.optimised_text(LOOP, Tier.LOOPS, target))
    }
    assert max(widths) == lanes
    assert ("zmm" in compiler.assembly(LOOP, Tier.LOOPS, target)) == (lanes == 8)


def test_straight_tier_inlines_simplifies_and_drops_what_is_unused() -> None:
    text = """
define internal double @helper(double %x) alwaysinline {
  %y = fmul double %x, %x
  ret double %y
}
define internal double @unused(double %x) {
  ret double %x
}
define double @f(double %x) {
  %a = call double @helper(double %x)
  %b = call double @helper(double %x)
  %c = fadd double %a, %b
  ret double %c
}
"""
    optimised = compiler.optimised_text(text, Tier.STRAIGHT)
    assert "@helper" not in optimised
    assert "@unused" not in optimised
    assert optimised.count("fmul") == 1


def test_assembly_is_text_of_the_function() -> None:
    text = compiler.assembly(DOUBLE, Tier.LOOPS)
    assert "double:" in text
    assert "ret" in text


@pytest.mark.parametrize("text", ["hello", "define double @f(double %x) {\n  ret double %y\n}\n", DOUBLE + DOUBLE])
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(CompileError, match=r"error: "):
        compiler.compile_text(text, Tier.LOOPS)


def test_verifier_runs_on_request() -> None:
    with config.override(verify_ir=True), pytest.raises(CompileError, match="dominate"):
        compiler.compile_text(UNDOMINATED, Tier.LOOPS)


def test_linking_errors() -> None:
    code = compiler.compile_text(CALLER, Tier.LOOPS)
    with pytest.raises(CompileError, match="linking failed"):
        compiler.load(code, {"far": 1}, ["call"])
    with pytest.raises(CompileError, match="absent"):
        compiler.load(code, {"far": 1, "outside": 8}, ["absent"])
    with pytest.raises(CompileError, match="linking failed"):
        compiler.load(b"no object code", {}, ["call"])
    loaded = compiler.load(compiler.compile_text(DOUBLE, Tier.LOOPS), {}, ["double"])
    assert call_double(loaded, 1.0) == 2.0
    with pytest.raises(KeyError):
        loaded.address("other")


def test_engines_go_with_their_last_library() -> None:
    code = compiler.compile_text(DOUBLE, Tier.STRAIGHT)
    count = 2 * compiler._LIBRARIES_PER_ENGINE + 1
    kept = [compiler.load(code, {}, ["double"]) for _ in range(count)]
    assert len({loaded.address("double") for loaded in kept}) == count
    survivor = kept[compiler._LIBRARIES_PER_ENGINE]
    gone = weakref.ref(kept[0])
    del kept
    gc.collect()
    assert gone() is None
    assert call_double(survivor, 2.0) == 4.0
    for _ in range(count):
        compiler.load(code, {}, ["double"])
    assert call_double(survivor, 3.0) == 6.0


def test_addresses_of_freed_code_are_used_again() -> None:
    code = compiler.compile_text(DOUBLE, Tier.STRAIGHT)
    addresses = {compiler.load(code, {}, ["double"]).address("double") for _ in range(200)}
    assert len(addresses) < 100


def test_many_threads_compile_at_once() -> None:
    results: dict[int, float] = {}

    def work(index: int) -> None:
        text = DOUBLE.replace("fadd double %x, %x", f"fadd double %x, {float(index)}")
        loaded = compiler.load(compiler.compile_text(text, Tier.LOOPS), {}, ["double"])
        results[index] = call_double(loaded, 0.5)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {index: index + 0.5 for index in range(8)}


def test_fork_while_another_thread_compiles() -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            compiler.load(compiler.compile_text(LOOP, Tier.STRAIGHT), {}, ["loop"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                loaded = compiler.load(compiler.compile_text(DOUBLE, Tier.STRAIGHT), {}, ["double"])
                os._exit(0 if call_double(loaded, 4.0) == 8.0 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


def test_identity_names_versions_and_cpu() -> None:
    import llvmlite

    identity = compiler.codegen_identity()
    assert f"llvmlite {llvmlite.__version__};" in identity
    assert compiler.host().cpu in identity
    assert compiler.host().features in identity
    assert identity == compiler.codegen_identity()


def test_import_does_not_load_llvm() -> None:
    code = (
        "import sys; import gradxform.backend.compile, gradxform.backend.disk_cache, gradxform.backend.threads, "
        "gradxform.cache; sys.exit('llvmlite' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


def test_exit_with_loaded_code_is_clean() -> None:
    code = (
        "from gradxform.backend import compile as c\n"
        "kept = c.load(c.compile_text('define void @f() {\\n ret void\\n}', c.Tier.STRAIGHT), {}, ['f'])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
