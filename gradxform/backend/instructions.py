"""One scalar operation of the loop IR as LLVM text.

Everything is branch-free, so that a loop around it vectorises, except float remainders, integer powers with a variable
exponent and zeta, which call a helper function of scalar_functions. Floats obey IEEE 754: ``contract`` alone is
allowed, and only on add, sub, mul and square. No operand is undefined behaviour: divisors are made safe, shift
amounts bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from gradxform.backend import scalar_functions
from gradxform.dtypes import DType
from gradxform.errors import CompileError
from gradxform.ir.special_names import SPECIAL_FUNCTIONS

FloatName = Literal["f64", "f32"]


class Sink(Protocol):
    """Where instructions go: the block being written and its module."""

    def fresh(self) -> str:
        """A new SSA name, ``%t17``."""

    def append(self, line: str) -> None:
        """One instruction, at the end of the block."""

    def declare(self, line: str) -> None:
        """Module-level text, kept once: the declaration of an intrinsic or the definition of a helper function."""

    def elementary(self, name: str, dtype: FloatName) -> str:
        """The symbol of one of our own elementary functions."""


# ---------------------------------------------------------------------------------------------- types and constants


def type_name(dtype: DType) -> str:
    """The LLVM type of a value in a register: i1 for bool.

    >>> import numpy as np
    >>> type_name(np.dtype(np.uint8)), type_name(np.dtype(np.float32))
    ('i8', 'float')
    """
    if dtype.kind == "f":
        return "double" if dtype.itemsize == 8 else "float"
    return "i1" if dtype.kind == "b" else f"i{8 * dtype.itemsize}"


def memory_type(dtype: DType) -> str:
    """The LLVM type of an element in memory: i8 for bool."""
    return "i8" if dtype.kind == "b" else type_name(dtype)


def constant_text(value: Any, dtype: DType) -> str:
    """A number as an LLVM operand. Floats are hexadecimal; a float32 is written as the equal double, as LLVM wants it.

    >>> import numpy as np
    >>> constant_text(0.5, np.dtype(np.float32))
    '0x3FE0000000000000'
    """
    if dtype.kind == "f":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(dtype.type(value))))[0]:016X}"
    if dtype.kind == "b":
        return "true" if value else "false"
    return str(int(value))


def _integer_literal(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdigit() else None


# ----------------------------------------------------------------------------------------------------------- writing


class _Writer:
    """Appends instructions on values of one dtype."""

    __slots__ = ("bits", "dtype", "is_float", "signed", "sink", "suffix", "type")

    def __init__(self, dtype: DType, sink: Sink) -> None:
        self.dtype = dtype
        self.sink = sink
        self.type = type_name(dtype)
        self.bits = 1 if dtype.kind == "b" else 8 * dtype.itemsize
        self.is_float = dtype.kind == "f"
        self.signed = dtype.kind == "i"
        self.suffix = f"f{self.bits}" if self.is_float else f"i{self.bits}"

    def line(self, text: str) -> str:
        name = self.sink.fresh()
        self.sink.append(f"{name} = {text}")
        return name

    def apply(self, opcode: str, *operands: str) -> str:
        """An instruction whose operands and result are of this type."""
        return self.line(f"{opcode} {self.type} {', '.join(operands)}")

    def compare(self, predicate: str, x: str, y: str) -> str:
        return self.line(f"{'fcmp' if self.is_float else 'icmp'} {predicate} {self.type} {x}, {y}")

    def select(self, condition: str, x: str, y: str) -> str:
        return self.line(f"select i1 {condition}, {self.type} {x}, {self.type} {y}")

    def both(self, opcode: str, x: str, y: str) -> str:
        """A logical instruction on two conditions."""
        return self.line(f"{opcode} i1 {x}, {y}")

    def intrinsic(self, name: str, *operands: str) -> str:
        symbol = f"@llvm.{name}.{self.suffix}"
        self.sink.declare(f"declare {self.type} {symbol}({', '.join([self.type] * len(operands))})")
        return self.call(symbol, *operands)

    def call(self, symbol: str, *operands: str) -> str:
        listed = ", ".join([f"{self.type} {x}" for x in operands])
        return self.line(f"call {self.type} @{symbol.removeprefix('@')}({listed})")

    def number(self, value: float) -> str:
        return constant_text(value, self.dtype)


Rule = Callable[[_Writer, Sequence[str]], str]


def _unknown(writer: _Writer, operation: str) -> CompileError:
    return CompileError(f"no instruction for operation {operation} on {writer.dtype}")


# ------------------------------------------------------------------------------------------------- float operations


def _sign(w: _Writer, x: Sequence[str]) -> str:
    zero = w.number(0)
    below = w.select(w.compare("olt", x[0], zero), w.number(-1), x[0])
    # What is left is -1, a zero of either sign, or NaN; NumPy's sign of -0.0 is 0.0.
    flat = w.select(w.compare("oeq", x[0], zero), zero, below)
    return w.select(w.compare("ogt", x[0], zero), w.number(1), flat)


def _remainder(w: _Writer, x: str, y: str) -> str:
    """x - trunc(x/y)*y, exact, with the sign of x."""
    for text in scalar_functions.FMOD:
        w.sink.declare(text)
    if w.bits == 64:
        return w.call("gradxform.fmod", x, y)
    # A float32 remainder is a float32: the way through float64 loses nothing.
    wide = [w.line(f"fpext float {operand} to double") for operand in (x, y)]
    found = w.line(f"call double @gradxform.fmod(double {wide[0]}, double {wide[1]})")
    return w.line(f"fptrunc double {found} to float")


def _floored(w: _Writer, x: str, y: str) -> tuple[str, str, str]:
    """The truncated remainder, whether it is not zero, and whether the floored one differs from it."""
    zero = w.number(0)
    found = _remainder(w, x, y)
    nonzero = w.compare("une", found, zero)
    signs_differ = w.both("xor", w.compare("olt", found, zero), w.compare("olt", y, zero))
    return found, nonzero, w.both("and", nonzero, signs_differ)


def _float_remainder(w: _Writer, x: Sequence[str]) -> str:
    found, nonzero, moved = _floored(w, x[0], x[1])
    floored = w.select(moved, w.apply("fadd", found, x[1]), found)
    return w.select(nonzero, floored, w.intrinsic("copysign", w.number(0), x[1]))


def _float_floor_divide(w: _Writer, x: Sequence[str]) -> str:
    found, _, moved = _floored(w, x[0], x[1])
    quotient = w.apply("fdiv", w.apply("fsub", x[0], found), x[1])
    quotient = w.select(moved, w.apply("fsub", quotient, w.number(1)), quotient)
    # The quotient is whole but for one rounding, which the nearest integer undoes.
    below = w.intrinsic("floor", quotient)
    above = w.apply("fadd", below, w.number(1))
    whole = w.select(w.compare("ogt", w.apply("fsub", quotient, below), w.number(0.5)), above, below)
    plain = w.apply("fdiv", x[0], x[1])
    signed_zero = w.intrinsic("copysign", w.number(0), plain)
    result = w.select(w.compare("oeq", quotient, w.number(0)), signed_zero, whole)
    return w.select(w.compare("oeq", x[1], w.number(0)), plain, result)


def _binary(opcode: str) -> Rule:
    return lambda w, x: w.apply(opcode, x[0], x[1])


def _compare(predicate: str) -> Rule:
    return lambda w, x: w.compare(predicate, x[0], x[1])


def _intrinsic(name: str) -> Rule:
    return lambda w, x: w.intrinsic(name, *x)


def _elementary(name: str) -> Rule:
    return lambda w, x: w.call(w.sink.elementary(name, "f64" if w.bits == 64 else "f32"), *x)


def _zeta(w: _Writer, x: Sequence[str]) -> str:
    for text in scalar_functions.ZETA:
        w.sink.declare(text)
    if w.bits == 64:
        return w.call("gradxform.zeta", x[0], x[1])
    wide = [w.line(f"fpext float {operand} to double") for operand in x]
    found = w.line(f"call double @gradxform.zeta(double {wide[0]}, double {wide[1]})")
    return w.line(f"fptrunc double {found} to float")


#: Operation names whose elementary function is named otherwise, as in C.
_C_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
            "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh"}


def elementary_name(operation: str) -> str:
    """The name in the roster of elementary functions of one of ``ELEMENTARY_OPERATIONS``."""
    return _C_NAMES.get(operation, operation)


#: The operations that are calls of elementary functions on floats.
ELEMENTARY_OPERATIONS = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "arctan2", "hypot", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "cbrt", "rsqrt", "logaddexp",
    "sigmoid", "gaussian", "erf", "erfc", "erfinv", "lgamma", "digamma",
)

#: How the declarations begin of what is called one number at a time, as ``backend/special_calls`` tells.
SPECIAL_DECLARATION = "declare double @gx.special."


def _special(name: str) -> Rule:
    def rule(w: _Writer, x: Sequence[str]) -> str:
        symbol = f"gx.special.{name}"
        w.sink.declare(f"declare double @{symbol}({'double, ' * len(x)}i32) nounwind willreturn memory(none)")
        wide = list(x) if w.bits == 64 else [w.line(f"fpext float {operand} to double") for operand in x]
        found = w.line(f"call double @{symbol}({''.join(f'double {operand}, ' for operand in wide)}i32 0)")
        return found if w.bits == 64 else w.line(f"fptrunc double {found} to float")

    return rule


_FLOAT: dict[str, Rule] = {
    **{name: _special(name) for name in SPECIAL_FUNCTIONS},
    **{name: _elementary(elementary_name(name)) for name in ELEMENTARY_OPERATIONS},
    "add": _binary("fadd contract"),
    "sub": _binary("fsub contract"),
    "mul": _binary("fmul contract"),
    "square": lambda w, x: w.apply("fmul contract", x[0], x[0]),
    "div": _binary("fdiv"),
    "reciprocal": lambda w, x: w.apply("fdiv", w.number(1), x[0]),
    "neg": lambda w, x: w.apply("fneg", x[0]),
    "abs": _intrinsic("fabs"),
    "sign": _sign,
    "copysign": _intrinsic("copysign"),
    "sqrt": _intrinsic("sqrt"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "rint": _intrinsic("roundeven"),
    "maximum": _intrinsic("maximum"),
    "minimum": _intrinsic("minimum"),
    "remainder": _float_remainder,
    "floor_divide": _float_floor_divide,
    "zeta": _zeta,
    "less": _compare("olt"),
    "less_equal": _compare("ole"),
    "greater": _compare("ogt"),
    "greater_equal": _compare("oge"),
    "equal": _compare("oeq"),
    "not_equal": _compare("une"),
    "isnan": lambda w, x: w.compare("uno", x[0], w.number(0)),
    "isinf": lambda w, x: w.compare("oeq", w.intrinsic("fabs", x[0]), w.number(float("inf"))),
    "isfinite": lambda w, x: w.compare("olt", w.intrinsic("fabs", x[0]), w.number(float("inf"))),
}

# ----------------------------------------------------------------------------------------------- integer operations


def _signed_division(w: _Writer, x: str, y: str) -> tuple[str, str]:
    """Floor quotient and remainder."""
    last = str(w.bits - 1)
    divisor = _integer_literal(y)
    if divisor is not None and divisor > 0:
        if divisor & (divisor - 1) == 0:
            return w.apply("ashr", x, str(divisor.bit_length() - 1)), w.apply("and", x, str(divisor - 1))
        quotient = w.apply("sdiv", x, y)
        rest = w.apply("sub", x, w.apply("mul", quotient, y))
        negative = w.apply("ashr", rest, last)
        return w.apply("add", quotient, negative), w.apply("add", rest, w.apply("and", negative, y))
    by_zero = w.compare("eq", y, "0")
    lowest = str(-(1 << (w.bits - 1)))
    wraps = w.both("and", w.compare("eq", x, lowest), w.compare("eq", y, "-1"))
    safe = w.select(w.both("or", by_zero, wraps), "1", y)
    quotient = w.apply("sdiv", x, safe)
    rest = w.apply("srem", x, safe)
    signs = w.compare("slt", w.apply("xor", rest, safe), "0")
    moved = w.both("and", signs, w.compare("ne", rest, "0"))
    quotient = w.select(moved, w.apply("sub", quotient, "1"), quotient)
    rest = w.select(moved, w.apply("add", rest, safe), rest)
    return w.select(by_zero, "0", quotient), w.select(by_zero, "0", rest)


def _integer_division(w: _Writer, x: str, y: str, opcode: str) -> str:
    if w.signed:
        return _signed_division(w, x, y)[opcode == "urem"]
    if (_integer_literal(y) or 0) > 0:
        return w.apply(opcode, x, y)
    by_zero = w.compare("eq", y, "0")
    return w.select(by_zero, "0", w.apply(opcode, x, w.select(by_zero, "1", y)))


def _left_shift(w: _Writer, x: Sequence[str]) -> str:
    # The comparison is unsigned, which sends negative amounts beyond the width as well.
    within = w.compare("ult", x[1], str(w.bits))
    return w.select(within, w.apply("shl", x[0], w.select(within, x[1], "0")), "0")


def _right_shift(w: _Writer, x: Sequence[str]) -> str:
    within = w.compare("ult", x[1], str(w.bits))
    if w.signed:
        return w.apply("ashr", x[0], w.select(within, x[1], str(w.bits - 1)))
    return w.select(within, w.apply("lshr", x[0], w.select(within, x[1], "0")), "0")


def _integer_sign(w: _Writer, x: Sequence[str]) -> str:
    below = w.apply("ashr", x[0], str(w.bits - 1)) if w.signed else "0"
    return w.select(w.compare("sgt" if w.signed else "ne", x[0], "0"), "1", below)


def _integer_abs(w: _Writer, x: Sequence[str]) -> str:
    if not w.signed:
        return x[0]
    w.sink.declare(f"declare {w.type} @llvm.abs.{w.suffix}({w.type}, i1)")
    return w.line(f"call {w.type} @llvm.abs.{w.suffix}({w.type} {x[0]}, i1 false)")


def _integer_power(w: _Writer, x: Sequence[str]) -> str:
    w.sink.declare(scalar_functions.power(w.type, w.signed))
    return w.call(f"gradxform.power.{'signed' if w.signed else 'unsigned'}.{w.type}", x[0], x[1])


def _threefry2x32(w: _Writer, x: Sequence[str]) -> str:
    for text in scalar_functions.threefry2x32():
        w.sink.declare(text)
    return w.call("gradxform.threefry2x32", x[0], x[1])


def _population_count(w: _Writer, x: Sequence[str]) -> str:
    found = w.intrinsic("ctpop", x[0])
    return found if w.bits == 8 else w.line(f"trunc {w.type} {found} to i8")


def _greatest_common_divisor(w: _Writer, x: Sequence[str]) -> str:
    w.sink.declare(scalar_functions.greatest_common_divisor(w.type))
    return w.call(f"gradxform.gcd.{w.type}", *(_integer_abs(w, [operand]) for operand in x))


def _ordered(name: str) -> Rule:
    return lambda w, x: w.compare(("s" if w.signed else "u") + name, x[0], x[1])


def _extremum(name: str) -> Rule:
    return lambda w, x: w.intrinsic(("s" if w.signed else "u") + name, x[0], x[1])


_INTEGER: dict[str, Rule] = {
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "square": lambda w, x: w.apply("mul", x[0], x[0]),
    "neg": lambda w, x: w.apply("sub", "0", x[0]),
    "abs": _integer_abs,
    "sign": _integer_sign,
    "floor_divide": lambda w, x: _integer_division(w, x[0], x[1], "udiv"),
    "remainder": lambda w, x: _integer_division(w, x[0], x[1], "urem"),
    "pow": _integer_power,
    "maximum": _extremum("max"),
    "minimum": _extremum("min"),
    "less": _ordered("lt"),
    "less_equal": _ordered("le"),
    "greater": _ordered("gt"),
    "greater_equal": _ordered("ge"),
    "equal": _compare("eq"),
    "not_equal": _compare("ne"),
    "bitwise_and": _binary("and"),
    "bitwise_or": _binary("or"),
    "bitwise_xor": _binary("xor"),
    "bitwise_not": lambda w, x: w.apply("xor", x[0], "-1"),
    "left_shift": _left_shift,
    "right_shift": _right_shift,
    "population_count": _population_count,
    "greatest_common_divisor": _greatest_common_divisor,
    "threefry2x32": _threefry2x32,
}

_not: Rule = lambda w, x: w.apply("xor", x[0], "true")  # noqa: E731

_BOOL: dict[str, Rule] = {
    **dict.fromkeys(("add", "maximum", "logical_or", "bitwise_or"), _binary("or")),
    **dict.fromkeys(("mul", "minimum", "square", "logical_and", "bitwise_and"), _binary("and")),
    **dict.fromkeys(("logical_xor", "bitwise_xor", "not_equal"), _binary("xor")),
    **dict.fromkeys(("logical_not", "bitwise_not"), _not),
    "less": _compare("ult"),
    "less_equal": _compare("ule"),
    "greater": _compare("ugt"),
    "greater_equal": _compare("uge"),
    "equal": _compare("eq"),
}

_TABLES = {"f": _FLOAT, "i": _INTEGER, "u": _INTEGER, "b": _BOOL}

# ------------------------------------------------------------------------------------------------------- conversion


def _convert(x: str, source: DType, target: DType, sink: Sink) -> str:
    if source == target:
        return x
    old, new = _Writer(source, sink), _Writer(target, sink)

    def cast(opcode: str, operand: str, from_type: str, to_type: str) -> str:
        return old.line(f"{opcode} {from_type} {operand} to {to_type}")

    if target.kind == "b":
        return old.compare("une", x, old.number(0)) if old.is_float else old.compare("ne", x, "0")
    if old.is_float:
        if new.is_float:
            return cast("fpext" if new.bits > old.bits else "fptrunc", x, old.type, new.type)
        # By way of the next wider signed integer, as machines do it: numbers just outside of the range wrap around.
        # Further out the result is poison, which freeze turns into an ordinary number.
        if target.kind == "u" and new.bits == 64:
            return old.line(f"freeze i64 {cast('fptoui', x, old.type, 'i64')}")
        wide = "i64" if new.bits == 64 or (target.kind == "u" and new.bits == 32) else "i32"
        whole = old.line(f"freeze {wide} {cast('fptosi', x, old.type, wide)}")
        return whole if wide == new.type else cast("trunc", whole, wide, new.type)
    if new.is_float:
        return cast("sitofp" if old.signed else "uitofp", x, old.type, new.type)
    if new.bits == old.bits:
        return x
    if new.bits < old.bits:
        return cast("trunc", x, old.type, new.type)
    return cast("sext" if old.signed else "zext", x, old.type, new.type)


# -------------------------------------------------------------------------------------------------------- interface


def instruction(
    operation: str, arguments: Sequence[str], dtypes: Sequence[DType], result: DType, sink: Sink
) -> str:
    """Append ``operation`` to the block and return its value: an SSA name, or the text of a constant.

    Args:
        operation: named as in ``Apply.operation``.
        arguments: SSA names or constant texts, one per operand.
        dtypes: the dtypes of the operands.
        result: the dtype of the result; ``convert`` and ``bitcast`` need it.
        sink: where the text goes.

    Raises:
        CompileError: there is no such operation on these dtypes.
    """
    if operation == "convert":
        return _convert(arguments[0], dtypes[0], result, sink)
    writer = _Writer(dtypes[-1], sink)
    if operation == "bitcast":
        found = type_name(result)
        return arguments[0] if found == writer.type else writer.line(f"bitcast {writer.type} {arguments[0]} to {found}")
    if operation == "select":
        return writer.select(arguments[0], arguments[1], arguments[2])
    if operation == "clamp":
        raised = instruction("maximum", (arguments[1], arguments[0]), dtypes[:2], result, sink)
        return instruction("minimum", (raised, arguments[2]), dtypes[:2], result, sink)
    rule = _TABLES[dtypes[-1].kind].get(operation)
    if rule is None:
        raise _unknown(writer, operation)
    return rule(writer, arguments)


_COSTS = {
    **dict.fromkeys(SPECIAL_FUNCTIONS, 100.0),
    **dict.fromkeys(("div", "reciprocal", "sqrt"), 1.0),
    **dict.fromkeys(("exp", "exp2", "gaussian", "sigmoid", "rsqrt"), 1.5),
    **dict.fromkeys(("expm1", "log", "log2", "log10", "sin", "cos", "tanh", "erf"), 2.0),
    **dict.fromkeys(("log1p", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "cbrt", "hypot", "erfinv"), 3.0),
    **dict.fromkeys(("arcsinh", "arccosh", "arctanh", "erfc", "logaddexp"), 4.0),
    **dict.fromkeys(("pow", "floor_divide", "remainder"), 6.0),
    **dict.fromkeys(("lgamma", "digamma"), 20.0),
    "zeta": 400.0,
}

_INTEGER_COSTS = {"floor_divide": 2.0, "remainder": 2.0, "pow": 2.0, "greatest_common_divisor": 20.0, "threefry2x32": 1.5}


def cost(operation: str, dtype: DType) -> float:
    """A rough estimate in nanoseconds of one operation in a loop, to weigh the work of a kernel."""
    found = _COSTS.get(operation, 0.25)
    if dtype.kind == "f":
        return found if dtype.itemsize == 8 else found / 2
    return _INTEGER_COSTS.get(operation, 0.25)
