"""scipy.linalg: functions of matrices, and matrix equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import dtype_of
from gradxform.dtypes import complex_dtype, int64, is_complex
from gradxform.lax import fori_loop
from gradxform.numpy.linalg.operands import as_matrices, as_matrix
from gradxform.operands import cast, lift
from gradxform.primitives import linalg_equations, linalg_solve
from gradxform.primitives.logic import stop_gradient
from gradxform.primitives.matrices import adjoint, identity
from gradxform.scipy.linalg.calls import traced

#: Coefficients of the diagonal Pade approximant of exp of order 13, and the norms up to which that of order 13 is accurate to
#: the unit in double, and that of order 7 in single precision: N. J. Higham, "The scaling and squaring method for the matrix
#: exponential revisited", SIAM J. Matrix Anal. Appl. 26 (2005), section 2.
_PADE = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
         10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0)
_LARGEST = {"float64": 5.371920351148152, "float32": 3.925724783138660}
#: The same of order 7, which is enough in single precision.
_PADE_7 = (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0)


@traced
def expm(A: Any) -> Any:
    """The exponential of matrices, by scaling and squaring of a Pade approximant (Higham 2005).

    Derivatives go through the approximant and are exact to rounding, of all orders, at equal eigenvalues too.

    >>> import gradxform as gx
    >>> t = np.array([[0.0, 1.0], [0.0, 0.0]])
    >>> gx.jit(gx.scipy.linalg.expm)(t)
    array([[1., 1.],
           [0., 1.]])
    """
    a = as_matrix("expm", A, square=True)
    if not a.shape[-1]:
        return a
    single = dtype_of(a).itemsize == (8 if is_complex(dtype_of(a)) else 4)
    sizes = abs(lift("expm", stop_gradient(a))).sum(axis=-2).max(axis=-1)
    largest = _LARGEST["float32" if single else "float64"]
    # What is not finite stays so without being scaled.
    ratio = np.where(np.isfinite(sizes), sizes / largest, 1)
    count = np.maximum(np.ceil(np.log2(np.maximum(ratio, 1e-30))), 0)
    scaled = a * (2.0 ** -count).astype(sizes.dtype)[..., None, None]
    even, odd = _pade_7(scaled) if single else _pade_13(scaled)
    found = lift("expm", linalg_solve.solve(even - odd, even + odd, checked=False))
    steps = count.astype(int64)
    if a.ndim == 2:
        return lift("expm", fori_loop(0, steps, lambda i, x: x @ x, found))
    last = steps.max() if steps.size else 0
    return lift("expm", fori_loop(
        0, last, lambda i, x: np.where((i < steps)[..., None, None], x @ x, x), found))


def _pade_13(a: Any) -> tuple[Any, Any]:
    """The even and the odd part of the numerator."""
    b, one = _PADE, lift("expm", identity(a))
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    return even, odd


def _pade_7(a: Any) -> tuple[Any, Any]:
    b, one = _PADE_7, lift("expm", identity(a))
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    return b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one, a @ (b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)


@traced
def expm_frechet(A: Any, E: Any, method: Any = None, compute_expm: bool = True, check_finite: bool = True) -> Any:
    """The exponential of a matrix and its derivative in the direction ``E``: the blocks of that of [[A, E], [0, A]]."""
    a, e = as_matrices("expm_frechet", A, E, square=True)
    n = a.shape[-1]
    whole = lift("expm_frechet", expm(np.block([[a, e], [np.zeros_like(a), a]])))
    return (whole[..., :n, :n], whole[..., :n, n:]) if compute_expm else whole[..., :n, n:]


@traced
def sqrtm(A: Any, disp: Any = True, blocksize: Any = 64) -> Any:
    """The principal square root of matrices.

    Traced ones are complex also where SciPy, which looks at the values, returns real ones: take ``.real`` of roots of
    symmetric positive definite matrices. The derivative solves a Sylvester equation: exact, at equal eigenvalues too; of a
    singular matrix it is a LinAlgError.
    """
    a = as_matrix("sqrtm", A, square=True)
    return lift("sqrtm", linalg_equations.square_root(lift("sqrtm", cast(a, complex_dtype(dtype_of(a))))))


@traced
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The solution X of A X + X B = Q; a LinAlgError if A and -B have an eigenvalue in common."""
    x, y, z = as_matrices("solve_sylvester", a, b, q, square=True)
    return lift("solve_sylvester", linalg_equations.sylvester(x, y, z))


@traced
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """The solution X of A X + X A^H = Q."""
    x, z = as_matrices("solve_continuous_lyapunov", a, q, square=True)
    return lift("solve_continuous_lyapunov", linalg_equations.sylvester(x, adjoint(x), z))
