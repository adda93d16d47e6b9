"""Variable: a tensor that can be assigned to."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import current_builder, type_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, DTypeError, ShapeError
from gradxform.ir import Var
from gradxform.tape.recording import accessed
from gradxform.tape.tensor import Held, Tensor, _described, array_of, compiles


class Variable(Tensor):
    """A tensor whose value can be assigned to. Tapes watch the trainable variables that are read while they record.

    Args:
        initial_value: a number, array, nested lists, or a function of no argument that gives one of these.
        trainable: whether tapes watch it of themselves.
        name: what it is printed as.
        dtype: NumPy's for the value if None.

    >>> weight = Variable([1.0, 2.0])
    >>> weight.assign_add([1.0, 1.0]).numpy()
    array([2., 3.])
    """

    __slots__ = ("name", "trainable")

    def __init__(self, initial_value: Any, trainable: bool = True, name: str | None = None, dtype: Any = None) -> None:
        if callable(initial_value):
            initial_value = initial_value()
        array = array_of("Variable", initial_value, dtype)
        array.flags.writeable = False
        super().__init__(Held(array), Var(type_of(array)))
        self.trainable = bool(trainable)
        self.name = "Variable" if name is None else name

    def alias(self) -> Tensor:
        """What it stands for now, as a tensor of its own, without being watched for it."""
        return Tensor(self.builder, self.atom)

    def held(self) -> Any:
        if compiles():
            raise ArgumentError(
                f"Variable {self.name!r} of type {self.type} is read inside a jitted function, which would keep the value that "
                f"it has now: pass it as an argument{user_line()}")
        if _in_rule():
            raise ArgumentError(
                f"Variable {self.name!r} of type {self.type} is read inside a function with a derivative rule of its own, "
                f"which is traced again when that is used, the variable then having another value perhaps: pass it as an "
                f"argument{user_line()}")
        if self.trainable:
            accessed(self)
        return self.alias().held()

    def snapshot(self) -> Any:
        return self.held()[()] if current_builder() is None else self.read_value()

    def read_value(self) -> Any:
        """The value now, as a tensor that later assignments do not change."""
        builder = current_builder()
        if builder is None:
            return Tensor.of(np.array(self.alias().held()))
        return builder.tracer_class(builder, builder.atom(self))

    value = read_value

    def assign(self, value: Any) -> Variable:
        """Give it another value of the same shape. No derivative passes through an assignment.

        Raises ShapeError for another shape, DTypeError for a value whose dtype cannot be cast to the variable's.
        """
        array = array_of("Variable.assign", value)
        if array.shape != self.shape:
            raise ShapeError(
                f"Variable {self.name!r} has shape {self.shape} and cannot be assigned a value of shape {array.shape}: make "
                f"another Variable for it{user_line()}")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise DTypeError(
                f"Variable {self.name!r} has dtype {self.dtype} and cannot be assigned a value of dtype {array.dtype}: cast it "
                f"with .astype{user_line()}")
        array = array.astype(self.dtype, copy=False)
        array.flags.writeable = False
        self.builder, self.atom = Held(array), Var(type_of(array))
        return self

    def assign_add(self, delta: Any) -> Variable:
        """Add ``delta`` to its value."""
        return self.assign(np.add(self.numpy(), array_of("Variable.assign_add", delta)))

    def assign_sub(self, delta: Any) -> Variable:
        """Subtract ``delta`` from its value."""
        return self.assign(np.subtract(self.numpy(), array_of("Variable.assign_sub", delta)))

    def numpy(self) -> Any:
        """The value, as a NumPy array or scalar of its own. No derivative passes through it."""
        return self.alias().numpy()

    def __str__(self) -> str:
        return f"<tf.Variable '{self.name}:0' {_described(self, self.builder.value_of(self.atom))}>"

    __repr__ = __str__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Variable, (self.numpy(), self.trainable, self.name)

    def __copy__(self) -> Variable:
        return Variable(self.numpy(), self.trainable, self.name)

    def __deepcopy__(self, memo: Any) -> Variable:
        return memo.setdefault(id(self), self.__copy__())  # type: ignore[no-any-return]


def _in_rule() -> bool:
    """Whether a function with a derivative rule of its own, or the rule, is being traced."""
    builder = current_builder()
    while builder is not None:
        if builder.purpose.startswith(("custom_", "the gradient of ")) or " rule of " in builder.purpose:
            return True
        builder = builder.parent
    return False
