"""Windows for signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.dtypes import float64
from gradxform.numpy.creation import arange
from gradxform.numpy.dispatch import traced
from gradxform.numpy.manipulation import static_integers
from gradxform.numpy.ufuncs import sqrt
from gradxform.operands import cast, lift


def _length(name: str, M: Any) -> int:
    return static_integers(name, M)[0]


@traced(np.bartlett)
def bartlett(M: Any) -> Any:
    """The triangular window of ``M`` points, zero at the ends."""
    return lift("bartlett", np.bartlett(_length("bartlett", M)))


@traced(np.blackman)
def blackman(M: Any) -> Any:
    """Blackman's window of ``M`` points, 0.42 - 0.5 cos + 0.08 cos of twice."""
    return lift("blackman", np.blackman(_length("blackman", M)))


@traced(np.hamming)
def hamming(M: Any) -> Any:
    """Hamming's window of ``M`` points, 0.54 - 0.46 cos."""
    return lift("hamming", np.hamming(_length("hamming", M)))


@traced(np.hanning)
def hanning(M: Any) -> Any:
    """Hann's window of ``M`` points, 0.5 - 0.5 cos."""
    return lift("hanning", np.hanning(_length("hanning", M)))


@traced(np.i0)
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind and order 0, DLMF 10.25.2; its derivative is that of order 1."""
    from gradxform.scipy.special import i0 as bessel  # stands on this package's floor

    return bessel(lift("i0", x))


@traced(np.kaiser)
def kaiser(M: Any, beta: Any) -> Any:
    """Kaiser's window of ``M`` points and shape ``beta``, differentiable in that."""
    count = _length("kaiser", M)
    shape = lift("kaiser", cast(lift("kaiser", beta), float64))
    if count <= 1:
        return lift("kaiser", np.ones(max(count, 0)))
    middle = (count - 1) / 2.0
    profile = sqrt(1.0 - ((arange(0, float(count)) - middle) / middle) ** 2.0)
    return i0(shape * profile) / i0(shape)
