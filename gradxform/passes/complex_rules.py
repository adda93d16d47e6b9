"""Rules for complex numbers: operations on elements, and those that move, add up, multiply, update and sort them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.dtypes import DType, bool_, int64, is_complex, part_dtype
from gradxform.ir import ArrayType, Atom, Equation, Program, Var
from gradxform.passes import complex_arithmetic as arithmetic
from gradxform.passes.complex_values import Pair, Real, isnan, select
from gradxform.passes.complex_writer import Rule, Writer, changed
from gradxform.passes.rewriting import literal


def each_part(writer: Writer, equation: Equation) -> None:
    """Operations that are linear and move or add elements: the same to both parts."""
    values = [writer.value(x) for x in equation.inputs]
    parts = []
    for k in (0, 1):
        operands = [value[k].atom if isinstance(value, Pair) else value.atom for value in values]
        parts.append(writer.emit(equation.operation.name, *operands, **dict(equation.params)))
    writer.pairs[equation.outputs[0]] = writer.of(*parts)


def same(writer: Writer, equation: Equation) -> None:
    """Operations with as many results as operands, value by value."""
    writer.append(equation, tuple(writer.flat(equation.inputs)), equation.params, writer.results(equation.outputs))


def formula_rule(formula: Callable[..., Pair | Real]) -> Rule:
    """Elementwise operations, as formulas on the parts of the operands."""

    def rule(writer: Writer, equation: Equation) -> None:
        values = [writer.value(x) for x in equation.inputs]
        writer.define(equation.outputs[0], formula(*values, **dict(equation.params)))

    return rule


def complex_number(re: Real, im: Real) -> Pair:
    return Pair(re, im)


def convert(value: Pair | Real, dtype: DType, weak: bool) -> Pair | Real:
    if isinstance(value, Real):
        return Pair(value.converted(part_dtype(dtype)), Real(literal(0, part_dtype(dtype)), value.writer))
    if is_complex(dtype):
        return value.converted(part_dtype(dtype))
    if dtype == bool_:
        return value.re.differs(0.0) | value.im.differs(0.0)
    return value.re.converted(dtype)


def less(strict: bool, greater: bool) -> Callable[[Pair, Pair], Real]:
    """Lexicographic order, as NumPy's; false where there is a NaN that it looks at."""

    def formula(z: Pair, w: Pair) -> Real:
        if greater:
            z, w = w, z
        last = z.im < w.im if strict else z.im <= w.im
        # As NumPy has it: an unordered imaginary part counts only where the real parts are equal.
        ordered = (z.re < w.re) & ~(isnan(z.im) | isnan(w.im))
        return ordered | (z.re.equals(w.re) & last)

    return formula


def extremum(greater: bool) -> Callable[[Pair, Pair], Pair]:
    """The larger or smaller one in lexicographic order; the first one that has a NaN."""
    first = less(False, greater)

    def formula(z: Pair, w: Pair) -> Pair:
        taken = arithmetic.any_nan(z) | (first(z, w) & ~arithmetic.any_nan(w))
        return Pair(select(taken, z.re, w.re), select(taken, z.im, w.im))

    return formula


def clamp(low: Pair, z: Pair, high: Pair) -> Pair:
    return extremum(False)(extremum(True)(z, low), high)


def unit_vectors(writer: Writer, equation: Equation) -> None:
    size, dtype = dict(equation.params)["size"], part_dtype(equation.outputs[0].type.dtype)
    re = writer.emit("unit_vectors", dtype=dtype, size=size)
    # No other zeros than those of the basis: what they are multiplied with is known to be diagonal too.
    writer.define(equation.outputs[0], writer.of(re, writer.emit("mul", literal(0, dtype), re)))


def constant(writer: Writer, equation: Equation) -> None:
    value = dict(equation.params)["value"]
    parts = [writer.emit("constant", value=type(value)(np.ascontiguousarray(part)))
             for part in (value.array.real, value.array.imag)]
    writer.pairs[equation.outputs[0]] = writer.of(*parts)


# ------------------------------------------------------------------------------------------------ products of elements


def reduce_prod(writer: Writer, equation: Equation) -> None:
    """By a tree of products of halves, each of them a loop without order."""
    (x,), axes = equation.inputs, dict(equation.params)["axes"]
    shape = x.type.shape
    kept_axes = [a for a in range(len(shape)) if a not in axes]
    rest = tuple(shape[a] for a in kept_axes)
    count = prod(shape[a] for a in axes)
    if not count:
        dtype = part_dtype(x.type.dtype)
        writer.define(equation.outputs[0], writer.of(literal(1, dtype), literal(0, dtype)))
        return
    order = (*axes, *kept_axes)
    total = writer.of(*[writer.emit("reshape", writer.emit("transpose", part.atom, permutation=order), shape=(count, *rest))
                        for part in writer.pair(x)])

    def taken(pair: Pair, start: int, limit: int) -> Pair:
        return writer.of(*[writer.sliced(part.atom, 0, start, limit) for part in pair])

    odd: Pair | None = None
    while count > 1:
        half = count // 2
        if count % 2:
            last = taken(total, count - 1, count)
            odd = last if odd is None else arithmetic.mul(last, odd)
        total = arithmetic.mul(taken(total, 0, half), taken(total, half, 2 * half))
        count = half
    if odd is not None:
        total = arithmetic.mul(total, odd)
    writer.pairs[equation.outputs[0]] = writer.of(*[writer.emit("reshape", part.atom, shape=rest) for part in total])


def cumulative(combine: Callable[[Pair, Pair], Pair], is_product: bool) -> Rule:
    """A loop along the axis that carries what it has so far: 1, or the first element, to begin with."""

    def rule(writer: Writer, equation: Equation) -> None:
        (x,), params = equation.inputs, dict(equation.params)
        axis, shape, pair = params["axis"], x.type.shape, writer.pair(x)
        if not shape[axis]:
            writer.define(equation.outputs[0], pair)
            return
        front = (axis, *(a for a in range(len(shape)) if a != axis))
        back = tuple(sorted(range(len(shape)), key=front.__getitem__))
        rest = ArrayType(part_dtype(x.type.dtype), tuple(shape[a] for a in front[1:]))
        xs = [writer.emit("transpose", part.atom, permutation=front) for part in pair]
        first = shape[axis] - 1 if params["reverse"] else 0
        starts = [writer.rewriter.full(number, rest) if is_product else
                  writer.emit("reshape", writer.sliced(part, 0, first, first + 1), shape=rest.shape)
                  for part, number in zip(xs, (1, 0), strict=True)]
        body = writer.another()
        inputs = [Var(rest) for _ in range(4)]
        found = combine(body.of(*inputs[:2]), body.of(*inputs[2:]))
        program = Program(tuple(inputs), tuple(body.rewriter.equations), (found.re.atom, found.im.atom) * 2)
        results = writer.scan(program, starts, xs, params["reverse"], equation)
        writer.pairs[equation.outputs[0]] = writer.of(*[
            writer.emit("transpose", y, permutation=back) for y in results[2:]])

    return rule


def extremum_of(writer: Writer, equation: Equation) -> None:
    """The extremum in lexicographic order: of the imaginary parts among the elements whose real part is extreme.

    If an element has a NaN it is the first such element.
    """
    (x,), axes = equation.inputs, dict(equation.params)["axes"]
    name = equation.operation.name
    pair, shape = writer.pair(x), x.type.shape
    kept_axes = tuple(a for a in range(len(shape)) if a not in axes)

    def reduced(value: Real, operation: str = name) -> Real:
        return value.apply(operation, axes=axes)

    def spread(value: Real) -> Real:
        return value.apply("broadcast", shape=shape, axes=kept_axes)

    worst = -np.inf if name == "reduce_max" else np.inf
    bad = arithmetic.any_nan(pair)
    re = reduced(select(bad, worst, pair.re))
    im = reduced(select(~bad & pair.re.equals(spread(re)), pair.im, worst))
    # The position of the first NaN, counted along the reduced axes in their order; the number of elements if there is none.
    number = Real(writer.rewriter.full(0, ArrayType(int64, shape)), writer.rewriter)
    for axis in axes:
        number = number * shape[axis] + Real(writer.emit("iota", axis=axis, dtype=int64, shape=shape), writer.rewriter)
    first = reduced(select(bad, number, prod(shape[a] for a in axes)), "reduce_min")
    chosen = number.equals(spread(first))
    lost = reduced(bad, "reduce_or")
    parts = [select(lost, reduced(select(chosen, part, 0.0), "reduce_sum"), found)
             for part, found in zip(pair, (re, im), strict=True)]
    writer.define(equation.outputs[0], Pair(*parts))


# ------------------------------------------------------------------------------------------------ products of matrices

#: From this many complex multiply-adds, with no extent that is nearly one, a product is that of interleaved matrices.
LARGE_PRODUCT = 16 * 16 * 16
LEAST_EXTENT = 4


def dot_general(writer: Writer, equation: Equation) -> None:
    left, right = equation.inputs
    params = dict(equation.params)
    (batch_left, batch_right), (inner_left, inner_right) = params["batch"], params["contracting"]
    free_left = [a for a in range(left.type.rank) if a not in batch_left and a not in inner_left]
    free_right = [a for a in range(right.type.rank) if a not in batch_right and a not in inner_right]
    rows, columns = (prod(x.type.shape[a] for a in free) for x, free in ((left, free_left), (right, free_right)))
    inner = prod(left.type.shape[a] for a in inner_left)
    if rows * columns * inner >= LARGE_PRODUCT and min(rows, columns, inner) >= LEAST_EXTENT:
        writer.pairs[equation.outputs[0]] = _interleaved_product(
            writer, writer.pair(left), writer.pair(right), params["batch"], params["contracting"], free_right)
        return

    def dot(x: Real, y: Real) -> Real:
        return x.apply("dot_general", y, **params)

    z, w = writer.pair(left), writer.pair(right)
    writer.pairs[equation.outputs[0]] = Pair(dot(z.re, w.re) - dot(z.im, w.im), dot(z.re, w.im) + dot(z.im, w.re))


def _interleaved_product(
    writer: Writer, left: Pair, right: Pair, batch: Any, contracting: Any, free: Sequence[int]
) -> Pair:
    """The left operand gets a last axis of its parts, the right one the blocks: batch, contracted, part, free, part."""
    order = (*batch[1], *contracting[1], *free)
    re, im = (part.apply("transpose", permutation=order) if order != tuple(range(len(order))) else part for part in right)
    front = len(order) - len(free)

    def beside(x: Real, y: Real) -> Atom:
        return writer.stacked([x.atom, y.atom], len(order))

    blocks = writer.stacked([beside(re, im), beside(-im, re)], front)
    batch_count = len(batch[1])
    rank = left.re.atom.type.rank
    product = writer.emit(
        "dot_general", writer.interleaved(left), blocks, batch=(batch[0], tuple(range(batch_count))),
        contracting=((*contracting[0], rank), tuple(range(batch_count, front + 1))))
    return writer.separated(product)


# --------------------------------------------------------------------------------------------------------------- updates


def scatter(writer: Writer, equation: Equation) -> None:
    params = dict(equation.params)
    if params["operation"] in ("set", "add"):
        each_part(writer, equation)
    elif params["unique"]:
        x, updates = (writer.pair(atom) for atom in equation.inputs[:2])
        _updated(writer, equation, x, updates, params)
    else:
        _updated_in_order(writer, equation, params)


_COMBINED: Mapping[str, Callable[[Pair, Pair], Pair]] = {
    "mul": arithmetic.mul, "max": extremum(True), "min": extremum(False)}


def _updated(writer: Writer, equation: Equation, x: Pair, updates: Pair, params: dict[str, Any]) -> None:
    """Elements at positions that differ: read, combined with the updates, and set."""
    indices = [writer.real(i) for i in equation.inputs[2:]]
    place = {name: params[name] for name in ("axes", "batch_rank", "mode")}
    old = writer.of(*[writer.emit("gather", part.atom, *indices, **place) for part in x])
    new = _COMBINED[params["operation"]](old, updates)
    parts = [writer.emit("scatter", part.atom, value.atom, *indices, **{**params, "operation": "set"})
             for part, value in zip(x, new, strict=True)]
    writer.pairs[equation.outputs[0]] = writer.of(*parts)


def _updated_in_order(writer: Writer, equation: Equation, params: dict[str, Any]) -> None:
    """Positions that may repeat: a loop over them."""
    x, updates, *indices = equation.inputs
    batch_rank = params["batch_rank"]
    shape = indices[0].type.shape
    batch, count, rest = shape[:batch_rank], prod(shape[batch_rank:]), updates.type.shape[len(shape):]

    def in_front(atom: Atom, behind: tuple[int, ...]) -> Atom:
        flat = writer.emit("reshape", atom, shape=(*batch, count, *behind))
        order = (batch_rank, *range(batch_rank), *range(batch_rank + 1, batch_rank + 1 + len(behind)))
        return writer.emit("transpose", flat, permutation=order)

    pair = writer.pair(x)
    xs = [*[in_front(part.atom, rest) for part in writer.pair(updates)], *[in_front(writer.real(i), ()) for i in indices]]
    carries = [pair.re.atom, pair.im.atom]
    body = writer.another()
    inputs = [Var(atom.type.strong()) for atom in carries] + [Var(y.type.with_shape(y.type.shape[1:]).strong()) for y in xs]
    step = Equation(equation.operation, (x, updates, *inputs[4:]), equation.params, (Var(x.type),), equation.source)
    _updated(body, step, body.of(*inputs[:2]), body.of(*inputs[2:4]), {**params, "unique": True})
    product = body.pairs[step.outputs[0]]
    program = Program(tuple(inputs), tuple(body.rewriter.equations), (product.re.atom, product.im.atom))
    results = writer.scan(program, carries, xs, False, equation)
    writer.pairs[equation.outputs[0]] = writer.of(*results)


def sort(writer: Writer, equation: Equation) -> None:
    """Complex keys are two keys, in front of which stands where their NaN send them: an imaginary one behind all numbers."""
    params = dict(equation.params)
    operands: list[Atom] = []
    ranks: list[list[Var]] = []
    for number, atom in enumerate(equation.inputs):
        if number == params["num_keys"]:
            count = len(operands)
        is_key = number < params["num_keys"] and is_complex(atom.type.dtype)
        ranks.append([Var(ArrayType(int64, atom.type.shape))] if is_key else [])
        if is_key:
            nans = [isnan(part).converted(int64) for part in writer.pair(atom)]
            operands.append((nans[0] + nans[0] + nans[1]).atom)
        operands += writer.flat([atom])
    if params["num_keys"] == len(equation.inputs):
        count = len(operands)
    results: list[Var] = []
    for number, var in enumerate(equation.outputs):
        # Behind the operands may come the positions, or there are these only.
        is_operand = params["positions"] != "only" and number < len(ranks)
        results += [*(ranks[number] if is_operand else ()), *writer.results([var])]
    writer.append(equation, operands, changed(equation, num_keys=count), results)
