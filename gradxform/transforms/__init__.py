"""Program -> Program: one transform a file."""

from gradxform.transforms.batching import batch
from gradxform.transforms.differentiation import jvp
from gradxform.transforms.splitting import Split, linearize, split
from gradxform.transforms.transposition import Pullback, backward, pull_back, transpose, vjp

__all__ = ["Pullback", "Split", "backward", "batch", "jvp", "linearize", "pull_back", "split", "transpose", "vjp"]
