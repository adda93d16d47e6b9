"""Complex numbers and their parts.

Complex arrays are differentiated as pairs of real ones. A tangent is complex, as its primal is, and every rule below is
linear over the reals. A cotangent is paired with a tangent by the real part of their product, Re(ct t), without a
conjugate. So the transpose of multiplying by c is multiplying by c, that of conj is conj, and the gradient of a real
function f of z = x + i y is df/dx - i df/dy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, dtype_of
from gradxform.dtypes import check_same, complex_dtype, part_dtype
from gradxform.ir import ArrayType
from gradxform.linear import batch_elementwise, broadcast_like, elementwise_shape
from gradxform.loopir.lowering import elementwise
from gradxform.primitives.rules import COMPLEX, FLOATS, check_kind, linear_operand, same_dtype, unary


def complex(re: Any, im: Any) -> Any:  # noqa: A001
    """re + i im, of floats; nothing is computed, so infinities, NaN and the signs of zeros stay where they are."""
    return bind(complex_p, *same_dtype(re, im))


def real(x: Any) -> Any:
    """The real part of a complex x."""
    return bind(real_p, x)


def imag(x: Any) -> Any:
    """The imaginary part of a complex x."""
    return bind(imag_p, x)


def conj(x: Any) -> Any:
    """The conjugate of a complex x; it is linear over the reals, not over the complex numbers."""
    return bind(conj_p, x)


def zero_part(like: Any) -> Any:
    """A zero in the dtype of the parts of ``like``."""
    return part_dtype(dtype_of(like)).type(0)


def from_real(x: Any) -> Any:
    """The floats x as complex numbers."""
    return complex(x, zero_part(x))


def turned(x: Any) -> Any:
    """i x, exactly."""
    return complex(imag(conj(x)), real(x))


def _complex_type(re: ArrayType, im: ArrayType) -> ArrayType:
    dtype = check_same("complex", (re.dtype, im.dtype))
    check_kind("complex", dtype, FLOATS)
    return ArrayType(complex_dtype(dtype), elementwise_shape("complex", (re, im)), re.weak and im.weak)


def _complex_evaluate(re: Any, im: Any) -> Any:
    result = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), complex_dtype(re.dtype))
    result.real, result.imag = re, im
    return result


def _complex_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    if all(t is None for t in tangents):
        return None
    return broadcast_like(complex(*[zero_part(output) if t is None else t for t in tangents]), output)


complex_p = Primitive(
    "complex",
    type=_complex_type,
    evaluate=_complex_evaluate,
    jvp=_complex_jvp,
    transpose=lambda ct, operands: (linear_operand(real(ct), operands[0]), linear_operand(imag(conj(ct)), operands[1])),
    batch=batch_elementwise(complex),
    lower=elementwise("complex"),
)
real_p = unary("real", real, evaluate=np.real, tangent=lambda t, x, y: real(t), kinds=COMPLEX, result=part_dtype,
               transpose=lambda ct, operands: (from_real(ct),))
imag_p = unary("imag", imag, evaluate=np.imag, tangent=lambda t, x, y: imag(t), kinds=COMPLEX, result=part_dtype,
               transpose=lambda ct, operands: (conj(complex(zero_part(ct), ct)),))
conj_p = unary("conj", conj, evaluate=np.conjugate, tangent=lambda t, x, y: conj(t), kinds=COMPLEX,
               transpose=lambda ct, operands: (conj(ct),))

PRIMITIVES = (complex_p, real_p, imag_p, conj_p)
