"""What can go wrong with symbolic expressions, beside `gradxform.errors`."""

from __future__ import annotations

from gradxform.errors import ArgumentError, GradxformError, UnconnectedError

__all__ = ["DisconnectedInputError", "GradientError", "MissingInputError", "UnusedInputError"]


class DisconnectedInputError(UnconnectedError):
    """A gradient was asked for a variable on which the cost does not depend."""


class UnusedInputError(ArgumentError):
    """A function was given an input that none of its outputs needs."""


class MissingInputError(ArgumentError):
    """An output needs a variable that is not among the inputs of the function."""


class GradientError(GradxformError, ArithmeticError):
    """`verify_grad` found a gradient that differs from the finite differences."""
