"""A few words of LLVM IR: a builder that appends one SSA line per operation.

The expansions of this package are written once, as Python expressions over `Value`, and emitted for any number of
lanes: with one lane a value is a scalar `double`, with eight an `<8 x double>`. Equal lines are emitted once, so a
helper may simply ask again for a value that another helper has already computed.

Every operation means what IEEE 754 says, without fast-math flags: the error-free transformations below depend on it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import field

from gradxform.data_class import data_class

FLOATS = {"double": "f64", "float": "f32"}
INTEGER_OF = {"double": "i64", "float": "i32"}
WIDTH = {"double": 64, "float": 32, "i128": 128, "i64": 64, "i32": 32, "i1": 1}
FRACTION_BITS = {"double": 52, "float": 23}
#: Polynomials with so many coefficients are evaluated as two.
LONG_POLYNOMIAL = 8
EXPONENT_BIAS = {"double": 1023, "float": 127}


def float_text(kind: str, number: float) -> str:
    """The hexadecimal literal that LLVM reads back as this number; a float's is that of the equal double."""
    if kind == "float":
        number = struct.unpack("<f", struct.pack("<f", number))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


@data_class(frozen=True, slots=True, eq=False)
class Value:
    """One SSA value or constant: its LLVM scalar kind and its text as an operand."""

    builder: Builder
    kind: str
    text: str

    def _float(self) -> bool:
        return self.kind in FLOATS

    def _binary(self, opcode: str, other: Operand) -> Value:
        return self.builder.binary(opcode, self, self.builder.operand(self.kind, other))

    def __add__(self, other: Operand) -> Value:
        return self._binary("fadd" if self._float() else "add", other)

    def __radd__(self, other: Operand) -> Value:
        return self.builder.operand(self.kind, other) + self

    def __sub__(self, other: Operand) -> Value:
        return self._binary("fsub" if self._float() else "sub", other)

    def __rsub__(self, other: Operand) -> Value:
        return self.builder.operand(self.kind, other) - self

    def __mul__(self, other: Operand) -> Value:
        return self._binary("fmul" if self._float() else "mul", other)

    def __rmul__(self, other: Operand) -> Value:
        return self.builder.operand(self.kind, other) * self

    def __truediv__(self, other: Operand) -> Value:
        return self._binary("fdiv", other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.builder.operand(self.kind, other) / self

    def __neg__(self) -> Value:
        return self.builder.line(self.kind, f"fneg {self.builder.type(self.kind)} {self.text}")

    def __and__(self, other: Operand) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Operand) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Operand) -> Value:
        return self._binary("xor", other)

    def __invert__(self) -> Value:
        return self._binary("xor", 1 if self.kind == "i1" else -1)

    def __lshift__(self, other: Operand) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Operand) -> Value:
        """Logical shift: AVX2 has no arithmetic one for 64-bit lanes."""
        return self._binary("lshr", other)

    def __lt__(self, other: Operand) -> Value:
        return self.builder.compare("olt" if self._float() else "slt", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.builder.compare("ole" if self._float() else "sle", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.builder.compare("ogt" if self._float() else "sgt", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.builder.compare("oge" if self._float() else "sge", self, other)

    def equals(self, other: Operand) -> Value:
        return self.builder.compare("oeq" if self._float() else "eq", self, other)

    def differs(self, other: Operand) -> Value:
        """True also where either side is NaN, so `x.differs(x)` is the test for NaN."""
        return self.builder.compare("une" if self._float() else "ne", self, other)

    def __bool__(self) -> bool:
        raise TypeError("an emitted comparison has no truth value while the code is being written")


Operand = Value | float | int
Pair = tuple[Value, Value]


@data_class(slots=True)
class Builder:
    """Collects the lines of one function body."""

    lanes: int = 1
    lines: list[str] = field(default_factory=list)
    declared: dict[str, None] = field(default_factory=dict)
    known: dict[str, Value] = field(default_factory=dict)
    first_name: int = 0

    def type(self, kind: str) -> str:
        return kind if self.lanes == 1 else f"<{self.lanes} x {kind}>"

    def constant(self, kind: str, number: float | int) -> Value:
        if kind in FLOATS:
            text = float_text(kind, float(number))
        elif kind == "i1":
            text = "true" if number else "false"
        else:
            assert isinstance(number, int)
            half = 1 << (WIDTH[kind] - 1)
            text = str((number + half) % (2 * half) - half)
        return Value(self, kind, text if self.lanes == 1 else f"splat ({kind} {text})")

    def operand(self, kind: str, item: Operand) -> Value:
        if isinstance(item, Value):
            assert item.kind == kind, (item.kind, kind)
            return item
        return self.constant(kind, item)

    def line(self, kind: str, text: str) -> Value:
        value = self.known.get(text)
        if value is None:
            value = Value(self, kind, f"%v{self.first_name + len(self.known)}")
            self.known[text] = value
            self.lines.append(f"  {value.text} = {text}")
        return value

    def binary(self, opcode: str, first: Value, second: Value) -> Value:
        return self.line(first.kind, f"{opcode} {self.type(first.kind)} {first.text}, {second.text}")

    def compare(self, predicate: str, first: Value, second: Operand) -> Value:
        other = self.operand(first.kind, second)
        opcode = "fcmp" if first.kind in FLOATS else "icmp"
        return self.line("i1", f"{opcode} {predicate} {self.type(first.kind)} {first.text}, {other.text}")

    def select(self, mask: Value, chosen: Operand, otherwise: Operand, kind: str = "double") -> Value:
        """`kind` matters only where both alternatives are Python numbers."""
        for item in (chosen, otherwise):
            if isinstance(item, Value):
                kind = item.kind
        first, second = self.operand(kind, chosen), self.operand(kind, otherwise)
        wide = self.type(kind)
        return self.line(kind, f"select {self.type('i1')} {mask.text}, {wide} {first.text}, {wide} {second.text}")

    def intrinsic(self, name: str, *arguments: Value) -> Value:
        kind = arguments[0].kind
        wide = self.type(kind)
        suffix = FLOATS.get(kind, kind)
        full = f"@llvm.{name}.{suffix if self.lanes == 1 else f'v{self.lanes}{suffix}'}"
        self.declared[f"declare {wide} {full}({', '.join([wide] * len(arguments))})"] = None
        return self.line(kind, f"call {wide} {full}({', '.join(f'{wide} {item.text}' for item in arguments)})")

    def fma(self, first: Operand, second: Operand, third: Operand) -> Value:
        """first*second + third, rounded once."""
        kind = next(item.kind for item in (first, second, third) if isinstance(item, Value))
        return self.intrinsic("fma", *(self.operand(kind, item) for item in (first, second, third)))

    def sqrt(self, x: Value) -> Value:
        return self.intrinsic("sqrt", x)

    def magnitude(self, x: Value) -> Value:
        return self.intrinsic("fabs", x)

    def copysign(self, x: Value, sign: Value) -> Value:
        return self.intrinsic("copysign", x, sign)

    def smaller(self, bound: Operand, x: Value) -> Value:
        """min(bound, x), NaN where x is NaN: the operand order of the machine's own minimum."""
        return self.select(self.operand(x.kind, bound) < x, bound, x)

    def larger(self, bound: Operand, x: Value) -> Value:
        return self.select(self.operand(x.kind, bound) > x, bound, x)

    def bits(self, x: Value) -> Value:
        target = INTEGER_OF[x.kind]
        return self.line(target, f"bitcast {self.type(x.kind)} {x.text} to {self.type(target)}")

    def from_bits(self, x: Value) -> Value:
        target = {"i64": "double", "i32": "float"}[x.kind]
        return self.line(target, f"bitcast {self.type(x.kind)} {x.text} to {self.type(target)}")

    def convert(self, opcode: str, x: Value, target: str) -> Value:
        return self.line(target, f"{opcode} {self.type(x.kind)} {x.text} to {self.type(target)}")

    def apply_sign(self, x: Value, sign: Value) -> Value:
        """x with its sign flipped where the integer `sign` has its top bit set."""
        width = WIDTH[sign.kind]
        return self.from_bits(self.bits(x) ^ (sign & (1 << (width - 1))))

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """The polynomial with these coefficients, lowest first, each step one fused multiply-add.

        Horner's rule; a long one goes by even and odd powers, two chains side by side: one operation more and half the
        latency, which is what counts where little else is in flight.
        """
        if len(coefficients) < LONG_POLYNOMIAL:
            return self._horner(x, coefficients)
        square = x * x
        even, odd = self._horner(square, coefficients[0::2]), self._horner(square, coefficients[1::2])
        return self.fma(odd, x, even)

    def _horner(self, x: Value, coefficients: Sequence[float]) -> Value:
        total = self.constant(x.kind, coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = self.fma(total, x, coefficient)
        return total

    def by_pairs(self, x: Value, coefficients: Sequence[float]) -> Value:
        """The same by G. Estrin's scheme: neighbours first, then pairs of them, in steps that are few on each way.

        Few steps, few roundings: more exact than Horner's rule where most coefficients count.
        """
        terms: list[Operand] = list(coefficients)
        power = x
        while len(terms) > 1:
            pairs: list[Operand] = [self.fma(power, high, low) for low, high in zip(terms[0::2], terms[1::2], strict=False)]
            terms = pairs + (terms[-1:] if len(terms) % 2 else [])
            power = power * power
        return self.operand(x.kind, terms[0])

    def two_sum(self, a: Value, b: Value) -> Pair:
        """a + b = high + low exactly (Knuth)."""
        high = a + b
        shadow = high - a
        return high, (a - (high - shadow)) + (b - shadow)

    def fast_two_sum(self, a: Value, b: Operand) -> Pair:
        """a + b = high + low exactly where |a| >= |b| or a = 0 (Dekker)."""
        other = self.operand(a.kind, b)
        high = a + other
        return high, other - (high - a)

    def two_product(self, a: Value, b: Value) -> Pair:
        """a * b = high + low exactly, barring underflow."""
        high = a * b
        return high, self.fma(a, b, -high)


def rounding_shift(kind: str) -> float:
    """What pushes the fraction of a number out of its significand when added: the low bits are the nearest integer then.

    It vectorises everywhere, unlike a conversion of double to int64.
    """
    return 1.5 * 2.0 ** FRACTION_BITS[kind]
