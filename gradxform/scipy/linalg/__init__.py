"""Linear algebra with SciPy's names and signatures: SciPy's own on plain arrays, recorded inside a transform.

``overwrite_…``, ``check_finite`` and drivers of LAPACK are accepted and have no effect on traced arrays, whose values are not
looked at. Errors are those of `gradxform.numpy.linalg`. `funm_hermitian` is not SciPy's.
"""

from __future__ import annotations

from numpy.linalg import LinAlgError

from gradxform.scipy.linalg.equations import (
    cho_solve,
    det,
    inv,
    lstsq,
    lu_solve,
    matmul_toeplitz,
    norm,
    pinv,
    solve,
    solve_toeplitz,
    solve_triangular,
)
from gradxform.scipy.linalg.factorizations import (
    cho_factor,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    lu,
    lu_factor,
    qr,
    svd,
    svdvals,
)
from gradxform.scipy.linalg.hermitian_functions import funm_hermitian
from gradxform.scipy.linalg.matrix_functions import (
    expm,
    expm_frechet,
    solve_continuous_lyapunov,
    solve_sylvester,
    sqrtm,
)
from gradxform.scipy.linalg.special_matrices import block_diag, circulant, hankel, khatri_rao, toeplitz

__all__ = [
    "LinAlgError", "block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "det", "eig", "eigh", "eigvals",
    "eigvalsh", "expm", "expm_frechet", "funm_hermitian", "hankel", "inv", "khatri_rao", "lstsq", "lu", "lu_factor", "lu_solve",
    "matmul_toeplitz", "norm", "pinv", "qr", "solve", "solve_continuous_lyapunov", "solve_sylvester", "solve_toeplitz",
    "solve_triangular", "sqrtm", "svd", "svdvals", "toeplitz",
]
