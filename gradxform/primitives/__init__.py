"""All primitives: their constructors, and the roster that lists every one."""

from gradxform import linear
from gradxform.core import Primitive
from gradxform.linear import add, broadcast, full, reduce_sum, transpose, zeros
from gradxform.primitives import (
    arithmetic,
    bessel,
    bits,
    call,
    callback,
    checkpointing,
    cond,
    constant,
    contraction,
    cumulative,
    custom,
    elementary,
    failing,
    fourier,
    gamma_functions,
    implicit,
    indexing,
    integrals,
    lanes,
    linalg,
    linalg_equations,
    linalg_pseudo,
    linalg_qr,
    linalg_solve,
    linalg_spectral,
    logic,
    random_bits,
    reductions,
    scan,
    shape,
    sorting,
    special,
    while_loop,
    windows,
)
from gradxform.primitives import complex as complex_numbers
from gradxform.primitives.arithmetic import (
    abs,
    cbrt,
    ceil,
    clamp,
    copysign,
    div,
    floor,
    floor_divide,
    integer_pow,
    maximum,
    minimum,
    mul,
    neg,
    reciprocal,
    remainder,
    rint,
    rsqrt,
    sign,
    sqrt,
    square,
    sub,
    trunc,
)
from gradxform.primitives.complex import complex, conj, imag, real
from gradxform.primitives.contraction import dot_general
from gradxform.primitives.cumulative import cummax, cummin, cumprod, cumsum
from gradxform.primitives.elementary import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    log10,
    pow,
    sin,
    sinh,
    tan,
    tanh,
)
from gradxform.primitives.indexing import gather, scatter
from gradxform.primitives.logic import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    convert,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    left_shift,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    right_shift,
    select,
    stop_gradient,
)
from gradxform.primitives.reductions import argmax, argmin, reduce_and, reduce_max, reduce_min, reduce_or, reduce_prod
from gradxform.primitives.shape import concatenate, iota, pad, reshape, reverse, slice_array, unit_vectors
from gradxform.primitives.sorting import argsort, order_statistics, sort
from gradxform.primitives.special import digamma, erf, erfc, erfinv, gaussian, lgamma, logaddexp, polygamma, sigmoid

#: Every primitive by name, in a fixed order.
ROSTER: dict[str, Primitive] = {
    primitive.name: primitive
    for family in (linear, arithmetic, complex_numbers, elementary, special, gamma_functions, bessel, integrals, logic, bits,
                   random_bits, shape, fourier, reductions, cumulative, contraction, indexing, sorting, call, callback, scan,
                   while_loop, cond, constant, custom, checkpointing, implicit, windows, failing, lanes, linalg,
                   linalg_solve, linalg_qr, linalg_spectral, linalg_pseudo, linalg_equations)
    for primitive in family.PRIMITIVES
}

__all__ = [
    "ROSTER", "abs", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin",
    "argsort", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "broadcast", "cbrt", "ceil", "clamp", "complex",
    "concatenate", "conj", "convert", "copysign", "cos", "cosh", "cummax", "cummin", "cumprod", "cumsum", "digamma", "div",
    "dot_general", "equal", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "floor_divide", "full", "gather",
    "gaussian", "greater", "greater_equal", "hypot", "imag", "integer_pow", "iota", "isfinite", "isinf", "isnan",
    "left_shift", "less", "less_equal", "lgamma", "log", "log10", "log1p", "log2", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mul", "neg", "not_equal", "order_statistics", "pad",
    "polygamma", "pow", "real", "reciprocal", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod",
    "reduce_sum", "remainder", "reshape", "reverse", "right_shift", "rint", "rsqrt", "scatter", "select", "sigmoid", "sign",
    "sin", "sinh", "slice_array", "sort", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "transpose", "trunc",
    "unit_vectors", "zeros",
]
