"""explain_cache_miss: why a call was compiled again, and how to keep it from happening."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from html import escape
from types import CodeType
from typing import Any

from gradxform.api.compilations import Compilation, Signature, StaticValue, compilations
from gradxform.api.jit import CHAIN_LENGTH, Jitted
from gradxform.backend.signature import (
    ArrayLeaf,
    DictNode,
    ListNode,
    Node,
    NoneNode,
    NumpyScalarLeaf,
    OutputLeaf,
    ScalarLeaf,
    StaticLeaf,
    TupleNode,
)
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import ArgumentTypeError
from gradxform.ir import ArrayType, Source

__all__ = ["CacheMisses", "Miss", "explain_cache_miss"]

#: From so many extents of one axis, or values of one static argument, on, it is said that there are many.
MANY = 4
_BY_IDENTITY: Any = object.__hash__
_PLAIN: Any = object.__repr__
_WIDTH = 60


@data_class(frozen=True, slots=True)
class Miss:
    """One compilation, explained.

    Attributes:
        function: the name of the function, or of the loop that was run without jit.
        source: the user's line that called it; None if there is none.
        when: the time when it was compiled.
        reasons: what is new about the signature, a sentence each.
        compared_with: the line that called the function with the earlier signature that is compared with, or None.
        hints: usual mistakes that this looks like, each with the way out.
        origin: where the native code came from: "disk", "compiled" or "compiled, disk off".
        phases: the steps of compilation and the seconds that each took.
    """

    function: str
    source: Source | None
    when: datetime
    reasons: tuple[str, ...]
    compared_with: Source | None
    hints: tuple[str, ...]
    origin: str
    phases: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """The time of all steps."""
        return sum(seconds for _, seconds in self.phases)

    def __str__(self) -> str:
        lines = [f"{self.function} was compiled at {self.when:%H:%M:%S}" + _at(self.source, ", called from ")]
        lines += [f"  why: {reason}" for reason in self.reasons]
        lines += [f"       compared with the call from {self.compared_with}"] if self.compared_with is not None else []
        lines += [f"  native code: {_ORIGINS[self.origin]}"]
        steps = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in self.phases)
        lines += [f"  time: {_duration(self.seconds)} ({steps})"]
        lines += [f"  way out: {hint}" for hint in self.hints]
        return "\n".join(lines)


class CacheMisses:
    """What `explain_cache_miss` gives: ``str()`` explains the latest miss, ``misses`` has all that are remembered.

    Attributes:
        misses: a `Miss` per compilation, the oldest first.
    """

    def __init__(self, of: str, misses: Sequence[Miss]) -> None:
        self._of = of
        self.misses = tuple(misses)

    @property
    def latest(self) -> Miss | None:
        """The latest miss, or None if there is none."""
        return self.misses[-1] if self.misses else None

    def __len__(self) -> int:
        return len(self.misses)

    def __iter__(self) -> Iterator[Miss]:
        return iter(self.misses)

    def __str__(self) -> str:
        if not self.misses:
            return f"{self._of} was not compiled in this process, as far as is remembered"
        return str(self.misses[-1])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        if not self.misses:
            return f"<p>{escape(str(self))}</p>"
        rows = "".join(
            f"<tr><td>{m.when:%H:%M:%S}</td><td><code>{escape(m.function)}</code></td>"
            f"<td style='text-align:left'>{'<br>'.join(map(escape, m.reasons))}</td><td>{escape(m.origin)}</td>"
            f"<td style='text-align:right'>{_duration(m.seconds)}</td></tr>" for m in reversed(self.misses))
        return (f"<pre>{escape(str(self))}</pre><details><summary>all {len(self.misses)}</summary><table><thead><tr>"
                "<th>when</th><th>function</th><th>why</th><th>native code</th><th>time</th></tr></thead>"
                f"<tbody>{rows}</tbody></table></details>")


def explain_cache_miss(f: Any = None) -> CacheMisses:
    """Why a jitted function was compiled again, and what to do about it.

    Each compilation is remembered (the last 1000 of the process), with its signature, the line that called, and the time
    that each step took. What was new is found by comparing with the nearest earlier signature of the same function.

    Args:
        f: a function that `jit` made; None for all of them, and for loops that are run without jit.

    Returns:
        An object that prints as the explanation of the latest miss. Its ``misses`` are all of them, the oldest first.

    Raises:
        ArgumentTypeError: ``f`` is no jitted function.

    >>> import numpy as np
    >>> from gradxform.api import jit
    >>> f = jit(lambda x, scale: x * scale)
    >>> _ = f(np.ones(3), 2.0), f(np.ones(4), 2)
    >>> for reason in explain_cache_miss(f).misses[-1].reasons:
    ...     print(reason)
    argument x: f64[3] before, f64[4] now
    argument scale: a Python float before, a Python int now
    """
    if f is not None and not isinstance(f, Jitted):
        raise ArgumentTypeError(
            f"explain_cache_miss expects a function that jit made, or nothing, got {f!r} of type {type(f).__name__}: pass "
            f"the result of gradxform.jit{user_line()}")
    every = compilations()
    misses = [_explained(record, every[:number]) for number, record in enumerate(every)
              if f is None or (record.function is not None and record.function() is f)]
    return CacheMisses("nothing" if f is None else repr(f), misses)


# ---------------------------------------------------------------------------------------------------- texts


_ORIGINS = {
    "disk": "from the disk cache, where the same program was found; only tracing and linking were left to do",
    "compiled": "compiled, for the disk cache has nothing for this program: it is new on this machine, or the function, "
                "gradxform, the processor or the versions of libraries have changed",
    "compiled, disk off": "compiled; the disk cache is off (config.cache_dir)",
}


def _at(source: Source | None, before: str) -> str:
    return "" if source is None else f"{before}{source}"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{1e3 * seconds:.3g} ms"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[:_WIDTH - 3] + "..."


def _listed(items: Iterable[Any]) -> str:
    return ", ".join(map(str, items))


# ------------------------------------------------------------------------------------------- signatures as trees


@data_class(frozen=True, slots=True, eq=False)
class _Part:
    """An argument, or a part of one: what it is, in words, and its own parts by how one reaches them."""

    kind: str
    text: str
    children: dict[str, _Part]
    node: Any = None


def _leaf(kind: str, text: str, node: Any = None) -> _Part:
    return _Part(kind, text, {}, node)


def _part(node: Node, statics: Sequence[StaticValue]) -> _Part:
    match node:
        case ArrayLeaf():
            return _leaf("array", str(ArrayType(node.dtype, node.shape)), node)
        case ScalarLeaf():
            return _leaf("number", f"a Python {node.kind}", node)
        case NumpyScalarLeaf():
            return _leaf("numpy", f"a np.{node.dtype}", node)
        case NoneNode():
            return _leaf("none", "None")
        case StaticLeaf():
            return _leaf("static", "", statics[node.key])
        case TupleNode() | ListNode():
            kind = "tuple" if isinstance(node, TupleNode) else "list"
            parts = {f"[{i}]": _part(child, statics) for i, child in enumerate(node.children)}
            return _Part(kind, f"a {kind} of {len(parts)}", parts)
        case DictNode():
            parts = {f"[{key!r}]": _part(child, statics) for key, child in zip(node.keys, node.children, strict=True)}
            return _Part("dict", f"a dict of {_cut(_listed(map(repr, node.keys)) or 'nothing')}", parts)
        case OutputLeaf():
            raise AssertionError("an output leaf stands among the arguments")


def _from_structure(structure: Any, leaves: Iterator[Node]) -> _Part:
    """An argument that Python flattens: its leaves, each by its path."""
    paths = ["".join(entry.codify("") for entry in accessor) for accessor in structure.accessors()]
    parts = {path: _part(leaf, ()) for path, leaf in zip(paths, leaves, strict=False)}
    if list(parts) == [""]:
        return parts[""]
    return _Part("object", _cut(str(structure).removeprefix("PyTreeSpec(").removesuffix(")")), parts)


def _arguments(signature: Signature) -> dict[int | str, _Part]:
    """The arguments by their positions and names."""
    statics = dict(zip(signature.static_places, signature.statics, strict=True))
    found: dict[int | str, _Part] = {}
    if signature.treedef is None:
        for position, node in enumerate(signature.positional):
            found[position] = _part(node, signature.statics)
        for name, node in signature.keywords:
            found[name] = _part(node, signature.statics)
        return found
    positional, named = signature.treedef.children()
    leaves = iter(signature.positional)
    places: list[tuple[int | str, Any]] = [*enumerate(positional.children()),
                                           *zip(named.entries(), named.children(), strict=True)]
    for place, structure in places:
        static = statics.get(place)
        found[place] = _from_structure(structure, leaves) if static is None else _leaf("static", "", static)
    return found


def _leaves(path: str, part: _Part) -> Iterator[tuple[str, _Part]]:
    """The leaves of an argument with their paths."""
    if not part.children:
        yield path, part
    for key, child in part.children.items():
        yield from _leaves(path + key, child)


def _names(record: Compilation) -> Callable[[int | str], str]:
    """What arguments are called: by the parameters of the innermost function, as far as its code tells."""
    code = record.codes[-1] if record.codes else None
    names: Sequence[str] = code.co_varnames[:code.co_argcount] if isinstance(code, CodeType) else ()

    def name(place: int | str) -> str:
        if isinstance(place, str):
            return place
        return names[place] if place < len(names) else f"number {place}"

    return name


# ----------------------------------------------------------------------------------------------------- differences


@data_class(frozen=True, slots=True, eq=False)
class _Change:
    """One difference between two signatures, in words and as what it is."""

    text: str
    path: str
    before: _Part | None
    now: _Part | None


def _changes(before: Compilation, now: Compilation) -> list[_Change]:
    earlier, later = _arguments(before.signature), _arguments(now.signature)
    name = _names(now)
    found: list[_Change] = []
    by_name = {name(place): place for place in earlier if name(place) not in earlier or place == name(place)}
    for place, part in later.items():
        path = name(place)
        if place in earlier:
            found += _differences(path, earlier.pop(place), part)
            continue
        other = by_name.get(path)
        if other is not None and other in earlier and other not in later:
            ways = ("by name", "by position") if isinstance(place, int) else ("by position", "by name")
            found.append(_Change(f"argument {path}: passed {ways[0]} before, {ways[1]} now", path, None, None))
            found += _differences(path, earlier.pop(other), part)
        else:
            found.append(_Change(f"argument {path}: not given before, {_words(part)} now", path, None, part))
    found += [_Change(f"argument {name(place)}: {_words(part)} before, not given now", name(place), part, None)
              for place, part in earlier.items() if place not in later]
    return found


def _differences(path: str, before: _Part, now: _Part) -> list[_Change]:
    if before.kind == "static" and now.kind == "static":
        return _static_difference(path, before, now)
    if (before.kind == now.kind or "object" in (before.kind, now.kind)) and before.children and now.children:
        if before.children.keys() == now.children.keys() and before.kind == now.kind != "object":
            return [change for key, part in now.children.items()
                    for change in _differences(path + key, before.children[key], part)]
        if before.kind == now.kind != "object":
            return [_Change(f"structure of {path}: {before.text} before, {now.text} now", path, before, now)]
        return _flat_differences(path, before, now)
    if before.kind == now.kind and before.text == now.text:
        return []
    what = "structure of" if before.children or now.children else "argument"
    return [_Change(f"{what} {path}: {_words(before)} before, {_words(now)} now", path, before, now)]


def _flat_differences(path: str, before: _Part, now: _Part) -> list[_Change]:
    """Those of an argument that Python flattens: leaf by leaf."""
    earlier, later = dict(_leaves(path, before)), dict(_leaves(path, now))
    if earlier.keys() != later.keys() or before.text != now.text:
        gone, new = [k for k in earlier if k not in later], [k for k in later if k not in earlier]
        told = [f"{what} {_cut(_listed(keys))}" for what, keys in (("without", gone), ("with", new)) if keys]
        words = f"now {' and '.join(told)}" if told else f"{before.text} before, {now.text} now"
        return [_Change(f"structure of {path}: {words}", path, before, now)]
    return [change for key, part in later.items() for change in _differences(key, earlier[key], part)]


def _static_difference(path: str, before: _Part, now: _Part) -> list[_Change]:
    if before.node.same_as(now.node):
        return []
    old, new = _words(before), _words(now)
    told = f"{old} before, {new} now" if old != new else f"{old} before, another one now"
    if _same_code(before.node, now.node):
        told = f"{old} before, now another function of the same code, {_place_of(now.node.code)}"
    return [_Change(f"argument {path} is static: {told}", path, before, now)]


def _words(part: _Part) -> str:
    if part.kind != "static":
        return part.text
    value: StaticValue = part.node
    if value.code is not None:
        return f"function {value.text}"
    if value.alive is None:
        return value.text
    if value.kind.__repr__ is _PLAIN:
        return f"an object of class {value.kind.__qualname__}"
    there = value.alive()
    if there is None:
        return f"a {value.kind.__qualname__} that is gone"
    try:
        return _cut(repr(there))
    except Exception:  # whatever a user's class does: it is only to be shown
        return f"a {value.kind.__qualname__}"


def _same_code(before: StaticValue, now: StaticValue) -> bool:
    return now.code is not None and before.code is now.code


def _place_of(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"


# --------------------------------------------------------------------------------------------------------- a miss


def _explained(record: Compilation, earlier: Sequence[Compilation]) -> Miss:
    own = [other for other in earlier if _one_function(record, other)]
    pairs = [(_changes(other, record), other) for other in reversed(own)]
    changes, nearest = min(pairs, key=lambda pair: (len(pair[0]), sum(map(_weight, pair[0]))), default=([], None))
    if nearest is None:
        reasons = [f"first call of {record.name}" if record.function is not None else
                   f"first run of this {record.name}, a loop that no jit encloses and that is compiled by itself"]
    elif changes:
        reasons = [change.text for change in changes]
    elif record.function is None and nearest.program != record.program:
        reasons = ["another program than before, of the same types: numbers or functions in it have changed"]
    elif not record.signature.same_as(nearest.signature):
        reasons = ["the structure of the arguments: other classes than before, of the same leaves"]
    else:
        reasons = ["the signature is not new: its code was forgotten since, by clear_cache() or gradxform.cache.clear()"]
    hints = [hint for make in _HINTS for hint in make(record, own, earlier, changes)]
    return Miss(record.name, record.source, datetime.fromtimestamp(record.when), tuple(reasons),
                None if nearest is None else nearest.source, tuple(hints), record.origin, record.phases)


def _weight(change: _Change) -> int:
    """How different the two sides of a change are: extents of arrays count least, other kinds of things most."""
    before, now = change.before, change.now
    if before is None or now is None or before.kind != now.kind:
        return 4
    if now.kind != "array":
        return 1
    return 2 * int(len(before.node.shape) != len(now.node.shape)) + int(before.node.dtype != now.node.dtype)


def _one_function(record: Compilation, other: Compilation) -> bool:
    if record.function is None:
        return other.function is None and (other.name, other.source) == (record.name, record.source)
    return other.function is record.function


Hints = Callable[[Compilation, Sequence[Compilation], Sequence[Compilation], Sequence[_Change]], Iterator[str]]


def _jitted_anew(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    others = {id(other.function) for other in earlier if other.function is not record.function and other.function is not None
              and other.codes == record.codes and other.signature.same_as(record.signature)}
    if record.function is not None and others:
        code = record.codes[-1]
        where = f" ({_place_of(code)})" if isinstance(code, CodeType) else ""
        yield (f"jit was applied anew: {len(others)} other jitted function(s) of the same code{where} had this signature "
               "before. Each has code of its own: apply jit once, outside of the loop or function, and keep what it gives; "
               "what differs from one to the next is better an argument than closed over")


def _functions_anew(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    for change in changes:
        if change.before is None or change.now is None or "static" not in (change.before.kind, change.now.kind):
            continue
        before, now = change.before.node, change.now.node
        if not (isinstance(before, StaticValue) and isinstance(now, StaticValue)):
            continue
        if _same_code(before, now):
            yield (f"{change.path} is a function made anew for each call, a lambda say, and functions are equal only to "
                   "themselves: make it once and pass the same one")
        elif before.kind is now.kind and now.kind.__hash__ is _BY_IDENTITY:
            yield (f"objects of class {now.kind.__qualname__} are equal only to themselves: keep one for {change.path}, or "
                   "give the class __eq__ and __hash__, as a dataclass with frozen=True has them")


def _many_extents(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    changed = {change.path for change in changes if change.now is not None and change.now.kind == "array"}
    seen: dict[tuple[str, Any, int], list[tuple[int, ...]]] = {}
    for other in (*own, record):
        name = _names(other)
        for place, part in _arguments(other.signature).items():
            for path, leaf in _leaves(name(place), part):
                if leaf.kind == "array" and path in changed:
                    seen.setdefault((path, leaf.node.dtype, len(leaf.node.shape)), []).append(leaf.node.shape)
    for (path, _, rank), shapes in seen.items():
        for axis in range(rank):
            extents = sorted({shape[axis] for shape in shapes})
            if len(extents) >= MANY:
                yield (f"axis {axis} of {path} has had {len(extents)} extents ({_cut(_listed(extents))}): pad it to a few "
                       "sizes and mask the rest, or sort calls into buckets of one size")


def _many_values(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    for change in changes:
        if change.now is None or change.now.kind != "static" or change.now.node.kind not in (int, float, complex, bool):
            continue
        values = {_words(part) for other in (*own, record) for place, part in _arguments(other.signature).items()
                  if part.kind == "static" and _names(other)(place) == change.path}
        if len(values) >= MANY:
            yield (f"{change.path} is static and has had {len(values)} values, each with code of its own: make it an ordinary "
                   "argument, with lax.fori_loop for loops over it and lax.cond for branches")


def _one_kind(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    for change in changes:
        kinds = {part.kind for part in (change.before, change.now) if part is not None}
        if change.before is None or change.now is None:
            continue
        before, now = change.before.node, change.now.node
        if kinds == {"number"}:
            yield (f"numbers of Python of different types are different signatures, as 1 and 1.0 are: pass {change.path} "
                   "as one type, float(...) say")
        elif len(kinds) == 2 and kinds <= {"number", "numpy", "array"} and all(map(_is_number, (change.before, change.now))):
            yield (f"a number of Python, a NumPy scalar and an array of rank 0 are different signatures: pass {change.path} "
                   "as one of them, by float(...) or np.asarray(...)")
        elif kinds in ({"array"}, {"numpy"}) and before.dtype != now.dtype:
            yield (f"{change.path} comes in several dtypes: convert it to one where it enters the program, with "
                   f".astype(np.{before.dtype}, copy=False)")


def _is_number(part: _Part) -> bool:
    return part.kind in ("number", "numpy") or (part.kind == "array" and part.node.shape == ())


def _ways_to_pass(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    if any(change.before is None and change.now is None for change in changes):
        yield "an argument by position and the same by name are different signatures: call the function in one way"


def _closed_over(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    if record.function is None and len(own) + 1 >= MANY:
        yield (f"this loop was compiled {len(own) + 1} times: put gradxform.jit around the function that it stands in, so that "
               "what changes between its runs is an argument")


def _beyond_the_chain(
    record: Compilation, own: Sequence[Compilation], earlier: Sequence[Compilation], changes: Sequence[_Change]
) -> Iterator[str]:
    if record.held >= CHAIN_LENGTH:
        yield (f"{record.name} has {record.held + 1} specialisations. Native code looks through {CHAIN_LENGTH} of them; calls "
               "for the others, as this one, are looked up in Python, some microseconds each")


#: Usual mistakes, in the order in which they are told.
_HINTS: tuple[Hints, ...] = (
    _jitted_anew, _functions_anew, _many_extents, _many_values, _one_kind, _ways_to_pass, _closed_over, _beyond_the_chain,
)
