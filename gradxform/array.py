"""The traced array that users see: NumPy's operators, methods and protocols on a value of a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from gradxform import operators
from gradxform.core import Tracer
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.dtypes import DType
from gradxform.errors import (
    ArgumentTypeError,
    DTypeError,
    GradxformError,
    ReadOnlyError,
    ShapeError,
    TracerConversionError,
)
from gradxform.indexing import get
from gradxform.operands import is_operand, known_value, supported_dtype
from gradxform.primitives.logic import convert
from gradxform.primitives.shape import reshape, slice_along
from gradxform.updates import Updates

__all__ = ["Array"]


def _face() -> ModuleType:
    # The face stands on this floor's shoulders: its functions are found when called, not when this module is imported.
    import gradxform.numpy

    return gradxform.numpy


def _operator(apply: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The operator and its reflected form."""

    def forward(self: Array, other: Any) -> Any:
        return apply(self, other) if is_operand(other) else NotImplemented

    def reflected(self: Array, other: Any) -> Any:
        return apply(other, self) if is_operand(other) else NotImplemented

    return forward, reflected


def _method(name: str) -> Callable[..., Any]:
    """The method that is the face's function of that name."""

    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return getattr(_face(), name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"``gradxform.numpy.{name}`` of this array."
    return method


class Array(Tracer):
    """A traced array: what a function that is being transformed computes with.

    It is immutable, and has the operators, methods and protocols of ``numpy.ndarray``; ``np.sin(x)`` works on it.
    Value-dependent Python control flow works where values are known, which they are not under ``jit``.
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]

    # ------------------------------------------------------------------------------------------------ description

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def T(self) -> Any:
        return _face().transpose(self)

    @property
    def mT(self) -> Any:
        return _face().matrix_transpose(self)

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return _face().zeros_like(self)

    @property
    def at(self) -> Updates:
        """Updated copies: ``x.at[i].set(v)``, and add, multiply, divide, power, min, max, get, apply."""
        return Updates(self)

    def __repr__(self) -> str:
        kind = f"{self.dtype.name}[{','.join(map(str, self.shape))}]"
        value = self._value()
        known = "" if value is None else f", value={np.array2string(np.asarray(value), threshold=20, prefix=' ' * 8)}"
        return f"Array({kind}, traced by {self.builder.purpose}{known})"

    def _value(self) -> Any:
        try:
            return known_value(self)
        except GradxformError:
            return None

    def __format__(self, spec: str) -> str:
        return format(np.asarray(concrete(self, f"formatting with {spec!r}"))[()], spec) if spec else str(self)

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError(f"len() of unsized object: a traced array of rank 0{user_line()}")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise ArgumentTypeError(f"iteration over a 0-d array{user_line()}")
        rest = self.shape[1:]
        return iter([reshape(slice_along(self, 0, i, i + 1), rest) for i in range(self.shape[0])])

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    # ------------------------------------------------------------------------------------------------- conversion

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"The truth value of an array with {'more than one element' if self.size else 'no elements'} is "
                f"ambiguous. Use a.any() or a.all(), got {self.type}{user_line()}")
        return bool(np.asarray(concrete(self, "a condition (bool)")).reshape(()))

    def __int__(self) -> int:
        return int(self._only_element("int()"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.shape:
            raise ArgumentTypeError(
                f"only integer scalar arrays can be converted to a scalar index, got {self.type}{user_line()}")
        return int(concrete(self, "an index into a plain array or sequence (index gradxform.numpy.asarray(a)[i] instead)"))

    def _only_element(self, wanted: str) -> Any:
        if self.size != 1:
            raise ArgumentTypeError(
                f"only arrays with one element can be converted to Python scalars, got {self.type} in {wanted}"
                f"{user_line()}")
        return np.asarray(concrete(self, wanted)).reshape(())[()]

    def _cut(self, wanted: str, instead: str) -> NoReturn:
        raise TracerConversionError(
            f"{wanted} would take a traced array of type {self.type} out of {self.builder.purpose} and so cut its "
            f"derivative silently: {instead}{user_line()}")

    def __float__(self) -> float:
        self._cut("float(x), or a function of the math module,", "use NumPy functions, such as np.sin, and np.float64 "
                  "arithmetic on x itself")

    def __complex__(self) -> complex:
        self._cut("complex(x)", "complex numbers are not supported")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self._cut("np.asarray(x), np.array([x]), indexing an ndarray a[x], or storing x into one,",
                  "use gradxform.numpy.array or np.stack, gradxform.numpy.asarray(a)[x] to look up in a plain array, "
                  "and x.at[i].set(v) to update")

    def item(self, *args: Any) -> Any:
        """The element as a Python integer or boolean; floats refuse, as ``float(x)`` does."""
        chosen = self.ravel()[args[0]] if len(args) == 1 and not isinstance(args[0], tuple) else (
            self[args[0] if len(args) == 1 else args] if args else self)
        if self.dtype.kind == "f":
            self._cut("x.item()", "compute with x itself")
        return chosen._only_element("item()").item()

    def tolist(self) -> Any:
        """Nested lists of Python integers or booleans; floats refuse, as ``float(x)`` does."""
        if self.dtype.kind == "f":
            self._cut("x.tolist()", "list(x) gives the traced rows of x")
        return np.asarray(concrete(self, "tolist()")).tolist()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ArgumentTypeError(f"a traced array cannot be pickled: return it from the traced function{user_line()}")

    def __copy__(self) -> Array:
        return self

    def __deepcopy__(self, memo: Any) -> Array:
        return self

    # -------------------------------------------------------------------------------------------------- operators

    __add__, __radd__ = _operator(operators.add)
    __sub__, __rsub__ = _operator(operators.subtract)
    __mul__, __rmul__ = _operator(operators.multiply)
    __truediv__, __rtruediv__ = _operator(operators.divide)
    __floordiv__, __rfloordiv__ = _operator(operators.floor_divide)
    __mod__, __rmod__ = _operator(operators.remainder)
    __divmod__, __rdivmod__ = _operator(operators.divmod_)
    __matmul__, __rmatmul__ = _operator(operators.matmul)
    __and__, __rand__ = _operator(operators.bitwise_and)
    __or__, __ror__ = _operator(operators.bitwise_or)
    __xor__, __rxor__ = _operator(operators.bitwise_xor)
    __lshift__, __rlshift__ = _operator(operators.left_shift)
    __rshift__, __rrshift__ = _operator(operators.right_shift)
    __lt__ = _operator(operators.less)[0]
    __le__ = _operator(operators.less_equal)[0]
    __gt__ = _operator(operators.greater)[0]
    __ge__ = _operator(operators.greater_equal)[0]
    __eq__ = _operator(operators.equal)[0]
    __ne__ = _operator(operators.not_equal)[0]

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return operators.power(self, other) if modulo is None and is_operand(other) else NotImplemented

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return operators.power(other, self) if modulo is None and is_operand(other) else NotImplemented

    def __neg__(self) -> Any:
        return operators.negative(self)

    def __pos__(self) -> Any:
        return operators.positive(self)

    def __abs__(self) -> Any:
        return operators.absolute(self)

    def __invert__(self) -> Any:
        return operators.invert(self)

    def __round__(self, digits: int | None = None) -> Any:
        return _face().round(self, digits or 0)

    # --------------------------------------------------------------------------------------------------- indexing

    def __getitem__(self, index: Any) -> Any:
        if type(index) is int and self.shape and 0 <= index < self.shape[0]:  # the common case, without a plan
            return reshape(slice_along(self, 0, index, index + 1), self.shape[1:])
        return get(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ReadOnlyError(
            f"a traced array of type {self.type} cannot be assigned to: write x = x.at[index].set(value){user_line()}")

    # -------------------------------------------------------------------------------------------------- protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from gradxform.numpy.protocol import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gradxform.numpy.protocol import apply_function

        return apply_function(function, types, args, kwargs)

    # ---------------------------------------------------------------------------------------------------- methods

    def astype(self, dtype: Any, order: str = "K", casting: Any = "unsafe",
               subok: bool = True, copy: bool = True) -> Any:
        """This array in another dtype; the derivative passes between float dtypes and is zero otherwise."""
        target = supported_dtype("astype", dtype)
        if not np.can_cast(self.dtype, target, casting):
            raise DTypeError(f"astype: cannot cast from {self.dtype} to {target} by the rule {casting!r}{user_line()}")
        return convert(self, target)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        """``gradxform.numpy.reshape`` of this array; the shape is one tuple or several integers."""
        return _face().reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        """``gradxform.numpy.transpose`` of this array; the axes are one tuple or several integers."""
        return _face().transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)

    def flatten(self, order: str = "C") -> Any:
        return _face().ravel(self, order)

    def copy(self, order: str = "C") -> Any:
        return self

    def conj(self) -> Any:
        return self

    conjugate = conj

    def fill(self, value: Any) -> NoReturn:
        raise ReadOnlyError(f"a traced array cannot be filled in place: use np.full_like(x, value){user_line()}")

    all = _method("all")
    any = _method("any")
    argmax = _method("argmax")
    argmin = _method("argmin")
    choose = _method("choose")
    clip = _method("clip")
    cumprod = _method("cumprod")
    cumsum = _method("cumsum")
    diagonal = _method("diagonal")
    dot = _method("dot")
    max = _method("max")
    mean = _method("mean")
    min = _method("min")
    nonzero = _method("nonzero")
    prod = _method("prod")
    ptp = _method("ptp")
    ravel = _method("ravel")
    repeat = _method("repeat")
    round = _method("round")
    squeeze = _method("squeeze")
    std = _method("std")
    sum = _method("sum")
    swapaxes = _method("swapaxes")
    take = _method("take")
    trace = _method("trace")
    var = _method("var")

    def compress(self, condition: Any, axis: Any = None) -> Any:
        return _face().compress(condition, self, axis)
