"""Functions of our own that programs call by name: compiled once per machine, and taken from the disk cache.

Where they lie there follows from the name, and the text is not written if they do: some of it takes as long as all else that a
process does before its first call.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable

from gradxform.backend import compile as compiler
from gradxform.backend import disk_cache
from gradxform.backend.code_version import code_fingerprint
from gradxform.backend.compile import Loaded, Tier

_IMPORTED = re.compile(r"^declare [^\n]*?@(gx\.[\w.]+)\(", re.MULTILINE)


class Library:
    """The modules of one family; ``text(name)`` is the text of ``gx.FAMILY.NAME``.

    A module may also hold ``gx.COMPANION.NAME``. ``variant`` is what texts depend on beside their name, the machine, and
    the files of the package.
    """

    __slots__ = ("_companions", "_family", "_loading", "_modules", "_text", "_tier", "_variant")

    def __init__(
        self, family: str, tier: Tier, text: Callable[[str], str], companions: tuple[str, ...] = (), variant: str = "",
    ) -> None:
        self._family, self._tier, self._text, self._companions, self._variant = family, tier, text, companions, variant
        self._modules: dict[str, Loaded] = {}
        # Two threads must not load one module twice: the code of the one that is forgotten would be freed.
        self._loading = threading.RLock()
        os.register_at_fork(after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._loading = threading.RLock()

    def address(self, name: str, companion: str = "") -> int:
        """The address of ``gx.FAMILY.NAME``, or of ``gx.COMPANION.NAME``; it stays valid as long as the process lives."""
        with self._loading:
            if name not in self._modules:
                self._modules[name] = self._loaded(name)
            return self._modules[name].address(f"gx.{companion or self._family}.{name}")

    def _loaded(self, name: str) -> Loaded:
        from gradxform.backend.symbols import symbol_address  # which knows the libraries

        key = disk_cache.key_of(
            ["library", self._family, self._variant, name, compiler.codegen_identity(), code_fingerprint()])
        entry = disk_cache.get(key)
        if entry is None:
            text = self._text(name)
            imports = list(dict.fromkeys(_IMPORTED.findall(text)))
            entry = disk_cache.Entry(compiler.compile_text(text, self._tier), {"imports": json.dumps(imports)})
            disk_cache.put(key, entry)
        imported = {symbol: symbol_address(symbol) for symbol in json.loads(str(entry.metadata["imports"]))}
        exports = [f"gx.{family}.{name}" for family in (self._family, *self._companions)]
        return compiler.load(entry.object_code, imported, exports)
