"""gradxform: exact derivatives and fast numerics on a CPU.

Functions written with NumPy are traced into small programs; `grad`, `vmap`, `jit` and the other transforms rewrite
these, and a compiler turns the result into one native function.

>>> import numpy as np
>>> import gradxform as gx
>>> gx.grad(lambda x: np.sin(x) * x)(0.0)
np.float64(0.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gradxform.collection import collected_once

# Thousands of functions and classes are made, and all stay.
with collected_once():
    from gradxform import cache, debug, errors, lax, numpy, tree
    from gradxform.api import (
        ShapeDType,
        SymbolicZero,
        checkpoint,
        checkpoint_name,
        checkpoint_policies,
        closure_convert,
        custom_jvp,
        custom_rule,
        custom_vjp,
        disable_jit,
        eval_shape,
        grad,
        hessian,
        hvp,
        jacfwd,
        jacrev,
        jit,
        jvp,
        linear_transpose,
        linearize,
        make_ir,
        make_jaxpr,
        remat,
        stop_gradient,
        value_and_grad,
        vjp,
        vmap,
    )
    from gradxform.api.callbacks import io_callback, pure_callback
    from gradxform.array import Array
    from gradxform.config import config
    from gradxform.dtypes import float0

if TYPE_CHECKING:
    from gradxform.window.explanation import explain
    from gradxform.window.misses import explain_cache_miss
    from gradxform.window.profiling import profile

__version__ = "0.1.0"

#: Parts that are imported when they are first asked for, so that `import gradxform` stays quick.
_ON_DEMAND = ("nn", "optimize", "random", "scipy", "symbolic", "tape")
#: Functions of such parts, and the modules that they are in.
_FUNCTIONS_ON_DEMAND = {
    "explain": "gradxform.window.explanation", "explain_cache_miss": "gradxform.window.misses",
    "profile": "gradxform.window.profiling",
}


def __getattr__(name: str) -> object:
    if name in _ON_DEMAND:
        return import_module(f"gradxform.{name}")
    if name in _FUNCTIONS_ON_DEMAND:
        found = globals()[name] = getattr(import_module(_FUNCTIONS_ON_DEMAND[name]), name)
        return found
    raise AttributeError(f"module 'gradxform' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, *_FUNCTIONS_ON_DEMAND})


__all__ = ["Array", "ShapeDType", "SymbolicZero", "__version__", "cache", "checkpoint", "checkpoint_name",
           "checkpoint_policies", "closure_convert", "config", "custom_jvp", "custom_rule", "custom_vjp", "debug",
           "disable_jit", "errors", "eval_shape", "explain", "explain_cache_miss", "float0", "grad", "hessian",
           "hvp", "io_callback", "jacfwd", "jacrev", "jit", "jvp", "lax", "linear_transpose", "linearize", "make_ir",
           "make_jaxpr", "numpy", "profile", "pure_callback", "remat", "stop_gradient", "tree", "value_and_grad",
           "vjp", "vmap"]
