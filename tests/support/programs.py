"""Random well-typed functions over the primitives.

`write` grows a function step by step. It carries along the values of one example, so that each step can be chosen
to stay in its domain, to keep numbers moderate and to stay away from jumps: two evaluations that differ by rounding
must give the same integers and booleans. Where a comparison would be close, values must be *exact* (inputs, and what
only moves or chooses among them), and then ties are welcome.

Steps are data: a function prints as the Python source that reproduces it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
from hypothesis import strategies as st

from gradxform import primitives as P
from gradxform.core import Builder
from gradxform.errors import GradxformError
from gradxform.ir import ArrayType, Program, check

FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)
INT64, INT32, UINT8, BOOL = np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.uint8), np.dtype(np.bool_)

#: Elements an array may have, and the largest magnitude a float may reach.
MAXIMUM_SIZE = 96
LARGE_SIZE = 6000
MAXIMUM_MAGNITUDE = 40.0
#: Floats that differ by less may not be compared unless they are exact.
MARGIN = 1e-3


class Source(Protocol):
    """Where choices come from."""

    def integer(self, low: int, high: int) -> int:
        """An integer of low..high, both included."""
        ...


class Seeded:
    """Choices from a seed: fast, and without shrinking."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class Drawn:
    """Choices that hypothesis makes, and shrinks."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))


@dataclass(frozen=True)
class Step:
    """``constructor(*operands, **params)``; an operand is the number of a value, or a constant wrapped in a tuple."""

    constructor: str
    operands: tuple[Any, ...]
    params: tuple[tuple[str, Any], ...] = ()
    listed: bool = False

    def __call__(self, values: Sequence[Any]) -> Any:
        operands = [values[x] if isinstance(x, int) else x[0] for x in self.operands]
        apply = getattr(P, self.constructor)
        return apply(operands, **dict(self.params)) if self.listed else apply(*operands, **dict(self.params))

    def __str__(self) -> str:
        operands = ", ".join(f"v{x}" if isinstance(x, int) else _literal(x[0]) for x in self.operands)
        operands = f"[{operands}]" if self.listed else operands
        params = "".join(f", {name}={_literal(value)}" for name, value in self.params)
        return f"P.{self.constructor}({operands}{params})"


def _literal(value: Any) -> str:
    if isinstance(value, np.dtype):
        return f"np.dtype('{value}')"
    return f"np.{value!r}" if isinstance(value, np.generic) and not repr(value).startswith("np.") else repr(value)


@dataclass(frozen=True)
class Function:
    """A random function: call it with arrays or tracers. ``inputs`` are arguments for which it was made."""

    inputs: tuple[Any, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    name: str = field(default="function")

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        values = list(arguments)
        for step in self.steps:
            values.append(step(values))
        return tuple(values[i] for i in self.outputs)

    def __str__(self) -> str:
        count = len(self.inputs)
        lines = [f"def function({', '.join(f'v{i}' for i in range(count))}):"]
        lines += [f"    v{count + i} = {step}" for i, step in enumerate(self.steps)]
        lines.append(f"    return {', '.join(f'v{i}' for i in self.outputs)},")
        lines += [
            f"v{i} = np.array({np.asarray(x).tolist()!r}, np.{np.asarray(x).dtype}).reshape({np.shape(x)})"
            for i, x in enumerate(self.inputs)
        ]
        return "\n".join(lines)

    __repr__ = __str__

    @property
    def floats(self) -> tuple[bool, ...]:
        """Which inputs are of a float dtype."""
        return tuple(np.asarray(x).dtype.kind == "f" for x in self.inputs)


def trace(function: Callable[..., Any], arguments: Sequence[Any]) -> Program:
    """The checked program of ``function`` for arguments of these types; it must capture nothing."""
    builder = Builder("test")
    with builder:
        tracers = [builder.add_input(ArrayType(np.asarray(a).dtype, np.shape(a))) for a in arguments]
        result = function(*tracers)
        program, captures = builder.finish(result if isinstance(result, (tuple, list)) else [result])
    assert not captures
    return check(program)


class Writer:
    """Grows a function. Methods that add a step return the number of its value, or None if it was rejected."""

    def __init__(self, source: Source, smooth: bool, dtypes: Sequence[np.dtype[Any]], large: bool = False) -> None:
        self.source = source
        self.smooth = smooth
        self.large = large
        self.maximum_size = LARGE_SIZE if large else MAXIMUM_SIZE
        self.dtypes = list(dtypes)
        self.values: list[Any] = []
        self.exact: list[bool] = []
        self.steps: list[Step] = []
        self.used: set[int] = set()
        self.input_count = 0

    # ---------------------------------------------------------------------------------------------------- choices

    def chance(self, percent: int) -> bool:
        return self.source.integer(1, 100) <= percent

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.source.integer(0, len(options) - 1)]

    def value(self, kinds: str = "biuf", rank: int = 0, condition: Callable[[Any], bool] | None = None) -> int | None:
        """The number of a value of one of these kinds and at least that rank; recent ones are likelier."""
        found = [
            i
            for i, x in enumerate(self.values)
            if x.dtype.kind in kinds and x.ndim >= rank and (condition is None or condition(x))
        ]
        if not found:
            return None
        return int(max(self.pick(found), self.pick(found))) if self.chance(60) else int(self.pick(found))

    def partner(self, x: int) -> Any:
        """Another operand for an elementwise step beside ``x``: of its shape or rank 0, or a constant."""
        own = self.values[x]
        found = [
            i
            for i, y in enumerate(self.values)
            if y.dtype == own.dtype and (y.shape == own.shape or not y.shape or not own.shape)
        ]
        if self.chance(25) or not found:
            return (self.constant(own.dtype),)
        return self.pick(found)

    def constant(self, dtype: np.dtype[Any]) -> Any:
        if dtype.kind == "b":
            return np.bool_(self.chance(50))
        if dtype.kind == "f":
            number = self.pick([-1.5, -1.0, -0.5, 0.25, 0.5, 1.0, 2.0, 3.0])
        else:
            number = self.pick([0, 1, 2, 3, 5])
        return number if self.chance(50) else dtype.type(number)

    # ------------------------------------------------------------------------------------------------------ adding

    def add_input(self, value: Any, exact: bool) -> int:
        self.values.append(value)
        self.exact.append(exact)
        self.input_count += 1
        return len(self.values) - 1

    def put(self, constructor: str, *operands: Any, exact: bool = False, listed: bool = False, **params: Any) -> int | None:
        """Add a step unless its value is too large or not moderate. ``exact``: no rounding for exact operands."""
        step = Step(constructor, operands, tuple(sorted(params.items())), listed)
        numbers = [x for x in operands if isinstance(x, int)]
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(step(self.values))
        except GradxformError as error:
            raise AssertionError(f"the writer wrote an invalid step {step}: {error}") from error
        if value.size > self.maximum_size:
            return None
        if value.dtype.kind == "f" and value.size and not np.max(np.abs(value)) <= MAXIMUM_MAGNITUDE:
            return None
        if any(value is self.values[n] for n in numbers):
            return numbers[0]
        self.steps.append(step)
        self.values.append(value)
        exact = (exact and all(self.exact[n] for n in numbers)) or value.dtype.kind != "f"
        self.exact.append(exact)
        self.used.update(numbers)
        return len(self.values) - 1

    # ------------------------------------------------------------------------------------- conditions on comparisons

    def comparable(self, *operands: Any) -> bool:
        """Whether rounding cannot change how the operands compare."""
        if all(self.exact[x] for x in operands if isinstance(x, int)):
            return True
        x, y = (np.asarray(self.values[o] if isinstance(o, int) else o[0]) for o in operands)
        return bool(np.all(np.abs(np.subtract(x, y, dtype=np.float64)) > MARGIN))

    def separated(self, x: int, axes: tuple[int, ...]) -> bool:
        """Whether rounding cannot change which elements along ``axes`` are extremal."""
        value = self.values[x]
        if self.exact[x]:
            return True
        kept = [a for a in range(value.ndim) if a not in axes]
        count = prod(value.shape[a] for a in axes)
        lines = np.sort(np.transpose(value, (*kept, *axes)).reshape(-1, count), axis=1) if value.size else np.zeros((0, 1))
        return bool(np.all(np.diff(lines, axis=1) > MARGIN))

    def off_integers(self, x: int) -> bool:
        """Whether rounding cannot change the integer part."""
        value = self.values[x]
        return self.exact[x] or bool(
            np.all(np.abs(value - np.rint(value)) > MARGIN) and np.all(np.abs(value - np.trunc(value) - 0.5) > MARGIN)
        )

    # ----------------------------------------------------------------------------------------------------- elementwise

    def tame(self, x: int) -> int | None:
        """A value in (-1, 1)."""
        return self.put(self.pick(["tanh", "sin", "erf"]), x)

    def positive(self, x: int) -> int | None:
        """A value of at least 0.5."""
        square = self.put("square", x)
        return None if square is None else self.put("add", square, (self.values[x].dtype.type(0.5),))

    def unary(self) -> int | None:
        x = self.value("f")
        if x is None:
            return None
        return self.put(self.pick(["sin", "cos", "tanh", "sigmoid", "erf", "arctan", "arcsinh", "erfc"]), x)

    def unary_polynomial(self) -> int | None:
        x = self.value("iuf")
        if x is None:
            return None
        name = self.pick(["neg", "square", "integer_pow"])
        if name == "integer_pow":
            return self.put(name, x, exponent=self.pick([0, 1, 2, 3, 4, 5]))
        return self.put(name, x, exact=name == "neg")

    def unary_of_positive(self) -> int | None:
        x = self.value("f")
        base = None if x is None else self.positive(x)
        if base is None:
            return None
        names = ["log", "sqrt", "rsqrt", "reciprocal", "log1p", "log2", "log10", "lgamma", "digamma", "cbrt", "integer_pow"]
        name = self.pick(names)
        return self.put(name, base, **({"exponent": self.pick([-1, -2, -3])} if name == "integer_pow" else {}))

    def unary_of_tame(self) -> int | None:
        x = self.value("f")
        base = None if x is None else self.tame(x)
        if base is None:
            return None
        name = self.pick(["exp", "expm1", "exp2", "sinh", "cosh", "tan", "arcsin", "arccos", "arctanh", "erfinv"])
        if name in ("arcsin", "arccos", "arctanh", "erfinv"):
            base = self.put("mul", base, (0.75,))
        return None if base is None else self.put(name, base)

    def binary(self) -> int | None:
        x = self.value("iuf")
        if x is None:
            return None
        other = self.partner(x)
        name = self.pick(["add", "sub", "mul", "mul"] + (["logaddexp"] if self.values[x].dtype.kind == "f" else []))
        if isinstance(other, tuple) and name == "add":
            other = (self.values[x].dtype.type(other[0]),)
        return self.put(name, *((x, other) if self.chance(50) else (other, x)))

    def binary_of_positive(self) -> int | None:
        x, y = self.value("f"), self.value("f")
        if x is None or y is None:
            return None
        y = self.positive(y)
        if y is None:
            return None
        if self.values[x].dtype != self.values[y].dtype or (
            self.values[x].shape != self.values[y].shape and self.values[x].shape and self.values[y].shape
        ):
            return None
        name = self.pick(["div", "arctan2", "hypot", "pow", "div"])
        if name == "pow":
            x = self.tame(x)
            return None if x is None else self.put("pow", y, x)
        return self.put(name, x, y)

    def kinked(self) -> int | None:
        x = self.value("iuf")
        if x is None:
            return None
        name = self.pick(["abs", "sign", "maximum", "minimum", "clamp", "copysign"])
        floats = self.values[x].dtype.kind == "f"
        if name in ("abs", "sign"):
            return self.put(name, x, exact=True) if self.comparable(x, (0.0,)) else None
        if name == "clamp":
            low, high = (self.values[x].dtype.type(n) for n in (0, 1))
            if not (self.comparable((low,), x) and self.comparable((high,), x)):
                return None
            return self.put("clamp", (low,), x, (high,), exact=True)
        y = self.partner(x)
        if name == "copysign":
            if not floats or not self.comparable(x, (0.0,)) or not self.comparable(y, (0.0,)):
                return None
            return self.put(name, x, y, exact=True)
        return self.put(name, x, y, exact=True) if self.comparable(x, y) else None

    def rounding(self) -> int | None:
        x = self.value("f")
        if x is None or not self.off_integers(x):
            return None
        return self.put(self.pick(["floor", "ceil", "rint", "trunc"]), x, exact=True)

    def division(self) -> int | None:
        """floor_divide and remainder: of integers by anything, of exact floats by powers of two."""
        x = self.value("iuf")
        if x is None:
            return None
        name = self.pick(["floor_divide", "remainder"])
        if self.values[x].dtype.kind == "f":
            return self.put(name, x, (0.5,), exact=True) if self.exact[x] else None
        return self.put(name, x, self.partner(x))

    def compare(self) -> int | None:
        x = self.value("biuf")
        if x is None:
            return None
        y = self.partner(x)
        if not self.comparable(x, y):
            return None
        return self.put(self.pick(["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"]), x, y)

    def logic(self) -> int | None:
        x = self.value("biu")
        if x is None:
            return None
        if self.values[x].dtype == BOOL:
            names = ["logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_xor", "bitwise_not"]
        else:
            names = ["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "left_shift", "right_shift"]
        name = self.pick(names)
        if name.endswith("not"):
            return self.put(name, x)
        if name.endswith("shift"):
            return self.put(name, x, (self.values[x].dtype.type(self.source.integer(0, 9)),))
        return self.put(name, x, self.partner(x))

    def select(self) -> int | None:
        condition, x = self.value("b"), self.value()
        if condition is None or x is None:
            return None
        y = self.partner(x)
        shapes = {
            np.shape(v)
            for v in (self.values[condition], self.values[x], self.values[y] if isinstance(y, int) else 0)
            if np.shape(v)
        }
        return self.put("select", condition, x, y, exact=True) if len(shapes) <= 1 else None

    def convert(self) -> int | None:
        x = self.value()
        if x is None:
            return None
        dtype = self.pick(self.dtypes)
        if self.values[x].dtype.kind == "f" and dtype.kind in "iub":
            if not self.off_integers(x) or (dtype.kind == "b" and not self.comparable(x, (0.0,))):
                return None
            if dtype.kind == "u" and self.values[x].size and np.min(self.values[x]) < 0:
                return None
        return self.put("convert", x, dtype=dtype, exact=True)

    # --------------------------------------------------------------------------------------------------------- movement

    def broadcast(self) -> int | None:
        x = self.value(condition=lambda v: v.ndim <= 3)
        if x is None:
            return None
        shape = list(self.values[x].shape)
        axes = list(range(len(shape)))
        for position, extent in enumerate(shape):
            if extent == 1 and self.chance(50):
                shape[position] = self.pick([0, 2, 3, 4])
        for _ in range(self.source.integer(0, 4 - len(shape))):
            place = self.source.integer(0, len(shape))
            shape.insert(place, self.pick([1, 2, 3, 4, 5]))
            axes = [a + (a >= place) for a in axes]
        return self.put("broadcast", x, shape=tuple(shape), axes=tuple(axes), exact=True)

    def reshape(self) -> int | None:
        x = self.value()
        if x is None:
            return None
        size = self.values[x].size
        shape: list[int] = []
        if size == 0:
            shape = list(self.values[x].shape)
            shape.insert(self.source.integer(0, len(shape)), self.pick([0, 1, 3]))
            return self.put("reshape", x, shape=tuple(shape), exact=True) if len(shape) <= 4 else None
        while size > 1 and len(shape) < 3 and self.chance(75):
            factor = self.pick([n for n in range(2, size + 1) if size % n == 0])
            shape.append(factor)
            size //= factor
        if size > 1:
            shape.append(size)
        if len(shape) < 4 and self.chance(30):
            shape.insert(self.source.integer(0, len(shape)), 1)
        return self.put("reshape", x, shape=tuple(shape), exact=True)

    def transpose(self) -> int | None:
        x = self.value(rank=2)
        if x is None:
            return None
        return self.put("transpose", x, permutation=self.order(self.values[x].ndim), exact=True)

    def order(self, count: int) -> tuple[int, ...]:
        left, found = list(range(count)), []
        while left:
            found.append(left.pop(self.source.integer(0, len(left) - 1)))
        return tuple(found)

    def slice_array(self) -> int | None:
        x = self.value(rank=1)
        if x is None:
            return None
        start, limit, strides = [], [], []
        for extent in self.values[x].shape:
            least = 0 if self.chance(10) else min(extent, 1)
            first = self.source.integer(0, extent - least) if self.chance(40) else 0
            start.append(first)
            limit.append(self.source.integer(first + least, extent) if self.chance(40) else extent)
            strides.append(self.pick([1, 1, 2, 3]))
        return self.put("slice_array", x, start=tuple(start), limit=tuple(limit), strides=tuple(strides), exact=True)

    def axes(self, x: int, at_least: int = 1) -> tuple[int, ...]:
        rank = self.values[x].ndim
        chosen = {self.source.integer(0, rank - 1) for _ in range(self.source.integer(at_least, max(at_least, rank)))}
        return tuple(sorted(chosen))

    def reverse(self) -> int | None:
        x = self.value(rank=1)
        return None if x is None else self.put("reverse", x, axes=self.axes(x), exact=True)

    def concatenate(self) -> int | None:
        x = self.value(rank=1)
        if x is None:
            return None
        own = self.values[x]
        axis = self.source.integer(0, own.ndim - 1)

        def rest(value: Any) -> tuple[int, ...]:
            return tuple(n for a, n in enumerate(value.shape) if a != axis)

        fitting = [i for i, y in enumerate(self.values) if y.ndim == own.ndim and y.dtype == own.dtype and rest(y) == rest(own)]
        parts = [x] + [int(self.pick(fitting)) for _ in range(self.source.integer(1, 2))]
        return self.put("concatenate", *parts, listed=True, axis=axis, exact=True)

    def pad(self) -> int | None:
        x = self.value(condition=lambda v: v.ndim >= 1 and v.size <= 24)
        if x is None:
            return None
        rank, dtype = self.values[x].ndim, self.values[x].dtype
        low, high, interior = (
            tuple(self.pick(options) for _ in range(rank)) for options in ([0, 0, 1, 2], [0, 0, 1, 2], [0, 0, 0, 1, 2])
        )
        scalars = [i for i, y in enumerate(self.values) if y.dtype == dtype and not y.shape]
        value = self.pick(scalars) if scalars and self.chance(40) else (dtype.type(self.constant(dtype)),)
        return self.put("pad", x, value, low=low, high=high, interior=interior, exact=True)

    def iota(self) -> int | None:
        shape = self.shape(at_least=1)
        dtypes = [d for d in self.dtypes if d.kind != "b"]
        return self.put("iota", shape=shape, dtype=self.pick(dtypes), axis=self.source.integer(0, len(shape) - 1), exact=True)

    # ------------------------------------------------------------------------------------------------------- reductions

    def reduce(self) -> int | None:
        x = self.value(rank=1)
        if x is None:
            return None
        axes = self.axes(x)
        if self.values[x].dtype == BOOL:
            return self.put(self.pick(["reduce_and", "reduce_or"]), x, axes=axes)
        name = self.pick(["reduce_sum", "reduce_sum", "reduce_max", "reduce_min", "reduce_prod"])
        if name == "reduce_prod" and self.values[x].dtype.kind == "f" and self.chance(50):
            x = self.tame(x)
            if x is None:
                return None
        if name in ("reduce_max", "reduce_min"):
            if self.values[x].size == 0 or not self.separated(x, axes) or (self.smooth and self.tied(x, axes)):
                return None
            return self.put(name, x, axes=axes, exact=True)
        return self.put(name, x, axes=axes)

    def tied(self, x: int, axes: tuple[int, ...]) -> bool:
        exact, self.exact[x] = self.exact[x], False
        found = not self.separated(x, axes)
        self.exact[x] = exact
        return found

    def argument(self) -> int | None:
        x = self.value("biuf", rank=1)
        if x is None or self.values[x].size == 0:
            return None
        axis = self.source.integer(0, self.values[x].ndim - 1)
        return self.put(self.pick(["argmax", "argmin"]), x, axis=axis) if self.separated(x, (axis,)) else None

    def cumulative(self) -> int | None:
        x = self.value("iuf", rank=1)
        if x is None:
            return None
        axis, reverse = self.source.integer(0, self.values[x].ndim - 1), self.chance(40)
        name = self.pick(["cumsum", "cumsum", "cumprod", "cummax", "cummin"])
        if name in ("cummax", "cummin") and (not self.separated(x, (axis,)) or (self.smooth and self.tied(x, (axis,)))):
            return None
        return self.put(name, x, axis=axis, reverse=reverse, exact=name in ("cummax", "cummin"))

    def dot(self) -> int | None:
        x = self.value("iuf")
        if x is None:
            return None
        y = self.value(condition=lambda v: v.dtype == self.values[x].dtype)
        if y is None:
            return None
        left, right = list(range(self.values[x].ndim)), list(range(self.values[y].ndim))
        pairs: dict[str, list[tuple[int, int]]] = {"batch": [], "contracting": []}
        for role in ("contracting", "batch", "contracting"):
            matching = [(a, b) for a in left for b in right if self.values[x].shape[a] == self.values[y].shape[b]]
            if matching and self.chance(75):
                a, b = self.pick(matching)
                pairs[role].append((a, b))
                left.remove(a)
                right.remove(b)
        params = {role: (tuple(a for a, _ in found), tuple(b for _, b in found)) for role, found in pairs.items()}
        return self.put("dot_general", x, y, **params)

    # --------------------------------------------------------------------------------------------------------- indexing

    def indices(self, extent: int, shape: tuple[int, ...]) -> int | None:
        """A value of indices into an axis of ``extent`` >= 1."""
        x = self.value("i", condition=lambda v: v.dtype == INT64 and v.shape == shape)
        if x is None:
            if not shape:
                return None
            x = self.put("iota", shape=shape, dtype=INT64, axis=self.source.integer(0, len(shape) - 1))
            if x is None:
                return None
            if self.chance(50):
                x = self.put("mul", x, (self.pick([2, 3, 5]),))
        return None if x is None else self.put("remainder", x, (extent,))

    def addressed(self) -> tuple[int, tuple[int, ...], list[int], int, tuple[int, ...]] | None:
        """An array, axes of it, an index value for each, and the number of batch axes."""
        x = self.value("iuf" if self.smooth or self.chance(80) else "biuf", rank=1)
        if x is None:
            return None
        value = self.values[x]
        batch_rank = 1 if value.ndim > 1 and self.chance(30) else 0
        axes = tuple(a for a in range(batch_rank, value.ndim) if self.chance(40)) or (value.ndim - 1,)
        if any(value.shape[a] == 0 for a in axes):
            return None
        shape = (*value.shape[:batch_rank], *(self.pick([1, 2, 3, 5]) for _ in range(self.source.integer(0, 2))))
        if not shape:
            shape = (3,)
        indices = [self.indices(value.shape[a], shape) for a in axes]
        if any(i is None for i in indices):
            return None
        return x, axes, indices, batch_rank, shape  # type: ignore[return-value]

    def gather(self) -> int | None:
        found = self.addressed()
        if found is None:
            return None
        x, axes, indices, batch_rank, _ = found
        return self.put(
            "gather", x, *indices, axes=axes, batch_rank=batch_rank, mode=self.pick(["check", "clip", "inside"]), exact=True
        )

    def scatter(self) -> int | None:
        found = self.addressed()
        if found is None:
            return None
        x, axes, indices, batch_rank, shape = found
        value = self.values[x]
        rest = tuple(n for a, n in enumerate(value.shape) if a >= batch_rank and a not in axes)
        wanted = (*shape, *rest)
        updates = self.value(condition=lambda v: v.dtype == value.dtype and v.shape == wanted)
        if updates is None:
            scalar = self.value(condition=lambda v: v.dtype == value.dtype and not v.shape)
            updates = self.put(
                "broadcast",
                (value.dtype.type(self.constant(value.dtype)),) if scalar is None else scalar,
                shape=wanted,
                axes=(),
                exact=True,
            )
            if updates is None:
                return None
            if value.dtype.kind == "f" and self.chance(60) and len(wanted):
                ramp = self.put(
                    "iota", shape=wanted, dtype=value.dtype, axis=self.source.integer(0, len(wanted) - 1), exact=True
                )
                updates = None if ramp is None else self.put("mul", updates, ramp)
                if updates is None:
                    return None
        operation = self.pick(["set", "add", "add", "mul", "max", "min"])
        if value.dtype == BOOL:
            operation = "set"
        if operation in ("max", "min") and (self.smooth or not (self.exact[x] and self.exact[updates])):
            operation = "add"
        return self.put(
            "scatter",
            x,
            updates,
            *indices,
            axes=axes,
            batch_rank=batch_rank,
            operation=operation,
            mode=self.pick(["check", "clip", "inside"]),
            exact=operation in ("set", "max", "min"),
        )

    # ------------------------------------------------------------------------------------------------------------ whole

    def shape(self, at_least: int = 0) -> tuple[int, ...]:
        if self.large:
            rank = self.source.integer(max(at_least, 1), 3)
            return tuple(self.pick([1, 3, 7, 16, 17, 33] if rank == 3 else [5, 17, 33, 70, 130]) for _ in range(rank))
        rank = self.source.integer(at_least, 3) if self.chance(85) else 4
        extents = [2, 3, 4, 5] if rank < 4 else [1, 2, 3]
        return tuple(self.pick([0]) if self.chance(3) else self.pick([1, *extents]) for _ in range(rank))

    def smooth_steps(self) -> list[Callable[[], int | None]]:
        return [
            self.unary,
            self.unary,
            self.unary_polynomial,
            self.unary_of_positive,
            self.unary_of_tame,
            self.binary,
            self.binary,
            self.binary,
            self.binary_of_positive,
            self.broadcast,
            self.reshape,
            self.transpose,
            self.slice_array,
            self.reverse,
            self.concatenate,
            self.pad,
            self.iota,
            self.reduce,
            self.reduce,
            self.cumulative,
            self.dot,
            self.dot,
            self.gather,
            self.scatter,
        ]

    def other_steps(self) -> list[Callable[[], int | None]]:
        return [
            self.kinked,
            self.kinked,
            self.rounding,
            self.division,
            self.compare,
            self.compare,
            self.logic,
            self.select,
            self.select,
            self.convert,
            self.argument,
        ]

    def write(self, count: int) -> Function:
        kinds = self.smooth_steps() + ([] if self.smooth else self.other_steps())
        for _ in range(6 * count):
            if len(self.steps) >= count:
                break
            self.pick(kinds)()
        every = range(self.input_count, len(self.values))
        unused = [i for i in every if i not in self.used]
        outputs = unused[-5:] or [len(self.values) - 1]
        if self.chance(30) and len(self.values) > 1:
            outputs.append(self.source.integer(0, len(self.values) - 1))  # a value used inside, or an input, or one twice
        return Function(tuple(self.values[: self.input_count]), tuple(self.steps), tuple(outputs))


def inputs_for(writer: Writer, count: int, seed: int) -> None:
    """Give ``writer`` its inputs: floats of continuous or gridded values, the latter with zeros and ties."""
    generator = np.random.default_rng(seed)
    shapes: list[tuple[int, ...]] = []
    for position in range(count):
        shape = writer.pick(shapes) if shapes and writer.chance(40) else writer.shape()
        shapes.append(shape)
        floats = [d for d in writer.dtypes if d.kind == "f"]
        dtype = floats[0] if position == 0 else writer.pick(writer.dtypes)
        if dtype.kind == "f":
            values = generator.uniform(-2, 2, shape)
            if not writer.smooth and writer.chance(50):
                values = np.round(values * 2) / 2 + 0.0
        elif dtype.kind == "b":
            values = generator.integers(0, 2, shape)
        else:
            values = generator.integers(0 if dtype.kind == "u" else -4, 9, shape)
        writer.add_input(np.asarray(values, dtype), exact=True)


def write(
    source: Source,
    smooth: bool = False,
    dtypes: Sequence[np.dtype[Any]] | None = None,
    data_seed: int = 0,
    longest: int = 20,
    large: bool = False,
) -> Function:
    """A random function. ``smooth``: differentiable at its inputs, float64 and int64 only; ``large``: on arrays of up
    to some thousand elements, which make vector loops with remainders.
    """
    if dtypes is None:
        if smooth:
            dtypes = (FLOAT64, FLOAT64, FLOAT64, INT64)
        else:
            dtypes = source_choice(
                source,
                [
                    (FLOAT64, INT64, BOOL),
                    (FLOAT64, FLOAT64, INT64),
                    (FLOAT32, INT64, BOOL),
                    (FLOAT64, FLOAT32, INT32, INT64),
                    (FLOAT32, FLOAT64, UINT8, BOOL, INT64),
                ],
            )
    writer = Writer(source, smooth, dtypes, large)
    inputs_for(writer, source.integer(1, 4), data_seed)
    return writer.write(source.integer(3, longest))


def source_choice(source: Source, options: Sequence[Any]) -> Any:
    """One of ``options``."""
    return options[source.integer(0, len(options) - 1)]


def seeded(seed: int, smooth: bool = False, longest: int = 20, large: bool = False) -> Function:
    """The random function of a seed."""
    return write(Seeded(seed), smooth, data_seed=seed, longest=longest, large=large)


@st.composite
def functions(draw: Callable[[Any], Any], smooth: bool = False, longest: int = 12) -> Function:
    """Random functions for hypothesis."""
    return write(Drawn(draw), smooth, data_seed=draw(st.integers(0, 999)), longest=longest)
