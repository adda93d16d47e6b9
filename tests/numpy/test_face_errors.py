"""Bad input to the face: the errors are NumPy's kinds, name the function and quote the user's line."""

import numpy as np
import pytest

import gradxform.numpy as gnp
from gradxform import errors
from gradxform.array import Array
from gradxform.core import Builder
from gradxform.ir import ArrayType

A, V = np.ones((3, 4)), np.ones(5)

WRONG = [
    (lambda x: gnp.reshape(x, (5, 2)), ValueError, "cannot reshape array of size 12 into shape"),
    (lambda x: gnp.reshape(x, (-1, -1)), ValueError, "only specify one unknown dimension"),
    (lambda x: gnp.sum(x, axis=2), np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
    (lambda x: gnp.sum(x, axis=(0, 0)), ValueError, "duplicate value"),
    (lambda x: gnp.sum(x, axis="a"), TypeError, "sum: an axis is an integer"),
    (lambda x: gnp.transpose(x, (0,)), ValueError, "don't match an array of rank 2"),
    (lambda x: gnp.squeeze(x, 0), ValueError, "cannot select an axis to squeeze out"),
    (lambda x: gnp.concatenate([x, V]), ValueError, "concatenate: all the input array dimensions"),
    (lambda x: gnp.concatenate([]), ValueError, "need at least one array"),
    (lambda x: gnp.concatenate([x[0, 0], 1.0]), ValueError, "zero-dimensional arrays cannot be concatenated"),
    (lambda x: gnp.stack([x, V]), ValueError, "stack: all input arrays must have the same shape"),
    (lambda x: gnp.split(x, 2), ValueError, "does not result in an equal division"),
    (lambda x: gnp.dot(x, x), ValueError, r"shapes \(3, 4\) and \(3, 4\) not aligned: 4 \(dim 1\) != 3 \(dim 0\)"),
    (lambda x: x @ x, ValueError, "matmul: mismatch in core dimension"),
    (lambda x: x @ 2.0, ValueError, "does not have enough dimensions"),
    (lambda x: gnp.einsum("ij,jk", x, x), ValueError, "einsum: subscript 'j'"),
    (lambda x: gnp.einsum("ijk", x), ValueError, "does not fit an operand of rank 2"),
    (lambda x: gnp.einsum("ij->k", x), ValueError, "output subscript 'k'"),
    (lambda x: gnp.einsum("i1", x), ValueError, "is no subscript"),
    (lambda x: gnp.einsum(x, x), ValueError, "as a string"),
    (lambda x: gnp.max(x[:0]), ValueError, "zero-size array to reduction operation maximum"),
    (lambda x: gnp.argmax(x[:0]), ValueError, "attempt to get argmax of an empty sequence"),
    (lambda x: gnp.max(x, where=x > 0), ValueError, "does not have an identity"),
    (lambda x: gnp.sum(x, where=V > 0), ValueError, "could not be broadcast"),
    (lambda x: gnp.take(x, 99), IndexError, "index 99 is out of bounds for axis 0 with size 12"),
    (lambda x: gnp.take(x, 1.5), IndexError, "indices must be integers"),
    (lambda x: gnp.take_along_axis(x, np.array([[7]]), 1), IndexError, "index 7 is out of bounds for axis 1"),
    (lambda x: gnp.where(x > 0, x), ValueError, "either both or neither"),
    (lambda x: gnp.pad(x, -1), ValueError, "negative values"),
    (lambda x: gnp.pad(x, 1, mode="nowhere"), ValueError, "mode 'nowhere' is not supported"),
    (lambda x: gnp.delete(x, 7, axis=0), IndexError, "delete"),
    (lambda x: gnp.diag(gnp.stack([x, x])), ValueError, "input must be 1- or 2-d"),
    (lambda x: gnp.linspace(0.0, x[0, 0], -1), ValueError, "must be non-negative"),
    (lambda x: gnp.arange(x[0, 0]), errors.ConcretizationError, "arange .its length."),
    (lambda x: gnp.zeros((2, "a")), TypeError, "expected integers"),
    (lambda x: gnp.zeros(3, dtype=np.float16), TypeError, "float16 is not supported"),
    (lambda x: gnp.sin(x.astype(np.int8)), TypeError, "float16, which is not supported"),
    (lambda x: gnp.sin(x, out=np.zeros((3, 4))), errors.ReadOnlyError, "out="),
    (lambda x: gnp.sum(x, 0, None, np.zeros(4)), errors.ReadOnlyError, "out="),
    (lambda x: gnp.sin(x, where=[True, False, True, True]), ValueError, "where"),
    (lambda x: gnp.sin(), TypeError, "takes 1 operands, got 0"),
    (lambda x: gnp.bitwise_and(x, 1), TypeError, "'bitwise_and' not supported for the input types"),
    (lambda x: gnp.sign(x > 0), TypeError, "not defined for booleans"),
    (lambda x: gnp.nonzero(x), errors.ConcretizationError, "nonzero needs the value"),
    (lambda x: gnp.unstack(x[0, 0]), ValueError, "axis"),
    (lambda x: gnp.broadcast_to(x, (2, 4)), ValueError, "cannot be broadcast to shape"),
    (lambda x: gnp.cross(x, x), ValueError, "expected arrays of vectors of length 2 or 3"),
    (lambda x: gnp.trapezoid(x, V), ValueError, "could not be broadcast"),
]


@pytest.mark.parametrize("function, error, message", WRONG, ids=[message for *_, message in WRONG])
def test_errors(function, error, message):
    builder = Builder("test", Array)
    with builder, pytest.raises(error, match=message) as raised:
        function(builder.add_input(ArrayType(A.dtype, A.shape)))
    assert isinstance(raised.value, errors.GradxformError)
    assert "test_face_errors.py" in str(raised.value), "the user's line is quoted"
