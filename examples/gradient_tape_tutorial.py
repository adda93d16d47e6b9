"""The examples of the page on TensorFlow's ``GradientTape.jacobian``, in gradxform.

A tape records what is computed while it is open; here the function itself is the record, so there is nothing to watch
or to nest: the Jacobian of a function is a function, and the second order is the Jacobian of that.

Each result is printed beside what the page prints, and compared, the dtype float32 included.

    python examples/gradient_tape_tutorial.py
"""

from __future__ import annotations

import sys

import numpy as np

import gradxform as gx

X = np.array([[4, 2], [1, 3]], dtype=np.float32)


def sparse(shape: tuple[int, ...], entries: dict[tuple[int, ...], float]) -> np.ndarray:
    """The page's printed tensors: zero but for a few entries."""
    tensor = np.zeros(shape, np.float32)
    for position, value in entries.items():
        tensor[position] = value
    return tensor


FIRST_ORDER = sparse((2, 2, 2, 2), {(0, 0, 0, 0): 48, (0, 1, 0, 1): 12, (1, 0, 1, 0): 3, (1, 1, 1, 1): 27})
SECOND_ORDER = sparse(
    (2, 2, 2, 2, 2, 2),
    {(0, 0, 0, 0, 0, 0): 24, (0, 1, 0, 1, 0, 1): 12, (1, 0, 1, 0, 1, 0): 6, (1, 1, 1, 1, 1, 1): 18},
)


def cube(x):
    return x * x * x


def batch_jacobian(function):
    """The Jacobian of each row's result with respect to that row: TensorFlow's ``batch_jacobian``.

    Only right where a row of the result depends on no other row of the argument. There the full Jacobian is zero but
    for the diagonal of the two batch axes, and summing over the argument's batch axis picks that diagonal.
    """
    return lambda x: np.sum(gx.jacfwd(function)(x), axis=-x.ndim)


def compare(call: str, result: np.ndarray, documented: np.ndarray, source: str = "document") -> None:
    print(f"\n{call}\ngradxform: shape={result.shape}, dtype={result.dtype}\n{result}")
    print(f"{source}:  shape={documented.shape}, dtype={documented.dtype}, nonzero where and what:")
    places = [tuple(map(int, place)) for place in np.argwhere(documented)]
    print("  " + ", ".join(f"{place}: {documented[place]:g}" for place in places))
    assert result.dtype == documented.dtype, result.dtype
    np.testing.assert_array_equal(result, documented)


def main() -> int:
    first_order = gx.jit(gx.jacrev(cube))
    second_order = gx.jit(gx.jacfwd(gx.jacrev(cube)))

    compare("Example 1: gfg.jacobian(y, x)", first_order(X), FIRST_ORDER)
    compare("Example 2: first_order = gg.jacobian(y, x)", gx.jit(gx.jacfwd(cube))(X), FIRST_ORDER)
    compare("Example 2: second_order", second_order(X), SECOND_ORDER)

    # The page calls batch_jacobian and prints the full tensor of rank 6; the function of that name gives rank 5.
    rows = np.arange(2)
    diagonal = SECOND_ORDER[rows, :, :, :, rows]
    batched = gx.jit(batch_jacobian(gx.jacrev(cube)))
    compare(
        "Example 2: batch_jacobian(first_order, x)", batched(X), diagonal, source="diagonal of the document's tensor"
    )

    print("\nthe first order before optimisation:")
    stages = first_order.lower(X)
    print(stages.program)
    print("\nand after it: the basis and the arithmetic on it are gone, a select puts the derivatives on the diagonal:")
    print(stages.optimized)
    print("\nall results equal those of the document")
    return 0


if __name__ == "__main__":
    sys.exit(main())
