"""SciPy's optimisers with the derivatives filled in: `minimize`, `least_squares`, `root` and `curve_fit`.

The functions have SciPy's names, parameters and results. What they are given is compiled, and its gradient, Jacobian,
Hessian or Hessian-vector product with it, as the method takes them; the iterations are SciPy's own.
"""

from gradxform.optimize.equations import least_squares, root
from gradxform.optimize.fitting import curve_fit
from gradxform.optimize.minimizing import minimize

__all__ = ["curve_fit", "least_squares", "minimize", "root"]
