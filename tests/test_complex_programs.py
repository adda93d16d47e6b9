"""The laws of transforms, passes and compiler on random programs with complex numbers in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import laws
from support.complex_programs import seeded_complex
from support.differences import central_difference, directions
from support.programs import Function, trace
from support.tolerances import assert_all_close
from test_programs import checked, with_cotangents

import gradxform as gx
from gradxform import primitives as P
from gradxform.ir import check
from gradxform.passes.complex_pairs import split_complex
from gradxform.primitives import ROSTER

SEEDS = [range(start, start + 8) for start in range(0, 64, 8)]
COMPILED_SEEDS = [range(start, start + 4) for start in range(200, 232, 4)]


def function_of(seed: int) -> Function:
    """Every third one has single precision in it."""
    return seeded_complex(seed, narrow=seed % 3 == 2)


def operations(function: Function) -> set[str]:
    program = trace(function, function.inputs)
    return {e.operation.name for e in program.equations if any(
        x.type.dtype.kind == "c" for x in (*e.inputs, *e.outputs))}


def test_the_writer_writes_complex_programs() -> None:
    used = set().union(*(operations(function_of(seed)) for seed in range(150)))
    assert used >= {
        "complex", "real", "imag", "conj", "abs", "sign", "add", "sub", "mul", "div", "neg", "square", "integer_pow", "pow",
        "exp", "log", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tanh", "arcsin", "arccosh", "arctan", "convert", "select",
        "broadcast", "reshape", "transpose", "slice", "reverse", "concatenate", "pad", "reduce_sum", "reduce_prod", "cumsum",
        "cumprod", "dot_general", "gather", "scatter",
    }
    assert sum(bool(operations(function_of(seed))) for seed in range(64)) > 48


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_jvp_is_linear_and_vjp_its_adjoint(seeds: range) -> None:
    for seed in seeds:
        function = function_of(seed)
        program = trace(function, function.inputs)
        checked(function, laws.check_linear, program, function.inputs)
        checked(function, laws.check_adjoint, program, function.inputs)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_jvp_against_differences(seeds: range) -> None:
    for seed in seeds:
        checked(seeded_complex(seed), laws.check_differences, seeded_complex(seed))


@pytest.mark.parametrize("seeds", SEEDS[:4], ids=str)
def test_gradients_of_gradients_against_differences(seeds: range) -> None:
    for seed in seeds:
        function = seeded_complex(seed, longest=8)
        program, arguments = with_cotangents(function)
        tangents = [None if t is None else 0.3 * t for t in directions(arguments, 4)]
        kept = [i for i, t in enumerate(program.output_types) if t.dtype.kind == "f"]

        def floats(xs: Any, program: Any = program, kept: Any = kept) -> list[Any]:
            results = laws.evaluate(program, xs)
            return [results[i] for i in kept]

        expected = central_difference(floats, arguments, tangents)
        checked(function, assert_all_close, laws.tangents_of(program, arguments, tangents), expected, "differences",
                "second order")


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_batch_is_a_stack(seeds: range) -> None:
    for seed in seeds:
        function = function_of(seed)
        flags = [bool(seed >> i & 1) for i in range(len(function.inputs))]
        if not any(flags):
            flags[0] = True
        checked(function, laws.check_batch, trace(function, function.inputs), function.inputs, flags)


@pytest.mark.parametrize("seeds", SEEDS[:3], ids=str)
def test_batch_of_gradients_and_gradients_of_batches(seeds: range) -> None:
    for seed in seeds:
        function = seeded_complex(seed)
        program, arguments = with_cotangents(function)
        checked(function, laws.check_batch, program, arguments, [True] * len(arguments))
        flags = [True] * len(function.inputs)
        batched = laws.check_batch(trace(function, function.inputs), function.inputs, flags)
        checked(function, laws.check_adjoint, batched, laws.lanes_of(function.inputs, flags, 3))


@pytest.mark.parametrize("seeds", SEEDS[:4], ids=str)
def test_passes_and_loops(seeds: range) -> None:
    for seed in seeds:
        function = function_of(seed)
        program = trace(function, function.inputs)
        # The passes know real programs only; the first one makes them that.
        checked(function, laws.check_passes, check(split_complex(program, ROSTER)), function.inputs)
        checked(function, laws.check_loops, program, function.inputs)


@pytest.mark.parametrize("seeds", COMPILED_SEEDS, ids=str)
def test_compiled(seeds: range) -> None:
    for seed in seeds:
        function = function_of(seed)
        checked(function, laws.check_compiled, trace(function, function.inputs), function.inputs)
        if seed % 2:
            checked(function, laws.check_compiled, *with_cotangents(function))


def test_complex_arguments_and_results_are_those_of_their_parts() -> None:
    """The same function taken as one of complex numbers, and as one of pairs."""
    def pairs(x: Any, y: Any) -> tuple[Any, Any]:
        z = P.complex(x, y)
        w = P.mul(P.exp(P.conj(z)), P.sign(z))
        return P.real(w), P.imag(w)

    x, y = np.array([0.5, -1.5, 0.7]), np.array([1.0, 0.3, -0.4])
    value, pull = gx.vjp(pairs, x, y)
    by_x, by_y = pull((x, y))
    whole, pull_whole = gx.vjp(lambda z: np.exp(np.conj(z)) * np.sign(z), x + 1j * y)
    np.testing.assert_allclose(whole, value[0] + 1j * value[1])
    # <ct, t> is the real part of the product: the cotangent of x + i y is that of x minus i times that of y.
    np.testing.assert_allclose(pull_whole(x - 1j * y)[0], by_x - 1j * by_y)
