"""scipy.linalg: a table of calls against SciPy, and derivatives against its differences."""

import re
import warnings

import numpy as np
import pytest
import scipy.linalg
from support.linalg_checks import all_close, differences, direction, listed, product

import gradxform as gx
from gradxform.array import Array
from gradxform.core import Builder, run
from gradxform.ir import ArrayType, check
from gradxform.scipy import linalg as face

RANDOM = np.random.default_rng(2)


def regular(n):
    return RANDOM.standard_normal((n, n)) + 2 * np.eye(n)


def definite(n):
    a = regular(n)
    return a @ a.T + np.eye(n)


ARRAYS = {
    "A": regular(4), "S": definite(4), "P": definite(4), "R": RANDOM.standard_normal((5, 3)), "v": RANDOM.standard_normal(4),
    "w": RANDOM.standard_normal(3), "b": RANDOM.standard_normal((4, 2)), "y": RANDOM.standard_normal(5),
    "D": np.stack([0.1 * regular(3), 7 * regular(3)]), "F": regular(3).astype(np.float32), "L": 20 * np.eye(4) + regular(4),
    "N": np.triu(np.ones((3, 3)), 1), "c": np.array([9.0, 1.0, -2.0, 0.5]), "Q": RANDOM.standard_normal((4, 3)),
    "G": definite(3), "C": regular(3) + 1j * regular(3), "H": np.array([[2.0, 1j], [-1j, 3.0]]),
}

CALLS = """
cholesky(S); cholesky(S, lower=True); cholesky(H); cholesky(H, True); cho_factor(H, lower=True)[1]
cho_solve(cho_factor(S), v); cho_solve(cho_factor(S, lower=True), b); cho_solve((cholesky(H), False), H); lu(A); lu(R)
lu(R.T); lu(R, permute_l=True); lu(C); lu(R, p_indices=True); lu_factor(A); lu_factor(R); lu_solve(lu_factor(A), v)
lu_solve(lu_factor(A), b, 1); lu_solve(lu_factor(C), C, trans=2); qr(R); qr(R, mode='economic'); qr(R, mode='r')
qr(R.T, mode='r'); qr(A); qr(C); eigh(S, eigvals_only=True); eigh(S, lower=False, eigvals_only=True); eigvalsh(S)
eigvalsh(S, lower=False); eigvalsh(H); eigh(S, P, eigvals_only=True); eigvalsh(S, P, type=2); eigvalsh(S, P, type=3)
eigvalsh(S, subset_by_index=(1, 2)); svd(R); svd(R, full_matrices=False); svd(R, compute_uv=False); svdvals(R); eigvals(C)
eig(C); eigvals(C, H[0, 0] * C.T); eig(C, left=True, right=False); lstsq(R, y)[0]; lstsq(R, y)[1]; inv(A)
inv(S, assume_a='pos'); det(A); det(C); pinv(R); pinv(R, atol=1.5); pinv(R, rtol=0.4); pinv(R, return_rank=True)[0]
solve(A, v); solve(A, b); solve(S, b, assume_a='pos'); solve(S, b, assume_a='pos', lower=True); solve(L, v, assume_a='sym')
solve(L, b, assume_a='sym', lower=True); solve(A, b, transposed=True); solve(L, b, assume_a='lower triangular')
solve(L, b, assume_a='diagonal'); solve(A, A, assume_a='gen'); solve_triangular(L, v, lower=True); solve_triangular(L, b)
solve_triangular(L, b, trans='T'); solve_triangular(C, C, trans=2)
solve_triangular(L, b, trans=1, lower=True, unit_diagonal=True); norm(A); norm(A, 2); norm(v, 1); toeplitz(v); toeplitz(v, w)
toeplitz(C[0]); hankel(v); hankel(v, v[3:]); circulant(v); solve_toeplitz(c, v); solve_toeplitz((c, c[::-1]), b)
matmul_toeplitz((v, w), w); block_diag(A, R, v); block_diag(w); block_diag(D, D); khatri_rao(R, G); expm(A); expm(D); expm(N)
expm(C); expm(F); expm(0 * A); expm(A[:0, :0]); expm_frechet(A, S); expm_frechet(A, S, compute_expm=False); sqrtm(C)
sqrtm(C @ C); solve_sylvester(A, G, Q); solve_continuous_lyapunov(A, S); solve_sylvester(C, G, C)
"""
CALLS = [call.strip() for line in CALLS.strip().splitlines() for call in line.split(";")]


def evaluate(call, module, values):
    functions = {name: getattr(module, name) for name in re.findall(r"[a-z_]{2,}(?=\()", call)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(call, {**functions, **values})


def names_in(call):
    return [name for name in ARRAYS if re.search(rf"(?<![\w.]){name}(?![\w=(])", call)]


def leaves(result):
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("call", CALLS)
def test_calls(call):
    expected = leaves(evaluate(call, scipy.linalg, ARRAYS))
    names = names_in(call)
    builder = Builder("test", Array)
    with builder:
        traced = {name: builder.add_input(ArrayType(ARRAYS[name].dtype, ARRAYS[name].shape)) for name in names}
        found = leaves(evaluate(call, face, traced))
        plain = [x for x in found if isinstance(x, bool)]
        program, captures = builder.finish([x for x in found if not isinstance(x, bool)])
    results = plain or run(check(program), [*[ARRAYS[name] for name in names], *captures])
    for a, b in zip(results, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        tolerance = 1e-4 if b.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.max(np.abs(b), initial=0.0))))


def test_eigenvectors_and_roots_up_to_what_is_not_determined():
    """SciPy takes another driver of LAPACK, which leaves other signs; its roots are real where they can be."""
    w, v = gx.jit(face.eigh)(ARRAYS["S"], ARRAYS["P"])
    expected = scipy.linalg.eigh(ARRAYS["S"], ARRAYS["P"])
    np.testing.assert_allclose(w, expected[0], rtol=1e-10)
    np.testing.assert_allclose(np.abs(v), np.abs(expected[1]), rtol=1e-8)
    root = gx.jit(face.sqrtm)(ARRAYS["S"])
    np.testing.assert_allclose(root, scipy.linalg.sqrtm(ARRAYS["S"]), atol=1e-12)
    assert root.dtype == np.complex128


def test_every_function_is_called():
    called = {name for call in CALLS for name in re.findall(r"[a-z_]{2,}(?=\()", call)}
    assert called == set(face.__all__) - {"LinAlgError", "funm_hermitian"}


# ---------------------------------------------------------------------------------------------------------- derivatives

SMOOTH = {
    "expm": (lambda m, a: m.expm(a), ["A"]),
    "expm of a stack, scaled": (lambda m, a: m.expm(a), ["D"]),
    "expm of a nilpotent matrix": (lambda m, a: m.expm(a), ["N"]),
    "expm, complex": (lambda m, a: m.expm(a), ["C"]),
    "sqrtm": (lambda m, a: m.sqrtm(a).real, ["S"]),
    "sqrtm, complex": (lambda m, a: m.sqrtm(a), ["C"]),
    "solve_sylvester": (lambda m, a, b, c: m.solve_sylvester(a, b, c), ["S", "G", "Q"]),
    "lyapunov": (lambda m, a, b: m.solve_continuous_lyapunov(a, b), ["S", "P"]),
    "pairs": (lambda m, a, b: m.eigh(a, b, eigvals_only=True), ["S", "P"]),
    "pairs, type 3": (lambda m, a, b: m.eigvalsh(a, b, type=3), ["S", "P"]),
    "cho_solve": (lambda m, a, b: m.cho_solve(m.cho_factor(a), b), ["S", "v"]),
    "lu_solve": (lambda m, a, b: m.lu_solve(m.lu_factor(a), b, 1), ["A", "b"]),
    "lu": (lambda m, a: m.lu(a, permute_l=True), ["R"]),
    "solve, symmetric": (lambda m, a, b: m.solve(a, b, assume_a="sym"), ["L", "b"]),
    "solve_toeplitz": (lambda m, a, b: m.solve_toeplitz(a, b), ["c", "v"]),
    "left vectors": (lambda m, a: abs(m.eig(a, left=True, right=False)[1]), ["C"]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name):
    function, names = SMOOTH[name]
    operands = tuple([ARRAYS[n] for n in names])
    tangents = tuple([direction(x, k) for k, x in enumerate(operands)])

    def staged(*x):
        return listed(function(face, *x))

    values, pushed = gx.jit(lambda x, t: gx.jvp(staged, x, t))(operands, tangents)
    expected = differences(lambda *x: function(scipy.linalg, *x), operands, tangents)
    all_close(pushed, [e.astype(t.dtype) for t, e in zip(pushed, expected, strict=True)], 4e-6)
    cotangents = tuple([direction(x, 7 + k) for k, x in enumerate(values)])
    pulled = gx.vjp(staged, *operands)[1](cotangents)
    np.testing.assert_allclose(product(pulled, tangents), product(pushed, cotangents), rtol=1e-8)


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [1.0, 3.0, 3.0], [1.0, 2.0, 4.0]])
def test_functions_of_hermitian_matrices_have_exact_derivatives_at_equal_eigenvalues(values):
    """For the square it is A E + E A, for the exponential a block of that of [[A, E], [0, A]]."""
    q, _ = np.linalg.qr(RANDOM.standard_normal((3, 3)))
    a, e = (q * np.array(values)) @ q.T, definite(3)

    def along(function, **options):
        return gx.jit(lambda x, t: gx.jvp(lambda y: face.funm_hermitian(function, y, **options), (x,), (t,)))(a, e)

    value, tangent = along(np.square)
    np.testing.assert_allclose(value, a @ a, atol=1e-12)
    np.testing.assert_allclose(tangent, a @ e + e @ a, atol=1e-9)
    np.testing.assert_allclose(along(np.square, derivative=lambda w: 2 * w)[1], tangent, rtol=1e-12)
    block = scipy.linalg.expm(np.block([[a, e], [0 * a, a]]))
    np.testing.assert_allclose(along(np.exp)[1], block[:3, 3:], rtol=1e-9)
    np.testing.assert_allclose(gx.jit(gx.grad(lambda x: np.sum(face.funm_hermitian(np.exp, x) * e)))(a)[1, 1],
                               scipy.linalg.expm(np.block([[a, e], [0 * a, a]]))[1, 4], rtol=1e-9)


def test_second_derivatives_of_functions_of_hermitian_matrices():
    """On the line A + t E the second derivative of the trace of B A^3; where several eigenvalues vanish it is an error."""
    e, b = definite(3), RANDOM.standard_normal((3, 3))

    def second(a):
        def along(t):
            return np.sum(face.funm_hermitian(lambda w: w ** 3, a + t * e) * b)

        return gx.jit(lambda t: (gx.grad(gx.grad(along))(t), gx.jacfwd(gx.grad(along))(t), gx.jacfwd(gx.jacfwd(along))(t)))(0.0)

    for a, tolerance in ((np.diag([1.0, 2.0, 4.0]), 1e-9), (np.eye(3), 1e-6), (np.diag([3.0, 1.0, 3.0]), 1e-6)):
        expected = 2 * np.sum((a @ e @ e + e @ a @ e + e @ e @ a) * b)
        np.testing.assert_allclose(second(a), expected, rtol=tolerance)
    with pytest.raises(np.linalg.LinAlgError, match="take the eigenvalues of A"):
        second(np.diag([1.0, 0.0, 0.0]))


def test_square_roots_of_multiples_of_the_identity():
    """The derivative of the root of c I in the direction E is E / (2 sqrt(c))."""
    e = RANDOM.standard_normal((3, 3))
    found = gx.jit(lambda a, t: gx.jvp(lambda x: face.sqrtm(x).real, (a,), (t,))[1])(4 * np.eye(3), e)
    np.testing.assert_allclose(found, e / 4, rtol=1e-12)


def test_expm_of_what_is_not_finite():
    for value in (np.inf, np.nan):
        assert np.isnan(gx.jit(face.expm)(np.array([[1.0, value], [0.0, 1.0]]))).any()


# --------------------------------------------------------------------------------------------------------------- errors


def test_errors():
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    for call in (lambda a: face.solve(a, a), face.inv,
                 lambda a: face.solve_triangular(np.triu(a) * np.array([[1.0], [0.0]]), a)):
        with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
            gx.jit(call)(singular)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        gx.jit(face.cho_factor)(-singular)
    with pytest.raises(np.linalg.LinAlgError, match="eigenvalue in common"):
        gx.jit(face.solve_sylvester)(np.eye(2), -np.eye(2), singular)
    with pytest.raises(np.linalg.LinAlgError, match="infs or NaNs"):
        gx.jit(face.eigvals)(singular * np.nan)
    for wrong, message in (
        (lambda a: face.solve(a, a, assume_a="odd"), "not a recognized matrix structure"),
        (lambda a: face.qr(a, mode="raw"), "Mode argument"), (lambda a: face.qr(a, pivoting=True), "pivoting"),
        (lambda a: face.eigh(a, a, type=4), "type is 1, 2 or 3"), (lambda a: face.solve_triangular(a, a, trans=5), "trans is"),
    ):
        with pytest.raises(ValueError, match=message):
            gx.jit(wrong)(np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="square"):
        gx.jit(face.expm)(np.zeros((2, 3)))
