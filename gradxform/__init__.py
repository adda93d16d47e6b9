"""gradxform: exact derivatives and fast numerics on a CPU.

Functions written with NumPy are traced into small programs; `grad`, `vmap`, `jit` and the other transforms rewrite
these, and a compiler turns the result into one native function.

>>> import numpy as np
>>> import gradxform as gx
>>> gx.grad(lambda x: np.sin(x) * x)(0.0)
np.float64(0.0)
"""

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

__version__ = "0.1.0"

__all__ = ["Array", "ShapeDType", "SymbolicZero", "__version__", "cache", "checkpoint", "checkpoint_name",
           "checkpoint_policies", "closure_convert", "config", "custom_jvp", "custom_rule", "custom_vjp", "debug",
           "disable_jit", "errors", "eval_shape", "float0", "grad", "hessian", "hvp", "io_callback", "jacfwd", "jacrev",
           "jit", "jvp", "lax", "linear_transpose", "linearize", "make_ir", "make_jaxpr", "numpy", "pure_callback",
           "remat", "stop_gradient", "tree", "value_and_grad", "vjp", "vmap"]
