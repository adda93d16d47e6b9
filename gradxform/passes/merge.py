"""Sums of padded pieces become concatenations.

    { b = pad[low=(0,) high=(1,)] x 0.0 ; c = pad[low=(1,) high=(0,)] y 0.0 ; d = add b c in (d) }
      ->  { d = concatenate[axis=0] x y in (d) }

Reading elements or slices of an array, one by one, is transposed to such sums: n pieces, each padded to the whole
extent. Merged they cost one store per element instead of n additions. Pieces that are read twice are added to each
other. The result is the same but for the order of the additions and the sign of zeros.
"""

from __future__ import annotations

from dataclasses import replace

from gradxform.data_class import data_class
from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.passes.rewriting import Rewriter, Vocabulary


@data_class(frozen=True, slots=True, eq=False)
class _Piece:
    """``atom`` from ``low`` on in an array of zeros."""

    atom: Atom
    low: tuple[int, ...]

    def high(self, axis: int) -> int:
        return self.low[axis] + self.atom.type.shape[axis]

    def place(self, axis: int) -> tuple[tuple[int, ...], ...]:
        """Where it lies in all axes but one."""
        shape = self.atom.type.shape
        return (*self.low[:axis], *self.low[axis + 1:]), (*shape[:axis], *shape[axis + 1:])


def merge_pieces(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with its sums of padded pieces merged; the same object if there are none."""
    chains = _chains(program)
    if not chains:
        return program
    rewriter = Rewriter(vocabulary, {})
    environment = rewriter.environment
    changed = False
    for equation in program.equations:
        leaves = chains.get(equation.outputs[0]) if equation.outputs else None
        rewriter.source = equation.source
        if leaves is not None:
            total = _merged(rewriter, [environment.get(x, x) for x in leaves])
            if total is not None:
                environment[equation.outputs[0]] = total
                changed = True
                continue
        inputs = tuple([environment.get(x, x) for x in equation.inputs])
        if inputs != equation.inputs:
            equation = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        rewriter.equations.append(equation)
        rewriter.defined.update((var, equation) for var in equation.outputs)
    if not changed:
        return program
    outputs = tuple([environment.get(x, x) for x in program.outputs])
    return Program(program.inputs, tuple(rewriter.equations), outputs, program.name)


def _is_zero_pad(equation: Equation | None) -> bool:
    if equation is None or equation.operation.name != "pad":
        return False
    value = equation.inputs[1]
    return isinstance(value, Literal) and value.value == 0 and not any(dict(equation.params)["interior"])


def _chains(program: Program) -> dict[Var, list[Atom]]:
    """The terms of each sum of two zero pads or more, by the variable of the whole sum."""
    adds: dict[Atom, Equation] = {}
    users: dict[Atom, Equation | None] = {}  # the one equation that uses a sum, or None if there are more
    pads: set[Atom] = set()
    for equation in program.equations:
        for x in equation.inputs:
            if x in adds:
                users[x] = None if x in users else equation
        if equation.operation.name == "add" and equation.outputs[0].type.shape:
            adds[equation.outputs[0]] = equation
        elif _is_zero_pad(equation):
            pads.add(equation.outputs[0])
    if len(pads) < 2:
        return {}
    for x in program.outputs:
        if x in adds:
            users[x] = None
    chains: dict[Var, list[Atom]] = {}
    inner = {x for x in adds if (user := users.get(x)) is not None and any(v in adds for v in user.outputs)}
    for root, equation in adds.items():
        if root in inner:
            continue
        leaves: list[Atom] = []
        stack = [equation]
        while stack:
            for x in stack.pop().inputs:
                if x in inner:
                    stack.append(adds[x])
                else:
                    leaves.append(x)
        if sum(x in pads for x in leaves) > 1:
            assert isinstance(root, Var)
            chains[root] = leaves
    return chains


def _merged(rewriter: Rewriter, leaves: list[Atom]) -> Atom | None:
    pieces: list[_Piece] = []
    others: list[Atom] = []
    shape: tuple[int, ...] = ()
    for leaf in leaves:
        equation = rewriter.defined.get(leaf)
        if equation is not None and _is_zero_pad(equation):
            pieces.append(_Piece(equation.inputs[0], dict(equation.params)["low"]))
            shape = leaf.type.shape
        else:
            others.append(leaf)
    count = len(pieces)
    for axis in reversed(range(len(shape))):
        pieces = _merged_along(rewriter, pieces, axis)
    if len(pieces) == count:
        return None
    terms = [*(_padded(rewriter, piece, shape) for piece in pieces), *others]
    if not terms:  # all pieces are empty: the sum is nothing but zeros
        return None
    total = terms[0]
    for term in terms[1:]:
        total = rewriter.emit("add", total, term)
    return rewriter.shaped(total, shape)


def _merged_along(rewriter: Rewriter, pieces: list[_Piece], axis: int) -> list[_Piece]:
    """Pieces that lie alike in all other axes joined along ``axis``; those that overlap in part stay apart."""
    groups: dict[object, list[_Piece]] = {}
    for piece in pieces:
        if piece.atom.type.shape[axis]:
            groups.setdefault(piece.place(axis), []).append(piece)
    result: list[_Piece] = []
    for group in groups.values():
        same: dict[tuple[int, int], _Piece] = {}
        for piece in group:
            span = piece.low[axis], piece.high(axis)
            earlier = same.get(span)
            same[span] = piece if earlier is None else replace(
                piece, atom=rewriter.emit("add", earlier.atom, piece.atom))
        row: list[_Piece] = []
        for piece in (same[span] for span in sorted(same)):
            if row and piece.low[axis] < row[-1].high(axis):
                result.append(piece)
            else:
                row.append(piece)
        result.append(row[0] if len(row) == 1 else _joined(rewriter, row, axis))
    return result


def _joined(rewriter: Rewriter, row: list[_Piece], axis: int) -> _Piece:
    parts: list[Atom] = []
    position = row[0].low[axis]
    for piece in row:
        gap = piece.low[axis] - position
        if gap:
            shape = piece.atom.type.shape
            parts.append(rewriter.full(0, piece.atom.type.with_shape((*shape[:axis], gap, *shape[axis + 1:]))))
        parts.append(piece.atom)
        position = piece.high(axis)
    return _Piece(rewriter.emit("concatenate", *parts, axis=axis), row[0].low)


def _padded(rewriter: Rewriter, piece: _Piece, shape: tuple[int, ...]) -> Atom:
    extents = piece.atom.type.shape
    if extents == shape:
        return piece.atom
    high = tuple(n - first - m for n, first, m in zip(shape, piece.low, extents, strict=True))
    zero = piece.atom.type.dtype.type(0)
    return rewriter.emit("pad", piece.atom, Literal(zero, piece.atom.type.with_shape(())), high=high,
                         interior=(0,) * len(shape), low=piece.low)
