"""Write the tables of supported functions into numpy.md: ``python docs/generate_support.py``.

One row a function, with the first sentence of its docstring; names of the same function share a row. The last table has
every name of NumPy's main namespace: what differs and what is left out is said in ``DIFFERS`` and ``LEFT_OUT``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import gradxform.numpy
import gradxform.numpy.fft
import gradxform.numpy.linalg
import gradxform.scipy.special
import gradxform.scipy.stats

PAGE = Path(__file__).with_name("numpy.md")
BEGIN = "<!-- The rest is written by docs/generate_support.py. -->\n"

#: Families in the order of the page: the module in which functions are defined, and the family's title.
FAMILIES = {
    "gradxform.numpy.ufuncs": "Elementwise functions",
    "gradxform.numpy.representation": "Representation of numbers",
    "gradxform.numpy.reductions": "Reductions and running reductions",
    "gradxform.numpy.quantiles": "Order statistics",
    "gradxform.numpy.statistics": "Statistics",
    "gradxform.numpy.histograms": "Histograms",
    "gradxform.numpy.products": "Products",
    "gradxform.numpy.creation": "Creation",
    "gradxform.numpy.grids": "Grids, and joining by indices",
    "gradxform.numpy.manipulation": "Shapes, joining and splitting",
    "gradxform.numpy.arrangement": "Rearranging elements",
    "gradxform.numpy.padding": "Padding",
    "gradxform.numpy.indexing": "Choosing and looking up",
    "gradxform.numpy.positions": "Positions",
    "gradxform.numpy.assigning": "Assigning",
    "gradxform.numpy.sorting": "Sorting and searching",
    "gradxform.numpy.sets": "Sets",
    "gradxform.numpy.calculus": "Differences, integrals, interpolation",
    "gradxform.numpy.polynomials": "Polynomials",
    "gradxform.numpy.windows": "Windows",
    "gradxform.numpy.mapping": "Functions of functions",
    "gradxform.numpy.numerical": "Other numerical functions",
    "gradxform.numpy.properties": "Questions about arrays",
    "gradxform.numpy.linalg": "gradxform.numpy.linalg",
    "gradxform.numpy.fft": "gradxform.numpy.fft",
    "gradxform.scipy.special": "gradxform.scipy.special",
    "gradxform.scipy.stats": "gradxform.scipy.stats",
}
#: The modules that users import, the first of which has NumPy's main namespace; the others are families of their own.
FACES = (gradxform.numpy, gradxform.numpy.linalg, gradxform.numpy.fft, gradxform.scipy.special, gradxform.scipy.stats)

#: What is otherwise than in NumPy when arrays are traced, beside what holds for all functions.
DIFFERS = {
    **dict.fromkeys(("zeros", "ones", "empty", "empty_like", "full", "eye", "array", "asarray", "asanyarray",
                     "ascontiguousarray", "asfortranarray", "copy"),
                    "`order` and `like` do not matter: the compiler decides where values lie"),
    **dict.fromkeys(("empty", "empty_like"), "gives zeros"),
    **dict.fromkeys(("nonzero", "flatnonzero", "argwhere", "compress", "extract", "trim_zeros"),
                    "values that decide a shape must be known"),
    **dict.fromkeys(("delete", "insert"), "positions must be known"),
    "arange": "bounds must be known",
    "repeat": "`repeats` must be known, or `total_repeat_length` be given",
    "pad": "mode empty gives zeros; a function as `mode` is traced for every vector",
    "allclose": "gives a traced boolean",
    "array_equal": "gives a traced boolean",
    "array_equiv": "gives a traced boolean",
    "apply_along_axis": "the function is traced once, for all vectors",
    "vectorize": "the function is traced once, for all elements; `otypes` are what results are cast to",
    "piecewise": "all functions are applied to all elements",
    "einsum": "`optimize` does not matter: operands are contracted pairwise, smallest intermediate first",
    "unravel_index": "positions are not checked",
    "average": "weights that sum to zero give NaN or infinity, not an error",
    **dict.fromkeys(("nanargmax", "nanargmin"), "gives -1 where all is NaN and values are not known"),
    **dict.fromkeys(("quantile", "percentile", "nanquantile", "nanpercentile"),
                    "a traced `q` that is out of range counts as the nearer end"),
    "ravel_multi_index": "indices are not checked in mode raise",
    "real_if_close": "refuses complex arrays, since values would decide the dtype",
    "roots": "always complex; leading zeros are dropped only if values are known",
    "poly": "complex zeros give complex coefficients also where they are conjugate",
    "polymul": "leading zeros stay",
    "polydiv": "leading zeros of the remainder stay",
    "polyfit": "no RankWarning",
    "array_repr": "shows the type, and values that are known",
    "array_str": "shows the type, and values that are known",
    "array2string": "shows the type, and values that are known",
    "reshape": "order C and F",
    "may_share_memory": "traced arrays share no memory", "shares_memory": "traced arrays share no memory",
}

#: Why a name is left out.
LEFT_OUT = {
    "reads or writes files or text": (
        "fromfile", "fromregex", "fromstring", "genfromtxt", "load", "loadtxt", "memmap", "save", "savetxt", "savez",
        "savez_compressed"),
    "dtypes that programs cannot hold": (
        "bytes_", "character", "clongdouble", "complex256", "datetime64", "flexible", "float128", "float16", "half",
        "longdouble", "object_", "record", "str_", "timedelta64", "void"),
    "dates": (
        "busday_count", "busday_offset", "busdaycalendar", "datetime_as_string", "datetime_data", "is_busday", "isnat"),
    "matrices and records, classes of their own": ("asmatrix", "bmat", "matrix", "poly1d", "recarray"),
    "text of numbers, which takes values out of the program": (
        "base_repr", "binary_repr", "format_float_positional", "format_float_scientific"),
    "iterators over memory": ("broadcast", "flatiter", "nditer", "nested_iters"),
    "memory of arrays, which programs do not have": ("frombuffer", "isfortran", "require"),
    "builds an array out of Python objects one by one: use `array`": ("fromiter",),
    "makes a ufunc of Python objects: use `vectorize`": ("frompyfunc",),
    "the check needs values: use `gradxform.config.debug_nans`": ("asarray_chkfinite",),
    "another name of `vstack`, deprecated": ("row_stack",),
    "NumPy's settings, and what it tells about itself": (
        "ScalarType", "get_include", "getbufsize", "geterrcall", "info", "little_endian", "sctypeDict", "setbufsize",
        "seterrcall", "show_config", "show_runtime", "test", "typecodes"),
}


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public names of a face and what they stand for."""
    for name in sorted(module.__all__):
        yield name, getattr(module, name)


def sentence(function: Any) -> str:
    """The first sentence of a docstring, or its first line, as a table's cell."""
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return text.replace("|", "\\|")


def family_of(value: Any) -> str | None:
    """The family of a function, by the module where it is defined; None for what is NumPy's own."""
    module = getattr(value, "__module__", None) or type(value).__module__
    found = [family for family in FAMILIES if module == family or module.startswith(family + ".")]
    return found[0] if found else None


def tables() -> str:
    """All tables as Markdown."""
    families: dict[str, dict[tuple[str, str], list[str]]] = {family: {} for family in FAMILIES}
    numpys: list[str] = []
    for face in FACES:
        for name, value in public(face):
            family = family_of(value) if face is gradxform.numpy else face.__name__
            if family is None:
                numpys.append(name)
                continue
            families[family].setdefault((getattr(value, "__name__", name), sentence(value)), []).append(name)
    parts = []
    for family, title in FAMILIES.items():
        rows = sorted((sorted(names, key=lambda name: (name != main, name)), text)
                      for (main, text), names in families[family].items())
        lines = [f"| {', '.join(f'`{name}`' for name in names)} | {text} |" for names, text in rows]
        parts.append("\n".join([f"## {title}\n", "| function | gives |", "|---|---|", *lines]))
    parts.append("## NumPy's own\n\nConstants, dtypes and functions of dtypes, as NumPy has them: "
                 + ", ".join(f"`{name}`" for name in numpys) + ".")
    parts.append(namespace())
    return "\n\n".join(parts) + "\n"


def names_of_numpy() -> list[str]:
    """The public names of NumPy's main namespace that are no modules."""
    return [name for name in dir(np) if not name.startswith("_") and not inspect.ismodule(getattr(np, name))]


def namespace() -> str:
    """The table of all names of NumPy's main namespace."""
    reasons = {name: reason for reason, names in LEFT_OUT.items() for name in names}
    lines = []
    there = 0
    for name in sorted(names_of_numpy(), key=lambda name: (name.lower(), name)):
        if name in reasons:
            lines.append(f"| `{name}` | left out | {reasons[name]} |")
            continue
        there += 1
        own = family_of(getattr(gradxform.numpy, name)) is None
        remark = DIFFERS.get(name, "")
        status = "differs" if remark else "NumPy's own" if own else "supported"
        lines.append(f"| `{name}` | {status} | {remark} |")
    return "\n".join([
        "## Every name of NumPy's main namespace\n",
        f"NumPy {'.'.join(np.__version__.split('.')[:2])} has {len(lines)} names there, of which {there} are here. What "
        "holds for all functions is said above.\n",
        "| name | | |", "|---|---|---|", *lines])


def page(text: str) -> str:
    """The page ``text`` with its tables written anew."""
    head, found, _ = text.partition(BEGIN)
    if not found:
        raise ValueError(f"the page has no line {BEGIN.strip()!r} behind which tables could be written")
    return f"{head}{BEGIN}\n{tables()}"


def main() -> int:
    """Rewrite the page."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
