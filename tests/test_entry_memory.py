"""The emitted entry point: references, failures, scratch memory, the lock; its text and imports."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from entry_kernels import (
    FLOAT,
    IN,
    OUT,
    ROOT,
    copy_kernel,
    is_slow,
    kernel_text,
    native,
    raise_status,
    tree_node,
    tree_value,
)

from gradxform.backend import numpy_abi, python_abi
from gradxform.backend.compile import Tier, optimised_text
from gradxform.backend.entry import STACK_ARENA_BYTES, emit_entry, entry_imports
from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    EntrySpec,
    ListNode,
    NoneNode,
    OutputLeaf,
    ScalarLeaf,
    StaticLeaf,
    TupleNode,
    input_leaves,
    output_leaves,
)
from gradxform.errors import ArgumentError, DTypeError

# ----------------------------------------------------------------------------------------------------- memory, failures


def test_references_are_balanced() -> None:
    static = object()
    spec = EntrySpec(
        (tree_node(IN), StaticLeaf(3), NoneNode()),
        (("flag", ScalarLeaf("bool")), ("text", StaticLeaf(3))),
        TupleNode((tree_node(OUT), OutputLeaf(FLOAT, ()), StaticLeaf(3), NoneNode(), OutputLeaf(np.dtype(bool), ()))),
    )
    function = native(spec, kernel_text(_fill_text(spec)), statics={3: static})
    arrays = [np.full(3, float(k)) for k in range(5)]
    value = tree_value(arrays)
    key = next(k for k in spec.positional[0].keys if type(k) is tuple)  # type: ignore[union-attr]
    watched = [*arrays, value, static, FLOAT, np.ndarray, np.float64, function, key, value["layers"], raise_status]
    function(value, static, None, flag=True, text=static)
    before = [sys.getrefcount(item) for item in watched]
    for _ in range(50):
        assert type(function(value, static, None, flag=True, text=static)[0]) is dict
        assert is_slow(function(value, static, None, flag=1, text=static))
    assert [sys.getrefcount(item) for item in watched] == before
    result = function(value, static, None, flag=True, text=static)[0]
    dead = weakref.ref(result["layers"][0][0])
    assert dead() is not None
    del result
    assert dead() is None


def _fill_text(spec: EntrySpec) -> str:
    """Writes a zero into each scalar output."""
    lines = []
    for i, leaf in enumerate(output_leaves(spec)):
        if leaf.shape == ():
            lines.append(f"  %field.{i} = getelementptr ptr, ptr %outputs, i64 {i}")
            lines.append(f"  %output.{i} = load ptr, ptr %field.{i}")
            lines.append(f"  store i{8 * leaf.dtype.itemsize} 0, ptr %output.{i}")
    return "\n".join(lines)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("arena", [0, 64, 1 << 20])
def test_status_becomes_an_error(count: int, arena: int) -> None:
    spec = EntrySpec((ListNode((IN,)),), (), TupleNode((OUT,) * count), arena_bytes=arena)
    function = native(spec, kernel_text("", str(-(2**63))))
    array = np.zeros(3)
    before = sys.getrefcount(array), sys.getrefcount(FLOAT), sys.getrefcount(raise_status)
    for _ in range(5):
        with pytest.raises(IndexError, match=str(-(2**63))):
            function([array])
    assert (sys.getrefcount(array), sys.getrefcount(FLOAT), sys.getrefcount(raise_status)) == before


def test_raiser_that_returns_is_reported() -> None:
    function = native(EntrySpec((), (), OUT), kernel_text("", "1"), raiser=lambda status: None)
    with pytest.raises(SystemError):
        function()


@pytest.mark.parametrize("release_gil", [False, True])
@pytest.mark.parametrize("size", [1, 63, 64, 100, STACK_ARENA_BYTES, STACK_ARENA_BYTES + 1, 1 << 22])
def test_arena(size: int, release_gil: bool) -> None:
    body = f"""  %address = ptrtoint ptr %arena to i64
  %last = getelementptr i8, ptr %arena, i64 {size - 1}
  store volatile i8 1, ptr %arena
  store volatile i8 2, ptr %last
  %offset = and i64 %address, 63"""
    function = native(EntrySpec((), (), NoneNode(), 0, size, release_gil), kernel_text(body, "%offset"))
    for _ in range(3):
        assert function() is None


def test_memory_exhausted() -> None:
    with pytest.raises(MemoryError):
        native(EntrySpec((), (), NoneNode(), arena_bytes=1 << 60), kernel_text(""))()
    huge = OutputLeaf(FLOAT, (1 << 50,))
    function = native(EntrySpec((ListNode((IN,)),), (), TupleNode((OUT, huge))), kernel_text(""))
    array = np.zeros(3)
    before = sys.getrefcount(array)
    with pytest.raises(MemoryError):
        function([array])
    assert sys.getrefcount(array) == before
    too_large = OutputLeaf(FLOAT, (1 << 40, 1 << 40))
    with pytest.raises(ValueError, match=r"too (big|large)"):
        native(EntrySpec((), (), too_large), kernel_text(""))()


_WAIT_TEXT = """  %flag = load ptr, ptr %inputs
  br label %loop
loop:
  %k = phi i64 [0, %start], [%next, %loop]
  %value = load volatile double, ptr %flag
  %set = fcmp one double %value, 0.0
  %next = add i64 %k, 1
  %last = icmp eq i64 %next, 20000000000
  %stop = or i1 %set, %last
  br i1 %stop, label %done, label %loop
done:
  %status = zext i1 %last to i64
"""


def test_released_lock_lets_others_run_and_keeps_the_arguments() -> None:
    function = native(EntrySpec((ListNode((IN,)),), (), OUT, release_gil=True), kernel_text(_WAIT_TEXT, "%status"))
    flag = np.zeros(3)
    arguments = [flag]

    def finish() -> None:
        arguments.clear()
        function.unlink_all()
        gc.collect()
        flag[0] = 1.0

    for _ in range(3):
        flag[0] = 0.0
        arguments[:] = [flag]
        other = threading.Timer(0.02, finish)
        other.start()
        assert function(arguments).shape == (3,)
        other.join()
        function = native(EntrySpec((ListNode((IN,)),), (), OUT, release_gil=True), kernel_text(_WAIT_TEXT, "%status"))


def test_inlined_scalar_kernel_leaves_no_pointer_arrays() -> None:
    spec = EntrySpec((ScalarLeaf("float"),), (), OutputLeaf(FLOAT, ()))
    text = optimised_text(emit_entry(spec, inline_kernel=True) + copy_kernel(spec), Tier.LOOPS)
    body = text[text.index("define ptr @entry(") :]
    body = body[: body.index("\n}")]
    assert "@kernel" not in text
    assert body.count("alloca") == 1  # the slot that frees a half-built result


# ------------------------------------------------------------------------------------------------------------- the text


def test_text_depends_on_the_specification_alone() -> None:
    script = (
        "import hashlib, sys\nsys.path.insert(0, 'tests')\nfrom test_entry_memory import *\n"
        "keywords = (('b', IN), ('a', ScalarLeaf('int')))\n"
        "spec = EntrySpec((tree_node(IN), StaticLeaf(0)), keywords, tree_node(OUT), 2, 99999, True)\n"
        "print(hashlib.sha256(emit_entry(spec).encode()).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True, cwd=ROOT
        )
        digests.add(run.stdout)
    assert len(digests) == 1


def test_imports_are_complete_without_emitting() -> None:
    spec = EntrySpec((tree_node(IN), StaticLeaf(0)), (("b", IN),), tree_node(OUT), 1)
    addresses = entry_imports(spec, {0: "static"}, (np.zeros(2),), raise_status)
    wanted = {
        line.split("@")[1].split("(")[0].split(" ")[0]
        for line in emit_entry(spec).splitlines()
        if line.startswith("declare") or " = external global " in line
    }
    assert wanted <= set(addresses)
    assert all(addresses.values())


def test_specification_refuses_what_it_cannot_express() -> None:
    for dtype in ("longdouble", "object", "U3", "M8[s]", np.dtype(float).newbyteorder()):
        with pytest.raises(DTypeError):
            ArrayLeaf(np.dtype(dtype), (1,))
        with pytest.raises(DTypeError):
            OutputLeaf(np.dtype(dtype), (1,))
    for wrong in (
        lambda: ArrayLeaf(FLOAT, (-1,)),
        lambda: ArrayLeaf(FLOAT, (1,) * 65),
        lambda: ScalarLeaf("str"),  # type: ignore[arg-type]
        lambda: DictNode(("a", "a"), (IN, IN)),
        lambda: DictNode(("a",), ()),
        lambda: EntrySpec((OUT,), (), OUT),
        lambda: EntrySpec((IN,), (), TupleNode((IN,))),
        lambda: EntrySpec((), (("a", IN), ("a", IN)), OUT),
        lambda: EntrySpec((), (), OUT, arena_bytes=-1),
    ):
        with pytest.raises(ArgumentError):
            wrong()


def test_leaf_order_is_depth_first() -> None:
    spec = EntrySpec((TupleNode((IN, ListNode((ScalarLeaf("int"),)))), NoneNode()), (("k", IN),), TupleNode((OUT, OUT)))
    assert input_leaves(spec) == (IN, ScalarLeaf("int"), IN)
    assert output_leaves(spec) == (OUT, OUT)


def test_unknown_layouts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, verify, name in (
        (python_abi, python_abi.verify_python_layout, "FLOAT_VALUE_OFFSET"),
        (numpy_abi, numpy_abi.verify_numpy_layout, "ARRAY_RANK_OFFSET"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, getattr(module, name) + 4)
            with pytest.raises(python_abi.UnsupportedRuntimeError, match="another layout"):
                verify.__wrapped__()
    monkeypatch.setattr(sys.implementation, "name", "other")
    with pytest.raises(python_abi.UnsupportedRuntimeError, match="not CPython"):
        python_abi.verify_python_layout.__wrapped__()


