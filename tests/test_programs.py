"""The laws of transforms, passes and compiler on random programs (support/programs writes them, support/laws checks).

Two kinds of examples: seeded ones, which are quick, and hypothesis', which shrink: a failure prints the function as
Python source.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from support import laws
from support.differences import central_difference, directions
from support.programs import Function, functions, seeded, trace
from support.tolerances import assert_all_close, assert_close

import gradxform as gx
from gradxform import primitives as P
from gradxform.core import run

#: Seeds per test item: a failing item names few seeds, and its message the function.
SEEDS = [range(start, start + 10) for start in range(0, 80, 10)]
COMPILED_SEEDS = [range(start, start + 4) for start in range(100, 140, 4)]


def checked(function: Function, check: Any, *arguments: Any) -> None:
    """Run a check; if it fails, show the function."""
    try:
        check(*arguments)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}\n\n{function}") from error


def with_cotangents(function: Function) -> tuple[Any, list[Any]]:
    """The program of values and gradients, and arguments for it."""
    program = laws.gradient_program(trace(function, function.inputs), function.floats)
    generator = np.random.default_rng(5)
    count = len(function.inputs)
    return program, [
        *function.inputs,
        *(np.asarray(generator.standard_normal(v.type.shape), v.type.dtype) for v in program.inputs[count:]),
    ]


def kinds(seed: int) -> Function:
    """Every third function is smooth."""
    return seeded(seed, smooth=seed % 3 == 0)


# -------------------------------------------------------------------------------------------------------- the writer


def test_writer_is_reproducible_and_covers_the_primitives() -> None:
    assert str(seeded(7)) == str(seeded(7))
    used: set[str] = set()
    ranks: set[int] = set()
    empty = one = 0
    for seed in range(150):
        program = trace(kinds(seed), kinds(seed).inputs)
        for equation in program.equations:
            used.add(equation.operation.name)
            shape = equation.outputs[0].type.shape
            ranks.add(len(shape))
            empty += 0 in shape
            one += 1 in shape
    assert ranks >= {0, 1, 2, 3, 4} and empty > 5 and one > 50
    expected = {
        "broadcast",
        "reshape",
        "transpose",
        "slice",
        "reverse",
        "concatenate",
        "pad",
        "reduce_sum",
        "reduce_max",
        "reduce_prod",
        "cumsum",
        "cumprod",
        "cummax",
        "dot_general",
        "gather",
        "scatter",
        "select",
        "less",
        "convert",
        "argmax",
        "sin",
        "log",
        "div",
        "pow",
        "floor",
        "maximum",
        "remainder",
        "logical_and",
        "right_shift",
    }
    assert expected <= used, expected - used


def test_functions_are_their_programs() -> None:
    for seed in range(30):
        function = kinds(seed)
        direct = [np.asarray(x) for x in function(*function.inputs)]
        assert_all_close(laws.evaluate(trace(function, function.inputs), function.inputs), direct, "reordered", str(function))


# ------------------------------------------------------------------------------------------------- passes and loops


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_passes_and_loops(seeds: range) -> None:
    for seed in seeds:
        function = kinds(seed)
        program = trace(function, function.inputs)
        checked(function, laws.check_passes, program, function.inputs)
        checked(function, laws.check_loops, program, function.inputs)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_passes_and_loops_of_gradients(seeds: range) -> None:
    for seed in seeds:
        function = kinds(seed)
        program, arguments = with_cotangents(function)
        checked(function, laws.check_passes, program, arguments)
        checked(function, laws.check_loops, program, arguments)


@pytest.mark.parametrize("seeds", SEEDS[:4], ids=str)
def test_loops_in_chunks(seeds: range) -> None:
    with laws.small_chunks():
        for seed in seeds:
            function = kinds(seed)
            checked(function, laws.check_loops, trace(function, function.inputs), function.inputs)
            checked(function, laws.check_loops, *with_cotangents(function))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_sums_of_empty_padded_pieces(shape: tuple[int, ...]) -> None:
    zeros = (0,) * len(shape)

    def function(x: Any) -> Any:
        before = P.pad(x, np.float64(0.0), tuple(int(n > 0) for n in shape), zeros, zeros)
        after = P.pad(x, np.float64(0.0), zeros, tuple(int(n > 0) for n in shape), zeros)
        return P.add(P.mul(before, 2.0), P.add(before, after)), P.add(before, after)

    arguments = [np.zeros(shape)]
    laws.check_passes(trace(function, arguments), arguments)
    laws.check_loops(trace(function, arguments), arguments)


@given(functions(longest=8))
@settings(max_examples=30)
def test_passes_and_loops_of_drawn_functions(function: Function) -> None:
    program = trace(function, function.inputs)
    laws.check_passes(program, function.inputs)
    laws.check_loops(program, function.inputs)
    program, arguments = with_cotangents(function)
    laws.check_passes(program, arguments)
    laws.check_loops(program, arguments)


# -------------------------------------------------------------------------------------------------------- native code


@pytest.mark.parametrize("seeds", COMPILED_SEEDS, ids=str)
def test_compiled(seeds: range) -> None:
    for seed in seeds:
        function = kinds(seed)
        checked(function, laws.check_compiled, trace(function, function.inputs), function.inputs)
        checked(function, laws.check_compiled, *with_cotangents(function))


@pytest.mark.parametrize("seeds", COMPILED_SEEDS[:4], ids=str)
def test_compiled_in_chunks(seeds: range) -> None:
    with laws.small_chunks():
        for seed in seeds:
            function = kinds(seed)
            checked(function, laws.check_compiled, trace(function, function.inputs), function.inputs)
            checked(function, laws.check_compiled, *with_cotangents(function))


@pytest.mark.parametrize("seeds", [range(6), range(6, 12)], ids=str)
def test_compiled_on_larger_arrays(seeds: range) -> None:
    """Vector loops and their remainders; the interpreter of loops is too slow for these."""
    for seed in seeds:
        function = seeded(seed, smooth=seed % 3 == 0, large=True)
        checked(function, laws.check_compiled, trace(function, function.inputs), function.inputs)
        checked(function, laws.check_compiled, *with_cotangents(function))


@given(functions(longest=6))
@settings(max_examples=20)
def test_compiled_drawn_functions(function: Function) -> None:
    laws.check_compiled(trace(function, function.inputs), function.inputs)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    with laws.small_chunks():
        for seed in range(200, 206):
            function = kinds(seed)
            compiled = gx.jit(function)
            results = []
            for threads in (1, 2, 2, 1):
                with gx.config.override(num_threads=threads):
                    results.append([np.asarray(x).tobytes() for x in compiled(*function.inputs)])
            assert results[1:] == results[:-1], str(function)


# -------------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_jvp_is_linear_and_vjp_its_adjoint(seeds: range) -> None:
    for seed in seeds:
        function = kinds(seed)
        program = trace(function, function.inputs)
        checked(function, laws.check_linear, program, function.inputs)
        checked(function, laws.check_adjoint, program, function.inputs)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_jvp_against_differences(seeds: range) -> None:
    for seed in seeds:
        function = seeded(seed, smooth=True)
        checked(function, laws.check_differences, function)


@pytest.mark.parametrize("seeds", SEEDS[:2], ids=str)
def test_gradients_of_gradients_against_differences(seeds: range) -> None:
    """Differentiating the program of values and cotangents: forward over reverse."""
    for seed in seeds:
        function = seeded(seed, smooth=True, longest=8)
        program, arguments = with_cotangents(function)
        tangents = [None if t is None else 0.3 * t for t in directions(arguments, 9)]
        floats = [i for i, t in enumerate(program.output_types) if t.dtype.kind == "f"]

        def values(xs: Any, program: Any = program, floats: Any = floats) -> list[Any]:
            results = laws.evaluate(program, xs)
            return [results[i] for i in floats]

        expected = central_difference(values, arguments, tangents)
        checked(
            function, assert_all_close, laws.tangents_of(program, arguments, tangents), expected, "differences", "second order"
        )


@given(functions(smooth=True, longest=8))
@settings(max_examples=30)
def test_derivatives_of_drawn_functions(function: Function) -> None:
    program = trace(function, function.inputs)
    laws.check_linear(program, function.inputs)
    laws.check_adjoint(program, function.inputs)
    laws.check_differences(function)


def test_reverse_and_forward_jacobians_agree() -> None:
    for seed in range(0, 60, 3):
        function = seeded(seed, smooth=True, longest=6)
        if sum(np.size(x) for x in function.inputs) > 40:
            continue
        floats = tuple(i for i, flag in enumerate(function.floats) if flag)
        types = trace(function, function.inputs).output_types
        kept = [i for i, t in enumerate(types) if t.dtype.kind == "f"]

        def chosen(*xs: Any, function: Function = function, kept: list[int] = kept) -> list[Any]:
            results = function(*xs)
            return [results[i] for i in kept]

        forward = gx.tree.leaves(gx.jacfwd(chosen, floats)(*function.inputs))
        reverse = gx.tree.leaves(gx.jacrev(chosen, floats)(*function.inputs))
        checked(function, assert_all_close, reverse, forward, "rewritten", "jacrev and jacfwd")


# ----------------------------------------------------------------------------------------------------------- batching


def flags_for(seed: int, count: int) -> list[bool]:
    return [i == seed % count or bool((seed >> i) & 1) for i in range(count)]


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_batch_is_a_stack(seeds: range) -> None:
    for seed in seeds:
        function = kinds(seed)
        flags = flags_for(seed, len(function.inputs))
        checked(function, laws.check_batch, trace(function, function.inputs), function.inputs, flags)


@pytest.mark.parametrize("seeds", SEEDS[:3], ids=str)
def test_batch_of_gradients_and_gradients_of_batches(seeds: range) -> None:
    for seed in seeds:
        function = kinds(seed)
        program, arguments = with_cotangents(function)
        flags = flags_for(seed, len(arguments))
        checked(function, laws.check_batch, program, arguments, flags)
        plain = trace(function, function.inputs)
        flags = flags_for(seed, len(function.inputs))
        batched = laws.check_batch(plain, function.inputs, flags)
        lanes = laws.lanes_of(function.inputs, flags, 3)
        checked(function, laws.check_adjoint, batched, lanes)


@given(functions(longest=6))
@settings(max_examples=20)
def test_batches_of_drawn_functions(function: Function) -> None:
    laws.check_batch(trace(function, function.inputs), function.inputs, [True] * len(function.inputs))
    laws.check_batch(trace(function, function.inputs), function.inputs, flags_for(1, len(function.inputs)))


def test_batch_of_nothing_and_of_one() -> None:
    for seed in range(20):
        function = kinds(seed)
        program = trace(function, function.inputs)
        flags = [True] * len(function.inputs)
        checked(function, laws.check_batch, program, function.inputs, flags, 1)
        from gradxform.transforms import batch

        batched, out_flags = batch(program, flags, 0)
        found = run(batched, [np.zeros((0, *np.shape(x)), np.asarray(x).dtype) for x in function.inputs])
        for x, flag, expected in zip(found, out_flags, program.output_types, strict=True):
            assert np.shape(x) == ((0, *expected.shape) if flag else expected.shape), str(function)


# ----------------------------------------------------------------------------------------- jit, vmap and grad together


def scalar(function: Function) -> Any:
    """The function made scalar: the mean of the cosines of its float results."""

    def total(*xs: Any) -> Any:
        result = np.float64(0.0)
        for x in function(*xs):
            if x.dtype.kind == "f" and x.size:
                result = result + np.mean(np.cos(x.astype(np.float64)))
        return result

    return total


@pytest.mark.parametrize("seeds", [range(300, 305), range(305, 310)], ids=str)
def test_jit_and_vmap_of_gradients(seeds: range) -> None:
    for seed in seeds:
        function = seeded(seed, smooth=True, longest=8)
        total = scalar(function)
        argnums = tuple(i for i, flag in enumerate(function.floats) if flag)
        gradient = gx.grad(total, argnums)
        eager = gradient(*function.inputs)
        checked(function, assert_all_close, gx.jit(gradient)(*function.inputs), eager, "rewritten", "jit(grad)")
        checked(function, assert_all_close, gx.grad(gx.jit(total), argnums)(*function.inputs), eager, "rewritten", "grad(jit)")
        lanes = laws.lanes_of(function.inputs, [True] * len(function.inputs), 3)
        each = [gradient(*(x[i] for x in lanes)) for i in range(3)]
        expected = [np.stack([g[position] for g in each]) for position in range(len(argnums))]
        checked(function, assert_all_close, gx.vmap(gradient)(*lanes), expected, "rewritten", "vmap(grad)")
        checked(function, assert_all_close, gx.jit(gx.vmap(gradient))(*lanes), expected, "rewritten", "jit(vmap(grad))")
        checked(function, assert_close, gx.jit(total)(*function.inputs), total(*function.inputs), "rewritten", "jit")


# ------------------------------------------------------------------------------------------------------- canonical text

_PRINT = """
import sys
import numpy as np
from gradxform.api.lowered import optimised
from gradxform.backend.generation import kernel_of
from support import laws
from support.programs import seeded, trace
from gradxform.transforms import pull_back
for seed in range(12):
    function = seeded(seed, smooth=seed % 3 == 0)
    program = trace(function, function.inputs)
    print(program)
    gradient = pull_back(program, function.floats).program
    print(gradient)
    better = optimised(gradient)
    print(better)
    print(kernel_of(better))
"""


def test_text_is_the_same_in_every_process() -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    texts = []
    for seed in ("0", "1", "4242"):
        environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", _PRINT], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0] and texts[0] == texts[1] == texts[2]
