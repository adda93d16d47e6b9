"""Looking into functions while they run: ``print``, ``callback`` and ``breakpoint`` that work in traced code.

What they do happens when the program runs, also in compiled loops, in the order in which it stands in the program. They
do not touch derivatives: `grad` runs them once, with the values of the function itself.
"""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.arguments import check_callable
from gradxform.api.callbacks import identity, run_effect
from gradxform.api.tracing import name_of
from gradxform.core import Builder, Tracer, current_builder, outside
from gradxform.core.source import user_line
from gradxform.dtypes import is_supported
from gradxform.errors import ArgumentError, ArgumentTypeError, ConcretizationError
from gradxform.ir import Callback
from gradxform.ir.callback import Results

__all__ = ["breakpoint", "callback", "print"]


class _Placeholders(string.Formatter):
    """Formats nothing, and complains of arguments that the text does not name."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return ""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value

    def check_unused_args(self, used_args: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        unused = [str(number) for number in range(len(args)) if number not in used_args]
        unused += [name for name in kwargs if name not in used_args]
        if unused:
            raise ArgumentError(
                f"debug.print: the text has no place for argument(s) {', '.join(unused)}: write {{}} or {{name}} in a plain "
                "string; an f-string is filled in while the function is traced, too early to know values")


def print(
    fmt: str | None = None, *args: Any, ordered: bool = False, partitioned: bool = False, **kwargs: Any
) -> Any:
    """Prints values when the program runs.

    Args:
        fmt: the text, as for ``str.format``: ``"step {i}: {x:.3f}"``. No f-string: formatting comes later.
        args, kwargs: what its places hold: arrays, numbers, pytrees of them, and other objects, which are shown as they
            are at the time of tracing. Arrays are NumPy arrays there, NumPy scalars where the rank is 0.
        ordered: accepted for JAX's sake; all output is in order.
        partitioned: accepted for JAX's sake.

    ``print(ordered=True)(fmt, ...)`` is the same as ``print(fmt, ..., ordered=True)``.

    Raises:
        ArgumentError, IndexError, KeyError: the text does not fit the arguments.

    Under `vmap` there is a line per lane, if an argument is batched.

    >>> import numpy as np
    >>> from gradxform.api import grad
    >>> def f(x):
    ...     print("x = {x:.2f}, twice that is {}", 2 * x, x=x)
    ...     return x * x
    >>> grad(f)(1.5)
    x = 1.50, twice that is 3.0
    np.float64(3.0)
    """
    if fmt is None:
        _no_arguments("print", args, kwargs)
        return _record_print
    _record_print(fmt, *args, **kwargs)
    return None


def _record_print(fmt: str, /, *args: Any, **kwargs: Any) -> None:
    if not isinstance(fmt, str):
        raise ArgumentTypeError(f"debug.print: the text must be a string, got {fmt!r} of type {type(fmt).__name__}: "
                                f"write debug.print('{{}}', x){user_line()}")
    try:
        _Placeholders().vformat(fmt, args, kwargs)
    except (ArgumentError, IndexError, KeyError, ValueError, AttributeError) as error:
        raise type(error)(f"{error.args[0] if error.args else error}{user_line()}") from None
    options = np.get_printoptions()

    def write(*given: Any, **named: Any) -> None:
        with np.printoptions(**options):
            text = fmt.format(*given, **named)
        sys.stdout.write(text + "\n")

    _record("print", write, args, kwargs, (fmt, repr(options)))


def callback(
    callback: Callable[..., Any] | None = None, *args: Any, ordered: bool = False, partitioned: bool = False, **kwargs: Any
) -> Any:
    """Calls a Python function with values when the program runs; what it returns is ignored.

    Args:
        callback: gets ``args`` and ``kwargs`` with read-only NumPy arrays, NumPy scalars where the rank is 0. What is no
            array is handed over as it is at the time of tracing.
        ordered: accepted for JAX's sake; all calls are in order.
        partitioned: accepted for JAX's sake.

    ``callback(ordered=True)(f, ...)`` is the same as ``callback(f, ..., ordered=True)``. What the function raises comes
    through, with its own traceback.

    >>> from gradxform.api import jit
    >>> seen = []
    >>> @jit
    ... def f(x):
    ...     callback(seen.append, x + 1)
    ...     return x * x
    >>> f(2.0), seen
    (np.float64(4.0), [np.float64(3.0)])
    """
    if callback is None:
        _no_arguments("callback", args, kwargs)
        return _record_callback
    _record_callback(callback, *args, **kwargs)
    return None


def _record_callback(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
    check_callable("debug.callback", function)
    _record(name_of(function), function, args, kwargs, (function,))


def _no_arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if args or kwargs:
        raise ArgumentTypeError(f"debug.{name}: the first argument is missing, got {args} and {kwargs}{user_line()}")


def _is_dynamic(leaf: Any) -> bool:
    """Whether a leaf has a value only when the program runs, or is an array whose value may change before that."""
    return isinstance(leaf, Tracer) or (isinstance(leaf, (np.ndarray, np.generic)) and is_supported(leaf.dtype))


def _static_identity(leaf: Any) -> Any:
    """Equal for leaves that look the same: 0.0 is not -0.0, and an object is only itself."""
    if type(leaf) in (str, int, bool):
        return type(leaf), leaf
    return leaf.hex() if type(leaf) is float else id(leaf)


def _record(name: str, function: Callable[..., Any], args: Any, kwargs: Any, same: tuple[Any, ...]) -> None:
    """Calls the function when the program runs; two such calls are one callback if ``same`` and their statics are."""
    leaves, treedef = tree.flatten((args, kwargs))
    dynamic = tuple([_is_dynamic(leaf) for leaf in leaves])
    fixed = [None if moving else leaf for leaf, moving in zip(leaves, dynamic, strict=True)]
    statics = tuple(map(_static_identity, fixed))

    def call(values: Sequence[Any], results: Results) -> list[Any]:
        arriving = iter(values)
        complete = [next(arriving) if moving else leaf for leaf, moving in zip(fixed, dynamic, strict=True)]
        given, named = tree.unflatten(treedef, complete)
        with outside():
            function(*given, **named)
        return []

    operands = [leaf for leaf, moving in zip(leaves, dynamic, strict=True) if moving]
    run_effect(Callback(name, call, identity("debug", *same, treedef, dynamic, statics)), operands, ())


def breakpoint(
    *, backend: str | None = None, filter_frames: bool = True, num_frames: int | None = None, ordered: bool = False,
    token: Any = None,
) -> None:
    """Stops in Python's debugger, in the line that calls this, while the function is traced or runs in Python.

    It works where values are known: outside of transforms, in functions that `grad`, `jvp` and other transforms call
    without `jit` (traced arrays print with their values there), and everywhere under `disable_jit`.

    ``sys.breakpointhook`` and PYTHONBREAKPOINT are respected, as by Python's own ``breakpoint``. The parameters are
    accepted for JAX's sake and have no effect.

    Raises:
        ConcretizationError: values are not known here: inside of `jit`, of the lanes of `vmap`, or of the body of a loop
            or a branch of `gradxform.lax`.
    """
    builder = current_builder()
    if builder is not None and not values_known(builder):
        raise ConcretizationError(
            f"debug.breakpoint: values are not known while {builder.purpose} traces: call the function within "
            f"`with gradxform.disable_jit():` and without vmap, or use debug.print or debug.callback{user_line()}")
    hook = sys.breakpointhook
    if hook is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT"):
        hook()
        return
    import pdb

    pdb.Pdb().set_trace(sys._getframe(1))


def values_known(builder: Builder) -> bool:
    """Whether a builder, and those around it, know the values of all their inputs."""
    each: Builder | None = builder
    while each is not None:
        if any(var not in each.known for var in each.inputs):
            return False
        each = each.parent
    return True
