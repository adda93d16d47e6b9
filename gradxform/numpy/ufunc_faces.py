"""How the face of a ufunc is made: what calls it, and what its methods reduce, accumulate, outer, reduceat and at do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.stepping import steppable
from gradxform.core import current_builder, direct, dtype_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, float32, inexact
from gradxform.errors import ArgumentError, ArgumentTypeError
from gradxform.numpy.dispatch import as_inexact, operand_in, traced
from gradxform.operands import as_operand, broadcast_operands, cast, lift, promote_operands

Apply = Callable[..., Any]

#: What NumPy tells of a ufunc, and so does its face.
_FACTS = ("nin", "nout", "nargs", "ntypes", "types", "identity", "signature")
_METHODS = ("reduce", "accumulate", "outer", "reduceat", "at")


def ufunc(module: str, reference: np.ufunc, apply: Apply, sentence: str) -> Any:
    """The face of a ufunc, which ``module`` will have by its name.

    ``apply`` takes its operands; its parameter ``dtype`` is that in which it is evaluated.
    """
    name, count = reference.__name__, reference.nin

    def staged(
        *operands: Any, where: Any = True, casting: str = "same_kind", order: str = "K", dtype: Any = None,
        subok: bool = True,
    ) -> Any:
        if len(operands) > count and all(part is None for part in operands[count:]):  # an out of None, by position
            operands = operands[:count]
        if len(operands) != count:
            raise ArgumentTypeError(f"{name}() takes {count} operands, got {len(operands)}{user_line()}")
        if where is not True:
            raise ArgumentError(
                f"{name}: where= without out= leaves the elements that it does not choose undefined: say what they shall "
                f"be, np.where(mask, {name}(...), other), or give out={user_line()}")
        result = apply(*[operand_in(name, x, dtype) for x in operands])
        return result if isinstance(result, tuple) else lift(name, result)

    staged.__name__ = staged.__qualname__ = name
    staged.__doc__ = sentence
    staged.__module__ = module
    face = traced(reference)(staged)
    facts = {fact: getattr(reference, fact) for fact in _FACTS}
    if reference.signature is None:
        facts.update({method: _method(reference, method) for method in _METHODS})
    face.__dict__.update(facts)
    return face


def _method(reference: np.ufunc, method: str) -> direct.Face[Any]:
    """The face of a method of a ufunc."""
    plain = getattr(reference, method)

    def careful(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is not None:
            from gradxform.numpy.ufunc_methods import apply_method  # it stands on the faces that are made here

            return apply_method(reference, method, args, kwargs)
        if jit_disabled():
            return tree.map_leaves(steppable, plain(*args, **kwargs))
        direct.make_direct(face, careful, plain)
        return plain(*args, **kwargs)

    face = direct.Face(careful)
    return face


def float_pair(name: str, constructor: Apply) -> Apply:
    """``constructor`` of two operands in the float dtype that NumPy evaluates them in, of one shape or rank 0."""

    def apply(x: Any, y: Any) -> Any:
        x, y = as_operand(name, x), as_operand(name, y)
        if any(type_of(z).weak for z in (x, y)):
            x, y = promote_operands(name, x, y)
        elif any(dtype_of(z).itemsize > 1 for z in (x, y)):
            # NumPy takes the first loop that both fit into; promoted at first, int8 and uint16 would be int32.
            dtype = np.promote_types(*[_least_float(dtype_of(z)) for z in (x, y)])
            x, y = cast(x, dtype), cast(y, dtype)
        return constructor(*broadcast_operands(name, [as_inexact(name, x), as_inexact(name, y)]))

    return apply


def _least_float(dtype: DType) -> DType:
    """The first dtype among float32, float64 and the complex ones that ``dtype`` fits into."""
    return float32 if dtype.itemsize == 1 else inexact(dtype)
