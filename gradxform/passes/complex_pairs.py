"""Complex numbers as pairs of real ones.

    { lambda a:c128[3] . let b:c128[3] = mul a a in (b) }
      ->  { lambda a:f64[3,2] . let x = a[:,0] ; y = a[:,1] ; u = x*x - y*y ; v = x*y + y*x in (stack(u, v)) }

Every complex value becomes two real values of its shape, the real and the imaginary parts: loops over them are fused and
vectorised as all loops are. In memory the parts of a number lie side by side, so that a complex input or output of shape S
is a real one of shape S + (2,) of the same bytes. What is written there as a concatenation is stored in its place by the loop
that computes it.

A large product of matrices is one real product of twice the inner extent, of interleaved numbers as they lie in memory with
the blocks [[x, y], [-y, x]] of the right operand: the 1m method of F. G. Van Zee, "Implementing high-performance complex matrix
multiplication via the 1m method", SIAM Journal on Scientific Computing 42 (2020). The result is interleaved again.

This runs first: no other pass sees a complex number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradxform.core.source import user_line
from gradxform.errors import CompileError
from gradxform.ir import Equation, Program
from gradxform.passes import complex_arithmetic as arithmetic
from gradxform.passes import complex_control as control
from gradxform.passes import complex_elementary as elementary
from gradxform.passes import complex_lowering as lowering
from gradxform.passes import complex_rules as rules
from gradxform.passes.complex_values import Pair, Real
from gradxform.passes.complex_writer import Rule, Writer, holds_complex
from gradxform.passes.rewriting import Vocabulary


def split_complex(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without complex numbers; inputs and outputs of shape S + (2,) stand for complex ones.

    The same object if there are none. Raises CompileError for an operation that has no rule.
    """
    return Writer(vocabulary, _rule).boundary(program) if holds_complex(program) else program


def _rule(vocabulary: Vocabulary, equation: Equation) -> Rule:
    name = equation.operation.name
    found = _RULES.get(name) or lowering.rule(vocabulary, equation)
    if found is None:
        where = f"\n  in user code: {equation.source}" if equation.source else user_line()
        raise CompileError(f"{name}: compiled code has no rule for it on complex numbers, got "
                           f"{', '.join([str(x.type) for x in equation.inputs])}: write it with x.real and x.imag{where}")
    return found


_FORMULAS: Mapping[str, Callable[..., Pair | Real]] = {
    "complex": rules.complex_number, "real": lambda z: z.re, "imag": lambda z: z.im, "conj": arithmetic.conj,
    "convert": rules.convert,
    "add": arithmetic.add, "sub": arithmetic.sub, "neg": arithmetic.neg, "mul": arithmetic.mul, "div": arithmetic.div,
    "square": arithmetic.square, "reciprocal": arithmetic.reciprocal, "abs": arithmetic.absolute, "sign": arithmetic.sign,
    "equal": arithmetic.equal, "not_equal": arithmetic.not_equal, "isnan": arithmetic.any_nan,
    "isinf": arithmetic.any_infinite, "isfinite": arithmetic.all_finite,
    "less": rules.less(True, False), "less_equal": rules.less(False, False), "greater": rules.less(True, True),
    "greater_equal": rules.less(False, True), "maximum": rules.extremum(True), "minimum": rules.extremum(False),
    "clamp": rules.clamp,
    "sqrt": elementary.square_root, "rsqrt": elementary.reciprocal_square_root, "pow": elementary.general_power,
    "integer_pow": elementary.integer_power, "exp": elementary.exponential, "exp2": elementary.exponential_2,
    "expm1": elementary.exponential_minus_1, "log": elementary.logarithm, "log2": elementary.logarithm_2,
    "log10": elementary.logarithm_10, "log1p": elementary.logarithm_1p, "sin": elementary.sine, "cos": elementary.cosine,
    "tan": elementary.tangent, "sinh": elementary.hyperbolic_sine, "cosh": elementary.hyperbolic_cosine,
    "tanh": elementary.hyperbolic_tangent, "arcsin": elementary.arc_sine, "arccos": elementary.arc_cosine,
    "arctan": elementary.arc_tangent, "arcsinh": elementary.arc_hyperbolic_sine,
    "arccosh": elementary.arc_hyperbolic_cosine, "arctanh": elementary.arc_hyperbolic_tangent,
}

_PART_BY_PART = ("broadcast", "reshape", "transpose", "slice", "reverse", "concatenate", "pad", "select", "reduce_sum",
                 "cumsum", "gather", "stop_gradient", "name", "windows", "overlap_add")

_RULES: Mapping[str, Rule] = {
    **{name: rules.formula_rule(formula) for name, formula in _FORMULAS.items()},
    **dict.fromkeys(_PART_BY_PART, rules.each_part),
    "barrier": rules.same, "unit_vectors": rules.unit_vectors, "constant": rules.constant,
    "reduce_prod": rules.reduce_prod, "reduce_max": rules.extremum_of, "reduce_min": rules.extremum_of,
    "cumprod": rules.cumulative(arithmetic.mul, True), "cummax": rules.cumulative(rules.extremum(True), False),
    "cummin": rules.cumulative(rules.extremum(False), False),
    "dot_general": rules.dot_general, "scatter": rules.scatter, "sort": rules.sort,
    "scan": control.scan, "while": control.while_loop, "cond": control.cond,
    "pure_callback": control.callback, "io_callback": control.callback, "custom_linear": control.custom_linear,
}

#: Operations that complex numbers may take part in, besides calls of programs.
COMPLEX_OPERATIONS = frozenset(_RULES)
