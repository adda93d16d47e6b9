"""Symbolic expressions, as in Theano and PyTensor: variables without values, compiled to functions of arrays.

``import gradxform.symbolic as T`` stands for ``theano`` and for ``theano.tensor``. Expressions are recorded, nothing is
computed; `function` traces them as it would a Python function, and the transforms, passes and compiler are those of
`gradxform.jit`. It has all functions of `gradxform.numpy`, and input variables for every rank and dtype: ``dscalar``,
``fmatrix``, ``lvectors`` ...

>>> import gradxform.symbolic as T
>>> x = T.dscalar("x")
>>> gradient = T.grad(x ** 2, x)
>>> f = T.function([x], gradient)
>>> f(4)
array(8.)
>>> T.pp(f.maker.fgraph.outputs[0])
'(2.0 * x)'
"""

from types import SimpleNamespace
from typing import Any

from gradxform.symbolic.branches import ifelse
from gradxform.symbolic.checking import verify_grad
from gradxform.symbolic.creation import CREATORS, config, tensor
from gradxform.symbolic.derivatives import (
    Lop,
    Rop,
    grad,
    hessian,
    hessian_vector_product,
    jacobian,
    pullback,
    pushforward,
    subgraph_grad,
)
from gradxform.symbolic.failures import DisconnectedInputError, GradientError, MissingInputError, UnusedInputError
from gradxform.symbolic.functions import Function, In, function
from gradxform.symbolic.gradient_control import consider_constant, disconnected_grad, grad_clip, grad_scale, zero_grad
from gradxform.symbolic.graph import Apply, Operation, TensorType
from gradxform.symbolic.loops import foldl, foldr, map, reduce, scan, until
from gradxform.symbolic.namespace import FUNCTIONS, fft, linalg, nnet
from gradxform.symbolic.printing import debugprint, pp
from gradxform.symbolic.variables import Constant, SharedVariable, Variable, constant, shared

#: Theano's ``theano.gradient``, ``theano.scan_module`` and ``theano.printing``.
gradient = SimpleNamespace(
    DisconnectedInputError=DisconnectedInputError, Lop=Lop, Rop=Rop, consider_constant=consider_constant,
    disconnected_grad=disconnected_grad, grad=grad, grad_clip=grad_clip, grad_scale=grad_scale, hessian=hessian,
    hessian_vector_product=hessian_vector_product, jacobian=jacobian, pullback=pullback, pushforward=pushforward,
    subgraph_grad=subgraph_grad, verify_grad=verify_grad, zero_grad=zero_grad)
scan_module = SimpleNamespace(foldl=foldl, foldr=foldr, map=map, reduce=reduce, scan=scan, until=until)
printing = SimpleNamespace(debugprint=debugprint, pp=pp)

__all__ = ["Apply", "Constant", "DisconnectedInputError", "Function", "GradientError", "In", "Lop", "MissingInputError",
           "Operation", "Rop", "SharedVariable", "TensorType", "UnusedInputError", "Variable", "config",
           "consider_constant", "constant", "debugprint", "disconnected_grad", "fft", "foldl", "foldr", "function", "grad",
           "grad_clip", "grad_scale", "gradient", "hessian", "hessian_vector_product", "ifelse", "jacobian", "linalg",
           "map", "nnet", "pp", "printing", "pullback", "pushforward", "reduce", "scan", "scan_module", "shared",
           "subgraph_grad", "tensor", "until", "verify_grad", "zero_grad"]


def __getattr__(name: str) -> Any:
    found = FUNCTIONS.get(name) or CREATORS.get(name)
    if found is None:
        raise AttributeError(f"module 'gradxform.symbolic' has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS, *CREATORS})
