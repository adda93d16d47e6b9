"""Kernels written by hand, entry points around them, and arguments to call them with.

Most kernels copy each input to the output of the same place byte by byte, so what a call must return is what it got.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from gradxform.backend.callable import NativeCallable
from gradxform.backend.compile import Tier, compile_text, load
from gradxform.backend.entry import CELL_SYMBOL, ENTRY_SYMBOL, emit_entry, entry_imports
from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    EntrySpec,
    ListNode,
    Node,
    NoneNode,
    OutputLeaf,
    TupleNode,
    output_leaves,
)

FLOAT = np.dtype(np.float64)
IN = ArrayLeaf(FLOAT, (3,))
OUT = OutputLeaf(FLOAT, (3,))


def kernel_text(body: str, result: str = "0") -> str:
    head = "define internal i64 @kernel(ptr %inputs, ptr %outputs, ptr %arena)"
    return f"{head} {{\nstart:\n{body}\n  ret i64 {result}\n}}\n"


def copy_kernel(spec: EntrySpec) -> str:
    """Copies input i to output i, byte by byte."""
    lines = []
    for i, leaf in enumerate(output_leaves(spec)):
        size = leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=int))
        if size == 0:
            continue
        lines.append(f"""
  %from.field.{i} = getelementptr ptr, ptr %inputs, i64 {i}
  %from.{i} = load ptr, ptr %from.field.{i}
  %to.field.{i} = getelementptr ptr, ptr %outputs, i64 {i}
  %to.{i} = load ptr, ptr %to.field.{i}
  br label %before.{i}
before.{i}:
  br label %loop.{i}
loop.{i}:
  %k.{i} = phi i64 [0, %before.{i}], [%next.{i}, %loop.{i}]
  %source.{i} = getelementptr i8, ptr %from.{i}, i64 %k.{i}
  %target.{i} = getelementptr i8, ptr %to.{i}, i64 %k.{i}
  %byte.{i} = load i8, ptr %source.{i}
  store i8 %byte.{i}, ptr %target.{i}
  %next.{i} = add i64 %k.{i}, 1
  %more.{i} = icmp ult i64 %next.{i}, {size}
  br i1 %more.{i}, label %loop.{i}, label %after.{i}
after.{i}:""")
    return kernel_text("".join(lines))


def raise_status(status: int) -> None:
    raise IndexError(f"status {status}")


class Recorder(NativeCallable):
    """Its slow path says that it was taken."""

    def call_slow(self, /, *args: object, **kwargs: object) -> object:
        return ("slow", args, kwargs)


def compiled(
    spec: EntrySpec,
    kernel: str | None = None,
    statics: Mapping[int, object] | None = None,
    captures: Sequence[np.ndarray] = (),
    raiser: object = raise_status,
    inline_kernel: bool = False,
) -> tuple[int, int, object]:
    """The arguments of `NativeCallable.link`."""
    statics = statics or {}
    text = emit_entry(spec, inline_kernel=inline_kernel) + (copy_kernel(spec) if kernel is None else kernel)
    code = compile_text(text, Tier.STRAIGHT)
    loaded = load(code, entry_imports(spec, statics, captures, raiser), (ENTRY_SYMBOL, CELL_SYMBOL))
    alive = (loaded, spec, statics, captures, raiser)
    return loaded.address(ENTRY_SYMBOL), loaded.address(CELL_SYMBOL), alive


def native(spec: EntrySpec, *args: object, **kwargs: object) -> Recorder:
    function = Recorder()
    function.link(*compiled(spec, *args, **kwargs))  # type: ignore[arg-type]
    return function


def is_slow(result: object) -> bool:
    return isinstance(result, tuple) and len(result) == 3 and result[0] == "slow"


def tree_node(leaf: Node) -> Node:
    return DictNode(
        ("layers", 7, (1, "b")),
        (
            ListNode((TupleNode((leaf, leaf)), NoneNode(), ListNode(()))),
            TupleNode((leaf,)),
            DictNode(("z", "a"), (leaf, leaf)),
        ),
    )


def tree_value(arrays: Sequence[object]) -> dict[object, object]:
    return {
        "layers": [(arrays[0], arrays[1]), None, []],
        7: (arrays[2],),
        (1, "b"): {"z": arrays[3], "a": arrays[4]},
    }


class Comparable:
    """Equal to every other one; what comparing does can be chosen."""

    def __init__(self, action: object = None) -> None:
        self.action = action

    def __eq__(self, other: object) -> bool:
        if callable(self.action):
            self.action()
        return True

    __hash__ = None  # type: ignore[assignment]


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def sized(size: int) -> tuple[int, int, object]:
    return compiled(EntrySpec((ArrayLeaf(FLOAT, (size,)),), (), OutputLeaf(FLOAT, (size,))))


COPY_FIRST = """  %from = load ptr, ptr %inputs
  %to = load ptr, ptr %outputs
  %value = load [3 x double], ptr %from
  store [3 x double] %value, ptr %to"""
