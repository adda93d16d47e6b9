"""The elementary functions against mpmath: every variant, on edges and samples, within one table of tolerances."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest

import gradxform as gx
from gradxform.backend import elementary
from gradxform.backend.elementary import Request
from gradxform.scipy import special

# The promised bounds in units in the last place of the exact result, (float64, float32).
TOLERANCE = {
    "exp": (1.0, 1.0),
    "exp2": (2.0, 2.0),
    "expm1": (1.0, 1.0),
    "sigmoid": (2.0, 2.0),
    "log": (1.0, 1.0),
    "log2": (2.0, 2.0),
    "log10": (2.0, 2.0),
    "log1p": (1.0, 1.0),
    "logaddexp": (2.0, 2.0),
    "sin": (1.0, 1.0),
    "cos": (1.0, 1.0),
    "tan": (2.0, 2.0),
    "asin": (2.0, 1.0),
    "acos": (2.0, 1.0),
    "atan": (2.0, 1.0),
    "atan2": (2.0, 1.0),
    "sinh": (2.0, 2.0),
    "cosh": (2.0, 2.0),
    "tanh": (1.0, 1.0),
    "asinh": (2.0, 2.0),
    "acosh": (2.0, 2.0),
    "atanh": (2.0, 2.0),
    "pow": (2.0, 1.0),
    "cbrt": (1.0, 1.0),
    "rsqrt": (2.0, 2.0),
    "hypot": (2.0, 1.0),
    "gaussian": (1.0, 1.0),
    "erf": (1.0, 1.0),
    "erfc": (2.0, 1.0),
    "erfinv": (2.0, 1.0),
    "lgamma": (2.0, 1.0),
    "digamma": (2.0, 1.0),
}

# Where large terms cancel, the error is bounded absolutely: logaddexp near its zeros, lgamma and digamma of negative
# arguments near theirs. (In float32 the latter two are evaluated in float64.)
ABSOLUTE = {"logaddexp": (2.0**-55, 2.0**-26), "lgamma": (2.0**-51, 2.0**-51), "digamma": (2.0**-49, 2.0**-49)}

PRECISION = 160
INFINITY = float("inf")
LANES = 8
C_TYPE = {"f64": "double", "f32": "float"}
DTYPE = {"f64": np.float64, "f32": np.float32}
# Bits of the significand, least and greatest exponent of two.
FORMAT = {"f64": (53, -1074, 1024), "f32": (24, -149, 128)}
FINITE_EDGES = (
    0.0,
    2.0**-1074,
    3e-310,
    2.0**-1022,
    1e-300,
    1e-160,
    1e-30,
    1e-8,
    0.1,
    0.25,
    0.5,
    0.75,
    0.9999999999999999,
    1.0,
    1.0000000000000002,
    1.5,
    2.0,
    3.0,
    10.0,
    1e5,
    2.0**31,
    2.0**32,
    2.0**33,
    1e16,
    1e22,
    2.0**53,
    1e100,
    1e155,
    1e300,
    2.0**1023,
    1.7976931348623157e308,
)
THRESHOLDS = (
    709.0,
    709.782712893384,
    709.782712893385,
    708.39,
    710.0,
    710.4758600739439,
    710.475860073944,
    745.13,
    745.1332191019411,
    745.2,
    1023.9,
    1024.0,
    1074.0,
    1075.0,
    1076.0,
    36.7,
    37.4,
    18.7,
    19.1,
    22.0,
    26.5,
    27.2,
    27.3,
    28.0,
    5.9,
    6.0,
    88.7,
    103.9,
    0.34657,
    0.34658,
    0.41421356237309503,
    2.414213562373095,
    0.7071067811865476,
    1.4142135623730951,
)
SPECIAL = (0.0, -0.0, INFINITY, -INFINITY, float("nan"))

Number = mpmath.mpf
Reference = Callable[..., Number]


def _atan2(y: Number, x: Number) -> Number:
    return mpmath.atan2(y, x)


def _pow(x: Number, y: Number) -> Number:
    if x < 0 and y != mpmath.floor(y):
        return mpmath.nan
    if x < 0:
        return mpmath.power(-x, y) * (-1 if int(y) % 2 else 1)
    return mpmath.power(x, y)


def _logaddexp(x: Number, y: Number) -> Number:
    largest, smallest = max(x, y), min(x, y)
    return largest + mpmath.log1p(mpmath.exp(smallest - largest))


def _real(function: Reference, domain: Callable[[Number], bool]) -> Reference:
    return lambda x: function(x) if domain(x) else mpmath.nan


def _log_one_plus(x: Number) -> Number:
    return mpmath.nan if x < -1 else -mpmath.inf if x == -1 else mpmath.log1p(x)


def _atanh(x: Number) -> Number:
    # mpmath's own loses digits for tiny arguments.
    return x * mpmath.inf if abs(x) == 1 else (mpmath.log1p(x) - mpmath.log1p(-x)) / 2 if abs(x) < 1 else mpmath.nan


def _asinh(x: Number) -> Number:
    size = abs(x)
    return mpmath.sign(x) * mpmath.log1p(size + size * size / (1 + mpmath.sqrt(1 + size * size)))


def _acosh(x: Number) -> Number:
    return mpmath.log1p((x - 1) + mpmath.sqrt((x - 1) * (x + 1))) if x >= 1 else mpmath.nan


def _erfinv(x: Number) -> Number:
    if abs(x) >= 1:
        return x * mpmath.inf if abs(x) == 1 else mpmath.nan
    if abs(x) < 1e-20:
        return x * mpmath.sqrt(mpmath.pi) / 2
    if abs(x) < 0.9:
        return mpmath.erfinv(x)
    complement = 1 - abs(x)
    root = mpmath.sqrt(-mpmath.log(complement))
    # Newton's method on the logarithm of erfc, which is nearly quadratic in the root.
    for _ in range(9):
        value = mpmath.erfc(root)
        root += mpmath.log(value / complement) * value * mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(root * root)
    return mpmath.sign(x) * root


def _lgamma(x: Number) -> Number:
    if x > 0:
        return mpmath.loggamma(x)
    if x == mpmath.floor(x):
        return mpmath.inf
    return mpmath.log(mpmath.pi / abs(x * mpmath.sinpi(x))) - mpmath.loggamma(-x)


def _digamma(x: Number) -> Number:
    if x > 0:
        return mpmath.digamma(x)
    if x == mpmath.floor(x):
        return mpmath.nan
    return mpmath.digamma(1 - x) - mpmath.pi * mpmath.cospi(x) / mpmath.sinpi(x)


@dataclass(frozen=True, slots=True)
class Case:
    """How a function is sampled: the exact reference, and intervals from which arguments are drawn evenly.

    positive: whether only positive arguments matter, also among the magnitudes spread evenly over all exponents.
    zero: whether the value at zero does not depend on its sign.
    """

    reference: Reference
    intervals: tuple[tuple[float, float], ...] = ((-3.0, 3.0),)
    positive: bool = False
    largest: float = 1.7e308
    zero: bool = True


CASES = {
    "exp": Case(mpmath.exp, ((-745.0, 709.7), (-1.0, 1.0)), largest=760.0),
    "exp2": Case(lambda x: mpmath.power(2, x), ((-1075.0, 1024.0), (-1.0, 1.0)), largest=1100.0),
    "expm1": Case(mpmath.expm1, ((-40.0, 709.7), (-2.0, 2.0), (0.3, 0.45)), largest=760.0),
    "sigmoid": Case(lambda x: 1 / (1 + mpmath.exp(-x)), ((-745.0, 40.0), (-3.0, 3.0)), largest=760.0),
    "log": Case(_real(mpmath.log, lambda x: x > 0), ((0.5, 2.5), (0.99, 1.01)), positive=True),
    "log2": Case(_real(lambda x: mpmath.log(x, 2), lambda x: x > 0), ((0.5, 2.5), (0.99, 1.01)), positive=True),
    "log10": Case(_real(mpmath.log10, lambda x: x > 0), ((0.5, 12.0), (0.99, 1.01)), positive=True),
    "log1p": Case(_log_one_plus, ((-1.0, 3.0), (-0.01, 0.01))),
    "sin": Case(mpmath.sin, ((-10.0, 10.0), (-1e5, 1e5))),
    "cos": Case(mpmath.cos, ((-10.0, 10.0), (-1e5, 1e5))),
    "tan": Case(mpmath.tan, ((-10.0, 10.0), (-1e5, 1e5))),
    "asin": Case(_real(mpmath.asin, lambda x: abs(x) <= 1), ((-1.0, 1.0), (0.99, 1.0)), largest=1.0),
    "acos": Case(_real(mpmath.acos, lambda x: abs(x) <= 1), ((-1.0, 1.0), (0.99, 1.0)), largest=1.0),
    "atan": Case(mpmath.atan, ((-3.0, 3.0),)),
    "sinh": Case(mpmath.sinh, ((-710.0, 710.0), (-2.0, 2.0)), largest=760.0),
    "cosh": Case(mpmath.cosh, ((-710.0, 710.0), (-2.0, 2.0)), largest=760.0),
    "tanh": Case(mpmath.tanh, ((-20.0, 20.0), (-1.0, 1.0)), largest=760.0),
    "asinh": Case(_asinh, ((-10.0, 10.0), (-1.0, 1.0))),
    "acosh": Case(_acosh, ((1.0, 10.0), (1.0, 1.01)), positive=True),
    "atanh": Case(_atanh, ((-1.0, 1.0), (0.99, 1.0)), largest=1.0),
    "cbrt": Case(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), ((-8.0, 8.0),)),
    "rsqrt": Case(_real(lambda x: 1 / mpmath.sqrt(x), lambda x: x > 0), ((0.25, 4.0),), positive=True),
    "gaussian": Case(lambda x: mpmath.exp(-x * x), ((-27.5, 27.5), (-1.0, 1.0), (-10.5, 10.5)), largest=30.0),
    "erf": Case(mpmath.erf, ((-6.1, 6.1), (-1.1, 1.1)), largest=30.0),
    "erfc": Case(mpmath.erfc, ((-6.0, 28.0), (-1.0, 1.0)), largest=30.0),
    "erfinv": Case(_erfinv, ((-1.0, 1.0), (0.99, 1.0)), largest=1.0),
    "lgamma": Case(_lgamma, ((-20.0, 20.0), (0.5, 2.5), (-3.0, 0.0))),
    "digamma": Case(_digamma, ((-20.0, 20.0), (1.0, 2.0), (-3.0, 0.0)), zero=False),
    "atan2": Case(_atan2),
    "hypot": Case(lambda x, y: mpmath.sqrt(x * x + y * y)),
    "pow": Case(_pow),
    "logaddexp": Case(_logaddexp),
}


def _log_uniform(random: np.random.Generator, count: int, largest: float, dtype: str) -> np.ndarray:
    """Magnitudes evenly spread over the exponents up to `largest`, subnormal ones included."""
    _, least, greatest = FORMAT[dtype]
    return 2.0 ** random.uniform(least, min(np.log2(largest), greatest - 1e-9), count)


def arguments(name: str, dtype: str, count: int, seed: int = 20240501) -> tuple[np.ndarray, ...]:
    """Samples of `count` per interval and as many log-uniform ones, and the edges, rounded to the dtype."""
    random = np.random.default_rng(seed)
    case = CASES[name]
    if elementary.roster()[name].arity == 2:
        return tuple(item.astype(DTYPE[dtype]) for item in _pairs(name, dtype, count, random))
    parts = [random.uniform(low, high, count) for low, high in case.intervals]
    magnitudes = _log_uniform(random, count, case.largest, dtype)
    parts.append(magnitudes if case.positive else magnitudes * random.choice([-1.0, 1.0], count))
    edges = np.array([edge for edge in FINITE_EDGES + THRESHOLDS if edge <= max(case.largest, 1.0)])
    parts.extend([edges[edges > 0]] if case.positive else [edges, -edges])
    if name in ("sin", "cos", "tan"):
        multiples = np.concatenate([np.arange(1, 200), 2.0 ** np.arange(8, 40)]) * (np.pi / 2)
        # The double nearest to a multiple of pi/2 (J.-M. Muller, "Elementary Functions", table 11.1).
        parts.append(np.concatenate([multiples, -multiples, [6381956970095103.0 * 2.0**797]]))
    with np.errstate(over="ignore", under="ignore"):
        values = np.concatenate(parts).astype(DTYPE[dtype])
    return (values[np.isfinite(values) & ((values > 0) | (not case.positive)) & ((values != 0) | case.zero)],)


def _pairs(name: str, dtype: str, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    narrow = dtype == "f32"
    if name == "pow":
        x = np.concatenate(
            [
                2.0 ** random.uniform(-10, 10, count),
                1 + random.uniform(-1e-3, 1e-3, count),
                _log_uniform(random, count, 1.7e308, dtype),
            ]
        )
        span = 85.0 if narrow else 707.0
        y = random.uniform(-span, span, x.size) / np.where(x == 1, 1.0, np.log(x.astype(DTYPE[dtype]).astype(float)))
        y[::3] = random.uniform(-3, 3, y[::3].size)
        whole = random.integers(-9, 9, count).astype(float)
        return np.concatenate([x, -random.uniform(0.1, 9.0, count)]), np.concatenate([y, whole])
    if name == "logaddexp":
        x = np.concatenate(
            [random.uniform(-20, 20, count), random.uniform(-700, 700, count), random.uniform(-1, 0, count)]
        )
        y = np.concatenate(
            [
                random.uniform(-20, 20, count),
                x[count : 2 * count] + random.uniform(-40, 40, count),
                random.uniform(-2, 0, count),
            ]
        )
        return x, y
    x, y = (_log_uniform(random, 2 * count, 1e300, dtype) * random.choice([-1.0, 1.0], 2 * count) for _ in range(2))
    near = random.uniform(-3, 3, (2, count))
    beside = x * random.uniform(0.1, 10.0, x.size)
    return np.concatenate([x, x, near[0]]), np.concatenate([y, beside, near[1]])


def exact(name: str, values: Sequence[np.ndarray]) -> list[Number]:
    """The reference at finite arguments, to PRECISION bits."""
    reference = CASES[name].reference
    with mpmath.workprec(PRECISION):
        return [reference(*(mpmath.mpf(float(item)) for item in row)) for row in zip(*values, strict=True)]


def ulps(measured: np.ndarray, expected: Sequence[Number], dtype: str) -> np.ndarray:
    """The error of each value in units in the last place of the exact one; infinite where NaN stands wrongly."""
    bits, least, greatest = FORMAT[dtype]
    errors = np.empty(len(expected))
    with mpmath.workprec(PRECISION):
        beyond = mpmath.mpf(2) ** greatest * (1 - mpmath.mpf(2) ** (-bits - 1))
        for index, (value, truth) in enumerate(zip(measured.tolist(), expected, strict=True)):
            if mpmath.isnan(truth) or value != value:
                errors[index] = 0.0 if mpmath.isnan(truth) and value != value else INFINITY
                continue
            unit = mpmath.mpf(2) ** (max(mpmath.frexp(truth)[1] - bits, least) if mpmath.isfinite(truth) else least)
            # Infinity counts as the next number after the greatest.
            limit = mpmath.mpf(2) ** greatest
            size = max(-limit, min(limit, truth)) if abs(truth) >= beyond else truth
            unit = min(unit, mpmath.mpf(2) ** (greatest - bits))
            errors[index] = float(abs(max(-limit, min(limit, mpmath.mpf(value))) - size) / unit)
    return errors


def _loop(name: str, dtype: str, variant: str) -> str:
    """A native loop over contiguous arrays that calls one variant."""
    kind = C_TYPE[dtype]
    lanes = LANES if variant == "vector" else 1
    wide = f"<{lanes} x {kind}>" if variant == "vector" else kind
    size = np.dtype(DTYPE[dtype]).itemsize
    arity = elementary.roster()[name].arity
    called = elementary.symbol(Request(name, dtype, variant, lanes))  # type: ignore[arg-type]
    result, stored = ("i1", "i8") if variant == "outside" else (wide, wide)
    loads = "".join(
        f"  %p{i} = getelementptr {kind}, ptr %in{i}, i64 %i\n  %x{i} = load {wide}, ptr %p{i}, align {size}\n"
        for i in range(arity)
    )
    operands = ", ".join(f"{wide} %x{i}" for i in range(arity))
    parameters = "".join(f"ptr noalias %in{i}, " for i in range(arity))
    value = "%flag" if variant == "outside" else "%r"
    widen = "  %flag = zext i1 %r to i8\n" if variant == "outside" else ""
    element, alignment = ("i8", 1) if variant == "outside" else (kind, size)
    return f"""define void @loop.{name}.{variant}({parameters}ptr noalias %out, i64 %n) "prefer-vector-width"="512" {{
entry:
  br label %body
body:
  %i = phi i64 [0, %entry], [%next, %body]
{loads}  %r = call {result} @{called}({operands})
{widen}  %q = getelementptr {element}, ptr %out, i64 %i
  store {stored} {value}, ptr %q, align {alignment}
  %next = add i64 %i, {lanes}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end
end:
  ret void
}}
"""


class Library:
    """All loops of one dtype, compiled for this machine; `text` is the optimised IR."""

    def __init__(self, dtype: str, names: Sequence[str]) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.dtype = dtype
        requests, loops = [], []
        for name in names:
            guarded = elementary.roster()[name].guarded
            for variant in ("careful", "fast", "vector", *(("outside",) if guarded else ())):
                lanes = LANES if variant == "vector" else 1
                requests.append(Request(name, dtype, variant, lanes))  # type: ignore[arg-type]
                loops.append(_loop(name, dtype, variant))
        text = "\n".join([*elementary.declarations(requests), elementary.definitions(requests), *loops])
        module = llvm.parse_assembly(text)
        module.verify()
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(
            opt=2, cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), jit=True
        )
        module.data_layout = str(machine.target_data)
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = True
        options.loop_interleaving = False
        options.loop_unrolling = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        self.text = str(module)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()

    def __call__(self, name: str, variant: str, *values: np.ndarray) -> np.ndarray:
        dtype = DTYPE[self.dtype]
        count = len(values[0])
        padded = -(-count // LANES) * LANES
        operands = [np.concatenate([np.asarray(item, dtype), np.ones(padded - count, dtype)]) for item in values]
        out = np.empty(padded, np.bool_ if variant == "outside" else dtype)
        address = self.engine.get_function_address(f"loop.{name}.{variant}")
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(operands) + 1), ctypes.c_int64)
        prototype(address)(*(item.ctypes.data for item in operands), out.ctypes.data, padded)
        return out[:count]


@functools.cache
def library(dtype: str) -> Library:
    return Library(dtype, tuple(elementary.roster()))


@functools.cache
def _sample(name: str, dtype: str) -> tuple[tuple[np.ndarray, ...], list[Number]]:
    values = arguments(name, dtype, 150 if name in ("lgamma", "digamma", "erfinv") else 300)
    return values, exact(name, values)


def allowed(name: str, dtype: str, values: Sequence[np.ndarray], expected: Sequence[Number]) -> np.ndarray:
    """The tolerance in ulp, point by point."""
    index = 0 if dtype == "f64" else 1
    bound = np.full(len(expected), TOLERANCE[name][index])
    if name in ABSOLUTE:
        bits, least, _ = FORMAT[dtype]
        unit = [max(mpmath.frexp(item)[1] - bits, least) if mpmath.isfinite(item) else 0 for item in expected]
        absolute = ABSOLUTE[name][index] * 2.0 ** np.minimum(-np.array(unit, float), 1000.0)
        bound = np.where((values[0] < 0) | (name == "logaddexp"), np.maximum(bound, absolute), bound)
    return bound


NAMES = tuple(TOLERANCE)
CHECKED = tuple(itertools.product(NAMES, ("f64", "f32"), ("careful", "fast", "vector")))


def test_roster_is_the_table() -> None:
    assert set(elementary.roster()) == set(TOLERANCE) == set(CASES)


@pytest.mark.parametrize(("name", "dtype", "variant"), CHECKED)
def test_accuracy(name: str, dtype: str, variant: str) -> None:
    values, expected = _sample(name, dtype)
    measured = library(dtype)(name, variant, *values)
    errors = ulps(measured, expected, dtype)
    inside = np.ones(len(errors), bool)
    if variant == "fast" and elementary.roster()[name].guarded:
        inside = ~library(dtype)(name, "outside", *values)
        assert inside.mean() > 0.25
    excess = np.where(inside, errors - allowed(name, dtype, values, expected), -1.0)
    worst = int(np.argmax(excess))
    at = [float(item[worst]) for item in values]
    assert excess[worst] <= 0.0, f"{name}({at}) = {measured[worst]!r}: {errors[worst]} ulp"


# Values at 0, -0, inf and -inf (C99 Annex F for those that it has, else the limits); NaN always yields NaN.
NAN = float("nan")
AT_SPECIAL = {
    "exp": (1.0, 1.0, INFINITY, 0.0),
    "exp2": (1.0, 1.0, INFINITY, 0.0),
    "expm1": (0.0, -0.0, INFINITY, -1.0),
    "sigmoid": (0.5, 0.5, 1.0, 0.0),
    "log": (-INFINITY, -INFINITY, INFINITY, NAN),
    "log2": (-INFINITY, -INFINITY, INFINITY, NAN),
    "log10": (-INFINITY, -INFINITY, INFINITY, NAN),
    "log1p": (0.0, -0.0, INFINITY, NAN),
    "sin": (0.0, -0.0, NAN, NAN),
    "cos": (1.0, 1.0, NAN, NAN),
    "tan": (0.0, -0.0, NAN, NAN),
    "asin": (0.0, -0.0, NAN, NAN),
    "acos": (np.pi / 2, np.pi / 2, NAN, NAN),
    "atan": (0.0, -0.0, np.pi / 2, -np.pi / 2),
    "sinh": (0.0, -0.0, INFINITY, -INFINITY),
    "cosh": (1.0, 1.0, INFINITY, INFINITY),
    "tanh": (0.0, -0.0, 1.0, -1.0),
    "asinh": (0.0, -0.0, INFINITY, -INFINITY),
    "acosh": (NAN, NAN, INFINITY, NAN),
    "atanh": (0.0, -0.0, NAN, NAN),
    "cbrt": (0.0, -0.0, INFINITY, -INFINITY),
    "rsqrt": (INFINITY, -INFINITY, 0.0, NAN),
    "gaussian": (1.0, 1.0, 0.0, 0.0),
    "erf": (0.0, -0.0, 1.0, -1.0),
    "erfc": (1.0, 1.0, 0.0, 2.0),
    "erfinv": (0.0, -0.0, NAN, NAN),
    "lgamma": (INFINITY, INFINITY, INFINITY, INFINITY),
    "digamma": (-INFINITY, INFINITY, INFINITY, NAN),
}
ELSEWHERE = (
    ("log", -1.0, NAN),
    ("log2", -1e300, NAN),
    ("log1p", -1.0, -INFINITY),
    ("log1p", -1.5, NAN),
    ("asin", 1.5, NAN),
    ("acos", -1.0000000000000002, NAN),
    ("acos", 1.0, 0.0),
    ("atanh", 1.0, INFINITY),
    ("atanh", -1.0, -INFINITY),
    ("atanh", 1.5, NAN),
    ("acosh", 1.0, 0.0),
    ("acosh", 0.5, NAN),
    ("acosh", -3.0, NAN),
    ("rsqrt", -1.0, NAN),
    ("erfinv", 1.0, INFINITY),
    ("erfinv", -1.0, -INFINITY),
    ("erfinv", 1.5, NAN),
    ("exp", 1e300, INFINITY),
    ("exp", -1e300, 0.0),
    ("cosh", -1e300, INFINITY),
    ("sinh", -1e300, -INFINITY),
    ("tanh", -1e300, -1.0),
    ("gaussian", 1e300, 0.0),
    ("erfc", 1e300, 0.0),
    ("exp2", 3.0, 8.0),
    ("log2", 8.0, 3.0),
    ("log2", 2.0**-1074, -1074.0),
    ("log10", 1e15, 15.0),
    ("cbrt", 27.0, 3.0),
    ("lgamma", 1.0, 0.0),
    ("lgamma", 2.0, 0.0),
    ("lgamma", -2.0, INFINITY),
)


def _same(measured: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (np.isnan(measured) & np.isnan(expected)) | (
        (measured == expected) & (np.signbit(measured) == np.signbit(expected))
    )


@pytest.mark.parametrize("dtype", ("f64", "f32"))
@pytest.mark.parametrize("name", tuple(AT_SPECIAL))
def test_special_values(name: str, dtype: str) -> None:
    # Only points that are numbers of the dtype.
    with np.errstate(over="ignore"):
        here = [(x, y) for other, x, y in ELSEWHERE if other == name and float(DTYPE[dtype](x)) == x]
    points = [*SPECIAL, *(x for x, _ in here)]
    expected = [*AT_SPECIAL[name], NAN, *(y for _, y in here)]
    truth = np.array(expected, DTYPE[dtype])
    for variant in ("careful", "fast", "vector"):
        measured = library(dtype)(name, variant, np.array(points))
        # The fast variant of a guarded function is not asked about infinities.
        asked = np.ones(len(points), bool)
        if variant == "fast" and elementary.roster()[name].guarded:
            asked = ~library(dtype)(name, "outside", np.array(points))
        wrong = asked & ~_same(measured, truth)
        assert not wrong.any(), [(points[i], measured[i], truth[i]) for i in np.flatnonzero(wrong)]


@pytest.mark.parametrize("dtype", ("f64", "f32"))
@pytest.mark.parametrize("name", ("atan2", "hypot", "pow", "logaddexp"))
def test_special_pairs(name: str, dtype: str) -> None:
    """Every pair of special values as NumPy has it: zeros, infinities, NaN and signs exactly, the rest closely."""
    special = np.array([0.0, 1.0, 2.0, 0.5, 3.0, 2.5, 1e30, 1e-30, 2.0**24 - 1, INFINITY], DTYPE[dtype])
    if dtype == "f64":
        special = np.concatenate([special, [1e300, 2.0**-1074, 2.0**53 - 1, 2.0**53, 1.7e308]])
    signed = np.concatenate([special, -special, [NAN]]).astype(DTYPE[dtype])
    x, y = (item.ravel() for item in np.meshgrid(signed, signed))
    function = {"atan2": np.arctan2, "hypot": np.hypot, "pow": np.power, "logaddexp": np.logaddexp}[name]
    with np.errstate(all="ignore"):
        expected = function(x, y)
    tiny = np.finfo(DTYPE[dtype]).tiny
    tolerance = 4 * np.finfo(DTYPE[dtype]).eps
    for variant in ("careful", "fast", "vector"):
        measured = library(dtype)(name, variant, x, y)
        with np.errstate(invalid="ignore"):
            close = np.abs(measured - expected) <= tolerance * np.maximum(np.abs(expected), tiny)
        # A finite result just below the greatest number may be rounded across it by either side.
        close &= np.isfinite(expected) & (expected != 0)
        wrong = ~(_same(measured, expected) | close)
        assert not wrong.any(), [(x[i], y[i], measured[i], expected[i]) for i in np.flatnonzero(wrong)][:5]


@pytest.mark.parametrize("dtype", ("f64", "f32"))
def test_variants_agree(dtype: str) -> None:
    """Inlined into a loop or called as a vector, a function returns the same bits as its scalar self."""
    for name in NAMES:
        values, _ = _sample(name, dtype)
        careful = library(dtype)(name, "careful", *values)
        vector = library(dtype)(name, "vector", *values)
        assert _same(careful, vector).all(), name
        fast = library(dtype)(name, "fast", *values)
        same = _same(careful, fast)
        if elementary.roster()[name].guarded:
            same |= library(dtype)(name, "outside", *values)
        assert same.all(), name


@pytest.mark.parametrize("dtype", ("f64", "f32"))
def test_fast_loops_vectorise(dtype: str) -> None:
    text = library(dtype).text
    for name, record in elementary.roster().items():
        if record.branches:  # loops call it: see test_a_loop_calls_what_branches
            continue
        start = text.index(f"@loop.{name}.fast(")
        body = text[start : text.index("\n}", start)]
        assert f" x {C_TYPE[dtype]}>" in body, name


@pytest.mark.parametrize("dtype", (np.float64, np.float32))
def test_a_loop_calls_what_branches(dtype: type) -> None:
    """erfinv has a branch, which is inlined when the loop is one of vectors; all loops and no loop give the same bits."""
    x = np.concatenate([np.linspace(-1, 1, 801), 0.98 + np.arange(-40, 40) * np.finfo(dtype).eps]).astype(dtype)
    root = gx.jit(lambda x: special.erfinv(x))
    machine = root.lower(x).assembly
    called = [line for line in machine.splitlines() if "call" in line and "erfinv" in line]
    assert "zmm" not in machine or not any(".x" in line for line in called)
    one_by_one = np.array([root(number) for number in x])
    assert np.array_equal(root(x), one_by_one)
    for count in (1, 7, 8, 63, 200):
        assert np.array_equal(root(x[-count:]), one_by_one[-count:])
    rounds = gx.jit(lambda x: gx.lax.fori_loop(0, 3, lambda i, total: total + special.erfinv(x), np.zeros_like(x)))
    assert np.array_equal(rounds(x), one_by_one + one_by_one + one_by_one)


def test_definitions_are_shared_and_deterministic() -> None:
    requests = [Request("sin", "f64", "vector", 8), Request("sin", "f64", "careful"), Request("cos", "f64", "careful")]
    text = elementary.definitions(requests)
    assert text.count("define internal double @gx.sin.f64(") == 1
    assert text.count("} @gx.huge_argument.f64(double %x0) noinline") == 1
    assert text == elementary.definitions(requests)
    assert len(set(elementary.declarations(requests))) == len(elementary.declarations(requests))
    assert elementary.definitions([]) == "" and elementary.declarations([]) == ()
