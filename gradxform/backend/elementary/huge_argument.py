"""Reduction of arguments of any size modulo pi/2, after M. Payne and R. Hanek (SIGNUM Newsletter 18 (1983) 19).

x = M 2^E with an integer M < 2^53. Of 2/pi only the 192 bits from weight 2^(1-E) on are needed: higher ones
contribute multiples of 4 quadrants, lower ones less than 2^-137. The product of M with these bits modulo 2^192 holds
the quadrant in its top two bits and 190 bits of fraction; no double comes closer to a multiple of pi/2 than some
2^-61 (W. Kahan; J.-M. Muller, "Elementary Functions", ch. 11), so more than 64 significant bits remain.

Scalar, and cold: it runs only for lanes that `outside` has picked out.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Value

SYMBOL = "gx.huge_argument.f64"
TABLE = "gx.two_over_pi"
RESULT = "{ double, double, i64 }"

# 64 zero bits, then the first 1344 bits of 2/pi.
TWO_OVER_PI = (
    0x0000000000000000,
    0xA2F9836E4E441529,
    0xFC2757D1F534DDC0,
    0xDB6295993C439041,
    0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0,
    0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484,
    0xE99C7026B45F7E41,
    0x3991D639835339F4,
    0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F,
    0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB,
    0xF0CFBC209AF4361D,
    0xA9E391615EE61B08,
)

FRACTION_MASK = (1 << 52) - 1


def definition() -> str:
    """The text of the function double -> {r, -r_low, quadrant} and of its table."""
    b = Builder()
    x = Value(b, "double", "%x0")
    raw = b.bits(x)
    exponent = (raw >> 52) & 2047
    significand = (raw & FRACTION_MASK) | (1 << 52)
    # E = exponent - 1075; the window begins at bit E - 1 after the point, 64 zero bits stand before it.
    position = exponent - (1075 - 62)
    word = position >> 6
    shift = position & 63

    def load(offset: int) -> Value:
        index = word + offset
        address = b.line(
            "ptr", f"getelementptr inbounds [{len(TWO_OVER_PI)} x i64], ptr @{TABLE}, i64 0, i64 {index.text}"
        )
        return b.line("i64", f"load i64, ptr {address.text}")

    words = [load(offset) for offset in range(4)]
    upper, middle, lower = (b.intrinsic("fshl", words[i], words[i + 1], shift) for i in range(3))

    def widened(item: Value) -> Value:
        return b.convert("zext", item, "i128")

    lowest = widened(significand) * widened(lower)
    central = widened(significand) * widened(middle) + (lowest >> 64)
    product = central + (widened(significand * upper) << 64)
    quadrant = b.convert("trunc", (product + (1 << 125)) >> 126, "i64")
    fraction = product - (widened(quadrant) << 126)
    negative = fraction < 0
    size = b.select(negative, b.constant("i128", 0) - fraction, fraction)
    b.declared["declare i128 @llvm.ctlz.i128(i128, i1)"] = None
    zeros = b.line("i128", f"call i128 @llvm.ctlz.i128(i128 {size.text}, i1 true)")
    normal = size << zeros
    zeros64 = b.convert("trunc", zeros, "i64")
    top = b.convert("uitofp", b.convert("trunc", normal >> 75, "i64"), "double")
    rest = b.convert("uitofp", b.convert("trunc", (normal >> 22) & ((1 << 53) - 1), "i64"), "double")
    turns = top * b.from_bits((b.constant("i64", 1023 - 51) - zeros64) << 52)
    turns_low = rest * b.from_bits((b.constant("i64", 1023 - 104) - zeros64) << 52)
    quarter, quarter_low = 1.5707963267948966, 6.123233995736766e-17
    product_high, product_low = b.two_product(turns, b.constant("double", quarter))
    tail = b.fma(turns_low, quarter, b.fma(turns, quarter_low, product_low))
    r, r_low = b.fast_two_sum(product_high, tail)
    below = x < 0.0
    flip = b.convert("zext", negative ^ below, "i64") << 63
    r = b.apply_sign(r, flip)
    negated_low = -b.apply_sign(r_low, flip)
    signed_quadrant = b.select(below, b.constant("i64", 0) - quadrant, quadrant)
    table = ", ".join(f"i64 {b.constant('i64', item).text}" for item in TWO_OVER_PI)
    lines = [
        f"@{TABLE} = internal unnamed_addr constant [{len(TWO_OVER_PI)} x i64] [{table}]",
        f"define internal {RESULT} @{SYMBOL}(double %x0) noinline optnone cold nounwind willreturn memory(none) {{",
        *b.lines,
        f"  %first = insertvalue {RESULT} poison, double {r.text}, 0",
        f"  %second = insertvalue {RESULT} %first, double {negated_low.text}, 1",
        f"  %third = insertvalue {RESULT} %second, i64 {signed_quadrant.text}, 2",
        f"  ret {RESULT} %third",
        "}",
    ]
    return "\n".join(lines)


DECLARATIONS = (
    "declare i64 @llvm.fshl.i64(i64, i64, i64)",
    "declare i128 @llvm.ctlz.i128(i128, i1)",
)


def reduce(b: Builder, x: Value) -> tuple[Value, Value, Value]:
    """A call of the function, from scalar code."""
    parts = b.line(RESULT, f"call {RESULT} @{SYMBOL}(double {x.text})")
    first, second, third = (
        b.line(kind, f"extractvalue {RESULT} {parts.text}, {index}")
        for index, kind in enumerate(("double", "double", "i64"))
    )
    return first, second, third
