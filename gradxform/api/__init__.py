"""The transforms that users call."""

from gradxform.api import checkpoint_policies
from gradxform.api.checkpointing import checkpoint, checkpoint_name
from gradxform.api.custom import SymbolicZero, closure_convert, custom_jvp, custom_rule, custom_vjp
from gradxform.api.derivatives import grad, hvp, jvp, linear_transpose, linearize, value_and_grad, vjp
from gradxform.api.disabling import disable_jit
from gradxform.api.inspection import ShapeDType, eval_shape, make_ir, make_jaxpr, stop_gradient
from gradxform.api.jacobians import hessian, jacfwd, jacrev
from gradxform.api.jit import Jitted, jit
from gradxform.api.lowered import Lowered
from gradxform.api.vectorization import vmap

remat = checkpoint

__all__ = ["Jitted", "Lowered", "ShapeDType", "SymbolicZero", "checkpoint", "checkpoint_name", "checkpoint_policies",
           "closure_convert", "custom_jvp", "custom_rule", "custom_vjp", "disable_jit", "eval_shape", "grad", "hessian",
           "hvp", "jacfwd", "jacrev", "jit", "jvp", "linear_transpose", "linearize", "make_ir", "make_jaxpr", "remat",
           "stop_gradient", "value_and_grad", "vjp", "vmap"]
