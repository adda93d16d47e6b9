"""Which functions are pickled by their name."""

from __future__ import annotations

import sys
from typing import Any


def found_by_name(function: Any) -> bool:
    """Whether whoever unpickles ``function`` will find it by the module and the name that it has.

    What stands in ``__main__`` is found by processes that run the same script, and not by those that cloudpickle serves:
    it takes functions of ``__main__`` by value, and so must we while it is at work.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split(".") if isinstance(name, str) else ():
        found = getattr(found, part, None)
    return found is not None and found is function and not (module == "__main__" and _cloudpickle_is_at_work())


def _cloudpickle_is_at_work() -> bool:
    if "cloudpickle" not in sys.modules and "joblib" not in sys.modules:
        return False
    frame: Any = sys._getframe(1)
    while frame is not None:
        if "cloudpickle" in str(frame.f_globals.get("__name__", "")).split("."):
            return True
        frame = frame.f_back
    return False
