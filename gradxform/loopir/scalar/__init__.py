"""Special functions of our own, as programs on single numbers.

Each is a Python function of floats: so it is its own reference, for the interpreter of loops, and the backend compiles it
(``backend/scalar_programs``, which says what such a function may consist of).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gradxform.ir.special_names import OWN_FUNCTIONS
from gradxform.loopir.scalar import bessel, beta, gamma, integrals

#: The programs by name.
PROGRAMS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {name: next(vars(module)[name] for module in (gamma, beta, bessel, integrals) if name in vars(module))
     for name in OWN_FUNCTIONS})
