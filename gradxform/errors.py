"""The error tree: every error subclasses GradxformError and the builtin that a user would catch."""

from __future__ import annotations

import numpy as np


class GradxformError(Exception):
    """Base class of all errors that gradxform raises on purpose."""


class ShapeError(GradxformError, ValueError):
    """Operand shapes do not fit the operation."""


class AxisError(GradxformError, np.exceptions.AxisError):
    """An axis is out of range or given twice. Also a ValueError and an IndexError, as in NumPy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class DTypeError(GradxformError, TypeError):
    """A dtype is not supported, or does not fit the operation."""


class ArgumentError(GradxformError, ValueError):
    """An argument has the right type and a wrong value."""


class ArgumentTypeError(GradxformError, TypeError):
    """An argument is of a type that the function does not take."""


class TreeError(GradxformError, ValueError, TypeError):
    """Two pytrees that must match do not, or a prefix does not fit its tree."""


class ConcretizationError(GradxformError, TypeError):
    """A value was needed while tracing, where only dtype and shape are known."""


class TracerConversionError(ConcretizationError):
    """A traced array was about to leave the program, which would cut its derivative silently."""


class LeakedTracerError(GradxformError, RuntimeError):
    """A traced array was used after the transformation that made it had ended."""


class TapeError(GradxformError, RuntimeError):
    """A gradient tape is used after it has been used up, or before or while it records where that makes no sense."""


class IndexRangeError(GradxformError, IndexError):
    """An index is out of the range of its axis."""


class LinAlgError(GradxformError, np.linalg.LinAlgError):
    """A matrix is singular, not positive definite or not square, or an iteration did not converge; a ValueError, too."""


class UnconnectedError(GradxformError, ValueError):
    """A gradient was asked for an argument on which the output does not depend."""


class NotDifferentiableError(GradxformError, TypeError):
    """A derivative was asked of something that has none (integer input, missing rule)."""


class ReadOnlyError(GradxformError, ValueError, TypeError):
    """An immutable traced array or an argument was assigned to."""


class VmapError(GradxformError, NotImplementedError):
    """An operation cannot be batched as it stands."""


class NanError(GradxformError, FloatingPointError):
    """A result is NaN while ``config.debug_nans`` is set."""


class CheckError(GradxformError, AssertionError):
    """An intermediate program breaks the grammar: a bug in gradxform, not in user code."""


class CompileError(GradxformError, RuntimeError):
    """The native compiler refused a program: a bug in gradxform, not in user code."""
