"""Linear algebra with the names and signatures of numpy.linalg: NumPy's own on plain arrays, recorded inside a transform.

Stacks of matrices broadcast as NumPy's do, integers become float64. What NumPy refuses, singular matrices and iterations that
do not converge, is a LinAlgError from compiled code too. Of a stack, one bad matrix is an error for all; where a matrix does
not count, under ``cond`` and ``vmap``, it cannot fail. `gradxform.lax.linalg` gives NaN in place of errors.
"""

from __future__ import annotations

from numpy.linalg import LinAlgError

from gradxform.numpy.linalg.decompositions import cholesky, eig, eigh, eigvals, eigvalsh, qr, svd, svdvals
from gradxform.numpy.linalg.matrix_products import (
    cross,
    diagonal,
    matmul,
    matrix_transpose,
    multi_dot,
    outer,
    tensordot,
    trace,
    vecdot,
)
from gradxform.numpy.linalg.norms import cond, matrix_norm, norm, vector_norm
from gradxform.numpy.linalg.systems import (
    det,
    inv,
    lstsq,
    matrix_power,
    matrix_rank,
    pinv,
    slogdet,
    solve,
    tensorinv,
    tensorsolve,
)

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]
