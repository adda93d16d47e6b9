"""SciPy's functions, traceable."""

from importlib import import_module

_PARTS = ("linalg", "special", "stats")


def __getattr__(name: str) -> object:
    """The parts, imported when they are first asked for."""
    if name in _PARTS:
        return import_module(f"gradxform.scipy.{name}")
    raise AttributeError(f"module 'gradxform.scipy' has no attribute {name!r}")
