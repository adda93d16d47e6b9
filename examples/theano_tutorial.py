"""Every expression of Theano's tutorial "Derivatives in Theano", in gradxform.

In Theano one builds symbolic variables and asks for the derivative of one with respect to another. Here one writes a
NumPy function and asks for its derivative as a function; the program behind it can be printed at any stage.

Each result is printed beside what the tutorial prints, and compared.

    python examples/theano_tutorial.py
"""

from __future__ import annotations

import sys

import numpy as np

import gradxform as gx
from gradxform.ir import infix


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def block(label: str, text: str) -> None:
    """A possibly multi-line text behind a label."""
    print(f"  {label:<10} " + str(text).replace("\n", "\n" + " " * 13))


def compare(call: str, result: object, documented: object, digits: int | None = None, source: str = "document") -> None:
    """Print a result beside the documented one; equal, or equal to so many printed digits after the point.

    Where the document makes a statement without numbers, ``source`` says that the numbers are ours.
    """
    print(call)
    block("gradxform", str(result))
    block(source, str(np.array(documented)))
    if digits is None:
        np.testing.assert_array_equal(result, documented)
    else:
        np.testing.assert_allclose(result, documented, rtol=0.0, atol=0.51 * 10.0**-digits)


def gradients() -> None:
    heading("Computing gradients")

    def square(x):
        return x**2

    compiled = gx.jit(gx.grad(square))
    stages = compiled.lower(4.0)
    before, after = infix(stages.program, ["x"]), infix(stages.optimized, ["x"])
    print("pp(gy): the gradient of x ** 2 before optimisation")
    block("gradxform", before)
    fill = "(fill((x ** TensorConstant{2}), TensorConstant{1.0}) * TensorConstant{2})"
    block("document", f"({fill} * (x ** (TensorConstant{{2}} - TensorConstant{{1}})))")
    print("pp(f.maker.fgraph.outputs[0]): after optimisation, one operation is left")
    block("gradxform", after)
    block("document", "(2.0 * x)")
    assert after == "2.0 * x", after
    block("program", str(stages.optimized))
    assert len(stages.optimized.equations) == 1

    compare("f(4), a float here, for an integer has no derivative", compiled(4.0), 8.0)
    compare("numpy.allclose(f(94.2), 188.4)", np.allclose(compiled(94.2), 188.4), True)

    def total_logistic(x):
        return np.sum(1 / (1 + np.exp(-x)))

    derivative = gx.jit(gx.grad(total_logistic))
    matrix = np.array([[0.0, 1.0], [-1.0, -2.0]])
    documented = [[0.25, 0.19661193], [0.19661193, 0.10499359]]
    compare("dlogistic([[0, 1], [-1, -2]])", derivative(matrix), documented, digits=8)
    logistic = 1 / (1 + np.exp(-matrix))
    np.testing.assert_allclose(derivative(matrix), logistic * (1 - logistic), rtol=1e-15)
    print("  and it is s(x) * (1 - s(x)), as the tutorial says")

    def product(x, w):
        return np.sum(x * w**2)

    x, w = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    by_x, by_w = gx.jit(gx.grad(product, argnums=(0, 1)))(x, w)
    print("T.grad(s, [x, w]): a sequence of arguments gives the derivatives in its order")
    compare("with respect to x", by_x, w**2, source="by hand")
    compare("with respect to w", by_w, 2 * x * w, source="by hand")


def jacobian() -> None:
    heading("Computing the Jacobian")

    def square(x):
        return x**2

    x = np.array([4.0, 4.0])
    documented = [[8.0, 0.0], [0.0, 8.0]]

    def by_rows(x):
        return gx.vmap(lambda i: gx.grad(lambda x: square(x)[i])(x))(np.arange(x.shape[0]))

    compare("scan over the rows of y, T.grad(y[i], x)", gx.jit(by_rows)(x), documented)
    compare("jacrev, reverse mode", gx.jit(gx.jacrev(square))(x), documented)
    compare("jacfwd, forward mode", gx.jit(gx.jacfwd(square))(x), documented)

    y = square(x)
    print("scan over y itself, T.grad(y_i, x): y_i is no function of x any more, which unconnected='raise' reports")
    try:
        gx.grad(lambda x: y[0], unconnected="raise")(x)
    except gx.errors.GradxformError as error:
        block("gradxform", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    else:
        raise AssertionError("an unconnected argument was not reported")


def hessian() -> None:
    heading("Computing the Hessian")

    def cost(x):
        return np.sum(x**2)

    x = np.array([4.0, 4.0])
    documented = [[2.0, 0.0], [0.0, 2.0]]
    compare("the Jacobian of T.grad(cost, x)", gx.jit(gx.jacrev(gx.grad(cost)))(x), documented)
    compare("hessian", gx.jit(gx.hessian(cost))(x), documented)


def products() -> None:
    heading("Jacobian times a vector")
    x = np.array([0.0, 1.0])

    def right(w, v, x):
        return gx.jvp(lambda w: np.dot(x, w), (w,), (v,))[1]

    w, v = np.ones((2, 2)), np.full((2, 2), 2.0)
    compare("T.Rop(y, W, V) at [[1, 1], [1, 1]], [[2, 2], [2, 2]], [0, 1]", gx.jit(right)(w, v, x), [2.0, 2.0])

    def left(v, x):
        # y is linear in w, so the point at which the product is taken does not matter.
        _, pull_back = gx.vjp(lambda w: np.dot(x, w), np.ones((2, 2)))
        return pull_back(v)[0]

    compare("T.Lop(y, W, v) at [2, 2], [0, 1]", gx.jit(left)(np.array([2.0, 2.0]), x), [[0.0, 0.0], [2.0, 2.0]])


def hessian_products() -> None:
    heading("Hessian times a vector")

    def cost(x):
        return np.sum(x**2)

    x, v = np.array([4.0, 4.0]), np.array([2.0, 2.0])

    def reverse_over_reverse(x, v):
        return gx.grad(lambda x: np.sum(gx.grad(cost)(x) * v))(x)

    def forward_over_reverse(x, v):
        return gx.jvp(gx.grad(cost), (x,), (v,))[1]

    compare("T.grad(T.sum(gy * v), x) at [4, 4], [2, 2]", gx.jit(reverse_over_reverse)(x, v), [4.0, 4.0])
    compare("T.Rop(gy, x, v) at [4, 4], [2, 2]", gx.jit(forward_over_reverse)(x, v), [4.0, 4.0])
    compare("hvp(cost)(x, v)", gx.jit(gx.hvp(cost))(x, v), [4.0, 4.0])
    print("both ways end as the same program:")
    block("reverse", str(gx.jit(reverse_over_reverse).lower(x, v).optimized))
    block("forward", str(gx.jit(forward_over_reverse).lower(x, v).optimized))


def pointers() -> None:
    heading("Final pointers")

    def quartic(x):
        return x**4

    third = gx.jit(gx.grad(gx.grad(gx.grad(quartic))))
    compare("grad can be applied repeatedly: the third derivative of x ** 4 at 2", third(2.0), 48.0, source="by hand")
    print("scalar costs only can be directly handled by grad:")
    try:
        gx.grad(quartic)(np.array([1.0, 2.0]))
    except gx.errors.ShapeError as error:
        block("gradxform", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    else:
        raise AssertionError("grad of an array was not refused")


def main() -> int:
    gradients()
    jacobian()
    hessian()
    products()
    hessian_products()
    pointers()
    print("\nall results equal those of the document")
    return 0


if __name__ == "__main__":
    sys.exit(main())
