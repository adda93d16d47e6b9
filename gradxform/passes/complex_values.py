"""Formulas on the parts of complex numbers, written as mathematics and recorded as equations.

A `Real` stands for a real value of the program that a pass is writing: ``x * x + y * y`` appends two products and a sum.
A `Pair` is a complex number as its real and its imaginary part. See complex_pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradxform.data_class import data_class
from gradxform.dtypes import DType, float64
from gradxform.ir import Atom
from gradxform.passes.rewriting import Rewriter, literal

Operand = Any
"""A Real, or a Python number, which takes the dtype of the other operand."""


@data_class(frozen=True, slots=True, eq=False)
class Real:
    """A real array or number, or a condition on one, in a program being written."""

    atom: Atom
    writer: Rewriter

    @property
    def dtype(self) -> DType:
        return self.atom.type.dtype

    def number(self, value: float) -> Real:
        """A constant in this value's dtype."""
        return Real(literal(value, self.dtype), self.writer)

    def apply(self, operation: str, *others: Operand, **params: Any) -> Real:
        """The result of an operation on this value and others."""
        operands = [x if isinstance(x, Real) else self.number(x) for x in others]
        return Real(self.writer.emit(operation, self.atom, *(x.atom for x in operands), **params), self.writer)

    def converted(self, dtype: DType) -> Real:
        return self if dtype == self.dtype else self.apply("convert", dtype=dtype, weak=False)

    def __add__(self, other: Operand) -> Real:
        return self.apply("add", other)

    def __radd__(self, other: Operand) -> Real:
        return self.number(other) + self

    def __sub__(self, other: Operand) -> Real:
        return self.apply("sub", other)

    def __rsub__(self, other: Operand) -> Real:
        return self.number(other) - self

    def __mul__(self, other: Operand) -> Real:
        return self.apply("mul", other)

    def __rmul__(self, other: Operand) -> Real:
        return self.number(other) * self

    def __truediv__(self, other: Operand) -> Real:
        return self.apply("div", other)

    def __rtruediv__(self, other: Operand) -> Real:
        return self.number(other) / self

    def __neg__(self) -> Real:
        return self.apply("neg")

    def __abs__(self) -> Real:
        return self.apply("abs")

    def __lt__(self, other: Operand) -> Real:
        return self.apply("less", other)

    def __le__(self, other: Operand) -> Real:
        return self.apply("less_equal", other)

    def __gt__(self, other: Operand) -> Real:
        return self.apply("greater", other)

    def __ge__(self, other: Operand) -> Real:
        return self.apply("greater_equal", other)

    def equals(self, other: Operand) -> Real:
        return self.apply("equal", other)

    def differs(self, other: Operand) -> Real:
        return self.apply("not_equal", other)

    def __and__(self, other: Real) -> Real:
        return self.apply("logical_and", other)

    def __or__(self, other: Real) -> Real:
        return self.apply("logical_or", other)

    def __invert__(self) -> Real:
        return self.apply("logical_not")

    def __bool__(self) -> bool:
        raise TypeError("a recorded comparison has no truth value while the program is being written")


class Pair(NamedTuple):
    """A complex number."""

    re: Real
    im: Real

    def converted(self, dtype: DType) -> Pair:
        return Pair(self.re.converted(dtype), self.im.converted(dtype))

    @property
    def swapped(self) -> Pair:
        """The parts exchanged: i times the conjugate."""
        return Pair(self.im, self.re)


def select(condition: Real, x: Operand, y: Operand) -> Real:
    """x where the condition holds, else y; one of them is a Real."""
    like = x if isinstance(x, Real) else y
    x, y = (value if isinstance(value, Real) else like.number(value) for value in (x, y))
    return condition.apply("select", x, y)


def function(name: str) -> Callable[..., Real]:
    """An operation as a function of values."""
    return lambda x, *others: x.apply(name, *others)


arctan, arctan2, arcsin, arccos = function("arctan"), function("arctan2"), function("arcsin"), function("arccos")
copysign, cos, cosh, exp, expm1 = function("copysign"), function("cos"), function("cosh"), function("exp"), function("expm1")
hypot, isfinite, isinf, isnan = function("hypot"), function("isfinite"), function("isinf"), function("isnan")
log, log1p, power = function("log"), function("log1p"), function("pow")
sin, sinh, sqrt = function("sin"), function("sinh"), function("sqrt")


def wide(formula: Callable[..., Pair]) -> Callable[..., Pair]:
    """A formula that needs more digits or range than float32 has: parts of complex64 go through float64."""

    def apply(*operands: Pair) -> Pair:
        return formula(*[z.converted(float64) for z in operands]).converted(operands[0].re.dtype)

    return apply


NAN, INFINITY = np.nan, np.inf
