"""Floats and integers by their representation: exponents, neighbours, bits, divisors."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, bool_, float64, int32, int64, is_float, uint8
from gradxform.errors import DTypeError
from gradxform.linear import add, full
from gradxform.numpy.dispatch import as_inexact, refuse_unless, traced
from gradxform.numpy.manipulation import concatenate, moveaxis, static_integers
from gradxform.numpy.ufunc_faces import float_pair, ufunc
from gradxform.operands import as_operand, broadcast_operands, cast, lift, normalize_axis, promote_operands
from gradxform.primitives import arithmetic, logic
from gradxform.primitives.bits import bitcast, greatest_common_divisor, population_count

_ufunc = partial(ufunc, __name__)

# ------------------------------------------------------------------------------------------------------- floats


def _format(dtype: DType) -> tuple[DType, int, int]:
    """The integer dtype of the size of a float dtype, its bits of mantissa, and the bias of its exponent."""
    return (int64, 52, 1023) if dtype == float64 else (int32, 23, 127)


def _real(name: str, x: Any) -> Any:
    """An operand in the float dtype in which NumPy represents it; DTypeError for complex ones, which have no exponent."""
    operand = as_inexact(name, x)
    if not is_float(dtype_of(operand)):
        raise DTypeError(f"{name}: expected a real number, got {dtype_of(operand)}: take x.real or x.imag{user_line()}")
    return operand


def _power_of_two(exponent: Any, dtype: DType) -> Any:
    """2**exponent, exactly, for exponents of normal numbers in the integer dtype of ``_format``."""
    _, mantissa, bias = _format(dtype)
    kind = dtype_of(exponent).type
    return bitcast(logic.left_shift(add(exponent, kind(bias)), kind(mantissa)), dtype)


def _ldexp(x: Any, exponent: Any) -> Any:
    """The product with up to three powers of two, so that only the last multiplication can round.

    As musl's scalbn does it: a step down to the smallest normal numbers keeps the bits that a subnormal result rounds
    away, for the last multiplication to round them once.
    """
    x, power = _real("ldexp", x), as_operand("ldexp", exponent)
    if dtype_of(power).kind not in "biu":
        raise DTypeError(f"ldexp: expected integer exponents, got {dtype_of(power)}{user_line()}")
    dtype = dtype_of(x)
    whole, mantissa, bias = _format(dtype)
    kind = whole.type
    down = bias - 1 - mantissa - 1
    limit = 4 * bias
    wide = cast(power, int64)
    rest = cast(arithmetic.clamp(np.int64(-limit), wide, np.int64(limit)), whole)
    x, rest = broadcast_operands("ldexp", [x, rest])
    for _ in range(2):
        above, below = logic.greater(rest, kind(bias)), logic.less(rest, kind(1 - bias))
        step = logic.select(above, kind(bias), logic.select(below, kind(-down), kind(0)))
        x = arithmetic.mul(*broadcast_operands("ldexp", [x, _power_of_two(step, dtype)]))
        rest = arithmetic.sub(rest, step)
    return arithmetic.mul(*broadcast_operands(
        "ldexp", [x, _power_of_two(arithmetic.clamp(kind(1 - bias), rest, kind(bias)), dtype)]))


ldexp = _ufunc(np.ldexp, _ldexp, "x * 2**n, rounded once; derivative 2**n in x.")


def _exponent(x: Any) -> Any:
    """The exponent e of x = m * 2**e with 0.5 <= |m| < 1; 0 for zeros, infinities and NaN."""
    dtype = dtype_of(x)
    whole, mantissa, bias = _format(dtype)
    kind, size = whole.type, arithmetic.abs(x)
    small = logic.less(size, np.finfo(dtype).tiny)
    shift = mantissa + 2
    scaled = logic.select(small, arithmetic.mul(size, dtype.type(2.0**shift)), size)
    found = logic.right_shift(bitcast(scaled, whole), kind(mantissa))
    found = arithmetic.sub(found, logic.select(small, kind(bias - 1 + shift), kind(bias - 1)))
    regular = logic.logical_and(logic.isfinite(x), logic.not_equal(x, dtype.type(0)))
    return logic.select(regular, found, kind(0))


def _frexp(x: Any) -> tuple[Any, Any]:
    x = _real("frexp", x)
    exponent = _exponent(x)
    kind = dtype_of(exponent).type
    # In two steps: no power of two reaches from the largest numbers, or from the subnormal ones, down or up to 1.
    half = logic.right_shift(exponent, kind(1))
    part = arithmetic.mul(x, _power_of_two(arithmetic.neg(half), dtype_of(x)))
    mantissa = arithmetic.mul(part, _power_of_two(arithmetic.sub(half, exponent), dtype_of(x)))
    return lift("frexp", mantissa), lift("frexp", cast(exponent, int32))


frexp = _ufunc(np.frexp, _frexp, "The mantissa m in [0.5, 1) and exponent e of x = m * 2**e; dm/dx = 2**-e.")


def _next_towards(x: Any, y: Any) -> Any:
    dtype = dtype_of(x)
    whole = _format(dtype)[0]
    zero, one = dtype.type(0), whole.type(1)
    pattern = bitcast(x, whole)
    # Patterns are magnitudes with a sign, so the next larger magnitude is the next larger pattern.
    outwards = logic.equal(logic.less(x, y), logic.greater(x, zero))
    moved = logic.select(outwards, add(pattern, one), arithmetic.sub(pattern, one))
    smallest = arithmetic.copysign(np.finfo(dtype).smallest_subnormal, y)
    result = logic.select(logic.equal(x, zero), smallest, bitcast(moved, dtype))
    result = logic.select(logic.equal(x, y), y, result)
    missing = logic.logical_or(logic.isnan(x), logic.isnan(y))
    return logic.select(missing, dtype.type(np.nan), result)


def _nextafter(x: Any, y: Any) -> Any:
    kept = logic.stop_gradient(_real("nextafter", x))
    result = _next_towards(kept, logic.stop_gradient(y))
    # Moving x moves its neighbour as far: this subtracts a zero whose derivative is that. Also -0.0 - 0.0 is -0.0.
    zero = dtype_of(x).type(0)
    return arithmetic.sub(result, logic.select(logic.isfinite(x), arithmetic.sub(kept, x), zero))


nextafter = _ufunc(
    np.nextafter, float_pair("nextafter", _nextafter), "The float next to x in the direction of y; derivative 1 in x, 0 in y.")


def _spacing(x: Any) -> Any:
    x = logic.stop_gradient(_real("spacing", x))
    dtype = dtype_of(x)
    # To NumPy the sign of a zero is positive here.
    away = logic.select(logic.less(x, dtype.type(0)), dtype.type(-np.inf), dtype.type(np.inf))
    return arithmetic.sub(_next_towards(x, away), x)


spacing = _ufunc(np.spacing, _spacing, "The distance from x to the next float away from 0, with the sign of x; derivative 0.")


def _signbit(x: Any) -> Any:
    x = as_inexact("signbit", x)
    return logic.less(arithmetic.copysign(dtype_of(x).type(1), x), dtype_of(x).type(0))


signbit = _ufunc(np.signbit, _signbit, "Whether the sign bit of x is set, also that of -0.0 and NaN.")


# ----------------------------------------------------------------------------------------------------- integers


def _integers(name: str, *values: Any) -> list[Any]:
    operands = promote_operands(name, *values)
    dtype = dtype_of(operands[0])
    if dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected integers, got {dtype}{user_line()}")
    return operands


def _gcd(x: Any, y: Any) -> Any:
    return greatest_common_divisor(*broadcast_operands("gcd", _integers("gcd", x, y)))


def _lcm(x: Any, y: Any) -> Any:
    x, y = (operators.absolute(part) for part in broadcast_operands("lcm", _integers("lcm", x, y)))
    divisor = greatest_common_divisor(x, y)
    # Division by zero gives zero on integers, which is what is wanted of lcm(0, 0).
    return operators.multiply(operators.floor_divide(x, divisor), y)


gcd = _ufunc(np.gcd, _gcd, "The greatest common divisor of integers; 0 of zeros.")
lcm = _ufunc(np.lcm, _lcm, "The least common multiple of integers, 0 if one is 0.")


def _bitwise_count(x: Any) -> Any:
    x = as_operand("bitwise_count", x)
    (x,) = _integers("bitwise_count", cast(x, uint8) if dtype_of(x) == bool_ else x)
    return population_count(operators.absolute(x))


bitwise_count = _ufunc(
    np.bitwise_count, _bitwise_count, "How many bits of the magnitude of an integer are ones, as uint8.")


def _bit_axis(name: str, a: Any, axis: Any, order: str) -> tuple[Any, int]:
    """``a`` with the axis of bits or bytes last, and where that axis belongs."""
    refuse_unless(name, "bitorder", order, "big", "little")
    x = lift(name, a)
    x, position = (x.ravel(), 0) if axis is None else (x, normalize_axis(name, axis, x.ndim))
    return moveaxis(x, position, -1), position


def _places(order: str) -> Any:
    """How far each bit of a byte is shifted, in the order in which bits are read."""
    return np.arange(8, dtype=np.uint8)[:: -1 if order == "big" else 1]


@traced(np.packbits)
def packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    """Eight booleans (or integers that are zero or not) along ``axis`` as one byte, zeros filling up the last one."""
    x, position = _bit_axis("packbits", a, axis, bitorder)
    if x.dtype.kind not in "biu":
        raise DTypeError(f"packbits: expected an input array of integer or boolean data type, got {x.dtype}{user_line()}")
    missing = -x.shape[-1] % 8
    bits = cast(x != 0, uint8)
    if missing:
        bits = concatenate([bits, full((*x.shape[:-1], missing), 0, uint8)], -1)
    groups = lift("packbits", bits).reshape(*x.shape[:-1], -1, 8) << _places(bitorder)
    return moveaxis(groups.sum(-1, dtype=uint8), -1, position)


@traced(np.unpackbits)
def unpackbits(a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big") -> Any:
    """The bits of bytes along ``axis`` as uint8; of them the first ``count``, or all but so many if that is negative."""
    x, position = _bit_axis("unpackbits", a, axis, bitorder)
    if x.dtype != uint8:
        raise DTypeError(f"unpackbits: expected an input array of unsigned byte data type, got {x.dtype}{user_line()}")
    bits = ((x[..., None] >> _places(bitorder)) & np.uint8(1)).reshape(*x.shape[:-1], x.shape[-1] * 8)
    if count is not None:
        (wanted,) = static_integers("unpackbits", count)
        if wanted > bits.shape[-1]:
            bits = concatenate([bits, full((*x.shape[:-1], wanted - bits.shape[-1]), 0, uint8)], -1)
        bits = bits[..., :wanted]
    return moveaxis(bits, -1, position)
