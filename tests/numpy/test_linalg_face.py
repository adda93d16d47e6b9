"""numpy.linalg: one table of calls, each made with NumPy (the truth), with the face on traced arrays, and with NumPy on traced
arrays through its protocol; types of results, dtypes, shapes and values must be NumPy's."""

import re
import warnings

import numpy as np
import pytest
from support.linalg_checks import all_close, differences, direction, listed, product

import gradxform as gx
from gradxform.array import Array
from gradxform.core import Builder, run
from gradxform.errors import GradxformError
from gradxform.ir import ArrayType, check

RANDOM = np.random.default_rng(1)


def regular(n, *stack):
    return RANDOM.standard_normal((*stack, n, n)) + 2 * np.eye(n)


def definite(n, *stack):
    a = regular(n, *stack)
    return a @ np.swapaxes(a, -1, -2) + np.eye(n)


#: The arrays that calls may name; C and H are complex, E, Z and O have no elements.
ARRAYS = {
    "A": regular(4), "B": regular(4, 3), "S": definite(4, 2), "R": RANDOM.standard_normal((5, 3)),
    "W": RANDOM.standard_normal((2, 3, 5)), "v": RANDOM.standard_normal(4), "y": RANDOM.standard_normal(5),
    "b": RANDOM.standard_normal((4, 2)), "I": np.array([[2, 1], [1, 3]]), "F": regular(4).astype(np.float32),
    "Q": np.array([[1.0, 2.0], [2.0, 4.0]]), "T": RANDOM.standard_normal((2, 3, 6)), "U": RANDOM.standard_normal((2, 3, 2, 3)),
    "t": RANDOM.standard_normal((2, 3)), "E": np.zeros((0, 0)), "Z": np.zeros((0, 3, 3)), "O": np.zeros((5, 0)),
    "C": regular(3) + 1j * regular(3), "H": np.array([[2.0, 1j], [-1j, 3.0]]), "k": np.array([0.1, 0.9]), "o": np.zeros(4),
}

CALLS = """
cholesky(S); cholesky(S, upper=True); cholesky(I); cholesky(H); cholesky(Z); cholesky(E); qr(R); qr(W); qr(R, 'r')
qr(W, 'r'); qr(R, 'complete'); qr(W, mode='complete'); qr(C); qr(Z); qr(E); qr(O); qr(O.T); qr(O, 'complete'); qr(F); eigh(S)
eigh(S, 'U'); eigh(H); eigh(Z); eigh(E); eigh(I); eigvalsh(I); eigvalsh(S, UPLO='U'); eigvalsh(H); svd(R)
svd(W, full_matrices=False); svd(C); svd(R, compute_uv=False); svd(Z); svd(E); svd(O); svd(O.T); svd(S - 9, hermitian=True)
svd(S, compute_uv=False, hermitian=True); svdvals(W); svdvals(O); svdvals(C); eigvals(C); eig(C); solve(A, v); solve(B, b)
solve(A, B); solve(A[None], B); solve(I, I); solve(F, v); solve(C, C[0]); solve(Z, Z); solve(E, o[:0]); solve(E, E); inv(A)
inv(B); inv(I); inv(F); inv(C); inv(Z); inv(E); det(A); det(B); det(Q); det(I); det(C); det(F); det(Z); det(E); slogdet(A)
slogdet(B); slogdet(Q); slogdet(C); slogdet(E); slogdet(Z); pinv(R); pinv(W); pinv(Q); pinv(W, rcond=0.5); pinv(W, rcond=k)
pinv(R, rtol=None); pinv(R, rtol=0.9); pinv(C); pinv(S, hermitian=True); pinv(O); lstsq(R, y); lstsq(R, W[0].T)
lstsq(R.T, v[:3]); lstsq(Q, v[:2]); lstsq(C, C[0]); lstsq(R, y, rcond=0.7)[0]; lstsq(R, y, rcond=-1); matrix_rank(W)
matrix_rank(Q); matrix_rank(v); matrix_rank(o); matrix_rank(I); matrix_rank(W, tol=1.0); matrix_rank(W, rtol=0.5)
matrix_rank(S, hermitian=True); matrix_rank(Z); matrix_rank(O); matrix_rank(C); matrix_power(A, 3); matrix_power(B, -2)
matrix_power(A, 0); matrix_power(B, 0); matrix_power(A, 1); matrix_power(I, 5); matrix_power(C, 7); tensorsolve(T, t)
tensorsolve(T.transpose(2, 0, 1), t, axes=(0,)); tensorinv(U); tensorinv(A, ind=1); norm(v); norm(A); norm(W); norm(I)
norm(F); norm(C); norm(E); norm(v, 1); norm(v, m.inf); norm(v, -m.inf); norm(v, 0); norm(v, 3); norm(v, -1); norm(v, 0.5)
norm(A, 'fro'); norm(A, 'nuc'); norm(A, 1); norm(A, -1); norm(A, 2); norm(A, -2); norm(A, m.inf); norm(A, -m.inf); norm(C, 2)
norm(C, 'nuc'); norm(C, 1); norm(C[0], 3); norm(W, axis=1); norm(W, axis=(0, 2)); norm(W, axis=(2, 0))
norm(W, 2, axis=(2, 0)); norm(W, 1, axis=(1, 2), keepdims=True); norm(W, 'nuc', axis=(0, 1), keepdims=True); norm(I, 1)
norm(W, keepdims=True); norm(W, 3, axis=-1, keepdims=True); norm(W, -1, axis=(1, 0)); norm(W, m.inf, axis=(1, 0)); norm(o)
norm(o, 3); norm(W, -2, axis=(1, 0)); vector_norm(W); vector_norm(W, axis=(0, 2))
vector_norm(W, axis=1, keepdims=True, ord=3); vector_norm(C); vector_norm(W, axis=(0, 1), keepdims=True, ord=m.inf)
matrix_norm(W); matrix_norm(W, ord=2, keepdims=True); matrix_norm(W, ord='nuc'); matrix_norm(C, ord=1); cond(A); cond(W)
cond(A, 1); cond(B, 'fro'); cond(A, -2); cond(Q); cond(Q, 1); cond(A, m.inf); cond(Z); cond(C); cond(o[:, None] + o)
cond(C, 'nuc'); matmul(A, v); matmul(B, A); vecdot(W, W); vecdot(W, W, axis=0); vecdot(C, C)
tensordot(A, B, axes=((0,), (1,))); outer(v, v); cross(R, R[::-1]); matrix_transpose(W); diagonal(W); diagonal(W, offset=1)
trace(B); trace(W, offset=-1); trace(I); trace(C); multi_dot([A, b, b.T]); multi_dot([v, A, b]); multi_dot([v, A, v])
multi_dot([A, v]); multi_dot((b.T, A, b, b.T))
"""
CALLS = [call.strip() for line in CALLS.strip().splitlines() for call in line.split(";")]


def names_in(call):
    return [name for name in ARRAYS if re.search(rf"(?<![\w.]){name}(?![\w=(])", call)]


def evaluate(call, module, values):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return eval(f"l.{call}", {"l": module.linalg, "m": np, **values})


def recorded(call, module):
    names = names_in(call)
    builder = Builder("test", Array)
    with builder:
        traced = {name: builder.add_input(ArrayType(ARRAYS[name].dtype, ARRAYS[name].shape)) for name in names}
        result = evaluate(call, module, traced)
        program, captures = builder.finish(list(listed(result)))
    with np.errstate(all="ignore"):
        return run(check(program), [*[ARRAYS[name] for name in names], *captures]), type(result)


def assert_numpys(found, expected):
    for a, b in zip(listed(found), listed(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        tolerance = 1e-4 if b.dtype.char in "fF" else 1e-10
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("call", CALLS)
def test_calls(call):
    expected = evaluate(call, np, ARRAYS)
    found, kind = recorded(call, gx.numpy)
    assert_numpys(found, expected)
    assert kind is type(expected) or not isinstance(expected, tuple)
    again, _ = recorded(call, np)
    assert_numpys(again, expected)
    assert_numpys(evaluate(call, gx.numpy, ARRAYS), expected)


def test_every_function_is_called():
    called = {call.split("(")[0] for call in CALLS}
    assert called == set(gx.numpy.linalg.__all__) - {"LinAlgError"}
    assert set(gx.numpy.linalg.__all__) == set(np.linalg.__all__)


def test_compiled_calls():
    """Those whose compositions are more than one primitive, in one program."""
    calls = ["svd(S, hermitian=True)", "lstsq(R, y)", "lstsq(O, y)", "pinv(W, rcond=k)", "matrix_rank(W)", "cond(Q, 1)",
             "slogdet(B)", "det(Q)", "norm(W, 'nuc', axis=(0, 1))", "tensorsolve(T, t)", "solve(A, B)",
             "multi_dot([v, A, b])", "qr(O, 'complete')", "eig(C)", "svd(O)", "solve(E, E)", "inv(C)"]
    found = gx.jit(lambda values: [evaluate(call, gx.numpy, values) for call in calls])(ARRAYS)
    for call, one in zip(calls, found, strict=True):
        expected = evaluate(call, np, ARRAYS)
        assert_numpys(one, expected)
        assert type(one) is type(expected)


# ---------------------------------------------------------------------------------------------------------- derivatives

#: Functions of the face whose derivatives are more than those of one primitive: call, operands.
SMOOTH = {
    "lstsq": (lambda m, a, b: m.lstsq(a, b)[0], ["R", "y"]),
    "residuals": (lambda m, a, b: m.lstsq(a, b)[1], ["R", "y"]),
    "solve, one matrix for a stack": (lambda m, a, b: m.solve(a, b), ["A", "B"]),
    "matrix_power": (lambda m, a: m.matrix_power(a, -3), ["A"]),
    "hermitian svd": (lambda m, a: tuple(m.svd(a, hermitian=True)), ["S"]),
    "cond": (lambda m, a: m.cond(a), ["A"]),
    "cond, order 1": (lambda m, a: m.cond(a, 1), ["A"]),
    "multi_dot": (lambda m, a, b, c: m.multi_dot([a, b, c]), ["v", "A", "b"]),
    "tensorsolve": (lambda m, a, b: m.tensorsolve(a, b), ["T", "t"]),
    **{f"norm {order}": (lambda m, a, order=order: m.norm(a, order), ["A"])
       for order in (None, "nuc", 2, -2, 1, -1, np.inf, -np.inf)},
    **{f"norm {order} of a vector": (lambda m, a, order=order: m.norm(a, order), ["v"])
       for order in (None, 1, 3, np.inf, -np.inf, 0.5)},
    "complex norm": (lambda m, a: m.norm(a), ["C"]),
    "complex determinant": (lambda m, a: tuple(m.slogdet(a)), ["C"]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name):
    function, names = SMOOTH[name]
    operands = tuple([ARRAYS[n] for n in names])
    tangents = tuple([direction(x, k) for k, x in enumerate(operands)])

    def face(*x):
        return listed(function(gx.numpy.linalg, *x))

    values, pushed = gx.jvp(face, operands, tangents)
    expected = differences(lambda *x: function(np.linalg, *x), operands, tangents)
    pushed = [np.asarray(t) for t in pushed]
    all_close(pushed, [e.astype(t.dtype) for t, e in zip(pushed, expected, strict=True)], 2e-6)
    cotangents = tuple([direction(x, 7 + k) for k, x in enumerate(values)])
    pulled = gx.vjp(face, *operands)[1](cotangents)
    np.testing.assert_allclose(product(pulled, tangents), product(pushed, cotangents), rtol=1e-9)


def test_norms_of_nothing_have_the_derivative_zero():
    for order in (None, 2, 3):
        np.testing.assert_array_equal(gx.grad(lambda x, o=order: gx.numpy.linalg.norm(x, o))(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(gx.grad(gx.numpy.linalg.norm)(np.zeros((2, 2))), np.zeros((2, 2)))


# --------------------------------------------------------------------------------------------------------------- errors

BAD = {
    "cholesky(R)": np.linalg.LinAlgError, "inv(v)": np.linalg.LinAlgError, "det(W)": np.linalg.LinAlgError,
    "solve(R, y)": np.linalg.LinAlgError, "solve(A, y)": ValueError, "solve(v, A)": np.linalg.LinAlgError,
    "eigh(A, 'X')": ValueError, "eigvals(R)": np.linalg.LinAlgError, "svd(v)": np.linalg.LinAlgError,
    "qr(R, 'other')": ValueError, "norm(A, 3)": ValueError, "norm(v, 'fro')": ValueError, "norm(W, 2)": ValueError,
    "norm(v, axis=3)": np.exceptions.AxisError, "matrix_power(R, 2)": np.linalg.LinAlgError,
    "matrix_power(A, 1.5)": TypeError, "cond(E)": np.linalg.LinAlgError, "pinv(R, rcond=0.1, rtol=0.1)": ValueError,
    "lstsq(W, y)": np.linalg.LinAlgError, "lstsq(R, v)": np.linalg.LinAlgError, "tensorinv(T, ind=0)": ValueError,
    "tensorsolve(T, v)": np.linalg.LinAlgError, "outer(A, v)": ValueError, "cross(v, v)": ValueError,
    "multi_dot([A])": ValueError, "multi_dot([A, R])": ValueError, "matrix_transpose(v)": ValueError,
    "solve(Z, y)": ValueError,
}


@pytest.mark.parametrize("call", BAD)
def test_errors_are_numpys(call):
    with pytest.raises(BAD[call]):
        evaluate(call, np, ARRAYS)
    with pytest.raises(BAD[call], match=call.split("(")[0]) as caught:
        recorded(call, gx.numpy)
    assert isinstance(caught.value, GradxformError)
    assert "in user code" in str(caught.value)


def test_half_precision_is_refused():
    with pytest.raises(TypeError):
        np.linalg.inv(np.eye(2, dtype=np.float16))
    with pytest.raises(TypeError, match="float16"):
        gx.jit(gx.numpy.linalg.inv)(np.eye(2, dtype=np.float16))


def test_plain_arrays_are_numpys_business():
    a = ARRAYS["A"]
    assert type(gx.numpy.linalg.eigh(a)) is type(np.linalg.eigh(a))
    np.testing.assert_array_equal(gx.numpy.linalg.inv(a), np.linalg.inv(a))
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        gx.numpy.linalg.inv(ARRAYS["Q"])
    assert gx.numpy.linalg.LinAlgError is np.linalg.LinAlgError


def test_plain_numpy_code_is_differentiated():
    def likelihood(a, x):
        sign, size = np.linalg.slogdet(a)
        return -0.5 * (x @ np.linalg.solve(a, x) + size) * sign

    a, x = ARRAYS["S"][0], ARRAYS["v"]
    inverse = np.linalg.inv(a)
    expected = 0.5 * (np.outer(inverse @ x, inverse @ x) - inverse)
    np.testing.assert_allclose(gx.jit(gx.grad(likelihood))(a, x), expected, rtol=1e-9, atol=1e-12)
