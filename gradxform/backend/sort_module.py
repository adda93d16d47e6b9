"""The functions that sort rows, compiled once per process or taken from the disk cache; see sort_text."""

from __future__ import annotations

import os
import threading

from gradxform.backend import compile as compiler
from gradxform.backend import disk_cache
from gradxform.backend.compile import Loaded, Tier
from gradxform.backend.sort_text import module_text

_modules: dict[str, Loaded] = {}
# Two threads must not load one module twice: the code of the one that is forgotten would be freed.
_loading = threading.RLock()


def _start_afresh_in_child() -> None:
    global _loading
    _loading = threading.RLock()


os.register_at_fork(after_in_child=_start_afresh_in_child)


def address(name: str) -> int:
    """The address of ``gx.sort.NAME``; it stays valid as long as the process lives."""
    with _loading:
        symbol = f"gx.sort.{name}"
        if name not in _modules:
            imports = {"gx.sort.u64": address("u64")} if name == "order" else {}
            text = module_text(name)
            key = disk_cache.key_of(["sort", compiler.codegen_identity(), text])
            entry = disk_cache.get(key)
            if entry is None:
                entry = disk_cache.Entry(compiler.compile_text(text, Tier.LOOPS), {})
                disk_cache.put(key, entry)
            _modules[name] = compiler.load(entry.object_code, imports, (symbol,))
        return _modules[name].address(symbol)
