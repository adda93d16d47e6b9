"""What the rules of elementwise primitives have in common: operand checks and makers of whole primitives.

A family file states what is particular to a primitive: its reference, its derivative, which kinds of dtype it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform.core import Primitive, Refuses, Undefined, dtype_of
from gradxform.dtypes import DType, check_same, is_complex
from gradxform.errors import DTypeError
from gradxform.ir import ArrayType
from gradxform.linear import add, batch_elementwise, broadcast_like, elementwise_shape, unbroadcast
from gradxform.linear import same_dtype as same_dtype
from gradxform.loopir.lowering import elementwise

#: Kinds of dtype, as ``np.dtype.kind`` writes them.
FLOATS, COMPLEX, INEXACT, INTEGERS, REALS, NUMBERS = "f", "c", "fc", "iu", "iuf", "iufc"
BITS, BOOLEAN, ANY = "biu", "b", "biufc"

_KIND_NAMES = {FLOATS: "a float", COMPLEX: "a complex", INEXACT: "a float or complex", INTEGERS: "an integer",
               REALS: "an integer or float", NUMBERS: "an integer, float or complex", BITS: "a bool or integer",
               BOOLEAN: "a bool", ANY: "a supported"}

Tangent = Callable[..., Any]
#: The dtype of a result if it is not that of the operands, or how to find it from theirs.
Result = DType | Callable[[DType], DType] | None


_OPERATORS = ("neg", "abs", "integer_pow", "bitwise_not", "logical_not", "stop_gradient", "real", "imag", "conj")


def check_kind(name: str, dtype: DType, kinds: str) -> None:
    """Raises DTypeError unless ``dtype`` is of one of ``kinds``."""
    if dtype.kind not in kinds:
        mend = "take x.real, x.imag or abs(x)" if is_complex(dtype) else "cast with .astype"
        raise DTypeError(f"{name}: expected operands of {_KIND_NAMES[kinds]} dtype, got {dtype}: {mend}")


def unary_type(name: str, kinds: str, result: Result = None) -> Callable[..., ArrayType]:
    """The type rule of a unary elementwise primitive; parameters do not matter to it.

    Python's own operators keep its scalars weak; any other function gives a NumPy scalar, as ``np.sin(2.0)`` does.
    """
    operator = name in _OPERATORS

    def rule(x: ArrayType, **params: Any) -> ArrayType:
        check_kind(name, x.dtype, kinds)
        if result is None:
            return x if operator else x.strong()
        return ArrayType(result(x.dtype) if callable(result) else result, x.shape, operator and x.weak)

    return rule


def binary_type(name: str, kinds: str, result: DType | None = None) -> Callable[..., ArrayType]:
    """The type rule of a binary elementwise primitive."""

    def rule(x: ArrayType, y: ArrayType) -> ArrayType:
        dtype = check_same(name, (x.dtype, y.dtype))
        check_kind(name, dtype, kinds)
        return ArrayType(result or dtype, elementwise_shape(name, (x, y)), x.weak and y.weak)

    return rule


def no_tangent(primals: Any, tangents: Any, output: Any, **params: Any) -> None:
    """The jvp rule of a primitive whose derivative is zero wherever it exists."""
    return None


def not_linear(name: str) -> Refuses:
    """The transpose rule of a primitive that is linear in none of its operands."""
    return Refuses(f"{name} is not linear in its operands, so it has no transpose")


def unary(
    name: str,
    constructor: Callable[..., Any],
    *,
    evaluate: Callable[..., Any],
    tangent: Tangent | None,
    kinds: str = FLOATS,
    result: Result = None,
    transpose: Callable[..., Any] | None = None,
) -> Primitive:
    """An elementwise primitive of one operand.

    ``tangent(t, x, y)`` is the tangent of the result y = f(x) for a tangent t of x; None if the derivative is zero.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
        (t,) = tangents
        return None if t is None or tangent is None else tangent(t, primals[0], output)

    return Primitive(
        name,
        type=unary_type(name, kinds, result),
        evaluate=evaluate,
        jvp=jvp if tangent is not None else no_tangent,
        transpose=transpose or not_linear(name),
        batch=batch_elementwise(constructor),
        lower=elementwise(name),
    )


def binary(
    name: str,
    constructor: Callable[..., Any],
    *,
    evaluate: Callable[..., Any],
    tangents: tuple[Tangent | None, Tangent | None] | None,
    kinds: str = FLOATS,
    result: DType | None = None,
    transpose: Callable[..., Any] | None = None,
) -> Primitive:
    """An elementwise primitive of two operands.

    ``tangents`` holds a ``tangent(t, x, y, z)`` for each operand: its contribution to the tangent of z = f(x, y), or
    None for an operand on which z does not depend differentiably. A contribution may have rank 0, or be None for zero.
    """
    return Primitive(
        name,
        type=binary_type(name, kinds, result),
        evaluate=evaluate,
        jvp=sum_of_tangents(tangents) if tangents is not None else no_tangent,
        transpose=transpose or not_linear(name),
        batch=batch_elementwise(constructor),
        lower=elementwise(name),
    )


def sum_of_tangents(rules: Sequence[Tangent | None]) -> Callable[..., Any]:
    """The jvp rule that adds the contribution of each operand."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
        total = None
        for rule, t in zip(rules, tangents, strict=True):
            if rule is not None and t is not None:
                part = rule(t, *primals, output)
                if part is not None:
                    total = part if total is None else add(total, part)
        return None if total is None else broadcast_like(total, output)

    return jvp


def linear_operand(ct: Any, operand: Any) -> Any:
    """``ct`` as the cotangent of ``operand`` if that is linear, else None."""
    return unbroadcast(ct, operand.type) if isinstance(operand, Undefined) else None


def is_linear(operand: Any) -> bool:
    """Whether an operand of a transpose rule is a linear one."""
    return isinstance(operand, Undefined)


def constant(value: float, like: Any) -> Any:
    """A real number in the dtype of ``like``."""
    return dtype_of(like).type(value)
