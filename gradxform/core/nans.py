"""Where the first NaN came from: the check behind ``config.debug_nans``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core.primitive import Primitive
from gradxform.core.source import user_source
from gradxform.errors import NanError
from gradxform.ir import ArrayType, Source

#: Arrays of more elements are shown by their first and last ones.
SHOWN_ELEMENTS = 12


def has_nan(value: Any) -> bool:
    """Whether an array or number is of a float or complex dtype and has a NaN in it."""
    array = np.asarray(value)
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())


def value_text(value: Any) -> str:
    """The type of an array or number, and its value or the ends of it."""
    array = np.asarray(value)
    text = np.array2string(array, threshold=SHOWN_ELEMENTS, edgeitems=3, separator=", ").replace("\n", "")
    return f"{ArrayType(array.dtype, array.shape)} = {text}"


def check_nans(
    operation: Primitive, operands: Sequence[Any], params: dict[str, Any], results: Sequence[Any], source: Source | None
) -> None:
    """Raise NanError if a result of an operation is NaN; ``source`` is the user's line, if it is not that of the caller."""
    if not any(map(has_nan, results)):
        return
    source = source or user_source()
    guilty = [number for number, x in enumerate(operands) if has_nan(x)]
    called = f" of {params['callback']}" if "callback" in params else ""
    if guilty:
        told = (f"{operation.name}{called} is the first operation that gives NaN, and operand {guilty[0]} is NaN already: "
                "it came in with the arguments or is a constant")
    else:
        told = f"the first NaN is the result of {operation.name}{called}"
    lines = [f"operand {number}: {value_text(x)}" for number, x in enumerate(operands)]
    lines += [f"result: {value_text(x)}" for x in results]
    if source is not None:
        lines.append(f"in user code: {source}")
    raise NanError("\n  ".join([told, *lines]))
