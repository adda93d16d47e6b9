"""The functions of the symbolic namespace: NumPy's, applied to variables, and those that Theano has beside them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

import gradxform.numpy
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.symbolic.calls import Call, Slot, apply_operation, as_variable, defer, map_slots
from gradxform.symbolic.graph import TensorType
from gradxform.symbolic.shapes import shape_of
from gradxform.symbolic.variables import Constant, Variable

__all__ = ["FUNCTIONS", "face_of"]


def _face(name: str, function: Callable[..., Any], static: Callable[[int | str], bool] | None = None,
          recorded: bool = False) -> Callable[..., Any]:
    def face(*args: Any, **kwargs: Any) -> Any:
        return defer(name, function, tuple(map(_wrapped, args)) if elementwise else args, kwargs, static, recorded)

    elementwise = isinstance(function, np.ufunc)
    face.__name__ = face.__qualname__ = name
    face.__doc__ = f"``numpy.{name}`` of variables: a variable."
    return face


def _wrapped(value: Any) -> Any:
    return as_variable(value) if isinstance(value, (int, float, complex, np.ndarray, np.generic, list)) else value


#: Names of NumPy's namespace that are no functions of arrays.
_NO_FUNCTIONS = frozenset({
    "array2string", "array_repr", "array_str", "bool", "broadcast_shapes", "can_cast", "common_type", "dtype", "einsum_path",
    "errstate", "finfo", "from_dlpack", "generic", "get_printoptions", "geterr", "iinfo", "isdtype", "isscalar", "issubdtype",
    "iterable", "may_share_memory", "min_scalar_type", "mintypecode", "ndarray", "ndindex", "printoptions", "promote_types",
    "result_type", "set_printoptions", "seterr", "shares_memory", "typename", "ufunc", "vectorize",
})
#: Functions that make arrays from extents: recorded as such, so that they need no memory; their integers decide on shapes.
_MAKERS: dict[str, Callable[[int | str], bool]] = {
    **dict.fromkeys(("arange", "empty", "eye", "identity", "indices", "ones", "tri", "zeros"), lambda place: True),
    "full": lambda place: place in (0, "shape"),
    "linspace": lambda place: place in (2, "num"),
    "logspace": lambda place: place in (2, "num"),
}
#: Functions of an array whose further integers decide on the result's shape.
_SHAPED = ("broadcast_to", "expand_dims", "pad", "repeat", "resize", "tile", "split", "array_split")


def _after_first(place: int | str) -> bool:
    return place not in (0, "a", "array", "x", "A", "ary")


def shape(x: Any) -> Any:
    """The extents of ``x``: a vector of integers."""
    return shape_of(as_variable(x))


def ndim(x: Any) -> int:
    """The rank of ``x``, which is known."""
    rank: int = as_variable(x).ndim
    return rank


def reshape(x: Any, newshape: Any, ndim: int | None = None) -> Any:
    """The elements of ``x`` in another shape: integers, integer variables, one of them -1, or a vector of them."""
    found = as_variable(newshape) if isinstance(newshape, Variable) else newshape
    if isinstance(found, Variable) and found.ndim == 1:
        count = ndim if ndim is not None else found.type.shape[0]
        if count is None:
            raise ArgumentError(f"reshape: the rank of the result is not known, for the length of {found} is not: pass ndim"
                                f"{user_line()}")
        parts: list[Any] = [found[position] for position in range(count)]
    else:
        parts = list(found) if isinstance(found, (tuple, list)) else [found]
    if ndim is not None and ndim != len(parts):
        raise ArgumentError(f"reshape: ndim={ndim}, but the shape {newshape} has {len(parts)} extents{user_line()}")
    return _reshaped(as_variable(x), parts)


def _reshaped(x: Any, parts: Sequence[Any]) -> Any:
    # Whatever the extents, the rank is that of the new shape: nothing needs to be tried.
    inputs = [x, *[part for part in parts if isinstance(part, Variable)]]
    places = iter(range(1, len(inputs)))
    template = tuple([Slot(next(places)) if isinstance(part, Variable) else operator.index(part) for part in parts])
    call = Call("reshape", np.reshape, (Slot(0), template), {}, frozenset(range(1, len(inputs))))
    extents = [None if isinstance(part, Variable) or part == -1 else part for part in template]
    return apply_operation(call, [TensorType(x.dtype, tuple([n if isinstance(n, int) else None for n in extents]))], inputs)[0]


def flatten(x: Any, ndim: int = 1) -> Any:
    """The elements of ``x`` in ``ndim`` axes: the first ones stay, the rest become one."""
    variable = as_variable(x)
    if not 1 <= ndim <= max(variable.ndim, 1):
        raise ArgumentError(f"flatten: ndim must be from 1 to {variable.ndim}, got {ndim}{user_line()}")
    return reshape(variable, [variable.shape[axis] for axis in range(ndim - 1)] + [-1])


def cast(x: Any, dtype: Any) -> Any:
    """``x`` in another dtype."""
    return as_variable(x).astype(dtype)


def fill(a: Any, b: Any) -> Any:
    """``b`` repeated to the shape of ``a``."""
    return defer("fill", _fill, (as_variable(a), as_variable(b)))


def _fill(a: Any, b: Any) -> Any:
    return np.broadcast_to(b, np.shape(a))


def alloc(value: Any, *shape: Any) -> Any:
    """``value`` repeated to ``shape``."""
    return FUNCTIONS["broadcast_to"](as_variable(value), shape)


def set_subtensor(x: Any, y: Any) -> Any:
    """The array of which ``x`` is an element or part, ``x = a[index]``, with ``y`` in that place.

    >>> import gradxform.symbolic as T
    >>> a = T.dvector("a")
    >>> T.set_subtensor(a[0], 7.0).eval({a: [1.0, 2.0]})
    array([7., 2.])
    """
    return _updated("set_subtensor", _set, x, y)


def inc_subtensor(x: Any, y: Any) -> Any:
    """The array of which ``x`` is an element or part, ``x = a[index]``, with ``y`` added in that place."""
    return _updated("inc_subtensor", _add, x, y)


def _updated(name: str, function: Callable[..., Any], x: Any, y: Any) -> Any:
    owner = getattr(x, "owner", None)
    call = None if owner is None else owner.op
    if owner is None or not (isinstance(call, Call) and call.name == "getitem"):
        raise ArgumentTypeError(f"{name} takes an indexed variable, {name}(a[index], value), got {x}{user_line()}")
    index = map_slots(call.args[1], lambda slot: owner.inputs[slot.position], Slot)
    return defer(name, function, (owner.inputs[0], index, as_variable(y)))


def _set(a: Any, index: Any, value: Any) -> Any:
    array = gradxform.numpy.asarray(a)
    if hasattr(array, "at"):
        return array.at[index].set(value)
    found = np.array(array)
    found[index] = value
    return found


def _add(a: Any, index: Any, value: Any) -> Any:
    array = gradxform.numpy.asarray(a)
    if hasattr(array, "at"):
        return array.at[index].add(value)
    found = np.array(array)
    np.add.at(found, index, value)
    return found


def shape_padleft(x: Any, n_ones: int = 1) -> Any:
    """``x`` with new axes of extent 1 in front."""
    return as_variable(x).dimshuffle(*["x"] * n_ones, *range(as_variable(x).ndim))


def shape_padright(x: Any, n_ones: int = 1) -> Any:
    """``x`` with new axes of extent 1 behind."""
    return as_variable(x).dimshuffle(*range(as_variable(x).ndim), *["x"] * n_ones)


def join(axis: int, *tensors: Any) -> Any:
    """The arrays one after the other along ``axis``."""
    return FUNCTIONS["concatenate"](tensors, axis)


def batched_dot(a: Any, b: Any) -> Any:
    """The products of the matrices or vectors of two stacks."""
    return defer("batched_dot", _batched_dot, (as_variable(a), as_variable(b)))


def _batched_dot(a: Any, b: Any) -> Any:
    letters = "".join(chr(ord("c") + axis) for axis in range(np.ndim(b) - 2))
    left = "zij"[: max(np.ndim(a), 1)] if np.ndim(a) != 2 else "zj"
    right = ("zj" + letters) if np.ndim(b) > 1 else "z"
    return np.einsum(f"{left},{right}->z{left[1:-1]}{right[2:]}", a, b)


def switch(cond: Any, ift: Any, iff: Any) -> Any:
    """``ift`` where ``cond`` holds, else ``iff``, element by element; both are computed."""
    return defer("switch", np.where, (as_variable(cond), as_variable(ift), as_variable(iff)))


def invert(a: Any) -> Any:
    """The complement of bits or truth values."""
    return ~as_variable(a)


def clip(x: Any, min: Any, max: Any) -> Any:
    """``x`` within bounds."""
    return defer("clip", np.clip, (as_variable(x), as_variable(min), as_variable(max)))


def softmax(x: Any, axis: int | None = -1) -> Any:
    """``exp(x)`` divided by its sum along ``axis``."""
    return _special("softmax")(x, axis=axis)


def _special(name: str) -> Callable[..., Any]:
    """A function of `gradxform.scipy.special`, found when it is used: SciPy is imported then."""

    def apply(*values: Any, **options: Any) -> Any:
        import gradxform.scipy.special

        return getattr(gradxform.scipy.special, name)(*values, **options)

    def face(*args: Any, **kwargs: Any) -> Any:
        return defer(name, apply, tuple(map(_wrapped, args)), kwargs)

    face.__name__ = face.__qualname__ = name
    face.__doc__ = f"``scipy.special.{name}`` of variables: a variable."
    return face


def sigmoid(x: Any) -> Any:
    """The logistic function ``1 / (1 + exp(-x))``."""
    return defer("sigmoid", _special_call("expit"), (as_variable(x),))


def _special_call(name: str) -> Callable[..., Any]:
    def apply(x: Any) -> Any:
        import gradxform.scipy.special

        return getattr(gradxform.scipy.special, name)(x)

    return apply


def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``, without overflow."""
    return defer("softplus", _softplus, (as_variable(x),))


def _softplus(x: Any) -> Any:
    return np.logaddexp(x, 0.0)


def relu(x: Any, alpha: Any = 0) -> Any:
    """``x`` where it is positive, else ``alpha * x``."""
    variable = as_variable(x)
    return switch(variable > 0, variable, as_variable(alpha) * variable)


def binary_crossentropy(output: Any, target: Any) -> Any:
    """``-(target * log(output) + (1 - target) * log(1 - output))``, by element."""
    found, wanted = as_variable(output), as_variable(target)
    return -(wanted * np.log(found) + (1.0 - wanted) * np.log1p(-found))


def categorical_crossentropy(coding_dist: Any, true_dist: Any) -> Any:
    """The cross entropy of the rows of two matrices, or of rows and the classes that are true, integers."""
    found, wanted = as_variable(coding_dist), as_variable(true_dist)
    if wanted.ndim == found.ndim:
        return -(wanted * np.log(found)).sum(axis=found.ndim - 1)
    return -np.log(found[FUNCTIONS["arange"](found.shape[0]), wanted])


def _functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for name in gradxform.numpy.__all__:
        reference = getattr(np, name, None)
        if name in _NO_FUNCTIONS or not callable(reference) or isinstance(reference, type):
            continue
        if name in _MAKERS:
            found[name] = _face(name, getattr(gradxform.numpy, name), _MAKERS[name], recorded=True)
        elif name in ("array", "asarray"):
            found[name] = _face(name, getattr(gradxform.numpy, name))
        else:
            found[name] = _face(name, reference, _after_first if name in _SHAPED else None)
    for alias, name in {"sqr": "square", "sgn": "sign", "inv": "reciprocal", "neq": "not_equal", "eq": "equal", "lt": "less",
                        "gt": "greater", "le": "less_equal", "ge": "greater_equal", "and_": "bitwise_and", "or_": "bitwise_or",
                        "xor": "bitwise_xor", "true_div": "true_divide", "int_div": "floor_divide", "mul": "multiply",
                        "sub": "subtract", "neg": "negative", "iround": "rint"}.items():
        found[alias] = found[name]
    for name in ("erf", "erfc", "erfinv", "gammaln", "gammainc", "gammaincc", "gamma", "digamma", "betaln", "logsumexp",
                 "expit", "logit", "i0", "i1", "j0", "j1", "log_softmax", "xlogy"):
        found[name] = _special(name)
    own = (shape, ndim, reshape, flatten, cast, fill, alloc, set_subtensor, inc_subtensor, shape_padleft, shape_padright, join,
           batched_dot, switch, invert, clip, softmax, sigmoid, softplus, relu, binary_crossentropy, categorical_crossentropy)
    found.update({function.__name__: function for function in own})
    found["where"] = switch
    found["as_tensor_variable"] = found["as_tensor"] = _as_tensor
    found["psi"] = found["digamma"]
    return found


def _as_tensor(x: Any, name: str | None = None, ndim: int | None = None) -> Any:
    """``x`` as a variable: a constant, or a stack if it is a list that holds variables."""
    if isinstance(x, (list, tuple)) and any(isinstance(part, Variable) for part in x):
        return FUNCTIONS["stack"](list(map(_as_tensor, x)))
    return x if isinstance(x, Variable) else Constant(np.asarray(x), name)


#: Every function of the namespace by name.
FUNCTIONS: dict[str, Callable[..., Any]] = _functions()


#: Faces that do more than to defer NumPy's function, by that function: what NumPy calls on symbolic variables.
_FACES: dict[Any, Callable[..., Any]] = {
    getattr(np, name): FUNCTIONS[name]
    for name in ("shape", "ndim", "reshape", "clip", "where", *_MAKERS, *_SHAPED) if callable(getattr(np, name))
}


def face_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands for one of NumPy's functions of symbolic variables."""
    return _FACES.get(function) or _face(function.__name__, function)


#: Theano's ``tensor.nnet``.
nnet = SimpleNamespace(**{name: FUNCTIONS[name] for name in (
    "sigmoid", "softmax", "softplus", "relu", "binary_crossentropy", "categorical_crossentropy")})


def _several(module: Any, names: Sequence[str]) -> SimpleNamespace:
    return SimpleNamespace(**{name: _face(name, getattr(module, name)) for name in names})


linalg = _several(np.linalg, [name for name in gradxform.numpy.linalg.__all__
                              if not isinstance(getattr(np.linalg, name, int), type)])
fft = _several(np.fft, [name for name in gradxform.numpy.fft.__all__ if hasattr(np.fft, name)])
