"""What compiling the loops takes: the first call of each in a fresh process, beyond what a later call takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.peers import compiling
from bench.workload import Call, Contender, Promise, Workload
from bench.workloads import gauss_seidel, kalman, lorenz, lstm, newton_while

Prepare = Callable[[int], Call]

CASES: tuple[tuple[str, Prepare, Prepare, Callable[[int], object], int], ...] = (
    ("Lorenz, vectors", lorenz.gradxform_vectors, lorenz.jax_vectors, lorenz.expected, lorenz.STEPS),
    ("Lorenz, numbers", lorenz.gradxform_numbers, lorenz.jax_numbers, lorenz.expected, lorenz.STEPS),
    ("Newton", newton_while.gradxform, newton_while.jax_loop, newton_while.expected, newton_while.ITERATIONS),
    ("Kalman", kalman.gradxform, kalman.jax_filter, kalman.expected, kalman.STEPS),
    (
        "LSTM",
        lstm.gradxform(np.float64),
        lstm.jax_scan(np.float64),
        lambda size: lstm.expected_in(size, np.float64),
        lstm.STEPS,
    ),
    ("sweeps", gauss_seidel.gradxform, gauss_seidel.jax_loops, gauss_seidel.expected, 1),
    ("sweeps, gradient", gauss_seidel.gradxform_gradient, gauss_seidel.jax_gradient, gauss_seidel.expected_gradient, 1),
)


def contenders() -> tuple[Contender, ...]:
    """List both for each case; what counts as right is the case's, at its size."""
    found = []
    for name, ours, peers, expected, size in CASES:
        wanted = lambda _, expected=expected, size=size: expected(size)  # noqa: E731
        found.append(Contender(f"gradxform, {name}", compiling(ours, size), ("gradxform",), expected=wanted))
        found.append(Contender(f"JAX, {name}", compiling(peers, size), ("jax",), expected=wanted))
    return tuple(found)


WORKLOAD = Workload(
    name="loops_compile",
    title="compiling the loops: first call less a later one, disk cache empty",
    sizes=(1,),
    contenders=contenders(),
    expected=lambda size: None,
    promises=tuple(
        Promise(
            f"gradxform / JAX, {name}",
            lambda m, name=name: m.ratio(f"gradxform, {name}", f"JAX, {name}", 1),  # type: ignore[misc]
            at_most=1,
        )
        for name, *_ in CASES
    ),
    fresh=True,
    fresh_samples=5,
    relative_tolerance=1e-9,
)
