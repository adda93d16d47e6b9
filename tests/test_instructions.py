"""Every scalar operation on every dtype it takes, compiled, against NumPy and SciPy on the values that go wrong."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

from gradxform.backend.compile import Tier, compile_text, load
from gradxform.backend.elementary import Request, declarations, definitions, roster, symbol
from gradxform.backend.instructions import constant_text, cost, instruction, memory_type, type_name
from gradxform.dtypes import REAL, DType, bool_, float32, float64, int64
from gradxform.errors import CompileError
from gradxform.ir.special_names import SPECIAL_FUNCTIONS
from gradxform.loopir.operations import OPERATIONS, evaluate_operation

FLOATS = [d for d in REAL if d.kind == "f"]
SIGNED = [d for d in REAL if d.kind == "i"]
INTEGERS = [d for d in REAL if d.kind in "iu"]
NUMBERS = INTEGERS + FLOATS
BOOLEAN = [bool_]
BITS = [bool_, *INTEGERS]
ANY = [bool_, *NUMBERS]

#: Our own elementary functions are held to their bounds elsewhere; here it matters that the right one is called.
ELEMENTARY_TOLERANCE = {float64: 1e-13, float32: 1e-5}


class Sink:
    """Collects what `instruction` writes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declared: dict[str, None] = {}
        self.requests: dict[Request, None] = {}
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def append(self, line: str) -> None:
        self.lines.append(line)

    def declare(self, line: str) -> None:
        self.declared[line] = None

    def elementary(self, name: str, dtype: Any) -> str:
        request = Request(name, dtype, "careful")
        self.requests[request] = None
        return symbol(request)


@cache
def compiled(operation: str, dtypes: tuple[DType, ...], result: DType, fixed: tuple[Any, ...]) -> Any:
    """A loop over arrays; operands for which ``fixed`` holds a number are that constant."""
    sink = Sink()
    pointers, arguments = [], []
    for position, (dtype, number) in enumerate(zip(dtypes, fixed, strict=True)):
        pointers.append(f"ptr %p{position}")
        if number is not None:
            arguments.append(constant_text(number, dtype))
            continue
        address, loaded = sink.fresh(), sink.fresh()
        sink.append(f"{address} = getelementptr {memory_type(dtype)}, ptr %p{position}, i64 %i")
        sink.append(f"{loaded} = load {memory_type(dtype)}, ptr {address}")
        if dtype == bool_:
            loaded, stored = sink.fresh(), loaded
            sink.append(f"{loaded} = trunc i8 {stored} to i1")
        arguments.append(loaded)
    value = instruction(operation, arguments, dtypes, result, sink)
    if result == bool_:
        flag, value = value, sink.fresh()
        sink.append(f"{value} = zext i1 {flag} to i8")
    address = sink.fresh()
    sink.append(f"{address} = getelementptr {memory_type(result)}, ptr %out, i64 %i")
    sink.append(f"store {memory_type(result)} {value}, ptr {address}")
    body = "\n  ".join(sink.lines)
    for line in declarations(sink.requests):
        sink.declare(line)
    text = "\n".join([*sink.declared, definitions(sink.requests)]) + f"""
define void @kernel({', '.join(pointers)}, ptr noalias %out, i64 %n) {{
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  {body}
  %i.next = add i64 %i, 1
  br label %head
done:
  ret void
}}
"""
    return load(compile_text(text, Tier.LOOPS), {}, ["kernel"])


def run(operation: str, operands: Sequence[Any], result: DType, fixed: Sequence[Any] | None = None) -> Any:
    operands = [np.ascontiguousarray(x) for x in operands]
    dtypes = tuple(x.dtype for x in operands)
    library = compiled(operation, dtypes, result, tuple(fixed or [None] * len(operands)))
    out = np.empty(operands[0].shape, result)
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(operands) + 1), ctypes.c_int64)
    signature(library.address("kernel"))(*[x.ctypes.data for x in operands], out.ctypes.data, out.size)
    return out


def edges(dtype: DType) -> Any:
    """The values of ``dtype`` at which operations go wrong."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        magnitudes = [0.0, limits.smallest_subnormal, limits.tiny, 1e-3, 0.5, 1.0, 1.5, 2.5, 3.7, 7.0, 1e6, 2.0**31,
                      limits.max, np.inf, np.nan]
        return np.array([s * m for m in magnitudes for s in (1, -1)], dtype)
    limits = np.iinfo(dtype)
    near = [limits.min, limits.min + 1, -64, -9, -7, -2, -1, 0, 1, 2, 3, 7, 8, 31, 63, 64, limits.max - 1, limits.max]
    return np.array([n for n in near if limits.min <= n <= limits.max], dtype)


def grid(*axes: Any) -> list[Any]:
    return [np.ascontiguousarray(np.ravel(x)) for x in np.meshgrid(*axes, indexing="ij")]


def same(found: Any, expected: Any, signed_zeros: bool = True) -> None:
    """Equal dtype and values; NaN equals NaN, and zeros agree in sign where NumPy defines it."""
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    if signed_zeros and found.dtype.kind == "f":
        there = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[there]), np.signbit(expected[there]))


def numpy_result(operation: str, operands: Sequence[Any]) -> Any:
    names = {"neg": "negative", "sub": "subtract", "mul": "multiply", "div": "divide"}
    with np.errstate(all="ignore"):
        return getattr(np, names.get(operation, operation))(*operands)


BINARY = {
    **dict.fromkeys(("add", "mul", "maximum", "minimum"), ANY),
    **dict.fromkeys(("sub", "floor_divide", "remainder"), NUMBERS),
    **dict.fromkeys(("div", "copysign"), FLOATS),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), ANY),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor"), BOOLEAN),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), BITS),
    **dict.fromkeys(("left_shift", "right_shift"), INTEGERS),
}
UNARY = {
    **dict.fromkeys(("neg", "abs", "sign"), NUMBERS),
    **dict.fromkeys(("reciprocal", "sqrt", "floor", "ceil", "rint", "trunc", "isnan", "isinf", "isfinite"), FLOATS),
    "square": NUMBERS,
    "logical_not": BOOLEAN,
    "bitwise_not": BITS,
}
# NumPy leaves the sign of maximum(0.0, -0.0) open.
FREE_ZEROS = ("maximum", "minimum")


@pytest.mark.parametrize(("operation", "dtype"), [(o, d) for o, dtypes in BINARY.items() for d in dtypes], ids=str)
def test_binary(operation: str, dtype: DType) -> None:
    operands = grid(edges(dtype), edges(dtype))
    expected = numpy_result(operation, operands)
    same(run(operation, operands, expected.dtype), expected, operation not in FREE_ZEROS)


@pytest.mark.parametrize(("operation", "dtype"), [(o, d) for o, dtypes in UNARY.items() for d in dtypes], ids=str)
def test_unary(operation: str, dtype: DType) -> None:
    values = edges(dtype)
    expected = numpy_result(operation, [values])
    same(run(operation, [values], expected.dtype), expected)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 64, 100, 0, -1, -3])
def test_division_by_a_constant(dtype: DType, divisor: int) -> None:
    if divisor < 0 and dtype.kind == "u":
        divisor += 1 << (8 * dtype.itemsize)
    values = edges(dtype)
    divisors = np.full_like(values, divisor)
    for operation in ("floor_divide", "remainder"):
        expected = numpy_result(operation, [values, divisors])
        same(run(operation, [values, divisors], dtype, [None, divisor]), expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_remainder_is_exact_for_any_ratio(dtype: DType) -> None:
    generator = np.random.default_rng(0)
    bits = generator.integers(0, np.iinfo(f"u{dtype.itemsize}").max, (2, 4000), dtype=f"u{dtype.itemsize}")
    x, y = bits.view(dtype)
    x[~np.isfinite(x)] = 1
    y[::2] = x[::2] * generator.uniform(0.001, 1, 2000).astype(dtype)
    same(run("remainder", [x, y], dtype), numpy_result("remainder", [x, y]))
    same(run("floor_divide", [x, y], dtype), numpy_result("floor_divide", [x, y]))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_power_wraps(dtype: DType) -> None:
    base, exponent = grid(edges(dtype), np.array([0, 1, 2, 3, 7, 8, 31, 63, 64, 100], dtype))
    modulus = 1 << (8 * dtype.itemsize)
    expected = np.array([pow(int(b), int(e), modulus) for b, e in zip(base, exponent, strict=True)], np.uint64)
    same(run("pow", [base, exponent], dtype), expected.astype(dtype))


@pytest.mark.parametrize("source", ANY, ids=str)
@pytest.mark.parametrize("target", ANY, ids=str)
def test_convert(source: DType, target: DType) -> None:
    values = edges(source)
    if source.kind == "f" and target.kind in "iu":
        # Beyond the range C leaves the result open.
        limits = np.iinfo(target)
        values = values[np.isfinite(values) & (values > float(limits.min) - 1) & (values < float(limits.max))]
        assert values.size > 8
    with np.errstate(all="ignore"):
        same(run("convert", [values], target), values.astype(target))


@pytest.mark.parametrize("dtype", ANY, ids=str)
def test_select_and_clamp(dtype: DType) -> None:
    condition, x, y = grid(edges(bool_), edges(dtype), edges(dtype))
    same(run("select", [condition, x, y], dtype), np.where(condition, x, y))
    low, x, high = grid(edges(dtype)[:12], edges(dtype), edges(dtype)[:12])
    same(run("clamp", [low, x, high], dtype), np.minimum(np.maximum(x, low), high), signed_zeros=False)


UNIT = np.array([-1, -0.9, -0.5, -1e-3, 0, 1e-3, 0.3, 0.9, 1])
WIDE = np.array([-30, -2.5, -1, -1e-3, 0, 1e-3, 0.5, 1, 2, 30])
POSITIVE = np.array([1e-3, 0.5, 1, 1.5, 2, 10, 30])
ELEMENTARY = {
    **{name: (WIDE, getattr(np, name)) for name in ("exp", "exp2", "expm1", "sin", "cos", "tan", "arctan", "sinh",
                                                    "cosh", "tanh", "arcsinh", "cbrt")},
    **{name: (POSITIVE, getattr(np, name)) for name in ("log", "log2", "log10", "log1p")},
    **{name: (UNIT, getattr(np, name)) for name in ("arcsin", "arccos")},
    "arctanh": (UNIT[1:-1], np.arctanh),
    "arccosh": (POSITIVE[2:], np.arccosh),
    "rsqrt": (POSITIVE, lambda x: 1 / np.sqrt(x)),
    "sigmoid": (WIDE, scipy.special.expit),
    "gaussian": (WIDE[1:-1], lambda x: np.exp(-x * x)),
    "erf": (WIDE, scipy.special.erf),
    "erfc": (WIDE[1:-1], scipy.special.erfc),
    "erfinv": (UNIT[1:-1], scipy.special.erfinv),
    "lgamma": (POSITIVE, scipy.special.gammaln),
    "digamma": (POSITIVE, scipy.special.digamma),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("operation", ELEMENTARY)
def test_elementary_functions_are_wired(operation: str, dtype: DType) -> None:
    values, reference = ELEMENTARY[operation]
    values = values.astype(dtype)
    tolerance = ELEMENTARY_TOLERANCE[dtype]
    np.testing.assert_allclose(run(operation, [values], dtype), reference(values.astype(float64)), tolerance, tolerance)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("operation", "reference"), [
    ("arctan2", np.arctan2), ("hypot", np.hypot), ("logaddexp", np.logaddexp), ("pow", np.power)])
def test_binary_elementary_functions_are_wired(operation: str, reference: Any, dtype: DType) -> None:
    x, y = grid(POSITIVE[:-1].astype(dtype), UNIT.astype(dtype))
    expected = reference(x.astype(float64), y.astype(float64))
    np.testing.assert_allclose(run(operation, [x, y], dtype), expected, ELEMENTARY_TOLERANCE[dtype],
                               ELEMENTARY_TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("order", [2, 3, 4, 7, 12])
def test_zeta(order: int, dtype: DType) -> None:
    values = np.array([1e-4, 0.1, 0.75, 1.0, 2.5, 9.0, 13.0, 40.0, 1e3, -0.25, -3.5, -7.875, -1000.125], dtype)
    orders = np.full_like(values, order)
    with mpmath.workdps(40), np.errstate(over="ignore"):
        expected = np.array([float((-1) ** order * mpmath.psi(order - 1, float(v)) / mpmath.factorial(order - 1))
                             for v in values]).astype(dtype)
    tolerance = 4e-15 if dtype == float64 else 2e-7
    found = run("zeta", [orders, values], dtype, [order, None])
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    special = run("zeta", [orders[:4], np.array([0.0, -2.0, np.inf, np.nan], dtype)], dtype, [order, None])
    np.testing.assert_array_equal(special, [np.inf, np.inf, 0.0, np.nan])


def test_contract_is_the_only_licence() -> None:
    sink = Sink()
    for operation in ("add", "sub", "mul", "div", "sqrt", "maximum"):
        arguments = ["%x", "%y"][: 1 if operation == "sqrt" else 2]
        instruction(operation, arguments, [float64] * len(arguments), float64, sink)
    forbidden = ("fast", "nnan", "ninf", "nsz", "arcp", "reassoc")
    assert not [line for line in sink.lines if any(flag in line for flag in forbidden)]
    assert [("contract" in line) for line in sink.lines] == [True, True, True, False, False, False]


def test_types_and_constants() -> None:
    assert [type_name(d) for d in REAL] == ["i1", "i8", "i16", "i32", "i64", "i8", "i16", "i32", "i64", "float",
                                            "double"]
    assert memory_type(bool_) == "i8"
    assert constant_text(-0.0, float64) == "0x8000000000000000"
    assert constant_text(math.inf, float32) == "0x7FF0000000000000"
    # A float32 is rounded first: 0.1f is the double 0x3FB99999A0000000.
    assert constant_text(0.1, float32) == "0x3FB99999A0000000"
    assert constant_text(np.int64(-3), int64) == "-3"
    assert constant_text(np.True_, bool_) == "true"


def test_unknown_operations_are_refused() -> None:
    with pytest.raises(CompileError, match="sin on int64"):
        instruction("sin", ["%x"], [int64], int64, Sink())


def test_every_elementary_function_has_an_operation() -> None:
    covered = {**ELEMENTARY, "arctan2": None, "hypot": None, "logaddexp": None, "pow": None}
    c_names = {name.replace("arc", "a") if name.startswith("arc") else name for name in covered}
    assert c_names <= set(roster())


@pytest.mark.parametrize(("operation", "arguments", "expected"), [
    ("add", (np.int8(127), np.int8(1)), np.int8(-128)),
    ("add", (np.True_, np.True_), np.True_),
    ("floor_divide", (np.int64(-7), np.int64(2)), np.int64(-4)),
    ("remainder", (np.int64(5), np.int64(0)), np.int64(0)),
    ("rint", (np.float64(2.5),), np.float64(2.0)),
    ("select", (np.False_, np.float32(1), np.float32(2)), np.float32(2)),
    ("convert", (np.float64(-2.7),), np.int32(-2)),
    ("convert", (np.int64(300),), np.uint8(44)),
    ("clamp", (np.float64(0), np.float64(3), np.float64(1)), np.float64(1)),
    ("sigmoid", (np.float32(0),), np.float32(0.5)),
    ("zeta", (np.float64(2), np.float64(1)), np.float64(math.pi**2 / 6)),
])
def test_interpreted_operations(operation: str, arguments: tuple[Any, ...], expected: Any) -> None:
    found = evaluate_operation(operation, arguments, expected.dtype)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_the_interpreter_knows_what_the_emitter_knows() -> None:
    assert set(OPERATIONS) == {*BINARY, *UNARY, *ELEMENTARY, "arctan2", "hypot", "logaddexp", "pow", "zeta", "select",
                               "convert", "clamp", "bitcast", "population_count", "greatest_common_divisor",  # test_bits.py
                               "threefry2x32",  # tests/random
                               *SPECIAL_FUNCTIONS}  # tests/scipy


def test_costs_are_ordered() -> None:
    assert 0 < cost("add", float64) < cost("div", float64) < cost("exp", float64) < cost("pow", float64)
    assert cost("exp", float32) < cost("exp", float64)
