"""The laws of transforms and compiler, as checks of one function or program; `programs` writes the functions.

Each raises AssertionError (or CheckError). Truth is the NumPy interpreter `core.run`, which stands on NumPy alone,
finite differences, or another way to the same mathematics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import gradxform as gx
from gradxform.api.lowered import optimised
from gradxform.backend import nests, node_lowering, split
from gradxform.backend.generation import kernel_of
from gradxform.config import config
from gradxform.core import run
from gradxform.ir import Program, check
from gradxform.loopir.checker import check_kernel
from gradxform.loopir.interpreter import interpret
from gradxform.passes.pipeline import PASSES
from gradxform.primitives import ROSTER
from gradxform.transforms import batch, jvp, pull_back, transpose
from gradxform.transforms import linearize as linearize_program
from support.differences import central_difference, directions, inner
from support.programs import Function, trace
from support.tolerances import assert_all_close, assert_close


def evaluate(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program`` by NumPy."""
    return [np.asarray(x) for x in run(program, arguments)]


def has_float32(program: Program) -> bool:
    """Whether some value is of dtype float32 or complex64, so that float64 results may have its precision only."""
    types = [*program.input_types, *(v.type for e in program.equations for v in e.outputs)]
    return any(t.dtype in (np.float32, np.complex64) for t in types)


def assert_results(program: Program, found: Sequence[Any], expected: Sequence[Any], kind: str, what: str) -> None:
    """`assert_close` for the outputs of ``program``."""
    assert_all_close(found, expected, kind, what, narrow=has_float32(program))


# ------------------------------------------------------------------------------------------------- passes and compiler


def check_passes(program: Program, arguments: Sequence[Any]) -> None:
    """Each pass keeps to the grammar, to the types of inputs and outputs, and to the values."""
    expected = evaluate(program, arguments)
    current = program
    for name, apply, _ in PASSES:
        current = check(apply(current, ROSTER), name)
        assert current.inputs == program.inputs, name
        assert [(t.dtype, t.shape) for t in current.output_types] == [(t.dtype, t.shape) for t in program.output_types], name
        assert_results(program, evaluate(current, arguments), expected, "rewritten", f"after pass {name}")


def check_loops(program: Program, arguments: Sequence[Any]) -> None:
    """The optimised program and its loops, interpreted, give what the program gives."""
    expected = evaluate(program, arguments)
    better = check(optimised(program))
    assert_results(program, evaluate(better, arguments), expected, "rewritten", "optimised")
    kernel = check_kernel(kernel_of(better))
    with np.errstate(all="ignore"):
        assert_results(program, interpret(kernel, arguments), expected, "rewritten", "loops")
    with small_parts():
        kernel = check_kernel(kernel_of(better))
    with np.errstate(all="ignore"):
        assert_results(program, interpret(kernel, arguments), expected, "rewritten", "loops in parts")


@contextmanager
def small_parts() -> Iterator[None]:
    """Within this context even short bodies are split into parts, and loops into small blocks."""
    names = {"PART_STATEMENTS": 3, "SPLIT_STATEMENTS": 5, "IN_ORDER_STATEMENTS": 5, "MAX_BLOCK": 8}
    before = {name: getattr(split, name) for name in names}
    try:
        for name, value in names.items():
            setattr(split, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(split, name, value)


def check_compiled(program: Program, arguments: Sequence[Any]) -> None:
    """Native code gives what the program gives, twice the same bits, and leaves its arguments alone."""
    expected = evaluate(program, arguments)
    before = [np.array(a) for a in arguments]
    function = gx.jit(lambda *xs: tuple(run(program, xs)))
    found = [np.asarray(x) for x in function(*arguments)]
    assert_results(program, found, expected, "rewritten", "compiled")
    again = function(*arguments)
    for a, b in zip(found, again, strict=True):
        assert a.tobytes() == np.asarray(b).tobytes(), "compiled code gives other bits the second time"
    for a, b in zip(arguments, before, strict=True):
        assert np.asarray(a).tobytes() == b.tobytes(), "compiled code wrote to an argument"


@contextmanager
def small_chunks() -> Iterator[None]:
    """Within this context even small loops are cut into chunks, and small contractions are products of their own."""
    before = nests.CHUNK_WORK, node_lowering.PRODUCT_THRESHOLD
    nests.CHUNK_WORK, node_lowering.PRODUCT_THRESHOLD = 0.5, 8
    try:
        # The key of the disk cache does not know the first two.
        with config.override(parallel_threshold=1, cache_dir="off"):
            yield
    finally:
        nests.CHUNK_WORK, node_lowering.PRODUCT_THRESHOLD = before


# -------------------------------------------------------------------------------------------------------- derivatives


def tangents_of(program: Program, arguments: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangent of each float output, zeros where it does not depend on the inputs."""
    pushed, depends = jvp(program, [t is not None for t in tangents])
    results = evaluate(check(pushed, "jvp"), [*arguments, *(t for t in tangents if t is not None)])
    assert_all_close(results[: len(program.outputs)], evaluate(program, arguments), "reordered", "values of the jvp")
    found = iter(results[len(program.outputs) :])
    return [
        next(found) if flag else np.zeros(atom.type.shape, atom.type.dtype)
        for atom, flag in zip(program.outputs, depends, strict=True)
        if atom.type.dtype.kind == "f"
    ]


def check_linear(program: Program, arguments: Sequence[Any], seed: int = 1) -> None:
    """jvp(2u - 3v) = 2 jvp(u) - 3 jvp(v)."""
    u, v = directions(arguments, seed), directions(arguments, seed + 1)
    both = [None if a is None else 2 * a - 3 * b for a, b in zip(u, v, strict=True)]
    of_u, of_v, of_both = (tangents_of(program, arguments, t) for t in (u, v, both))
    for a, b, c in zip(of_u, of_v, of_both, strict=True):
        assert_close(
            c, np.asarray(2 * a - 3 * b, c.dtype), "rewritten", "jvp is not linear in its tangents", narrow=has_float32(program)
        )


def check_adjoint(program: Program, arguments: Sequence[Any], seed: int = 1) -> None:
    """<ct, jvp v> = <vjp ct, v>, and the transpose of the transpose is the linear part again."""
    wanted = [np.asarray(a).dtype.kind == "f" for a in arguments]
    tangents = directions(arguments, seed)
    parts, depends = linearize_program(program, wanted)
    check(parts.known, "known part")
    linear = check(parts.rest, "linear part")
    residuals = evaluate(parts.known, arguments)[len(program.outputs) :]
    floats = [t for t in tangents if t is not None]
    pushed = evaluate(linear, [*residuals, *floats])
    cotangents = directions(pushed, seed + 2)
    pulled_back = pull_back(program, wanted)
    assert pulled_back.depends == depends
    results = evaluate(check(pulled_back.program, "vjp"), [*arguments, *cotangents])
    assert_all_close(results[: len(program.outputs)], evaluate(program, arguments), "reordered", "values of the vjp")
    pulled = results[len(program.outputs) :]
    left, right = inner(cotangents, pushed), inner(pulled, floats)
    scale = max(
        1.0,
        *(abs(float(np.sum(np.abs(np.asarray(a, np.float64) * b)))) for a, b in zip(cotangents, pushed, strict=True)),
        *(float(np.sum(np.abs(np.asarray(a, np.float64) * b))) for a, b in zip(pulled, floats, strict=True)),
    )
    tolerance = 2e-4 if has_float32(linear) or has_float32(program) else 1e-10
    assert abs(left - right) <= tolerance * scale, f"<ct, jvp v> = {left}, <vjp ct, v> = {right}"
    # Transposing twice needs every output to be linear in every input, which the linear part is.
    once = check(transpose(linear, [False] * len(residuals) + [True] * len(floats)), "transpose")
    assert_results(program, evaluate(once, [*residuals, *cotangents]), pulled, "rewritten", "transpose")
    twice = check(transpose(once, [False] * len(residuals) + [True] * len(cotangents)), "transpose of the transpose")
    assert_results(program, evaluate(twice, [*residuals, *floats]), pushed, "rewritten", "transpose of the transpose")


def check_differences(function: Function, seed: int = 1) -> None:
    """jvp against central differences of fourth order, for smooth functions."""
    program = trace(function, function.inputs)
    tangents = [None if t is None else 0.3 * t for t in directions(function.inputs, seed)]
    kept = [i for i, t in enumerate(program.output_types) if t.dtype.kind == "f"]

    def floats(arguments: Sequence[Any]) -> list[Any]:
        results = evaluate(program, arguments)
        return [results[i] for i in kept]

    expected = central_difference(floats, function.inputs, tangents)
    assert_all_close(tangents_of(program, function.inputs, tangents), expected, "differences", "jvp")


def gradient_program(program: Program, wanted: Sequence[bool]) -> Program:
    """Inputs, then a cotangent per output that depends on them -> outputs and gradients."""
    return check(pull_back(program, wanted).program, "vjp")


# ----------------------------------------------------------------------------------------------------------- batching


def lanes_of(arguments: Sequence[Any], flags: Sequence[bool], size: int, seed: int = 3) -> list[Any]:
    """The arguments with a leading axis where flagged; lanes are permuted, so they differ and keep to their domain."""
    generator = np.random.default_rng(seed)
    result = []
    for argument, flag in zip(arguments, flags, strict=True):
        flat = np.asarray(argument).reshape(-1)
        lanes = [flat if i == 0 else generator.permutation(flat) for i in range(size)]
        result.append(np.stack(lanes).reshape((size, *np.shape(argument))) if flag else argument)
    return result


def check_batch(program: Program, arguments: Sequence[Any], flags: Sequence[bool], size: int = 3) -> Program:
    """batch(f)(xs) = stack of f(x). Returns the batched program."""
    lanes = lanes_of(arguments, flags, size)
    batched, out_flags = batch(program, flags, size)
    found = evaluate(check(batched, "batch"), lanes)
    each = [evaluate(program, [x[i] if flag else x for x, flag in zip(lanes, flags, strict=True)]) for i in range(size)]
    for position, flag in enumerate(out_flags):
        expected = np.stack([results[position] for results in each])
        if not flag:
            for other in expected[1:]:
                np.testing.assert_array_equal(other, expected[0], err_msg="lanes differ where batch says they do not")
            expected = expected[0]
        assert_close(found[position], expected, "rewritten", f"batch [{position}]", narrow=has_float32(program))
    return batched
