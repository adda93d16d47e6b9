"""Primitives, tracing and evaluation."""

from gradxform.core.evaluation import run
from gradxform.core.primitive import Primitive, Refuses, Undefined
from gradxform.core.tracing import (
    Builder,
    Tracer,
    bind,
    bind_all,
    current_builder,
    dtype_of,
    outside,
    replay,
    shape_of,
    type_of,
)

__all__ = ["Builder", "Primitive", "Refuses", "Tracer", "Undefined", "bind", "bind_all", "current_builder", "dtype_of",
           "outside", "replay", "run", "shape_of", "type_of"]
