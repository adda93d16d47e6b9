"""More calls for the tests of the NumPy face, as in numpy_calls."""

from __future__ import annotations

import numpy as np

# NumPy gave up vector products in the plane with version 2.5.
FLAT_CROSSES = ("m.cross(v[:2], w[:2])", "m.cross(v[:3], w[:2])", "m.cross(A[:, :2], A[:, 2:])") if (
    np.lib.NumpyVersion(np.__version__) < "2.5.0") else ()

FURTHER_CALLS = (
    # representation and integers
    "m.nextafter(v, w)", "m.nextafter(z, 0.0)", "m.nextafter(f, 2.0)", "m.nextafter(i, j)", "m.spacing(v)", "m.spacing(z)",
    "m.spacing(f)", "m.frexp(v)", "m.frexp(z)", "m.frexp(f)", "m.frexp(i)", "m.ldexp(f, k)", "m.ldexp(z, 3)",
    "m.ldexp(z, 2000)", "m.ldexp(x, -1070)", "m.gcd(i, j)", "m.gcd(s, k)", "m.gcd(q, q)", "m.gcd(12, i)", "m.lcm(i, j)",
    "m.lcm(s, k)", "m.lcm(q, m.uint8(6))", "m.bitwise_count(i)", "m.bitwise_count(q)", "m.bitwise_count(b)",
    "m.packbits(M)", "m.packbits(M, axis=0)", "m.packbits(q, bitorder='little')", "m.unpackbits(q)",
    "m.unpackbits(q, count=13)", "m.unpackbits(q, count=-3, bitorder='little')", "m.unpackbits(q, count=30)",
    "m.pow(v, 2)", "m.pow(p, 1.5)",
    # methods of ufuncs
    "m.add.reduce(A)", "m.add.reduce(A, axis=1, keepdims=True)", "m.multiply.reduce(A, axis=(0, 1))",
    "m.subtract.reduce(A)", "m.subtract.reduce(v, initial=2.0)", "m.divide.reduce(w)",
    "m.fmax.reduce(N, axis=1)", "m.fmin.reduce(N, axis=None)", "m.logaddexp.reduce(A, axis=1)", "m.hypot.reduce(A)",
    "m.gcd.reduce(i)", "m.lcm.reduce(k + 2)", "m.bitwise_or.reduce(I, axis=1)", "m.bitwise_xor.reduce(I, axis=(0, 1))",
    "m.logical_xor.reduce(M)", "m.maximum.reduce(A, axis=-1)", "m.logical_and.reduce(M, axis=1)",
    "m.fmax.reduce(A, where=M, initial=-9.0)", "m.bitwise_or.reduce(I, where=I > 0)", "m.hypot.reduce(e)",
    "m.add.accumulate(A, axis=1)", "m.multiply.accumulate(v)", "m.subtract.accumulate(A, axis=1)",
    "m.divide.accumulate(w)", "m.fmax.accumulate(v)", "m.minimum.accumulate(A)", "m.logaddexp.accumulate(v)",
    "m.bitwise_and.accumulate(i)", "m.add.outer(v, p)", "m.power.outer(p, k)", "m.less.outer(v, w)",
    "m.divmod.outer(v, w)[1]", "m.subtract.outer(A, v[:2])", "m.add.reduceat(v, [0, 3, 1, 4])",
    "m.add.reduceat(A, [0, 2], axis=1)", "m.multiply.reduceat(v, [1, 4])", "m.maximum.reduceat(v, [0, 2, 2])",
    "m.subtract.reduceat(v, [0, 3, 1])", "m.add.reduceat(s, [0, 1])", "m.logical_or.reduceat(b, [0, 2])",
    # products
    "m.matvec(A, w[:4])", "m.matvec(T, p)", "m.matvec(I, k)", "m.vecmat(v[:3], A)", "m.vecmat(A[0, :3], T)",
    *FLAT_CROSSES, "m.einsum(A, [0, 1], B, [1, 2], [0, 2])",
    "m.einsum(T, [..., 1, 2], p, [2], [..., 1])", "m.einsum(S, [0, 0])", "m.einsum('ij,jk,kl', A, B, A, optimize=True)",
    # padding
    "m.pad(v, 3, 'edge')", "m.pad(A, ((2, 7), (5, 1)), 'reflect')", "m.pad(A, ((2, 7), (5, 1)), 'symmetric')",
    "m.pad(A, ((2, 7), (5, 1)), 'wrap')", "m.pad(A, ((2, 7), (9, 1)), 'reflect', reflect_type='odd')",
    "m.pad(A, ((2, 7), (9, 1)), 'symmetric', reflect_type='odd')", "m.pad(I, 5, 'reflect', reflect_type='odd')",
    "m.pad(v[:1], 3, 'reflect', reflect_type='odd')", "m.pad(v[:1], 3, 'symmetric', reflect_type='odd')",
    "m.pad(v, (2, 3), 'linear_ramp')", "m.pad(A, 2, 'linear_ramp', end_values=((1, 2), (3.5, 4)))",
    "m.pad(I, 3, 'linear_ramp', end_values=7)", "m.pad(v, 2, 'maximum')", "m.pad(A, (1, 2), 'minimum', stat_length=2)",
    "m.pad(A, 1, 'mean')", "m.pad(I, (2, 1), 'mean', stat_length=((1, 2), (2, 3)))", "m.pad(I, 1, 'maximum')",
    "m.pad(A, 1, 'median')", "m.pad(I, 1, 'median', stat_length=2)", "m.pad(A, {0: (1, 2)}, 'mean')",
    # arrangement
    "m.roll(A, k[0], 1)", "m.roll(A, k[0])", "m.roll(A, (i[0], j[1]), (0, 1))", "m.roll(A, n)", "m.roll(v, i[1])",
    "m.repeat(A, [2], axis=0)", "m.insert(v, [0, 3, 3], [8.0, 9.0, 7.0])", "m.insert(v, [1, -1], 4.0)",
    "m.insert(A, [1], [[5.0], [6.0], [7.0]], axis=1)", "m.insert(A, 1, v[:3], axis=1)", "m.insert(A, [0, 2], w[:4], axis=0)",
    "m.insert(v, slice(0, 4, 2), 3.0)", "m.insert(i, m.array([True, False, True, False, False]), 5)", "m.insert(A, 2, 1.5)",
    "m.insert(v, [], [])", "m.delete(A, [0, -1], axis=1)", "m.delete(v, [True, False, True, False, False])",
    "m.delete(A, slice(None, None, 2), 1)", "m.trim_zeros(m.array([0.0, 0.0, 1.5, 0.0, 2.0, 0.0]))",
    "KNOWN m.trim_zeros(m.pad(S, 2))", "KNOWN m.trim_zeros(m.pad(k, 2), 'f')", "KNOWN m.trim_zeros(m.pad(S, 1), 'b', 0)",
    # calculus
    "m.gradient(v, edge_order=2)", "m.gradient(A, 0.5, axis=1, edge_order=2)", "m.gradient(v, w[0], edge_order=2)",
    "m.gradient(v, m.array([0.0, 0.5, 2.0, 2.5, 4.0]), edge_order=2)", "m.gradient(A, m.array([1.0, 2.0, 4.0]), 2.0)",
    "m.gradient(v[:3], edge_order=2)", "m.gradient(f, 2.0)",
    "m.interp(v, m.array([0.0, 0.4, 1.1, 0.85]), p, period=1.5)", "m.interp(w, 2.9 * p, p, period=-1.3)",
    "m.unwrap(7.0 * v)", "m.unwrap(5.0 * A, axis=0)", "m.unwrap(A, discont=2.6, period=3.1)", "m.unwrap(3 * i, period=7)",
    "m.unwrap(3 * I, period=4)", "m.unwrap(4.0 * f)",
    "m.cov(A, aweights=p)", "m.cov(A, fweights=m.array([1, 2, 3, 1]))", "m.cov(v, w, aweights=w**2, ddof=0)",
    "m.cov(A, fweights=m.array([1, 2, 3, 1]), aweights=p)",
    "m.array_equiv(A, A[:1])", "m.array_equiv(A, 1.0 * A)", "m.array_equiv(v, v[0])",
    # polynomials
    "m.poly(v)", "m.poly(k)", "m.polyadd(v, p)", "m.polyadd(k, 2.0)", "m.polysub(p, v)", "m.polymul(v, p)",
    "m.polymul(k, i)", "m.polydiv(v, w[:3])", "m.polydiv(w[:3], v)", "m.polyint(p, 2, k=[1.0, 2.0])",
    "m.polyint(p, 1, v[:1])", "m.polyint(p, 3, 1.5)", "m.polyfit(w, v, 2)", "m.polyfit(w, v, 1, w=w**2)",
    "m.polyfit(v, m.outer(w, p), 3)", "m.polyfit(w, v, 1, cov=True)",
    "m.polyfit(w, v, 1, w=w**2, cov='unscaled')",
    # windows
    "m.bartlett(5)", "m.blackman(6)", "m.hamming(7)", "m.hanning(1)", "m.kaiser(5, 8.6)", "m.kaiser(6, x)", "m.kaiser(1, x)",
    "m.i0(v)", "m.i0(30.0 * v)", "m.i0(k)",
    # functions of functions
    "m.apply_along_axis(m.sum, 0, A)", "m.apply_along_axis(lambda r: m.outer(r, r), 1, A)",
    "m.apply_along_axis(m.cumsum, 1, T)", "m.apply_along_axis(lambda r, s: r[0] * s, 0, A, 3.0)",
    "m.apply_over_axes(m.sum, T, [0, 2])", "m.apply_over_axes(m.cumsum, A, 1)",
    "m.piecewise(v, [v < 0.5, v >= 0.5], [lambda t: t * t, 2.0])", "m.piecewise(v, [v > 1.0], [m.exp, m.sin])",
    "m.piecewise(v, v > 0.5, [lambda t: 3.0 * t])", "m.piecewise(i, [i > 1, i > 2], [1, lambda t: t + 1, -1])",
    "m.piecewise(x, [x > 0.0], [m.sqrt])", "m.vectorize(lambda a, b: a * b + 1.0)(v, w)",
    "m.vectorize(lambda a, b: a - b)(A, v[:4])", "m.vectorize(m.dot, signature='(n),(n)->()')(A, A[0])",
    "m.vectorize(lambda a, b: m.convolve(a, b), signature='(n),(m)->(k)')(A, v[:2])",
    "m.vectorize(lambda a: (a, a * a))(A)", "m.vectorize(lambda a, c: a * c[1], excluded=[1])(v, (1.0, 2.0))",
    "m.vectorize(lambda a: a, otypes=[float])(i)", "m.vectorize(lambda a, b: a + b)(A[:, :1], A[0])",
    # grids
    "m.mgrid[0:3, 0:2]", "m.mgrid[0:1:4j, -1:2]", "m.mgrid[1:7:2]", "m.mgrid[0:1:3j]", "m.ogrid[0:3, 0:2:5j]",
    "m.ogrid[0:4]", "m.mgrid[0:x:3j, 0:2]", "m.r_[v, 1.0, w]", "m.r_[0:3, i, 4]", "m.r_['0,2', v, w]", "m.r_['1', A, A]",
    "m.r_['1,2,0', v, w]", "m.r_[0:1:5j, x]", "m.r_['0,2,0', v, w]", "m.c_[v, w]", "m.c_[A, v[:3]]", "m.c_[i, v]",
    "m.diag_indices_from(S)", "m.tril_indices_from(A)", "m.triu_indices_from(A, 1)", "m.mask_indices(3, m.triu)",
    "m.mask_indices(4, m.tril, -1)", "m.asanyarray(v)", "m.ascontiguousarray(x)", "m.asfortranarray(A)",
    "m.unravel_index(m.abs(i), (3, 4), order='F')", "m.ravel_multi_index((k, m.abs(j[:3])), (3, 6), order='F')",
    "m.ravel_multi_index((i, j), (4, 6), mode='wrap')", "m.ravel_multi_index((i, j), (4, 6), mode=('clip', 'wrap'))",
    "A[m.s_[1:, ::2]]", "v[m.index_exp[1:3]]",
)
