"""Assignment to traced arrays, with NumPy's view semantics.

The values of a program never change; what changes is which of them a traced array stands for. So `replace` binds an
array anew, and who shares its memory in NumPy has to follow:

- A *view* holds a `Path`: the array that it is a view of and the equations that derive it from that one. It is derived
  again when it is next read after its root, the array at the end of all paths, has got another value; until then reading
  it costs one comparison. Writing through it undoes the path, equation by equation, and binds the root anew.
- A root that is filled element by element or row by row holds its stores as `Pending`: reading a stored position gives
  what was stored, and whatever reads the array as a whole first joins all stores into one update. So a Python loop that
  fills an array is one equation for the whole loop, not a chain of updates of the whole array.

Arrays that nobody assigns to have neither.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Tracer, current_builder, replay, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import leaked, recording
from gradxform.dtypes import is_complex
from gradxform.errors import DTypeError, IndexRangeError, ReadOnlyError, ShapeError
from gradxform.indexing import get, update
from gradxform.ir import Atom, Equation
from gradxform.linear import inverse_permutation, transpose
from gradxform.operands import as_operand, broadcast_to, cast, known_value
from gradxform.primitives.complex import complex as complex_of
from gradxform.primitives.complex import imag, real
from gradxform.primitives.logic import select
from gradxform.primitives.shape import concatenate, reshape, reverse

#: Where a traced array keeps what it stands for, whether or not its class looks for changes first.
held: Any = Tracer.__dict__["atom"]


class Pending:
    """The stores into a root that no equation has recorded yet: by leading indices, ``depth`` of them, what is there."""

    __slots__ = ("depth", "stamp", "stores")

    def __init__(self) -> None:
        self.depth = 0
        self.stores: dict[tuple[int, ...], Any] = {}
        # Another object after each assignment: whose stamp is this one has seen them all.
        self.stamp = object()


class Path:
    """How a view is derived from its parent: by indexing it with ``key``, or by the equations ``links``.

    Those lead from ``base``, what the parent stood for, to what the view stood for. ``stamp`` is the root's when the view's
    value was derived, ``linked`` the one when ``links`` were recorded.
    """

    __slots__ = ("base", "key", "linked", "links", "parent", "root", "stamp")

    def __init__(self, parent: Any, base: Atom | None, links: list[Equation] | None, key: Any) -> None:
        self.parent = parent
        self.root = parent.record.root if parent.is_view else parent
        self.base = base
        self.links = links
        self.key = key
        self.stamp = self.linked = self.root.stamp


# ------------------------------------------------------------------------------------------------------- reading


def flushed(x: Any) -> Atom:
    """What a root with pending stores stands for, all of them joined into it."""
    record = x.record
    if record.stores:
        if x.builder.state == "closed":
            held.__set__(x, held.__get__(x))
            record.stores = {}
            raise leaked(x)
        stores, record.stores = record.stores, {}
        with recording(x.builder):
            base = x.builder.tracer_class(x.builder, held.__get__(x))
            held.__set__(x, _joined(base, stores, record.depth).atom)
    found: Atom = held.__get__(x)
    return found


def refreshed(view: Any) -> Atom:
    """What a view stands for, derived again if its root was assigned to since."""
    record = view.record
    stamp = record.root.stamp
    if record.stamp is not stamp:
        _derive(view, stamp, lambda path: path.stamp)
    found: Atom = held.__get__(view)
    return found


def _derive(view: Any, stamp: object, freshness: Callable[[Path], object]) -> None:
    """Derive the view, and first those views between it and its root that are out of date too."""
    root = view.record.root
    if root.builder.state == "closed":
        raise leaked(root)
    chain = []
    stale = 0
    handle = view
    while handle.is_view:
        chain.append(handle)
        if freshness(handle.record) is not stamp:
            stale = len(chain)
        handle = handle.record.parent
    with recording(root.builder):
        for member in reversed(chain[:stale]):
            path = member.record
            value = path.parent.snapshot()
            equations = root.builder.equations
            start = len(equations)
            if path.links is None:
                derived = get(value, path.key)
            else:
                derived = _replayed(path, value)
                path.base, path.links = value.atom, equations[start:]
            path.stamp = path.linked = stamp
            held.__set__(member, derived.atom)


def _replayed(path: Path, value: Any) -> Any:
    """The links of a path, recorded again from another value of its parent."""
    assert path.links is not None and path.base is not None
    builder = value.builder
    found: dict[Any, Any] = {path.base: value}
    for equation in path.links:
        operands = [found[x] if x in found else builder.tracer_class(builder, x) for x in equation.inputs]
        value = replay(equation, operands)[0]
        found[equation.outputs[0]] = value
    return value


def stored(x: Any, key: tuple[int, ...]) -> Any:
    """What was last assigned to ``x[key]`` and not joined into ``x`` yet; None if nothing was."""
    record = x.record
    return record.stores.get(key) if record.depth == len(key) else None


def trail(equations: list[Equation], base: Atom, atom: Atom) -> list[Equation] | None:
    """The equations that make ``atom`` of ``base`` by selecting and arranging its elements; None if there are others."""
    definitions: dict[Any, Equation] = {equation.outputs[0]: equation for equation in equations}
    links = []
    while atom is not base:
        equation = definitions.get(atom)
        if equation is None or equation.operation.name not in _ARRANGING or not equation.inputs:
            return None
        links.append(equation)
        atom = equation.inputs[0]
    return links[::-1]


def copies(x: Any, links: list[Equation]) -> bool:
    """Whether NumPy has to copy the elements of ``x`` where these equations are recorded."""
    if not any(equation.operation.name == "reshape" for equation in links) or (len(links) == 1 and not x.is_view):
        return False
    return _followed(links, memory_steps(x)) is _COPIED


class _Copied:
    """What stands for the steps of an array that NumPy would have to copy."""


_COPIED = _Copied()
_Steps = tuple[int, ...] | None | _Copied


def memory_steps(x: Any) -> tuple[int, ...] | None:
    """How far apart, in elements of its root, neighbours along each axis of ``x`` are; None if that is not regular."""
    chain = []
    while x.is_view:
        chain.append(x)
        x = x.record.parent
    steps: Any = _contiguous(x.type.shape)
    for view in reversed(chain):
        path = view.record
        if path.links is not None:
            steps = _followed(path.links, steps)
        elif steps is not None:
            steps = _indexed_steps(path.parent.type.shape, steps, path.key)
    found: tuple[int, ...] | None = None if steps is _COPIED else steps
    return found


def _indexed_steps(shape: tuple[int, ...], steps: tuple[int, ...], key: Any) -> tuple[int, ...]:
    """The steps of ``x[key]``, a basic index, as NumPy has them."""
    parts = key if isinstance(key, tuple) else (key,)
    whole = len(shape) - sum(part is not None and part is not Ellipsis for part in parts)
    parts = parts if any(part is Ellipsis for part in parts) else (*parts, ...)
    found: list[int] = []
    axis = 0
    for part in parts:
        if part is None:
            found.append(0)
        elif part is Ellipsis:
            found += steps[axis:axis + whole]
            axis += whole
        else:
            if isinstance(part, slice):
                found.append(steps[axis] * part.indices(shape[axis])[2])
            axis += 1
    return tuple(found)


def _followed(links: list[Equation], steps: _Steps) -> _Steps:
    for equation in links:
        if steps is _COPIED:
            break
        before, after = equation.inputs[0].type.shape, equation.outputs[0].type.shape
        if equation.operation.name == "reshape" and [n for n in before if n != 1] == [n for n in after if n != 1]:
            if steps is not None:
                steps = reshaped_steps(before, steps, after)  # type: ignore[arg-type]
        elif equation.operation.name == "reshape":
            found = None if steps is None else reshaped_steps(before, steps, after)  # type: ignore[arg-type]
            steps = _COPIED if found is None else found
        else:
            rule = _STEPS.get(equation.operation.name)
            steps = None if rule is None or steps is None else rule(equation, steps)  # type: ignore[arg-type]
    return steps


def is_contiguous(x: Any) -> bool:
    """Whether the elements of ``x`` lie one behind the other in row-major order."""
    steps = memory_steps(x)
    shape = x.type.shape
    return 0 in shape or (steps is not None and all(
        n == 1 or step == each for n, step, each in zip(shape, steps, _contiguous(shape), strict=True)))


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps, each = [], 1
    for extent in reversed(shape):
        steps.append(each)
        each *= extent
    return tuple(reversed(steps))


def reshaped_steps(shape: tuple[int, ...], steps: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
    """The steps of the same memory seen in shape ``target``; None if NumPy would have to copy it."""
    if prod(shape) == 0:
        return _contiguous(target)
    old = [(n, step) for n, step in zip(shape, steps, strict=True) if n != 1]
    found: list[int] = []
    position = 0
    while position < len(target) or old:
        # The shortest runs of old and new axes that hold equally many elements are cut alike or not at all.
        while position < len(target) and target[position] == 1:
            found.append(0)
            position += 1
        if position == len(target):
            break
        run = [target[position]]
        length = target[position]
        position += 1
        group = [old.pop(0)]
        size = group[0][0]
        while size != length:
            if size < length:
                group.append(old.pop(0))
                size *= group[-1][0]
            else:
                run.append(target[position])
                length *= target[position]
                position += 1
        if any(first[1] != second[1] * second[0] for first, second in pairwise(group)):
            return None
        inner = _contiguous(tuple(run))
        found += [group[-1][1] * n for n in inner]
    return tuple(found)


def _broadcast_steps(equation: Equation, steps: tuple[int, ...]) -> tuple[int, ...]:
    before, after = equation.inputs[0].type.shape, equation.outputs[0].type.shape
    found = [0] * len(after)
    for axis, extent, step in zip(_param(equation, "axes"), before, steps, strict=True):
        found[axis] = step if extent == after[axis] else 0
    return tuple(found)


def _param(equation: Equation, name: str) -> Any:
    return dict(equation.params)[name]


_STEPS: dict[str, Callable[[Equation, tuple[int, ...]], tuple[int, ...]]] = {
    "broadcast": _broadcast_steps,
    "transpose": lambda e, steps: tuple(steps[a] for a in _param(e, "permutation")),
    "reverse": lambda e, steps: tuple(-s if a in _param(e, "axes") else s for a, s in enumerate(steps)),
    "slice": lambda e, steps: tuple(s * n for s, n in zip(steps, _param(e, "strides"), strict=True)),
}

#: The operations that a view is made with.
_ARRANGING = frozenset({"broadcast", "gather", "imag", "real", "reshape", "reverse", "slice", "transpose"})

# ------------------------------------------------------------------------------------------------------- writing


def _undo_slice(equation: Equation, operand: Any, new: Any) -> Any:
    bounds = (_param(equation, name) for name in ("start", "limit", "strides"))
    return update("assignment", operand, tuple(slice(*each) for each in zip(*bounds, strict=True)), new, "set")


#: For each equation that a view can be written through: its operand anew, of the operand, given its result anew.
_UNDO: dict[str, Callable[[Equation, Any, Any], Any]] = {
    "reshape": lambda e, operand, new: reshape(new, shape_of(operand)),
    "transpose": lambda e, operand, new: transpose(new, inverse_permutation(_param(e, "permutation"))),
    "reverse": lambda e, operand, new: reverse(new, _param(e, "axes")),
    "slice": _undo_slice,
    "real": lambda e, operand, new: complex_of(new, imag(operand)),
    "imag": lambda e, operand, new: complex_of(real(operand), new),
}


def check_writable(x: Any, what: str) -> None:
    """Raises ReadOnlyError, saying ``what`` was tried, unless ``x`` may be assigned to here."""
    root = x.record.root if x.is_view else x
    if root.is_immutable:
        raise ReadOnlyError(
            f"{what}: a tensor of type {x.type} cannot be assigned to: x.at[index].set(value) gives an updated copy; what "
            f"changes is a tape.Variable, with assign(){user_line()}")
    builder = current_builder()
    if root.builder is not builder:
        if builder is None or root.builder.state == "closed":
            raise leaked(root)
        raise ReadOnlyError(
            f"{what}: a traced array of type {x.type} that was made outside, by {root.builder.purpose}, cannot be assigned "
            f"to while {builder.purpose} traces: what is computed in there leaves it as its result only. Return the new "
            f"value, or assign to a copy, x = x.copy(){user_line()}")
    if not root.is_own and builder.given(held.__get__(root)):
        raise ReadOnlyError(
            f"{what}: a traced array of type {x.type} that is an argument, or a view of one, or an array from outside, "
            "cannot be assigned to: write x = x.at[index].set(value), or assign to a copy, x = x.copy()"
            f"{user_line()}")
    handle = x
    while handle.is_view:
        for equation in handle.record.links or ():
            if equation.operation.name not in _UNDO:
                raise ReadOnlyError(
                    f"{what}: a traced array of type {x.type} that is a read-only view (of broadcast_to, diagonal and "
                    f"their kin, as in NumPy) cannot be assigned to: assign to a copy, x = x.copy(){user_line()}")
        handle = handle.record.parent


def replace(x: Any, value: Any) -> None:
    """Let ``x``, and whoever shares its memory, see ``value``, which has its type. ``x`` must be writable."""
    views = []
    if x.is_view:
        stamp = x.record.root.stamp
        _derive(x, stamp, lambda path: path.linked)
    while x.is_view:
        path = x.record
        views.append((x, value.atom))
        if path.links is None:
            value = update("assignment", path.parent.snapshot(), path.key, value, "set")
        for equation in reversed(path.links or ()):
            operand = value.builder.tracer_class(value.builder, equation.inputs[0])
            value = _UNDO[equation.operation.name](equation, operand, value)
        x = path.parent
    if x.is_assigned:
        x.record.stores = {}
        x.record.stamp = object()
    else:
        x.become_assigned(Pending())
    held.__set__(x, value.atom)
    for view, atom in views:
        held.__set__(view, atom)
        view.record.stamp = x.record.stamp


def value_to_assign(x: Any, value: Any) -> Any:
    """``value`` in the dtype of ``x``, cast as NumPy's assignment does, which takes everything but complex for real."""
    operand = as_operand("assignment", value)
    found = type_of(operand).dtype
    if is_complex(found) and not is_complex(x.dtype):
        raise DTypeError(
            f"assignment: complex values do not fit an array of dtype {x.dtype}: assign their .real or .imag{user_line()}")
    return cast(operand, x.dtype)


def assign(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value``."""
    check_writable(x, "x[index] = value")
    if _is_same_place(x, index, value):
        return
    values = value_to_assign(x, value)
    while x.is_view:
        outer = _composed(x, index)
        if outer is None:
            break
        x, index = x.record.parent, outer
    key = None if x.is_view else static_key(x.type.shape, index)
    if key is not None:
        _store(x, key, values)
        return
    base = x.snapshot()
    if isinstance(index, Tracer) and index.type.dtype.kind == "b":
        mask = known_value(index)
        if mask is None:
            replace(x, set_by_mask(base, index, values))
            return
        index = mask
    if isinstance(index, (bool, np.bool_)) or (isinstance(index, np.ndarray) and index.dtype == bool and not index.ndim):
        if not index:
            return
        index = ...
    replace(x, update("assignment", base, index, values, "set"))


def set_by_mask(x: Any, mask: Any, values: Any) -> Any:
    """``x`` with ``x[mask] = values``, a single one, where the mask is not known."""
    if mask.shape != x.shape[: mask.ndim]:
        raise IndexRangeError(
            f"boolean index of shape {mask.shape} did not match indexed array of shape {x.shape}{user_line()}")
    if shape_of(values) not in ((), (1,)):
        raise ShapeError(
            "a mask whose values are not known takes a single value, for the number of elements is not known: "
            f"use np.where(mask, values, x){user_line()}")
    trailing = (1,) * (x.ndim - mask.ndim)
    chosen = broadcast_to("assignment", reshape(mask, (*mask.shape, *trailing)), x.shape)
    return select(chosen, reshape(values, ()), x)


def is_basic(index: Any) -> bool:
    """Whether ``index`` consists of integers, known or not, slices, None and ``...``: what gives a view in NumPy."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if part is None or part is Ellipsis or type(part) is int or isinstance(part, (slice, np.integer)):
            continue
        if not isinstance(part, Tracer) or part.type.shape or part.type.dtype.kind not in "iu":
            return False
    return True


def _is_same_place(x: Any, index: Any, value: Any) -> bool:
    """Whether ``value`` is the very view ``x[index]``, as it is at the end of ``x[index] += 1``."""
    return bool(getattr(value, "is_view", False) and value.record.parent is x and value.record.key is not None
                and is_basic(index) and _same_index(index, value.record.key))


def _same_index(index: Any, other: Any) -> bool:
    parts, others = (each if isinstance(each, tuple) else (each,) for each in (index, other))
    return len(parts) == len(others) and all(
        (isinstance(p, Tracer) and isinstance(o, Tracer) and p.atom is o.atom)
        or (type(p) is type(o) and not isinstance(p, Tracer) and p == o) for p, o in zip(parts, others, strict=True))


def static_key(shape: tuple[int, ...], index: Any) -> tuple[int, ...] | None:
    """A static index of leading integers as non-negative ones; None if it is another, or out of range."""
    parts = index if type(index) is tuple else (index,)
    if not 0 < len(parts) <= len(shape):
        return None
    key = []
    for part, extent in zip(parts, shape, strict=False):
        if type(part) is not int and not isinstance(part, np.integer):
            return None
        position = int(part)
        if not -extent <= position < extent:
            return None
        key.append(position % extent)
    return tuple(key)


def _composed(view: Any, index: Any) -> Any:
    """The index into the view's parent of ``view[index]``; None if that is not as simple as an index into a row."""
    key = view.record.key
    if key is None:
        return None
    row = key if isinstance(key, tuple) else (key,)
    if not is_basic(index) or any(part is None or part is Ellipsis or isinstance(part, slice) for part in row):
        return None
    return (*row, *(index if isinstance(index, tuple) else (index,)))


def _store(x: Any, key: tuple[int, ...], values: Any) -> None:
    builder = current_builder()
    assert builder is not None
    rest = x.type.shape[len(key):]
    shape = shape_of(values)
    if shape != rest:
        extra = len(shape) - len(rest)
        if extra > 0 and all(n == 1 for n in shape[:extra]):
            values = reshape(values, shape[extra:])
        values = broadcast_to("assignment", values, rest)
    atom = builder.atom(values)
    if not x.is_assigned:
        x.become_assigned(Pending())
    record = x.record
    if record.stores and record.depth != len(key):
        flushed(x)
    record.depth = len(key)
    record.stores[key] = builder.tracer_class(builder, atom)
    record.stamp = object()


def _joined(base: Any, stores: dict[tuple[int, ...], Any], depth: int) -> Any:
    """``base`` with all stores: one update, or none of ``base`` if nothing of it is left."""
    if len(stores) == 1:
        ((key, value),) = stores.items()
        return update("assignment", base, key, value, "set")
    shape = base.type.shape
    keys = sorted(stores)
    rest = shape[depth:]
    rows = concatenate([reshape(stores[key], (1, *rest)) for key in keys], 0)
    if len(keys) == prod(shape[:depth]):
        return reshape(rows, shape)
    first, second, last = keys[0], keys[1], keys[-1]
    step = second[-1] - first[-1]
    if first[:-1] == last[:-1] and all(b[-1] - a[-1] == step for a, b in pairwise(keys)):
        return update("assignment", base, (*first[:-1], slice(first[-1], last[-1] + 1, step)), rows, "set")
    return update("assignment", base, tuple(np.array(keys, np.int64).T), rows, "set")


def in_place(name: str, x: Any, result: Any) -> None:
    """Let ``x`` become ``result``, as a ufunc's output does: of a dtype that fits, in the shape of ``x``."""
    found = type_of(result)
    if not np.can_cast(found.dtype, x.dtype, "same_kind"):
        raise DTypeError(
            f"Cannot cast ufunc '{name}' output from dtype('{found.dtype}') to dtype('{x.dtype}') with casting rule "
            f"'same_kind': write x = ... with a name of its own, or cast with .astype{user_line()}")
    if found.shape != x.type.shape:
        try:
            result = broadcast_to(name, result, x.type.shape)
        except ShapeError:
            raise ShapeError(
                f"{name}: non-broadcastable output operand with shape {x.type.shape} doesn't match the broadcast shape "
                f"{found.shape}{user_line()}") from None
    result = cast(result, x.dtype)
    if not isinstance(result, Tracer) or result.builder is not x.builder:
        result = x.builder.tracer_class(x.builder, x.builder.atom(result))
    replace(x, result)
