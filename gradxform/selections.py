"""Parts of traced arrays that are no arrays: ``x.flat``, and ``x[mask]`` with a mask whose values are not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from gradxform import assignment, operators
from gradxform.core import Tracer, current_builder, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.errors import DTypeError
from gradxform.indexing import get, update
from gradxform.ir import Atom, Equation, Literal
from gradxform.operands import as_operand, broadcast_to, lift, normalize_axes
from gradxform.primitives.logic import select
from gradxform.primitives.shape import reshape


class Elements:
    """``x.flat``: the elements of ``x`` in row-major order. Indexing it copies, and assigning to it writes into ``x``."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def __len__(self) -> int:
        return int(self.array.size)

    def __iter__(self) -> Iterator[Any]:
        vector = reshape(self.array, (len(self),))
        return (get(vector, i) for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return get(reshape(self.array.snapshot(), (len(self),)), index)

    def __setitem__(self, index: Any, value: Any) -> None:
        x = self.array
        assignment.check_writable(x, "x.flat[index] = value")
        vector = reshape(x.snapshot(), (len(self),))
        values = assignment.value_to_assign(x, value)
        wanted = shape_of(get(vector, index))
        count = int(np.prod(shape_of(values)))
        if shape_of(values) != wanted and wanted and count:  # NumPy repeats them as often as it takes, or cuts them off
            size = int(np.prod(wanted))
            repeated = broadcast_to("x.flat", reshape(values, (1, count)), (-(-size // count), count))
            values = reshape(get(reshape(repeated, (-(-size // count) * count,)), slice(0, size)), wanted)
        assignment.replace(x, reshape(update("x.flat", vector, index, values, "set"), x.shape))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.array.__array__(*args, **kwargs)


def _operator(apply: Callable[[Any, Any], Any], name: str) -> tuple[Callable[..., Any], ...]:
    def forward(self: Chosen, other: Any) -> Any:
        return self.combined(lambda x, y: apply(x, y), other)

    def reflected(self: Chosen, other: Any) -> Any:
        return self.combined(lambda x, y: apply(y, x), other)

    def in_place(self: Chosen, other: Any) -> Any:
        result = self.combined(apply, other)
        if not np.can_cast(result.values.dtype, self.values.dtype, "same_kind"):
            raise DTypeError(
                f"Cannot cast ufunc '{name}' output from dtype('{result.values.dtype}') to dtype('{self.values.dtype}') "
                f"with casting rule 'same_kind'{user_line()}")
        return result

    return forward, reflected, in_place


def _comparison(apply: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A comparison; Python itself turns round the one that is asked for from the other side."""

    def compared(self: Chosen, other: Any) -> Any:
        return self.combined(apply, other)

    return compared


#: The reductions that need not know how many elements there are; of none, they give what NumPy gives.
REDUCTIONS = ("sum", "prod", "mean", "var", "std", "any", "all", "count_nonzero")


def _reduction(name: str) -> Callable[..., Any]:
    def method(self: Chosen, axis: Any = None, dtype: Any = None, out: Any = None, **kwargs: Any) -> Any:
        return self.reduced(name, axis, out, {**kwargs, **({} if dtype is None else {"dtype": dtype})})

    method.__name__ = name
    method.__doc__ = f"``gradxform.numpy.{name}`` of the elements chosen."
    return method


class Chosen:
    """``x[mask]`` where the values of ``mask`` are not known, so that neither is how many elements it has.

    It can be computed with element by element, summed and the like, and assigned where the same mask chooses: as in
    ``x[mask] += 1``. Anything else raises ConcretizationError.
    """

    __slots__ = ("mask", "values")
    __array_priority__ = 1001.0
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any, mask: Any, values: Any = None) -> None:
        self.mask = mask.snapshot()
        if values is None:
            # What is not chosen is computed with too, and its derivative must not be infinite: 0 times that is NaN.
            one = array.dtype.type(1)
            values = lift("indexing", select(self._where(array), array, one))
        self.values = values

    def _where(self, array: Any) -> Any:
        trailing = (1,) * (array.ndim - self.mask.ndim)
        if array.shape[: self.mask.ndim] != self.mask.shape:
            get(array, np.zeros(self.mask.shape, bool))  # raises NumPy's error
        return broadcast_to("indexing", reshape(self.mask, (*self.mask.shape, *trailing)), array.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of the elements."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """The number of axes: the first is the one along which elements are chosen."""
        return int(self.values.ndim - self.mask.ndim + 1)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.mask.__array_namespace__(api_version=api_version)

    def combined(self, apply: Callable[[Any, Any], Any], other: Any) -> Any:
        """``apply`` on the elements chosen by one mask, or on them and what broadcasts with each of them."""
        if isinstance(other, Chosen):
            if not same_value(self.mask, other.mask) or other.values.shape != self.values.shape:
                self.refuse()
            return Chosen(None, self.mask, apply(self.values, other.values))
        operand = as_operand("indexing", other)
        if len(shape_of(operand)) > self.values.ndim - self.mask.ndim:
            self.refuse()
        return Chosen(None, self.mask, apply(self.values, operand))

    def reduced(self, name: str, axis: Any, out: Any, kwargs: dict[str, Any]) -> Any:
        """A reduction over all elements chosen, or over ``axis``, of which the first is the one along which they are chosen."""
        from gradxform import numpy as face  # its functions are found when called, not when this module is imported

        axes = normalize_axes(name, axis, self.ndim)
        if out is not None or kwargs.get("keepdims") is True or "where" in kwargs:
            self.refuse()
        leading = tuple(range(self.mask.ndim))
        over = tuple(k for a in sorted(axes) for k in (leading if a == 0 else (self.mask.ndim - 1 + a,)))
        if 0 not in axes:
            self.refuse()
        values, chosen = self.values, self._where(self.values)
        if name == "count_nonzero":
            return face.sum(face.logical_and(values != 0, chosen), axis=over)
        return getattr(face, name)(values, axis=over, where=chosen, **kwargs)

    sum = _reduction("sum")
    prod = _reduction("prod")
    mean = _reduction("mean")
    var = _reduction("var")
    std = _reduction("std")
    any = _reduction("any")
    all = _reduction("all")
    count_nonzero = _reduction("count_nonzero")

    def assign_to(self, x: Any, index: Any) -> None:
        """``x[index] = self``."""
        if not isinstance(index, Tracer) or not same_value(index, self.mask) or x.shape != self.values.shape:
            self.refuse()
        assignment.check_writable(x, "x[mask] = value")
        base = x.snapshot()
        values = assignment.value_to_assign(x, self.values)
        assignment.replace(x, lift("assignment", select(self._where(base), values, base)))

    def refuse(self) -> NoReturn:
        concrete(self.mask, "indexing with a boolean mask")
        raise AssertionError("a mask of known values is indexed with directly")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.refuse()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self.refuse()

    def __len__(self) -> int:  # noqa: PLE0303
        self.refuse()

    def __iter__(self) -> Iterator[Any]:
        self.refuse()

    def __bool__(self) -> bool:  # noqa: PLE0304
        self.refuse()

    def __getitem__(self, index: Any) -> Any:
        self.refuse()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            self.refuse()
        return elementwise(ufunc, inputs)

    def __neg__(self) -> Any:
        return Chosen(None, self.mask, -self.values)

    def __abs__(self) -> Any:
        return Chosen(None, self.mask, abs(self.values))

    def __invert__(self) -> Any:
        return Chosen(None, self.mask, ~self.values)

    __add__, __radd__, __iadd__ = _operator(operators.add, "add")
    __sub__, __rsub__, __isub__ = _operator(operators.subtract, "subtract")
    __mul__, __rmul__, __imul__ = _operator(operators.multiply, "multiply")
    __truediv__, __rtruediv__, __itruediv__ = _operator(operators.divide, "divide")
    __floordiv__, __rfloordiv__, __ifloordiv__ = _operator(operators.floor_divide, "floor_divide")
    __mod__, __rmod__, __imod__ = _operator(operators.remainder, "remainder")
    __pow__, __rpow__, __ipow__ = _operator(operators.power, "power")
    __lshift__, __rlshift__, __ilshift__ = _operator(operators.left_shift, "left_shift")
    __rshift__, __rrshift__, __irshift__ = _operator(operators.right_shift, "right_shift")
    __and__, __rand__, __iand__ = _operator(operators.bitwise_and, "bitwise_and")
    __or__, __ror__, __ior__ = _operator(operators.bitwise_or, "bitwise_or")
    __xor__, __rxor__, __ixor__ = _operator(operators.bitwise_xor, "bitwise_xor")
    __lt__, __le__ = _comparison(operators.less), _comparison(operators.less_equal)
    __gt__, __ge__ = _comparison(operators.greater), _comparison(operators.greater_equal)
    __eq__, __ne__ = _comparison(operators.equal), _comparison(operators.not_equal)


def elementwise(apply: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """A function of one or two operands, among them `Chosen` ones, that is applied element by element."""
    if len(operands) == 1:
        (chosen,) = operands
        return Chosen(None, chosen.mask, apply(chosen.values))
    first, second = operands
    if isinstance(first, Chosen):
        return first.combined(apply, second)
    return second.combined(lambda x, y: apply(y, x), first)


def same_value(x: Any, y: Any) -> bool:
    """Whether two traced arrays surely have the same value: of one variable, or of the same operation on the same."""
    builder = current_builder()
    assert builder is not None
    first, second = builder.atom(x), builder.atom(y)
    if first is second:
        return True
    if type_of(x) != type_of(y):
        return False
    definitions: dict[Any, Equation] = {equation.outputs[0]: equation for equation in builder.equations if equation.outputs}
    one, other = definitions.get(first), definitions.get(second)
    return (one is not None and other is not None and one.operation is other.operation and one.params == other.params
            and all(_same_atom(a, b) for a, b in zip(one.inputs, other.inputs, strict=True)))


def _same_atom(a: Atom, b: Atom) -> bool:
    return a is b or (isinstance(a, Literal) and isinstance(b, Literal) and a.type == b.type and bool(a.value == b.value))
