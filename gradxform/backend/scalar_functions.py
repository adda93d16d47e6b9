"""Helper functions in LLVM text for the few scalar operations that need a loop.

They are module-level definitions with internal linkage; LLVM inlines what pays.
"""

from __future__ import annotations

import functools
import struct

# Each round subtracts a whole multiple of s = |y| * 2**(51 k), with quotient below 2**52: that difference is a
# multiple of the last place of |y| and smaller than s, so the fused multiply-add is exact. The rounded quotient can
# only be one too large, which the sign of the difference tells. One round is enough unless |x/y| >= 2**52.
#: The remainder of x / y truncated, exact, with the sign of x: ``gradxform.fmod``.
FMOD: tuple[str, ...] = (
    "declare double @llvm.fabs.f64(double)",
    "declare double @llvm.trunc.f64(double)",
    "declare double @llvm.fma.f64(double, double, double)",
    "declare double @llvm.copysign.f64(double, double)",
    """define internal double @gradxform.fmod(double %x, double %y) {
entry:
  %ax = call double @llvm.fabs.f64(double %x)
  %ay = call double @llvm.fabs.f64(double %y)
  %finite = fcmp olt double %ax, 0x7FF0000000000000
  %positive = fcmp ogt double %ay, 0x0000000000000000
  %valid = and i1 %finite, %positive
  br i1 %valid, label %round, label %invalid
round:
  %r = phi double [ %ax, %entry ], [ %next, %reduce ]
  %ratio = fdiv double %r, %ay
  %near = fcmp olt double %ratio, 0x4330000000000000
  br i1 %near, label %last, label %scale
scale:
  %s = phi double [ %ay, %round ], [ %larger, %scale ]
  %larger = fmul double %s, 0x4320000000000000
  %quotient = fdiv double %r, %larger
  %far = fcmp oge double %quotient, 0x4330000000000000
  br i1 %far, label %scale, label %reduce
reduce:
  %whole = call double @llvm.trunc.f64(double %quotient)
  %minus = fneg double %whole
  %rest = call double @llvm.fma.f64(double %minus, double %larger, double %r)
  %over = fcmp olt double %rest, 0x0000000000000000
  %back = fadd double %rest, %larger
  %next = select i1 %over, double %back, double %rest
  br label %round
last:
  %q = call double @llvm.trunc.f64(double %ratio)
  %mq = fneg double %q
  %d = call double @llvm.fma.f64(double %mq, double %ay, double %r)
  %low = fcmp olt double %d, 0x0000000000000000
  %up = fadd double %d, %ay
  %fixed = select i1 %low, double %up, double %d
  %unbounded = fcmp oeq double %ay, 0x7FF0000000000000
  %magnitude = select i1 %unbounded, double %ax, double %fixed
  %signed = call double @llvm.copysign.f64(double %magnitude, double %x)
  ret double %signed
invalid:
  ret double 0x7FF8000000000000
}""",
)

_POWER = """define internal TYPE @gradxform.power.SIGNED.TYPE(TYPE %x, TYPE %y) {
entry:
  br label %head
head:
  %base = phi TYPE [ %x, %entry ], [ %square, %body ]
  %count = phi TYPE [ %y, %entry ], [ %half, %body ]
  %result = phi TYPE [ 1, %entry ], [ %next, %body ]
  %more = icmp PREDICATE TYPE %count, 0
  br i1 %more, label %body, label %done
body:
  %bit = trunc TYPE %count to i1
  %product = mul TYPE %result, %base
  %next = select i1 %bit, TYPE %product, TYPE %result
  %square = mul TYPE %base, %base
  %half = lshr TYPE %count, 1
  br label %head
done:
  ret TYPE %result
}"""


def power(type_name: str, signed: bool) -> str:
    """Integer power by repeated squaring, modulo the range of ``type_name``; exponents below 1 give 1."""
    kind, predicate = ("signed", "sgt") if signed else ("unsigned", "ugt")
    return _POWER.replace("TYPE", type_name).replace("SIGNED", kind).replace("PREDICATE", predicate)


_GREATEST_COMMON_DIVISOR = """define internal TYPE @gradxform.gcd.TYPE(TYPE %x, TYPE %y) {
entry:
  br label %head
head:
  %a = phi TYPE [ %x, %entry ], [ %b, %body ]
  %b = phi TYPE [ %y, %entry ], [ %rest, %body ]
  %more = icmp ne TYPE %b, 0
  br i1 %more, label %body, label %done
body:
  %rest = urem TYPE %a, %b
  br label %head
done:
  ret TYPE %a
}"""


def greatest_common_divisor(type_name: str) -> str:
    """The greatest common divisor of two magnitudes by Euclid's algorithm."""
    return _GREATEST_COMMON_DIVISOR.replace("TYPE", type_name)


def _hexadecimal(value: float) -> str:
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _euler_maclaurin() -> str:
    """Instructions of the tail series' corrections by Horner's rule in (s + k)(s + k + 1) / a**2, DLMF 25.11.28.

    The sum over j >= 1 of B(2j)/(2j)! * s (s+1) ... (s+2j-2) / a**(2j-1), relative to a**-s.
    """
    # B(2j)/(2j)!
    coefficients = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
                    -3617 / 10670622842880000)
    lines = []
    total = "0x0000000000000000"
    for j in reversed(range(len(coefficients))):
        value = _hexadecimal(coefficients[j])
        lines.append(f"  %sum{j} = fadd double {total}, {value}")
        total = f"%sum{j}"
        if j:
            for k in (2 * j - 1, 2 * j):
                shift = _hexadecimal(float(k))
                lines.append(f"  %factor{k} = fadd double %s, {shift}")
                lines.append(f"  %ratio{k} = fdiv double %factor{k}, %a")
                lines.append(f"  %part{k} = fmul double {total}, %ratio{k}")
                total = f"%part{k}"
    lines.append("  %first = fdiv double %s, %a")
    lines.append(f"  %corrections = fmul double {total}, %first")
    return "\n".join(lines)


# x**-n by repeated squaring.
_NEGATIVE_POWER = """define internal double @gradxform.negative.power(double %x, i64 %n) {
entry:
  br label %head
head:
  %base = phi double [ %x, %entry ], [ %square, %body ]
  %count = phi i64 [ %n, %entry ], [ %half, %body ]
  %result = phi double [ 0x3FF0000000000000, %entry ], [ %next, %body ]
  %more = icmp ne i64 %count, 0
  br i1 %more, label %body, label %done
body:
  %bit = trunc i64 %count to i1
  %product = fmul double %result, %base
  %next = select i1 %bit, double %product, double %result
  %square = fmul double %base, %base
  %half = lshr i64 %count, 1
  br label %head
done:
  %inverse = fdiv double 0x3FF0000000000000, %result
  ret double %inverse
}"""

# The Hurwitz zeta function for x > 0: terms up to a = x + n >= s + 12, then the Euler-Maclaurin series for the tail.
_ZETA_POSITIVE = f"""define internal double @gradxform.zeta.positive(double %s, double %x) {{
entry:
  %order = fptoui double %s to i64
  %bound = fadd double %s, 0x4028000000000000
  br label %head
head:
  %a = phi double [ %x, %entry ], [ %a.next, %body ]
  %sum = phi double [ 0x0000000000000000, %entry ], [ %sum.next, %body ]
  %more = fcmp olt double %a, %bound
  br i1 %more, label %body, label %tail
body:
  %term = call double @gradxform.negative.power(double %a, i64 %order)
  %sum.next = fadd double %sum, %term
  %a.next = fadd double %a, 0x3FF0000000000000
  br label %head
tail:
  %last = call double @gradxform.negative.power(double %a, i64 %order)
{_euler_maclaurin()}
  %below = fsub double %s, 0x3FF0000000000000
  %integral = fdiv double %a, %below
  %half = fadd double %integral, 0x3FE0000000000000
  %whole = fadd double %half, %corrections
  %rest = fmul double %last, %whole
  %total = fadd double %sum, %rest
  %unbounded = fcmp oeq double %a, 0x7FF0000000000000
  %result = select i1 %unbounded, double 0x0000000000000000, double %total
  ret double %result
}}"""

# For x < 0 the sum over all integers depends on the fraction f of x alone:
# zeta(s, x) = zeta(s, f) + (-1)**s zeta(s, 1 - f) - (-1)**s zeta(s, 1 - x).
# The first two cancel exactly at f = 1/2 for odd s, so they come first.
_ZETA = """define internal double @gradxform.zeta(double %s, double %x) {
entry:
  %positive = fcmp ugt double %x, 0x0000000000000000
  br i1 %positive, label %plain, label %reflected
plain:
  %direct = call double @gradxform.zeta.positive(double %s, double %x)
  ret double %direct
reflected:
  %whole = call double @llvm.floor.f64(double %x)
  %pole = fcmp oeq double %whole, %x
  br i1 %pole, label %infinite, label %regular
infinite:
  ret double 0x7FF0000000000000
regular:
  %f = fsub double %x, %whole
  %g = fsub double 0x3FF0000000000000, %f
  %y = fsub double 0x3FF0000000000000, %x
  %right = call double @gradxform.zeta.positive(double %s, double %f)
  %near = call double @gradxform.zeta.positive(double %s, double %g)
  %far = call double @gradxform.zeta.positive(double %s, double %y)
  %order = fptosi double %s to i64
  %odd = trunc i64 %order to i1
  %minus.near = fneg double %near
  %minus.far = fneg double %far
  %left = select i1 %odd, double %minus.near, double %near
  %rest = select i1 %odd, double %minus.far, double %far
  %sides = fadd double %right, %left
  %result = fsub double %sides, %rest
  ret double %result
}"""

#: Hurwitz's zeta(s, x) for whole s >= 2: ``gradxform.zeta``.
ZETA: tuple[str, ...] = ("declare double @llvm.floor.f64(double)", _NEGATIVE_POWER, _ZETA_POSITIVE, _ZETA)


# ------------------------------------------------------------------------------------------------------ random bits

#: How far each round of a group of four rotates, of odd groups and of even ones.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


@functools.cache
def threefry2x32() -> tuple[str, str]:
    """Threefry-2x32 with twenty rounds (Salmon et al., SC'11): ``gradxform.threefry2x32`` of key and counter.

    Words of 32 bits are packed in pairs, the first one in the upper half. Inlined, a loop around it has no packing left:
    its vectors hold words.
    """
    lines = []
    for name in ("key", "counter"):
        lines += [f"%{name}.upper = lshr i64 %{name}, 32", f"%{name}.0 = trunc i64 %{name}.upper to i32",
                  f"%{name}.1 = trunc i64 %{name} to i32"]
    # 0x1BD11BDA
    lines += ["%parity = xor i32 %key.0, %key.1", "%key.2 = xor i32 %parity, 466688986",
              "%x0 = add i32 %counter.0, %key.0", "%y0 = add i32 %counter.1, %key.1"]
    x, y = "%x0", "%y0"
    for group in range(1, 6):
        for number, left in enumerate(_ROTATIONS[(group - 1) % 2]):
            at = f"{group}.{number}"
            lines += [f"%x{at} = add i32 {x}, {y}", f"%turned{at} = call i32 @llvm.fshl.i32(i32 {y}, i32 {y}, i32 {left})",
                      f"%y{at} = xor i32 %x{at}, %turned{at}"]
            x, y = f"%x{at}", f"%y{at}"
        lines += [f"%x{group} = add i32 {x}, %key.{group % 3}", f"%with{group} = add i32 %key.{(group + 1) % 3}, {group}",
                  f"%y{group} = add i32 {y}, %with{group}"]
        x, y = f"%x{group}", f"%y{group}"
    lines += [f"%wide.0 = zext i32 {x} to i64", f"%wide.1 = zext i32 {y} to i64", "%raised = shl i64 %wide.0, 32",
              "%result = or i64 %raised, %wide.1", "ret i64 %result"]
    body = "\n".join([f"  {line}" for line in lines])
    return ("declare i32 @llvm.fshl.i32(i32, i32, i32)",
            f"define internal i64 @gradxform.threefry2x32(i64 %key, i64 %counter) alwaysinline nounwind {{\n{body}\n}}")
