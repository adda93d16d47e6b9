"""Checks that hold for any function of arrays traced from primitives; the truth is NumPy or finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from gradxform.core import Builder, bind_all, run
from gradxform.ir import ArrayType, Literal, Program, Var, check
from gradxform.loopir.expression import Apply, Constant, Expression, Index, Load, integer
from gradxform.loopir.lowering import Contraction, Cumulative, Expands, Map, Reduction, View
from gradxform.transforms import batch, jvp, vjp

#: Relative to the largest element; central differences lose half the digits.
DIFFERENCE_TOLERANCE = 2e-7
EXACT_TOLERANCE = {np.dtype(kind): tolerance for kinds, tolerance in (("dD", 1e-12), ("fF", 2e-4)) for kind in kinds}


def trace(function: Callable[..., Any], *arrays: Any) -> Program:
    """The program of ``function`` for arrays of these types."""
    builder = Builder("test")
    with builder:
        inputs = [builder.add_input(ArrayType(np.asarray(a).dtype, np.shape(a))) for a in arrays]
        result = function(*inputs)
        program, captures = builder.finish(result if isinstance(result, (list, tuple)) else [result])
    assert not captures
    return check(program)


def close(found: Any, expected: Any, tolerance: float) -> None:
    """Equal shape, dtype and, relative to the largest expected element, values."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype, (found, expected)
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def _floats(arrays: Sequence[Any]) -> list[bool]:
    return [np.asarray(a).dtype.kind in "fc" for a in arrays]


def _directions(arrays: Sequence[Any], seed: int) -> list[Any]:
    generator = np.random.default_rng(seed)

    def direction(a: Any) -> Any:
        parts = generator.standard_normal(np.shape(a))
        if np.asarray(a).dtype.kind == "c":
            parts = parts + 1j * generator.standard_normal(np.shape(a))
        return parts.astype(np.asarray(a).dtype)

    return [direction(a) for a, flag in zip(arrays, _floats(arrays), strict=True) if flag]


def _tangents_of(program: Program, arrays: Sequence[Any], directions: Sequence[Any]) -> list[Any]:
    pushed, depends = jvp(program, _floats(arrays))
    results = run(check(pushed), [*arrays, *directions])
    tangents = iter(results[len(program.outputs):])
    return [next(tangents) if flag else np.zeros(atom.type.shape, atom.type.dtype)
            for atom, flag in zip(program.outputs, depends, strict=True)]


def _moved(arrays: Sequence[Any], directions: Sequence[Any], step: float) -> list[Any]:
    steps = iter(directions)
    return [a + step * next(steps) if flag else a for a, flag in zip(arrays, _floats(arrays), strict=True)]


def check_derivatives(program: Program, arrays: Sequence[Any], seed: int = 0) -> None:
    """jvp against central differences, and <ct, jvp v> = <vjp ct, v>; ``arrays`` are float64, complex128 or integers."""
    directions = _directions(arrays, seed)
    tangents = _tangents_of(program, arrays, directions)
    step = 1e-5
    ahead, behind = (run(program, _moved(arrays, directions, s)) for s in (step, -step))
    for tangent, atom, plus, minus in zip(tangents, program.outputs, ahead, behind, strict=True):
        if atom.type.dtype.kind in "fc":
            close(tangent, (np.asarray(plus) - minus) / (2 * step), DIFFERENCE_TOLERANCE)
    check_adjoint(program, arrays, seed)


def check_adjoint(program: Program, arrays: Sequence[Any], seed: int = 0) -> None:
    """<ct, jvp v> = <vjp ct, v>, with the real parts of the products of complex numbers."""
    directions = _directions(arrays, seed)
    pushed, depends = jvp(program, _floats(arrays))
    pulled, _ = vjp(program, _floats(arrays))
    check(pulled)
    count = len(program.outputs)
    tangents = run(pushed, [*arrays, *directions])[count:]
    cotangents = _directions(tangents, seed + 1)
    assert sum(depends) == len(cotangents)
    pullbacks = run(pulled, [*arrays, *cotangents])[count:]
    for array, pullback in zip(directions, pullbacks, strict=True):
        assert np.shape(pullback) == np.shape(array) and pullback.dtype == array.dtype
    forward = sum(float(np.sum(c * t).real) for c, t in zip(cotangents, tangents, strict=True))
    reverse = sum(float(np.sum(p * v).real) for p, v in zip(pullbacks, directions, strict=True))
    tolerance = max(EXACT_TOLERANCE[d.dtype] for d in directions)
    np.testing.assert_allclose(forward, reverse, rtol=tolerance, atol=tolerance * 10)


def check_batching(program: Program, arrays: Sequence[Any], size: int = 3, seed: int = 2) -> None:
    """vmap against a loop, for every choice of batched operands."""
    generator = np.random.default_rng(seed)
    for flags in product([False, True], repeat=len(arrays)):
        if not any(flags):
            continue
        lanes = [np.stack([generator.permutation(np.ravel(a)).reshape(np.shape(a)) for _ in range(size)]) if flag else a
                 for a, flag in zip(arrays, flags, strict=True)]
        batched, out_flags = batch(program, flags, size)
        found = run(check(batched), lanes)
        expected = [run(program, [a[i] if flag else a for a, flag in zip(lanes, flags, strict=True)])
                    for i in range(size)]
        for position, (value, flag) in enumerate(zip(found, out_flags, strict=True)):
            stacked = np.stack([np.asarray(row[position]) for row in expected])
            value = np.asarray(value) if flag else np.broadcast_to(value, stacked.shape)
            close(value, stacked, 1e-5 if stacked.dtype.char in "fF" else 1e-12)


def check_function(function: Callable[..., Any], arrays: Sequence[Any], reference: Callable[..., Any] | None = None,
                   orders: int = 2, lowered: bool = True) -> None:
    """Evaluation, lowering, batching and derivatives up to ``orders`` of ``function`` at float64 ``arrays``.

    Not ``lowered`` are complex numbers: before there are loops they become pairs.
    """
    program = trace(function, *arrays)
    if reference is not None:
        for found, expected in zip(run(program, arrays), _listed(reference(*arrays)), strict=True):
            close(found, expected, 1e-13)
    if lowered:
        check_lowering(program, arrays)
    check_batching(program, arrays)
    current, points = program, list(arrays)
    for order in range(orders):
        check_derivatives(current, points, seed=order)
        if order == 0 and orders:
            check_single_precision(function, arrays)
            pulled, depends = vjp(current, _floats(points))
            cotangents = [np.ones(atom.type.shape, atom.type.dtype)
                          for atom, d in zip(current.outputs, depends, strict=True) if d]
            if lowered:
                check_lowering(pulled, [*points, *cotangents])
            check_batching(pulled, [*points, *cotangents])
        pushed, _ = jvp(current, _floats(points))
        points = [*points, *_directions(points, 10 + order)]
        current = pushed


def check_single_precision(function: Callable[..., Any], arrays: Sequence[Any]) -> None:
    """float32 and complex64 keep their dtype through values and derivatives, and agree with float64 and complex128."""
    narrow = [np.asarray(a).astype({"f": np.float32, "c": np.complex64}[np.asarray(a).dtype.kind]) if flag else a
              for a, flag in zip(arrays, _floats(arrays), strict=True)]
    program, wide = trace(function, *narrow), trace(function, *arrays)
    directions = _directions(narrow, 5)
    found = _tangents_of(program, narrow, directions)
    expected = _tangents_of(wide, arrays, [d.astype({"f": np.float64, "c": np.complex128}[d.dtype.kind])
                                           for d in directions])
    for f, e, atom in zip(found, expected, program.outputs, strict=True):
        if atom.type.dtype.kind in "fc":
            close(f, e.astype(atom.type.dtype), 1e-4)
    check_adjoint(program, narrow)


def _listed(results: Any) -> Sequence[Any]:
    return results if isinstance(results, (list, tuple)) else [results]


# ------------------------------------------------------------------------------------- lowering rules, interpreted


OPERATIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "floor_divide": np.floor_divide, "remainder": np.remainder, "square": np.square, "reciprocal": np.reciprocal,
    "maximum": np.maximum, "minimum": np.minimum, "less": np.less, "greater_equal": np.greater_equal,
    "equal": np.equal, "not_equal": np.not_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "select": np.where, "convert": lambda x: x,
}


class _Stored:
    """An operand whose elements are loaded from an array."""

    def __init__(self, array: Any, described: ArrayType) -> None:
        self.array, self.type = np.asarray(array), described

    def __call__(self, index: Index) -> Expression:
        return Load(self.array, index, self.type.dtype)


def _value(expression: Expression) -> Any:
    if isinstance(expression, Constant):
        return expression.value
    if isinstance(expression, Load):
        position = tuple(int(_value(i)) for i in expression.index)
        assert all(0 <= i < n for i, n in zip(position, expression.buffer.shape, strict=True)), "load out of range"
        return expression.buffer[position]
    assert isinstance(expression, Apply)
    if expression.operation == "guard":
        condition, value, otherwise = expression.operands
        return _value(value if _value(condition) else otherwise)
    operands = [_value(operand) for operand in expression.operands]
    with np.errstate(all="ignore"):
        return expression.dtype.type(OPERATIONS[expression.operation](*operands))


def _points(shape: Sequence[int]) -> list[Index]:
    return [tuple(map(integer, point)) for point in np.ndindex(*shape)]


def lowered_result(lowered: Any, operands: Sequence[_Stored], result: ArrayType) -> Any:
    """The array that a lowering describes, element by element."""
    if isinstance(lowered, Expands):
        program = trace(lowered.build, *(operand.array for operand in operands))
        return run_lowered(program, [operand.array for operand in operands])[0]
    if isinstance(lowered, (View, Map)):
        values = [_value(lowered.read(point)) for point in _points(result.shape)]
    elif isinstance(lowered, Reduction):
        values = []
        for point in _points(result.shape):
            terms = [_value(lowered.read(point, reduced)) for reduced in _points(lowered.extents)]
            terms_array = np.array(terms, dtype=result.dtype)
            values.append(OPERATIONS[lowered.operation].reduce(terms_array, dtype=result.dtype))
    elif isinstance(lowered, Cumulative):
        read = np.array([_value(lowered.read(p)) for p in _points(result.shape)], dtype=result.dtype)
        read = read.reshape(result.shape)
        return OPERATIONS[lowered.operation].accumulate(read, axis=lowered.axis, dtype=result.dtype)
    else:
        assert isinstance(lowered, Contraction)
        x, y = operands[0].array, operands[1].array
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        left, right = [""] * x.ndim, [""] * y.ndim
        shared = []
        for a, b in zip(lowered.lhs_batch, lowered.rhs_batch, strict=True):
            left[a] = right[b] = next(letters)
            shared.append(left[a])
        for a, b in zip(lowered.lhs_contracting, lowered.rhs_contracting, strict=True):
            left[a] = right[b] = next(letters)
        free = []
        for names in (left, right):
            for position, name in enumerate(names):
                if not name:
                    names[position] = next(letters)
                    free.append(names[position])
        return np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(shared + free)}", x, y, dtype=result.dtype)
    return np.array(values, dtype=result.dtype).reshape(result.shape)


def run_lowered(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program``, each equation computed by its lowering rule."""
    values: dict[Var, Any] = dict(zip(program.inputs, arguments, strict=True))

    def value_of(atom: Any) -> Any:
        return atom.value if isinstance(atom, Literal) else values[atom]

    for equation in program.equations:
        operands = [_Stored(value_of(x), x.type) for x in equation.inputs]
        (var,) = equation.outputs
        lowered = equation.operation.lower(operands, var.type, **dict(equation.params))
        values[var] = lowered_result(lowered, operands, var.type)
    return [value_of(x) for x in program.outputs]


def check_lowering(program: Program, arrays: Sequence[Any]) -> None:
    """Each equation's lowering rule against its evaluation rule."""
    values: dict[Var, Any] = dict(zip(program.inputs, arrays, strict=True))
    for equation in program.equations:
        operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
        params = dict(equation.params)
        (expected,) = bind_all(equation.operation, operands, params)
        (var,) = equation.outputs
        stored = [_Stored(x, atom.type) for x, atom in zip(operands, equation.inputs, strict=True)]
        found = lowered_result(equation.operation.lower(stored, var.type, **params), stored, var.type)
        expected = np.asarray(expected)
        assert found.shape == expected.shape and found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-13 if found.dtype.itemsize == 8 else 1e-5, atol=1e-13)
        values[var] = expected
