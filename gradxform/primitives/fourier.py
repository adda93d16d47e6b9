"""Discrete Fourier transforms along the last axis, without factors: sums of x[j] * exp(-2 pi i j k / n), or with +.

All are linear. The transform of complex numbers is symmetric and so its own transpose. That of real ones gives the first
half of the spectrum only, the other being its mirror image; the transposes follow from that. Each has a sibling on
numbers as they lie in memory, with the real and the imaginary part along a last axis of extent 2: what compiled code
calls (see passes.complex_pairs). That is code of our own (backend/fourier_plan), or NumPy's: pocketfft, by M. Reinecke.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Primitive, Refuses, bind, dtype_of, shape_of
from gradxform.dtypes import complex_dtype, part_dtype
from gradxform.errors import ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import broadcast, full, linear_jvp
from gradxform.loopir.lowering import Expands, Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.arithmetic import mul
from gradxform.primitives.complex import complex as complex_number
from gradxform.primitives.complex import conj, imag, real
from gradxform.primitives.rules import COMPLEX, FLOATS, check_kind
from gradxform.primitives.shape import pad, reshape

#: Chunks into which many of NumPy's transforms are cut, so that threads can share them, if they take so many nanoseconds each.
MOST_CHUNKS = 64
CHUNK_WORK = 20_000.0
#: Nanoseconds per complex number and binary digit of the extent, about: NumPy's loops, passes of our own. Real ones take half.
ELEMENT_WORK = (1.0, 0.2)


def _length(name: str, x: ArrayType) -> int:
    """The extent of the last axis."""
    if not x.rank or not x.shape[-1]:
        raise ShapeError(f"{name}: expected an array whose last axis is not empty, got {x}")
    return x.shape[-1]


# ------------------------------------------------------------------------------------------------ of complex numbers


def fft(x: Any, inverse: bool = False) -> Any:
    """The transform of a complex ``x`` along its last axis, with +i in the exponent if ``inverse``; no factor 1/n."""
    return bind(fft_p, x, inverse=inverse)


def _fft_type(x: ArrayType, *, inverse: bool) -> ArrayType:
    check_kind("fft", x.dtype, COMPLEX)
    _length("fft", x)
    return x.strong()


def _fft_evaluate(x: Any, *, inverse: bool) -> Any:
    return np.fft.ifft(x, norm="forward") if inverse else np.fft.fft(x)


# --------------------------------------------------------------------------------------------------- of real numbers


def rfft(x: Any) -> Any:
    """The first n//2 + 1 elements of the transform of a real ``x`` along its last axis."""
    return bind(rfft_p, x)


def _rfft_type(x: ArrayType) -> ArrayType:
    check_kind("rfft", x.dtype, FLOATS)
    return ArrayType(complex_dtype(x.dtype), (*x.shape[:-1], _length("rfft", x) // 2 + 1))


def _rfft_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any]:
    # The real part of a sum over the first half is half of the sum over all, mirror images and conjugates included.
    extent = operands[0].type.shape[-1]
    return (irfft(_weighed(conj(ct), extent, 0.5), extent),)


def _weighed(x: Any, extent: int, weight: float) -> Any:
    """Half spectra times ``weight`` where an element stands for its mirror image too: not the first, nor n/2."""
    dtype, shape, last = part_dtype(dtype_of(x)), shape_of(x), 1 - extent % 2
    weights = pad(full((extent // 2 - last,), weight, dtype), dtype.type(1), (1,), (last,), (0,))
    wide = broadcast(weights, shape, (len(shape) - 1,))
    return complex_number(mul(real(x), wide), mul(imag(x), wide))


def irfft(x: Any, extent: int) -> Any:
    """The real transform, with +i in the exponent, of the spectrum whose first half is ``x``; no factor 1/n.

    ``x`` has extent//2 + 1 elements along the last axis, the result ``extent``. Imaginary parts that a spectrum of real
    numbers does not have, those of the first and, for an even extent, of the last element, are ignored.
    """
    return bind(irfft_p, x, extent=extent)


def _irfft_type(x: ArrayType, *, extent: int) -> ArrayType:
    check_kind("irfft", x.dtype, COMPLEX)
    if extent < 1 or _length("irfft", x) != extent // 2 + 1:
        raise ShapeError(f"irfft: extent {extent} needs {extent // 2 + 1} elements along the last axis, got {x}")
    return ArrayType(part_dtype(x.dtype), (*x.shape[:-1], extent))


def _irfft_transpose(ct: Any, operands: Sequence[Any], *, extent: int) -> tuple[Any]:
    return (_weighed(conj(rfft(ct)), extent, 2.0),)


# ------------------------------------------------------------------------------------------- as they lie in memory


def _work(function: str, rows: int, extent: int, own: bool) -> float:
    each = ELEMENT_WORK[own] * (1.0 if function in ("forward", "inverse") else 0.5)
    return each * rows * extent * max(extent.bit_length(), 1)


def _chunks(rows: int, work: float) -> int:
    """A number of equal parts."""
    most = min(MOST_CHUNKS, int(work / CHUNK_WORK))
    return max((parts for parts in range(1, most + 1) if rows % parts == 0), default=1)


def _in_memory(name: str, operand_axes: int, result_axes: int, type_rule: Callable[..., ArrayType],
               evaluate: Callable[..., Any], extent_of: Callable[..., int], routine_name: Callable[..., str]) -> Primitive:
    """The sibling of a transform on numbers as they lie in memory.

    So many last axes of the operand and of the result (``..._axes``) are one line.
    """

    def lower(operands: Sequence[Operand], result: Any, **params: Any) -> Native | Expands:
        from gradxform.backend.fourier_text import chunks_of, planned, workspace

        source, function = operands[0].type, routine_name(**params)
        lead = source.shape[:source.rank - operand_axes]
        extent, count = extent_of(source, **params), prod(lead)
        dtype = source.dtype.name
        plan = planned(function, dtype, count, extent)

        def work(rows: int) -> float:
            return _work(function, rows, extent, plan is not None)

        def routine(rows: int, chunks: int = 1) -> Routine:
            parameters = (dtype, rows, extent, chunks) if chunks > 1 else (dtype, rows, extent)
            return Routine(
                f"fft.{function}", parameters, lambda x: (evaluate(x, **params),),
                workspace=workspace(function, dtype, rows, extent, chunks), work=work(rows), threads=chunks > 1)

        if plan is not None:
            if plan.columns:  # each row by itself
                return Native(routine(1, chunks_of(plan, 1, count, work(1))), lead)
            return Native(routine(count, chunks_of(plan, count, 1, work(count))))
        chunks = _chunks(count, work(count))
        # Where the parts are the first extents as they are, operand and result are used where they lie.
        batch = next((lead[:axes] for axes in range(len(lead) + 1) if prod(lead[:axes]) == chunks), None)
        if batch is None:
            shape = (chunks, count // chunks, *source.shape[source.rank - operand_axes:])
            whole = result[0].shape if isinstance(result, tuple) else result.shape
            return Expands(lambda x: reshape(bind_parts(reshape(x, shape), **params), whole))
        return Native(routine(prod(lead[len(batch):])), batch)

    def bind_parts(x: Any, **params: Any) -> Any:
        return bind(primitive, x, **params)

    primitive = Primitive(
        name, type=type_rule, evaluate=evaluate, jvp=Refuses(f"{name} stands in compiled programs only"),
        transpose=Refuses(f"{name} stands in compiled programs only"),
        batch=lambda operands, batched, size, **params: (bind_parts(operands[0], **params), True), lower=lower)
    return primitive


def _as_complex(x: Any) -> Any:
    return np.ascontiguousarray(x).view(complex_dtype(x.dtype))[..., 0]


def _as_parts(x: Any) -> Any:
    return np.ascontiguousarray(x)[..., None].view(part_dtype(x.dtype))


fft_p = Primitive(
    "fft",
    type=_fft_type,
    evaluate=_fft_evaluate,
    jvp=linear_jvp(fft),
    transpose=lambda ct, operands, *, inverse: (fft(ct, inverse),),
    batch=lambda operands, batched, size, *, inverse: (fft(operands[0], inverse), True),
    lower=Refuses("fft is lowered on the parts of its operand"),
)

rfft_p = Primitive(
    "rfft",
    type=_rfft_type,
    evaluate=lambda x: np.fft.rfft(x),
    jvp=linear_jvp(rfft),
    transpose=_rfft_transpose,
    batch=lambda operands, batched, size: (rfft(operands[0]), True),
    lower=Refuses("rfft is lowered on the parts of its result"),
)

irfft_p = Primitive(
    "irfft",
    type=_irfft_type,
    evaluate=lambda x, *, extent: np.fft.irfft(x, extent, norm="forward"),
    jvp=linear_jvp(irfft),
    transpose=_irfft_transpose,
    batch=lambda operands, batched, size, *, extent: (irfft(operands[0], extent), True),
    lower=Refuses("irfft is lowered on the parts of its operand"),
)

fft_parts_p = _in_memory(
    "fft_parts", 2, 2, lambda x, *, inverse: x.strong(),
    lambda x, *, inverse: _as_parts(_fft_evaluate(_as_complex(x), inverse=inverse)),
    lambda x, *, inverse: x.shape[-2], lambda *, inverse: "inverse" if inverse else "forward")

rfft_parts_p = _in_memory(
    "rfft_parts", 1, 2, lambda x: ArrayType(x.dtype, (*x.shape[:-1], x.shape[-1] // 2 + 1, 2)),
    lambda x: _as_parts(np.fft.rfft(x)), lambda x: x.shape[-1], lambda: "real")

irfft_parts_p = _in_memory(
    "irfft_parts", 2, 1, lambda x, *, extent: ArrayType(x.dtype, (*x.shape[:-2], extent)),
    lambda x, *, extent: np.fft.irfft(_as_complex(x), extent, norm="forward"),
    lambda x, *, extent: extent, lambda *, extent: "inverse_real")

PRIMITIVES = (fft_p, rfft_p, irfft_p, fft_parts_p, rfft_parts_p, irfft_parts_p)
