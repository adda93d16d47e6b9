"""Divisions by what a loop does not change, without the divider: the reciprocal outside, three operations inside.

    r = 1 / d;  q0 = x r;  e = q0 d - x;  q = q0 - e r        the last two steps fused: q is x / d, correctly rounded

This is so for all x and d, as long as nothing on the way is too small or too large: P. Markstein, "Computation of elementary
functions on the IBM RISC System/6000 processor" (IBM J. Res. Dev. 34 (1990) 111); N. Brisebarre, J.-M. Muller, S. K. Raina,
"Accelerating correctly rounded floating-point division when the divisor is known in advance" (IEEE Trans. Comput. 53 (2004)
1069). A zero is its own quotient but for the sign, which q0 has.

A vector is divided where any q0 is too small or too large, infinite or NaN. So is every vector where the divisor is.

The loop calls a function, of which LLVM's vectoriser takes the variant for vectors: a branch would have been in its way. Both
are defined, and inlined, when it is done.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradxform.backend.module import Module

#: The function (x, d, r) -> x / d, where r is 1 / d, or NaN where d is too small or too large.
QUOTIENT = "gradxform.quotient"
#: Powers of two between which divisors lie. With q0 from 2**-511 to 2**513 all that is computed is a normal number, or zero.
LEAST, GREATEST = -400, 400
#: Widths of vectors for which there is a variant.
LANES = (2, 4, 8)

_ATTRIBUTES = "nounwind willreturn memory(none)"
_NAN = "0x7FF8000000000000"


def _bits(exponent: int) -> int:
    """The bits of a power of two."""
    return int(struct.unpack("<Q", struct.pack("<d", 2.0**exponent))[0])


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
    above = line(f"sub i64 {size}, {_bits(LEAST)}")
    within = line(f"icmp ult i64 {above}, {_bits(GREATEST) - _bits(LEAST)}")
    reciprocal = line(f"select i1 {within}, double {line(f'fdiv double 1.0, {divisor}')}, double {_NAN}")
    variants = ",".join(f"_ZGV_LLVM_N{lanes}vvv_{QUOTIENT}({QUOTIENT}.x{lanes})" for lanes in LANES)
    group = module.attribute_group(f'{_ATTRIBUTES} "vector-function-abi-variant"="{variants}"')
    return line(f"call double @{QUOTIENT}(double {x}, double {divisor}, double {reciprocal}) {group}")


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
