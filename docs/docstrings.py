"""What the site makes of docstrings and signatures before they are set.

Docstrings are written to be read with ``help``; what the generator would misread is told to it here.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

import gradxform.numpy
from gradxform.scipy.stats.frame import Distribution

#: In docstrings of these Napoleon would take what precedes a colon for a type: colons are others while it reads.
_PLAIN = ("attribute", "data", "property")
_COLON = "\ue000"


def _skip_member(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """What a module has from elsewhere is documented there; its page lists it by name."""
    if what != "module":
        return True if str(getattr(value, "__doc__", "")).startswith("Alias for field number") else None
    home = getattr(value, "__module__", None) or type(value).__module__
    return True if not str(home).startswith("gradxform") else None


def _process_docstring(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """What is done to docstrings before Napoleon reads them."""
    # A module's own docstring stands at the top of its page, not again where its members begin.
    if what == "module" and options.get("members"):
        lines.clear()
    if isinstance(value, Distribution):
        names = [*value.shapes, *(name for name, _ in value.others)]
        lines += ["", f"Parameters: {', '.join(f'``{name}``' for name in names)}."]
    if what in _PLAIN:
        lines[:] = [line.replace(":", _COLON) for line in lines]
    lines[:] = [line.replace(" *args, **kwargs:", " args, kwargs:") for line in lines]
    # An indented block between paragraphs is text as it stands, such as a type or a law.
    for place in reversed(range(1, len(lines))):
        before = next((line for line in reversed(lines[:place - 1]) if line), "")
        if lines[place].startswith("    ") and not lines[place - 1] and before[:1] not in ("", " ") and before[-2:] != "::":
            lines[place:place] = ["::", ""]


def _colons_back(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _process_signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Signatures without annotations that say nothing, and with the parameters that stand behind ``*args``."""
    if signature:
        signature = re.sub(r": (?:~typing\.)?Any(?=[,)]| = )", "", signature)
        signature = signature.replace("=_MISSING", "=...").replace("[[...], ", "[..., ")
        if what == "function" and isinstance(getattr(value, "nin", None), int):  # the face of a ufunc
            operands = ", ".join("xyz"[:value.nin])
            signature = signature.replace("(*operands, ", f"({operands}, /, *, ")
    method = name.rpartition(".")[2]
    if name == f"gradxform.Array.{method}" and signature == "(*args, **kwargs)" and hasattr(gradxform.numpy, method):
        _, *parameters = inspect.signature(getattr(gradxform.numpy, method)).parameters.values()
        signature = str(inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]))
        signature = signature.replace("=<no value>", "=...")
    return signature, None if result in (None, "~typing.Any", "None") else result.replace("[[...], ", "[..., ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect everything."""
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("autodoc-process-docstring", _process_docstring, priority=400)  # Napoleon's is 500
    app.connect("autodoc-process-docstring", _colons_back, priority=600)
    app.connect("autodoc-process-signature", _process_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
