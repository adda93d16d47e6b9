"""What single operations, routines and statements cost: flops, calls of functions, bytes. `counting` adds them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log2
from types import MappingProxyType

from gradxform.ir.special_names import SPECIAL_FUNCTIONS
from gradxform.loopir.expression import INDEX_CHECKS, Apply
from gradxform.loopir.loops import Buffer
from gradxform.loopir.routine import Routine

#: Operations on floats that are arithmetic: how many flops one is.
FLOPS: Mapping[str, int] = MappingProxyType({
    **dict.fromkeys((
        "add", "sub", "mul", "div", "square", "reciprocal", "sqrt", "remainder", "floor_divide", "maximum", "minimum",
        "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    ), 1),
    "clamp": 2,
    **dict.fromkeys((
        "neg", "abs", "sign", "copysign", "floor", "ceil", "rint", "trunc", "isnan", "isinf", "isfinite", "select", "guard",
        "convert", "bitcast",
    ), 0),
})
#: Estimated nanoseconds, to choose spans: of an operation, of a load or store, of an elementary and of a special function.
OPERATION_WORK, ACCESS_WORK, ELEMENTARY_WORK, SPECIAL_WORK = 0.15, 0.1, 2.0, 100.0
MULTIPLY_ADD_WORK, PYTHON_WORK = 0.05, 5_000.0


def _transform_flops(_: str, rows: int, extent: int, *__: int) -> float:
    return 5.0 * rows * extent * log2(max(extent, 2))


def _qr_flops(_: str, m: int, n: int, mode: str) -> float:
    k = min(m, n)
    found = 2 * k * k * (max(m, n) - k / 3)
    return found if mode == "r" else 2 * found


def _singular_value_flops(_: str, m: int, n: int, letter: str) -> float:
    m, n = max(m, n), min(m, n)
    return 4 * m * n * n - 4 * n ** 3 / 3 if letter == "N" else 6 * m * n * n + 20 * n ** 3


#: Leading terms of routines, as functions of their parameters.
_ROUTINE_FLOPS: Mapping[str, Callable[..., float]] = MappingProxyType({
    "lapack.cholesky": lambda _, n, *__: n ** 3 / 3,
    "lapack.lu": lambda _, m, n: min(m, n) ** 2 * (max(m, n) - min(m, n) / 3),
    "lapack.solve": lambda _, n, k, *__: 2 * n * n * k,
    "lapack.triangular_solve": lambda _, n, k, *__: n * n * k,
    "lapack.inverse": lambda _, n: 2 * n ** 3,
    "lapack.qr": _qr_flops,
    "lapack.eigh": lambda _, n, __, vectors: (9 if vectors else 4 / 3) * n ** 3,
    "lapack.eig": lambda _, n, vectors: (25 if vectors else 10) * n ** 3,
    "lapack.svd": _singular_value_flops,
    "fft.forward": _transform_flops,
    "fft.inverse": _transform_flops,
    "fft.real": lambda *parameters: _transform_flops(*parameters) / 2,
    "fft.inverse_real": lambda *parameters: _transform_flops(*parameters) / 2,
})


def operation_cost(part: Apply) -> tuple[int, int, float]:
    """The flops and calls that one operation is, and its estimated nanoseconds."""
    operand = part.operands[-1].dtype
    if operand.kind != "f" or part.operation in INDEX_CHECKS:
        return 0, 0, OPERATION_WORK
    flops = FLOPS.get(part.operation)
    if flops is not None:
        return flops, 0, OPERATION_WORK
    return 0, 1, SPECIAL_WORK if part.operation in SPECIAL_FUNCTIONS else ELEMENTARY_WORK


def routine_flops(routine: Routine) -> float:
    """The flops of a routine on one element of a batch; 0.0 of those that are no arithmetic."""
    name, parameters = routine.name, routine.parameters
    if name not in _ROUTINE_FLOPS:
        return 0.0
    # A complex product and the sum it goes to are eight operations; transforms are counted as complex ones.
    each = 4 if name.startswith("lapack.") and str(parameters[0]).startswith("complex") else 1
    return each * _ROUTINE_FLOPS[name](*parameters)


@dataclass(slots=True, eq=False)
class Amount:
    """Totals; ``work`` is an estimate in nanoseconds, ``moved`` the bytes by buffer."""

    flops: float = 0.0
    calls: float = 0.0
    read: float = 0.0
    written: float = 0.0
    work: float = 0.0
    moved: dict[Buffer, float] = field(default_factory=dict)

    def add(self, other: Amount) -> None:
        self.flops += other.flops
        self.calls += other.calls
        self.read += other.read
        self.written += other.written
        self.work += other.work
        for buffer, size in other.moved.items():
            self.moved[buffer] = self.moved.get(buffer, 0.0) + size

    def move(self, buffer: Buffer, count: float, read: bool = False, written: bool = False) -> None:
        """``count`` elements are read, written or both."""
        size = count * buffer.dtype.itemsize
        self.read += size * read
        self.written += size * written
        self.moved[buffer] = self.moved.get(buffer, 0.0) + size
