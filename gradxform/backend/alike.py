"""Nests that are alike: the same statements with other buffers, as layers of a network or steps of an iteration lead to.

    nest 1: t3[i] = maximum(t2[i] + in1[i], 0.0)      nest 2: t5[i] = maximum(t4[i] + in3[i], 0.0)

What passes make of the first, they would make of all others. So they see only the first, and its likes are what has become
of it with their own buffers; one native function serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from gradxform.backend.journal import Journal
from gradxform.loopir.expression import FALSE, ONE, TRUE, ZERO, Apply, Constant, Load, Symbol
from gradxform.loopir.loops import (
    WORKSPACE,
    Accumulate,
    Buffer,
    Call,
    Contract,
    For,
    Fork,
    If,
    Kernel,
    Let,
    Likeness,
    Matrix,
    Multiply,
    Native,
    Nest,
    Part,
    Region,
    Reserve,
    Store,
    While,
    with_nests,
)

_Named = Buffer | Symbol
#: Passes ask for these very objects.
_KNOWN = {part: -1 - number for number, part in enumerate((ZERO, ONE, TRUE, FALSE, WORKSPACE))}


def once(kernel: Kernel, passes: Callable[[Kernel], Kernel], journal: Journal) -> Kernel:
    """``passes``, which go through nests one by one, on ``kernel``: of nests that are alike on the first.

    What was alike before is looked at afresh: nests may have been joined since.
    """
    kernel = with_nests(kernel, [nest if nest.like is None else replace(nest, like=None) for nest in kernel.nests])
    firsts: dict[Hashable, tuple[int, list[_Named]]] = {}
    likes: dict[int, tuple[int, list[_Named], list[_Named]]] = {}
    for number, nest in enumerate(kernel.nests):
        form, named = _form(nest)
        first, first_named = firsts.setdefault(form, (number, named))
        if first != number:
            likes[number] = first, first_named, named
    if not likes:
        return passes(kernel)
    seen = [nest for number, nest in enumerate(kernel.nests) if number not in likes]
    done = iter(passes(with_nests(kernel, seen)).nests)
    nests: list[Nest] = []
    for number, nest in enumerate(kernel.nests):
        if number not in likes:
            nests.append(next(done))
            continue
        first, before, after = likes[number]
        own = dict(zip(before, after, strict=True))
        nests.append(_like(nests[first], first, nest, own, number))
        journal.alike(own)
    return with_nests(kernel, nests)


def _form(nest: Nest) -> tuple[Hashable, list[_Named]]:
    """What nests that are alike have in common, and the buffers and symbols of this one, in an order that they share.

    An expression that stands in several places, as one object, does so in all of them.
    """
    form: list[Any] = []
    named: list[_Named] = []
    numbers: dict[Any, int] = dict(_KNOWN)
    add = form.append

    def read(part: Any) -> None:
        kind = type(part)
        if kind is tuple:
            add(len(part))
            for inner in part:
                read(inner)
        elif kind not in _FIELDS:
            add(part)
        elif part in numbers:
            add(numbers[part])
        elif kind is Constant:
            form.extend((kind, part.dtype, part.value.tobytes()))
        else:
            numbers[part] = len(numbers)
            add(kind)
            if kind is Symbol or kind is Buffer:
                named.append(part)
            for name in _FIELDS[kind]:
                read(getattr(part, name))

    for part in (nest.body, nest.locals, nest.chunk, nest.chunks, nest.repeatable, nest.work):
        read(part)
    return tuple(form), named


def _like(first: Nest, number_of_first: int, nest: Nest, own: dict[_Named, _Named], number: int) -> Nest:
    """What would become of ``nest``: ``first`` with its ``own`` buffers, to which those are added that passes have made."""
    made: dict[int, Any] = {}

    def buffer_of(buffer: Buffer) -> Buffer:
        found = own.get(buffer)
        if found is None:
            found = own[buffer] = replace(buffer, name=f"{buffer.name}.{number}") if buffer.space == "local" else buffer
        assert isinstance(found, Buffer)
        return found

    def rebuilt(part: Any) -> Any:
        kind = type(part)
        if kind is tuple:
            return tuple([rebuilt(inner) for inner in part])
        if kind is Buffer:
            return buffer_of(part)
        if kind is Symbol or kind is Constant or kind not in _FIELDS:
            return part
        found = made.get(id(part))
        if found is None:
            found = made[id(part)] = kind(*[rebuilt(getattr(part, name)) for name in part.__match_args__])
        return found

    return replace(first, body=rebuilt(first.body), locals=rebuilt(first.locals), values=nest.values, like=Likeness(
        number_of_first, {before: after for before, after in own.items()
                          if isinstance(before, Buffer) and isinstance(after, Buffer)}))


#: What is read field by field, and of which fields; names make no difference, and all else is compared as it is.
_FIELDS: dict[type, tuple[str, ...]] = {
    **{kind: kind.__match_args__ for kind in (
        Load, Apply, Constant, Let, Store, Accumulate, For, While, If, Reserve, Multiply, Contract, Call, Native, Part, Fork,
        Matrix, Region)},
    Symbol: ("dtype", "extent"), Buffer: ("dtype", "shape", "space"),
}
