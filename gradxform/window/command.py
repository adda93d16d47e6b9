"""The command ``python -m gradxform explain module:function --shapes f64[100,3] f64[]``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from ast import literal_eval
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradxform.api import grad, hessian, jacfwd, jacrev, jit, value_and_grad, vmap
from gradxform.dtypes import SHORT_NAMES
from gradxform.quantities import plural
from gradxform.window.explanation import explain

_DTYPES = {name: dtype for dtype, name in SHORT_NAMES.items()}
_TRANSFORMS: dict[str, Callable[..., Any]] = {
    "grad": grad, "value_and_grad": value_and_grad, "hessian": hessian, "jacfwd": jacfwd, "jacrev": jacrev, "vmap": vmap}
_SHAPE = re.compile(r"(?P<dtype>[a-z]+\d*)?(?P<open>\[)?(?P<extents>\s*(?:\d+\s*(?:,\s*\d+\s*)*,?\s*)?)(?(open)\])")

EXAMPLES = """examples:
  python -m gradxform explain models:loss --shapes f64[10] f64[1000,10] f64[1000] --transform value_and_grad
  python -m gradxform explain models.py:loss --shapes 10 1000,10 1000 --html loss.html

A shape is a dtype and extents, f64[100,3]; 100,3 alone means float64, f64 or f64[] a scalar. Numbers are drawn from the
standard normal distribution with a fixed seed; integers are zeros, and booleans False."""


class CommandError(Exception):
    """What is wrong with the command, for the person who typed it."""


def parse_shape(text: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and shape that a text stands for.

    >>> parse_shape("f32[8]"), parse_shape("100,3"), parse_shape("i64")
    ((dtype('float32'), (8,)), (dtype('float64'), (100, 3)), (dtype('int64'), ()))
    """
    match = _SHAPE.fullmatch(text.strip())
    named = match["dtype"] if match is not None else None
    if match is None or not text.strip() or (named is None and not match["extents"].strip() and match["open"] is None):
        raise CommandError(f"--shapes: cannot read {text!r}: expected a dtype and extents such as f64[100,3], f32[8], f64[] or "
                           "100,3")
    if named is not None and named not in _DTYPES:
        raise CommandError(f"--shapes: {text!r} has no dtype that is known: expected one of {', '.join(sorted(_DTYPES))}")
    if named is not None and match["open"] is None and match["extents"].strip():
        raise CommandError(f"--shapes: cannot read {text!r}: extents behind a dtype stand in brackets, "
                           f"{named}[{match['extents'].strip()}]")
    extents = [int(part) for part in match["extents"].split(",") if part.strip()]
    return _DTYPES[named or "f64"], tuple(extents)


def values_of(shapes: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> list[Any]:
    """Arguments of these dtypes and shapes: standard normal numbers, zeros for integers."""
    generator = np.random.default_rng(0)
    found: list[Any] = []
    for dtype, shape in shapes:
        if dtype.kind == "c":
            pair = generator.standard_normal((2, *shape))
            array = (pair[0] + 1j * pair[1]).astype(dtype)
        elif dtype.kind == "f":
            array = generator.standard_normal(shape, dtype=np.float64).astype(dtype) if shape else np.asarray(
                generator.standard_normal(), dtype)
        else:
            array = np.zeros(shape, dtype)
        found.append(array if shape else dtype.type(array[()]))
    return found


def load_function(name: str) -> Callable[..., Any]:
    """The function that ``module:function`` or ``path/to/file.py:function`` names."""
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise CommandError(f"cannot read {name!r}: expected module:function or path/to/file.py:function")
    module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = ", ".join([name for name, value in vars(module).items()
                               if callable(value) and getattr(value, "__module__", "") == module.__name__][:12])
            raise CommandError(f"{where} has no attribute {attribute!r}" + (f"; it defines {names}" if names else "")) from None
    if not callable(found):
        raise CommandError(f"{name} is no function but {found!r} of type {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise CommandError(f"module {name!r} imports {error.name!r}, which is not found") from None
        raise CommandError(f"module {name!r} is not found, neither installed nor in {Path.cwd()}") from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    # What stands beside a script can be imported by it.
    sys.path.insert(0, str(path.resolve().parent))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)
    specification.loader.exec_module(module)
    return module


def parse_static(texts: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs; a value that is no Python literal is a string.

    >>> parse_static(["n=3", "mode=fast"])
    {'n': 3, 'mode': 'fast'}
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise CommandError(f"--static: cannot read {text!r}: expected name=value")
        try:
            found[name] = literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def run(options: argparse.Namespace) -> int:
    """Explain the function that the options name; returns the exit status."""
    try:
        return _run(options)
    except CommandError as error:
        print(f"python -m gradxform explain: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. What is still buffered must not complain when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace) -> int:
    function = load_function(options.function)
    shapes = [parse_shape(text) for text in options.shapes]
    try:
        values = values_of(shapes)
    except (MemoryError, ValueError) as error:
        raise CommandError(f"--shapes: no arrays can be made for {', '.join(options.shapes)}: {error}") from None
    statics = parse_static(options.static)
    for name in options.transform:
        function = _TRANSFORMS[name](function)
    _check_count(options.function, function, values, statics)
    jitted = jit(function, static_argnames=tuple(statics)) if statics else function
    try:
        found = explain(jitted, *values, measure=options.measure, **statics)
    except Exception as error:
        # Where it went wrong is in the user's function: its traceback is what helps.
        traceback.print_exception(error)
        given = ", ".join(options.shapes) or "no shapes"
        raise CommandError(f"{options.function} could not be explained for {given}: {error}") from None
    found.called = None  # by a command, from no line
    if options.html is None:
        print(found.text(passes="diff" if options.passes else True, assembly=options.assembly))
    else:
        try:
            found.save(options.html, assembly=options.assembly)
        except OSError as error:
            raise CommandError(f"--html: {options.html} cannot be written: {error.strerror}") from None
        print(f"wrote {options.html}")
    if options.shapes:
        print("\nThe arguments were standard normal numbers with seed 0, and zeros for integers.")
    sys.stdout.flush()
    return 0


def _check_count(name: str, function: Callable[..., Any], values: Sequence[Any], statics: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*values, **statics)
    except TypeError as error:
        raise CommandError(f"{name}{signature} does not take {plural(len(values), 'positional argument')}: {error}; --shapes "
                           "has one shape for each of them") from None


def add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``python -m gradxform``."""
    parser = commands.add_parser(
        "explain", help="show what becomes of a function: program, passes, loops, decisions, costs, times",
        description="Show what becomes of a function: its program, passes, loops, decisions, costs and times.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", help="module:function, or path/to/file.py:function")
    parser.add_argument("--shapes", nargs="*", default=[], metavar="SHAPE", help="dtype[extents] of each positional argument")
    parser.add_argument("--transform", action="append", default=[], choices=sorted(_TRANSFORMS),
                        help="apply this transform first; again for more, the innermost first")
    parser.add_argument("--static", action="append", default=[], metavar="NAME=VALUE", help="a keyword argument that is static")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for the browser instead of printing text")
    parser.add_argument("--assembly", action="store_true", help="add the machine code")
    parser.add_argument("--passes", action="store_true", help="show how each pass changed the program")
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="do not run the function; estimates only")
    parser.set_defaults(run=run)
