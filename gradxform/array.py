"""The traced array that users see: NumPy's operators, methods and protocols on a value of a program."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, ClassVar, NoReturn

import numpy as np

from gradxform import assignment, operators
from gradxform.core import Tracer, current_builder
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.dtypes import DType, is_complex, is_differentiable
from gradxform.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GradxformError,
    ShapeError,
    TracerConversionError,
)
from gradxform.indexing import get
from gradxform.ir import Atom
from gradxform.operands import is_operand, known_value, supported_dtype
from gradxform.primitives.logic import convert
from gradxform.primitives.shape import reshape, slice_along
from gradxform.selections import Chosen, Elements
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


def _in_place(apply: Callable[[Any, Any], Any], name: str) -> Callable[..., Any]:
    """The augmented assignment. What NumPy gives as a scalar is immutable, and its name is bound anew."""

    def assign(self: Array, other: Any) -> Any:
        if not is_operand(other):
            return NotImplemented
        if not self.type.shape and self.is_scalar:
            return apply(self, other)
        assignment.check_writable(self, f"{name} in place")
        assignment.in_place(name, self, apply(self, other))
        return self

    return assign


def _method(name: str) -> Callable[..., Any]:
    """The method that is the face's function of that name."""

    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return getattr(_face(), name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"``gradxform.numpy.{name}`` of this array."
    return method


class Array(Tracer):
    """A traced array: what a function that is being transformed computes with.

    It has the operators, methods and protocols of ``numpy.ndarray``; ``np.sin(x)`` works on it. Arrays that are made while
    tracing can be assigned to, with NumPy's views; arguments of the traced function are read-only.
    Value-dependent Python control flow works where values are known, which they are not under ``jit``.
    """

    __slots__ = ("record",)
    record: Any  # what `gradxform.assignment` keeps of views and of arrays that were assigned to; unset in others
    #: Whether this is a view of another array, an array that was assigned to, one that is its own whatever it stands for
    #: (copies, and 0-d arrays), and what NumPy has as a scalar if it is of rank 0.
    is_view: ClassVar[bool] = False
    is_assigned: ClassVar[bool] = False
    is_own: ClassVar[bool] = False
    is_scalar: ClassVar[bool] = True
    #: Whether there is no assignment to arrays of this class, so that views of them need not be told from others.
    is_immutable: ClassVar[bool] = False
    __array_priority__ = 1000.0
    __pandas_priority__ = 5000  # columns and tables leave their operators to traced arrays
    __hash__ = None  # type: ignore[assignment]

    @property
    def stamp(self) -> object:
        """Another object whenever this array was assigned to."""
        return self.atom

    def snapshot(self) -> Any:
        return Array(self.builder, self.atom)

    def become_assigned(self, record: assignment.Pending) -> None:
        self.__class__ = _AssignedArray
        self.record = record

    # ------------------------------------------------------------------------------------------------ description

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """The dtype of the elements, one of NumPy's."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.type.rank

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.type.size

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * self.itemsize

    @property
    def device(self) -> str:
        """Where the elements lie: the array API standard asks for it."""
        return "cpu"

    @property
    def T(self) -> Any:
        """The array with its axes in reverse order."""
        return _face().transpose(self)

    @property
    def mT(self) -> Any:
        """The array with its last two axes exchanged."""
        return _face().matrix_transpose(self)

    @property
    def real(self) -> Any:
        """The real part: the array itself if it is real. The derivative is that of a linear function over the reals."""
        return view_of(self, operators.real)

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> Any:
        """The imaginary part: zeros if the array is real."""
        return view_of(self, operators.imag)

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    @property
    def at(self) -> Updates:
        """Updated copies: ``x.at[i].set(v)``, and add, multiply, divide, power, min, max, get, apply."""
        return Updates(self)

    @property
    def flat(self) -> Elements:
        """The elements in row-major order: read, iterated over and assigned to as of a vector."""
        return Elements(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        Elements(self)[:] = value

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
        return iter([self[i] for i in range(self.shape[0])])

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
        if is_complex(self.dtype):
            raise ArgumentTypeError(f"int() takes a real number, got {self.type}: take x.real{user_line()}")
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
        self._cut("complex(x), or a function of the cmath module,", "use NumPy functions, such as np.exp, on x itself")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self._cut("np.asarray(x), np.array([x]), indexing an ndarray a[x], or storing x into one,",
                  "use gradxform.numpy.array or np.stack, gradxform.numpy.asarray(a)[x] to look up in a plain array, "
                  "and gradxform.numpy.zeros to make one that traced values can be stored into")

    def item(self, *args: Any) -> Any:
        """The element as a Python integer or boolean; floats and complex numbers refuse, as ``float(x)`` does."""
        chosen = self.ravel()[args[0]] if len(args) == 1 and not isinstance(args[0], tuple) else (
            self[args[0] if len(args) == 1 else args] if args else self)
        if is_differentiable(self.dtype):
            self._cut("x.item()", "compute with x itself")
        return chosen._only_element("item()").item()

    def tolist(self) -> Any:
        """Nested lists of Python integers or booleans; floats and complex numbers refuse, as ``float(x)`` does."""
        if is_differentiable(self.dtype):
            self._cut("x.tolist()", "list(x) gives the traced rows of x")
        return np.asarray(concrete(self, "tolist()")).tolist()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ArgumentTypeError(f"a traced array cannot be pickled: return it from the traced function{user_line()}")

    def __copy__(self) -> Any:
        return own(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return own(self)

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

    __iadd__ = _in_place(operators.add, "add")
    __isub__ = _in_place(operators.subtract, "subtract")
    __imul__ = _in_place(operators.multiply, "multiply")
    __itruediv__ = _in_place(operators.divide, "divide")
    __ifloordiv__ = _in_place(operators.floor_divide, "floor_divide")
    __imod__ = _in_place(operators.remainder, "remainder")
    __imatmul__ = _in_place(operators.matmul, "matmul")
    __iand__ = _in_place(operators.bitwise_and, "bitwise_and")
    __ior__ = _in_place(operators.bitwise_or, "bitwise_or")
    __ixor__ = _in_place(operators.bitwise_xor, "bitwise_xor")
    __ilshift__ = _in_place(operators.left_shift, "left_shift")
    __irshift__ = _in_place(operators.right_shift, "right_shift")
    __ipow__ = _in_place(operators.power, "power")

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return operators.power(self, other) if modulo is None and is_operand(other) else NotImplemented

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return operators.power(other, self) if modulo is None and is_operand(other) else NotImplemented

    def __neg__(self) -> Any:
        return operators.negative(self)

    def __pos__(self) -> Any:
        return fresh(operators.positive(self))

    def __abs__(self) -> Any:
        found = operators.absolute(self)
        return fresh(found) if found is self else found

    def __invert__(self) -> Any:
        return operators.invert(self)

    def __round__(self, digits: int | None = None) -> Any:
        return _face().round(self, digits or 0)

    # --------------------------------------------------------------------------------------------------- indexing

    def __getitem__(self, index: Any) -> Any:
        shape = self.type.shape
        if type(index) is int and shape and 0 <= index < shape[0]:  # the common case, without a plan
            if self.is_assigned:
                found = assignment.stored(self, (index,))
                if found is not None:
                    return _stored_view(self, found, index) if found.type.shape else found
            rest = shape[1:]
            if not rest:
                return reshape(slice_along(self, 0, index, index + 1), rest)
            return view_of(self, lambda x: reshape(slice_along(x, 0, index, index + 1), rest), index)
        if not assignment.is_basic(index):
            if isinstance(index, Tracer) and index.type.dtype.kind == "b" and known_value(index) is None:
                return Chosen(self, index)
            found = get(self, index)
            return fresh(found) if found is self else found
        if self.is_assigned:
            key = assignment.static_key(shape, index)
            found = None if key is None else assignment.stored(self, key)
            if found is not None:
                return _stored_view(self, found, index) if found.type.shape else found
        found = view_of(self, lambda x: get(x, index), index)
        if not found.type.shape and not _has_ellipsis(index):  # NumPy gives a scalar
            return found.snapshot()
        return found

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, Chosen):
            value.assign_to(self, index)
        else:
            assignment.assign(self, index, value)

    # -------------------------------------------------------------------------------------------------- protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from gradxform.numpy.protocol import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        """The namespace of the array API standard: `gradxform.numpy`."""
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ArgumentError(f"__array_namespace__: no version {api_version!r} of the array API standard{user_line()}")
        return _face()

    def to_device(self, device: Any, /, *, stream: Any = None) -> Array:
        """This array; there is no other device than "cpu"."""
        if device != "cpu" or stream is not None:
            raise ArgumentError(f"to_device: the only device is 'cpu', without streams, got {device!r}{user_line()}")
        return self

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None) -> NoReturn:
        self._cut("x.__dlpack__()", "pass it to functions of gradxform.numpy")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the CPU, of which there is one

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gradxform.numpy.protocol import apply_function

        return apply_function(function, types, args, kwargs)

    # ---------------------------------------------------------------------------------------------------- methods

    def astype(self, dtype: Any, order: str = "K", casting: Any = "unsafe",
               subok: bool = True, copy: bool = True) -> Any:
        """This array in another dtype; the derivative passes between float and complex dtypes and is zero otherwise.

        A complex array that becomes real loses its imaginary part, with NumPy's ComplexWarning.
        """
        target = supported_dtype("astype", dtype)
        if not np.can_cast(self.dtype, target, casting):
            raise DTypeError(f"astype: cannot cast from {self.dtype} to {target} by the rule {casting!r}{user_line()}")
        if is_complex(self.dtype) and target.kind not in "bc":
            warnings.warn("Casting complex values to real discards the imaginary part: take x.real" + user_line(),
                          np.exceptions.ComplexWarning, stacklevel=2)
        if target != self.dtype:
            return convert(self, target)
        return own(self) if copy else self

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        """``gradxform.numpy.reshape`` of this array; the shape is one tuple or several integers."""
        return _face().reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        """``gradxform.numpy.transpose`` of this array; the axes are one tuple or several integers."""
        return _face().transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)

    def flatten(self, order: str = "C") -> Any:
        """The elements in one axis, copied."""
        return own(_face().ravel(self, order))

    def copy(self, order: str = "C") -> Any:
        """An array of the same elements that can be assigned to; compiled, it costs nothing where nobody does."""
        return own(self)

    def conj(self) -> Any:
        """The complex conjugate: the array itself if it is real."""
        return operators.conjugate(self)

    conjugate = conj

    def fill(self, value: Any) -> None:
        """Assign ``value`` to all elements."""
        self[...] = value

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        """``gradxform.numpy.put`` into this array."""
        _face().put(self, indices, values, mode)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
        """Sort this array in place."""
        assignment.check_writable(self, "sort in place")
        assignment.in_place("sort", self, _face().sort(self, axis, kind, order, stable=stable))

    def partition(self, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
        """Partition this array in place: all of it is sorted."""
        assignment.check_writable(self, "partition in place")
        assignment.in_place("partition", self, _face().partition(self, kth, axis, kind, order))

    all = _method("all")
    any = _method("any")
    argmax = _method("argmax")
    argmin = _method("argmin")
    argpartition = _method("argpartition")
    argsort = _method("argsort")
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
    searchsorted = _method("searchsorted")
    squeeze = _method("squeeze")
    std = _method("std")
    sum = _method("sum")
    swapaxes = _method("swapaxes")
    take = _method("take")
    trace = _method("trace")
    var = _method("var")

    def compress(self, condition: Any, axis: Any = None) -> Any:
        return _face().compress(condition, self, axis)


class _OwnArray(Array):
    """An array that NumPy would hold in memory of its own though nothing tells so: a copy, or an array of rank 0."""

    __slots__ = ()
    is_own = True
    is_scalar = False


class _AssignedArray(_OwnArray):
    """An array that was assigned to: stores may be pending."""

    __slots__ = ()
    is_assigned = True
    atom = property(assignment.flushed)

    @property
    def type(self) -> Any:
        return assignment.held.__get__(self).type

    @property
    def stamp(self) -> object:
        return self.record.stamp


class _ViewArray(Array):
    """A view of another array."""

    __slots__ = ()
    is_view = True
    is_scalar = False
    atom = property(assignment.refreshed)

    @property
    def type(self) -> Any:
        return assignment.held.__get__(self).type

    @property
    def stamp(self) -> object:
        return self.record.root.stamp


def _as_view(result: Any, path: assignment.Path, atom: Atom) -> Any:
    result.__class__ = _ViewArray
    result.record = path
    assignment.held.__set__(result, atom)
    return result


def view_of(x: Any, derive: Callable[[Any], Any], key: Any = None) -> Any:
    """``derive(x)``, which NumPy gives as a view of ``x``; ``key`` is the index if it is ``x[key]``."""
    builder = current_builder()
    if builder is None or not isinstance(x, Array) or x.is_immutable:
        return derive(x)
    base = builder.atom(x)  # first, for it may record equations that are no part of the path
    start = len(builder.equations)
    result = derive(x)
    if result is x or not isinstance(result, Array) or result.is_view or result.builder is not builder:
        return result
    if key is None:
        links = assignment.trail(builder.equations[start:], base, result.atom)
        if not links:
            return result
        return _as_view(result, assignment.Path(x, base, links, None), result.atom)
    return _as_view(result, assignment.Path(x, None, None, key), result.atom)


def linked(result: Any, x: Any, start: int) -> Any:
    """``result`` of a function of ``x``, recorded from equation ``start`` on, as the view of ``x`` that NumPy makes it.

    It is an array of its own if NumPy would have to copy, or if what was recorded does not lead from ``x`` to ``result``.
    """
    builder = current_builder()
    if builder is None or result is x or result.builder is not builder or x.is_immutable or result.is_immutable:
        return result
    if result.is_view and result.record.parent is x:
        links = result.record.links
        path = result.record
    else:
        base, atom = builder.atom(x), result.atom
        if atom is base:  # nothing was recorded: another handle for the same
            return x
        links = assignment.trail(builder.equations[start:], base, atom)
        if links is None:
            return own(result)
        path = assignment.Path(x, base, links, None)
        result = result.snapshot() if result.is_view or result.is_assigned else result
    if links is not None and assignment.copies(x, links):
        return own(result)
    return _as_view(result, path, result.atom)


def _stored_view(x: Any, value: Any, key: Any) -> Any:
    """The view ``x[key]`` of an array into which ``value`` was stored there."""
    return _as_view(value.snapshot(), assignment.Path(x, None, None, key), value.atom)


def own(x: Any) -> Any:
    """An array of the same elements that shares its memory with no other."""
    builder = current_builder()
    if builder is None or (x.is_immutable and builder.tracer_class is not Array):
        return x
    return _OwnArray(builder, builder.atom(x))


def fresh(x: Any) -> Any:
    """An array of its own, or what NumPy has as a scalar, of the same elements."""
    return own(x) if x.type.shape else x.snapshot()


def _has_ellipsis(index: Any) -> bool:
    return index is Ellipsis or (isinstance(index, tuple) and any(part is Ellipsis for part in index))
