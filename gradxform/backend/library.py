"""Functions of our own that programs call by name: compiled once per process, or taken from the disk cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from gradxform.backend import compile as compiler
from gradxform.backend import disk_cache
from gradxform.backend.compile import Loaded, Tier


class Library:
    """The modules of one family; ``text(name)`` is the text of ``gx.FAMILY.NAME``, ``imports(name)`` what that calls.

    A module may also hold ``gx.COMPANION.NAME``.
    """

    __slots__ = ("_companions", "_family", "_imports", "_loading", "_modules", "_text", "_tier")

    def __init__(
        self, family: str, tier: Tier, text: Callable[[str], str], imports: Callable[[str], Mapping[str, int]],
        companions: tuple[str, ...] = (),
    ) -> None:
        self._family, self._tier, self._text, self._imports, self._companions = family, tier, text, imports, companions
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
                imports, text = self._imports(name), self._text(name)
                key = disk_cache.key_of([self._family, compiler.codegen_identity(), text])
                entry = disk_cache.get(key)
                if entry is None:
                    entry = disk_cache.Entry(compiler.compile_text(text, self._tier), {})
                    disk_cache.put(key, entry)
                self._modules[name] = compiler.load(
                    entry.object_code, imports, [f"gx.{family}.{name}" for family in (self._family, *self._companions)])
            return self._modules[name].address(f"gx.{companion or self._family}.{name}")
