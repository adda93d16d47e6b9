"""What compiling ordinary programs takes: the first call of each in a fresh process, beyond what a later call takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.peers import compiling
from bench.workload import Contender, Promise, Workload
from bench.workloads import (
    brusselator,
    brusselator_hessian,
    brusselator_steps,
    convolution,
    embedding,
    mlp,
    rosenbrock,
    rosenbrock_hessian,
    small_hessians,
    small_matrices,
    stencil,
)

Case = tuple[str, idioms.Build, idioms.Operands, Callable[[int], Any], int]

CASES: tuple[Case, ...] = (
    ("MLP step", mlp.build, mlp.operands, lambda size: mlp.expected(size, np.float64), 32),
    (
        "convolution step",
        convolution.builder(convolution.by_patches),
        convolution.operands,
        lambda size: convolution.expected(size, np.float64),
        4,
    ),
    (
        "Rosenbrock, gradient",
        rosenbrock.build,
        rosenbrock.operands,
        lambda size: rosenbrock.by_hand(*rosenbrock.operands(size)),
        1_000,
    ),
    (
        "Rosenbrock, Hessian",
        rosenbrock_hessian.build,
        rosenbrock.operands,
        lambda size: rosenbrock_hessian.by_hand(*rosenbrock.operands(size)),
        100,
    ),
    ("Brusselator, Hessian", brusselator_hessian.build, brusselator.operands, brusselator_hessian.by_columns, 64),
    ("Brusselator, steps", brusselator_steps.build, brusselator_steps.operands, brusselator_steps.expected, 16),
    ("6x6 Hessians", small_hessians.build, small_hessians.operands, small_hessians.expected, 100),
    (
        "4x4 matrices",
        lambda library, numpy: library.vmap(small_matrices.by_elimination(numpy)),
        functools.partial(small_matrices.operands, extent=4),
        lambda size: small_matrices.by_library(np)(*small_matrices.operands(size, 4)),
        100,
    ),
    (
        "embedding",
        embedding.build,
        embedding.operands,
        lambda size: embedding.by_hand(*embedding.operands(size)),
        100,
    ),
    (
        "stencil, gradient",
        functools.partial(stencil.build_gradient, points=9),
        stencil.operands,
        lambda size: stencil.gradient_by_hand(*stencil.operands(size), points=9),
        128,
    ),
)


def contenders() -> tuple[Contender, ...]:
    """List both for each case, gradxform also with a warm disk cache; what counts as right is the case's, at its size."""
    found: list[Contender] = []
    for name, build, operands, expected, size in CASES:
        wanted = lambda _, expected=expected, size=size: expected(size)  # noqa: E731
        ours = compiling(idioms.gradxform(build, operands), size)
        theirs = compiling(idioms.jax(build, operands), size)
        found += [
            Contender(f"{name}: gradxform", ours, ("gradxform",), expected=wanted),
            Contender(f"{name}: disk cache warm", ours, ("gradxform",), expected=wanted, cache="warm"),
            Contender(f"{name}: JAX", theirs, ("jax",), expected=wanted),
        ]
    return tuple(found)


PROMISES = tuple(
    promise
    for name, *_ in CASES
    for promise in (
        Promise(
            f"{name}: gradxform / JAX",
            lambda m, name=name: m.ratio(f"{name}: gradxform", f"{name}: JAX", 1),  # type: ignore[misc]
            at_most=0.5,
        ),
        Promise(
            f"{name}: milliseconds, disk cache warm",
            lambda m, name=name: m.of(f"{name}: disk cache warm", 1) * 1e3,  # type: ignore[misc]
            at_most=10,
        ),
    )
)

WORKLOAD = Workload(
    name="programs_compile",
    title="compiling programs, first call less a later one, disk cache empty or warm",
    sizes=(1,),
    contenders=contenders(),
    expected=lambda _: None,
    promises=PROMISES,
    fresh=True,
    fresh_samples=3,
    relative_tolerance=1e-8,
    absolute_tolerance=1e-9,
)
