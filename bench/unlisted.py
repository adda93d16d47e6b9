"""Makes workloads of programs that no rule of the compiler was made for: gradxform against JAX, whose results are expected.

They count in no promise. They show whether rules that were found with the other workloads hold for programs that nobody listed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import applied, converted, with_gradxform, with_jax
from bench.workload import Contender, Workload

Build = Callable[[Any, Any], Callable[..., Any]]
Operands = Callable[[np.random.Generator, int], tuple[Any, ...]]


def unlisted(name: str, title: str, size: int, build: Build, operands: Operands) -> Workload:
    """Make a workload from a builder, which is given gradxform or JAX and its NumPy face, and what makes its operands."""

    def given(count: int) -> tuple[Any, ...]:
        return operands(np.random.default_rng(1), count)

    def expected(count: int) -> Any:
        import jax
        import jax.numpy as jnp

        with jax.enable_x64(True):
            call = applied(jax.jit(build(jax, jnp)), converted(given(count), jnp.asarray))
            return converted(eval(call.statement, dict(call.names)), np.asarray)

    # Where there is no JAX, there is nothing to compare the result with.
    contenders = (
        Contender("gradxform", with_gradxform(build, given), ("gradxform", "jax")),
        Contender("JAX", with_jax(build, given), ("jax",)),
    )
    return Workload(
        name=name,
        title=title,
        sizes=(size,),
        contenders=contenders,
        expected=expected,
        listed=False,
        # Both sum in orders of their own.
        relative_tolerance=1e-8,
        absolute_tolerance=1e-8,
    )
