"""Write the tables of supported functions into numpy.md: ``python docs/generate_support.py``.

One row a function, with the first sentence of its docstring; names of the same function share a row.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gradxform.numpy
import gradxform.scipy.special

PAGE = Path(__file__).with_name("numpy.md")
BEGIN = "<!-- The rest is written by docs/generate_support.py. -->\n"

#: Families in the order of the page: the module in which functions are defined, and the family's title.
FAMILIES = {
    "gradxform.numpy.ufuncs": "Elementwise functions",
    "gradxform.numpy.reductions": "Reductions and running reductions",
    "gradxform.numpy.products": "Products",
    "gradxform.numpy.creation": "Creation",
    "gradxform.numpy.manipulation": "Shapes, joining and splitting",
    "gradxform.numpy.arrangement": "Rearranging elements",
    "gradxform.numpy.indexing": "Choosing and looking up",
    "gradxform.numpy.numerical": "Numerical functions",
    "gradxform.numpy.properties": "Questions about arrays",
    "gradxform.scipy.special": "gradxform.scipy.special",
}


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public names of a face and what they stand for."""
    for name in sorted(module.__all__):
        yield name, getattr(module, name)


def sentence(function: Any) -> str:
    """The first sentence of a docstring, or its first line, as a table's cell."""
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return text.replace("|", "\\|")


def tables() -> str:
    """All tables as Markdown."""
    families: dict[str, dict[tuple[str, str], list[str]]] = {family: {} for family in FAMILIES}
    numpys: list[str] = []
    for face in (gradxform.numpy, gradxform.scipy.special):
        for name, value in public(face):
            family = getattr(value, "__module__", None)
            if not inspect.isfunction(value) or family not in families:
                numpys.append(name)
                continue
            families[family].setdefault((value.__name__, sentence(value)), []).append(name)
    parts = []
    for family, title in FAMILIES.items():
        rows = sorted((sorted(names, key=lambda name: (name != main, name)), text)
                      for (main, text), names in families[family].items())
        lines = [f"| {', '.join(f'`{name}`' for name in names)} | {text} |" for names, text in rows]
        parts.append("\n".join([f"## {title}\n", "| function | gives |", "|---|---|", *lines]))
    parts.append("## NumPy's own\n\nConstants, dtypes and functions of dtypes, as NumPy has them: "
                 + ", ".join(f"`{name}`" for name in numpys) + ".")
    return "\n\n".join(parts) + "\n"


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
