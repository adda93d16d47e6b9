"""Variables: what expressions are written with. They have the operators and methods of NumPy's arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from gradxform.core.source import user_line
from gradxform.dtypes import is_differentiable, python_scalar_dtype
from gradxform.errors import ArgumentError, ArgumentTypeError, NotDifferentiableError
from gradxform.symbolic.calls import as_variable, defer, take
from gradxform.symbolic.graph import Node, TensorType, checked_array, tensor_type
from gradxform.symbolic.shapes import shape_of

__all__ = ["Constant", "SharedVariable", "Variable", "check_differentiable", "constant", "shared"]


def _binary(function: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The operator and its reflected form."""
    name = function.__name__.strip("_")

    def forward(self: Variable, other: Any) -> Any:
        return defer(name, function, (self, as_variable(other)))

    def reflected(self: Variable, other: Any) -> Any:
        return defer(name, function, (as_variable(other), self))

    return forward, reflected


def _method(name: str) -> Callable[..., Any]:
    """The method that is NumPy's function of that name."""

    def method(self: Variable, *args: Any, **kwargs: Any) -> Any:
        return defer(name, getattr(np, name), (self, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"``{name}`` of this variable, with NumPy's arguments."
    return method


class Variable(Node):
    """A symbolic array: it has a dtype and a rank, its extents are known when a compiled function is called.

    Operators, NumPy's functions and the methods of arrays give further variables. As in Theano, ``==`` compares identity,
    so that variables can be keys: ``eq`` compares values.
    """

    __array_priority__ = 2000.0

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.ndim

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        return self.type.broadcastable

    @property
    def shape(self) -> Any:
        """The extents, a vector of integers that may be indexed and computed with."""
        return shape_of(self)

    @property
    def size(self) -> Any:
        """The number of elements."""
        return defer("prod", np.prod, (self.shape,))

    @property
    def T(self) -> Any:
        return defer("transpose", np.transpose, (self,))

    @property
    def real(self) -> Any:
        return defer("real", np.real, (self,))

    @property
    def imag(self) -> Any:
        return defer("imag", np.imag, (self,))

    def __repr__(self) -> str:
        return self.name if self.name is not None else (
            f"<{self.type}>" if self.owner is None else f"{self.owner.op.name}.{self.index}")

    # ------------------------------------------------------------------------------------------------- refusals

    def __bool__(self) -> NoReturn:
        raise ArgumentTypeError(
            f"a symbolic variable has no truth value until a compiled function is called: use switch or ifelse{user_line()}")

    def __len__(self) -> NoReturn:
        raise ArgumentTypeError(f"a symbolic variable has no length until a function is called: use x.shape[0]{user_line()}")

    def __iter__(self) -> Iterator[Any]:
        extent = self.type.shape[0] if self.type.shape else None
        if extent is None:
            raise ArgumentTypeError(
                f"iteration over {self}, whose extent is known only when a function is called: use scan{user_line()}")
        return iter([self[position] for position in range(extent)])

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ArgumentTypeError(
            f"{self} is symbolic and has no values: np.asarray(x), np.array([x]) and a[x] = ... need some. Use stack to join "
            f"variables, and function([inputs], x) or x.eval({{input: value}}) to compute{user_line()}")

    def __float__(self) -> NoReturn:
        self.__array__()

    def __int__(self) -> NoReturn:
        self.__array__()

    # ------------------------------------------------------------------------------------------------- operators

    __add__, __radd__ = _binary(operator.add)
    __sub__, __rsub__ = _binary(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv)
    __mod__, __rmod__ = _binary(operator.mod)
    __divmod__, __rdivmod__ = _binary(divmod)
    __pow__, __rpow__ = _binary(operator.pow)
    __matmul__, __rmatmul__ = _binary(operator.matmul)
    __and__, __rand__ = _binary(operator.and_)
    __or__, __ror__ = _binary(operator.or_)
    __xor__, __rxor__ = _binary(operator.xor)
    __lshift__, __rlshift__ = _binary(operator.lshift)
    __rshift__, __rrshift__ = _binary(operator.rshift)
    __lt__ = _binary(operator.lt)[0]
    __le__ = _binary(operator.le)[0]
    __gt__ = _binary(operator.gt)[0]
    __ge__ = _binary(operator.ge)[0]

    def __neg__(self) -> Any:
        return defer("neg", operator.neg, (self,))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return defer("abs", abs, (self,))

    def __invert__(self) -> Any:
        return defer("invert", operator.invert, (self,))

    def __getitem__(self, index: Any) -> Any:
        return defer("getitem", take, (self, index))

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ArgumentTypeError(f"a symbolic variable cannot be assigned to: y = set_subtensor(x[i], v){user_line()}")

    # ----------------------------------------------------------------------------------------- NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            raise ArgumentTypeError(f"{ufunc.__name__}: a symbolic result has no memory to be written to: use the result, "
                                    f"a = a + x{user_line()}")
        # Values become constants, to be printed as such; those of other methods may be axes and indices.
        operands = tuple([as_variable(x) for x in inputs]) if method == "__call__" else inputs
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return defer(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}", function, operands, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gradxform.symbolic import namespace

        return namespace.face_of(function)(*args, **kwargs)

    # --------------------------------------------------------------------------------------------------- methods

    def astype(self, dtype: Any) -> Any:
        """This variable in another dtype."""
        wanted = tensor_type(dtype, ()).dtype
        return self if wanted == self.dtype else defer(f"cast{{{wanted}}}", _as_dtype, (self, wanted))

    def reshape(self, *shape: Any, ndim: int | None = None) -> Any:
        """The elements in another shape, of integers and integer variables; Theano's ``ndim`` is not needed."""
        from gradxform.symbolic import namespace

        return namespace.reshape(self, shape[0] if len(shape) == 1 else shape, ndim=ndim)

    def flatten(self, ndim: int = 1) -> Any:
        """The elements in ``ndim`` axes: the first ones stay, the rest become one."""
        from gradxform.symbolic import namespace

        return namespace.flatten(self, ndim)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return defer("transpose", np.transpose, (self, order))

    def dimshuffle(self, *pattern: Any) -> Any:
        """Axes in the order of ``pattern``, with 'x' for a new axis of extent 1; axes left out have extent 1.

        >>> import gradxform.symbolic as T
        >>> T.dvector("v").dimshuffle("x", 0).broadcastable
        (True, False)
        """
        order = tuple(pattern[0]) if len(pattern) == 1 and isinstance(pattern[0], (tuple, list)) else pattern
        kept = [axis for axis in order if axis != "x"]
        if sorted(set(kept)) != sorted(kept) or not all(isinstance(a, int) and 0 <= a < self.ndim for a in kept):
            raise ArgumentError(f"dimshuffle: {order} is no order of the {self.ndim} axes of {self}, each at most once, and "
                                f"'x'{user_line()}")
        return defer("dimshuffle", _dimshuffle, (self, order))

    def norm(self, order: Any = 2, axis: Any = None, keepdims: bool = False) -> Any:
        """The norm of all elements, or along an axis."""
        subject = self.flatten() if axis is None else self
        return defer("norm", np.linalg.norm, (subject, order, axis, keepdims))

    def copy(self, name: str | None = None) -> Any:
        """This variable under another name."""
        found = defer("copy", np.copy, (self,))
        found.name = name
        return found

    def eval(self, values: dict[Any, Any] | None = None) -> Any:
        """The value, given those of the inputs. For a look: `function` compiles once for many calls.

        >>> import gradxform.symbolic as T
        >>> x = T.dscalar("x")
        >>> (x + 1).eval({x: 2.0})
        array(3.)
        """
        from gradxform.symbolic.functions import function

        given = values or {}
        return function(list(given), self, on_unused_input="ignore")(*given.values())


for _name in ("all", "any", "argmax", "argmin", "argsort", "choose", "clip", "compress", "conj", "conjugate", "cumprod",
              "cumsum", "diagonal", "dot", "max", "mean", "min", "prod", "ptp", "ravel", "repeat", "round", "sort", "squeeze",
              "std", "sum", "swapaxes", "take", "trace", "var"):
    setattr(Variable, _name, _method(_name))


def _as_dtype(x: Any, dtype: str) -> Any:
    return np.asarray(x).astype(dtype) if isinstance(x, (int, float, complex)) else x.astype(dtype)


def _dimshuffle(x: Any, order: tuple[Any, ...]) -> Any:
    kept = [axis for axis in order if axis != "x"]
    dropped = tuple([axis for axis in range(np.ndim(x)) if axis not in kept])
    moved = np.transpose(x, (*dropped, *kept))
    if any(np.shape(moved)[axis] != 1 for axis in range(len(dropped))):
        raise ArgumentError(f"dimshuffle: the axes {dropped} are left out and have not extent 1, shape {np.shape(x)}"
                            f"{user_line()}")
    flat = np.squeeze(moved, tuple(range(len(dropped))))
    return np.expand_dims(flat, tuple([place for place, axis in enumerate(order) if axis == "x"]))


class Constant(Variable):
    """A value in an expression. A Python number promotes by its kind only, as in NumPy: ``fvector * 2.0`` is float32."""

    def __init__(self, value: Any, name: str | None = None) -> None:
        found = checked_array(value, "a constant")
        if python_scalar_dtype(value) is None and isinstance(value, (np.ndarray, list, tuple)):
            found = np.array(found)
        super().__init__(TensorType(found.dtype.name, found.shape), name)
        self.data = value if python_scalar_dtype(value) is not None else found if found.shape else found[()]

    @property
    def value(self) -> Any:
        return self.data


class SharedVariable(Variable):
    """A variable with a value of its own, that functions read and their ``updates`` change. Made by `shared`."""

    def __init__(self, value: Any, name: str | None, borrow: bool, shape: tuple[int | None, ...] | None) -> None:
        array = checked_array(value, "shared: the value")
        super().__init__(TensorType(array.dtype.name, shape if shape is not None else (None,) * array.ndim), name)
        self.container = array if borrow else np.array(array)

    def get_value(self, borrow: bool = False) -> Any:
        """The present value: a copy, or with ``borrow`` the array that functions read."""
        return self.container if borrow else np.array(self.container)

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Another value, of this dtype and rank; its extents may differ."""
        from gradxform.symbolic.conversion import converted

        self.container = converted(f"set_value of {self}", self.type, value, not borrow)

    def __repr__(self) -> str:
        return self.name if self.name is not None else f"<shared {self.type}>"


def constant(x: Any, name: str | None = None, dtype: Any = None) -> Constant:
    """A constant; numbers become arrays of rank 0 of NumPy's dtype, or of ``dtype``.

    >>> import gradxform.symbolic as T
    >>> T.constant(1.0).dtype
    'float64'
    """
    return Constant(np.asarray(x, dtype=dtype), name)


def shared(
    value: Any, name: str | None = None, borrow: bool = False, shape: tuple[int | None, ...] | None = None,
) -> SharedVariable:
    """A variable that keeps its value between calls of functions: parameters, counters.

    ``value`` is copied unless ``borrow``; the dtype and rank stay, extents may change with `set_value` and updates.

    >>> import gradxform.symbolic as T
    >>> state = T.shared(0)
    >>> increase = T.function([], state, updates={state: state + 1})
    >>> increase(), increase(), state.get_value()
    (array(0), array(1), array(2))
    """
    if isinstance(value, Variable):
        raise ArgumentTypeError(f"shared takes a value, got the symbolic variable {value}{user_line()}")
    return SharedVariable(value, name, borrow, shape)


def check_differentiable(purpose: str, variable: Variable) -> None:
    """Raises NotDifferentiableError for integers and booleans."""
    if not is_differentiable(np.dtype(variable.dtype)):
        raise NotDifferentiableError(
            f"{purpose}: {variable} is of dtype {variable.dtype}, which has no derivative: use a float variable, as dscalar or "
            f"dvector, or x.astype('float64'){user_line()}")

