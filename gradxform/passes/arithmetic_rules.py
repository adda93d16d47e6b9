"""Rules for elementwise operations.

They keep every result bit for bit, NaN payloads aside, except where said otherwise:

- Adding zeros that stand as an array (a broadcast literal, as transforms write zero tangents) is dropped, though
  -0.0 + 0.0 is 0.0; adding the number 0.0 stays, adding -0.0 and subtracting 0.0 are dropped as IEEE allows.
- Literal factors are multiplied together if their product is exact: one rounding where there were two, and no overflow
  or underflow in between.
- Updates that are added to zeros, and these to an array, are added to that array: where positions repeat, the sum is
  taken in another order.
- Small integer powers are products, within 1.5 units in the last place.

x - x and x * 0.0 stay as they are, for NaN and infinities. Integer rules are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.ir import ArrayType, Atom, Literal, Var
from gradxform.passes.rewriting import ELEMENTWISE, Params, Rewriter, Rule, literal, same_bits

# ------------------------------------------------------------------------------------------- operands of all rules


def _layout(rewriter: Rewriter, atom: Atom) -> tuple[Any, ...] | None:
    """(axes, shape) of the array that ``atom`` is a broadcast of; () for a number, None for what is no broadcast."""
    if not atom.type.shape:
        return ()
    equation = rewriter.definition(atom, "broadcast")
    if equation is None:
        return None
    source = equation.inputs[0].type.shape
    return (equation.params[0][1], source) if source else ()


def _below_broadcast(name: str, rule: Rule | None) -> Rule:
    """Operands that repeat a number are replaced by it; an operation of alike broadcasts is done before broadcasting.

        mul (broadcast 2.0) x            ->  mul 2.0 x
        sin (broadcast[shape, axes] x)   ->  broadcast[shape, axes] (sin x)
    """

    def apply(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
        shape = result.shape
        if not shape:
            return None if rule is None else rule(rewriter, inputs, params, result)
        if rule is not None:
            found = rule(rewriter, inputs, params, result)
            if found is not None:
                return found
        layouts = [_layout(rewriter, x) for x in inputs]
        operation = rewriter.vocabulary[name]
        common = next((layout for layout in layouts if layout != ()), ((), ()))
        if common is not None and all(layout in ((), common) for layout in layouts):
            # All operands are numbers, or arrays laid out alike.
            axes, extents = common
            small = tuple([x if not x.type.shape else rewriter.defined[x].inputs[0] for x in inputs])
            lowered = rewriter.apply(operation, small, params, ArrayType(result.dtype, extents))
            return rewriter.emit("broadcast", lowered, shape=shape, axes=axes)
        scalars = tuple([x if scalar is None else scalar for x in inputs for scalar in (rewriter.scalar(x),)])
        return None if scalars == inputs else rewriter.apply(operation, scalars, params, result)

    return apply


def _zeros(rewriter: Rewriter, atom: Atom) -> bool:
    """Whether ``atom`` may be left out of a sum: integer zeros, -0.0, and arrays of zeros."""
    value = rewriter.constant(atom)
    return value is not None and value == 0 and (
        value.dtype.kind in "iu" or bool(atom.type.shape) or bool(np.signbit(value)))


# -------------------------------------------------------------------------------------------------- sums, products


def _add(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    x, y = inputs
    if result.dtype.kind == "b":
        return None
    if _zeros(rewriter, y):
        return rewriter.shaped(x, result.shape)
    if _zeros(rewriter, x):
        return rewriter.shaped(y, result.shape)
    if x is y and isinstance(x, Var):
        return rewriter.emit("mul", literal(2, result.dtype), x)
    for a, b in ((x, y), (y, x)):
        negated = rewriter.definition(b, "neg")
        if negated is not None:
            return _shaped_binary(rewriter, "sub", a, negated.inputs[0], result)
    for a, b in ((x, y), (y, x)):
        if a.type.shape == result.shape:
            found = _added_to(rewriter, a, b)
            if found is not None:
                return found
    return None


def _added_to(rewriter: Rewriter, x: Atom, sparse: Atom) -> Atom | None:
    """x + ``sparse`` where that is zeros with updates added: the updates are added to x itself, or None.

        add x (scatter[operation=add] zeros u i)  ->  scatter[operation=add] x u i
    """
    equation = rewriter.definition(sparse, "scatter")
    if equation is None or dict(equation.params)["operation"] != "add":
        return None
    base, *others = equation.inputs
    start = x if _zeros(rewriter, base) else _added_to(rewriter, x, base)
    if start is None:
        return None
    return rewriter.apply(equation.operation, (start, *others), equation.params, sparse.type)


def _sub(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    x, y = inputs
    value = rewriter.constant(y)
    if value is not None and value == 0 and not (value.dtype.kind == "f" and np.signbit(value)):
        return rewriter.shaped(x, result.shape)
    if _zeros(rewriter, x):
        return rewriter.emit("neg", rewriter.shaped(y, result.shape))
    negated = rewriter.definition(y, "neg")
    if negated is not None:
        return _shaped_binary(rewriter, "add", x, negated.inputs[0], result)
    return None


def _shaped_binary(rewriter: Rewriter, name: str, x: Atom, y: Atom, result: ArrayType) -> Atom:
    return rewriter.shaped(rewriter.emit(name, x, y), result.shape)


def _exact_product(left: Any, right: Any) -> Literal | None:
    """The product of two factors as a literal if it is exact, finite and normal (integers: always)."""
    dtype = left.dtype
    if dtype.kind in "iu":
        with np.errstate(all="ignore"):
            return literal(np.multiply(left, right), dtype)
    a, b = float(left), float(right)
    if not (math.isfinite(a) and math.isfinite(b)):
        return None
    with np.errstate(all="ignore"):
        product = dtype.type(left * right)
    if not math.isfinite(product) or abs(product) < np.finfo(dtype).tiny:
        return None
    (a_over, a_under), (b_over, b_under), (over, under) = (x.as_integer_ratio() for x in (a, b, float(product)))
    return literal(product, dtype) if a_over * b_over * under == over * a_under * b_under else None


def _scaled(rewriter: Rewriter, factor: Any, x: Atom, result: ArrayType) -> Atom | None:
    """factor * x for a NumPy scalar ``factor``, or None if that is best left a product as it stands."""
    if factor == 1:
        return rewriter.shaped(x, result.shape)
    if result.dtype.kind in "if" and factor == -1:
        return rewriter.emit("neg", rewriter.shaped(x, result.shape))
    if result.dtype.kind in "iu" and factor == 0:
        return rewriter.full(0, result)
    equation = rewriter.defined.get(x)
    if equation is not None:
        name = equation.operation.name
        if name == "mul":
            inner = rewriter.constant(equation.inputs[0])
            if inner is not None:
                product = _exact_product(factor, inner)
                if product is not None:
                    return rewriter.shaped(rewriter.emit("mul", product, equation.inputs[1]), result.shape)
        elif name == "neg" and result.dtype.kind in "if":
            negative = literal(-factor, result.dtype)
            return rewriter.shaped(rewriter.emit("mul", negative, equation.inputs[0]), result.shape)
    return None


def _mul(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    x, y = inputs
    if result.dtype.kind == "b":
        return None
    factor = rewriter.constant(x)
    if factor is not None:
        return _scaled(rewriter, factor, y, result)
    factor = rewriter.constant(y)
    if factor is not None:
        found = _scaled(rewriter, factor, x, result)
        if found is not None:
            return found
        # A literal factor stands first, so that products with literals look alike to all rules.
        operands = literal(factor, result.dtype), x
        product = rewriter.append(rewriter.vocabulary["mul"], operands, params, x.type.strong())
        return rewriter.shaped(product, result.shape)
    left, right = rewriter.definition(x, "neg"), rewriter.definition(y, "neg")
    if left is not None and right is not None:
        return _shaped_binary(rewriter, "mul", left.inputs[0], right.inputs[0], result)
    return None


def _is_power_of_two(value: Any) -> bool:
    return math.isfinite(value) and value != 0 and abs(math.frexp(float(value))[0]) == 0.5


def _div(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    x, y = inputs
    if rewriter.constant(x) == 1:
        return rewriter.shaped(rewriter.emit("reciprocal", y), result.shape)
    divisor = rewriter.constant(y)
    if divisor is None or not _is_power_of_two(divisor):
        return None
    with np.errstate(all="ignore"):
        inverse = np.reciprocal(divisor)
    if not math.isfinite(inverse) or abs(inverse) < np.finfo(result.dtype).tiny:
        return None
    return rewriter.shaped(rewriter.emit("mul", literal(inverse, result.dtype), x), result.shape)


def _neg(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    equation = rewriter.defined.get(x)
    if equation is None:
        return None
    if equation.operation.name == "neg":
        return equation.inputs[0]
    if equation.operation.name == "mul" and result.dtype.kind in "if":
        factor = rewriter.constant(equation.inputs[0])
        if factor is not None:
            with np.errstate(all="ignore"):
                negative = literal(-factor, result.dtype)
            return rewriter.shaped(rewriter.emit("mul", negative, equation.inputs[1]), result.shape)
    return None


# ---------------------------------------------------------------------------------------------------------- powers


def _square(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    return rewriter.emit("mul", inputs[0], inputs[0])


def _integer_power(rewriter: Rewriter, x: Atom, exponent: int, result: ArrayType) -> Atom | None:
    if exponent == 0:
        return rewriter.full(1, result)
    if exponent == 1:
        return x
    if exponent == 2:
        return rewriter.emit("mul", x, x)
    if exponent == -1 and result.dtype.kind == "f":
        return rewriter.emit("reciprocal", x)
    return None


def _integer_pow(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    return _integer_power(rewriter, inputs[0], params[0][1], result)


def _pow(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    x, y = inputs
    value = rewriter.constant(y)
    if value is None or not math.isfinite(value) or value != int(value):
        return None
    exponent = int(value)
    if abs(exponent) > 4 or (exponent < 0 and result.dtype.kind != "f"):
        return None
    x = rewriter.shaped(x, result.shape)
    found = _integer_power(rewriter, x, exponent, result)
    return rewriter.emit("integer_pow", x, exponent=exponent) if found is None else found


# ------------------------------------------------------------------------------------------------ logic and choice


def _select(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    condition, x, y = inputs
    value = rewriter.constant(condition)
    if value is not None:
        return rewriter.shaped(x if value else y, result.shape)
    if same_bits(x, y) or _same_constant(rewriter, x, y):
        return rewriter.shaped(x, result.shape)
    inverted = rewriter.definition(condition, "logical_not")
    if inverted is not None:
        return rewriter.shaped(rewriter.emit("select", inverted.inputs[0], y, x), result.shape)
    for position, branch in ((1, x), (2, y)):
        inner = rewriter.definition(branch, "select")
        if inner is not None and inner.inputs[0] is condition:
            chosen = inner.inputs[position]
            pair = (chosen, y) if position == 1 else (x, chosen)
            return rewriter.shaped(rewriter.emit("select", condition, *pair), result.shape)
    return None


def _same_constant(rewriter: Rewriter, x: Atom, y: Atom) -> bool:
    left, right = rewriter.constant(x), rewriter.constant(y)
    return left is not None and right is not None and bool(left.tobytes() == right.tobytes())


def _boolean(neutral: bool) -> Rule:
    """"and" (neutral True) and "or" (neutral False) with a known operand, or of one operand with itself."""

    def rule(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
        x, y = inputs
        if x is y:
            return x
        for known, other in ((x, y), (y, x)):
            value = rewriter.constant(known)
            if value is not None:
                return rewriter.shaped(other, result.shape) if bool(value) == neutral else rewriter.full(value, result)
        return None

    return rule


def _logical_not(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    inner = rewriter.definition(inputs[0], "logical_not")
    return None if inner is None else inner.inputs[0]


def _idempotent(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    return inputs[0] if inputs[0] is inputs[1] else None


def _lossless(source: Any, target: Any) -> bool:
    """Whether every value of ``source`` is a value of ``target``."""
    if source.kind in "iu" and target.kind == "f":
        return bool(8 * source.itemsize <= np.finfo(target).nmant)
    return bool(np.can_cast(source, target, "safe"))


def _convert(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    if x.type.dtype == result.dtype:
        return x
    inner = rewriter.definition(x, "convert")
    if inner is None:
        return None
    first = inner.inputs[0]
    source, middle, target = first.type.dtype, x.type.dtype, result.dtype
    if not _lossless(source, middle):
        return None
    if source == target:
        return first
    if middle.kind == "f" and target.kind in "iu":
        return None  # beyond the target's range that is unspecified, while from an integer it wraps around
    return rewriter.emit("convert", first, dtype=target, weak=result.weak)


_RULES: dict[str, Rule] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "square": _square,
    "integer_pow": _integer_pow, "pow": _pow, "select": _select, "convert": _convert,
    "logical_and": _boolean(True), "logical_or": _boolean(False), "logical_not": _logical_not,
    "maximum": _idempotent, "minimum": _idempotent,
}

RULES: dict[str, Callable[..., Atom | None]] = {name: _below_broadcast(name, _RULES.get(name)) for name in ELEMENTWISE}
