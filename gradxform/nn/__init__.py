"""What one needs to write a network by hand: activations, normalisations, convolution, pooling, attention.

Names, parameters and defaults are those of ``jax.nn`` where it has them. They are plain functions of arrays, which
transforms and `jit` see through; parameters are pytrees of one's own, and optimisers those of SciPy and others.
"""

from gradxform.nn.activations import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    identity,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    logmeanexp,
    logsumexp,
    mish,
    one_hot,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softmax,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    swish,
)
from gradxform.nn.layers import avg_pool, conv, dot_product_attention, max_pool, min_pool
from gradxform.nn.normalization import batch_norm, group_norm, instance_norm, layer_norm, rms_norm, standardize

__all__ = [
    "avg_pool", "batch_norm", "celu", "conv", "dot_product_attention", "elu", "gelu", "glu", "group_norm", "hard_sigmoid",
    "hard_silu", "hard_swish", "hard_tanh", "identity", "instance_norm", "layer_norm", "leaky_relu", "log_sigmoid",
    "log_softmax", "logmeanexp", "logsumexp", "max_pool", "min_pool", "mish", "one_hot", "relu", "relu6", "rms_norm", "selu",
    "sigmoid", "silu", "soft_sign", "softmax", "softplus", "sparse_plus", "sparse_sigmoid", "squareplus", "standardize",
    "swish",
]
