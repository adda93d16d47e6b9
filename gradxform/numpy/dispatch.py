"""How a function of the face is called: NumPy's own while nothing is recorded, the staged one inside a transform."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.stepping import steppable
from gradxform.array import Array, fresh, linked, own
from gradxform.assignment import check_writable, in_place, is_contiguous
from gradxform.core import Tracer, current_builder, direct
from gradxform.core.source import user_line
from gradxform.dtypes import inexact
from gradxform.errors import ArgumentError, DTypeError, ReadOnlyError
from gradxform.operands import as_operand, lift, supported_dtype
from gradxform.operands import cast as cast_operand
from gradxform.primitives.logic import convert
from gradxform.selections import REDUCTIONS, Chosen, elementwise

Function = TypeVar("Function", bound=Callable[..., Any])

#: NumPy's functions and ufuncs, each with what is recorded in its place.
STAGED: dict[Any, Callable[..., Any]] = {}
#: The same for functions of scipy.special, by name: SciPy is imported only when it is called.
SPECIAL: dict[str, Callable[..., Any]] = {}


def traced(*references: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a staged function the face of NumPy's function ``references[0]``; the others are NumPy's aliases of it."""

    def decorate(staged: Function) -> Function:
        for alias in references:
            STAGED[alias] = staged
        return cast(Function, face_of(lambda: references[0], staged))

    return decorate


def face_of(find: Callable[[], Callable[..., Any]], staged: Callable[..., Any]) -> direct.Face[Any]:
    """What users call: the function that ``find`` gives while nothing is recorded, ``staged`` inside a transform."""

    def careful(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is not None:
            return call_staged(staged, args, kwargs)
        reference = find()
        if jit_disabled():
            return tree.map_leaves(steppable, reference(*args, **kwargs))
        direct.make_direct(face, careful, reference)
        return reference(*args, **kwargs)

    face = direct.Face(careful)
    functools.update_wrapper(face, staged, updated=())
    # Pickled and copied by its name, as a function is.
    face.__dict__["__reduce_ex__"] = lambda protocol: staged.__name__
    return face


#: Functions that give views of their arguments, as far as NumPy's do; and those that give arrays also of rank 0.
_VIEWS = frozenset({
    "array_split", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray", "atleast_1d", "atleast_2d", "atleast_3d",
    "broadcast_arrays", "broadcast_to", "diag", "diagonal", "dsplit", "expand_dims", "flip", "fliplr", "flipud", "hsplit",
    "imag", "matrix_transpose", "moveaxis", "permute_dims", "ravel", "real", "reshape", "rollaxis", "rot90", "split",
    "squeeze", "swapaxes", "transpose", "trim_zeros", "unstack", "vsplit",
})
_MAKERS = frozenset({
    "array", "asanyarray", "asarray", "copy", "empty", "empty_like", "full", "full_like", "ones", "ones_like", "roll", "zeros",
    "zeros_like",
})


def call_staged(staged: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``staged(*args, **kwargs)``; where NumPy's result is an array of its own, so is this one.

    With ``out``, which takes traced arrays, the result is written there.
    """
    builder = current_builder()
    if builder is None:
        return staged(*args, **kwargs)
    if "out" in kwargs:
        out = kwargs["out"]
        kwargs = {key: value for key, value in kwargs.items() if key != "out"}
        if out is not None and not (isinstance(out, tuple) and all(part is None for part in out)):
            where = kwargs.pop("where", True) if staged.__name__ not in _REDUCING else True
            return written(staged.__name__, call_staged(staged, args, kwargs), out, where)
    name = staged.__name__
    if Chosen in map(type, args) and not kwargs and isinstance(getattr(np, name, None), np.ufunc):
        return elementwise(lambda *operands: call_staged(staged, operands, {}), args)
    if args and type(args[0]) is Chosen and name in REDUCTIONS:
        return getattr(args[0], name)(*args[1:], **kwargs)
    start = len(builder.equations)
    result = staged(*args, **kwargs)
    parts = result if type(result) in (tuple, list) else (result,)
    if name in _VIEWS and not kwargs.get("copy"):
        operands = args if name in _SEVERAL else args[:1]
        found = [_view(part, operands[k] if name in _SEVERAL and k < len(operands) else operands[0], start, name in _CONTIGUOUS)
                 if isinstance(part, Array) and operands else part for k, part in enumerate(parts)]
    else:
        recorded = len(builder.equations) > start
        last = builder.equations[-1].outputs if recorded else ()
        found = [_fresh(_strong(part), last) if isinstance(part, Array) else part for part in parts]
    if name in _MAKERS:
        found = [own(part) if isinstance(part, Array) and not part.type.shape and part.is_scalar else part for part in found]
    if parts is not result:
        return found[0]
    return tuple(found) if isinstance(result, tuple) else found


#: Those whose result is contiguous: a copy of what is not.
_CONTIGUOUS = frozenset({"ascontiguousarray", "ravel"})
#: Functions of several arrays each of which has a view in the result.
_SEVERAL = frozenset({"atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays"})


def _fresh(result: Any, last: tuple[Any, ...]) -> Any:
    """``result`` as an array of its own: it is one if it was made by what was recorded last."""
    return result if not result.is_view and result.atom in last else fresh(result)


def _view(result: Any, x: Any, start: int, contiguous: bool) -> Any:
    """``result`` as a view of ``x``, if NumPy would not have to copy."""
    if not isinstance(x, Array):
        return _strong(result)
    if contiguous and x.is_view and not is_contiguous(x):
        return fresh(result)
    return _strong(result) if result is x else linked(_strong(result), x, start)


#: Functions whose ``where`` says what is reduced, and not where ``out`` is written.
_REDUCING = frozenset({"all", "amax", "amin", "any", "max", "mean", "min", "nanmax", "nanmin", "nanprod", "nansum", "prod",
                       "std", "sum", "var"})


def written(name: str, result: Any, out: Any, where: Any = True) -> Any:
    """``out``, a traced array or several, after ``result`` was written there, only where ``where`` holds."""
    results = result if isinstance(result, tuple) else (result,)
    places = out if isinstance(out, tuple) else (out,)
    if len(places) != len(results):
        raise ArgumentError(f"{name}: out= takes {len(results)} array(s), got {len(places)}{user_line()}")
    for place in places:
        if place is not None and not isinstance(place, Array):
            raise cannot_write(name)
        if place is not None:
            check_writable(place, f"{name} with out=")
    found = []
    for part, place in zip(results, places, strict=True):
        if place is not None and where is not True:
            part = STAGED[np.where](where, part, place)
        if place is not None:
            in_place(name, place, part)
        found.append(part if place is None else place)
    return tuple(found) if isinstance(result, tuple) else found[0]


def _strong(result: Any) -> Any:
    """NumPy's functions give arrays and NumPy scalars also of Python scalars; only operators give those back."""
    if isinstance(result, Tracer) and result.type.weak:
        return convert(result, result.type.dtype)
    return result


def cannot_write(name: str) -> ReadOnlyError:
    return ReadOnlyError(
        f"{name}: out= (and an operator such as a += x on an ndarray a) cannot receive traced values: use the result, "
        f"a = a + x, or make the array with gradxform.numpy, as gradxform.numpy.zeros{user_line()}")


def refuse_out(name: str, out: Any) -> None:
    """Refuses an ``out`` that came by position."""
    if out is not None:
        raise cannot_write(name)


def refuse_unless(name: str, argument: str, value: Any, *accepted: Any) -> None:
    """Raises ArgumentError unless ``value`` is one of those that staged code can honour."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in accepted):
        listed = " or ".join(map(repr, accepted))
        raise ArgumentError(
            f"{name}: {argument}={value!r} is not supported on traced arrays, only {listed}{user_line()}")


def as_inexact(name: str, value: Any) -> Any:
    """An operand in the float dtype in which NumPy evaluates an elementary function of it."""
    operand = lift(name, value)
    found = operand.type
    try:
        target = inexact(found.dtype)
    except DTypeError as error:
        raise DTypeError(f"{name}: {error}{user_line()}") from None
    return cast_operand(operand, target, found.weak)


def operand_in(name: str, value: Any, dtype: Any) -> Any:
    """An operand in ``dtype`` if that is given."""
    operand = as_operand(name, value)
    return operand if dtype is None else cast_operand(operand, supported_dtype(name, dtype))
