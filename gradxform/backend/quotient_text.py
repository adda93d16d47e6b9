"""Divisions by what a loop does not change, without the divider: the reciprocal outside, three operations inside.

    r = 1 / d;  q0 = x r;  e = q0 d - x;  q = q0 - e r        the last two steps fused: q is x / d, correctly rounded

This is so for all x and d, as long as nothing on the way is too small or too large: P. Markstein, "Computation of elementary
functions on the IBM RISC System/6000 processor" (IBM J. Res. Dev. 34 (1990) 111); N. Brisebarre, J.-M. Muller, S. K. Raina,
"Accelerating correctly rounded floating-point division when the divisor is known in advance" (IEEE Trans. Comput. 53 (2004)
1069). A zero is its own quotient but for the sign, which q0 has.

A vector is divided where any q0 is too small or too large, infinite or NaN. So is every vector where the divisor is.

Where numbers come one by one, and each waits for the one before, it is latency that counts. There a constant of few bits takes
two operations, with a reciprocal in two parts (the second method of that paper):

    h + l = 1 / c;  q = x h + (x l)         the sum fused

No quotient is closer to the middle of two floats than 2**-54 / c of itself, c being taken as an odd integer, and what is
rounded at the end is off by no more than 2**-104. What is too small, zero included, or too large is divided.

A loop of vectors calls a function, of which LLVM's vectoriser takes the variant for vectors: a branch would have been in its
way. Both are defined, and inlined, when it is done.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradxform.backend.module import Module
    from gradxform.backend.nest_text import NestWriter

#: The function (x, d, r) -> x / d, where r is 1 / d, or NaN where d is too small or too large.
QUOTIENT = "gradxform.quotient"
#: Powers of two between which divisors lie. With q0 from 2**-511 to 2**513 all that is computed is a normal number, or zero.
LEAST, GREATEST = -400, 400
#: Widths of vectors for which there is a variant.
LANES = (2, 4, 8)

#: Constants of so many bits, trailing zeros left out, are divided by in two operations.
FEW_BITS = 40

_ATTRIBUTES = "nounwind willreturn memory(none)"
_NAN = "0x7FF8000000000000"


def reciprocal_parts(divisor: float) -> tuple[float, float] | None:
    """The two parts of the reciprocal of a number of few bits; None of others.

    >>> reciprocal_parts(3.0)
    (0.3333333333333333, 1.850371707708594e-17)
    """
    if not 2.0**LEAST < abs(divisor) < 2.0**GREATEST or math.frexp(divisor)[0] * 2.0**FEW_BITS % 1:
        return None
    exact = 1 / Fraction(divisor)
    high = float(exact)
    return high, float(exact - Fraction(high))


def _bits(number: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


def _head(lanes: int) -> str:
    wide = _wide(lanes)
    return f"{wide} @{QUOTIENT}{f'.x{lanes}' if lanes > 1 else ''}({wide} %x, {wide} %d, {wide} %r)"


def _wide(lanes: int) -> str:
    return f"<{lanes} x double>" if lanes > 1 else "double"


def write_quotient(module: Module, line: Callable[[str], str], x: str, divisor: str) -> str:
    """The quotient of two doubles, of which the second one is the same in all iterations of the loop around."""
    for lanes in (1, *LANES):
        module.declarations[f"declare {_head(lanes)} {_ATTRIBUTES} speculatable"] = None
    for lanes in LANES:
        module.vectors[f"{QUOTIENT}.x{lanes}"] = None
    module.declarations["declare double @llvm.fabs.f64(double)"] = None
    size = line(f"bitcast double {line(f'call double @llvm.fabs.f64(double {divisor})')} to i64")
    above = line(f"sub i64 {size}, {_bits(2.0**LEAST)}")
    within = line(f"icmp ult i64 {above}, {_bits(2.0**GREATEST) - _bits(2.0**LEAST)}")
    reciprocal = line(f"select i1 {within}, double {line(f'fdiv double 1.0, {divisor}')}, double {_NAN}")
    variants = ",".join(f"_ZGV_LLVM_N{lanes}vvv_{QUOTIENT}({QUOTIENT}.x{lanes})" for lanes in LANES)
    group = module.attribute_group(f'{_ATTRIBUTES} "vector-function-abi-variant"="{variants}"')
    return line(f"call double @{QUOTIENT}(double {x}, double {divisor}, double {reciprocal}) {group}")


def write_in_order(writer: NestWriter, x: str, divisor: str, reciprocal: tuple[float, float]) -> str:
    """A quotient that the next one waits for, from the two parts of the divisor's reciprocal."""
    line = writer.temporary
    high, low = (f"0x{_bits(part):016X}" for part in reciprocal)
    writer.declare("declare double @llvm.fma.f64(double, double, double)")
    rare, done, before = writer.block("rare"), writer.block("quotient"), writer.label
    found = line(f"call double @llvm.fma.f64(double {x}, double {high}, double {line(f'fmul double {x}, {low}')})")
    carried = line(f"add i64 {line(f'bitcast double {x} to i64')}, {1 << 61}")
    far = line(f"icmp eq i64 {line(f'and i64 {carried}, {1 << 62}')}, 0")
    writer.append(f"br i1 {far}, label %{rare}, label %{done}, !prof !{writer.module.rarely()}")
    writer.start_block(rare)
    exact = line(f"fdiv double {x}, {divisor}")
    writer.append(f"br label %{done}")
    writer.start_block(done)
    return line(f"phi double [{found}, %{before}], [{exact}, %{rare}]")


def definitions() -> str:
    """A module with the functions, to be linked and inlined after vectorisation; none is emitted by itself."""
    texts = [f"define available_externally {_head(1)} alwaysinline {_ATTRIBUTES} {{\n"
             "  %q = fdiv double %x, %d\n  ret double %q\n}"]
    for lanes in LANES:
        wide, words, fma = _wide(lanes), f"<{lanes} x i64>", f"@llvm.fma.v{lanes}f64"
        # From 2**-511 to 2**513 the exponent, which is as much and 1023, begins with 01 or 10.
        texts.append(f"""declare {wide} {fma}({wide}, {wide}, {wide})
define available_externally {_head(lanes)} alwaysinline {_ATTRIBUTES} {{
  %first = fmul {wide} %x, %r
  %opposite = fneg {wide} %x
  %error = call {wide} {fma}({wide} %first, {wide} %d, {wide} %opposite)
  %less = fneg {wide} %error
  %corrected = call {wide} {fma}({wide} %less, {wide} %r, {wide} %first)
  %something = fcmp une {wide} %first, zeroinitializer
  %found = select <{lanes} x i1> %something, {wide} %corrected, {wide} %first
  %bits = bitcast {wide} %first to {words}
  %carried = add {words} %bits, splat (i64 {1 << 61})
  %within = and {words} %carried, splat (i64 {1 << 62})
  %far = icmp eq {words} %within, zeroinitializer
  %outside = and <{lanes} x i1> %far, %something
  %lanes = bitcast <{lanes} x i1> %outside to i{lanes}
  %any = icmp ne i{lanes} %lanes, 0
  br i1 %any, label %divide, label %done, !prof !0
divide:
  %exact = fdiv {wide} %x, %d
  br label %done
done:
  %q = phi {wide} [%found, %0], [%exact, %divide]
  ret {wide} %q
}}""")
    return "\n".join([*texts, '!0 = !{!"branch_weights", i32 1, i32 1000000}'])
