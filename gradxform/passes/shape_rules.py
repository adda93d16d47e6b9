"""Rules for operations that move elements, and for reductions of repeated elements.

They are exact, but for sums of n equal terms, which become one product and so round once.
"""

from __future__ import annotations

from typing import Any

from gradxform.ir import ArrayType, Atom, Literal
from gradxform.passes.rewriting import Params, Rewriter, Rule, literal, same_bits

# ------------------------------------------------------------------------------------------- broadcast, transpose


def _broadcast(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    axes: tuple[int, ...] = params[0][1]
    if x.type.shape == result.shape:
        return x
    inner = rewriter.definition(x, "broadcast")
    if inner is None:
        return None
    inner_axes: tuple[int, ...] = inner.params[0][1]
    return rewriter.emit("broadcast", inner.inputs[0], shape=result.shape, axes=tuple(axes[a] for a in inner_axes))


def _transpose(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    permutation: tuple[int, ...] = params[0][1]
    if permutation == tuple(range(len(permutation))):
        return x
    equation = rewriter.defined.get(x)
    if equation is None:
        return None
    if equation.operation.name == "transpose":
        inner = equation.params[0][1]
        return rewriter.emit("transpose", equation.inputs[0], permutation=tuple(inner[a] for a in permutation))
    if equation.operation.name == "broadcast":
        moved = [permutation.index(a) for a in equation.params[0][1]]
        # A broadcast keeps the order of its operand's axes.
        if moved == sorted(moved):
            return rewriter.emit("broadcast", equation.inputs[0], shape=result.shape, axes=tuple(moved))
    return None


def _reshape(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    if x.type.shape == result.shape:
        return x
    inner = rewriter.definition(x, "reshape")
    if inner is not None:
        return rewriter.emit("reshape", inner.inputs[0], shape=result.shape)
    scalar = rewriter.scalar(x)
    return rewriter.shaped(scalar, result.shape) if scalar is not None and result.shape else None


def _reverse(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    axes: tuple[int, ...] = params[0][1]
    equation = rewriter.defined.get(x)
    if equation is None:
        return None
    if equation.operation.name == "reverse" and equation.params[0][1] == axes:
        return equation.inputs[0]
    if equation.operation.name == "broadcast" and not any(a in equation.params[0][1] for a in axes):
        return x
    return None


# ------------------------------------------------------------------------------------------------ slice, pad, join


def _slice(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    (x,) = inputs
    (_, limit), (_, start), (_, strides) = params
    if result.shape == x.type.shape and not any(start):
        return x
    equation = rewriter.defined.get(x)
    rule = None if equation is None else _SLICED.get(equation.operation.name)
    return None if rule is None else rule(rewriter, equation, start, limit, strides, result)


def _slice_of_slice(rewriter: Rewriter, inner: Any, start: Any, limit: Any, strides: Any, result: ArrayType) -> Atom:
    inner_params = dict(inner.params)
    begin, step = inner_params["start"], inner_params["strides"]
    first = tuple(b + s * f for b, s, f in zip(begin, step, start, strict=True))
    total = tuple(s * t for s, t in zip(step, strides, strict=True))
    last = tuple(f + (n - 1) * t + 1 if n else f for f, n, t in zip(first, result.shape, total, strict=True))
    return rewriter.emit("slice", inner.inputs[0], start=first, limit=last, strides=total)


def _slice_of_broadcast(
    rewriter: Rewriter, inner: Any, start: Any, limit: Any, strides: Any, result: ArrayType
) -> Atom:
    (source,), axes = inner.inputs, inner.params[0][1]
    along = [a if n != 1 else None for a, n in zip(axes, source.type.shape, strict=True)]
    if any(a is not None for a in along):
        source = rewriter.emit(
            "slice", source, start=tuple(0 if a is None else start[a] for a in along),
            limit=tuple(1 if a is None else limit[a] for a in along),
            strides=tuple(1 if a is None else strides[a] for a in along))
    return rewriter.emit("broadcast", source, shape=result.shape, axes=axes)


def _slice_of_pad(
    rewriter: Rewriter, inner: Any, start: Any, limit: Any, strides: Any, result: ArrayType
) -> Atom | None:
    source, value = inner.inputs
    params = dict(inner.params)
    firsts, lasts, steps = [], [], []
    for begin, step, count, n, low, gap in zip(
            start, strides, result.shape, source.type.shape, params["low"], params["interior"], strict=True):
        end = begin + step * (count - 1)
        span = low + (n - 1) * (gap + 1)
        if count == 0 or n == 0 or end < low or begin > span or (
                count == 1 and (begin - low) % (gap + 1)):
            return rewriter.shaped(value, result.shape)
        if begin < low or end > span or (begin - low) % (gap + 1) or (count > 1 and step % (gap + 1)):
            return None
        firsts.append((begin - low) // (gap + 1))
        steps.append(max(step // (gap + 1), 1))
        lasts.append(firsts[-1] + (count - 1) * steps[-1] + 1)
    return rewriter.emit("slice", source, start=tuple(firsts), limit=tuple(lasts), strides=tuple(steps))


def _slice_of_concatenate(
    rewriter: Rewriter, inner: Any, start: Any, limit: Any, strides: Any, result: ArrayType
) -> Atom | None:
    axis = inner.params[0][1]
    first, last = start[axis], start[axis] + strides[axis] * (result.shape[axis] - 1)
    offset = 0
    for part in inner.inputs:
        extent = part.type.shape[axis]
        if offset <= first and last < offset + extent and last >= first:
            begin, end = list(start), list(limit)
            begin[axis], end[axis] = first - offset, last - offset + 1
            return rewriter.emit("slice", part, start=tuple(begin), limit=tuple(end), strides=strides)
        offset += extent
    return None


_SLICED = {"slice": _slice_of_slice, "broadcast": _slice_of_broadcast, "pad": _slice_of_pad,
           "concatenate": _slice_of_concatenate}


def _pad(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    x, value = inputs
    if x.type.shape == result.shape:
        return x
    scalar = rewriter.scalar(x)
    if scalar is not None and (same_bits(scalar, value) or x.type.size == 0):
        return rewriter.shaped(value, result.shape)
    return None


def _concatenate(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    axis = params[0][1]
    kept = [x for x in inputs if x.type.shape[axis]]
    if not kept:
        return inputs[0]
    if len(kept) == 1:
        return kept[0]
    joined: list[Atom] = []
    for x in kept:
        whole = _adjacent(rewriter, joined[-1], x, axis) if joined else None
        if whole is None:
            joined.append(x)
        else:
            joined[-1] = whole
    if len(joined) == len(inputs):
        return None
    return joined[0] if len(joined) == 1 else rewriter.emit("concatenate", *joined, axis=axis)


def _adjacent(rewriter: Rewriter, left: Atom, right: Atom, axis: int) -> Atom | None:
    """One atom for two neighbours that are neighbouring slices of one array, or repeat the same number."""
    shape = (*left.type.shape[:axis], left.type.shape[axis] + right.type.shape[axis], *left.type.shape[axis + 1:])
    a, b = rewriter.scalar(left), rewriter.scalar(right)
    if a is not None and b is not None and same_bits(a, b):
        return rewriter.shaped(a, shape)
    first, second = rewriter.definition(left, "slice"), rewriter.definition(right, "slice")
    if first is None or second is None or first.inputs[0] is not second.inputs[0]:
        return None
    (_, limit), (_, start), (_, strides) = first.params
    (_, end), (_, begin), (_, steps) = second.params
    others = [a for a in range(len(shape)) if a != axis]
    if strides[axis] != 1 or steps[axis] != 1 or limit[axis] != begin[axis]:
        return None
    if any((start[a], limit[a], strides[a]) != (begin[a], end[a], steps[a]) for a in others):
        return None
    return rewriter.emit("slice", first.inputs[0], start=start, strides=strides,
                         limit=(*limit[:axis], end[axis], *limit[axis + 1:]))


# ----------------------------------------------------------------------------------------------------- reductions


def _reduction(name: str) -> Rule:
    """reduce of broadcast: axes that merely repeat are left out; of a sum they leave a factor."""

    def rule(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
        (x,) = inputs
        axes: tuple[int, ...] = params[0][1]
        shape = x.type.shape
        kept = [a for a in range(len(shape)) if a not in axes]
        if all(shape[a] == 1 for a in axes):
            return rewriter.emit("reshape", x, shape=result.shape) if shape else x
        inner = rewriter.definition(x, "broadcast")
        if inner is None:
            return None
        source, laid = inner.inputs[0], inner.params[0][1]
        extents = source.type.shape
        varying = [a for a, n in zip(laid, extents, strict=True) if n != 1]
        repeated = [a for a in axes if a not in varying]
        if not repeated:
            return None
        count = 1
        for a in repeated:
            count *= shape[a]
        if count == 0:
            return rewriter.full(0, result) if name == "reduce_sum" else None
        # Repeated axes that stand in the operand with extent 1 go by a reshape, the rest never were there.
        remaining = [(a, n) for a, n in zip(laid, extents, strict=True) if a not in repeated]
        if len(remaining) != len(laid):
            source = rewriter.emit("reshape", source, shape=tuple(n for _, n in remaining))
        positions = tuple(i for i, (a, _) in enumerate(remaining) if a in axes)
        if positions:
            source = rewriter.emit(name, source, axes=positions)
        if name == "reduce_sum" and count != 1:
            factor: Literal = literal(count, result.dtype) if result.dtype.kind != "b" else literal(True, result.dtype)
            source = rewriter.emit("mul", factor, source)
        places = tuple(kept.index(a) for a, _ in remaining if a not in axes)
        return source if source.type.shape == result.shape else rewriter.emit(
            "broadcast", source, shape=result.shape, axes=places)

    return rule


def _name(rewriter: Rewriter, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom | None:
    """name of x is x: names are for the policies of checkpointing, which has been done."""
    return inputs[0]


RULES: dict[str, Rule] = {
    "name": _name, "broadcast": _broadcast, "transpose": _transpose, "reshape": _reshape, "reverse": _reverse, "slice": _slice,
    "pad": _pad, "concatenate": _concatenate,
    **{name: _reduction(name) for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or")},
}
