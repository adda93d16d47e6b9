"""Random functions with control flow: loops and branches of `gradxform.lax`, nested in each other.

`write` writes a function as Python source, which is what a failure prints. It runs in three ways: traced, with NumPy
and the loops as native code, and under `disable_jit` with loops of Python.

Floats stay moderate by construction: each step maps values of [-1, 1] to values of about [-1, 1], and only updates that
add may leave that range. Each integer has a range that is known, so that indices can be kept within bounds. Steps are
smooth; only what branches and stopping conditions compare makes jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

import gradxform as gx
from gradxform import lax
from gradxform.api.stepping import steppable
from gradxform.array import Array
from gradxform.core import Builder, Tracer
from gradxform.ir import ArrayType, Program, check
from support.programs import Drawn, Seeded, Source

#: Shapes of inputs: what fits into registers, and what loops carry in memory.
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (17,), (50,), (6, 7))
#: No loop nest has more iterations than this.
MAXIMUM_ITERATIONS = 60
MAXIMUM_DEPTH = 3
#: Integers that are inputs or carries lie in 0..LARGEST_INTEGER.
LARGEST_INTEGER = 6

Shape = tuple[int, ...]


def at(x: Any) -> Any:
    """``x.at``, also of a plain array."""
    return x.at if isinstance(x, Tracer) else steppable(np.asarray(x)).at


class Indexed:
    """``x[index]``, also of a plain array at a traced index."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        traced = any(isinstance(part, Tracer) for part in parts) and not isinstance(self.array, Tracer)
        return at(self.array)[index].get() if traced else self.array[index]


#: What the source of functions may name.
NAMES: dict[str, Any] = {"np": np, "gx": gx, "lax": lax, "at": at, "of": Indexed}
for _size in (3, 17, 50):
    NAMES[f"K{_size}"] = np.cos(np.arange(float(_size)))
NAMES["K6x7"] = np.sin(np.arange(42.0)).reshape(6, 7)


@dataclass(frozen=True)
class Value:
    """An expression: its text, shape and kind (f, i, b, or e for empty ones); integers of rank 0 lie in low..high."""

    text: str
    shape: Shape
    kind: str = "f"
    low: int = 0
    high: int = 0


@dataclass(frozen=True)
class Function:
    """A random function: call it with arrays or tracers. ``inputs`` are arguments for which it was made."""

    source: str
    inputs: tuple[Any, ...]

    @cached_property
    def function(self) -> Callable[..., Any]:
        names = dict(NAMES)
        exec(compile(self.source, "<random function>", "exec"), names)
        return names["function"]  # type: ignore[no-any-return]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __str__(self) -> str:
        lines = [f"v{i} = np.array({np.asarray(x).tolist()!r}, np.{np.asarray(x).dtype})" for i, x in enumerate(self.inputs)]
        return "\n".join([self.source, *lines])

    __repr__ = __str__

    @property
    def floats(self) -> tuple[bool, ...]:
        """Which inputs are of a float dtype."""
        return tuple(np.asarray(x).dtype.kind == "f" for x in self.inputs)


def recorded(function: Function, arguments: Sequence[Any]) -> tuple[Program, list[Any]]:
    """The checked program of ``function``, whose further inputs are the arrays that it captures, and its arguments."""
    builder = Builder("test", Array)
    with builder:
        tracers = [builder.add_input(ArrayType(np.asarray(a).dtype, np.shape(a))) for a in arguments]
        program, captures = builder.finish(list(function(*tracers)))
    return check(program), [*arguments, *captures]


@dataclass
class Writer:
    """Writes the lines of a function. ``scope`` holds the values that can be used where the next line stands.

    ``updating``: most steps read and update single elements of arrays.
    """

    source: Source
    steps_left: int
    shapes: tuple[Shape, ...] = SHAPES
    updating: bool = False
    scope: list[Value] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    indent: int = 1
    depth: int = 0
    iterations: int = 1
    names: int = 0

    # -------------------------------------------------------------------------------------------------- choices

    def chance(self, percent: int) -> bool:
        return self.source.integer(1, 100) <= percent

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.source.integer(0, len(options) - 1)]

    def find(self, condition: Callable[[Value], bool]) -> Value | None:
        """A value of the scope; recent ones are likelier."""
        found = [v for v in self.scope if condition(v)]
        if not found:
            return None
        return self._recent(found)

    def _recent(self, found: list[Value]) -> Value:
        positions = [self.source.integer(0, len(found) - 1) for _ in range(2 if self.chance(70) else 1)]
        return found[max(positions)]

    # -------------------------------------------------------------------------------------------------- writing

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def name(self, stem: str = "v") -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def let(self, text: str, shape: Shape, kind: str = "f", low: int = 0, high: int = 0) -> Value:
        """A new variable."""
        value = Value(self.name(), shape, kind, low, high)
        self.line(f"{value.text} = {text}")
        self.scope.append(value)
        return value

    @contextmanager
    def inner(self, header: str, iterations: int = 1) -> Iterator[None]:
        """The body of a function; what it defines is forgotten behind it."""
        self.line(header)
        kept, before = len(self.scope), self.iterations
        self.indent, self.depth, self.iterations = self.indent + 1, self.depth + 1, before * max(iterations, 1)
        try:
            yield
        finally:
            self.indent, self.depth, self.iterations = self.indent - 1, self.depth - 1, before
            del self.scope[kept:]

    # ---------------------------------------------------------------------------------------------- expressions

    def float_of(self, shape: Shape) -> str:
        """An expression of floats of ``shape``: a value there is, or one made of a number."""
        found = self.find(lambda v: v.kind == "f" and v.shape == shape)
        if found is not None and self.chance(90):
            return found.text
        number = self.scalar() if shape else self.pick(["0.25", "-0.5", "0.75"])
        if not shape:
            return str(number)
        if self.chance(30):
            return self.literal(shape)
        constants = {(3,): "K3", (17,): "K17", (50,): "K50", (6, 7): "K6x7"}
        return f"{number} * {constants[shape]}" if shape in constants else f"np.full({shape}, 1.0) * {number}"

    def scalar(self) -> str:
        """An expression of one float."""
        x = self.find(lambda v: v.kind == "f")
        if x is None:
            return "0.5"
        if not x.shape:
            return x.text
        if self.chance(50):
            return f"np.mean({x.text})"
        return f"of({x.text})[{', '.join(self.index(n) for n in x.shape)}]"

    def literal(self, shape: Shape) -> str:
        """Floats that are known while tracing."""
        if not shape:
            return str(self.pick(["0.0", "0.5", "-0.25"]))
        return str(self.pick([f"np.zeros({shape})", f"np.full({shape}, 0.5)", f"np.ones({shape})"]))

    def integer(self, most: int | None = None) -> Value:
        """One integer, of 0..most if that is given."""
        found = self.find(lambda v: v.kind == "i" and not v.shape)
        if found is None or self.chance(15):
            number = self.source.integer(0, LARGEST_INTEGER if most is None else min(most, LARGEST_INTEGER))
            return Value(str(number), (), "i", number, number)
        if most is not None and (found.high > most or found.low < 0):
            return Value(f"({found.text} % {most + 1})", (), "i", 0, most)
        return found

    def integers(self) -> str:
        """Three integers of 0..LARGEST_INTEGER."""
        found = self.find(lambda v: v.kind == "i" and v.shape == (3,) and v.low >= 0 and v.high <= LARGEST_INTEGER)
        if found is None:
            return f"(np.arange(3) * 2 + {self.integer(LARGEST_INTEGER).text}) % {LARGEST_INTEGER + 1}"
        added = f"({found.text} + {self.integer().text}) % {LARGEST_INTEGER + 1}"
        return str(self.pick([found.text, f"{found.text}[::-1]", added]))

    def boolean(self) -> str:
        return f"np.bool_({self.pick(['True', 'False'])})"

    def index(self, extent: int) -> str:
        """An index into an axis of ``extent``."""
        value = self.integer(extent - 1)
        return f"-1 - {value.text}" if self.chance(15) else value.text

    def predicate(self) -> str:
        """One boolean."""
        found = self.find(lambda v: v.kind == "b")
        if found is not None and self.chance(25):
            return found.text
        if self.chance(65):
            form = self.pick(["{0} % 2 == 0", "{0} > 1", "{0} % 3 != 1", "{0} < {1}"])
            return str(form.format(self.integer().text, self.integer().text))
        return f"{self.scalar()} > {self.pick(['0.1', '-0.2', '0.33'])}"

    def view(self, shape: Shape) -> str:
        """An expression that moves the elements of a value of ``shape``, or of ones from which that can be cut."""
        if len(shape) == 1:
            (n,) = shape
            wider = self.find(lambda v: v.kind == "f" and len(v.shape) == 1 and v.shape[0] > n)
            if wider is not None and self.chance(30):
                return f"{wider.text}[{wider.shape[0] - n}:]" if self.chance(50) else f"{wider.text}[:{n}]"
            if n == 7 and (x := self.find(lambda v: v.kind == "f" and v.shape == (6, 7))) is not None and self.chance(50):
                return f"of({x.text})[{self.index(6)}]"
            x = self.float_of(shape)
            return str(self.pick([f"({x})[::-1]", f"np.concatenate([({x})[1:], ({x})[:1]])", f"-({x})[::-1]"]))
        if len(shape) == 2:
            n, m = shape
            other = self.find(lambda v: v.kind == "f" and v.shape == (m, n))
            if other is not None and self.chance(60):
                return f"{other.text}.T"
            x = self.float_of(shape)
            return str(self.pick([f"({x})[::-1]", f"({x})[:, ::-1]", f"({x}).T.reshape({shape})"]))
        return f"({self.float_of(shape)})[::-1]" if shape else self.scalar()

    # ------------------------------------------------------------------------------------------------ steps

    def unary(self) -> None:
        x = self.find(lambda v: v.kind == "f")
        if x is not None:
            form = self.pick([
                "np.sin({0})", "np.tanh({0})", "np.cos({0})", "np.exp(-{0} * {0})", "-{0}", "0.5 * {0}", "{0} * {0}",
                "np.sqrt(1.0 + {0} * {0}) - 1.0", "0.9 * np.log(2.5 + {0})", "1.0 / (2.5 + {0})",
            ])
            self.let(form.format(x.text), x.shape)

    def binary(self) -> None:
        x = self.find(lambda v: v.kind == "f")
        if x is None:
            return
        y = self.float_of(x.shape if self.chance(75) else ())
        form = self.pick([
            "0.5 * ({0} + {1})", "{0} * ({1})", "0.5 * ({0} - ({1}))", "np.sin({0} + {1})", "np.cos({0}) * ({1})",
            "{0} / (1.0 + ({1}) * ({1}))", "np.where({2}, {0}, {1})", "np.tanh({0} - 0.5 * ({1}))",
        ])
        self.let(form.format(x.text, y, self.predicate() if "{2}" in form else ""), x.shape)

    def with_integer(self) -> None:
        x, i = self.find(lambda v: v.kind == "f"), self.integer()
        if x is not None:
            self.let(self.pick(["{0} * np.cos({1} * 1.0)", "0.5 * {0} + 0.01 * {1}"]).format(x.text, i.text), x.shape)

    def count(self) -> None:
        i, j = self.integer(), self.integer()
        most = self.pick([1, 2, LARGEST_INTEGER])
        form = self.pick(["({0} + 1) % {2}", "({0} + {1}) % {2}", "({0} * 3 + 1) % {2}", "np.where({3}, {0}, {1}) % {2}"])
        self.let(form.format(i.text, j.text, most + 1, self.predicate() if "{3}" in form else ""), (), "i", 0, most)

    def compare(self) -> None:
        self.let(self.predicate(), (), "b")

    def reduce(self) -> None:
        x = self.find(lambda v: v.kind == "f" and bool(v.shape))
        if x is None:
            return
        if len(x.shape) == 2 and self.chance(60):
            axis = self.source.integer(0, 1)
            self.let(f"np.mean({x.text}, axis={axis})", (x.shape[1 - axis],))
        elif self.chance(20):
            self.let(f"np.cumsum({x.text}, axis=0) / {float(x.shape[0])}", x.shape)
        else:
            self.let(self.pick(["np.mean({0})", "np.mean({0} * {0})", "np.sum({0}) / {1}"]).format(
                x.text, float(prod(x.shape))), ())

    def dot(self) -> None:
        x = self.find(lambda v: v.kind == "f" and 1 <= len(v.shape) <= 2)
        if x is None:
            return
        y = self.find(lambda v: v.kind == "f" and 1 <= len(v.shape) <= 2 and v.shape[0] == x.shape[-1])
        text = x.text if y is None else y.text
        if y is None:
            y, text = replace(x, shape=x.shape[::-1]), f"{x.text}.T"
        self.let(f"{x.text} @ {text} / {float(x.shape[-1])}", (*x.shape[:-1], *y.shape[1:]))

    def outer(self) -> None:
        x, y = (self.find(lambda v: v.kind == "f" and len(v.shape) == 1 and v.shape[0] in (3, 6, 7)) for _ in range(2))
        if x is not None and y is not None:
            self.let(f"{x.text}[:, None] * {y.text}[None, :]", (*x.shape, *y.shape))

    def gather(self) -> None:
        x = self.find(lambda v: v.kind == "f" and bool(v.shape))
        if x is None:
            return
        n, rest = x.shape[0], x.shape[1:]
        kind = self.source.integer(0, 5)
        if kind == 0:
            self.let(f"of({x.text})[({self.integers()}) % {n}]", (3, *rest))
        elif kind == 1 and len(rest) == 1:
            self.let(f"of({x.text})[:, {self.index(rest[0])}]", (n,))
        elif kind == 2 and n >= 3:
            self.let(f"lax.dynamic_slice_in_dim({x.text}, {self.integer().text}, 3)", (3, *rest))
        elif kind == 3 and not rest:
            # The index may lie beyond the end where the branch is not taken.
            i = self.integer()
            other = self.float_of(())
            self.let(f"lax.cond({i.text} < {n}, lambda x, i: x[i] * 1.0, lambda x, i: {other} * 1.0, {x.text}, {i.text})", ())
        else:
            self.let(f"of({x.text})[{self.index(n)}]", rest)

    def updated(self, x: str, shape: Shape) -> str:
        """An expression of ``x`` with some elements changed."""
        n, rest = shape[0], shape[1:]
        i = self.index(n)
        kind = self.source.integer(0, 9)
        if kind == 0:
            operation = self.pick(["add(0.1 * ", "add(0.1 * ", "set(1.0 * ", "multiply(1.0 * "])
            return f"at({x})[({self.integers()}) % {n}].{operation}({self.float_of((3, *rest) if self.chance(60) else ())}))"
        if kind == 1 and len(rest) == 1:
            return f"at({x})[:, {self.index(rest[0])}].set({self.float_of((n,))})"
        if kind == 2 and len(rest) == 1:
            return f"at({x})[{i}, {self.index(rest[0])}].set({self.float_of(())})"
        if kind == 3:
            return f"lax.dynamic_update_slice_in_dim({x}, 0.5 * ({x})[:2], {self.integer().text}, 0)"
        value = self.float_of(rest if self.chance(70) else ())
        if kind in (4, 5):
            return f"at({x})[{i}].set({value})"
        if kind == 6:
            return f"at({x})[{i}].add(0.5 * ({value}) - 0.5 * of({x})[{i}])"
        if kind == 7:
            return f"at({x})[{i}].multiply({value})"
        if kind == 8:
            return f"at({x})[{i}].set(0.5 * of({x})[{self.index(n)}] + 0.5 * ({value}))"
        return f"at({x})[{i}].add(0.1 * ({value}))"

    def scatter(self) -> None:
        x = self.find(lambda v: v.kind == "f" and bool(v.shape))
        if x is not None:
            self.let(self.updated(x.text, x.shape), x.shape)

    def move(self) -> None:
        x = self.find(lambda v: v.kind == "f" and bool(v.shape))
        if x is not None:
            self.let(self.view(x.shape), x.shape)

    # ---------------------------------------------------------------------------------------------- control flow

    def room(self, iterations: int) -> bool:
        return self.iterations * max(iterations, 1) <= MAXIMUM_ITERATIONS

    def starts(self) -> list[Value]:
        """What a loop carries: where it starts, and its type."""
        found = []
        for _ in range(self.source.integer(1, 4)):
            if self.chance(30):
                kind = self.pick(["integer", "integer", "integers", "boolean"])
                found.append(
                    Value(self.integer(LARGEST_INTEGER).text, (), "i", 0, LARGEST_INTEGER) if kind == "integer"
                    else Value(self.integers(), (3,), "i", 0, LARGEST_INTEGER) if kind == "integers"
                    else Value(self.boolean(), (), "b"))
                continue
            own = self.find(lambda v: v.kind == "f")
            shape = own.shape if own is not None and self.chance(85) else self.pick(self.shapes)
            if found and found[-1].kind == "f" and self.chance(35):
                shape = found[-1].shape  # so that they can be exchanged
            kind = self.source.integer(0, 9)
            text = self.literal(shape) if kind == 0 else self.view(shape) if kind == 1 else self.float_of(shape)
            found.append(Value(text, shape))
        return found

    def following(self, carried: Sequence[Value]) -> list[str]:
        """What the body hands on."""
        texts = []
        for carry in carried:
            if carry.kind == "b":
                texts.append(self.pick([carry.text, f"np.logical_not({carry.text})", self.predicate()]))
                continue
            if carry.shape and carry.kind == "i":
                changed = f"at({carry.text})[{self.index(3)}].set({self.integer(LARGEST_INTEGER).text})"
                texts.append(self.pick([carry.text, self.integers(), changed]))
                continue
            if carry.kind == "i":
                i = self.integer()
                j = self.integer()
                texts.append(self.pick([
                    f"({carry.text} + 1) % {LARGEST_INTEGER + 1}", f"({i.text} + {j.text}) % {LARGEST_INTEGER + 1}",
                    f"{i.text} % {LARGEST_INTEGER + 1}", carry.text,
                ]))
                continue
            same = [c.text for c in carried if c.kind == "f" and c.shape == carry.shape]
            kind = self.source.integer(0, 19)
            if kind <= 1:
                texts.append(carry.text)
            elif kind <= 4:
                texts.append(self.pick(same))
            elif kind == 5:
                texts.append(self.view(carry.shape))
            elif kind == 6:
                texts.append(self.literal(carry.shape))
            elif (kind <= 8 or (self.updating and kind <= 14)) and carry.shape:
                texts.append(self.updated(self.pick(same), carry.shape))
            elif kind == 9:
                texts.append(f"0.5 * ({self.pick(same)} + {self.float_of(carry.shape)})")
            else:
                texts.append(self.float_of(carry.shape))
        return texts

    def body(self, carried: Sequence[Value]) -> list[str]:
        """Some steps, and what they hand on."""
        for _ in range(self.source.integer(0, 4)):
            self.step()
        return self.following(carried)

    def carries(self, starts: Sequence[Value], names: Sequence[str]) -> list[Value]:
        found = [replace(start, text=name) for start, name in zip(starts, names, strict=True)]
        self.scope += found
        return found

    def results(self, pattern: Callable[[Sequence[str]], str], text: str, types: Sequence[Value]) -> None:
        """Variables for what ``text`` gives."""
        names = [self.name() for _ in types]
        self.line(f"{pattern(names)} = {text}")
        self.scope += [replace(t, text=name) for t, name in zip(types, names, strict=True)]

    def scan(self) -> None:
        starts = self.starts()
        xs: list[Value] = []
        first = self.find(lambda v: v.kind == "f" and bool(v.shape) and self.room(v.shape[0]))
        if first is not None and self.chance(60):
            length = first.shape[0]
            xs.append(first)
            other = self.find(lambda v: v.kind == "f" and v.shape[:1] == (length,))
            if other is not None and self.chance(40):
                xs.append(other)
        else:
            length = self.pick([0, 1, 2, 3, 3, 4, 5])
            if not self.room(length):
                return
        if length and self.chance(30):
            xs.append(Value(f"np.arange({length})", (length,), "i", 0, length - 1))
        name = self.name("step")
        names = [self.name() for _ in starts]
        elements = [self.name() for _ in xs]
        ys: list[Value] = []
        with self.inner(f"def {name}(carry, x):", length):
            if names:
                self.line(f"{_nested(names)} = carry")
            if elements:
                self.line(f"{_tuple(elements)} = x")
            carried = self.carries(starts, names)
            self.scope += [replace(x, text=e, shape=x.shape[1:]) for x, e in zip(xs, elements, strict=True)]
            following = self.body(carried)
            for _ in range(self.source.integer(0, 2)):
                y = self.find(lambda v: v.kind in "fi" and prod(v.shape) * max(length, 1) <= 400)
                if y is not None and self.chance(70):
                    ys.append(y)
                elif (c := self.pick(carried)).kind == "f":
                    ys.append(replace(c, text=following[carried.index(c)]))
                else:
                    ys.append(Value(self.literal((3,)), (3,)))
            as_dictionary = self.chance(30)
            if as_dictionary:
                stacked = "{" + ", ".join(f"'{'ba'[i % 2]}{i}': {y.text}" for i, y in enumerate(ys)) + "}"
            else:
                stacked = _tuple([y.text for y in ys])
            self.line(f"return {_nested(following)}, {stacked}")
        options = ", reverse=True" if self.chance(35) else ""
        kind = self.source.integer(0, 99)
        if kind < 8:
            options += f", unroll={self.pick(['2', '3', 'True'])}"
        elif kind < 20:
            options += f", checkpoint={self.pick(['1', '2', repr('sqrt'), repr('binomial')])}"
        given = _tuple([x.text for x in xs]) if xs else f"None, length={length}"
        for start in self._twice(starts):
            out, ys_name = self.name("carry"), self.name("ys")
            self.line(f"{out}, {ys_name} = lax.scan({name}, {_nested(start)}, {given}{options})")
            self.results(_nested, out, starts)
            for i, y in enumerate(ys):
                key = f"'{'ba'[i % 2]}{i}'" if as_dictionary else str(i)
                # Results without elements are of no use to other steps.
                self.let(f"{ys_name}[{key}]", (length, *y.shape), y.kind if length else "e", y.low, y.high)

    def _twice(self, starts: Sequence[Value]) -> Iterator[list[str]]:
        """Texts of the operands of one call of a body, or of two: the second time from other values."""
        yield [s.text for s in starts]
        if self.chance(20):
            yield [self.boolean() if s.kind == "b" else self.integers() if s.kind == "i" and s.shape
                   else self.integer(s.high).text if s.kind == "i" else self.float_of(s.shape) for s in starts]

    def fori(self) -> None:
        starts = self.starts()
        name, i = self.name("body"), self.name("i")
        count: Value | None = self.integer(self.pick([2, 5])) if self.chance(35) else None
        lower = self.pick([0, 0, 0, 1, 2])
        steps = self.pick([0, 1, 2, 3, 5]) if count is None else count.high
        if not self.room(steps):
            return
        upper = str(lower + steps) if count is None else f"{count.text} + {lower}"
        names = [self.name() for _ in starts]
        with self.inner(f"def {name}({i}, carry):", steps):
            self.line(f"{_nested(names)} = carry")
            carried = self.carries(starts, names)
            self.scope.append(Value(i, (), "i", lower, lower + max(steps - 1, 0)))
            self.line(f"return {_nested(self.body(carried))}")
        for start in self._twice(starts):
            self.results(_nested, f"lax.fori_loop({lower}, {upper}, {name}, {_nested(start)})", starts)

    def while_loop(self) -> None:
        starts = self.starts()
        most = self.integer(self.pick([2, 5]))
        if not self.room(5):
            return
        name, counter = self.name("body"), self.name("n")
        names = [self.name() for _ in starts]
        with self.inner(f"def {name}_holds(carry):"):
            self.line(f"{_nested([counter, *names])} = carry")
            carried = self.carries(starts, names)
            scalars = [v for v in carried if v.kind == "f"]
            test = f"{counter} < {most.text}"
            if scalars and self.chance(60):
                x = self.pick(scalars)
                own = x.text if not x.shape else self.pick([f"np.mean({x.text})", f"np.sum({x.text} * {x.text})"])
                test = f"np.logical_and({counter} < 5, {own} {self.pick(['< 0.3', '> -0.2', '> 0.05'])})"
            self.line(f"return {test}")
        with self.inner(f"def {name}(carry):", 5):
            self.line(f"{_nested([counter, *names])} = carry")
            carried = self.carries(starts, names)
            self.scope.append(Value(counter, (), "i", 0, 5))
            self.line(f"return {_nested([f'{counter} + 1', *self.body(carried)])}")
        for start in self._twice(starts):
            self.results(_nested, f"lax.while_loop({name}_holds, {name}, {_nested(['0', *start])})",
                         [Value("", (), "i", 0, LARGEST_INTEGER), *starts])

    def branch(self) -> None:
        count = self.pick([2, 2, 2, 3, 1])
        is_predicate = count == 2 and self.chance(75)
        selector = self.predicate() if is_predicate else self.integer().text
        results = [v for v in self.starts() if v.kind == "f"]
        if not results:
            return
        operands = results if self.chance(60) else []
        names = [self.name() for _ in operands]
        branches = []
        for _ in range(count):
            branches.append(self.name("branch"))
            with self.inner(f"def {branches[-1]}({', '.join(names)}):"):
                given = self.carries(operands, names)
                if not given or self.chance(70):
                    texts = self.body(given or results)
                else:  # untouched, so that one branch only updates an array
                    texts = [v.text for v in given]
                # A number of Python would have a dtype that the other branch's array has not.
                strong = [text if v.shape else f"1.0 * ({text})" for v, text in zip(results, texts, strict=True)]
                self.line(f"return {_tuple(strong)}")
        call = "".join(f", {v.text}" for v in operands)
        if is_predicate:
            self.results(_tuple, f"lax.cond({selector}, {branches[0]}, {branches[1]}{call})", results)
        else:
            self.results(_tuple, f"lax.switch({selector}, [{', '.join(branches)}]{call})", results)

    def map(self) -> None:
        x = self.find(lambda v: v.kind == "f" and bool(v.shape) and self.room(v.shape[0]))
        if x is None:
            return
        name, element = self.name("each"), self.name()
        with self.inner(f"def {name}({element}):", x.shape[0]):
            self.scope.append(Value(element, x.shape[1:]))
            for _ in range(self.source.integer(0, 3)):
                self.step()
            y = self.float_of(x.shape[1:])
            self.line(f"return {y} * 1.0")
        if self.chance(40):
            self.let(f"gx.vmap({name})({x.text})", x.shape)
            return
        size = f", batch_size={self.pick([1, 2, 4])}" if self.chance(25) else ""
        self.let(f"lax.map({name}, {x.text}{size})", x.shape)

    def derivative(self) -> None:
        """The derivative of a function."""
        x = self.find(lambda v: v.kind == "f")
        if x is None:
            return
        name, argument = self.name("inner"), self.name()
        # As many iterations as a derivative costs evaluations.
        with self.inner(f"def {name}({argument}):", 3):
            self.scope.append(Value(argument, x.shape))
            for _ in range(self.source.integer(1, 3)):
                self.step()
            self.line(f"return np.mean({self.float_of(x.shape)}) + np.mean({self.scope[-1].text} * 1.0)"
                      if self.scope[-1].kind == "f" and self.scope[-1].shape != () else
                      f"return np.mean({self.float_of(x.shape)} * 1.0)")
        if self.chance(60):
            self.let(f"np.tanh(gx.grad({name})({x.text} * 1.0))", x.shape)
        else:
            self.let(f"np.tanh(gx.jvp({name}, ({x.text} * 1.0,), ({self.float_of(x.shape)} * 1.0,))[1])", ())

    def helper(self) -> None:
        """A function, jitted or not, that is called twice."""
        parameters = [v for v in self.starts() if v.kind == "f"]
        if not parameters:
            return
        name = self.name("helper")
        names = [self.name() for _ in parameters]
        if self.chance(60):
            self.line("@gx.jit")
        kept = self.scope
        with self.inner(f"def {name}({', '.join(names)}):"):
            # It closes over nothing: jit keeps what it has compiled.
            outer, self.scope = self.scope, []
            carried = self.carries(parameters, names)
            texts = self.body(carried)
            self.line(f"return {_tuple(texts)}")
            self.scope = outer
        assert self.scope is kept
        self.results(_tuple, f"{name}({', '.join(v.text for v in parameters)})", parameters)
        self.results(_tuple, f"{name}({', '.join(self.float_of(v.shape) for v in parameters)})", parameters)

    def step(self) -> None:
        """One step more, of a random kind."""
        if self.steps_left <= 0:
            return
        self.steps_left -= 1
        plain = [self.unary, self.unary, self.binary, self.binary, self.with_integer, self.count, self.compare, self.reduce,
                 self.dot, self.outer, self.gather, self.gather, self.scatter, self.scatter, self.move]
        if self.updating:
            plain = [self.binary, self.count, self.gather, self.gather, self.gather, self.scatter, self.scatter, self.scatter,
                     self.scatter, self.move]
        control = [self.scan, self.scan, self.fori, self.fori, self.while_loop, self.branch, self.branch, self.map,
                   self.derivative]
        if self.depth == 0:
            control.append(self.helper)
        if self.depth < MAXIMUM_DEPTH and self.chance(60 if self.depth == 0 else 25):
            self.pick(control)()
        else:
            self.pick(plain)()

    def write(self, inputs: Sequence[Any], count: int) -> Function:
        for x in inputs:
            kind = np.asarray(x).dtype.kind
            self.scope.append(Value(self.name(), np.shape(x), kind, 0, LARGEST_INTEGER if kind == "i" else 0))
        parameters = ", ".join(v.text for v in self.scope)
        given = len(self.scope)
        for _ in range(count):
            self.step()
        made = [v for v in self.scope[given:] if v.kind in "fie"]
        body = "\n".join(self.lines)
        outputs = [v for v in made if body.count(v.text) == 1][-4:] + made[-3:]
        if self.chance(40):
            outputs.append(self._recent(self.scope))
        texts = list(dict.fromkeys(v.text for v in outputs)) or [self.scope[0].text]
        if self.chance(20):
            texts.append(texts[0])
        self.line(f"return {_tuple(texts)}")
        return Function("\n".join([f"def function({parameters}):", *self.lines]), tuple(inputs))


def _nested(parts: Sequence[str]) -> str:
    """A carry: a tuple, or from four parts on a tuple within one."""
    return _tuple(parts) if len(parts) < 4 else f"({parts[0]}, {_tuple(parts[1:-1])}, {parts[-1]})"


def _tuple(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def inputs_for(writer: Writer, seed: int) -> list[Any]:
    """Arguments: arrays and numbers in [-1, 1], an integer or two."""
    generator = np.random.default_rng(seed)
    shapes = [shape for shape in writer.shapes if shape]
    chosen = [writer.pick(shapes), *(writer.pick(writer.shapes) for _ in range(writer.source.integer(1, 3)))]
    found: list[Any] = [np.asarray(generator.uniform(-1, 1, shape)) if shape else np.float64(generator.uniform(-1, 1))
                        for shape in chosen]
    return found + [np.int64(generator.integers(0, LARGEST_INTEGER + 1)) for _ in range(writer.source.integer(0, 2))]


def write(source: Source, data_seed: int, longest: int = 8) -> Function:
    """A random function."""
    writer = Writer(source, 4 * longest)
    writer.updating = writer.chance(50)
    if writer.chance(50):
        # Arrays of the same type, which loops can exchange.
        writer.shapes = writer.pick([((50,), ()), ((6, 7), (6, 7), (7,)), ((17,), (17,), ()), ((3,), (50,))])
    return writer.write(inputs_for(writer, data_seed), writer.source.integer(2, longest))


def seeded(seed: int, longest: int = 8) -> Function:
    """The random function of a seed."""
    return write(Seeded(seed), seed, longest)


@st.composite
def functions(draw: Callable[[Any], Any], longest: int = 5) -> Function:
    """Random functions for hypothesis."""
    return write(Drawn(draw), draw(st.integers(0, 999)), longest)


def lanes_of(arguments: Sequence[Any], flags: Sequence[bool], size: int, seed: int) -> list[Any]:
    """The arguments with a leading axis where flagged, along which they differ: integers too, and so numbers of iterations."""
    generator = np.random.default_rng(seed)
    result = []
    for argument, flag in zip(arguments, flags, strict=True):
        if not flag:
            result.append(argument)
            continue
        shape = (size, *np.shape(argument))
        kind = np.asarray(argument).dtype.kind
        other = generator.integers(0, LARGEST_INTEGER + 1, shape) if kind == "i" else generator.uniform(-1, 1, shape)
        other = np.asarray(other, np.asarray(argument).dtype)
        other[0] = argument
        result.append(other)
    return result
