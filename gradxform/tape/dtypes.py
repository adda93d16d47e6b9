"""dtypes under TensorFlow's names: they are NumPy's."""

from __future__ import annotations

import numpy as np

__all__ = ["bool", "complex128", "complex64", "double", "float32", "float64", "int16", "int32", "int64", "int8", "uint16",
           "uint32", "uint64", "uint8"]

bool = np.dtype(np.bool_)
int8, int16, int32, int64 = map(np.dtype, (np.int8, np.int16, np.int32, np.int64))
uint8, uint16, uint32, uint64 = map(np.dtype, (np.uint8, np.uint16, np.uint32, np.uint64))
float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
double = float64
complex64, complex128 = np.dtype(np.complex64), np.dtype(np.complex128)
