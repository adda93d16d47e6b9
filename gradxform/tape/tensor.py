"""Tensor: a traced array that has a value, inside a tape and outside.

Inside a tape its operations are recorded, and its value is evaluated when it is asked for. Outside each operation is
evaluated at once, and the result is a tensor again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakSet, WeakValueDictionary

import numpy as np

from gradxform import assignment, tree
from gradxform.api.execution import evaluate_natively
from gradxform.array import Array
from gradxform.core import Builder, Tracer, current_builder, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.errors import ArgumentTypeError, ShapeError, TracerConversionError
from gradxform.ir import Atom, Var
from gradxform.ir.callback import has_effect
from gradxform.operands import as_operand, supported_dtype
from gradxform.primitives.checkpointing import name_value
from gradxform.tape.recording import Recording, defined_by, is_recorded, is_unseen
from gradxform.updates import Update, Updates


class Held(Builder):
    """In the place of the builder of a tensor that no equation made: what it holds."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.purpose = "gradxform.tape"
        self.state = "closed"
        self.value = value

    def value_of(self, atom: Atom) -> Any:
        return self.value


def compiles() -> bool:
    """Whether what is read at this moment becomes a constant in native code that `gradxform.jit` keeps."""
    builder = current_builder()
    while builder is not None and builder.parent is not None:
        builder = builder.parent
    return builder is not None and builder.purpose.startswith("jit of ")


#: By identity: the tensors that are constants in native code, which no tape sees into.
_compiled: WeakValueDictionary[int, Tensor] = WeakValueDictionary()


def is_compiled(tensor: Any) -> bool:
    """Whether ``tensor`` is a constant in native code."""
    return _compiled.get(id(tensor)) is tensor


class Session(Builder):
    """What the outermost of nested tapes opens: all it captures has values, so all it records has.

    Once no tape will ask it for derivatives any more, its tensors leave it with their values, or it keeps what these are
    computed from: so a list of losses does not hold what was computed on the way to them.
    """

    __slots__ = ("recordings", "tensors")

    def __init__(self) -> None:
        super().__init__("gradxform.tape", Tensor, evaluate_natively)
        self.recordings: WeakSet[Recording] = WeakSet()
        self.tensors: WeakValueDictionary[int, Tensor] = WeakValueDictionary()

    def value_of(self, atom: Atom) -> Any:
        value = super().value_of(atom)
        if self.state == "closed" and not self.recordings:
            self.release()
        return value

    def release(self) -> None:
        """Let go of values that can be computed again."""
        if self.state != "closed" or self.recordings:
            return
        for tensor in list(self.tensors.values()):
            value = self.known.get(tensor.atom) if isinstance(tensor.atom, Var) else None
            if value is not None:
                tensor.leave(value)
        done = defined_by(filter(has_effect, self.equations))
        given = (*self.inputs, *self._capture_vars.values(), *done)
        self.known = {var: self.known[var] for var in given if var in self.known}


class Tensor(Array):
    """An array of a tape: NumPy's operators, methods and functions, and a value that can be looked at at any time.

    Tensors are made by `constant` and by operations on tensors. They are immutable.
    """

    __slots__ = ()
    is_immutable: ClassVar[bool] = True

    def __init__(self, builder: Builder, atom: Atom) -> None:
        super().__init__(builder, atom)
        if type(builder) is Session:
            builder.tensors[id(self)] = self

    def leave(self, value: Any) -> None:
        """Be no part of what was recorded any more, with this value."""
        self.builder, self.atom = Held(_kept(self.builder, value)), Var(self.type)

    @staticmethod
    def of(value: Any) -> Tensor:
        """The tensor that holds ``value``, an array that nobody writes into any more."""
        array = np.asarray(value)
        array.flags.writeable = False
        return Tensor(Held(array), Var(type_of(array)))

    def held(self) -> Any:
        if is_unseen():
            self._check_recorded("a function that is not recorded, such as a callback,")
        elif compiles():
            _compiled[id(self)] = self
        value = self.builder.value_of(self.atom)
        return super().held() if value is None else np.asarray(value)

    def snapshot(self) -> Any:
        # Functions that are given tensors while nothing is recorded compute with their values.
        return self if current_builder() is not None else self.held()[()]

    @property
    def at(self) -> Updates:
        """Updated copies: ``x.at[i].set(v)``, and add, multiply, divide, power, min, max, get, apply."""
        return _TensorUpdates(self)

    # ------------------------------------------------------------------------------------------------- conversion

    def numpy(self) -> Any:
        """The value, as a NumPy array or scalar of its own. No derivative passes through it."""
        return np.array(concrete(self, "numpy()"))[()]

    def _taken_out(self, wanted: str) -> Any:
        """The value, unless a tape that is recording would lose sight of it."""
        self._check_recorded(wanted)
        return self.numpy()

    def _check_recorded(self, wanted: str) -> None:
        if is_recorded(self):
            raise TracerConversionError(
                f"{wanted} takes a tensor of type {self.type} out of a tape that is recording it, and so would cut its "
                f"derivative silently: use NumPy functions on the tensor itself; x.numpy() where only its value is wanted"
                f"{user_line()}")

    def __float__(self) -> float:
        return float(np.asarray(self._taken_out("float(x)")).item())

    def __complex__(self) -> complex:
        return complex(np.asarray(self._taken_out("complex(x)")).item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self._taken_out("np.asarray(x), or storing x into an ndarray,"), dtype)

    def item(self, *args: Any) -> Any:
        """The element as a Python number; refused inside a tape that records it, as ``float(x)`` is."""
        return np.asarray(self._taken_out("x.item()")).item(*args)

    def tolist(self) -> Any:
        """Nested lists of Python numbers; refused inside a tape that records it, as ``float(x)`` is."""
        return np.asarray(self._taken_out("x.tolist()")).tolist()

    def __str__(self) -> str:
        value = self._value()
        if value is None:
            return super().__repr__()
        shown = str(np.asarray(value))
        return f"tf.Tensor({chr(10) if self.shape else ''}{shown}, shape={self.shape}, dtype={self.dtype.name})"

    def __repr__(self) -> str:
        value = self._value()
        return super().__repr__() if value is None else f"<tf.Tensor: {_described(self, value)}>"

    def __format__(self, spec: str) -> str:
        return format(self.numpy(), spec) if spec else str(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return constant, (self._taken_out("pickling x"),)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        assignment.check_writable(self, "x[index] = value")


def _described(tensor: Tensor, value: Any) -> str:
    shown = repr(np.asarray(value)) if tensor.shape else str(np.asarray(value))
    return f"shape={tensor.shape}, dtype={tensor.dtype.name}, numpy={chr(10) if tensor.ndim > 1 else ''}{shown}"


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, recorded if a builder is open, else evaluated; its results are tensors in both cases."""

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is not None:
            return function(*args, **kwargs)
        with Builder("gradxform.tape", Tensor, evaluate_natively):
            result = function(*args, **kwargs)
        leaves, treedef = tree.flatten(result)
        return tree.unflatten(treedef, [_settled(leaf) for leaf in leaves])

    return apply


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """`eager`, and what it gives is another tensor than what it was given, also where nothing had to be computed.

    So a tape tells ``tf.reshape(x, x.shape)`` from ``x``: derivatives with respect to either do not include the other's.
    """

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        builder = current_builder()
        assert builder is not None
        start = len(builder.equations)
        result = function(*args, **kwargs)
        made = defined_by(builder.equations[start:])

        def distinct(part: Any) -> Any:
            return name_value(part, "tensor") if isinstance(part, Tensor) and part.atom not in made else part

        return tree.map_leaves(distinct, result) if type(result) in (tuple, list) else distinct(result)

    return eager(apply)


def _settled(result: Any) -> Any:
    if not isinstance(result, Tensor):
        return result
    return Tensor.of(_kept(result.builder, result.held()))


def _kept(builder: Builder, value: Any) -> Any:
    """``value``, which ``builder`` has computed, as an array that nobody writes into."""
    array = np.asarray(value)
    if not array.flags.owndata or any(array is captured for captured in builder.captures):
        array = array.copy()
    array.flags.writeable = False
    return array


class _TensorUpdate(Update):
    """The updated copies of a tensor are tensors."""

    __slots__ = ()


class _TensorUpdates(Updates):
    __slots__ = ()

    def __getitem__(self, index: Any) -> Update:
        return _TensorUpdate(self.array, index)


#: What a tensor says of itself or hands out; everything else of an array is an operation.
_NOT_OPERATIONS = frozenset({
    "shape", "dtype", "ndim", "size", "itemsize", "nbytes", "device", "flat", "stamp", "snapshot", "become_assigned",
    "to_device", "fill", "put", "sort", "partition", "_value", "_only_element", "_cut", "__len__", "__bool__", "__int__",
    "__index__", "__dlpack_device__", "__array_namespace__", "__iter__", "__contains__", "__getattribute__",
})


def _make_eager() -> None:
    for name, member in vars(Update).items():
        if callable(member) and not name.startswith("_"):
            setattr(_TensorUpdate, name, eager(member))
    for name, member in vars(Array).items():
        if name in _NOT_OPERATIONS or name in vars(Tensor):
            continue
        if isinstance(member, property):
            setattr(Tensor, name, property(operation(member.fget), doc=member.__doc__))  # type: ignore[arg-type]
        elif callable(member):
            setattr(Tensor, name, operation(member))
    # What is immutable is not changed in place: the name is bound anew, as for numbers.
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"):
        setattr(Tensor, f"__i{name}__", getattr(Tensor, f"__{name}__"))


_make_eager()


def array_of(purpose: str, value: Any, dtype: Any = None) -> Any:
    """``value`` as an ndarray of its own, in ``dtype`` if one is given."""
    wanted = None if dtype is None else supported_dtype(purpose, dtype)
    if isinstance(value, Tracer):
        if not isinstance(value, Tensor):
            return np.array(concrete(value, purpose), wanted)
        value = value.numpy()
    return np.array(as_operand(purpose, value), wanted)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor of this value.

    Args:
        value: a number, an array, or nested lists of numbers.
        dtype: NumPy's for the value if None: float64 for Python floats, int64 for Python integers.
        shape: what a single number is repeated to, or the elements are reshaped to.
        name: accepted and not used.

    Raises:
        ArgumentTypeError: ``value`` is no array of numbers, or it depends on what a tape watches, whose derivative
            would be cut.
        ShapeError: the elements do not fit ``shape``.

    >>> constant([[4, 2], [1, 3]], dtype="float32").dtype
    dtype('float32')
    >>> print(constant(2.0))
    tf.Tensor(2.0, shape=(), dtype=float64)
    """
    if isinstance(value, Tracer):
        raise ArgumentTypeError(
            f"constant: expected numbers, got a traced array of type {value.type}: use it as it stands, or x.numpy() for its "
            f"value without its derivative{user_line()}")
    array = array_of("constant", value, dtype)
    if shape is not None:
        try:
            array = np.array(np.broadcast_to(array, shape)) if array.size == 1 else array.reshape(shape)
        except ValueError:
            raise ShapeError(f"constant: an array of shape {array.shape} does not fit shape {shape}{user_line()}") from None
    return Tensor.of(array)
