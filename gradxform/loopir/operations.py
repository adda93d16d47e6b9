"""What the scalar operations of the loop IR mean: one NumPy function each.

The loop interpreter runs on this table. It is written without a thought for speed and shares nothing with the emitted
code, for which it is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gradxform.dtypes import DType
from gradxform.ir.special_names import OWN_FUNCTIONS, SCIPY_FUNCTIONS
from gradxform.loopir.scalar import PROGRAMS


def _special(name: str) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return function


def _program(name: str) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        return PROGRAMS[name](*[float(argument) for argument in arguments])

    return function


def _gaussian(x: Any) -> Any:
    """exp(-x*x) for the exact square: that of a float32 number has 48 bits, and what is left of x*x is small."""
    size = np.minimum(np.abs(x), 40.0).astype(np.float64)
    head = size.astype(np.float32).astype(np.float64)
    return (np.exp(-head * head) * np.exp((head - size) * (head + size))).astype(x.dtype)


def _threefry2x32(key: Any, counter: Any) -> Any:
    """Twenty rounds of Threefry-2x32 (Salmon et al., SC'11); of each operand the upper word comes first."""
    first, second = (np.asarray(key >> np.uint64(32 * n)).astype(np.uint32) for n in (1, 0))
    x, y = (np.asarray(counter >> np.uint64(32 * n)).astype(np.uint32) for n in (1, 0))
    words = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    x, y = x + first, y + second
    for group, rotations in enumerate(((13, 15, 26, 6), (17, 29, 16, 24)) * 2 + ((13, 15, 26, 6),), 1):
        for left in rotations:
            x = x + y
            y = x ^ (y << np.uint32(left) | y >> np.uint32(32 - left))
        x, y = x + words[group % 3], y + words[(group + 1) % 3] + np.uint32(group)
    return x.astype(np.uint64) << np.uint64(32) | y


def _clamp(low: Any, x: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


#: Called with NumPy scalars of the operands' dtypes.
OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    # arithmetic; on booleans add is "or", mul is "and"
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "square": np.square,
    "reciprocal": np.reciprocal,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "pow": np.power,
    "abs": np.abs,
    "sign": np.sign,
    "copysign": np.copysign,
    "floor": np.floor,
    "ceil": np.ceil,
    "rint": np.rint,
    "trunc": np.trunc,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "clamp": _clamp,
    # elementary functions
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "arctan2": np.arctan2,
    "hypot": np.hypot,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    # special functions; zeta(s, x) is Hurwitz's, for whole s >= 2
    "logaddexp": np.logaddexp,
    "sigmoid": _special("expit"),
    "gaussian": _gaussian,
    "erf": _special("erf"),
    "erfc": _special("erfc"),
    "erfinv": _special("erfinv"),
    "lgamma": _special("gammaln"),
    "digamma": _special("digamma"),
    "zeta": _special("zeta"),
    **{name: _special(name) for name in SCIPY_FUNCTIONS},
    **{name: _program(name) for name in OWN_FUNCTIONS},
    # comparison, logic, bits
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "bitwise_not": np.bitwise_not,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
    "population_count": lambda x: np.bitwise_count(x.view(f"u{x.dtype.itemsize}")),
    "greatest_common_divisor": np.gcd,
    "threefry2x32": _threefry2x32,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    # choice and conversion; the result dtype says to what
    "select": lambda condition, x, y: x if condition else y,
    "convert": lambda x: x,
    "bitcast": lambda x: x,  # of whose bits the result is made
})


def evaluate_operation(name: str, arguments: Sequence[Any], result_dtype: DType) -> Any:
    """The result of operation ``name``, a NumPy scalar of ``result_dtype``. Warnings of NumPy's stay off."""
    if name == "bitcast":
        return arguments[0].view(result_dtype)
    with np.errstate(all="ignore"):
        return np.asarray(OPERATIONS[name](*arguments)).astype(result_dtype)[()]
