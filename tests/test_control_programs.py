"""The laws of transforms, passes and compiler on random functions with loops and branches.

support/control_programs writes the functions. Values are compared with loops of Python under `disable_jit`, derivatives
with finite differences, batches with a loop over lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from support import laws
from support.control_programs import Function, functions, lanes_of, recorded, seeded
from support.differences import central_difference, directions
from support.tolerances import assert_all_close, assert_close

import gradxform as gx
from gradxform import lax
from gradxform.config import config
from gradxform.core import type_of
from gradxform.ir import Program, check
from gradxform.transforms import batch, jvp


def checked(law: Callable[[Function], None], function: Function) -> None:
    """Run a check; if it fails, show the function."""
    try:
        with np.errstate(all="ignore"), config.override(verify_ir=True):
            law(function)
    except Exception as error:
        raise AssertionError(f"{law.__name__}: {type(error).__name__}: {error}\n\n{function}") from error


def in_python(function: Function, arguments: Sequence[Any]) -> list[Any]:
    """The results, with loops of Python."""
    with gx.disable_jit():
        return [np.asarray(x) for x in function(*arguments)]


def with_cotangents(function: Function) -> tuple[Program, list[Any]]:
    """The program of values and gradients, and arguments for it."""
    program, arguments = recorded(function, function.inputs)
    pulled = laws.gradient_program(program, [np.asarray(a).dtype.kind == "f" for a in arguments])
    generator = np.random.default_rng(5)
    return pulled, [*arguments, *(np.asarray(generator.standard_normal(v.type.shape), v.type.dtype)
                                  for v in pulled.inputs[len(arguments):])]


def has_results(program: Program) -> bool:
    """Whether an output depends on a float."""
    return any(t.dtype.kind == "f" for t in program.output_types)


# ------------------------------------------------------------------------------------------------------------- values


def values(function: Function) -> None:
    """The program, what each pass makes of it, and its loops give what Python gives."""
    expected = in_python(function, function.inputs)
    program, arguments = recorded(function, function.inputs)
    assert_all_close(laws.evaluate(program, arguments), expected, "reordered", "recorded")
    laws.check_passes(program, arguments)
    laws.check_loops(program, arguments)


def values_in_chunks(function: Function) -> None:
    """The same with loops cut into small chunks and small contractions as products of their own."""
    program, arguments = recorded(function, function.inputs)
    with laws.small_chunks():
        laws.check_loops(program, arguments)


def compiled(function: Function) -> None:
    """Native code gives what Python gives, also for other arguments, which may take other branches."""
    jitted = gx.jit(function)
    flags = [True] * len(function.inputs)
    lanes = lanes_of(function.inputs, flags, 3, 4)
    for lane in range(3):
        arguments = [x[lane] for x in lanes]
        before = [np.array(x) for x in arguments]
        found = [np.asarray(x) for x in jitted(*arguments)]
        assert_all_close(found, in_python(function, arguments), "rewritten", f"jit, lane {lane}")
        again = [np.asarray(x) for x in jitted(*arguments)]
        assert [x.tobytes() for x in found] == [x.tobytes() for x in again], "other bits the second time"
        assert all(np.array_equal(x, y) for x, y in zip(arguments, before, strict=True)), "an argument was written to"


def compiled_in_chunks(function: Function) -> None:
    program, arguments = recorded(function, function.inputs)
    with laws.small_chunks():
        laws.check_compiled(program, arguments)


def unjitted(function: Function) -> None:
    """Called as it is, with each loop as native code."""
    found = [np.asarray(x) for x in function(*function.inputs)]
    assert_all_close(found, in_python(function, function.inputs), "rewritten", "without jit")


# -------------------------------------------------------------------------------------------------------- derivatives


def assert_differences(
    values: Callable[[Sequence[Any]], list[Any]], arguments: Sequence[Any], tangents: Sequence[Any], found: Sequence[Any],
    what: str,
) -> None:
    """``found`` is the derivative along ``tangents``, unless the differences themselves are none: near a jump, say."""
    first, second = (central_difference(values, arguments, tangents, step) for step in (1e-3, 5e-4))
    for position, (x, a, b) in enumerate(zip(found, first, second, strict=True)):
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        if np.all(np.abs(a - b) <= 2e-7 * scale):
            assert_close(x, b, "differences", f"{what}, result {position}")


def derivatives(function: Function) -> None:
    """jvp is linear and the derivative, vjp its adjoint."""
    program, arguments = recorded(function, function.inputs)
    if not has_results(program):
        return
    laws.check_linear(program, arguments)
    laws.check_adjoint(program, arguments)
    tangents = [None if t is None else 0.3 * t for t in directions(arguments, 1)]
    kept = [i for i, t in enumerate(program.output_types) if t.dtype.kind == "f"]

    def floats(xs: Sequence[Any]) -> list[Any]:
        results = laws.evaluate(program, xs)
        return [results[i] for i in kept]

    assert_differences(floats, arguments, tangents, laws.tangents_of(program, arguments, tangents), "jvp")


def pushed_forward(program: Program, arguments: Sequence[Any]) -> tuple[Program, list[Any]]:
    """The program of values and tangents, and arguments for it."""
    tangents = directions(arguments, 7)
    pushed, _ = jvp(program, [t is not None for t in tangents])
    return check(pushed, "jvp"), [*arguments, *(t for t in tangents if t is not None)]


def tangents(function: Function) -> None:
    """The program of tangents through passes, which fuse loops of values with those of tangents, and loops."""
    program, arguments = pushed_forward(*recorded(function, function.inputs))
    laws.check_passes(program, arguments)
    laws.check_loops(program, arguments)


def tangents_of_gradients(function: Function) -> None:
    program, arguments = pushed_forward(*with_cotangents(function))
    laws.check_passes(program, arguments)
    laws.check_loops(program, arguments)


def tangents_compiled(function: Function) -> None:
    laws.check_compiled(*pushed_forward(*recorded(function, function.inputs)))


def gradients(function: Function) -> None:
    """The program of gradients through passes and loops."""
    program, arguments = with_cotangents(function)
    laws.check_passes(program, arguments)
    laws.check_loops(program, arguments)


def gradients_in_chunks(function: Function) -> None:
    program, arguments = with_cotangents(function)
    with laws.small_chunks():
        laws.check_loops(program, arguments)


def gradients_compiled(function: Function) -> None:
    laws.check_compiled(*with_cotangents(function))


def second_derivatives(function: Function) -> None:
    """Forward over reverse: the derivative of gradients."""
    program, arguments = with_cotangents(function)
    tangents = [None if t is None else 0.3 * t for t in directions(arguments, 9)]
    kept = [i for i, t in enumerate(program.output_types) if t.dtype.kind == "f"]
    if not kept:
        return

    def floats(xs: Sequence[Any]) -> list[Any]:
        results = laws.evaluate(program, xs)
        return [results[i] for i in kept]

    assert_differences(floats, arguments, tangents, laws.tangents_of(program, arguments, tangents), "second order")
    laws.check_adjoint(program, arguments)


# ----------------------------------------------------------------------------------------------------------- batching


def check_lanes(program: Program, arguments: Sequence[Any], flags: Sequence[bool], seed: int) -> tuple[Program, list[Any]]:
    """batch(f)(xs) = stack of f(x). Returns the batched program and its arguments."""
    size = 3
    lanes = lanes_of(arguments, flags, size, seed)
    batched, out_flags = batch(program, flags, size)
    found = laws.evaluate(check(batched, "batch"), lanes)
    each = [laws.evaluate(program, [x[i] if flag else x for x, flag in zip(lanes, flags, strict=True)]) for i in range(size)]
    for position, flag in enumerate(out_flags):
        column = [results[position] for results in each]
        if not flag:
            assert all(np.array_equal(x, column[0], equal_nan=x.dtype.kind == "f") for x in column), "lanes differ"
        assert_close(found[position], np.stack(column) if flag else column[0], "rewritten", f"batch [{position}]")
    return batched, lanes


def flags_for(function: Function, arguments: Sequence[Any], seed: int) -> list[bool]:
    """Some inputs of ``function``, never what it captures."""
    count = len(function.inputs)
    flags = [i == seed % count or bool((seed >> i) & 1) for i in range(count)]
    return flags + [False] * (len(arguments) - count)


def batches(function: Function) -> None:
    """vmap over all and over some inputs, through passes and loops, and its adjoint."""
    program, arguments = recorded(function, function.inputs)
    batched, lanes = check_lanes(program, arguments, flags_for(function, arguments, 255), 2)
    laws.check_passes(batched, lanes)
    laws.check_loops(batched, lanes)
    if has_results(batched):
        laws.check_adjoint(batched, lanes)
    for seed in (0, 1, 2):
        check_lanes(program, arguments, flags_for(function, arguments, seed), seed)


def batches_compiled(function: Function) -> None:
    program, arguments = recorded(function, function.inputs)
    flags = flags_for(function, arguments, 255)
    batched, _ = batch(program, flags, 3)
    laws.check_compiled(batched, lanes_of(arguments, flags, 3, 2))


def batches_of_gradients(function: Function) -> None:
    program, arguments = with_cotangents(function)
    batched, lanes = check_lanes(program, arguments, flags_for(function, arguments, 255), 2)
    laws.check_loops(batched, lanes)
    check_lanes(program, arguments, flags_for(function, arguments, 1), 2)


# --------------------------------------------------------------------------------------------------------- transforms


def scalar(function: Function) -> Callable[..., Any]:
    """The function made scalar: the mean of the cosines of its float results."""

    def total(*xs: Any) -> Any:
        result = np.float64(0.0)
        for x in function(*xs):
            if type_of(x).dtype.kind == "f" and type_of(x).size:
                result = result + np.mean(np.cos(x))
        return result

    return total


def transforms(function: Function) -> None:
    """grad, jit and vmap in any order."""
    total = scalar(function)
    argnums = tuple(i for i, flag in enumerate(function.floats) if flag)
    gradient = gx.grad(total, argnums)
    with gx.disable_jit():
        expected = [np.asarray(x) for x in gradient(*function.inputs)]
    assert_all_close(gradient(*function.inputs), expected, "rewritten", "grad")
    assert_all_close(gx.jit(gradient)(*function.inputs), expected, "rewritten", "jit(grad)")
    assert_all_close(gx.grad(gx.jit(total), argnums)(*function.inputs), expected, "rewritten", "grad(jit)")
    lanes = lanes_of(function.inputs, [True] * len(function.inputs), 3, 6)
    each = [gradient(*(x[i] for x in lanes)) for i in range(3)]
    stacked = [np.stack([g[position] for g in each]) for position in range(len(argnums))]
    assert_all_close(gx.jit(gx.vmap(gradient))(*lanes), stacked, "rewritten", "jit(vmap(grad))")
    of_sum = gx.grad(lambda *xs: np.sum(gx.vmap(total)(*xs)), argnums)
    assert_all_close(gx.jit(of_sum)(*lanes), stacked, "rewritten", "jit(grad(sum of vmap))")


#: For searches: run any of them on any seeds.
LAWS = (
    values, values_in_chunks, compiled, compiled_in_chunks, unjitted, derivatives, tangents, tangents_of_gradients,
    tangents_compiled, gradients, gradients_in_chunks, gradients_compiled, second_derivatives, batches, batches_compiled,
    batches_of_gradients, transforms,
)


# ---------------------------------------------------------------------------------------------------------- the tests


def test_writer_is_reproducible_and_covers_control_flow() -> None:
    assert str(seeded(7)) == str(seeded(7))
    text = "\n".join(seeded(seed).source for seed in range(200))
    for part in (
        "lax.scan(", "lax.fori_loop(", "lax.while_loop(", "lax.cond(", "lax.switch(", "lax.map(", "@gx.jit", ".set(",
        ".add(", ".multiply(", "reverse=True", "unroll=", "length=0", "length=1", "batch_size=", ".T", "[::-1]",
    ):
        assert part in text, part
    deepest = max(len(line) - len(line.lstrip()) for line in text.splitlines())
    assert deepest >= 16  # loops in loops in loops


def test_functions_have_moderate_values() -> None:
    for seed in range(60):
        function = seeded(seed)
        for x in in_python(function, function.inputs):
            assert x.dtype.kind != "f" or np.all(np.abs(x) < 50), str(function)


@pytest.mark.parametrize("law", [values, tangents, gradients, batches, derivatives], ids=lambda law: law.__name__)
@pytest.mark.parametrize("seeds", [range(start, start + 5) for start in range(0, 40, 5)], ids=str)
def test_law(law: Callable[[Function], None], seeds: range) -> None:
    for seed in seeds:
        checked(law, seeded(seed))


@pytest.mark.parametrize(
    "law", [values_in_chunks, gradients_in_chunks, second_derivatives, tangents_of_gradients, batches_of_gradients],
    ids=lambda law: law.__name__)
@pytest.mark.parametrize("seeds", [range(100, 105), range(105, 110)], ids=str)
def test_further_law(law: Callable[[Function], None], seeds: range) -> None:
    for seed in seeds:
        checked(law, seeded(seed))


@pytest.mark.parametrize(
    "law", [compiled, compiled_in_chunks, unjitted, tangents_compiled, gradients_compiled, batches_compiled],
    ids=lambda law: law.__name__)
@pytest.mark.parametrize("seeds", [range(200, 205), range(205, 210)], ids=str)
def test_law_of_native_code(law: Callable[[Function], None], seeds: range) -> None:
    for seed in seeds:
        checked(law, seeded(seed, longest=6))


@pytest.mark.parametrize("seed", range(300, 305))
def test_transforms(seed: int) -> None:
    checked(transforms, seeded(seed, longest=4))


@given(functions())
@settings(max_examples=25)
def test_values_and_derivatives_of_drawn_functions(function: Function) -> None:
    checked(values, function)
    checked(derivatives, function)


# ------------------------------------------------------------------------------------------------- what they have found


def test_parts_of_a_body_share_what_is_stored_at_shifted_indices() -> None:
    """The rows of ``joined`` behind the first two are stored at i + 2, by parts that run block by block, and read later."""

    def function(x: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            a, b, c = carry
            joined = np.concatenate([0.5 * a[:2], a[2:] + b[2:]])
            return joined, a, np.sin(joined)[::-1] + c * joined

        return lax.fori_loop(0, 3, body, (x, x, x))

    x = np.linspace(-1, 1, 42).reshape(6, 7)
    laws.check_loops(gx.make_ir(function)(x), [x])
