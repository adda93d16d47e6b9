"""NumPy's functions, traceable: plain arrays go to NumPy itself, inside a transform every call is recorded.

``import gradxform.numpy as np`` is NumPy for the functions that it has; results, dtypes and errors are NumPy's. Plain
``import numpy`` works on traced arrays too; this module is needed where no traced array is among the arguments but the
result shall be one, and for ``array`` of traced values.
"""

from gradxform.numpy.arrangement import *  # noqa: F403
from gradxform.numpy.creation import *  # noqa: F403
from gradxform.numpy.manipulation import *  # noqa: F403
from gradxform.numpy.reductions import *  # noqa: F403
from gradxform.numpy.ufuncs import *  # noqa: F403
