"""dot_general against einsum."""

from __future__ import annotations

import numpy as np
import pytest
from rule_checks import check_function, check_lowering, trace

from gradxform.core import run
from gradxform.errors import AxisError, DTypeError, ShapeError
from gradxform.primitives.contraction import dot_general

RANDOM = np.random.default_rng(2)

CASES = [
    ("i,i->", (3,), (3,), ((0,), (0,)), ((), ())),
    ("i,j->ij", (2,), (3,), ((), ()), ((), ())),
    ("ij,jk->ik", (2, 3), (3, 4), ((1,), (0,)), ((), ())),
    ("ji,kj->ik", (3, 2), (4, 3), ((0,), (1,)), ((), ())),
    ("ij,j->i", (2, 3), (3,), ((1,), (0,)), ((), ())),
    ("j,jk->k", (3,), (3, 2), ((0,), (0,)), ((), ())),
    ("bij,bjk->bik", (2, 2, 3), (2, 3, 2), ((2,), (1,)), ((0,), (0,))),
    ("ibj,jkb->bik", (2, 3, 2), (2, 2, 3), ((2,), (0,)), ((1,), (2,))),
    ("ijkl,lkmi->ijm", (2, 2, 3, 2), (2, 3, 2, 2), ((3, 2), (0, 1)), ((0,), (3,))),
    ("ijk,kjm->im", (2, 3, 2), (2, 3, 2), ((1, 2), (1, 0)), ((), ())),
    ("abi,bai->abi", (2, 3, 2), (3, 2, 2), ((), ()), ((0, 1, 2), (1, 0, 2))),
    ("ib,bj->bij", (2, 3), (3, 2), ((), ()), ((1,), (0,))),
    ("ij,jk->ik", (2, 0), (0, 3), ((1,), (0,)), ((), ())),
    ("ij,jk->ik", (0, 2), (2, 3), ((1,), (0,)), ((), ())),
    (",i->i", (), (3,), ((), ()), ((), ())),
]


@pytest.mark.parametrize(("subscripts", "left", "right", "contracting", "batch"), CASES)
def test_dot_general(subscripts, left, right, contracting, batch):
    arrays = [RANDOM.standard_normal(left), RANDOM.standard_normal(right)]
    check_function(lambda x, y: dot_general(x, y, contracting, batch), arrays, lambda x, y: np.einsum(subscripts, x, y))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64, np.bool_, np.float32])
def test_dtypes_are_kept(dtype):
    x, y = RANDOM.integers(0, 20, (3, 4)).astype(dtype), RANDOM.integers(0, 20, (4, 2)).astype(dtype)
    program = trace(lambda a, b: dot_general(a, b, ((1,), (0,))), x, y)
    (found,) = run(program, [x, y])
    np.testing.assert_array_equal(found, np.matmul(x, y))
    assert found.dtype == dtype
    check_lowering(program, [x, y])
    check_lowering(trace(lambda a, b: dot_general(a, b, ((), ())), x, y), [x, y])


def test_the_same_operand_twice():
    x = RANDOM.standard_normal((2, 3))
    check_function(lambda a: dot_general(a, a, ((1,), (1,))), [x], lambda a: a @ a.T)


def test_refusals():
    with pytest.raises(ShapeError, match=r"dot_general.*equal extents"):
        trace(lambda a, b: dot_general(a, b, ((0,), (0,))), np.zeros(2), np.zeros(3))
    with pytest.raises(AxisError, match="dot_general"):
        trace(lambda a, b: dot_general(a, b, ((1,), (0,))), np.zeros(2), np.zeros(2))
    with pytest.raises(AxisError, match="dot_general"):
        trace(lambda a, b: dot_general(a, b, ((0,), (0,)), ((0,), (0,))), np.zeros(2), np.zeros(2))
    with pytest.raises(DTypeError, match="dot_general"):
        trace(lambda a, b: dot_general(a, b, ((0,), (0,))), np.zeros(2), np.zeros(2, np.float32))
