"""Program -> Program: one transform a file."""

from gradxform.transforms.batching import batch
from gradxform.transforms.differentiation import jvp
from gradxform.transforms.splitting import Split, linearize, split
from gradxform.transforms.transposition import backward, transpose, vjp

__all__ = ["Split", "backward", "batch", "jvp", "linearize", "split", "transpose", "vjp"]
