"""Families of operations by name, for those who may know operations by name only."""

from __future__ import annotations

from gradxform.ir.special_names import SPECIAL_FUNCTIONS

#: Operations that compute each element from the elements at the same index; operands of rank 0 stand at every index.
ELEMENTWISE = frozenset((
    *SPECIAL_FUNCTIONS,
    "add", "sub", "mul", "div", "neg", "square", "reciprocal", "integer_pow", "pow", "sqrt", "cbrt", "rsqrt",
    "floor_divide", "remainder", "abs", "sign", "copysign", "floor", "ceil", "rint", "trunc", "maximum", "minimum",
    "clamp",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "arctan2", "hypot", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "logaddexp", "erf", "erfc", "erfinv",
    "gaussian", "lgamma", "digamma", "sigmoid", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor",
    "bitwise_not", "left_shift", "right_shift", "threefry2x32", "bitcast", "population_count",
    "greatest_common_divisor", "isnan", "isinf", "isfinite", "select", "convert",
    "complex", "real", "imag", "conj",
))

#: Operations that read their operand under another index, and cost nothing.
VIEWS = frozenset(("broadcast", "reshape", "reverse", "slice", "transpose", "windows"))

#: Operations that need no memory: views, and arrays that are known by their index.
FREE = VIEWS | frozenset(("constant", "iota", "unit_vectors", "stop_gradient"))

#: Operations of about one instruction per element.
CHEAP = FREE | frozenset((
    "abs", "add", "bitcast", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "ceil", "clamp", "complex",
    "concatenate", "conj", "convert", "copysign", "equal", "floor", "greater", "greater_equal", "imag", "integer_pow",
    "isfinite", "isinf", "isnan", "left_shift", "less", "less_equal", "logical_and", "logical_not", "logical_or",
    "logical_xor", "maximum", "minimum", "mul", "neg", "not_equal", "pad", "real", "right_shift", "rint", "select",
    "sign", "square", "sub", "trunc",
))
